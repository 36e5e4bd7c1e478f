//! The page of enforcement and its forms, and the same for machines.

use super::*;
use crate::{
    ids::RunId,
    secrets::token_hash,
    store::{
        enforcement as holds, notify,
        operations::{self as rows, NewPlan, PlanLineRow},
        people, policy, runs,
    },
};

impl Place {
    /// A plan that waits: alice is to be stopped.
    pub(super) async fn put_plan(&self) -> i64 {
        let mut tx = self.app.store.begin().await.unwrap();
        let plan = NewPlan {
            cause: "fuse",
            author: "the fuse",
            why: "9 accounts are due, and the fuse allows 5 of 300",
            figures: "{}".to_owned(),
            run: RunId::new(1),
            expires: NOW.plus(std::time::Duration::from_hours(24)),
        };
        let machine =
            r#"[{"id":"d522b0de-3fe4-4094-9d94-fb27222e11d8","name":"web <1>","state":"Running","project":"shop"}]"#;
        let line = PlanLineRow {
            account_id: self.alice,
            rung: "stop".to_owned(),
            reason: "stop-date-reached".to_owned(),
            sentence: "Your account was disabled.".to_owned(),
            figures: "{}".to_owned(),
            machines: machine.to_owned(),
            notes: r#"["its projects are suspended, for members of other accounts too: shop"]"#.to_owned(),
            to_avoid: "a payment or a higher limit of 54.20 EUR".to_owned(),
            state: "waiting".to_owned(),
            answer: None,
        };
        let id = rows::insert_plan(&mut tx, &plan, &[line], NOW).await.unwrap();
        policy::arm(&mut tx, "lock", "ROOT/acme", "alice", NOW).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    async fn plan_state(&self, id: i64) -> String {
        let mut tx = self.app.store.read().await.unwrap();
        rows::get_plan(&mut tx, id).await.unwrap().state
    }
}

#[tokio::test]
async fn the_page_shows_what_is_armed_and_a_plan_with_all_that_matters() {
    let place = Place::open().await;
    let id = place.put_plan().await;
    place.cloud.answer(200, users(&[admin()]));
    let (_, text) = place.sign_in("/admin/enforcement").await;
    for wanted in [
        r#"ROOT/acme</span> <span class="secondary">by alice</span>"#,
        &format!("Plan {id}"),
        "9 accounts are due",
        "ROOT/alice",
        "machines would stop:",
        "web &#60;1&#62; (project shop)",
        "for members of other accounts too",
        "54.20 EUR",
        "nobody yet (0 of 1)",
        "No account is held.",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in {text}");
    }
}

#[tokio::test]
async fn a_plan_is_approved_by_a_form_of_the_page_and_wakes_the_jobs() {
    let place = Place::open().await;
    let id = place.put_plan().await;
    place.cloud.answer(200, users(&[admin()]));
    let (cookies, text) = place.sign_in("/admin/enforcement").await;
    let csrf = hidden(&text, "csrf");
    let path = format!("/admin/enforcement/plans/{id}/approve");
    let fields = [("csrf", csrf.as_str())];
    assert_eq!(place.send_form(&path, &cookies, "cross-site", &fields).await.status(), 403);
    assert_eq!(place.send_form(&path, &cookies, "same-origin", &[("csrf", "guess")]).await.status(), 403);
    assert_eq!(place.plan_state(id).await, "waiting");
    let response = place.send_form(&path, &cookies, "same-origin", &fields).await;
    assert_eq!(response.status(), 303);
    assert!(response.headers()["location"].to_str().unwrap().ends_with("/admin/enforcement?done=approved"));
    place.wake.notified().await;
    assert_eq!(place.plan_state(id).await, "approved");
    let mut tx = place.app.store.read().await.unwrap();
    let lines = runs::list_audit(&mut tx, Some(&format!("plan {id}")), 10).await.unwrap();
    assert_eq!((lines[0].action.as_str(), lines[0].actor.as_str()), ("plan.approve", "admin (ROOT/admin)"));
    tx.commit().await.unwrap();
    assert_eq!(place.send_form(&path, &cookies, "same-origin", &fields).await.status(), 409, "once only");
}

#[tokio::test]
async fn pausing_and_dropping_take_an_administrator() {
    let place = Place::open().await;
    let id = place.put_plan().await;
    assert_eq!(place.open_page("/admin/enforcement", COOKIES).await.status(), 403, "alice is a tenant");
    place.cloud.answer(200, users(&[admin()]));
    let (cookies, text) = place.sign_in("/admin/enforcement").await;
    let csrf = hidden(&text, "csrf");
    let fields = [("csrf", csrf.as_str())];
    let path = format!("/admin/enforcement/plans/{id}/drop");
    assert_eq!(place.send_form(&path, &cookies, "same-origin", &fields).await.status(), 303);
    assert_eq!(place.plan_state(id).await, "dropped");
    assert_eq!(place.send_form("/admin/enforcement/pause", &cookies, "same-origin", &fields).await.status(), 303);
    let text = place.open_page("/admin/enforcement?done=paused", &cookies).await.text().await.unwrap();
    assert!(text.contains("Enforcement is paused.") && text.contains("/admin/enforcement/resume"), "{text}");
    assert_eq!(place.send_form("/admin/enforcement/nonsense", &cookies, "same-origin", &fields).await.status(), 404);
}

#[tokio::test]
async fn pausing_and_resuming_on_the_page_leave_who_did_it_and_what_was_before_and_after_in_the_audit_trail() {
    let place = Place::open().await;
    place.cloud.answer(200, users(&[admin()]));
    let (cookies, text) = place.sign_in("/admin/enforcement").await;
    let csrf = hidden(&text, "csrf");
    for word in ["pause", "resume", "pause"] {
        let path = format!("/admin/enforcement/{word}");
        let response = place.send_form(&path, &cookies, "same-origin", &[("csrf", csrf.as_str())]).await;
        assert_eq!(response.status(), 303, "{word}");
    }
    let mut tx = place.app.store.read().await.unwrap();
    let lines = runs::list_audit(&mut tx, Some("enforcement"), 10).await.unwrap();
    let of_it = lines.iter().rev().map(|line| {
        let (before, after) = (line.before_state.as_deref(), line.after_state.as_deref());
        (line.actor.as_str(), line.action.as_str(), before, after)
    });
    assert_eq!(
        of_it.collect::<Vec<_>>(),
        [
            ("admin (ROOT/admin)", "enforce.pause", None, Some("1")),
            ("admin (ROOT/admin)", "enforce.resume", Some("1"), Some("0")),
            ("admin (ROOT/admin)", "enforce.pause", Some("0"), Some("1")),
        ]
    );
}

#[tokio::test]
async fn machines_read_plans_and_approve_them_with_the_right_scope() {
    let place = Place::open().await;
    let id = place.put_plan().await;
    let mut tx = place.app.store.begin().await.unwrap();
    for (name, token, scopes) in [("looker", "bursar_looks", "read"), ("desk", "bursar_acts", "read,write")] {
        people::insert_token(&mut tx, name, &token_hash(token), scopes, "test", NOW).await.unwrap();
    }
    tx.commit().await.unwrap();
    let ask = async |method: reqwest::Method, path: String, token: &str| {
        let request = place.client.request(method, format!("{}/api/v1{path}", place.url));
        let response = request.bearer_auth(token).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap())
    };
    let (get, post) = (reqwest::Method::GET, reqwest::Method::POST);
    let (status, told) = ask(get.clone(), "/enforcement".to_owned(), "bursar_looks").await;
    assert_eq!((status, &told["plans"][0]["id"], &told["armed"][0]["rung"]), (200, &json!(id), &json!("lock")));
    let (status, told) = ask(get, format!("/plans/{id}"), "bursar_looks").await;
    assert_eq!((status, &told["lines"][0]["machines"][0]["project"]), (200, &json!("shop")));
    assert_eq!(ask(post.clone(), format!("/plans/{id}/approve"), "bursar_looks").await.0, 403);
    let (status, told) = ask(post.clone(), format!("/plans/{id}/approve"), "bursar_acts").await;
    assert_eq!((status, &told["state"], &told["approved_by"][0]), (200, &json!("approved"), &json!("token desk")));
    let (status, told) = ask(post, format!("/plans/{id}/approve"), "bursar_acts").await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("refused")));
}

#[tokio::test]
async fn the_page_tells_what_holds_everybody_back_and_counts_people_and_not_approvals() {
    let place = Place::open().await;
    let id = place.put_plan().await;
    let mut tx = place.app.store.begin().await.unwrap();
    // One of the users of an account, nobody knows which, may be the other one.
    for (identity, name) in [("some:7", "admin"), ("user:u1\nat:7", "alice")] {
        assert!(rows::insert_approval(&mut tx, id, identity, name, NOW).await.unwrap());
    }
    let run = runs::start_run(&mut tx, "enforce", "schedule", "test", NOW).await.unwrap().unwrap();
    let report = json!({ "held_back_by": [
        { "kind": "version", "why": "CloudStack was 4.20.1.0 and is 4.22.0.0 now" },
        { "kind": "paused", "why": "it has a banner of its own" },
    ] });
    runs::end_run(&mut tx, run, "done", &report.to_string(), NOW).await.unwrap();
    tx.commit().await.unwrap();
    place.cloud.answer(200, users(&[admin()]));
    let (_, text) = place.sign_in("/admin/enforcement").await;
    for wanted in ["No steps down were taken in the last run:", "CloudStack was 4.20.1.0 and is", "alice (1 of 1)"] {
        assert!(text.contains(wanted), "{wanted} is missing in {text}");
    }
    assert!(!text.contains("a banner of its own"), "{text}");
}

#[tokio::test]
async fn the_page_lists_an_account_that_somebody_enabled_while_it_is_held_for_its_credit() {
    let place = Place::open().await;
    place.cloud.answer(200, users(&[admin()]));
    let (cookies, text) = place.sign_in("/admin/enforcement").await;
    let (agree, odd) = ("CloudStack and this database agree", "<strong>ROOT/alice</strong> is enabled in CloudStack");
    assert!(text.contains(agree) && !text.contains(odd), "{text}");
    // On which step the hold stands, in which state the account is, and whether that is odd.
    for (rung, state, is_odd) in [
        ("restrict", "enabled", false),
        ("lock", "locked", false),
        ("lock", "enabled", true),
        ("stop", "disabled", false),
        ("stop", "enabled", true),
    ] {
        let mut tx = place.app.store.begin().await.unwrap();
        holds::place_hold(&mut tx, place.alice, "billing", rung, "used up", None, "bursar", NOW).await.unwrap();
        cloud::put_account_state(&mut tx, place.alice, state, NOW).await.unwrap();
        tx.commit().await.unwrap();
        let text = place.open_page("/admin/enforcement", &cookies).await.text().await.unwrap();
        assert_eq!((text.contains(odd), text.contains(agree)), (is_odd, !is_odd), "{rung}, {state}: {text}");
        let mut tx = place.app.store.begin().await.unwrap();
        assert!(holds::lift_hold(&mut tx, place.alice, "billing", "test", NOW).await.unwrap());
        tx.commit().await.unwrap();
    }
    // Somebody else's hold on an account that is enabled is a wish for later, and not odd.
    let mut tx = place.app.store.begin().await.unwrap();
    holds::place_hold(&mut tx, place.alice, "abuse", "lock", "spam", None, "admin", NOW).await.unwrap();
    tx.commit().await.unwrap();
    let text = place.open_page("/admin/enforcement", &cookies).await.text().await.unwrap();
    assert!(text.contains(agree) && !text.contains(odd), "{text}");
}

impl Place {
    /// An account has been given a notice, or a rehearsed one, and nobody can be written to.
    async fn put_unaddressed(&self, account: AccountId, rehearsed: bool) -> i64 {
        let mut tx = self.app.store.begin().await.unwrap();
        let payer = cloud::get_account(&mut tx, account).await.unwrap().payer_id;
        let (event, sentence) = ("warning-lock-1", "Your account is to be locked.");
        let given = holds::insert_notice(&mut tx, payer, account, 0, event, sentence, None, rehearsed, NOW).await;
        assert!(given.unwrap());
        let notice = holds::list_notices(&mut tx, Some(account), 1).await.unwrap()[0].id;
        assert!(notify::put_notice_unaddressed(&mut tx, notice, NOW).await.unwrap());
        tx.commit().await.unwrap();
        notice
    }
}

#[tokio::test]
async fn the_page_lists_accounts_of_which_nobody_can_be_warned_until_somebody_can() {
    let place = Place::open().await;
    place.cloud.answer(200, users(&[admin()]));
    let (cookies, text) = place.sign_in("/admin/enforcement").await;
    let (reached, waits) = ("Everybody who had to be warned can be reached.", "there is nobody to warn: it waits");
    assert!(text.contains(reached) && !text.contains(waits), "{text}");
    // What is only rehearsed warns nobody.
    place.put_unaddressed(place.root, true).await;
    let text = place.open_page("/admin/enforcement", &cookies).await.text().await.unwrap();
    assert!(text.contains(reached), "{text}");
    let notice = place.put_unaddressed(place.alice, false).await;
    let text = place.open_page("/admin/enforcement", &cookies).await.text().await.unwrap();
    assert!(text.contains(waits) && text.contains("<li><strong>ROOT/alice</strong></li>"), "{text}");
    assert!(!text.contains("<li><strong>ROOT/admin</strong></li>") && !text.contains(reached), "{text}");
    // An address was found, and the mail is made.
    let mut tx = place.app.store.begin().await.unwrap();
    notify::put_notice_queued(&mut tx, notice, NOW).await.unwrap();
    tx.commit().await.unwrap();
    let text = place.open_page("/admin/enforcement", &cookies).await.text().await.unwrap();
    assert!(text.contains(reached) && !text.contains("<li><strong>ROOT/alice</strong></li>"), "{text}");
}
