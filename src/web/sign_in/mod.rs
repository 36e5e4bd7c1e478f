//! Signing in where CloudStack does not do it, and what a person can say about who they are.
//!
//! Promises: nobody is sent anywhere but to an issuer of the configuration or to a page of bursar's; a token of a link is in
//! no answer but the form that it came for; what strangers are answered does not tell whom bursar knows.

mod behind;
mod deletion;
mod issuer;
mod link;
mod page;
mod suspended;
mod you;

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};

use super::{
    WebState,
    access::AnyForm,
    error::Failure,
    pages::Page,
    session::{SUSPENDED, sign_out_cookie},
};
use crate::store::sessions;

/// Routes for whoever comes: they prove nothing and need no session.
pub(super) fn open_routes(base: &str) -> Router<WebState> {
    let at = |path: &str| format!("{base}{path}");
    Router::new()
        .route(&at("/sign-in"), get(page::page))
        .route(&at("/sign-in/link"), post(page::send_link))
        .route(&at("/sign-in/{name}"), get(issuer::begin))
        .route(&at("/sign-in/{name}/callback"), get(issuer::finish))
        .route(&at("/link/{token}"), get(link::look))
        .route(&at("/link"), post(link::redeem))
}

/// Routes for people who are signed in.
pub(super) fn routes(base: &str) -> Router<WebState> {
    let at = |below: &str| format!("{base}{}{below}", Page::You.path());
    Router::new()
        .route(&at(""), get(you::page))
        .route(&at("/account"), post(you::switch_account))
        .route(&at("/user"), post(you::claim_user))
        .route(&at("/address"), post(you::confirm_address))
}

/// The page of a suspended account, and the records behind its sums. These are all that a link opens.
pub(super) fn suspended_routes(base: &str) -> Router<WebState> {
    let at = |below: &str| format!("{base}{SUSPENDED}{below}");
    let records = |below: &str| at(&format!("{}{below}", behind::RECORDS));
    Router::new()
        .route(&at(""), get(suspended::page))
        .route(&at("/more-time"), post(suspended::ask))
        .route(&records(""), get(behind::page))
        .route(&records("/download"), get(behind::file))
}

/// Signing out.
pub(super) fn out_routes(base: &str) -> Router<WebState> {
    Router::new().route(&format!("{base}/sign-out"), post(sign_out))
}

/// Ends bursar's session. CloudStack's, and the one at an issuer, are not bursar's to end.
async fn sign_out(State(state): State<WebState>, form: AnyForm) -> Result<Response, Failure> {
    let mut tx = state.app.store.begin().await?;
    sessions::end_session(&mut tx, &form.session).await?;
    tx.commit().await?;
    let cookie = sign_out_cookie(&state)?;
    let to = format!("{}/sign-in?done=out", state.app.config.web.base_path);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response())
}
