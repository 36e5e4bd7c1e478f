//! Price books, days to rate, rated lines and the charge of each billing day.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, PayerId, PriceBookId},
    time::{Day, Timestamp},
};

/// A billing day's charge of one account and usage type.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct ChargeDay {
    /// The account.
    pub account_id: i64,
    /// The billing day.
    pub day: i64,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// The price book it was rated with.
    pub book_id: i64,
    /// Records that touch the day.
    pub records: i64,
    /// Of them, those that nothing prices, wholly or for a time.
    pub unpriced: i64,
    /// Of them, those that could not be priced.
    pub failed: i64,
    /// Why the first of those could not.
    pub issue: Option<String>,
    /// Net, billionths.
    pub net_nanos: i64,
    /// Tax in percent; None: as configured on posting.
    pub tax_percent: Option<String>,
    /// Net posted so far, millionths.
    pub posted_net_micros: i64,
    /// Tax posted so far, millionths.
    pub posted_tax_micros: i64,
    /// How many transfers it took.
    pub postings: i64,
    /// 1 once the day was closed: what it was charged then is changed only by corrections and on a person's word.
    pub closed: i64,
    /// The net at which a person gave a verdict on a correction.
    pub verdict_nanos: Option<i64>,
    /// The approved change of prices by which the whole day is reversed and posted anew.
    pub repost_item: Option<i64>,
    /// Who the account was for the price book; None: as it is now.
    pub terms_id: Option<i64>,
}

impl ChargeDay {
    /// A day and type on which nothing was rated or posted yet.
    pub const fn empty(account_id: i64, day: i64, usage_type: i64, book_id: i64) -> Self {
        Self {
            account_id,
            day,
            usage_type,
            book_id,
            records: 0,
            unpriced: 0,
            failed: 0,
            issue: None,
            net_nanos: 0,
            tax_percent: None,
            posted_net_micros: 0,
            posted_tax_micros: 0,
            postings: 0,
            closed: 0,
            verdict_nanos: None,
            repost_item: None,
            terms_id: None,
        }
    }
}

/// A day of an account to be rated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct DayToRate {
    /// The account.
    pub account_id: i64,
    /// The billing day.
    pub day: i64,
    /// Counts the marks, so that a mark set meanwhile is not lost.
    pub mark: i64,
    /// The book that a person ordered for the day.
    pub ordered_book_id: Option<i64>,
}

/// Keeps a price book as loaded; the same text is kept once.
pub async fn put_book(
    tx: &mut Tx,
    digest: &str,
    currency: &str,
    body: &str,
    now: Timestamp,
) -> Result<PriceBookId, StoreError> {
    if let Some((id,)) = maybe!(tx, (i64,), "select id from price_book where digest = $1", digest)? {
        return Ok(PriceBookId::new(id));
    }
    let id = scalar!(
        tx,
        i64,
        "insert into price_book (digest, currency, body, loaded_ms) values ($1, $2, $3, $4) \
         on conflict (digest) do update set digest = excluded.digest returning id",
        digest,
        currency,
        body,
        now
    )?;
    Ok(PriceBookId::new(id))
}

/// The text of a kept price book.
pub async fn get_book(tx: &mut Tx, id: PriceBookId) -> Result<String, StoreError> {
    maybe!(tx, (String,), "select body from price_book where id = $1", id)?
        .map(|(body,)| body)
        .ok_or_else(|| StoreError::Missing(format!("price book {id} is not in the store")))
}

/// Numbers the terms of an account, as JSON; the same are kept once.
pub async fn put_terms(tx: &mut Tx, body: &str) -> Result<i64, StoreError> {
    let digest = blake3::hash(body.as_bytes()).to_hex().to_string();
    if let Some((id,)) = maybe!(tx, (i64,), "select id from rating_terms where digest = $1", &digest)? {
        return Ok(id);
    }
    scalar!(
        tx,
        i64,
        "insert into rating_terms (digest, body) values ($1, $2) \
         on conflict (digest) do update set digest = excluded.digest returning id",
        &digest,
        body
    )
}

/// The terms of a number.
pub async fn get_terms(tx: &mut Tx, id: i64) -> Result<String, StoreError> {
    maybe!(tx, (String,), "select body from rating_terms where id = $1", id)?
        .map(|(body,)| body)
        .ok_or_else(|| StoreError::Nonsense(format!("the terms {id} of a charge are missing")))
}

/// The currency of the books in the store: a cloud has one.
pub async fn find_currency(tx: &mut Tx) -> Result<Option<String>, StoreError> {
    Ok(maybe!(tx, (String,), "select currency from price_book order by id limit 1")?.map(|(currency,)| currency))
}

/// Days to rate, oldest first.
pub async fn list_days_to_rate(tx: &mut Tx, limit: i64) -> Result<Vec<DayToRate>, StoreError> {
    all!(
        tx,
        DayToRate,
        "select d.account_id, d.day, d.mark, b.book_id as ordered_book_id from day_to_rate d \
           left join day_book b on b.account_id = d.account_id and b.day = d.day \
         order by d.day, d.account_id limit $1",
        limit
    )
}

/// Whether anybody uses a tier.
pub async fn has_tier_use(tx: &mut Tx) -> Result<bool, StoreError> {
    Ok(maybe!(tx, (i64,), "select account_id from tier_use limit 1")?.is_some())
}

/// How many days wait to be rated.
pub async fn count_days_to_rate(tx: &mut Tx) -> Result<i64, StoreError> {
    scalar!(tx, i64, "select count(*) from day_to_rate")
}

/// A record as rating takes it: numbers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct RatableRow {
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Number of the offering.
    pub offering_id: Option<i64>,
    /// Number of what else is known of the thing.
    pub attributes_id: Option<i64>,
    /// First instant, ms.
    pub start_ms: i64,
    /// First instant after, ms.
    pub end_ms: i64,
    /// Millionths of an hour, bytes or operations: what is charged.
    pub quantity: i64,
    /// Bytes held.
    pub size_bytes: Option<i64>,
}

/// Current records of an account that touch `[from, until)`, in a fixed order. None is longer than `reach_ms`.
pub async fn list_ratable(
    tx: &mut Tx,
    account: AccountId,
    from: Timestamp,
    until: Timestamp,
    reach_ms: i64,
) -> Result<Vec<RatableRow>, StoreError> {
    all!(
        tx,
        RatableRow,
        "select usage_type, offering_id, attributes_id, start_ms, end_ms, coalesce(charged_quantity, quantity) as quantity, \
           size_bytes from usage_record \
         where account_id = $1 and standing = 0 and start_ms >= $2 and start_ms < $3 and end_ms > $4 order by start_ms, key",
        account,
        Timestamp::from_ms(from.as_ms().saturating_sub(reach_ms)),
        until,
        from
    )
}

/// A record with the words for its numbers, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NamedRow {
    /// Sixteen bytes.
    pub key: Vec<u8>,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Number of the offering.
    pub offering_id: Option<i64>,
    /// Number of what else is known of the thing.
    pub attributes_id: Option<i64>,
    /// What was used.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// The offering's CloudStack id.
    pub offering: Option<String>,
    /// The offering's name.
    pub offering_name: Option<String>,
    /// First instant, ms.
    pub start_ms: i64,
    /// First instant after, ms.
    pub end_ms: i64,
    /// As CloudStack reported it.
    pub reported: i64,
    /// What is charged.
    pub quantity: i64,
    /// Bytes held.
    pub size_bytes: Option<i64>,
    /// See `usage::record::Standing::code`.
    pub standing: i64,
}

impl From<&NamedRow> for RatableRow {
    fn from(row: &NamedRow) -> Self {
        Self {
            usage_type: row.usage_type,
            offering_id: row.offering_id,
            attributes_id: row.attributes_id,
            start_ms: row.start_ms,
            end_ms: row.end_ms,
            quantity: row.quantity,
            size_bytes: row.size_bytes,
        }
    }
}

/// All records of an account that touch `[from, until)`, in the order in which they are priced.
pub async fn list_named(
    tx: &mut Tx,
    account: AccountId,
    from: Timestamp,
    until: Timestamp,
    reach_ms: i64,
) -> Result<Vec<NamedRow>, StoreError> {
    all!(
        tx,
        NamedRow,
        "select r.key, r.usage_type, r.offering_id, r.attributes_id, s.cloud_id as resource, s.name, \
           o.cloud_id as offering, o.name as offering_name, r.start_ms, r.end_ms, r.quantity as reported, \
           coalesce(r.charged_quantity, r.quantity) as quantity, r.size_bytes, r.standing \
         from usage_record r join resource s on s.id = r.resource_id left join resource o on o.id = r.offering_id \
         where r.account_id = $1 and r.start_ms >= $2 and r.start_ms < $3 and r.end_ms > $4 order by r.start_ms, r.key",
        account,
        Timestamp::from_ms(from.as_ms().saturating_sub(reach_ms)),
        until,
        from
    )
}

/// CloudStack's id of a numbered offering.
pub async fn find_offering(tx: &mut Tx, id: i64) -> Result<Option<String>, StoreError> {
    Ok(maybe!(tx, (String,), "select cloud_id from resource where id = $1", id)?.map(|(id,)| id))
}

/// What else is known of a used thing, besides its offering.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct AttributesRow {
    /// The zone's CloudStack id.
    pub zone_id: Option<String>,
    /// The template's CloudStack id.
    pub template_id: Option<String>,
    /// The OS type's CloudStack id.
    pub os_type_id: Option<String>,
    /// Virtual CPUs.
    pub cpu_number: Option<i64>,
    /// Memory, MiB.
    pub memory_mib: Option<i64>,
    /// Tags as a JSON list of pairs.
    pub tags: Option<String>,
}

/// The attributes of a number.
pub async fn find_attributes(tx: &mut Tx, id: i64) -> Result<Option<AttributesRow>, StoreError> {
    maybe!(
        tx,
        AttributesRow,
        "select zone_id, template_id, os_type_id, cpu_number, memory_mib, tags from usage_attributes where id = $1",
        id
    )
}

/// Account days with a charge, oldest first.
pub async fn list_charged_days(tx: &mut Tx) -> Result<Vec<(i64, i64)>, StoreError> {
    all!(tx, (i64, i64), "select distinct account_id, day from charge_day order by day, account_id")
}

/// Account hours (since 1970) in which a current record starts.
pub async fn list_hours_with_usage(tx: &mut Tx) -> Result<Vec<(i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64),
        "select distinct account_id, start_ms / 3600000 from usage_record where standing = 0 order by 1, 2"
    )
}

/// How much of each tier a payer used in `[month, day)`, and on `day` in accounts numbered below `account`.
pub async fn list_tier_use_before(
    tx: &mut Tx,
    payer: PayerId,
    month: Day,
    day: Day,
    account: AccountId,
) -> Result<Vec<(i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64),
        "select t.tier_key, cast(sum(t.used_nanos) as bigint) from tier_use t join account a on a.id = t.account_id \
         where a.payer_id = $1 and t.day >= $2 and (t.day < $3 or (t.day = $3 and t.account_id < $4)) \
         group by t.tier_key order by t.tier_key",
        payer,
        month,
        day,
        account
    )
}

/// What a day of an account used of each tier.
pub async fn list_tier_use(tx: &mut Tx, account: AccountId, day: Day) -> Result<Vec<(i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64),
        "select tier_key, used_nanos from tier_use where account_id = $1 and day = $2 order by tier_key",
        account,
        day
    )
}

/// Replaces what a day of an account used of each tier.
pub async fn replace_tier_use(
    tx: &mut Tx,
    account: AccountId,
    day: Day,
    rows: &[(i64, i64)],
) -> Result<(), StoreError> {
    exec!(tx, "delete from tier_use where account_id = $1 and day = $2", account, day)?;
    for (tier_key, used_nanos) in rows {
        exec!(
            tx,
            "insert into tier_use (account_id, day, tier_key, used_nanos) values ($1, $2, $3, $4)",
            account,
            day,
            tier_key,
            used_nanos
        )?;
    }
    Ok(())
}

/// Marks what a payer used of a tier after `(day, account)` in the same month, to be rated again.
pub async fn mark_tier_after(
    tx: &mut Tx,
    payer: PayerId,
    tier_key: i64,
    after: (Day, AccountId),
    month_end: Day,
) -> Result<u64, StoreError> {
    exec!(
        tx,
        "insert into day_to_rate (account_id, day, mark) \
         select distinct t.account_id, t.day, cast(1 as bigint) from tier_use t join account a on a.id = t.account_id \
         where a.payer_id = $1 and t.tier_key = $2 and t.day < $5 and (t.day > $3 or (t.day = $3 and t.account_id > $4)) \
         on conflict (account_id, day) do update set mark = day_to_rate.mark + 1",
        payer,
        tier_key,
        after.0,
        after.1,
        month_end
    )
}

/// Takes a day off the list, unless it was marked again meanwhile.
pub async fn clear_day_to_rate(tx: &mut Tx, day: DayToRate) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "delete from day_to_rate where account_id = $1 and day = $2 and mark = $3",
        day.account_id,
        day.day,
        day.mark
    )? == 1)
}

/// The charges of an account on a day.
pub async fn list_charge_days(tx: &mut Tx, account: AccountId, day: Day) -> Result<Vec<ChargeDay>, StoreError> {
    all!(
        tx,
        ChargeDay,
        "select account_id, day, usage_type, book_id, records, unpriced, failed, issue, net_nanos, tax_percent, \
           posted_net_micros, posted_tax_micros, postings, closed, verdict_nanos, \
           repost_item, terms_id from charge_day where account_id = $1 and day = $2 order by usage_type",
        account,
        day
    )
}

/// Charges whose posting is not up to date, for days before `until`.
pub async fn list_unsettled(tx: &mut Tx, until: Option<Day>, limit: i64) -> Result<Vec<ChargeDay>, StoreError> {
    all!(
        tx,
        ChargeDay,
        "select account_id, day, usage_type, book_id, records, unpriced, failed, issue, net_nanos, tax_percent, \
           posted_net_micros, posted_tax_micros, postings, closed, verdict_nanos, \
           repost_item, terms_id from charge_day where unsettled = 1 and ($1 is null or day < $1) \
         order by day, account_id, usage_type limit $2",
        until,
        limit
    )
}

/// What of one payer's accounts is not posted as it is rated.
pub async fn list_unsettled_of(tx: &mut Tx, payer: PayerId) -> Result<Vec<ChargeDay>, StoreError> {
    all!(
        tx,
        ChargeDay,
        "select account_id, day, usage_type, book_id, records, unpriced, failed, issue, net_nanos, tax_percent, \
           posted_net_micros, posted_tax_micros, postings, closed, verdict_nanos, \
           repost_item, terms_id from charge_day \
         where account_id in (select id from account where payer_id = $1) and unsettled = 1 \
         order by day, account_id, usage_type",
        payer
    )
}

/// Notes that a charge was posted as far as `net` and `tax`; `transfers` more transfers were needed (none where nothing differed).
/// `row` is what was read before: where the day costs something else by now, it stays on the list, and so does an order to post it anew
/// that came meanwhile.
pub async fn settle_charge_day(
    tx: &mut Tx,
    row: &ChargeDay,
    net_micros: i64,
    tax_micros: i64,
    transfers: i64,
) -> Result<(), StoreError> {
    let changed = exec!(
        tx,
        "update charge_day set posted_net_micros = $1, posted_tax_micros = $2, postings = postings + $3, closed = 1, \
           unsettled = case when net_nanos = $8 and coalesce(tax_percent, '') = $9 then 0 else unsettled end, \
           repost_item = case when repost_item = $10 then null else repost_item end \
         where account_id = $4 and day = $5 and usage_type = $6 and postings = $7",
        net_micros,
        tax_micros,
        transfers,
        row.account_id,
        row.day,
        row.usage_type,
        row.postings,
        row.net_nanos,
        row.tax_percent.as_deref().unwrap_or_default(),
        row.repost_item
    )?;
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::Nonsense(format!(
            "the charge of account {} on day {} was posted by somebody else meanwhile",
            row.account_id, row.day
        )))
    }
}

/// Every charge of a payer's accounts in `[from, until)`, for pages and reports.
pub async fn list_charges_between(
    tx: &mut Tx,
    account: Option<AccountId>,
    from: Day,
    until: Day,
) -> Result<Vec<ChargeDay>, StoreError> {
    all!(
        tx,
        ChargeDay,
        "select account_id, day, usage_type, book_id, records, unpriced, failed, issue, net_nanos, tax_percent, \
           posted_net_micros, posted_tax_micros, postings, closed, verdict_nanos, \
           repost_item, terms_id from charge_day where ($1 is null or account_id = $1) and day >= $2 and day < $3 \
         order by day, account_id, usage_type",
        account,
        from,
        until
    )
}

/// Usage types seen without a price: (type, lines, first day, last day).
pub async fn list_unpriced(tx: &mut Tx) -> Result<Vec<(i64, i64, i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64, i64, i64),
        "select usage_type, cast(sum(unpriced) as bigint), min(day), max(day) from charge_day where unpriced > 0 \
         group by usage_type order by usage_type"
    )
}

/// Marks the days that are not closed and were rated with another book than the newest.
pub async fn mark_open_days(tx: &mut Tx, newest: PriceBookId) -> Result<u64, StoreError> {
    exec!(
        tx,
        "insert into day_to_rate (account_id, day, mark) \
         select distinct account_id, day, cast(1 as bigint) from charge_day where closed = 0 and book_id <> $1 \
         on conflict (account_id, day) do update set mark = day_to_rate.mark + 1",
        newest
    )
}

/// Every posted charge as the rating side remembers it: (account, day, type, net, tax).
pub async fn list_posted_charges(tx: &mut Tx) -> Result<Vec<(i64, i64, i64, i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64, i64, i64, i64),
        "select account_id, day, usage_type, posted_net_micros, posted_tax_micros from charge_day where postings > 0 \
         order by account_id, day, usage_type"
    )
}
