//! What happens to people between two pages: first visits, ended sessions, forms sent twice, tabs, the way back.

use std::time::Duration;

use bursar::{money::Money, standin::totp_code, time::Clock as _};
use serde_json::json;

use super::{
    BROWSERS, Programs, pages,
    site::{BASE, Site},
    visit::{PASSWORD, Visit},
};
use crate::harness::{NOVEMBER, tenant};

/// alice and bob, each with a machine.
async fn site(programs: Programs) -> Site {
    let site = Site::start(programs, NOVEMBER, &[], |world| {
        for name in ["alice", "bob"] {
            let account = tenant(world, name);
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(account, &format!("{name}-www"), offering, now);
        }
    })
    .await;
    site.cloud.pass(Duration::from_hours(1));
    site.cloud.round().await;
    site.cloud.limit("alice", "100").await;
    site
}

fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

/// Types into the form of an account in the administrator's table, and gives the button that sends it.
async fn fill_in(visit: &Visit<'_>, form: &str, account: i64, fields: &[(&str, &str)]) -> super::driver::Element {
    let form = format!("form[action$='/admin/accounts/{account}/{form}']");
    visit
        .browser
        .run(&format!("document.querySelector(\"{form}\").closest('details')?.setAttribute('open', '')"), json!([]))
        .await;
    for (name, value) in fields {
        let field = visit.browser.find(&format!("{form} input[name={name}]")).await;
        visit.browser.fill(&field, value).await;
    }
    visit.browser.find(&format!("{form} button")).await
}

impl Site {
    async fn number(&self, name: &str) -> i64 {
        self.cloud.account(name).await.id.to_string().parse().unwrap()
    }

    /// Money paid in for an account, less what was booked.
    async fn money(&self, name: &str) -> Money {
        self.cloud.standing(name).await.figures.money
    }
}

#[tokio::test]
async fn a_first_visit_needs_no_other_sign_in_and_no_cookie_makes_an_administrator() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let visit = Visit::begin(programs, &site).await;
    // Without a session there is a sentence, and no loop.
    visit.ui().await;
    visit.open_alone("/").await;
    assert!(visit.browser.text().await.contains("Sign in to CloudStack and open Billing there."));
    visit.sign_in("alice").await;
    assert_eq!(visit.address().await, site.at(&format!("{BASE}/")));
    assert!(visit.browser.text().await.contains("Signed in as alice"));
    let names: Vec<String> = visit.browser.cookies().await.into_iter().map(|(name, _)| name).collect();
    for name in ["JSESSIONID", "sessionkey", "bursar_session", "CLOUDSTACK_ROUTE"] {
        assert!(names.iter().any(|cookie| cookie == name), "{name} does not arrive at bursar: {names:?}");
    }
    // Hidden from scripts, and at bursar's pages only.
    let seen = visit.browser.run("return document.cookie", json!([])).await;
    for name in ["JSESSIONID", "sessionkey", "bursar_session", "CLOUDSTACK_ROUTE"] {
        // CloudStack itself does not hide JSESSIONID.
        assert!(name == "JSESSIONID" || !seen.as_str().unwrap().contains(name), "{seen}");
    }
    visit.browser.frame(None).await;
    let at_ui: Vec<String> = visit.browser.cookies().await.into_iter().map(|(name, _)| name).collect();
    assert!(!at_ui.iter().any(|name| name == "bursar_session"), "{at_ui:?}");
    // The hints that anybody can write say nothing.
    visit
        .browser
        .run(
            "for (const hint of ['account=admin', 'role=Admin', 'username=admin']) document.cookie = hint + '; path=/'",
            json!([]),
        )
        .await;
    visit.open("/").await;
    assert!(visit.browser.text().await.contains("Signed in as alice"));
    visit.no_complaints(&["401"]).await;
    visit.open("/admin/accounts").await;
    let text = visit.browser.text().await;
    assert!(!text.contains("bob"), "{text}");
    assert_eq!(site.cloud.standin.calls().iter().filter(|call| call.command == "logout").count(), 0);
}

#[tokio::test]
async fn an_expired_session_leads_back_to_cloudstack_and_is_not_kept_alive() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("alice").await;
    let calls = site.cloud.standin.calls().len();
    // Longer than CloudStack keeps a session that nobody uses; the page stands open all the while.
    site.cloud.clock.advance(Duration::from_mins(31));
    assert_eq!(site.cloud.standin.calls().len(), calls, "a page that stands open asks nothing");
    visit.browser.click(&visit.browser.link("Overview").await).await;
    visit.browser.wait_for("document.body.innerText.includes('Sign in to CloudStack again')").await;
    let text = visit.browser.text().await;
    assert!(!text.contains("Total Credit Limit"), "{text}");
    visit.browser.frame(None).await;
    visit.sign_out().await;
    visit.sign_in("alice").await;
    assert!(visit.browser.text().await.contains("Total Credit Limit"));
}

#[tokio::test]
async fn a_locked_account_is_out_at_the_next_page_and_is_told_so_by_cloudstack() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("alice").await;
    let id = site.cloud.account("alice").await.cloud_id.parse().unwrap();
    site.cloud.standin.with(|world| world.lock_by_admin(id));
    site.cloud.clock.advance(Duration::from_mins(2));
    visit.open("/").await;
    let text = visit.browser.text().await;
    assert!(text.contains("Sign in to CloudStack again") && !text.contains("Total Credit Limit"), "{text}");
    visit.sign_out().await;
    assert!(!visit.try_sign_in("alice", PASSWORD).await);
    assert!(visit.browser.text().await.contains("disabled/locked"));
    visit.open_alone("/").await;
    assert!(!visit.browser.text().await.contains("Total Credit Limit"));
}

#[tokio::test]
async fn a_wrong_password_in_cloudstack_opens_no_page() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let visit = Visit::begin(programs, &site).await;
    assert!(!visit.try_sign_in("alice", "not-the-password").await);
    visit.open_alone("/").await;
    assert!(visit.browser.text().await.contains("Sign in to CloudStack and open Billing there."));
}

#[tokio::test]
async fn a_form_sent_by_two_clicks_is_carried_out_once_with_and_without_scripts() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let alice = site.number("alice").await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("admin").await;
    visit.open("/admin/accounts").await;
    let button = fill_in(&visit, "payment", alice, &[("amount", "50"), ("reference", "transfer 17")]).await;
    visit.browser.run("arguments[0].click(); arguments[0].click()", json!([button.value()])).await;
    visit.browser.wait_for("location.search.includes('changed=')").await;
    assert_eq!(site.money("alice").await, money("50"));

    // Without scripts nothing holds the second click back: it goes out with the same number.
    visit.browser.scripts(false).await;
    visit.open_alone("/admin/accounts").await;
    let button = fill_in(&visit, "payment", alice, &[("amount", "7"), ("reference", "transfer 18")]).await;
    visit.browser.run("arguments[0].click(); arguments[0].click()", json!([button.value()])).await;
    visit.browser.wait_for("location.search.includes('changed=')").await;
    assert_eq!(site.money("alice").await, money("57"));
}

#[tokio::test]
async fn going_back_and_reloading_after_a_form_send_nothing_again() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let alice = site.number("alice").await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("admin").await;
    visit.open_alone("/admin/accounts").await;
    let button = fill_in(&visit, "payment", alice, &[("amount", "50"), ("reference", "transfer 17")]).await;
    visit.browser.click(&button).await;
    visit.browser.wait_for("location.search.includes('changed=')").await;
    visit.pause();
    visit.browser.reload().await;
    visit.browser.wait_for("location.search.includes('changed=')").await;
    assert_eq!(site.money("alice").await, money("50"), "the page after the form is reloaded, not the form");
    visit.pause();
    visit.browser.back().await;
    visit.browser.wait_for("!location.search.includes('changed=') && document.forms.length > 1").await;
    assert_eq!(site.money("alice").await, money("50"));
    // What the page shows is the present state, and its forms work.
    let button = fill_in(&visit, "payment", alice, &[("amount", "1"), ("reference", "transfer 18")]).await;
    visit.browser.click(&button).await;
    visit.browser.wait_for("location.search.includes('changed=')").await;
    assert_eq!(site.money("alice").await, money("51"));
}

#[tokio::test]
async fn a_mistake_is_told_beside_its_field_and_what_was_typed_stays() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let alice = site.number("alice").await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("admin").await;
    visit.open("/admin/accounts").await;
    let button = fill_in(&visit, "payment", alice, &[("amount", "1,000"), ("reference", "transfer 17")]).await;
    visit.browser.click(&button).await;
    visit.browser.wait_for("document.querySelector('.wrong')").await;
    let wrong = visit.browser.run("return document.querySelector('.wrong').innerText", json!([])).await;
    assert!(wrong.as_str().unwrap().contains("is not an amount"), "{wrong}");
    let kept = visit
        .browser
        .run("return [...document.querySelectorAll('input[name=reference]')].map((i) => i.value)", json!([]))
        .await;
    assert!(kept.as_array().unwrap().contains(&json!("transfer 17")), "{kept}");
    assert_eq!(site.money("alice").await, Money::ZERO);
    visit.no_complaints(&["422"]).await;
}

#[tokio::test]
async fn two_tabs_with_the_same_form_each_do_their_own_and_none_twice() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let alice = site.number("alice").await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("admin").await;
    visit.open_alone("/admin/accounts").await;
    let first = visit.browser.tab().await;
    let second = visit.browser.new_tab().await;
    visit.browser.turn_to(&second).await;
    visit.open_alone("/admin/accounts").await;
    // Both forms are filled in before either is sent.
    let in_second = fill_in(&visit, "limit", alice, &[("limit", "200"), ("reason", "contract 2")]).await;
    visit.browser.turn_to(&first).await;
    let in_first = fill_in(&visit, "limit", alice, &[("limit", "300"), ("reason", "contract 3")]).await;
    visit.browser.click(&in_first).await;
    visit.browser.wait_for("location.search.includes('changed=')").await;
    assert_eq!(site.cloud.standing("alice").await.figures.limit, money("300"));
    visit.browser.turn_to(&second).await;
    visit.browser.click(&in_second).await;
    visit.browser.wait_for("location.search.includes('changed=')").await;
    assert_eq!(site.cloud.standing("alice").await.figures.limit, money("200"), "the later form holds");
}

#[tokio::test]
async fn a_tab_of_somebody_else_shows_and_does_nothing_for_who_signed_in_since() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let alice = site.number("alice").await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("admin").await;
    visit.open_alone("/admin/accounts").await;
    let administrators = visit.browser.tab().await;
    let button = fill_in(&visit, "limit", alice, &[("limit", "9999"), ("reason", "for myself")]).await;
    let second = visit.browser.new_tab().await;
    visit.browser.turn_to(&second).await;
    visit.ui().await;
    visit.sign_out().await;
    visit.sign_in("alice").await;
    assert!(visit.browser.text().await.contains("Signed in as alice"));
    // The administrator's form goes out with alice's cookies.
    visit.browser.turn_to(&administrators).await;
    visit.browser.click(&button).await;
    visit.browser.wait_for("!document.querySelector('form[action*=\"/admin/\"]')").await;
    assert_eq!(site.cloud.standing("alice").await.figures.limit, money("100"));
    // And her own page is the same as before.
    visit.open_alone("/").await;
    assert!(visit.browser.text().await.contains("Signed in as alice"), "{}", visit.browser.text().await);
    // bob in the other tab: this one turns to bob with the next page, and shows nothing of alice.
    visit.browser.turn_to(&second).await;
    visit.sign_out().await;
    visit.sign_in("bob").await;
    visit.browser.turn_to(&administrators).await;
    visit.open_alone("/").await;
    let text = visit.browser.text().await;
    assert!(text.contains("Signed in as bob") && !text.contains("alice"), "{text}");
}

#[tokio::test]
async fn signing_out_in_cloudstack_ends_bursars_session_too() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("alice").await;
    visit.sign_out().await;
    visit.open_alone("/").await;
    let text = visit.browser.text().await;
    assert!(text.contains("Sign in to CloudStack and open Billing there.") && !text.contains("Total"), "{text}");
    // Not even the way back shows the figures: nothing of them was kept.
    visit.browser.back().await;
    visit.browser.wait_for("document.querySelector('#login')").await;
    assert!(!visit.browser.text().await.contains("Total Credit Limit"));
}

#[tokio::test]
async fn dark_mode_follows_the_switch_of_the_ui_at_once() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("alice").await;
    let ground = "getComputedStyle(document.body).backgroundColor";
    visit.browser.wait_for(&format!("{ground} === 'rgb(240, 242, 245)'")).await;
    visit.browser.run("window.same = true", json!([])).await;
    visit.switch_dark().await;
    visit.browser.wait_for(&format!("{ground} === 'rgb(9, 12, 16)'")).await;
    visit.switch_dark().await;
    visit.browser.wait_for(&format!("{ground} === 'rgb(240, 242, 245)'")).await;
    assert_eq!(visit.browser.run("return window.same", json!([])).await, true, "the page was not loaded again");
}

#[tokio::test]
async fn no_other_site_can_put_the_pages_in_a_frame() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("alice").await;
    // The same machine under another name is another site.
    visit.browser.frame(None).await;
    visit.browser.open("data:text/html,<iframe id=theirs></iframe>").await;
    let script = "const done = arguments[1]; const frame = document.getElementById('theirs'); \
                  frame.addEventListener('load', () => done(true), { once: true }); frame.src = arguments[0];";
    visit.browser.run_until_called(script, json!([site.at(&format!("{BASE}/"))])).await;
    let frame = visit.browser.find("#theirs").await;
    visit.browser.frame(Some(&frame)).await;
    let address = visit.address().await;
    assert!(address.starts_with("chrome-error://"), "the browser did not refuse: {address}");
}

/// Fills in the fields of a page by their ids and sends its form.
async fn send(visit: &Visit<'_>, fields: &[(&str, &str)], button: &str) {
    for (id, value) in fields {
        let field = visit.browser.find(&format!("#{id}")).await;
        visit.browser.fill(&field, value).await;
    }
    visit.pause();
    let button = visit.browser.find(button).await;
    visit.browser.click(&button).await;
}

#[tokio::test]
async fn a_wrong_old_password_changes_nothing_and_the_right_one_is_good_from_then_on() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("alice").await;
    visit.open("/password").await;
    let new = "another-Password-7";
    send(&visit, &[("old", "not-the-password"), ("new", new), ("again", new)], "main button").await;
    visit.browser.wait_for("document.querySelector('#old-wrong')").await;
    let values = "return [...document.querySelectorAll('input[type=password]')].map((field) => field.value)";
    assert_eq!(visit.browser.run(values, json!([])).await, json!(["", "", ""]), "no password comes back in a page");
    send(&visit, &[("old", PASSWORD), ("new", new), ("again", "a-third-Password-7")], "main button").await;
    visit.browser.wait_for("document.querySelector('#again-wrong')").await;
    send(&visit, &[("old", PASSWORD), ("new", new), ("again", new)], "main button").await;
    visit.browser.wait_for("document.querySelector('.banner.success')").await;
    assert!(visit.address().await.ends_with("/password?done=password"), "{}", visit.address().await);
    visit.sign_out().await;
    assert!(!visit.try_sign_in("alice", PASSWORD).await);
    assert!(visit.try_sign_in("alice", new).await);
    visit.no_complaints(&["422", "531", "401", "/client/api/"]).await;
}

#[tokio::test]
async fn a_second_factor_is_turned_on_by_its_code_asked_for_and_turned_off_again() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = site(programs).await;
    site.cloud.standin.with(|world| world.set_configuration("enable.user.2fa", "true"));
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in("alice").await;
    visit.open("/second-factor").await;
    // A wrong code undoes the set-up.
    send(&visit, &[], "main button").await;
    visit.browser.find("#secret").await;
    pages::picture(&visit, 1_140, "alice-second-factor-begun-wide-light").await;
    send(&visit, &[("code", "000000")], "main button").await;
    visit.browser.wait_for("document.querySelector('.banner.error') && document.querySelector('#totp')").await;
    send(&visit, &[], "main button").await;
    visit.browser.find("#secret").await;
    let secret = visit.browser.run("return document.querySelector('#secret').innerText.trim()", json!([])).await;
    let secret = secret.as_str().unwrap().to_owned();
    let code = || totp_code(&secret, site.cloud.clock.now());
    // `send` lets time pass before the click, and a code counts for half a minute.
    let first = totp_code(&secret, site.cloud.clock.now().plus(Duration::from_secs(5)));
    send(&visit, &[("code", &first)], "main button").await;
    visit.browser.wait_for("document.querySelector('.banner.success')").await;
    assert!(visit.browser.text().await.contains("Turn off"), "{}", visit.browser.text().await);
    // The back button leads to no secret.
    visit.browser.back().await;
    let shown = visit.browser.run("return document.documentElement.outerHTML", json!([])).await;
    assert!(!shown.as_str().unwrap().contains(&secret), "the secret is shown once");
    visit.browser.frame(None).await;
    visit.ui().await;
    visit.sign_out().await;

    // From now on CloudStack asks for it. Until it has it, there is nobody for bursar.
    assert!(!visit.try_sign_in("alice", PASSWORD).await);
    visit.browser.wait_for("!document.getElementById('second').hidden").await;
    visit.open_alone("/").await;
    assert!(!visit.browser.text().await.contains("Total Credit Limit"), "{}", visit.browser.text().await);
    assert!(!visit.try_sign_in("alice", PASSWORD).await);
    let field = visit.browser.find("#second input").await;
    visit.browser.fill(&field, &code()).await;
    let verify = visit.browser.find("#verify").await;
    visit.browser.click(&verify).await;
    visit.enter_frame().await;
    visit.open("/second-factor").await;
    pages::picture(&visit, 1_140, "alice-second-factor-on-wide-light").await;
    // A wrong code turns nothing off.
    send(&visit, &[("password", PASSWORD), ("code", "000000")], "main button.danger").await;
    visit.browser.wait_for("document.querySelector('.banner.error')").await;
    assert!(visit.browser.text().await.contains("Turn off"));
    site.cloud.clock.advance(Duration::from_secs(30));
    let last = totp_code(&secret, site.cloud.clock.now().plus(Duration::from_secs(5)));
    send(&visit, &[("password", PASSWORD), ("code", &last)], "main button.danger").await;
    visit.browser.wait_for("document.querySelector('.banner.success')").await;
    visit.sign_out().await;
    assert!(visit.try_sign_in("alice", PASSWORD).await, "{}", visit.browser.text().await);
}
