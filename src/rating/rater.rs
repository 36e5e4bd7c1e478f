//! Prices usage records: cuts each at the billing days and price changes it crosses, and prices the pieces exactly.

use std::sync::Arc;

use chrono_tz::Tz;

use super::{
    amount::{self, Piece, Share, length_ms, share_of, used_until},
    book::{PriceBook, TariffRef},
    discount::DiscountRef,
    narrowing::{Customer, Features},
    tiers::{TierKey, TierUse},
    timeline::{Holds, Price, Timeline},
};
use crate::{
    time::{Day, Month, Period, Timestamp},
    usage::types::{Unit, UsageType},
};

/// The most millionths of an hour, bytes or operations of one record: an exabyte is beyond what a window can hold.
pub const MAX_QUANTITY: i64 = 1_000_000_000_000_000_000;
/// The most pieces of one record or quote: ten years of days, with room for price changes.
const MAX_PIECES: usize = 4_000;

/// What is to be priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// `CloudStack`'s number of the usage type.
    pub usage_type: i32,
    /// `rawusage` as it is stored: millionths of an hour, or whole bytes, operations or bytes held, after the type.
    pub quantity: i64,
    /// The time it is spread over evenly.
    pub period: Period,
    /// The size of the thing, where the record has one.
    pub size_bytes: Option<i64>,
}

/// Why a record could not be priced. Nothing was counted as used then.
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
        /// What it claims, as it is stored.
        quantity: i64,
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
    /// The caller took prices that were found for something else.
    #[error("usage type {usage_type} was to be priced by the prices of usage type {prices_of}")]
    OtherType {
        /// The record's type.
        usage_type: i32,
        /// The prices' type.
        prices_of: i32,
    },
}

/// A piece that a tariff priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The billing day it falls on.
    pub day: Day,
    /// What priced it.
    pub tariff: TariffRef,
    /// Which of the tariff's steps, from 0; None if it has none.
    pub tier: Option<u8>,
    /// What was taken off.
    pub discount: Option<DiscountRef>,
    /// Its time. Pieces that differ only by their step have the same.
    pub period: Period,
    /// Its share of the record's quantity, in the same measure; for buckets the bytes weighted by time. The shares
    /// of a record add up to it exactly.
    pub quantity: i64,
    /// Its net price before the discount in billionths of the currency unit, at most half a billionth off.
    pub list_nanos: i64,
    /// Its net price in billionths of the currency unit, at most half a billionth off.
    pub amount_nanos: i64,
}

impl Part {
    /// What the discount took off, in billionths of the currency unit. Never negative.
    pub const fn discount_nanos(&self) -> i64 {
        self.list_nanos - self.amount_nanos
    }
}

/// A piece that nothing priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpriced {
    /// The billing day it falls on.
    pub day: Day,
    /// Its time.
    pub period: Period,
    /// Its share of the record's quantity.
    pub quantity: i64,
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
    /// The priced pieces in order of time and of step: one for each day, tariff and step.
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

/// The prices of one type for one customer's things with the same features, over all time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prices(Arc<Found>);

#[derive(Debug)]
struct Found {
    usage_type: i32,
    kind: Option<&'static UsageType>,
    timeline: Timeline<Holds>,
}

/// A billing day with what month tariffs need of its month.
#[derive(Debug, Clone, Copy)]
struct DayBounds {
    day: Day,
    period: Period,
    month: Month,
    month_ms: u64,
}

/// Days remembered: records of a window fall on one day, daily ones cut at another zone's midnight on two.
const CACHED_DAYS: usize = 4;

/// Prices many records of one customer after the other, and remembers the bounds of the days they fall on.
#[derive(Debug)]
pub struct Rater<'b> {
    book: &'b PriceBook,
    zone: Tz,
    customer: &'b Customer,
    days: [Option<DayBounds>; CACHED_DAYS],
}

impl<'b> Rater<'b> {
    /// Prices by that book for that customer, cutting days and months in `zone`.
    pub fn new(book: &'b PriceBook, zone: Tz, customer: &'b Customer) -> Self {
        Self { book, zone, customer, days: [None; CACHED_DAYS] }
    }

    /// The book it prices by.
    pub const fn book(&self) -> &'b PriceBook {
        self.book
    }

    /// Goes on with another customer. Prices found for the one before are not theirs.
    pub const fn set_customer(&mut self, customer: &'b Customer) {
        self.customer = customer;
    }

    /// The prices of a type of thing for the customer: to be found once and kept while features and customer stay.
    pub fn find_prices(&self, usage_type: i32, features: &Features<'_>) -> Prices {
        let kind = UsageType::from_id(usage_type);
        let timeline =
            kind.map_or(Timeline::always(Holds::Unpriced), |kind| self.book.timeline(kind, self.customer, features));
        Prices(Arc::new(Found { usage_type, kind, timeline }))
    }

    /// Prices one record, and counts what it uses at graduated prices for the customer's payer.
    pub fn rate(&mut self, usage: &Usage, prices: &Prices, used: &mut TierUse) -> Result<Rated, RateError> {
        self.rate_within(None, usage, prices, used)
    }

    /// Prices and counts only what of a record falls on a billing day: over all its days the same parts as
    /// [`Rater::rate`] gives, each exactly once. A record that does not touch the day is charged without parts.
    pub fn rate_on(
        &mut self,
        day: Day,
        usage: &Usage,
        prices: &Prices,
        used: &mut TierUse,
    ) -> Result<Rated, RateError> {
        self.rate_within(Some(day), usage, prices, used)
    }

    fn rate_within(
        &mut self,
        only: Option<Day>,
        usage: &Usage,
        prices: &Prices,
        used: &mut TierUse,
    ) -> Result<Rated, RateError> {
        let found = prices.0.as_ref();
        if usage.usage_type != found.usage_type {
            return Err(RateError::OtherType { usage_type: usage.usage_type, prices_of: found.usage_type });
        }
        if usage.quantity < 0 || usage.quantity > MAX_QUANTITY {
            return Err(RateError::AbsurdQuantity { usage_type: usage.usage_type, quantity: usage.quantity });
        }
        let Some(kind) = found.kind else { return Ok(Rated::Unpriced) };
        match found.timeline.throughout(usage.period) {
            Some(Holds::Free) => return Ok(Rated::Free),
            Some(Holds::Unpriced) => return Ok(Rated::Unpriced),
            Some(Holds::Priced(price)) => {
                let bounds = self.bounds(usage.period.start())?;
                if bounds.period.covers(usage.period) && only.is_none_or(|day| day == bounds.day) {
                    let part = match price.tiers {
                        None => Some(flat(kind, usage, &price, &bounds, usage.period, usage.quantity)?),
                        Some(key) => within_one_step(self.book, (kind, usage), &price, key, &bounds, used)?,
                    };
                    if let Some(part) = part {
                        return Ok(Rated::Charged(Charge { parts: Parts::One(part), unpriced: Vec::new() }));
                    }
                }
            }
            None => {}
        }
        let span = match only {
            None => Some(usage.period),
            Some(day) => {
                let start = day.start(self.zone).ok_or(RateError::DayOutOfRange(usage.period.start()))?;
                self.bounds(start)?.period.overlap(usage.period)
            }
        };
        let Some(span) = span else {
            return Ok(Rated::Charged(Charge { parts: Parts::Many(Vec::new()), unpriced: Vec::new() }));
        };
        let mut pieces = Pieces { kind, usage, parts: Vec::new(), counted: Vec::new() };
        let rated = self.rate_in_pieces(&mut pieces, span, &found.timeline, used);
        if rated.is_err() {
            for (month, key, nanos) in pieces.counted {
                // What was added can be taken away.
                used.add(month, key, -nanos);
            }
        }
        rated
    }

    /// The general case: walks from edge to edge.
    fn rate_in_pieces(
        &mut self,
        pieces: &mut Pieces<'_>,
        span: Period,
        timeline: &Timeline<Holds>,
        used: &mut TierUse,
    ) -> Result<Rated, RateError> {
        let (kind, usage) = (pieces.kind, pieces.usage);
        let (mut unpriced, mut any_free) = (Vec::new(), false);
        let (mut at, mut used_before) = (span.start(), used_until(usage, span.start()));
        for _ in 0..MAX_PIECES {
            let bounds = self.bounds(at)?;
            let (holds, until) = timeline.at(at);
            let end = until.min(bounds.period.end()).min(span.end());
            let Some(period) = Period::new(at, end) else { return Err(RateError::DayOutOfRange(at)) };
            let used_now = used_until(usage, end).max(used_before);
            let quantity = used_now - used_before;
            match holds {
                Holds::Free => any_free = true,
                Holds::Unpriced => unpriced.push(Unpriced { day: bounds.day, period, quantity }),
                Holds::Priced(price) => match price.tiers {
                    None => pieces.parts.push(flat(kind, usage, &price, &bounds, period, quantity)?),
                    Some(key) => pieces.graduated(self.book, &price, key, &bounds, (period, quantity), used)?,
                },
            }
            if end == span.end() {
                let parts = std::mem::take(&mut pieces.parts);
                return Ok(match (parts.is_empty(), unpriced.is_empty(), any_free) {
                    (true, true, _) => Rated::Free,
                    (true, false, false) => Rated::Unpriced,
                    _ => Rated::Charged(Charge { parts: one_or_many(parts), unpriced }),
                });
            }
            (at, used_before) = (end, used_now);
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

fn one_or_many(mut parts: Vec<Part>) -> Parts {
    if parts.len() == 1
        && let Some(part) = parts.pop()
    {
        return Parts::One(part);
    }
    Parts::Many(parts)
}

fn day_bounds(at: Timestamp, zone: Tz) -> Option<DayBounds> {
    let day = Day::of(at, zone)?;
    let period = day.period(zone).filter(|period| period.contains(at))?;
    let month = day.month()?;
    Some(DayBounds { day, period, month, month_ms: length_ms(month.period(zone)?) })
}

/// Prices a piece by a tariff without steps.
fn flat(
    kind: &'static UsageType,
    usage: &Usage,
    price: &Price,
    bounds: &DayBounds,
    period: Period,
    quantity: i64,
) -> Result<Part, RateError> {
    let piece = Piece { kind, usage, period, month_ms: bounds.month_ms, line: price.tariff.line };
    part(
        &piece,
        price,
        bounds.day,
        quantity,
        &Charged { price: (price.mantissa, price.scale), tier: None, share: None },
    )
}

/// Prices and counts a whole record that falls on one day and one step; None, and nothing counted, if it crosses steps.
fn within_one_step(
    book: &PriceBook,
    (kind, usage): (&'static UsageType, &Usage),
    price: &Price,
    key: TierKey,
    bounds: &DayBounds,
    used: &mut TierUse,
) -> Result<Option<Part>, RateError> {
    let line = price.tariff.line;
    let piece = Piece { kind, usage, period: usage.period, month_ms: bounds.month_ms, line };
    let used_nanos = piece.used_nanos(price.unit)?;
    let begin = used.get(bounds.month, key);
    let end = begin.checked_add(used_nanos).ok_or(RateError::Overflow { line })?;
    let step =
        (0_u8..).zip(book.steps(price.tariff)).find(|(_, step)| begin < step.end).filter(|(_, step)| end <= step.end);
    let Some((number, step)) = step else { return Ok(None) };
    let charged = Charged { price: (step.mantissa, step.scale), tier: Some(number), share: None };
    let part = part(&piece, price, bounds.day, usage.quantity, &charged)?;
    used.add(bounds.month, key, used_nanos);
    Ok(Some(part))
}

/// A price or step of a tariff, and what of a piece falls on it.
struct Charged {
    price: (u128, u32),
    tier: Option<u8>,
    share: Option<Share>,
}

fn part(piece: &Piece<'_>, price: &Price, day: Day, quantity: i64, step: &Charged) -> Result<Part, RateError> {
    let list_nanos = piece.amount_nanos(price.unit, step.price, step.share, None)?;
    let amount_nanos = match price.discount {
        None => list_nanos,
        Some(_) => piece.amount_nanos(price.unit, step.price, step.share, price.discount)?,
    };
    let discount = price.discount.map(|cut| cut.discount);
    let (tariff, tier) = (price.tariff, step.tier);
    Ok(Part { day, tariff, tier, discount, period: piece.period, quantity, list_nanos, amount_nanos })
}

/// The pieces of a record as they are found.
struct Pieces<'u> {
    kind: &'static UsageType,
    usage: &'u Usage,
    parts: Vec<Part>,
    /// What was counted as used, so that an error takes it back.
    counted: Vec<(Month, TierKey, i64)>,
}

impl Pieces<'_> {
    /// Prices a piece by the steps that it falls on, and counts it.
    fn graduated(
        &mut self,
        book: &PriceBook,
        price: &Price,
        key: TierKey,
        bounds: &DayBounds,
        (period, quantity): (Period, i64),
        used: &mut TierUse,
    ) -> Result<(), RateError> {
        let line = price.tariff.line;
        let piece = Piece { kind: self.kind, usage: self.usage, period, month_ms: bounds.month_ms, line };
        let used_nanos = piece.used_nanos(price.unit)?;
        let begin = used.get(bounds.month, key);
        if !used.add(bounds.month, key, used_nanos) {
            return Err(RateError::Overflow { line });
        }
        self.counted.push((bounds.month, key, used_nanos));
        let end = begin + used_nanos;
        let (mut at, mut shown) = (begin, 0);
        for (number, tier) in (0_u8..).zip(book.steps(price.tariff)) {
            let step_end = tier.end.min(end);
            // Of no use at all the step counts on which it stands.
            if step_end <= at && !(used_nanos == 0 && at < tier.end) {
                continue;
            }
            let (part_nanos, all) = ((step_end - at).unsigned_abs(), used_nanos.unsigned_abs());
            let is_whole = part_nanos == all;
            let share = (!is_whole).then_some(Share { part: part_nanos, all });
            let until = if step_end == end {
                quantity
            } else {
                share_of(quantity, (step_end - begin).unsigned_abs(), all).max(shown)
            };
            let step = Charged { price: (tier.mantissa, tier.scale), tier: Some(number), share };
            self.parts.push(part(&piece, price, bounds.day, until - shown, &step)?);
            (at, shown) = (step_end, until);
            if at == end {
                break;
            }
        }
        Ok(())
    }
}

/// A stored quantity as a person reads it: hours with their decimals, everything else as it is.
pub fn shown_quantity(usage_type: i32, quantity: i64) -> rust_decimal::Decimal {
    let is_hours =
        UsageType::from_id(usage_type).is_some_and(|kind| kind.quantity == crate::usage::types::Quantity::Hours);
    rust_decimal::Decimal::new(quantity, if is_hours { amount::HOUR_DECIMALS } else { 0 }).normalize()
}
