//! The standing of payers: their figures, what they burn, and how fresh the data is. Derived, never stored.

use std::collections::HashMap;

use chrono_tz::Tz;

use super::rules::{self, Figures, Position};
use crate::{
    ids::PayerId,
    money::{Money, MoneyError},
    rating::tax::TaxRate,
    store::{
        StoreError, Tx, cloud, ledger as rows,
        rating::{self, ChargeDay},
    },
    time::{Day, Timestamp},
};

/// The burn rate is the average over so many closed days.
pub const BURN_DAYS: u32 = 7;

/// Why a standing could not be worked out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The amounts do not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// A payer at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whose.
    pub payer: PayerId,
    /// Whether a limit or a default applies.
    pub managed: bool,
    /// Whether a person said that no limit applies, and not only a default is lacking.
    pub limit_removed: bool,
    /// The figures.
    pub figures: Figures,
    /// Gross charges a day on average.
    pub per_day: Money,
    /// Whole days until Available is used up at this rate.
    pub days_left: Option<i64>,
    /// The newest epoch, 0 where there is none.
    pub epoch: i64,
}

/// The limit that applies: the payer's own, or the default; None: not managed.
fn limit_of(own: Option<&Option<Money>>, default_limit: Option<Money>) -> Option<Money> {
    own.map_or(default_limit, |limit| *limit)
}

/// What the figures of one payer are made of.
pub async fn position_of(
    tx: &mut Tx,
    payer: PayerId,
    default_limit: Option<Money>,
    tax: TaxRate,
) -> Result<Position, crate::ledger::post::Error> {
    let own = rows::find_limit(tx, payer).await?;
    let grants = rows::list_grants(tx, Some(payer)).await?.into_iter().map(|(_, grant)| grant).collect();
    let money = rows::get_balance(tx, rows::LedgerAccount::Payer(payer)).await?;
    let accrued = accrued_of(tx, payer, tax).await.map_err(|error| match error {
        Error::Store(error) => crate::ledger::post::Error::Store(error),
        Error::Money(error) => crate::ledger::post::Error::Money(error),
    })?;
    let epoch_available = rows::find_epoch(tx, payer).await?.map(|(_, available)| available);
    Ok(Position { limit: limit_of(own.as_ref(), default_limit), grants, money, accrued, epoch_available })
}

/// Rated and not posted, with tax, of one payer. What waits for a person is not in it.
async fn accrued_of(tx: &mut Tx, payer: PayerId, default_tax: TaxRate) -> Result<Money, Error> {
    let mut sum = Money::ZERO;
    for charge in rating::list_unsettled_of(tx, payer).await? {
        sum = sum.plus(open(&charge, default_tax)?)?;
    }
    Ok(sum)
}

/// The same of every payer.
async fn accrued(tx: &mut Tx, default_tax: TaxRate) -> Result<HashMap<PayerId, Money>, Error> {
    let payers: HashMap<i64, PayerId> =
        cloud::list_accounts(tx).await?.into_iter().map(|account| (account.id.get(), account.payer_id)).collect();
    let mut sums: HashMap<PayerId, Money> = HashMap::new();
    for charge in rating::list_unsettled(tx, None, i64::MAX).await? {
        let Some(payer) = payers.get(&charge.account_id) else { continue };
        let sum = sums.entry(*payer).or_insert(Money::ZERO);
        *sum = sum.plus(open(&charge, default_tax)?)?;
    }
    Ok(sums)
}

/// What of a charge is not posted, with tax.
fn open(charge: &ChargeDay, default_tax: TaxRate) -> Result<Money, MoneyError> {
    let net = Money::round_from_nanos(charge.net_nanos);
    let rate = charge.tax_percent.as_deref().and_then(|text| TaxRate::parse(text).ok()).unwrap_or(default_tax);
    let posted = Money::from_micros(charge.posted_net_micros).plus(Money::from_micros(charge.posted_tax_micros))?;
    net.plus(rate.of(net)?)?.minus(posted)
}

/// The standing of every payer, in a handful of queries.
pub async fn list_standings(
    tx: &mut Tx,
    default_limit: Option<Money>,
    tax: TaxRate,
    zone: Tz,
    closed_until: Option<Timestamp>,
    now: Timestamp,
) -> Result<Vec<Standing>, Error> {
    let limits = rows::list_limits(tx).await?;
    let epochs = rows::list_epochs(tx).await?;
    let money = rows::list_money(tx).await?;
    let accrued = accrued(tx, tax).await?;
    let mut grants: HashMap<PayerId, Vec<rules::Grant>> = HashMap::new();
    for (payer, grant) in rows::list_grants(tx, None).await? {
        grants.entry(payer).or_default().push(grant);
    }
    let open = closed_until.and_then(|until| Day::of(until, zone));
    let (charged, first_day) = match open {
        Some(open) => {
            let first = Day::from_number(open.number() - i64::from(BURN_DAYS));
            (rows::list_charged(tx, first, open).await?, Some(rows::list_first_charged(tx, first, open).await?))
        }
        None => (HashMap::new(), None),
    };
    let mut standings = Vec::new();
    for payer in cloud::list_payers(tx).await? {
        let limit = limit_of(limits.get(&payer.id), default_limit);
        let epoch = epochs.get(&payer.id);
        let position = Position {
            limit,
            grants: grants.remove(&payer.id).unwrap_or_default(),
            money: money.get(&payer.id).copied().unwrap_or(Money::ZERO),
            accrued: accrued.get(&payer.id).copied().unwrap_or(Money::ZERO),
            epoch_available: epoch.map(|(_, available, _)| *available),
        };
        let first = first_day.as_ref().and_then(|first| first.get(&payer.id).copied());
        let burnt = open.map(|open| (charged.get(&payer.id).copied().unwrap_or(Money::ZERO), first, open));
        let standing = standing_at(payer.id, &position, burnt, epoch.map_or(0, |(id, _, _)| *id), now)?;
        standings.push(Standing { limit_removed: limits.get(&payer.id) == Some(&None), ..standing });
    }
    Ok(standings)
}

/// The standing of one payer, without a look at the others: what a page shows must not grow with the cloud. The same figures as
/// in [`list_standings`].
pub async fn get_standing(
    tx: &mut Tx,
    payer: PayerId,
    default_limit: Option<Money>,
    tax: TaxRate,
    (zone, closed_until): (Tz, Option<Timestamp>),
    now: Timestamp,
) -> Result<Standing, Error> {
    let own = rows::find_limit(tx, payer).await?;
    let epoch = rows::find_epoch(tx, payer).await?;
    let position = Position {
        limit: limit_of(own.as_ref(), default_limit),
        grants: rows::list_grants(tx, Some(payer)).await?.into_iter().map(|(_, grant)| grant).collect(),
        money: rows::get_balance(tx, rows::LedgerAccount::Payer(payer)).await?,
        accrued: accrued_of(tx, payer, tax).await?,
        epoch_available: epoch.map(|(_, available)| available),
    };
    let burnt = match closed_until.and_then(|until| Day::of(until, zone)) {
        Some(open) => {
            let first = Day::from_number(open.number() - i64::from(BURN_DAYS));
            let (sum, first) = rows::get_charged(tx, payer, first, open).await?;
            Some((sum, first, open))
        }
        None => None,
    };
    let standing = standing_at(payer, &position, burnt, epoch.map_or(0, |(id, _)| id), now)?;
    Ok(Standing { limit_removed: own == Some(None), ..standing })
}

/// `burnt`: what the last days cost, the first of them with a charge, and the day that is still open.
fn standing_at(
    payer: PayerId,
    position: &Position,
    burnt: Option<(Money, Option<Day>, Day)>,
    epoch: i64,
    now: Timestamp,
) -> Result<Standing, Error> {
    let figures = Figures::of(position, now)?;
    // A payer that began two days ago has burnt for two days and not for seven.
    let per_day = match burnt {
        Some((sum, Some(first), open)) => {
            let days = u32::try_from(open.number() - first.number()).unwrap_or(0).min(BURN_DAYS);
            rules::burn_rate_per_day(sum, days).unwrap_or(Money::ZERO)
        }
        _ => Money::ZERO,
    };
    Ok(Standing {
        payer,
        managed: position.limit.is_some(),
        limit_removed: false,
        figures,
        per_day,
        days_left: rules::days_left(figures.available, per_day),
        epoch,
    })
}
