//! Corrections beyond the limit of their payer: they wait for a person (design 2.1), grouped by the run that found them.
//!
//! What waits is neither posted nor accrued, so nobody is warned or suspended for it. Only posted days have corrections: a
//! first charge is never held back.

use std::collections::HashMap;

use super::post::{Error, PostSettings, due};
use crate::{
    ids::PayerId,
    money::Money,
    store::{
        Store, StoreError, Tx, cloud,
        corrections::{self as rows, CORRECTION, NewItem, ReviewCharge},
        rating::ChargeDay,
        runs::{self, AuditLine},
    },
    time::{Day, Timestamp},
};

/// Holds back the corrections of every payer whose sum, up and down added, is beyond the limit. Gives how many.
pub(super) async fn hold(
    store: &Store,
    settings: &PostSettings,
    limit: Money,
    open: Day,
    now: Timestamp,
) -> Result<u64, Error> {
    let mut tx = store.begin().await?;
    let charges = rows::list_corrections(&mut tx, open).await?;
    if charges.is_empty() {
        return Ok(0);
    }
    let payers: HashMap<i64, PayerId> =
        cloud::list_accounts(&mut tx).await?.into_iter().map(|account| (account.id.get(), account.payer_id)).collect();
    let mut by_payer: HashMap<PayerId, (Money, Vec<&ChargeDay>)> = HashMap::new();
    for charge in &charges {
        let Some(payer) = payers.get(&charge.account_id) else { continue };
        let (net, tax) = due(charge, settings.tax)?;
        let more = net
            .plus(tax)?
            .minus(Money::from_micros(charge.posted_net_micros))?
            .minus(Money::from_micros(charge.posted_tax_micros))?;
        let (sum, list) = by_payer.entry(*payer).or_insert((Money::ZERO, Vec::new()));
        *sum = sum.plus(if more.is_negative() { more.negated()? } else { more })?;
        if !more.is_zero() {
            list.push(charge);
        }
    }
    let mut held: Vec<ReviewCharge> = Vec::new();
    for (_, list) in by_payer.into_values().filter(|(sum, _)| *sum > limit) {
        for charge in list {
            if rows::hold_charge(&mut tx, charge).await? {
                held.push(ReviewCharge {
                    item_id: 0,
                    account_id: charge.account_id,
                    day: charge.day,
                    usage_type: charge.usage_type,
                    old_net_nanos: charge
                        .posted_net_micros
                        .checked_mul(1_000)
                        .ok_or(crate::money::MoneyError::Overflow)?,
                    new_net_nanos: charge.net_nanos,
                    old_tax_percent: charge.tax_percent.clone(),
                    new_tax_percent: charge.tax_percent.clone(),
                    new_terms_id: None,
                    state: "open".to_owned(),
                });
            }
        }
    }
    if !held.is_empty() {
        let key = format!("correction/{}", settings.run);
        let reason = format!("corrections of a payer beyond {limit}, the limit of what is corrected without a person");
        let item = NewItem { key: &key, kind: CORRECTION, reason: &reason, run: settings.run };
        rows::open_item(&mut tx, &item, &held, now).await?;
    }
    runs::commit_for(tx, settings.run).await?;
    Ok(held.len() as u64)
}

/// Closes what items say of charges that were corrected otherwise meanwhile.
pub(super) async fn close_overtaken(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    if rows::list_open_items(tx, CORRECTION).await?.is_empty() {
        return Ok(());
    }
    rows::close_overtaken_charges(tx).await?;
    rows::settle_items(tx, CORRECTION, "cured", "bursar", "the days cost something else by now", now).await?;
    Ok(())
}

/// Gives a person's verdict on the corrections of an item, of one account or of all: released ones are posted by the next
/// run, rejected ones stay as posted. What costs something else by now is left for the next run to judge. Gives how many.
pub async fn settle(
    tx: &mut Tx,
    item: i64,
    release: bool,
    account: Option<i64>,
    (author, words): (&str, &str),
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut settled = 0;
    for charge in rows::list_charges(tx, item).await? {
        if charge.state != "open" || account.is_some_and(|account| account != charge.account_id) {
            continue;
        }
        let fits =
            if release { rows::release_charge(tx, &charge).await? } else { rows::reject_charge(tx, &charge).await? };
        let state = match (fits, release) {
            (true, true) => "released",
            (true, false) => "rejected",
            (false, _) => "overtaken",
        };
        settled += u64::from(rows::settle_charge(tx, &charge, state).await? && fits);
    }
    let verdict = if release { "release" } else { "reject" };
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: author.to_owned(),
        action: format!("correction.{verdict}"),
        subject: format!("review item {item}"),
        after_state: Some(format!("{settled} charges")),
        answer: Some(words.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await?;
    rows::settle_items(tx, CORRECTION, verdict, author, words, now).await?;
    Ok(settled)
}
