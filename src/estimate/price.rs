//! What spans cost between two instants, by the very function that prices records, and how far an estimate was off.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::live::Span;
use crate::{
    ids::AccountId,
    rating::{Customer, Features, PriceBook, Quote, Rated, TierUse, quote_for},
    time::{Period, Timestamp},
};

/// A day, for what things cost a day.
const DAY: std::time::Duration = std::time::Duration::from_hours(24);
/// Percentages are shown with one decimal.
const PERCENT_DECIMALS: u32 = 1;

/// The sum does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the live inventory costs is beyond all measure; is a price a slip of the keyboard?")]
pub struct TooLarge;

/// What things of one type cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Line {
    /// Things that are there at the end.
    pub things: u64,
    /// Since the beginning, net, billionths of the currency unit.
    pub net_nanos: i64,
    /// In a day as things are at the end, net, billionths.
    pub per_day_nanos: i64,
    /// Things that have no price, or could not be priced.
    pub unpriced: u64,
}

/// By account and usage type.
pub type Tally = BTreeMap<AccountId, BTreeMap<i32, Line>>;

/// What became of a thing.
enum Cost {
    Nanos(i64),
    Unpriced,
}

/// By what an account is charged.
#[derive(Debug, Clone)]
pub struct Terms {
    /// From when on.
    pub charged_from: Timestamp,
    /// Who it is to the price book.
    pub customer: Customer,
}

/// The one place where a live thing meets the price book. Graduated prices are taken from their first step on: what was
/// used at them this month is not known to an estimate.
fn cost_of(book: &PriceBook, zone: Tz, span: &Span, customer: &Customer, period: Period) -> Cost {
    let thing = &span.thing;
    let asked = Quote {
        usage_type: thing.usage_type,
        amount: Decimal::ONE,
        period,
        size_bytes: thing.size_bytes,
        features: Features {
            offering: thing.offering.as_deref(),
            zone: thing.zone.as_deref(),
            template: thing.template.as_deref(),
            os_type: thing.os_type.as_deref(),
            cpu_number: thing.cpu_number,
            memory_mib: thing.memory_mib,
            tags: &thing.tags,
        },
    };
    match quote_for(book, customer, &asked, zone, &mut TierUse::new()) {
        Ok(Rated::Free) => Cost::Nanos(0),
        Ok(Rated::Charged(charge)) if charge.unpriced().is_empty() => {
            charge.total_nanos().map_or(Cost::Unpriced, Cost::Nanos)
        }
        // Partly priced is not an estimate that anybody could rely on; neither is a price that can not be worked out.
        Ok(Rated::Charged(_) | Rated::Unpriced) | Err(_) => Cost::Unpriced,
    }
}

/// What the spans cost in `[from, until)`, each for the time it was there, and what those still there cost in a day.
/// Accounts without terms are not charged.
pub fn tally<'s>(
    book: &PriceBook,
    zone: Tz,
    spans: impl IntoIterator<Item = &'s Span>,
    from: Timestamp,
    until: Timestamp,
    terms: &BTreeMap<AccountId, Terms>,
) -> Result<Tally, TooLarge> {
    let mut tally = Tally::new();
    for span in spans {
        let Some(terms) = terms.get(&span.thing.account) else { continue };
        let begins = from.max(terms.charged_from).max(span.since);
        let ends = until.min(span.until.unwrap_or(until));
        let is_there = span.since <= until && span.until.is_none_or(|end| end > until);
        let period = Period::new(begins, ends);
        if !is_there && period.is_none() {
            continue;
        }
        let line = tally.entry(span.thing.account).or_default().entry(span.thing.usage_type).or_default();
        let mut unpriced = false;
        if let Some(period) = period {
            match cost_of(book, zone, span, &terms.customer, period) {
                Cost::Nanos(nanos) => line.net_nanos = line.net_nanos.checked_add(nanos).ok_or(TooLarge)?,
                Cost::Unpriced => unpriced = true,
            }
        }
        if is_there {
            line.things += 1;
            if let Some(day) = Period::new(until, until.plus(DAY)) {
                match cost_of(book, zone, span, &terms.customer, day) {
                    Cost::Nanos(nanos) => line.per_day_nanos = line.per_day_nanos.checked_add(nanos).ok_or(TooLarge)?,
                    Cost::Unpriced => unpriced = true,
                }
            }
        }
        line.unpriced += u64::from(unpriced);
    }
    Ok(tally)
}

/// The sum of an account's lines.
pub fn sum(lines: &BTreeMap<i32, Line>) -> Result<Line, TooLarge> {
    lines.values().try_fold(Line::default(), |sum, line| {
        Ok(Line {
            things: sum.things + line.things,
            net_nanos: sum.net_nanos.checked_add(line.net_nanos).ok_or(TooLarge)?,
            per_day_nanos: sum.per_day_nanos.checked_add(line.per_day_nanos).ok_or(TooLarge)?,
            unpriced: sum.unpriced + line.unpriced,
        })
    })
}

/// How far an estimate was off: what the records cost less what was estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Miss {
    /// Billionths; positive: the records cost more.
    pub difference_nanos: i64,
    /// In percent of what the records cost; None where they cost nothing.
    pub percent: Option<Decimal>,
}

/// How far off.
pub fn miss(estimated_nanos: i64, rated_nanos: i64) -> Miss {
    let difference_nanos = rated_nanos.saturating_sub(estimated_nanos);
    let percent = Decimal::from(difference_nanos)
        .checked_mul(Decimal::ONE_HUNDRED)
        .and_then(|scaled| scaled.checked_div(Decimal::from(rated_nanos)))
        .map(|percent| percent.round_dp(PERCENT_DECIMALS).normalize());
    Miss { difference_nanos, percent }
}

/// The mean of how far off the windows were, whatever the direction; None where none can be told in percent.
pub fn mean_percent(misses: &[Miss]) -> Option<Decimal> {
    let known: Vec<Decimal> = misses.iter().filter_map(|miss| miss.percent).map(|percent| percent.abs()).collect();
    let count = Decimal::from(known.len());
    let sum = known.into_iter().try_fold(Decimal::ZERO, Decimal::checked_add)?;
    sum.checked_div(count).map(|mean| mean.round_dp(PERCENT_DECIMALS).normalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::live::Thing;

    const BOOK: &str = r#"
currency = "EUR"
free = ["allocated-vm"]
[[tariff]]
type = "running-vm"
unit = "hour"
price = "0.10"
[[tariff]]
type = "running-vm"
offering = "large"
unit = "hour"
price = "0.40"
[[tariff]]
type = "volume"
unit = "gib-hour"
price = "0.001"
"#;

    fn hour(number: i64) -> Timestamp {
        Timestamp::from_seconds(1_793_491_200 + number * 3_600)
    }

    fn span(usage_type: i32, offering: Option<&str>, size_gib: Option<i64>, since: i64, until: Option<i64>) -> Span {
        Span {
            thing: Thing {
                usage_type,
                cloud_id: "x".to_owned(),
                account: AccountId::new(1),
                project: None,
                name: String::new(),
                state: String::new(),
                offering: offering.map(str::to_owned),
                zone: None,
                template: None,
                os_type: None,
                cpu_number: None,
                memory_mib: None,
                size_bytes: size_gib.map(|size| size << 30),
                tags: Vec::new(),
                created: None,
                since: None,
            },
            first_seen: hour(since),
            since: hour(since),
            until: until.map(hour),
        }
    }

    fn from_hour(number: i64) -> BTreeMap<AccountId, Terms> {
        BTreeMap::from([(AccountId::new(1), Terms { charged_from: hour(number), customer: Customer::default() })])
    }

    fn price(spans: &[Span], from: i64, until: i64) -> Line {
        let book = PriceBook::parse(BOOK, Tz::UTC).unwrap();
        let tally = tally(&book, Tz::UTC, spans, hour(from), hour(until), &from_hour(0)).unwrap();
        tally.get(&AccountId::new(1)).map_or_else(Line::default, |lines| sum(lines).unwrap())
    }

    #[test]
    fn each_thing_costs_for_the_time_it_was_there() {
        type Case<'c> = (&'c [Span], i64, i64, (u64, i64, i64, u64));
        // (spans, from, until) -> (things, net, per day, unpriced), worked out by hand
        let vm = |since, until| span(1, Some("small"), None, since, until);
        let cases: [Case<'_>; 8] = [
            (&[vm(0, None)], 10, 12, (1, 200_000_000, 2_400_000_000, 0)),
            // Started after the last window: from its start.
            (&[vm(11, None)], 10, 12, (1, 100_000_000, 2_400_000_000, 0)),
            // Stopped meanwhile: until its stop, and nothing a day.
            (&[vm(0, Some(11))], 10, 12, (0, 100_000_000, 0, 0)),
            // Over before the span begins.
            (&[vm(0, Some(9))], 10, 12, (0, 0, 0, 0)),
            // Resized after an hour.
            (&[vm(0, Some(11)), span(1, Some("large"), None, 11, None)], 10, 12, (1, 500_000_000, 9_600_000_000, 0)),
            (&[span(6, None, Some(5), 0, None)], 10, 12, (1, 10_000_000, 120_000_000, 0)),
            (&[span(2, Some("small"), None, 0, None)], 10, 12, (1, 0, 0, 0)),
            // No price in the book; and a clock before the end of fetched usage.
            (&[span(3, None, None, 0, None)], 10, 12, (1, 0, 0, 1)),
        ];
        for (spans, from, until, (things, net_nanos, per_day_nanos, unpriced)) in cases {
            assert_eq!(price(spans, from, until), Line { things, net_nanos, per_day_nanos, unpriced }, "{spans:?}");
        }
        assert_eq!(price(&[vm(0, None)], 12, 10).net_nanos, 0);
    }

    #[test]
    fn nothing_counts_before_billing_begins_or_out_of_scope() {
        let book = PriceBook::parse(BOOK, Tz::UTC).unwrap();
        let spans = [span(1, None, None, 0, None)];
        let late = tally(&book, Tz::UTC, &spans, hour(0), hour(4), &from_hour(3)).unwrap();
        assert_eq!(late[&AccountId::new(1)][&1].net_nanos, 100_000_000);
        assert!(tally(&book, Tz::UTC, &spans, hour(0), hour(4), &BTreeMap::new()).unwrap().is_empty());
    }

    #[test]
    fn a_miss_is_told_in_money_and_percent() {
        let percent = |text: &str| Some(text.parse().unwrap());
        assert_eq!(miss(90, 100), Miss { difference_nanos: 10, percent: percent("10") });
        assert_eq!(miss(110, 100), Miss { difference_nanos: -10, percent: percent("-10") });
        assert_eq!(miss(2, 3), Miss { difference_nanos: 1, percent: percent("33.3") });
        assert_eq!(miss(5, 0), Miss { difference_nanos: -5, percent: None });
        assert_eq!(mean_percent(&[miss(90, 100), miss(120, 100), miss(5, 0)]), percent("15"));
        assert_eq!(mean_percent(&[miss(5, 0)]), None);
    }
}
