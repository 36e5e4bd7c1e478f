//! Names that CloudStack lets people choose, chosen by somebody with bad intent: none of them becomes anything but text.

use std::time::Duration;

use bursar::standin::AccountKind;
use serde_json::json;

use super::{
    BROWSERS, Programs,
    pages::{Who, rows_of},
    site::Site,
    visit::{PASSWORD, Visit},
};
use crate::harness::NOVEMBER;

/// What would run, or break out, where a name is put into a page as it is.
const NAMES: [&str; 5] = [
    "<script>window.broken=1</script>",
    "\"><img class=broken src=x onerror=window.broken=1>",
    "'-window.broken-'{{7*7}}${7*7}",
    "</title></textarea><svg class=broken onload=window.broken=1>",
    "\u{202e}gnp.live\u{2066}javascript:window.broken=1",
];

/// What must not be there: nothing that a name brought in.
const BROKEN: &str = "
const scripts = [...document.querySelectorAll('script')].filter((s) => !/\\/static\\/[a-z0-9.-]+\\.js$/.test(s.src));
const wrong = [...document.querySelectorAll('.broken, [onerror], [onload], [onclick], a[href^=\"javascript\" i]')].concat(scripts);
return wrong.map((element) => element.outerHTML.slice(0, 200)).concat(window.broken ? ['a script of a name ran'] : []);";

async fn furnished(programs: Programs) -> Site {
    let mut accounts = Vec::new();
    let site = Site::start(programs, NOVEMBER, &[], |world| {
        let now = world.now();
        let small = world.find_offering("Small Instance").unwrap();
        let root = world.root_domain();
        for (number, name) in NAMES.iter().enumerate() {
            let domain = world.add_domain(root, &format!("{name}{number}"));
            let account = world.add_account(domain, &format!("{name}-{number}"), AccountKind::User);
            let user = world.add_user(account, &format!("{name}.{number}"), PASSWORD, "mallory@example.com");
            world.set_person(user, name, name, None);
            world.deploy_vm(account, name, small, now);
            accounts.push(account);
        }
        // alice herself has a name that one can sign in with, in an account and with things that are hostile.
        let account = world.add_account(root, NAMES[1], AccountKind::User);
        accounts.push(account);
        let user = world.add_user(account, "alice", PASSWORD, "alice@example.com");
        world.set_person(user, NAMES[0], NAMES[1], None);
        for name in NAMES {
            let vm = world.deploy_vm(account, name, small, now);
            world.tag_resource(vm, name, NAMES[0]);
            let project = world.add_project(account, name);
            world.deploy_vm(project, name, small, now);
            world.add_network(account, name, now);
        }
    })
    .await;
    let cloud = &site.cloud;
    cloud.pass(Duration::from_hours(1));
    cloud.round().await;
    for account in accounts {
        cloud.limit(&account.to_string(), "1").await;
    }
    cloud.arm(&["notify", "lock"]).await;
    for _ in 0..24 {
        cloud.pass(Duration::from_hours(1));
    }
    cloud.round().await;
    site
}

#[tokio::test]
async fn names_from_cloudstack_are_never_anything_but_text() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = furnished(programs).await;
    for who in Who::ALL {
        let visit = Visit::begin(programs, &site).await;
        visit.sign_in(who.name()).await;
        for row in rows_of(who) {
            visit.open(row.path).await;
            let broken = visit.browser.run(BROKEN, json!([])).await;
            assert_eq!(broken, json!([]), "{}", row.path);
        }
        let (path, name) = match who {
            Who::Tenant => ("/", NAMES[1]),
            Who::Administrator => ("/admin/accounts", NAMES[0]),
        };
        visit.open(path).await;
        let text = visit.browser.text().await;
        assert!(text.contains(name), "the name itself stands there: {text}");
        visit.no_complaints(&[]).await;
    }
}

#[tokio::test]
async fn what_stands_in_an_address_is_never_anything_but_text() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = furnished(programs).await;
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in(Who::Administrator.name()).await;
    for name in NAMES {
        let value: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let query = ["search", "sort", "page", "done", "changed", "from", "to", "by", "period", "next", "back"]
            .map(|key| format!("{key}={value}"))
            .join("&");
        for row in rows_of(Who::Administrator).chain(rows_of(Who::Tenant)) {
            visit.open(&format!("{}?{query}", row.path.split('?').next().unwrap())).await;
            let broken = visit.browser.run(BROKEN, json!([])).await;
            assert_eq!(broken, json!([]), "{}", row.path);
        }
        visit.open(&format!("/{value}")).await;
        assert_eq!(visit.browser.run(BROKEN, json!([])).await, json!([]));
    }
}
