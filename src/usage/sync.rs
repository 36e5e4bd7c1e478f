//! Fetches usage by closed windows, finds late records by counting, and stores what is true.
//!
//! Every span is one transaction with its cursor: cut off anywhere, the next run goes on where this one stopped, and
//! fetching a span again changes nothing when nothing changed. How spans are downloaded while others are stored is
//! `usage::fetch`'s business.

use std::time::Duration;

use chrono_tz::Tz;

use super::{
    fetch::{Source, Target},
    ingest::Stored,
    review_watch,
};
use crate::{
    cloudstack::{self, Client},
    ids::RunId,
    progress::Progress,
    store::{Store, StoreError, runs, usage as rows},
    time::{Clock, Day, Period, Timestamp},
};

/// A span with more rows is halved, so that memory and transactions stay small: one span is stored while the next comes in.
pub const SPAN_ROWS: u64 = 20_000;
/// Spans of late records looked into in one run; the rest waits for the next run.
const MAX_LATE_DAYS: usize = 62;
/// The usage job's range where CloudStack does not tell it: its own default, a day.
const DEFAULT_RANGE_MINUTES: i64 = 1_440;

/// Names of the settings that the sync keeps for the other stages.
pub mod settings {
    /// End of the newest closed window, ms.
    pub const CLOSED_UNTIL: &str = "usage.closed-until-ms";
    /// Everything before is fetched, ms.
    pub const FETCHED_UNTIL: &str = "usage.fetched-until-ms";
    /// Where fetching began, ms.
    pub const FETCHED_FROM: &str = "usage.fetched-from-ms";
    /// The usage job's range, minutes.
    pub const RANGE_MINUTES: &str = "usage.range-minutes";
    /// Length of the longest record stored, ms.
    pub const LONGEST_RECORD_MS: &str = "usage.longest-record-ms";
    /// The usage job's aggregation zone.
    pub const AGGREGATION_ZONE: &str = "usage.aggregation-zone";
}

/// How the sync goes about it.
#[derive(Debug, Clone)]
pub struct SyncSettings {
    /// Zone of billing days.
    pub zone: Tz,
    /// How far back late records are looked for, days.
    pub lookback_days: u32,
    /// The first instant that is charged, where the configuration names one: the first fetch begins there at the latest.
    pub begins: Option<Timestamp>,
    /// Pages fetched at once.
    pub concurrency: usize,
    /// Page size; the server's maximum where that is smaller.
    pub page_size: u32,
    /// A span with more rows is halved where it can be: [`SPAN_ROWS`].
    pub span_rows: u64,
    /// Fetch the whole look-back again, whatever the counts say.
    pub full: bool,
    /// Ask for the tags that resources have now.
    pub tags: bool,
}

/// Why usage could not be fetched. Spans stored before stay stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// CloudStack did not answer as it should.
    #[error(transparent)]
    CloudStack(#[from] cloudstack::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The usage server never finished a job.
    #[error(
        "CloudStack's usage server has not finished a job yet, so no window is closed. Is enable.usage.server on and the usage service running?"
    )]
    NoClosedWindow,
    /// A span kept changing while it was fetched.
    #[error(
        "the usage of {0} changed each time it was fetched; the usage job may be running. The next sync goes on there"
    )]
    Unsteady(String),
    /// A task of the download or of the store ended without an answer.
    #[error("fetching usage was cut off ({0}). The next sync goes on there")]
    CutOff(String),
    /// A date that no calendar has.
    #[error("the usage server's date {0} makes no sense")]
    BadDate(Timestamp),
}

/// What a sync did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct SyncReport {
    /// Raw rows downloaded.
    pub rows: u64,
    /// Records stored for the first time.
    pub new_records: u64,
    /// Records whose standing changed.
    pub changed_records: u64,
    /// Raw rows that repeat another one.
    pub repeats: u64,
    /// Raw rows that newly wait for a person.
    pub quarantined: u64,
    /// Raw rows that waited and no longer do, because their reason no longer holds.
    pub cured: u64,
    /// Days fetched again because the count differed.
    pub late_days: u64,
    /// Raw rows that CloudStack no longer has though they are stored; reported, never reversed.
    pub removed_rows: u64,
    /// Rows that a fetch of the day did not bring though the count says so.
    pub missing_rows: u64,
    /// End of the newest closed window.
    pub closed_until: Option<Timestamp>,
}

/// What CloudStack tells about the windows of its usage job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub closed_until: Timestamp,
    pub range_minutes: i64,
    pub aggregation_zone: Tz,
    /// Whether no window crosses the midnight of the aggregation zone, as far as CloudStack tells.
    pub aligned: bool,
}

/// Fetches what is new and what came late.
pub async fn sync_usage(
    client: &Client,
    store: &Store,
    clock: &dyn Clock,
    settings: &SyncSettings,
    run: RunId,
    progress: &dyn Progress,
) -> Result<SyncReport, Error> {
    let window = read_window(client).await?;
    let mut report = SyncReport { closed_until: Some(window.closed_until), ..SyncReport::default() };
    let page_size = client.page_size().await?.min(settings.page_size).max(1);
    let source = Source::new(client, window, page_size, settings);
    let fetch = Fetch { client, store, clock, settings, run, progress, source, window };

    let mut tx = store.begin().await?;
    let now = clock.now();
    let cursor = find_ms(&mut tx, settings::FETCHED_UNTIL).await?;
    let lookback = Duration::from_secs(u64::from(settings.lookback_days).saturating_mul(86_400));
    let from = if let Some(cursor) = cursor {
        cursor
    } else {
        // As far back as late records are looked for, and to the first billing day where that is earlier.
        let oldest = fetch.window.closed_until.minus(lookback);
        let first = utc_day(settings.begins.map_or(oldest, |begins| begins.min(oldest)))?;
        let start = first.start(Tz::UTC).ok_or(Error::BadDate(fetch.window.closed_until))?;
        runs::put_setting(&mut tx, settings::FETCHED_FROM, &start.as_ms().to_string(), now).await?;
        start
    };
    let first_fetched = find_ms(&mut tx, settings::FETCHED_FROM).await?.unwrap_or(from);
    for (key, value) in [
        (settings::CLOSED_UNTIL, fetch.window.closed_until.as_ms().to_string()),
        (settings::RANGE_MINUTES, fetch.window.range_minutes.to_string()),
        (settings::AGGREGATION_ZONE, fetch.window.aggregation_zone.name().to_owned()),
    ] {
        runs::put_setting(&mut tx, key, &value, now).await?;
    }
    runs::commit_for(tx, run).await?;

    fetch.spans(fetch.days(from, fetch.window.closed_until)?, true, &mut report).await?;
    fetch.late(first_fetched, lookback, &mut report).await?;
    let mut tx = store.begin().await?;
    let window = &fetch.window;
    review_watch::note_usage_job(&mut tx, window.closed_until, window.range_minutes, run, clock.now()).await?;
    runs::commit_for(tx, run).await?;
    Ok(report)
}

async fn read_window(client: &Client) -> Result<Window, Error> {
    let metrics = client.usage_server_metrics().await?;
    // A usage server that never finished a job reports 1970.
    let last = metrics
        .and_then(|metrics| metrics.last_successful_job)
        .filter(|last| last.as_seconds() > 0)
        .ok_or(Error::NoClosedWindow)?;
    // The role may not allow listConfigurations: then CloudStack's defaults are taken, and spans are asked for wider.
    let range = configuration(client, "usage.stats.job.aggregation.range").await?;
    let zone = configuration(client, "usage.aggregation.timezone").await?;
    let range: Option<i64> = range.and_then(|text| text.trim().parse().ok()).filter(|minutes| *minutes > 0);
    let zone: Option<Tz> = zone.and_then(|text| text.trim().parse().ok());
    Ok(Window {
        // The job's end is inclusive to the second.
        closed_until: Timestamp::from_seconds(last.as_seconds() + 1),
        range_minutes: range.unwrap_or(DEFAULT_RANGE_MINUTES),
        aggregation_zone: zone.unwrap_or(Tz::UTC),
        // Only windows of these two end with an hour or a day; those of any other range end when the job runs (facts 3.4).
        aligned: zone.is_some() && matches!(range, Some(60 | DEFAULT_RANGE_MINUTES)),
    })
}

async fn configuration(client: &Client, name: &str) -> Result<Option<String>, Error> {
    match client.configuration(name).await {
        Ok(value) => Ok(value),
        Err(cloudstack::Error::NotAllowed { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn find_ms(tx: &mut crate::store::Tx, key: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(runs::find_setting(tx, key).await?.and_then(|text| text.parse().ok()).map(Timestamp::from_ms))
}

fn utc_day(at: Timestamp) -> Result<Day, Error> {
    Day::of(at, Tz::UTC).ok_or(Error::BadDate(at))
}

struct Fetch<'a> {
    client: &'a Client,
    store: &'a Store,
    clock: &'a dyn Clock,
    settings: &'a SyncSettings,
    run: RunId,
    progress: &'a dyn Progress,
    source: Source,
    window: Window,
}

impl Fetch<'_> {
    /// The days of the aggregation zone that make up `[from, until)`, the first and last cut where needed.
    fn days(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Period>, Error> {
        let mut spans = Vec::new();
        let mut start = from;
        while start < until {
            let day = Day::of(start, self.window.aggregation_zone).ok_or(Error::BadDate(start))?;
            let end = day.next().start(self.window.aggregation_zone).ok_or(Error::BadDate(start))?.min(until);
            let Some(span) = Period::new(start, end) else { break };
            spans.push(span);
            start = end;
        }
        Ok(spans)
    }

    /// Fetches, judges and stores spans in their order. `advance`: the cursor moves to the end of each.
    async fn spans(&self, spans: Vec<Period>, advance: bool, report: &mut SyncReport) -> Result<(), Error> {
        let Self { store, clock, settings, run, progress, .. } = *self;
        let target = Target { store, clock, settings, run, advance };
        let noted = |rows, stored: Stored| {
            report.rows += rows;
            progress.step("usage records", report.rows, None);
            report.new_records += stored.new_records;
            report.changed_records += stored.changed_records;
            report.repeats += stored.repeats;
            report.quarantined += stored.quarantined;
            report.cured += stored.cured;
            report.removed_rows += stored.removed;
        };
        self.source.store_all(spans, &target, noted).await
    }

    /// Late records by counting (design 7.4): one call over the look-back; where it differs, bisect to the day.
    async fn late(&self, first_fetched: Timestamp, lookback: Duration, report: &mut SyncReport) -> Result<(), Error> {
        let until = self.window.closed_until;
        let first = utc_day(until.minus(lookback).max(first_fetched))?;
        let last = utc_day(until.minus(Duration::from_millis(1)))?;
        if last < first {
            return Ok(());
        }
        let mut days = Vec::new();
        if self.settings.full {
            let mut day = first;
            while day <= last {
                days.push(day);
                day = day.next();
            }
        } else {
            days = self.differing(first, last, until, report).await?;
            // And days on which something waits that could be charged now.
            let mut tx = self.store.read().await?;
            let first_day = utc_day(first_fetched)?;
            let curable = review_watch::list_curable_days(&mut tx).await?;
            tx.commit().await?;
            days.extend(curable.into_iter().filter(|day| *day >= first_day && *day <= last));
            days.extend(self.reached_from(&days).into_iter().filter(|day| *day <= last));
            days.sort_unstable();
            days.dedup();
        }
        let mut spans = Vec::new();
        for day in days.iter().take(MAX_LATE_DAYS) {
            let Some(period) = day.period(Tz::UTC) else { continue };
            report.late_days += 1;
            let from = Day::of(period.start(), self.window.aggregation_zone)
                .and_then(|day| day.start(self.window.aggregation_zone))
                .ok_or(Error::BadDate(period.start()))?
                .max(first_fetched);
            let whole_days_end = Day::of(period.end().minus(Duration::from_millis(1)), self.window.aggregation_zone)
                .and_then(|day| day.next().start(self.window.aggregation_zone))
                .ok_or(Error::BadDate(period.end()))?
                .min(until);
            spans.extend(self.days(from, whole_days_end)?);
        }
        // Days of the aggregation zone lie across two of ours: neighbours ask for the same one.
        spans.dedup();
        self.spans(spans, false, report).await?;
        if !days.is_empty() {
            let mut check = SyncReport::default();
            self.differing(first, last, until, &mut check).await?;
            report.missing_rows = check.missing_rows;
            report.removed_rows = report.removed_rows.max(check.removed_rows);
        }
        Ok(())
    }

    /// Days into which windows that begin on others may reach: what is reported there may replace records that begin here, though
    /// the count here is right.
    fn reached_from(&self, days: &[Day]) -> Vec<Day> {
        if self.window.aligned {
            return Vec::new();
        }
        let reach = self.window.range_minutes.max(1).saturating_sub(1) / DEFAULT_RANGE_MINUTES + 1;
        let mut reached = Vec::new();
        for day in days {
            let mut next = *day;
            for _ in 0..reach {
                next = next.next();
                reached.push(next);
            }
        }
        reached
    }

    /// The days on which CloudStack counts more rows than are stored.
    async fn differing(
        &self,
        first: Day,
        last: Day,
        until: Timestamp,
        report: &mut SyncReport,
    ) -> Result<Vec<Day>, Error> {
        let mut tx = self.store.read().await?;
        let stored = rows::list_day_counts(&mut tx, first).await?;
        tx.commit().await?;
        // How many more rows the server has whose window starts on `day` or later.
        let surplus = async |day: Day| -> Result<i64, Error> {
            if day > last {
                return Ok(0);
            }
            let start = day.start(Tz::UTC).ok_or(Error::BadDate(until))?;
            let Some(range) = Period::new(start, until) else { return Ok(0) };
            let server = i64::try_from(self.client.usage_count(range).await?).unwrap_or(i64::MAX);
            let known: i64 = stored.iter().filter(|(number, _)| *number >= day.number()).map(|(_, count)| count).sum();
            Ok(server - known)
        };
        let mut days = Vec::new();
        let mut todo = vec![(first, surplus(first).await?, last.next(), 0_i64)];
        while let Some((from, from_surplus, to, to_surplus)) = todo.pop() {
            let difference = from_surplus - to_surplus;
            if difference == 0 {
                continue;
            }
            if to.number() - from.number() <= 1 {
                if difference > 0 {
                    days.push(from);
                    report.missing_rows += u64::try_from(difference).unwrap_or(0);
                } else {
                    report.removed_rows += u64::try_from(-difference).unwrap_or(0);
                }
                continue;
            }
            let middle = Day::from_number(i64::midpoint(from.number(), to.number()));
            let middle_surplus = surplus(middle).await?;
            todo.push((middle, middle_surplus, to, to_surplus));
            todo.push((from, from_surplus, middle, middle_surplus));
        }
        Ok(days)
    }
}
