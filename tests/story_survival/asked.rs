//! What commands and pages ask a running server for: carried out once, in time, or never.

use std::sync::Arc;

use bursar::{
    jobs::{App, arming, lock::DataLock, server},
    store::runs,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::harness::open;

const MINUTE: Duration = Duration::from_mins(1);

async fn is_armed(cloud: &Cloud) -> bool {
    let status = arming::status(&cloud.app).await.unwrap();
    !status.armed.is_empty() && !status.paused
}

async fn look(app: &App) -> bool {
    server::answer_requests(app).await.unwrap()
}

async fn ask(cloud: &Cloud, kind: &str, body: &str) -> i64 {
    let mut tx = cloud.app.store.begin().await.unwrap();
    let id = runs::leave_request(&mut tx, kind, body, "cli:carol", cloud.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    id
}

async fn answer(cloud: &Cloud, request: i64) -> Option<(bool, String)> {
    let mut tx = cloud.app.store.read().await.unwrap();
    runs::find_answer(&mut tx, request).await.unwrap()
}

/// As if another replica were enforcing at this moment.
async fn another_enforces(cloud: &Cloud) -> bursar::ids::RunId {
    let mut tx = cloud.app.store.begin().await.unwrap();
    let run = runs::start_run(&mut tx, "enforce", "test", "another replica", cloud.clock.now()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    run
}

async fn it_ends(cloud: &Cloud, run: bursar::ids::RunId) {
    let mut tx = cloud.app.store.begin().await.unwrap();
    runs::end_run(&mut tx, run, "done", "{}", cloud.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

/// A command that waits, and the file with what it says.
struct Waiting {
    running: Running,
    words: tempfile::NamedTempFile,
}

impl Waiting {
    fn start(cloud: &Cloud, arguments: &[&str]) -> Self {
        let words = tempfile::NamedTempFile::new().unwrap();
        let mut command = command(cloud, arguments);
        let child = command.stdout(Stdio::null()).stderr(words.reopen().unwrap()).spawn().unwrap();
        Self { running: Running(child), words }
    }

    async fn says(&self, word: &str) -> String {
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.words.path()).unwrap();
            if text.contains(word) {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "{word} is not said: {text}");
            pause().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_wanted_while_another_one_worked_is_never_done_by_a_server_later() {
    let cloud = five_days_behind(Database::sqlite(), now()).await;
    // As `bursar sync` does at its hour: no server.
    let lock = DataLock::try_take(cloud.database.folder.path()).unwrap();
    assert!(lock.is_some());
    let mut leaving = Waiting::start(&cloud, &["leave", "--yes"]);
    let text = leaving.says("…\n").await;
    leaving.running.kill();
    drop(lock);
    assert!(!look(&cloud.app).await);
    assert!(is_armed(&cloud).await, "{text}");
    assert!(text.contains("another command works on") && text.contains("waiting"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_for_another_one_and_then_works_itself() {
    let cloud = five_days_behind(Database::sqlite(), now()).await;
    let lock = DataLock::try_take(cloud.database.folder.path()).unwrap();
    let mut syncing = Waiting::start(&cloud, &["sync"]);
    syncing.says("another command works on").await;
    drop(lock);
    let status = syncing.running.ends().await;
    assert!(status.success(), "{status}: {}", std::fs::read_to_string(syncing.words.path()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_no_longer_waits_for_the_server_takes_the_request_back() {
    for server_ends in [false, true] {
        let cloud = five_days_behind(Database::sqlite(), now()).await;
        let lock = DataLock::try_serve(cloud.database.folder.path()).unwrap();
        assert!(lock.is_some());
        let mut leaving = Waiting::start(&cloud, &["leave", "--yes"]);
        leaving.says("the running server does it").await;
        if server_ends {
            drop(lock);
        } else {
            leaving.running.terminate();
        }
        assert_eq!(leaving.running.ends().await.code(), Some(1));
        let why = if server_ends { "the running server has stopped" } else { "stopped while it waited" };
        let text = leaving.says("is withdrawn and will not be carried out").await;
        assert!(text.contains(why), "{text}");
        assert!(!look(&cloud.app).await);
        assert!(is_armed(&cloud).await);
    }
}

#[tokio::test]
async fn a_request_of_long_ago_is_answered_as_expired_and_not_carried_out() {
    on_each_database(|database| async {
        let cloud = five_days_behind(database, now()).await;
        let old = ask(&cloud, "leave", "{}").await;
        cloud.clock.advance(31 * MINUTE);
        let fresh = ask(&cloud, "enforce", r#"{"dry_run":true}"#).await;
        assert!(!look(&cloud.app).await);
        let (succeeded, text) = answer(&cloud, old).await.unwrap();
        assert!(!succeeded && text.contains("expired"), "{text}");
        let (succeeded, text) = answer(&cloud, fresh).await.unwrap();
        assert!(succeeded, "{text}");
        assert!(is_armed(&cloud).await, "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn a_request_stays_open_while_another_process_is_at_the_same_job() {
    on_each_database(|database| async {
        let cloud = five_days_behind(database, now()).await;
        let theirs = another_enforces(&cloud).await;
        let asked = ask(&cloud, "enforce", r#"{"dry_run":true}"#).await;
        for _ in 0..2 {
            assert!(look(&cloud.app).await, "it waits");
            assert_eq!(answer(&cloud, asked).await, None, "on {}", cloud.database.kind);
        }
        it_ends(&cloud, theirs).await;
        assert!(!look(&cloud.app).await);
        let (succeeded, text) = answer(&cloud, asked).await.unwrap();
        assert!(succeeded, "{text}");
        if cloud.database.url.is_none() {
            return; // There the lock on the data directory decides, and no lease of somebody else counts.
        }
        let mut tx = cloud.app.store.begin().await.unwrap();
        let now = cloud.clock.now();
        runs::take_lease(&mut tx, "enforcer", "another replica", 2 * MINUTE, now).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let asked = ask(&cloud, "enforce", r#"{"dry_run":true}"#).await;
        assert!(look(&cloud.app).await);
        assert_eq!(answer(&cloud, asked).await, None);
        cloud.clock.advance(3 * MINUTE);
        assert!(!look(&cloud.app).await);
        assert!(answer(&cloud, asked).await.unwrap().0);
    })
    .await;
}

#[tokio::test]
async fn of_two_replicas_one_carries_a_request_out_and_the_other_one_where_that_one_died() {
    on_each_database(|database| async {
        let cloud = five_days_behind(database, now()).await;
        let asked = ask(&cloud, "enforce", r#"{"dry_run":true}"#).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(runs::claim_request(&mut tx, asked, "another replica", false, cloud.clock.now()).await.unwrap());
        assert!(!runs::claim_request(&mut tx, asked, "a third one", false, cloud.clock.now()).await.unwrap());
        assert!(!runs::withdraw_request(&mut tx, asked, false, cloud.clock.now()).await.unwrap());
        tx.commit().await.unwrap();
        let waits = look(&cloud.app).await;
        assert_eq!(
            waits,
            cloud.database.url.is_some(),
            "who holds the data directory's lock has outlived every other one"
        );
        if waits {
            assert_eq!(answer(&cloud, asked).await, None);
            cloud.clock.advance(4 * MINUTE);
            assert!(!look(&cloud.app).await);
        }
        assert!(answer(&cloud, asked).await.unwrap().0);
        if cloud.database.url.is_none() {
            return;
        }
        let other = open(&cloud.env, &cloud.clock).await;
        let asked = ask(&cloud, "enforce-plan", "{}").await;
        tokio::join!(Box::pin(look(&cloud.app)), Box::pin(look(&other)));
        let (succeeded, text) = answer(&cloud, asked).await.unwrap();
        assert!(succeeded, "{text}");
        let mut tx = cloud.app.store.read().await.unwrap();
        let runs = runs::list_runs(&mut tx, Some("enforce"), 50).await.unwrap();
        tx.commit().await.unwrap();
        let cause = format!("request {asked} of cli:carol");
        assert_eq!(runs.iter().filter(|run| run.cause == cause).count(), 1);
        other.store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_process_that_was_taken_over_answers_nothing_and_whoever_took_over_is_heard() {
    on_each_database(|database| async {
        let cloud = five_days_behind(database, now()).await;
        let asked = ask(&cloud, "leave", "{}").await;
        for (holder, minutes) in [("the first one", 4_u32), ("another replica", 0)] {
            let mut tx = cloud.app.store.begin().await.unwrap();
            assert!(runs::claim_request(&mut tx, asked, holder, false, cloud.clock.now()).await.unwrap());
            tx.commit().await.unwrap();
            cloud.clock.advance(minutes * MINUTE);
        }
        let now = cloud.clock.now();
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(!runs::touch_request(&mut tx, asked, "the first one", now).await.unwrap());
        assert!(!runs::answer_request(&mut tx, asked, "the first one", (false, "no answer came"), now).await.unwrap());
        assert!(runs::answer_request(&mut tx, asked, "another replica", (true, "{}"), now).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(answer(&cloud, asked).await, Some((true, "{}".to_owned())), "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn a_request_stays_open_where_another_process_took_over_the_run_for_it() {
    on_each_database(|database| async {
        let cloud = five_days_behind(database, now()).await;
        cloud.catch_up().await;
        let asked = ask(&cloud, "enforce", "{}").await;
        // Before anything is decided, and in the middle of what was.
        for command in ["listCapabilities", "disableAccount"] {
            let gate = Gate::default();
            let fault = Fault::once(command, FaultKind::DelayUntil(gate.clone()));
            cloud.standin.with(|world| world.faults().push(fault));
            let meanwhile = async {
                while cloud.standin.with(|world| world.faults().waiting()) > 0 {
                    tokio::task::yield_now().await;
                }
                let mut tx = cloud.app.store.begin().await.unwrap();
                let now = cloud.clock.now();
                runs::seize_lease(&mut tx, "enforcer", "another replica", Duration::ZERO, now).await.unwrap();
                tx.commit().await.unwrap();
                gate.open();
            };
            let (waits, ()) = tokio::join!(Box::pin(look(&cloud.app)), meanwhile);
            assert!(waits, "{command} on {}", cloud.database.kind);
            assert_eq!(answer(&cloud, asked).await, None, "{command} on {}", cloud.database.kind);
        }
        assert!(!look(&cloud.app).await);
        let (succeeded, text) = answer(&cloud, asked).await.unwrap();
        assert!(succeeded, "{text}");
    })
    .await;
}

/// Until a server that works has looked at everything once. Each round answers first; once a second one has, the first is over.
async fn a_round_passes(cloud: &Cloud) {
    let begun = Instant::now();
    for _ in 0..2 {
        let asked = ask(cloud, "nonsense", "{}").await;
        while answer(cloud, asked).await.is_none() {
            assert!(begun.elapsed() < PATIENCE);
            pause().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_clock_was_days_ahead_works_by_the_right_one_again() {
    let cloud = five_days_behind(Database::sqlite(), now()).await;
    let right = cloud.clock.now();
    cloud.clock.advance(Duration::from_hours(67));
    let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let working = tokio::spawn(server::work_until(cloud.app.clone(), wake, stop.clone(), |_: Result<(), String>| {}));
    let begun = Instant::now();
    for wanted in 1..=2 {
        let enforced = async || {
            let mut tx = cloud.app.store.read().await.unwrap();
            let runs = runs::list_runs(&mut tx, Some("enforce"), 10).await.unwrap();
            tx.commit().await.unwrap();
            runs.iter().filter(|run| run.cause == "schedule" && run.outcome.is_some()).count()
        };
        while enforced().await < wanted {
            assert!(begun.elapsed() < PATIENCE, "only {} runs", enforced().await);
            pause().await;
        }
        cloud.clock.set(right);
        a_round_passes(&cloud).await;
        // Each is due within the hour.
        cloud.clock.set(right.plus(Duration::from_hours(1)));
    }
    stop.cancel();
    working.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nudge_outlives_the_run_of_another_process() {
    on_each_database(|database| async {
        let mut cloud = five_days_behind(database, now()).await;
        for job in ["JOBS_SYNC", "JOBS_RATE", "JOBS_ENFORCE"] {
            cloud.reconfigure(job, "").await;
        }
        let theirs = another_enforces(&cloud).await;
        let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        wake.notify_one();
        let ready = |_: Result<(), String>| {};
        let working = tokio::spawn(server::work_until(cloud.app.clone(), wake, stop.clone(), ready));
        let begun = Instant::now();
        a_round_passes(&cloud).await;
        it_ends(&cloud, theirs).await;
        loop {
            let mut tx = cloud.app.store.read().await.unwrap();
            let newest = runs::list_runs(&mut tx, Some("enforce"), 1).await.unwrap().remove(0);
            tx.commit().await.unwrap();
            if newest.cause == "schedule" && newest.outcome.as_deref() == Some("done") {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{newest:?}");
            pause().await;
        }
        stop.cancel();
        working.await.unwrap();
    })
    .await;
}
