//! Every page: what it shows, to whom, in every light and width, without scripts, by keyboard alone.
//!
//! The table grows with the pages. A page of the menu that answers and has no row fails, and so does a row without its page.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde_json::json;

use super::{
    BROWSERS, Programs, accessibility, keyboard,
    site::{BASE, Site},
    visit::Visit,
};
use crate::harness::{Cloud, NOVEMBER, tenant};
use bursar::{
    ledger::{
        post::Cause,
        promo::{self, NewPromo},
        rules::codes::{Code, Worth},
    },
    money::Money,
    people::leaving::{self, Step},
    store::gateways::{self, NewGateway},
    time::Clock as _,
};

/// The width of the frame in a window of usual size, and of a telephone.
const WIDTHS: [(&str, u32); 2] = [("wide", 1_140), ("narrow", 420)];
const HEIGHT: u32 = 900;
/// The share of the window's height that the UI gives to the frame, in percent, and what stands above it.
const FRAME: (u64, u64) = (90, 32);
/// Pictures are no higher than this.
const HIGHEST: u64 = 6_000;

/// Who looks at a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// alice, a tenant.
    Tenant,
    /// The cloud's administrator.
    Administrator,
}

impl Who {
    pub const ALL: [Self; 2] = [Self::Tenant, Self::Administrator];

    /// The user's name in CloudStack.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "alice",
            Self::Administrator => "admin",
        }
    }
}

/// A page of bursar's.
#[derive(Debug)]
pub struct Row {
    /// Below the base path.
    pub path: &'static str,
    /// Who looks at it.
    pub who: Who,
    /// Its heading.
    pub heading: &'static str,
    /// What must stand on it.
    pub shows: &'static [&'static str],
}

/// Every page.
pub const ROWS: &[Row] = &[
    Row {
        path: "/",
        who: Who::Tenant,
        heading: "Overview",
        shows: &[
            "ROOT/alice",
            "Total Credit Limit",
            "Used Credit Limit",
            "Balance Available Credit Limit",
            "Cost by day",
            "What happened lately",
            "Signed in as alice",
        ],
    },
    Row { path: "/usage", who: Who::Tenant, heading: "Usage & cost", shows: &["Running machines", "15.26 EUR"] },
    Row { path: "/usage?by=resource", who: Who::Tenant, heading: "Usage & cost", shows: &["alice-www"] },
    Row { path: "/prices", who: Who::Tenant, heading: "Prices", shows: &["Running machines"] },
    Row {
        path: "/credits",
        who: Who::Tenant,
        heading: "Credits & Promo codes",
        shows: &["Total Credit Limit", "Used Credit Limit", "Balance Available Credit Limit", "Promo code", "WELCOME"],
    },
    Row {
        path: "/payment-settings",
        who: Who::Tenant,
        heading: "Payment settings",
        shows: &["Bank transfer", "My country's gateway", "Webpay"],
    },
    Row {
        path: "/notifications",
        who: Who::Tenant,
        heading: "Notification Settings",
        shows: &[
            "Maintenance and outage",
            "Invoice preference",
            "Payments Overdue",
            "Credit warnings",
            "alice@example.com",
        ],
    },
    Row {
        path: "/delete-request",
        who: Who::Tenant,
        heading: "Account Delete Request",
        shows: &["What would go", "alice-www", "alice-research", "Type the name of the account"],
    },
    Row {
        path: "/profile",
        who: Who::Tenant,
        heading: "My Profile",
        shows: &["User credit limit", "18.00 EUR", "alice@example.com", "Time zone", "Picture", "Change"],
    },
    Row {
        path: "/profile/edit",
        who: Who::Tenant,
        heading: "My Profile",
        shows: &["First name", "Last name", "E-mail", "Phone", "Company", "Location", "Address", "Save"],
    },
    Row {
        path: "/password",
        who: Who::Tenant,
        heading: "Change Password",
        shows: &["Old password", "New password", "Confirm new password"],
    },
    Row {
        path: "/second-factor",
        who: Who::Tenant,
        heading: "Multi-Factor Authentication",
        shows: &["Off", "Authenticator app", "Turn on", "If you lose your phone"],
    },
    Row {
        path: "/api-access",
        who: Who::Tenant,
        heading: "Request API Access",
        shows: &["What an API key is", "personal access tokens", "Your requests and keys"],
    },
    Row {
        path: "/admin/accounts",
        who: Who::Administrator,
        heading: "Accounts",
        shows: &["alice", "bob", "Credit limit", "Signed in as admin"],
    },
    Row { path: "/you", who: Who::Tenant, heading: "Your sign-in", shows: &["alice", "ROOT/alice"] },
    Row { path: "/admin/people", who: Who::Administrator, heading: "People", shows: &[] },
    Row {
        path: "/admin/queue",
        who: Who::Administrator,
        heading: "Queue",
        shows: &["Accounts that ask to be deleted", "ROOT/bob", "Proposed payment gateways", "Mercado"],
    },
    Row {
        path: "/admin/enforcement",
        who: Who::Administrator,
        heading: "Enforcement",
        shows: &["What is armed", "Plans that wait", "Last runs", "Holds"],
    },
];

/// The rows of one person.
pub fn rows_of(who: Who) -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(move |row| row.who == who)
}

/// A cloud in which every page has something to show: alice near her limit, bob locked for his, carol with a name that is
/// long, three days of usage.
pub async fn furnished(programs: Programs) -> Site {
    let site = Site::start(programs, NOVEMBER, &[], |world| {
        let now = world.now();
        world.set_configuration("enable.user.2fa", "true");
        let (small, medium) =
            (world.find_offering("Small Instance").unwrap(), world.find_offering("Medium Instance").unwrap());
        for name in ["alice", "bob", "carol-of-the-department-with-the-long-name"] {
            let account = tenant(world, name);
            let vm = world.deploy_vm(account, &format!("{name}-www"), small, now);
            world.deploy_vm(account, &format!("{name}-db"), medium, now);
            world.tag_resource(vm, "team", "web");
        }
        let alice = world.find_account(world.root_domain(), "alice").unwrap();
        world.add_project(alice, "alice-research");
    })
    .await;
    let cloud = &site.cloud;
    cloud.pass(Duration::from_hours(1));
    cloud.round().await;
    cloud.limit("alice", "18").await;
    cloud.limit("bob", "5").await;
    cloud.pay("alice", "1.50").await;
    cloud.arm(&["notify", "lock"]).await;
    for _ in 0..3 {
        for _ in 0..24 {
            cloud.pass(Duration::from_hours(1));
        }
        cloud.round().await;
    }
    ask_for_things(cloud).await;
    site
}

/// What tenants asked for, and were given.
async fn ask_for_things(cloud: &Cloud) {
    let (alice, bob) = (cloud.account("alice").await, cloud.account("bob").await);
    let now = cloud.clock.now();
    let mut tx = cloud.app.store.begin().await.unwrap();
    for (number, (name, decided)) in [("Webpay", true), ("Mercado", false)].into_iter().enumerate() {
        let new = NewGateway {
            key: name,
            name,
            country: "Chile",
            website: "https://pay.example.com",
            details: "Takes cards of every bank of the country, and bank transfers.",
            payer: alice.payer_id,
            account: alice.id,
            author: "alice (ROOT/alice)",
        };
        assert!(gateways::propose(&mut tx, &new, now).await.unwrap());
        if decided {
            let id = gateways::list_proposed(&mut tx, 10).await.unwrap()[number].id;
            gateways::decide(&mut tx, id, (true, false), "admin", Some("You may pay with it."), now).await.unwrap();
        }
    }
    let step = Step { author: "bob (ROOT/bob)", now, zone: cloud.app.config.billing.zone };
    leaving::ask(&mut tx, "bob", &bob, "We are closing down.", Duration::from_hours(24 * 14), step).await.unwrap();
    let terms = Code {
        worth: Worth::Amount(Money::parse("3").unwrap()),
        valid_from: now,
        valid_until: None,
        total_uses: None,
        uses_per_account: 2,
        min_payment: Money::ZERO,
        domains: Vec::new(),
        closed: false,
        uses: 0,
    };
    let new = NewPromo {
        code: "WELCOME".to_owned(),
        terms,
        public: true,
        grant_days: Some(30),
        grant_scope: None,
        grant_priority: 0,
        note: String::new(),
    };
    promo::create(&mut tx, new, "admin", now).await.unwrap();
    let cause = Cause { key: "welcome", author: "alice (ROOT/alice)", reason: "redeemed on the page" };
    let defaults = (cloud.app.default_limit(), cloud.app.tax().unwrap());
    promo::redeem(&mut tx, &alice, "WELCOME", cause, defaults, now).await.unwrap();
    tx.commit().await.unwrap();
}

/// Opens a page in the frame and looks at what must stand there.
pub async fn open(visit: &Visit<'_>, row: &Row) {
    visit.open(row.path).await;
    shows(visit, row).await;
}

async fn shows(visit: &Visit<'_>, row: &Row) {
    let heading = visit.browser.run("return document.querySelector('h1').innerText", json!([])).await;
    let text = visit.browser.text().await;
    assert_eq!(heading, row.heading, "{}: {text}", row.path);
    for wanted in row.shows {
        assert!(text.contains(wanted), "{} does not show \"{wanted}\":\n{text}", row.path);
    }
}

/// Where pictures go, if anybody wants them.
fn pictures() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("BURSAR_TEST_SCREENSHOTS")?);
    std::fs::create_dir_all(&folder).unwrap();
    Some(folder)
}

/// A picture of the whole page in the frame.
pub async fn picture(visit: &Visit<'_>, width: u32, name: &str) {
    let Some(folder) = pictures() else { return };
    let script = "return document.querySelector('.layout, main').getBoundingClientRect().height + scrollY";
    let high = visit.browser.run(script, json!([])).await.as_f64().unwrap();
    let high = high.to_string().split('.').next().unwrap().parse::<u64>().unwrap();
    let window = (high * 100).div_ceil(FRAME.0) + FRAME.1 + 20;
    visit.browser.size(width, u32::try_from(window.clamp(u64::from(HEIGHT), HIGHEST)).unwrap()).await;
    std::fs::write(folder.join(format!("{name}.png")), visit.browser.picture().await).unwrap();
    visit.browser.size(width, HEIGHT).await;
}

/// A file's name for a page.
fn file_name(row: &Row, more: &str) -> String {
    let path = row.path.trim_matches('/').replace(['/', '?', '='], "-");
    format!("{}-{}-{more}", row.who.name(), if path.is_empty() { "overview" } else { &path })
}

#[tokio::test]
async fn every_page_stands_in_light_and_dark_on_wide_and_narrow_screens() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = furnished(programs).await;
    for who in Who::ALL {
        let visit = Visit::begin(programs, &site).await;
        visit.sign_in(who.name()).await;
        let mut wrong = Vec::new();
        for (light, ground) in [("light", "rgb(240, 242, 245)"), ("dark", "rgb(9, 12, 16)")] {
            if light == "dark" {
                visit.switch_dark().await;
            }
            for (form, width) in WIDTHS {
                visit.browser.size(width, HEIGHT).await;
                for row in rows_of(who) {
                    open(&visit, row).await;
                    let name = file_name(row, &format!("{form}-{light}"));
                    let body =
                        visit.browser.run("return getComputedStyle(document.body).backgroundColor", json!([])).await;
                    assert_eq!(body, ground, "{name}");
                    let over = visit.browser.run(OVERFLOW, json!([])).await;
                    wrong.extend(over.as_array().unwrap().iter().map(|html| format!("{name}: too wide: {html}")));
                    let found = accessibility::findings(&visit.browser).await;
                    wrong.extend(found.into_iter().map(|finding| format!("{name}: {finding}")));
                    picture(&visit, width, &name).await;
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        visit.no_complaints(&[]).await;
    }
}

/// What makes the page wider than the screen; what scrolls by itself may be wider.
const OVERFLOW: &str = "
const root = document.documentElement;
if (root.scrollWidth <= root.clientWidth) return [];
const wide = [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1);
return wide.filter((e) => !e.closest('.wide, pre')).slice(0, 3).map((e) => e.outerHTML.slice(0, 160)).concat('the page');";

#[tokio::test]
async fn every_page_works_without_scripts() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = furnished(programs).await;
    for who in Who::ALL {
        let visit = Visit::begin(programs, &site).await;
        visit.sign_in(who.name()).await;
        visit.browser.scripts(false).await;
        for row in rows_of(who) {
            visit.open_alone(row.path).await;
            shows(&visit, row).await;
            let ran = visit.browser.run("return document.documentElement.className", json!([])).await;
            assert_eq!(ran, "", "a script ran");
            let stuck = visit.browser.run(WITHOUT_BUTTON, json!([])).await;
            assert_eq!(stuck, json!([]), "{}: forms that nobody can send", row.path);
            let dead = visit.browser.run(DEAD_BUTTON, json!([])).await;
            assert_eq!(dead, json!([]), "{}: buttons that do nothing without scripts", row.path);
        }
    }
}

#[tokio::test]
async fn every_page_stands_for_somebody_who_has_nothing_yet() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = Site::start(programs, NOVEMBER, &[], |world| {
        tenant(world, "dora");
        // Without any usage CloudStack's job has not run, and then there are no figures at all.
        let (other, now) = (tenant(world, "other"), world.now());
        let small = world.find_offering("Small Instance").unwrap();
        world.deploy_vm(other, "other-www", small, now);
    })
    .await;
    site.cloud.pass(Duration::from_hours(1));
    site.cloud.round().await;
    for (name, who) in [("dora", Who::Tenant), ("admin", Who::Administrator)] {
        let visit = Visit::begin(programs, &site).await;
        visit.sign_in(name).await;
        let mut wrong = Vec::new();
        for (form, width) in WIDTHS {
            visit.browser.size(width, HEIGHT).await;
            for row in rows_of(who) {
                visit.open(row.path).await;
                let heading = visit.browser.run("return document.querySelector('h1').innerText", json!([])).await;
                assert_eq!(heading.as_str().unwrap(), row.heading.replace("alice", "dora"), "{}", row.path);
                let name = file_name(row, &format!("{form}-empty"));
                for script in [OVERFLOW, WITHOUT_BUTTON] {
                    let found = visit.browser.run(script, json!([])).await;
                    wrong.extend(found.as_array().unwrap().iter().map(|html| format!("{name}: {html}")));
                }
                let found = accessibility::findings(&visit.browser).await;
                wrong.extend(found.into_iter().map(|finding| format!("{name}: {finding}")));
                picture(&visit, width, &name).await;
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        visit.no_complaints(&[]).await;
    }
}

const WITHOUT_BUTTON: &str = "return [...document.forms].filter((form) => ![...form.elements].some((element) => \
     element.matches('button:not([type=button]), input[type=submit]'))).map((form) => form.outerHTML.slice(0, 160))";
const DEAD_BUTTON: &str = "return [...document.querySelectorAll('button')].filter((button) => button.checkVisibility() && \
     (button.type !== 'submit' || !button.form)).map((button) => button.outerHTML.slice(0, 160))";

#[tokio::test]
async fn every_page_is_reached_with_the_keyboard_alone() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = furnished(programs).await;
    for who in Who::ALL {
        let visit = Visit::begin(programs, &site).await;
        visit.sign_in(who.name()).await;
        for (form, width) in WIDTHS {
            visit.browser.size(width, HEIGHT).await;
            for row in rows_of(who) {
                open(&visit, row).await;
                keyboard::walk(&visit, &file_name(row, form)).await;
            }
        }
        visit.open("/").await;
        keyboard::skip(&visit).await;
    }
}

#[tokio::test]
async fn every_page_of_the_menu_that_answers_has_a_row() {
    let Some(programs) = Programs::find() else { return };
    let _turn = BROWSERS.acquire().await.unwrap();
    let site = furnished(programs).await;
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.path).collect();
    let visit = Visit::begin(programs, &site).await;
    visit.sign_in(Who::Administrator.name()).await;
    let script =
        "return [...document.querySelectorAll('.menu a')].map((link) => [link.getAttribute('href'), link.innerText])";
    let menu = visit.browser.run(script, json!([])).await;
    let mut open = Vec::new();
    for link in menu.as_array().unwrap() {
        let (path, label) = (link[0].as_str().unwrap().strip_prefix(BASE).unwrap(), link[1].as_str().unwrap());
        visit.open(path).await;
        let there =
            visit.browser.run("return document.querySelector('.menu a[aria-current]') !== null", json!([])).await;
        if there == true {
            assert!(rows.contains(path), "{label} ({path}) has no row in tests/browser/pages.rs");
            let here =
                visit.browser.run("return document.querySelector('.menu a[aria-current]').innerText", json!([])).await;
            assert_eq!(here, label);
            let title = visit.browser.run("return document.title", json!([])).await;
            assert_eq!(title, label);
            open.push(path.to_owned());
        }
    }
    for row in ROWS {
        let reached = open.iter().any(|path| row.path == path || row.path.starts_with(&format!("{path}/")));
        // The name at the foot of the menu leads there.
        let by_name = row.path == "/you";
        assert!(reached || by_name || row.path.contains('?'), "{} is reached by no entry of the menu", row.path);
    }
}
