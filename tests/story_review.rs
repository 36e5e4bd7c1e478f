//! What waits for a person: each kind, each verdict, and that fetching again changes nothing of it.

mod opened;

use std::time::Duration;

use bursar::{
    cloudstack::UsageRow,
    ids::RunId,
    jobs::work,
    progress::Quiet,
    store::{
        cloud, ledger,
        review::{self as rows, Filter, Item, ReviewRecord},
        runs, usage,
    },
    time::{Day, Timestamp},
    usage::{
        correct::{self, Correction},
        ingest::{self, Downloaded, Spans, Stored},
        record::RecordKey,
        review::{self, Author, Choice, Decided, NewRule, RowRef},
        review_kind::Kind,
        review_watch,
        types::UsageType,
    },
};
use chrono_tz::Tz;

use crate::harness::{Cloud, Database, NOVEMBER, on_each_database, tenant};

const ADMIN: Author<'static> = Author { name: "cli:admin", reason: "looked at it" };

/// Minutes behind the midnight of 1 November 2026, UTC.
fn minute(number: i64) -> Timestamp {
    Timestamp::from_seconds(NOVEMBER + number * 60)
}

/// bursar without a CloudStack that says anything by itself: the story hands in what a day's fetch brings.
struct Desk {
    cloud: Cloud,
    alice: String,
}

impl Desk {
    async fn open(database: Database) -> Self {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            tenant(world, "alice");
            // So that the usage job has something to run for, and finds nothing.
            world.late_event(minute(-60));
        })
        .await;
        cloud.pass(Duration::from_hours(1));
        work::sync(&cloud.app, false, "test", &Quiet).await.unwrap();
        let alice = cloud.account("alice").await.cloud_id;
        Self { cloud, alice }
    }

    /// A row of alice's in a window given in minutes.
    fn row(&self, usage_type: i32, resource: &str, (start, end): (i64, i64), raw: &str) -> UsageRow {
        UsageRow {
            account: Some("alice".to_owned()),
            account_id: Some(self.alice.clone()),
            usage_type: Some(usage_type),
            raw_usage: Some(raw.to_owned()),
            usage_id: Some(resource.to_owned()),
            start_date: Some(minute(start).to_cloudstack()),
            end_date: Some(Timestamp::from_seconds(minute(end).as_seconds() - 1).to_cloudstack()),
            ..UsageRow::default()
        }
    }

    fn under(offering: &str, row: UsageRow) -> UsageRow {
        UsageRow { offering_id: Some(offering.to_owned()), ..row }
    }

    /// A sync fetches a day.
    async fn fetch_day(&mut self, day: i64, rows: &[UsageRow]) -> Stored {
        let span = Day::from_number(NOVEMBER / 86_400 + day).period(Tz::UTC).unwrap();
        let spans = Spans { span, zone: Tz::UTC, advance: true };
        let downloaded = Downloaded { rows: rows.to_vec(), unreadable: 0 };
        let run = self.cloud.begin_run().await;
        let now = minute(4_000);
        ingest::store_span(&self.cloud.app.store, downloaded, spans, run, now).await.unwrap()
    }

    async fn fetch(&mut self, rows: &[UsageRow]) -> Stored {
        self.fetch_day(0, rows).await
    }

    async fn items(&self, all: bool) -> Vec<Item> {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        rows::list_items(&mut tx, all, None, 100).await.unwrap()
    }

    /// The one open item.
    async fn item(&self) -> Item {
        let items = self.items(false).await;
        assert_eq!(items.len(), 1, "{items:?}");
        items.into_iter().next().unwrap()
    }

    async fn waiting(&self) -> Vec<ReviewRecord> {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        rows::list_waiting_records(&mut tx, &Filter::default(), 100).await.unwrap()
    }

    async fn decide(&self, filter: Filter, choice: Choice) -> Result<Decided, review::Error> {
        let mut tx = self.cloud.app.store.begin().await.unwrap();
        let decided = review::decide(&mut tx, &filter, choice, ADMIN, Tz::UTC, minute(5_000)).await?;
        tx.commit().await.unwrap();
        Ok(decided)
    }

    async fn decide_item(&self, item: i64, choice: Choice) -> Decided {
        self.decide(Filter { item: Some(item), ..Filter::default() }, choice).await.unwrap()
    }

    async fn decide_row(&self, row: RowRef, choice: Choice) -> Result<Decided, review::Error> {
        let mut tx = self.cloud.app.store.begin().await.unwrap();
        let decided = review::decide_rows(&mut tx, &[row], choice, ADMIN, Tz::UTC, minute(5_000)).await?;
        tx.commit().await.unwrap();
        Ok(decided)
    }

    async fn correct(&self, row: RowRef, quantity: &str, usage_type: Option<i32>) -> Result<Decided, review::Error> {
        let mut tx = self.cloud.app.store.begin().await.unwrap();
        let usage_type = usage_type.map(|id| UsageType::from_id(id).unwrap());
        let correction = Correction { quantity: quantity.parse().unwrap(), usage_type, account: None };
        let decided = correct::correct(&mut tx, row, correction, ADMIN, Tz::UTC, minute(5_000)).await?;
        tx.commit().await.unwrap();
        Ok(decided)
    }

    /// What is charged of alice, by resource and start minute.
    async fn charged(&self) -> Vec<(String, i64, i64)> {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        let account = cloud::resolve_account(&mut tx, "alice").await.unwrap();
        let found = usage::list_current(&mut tx, account.id, minute(0), minute(100_000), 0).await.unwrap();
        let mut charged: Vec<(String, i64, i64)> = found
            .into_iter()
            .map(|row| (row.resource_cloud_id, (row.start_ms / 1_000 - NOVEMBER) / 60, row.quantity))
            .collect();
        charged.sort_unstable();
        charged
    }

    /// Fetching again changes nothing, and rating again posts nothing.
    async fn stays(&mut self, rows: &[UsageRow]) {
        work::rate(&self.cloud.app, None, "test", &Quiet).await.unwrap();
        let (charged, items) = (self.charged().await, self.items(true).await);
        let posted = self.posted().await;
        for _ in 0..2 {
            let again = self.fetch(rows).await;
            assert_eq!((again.new_records, again.changed_records, again.quarantined), (0, 0, 0), "{again:?}");
            assert_eq!((again.removed, again.cured), (0, 0), "{again:?}");
            let rated = work::rate(&self.cloud.app, None, "test", &Quiet).await.unwrap();
            assert_eq!(rated.posted.transfers, 0);
        }
        assert_eq!((self.charged().await, self.items(true).await), (charged, items));
        assert_eq!(self.posted().await, posted);
        let mut tx = self.cloud.app.store.read().await.unwrap();
        assert_eq!(usage::list_wrong_day_counts(&mut tx).await.unwrap(), Vec::new());
    }

    async fn posted(&self) -> Vec<(i64, i64, i64, i64, i64)> {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        ledger::list_posted(&mut tx).await.unwrap()
    }
}

fn key_of(record: &ReviewRecord) -> RowRef {
    RowRef::Record(RecordKey::from_bytes(record.key.as_slice().try_into().unwrap()))
}

fn charged(rows: &[(&str, i64, i64)]) -> Vec<(String, i64, i64)> {
    rows.iter().map(|(name, start, quantity)| ((*name).to_owned(), *start, *quantity)).collect()
}

#[tokio::test]
async fn one_run_makes_one_item_of_a_kind() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let mut rows: Vec<UsageRow> = (0..5).map(|n| desk.row(1, &format!("vm{n}"), (0, 60), "1.5")).collect();
        rows.push(desk.row(3, "ip", (0, 60), "1.000,5"));
        rows.push(desk.row(99, "new", (0, 60), "1"));
        let stored = desk.fetch(&rows).await;
        assert_eq!(stored.quarantined, 7);
        let items = desk.items(false).await;
        let mut found: Vec<(&str, i64, i64, i64)> =
            items.iter().map(|item| (item.kind.as_str(), item.row_count, item.waiting, item.accounts)).collect();
        found.sort_unstable();
        let wanted = [("more-than-window", 5, 5, 1), ("unknown-type", 1, 1, 1), ("unreadable", 1, 1, 1)];
        assert_eq!(found, wanted);
        let over = items.iter().find(|item| item.kind == "more-than-window").unwrap();
        assert_eq!(over.estimate, Some(7_500_000), "what releasing would add");
        // More of the same in another run is another item; what waits stays where it is.
        rows.push(desk.row(1, "vm9", (60, 120), "2"));
        desk.fetch(&rows).await;
        assert_eq!(desk.items(false).await.len(), 4);
        assert_eq!(desk.charged().await, Vec::new());
        desk.stays(&rows).await;
    })
    .await;
}

#[tokio::test]
async fn an_overlap_is_charged_once_it_is_released() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let rows = Vec::from([desk.row(3, "ip", (60, 120), "1"), desk.row(3, "ip", (30, 90), "1")]);
        desk.fetch(&rows).await;
        let item = desk.item().await;
        assert_eq!((item.kind.as_str(), item.waiting, item.estimate), ("overlap", 1, Some(1_000_000)));
        assert_eq!(desk.charged().await, charged(&[("ip", 60, 1_000_000)]));
        desk.stays(&rows).await;
        let row = key_of(&desk.waiting().await[0]);

        let decided = desk.decide_item(item.id, Choice::Release).await;
        assert_eq!((decided.records, decided.items[0].state.as_str()), (1, "settled"));
        assert_eq!(decided.items[0].author.as_deref(), Some("cli:admin"));
        let both = charged(&[("ip", 30, 1_000_000), ("ip", 60, 1_000_000)]);
        assert_eq!(desk.charged().await, both);
        desk.stays(&rows).await;
        assert!(matches!(
            desk.decide(Filter { item: Some(item.id), ..Filter::default() }, Choice::Release).await,
            Err(review::Error::NothingWaits)
        ));

        // Thought better of: by its row.
        desk.decide_row(row, Choice::Reject).await.unwrap();
        assert_eq!(desk.charged().await, charged(&[("ip", 60, 1_000_000)]));
        desk.stays(&rows).await;
        desk.correct(row, "0.25", None).await.unwrap();
        assert_eq!(desk.charged().await, charged(&[("ip", 30, 250_000), ("ip", 60, 1_000_000)]));
        desk.stays(&rows).await;
        let mut tx = desk.cloud.app.store.read().await.unwrap();
        let subject = format!("review item {}", item.id);
        let actions: Vec<String> =
            runs::list_audit(&mut tx, Some(&subject), 10).await.unwrap().into_iter().map(|line| line.action).collect();
        assert_eq!(actions, ["usage.review.correct", "usage.review.reject", "usage.review.release"]);
    })
    .await;
}

#[tokio::test]
async fn a_part_window_is_charged_with_its_estimate() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let rows = Vec::from([
            desk.row(1, "vm", (0, 60), "0.6"),
            desk.row(3, "ip", (0, 60), "1"),
            desk.row(6, "disk", (0, 60), "0.6"),
            desk.row(1, "vm", (30, 60), "0.5"),
            desk.row(3, "ip", (30, 60), "0.5"),
            desk.row(6, "disk", (30, 60), "0.1"),
        ]);
        desk.fetch(&rows).await;
        let item = desk.item().await;
        // The address' part is charged already; the machine reports 0.2 h more, the disk 0.2 h less.
        assert_eq!((item.kind.as_str(), item.waiting, item.estimate), ("part", 2, Some(200_000)));
        let before = charged(&[("disk", 0, 600_000), ("ip", 0, 1_000_000), ("vm", 0, 600_000)]);
        assert_eq!(desk.charged().await, before);
        desk.stays(&rows).await;
        assert_eq!(desk.decide_item(item.id, Choice::Release).await.records, 2);
        let after =
            [("disk", 0, 600_000), ("disk", 30, 0), ("ip", 0, 1_000_000), ("vm", 0, 600_000), ("vm", 30, 200_000)];
        assert_eq!(desk.charged().await, charged(&after), "never less than nothing");
        desk.stays(&rows).await;
    })
    .await;
}

#[tokio::test]
async fn duplicates_and_what_is_too_much_together_wait() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let rows = Vec::from([
            Desk::under("one", desk.row(1, "vm", (0, 60), "0.7")),
            Desk::under("two", desk.row(1, "vm", (0, 60), "0.6")),
            Desk::under("one", desk.row(30, "net", (0, 60), "1")),
            Desk::under("two", desk.row(30, "net", (0, 60), "1")),
        ]);
        desk.fetch(&rows).await;
        let kinds: Vec<String> = desk.waiting().await.into_iter().map(|row| row.kind.unwrap()).collect();
        assert_eq!(kinds.len(), 2);
        assert!(kinds.contains(&"duplicate".to_owned()) && kinds.contains(&"together-more-than-window".to_owned()));
        assert_eq!(desk.charged().await, charged(&[("net", 0, 1_000_000), ("vm", 0, 700_000)]));
        // A group: by kind and type, and by day.
        let none = Filter { kind: Some(Kind::Duplicate), usage_type: Some(1), ..Filter::default() };
        assert!(matches!(desk.decide(none, Choice::Reject).await, Err(review::Error::NothingWaits)));
        let duplicates = Filter { kind: Some(Kind::Duplicate), usage_type: Some(30), ..Filter::default() };
        assert_eq!(desk.decide(duplicates, Choice::Reject).await.unwrap().records, 1);
        let day = Filter { day: Some(Day::from_number(NOVEMBER / 86_400)), ..Filter::default() };
        assert_eq!(desk.decide(day, Choice::Release).await.unwrap().records, 1);
        assert_eq!(desk.charged().await, charged(&[("net", 0, 1_000_000), ("vm", 0, 600_000), ("vm", 0, 700_000)]));
        assert!(matches!(desk.decide(Filter::default(), Choice::Reject).await, Err(review::Error::TooWide)));
        desk.stays(&rows).await;
    })
    .await;
}

#[tokio::test]
async fn a_row_that_can_not_be_read_is_charged_as_a_person_says() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let mut nobody = desk.row(3, "ip2", (0, 60), "1");
        nobody.account_id = None;
        let dates = UsageRow { end_date: Some("soon".to_owned()), ..desk.row(3, "ip3", (0, 60), "1") };
        let rows = Vec::from([desk.row(3, "ip", (0, 60), "1.000,5"), desk.row(99, "x", (60, 120), "1"), nobody, dates]);
        desk.fetch(&rows).await;
        let (unreadable, unknown) = {
            let mut tx = desk.cloud.app.store.read().await.unwrap();
            let mut of = async |kind| {
                let filter = Filter { kind: Some(kind), ..Filter::default() };
                rows::list_waiting_raw(&mut tx, &filter, 10).await.unwrap()
            };
            (of(Kind::Unreadable).await, of(Kind::UnknownType).await)
        };
        assert_eq!((unreadable.len(), unknown.len()), (3, 1));
        let by_reason = |word: &str| unreadable.iter().find(|row| row.reason.contains(word)).map(|row| row.id).unwrap();
        let quantity = by_reason("1.000,5");
        assert!(matches!(
            desk.decide_row(RowRef::Raw(quantity), Choice::Release).await,
            Err(review::Error::NothingToRelease)
        ));
        desk.correct(RowRef::Raw(quantity), "1", None).await.unwrap();
        assert!(matches!(desk.correct(RowRef::Raw(quantity), "1", None).await, Err(review::Error::MadeInto(..))));
        let type_99 = RowRef::Raw(unknown[0].id);
        assert!(matches!(desk.correct(type_99, "0.5", None).await, Err(review::Error::NeedsType)));
        desk.correct(type_99, "0.5", Some(1)).await.unwrap();
        assert!(matches!(
            desk.correct(RowRef::Raw(by_reason("neither an account")), "1", None).await,
            Err(review::Error::NeedsAccount)
        ));
        desk.correct(RowRef::Raw(by_reason("dates")), "24", None).await.unwrap();
        let made = [("ip", 0, 1_000_000), ("ip3", 0, 24_000_000), ("x", 60, 500_000)];
        assert_eq!(desk.charged().await, charged(&made));
        desk.stays(&rows).await;
        desk.decide_row(RowRef::Raw(by_reason("neither an account")), Choice::Reject).await.unwrap();
        assert_eq!(desk.items(false).await, Vec::new());
        desk.stays(&rows).await;
        desk.cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn usage_of_a_project_is_taken_up_once_its_owner_is_known() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let mut row = desk.row(1, "vm", (0, 60), "1");
        (row.account_id, row.project_id) = (None, Some("6f5ef948-2bf2-41ef-a22c-5abb534cb69a".to_owned()));
        let rows = Vec::from([row, desk.row(3, "ip", (0, 60), "1")]);
        desk.fetch(&rows).await;
        assert_eq!(desk.item().await.kind, "unknown-owner");
        desk.stays(&rows).await;
        let alice = desk.cloud.account("alice").await;
        {
            let mut tx = desk.cloud.app.store.begin().await.unwrap();
            assert!(review_watch::list_curable_days(&mut tx).await.unwrap().is_empty());
            let project = cloud::Project {
                cloud_id: "6f5ef948-2bf2-41ef-a22c-5abb534cb69a".to_owned(),
                owner_account_id: Some(alice.id),
                name: "project".to_owned(),
                domain_id: alice.domain_id.clone(),
                state: "Active".to_owned(),
                id: 0,
            };
            cloud::put_project(&mut tx, &project, minute(4_000)).await.unwrap();
            let days = review_watch::list_curable_days(&mut tx).await.unwrap();
            assert_eq!(days.into_iter().collect::<Vec<_>>(), [Day::from_number(NOVEMBER / 86_400)]);
            tx.commit().await.unwrap();
        }
        let stored = desk.fetch(&rows).await;
        assert_eq!((stored.cured, stored.new_records), (1, 1));
        assert_eq!(desk.charged().await, charged(&[("ip", 0, 1_000_000), ("vm", 0, 1_000_000)]));
        let items = desk.items(true).await;
        assert_eq!((items.len(), items[0].state.as_str(), items[0].verdict.as_deref()), (1, "settled", Some("cured")));
        desk.stays(&rows).await;
        let mut tx = desk.cloud.app.store.read().await.unwrap();
        assert!(review_watch::list_curable_days(&mut tx).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn usage_of_what_is_long_gone_waits() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let first = Vec::from([desk.row(3, "ip", (0, 60), "1")]);
        desk.fetch(&first).await;
        {
            let mut tx = desk.cloud.app.store.begin().await.unwrap();
            assert!(usage::put_gone(&mut tx, "ip", Some(minute(60))).await.unwrap());
            tx.commit().await.unwrap();
        }
        // Two ranges of an hour later the job may still be right.
        let rows =
            [desk.row(3, "ip", (0, 60), "1"), desk.row(3, "ip", (120, 180), "1"), desk.row(3, "ip", (180, 240), "1")];
        desk.fetch(&rows).await;
        assert_eq!(desk.charged().await, charged(&[("ip", 0, 1_000_000), ("ip", 120, 1_000_000)]));
        let waiting = desk.waiting().await;
        assert_eq!((waiting.len(), waiting[0].kind.as_deref()), (1, Some("gone")));
        desk.stays(&rows).await;
        desk.decide_row(key_of(&waiting[0]), Choice::Release).await.unwrap();
        assert_eq!(desk.charged().await.len(), 3);
        desk.stays(&rows).await;
    })
    .await;
}

#[tokio::test]
async fn removed_rows_are_told_and_their_charges_stay() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let rows = Vec::from([desk.row(3, "ip", (0, 60), "1"), desk.row(1, "vm", (0, 60), "1")]);
        desk.fetch(&rows).await;
        // One row goes, another one comes: the count says nothing.
        let other = Vec::from([desk.row(3, "ip", (0, 60), "1"), desk.row(6, "disk", (0, 60), "1")]);
        let stored = desk.fetch(&other).await;
        assert_eq!((stored.removed, stored.new_records), (1, 1));
        let item = desk.item().await;
        assert_eq!((item.kind.as_str(), item.waiting), ("removed", 1));
        let all = [("disk", 0, 1_000_000), ("ip", 0, 1_000_000), ("vm", 0, 1_000_000)];
        assert_eq!(desk.charged().await, charged(&all));
        desk.stays(&other).await;
        desk.decide_item(item.id, Choice::Release).await;
        assert_eq!((desk.items(false).await.len(), desk.charged().await), (0, charged(&all)));
        desk.stays(&other).await;
        // Or it is taken back, and stays so if it should come again.
        let mut tx = desk.cloud.app.store.read().await.unwrap();
        let records = rows::list_records_of(&mut tx, item.id, 10).await.unwrap();
        drop(tx);
        desk.decide_row(key_of(&records[0]), Choice::Reject).await.unwrap();
        assert_eq!(desk.charged().await, charged(&all[..2]));
        let three = Vec::from([rows[0].clone(), rows[1].clone(), other[1].clone()]);
        desk.fetch(&three).await;
        assert_eq!(desk.charged().await, charged(&all[..2]));
        desk.stays(&three).await;
    })
    .await;
}

#[tokio::test]
async fn windows_that_never_came_are_told_until_they_come() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let one = Vec::from([desk.row(3, "ip", (0, 60), "1"), desk.row(3, "ip", (180, 240), "1")]);
        desk.fetch(&one).await;
        let next = Vec::from([desk.row(3, "ip", (1_560, 1_620), "1")]);
        desk.fetch_day(1, &next).await;
        let items = desk.items(false).await;
        assert!(items.iter().all(|item| item.kind == "missing-window"), "{items:?}");
        assert_eq!(items.len(), 2);
        desk.stays(&one).await;
        let come = Vec::from([desk.row(3, "ip", (0, 60), "1"), desk.row(3, "ip", (60, 180), "2"), one[1].clone()]);
        desk.fetch(&come).await;
        let item = desk.item().await;
        // Somebody has seen it.
        desk.decide_item(item.id, Choice::Release).await;
        assert_eq!(desk.items(false).await, Vec::new());
        desk.fetch_day(1, &next).await;
        assert_eq!(desk.items(false).await, Vec::new(), "it is not told twice");
    })
    .await;
}

#[tokio::test]
async fn a_stuck_usage_job_is_told_until_it_succeeds() {
    on_each_database(|database| async {
        let desk = Desk::open(database).await;
        let note = async |closed_until, now| {
            let mut tx = desk.cloud.app.store.begin().await.unwrap();
            review_watch::note_usage_job(&mut tx, closed_until, 60, RunId::new(1), now).await.unwrap();
            tx.commit().await.unwrap();
            desk.items(false).await.into_iter().map(|item| item.kind).collect::<Vec<_>>()
        };
        assert_eq!(note(minute(0), minute(240)).await, Vec::<String>::new());
        assert_eq!(note(minute(0), minute(241)).await, ["stuck-job"]);
        assert_eq!(note(minute(0), minute(300)).await, ["stuck-job"]);
        assert_eq!(note(minute(300), minute(301)).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_rule_decides_about_what_comes() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let rows = Vec::from([desk.row(1, "vm", (0, 60), "1.5")]);
        desk.fetch(&rows).await;
        let rule = {
            let mut tx = desk.cloud.app.store.begin().await.unwrap();
            let alice = cloud::resolve_account(&mut tx, "alice").await.unwrap().id;
            let mut new = NewRule {
                kind: Kind::MoreThanWindow,
                usage_type: Some(1),
                account: Some(alice),
                choice: Choice::Reject,
            };
            let rule = review::add_rule(&mut tx, new, ADMIN, minute(4_000)).await.unwrap();
            new = NewRule { kind: Kind::UnknownType, usage_type: None, account: None, ..new };
            review::add_rule(&mut tx, new, ADMIN, minute(4_000)).await.unwrap();
            let refused = NewRule { choice: Choice::Release, ..new };
            assert!(matches!(
                review::add_rule(&mut tx, refused, ADMIN, minute(4_000)).await,
                Err(review::Error::NoRule { .. })
            ));
            tx.commit().await.unwrap();
            rule
        };
        desk.stays(&rows).await;
        assert_eq!(desk.item().await.waiting, 1, "what waits already is not decided");
        let more = Vec::from([rows[0].clone(), desk.row(1, "vm2", (0, 60), "2"), desk.row(99, "x", (60, 120), "1")]);
        let stored = desk.fetch(&more).await;
        assert_eq!(stored.quarantined, 0);
        assert_eq!(desk.items(false).await.len(), 1);
        assert_eq!(desk.items(true).await.iter().filter(|item| item.verdict.as_deref() == Some("rule")).count(), 2);
        desk.stays(&more).await;
        {
            let mut tx = desk.cloud.app.store.begin().await.unwrap();
            review::remove_rule(&mut tx, rule, ADMIN, minute(5_000)).await.unwrap();
            let again = review::remove_rule(&mut tx, rule, ADMIN, minute(5_000)).await;
            assert!(matches!(again, Err(review::Error::NoSuchRule(_))));
            tx.commit().await.unwrap();
        }
        desk.stays(&more).await;
        assert_eq!(desk.charged().await, Vec::new());
        desk.cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_newer_report_of_the_window_goes_before_a_verdict() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let wrong = Vec::from([desk.row(3, "ip", (0, 60), "1"), desk.row(1, "vm", (0, 60), "1.5")]);
        desk.fetch(&wrong).await;
        let item = desk.item().await;
        let row = key_of(&desk.waiting().await[0]);
        desk.decide_item(item.id, Choice::Release).await;
        let mut rows = wrong.clone();
        rows.extend([desk.row(3, "ip", (0, 60), "1"), desk.row(1, "vm", (0, 60), "0.5")]);
        desk.fetch(&rows).await;
        assert_eq!(desk.charged().await, charged(&[("ip", 0, 1_000_000), ("vm", 0, 500_000)]));
        assert!(matches!(desk.decide_row(row, Choice::Release).await, Err(review::Error::Superseded(_))));
        desk.stays(&rows).await;
    })
    .await;
}

#[tokio::test]
async fn records_know_their_attributes() {
    on_each_database(|database| async {
        let mut desk = Desk::open(database).await;
        let with = |row: UsageRow| UsageRow {
            zone_id: Some("zone".to_owned()),
            cpu_number: Some(2),
            memory: Some(512),
            tags: serde_json::from_str(r#"[{"key":"b","value":"2"},{"key":"a","value":"1"}]"#).unwrap(),
            ..row
        };
        let rows = Vec::from([
            with(desk.row(1, "vm", (0, 60), "1")),
            with(desk.row(1, "vm2", (0, 60), "1")),
            desk.row(3, "ip", (0, 60), "1"),
        ]);
        desk.fetch(&rows).await;
        let mut tx = desk.cloud.app.store.read().await.unwrap();
        let sets = usage::list_attributes(&mut tx).await.unwrap();
        let alice = cloud::resolve_account(&mut tx, "alice").await.unwrap();
        let records = usage::list_current(&mut tx, alice.id, minute(0), minute(60), 0).await.unwrap();
        drop(tx);
        assert_eq!((sets.len(), sets[0].zone_id.as_deref(), sets[0].memory_mib), (1, Some("zone"), Some(512)));
        assert_eq!(sets[0].tags.as_deref(), Some(r#"[["a","1"],["b","2"]]"#));
        assert_eq!(records.iter().filter(|record| record.attributes_id == Some(sets[0].id)).count(), 2);
        desk.stays(&rows).await;
    })
    .await;
}
