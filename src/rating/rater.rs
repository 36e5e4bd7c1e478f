//! Prices usage records: cuts each at the billing days and price changes it crosses, and prices the pieces exactly.

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{
    book::{PriceBook, TariffRef},
    exact::Quotient,
    timeline::{Holds, Price, Timeline},
};
use crate::{
    money::NANOS_PER_UNIT,
    time::{Day, MS_PER_SECOND, Period, Timestamp},
    usage::types::{Quantity, Unit, UsageType},
};

/// The most hours, bytes or operations of one record: an exabyte is beyond what a window can hold.
pub const MAX_QUANTITY: i64 = 1_000_000_000_000_000_000;
/// The most pieces of one record or quote: ten years of days, with room for price changes.
const MAX_PIECES: usize = 4_000;
/// Decimals of a piece's share of a quantity, where the quantity itself does not have more.
const SHARE_DECIMALS: u32 = 9;

const MS_PER_HOUR: u64 = 3_600_000;
const GIB: u64 = 1 << 30;
const GB: u64 = 1_000_000_000;
const MILLION: u64 = 1_000_000;

/// What is to be priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage<'u> {
    /// `CloudStack`'s number of the usage type.
    pub usage_type: i32,
    /// `rawusage`: hours, bytes, operations or bytes held, after the type.
    pub quantity: Decimal,
    /// The time it is spread over evenly.
    pub period: Period,
    /// The size of the thing, where the record has one.
    pub size_bytes: Option<i64>,
    /// The offering, where the record names one.
    pub offering: Option<&'u str>,
}

/// Why a record could not be priced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// More than the ledger can hold.
    #[error("the amount by the tariff in line {line} of the price book is beyond what the ledger can hold")]
    Overflow {
        /// The tariff's line.
        line: u32,
    },
    /// A negative or absurdly large quantity.
    #[error("{quantity} is not a quantity of usage type {usage_type}: negative, or beyond any cloud")]
    AbsurdQuantity {
        /// The record's type.
        usage_type: i32,
        /// What it claims.
        quantity: Decimal,
    },
    /// The tariff is by size and the record has none. `CloudStack` 4.22.0 leaves out that of backups (its issue 12536).
    #[error(
        "a record of \"{usage_type}\" carries no size, and line {line} of the price book prices it by {unit}; \
         price it by hour or month, or update CloudStack (its issue 12536, for backups)"
    )]
    SizeMissing {
        /// The record's type.
        usage_type: &'static UsageType,
        /// The tariff's unit.
        unit: Unit,
        /// The tariff's line.
        line: u32,
    },
    /// A negative size.
    #[error("a record of \"{usage_type}\" has a size of {size_bytes} bytes")]
    AbsurdSize {
        /// The record's type.
        usage_type: &'static UsageType,
        /// What it claims.
        size_bytes: i64,
    },
    /// A date beyond the calendar.
    #[error("{0} lies beyond the calendar")]
    DayOutOfRange(Timestamp),
    /// A period of many years.
    #[error("the period from {0} to {1} is too long to be priced at once", period.start(), period.end())]
    TooLong {
        /// The period.
        period: Period,
    },
}

/// A piece that a tariff priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The billing day it falls on.
    pub day: Day,
    /// What priced it.
    pub tariff: TariffRef,
    /// Its time.
    pub period: Period,
    /// Its share of the record's quantity, in the same measure; for buckets the bytes weighted by time. The shares
    /// of a record add up to it exactly.
    pub quantity: Decimal,
    /// Its net price in billionths of the currency unit, at most half a billionth off.
    pub amount_nanos: i64,
}

/// A piece that nothing priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpriced {
    /// The billing day it falls on.
    pub day: Day,
    /// Its time.
    pub period: Period,
    /// Its share of the record's quantity.
    pub quantity: Decimal,
}

/// One or many parts; one needs no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Parts {
    One(Part),
    Many(Vec<Part>),
}

/// The price of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    parts: Parts,
    unpriced: Vec<Unpriced>,
}

impl Charge {
    /// The priced pieces in order of time: one for each day and tariff.
    pub fn parts(&self) -> &[Part] {
        match &self.parts {
            Parts::One(part) => std::slice::from_ref(part),
            Parts::Many(parts) => parts,
        }
    }

    /// The pieces at whose time no tariff was in force, or one with a blank price.
    pub fn unpriced(&self) -> &[Unpriced] {
        &self.unpriced
    }

    /// The sum of all parts in billionths; None if it does not fit.
    pub fn total_nanos(&self) -> Option<i64> {
        self.parts().iter().try_fold(0_i64, |sum, part| sum.checked_add(part.amount_nanos))
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rated {
    /// All or some of it has a price, maybe zero. Pieces at whose time the type was free are in neither list, so there
    /// may be no part where the rest is unpriced.
    Charged(Charge),
    /// The book says that its type costs nothing.
    Free,
    /// The book has no price for it (yet), or its type is unknown.
    Unpriced,
}

/// A billing day with what month tariffs need of its month.
#[derive(Debug, Clone, Copy)]
struct DayBounds {
    day: Day,
    period: Period,
    month_ms: u64,
}

/// Days remembered: records of a window fall on one day, daily ones cut at another zone's midnight on two.
const CACHED_DAYS: usize = 4;

/// Prices many records, and remembers the bounds of the days they fall on.
#[derive(Debug)]
pub struct Rater<'a> {
    book: &'a PriceBook,
    zone: Tz,
    days: [Option<DayBounds>; CACHED_DAYS],
}

/// Prices one record; a [`Rater`] is faster for many.
pub fn rate(book: &PriceBook, usage: &Usage<'_>, zone: Tz) -> Result<Rated, RateError> {
    Rater::new(book, zone).rate(usage)
}

impl<'a> Rater<'a> {
    /// Prices by that book, cutting days and months in `zone`.
    pub fn new(book: &'a PriceBook, zone: Tz) -> Self {
        Self { book, zone, days: [None; CACHED_DAYS] }
    }

    /// The book it prices by.
    pub const fn book(&self) -> &'a PriceBook {
        self.book
    }

    /// Prices one record.
    pub fn rate(&mut self, usage: &Usage<'_>) -> Result<Rated, RateError> {
        let absurd = usage.quantity.is_sign_negative() && !usage.quantity.is_zero();
        if absurd || usage.quantity > Decimal::from(MAX_QUANTITY) {
            return Err(RateError::AbsurdQuantity { usage_type: usage.usage_type, quantity: usage.quantity });
        }
        let Some(kind) = UsageType::from_id(usage.usage_type) else { return Ok(Rated::Unpriced) };
        let Some(timeline) = self.book.timeline(kind.id, usage.offering) else { return Ok(Rated::Unpriced) };
        match timeline.throughout(usage.period) {
            Some(Holds::Free) => return Ok(Rated::Free),
            Some(Holds::Unpriced) => return Ok(Rated::Unpriced),
            Some(Holds::Priced(price)) => {
                let bounds = self.bounds(usage.period.start())?;
                if bounds.period.covers(usage.period) {
                    let part = part(kind, usage, &price, &bounds, usage.period, usage.quantity)?;
                    return Ok(Rated::Charged(Charge { parts: Parts::One(part), unpriced: Vec::new() }));
                }
            }
            None => {}
        }
        self.rate_in_pieces(kind, usage, timeline)
    }

    /// The general case: walks from edge to edge.
    fn rate_in_pieces(
        &mut self,
        kind: &'static UsageType,
        usage: &Usage<'_>,
        timeline: &Timeline,
    ) -> Result<Rated, RateError> {
        let (mut parts, mut unpriced, mut any_free) = (Vec::new(), Vec::new(), false);
        let (mut at, mut used_before) = (usage.period.start(), Decimal::ZERO);
        for _ in 0..MAX_PIECES {
            let bounds = self.bounds(at)?;
            let (holds, until) = timeline.at(at);
            let end = until.min(bounds.period.end()).min(usage.period.end());
            let Some(piece) = Period::new(at, end) else { return Err(RateError::DayOutOfRange(at)) };
            let used = used_until(usage, end).max(used_before);
            let quantity = used - used_before;
            match holds {
                Holds::Free => any_free = true,
                Holds::Unpriced => unpriced.push(Unpriced { day: bounds.day, period: piece, quantity }),
                Holds::Priced(price) => parts.push(part(kind, usage, &price, &bounds, piece, quantity)?),
            }
            if end == usage.period.end() {
                return Ok(match (parts.is_empty(), unpriced.is_empty(), any_free) {
                    (true, true, _) => Rated::Free,
                    (true, false, false) => Rated::Unpriced,
                    _ => Rated::Charged(Charge { parts: Parts::Many(parts), unpriced }),
                });
            }
            (at, used_before) = (end, used);
        }
        Err(RateError::TooLong { period: usage.period })
    }

    /// The billing day that an instant falls on.
    fn bounds(&mut self, at: Timestamp) -> Result<DayBounds, RateError> {
        if let Some(known) = self.days.iter().flatten().find(|known| known.period.contains(at)) {
            return Ok(*known);
        }
        let found = day_bounds(at, self.zone).ok_or(RateError::DayOutOfRange(at))?;
        let place = usize::try_from(found.day.number().unsigned_abs()).unwrap_or(0) % CACHED_DAYS;
        if let Some(slot) = self.days.get_mut(place) {
            *slot = Some(found);
        }
        Ok(found)
    }
}

fn day_bounds(at: Timestamp, zone: Tz) -> Option<DayBounds> {
    let day = Day::of(at, zone)?;
    let period = day.period(zone).filter(|period| period.contains(at))?;
    let month = day.month()?.period(zone)?;
    Some(DayBounds { day, period, month_ms: length_ms(month) })
}

fn length_ms(period: Period) -> u64 {
    u64::try_from(period.end().as_ms().saturating_sub(period.start().as_ms())).unwrap_or(0)
}

/// How much of the record's quantity was used from its start until `end`, rounded down; all of it at its own end.
///
/// Only the quantity shown comes from here: amounts are worked out from the whole quantity and exact shares of time.
fn used_until(usage: &Usage<'_>, end: Timestamp) -> Decimal {
    if end >= usage.period.end() {
        return usage.quantity;
    }
    let elapsed = Decimal::from(Period::new(usage.period.start(), end).map_or(0, length_ms));
    let whole = Decimal::from(length_ms(usage.period));
    let decimals = usage.quantity.scale().max(SHARE_DECIMALS);
    let multiplied_first = usage.quantity.checked_mul(elapsed).and_then(|product| product.checked_div(whole));
    multiplied_first
        .or_else(|| usage.quantity.checked_div(whole).and_then(|each| each.checked_mul(elapsed)))
        .map_or(Decimal::ZERO, |share| share.trunc_with_scale(decimals).min(usage.quantity))
}

/// Prices one piece: within one day and under one tariff.
fn part(
    kind: &'static UsageType,
    usage: &Usage<'_>,
    price: &Price,
    bounds: &DayBounds,
    period: Period,
    quantity: Decimal,
) -> Result<Part, RateError> {
    let line = price.tariff.line;
    let used = usage.quantity.normalize();
    let mut product = Quotient::one().times_wide(price.mantissa).times_wide(used.mantissa().unsigned_abs());
    let by_size = price.unit.is_by_size() && kind.quantity != Quantity::BytesAtWindow;
    if by_size {
        let size_bytes = usage.size_bytes.ok_or(RateError::SizeMissing { usage_type: kind, unit: price.unit, line })?;
        let size = u64::try_from(size_bytes).map_err(|_| RateError::AbsurdSize { usage_type: kind, size_bytes })?;
        product = product.times(size);
    }
    let scale = price.scale + used.scale();
    product = product.times(NANOS_PER_UNIT.unsigned_abs());
    let whole = period == usage.period;
    let (piece_ms, all_ms) = (length_ms(period), length_ms(usage.period));
    // Hours come from the record; of a level, they are the piece's own length.
    let is_level = kind.quantity == Quantity::BytesAtWindow;
    if is_level || !whole {
        product = product.times(piece_ms);
    }
    if price.unit.is_by_month() && !is_level {
        product = product.times(MS_PER_HOUR);
    }
    // From here on divisors only.
    product = product.over_tens(scale);
    if !is_level && !whole {
        product = product.over(all_ms);
    }
    if price.unit.is_by_month() {
        product = product.over(bounds.month_ms);
    } else if is_level {
        product = product.over(MS_PER_HOUR);
    }
    product = match price.unit {
        Unit::GibHour | Unit::GibMonth | Unit::Gib => product.over(GIB),
        Unit::Gb => product.over(GB),
        Unit::Million => product.over(MILLION),
        Unit::Hour | Unit::Month => product,
    };
    let amount_nanos = product.round().ok_or(RateError::Overflow { line })?;
    Ok(Part { day: bounds.day, tariff: price.tariff, period, quantity, amount_nanos })
}

/// Hours of a period, as a decimal.
pub(super) fn hours(period: Period) -> Decimal {
    Decimal::from(length_ms(period)) / Decimal::from(3_600 * MS_PER_SECOND)
}
