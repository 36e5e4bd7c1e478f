//! Whatever is booked in whatever order: money is conserved, grants stay between nothing and their amount.

use bursar::ledger::{grants, payments::add_adjustment};
use proptest::{collection::vec, prelude::*, strategy::ValueTree as _};

use super::*;
use crate::harness::on_each_database;

/// Something that happens to the books.
#[derive(Debug, Clone)]
enum Step {
    Pay(i64),
    Adjust(i64),
    Give {
        amount: i64,
        starts: i64,
        lasts: Option<i64>,
        priority: i64,
        scope: Option<i64>,
    },
    /// What a day costs is now this much: a charge, or a correction up or down.
    Cost {
        day: i64,
        usage_type: i64,
        total: i64,
    },
    Revoke(usize),
    /// Time passes, and what has lapsed is booked.
    Lapse(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amount = 1_i64..20_000_000;
    let cost = (0_i64..20, 1_i64..3, 0_i64..15_000_000).prop_map(|(day, usage_type, total)| Step::Cost {
        day,
        usage_type,
        total,
    });
    let give = (amount.clone(), -5_i64..20, proptest::option::of(1_i64..20), -1_i64..2, proptest::option::of(1_i64..3))
        .prop_map(|(amount, starts, lasts, priority, scope)| Step::Give { amount, starts, lasts, priority, scope });
    let step = prop_oneof![
        1 => amount.prop_map(Step::Pay),
        1 => (-20_000_000_i64..20_000_000).prop_map(Step::Adjust),
        2 => give,
        4 => cost,
        1 => (0_usize..8).prop_map(Step::Revoke),
        1 => (1_i64..10).prop_map(Step::Lapse),
    ];
    vec(step, 5..40)
}

/// Plays the steps; with `twice`, every call that has a key is made again, later and in the opposite order.
async fn play(books: &Books, account: &Account, steps: &[Step], twice: bool) {
    let payer = account.payer_id;
    let (mut now, mut given) = (day(20), Vec::new());
    let mut again: Vec<(String, Step, Timestamp)> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let key = format!("{payer}-{number}");
        match step {
            Step::Cost { day, usage_type, total } => {
                let mut tx = books.store.begin().await.unwrap();
                charge(&mut tx, account, on(*day), *usage_type, Money::from_micros(*total), now).await;
                tx.commit().await.unwrap();
            }
            Step::Revoke(which) => {
                if let Some(grant) = given.get(*which) {
                    let mut tx = books.store.begin().await.unwrap();
                    // One that has lapsed is refused: that is no booking.
                    let _ = grants::revoke(&mut tx, *grant, cause(&key), DEFAULTS, now).await;
                    tx.commit().await.unwrap();
                }
            }
            Step::Lapse(days) => {
                now = now.plus(DAY * u32::try_from(*days).unwrap());
                grants::book_expired_grants(&books.store, DAY * 10, now).await.unwrap();
            }
            keyed => {
                if let Some(grant) = call(books, payer, &key, keyed, now).await {
                    given.push(grant);
                }
                again.push((key, keyed.clone(), now));
            }
        }
        books.holds_together().await;
    }
    if twice {
        for (key, step, at) in again.iter().rev() {
            call(books, payer, key, step, *at).await;
        }
    }
}

/// Makes a call that has a key; gives the grant it gave.
async fn call(books: &Books, payer: PayerId, key: &str, step: &Step, now: Timestamp) -> Option<i64> {
    let mut tx = books.store.begin().await.unwrap();
    let mut grant = None;
    match step {
        Step::Pay(micros) => {
            drop(
                payments::receive(&mut tx, payer, Money::from_micros(*micros), cause(key), DEFAULTS, now)
                    .await
                    .unwrap(),
            );
        }
        Step::Adjust(micros) => {
            let _ = add_adjustment(&mut tx, payer, Money::from_micros(*micros), cause(key), DEFAULTS, now).await;
        }
        Step::Give { amount, starts, lasts, priority, scope } => {
            let terms = Terms {
                starts: day(*starts),
                ends: lasts.map(|lasts| day(*starts + lasts)),
                priority: *priority,
                scope: *scope,
            };
            let amount = Money::from_micros(*amount);
            // One that would have ended already is refused.
            grant = grants::give(&mut tx, payer, amount, &terms, cause(key), DEFAULTS, now)
                .await
                .ok()
                .map(|given| given.grant);
        }
        other => panic!("{other:?} has no key"),
    }
    tx.commit().await.unwrap();
    grant
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_booked_money_is_conserved_and_the_same_again_changes_nothing() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        // The runner is driven by hand, because a story is asynchronous and a property is not.
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for number in 0..12 {
            let steps = steps().new_tree(&mut runner).unwrap().current();
            let account = books.account(&format!("ROOT/tenant-{number}")).await;
            play(&books, &account, &steps, false).await;
            let balances = async || {
                let mut tx = books.store.read().await.unwrap();
                let money = rows::get_balance(&mut tx, LedgerAccount::Payer(account.payer_id)).await.unwrap();
                (money, rows::list_grants(&mut tx, Some(account.payer_id)).await.unwrap())
            };
            let before = balances().await;
            // Every call again, backwards: as a client does that lost the answers.
            let other = books.account(&format!("ROOT/again-{number}")).await;
            play(&books, &other, &steps, true).await;
            assert_eq!(balances().await, before, "another payer's calls changed nothing here: {steps:?}");
            let mut tx = books.store.read().await.unwrap();
            let money = rows::get_balance(&mut tx, LedgerAccount::Payer(other.payer_id)).await.unwrap();
            let left: Vec<_> = rows::list_grants(&mut tx, Some(other.payer_id))
                .await
                .unwrap()
                .into_iter()
                .map(|(_, grant)| grant.left)
                .collect();
            assert_eq!(money, before.0, "calls told twice counted twice on {}: {steps:?}", books.kind);
            assert_eq!(left, before.1.iter().map(|(_, grant)| grant.left).collect::<Vec<_>>(), "{steps:?}");
        }
    })
    .await;
}
