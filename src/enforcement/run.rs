//! One run of enforcement: recover, gather, decide, store, and act within the fuse.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{
    act::{Actor, Done},
    carry::{self, Due},
    fuse, guards,
    held::HeldBack,
    marker,
    plan::{self, Plan},
    plans, record, recover, switches,
    undo::UndoReport,
};
use crate::{
    cloudstack::{self, Client},
    ids::{AccountId, DecisionId, RunId},
    ledger::standing,
    money::{Currency, Money},
    policy::{Arming, Block, Ladders, Outcome, Reason, Rung},
    random::RandomSource,
    rating::tax::TaxRate,
    scope::Scope,
    store::{Store, StoreError, Tx, acting, enforcement as rows, notify, operations, policy as policy_rows, runs},
    time::{Clock, Timestamp},
};

/// The fuse looks back so far, beside the present run.
const FUSE_WINDOW: Duration = Duration::from_hours(24);
/// Guards that took longer to read are read anew.
const GUARDS_LAST: Duration = Duration::from_mins(1);
/// How often at most: a CloudStack that is slow all the time may not keep anybody from being opened again.
const MOST_LOOKS: u32 = 3;
/// The name of the lease of whoever enforces.
pub const LEASE: &str = "enforcer";

/// How enforcement goes about it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
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
    /// What one run and one rolling day may do downwards.
    pub fuse: fuse::Limits,
    /// How long a plan can be approved and carried out.
    pub plan_lasts: Duration,
    /// How many people have to approve a plan.
    pub approvals: usize,
    /// Beyond this share of the cloud's charges, in percent, what waits for a person holds back everybody.
    pub quarantine_percent: Decimal,
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
    /// Make a plan in this person's name instead of acting.
    pub planned_by: Option<String>,
    /// Only decide and store, whatever the switches say.
    pub dry_run: bool,
    /// Whether the enforcer's key pair is configured. Without it notices are given where that is armed, and everything else is rehearsed.
    pub has_key: bool,
    /// Reads of CloudStack side by side.
    pub reads_at_once: usize,
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
    #[error("nothing more was done: {0}")]
    CloudStack(#[from] cloudstack::Error),
    /// A person's order that rests on what the database knows, and nobody knows whether that is true.
    #[error("nothing was given back: {0}. Look at `bursar enforce differences`, then say `bursar enforce confirm`")]
    Unconfirmed(String),
    /// The figures do not fit.
    #[error("the figures can not be worked out: {0}")]
    Standing(#[from] standing::Error),
    /// Another process enforces at this moment.
    #[error(
        "another process is enforcing at this moment; nothing was done. It ends by itself, or its lease runs out within minutes"
    )]
    AnotherEnforcer,
    /// Another process has taken over while this one stood still.
    #[error(
        "another process has taken over enforcement, since this one stood still for longer than its lease lasts; what was begun \
         is gone on with there. An order is to be given again where it is not carried out by then"
    )]
    TakenOver,
    /// Giving back ended in the middle.
    #[error("{error}{}", report.given_back_before())]
    UndoCutShort {
        /// Why.
        error: Box<Self>,
        /// What was given back until then.
        report: Box<UndoReport>,
    },
    /// The run ended in the middle.
    #[error("{error}")]
    CutShort {
        /// Why.
        error: Box<Self>,
        /// What was decided and done until then.
        report: Box<EnforceReport>,
    },
}

impl Error {
    /// What CloudStack said, where that is the reason.
    pub fn cloudstack(&self) -> Option<&cloudstack::Error> {
        match self {
            Self::CloudStack(error) => Some(error),
            Self::CutShort { error, .. } | Self::UndoCutShort { error, .. } => error.cloudstack(),
            Self::Store(_) | Self::Standing(_) | Self::AnotherEnforcer | Self::TakenOver | Self::Unconfirmed(_) => None,
        }
    }

    /// Whether another process goes on with what this one had begun.
    pub fn is_taken_over(&self) -> bool {
        match self {
            Self::TakenOver => true,
            Self::CutShort { error, .. } | Self::UndoCutShort { error, .. } => error.is_taken_over(),
            Self::CloudStack(_) | Self::Store(_) | Self::Standing(_) | Self::AnotherEnforcer | Self::Unconfirmed(_) => {
                false
            }
        }
    }

    /// What was decided and done before the run ended, where anything was, as it is kept with the run.
    pub fn kept(&self) -> Option<serde_json::Value> {
        match self {
            Self::CutShort { report, .. } => Some(report.kept()),
            Self::UndoCutShort { report, .. } => serde_json::to_value(report).ok(),
            Self::CloudStack(_)
            | Self::Store(_)
            | Self::Standing(_)
            | Self::AnotherEnforcer
            | Self::TakenOver
            | Self::Unconfirmed(_) => None,
        }
    }
}

/// A line of the report.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ReportLine {
    /// The account's full name.
    pub account: String,
    /// keep, warn, restrict, lock, stop, restore, wait, propose-deletion.
    pub outcome: &'static str,
    /// none, notify, restrict, lock, stop.
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
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the report")]
pub struct EnforceReport {
    /// Whether nothing was to be done.
    pub dry_run: bool,
    /// Whether anything is armed.
    pub armed: bool,
    /// Whether steps are armed, or accounts held, and nobody can do anything about it: the enforcer's key pair is not configured.
    pub lacks_key: bool,
    /// Whether enforcement is paused.
    pub paused: bool,
    /// One line an account.
    pub decisions: Vec<ReportLine>,
    /// Notices recorded.
    pub notices: u64,
    /// Why nothing was taken and nothing given back until an administrator has confirmed.
    pub unconfirmed: Option<String>,
    /// What held back every step downwards.
    pub held_back_by: Vec<HeldBack>,
    /// Accounts restricted.
    pub restricted: Vec<String>,
    /// Accounts locked.
    pub locked: Vec<String>,
    /// Accounts stopped.
    pub stopped: Vec<String>,
    /// Accounts enabled again.
    pub restored: Vec<String>,
    /// Actions that are under way, with what they wait for: a later run ends them.
    pub started: Vec<String>,
    /// Actions that were left because of what somebody else did to the account in CloudStack, with what that was.
    pub left: Vec<String>,
    /// Actions that did not come about, with the reason.
    pub failed: Vec<String>,
    /// Actions left by a former run, with how they ended.
    pub recovered: Vec<String>,
    /// Why the fuse held back every step downwards of this run.
    pub fuse: Option<String>,
    /// The plan that was stored: by the fuse, or because it was asked for.
    pub plan: Option<i64>,
    /// The approved plan that was carried out.
    pub carried_plan: Option<i64>,
    /// Lines of it that were left out, with the reason.
    pub skipped: Vec<String>,
}

impl EnforceReport {
    /// What is kept with the run for good: of what was decided only how many accounts had which outcome (`decided`). A line an account
    /// and run would come to gigabytes, and each account's decision is stored by itself where it changes.
    pub fn kept(&self) -> serde_json::Value {
        let mut decided: BTreeMap<&str, u64> = BTreeMap::new();
        for line in &self.decisions {
            *decided.entry(line.outcome).or_default() += 1;
        }
        let mut kept = serde_json::to_value(self).unwrap_or_default();
        if let Some(kept) = kept.as_object_mut() {
            kept.remove("decisions");
            kept.insert("decided".to_owned(), serde_json::json!(decided));
        }
        kept
    }

    /// Notes how an action went.
    pub(super) fn note(&mut self, rung: &str, account: &str, done: &Done) {
        match done {
            Done::Yes => match rung {
                "restrict" => self.restricted.push(account.to_owned()),
                "lock" => self.locked.push(account.to_owned()),
                "stop" => self.stopped.push(account.to_owned()),
                _ => self.restored.push(account.to_owned()),
            },
            Done::Started(why) => self.started.push(format!("{account}: {why}")),
            Done::Left(why) => self.left.push(format!("{account}: {why}")),
            Done::No(why) => self.failed.push(format!("{account}: {why}")),
        }
    }
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

impl Enforcer<'_> {
    /// Begins a transaction that writes, and prolongs the lease for it. What a process writes after it stood still would rest on what it
    /// saw before, while another one went on, gave back, and took again: so it writes nothing any more, as if it had died there.
    ///
    /// # Errors
    ///
    /// [`Error::TakenOver`] where the lease was taken since `fence`, however long ago.
    pub(super) async fn write(&self, fence: i64) -> Result<Tx, Error> {
        let mut tx = self.store.begin().await?;
        let until = self.clock.now().plus(self.settings.lease);
        if runs::keep_lease(&mut tx, LEASE, (self.holder, fence), until).await? {
            Ok(tx)
        } else {
            Err(Error::TakenOver)
        }
    }
}

/// Runs enforcement once.
pub async fn enforce(enforcer: &Enforcer<'_>, run: RunId) -> Result<EnforceReport, Error> {
    let mut report = EnforceReport::default();
    let fence = take_lease(enforcer, run).await?;
    let result = with_lease(enforcer, run, fence, &mut report).await;
    drop_lease(enforcer, fence).await?;
    match result {
        Ok(()) => Ok(report),
        Err(error) if report.decisions.is_empty() && report.recovered.is_empty() => Err(error),
        Err(error) => Err(Error::CutShort { error: Box::new(error), report: Box::new(report) }),
    }
}

/// Takes the right to act for a run that is open; whoever had it before acts no more. A run that was cut off acts no more either: this
/// process stood still, and another one may have done since what the run was for.
pub(super) async fn take_lease(enforcer: &Enforcer<'_>, run: RunId) -> Result<i64, Error> {
    let settings = enforcer.settings;
    let now = enforcer.clock.now();
    let mut tx = enforcer.store.begin().await?;
    let fence = if settings.seize_lease {
        Some(runs::seize_lease(&mut tx, LEASE, enforcer.holder, settings.lease, now).await?)
    } else {
        runs::take_lease(&mut tx, LEASE, enforcer.holder, settings.lease, now).await?
    };
    let fence = fence.ok_or(Error::AnotherEnforcer)?;
    if !runs::touch_run(&mut tx, run, now).await? {
        return Err(Error::TakenOver);
    }
    tx.commit().await?;
    Ok(fence)
}

pub(super) async fn drop_lease(enforcer: &Enforcer<'_>, fence: i64) -> Result<(), Error> {
    let mut tx = enforcer.store.begin().await?;
    runs::drop_lease(&mut tx, LEASE, enforcer.holder, fence).await?;
    tx.commit().await?;
    Ok(())
}

/// The switches as a run finds them.
struct Switches {
    arming: Arming,
    paused: bool,
    unconfirmed: Option<String>,
    /// Whether there is something to give back, or to end.
    holds: bool,
}

/// What is armed where.
pub async fn arming(tx: &mut Tx) -> Result<Arming, StoreError> {
    let rows = policy_rows::list_arming(tx).await?;
    Ok(Arming::new(rows.into_iter().filter_map(|row| Rung::parse(&row.rung).map(|rung| (rung, row.domain_path)))))
}

async fn read_switches(enforcer: &Enforcer<'_>) -> Result<Switches, Error> {
    let mut tx = enforcer.store.read().await?;
    let switches = Switches {
        arming: arming(&mut tx).await?,
        paused: runs::find_setting(&mut tx, switches::PAUSED).await?.as_deref() == Some("1"),
        unconfirmed: marker::find_unconfirmed(&mut tx).await?,
        holds: rows::list_holds(&mut tx, None).await?.iter().any(|hold| hold.owner == "billing")
            || !rows::list_open_intents(&mut tx).await?.is_empty()
            || !acting::list_left_over(&mut tx).await?.is_empty(),
    };
    tx.commit().await?;
    Ok(switches)
}

async fn with_lease(enforcer: &Enforcer<'_>, run: RunId, fence: i64, report: &mut EnforceReport) -> Result<(), Error> {
    let settings = enforcer.settings;
    let mut switches = read_switches(enforcer).await?;
    report.paused = switches.paused;
    report.armed = switches.arming.any();
    report.lacks_key = !settings.has_key && (switches.arming.any_but(Rung::Notify) || switches.holds);
    if !settings.has_key {
        switches.arming = switches.arming.only(Rung::Notify);
    }
    report.dry_run = settings.dry_run || !switches.arming.any() || enforcer.client.is_none();
    // What was taken is given back also where nothing is armed any more.
    let watches = !settings.dry_run && settings.has_key && (switches.arming.any() || switches.holds);
    let acts = watches && !switches.paused;
    // A pause stops acts and not looks: CloudStack forgets its events after a while, and then nobody knows whose a lock is.
    if let (true, true, None, Some(client)) = (watches, switches.paused, &switches.unconfirmed, enforcer.client)
        && let Err(error) = Box::pin(look_on(enforcer, client, run, fence)).await
    {
        tracing::warn!(%error, "what others did in CloudStack could not be looked at while enforcement is paused");
    }
    let mut actor = None;
    if let (true, None, Some(client)) = (acts, &switches.unconfirmed, enforcer.client) {
        let made = Actor::new(enforcer, client, run, fence).await?;
        if guards::own_acts_are_known(&made).await? {
            // First what others did: a restore that an earlier run began goes no further past them.
            made.note_locks_by_others().await?;
            report.recovered = recover::recover(&made).await?;
            let forgotten = made.forget_locks_that_ended().await;
            if let Err(why) = made.bear(forgotten).await? {
                tracing::warn!(why, "not every account that somebody locked by hand could be looked at");
            }
            actor = Some(made);
        } else {
            // They hold the reason now.
            switches = read_switches(enforcer).await?;
        }
    }
    report.unconfirmed.clone_from(&switches.unconfirmed);
    let (now, blocks) = guards_of_now(enforcer, report.paused).await?;
    report.held_back_by = blocks.iter().map(HeldBack::by).collect();
    // Read as of one instant: charges that are being posted by another process count once, as what they are or as what they become.
    let mut tx = enforcer.store.read().await?;
    // A rehearsal of an armed cloud counts the warnings that were really given: it tells what the run would do.
    let plan = plan::plan(&mut tx, settings, &blocks, &switches.arming, now).await?;
    tx.commit().await?;
    let mut tx = enforcer.write(fence).await?;
    // A ledger that may lack payments warns nobody in earnest.
    let rehearsal = settings.dry_run || switches.unconfirmed.is_some();
    let record::Stored { decisions, anew } = record::store_plan(&mut tx, &plan, run, rehearsal, now, report).await?;
    runs::put_setting(&mut tx, switches::LAST_NOW, &now.as_ms().to_string(), now).await?;
    if settings.mail_is_off {
        // Where no server runs, nobody else does.
        notify::note_off(&mut tx, now).await?;
    }
    tx.commit().await?;

    if let Some(author) = &settings.planned_by {
        return make_plan(enforcer, &plan, &steps_down(&decisions, true), author, (run, fence), report).await;
    }
    let Some(mut actor) = actor else { return Ok(()) };
    actor.carries_out_decisions_of(now, anew);
    follow_up(&actor, &decisions, report).await?;
    let opened = give_back(&actor, &decisions, report).await?;
    let mut due = steps_down(&decisions, false);
    due.retain(|(planned, _, _)| !opened.contains(&planned.account.id));
    go_down(enforcer, &actor, &plan, &due, (run, now), report).await
}

/// The guards, and the instant as of which they and all decisions are: not one from before this process stood still in between, since
/// it would date warnings and how long somebody has been over.
async fn guards_of_now(enforcer: &Enforcer<'_>, paused: bool) -> Result<(Timestamp, Vec<Block>), Error> {
    let mut looks = 1;
    loop {
        let now = enforcer.clock.now();
        let blocks = guards::gather(enforcer, paused, now).await?;
        let ended = enforcer.clock.now();
        let is_of_now = now <= ended && ended.since(now) <= GUARDS_LAST;
        if is_of_now || looks == MOST_LOOKS {
            return Ok((now, blocks));
        }
        looks += 1;
    }
}

/// Notes what others did, and does nothing.
async fn look_on(enforcer: &Enforcer<'_>, client: &Client, run: RunId, fence: i64) -> Result<(), Error> {
    Actor::new(enforcer, client, run, fence).await?.note_locks_by_others().await
}

/// The steps downwards that were decided: those that are armed where they are to be done, or the rehearsed ones as well.
fn steps_down<'p>(decisions: &[(&'p plan::PlannedAccount, DecisionId)], rehearsed: bool) -> Vec<Due<'p>> {
    decisions
        .iter()
        .filter_map(|(planned, decision)| {
            let rung = planned.decision.outcome.step_down()?;
            (rehearsed || planned.armed.has(rung)).then_some((*planned, rung, *decision))
        })
        .collect()
}

/// Ends what a former run began and this run's decisions no longer want, account by account.
async fn follow_up(
    actor: &Actor<'_>,
    decisions: &[(&plan::PlannedAccount, DecisionId)],
    report: &mut EnforceReport,
) -> Result<(), Error> {
    let mut tx = actor.enforcer.store.read().await?;
    let open = rows::list_open_intents(&mut tx).await?;
    tx.commit().await?;
    let is_open = |planned: &plan::PlannedAccount| open.iter().any(|intent| intent.account_id == planned.account.id);
    for (planned, decision) in decisions.iter().filter(|(planned, _)| is_open(planned)) {
        let followed = recover::follow_up(actor, std::iter::once((*planned, *decision))).await;
        match actor.bear(followed).await? {
            Ok(sentences) => report.recovered.extend(sentences),
            Err(why) => {
                report.recovered.push(format!("{}: an interrupted action: {why}", planned.account.full_name()));
            }
        }
    }
    Ok(())
}

/// Opens one account again, and notes how it went.
async fn restore(
    actor: &Actor<'_>,
    (planned, decision): (&plan::PlannedAccount, DecisionId),
    report: &mut EnforceReport,
) -> Result<(), Error> {
    let restored = Box::pin(actor.restore(planned, decision)).await;
    let done = actor.bear(restored).await?.unwrap_or_else(Done::No);
    report.note("", &planned.account.full_name(), &done);
    Ok(())
}

/// Opening an account never waits for the fuse, and comes first. Gives the accounts that bursar's own late call had opened: what was
/// decided about them took them for opened by somebody else.
async fn give_back(
    actor: &Actor<'_>,
    decisions: &[(&plan::PlannedAccount, DecisionId)],
    report: &mut EnforceReport,
) -> Result<BTreeSet<AccountId>, Error> {
    for (planned, decision) in decisions.iter().filter(|(planned, _)| planned.decision.outcome == Outcome::Restore) {
        restore(actor, (*planned, *decision), report).await?;
    }
    // What was lowered or stopped under a hold that somebody lifted by hand is still bursar's to bring back.
    let mut tx = actor.enforcer.store.read().await?;
    let left_over = acting::list_left_over(&mut tx).await?;
    tx.commit().await?;
    let is_left_over = |planned: &plan::PlannedAccount| {
        left_over.contains(&planned.account.id) && planned.decision.outcome.step_down().is_none()
    };
    for (planned, decision) in decisions.iter().filter(|(planned, _)| is_left_over(planned)) {
        restore(actor, (*planned, *decision), report).await?;
    }
    for (planned, decision) in
        decisions.iter().filter(|(planned, _)| planned.decision.reason == Reason::EnabledByOthers)
    {
        if planned.is_to_open {
            restore(actor, (*planned, *decision), report).await?;
        }
    }
    let is_open = |planned: &plan::PlannedAccount| planned.rung >= Rung::Lock && planned.account.state == "enabled";
    let mut opened = BTreeSet::new();
    for (planned, _) in decisions.iter().filter(|(planned, _)| is_open(planned) && !planned.is_to_open) {
        let late = Box::pin(actor.opened_late(&planned.account)).await;
        if let Some(done) = actor.bear(late).await?.unwrap_or_else(|why| Some(Done::No(why))) {
            report.note("", &planned.account.full_name(), &done);
            opened.insert(planned.account.id);
        }
    }
    Ok(opened)
}

/// Steps downwards: what was begun, then those of an approved plan and no others, else what is due as far as the fuse holds.
async fn go_down(
    enforcer: &Enforcer<'_>,
    actor: &Actor<'_>,
    plan: &Plan,
    due: &[Due<'_>],
    (run, planned_at): (RunId, Timestamp),
    report: &mut EnforceReport,
) -> Result<(), Error> {
    let mut tx = actor.write().await?;
    plans::expire(&mut tx, planned_at).await?;
    let approved = plans::find_approved(&mut tx, enforcer.settings, planned_at).await?;
    let recent = operations::list_fuse_uses(&mut tx, planned_at.minus(FUSE_WINDOW)).await?;
    let lines = match &approved {
        Some(plan) => operations::list_plan_lines(&mut tx, plan.id).await?,
        None => Vec::new(),
    };
    let open = rows::list_open_intents(&mut tx).await?;
    tx.commit().await?;
    // What an approved plan began is ended among its lines.
    let is_begun = |(planned, rung, _): &Due<'_>| {
        let account = planned.account.id;
        open.iter().any(|intent| intent.account_id == account && intent.action == rung.word())
            && lines.iter().all(|line| line.account_id != account)
    };
    let (begun, due): (Vec<Due<'_>>, Vec<Due<'_>>) = due.iter().copied().partition(is_begun);
    for (planned, rung, decision) in begun {
        // It has its room in the fuse since it was begun: half done it does not wait behind what came later.
        let of_it = recent.iter().find(|(account, _)| *account == planned.account.id);
        let machines = of_it.map_or(0, |(_, machines)| u64::try_from(*machines).unwrap_or(0));
        let done = carry::step(enforcer, actor, (planned, rung, decision), machines, run).await?;
        report.note(rung.word(), &planned.account.full_name(), &done);
    }
    if let Some(approved) = approved {
        return carry::approved(enforcer, actor, &approved, (&due, &plan.accounts), (run, planned_at), report).await;
    }
    if due.is_empty() {
        return carry::fuse_no_longer_blown(actor, &plan.accounts).await;
    }
    let wanted: Vec<_> = due.iter().map(|(planned, rung, _)| (*planned, *rung)).collect();
    let plans::Built { lines, steps, mut figures, unread } = plans::build(enforcer, Some(actor), &wanted).await?;
    figures.weighed = fuse::weigh(enforcer.settings.fuse, plan.account_count, &steps, &recent);
    if let Some(why) = figures.blown() {
        tracing::warn!(reason = %why, "the fuse held back every step downwards of this run");
        let mut tx = actor.write().await?;
        let wanted = plans::Wanted { cause: "fuse", author: "the fuse", why: &why, figures };
        let id = plans::store(&mut tx, enforcer.settings, wanted, &lines, (run, planned_at)).await?;
        tx.commit().await?;
        report.plan = Some(id);
        report.fuse = Some(format!(
            "{why}. No step down was begun; plan {id} waits: `bursar enforce plans {id}` shows it, `bursar enforce approve {id}` carries it out"
        ));
        return Ok(());
    }
    carry::fuse_no_longer_blown(actor, &[]).await?;
    for ((planned, rung, decision), step) in due.iter().zip(&steps) {
        // How many machines it would add is not known: the next run looks again.
        if let Some((_, why)) = unread.iter().find(|(account, _)| *account == planned.account.id) {
            report.failed.push(format!("{}: its machines could not be listed: {why}", planned.account.full_name()));
            continue;
        }
        let done = carry::step(enforcer, actor, (planned, *rung, *decision), step.machines, run).await?;
        report.note(rung.word(), &planned.account.full_name(), &done);
    }
    Ok(())
}

/// Stores what the run would do downwards, for a person to look at and approve.
async fn make_plan(
    enforcer: &Enforcer<'_>,
    plan: &Plan,
    due: &[Due<'_>],
    author: &str,
    (run, fence): (RunId, i64),
    report: &mut EnforceReport,
) -> Result<(), Error> {
    let wanted: Vec<_> = due.iter().map(|(planned, rung, _)| (*planned, *rung)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let looker = match enforcer.client {
        Some(client) => Some(Actor::new(enforcer, client, run, fence).await?),
        None => None,
    };
    let plans::Built { lines, steps, mut figures, .. } = plans::build(enforcer, looker.as_ref(), &wanted).await?;
    let now = enforcer.clock.now();
    let mut tx = enforcer.write(fence).await?;
    let recent = operations::list_fuse_uses(&mut tx, now.minus(FUSE_WINDOW)).await?;
    figures.weighed = fuse::weigh(enforcer.settings.fuse, plan.account_count, &steps, &recent);
    let why = figures.blown().unwrap_or_else(|| "asked for".to_owned());
    let wanted = plans::Wanted { cause: "command", author, why: &why, figures };
    let id = plans::store(&mut tx, enforcer.settings, wanted, &lines, (run, now)).await?;
    tx.commit().await?;
    report.plan = Some(id);
    Ok(())
}
