//! The pages on which a tenant asks for something, and the administrator's queue.

use std::time::Duration;

use super::*;
use crate::{
    ledger::{
        promo::{self, NewPromo},
        rules::codes::{Code, Worth},
    },
    money::Money,
    people::leaving,
    store::{gateways, grants, leaving as delete_rows, notice_wishes, notify, runs},
};

impl Place {
    /// Alice at a page: her cookies, the page's text, and the token and nonce of its forms.
    async fn alice_at(&self, path: &str) -> (String, String, String) {
        self.cloud.answer(200, users(&[alice()]));
        let (cookies, text) = self.sign_in(path).await;
        (cookies, hidden(&text, "csrf"), hidden(&text, "nonce"))
    }

    async fn admin_at(&self, path: &str) -> (String, String, String) {
        self.cloud.answer(200, users(&[admin()]));
        let (cookies, text) = self.sign_in(path).await;
        (cookies, hidden(&text, "csrf"), hidden(&text, "nonce"))
    }

    async fn page_text(&self, path: &str, cookies: &str) -> String {
        let response = self.open_page(path, cookies).await;
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    }

    async fn make_code(&self, code: &str) {
        let terms = Code {
            worth: Worth::Amount(Money::parse("25").unwrap()),
            valid_from: NOW,
            valid_until: None,
            total_uses: Some(1),
            uses_per_account: 1,
            min_payment: Money::ZERO,
            domains: Vec::new(),
            closed: false,
            uses: 0,
        };
        let new = NewPromo {
            code: code.to_owned(),
            terms,
            public: true,
            grant_days: Some(30),
            grant_scope: None,
            grant_priority: 0,
            note: String::new(),
        };
        let mut tx = self.app.store.begin().await.unwrap();
        promo::create(&mut tx, new, "root", NOW).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn actions(&self) -> Vec<String> {
        let mut tx = self.app.store.read().await.unwrap();
        runs::list_audit(&mut tx, None, 100).await.unwrap().into_iter().map(|line| line.action).collect()
    }

    async fn events(&self) -> Vec<String> {
        let mut tx = self.app.store.read().await.unwrap();
        let rows = crate::store::enforcement::list_notices(&mut tx, Some(self.alice), 50).await.unwrap();
        rows.into_iter().map(|row| row.event).collect()
    }
}

#[tokio::test]
async fn a_code_is_offered_and_redeemed_once_however_often_it_is_sent() {
    let place = Place::open().await;
    place.make_code("WELCOME-2026").await;
    let (cookies, csrf, nonce) = place.alice_at("/credits").await;
    let text = place.page_text("/credits", &cookies).await;
    assert!(text.contains("25.00 EUR of credit") && text.contains("WELCOME-2026"), "{text}");
    let fields = [("csrf", csrf.as_str()), ("nonce", &nonce), ("code", "welcome-2026")];
    for _ in 0..2 {
        let response = place.send_form("/credits", &cookies, "same-origin", &fields).await;
        assert_eq!(response.status(), 303);
        assert_eq!(response.headers()["location"], format!("{BASE}/credits?done=redeemed"));
    }
    place.wake.notified().await;
    let mut tx = place.app.store.read().await.unwrap();
    let payer = cloud::get_account(&mut tx, place.alice).await.unwrap().payer_id;
    assert_eq!(grants::list_grant_rows(&mut tx, Some(payer), true, 10).await.unwrap().len(), 1);
    drop(tx);
    let text = place.page_text("/credits?done=redeemed", &cookies).await;
    assert!(text.contains("The code was redeemed.") && text.contains("counts now"), "{text}");
    assert!(text.contains("There is no offer at present."), "used up: {text}");
    // A second form with the same code is another try.
    let nonce = hidden(&text, "nonce");
    let fields = [("csrf", csrf.as_str()), ("nonce", &nonce), ("code", "WELCOME-2026")];
    let response = place.send_form("/credits", &cookies, "same-origin", &fields).await;
    assert_eq!(response.status(), 422);
    assert!(response.text().await.unwrap().contains("Your account has used this code already."));
}

#[tokio::test]
async fn codes_can_not_be_guessed_by_trying() {
    let place = Place::open().await;
    let (cookies, csrf, nonce) = place.alice_at("/credits").await;
    let mut last = String::new();
    for round in 0..21 {
        place.clock.advance(Duration::from_secs(1));
        let code = format!("GUESS-{round}");
        let fields = [("csrf", csrf.as_str()), ("nonce", &nonce), ("code", &code)];
        let response = place.send_form("/credits", &cookies, "same-origin", &fields).await;
        assert_eq!(response.status(), 422);
        last = response.text().await.unwrap();
    }
    assert!(last.contains("Too many codes were tried."), "{last}");
}

#[tokio::test]
async fn wishes_are_kept_for_one_person_and_wrong_thresholds_refused() {
    let place = Place::open().await;
    let (cookies, csrf, _) = place.alice_at("/notifications").await;
    let text = place.page_text("/notifications", &cookies).await;
    for label in ["Maintenance and outage", "Invoice preference", "Payments Overdue", "Credit warnings"] {
        assert!(text.contains(label), "{label}: {text}");
    }
    assert_eq!(text.matches(" checked").count(), 3, "the reminder of the month has to be asked for");
    let send = |percent: &'static str| {
        let fields =
            [("csrf", csrf.clone()), ("invoice", "yes".into()), ("percent", percent.into()), ("language", "xx".into())];
        let (place, cookies) = (&place, &cookies);
        async move {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            place.send_form("/notifications", cookies, "same-origin", &fields).await
        }
    };
    let refused = send("60, many").await;
    assert_eq!(refused.status(), 422);
    let text = refused.text().await.unwrap();
    assert!(text.contains("Write whole numbers from 1 to 100") && text.contains("value=\"60, many\""), "{text}");
    assert_eq!(send("60, 95").await.status(), 303);
    assert_eq!(send("60, 95").await.status(), 303);
    let mut tx = place.app.store.read().await.unwrap();
    let wishes = notice_wishes::list_wishes(&mut tx, place.alice).await.unwrap();
    assert_eq!(wishes.keys().map(String::as_str).collect::<Vec<_>>(), [ALICE_USER]);
    assert_eq!(wishes[ALICE_USER].percent, [60, 95].into());
    let user = ALICE_USER.parse().unwrap();
    assert_eq!(notice_wishes::find_language(&mut tx, place.alice, user).await.unwrap().as_deref(), Some("en"));
    drop(tx);
    assert_eq!(
        place.actions().await.iter().filter(|action| *action == "notices.choose").count(),
        1,
        "once: it changed once"
    );
    let text = place.page_text("/notifications?done=saved", &cookies).await;
    assert!(text.contains("value=\"60, 95\"") && text.contains("Saved."), "{text}");
    assert_eq!(text.matches(" checked").count(), 1, "{text}");
}

#[tokio::test]
async fn one_of_several_people_can_choose_no_notices_and_ask_for_nothing() {
    let place = Place::open().await;
    let second = user(ADMIN, "bert", (ALICE, "alice"), 2, "DomainAdmin");
    place.cloud.answer(200, users(&[user(ALICE_USER, "alice", (ALICE, "alice"), 2, "DomainAdmin"), second]));
    let (cookies, _) = place.sign_in("/").await;
    assert_eq!(place.open_page("/notifications", &cookies).await.status(), 403);
    let text = place.page_text("/delete-request", &cookies).await;
    assert!(text.contains("Only owners of the account may ask for this.") && !text.contains("<form"), "{text}");
    for path in
        ["/credits", "/payment-settings", "/payment-settings/propose", "/delete-request", "/delete-request/take-back"]
    {
        let response = place.send_form(path, &cookies, "same-origin", &[("csrf", "guess")]).await;
        assert_eq!(response.status(), 403, "{path}");
    }
}

#[tokio::test]
async fn a_gateway_is_proposed_answered_and_chosen() {
    let place = Place::open().await;
    let (cookies, csrf, nonce) = place.alice_at("/payment-settings").await;
    assert!(place.page_text("/payment-settings", &cookies).await.contains("please pay by bank transfer"));
    let propose = |website: &'static str| {
        let fields = [
            ("csrf", csrf.clone()),
            ("nonce", nonce.clone()),
            ("name", "Pay & <Go>".to_owned()),
            ("country", "Norway".to_owned()),
            ("website", website.to_owned()),
            ("details", "Kroner,\r\nno fees".to_owned()),
        ];
        let (place, cookies) = (&place, &cookies);
        async move {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            place.send_form("/payment-settings/propose", cookies, "same-origin", &fields).await
        }
    };
    for wrong in ["http://pay.example.com", "javascript:alert(1)", "https://user@pay.example.com", "pay"] {
        assert_eq!(propose(wrong).await.status(), 422, "{wrong}");
    }
    for _ in 0..2 {
        assert_eq!(propose("https://pay.example.com").await.status(), 303);
    }
    let mut tx = place.app.store.read().await.unwrap();
    let waiting = gateways::list_proposed(&mut tx, 10).await.unwrap();
    assert_eq!(waiting.len(), 1, "sent twice, proposed once");
    let told =
        notify::list_admin_notices(&mut tx, Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX), 10).await.unwrap();
    assert_eq!(told.iter().filter(|notice| notice.subject.contains("Pay & <Go>")).count(), 1);
    drop(tx);
    let id = waiting[0].id;
    // Not approved yet: it can not be chosen.
    let choice = id.to_string();
    let fields = [("csrf", csrf.as_str()), ("gateway", &choice)];
    assert_eq!(place.send_form("/payment-settings", &cookies, "same-origin", &fields).await.status(), 422);

    let (admin_cookies, admin_csrf, _) = place.admin_at("/admin/queue").await;
    let text = place.page_text("/admin/queue", &admin_cookies).await;
    assert!(text.contains("Pay &#38; &#60;Go&#62;") && text.contains("Kroner,"), "{text}");
    let fields = [("csrf", admin_csrf.as_str()), ("message", "")];
    let path = format!("/admin/queue/gateways/{id}/refuse");
    assert_eq!(place.send_form(&path, &admin_cookies, "same-origin", &fields).await.status(), 422, "say why");
    let fields = [("csrf", admin_csrf.as_str()), ("message", "Fine with us.")];
    let path = format!("/admin/queue/gateways/{id}/approve");
    for word in ["approved", "already"] {
        let response = place.send_form(&path, &admin_cookies, "same-origin", &fields).await;
        assert_eq!(response.headers()["location"], format!("{BASE}/admin/queue?done={word}"));
    }
    assert!(place.events().await.contains(&format!("gateway-approved-{id}")));

    place.cloud.answer(200, users(&[alice()]));
    let fields = [("csrf", csrf.as_str()), ("gateway", &choice)];
    assert_eq!(place.send_form("/payment-settings", &cookies, "same-origin", &fields).await.status(), 303);
    let text = place.page_text("/payment-settings", &cookies).await;
    assert!(text.contains("Fine with us.") && text.contains(&format!("value=\"{id}\" checked")), "{text}");
    // Another payer may not choose it: it was approved for one.
    let (admin_cookies, admin_csrf, _) = place.admin_at("/payment-settings").await;
    assert!(!place.page_text("/payment-settings", &admin_cookies).await.contains("Pay &#38;"));
    let fields = [("csrf", admin_csrf.as_str()), ("gateway", &choice)];
    assert_eq!(place.send_form("/payment-settings", &admin_cookies, "same-origin", &fields).await.status(), 422);

    // The administrator sees who pays by what, and retires it: once, audited and told.
    place.clock.advance(Duration::from_secs(30));
    let (admin_cookies, admin_csrf, _) = place.admin_at("/admin/accounts").await;
    let text = place.page_text("/admin/accounts", &admin_cookies).await;
    assert!(text.contains("pays by Pay &#38; &#60;Go&#62;") && text.matches("pays by").count() == 1, "{text}");
    let text = place.page_text("/admin/queue", &admin_cookies).await;
    assert!(text.contains(&format!("/admin/queue/gateways/{id}/retire")), "{text}");
    let path = format!("/admin/queue/gateways/{id}/retire");
    let long = "x".repeat(501);
    let fields = [("csrf", admin_csrf.as_str()), ("message", long.as_str())];
    let refused = place.send_form(&path, &admin_cookies, "same-origin", &fields).await;
    assert_eq!(refused.status(), 422);
    assert!(refused.text().await.unwrap().contains(&format!("value=\"{long}\"")), "what was typed stays");
    let fields = [("csrf", admin_csrf.as_str()), ("message", "It closed down.")];
    for word in ["retired", "already"] {
        let response = place.send_form(&path, &admin_cookies, "same-origin", &fields).await;
        assert_eq!(response.headers()["location"], format!("{BASE}/admin/queue?done={word}"));
    }
    assert_eq!(place.actions().await.iter().filter(|action| *action == "gateway.retire").count(), 1);
    assert!(place.events().await.contains(&format!("gateway-retired-{id}")));

    // Who had chosen it pays by bank transfer and reads why, until another way is chosen.
    place.cloud.answer(200, users(&[alice()]));
    let text = place.page_text("/payment-settings", &cookies).await;
    assert!(text.contains("which you had chosen, is no longer offered"), "{text}");
    assert!(text.contains(">no longer offered</span>") && text.contains("It closed down."), "{text}");
    assert!(text.contains("value=\"bank\" checked"), "{text}");
    let fields = [("csrf", csrf.as_str()), ("gateway", "bank")];
    assert_eq!(place.send_form("/payment-settings", &cookies, "same-origin", &fields).await.status(), 303);
    let text = place.page_text("/payment-settings", &cookies).await;
    assert!(!text.contains("which you had chosen") && text.contains("No payment gateway is approved yet"), "{text}");
}

#[tokio::test]
async fn a_deletion_is_asked_for_taken_back_asked_again_and_comes_due() {
    let place = Place::open().await;
    let (cookies, csrf, nonce) = place.alice_at("/delete-request").await;
    let ask = |name: &'static str, understood: &'static str, nonce: String| {
        let fields = [
            ("csrf", csrf.clone()),
            ("nonce", nonce),
            ("reason", "we move".to_owned()),
            ("name", name.to_owned()),
            ("understood", understood.to_owned()),
        ];
        let (place, cookies) = (&place, &cookies);
        async move {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            place.send_form("/delete-request", cookies, "same-origin", &fields).await
        }
    };
    for (name, understood) in [("ALICE", "yes"), ("bob", "yes"), ("alice", "")] {
        let response = ask(name, understood, nonce.clone()).await;
        assert_eq!(response.status(), 422);
        assert!(response.text().await.unwrap().contains("value=\"we move\""), "what was typed stays");
    }
    for _ in 0..2 {
        assert_eq!(ask("alice", "yes", nonce.clone()).await.status(), 303);
    }
    // In another tab, with another nonce: one waits already.
    assert_eq!(ask("alice", "yes", "0".repeat(32)).await.status(), 303);
    let mut tx = place.app.store.read().await.unwrap();
    assert_eq!(delete_rows::list(&mut tx, true, 10).await.unwrap().len(), 1);
    drop(tx);
    let text = place.page_text("/delete-request", &cookies).await;
    assert!(text.contains("This account is to be deleted.") && text.contains("2026-12-06 17:00"), "{text}");

    let back = [("csrf", csrf.as_str())];
    for word in ["back", "nothing"] {
        let response = place.send_form("/delete-request/take-back", &cookies, "same-origin", &back).await;
        assert_eq!(response.headers()["location"], format!("{BASE}/delete-request?done={word}"));
    }
    assert_eq!(place.events().await, ["deletion-taken-back-1", "deletion-asked-1"]);

    assert_eq!(ask("alice", "yes", "1".repeat(32)).await.status(), 303);
    let look = async |at: Timestamp| {
        let mut tx = place.app.store.begin().await.unwrap();
        let changed = leaving::look_after(&mut tx, at, chrono_tz::UTC).await.unwrap();
        tx.commit().await.unwrap();
        changed
    };
    assert_eq!(look(NOW.plus(Duration::from_hours(13 * 24))).await, 0);
    assert_eq!(look(NOW.plus(Duration::from_hours(14 * 24))).await, 1);
    assert_eq!(look(NOW.plus(Duration::from_hours(15 * 24))).await, 0, "told once");
    assert_eq!(place.events().await[0], "deletion-due-2");
    let mut tx = place.app.store.read().await.unwrap();
    let told =
        notify::list_admin_notices(&mut tx, Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX), 10).await.unwrap();
    assert!(told.iter().any(|notice| notice.subject == "ROOT/alice is to be deleted"));
    drop(tx);

    let (admin_cookies, admin_csrf, _) = place.admin_at("/admin/queue").await;
    assert!(place.page_text("/admin/queue", &admin_cookies).await.contains("we move"));
    let path = "/admin/queue/deletions/2/refuse";
    let empty = [("csrf", admin_csrf.as_str()), ("message", "")];
    assert_eq!(place.send_form(path, &admin_cookies, "same-origin", &empty).await.status(), 422);
    let fields = [("csrf", admin_csrf.as_str()), ("message", "An invoice is open.")];
    assert_eq!(place.send_form(path, &admin_cookies, "same-origin", &fields).await.status(), 303);
    place.cloud.answer(200, users(&[alice()]));
    let text = place.page_text("/delete-request", &cookies).await;
    assert!(text.contains("An invoice is open.") && text.contains("refused"), "{text}");

    // Gone from CloudStack: whatever waits is done.
    assert_eq!(ask("alice", "yes", "2".repeat(32)).await.status(), 303);
    let mut tx = place.app.store.begin().await.unwrap();
    cloud::mark_account_gone(&mut tx, place.alice, NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(look(NOW).await, 1);
    let mut tx = place.app.store.read().await.unwrap();
    assert_eq!(delete_rows::find_newest(&mut tx, place.alice).await.unwrap().unwrap().state, "done");
}
