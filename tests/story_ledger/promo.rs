//! Promo codes: who may redeem them, and what they give.

use bursar::{
    ledger::{
        promo::{self, Error, NewPromo, Outcome},
        rules::codes::{Code, Refusal, Worth},
    },
    store::promo as promo_rows,
};

use super::*;
use crate::harness::on_each_database;

/// A code that gives ten, once an account.
pub(super) fn ten(code: &str) -> NewPromo {
    NewPromo {
        code: code.to_owned(),
        terms: Code {
            worth: Worth::Amount(eur("10")),
            valid_from: day(0),
            valid_until: Some(day(20)),
            total_uses: None,
            uses_per_account: 1,
            min_payment: Money::ZERO,
            domains: vec![],
            closed: false,
            uses: 0,
        },
        public: false,
        grant_days: Some(30),
        grant_scope: None,
        grant_priority: 3,
        note: String::new(),
    }
}

pub(super) async fn make(books: &Books, promo: NewPromo) {
    let mut tx = books.store.begin().await.unwrap();
    promo::create(&mut tx, promo, "test", day(0)).await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) async fn redeem(
    store: &Store,
    account: &Account,
    code: &str,
    key: &str,
    now: Timestamp,
) -> Result<promo::Redeemed, Error> {
    let mut tx = store.begin().await?;
    let redeemed = promo::redeem(&mut tx, account, code, cause(key), DEFAULTS, now).await?;
    tx.commit().await?;
    Ok(redeemed)
}

/// Makes the terms of a code wrong.
type Spoil = Box<dyn Fn(&mut NewPromo)>;

fn refusal(result: Result<promo::Redeemed, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_code_with_an_amount_gives_a_grant_at_once_and_a_key_counts_once() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/carol").await;
        make(&books, ten("welcome")).await;
        let first = redeem(&books.store, &carol, " Wel come ", "k", day(1)).await.unwrap();
        let Outcome::Granted { grant, amount } = first.outcome else { panic!("{first:?}") };
        assert_eq!((amount, first.figures.available, first.repeated), (eur("10"), eur("10"), false));
        let again = redeem(&books.store, &carol, "WELCOME", "k", day(2)).await.unwrap();
        assert_eq!((again.outcome, again.repeated), (Outcome::Granted { grant, amount }, true));
        assert_eq!(refusal(redeem(&books.store, &carol, "WELCOME", "other", day(2)).await), Refusal::UsedAlready);
        let dave = books.account("ROOT/dave").await;
        let foreign = redeem(&books.store, &dave, "WELCOME", "k", day(2)).await;
        assert!(matches!(foreign, Err(Error::Store(_))), "a key is one account's: {foreign:?}");

        // Thirty billing days, the day of redemption included, with the code's priority.
        let mut tx = books.store.read().await.unwrap();
        let row = bursar::store::grants::find_grant(&mut tx, grant).await.unwrap().unwrap();
        assert_eq!((row.priority, row.terms().ends), (3, Some(day(31))));
        drop(tx);
        books.charge(&carol, on(30), 1, "1", day(31)).await;
        books.charge(&carol, on(31), 1, "1", day(32)).await;
        assert_eq!(books.left(grant).await, eur("9"));
        books.holds_together().await;
    })
    .await;
}

#[tokio::test]
async fn each_refusal_says_what_is_the_matter_and_no_more() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/umbrella/carol").await;
        let child = books.account("ROOT/acme/research/child").await;
        let mut acme = ten("ACME");
        acme.terms.domains = vec!["ROOT/acme".to_owned()];
        acme.terms.total_uses = Some(1);
        acme.public = true;
        make(&books, acme).await;
        make(&books, ten("SHORT")).await;
        let offered = async |account: &Account| {
            let mut tx = books.store.read().await.unwrap();
            promo::list_offers(&mut tx, account, day(1)).await.unwrap().len()
        };
        assert_eq!((offered(&carol).await, offered(&child).await), (0, 1));

        assert_eq!(refusal(redeem(&books.store, &carol, "NOSUCH", "1", day(1)).await), Refusal::Unknown);
        assert_eq!(refusal(redeem(&books.store, &carol, "no;such'", "1", day(1)).await), Refusal::Unknown);
        assert_eq!(refusal(redeem(&books.store, &carol, "SHORT", "1", day(20)).await), Refusal::Ended);
        redeem(&books.store, &child, "ACME", "2", day(1)).await.unwrap();
        assert_eq!(offered(&child).await, 0);
        // Whom it is not for does not learn that it is used up.
        assert_eq!(refusal(redeem(&books.store, &carol, "ACME", "3", day(1)).await), Refusal::NotForYou);
        let sibling = books.account("ROOT/acme/sibling").await;
        assert_eq!(refusal(redeem(&books.store, &sibling, "ACME", "4", day(1)).await), Refusal::UsedUp);
        let mut tx = books.store.begin().await.unwrap();
        assert!(promo::close(&mut tx, "short", "test", day(1)).await.unwrap());
        assert!(!promo::close(&mut tx, "short", "test", day(1)).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(refusal(redeem(&books.store, &carol, "SHORT", "5", day(1)).await), Refusal::Ended);
        assert_eq!(books.number("select cast(sum(uses) as bigint) from promo_code").await, 1, "refusals count nothing");
        books.holds_together().await;
    })
    .await;
}

#[tokio::test]
async fn a_share_waits_for_a_payment_that_is_large_enough_and_comes_with_it_once() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/carol").await;
        let mut plus = ten("PLUS10");
        plus.terms.worth = Worth::Percent { percent: "10".parse().unwrap(), most: Some(eur("15")) };
        plus.terms.min_payment = eur("50");
        make(&books, plus).await;
        let waiting = redeem(&books.store, &carol, "PLUS10", "k", day(1)).await.unwrap();
        assert!(matches!(waiting.outcome, Outcome::Waiting { .. }), "{waiting:?}");
        assert_eq!(waiting.figures.available, Money::ZERO);

        let small = books.pay(&carol, "49.99", day(2)).await;
        assert_eq!(small.bonuses, []);
        assert_eq!(small.waiting[0].why, Refusal::PaymentTooSmall(eur("50")));

        let mut tx = books.store.begin().await.unwrap();
        let paid =
            payments::receive(&mut tx, carol.payer_id, eur("200"), cause("big"), DEFAULTS, day(3)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((paid.bonuses.len(), paid.bonuses[0].amount), (1, eur("15")));
        assert_eq!((paid.figures.available, paid.figures.used), (eur("264.99"), Money::ZERO));
        for key in ["big", "next"] {
            let mut tx = books.store.begin().await.unwrap();
            let again =
                payments::receive(&mut tx, carol.payer_id, eur("200"), cause(key), DEFAULTS, day(3)).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(again.bonuses, [], "{key}");
        }
        assert_eq!(books.number("select count(*) from promo_redemption where payment_id is not null").await, 1);
        books.holds_together().await;
    })
    .await;
}

#[tokio::test]
async fn a_code_that_ends_while_it_waits_gives_nothing() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/carol").await;
        let mut later = ten("LATER");
        later.terms.min_payment = eur("5");
        make(&books, later).await;
        redeem(&books.store, &carol, "LATER", "k", day(1)).await.unwrap();
        let mut tx = books.store.begin().await.unwrap();
        promo::close(&mut tx, "LATER", "test", day(2)).await.unwrap();
        tx.commit().await.unwrap();
        let paid = books.pay(&carol, "5", day(3)).await;
        assert_eq!((paid.bonuses.len(), paid.waiting[0].why), (0, Refusal::Ended));
        let mut tx = books.store.read().await.unwrap();
        assert_eq!(promo_rows::list_redemptions(&mut tx, None, Some(carol.id), 10).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn terms_that_make_no_sense_are_refused() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let mut tx = books.store.begin().await.unwrap();
        let bad: Vec<(&str, Spoil)> = vec![
            ("letters", Box::new(|promo| promo.code = "=1".to_owned())),
            ("above zero", Box::new(|promo| promo.terms.worth = Worth::Amount(eur("0")))),
            (
                "percentage",
                Box::new(|promo| promo.terms.worth = Worth::Percent { percent: "101".parse().unwrap(), most: None }),
            ),
            ("end before", Box::new(|promo| promo.terms.valid_until = Some(day(0)))),
            ("once", Box::new(|promo| promo.terms.total_uses = Some(0))),
            ("once", Box::new(|promo| promo.terms.uses_per_account = 0)),
            ("negative", Box::new(|promo| promo.terms.min_payment = eur("-1"))),
            ("one day", Box::new(|promo| promo.grant_days = Some(0))),
        ];
        for (word, spoil) in bad {
            let mut promo = ten("FINE");
            spoil(&mut promo);
            let refused = promo::create(&mut tx, promo, "test", day(0)).await.unwrap_err().to_string();
            assert!(refused.contains(word), "{refused}");
        }
        promo::create(&mut tx, ten("FINE"), "test", day(0)).await.unwrap();
        let twice = promo::create(&mut tx, ten("fine"), "test", day(0)).await.unwrap_err().to_string();
        assert!(twice.contains("FINE"), "{twice}");
    })
    .await;
}
