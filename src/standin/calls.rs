//! The log of calls received, for assertions: without any secret.

use std::collections::BTreeMap;

use crate::time::Timestamp;

/// Parameters that never enter the log.
const SECRET_PARAMETERS: [&str; 9] = [
    "apikey",
    "base64image",
    "codefor2fa",
    "currentpassword",
    "password",
    "secretkey",
    "sessionkey",
    "signature",
    "usersecretkey",
];

/// One call, as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The command as it was sent.
    pub command: String,
    /// The other parameters, names in lower case; keys, passwords and signatures are left out.
    pub parameters: BTreeMap<String, String>,
    /// The caller's user name, once proven.
    pub caller: Option<String>,
    /// The stand-in's clock.
    pub at: Timestamp,
    /// The HTTP status of the answer (0 until it is known).
    pub status: u16,
    /// GET or POST.
    pub method: String,
}

impl Received {
    pub(crate) fn new(method: &str, command: &str, parameters: &BTreeMap<String, String>, at: Timestamp) -> Self {
        let parameters = parameters
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value.clone()))
            .filter(|(name, _)| name != "command" && !SECRET_PARAMETERS.contains(&name.as_str()))
            .collect();
        Self { command: command.to_owned(), parameters, caller: None, at, status: 0, method: method.to_owned() }
    }
}
