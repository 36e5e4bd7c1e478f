//! `sync-fast` and `sync-real`: the sync as it runs, over HTTP on loopback, beside a plain download of the same pages with the
//! same number at once.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    cloud,
    figure::{Aim, Figure},
    ingest,
    memory::Watch,
    place::{Place, hour},
    rows::{DAY_HOURS, MACHINES, Shape},
};
use crate::{
    cloudstack::Client,
    progress::Quiet,
    time::Period,
    usage::sync::{self, SyncSettings},
};

/// Rows that CloudStack lists a second and core (measured on 4.22).
const REAL_ROWS_PER_SECOND: u32 = 430;
/// Accounts of the slow cloud: two pages a day, so that spans end in the middle of the download many times.
const FEW_ACCOUNTS: u64 = 4;
/// The sync may take so much longer than the download, in hundredths.
const RATIO: u64 = 105;

pub(super) async fn fast(place: &Place, records: u64) -> anyhow::Result<Vec<Figure>> {
    let shape = Shape::new(ingest::ACCOUNTS, records);
    let settings = settings(place, shape)?;
    let (standin, client) = cloud::start(place, shape, None, settings.concurrency).await?;
    // The first pass only makes the stand-in keep its answers.
    download(&client, shape, &settings).await?;
    let figure = beside(place, ("sync-fast", shape), &client, &settings, Aim::PerSecond(place.ingest_aim())).await?;
    standin.stop().await;
    Ok(vec![figure])
}

pub(super) async fn real(place: &Place, records: u64) -> anyhow::Result<Vec<Figure>> {
    let shape = Shape::new(FEW_ACCOUNTS, records);
    let settings = settings(place, shape)?;
    let (standin, client) = cloud::start(place, shape, Some(REAL_ROWS_PER_SECOND), settings.concurrency).await?;
    let figure = beside(place, ("sync-real", shape), &client, &settings, Aim::Ratio(RATIO)).await?;
    standin.stop().await;
    Ok(vec![figure])
}

/// As configured by default, from the first hour on.
fn settings(place: &Place, shape: Shape) -> anyhow::Result<SyncSettings> {
    Ok(SyncSettings { lookback_days: u32::try_from(shape.days)?, begins: None, ..place.app.sync_settings(false) })
}

async fn beside(
    place: &Place,
    (name, shape): (&'static str, Shape),
    client: &Client,
    settings: &SyncSettings,
    aim: Aim,
) -> anyhow::Result<Figure> {
    let plain = download(client, shape, settings).await?;
    let watch = Watch::begin();
    let begun = Instant::now();
    let report = sync::sync_usage(client, place.store(), &place.clock, settings, place.run, &Quiet).await?;
    let elapsed = begun.elapsed();
    anyhow::ensure!(report.new_records == shape.records, "{} records were stored", report.new_records);
    let figure = Figure::new(name, place.database(), (shape.records, "records"), elapsed, aim);
    Ok(figure.beside(elapsed, plain, aim).with_memory(watch.end()))
}

/// Every page of every day, thrown away.
async fn download(client: &Client, shape: Shape, settings: &SyncSettings) -> anyhow::Result<Duration> {
    let page_size = client.page_size().await?.min(settings.page_size);
    let a_day = shape.accounts * MACHINES * DAY_HOURS;
    let mut pages = Vec::new();
    for day in 0..shape.days {
        let range = Period::new(hour(day * DAY_HOURS), hour((day + 1) * DAY_HOURS)).context("no day")?;
        let rows = a_day.min(shape.records.saturating_sub(day * a_day));
        let count = u32::try_from(rows.div_ceil(u64::from(page_size)))?;
        pages.extend((1..=count).map(|page| (range, page)));
    }
    let begun = Instant::now();
    stream::iter(pages)
        .map(|(range, page)| client.usage_page_bytes(range, page, page_size))
        .buffered(settings.concurrency)
        .try_for_each(async |_| Ok(()))
        .await?;
    Ok(begun.elapsed())
}
