//! What can go wrong with a call, told apart by what the caller can do about it.
//!
//! Promises: texts are bounded, on one line, and hold no key, signature, password or request body.

use std::time::Duration;

/// Characters of a server's text that are kept: enough for a sentence with a UUID or two, too few to flood a log.
const MAX_TEXT_CHARS: usize = 400;

/// The causes that CloudStack answers with one and the same 401 (facts 0, 1.6). A person has to be told all of them.
pub(crate) const KEY_CAUSES: &str = "the causes look the same from outside: the API key or its secret key is wrong; the \
    service account or its user is locked, disabled or deleted; API key access is off for the user, the account or its \
    domain (setting api.key.access); the clock of this machine or of the management server is off, so that the request \
    counts as expired; this machine's address is not in api.allowed.source.cidr.list; or this release does not know the command";

/// The causes of a 401 in a person's session.
pub(crate) const SESSION_CAUSES: &str = "the session has ended, its session key does not match, or its user or account is \
    locked or disabled; the person has to sign in again";

/// A call that did not give what was asked for, by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Try later: unreachable, too slow, busy (429) or shutting down (503). Reads have been retried already. On a write
    /// it means that nothing was done.
    #[error("CloudStack can not answer now: {text}")]
    Retry {
        /// The HTTP status, if there was an answer.
        code: Option<u16>,
        /// How long the server asks to wait.
        after: Option<Duration>,
        /// What happened.
        text: String,
    },
    /// Understood and declined: a parameter (430, 431) or a business rule (530 and others). The same again is declined again.
    #[error("CloudStack refused ({code}): {text}")]
    Refused {
        /// CloudStack's error code.
        code: u16,
        /// CloudStack's reason.
        text: String,
    },
    /// What the id names does not exist (any more), or the job was purged: read the state instead.
    #[error("CloudStack does not know it: {text}")]
    Gone {
        /// CloudStack's reason.
        text: String,
    },
    /// The role does not allow the API, or the API is missing (432), or the entity is out of reach (531). Logins fail so too.
    #[error("not allowed ({code}): {text}")]
    NotAllowed {
        /// CloudStack's error code.
        code: u16,
        /// CloudStack's reason.
        text: String,
    },
    /// The caller itself is not accepted (401).
    #[error("CloudStack does not accept the caller (401, \"{text}\"): {causes}")]
    Unauthorized {
        /// CloudStack's text, and what was measured besides.
        text: String,
        /// Everything that it may be.
        causes: &'static str,
    },
    /// A resource limit of the account, domain or project stands in the way (532, 535).
    #[error("a resource limit is reached ({code}): {text}")]
    LimitReached {
        /// CloudStack's error code.
        code: u16,
        /// CloudStack's reason.
        text: String,
    },
    /// The session's second factor is missing or wrong (511). CloudStack has ended that session, or undone the set-up that the
    /// code was for.
    #[error("the second factor is missing or wrong: {text}")]
    SecondFactor {
        /// CloudStack's reason.
        text: String,
    },
    /// The answer is not what the API gives: empty, not JSON, of another shape, or too big.
    #[error("the answer can not be read: {text}")]
    Malformed {
        /// What is wrong with it, and the way out.
        text: String,
    },
    /// A write went out and its answer was lost. It may have been done: look its job up, or read the state back.
    #[error("the outcome is not known: {text}")]
    Uncertain {
        /// How the answer was lost.
        text: String,
    },
    /// The URL, the certificate file or the call itself is wrong; nothing was sent.
    #[error("{text}")]
    Configuration {
        /// What is wrong, and an example of what is right.
        text: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything. Not so for an uncertain write, whose
    /// state has to be read first.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Retry { .. })
    }

    /// CloudStack's error code (or the HTTP status), where there was an answer with one.
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::Retry { code, .. } => *code,
            Self::Refused { code, .. } | Self::NotAllowed { code, .. } | Self::LimitReached { code, .. } => Some(*code),
            Self::Gone { .. } => Some(431),
            Self::Unauthorized { .. } => Some(401),
            Self::SecondFactor { .. } => Some(511),
            Self::Malformed { .. } | Self::Uncertain { .. } | Self::Configuration { .. } => None,
        }
    }

    /// Whether CloudStack refused because the same already exists: a job with this `customjobid`, a user of this name
    /// (530 in both cases, facts 0).
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Refused { text, .. } if text.to_ascii_lowercase().contains("already exist"))
    }

    /// An answer of the wrong kind.
    pub(crate) fn malformed(text: impl AsRef<str>) -> Self {
        Self::Malformed { text: bounded(text.as_ref()) }
    }

    /// Nothing was sent.
    pub(crate) fn configuration(text: impl AsRef<str>) -> Self {
        Self::Configuration { text: bounded(text.as_ref()) }
    }

    /// The same error, when it is about a write that may have reached the server.
    #[must_use]
    pub(crate) fn after_write(self) -> Self {
        match self {
            Self::Malformed { text } | Self::Retry { text, .. } => Self::Uncertain { text },
            definite => definite,
        }
    }

    /// The same error with its text changed.
    #[must_use]
    pub(crate) fn map_text(mut self, change: impl FnOnce(&str) -> String) -> Self {
        let (Self::Retry { text, .. }
        | Self::Refused { text, .. }
        | Self::Gone { text }
        | Self::NotAllowed { text, .. }
        | Self::Unauthorized { text, .. }
        | Self::LimitReached { text, .. }
        | Self::SecondFactor { text }
        | Self::Malformed { text }
        | Self::Uncertain { text }
        | Self::Configuration { text }) = &mut self;
        *text = change(text);
        self
    }

    /// From an error code and text that CloudStack gave, in an answer or in a failed job. Never by the class of the
    /// status: 431 is also "not found", 432 a missing right, 531 a failed login (facts 1.6).
    pub(crate) fn from_code(code: u16, text: &str) -> Self {
        let plain = unwrap_nested(text);
        let text = bounded(&plain);
        let lower = text.to_ascii_lowercase();
        match code {
            401 if lower.contains("not available for user") => Self::NotAllowed { code, text },
            401 => Self::Unauthorized { text, causes: KEY_CAUSES },
            429 => Self::Retry { code: Some(code), after: asked_wait(&lower), text },
            431 if says_unknown(&lower) => Self::Gone { text },
            432 | 531 => Self::NotAllowed { code, text },
            503 => Self::Retry { code: Some(code), after: None, text },
            511 => Self::SecondFactor { text },
            532 | 535 => Self::LimitReached { code, text },
            _ => Self::Refused { code, text },
        }
    }
}

/// Whether a 431 says that something does not exist.
fn says_unknown(lower: &str) -> bool {
    [
        "entity does not exist",
        "unable to find",
        "could not find",
        "can't find",
        "cannot find",
        "not found",
        "doesn't exist",
    ]
    .iter()
    .any(|phrase| lower.contains(phrase))
}

/// The wait in "… retry after [1000] ms" (facts 1.7: there is no Retry-After header).
fn asked_wait(lower: &str) -> Option<Duration> {
    let rest = lower.split_once("retry after")?.1;
    let digits: String = rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().ok().map(Duration::from_millis)
}

/// A wrong second factor comes with a whole JSON answer inside the text (facts 0): the sentence in it is what counts.
fn unwrap_nested(text: &str) -> String {
    if !text.trim_start().starts_with('{') {
        return text.to_owned();
    }
    serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|value| {
            let inner = value.as_object()?.values().next()?;
            inner.get("errortext")?.as_str().map(str::to_owned)
        })
        .unwrap_or_else(|| text.to_owned())
}

/// One line of bounded length without control characters.
pub(crate) fn bounded(text: &str) -> String {
    let mut line = String::new();
    for (count, word) in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).enumerate()
    {
        if count > 0 {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MAX_TEXT_CHARS.saturating_mul(4) {
            break;
        }
    }
    if line.chars().nth(MAX_TEXT_CHARS).is_some() {
        line = line.chars().take(MAX_TEXT_CHARS).collect();
        line.push('…');
    }
    line
}

/// The text without any of the secrets, should the server have echoed one.
pub(crate) fn scrubbed(text: &str, secrets: &[&str]) -> String {
    secrets
        .iter()
        .filter(|secret| secret.len() >= 4)
        .fold(text.to_owned(), |clean, secret| clean.replace(*secret, "(secret)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_what_the_caller_can_do() {
        let kind = |code, text: &str| Error::from_code(code, text);
        assert!(matches!(kind(431, "Page size can't exceed max"), Error::Refused { code: 431, .. }));
        assert!(matches!(kind(431, "…, or entity does not exist or due to …"), Error::Gone { .. }));
        assert!(matches!(kind(432, "The API [createZone] does not exist or …"), Error::NotAllowed { code: 432, .. }));
        assert!(matches!(kind(531, "Caller does not have permission"), Error::NotAllowed { code: 531, .. }));
        assert!(matches!(kind(401, "unable to verify user credentials"), Error::Unauthorized { .. }));
        assert!(matches!(kind(401, "The API [x] is not available for user"), Error::NotAllowed { code: 401, .. }));
        assert!(matches!(kind(532, "x"), Error::LimitReached { .. }));
        assert!(matches!(kind(530, "Entity already exists "), Error::Refused { .. }));
        assert!(kind(530, "Entity already exists ").is_already_exists());
        assert!(kind(503, "preparing for maintenance").is_retryable());
    }

    #[test]
    fn the_wait_of_a_429_is_in_its_text() {
        let error =
            Error::from_code(429, "The given user has reached his/her account api limit, please retry after [850] ms.");
        assert!(matches!(error, Error::Retry { after: Some(wait), .. } if wait == Duration::from_millis(850)));
        assert!(matches!(Error::from_code(429, "slow down"), Error::Retry { after: None, .. }));
    }

    #[test]
    fn texts_are_short_single_lines_without_secrets() {
        let error = Error::from_code(530, &format!("a\n\tb\u{0}c {}", "long ".repeat(5_000)));
        let text = error.to_string();
        assert!(text.contains("a b c long") && text.chars().count() < 500, "{text}");
        assert_eq!(scrubbed("key abcd1234 is bad", &["abcd1234", ""]), "key (secret) is bad");
    }

    #[test]
    fn a_401_names_every_cause() {
        let text = Error::from_code(401, "unable to verify user credentials and/or request signature").to_string();
        for cause in ["API key or its secret", "locked", "api.key.access", "clock", "cidr"] {
            assert!(text.contains(cause), "{cause} is missing in: {text}");
        }
    }
}
