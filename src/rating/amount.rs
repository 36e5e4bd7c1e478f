//! What a piece of a record costs: one exact fraction, rounded once.

use super::{
    discount::Cut,
    exact::Fraction,
    rater::{RateError, Usage},
};
use crate::{
    time::{Period, Timestamp},
    usage::types::{Quantity, Unit, UsageType},
};

/// Hours are counted in millionths.
pub const HOUR_DECIMALS: u32 = 6;
/// Amounts are in billionths of the currency unit.
const NANO_DECIMALS: i32 = 9;

const MS_PER_HOUR: u64 = 3_600_000;
const GIB: u64 = 1 << 30;
const GB: u64 = 1_000_000_000;
const MILLION: u64 = 1_000_000;

/// A piece of a record: within one billing day and under one tariff.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'u> {
    pub(super) kind: &'static UsageType,
    pub(super) usage: &'u Usage,
    pub(super) period: Period,
    /// The length of its calendar month.
    pub(super) month_ms: u64,
    /// The line of its tariff, for errors.
    pub(super) line: u32,
}

/// A share of a piece: so many of all its billionths of a unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) part: u64,
    pub(super) all: u64,
}

impl Piece<'_> {
    /// The piece at a price of one a unit, which is its use: in billionths of the unit.
    pub(super) fn used_nanos(&self, unit: Unit) -> Result<i64, RateError> {
        self.priced(unit, 1, 0)?.round().ok_or(RateError::Overflow { line: self.line })
    }

    /// What a share of it costs in billionths of the currency unit, at `mantissa` ÷ 10^`scale` a unit.
    pub(super) fn amount_nanos(
        &self,
        unit: Unit,
        (mantissa, scale): (u128, u32),
        share: Option<Share>,
        cut: Option<Cut>,
    ) -> Result<i64, RateError> {
        let mut fraction = self.priced(unit, mantissa, scale)?;
        if let Some(share) = share {
            fraction.times(share.part).over(share.all);
        }
        if let Some(cut) = cut {
            fraction.times(cut.kept).times_tens(-exponent(cut.scale));
        }
        fraction.round().ok_or(RateError::Overflow { line: self.line })
    }

    #[inline]
    fn priced(&self, unit: Unit, mantissa: u128, scale: u32) -> Result<Fraction, RateError> {
        let (kind, usage) = (self.kind, self.usage);
        // Hours come from the record; of a level, they are the piece's own length.
        let is_level = kind.quantity == Quantity::BytesAtWindow;
        let mut fraction = Fraction::of(mantissa);
        fraction.times(usage.quantity.unsigned_abs()).times_tens(NANO_DECIMALS - exponent(scale));
        if kind.quantity == Quantity::Hours {
            fraction.times_tens(-exponent(HOUR_DECIMALS));
        }
        if unit.is_by_size() && !is_level {
            fraction.times(self.size(unit)?);
        }
        if is_level {
            fraction.times(length_ms(self.period));
        } else if self.period != usage.period {
            fraction.times(length_ms(self.period)).over(length_ms(usage.period));
        }
        if unit.is_by_month() {
            if !is_level {
                fraction.times(MS_PER_HOUR);
            }
            fraction.over(self.month_ms);
        } else if is_level {
            fraction.over(MS_PER_HOUR);
        }
        match unit {
            Unit::GibHour | Unit::GibMonth | Unit::Gib => _ = fraction.over(GIB),
            Unit::Gb => _ = fraction.over(GB),
            Unit::Million => _ = fraction.over(MILLION),
            Unit::Hour | Unit::Month => {}
        }
        Ok(fraction)
    }

    fn size(&self, unit: Unit) -> Result<u64, RateError> {
        let usage_type = self.kind;
        let size_bytes = self.usage.size_bytes.ok_or(RateError::SizeMissing { usage_type, unit, line: self.line })?;
        u64::try_from(size_bytes).map_err(|_| RateError::AbsurdSize { usage_type, size_bytes })
    }
}

/// Scales have two digits.
fn exponent(scale: u32) -> i32 {
    i32::try_from(scale).unwrap_or(i32::MAX)
}

/// The length of a period.
pub(super) fn length_ms(period: Period) -> u64 {
    u64::try_from(period.end().as_ms().saturating_sub(period.start().as_ms())).unwrap_or(0)
}

/// How much of the record's quantity was used from its start until `end`, rounded down; all of it at its own end.
///
/// Only the quantity shown comes from here: amounts are worked out from the whole quantity and exact shares of time.
pub(super) fn used_until(usage: &Usage, end: Timestamp) -> i64 {
    let Some(elapsed) = Period::new(usage.period.start(), end) else { return 0 };
    if end >= usage.period.end() {
        return usage.quantity;
    }
    share_of(usage.quantity, length_ms(elapsed), length_ms(usage.period))
}

/// `part` ÷ `all` of a quantity, rounded down. Quantities have 60 bits and lengths of records fewer than 50.
pub(super) fn share_of(quantity: i64, part: u64, all: u64) -> i64 {
    let share = u128::from(quantity.unsigned_abs())
        .checked_mul(u128::from(part))
        .and_then(|product| product.checked_div(u128::from(all)));
    share.and_then(|share| i64::try_from(share).ok()).unwrap_or(quantity).min(quantity)
}

/// Hours of a period in millionths, rounded to the nearest.
pub(super) fn hours_millionths(period: Period) -> i64 {
    let micro_hours =
        (u128::from(length_ms(period)) * 1_000_000 + u128::from(MS_PER_HOUR / 2)) / u128::from(MS_PER_HOUR);
    i64::try_from(micro_hours).unwrap_or(i64::MAX)
}
