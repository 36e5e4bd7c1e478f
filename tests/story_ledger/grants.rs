//! Grants begin, burn, end, are revoked and booked as lapsed.

use bursar::ledger::grants::{self, Lapsed};

use super::*;
use crate::harness::on_each_database;

#[tokio::test]
async fn a_grant_that_begins_later_counts_from_then_on_and_opens_its_epoch_then() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/carol").await;
        books.pay(&carol, "50", day(1)).await;
        let before = books.epochs(carol.payer_id).await;
        books.give(&carol, "20", &between(day(5), day(10)), day(1)).await;
        assert_eq!(books.epochs(carol.payer_id).await, before, "nothing counts yet");
        assert_eq!(books.figures(carol.payer_id, day(4)).await.available, eur("50"));
        assert_eq!(grants::open_turned_epochs(&books.store, DEFAULTS, day(4)).await.unwrap(), 0);

        assert_eq!(grants::open_turned_epochs(&books.store, DEFAULTS, day(5)).await.unwrap(), 1);
        assert_eq!(grants::open_turned_epochs(&books.store, DEFAULTS, day(5)).await.unwrap(), 0, "once");
        let figures = books.figures(carol.payer_id, day(5)).await;
        assert_eq!((figures.total, figures.used, figures.available), (eur("70"), eur("0"), eur("70")));

        // Its end takes away what nobody used: that is not "used".
        assert_eq!(grants::open_turned_epochs(&books.store, DEFAULTS, day(10)).await.unwrap(), 1);
        let figures = books.figures(carol.payer_id, day(10)).await;
        assert_eq!((figures.total, figures.used, figures.available), (eur("50"), eur("0"), eur("50")));
        books.holds_together().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_left_of_a_grant_lapses_by_a_booking_after_the_look_back_and_once() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/carol").await;
        let grant = books.give(&carol, "20", &between(day(0), day(10)), day(0)).await;
        books.charge(&carol, on(3), 1, "5", day(4)).await;
        let lookback = DAY * 35;
        // Late usage of a day before the end is still paid by it.
        assert_eq!(grants::book_expired_grants(&books.store, lookback, day(44)).await.unwrap(), Lapsed::default());
        books.charge(&carol, on(9), 1, "2", day(44)).await;
        assert_eq!(books.left(grant).await, eur("13"));

        let lapsed = grants::book_expired_grants(&books.store, lookback, day(45)).await.unwrap();
        assert_eq!(lapsed, Lapsed { grants: 1, amount_micros: eur("13").as_micros() });
        assert_eq!(grants::book_expired_grants(&books.store, lookback, day(46)).await.unwrap(), Lapsed::default());
        assert_eq!(books.left(grant).await, Money::ZERO);
        assert_eq!(books.number("select count(*) from transfer where kind = 'grant-expiry'").await, 1);

        // Corrections after that, several of them, go to money; nothing burns it any more.
        books.charge(&carol, on(3), 1, "4", day(47)).await;
        books.charge(&carol, on(3), 1, "1", day(48)).await;
        books.charge(&carol, on(3), 1, "2.50", day(49)).await;
        assert_eq!(books.left(grant).await, Money::ZERO);
        assert_eq!(books.figures(carol.payer_id, day(49)).await.money, eur("2.50"));
        books.holds_together().await;
    })
    .await;
}

#[tokio::test]
async fn a_revoked_grant_gives_back_what_is_left_and_takes_nothing_more() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/carol").await;
        books.pay(&carol, "100", day(0)).await;
        let grant = books.give(&carol, "20", &from(day(0)), day(0)).await;
        books.charge(&carol, on(1), 1, "5", day(2)).await;
        let mut tx = books.store.begin().await.unwrap();
        let revoked = grants::revoke(&mut tx, grant, cause("x"), DEFAULTS, day(3)).await.unwrap();
        assert_eq!((revoked.taken, revoked.figures.available), (eur("15"), eur("100")));
        assert_eq!(revoked.figures.used, Money::ZERO, "what was taken back was not used");
        let again = grants::revoke(&mut tx, grant, cause("y"), DEFAULTS, day(3)).await.unwrap();
        assert_eq!((again.taken, again.figures.available), (eur("0"), eur("100")));
        assert!(grants::revoke(&mut tx, 999, cause("z"), DEFAULTS, day(3)).await.is_err());
        tx.commit().await.unwrap();
        // A day from before its end, and a correction of what it paid: both go past it.
        books.charge(&carol, on(2), 1, "1", day(4)).await;
        books.charge(&carol, on(1), 1, "2", day(4)).await;
        assert_eq!(books.left(grant).await, Money::ZERO);
        assert_eq!(books.figures(carol.payer_id, day(4)).await.money, eur("102"));
        assert_eq!(
            grants::book_expired_grants(&books.store, DAY * 35, day(400)).await.unwrap(),
            Lapsed::default(),
            "it is closed already"
        );
        books.holds_together().await;
    })
    .await;
}

#[tokio::test]
async fn a_grant_for_one_service_pays_for_it_and_counts_for_nothing_else() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/carol").await;
        books.pay(&carol, "10", day(0)).await;
        let before = books.epochs(carol.payer_id).await;
        let grant = books.give(&carol, "20", &Terms { scope: Some(6), ..from(day(0)) }, day(0)).await;
        assert_eq!(books.epochs(carol.payer_id).await, before, "Total and Available are as before");
        books.charge(&carol, on(1), 1, "1", day(2)).await;
        books.charge(&carol, on(1), 6, "4", day(2)).await;
        let figures = books.figures(carol.payer_id, day(2)).await;
        assert_eq!((figures.total, figures.available, books.left(grant).await), (eur("10"), eur("9"), eur("16")));
        books.holds_together().await;
    })
    .await;
}

#[tokio::test]
async fn a_key_gives_one_grant_and_other_terms_under_it_are_refused() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/carol").await;
        let mut tx = books.store.begin().await.unwrap();
        let terms = between(day(0), day(10));
        let first =
            grants::give(&mut tx, carol.payer_id, eur("5"), &terms, cause("a"), DEFAULTS, day(0)).await.unwrap();
        // Later, and after its end: the same call is the same grant.
        for now in [day(1), day(20)] {
            let terms = Terms { starts: now, ..terms };
            let again =
                grants::give(&mut tx, carol.payer_id, eur("5"), &terms, cause("a"), DEFAULTS, now).await.unwrap();
            assert_eq!(again.grant, first.grant);
        }
        for (amount, terms) in
            [("6", terms), ("5", Terms { priority: 1, ..terms }), ("5", Terms { ends: None, ..terms })]
        {
            let refused =
                grants::give(&mut tx, carol.payer_id, eur(amount), &terms, cause("a"), DEFAULTS, day(0)).await;
            assert!(refused.unwrap_err().to_string().contains("used before"));
        }
        let backwards = between(day(3), day(2));
        assert!(
            grants::give(&mut tx, carol.payer_id, eur("5"), &backwards, cause("b"), DEFAULTS, day(0)).await.is_err()
        );
    })
    .await;
}

#[tokio::test]
async fn the_ledger_refuses_a_grant_above_its_amount_or_below_zero_whoever_asks() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/carol").await;
        let grant = books.give(&carol, "5", &from(day(0)), day(0)).await;
        for amount in ["0.000001", "-5.000001"] {
            let mut tx = books.store.begin().await.unwrap();
            let transfer = NewTransfer {
                key: "wrong".to_owned(),
                kind: "adjustment",
                payer: carol.payer_id,
                at: day(0),
                author: "test".to_owned(),
                reason: "wrong".to_owned(),
                entries: vec![
                    (LedgerAccount::Grant(carol.payer_id, grant), eur(amount)),
                    (LedgerAccount::Adjustment, eur(amount).negated().unwrap()),
                ],
                charge: None,
            };
            let refused = rows::post(&mut tx, &transfer, day(0)).await.unwrap_err();
            assert!(refused.to_string().contains("left of grant"), "{refused}");
        }
        books.holds_together().await;
    })
    .await;
}
