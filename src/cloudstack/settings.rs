//! Where CloudStack is and how patient the client is.

use std::{path::PathBuf, sync::Arc, time::Duration};

use url::Url;

use super::{Carrier, Error};
use crate::secrets::Secret;

/// The time a call may take from start to the last byte. A page of 500 usage records takes a loaded server seconds.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// The biggest answer that is read: 500 usage records are some 400 KiB, the full list of APIs some 10 MiB.
const DEFAULT_MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// How often a read is tried again.
const DEFAULT_READ_RETRIES: u32 = 4;
/// The first pause between tries; it doubles each time.
const DEFAULT_RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Reads under way at once, where nothing says otherwise.
const DEFAULT_READS_AT_ONCE: usize = 8;
/// How long a signed request stays valid. CloudStack allows at most 15 minutes where it enforces a limit (facts 1.2).
const DEFAULT_EXPIRES_AFTER: Duration = Duration::from_mins(10);

/// Where CloudStack is and how patient the client is.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The address of the cloud: `https://host`, `https://host/client` or the full `https://host/client/api`.
    pub url: Url,
    /// The deadline of one call, from connecting to the last byte.
    pub timeout: Duration,
    /// The biggest answer that is read, in bytes after unpacking.
    pub max_body_bytes: usize,
    /// How often a read is tried again after the first try. Writes never are.
    pub read_retries: u32,
    /// The first pause between tries, doubled each time. Zero: no pause at all, not even one that the server asks for.
    pub retry_pause: Duration,
    /// Reads under way at once, at most. Fewer while the server says that it is too busy; writes are sent one by one.
    pub reads_at_once: usize,
    /// Further certificate authorities (PEM), besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a signed request stays valid.
    pub expires_after: Duration,
    /// What carries requests instead of a connection; None: HTTP. For the simulation.
    pub carrier: Option<Arc<dyn Carrier>>,
}

impl ClientSettings {
    /// Sensible settings for the cloud at `url`.
    pub const fn new(url: Url) -> Self {
        Self {
            url,
            timeout: DEFAULT_TIMEOUT,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            read_retries: DEFAULT_READ_RETRIES,
            retry_pause: DEFAULT_RETRY_PAUSE,
            reads_at_once: DEFAULT_READS_AT_ONCE,
            ca_file: None,
            expires_after: DEFAULT_EXPIRES_AFTER,
            carrier: None,
        }
    }

    /// The address of the API itself.
    pub fn endpoint(&self) -> Result<Url, Error> {
        let wrong = |what: &str| {
            Error::configuration(format!(
                "the CloudStack URL {what}; it looks like https://cloud.example.com/client/api"
            ))
        };
        let mut url = self.url.clone();
        if !matches!(url.scheme(), "https" | "http") {
            return Err(wrong("must begin with https:// (or http://)"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must not hold a user name or password: keys have settings of their own"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must end with its path, without ? and #"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        let path = match path.as_str() {
            "" => "/client/api".to_owned(),
            p if p.ends_with("/api") => path,
            p if p.ends_with("/client") => format!("{path}/api"),
            _ => return Err(wrong(&format!("has an unknown path {path}"))),
        };
        url.set_path(&path);
        Ok(url)
    }
}

/// A user's key pair. Its Debug shows neither half.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Names the user to CloudStack.
    pub api_key: Secret,
    /// Signs the requests; never leaves the process.
    pub secret_key: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<String, Error> {
        ClientSettings::new(url.parse().unwrap()).endpoint().map(String::from)
    }

    #[test]
    fn every_usual_spelling_of_the_url_leads_to_the_api() {
        for url in [
            "https://cloud.example.com",
            "https://cloud.example.com/",
            "https://cloud.example.com/client",
            "https://cloud.example.com/client/",
            "https://cloud.example.com/client/api",
            "https://cloud.example.com/client/api/",
        ] {
            assert_eq!(endpoint(url).unwrap(), "https://cloud.example.com/client/api", "{url}");
        }
        assert_eq!(endpoint("http://127.0.0.1:8080/client").unwrap(), "http://127.0.0.1:8080/client/api");
    }

    #[test]
    fn a_wrong_url_is_refused_with_an_example() {
        for url in [
            "ftp://cloud.example.com",
            "file:///client/api",
            "https://admin:pass@cloud.example.com",
            "https://cloud.example.com/client/api?command=x",
            "https://cloud.example.com/#/dashboard",
            "https://cloud.example.com/login",
        ] {
            let error = endpoint(url).unwrap_err();
            assert!(matches!(&error, Error::Configuration { text } if text.contains("/client/api")), "{url}: {error}");
            assert!(!error.to_string().contains("pass@"), "{error}");
        }
    }
}
