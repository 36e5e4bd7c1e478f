//! Requests for API access.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Body, CallKey, time};
use crate::{
    ids::{AccountId, KeyRequestId},
    store::{
        keys,
        people::{self, KeyRequest},
    },
    web::{
        WebState,
        access::{Reader, Writer},
        error::Failure,
        keydesk::{KeyDeskError, KeyTerms, KeyWish},
    },
};

#[derive(Deserialize)]
pub(in crate::web) struct RequestsOf {
    account: Option<i64>,
    state: Option<String>,
    limit: Option<i64>,
}

#[derive(Deserialize)]
pub(in crate::web) struct Wish {
    account: i64,
    purpose: String,
    days: i64,
    /// On whose behalf; the token's name where nobody is named.
    requested_by: Option<String>,
    /// The pair that the new one is to take over from.
    replaces: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Answer {
    days: Option<i64>,
    purpose: Option<String>,
    message: Option<String>,
}

impl From<KeyDeskError> for Failure {
    fn from(error: KeyDeskError) -> Self {
        let text = error.to_string();
        match error {
            KeyDeskError::Off => Self::new(StatusCode::CONFLICT, "access-off", text),
            KeyDeskError::Missing => Self::missing(text),
            KeyDeskError::Refused(..) => Self::new(StatusCode::CONFLICT, "refused", text),
            KeyDeskError::Unavailable => Self::new(StatusCode::SERVICE_UNAVAILABLE, "cloudstack-silent", text),
            KeyDeskError::Unexpected(_) => Self::unexpected(&text),
        }
    }
}

/// Everything but the secret.
fn told(request: &KeyRequest) -> Value {
    json!({
        "id": request.id, "account": request.account_id, "requested_by": request.requested_by,
        "purpose": request.purpose, "days": request.days, "state": request.state, "decided_by": request.decided_by,
        "message": request.message, "username": request.username, "api_key": request.api_key,
        "secret_waits": request.secret_box.is_some(), "requested": time(request.requested_ms),
        "issued": request.issued_ms.map(time), "expires": request.expires_ms.map(time),
        "revoked": request.revoked_ms.map(time), "last_error": request.last_error, "kind": request.kind,
        "replaces": request.replaces, "looked_at": request.shown_ms.map(time), "changed_by_hand": request.watched,
    })
}

async fn one(state: &WebState, id: KeyRequestId) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.read().await?;
    let request = people::get_key_request(&mut tx, id).await?;
    let approvals = keys::list_approvals(&mut tx, id).await?;
    let mut value = told(&request);
    if let Some(object) = value.as_object_mut() {
        let approvals: Vec<Value> = approvals
            .iter()
            .map(|one| json!({ "by": one.admin, "days": one.days, "purpose": one.purpose, "at": time(one.at_ms.as_ms()) }))
            .collect();
        object.insert("approvals".to_owned(), Value::Array(approvals));
    }
    Ok(Json(value))
}

pub(in crate::web) async fn list(
    State(state): State<WebState>,
    _: Reader,
    Query(query): Query<RequestsOf>,
) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.read().await?;
    let account = query.account.map(AccountId::new);
    let requests =
        people::list_key_requests(&mut tx, account, query.state.as_deref(), super::rows(query.limit)).await?;
    Ok(Json(json!({ "key_requests": requests.iter().map(told).collect::<Vec<_>>() })))
}

pub(in crate::web) async fn show(
    State(state): State<WebState>,
    _: Reader,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Failure> {
    one(&state, KeyRequestId::new(id)).await
}

pub(in crate::web) async fn file(
    State(state): State<WebState>,
    Writer(machine): Writer,
    CallKey(key): CallKey,
    Body(wish): Body<Wish>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let wish = KeyWish {
        key: format!("api/{}/{key}", machine.id),
        account: AccountId::new(wish.account),
        requested_by: wish.requested_by.unwrap_or_else(|| machine.author()),
        for_user: None,
        replaces: wish.replaces.map(KeyRequestId::new),
        purpose: wish.purpose,
        days: wish.days,
    };
    let id = state.keys.file(wish).await?;
    state.wake.notify_one();
    Ok((StatusCode::CREATED, one(&state, id).await?))
}

pub(in crate::web) async fn approve(
    State(state): State<WebState>,
    Writer(machine): Writer,
    Path(id): Path<i64>,
    Body(answer): Body<Answer>,
) -> Result<Json<Value>, Failure> {
    let id = KeyRequestId::new(id);
    let terms = KeyTerms { days: answer.days, purpose: answer.purpose, message: answer.message };
    state.keys.approve(id, machine.approver(), terms).await?;
    state.wake.notify_one();
    one(&state, id).await
}

pub(in crate::web) async fn deny(
    State(state): State<WebState>,
    Writer(machine): Writer,
    Path(id): Path<i64>,
    Body(answer): Body<Answer>,
) -> Result<Json<Value>, Failure> {
    let id = KeyRequestId::new(id);
    state.keys.deny(id, machine.author(), answer.message).await?;
    one(&state, id).await
}

pub(in crate::web) async fn revoke(
    State(state): State<WebState>,
    Writer(machine): Writer,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Failure> {
    let id = KeyRequestId::new(id);
    state.keys.revoke(id, machine.author()).await?;
    state.wake.notify_one();
    one(&state, id).await
}

/// A pair that takes over from this one.
pub(in crate::web) async fn rotate(
    State(state): State<WebState>,
    Writer(machine): Writer,
    CallKey(key): CallKey,
    Path(id): Path<i64>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let key = format!("api/{}/{key}", machine.id);
    let id = state.keys.rotate(KeyRequestId::new(id), machine.author(), key, None).await?;
    Ok((StatusCode::CREATED, one(&state, id).await?))
}

/// The pair, once.
pub(in crate::web) async fn secret(
    State(state): State<WebState>,
    Writer(machine): Writer,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Failure> {
    let pair = state.keys.show_secret(KeyRequestId::new(id), machine.author()).await?;
    Ok(Json(json!({ "api_key": pair.api_key, "secret_key": pair.secret_key.expose() })))
}
