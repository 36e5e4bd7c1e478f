//! A month there and here, side by side, and why the figures differ where that can be told.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ids::AccountId, money::Money};

/// Differences up to this come from the plugin's rounding: a price of an hour with eight decimals, and an amount with eight.
const ROUNDING: Money = Money::from_micros(10_000);

/// An account and a usage type.
pub type Key = (AccountId, i32);

/// What was charged here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ours {
    /// Net.
    pub net: Money,
    /// Records, or parts of them, without a price.
    pub unpriced: i64,
}

/// What is known of the records of an account and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Records {
    /// Records that CloudStack reported more than once, and that are not charged again here.
    pub repeats: i64,
    /// Records that wait for a person here.
    pub waiting: i64,
}

/// What may explain a difference.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Types whose tariffs there hold at the same time.
    pub overlapping: BTreeSet<i32>,
    /// Types about which a script decides there.
    pub ruled: BTreeSet<i32>,
    /// Types with a tariff there that begins or ends within the month.
    pub changed: BTreeSet<i32>,
    /// Types that are free here.
    pub free: BTreeSet<i32>,
    /// Accounts that are not charged here for the whole month, with the reason.
    pub not_charged: BTreeMap<AccountId, String>,
    /// Of the records.
    pub records: BTreeMap<Key, Records>,
    /// Whether this month's usage is not fetched to its end.
    pub is_open: bool,
    /// Whether billing days are cut in another zone than UTC, where the plugin cuts.
    pub other_zone: bool,
}

/// One line of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose, and what.
    pub key: Key,
    /// What the plugin charged; None: it says nothing of it.
    pub theirs: Option<Money>,
    /// What was charged here, net.
    pub ours: Money,
    /// Ours less theirs.
    pub difference: Money,
    /// Why, where it can be told. Several may apply. Empty where the figures agree.
    pub why: Vec<String>,
}

/// Every account and type that either side knows.
pub fn compare(theirs: &BTreeMap<Key, Money>, ours: &BTreeMap<Key, Ours>, facts: &Facts) -> Vec<Row> {
    let keys: BTreeSet<Key> = theirs.keys().chain(ours.keys()).copied().collect();
    keys.into_iter()
        .filter_map(|key| {
            let (there, here) = (theirs.get(&key).copied(), ours.get(&key).copied().unwrap_or_default());
            let amount = there.unwrap_or(Money::ZERO);
            if amount.is_zero() && here == Ours::default() {
                return None;
            }
            // Two amounts that fit differ by one that fits, except at the very edge; then nothing is said of it.
            let difference = here.net.minus(amount).ok()?;
            let why = if difference.is_zero() { Vec::new() } else { reasons(key, there, here, difference, facts) };
            Some(Row { key, theirs: there, ours: here.net, difference, why })
        })
        .collect()
}

fn reasons(key: Key, theirs: Option<Money>, ours: Ours, difference: Money, facts: &Facts) -> Vec<String> {
    let (account, usage_type) = key;
    let records = facts.records.get(&key).copied().unwrap_or_default();
    let mut why = Vec::new();
    let mut say = |holds: bool, words: String| {
        if holds {
            why.push(words);
        }
    };
    let (more_there, more_here) = (difference.is_negative(), difference.is_positive());
    if let Some(reason) = facts.not_charged.get(&account) {
        say(more_there, reason.clone());
    }
    say(ours.unpriced > 0, format!("{} records have no price here", ours.unpriced));
    say(more_there && facts.free.contains(&usage_type), "it is free here".to_owned());
    say(
        more_there && facts.overlapping.contains(&usage_type),
        "tariffs overlap there, and each of them is charged".to_owned(),
    );
    say(facts.ruled.contains(&usage_type), "a rule decides about a tariff there".to_owned());
    say(
        more_there && facts.changed.contains(&usage_type),
        "a tariff changed in the month: there a record across the change is charged by both".to_owned(),
    );
    say(
        more_there && records.repeats > 0,
        format!("{} records were reported again; there each report is charged", records.repeats),
    );
    say(records.waiting > 0, format!("{} records wait for a person here", records.waiting));
    say(
        more_here && theirs.is_none(),
        "nothing was charged there: a removed account, a rule that failed, or no run of it yet".to_owned(),
    );
    say(facts.is_open, "the month is not closed: the two may be at different windows".to_owned());
    say(facts.other_zone, "the month begins and ends in another time zone there".to_owned());
    let small = !(difference.max(Money::ZERO) > ROUNDING || difference < Money::from_micros(-ROUNDING.as_micros()));
    say(small, "rounding: the price of an hour has eight decimals there".to_owned());
    if why.is_empty() {
        why.push("not known; compare the prices and the records".to_owned());
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: AccountId = AccountId::new(1);

    fn money(text: &str) -> Money {
        Money::parse(text).unwrap()
    }

    fn one(theirs: Option<&str>, ours: &str, unpriced: i64, facts: &Facts) -> Row {
        let key = (BOB, 1);
        let theirs = theirs.map(|text| (key, money(text))).into_iter().collect();
        let ours = BTreeMap::from([(key, Ours { net: money(ours), unpriced })]);
        compare(&theirs, &ours, facts).remove(0)
    }

    #[test]
    fn equal_figures_need_no_reason() {
        let row = one(Some("7.20"), "7.20", 0, &Facts { is_open: true, other_zone: true, ..Facts::default() });
        assert_eq!((row.difference, row.why.len()), (Money::ZERO, 0));
        assert_eq!(compare(&BTreeMap::from([((BOB, 1), Money::ZERO)]), &BTreeMap::new(), &Facts::default()), []);
    }

    #[test]
    fn each_reason_is_told_where_it_can_explain_the_direction() {
        type Case<'c> = (Option<&'c str>, &'c str, i64, Facts, Option<&'c str>);
        let types = BTreeSet::from([1]);
        let records = |repeats, waiting| BTreeMap::from([((BOB, 1), Records { repeats, waiting })]);
        let none = Facts::default;
        // (theirs, ours, unpriced, facts, what is said)
        let cases: Vec<Case<'_>> = vec![
            (Some("2"), "0", 3, none(), Some("3 records have no price here")),
            (Some("2"), "0", 0, Facts { free: types.clone(), ..none() }, Some("it is free here")),
            (Some("2"), "1", 0, Facts { overlapping: types.clone(), ..none() }, Some("tariffs overlap")),
            (Some("1"), "2", 0, Facts { overlapping: types.clone(), ..none() }, None),
            (Some("2"), "1", 0, Facts { ruled: types.clone(), ..none() }, Some("a rule decides")),
            (Some("2"), "1", 0, Facts { changed: types, ..none() }, Some("charged by both")),
            (Some("2"), "1", 0, Facts { records: records(4, 0), ..none() }, Some("4 records were reported again")),
            (Some("1"), "2", 0, Facts { records: records(4, 0), ..none() }, None),
            (Some("2"), "1", 0, Facts { records: records(0, 2), ..none() }, Some("2 records wait for a person")),
            (None, "1", 0, none(), Some("nothing was charged there")),
            (Some("2"), "1", 0, Facts { is_open: true, ..none() }, Some("not closed")),
            (Some("2"), "1", 0, Facts { other_zone: true, ..none() }, Some("another time zone")),
            (Some("1.01"), "1", 0, none(), Some("rounding")),
            (Some("1.02"), "1", 0, none(), None),
        ];
        for (theirs, ours, unpriced, facts, said) in cases {
            let row = one(theirs, ours, unpriced, &facts);
            match said {
                Some(words) => assert!(row.why.iter().any(|why| why.contains(words)), "{row:?} lacks {words}"),
                None => assert_eq!(row.why, ["not known; compare the prices and the records"]),
            }
        }
        let before = Facts { not_charged: BTreeMap::from([(BOB, "billing begins later".to_owned())]), ..none() };
        assert_eq!(one(Some("2"), "0", 0, &before).why, ["billing begins later"]);
    }
}
