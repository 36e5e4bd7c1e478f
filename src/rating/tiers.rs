//! Graduated prices: what of a month's use falls on which step, and how much was used so far.
//!
//! Steps are half-open: use from nothing to just below the first `up_to` costs the first price, and so on. Each unit of
//! use costs the price of the step it falls on; reaching a step changes nothing about the use before it.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::time::Month;

/// Billionths of a unit in one unit: the precision at which use is counted.
pub const NANOS_PER_USED_UNIT: i64 = 1_000_000_000;
/// The most steps of a tariff.
pub const MAX_TIERS: usize = 100;

/// A step of a graduated price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// The first amount of use in a month that no longer falls on it, in the tariff's unit; None for the last step.
    pub up_to: Option<Decimal>,
    /// The net price of a unit.
    pub price: Decimal,
}

impl Tier {
    /// Where the step ends, in billionths of the unit.
    pub(super) fn end(self) -> i64 {
        let end = self.up_to.and_then(|up_to| {
            up_to.checked_mul(Decimal::from(NANOS_PER_USED_UNIT)).and_then(|nanos| i64::try_from(nanos).ok())
        });
        end.unwrap_or(i64::MAX)
    }
}

/// What use is counted under: tariffs of one type, narrowing and unit go on counting together, so that a change of price
/// in the middle of a month does not begin at the first step again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TierKey(i64);

impl TierKey {
    /// From its number, as it is stored.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The key of what a text names.
    pub(super) fn of(text: &str) -> Self {
        let hash = blake3::hash(text.as_bytes());
        Self(hash.as_bytes().iter().take(8).fold(0_i64, |number, byte| (number << 8) | i64::from(*byte)))
    }
}

/// How much one payer has used at graduated prices in each month so far, in billionths of the tariff's unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TierUse(BTreeMap<(Month, TierKey), i64>);

impl TierUse {
    /// Nothing used yet.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// What was used in a month.
    pub fn get(&self, month: Month, key: TierKey) -> i64 {
        self.0.get(&(month, key)).copied().unwrap_or(0)
    }

    /// Adds to what was used (or takes away, if negative); false if it does not fit, and then nothing was added.
    pub fn add(&mut self, month: Month, key: TierKey, nanos: i64) -> bool {
        let Some(sum) = self.get(month, key).checked_add(nanos) else { return false };
        if sum == 0 {
            self.0.remove(&(month, key));
        } else {
            self.0.insert((month, key), sum);
        }
        true
    }

    /// Everything used, by month and key.
    pub fn iter(&self) -> impl Iterator<Item = (Month, TierKey, i64)> {
        self.0.iter().map(|((month, key), nanos)| (*month, *key, *nanos))
    }

    /// Whether nothing was used.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
