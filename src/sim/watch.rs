//! The invariants: what bursar may never have done, told from what happened to the cloud.
//!
//! Pure: it is handed what changed, who changed it and what the truth was, and says what was wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use crate::{ids::CloudId, standin::State, time::Timestamp};

/// The fuse's day. A little shorter than bursar's own: an action may arrive late, and clocks differ.
const FUSE_DAY: Duration = Duration::from_hours(23);
/// Amounts may differ by what is rounded away a day and by what a last millisecond costs, in millionths.
const ROUNDING: i64 = 50_000;
/// Limits that a restriction leaves alone: snapshots, secondary storage, backups and their storage.
const NEVER_LOWERED: [u8; 4] = [3, 11, 12, 13];
/// Quiet cycles after which a restore has to be complete.
pub const CYCLES_TO_RESTORE: u32 = 3;

/// What is broken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// The account, by name.
    pub account: String,
    /// What happened.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.invariant, self.account, self.detail)
    }
}

/// What was true of an account's payer when a call was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    /// The least that was available, in millionths.
    pub available: i64,
    /// By how much bursar may rightly believe less.
    pub doubt: i64,
    /// Whether a limit applies.
    pub managed: bool,
    /// Whether the account may never be touched at all.
    pub untouchable: bool,
    /// Whether bursar may act at all: armed and not paused.
    pub may_act: bool,
    /// What guard held, if one did: no step is begun then. Projects and machines of an account that is disabled already may be
    /// followed up.
    pub guard: Option<&'static str>,
    /// When the newest warning of this step arrived.
    pub warned: Option<Timestamp>,
    /// What must lie between a warning and the step.
    pub warning_before: Duration,
}

/// What the fuse allows a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuse {
    /// Accounts.
    pub accounts: u64,
    /// Machines that ran in accounts that were locked or stopped.
    pub machines: u64,
}

/// A call of bursar that started or stopped one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Which.
    pub machine: CloudId,
    /// Started; otherwise stopped.
    pub started: bool,
    /// When it was sent.
    pub sent: Timestamp,
    /// The state of the account that it belongs to, or of its project's own one.
    pub owner: State,
}

/// A step of the ladder that a call took an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Step {
    /// Limits were lowered.
    Restrict,
    /// Enabled to locked.
    Lock,
    /// To disabled, or a project suspended.
    Stop,
    /// Limits were raised.
    Lift,
    /// To enabled.
    Enable,
}

impl Step {
    const fn is_down(self) -> bool {
        matches!(self, Self::Restrict | Self::Lock | Self::Stop)
    }

    const fn needs_warning(self) -> bool {
        matches!(self, Self::Lock | Self::Stop)
    }
}

/// A call of bursar that changed an account.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Which step.
    pub step: Step,
    /// When it was sent.
    pub sent: Timestamp,
    /// When it happened.
    pub at: Timestamp,
    /// What the call was about: the account, or a project's own account.
    pub target: CloudId,
    /// The account's state before.
    pub before: State,
    /// The decision behind it, where it can be told.
    pub decision: Option<i64>,
    /// What ran before, projects included.
    pub running: BTreeSet<CloudId>,
    /// How many of them the fuse had to count: none where the step was begun long ago.
    pub machines: u64,
    /// The limits before, of the account and its projects.
    pub limits: BTreeMap<CloudId, BTreeMap<u8, i64>>,
    /// The kinds of limits that it lowered.
    pub lowered: BTreeSet<u8>,
}

/// What somebody else does to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    /// Locks or disables it; CloudStack has an event of it.
    Suspends,
    /// Locks it past CloudStack's events, as the quota plugin does.
    SuspendsSilently,
    /// Enables it.
    Enables,
    /// Removes it.
    Removes,
}

#[derive(Debug, Clone, Default)]
struct Standing {
    /// bursar suspended it and it was not freed since.
    ours: bool,
    /// Somebody else wants it suspended, since then.
    by_hand: Option<Timestamp>,
    /// What ran before bursar stopped it.
    ran: Option<BTreeSet<CloudId>>,
    /// Somebody else suspended what bursar had not stopped, or had opened again: what of that runs by then is not known here.
    meddled: bool,
    /// Projects that bursar suspended.
    projects: BTreeSet<CloudId>,
    /// Limits before bursar lowered them.
    limits: BTreeMap<CloudId, BTreeMap<u8, i64>>,
    /// When the newest call that lowered a limit was sent.
    lowered: Option<Timestamp>,
    /// A restore is under way: so many quiet cycles.
    restoring: Option<u32>,
    /// Steps taken on one decision.
    acted: BTreeSet<(i64, Step, CloudId)>,
    /// When bursar last set it free.
    freed: Option<Timestamp>,
    /// When it was last found free, with enough.
    cleared: Option<Timestamp>,
}

impl Standing {
    /// Whether there is anything that bursar lowered, or is just giving back.
    fn may_be_lifted(&self) -> bool {
        self.restoring.is_some() || !self.limits.is_empty() || self.ran.is_some() || !self.projects.is_empty()
    }
}

/// How an account is found after a quiet cycle.
#[derive(Debug, Clone)]
pub struct Found {
    /// When.
    pub at: Timestamp,
    /// Its state.
    pub state: State,
    /// The least that is available now.
    pub available: i64,
    /// By how much bursar may rightly believe less.
    pub doubt: i64,
    /// The most that may be asked for before it opens.
    pub opens_at: i64,
    /// Whether bursar may act.
    pub may_act: bool,
    /// What runs, projects included.
    pub running: BTreeSet<CloudId>,
    /// What is still there.
    pub existing: BTreeSet<CloudId>,
    /// The limits, of the account and its projects.
    pub limits: BTreeMap<CloudId, BTreeMap<u8, i64>>,
}

/// Watches one life.
#[derive(Debug, Default)]
pub struct Watch {
    accounts: BTreeMap<CloudId, (String, Standing)>,
    /// Steps downwards, with the machines that ran there.
    downs: Vec<(Timestamp, CloudId, u64)>,
}

impl Watch {
    /// An account to watch.
    pub fn add(&mut self, account: CloudId, name: &str) {
        self.accounts.insert(account, (name.to_owned(), Standing::default()));
    }

    /// Whether bursar has it suspended or is restoring it: who plays a tenant leaves it alone then.
    pub fn is_busy(&self, account: CloudId) -> bool {
        self.accounts.get(&account).is_some_and(|(_, standing)| standing.ours || standing.may_be_lifted())
    }

    /// When bursar last set it free, or it was last seen with enough: what warned of before no longer counts.
    pub fn freed_at(&self, account: CloudId) -> Option<Timestamp> {
        self.accounts.get(&account).and_then(|(_, standing)| standing.freed.max(standing.cleared))
    }

    /// bursar started or stopped a machine of an account.
    pub fn moved(&self, account: CloudId, moved: &Moved, truth: &Truth) -> Vec<Violation> {
        let Some((name, standing)) = self.accounts.get(&account) else { return Vec::new() };
        let mut found = Vec::new();
        let mut broken = |invariant, detail: String| {
            found.push(Violation { invariant, account: name.clone(), detail });
        };
        let (machine, what) = (moved.machine, if moved.started { "start" } else { "stop" });
        if truth.untouchable {
            broken("untouched", format!("{what} of a machine of an account that is never touched"));
        }
        if standing.by_hand.is_some_and(|since| since < moved.sent) {
            broken("by-hand", format!("{what} of machine {machine} of an account that somebody else suspended"));
        }
        if moved.started {
            if standing.ran.as_ref().is_none_or(|ran| !ran.contains(&machine)) {
                broken("only-ours", format!("start of machine {machine}, which bursar did not stop"));
            }
        } else {
            // It follows a stop that was judged when it was taken.
            let truth = Truth { warned: Some(Timestamp::from_ms(0)), managed: true, ..*truth };
            judge_down(Step::Stop, moved.sent, &truth, &mut broken);
            if !standing.ours || moved.owner != State::Disabled {
                broken("only-ours", format!("stop of machine {machine} of an account that is {}", moved.owner.name()));
            }
        }
        found
    }

    /// An account or a machine is gone, by a call of bursar.
    pub fn removed(&self, account: CloudId, what: &str) -> Vec<Violation> {
        let Some((name, _)) = self.accounts.get(&account) else { return Vec::new() };
        let detail = format!("bursar removed {what}");
        vec![Violation { invariant: "untouched", account: name.clone(), detail }]
    }

    /// What ran of those taken down since then, the most of each account together.
    fn taken_down_since(&self, since: Timestamp) -> Fuse {
        let mut most: BTreeMap<CloudId, u64> = BTreeMap::new();
        for (_, account, machines) in self.downs.iter().filter(|(at, _, _)| *at > since) {
            let of_account = most.entry(*account).or_default();
            *of_account = (*of_account).max(*machines);
        }
        Fuse { accounts: u64::try_from(most.len()).unwrap_or(u64::MAX), machines: most.values().sum() }
    }

    /// bursar took an account a step. Without a fuse: an administrator approved it.
    pub fn taken(&mut self, account: CloudId, taken: &Taken, truth: &Truth, fuse: Option<Fuse>) -> Vec<Violation> {
        let Some((name, standing)) = self.accounts.get_mut(&account) else { return Vec::new() };
        let mut found = Vec::new();
        let mut broken = |invariant, detail: String| {
            found.push(Violation { invariant, account: name.clone(), detail });
        };
        let step = taken.step;
        if truth.untouchable {
            broken("untouched", format!("{step:?} of an account that is never touched"));
        }
        // Whoever wanted it suspended after the call was sent could not be seen by it.
        let by_hand = standing.by_hand.is_some_and(|since| since < taken.sent);
        if step.is_down() {
            judge_down(step, taken.sent, truth, &mut broken);
            if let Some(guard) = truth.guard.filter(|_| step != Step::Stop || taken.target == account) {
                broken("armed", format!("{step:?} while {guard}"));
            }
            for kind in taken.lowered.iter().filter(|kind| NEVER_LOWERED.contains(kind)) {
                broken("limits", format!("limit {kind} was lowered, and is none of those that may be"));
            }
            if by_hand || (taken.before != State::Enabled && !standing.ours) {
                broken("by-hand", format!("{step:?} of an account that somebody else suspended"));
            }
        } else if by_hand {
            broken("by-hand", format!("{step:?} undoes what somebody else did"));
        } else if !(standing.ours || step == Step::Lift && standing.may_be_lifted()) {
            broken("only-ours", format!("{step:?} of an account that bursar did not suspend"));
        }
        if let Some(decision) = taken.decision
            && !standing.acted.insert((decision, step, taken.target))
            && step.is_down()
        {
            broken("once", format!("{step:?} a second time on decision {decision}"));
        }
        note(standing, taken);
        match step {
            Step::Stop if taken.target != account => drop(standing.projects.insert(taken.target)),
            Step::Lift => drop(standing.projects.remove(&taken.target)),
            _ => {}
        }
        let name = name.clone();
        if let Some(fuse) = fuse.filter(|_| step.is_down()) {
            let machines = if step == Step::Restrict { 0 } else { taken.machines };
            self.downs.push((taken.at, account, machines));
            let day = self.taken_down_since(taken.at.minus(FUSE_DAY));
            let mut blown = |detail| found.push(Violation { invariant: "fuse", account: name.clone(), detail });
            if day.accounts > fuse.accounts {
                let (count, most) = (day.accounts, fuse.accounts);
                blown(format!("{count} accounts taken down within a day, and {most} are allowed"));
            }
            if day.machines > fuse.machines {
                let (count, most) = (day.machines, fuse.machines);
                blown(format!("accounts with {count} machines taken down within a day, and {most} are allowed"));
            }
        }
        found
    }

    /// Somebody else did something.
    pub fn by_hand(&mut self, account: CloudId, what: ByHand, before: State, at: Timestamp) {
        let Some((_, standing)) = self.accounts.get_mut(&account) else { return };
        match what {
            ByHand::Suspends => standing.by_hand = Some(at),
            // On top of a suspension it leaves no trace at all.
            ByHand::SuspendsSilently if before == State::Enabled => standing.by_hand = Some(at),
            ByHand::SuspendsSilently => {}
            // What bursar lowered it gives back one day, whoever enabled the account.
            ByHand::Enables => {
                let before = std::mem::take(standing);
                let Standing { acted, freed, cleared, limits, ran, projects, meddled, .. } = before;
                *standing = Standing { ran, meddled, projects, limits, acted, freed, cleared, ..Standing::default() };
            }
            ByHand::Removes => *standing = Standing::default(),
        }
        if standing.by_hand.is_some() {
            standing.meddled |= !standing.ours || before != State::Disabled;
            standing.restoring = None;
        }
    }

    /// After a cycle in which nothing went wrong.
    pub fn quiet(&mut self, account: CloudId, found: &Found) -> Vec<Violation> {
        let Some((name, standing)) = self.accounts.get_mut(&account) else { return Vec::new() };
        let mut violations = Vec::new();
        let mut broken = |invariant, detail: String| {
            violations.push(Violation { invariant, account: name.clone(), detail });
        };
        let enough = found.available.saturating_sub(found.doubt).saturating_sub(ROUNDING) >= found.opens_at;
        let free = standing.by_hand.is_none() && found.may_act;
        if free && enough && !standing.ours {
            standing.cleared = Some(found.at);
        }
        if standing.ours && free && enough && standing.restoring.is_none() {
            broken(
                "set-free",
                format!(
                    "{} though {} is available and {} opens it",
                    found.state.name(),
                    found.available,
                    found.opens_at
                ),
            );
        }
        // Somebody else enabled it, and now there is enough: its machines are to come back, and no call has told of it yet.
        if !standing.ours && standing.ran.is_some() && standing.restoring.is_none() && free && enough {
            standing.restoring = Some(0);
            return violations;
        }
        // A call that was sent before somebody suspended it may arrive afterwards: it begins no restore that has to end.
        let Some(cycles) = standing.restoring.as_mut().filter(|_| free) else { return violations };
        *cycles += 1;
        let ran = standing.ran.as_ref().map(|ran| ran.intersection(&found.existing).copied().collect::<BTreeSet<_>>());
        let machines_back = standing.meddled || ran.as_ref().is_none_or(|ran| *ran == found.running);
        let limits_back =
            standing.limits.iter().all(|(owner, before)| found.limits.get(owner).is_none_or(|now| now == before));
        if machines_back && limits_back {
            standing.restoring = None;
            standing.ran = None;
            standing.limits.clear();
        } else if *cycles >= CYCLES_TO_RESTORE {
            if !machines_back {
                let (missing, more) = differences(ran.as_ref(), &found.running);
                broken(
                    "machines-back",
                    format!("{missing} machines did not come back, {more} run that did not before"),
                );
            }
            if !limits_back {
                broken("limits-back", format!("limits were {:?} and are {:?}", standing.limits, found.limits));
            }
        }
        violations
    }
}

fn differences(ran: Option<&BTreeSet<CloudId>>, running: &BTreeSet<CloudId>) -> (usize, usize) {
    let nothing = BTreeSet::new();
    let ran = ran.unwrap_or(&nothing);
    (ran.difference(running).count(), running.difference(ran).count())
}

fn judge_down(step: Step, sent: Timestamp, truth: &Truth, broken: &mut impl FnMut(&'static str, String)) {
    if !truth.managed {
        broken("untouched", format!("{step:?} of an account that is not managed"));
    }
    if !truth.may_act {
        broken("armed", format!("{step:?} while enforcement is not armed or paused"));
    }
    if truth.available > truth.doubt.saturating_add(ROUNDING) {
        broken("below-threshold", format!("{step:?} though {} is available", truth.available));
    }
    if step.needs_warning() && truth.warned.is_none_or(|at| at.plus(truth.warning_before) > sent) {
        broken("warned", format!("{step:?} without a warning that arrived {:?} before", truth.warning_before));
    }
}

/// What a step means for what is expected from now on.
fn note(standing: &mut Standing, taken: &Taken) {
    match taken.step {
        Step::Restrict => {
            standing.ours = true;
            standing.lowered = standing.lowered.max(Some(taken.sent));
            for (owner, limits) in &taken.limits {
                standing.limits.entry(*owner).or_insert_with(|| limits.clone());
            }
        }
        Step::Lock => standing.ours = true,
        Step::Stop => {
            standing.ours = true;
            standing.meddled = false;
            let ran = standing.ran.get_or_insert_with(BTreeSet::new);
            ran.extend(taken.running.iter().copied());
        }
        // A locked account whose limits are raised is not free yet.
        Step::Lift if taken.before != State::Enabled => {}
        // One of an earlier restore that was held up until the account was restricted again sets nobody free.
        Step::Lift if standing.lowered.is_some_and(|lowered| taken.sent < lowered) => {}
        // What comes back late after the account was opened does not open it once more.
        Step::Lift if !standing.ours => {
            standing.restoring.get_or_insert(0);
        }
        Step::Lift | Step::Enable => {
            standing.ours = false;
            standing.freed = Some(taken.at);
            standing.restoring.get_or_insert(0);
        }
    }
    if taken.step.is_down() {
        standing.restoring = None;
    }
}

#[cfg(test)]
mod tests;
