//! Who gets in, and when CloudStack is asked.

use std::time::Duration;

use super::*;
use crate::store::people;

#[tokio::test]
async fn a_tenant_signs_in_by_the_cloudstack_session_and_sees_the_figures() {
    let place = Place::open().await;
    let response = place.open_page("/", COOKIES).await;
    assert_eq!(response.status(), 200);
    let cookie = response.headers().get("set-cookie").unwrap().to_str().unwrap().to_owned();
    assert!(cookie.starts_with("bursar_session="), "{cookie}");
    assert!(cookie.ends_with(&format!("; Path={BASE}; HttpOnly; SameSite=Lax")), "{cookie}");
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 1, "CloudStack's cookie is not passed on");
    let text = response.text().await.unwrap();
    for label in ["Total Credit Limit", "Used Credit Limit", "Balance Available Credit Limit", "ROOT/alice"] {
        assert!(text.contains(label), "{label} is missing in {text}");
    }
    assert!(!text.contains("/admin/accounts"), "{text}");
    for word in ["rung", "hold", "fuse", "quarantine", "standing"] {
        assert!(!text.to_lowercase().contains(word), "{word} is on a tenant's page");
    }
    assert_eq!(place.cloud.calls(), ["JSESSIONID=node01; sessionkey=key01"]);
}

#[tokio::test]
async fn the_cookie_is_secure_where_the_pages_are_reached_by_https() {
    let place = Place::open_with(&[("BURSAR_WEB_PUBLIC_URL", "https://cloud.example.com")]).await;
    let response = place.open_page("/", COOKIES).await;
    assert!(response.headers().get("set-cookie").unwrap().to_str().unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn half_a_session_or_two_sessions_never_reach_cloudstack() {
    let place = Place::open().await;
    for cookies in ["", "a=b", "JSESSIONID=a", "sessionkey=b", "JSESSIONID=a; sessionkey="] {
        let response = place.open_page("/", cookies).await;
        assert_eq!(response.status(), 401, "{cookies}");
        assert!(response.text().await.unwrap().contains("Sign in to CloudStack and open Billing there."));
    }
    let response = place.open_page("/", "JSESSIONID=a; sessionkey=b; sessionkey=c").await;
    assert_eq!(response.status(), 401);
    assert!(response.text().await.unwrap().contains("more than one CloudStack session"));
    assert!(place.cloud.calls().is_empty());
}

#[tokio::test]
async fn background_requests_never_ask_cloudstack() {
    let place = Place::open().await;
    let get = |mode: &'static str, purpose: &'static str| {
        place
            .client
            .get(format!("{}{BASE}/", place.url))
            .header("cookie", COOKIES)
            .header("sec-fetch-mode", mode)
            .header("sec-purpose", purpose)
            .send()
    };
    assert_eq!(get("cors", "").await.unwrap().status(), 401);
    assert_eq!(get("navigate", "prefetch").await.unwrap().status(), 401);
    assert!(place.cloud.calls().is_empty());
}

#[tokio::test]
async fn a_refused_session_is_told_and_a_silent_cloud_is_not_taken_for_one() {
    let place = Place::open().await;
    for code in [401, 511] {
        place.cloud.answer(code, refused(code));
        let response = place.open_page("/", COOKIES).await;
        assert_eq!(response.status(), 401);
        assert!(response.text().await.unwrap().contains("Sign in to CloudStack again"));
    }
    place.cloud.answer(503, refused(503));
    assert_eq!(place.open_page("/", COOKIES).await.status(), 503);
}

#[tokio::test]
async fn a_session_is_asked_for_again_after_a_minute_and_ends_after_five() {
    let place = Place::open().await;
    let (cookies, _) = place.sign_in("/").await;
    assert_eq!(place.open_page("/", &cookies).await.status(), 200);
    assert_eq!(place.cloud.calls().len(), 1, "proven a moment ago");
    place.clock.advance(Duration::from_secs(61));
    let response = place.open_page("/", &cookies).await;
    assert_eq!((response.status().as_u16(), own_cookie(&response)), (200, None), "the same session goes on");
    assert_eq!(place.cloud.calls().len(), 2);
    // CloudStack is silent: four minutes more, then no longer.
    place.cloud.answer(503, refused(503));
    place.clock.advance(Duration::from_mins(4));
    assert_eq!(place.open_page("/", &cookies).await.status(), 200);
    place.clock.advance(Duration::from_secs(61));
    assert_eq!(place.open_page("/", &cookies).await.status(), 503);
}

#[tokio::test]
async fn a_change_or_absence_of_the_cookies_ends_the_session() {
    let place = Place::open().await;
    let (cookies, _) = place.sign_in("/").await;
    let own = cookies.rsplit("; ").next().unwrap().to_owned();
    place.cloud.answer(200, users(&[admin()]));
    let response = place.open_page("/", &format!("JSESSIONID=node02; sessionkey=key02; {own}")).await;
    assert!(own_cookie(&response).is_some_and(|cookie| cookie != own), "somebody else gets a session of their own");
    assert!(response.text().await.unwrap().contains("ROOT/admin"));
    assert_eq!(place.cloud.calls().len(), 2);
    // The old one is gone, though its own cookies come back.
    place.cloud.answer(401, refused(401));
    assert_eq!(place.open_page("/", &cookies).await.status(), 401);

    let place = Place::open().await;
    let (cookies, _) = place.sign_in("/").await;
    let own = cookies.rsplit("; ").next().unwrap().to_owned();
    assert_eq!(place.open_page("/", &own).await.status(), 401);
    place.cloud.answer(401, refused(401));
    assert_eq!(place.open_page("/", &cookies).await.status(), 401);
}

#[tokio::test]
async fn users_of_keys_disabled_users_and_unknown_accounts_stay_out() {
    let place = Place::open().await;
    let prefix = place.app.config.access.user_prefix.clone();
    let mut disabled = alice();
    disabled["state"] = json!("disabled");
    let stranger = user(ALICE_USER, "eve", (ROOT, "eve"), 0, "User");
    let key_user = user(KEY_USER, &format!("{prefix}1"), (ALICE, "alice"), 0, "User");
    note_key_user(&place, &format!("{prefix}1")).await;
    for (who, says) in [
        (key_user, "may not sign in here"),
        (disabled, "may not sign in here"),
        (stranger, "appears after the next sync"),
    ] {
        place.cloud.answer(200, users(&[who]));
        let response = place.open_page("/", COOKIES).await;
        assert_eq!((response.status().as_u16(), own_cookie(&response)), (403, None));
        assert!(response.text().await.unwrap().contains(says), "{says}");
    }
}

const KEY_USER: &str = "6d0f5a52-2f3c-4c7e-8b65-9f0d6a1c2b03";

/// bursar made a user of alice's account for a key pair.
async fn note_key_user(place: &Place, name: &str) {
    let mut tx = place.app.store.begin().await.unwrap();
    let request =
        people::insert_key_request(&mut tx, "test/1", place.alice, "alice", "backups", 30, NOW).await.unwrap();
    people::put_key_user(&mut tx, request, KEY_USER, name).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn who_takes_the_name_of_a_key_user_is_not_taken_for_a_colleague() {
    let place = Place::open_with(&[("BURSAR_WEB_ADMINS", ALICE_USER)]).await;
    let prefix = place.app.config.access.user_prefix.clone();
    note_key_user(&place, &format!("{prefix}1")).await;
    let key_user = user(KEY_USER, "renamed", (ALICE, "alice"), 0, "User");
    // A user that bursar made is none of the people, whatever it is called by now.
    place.cloud.answer(200, users(&[alice(), key_user]));
    let (_, text) = place.sign_in("/").await;
    assert!(text.contains("/admin/accounts"), "alice alone is alice: {text}");
    let place = Place::open_with(&[("BURSAR_WEB_ADMINS", ALICE_USER)]).await;
    let renamed = user(ADMIN, &format!("{prefix}7"), (ALICE, "alice"), 0, "User");
    place.cloud.answer(200, users(&[alice(), renamed]));
    let (_, text) = place.sign_in("/").await;
    assert!(text.contains("one of ROOT/alice"), "{text}");
    assert!(!text.contains("/admin/accounts"), "{text}");
}

#[tokio::test]
async fn one_of_several_users_of_an_account_is_nobody_in_particular() {
    let place = Place::open().await;
    let second = user(ADMIN, "bert", (ALICE, "alice"), 2, "DomainAdmin");
    place.cloud.answer(200, users(&[user(ALICE_USER, "alice", (ALICE, "alice"), 2, "DomainAdmin"), second]));
    let (_, text) = place.sign_in("/").await;
    assert!(text.contains("one of ROOT/alice"), "{text}");
    assert!(!text.contains("/admin/accounts"));
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_it_safe() {
    let place = Place::open().await;
    let page = place.open_page("/", COOKIES).await;
    let missing = place.client.get(format!("{}/nothing", place.url)).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    for response in [&page, &missing] {
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert!(header("content-security-policy").starts_with("default-src 'none'; style-src 'self';"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-store");
    }
    let text = page.text().await.unwrap();
    let style = text.split_once("href=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let style = place.client.get(format!("{}{style}", place.url)).send().await.unwrap();
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    assert!(style.headers()["cache-control"].to_str().unwrap().contains("immutable"));
}

#[tokio::test]
async fn health_tells_alive_and_ready_apart() {
    let place = Place::open().await;
    let get = |path: &str| place.client.get(format!("{}{path}", place.url)).send();
    assert_eq!(get("/healthz").await.unwrap().status(), 200);
    assert_eq!(get("/readyz").await.unwrap().status(), 503);
    place.readiness.good(Condition::Store);
    let response = get("/readyz").await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.text().await.unwrap(), "ready\nstore: good\n");
    let home = get(BASE).await.unwrap();
    assert_eq!(home.headers()["location"], format!("{BASE}/"));
}

#[tokio::test]
async fn a_role_of_type_admin_that_is_not_the_root_administrators_administers_nothing() {
    let place = Place::open().await;
    for role in ["Read-Only Admin - Default", "Support Admin - Default", "bursar-service"] {
        let mut auditor = admin();
        auditor["rolename"] = json!(role);
        place.cloud.answer(200, users(&[auditor]));
        let session = format!("JSESSIONID={0}; sessionkey={0}", role.replace(' ', ""));
        let page = place.open_page("/", &session).await;
        let own = own_cookie(&page).unwrap();
        assert!(!page.text().await.unwrap().contains("/admin/accounts"), "{role}");
        assert_eq!(place.open_page("/admin/accounts", &format!("{session}; {own}")).await.status(), 403, "{role}");
    }
}

#[tokio::test]
async fn one_of_several_root_administrators_looks_on_until_it_is_known_who() {
    let place = Place::open().await;
    let second = user(ALICE_USER, "root2", (ADMIN, "admin"), 1, "Admin");
    place.cloud.answer(200, users(&[admin(), second]));
    let (cookies, text) = place.sign_in("/").await;
    assert!(text.contains("one of ROOT/admin") && !text.contains("/admin/accounts"), "{text}");
    assert_eq!(place.open_page("/admin/accounts", &cookies).await.status(), 403);
}

#[tokio::test]
async fn a_cloud_that_fails_inside_signs_nobody_out_and_a_role_without_the_call_is_told_so() {
    let place = Place::open().await;
    let (cookies, _) = place.sign_in("/").await;
    place.clock.advance(Duration::from_mins(2));
    place.cloud.answer(530, refused(530));
    assert_eq!(place.open_page("/", &cookies).await.status(), 200, "what was proven before is still shown");
    assert_eq!(place.open_page("/", "JSESSIONID=x; sessionkey=y").await.status(), 503);
    place.cloud.answer(432, refused(432));
    let page = place.open_page("/", &cookies).await;
    assert_eq!(page.status(), 403);
    assert!(page.text().await.unwrap().contains("may not call listUsers"));
}
