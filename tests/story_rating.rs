//! Charges over time: changed prices, graduated prices, corrections that are too large to be made by themselves, and the walk
//! from a figure down to its records.

use std::{sync::Arc, time::Duration};

use bursar::{
    ids::RunId,
    jobs::work::{self, RateSummary},
    ledger::{corrections, post},
    money::Money,
    progress::Quiet,
    rating::{
        changes,
        desk::{self, Desk},
        explain, stage,
    },
    store::{
        StoreError, bulk, corrections as rows, ledger,
        rating::{self, ChargeDay},
        usage,
    },
    time::{Day, Timestamp},
};

use crate::harness::{Cloud, Database, NOVEMBER, PRICES, on_each_database, tenant};

const HOUR: Duration = Duration::from_hours(1);

fn day(number: i64) -> Day {
    Day::from_number(NOVEMBER / 86_400 + number)
}

fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

/// A cloud in which bob runs one machine: 2.568 a day.
async fn with_bob(database: Database) -> Cloud {
    Cloud::start(database, NOVEMBER, |world| {
        let bob = tenant(world, "bob");
        let offering = world.find_offering("Small Instance").unwrap();
        let now = world.now();
        world.deploy_vm(bob, "bob-vm", offering, now);
    })
    .await
}

async fn hours(cloud: &Cloud, hours: u32) -> RateSummary {
    for _ in 0..hours {
        cloud.pass(HOUR);
    }
    work::sync(&cloud.app, false, "test", &Quiet).await.unwrap();
    rate(cloud, None).await
}

async fn rate(cloud: &Cloud, from: Option<Day>) -> RateSummary {
    work::rate(&cloud.app, from, "test", &Quiet).await.unwrap()
}

fn write_prices(cloud: &Cloud, text: &str) {
    std::fs::write(cloud.database.folder.path().join("prices.toml"), text).unwrap();
}

/// Net posted to an account, by day.
async fn posted(cloud: &Cloud, name: &str) -> Vec<(Day, Money)> {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut days: Vec<(Day, Money)> = Vec::new();
    for (owner, number, _, net, _) in ledger::list_posted(&mut tx).await.unwrap() {
        let (number, net) = (Day::from_number(number), Money::from_micros(net));
        if owner != account.id.get() {
            continue;
        }
        match days.iter_mut().find(|(known, _)| *known == number) {
            Some((_, sum)) => *sum = sum.plus(net).unwrap(),
            None => days.push((number, net)),
        }
    }
    days.sort_unstable();
    days
}

/// The transfers of an account's payer, oldest first: kind and amount.
async fn transfers(cloud: &Cloud, name: &str) -> Vec<(String, Money)> {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    let rows = ledger::list_transfers(&mut tx, account.payer_id, 10_000).await.unwrap();
    rows.into_iter().rev().map(|row| (row.kind, Money::from_micros(row.amount_micros))).collect()
}

async fn settle_prices(cloud: &Cloud, item: i64, approve: bool) -> u64 {
    let mut tx = cloud.app.store.begin().await.unwrap();
    let now = Timestamp::from_seconds(NOVEMBER);
    let settled = changes::settle(&mut tx, item, approve, None, ("alice", "as agreed"), now).await.unwrap();
    tx.commit().await.unwrap();
    settled
}

fn dearer_machines() -> String {
    let dearer = PRICES.replace("price = \"0.10\"", "price = \"0.20\"");
    assert_ne!(dearer, PRICES);
    dearer
}

#[tokio::test]
async fn a_change_of_past_prices_waits_and_is_reversed_and_posted_anew_on_approval() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        hours(&cloud, 50).await;
        let before = posted(&cloud, "bob").await;
        assert_eq!(before, [(day(0), money("2.568")), (day(1), money("2.568"))]);
        write_prices(&cloud, &dearer_machines());
        let rated = rate(&cloud, None).await;
        let proposal = rated.proposal.unwrap();
        assert_eq!((proposal.charges, proposal.difference_nanos), (2, 4_800_000_000), "on {}", cloud.database.kind);
        assert_eq!(posted(&cloud, "bob").await, before, "a proposal changes nothing");
        cloud.verify().await;
        // The day that is not closed goes by the new prices at once: 2 h of 0.20, and disk and address as before.
        let standing = cloud.standing("bob").await;
        assert_eq!(standing.figures.accrued, money("0.414"));

        assert_eq!(settle_prices(&cloud, proposal.item, true).await, 2);
        assert_eq!(settle_prices(&cloud, proposal.item, true).await, 0, "a verdict is given once");
        let rated = rate(&cloud, None).await;
        assert_eq!((rated.posted.reversals, rated.proposal), (2, None));
        assert_eq!(posted(&cloud, "bob").await, [(day(0), money("4.968")), (day(1), money("4.968"))]);
        let kinds = transfers(&cloud, "bob").await;
        let (reversals, charges): (Vec<_>, Vec<_>) =
            kinds.iter().filter(|(kind, _)| kind != "correction").partition(|(kind, _)| kind == "reversal");
        assert_eq!(reversals.iter().map(|(_, amount)| *amount).collect::<Vec<_>>(), [money("2.4"), money("2.4")]);
        assert_eq!(charges.iter().filter(|(_, amount)| *amount == money("-4.8")).count(), 2);
        cloud.verify().await;
        let count = kinds.len();
        rate(&cloud, None).await;
        assert_eq!(transfers(&cloud, "bob").await.len(), count);
    })
    .await;
}

#[tokio::test]
async fn a_refused_change_of_prices_leaves_closed_days_and_an_ordered_look_offers_it_again() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        hours(&cloud, 26).await;
        write_prices(&cloud, &dearer_machines());
        let item = rate(&cloud, None).await.proposal.unwrap().item;
        assert_eq!(settle_prices(&cloud, item, false).await, 1);
        let rated = rate(&cloud, None).await;
        assert_eq!((rated.proposal, rated.posted.transfers), (None, 0));
        assert_eq!(posted(&cloud, "bob").await, [(day(0), money("2.568"))]);
        // A late correction of a closed day goes by the prices that the day was closed with.
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let vm = world.machines_of(bob)[0];
            world.stop_vm(vm, Timestamp::from_seconds(NOVEMBER + 20 * 3_600));
        });
        hours(&cloud, 1).await;
        assert_eq!(posted(&cloud, "bob").await, [(day(0), money("2.168"))]);
        cloud.verify().await;
        let again = rate(&cloud, Some(day(0))).await.proposal.unwrap();
        assert_eq!((again.charges, again.difference_nanos), (1, 2_000_000_000));
        // A newer look closes the older one.
        let newer = rate(&cloud, Some(day(0))).await.proposal.unwrap();
        assert_ne!(newer.item, again.item);
        assert_eq!(settle_prices(&cloud, again.item, true).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_new_book_proposes_prices_only_and_an_ordered_look_the_terms_of_now() {
    on_each_database(|database| async {
        let mut cloud = with_bob(database).await;
        hours(&cloud, 26).await;
        cloud.reconfigure("BILLING_TAX_PERCENT", "20").await;
        write_prices(&cloud, &dearer_machines());
        // The machine alone, and not the tax on disk and address.
        let proposal = rate(&cloud, None).await.proposal.unwrap();
        assert_eq!((proposal.charges, proposal.difference_nanos), (1, 2_400_000_000), "on {}", cloud.database.kind);
        let ordered = rate(&cloud, Some(day(0))).await.proposal.unwrap();
        assert_eq!((ordered.charges, ordered.difference_nanos), (3, 2_400_000_000));
        assert_eq!(settle_prices(&cloud, ordered.item, true).await, 3);
        rate(&cloud, None).await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let gross: i64 = ledger::list_posted(&mut tx).await.unwrap().iter().map(|(_, _, _, net, tax)| net + tax).sum();
        assert_eq!(Money::from_micros(gross), money("5.9616"), "4.968 and a fifth");
        tx.commit().await.unwrap();
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn an_account_that_moves_keeps_what_its_closed_days_cost() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        write_prices(
            &cloud,
            &format!(
                "{PRICES}\n[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.05\"\npayer = \"ROOT/bob\"\n"
            ),
        );
        hours(&cloud, 26).await;
        assert_eq!(posted(&cloud, "bob").await, [(day(0), money("1.368"))]);
        // Renamed, bob has no price of his own any more: from the first day that is not closed.
        let account = cloud.account("bob").await;
        let sql = format!("update payer set name = 'ROOT/robert' where id = {}", account.payer_id);
        crate::story_cli::run_sql(&cloud, &sql).await;
        cloud.standin.with(|world| world.late_event(Timestamp::from_seconds(NOVEMBER + 20 * 3_600 + 600)));
        hours(&cloud, 24).await;
        let days = posted(&cloud, "bob").await;
        assert_eq!(days[0], (day(0), money("1.368")), "on {}", cloud.database.kind);
        cloud.verify().await;
    })
    .await;
}

const STEPS: &str = r#"
currency = "EUR"
free = ["network", "network-offering", "allocated-vm", "volume", "ip-address"]

[[tariff]]
type = "running-vm"
unit = "hour"
tiers = [{ up_to = "30", price = "0.10" }, { price = "0.01" }]
"#;

#[tokio::test]
async fn graduated_prices_count_over_the_month_whatever_comes_late() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        write_prices(&cloud, STEPS);
        hours(&cloud, 74).await;
        // 24 h at 0.10; 6 h at 0.10 and 18 h at 0.01; 24 h at 0.01.
        let expected = [(day(0), money("2.4")), (day(1), money("0.78")), (day(2), money("0.24"))];
        assert_eq!(posted(&cloud, "bob").await, expected, "on {}", cloud.database.kind);
        cloud.verify().await;
        // The machine stopped at 20:00 of the first day, and the event comes three days late: it never ran after that.
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let vm = world.machines_of(bob)[0];
            world.stop_vm(vm, Timestamp::from_seconds(NOVEMBER + 20 * 3_600));
        });
        hours(&cloud, 1).await;
        let net: Vec<Money> = posted(&cloud, "bob").await.into_iter().map(|(_, net)| net).collect();
        assert_eq!(net[0], money("2"));
        let whole = Money::sum(net).unwrap();
        let mut tx = cloud.app.store.read().await.unwrap();
        let account = cloud.account("bob").await;
        let used: i64 = {
            let mut sum = 0;
            for number in 0..4 {
                let day_used = rating::list_tier_use(&mut tx, account.id, day(number)).await.unwrap();
                sum += day_used.into_iter().map(|(_, nanos)| nanos).sum::<i64>();
            }
            sum
        };
        tx.commit().await.unwrap();
        let hours_used = used / 1_000_000_000;
        let graduated = 10 * hours_used.min(30) + (hours_used - 30).max(0);
        assert_eq!(whole, Money::from_micros(graduated * 10_000), "{hours_used} h in all");
        cloud.verify().await;
    })
    .await;
}

/// One run was cut off and another one has begun; then the first one goes on.
async fn rated_after_the_run_was_cut_off(database: Database, prices: &str) {
    let cloud = with_bob(database).await;
    write_prices(&cloud, prices);
    for _ in 0..26 {
        cloud.pass(HOUR);
    }
    work::sync(&cloud.app, false, "test", &Quiet).await.unwrap();
    let (book_id, book) = work::load_price_book(&cloud.app).await.unwrap();
    let (book, bob) = (Arc::new(book), cloud.account("bob").await);
    let (old, new) = (cloud.begin_run().await, cloud.begin_run().await);
    let store = &cloud.app.store;
    let mut tx = store.read().await.unwrap();
    let settings = cloud.app.noted_rate_settings(&mut tx).await.unwrap().unwrap();
    let listed = rating::list_days_to_rate(&mut tx, 10).await.unwrap();
    drop(tx);
    assert!(!listed.is_empty());
    let rate_as = async |run: RunId| stage::rate_days(store, (book_id, &book), &settings, run, &Quiet).await;
    let refused = rate_as(old).await.unwrap_err();
    assert!(matches!(refused, desk::Error::Store(StoreError::TakenOver)), "{refused}");
    let mut tx = store.read().await.unwrap();
    assert_eq!(rating::list_charge_days(&mut tx, bob.id, day(0)).await.unwrap(), Vec::new());
    assert_eq!(rating::list_days_to_rate(&mut tx, 10).await.unwrap(), listed, "its marks are not its to take");
    drop(tx);
    assert!(rate_as(new).await.unwrap().days > 0);

    let post_as = async |run: RunId| {
        let mut tx = store.read().await.unwrap();
        let settings = cloud.app.post_settings(&mut tx, run).await.unwrap().unwrap();
        drop(tx);
        post::post_charges(store, &settings, &cloud.clock, &Quiet).await
    };
    let refused = post_as(old).await.unwrap_err();
    assert!(matches!(refused, post::Error::Store(StoreError::TakenOver)), "{refused}");
    assert_eq!(posted(&cloud, "bob").await, Vec::new(), "on {}", cloud.database.kind);
    assert!(post_as(new).await.unwrap().transfers > 0);
    assert_eq!(posted(&cloud, "bob").await.len(), 1, "one day is closed");
    rate(&cloud, None).await;
    cloud.verify().await;
}

#[tokio::test]
async fn a_run_that_was_cut_off_rates_and_posts_nothing_any_more() {
    on_each_database(|database| rated_after_the_run_was_cut_off(database, PRICES)).await;
}

#[tokio::test]
async fn a_run_that_was_cut_off_rates_nothing_in_order_any_more() {
    on_each_database(|database| rated_after_the_run_was_cut_off(database, STEPS)).await;
}

#[tokio::test]
async fn what_a_day_costs_more_since_its_charge_was_read_is_posted_by_the_next_run() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        hours(&cloud, 26).await;
        let bob = cloud.account("bob").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let charges = rating::list_charge_days(&mut tx, bob.id, day(0)).await.unwrap();
        let read = charges.into_iter().find(|charge| charge.usage_type == 1).unwrap();
        // Rated meanwhile it costs 2 more; what was read is posted, and noted.
        let more = ChargeDay { net_nanos: read.net_nanos + 2_000_000_000, ..read.clone() };
        bulk::put_charge_days(&mut tx, &[more]).await.unwrap();
        let (net, tax) = (read.posted_net_micros, read.posted_tax_micros);
        rating::settle_charge_day(&mut tx, &read, net, tax, 0).await.unwrap();
        tx.commit().await.unwrap();
        let summary = rate(&cloud, None).await;
        assert_eq!((summary.posted.transfers, summary.posted.corrections), (1, 1), "on {}", cloud.database.kind);
        assert_eq!(posted(&cloud, "bob").await, [(day(0), money("4.568"))]);
        // Rated again, it costs what its records say.
        let mut tx = cloud.app.store.begin().await.unwrap();
        usage::mark_to_rate(&mut tx, bob.id, day(0)).await.unwrap();
        tx.commit().await.unwrap();
        rate(&cloud, None).await;
        assert_eq!(posted(&cloud, "bob").await, [(day(0), money("2.568"))]);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn an_order_to_post_a_day_anew_that_came_since_its_charge_was_read_stays() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        hours(&cloud, 26).await;
        let bob = cloud.account("bob").await;
        let ordered = async || {
            let mut tx = cloud.app.store.begin().await.unwrap();
            let charges = rating::list_charge_days(&mut tx, bob.id, day(0)).await.unwrap();
            (tx, charges.into_iter().find(|charge| charge.usage_type == 1).unwrap())
        };
        let (tx, before) = ordered().await;
        drop(tx);
        crate::story_cli::run_sql(&cloud, "update charge_day set repost_item = 7").await;
        for (read, left) in [(before.clone(), Some(7)), (ChargeDay { repost_item: Some(7), ..before }, None)] {
            let (mut tx, _) = ordered().await;
            let (net, tax) = (read.posted_net_micros, read.posted_tax_micros);
            rating::settle_charge_day(&mut tx, &read, net, tax, 0).await.unwrap();
            tx.commit().await.unwrap();
            let (tx, after) = ordered().await;
            drop(tx);
            assert_eq!(after.repost_item, left, "on {}", cloud.database.kind);
        }
    })
    .await;
}

#[tokio::test]
async fn a_correction_beyond_the_limit_waits_and_counts_for_nothing_until_released() {
    on_each_database(|database| async {
        let mut cloud = with_bob(database).await;
        cloud.reconfigure("BILLING_CORRECTION_LIMIT", "0.30").await;
        hours(&cloud, 50).await;
        let before = posted(&cloud, "bob").await;
        let stop_at = |hour: i64| {
            cloud.standin.with(|world| {
                let bob = world.find_account(world.root_domain(), "bob").unwrap();
                let vm = world.machines_of(bob)[0];
                world.stop_vm(vm, Timestamp::from_seconds(NOVEMBER + hour * 3_600));
            });
        };
        // 0.40 less for the second day: beyond the limit.
        stop_at(44);
        let available = cloud.standing("bob").await.figures.available;
        let rated = hours(&cloud, 1).await;
        assert_eq!((rated.posted.held, rated.posted.corrections), (1, 0), "on {}", cloud.database.kind);
        assert_eq!(posted(&cloud, "bob").await, before);
        // Neither posted nor accrued: only the hours since count.
        let standing = cloud.standing("bob").await;
        assert!(standing.figures.available >= available.minus(money("0.1")).unwrap());
        cloud.verify().await;
        assert_eq!(rate(&cloud, None).await.posted.held, 0, "it waits once");
        let mut tx = cloud.app.store.begin().await.unwrap();
        let items = rows::list_open_items(&mut tx, rows::CORRECTION).await.unwrap();
        assert_eq!(items.len(), 1);
        let by = ("alice", "seen with the tenant");
        let now = cloud.app.clock.now();
        assert_eq!(corrections::settle(&mut tx, items[0], true, None, by, now).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let rated = rate(&cloud, None).await;
        assert_eq!((rated.posted.held, rated.posted.corrections), (0, 1));
        assert_eq!(posted(&cloud, "bob").await, [(day(0), money("2.568")), (day(1), money("2.168"))]);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_refused_correction_stays_refused_until_the_day_costs_something_else() {
    on_each_database(|database| async {
        let mut cloud = with_bob(database).await;
        cloud.reconfigure("BILLING_CORRECTION_LIMIT", "0.30").await;
        hours(&cloud, 50).await;
        let before = posted(&cloud, "bob").await;
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let vm = world.machines_of(bob)[0];
            world.stop_vm(vm, Timestamp::from_seconds(NOVEMBER + 44 * 3_600));
        });
        hours(&cloud, 1).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let items = rows::list_open_items(&mut tx, rows::CORRECTION).await.unwrap();
        let now = cloud.app.clock.now();
        assert_eq!(corrections::settle(&mut tx, items[0], false, None, ("alice", "no"), now).await.unwrap(), 1);
        tx.commit().await.unwrap();
        work::sync(&cloud.app, true, "test", &Quiet).await.unwrap();
        assert_eq!(rate(&cloud, None).await.posted.transfers, 0);
        assert_eq!(posted(&cloud, "bob").await, before);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_day_is_explained_down_to_records_and_price_lines() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        hours(&cloud, 26).await;
        let account = cloud.account("bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let settings = cloud.app.noted_rate_settings(&mut tx).await.unwrap().unwrap();
        let desk = Desk::open(&mut tx, settings).await.unwrap();
        let explained = explain::explain_day(&mut tx, &desk, account.id, day(0), Some(1)).await.unwrap();
        assert_eq!(explained.lines.len(), 24);
        let amounts: i64 = explained.lines.iter().flat_map(|line| &line.parts).map(|part| part.amount_nanos).sum();
        assert_eq!(amounts, 2_400_000_000);
        let first = &explained.lines[0];
        assert_eq!(first.standing, "current");
        assert_eq!(first.parts[0].tariff, "0.1 a hour (in general)");
        let everything = explain::explain_day(&mut tx, &desk, account.id, day(0), None).await.unwrap();
        let sum: i64 = everything.lines.iter().flat_map(|line| &line.parts).map(|part| part.amount_nanos).sum();
        assert_eq!(Money::round_from_nanos(sum), money("2.568"));
    })
    .await;
}

/// What `verify` is for: a charge that is not that of its records is told.
#[tokio::test]
async fn a_charge_that_was_changed_by_hand_is_found() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        hours(&cloud, 26).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let account = cloud.account("bob").await;
        let mut charge = rating::list_charge_days(&mut tx, account.id, day(0)).await.unwrap().remove(0);
        charge.net_nanos += 1_000;
        bursar::store::bulk::put_charge_days(&mut tx, &[charge]).await.unwrap();
        tx.commit().await.unwrap();
        let findings = work::verify(&cloud.app).await.unwrap().findings;
        assert!(findings.iter().any(|finding| finding.check == "charge-records"), "{findings:?}");
    })
    .await;
}

/// CloudStack tells tags only when asked (facts 3.2), and it is asked only where a price depends on them.
#[tokio::test]
async fn a_price_by_tag_asks_for_tags_and_finds_the_tagged_machine() {
    on_each_database(|database| async {
        let cloud = with_bob(database).await;
        let asked = |cloud: &Cloud| {
            let mut calls = cloud.standin.calls().into_iter();
            calls.any(|call| call.command == "listUsageRecords" && call.parameters.contains_key("includetags"))
        };
        hours(&cloud, 24).await;
        assert!(!asked(&cloud));
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let vm = world.machines_of(bob)[0];
            world.tag_resource(vm, "backup", "gold");
        });
        write_prices(
            &cloud,
            &format!(
                "{PRICES}\n[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.30\"\ntag = \"backup=gold\"\n"
            ),
        );
        hours(&cloud, 26).await;
        assert!(asked(&cloud));
        let days = posted(&cloud, "bob").await;
        assert_eq!(days, [(day(0), money("2.568")), (day(1), money("7.368"))], "on {}", cloud.database.kind);
        cloud.verify().await;
    })
    .await;
}
