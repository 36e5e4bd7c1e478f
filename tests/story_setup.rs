//! From a cloud that has never heard of bursar to one that bursar looks after: init, check, and the first of each kind of work.

use std::{ffi::OsString, path::Path, sync::Arc, time::Duration};

use bursar::{
    access::{self, NewRequest},
    approver::Approver,
    cloudstack::{ClientSettings, Credentials},
    config::{Config, Sources},
    jobs::{App, keys},
    random::{SeededRandom, SystemRandom},
    secrets::Secret,
    setup::{
        check::{self, CheckReport, Verdict},
        init::{self, InitError, InitOutcome, InitRequest},
    },
    standin::{Options, StandIn, State, World},
    time::{Clock as _, Day, ManualClock, SystemClock, Timestamp},
};

use crate::{
    harness::{Cloud, Database, NOVEMBER, PRICES, tenant},
    story_cli::{bursar, bursar_with},
};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// A cloud with a tenant that has a machine, and nothing of bursar's.
struct Bare {
    standin: StandIn,
    clock: ManualClock,
    admin: (String, Secret),
    folder: tempfile::TempDir,
}

impl Bare {
    async fn start(start: Timestamp) -> Self {
        let clock = ManualClock::new(start);
        let mut world = World::new(start);
        world.set_configuration("usage.stats.job.aggregation.range", "60");
        let bob = tenant(&mut world, "bob");
        let offering = world.find_offering("Small Instance").unwrap();
        world.deploy_vm(bob, "bob-vm", offering, start);
        let admin = world.admin_user();
        let admin = world.register_keys(admin);
        let options =
            Options { clock: Arc::new(clock.clone()), random: Arc::new(SeededRandom::new(11)), ..Options::default() };
        let standin = StandIn::start(world, options).await.unwrap();
        Self { standin, clock, admin, folder: tempfile::tempdir().unwrap() }
    }

    fn request(&self) -> InitRequest {
        InitRequest::new(ClientSettings::new(self.standin.url()))
    }

    async fn init(&self, request: InitRequest, pair: &(String, Secret)) -> Result<InitOutcome, InitError> {
        let admin = Credentials { api_key: Secret::new(pair.0.clone()), secret_key: pair.1.clone() };
        init::init(request, admin, Arc::new(self.clock.clone()), Arc::new(SeededRandom::new(12))).await
    }

    /// The environment beside the file that init wrote.
    fn env(&self) -> Vec<(OsString, OsString)> {
        let prices = self.folder.path().join("prices.toml");
        std::fs::write(&prices, PRICES).unwrap();
        let folder = self.folder.path().display().to_string();
        [
            ("STORE_DATA_DIR", folder.as_str()),
            ("BILLING_PRICE_BOOK", prices.to_str().unwrap()),
            ("BILLING_START", "2026-11-01"),
        ]
        .map(|(key, value)| (format!("BURSAR_{key}").into(), value.into()))
        .to_vec()
    }

    fn config(&self, file: &Path) -> Config {
        Config::load(&Sources::new(Some(file.to_owned()), self.env())).unwrap()
    }

    fn account(&self, name: &str) -> Option<bursar::ids::CloudId> {
        self.standin.with(|world| {
            let root = world.find_domain("ROOT").unwrap();
            world.find_account(root, name)
        })
    }
}

fn not_good(report: &CheckReport) -> Vec<String> {
    report.lines.iter().filter(|line| line.verdict == Verdict::Bad).map(|line| format!("{line:?}")).collect()
}

/// Every file below the folder, as bytes.
fn files_hold(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return files_hold(&path, text);
        }
        std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn what_init_makes_is_enough_for_everything_bursar_does() {
    let bare = Bare::start(Timestamp::from_seconds(NOVEMBER)).await;
    let outcome = bare.init(bare.request(), &bare.admin).await.unwrap();
    let file = bare.folder.path().join("bursar.toml");
    init::write_config(&file, &outcome.configuration).unwrap();
    // Warnings are passed on by hand here.
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{written}\n[mail]\ntransport = \"off\"\n")).unwrap();
    bare.clock.advance(HOUR * 2);
    bare.standin.with(|world| {
        let now = world.now();
        world.run_usage_job(now);
    });
    let report = check::check(&bare.config(&file), Arc::new(bare.clock.clone())).await;
    assert_eq!(not_good(&report), Vec::<String>::new(), "{report}");
    assert_eq!(report.exit_code(), 0, "{report}");

    let config = bare.config(&file);
    let app = App::open(config, Arc::new(bare.clock.clone()), Arc::new(SystemRandom)).await.unwrap();
    let database = Database { kind: "SQLite", folder: tempfile::tempdir().unwrap(), url: None };
    let Bare { standin, clock, admin, folder } = bare;
    let cloud = Cloud { standin, clock, app, env: std::collections::BTreeMap::new(), database };
    // The reader reads.
    cloud.round().await;
    cloud.limit("bob", "1").await;
    cloud.arm(&["notify", "lock"]).await;
    // The enforcer locks and opens.
    let mut locked = false;
    for _ in 0..8 {
        cloud.pass(DAY);
        let report = cloud.round().await;
        assert!(report.failed.is_empty(), "{report:?}");
        locked = locked || !report.locked.is_empty();
    }
    assert!(locked, "bob is over the limit for a week");
    let bob = cloud.account("bob").await;
    let id = bob.cloud_id.parse().unwrap();
    assert_eq!(cloud.standin.with(|world| world.account_state(id)), Some(State::Locked));
    cloud.pay("bob", "100").await;
    cloud.enforce().await;
    assert_eq!(cloud.standin.with(|world| world.account_state(id)), Some(State::Enabled));
    // The keys account makes a key.
    let settings = keys::settings(&cloud.app);
    let mut tx = cloud.app.store.begin().await.unwrap();
    let wish = NewRequest {
        key: "wish".to_owned(),
        account: bob.id,
        requested_by: "bob".to_owned(),
        for_user: None,
        replaces: None,
        purpose: "backups".to_owned(),
        days: 30,
    };
    let now = cloud.clock.now();
    let request = access::file(&mut tx, &settings, wish, now).await.unwrap();
    access::approve(&mut tx, request, &Approver::by_name("carol"), &access::Consent::default(), &settings, now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    keys::carry_out(&cloud.app).await.unwrap();
    let pair = keys::show(&cloud.app, request, "bob").await.unwrap();
    assert!(!pair.secret_key.expose().is_empty());
    cloud.verify().await;
    cloud.app.store.close().await;
    for secret in [admin.0.as_str(), admin.1.expose()] {
        assert!(!files_hold(folder.path(), secret), "the administrator's key is in a file");
    }
}

#[tokio::test]
async fn the_reader_comes_first_and_the_others_later() {
    let bare = Bare::start(Timestamp::from_seconds(NOVEMBER)).await;
    let only = InitRequest { reader_only: true, ..bare.request() };
    let outcome = bare.init(only.clone(), &bare.admin).await.unwrap();
    assert!(bare.account("bursar-reader").is_some() && bare.account("bursar-enforcer").is_none());
    let file = bare.folder.path().join("bursar.toml");
    init::write_config(&file, &outcome.configuration).unwrap();
    let report = check::check(&bare.config(&file), Arc::new(bare.clock.clone())).await;
    let about_keys: Vec<_> = report.lines.iter().filter(|line| line.name == "reader key").collect();
    assert!(about_keys.iter().all(|line| line.verdict == Verdict::Good) && about_keys.len() == 1, "{report}");

    let again = bare.init(only, &bare.admin).await.unwrap_err();
    assert!(matches!(&again, InitError::HasKeys(names) if names.len() == 1), "{again}");
    let outcome = bare.init(bare.request(), &bare.admin).await.unwrap();
    let text = outcome.configuration.expose();
    assert!(text.contains("[cloudstack.enforcer]") && text.contains("[cloudstack.keys]"));
    assert!(!text.contains("[cloudstack.reader]"), "the pair in use is left alone");
    let accounts = bare.standin.with(|world| world.calls().len());
    let again = bare.init(bare.request(), &bare.admin).await.unwrap_err();
    assert!(matches!(&again, InitError::HasKeys(names) if names.len() == 3), "{again}");
    let writes = bare.standin.calls().split_off(accounts);
    assert!(
        writes.iter().all(|call| call.command.starts_with("list") || call.command.starts_with("get")),
        "a refusal writes nothing: {writes:?}"
    );
}

#[tokio::test]
async fn a_key_of_anybody_else_is_refused_before_anything_is_made() {
    let bare = Bare::start(Timestamp::from_seconds(NOVEMBER)).await;
    let tenants = bare.standin.with(|world| {
        let root = world.find_domain("ROOT").unwrap();
        let user = world.find_user(root, "bob").unwrap();
        world.register_keys(user)
    });
    let error = bare.init(bare.request(), &tenants).await.unwrap_err();
    assert!(matches!(&error, InitError::NotRootAdmin(_)), "{error}");
    assert!(error.to_string().contains("bob") && error.to_string().contains("nothing was changed"), "{error}");
    let wrong = (bare.admin.0.clone(), Secret::new("EXAMPLE-WRONG-SECRET"));
    let error = bare.init(bare.request(), &wrong).await.unwrap_err();
    assert!(matches!(&error, InitError::CloudStack { .. }), "{error}");
    assert!(!error.to_string().contains("EXAMPLE-WRONG-SECRET"), "{error}");
    assert!(bare.account("bursar-reader").is_none());
}

#[tokio::test]
async fn the_program_sets_itself_up_from_an_administrators_key() {
    let now = SystemClock.now().as_seconds();
    let bare = Bare::start(Timestamp::from_seconds(now - 3 * 3_600)).await;
    bare.clock.advance(HOUR * 3);
    bare.standin.with(|world| {
        let now = world.now();
        world.run_usage_job(now);
    });
    let file = bare.folder.path().join("bursar.toml");
    let path = file.to_str().unwrap().to_owned();
    let url = bare.standin.url().to_string();
    let keys = format!("{}\n{}\n", bare.admin.0, bare.admin.1.expose());
    let nothing = std::collections::BTreeMap::new();
    bursar_with(&nothing, &["init", &url, "--output", &path], "").await.refused(&["standard input", "API key"]);
    bursar_with(&nothing, &["init", "not a url", "--output", &path], &keys)
        .await
        .refused(&["https://cloud.example.com"]);
    assert!(!file.exists() && bare.account("bursar-reader").is_none());

    let made = bursar_with(&nothing, &["init", &url, "--output", &path], &keys).await;
    assert_eq!(made.code, 0, "{}{}", made.out, made.err);
    assert!(made.out.contains("bursar-enforcer") && made.out.contains("check"), "{}", made.out);
    for secret in [bare.admin.0.as_str(), bare.admin.1.expose()] {
        assert!(!made.out.contains(secret) && !made.err.contains(secret) && !files_hold(bare.folder.path(), secret));
    }
    bursar_with(&nothing, &["init", &url, "--output", &path], &keys).await.refused(&["is not overwritten"]);
    let other = bare.folder.path().join("other.toml");
    let again = bursar_with(&nothing, &["init", &url, "--output", other.to_str().unwrap()], &keys).await;
    again.refused(&["--renew", "nothing was changed"]);
    assert!(!other.exists());

    let mut env = std::collections::BTreeMap::new();
    for (key, value) in bare.env() {
        env.insert(key.into_string().unwrap(), value.into_string().unwrap());
    }
    env.insert("BURSAR_BILLING_START".to_owned(), Day::of(bare.clock.now(), chrono_tz::UTC).unwrap().to_string());
    let checked = bursar(&env, &["--config", &path, "--json", "check"]).await;
    let report: serde_json::Value = checked.json();
    let bad: Vec<_> = report["lines"].as_array().unwrap().iter().filter(|line| line["verdict"] == "bad").collect();
    assert!(bad.is_empty(), "{bad:?}");
    let synced = bursar(&env, &["--config", &path, "--json", "sync"]).await.json();
    assert!(synced["usage"]["new_records"].as_u64().unwrap() > 0, "{synced}");
}
