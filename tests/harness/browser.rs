//! A browser as far as cookies, redirects and forms go: cookies by host and path, what it says of itself, no scripts.

use std::collections::BTreeMap;

use reqwest::{Response, StatusCode, header};
use url::Url;

/// What a page answered.
#[derive(Debug)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// Where the browser ended.
    pub url: Url,
    /// The text.
    pub text: String,
    /// The cookies that the last answer set, as sent.
    pub set_cookies: Vec<String>,
    /// Where the last answer would have led, if redirects were not followed.
    pub location: Option<String>,
}

impl Page {
    /// The value of a hidden field.
    pub fn hidden(&self, name: &str) -> String {
        let start = self.text.split_once(&format!("name=\"{name}\" value=\""));
        let (_, rest) = start.unwrap_or_else(|| panic!("no field {name} in {}", self.text));
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// Whether the page says something.
    pub fn says(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

/// A browser.
#[derive(Clone)]
pub struct Browser {
    client: reqwest::Client,
    /// By host with port, path and name: cookies do not tell ports apart, but two servers of one test must not mix.
    cookies: BTreeMap<(String, String, String), String>,
}

fn host(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap(), url.port_or_known_default().unwrap())
}

impl Default for Browser {
    fn default() -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Self { client, cookies: BTreeMap::new() }
    }
}

impl Browser {
    /// Plants a cookie.
    pub fn plant(&mut self, url: &str, path: &str, name: &str, value: &str) {
        let url = Url::parse(url).unwrap();
        self.cookies.insert((host(&url), path.to_owned(), name.to_owned()), value.to_owned());
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.iter().find(|((_, _, known), _)| known == name).map(|(_, value)| value.clone())
    }

    /// Forgets a cookie.
    pub fn forget(&mut self, name: &str) {
        self.cookies.retain(|(_, _, known), _| known != name);
    }

    fn header(&self, url: &Url) -> String {
        let path = url.path();
        let goes =
            |of: &str| path == of || path.starts_with(of) && (of.ends_with('/') || path[of.len()..].starts_with('/'));
        self.cookies
            .iter()
            .filter(|((of, below, _), _)| *of == host(url) && goes(below))
            .map(|((_, _, name), value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn keep(&mut self, url: &Url, response: &Response) -> Vec<String> {
        let lines: Vec<String> = response
            .headers()
            .get_all(header::SET_COOKIE)
            .iter()
            .map(|line| line.to_str().unwrap().to_owned())
            .collect();
        for line in &lines {
            let mut parts = line.split(';').map(str::trim);
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let attributes: Vec<&str> = parts.collect();
            let path = attributes.iter().find_map(|part| part.strip_prefix("Path=")).unwrap_or("/").to_owned();
            let key = (host(url), path, name.to_owned());
            if attributes.contains(&"Max-Age=0") {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
        lines
    }

    /// Opens a page and follows redirects.
    pub async fn open(&mut self, url: &str) -> Page {
        self.follow(Url::parse(url).unwrap(), 10).await
    }

    /// Opens a page and follows no redirect.
    pub async fn open_once(&mut self, url: &str) -> Page {
        self.follow(Url::parse(url).unwrap(), 0).await
    }

    async fn follow(&mut self, mut url: Url, most: usize) -> Page {
        for step in 0.. {
            let request =
                self.client.get(url.clone()).header("accept", "text/html").header("sec-fetch-mode", "navigate");
            let response = request.header("cookie", self.header(&url)).send().await.unwrap();
            let set_cookies = self.keep(&url, &response);
            let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
            if response.status().is_redirection() && step < most {
                url = url.join(&location.unwrap()).unwrap();
                continue;
            }
            let status = response.status().as_u16();
            return Page { status, url, text: response.text().await.unwrap(), set_cookies, location };
        }
        unreachable!()
    }

    /// Sends a form from a page of the same origin and follows what comes of it.
    pub async fn send(&mut self, url: &str, fields: &[(&str, &str)]) -> Page {
        self.send_from(url, "same-origin", fields).await
    }

    /// Sends a form from elsewhere.
    pub async fn send_from(&mut self, url: &str, site: &str, fields: &[(&str, &str)]) -> Page {
        let url = Url::parse(url).unwrap();
        let request = self.client.post(url.clone()).header("sec-fetch-site", site).header("accept", "text/html");
        let response = request.header("cookie", self.header(&url)).form(fields).send().await.unwrap();
        let set_cookies = self.keep(&url, &response);
        if response.status() == StatusCode::SEE_OTHER {
            let location = response.headers()["location"].to_str().unwrap().to_owned();
            return self.follow(url.join(&location).unwrap(), 10).await;
        }
        let status = response.status().as_u16();
        Page { status, url, text: response.text().await.unwrap(), set_cookies, location: None }
    }
}
