//! The part of the queue about API access: requests that wait, and their answers.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{queue, slip::Slip};
use crate::web::{
    WebState,
    access::{AdminForm, Mistake},
    error::Failure,
    keydesk::{KeyDeskError, KeyTerms},
    pages::{self, Frame, Page},
    words::{self, api_access as text},
};
use crate::{
    ids::KeyRequestId,
    store::{Tx, cloud, keys, people},
    time::Timestamp,
};

/// Requests shown.
const SHOWN: i64 = 100;

struct Waiting {
    id: i64,
    account: String,
    purpose: String,
    days: String,
    asked: String,
    asked_by: String,
    replaces: Option<i64>,
    approved_by: Vec<String>,
}

struct Failing {
    id: i64,
    account: String,
    error: String,
}

/// What waits, as a part of the page.
#[derive(Template)]
#[template(path = "queue_keys.html")]
pub(super) struct QueueKeys {
    base: String,
    csrf: String,
    two: bool,
    max_days: u32,
    waiting: Vec<Waiting>,
    failing: Vec<Failing>,
    pub(super) slip: Slip,
}

/// Its own template has escaped whatever came from elsewhere, so the page around takes it as it is.
impl askama::filters::HtmlSafe for QueueKeys {}

impl QueueKeys {
    /// Whether a request waits.
    pub(super) fn has(&self, id: Option<i64>) -> bool {
        self.waiting.iter().any(|one| Some(one.id) == id)
    }

    /// What waits now; `frame` is that of the page around.
    pub(super) async fn load(state: &WebState, tx: &mut Tx, frame: &Frame) -> Result<Self, Failure> {
        let config = &state.app.config;
        let mut waiting = Vec::new();
        for request in people::list_key_requests(tx, None, Some("requested"), SHOWN).await? {
            let account = cloud::get_account(tx, request.account_id).await?;
            let approvals = keys::list_approvals(tx, request.id).await?;
            waiting.push(Waiting {
                id: request.id.get(),
                account: account.full_name(),
                approved_by: approvals
                    .into_iter()
                    .filter(|one| one.days == request.days && one.purpose == request.purpose)
                    .map(|one| one.admin)
                    .collect(),
                purpose: request.purpose,
                days: request.days.to_string(),
                asked: Timestamp::from_ms(request.requested_ms).display_in(config.billing.zone),
                asked_by: request.requested_by,
                replaces: request.replaces.map(KeyRequestId::get),
            });
        }
        let mut failing = Vec::new();
        for request in people::list_key_requests(tx, None, Some("approved"), SHOWN).await? {
            let Some(error) = request.last_error else { continue };
            let account = cloud::get_account(tx, request.account_id).await?;
            failing.push(Failing { id: request.id.get(), account: account.full_name(), error });
        }
        // The oldest first: it has waited longest.
        waiting.reverse();
        Ok(Self {
            base: frame.base.clone(),
            csrf: frame.csrf.clone(),
            two: config.access.two_approvals,
            max_days: config.access.max_days,
            waiting,
            failing,
            slip: Slip::default(),
        })
    }
}

/// A request is agreed to, as asked or with other days or another purpose.
pub(super) async fn approve(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    AdminForm { admin, fields }: AdminForm,
) -> Result<Response, Failure> {
    let days = match fields.get("days") {
        "" => Ok(None),
        days => days.parse::<i64>().map(Some),
    };
    let Ok(days) = days else {
        let slip = Slip::new("approve", id, Mistake::new("days", text::DAYS_WRONG), fields);
        return queue::again(&state, &admin, slip).await;
    };
    let filled = |name: &str| Some(fields.get(name).to_owned()).filter(|value| !value.is_empty());
    let terms = KeyTerms { days, purpose: filled("purpose"), message: filled("message") };
    let by = admin.approver(&mut state.app.store.read().await?).await?;
    match state.keys.approve(KeyRequestId::new(id), by, terms).await {
        Ok(complete) => Ok(pages::done(&state, Page::Queue, if complete { "key-approved" } else { "key-another" })),
        Err(KeyDeskError::Refused(_, what)) => {
            let slip = Slip::new("approve", id, Mistake::new("form", words::sentence(&what)), fields);
            queue::again(&state, &admin, slip).await
        }
        Err(error) => Err(error.into()),
    }
}

/// A request is declined, with a reason.
pub(super) async fn deny(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    AdminForm { admin, fields }: AdminForm,
) -> Result<Response, Failure> {
    let message = fields.get("message");
    if message.is_empty() {
        let slip = Slip::new("deny", id, Mistake::new("message", text::QUEUE_MESSAGE_NEEDED), fields);
        return queue::again(&state, &admin, slip).await;
    }
    match state.keys.deny(KeyRequestId::new(id), admin.author(), Some(message.to_owned())).await {
        Ok(()) => Ok(pages::done(&state, Page::Queue, "key-denied")),
        Err(KeyDeskError::Refused(_, what)) => {
            let slip = Slip::new("deny", id, Mistake::new("message", words::sentence(&what)), fields);
            queue::again(&state, &admin, slip).await
        }
        Err(error) => Err(error.into()),
    }
}

/// The sentence of a form's word; None where the word is not about API access.
pub(super) fn said(word: &str) -> Option<&'static str> {
    match word {
        "key-approved" => Some(text::QUEUE_DONE_APPROVED),
        "key-another" => Some(text::QUEUE_ANOTHER),
        "key-denied" => Some(text::QUEUE_DONE_DENIED),
        _ => None,
    }
}
