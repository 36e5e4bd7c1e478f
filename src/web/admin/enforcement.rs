//! The administrator's page of enforcement: what is armed, what waits for an approval, what was done, and what is odd.

use std::collections::HashMap;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde_json::Value;

use crate::web::{
    WebState,
    access::{AdminForm, CloudAdmin},
    error::Failure,
    pages::{self, After, Frame, Page},
    words,
};
use crate::{
    enforcement::{
        deletions,
        held::HeldBack,
        plans::{self, PlanError, ShownPlan},
        switches,
    },
    ids::AccountId,
    jobs::arming::{self, Status},
    policy::Rung,
    store::{
        cloud, enforcement as rows, notify, operations,
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// Runs shown.
const RUNS_SHOWN: i64 = 10;
/// Machines named in a line before the rest is counted.
const MACHINES_NAMED: usize = 20;
/// Holds shown.
const HOLDS_SHOWN: usize = 200;
/// Accounts without an address shown.
const ADDRESSES_SHOWN: i64 = 200;
/// Longest reason.
const MAX_REASON: usize = 200;

/// One step of the ladder, and where it is armed.
struct Armed {
    rung: &'static str,
    what: &'static str,
    places: Vec<Place>,
}

/// Where a step is armed, and by whom.
struct Place {
    domain: String,
    by: String,
}

struct PlanView {
    id: i64,
    waiting: bool,
    state: &'static str,
    why: String,
    author: String,
    made: String,
    until: String,
    approved_by: Vec<String>,
    approvals: usize,
    needed: usize,
    lines: Vec<LineView>,
}

struct LineView {
    account: String,
    rung: &'static str,
    word: String,
    sentence: String,
    machines: usize,
    stops: bool,
    named: String,
    notes: Vec<String>,
    to_avoid: String,
    answer: Option<String>,
}

struct RunView {
    id: i64,
    began: String,
    cause: String,
    outcome: &'static str,
    did: Vec<String>,
}

struct HoldView {
    account: String,
    owner: String,
    rung: &'static str,
    since: String,
    by: String,
    why: String,
}

struct DriftView {
    account: String,
    what: String,
}

struct DeletionView {
    id: i64,
    account: String,
    sentence: String,
    proposed: String,
}

#[derive(Template)]
#[template(path = "enforcement.html")]
struct Enforcement {
    frame: Frame,
    said: Option<&'static str>,
    armed: Vec<Armed>,
    nothing_armed: bool,
    paused: bool,
    unconfirmed: Option<String>,
    /// What is wrong with the configuration, each as a sentence without its full stop.
    warnings: Vec<String>,
    held_back: Vec<String>,
    plans: Vec<PlanView>,
    runs: Vec<RunView>,
    holds: Vec<HoldView>,
    more_holds: usize,
    drift: Vec<DriftView>,
    unreachable: Vec<String>,
    deletions: Vec<DeletionView>,
}

/// The page.
pub(in crate::web) async fn page(
    State(state): State<WebState>,
    admin: CloudAdmin,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let app = &state.app;
    let zone = app.config.billing.zone;
    let status = arming::status(app).await.map_err(|error| Failure::unexpected(&error))?;
    let mut warnings = status.unmatched.clone();
    warnings.extend(status.lacks_key.then(|| HeldBack::lacking_key().why));
    let mut tx = app.store.read().await?;
    let accounts: HashMap<AccountId, cloud::Account> =
        cloud::list_accounts(&mut tx).await?.into_iter().map(|account| (account.id, account)).collect();
    let name = |id: AccountId| accounts.get(&id).map(cloud::Account::full_name).unwrap_or_default();
    let mut shown = Vec::new();
    for plan in status.plans.clone() {
        shown.push(plan_view(plans::show(&mut tx, plan, app.config.fuse.second_admin).await?, zone));
    }
    let all_holds = rows::list_holds(&mut tx, None).await?;
    let drift = drift(&accounts, &all_holds);
    let more_holds = all_holds.len().saturating_sub(HOLDS_SHOWN);
    let holds = all_holds
        .into_iter()
        .take(HOLDS_SHOWN)
        .map(|hold| HoldView {
            account: name(hold.account_id),
            owner: hold.owner,
            // What was suspended before bursar came stands on no step of its ladder.
            rung: Rung::parse(&hold.rung).filter(|rung| *rung != Rung::None).map_or("", |rung| rung_words(rung.word())),
            since: Timestamp::from_ms(hold.placed_ms).display_in(zone),
            by: hold.placed_by,
            why: hold.reason,
        })
        .collect();
    let unreachable = notify::list_without_address(&mut tx, ADDRESSES_SHOWN)
        .await?
        .into_iter()
        .map(|row| format!("{}/{}", row.domain_path, row.name))
        .collect();
    let deletions = operations::list_deletions(&mut tx, false, 200)
        .await?
        .into_iter()
        .map(|row| DeletionView {
            id: row.id,
            account: name(row.account_id),
            sentence: row.sentence,
            proposed: Timestamp::from_ms(row.proposed_ms).display_in(zone),
        })
        .collect();
    let runs = runs::list_runs(&mut tx, Some("enforce"), RUNS_SHOWN).await?;
    pages::show(&Enforcement {
        frame: Frame::around(&state, &admin, Page::Enforcement),
        said: words::enforcement_said(&after.done),
        armed: armed(&status),
        nothing_armed: status.armed.is_empty(),
        paused: status.paused,
        unconfirmed: status.unconfirmed,
        warnings,
        held_back: held_back(&runs),
        plans: shown,
        runs: runs.into_iter().map(|run| run_view(run, zone)).collect(),
        holds,
        more_holds,
        drift,
        unreachable,
        deletions,
    })
}

fn armed(status: &Status) -> Vec<Armed> {
    let places = |rung: Rung| {
        let rows = status.armed.iter().filter(move |row| row.rung == rung.word());
        let place = |path: &String| if path.is_empty() { words::WHOLE_CLOUD.to_owned() } else { path.clone() };
        rows.map(|row| Place { domain: place(&row.domain_path), by: row.armed_by.clone() }).collect()
    };
    Rung::ARMABLE
        .into_iter()
        .map(|rung| Armed { rung: rung.word(), what: rung_words(rung.word()), places: places(rung) })
        .collect()
}

/// What held back every step downwards of the newest run that looked. What has a banner of its own is left out.
fn held_back(runs: &[runs::Run]) -> Vec<String> {
    let looked = runs.iter().find_map(|run| {
        let report: Value = serde_json::from_str(&run.detail).ok()?;
        serde_json::from_value::<Vec<HeldBack>>(report.get("held_back_by")?.clone()).ok()
    });
    let guards = looked.unwrap_or_default();
    guards.into_iter().filter(|guard| !guard.is_told_elsewhere()).map(|guard| guard.why).collect()
}

/// A step of the ladder in words.
pub(in crate::web) fn rung_words(rung: &str) -> &'static str {
    match Rung::parse(rung) {
        Some(Rung::Notify) => words::RUNG_NOTIFY,
        Some(Rung::Restrict) => words::RUNG_RESTRICT,
        Some(Rung::Lock) => words::RUNG_LOCK,
        Some(Rung::Stop) => words::RUNG_STOP,
        Some(Rung::None) | None => words::RUNG_NONE,
    }
}

fn plan_view(plan: ShownPlan, zone: chrono_tz::Tz) -> PlanView {
    PlanView {
        id: plan.id,
        waiting: plan.state == "waiting",
        state: words::plan_state(&plan.state),
        why: plan.why,
        author: plan.author,
        made: plan.created.display_in(zone),
        until: plan.expires.display_in(zone),
        approved_by: plan.approved_by,
        approvals: plan.approvals,
        needed: plan.approvals_needed,
        lines: plan
            .lines
            .into_iter()
            .map(|line| {
                let names: Vec<String> = line
                    .machines
                    .iter()
                    .take(MACHINES_NAMED)
                    .map(|machine| match &machine.project {
                        Some(project) => format!("{} ({} {project})", machine.name, words::PROJECT),
                        None => machine.name.clone(),
                    })
                    .collect();
                let more = line.machines.len().saturating_sub(names.len());
                let more = if more > 0 { format!(" {} {more} {}", words::AND, words::MORE) } else { String::new() };
                LineView {
                    account: line.account,
                    rung: rung_words(&line.rung),
                    stops: line.rung == Rung::Stop.word(),
                    word: line.rung,
                    sentence: line.sentence,
                    machines: line.machines.len(),
                    named: format!("{}{more}", names.join(", ")),
                    notes: line.notes,
                    to_avoid: line.to_avoid,
                    answer: line.answer.map(|answer| format!("{}: {answer}", line.state)),
                }
            })
            .collect(),
    }
}

/// What a run did, from its report.
fn run_view(run: runs::Run, zone: chrono_tz::Tz) -> RunView {
    let report: Value = serde_json::from_str(&run.detail).unwrap_or_default();
    let list = |key: &str| -> Vec<String> {
        report
            .get(key)
            .and_then(Value::as_array)
            .map(|items| items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
            .unwrap_or_default()
    };
    let mut did = Vec::new();
    for (key, what) in words::RUN_DID {
        let items = list(key);
        if !items.is_empty() {
            did.push(format!("{what}: {}", items.join("; ")));
        }
    }
    for key in ["fuse", "unconfirmed", "error"] {
        if let Some(text) = report.get(key).and_then(Value::as_str) {
            did.push(text.to_owned());
        }
    }
    RunView {
        id: run.id,
        began: Timestamp::from_ms(run.started_ms).display_in(zone),
        cause: run.cause,
        outcome: words::run_outcome(run.outcome.as_deref()),
        did,
    }
}

/// Accounts whose state and holds do not fit, as last seen.
fn drift(accounts: &HashMap<AccountId, cloud::Account>, holds: &[rows::HoldRow]) -> Vec<DriftView> {
    let mut found: Vec<DriftView> = accounts
        .values()
        .filter(|account| account.gone_ms.is_none())
        .filter_map(|account| {
            let mut held = holds.iter().filter(|hold| hold.account_id == account.id).peekable();
            let suspended = matches!(account.state.as_str(), "locked" | "disabled");
            let what = if suspended && held.peek().is_none() {
                format!("{} {}", account.state, words::DRIFT_NO_HOLD)
            } else if !suspended && held.any(|hold| hold.owner == "billing" && hold.rung != "restrict") {
                words::DRIFT_ENABLED.to_owned()
            } else {
                return None;
            };
            Some(DriftView { account: account.full_name(), what })
        })
        .collect();
    found.sort_by(|a, b| a.account.cmp(&b.account));
    found
}

fn back(state: &WebState, done: &str) -> Response {
    let base = &state.app.config.web.base_path;
    Redirect::to(&format!("{base}/admin/enforcement?done={done}")).into_response()
}

fn refused(error: PlanError) -> Failure {
    match error {
        PlanError::Store(error) => error.into(),
        other => Failure::new(StatusCode::CONFLICT, "refused", other.to_string()),
    }
}

/// Approves a plan; the server carries it out at once when it has every approval.
pub(in crate::web) async fn approve(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    AdminForm { admin, .. }: AdminForm,
) -> Result<Response, Failure> {
    let app = &state.app;
    let mut tx = app.store.begin().await?;
    let second = app.config.fuse.second_admin;
    let by = admin.approver(&mut tx).await?;
    let complete = plans::approve(&mut tx, id, &by, second, app.clock.now()).await.map_err(refused)?;
    tx.commit().await?;
    if complete {
        state.wake.notify_one();
    }
    Ok(back(&state, if complete { "approved" } else { "approved-once" }))
}

/// Drops a plan.
pub(in crate::web) async fn drop_plan(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    AdminForm { admin, .. }: AdminForm,
) -> Result<Response, Failure> {
    let mut tx = state.app.store.begin().await?;
    plans::drop_plan(&mut tx, id, &admin.author(), state.app.clock.now()).await.map_err(refused)?;
    tx.commit().await?;
    Ok(back(&state, "dropped"))
}

/// Has the server make a plan.
pub(in crate::web) async fn make_plan(
    State(state): State<WebState>,
    AdminForm { admin, .. }: AdminForm,
) -> Result<Response, Failure> {
    let mut tx = state.app.store.begin().await?;
    runs::leave_request(&mut tx, "enforce-plan", "{}", &admin.author(), state.app.clock.now()).await?;
    tx.commit().await?;
    Ok(back(&state, "planning"))
}

/// Pauses or resumes, at once and on all replicas.
pub(in crate::web) async fn pause(
    State(state): State<WebState>,
    Path(what): Path<String>,
    AdminForm { admin, .. }: AdminForm,
) -> Result<Response, Failure> {
    let (value, action, done) = match what.as_str() {
        "pause" => ("1", "enforce.pause", "paused"),
        "resume" => ("0", "enforce.resume", "resumed"),
        _ => return Err(Failure::missing(words::NO_SUCH_PAGE)),
    };
    let now = state.app.clock.now();
    let mut tx = state.app.store.begin().await?;
    let before = runs::find_setting(&mut tx, switches::PAUSED).await?;
    runs::put_setting(&mut tx, switches::PAUSED, value, now).await?;
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: admin.author(),
        action: action.to_owned(),
        subject: "enforcement".to_owned(),
        before_state: before,
        after_state: Some(value.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(&mut tx, &line).await?;
    tx.commit().await?;
    if value == "0" {
        state.wake.notify_one();
    }
    Ok(back(&state, done))
}

/// Says yes or no to a proposal to delete.
pub(in crate::web) async fn deletion(
    State(state): State<WebState>,
    Path((id, what)): Path<(i64, String)>,
    AdminForm { admin, fields }: AdminForm,
) -> Result<Response, Failure> {
    let confirm = match what.as_str() {
        "confirm" => true,
        "refuse" => false,
        _ => return Err(Failure::missing(words::NO_SUCH_PAGE)),
    };
    let reason = fields.get("reason");
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(Failure::bad(words::REASON_WANTED));
    }
    let mut tx = state.app.store.begin().await?;
    deletions::decide(&mut tx, id, confirm, (&admin.author(), reason), state.app.clock.now()).await.map_err(
        |error| match error {
            deletions::DeletionError::Store(error) => error.into(),
            other @ deletions::DeletionError::Decided { .. } => {
                Failure::new(StatusCode::CONFLICT, "refused", other.to_string())
            }
        },
    )?;
    tx.commit().await?;
    Ok(back(&state, if confirm { "deletion-confirmed" } else { "deletion-refused" }))
}
