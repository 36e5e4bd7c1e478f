//! Seeded lives of a small cloud, played through the real code: the proof that nobody is suspended who should not be, that what
//! was suspended comes back as it was, and that no money is lost, whatever fails meanwhile.
//!
//! A life is a pure function of its seed. It knows the stand-in, the jobs and the store, and nobody knows it but the command
//! line. `docs/simulation.md` tells what a life holds and how one that failed is played again.

mod book;
mod dice;
mod judge;
mod life;
mod people;
mod setup;
mod watch;
mod wire;

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

pub use watch::{Step, Violation};

use crate::random::{RandomSource as _, SystemRandom};

/// Lines of a failed life that are shown.
const LAST_LINES: usize = 60;

/// Why a simulation did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cloud or the database of a life could not be made.
    #[error("the simulation can not begin: {0}")]
    Setup(String),
    /// bursar refused what it never refuses.
    #[error("the life broke off: {0}")]
    Broken(String),
}

impl Error {
    fn setup(error: impl Display) -> Self {
        Self::Setup(error.to_string())
    }

    fn broken(error: impl Display) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What lives were made of: so that a simulation in which nothing happens is seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Jobs begun.
    pub jobs: u64,
    /// Processes that died.
    pub deaths: u64,
    /// Those that died in a job that had sent a write already.
    pub deaths_after_write: u64,
    /// Processes that stood still while another one worked.
    pub freezes: u64,
    /// Steps that calls took accounts: down and up.
    pub steps: u64,
    /// The same by step.
    pub by_step: BTreeMap<Step, u64>,
    /// Writes to CloudStack by command, whatever came of them.
    pub calls: BTreeMap<String, u64>,
    /// Those of them that met a fault.
    pub faults: BTreeMap<String, u64>,
    /// Payers whose money was compared to the cent at the end.
    pub compared: u64,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.deaths += other.deaths;
        self.deaths_after_write += other.deaths_after_write;
        self.freezes += other.freezes;
        self.steps += other.steps;
        self.compared += other.compared;
        add_each(&mut self.by_step, other.by_step);
        add_each(&mut self.calls, other.calls);
        add_each(&mut self.faults, other.faults);
    }

    /// Adds the writes of a life, with those that met a fault.
    fn add_calls(&mut self, counts: BTreeMap<String, (u64, u64)>) {
        for (command, (calls, faults)) in counts {
            *self.faults.entry(command.clone()).or_default() += faults;
            *self.calls.entry(command).or_default() += calls;
        }
    }
}

fn add_each<K: Ord>(sums: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, count) in more {
        *sums.entry(key).or_default() += count;
    }
}

/// A life that broke an invariant, or off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its seed: `bursar sim --seed SEED` plays it again.
    pub seed: u64,
    /// The tick.
    pub tick: u64,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// The last lines of its story.
    pub story: Vec<String>,
}

/// What came of a number of seeds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Lives lived.
    pub seeds: u64,
    /// What they were made of.
    pub told: Told,
    /// Those that failed, by seed.
    pub failures: Vec<Failure>,
}

/// How a simulation is run.
#[derive(Debug, Clone)]
pub struct Range {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// How many at once.
    pub threads: usize,
    /// Failures after which no further life is begun.
    pub stop_after: usize,
    /// Whether the whole story of each life is kept, and not only the end of those that failed.
    pub whole_story: bool,
}

/// Where lives are lived: in memory where the system has such a folder.
fn ground() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// A folder that goes away with the simulation.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Error> {
        let path = ground().join(format!("bursar-sim-{}", SystemRandom.hex(8)));
        std::fs::create_dir(&path).map_err(Error::setup)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind it only takes room.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Lives every life of a range. `lived` hears of each.
pub fn run(range: &Range, lived: &(dyn Fn(u64) + Sync)) -> Result<Report, Error> {
    let folder = Folder::new()?;
    let template = runtime()?.block_on(setup::prepare_database(&folder.0))?;
    let next = AtomicU64::new(0);
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..range.threads.max(1))
            .map(|_| scope.spawn(|| work_off(range, &next, &report, (&folder.0, &template), lived)))
            .collect();
        let mut result = Ok(());
        for worker in workers {
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => result = Err(error),
                Err(_) => result = Err(Error::Broken("a thread panicked".to_owned())),
            }
        }
        result
    })?;
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failures.sort_by_key(|failure| failure.seed);
    Ok(report)
}

/// Without a driver for sockets, of which a life has none: a life waits for its database all the time, and to wait for that
/// alone is cheaper.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(Error::setup)
}

fn work_off(
    range: &Range,
    next: &AtomicU64,
    report: &Mutex<Report>,
    (folder, template): (&Path, &Path),
    lived: &(dyn Fn(u64) + Sync),
) -> Result<(), Error> {
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        let lock = || report.lock().unwrap_or_else(PoisonError::into_inner);
        if number >= range.count || lock().failures.len() >= range.stop_after {
            return Ok(());
        }
        let seed = range.first.saturating_add(number);
        let (told, failure) = one(seed, folder, template, range.whole_story)?;
        let mut report = lock();
        report.seeds += 1;
        report.told.add(told);
        report.failures.extend(failure);
        drop(report);
        lived(seed);
    }
}

/// Lives one life.
fn one(seed: u64, folder: &Path, template: &Path, whole_story: bool) -> Result<(Told, Option<Failure>), Error> {
    let home = folder.join(format!("life-{seed}"));
    std::fs::create_dir(&home).map_err(Error::setup)?;
    std::fs::copy(template, home.join("bursar.db")).map_err(Error::setup)?;
    let runtime = runtime()?;
    let lived = runtime.block_on(life::live(seed, &home));
    // What a dead process left behind ends here.
    runtime.shutdown_background();
    // A folder that stays is cleared away with the whole simulation.
    let _ = std::fs::remove_dir_all(&home);
    let (violations, mut story, told, tick) = lived?;
    if violations.is_empty() && !whole_story {
        return Ok((told, None));
    }
    if !whole_story && story.len() > LAST_LINES {
        story.drain(..story.len() - LAST_LINES);
    }
    Ok((told, Some(Failure { seed, tick, violations, story })))
}
