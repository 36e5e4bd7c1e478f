//! The server's side of request signing (facts 1.1, 1.2), written from the rules and not from the client's code.
//!
//! Promises: what CloudStack accepts is accepted, what it refuses is refused. Which of the refusals it was, is never told.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;

use super::dates;
use crate::{secrets::Secret, time::Timestamp};

/// With `enforce.post.requests.and.timestamps`, `expires` may lie this far ahead at most.
const EXPIRES_AHEAD_MS: i64 = 15 * 60 * 1000;

/// Parameters by name as sent. The order of a `BTreeMap` is the order of Java's strings as long as names are ASCII.
pub(crate) type Parameters = BTreeMap<String, String>;

/// Reads the parameters of a request: the query wins over the body; within the query the last wins, within the body
/// the first; a query parameter without `=` is dropped.
pub(crate) fn read_parameters(query: &str, body: &str) -> Parameters {
    let mut parameters = Parameters::new();
    for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
        parameters.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
    for piece in query.split('&').filter(|piece| piece.contains('=')) {
        for (name, value) in url::form_urlencoded::parse(piece.as_bytes()) {
            parameters.insert(name.into_owned(), value.into_owned());
        }
    }
    parameters
}

/// What a request says about its signature.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    pub api_key: Option<String>,
    signature: Option<String>,
    version: Option<String>,
    expires: Option<String>,
    unsigned: String,
}

impl Claim {
    pub(crate) fn of(parameters: &Parameters) -> Self {
        let mut claim = Self::default();
        for (name, value) in parameters {
            if name.eq_ignore_ascii_case("signature") {
                claim.signature = Some(value.clone());
                continue;
            }
            if name.eq_ignore_ascii_case("apikey") {
                claim.api_key = Some(value.clone());
            } else if name.eq_ignore_ascii_case("signatureversion") {
                claim.version = Some(value.clone());
            } else if name.eq_ignore_ascii_case("expires") {
                claim.expires = Some(value.clone());
            }
            if !claim.unsigned.is_empty() {
                claim.unsigned.push('&');
            }
            claim.unsigned.push_str(name);
            claim.unsigned.push('=');
            encode_into(&mut claim.unsigned, value);
        }
        claim
    }

    /// Whether the request carries a signature and a key, and is not past its `expires`.
    pub(crate) fn is_current(&self, now: Timestamp, enforced: bool) -> bool {
        if self.signature.is_none() || self.api_key.is_none() {
            return false;
        }
        if self.version.as_deref() != Some("3") {
            return !enforced;
        }
        self.expires.as_deref().and_then(dates::read_zoned).is_some_and(|expires| {
            expires >= now && !(enforced && expires.as_ms() > now.as_ms().saturating_add(EXPIRES_AHEAD_MS))
        })
    }

    /// Whether the signature is the one that the secret gives.
    pub(crate) fn matches(&self, secret: &Secret) -> bool {
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()) else { return false };
        mac.update(self.unsigned.to_lowercase().as_bytes());
        let computed = Secret::new(STANDARD.encode(mac.finalize().into_bytes()));
        self.signature.as_deref().is_some_and(|given| computed.matches(given))
    }
}

/// Java's `URLEncoder` with `+` turned into `%20`.
fn encode_into(target: &mut String, value: &str) {
    use std::fmt::Write as _;
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'*' | b'_') {
            target.push(char::from(byte));
        } else {
            let _ = write!(target, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsigned(query: &str, body: &str) -> String {
        Claim::of(&read_parameters(query, body)).unsigned.to_lowercase()
    }

    #[test]
    fn names_are_sorted_raw_and_values_decoded_then_encoded_again() {
        assert_eq!(
            unsigned("", "b=x&Zone=1&a=~*+%2F%2b&details[0].key=a%20b&signature=zz"),
            "zone=1&a=%7e*%20%2f%2b&b=x&details[0].key=a%20b"
        );
        assert_eq!(unsigned("a=1&a=2&flag", "a=3&c=4&c=5"), "a=2&c=4");
    }

    #[test]
    fn an_expired_request_is_refused_and_one_without_version_three_is_not() {
        let now = dates::read_zoned("2026-11-22T10:00:00Z").unwrap();
        let current = |body: &str, enforced| Claim::of(&read_parameters("", body)).is_current(now, enforced);
        let v3 = "apikey=k&signature=s&signatureversion=3&expires=";
        assert!(current(&format!("{v3}2026-11-22T10:10:00%2B0000"), true));
        assert!(current(&format!("{v3}2026-11-22T15:31:00%2B05:30"), false));
        assert!(!current(&format!("{v3}2026-11-22T09:59:59Z"), false));
        assert!(
            !current(&format!("{v3}2026-11-22T10:16:00Z"), true)
                && current(&format!("{v3}2026-11-22T10:16:00Z"), false)
        );
        assert!(!current(v3, false) && !current("apikey=k&signature=s", true));
        assert!(current("apikey=k&signature=s", false) && !current("apikey=k", false));
    }
}
