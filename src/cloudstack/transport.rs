//! One POST and its answer: deadline, size limit, no cookies of its own, no redirects, no proxies, no retries.

use std::{error::Error as _, sync::Arc, time::Duration};

use reqwest::{
    Certificate,
    header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, HeaderValue, LOCATION, SET_COOKIE},
};
use url::Url;

use super::{Carrier, ClientSettings, Error, NotCarried, envelope::Rejection, error::bounded};
use crate::time::Timestamp;

/// Idle connections are closed before Jetty closes them (30 s): a write on a dying connection would end as uncertain.
const IDLE: Duration = Duration::from_secs(15);

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) server_date: Option<Timestamp>,
    /// Only the login reads these; they are never passed on.
    pub(crate) set_cookies: Vec<String>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    kind: Lost,
    /// What happened, bounded, without the URL.
    text: String,
}

#[derive(Debug)]
enum Lost {
    /// No connection: nothing was sent.
    NotSent,
    /// The server's certificate is not trusted: nothing was sent, and trying again is of no use.
    Untrusted,
    /// The request may have reached the server.
    Sent,
    /// There is an answer, but it is too big to read.
    TooBig,
}

impl NoAnswer {
    /// As the caller of a read sees it, and whether it is certain that nothing was done.
    pub(crate) fn into_rejection(self) -> Rejection {
        let Self { kind, text } = self;
        match kind {
            Lost::NotSent => Rejection { error: Error::Retry { code: None, after: None, text }, definite: true },
            Lost::Untrusted => Rejection { error: Error::Configuration { text }, definite: true },
            Lost::Sent => Rejection { error: Error::Retry { code: None, after: None, text }, definite: false },
            Lost::TooBig => Rejection { error: Error::Malformed { text }, definite: false },
        }
    }
}

/// The HTTP side of a client. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    endpoint: Url,
    max_body_bytes: usize,
    carrier: Option<Arc<dyn Carrier>>,
}

impl Http {
    pub(crate) fn new(settings: &ClientSettings) -> Result<Self, Error> {
        let endpoint = settings.endpoint()?;
        // Fails when somebody else was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("bursar/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy();
        let extra = match &settings.ca_file {
            None => Vec::new(),
            Some(path) => {
                let wrong = |what: String| {
                    Error::configuration(format!("the file of certificate authorities {} {what}", path.display()))
                };
                let pem = std::fs::read(path).map_err(|error| wrong(format!("can not be read: {error}")))?;
                let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
                if certificates.is_empty() {
                    return Err(wrong("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned()));
                }
                certificates
            }
        };
        // Without TLS the system's authorities are not needed, and a small container may have none.
        builder =
            if endpoint.scheme() == "http" { builder.tls_certs_only(extra) } else { builder.tls_certs_merge(extra) };
        let client = builder.build().map_err(|error| {
            Error::configuration(format!(
                "TLS can not be set up ({}); are the system's certificate authorities installed (package ca-certificates)?",
                causes(&error)
            ))
        })?;
        if endpoint.scheme() == "http" && !is_loopback(&endpoint) {
            tracing::warn!("CloudStack is reached without TLS: keys it makes travel readable over the network");
        }
        let (max_body_bytes, carrier) = (settings.max_body_bytes, settings.carrier.clone());
        Ok(Self { client, endpoint, max_body_bytes, carrier })
    }

    /// Lets a pause of the client pass.
    pub(crate) async fn pause(&self, span: Duration) {
        match &self.carrier {
            Some(carrier) => carrier.pause(span).await,
            None => tokio::time::sleep(span).await,
        }
    }

    /// How long a carrier's calls and pauses took so far; None without one: the machine's time counts.
    pub(crate) fn passed(&self) -> Option<Duration> {
        self.carrier.as_ref().map(|carrier| carrier.passed())
    }

    async fn carried(&self, carrier: &dyn Carrier, form: String) -> Result<Exchange, NoAnswer> {
        let answer = carrier.carry(form).await.map_err(|why| not_carried(&why))?;
        if answer.body.len() > self.max_body_bytes {
            return Err(too_big(self.max_body_bytes));
        }
        Ok(Exchange {
            status: answer.status,
            content_type: answer.content_type,
            server_date: None,
            set_cookies: Vec::new(),
            body: answer.body,
        })
    }

    /// Sends a form and reads the whole answer.
    pub(crate) async fn post(&self, form: String, cookies: Option<HeaderValue>) -> Result<Exchange, NoAnswer> {
        if let Some(carrier) = &self.carrier {
            return self.carried(carrier.as_ref(), form).await;
        }
        let mut request = self
            .client
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        if let Some(cookies) = cookies {
            request = request.header(COOKIE, cookies);
        }
        let mut response = request.send().await.map_err(no_answer)?;
        let header = |name| response.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok()).map(str::to_owned);
        let announced = header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let limit = self.max_body_bytes;
        let too_big = || too_big(limit);
        let mut exchange = Exchange {
            status: response.status().as_u16(),
            content_type: header(CONTENT_TYPE),
            server_date: header(DATE).as_deref().and_then(parse_http_date),
            set_cookies: response
                .headers()
                .get_all(SET_COOKIE)
                .iter()
                .filter_map(|v| v.to_str().ok().map(str::to_owned))
                .collect(),
            body: Vec::new(),
        };
        if let Some(location) = header(LOCATION) {
            tracing::debug!(status = exchange.status, location = bounded(&location), "answered with a redirect");
        }
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(too_big());
        }
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            if exchange.body.len().saturating_add(chunk.len()) > limit {
                return Err(too_big());
            }
            exchange.body.extend_from_slice(&chunk);
        }
        Ok(exchange)
    }
}

fn too_big(limit: usize) -> NoAnswer {
    let text =
        format!("the answer is bigger than the limit of {limit} bytes; ask for smaller pages or raise the limit");
    NoAnswer { kind: Lost::TooBig, text }
}

/// As [`no_answer`], for what a carrier says.
fn not_carried(why: &NotCarried) -> NoAnswer {
    let (kind, text) = match why {
        NotCarried::NotSent => (Lost::NotSent, "no connection"),
        NotCarried::Cut => (Lost::Sent, "the connection was cut before the answer was complete"),
        NotCarried::TooLate => (Lost::Sent, "no complete answer within the deadline"),
    };
    NoAnswer { kind, text: text.to_owned() }
}

fn no_answer(error: reqwest::Error) -> NoAnswer {
    let error = error.without_url();
    let causes = causes(&error);
    let (kind, text) = if error.is_connect() && causes.to_ascii_lowercase().contains("certificate") {
        let way_out = "where a private authority has signed it, name that authority's file in the settings";
        (Lost::Untrusted, format!("the server's certificate is not trusted ({causes}); {way_out}"))
    } else if error.is_connect() || error.is_builder() {
        (Lost::NotSent, format!("no connection ({causes})"))
    } else if error.is_timeout() {
        (Lost::Sent, "no complete answer within the deadline".to_owned())
    } else {
        (Lost::Sent, format!("the connection was cut before the answer was complete ({causes})"))
    };
    NoAnswer { kind, text: bounded(&text) }
}

/// The chain of causes, the innermost being the one that helps.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Reads a `Date` header.
pub(crate) fn parse_http_date(text: &str) -> Option<Timestamp> {
    chrono::DateTime::parse_from_rfc2822(text).ok().map(|at| Timestamp::from_seconds(at.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_is_the_servers_clock() {
        let date = parse_http_date("Sun, 22 Nov 2026 17:19:35 GMT").unwrap();
        assert_eq!(date.to_string(), "2026-11-22T17:19:35Z");
        assert_eq!(parse_http_date("yesterday"), None);
    }

    #[tokio::test]
    async fn a_ca_file_that_is_missing_or_no_certificate_says_so() {
        let mut settings = ClientSettings::new("https://cloud.example.com".parse().unwrap());
        settings.ca_file = Some("/does/not/exist.pem".into());
        assert!(matches!(Http::new(&settings), Err(Error::Configuration { text }) if text.contains("can not be read")));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello").unwrap();
        settings.ca_file = Some(file.path().to_owned());
        assert!(matches!(Http::new(&settings), Err(Error::Configuration { text }) if text.contains("no certificate")));
    }
}
