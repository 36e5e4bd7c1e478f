//! The administrator's pages, one a file.

mod accounts;
mod enforcement;
mod queue;
mod queue_keys;
mod queue_people;
mod slip;

use axum::{
    Router,
    routing::{get, post},
};

use super::{WebState, pages::Page};

/// The routes below `base`.
pub(super) fn routes(base: &str) -> Router<WebState> {
    let at = |page: Page, below: &str| format!("{base}{}{below}", page.path());
    Router::new()
        .route(&at(Page::Accounts, ""), get(accounts::accounts))
        .route(&at(Page::Accounts, "/{id}/limit"), post(accounts::set_limit))
        .route(&at(Page::Accounts, "/{id}/payment"), post(accounts::add_payment))
        .route(&at(Page::People, ""), get(queue_people::page))
        .route(&at(Page::People, "/waiting/{id}/map"), post(queue_people::map))
        .route(&at(Page::People, "/waiting/{id}/refuse"), post(queue_people::refuse))
        .route(&at(Page::People, "/more-time/{id}"), post(queue_people::answer))
        .route(&at(Page::People, "/links/{id}/revoke"), post(queue_people::revoke))
        .route(&at(Page::Queue, ""), get(queue::page))
        .route(&at(Page::Queue, "/deletions/{id}/refuse"), post(queue::refuse_deletion))
        .route(&at(Page::Queue, "/gateways/{id}/{what}"), post(queue::decide_gateway))
        .route(&at(Page::Enforcement, ""), get(enforcement::page))
        .route(&at(Page::Enforcement, "/{what}"), post(enforcement::pause))
        .route(&at(Page::Enforcement, "/plans"), post(enforcement::make_plan))
        .route(&at(Page::Enforcement, "/plans/{id}/approve"), post(enforcement::approve))
        .route(&at(Page::Enforcement, "/plans/{id}/drop"), post(enforcement::drop_plan))
        .route(&at(Page::Enforcement, "/deletions/{id}/{what}"), post(enforcement::deletion))
        .route(&at(Page::Queue, "/keys/{id}/approve"), post(queue_keys::approve))
        .route(&at(Page::Queue, "/keys/{id}/deny"), post(queue_keys::deny))
}
