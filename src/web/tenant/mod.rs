//! The tenant's pages, one a file. Every query is about [`super::access::Tenant::account`] or its payer.

mod api_access;
mod api_endings;
mod credits;
mod delete_request;
mod figures;
mod ladder;
mod notifications;
mod overview;
mod own;
mod password;
mod payment_settings;
mod prices;
mod profile;
mod second_factor;
mod usage;

use axum::{
    Router,
    routing::{get, post},
};

pub(super) use self::{
    own::{links, uploads},
    prices::free as free_services,
};
use super::{WebState, pages::Page};

/// The routes below `base`.
pub(super) fn routes(base: &str) -> Router<WebState> {
    let at = |page: Page| format!("{base}{}", page.path());
    let below = |page: Page, path: &str| format!("{base}{}{path}", page.path());
    Router::new()
        .route(&at(Page::Overview), get(overview::page))
        .route(&at(Page::Usage), get(usage::page))
        .route(&below(Page::Usage, "/download"), get(usage::files::lines))
        .route(&below(Page::Usage, "/records"), get(usage::records::page))
        .route(&below(Page::Usage, "/records/download"), get(usage::files::records))
        .route(&at(Page::Prices), get(prices::page))
        .route(&at(Page::Credits), get(credits::page).post(credits::redeem))
        .route(&at(Page::PaymentSettings), get(payment_settings::page).post(payment_settings::choose))
        .route(&below(Page::PaymentSettings, "/propose"), post(payment_settings::propose))
        .route(&at(Page::Notifications), get(notifications::page).post(notifications::save))
        .route(&at(Page::DeleteRequest), get(delete_request::page).post(delete_request::ask))
        .route(&below(Page::DeleteRequest, "/take-back"), post(delete_request::take_back))
        .merge(api_access::routes(base))
        .merge(own::routes(base))
}
