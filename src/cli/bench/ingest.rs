//! `ingest`: what the sync does with a span once it is there. No HTTP, no JSON.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono_tz::Tz;

use super::{
    figure::{Aim, Figure},
    memory::Watch,
    place::{Place, hour},
    rows::{DAY_HOURS, Shape, row},
};
use crate::{
    cloudstack::UsageRow,
    time::{Clock as _, Period},
    usage::ingest::{self, Downloaded, Spans},
};

/// A day of them is a span of the size that the sync stores.
pub(super) const ACCOUNTS: u64 = 80;

pub(super) async fn ingest(place: &Place, records: u64) -> anyhow::Result<Vec<Figure>> {
    let watch = Watch::begin();
    let elapsed = fill(place, Shape::new(ACCOUNTS, records)).await?;
    let aim = Aim::PerSecond(place.ingest_aim());
    Ok(vec![Figure::new("ingest", place.database(), (records, "records"), elapsed, aim).with_memory(watch.end())])
}

/// Stores records in spans of a day; the time it took, without making them.
pub(super) async fn fill(place: &Place, shape: Shape) -> anyhow::Result<Duration> {
    let mut all = shape.all();
    let mut elapsed = Duration::ZERO;
    for day in 0..shape.days {
        let a_day = usize::try_from(shape.accounts * super::rows::MACHINES * DAY_HOURS)?;
        let rows: Vec<UsageRow> = all.by_ref().take(a_day).map(row).collect();
        let span = Period::new(hour(day * DAY_HOURS), hour((day + 1) * DAY_HOURS)).context("no span")?;
        let spans = Spans { span, zone: Tz::UTC, advance: true };
        let downloaded = Downloaded { rows, unreadable: 0 };
        let begun = Instant::now();
        ingest::store_span(place.store(), downloaded, spans, place.run, place.clock.now()).await?;
        elapsed += begun.elapsed();
    }
    Ok(elapsed)
}
