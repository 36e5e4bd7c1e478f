//! What the pages about the own CloudStack user have in common.

use std::future::Future;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    routing::{get, post},
};
use tower_http::limit::RequestBodyLimitLayer;

use super::{password, profile, second_factor};
use crate::web::{
    WebState,
    access::Tenant,
    error::Failure,
    pages::Page,
    rights::Right,
    words::{self, own as own_words},
};
use crate::{
    ids::CloudId,
    people::own::{Own, OwnError},
    store::cloud::Account,
};

/// The routes of My Profile, Change Password and Multi-Factor Authentication.
pub(super) fn routes(base: &str) -> Router<WebState> {
    let at = |page: Page, below: &str| format!("{base}{}{below}", page.path());
    Router::new()
        .route(&at(Page::Profile, ""), get(profile::page))
        .route(&at(Page::Profile, "/edit"), get(profile::form).post(profile::save))
        .route(&at(Page::Profile, "/address/give-up"), post(profile::give_up))
        .route(&at(Page::Profile, "/picture/remove"), post(profile::remove))
        .route(&at(Page::Password, ""), get(password::page).post(password::change))
        .route(&at(Page::SecondFactor, ""), get(second_factor::page))
        .route(&at(Page::SecondFactor, "/begin"), post(second_factor::begin))
        .route(&at(Page::SecondFactor, "/confirm"), post(second_factor::confirm))
        .route(&at(Page::SecondFactor, "/end"), post(second_factor::end))
}

/// Routes whose requests may be larger than the others': uploads.
pub(in crate::web) fn uploads(base: &str) -> Router<WebState> {
    Router::new()
        .route(&format!("{base}{}/picture", Page::Profile.path()), get(profile::picture).post(profile::upload))
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(profile::MOST_FORM_BYTES))
}

/// Pages that the link of a mail leads to: they need no session, and do what the link says and nothing else.
pub(in crate::web) fn links(base: &str) -> Router<WebState> {
    Router::new().route(&format!("{base}/confirm-address/{{token}}"), get(profile::confirm_page).post(profile::confirm))
}

/// The person with the own session; refused where nobody knows which person of the account it is.
pub(super) fn own<R: Right>(state: &WebState, tenant: &Tenant<R>) -> Result<Own, Failure> {
    let theirs = tenant.own_session()?;
    Ok(Own {
        store: state.app.store.clone(),
        sessions: state.sessions.clone(),
        session: theirs.session,
        user: theirs.user,
        account: theirs.home.id,
        domain_path: theirs.home.domain_path,
        author: tenant.author(),
        clock: state.app.clock.clone(),
        random: state.app.random.clone(),
    })
}

/// Lets what was begun come to its end, also when the browser goes away meanwhile or the request takes too long: its outcome is
/// written down then too.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    tokio::spawn(work).await.map_err(|error| Failure::unexpected(&error))
}

/// What stands in the way, where it is no page's own matter. `Err`: a page of its own; `Ok`: a sentence on the page.
pub(super) fn told(state: &WebState, error: OwnError) -> Result<String, Failure> {
    match error {
        OwnError::Store(error) => Err(error.into()),
        OwnError::SessionEnded => Err(Failure::sign_in(words::SIGN_IN_AGAIN)),
        OwnError::Silent(why) => {
            tracing::warn!(error = %why, "CloudStack did not answer in a person's session");
            Ok(own_words::SILENT.to_owned())
        }
        OwnError::Unsure(why) => {
            tracing::warn!(error = %why, "an answer of CloudStack in a person's session was lost");
            Ok(own_words::UNSURE.to_owned())
        }
        OwnError::TooManyTries { until } => {
            Ok(own_words::too_many_tries(&until.display_in(state.app.config.billing.zone)))
        }
        OwnError::Refused(why) => Ok(own_words::refused(&why)),
    }
}

/// As above, for a page that can not be shown at all without CloudStack.
pub(super) fn failed(state: &WebState, error: OwnError) -> Failure {
    match told(state, error) {
        Err(failure) => failure,
        Ok(text) => Failure::new(StatusCode::SERVICE_UNAVAILABLE, "cloudstack", text),
    }
}

/// Settings of the person's domain whose names hold `part`, read with the service account; None where that can not read them.
pub(super) async fn domain_settings(
    state: &WebState,
    account: &Account,
    part: &str,
) -> Option<std::collections::BTreeMap<String, String>> {
    let domain: CloudId = account.domain_id.parse().ok()?;
    let client = state.app.client(crate::jobs::app::Role::Reader).ok()?;
    match client.domain_settings(part, domain).await {
        Ok(settings) => Some(settings),
        Err(error) => {
            tracing::debug!(%error, "settings of a domain can not be read");
            None
        }
    }
}
