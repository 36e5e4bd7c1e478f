//! `bursar bench`: records a second for ingest, rating and posting, on a database of its own.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use anyhow::Context as _;
use chrono_tz::Tz;

use super::{Context, args::BenchArgs, output};
use crate::{
    cloudstack::UsageRow,
    config::{Config, Sources},
    ids::RunId,
    jobs::{App, lock::DataLock},
    ledger::post::{self, PostSettings},
    progress::Quiet,
    random::{RandomSource as _, SystemRandom},
    rating::{PriceBook, desk::RateSettings, stage, tax::TaxRate},
    scope::Scope,
    store::{Store, rating as rating_rows, runs},
    time::{Day, ManualClock, Period, Timestamp},
    usage::ingest::{self, Downloaded, Spans},
};

/// Records of an account and hour: a small tenant's.
const RECORDS_PER_ACCOUNT_HOUR: u64 = 10;
/// Accounts of the bench.
const ACCOUNTS: u64 = 100;
/// The first hour: 1 November 2026, UTC.
const BEGIN_SECONDS: i64 = 1_793_491_200;
const PRICES: &str = "currency = \"EUR\"\n[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.08\"\n";

#[derive(serde::Serialize)]
struct Measured {
    database: &'static str,
    records: u64,
    ingest_per_second: u64,
    rate_per_second: u64,
    post_per_second: u64,
    seconds: String,
}

/// `bursar bench`
pub async fn bench(context: &Context, args: BenchArgs) -> anyhow::Result<ExitCode> {
    let folder = std::env::temp_dir().join(format!("bursar-bench-{}", SystemRandom.hex(6)));
    std::fs::create_dir_all(&folder)?;
    let _lock = DataLock::try_take(&folder)?;
    let mut measured = vec![measure(&folder, None, args.records).await?];
    if let Some(server) = &args.postgres {
        measured.push(on_postgres(&folder, server, args.records).await?);
    }
    std::fs::remove_dir_all(&folder)?;
    context.show(&measured, |measured| {
        let rows = measured
            .iter()
            .map(|row| {
                [
                    row.database.to_owned(),
                    row.records.to_string(),
                    row.ingest_per_second.to_string(),
                    row.rate_per_second.to_string(),
                    row.post_per_second.to_string(),
                    row.seconds.clone(),
                ]
            })
            .collect();
        format!(
            "{}\nRecords a second on this machine; read them as ratios, machines are noisy.",
            output::table(["database", "records", "ingest", "rate", "post", "seconds in all"], rows)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Measures in a database of its own, dropped whatever happens in between.
async fn on_postgres(folder: &std::path::Path, server: &str, records: u64) -> anyhow::Result<Measured> {
    use sqlx::{Connection as _, Executor as _};
    let name = format!("bursar_bench_{}", SystemRandom.hex(6));
    let mut admin = sqlx::PgConnection::connect(server).await.context("the PostgreSQL server does not answer")?;
    let mut url: url::Url = server.parse().context("the PostgreSQL URL can not be read")?;
    url.set_path(&name);
    // The name is made here, of hexadecimal digits.
    admin.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await?;
    let measured = measure(folder, Some(url.as_str()), records).await;
    admin.execute(sqlx::AssertSqlSafe(format!("drop database {name} with (force)"))).await?;
    measured
}

async fn measure(folder: &std::path::Path, postgres: Option<&str>, records: u64) -> anyhow::Result<Measured> {
    let mut vars: Vec<(std::ffi::OsString, std::ffi::OsString)> =
        vec![("BURSAR_STORE_DATA_DIR".into(), PathBuf::from(folder).into())];
    if let Some(url) = postgres {
        vars.push(("BURSAR_STORE_URL".into(), url.into()));
    }
    let config = Config::load(&Sources::new(None, vars).with_fallback(None))?;
    let clock = ManualClock::new(Timestamp::from_seconds(BEGIN_SECONDS));
    let app = App::open(config, Arc::new(clock.clone()), Arc::new(SystemRandom)).await?;
    let result = phases(&app.store, &clock, records).await;
    let kind = app.store.kind();
    app.store.close().await;
    let (ingest, rate, post) = result?;
    let per_second = |elapsed: std::time::Duration| {
        u64::try_from(u128::from(records).saturating_mul(1_000_000) / elapsed.as_micros().max(1)).unwrap_or(u64::MAX)
    };
    let all = ingest + rate + post;
    Ok(Measured {
        database: kind,
        records,
        ingest_per_second: per_second(ingest),
        rate_per_second: per_second(rate),
        post_per_second: per_second(post),
        seconds: format!("{}.{:03}", all.as_secs(), all.subsec_millis()),
    })
}

async fn phases(
    store: &Store,
    clock: &ManualClock,
    records: u64,
) -> anyhow::Result<(std::time::Duration, std::time::Duration, std::time::Duration)> {
    let hours = records.div_ceil(ACCOUNTS * RECORDS_PER_ACCOUNT_HOUR);
    let now = Timestamp::from_seconds(BEGIN_SECONDS);
    let mut made = 0_u64;
    let begun = Instant::now();
    // Spans of 24 hours, as the sync stores them.
    for first in (0..hours).step_by(24) {
        let mut rows = Vec::new();
        for hour in first..hours.min(first + 24) {
            for account in 0..ACCOUNTS {
                for resource in 0..RECORDS_PER_ACCOUNT_HOUR {
                    if made < records {
                        rows.push(row(account, resource, hour)?);
                        made += 1;
                    }
                }
            }
        }
        let at = |hour: u64| Timestamp::from_seconds(BEGIN_SECONDS + i64::try_from(hour).unwrap_or(0) * 3_600);
        let span = Period::new(at(first), at(first + 24)).context("no span")?;
        let spans = Spans { span, zone: Tz::UTC, advance: true };
        ingest::store_span(store, Downloaded { rows, unreadable: 0 }, spans, RunId::new(1), now).await?;
    }
    let ingest = begun.elapsed();
    let book = PriceBook::parse(PRICES, Tz::UTC).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let mut tx = store.begin().await?;
    let book_id = rating_rows::put_book(&mut tx, book.digest(), "EUR", book.canonical_text(), now).await?;
    runs::put_setting(&mut tx, "bench", "1", now).await?;
    tx.commit().await?;
    let begun = Instant::now();
    let settings = RateSettings {
        zone: Tz::UTC,
        start: Day::of(now, Tz::UTC).context("no day")?,
        scope: Scope::default(),
        tax: TaxRate::ZERO,
    };
    stage::rate_days(store, (book_id, &Arc::new(book)), &settings, &Quiet).await?;
    let rate = begun.elapsed();
    let begun = Instant::now();
    let closed_until = Timestamp::from_seconds(BEGIN_SECONDS + i64::try_from(hours + 48).unwrap_or(0) * 3_600);
    let settings =
        PostSettings { zone: Tz::UTC, tax: TaxRate::ZERO, closed_until, correction_limit: None, run: RunId::new(1) };
    post::post_charges(store, &settings, clock, &Quiet).await?;
    Ok((ingest, rate, begun.elapsed()))
}

fn row(account: u64, resource: u64, hour: u64) -> anyhow::Result<UsageRow> {
    let start = BEGIN_SECONDS + i64::try_from(hour)? * 3_600;
    Ok(UsageRow {
        account: Some(format!("bench-{account}")),
        account_id: Some(format!("00000000-0000-4000-8000-{account:012}")),
        domain_id: Some("00000000-0000-4000-8000-000000000000".to_owned()),
        domain_path: Some("ROOT".to_owned()),
        usage_type: Some(1),
        raw_usage: Some("1".to_owned()),
        usage_id: Some(format!("00000000-0000-4000-9000-{:012}", account * 1_000 + resource)),
        start_date: Some(Timestamp::from_seconds(start).to_cloudstack()),
        end_date: Some(Timestamp::from_seconds(start + 3_599).to_cloudstack()),
        ..UsageRow::default()
    })
}
