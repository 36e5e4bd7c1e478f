//! What a sync tells of itself: windows that never came, a usage job that is stuck; and rows that may no longer have to wait.

use std::{collections::BTreeSet, time::Duration};

use chrono_tz::Tz;

use super::{
    emission::Judged,
    normalise,
    record::{Owner, Words},
    review_kind::Kind,
    types::UsageType,
};
use crate::{
    cloudstack::UsageRow,
    ids::RunId,
    store::{
        StoreError, Tx, cloud,
        review::{self, By, Filter},
        usage as rows,
    },
    time::{Day, Period, Timestamp},
};

/// Windows touch with a hole of a second at most (facts 3.2), and none is shorter than a minute.
const SHORTEST_GAP: Duration = Duration::from_mins(1);
/// The usage job may take so long beyond two of its ranges (design 2).
const STUCK_GRACE: Duration = Duration::from_hours(2);
/// Items looked through for one that settled itself.
const MAX_TOLD: i64 = 1_000;
/// Waiting rows looked at in a sync; the rest in the next one.
const MAX_WAITING: i64 = 10_000;

const CURED: &str = "cured";
const BURSAR: &str = "bursar";

fn utc_day(at: Timestamp) -> Day {
    Day::of(at, Tz::UTC).unwrap_or(Day::from_number(0))
}

/// Tells closed windows of which there is no record of anybody, between windows of which there are; settles what came.
pub(super) async fn note_gaps(
    tx: &mut Tx,
    judged: &[Judged],
    span: Period,
    run: RunId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let windows: BTreeSet<Period> = judged
        .iter()
        .filter(|row| !UsageType::from_id(row.record.usage_type).is_some_and(|kind| kind.has_own_dates))
        .map(|row| row.record.window)
        .collect();
    if windows.is_empty() {
        return Ok(());
    }
    let mut reached = rows::find_end_before(tx, span.start()).await?;
    let mut gaps: Vec<(Timestamp, Timestamp)> = Vec::new();
    for window in &windows {
        if let Some(before) = reached
            && window.start().since(before) >= SHORTEST_GAP
        {
            gaps.push((before, window.start()));
        }
        reached = Some(reached.map_or(window.end(), |before| before.max(window.end())));
    }
    let key = |from: Timestamp| format!("{}/{}", Kind::MissingWindow.slug(), from.as_ms());
    let keys: BTreeSet<String> = gaps.iter().map(|(from, _)| key(*from)).collect();
    for item in review::list_items(tx, false, Some(Kind::MissingWindow), MAX_TOLD).await? {
        let from = item.key.rsplit('/').next().and_then(|text| text.parse().ok()).map(Timestamp::from_ms);
        // It may begin in the span before this one, and be filled from its end.
        let came = from.is_some_and(|from| {
            !keys.contains(&item.key) && windows.iter().any(|window| window.start() <= from && from < window.end())
        });
        if came {
            let by = By { verdict: CURED, author: BURSAR, words: "the records came" };
            review::settle_item(tx, item.id, by, now).await?;
        }
    }
    for (from, until) in gaps {
        let reason = format!("{}: {from} to {until}", Kind::MissingWindow.words());
        let days = (utc_day(from), utc_day(until.minus(Duration::from_millis(1))));
        if review::tell(tx, (&key(from), Kind::MissingWindow, &reason), days, run, now).await? {
            tracing::warn!(%from, %until, "CloudStack reported no usage of anybody for a time between others");
        }
    }
    Ok(())
}

/// Tells that the usage job has not succeeded for two of its ranges and a grace; settled once it has.
pub async fn note_usage_job(
    tx: &mut Tx,
    closed_until: Timestamp,
    range_minutes: i64,
    run: RunId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = format!("{}/{}", Kind::StuckJob.slug(), closed_until.as_ms());
    for item in review::list_items(tx, false, Some(Kind::StuckJob), MAX_TOLD).await? {
        if item.key != key {
            let by = By { verdict: CURED, author: BURSAR, words: "the usage job succeeded" };
            review::settle_item(tx, item.id, by, now).await?;
        }
    }
    let ranges = Duration::from_secs(u64::try_from(range_minutes).unwrap_or(0).saturating_mul(2 * 60));
    if now.since(closed_until) <= ranges + STUCK_GRACE {
        return Ok(());
    }
    let reason = format!("{} {closed_until}", Kind::StuckJob.words());
    let day = utc_day(closed_until);
    if review::tell(tx, (&key, Kind::StuckJob, &reason), (day, day), run, now).await? {
        tracing::warn!(%closed_until, "CloudStack's usage job has not succeeded for long");
    }
    Ok(())
}

/// Days (UTC) to be fetched again because a row that waits on them could be charged now: its type is known to this version,
/// the owner of its project is known.
pub async fn list_curable_days(tx: &mut Tx) -> Result<BTreeSet<Day>, StoreError> {
    let mut days = BTreeSet::new();
    let waiting = review::list_waiting_raw(tx, &Filter::default(), MAX_WAITING).await?;
    if waiting.is_empty() {
        return Ok(days);
    }
    let owned: BTreeSet<String> = cloud::list_projects(tx)
        .await?
        .into_iter()
        .filter(|project| project.owner_account_id.is_some())
        .map(|project| project.cloud_id)
        .collect();
    let mut words = Words::default();
    for raw in waiting {
        let Ok(row) = serde_json::from_str::<UsageRow>(&raw.raw) else { continue };
        let Ok(record) = normalise::normalise(&row, &mut words) else { continue };
        let known = match &record.owner {
            Owner::Project(id) => owned.contains(id.as_ref()),
            Owner::Account(_) => true,
        };
        if known {
            days.insert(utc_day(record.window.start()));
        }
    }
    Ok(days)
}
