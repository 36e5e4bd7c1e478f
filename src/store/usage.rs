//! Usage records, quarantine, and the counts by which late records are found.

use std::collections::HashMap;

use super::{StoreError, Tx, all, bulk, exec, maybe, scalar};
use crate::{
    ids::{AccountId, RunId},
    time::{Day, Timestamp},
};

/// What is stored of a record when its span is fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Raw rows it stands for.
    pub seen: i64,
    /// See `usage::record::Standing::code`.
    pub standing: i64,
    /// The account that pays.
    pub account_id: i64,
    /// First instant, ms.
    pub start_ms: i64,
    /// First instant after, ms.
    pub end_ms: i64,
    /// What a person decided to charge.
    pub charged_quantity: Option<i64>,
    /// Part windows: what they report beyond what is charged already.
    pub estimate: Option<i64>,
    /// The review item that it belongs to.
    pub item_id: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct KnownRow {
    key: Vec<u8>,
    seen: i64,
    standing: i64,
    account_id: i64,
    start_ms: i64,
    end_ms: i64,
    charged_quantity: Option<i64>,
    estimate: Option<i64>,
    item_id: Option<i64>,
}

/// A record with the words for its numbers, for pages and explanations.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RecordRow {
    /// Sixteen bytes.
    pub key: Vec<u8>,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// What was used.
    pub resource_cloud_id: String,
    /// Its name.
    pub resource_name: String,
    /// The offering's CloudStack id.
    pub offering_cloud_id: Option<String>,
    /// First instant, ms.
    pub start_ms: i64,
    /// First instant after, ms.
    pub end_ms: i64,
    /// Millionths of an hour, bytes or operations: what is charged, which is what CloudStack reported unless a person
    /// decided otherwise.
    pub quantity: i64,
    /// Bytes held.
    pub size_bytes: Option<i64>,
    /// See `usage::record::Standing::code`.
    pub standing: i64,
    /// Number of its attributes, see [`list_attributes`].
    pub attributes_id: Option<i64>,
    /// What CloudStack reported.
    pub reported_quantity: i64,
}

/// What a price may be narrowed by besides the offering: few distinct sets, shared by many records.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct AttributesRow {
    /// Its number.
    pub id: i64,
    /// The zone's CloudStack id.
    pub zone_id: Option<String>,
    /// The template's CloudStack id.
    pub template_id: Option<String>,
    /// The OS type's CloudStack id.
    pub os_type_id: Option<String>,
    /// Processors.
    pub cpu_number: Option<i64>,
    /// MHz.
    pub cpu_speed: Option<i64>,
    /// MiB.
    pub memory_mib: Option<i64>,
    /// JSON: a list of [key, value], in order.
    pub tags: Option<String>,
}

/// Every set of attributes that records have.
pub async fn list_attributes(tx: &mut Tx) -> Result<Vec<AttributesRow>, StoreError> {
    all!(
        tx,
        AttributesRow,
        "select id, zone_id, template_id, os_type_id, cpu_number, cpu_speed, memory_mib, tags from usage_attributes order by id"
    )
}

/// A row that waits for a person.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct Quarantined {
    /// Its number.
    pub id: i64,
    /// The account, where the row names one that is known.
    pub account_id: Option<i64>,
    /// The usage type, where it can be read.
    pub usage_type: Option<i64>,
    /// The day it is filed under.
    pub day: i64,
    /// Why.
    pub reason: String,
    /// What CloudStack said.
    pub raw: String,
    /// How often.
    pub seen: i64,
}

/// A row to be quarantined.
#[derive(Debug, Clone)]
pub struct NewQuarantined {
    /// Hash of what identifies it in what CloudStack said.
    pub key: [u8; 16],
    /// The account, where the row names one that is known.
    pub account_id: Option<i64>,
    /// The usage type, where it can be read.
    pub usage_type: Option<i64>,
    /// The day it is filed under.
    pub day: Day,
    /// Where its window starts, or the start of the day where that can not be read.
    pub start: Timestamp,
    /// The kind of review item, see `usage::review_kind::Kind::slug`.
    pub kind: &'static str,
    /// The item.
    pub item_id: i64,
    /// What it waits for: the project whose owner is not known.
    pub subject: Option<String>,
    /// Why.
    pub reason: String,
    /// What CloudStack said.
    pub raw: String,
    /// How often in the span.
    pub seen: i64,
    /// 0 waits, 1 rejected by a rule.
    pub state: i64,
}

/// Records whose window starts in `[from, until)`, by key.
pub async fn list_known(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
) -> Result<HashMap<[u8; 16], Known>, StoreError> {
    let rows = all!(
        tx,
        KnownRow,
        "select key, seen, standing, account_id, start_ms, end_ms, charged_quantity, estimate, item_id \
         from usage_record where start_ms >= $1 and start_ms < $2 order by key",
        from,
        until
    )?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let known = Known {
                seen: row.seen,
                standing: row.standing,
                account_id: row.account_id,
                start_ms: row.start_ms,
                end_ms: row.end_ms,
                charged_quantity: row.charged_quantity,
                estimate: row.estimate,
                item_id: row.item_id,
            };
            <[u8; 16]>::try_from(row.key).ok().map(|key| (key, known))
        })
        .collect())
}

/// Stores new records.
pub async fn insert_records(tx: &mut Tx, rows: &[bulk::NewRecord], run: RunId) -> Result<u64, StoreError> {
    bulk::insert_records(tx, rows, run.get()).await
}

/// Puts a row aside for a person. One that is there is counted anew, and waits again if it had been done with by itself.
pub async fn quarantine(tx: &mut Tx, row: &NewQuarantined, run: RunId, now: Timestamp) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into quarantine (key, account_id, usage_type, day, reason, raw, seen, run_id, created_ms, item_id, kind, \
           start_ms, subject, state) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
         on conflict (key) do update set seen = excluded.seen, \
           item_id = case when quarantine.state = 3 then excluded.item_id else quarantine.item_id end, \
           state = case when quarantine.state = 3 then excluded.state else quarantine.state end",
        row.key.as_slice(),
        row.account_id,
        row.usage_type,
        row.day,
        &row.reason,
        &row.raw,
        row.seen,
        run,
        now,
        row.item_id,
        row.kind,
        row.start,
        &row.subject,
        row.state
    )?;
    Ok(())
}

/// What is stored of a row that was put aside, when its span is fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownRaw {
    /// Its number.
    pub id: i64,
    /// How often it came.
    pub seen: i64,
    /// 0 waits, 1 rejected, 2 a record was made of it, 3 done with by itself.
    pub state: i64,
    /// The review item.
    pub item_id: Option<i64>,
}

/// Rows put aside whose window starts in `[from, until)`, by key.
pub async fn list_known_raw(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
) -> Result<HashMap<[u8; 16], KnownRaw>, StoreError> {
    let rows = all!(
        tx,
        (Vec<u8>, i64, i64, i64, Option<i64>),
        "select key, id, seen, state, item_id from quarantine where start_ms >= $1 and start_ms < $2 order by id",
        from,
        until
    )?;
    Ok(rows
        .into_iter()
        .filter_map(|(key, id, seen, state, item_id)| {
            <[u8; 16]>::try_from(key).ok().map(|key| (key, KnownRaw { id, seen, state, item_id }))
        })
        .collect())
}

/// A row put aside that a fetch of its span did not bring again: no longer counted, and no longer waiting.
pub async fn resolve_raw(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    exec!(tx, "update quarantine set seen = 0, state = case when state = 0 then 3 else state end where id = $1", id)?;
    Ok(())
}

/// Rows that wait for a person, newest first.
pub async fn list_quarantined(tx: &mut Tx, limit: i64) -> Result<Vec<Quarantined>, StoreError> {
    all!(
        tx,
        Quarantined,
        "select id, account_id, usage_type, day, reason, raw, seen from quarantine where state = 0 order by id desc limit $1",
        limit
    )
}

/// How many rows wait for a person: unreadable ones, and records that overlap what is charged.
pub async fn count_quarantined(tx: &mut Tx) -> Result<i64, StoreError> {
    let rows = scalar!(tx, i64, "select count(*) from quarantine where state = 0")?;
    let records = scalar!(tx, i64, "select count(*) from usage_record where standing = 3")?;
    Ok(rows + records)
}

/// How many records an account has in quarantine.
pub async fn count_quarantined_by_account(tx: &mut Tx) -> Result<HashMap<i64, i64>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64),
        "select account_id, count(*) from usage_record where standing = 3 group by account_id order by account_id"
    )?;
    Ok(rows.into_iter().collect())
}

/// Sets how many raw rows start on a day, from what is stored and what is gone into daily sums.
pub async fn recount_day(
    tx: &mut Tx,
    day: Day,
    from: Timestamp,
    until: Timestamp,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let stored = scalar!(
        tx,
        i64,
        "select cast(coalesce(sum(seen), 0) as bigint) from usage_record where start_ms >= $1 and start_ms < $2",
        from,
        until
    )?;
    let quarantined =
        scalar!(tx, i64, "select cast(coalesce(sum(seen), 0) as bigint) from quarantine where day = $1", day)?;
    let gone = maybe!(tx, (i64,), "select compacted from usage_day where day = $1", day)?.map_or(0, |(gone,)| gone);
    let count = stored + quarantined + gone;
    exec!(
        tx,
        "insert into usage_day (day, raw_count, checked_ms) values ($1, $2, $3) \
         on conflict (day) do update set raw_count = excluded.raw_count, checked_ms = excluded.checked_ms",
        day,
        count,
        now
    )?;
    Ok(count)
}

/// Raw rows stored by start day, from `first` on.
pub async fn list_day_counts(tx: &mut Tx, first: Day) -> Result<Vec<(i64, i64)>, StoreError> {
    all!(tx, (i64, i64), "select day, raw_count from usage_day where day >= $1 order by day", first)
}

/// Marks a day of an account to be rated again.
pub async fn mark_to_rate(tx: &mut Tx, account: AccountId, day: Day) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into day_to_rate (account_id, day, mark) values ($1, $2, 1) \
         on conflict (account_id, day) do update set mark = day_to_rate.mark + 1",
        account,
        day
    )?;
    Ok(())
}

/// Current records of an account that touch `[from, until)`. None is longer than `reach_ms`.
pub async fn list_current(
    tx: &mut Tx,
    account: AccountId,
    from: Timestamp,
    until: Timestamp,
    reach_ms: i64,
) -> Result<Vec<RecordRow>, StoreError> {
    all!(
        tx,
        RecordRow,
        "select r.key, r.usage_type, s.cloud_id as resource_cloud_id, s.name as resource_name, \
           o.cloud_id as offering_cloud_id, r.start_ms, r.end_ms, coalesce(r.charged_quantity, r.quantity) as quantity, \
           r.size_bytes, r.standing, r.attributes_id, r.quantity as reported_quantity \
         from usage_record r join resource s on s.id = r.resource_id left join resource o on o.id = r.offering_id \
         where r.account_id = $1 and r.standing = 0 and r.start_ms >= $2 and r.start_ms < $3 and r.end_ms > $4 \
         order by r.start_ms, r.key",
        account,
        Timestamp::from_ms(from.as_ms().saturating_sub(reach_ms)),
        until,
        from
    )
}

/// What was used in `[from, until)` by type and offering: (type, offering id, offering name, quantity), over everybody.
pub async fn list_seen(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<(i64, Option<String>, Option<String>, i64)>, StoreError> {
    all!(
        tx,
        (i64, Option<String>, Option<String>, i64),
        "select r.usage_type, o.cloud_id, o.name, cast(coalesce(sum(r.quantity), 0) as bigint) \
         from usage_record r left join resource o on o.id = r.offering_id \
         where r.standing = 0 and r.start_ms >= $1 and r.start_ms < $2 \
         group by r.usage_type, o.cloud_id, o.name order by r.usage_type, o.name, o.cloud_id",
        from,
        until
    )
}

/// The earliest stored window start.
pub async fn find_first_start(tx: &mut Tx) -> Result<Option<Timestamp>, StoreError> {
    Ok(maybe!(tx, (Option<i64>,), "select min(start_ms) from usage_record")?
        .and_then(|(ms,)| ms)
        .map(Timestamp::from_ms))
}

/// How many records are stored, by what became of them: (current, superseded, part, quarantined).
pub async fn count_by_standing(tx: &mut Tx) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64, i64),
        "select standing, count(*), cast(sum(seen) as bigint) from usage_record group by standing order by standing"
    )
}

/// Notes what people call a resource or an offering.
pub async fn name_resources(tx: &mut Tx, names: &[(String, String)]) -> Result<(), StoreError> {
    for (cloud_id, name) in names {
        exec!(tx, "update resource set name = $1 where cloud_id = $2 and name <> $1", name, cloud_id)?;
    }
    Ok(())
}

/// Notes since when a resource is gone, or that it is there (again). Gives whether it is one that records know.
pub async fn put_gone(tx: &mut Tx, cloud_id: &str, since: Option<Timestamp>) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update resource set gone_ms = $2 where cloud_id = $1", cloud_id, since)? == 1)
}

/// When resources were seen to be gone, of those that are numbered so.
pub async fn list_gone(tx: &mut Tx, before: Timestamp) -> Result<HashMap<i64, Timestamp>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64),
        "select id, gone_ms from resource where gone_ms is not null and gone_ms < $1 order by id",
        before
    )?;
    Ok(rows.into_iter().map(|(id, ms)| (id, Timestamp::from_ms(ms))).collect())
}

/// Where the newest window that starts before an instant ends.
pub async fn find_end_before(tx: &mut Tx, at: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let row = maybe!(
        tx,
        (Option<i64>,),
        "select max(end_ms) from usage_record where start_ms = (select max(start_ms) from usage_record where start_ms < $1)",
        at
    )?;
    Ok(row.and_then(|(ms,)| ms).map(Timestamp::from_ms))
}

/// Days whose count of raw rows differs from what is stored or gone into daily sums: (day, counted, stored). There must be none.
pub async fn list_wrong_day_counts(tx: &mut Tx) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64, i64),
        "select day, raw_count, stored from (select d.day as day, d.raw_count as raw_count, \
           cast(coalesce((select sum(r.seen) from usage_record r \
             where r.start_ms >= d.day * 86400000 and r.start_ms < (d.day + 1) * 86400000), 0) \
           + coalesce((select sum(q.seen) from quarantine q where q.day = d.day), 0) + d.compacted as bigint) as stored \
           from usage_day d) as x \
         where raw_count <> stored order by day"
    )
}

/// What an account had when usage was last known of it: per usage type how many different resources, in the newest window that
/// has records of it; and when that window began. Where other accounts have windows that are more than `stale` newer, the
/// account has nothing any more. None: nothing is known of any account. CloudStack's types with dates of their own (25, 27) are
/// in no window.
pub async fn count_in_newest_window(
    tx: &mut Tx,
    account: AccountId,
    stale: std::time::Duration,
) -> Result<Option<(Timestamp, HashMap<i64, i64>)>, StoreError> {
    let newest = maybe!(
        tx,
        (Timestamp,),
        "select start_ms from usage_record where usage_type not in (25, 27) and standing = 0 order by start_ms desc limit 1"
    )?;
    let Some((newest,)) = newest else { return Ok(None) };
    let own = maybe!(
        tx,
        (Timestamp,),
        "select start_ms from usage_record where account_id = $1 and usage_type not in (25, 27) and standing = 0 \
         order by start_ms desc limit 1",
        account
    )?;
    let Some((own,)) = own.filter(|(own,)| *own >= newest.minus(stale)) else {
        return Ok(Some((newest, HashMap::new())));
    };
    let rows = all!(
        tx,
        (i64, i64),
        "select usage_type, count(distinct resource_id) from usage_record \
         where account_id = $1 and start_ms >= $2 and usage_type not in (25, 27) and standing = 0 group by usage_type",
        account,
        own
    )?;
    Ok(Some((own, rows.into_iter().collect())))
}
