//! What several things together cost a customer over a time, line by line and with tax, by the function that prices records.
//!
//! Amounts are added up as a bill does it: each day's net of a type is rounded to money, then summed.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::{
    book::{PriceBook, TariffRef},
    discount::DiscountRef,
    narrowing::{Customer, Features},
    rater::{RateError, Rated, Rater, Usage},
    tax::TaxRate,
    tiers::TierUse,
};
use crate::{
    money::{Money, MoneyError},
    time::Day,
};

/// Something to be estimated.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// As a record of the whole time would report it.
    pub usage: Usage,
    /// What else is known of it.
    pub features: Features<'w>,
}

/// What one tariff asks for one of the things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EstimateLine {
    /// The place of the thing in the list that was asked for.
    pub item: usize,
    /// The tariff.
    pub tariff: TariffRef,
    /// Which of its steps.
    pub tier: Option<u8>,
    /// What was taken off.
    pub discount: Option<DiscountRef>,
    /// The quantity, as it is stored.
    pub quantity: i64,
    /// Net before the discount.
    pub list: Money,
    /// Net.
    pub net: Money,
}

/// The sum of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Estimate {
    /// By thing, tariff, step and discount.
    pub lines: Vec<EstimateLine>,
    /// The places of things that have no price, at some time at least.
    pub unpriced: Vec<usize>,
    /// The places of things that are free.
    pub free: Vec<usize>,
    /// All of it, net.
    pub net: Money,
    /// The rates, what each is on, and the tax.
    pub taxes: Vec<(TaxRate, Money, Money)>,
    /// With tax.
    pub gross: Money,
}

/// Why there is no estimate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EstimateError {
    /// Something could not be priced.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// A sum does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

type LineKey = (usize, TariffRef, Option<u8>, Option<DiscountRef>);

/// Estimates a list of things. `used`: what the payer has used at graduated prices so far; it is added there. `otherwise`: the
/// tax rate where the book has none.
pub fn estimate(
    book: &PriceBook,
    customer: &Customer,
    zone: Tz,
    wanted: &[Wanted<'_>],
    used: &mut TierUse,
    otherwise: TaxRate,
) -> Result<Estimate, EstimateError> {
    let mut estimate = Estimate::default();
    let mut rater = Rater::new(book, zone, customer);
    let mut lines: BTreeMap<LineKey, (i64, i64, i64)> = BTreeMap::new();
    let mut days: BTreeMap<(Day, i32), i64> = BTreeMap::new();
    for (item, thing) in wanted.iter().enumerate() {
        let prices = rater.find_prices(thing.usage.usage_type, &thing.features);
        let charge = match rater.rate(&thing.usage, &prices, used)? {
            Rated::Charged(charge) => charge,
            Rated::Free => {
                estimate.free.push(item);
                continue;
            }
            Rated::Unpriced => {
                estimate.unpriced.push(item);
                continue;
            }
        };
        if !charge.unpriced().is_empty() {
            estimate.unpriced.push(item);
        }
        for part in charge.parts() {
            let line = lines.entry((item, part.tariff, part.tier, part.discount)).or_default();
            line.0 = added(line.0, part.quantity)?;
            line.1 = added(line.1, part.list_nanos)?;
            line.2 = added(line.2, part.amount_nanos)?;
            let day = days.entry((part.day, thing.usage.usage_type)).or_default();
            *day = added(*day, part.amount_nanos)?;
        }
    }
    for ((item, tariff, tier, discount), (quantity, list_nanos, nanos)) in lines {
        let (list, net) = (Money::round_from_nanos(list_nanos), Money::round_from_nanos(nanos));
        estimate.lines.push(EstimateLine { item, tariff, tier, discount, quantity, list, net });
    }
    let mut by_rate: BTreeMap<TaxRate, Money> = BTreeMap::new();
    for ((day, _), nanos) in days {
        let net = Money::round_from_nanos(nanos);
        let sum = by_rate.entry(book.tax(customer, day).unwrap_or(otherwise)).or_insert(Money::ZERO);
        *sum = sum.plus(net)?;
    }
    for (rate, net) in by_rate {
        let tax = rate.of(net)?;
        estimate.net = estimate.net.plus(net)?;
        estimate.gross = estimate.gross.plus(net)?.plus(tax)?;
        estimate.taxes.push((rate, net, tax));
    }
    Ok(estimate)
}

fn added(sum: i64, more: i64) -> Result<i64, MoneyError> {
    sum.checked_add(more).ok_or(MoneyError::Overflow)
}
