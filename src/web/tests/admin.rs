//! The administrator's table and its forms.

use std::time::Duration;

use super::*;
use crate::{money::Money, store::ledger as rows};

impl Place {
    /// An administrator at the table: cookies, token and nonce of the forms.
    async fn at_the_table(&self) -> (String, String, String) {
        self.cloud.answer(200, users(&[admin()]));
        let (cookies, text) = self.sign_in("/admin/accounts").await;
        assert!(text.contains("account-1") && text.contains(">alice<"), "{text}");
        (cookies, hidden(&text, "csrf"), hidden(&text, "nonce"))
    }

    async fn limit_of_alice(&self) -> Option<Option<Money>> {
        let mut tx = self.app.store.read().await.unwrap();
        let payer = cloud::get_account(&mut tx, self.alice).await.unwrap().payer_id;
        rows::list_limits(&mut tx).await.unwrap().get(&payer).copied()
    }

    async fn money_of_alice(&self) -> Money {
        let mut tx = self.app.store.read().await.unwrap();
        let payer = cloud::get_account(&mut tx, self.alice).await.unwrap().payer_id;
        rows::get_balance(&mut tx, rows::LedgerAccount::Payer(payer)).await.unwrap()
    }
}

#[tokio::test]
async fn a_tenant_reaches_no_page_of_administrators() {
    let place = Place::open().await;
    assert_eq!(place.open_page("/admin/accounts", COOKIES).await.status(), 403);
    let (cookies, _) = place.sign_in("/").await;
    assert_eq!(place.open_page("/admin/accounts", &cookies).await.status(), 403);
    let path = format!("/admin/accounts/{}/limit", place.alice);
    let fields = [("csrf", "guess"), ("limit", "1000"), ("reason", "please")];
    assert_eq!(place.send_form(&path, &cookies, "same-origin", &fields).await.status(), 403);
    assert_eq!(place.limit_of_alice().await, None);
}

#[tokio::test]
async fn users_named_in_the_configuration_are_administrators() {
    let place = Place::open_with(&[("BURSAR_WEB_ADMINS", ALICE_USER)]).await;
    let (_, text) = place.sign_in("/admin/accounts").await;
    assert!(text.contains("/admin/accounts"));
    // One of several users can not be told to be the one that is named.
    let second = user(ADMIN, "bert", (ALICE, "alice"), 0, "User");
    place.cloud.answer(200, users(&[alice(), second]));
    assert_eq!(place.open_page("/admin/accounts", COOKIES).await.status(), 403);
}

#[tokio::test]
async fn a_limit_is_set_once_is_proven_again_and_nudges_the_jobs() {
    let place = Place::open().await;
    let (cookies, csrf, nonce) = place.at_the_table().await;
    let path = format!("/admin/accounts/{}/limit", place.alice);
    let fields = [("csrf", csrf.as_str()), ("nonce", &nonce), ("limit", "104.20"), ("reason", "contract 7")];
    let calls = place.cloud.calls().len();
    for _ in 0..2 {
        let response = place.send_form(&path, &cookies, "same-origin", &fields).await;
        assert_eq!(response.status(), 303);
        let target = response.headers()["location"].to_str().unwrap();
        assert!(target.ends_with(&format!("changed={0}#account-{0}", place.alice)), "{target}");
    }
    assert_eq!(place.cloud.calls().len(), calls + 2, "asked again before each change");
    place.wake.notified().await;
    assert_eq!(place.limit_of_alice().await, Some(Some(Money::parse("104.20").unwrap())));
    let text = place.open_page("/admin/accounts?search=ALICE&sort=-used", &cookies).await.text().await.unwrap();
    assert!(text.contains("value=\"104.20\"") && !text.contains(">admin</th>"), "{text}");

    // Empty takes the account out of management.
    let nonce = hidden(&text, "nonce");
    let fields = [("csrf", csrf.as_str()), ("nonce", &nonce), ("limit", ""), ("reason", "contract ended")];
    assert_eq!(place.send_form(&path, &cookies, "same-origin", &fields).await.status(), 303);
    assert_eq!(place.limit_of_alice().await, Some(None));
}

#[tokio::test]
async fn a_payment_sent_twice_is_booked_once() {
    let place = Place::open().await;
    let (cookies, csrf, nonce) = place.at_the_table().await;
    let path = format!("/admin/accounts/{}/payment", place.alice);
    let fields = [("csrf", csrf.as_str()), ("nonce", &nonce), ("amount", "50"), ("reference", "transfer 17")];
    for _ in 0..2 {
        assert_eq!(place.send_form(&path, &cookies, "same-origin", &fields).await.status(), 303);
    }
    assert_eq!(place.money_of_alice().await, Money::parse("50").unwrap());
    place.cloud.answer(200, users(&[alice()]));
    let text = place.open_page("/", "JSESSIONID=node02; sessionkey=key02").await.text().await.unwrap();
    assert!(text.contains("50.00 EUR · transfer 17"), "{text}");
}

#[tokio::test]
async fn a_wrong_value_is_told_beside_its_field_and_what_was_typed_stays() {
    let place = Place::open().await;
    let (cookies, csrf, nonce) = place.at_the_table().await;
    let base = [("csrf", csrf.as_str()), ("nonce", nonce.as_str())];
    for (form, more, says) in [
        ("limit", [("limit", "1,000"), ("reason", "x")], "is not an amount"),
        ("limit", [("limit", "-1"), ("reason", "x")], "can not be negative"),
        ("limit", [("limit", "1"), ("reason", "")], "Say why"),
        ("payment", [("amount", "0"), ("reference", "x")], "above zero"),
        ("payment", [("amount", "5"), ("reference", "")], "Give a reference"),
    ] {
        let fields: Vec<_> = base.into_iter().chain(more).collect();
        let path = format!("/admin/accounts/{}/{form}", place.alice);
        let response = place.send_form(&path, &cookies, "same-origin", &fields).await;
        assert_eq!(response.status(), 422, "{says}");
        let text = response.text().await.unwrap();
        assert!(text.contains(says), "{says}");
        assert!(text.contains(&format!("value=\"{}\"", more[0].1)), "{says}");
    }
    assert_eq!((place.limit_of_alice().await, place.money_of_alice().await), (None, Money::ZERO));
}

#[tokio::test]
async fn a_form_without_its_token_from_elsewhere_or_without_a_session_changes_nothing() {
    let place = Place::open().await;
    let (cookies, csrf, nonce) = place.at_the_table().await;
    let path = format!("/admin/accounts/{}/limit", place.alice);
    let calls = place.cloud.calls().len();
    let send = |token: String, site: &'static str, cookies: String| {
        let (path, nonce, place) = (path.clone(), nonce.clone(), &place);
        async move {
            let fields = [("csrf", token.as_str()), ("nonce", &nonce), ("limit", "9"), ("reason", "x")];
            place.send_form(&path, &cookies, site, &fields).await.status().as_u16()
        }
    };
    assert_eq!(send("wrong".to_owned(), "same-origin", cookies.clone()).await, 403);
    assert_eq!(send(csrf.clone(), "cross-site", cookies.clone()).await, 403);
    assert_eq!(send(csrf.clone(), "same-origin", COOKIES.to_owned()).await, 401);
    assert_eq!(place.cloud.calls().len(), calls, "none of them is worth a question");
    place.cloud.answer(401, refused(401));
    assert_eq!(send(csrf.clone(), "same-origin", cookies.clone()).await, 401);
    assert_eq!(place.limit_of_alice().await, None);
}

#[tokio::test]
async fn an_administrator_who_is_none_any_more_changes_nothing() {
    let place = Place::open().await;
    let (cookies, csrf, nonce) = place.at_the_table().await;
    place.clock.advance(Duration::from_secs(10));
    place.cloud.answer(200, users(&[user(ADMIN_USER, "admin", (ADMIN, "admin"), 0, "User")]));
    let fields = [("csrf", csrf.as_str()), ("nonce", &nonce), ("limit", "9"), ("reason", "x")];
    let path = format!("/admin/accounts/{}/limit", place.alice);
    assert_eq!(place.send_form(&path, &cookies, "same-origin", &fields).await.status(), 403);
    assert_eq!(place.limit_of_alice().await, None);
}

#[tokio::test]
async fn administrators_have_the_overview_of_their_own_account() {
    let place = Place::open().await;
    place.cloud.answer(200, users(&[admin()]));
    let (_, text) = place.sign_in("/").await;
    assert!(text.contains("ROOT/admin") && text.contains(&format!("{BASE}/admin/accounts")));
    assert_ne!(place.alice, place.root);
}
