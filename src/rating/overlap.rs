//! Tariffs of one type and offering must follow each other in time: no instant with two prices, no hole between two.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::{book::Tariff, problem::Problem};
use crate::time::{Day, Timestamp};

/// Finds overlaps and holes, each told at the later tariff with the line of the earlier one.
pub(super) fn find(tariffs: &[Tariff], zone: Tz) -> Vec<Problem> {
    let mut groups: BTreeMap<(i32, Option<&str>), Vec<&Tariff>> = BTreeMap::new();
    for tariff in tariffs {
        groups.entry((tariff.usage_type.id, tariff.offering())).or_default().push(tariff);
    }
    let mut problems = Vec::new();
    for group in groups.values_mut() {
        group.sort_by_key(|tariff| (tariff.from, tariff.line));
        for (earlier, later) in group.iter().zip(group.iter().skip(1)) {
            problems.extend(between(earlier, later, zone));
        }
    }
    problems
}

/// What is wrong between two tariffs that follow each other by start.
fn between(earlier: &Tariff, later: &Tariff, zone: Tz) -> Option<Problem> {
    let what = match later.offering() {
        Some(offering) => format!("\"{}\" of offering {offering}", later.usage_type),
        None => format!("\"{}\"", later.usage_type),
    };
    // Two tariffs in a row of the text may stand in either order of time.
    let first_line = earlier.line;
    let Some(start) = later.from.filter(|_| earlier.from != later.from) else {
        let message = format!("{what} has a price for the same time in line {first_line} already");
        return Some(Problem::new(later.line, message, "give one of both a from, and the other an until of that date"));
    };
    let from = written(start, zone);
    let example = format!("until = \"{from}\" in the tariff of line {first_line}");
    match earlier.until {
        Some(end) if end == start => None,
        Some(end) if end < start => {
            let end = written(end, zone);
            let message = format!("{what} has no price from {end} (end of line {first_line}) to {from} (start here)");
            Some(Problem::new(later.line, message, example))
        }
        _ => {
            let message = format!("{what} has two prices from {from} on: this one and that of line {first_line}");
            Some(Problem::new(later.line, message, example))
        }
    }
}

/// An instant as an operator would write it: a date, if it is midnight in the billing zone.
fn written(at: Timestamp, zone: Tz) -> String {
    let midnight = Day::of(at, zone).filter(|day| day.start(zone) == Some(at));
    midnight.map_or_else(|| at.to_string(), |day| day.to_string())
}
