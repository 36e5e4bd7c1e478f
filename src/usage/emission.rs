//! Emissions as sets (design 7.1 to 7.3): which rows of CloudStack's answer are the truth.
//!
//! CloudStack reports windows again when a usage event comes late (facts 3.5). Each run of its usage job that reports
//! a window is an *emission* of it, judged as a whole: the newest one is true, so a correction may also be an absence.
//! The rows come in the order in which the server wrote them, and that order is all there is to tell emissions apart:
//!
//! - the windows of one emission ascend and do not overlap (a catch-up does so without exception): a window that starts
//!   before the end of the one before it begins a new emission, whether its start goes backwards or, after an event that
//!   came only a little late, lies inside the newest window;
//! - so does an owner's window that comes again after another owner's rows;
//! - so does, within one owner's window, a usage type that comes again after other types: CloudStack writes each type of
//!   an owner in one go, though in which order may differ by release. Where the new emission begins with types that the old
//!   one did not have, the order of types in the other windows tells how far back it reaches;
//! - types with dates of their own (25, 27) step back inside an emission and are left out of the test.
//!
//! What is current then is settled resource by resource (`settle`): hours that no window can hold, the same again under
//! another offering, windows that overlap.
//!
//! Pure: the same rows in the same order give the same answer, whoever asks and however often.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

use super::{
    record::{Owner, Record, RecordKey, Standing},
    review_kind::Kind,
    settle,
    types::{Quantity, UsageType},
};
use crate::time::Period;

/// Windows that share no more than this do not overlap: CloudStack keeps whole seconds, and a run that ends inside one lets
/// the next window begin in it.
const SHARED_MS: i64 = 1_000;

/// Whether two windows report the same time.
pub(super) fn overlap(one: Period, other: Period) -> bool {
    one.overlap(other).is_some_and(|both| both.end().as_ms() - both.start().as_ms() > SHARED_MS)
}

/// A record with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its key.
    pub key: RecordKey,
    /// The record.
    pub record: Record,
    /// How many raw rows it stands for: identical repeats are dropped and counted.
    pub seen: u32,
    /// What became of it.
    pub standing: Standing,
    /// Why it waits for a person, if it does. A part window that is charged already to the last bit waits for nobody.
    pub kind: Option<Kind>,
    /// Part windows: what it reports beyond what is charged for its time, in the unit of its quantity.
    pub estimate: Option<i64>,
    /// The newest emission that holds it.
    pub(super) emission: u32,
}

/// Types that CloudStack's usage server writes in one go, possibly mixed: one number for each such family.
const fn family(usage_type: i32) -> i32 {
    match usage_type {
        2 => 1,
        5 => 4,
        8 | 9 => 7,
        22..=24 => 21,
        other => other,
    }
}

/// Types whose records carry dates of their own (facts 3.3).
const fn has_own_dates(usage_type: i32) -> bool {
    matches!(usage_type, 25 | 27)
}

/// Record keys are hashes already.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where a variant stands, and how often equal rows of its newest emission were taken as different ones.
struct Slot {
    index: usize,
    emission: u32,
    times: u32,
}

/// Judges the rows of one span, given in the order in which the server sent them.
pub fn judge(rows: Vec<Record>) -> Vec<Judged> {
    let places = place(&rows);
    let mut newest: HashMap<Period, u32> = HashMap::new();
    for (record, place) in rows.iter().zip(&places) {
        if !has_own_dates(record.usage_type) {
            let emission = newest.entry(place.reported_with).or_default();
            *emission = (*emission).max(place.emission);
        }
    }

    // Identical rows of different emissions are one variant; it is true if the newest emission holds it.
    let mut judged: Vec<Judged> = Vec::with_capacity(rows.len());
    let mut slots: HashMap<RecordKey, Slot, BuildHasherDefault<KeyHasher>> =
        HashMap::with_capacity_and_hasher(rows.len(), BuildHasherDefault::default());
    for (record, place) in rows.into_iter().zip(places) {
        let current = newest.get(&place.reported_with).is_none_or(|emission| *emission == place.emission);
        let mut key = record.key(0);
        if let Some(first) = slots.get_mut(&key) {
            if first.emission == place.emission {
                // Where the same thing can not be used so often, it is a repeat that the order did not tell.
                if may_stand_beside_itself(&record, first.times + 1) {
                    first.times += 1;
                }
                if first.times > 1 {
                    key = record.key(first.times - 1);
                }
            } else {
                first.times = 1;
                first.emission = place.emission;
            }
        }
        if let Some(slot) = slots.get_mut(&key) {
            slot.emission = place.emission;
            if let Some(known) = judged.get_mut(slot.index) {
                known.seen += 1;
                known.emission = known.emission.max(place.emission);
                if current {
                    known.standing = Standing::Current;
                }
            }
        } else {
            slots.insert(key, Slot { index: judged.len(), emission: place.emission, times: 1 });
            let standing = if current { Standing::Current } else { Standing::Superseded };
            let emission = place.emission;
            judged.push(Judged { key, record, seen: 1, standing, kind: None, estimate: None, emission });
        }
    }
    settle::settle(&mut judged);
    judged
}

/// Whether so many equal rows of one resource and window can all be right in one emission: hours may be, as long as they fit
/// into the window together (in 012 a network was there twice within an hour); nothing else is reported in two equal halves.
fn may_stand_beside_itself(record: &Record, times: u32) -> bool {
    let Some(kind) = UsageType::from_id(record.usage_type) else { return false };
    kind.quantity == Quantity::Hours
        && !kind.may_exceed_window
        && record.quantity.saturating_mul(i64::from(times)) <= settle::hours_of(record.window)
}

/// The emission of a row, and the window that it was reported with, which differs from its own dates for types 25 and 27.
struct Place {
    emission: u32,
    reported_with: Period,
}

/// Gives each row its emission and the window that it was reported with.
fn place(rows: &[Record]) -> Vec<Place> {
    let order = learn_order(rows);
    let mut emission = 0_u32;
    let mut last: Option<(&Owner, Period)> = None;
    // The families of the present owner's window with their first rows, the one being written last.
    let mut families: Vec<(i32, usize)> = Vec::new();
    let mut seen: HashSet<(&Owner, Period)> = HashSet::new();
    let mut places: Vec<Place> = Vec::with_capacity(rows.len());
    for record in rows {
        if has_own_dates(record.usage_type) {
            let reported_with =
                last.map(|(_, window)| window).filter(|window| window.covers(record.window)).unwrap_or(record.window);
            places.push(Place { emission, reported_with });
            continue;
        }
        let group = (&record.owner, record.window);
        let same_group = last == Some(group);
        let this_family = family(record.usage_type);
        let going_on = families.last().is_some_and(|(family, _)| *family == this_family);
        let backwards = last.is_some_and(|(_, before)| {
            record.window.start() < before.start() || (record.window != before && overlap(record.window, before))
        });
        let again = !same_group && seen.contains(&group);
        let types_restart = same_group && !going_on && families.iter().any(|(family, _)| *family == this_family);
        if types_restart {
            emission += 1;
            let first = begin_of_restart(&families, this_family, &order).unwrap_or(places.len());
            for place in places.iter_mut().skip(first) {
                place.emission = emission;
            }
            families.retain(|(_, row)| *row >= first);
            seen.clear();
        } else if backwards || again {
            emission += 1;
            seen.clear();
        }
        if !same_group {
            families.clear();
        }
        if families.last().is_none_or(|(family, _)| *family != this_family) {
            families.push((this_family, places.len()));
        }
        if !same_group || types_restart {
            seen.insert(group);
            last = Some(group);
        }
        places.push(Place { emission, reported_with: record.window });
    }
    places
}

/// How often a family was written right before another one, in the windows of owners whose types came once each.
fn learn_order(rows: &[Record]) -> HashMap<(i32, i32), u32> {
    let mut order: HashMap<(i32, i32), u32> = HashMap::new();
    let mut group: Option<(&Owner, Period)> = None;
    let mut families: Vec<i32> = Vec::new();
    let mut once = true;
    let mut learn = |families: &mut Vec<i32>, once: bool| {
        if once {
            for (at, before) in families.iter().enumerate() {
                for after in families.iter().skip(at + 1) {
                    *order.entry((*before, *after)).or_default() += 1;
                }
            }
        }
        families.clear();
    };
    for record in rows.iter().filter(|record| !has_own_dates(record.usage_type)) {
        if group != Some((&record.owner, record.window)) {
            learn(&mut families, once);
            group = Some((&record.owner, record.window));
            once = true;
        }
        let this_family = family(record.usage_type);
        if families.last() != Some(&this_family) {
            once = once && !families.contains(&this_family);
            families.push(this_family);
        }
    }
    learn(&mut families, once);
    order
}

/// The row with which a new emission of the same owner and window begins when a type comes again: the row at hand, or as far
/// back as there are types that other windows always have before it.
fn begin_of_restart(families: &[(i32, usize)], again: i32, order: &HashMap<(i32, i32), u32>) -> Option<usize> {
    let mut begin = None;
    for (family, row) in families.iter().rev() {
        let before = order.contains_key(&(*family, again)) && !order.contains_key(&(again, *family));
        if *family == again || !before {
            break;
        }
        begin = Some(*row);
    }
    begin
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::time::Timestamp;

    pub(in crate::usage) fn hour(start: i64, end: i64) -> Period {
        Period::new(Timestamp::from_seconds(start * 60), Timestamp::from_seconds(end * 60)).unwrap()
    }

    /// A record of an owner's resource in a window given in minutes.
    pub(in crate::usage) fn row(
        owner: &str,
        usage_type: i32,
        resource: &str,
        window: (i64, i64),
        quantity: i64,
    ) -> Record {
        Record {
            owner: Owner::Account(owner.into()),
            usage_type,
            resource: resource.into(),
            resource_name: resource.into(),
            offering: None,
            shape: None,
            attributes: None,
            size_bytes: None,
            window: hour(window.0, window.1),
            quantity,
        }
    }

    fn standings(rows: Vec<Record>) -> Vec<(String, i64, u32, Standing)> {
        judge(rows)
            .into_iter()
            .map(|judged| (judged.record.resource.to_string(), judged.record.quantity, judged.seen, judged.standing))
            .collect()
    }

    #[test]
    fn a_repeat_is_counted_and_charged_once() {
        let one =
            || vec![row("a", 3, "ip", (0, 60), 100), row("a", 1, "vm", (0, 60), 100), row("b", 3, "ip2", (0, 60), 100)];
        let mut rows = one();
        rows.extend(one());
        let judged = standings(rows);
        assert_eq!(judged.len(), 3);
        assert!(judged.iter().all(|(_, _, seen, standing)| *seen == 2 && *standing == Standing::Current));
    }

    #[test]
    fn a_repeat_of_a_single_owner_is_told_by_the_order_of_types() {
        let rows = vec![
            row("a", 3, "ip", (0, 60), 100),
            row("a", 1, "vm", (0, 60), 100),
            row("a", 3, "ip", (0, 60), 100),
            row("a", 1, "vm", (0, 60), 50),
        ];
        assert_eq!(
            standings(rows),
            vec![
                ("ip".to_owned(), 100, 2, Standing::Current),
                ("vm".to_owned(), 100, 1, Standing::Superseded),
                ("vm".to_owned(), 50, 1, Standing::Current),
            ]
        );
    }

    #[test]
    fn the_order_of_types_may_be_another_one() {
        // As a release might write them that asks its parsers in another order.
        let owner = |name: &str| {
            let resource = |kind: &str| format!("{kind} of {name}");
            vec![
                row(name, 1, &resource("vm"), (0, 60), 100),
                row(name, 2, &resource("vm"), (0, 60), 100),
                row(name, 4, &resource("net"), (0, 60), 100),
                row(name, 5, &resource("net"), (0, 60), 100),
                row(name, 4, &resource("net2"), (0, 60), 100),
                row(name, 5, &resource("net2"), (0, 60), 100),
                row(name, 6, &resource("disk"), (0, 60), 100),
                row(name, 3, &resource("ip"), (0, 60), 100),
                row(name, 30, &resource("network"), (0, 60), 50),
                row(name, 30, &resource("network"), (0, 60), 40),
            ]
        };
        let rows: Vec<Record> = ["a", "b"].into_iter().flat_map(owner).collect();
        assert!(standings(rows.clone()).iter().all(|row| row.3 == Standing::Current));
        let twice: Vec<Record> = rows.iter().chain(&rows).cloned().collect();
        assert!(standings(twice).iter().all(|row| row.3 == Standing::Current && row.2 == 2));
    }

    #[test]
    fn an_absence_in_the_newest_emission_is_a_correction() {
        let rows = vec![
            row("a", 3, "ip", (0, 60), 100),
            row("b", 1, "vm", (0, 60), 100),
            row("a", 3, "ip", (60, 120), 100),
            row("a", 3, "ip", (0, 60), 100),
            row("a", 3, "ip", (60, 120), 100),
        ];
        let judged = standings(rows);
        assert!(judged.contains(&("vm".to_owned(), 100, 1, Standing::Superseded)));
        assert_eq!(judged.iter().filter(|row| row.3 == Standing::Current).count(), 2);
    }

    #[test]
    fn two_rows_of_one_emission_never_conflict() {
        let rows = vec![row("a", 30, "212", (0, 60), 556), row("a", 30, "212", (0, 60), 430_833)];
        assert!(standings(rows).iter().all(|row| row.3 == Standing::Current));
        let equal = vec![row("a", 30, "212", (0, 60), 556), row("a", 30, "212", (0, 60), 556)];
        assert_eq!(standings(equal).len(), 2, "an ordinal keeps equal rows of one emission apart");
    }

    #[test]
    fn a_whole_window_twice_is_a_repeat_even_where_the_order_does_not_tell() {
        let rows = || row("a", 3, "ip", (0, 60), 1_000_000);
        assert_eq!(standings(vec![rows(), rows(), rows()]), vec![("ip".to_owned(), 1_000_000, 3, Standing::Current)]);
        let bytes = || row("a", 4, "net/router", (0, 60), 100);
        assert_eq!(standings(vec![bytes(), bytes()]), vec![("net/router".to_owned(), 100, 2, Standing::Current)]);
    }

    #[test]
    fn a_part_window_charges_only_what_was_not_charged() {
        let rows = vec![
            row("a", 3, "ip", (0, 60), 1_000_000),
            row("a", 3, "ip", (60, 120), 1_000_000),
            row("a", 3, "ip", (39, 60), 350_000),
            row("b", 3, "new", (39, 60), 242_500),
            row("a", 3, "ip", (60, 120), 1_000_000),
        ];
        let judged = standings(rows);
        assert!(judged.contains(&("ip".to_owned(), 350_000, 1, Standing::Part)));
        assert!(judged.contains(&("new".to_owned(), 242_500, 1, Standing::Current)));
        assert!(judged.contains(&("ip".to_owned(), 1_000_000, 2, Standing::Current)));
    }

    #[test]
    fn a_part_of_the_newest_window_begins_a_new_emission() {
        let rows = vec![
            row("a", 3, "ip", (0, 60), 1_000_000),
            row("b", 3, "ip2", (0, 60), 1_000_000),
            row("a", 3, "ip", (39, 60), 350_000),
            row("b", 3, "ip2", (39, 60), 350_000),
            row("b", 3, "new", (39, 60), 242_500),
            row("a", 3, "ip", (60, 120), 1_000_000),
        ];
        let judged: Vec<Standing> = standings(rows).into_iter().map(|row| row.3).collect();
        let current = Standing::Current;
        assert_eq!(judged, [current, current, Standing::Part, Standing::Part, current, current]);
    }

    #[test]
    fn windows_that_share_a_second_do_not_overlap() {
        // A run that ends inside a second: CloudStack stores the second, so that the next window begins in it.
        let window = |start, end| Period::new(Timestamp::from_seconds(start), Timestamp::from_seconds(end)).unwrap();
        let at = |start, end| Record { window: window(start, end), ..row("a", 3, "ip", (0, 60), 1_000_000) };
        let other = |start, end| Record { window: window(start, end), ..row("b", 3, "ip2", (0, 60), 1_000_000) };
        let rows = vec![
            at(0, 3_601),
            other(0, 3_601),
            at(3_600, 7_201),
            other(3_600, 7_201),
            at(3_600, 7_201),
            at(7_200, 10_801),
        ];
        assert!(standings(rows).iter().filter(|row| row.0 == "ip").all(|row| row.3 == Standing::Current));
    }

    #[test]
    fn a_window_that_sticks_out_of_a_charged_span_waits_for_a_person() {
        let rows = vec![row("a", 3, "ip", (60, 120), 1_000_000), row("a", 3, "ip", (30, 90), 1_000_000)];
        assert_eq!(standings(rows)[1].3, Standing::Quarantined);
    }

    #[test]
    fn a_newer_wider_window_replaces_what_it_covers() {
        let rows = vec![
            row("a", 3, "ip", (0, 60), 1_000_000),
            row("a", 3, "ip", (60, 120), 1_000_000),
            row("a", 3, "ip", (0, 120), 2_000_000),
        ];
        let judged = standings(rows);
        assert_eq!(
            judged.iter().map(|row| row.3).collect::<Vec<_>>(),
            vec![Standing::Superseded, Standing::Superseded, Standing::Current]
        );
    }

    #[test]
    fn types_with_dates_of_their_own_do_not_split_an_emission() {
        let rows = vec![
            row("a", 1, "vm", (60, 120), 1_000_000),
            row("a", 27, "snap", (86, 120), 563_056),
            row("a", 25, "snap", (86, 120), 563_056),
            row("a", 14, "vpn", (60, 120), 564_167),
            row("a", 6, "disk", (60, 120), 1_000_000),
        ];
        assert!(standings(rows).iter().all(|row| row.3 == Standing::Current));
    }

    #[test]
    fn a_single_owners_emission_may_begin_with_a_new_type() {
        // The order is known from the other window: 6 before 3 before 1. A disk came late, so that the second emission of the
        // first window begins with it.
        let rows = vec![
            row("a", 6, "disk", (60, 120), 900_000),
            row("a", 3, "ip", (60, 120), 1_000_000),
            row("a", 1, "vm", (60, 120), 1_000_000),
            row("a", 3, "ip", (0, 60), 1_000_000),
            row("a", 1, "vm", (0, 60), 1_000_000),
            row("a", 6, "disk", (0, 60), 200_000),
            row("a", 3, "ip", (0, 60), 1_000_000),
            row("a", 1, "vm", (0, 60), 500_000),
        ];
        let judged = standings(rows.clone());
        assert!(judged.contains(&("disk".to_owned(), 200_000, 1, Standing::Current)), "{judged:?}");
        assert!(judged.contains(&("vm".to_owned(), 1_000_000, 1, Standing::Superseded)), "{judged:?}");
        assert!(judged.contains(&("vm".to_owned(), 500_000, 1, Standing::Current)), "{judged:?}");
        // Where no other window tells the order, the type that came again begins the emission.
        let judged = standings(rows.into_iter().skip(3).collect());
        assert!(judged.contains(&("disk".to_owned(), 200_000, 1, Standing::Superseded)), "{judged:?}");
    }

    #[test]
    fn judging_again_changes_nothing() {
        let rows: Vec<Record> = (0..6)
            .flat_map(|run| (run / 2..4).map(move |hour| row("a", 3, "ip", (hour * 60, hour * 60 + 60), 100 + run % 2)))
            .collect();
        assert_eq!(judge(rows.clone()), judge(rows));
    }
}
