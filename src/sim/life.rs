//! One life: months of a small cloud, tick by tick, with bursar at work beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use super::{
    Error, Told,
    book::Purse,
    dice::Dice,
    judge::Moment,
    setup::{self, Begun, Kind, Lot, OffClock, Tenant},
    watch::{Violation, Watch},
    wire::{Cloud, Weather, Wire},
};
use crate::{
    approver::Approver,
    config::Config,
    enforcement::{plans, switches},
    ids::CloudId,
    jobs::{
        App, mail,
        work::{self, EnforceOptions, JobError},
    },
    notify::Looked,
    policy::Rung,
    progress::Quiet,
    random::SeededRandom,
    standin::Stubbornness,
    store::{
        cloud as accounts,
        crash::{CrashPoints, with_crash_points},
        operations, policy as policy_rows, runs,
    },
    time::{Clock as _, Timestamp},
};

/// Before a quiet cycle, whatever is on its way has arrived or been given up.
const SETTLES: Duration = Duration::from_mins(21);
/// In so long any lease has run out, whatever the clock was when it was taken.
const LEASE_RUNS_OUT: Duration = Duration::from_mins(7);
/// An approved plan is carried out within a day.
const PLANS_LAST: Duration = Duration::from_hours(26);
/// What the story says where the fuse held.
const FUSE_HELD: &str = "the fuse held";
/// Quiet cycles at the end, so that everything begun is ended.
const LAST_CYCLES: u32 = 4;

/// A job of bursar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// Mirrors and fetches.
    Sync,
    /// Prices and posts.
    Rate,
    /// Decides and acts.
    Enforce,
    /// Sends mail.
    Mail,
}

/// A process of bursar.
struct Process {
    app: App,
    wire: Arc<Wire>,
}

/// When an administrator approved a plan of the fuse.
#[derive(Debug, Clone)]
pub(super) struct LetThrough {
    /// Whose steps it lets through.
    accounts: BTreeSet<CloudId>,
    /// By the cloud's clock.
    since: Timestamp,
    /// By bursar's, which stamps what it begins.
    since_by_bursar: Timestamp,
}

impl LetThrough {
    /// Whether the plan stands behind a call that was sent then, by the cloud's clock, under an intent that was begun then, by
    /// bursar's: what it began is ended later, if need be.
    pub(super) fn covers(&self, account: CloudId, sent: Timestamp, begun: Timestamp) -> bool {
        let lasts = |since: Timestamp, at: Timestamp| since <= at && at <= since.plus(PLANS_LAST);
        self.accounts.contains(&account)
            && (lasts(self.since, sent) || lasts(self.since, begun) || lasts(self.since_by_bursar, begun))
    }
}

/// One life.
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
pub(super) struct Life {
    pub(super) seed: u64,
    pub(super) cloud: Arc<Cloud>,
    pub(super) clock: OffClock,
    pub(super) dice: Dice,
    pub(super) lot: Lot,
    pub(super) tenants: Vec<Tenant>,
    pub(super) purses: BTreeMap<CloudId, Purse>,
    pub(super) watch: Watch,
    pub(super) moments: Vec<Moment>,
    pub(super) armed: bool,
    pub(super) paused: bool,
    /// The quota plugin enforces too, for a tick.
    pub(super) plugin_enforces: bool,
    /// The fuse held back the last run: an administrator may let the next one through.
    pub(super) fuse_held: bool,
    /// What an administrator approved: runs may begin what is beyond the fuse for a while.
    pub(super) let_through: Vec<LetThrough>,
    pub(super) lingering: BTreeMap<String, u32>,
    /// Some machine does not obey, also in a quiet cycle: what it takes part in need not end.
    pub(super) balking: bool,
    /// Enforcement runs in foul weather.
    foul: bool,
    pub(super) tick: u64,
    pub(super) violations: Vec<Violation>,
    pub(super) told: Told,
    config: Config,
    processes: Vec<Process>,
    births: u64,
}

/// Lives the life of a seed in a folder that holds a prepared database.
pub(super) async fn live(seed: u64, folder: &Path) -> Result<(Vec<Violation>, Vec<String>, Told, u64), Error> {
    let Begun { cloud, clock, tenants, lot, env } = setup::begin(seed, folder)?;
    let config = setup::configuration(&env)?;
    let mut watch = Watch::default();
    for tenant in &tenants {
        watch.add(tenant.id, &tenant.name);
    }
    cloud.tell(format!("seed {seed}: {lot:?}"));
    let mut life = Life {
        seed,
        cloud,
        clock,
        dice: Dice::of(seed, "life"),
        lot,
        tenants,
        purses: BTreeMap::new(),
        watch,
        moments: Vec::new(),
        armed: false,
        paused: false,
        plugin_enforces: false,
        fuse_held: false,
        let_through: Vec::new(),
        lingering: BTreeMap::new(),
        balking: false,
        foul: false,
        tick: 0,
        violations: Vec::new(),
        told: Told::default(),
        config,
        processes: Vec::new(),
        births: 0,
    };
    let result = life.through().await;
    for process in &life.processes {
        process.app.store.close().await;
    }
    result?;
    life.told.add_calls(life.cloud.counts());
    Ok((life.violations, life.cloud.story(), life.told, life.tick))
}

impl Life {
    async fn through(&mut self) -> Result<(), Error> {
        let store = setup::open(&self.config).await?;
        for name in ["A", "B"].into_iter().take(if self.lot.two { 2 } else { 1 }) {
            let wire = Arc::new(Wire::new(Arc::clone(&self.cloud), self.seed, name));
            let app = self.process(store.clone(), &wire);
            self.processes.push(Process { app, wire });
        }
        let armed_at = self.dice.below(6);
        while self.tick < self.lot.ticks && self.violations.is_empty() {
            self.tick += 1;
            if self.tick == armed_at + 1 {
                self.arm().await?;
            }
            let quiet = self.dice.chance(350);
            self.one_tick(quiet).await?;
        }
        for _ in 0..LAST_CYCLES {
            if self.violations.is_empty() {
                self.tick += 1;
                self.one_tick(true).await?;
            }
        }
        if self.violations.is_empty() {
            self.judge_the_end().await?;
        }
        Ok(())
    }

    /// A process as it is born: with a name and a stream of chance of its own.
    fn process(&mut self, store: crate::store::Store, wire: &Arc<Wire>) -> App {
        self.births += 1;
        let random = SeededRandom::new(super::dice::derived(self.seed, &format!("process {}", self.births)));
        App {
            config: Arc::new(self.config.clone()),
            store,
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(random),
            holder: format!("sim/{}", self.births),
            carrier: Some(Arc::<Wire>::clone(wire)),
            request: None,
        }
    }

    /// The first process: people's commands run in it.
    pub(super) fn app(&self) -> App {
        #[expect(clippy::expect_used, reason = "a life has a first process from its first line on")]
        self.processes.first().map(|process| process.app.clone()).expect("a process")
    }

    /// A process that died is started again on the same data.
    pub(super) async fn reborn(&mut self, which: usize) -> Result<(), Error> {
        self.told.deaths += 1;
        let Some((store, wire)) =
            self.processes.get(which).map(|process| (process.app.store.clone(), Arc::clone(&process.wire)))
        else {
            return Ok(());
        };
        let store = if self.processes.len() == 1 && self.dice.chance(200) {
            store.close().await;
            setup::open(&self.config).await?
        } else {
            store
        };
        let app = self.process(store, &wire);
        if self.processes.len() == 1 {
            // Who holds the data directory's lock knows that the other one is dead.
            let mut tx = app.store.begin().await.map_err(Error::broken)?;
            runs::close_runs_of(&mut tx, "sim/", app.clock.now()).await.map_err(Error::broken)?;
            tx.commit().await.map_err(Error::broken)?;
        }
        if let Some(process) = self.processes.get_mut(which) {
            process.app = app;
        }
        Ok(())
    }

    async fn arm(&mut self) -> Result<(), Error> {
        let app = self.app();
        let mut tx = app.store.begin().await.map_err(Error::broken)?;
        for rung in [Rung::Notify, Rung::Restrict, Rung::Lock, Rung::Stop] {
            policy_rows::arm(&mut tx, rung.word(), "", "simulation", app.clock.now()).await.map_err(Error::broken)?;
        }
        tx.commit().await.map_err(Error::broken)?;
        self.armed = true;
        self.cloud.tell("enforcement is armed");
        Ok(())
    }

    /// An administrator approves what the fuse held back: a run of this tick may carry it out.
    async fn approve_plans(&mut self) -> Result<(), Error> {
        let app = self.app();
        let now = app.clock.now();
        let mut tx = app.store.begin().await.map_err(Error::broken)?;
        for plan in operations::list_open_plans(&mut tx).await.map_err(Error::broken)? {
            // One that ran out meanwhile is refused, and made anew by the next run.
            if plans::approve(&mut tx, plan.id, &Approver::by_name("simulation"), false, now).await.is_ok() {
                let since = self.cloud.time.now();
                let lines = operations::list_plan_lines(&mut tx, plan.id).await.map_err(Error::broken)?;
                let known = accounts::list_accounts(&mut tx).await.map_err(Error::broken)?;
                let accounts = known
                    .iter()
                    .filter(|account| lines.iter().any(|line| line.account_id == account.id))
                    .filter_map(|account| account.cloud_id.parse().ok())
                    .collect();
                self.let_through.push(LetThrough { accounts, since, since_by_bursar: now });
                self.cloud.tell(format!("plan {} is approved", plan.id));
            }
        }
        tx.commit().await.map_err(Error::broken)
    }

    async fn pause(&mut self, paused: bool) -> Result<(), Error> {
        if paused == self.paused {
            return Ok(());
        }
        let app = self.app();
        let mut tx = app.store.begin().await.map_err(Error::broken)?;
        let word = if paused { "1" } else { "0" };
        runs::put_setting(&mut tx, switches::PAUSED, word, app.clock.now()).await.map_err(Error::broken)?;
        tx.commit().await.map_err(Error::broken)?;
        self.paused = paused;
        self.cloud.tell(if paused { "enforcement is paused" } else { "enforcement goes on" });
        Ok(())
    }

    async fn one_tick(&mut self, quiet: bool) -> Result<(), Error> {
        self.time_passes(quiet).await;
        // What has arrived meanwhile came before whatever anybody does now.
        self.judge_effects().await?;
        self.cloud.tell(format!("tick {}{}", self.tick, if quiet { ", quiet" } else { "" }));
        self.hanging_ends();
        if quiet {
            self.clock.set_off(0);
            self.pause(false).await?;
        } else {
            self.tenants_act();
            if self.dice.chance(250) {
                self.administrators_act(false);
            }
            self.machines_of_the_locked_balk();
            if self.dice.chance(30) {
                let paused = !self.paused;
                self.pause(paused).await?;
            }
            self.clocks_drift();
        }
        if self.fuse_held && self.dice.chance(500) {
            self.approve_plans().await?;
        }
        self.usage_job_runs(quiet);
        self.money_is_booked().await?;
        self.note_moment();
        // A quiet cycle finds what acts in foul weather left behind; without this most acts would fall into fair weather.
        if quiet && self.dice.chance(700) {
            self.storm().await?;
            self.weather_clears().await;
            self.note_moment();
        }
        self.jobs(quiet).await?;
        self.judge_effects().await?;
        if quiet && self.violations.is_empty() {
            self.judge_quiet().await?;
        }
        Ok(())
    }

    /// Hours pass, in which what was held up arrives.
    async fn time_passes(&mut self, quiet: bool) {
        let hours = match self.dice.below(10) {
            0 | 1 => 0,
            2..=4 => self.dice.between(5, 13),
            _ => self.dice.between(12, 60),
        };
        let mut span = Duration::from_hours(hours) + Duration::from_secs(self.dice.between(60, 3_000));
        if quiet {
            span = span.max(SETTLES);
        }
        while self.cloud.awaits_late() && !span.is_zero() {
            let step = span.min(Duration::from_mins(1));
            self.cloud.time.advance(step);
            span = span.saturating_sub(step);
            self.cloud.deliver_late().await;
        }
        self.cloud.time.advance(span);
        if quiet {
            self.all_settles();
        }
    }

    /// What is on its way arrives, and what was begun ends.
    async fn weather_clears(&mut self) {
        let minutes = SETTLES.as_secs() / 60;
        for _ in 0..minutes {
            self.cloud.time.advance(Duration::from_mins(1));
            self.cloud.deliver_late().await;
        }
        self.all_settles();
        self.cloud.tell("the weather clears");
    }

    /// Machines that hung on their way down have stopped, or run on: no host leaves that open for long.
    fn hanging_ends(&self) {
        let dice = &self.dice;
        self.cloud.standin.with(|world| {
            for machine in world.vms.iter().map(|vm| vm.id).collect::<Vec<_>>() {
                if world.vms.get(machine).is_some_and(|vm| vm.stubbornness == Stubbornness::HangsStopping) {
                    if dice.chance(500) {
                        world.fail_stopping(machine);
                    } else {
                        world.settle_power(machine);
                    }
                }
            }
        });
    }

    /// Jobs of CloudStack end, and machines get where they were on their way to. Those that do not obey do so again, mostly.
    fn all_settles(&mut self) {
        self.hanging_ends();
        let obey = self.dice.chance(500);
        self.balking = self.cloud.standin.with(|world| {
            world.finish_jobs();
            let mut balking = false;
            for machine in world.vms.iter().map(|vm| vm.id).collect::<Vec<_>>() {
                world.settle_power(machine);
                if obey {
                    world.set_stubbornness(machine, Stubbornness::Obedient);
                }
                balking |= world.vms.get(machine).is_some_and(|vm| vm.stubbornness != Stubbornness::Obedient);
            }
            world.clean_up_accounts();
            balking
        });
    }

    fn clocks_drift(&mut self) {
        match self.dice.below(40) {
            0 => {
                let minutes = i64::try_from(self.dice.below(60)).unwrap_or(0) - 30;
                self.clock.set_off(minutes * 60_000);
            }
            1 => {
                let hours = i64::try_from(self.dice.below(96)).unwrap_or(0) - 24;
                self.clock.set_off(hours * 3_600_000);
            }
            2..=6 => self.clock.set_off(0),
            _ => return,
        }
        self.cloud.tell(format!("bursar's clock is off by {} s", self.clock.off_ms() / 1_000));
    }

    fn usage_job_runs(&mut self, quiet: bool) {
        let (stuck, fails, runs) = (self.dice.chance(60), self.dice.chance(30), self.dice.chance(800));
        let enforces = self.dice.chance(40) && !quiet;
        self.plugin_enforces = enforces;
        // What was reported is reported once more, as it was or anew from some instant on.
        let (again, anew) = (self.lot.late && self.dice.chance(60), self.lot.late && self.dice.chance(40));
        let back = Duration::from_secs(self.dice.between(1, 172_800));
        self.cloud.standin.with(|world| {
            world.set_usage_job_stuck(stuck && !quiet);
            world.set_configuration("quota.enable.enforcement", if enforces { "true" } else { "false" });
            if fails && !quiet {
                world.fail_next_usage_run();
            }
            if runs || quiet {
                let now = world.now();
                if anew && !quiet {
                    world.late_event(now.minus(back));
                }
                world.run_usage_job(now);
                if again && !quiet {
                    world.inject_duplicates(now.minus(back), now);
                }
            }
            world.forget_calls();
        });
    }

    /// The schedule of a tick: the jobs in their order, some twice, some not at all, on this process or that.
    async fn jobs(&mut self, quiet: bool) -> Result<(), Error> {
        for job in [Job::Sync, Job::Rate, Job::Enforce] {
            let times = if quiet {
                1
            } else {
                [1, 1, 1, 0, 0, 2].get(usize::try_from(self.dice.below(6)).unwrap_or(0)).copied().unwrap_or(1)
            };
            for _ in 0..times {
                Box::pin(self.run(self.some_process(), job, quiet)).await?;
            }
            self.cloud.deliver_late().await;
        }
        // A mail server that can not be reached for a while: the warnings stay where they are.
        if self.lot.mail && (quiet || self.dice.chance(600)) {
            Box::pin(self.run(0, Job::Mail, quiet)).await?;
        }
        Ok(())
    }

    /// All is known that there is to know, and then enforcement runs in the foulest weather.
    async fn storm(&mut self) -> Result<(), Error> {
        for job in [Job::Sync, Job::Rate] {
            Box::pin(self.run(self.some_process(), job, true)).await?;
        }
        self.machines_of_the_locked_balk();
        self.foul = true;
        for _ in 0..self.dice.between(1, 2) {
            Box::pin(self.run(self.some_process(), Job::Enforce, false)).await?;
        }
        self.foul = false;
        Ok(())
    }

    fn some_process(&self) -> usize {
        usize::try_from(self.dice.below(u64::try_from(self.processes.len()).unwrap_or(1))).unwrap_or(0)
    }

    /// What befalls enforcement in foul weather: calls fail, and the process dies or stands still at its first writes.
    fn foul_fate(&self) -> (Weather, CrashPoints) {
        let dice = &self.dice;
        let (reads, writes) = self.lot.faults;
        let mut weather = Weather { reads: reads / 2, writes: writes.max(120), takes_time: true, ..Weather::default() };
        let mut points = CrashPoints::default();
        let early = |powers| dice.between(1, 1 << dice.between(1, powers));
        match dice.below(10) {
            0 => points = CrashPoints::before_commit(early(7)),
            1 => points = CrashPoints::after_commit(early(7)),
            2..=4 => weather.dies_at_write = Some((early(4), dice.chance(500))),
            _ => {}
        }
        if self.lot.two && dice.chance(400) {
            weather.freezes_at = Some((early(4), dice.chance(500)));
        } else if self.lot.two && dice.chance(300) {
            weather.freezes_at_call = Some((early(6), dice.chance(500)));
        }
        (weather, points)
    }

    /// What befalls a job, as the seed has it.
    fn fate(&self, job: Job, quiet: bool) -> (Weather, CrashPoints) {
        let dice = &self.dice;
        let (reads, writes) = if quiet || dice.chance(400) { (0, 0) } else { self.lot.faults };
        let mut weather = Weather { reads, writes, takes_time: job == Job::Enforce, ..Weather::default() };
        let mut points = CrashPoints::default();
        if !quiet {
            // A run of enforcement that does much has some hundreds of commits and calls, and most have a dozen.
            let up_to = |powers| dice.between(1, 1 << dice.between(1, powers));
            match dice.below(if job == Job::Enforce { 8 } else { 12 }) {
                0 => points = CrashPoints::before_commit(up_to(9)),
                1 => points = CrashPoints::after_commit(up_to(9)),
                2 => weather.dies_at = Some((up_to(7), dice.chance(500))),
                _ => {}
            }
            if job == Job::Enforce && self.lot.two && dice.chance(300) {
                weather.freezes_at = Some((up_to(5), dice.chance(500)));
            } else if self.lot.two && dice.chance(150) {
                weather.freezes_at_call = Some((up_to(6), dice.chance(500)));
            }
        }
        (weather, points)
    }

    async fn run(&mut self, which: usize, job: Job, quiet: bool) -> Result<(), Error> {
        let Some(process) = self.processes.get(which) else { return Ok(()) };
        let (app, wire) = (process.app.clone(), Arc::clone(&process.wire));
        let (weather, points) = if self.foul && !quiet { self.foul_fate() } else { self.fate(job, quiet) };
        wire.begin(format!("{}/{job:?}/{}", self.tick, self.dice.below(1_000_000)), weather, &points);
        let alone = self.processes.len() == 1;
        let mut tries = 0;
        let done = loop {
            let mut running = pin!(with_crash_points(&points, begin(&app, job, alone)));
            let done = loop {
                tokio::select! {
                    biased;
                    done = &mut running => break done,
                    () = wire.frozen() => {
                        self.meanwhile(which, job).await?;
                        wire.thaw();
                    }
                }
            };
            // A lease that was taken, or a run that was begun, when the clock was a little ahead runs out by itself.
            let leased = matches!(
                &done,
                Some(Err(JobError::Running { .. } | JobError::Enforce(crate::enforcement::Error::AnotherEnforcer)))
            );
            tries += 1;
            if !(quiet && leased && tries == 1) {
                break done;
            }
            self.cloud.time.advance(LEASE_RUNS_OUT);
        };
        self.told.jobs += 1;
        match done {
            None => {
                self.cloud.tell(format!("{job:?} died"));
                self.told.deaths_after_write += u64::from(wire.has_written());
                self.reborn(which).await
            }
            Some(Ok(said)) => {
                if job == Job::Enforce {
                    self.fuse_held = said.contains(FUSE_HELD);
                }
                if !said.is_empty() {
                    self.cloud.tell(format!("{job:?}: {said}"));
                }
                Ok(())
            }
            Some(Err(error)) => {
                self.cloud.tell(format!("{job:?} failed: {error}"));
                // Before the first run of the usage job there is nothing to fetch, and a sync says so.
                let is_begun = self.cloud.standin.with(|world| world.last_successful_usage_job().is_some());
                if quiet && is_begun {
                    let detail = format!("{job:?} failed though nothing was wrong: {error}");
                    self.violations.push(Violation { invariant: "works", account: "all".to_owned(), detail });
                }
                Ok(())
            }
        }
    }

    /// While one process stands still, time passes, and the other one works.
    async fn meanwhile(&mut self, frozen: usize, job: Job) -> Result<(), Error> {
        self.told.freezes += 1;
        self.cloud.time.advance(Duration::from_secs(self.dice.between(30, 2_400)));
        self.cloud.deliver_late().await;
        if self.dice.chance(500) {
            // What was done until now is judged by what was so until now.
            self.judge_effects().await?;
            self.somebody_acts_meanwhile().await?;
        }
        let Some((app, wire)) = self
            .processes
            .iter()
            .enumerate()
            .find(|(which, _)| *which != frozen)
            .map(|(_, process)| (process.app.clone(), Arc::clone(&process.wire)))
        else {
            return Ok(());
        };
        // The same job, or all that the schedule has.
        let jobs = if self.dice.chance(300) { vec![Job::Sync, Job::Rate, Job::Enforce] } else { vec![job] };
        for meanwhile in jobs {
            let takes_time = meanwhile == Job::Enforce;
            let (points, weather) = (CrashPoints::default(), Weather { takes_time, ..Weather::default() });
            wire.begin(format!("{}/meanwhile/{}", self.tick, self.dice.below(1_000_000)), weather, &points);
            match begin(&app, meanwhile, false).await {
                Ok(said) => {
                    self.cloud.tell(format!("meanwhile {meanwhile:?}: {said}"));
                    if let Some(process) = self.processes.get(frozen).filter(|_| meanwhile == Job::Enforce) {
                        process.wire.fence();
                    }
                }
                Err(error) => self.cloud.tell(format!("meanwhile {meanwhile:?} failed: {error}")),
            }
        }
        Ok(())
    }
}

/// Runs a job, and says what it did that is worth telling.
async fn begin(app: &App, job: Job, alone: bool) -> Result<String, JobError> {
    match job {
        Job::Sync => work::sync(app, false, "simulation", &Quiet).await.map(|_| String::new()),
        Job::Rate => work::rate(app, None, "simulation", &Quiet).await.map(|_| String::new()),
        Job::Mail => mail::pass(app, Looked::AtAll, "simulation").await.map(|_| String::new()),
        Job::Enforce => {
            let options = EnforceOptions { holds_data_lock: alone, ..EnforceOptions::default() };
            work::enforce(app, options, "simulation").await.map(|report| {
                let mut said = Vec::new();
                for (what, whom) in [
                    ("restricted", &report.restricted),
                    ("locked", &report.locked),
                    ("stopped", &report.stopped),
                    ("restored", &report.restored),
                    ("started", &report.started),
                    ("left", &report.left),
                    ("failed", &report.failed),
                    ("recovered", &report.recovered),
                ] {
                    if !whom.is_empty() {
                        said.push(format!("{what} {}", whom.join("; ")));
                    }
                }
                said.extend(report.fuse.map(|_| FUSE_HELD.to_owned()));
                for line in report.decisions.iter().filter(|line| line.outcome == "wait") {
                    said.push(format!("{} waits ({}): {}", line.account, line.reason, line.waits_for.join(", ")));
                }
                said.join(" | ")
            })
        }
    }
}

/// Whether an account is one that bursar may act upon.
pub(super) const fn is_tenant(tenant: &Tenant) -> bool {
    matches!(tenant.kind, Kind::Tenant)
}
