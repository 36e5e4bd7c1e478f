//! Where the month is going: burn rate, the month's end with a range, and how long the credit lasts.
//!
//! The middle of the range is what things cost now; its width is how much the recent closed days differed from their
//! average. It is arithmetic on what is known and no more: it knows nothing of what a tenant is about to do.

use rust_decimal::Decimal;

use crate::{
    ledger::rules::{burn_rate_per_day, days_left},
    money::{Money, MoneyError},
};

const MS_PER_DAY: i64 = 86_400_000;

/// What a closed day cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedDay {
    /// Everything.
    pub all: Money,
    /// Of it, usage that the live inventory stands for.
    pub live_kinds: Money,
}

/// What is known of a payer. All amounts are with tax.
#[derive(Debug, Clone, Copy)]
pub struct Known<'k> {
    /// Recent closed days.
    pub days: &'k [ClosedDay],
    /// What the live inventory costs a day; None where it is not known.
    pub live_per_day: Option<Money>,
    /// Charged this month, and estimated for the time since.
    pub month_so_far: Money,
    /// From now to the end of the month, ms.
    pub rest_ms: i64,
    /// Balance Available.
    pub available: Money,
}

/// A figure with a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<T> {
    /// If every day is like the cheapest of the recent ones, compared with their average.
    pub low: T,
    /// If things stay as they are.
    pub expected: T,
    /// If every day is like the dearest of the recent ones, compared with their average.
    pub high: T,
}

/// Where it is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// What a day costs.
    pub per_day: Range<Money>,
    /// What the whole month will have cost.
    pub month: Range<Money>,
    /// Whole days until Available is used up, `low` being the fewest; None: not at this rate.
    pub days_left: Range<Option<i64>>,
    /// Whether two closed days or more tell how much days differ; else the range is a point.
    pub has_spread: bool,
}

/// The forecast; None where neither closed days nor the live inventory tell what a day costs.
pub fn forecast(known: &Known<'_>) -> Result<Option<Forecast>, MoneyError> {
    let average = |amounts: &mut dyn Iterator<Item = Money>| -> Result<Option<Money>, MoneyError> {
        let sum = Money::sum(amounts)?;
        Ok(burn_rate_per_day(sum, u32::try_from(known.days.len()).unwrap_or(u32::MAX)))
    };
    let all = average(&mut known.days.iter().map(|day| day.all))?;
    let live = average(&mut known.days.iter().map(|day| day.live_kinds))?;
    let expected = match (known.live_per_day, all, live) {
        // What is running now, and of everything else what it was on average.
        (Some(now), Some(all), Some(live)) => now.plus(all.minus(live)?)?,
        (Some(now), ..) => now,
        (None, Some(all), _) => all,
        (None, None, _) => return Ok(None),
    };
    let has_spread = known.days.len() >= 2;
    let (mut low, mut high) = (expected, expected);
    if let (true, Some(all)) = (has_spread, all) {
        let amounts = || known.days.iter().map(|day| day.all);
        let (least, most) = (amounts().min().unwrap_or(all), amounts().max().unwrap_or(all));
        low = expected.minus(all.minus(least)?)?.max(Money::ZERO.min(expected));
        high = expected.plus(most.minus(all)?)?;
    }
    let at_the_end = |per_day: Money| -> Result<Money, MoneyError> {
        let days = Decimal::from(known.rest_ms.max(0)) / Decimal::from(MS_PER_DAY);
        known.month_so_far.plus(per_day.times(days)?)
    };
    Ok(Some(Forecast {
        per_day: Range { low, expected, high },
        month: Range { low: at_the_end(low)?, expected: at_the_end(expected)?, high: at_the_end(high)? },
        days_left: Range {
            low: days_left(known.available, high),
            expected: days_left(known.available, expected),
            high: days_left(known.available, low),
        },
        has_spread,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        Money::parse(text).unwrap()
    }

    /// Days as (all, of it live kinds).
    fn days(amounts: &[(&str, &str)]) -> Vec<ClosedDay> {
        amounts.iter().map(|(all, live)| ClosedDay { all: money(all), live_kinds: money(live) }).collect()
    }

    struct Case {
        what: &'static str,
        days: &'static [(&'static str, &'static str)],
        live: Option<&'static str>,
        so_far: &'static str,
        rest_hours: i64,
        available: &'static str,
        per_day: [&'static str; 3],
        month: [&'static str; 3],
        days_left: [Option<i64>; 3],
    }

    #[test]
    fn the_worked_table() {
        let cases = [
            Case {
                what: "like every day",
                days: &[("10", "8"), ("10", "8")],
                live: Some("8"),
                so_far: "100",
                rest_hours: 240,
                available: "55",
                per_day: ["10", "10", "10"],
                month: ["200", "200", "200"],
                days_left: [Some(5), Some(5), Some(5)],
            },
            Case {
                what: "days differ: average 12, cheapest 2 below, dearest 3 above; 4 a day are no live kinds",
                days: &[("10", "6"), ("11", "7"), ("15", "11")],
                live: Some("20"),
                so_far: "50",
                rest_hours: 36,
                available: "100",
                // 20 + (12 − 8)
                per_day: ["22", "24", "27"],
                month: ["83", "86", "90.5"],
                days_left: [Some(3), Some(4), Some(4)],
            },
            Case {
                what: "no inventory: the average of the closed days",
                days: &[("1", "0"), ("3", "0")],
                live: None,
                so_far: "4",
                rest_hours: 24,
                available: "10",
                per_day: ["1", "2", "3"],
                month: ["5", "6", "7"],
                days_left: [Some(3), Some(5), Some(10)],
            },
            Case {
                what: "only the inventory: a point",
                days: &[],
                live: Some("2.568"),
                so_far: "0",
                rest_hours: 12,
                available: "-1",
                per_day: ["2.568", "2.568", "2.568"],
                month: ["1.284", "1.284", "1.284"],
                days_left: [Some(0), Some(0), Some(0)],
            },
            Case {
                what: "everything was stopped: it never goes below nothing, and lasts for ever at least",
                days: &[("0", "0"), ("6", "6")],
                live: Some("0"),
                so_far: "6",
                rest_hours: 24,
                available: "9",
                per_day: ["0", "0", "3"],
                month: ["6", "6", "9"],
                days_left: [Some(3), None, None],
            },
            Case {
                what: "the month is over",
                days: &[("1", "1"), ("1", "1")],
                live: Some("1"),
                so_far: "30",
                rest_hours: 0,
                available: "1",
                per_day: ["1", "1", "1"],
                month: ["30", "30", "30"],
                days_left: [Some(1), Some(1), Some(1)],
            },
        ];
        for case in cases {
            let known = Known {
                days: &days(case.days),
                live_per_day: case.live.map(money),
                month_so_far: money(case.so_far),
                rest_ms: case.rest_hours * 3_600_000,
                available: money(case.available),
            };
            let made = forecast(&known).unwrap().unwrap();
            let amounts = |range: Range<Money>| [range.low, range.expected, range.high];
            assert_eq!(amounts(made.per_day), case.per_day.map(money), "{}", case.what);
            assert_eq!(amounts(made.month), case.month.map(money), "{}", case.what);
            let left = made.days_left;
            assert_eq!([left.low, left.expected, left.high], case.days_left, "{}", case.what);
            assert_eq!(made.has_spread, case.days.len() >= 2, "{}", case.what);
        }
    }

    #[test]
    fn nothing_known_is_no_forecast() {
        let known =
            Known { days: &[], live_per_day: None, month_so_far: Money::ZERO, rest_ms: 1, available: Money::ZERO };
        assert_eq!(forecast(&known).unwrap(), None);
    }
}
