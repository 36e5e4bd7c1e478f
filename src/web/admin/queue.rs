//! The administrator's queue: what tenants asked for and a person has to decide.

use std::collections::HashMap;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};

use super::{
    queue_keys::{self, QueueKeys},
    queue_people::{self, Waiting},
    slip::Slip,
};
use crate::{
    ids::AccountId,
    people::leaving::{self, Step},
    store::{
        cloud, enforcement, gateways, leaving as delete_rows,
        runs::{self, AuditLine},
    },
    web::{
        WebState,
        access::{AdminForm, CloudAdmin},
        error::Failure,
        pages::{self, After, Frame, Page},
        words::{self, people as own_words, queue as text},
    },
};

/// Entries of a kind shown.
const SHOWN: i64 = 200;
/// Longest message.
const MAX_MESSAGE: usize = 500;

struct DeletionView {
    id: i64,
    account: String,
    by: String,
    on: String,
    due: String,
    is_due: bool,
    reason: String,
}

struct GatewayView {
    id: i64,
    account: String,
    by: String,
    on: String,
    name: String,
    country: String,
    website: String,
    details: String,
}

/// A gateway that can be chosen.
struct Offered {
    id: i64,
    name: String,
    country: String,
    website: String,
    /// For whom.
    whose: String,
    chosen_by: String,
}

#[derive(Template)]
#[template(path = "queue.html")]
struct Queue {
    frame: Frame,
    said: Option<&'static str>,
    keys: QueueKeys,
    deletions: Vec<DeletionView>,
    gateways: Vec<GatewayView>,
    offered: Vec<Offered>,
    waiting: Waiting,
    slip: Slip,
}

/// The page.
pub(in crate::web) async fn page(
    State(state): State<WebState>,
    admin: CloudAdmin,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let done = &after.done;
    let said = queue_keys::said(done).or_else(|| text::said(done)).or_else(|| queue_people::said(done));
    pages::show(&view(&state, &admin, said).await?)
}

/// The page with a form of it that was refused.
pub(super) async fn again(state: &WebState, admin: &CloudAdmin, slip: Slip) -> Result<Response, Failure> {
    let mut page = view(state, admin, None).await?;
    match slip.form() {
        "approve" | "deny" if page.keys.has(slip.id()) => page.keys.slip = slip,
        "approve" | "deny" => return Err(slip.into_failure()),
        "person" | "more-time" => page.waiting.slip = slip,
        _ => page.slip = slip,
    }
    pages::show_refused(&page)
}

async fn view(state: &WebState, admin: &CloudAdmin, said: Option<&'static str>) -> Result<Queue, Failure> {
    let app = &state.app;
    let (zone, now) = (app.config.billing.zone, app.clock.now());
    let mut tx = app.store.read().await?;
    let names: HashMap<AccountId, String> =
        cloud::list_accounts(&mut tx).await?.into_iter().map(|account| (account.id, account.full_name())).collect();
    let name = |id: AccountId| names.get(&id).cloned().unwrap_or_else(|| text::ORPHAN.to_owned());
    let deletions = delete_rows::list(&mut tx, false, SHOWN).await?;
    let gateways = gateways::list_proposed(&mut tx, SHOWN).await?;
    let offered = gateways::list_approved(&mut tx, SHOWN).await?;
    let choosers = gateways::count_choosers(&mut tx).await?;
    let frame = Frame::around(state, admin, Page::Queue);
    let keys = QueueKeys::load(state, &mut tx, &frame).await?;
    let waiting = Waiting::read(state, &mut tx, queue_people::ON_QUEUE).await?;
    tx.commit().await?;
    Ok(Queue {
        frame,
        waiting,
        said,
        keys,
        deletions: deletions
            .into_iter()
            .map(|request| DeletionView {
                id: request.id,
                account: name(request.account_id),
                by: request.requested_by,
                on: request.requested_ms.display_in(zone),
                due: request.due_ms.display_in(zone),
                is_due: request.due_ms <= now,
                reason: request.reason,
            })
            .collect(),
        gateways: gateways
            .into_iter()
            .map(|gateway| GatewayView {
                id: gateway.id,
                account: gateway.account_id.map(name).unwrap_or_default(),
                by: gateway.proposed_by,
                on: gateway.proposed_ms.display_in(zone),
                name: gateway.name,
                country: gateway.country,
                website: gateway.website,
                details: gateway.details,
            })
            .collect(),
        offered: offered
            .into_iter()
            .map(|gateway| Offered {
                whose: match (gateway.payer_id, gateway.account_id) {
                    (None, _) => text::FOR_EVERYBODY.to_owned(),
                    (_, account) => account.map(name).unwrap_or_default(),
                },
                chosen_by: choosers.get(&gateway.id).copied().unwrap_or_default().to_string(),
                id: gateway.id,
                name: gateway.name,
                country: gateway.country,
                website: gateway.website,
            })
            .collect(),
        slip: Slip::default(),
    })
}

/// Refuses a request to delete an account.
pub(in crate::web) async fn refuse_deletion(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    AdminForm { admin, fields }: AdminForm,
) -> Result<Response, Failure> {
    let message = match fields.needed("message", MAX_MESSAGE, text::MESSAGE_WANTED) {
        Ok(message) => message,
        Err(mistake) => {
            return again(&state, &admin, Slip::new("deletion", id, mistake, fields)).await;
        }
    };
    let app = &state.app;
    let author = admin.author();
    let mut tx = app.store.begin().await?;
    let step = Step { author: &author, now: app.clock.now(), zone: app.config.billing.zone };
    let done = leaving::refuse(&mut tx, id, &message, step).await?;
    tx.commit().await?;
    Ok(pages::done(&state, Page::Queue, if done { "refused" } else { "already" }))
}

/// Approves or refuses a proposed gateway, or retires an approved one.
pub(in crate::web) async fn decide_gateway(
    State(state): State<WebState>,
    Path((id, what)): Path<(i64, String)>,
    AdminForm { admin, fields }: AdminForm,
) -> Result<Response, Failure> {
    let (approved, for_all) = match what.as_str() {
        "approve" => (true, false),
        "approve-for-all" => (true, true),
        "refuse" => (false, false),
        "retire" => return retire(&state, id, AdminForm { admin, fields }).await,
        _ => return Err(Failure::missing(words::NO_SUCH_PAGE)),
    };
    let message = if approved {
        fields.line("message", MAX_MESSAGE)
    } else {
        fields.needed("message", MAX_MESSAGE, text::MESSAGE_WANTED)
    };
    let message = match message {
        Ok(message) => message,
        Err(mistake) => {
            return again(&state, &admin, Slip::new("gateway", id, mistake, fields)).await;
        }
    };
    let app = &state.app;
    let (author, now) = (admin.author(), app.clock.now());
    let mut tx = app.store.begin().await?;
    let Some(gateway) = gateways::find(&mut tx, id).await? else {
        return Err(Failure::missing(words::NO_SUCH_PAGE));
    };
    let told = (!message.is_empty()).then_some(message.as_str());
    let done = gateways::decide(&mut tx, id, (approved, for_all), &author, told, now).await?;
    if done {
        let line = AuditLine {
            at_ms: now.as_ms(),
            actor: author,
            action: format!("gateway.{what}"),
            subject: format!("gateway {id} ({})", gateway.name),
            answer: told.map(str::to_owned),
            ..AuditLine::default()
        };
        runs::write_audit(&mut tx, &line).await?;
        tell_tenant(&mut tx, &gateway, approved, told, now).await?;
    }
    tx.commit().await?;
    let word = match (done, approved) {
        (false, _) => "already",
        (true, true) => "approved",
        (true, false) => "refused",
    };
    Ok(pages::done(&state, Page::Queue, word))
}

/// Offers an approved gateway no longer. Who chose it pays by bank transfer from then on, and is told.
async fn retire(state: &WebState, id: i64, AdminForm { admin, fields }: AdminForm) -> Result<Response, Failure> {
    let message = match fields.line("message", MAX_MESSAGE) {
        Ok(message) => message,
        Err(mistake) => return again(state, &admin, Slip::new("offered", id, mistake, fields)).await,
    };
    let (author, now) = (admin.author(), state.app.clock.now());
    let told = (!message.is_empty()).then_some(message.as_str());
    let mut tx = state.app.store.begin().await?;
    let gateway = gateways::find(&mut tx, id).await?.ok_or_else(|| Failure::missing(words::NO_SUCH_PAGE))?;
    let done = gateways::retire(&mut tx, id, &author, told, now).await?;
    if done {
        let line = AuditLine {
            at_ms: now.as_ms(),
            actor: author,
            action: "gateway.retire".to_owned(),
            subject: format!("gateway {id} ({})", gateway.name),
            answer: told.map(str::to_owned),
            ..AuditLine::default()
        };
        runs::write_audit(&mut tx, &line).await?;
        let (event, sentence) = (format!("gateway-retired-{id}"), text::gateway_retired(&gateway.name, told));
        for account in gateways::list_choosers(&mut tx, id).await? {
            let account = cloud::get_account(&mut tx, account).await?;
            let (payer, account) = (account.payer_id, account.id);
            enforcement::insert_notice(&mut tx, payer, account, 0, &event, &sentence, None, false, now).await?;
        }
    }
    tx.commit().await?;
    Ok(pages::done(state, Page::Queue, if done { "retired" } else { "already" }))
}

/// An answered request is told to the people of the account.
async fn tell_tenant(
    tx: &mut crate::store::Tx,
    gateway: &gateways::Gateway,
    approved: bool,
    message: Option<&str>,
    now: crate::time::Timestamp,
) -> Result<(), Failure> {
    let Some(account) = gateway.account_id else { return Ok(()) };
    let account = cloud::get_account(tx, account).await?;
    let (event, sentence) = if approved {
        ("gateway-approved", text::gateway_approved(&gateway.name, message))
    } else {
        ("gateway-refused", text::gateway_refused(&gateway.name, message))
    };
    let event = format!("{event}-{}", gateway.id);
    enforcement::insert_notice(tx, account.payer_id, account.id, 0, &event, &sentence, None, false, now).await?;
    Ok(())
}
