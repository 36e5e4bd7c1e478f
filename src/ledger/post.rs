//! The stage that posts the charges of closed days.
//!
//! Everything is under a key made before the call; repeated, it changes nothing. A broken amount stops posting for its own
//! account and says so. What people book by hand stands in the modules beside.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use chrono_tz::Tz;

pub use super::{
    booking::{Cause, Defaults},
    limits::set_limit,
    payments::{add_payment, set_opening_balance},
};
use super::{
    corrections,
    rules::{self, Source},
};
use crate::{
    ids::{AccountId, PayerId, RunId, TransferId},
    money::{Money, MoneyError},
    progress::Progress,
    rating::tax::TaxRate,
    store::{
        Store, StoreError, Tx, cloud, corrections as correction_rows,
        ledger::{self as rows, LedgerAccount, NewTransfer},
        payers,
        rating::{self, ChargeDay},
        runs,
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
    /// Tax of days that were rated by a release that did not note it.
    pub tax: TaxRate,
    /// Everything before is fetched and closed.
    pub closed_until: Timestamp,
    /// Corrections of one payer beyond this sum (gross, up and down added) wait for a person; None: none do.
    pub correction_limit: Option<Money>,
    /// The run that posts: what waits from one run is one item.
    pub run: RunId,
}

/// What posting did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct PostReport {
    /// Transfers posted.
    pub transfers: u64,
    /// Of them, corrections of a day posted before.
    pub corrections: u64,
    /// Of them, reversals of days whose prices were changed on an administrator's word.
    pub reversals: u64,
    /// Corrections beyond the limit of their payer, which wait for a person now.
    pub held: u64,
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
    if let Some(limit) = settings.correction_limit {
        report.held = corrections::hold(store, settings, limit, open, clock.now()).await?;
    }
    let mut failed: HashSet<(i64, i64, i64)> = HashSet::new();
    loop {
        let mut tx = store.begin().await?;
        let limit = CHARGES_PER_TRANSACTION + i64::try_from(failed.len()).unwrap_or(0);
        let charges: Vec<ChargeDay> = rating::list_unsettled(&mut tx, Some(open), limit)
            .await?
            .into_iter()
            .filter(|charge| !failed.contains(&(charge.account_id, charge.day, charge.usage_type)))
            .collect();
        if charges.is_empty() {
            corrections::close_overtaken(&mut tx, clock.now()).await?;
            runs::commit_for(tx, settings.run).await?;
            return Ok(report);
        }
        let mut desk = Desk::default();
        for charge in &charges {
            match post_charge(&mut tx, &mut desk, charge, settings, clock.now(), &mut report).await {
                Ok(()) => {}
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
        runs::commit_for(tx, settings.run).await?;
        progress.step("charges posted", report.transfers, None);
    }
}

/// What one transaction has looked up already.
#[derive(Default)]
struct Desk {
    accounts: HashMap<i64, (PayerId, String)>,
    grants: HashMap<PayerId, Vec<rules::Grant>>,
}

impl Desk {
    async fn payer(&mut self, tx: &mut Tx, account: i64) -> Result<(PayerId, String), StoreError> {
        if let Some(known) = self.accounts.get(&account) {
            return Ok(known.clone());
        }
        // What is left of grants is read next: a revocation or a join meanwhile waits, or is seen.
        let account_id = AccountId::new(account);
        let paying = cloud::get_account(tx, account_id).await?.payer_id;
        payers::lock_payer(tx, paying).await?;
        let found = cloud::get_account(tx, account_id).await?;
        let known = (found.payer_id, found.full_name());
        self.accounts.insert(account, known.clone());
        Ok(known)
    }

    async fn grants(&mut self, tx: &mut Tx, payer: PayerId) -> Result<&mut Vec<rules::Grant>, StoreError> {
        match self.grants.entry(payer) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(slot) => {
                let grants = rows::list_grants(tx, Some(payer)).await?;
                Ok(slot.insert(grants.into_iter().map(|(_, grant)| grant).collect()))
            }
        }
    }
}

/// The net that a charge comes to, and the tax on it: cumulative, so that corrections never drift.
pub(super) fn due(charge: &ChargeDay, default_tax: TaxRate) -> Result<(Money, Money), Error> {
    let rate = match &charge.tax_percent {
        Some(text) => TaxRate::parse(text).map_err(|error| Error::BadAmount(error.to_string()))?,
        None => default_tax,
    };
    let net = Money::round_from_nanos(charge.net_nanos);
    Ok((net, rate.of(net)?))
}

/// Posts the difference between what is rated and what is posted; after a change of prices, the reversal of everything
/// and the whole anew.
async fn post_charge(
    tx: &mut Tx,
    desk: &mut Desk,
    charge: &ChargeDay,
    settings: &PostSettings,
    now: Timestamp,
    report: &mut PostReport,
) -> Result<(), Error> {
    let (net, tax) = due(charge, settings.tax)?;
    let posted = (Money::from_micros(charge.posted_net_micros), Money::from_micros(charge.posted_tax_micros));
    let mut number = charge.postings;
    let reversal = match charge.repost_item {
        Some(item) if posted != (Money::ZERO, Money::ZERO) && (net, tax) != posted => {
            number += 1;
            let back = (posted.0.negated()?, posted.1.negated()?);
            let reverses = correction_rows::find_newest_charge(
                tx,
                AccountId::new(charge.account_id),
                Day::from_number(charge.day),
                charge.usage_type,
            )
            .await?;
            let why = Why::Reversal { item, reverses };
            post_amounts(tx, desk, charge, settings.zone, (number, back, why), now).await?;
            report.transfers += 1;
            report.reversals += 1;
            Some(item)
        }
        _ => None,
    };
    let before = if reversal.is_some() { (Money::ZERO, Money::ZERO) } else { posted };
    let more = (net.minus(before.0)?, tax.minus(before.1)?);
    if !more.0.is_zero() || !more.1.is_zero() {
        number += 1;
        let why = match reversal {
            Some(item) => Why::Anew { item },
            None => match charge.repost_item {
                // Nothing was posted that could be reversed.
                Some(item) => Why::Anew { item },
                None if number == 1 => Why::Usage,
                None => Why::Correction(number - 1),
            },
        };
        report.corrections += u64::from(matches!(why, Why::Correction(_)));
        post_amounts(tx, desk, charge, settings.zone, (number, more, why), now).await?;
        report.transfers += 1;
    }
    rating::settle_charge_day(tx, charge, net.as_micros(), tax.as_micros(), number - charge.postings).await?;
    Ok(())
}

/// Why an amount of usage is posted.
#[derive(Debug, Clone, Copy)]
enum Why {
    Usage,
    Correction(i64),
    Reversal { item: i64, reverses: Option<TransferId> },
    Anew { item: i64 },
}

/// Posts net and tax (below zero: given back) as posting `number` of a charge.
async fn post_amounts(
    tx: &mut Tx,
    desk: &mut Desk,
    charge: &ChargeDay,
    zone: Tz,
    (number, (net, tax), why): (i64, (Money, Money), Why),
    now: Timestamp,
) -> Result<(), Error> {
    let (payer, account_name) = desk.payer(tx, charge.account_id).await?;
    let account = AccountId::new(charge.account_id);
    let day = Day::from_number(charge.day);
    let gross = net.plus(tax)?;
    let end = day.next().start(zone).ok_or(MoneyError::Overflow)?;
    let usage_at = Timestamp::from_ms(end.as_ms() - 1);
    let grants = desk.grants(tx, payer).await?;
    let sources: Vec<(Source, Money)> = if gross.is_negative() {
        let paid_by = rows::list_paid_by(tx, account, day, charge.usage_type).await?;
        rules::give_back(gross.negated()?, &paid_by, grants, now)?
    } else {
        let mut burned = Vec::new();
        for (source, part) in rules::burn(gross, grants, usage_at, charge.usage_type)? {
            burned.push((source, part.negated()?));
        }
        burned
    };
    for (source, part) in &sources {
        if let Source::Grant(id) = source
            && let Some(grant) = grants.iter_mut().find(|grant| grant.id == *id)
        {
            grant.left = grant.left.plus(*part)?;
        }
    }
    let mut entries: Vec<(LedgerAccount, Money)> = sources
        .into_iter()
        .map(|(source, part)| match source {
            Source::Grant(id) => (LedgerAccount::Grant(payer, id), part),
            Source::Money => (LedgerAccount::Payer(payer), part),
        })
        .collect();
    if !net.is_zero() {
        entries.push((LedgerAccount::Revenue(charge.usage_type), net));
    }
    if !tax.is_zero() {
        entries.push((LedgerAccount::Tax, tax));
    }
    let (kind, reason, item_id, reverses) = match why {
        Why::Usage => ("charge", format!("usage of {account_name} on {day}"), None, None),
        Why::Correction(number) => (
            "correction",
            format!("correction {number} of {account_name} on {day}: CloudStack reported it differently"),
            None,
            None,
        ),
        Why::Reversal { item, reverses } => {
            ("reversal", format!("usage of {account_name} on {day} taken back: prices changed"), Some(item), reverses)
        }
        Why::Anew { item } => {
            ("charge", format!("usage of {account_name} on {day} at the new prices"), Some(item), None)
        }
    };
    let transfer = NewTransfer {
        key: format!("charge/{}/{}/{}/{number}", charge.account_id, day, charge.usage_type),
        kind,
        payer,
        at: usage_at,
        author: "bursar".to_owned(),
        reason,
        entries,
        charge: Some((account, day, charge.usage_type, number)),
    };
    let id = rows::post(tx, &transfer, now).await?;
    if let Some(item) = item_id {
        correction_rows::link_transfer(tx, id, item, reverses).await?;
    }
    Ok(())
}
