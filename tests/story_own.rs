//! What a person does to the own CloudStack user: through bursar's pages, with a real sign-in at the stand-in.

mod address;
mod password;
mod picture;
mod profile;
mod second_factor;

use std::{collections::BTreeMap, sync::Arc};

use bursar::{
    cloudstack::session::SessionClient,
    ids::CloudId,
    jobs::Role,
    lifecycle::{Condition, Readiness},
    people::directory,
    standin::{AccountKind, Fault, FaultKind, Person, World},
    store::runs,
    web::{self, WebState, keydesk::ClosedDesk},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{Cloud, Database, NOVEMBER, tenant};

/// Where the pages are, below the listener.
const BASE: &str = "/client/api/bursar";
/// The password of every tenant.
const PASSWORD: &str = "password-of-a-tenant";

/// A cloud with its pages: alice and bob are tenants, acmeadmin administers the domain acme.
struct Place {
    cloud: Cloud,
    url: String,
    client: reqwest::Client,
    alice: CloudId,
    stop: CancellationToken,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Place {
    async fn open(database: Database) -> Self {
        Self::open_with(database, &[], |_| {}).await
    }

    async fn open_with(database: Database, settings: &[(&str, &str)], build: impl FnOnce(&mut World)) -> Self {
        let mut cloud = Cloud::start(database, NOVEMBER, |world| {
            tenant(world, "alice");
            tenant(world, "bob");
            let acme = world.add_domain(world.root_domain(), "acme");
            let admin = world.add_account(acme, "acmeadmin", AccountKind::DomainAdmin);
            world.add_user(admin, "acmeadmin", PASSWORD, "acmeadmin@example.com");
            build(world);
        })
        .await;
        for (key, value) in settings {
            cloud.env.insert(format!("BURSAR_{key}"), (*value).to_owned());
        }
        cloud.restart().await;
        let reader = cloud.app.client(Role::Reader).unwrap();
        let run = cloud.begin_run().await;
        directory::sync_directory(&reader, &cloud.app.store, &cloud.clock, run).await.unwrap();
        cloud.limit("alice", "250").await;
        let sessions = SessionClient::new(&cloud.app.client_settings().unwrap()).unwrap();
        let readiness = Readiness::new(&[Condition::Store], &[]);
        let state = WebState::new(cloud.app.clone(), readiness, sessions, Arc::default(), Arc::new(ClosedDesk));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(web::serve(state, listener, stop.clone()));
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let alice = cloud.standin.with(|world| world.find_user(world.root_domain(), "alice").unwrap());
        cloud.standin.with(World::forget_calls);
        Self { cloud, url, client, alice, stop }
    }

    /// Signs in at CloudStack as its UI does, and keeps the cookies as a browser does.
    async fn sign_in(&self, username: &str, password: &str, domain: &str) -> Browser<'_> {
        let mut browser = Browser { place: self, cookies: BTreeMap::new(), csrf: String::new() };
        let form = [
            ("command", "login"),
            ("response", "json"),
            ("username", username),
            ("password", password),
            ("domain", domain),
        ];
        let response = self.client.post(self.cloud.standin.url()).form(&form).send().await.unwrap();
        let (status, cookies) = (response.status(), set_cookies(&response));
        assert_eq!(status, 200, "{}", response.text().await.unwrap());
        browser.cookies.extend(cookies);
        self.cloud.standin.with(World::forget_calls);
        browser
    }

    async fn alice(&self) -> Browser<'_> {
        self.sign_in("alice", PASSWORD, "/").await
    }

    /// Alice as CloudStack has her now.
    fn person(&self) -> Person {
        self.person_of(self.alice)
    }

    fn person_of(&self, user: CloudId) -> Person {
        self.cloud.standin.with(|world| world.person(user).unwrap())
    }

    fn fault(&self, command: &str, kind: FaultKind) {
        self.cloud.standin.with(|world| world.faults().push(Fault::once(command, kind)));
    }

    /// How often CloudStack was asked for this since the last sign-in.
    fn calls(&self, command: &str) -> usize {
        self.cloud.standin.calls().iter().filter(|call| call.command == command).count()
    }

    /// The audit trail of a user, oldest first: action and what came of it.
    async fn audit(&self, user: CloudId) -> Vec<(String, String)> {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        let subject = format!("user {user}");
        let mut lines = runs::list_audit(&mut tx, Some(&subject), 100).await.unwrap();
        lines.reverse();
        lines.into_iter().map(|line| (line.action, line.after_state.unwrap_or_default())).collect()
    }
}

fn set_cookies(response: &reqwest::Response) -> Vec<(String, String)> {
    response
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|line| {
            let (name, value) = line.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// What came back.
struct Answer {
    status: u16,
    location: Option<String>,
    headers: reqwest::header::HeaderMap,
    bytes: Vec<u8>,
    text: String,
}

impl Answer {
    #[track_caller]
    fn says(&self, words: &str) -> &Self {
        assert!(self.text.contains(words), "{words:?} is missing in {}: {}", self.status, self.text);
        self
    }

    #[track_caller]
    fn is_refused_with(&self, words: &str) -> &Self {
        assert_eq!(self.status, 422, "{}", self.text);
        self.says(words)
    }

    #[track_caller]
    fn is_done(&self, word: &str) {
        assert_eq!(self.status, 303, "{}", self.text);
        let location = self.location.as_deref().unwrap();
        assert!(location.ends_with(&format!("?done={word}")), "{location}");
    }

    /// The value of a hidden field.
    fn hidden(&self, name: &str) -> String {
        let found = self.text.split_once(&format!("name=\"{name}\" value=\""));
        let start = found.unwrap_or_else(|| panic!("there is no field {name} in {}", self.text)).1;
        start.split_once('"').unwrap().0.to_owned()
    }
}

/// A browser: cookies, and the token of the page that it has open.
#[derive(Clone)]
struct Browser<'a> {
    place: &'a Place,
    cookies: BTreeMap<String, String>,
    csrf: String,
}

impl Browser<'_> {
    fn cookie_header(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{BASE}{path}", self.place.url);
        let request = self.place.client.request(method, url).header("accept", "text/html");
        request.header("cookie", self.cookie_header()).header("sec-fetch-site", "same-origin")
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        self.cookies.extend(set_cookies(&response));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let location = headers.get("location").map(|value| value.to_str().unwrap().to_owned());
        let bytes = response.bytes().await.unwrap().to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((_, after)) = text.split_once("name=\"csrf\" value=\"") {
            after.split_once('"').unwrap().0.clone_into(&mut self.csrf);
        }
        Answer { status, location, headers, bytes, text }
    }

    /// Opens a page.
    async fn open(&mut self, path: &str) -> Answer {
        let request = self.request(reqwest::Method::GET, path).header("sec-fetch-mode", "navigate");
        self.send(request).await
    }

    /// Sends a form of the page that is open.
    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf.clone();
        let mut form = vec![("csrf", csrf.as_str())];
        form.extend(fields);
        let request = self.request(reqwest::Method::POST, path).form(&form);
        self.send(request).await
    }

    /// Sends a file, under a name and a kind that it claims.
    async fn upload(&mut self, csrf: &str, name: &str, kind: &str, file: &[u8]) -> Answer {
        let boundary = "----the-form";
        let mut body = Vec::new();
        body.extend_from_slice(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n").as_bytes(),
        );
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"{name}\"\r\n\
                 Content-Type: {kind}\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(file);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let request = self
            .request(reqwest::Method::POST, "/profile/picture")
            .header("content-type", format!("multipart/form-data; boundary={boundary}"))
            .body(body);
        self.send(request).await
    }

    /// Whether CloudStack still takes the session: asked as its UI asks.
    async fn is_signed_in(&self) -> bool {
        let key = self.cookies.get("sessionkey").unwrap();
        let form = [("command", "listUsers"), ("response", "json"), ("sessionkey", key)];
        let request = self.place.client.post(self.place.cloud.standin.url()).header("cookie", self.cookie_header());
        request.form(&form).send().await.unwrap().status() == 200
    }

    /// Signs out of CloudStack in another window.
    async fn sign_out(&self) {
        let form = [("command", "logout"), ("response", "json")];
        let request = self.place.client.post(self.place.cloud.standin.url()).header("cookie", self.cookie_header());
        assert_eq!(request.form(&form).send().await.unwrap().status(), 200);
    }
}

/// The words that stay out of what tenants read.
#[track_caller]
fn speaks_plainly(text: &str) {
    let (_, content) = text.split_once("<main").unwrap();
    for word in ["rung", "hold", "fuse", "quarantine", "standing"] {
        assert!(!content.to_lowercase().contains(word), "{word} is on a tenant's page: {content}");
    }
    for inline in ["style=", "<style", "onclick=", "onload=", "javascript:"] {
        assert!(!content.contains(inline), "{inline} is on the page");
    }
}
