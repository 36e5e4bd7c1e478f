//! What every page has in common.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use rust_decimal::Decimal;

use super::{WebState, assets, error::Failure};
use crate::ledger::rules::Share;

/// Around every page.
pub(super) struct Frame {
    /// Where links begin.
    pub(super) base: String,
    pub(super) style: &'static str,
    pub(super) script: &'static str,
    /// Who is signed in, if somebody is.
    pub(super) who: Option<String>,
    /// Whether the administrator's pages are linked.
    pub(super) admin: bool,
    /// Which link is the present page.
    pub(super) here: &'static str,
}

impl Frame {
    /// Around a page for nobody in particular.
    pub(super) fn bare(state: &WebState) -> Self {
        Self {
            base: state.app.config.web.base_path.clone(),
            style: assets::style_name(),
            script: assets::script_name(),
            who: None,
            admin: false,
            here: "",
        }
    }

    /// Around a page for a person.
    pub(super) fn for_person(state: &WebState, who: String, admin: bool, here: &'static str) -> Self {
        Self { who: Some(who), admin, here, ..Self::bare(state) }
    }
}

/// A page as an answer.
pub(super) fn show(page: &impl Template) -> Result<Response, Failure> {
    Ok(Html(page.render().map_err(|error| Failure::unexpected(&error))?).into_response())
}

/// The percentage used, for a bar: between 0 and 100, and as it is called; None: no credit.
pub(super) fn bar(share: Share) -> (String, Option<String>) {
    let width = share.for_thresholds().clamp(Decimal::ZERO, Decimal::ONE_HUNDRED).normalize().to_string();
    let called = match share {
        Share::Percent(percent) => Some(percent.round_dp(1).normalize().to_string()),
        Share::NoCreditUnused | Share::NoCreditUsed => None,
    };
    (width, called)
}

/// How urgent a percentage looks.
pub(super) fn urgency(share: Share) -> &'static str {
    let percent = share.for_thresholds();
    if percent >= Decimal::ONE_HUNDRED {
        "full"
    } else if percent >= Decimal::from(80) {
        "high"
    } else {
        "fine"
    }
}
