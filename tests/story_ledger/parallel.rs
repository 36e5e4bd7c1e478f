//! Many at once: what counts is counted once, on both databases.

use std::sync::Arc;

use bursar::ledger::{grants, promo::Error, rules::codes::Refusal};
use tokio::task::JoinSet;

use super::{
    promo::{make, redeem, ten},
    *,
};
use crate::harness::on_each_database;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_redemptions_at_once_of_a_code_for_ten_give_exactly_ten() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let mut accounts = Vec::new();
        for number in 0..50 {
            accounts.push(Arc::new(books.account(&format!("ROOT/tenant-{number}")).await));
        }
        let mut promo = ten("RUSH");
        promo.terms.total_uses = Some(10);
        promo.terms.uses_per_account = 20;
        make(&books, promo).await;
        let mut tasks = JoinSet::new();
        for number in 0..1_000_usize {
            let (store, account) = (books.store.clone(), Arc::clone(&accounts[number % accounts.len()]));
            tasks.spawn(async move { redeem(&store, &account, "rush", &format!("rush-{number}"), day(1)).await });
        }
        let (mut given, mut used_up) = (0, 0);
        while let Some(done) = tasks.join_next().await {
            match done.unwrap() {
                Ok(_) => given += 1,
                Err(Error::Refused(Refusal::UsedUp)) => used_up += 1,
                Err(error) => panic!("{error} on {}", books.kind),
            }
        }
        assert_eq!((given, used_up), (10, 990), "on {}", books.kind);
        assert_eq!(books.number("select uses from promo_code").await, 10);
        assert_eq!(books.number("select count(*) from promo_redemption").await, 10);
        assert_eq!(books.number("select count(*) from credit_grant").await, 10);
        assert_eq!(books.number("select count(*) from transfer where kind = 'promo'").await, 10);
        books.holds_together().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_that_tries_often_at_once_gets_what_an_account_may() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = Arc::new(books.account("ROOT/carol").await);
        let mut promo = ten("THRICE");
        promo.terms.uses_per_account = 3;
        make(&books, promo).await;
        let mut tasks = JoinSet::new();
        for number in 0..60 {
            let (store, account) = (books.store.clone(), Arc::clone(&carol));
            // Three tasks share a key: twenty keys, of which three count.
            tasks
                .spawn(async move { redeem(&store, &account, "THRICE", &format!("key-{}", number / 3), day(1)).await });
        }
        let mut redemptions = std::collections::BTreeSet::new();
        while let Some(done) = tasks.join_next().await {
            match done.unwrap() {
                Ok(redeemed) => drop(redemptions.insert(redeemed.redemption)),
                Err(Error::Refused(Refusal::UsedAlready)) => {}
                Err(error) => panic!("{error} on {}", books.kind),
            }
        }
        assert_eq!(redemptions.len(), 3, "on {}", books.kind);
        assert_eq!(books.figures(carol.payer_id, day(1)).await.available, eur("30"));
        books.holds_together().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn payments_revocations_and_redemptions_at_once_agree() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = Arc::new(books.account("ROOT/carol").await);
        let grant = books.give(&carol, "20", &from(day(0)), day(0)).await;
        let mut later = ten("LATER");
        later.terms.min_payment = eur("1");
        make(&books, later).await;
        redeem(&books.store, &carol, "LATER", "k", day(1)).await.unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..30 {
            let (store, account) = (books.store.clone(), Arc::clone(&carol));
            tasks.spawn(async move {
                let mut tx = store.begin().await.unwrap();
                if number % 3 == 0 {
                    grants::revoke(&mut tx, grant, cause("r"), DEFAULTS, day(2)).await.unwrap();
                } else {
                    // Each payment is told twice.
                    let key = format!("payment-{}", number / 3);
                    payments::receive(&mut tx, account.payer_id, eur("5"), cause(&key), DEFAULTS, day(2))
                        .await
                        .unwrap();
                }
                tx.commit().await.unwrap();
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let figures = books.figures(carol.payer_id, day(2)).await;
        assert_eq!((figures.money, figures.grants_left), (eur("50"), eur("10")), "on {}", books.kind);
        books.holds_together().await;
    })
    .await;
}
