//! Start and end of the process: readiness, orderly shutdown, and what systemd is told of both.
//!
//! Shutdown has two steps. The *soft* token says "begin nothing new, end what you are at"; the *hard* token says "leave it
//! now". What must survive the hard token survives because it is in the database, so nothing here waits for ever.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long tasks have to end after the hard token.
const HARD_LIMIT: Duration = Duration::from_secs(5);
/// Signals waiting to be handled; more than two change nothing.
const SIGNAL_QUEUE: usize = 4;

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// From the service manager.
    Terminate,
    /// From the keyboard.
    Interrupt,
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// How a shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every task ended by itself.
    Clean,
    /// Tasks had to be told to leave at once, and did.
    Forced,
    /// Tasks were still running when waiting stopped.
    Abandoned,
}

/// The two steps of stopping, and the tasks that take part in it. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Nothing asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when nothing new should begin.
    pub const fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when everything should be left at once. Implies the soft token.
    pub const fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Whether nothing new should begin.
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Asks for an orderly end.
    pub fn stop(&self) {
        self.soft.cancel();
    }

    /// Asks for an end at once.
    pub fn abort(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Runs a task that [`Shutdown::finish`] waits for. It should watch the soft token.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Listens for SIGTERM and SIGINT: the first asks for an orderly end, the second for one at once.
    pub fn listen(&self) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (sender, receiver) = mpsc::channel(SIGNAL_QUEUE);
        tokio::spawn(async move {
            loop {
                let came = tokio::select! {
                    Some(()) = terminate.recv() => StopSignal::Terminate,
                    Some(()) = interrupt.recv() => StopSignal::Interrupt,
                    else => return,
                };
                if sender.send(came).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(self.clone().heed(receiver));
        Ok(())
    }

    /// Turns signals into the two steps.
    async fn heed(self, mut signals: mpsc::Receiver<StopSignal>) {
        while let Some(signal) = signals.recv().await {
            if self.is_stopping() {
                tracing::warn!(%signal, "asked to stop once more, leaving everything at once");
                self.abort();
                return;
            }
            tracing::info!(%signal, "asked to stop, ending what is under way");
            self.stop();
        }
    }

    /// Waits until stopping was asked for, then up to `grace` for the tasks, then tells them to leave at once.
    pub async fn finish(&self, grace: Duration) -> Ending {
        self.finish_within(grace, HARD_LIMIT).await
    }

    async fn finish_within(&self, grace: Duration, hard_limit: Duration) -> Ending {
        self.soft.cancelled().await;
        self.tasks.close();
        let orderly = tokio::select! {
            () = self.tasks.wait() => true,
            () = self.hard.cancelled() => false,
            () = tokio::time::sleep(grace) => false,
        };
        if orderly {
            return Ending::Clean;
        }
        tracing::warn!(tasks = self.tasks.len(), "tasks are still at work, telling them to leave at once");
        self.abort();
        match tokio::time::timeout(hard_limit, self.tasks.wait()).await {
            Ok(()) => Ending::Forced,
            Err(_) => Ending::Abandoned,
        }
    }
}

/// What has to be in order before the process counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// The database answers.
    Store,
    /// The database has this version's tables.
    Migrations,
    /// CloudStack answers with the reader's key.
    CloudStack,
    /// The listeners are open.
    Listeners,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Migrations => "migrations",
            Self::CloudStack => "cloudstack",
            Self::Listeners => "listeners",
        })
    }
}

/// State of one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Waiting,
    Good,
    Bad(String),
}

#[derive(Debug)]
struct Known {
    standings: BTreeMap<Condition, (Standing, bool)>,
    stopping: bool,
}

impl Known {
    fn is_ready(&self) -> bool {
        !self.stopping && self.standings.values().all(|(standing, needed)| !needed || *standing == Standing::Good)
    }
}

/// Whether the process can do its work, by named conditions. Clones share the state.
#[derive(Debug, Clone)]
pub struct Readiness {
    known: Arc<Mutex<Known>>,
    ready: watch::Sender<bool>,
}

impl Readiness {
    /// Ready once all of `needed` are good; `shown` are told along with them and hold nothing back.
    pub fn new(needed: &[Condition], shown: &[Condition]) -> Self {
        let waiting = |condition: &Condition, needed| (*condition, (Standing::Waiting, needed));
        let standings: BTreeMap<_, _> = shown
            .iter()
            .map(|condition| waiting(condition, false))
            .chain(needed.iter().map(|condition| waiting(condition, true)))
            .collect();
        let known = Known { standings, stopping: false };
        let ready = watch::Sender::new(known.is_ready());
        Self { known: Arc::new(Mutex::new(known)), ready }
    }

    /// The condition holds. One that was not named at the start is not taken up.
    pub fn good(&self, condition: Condition) {
        self.set(condition, Standing::Good);
    }

    /// The condition does not hold, and why, in words that may be shown to anybody.
    pub fn bad(&self, condition: Condition, why: impl Into<String>) {
        self.set(condition, Standing::Bad(why.into()));
    }

    /// Stopping: not ready any more, whatever the conditions.
    pub fn stopping(&self) {
        self.change(|known| known.stopping = true);
    }

    /// Whether the process can do its work.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until the process can do its work.
    pub async fn wait(&self) {
        // The sender lives as long as self, so the channel can not be closed while waiting.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// The text of `/readyz`: a first line `ready`, `not ready` or `stopping`, then a line for each condition.
    pub fn report(&self) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match (known.stopping, known.is_ready()) {
            (true, _) => "stopping",
            (false, true) => "ready",
            (false, false) => "not ready",
        };
        let lines = known.standings.iter().map(|(condition, (standing, needed))| {
            let state = match standing {
                Standing::Waiting => "waiting".to_owned(),
                Standing::Good => "good".to_owned(),
                Standing::Bad(why) => format!("bad: {why}"),
            };
            let note = if *needed { "" } else { " (not needed to be ready)" };
            format!("{condition}: {state}{note}\n")
        });
        format!("{first}\n{}", lines.collect::<String>())
    }

    fn set(&self, condition: Condition, standing: Standing) {
        self.change(|known| {
            if let Some((held, _)) = known.standings.get_mut(&condition) {
                *held = standing;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        let ready = known.is_ready();
        // Sent under the lock, so that two changes can not arrive the wrong way round.
        self.ready.send_if_modified(|old| std::mem::replace(old, ready) != ready);
    }
}

/// What the service manager can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Start is complete.
    Ready,
    /// Stopping has begun.
    Stopping,
    /// Still alive.
    Alive,
}

/// Tells the service manager; without one, nothing happens.
pub trait ServiceManager: Send + Sync {
    /// Passes a notice on.
    fn tell(&self, notice: Notice);
}

/// systemd, by the socket that it names in `NOTIFY_SOCKET`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Systemd;

impl Systemd {
    /// How often systemd wants to hear that the process is alive, if it does; half of its limit.
    pub fn watchdog_interval() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|interval| !interval.is_zero())
    }
}

impl ServiceManager for Systemd {
    fn tell(&self, notice: Notice) {
        let state = match notice {
            Notice::Ready => NotifyState::Ready,
            Notice::Stopping => NotifyState::Stopping,
            Notice::Alive => NotifyState::Watchdog,
        };
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::warn!(%error, ?notice, "systemd could not be told");
        }
    }
}

/// Tells the service manager of readiness once, that the process is alive every `watchdog`, and of stopping; then returns.
/// Marks `readiness` as stopping too.
pub async fn report_to(
    manager: &dyn ServiceManager,
    readiness: &Readiness,
    shutdown: &Shutdown,
    watchdog: Option<Duration>,
) {
    let report = async {
        readiness.wait().await;
        manager.tell(Notice::Ready);
        std::future::pending::<()>().await;
    };
    let pulse = async {
        let Some(interval) = watchdog else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            manager.tell(Notice::Alive);
        }
    };
    tokio::select! {
        () = shutdown.soft().cancelled() => {}
        () = report => {}
        () = pulse => {}
    }
    readiness.stopping();
    manager.tell(Notice::Stopping);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn the_first_signal_asks_and_the_second_insists() {
        let shutdown = Shutdown::new();
        let (sender, receiver) = mpsc::channel(4);
        let heeding = tokio::spawn(shutdown.clone().heed(receiver));
        sender.send(StopSignal::Terminate).await.unwrap();
        shutdown.soft().cancelled().await;
        assert!(!shutdown.hard().is_cancelled());
        sender.send(StopSignal::Interrupt).await.unwrap();
        shutdown.hard().cancelled().await;
        heeding.await.unwrap();
    }

    #[tokio::test]
    async fn tasks_that_end_by_themselves_make_a_clean_end() {
        let shutdown = Shutdown::new();
        let soft = shutdown.soft().clone();
        let task = shutdown.spawn(async move {
            soft.cancelled().await;
            7
        });
        shutdown.stop();
        assert_eq!(shutdown.finish(LONG).await, Ending::Clean);
        assert_eq!(task.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn tasks_that_do_not_heed_the_soft_token_get_the_hard_one() {
        let shutdown = Shutdown::new();
        let hard = shutdown.hard().clone();
        shutdown.spawn(async move { hard.cancelled().await });
        shutdown.stop();
        assert_eq!(shutdown.finish(Duration::ZERO).await, Ending::Forced);
    }

    #[tokio::test]
    async fn the_hard_token_cuts_the_grace_short() {
        let shutdown = Shutdown::new();
        let hard = shutdown.hard().clone();
        shutdown.spawn(async move { hard.cancelled().await });
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.finish(LONG).await }
        });
        shutdown.abort();
        // Either the task is seen to have ended first or the hard token: it ends either way, and not after an hour.
        assert_ne!(waiting.await.unwrap(), Ending::Abandoned);
    }

    #[tokio::test]
    async fn a_task_that_heeds_nothing_is_abandoned() {
        let shutdown = Shutdown::new();
        shutdown.spawn(std::future::pending::<()>());
        shutdown.stop();
        assert_eq!(shutdown.finish_within(Duration::ZERO, Duration::ZERO).await, Ending::Abandoned);
    }

    #[test]
    fn readiness_needs_every_needed_condition_and_says_which_is_missing() {
        let readiness = Readiness::new(&[Condition::Store, Condition::Migrations], &[Condition::CloudStack]);
        assert_eq!(
            readiness.report(),
            "not ready\nstore: waiting\nmigrations: waiting\ncloudstack: waiting (not needed to be ready)\n"
        );
        readiness.good(Condition::Store);
        readiness.good(Condition::Migrations);
        readiness.bad(Condition::CloudStack, "no answer");
        assert!(readiness.is_ready());
        assert_eq!(
            readiness.report(),
            "ready\nstore: good\nmigrations: good\ncloudstack: bad: no answer (not needed to be ready)\n"
        );
        readiness.bad(Condition::Store, "the disk is full");
        assert!(!readiness.is_ready());
        readiness.good(Condition::Store);
        readiness.stopping();
        assert!(!readiness.is_ready());
        assert!(readiness.report().starts_with("stopping\n"));
    }

    #[test]
    fn a_condition_that_was_not_named_changes_nothing() {
        let readiness = Readiness::new(&[Condition::Store], &[]);
        readiness.good(Condition::Listeners);
        assert_eq!(readiness.report(), "not ready\nstore: waiting\n");
    }

    struct Heard(mpsc::UnboundedSender<Notice>);

    impl ServiceManager for Heard {
        fn tell(&self, notice: Notice) {
            self.0.send(notice).unwrap();
        }
    }

    #[tokio::test]
    async fn the_service_manager_hears_of_ready_alive_and_stopping() {
        let (readiness, shutdown) = (Readiness::new(&[Condition::Store], &[]), Shutdown::new());
        let (sender, mut heard) = mpsc::unbounded_channel();
        let task = tokio::spawn({
            let (readiness, shutdown) = (readiness.clone(), shutdown.clone());
            async move { report_to(&Heard(sender), &readiness, &shutdown, Some(Duration::from_millis(1))).await }
        });
        assert_eq!(heard.recv().await, Some(Notice::Alive));
        assert_eq!(heard.recv().await, Some(Notice::Alive));
        readiness.good(Condition::Store);
        loop {
            match heard.recv().await.unwrap() {
                Notice::Ready => break,
                other => assert_eq!(other, Notice::Alive),
            }
        }
        assert_eq!(heard.recv().await, Some(Notice::Alive));
        shutdown.stop();
        let mut last = Notice::Ready;
        while let Some(notice) = heard.recv().await {
            assert_ne!(notice, Notice::Ready, "told once only");
            last = notice;
        }
        assert_eq!(last, Notice::Stopping);
        task.await.unwrap();
        assert!(!readiness.is_ready());
    }

    #[tokio::test]
    async fn without_a_watchdog_only_ready_and_stopping_are_told() {
        let (readiness, shutdown) = (Readiness::new(&[], &[]), Shutdown::new());
        let (sender, mut heard) = mpsc::unbounded_channel();
        let task = tokio::spawn({
            let (readiness, shutdown) = (readiness.clone(), shutdown.clone());
            async move { report_to(&Heard(sender), &readiness, &shutdown, None).await }
        });
        assert_eq!(heard.recv().await, Some(Notice::Ready));
        shutdown.stop();
        assert_eq!(heard.recv().await, Some(Notice::Stopping));
        assert_eq!(heard.recv().await, None);
        task.await.unwrap();
    }
}
