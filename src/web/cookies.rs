//! The cookies of a request: CloudStack's session, and bursar's own.

use axum::http::{HeaderMap, header};

use crate::{cloudstack::session::ForwardedSession, secrets::Secret};

/// bursar's own cookie.
pub(super) const COOKIE: &str = "bursar_session";
/// The cookie that a sign-in at an issuer is bound to.
pub(super) const SIGN_IN_COOKIE: &str = "bursar_sign_in";

/// Why there is no CloudStack session to speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSession {
    /// One half is missing.
    #[error("a session cookie is missing")]
    Missing,
    /// Several, and nobody knows which is right: asking with the wrong one would log the person out.
    #[error("there are several CloudStack sessions")]
    Several,
}

/// The cookies as sent. No Debug: they are secrets.
pub(super) struct Jar(Vec<(String, String)>);

impl Jar {
    /// Reads every cookie header.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let pairs = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        Self(pairs)
    }

    /// The one value of a cookie; the same value twice is one.
    pub(super) fn one(&self, name: &str) -> Result<&str, NoSession> {
        let mut values = self.0.iter().filter(|(n, v)| n == name && !v.is_empty()).map(|(_, value)| value.as_str());
        let first = values.next().ok_or(NoSession::Missing)?;
        if values.all(|other| other == first) { Ok(first) } else { Err(NoSession::Several) }
    }

    /// bursar's own cookie.
    pub(super) fn own(&self) -> Option<&str> {
        self.one(COOKIE).ok()
    }

    /// CloudStack's session with the balancer's cookies that are trusted, and nothing else.
    pub(super) fn cloudstack(&self, affinity: &[String]) -> Result<ForwardedSession, NoSession> {
        let (jsessionid, session_key) = match (self.one("JSESSIONID"), self.one("sessionkey")) {
            (Err(NoSession::Several), _) | (_, Err(NoSession::Several)) => return Err(NoSession::Several),
            (jsessionid, session_key) => (jsessionid?, session_key?),
        };
        let extra = affinity.iter().filter_map(|name| Some((name.clone(), Secret::new(self.one(name).ok()?))));
        Ok(ForwardedSession {
            jsessionid: Secret::new(jsessionid),
            session_key: Secret::new(session_key),
            extra_cookies: extra.collect(),
        })
    }
}

impl Jar {
    /// What ties bursar's session to CloudStack's: to the one there is, or to the whole of several, since any change of them may
    /// be another person's; empty where there is none.
    pub(super) fn tied_to(&self, forwarded: &Result<ForwardedSession, NoSession>) -> String {
        match forwarded {
            Ok(session) => proof_hash(session),
            Err(NoSession::Missing) => String::new(),
            Err(NoSession::Several) => {
                let mut halves: Vec<&(String, String)> =
                    self.0.iter().filter(|(name, _)| matches!(name.as_str(), "JSESSIONID" | "sessionkey")).collect();
                halves.sort_unstable();
                let mut hash = blake3::Hasher::new_derive_key("bursar 2026 several CloudStack sessions");
                for text in halves.iter().flat_map(|(name, value)| [name, value]) {
                    hash.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
                    hash.update(text.as_bytes());
                }
                hash.finalize().to_hex().to_string()
            }
        }
    }
}

/// What ties bursar's session to CloudStack's: neither half can be read back from it.
pub(super) fn proof_hash(session: &ForwardedSession) -> String {
    let mut hash = blake3::Hasher::new_derive_key("bursar 2026 proof of a CloudStack session");
    for part in [&session.jsessionid, &session.session_key] {
        hash.update(&u64::try_from(part.expose().len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.expose().as_bytes());
    }
    hash.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(text: &str) -> Jar {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, text.parse().unwrap());
        Jar::read(&headers)
    }

    #[test]
    fn both_halves_are_needed_and_each_only_once() {
        assert!(jar("JSESSIONID=a; sessionkey=b; other=c").cloudstack(&[]).is_ok());
        assert_eq!(jar("JSESSIONID=a").cloudstack(&[]).unwrap_err(), NoSession::Missing);
        assert_eq!(jar("sessionkey=b").cloudstack(&[]).unwrap_err(), NoSession::Missing);
        assert_eq!(jar("JSESSIONID=a; sessionkey=").cloudstack(&[]).unwrap_err(), NoSession::Missing);
        assert_eq!(jar("JSESSIONID=a; sessionkey=b; sessionkey=c").cloudstack(&[]).unwrap_err(), NoSession::Several);
        assert_eq!(jar("sessionkey=b; sessionkey=c").cloudstack(&[]).unwrap_err(), NoSession::Several);
        assert!(jar("JSESSIONID=a; sessionkey=b; sessionkey=b").cloudstack(&[]).is_ok());
    }

    #[test]
    fn only_named_cookies_of_a_balancer_go_along() {
        let session =
            jar("JSESSIONID=a; sessionkey=b; SERVERID=s1; account=x").cloudstack(&["SERVERID".to_owned()]).unwrap();
        let names: Vec<&str> = session.extra_cookies.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["SERVERID"]);
    }

    #[test]
    fn several_sessions_tie_as_one_does_and_none_ties_nothing() {
        let tied = |text: &str| {
            let jar = jar(text);
            jar.tied_to(&jar.cloudstack(&[]))
        };
        assert_eq!(tied("other=c; JSESSIONID=a"), "");
        let several = tied("JSESSIONID=a; sessionkey=b; sessionkey=c");
        assert_eq!(several, tied("sessionkey=c; JSESSIONID=a; sessionkey=b; other=x"));
        assert_ne!(several, tied("JSESSIONID=a; sessionkey=b; sessionkey=d"));
        assert_ne!(several, tied("JSESSIONID=a; sessionkey=b"));
        assert!(!several.is_empty());
    }

    #[test]
    fn the_hash_changes_with_either_half() {
        let hash = |text: &str| proof_hash(&jar(text).cloudstack(&[]).unwrap());
        let one = hash("JSESSIONID=ab; sessionkey=c");
        assert_ne!(one, hash("JSESSIONID=a; sessionkey=bc"));
        assert_ne!(one, hash("JSESSIONID=ab; sessionkey=d"));
        assert_eq!(one, hash("sessionkey=c; JSESSIONID=ab"));
    }
}
