//! Secrets: opaque in every Debug and log, read from files or the environment, compared in constant time.

use secrecy::{ExposeSecret, SecretString};

/// A secret string. Its Debug shows nothing, its memory is wiped when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes ownership of a secret's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself. Every caller of this is a place to review.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether the secret is the empty text.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// Whether both are equal, in a time that does not tell where they differ.
    pub fn matches(&self, other: &str) -> bool {
        blake3::hash(self.expose().as_bytes()) == blake3::hash(other.as_bytes())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The hash under which tokens and session ids are stored (hex); the token itself is shown once and never kept.
pub fn token_hash(token: &str) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(secret.matches("hunter2") && !secret.matches("hunter3"));
    }
}
