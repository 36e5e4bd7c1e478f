//! Hands the watch what happened, with the truth beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Error, book,
    life::{Life, is_tenant},
    setup::{self, Kind, Tenant},
    watch::{CYCLES_TO_RESTORE, Found, Moved, Step, Taken, Truth, Violation},
    wire::{Effect, Seen},
};
use crate::{
    enforcement::switches,
    ids::{CloudId, PayerId},
    jobs::work,
    standin::State,
    store::{Tx, cloud as accounts, enforcement as rows, runs, usage},
    time::{Clock as _, Timestamp},
};

/// Notices of one account that are looked through.
const NOTICES: i64 = 200;
/// bursar asks for the average of seven closed days, all of which lie within so many.
const DEAR_DAYS: Duration = Duration::from_hours(10 * 24);
/// Around the edges of a grant, clocks may differ by so much.
const EDGE: Duration = Duration::from_mins(15);
/// Rounding of charges, a type and day, in millionths, and what a last millisecond costs.
const ROUNDING: i64 = 60_000;

/// What was true when the jobs of a tick began.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    at: Timestamp,
    credit: BTreeMap<CloudId, i64>,
    doubt: BTreeMap<CloudId, i64>,
    managed: BTreeSet<CloudId>,
    may_act: bool,
    plugin_enforces: bool,
    /// Noted in the middle of a run.
    within: bool,
}

impl Life {
    /// Notes what is true now: calls that arrive late are judged by when they were sent.
    pub(super) fn note_moment(&mut self) {
        let at = self.cloud.time.now();
        let mut moment = Moment {
            at,
            credit: BTreeMap::new(),
            doubt: BTreeMap::new(),
            managed: BTreeSet::new(),
            may_act: self.armed && !self.paused,
            plugin_enforces: self.plugin_enforces,
            within: false,
        };
        for tenant in &self.tenants {
            let purse = self.purses.get(&tenant.id).cloned().unwrap_or_default();
            let credit = purse.credit(at.minus(EDGE)).min(purse.credit(at.plus(EDGE))).min(purse.credit(at));
            moment.credit.insert(tenant.id, credit);
            moment.doubt.insert(tenant.id, purse.doubt);
            if purse.limit.is_some() {
                moment.managed.insert(tenant.id);
            }
        }
        self.moments.push(moment);
    }

    /// The same in the middle of a run, which decided before: what was allowed then is as good.
    pub(super) fn note_moment_within(&mut self) {
        self.note_moment();
        if let Some(moment) = self.moments.last_mut() {
            moment.within = true;
        }
    }

    fn used(&self, tenant: &Tenant, until: Timestamp) -> i64 {
        let (owners, tax) = (tenant.owners(), self.lot.tax_percent);
        self.cloud.standin.with(|world| book::used(world, &owners, until, tax))
    }

    /// Every change that calls of bursar made since the last look.
    pub(super) async fn judge_effects(&mut self) -> Result<(), Error> {
        for detail in self.cloud.take_accusations() {
            self.violations.push(Violation { invariant: "fenced", account: "all".to_owned(), detail });
        }
        for effect in self.cloud.take_effects() {
            self.judge_machines(&effect);
            for tenant in self.tenants.clone() {
                for taken in steps(&tenant, &effect) {
                    self.told.steps += 1;
                    *self.told.by_step.entry(taken.step).or_default() += 1;
                    let mut truth = self.truth(&tenant, &taken).await?;
                    // Who has not paid enough to be opened stays stopped, with the projects that are followed up.
                    if taken.step == Step::Stop && taken.target != tenant.id {
                        truth.available = truth.available.saturating_sub(self.opens_at(&tenant, truth.doubt).max(0));
                    }
                    let taken = Taken { decision: self.decision_of(&effect).await?, ..taken };
                    self.cloud.tell(format!("{} takes {} {:?}", effect.command, tenant.name, taken.step));
                    let fuse = self.cloud.standin.with(|world| self.lot.fuse(setup::counted_accounts(world)));
                    // What an approved plan began is ended later, if need be.
                    let weighs = matches!(taken.step, Step::Lock | Step::Stop) || !self.let_through.is_empty();
                    let begun = if weighs { self.begun(&tenant, &taken).await? } else { None };
                    let begun = begun.map_or(taken.sent, |begun| begun.min(taken.sent));
                    // A step that was begun before counts the machines that ran then.
                    let machines =
                        if begun.plus(EDGE) < taken.sent { 0 } else { u64::try_from(taken.running.len()).unwrap_or(0) };
                    let taken = Taken { machines, ..taken };
                    let is_let_through = self.let_through.iter().any(|plan| plan.covers(tenant.id, taken.sent, begun));
                    let fuse = (!is_let_through).then_some(fuse);
                    let found = self.watch.taken(tenant.id, &taken, &truth, fuse);
                    for violation in found {
                        if !self.violations.contains(&violation) {
                            self.violations.push(violation);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Machines that the call was about, and whatever it took away.
    fn judge_machines(&mut self, effect: &Effect) {
        let (before, after) = (&effect.before, &effect.after);
        for tenant in self.tenants.clone() {
            let owners = tenant.owners();
            let mut found = Vec::new();
            if owners.iter().any(|owner| before.accounts.contains_key(owner) && !after.accounts.contains_key(owner)) {
                found.extend(self.watch.removed(tenant.id, "an account"));
            }
            for (machine, (owner, power)) in before.machines.iter().filter(|(_, (owner, _))| owners.contains(owner)) {
                let Some((_, then)) = after.machines.get(machine) else {
                    found.extend(self.watch.removed(tenant.id, "a machine"));
                    continue;
                };
                let started = match effect.command.as_str() {
                    "startVirtualMachine" => true,
                    "stopVirtualMachine" => false,
                    _ => continue,
                };
                // Other machines go on with what jobs before had in store for them.
                if effect.target == Some(*machine) && power != then {
                    let owner = before.accounts.get(owner).copied().unwrap_or(State::Enabled);
                    let moved = Moved { machine: *machine, started, sent: effect.sent, owner };
                    let truth = self.truth_at(&tenant, effect.sent, None);
                    // Who has not paid enough to be opened stays stopped, with all that is followed up.
                    let asked = self.opens_at(&tenant, truth.doubt).max(0);
                    let truth = Truth { available: truth.available.saturating_sub(asked), ..truth };
                    found.extend(self.watch.moved(tenant.id, &moved, &truth));
                }
            }
            self.violations.extend(found);
        }
    }

    async fn truth(&self, tenant: &Tenant, taken: &Taken) -> Result<Truth, Error> {
        Ok(self.truth_at(tenant, taken.sent, self.warned(tenant, taken).await?))
    }

    fn truth_at(&self, tenant: &Tenant, sent: Timestamp, warned: Option<Timestamp>) -> Truth {
        let moment = self.moments.iter().rfind(|moment| moment.at <= sent);
        let mut credit = moment.and_then(|moment| moment.credit.get(&tenant.id).copied()).unwrap_or(0);
        if let Some(before) = self.moments.iter().rfind(|moment| moment.at <= sent && !moment.within) {
            credit = credit.min(before.credit.get(&tenant.id).copied().unwrap_or(0));
        }
        Truth {
            available: credit.saturating_sub(self.used(tenant, sent)),
            doubt: moment.and_then(|moment| moment.doubt.get(&tenant.id).copied()).unwrap_or(0),
            managed: moment.is_some_and(|moment| moment.managed.contains(&tenant.id)),
            untouchable: tenant.kind == Kind::Untouchable,
            may_act: moment.is_some_and(|moment| moment.may_act),
            guard: moment.filter(|moment| moment.plugin_enforces).map(|_| "the quota plugin enforces"),
            warned,
            warning_before: Duration::from_hours(self.lot.warning_hours),
        }
    }

    /// When the oldest warning of this step was given since the account was last free.
    async fn warned(&self, tenant: &Tenant, taken: &Taken) -> Result<Option<Timestamp>, Error> {
        let word = match taken.step {
            Step::Lock => "lock",
            Step::Stop => "stop",
            _ => return Ok(None),
        };
        let mut tx = self.app().store.read().await.map_err(Error::broken)?;
        let account = accounts::list_accounts(&mut tx).await.map_err(Error::broken)?;
        let Some(account) = account.into_iter().find(|account| account.cloud_id == tenant.id.to_string()) else {
            return Ok(None);
        };
        let notices = rows::list_notices(&mut tx, Some(account.id), NOTICES).await.map_err(Error::broken)?;
        tx.commit().await.map_err(Error::broken)?;
        let freed = self.watch.freed_at(tenant.id);
        let arrived = |notice: &rows::NoticeRow| {
            let mailed = [notice.arrived_ms, notice.seen_ms].into_iter().flatten().min();
            if self.lot.mail { mailed } else { Some(notice.recorded_ms) }
        };
        Ok(notices
            .iter()
            .filter(|notice| notice.dry_run == 0 && notice.acts_at_ms.is_some())
            // Not before the day that it names.
            .filter(|notice| notice.acts_at_ms.is_some_and(|at| Timestamp::from_ms(at).minus(EDGE) <= taken.sent))
            .filter(|notice| notice.event.starts_with(&format!("warning-{word}")))
            .filter_map(|notice| arrived(notice).map(Timestamp::from_ms))
            .filter(|at| freed.is_none_or(|freed| at.plus(EDGE) >= freed))
            .min())
    }

    /// When the action behind a step downwards was begun.
    async fn begun(&self, tenant: &Tenant, taken: &Taken) -> Result<Option<Timestamp>, Error> {
        let action = match taken.step {
            Step::Restrict => "restrict",
            Step::Lock => "lock",
            Step::Stop => "stop",
            Step::Lift | Step::Enable => return Ok(None),
        };
        let mut tx = self.app().store.read().await.map_err(Error::broken)?;
        let account = accounts::list_accounts(&mut tx).await.map_err(Error::broken)?;
        let Some(account) = account.into_iter().find(|account| account.cloud_id == tenant.id.to_string()) else {
            return Ok(None);
        };
        let intents = rows::list_intents(&mut tx, Some(account.id), NOTICES).await.map_err(Error::broken)?;
        tx.commit().await.map_err(Error::broken)?;
        let newest = intents.iter().find(|intent| intent.action == action);
        Ok(newest.map(|intent| Timestamp::from_ms(intent.created_ms)))
    }

    /// The decision behind a call, by the job id that it asked for.
    async fn decision_of(&self, effect: &Effect) -> Result<Option<i64>, Error> {
        let Some(job) = &effect.job else { return Ok(None) };
        let mut tx = self.app().store.read().await.map_err(Error::broken)?;
        let decision = crate::store::acting::find_decision_of_job(&mut tx, job).await.map_err(Error::broken)?;
        tx.commit().await.map_err(Error::broken)?;
        Ok(decision)
    }

    /// After a cycle in which nothing went wrong.
    pub(super) async fn judge_quiet(&mut self) -> Result<(), Error> {
        let seen = self.cloud.look();
        let now = self.cloud.time.now();
        for tenant in self.tenants.clone().iter().filter(|tenant| is_tenant(tenant)) {
            let Some(state) = seen.accounts.get(&tenant.id).copied() else { continue };
            let purse = self.purses.get(&tenant.id).cloned().unwrap_or_default();
            let owners = tenant.owners();
            let owned = |owner: &CloudId| owners.contains(owner);
            let found = Found {
                at: now,
                state,
                available: purse.credit(now).saturating_sub(self.used(tenant, now)),
                doubt: purse.doubt,
                opens_at: self.opens_at(tenant, purse.doubt),
                may_act: self.armed && !self.paused,
                running: owners.iter().flat_map(|owner| seen.running(*owner)).collect(),
                existing: seen
                    .machines
                    .iter()
                    .filter(|(_, (owner, _))| owned(owner))
                    .map(|(machine, _)| *machine)
                    .collect(),
                limits: owners.iter().filter_map(|owner| Some((*owner, self.limits(*owner, &seen)?))).collect(),
            };
            let violations = self.watch.quiet(tenant.id, &found);
            self.violations.extend(violations);
        }
        self.judge_money().await?;
        self.judge_memory().await?;
        self.judge_intents().await
    }

    /// The most that may be asked for before a tenant is opened: nothing of one that has no limit any more.
    fn opens_at(&self, tenant: &Tenant, doubt: i64) -> i64 {
        if self.purses.get(&tenant.id).is_none_or(|purse| purse.limit.is_none()) {
            return i64::MIN;
        }
        let (owners, tax, now) = (tenant.owners(), self.lot.tax_percent, self.cloud.time.now());
        let from = Timestamp::from_seconds(setup::BEGINS).max(now.minus(DEAR_DAYS));
        let dearest = self.cloud.standin.with(|world| book::dearest_day(world, &owners, from, now, tax));
        self.lot.restore_minimum.max(dearest.saturating_add(doubt))
    }

    /// Limits as they work, of an account that is still there.
    fn limits(&self, owner: CloudId, seen: &Seen) -> Option<BTreeMap<u8, i64>> {
        seen.accounts.contains_key(&owner).then(|| self.cloud.standin.with(|world| world.limits_of(owner)))
    }

    /// Nobody is charged more than was used, and nobody's money is lost.
    async fn judge_money(&mut self) -> Result<(), Error> {
        let app = self.app();
        let now = self.cloud.time.now();
        let payers = self.payers().await?;
        let mut tx = app.store.read().await.map_err(Error::broken)?;
        let standings = app.standings(&mut tx).await.map_err(Error::broken)?;
        let until = app.fetched_until(&mut tx).await.map_err(Error::broken)?;
        let waits = waiting_payers(&mut tx).await?;
        tx.commit().await.map_err(Error::broken)?;
        for tenant in self.tenants.iter().filter(|tenant| is_tenant(tenant)) {
            let Some(payer) = payers.get(&tenant.id) else { continue };
            let Some(standing) = standings.iter().find(|standing| standing.payer == *payer) else { continue };
            let purse = self.purses.get(&tenant.id).cloned().unwrap_or_default();
            let least = purse.credit(now).saturating_sub(self.used(tenant, now)).saturating_sub(purse.doubt);
            let believed = standing.figures.available.as_micros();
            let slack = ROUNDING.saturating_add(i64::try_from(self.tick).unwrap_or(0).saturating_mul(100));
            if believed.saturating_add(slack) < least {
                let detail = format!("{believed} is available to bursar, and at least {least} is");
                self.violations.push(Violation { invariant: "money", account: tenant.name.clone(), detail });
            }
            // What was late is only ever reported too much; of a grant that is over, more may be left than is reckoned here.
            let is_known = self.state_of(tenant.id).is_some() && !waits.contains(payer) && purse.is_exact(now);
            let Some(until) = until.filter(|_| is_known) else { continue };
            let most = purse.credit(now).saturating_sub(self.used(tenant, until));
            if believed > most.saturating_add(slack) {
                let detail = format!("{believed} is available to bursar, and at most {most} is");
                self.violations.push(Violation { invariant: "lost-money", account: tenant.name.clone(), detail });
            }
        }
        Ok(())
    }

    /// No act of bursar's is one that it does not remember.
    async fn judge_memory(&mut self) -> Result<(), Error> {
        let mut tx = self.app().store.read().await.map_err(Error::broken)?;
        let unconfirmed = runs::find_setting(&mut tx, switches::UNCONFIRMED).await.map_err(Error::broken)?;
        tx.commit().await.map_err(Error::broken)?;
        if let Some(detail) = unconfirmed.filter(|why| !why.is_empty()) {
            self.violations.push(Violation { invariant: "works", account: "all".to_owned(), detail });
        }
        Ok(())
    }

    /// What was begun is ended within a few quiet cycles.
    async fn judge_intents(&mut self) -> Result<(), Error> {
        let mut tx = self.app().store.read().await.map_err(Error::broken)?;
        let open = rows::list_open_intents(&mut tx).await.map_err(Error::broken)?;
        tx.commit().await.map_err(Error::broken)?;
        // A machine that can not be stopped keeps what it takes part in open.
        if self.balking {
            return Ok(());
        }
        let lingering = std::mem::take(&mut self.lingering);
        if !self.armed {
            return Ok(());
        }
        for intent in open {
            let cycles = lingering.get(&intent.id).copied().unwrap_or(0) + 1;
            if cycles > CYCLES_TO_RESTORE {
                let detail =
                    format!("the {} of intent {} is open after {cycles} quiet cycles", intent.action, intent.id);
                let account = format!("number {}", intent.account_id);
                self.violations.push(Violation { invariant: "ended", account, detail });
            }
            self.lingering.insert(intent.id, cycles);
        }
        Ok(())
    }

    /// At the end of a life everything agrees.
    pub(super) async fn judge_the_end(&mut self) -> Result<(), Error> {
        let app = self.app();
        let checked = work::verify(&app).await.map_err(Error::broken)?;
        for finding in checked.findings {
            let detail = format!("{}: {}", finding.check, finding.detail);
            self.violations.push(Violation { invariant: "verify", account: "all".to_owned(), detail });
        }
        self.judge_lost_money().await
    }

    /// Where nothing waits and nothing was late, what bursar knows is the truth to the cent.
    async fn judge_lost_money(&mut self) -> Result<(), Error> {
        let app = self.app();
        let now = self.cloud.time.now();
        let payers = self.payers().await?;
        let mut tx = app.store.read().await.map_err(Error::broken)?;
        let standings = app.standings(&mut tx).await.map_err(Error::broken)?;
        let until = app.fetched_until(&mut tx).await.map_err(Error::broken)?;
        let waits = waiting_payers(&mut tx).await?;
        tx.commit().await.map_err(Error::broken)?;
        let Some(until) = until else { return Ok(()) };
        for tenant in self.tenants.iter().filter(|tenant| is_tenant(tenant)) {
            let Some(payer) = payers.get(&tenant.id) else { continue };
            let Some(standing) = standings.iter().find(|standing| standing.payer == *payer) else { continue };
            let purse = self.purses.get(&tenant.id).cloned().unwrap_or_default();
            let removed = self.state_of(tenant.id).is_none();
            if removed || purse.doubt > 0 || waits.contains(payer) || !purse.is_exact(app.clock.now()) {
                continue;
            }
            let truth = purse.credit(now).saturating_sub(self.used(tenant, until));
            let believed = standing.figures.available.as_micros();
            let slack = ROUNDING.saturating_add(i64::try_from(self.tick).unwrap_or(0).saturating_mul(400));
            self.told.compared += 1;
            if believed.abs_diff(truth) > slack.unsigned_abs() {
                let detail = format!("{believed} is available to bursar, and {truth} is");
                self.violations.push(Violation { invariant: "lost-money", account: tenant.name.clone(), detail });
            }
        }
        Ok(())
    }
}

/// Payers of whom usage waits for a person: of them bursar may know less than the truth.
async fn waiting_payers(tx: &mut Tx) -> Result<BTreeSet<PayerId>, Error> {
    let waiting = usage::count_quarantined_by_account(tx).await.map_err(Error::broken)?;
    let known = accounts::list_accounts(tx).await.map_err(Error::broken)?;
    Ok(known
        .into_iter()
        .filter(|account| waiting.get(&account.id.get()).is_some_and(|count| *count > 0))
        .map(|account| account.payer_id)
        .collect())
}

/// The steps that one call took a tenant.
fn steps(tenant: &Tenant, effect: &Effect) -> Vec<Taken> {
    let owners = tenant.owners();
    let (before, after) = (&effect.before, &effect.after);
    let state_before = before.accounts.get(&tenant.id).copied().unwrap_or(State::Enabled);
    let taken = |step, target| Taken {
        step,
        target,
        sent: effect.sent,
        at: effect.at,
        before: state_before,
        decision: None,
        running: owners.iter().flat_map(|owner| before.running(*owner)).collect(),
        limits: effect
            .limits
            .iter()
            .filter(|(owner, _)| owners.contains(owner))
            .map(|(id, own)| (*id, own.clone()))
            .collect(),
        machines: 0,
        lowered: if step == Step::Restrict { lowered(effect, target) } else { BTreeSet::new() },
    };
    let mut found = Vec::new();
    for owner in &owners {
        let (was, is) = (before.accounts.get(owner), after.accounts.get(owner));
        if was != is {
            let step = match (*owner == tenant.id, is) {
                (true, Some(State::Locked)) => Some(Step::Lock),
                (_, Some(State::Disabled)) => Some(Step::Stop),
                (true, Some(State::Enabled)) => Some(Step::Enable),
                // A project is activated: part of giving back.
                (false, Some(State::Enabled)) => Some(Step::Lift),
                _ => None,
            };
            found.extend(step.map(|step| taken(step, *owner)));
        }
        let none = BTreeMap::new();
        let (was, is) = (before.limits.get(owner).unwrap_or(&none), after.limits.get(owner).unwrap_or(&none));
        if was != is {
            let lowers = effect.command == "updateResourceLimit" && !lowered(effect, *owner).is_empty();
            found.push(taken(if lowers { Step::Restrict } else { Step::Lift }, *owner));
        }
    }
    found
}

/// The kinds of limits of an owner that a call lowered.
fn lowered(effect: &Effect, owner: CloudId) -> BTreeSet<u8> {
    let (Some(was), Some(is)) = (effect.limits.get(&owner), effect.limits_after.get(&owner)) else {
        return BTreeSet::new();
    };
    was.iter()
        .filter(|(kind, was)| is.get(kind).is_some_and(|is| is != *was && *is >= 0 && (**was < 0 || is < *was)))
        .map(|(kind, _)| *kind)
        .collect()
}
