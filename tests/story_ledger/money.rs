//! Adjustments, refunds, limits, and payers that are joined.

use bursar::{
    ledger::{
        limits, payers,
        payers::JoinTerms,
        payments::{Refund, add_adjustment, add_refund},
        post::Error,
    },
    store::payers as payer_rows,
    time::Clock as _,
};

use super::*;
use crate::harness::{Cloud, on_each_database, tenant};

async fn refund(
    books: &Books,
    account: &Account,
    amount: &str,
    of: Option<&str>,
    into_debt: bool,
) -> Result<Figures, Error> {
    let key = books.key();
    let mut tx = books.store.begin().await.unwrap();
    let refund = Refund { amount: eur(amount), of, into_debt };
    let figures = add_refund(&mut tx, account.payer_id, refund, cause(&key), DEFAULTS, day(5)).await?;
    tx.commit().await.unwrap();
    Ok(figures)
}

#[tokio::test]
async fn an_adjustment_upwards_is_credit_and_downwards_is_used() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let carol = books.account("ROOT/carol").await;
        books.pay(&carol, "100", day(0)).await;
        let mut tx = books.store.begin().await.unwrap();
        let down = add_adjustment(&mut tx, carol.payer_id, eur("-30"), cause("a"), DEFAULTS, day(1)).await.unwrap();
        assert_eq!((down.total, down.used, down.available), (eur("100"), eur("30"), eur("70")));
        let again = add_adjustment(&mut tx, carol.payer_id, eur("-30"), cause("a"), DEFAULTS, day(1)).await.unwrap();
        assert_eq!(again, down);
        let up = add_adjustment(&mut tx, carol.payer_id, eur("50"), cause("b"), DEFAULTS, day(1)).await.unwrap();
        assert_eq!((up.total, up.used, up.available), (eur("120"), eur("0"), eur("120")));
        for (key, amount) in [("a", "30"), ("c", "0")] {
            assert!(add_adjustment(&mut tx, carol.payer_id, eur(amount), cause(key), DEFAULTS, day(1)).await.is_err());
        }
        tx.commit().await.unwrap();
        books.holds_together().await;
    })
    .await;
}

#[tokio::test]
async fn a_refund_is_at_most_what_is_there_and_at_most_its_payment() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let (carol, dave) = (books.account("ROOT/carol").await, books.account("ROOT/dave").await);
        let first = books.pay(&carol, "100", day(0)).await.transfer.to_string();
        books.pay(&carol, "60", day(0)).await;
        let foreign = books.pay(&dave, "60", day(0)).await.transfer.to_string();
        books.charge(&carol, on(1), 1, "20", day(2)).await;

        let said = |error: Error| error.to_string();
        assert!(
            said(refund(&books, &carol, "140.01", None, false).await.unwrap_err()).contains("140.00 of money is there")
        );
        assert!(said(refund(&books, &carol, "0", None, false).await.unwrap_err()).contains("above zero"));
        assert!(said(refund(&books, &carol, "5", Some(&foreign), false).await.unwrap_err()).contains("no payment"));
        assert!(said(refund(&books, &carol, "5", Some("nothing"), false).await.unwrap_err()).contains("no payment"));

        let after = refund(&books, &carol, "70", Some(&first), false).await.unwrap();
        assert_eq!((after.available, after.used), (eur("70"), Money::ZERO), "what went back was not used");
        let more = said(refund(&books, &carol, "30.01", Some(&first), true).await.unwrap_err());
        assert!(more.contains("30.00 can be paid back"), "{more}");
        refund(&books, &carol, "30", Some(&first), false).await.unwrap();
        let debt = refund(&books, &carol, "50", None, true).await.unwrap();
        assert_eq!(debt.money, eur("-10"));
        books.holds_together().await;
    })
    .await;
}

#[tokio::test]
async fn a_key_that_was_used_for_another_limit_is_refused() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let (carol, dave) = (books.account("ROOT/carol").await, books.account("ROOT/dave").await);
        let mut tx = books.store.begin().await.unwrap();
        let set = async |tx: &mut Tx, payer, amount: Option<&str>| {
            limits::set_limit(tx, payer, amount.map(eur), cause("limit"), DEFAULTS, day(1)).await
        };
        let first = set(&mut tx, carol.payer_id, Some("100")).await.unwrap();
        assert_eq!(set(&mut tx, carol.payer_id, Some("100")).await.unwrap(), first);
        for (payer, amount) in [(carol.payer_id, Some("101")), (carol.payer_id, None), (dave.payer_id, Some("100"))] {
            assert!(set(&mut tx, payer, amount).await.unwrap_err().to_string().contains("used before"));
        }
        tx.commit().await.unwrap();
        assert_eq!(books.figures(carol.payer_id, day(1)).await.limit, eur("100"));
    })
    .await;
}

#[tokio::test]
async fn joined_accounts_bring_their_money_debt_and_grants_and_share_one_limit() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let (carol, dave) = (books.account("ROOT/acme/carol").await, books.account("ROOT/acme/dave").await);
        let payment = books.pay(&carol, "100", day(0)).await.transfer.to_string();
        let terms = Terms { priority: 7, ..between(day(0), day(30)) };
        let old = books.give(&carol, "20", &terms, day(0)).await;
        books.charge(&carol, on(1), 1, "5", day(2)).await;
        books.charge(&dave, on(1), 1, "40", day(2)).await;
        let mut tx = books.store.begin().await.unwrap();
        limits::set_limit(&mut tx, dave.payer_id, Some(eur("50")), cause("d"), DEFAULTS, day(2)).await.unwrap();
        tx.commit().await.unwrap();

        let join = async |limit: Option<&str>| {
            let mut tx = books.store.begin().await.unwrap();
            let terms =
                JoinTerms { defaults: DEFAULTS, limit: limit.map(|text| Some(eur(text))), zone: chrono_tz::UTC };
            let accounts = [
                cloud::get_account(&mut tx, carol.id).await.unwrap(),
                cloud::get_account(&mut tx, dave.id).await.unwrap(),
            ];
            let joined = payers::join(&mut tx, &accounts, "Acme Ltd", terms, cause("join"), day(3)).await?;
            tx.commit().await.unwrap();
            Ok::<_, Error>(joined)
        };
        let unsaid = join(None).await.unwrap_err().to_string();
        assert!(unsaid.contains("limit of its own"), "{unsaid}");
        assert_eq!(books.number("select count(*) from payer where kind = 'customer'").await, 0, "nothing was changed");

        let joined = join(Some("200")).await.unwrap();
        assert_eq!(joined.moved.len(), 2);
        let figures = joined.figures;
        assert_eq!((figures.limit, figures.money, figures.grants_left), (eur("200"), eur("60"), eur("15")));
        assert_eq!((figures.available, figures.used), (eur("275"), Money::ZERO));
        assert_eq!(books.figures(joined.payer, day(3)).await, figures);
        for before in [carol.payer_id, dave.payer_id] {
            let empty = books.figures(before, day(3)).await;
            assert_eq!((empty.available, empty.limit, empty.money), (Money::ZERO, Money::ZERO, Money::ZERO));
        }
        assert_eq!(join(None).await.unwrap().moved, [], "they are there already");
        books.holds_together().await;

        // Later charges burn the grant that came along; a correction of what the old one paid goes to money.
        books.charge(&dave, on(4), 1, "10", day(5)).await;
        books.charge(&carol, on(1), 1, "2", day(5)).await;
        let after = books.figures(joined.payer, day(5)).await;
        assert_eq!((after.grants_left, after.money, books.left(old).await), (eur("5"), eur("63"), Money::ZERO));
        let mut tx = books.store.begin().await.unwrap();
        let of_before = Refund { amount: eur("10"), of: Some(&payment), into_debt: false };
        add_refund(&mut tx, joined.payer, of_before, cause("r"), DEFAULTS, day(5)).await.unwrap();
        tx.commit().await.unwrap();

        // A customer's account is not taken away by joining another one.
        let mut tx = books.store.begin().await.unwrap();
        let terms = JoinTerms { defaults: DEFAULTS, limit: None, zone: chrono_tz::UTC };
        let taken = [cloud::get_account(&mut tx, carol.id).await.unwrap()];
        let refused = payers::join(&mut tx, &taken, "Other Ltd", terms, cause("o"), day(6)).await.unwrap_err();
        assert!(refused.to_string().contains("Acme Ltd"), "{refused}");
        // Whoever still holds the number of the payer from before books nothing to it.
        let late = payments::receive(&mut tx, carol.payer_id, eur("5"), cause("late"), DEFAULTS, day(6)).await;
        assert!(late.unwrap_err().to_string().contains("look again"));
        for word in ["Acme Ltd", "carol"] {
            assert_eq!(payers::resolve(&mut tx, word).await.unwrap().id, joined.payer);
        }
        drop(tx);
        books.holds_together().await;
    })
    .await;
}

#[tokio::test]
async fn accounts_on_other_terms_are_not_joined() {
    on_each_database(async |database| {
        let books = Books::open(database).await;
        let (carol, dave) = (books.account("ROOT/carol").await, books.account("ROOT/dave").await);
        let mut tx = books.store.begin().await.unwrap();
        payers::set_class(&mut tx, dave.payer_id, Some("gold"), cause("c"), day(1)).await.unwrap();
        assert_eq!(
            payer_rows::find_payer_row(&mut tx, dave.payer_id).await.unwrap().unwrap().class.as_deref(),
            Some("gold")
        );
        let terms = JoinTerms { defaults: DEFAULTS, limit: None, zone: chrono_tz::UTC };
        let refused = payers::join(&mut tx, &[carol, dave], "Two", terms, cause("j"), day(1)).await.unwrap_err();
        assert!(refused.to_string().contains("another class"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn usage_before_a_payers_billing_start_is_given_back_when_it_is_set() {
    on_each_database(async |database| {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            let carol = tenant(world, "carol");
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(carol, "vm", offering, now);
        })
        .await;
        cloud.pass(DAY * 4);
        cloud.catch_up().await;
        let carol = cloud.account("carol").await;
        let money = async || {
            let mut tx = cloud.app.store.read().await.unwrap();
            rows::get_balance(&mut tx, LedgerAccount::Payer(carol.payer_id)).await.unwrap()
        };
        let all = money().await;
        assert!(all.is_negative());
        let set = async |day: Option<Day>| {
            let mut tx = cloud.app.store.begin().await.unwrap();
            let now = cloud.clock.now();
            payers::set_billing_start(&mut tx, carol.payer_id, day, chrono_tz::UTC, cause("b"), now).await.unwrap();
            tx.commit().await.unwrap();
            bursar::jobs::work::rate(&cloud.app, None, "test", &bursar::progress::Quiet).await.unwrap();
        };
        set(Some(on(2))).await;
        let part = money().await;
        assert!(part > all && part.is_negative(), "{part} {all} on {}", cloud.database.kind);
        set(None).await;
        assert_eq!(money().await, all);
        cloud.verify().await;
    })
    .await;
}
