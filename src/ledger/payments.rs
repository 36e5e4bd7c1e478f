//! Money by hand: payments, opening balances, adjustments, refunds.
//!
//! What opens an epoch (design 1: payment, grant, change of limit), and why the others do or do not:
//! - an adjustment upwards is credit like a payment: without an epoch Used would fall below zero and notices stay away;
//! - an adjustment downwards is owed like a charge: an epoch would hide it behind a Used that begins anew at zero;
//! - a refund undoes a payment: without an epoch the money that went back would count as used, and warn or lock for it.

use super::{
    booking::{Cause, Defaults, audit, figures, open_epoch},
    post::Error,
    promo::{self, Bonus},
    rules::Figures,
    standing,
};
use crate::{
    ids::{PayerId, TransferId},
    money::Money,
    store::{
        StoreError, Tx,
        ledger::{self as rows, LedgerAccount, NewTransfer},
        payers,
    },
    time::Timestamp,
};

/// What a payment did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// The transfer.
    pub transfer: TransferId,
    /// The figures right after it.
    pub figures: Figures,
    /// Promo codes that turned into grants with it.
    pub bonuses: Vec<Bonus>,
    /// Promo codes that wait on, with the reason.
    pub waiting: Vec<promo::Waiting>,
}

/// Money that came in, now. Zero and negative amounts are refused: a refund is an entry of its own. Promo codes that waited
/// for it turn into grants in the same transaction.
pub async fn receive(
    tx: &mut Tx,
    payer: PayerId,
    amount: Money,
    cause: Cause<'_>,
    defaults: Defaults,
    now: Timestamp,
) -> Result<Paid, Error> {
    if !amount.is_positive() {
        return Err(Error::BadAmount(format!("a payment of {amount} is not possible; give an amount above zero")));
    }
    payers::lock_payer(tx, payer).await?;
    let key = format!("payment/{}", cause.key);
    let known = rows::find_transfer(tx, &key).await?;
    let entries = vec![(LedgerAccount::Payer(payer), amount), (LedgerAccount::Received, amount.negated()?)];
    let transfer = rows::post(tx, &by_hand(key, "payment", payer, cause, entries, now), now).await?;
    if known.is_some() {
        let figures = figures(tx, payer, defaults, now).await?;
        return Ok(Paid { transfer, figures, bonuses: Vec::new(), waiting: Vec::new() });
    }
    audit(tx, payer, "payment.add", cause, &amount.to_string(), now).await?;
    let (bonuses, waiting) = promo::turn_into_grants(tx, payer, transfer, amount, cause.author, now).await?;
    let figures = open_epoch(tx, payer, "payment", defaults, now).await?;
    Ok(Paid { transfer, figures, bonuses, waiting })
}

/// As [`receive`], for callers that show the figures only.
pub async fn add_payment(
    tx: &mut Tx,
    payer: PayerId,
    amount: Money,
    cause: Cause<'_>,
    defaults: Defaults,
    now: Timestamp,
) -> Result<Figures, Error> {
    Ok(receive(tx, payer, amount, cause, defaults, now).await?.figures)
}

/// What a payer brought in from before bursar: positive is credit, negative is debt. Once a payer.
pub async fn set_opening_balance(
    tx: &mut Tx,
    payer: PayerId,
    amount: Money,
    cause: Cause<'_>,
    defaults: Defaults,
    now: Timestamp,
) -> Result<Figures, Error> {
    payers::lock_payer(tx, payer).await?;
    let key = format!("opening/{payer}");
    if rows::find_transfer(tx, &key).await?.is_some() {
        return Err(Error::BadAmount("this payer has an opening balance already; it is set once".to_owned()));
    }
    let entries = vec![(LedgerAccount::Payer(payer), amount), (LedgerAccount::Opening, amount.negated()?)];
    rows::post(tx, &by_hand(key, "opening", payer, cause, entries, now), now).await?;
    audit(tx, payer, "opening.set", cause, &amount.to_string(), now).await?;
    open_epoch(tx, payer, "opening", defaults, now).await
}

/// A correction by hand: above zero in the payer's favour, below zero against it.
pub async fn add_adjustment(
    tx: &mut Tx,
    payer: PayerId,
    amount: Money,
    cause: Cause<'_>,
    defaults: Defaults,
    now: Timestamp,
) -> Result<Figures, Error> {
    if amount.is_zero() {
        return Err(Error::BadAmount(
            "an adjustment of zero changes nothing; give an amount above or below".to_owned(),
        ));
    }
    payers::lock_payer(tx, payer).await?;
    let key = format!("adjustment/{}", cause.key);
    let known = rows::find_transfer(tx, &key).await?;
    let entries = vec![(LedgerAccount::Payer(payer), amount), (LedgerAccount::Adjustment, amount.negated()?)];
    rows::post(tx, &by_hand(key, "adjustment", payer, cause, entries, now), now).await?;
    if known.is_none() {
        audit(tx, payer, "adjustment.add", cause, &amount.to_string(), now).await?;
        if amount.is_positive() {
            return open_epoch(tx, payer, "adjustment", defaults, now).await;
        }
    }
    figures(tx, payer, defaults, now).await
}

/// What is to be paid back.
#[derive(Debug, Clone, Copy)]
pub struct Refund<'a> {
    /// How much, above zero.
    pub amount: Money,
    /// The payment that it is of, by its key or number.
    pub of: Option<&'a str>,
    /// Pay out more than is there: the payer owes it from then on.
    pub into_debt: bool,
}

/// Money paid back out. Not more than is there, unless that is asked for; of a payment never more than it brought in.
pub async fn add_refund(
    tx: &mut Tx,
    payer: PayerId,
    refund: Refund<'_>,
    cause: Cause<'_>,
    defaults: Defaults,
    now: Timestamp,
) -> Result<Figures, Error> {
    let amount = refund.amount;
    if !amount.is_positive() {
        return Err(Error::BadAmount(format!("a refund of {amount} is not possible; give an amount above zero")));
    }
    payers::lock_payer(tx, payer).await?;
    let key = format!("refund/{}", cause.key);
    let known = rows::find_transfer(tx, &key).await?;
    let payment = match refund.of {
        Some(word) => Some(refundable(tx, payer, word).await?),
        None => None,
    };
    let entries = vec![(LedgerAccount::Payer(payer), amount.negated()?), (LedgerAccount::Received, amount)];
    let transfer = by_hand(key, "refund", payer, cause, entries, now);
    if known.is_some() {
        // The same again is the same transfer; anything else under its key is refused.
        rows::post_linked(tx, &transfer, payment.map(|(id, _)| id), now).await?;
        return figures(tx, payer, defaults, now).await;
    }
    if let Some((_, open)) = payment
        && amount > open
    {
        return Err(Error::BadAmount(format!("of that payment {open} can be paid back, not {amount}")));
    }
    let position = standing::position_of(tx, payer, defaults.0, defaults.1).await?;
    let there = position.money.minus(position.accrued)?.max(Money::ZERO);
    if amount > there && !refund.into_debt {
        return Err(Error::BadAmount(format!(
            "{there} of money is there to be paid back, not {amount} (paid in and not spent {}, used and not charged yet {}); \
             what goes beyond is owed by the payer, and wants to be asked for as such",
            position.money, position.accrued
        )));
    }
    rows::post_linked(tx, &transfer, payment.map(|(id, _)| id), now).await?;
    audit(tx, payer, "refund.add", cause, &amount.to_string(), now).await?;
    open_epoch(tx, payer, "refund", defaults, now).await
}

/// The payment of this key or number, and what can still be paid back of it.
async fn refundable(tx: &mut Tx, payer: PayerId, word: &str) -> Result<(TransferId, Money), Error> {
    let missing = || {
        Error::Store(StoreError::Missing(format!(
            "this payer has no payment \"{word}\"; `bursar account show` lists its transfers, `bursar export csv ledger` with \
             their keys"
        )))
    };
    let found = rows::find_refundable(tx, word).await?.ok_or_else(missing)?;
    let own = found.payer_id == payer
        || payers::find_payer_row(tx, found.payer_id).await?.is_some_and(|row| row.joined_into == Some(payer));
    if found.kind != "payment" || !own {
        return Err(missing());
    }
    Ok((found.id, Money::from_micros(found.amount_micros).minus(Money::from_micros(found.refunded_micros))?))
}

/// A transfer that a person books, now.
pub(super) fn by_hand(
    key: String,
    kind: &'static str,
    payer: PayerId,
    cause: Cause<'_>,
    entries: Vec<(LedgerAccount, Money)>,
    now: Timestamp,
) -> NewTransfer {
    NewTransfer {
        key,
        kind,
        payer,
        at: now,
        author: cause.author.to_owned(),
        reason: cause.reason.to_owned(),
        entries,
        charge: None,
    }
}
