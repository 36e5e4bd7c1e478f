//! A new address: given up on the profile's page, confirmed on a page of its own that needs no session, taken over at a visit.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use super::super::own::{failed, own};
use crate::web::{
    WebState,
    access::TenantForm,
    error::{Failure, KeepsBody},
    limits::Limit,
    pages::{self, Frame, Page},
    rights::Own as OwnRight,
    words::{self, own as own_words},
};
use crate::{
    email::EmailAddress,
    jobs, notify,
    people::{
        address::{self, TakenOver},
        own::{Own, OwnError},
    },
};

/// Gives a new address up that was asked for.
pub(in crate::web::tenant) async fn give_up(
    State(state): State<WebState>,
    TenantForm { tenant, .. }: TenantForm<OwnRight>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    address::give_up(&own).await.map_err(|error| failed(&state, error))?;
    Ok(pages::done(&state, Page::Profile, "given-up"))
}

/// Takes a confirmed address over, and tells the old one.
pub(super) async fn take_over(state: WebState, own: Own) -> Result<TakenOver, OwnError> {
    let settings = jobs::mail::settings(&state.app);
    let taken = address::take_over(&own, |change| {
        let Ok(old) = EmailAddress::parse(&change.old_email) else { return Ok(None) };
        notify::address_changed(&own.author, &old, &change.new_email, &settings, state.app.random.as_ref())
    })
    .await?;
    if taken == TakenOver::Done {
        state.wake.notify_one();
    }
    Ok(taken)
}

#[derive(Template)]
#[template(path = "confirm_address.html")]
struct ConfirmPage {
    frame: Frame,
    /// None: asked; else whether it worked.
    confirmed: Option<bool>,
}

/// The page that the link in the mail leads to. It does nothing: mail scanners follow links.
pub(in crate::web) async fn confirm_page(State(state): State<WebState>) -> Result<Response, Failure> {
    pages::show(&ConfirmPage { frame: Frame::bare(&state), confirmed: None })
}

/// Redeems the link. CloudStack is not asked: that takes the person's own session.
pub(in crate::web) async fn confirm(
    State(state): State<WebState>,
    Path(token): Path<String>,
) -> Result<Response, Failure> {
    let now = state.app.clock.now();
    let confirmed = address::redeem(&state.app.store, &token, now).await?;
    if !confirmed && !state.desk.limits.take(Limit::UnknownLinks, "", now) {
        return Err(Failure::too_many());
    }
    let page = ConfirmPage { frame: Frame::bare(&state), confirmed: Some(confirmed) };
    let mut response = pages::show(&page)?;
    if !confirmed {
        *response.status_mut() = StatusCode::NOT_FOUND;
        response.extensions_mut().insert(KeepsBody);
    }
    Ok(response.into_response())
}
