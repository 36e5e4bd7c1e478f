//! The warning on the account's page, and from when on it counts as seen.

use super::*;
use crate::{
    ids::RunId,
    people::mapping::CLOUDSTACK,
    store::{enforcement, mapping, notify, payers, policy, sessions},
};

const OVER_SINCE: Timestamp = Timestamp::from_seconds(1_795_300_000);
const WARNING: &str = "Your account will be locked on 2026-11-25 17:00 UTC because 104.20 of 100.00 EUR were used.";

/// Gives an account a warning about the present time over the limit, where locks are armed, and notices that are none of a tenant's
/// business.
async fn warn(place: &Place, account: AccountId) {
    let mut tx = place.app.store.begin().await.unwrap();
    let payer = cloud::get_account(&mut tx, account).await.unwrap().payer_id;
    policy::put_reached(&mut tx, payer, "lock", Some(OVER_SINCE)).await.unwrap();
    policy::arm(&mut tx, "lock", "", "test", NOW).await.unwrap();
    for (event, sentence, dry_run) in [
        ("used-80", "80 % of your credit is used.", false),
        ("warning-lock-1795300000", WARNING, false),
        ("warning-lock-1700000000", "This was settled long ago.", false),
        ("warning-stop-1795300000", "Only rehearsed.", true),
    ] {
        enforcement::insert_notice(&mut tx, payer, account, 1, event, sentence, None, dry_run, NOW).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// Numbers of the notices that were given in earnest and not seen.
async fn unseen(place: &Place, account: AccountId) -> Vec<String> {
    let mut tx = place.app.store.read().await.unwrap();
    let mut events = Vec::new();
    for notice in enforcement::list_notices(&mut tx, Some(account), 50).await.unwrap() {
        if notify::is_unseen(&mut tx, account, notice.id).await.unwrap() {
            events.push(notice.event);
        }
    }
    events.sort();
    events
}

#[tokio::test]
async fn a_standing_warning_is_on_the_page_and_counts_as_seen_from_then_on() {
    let place = Place::open().await;
    warn(&place, place.alice).await;
    assert_eq!(unseen(&place, place.alice).await.len(), 3);
    let (_, text) = place.sign_in("/").await;
    assert!(text.contains(&format!("<p class=\"banner warning\" role=\"alert\">{WARNING}</p>")), "{text}");
    assert_eq!(text.matches("banner warning").count(), 1, "what is settled or rehearsed is no warning: {text}");
    assert!(!text.contains("Only rehearsed"), "{text}");
    assert_eq!(unseen(&place, place.alice).await, Vec::<String>::new());
}

#[tokio::test]
async fn no_warning_of_a_step_that_was_disarmed_since_is_on_the_page() {
    let place = Place::open().await;
    warn(&place, place.alice).await;
    let banner = format!("<p class=\"banner warning\" role=\"alert\">{WARNING}</p>");
    let (cookies, text) = place.sign_in("/").await;
    assert!(text.contains(&banner), "{text}");
    let mut tx = place.app.store.begin().await.unwrap();
    assert!(policy::disarm(&mut tx, "lock", "").await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = place.app.store.read().await.unwrap();
    assert_eq!(notify::list_standing_warnings(&mut tx, place.alice).await.unwrap().len(), 1);
    drop(tx);
    let text = place.open_page("/", &cookies).await.text().await.unwrap();
    assert!(text.contains("<h1>Overview</h1>") && !text.contains("banner warning"), "{text}");
    let mut tx = place.app.store.begin().await.unwrap();
    policy::arm(&mut tx, "lock", "ROOT", "test", NOW).await.unwrap();
    tx.commit().await.unwrap();
    let text = place.open_page("/", &cookies).await.text().await.unwrap();
    assert!(text.contains(&banner), "{text}");
}

#[tokio::test]
async fn no_warning_of_a_payer_is_on_the_page_once_the_account_belongs_to_a_customer() {
    let place = Place::open().await;
    warn(&place, place.alice).await;
    let banner = format!("<p class=\"banner warning\" role=\"alert\">{WARNING}</p>");
    let (cookies, text) = place.sign_in("/").await;
    assert!(text.contains(&banner), "{text}");
    let mut tx = place.app.store.begin().await.unwrap();
    let before = cloud::get_account(&mut tx, place.alice).await.unwrap().payer_id;
    let customer = payers::insert_customer(&mut tx, "Alice Ltd", None, None, None, NOW).await.unwrap();
    payers::move_account(&mut tx, place.alice, before, customer).await.unwrap();
    payers::retire_payer(&mut tx, before, customer).await.unwrap();
    tx.commit().await.unwrap();
    let text = place.open_page("/", &cookies).await.text().await.unwrap();
    assert!(text.contains("<h1>Overview</h1>") && !text.contains("banner warning"), "{text}");
}

#[tokio::test]
async fn an_administrator_who_was_given_the_account_to_look_into_has_not_seen_it_for_its_people() {
    let place = Place::open().await;
    warn(&place, place.alice).await;
    place.cloud.answer(200, users(&[admin()]));
    let mut tx = place.app.store.begin().await.unwrap();
    let binding = mapping::NewBinding {
        issuer: CLOUDSTACK,
        subject: ADMIN_USER,
        cloud_user_id: Some(ADMIN_USER),
        account: place.alice,
        role: "viewer",
        by: "admin",
        rule_id: None,
        address_id: None,
    };
    mapping::put_binding(&mut tx, &binding, NOW).await.unwrap();
    sessions::put_choice(&mut tx, CLOUDSTACK, ADMIN_USER, place.alice, NOW).await.unwrap();
    tx.commit().await.unwrap();
    let (cookies, text) = place.sign_in("/").await;
    assert!(text.contains(WARNING), "{text}");
    assert_eq!(place.open_page("/", &cookies).await.status(), 200);
    assert_eq!(unseen(&place, place.alice).await.len(), 3);
}

#[tokio::test]
async fn who_can_add_nothing_is_led_to_the_ways_to_pay_and_to_the_codes() {
    let place = Place::open().await;
    let mut tx = place.app.store.begin().await.unwrap();
    let why = "104.20 of 100.00 EUR were used";
    assert!(
        enforcement::place_hold(&mut tx, place.alice, "billing", "restrict", why, None, "enforce", NOW).await.unwrap()
    );
    tx.commit().await.unwrap();
    let (_, text) = place.sign_in("/").await;
    assert!(text.contains("<h1>Overview</h1>") && text.contains("ROOT/alice"), "{text}");
    assert!(text.contains(&format!("<a href=\"{BASE}/payment-settings\">Ways to pay</a>")), "{text}");
    let codes = format!("<a href=\"{BASE}/credits\">Credits &#38; Promo codes</a>");
    assert_eq!(text.matches(&codes).count(), 2, "in the menu and in the banner: {text}");
    assert!(!text.contains("/suspended"), "{text}");
}

#[tokio::test]
async fn a_script_or_a_page_fetched_ahead_sees_nothing() {
    let place = Place::open().await;
    let (cookies, _) = place.sign_in("/").await;
    warn(&place, place.alice).await;
    for (mode, purpose) in [("cors", ""), ("navigate", "prefetch")] {
        let request = place.client.get(format!("{}{BASE}/", place.url)).header("cookie", &cookies);
        let response = request.header("sec-fetch-mode", mode).header("sec-purpose", purpose).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.text().await.unwrap().contains(WARNING));
    }
    assert_eq!(unseen(&place, place.alice).await.len(), 3);
    assert_eq!(place.open_page("/", &cookies).await.status(), 200);
    assert!(unseen(&place, place.alice).await.is_empty());
}

#[tokio::test]
async fn an_administrator_sees_nothing_for_anybody() {
    let place = Place::open().await;
    place.cloud.answer(200, users(&[admin()]));
    warn(&place, place.root).await;
    let (_, text) = place.sign_in("/").await;
    assert!(text.contains(WARNING), "{text}");
    assert_eq!(unseen(&place, place.root).await.len(), 3);
}

#[tokio::test]
async fn a_step_that_waits_is_not_told_as_taken() {
    const STEP: &str = "Your account was locked on 2026-11-22 10:05 UTC because 104.20 of 100.00 EUR were used.";
    let place = Place::open().await;
    let mut tx = place.app.store.begin().await.unwrap();
    let (run, payer) = (RunId::new(1), cloud::get_account(&mut tx, place.alice).await.unwrap().payer_id);
    let step = enforcement::NewDecision {
        run,
        payer,
        account: place.alice,
        outcome: "lock",
        rung: "lock",
        reason: "lock-date-reached",
        sentence: STEP.to_owned(),
        figures: "{}".to_owned(),
        dry_run: false,
    };
    let decision = enforcement::insert_decision(&mut tx, &step, NOW).await.unwrap();
    tx.commit().await.unwrap();
    let (cookies, text) = place.sign_in("/").await;
    assert!(!text.contains(STEP) && text.contains("Your credit is used up. Please pay soon."), "{text}");
    let mut tx = place.app.store.begin().await.unwrap();
    let intent = "5f4b5f0e-31f5-4a2b-9f2a-6a4f3f5a7c11";
    enforcement::insert_intent(&mut tx, intent, decision, run, place.alice, "lock", "enabled", None, NOW)
        .await
        .unwrap();
    assert!(enforcement::end_intent(&mut tx, intent, "done", Some("locked"), "locked for billing", NOW).await.unwrap());
    tx.commit().await.unwrap();
    let text = place.open_page("/", &cookies).await.text().await.unwrap();
    assert!(text.contains(STEP), "{text}");
}

#[tokio::test]
async fn a_credit_of_which_something_is_left_is_nearly_used_up_where_a_step_waits() {
    const STEP: &str = "Your account was restricted on 2026-11-22 10:05 UTC because 85.00 of 100.00 EUR were used.";
    for (limit, said) in [("100", "Your credit is nearly used up."), ("0", "Your credit is used up.")] {
        let place = Place::open_with(&[("BURSAR_POLICY_DEFAULT_LIMIT", limit)]).await;
        let mut tx = place.app.store.begin().await.unwrap();
        let step = enforcement::NewDecision {
            run: RunId::new(1),
            payer: cloud::get_account(&mut tx, place.alice).await.unwrap().payer_id,
            account: place.alice,
            outcome: "restrict",
            rung: "restrict",
            reason: "restrict-date-reached",
            sentence: STEP.to_owned(),
            figures: "{}".to_owned(),
            dry_run: false,
        };
        enforcement::insert_decision(&mut tx, &step, NOW).await.unwrap();
        tx.commit().await.unwrap();
        let (_, text) = place.sign_in("/").await;
        assert!(!text.contains(STEP) && text.contains(&format!("{said} Please pay soon.")), "{limit}: {text}");
    }
}
