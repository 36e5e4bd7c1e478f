//! What stories are told with: a fresh database of each kind, a stand-in cloud, and a clock that the story moves.

pub mod browser;
pub mod oidc;
pub mod smtp;

use std::{collections::BTreeMap, ffi::OsString, future::Future, sync::Arc, time::Duration};

use bursar::{
    config::{Config, Sources},
    ids::{CloudId, RunId},
    jobs::{App, work},
    progress::Quiet,
    random::{RandomSource, SeededRandom, SystemRandom},
    standin::{AccountKind, Options, RoleKind, StandIn, World},
    store::{cloud, notify, runs},
    time::{Clock, ManualClock, Timestamp},
};

/// Midnight of 1 November 2026, UTC: where most stories begin.
pub const NOVEMBER: i64 = 1_793_491_200;

/// APIs that the reader's role allows.
pub const READER: &[&str] = &[
    "listAccounts",
    "listUsers",
    "listDomains",
    "listProjects",
    "listProjectAccounts",
    "listUsageRecords",
    "listUsageTypes",
    "listUsageServerMetrics",
    "listServiceOfferings",
    "listDiskOfferings",
    "listNetworkOfferings",
    "listZones",
    "listVirtualMachines",
    "listVolumes",
    "listPublicIpAddresses",
    "listCapabilities",
    "listConfigurations",
    "listApis",
    "listEvents",
    "listResourceLimits",
    "queryAsyncJobResult",
    "quotaIsEnabled",
];

/// A price book that covers what the stories use.
pub const PRICES: &str = r#"
currency = "EUR"
free = ["network", "network-offering", "allocated-vm"]

[[tariff]]
type = "running-vm"
unit = "hour"
price = "0.10"

[[tariff]]
type = "volume"
unit = "gib-hour"
price = "0.001"

[[tariff]]
type = "ip-address"
unit = "hour"
price = "0.005"
"#;

/// A database of one kind, dropped with the story.
pub struct Database {
    /// Its name, for messages.
    pub kind: &'static str,
    /// Folder of files.
    pub folder: tempfile::TempDir,
    /// PostgreSQL's URL, if it is that.
    pub url: Option<String>,
}

impl Database {
    /// An SQLite database, for stories in which the database plays no part.
    pub fn sqlite() -> Self {
        Self { kind: "SQLite", folder: tempfile::tempdir().unwrap(), url: None }
    }
}

/// Tells a story once on each database. PostgreSQL is skipped with a message where no server is named, and missing it is a
/// failure where `BURSAR_TEST_REQUIRE_POSTGRES` is set.
pub async fn on_each_database<F: Future<Output = ()>>(story: impl Fn(Database) -> F) {
    let folder = tempfile::tempdir().unwrap();
    // On the heap: a story is a large future.
    Box::pin(story(Database { kind: "SQLite", folder, url: None })).await;
    let Ok(server) = std::env::var("BURSAR_TEST_POSTGRES_URL") else {
        assert!(
            std::env::var("BURSAR_TEST_REQUIRE_POSTGRES").is_err(),
            "BURSAR_TEST_POSTGRES_URL is not set, and PostgreSQL must be tested"
        );
        eprintln!("skipped on PostgreSQL: BURSAR_TEST_POSTGRES_URL names no server");
        return;
    };
    let name = format!("bursar_test_{}", SystemRandom.hex(8));
    let mut admin = connect(&server).await;
    run_sql(&mut admin, format!("create database {name}")).await;
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    let folder = tempfile::tempdir().unwrap();
    Box::pin(story(Database { kind: "PostgreSQL", folder, url: Some(url.to_string()) })).await;
    run_sql(&mut admin, format!("drop database {name} with (force)")).await;
}

async fn connect(url: &str) -> sqlx::PgConnection {
    use sqlx::Connection as _;
    sqlx::PgConnection::connect(url).await.unwrap()
}

/// Runs a statement on a PostgreSQL database, past bursar.
pub async fn run_sql_on(url: &str, sql: &str) {
    let mut connection = connect(url).await;
    run_sql(&mut connection, sql.to_owned()).await;
}

async fn run_sql(connection: &mut sqlx::PgConnection, sql: String) {
    use sqlx::Executor as _;
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
}

/// A stand-in cloud with bursar's service accounts, and bursar beside it.
pub struct Cloud {
    /// CloudStack's stand-in.
    pub standin: StandIn,
    /// The clock of both.
    pub clock: ManualClock,
    /// bursar.
    pub app: App,
    /// The environment that bursar was configured by.
    pub env: BTreeMap<String, String>,
    /// The database.
    pub database: Database,
}

impl Cloud {
    /// Starts a cloud at `start` (seconds) with an hourly usage job; `build` adds tenants.
    pub async fn start(database: Database, start: i64, build: impl FnOnce(&mut World)) -> Self {
        Self::start_tuned(database, start, |_| {}, build).await
    }

    /// As [`Cloud::start`], with the stand-in's options changed by `tune`.
    pub async fn start_tuned(
        database: Database,
        start: i64,
        tune: impl FnOnce(&mut Options),
        build: impl FnOnce(&mut World),
    ) -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(start));
        let mut world = World::new(clock.now());
        world.set_configuration("usage.stats.job.aggregation.range", "60");
        let reader_rules: Vec<(&str, bool)> = READER.iter().map(|api| (*api, true)).chain([("*", false)]).collect();
        let reader_role = world.add_role("bursar-reader", RoleKind::Admin, &reader_rules);
        let enforcer_rules: Vec<(&str, bool)> = READER
            .iter()
            .copied()
            .chain([
                "disableAccount",
                "enableAccount",
                "updateResourceLimit",
                "stopVirtualMachine",
                "startVirtualMachine",
                "suspendProject",
                "activateProject",
                "createUser",
                "registerUserKeys",
                "getUserKeys",
                "updateUser",
                "deleteUser",
            ])
            .map(|api| (api, true))
            .chain([("*", false)])
            .collect();
        let enforcer_role = world.add_role("bursar-enforcer", RoleKind::Admin, &enforcer_rules);
        let reader = world.add_service_account("bursar-reader", reader_role);
        let enforcer = world.add_service_account("bursar-enforcer", enforcer_role);
        build(&mut world);
        let mut options =
            Options { clock: Arc::new(clock.clone()), random: Arc::new(SeededRandom::new(7)), ..Options::default() };
        tune(&mut options);
        let standin = StandIn::start(world, options).await.unwrap();
        let prices = database.folder.path().join("prices.toml");
        std::fs::write(&prices, PRICES).unwrap();
        let mut env = BTreeMap::new();
        let mut set = |key: &str, value: &str| env.insert(format!("BURSAR_{key}"), value.to_owned());
        set("CLOUDSTACK_URL", standin.url().as_str());
        for (role, (api_key, secret_key)) in [("READER", &reader), ("ENFORCER", &enforcer), ("KEYS", &enforcer)] {
            set(&format!("CLOUDSTACK_{role}_API_KEY"), api_key);
            set(&format!("CLOUDSTACK_{role}_SECRET_KEY"), secret_key.expose());
        }
        set("CLOUDSTACK_READ_RETRIES", "0");
        set("CLOUDSTACK_TIMEOUT_SECONDS", "5");
        set("STORE_DATA_DIR", &database.folder.path().display().to_string());
        if let Some(url) = &database.url {
            set("STORE_URL", url);
        }
        set("BILLING_PRICE_BOOK", &prices.display().to_string());
        set("BILLING_START", "2026-11-01");
        // A warning counts from when it is recorded; stories about mail set this to something else.
        set("MAIL_TRANSPORT", "off");
        let app = open(&env, &clock).await;
        Self { standin, clock, app, env, database }
    }

    /// Opens bursar anew on the same data, as after a restart.
    pub async fn restart(&mut self) {
        self.app.store.close().await;
        self.app = open(&self.env, &self.clock).await;
    }

    /// Opens bursar anew with another setting.
    pub async fn reconfigure(&mut self, key: &str, value: &str) {
        self.env.insert(format!("BURSAR_{key}"), value.to_owned());
        self.restart().await;
    }

    /// Moves the clock and lets the usage job run.
    pub fn pass(&self, span: Duration) {
        self.clock.advance(span);
        let now = self.clock.now();
        self.standin.with(|world| world.run_usage_job(now));
    }

    /// Begins a run under which a story calls a part of a job itself; the one that it began before ends.
    pub async fn begin_run(&self) -> RunId {
        let mut tx = self.app.store.begin().await.unwrap();
        runs::close_runs_of(&mut tx, "story", self.clock.now()).await.unwrap();
        let run = runs::start_run(&mut tx, "story", "test", "story", self.clock.now()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        run
    }

    /// Sync, rate, enforce: one round of the schedule.
    pub async fn round(&self) -> bursar::enforcement::EnforceReport {
        work::sync(&self.app, false, "test", &Quiet).await.unwrap();
        work::rate(&self.app, None, "test", &Quiet).await.unwrap();
        self.enforce().await
    }

    /// Usage and charges up to now, without enforcement.
    pub async fn catch_up(&self) {
        work::sync(&self.app, false, "test", &Quiet).await.unwrap();
        work::rate(&self.app, None, "test", &Quiet).await.unwrap();
    }

    /// One run of enforcement.
    pub async fn enforce(&self) -> bursar::enforcement::EnforceReport {
        let options = work::EnforceOptions { holds_data_lock: true, ..work::EnforceOptions::default() };
        work::enforce(&self.app, options, "test").await.unwrap()
    }

    /// The account of this name.
    pub async fn account(&self, name: &str) -> cloud::Account {
        let mut tx = self.app.store.read().await.unwrap();
        cloud::resolve_account(&mut tx, name).await.unwrap()
    }

    /// What administrators were told of this kind, in full, newest first.
    pub async fn told(&self, kind: &str) -> Vec<String> {
        let (from, until) = (Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX));
        let mut tx = self.app.store.read().await.unwrap();
        let told = notify::list_admin_notices(&mut tx, from, until, 1_000).await.unwrap();
        told.into_iter().filter(|notice| notice.kind == kind).map(|notice| notice.body).collect()
    }

    /// Writes a setting, as a command would.
    pub async fn switch(&self, key: &str, value: &str) {
        let mut tx = self.app.store.begin().await.unwrap();
        bursar::store::runs::put_setting(&mut tx, key, value, self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Arms steps of the ladder in the whole cloud.
    pub async fn arm(&self, rungs: &[&str]) {
        self.arm_in("", rungs).await;
    }

    /// Arms steps of the ladder in a domain with everything below it.
    pub async fn arm_in(&self, domain: &str, rungs: &[&str]) {
        let mut tx = self.app.store.begin().await.unwrap();
        for rung in rungs {
            bursar::store::policy::arm(&mut tx, rung, domain, "test", self.clock.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Approves a plan in somebody's name. True: it has every approval that it takes.
    pub async fn approve(&self, plan: i64, who: &str) -> Result<bool, bursar::enforcement::plans::PlanError> {
        self.approve_as(plan, &bursar::approver::Approver::by_name(who)).await
    }

    /// The same for somebody who is told apart by more than a name.
    pub async fn approve_as(
        &self,
        plan: i64,
        by: &bursar::approver::Approver,
    ) -> Result<bool, bursar::enforcement::plans::PlanError> {
        let mut tx = self.app.store.begin().await.unwrap();
        let second = self.app.config.fuse.second_admin;
        let complete = bursar::enforcement::plans::approve(&mut tx, plan, by, second, self.clock.now()).await?;
        tx.commit().await.unwrap();
        Ok(complete)
    }

    /// Sets a credit limit; "none" takes it away.
    pub async fn limit(&self, name: &str, amount: &str) {
        let account = self.account(name).await;
        let mut tx = self.app.store.begin().await.unwrap();
        let key = SystemRandom.hex(8);
        let cause = bursar::ledger::post::Cause { key: &key, author: "test", reason: "story" };
        let amount = (amount != "none").then(|| bursar::money::Money::parse(amount).unwrap());
        let defaults = (self.app.default_limit(), self.app.tax().unwrap());
        bursar::ledger::post::set_limit(&mut tx, account.payer_id, amount, cause, defaults, self.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// Records a payment.
    pub async fn pay(&self, name: &str, amount: &str) {
        let account = self.account(name).await;
        let mut tx = self.app.store.begin().await.unwrap();
        let key = SystemRandom.hex(8);
        let cause = bursar::ledger::post::Cause { key: &key, author: "test", reason: "story" };
        let amount = bursar::money::Money::parse(amount).unwrap();
        let defaults = (self.app.default_limit(), self.app.tax().unwrap());
        bursar::ledger::post::add_payment(&mut tx, account.payer_id, amount, cause, defaults, self.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// The standing of an account's payer.
    pub async fn standing(&self, name: &str) -> bursar::ledger::standing::Standing {
        let account = self.account(name).await;
        let mut tx = self.app.store.read().await.unwrap();
        let standings = self.app.standings(&mut tx).await.unwrap();
        let standing = standings.into_iter().find(|standing| standing.payer == account.payer_id).unwrap();
        // Worked out by itself, as pages do, it is the same.
        assert_eq!(
            self.app.standing_of(&mut tx, account.payer_id).await.unwrap(),
            standing,
            "on {}",
            self.database.kind
        );
        let (limit, tax) = (self.app.default_limit(), self.app.tax().unwrap());
        let position = bursar::ledger::standing::position_of(&mut tx, account.payer_id, limit, tax).await.unwrap();
        let figures = bursar::ledger::rules::Figures::of(&position, self.clock.now()).unwrap();
        assert_eq!(figures, standing.figures, "as a booking has it, on {}", self.database.kind);
        standing
    }

    /// Everything agrees.
    pub async fn verify(&self) {
        let report = bursar::jobs::work::verify(&self.app).await.unwrap();
        assert_eq!(report.findings, Vec::new(), "on {}", self.database.kind);
    }
}

/// Opens bursar as an environment configures it.
pub async fn open(env: &BTreeMap<String, String>, clock: &ManualClock) -> App {
    let vars: Vec<(OsString, OsString)> = env.iter().map(|(key, value)| (key.into(), value.into())).collect();
    let config = Config::load(&Sources::new(None, vars).with_fallback(None)).unwrap();
    App::open(config, Arc::new(clock.clone()), Arc::new(SystemRandom)).await.unwrap()
}

/// A tenant in ROOT with one user of the same name.
pub fn tenant(world: &mut World, name: &str) -> CloudId {
    let root = world.find_domain("ROOT").unwrap();
    let account = world.add_account(root, name, AccountKind::User);
    world.add_user(account, name, "password-of-a-tenant", &format!("{name}@example.com"));
    account
}
