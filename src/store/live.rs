//! The live inventory, how its lists were read, which resources are gone, and how good the estimates were.

use std::collections::{HashMap, HashSet};

use super::{StoreError, Tx, all, exec, scalar};
use crate::{
    estimate::live::{Span, Thing},
    ids::AccountId,
    time::Timestamp,
};

/// How many windows of estimates are kept: enough to tell how good they are, whatever the usage job's range.
const KEEP_WINDOWS: i64 = 50;

/// How the last reading of a list went.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ListState {
    /// machines, volumes, addresses.
    pub list: String,
    /// When it was last tried.
    pub tried_ms: Timestamp,
    /// When it was last read to its end.
    pub complete_ms: Option<Timestamp>,
    /// Things in it, at the last reading.
    pub things: i64,
    /// In words, where it was not read or not to its end.
    pub note: Option<String>,
}

/// What was estimated for an account and a span of time, and what the records then cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct EstimateWindow {
    /// Whose.
    pub account_id: AccountId,
    /// First instant.
    pub from_ms: Timestamp,
    /// First instant after.
    pub until_ms: Timestamp,
    /// Estimated, net, billionths of the currency unit.
    pub net_nanos: i64,
    /// By the records when they came, net, billionths.
    pub rated_nanos: i64,
    /// When the two were compared.
    pub made_ms: Timestamp,
}

#[derive(Debug, sqlx::FromRow)]
struct SpanRow {
    id: i64,
    usage_type: i64,
    cloud_id: String,
    account_id: AccountId,
    project_id: Option<i64>,
    name: String,
    state: String,
    offering: Option<String>,
    zone: Option<String>,
    template: Option<String>,
    os_type: Option<String>,
    cpu_number: Option<i64>,
    memory_mib: Option<i64>,
    size_bytes: Option<i64>,
    tags: String,
    created_ms: Option<Timestamp>,
    first_seen_ms: Timestamp,
    since_ms: Timestamp,
    until_ms: Option<Timestamp>,
}

impl SpanRow {
    fn span(self) -> Result<(i64, Span), StoreError> {
        let usage_type = i32::try_from(self.usage_type)
            .map_err(|_| StoreError::Nonsense(format!("usage type {} of a live thing", self.usage_type)))?;
        let thing = Thing {
            usage_type,
            cloud_id: self.cloud_id,
            account: self.account_id,
            project: self.project_id,
            name: self.name,
            state: self.state,
            offering: self.offering,
            zone: self.zone,
            template: self.template,
            os_type: self.os_type,
            cpu_number: self.cpu_number,
            memory_mib: self.memory_mib,
            size_bytes: self.size_bytes,
            tags: serde_json::from_str(&self.tags)
                .map_err(|_| StoreError::Nonsense("the tags of a live thing can not be read".to_owned()))?,
            created: self.created_ms,
            since: Some(self.since_ms),
        };
        Ok((self.id, Span { thing, first_seen: self.first_seen_ms, since: self.since_ms, until: self.until_ms }))
    }
}

/// Every span, or those of one account; `open` leaves out those that have ended.
pub async fn list_spans(tx: &mut Tx, account: Option<AccountId>, open: bool) -> Result<Vec<(i64, Span)>, StoreError> {
    let rows = all!(
        tx,
        SpanRow,
        "select id, usage_type, cloud_id, account_id, project_id, name, state, offering, zone, template, os_type, \
           cpu_number, memory_mib, size_bytes, tags, created_ms, first_seen_ms, since_ms, until_ms from live_span \
         where ($1 is null or account_id = $1) and ($2 = 0 or until_ms is null) \
         order by account_id, usage_type, name, id",
        account,
        i64::from(open)
    )?;
    rows.into_iter().map(SpanRow::span).collect()
}

/// Stores a span that begins.
pub async fn open_span(tx: &mut Tx, span: &Span) -> Result<(), StoreError> {
    let thing = &span.thing;
    let tags = serde_json::to_string(&thing.tags)
        .map_err(|_| StoreError::Nonsense("the tags of a live thing can not be written".to_owned()))?;
    exec!(
        tx,
        "insert into live_span (usage_type, cloud_id, account_id, project_id, name, state, offering, zone, template, \
           os_type, cpu_number, memory_mib, size_bytes, tags, created_ms, first_seen_ms, since_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        i64::from(thing.usage_type),
        &thing.cloud_id,
        thing.account,
        thing.project,
        &thing.name,
        &thing.state,
        &thing.offering,
        &thing.zone,
        &thing.template,
        &thing.os_type,
        thing.cpu_number,
        thing.memory_mib,
        thing.size_bytes,
        tags,
        thing.created,
        span.first_seen,
        span.since
    )?;
    Ok(())
}

/// Ends a span.
pub async fn close_span(tx: &mut Tx, id: i64, until: Timestamp) -> Result<(), StoreError> {
    match exec!(tx, "update live_span set until_ms = $1 where id = $2 and until_ms is null", until, id)? {
        1 => Ok(()),
        _ => Err(StoreError::Nonsense(format!("the live span {id} was ended by somebody else meanwhile"))),
    }
}

/// Forgets all of a usage type: its list is no longer to be read, and what it once said would grow old.
pub async fn forget_type(tx: &mut Tx, usage_type: i32) -> Result<u64, StoreError> {
    exec!(tx, "delete from live_span where usage_type = $1", i64::from(usage_type))
}

/// Forgets spans that ended before usage was fetched up to `until`: the records speak for them now.
pub async fn forget_ended(tx: &mut Tx, until: Timestamp) -> Result<u64, StoreError> {
    exec!(tx, "delete from live_span where until_ms <= $1", until)
}

/// How each list was read last.
pub async fn list_lists(tx: &mut Tx) -> Result<Vec<ListState>, StoreError> {
    all!(tx, ListState, "select list, tried_ms, complete_ms, things, note from live_list order by list")
}

/// Notes how a list was read.
pub async fn put_list(tx: &mut Tx, state: &ListState) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into live_list (list, tried_ms, complete_ms, things, note) values ($1, $2, $3, $4, $5) \
         on conflict (list) do update set tried_ms = excluded.tried_ms, complete_ms = excluded.complete_ms, \
           things = excluded.things, note = excluded.note",
        &state.list,
        state.tried_ms,
        state.complete_ms,
        state.things,
        &state.note
    )?;
    Ok(())
}

/// What a complete list says about which resources are gone.
#[derive(Debug, Clone, Copy)]
pub struct Absence<'a> {
    /// The usage types that the list stands for.
    pub usage_types: &'a [i32],
    /// CloudStack's ids of everything in it.
    pub live: &'a HashSet<String>,
    /// Of them, those that were not in the list before.
    pub appeared: &'a [String],
    /// Resources with records from here on are looked for; None: with records of any time.
    pub records_since: Option<Timestamp>,
    /// When the list was read.
    pub seen_at: Timestamp,
}

/// Notes which resources are gone. A resource that has records and is absent from two complete lists, one after the
/// other, is gone since the first of them; one that comes back is not. Gives how many were marked.
pub async fn mark_resources_gone(tx: &mut Tx, absence: Absence<'_>) -> Result<u64, StoreError> {
    let mut marked = 0;
    for cloud_id in absence.appeared {
        exec!(tx, "update resource set gone_ms = null where cloud_id = $1 and gone_ms is not null", cloud_id)?;
    }
    let since = absence.records_since.unwrap_or(Timestamp::from_ms(i64::MIN));
    for usage_type in absence.usage_types {
        let kind = i64::from(*usage_type);
        let waiting = all!(
            tx,
            (i64, String, i64),
            "select a.resource_id, r.cloud_id, a.absent_ms from live_absence a join resource r on r.id = a.resource_id \
             where a.usage_type = $1 order by a.resource_id",
            kind
        )?;
        let mut known: HashSet<i64> = HashSet::new();
        for (resource, cloud_id, absent_ms) in waiting {
            known.insert(resource);
            if !absence.live.contains(&cloud_id) {
                marked += exec!(
                    tx,
                    "update resource set gone_ms = $1 where id = $2 and gone_ms is null",
                    absent_ms,
                    resource
                )?;
            }
            exec!(tx, "delete from live_absence where resource_id = $1 and usage_type = $2", resource, kind)?;
        }
        let candidates = all!(
            tx,
            (i64, String),
            "select distinct r.id, r.cloud_id from usage_record u join resource r on r.id = u.resource_id \
             where u.usage_type = $1 and u.start_ms >= $2 and u.standing = 0 and r.gone_ms is null order by r.id",
            kind,
            since
        )?;
        for (resource, cloud_id) in candidates {
            if !absence.live.contains(&cloud_id) && !known.contains(&resource) {
                exec!(
                    tx,
                    "insert into live_absence (resource_id, usage_type, absent_ms) values ($1, $2, $3) \
                     on conflict (resource_id, usage_type) do nothing",
                    resource,
                    kind,
                    absence.seen_at
                )?;
            }
        }
    }
    Ok(marked)
}

/// Accounts with current records that begin in `[from, until)`.
pub async fn list_accounts_with_records(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<AccountId>, StoreError> {
    let rows = all!(
        tx,
        (AccountId,),
        "select distinct account_id from usage_record where start_ms >= $1 and start_ms < $2 and standing = 0 \
         order by account_id",
        from,
        until
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Stores how good an estimate was; the same window again is the newer comparison.
pub async fn put_window(tx: &mut Tx, window: &EstimateWindow) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into estimate_window (account_id, from_ms, until_ms, net_nanos, rated_nanos, made_ms) \
         values ($1, $2, $3, $4, $5, $6) on conflict (from_ms, account_id) do update set until_ms = excluded.until_ms, \
           net_nanos = excluded.net_nanos, rated_nanos = excluded.rated_nanos, made_ms = excluded.made_ms",
        window.account_id,
        window.from_ms,
        window.until_ms,
        window.net_nanos,
        window.rated_nanos,
        window.made_ms
    )?;
    Ok(())
}

/// Forgets all but the newest windows.
pub async fn forget_old_windows(tx: &mut Tx) -> Result<u64, StoreError> {
    exec!(
        tx,
        "delete from estimate_window where from_ms < (select min(from_ms) from \
           (select distinct from_ms from estimate_window order by from_ms desc limit $1) as newest)",
        KEEP_WINDOWS
    )
}

/// Windows of one account or of all, newest first.
pub async fn list_windows(tx: &mut Tx, account: Option<AccountId>) -> Result<Vec<EstimateWindow>, StoreError> {
    all!(
        tx,
        EstimateWindow,
        "select account_id, from_ms, until_ms, net_nanos, rated_nanos, made_ms from estimate_window \
         where ($1 is null or account_id = $1) order by from_ms desc, account_id",
        account
    )
}

/// How many resources are noted as gone.
pub async fn count_gone(tx: &mut Tx) -> Result<i64, StoreError> {
    scalar!(tx, i64, "select count(*) from resource where gone_ms is not null")
}

/// Windows by their span, summed over accounts: (from, until) to (estimated, rated).
pub fn by_window(windows: &[EstimateWindow]) -> HashMap<(Timestamp, Timestamp), (i64, i64)> {
    let mut sums: HashMap<(Timestamp, Timestamp), (i64, i64)> = HashMap::new();
    for window in windows {
        let sum = sums.entry((window.from_ms, window.until_ms)).or_default();
        sum.0 = sum.0.saturating_add(window.net_nanos);
        sum.1 = sum.1.saturating_add(window.rated_nanos);
    }
    sums
}
