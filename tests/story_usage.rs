//! Usage from the stand-in to the ledger, where something is out of the ordinary.

use std::time::Duration;

use bursar::{
    cloudstack::{Client, Credentials},
    jobs::work,
    money::Money,
    progress::Quiet,
    rating::changes,
    secrets::Secret,
    standin::{Fault, FaultKind, Gate, World},
    store::{cloud, ledger, rating, runs, usage},
    time::{Clock, Day, Timestamp},
    usage::sync::{SyncReport, SyncSettings, settings, sync_usage},
};
use chrono_tz::Tz;
use serde_json::{Map, json};

use crate::harness::{Cloud, Database, NOVEMBER, PRICES, on_each_database, tenant};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Days behind 1 November 2026.
fn day(number: i64) -> Day {
    Day::from_number(NOVEMBER / 86_400 + number)
}

/// Hours behind the midnight of 1 November 2026, UTC.
fn hour(number: i64) -> Timestamp {
    Timestamp::from_seconds(NOVEMBER + number * 3_600)
}

fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

/// A cloud in which bob runs a machine since midnight: 0.10 for it, 0.005 for its address and 2 x 0.001 for its root disk,
/// which is 0.107 an hour and 2.568 a day.
async fn with_bob(database: Database) -> Cloud {
    Cloud::start(database, NOVEMBER, |world| {
        let bob = tenant(world, "bob");
        let offering = world.find_offering("Small Instance").unwrap();
        let now = world.now();
        world.deploy_vm(bob, "bob-vm", offering, now);
    })
    .await
}

async fn sync(cloud: &Cloud, full: bool) -> bursar::usage::sync::SyncReport {
    work::sync(&cloud.app, full, "test", &Quiet).await.unwrap().usage
}

async fn rate(cloud: &Cloud) -> work::RateSummary {
    work::rate(&cloud.app, None, "test", &Quiet).await.unwrap()
}

/// What is posted to an account, net, by (day, type), without zeros.
async fn posted(cloud: &Cloud, name: &str) -> Vec<(Day, i64, Money)> {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut rows: Vec<(Day, i64, Money)> = ledger::list_posted(&mut tx)
        .await
        .unwrap()
        .into_iter()
        .filter(|(owner, _, _, net, _)| *owner == account.id.get() && *net != 0)
        .map(|(_, day, kind, net, _)| (Day::from_number(day), kind, Money::from_micros(net)))
        .collect();
    rows.sort_unstable();
    rows
}

async fn posted_total(cloud: &Cloud, name: &str) -> Money {
    Money::sum(posted(cloud, name).await.into_iter().map(|(_, _, net)| net)).unwrap()
}

/// Every transfer of everybody.
async fn transfers(cloud: &Cloud) -> Vec<(String, i64)> {
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut all = Vec::new();
    for payer in cloud::list_payers(&mut tx).await.unwrap() {
        let rows = ledger::list_transfers(&mut tx, payer.id, 10_000).await.unwrap();
        all.extend(rows.into_iter().map(|row| (row.key, row.amount_micros)));
    }
    all
}

async fn quarantine(cloud: &Cloud) -> Vec<usage::Quarantined> {
    let mut tx = cloud.app.store.read().await.unwrap();
    usage::list_quarantined(&mut tx, 100).await.unwrap()
}

/// How many records are current, superseded, part and quarantined.
async fn standings(cloud: &Cloud) -> [i64; 4] {
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut counts = [0; 4];
    for (standing, records, _) in usage::count_by_standing(&mut tx).await.unwrap() {
        counts[usize::try_from(standing).unwrap()] = records;
    }
    counts
}

/// Current records of an account in November.
async fn current(cloud: &Cloud, name: &str) -> Vec<usage::RecordRow> {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    usage::list_current(&mut tx, account.id, hour(-400), hour(800), 0).await.unwrap()
}

fn write_prices(cloud: &Cloud, text: &str) {
    std::fs::write(cloud.database.folder.path().join("prices.toml"), text).unwrap();
}

#[tokio::test]
async fn a_late_event_is_found_by_counting_and_corrected() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        for _ in 0..26 {
            cloud.pass(HOUR);
        }
        sync(&cloud, false).await;
        rate(&cloud).await;
        assert_eq!(posted_total(&cloud, "bob").await, money("2.568"));
        // The machine was stopped at 20:00 of the first day, and the event comes on the second.
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let vm = world.machines_of(bob)[0];
            world.stop_vm(vm, hour(20));
        });
        cloud.pass(HOUR);
        let report = sync(&cloud, false).await;
        assert_eq!((report.late_days, report.missing_rows, report.removed_rows), (2, 0, 0), "{report:?}");
        let rated = rate(&cloud).await;
        assert_eq!(rated.posted.corrections, 1, "{rated:?}");
        // From the late event on everything came again: 20:00 to 24:00 without the machine.
        assert_eq!(posted_total(&cloud, "bob").await, money("2.168"), "on {}", cloud.database.kind);
        assert_eq!(quarantine(&cloud).await.len(), 0);
        cloud.verify().await;
        let before = transfers(&cloud).await;
        let report = sync(&cloud, true).await;
        assert_eq!((report.new_records, report.changed_records), (0, 0));
        rate(&cloud).await;
        assert_eq!(transfers(&cloud).await, before);
    })
    .await;
}

/// The usual late event is only a little late: the newest window is reported again from there on, and no window start goes
/// backwards.
#[tokio::test]
async fn a_late_event_in_the_newest_window_charges_nothing_twice() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        for _ in 0..23 {
            cloud.pass(HOUR);
        }
        cloud.standin.with(|world| {
            // 22:20, and with it a machine of alice that nobody had heard of.
            let at = hour(22).plus(Duration::from_mins(20));
            let alice = tenant(world, "alice");
            let offering = world.find_offering("Small Instance").unwrap();
            world.deploy_vm(alice, "alice-vm", offering, at);
        });
        for _ in 0..2 {
            cloud.pass(HOUR);
        }
        let report = sync(&cloud, false).await;
        assert_eq!((report.quarantined, report.missing_rows), (0, 0), "{report:?}");
        assert_eq!(standings(&cloud).await[2], 6, "the part window of bob's six records");
        rate(&cloud).await;
        assert_eq!(posted_total(&cloud, "bob").await, money("2.568"), "on {}", cloud.database.kind);
        // 1.666667 h: the machine 0.166667, its address 0.008333, its disk 0.003333.
        assert_eq!(posted_total(&cloud, "alice").await, money("0.178333"));
        cloud.verify().await;
    })
    .await;
}

/// The same across midnight, where the part window is the last of one day and the rest is of the next.
#[tokio::test]
async fn a_late_event_in_the_last_window_of_a_day_charges_nothing_twice() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        for _ in 0..24 {
            cloud.pass(HOUR);
        }
        sync(&cloud, false).await;
        rate(&cloud).await;
        cloud.standin.with(|world| world.late_event(hour(23).plus(Duration::from_mins(20))));
        cloud.pass(HOUR);
        let report = sync(&cloud, false).await;
        assert_eq!((report.late_days, report.quarantined, report.missing_rows), (1, 0, 0), "{report:?}");
        assert_eq!(rate(&cloud).await.posted.corrections, 0);
        assert_eq!(posted_total(&cloud, "bob").await, money("2.568"), "on {}", cloud.database.kind);
        cloud.verify().await;
    })
    .await;
}

/// Hours and minutes behind the midnight of 1 November 2026, UTC.
fn minute(hours: i64, minutes: u64) -> Timestamp {
    hour(hours).plus(Duration::from_mins(minutes))
}

/// A cloud like that of [`with_bob`], whose usage job reports windows of half a day that end when it runs.
async fn with_half_days(database: Database) -> Cloud {
    let cloud = with_bob(database).await;
    cloud.standin.with(|world| world.set_configuration("usage.stats.job.aggregation.range", "720"));
    cloud
}

/// The usage job runs at this instant.
fn job_at(cloud: &Cloud, now: Timestamp) {
    cloud.clock.set(now);
    cloud.standin.with(|world| world.run_usage_job(now));
}

/// alice comes to the cloud, with a machine.
fn alice_comes(cloud: &Cloud, at: Timestamp) {
    cloud.standin.with(|world| {
        let alice = tenant(world, "alice");
        let offering = world.find_offering("Small Instance").unwrap();
        world.deploy_vm(alice, "alice-vm", offering, at);
    });
}

/// Windows of half a day end when the job runs, so what is reported again lies across midnights: a window that begins on one day
/// replaces records of the next, though on the next the counts agree.
#[tokio::test]
async fn a_window_that_comes_again_across_midnight_replaces_what_it_covers_on_the_next_day() {
    on_each_database(|database| async {
        let cloud = with_half_days(database).await;
        let job = |at| job_at(&cloud, at);
        job(minute(16, 19));
        sync(&cloud, false).await;
        job(minute(27, 3));
        // alice comes on the second day, and is charged for her first hours.
        alice_comes(&cloud, minute(27, 3));
        job(minute(32, 28));
        sync(&cloud, false).await;
        rate(&cloud).await;
        // An event of the first day comes: everything since is reported again, in windows that count back from now.
        cloud.standin.with(|world| world.late_event(minute(9, 53)));
        job(minute(45, 22));
        sync(&cloud, false).await;
        rate(&cloud).await;
        let hours: i64 =
            current(&cloud, "alice").await.iter().filter(|row| row.usage_type == 1).map(|row| row.quantity).sum();
        let used = (45 * 60 + 22 - (27 * 60 + 3)) * 1_000_000 / 60;
        assert!((hours - used).abs() <= 2, "{hours} and not {used} on {}", cloud.database.kind);
        cloud.verify().await;
    })
    .await;
}

/// The same where what comes again ends in the middle of a record: it waits, on both sides of midnight, and charges nothing twice.
#[tokio::test]
async fn a_window_that_comes_again_across_midnight_and_ends_inside_a_record_waits_on_both_days() {
    on_each_database(|database| async {
        let cloud = with_half_days(database).await;
        let job = |at| job_at(&cloud, at);
        job(minute(19, 30));
        sync(&cloud, false).await;
        job(minute(25, 46));
        alice_comes(&cloud, minute(25, 46));
        for (hours, minutes) in [(34, 4), (34, 44), (45, 31)] {
            job(minute(hours, minutes));
        }
        sync(&cloud, false).await;
        rate(&cloud).await;
        // What comes again begins before midnight and ends at 34:18, between 34:04 and 34:44.
        cloud.standin.with(|world| world.late_event(minute(7, 0)));
        job(minute(46, 18));
        sync(&cloud, false).await;
        rate(&cloud).await;
        let records = current(&cloud, "alice").await;
        let mut windows: Vec<_> =
            records.iter().filter(|row| row.usage_type == 1).map(|row| (row.start_ms, row.end_ms)).collect();
        windows.sort_unstable();
        assert!(!windows.is_empty());
        // Seconds that a run ends in are shared.
        assert!(
            windows.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 1_000),
            "{windows:?} on {}",
            cloud.database.kind
        );
        cloud.verify().await;
    })
    .await;
}

/// A daily job, and an event that is days late.
#[tokio::test]
async fn a_late_event_before_daily_windows_corrects_whole_days() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            world.set_configuration("usage.stats.job.aggregation.range", "1440");
            let bob = tenant(world, "bob");
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(bob, "bob-vm", offering, now);
        })
        .await;
        for _ in 0..4 {
            cloud.pass(DAY);
        }
        sync(&cloud, false).await;
        rate(&cloud).await;
        assert_eq!(posted_total(&cloud, "bob").await, money("10.272"));
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let vm = world.machines_of(bob)[0];
            world.stop_vm(vm, hour(30));
        });
        cloud.pass(DAY);
        let report = sync(&cloud, false).await;
        assert_eq!((report.quarantined, report.missing_rows), (0, 0), "{report:?}");
        rate(&cloud).await;
        // Days 2 and 3 without the machine; day 1, of which only a part came again, as it was; day 4 without it.
        assert_eq!(posted_total(&cloud, "bob").await, money("5.640"), "{:?}", posted(&cloud, "bob").await);
        assert!(standings(&cloud).await[2] > 0);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn repeated_rows_are_counted_and_charged_once() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        for _ in 0..25 {
            cloud.pass(HOUR);
        }
        let rows = sync(&cloud, false).await.rows;
        rate(&cloud).await;
        let before = transfers(&cloud).await;
        let injected = cloud.standin.with(|world| world.inject_duplicates(hour(3), hour(9)));
        assert!(injected > 0);
        let report = sync(&cloud, false).await;
        assert_eq!((report.late_days, report.repeats, report.new_records), (1, injected as u64, 0), "{report:?}");
        rate(&cloud).await;
        assert_eq!(transfers(&cloud).await, before);
        let mut tx = cloud.app.store.read().await.unwrap();
        let raw: i64 = usage::count_by_standing(&mut tx).await.unwrap().iter().map(|(_, _, seen)| seen).sum();
        drop(tx);
        assert_eq!(u64::try_from(raw).unwrap(), rows + injected as u64);
        assert_eq!(sync(&cloud, false).await.late_days, 0, "the counts agree now");
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_sync_cut_off_anywhere_goes_on_to_the_same_ledger() {
    on_each_database(|database| async {
        let mut cloud = with_bob(database).await;
        cloud.reconfigure("CLOUDSTACK_PAGE_SIZE", "7").await;
        for _ in 0..50 {
            cloud.pass(HOUR);
        }
        let mut cuts = 0;
        for spared in [0, 3, 36, 37, 40, 60, 70] {
            cloud.standin.with(|world| {
                for _ in 0..spared {
                    world.faults().push(Fault::once("listUsageRecords", FaultKind::DelayFor(Duration::ZERO)));
                }
                let kind = if spared % 2 == 0 { FaultKind::CutAfterAction } else { FaultKind::InvalidJson };
                world.faults().push(Fault::once("listUsageRecords", kind));
            });
            cuts += u32::from(work::sync(&cloud.app, false, "test", &Quiet).await.is_err());
            cloud.standin.with(|world| world.faults().clear());
            rate(&cloud).await;
            cloud.verify().await;
        }
        assert!(cuts >= 4, "{cuts}");
        sync(&cloud, false).await;
        rate(&cloud).await;
        assert_eq!(posted_total(&cloud, "bob").await, money("5.136"), "on {}", cloud.database.kind);
        assert_eq!(sync(&cloud, true).await.new_records, 0);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_or_late_cloudstack_leaves_no_half_sync() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        for _ in 0..25 {
            cloud.pass(HOUR);
        }
        for command in ["listAccounts", "listProjects", "listUsageServerMetrics", "listUsageRecords"] {
            for kind in [FaultKind::Status(503), FaultKind::CutBeforeAction, FaultKind::Html] {
                cloud.standin.with(|world| world.faults().push(Fault::once(command, kind)));
                work::sync(&cloud.app, false, "test", &Quiet).await.unwrap_err();
                assert_eq!(standings(&cloud).await, [0; 4]);
                assert_eq!(rate(&cloud).await.posted.transfers, 0);
            }
        }
        // The usage job hangs: nothing new is closed, and nothing is lost when it goes on.
        sync(&cloud, false).await;
        cloud.standin.with(|world| world.set_usage_job_stuck(true));
        for _ in 0..30 {
            cloud.pass(HOUR);
        }
        let report = sync(&cloud, false).await;
        assert_eq!((report.new_records, report.closed_until), (0, Some(hour(25))));
        cloud.standin.with(|world| world.set_usage_job_stuck(false));
        cloud.pass(HOUR);
        assert_eq!(sync(&cloud, false).await.closed_until, Some(hour(56)));
        rate(&cloud).await;
        assert_eq!(posted_total(&cloud, "bob").await, money("5.136"));
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_usage_server_that_never_ran_is_named() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        let error = work::sync(&cloud.app, false, "test", &Quiet).await.unwrap_err().to_string();
        assert!(error.contains("has not finished a job yet"), "{error}");
        assert!(error.contains("enable.usage.server"), "{error}");
        assert_eq!(rate(&cloud).await.posted.transfers, 0);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn records_that_cloudstack_removed_are_reported_and_never_reversed() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        for _ in 0..74 {
            cloud.pass(HOUR);
        }
        sync(&cloud, false).await;
        rate(&cloud).await;
        let before = transfers(&cloud).await;
        let removed = cloud.standin.with(|world| world.remove_usage_before(day(2)));
        assert!(removed > 0);
        for full in [false, true] {
            let report = sync(&cloud, full).await;
            assert_eq!(report.removed_rows, removed as u64, "full: {full}, {report:?}");
            rate(&cloud).await;
            assert_eq!(transfers(&cloud).await, before);
            assert_eq!(posted_total(&cloud, "bob").await, money("7.704"));
        }
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_decimal_comma_and_quoted_dates_are_read() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        cloud.standin.with(|world| {
            world.locale.decimal_comma = true;
            world.locale.quoted_dates = true;
            world.locale.zone = Tz::Europe__Vienna;
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let vm = world.machines_of(bob)[0];
            world.stop_vm(vm, Timestamp::from_ms(hour(2).as_ms() + 900_000 - 1));
        });
        for _ in 0..25 {
            cloud.pass(HOUR);
        }
        let report = sync(&cloud, false).await;
        assert_eq!(report.quarantined, 0, "{:?}", quarantine(&cloud).await);
        rate(&cloud).await;
        // 2.25 h of the machine, 24 h of 0.007.
        assert_eq!(posted_total(&cloud, "bob").await, money("0.393"));
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn daily_records_of_another_zone_are_split_at_midnight() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER - 3_600, |world| {
            world.set_configuration("usage.stats.job.aggregation.range", "1440");
            world.set_configuration("usage.aggregation.timezone", "Europe/Vienna");
            let bob = tenant(world, "bob");
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(bob, "bob-vm", offering, now);
        })
        .await;
        // From 31 October 23:00 UTC, midnight in Vienna, four days.
        for _ in 0..4 {
            cloud.pass(DAY);
            sync(&cloud, false).await;
            rate(&cloud).await;
        }
        assert!(current(&cloud, "bob").await.iter().all(|row| row.end_ms - row.start_ms == 86_400_000));
        let machine: Vec<(Day, Money)> = posted(&cloud, "bob")
            .await
            .into_iter()
            .filter(|(_, kind, _)| *kind == 1)
            .map(|(day, _, net)| (day, net))
            .collect();
        // The hour of 31 October is before billing begins. The fourth day ends at 23:00 and is not closed.
        assert_eq!(machine, [(day(0), money("2.4")), (day(1), money("2.4")), (day(2), money("2.4"))]);
        assert_eq!(posted_total(&cloud, "bob").await, money("7.704"));
        let account = cloud.account("bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let charges = rating::list_charges_between(&mut tx, Some(account.id), day(-2), day(9)).await.unwrap();
        drop(tx);
        let all: i64 = charges.iter().map(|charge| charge.net_nanos).sum();
        // 95 of 96 hours.
        assert_eq!(all, 95 * 107_000_000);
        assert_eq!(sync(&cloud, true).await.new_records, 0);
        cloud.verify().await;
    })
    .await;
}

/// Daily records of UTC days, billed in Vienna, by a reader that may not list CloudStack's settings.
#[tokio::test]
async fn a_reader_that_may_not_see_the_range_loses_no_records() {
    on_each_database(|database| async {
        let mut pair = None;
        let mut cloud = Cloud::start(database, NOVEMBER, |world| {
            world.set_configuration("usage.stats.job.aggregation.range", "1440");
            let rules: Vec<(&str, bool)> = crate::harness::READER
                .iter()
                .filter(|api| **api != "listConfigurations")
                .map(|api| (*api, true))
                .chain([("*", false)])
                .collect();
            let role = world.add_role("narrow-reader", bursar::standin::RoleKind::Admin, &rules);
            pair = Some(world.add_service_account("narrow-reader", role));
            let bob = tenant(world, "bob");
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(bob, "bob-vm", offering, now);
        })
        .await;
        let (api_key, secret_key) = pair.unwrap();
        cloud.env.insert("BURSAR_CLOUDSTACK_READER_API_KEY".to_owned(), api_key);
        cloud.env.insert("BURSAR_CLOUDSTACK_READER_SECRET_KEY".to_owned(), secret_key.expose().to_owned());
        cloud.reconfigure("BILLING_ZONE", "Europe/Vienna").await;
        for _ in 0..3 {
            cloud.pass(DAY);
            let report = sync(&cloud, false).await;
            assert_eq!(report.missing_rows, 0, "{report:?}");
        }
        let machines = current(&cloud, "bob").await.iter().filter(|row| row.usage_type == 1).count();
        assert_eq!(machines, 3, "on {}", cloud.database.kind);
        rate(&cloud).await;
        // Three days in Vienna but for the first hour: 23 + 24 + 24.
        assert_eq!(posted_total(&cloud, "bob").await, money("7.597"));
        cloud.verify().await;
    })
    .await;
}

/// Windows of a range that is neither an hour nor a day end whenever the job runs (facts 3.4), so they cross midnight.
async fn odd_range(database: Database, minutes: u64) {
    let cloud = Cloud::start(database, NOVEMBER, |world| {
        world.set_configuration("usage.stats.job.aggregation.range", &minutes.to_string());
        let bob = tenant(world, "bob");
        let offering = world.find_offering("Small Instance").unwrap();
        let now = world.now();
        world.deploy_vm(bob, "bob-vm", offering, now);
    })
    .await;
    // The first run 50 minutes in: later ones never end at midnight.
    cloud.pass(Duration::from_mins(50));
    while cloud.clock.now() < hour(76) {
        cloud.pass(Duration::from_mins(minutes));
        let report = sync(&cloud, false).await;
        assert_eq!((report.missing_rows, report.removed_rows), (0, 0), "{report:?}");
        rate(&cloud).await;
    }
    let crossing =
        current(&cloud, "bob").await.iter().filter(|row| row.start_ms / 86_400_000 != row.end_ms / 86_400_000).count();
    assert_eq!(crossing, 18, "six records of each window, three times over midnight");
    for number in 0..3 {
        let rows = posted(&cloud, "bob").await;
        let sum = Money::sum(rows.into_iter().filter(|(on, _, _)| *on == day(number)).map(|(_, _, net)| net)).unwrap();
        // The windows are cut by seconds; hours are reported with six decimals.
        let difference = sum.minus(money("2.568")).unwrap().as_micros();
        assert!(difference.abs() <= 5, "{sum} on day {number}, {}", cloud.database.kind);
    }
    assert_eq!(sync(&cloud, true).await.new_records, 0);
    cloud.verify().await;
}

#[tokio::test]
async fn a_range_of_seven_hours_is_billed_by_days() {
    on_each_database(|database| odd_range(database, 420)).await;
}

#[tokio::test]
async fn a_range_of_two_hours_is_billed_by_days() {
    on_each_database(|database| odd_range(database, 120)).await;
}

#[tokio::test]
async fn three_days_without_the_job_are_caught_up() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        cloud.pass(HOUR * 5);
        sync(&cloud, false).await;
        rate(&cloud).await;
        // Neither the usage job nor bursar runs for three days; then one run reports 72 windows.
        cloud.pass(DAY * 3);
        let report = sync(&cloud, false).await;
        assert_eq!((report.late_days, report.repeats, report.quarantined), (0, 0, 0), "{report:?}");
        rate(&cloud).await;
        assert_eq!(posted_total(&cloud, "bob").await, money("7.704"));
        assert!(standings(&cloud).await[1..].iter().all(|count| *count == 0));
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn usage_of_a_deleted_account_is_charged_to_it() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        for _ in 0..10 {
            cloud.pass(HOUR);
        }
        // Deleted before bursar ever saw it.
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            world.remove_account(bob, hour(10));
        });
        for _ in 0..16 {
            cloud.pass(HOUR);
        }
        let report = sync(&cloud, false).await;
        assert_eq!(report.quarantined, 0);
        rate(&cloud).await;
        let account = cloud.account("bob").await;
        assert!(account.gone_ms.is_some());
        assert_eq!(posted_total(&cloud, "bob").await, money("1.07"), "{:?}", posted(&cloud, "bob").await);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn usage_of_a_project_goes_to_its_owner() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let project = world.add_project(bob, "bob-project");
            let offering = world.find_offering("Small Instance").unwrap();
            world.deploy_vm(project, "project-vm", offering, hour(12));
        });
        for _ in 0..25 {
            cloud.pass(HOUR);
        }
        assert_eq!(sync(&cloud, false).await.quarantined, 0);
        rate(&cloud).await;
        // A day of his own machine and half a day of the project's.
        assert_eq!(posted_total(&cloud, "bob").await, money("3.852"));
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_charged_waits_with_its_reason() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let window = (hour(0), Timestamp::from_ms(hour(1).as_ms() - 1));
            let fields = || {
                let mut fields = Map::new();
                fields.insert("usageid".to_owned(), json!("6f5ef948-2bf2-41ef-a22c-5abb534cb69a"));
                fields
            };
            // A type that nobody knows; more hours than the window has; a quantity that is no number.
            let eve = tenant(world, "eve");
            world.push_usage_record(eve, 99, window, "1", fields());
            world.push_usage_record(eve, 1, window, "1.5", fields());
            world.push_usage_record(bob, 1, window, "1.000,5", fields());
        });
        for _ in 0..25 {
            cloud.pass(HOUR);
        }
        let report = sync(&cloud, false).await;
        assert_eq!(report.quarantined, 3);
        let mut reasons: Vec<String> = quarantine(&cloud).await.into_iter().map(|row| row.reason).collect();
        reasons.sort_unstable();
        assert_eq!(reasons.len(), 2);
        assert!(reasons[0].contains("1.000,5"), "{reasons:?}");
        assert!(reasons[1].contains("usage type 99 is not known"), "{reasons:?}");
        // A record can be made of what is too much for its window.
        assert_eq!(standings(&cloud).await[3], 1);
        rate(&cloud).await;
        assert_eq!(posted_total(&cloud, "bob").await, money("2.568"));
        // They are counted, so nothing is looked for again, and a full fetch does not double them.
        assert_eq!(sync(&cloud, false).await.late_days, 0);
        sync(&cloud, true).await;
        assert_eq!((quarantine(&cloud).await.len(), standings(&cloud).await[3]), (2, 1));
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn usage_before_billing_begins_is_kept_and_never_charged() {
    on_each_database(|database| async {
        let mut cloud = with_bob(database).await;
        cloud.reconfigure("BILLING_START", "2026-11-02").await;
        for _ in 0..50 {
            cloud.pass(HOUR);
        }
        sync(&cloud, false).await;
        rate(&cloud).await;
        let days: Vec<Day> = posted(&cloud, "bob").await.into_iter().map(|(day, _, _)| day).collect();
        assert!(days.iter().all(|on| *on == day(1)), "{days:?}");
        assert_eq!(posted_total(&cloud, "bob").await, money("2.568"));
        assert_eq!(current(&cloud, "bob").await.iter().filter(|row| row.usage_type == 1).count(), 50);
        // Nor by an order to rate the past again.
        work::rate(&cloud.app, Some(day(0)), "test", &Quiet).await.unwrap();
        assert_eq!(posted_total(&cloud, "bob").await, money("2.568"));
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_price_is_listed_and_charged_once_it_is_there() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        let (without, _) = PRICES.rsplit_once("[[tariff]]").unwrap();
        write_prices(&cloud, without);
        for _ in 0..50 {
            cloud.pass(HOUR);
        }
        sync(&cloud, false).await;
        let rated = rate(&cloud).await;
        let unpriced: Vec<(&str, i64, Day, Day)> =
            rated.unpriced.iter().map(|row| (row.slug.as_str(), row.records, row.first, row.last)).collect();
        assert_eq!(unpriced, [("ip-address", 50, day(0), day(2))]);
        assert_eq!(posted_total(&cloud, "bob").await, money("4.896"));
        // The price comes: days that are closed keep the book they were closed with, until somebody approves the change; the
        // day that is not closed has its price at once.
        write_prices(&cloud, PRICES);
        let rated = rate(&cloud).await;
        assert_eq!(rated.unpriced.iter().map(|row| (row.records, row.last)).collect::<Vec<_>>(), [(48, day(1))]);
        assert_eq!(posted_total(&cloud, "bob").await, money("4.896"));
        let proposal = rated.proposal.unwrap();
        assert_eq!((proposal.charges, proposal.accounts, proposal.difference_nanos), (2, 1, 240_000_000));
        let mut tx = cloud.app.store.begin().await.unwrap();
        let now = cloud.app.clock.now();
        let by = ("alice", "the price was forgotten");
        assert_eq!(changes::settle(&mut tx, proposal.item, true, None, by, now).await.unwrap(), 2);
        tx.commit().await.unwrap();
        let rated = rate(&cloud).await;
        assert_eq!(rated.proposal, None);
        assert_eq!(rated.unpriced, Vec::new());
        assert_eq!(posted_total(&cloud, "bob").await, money("5.136"));
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_price_changes_inside_a_day() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            world.set_configuration("usage.stats.job.aggregation.range", "1440");
            let bob = tenant(world, "bob");
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(bob, "bob-vm", offering, now);
        })
        .await;
        let dated = PRICES.replace(
            "price = \"0.10\"\n",
            "price = \"0.10\"\nuntil = \"2026-11-02T12:00:00Z\"\n\n[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\n\
             price = \"0.20\"\nfrom = \"2026-11-02T12:00:00Z\"\n",
        );
        assert_ne!(dated, PRICES);
        write_prices(&cloud, &dated);
        for _ in 0..3 {
            cloud.pass(DAY);
        }
        sync(&cloud, false).await;
        rate(&cloud).await;
        let machine: Vec<Money> =
            posted(&cloud, "bob").await.into_iter().filter(|(_, kind, _)| *kind == 1).map(|(_, _, net)| net).collect();
        assert_eq!(machine, [money("2.4"), money("3.6"), money("4.8")]);
        cloud.verify().await;
    })
    .await;
}

/// A client as bursar's own, but patient and without pauses, for `reads` at once.
fn patient_client(cloud: &Cloud, reads: usize) -> Client {
    let mut settings = cloud.app.client_settings().unwrap();
    settings.read_retries = 20;
    settings.retry_pause = Duration::ZERO;
    settings.reads_at_once = reads;
    let key = |half: &str| Secret::new(cloud.env[&format!("BURSAR_CLOUDSTACK_READER_{half}_KEY")].clone());
    let credentials = Credentials { api_key: key("API"), secret_key: key("SECRET") };
    Client::new(settings, credentials, cloud.app.clock.clone()).unwrap()
}

async fn sync_with(cloud: &Cloud, client: &Client, settings: &SyncSettings) -> SyncReport {
    let clock = cloud.app.clock.as_ref();
    sync_usage(client, &cloud.app.store, clock, settings, cloud.begin_run().await, &Quiet).await.unwrap()
}

#[tokio::test]
async fn a_busy_cloudstack_is_asked_less_and_then_more_again() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        for _ in 0..50 {
            cloud.pass(HOUR);
        }
        let client = patient_client(&cloud, 4);
        let settings = SyncSettings { concurrency: 4, page_size: 7, ..cloud.app.sync_settings(false) };
        cloud.standin.with(|world| {
            for status in [429, 503] {
                let kind = FaultKind::Status(status);
                world.faults().push(Fault::once("listUsageRecords", kind).times(4));
            }
        });
        let report = sync_with(&cloud, &client, &settings).await;
        assert_eq!((report.new_records, report.missing_rows), (300, 0), "on {}", cloud.database.kind);
        let pace = client.read_pace();
        assert!(pace.halved >= 2 && pace.fewest == 1, "{pace:?}");
        assert_eq!((pace.at_once, pace.most), (4, 4), "it is restored when the trouble is over");
        assert_eq!(sync(&cloud, true).await.new_records, 0);
        rate(&cloud).await;
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_big_day_of_an_odd_range_is_fetched_in_pieces() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            world.set_configuration("usage.stats.job.aggregation.range", "35");
            let bob = tenant(world, "bob");
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(bob, "bob-vm", offering, now);
        })
        .await;
        cloud.pass(Duration::from_mins(20));
        for _ in 0..100 {
            cloud.pass(Duration::from_mins(35));
        }
        let settings = SyncSettings { page_size: 10, span_rows: 40, ..cloud.app.sync_settings(false) };
        cloud.standin.with(World::forget_calls);
        let report = sync_with(&cloud, &patient_client(&cloud, 2), &settings).await;
        let windows = 101;
        assert_eq!((report.new_records, report.missing_rows, report.removed_rows), (windows * 6, 0, 0));
        let downloads: Vec<Duration> = cloud
            .standin
            .calls()
            .into_iter()
            // Of the days before the first record a few rows come along with the margin.
            .filter(|call| call.parameters.get("page").is_some_and(|number| number == "4"))
            .map(|call| {
                let date = |name: &str| Timestamp::parse_cloudstack(&call.parameters[name]).unwrap();
                date("enddate").since(date("startdate"))
            })
            .collect();
        // A piece of an hour and its margins holds some seven windows of six records.
        let longest = downloads.iter().max().unwrap();
        assert!(*longest < HOUR * 6, "{longest:?}");
        let whole = sync(&cloud, true).await;
        assert_eq!((whole.new_records, whole.changed_records, whole.missing_rows), (0, 0, 0));
        rate(&cloud).await;
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_sync_that_is_dropped_in_the_middle_keeps_whole_spans_and_goes_on() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        for _ in 0..72 {
            cloud.pass(HOUR);
        }
        let client = patient_client(&cloud, 2);
        let settings =
            SyncSettings { page_size: 50, span_rows: 50, lookback_days: 3, ..cloud.app.sync_settings(false) };
        let gate = Gate::default();
        cloud.standin.with(|world| {
            for _ in 0..24 {
                world.faults().push(Fault::once("listUsageRecords", FaultKind::DelayFor(Duration::ZERO)));
            }
            let kind = FaultKind::DelayUntil(gate.clone());
            world.faults().push(Fault::once("listUsageRecords", kind).times(1_000));
        });
        let cut_off = tokio::spawn({
            let (client, app, settings) = (client.clone(), cloud.app.clone(), settings.clone());
            let run = cloud.begin_run().await;
            async move { sync_usage(&client, &app.store, app.clock.as_ref(), &settings, run, &Quiet).await }
        });
        // What came in before the server fell silent is stored, though pages behind it are awaited.
        let mut stored = 0;
        for _ in 0..100_000 {
            stored = standings(&cloud).await[0];
            if stored > 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(stored > 0 && stored < 432, "{stored} on {}", cloud.database.kind);
        cut_off.abort();
        assert!(cut_off.await.unwrap_err().is_cancelled());
        cloud.standin.with(|world| world.faults().clear());
        gate.open();
        rate(&cloud).await;
        cloud.verify().await;
        let report = sync_with(&cloud, &client, &settings).await;
        assert!(report.new_records > 0 && report.new_records < 432, "{report:?}");
        assert_eq!(standings(&cloud).await, [432, 0, 0, 0]);
        assert_eq!(sync(&cloud, true).await.new_records, 0);
        rate(&cloud).await;
        assert_eq!(posted_total(&cloud, "bob").await, money("7.704"), "on {}", cloud.database.kind);
        cloud.verify().await;
    })
    .await;
}

/// What a sync leaves behind: who is known and still there, up to when usage is fetched and closed, and how many records there are of
/// each standing.
async fn left_by_a_sync(cloud: &Cloud) -> (Vec<(String, bool)>, Vec<Option<String>>, [i64; 4]) {
    let counts = standings(cloud).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    let accounts = cloud::list_accounts(&mut tx).await.unwrap();
    let mut accounts: Vec<(String, bool)> =
        accounts.into_iter().map(|account| (account.name, account.gone_ms.is_none())).collect();
    accounts.sort();
    let mut noted = Vec::new();
    for key in [settings::FETCHED_UNTIL, settings::CLOSED_UNTIL] {
        noted.push(runs::find_setting(&mut tx, key).await.unwrap());
    }
    (accounts, noted, counts)
}

/// A sync stands still while a call of this command waits for its answer. Another process takes it for dead, syncs what has come
/// meanwhile, and then the first one wakes up.
async fn stood_still_at(database: Database, command: &str) {
    let cloud = with_bob(database).await;
    for _ in 0..30 {
        cloud.pass(HOUR);
    }
    cloud.pass(Duration::from_mins(57));
    let gate = Gate::default();
    let fault = Fault::once(command, FaultKind::DelayUntil(gate.clone()));
    cloud.standin.with(|world| world.faults().push(fault));
    let taking_over = async {
        while cloud.standin.with(|world| world.faults().waiting()) > 0 {
            tokio::task::yield_now().await;
        }
        cloud.standin.with(|world| {
            tenant(world, "carol");
        });
        // One more hour is closed.
        cloud.pass(Duration::from_mins(4));
        let report = sync(&cloud, false).await;
        assert_eq!(report.closed_until, Some(hour(31)), "{command}");
        let left = left_by_a_sync(&cloud).await;
        gate.open();
        left
    };
    let (stale, left) = tokio::join!(work::sync(&cloud.app, false, "test", &Quiet), taking_over);
    let told = stale.unwrap_err().to_string();
    assert!(told.starts_with("this process stood still for too long"), "{command}: {told}");
    assert!(left.0.contains(&("carol".to_owned(), true)), "{left:?}");
    assert_eq!(left_by_a_sync(&cloud).await, left, "{command} on {}", cloud.database.kind);
    let mut tx = cloud.app.store.read().await.unwrap();
    let outcomes: Vec<String> = runs::list_runs(&mut tx, Some("sync"), 9)
        .await
        .unwrap()
        .into_iter()
        .map(|run| run.outcome.unwrap_or_default())
        .collect();
    assert_eq!(outcomes, ["done", "cut-off"], "newest first");
    drop(tx);
    // And nothing stands in the way of the next one.
    let again = sync(&cloud, false).await;
    assert_eq!((again.new_records, again.missing_rows), (0, 0), "{again:?}");
    rate(&cloud).await;
    cloud.verify().await;
}

#[tokio::test]
async fn a_sync_that_stood_still_marks_no_account_gone_by_its_old_look() {
    on_each_database(|database| stood_still_at(database, "listProjects")).await;
}

#[tokio::test]
async fn a_sync_that_stood_still_does_not_take_back_how_far_usage_is_closed() {
    on_each_database(|database| stood_still_at(database, "listConfigurations")).await;
}

#[tokio::test]
async fn a_sync_that_stood_still_stores_no_records_any_more() {
    on_each_database(|database| stood_still_at(database, "listUsageRecords")).await;
}

/// The last Sunday of October has 25 hours in Vienna, whichever windows the usage job reports, and the day after 24 again.
#[tokio::test]
async fn a_day_of_twenty_five_hours_is_charged_for_twenty_five() {
    for range in ["60", "1440"] {
        on_each_database(|database| async {
            // 24 October 2026, 22:00 UTC: midnight in Vienna.
            let midnight = Timestamp::from_seconds(1_792_879_200);
            let mut cloud = Cloud::start(database, midnight.as_seconds(), |world| {
                world.set_configuration("usage.stats.job.aggregation.range", range);
                world.set_configuration("usage.aggregation.timezone", "Europe/Vienna");
                let bob = tenant(world, "bob");
                let offering = world.find_offering("Small Instance").unwrap();
                let now = world.now();
                world.deploy_vm(bob, "bob-vm", offering, now);
            })
            .await;
            cloud.reconfigure("BILLING_START", "2026-10-25").await;
            cloud.reconfigure("BILLING_ZONE", "Europe/Vienna").await;
            for _ in 0..50 {
                cloud.pass(HOUR);
            }
            sync(&cloud, false).await;
            rate(&cloud).await;
            let machine: Vec<Money> = posted(&cloud, "bob")
                .await
                .into_iter()
                .filter(|(_, kind, _)| *kind == 1)
                .map(|(_, _, net)| net)
                .collect();
            assert_eq!(machine, [money("2.5"), money("2.4")], "{range} on {}", cloud.database.kind);
            assert_eq!(sync(&cloud, true).await.new_records, 0);
            assert_eq!(rate(&cloud).await.posted.transfers, 0);
            cloud.verify().await;
        })
        .await;
    }
}

/// The job's range is changed from an hour to a day and back: every hour is charged once.
#[tokio::test]
async fn changed_settings_of_the_usage_job_lose_and_double_nothing() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        let look = async |hours: u32| {
            for _ in 0..hours {
                cloud.pass(HOUR);
            }
            sync(&cloud, false).await;
            rate(&cloud).await;
        };
        let set = |range: &str| {
            cloud.standin.with(|world| world.set_configuration("usage.stats.job.aggregation.range", range));
        };
        look(30).await;
        set("1440");
        look(60).await;
        set("60");
        look(31).await;
        assert_eq!(standings(&cloud).await[3], 0, "nothing waits");
        let net: Vec<(Day, Money)> = posted(&cloud, "bob")
            .await
            .into_iter()
            .filter(|(_, kind, _)| *kind == 1)
            .map(|(day, _, net)| (day, net))
            .collect();
        assert_eq!(net, (0..5).map(|number| (day(number), money("2.4"))).collect::<Vec<_>>(), "{net:?}");
        cloud.verify().await;
        assert_eq!(sync(&cloud, true).await.new_records, 0);
    })
    .await;
}
