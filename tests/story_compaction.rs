//! Old usage records become daily sums: nothing that was charged changes, nothing is charged twice or not at all, and every
//! part that reads records knows of the days that have none any more.

mod sizes;

use std::time::Duration;

use bursar::{
    cloudstack::UsageRow,
    ids::RunId,
    jobs::work::{self, RateSummary},
    money::Money,
    progress::Quiet,
    rating::{
        TierUse,
        desk::{self, Desk, Under},
        explain,
    },
    store::{
        Store, StoreError, compaction, ledger, rating,
        review::{self as review_rows, Filter},
        usage,
    },
    time::{Clock as _, Day, Timestamp},
    usage::{
        compact,
        correct::{self, Correction},
        ingest::{self, Downloaded, Spans},
        review::{self, Author, Choice, NewRule, RowRef},
        review_kind::Kind,
    },
};
use chrono_tz::Tz;
use rust_decimal::Decimal;

use crate::{
    harness::{Cloud, Database, NOVEMBER, PRICES, on_each_database, tenant},
    story_cli::{self, bursar, run_sql},
};

const DAY: Duration = Duration::from_hours(24);
const ADMIN: Author<'static> = Author { name: "cli:admin", reason: "looked at it" };

fn day(number: i64) -> Day {
    Day::from_number(NOVEMBER / 86_400 + number)
}

fn at(hours: i64) -> Timestamp {
    Timestamp::from_seconds(NOVEMBER + hours * 3_600)
}

/// A cloud in which alice and bob run a machine each, with records kept for the 37 days that are the least here.
async fn with_tenants(database: Database) -> Cloud {
    let mut cloud = Cloud::start(database, NOVEMBER, |world| {
        let offering = world.find_offering("Small Instance").unwrap();
        for name in ["alice", "bob"] {
            let account = tenant(world, name);
            let now = world.now();
            world.deploy_vm(account, &format!("{name}-vm"), offering, now);
        }
    })
    .await;
    cloud.reconfigure("BILLING_LOOKBACK_DAYS", "2").await;
    cloud.reconfigure("BILLING_KEEP_RECORDS_DAYS", "37").await;
    cloud
}

/// Forty days later: the first three days are older than 37 days. Nothing is rated yet.
async fn forty_days_later(database: Database) -> Cloud {
    let cloud = with_tenants(database).await;
    cloud.pass(DAY * 40);
    work::sync(&cloud.app, false, "test", &Quiet).await.unwrap();
    cloud
}

async fn rate(cloud: &Cloud) -> RateSummary {
    work::rate(&cloud.app, None, "test", &Quiet).await.unwrap()
}

async fn posted(cloud: &Cloud) -> Vec<(i64, i64, i64, i64, i64)> {
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut rows = ledger::list_posted(&mut tx).await.unwrap();
    rows.sort_unstable();
    rows
}

/// What is charged of an account: the records that are left, by type, and the daily sums.
async fn quantities(cloud: &Cloud, name: &str) -> Vec<(i64, i64)> {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut sums = std::collections::BTreeMap::<i64, i64>::new();
    for row in usage::list_current(&mut tx, account.id, at(-48), at(2_000), 0).await.unwrap() {
        *sums.entry(row.usage_type).or_default() += row.quantity;
    }
    sums.into_iter().collect()
}

/// All of the tables of compaction, as text.
async fn dump(store: &Store) -> String {
    let mut tx = store.read().await.unwrap();
    let mut text = String::new();
    for table in ["usage_daily", "compaction", "usage_day", "usage_record", "record_verdict", "day_to_rate"] {
        let sql = format!("select count(*) from {table}");
        let count: i64 = match &mut tx {
            bursar::store::Tx::Sqlite(conn) => {
                sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut **conn).await.unwrap()
            }
            bursar::store::Tx::Postgres(conn) => {
                sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut **conn).await.unwrap()
            }
        };
        text.push_str(&format!("{table} {count}\n"));
    }
    for account in bursar::store::cloud::list_accounts(&mut tx).await.unwrap() {
        let digests: std::collections::BTreeMap<_, _> =
            compaction::list_digests(&mut tx, account.id).await.unwrap().into_iter().collect();
        text.push_str(&format!("{} {digests:?}\n", account.name));
        for number in 0..45 {
            let sums = compaction::list_sums(&mut tx, account.id, day(number)).await.unwrap();
            if !sums.is_empty() {
                text.push_str(&format!("{} {number} {sums:?}\n", account.name));
            }
        }
    }
    text
}

#[tokio::test]
async fn old_days_become_daily_sums_and_what_was_charged_stays() {
    on_each_database(|database| async {
        let mut cloud = forty_days_later(database).await;
        let kind = cloud.database.kind;
        // Rated first with nothing old enough, then as configured.
        cloud.reconfigure("BILLING_KEEP_RECORDS_DAYS", "400").await;
        assert_eq!(rate(&cloud).await.compacted.days, 0);
        let (before, charged) = (posted(&cloud).await, cloud.standing("bob").await.figures);
        let records = story_cli::count(&cloud, "usage_record").await;
        let bob = cloud.account("bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let period = day(0).period(Tz::UTC).unwrap();
        let keys: Vec<Vec<u8>> = compaction::list_charged(&mut tx, bob.id, period, at(-1_000))
            .await
            .unwrap()
            .into_iter()
            .filter(|record| record.usage_type == 1)
            .map(|record| record.key)
            .collect();
        tx.commit().await.unwrap();

        cloud.reconfigure("BILLING_KEEP_RECORDS_DAYS", "37").await;
        let compacted = rate(&cloud).await.compacted;
        assert_eq!((compacted.days, compacted.held_accounts), (6, 0), "on {kind}: {compacted:?}");
        assert_eq!(story_cli::count(&cloud, "usage_record").await, records - i64::try_from(compacted.records).unwrap());
        assert_eq!(story_cli::count(&cloud, "usage_daily").await, i64::try_from(compacted.sums).unwrap());
        assert!(compacted.sums * 20 < compacted.records, "{compacted:?}");
        assert_eq!(posted(&cloud).await, before);
        assert_eq!(cloud.standing("bob").await.figures, charged);
        let mut tx = cloud.app.store.read().await.unwrap();
        let sums = compaction::list_sums(&mut tx, bob.id, day(0)).await.unwrap();
        let machine = sums.iter().find(|sum| sum.usage_type == 1).unwrap();
        assert_eq!((machine.records, machine.quantity, machine.name.as_str()), (24, 24_000_000, "bob-vm"));
        assert!(compaction::list_sums(&mut tx, bob.id, day(3)).await.unwrap().is_empty());
        // The hash of the first day's records is the beginning of the chain.
        let (count, digest) = compaction::list_digests(&mut tx, bob.id).await.unwrap().remove(&1).unwrap();
        assert_eq!((count, keys.len()), (72, 24));
        assert_eq!(digest.len(), 32);
        tx.commit().await.unwrap();
        cloud.verify().await;
        let report = work::verify(&cloud.app).await.unwrap();
        assert_eq!(report.summed_up, 6);

        // Again: a run that was cut off goes on where it was, and one that was not changes nothing.
        let after = dump(&cloud.app.store).await;
        assert_eq!(rate(&cloud).await.compacted, compact::CompactReport::default());
        assert_eq!(dump(&cloud.app.store).await, after);
        // A whole fetch of the look-back changes nothing either.
        let synced = work::sync(&cloud.app, true, "test", &Quiet).await.unwrap().usage;
        assert_eq!((synced.new_records, synced.changed_records, synced.quarantined, synced.removed_rows), (0, 0, 0, 0));
        assert!(synced.late_days > 0);
        assert_eq!(dump(&cloud.app.store).await, after);
        // The next day.
        cloud.pass(DAY);
        cloud.catch_up().await;
        assert_ne!(dump(&cloud.app.store).await, after);
        cloud.verify().await;
    })
    .await;
}

/// Each day is a transaction: killed after any of them, the next run comes to the same end.
#[tokio::test]
async fn days_summed_up_one_by_one_and_all_at_once_are_the_same() {
    let dumps = std::sync::Mutex::new(Vec::new());
    on_each_database(|database| async {
        let mut cloud = forty_days_later(database).await;
        for keep in ["39", "38", "37"] {
            cloud.reconfigure("BILLING_KEEP_RECORDS_DAYS", keep).await;
            assert_eq!(rate(&cloud).await.compacted.days, 2, "on {}", cloud.database.kind);
        }
        let one_by_one = dump(&cloud.app.store).await;
        dumps.lock().unwrap().push(one_by_one);
    })
    .await;
    on_each_database(|database| async {
        let cloud = forty_days_later(database).await;
        assert_eq!(rate(&cloud).await.compacted.days, 6, "on {}", cloud.database.kind);
        let at_once = dump(&cloud.app.store).await;
        dumps.lock().unwrap().push(at_once);
    })
    .await;
    let dumps = dumps.into_inner().unwrap();
    let (one_by_one, at_once) = dumps.split_at(dumps.len() / 2);
    assert_eq!(one_by_one[0], at_once[0]);
    assert_eq!(one_by_one, at_once);
}

#[tokio::test]
async fn a_day_that_is_summed_up_is_never_rated_again() {
    on_each_database(|database| async {
        let cloud = forty_days_later(database).await;
        rate(&cloud).await;
        let before = posted(&cloud).await;
        let bob = cloud.account("bob").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let charges = rating::list_charge_days(&mut tx, bob.id, day(1)).await.unwrap();
        usage::mark_to_rate(&mut tx, bob.id, day(1)).await.unwrap();
        tx.commit().await.unwrap();
        let rated = rate(&cloud).await;
        assert_eq!((rated.rated.days, rated.posted.transfers), (0, 0), "on {}", cloud.database.kind);
        let mut tx = cloud.app.store.read().await.unwrap();
        assert_eq!(rating::list_charge_days(&mut tx, bob.id, day(1)).await.unwrap(), charges);
        assert_eq!(rating::count_days_to_rate(&mut tx).await.unwrap(), 0);
        // Nor by anybody else who asks for a price.
        let settings = cloud.app.noted_rate_settings(&mut tx).await.unwrap().unwrap();
        let desk = Desk::open(&mut tx, settings).await.unwrap();
        let book_id = bursar::ids::PriceBookId::new(charges[0].book_id);
        let book = desk.book(&mut tx, book_id).await.unwrap();
        let refused = desk
            .price_day(&mut tx, (book_id, &book), (bob.id, day(1)), &charges, (TierUse::default(), Under::Kept))
            .await;
        assert!(matches!(refused, Err(desk::Error::SummedUp(account, on)) if account == bob.id && on == day(1)));
        tx.commit().await.unwrap();
        assert_eq!(posted(&cloud).await, before);
        // A payer whose billing begins later all of a sudden: the days that are closed for good stay.
        let mut tx = cloud.app.store.begin().await.unwrap();
        let cause = bursar::ledger::post::Cause { key: "start", author: "test", reason: "story" };
        let now = cloud.clock.now();
        let marked =
            bursar::ledger::payers::set_billing_start(&mut tx, bob.payer_id, Some(day(5)), Tz::UTC, cause, now)
                .await
                .unwrap();
        tx.commit().await.unwrap();
        assert!(marked >= 40, "{marked}");
        rate(&cloud).await;
        let mut tx = cloud.app.store.read().await.unwrap();
        assert_eq!(rating::list_charge_days(&mut tx, bob.id, day(1)).await.unwrap(), charges);
        assert_eq!(rating::count_days_to_rate(&mut tx).await.unwrap(), 0);
        tx.commit().await.unwrap();
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_change_of_past_prices_leaves_summed_up_days_out_and_says_so() {
    on_each_database(|database| async {
        let cloud = forty_days_later(database).await;
        rate(&cloud).await;
        for prices in [
            PRICES.replace("price = \"0.10\"", "price = \"0.20\""),
            PRICES.replace("price = \"0.10\"", "tiers = [{ up_to = \"80\", price = \"0.10\" }, { price = \"0.01\" }]"),
        ] {
            std::fs::write(cloud.database.folder.path().join("prices.toml"), prices).unwrap();
            let proposal = rate(&cloud).await.proposal.unwrap();
            assert_eq!(proposal.summed_up, 6, "on {}", cloud.database.kind);
            let mut tx = cloud.app.store.read().await.unwrap();
            let item = review_rows::get_item(&mut tx, proposal.item).await.unwrap();
            assert!(item.reason.contains("6 older account days are left out"), "{}", item.reason);
            assert!(item.first_day.unwrap() >= day(3).number());
            tx.commit().await.unwrap();
            cloud.verify().await;
        }
    })
    .await;
}

#[tokio::test]
async fn verify_finds_sums_that_are_not_those_of_their_charge() {
    on_each_database(|database| async {
        let cloud = forty_days_later(database).await;
        rate(&cloud).await;
        run_sql(&cloud, "update usage_daily set records = records + 1, ended = ended + 1 where usage_type = 1").await;
        let findings = work::verify(&cloud.app).await.unwrap().findings;
        let of = |check: &str| findings.iter().filter(|finding| finding.check == check).count();
        assert_eq!((of("charge-sums"), of("compaction"), findings.len()), (6, 2, 8), "{findings:?}");
        run_sql(&cloud, "update usage_day set compacted = 0").await;
        let findings = work::verify(&cloud.app).await.unwrap().findings;
        assert_eq!(findings.iter().filter(|finding| finding.check == "day-count").count(), 3, "{findings:?}");
    })
    .await;
}

/// A row of bob's over ten minutes of an hour, as CloudStack would report it late.
async fn late_row(cloud: &Cloud, hour: i64, raw: &str) -> UsageRow {
    let (start, end) = odd_window(hour);
    UsageRow {
        account: Some("bob".to_owned()),
        account_id: Some(cloud.account("bob").await.cloud_id),
        usage_type: Some(1),
        raw_usage: Some(raw.to_owned()),
        usage_id: Some("00000000-0000-4000-8000-000000000bad".to_owned()),
        start_date: Some(start.to_cloudstack()),
        end_date: Some(Timestamp::from_seconds(end.as_seconds() - 1).to_cloudstack()),
        ..UsageRow::default()
    }
}

/// Ten minutes in which nothing else begins.
fn odd_window(hour: i64) -> (Timestamp, Timestamp) {
    let minute = |number: i64| Timestamp::from_seconds(at(hour).as_seconds() + number * 60);
    (minute(10), minute(20))
}

/// Stores it as if just its window had been asked for.
async fn store_row(cloud: &Cloud, hour: i64, row: UsageRow) -> ingest::Stored {
    let (start, end) = odd_window(hour);
    let span = bursar::time::Period::new(start, end).unwrap();
    let spans = Spans { span, zone: Tz::UTC, advance: false };
    let downloaded = Downloaded { rows: vec![row], unreadable: 0 };
    let run = cloud.begin_run().await;
    ingest::store_span(&cloud.app.store, downloaded, spans, run, cloud.clock.now()).await.unwrap()
}

#[tokio::test]
async fn a_run_that_was_cut_off_sums_nothing_up_any_more() {
    on_each_database(|database| async {
        let mut cloud = forty_days_later(database).await;
        cloud.reconfigure("BILLING_KEEP_RECORDS_DAYS", "400").await;
        rate(&cloud).await;
        cloud.reconfigure("BILLING_KEEP_RECORDS_DAYS", "37").await;
        let before = dump(&cloud.app.store).await;
        let (old, new) = (cloud.begin_run().await, cloud.begin_run().await);
        let (settings, now) = (cloud.app.compact_settings(), cloud.clock.now());
        let sum_up = async |run: RunId| compact::compact_days(&cloud.app.store, settings, (run, now)).await;
        assert!(matches!(sum_up(old).await, Err(StoreError::TakenOver)));
        assert_eq!(dump(&cloud.app.store).await, before, "on {}", cloud.database.kind);
        assert!(sum_up(new).await.unwrap().days > 0);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn what_begins_before_the_mark_waits_and_can_only_be_rejected() {
    on_each_database(|database| async {
        let cloud = forty_days_later(database).await;
        rate(&cloud).await;
        let before = posted(&cloud).await;
        let row = late_row(&cloud, 30, "0.1").await;
        assert_eq!(store_row(&cloud, 30, row.clone()).await.quarantined, 1, "on {}", cloud.database.kind);
        // Of a type that the account never had, too.
        store_row(&cloud, 31, UsageRow { usage_type: Some(11), ..late_row(&cloud, 31, "0.1").await }).await;
        cloud.verify().await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let filter = Filter { kind: Some(Kind::BeforeCompaction), ..Filter::default() };
        assert_eq!(review_rows::list_waiting_records(&mut tx, &filter, 10).await.unwrap().len(), 2);
        let now = cloud.clock.now();
        let refused = review::decide(&mut tx, &filter, Choice::Release, ADMIN, Tz::UTC, now).await.unwrap_err();
        assert!(matches!(refused, review::Error::SummedUp(_)), "{refused}");
        let rule = NewRule { kind: Kind::BeforeCompaction, usage_type: None, account: None, choice: Choice::Release };
        assert!(matches!(review::add_rule(&mut tx, rule, ADMIN, now).await, Err(review::Error::NoRule { .. })));
        let decided = review::decide(&mut tx, &filter, Choice::Reject, ADMIN, Tz::UTC, now).await.unwrap();
        assert_eq!(decided.records, 2);
        tx.commit().await.unwrap();
        // Rejected, it goes with the next day of the account, and is counted as gone.
        cloud.pass(DAY);
        cloud.catch_up().await;
        assert_eq!(posted(&cloud).await[..before.len().min(6)], before[..before.len().min(6)]);
        assert_eq!(story_cli::count(&cloud, "record_verdict").await, 0);
        cloud.verify().await;
        // What comes in the time that is not closed is charged as ever.
        assert_eq!(store_row(&cloud, 40 * 24 - 30, late_row(&cloud, 40 * 24 - 30, "0.1").await).await.quarantined, 0);
    })
    .await;
}

#[tokio::test]
async fn what_waits_keeps_the_records_of_its_account_and_of_nobody_else() {
    on_each_database(|database| async {
        let cloud = forty_days_later(database).await;
        // More hours than the window holds.
        assert_eq!(store_row(&cloud, 30, late_row(&cloud, 30, "2").await).await.quarantined, 1);
        let compacted = rate(&cloud).await.compacted;
        assert_eq!((compacted.days, compacted.held_accounts), (4, 1), "on {}: {compacted:?}", cloud.database.kind);
        let held = &compacted.held[0];
        assert_eq!((held.account, held.day), (cloud.account("bob").await.id, day(1)));
        assert_eq!(held.reason, "records of it wait in review");
        cloud.verify().await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let filter = Filter { kind: Some(Kind::MoreThanWindow), ..Filter::default() };
        let now = cloud.clock.now();
        review::decide(&mut tx, &filter, Choice::Release, ADMIN, Tz::UTC, now).await.unwrap();
        tx.commit().await.unwrap();
        // Released, it is charged first, and goes then.
        let rated = rate(&cloud).await;
        assert_eq!((rated.posted.corrections, rated.compacted.days), (1, 2));
        let bob = cloud.account("bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let sums = compaction::list_sums(&mut tx, bob.id, day(1)).await.unwrap();
        let machines: i64 = sums.iter().filter(|sum| sum.usage_type == 1).map(|sum| sum.quantity).sum();
        assert_eq!(machines, 26_000_000);
        tx.commit().await.unwrap();
        assert_eq!(story_cli::count(&cloud, "record_verdict").await, 0);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_row_that_can_not_be_read_keeps_its_day_and_is_no_record_any_more_afterwards() {
    on_each_database(|database| async {
        let cloud = forty_days_later(database).await;
        assert_eq!(store_row(&cloud, 30, late_row(&cloud, 30, "much").await).await.quarantined, 1);
        let compacted = rate(&cloud).await.compacted;
        assert_eq!((compacted.days, compacted.held_accounts), (4, 1), "on {}: {compacted:?}", cloud.database.kind);
        assert_eq!(compacted.held[0].reason, "rows of it that could not be read wait in review");
        let mut tx = cloud.app.store.begin().await.unwrap();
        let filter = Filter { kind: Some(Kind::Unreadable), ..Filter::default() };
        let row = RowRef::Raw(review_rows::list_waiting_raw(&mut tx, &filter, 10).await.unwrap()[0].id);
        let now = cloud.clock.now();
        review::decide(&mut tx, &filter, Choice::Reject, ADMIN, Tz::UTC, now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(rate(&cloud).await.compacted.days, 2);
        let mut tx = cloud.app.store.begin().await.unwrap();
        let correction = Correction { quantity: "0.1".parse().unwrap(), usage_type: None, account: None };
        let refused = correct::correct(&mut tx, row, correction, ADMIN, Tz::UTC, now).await;
        assert!(matches!(refused, Err(review::Error::SummedUp(_))), "{refused:?}");
        drop(tx);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn records_across_midnight_are_shared_out_and_go_with_their_last_day() {
    on_each_database(|database| async {
        let mut cloud = with_tenants(database).await;
        // Midnight falls into the middle of an hour there.
        cloud.reconfigure("BILLING_ZONE", "Asia/Kolkata").await;
        cloud.pass(DAY * 40);
        cloud.reconfigure("BILLING_KEEP_RECORDS_DAYS", "400").await;
        cloud.catch_up().await;
        let before = quantities(&cloud, "bob").await;
        let export = async |cloud: &Cloud| -> Vec<(String, Decimal)> {
            let arguments =
                ["export", "csv", "usage", "--from", "2026-10-31", "--to", "2027-01-01", "--account", "bob"];
            let ran = bursar(&cloud.env, &arguments).await;
            assert_eq!(ran.code, 0, "{}", ran.err);
            let mut csv = csv::ReaderBuilder::new().from_reader(ran.out.as_bytes());
            let head = csv.headers().unwrap().clone();
            let place = |name: &str| head.iter().position(|column| column == name).unwrap();
            let mut sums = std::collections::BTreeMap::<String, Decimal>::new();
            for row in csv.records() {
                let row = row.unwrap();
                let summed_up = &row[place("summed_up")] == "yes";
                assert_eq!(summed_up, row[place("record")].starts_with("sum-"));
                assert_eq!(summed_up, row[place("raw_rows")].is_empty());
                assert_eq!(!summed_up, &row[place("records")] == "1" && row[place("record")].len() == 32);
                *sums.entry(row[place("usage_type")].to_owned()).or_default() +=
                    row[place("quantity")].parse::<Decimal>().unwrap();
            }
            sums.into_iter().collect()
        };
        let exported = export(&cloud).await;
        cloud.reconfigure("BILLING_KEEP_RECORDS_DAYS", "37").await;
        let compacted = rate(&cloud).await.compacted;
        assert!(compacted.days >= 6 && compacted.held_accounts == 0, "on {}: {compacted:?}", cloud.database.kind);
        cloud.verify().await;
        assert_eq!(export(&cloud).await, exported, "on {}", cloud.database.kind);
        // Records over the edge are there still, their first part is in the sums.
        let bob = cloud.account("bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let mut sums = std::collections::BTreeMap::<i64, i64>::new();
        for number in -1..45 {
            for sum in compaction::list_sums(&mut tx, bob.id, day(number)).await.unwrap() {
                *sums.entry(sum.usage_type).or_default() += sum.quantity;
            }
        }
        tx.commit().await.unwrap();
        let left = quantities(&cloud, "bob").await;
        for (usage_type, whole) in before {
            let rest = left.iter().find(|row| row.0 == usage_type).map_or(0, |row| row.1);
            let twice = sums[&usage_type] + rest - whole;
            assert_eq!(twice, 500_000, "half an hour of type {usage_type} stands in both");
        }
        // Day by day to the end: each record's parts sum up to it.
        for _ in 0..2 {
            cloud.pass(DAY);
            cloud.catch_up().await;
            cloud.verify().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_day_that_is_summed_up_is_explained_by_its_sums() {
    on_each_database(|database| async {
        let cloud = forty_days_later(database).await;
        rate(&cloud).await;
        let bob = cloud.account("bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let settings = cloud.app.noted_rate_settings(&mut tx).await.unwrap().unwrap();
        let desk = Desk::open(&mut tx, settings).await.unwrap();
        let explained = explain::explain_day(&mut tx, &desk, bob.id, day(0), None).await.unwrap();
        let charges = rating::list_charge_days(&mut tx, bob.id, day(0)).await.unwrap();
        assert_eq!(explained.summed_up, Some(charges.iter().map(|charge| charge.net_nanos).sum()));
        assert!(Money::round_from_nanos(explained.summed_up.unwrap()) > Money::ZERO);
        tx.commit().await.unwrap();
        let ran = bursar(&cloud.env, &["explain", "bob", "--day", &day(0).to_string(), "--type", "running-vm"]).await;
        for words in ["24 h", "24 records, summed up", "2.4", "keep_records_days", "bob-vm"] {
            assert!(ran.out.contains(words), "\"{words}\" is missing in: {}{}", ran.out, ran.err);
        }
    })
    .await;
}
