//! The tenant's pages, one a file. Every query is about [`super::access::Tenant::account`] or its payer.

mod credits;
mod figures;
mod ladder;
mod overview;

use axum::{Router, routing::get};

use super::{WebState, pages::Page};

/// The routes below `base`.
pub(super) fn routes(base: &str) -> Router<WebState> {
    let at = |page: Page| format!("{base}{}", page.path());
    Router::new()
        .route(&at(Page::Overview), get(overview::page))
        .route(&at(Page::Credits), get(credits::page).post(credits::redeem))
}
