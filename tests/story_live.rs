//! Live figures: what runs between two runs of CloudStack's usage job, and what becomes of the estimate.

use std::time::Duration;

use bursar::{
    estimate::{forecast::Range, live::kinds},
    ids::CloudId,
    jobs::{
        estimate::{LiveSummary, Outlook, PayerOutlook, outlook},
        work,
    },
    money::Money,
    progress::Quiet,
    standin::{Fault, FaultKind, World},
    store::live,
    time::{Clock, Timestamp},
};

use crate::{
    harness::{Cloud, Database, NOVEMBER, on_each_database, tenant},
    story_cli::{bursar, count, run_sql},
};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

/// bob's machine costs 0.107 an hour: 0.10 for itself, 0.005 for its address, 0.002 for its disk of 2 GiB.
fn with_bob(world: &mut World) {
    let bob = tenant(world, "bob");
    let offering = world.find_offering("Small Instance").unwrap();
    let now = world.now();
    world.deploy_vm(bob, "bob-vm", offering, now);
}

async fn start(database: Database) -> Cloud {
    Cloud::start(database, NOVEMBER, with_bob).await
}

async fn sync(cloud: &Cloud) -> LiveSummary {
    work::sync(&cloud.app, false, "test", &Quiet).await.unwrap().live
}

async fn look(cloud: &Cloud) -> Outlook {
    outlook(&cloud.app, None).await.unwrap()
}

async fn bobs(cloud: &Cloud) -> PayerOutlook {
    let payer = cloud.account("bob").await.payer_id;
    look(cloud).await.payers.into_iter().find(|line| line.payer == payer).unwrap()
}

/// A machine of an account.
fn machine(cloud: &Cloud, account: &str) -> CloudId {
    cloud.standin.with(|world| {
        let account = world.find_account(world.root_domain(), account).unwrap();
        world.machines_of(account)[0]
    })
}

#[tokio::test]
async fn what_runs_is_estimated_until_its_records_come() {
    on_each_database(|database| async {
        let cloud = start(database).await;
        cloud.pass(HOUR);
        let live = sync(&cloud).await;
        assert_eq!((live.poll.opened, live.poll.closed, live.notes.len()), (4, 0, 0), "{live:?}");
        cloud.clock.advance(MINUTE * 30);
        let bob = bobs(&cloud).await;
        // Half an hour since 01:00; nothing of it is in the figures that count.
        assert_eq!((bob.since, bob.live_per_day), (money("0.0535"), money("2.568")), "on {}", cloud.database.kind);
        assert_eq!(bob.lines[&kinds::RUNNING_VM].things, 1);
        work::rate(&cloud.app, None, "test", &Quiet).await.unwrap();
        assert_eq!(cloud.standing("bob").await.figures.accrued, money("0.107"));
        // The records of that hour replace it.
        cloud.pass(MINUTE * 30);
        let live = sync(&cloud).await;
        assert_eq!(live.compared, 1, "{live:?}");
        assert_eq!(bobs(&cloud).await.since, Money::ZERO);
        let mut tx = cloud.app.store.read().await.unwrap();
        let windows = live::list_windows(&mut tx, None).await.unwrap();
        assert_eq!(windows.len(), 1);
        assert_eq!((windows[0].net_nanos, windows[0].rated_nanos), (107_000_000, 107_000_000));
    })
    .await;
}

#[tokio::test]
async fn what_starts_and_stops_between_two_polls_counts_for_its_time_and_the_error_is_told() {
    on_each_database(|database| async {
        let cloud = start(database).await;
        cloud.pass(HOUR);
        sync(&cloud).await;
        // Stopped at 01:20, noticed at 01:30; another one made at 01:40, noticed at 01:45.
        let stopped = machine(&cloud, "bob");
        cloud.clock.advance(MINUTE * 20);
        cloud.standin.with(|world| world.stop_vm(stopped, world.now()));
        cloud.clock.advance(MINUTE * 10);
        assert_eq!(sync(&cloud).await.poll.closed, 1);
        cloud.clock.advance(MINUTE * 10);
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let offering = world.find_offering("Small Instance").unwrap();
            world.deploy_vm(bob, "bob-vm2", offering, world.now());
        });
        cloud.clock.advance(MINUTE * 5);
        assert_eq!(sync(&cloud).await.poll.opened, 3);
        let bob = bobs(&cloud).await;
        // 20 minutes of the first and 5 of the second; two disks, one address.
        let line = |kind: i32| (bob.lines[&kind].things, bob.lines[&kind].net_nanos);
        assert_eq!(line(kinds::RUNNING_VM), (1, 41_666_600), "on {}", cloud.database.kind);
        assert_eq!(line(kinds::ALLOCATED_VM).0, 2);
        assert_eq!(line(kinds::IP_ADDRESS), (1, 3_750_000));
        assert_eq!(line(kinds::VOLUME), (2, 1_500_000 + 166_666));
        // Nobody looks again before 02:00, and the second machine is stopped at 01:50: the estimate is too high by
        // ten minutes of it.
        let second = cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            world.machines_of(bob)[1]
        });
        cloud.clock.advance(MINUTE * 5);
        cloud.standin.with(|world| world.stop_vm(second, world.now()));
        cloud.pass(MINUTE * 10);
        assert_eq!(sync(&cloud).await.compared, 1);
        let mut tx = cloud.app.store.read().await.unwrap();
        let window = live::list_windows(&mut tx, None).await.unwrap()[0];
        let off = window.rated_nanos - window.net_nanos;
        assert!((off + 16_666_667).abs() < 1_000, "{window:?}");
    })
    .await;
}

#[tokio::test]
async fn a_list_that_is_not_allowed_is_said_and_fails_nothing() {
    on_each_database(|database| async {
        let cloud = start(database).await;
        cloud.pass(HOUR);
        sync(&cloud).await;
        cloud.standin.with(|world| {
            let role = world.find_role("bursar-reader").unwrap();
            world.add_first_rule(role, "listVolumes", false);
        });
        cloud.pass(HOUR);
        let live = sync(&cloud).await;
        assert_eq!(live.notes, ["not estimated: the reader's role does not allow listVolumes"]);
        cloud.clock.advance(MINUTE * 30);
        let bob = bobs(&cloud).await;
        assert!(!bob.lines.contains_key(&kinds::VOLUME) && bob.lines.contains_key(&kinds::RUNNING_VM));
        assert_eq!(bob.since, money("0.0525"));
        assert!(look(&cloud).await.notes.iter().any(|note| note.contains("listVolumes")));
    })
    .await;
}

#[tokio::test]
async fn a_list_that_fails_leaves_the_one_before() {
    on_each_database(|database| async {
        let mut cloud = start(database).await;
        cloud.reconfigure("CLOUDSTACK_TIMEOUT_SECONDS", "1").await;
        cloud.pass(HOUR);
        sync(&cloud).await;
        let gate = bursar::standin::Gate::default();
        for kind in [
            FaultKind::Status(503),
            FaultKind::CutAfterAction,
            FaultKind::InvalidJson,
            FaultKind::EmptyOk { acted: false },
            FaultKind::DelayUntil(gate.clone()),
        ] {
            cloud.standin.with(|world| world.faults().push(Fault::once("listVirtualMachines", kind)));
            let live = sync(&cloud).await;
            assert_eq!((live.poll.closed, live.notes.len()), (0, 1), "{live:?}");
            assert!(live.notes[0].starts_with("not read this time: "), "{live:?}");
            assert_eq!(bobs(&cloud).await.lines[&kinds::RUNNING_VM].things, 1);
        }
        gate.open();
        assert_eq!(sync(&cloud).await.notes, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn what_vanishes_between_two_pages_is_not_mistaken_for_the_rest() {
    on_each_database(|database| async {
        let cloud = Cloud::start_tuned(
            database,
            NOVEMBER,
            |options| options.page_limit = 2,
            |world| {
                with_bob(world);
                let bob = world.find_account(world.root_domain(), "bob").unwrap();
                let offering = world.find_offering("Small Instance").unwrap();
                let now = world.now();
                for number in 0..4 {
                    world.deploy_vm(bob, &format!("more-{number}"), offering, now);
                }
            },
        )
        .await;
        cloud.pass(HOUR);
        sync(&cloud).await;
        assert_eq!(bobs(&cloud).await.lines[&kinds::RUNNING_VM].things, 5);
        // The first machine goes while the second page is on its way: the rest moves up, and one row is never seen.
        let gone = machine(&cloud, "bob");
        cloud.standin.with(|world| world.faults().push(Fault::once("listVirtualMachines", FaultKind::Vanishes(gone))));
        let live = sync(&cloud).await;
        assert_eq!(live.notes, Vec::<String>::new(), "read again, and then it held still");
        assert_eq!(bobs(&cloud).await.lines[&kinds::RUNNING_VM].things, 4, "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn projects_count_to_the_account_that_owns_them() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            with_bob(world);
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let project = world.add_project(bob, "lab");
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(project, "lab-vm", offering, now);
        })
        .await;
        cloud.pass(HOUR);
        sync(&cloud).await;
        cloud.clock.advance(HOUR);
        let bob = bobs(&cloud).await;
        assert_eq!((bob.lines[&kinds::RUNNING_VM].things, bob.since), (2, money("0.214")));
    })
    .await;
}

#[tokio::test]
async fn a_clock_before_the_end_of_usage_estimates_nothing() {
    on_each_database(|database| async {
        let cloud = start(database).await;
        cloud.pass(HOUR * 3);
        sync(&cloud).await;
        cloud.clock.set(Timestamp::from_seconds(NOVEMBER + 3_600));
        let live = sync(&cloud).await;
        assert_eq!((live.poll.opened, live.poll.closed), (0, 0));
        let outlook = look(&cloud).await;
        assert!(outlook.notes.iter().any(|note| note.contains("clock")), "{:?}", outlook.notes);
        let bob = bobs(&cloud).await;
        assert_eq!((bob.since, bob.live_per_day), (Money::ZERO, money("2.568")));
    })
    .await;
}

#[tokio::test]
async fn the_month_is_foreseen_with_a_range() {
    on_each_database(|database| async {
        let cloud = start(database).await;
        for _ in 0..50 {
            cloud.pass(HOUR);
        }
        cloud.catch_up().await;
        cloud.limit("bob", "20").await;
        let forecast = bobs(&cloud).await.forecast.unwrap();
        // Two closed days alike: 2.568 a day, 30 days, with tax as configured (none).
        let same = |amount: &str| Range { low: money(amount), expected: money(amount), high: money(amount) };
        assert_eq!(forecast.per_day, same("2.568"), "on {}", cloud.database.kind);
        assert_eq!(forecast.month, same("77.04"));
        // 20 less 50 hours at 0.107 is 14.65.
        assert_eq!(forecast.days_left.expected, Some(5));
        // A second machine: from now on 4.992 a day (0.107 more, its network's address is shared), at once.
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let offering = world.find_offering("Small Instance").unwrap();
            world.deploy_vm(bob, "bob-vm2", offering, world.now());
        });
        sync(&cloud).await;
        let forecast = bobs(&cloud).await.forecast.unwrap();
        assert_eq!(forecast.per_day.expected, money("5.016"));
        assert_eq!(forecast.days_left.expected, Some(2));
    })
    .await;
}

#[tokio::test]
async fn what_two_complete_lists_lack_is_gone_and_what_comes_back_is_not() {
    on_each_database(|database| async {
        let cloud = start(database).await;
        cloud.pass(HOUR);
        sync(&cloud).await;
        let vm = machine(&cloud, "bob");
        let gone = async || {
            let mut tx = cloud.app.store.read().await.unwrap();
            live::count_gone(&mut tx).await.unwrap()
        };
        cloud.clock.advance(MINUTE * 10);
        cloud.standin.with(|world| world.destroy_vm(vm, world.now()));
        cloud.clock.advance(MINUTE * 10);
        let first = cloud.clock.now();
        assert_eq!((sync(&cloud).await.poll.gone, gone().await), (0, 0));
        // A list that fails between the two says nothing.
        cloud.standin.with(|world| world.faults().push(Fault::once("listVirtualMachines", FaultKind::Status(503))));
        cloud.clock.advance(MINUTE);
        sync(&cloud).await;
        cloud.clock.advance(MINUTE);
        sync(&cloud).await;
        // The machine and its disk; the address stays with the network.
        assert_eq!(gone().await, 2, "on {}", cloud.database.kind);
        let sql = format!("update resource set name = 'checked' where gone_ms = {}", first.as_ms());
        run_sql(&cloud, &sql).await;
        assert_eq!(count(&cloud, "resource where name = 'checked'").await, 2);
        // Should CloudStack show it again, it is not gone.
        cloud.standin.with(|world| world.recover_vm(vm, world.now()));
        sync(&cloud).await;
        assert_eq!(gone().await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_command_says_that_it_is_an_estimate_and_how_good_it_was() {
    on_each_database(|database| async {
        let cloud = crate::story_cli::cloud(database).await;
        cloud.catch_up().await;
        let ran = bursar(&cloud.env, &["--json", "estimate", "bob"]).await.json();
        assert_eq!(ran["estimate"], true);
        assert_eq!(ran["payers"][0]["live_per_day"], "2.57");
        assert_eq!(ran["lists"].as_array().unwrap().len(), 3);
        let ran = bursar(&cloud.env, &["estimate"]).await;
        assert!(ran.out.contains("Not part of Available"), "{}", ran.out);
        let ran = bursar(&cloud.env, &["estimate", "--error"]).await;
        assert!(ran.out.contains("Nothing to compare yet"), "{}", ran.out);
        bursar(&cloud.env, &["estimate", "nobody"]).await.refused(&["nobody"]);
    })
    .await;
}
