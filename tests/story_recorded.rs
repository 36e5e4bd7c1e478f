//! What a real CloudStack answered, through the real client: its late and repeated usage, and what is owed for it.
//!
//! The server of these stories answers with the recordings in `tests/recorded`. Recordings 194 to 196 are every record of
//! 13:00 to 18:00 on 22 November 2026. Rows 0 to 159 are what four runs of the usage job first said of 13:00 to 17:00;
//! then events came late, and one run said everything from 14:39:29 on again, up to 18:00 (rows 160 to 361).
//!
//! Worked out by hand, by rows:
//!
//! | rows | window | what becomes of them |
//! |---|---|---|
//! | 0 to 79 | 13:00, 14:00 | true: no other emission has these windows |
//! | 80 to 159 | 15:00, 16:00 | true where the second emission says the same (67 rows), else superseded (13 rows) |
//! | 160 to 200 | 14:39:29 to 15:00 | part windows inside a charged 14:00: 41 rows that charge nothing |
//! | 201 to 208 | 14:39:29 to 15:00 | erin-project's first eight records: nothing was charged before, so they are |
//! | 209 to 361 | 15:00, 16:00, 17:00 | true |
//!
//! So 80 + 8 + 153 = 241 records are true: alice 100, bob 37, carol 45, erin 59 (26 of them her project's).
//! The superseded 13: carol's two machines and their network cards at 15:00 and 16:00 (8); of alice's resized machine the
//! old offering, running and allocated, at 15:00 and 16:00 (4), and its network card at 15:00 (1).

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use bursar::{
    jobs::{App, work},
    ledger::post::Cause,
    money::Money,
    progress::Quiet,
    store::{cloud, ledger, usage},
    time::{Clock, ManualClock, Timestamp},
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::harness::{self, Database, on_each_database};

/// Prices that can be checked by hand: a small machine 1.00, a medium one 2.00.
const PRICES: &str = r#"
currency = "EUR"
free = ["allocated-vm", "network-offering", "network-bytes-received", "vm-snapshot-on-primary"]

[[tariff]]
type = "running-vm"
unit = "hour"
price = "1.00"

[[tariff]]
type = "running-vm"
offering = "MEDIUM"
unit = "hour"
price = "2.00"

[[tariff]]
type = "ip-address"
unit = "hour"
price = "0.05"

[[tariff]]
type = "network-bytes-sent"
unit = "gb"
price = "10000"

[[tariff]]
type = "volume"
unit = "gib-hour"
price = "0.01"

[[tariff]]
type = "snapshot"
unit = "hour"
price = "0.07"

[[tariff]]
type = "load-balancer-policy"
unit = "hour"
price = "0.03"

[[tariff]]
type = "port-forwarding-rule"
unit = "hour"
price = "0.04"

[[tariff]]
type = "vpn-users"
unit = "hour"
price = "0.06"

[[tariff]]
type = "vm-snapshot"
unit = "gib-hour"
price = "0.005"

[[tariff]]
type = "network"
unit = "hour"
price = "0.02"
"#;

/// What every account owes for rows 0 to 159, the first emission: (name, [(type, amount)], total).
///
/// Four hours of everything: alice 2 small machines and a medium one (16), 11 GiB (0.44); carol a small and a medium one
/// (12), 9 GiB (0.36); bob and erin a small one (4), 7 GiB (0.28); an address (0.20) and a network (0.08) each.
const FIRST: [Owed; 4] = [
    Owed { name: "alice", records: 60, types: &[(1, "16"), (3, "0.2"), (6, "0.44"), (30, "0.08")], total: "16.72" },
    Owed { name: "bob", records: 28, types: &[(1, "4"), (3, "0.2"), (6, "0.28"), (30, "0.08")], total: "4.56" },
    Owed { name: "carol", records: 44, types: &[(1, "12"), (3, "0.2"), (6, "0.36"), (30, "0.08")], total: "12.64" },
    Owed { name: "erin", records: 28, types: &[(1, "4"), (3, "0.2"), (6, "0.28"), (30, "0.08")], total: "4.56" },
];

/// What every account owes for all 362 rows.
///
/// - alice: machines 4+4 (13:00, 14:00), 15:00: 1 + 2 + 0.438056 + 2 x 0.561389 = 4.560834, 16:00 and 17:00: 1 + 2 + 2 = 5;
///   a second address 0.565 + 2 h; rules, VPN user and snapshots the same way; 11 GiB for 5 h.
/// - carol: machines only at 13:00 and 14:00, 3 an hour.
/// - erin: her own machine 5 h; her project's 0.000278 h at 2.00; its address 0.2425 + 3 h; its 2 GiB 0.243056 + 3 h; its
///   network 0.000834 + 0.011945 + 0.230278 + 3 h.
const FINAL: [Owed; 4] = [
    Owed {
        name: "alice",
        records: 100,
        types: &[
            (1, "22.560834"),
            (3, "0.37825"),
            (4, "0.001"),
            (6, "0.55"),
            (9, "0.179453"),
            (11, "0.076942"),
            (12, "0.102589"),
            (14, "0.15385"),
            (25, "0.025631"),
            (30, "0.1"),
        ],
        total: "24.128549",
    },
    Owed {
        name: "bob",
        records: 37,
        types: &[(1, "5"), (3, "0.25"), (4, "0.002"), (6, "0.35"), (30, "0.1")],
        total: "5.702",
    },
    Owed {
        name: "carol",
        records: 45,
        types: &[(1, "6"), (3, "0.25"), (4, "0.001"), (6, "0.45"), (30, "0.1")],
        total: "6.801",
    },
    Owed {
        name: "erin",
        records: 59,
        types: &[(1, "5.000556"), (3, "0.412125"), (4, "0.002"), (6, "0.414861"), (30, "0.164861")],
        total: "5.994403",
    },
];

struct Owed {
    name: &'static str,
    records: usize,
    types: &'static [(i64, &'static str)],
    total: &'static str,
}

/// What the recorded server shows at a moment.
struct Shown {
    /// The usage table, in the order of ids.
    rows: Vec<Value>,
    /// So many of its rows are written yet.
    written: usize,
    /// `lastsuccessfuljob`.
    last_job: &'static str,
    /// After so many further calls of listUsageRecords this many rows are written: a run that commits meanwhile.
    commits: Option<(u32, usize)>,
    /// Calls of listUsageRecords.
    usage_calls: u32,
}

type Shared = Arc<Mutex<Shown>>;

/// The body of a recorded answer.
fn recorded(name: &str) -> Value {
    let path = format!("{}/tests/recorded/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    file["response"]["body"].clone()
}

fn recorded_usage(names: &[&str]) -> Vec<Value> {
    names
        .iter()
        .flat_map(|name| recorded(name)["listusagerecordsresponse"]["usagerecord"].as_array().unwrap().clone())
        .collect()
}

async fn answer(State(shown): State<Shared>, body: Bytes) -> impl IntoResponse {
    let params: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let mut shown = shown.lock().await;
    let paged_out = params.get("page").is_some_and(|page| page != "1");
    let body = match params["command"].as_str() {
        "listUsageRecords" => shown.usage(&params),
        "listUsageServerMetrics" => {
            let mut body = recorded("105-listUsageServerMetrics");
            body["listusageservermetricsresponse"]["usageMetrics"]["lastsuccessfuljob"] = shown.last_job.into();
            body
        }
        "listConfigurations" => match params["name"].as_str() {
            "usage.stats.job.aggregation.range" => recorded("049-listConfigurations"),
            "usage.aggregation.timezone" => {
                let setting = json!({"category": "Usage", "name": "usage.aggregation.timezone", "value": "GMT"});
                json!({"listconfigurationsresponse": {"count": 1, "configuration": [setting]}})
            }
            _ => json!({"listconfigurationsresponse": {}}),
        },
        "listDomains" if !paged_out => recorded("038-listDomains"),
        "listAccounts" if !paged_out => recorded("039-listAccounts"),
        "listUsers" if !paged_out => recorded("042-listUsers"),
        "listProjects" if !paged_out => recorded("145-listProjects"),
        "listDomains" | "listAccounts" | "listUsers" | "listProjects" => json!({"listresponse": {}}),
        _ => {
            let status = StatusCode::from_u16(432).unwrap();
            return (status, axum::Json(recorded("103-service-denied"))).into_response();
        }
    };
    axum::Json(body).into_response()
}

impl Shown {
    /// listUsageRecords: what lies wholly inside the range, in the order of ids, by pages; `count` is that of all.
    fn usage(&mut self, params: &BTreeMap<String, String>) -> Value {
        self.usage_calls += 1;
        if let Some((calls, written)) = self.commits
            && self.usage_calls > calls
        {
            self.written = written;
            self.commits = None;
        }
        let at = |value: &Value| Timestamp::parse_cloudstack(value.as_str().unwrap()).unwrap();
        let asked = |name: &str| Timestamp::parse_cloudstack(&params[name]).unwrap();
        let (first, last) = (asked("startdate"), asked("enddate"));
        let inside: Vec<&Value> = self.rows[..self.written]
            .iter()
            .filter(|row| first <= at(&row["startdate"]) && at(&row["enddate"]) <= last)
            .collect();
        let size: usize = params["pagesize"].parse().unwrap();
        let page: usize = params["page"].parse().unwrap();
        let rows: Vec<&Value> = inside.iter().skip((page - 1) * size).take(size).copied().collect();
        // As recorded (014, 015): a page past the end has the count and no list, an empty range has nothing at all.
        if inside.is_empty() {
            json!({"listusagerecordsresponse": {}})
        } else if rows.is_empty() {
            json!({"listusagerecordsresponse": {"count": inside.len()}})
        } else {
            json!({"listusagerecordsresponse": {"count": inside.len(), "usagerecord": rows}})
        }
    }
}

/// bursar beside the recorded server.
struct Beside {
    shown: Shared,
    app: App,
    clock: ManualClock,
    database: Database,
}

fn instant(text: &str) -> Timestamp {
    Timestamp::parse_cloudstack(text).unwrap()
}

impl Beside {
    async fn start(database: Database, rows: Vec<Value>, written: usize, zone: &str) -> Self {
        let shown = Shown { rows, written, last_job: "2026-11-22T16:59:59+0000", commits: None, usage_calls: 0 };
        let shown = Arc::new(Mutex::new(shown));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(post(answer)).with_state(Arc::clone(&shown));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let prices = database.folder.path().join("prices.toml");
        let offerings = recorded("174-listServiceOfferings");
        let medium = offerings["listserviceofferingsresponse"]["serviceoffering"]
            .as_array()
            .unwrap()
            .iter()
            .find(|offering| offering["id"].as_str().unwrap().starts_with("c132ba"))
            .unwrap();
        std::fs::write(&prices, PRICES.replace("MEDIUM", medium["id"].as_str().unwrap())).unwrap();
        let mut env = BTreeMap::from([
            ("CLOUDSTACK_URL".to_owned(), format!("http://{address}/client/api")),
            ("CLOUDSTACK_READER_API_KEY".to_owned(), "EXAMPLE-API-KEY".to_owned()),
            ("CLOUDSTACK_READER_SECRET_KEY".to_owned(), "EXAMPLE-SECRET-KEY".to_owned()),
            ("CLOUDSTACK_READ_RETRIES".to_owned(), "0".to_owned()),
            ("CLOUDSTACK_PAGE_SIZE".to_owned(), "250".to_owned()),
            ("STORE_DATA_DIR".to_owned(), database.folder.path().display().to_string()),
            ("BILLING_PRICE_BOOK".to_owned(), prices.display().to_string()),
            ("BILLING_START".to_owned(), "2026-11-01".to_owned()),
            ("BILLING_ZONE".to_owned(), zone.to_owned()),
        ]);
        if let Some(url) = &database.url {
            env.insert("STORE_URL".to_owned(), url.clone());
        }
        let env = env.into_iter().map(|(key, value)| (format!("BURSAR_{key}"), value)).collect();
        let clock = ManualClock::new(instant("2026-11-22T17:20:00+0000"));
        let app = harness::open(&env, &clock).await;
        Self { shown, app, clock, database }
    }

    /// The server's usage table grows and its usage job succeeds; bursar's clock stands a little later.
    async fn job_ends(&self, written: usize, last_job: &'static str) {
        let mut shown = self.shown.lock().await;
        shown.written = written;
        shown.last_job = last_job;
        self.clock.set(instant(last_job).plus(std::time::Duration::from_mins(20)));
    }

    async fn sync(&self, full: bool) -> bursar::usage::sync::SyncReport {
        work::sync(&self.app, full, "test", &Quiet).await.unwrap().usage
    }

    async fn rate(&self) -> work::RateSummary {
        work::rate(&self.app, None, "test", &Quiet).await.unwrap()
    }

    async fn verify(&self) {
        let report = work::verify(&self.app).await.unwrap();
        assert_eq!(report.findings, Vec::new(), "on {}", self.database.kind);
    }

    /// How many records are current, superseded, part and quarantined, and how many raw rows they stand for.
    async fn standings(&self) -> ([i64; 4], i64) {
        let mut tx = self.app.store.read().await.unwrap();
        let mut counts = [0; 4];
        let mut raw = 0;
        for (standing, records, seen) in usage::count_by_standing(&mut tx).await.unwrap() {
            counts[usize::try_from(standing).unwrap()] = records;
            raw += seen;
        }
        (counts, raw)
    }

    /// Current records of an account.
    async fn current(&self, name: &str) -> Vec<usage::RecordRow> {
        let mut tx = self.app.store.read().await.unwrap();
        let account = cloud::resolve_account(&mut tx, name).await.unwrap();
        let (from, until) = (instant("2026-11-01T00:00:00+0000"), instant("2026-12-01T00:00:00+0000"));
        usage::list_current(&mut tx, account.id, from, until, 0).await.unwrap()
    }

    /// What the ledger says of an account: (net by usage type, money).
    async fn ledger(&self, name: &str) -> (BTreeMap<i64, Money>, Money) {
        let mut tx = self.app.store.read().await.unwrap();
        let account = cloud::resolve_account(&mut tx, name).await.unwrap();
        let mut types: BTreeMap<i64, Money> = BTreeMap::new();
        for (owner, _, usage_type, net, tax) in ledger::list_posted(&mut tx).await.unwrap() {
            assert_eq!(tax, 0);
            if owner == account.id.get() && net != 0 {
                let sum = types.entry(usage_type).or_insert(Money::ZERO);
                *sum = sum.plus(Money::from_micros(net)).unwrap();
            }
        }
        let money = ledger::get_balance(&mut tx, ledger::LedgerAccount::Payer(account.payer_id)).await.unwrap();
        (types, money)
    }

    /// The ledger holds what was worked out by hand, and nothing else.
    async fn assert_owed(&self, owed: &[Owed]) {
        for account in owed {
            let (types, money) = self.ledger(account.name).await;
            let wanted: BTreeMap<i64, Money> =
                account.types.iter().map(|(kind, amount)| (*kind, Money::parse(amount).unwrap())).collect();
            assert_eq!(types, wanted, "{} on {}", account.name, self.database.kind);
            let total = Money::parse(account.total).unwrap();
            assert_eq!(money, total.negated().unwrap(), "{} on {}", account.name, self.database.kind);
            assert_eq!(self.current(account.name).await.len(), account.records, "records of {}", account.name);
        }
        for nobody in ["dave", "acmeadmin"] {
            assert_eq!(self.ledger(nobody).await, (BTreeMap::new(), Money::ZERO));
        }
    }

    /// Every transfer of everybody, as keys and amounts.
    async fn transfers(&self) -> Vec<(String, i64)> {
        let mut tx = self.app.store.read().await.unwrap();
        let mut all = Vec::new();
        for payer in cloud::list_payers(&mut tx).await.unwrap() {
            let rows = ledger::list_transfers(&mut tx, payer.id, 10_000).await.unwrap();
            all.extend(rows.into_iter().map(|row| (row.key, row.amount_micros)));
        }
        all
    }

    async fn limit(&self, name: &str, amount: &str) {
        let mut tx = self.app.store.begin().await.unwrap();
        let account = cloud::resolve_account(&mut tx, name).await.unwrap();
        let cause = Cause { key: name, author: "test", reason: "story" };
        let defaults = (self.app.default_limit(), self.app.tax().unwrap());
        let amount = Some(Money::parse(amount).unwrap());
        bursar::ledger::post::set_limit(&mut tx, account.payer_id, amount, cause, defaults, self.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}

fn overlap() -> Vec<Value> {
    recorded_usage(&["194-listUsageRecords-overlap-page1", "195-listUsageRecords-overlap-page2"])
}

#[tokio::test]
async fn recorded_usage_with_late_events_is_owed_to_the_last_millionth() {
    on_each_database(|database| async {
        let bursar = Beside::start(database, overlap(), 362, "UTC").await;
        bursar.job_ends(362, "2026-11-22T23:59:59+0000").await;
        let report = bursar.sync(false).await;
        assert_eq!((report.rows, report.new_records, report.repeats, report.quarantined), (362, 295, 67, 0));
        assert_eq!((report.late_days, report.missing_rows, report.removed_rows), (0, 0, 0));
        assert_eq!(bursar.standings().await, ([241, 13, 41, 0], 362));

        let rated = bursar.rate().await;
        assert_eq!((rated.rated.unpriced, rated.rated.failed), (0, 0));
        assert_eq!(rated.unpriced, Vec::new());
        assert_eq!(rated.posted.corrections, 0);
        bursar.assert_owed(&FINAL).await;
        bursar.verify().await;

        // carol's machines were not running from 15:00 on, though the first emission said so.
        let machines: Vec<i64> =
            bursar.current("carol").await.iter().filter(|row| row.usage_type == 1).map(|row| row.start_ms).collect();
        let until = instant("2026-11-22T15:00:00+0000").as_ms();
        assert!(machines.len() == 4 && machines.iter().all(|start| *start < until), "{machines:?}");
        // alice's resized machine: both parts of its hour, each under its offering.
        let fifteen = bursar.current("alice").await;
        let parts: Vec<i64> = fifteen
            .iter()
            .filter(|row| row.usage_type == 1 && row.start_ms == until && row.quantity != 1_000_000)
            .map(|row| row.quantity)
            .collect();
        assert_eq!(parts.iter().sum::<i64>(), 438_056 + 561_389);
        assert_eq!(parts.len(), 2);

        let before = bursar.transfers().await;
        for full in [false, true] {
            let again = bursar.sync(full).await;
            assert_eq!((again.new_records, again.changed_records), (0, 0), "full: {full}");
            assert_eq!(bursar.rate().await.posted.transfers, 0);
        }
        assert_eq!(bursar.transfers().await, before);
        bursar.verify().await;
    })
    .await;
}

#[tokio::test]
async fn corrections_of_recorded_usage_lead_to_the_same_ledger() {
    on_each_database(|database| async {
        // A billing day of this zone ends at 17:00 UTC: what the first emission says is posted before the second comes.
        let bursar = Beside::start(database, overlap(), 160, "Asia/Bangkok").await;
        let report = bursar.sync(false).await;
        assert_eq!((report.rows, report.new_records, report.repeats), (160, 160, 0));
        let rated = bursar.rate().await;
        assert_eq!(rated.posted.corrections, 0);
        bursar.assert_owed(&FIRST).await;
        bursar.verify().await;

        bursar.job_ends(362, "2026-11-22T17:59:59+0000").await;
        let report = bursar.sync(false).await;
        // 57 new rows of 17:00, then the whole day because the count differs: 135 new, 13 that are no longer true.
        assert_eq!((report.late_days, report.missing_rows, report.removed_rows), (1, 0, 0), "{report:?}");
        assert_eq!((report.new_records, report.changed_records), (135, 13), "{report:?}");
        assert_eq!(bursar.standings().await, ([241, 13, 41, 0], 362));
        let rated = bursar.rate().await;
        assert!(rated.posted.corrections > 0, "{rated:?}");
        // carol is given back 2 h of a small and a medium machine, alice owes what her resized machine was more.
        let transfers = bursar.transfers().await;
        let corrections: Vec<i64> =
            transfers.iter().filter(|(key, _)| key.ends_with("/1/2")).map(|(_, amount)| *amount).collect();
        assert!(corrections.contains(&6_000_000) && corrections.contains(&-1_560_834), "{corrections:?}");
        bursar.verify().await;

        // The day of 17:00 ends: all is posted, and it is what one look at everything gives.
        bursar.job_ends(362, "2026-11-23T17:59:59+0000").await;
        assert_eq!(bursar.sync(false).await.new_records, 0);
        bursar.rate().await;
        bursar.assert_owed(&FINAL).await;
        bursar.verify().await;

        let before = bursar.transfers().await;
        for full in [false, true] {
            let again = bursar.sync(full).await;
            assert_eq!((again.new_records, again.changed_records), (0, 0), "full: {full}");
            assert_eq!(bursar.rate().await.posted.transfers, 0);
        }
        assert_eq!(bursar.transfers().await, before);
    })
    .await;
}

#[tokio::test]
async fn recorded_accounts_meet_their_limits() {
    on_each_database(|database| async {
        let bursar = Beside::start(database, overlap(), 362, "UTC").await;
        bursar.job_ends(362, "2026-11-22T17:59:59+0000").await;
        bursar.sync(false).await;
        bursar.rate().await;
        // The day is not closed: what is rated counts as accrued.
        bursar.limit("alice", "20").await;
        bursar.limit("bob", "100").await;
        let mut tx = bursar.app.store.read().await.unwrap();
        let standings = bursar.app.standings(&mut tx).await.unwrap();
        let mut available = BTreeMap::new();
        for name in ["alice", "bob", "carol"] {
            let account = cloud::resolve_account(&mut tx, name).await.unwrap();
            let standing = standings.iter().find(|standing| standing.payer == account.payer_id).unwrap();
            available.insert(name, (standing.managed, standing.figures.available));
        }
        drop(tx);
        let money = |text| Money::parse(text).unwrap();
        assert_eq!(available["alice"], (true, money("-4.128549")));
        assert_eq!(available["bob"], (true, money("94.298")));
        assert_eq!(available["carol"], (false, money("-6.801")));

        let options = work::EnforceOptions { holds_data_lock: true, ..work::EnforceOptions::default() };
        let report = work::enforce(&bursar.app, options, "test").await.unwrap();
        assert!(report.dry_run);
        let outcome = |name: &str| {
            let line = report.decisions.iter().find(|line| line.account == name);
            line.map(|line| (line.outcome, line.waits_for.clone()))
        };
        // Over the limit. Who plays the recordings has today's clock, so no days are counted yet.
        let (word, why) = outcome("ROOT/alice").unwrap();
        assert!(word == "wait" && why.len() == 1 && why[0].contains("the clock jumped"), "{report:?}");
        assert_eq!(outcome("ROOT/bob"), Some(("keep", Vec::new())), "{report:?}");
        assert!(outcome("ROOT/acme/carol").is_none_or(|(outcome, _)| outcome == "keep"), "{report:?}");
    })
    .await;
}

/// A run of the usage job commits behind so many calls: before the count of the day (the last of 35), between the count
/// and its first page, between the first and the second page, and behind the last page.
async fn a_run_commits_behind(database: Database, calls: u32, written: usize) {
    let bursar = Beside::start(database, overlap(), written, "UTC").await;
    bursar.job_ends(written, "2026-11-22T23:59:59+0000").await;
    bursar.shown.lock().await.commits = Some((calls, 362));
    let report = bursar.sync(false).await;
    assert!(bursar.shown.lock().await.commits.is_none());
    assert_eq!((report.missing_rows, report.removed_rows), (0, 0), "{report:?}");
    assert_eq!(bursar.standings().await, ([241, 13, 41, 0], 362), "behind {calls} calls");
    bursar.rate().await;
    bursar.assert_owed(&FINAL).await;
    bursar.verify().await;
}

#[tokio::test]
async fn rows_that_come_before_the_count_are_fetched_with_it() {
    on_each_database(|database| a_run_commits_behind(database, 34, 160)).await;
}

#[tokio::test]
async fn rows_that_come_behind_the_count_let_the_day_be_fetched_again() {
    on_each_database(|database| a_run_commits_behind(database, 35, 160)).await;
}

#[tokio::test]
async fn rows_that_come_between_two_pages_let_the_day_be_fetched_again() {
    on_each_database(|database| a_run_commits_behind(database, 36, 300)).await;
}

#[tokio::test]
async fn rows_that_come_behind_the_last_page_are_found_by_counting() {
    on_each_database(|database| a_run_commits_behind(database, 36, 160)).await;
}

#[tokio::test]
async fn two_recorded_rows_of_one_network_and_window_are_both_kept() {
    on_each_database(|database| async {
        let rows = recorded_usage(&["012-listUsageRecords-page1"]);
        let bursar = Beside::start(database, rows, 40, "UTC").await;
        let report = bursar.sync(false).await;
        assert_eq!((report.rows, report.new_records, report.repeats, report.quarantined), (40, 40, 0, 0));
        assert_eq!(bursar.standings().await, ([40, 0, 0, 0], 40));
        let networks: Vec<(String, i64)> = bursar
            .current("alice")
            .await
            .into_iter()
            .filter(|row| row.usage_type == 30)
            .map(|row| (row.resource_cloud_id, row.quantity))
            .collect();
        let mut quantities: Vec<i64> = networks.iter().map(|(_, quantity)| *quantity).collect();
        quantities.sort_unstable();
        assert_eq!(quantities, [556, 430_833]);
        assert!(networks.iter().all(|(id, _)| *id == networks[0].0), "one network");
        bursar.rate().await;
        // 0.02 an hour for 0.431389 h.
        assert_eq!(bursar.ledger("alice").await.0[&30], Money::parse("0.008628").unwrap());
        bursar.verify().await;
    })
    .await;
}
