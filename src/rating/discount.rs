//! Discounts: percent off the list price, for some customers and types, for a time.
//!
//! Of several the most specific one counts; they are never added together. A discount comes before the one rounding.

use rust_decimal::Decimal;

use super::narrowing::Narrowing;
use crate::{time::Timestamp, usage::types::UsageType};

/// The most decimals of a percentage.
pub const MAX_PERCENT_DECIMALS: u32 = 4;

/// One `[[discount]]` of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discount {
    pub(super) percent: Decimal,
    pub(super) usage_type: Option<&'static UsageType>,
    pub(super) narrowing: Narrowing,
    pub(super) note: Option<String>,
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) line: u32,
}

impl Discount {
    /// Percent off, from 0 to 100.
    pub const fn percent(&self) -> Decimal {
        self.percent
    }

    /// The only type it is for; None for all.
    pub const fn usage_type(&self) -> Option<&'static UsageType> {
        self.usage_type
    }

    /// The account, payer or domain it is for.
    pub const fn narrowing(&self) -> &Narrowing {
        &self.narrowing
    }

    /// The operator's words.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The first instant at which it is in force; None for always.
    pub const fn from(&self) -> Option<Timestamp> {
        self.from
    }

    /// The first instant at which it is no longer in force; None for never.
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// The line of the file in which it begins.
    pub const fn line(&self) -> u32 {
        self.line
    }

    /// What it leaves of a price.
    pub(super) fn cut(&self, index: u32) -> Cut {
        let kept = (Decimal::ONE_HUNDRED - self.percent).normalize();
        Cut {
            discount: DiscountRef { index, line: self.line },
            kept: u64::try_from(kept.mantissa()).unwrap_or(0),
            // Percent are hundredths.
            scale: kept.scale() + 2,
        }
    }
}

/// Which discount of a book was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiscountRef {
    /// Its place in [`super::PriceBook::discounts`]: the same in every book of the same digest.
    pub index: u32,
    /// The line of the file in which it begins.
    pub line: u32,
}

/// The share of a price that a discount leaves: `kept` ÷ 10^`scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) discount: DiscountRef,
    pub(super) kept: u64,
    pub(super) scale: u32,
}
