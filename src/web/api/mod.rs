//! The JSON API for machines: figures to read, limits and payments to set, requests for API access to handle.
//!
//! Amounts are decimal texts, ids numbers, times RFC 3339. Every call wants a service token; changes want its scope
//! `write` and, where money moves, an `Idempotency-Key`.

mod accounts;
mod enforcement;
mod history;
mod keys;
mod spending;

use axum::{
    Json, Router,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    routing::{get, post},
};
use serde::de::DeserializeOwned;

use super::{WebState, error::Failure};
use crate::time::Timestamp;

/// Longest idempotency key.
const MAX_KEY: usize = 128;
/// Most rows of a list.
const MAX_ROWS: i64 = 1_000;
/// Rows of a list where the caller does not say.
const SOME_ROWS: i64 = 100;

/// The API's routes below a path.
pub(super) fn routes(prefix: &str) -> Router<WebState> {
    let at = |path: &str| format!("{prefix}{path}");
    Router::new()
        .route(&at("/accounts"), get(accounts::list))
        .route(&at("/accounts/{id}"), get(accounts::show))
        .route(&at("/accounts/{id}/limit"), post(accounts::set_limit))
        .route(&at("/accounts/{id}/payments"), post(accounts::add_payment))
        .route(&at("/accounts/{id}/usage"), get(spending::usage))
        .route(&at("/accounts/{id}/usage/records"), get(spending::records))
        .route(&at("/accounts/{id}/estimate"), get(spending::live))
        .route(&at("/accounts/{id}/prices"), get(spending::prices))
        .route(&at("/accounts/{id}/quote"), get(spending::quote))
        .route(&at("/decisions"), get(history::decisions))
        .route(&at("/runs"), get(history::runs))
        .route(&at("/enforcement"), get(enforcement::status))
        .route(&at("/plans"), get(enforcement::list).post(enforcement::make))
        .route(&at("/plans/{id}"), get(enforcement::show))
        .route(&at("/plans/{id}/approve"), post(enforcement::approve))
        .route(&at("/plans/{id}/drop"), post(enforcement::drop_plan))
        .route(&at("/key-requests"), get(keys::list).post(keys::file))
        .route(&at("/key-requests/{id}"), get(keys::show))
        .route(&at("/key-requests/{id}/approve"), post(keys::approve))
        .route(&at("/key-requests/{id}/deny"), post(keys::deny))
        .route(&at("/key-requests/{id}/rotate"), post(keys::rotate))
        .route(&at("/key-requests/{id}/revoke"), post(keys::revoke))
        .route(&at("/key-requests/{id}/secret"), post(keys::secret))
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn rows(asked: Option<i64>) -> i64 {
    asked.unwrap_or(SOME_ROWS).clamp(1, MAX_ROWS)
}

/// A JSON body, with a sentence where it is not one.
struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<WebState> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &WebState) -> Result<Self, Failure> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(Failure::new(rejection.status(), "bad-body", rejection.body_text())),
        }
    }
}

/// The caller's key for a call that must not be done twice.
struct CallKey(String);

impl FromRequestParts<WebState> for CallKey {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &WebState) -> Result<Self, Failure> {
        let key = parts.headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::new(
                StatusCode::BAD_REQUEST,
                "idempotency-key",
                "the header Idempotency-Key is needed: 1 to 128 visible ASCII characters, new for each change",
            ));
        }
        Ok(Self(key.to_owned()))
    }
}
