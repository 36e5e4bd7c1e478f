//! `bursar demo`: the whole product on one machine. Two weeks of a small cloud are lived through, told in sentences, and then
//! the pages are served.
//!
//! The cloud is the stand-in; bursar talks to it over HTTP as it would to a real one. With `--data-dir` the demo can be cut
//! off anywhere and goes on: the cloud's days are lived again the same way, and what bursar did to it is read back from
//! a file that the cloud writes before it answers.

mod asks;
mod cloud;
mod pages;
mod story;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;

use super::{Context, args::DemoArgs, output};
use crate::{
    config::{Config, Sources},
    jobs::{App, lock::DataLock},
    random::SystemRandom,
    store::runs,
    time::{Clock as _, ManualClock, SystemClock, Timestamp},
};

/// Days that are lived through.
const DAYS: u32 = 14;
/// The setting with the number of days that are over.
const DAYS_DONE: &str = "demo.days-done";
/// The setting with the instant at which the demo's cloud began.
const BEGAN: &str = "demo.began-ms";

/// `bursar demo`
pub async fn demo(context: &Context, args: DemoArgs) -> anyhow::Result<ExitCode> {
    let temporary = if args.data_dir.is_none() { Some(Scratch::make()?) } else { None };
    let folder = args
        .data_dir
        .clone()
        .or_else(|| temporary.as_ref().map(|scratch| scratch.0.clone()))
        .context("no folder for the demo")?;
    std::fs::create_dir_all(&folder).with_context(|| format!("{} can not be made", folder.display()))?;
    let _lock = DataLock::try_take(&folder)?
        .with_context(|| format!("another demo runs in {}; end it or name another --data-dir", folder.display()))?;
    let began = began(&folder)?;
    let clock = ManualClock::new(began);
    let cloud = cloud::DemoCloud::start(&folder, clock.clone()).await?;
    let app = open(&folder, &cloud, &args, &clock).await?;
    let mut tx = app.store.begin().await?;
    runs::close_runs_of(&mut tx, "", app.clock.now()).await?;
    runs::put_setting(&mut tx, BEGAN, &began.as_ms().to_string(), clock.now()).await?;
    let done: u32 = runs::find_setting(&mut tx, DAYS_DONE).await?.and_then(|text| text.parse().ok()).unwrap_or(0);
    tx.commit().await?;

    let mut story = story::Story::new(context.json);
    story.begin(done, &folder);
    for day in 1..=DAYS {
        let lived = cloud.live_until(began, day, &clock);
        if day > done {
            story.day(&app, &cloud, day, lived).await?;
            let mut tx = app.store.begin().await?;
            runs::put_setting(&mut tx, DAYS_DONE, &day.to_string(), clock.now()).await?;
            tx.commit().await?;
        }
    }
    let summary = story.finish(&app, &cloud, &mail_folder(&folder)).await?;
    let well = summary.findings.is_empty();
    if context.json {
        output::line(&serde_json::to_string_pretty(&summary)?);
    }
    if !args.once {
        pages::serve(&app, &cloud, &clock, args.listen).await?;
    }
    app.store.close().await;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The instant at which the demo's cloud began: two weeks before the last full hour, or what the folder says.
fn began(folder: &Path) -> anyhow::Result<Timestamp> {
    let file = folder.join("began");
    if let Ok(text) = std::fs::read_to_string(&file) {
        let ms = text.trim().parse().with_context(|| format!("{} is not the demo's", file.display()))?;
        return Ok(Timestamp::from_ms(ms));
    }
    let hour = SystemClock.now().as_seconds() / 3_600 * 3_600;
    let began = Timestamp::from_seconds(hour - i64::from(DAYS) * 86_400);
    std::fs::write(&file, began.as_ms().to_string())?;
    Ok(began)
}

async fn open(folder: &Path, cloud: &cloud::DemoCloud, args: &DemoArgs, clock: &ManualClock) -> anyhow::Result<App> {
    let prices = folder.join("prices.toml");
    std::fs::write(&prices, cloud::PRICES)?;
    let mut env: BTreeMap<&str, String> = BTreeMap::from([
        ("BURSAR_CLOUDSTACK_URL", cloud.url().to_string()),
        ("BURSAR_STORE_DATA_DIR", folder.display().to_string()),
        ("BURSAR_BILLING_PRICE_BOOK", prices.display().to_string()),
        ("BURSAR_BILLING_TAX_PERCENT", "20".to_owned()),
        ("BURSAR_BILLING_START", crate::time::Day::of(clock.now(), chrono_tz::UTC).context("no day")?.to_string()),
        ("BURSAR_WEB_LISTEN", args.listen.to_string()),
    ]);
    env.insert("BURSAR_MAIL_TRANSPORT", "folder".to_owned());
    env.insert("BURSAR_MAIL_FOLDER", mail_folder(folder).display().to_string());
    env.insert("BURSAR_MAIL_FROM", "Demo cloud billing <billing@example.com>".to_owned());
    env.insert("BURSAR_MAIL_ADMINS", "admin@example.com".to_owned());
    // Two percent of ten accounts is one a day: the story has two that go down together.
    env.insert("BURSAR_FUSE_PERCENT", "50".to_owned());
    if !args.once && args.listen.port() != 0 {
        // What the links in the mails lead to.
        env.insert("BURSAR_WEB_PUBLIC_URL", format!("http://{}", args.listen));
    }
    for (role, (api_key, secret_key)) in cloud.service_keys() {
        let key = match role {
            "reader" => ("BURSAR_CLOUDSTACK_READER_API_KEY", "BURSAR_CLOUDSTACK_READER_SECRET_KEY"),
            "enforcer" => ("BURSAR_CLOUDSTACK_ENFORCER_API_KEY", "BURSAR_CLOUDSTACK_ENFORCER_SECRET_KEY"),
            _ => ("BURSAR_CLOUDSTACK_KEYS_API_KEY", "BURSAR_CLOUDSTACK_KEYS_SECRET_KEY"),
        };
        env.insert(key.0, api_key.clone());
        env.insert(key.1, secret_key.expose().to_owned());
    }
    let vars = env.into_iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
    let config = Config::load(&Sources::new(None, vars).with_fallback(None))?;
    Ok(App::open(config, Arc::new(clock.clone()), Arc::new(SystemRandom)).await?)
}

/// Where the demo's mail lands.
fn mail_folder(folder: &Path) -> PathBuf {
    folder.join("mail")
}

/// A folder of the demo's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> anyhow::Result<Self> {
        use crate::random::RandomSource as _;
        let path = std::env::temp_dir().join(format!("bursar-demo-{}", SystemRandom.hex(6)));
        std::fs::create_dir_all(&path).with_context(|| format!("{} can not be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
