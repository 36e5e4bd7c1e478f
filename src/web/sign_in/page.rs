//! The page of somebody who is not signed in.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};

use crate::{
    email::EmailAddress,
    jobs::mail,
    store::links,
    web::{
        WebState,
        access::StrangersForm,
        error::Failure,
        limits::Limit,
        pages::{self, After, Frame},
        words,
    },
};

struct Way {
    name: String,
    label: String,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    said: Option<&'static str>,
    cloudstack: Option<String>,
    ways: Vec<Way>,
    links: bool,
}

/// How to sign in.
pub(super) async fn page(State(state): State<WebState>, Query(after): Query<After>) -> Result<Response, Failure> {
    let config = &state.app.config;
    let ways = state
        .issuers
        .list()
        .map(|issuer| Way { name: issuer.name.clone(), label: words::sign_in::with(&issuer.label) })
        .collect();
    pages::show(&SignIn {
        frame: Frame::bare(&state),
        said: match after.done.as_str() {
            "out" => Some(words::sign_in::SIGNED_OUT),
            "link" => Some(words::sign_in::LINK_SENT),
            _ => None,
        },
        // Where CloudStack's pages are, as far as this one knows.
        cloudstack: config.web.public_url.as_ref().map(|url| format!("{}/client/", url.as_str().trim_end_matches('/'))),
        ways,
        links: mail::settings(&state.app).sends() && config.web.public_url.is_some(),
    })
}

/// Writes down that somebody wants a new link. The answer is the same whether the address is known or not, and takes as long.
pub(super) async fn send_link(State(state): State<WebState>, form: StrangersForm) -> Result<Response, Failure> {
    let now = state.app.clock.now();
    if !state.desk.limits.take(Limit::AllWishes, "", now) {
        return Err(Failure::too_many());
    }
    if let Ok(address) = EmailAddress::parse(form.0.get("address")) {
        let person = address.person();
        if !state.desk.limits.take(Limit::Wishes, &person, now) {
            return Err(Failure::too_many());
        }
        let mut tx = state.app.store.begin().await?;
        links::insert_wish(&mut tx, &person, now).await?;
        tx.commit().await?;
    }
    Ok(Redirect::to(&format!("{}/sign-in?done=link", state.app.config.web.base_path)).into_response())
}
