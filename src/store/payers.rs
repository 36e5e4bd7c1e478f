//! Payers as the ledger needs them: locked while their money moves, joined, and with terms of their own.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, PayerId},
    time::{Day, Timestamp},
};

/// A payer with what an administrator sets for it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct PayerRow {
    /// Number in the store.
    pub id: PayerId,
    /// A name for people.
    pub name: String,
    /// account or customer.
    pub kind: String,
    /// The class of policy.
    pub class: Option<String>,
    /// First billing day, where it differs from the cloud's.
    pub billing_start_day: Option<i64>,
    /// Tax rate in percent, where it differs from the cloud's.
    pub tax_percent: Option<String>,
    /// The customer that it went into.
    pub joined_into: Option<PayerId>,
    /// How many accounts it pays for.
    pub accounts: i64,
}

/// Nobody else moves this payer's money until the transaction ends. SQLite has one writer anyway; on PostgreSQL the row
/// is locked, so that two payments, grants or redemptions of one payer take turns and see each other. One that went into a
/// customer meanwhile is refused: nothing is booked to somebody who is not there any more.
pub async fn lock_payer(tx: &mut Tx, payer: PayerId) -> Result<(), StoreError> {
    match exec!(tx, "update payer set name = name where id = $1 and joined_into is null", payer)? {
        1 => Ok(()),
        _ => Err(StoreError::Missing(format!(
            "there is no payer number {payer}, or a customer pays in its place; look again"
        ))),
    }
}

/// Every payer, by name.
pub async fn list_payer_rows(tx: &mut Tx) -> Result<Vec<PayerRow>, StoreError> {
    all!(
        tx,
        PayerRow,
        "select p.id, p.name, p.kind, p.class, p.billing_start_day, p.tax_percent, p.joined_into, \
           (select count(*) from account a where a.payer_id = p.id) as accounts \
         from payer p order by p.name, p.id"
    )
}

/// A payer by its number.
pub async fn find_payer_row(tx: &mut Tx, payer: PayerId) -> Result<Option<PayerRow>, StoreError> {
    maybe!(
        tx,
        PayerRow,
        "select p.id, p.name, p.kind, p.class, p.billing_start_day, p.tax_percent, p.joined_into, \
           (select count(*) from account a where a.payer_id = p.id) as accounts \
         from payer p where p.id = $1",
        payer
    )
}

/// Makes a customer.
pub async fn insert_customer(
    tx: &mut Tx,
    name: &str,
    class: Option<&str>,
    billing_start_day: Option<i64>,
    tax_percent: Option<&str>,
    now: Timestamp,
) -> Result<PayerId, StoreError> {
    let id = scalar!(
        tx,
        i64,
        "insert into payer (name, kind, class, billing_start_day, tax_percent, created_ms) \
         values ($1, 'customer', $2, $3, $4, $5) returning id",
        name,
        class,
        billing_start_day,
        tax_percent,
        now
    )?;
    Ok(PayerId::new(id))
}

/// From now on another payer pays for the account.
pub async fn move_account(tx: &mut Tx, account: AccountId, from: PayerId, into: PayerId) -> Result<(), StoreError> {
    let moved = exec!(tx, "update account set payer_id = $1 where id = $2 and payer_id = $3", into, account, from)?;
    if moved != 1 {
        return Err(StoreError::Missing("somebody else moved the account meanwhile; look again".to_owned()));
    }
    Ok(())
}

/// Nobody is behind this payer any more: nothing is booked to it from now on, and no warning of its stands.
pub async fn retire_payer(tx: &mut Tx, payer: PayerId, into: PayerId) -> Result<(), StoreError> {
    exec!(tx, "delete from rung_watch where payer_id = $1", payer)?;
    exec!(tx, "update payer set joined_into = $1 where id = $2", into, payer)?;
    Ok(())
}

/// Sets a payer's first billing day, or leaves it to the cloud's.
pub async fn put_billing_start(tx: &mut Tx, payer: PayerId, day: Option<Day>) -> Result<(), StoreError> {
    exec!(tx, "update payer set billing_start_day = $1 where id = $2", day.map(Day::number), payer)?;
    Ok(())
}

/// Sets a payer's class.
pub async fn put_class(tx: &mut Tx, payer: PayerId, class: Option<&str>) -> Result<(), StoreError> {
    exec!(tx, "update payer set class = $1 where id = $2", class, payer)?;
    Ok(())
}

/// The span of the usage records of each account of a payer: (account, first instant, first instant after). Days whose records
/// are summed up: `compaction::list_summed_days`.
pub async fn list_usage_spans(
    tx: &mut Tx,
    payer: PayerId,
) -> Result<Vec<(AccountId, Timestamp, Timestamp)>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64, i64),
        "select r.account_id, min(r.start_ms), max(r.end_ms) from usage_record r join account a on a.id = r.account_id \
         where a.payer_id = $1 group by r.account_id order by r.account_id",
        payer
    )?;
    Ok(rows
        .into_iter()
        .map(|(account, first, end)| (AccountId::new(account), Timestamp::from_ms(first), Timestamp::from_ms(end)))
        .collect())
}

/// Asks for a day of an account to be rated again.
pub async fn mark_day(tx: &mut Tx, account: AccountId, day: Day) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into day_to_rate (account_id, day, mark) values ($1, $2, 1) \
         on conflict (account_id, day) do update set mark = day_to_rate.mark + 1",
        account,
        day
    )?;
    Ok(())
}

/// Asks for every charged day of a payer's accounts from a day on to be rated again.
pub async fn mark_charged_from(tx: &mut Tx, payer: PayerId, from: Day) -> Result<u64, StoreError> {
    exec!(
        tx,
        "insert into day_to_rate (account_id, day, mark) \
           select distinct c.account_id, c.day, cast(1 as bigint) from charge_day c join account a on a.id = c.account_id \
           where a.payer_id = $1 and c.day >= $2 \
         on conflict (account_id, day) do update set mark = day_to_rate.mark + 1",
        payer,
        from
    )
}
