//! One run of enforcement: recover, gather, decide, store, and act within the fuse.

use std::{sync::Arc, time::Duration};

use chrono_tz::Tz;
use rust_decimal::{Decimal, prelude::ToPrimitive};

use super::{
    act::{Actor, Done},
    plan::{self, Plan, PlannedAccount},
    recover, switches,
};
use crate::{
    cloudstack::{self, Client},
    ids::RunId,
    ledger::standing,
    money::{Currency, Money},
    policy::{Arming, Block, Ladders, Outcome, Reason, Rung},
    random::RandomSource,
    rating::tax::TaxRate,
    scope::Scope,
    store::{
        Store, StoreError,
        enforcement::{self as rows, NewDecision},
        policy::{self as policy_rows, ArmingRow},
        runs,
    },
    time::{Clock, Timestamp},
    usage::sync::settings as usage_settings,
};

/// An unchanged decision is stored again after this time (design 7.15).
const DECISION_REPEATS_AFTER: Duration = Duration::from_hours(24);
/// The fuse looks back so far, beside the present run.
const FUSE_WINDOW: Duration = Duration::from_hours(24);
/// The usage job's range where nothing is known of it: a day.
const DEFAULT_RANGE_MINUTES: u64 = 1_440;
/// The name of the lease of whoever enforces.
pub const LEASE: &str = "enforcer";

/// How enforcement goes about it.
#[derive(Debug, Clone)]
pub struct EnforceSettings {
    /// Thresholds and delays: the default and the classes.
    pub ladders: Ladders,
    /// Whether mail is switched off on purpose: a warning then counts from when it was written.
    pub mail_is_off: bool,
    /// The cloud's currency.
    pub currency: Currency,
    /// Zone of billing days and of dates that tenants read.
    pub zone: Tz,
    /// The limit of payers that have none of their own.
    pub default_limit: Option<Money>,
    /// Tax where a payer has no rate of its own.
    pub tax: TaxRate,
    /// Which domains are acted upon.
    pub scope: Scope,
    /// Accounts that are never touched: domain path and name.
    pub protected: Vec<(String, String)>,
    /// Accounts that one run and day may lock.
    pub fuse_accounts: u32,
    /// Percent of all accounts that one run and day may lock, at least one.
    pub fuse_percent: Decimal,
    /// Running machines of the accounts that one run may lock.
    pub fuse_running_vms: u32,
    /// Accounts that an administrator allows this run to lock, beyond the fuse.
    pub allow: Option<u32>,
    /// Grace on top of two ranges of the usage job before usage counts as stale.
    pub usage_grace: Duration,
    /// A difference of the clocks beyond this stops steps downwards.
    pub clock_jump: Duration,
    /// How long the lease lasts; longer than any call's deadline.
    pub lease: Duration,
    /// How long one action may take, its job included.
    pub intent_deadline: Duration,
    /// Pause between two looks at a job.
    pub job_pause: Duration,
    /// Only decide and store, whatever the switches say.
    pub dry_run: bool,
    /// Machines that a restore starts side by side.
    pub starts_at_once: usize,
    /// Whether a restriction also stops snapshots and backups.
    pub restrict_backups: bool,
    /// Whether this process holds the data directory's lock, so that any other holder of the lease is dead.
    pub seize_lease: bool,
}

/// Why a run stopped. What was done before stays done and is remembered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// CloudStack did not answer as it should; nothing more was done.
    #[error("nothing was done: {0}")]
    CloudStack(#[from] cloudstack::Error),
    /// The figures do not fit.
    #[error("the figures can not be worked out: {0}")]
    Standing(#[from] standing::Error),
    /// Another process enforces at this moment.
    #[error(
        "another process is enforcing at this moment; nothing was done. It ends by itself, or its lease runs out within minutes"
    )]
    AnotherEnforcer,
}

/// A line of the report.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ReportLine {
    /// The account's full name.
    pub account: String,
    /// keep, warn, lock, restore, wait.
    pub outcome: &'static str,
    /// none, notify, lock.
    pub rung: &'static str,
    /// Why, as a word.
    pub reason: &'static str,
    /// What the tenant is told.
    pub sentence: String,
    /// Why a step waits, for administrators.
    pub waits_for: Vec<String>,
}

/// What a run did.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct EnforceReport {
    /// Whether nothing was to be done.
    pub dry_run: bool,
    /// Whether enforcement is paused.
    pub paused: bool,
    /// One line an account.
    pub decisions: Vec<ReportLine>,
    /// Notices recorded.
    pub notices: u64,
    /// Accounts locked.
    pub locked: Vec<String>,
    /// Accounts restricted.
    pub restricted: Vec<String>,
    /// Accounts disabled, with their machines.
    pub stopped: Vec<String>,
    /// Accounts enabled again.
    pub restored: Vec<String>,
    /// Actions that did not come about, with the reason.
    pub failed: Vec<String>,
    /// Actions left by a former run, with how they ended.
    pub recovered: Vec<String>,
    /// Why the fuse held back all locks of this run.
    pub fuse: Option<String>,
}

/// Everything that a run needs.
pub struct Enforcer<'a> {
    /// The store.
    pub store: &'a Store,
    /// The enforcer's client, or the reader's for a dry run.
    pub client: Option<&'a Client>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random source.
    pub random: Arc<dyn RandomSource>,
    /// Who this process is.
    pub holder: &'a str,
    /// The settings.
    pub settings: &'a EnforceSettings,
}

/// Runs enforcement once.
pub async fn enforce(enforcer: &Enforcer<'_>, run: RunId) -> Result<EnforceReport, Error> {
    let settings = enforcer.settings;
    let now = enforcer.clock.now();
    let mut report = EnforceReport::default();
    let mut tx = enforcer.store.begin().await?;
    let armed = runs::find_setting(&mut tx, switches::ARMED).await?.as_deref() == Some("1")
        || !policy_rows::list_arming(&mut tx).await?.is_empty();
    report.paused = runs::find_setting(&mut tx, switches::PAUSED).await?.as_deref() == Some("1");
    let fence = if settings.seize_lease {
        Some(runs::seize_lease(&mut tx, LEASE, enforcer.holder, settings.lease, now).await?)
    } else {
        runs::take_lease(&mut tx, LEASE, enforcer.holder, settings.lease, now).await?
    };
    tx.commit().await?;
    let Some(fence) = fence else { return Err(Error::AnotherEnforcer) };
    report.dry_run = settings.dry_run || !armed || enforcer.client.is_none();
    let acting = !report.dry_run && !report.paused;

    let result = run_with_lease(enforcer, run, fence, armed, acting, &mut report).await;
    let mut tx = enforcer.store.begin().await?;
    runs::drop_lease(&mut tx, LEASE, enforcer.holder, enforcer.clock.now()).await?;
    tx.commit().await?;
    result.map(|()| report)
}

async fn run_with_lease(
    enforcer: &Enforcer<'_>,
    run: RunId,
    fence: i64,
    armed: bool,
    acting: bool,
    report: &mut EnforceReport,
) -> Result<(), Error> {
    let settings = enforcer.settings;
    let mut actor = None;
    if acting && let Some(client) = enforcer.client {
        let made = Actor::new(enforcer, client, run, fence).await?;
        report.recovered = recover::recover(&made).await?;
        made.note_locks_by_others().await?;
        actor = Some(made);
    }
    let now = enforcer.clock.now();
    let blocks = gather_blocks(enforcer, report.paused, now).await?;
    let rehearsal = settings.dry_run || !armed;
    let mut tx = enforcer.store.begin().await?;
    // A rehearsal of an armed cloud counts the warnings that were really given: it tells what the run would do.
    let mut arming = policy_rows::list_arming(&mut tx).await?;
    if armed && arming.is_empty() {
        // The one switch meant notices and locks.
        for rung in [Rung::Notify, Rung::Lock] {
            let (armed_by, domain_path) = ("the switch".to_owned(), String::new());
            arming.push(ArmingRow { rung: rung.word().to_owned(), domain_path, armed_by, armed_ms: now });
        }
    }
    let arming =
        Arming::new(arming.into_iter().filter_map(|row| Rung::parse(&row.rung).map(|rung| (rung, row.domain_path))));
    let plan = plan::plan(&mut tx, settings, &blocks, &arming, now).await?;
    let decisions = store_plan(&mut tx, &plan, run, rehearsal, now, report).await?;
    runs::put_setting(&mut tx, switches::LAST_NOW, &now.as_ms().to_string(), now).await?;
    tx.commit().await?;

    let Some(mut actor) = actor else { return Ok(()) };
    actor.carries_out_decisions_of(now);
    report.recovered.extend(recover::follow_up(&actor, decisions.iter().map(|(planned, _)| *planned)).await?);
    // Opening an account never waits for the fuse, and comes first.
    for (planned, decision) in decisions.iter().filter(|(planned, _)| planned.decision.outcome == Outcome::Restore) {
        note(
            actor.restore(planned, *decision).await?,
            &planned.account.full_name(),
            &mut report.restored,
            &mut report.failed,
        );
    }
    for (planned, decision) in
        decisions.iter().filter(|(planned, _)| planned.decision.reason == Reason::EnabledByOthers)
    {
        actor.forget_lock_by_others(planned.account.id).await?;
        if planned.standing.figures.available >= planned.opens_at {
            note(
                actor.restore(planned, *decision).await?,
                &planned.account.full_name(),
                &mut report.restored,
                &mut report.failed,
            );
        }
    }
    let locks: Vec<_> = decisions
        .iter()
        .filter(|(planned, _)| planned.decision.outcome.step_down().is_some() && !planned.is_rehearsal())
        .collect();
    if let Some(why) =
        blown_fuse(enforcer, &actor, &plan, &locks.iter().map(|(planned, _)| *planned).collect::<Vec<_>>()).await?
    {
        tracing::warn!(reason = %why, "the fuse held back every lock of this run");
        report.fuse = Some(why);
        return Ok(());
    }
    for (planned, decision) in locks {
        let Some(rung) = planned.decision.outcome.step_down() else { continue };
        let worked = match rung {
            Rung::Restrict => &mut report.restricted,
            Rung::Stop => &mut report.stopped,
            _ => &mut report.locked,
        };
        note(
            actor.step_down(planned, *decision, rung).await?,
            &planned.account.full_name(),
            worked,
            &mut report.failed,
        );
    }
    Ok(())
}

fn note(done: Done, account: &str, worked: &mut Vec<String>, failed: &mut Vec<String>) {
    match done {
        Done::Yes => worked.push(account.to_owned()),
        Done::No(why) | Done::Started(why) => failed.push(format!("{account}: {why}")),
    }
}

/// Why nobody may be taken a step down in this run.
async fn gather_blocks(enforcer: &Enforcer<'_>, paused: bool, now: Timestamp) -> Result<Vec<Block>, Error> {
    let settings = enforcer.settings;
    let mut blocks = Vec::new();
    if paused {
        blocks.push(Block::Paused);
    }
    let mut tx = enforcer.store.read().await?;
    let number = async |tx: &mut crate::store::Tx, key: &str| -> Result<Option<i64>, StoreError> {
        Ok(runs::find_setting(tx, key).await?.and_then(|text| text.parse().ok()))
    };
    let until = number(&mut tx, usage_settings::FETCHED_UNTIL).await?.map(Timestamp::from_ms);
    let range = number(&mut tx, usage_settings::RANGE_MINUTES).await?;
    let last = number(&mut tx, switches::LAST_NOW).await?.map(Timestamp::from_ms);
    tx.commit().await?;
    let range_minutes = range.and_then(|minutes| u64::try_from(minutes).ok()).unwrap_or(DEFAULT_RANGE_MINUTES);
    let patience = Duration::from_secs(range_minutes.saturating_mul(120)).saturating_add(settings.usage_grace);
    if until.is_none_or(|until| until.plus(patience) < now) {
        blocks.push(Block::StaleUsage { until });
    }
    let mut jumped = last.is_some_and(|last| now < last);
    if let Some(client) = enforcer.client {
        // The server's clock is the witness that ours has not leapt.
        if let Some(skew) = client.measure_clock_skew().await? {
            jumped |= skew.unsigned_abs() > settings.clock_jump.as_secs();
        }
        match client.quota_enforcing().await {
            Ok(true) => blocks.push(Block::QuotaPluginEnforces),
            Ok(false) | Err(cloudstack::Error::NotAllowed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if jumped {
        blocks.push(Block::ClockJumped);
    }
    Ok(blocks)
}

/// Stores decisions that changed, notices that are new, and since when payers are over.
async fn store_plan<'p>(
    tx: &mut crate::store::Tx,
    plan: &'p Plan,
    run: RunId,
    rehearsal: bool,
    now: Timestamp,
    report: &mut EnforceReport,
) -> Result<Vec<(&'p PlannedAccount, crate::ids::DecisionId)>, Error> {
    count_for_metrics(plan);
    crate::telemetry::metrics::intents_open(rows::list_open_intents(tx).await?.len() as u64);
    let newest = rows::list_newest_decisions(tx).await?;
    let reached = policy_rows::list_reached(tx).await?;
    let mut decisions = Vec::new();
    for planned in &plan.accounts {
        let decision = &planned.decision;
        let only_rehearsed = rehearsal || planned.is_rehearsal();
        let (outcome, rung, reason) = (decision.outcome.word(), decision.rung.word(), decision.reason.word());
        let stored = newest.get(&planned.account.id.get());
        let same = stored.is_some_and(|row| {
            row.outcome == outcome
                && row.rung == rung
                && row.reason == reason
                && (row.dry_run == 1) == only_rehearsed
                && Timestamp::from_ms(row.decided_ms).plus(DECISION_REPEATS_AFTER) > now
        });
        let id = match stored {
            Some(row) if same => crate::ids::DecisionId::new(row.id),
            _ => {
                let new = NewDecision {
                    run,
                    payer: planned.account.payer_id,
                    account: planned.account.id,
                    outcome,
                    rung,
                    reason,
                    sentence: decision.sentence.clone(),
                    figures: figures_json(planned),
                    dry_run: only_rehearsed,
                };
                rows::insert_decision(tx, &new, now).await?
            }
        };
        for rung in Rung::ACTING {
            let since = decision.reached.get(rung);
            if reached.get(&(planned.account.payer_id, rung.word().to_owned())).copied() != since {
                policy_rows::put_reached(tx, planned.account.payer_id, rung.word(), since).await?;
            }
        }
        for notice in &decision.notices {
            let given = rows::insert_notice(
                tx,
                planned.account.payer_id,
                planned.account.id,
                planned.epoch,
                &notice.event,
                &notice.sentence,
                notice.acts_at,
                rehearsal || !planned.armed.has(notice.rung),
                now,
            )
            .await?;
            if given {
                report.notices += 1;
                tracing::info!(
                    account = %planned.account.full_name(),
                    event = %notice.event,
                    rehearsal,
                    "notice recorded"
                );
            }
        }
        crate::telemetry::metrics::decisions(outcome, 1);
        report.decisions.push(ReportLine {
            account: planned.account.full_name(),
            outcome,
            rung,
            reason,
            sentence: decision.sentence.clone(),
            waits_for: decision.waits_for.clone(),
        });
        decisions.push((planned, id));
    }
    Ok(decisions)
}

/// Tells the gauges how many accounts are in which state, and how many managed payers have nothing left.
fn count_for_metrics(plan: &Plan) {
    let count =
        |wanted: &dyn Fn(&PlannedAccount) -> bool| plan.accounts.iter().filter(|row| wanted(row)).count() as u64;
    for state in ["enabled", "locked", "disabled"] {
        crate::telemetry::metrics::accounts(state, count(&|row| row.account.state == state));
    }
    let known = |row: &PlannedAccount| ["enabled", "locked", "disabled"].contains(&row.account.state.as_str());
    crate::telemetry::metrics::accounts("other", count(&|row| !known(row)));
    let over: std::collections::HashSet<_> = plan
        .accounts
        .iter()
        .filter(|row| row.standing.managed && !row.standing.figures.available.is_positive())
        .map(|row| row.standing.payer)
        .collect();
    crate::telemetry::metrics::payers_over_limit(over.len() as u64);
}

fn figures_json(planned: &PlannedAccount) -> String {
    let figures = &planned.standing.figures;
    serde_json::json!({
        "total": figures.total.to_string(),
        "used": figures.used.to_string(),
        "available": figures.available.to_string(),
        "limit": figures.limit.to_string(),
        "grants_left": figures.grants_left.to_string(),
        "money": figures.money.to_string(),
        "accrued": figures.accrued.to_string(),
        "per_day": planned.standing.per_day.to_string(),
        "days_left": planned.standing.days_left,
    })
    .to_string()
}

/// Whether the locks of this run are more than a run and a day may do: then none of them happens.
async fn blown_fuse(
    enforcer: &Enforcer<'_>,
    actor: &Actor<'_>,
    plan: &Plan,
    locks: &[&PlannedAccount],
) -> Result<Option<String>, Error> {
    if locks.is_empty() {
        return Ok(None);
    }
    let settings = enforcer.settings;
    let mut tx = enforcer.store.read().await?;
    let recent = rows::count_locks_since(&mut tx, enforcer.clock.now().minus(FUSE_WINDOW)).await?;
    tx.commit().await?;
    let wanted = locks.len() as u64 + u64::try_from(recent).unwrap_or(0);
    let percent = settings.fuse_percent * Decimal::from(plan.account_count) / Decimal::ONE_HUNDRED;
    let by_percent = percent.floor().to_u64().unwrap_or(0).max(1);
    let limit = u64::from(settings.fuse_accounts).min(by_percent);
    let allowed = settings.allow.map_or(limit, |allow| limit.max(u64::from(allow)));
    if wanted > allowed {
        return Ok(Some(format!(
            "{} accounts are due to be locked, with those of the last day {wanted}, and the fuse allows {limit} (the smaller of \
             {} accounts and {} % of {}). Nothing was locked. Look at `bursar enforce --dry-run`, then let this run through with \
             `bursar enforce --allow {wanted}`",
            locks.len(),
            settings.fuse_accounts,
            settings.fuse_percent,
            plan.account_count
        )));
    }
    if settings.allow.is_none() {
        let mut running = 0_u64;
        for planned in locks {
            running += actor.running_machines(&planned.account).await?.len() as u64;
        }
        if running > u64::from(settings.fuse_running_vms) {
            return Ok(Some(format!(
                "the accounts that are due to be locked run {running} machines, and the fuse allows {}. Nothing was locked; let this run \
                 through with `bursar enforce --allow {wanted}`",
                settings.fuse_running_vms
            )));
        }
    }
    Ok(None)
}
