//! Entries of one type and narrowing must not be in force at the same time, tariffs leave no hole between two, and no
//! record may fit two tariffs of which neither is more specific.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{
    book::{Pricing, Tariff},
    discount::Discount,
    narrowing::Narrowing,
    problem::Problem,
    tax::Tax,
};
use crate::{
    time::{Day, Timestamp},
    usage::types::Unit,
};

/// More ambiguities than these are not listed: they are one mistake made many times.
const MAX_AMBIGUITIES: usize = 100;

/// What tariffs, discounts and taxes have in common.
pub(super) trait Entry {
    /// What there is one of at a time.
    const WHAT: &'static str;
    /// Whether a hole between two is a mistake.
    const WHOLE: bool;

    fn usage_type(&self) -> Option<i32>;
    fn narrowing(&self) -> &Narrowing;
    fn from(&self) -> Option<Timestamp>;
    fn until(&self) -> Option<Timestamp>;
    fn line(&self) -> u32;
    /// What it is for, for people.
    fn subject(&self) -> String;
    /// What it says while it is in force.
    fn says(&self) -> Says<'_>;
    /// The same, for people.
    fn says_words(&self) -> String;
}

/// What an entry says, to be compared: numbers that are equal are, however they are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Says<'e> {
    Pricing(Unit, &'e Pricing),
    Percent(Decimal),
}

fn narrowed(subject: String, narrowing: &Narrowing) -> String {
    match narrowing.words() {
        Some(words) => format!("{subject} of {words}"),
        None => subject,
    }
}

impl Entry for Tariff {
    const WHAT: &'static str = "price";
    const WHOLE: bool = true;

    fn usage_type(&self) -> Option<i32> {
        Some(self.usage_type.id)
    }
    fn narrowing(&self) -> &Narrowing {
        &self.narrowing
    }
    fn from(&self) -> Option<Timestamp> {
        self.from
    }
    fn until(&self) -> Option<Timestamp> {
        self.until
    }
    fn line(&self) -> u32 {
        self.line
    }
    fn subject(&self) -> String {
        narrowed(format!("\"{}\"", self.usage_type), &self.narrowing)
    }
    fn says(&self) -> Says<'_> {
        Says::Pricing(self.unit, &self.pricing)
    }
    fn says_words(&self) -> String {
        match &self.pricing {
            Pricing::Blank => format!("no price yet (per {})", self.unit),
            pricing => format!("{pricing} per {}", self.unit),
        }
    }
}

impl Entry for Discount {
    const WHAT: &'static str = "discount";
    const WHOLE: bool = false;

    fn usage_type(&self) -> Option<i32> {
        self.usage_type.map(|known| known.id)
    }
    fn narrowing(&self) -> &Narrowing {
        &self.narrowing
    }
    fn from(&self) -> Option<Timestamp> {
        self.from
    }
    fn until(&self) -> Option<Timestamp> {
        self.until
    }
    fn line(&self) -> u32 {
        self.line
    }
    fn subject(&self) -> String {
        narrowed(
            self.usage_type.map_or_else(|| "everything".to_owned(), |known| format!("\"{known}\"")),
            &self.narrowing,
        )
    }
    fn says(&self) -> Says<'_> {
        Says::Percent(self.percent)
    }
    fn says_words(&self) -> String {
        format!("{} % off", self.percent.normalize())
    }
}

impl Entry for Tax {
    const WHAT: &'static str = "tax rate";
    const WHOLE: bool = false;

    fn usage_type(&self) -> Option<i32> {
        None
    }
    fn narrowing(&self) -> &Narrowing {
        &self.narrowing
    }
    fn from(&self) -> Option<Timestamp> {
        self.from_at
    }
    fn until(&self) -> Option<Timestamp> {
        self.until_at
    }
    fn line(&self) -> u32 {
        self.line
    }
    fn subject(&self) -> String {
        narrowed("everything".to_owned(), &self.narrowing)
    }
    fn says(&self) -> Says<'_> {
        Says::Percent(self.rate.percent())
    }
    fn says_words(&self) -> String {
        self.rate.to_string()
    }
}

/// Finds overlaps and holes, each told at the later entry with the line of the earlier one.
pub(super) fn find<E: Entry>(entries: &[E], zone: Tz) -> Vec<Problem> {
    let mut groups: BTreeMap<(Option<i32>, &Narrowing), Vec<&E>> = BTreeMap::new();
    for entry in entries {
        groups.entry((entry.usage_type(), entry.narrowing())).or_default().push(entry);
    }
    let mut problems = Vec::new();
    for group in groups.values_mut() {
        group.sort_by_key(|entry| (entry.from(), entry.line()));
        for (earlier, later) in group.iter().zip(group.iter().skip(1)) {
            problems.extend(between(*earlier, *later, zone));
        }
    }
    problems
}

/// What is wrong between two entries that follow each other by start.
fn between<E: Entry>(earlier: &E, later: &E, zone: Tz) -> Option<Problem> {
    let (subject, what) = (later.subject(), E::WHAT);
    // Two entries in a row of the text may stand in either order of time.
    let (line, first_line) = (later.line(), earlier.line());
    let Some(start) = later.from().filter(|_| earlier.from() != later.from()) else {
        let message = format!("{subject} has a {what} for the same time in line {first_line} already");
        return Some(Problem::new(line, message, "give one of both a from, and the other an until of that date"));
    };
    let from = written(start, zone);
    let example = format!("until = \"{from}\" in the entry of line {first_line}");
    match earlier.until() {
        Some(end) if end == start || (end < start && !E::WHOLE) => None,
        Some(end) if end < start => {
            let end = written(end, zone);
            let message =
                format!("{subject} has no {what} from {end} (end of line {first_line}) to {from} (start here)");
            Some(Problem::new(line, message, example))
        }
        _ => {
            let message = format!("{subject} has two {what}s from {from} on: this one and that of line {first_line}");
            Some(Problem::new(line, message, example))
        }
    }
}

/// Finds tariffs that can fit the same record at the same time, none of them more specific than the other: two different
/// tags, or sizes that overlap.
pub(super) fn find_ambiguous(tariffs: &[Tariff]) -> Vec<Problem> {
    let mut groups: BTreeMap<(i32, [Option<&str>; 7]), Vec<&Tariff>> = BTreeMap::new();
    for tariff in tariffs {
        let Narrowing { tag, cpu, memory_mib, .. } = &tariff.narrowing;
        if tag.is_some() || cpu.is_some() || memory_mib.is_some() {
            groups.entry((tariff.usage_type.id, tariff.narrowing.fixed())).or_default().push(tariff);
        }
    }
    let mut problems = Vec::new();
    for group in groups.values() {
        for (place, later) in group.iter().enumerate() {
            for earlier in group.iter().take(place) {
                if problems.len() < MAX_AMBIGUITIES
                    && earlier.narrowing != later.narrowing
                    && earlier.narrowing.is_ambiguous_with(&later.narrowing)
                    && at_the_same_time(earlier, later)
                {
                    problems.push(ambiguous(earlier, later));
                }
            }
        }
    }
    problems
}

fn at_the_same_time(one: &Tariff, two: &Tariff) -> bool {
    let begins_before_end =
        |one: &Tariff, two: &Tariff| two.until.is_none_or(|until| one.from.is_none_or(|from| from < until));
    begins_before_end(one, two) && begins_before_end(two, one)
}

fn ambiguous(earlier: &Tariff, later: &Tariff) -> Problem {
    let message = format!(
        "{} and {} of line {} can fit the same record, and neither comes before the other",
        later.subject(),
        earlier.narrowing.words().unwrap_or_default(),
        earlier.line
    );
    let example = if earlier.narrowing.tag == later.narrowing.tag {
        format!("sizes that end where those of line {} begin", earlier.line)
    } else {
        "an offering, a template or a zone more in one of both".to_owned()
    };
    Problem::new(later.line, message, example)
}

/// An instant as an operator would write it: a date, if it is midnight in the billing zone.
pub(super) fn written(at: Timestamp, zone: Tz) -> String {
    let midnight = Day::of(at, zone).filter(|day| day.start(zone) == Some(at));
    midnight.map_or_else(|| at.to_string(), |day| day.to_string())
}
