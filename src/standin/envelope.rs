//! Answers and refusals in CloudStack's shapes (facts 1.5, 1.6).

use serde_json::{Map, Value, json};

/// What a call ends in when it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The HTTP status, which is CloudStack's error code too.
    pub code: u16,
    /// `cserrorcode`; absent where CloudStack leaves it out.
    pub detail: Option<u32>,
    pub text: String,
    /// Answer under `errorresponse` instead of the command's own name.
    pub nameless: bool,
    /// Callers that are not root get a general text.
    pub internal: bool,
}

/// What a caller that is not root reads instead of an internal error.
pub(crate) const GENERAL_TEXT: &str = "Internal error executing command, please contact your system administrator";
/// The one text for every kind of wrong credential.
pub(crate) const CREDENTIALS_TEXT: &str = "unable to verify user credentials and/or request signature";

/// `cserrorcode` of `ServerApiException`.
const SERVER_API: u32 = 9999;
/// `cserrorcode` of `InvalidParameterValueException`.
const INVALID_VALUE: u32 = 4350;
/// `cserrorcode` of `CloudRuntimeException`.
const RUNTIME: u32 = 4250;
/// `cserrorcode` of `PermissionDeniedException`.
const PERMISSION: u32 = 4365;
/// `cserrorcode` of `CloudTwoFactorAuthenticationException`.
const SECOND_FACTOR: u32 = 4295;

impl Failure {
    fn new(code: u16, detail: Option<u32>, text: impl Into<String>) -> Self {
        Self { code, detail, text: text.into(), nameless: false, internal: false }
    }

    pub(crate) fn credentials() -> Self {
        Self::new(401, None, CREDENTIALS_TEXT)
    }

    /// 431 from inside a command.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(431, Some(INVALID_VALUE), text)
    }

    /// 431 from the reading of parameters.
    pub(crate) fn parameter(text: impl Into<String>) -> Self {
        Self::new(431, Some(SERVER_API), text)
    }

    /// 531 on an entity of somebody else.
    pub(crate) fn permission(text: impl Into<String>) -> Self {
        Self::new(531, Some(PERMISSION), text)
    }

    pub(crate) fn no_permission() -> Self {
        Self::permission("Caller does not have permission to operate with provided resource.")
    }

    /// 530; only root reads the text.
    pub(crate) fn runtime(text: impl Into<String>) -> Self {
        Self { internal: true, ..Self::new(530, Some(RUNTIME), text) }
    }

    /// A code with a text that everybody reads.
    pub(crate) fn server(code: u16, text: impl Into<String>) -> Self {
        Self::new(code, Some(SERVER_API), text)
    }

    /// A login that did not succeed.
    pub(crate) fn login(text: impl Into<String>) -> Self {
        Self::new(531, None, text)
    }

    /// 511 before a command is reached.
    pub(crate) fn second_factor_awaited() -> Self {
        Self::new(
            511,
            None,
            "Unable to process the API request due to :Two factor authentication 2FA is enabled but not verified, please \
             verify 2FA using validateUserTwoFactorAuthenticationCode API before calling other APIs. Existing session is \
             invalidated.",
        )
    }

    /// 511 before a command is reached, where a second factor has to be set up first.
    pub(crate) fn second_factor_mandated() -> Self {
        Self::new(
            511,
            None,
            "Unable to process the API request due to :Two factor authentication is mandated by admin, user needs to setup 2FA \
             using setupUserTwoFactorAuthentication API and then verify 2FA using validateUserTwoFactorAuthenticationCode API \
             before calling other APIs. Existing session is invalidated.",
        )
    }

    /// 511 for a wrong code; CloudStack puts a whole JSON text into `errortext`.
    pub(crate) fn second_factor_wrong() -> Self {
        let inner = r#"{"validateusertwofactorauthenticationcoderesponse":{"uuidList":[],"errorcode":511,"errortext":"two-factor authentication code provided is invalid"}}"#;
        Self::new(511, Some(SECOND_FACTOR), inner)
    }

    /// 432: the role does not know the command.
    pub(crate) fn denied_by_role(command: &str, reference: impl std::fmt::Display) -> Self {
        Self {
            nameless: true,
            ..Self::new(
                432,
                Some(SERVER_API),
                format!(
                    "The API [{command}] does not exist or is not available for the account for user id [{reference}]."
                ),
            )
        }
    }

    pub(crate) fn missing(command: &str, name: &str) -> Self {
        Self::parameter(format!(
            "Unable to execute API command {} due to missing parameter {name}",
            command.to_lowercase()
        ))
    }

    /// 431 for an id that names nothing.
    pub(crate) fn no_such(command: &str, name: &str, value: &str) -> Self {
        Self::parameter(format!(
            "Unable to execute API command {} due to invalid value. Invalid parameter {name} value={value} due to incorrect \
             long value format, or entity does not exist or due to incorrect parameter annotation for the field in api cmd \
             class.",
            command.to_lowercase()
        ))
    }
}

/// An answer before it becomes HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub cookies: Vec<String>,
    /// The `X-Description` header.
    pub description: Option<String>,
    /// What was written before the body: CloudStack then sends two JSON texts in one answer.
    pub before: Option<Value>,
    pub body: Value,
}

impl Reply {
    pub(crate) fn success(command: &str, key: Option<&str>, content: Value) -> Self {
        let key = key.map_or_else(|| format!("{}response", command.to_lowercase()), str::to_owned);
        Self {
            status: 200,
            cookies: Vec::new(),
            description: None,
            before: None,
            body: wrapped(&key, without_nulls(content)),
        }
    }

    pub(crate) fn failure(command: &str, failure: &Failure, root: bool) -> Self {
        let text = if failure.internal && !root { GENERAL_TEXT } else { failure.text.as_str() };
        let key = if failure.nameless || command.is_empty() {
            "errorresponse".to_owned()
        } else {
            format!("{}response", command.to_lowercase())
        };
        let content = without_nulls(json!({
            "uuidList": [], "errorcode": failure.code, "cserrorcode": failure.detail, "errortext": text,
        }));
        // Only failures thrown as ServerApiException carry the header; a plain 401 does not.
        let description = (failure.code != 401).then(|| text.to_owned());
        Self { status: failure.code, cookies: Vec::new(), description, before: None, body: wrapped(&key, content) }
    }
}

fn wrapped(key: &str, content: Value) -> Value {
    let mut body = Map::new();
    body.insert(key.to_owned(), content);
    Value::Object(body)
}

/// CloudStack leaves fields without a value out.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// A number that CloudStack writes with a decimal point (Java double), from its text.
pub(crate) fn double(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// A list: nothing at all when empty, the count alone past the last page.
pub(crate) fn list(name: &str, total: usize, rows: Vec<Value>) -> Value {
    let mut content = Map::new();
    if total > 0 {
        content.insert("count".to_owned(), json!(total));
        if !rows.is_empty() {
            content.insert(name.to_owned(), Value::Array(rows));
        }
    }
    Value::Object(content)
}
