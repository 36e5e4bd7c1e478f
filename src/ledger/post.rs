//! The stage that posts the charges of closed days.
//!
//! Everything is under a key made before the call; repeated, it changes nothing. A broken amount stops posting for its own
//! account and says so. What people book by hand stands in the modules beside.

use chrono_tz::Tz;

use super::rules::{self, Source};
pub use super::{
    booking::{Cause, Defaults},
    limits::set_limit,
    payments::{add_payment, set_opening_balance},
};
use crate::{
    ids::AccountId,
    money::{Money, MoneyError},
    progress::Progress,
    rating::tax::TaxRate,
    store::{
        Store, StoreError, Tx, cloud,
        ledger::{self as rows, LedgerAccount, NewTransfer},
        payers,
        rating::{self, ChargeDay},
    },
    time::{Clock, Day, Timestamp},
};

/// Charges posted in one transaction.
const CHARGES_PER_TRANSACTION: i64 = 500;

/// Why something was not posted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The amounts do not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// An amount that makes no sense here.
    #[error("{0}")]
    BadAmount(String),
}

/// How charges are posted.
#[derive(Debug, Clone)]
pub struct PostSettings {
    /// Zone of billing days.
    pub zone: Tz,
    /// Tax where a payer has no rate of its own.
    pub tax: TaxRate,
    /// Everything before is fetched and closed.
    pub closed_until: Timestamp,
}

/// What posting did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct PostReport {
    /// Transfers posted.
    pub transfers: u64,
    /// Of them, corrections of a day posted before.
    pub corrections: u64,
    /// Charges that could not be posted, with the reason.
    pub failed: Vec<String>,
}

/// The first day that is not closed: its end is not fetched yet.
pub fn first_open_day(closed_until: Timestamp, zone: Tz) -> Option<Day> {
    Day::of(closed_until, zone)
}

/// Posts what is rated and not posted, for every day that is closed.
pub async fn post_charges(
    store: &Store,
    settings: &PostSettings,
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<PostReport, Error> {
    let mut report = PostReport::default();
    let Some(open) = first_open_day(settings.closed_until, settings.zone) else { return Ok(report) };
    let mut failed: std::collections::HashSet<(i64, i64, i64)> = std::collections::HashSet::new();
    loop {
        let mut tx = store.begin().await?;
        let limit = CHARGES_PER_TRANSACTION + i64::try_from(failed.len()).unwrap_or(0);
        let charges: Vec<ChargeDay> = rating::list_unsettled(&mut tx, Some(open), limit)
            .await?
            .into_iter()
            .filter(|charge| !failed.contains(&(charge.account_id, charge.day, charge.usage_type)))
            .collect();
        if charges.is_empty() {
            return Ok(report);
        }
        for charge in &charges {
            match post_charge(&mut tx, charge, settings, clock.now()).await {
                Ok(0) => {}
                Ok(number) => {
                    report.transfers += 1;
                    report.corrections += u64::from(number > 1);
                }
                Err(Error::Store(error)) => return Err(Error::Store(error)),
                Err(error) => {
                    failed.insert((charge.account_id, charge.day, charge.usage_type));
                    report.failed.push(format!(
                        "account {} on {}, usage type {}: {error}",
                        charge.account_id,
                        Day::from_number(charge.day),
                        charge.usage_type
                    ));
                }
            }
        }
        tx.commit().await?;
        progress.step("charges posted", report.transfers, None);
    }
}

/// Posts the difference between what is rated and what is posted; gives the number of the posting, 0 if nothing differed.
async fn post_charge(tx: &mut Tx, charge: &ChargeDay, settings: &PostSettings, now: Timestamp) -> Result<i64, Error> {
    let account = AccountId::new(charge.account_id);
    // What is left of grants is read below: a revocation or a join meanwhile waits, or is seen.
    let paying = cloud::get_account(tx, account).await?.payer_id;
    payers::lock_payer(tx, paying).await?;
    let account = cloud::get_account(tx, account).await?;
    let payer = cloud::get_payer(tx, account.payer_id).await?;
    let tax_rate = match &payer.tax_percent {
        Some(text) => TaxRate::parse(text).map_err(|error| Error::BadAmount(error.to_string()))?,
        None => settings.tax,
    };
    let day = Day::from_number(charge.day);
    // Cumulative, so that corrections never drift: all net so far, and the tax on all of it.
    let net = Money::round_from_nanos(charge.net_nanos);
    let tax = tax_rate.of(net)?;
    let net_more = net.minus(Money::from_micros(charge.posted_net_micros))?;
    let tax_more = tax.minus(Money::from_micros(charge.posted_tax_micros))?;
    if net_more.is_zero() && tax_more.is_zero() {
        rating::settle_charge_day(tx, charge, net.as_micros(), tax.as_micros(), 0).await?;
        return Ok(0);
    }
    let number = charge.postings + 1;
    let gross = net_more.plus(tax_more)?;
    let end = day.next().start(settings.zone).ok_or(MoneyError::Overflow)?;
    let usage_at = Timestamp::from_ms(end.as_ms() - 1);
    let grants: Vec<rules::Grant> =
        rows::list_grants(tx, Some(payer.id)).await?.into_iter().map(|(_, grant)| grant).collect();
    let sources = if gross.is_negative() {
        let paid_by = rows::list_paid_by(tx, account.id, day, charge.usage_type).await?;
        rules::give_back(gross.negated()?, &paid_by, &grants, now)?.into_iter().collect::<Vec<_>>()
    } else {
        let mut burned = Vec::new();
        for (source, part) in rules::burn(gross, &grants, usage_at, charge.usage_type)? {
            burned.push((source, part.negated()?));
        }
        burned
    };
    let mut entries: Vec<(LedgerAccount, Money)> = sources
        .into_iter()
        .map(|(source, part)| match source {
            Source::Grant(id) => (LedgerAccount::Grant(payer.id, id), part),
            Source::Money => (LedgerAccount::Payer(payer.id), part),
        })
        .collect();
    if !net_more.is_zero() {
        entries.push((LedgerAccount::Revenue(charge.usage_type), net_more));
    }
    if !tax_more.is_zero() {
        entries.push((LedgerAccount::Tax, tax_more));
    }
    let transfer = NewTransfer {
        key: format!("charge/{}/{}/{}/{number}", charge.account_id, day, charge.usage_type),
        kind: if number == 1 { "charge" } else { "correction" },
        payer: payer.id,
        at: usage_at,
        author: "bursar".to_owned(),
        reason: if number == 1 {
            format!("usage of {} on {day}", account.full_name())
        } else {
            format!("correction {} of {} on {day}: CloudStack reported it differently", number - 1, account.full_name())
        },
        entries,
        charge: Some((account.id, day, charge.usage_type, number)),
    };
    rows::post(tx, &transfer, now).await?;
    rating::settle_charge_day(tx, charge, net.as_micros(), tax.as_micros(), 1).await?;
    Ok(number)
}
