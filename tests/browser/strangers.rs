//! Pages for people whom CloudStack does not let in: the ways to sign in, a link's button, and the page of a suspended account.

use std::time::Duration;

use serde_json::json;

use super::{
    BROWSERS, Programs, accessibility,
    pages::{furnished, picture},
    visit::Visit,
};
use crate::harness::Cloud;
use bursar::{
    secrets::token_hash,
    store::links::{self, NewLink},
    time::Clock as _,
};

const TOKEN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Lets bob be locked for his credit, and gives him the link that the notice would hold.
async fn lock_bob(cloud: &Cloud) {
    cloud.limit("bob", "0.05").await;
    for _ in 0..8 {
        for _ in 0..24 {
            cloud.pass(Duration::from_hours(1));
        }
        if cloud.round().await.locked == ["ROOT/bob"] {
            break;
        }
    }
    cloud.catch_up().await;
    let bob = cloud.account("bob").await;
    assert_eq!(bob.state, "locked");
    let now = cloud.clock.now();
    let mut tx = cloud.app.store.begin().await.unwrap();
    let link = NewLink {
        purpose: "suspension",
        account: bob.id,
        cloud_user_id: "",
        notice_id: None,
        proof_hash: "",
        recipient: "bob@example.com",
        expires: now.plus(Duration::from_hours(24)),
        delete_request: None,
    };
    let id = links::insert_link(&mut tx, &link, now).await.unwrap();
    links::insert_token(&mut tx, id, &token_hash(TOKEN), now).await.unwrap();
    tx.commit().await.unwrap();
}

/// What stands there, and that nobody is kept from it: axe, and a picture, wide and narrow.
async fn look(visit: &Visit<'_>, name: &str, shows: &[&str]) {
    let text = visit.browser.text().await;
    for wanted in shows {
        assert!(text.contains(wanted), "{name} does not show \"{wanted}\":\n{text}");
    }
    for (form, width) in [("wide", 1_140), ("narrow", 420)] {
        visit.browser.size(width, 900).await;
        let found = accessibility::findings(&visit.browser).await;
        assert!(found.is_empty(), "{name} {form}: {}", found.join("\n"));
        picture(visit, width, &format!("nobody-{name}-{form}")).await;
    }
}

#[tokio::test]
async fn somebody_whom_cloudstack_locks_out_finds_why_and_the_way_back() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = furnished(programs).await;
    lock_bob(&site.cloud).await;
    let visit = Visit::begin(programs, &site).await;
    visit.open_alone("/sign-in").await;
    look(&visit, "sign-in", &["Sign in", "Open CloudStack"]).await;
    visit.open_alone(&format!("/link/{TOKEN}")).await;
    look(&visit, "link", &["Open the page"]).await;
    visit.browser.click(&visit.browser.find("main button").await).await;
    visit.browser.wait_for("location.pathname.endsWith('/suspended')").await;
    assert!(!visit.address().await.contains(TOKEN));
    let shows = ["ROOT/bob", "To open it again, pay at least", "What works, and what does not", "Ask for more time"];
    look(&visit, "suspended", &shows).await;
    // The way back through the browser sends nothing again, and the link's page holds nothing but its button.
    visit.browser.back().await;
    assert!(visit.browser.text().await.contains("Open the page"));
    // The records behind the amount are open to the link too.
    visit.open_alone("/suspended/records").await;
    look(&visit, "suspended-records", &["What was charged", "Price line", "Download as CSV"]).await;
    // Asked for in the browser, it waits for an administrator.
    visit.open_alone("/suspended").await;
    visit.browser.fill(&visit.browser.find("textarea").await, "The transfer is on its way.").await;
    let script = "document.querySelector('textarea').form.requestSubmit()";
    visit.browser.run(script, json!([])).await;
    visit.browser.wait_for("location.search.includes('more-time')").await;
    let mut tx = site.cloud.app.store.read().await.unwrap();
    let asked = links::list_more_time(&mut tx, None, None, 10).await.unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].reason, "The transfer is on its way.");
}
