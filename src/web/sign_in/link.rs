//! Signed links: looking shows a button, and only the button does something, since mail scanners follow links (rule 21).

use std::time::Duration;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};

use super::deletion;
use crate::{
    people::links::{self as people, Dead},
    store::{
        Tx,
        links::SignedLink,
        sessions::{self, KnownUser},
    },
    web::{
        WebState,
        access::StrangersForm,
        cookies::Jar,
        error::Failure,
        limits::Limit,
        pages::{self, Frame, Page},
        session::{SUSPENDED, begin_by_link, link_failure},
        words,
    },
};

/// How long it is remembered which user of the account a CloudStack session is.
const KNOWN_FOR: Duration = Duration::from_hours(12);

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage {
    frame: Frame,
    what: &'static str,
    button: &'static str,
    token: String,
}

/// Finds a link. Tokens that nobody knows are limited all together; whoever has a right one is not kept out by those who guess.
async fn find(state: &WebState, tx: &mut Tx, token: &str) -> Result<SignedLink, Failure> {
    let now = state.app.clock.now();
    match people::find(tx, token, now).await {
        Err(Dead::Ended) if !state.desk.limits.take(Limit::Links, "", now) => Err(Failure::too_many()),
        found => found.map_err(link_failure),
    }
}

/// What a link would do, and the button that does it. Changes nothing.
pub(super) async fn look(State(state): State<WebState>, Path(token): Path<String>) -> Result<Response, Failure> {
    let mut tx = state.app.store.read().await?;
    let link = find(&state, &mut tx, &token).await?;
    if link.purpose == people::DELETION {
        return deletion::look(&state, &mut tx, &link, &token).await;
    }
    let (what, button) = match link.purpose.as_str() {
        "suspension" => (words::sign_in::LINK_SUSPENSION, words::sign_in::LINK_OPEN_PAGE),
        "address" => (words::sign_in::LINK_ADDRESS, words::sign_in::LINK_CONFIRM),
        _ => (words::sign_in::LINK_USER, words::sign_in::LINK_IT_IS_ME),
    };
    pages::show(&LinkPage { frame: Frame::bare(&state), what, button, token })
}

/// Does what a link is for.
pub(super) async fn redeem(
    State(state): State<WebState>,
    headers: HeaderMap,
    form: StrangersForm,
) -> Result<Response, Failure> {
    let now = state.app.clock.now();
    // Read first: whoever guesses takes no turn among those who write.
    find(&state, &mut state.app.store.read().await?, form.0.get("token")).await?;
    let jar = Jar::read(&headers);
    let forwarded = jar.cloudstack(&state.app.config.web.trusted_affinity_cookies);
    let tied_to = jar.tied_to(&forwarded);
    let mut tx = state.app.store.begin().await?;
    let link = people::find(&mut tx, form.0.get("token"), now).await.map_err(link_failure)?;
    if link.purpose == people::DELETION {
        return deletion::take_back(&state, tx, &link, form.0.get("token")).await;
    }
    // Whoever else gets the mail, or is talked into opening it, says nothing about the session that asked for it.
    if !link.proof_hash.is_empty() && link.proof_hash != tied_to {
        return Err(Failure::forbidden(words::sign_in::LINK_OTHER_BROWSER));
    }
    people::redeem(&mut tx, &link, now).await.map_err(link_failure)?;
    let base = &state.app.config.web.base_path;
    let you = Page::You.path();
    match link.purpose.as_str() {
        "suspension" => {
            let cookie = begin_by_link(&state, &mut tx, &link, (jar.own(), &tied_to)).await?;
            tx.commit().await?;
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&format!("{base}{SUSPENDED}"))).into_response())
        }
        "address" => {
            tx.commit().await?;
            Ok(Redirect::to(&format!("{base}{you}?done=address")).into_response())
        }
        _ => {
            let known = KnownUser {
                account_id: link.account_id,
                cloud_user_id: link.cloud_user_id.clone(),
                how: "mail".to_owned(),
            };
            sessions::put_known_user(&mut tx, &tied_to, &known, now, now.plus(KNOWN_FOR)).await?;
            // The session of one who is nobody in particular ends: the next page asks CloudStack anew.
            if let Some(own) = jar.own() {
                sessions::end_session(&mut tx, &crate::secrets::token_hash(own)).await?;
            }
            tx.commit().await?;
            Ok(Redirect::to(&format!("{base}{you}?done=user")).into_response())
        }
    }
}
