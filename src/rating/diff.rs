//! What two books say differently: entry by entry for people, and since when for whoever has to rate again.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;

use super::{
    book::PriceBook,
    narrowing::Narrowing,
    overlap::{Entry, Says, written},
    timeline::{Dated, START, Timeline},
};
use crate::{time::Timestamp, usage::types::UsageType};

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Only in the new book.
    Added,
    /// Only in the old book.
    Removed,
    /// In both, and not the same.
    Changed,
}

/// One difference between two books.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// What became of it.
    pub kind: ChangeKind,
    /// What it is about, what it said and what it says.
    pub words: String,
    /// Its line in the old book.
    pub old_line: Option<u32>,
    /// Its line in the new book.
    pub new_line: Option<u32>,
}

/// Since when two books may price differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstDifference {
    /// At all times.
    Always,
    /// From an instant on; before it they price alike.
    From(Timestamp),
}

impl FirstDifference {
    /// The instant; None for always.
    pub const fn at(self) -> Option<Timestamp> {
        match self {
            Self::Always => None,
            Self::From(at) => Some(at),
        }
    }
}

impl PriceBook {
    /// Everything that the new book says differently: lists first, then tariffs, discounts and taxes in the order of the
    /// books. Notes and the order of entries are no difference.
    pub fn diff(old: &Self, new: &Self, zone: Tz) -> Vec<Change> {
        let mut changes = Vec::new();
        if old.currency() != new.currency() {
            changes.push(Change {
                kind: ChangeKind::Changed,
                words: format!("currency: {} instead of {}", new.currency().code(), old.currency().code()),
                old_line: Some(old.currency_line()),
                new_line: Some(new.currency_line()),
            });
        }
        let only_in = |one: &Self, other: &Self, kind, words: &str| -> Vec<Change> {
            one.free()
                .difference(other.free())
                .filter_map(|id| UsageType::from_id(*id))
                .map(|known| Change { kind, words: format!("\"{known}\" {words}"), old_line: None, new_line: None })
                .collect()
        };
        changes.extend(only_in(old, new, ChangeKind::Removed, "is no longer free"));
        changes.extend(only_in(new, old, ChangeKind::Added, "is free"));
        changes.extend(entries(old.tariffs(), new.tariffs(), zone));
        changes.extend(entries(old.discounts(), new.discounts(), zone));
        changes.extend(entries(old.taxes(), new.taxes(), zone));
        changes
    }

    /// Since when two books may price or tax anything differently; None if they price alike at all times. Whole billing days
    /// before that instant cost the same by both.
    pub fn first_difference(old: &Self, new: &Self) -> Option<FirstDifference> {
        if old.digest() == new.digest() {
            return None;
        }
        let always = (old.currency() != new.currency() || old.free() != new.free()).then_some(START);
        [
            always,
            first(old.tariffs(), new.tariffs()),
            first(old.discounts(), new.discounts()),
            first(old.taxes(), new.taxes()),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| if at == START { FirstDifference::Always } else { FirstDifference::From(at) })
    }
}

type Key<'e> = (Option<i32>, &'e Narrowing, Option<Timestamp>);

/// The differences of one kind of entry. The same entry is that of the same type, narrowing and start.
fn entries<E: Entry>(old: &[E], new: &[E], zone: Tz) -> Vec<Change> {
    let old: BTreeMap<Key<'_>, &E> = by_key(old);
    let new: BTreeMap<Key<'_>, &E> = by_key(new);
    let keys: BTreeSet<&Key<'_>> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter_map(|key| change(old.get(key).copied(), new.get(key).copied(), zone)).collect()
}

fn by_key<E: Entry>(entries: &[E]) -> BTreeMap<Key<'_>, &E> {
    entries.iter().map(|entry| ((entry.usage_type(), entry.narrowing(), entry.from()), entry)).collect()
}

fn change<E: Entry>(old: Option<&E>, new: Option<&E>, zone: Tz) -> Option<Change> {
    let what = E::WHAT;
    let (kind, words) = match (old, new) {
        (Some(old), Some(new)) => {
            let mut differences = Vec::new();
            if old.says() != new.says() {
                differences.push(format!("{} instead of {}", new.says_words(), old.says_words()));
            }
            if old.until() != new.until() {
                let end = |until: Option<Timestamp>| until.map_or("never".to_owned(), |at| written(at, zone));
                differences.push(format!("ends {} instead of {}", end(new.until()), end(old.until())));
            }
            if differences.is_empty() {
                return None;
            }
            let since = old.from().map(|from| format!(" from {} on", written(from, zone))).unwrap_or_default();
            (ChangeKind::Changed, format!("{what} of {}{since}: {}", new.subject(), differences.join(", ")))
        }
        (Some(entry), None) => (ChangeKind::Removed, told(entry, zone)),
        (None, Some(entry)) => (ChangeKind::Added, told(entry, zone)),
        (None, None) => return None,
    };
    Some(Change { kind, words, old_line: old.map(Entry::line), new_line: new.map(Entry::line) })
}

fn told<E: Entry>(entry: &E, zone: Tz) -> String {
    let mut words = format!("{} of {}: {}", E::WHAT, entry.subject(), entry.says_words());
    if let Some(from) = entry.from() {
        words.push_str(&format!(", from {} on", written(from, zone)));
    }
    if let Some(until) = entry.until() {
        words.push_str(&format!(", until {}", written(until, zone)));
    }
    words
}

type Group<'e> = (Option<i32>, &'e Narrowing);
type Said<'e> = Option<Says<'e>>;

/// What the entries of one type and narrowing say over time.
fn timelines<E: Entry>(entries: &[E]) -> BTreeMap<Group<'_>, Timeline<Said<'_>>> {
    let mut groups: BTreeMap<Group<'_>, Vec<Dated<Said<'_>>>> = BTreeMap::new();
    for entry in entries {
        let dated = Dated { from: entry.from(), until: entry.until(), holds: Some(entry.says()) };
        groups.entry((entry.usage_type(), entry.narrowing())).or_default().push(dated);
    }
    groups.into_iter().map(|(key, dated)| (key, Timeline::always(None).covered_by(&dated))).collect()
}

/// The first instant at which entries of some type and narrowing say something else.
fn first<E: Entry>(old: &[E], new: &[E]) -> Option<Timestamp> {
    let (old, new) = (timelines(old), timelines(new));
    let nothing = Timeline::always(None);
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter_map(|key| old.get(key).unwrap_or(&nothing).first_difference(new.get(key).unwrap_or(&nothing)))
        .min()
}
