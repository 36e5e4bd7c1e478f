//! Daily sums in place of old usage records: what may be summed up, what was, and how far it reaches.

use std::collections::{BTreeSet, HashMap};

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, PayerId},
    time::{Day, Period, Timestamp},
};

/// How far the usage of each account is summed up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks(HashMap<i64, Timestamp>);

impl Marks {
    /// Reads them: one row an account.
    pub async fn load(tx: &mut Tx) -> Result<Self, StoreError> {
        let rows = all!(
            tx,
            (i64, i64),
            "select account_id, max(closed_until_ms) from compaction group by account_id order by account_id"
        )?;
        Ok(Self(rows.into_iter().map(|(account, ms)| (account, Timestamp::from_ms(ms))).collect()))
    }

    /// Whether what is at an instant is summed up: nothing that starts there is charged any more.
    pub fn cover(&self, account: AccountId, at: Timestamp) -> bool {
        self.0.get(&account.get()).is_some_and(|until| at < *until)
    }
}

/// An account with the start of its earliest record that is not summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The account.
    pub account: AccountId,
    /// Until when it is summed up.
    pub mark: Option<Timestamp>,
    /// Where the record starts; before the mark where it reaches over it.
    pub start: Timestamp,
}

/// The accounts (or the one) with records that start before `until` and are not summed up, each with the earliest of them.
pub async fn list_next(tx: &mut Tx, account: Option<AccountId>, until: Timestamp) -> Result<Vec<Next>, StoreError> {
    let rows = all!(
        tx,
        (i64, Option<i64>, Option<i64>),
        "select x.id, x.mark, (select r.start_ms from usage_record r where r.account_id = x.id and r.start_ms < $2 \
             and r.end_ms > coalesce(x.mark, 0) order by r.start_ms limit 1) \
         from (select a.id as id, (select max(c.closed_until_ms) from compaction c where c.account_id = a.id) as mark \
           from account a where ($1 is null or a.id = $1)) as x order by x.id",
        account,
        until
    )?;
    Ok(rows
        .into_iter()
        .filter_map(|(account, mark, start)| {
            let start = Timestamp::from_ms(start?);
            Some(Next { account: AccountId::new(account), mark: mark.map(Timestamp::from_ms), start })
        })
        .collect())
}

/// Why a day of an account is left as it is; None: nothing of it waits.
pub async fn find_obstacle(
    tx: &mut Tx,
    account: AccountId,
    day: Day,
    period: Period,
) -> Result<Option<&'static str>, StoreError> {
    let (from, until) = (period.start(), period.end());
    let marked = scalar!(tx, i64, "select count(*) from day_to_rate where account_id = $1 and day = $2", account, day)?;
    if marked > 0 {
        return Ok(Some("it waits to be rated"));
    }
    let records = maybe!(
        tx,
        (i64,),
        "select r.start_ms from usage_record r left join review_item i on i.id = r.item_id \
         where r.account_id = $1 and r.start_ms < $3 and r.end_ms > $2 \
           and (r.standing = 3 or (r.standing = 2 and i.kind = 'part') or (r.standing = 0 and i.kind = 'removed' \
             and not exists (select 1 from record_verdict v where v.key = r.key))) limit 1",
        account,
        from,
        until
    )?;
    if records.is_some() {
        return Ok(Some("records of it wait in review"));
    }
    let raw = maybe!(
        tx,
        (i64,),
        "select id from quarantine where state = 0 and start_ms >= $2 and start_ms < $3 \
           and (account_id = $1 or account_id is null) limit 1",
        account,
        from,
        until
    )?;
    if raw.is_some() {
        return Ok(Some("rows of it that could not be read wait in review"));
    }
    let charges = scalar!(
        tx,
        i64,
        "select count(*) from review_charge where account_id = $1 and day = $2 and state = 'open'",
        account,
        day
    )?;
    if charges > 0 {
        return Ok(Some("charges of it wait in review"));
    }
    let open = scalar!(
        tx,
        i64,
        "select count(*) from charge_day where account_id = $1 and day = $2 and (closed = 0 or unsettled not in (0, 3))",
        account,
        day
    )?;
    Ok((open > 0).then_some("its charges are not posted"))
}

/// A record on its way into a sum.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct OldRecord {
    /// Sixteen bytes.
    pub key: Vec<u8>,
    /// The project, where it is a project's.
    pub project_id: Option<i64>,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Number of the resource.
    pub resource_id: i64,
    /// Number of the offering.
    pub offering_id: Option<i64>,
    /// Number of its attributes.
    pub attributes_id: Option<i64>,
    /// Bytes held.
    pub size_bytes: Option<i64>,
    /// First instant, ms.
    pub start_ms: i64,
    /// First instant after, ms.
    pub end_ms: i64,
    /// What is charged: millionths of an hour, bytes or operations.
    pub quantity: i64,
}

/// The charged records of an account that touch a day and end after `mark`, in the order of their keys.
pub async fn list_charged(
    tx: &mut Tx,
    account: AccountId,
    period: Period,
    mark: Timestamp,
) -> Result<Vec<OldRecord>, StoreError> {
    all!(
        tx,
        OldRecord,
        "select key, project_id, usage_type, resource_id, offering_id, attributes_id, size_bytes, start_ms, end_ms, \
           coalesce(charged_quantity, quantity) as quantity from usage_record \
         where account_id = $1 and standing = 0 and start_ms < $3 and end_ms > $2 and end_ms > $4 order by start_ms, key",
        account,
        period.start(),
        period.end(),
        mark
    )
}

/// Deletes what of an account ended by the end of a day, with what was decided about it; what waits for a person since the
/// time before `mark` was closed stays. Counts it by start day (UTC), for the search for late records. Gives how many charged
/// records are gone.
pub async fn delete_ended(
    tx: &mut Tx,
    account: AccountId,
    until: Timestamp,
    mark: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let counts = all!(
        tx,
        (i64, i64),
        "select start_ms / 86400000, cast(sum(seen) as bigint) from usage_record \
         where account_id = $1 and start_ms < $2 and end_ms <= $2 \
           and (end_ms > $3 or standing in (1, 4) or (standing = 2 and item_id is null)) group by 1 order by 1",
        account,
        until,
        mark
    )?;
    for (day, rows) in counts {
        exec!(
            tx,
            "insert into usage_day (day, raw_count, checked_ms, compacted) values ($1, $2, $3, $2) \
             on conflict (day) do update set compacted = usage_day.compacted + excluded.compacted",
            day,
            rows,
            now
        )?;
    }
    exec!(
        tx,
        "delete from record_verdict where key in (select key from usage_record \
           where account_id = $1 and start_ms < $2 and end_ms <= $2 \
             and (end_ms > $3 or standing in (1, 4) or (standing = 2 and item_id is null)))",
        account,
        until,
        mark
    )?;
    let charged = exec!(
        tx,
        "delete from usage_record where account_id = $1 and start_ms < $2 and end_ms <= $2 and end_ms > $3 and standing = 0",
        account,
        until,
        mark
    )?;
    exec!(
        tx,
        "delete from usage_record where account_id = $1 and start_ms < $2 and end_ms <= $2 \
           and (end_ms > $3 or standing in (1, 4) or (standing = 2 and item_id is null))",
        account,
        until,
        mark
    )?;
    Ok(charged)
}

/// How many charged records of an account and type are gone, and the hash over them.
pub async fn list_digests(tx: &mut Tx, account: AccountId) -> Result<HashMap<i64, (i64, Vec<u8>)>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64, Vec<u8>),
        "select usage_type, records, digest from compaction where account_id = $1 order by usage_type",
        account
    )?;
    Ok(rows.into_iter().map(|(usage_type, records, digest)| (usage_type, (records, digest))).collect())
}

/// Moves the mark of an account, of all its types.
pub async fn move_mark(tx: &mut Tx, account: AccountId, day: Day, at: Timestamp) -> Result<(), StoreError> {
    exec!(
        tx,
        "update compaction set closed_until_day = $2, closed_until_ms = $3 where account_id = $1",
        account,
        day,
        at
    )?;
    Ok(())
}

/// Notes how many charged records of an account and type are gone, and the hash over them.
pub async fn put_digest(
    tx: &mut Tx,
    account: AccountId,
    usage_type: i64,
    (day, at): (Day, Timestamp),
    (records, digest): (i64, &[u8]),
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into compaction (account_id, usage_type, closed_until_day, closed_until_ms, records, digest) \
         values ($1, $2, $3, $4, $5, $6) on conflict (account_id, usage_type) do update set \
           closed_until_day = excluded.closed_until_day, closed_until_ms = excluded.closed_until_ms, \
           records = excluded.records, digest = excluded.digest",
        account,
        usage_type,
        day,
        at,
        records,
        digest
    )?;
    Ok(())
}

/// A sum of a day, with the words for its numbers.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NamedSum {
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// What was used.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// The offering's CloudStack id.
    pub offering: Option<String>,
    /// The offering's name.
    pub offering_name: Option<String>,
    /// Bytes held.
    pub size_bytes: Option<i64>,
    /// Charged records that touch the day.
    pub records: i64,
    /// What was charged.
    pub quantity: i64,
}

/// The sums of a day of an account.
pub async fn list_sums(tx: &mut Tx, account: AccountId, day: Day) -> Result<Vec<NamedSum>, StoreError> {
    all!(
        tx,
        NamedSum,
        "select d.usage_type, s.cloud_id as resource, s.name, o.cloud_id as offering, o.name as offering_name, d.size_bytes, \
           d.records, d.quantity from usage_daily d join resource s on s.id = d.resource_id \
           left join resource o on o.id = d.offering_id where d.account_id = $1 and d.day = $2 order by d.line",
        account,
        day
    )
}

/// Charged records that touch a day, by type, as its sums say.
pub async fn list_sum_records(tx: &mut Tx, account: AccountId, day: Day) -> Result<Vec<(i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64),
        "select usage_type, cast(sum(records) as bigint) from usage_daily where account_id = $1 and day = $2 \
         group by usage_type order by usage_type",
        account,
        day
    )
}

/// Where the hash is over another number of records than the sums hold: (account, type, hashed, summed up). There must be none.
pub async fn list_wrong_digests(tx: &mut Tx) -> Result<Vec<(i64, i64, i64, i64)>, StoreError> {
    let hashed = all!(
        tx,
        (i64, i64, i64),
        "select account_id, usage_type, records from compaction order by account_id, usage_type"
    )?;
    let summed = all!(
        tx,
        (i64, i64, i64),
        "select account_id, usage_type, cast(sum(ended) as bigint) from usage_daily \
         group by account_id, usage_type order by account_id, usage_type"
    )?;
    let map = |rows: Vec<(i64, i64, i64)>| -> HashMap<(i64, i64), i64> {
        rows.into_iter().map(|(account, usage_type, records)| ((account, usage_type), records)).collect()
    };
    let (hashed, summed) = (map(hashed), map(summed));
    let keys: BTreeSet<(i64, i64)> = hashed.keys().chain(summed.keys()).copied().collect();
    let of = |map: &HashMap<(i64, i64), i64>, key| map.get(key).copied().unwrap_or_default();
    Ok(keys.iter().map(|key| (key.0, key.1, of(&hashed, key), of(&summed, key))).filter(|row| row.2 != row.3).collect())
}

/// The days of a payer's accounts that are summed up: (account, first, last).
pub async fn list_summed_days(tx: &mut Tx, payer: PayerId) -> Result<Vec<(AccountId, Day, Day)>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64, i64),
        "select d.account_id, min(d.day), max(d.day) from usage_daily d join account a on a.id = d.account_id \
         where a.payer_id = $1 group by d.account_id order by d.account_id",
        payer
    )?;
    Ok(rows
        .into_iter()
        .map(|(account, first, last)| (AccountId::new(account), Day::from_number(first), Day::from_number(last)))
        .collect())
}
