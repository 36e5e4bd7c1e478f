//! What something would cost over a period, by the very function that prices records.

use chrono_tz::Tz;
use rust_decimal::{Decimal, prelude::ToPrimitive};

use super::{
    amount,
    book::PriceBook,
    narrowing::{Customer, Features},
    rater::{MAX_QUANTITY, RateError, Rated, Rater, Usage},
    tiers::TierUse,
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
    /// What else is known of it.
    pub features: Features<'q>,
}

impl Quote<'_> {
    /// As a record would report it: hours to the nearest millionth, everything else to the nearest whole.
    fn to_usage(self) -> Result<Usage, RateError> {
        let hours = match UsageType::from_id(self.usage_type).map(|known| known.quantity) {
            Some(Quantity::Hours) => Decimal::from(amount::hours_millionths(self.period)),
            _ => Decimal::ONE,
        };
        let quantity = self.amount.checked_mul(hours).and_then(|quantity| quantity.round().to_i64());
        let quantity = quantity.filter(|quantity| (0..=MAX_QUANTITY).contains(quantity)).ok_or_else(|| {
            let quantity = if self.amount.is_sign_negative() { -1 } else { i64::MAX };
            RateError::AbsurdQuantity { usage_type: self.usage_type, quantity }
        })?;
        let Self { usage_type, period, size_bytes, .. } = self;
        Ok(Usage { usage_type, quantity, period, size_bytes })
    }
}

/// The list price of it for nobody in particular: one part for each day, tariff and step, with nothing used before.
pub fn quote(book: &PriceBook, quote: &Quote<'_>, zone: Tz) -> Result<Rated, RateError> {
    quote_for(book, &Customer::default(), quote, zone, &mut TierUse::new())
}

/// The price of it for a customer, after what their payer has used at graduated prices so far; it is added there.
pub fn quote_for(
    book: &PriceBook,
    customer: &Customer,
    quote: &Quote<'_>,
    zone: Tz,
    used: &mut TierUse,
) -> Result<Rated, RateError> {
    let mut rater = Rater::new(book, zone, customer);
    let prices = rater.find_prices(quote.usage_type, &quote.features);
    rater.rate(&quote.to_usage()?, &prices, used)
}
