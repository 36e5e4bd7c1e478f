//! What bursar reads, asked of a real CloudStack. Changes nothing there.
//!
//! It runs where `BURSAR_TEST_CLOUDSTACK_URL`, `BURSAR_TEST_CLOUDSTACK_API_KEY` and `BURSAR_TEST_CLOUDSTACK_SECRET_KEY` name one and
//! the key of a service account (or of an administrator). Without them only the stand-in is asked, and each test says so.

use std::{sync::Arc, time::Duration};

use bursar::{
    cloudstack::{Client, ClientSettings, Credentials, EventFilter, VmFilter},
    config::{Config, Sources},
    secrets::Secret,
    setup::check,
    standin::{Options, RoleKind, StandIn, World},
    time::{Clock as _, ManualClock, Period, SystemClock, Timestamp},
};

use crate::harness::{READER, tenant};

/// A week, of which there is usage on every cloud that is in use.
const WEEK: Duration = Duration::from_hours(24 * 7);
/// Further apart, and requests begin to be refused as expired.
const NOTABLE_SKEW: u64 = 60;

/// A CloudStack and a key for it.
struct Cloud {
    url: String,
    api_key: String,
    secret_key: Secret,
    ca_file: Option<String>,
}

impl Cloud {
    fn client_with(&self, secret_key: &str) -> Client {
        let mut settings = ClientSettings::new(self.url.parse().unwrap());
        settings.ca_file = self.ca_file.clone().map(Into::into);
        let credentials =
            Credentials { api_key: Secret::new(self.api_key.clone()), secret_key: Secret::new(secret_key) };
        Client::new(settings, credentials, Arc::new(SystemClock)).unwrap()
    }

    fn client(&self) -> Client {
        self.client_with(self.secret_key.expose())
    }
}

/// Asks the stand-in, which shows that the question is right, and then the real one where there is one.
async fn on_each_cloud(ask: impl AsyncFn(Cloud)) {
    let now = SystemClock.now();
    let clock = ManualClock::new(now.minus(WEEK));
    let mut world = World::new(clock.now());
    let rules: Vec<(&str, bool)> = READER.iter().map(|api| (*api, true)).chain([("*", false)]).collect();
    let role = world.add_role("reader", RoleKind::Admin, &rules);
    let (api_key, secret_key) = world.add_service_account("reader", role);
    let bob = tenant(&mut world, "bob");
    let offering = world.find_offering("Small Instance").unwrap();
    world.deploy_vm(bob, "bob-vm", offering, clock.now());
    let options = Options { clock: Arc::new(clock.clone()), ..Options::default() };
    let standin = StandIn::start(world, options).await.unwrap();
    clock.set(now);
    standin.with(|world| world.run_usage_job(now));
    ask(Cloud { url: standin.url().to_string(), api_key, secret_key, ca_file: None }).await;

    let given =
        |name: &str| std::env::var(format!("BURSAR_TEST_CLOUDSTACK_{name}")).ok().filter(|value| !value.is_empty());
    let (Some(url), Some(api_key), Some(secret_key)) = (given("URL"), given("API_KEY"), given("SECRET_KEY")) else {
        eprintln!("skipped: BURSAR_TEST_CLOUDSTACK_URL, _API_KEY and _SECRET_KEY name no CloudStack (CONTRIBUTING.md)");
        return;
    };
    ask(Cloud { url, api_key, secret_key: Secret::new(secret_key), ca_file: given("CA_FILE") }).await;
}

#[tokio::test]
async fn it_tells_what_it_can_do() {
    on_each_cloud(async |cloud| {
        let client = cloud.client();
        let capabilities = client.capabilities().await.unwrap();
        let release = capabilities.release();
        assert!(release.is_some(), "{capabilities:?}");
        eprintln!("CloudStack {release:?}");
        for name in ["listUsageRecords", "listAccounts", "listApis"] {
            assert!(client.api(name).await.unwrap().is_some(), "{name}");
        }
        assert!(client.api("noSuchApiOfAnyCloud").await.unwrap().is_none());
        assert!(client.page_size().await.unwrap() > 0);
    })
    .await;
}

#[tokio::test]
async fn the_clocks_agree() {
    on_each_cloud(async |cloud| {
        let skew = cloud.client().measure_clock_skew().await.unwrap();
        assert!(skew.is_some_and(|seconds| seconds.unsigned_abs() < NOTABLE_SKEW), "{skew:?} seconds apart");
    })
    .await;
}

#[tokio::test]
async fn its_lists_are_read_whole() {
    on_each_cloud(async |cloud| {
        let client = cloud.client();
        let domains = client.list_domains().await.unwrap();
        assert!(domains.iter().any(|domain| domain.parent_id.is_none()), "one domain is the root");
        let accounts = client.list_accounts().await.unwrap();
        for account in accounts.iter() {
            assert!(domains.iter().any(|domain| domain.id == account.domain_id), "{} has a domain", account.name);
        }
        assert!(!client.list_users().await.unwrap().is_empty());
        let first = accounts.first().unwrap();
        assert_eq!(client.get_account(first.id).await.unwrap().unwrap().name, first.name);
        client.list_projects().await.unwrap();
        assert!(!client.list_zones().await.unwrap().is_empty());
        client.list_service_offerings().await.unwrap();
        client.list_disk_offerings().await.unwrap();
        client.list_network_offerings().await.unwrap();
        client.list_virtual_machines(&VmFilter::default()).await.unwrap();
        client.list_events(&EventFilter::default(), 500).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn its_usage_is_read_and_counted_alike() {
    on_each_cloud(async |cloud| {
        let client = cloud.client();
        assert!(!client.usage_types().await.unwrap().is_empty());
        client.usage_server_metrics().await.unwrap();
        let now = SystemClock.now();
        let week = Period::new(now.minus(WEEK), now).unwrap();
        let count = client.usage_count(week).await.unwrap();
        let page_size = client.page_size().await.unwrap();
        let page = client.usage_page(week, 1, page_size).await.unwrap();
        assert_eq!(u64::try_from(page.rows()).unwrap(), count.min(u64::from(page_size)));
        for row in &page.items {
            assert!(row.period().is_some() && row.quantity().is_some(), "{row:?}");
        }
        let day = 946_684_800;
        let none = Period::new(Timestamp::from_seconds(day), Timestamp::from_seconds(day + 86_400)).unwrap();
        assert_eq!(client.usage_count(none).await.unwrap(), 0, "nothing was used on 1 January 2000");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_secret_is_told_as_one() {
    on_each_cloud(async |cloud| {
        let error = cloud.client_with("EXAMPLE-WRONG-SECRET").list_domains().await.unwrap_err();
        assert_eq!(error.code(), Some(401), "{error}");
    })
    .await;
}

#[tokio::test]
async fn the_check_reaches_it() {
    on_each_cloud(async |cloud| {
        let folder = tempfile::tempdir().unwrap();
        let mut variables = vec![
            ("BURSAR_STORE_DATA_DIR".to_owned(), folder.path().display().to_string()),
            ("BURSAR_CLOUDSTACK_URL".to_owned(), cloud.url),
            ("BURSAR_CLOUDSTACK_READER_API_KEY".to_owned(), cloud.api_key),
            ("BURSAR_CLOUDSTACK_READER_SECRET_KEY".to_owned(), cloud.secret_key.expose().to_owned()),
        ];
        if let Some(file) = cloud.ca_file {
            variables.push(("BURSAR_CLOUDSTACK_CA_FILE".to_owned(), file));
        }
        let config = Config::load(&Sources::new(None, variables).with_fallback(None)).unwrap();
        let report = check::check(&config, Arc::new(SystemClock)).await;
        eprintln!("{report}");
        for name in ["reached", "clocks", "reader key"] {
            let line = report.lines.iter().find(|line| line.name == name).unwrap();
            assert_eq!(line.verdict, check::Verdict::Good, "{line:?}");
        }
    })
    .await;
}
