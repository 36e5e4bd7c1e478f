//! What bursar reads, asked of a real CloudStack. Changes nothing there.
//!
//! It runs where `BURSAR_TEST_CLOUDSTACK_URL`, `BURSAR_TEST_CLOUDSTACK_API_KEY` and `BURSAR_TEST_CLOUDSTACK_SECRET_KEY` name one and
//! the key of a service account (or of an administrator). Without them each test says that it was skipped.

use std::{sync::Arc, time::Duration};

use bursar::{
    cloudstack::{Client, ClientSettings, Credentials, EventFilter, VmFilter},
    config::{Config, Sources},
    secrets::Secret,
    setup::check,
    time::{Clock as _, Period, SystemClock, Timestamp},
};

/// A week, of which there is usage on every cloud that is in use.
const WEEK: Duration = Duration::from_hours(24 * 7);
/// Further apart, and requests begin to be refused as expired.
const NOTABLE_SKEW: u64 = 60;

fn given(name: &str) -> Option<String> {
    std::env::var(format!("BURSAR_TEST_CLOUDSTACK_{name}")).ok().filter(|value| !value.is_empty())
}

fn client() -> Option<Client> {
    let (Some(url), Some(api_key), Some(secret_key)) = (given("URL"), given("API_KEY"), given("SECRET_KEY")) else {
        eprintln!("skipped: BURSAR_TEST_CLOUDSTACK_URL, _API_KEY and _SECRET_KEY name no CloudStack (CONTRIBUTING.md)");
        return None;
    };
    let mut settings = ClientSettings::new(url.parse().unwrap());
    settings.ca_file = given("CA_FILE").map(Into::into);
    let credentials = Credentials { api_key: Secret::new(api_key), secret_key: Secret::new(secret_key) };
    Some(Client::new(settings, credentials, Arc::new(SystemClock)).unwrap())
}

fn last_week() -> Period {
    let now = SystemClock.now();
    Period::new(now.minus(WEEK), now).unwrap()
}

#[tokio::test]
async fn it_tells_what_it_can_do() {
    let Some(client) = client() else { return };
    let capabilities = client.capabilities().await.unwrap();
    let release = capabilities.release();
    assert!(release.is_some(), "{capabilities:?}");
    eprintln!("CloudStack {release:?}");
    for name in ["listUsageRecords", "listAccounts", "listApis"] {
        assert!(client.api(name).await.unwrap().is_some(), "{name}");
    }
    assert!(client.api("noSuchApiOfAnyCloud").await.unwrap().is_none());
    assert!(client.page_size().await.unwrap() > 0);
}

#[tokio::test]
async fn the_clocks_agree() {
    let Some(client) = client() else { return };
    let skew = client.measure_clock_skew().await.unwrap();
    assert!(skew.is_none_or(|seconds| seconds.unsigned_abs() < NOTABLE_SKEW), "{skew:?} seconds apart");
}

#[tokio::test]
async fn its_lists_are_read_whole() {
    let Some(client) = client() else { return };
    let domains = client.list_domains().await.unwrap();
    assert!(domains.iter().any(|domain| domain.parent_id.is_none()), "one domain is the root");
    let accounts = client.list_accounts().await.unwrap();
    assert!(!accounts.items.is_empty());
    for account in accounts.iter() {
        assert!(domains.iter().any(|domain| domain.id == account.domain_id), "{} has a domain", account.name);
    }
    let users = client.list_users().await.unwrap();
    assert!(!users.items.is_empty());
    let first = accounts.iter().next().unwrap();
    assert_eq!(client.get_account(first.id).await.unwrap().unwrap().name, first.name);
    client.list_projects().await.unwrap();
    client.list_zones().await.unwrap();
    client.list_service_offerings().await.unwrap();
    client.list_disk_offerings().await.unwrap();
    client.list_network_offerings().await.unwrap();
    client.list_virtual_machines(&VmFilter::default()).await.unwrap();
    client.list_events(&EventFilter::default()).await.unwrap();
}

#[tokio::test]
async fn its_usage_is_read_and_counted_alike() {
    let Some(client) = client() else { return };
    assert!(!client.usage_types().await.unwrap().items.is_empty());
    client.usage_server_metrics().await.unwrap();
    let week = last_week();
    let count = client.usage_count(week).await.unwrap();
    let page_size = client.page_size().await.unwrap();
    let page = client.usage_page(week, 1, page_size).await.unwrap();
    assert_eq!(u64::try_from(page.rows()).unwrap(), count.min(u64::from(page_size)));
    for row in &page.items {
        assert!(row.period().is_some(), "{row:?}");
        assert!(row.quantity().is_some(), "{row:?}");
    }
    let none = Period::new(Timestamp::from_seconds(946_684_800), Timestamp::from_seconds(946_771_200)).unwrap();
    assert_eq!(client.usage_count(none).await.unwrap(), 0, "nothing was used on 1 January 2000");
}

#[tokio::test]
async fn a_wrong_secret_is_told_as_one() {
    let (Some(url), Some(api_key)) = (given("URL"), given("API_KEY")) else { return };
    let mut settings = ClientSettings::new(url.parse().unwrap());
    settings.ca_file = given("CA_FILE").map(Into::into);
    let credentials = Credentials { api_key: Secret::new(api_key), secret_key: Secret::new("EXAMPLE-WRONG-SECRET") };
    let client = Client::new(settings, credentials, Arc::new(SystemClock)).unwrap();
    let error = client.list_domains().await.unwrap_err();
    assert_eq!(error.code(), Some(401), "{error}");
}

#[tokio::test]
async fn the_check_reaches_it() {
    if client().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut variables = vec![
        ("BURSAR_STORE_DATA_DIR".to_owned(), folder.path().display().to_string()),
        ("BURSAR_CLOUDSTACK_URL".to_owned(), given("URL").unwrap()),
        ("BURSAR_CLOUDSTACK_READER_API_KEY".to_owned(), given("API_KEY").unwrap()),
        ("BURSAR_CLOUDSTACK_READER_SECRET_KEY".to_owned(), given("SECRET_KEY").unwrap()),
    ];
    if let Some(file) = given("CA_FILE") {
        variables.push(("BURSAR_CLOUDSTACK_CA_FILE".to_owned(), file));
    }
    let config = Config::load(&Sources::new(None, variables).with_fallback(None)).unwrap();
    let report = check::check(&config, Arc::new(SystemClock)).await;
    eprintln!("{report}");
    for name in ["reached", "reader key"] {
        let line = report.lines.iter().find(|line| line.name == name).unwrap();
        assert_eq!(line.verdict, check::Verdict::Good, "{line:?}");
    }
}
