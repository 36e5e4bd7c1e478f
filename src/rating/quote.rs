//! What something would cost over a period, by the very function that prices records.

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{
    book::PriceBook,
    rater::{self, RateError, Rated, Usage},
};
use crate::{
    time::Period,
    usage::types::{Quantity, UsageType},
};

/// What to price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote<'q> {
    /// `CloudStack`'s number of the usage type.
    pub usage_type: i32,
    /// How much of it: things that exist or run all the time (for types that count hours), bytes moved or operations
    /// in the whole period, or bytes held all the time (buckets).
    pub amount: Decimal,
    /// For how long.
    pub period: Period,
    /// The size of each thing, where its price is by size.
    pub size_bytes: Option<i64>,
    /// The offering, where it has one.
    pub offering: Option<&'q str>,
}

/// The price of it: one part for each day and tariff.
pub fn quote(book: &PriceBook, quote: &Quote<'_>, zone: Tz) -> Result<Rated, RateError> {
    let absurd = || RateError::AbsurdQuantity { usage_type: quote.usage_type, quantity: quote.amount };
    let quantity = match UsageType::from_id(quote.usage_type).map(|known| known.quantity) {
        Some(Quantity::Hours) => quote.amount.checked_mul(rater::hours(quote.period)).ok_or_else(absurd)?,
        _ => quote.amount,
    };
    let usage = Usage {
        usage_type: quote.usage_type,
        quantity,
        period: quote.period,
        size_bytes: quote.size_bytes,
        offering: quote.offering,
    };
    rater::rate(book, &usage, zone)
}
