//! The link in a mail that takes a request to delete an account back. It does that and nothing else: no page opens, no session
//! begins. So it works for suspended accounts as well.

use askama::Template;
use axum::{http::StatusCode, response::Response};

use crate::{
    people::leaving::{self, Linked, Undo},
    store::{Tx, links::SignedLink},
    web::{
        WebState,
        error::{Failure, KeepsBody},
        pages::{self, Frame},
        words::{self, delete_request as text},
    },
};

#[derive(Template)]
#[template(path = "link_deletion.html")]
struct UndoPage {
    frame: Frame,
    account: String,
    by: String,
    on: String,
    due: String,
    /// What an administrator said who refused.
    message: Option<String>,
    /// None: there is a button.
    said: Option<&'static str>,
    /// Whether the account stays.
    stays: bool,
    token: String,
}

fn view(state: &WebState, linked: Linked, token: &str, done: bool) -> UndoPage {
    let zone = state.app.config.billing.zone;
    let Linked { account, request, undo } = linked;
    let said = match undo {
        _ if done => Some(text::LINK_DONE),
        Undo::Open => None,
        Undo::TakenBack => Some(text::LINK_TAKEN_BACK),
        Undo::Refused => Some(text::LINK_REFUSED),
        Undo::Done => Some(text::LINK_DELETED),
        Undo::Over => Some(text::LINK_OVER),
    };
    UndoPage {
        frame: Frame::bare(state),
        account: account.full_name(),
        by: request.requested_by,
        on: request.requested_ms.display_in(zone),
        due: request.due_ms.display_in(zone),
        message: request.message.filter(|_| undo == Undo::Refused),
        said,
        stays: done || matches!(undo, Undo::TakenBack | Undo::Refused),
        token: token.to_owned(),
    }
}

/// What the link is about, and its button where it can still do something. Changes nothing.
pub(super) async fn look(state: &WebState, tx: &mut Tx, link: &SignedLink, token: &str) -> Result<Response, Failure> {
    let linked = leaving::of_link(tx, link, state.app.clock.now()).await?;
    pages::show(&view(state, linked, token, false))
}

/// Takes the request back. Pressed twice, it says so.
pub(super) async fn take_back(
    state: &WebState,
    mut tx: Tx,
    link: &SignedLink,
    token: &str,
) -> Result<Response, Failure> {
    let (now, zone) = (state.app.clock.now(), state.app.config.billing.zone);
    let (linked, done) = leaving::take_back_by_link(&mut tx, link, now, zone).await?;
    tx.commit().await?;
    let is_back = done || linked.undo == Undo::TakenBack;
    let mut response = pages::show(&view(state, linked, token, done))?;
    if !is_back {
        *response.status_mut() = StatusCode::CONFLICT;
        response.extensions_mut().insert(KeepsBody);
    }
    Ok(response)
}
