//! The parameters of a call. Names are lower case, always (facts 1.1).

use std::fmt::Display;

use super::Error;

/// Names that the client sets itself.
const RESERVED: &[&str] = &["command", "response", "apikey", "signature", "signatureversion", "expires", "sessionkey"];
/// Parameters whose values never show up in an error or a log.
const SECRET: &[&str] =
    &["password", "currentpassword", "userapikey", "usersecretkey", "secretkey", "codefor2fa", "sessionkey"];

/// Parameters in the order they were given.
#[derive(Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// From a caller's own names, which must not be those that the client sets.
    pub(crate) fn from_pairs(pairs: &[(&str, &str)]) -> Result<Self, Error> {
        let mut params = Self::new();
        for (name, value) in pairs {
            if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
                return Err(Error::configuration(format!("the parameter {name} is set by the client itself")));
            }
            params = params.with(&name.to_ascii_lowercase(), value);
        }
        Ok(params)
    }

    /// With one more parameter.
    pub(crate) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    /// With one more parameter, if there is a value.
    pub(crate) fn with_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The values that must not be shown.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        self.0.iter().filter(|(name, _)| SECRET.contains(&name.as_str())).map(|(_, value)| value.as_str()).collect()
    }
}
