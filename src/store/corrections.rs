//! Charges that wait for a person: corrections beyond the limit of their payer, and changes of past prices.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, PriceBookId, RunId, TransferId},
    store::rating::ChargeDay,
    time::{Day, Timestamp},
};

/// The kind of item of corrections beyond the limit.
pub const CORRECTION: &str = "correction";
/// The kind of item of a change of past prices.
pub const PRICE_CHANGE: &str = "price-change";

/// A charge that an item is about.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct ReviewCharge {
    /// The item.
    pub item_id: i64,
    /// The account.
    pub account_id: i64,
    /// The billing day.
    pub day: i64,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Net as posted, billionths.
    pub old_net_nanos: i64,
    /// Net as it would be, billionths.
    pub new_net_nanos: i64,
    /// Tax as posted, percent.
    pub old_tax_percent: Option<String>,
    /// Tax as it would be, percent.
    pub new_tax_percent: Option<String>,
    /// Who the account would be for the price book; None: as kept.
    pub new_terms_id: Option<i64>,
    /// open, released, rejected, overtaken.
    pub state: String,
}

/// An item to be opened.
#[derive(Debug, Clone)]
pub struct NewItem<'a> {
    /// What it is about, so that the same is told once.
    pub key: &'a str,
    /// [`CORRECTION`] or [`PRICE_CHANGE`].
    pub kind: &'static str,
    /// For people.
    pub reason: &'a str,
    /// The run that found it.
    pub run: RunId,
}

/// Opens an item with its charges. The same key again changes nothing and gives None.
pub async fn open_item(
    tx: &mut Tx,
    item: &NewItem<'_>,
    charges: &[ReviewCharge],
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let days = || charges.iter().map(|charge| charge.day);
    let accounts: std::collections::HashSet<i64> = charges.iter().map(|charge| charge.account_id).collect();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let id = maybe!(
        tx,
        (i64,),
        "insert into review_item (key, kind, reason, run_id, first_day, last_day, row_count, waiting, accounts, created_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9) on conflict (key) do nothing returning id",
        item.key,
        item.kind,
        item.reason,
        item.run,
        days().min(),
        days().max(),
        count(charges.len()),
        count(accounts.len()),
        now
    )?;
    let Some((id,)) = id else { return Ok(None) };
    for charge in charges {
        exec!(
            tx,
            "insert into review_charge (item_id, account_id, day, usage_type, old_net_nanos, new_net_nanos, \
               old_tax_percent, new_tax_percent, new_terms_id, state) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open')",
            id,
            charge.account_id,
            charge.day,
            charge.usage_type,
            charge.old_net_nanos,
            charge.new_net_nanos,
            &charge.old_tax_percent,
            &charge.new_tax_percent,
            charge.new_terms_id
        )?;
    }
    Ok(Some(id))
}

/// The charges of an item.
pub async fn list_charges(tx: &mut Tx, item: i64) -> Result<Vec<ReviewCharge>, StoreError> {
    all!(
        tx,
        ReviewCharge,
        "select item_id, account_id, day, usage_type, old_net_nanos, new_net_nanos, old_tax_percent, new_tax_percent, \
           new_terms_id, state \
         from review_charge where item_id = $1 order by account_id, day, usage_type",
        item
    )
}

/// The kind of an item that waits; None: it does not exist or is settled.
pub async fn find_open_kind(tx: &mut Tx, item: i64) -> Result<Option<String>, StoreError> {
    Ok(maybe!(tx, (String,), "select kind from review_item where id = $1 and state = 'open'", item)?
        .map(|(kind,)| kind))
}

/// Gives the verdict on a charge of an item: released, rejected or overtaken. Only an open one changes.
pub async fn settle_charge(tx: &mut Tx, charge: &ReviewCharge, state: &str) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update review_charge set state = $1 where item_id = $2 and account_id = $3 and day = $4 and usage_type = $5 \
           and state = 'open'",
        state,
        charge.item_id,
        charge.account_id,
        charge.day,
        charge.usage_type
    )? == 1)
}

/// Corrections that wait to be posted for days before `until`, and on which no person has given a verdict.
pub async fn list_corrections(tx: &mut Tx, until: Day) -> Result<Vec<ChargeDay>, StoreError> {
    all!(
        tx,
        ChargeDay,
        "select account_id, day, usage_type, book_id, records, unpriced, failed, issue, net_nanos, tax_percent, \
           posted_net_micros, posted_tax_micros, postings, closed, verdict_nanos, \
           repost_item, terms_id from charge_day \
         where unsettled = 1 and day < $1 and postings > 0 and repost_item is null \
           and (verdict_nanos is null or verdict_nanos <> net_nanos) order by account_id, day, usage_type",
        until
    )
}

/// Takes a correction from the list of what is posted, until a person has given a verdict.
pub async fn hold_charge(tx: &mut Tx, charge: &ChargeDay) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update charge_day set unsettled = 2 where account_id = $1 and day = $2 and usage_type = $3 and unsettled = 1",
        charge.account_id,
        charge.day,
        charge.usage_type
    )? == 1)
}

/// Lets a held correction be posted, if the day still costs what the person saw.
pub async fn release_charge(tx: &mut Tx, charge: &ReviewCharge) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update charge_day set unsettled = 1, verdict_nanos = net_nanos \
         where account_id = $1 and day = $2 and usage_type = $3 and unsettled = 2 and net_nanos = $4",
        charge.account_id,
        charge.day,
        charge.usage_type,
        charge.new_net_nanos
    )? == 1)
}

/// Leaves a held correction unposted, if the day still costs what the person saw.
pub async fn reject_charge(tx: &mut Tx, charge: &ReviewCharge) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update charge_day set unsettled = 3, verdict_nanos = net_nanos \
         where account_id = $1 and day = $2 and usage_type = $3 and unsettled = 2 and net_nanos = $4",
        charge.account_id,
        charge.day,
        charge.usage_type,
        charge.new_net_nanos
    )? == 1)
}

/// Orders a day of an account to be rated with another book and, where it was posted, to be reversed and posted anew.
pub async fn order_book(
    tx: &mut Tx,
    account: AccountId,
    day: Day,
    book: PriceBookId,
    terms: Option<i64>,
    item: i64,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into day_book (account_id, day, book_id, item_id) values ($1, $2, $3, $4) \
         on conflict (account_id, day) do update set book_id = excluded.book_id, item_id = excluded.item_id",
        account,
        day,
        book,
        item
    )?;
    exec!(
        tx,
        "update charge_day set repost_item = case when postings > 0 then $1 else repost_item end, \
           terms_id = coalesce($4, terms_id) where account_id = $2 and day = $3",
        item,
        account,
        day,
        terms
    )?;
    Ok(())
}

/// Closes what an item says of charges that cost something else by now, or are posted: it speaks of the past.
pub async fn close_overtaken_charges(tx: &mut Tx) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update review_charge set state = 'overtaken' where state = 'open' \
           and item_id in (select id from review_item where kind = 'correction' and state = 'open') \
           and not exists (select 1 from charge_day c where c.account_id = review_charge.account_id \
             and c.day = review_charge.day and c.usage_type = review_charge.usage_type \
             and c.unsettled = 2 and c.net_nanos = review_charge.new_net_nanos)"
    )
}

/// Counts what still waits in each item of this kind, and settles those in which nothing does.
pub async fn settle_items(
    tx: &mut Tx,
    kind: &str,
    verdict: &str,
    author: &str,
    words: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update review_item set waiting = (select count(*) from review_charge c where c.item_id = review_item.id \
           and c.state = 'open') where kind = $1 and state = 'open'",
        kind
    )?;
    exec!(
        tx,
        "update review_item set state = 'settled', verdict = $1, author = $2, words = $3, settled_ms = $4 \
         where kind = $5 and state = 'open' and waiting = 0",
        verdict,
        author,
        words,
        now,
        kind
    )
}

/// Open items of a kind, oldest first.
pub async fn list_open_items(tx: &mut Tx, kind: &str) -> Result<Vec<i64>, StoreError> {
    Ok(all!(tx, (i64,), "select id from review_item where kind = $1 and state = 'open' order by id", kind)?
        .into_iter()
        .map(|(id,)| id)
        .collect())
}

/// The newest posting of a charge that was not a reversal.
pub async fn find_newest_charge(
    tx: &mut Tx,
    account: AccountId,
    day: Day,
    usage_type: i64,
) -> Result<Option<TransferId>, StoreError> {
    let row = maybe!(
        tx,
        (i64,),
        "select id from transfer where account_id = $1 and day = $2 and usage_type = $3 and kind <> 'reversal' \
         order by number desc limit 1",
        account,
        day,
        usage_type
    )?;
    Ok(row.map(|(id,)| TransferId::new(id)))
}

/// Notes what a transfer reverses, and the item that ordered it. The same again changes nothing.
pub async fn link_transfer(
    tx: &mut Tx,
    transfer: TransferId,
    item: i64,
    reverses: Option<TransferId>,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into transfer_link (transfer_id, item_id, reverses) values ($1, $2, $3) on conflict (transfer_id) do nothing",
        transfer,
        item,
        reverses
    )?;
    Ok(())
}

/// The book that an item of changed prices is about.
pub async fn find_item_book(tx: &mut Tx, item: i64) -> Result<Option<PriceBookId>, StoreError> {
    let text = scalar!(tx, String, "select key from review_item where id = $1", item)?;
    Ok(text
        .strip_prefix("price-change/")
        .and_then(|rest| rest.split('/').next())
        .and_then(|number| number.parse().ok())
        .map(PriceBookId::new))
}

/// Days before `until` that were closed, from `from` on: (account, day), oldest first.
pub async fn list_closed_days(tx: &mut Tx, from: Day, until: Day) -> Result<Vec<(i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64),
        "select distinct account_id, day from charge_day where day >= $1 and day < $2 and closed = 1 \
         order by day, account_id",
        from,
        until
    )
}
