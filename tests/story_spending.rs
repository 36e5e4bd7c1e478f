//! What a tenant sees of usage, cost and prices: the pages and their files over HTTP, in the tenant's own CloudStack session,
//! against what the ledger says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bursar::{
    cloudstack::session::SessionClient,
    jobs::work,
    ledger::{payers, post::Cause},
    lifecycle::{Condition, Readiness},
    money::Money,
    progress::Quiet,
    rating::TaxRate,
    secrets::{Secret, token_hash},
    store::{ledger, people, spending},
    time::{Clock as _, Day, ManualClock},
    web::{self, WebState, keydesk::ClosedDesk},
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;

use crate::harness::{Cloud, Database, NOVEMBER, on_each_database, tenant};

const HOUR: Duration = Duration::from_hours(1);
const BASE: &str = "/client/api/bursar";

/// Prices with everything that is hard: steps, a change in the middle of the month, an offering of its own, a tag, a discount.
const HARD_PRICES: &str = r#"
currency = "EUR"
free = ["network", "network-offering", "allocated-vm"]
[[tariff]]
type = "running-vm"
unit = "hour"
price = "0.10"
until = "2026-11-02T12:30:00Z"
[[tariff]]
type = "running-vm"
unit = "hour"
price = "0.13"
from = "2026-11-02T12:30:00Z"
[[tariff]]
type = "running-vm"
tag = "backup=gold"
unit = "hour"
price = "0.17"
[[tariff]]
type = "volume"
unit = "gib-month"
price = "0.0371"
[[tariff]]
type = "ip-address"
unit = "month"
price = "3.01"
[[tariff]]
type = "network-bytes-sent"
unit = "gb"
tiers = [{ up_to = "5", price = "0.11" }, { price = "0.07" }]
free_amount = "1"
[[discount]]
percent = "7.5"
type = "running-vm"
domain = "ROOT"
[[tax]]
percent = "20"
"#;

fn day(number: i64) -> Day {
    Day::from_number(NOVEMBER / 86_400 + number)
}

/// bursar's pages for a cloud.
struct Pages {
    url: String,
    client: reqwest::Client,
    sessions: SessionClient,
    clock: ManualClock,
}

/// A signed-in browser.
struct Browser<'p> {
    pages: &'p Pages,
    cookies: String,
}

impl Pages {
    async fn open(cloud: &Cloud) -> Self {
        let app = cloud.app.clone();
        let sessions = SessionClient::new(&app.client_settings().unwrap()).unwrap();
        let readiness = Readiness::new(&[Condition::Store], &[]);
        let state = WebState::new(app, readiness, sessions.clone(), Arc::new(Notify::new()), Arc::new(ClosedDesk));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(web::serve(state, listener, CancellationToken::new()));
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { url, client, sessions, clock: cloud.clock.clone() }
    }

    async fn sign_in(&self, name: &str) -> Browser<'_> {
        let session = self.sessions.login(name, &Secret::new("password-of-a-tenant"), "/").await.unwrap().session;
        let cookies =
            format!("JSESSIONID={}; sessionkey={}", session.jsessionid.expose(), session.session_key.expose());
        let response = self.get("/", &cookies).await;
        assert_eq!(response.status(), 200);
        let own = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        Browser { pages: self, cookies: format!("{cookies}; {own}") }
    }

    async fn get(&self, path: &str, cookies: &str) -> reqwest::Response {
        // People click no faster than the limits allow.
        self.clock.advance(Duration::from_secs(1));
        let request = self.client.get(format!("{}{BASE}{path}", self.url)).header("accept", "text/html");
        request.header("sec-fetch-mode", "navigate").header("cookie", cookies).send().await.unwrap()
    }
}

impl Browser<'_> {
    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.pages.get(path, &self.cookies).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn page(&self, path: &str) -> String {
        let (status, text) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        text
    }

    /// A file as rows by column name.
    async fn file(&self, path: &str) -> Vec<BTreeMap<String, String>> {
        let response = self.pages.get(path, &self.cookies).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8");
        let disposition = response.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert!(disposition.starts_with("attachment; filename=\"") && disposition.ends_with(".csv\""), "{disposition}");
        let text = response.text().await.unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let head = reader.headers().unwrap().clone();
        reader
            .records()
            .map(|row| {
                let row = row.unwrap();
                head.iter().map(str::to_owned).zip(row.iter().map(str::to_owned)).collect()
            })
            .collect()
    }

    /// Net and gross of all rows of a file.
    async fn sum(&self, path: &str) -> (Money, Money) {
        let rows = self.file(path).await;
        let sum = |column: &str| Money::sum(rows.iter().map(|row| Money::parse(&row[column]).unwrap())).unwrap();
        (sum("net"), sum("gross"))
    }
}

/// Net and gross of an account in `[from, until)`: what the ledger booked, and what is rated and will be.
async fn booked_and_accrued(cloud: &Cloud, name: &str, from: Day, until: Day) -> (Money, Money) {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    let (mut net, mut tax) = (Money::ZERO, Money::ZERO);
    let of = spending::Of::Account(account.id);
    for row in spending::list_spent(&mut tx, of, from, until).await.unwrap() {
        let (more, more_tax) = if row.unsettled == 1 {
            let rate = TaxRate::parse(row.tax_percent.as_deref().unwrap()).unwrap();
            let due = Money::round_from_nanos(row.net_nanos);
            (due, rate.of(due).unwrap())
        } else {
            (Money::from_micros(row.posted_net_micros), Money::from_micros(row.posted_tax_micros))
        };
        net = net.plus(more).unwrap();
        tax = tax.plus(more_tax).unwrap();
    }
    // The same from the entries, as far as it is booked.
    let booked = ledger::list_posted(&mut tx).await.unwrap();
    let booked =
        booked.iter().filter(|row| row.0 == account.id.get() && row.1 >= from.number() && row.1 < until.number());
    let booked = Money::sum(booked.map(|row| Money::from_micros(row.3 + row.4))).unwrap();
    let accrued = cloud.standing(name).await.figures.accrued;
    assert_eq!(net.plus(tax).unwrap(), booked.plus(accrued).unwrap(), "of {name}");
    (net, net.plus(tax).unwrap())
}

/// A cloud with alice (two machines, traffic, a project, a hostile name and tags) and bob (one machine).
async fn hard_cloud(database: Database) -> Cloud {
    let cloud = Cloud::start(database, NOVEMBER, |world| {
        let (small, now) = (world.find_offering("Small Instance").unwrap(), world.now());
        let alice = tenant(world, "alice");
        let web = world.deploy_vm(alice, "=cmd|' /C calc'!A0", small, now);
        world.tag_resource(web, "backup", "gold");
        let other = world.deploy_vm(alice, "<script>alert(1)</script>", small, now);
        world.tag_resource(other, "backup", "none\"><b>");
        let bob = tenant(world, "bob");
        world.deploy_vm(bob, "bob-vm", small, now);
        let project = world.add_project(alice, "research <i>");
        world.deploy_vm(project, "in-the-project", small, now);
    })
    .await;
    std::fs::write(cloud.database.folder.path().join("prices.toml"), HARD_PRICES).unwrap();
    for _ in 0..3 {
        cloud.standin.with(|world| {
            let alice = world.find_account(world.root_domain(), "alice").unwrap();
            let network = world.network_of(alice).unwrap();
            world.transfer_bytes(network, 2_345_678_901, 10_000, cloud.clock.now());
        });
        for _ in 0..17 {
            cloud.pass(HOUR);
        }
    }
    cloud.catch_up().await;
    cloud
}

const MONTH: &str = "period=2026-11";

#[tokio::test]
async fn every_level_adds_up_to_the_ledger_and_the_files_say_what_the_page_says() {
    on_each_database(|database| async {
        let cloud = hard_cloud(database).await;
        let kind = cloud.database.kind;
        let pages = Pages::open(&cloud).await;
        let alice = pages.sign_in("alice").await;
        let whole = booked_and_accrued(&cloud, "alice", day(0), day(30)).await;
        assert!(whole.0.is_positive() && whole.1 > whole.0);
        let page = alice.page(&format!("/usage?{MONTH}")).await;
        let currency = &cloud.app.config.billing.currency;
        assert!(page.contains(&format!("<p class=\"number\">{}</p>", currency.format(whole.1))), "on {kind}: {page}");
        assert!(page.contains("of it not booked yet"), "the newest day is open");
        // The dearest resources of the overview lead to their records.
        let overview = alice.page("/").await;
        let link = overview.split_once("/usage/records?resource=").unwrap().1.split_once('"').unwrap().0;
        alice.page(&format!("/usage/records?resource={}", link.replace("&#38;", "&"))).await;
        for by in ["service", "machine", "tag", "resource", "project"] {
            let sum = alice.sum(&format!("/usage/download?{MONTH}&by={by}")).await;
            assert_eq!(sum, whole, "by {by} on {kind}");
        }
        // Day by day and month by month it is the same, and what is added up ends with the whole.
        let days = alice.file(&format!("/usage/download?{MONTH}&table=days")).await;
        let of = |row: &BTreeMap<String, String>, column: &str| Money::parse(&row[column]).unwrap();
        assert_eq!(Money::sum(days.iter().map(|row| of(row, "gross"))).unwrap(), whole.1, "on {kind}");
        assert_eq!(of(days.last().unwrap(), "added_up"), whole.1, "on {kind}");
        assert!(days.len() > 1 && days.iter().all(|row| page.contains(&row["day"])), "{days:?}");
        let months = alice.file("/usage/download?table=months").await;
        assert_eq!((months[0]["month"].as_str(), of(&months[0], "gross")), ("2026-11", whole.1), "on {kind}");
        assert!(page.contains("table=days") && page.contains("table=months"), "{page}");
        assert_eq!(alice.get("/usage/download?table=other").await.0, 422);
        // A service is the sum of its resources; a project, a machine and a tag are the sums of theirs.
        let lines = alice.file(&format!("/usage/download?{MONTH}")).await;
        for line in &lines {
            let slug = &line["type"];
            let parts = alice.sum(&format!("/usage/download?{MONTH}&by=resource&type={slug}")).await;
            assert_eq!(parts.1, Money::parse(&line["gross"]).unwrap(), "{slug} on {kind}");
            assert!(page.contains(&currency.format_plain(parts.1)), "{slug} is on the page");
        }
        for (by, filter) in [("machine", "machine"), ("project", "project"), ("tag", "tag=backup&value")] {
            for line in alice.file(&format!("/usage/download?{MONTH}&by={by}")).await {
                let id = line["id"].trim_start_matches('\'');
                if id.is_empty() && by != "tag" {
                    continue;
                }
                let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
                let parts = alice.sum(&format!("/usage/download?{MONTH}&by=resource&{filter}={id}")).await;
                assert_eq!(parts.1, Money::parse(&line["gross"]).unwrap(), "{by} {line:?} on {kind}");
            }
        }
        // A resource is the sum of its records, rounded once a day.
        let half_a_cent = Money::from_micros(5_000);
        let mut two_prices = 0;
        for line in alice.file(&format!("/usage/download?{MONTH}&by=resource")).await {
            let (id, slug) = (line["id"].trim_start_matches('\''), &line["type"]);
            let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
            let path = format!("?{MONTH}&resource={id}&type={slug}");
            let records = alice.file(&format!("/usage/records/download{path}")).await;
            let nets = records.iter().filter(|row| !row["net"].is_empty());
            let nanos = nets.map(|row| row["net"].parse::<rust_decimal::Decimal>().unwrap());
            let net = Money::round_from(nanos.sum()).unwrap();
            let off = net.minus(Money::parse(&line["net"]).unwrap()).unwrap();
            assert!(off < half_a_cent && off.negated().unwrap() < half_a_cent, "{line:?}: {net} on {kind}");
            let text = alice.page(&format!("/usage/records{path}")).await;
            let first = &records[0];
            assert!(text.contains(&first["price_line"].replace('<', "&#60;")), "{text}");
            // The price changed at half past twelve: the record of that hour is two pieces with a price line each.
            let cut = records.windows(2).any(|pair| {
                pair[0]["end"] == "2026-11-02T12:30:00Z"
                    && pair[1]["start"] == "2026-11-02T12:30:00Z"
                    && pair[0]["price_line"].starts_with("0.10 EUR per hour")
                    && pair[1]["price_line"].starts_with("0.13 EUR per hour")
                    && pair[1]["price_line"].ends_with("7.5 % discount")
            });
            two_prices += usize::from(cut);
        }
        assert_eq!(two_prices, 2, "two machines without the tag");
        // Graduated prices are told by step.
        let sent = alice.file(&format!("/usage/download?{MONTH}&by=resource&type=network-bytes-sent")).await;
        let id: String = url::form_urlencoded::byte_serialize(sent[0]["id"].as_bytes()).collect();
        let records = alice.file(&format!("/usage/records/download?{MONTH}&resource={id}")).await;
        let steps: Vec<&str> = records
            .iter()
            .filter(|row| row["type"] == "network-bytes-sent" && row["quantity"] != "0")
            .map(|row| row["price_line"].as_str())
            .collect();
        assert!(steps.contains(&"free, step 1"), "{steps:?}");
        assert!(steps.contains(&"0.11 EUR per GB, step 2") && steps.contains(&"0.07 EUR per GB, step 3"), "{steps:?}");
    })
    .await;
}

#[tokio::test]
async fn a_tenant_sees_nothing_of_others_whatever_the_address_says() {
    on_each_database(|database| async {
        let cloud = hard_cloud(database).await;
        let pages = Pages::open(&cloud).await;
        let (alice, bob) = (pages.sign_in("alice").await, pages.sign_in("bob").await);
        let own = alice.file(&format!("/usage/download?{MONTH}&by=resource")).await;
        let machines = alice.file(&format!("/usage/download?{MONTH}&by=machine")).await;
        let projects = alice.file(&format!("/usage/download?{MONTH}&by=project")).await;
        let project = &projects.iter().find(|row| row["id"] != "none").unwrap()["id"];
        for line in own.iter().filter(|row| !row["id"].is_empty()) {
            let id: String = url::form_urlencoded::byte_serialize(line["id"].as_bytes()).collect();
            for path in ["/usage/records", "/usage/records/download"] {
                assert_eq!(alice.get(&format!("{path}?{MONTH}&resource={id}")).await.0, 200);
                let (status, text) = bob.get(&format!("{path}?{MONTH}&resource={id}")).await;
                assert_eq!(status, 404, "{path} {id}");
                assert!(!text.contains(&line["resource"]) && !text.contains("in-the-project"), "{text}");
            }
        }
        let machine = &machines.iter().find(|row| !row["id"].is_empty()).unwrap()["id"];
        let text = bob.page(&format!("/usage?{MONTH}&by=resource&machine={machine}")).await;
        assert!(text.contains("Nothing was used in this time"), "{text}");
        assert!(bob.file(&format!("/usage/download?{MONTH}&by=resource&machine={machine}")).await.is_empty());
        assert_eq!(bob.get(&format!("/usage?{MONTH}&by=resource&project={project}")).await.0, 404);
        assert!(bob.file(&format!("/usage/download?{MONTH}&by=resource&tag=backup&value=gold")).await.is_empty());
        // An unknown resource and one of somebody else are told alike.
        let foreign: String = url::form_urlencoded::byte_serialize(own[0]["id"].as_bytes()).collect();
        let strip = |text: String| text.split("<main").nth(1).unwrap().to_owned();
        let (_, other) = bob.get(&format!("/usage/records?{MONTH}&resource={foreign}")).await;
        let (_, none) = bob.get(&format!("/usage/records?{MONTH}&resource=nothing")).await;
        assert_eq!(strip(other), strip(none));
    })
    .await;
}

#[tokio::test]
async fn hostile_names_are_text_on_pages_and_in_files() {
    let cloud = hard_cloud(Database::sqlite()).await;
    let pages = Pages::open(&cloud).await;
    let alice = pages.sign_in("alice").await;
    for by in ["machine", "tag", "resource", "project"] {
        let text = alice.page(&format!("/usage?{MONTH}&by={by}")).await;
        for bad in ["<script>alert", "\"><b>", "research <i>"] {
            assert!(!text.contains(bad), "{bad} by {by}: {text}");
        }
    }
    let text = alice.page(&format!("/usage?{MONTH}&by=machine")).await;
    assert!(text.contains("&#60;script&#62;alert(1)"), "{text}");
    let names: Vec<String> = alice
        .file(&format!("/usage/download?{MONTH}&by=machine"))
        .await
        .into_iter()
        .map(|row| row["machine"].clone())
        .collect();
    assert!(names.contains(&"'=cmd|' /C calc'!A0".to_owned()), "{names:?}");
    assert!(names.iter().all(|name| !name.starts_with(['=', '+', '-', '@'])), "{names:?}");
    let query = "by=tag&tag=%3Cb%3E%22&value=%3Cscript%3E&machine=%22%3E%3Cimg%20src%3Dx%3E";
    let text = alice.page(&format!("/usage?{MONTH}&{query}")).await;
    assert!(!text.contains("<img") && !text.contains("<script>") && !text.contains("<b>"), "{text}");
}

#[tokio::test]
async fn bad_dates_are_told_beside_the_field_and_the_page_stays() {
    let cloud = hard_cloud(Database::sqlite()).await;
    let pages = Pages::open(&cloud).await;
    let alice = pages.sign_in("alice").await;
    for (query, words) in [
        ("period=dates&from=2026-11-31&to=2026-11-30", "Write a date such as"),
        ("period=dates&from=2026-11-30&to=2026-11-01", "lies before the first"),
        ("period=dates&from=2020-01-01&to=2026-11-01", "choose a shorter time"),
        ("period=soon", "Choose one of the periods"),
        ("period=dates&from=%22%3E%3Cscript%3E&to=x", "Write a date such as"),
    ] {
        let (status, text) = alice.get(&format!("/usage?{query}")).await;
        assert_eq!(status, 422, "{query}");
        assert!(text.contains(words) && text.contains("Usage &#38; cost") && !text.contains("\"><script>"), "{text}");
        for file in ["/usage/download", "/usage/records", "/usage/records/download"] {
            let (status, text) = alice.get(&format!("{file}?{query}&resource=x")).await;
            assert_eq!(status, 422, "{file}?{query}");
            assert!(text.contains(words), "{text}");
        }
    }
    for query in ["after=x", "after=1-00", "after=1-zz0102030405060708090a0b0c0d0e0f"] {
        assert_eq!(alice.get(&format!("/usage/records?{MONTH}&resource=x&{query}")).await.0, 422, "{query}");
    }
    assert_eq!(alice.get(&format!("/usage?{MONTH}&type=nothing")).await.0, 404);
    for query in ["page=0", "page=99999999999999999999", "page=-1", "by=%00", "tag=x"] {
        assert_eq!(alice.get(&format!("/usage?{MONTH}&{query}")).await.0, 200, "{query}");
    }
}

#[tokio::test]
async fn an_account_without_usage_has_pages_that_say_so() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            tenant(world, "carol");
            let (offering, now) = (world.find_offering("Small Instance").unwrap(), world.now());
            let bob = tenant(world, "bob");
            world.deploy_vm(bob, "bob-vm", offering, now);
        })
        .await;
        cloud.pass(HOUR);
        work::sync(&cloud.app, false, "test", &Quiet).await.unwrap();
        let pages = Pages::open(&cloud).await;
        let carol = pages.sign_in("carol").await;
        for by in ["service", "machine", "tag", "resource", "project"] {
            let text = carol.page(&format!("/usage?by={by}")).await;
            assert!(text.contains("Nothing was used in this time"), "{text}");
            assert!(carol.file(&format!("/usage/download?by={by}")).await.is_empty());
        }
        // Prices are set, and nothing was priced by them yet.
        let text = carol.page("/prices").await;
        assert!(text.contains("Running machines") && text.contains("0.10 EUR per hour"), "{text}");
        std::fs::remove_file(cloud.database.folder.path().join("prices.toml")).unwrap();
        let text = carol.page("/prices?quote=1&cpu=1").await;
        assert!(text.contains("No prices are set yet"), "{text}");
        assert_eq!(carol.get("/usage").await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn days_without_records_are_told_by_service_and_everything_still_adds_up() {
    on_each_database(|database| async {
        let mut cloud = Cloud::start(database, NOVEMBER, |world| {
            let (offering, now) = (world.find_offering("Small Instance").unwrap(), world.now());
            let alice = tenant(world, "alice");
            world.deploy_vm(alice, "alice-vm", offering, now);
        })
        .await;
        cloud.reconfigure("BILLING_LOOKBACK_DAYS", "2").await;
        cloud.reconfigure("BILLING_KEEP_RECORDS_DAYS", "37").await;
        cloud.pass(Duration::from_hours(24 * 40));
        cloud.catch_up().await;
        let pages = Pages::open(&cloud).await;
        let alice = pages.sign_in("alice").await;
        let whole = booked_and_accrued(&cloud, "alice", day(0), day(50)).await;
        let span = "period=dates&from=2026-11-01&to=2026-12-20";
        for by in ["service", "machine", "resource", "project"] {
            assert_eq!(alice.sum(&format!("/usage/download?{span}&by={by}")).await, whole, "by {by}");
        }
        let text = alice.page(&format!("/usage?{span}&by=machine")).await;
        assert!(text.contains("Single records are no longer kept of days before 2026-11-04"), "{text}");
        assert!(text.contains("Running machines, days before 2026-11-04"), "{text}");
        let old = alice.file(&format!("/usage/download?{span}&by=machine")).await;
        let old = old.iter().find(|row| row["machine"] == "Running machines, days before 2026-11-04").unwrap();
        assert_eq!(Money::parse(&old["net"]).unwrap(), Money::parse("7.2").unwrap());
        // Of the resource, the sums of those days and the records of the others.
        let lines = alice.file(&format!("/usage/download?{span}&by=resource&type=running-vm")).await;
        let id = &lines.iter().find(|row| row["resource"] == "alice-vm").unwrap()["id"];
        let text = alice.page(&format!("/usage/records?{span}&resource={id}&type=running-vm")).await;
        assert!(text.contains("Days summed up") && text.contains("<th scope=\"row\">2026-11-03</th>"), "{text}");
        assert!(text.contains("0.10 EUR per hour") && text.contains("Later records"), "{text}");
        let only_old = "period=dates&from=2026-11-01&to=2026-11-02";
        let text = alice.page(&format!("/usage/records?{only_old}&resource={id}&type=running-vm")).await;
        assert!(text.contains("Single records of this time are no longer kept"), "{text}");
        // Pages of records follow each other without a hole and without a record twice.
        let all = alice.file(&format!("/usage/records/download?{span}&resource={id}&type=running-vm")).await;
        let all: Vec<&str> = all.iter().filter(|row| !row["net"].is_empty()).map(|row| row["start"].as_str()).collect();
        assert_eq!(all.len(), 37 * 24);
        let (mut path, mut seen) = (format!("/usage/records?{span}&resource={id}&type=running-vm"), 0);
        for _ in 0..20 {
            let text = alice.page(&path).await;
            seen += text.matches("0.10 EUR per hour").count();
            let Some((before, _)) = text.split_once("\" rel=\"next\">") else { break };
            path = before.rsplit_once(BASE).unwrap().1.replace("&#38;", "&");
        }
        assert_eq!(seen, 37 * 24, "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn a_correction_is_a_line_of_its_own_and_in_the_figures_of_its_day() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            let (offering, now) = (world.find_offering("Small Instance").unwrap(), world.now());
            let bob = tenant(world, "bob");
            world.deploy_vm(bob, "bob-vm", offering, now);
        })
        .await;
        for _ in 0..26 {
            cloud.pass(HOUR);
        }
        cloud.catch_up().await;
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let vm = world.machines_of(bob)[0];
            world.stop_vm(vm, bursar::time::Timestamp::from_seconds(NOVEMBER).plus(HOUR * 20));
        });
        cloud.pass(HOUR);
        let pages = Pages::open(&cloud).await;
        let bob = pages.sign_in("bob").await;
        let before = bob.page(&format!("/usage?{MONTH}")).await;
        assert!(!before.contains("CloudStack reported it differently"), "{before}");
        // By machine, so that the day is remembered as it was.
        bob.page(&format!("/usage?{MONTH}&by=machine")).await;
        cloud.catch_up().await;
        let whole = booked_and_accrued(&cloud, "bob", day(0), day(30)).await;
        for by in ["service", "machine", "resource"] {
            assert_eq!(bob.sum(&format!("/usage/download?{MONTH}&by={by}")).await, whole, "by {by}");
        }
        let text = bob.page(&format!("/usage?{MONTH}")).await;
        let line = text.split("CloudStack reported it differently").next().unwrap().rsplit_once("<tr>").unwrap().1;
        assert!(line.contains("2026-11-01") && line.contains("Running machines"), "{line}");
        assert!(text.contains("-0.40") && text.contains("in the figures above"), "{text}");
        let other = bob.page("/usage?period=dates&from=2026-11-02&to=2026-11-02").await;
        assert!(other.contains("of another time"), "booked on that day, about the day before: {other}");
        let machine = bob.file(&format!("/usage/download?{MONTH}&by=machine")).await;
        let machine = machine.iter().find(|row| row["machine"] == "bob-vm").unwrap();
        assert_eq!(machine["net"], "2.00", "twenty hours on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn a_payer_of_several_accounts_sees_this_account_and_the_sum_of_all() {
    on_each_database(|database| async {
        let cloud = hard_cloud(database).await;
        let accounts = [cloud.account("alice").await, cloud.account("bob").await];
        let mut tx = cloud.app.store.begin().await.unwrap();
        let defaults = (cloud.app.default_limit(), cloud.app.tax().unwrap());
        let terms = payers::JoinTerms { defaults, limit: Some(None), zone: chrono_tz::UTC };
        let cause = Cause { key: "join", author: "test", reason: "story" };
        payers::join(&mut tx, &accounts, "Acme <Ltd>", terms, cause, cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let pages = Pages::open(&cloud).await;
        let bob = pages.sign_in("bob").await;
        let text = bob.page(&format!("/usage?{MONTH}")).await;
        let mut both = Money::ZERO;
        let mut own = Money::ZERO;
        for name in ["alice", "bob"] {
            let account = cloud.account(name).await;
            let mut tx = cloud.app.store.read().await.unwrap();
            let of = spending::Of::Account(account.id);
            own = Money::ZERO;
            for row in spending::list_spent(&mut tx, of, day(0), day(30)).await.unwrap() {
                let rate = TaxRate::parse(row.tax_percent.as_deref().unwrap()).unwrap();
                let net = Money::round_from_nanos(row.net_nanos);
                own = own.plus(net).unwrap().plus(rate.of(net).unwrap()).unwrap();
            }
            both = both.plus(own).unwrap();
        }
        let currency = &cloud.app.config.billing.currency;
        assert!(text.contains(&format!("<p class=\"number\">{}</p>", currency.format(own))), "{text}");
        let line = format!("All accounts of Acme &#60;Ltd&#62; together: {}.", currency.format(both));
        assert!(text.contains(&line), "on {}: {text}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn prices_are_the_tenants_own_and_an_estimate_is_what_the_bill_would_say() {
    on_each_database(|database| async {
        let cloud = hard_cloud(database).await;
        let pages = Pages::open(&cloud).await;
        let alice = pages.sign_in("alice").await;
        let text = alice.page("/prices").await;
        for words in [
            "7.5 % discount",
            "with the tag backup=gold",
            "the first 1 GB of a month: free",
            "from 1 to 5 GB: 0.11 EUR",
            "beyond 5 GB: 0.07 EUR",
            // 0.13 less 7.5 %, and with a fifth on top.
            "0.12025 EUR per hour",
            "0.1443 EUR",
            "from 2026-11-02 12:30 UTC",
            "Network connections of machines",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("0.10 EUR"), "a price that is over is not listed: {text}");
        // A machine for December, by hand: 744 h × 0.12025 + 20 × 0.0371 + 3.01 = 93.218, and a fifth on top.
        let asked = "quote=1&cpu=2&memory=4&disk=20&address=yes&month=2026-12";
        let text = alice.page(&format!("/prices?{asked}")).await;
        assert!(text.contains("Cost for 2026-12: 111.86 EUR"), "{text}");
        assert!(text.contains("93.22 EUR") && text.contains("18.64 EUR"), "{text}");
        assert!(text.contains("Free of charge: Machine, while it exists."), "{text}");
        cloud.limit("alice", "223.72").await;
        let text = alice.page(&format!("/prices?{asked}")).await;
        assert!(text.contains("<dt>Share of your total credit</dt><dd>50 %</dd>"), "{text}");
        for (query, words) in [
            ("cpu=many", "Write a whole number"),
            ("hours=800&month=2026-12", "The month has fewer hours"),
            ("month=2020-01", "Choose one of the months"),
            ("memory=%22%3E%3Cscript%3E", "Write a number of GiB"),
        ] {
            let (status, text) = alice.get(&format!("/prices?quote=1&{query}")).await;
            assert_eq!(status, 422, "{query}");
            assert!(text.contains(words) && !text.contains("\"><script>"), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_runs_now_is_an_estimate_set_apart() {
    let cloud = hard_cloud(Database::sqlite()).await;
    let pages = Pages::open(&cloud).await;
    let bob = pages.sign_in("bob").await;
    let before = bob.page(&format!("/usage?{MONTH}")).await;
    let figure = |text: &str| text.split("<p class=\"number\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    cloud.clock.advance(HOUR * 2);
    let bob = pages.sign_in("bob").await;
    let text = bob.page(&format!("/usage?{MONTH}")).await;
    assert_eq!(figure(&before), figure(&text), "an estimate is in no figure");
    let live = text.split("Right now").nth(1).unwrap();
    // Two hours of the machine at 0.12025 and some cents of disk and address.
    assert!(live.contains("<td class=\"amount\">0.24</td>"), "{live}");
    assert!(live.contains("It is not booked"), "{live}");
}

#[tokio::test]
async fn the_api_tells_what_the_pages_tell() {
    let cloud = hard_cloud(Database::sqlite()).await;
    let pages = Pages::open(&cloud).await;
    let token = "bursar_story";
    let mut tx = cloud.app.store.begin().await.unwrap();
    people::insert_token(&mut tx, "story", &token_hash(token), "read", "test", cloud.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    let id = cloud.account("alice").await.id;
    let call = async |path: &str| {
        let request = pages.client.get(format!("{}/api/v1/accounts/{id}{path}", pages.url));
        let response = request.bearer_auth(token).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str::<serde_json::Value>(&response.text().await.unwrap()).unwrap())
    };
    let whole = booked_and_accrued(&cloud, "alice", day(0), day(30)).await;
    for by in ["service", "machine", "tag", "resource", "project"] {
        let (status, told) = call(&format!("/usage?from=2026-11-01&to=2026-11-30&by={by}")).await;
        assert_eq!(status, 200, "{told}");
        assert_eq!(told["total"]["gross"], whole.1.to_string());
        let lines = told["lines"].as_array().unwrap();
        let sum = Money::sum(lines.iter().map(|line| Money::parse(line["cost"]["gross"].as_str().unwrap()).unwrap()));
        assert_eq!(sum.unwrap(), whole.1, "by {by}");
        assert_eq!(told["days"].as_array().unwrap().len(), 30);
    }
    // What is narrowed to a machine has the days of that machine.
    let (_, told) = call("/usage?by=machine").await;
    let machine = told["lines"].as_array().unwrap().iter().find(|line| line["id"] != "").unwrap()["id"].clone();
    let (_, told) = call(&format!("/usage?by=service&machine={}", machine.as_str().unwrap())).await;
    let days = told["days"].as_array().unwrap().iter();
    let sum = Money::sum(days.map(|day| Money::parse(day["gross"].as_str().unwrap()).unwrap())).unwrap();
    assert_eq!(told["total"]["gross"], sum.to_string());
    assert!(sum.is_positive() && sum < whole.1, "{told}");
    let (_, told) = call("/usage?by=resource&type=running-vm").await;
    let resource = told["lines"][0]["id"].as_str().unwrap().to_owned();
    let (status, told) = call(&format!("/usage/records?resource={resource}&type=running-vm")).await;
    assert_eq!((status, told["records"][0]["quantity"].as_str()), (200, Some("1")), "{told}");
    let (status, told) = call("/usage?from=2026-11-31&to=2026-11-30").await;
    assert_eq!((status, told["error"]["code"].as_str()), (422, Some("bad-value")), "{told}");
    let (status, told) = call("/prices").await;
    assert_eq!((status, told["tax_percent"].as_str()), (200, Some("20")), "{told}");
    assert!(told["prices"].as_array().unwrap().iter().any(|price| price["discount_percent"] == "7.5"), "{told}");
    let (status, told) = call("/quote?disk=20&address=1&month=2026-12").await;
    assert_eq!((status, told["net"].as_str()), (200, Some("93.217992")), "{told}");
    let (status, told) = call("/estimate").await;
    assert_eq!(status, 200);
    assert!(told["estimate"]["lines"].as_array().is_some(), "{told}");
}
