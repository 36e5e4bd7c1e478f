//! Why a request was not served, and how that is told: a page to people, JSON to machines.
//!
//! What nobody expected is logged once, under a number; the number is all that leaves the process.

use askama::Template;
use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};

use super::{WebState, assets, pages::Frame, words};
use crate::{jobs::app::AppError, ledger, money::MoneyError, store::StoreError};

/// Why a request was not served.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// For machines.
    pub(super) code: &'static str,
    /// For people; nothing of the inside.
    pub(super) message: String,
    /// For the log.
    log: Option<String>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), log: None }
    }

    pub(super) fn sign_in(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "sign-in", message)
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-value", message)
    }

    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    pub(super) fn too_many() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", words::TOO_MANY)
    }

    pub(super) fn silent_cloud() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "cloudstack-silent", words::CLOUD_SILENT)
    }

    /// Nobody expected this.
    pub(super) fn unexpected(error: &impl std::fmt::Display) -> Self {
        Self {
            log: Some(error.to_string()),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", words::UNEXPECTED)
        }
    }

    /// What a bare status means, where a layer refused before any handler.
    fn of_status(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => ("not-found", words::NO_SUCH_PAGE),
            StatusCode::PAYLOAD_TOO_LARGE => ("too-big", words::TOO_BIG),
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => ("too-slow", words::TOO_SLOW),
            status if status.is_server_error() => ("unexpected", words::UNEXPECTED),
            _ => ("bad-request", words::NOT_LIKE_THIS),
        };
        Self::new(status, code, message)
    }
}

impl IntoResponse for Failure {
    /// Without a body: [`tell`] makes one that fits who asked.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing(text) => Self::missing(text),
            StoreError::Exists(text) => Self::new(StatusCode::CONFLICT, "exists", text),
            other => Self::unexpected(&other),
        }
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        Self::unexpected(&error)
    }
}

impl From<MoneyError> for Failure {
    fn from(error: MoneyError) -> Self {
        Self::bad(error.to_string())
    }
}

impl From<ledger::post::Error> for Failure {
    fn from(error: ledger::post::Error) -> Self {
        match error {
            ledger::post::Error::Store(error) => error.into(),
            ledger::post::Error::Money(error) => error.into(),
            ledger::post::Error::BadAmount(text) => Self::bad(text),
        }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: Frame,
    message: &'a str,
    operation: Option<&'a str>,
    /// Whether signing in would help.
    sign_in: bool,
}

/// Gives every failure a body: JSON below `/api/`, a page elsewhere. Logs what was unexpected, once.
pub(super) async fn tell(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let machine = request.uri().path().contains("/api/v1");
    let method = request.method().clone();
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let known = response.extensions_mut().remove::<Failure>();
    if known.is_none() && response.extensions().get::<KeepsBody>().is_some() {
        return response;
    }
    let failure = known.unwrap_or_else(|| Failure::of_status(status));
    let operation = state.app.random.hex(8);
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        let error = failure.log.as_deref().unwrap_or("a handler ended without an answer");
        tracing::error!(%operation, %method, error, "a request failed unexpectedly");
    }
    let mut told = if machine {
        let error = serde_json::json!({ "code": failure.code, "message": failure.message, "operation": operation });
        (status, Json(serde_json::json!({ "error": error }))).into_response()
    } else {
        let page = ProblemPage {
            frame: Frame::bare(&state),
            message: &failure.message,
            operation: status.is_server_error().then_some(operation.as_str()),
            sign_in: failure.code == "sign-in",
        };
        (status, Html(page.render().unwrap_or_default())).into_response()
    };
    for name in [header::SET_COOKIE, header::ALLOW, header::WWW_AUTHENTICATE] {
        if let Some(value) = response.headers().get(&name) {
            told.headers_mut().insert(name, value.clone());
        }
    }
    told
}

/// Marks an answer of 4xx that has a page of its own, such as a form with a wrong field.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeepsBody;

/// Headers of every answer: nothing inline, nothing from elsewhere, nothing kept.
pub(super) async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, assets::CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
