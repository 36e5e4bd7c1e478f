//! A database of its own for each measure, gone afterwards whatever happened in between.

use std::{ffi::OsString, path::Path, sync::Arc};

use anyhow::Context as _;

use crate::{
    config::{Config, Sources},
    ids::RunId,
    jobs::{App, lock::DataLock},
    random::{RandomSource as _, SystemRandom},
    store::{Store, runs},
    time::{Clock as _, ManualClock, Timestamp},
};

/// The first hour of every measure: 1 November 2026, UTC.
pub(super) const BEGIN_SECONDS: i64 = 1_793_491_200;

/// bursar on an empty database, with a clock that stands still.
pub(super) struct Place {
    pub(super) app: App,
    pub(super) clock: ManualClock,
    /// Under which everything is written.
    pub(super) run: RunId,
}

impl Place {
    pub(super) fn store(&self) -> &Store {
        &self.app.store
    }

    pub(super) fn database(&self) -> &'static str {
        self.app.store.kind()
    }

    /// The rate that ingesting shall reach on this database.
    pub(super) fn ingest_aim(&self) -> u64 {
        match self.store() {
            Store::Sqlite { .. } => 50_000,
            Store::Postgres(_) => 40_000,
        }
    }
}

/// An hour of the measures.
pub(super) fn hour(number: u64) -> Timestamp {
    Timestamp::from_seconds(BEGIN_SECONDS + i64::try_from(number).unwrap_or(0) * 3_600)
}

/// Does some work in a place of its own: a temporary folder, and a database on the PostgreSQL server where one is named.
pub(super) async fn in_place<T>(
    server: Option<&str>,
    work: impl AsyncFnOnce(&Place) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let folder = std::env::temp_dir().join(format!("bursar-bench-{}", SystemRandom.hex(6)));
    std::fs::create_dir_all(&folder)?;
    let done = in_folder(&folder, server, work).await;
    std::fs::remove_dir_all(&folder)?;
    done
}

async fn in_folder<T>(
    folder: &Path,
    server: Option<&str>,
    work: impl AsyncFnOnce(&Place) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    use sqlx::{Connection as _, Executor as _};
    let _lock = DataLock::try_take(folder)?;
    let Some(server) = server else { return on_database(folder, None, work).await };
    let name = format!("bursar_bench_{}", SystemRandom.hex(6));
    let mut admin = sqlx::PgConnection::connect(server).await.context("the PostgreSQL server does not answer")?;
    let mut url: url::Url = server.parse().context("the PostgreSQL URL can not be read")?;
    url.set_path(&name);
    // The name is made here, of hexadecimal digits.
    admin.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await?;
    let done = on_database(folder, Some(url.as_str()), work).await;
    // A long measure may outlast the first connection.
    drop(admin);
    let mut admin = sqlx::PgConnection::connect(server).await.context("the PostgreSQL server does not answer")?;
    admin.execute(sqlx::AssertSqlSafe(format!("drop database {name} with (force)"))).await?;
    done
}

async fn on_database<T>(
    folder: &Path,
    postgres: Option<&str>,
    work: impl AsyncFnOnce(&Place) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut vars: Vec<(OsString, OsString)> = vec![
        ("BURSAR_STORE_DATA_DIR".into(), folder.into()),
        ("BURSAR_POLICY_DEFAULT_LIMIT".into(), "100".into()),
        ("BURSAR_BILLING_START".into(), "2026-11-01".into()),
    ];
    if let Some(url) = postgres {
        vars.push(("BURSAR_STORE_URL".into(), url.into()));
    }
    let config = Config::load(&Sources::new(None, vars).with_fallback(None))?;
    let clock = ManualClock::new(Timestamp::from_seconds(BEGIN_SECONDS));
    let app = App::open(config, Arc::new(clock.clone()), Arc::new(SystemRandom)).await?;
    let mut tx = app.store.begin().await?;
    let run = runs::start_run(&mut tx, "bench", "command", &app.holder, clock.now()).await?;
    tx.commit().await?;
    let run = run.map_err(|since| anyhow::anyhow!("another measure is under way since {since}"))?;
    let place = Place { app, clock, run };
    let done = work(&place).await;
    place.app.store.close().await;
    done
}
