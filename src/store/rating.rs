//! Price books, days to rate, rated lines and the charge of each billing day.

use super::{StoreError, Tx, all, bulk, exec, maybe, scalar};
use crate::{
    ids::{AccountId, PriceBookId},
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
    /// Lines rated.
    pub records: i64,
    /// Lines without a price.
    pub unpriced: i64,
    /// Net, billionths.
    pub net_nanos: i64,
    /// Net posted so far, millionths.
    pub posted_net_micros: i64,
    /// Tax posted so far, millionths.
    pub posted_tax_micros: i64,
    /// How many transfers it took.
    pub postings: i64,
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

/// The currency of the books in the store: a cloud has one.
pub async fn find_currency(tx: &mut Tx) -> Result<Option<String>, StoreError> {
    Ok(maybe!(tx, (String,), "select currency from price_book order by id limit 1")?.map(|(currency,)| currency))
}

/// Days to rate, oldest first.
pub async fn list_days_to_rate(tx: &mut Tx, limit: i64) -> Result<Vec<DayToRate>, StoreError> {
    all!(tx, DayToRate, "select account_id, day, mark from day_to_rate order by day, account_id limit $1", limit)
}

/// How many days wait to be rated.
pub async fn count_days_to_rate(tx: &mut Tx) -> Result<i64, StoreError> {
    scalar!(tx, i64, "select count(*) from day_to_rate")
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

/// The book that a day of an account was rated with before, if it was.
pub async fn find_book_of_day(tx: &mut Tx, account: AccountId, day: Day) -> Result<Option<PriceBookId>, StoreError> {
    let row = maybe!(
        tx,
        (i64,),
        "select min(book_id) from charge_day where account_id = $1 and day = $2 and postings > 0 having count(*) > 0",
        account,
        day
    )?;
    Ok(row.map(|(id,)| PriceBookId::new(id)))
}

/// Replaces the rated lines of a day.
pub async fn replace_rated(tx: &mut Tx, account: AccountId, day: Day, rows: &[bulk::NewRated]) -> Result<(), StoreError> {
    exec!(tx, "delete from rated where account_id = $1 and day = $2", account, day)?;
    bulk::insert_rated(tx, account.get(), day.number(), rows).await
}

/// Stores what a day costs by usage type; what was posted stays.
pub async fn put_charge_day(
    tx: &mut Tx,
    row: &ChargeDay,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into charge_day (account_id, day, usage_type, book_id, records, unpriced, net_nanos, unsettled) \
         values ($1, $2, $3, $4, $5, $6, $7, 1) on conflict (account_id, day, usage_type) do update set \
           book_id = excluded.book_id, records = excluded.records, unpriced = excluded.unpriced, \
           net_nanos = excluded.net_nanos, unsettled = 1",
        row.account_id,
        row.day,
        row.usage_type,
        row.book_id,
        row.records,
        row.unpriced,
        row.net_nanos
    )?;
    Ok(())
}

/// The charges of an account on a day.
pub async fn list_charge_days(tx: &mut Tx, account: AccountId, day: Day) -> Result<Vec<ChargeDay>, StoreError> {
    all!(
        tx,
        ChargeDay,
        "select account_id, day, usage_type, book_id, records, unpriced, net_nanos, posted_net_micros, posted_tax_micros, \
           postings from charge_day where account_id = $1 and day = $2 order by usage_type",
        account,
        day
    )
}

/// Charges whose posting is not up to date, for days before `until`.
pub async fn list_unsettled(tx: &mut Tx, until: Option<Day>, limit: i64) -> Result<Vec<ChargeDay>, StoreError> {
    all!(
        tx,
        ChargeDay,
        "select account_id, day, usage_type, book_id, records, unpriced, net_nanos, posted_net_micros, posted_tax_micros, \
           postings from charge_day where unsettled = 1 and ($1 is null or day < $1) \
         order by day, account_id, usage_type limit $2",
        until,
        limit
    )
}

/// Notes that a charge was posted as far as `net` and `tax`; `transfers` more transfers were needed (none where nothing differed).
pub async fn settle_charge_day(
    tx: &mut Tx,
    row: &ChargeDay,
    net_micros: i64,
    tax_micros: i64,
    transfers: i64,
) -> Result<(), StoreError> {
    let changed = exec!(
        tx,
        "update charge_day set posted_net_micros = $1, posted_tax_micros = $2, postings = postings + $3, unsettled = 0 \
         where account_id = $4 and day = $5 and usage_type = $6 and postings = $7",
        net_micros,
        tax_micros,
        transfers,
        row.account_id,
        row.day,
        row.usage_type,
        row.postings
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
        "select account_id, day, usage_type, book_id, records, unpriced, net_nanos, posted_net_micros, posted_tax_micros, \
           postings from charge_day where ($1 is null or account_id = $1) and day >= $2 and day < $3 \
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

/// Rated lines that failed, with the reason: (account, day, type, reason).
pub async fn list_failed(tx: &mut Tx, limit: i64) -> Result<Vec<(i64, i64, i64, String)>, StoreError> {
    all!(
        tx,
        (i64, i64, i64, String),
        "select account_id, day, usage_type, coalesce(note, '') from rated where outcome = 'failed' \
         order by day, account_id, usage_type limit $1",
        limit
    )
}

/// Marks every day from `from` on that has current records, to be rated again with the newest book.
pub async fn mark_all_from(tx: &mut Tx, from: Day) -> Result<u64, StoreError> {
    exec!(
        tx,
        "insert into day_to_rate (account_id, day, mark) select distinct account_id, day, cast(1 as bigint) from charge_day where day >= $1 \
         on conflict (account_id, day) do update set mark = day_to_rate.mark + 1",
        from
    )
}

/// Current records that no rated line speaks of though their day is not waiting to be rated: there must be none.
pub async fn count_unrated(tx: &mut Tx, first: Timestamp) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "select count(*) from usage_record r where r.standing = 0 and r.start_ms >= $1 \
           and not exists (select 1 from rated x where x.record_key = r.key and x.account_id = r.account_id) \
           and not exists (select 1 from day_to_rate d where d.account_id = r.account_id)",
        first
    )
}

/// Charges that differ from the sum of their rated lines: (account, day, type, stored, from lines).
pub async fn list_wrong_charges(tx: &mut Tx) -> Result<Vec<(i64, i64, i64, i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64, i64, i64, i64),
        "select c.account_id, c.day, c.usage_type, c.net_nanos, cast(coalesce(sum(x.amount_nanos), 0) as bigint) \
         from charge_day c left join rated x on x.account_id = c.account_id and x.day = c.day and x.usage_type = c.usage_type \
         group by c.account_id, c.day, c.usage_type, c.net_nanos \
         having c.net_nanos <> coalesce(sum(x.amount_nanos), 0) order by c.account_id, c.day, c.usage_type"
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
