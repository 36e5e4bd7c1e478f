//! Review items, the rows in them, what people decided, and the rules that decide for them.

use std::collections::HashMap;

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::RunId,
    time::{Day, Timestamp},
    usage::{
        review_kind::Kind,
        types::{Quantity, UsageType},
    },
};

/// Days of UTC, by which rows are filed.
const DAY_MS: i64 = 86_400_000;

/// What waits for a person or is worth one's knowing.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Item {
    /// Its number.
    pub id: i64,
    /// What it is about.
    pub key: String,
    /// See `usage::review_kind::Kind::slug`.
    pub kind: String,
    /// Why.
    pub reason: String,
    /// The run of the sync that found it.
    pub run_id: i64,
    /// The first day (UTC) it is about.
    pub first_day: Option<i64>,
    /// The last one.
    pub last_day: Option<i64>,
    /// Rows in it.
    pub row_count: i64,
    /// Rows that still wait.
    pub waiting: i64,
    /// Accounts they belong to.
    pub accounts: i64,
    /// What releasing all that waits would add, in the unit of what is counted; None where different things are.
    pub estimate: Option<i64>,
    /// open, settled.
    pub state: String,
    /// release, reject, correct, rule, cured, seen.
    pub verdict: Option<String>,
    /// Who settled it.
    pub author: Option<String>,
    /// Why so.
    pub words: Option<String>,
    /// When it was found.
    pub created_ms: i64,
    /// When it was settled.
    pub settled_ms: Option<i64>,
}

/// By whom and how an item was settled.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// release, reject, correct, rule, cured, seen.
    pub verdict: &'a str,
    /// Who.
    pub author: &'a str,
    /// Why.
    pub words: &'a str,
}

/// The number of the item with that key; made where it is new.
pub async fn number_item(
    tx: &mut Tx,
    key: &str,
    kind: Kind,
    reason: &str,
    run: RunId,
    now: Timestamp,
) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "insert into review_item (key, kind, reason, run_id, created_ms) values ($1, $2, $3, $4, $5) \
         on conflict (key) do update set key = excluded.key returning id",
        key,
        kind.slug(),
        reason,
        run,
        now
    )
}

/// The kinds of the items that records which start in `[from, until)` belong to.
pub async fn list_kinds(tx: &mut Tx, from: Timestamp, until: Timestamp) -> Result<HashMap<i64, String>, StoreError> {
    let rows = all!(
        tx,
        (i64, String),
        "select i.id, i.kind from review_item i where exists (select 1 from usage_record r \
           where r.item_id = i.id and r.start_ms >= $1 and r.start_ms < $2) order by i.id",
        from,
        until
    )?;
    Ok(rows.into_iter().collect())
}

/// An item.
pub async fn get_item(tx: &mut Tx, id: i64) -> Result<Item, StoreError> {
    maybe!(
        tx,
        Item,
        "select id, key, kind, reason, run_id, first_day, last_day, row_count, waiting, accounts, estimate, state, verdict, \
           author, words, created_ms, settled_ms from review_item where id = $1",
        id
    )?
    .ok_or_else(|| StoreError::Missing(format!("there is no review item {id}; `bursar review list` shows them")))
}

/// Items, newest first: the open ones or all, of one kind or of all.
pub async fn list_items(tx: &mut Tx, all: bool, kind: Option<Kind>, limit: i64) -> Result<Vec<Item>, StoreError> {
    all!(
        tx,
        Item,
        "select id, key, kind, reason, run_id, first_day, last_day, row_count, waiting, accounts, estimate, state, verdict, \
           author, words, created_ms, settled_ms from review_item \
         where (state = 'open' or $1 = 1) and ($2 is null or kind = $2) order by id desc limit $3",
        i64::from(all),
        kind.map(Kind::slug),
        limit
    )
}

/// Tells something once: an item without rows. Gives whether it is new.
pub async fn tell(
    tx: &mut Tx,
    (key, kind, reason): (&str, Kind, &str),
    (first, last): (Day, Day),
    run: RunId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let made = exec!(
        tx,
        "insert into review_item (key, kind, reason, run_id, first_day, last_day, row_count, waiting, created_ms) \
         values ($1, $2, $3, $4, $5, $6, 1, 1, $7) on conflict (key) do nothing",
        key,
        kind.slug(),
        reason,
        run,
        first,
        last,
        now
    )?;
    Ok(made == 1)
}

/// Settles an item whose rows need nothing, or that has none. Gives whether it was open.
pub async fn settle_item(tx: &mut Tx, id: i64, by: By<'_>, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update review_item set state = 'settled', waiting = 0, verdict = $2, author = $3, words = $4, settled_ms = $5 \
         where id = $1 and state = 'open'",
        id,
        by.verdict,
        by.author,
        by.words,
        now
    )? == 1)
}

/// Works the figures of an item out again from its rows. Where nothing waits any more it is settled, by `by`; where something
/// waits again it is open again.
pub async fn refresh_item(tx: &mut Tx, id: i64, by: By<'_>, now: Timestamp) -> Result<Item, StoreError> {
    let before = get_item(tx, id).await?;
    let types = all!(
        tx,
        (i64, i64, i64, i64, i64, i64),
        "select usage_type, count(*), cast(coalesce(sum(waits), 0) as bigint), \
           cast(coalesce(sum(case when waits = 0 or kind = 'removed' then 0 when standing = 3 then quantity \
             when estimate > 0 then estimate else 0 end), 0) as bigint), min(start_ms), max(start_ms) \
         from (select r.usage_type, r.standing, r.quantity, r.estimate, r.start_ms, i.kind, \
             case when r.standing = 3 or (r.standing = 2 and i.kind = 'part') or (r.standing = 0 and i.kind = 'removed' \
               and not exists (select 1 from record_verdict v where v.key = r.key)) then 1 else 0 end as waits \
           from usage_record r join review_item i on i.id = r.item_id where r.item_id = $1) as x \
         group by usage_type order by usage_type",
        id
    )?;
    let (raw, raw_waiting, raw_first, raw_last) = maybe!(
        tx,
        (i64, i64, Option<i64>, Option<i64>),
        "select count(*), cast(coalesce(sum(case when state = 0 then 1 else 0 end), 0) as bigint), min(start_ms), \
           max(start_ms) from quarantine where item_id = $1",
        id
    )?
    .unwrap_or_default();
    let accounts = scalar!(
        tx,
        i64,
        "select count(*) from (select account_id from usage_record where item_id = $1 \
           union select account_id from quarantine where item_id = $1 and account_id is not null) as x",
        id
    )?;
    let rows = raw + types.iter().map(|row| row.1).sum::<i64>();
    let waiting = raw_waiting + types.iter().map(|row| row.2).sum::<i64>();
    let day = |ms: i64| ms.div_euclid(DAY_MS);
    let first = types.iter().map(|row| row.4).chain(raw_first).min().map(day);
    let last = types.iter().map(|row| row.5).chain(raw_last).max().map(day);
    // Rows that settled themselves have left it: what it was about stays to be read.
    let kept = rows.max(if waiting == 0 { before.row_count } else { 0 });
    let (state, settled) =
        if waiting > 0 { ("open", None) } else { ("settled", before.settled_ms.or(Some(now.as_ms()))) };
    let was_settled = before.state == "settled";
    let word = |old: &Option<String>, new: &str| match (waiting > 0, was_settled) {
        (true, _) => None,
        (false, true) => old.clone(),
        (false, false) => Some(new.to_owned()),
    };
    exec!(
        tx,
        "update review_item set row_count = $2, waiting = $3, accounts = $4, estimate = $5, first_day = $6, last_day = $7, \
           state = $8, verdict = $9, author = $10, words = $11, settled_ms = $12 where id = $1",
        id,
        kept,
        waiting,
        accounts.max(if rows == 0 { before.accounts } else { 0 }),
        sum_of_one_unit(&types),
        first.or(before.first_day),
        last.or(before.last_day),
        state,
        word(&before.verdict, by.verdict),
        word(&before.author, by.author),
        word(&before.words, by.words),
        settled
    )?;
    get_item(tx, id).await
}

/// The sum of what waits, where all of it counts the same thing.
fn sum_of_one_unit(types: &[(i64, i64, i64, i64, i64, i64)]) -> Option<i64> {
    let unit = |id: i64| -> Option<Quantity> { Some(UsageType::from_id(i32::try_from(id).ok()?)?.quantity) };
    let first = unit(types.first()?.0)?;
    types
        .iter()
        .all(|row| unit(row.0) == Some(first))
        .then(|| types.iter().map(|row| row.3).fold(0, i64::saturating_add))
}

/// Which rows a person means.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// The item.
    pub item: Option<i64>,
    /// The kind.
    pub kind: Option<Kind>,
    /// The account.
    pub account: Option<i64>,
    /// CloudStack's usage type.
    pub usage_type: Option<i64>,
    /// The day (UTC) their windows start on.
    pub day: Option<Day>,
}

/// A record with its figures, for a person to decide about.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ReviewRecord {
    /// Sixteen bytes.
    pub key: Vec<u8>,
    /// The account that pays.
    pub account_id: i64,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// What was used.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// The offering's name, or its CloudStack id.
    pub offering: Option<String>,
    /// First instant, ms.
    pub start_ms: i64,
    /// First instant after, ms.
    pub end_ms: i64,
    /// What CloudStack reported.
    pub quantity: i64,
    /// What a person decided to charge instead.
    pub charged_quantity: Option<i64>,
    /// Part windows: what it reports beyond what is charged already.
    pub estimate: Option<i64>,
    /// Raw rows it stands for.
    pub seen: i64,
    /// See `usage::record::Standing::code`.
    pub standing: i64,
    /// The item that it belongs to.
    pub item_id: Option<i64>,
    /// The kind of that item.
    pub kind: Option<String>,
}

/// A row that was put aside, for a person to decide about.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ReviewRaw {
    /// Its number.
    pub id: i64,
    /// Hash of what identifies it.
    pub key: Vec<u8>,
    /// The account, where the row names one that is known.
    pub account_id: Option<i64>,
    /// The usage type, where it can be read.
    pub usage_type: Option<i64>,
    /// Where its window starts, or its day.
    pub start_ms: i64,
    /// Why it waits.
    pub reason: String,
    /// What CloudStack said.
    pub raw: String,
    /// How often.
    pub seen: i64,
    /// 0 waits, 1 rejected, 2 a record was made of it, 3 done with by itself.
    pub state: i64,
    /// The item that it belongs to.
    pub item_id: Option<i64>,
    /// The record made of it.
    pub record_key: Option<Vec<u8>>,
}

fn day_bounds(day: Option<Day>) -> (Option<i64>, Option<i64>) {
    let start = |day: Day| day.number().saturating_mul(DAY_MS);
    (day.map(start), day.map(|day| start(day.next())))
}

/// Records that wait for a person, by filter, oldest first.
pub async fn list_waiting_records(tx: &mut Tx, filter: &Filter, limit: i64) -> Result<Vec<ReviewRecord>, StoreError> {
    let (from, until) = day_bounds(filter.day);
    all!(
        tx,
        ReviewRecord,
        "select r.key, r.account_id, r.usage_type, s.cloud_id as resource, s.name as name, \
           coalesce(nullif(o.name, ''), o.cloud_id) as offering, r.start_ms, r.end_ms, r.quantity, r.charged_quantity, \
           r.estimate, r.seen, r.standing, r.item_id, i.kind \
         from usage_record r join review_item i on i.id = r.item_id join resource s on s.id = r.resource_id \
           left join resource o on o.id = r.offering_id \
         where ($1 is null or r.item_id = $1) and ($2 is null or i.kind = $2) and ($3 is null or r.account_id = $3) \
           and ($4 is null or r.usage_type = $4) and ($5 is null or r.start_ms >= $5) and ($6 is null or r.start_ms < $6) \
           and (r.standing = 3 or (r.standing = 2 and i.kind = 'part') or (r.standing = 0 and i.kind = 'removed' \
             and not exists (select 1 from record_verdict v where v.key = r.key))) \
         order by r.start_ms, r.key limit $7",
        filter.item,
        filter.kind.map(Kind::slug),
        filter.account,
        filter.usage_type,
        from,
        until,
        limit
    )
}

/// Raw rows that wait for a person, by filter, oldest first.
pub async fn list_waiting_raw(tx: &mut Tx, filter: &Filter, limit: i64) -> Result<Vec<ReviewRaw>, StoreError> {
    let (from, until) = day_bounds(filter.day);
    all!(
        tx,
        ReviewRaw,
        "select id, key, account_id, usage_type, coalesce(start_ms, 0) as start_ms, reason, raw, seen, state, item_id, \
           record_key from quarantine \
         where ($1 is null or item_id = $1) and ($2 is null or kind = $2) and ($3 is null or account_id = $3) \
           and ($4 is null or usage_type = $4) and ($5 is null or start_ms >= $5) and ($6 is null or start_ms < $6) \
           and state = 0 order by start_ms, id limit $7",
        filter.item,
        filter.kind.map(Kind::slug),
        filter.account,
        filter.usage_type,
        from,
        until,
        limit
    )
}

/// Every record of an item, oldest first.
pub async fn list_records_of(tx: &mut Tx, item: i64, limit: i64) -> Result<Vec<ReviewRecord>, StoreError> {
    all!(
        tx,
        ReviewRecord,
        "select r.key, r.account_id, r.usage_type, s.cloud_id as resource, s.name as name, \
           coalesce(nullif(o.name, ''), o.cloud_id) as offering, r.start_ms, r.end_ms, r.quantity, r.charged_quantity, \
           r.estimate, r.seen, r.standing, r.item_id, i.kind \
         from usage_record r join review_item i on i.id = r.item_id join resource s on s.id = r.resource_id \
           left join resource o on o.id = r.offering_id \
         where r.item_id = $1 order by r.start_ms, r.key limit $2",
        item,
        limit
    )
}

/// Every raw row of an item, oldest first.
pub async fn list_raw_of(tx: &mut Tx, item: i64, limit: i64) -> Result<Vec<ReviewRaw>, StoreError> {
    all!(
        tx,
        ReviewRaw,
        "select id, key, account_id, usage_type, coalesce(start_ms, 0) as start_ms, reason, raw, seen, state, item_id, \
           record_key from quarantine where item_id = $1 order by start_ms, id limit $2",
        item,
        limit
    )
}

/// A record by its key, whatever became of it.
pub async fn find_record(tx: &mut Tx, key: &[u8; 16]) -> Result<Option<ReviewRecord>, StoreError> {
    maybe!(
        tx,
        ReviewRecord,
        "select r.key, r.account_id, r.usage_type, s.cloud_id as resource, s.name as name, \
           coalesce(nullif(o.name, ''), o.cloud_id) as offering, r.start_ms, r.end_ms, r.quantity, r.charged_quantity, \
           r.estimate, r.seen, r.standing, r.item_id, i.kind \
         from usage_record r join resource s on s.id = r.resource_id left join review_item i on i.id = r.item_id \
           left join resource o on o.id = r.offering_id where r.key = $1",
        key.as_slice()
    )
}

/// A raw row by its number.
pub async fn find_raw(tx: &mut Tx, id: i64) -> Result<Option<ReviewRaw>, StoreError> {
    maybe!(
        tx,
        ReviewRaw,
        "select id, key, account_id, usage_type, coalesce(start_ms, 0) as start_ms, reason, raw, seen, state, item_id, \
           record_key from quarantine where id = $1",
        id
    )
}

/// Notes what became of a raw row. Gives whether it was as the caller thought.
pub async fn put_raw_state(
    tx: &mut Tx,
    id: i64,
    (before, after): (i64, i64),
    record_key: Option<&[u8; 16]>,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update quarantine set state = $2, record_key = coalesce($3, record_key) where id = $1 and state = $4",
        id,
        after,
        record_key.map(<[u8; 16]>::as_slice),
        before
    )? == 1)
}

/// What a person, or a rule of one, decided about a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The record's key.
    pub key: [u8; 16],
    /// Where its window starts.
    pub start: Timestamp,
    /// release, reject, correct.
    pub verdict: String,
    /// What is charged instead of what was reported.
    pub charged_quantity: Option<i64>,
    /// Who.
    pub author: String,
    /// Why.
    pub reason: String,
}

/// Verdicts about records that start in `[from, until)`, by key.
pub async fn list_verdicts(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
) -> Result<HashMap<[u8; 16], Verdict>, StoreError> {
    let rows = all!(
        tx,
        (Vec<u8>, i64, String, Option<i64>, String, String),
        "select key, start_ms, verdict, charged_quantity, author, reason from record_verdict \
         where start_ms >= $1 and start_ms < $2 order by key",
        from,
        until
    )?;
    Ok(rows
        .into_iter()
        .filter_map(|(key, start, verdict, charged_quantity, author, reason)| {
            let key = <[u8; 16]>::try_from(key).ok()?;
            let start = Timestamp::from_ms(start);
            Some((key, Verdict { key, start, verdict, charged_quantity, author, reason }))
        })
        .collect())
}

/// Keeps verdicts; a newer one replaces an older one (the audit trail has both).
pub async fn put_verdicts(tx: &mut Tx, verdicts: &[Verdict], now: Timestamp) -> Result<(), StoreError> {
    for row in verdicts {
        exec!(
            tx,
            "insert into record_verdict (key, start_ms, verdict, charged_quantity, author, reason, at_ms) \
             values ($1, $2, $3, $4, $5, $6, $7) on conflict (key) do update set verdict = excluded.verdict, \
               charged_quantity = excluded.charged_quantity, author = excluded.author, reason = excluded.reason, \
               at_ms = excluded.at_ms",
            row.key.as_slice(),
            row.start,
            &row.verdict,
            row.charged_quantity,
            &row.author,
            &row.reason,
            now
        )?;
    }
    Ok(())
}

/// A rule that decides about rows as they come in.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Rule {
    /// Its number.
    pub id: i64,
    /// The kind of rows.
    pub kind: String,
    /// Only this usage type.
    pub usage_type: Option<i64>,
    /// Only this account.
    pub account_id: Option<i64>,
    /// release, reject.
    pub verdict: String,
    /// Who made it.
    pub author: String,
    /// Why.
    pub why: String,
    /// When.
    pub created_ms: i64,
}

/// The rules in force, the narrowest first.
pub async fn list_rules(tx: &mut Tx) -> Result<Vec<Rule>, StoreError> {
    all!(
        tx,
        Rule,
        "select id, kind, usage_type, account_id, verdict, author, why, created_ms from review_rule where removed_ms is null \
         order by case when account_id is null then 1 else 0 end, case when usage_type is null then 1 else 0 end, id"
    )
}

/// Adds a rule and gives its number.
pub async fn add_rule(tx: &mut Tx, rule: &Rule) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "insert into review_rule (kind, usage_type, account_id, verdict, author, why, created_ms) \
         values ($1, $2, $3, $4, $5, $6, $7) returning id",
        &rule.kind,
        rule.usage_type,
        rule.account_id,
        &rule.verdict,
        &rule.author,
        &rule.why,
        rule.created_ms
    )
}

/// Takes a rule out of force. Gives whether it was in force.
pub async fn remove_rule(tx: &mut Tx, id: i64, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update review_rule set removed_ms = $2 where id = $1 and removed_ms is null", id, now)? == 1)
}
