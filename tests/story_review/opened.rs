//! What a person decides in somebody's favour opens who was locked for it: a correction or a row in review, and a grant.

use bursar::{
    ids::CloudId,
    jobs::{lock::DataLock, server},
    standin::{Options, State, World},
    store::{corrections, enforcement},
    time::{Clock as _, SystemClock},
};

use super::*;
use crate::story_cli::bursar;

const HOUR: Duration = Duration::from_hours(1);

/// A cloud whose clock stands six days before the machine's, with warnings and locks armed: commands are given at the machine's now.
async fn six_days_ago(database: Database, build: impl FnOnce(&mut World, CloudId)) -> Cloud {
    let begun = (SystemClock.now().as_seconds() / 3_600 - 6 * 24) * 3_600;
    let at_once = |options: &mut Options| options.job_delay_polls = 0;
    let mut cloud = Cloud::start_tuned(database, begun, at_once, |world| {
        let bob = tenant(world, "bob");
        build(world, bob);
    })
    .await;
    let first = Day::of(Timestamp::from_seconds(begun), Tz::UTC).unwrap();
    cloud.reconfigure("BILLING_START", &first.to_string()).await;
    cloud.arm(&["notify", "lock"]).await;
    cloud
}

/// bob runs a machine: 0.107 an hour, of which 0.007 go on when it is off.
fn with_a_machine(world: &mut World, bob: CloudId) {
    let offering = world.find_offering("Small Instance").unwrap();
    let now = world.now();
    world.deploy_vm(bob, "bob-vm", offering, now);
}

/// CloudStack reports 300 hours of a machine of bob's in a window of one hour.
fn with_a_wrong_row(world: &mut World, bob: CloudId) {
    let now = world.now();
    let window = (now, Timestamp::from_ms(now.plus(HOUR).as_ms() - 1));
    let mut fields = serde_json::Map::new();
    fields.insert("usageid".to_owned(), "6f5ef948-2bf2-41ef-a22c-5abb534cb69a".into());
    world.push_usage_record(bob, 1, window, "300", fields);
    // So that the usage job has something to run for.
    world.late_event(now);
}

async fn state(cloud: &Cloud) -> State {
    let id = cloud.account("bob").await.cloud_id.parse().unwrap();
    cloud.standin.with(|world| world.account_state(id)).unwrap()
}

async fn is_held(cloud: &Cloud) -> bool {
    let bob = cloud.account("bob").await;
    let mut tx = cloud.app.store.read().await.unwrap();
    !enforcement::list_holds(&mut tx, Some(bob.id)).await.unwrap().is_empty()
}

/// The jobs that a server is asked for, in order.
async fn asked_for(cloud: &Cloud) -> Vec<String> {
    let mut tx = cloud.app.store.read().await.unwrap();
    runs::list_open_requests(&mut tx, 100).await.unwrap().into_iter().map(|request| request.kind).collect()
}

/// bob is over his limit and warned. The days pass up to an hour before the machine's now, and the run of then locks him.
async fn gets_locked(cloud: &Cloud) {
    cloud.pass(SystemClock.now().minus(HOUR).since(cloud.clock.now()));
    cloud.catch_up().await;
    let report = cloud.enforce().await;
    assert_eq!(report.locked, ["ROOT/bob"], "{report:?}");
    assert_eq!((state(cloud).await, is_held(cloud).await), (State::Locked, true));
}

/// A person gives a command while a server runs. It asks the server for these jobs, and once they are done bob is open.
async fn opens_bob(cloud: &Cloud, arguments: &[&str], jobs: &[&str]) {
    assert_eq!(asked_for(cloud).await, Vec::<String>::new());
    // On SQLite a server holds the data directory.
    let serving = DataLock::try_serve(cloud.database.folder.path()).unwrap();
    assert!(serving.is_some());
    let ran = bursar(&cloud.env, arguments).await;
    assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
    assert_eq!(asked_for(cloud).await, jobs, "after {arguments:?} on {}", cloud.database.kind);
    assert_eq!(state(cloud).await, State::Locked, "the command itself opens nobody");
    // What the server does when it looks for requests next.
    cloud.clock.set(SystemClock.now());
    assert!(!server::answer_requests(&cloud.app).await.unwrap(), "no other process is at it");
    drop(serving);
    assert_eq!(asked_for(cloud).await, Vec::<String>::new());
    let opened = (state(cloud).await, is_held(cloud).await);
    assert_eq!(opened, (State::Enabled, false), "after {arguments:?} on {}", cloud.database.kind);
    cloud.verify().await;
}

#[tokio::test]
async fn who_was_locked_is_opened_once_the_correction_that_waited_is_released() {
    on_each_database(|database| async {
        let mut cloud = six_days_ago(database, with_a_machine).await;
        cloud.reconfigure("BILLING_CORRECTION_LIMIT", "0.30").await;
        let begun = cloud.clock.now();
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("bob", "4").await;
        cloud.pass(48 * HOUR);
        cloud.round().await;
        gets_locked(&cloud).await;
        // The machine stopped after two hours, and CloudStack hears of it only now.
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let vm = world.machines_of(bob)[0];
            world.stop_vm(vm, begun.plus(2 * HOUR));
        });
        cloud.pass(HOUR);
        cloud.catch_up().await;
        let items = {
            let mut tx = cloud.app.store.read().await.unwrap();
            corrections::list_open_items(&mut tx, corrections::CORRECTION).await.unwrap()
        };
        assert_eq!(items.len(), 1, "on {}", cloud.database.kind);
        let report = cloud.enforce().await;
        assert_eq!((report.restored.len(), state(&cloud).await), (0, State::Locked), "what waits counts for nothing");
        let item = items[0].to_string();
        let release = ["review", "release", item.as_str(), "--reason", "the machine was off"];
        opens_bob(&cloud, &release, &["rate", "enforce"]).await;
    })
    .await;
}

#[tokio::test]
async fn who_was_locked_for_a_row_that_was_released_is_opened_once_it_is_rejected_or_corrected() {
    for verdict in ["reject", "correct"] {
        on_each_database(|database| async {
            let cloud = six_days_ago(database, with_a_wrong_row).await;
            cloud.pass(HOUR);
            cloud.catch_up().await;
            // It waits, and somebody releases it by mistake.
            let waits = Filter { kind: Some(Kind::MoreThanWindow), ..Filter::default() };
            let row = {
                let now = cloud.clock.now();
                let mut tx = cloud.app.store.begin().await.unwrap();
                let records = rows::list_waiting_records(&mut tx, &waits, 10).await.unwrap();
                assert_eq!(records.len(), 1, "{records:?}");
                let decided = review::decide(&mut tx, &waits, Choice::Release, ADMIN, Tz::UTC, now).await.unwrap();
                assert_eq!(decided.records, 1);
                tx.commit().await.unwrap();
                key_of(&records[0]).to_string()
            };
            cloud.catch_up().await;
            cloud.limit("bob", "25").await;
            cloud.enforce().await;
            gets_locked(&cloud).await;
            let arguments = if verdict == "reject" {
                vec!["review", "reject", "--row", row.as_str(), "--reason", "bob has no such machine"]
            } else {
                vec!["review", "correct", row.as_str(), "--quantity", "1", "--reason", "an hour has one"]
            };
            opens_bob(&cloud, &arguments, &["rate", "enforce"]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn who_was_locked_is_opened_by_the_run_after_a_grant() {
    on_each_database(|database| async {
        let cloud = six_days_ago(database, with_a_machine).await;
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("bob", "0.05").await;
        cloud.pass(HOUR);
        cloud.round().await;
        gets_locked(&cloud).await;
        opens_bob(&cloud, &["grant", "add", "bob", "500", "--reason", "sorry"], &["enforce"]).await;
    })
    .await;
}
