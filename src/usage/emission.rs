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
//!   an owner in one go, though in which order may differ by release;
//! - types with dates of their own (25, 27) step back inside an emission and are left out of the test.
//!
//! Records of one emission never conflict with each other. A *part window* (from a late event to the end of its window)
//! inside a span that is charged already charges nothing by itself; what lies outside charged spans is charged.
//!
//! Pure: the same rows in the same order give the same answer, whoever asks and however often.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    record::{Owner, Record, RecordKey, Standing},
    types::{Quantity, UsageType},
};
use crate::time::Period;

/// Windows that share no more than this do not overlap: CloudStack keeps whole seconds, and a run that ends inside one lets
/// the next window begin in it.
const SHARED_MS: i64 = 1_000;

/// Whether two windows report the same time.
fn overlap(one: Period, other: Period) -> bool {
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
    /// Why, where it is not current.
    pub reason: Option<&'static str>,
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

struct Placed {
    record: Record,
    emission: u32,
    /// The window that the record was reported with; differs from its own dates for types 25 and 27.
    reported_with: Period,
}

/// Judges the rows of one span, given in the order in which the server sent them.
pub fn judge(rows: Vec<Record>) -> Vec<Judged> {
    let placed = place(rows);
    let mut newest: HashMap<Period, u32> = HashMap::new();
    for row in &placed {
        if !has_own_dates(row.record.usage_type) {
            let emission = newest.entry(row.reported_with).or_default();
            *emission = (*emission).max(row.emission);
        }
    }

    // Identical rows of different emissions are one variant; it is true if the newest emission holds it.
    let mut order: Vec<RecordKey> = Vec::new();
    let mut variants: HashMap<RecordKey, (Judged, u32)> = HashMap::new();
    let mut ordinals: HashMap<(u32, RecordKey), u32> = HashMap::new();
    for row in placed {
        let ordinal = ordinals.entry((row.emission, row.record.key(0))).or_default();
        if *ordinal > 0 && !may_stand_beside_itself(&row.record, *ordinal + 1) {
            // The same thing used so often can not be: a repeat that the order did not tell.
            *ordinal -= 1;
        }
        let key = row.record.key(*ordinal);
        *ordinal += 1;
        let current = newest.get(&row.reported_with).is_none_or(|emission| *emission == row.emission);
        let standing = if current { Standing::Current } else { Standing::Superseded };
        let reason = (!current).then_some("a newer run of the usage job reported this window without it");
        if let Some((judged, emission)) = variants.get_mut(&key) {
            judged.seen += 1;
            *emission = (*emission).max(row.emission);
            if current {
                judged.standing = Standing::Current;
                judged.reason = None;
            }
        } else {
            order.push(key);
            variants.insert(key, (Judged { key, record: row.record, seen: 1, standing, reason }, row.emission));
        }
    }
    settle_overlaps(&mut variants, &order);
    order.iter().filter_map(|key| variants.remove(key).map(|(judged, _)| judged)).collect()
}

/// Whether so many equal rows of one resource and window can all be right in one emission: hours may be, as long as they fit
/// into the window together (in 012 a network was there twice within an hour); nothing else is reported in two equal halves.
fn may_stand_beside_itself(record: &Record, times: u32) -> bool {
    let Some(kind) = UsageType::from_id(record.usage_type) else { return false };
    let window_micros = record.window.seconds().saturating_mul(1_000_000) / 3_600;
    kind.quantity == Quantity::Hours
        && !kind.may_exceed_window
        && record.quantity.saturating_mul(i64::from(times)) <= window_micros
}

/// Gives each row its emission and the window that it was reported with.
fn place(rows: Vec<Record>) -> Vec<Placed> {
    let mut emission = 0_u32;
    let mut last: Option<(Owner, Period)> = None;
    // The families of the present owner's window, the one being written last.
    let mut families: Vec<i32> = Vec::new();
    let mut seen: HashSet<(Owner, Period)> = HashSet::new();
    let mut placed: Vec<Placed> = Vec::with_capacity(rows.len());
    for record in rows {
        if has_own_dates(record.usage_type) {
            let reported_with = last
                .as_ref()
                .map(|(_, window)| *window)
                .filter(|window| window.covers(record.window))
                .unwrap_or(record.window);
            placed.push(Placed { record, emission, reported_with });
            continue;
        }
        let group = (record.owner.clone(), record.window);
        let same_group = last.as_ref() == Some(&group);
        let this_family = family(record.usage_type);
        let backwards = last.as_ref().is_some_and(|(_, before)| {
            record.window.start() < before.start() || (record.window != *before && overlap(record.window, *before))
        });
        let again = !same_group && seen.contains(&group);
        let types_restart = same_group && families.last() != Some(&this_family) && families.contains(&this_family);
        if backwards || again || types_restart {
            emission += 1;
            seen.clear();
            families.clear();
        }
        if !same_group {
            families.clear();
        }
        if families.last() != Some(&this_family) {
            families.push(this_family);
        }
        seen.insert(group.clone());
        last = Some(group);
        let reported_with = record.window;
        placed.push(Placed { record, emission, reported_with });
    }
    placed
}

/// Windows that overlap without being equal: a part window inside a charged span charges nothing; a newer, wider
/// window replaces what it covers; anything else waits for a person.
fn settle_overlaps(variants: &mut HashMap<RecordKey, (Judged, u32)>, order: &[RecordKey]) {
    let mut by_resource: HashMap<(Owner, i32, Arc<str>), Vec<RecordKey>> = HashMap::new();
    for key in order {
        if let Some((judged, _)) = variants.get(key)
            && judged.standing == Standing::Current
        {
            let (owner, usage_type, resource) = judged.record.resource_identity();
            by_resource.entry((owner.clone(), usage_type, Arc::clone(resource))).or_default().push(*key);
        }
    }
    for keys in by_resource.into_values() {
        let mut rows: Vec<(RecordKey, Period, u32)> = keys
            .iter()
            .filter_map(|key| variants.get(key).map(|(judged, emission)| (*key, judged.record.window, *emission)))
            .collect();
        if disjoint(&rows) {
            continue;
        }
        // Oldest emission first; within one emission as the server sent them.
        rows.sort_by_key(|(_, _, emission)| *emission);
        let mut charged: Vec<(RecordKey, Period, u32)> = Vec::new();
        for (key, window, emission) in rows {
            let older: Vec<(RecordKey, Period)> = charged
                .iter()
                .filter(|(_, other, its)| *its < emission && *other != window && overlap(*other, window))
                .map(|(key, other, _)| (*key, *other))
                .collect();
            if older.is_empty() {
                charged.push((key, window, emission));
            } else if older.iter().all(|(_, other)| window.covers(*other)) {
                for (old, _) in &older {
                    set(variants, *old, Standing::Superseded, "a newer, longer window reports the same time");
                }
                charged.retain(|(key, _, _)| older.iter().all(|(old, _)| old != key));
                charged.push((key, window, emission));
            } else if covered(window, older.iter().map(|(_, other)| *other)) {
                set(variants, key, Standing::Part, "a part window inside a span that is charged already");
            } else {
                set(variants, key, Standing::Quarantined, "overlaps a span that is charged already");
            }
        }
    }
}

fn disjoint(rows: &[(RecordKey, Period, u32)]) -> bool {
    let mut windows: Vec<Period> = rows.iter().map(|(_, window, _)| *window).collect();
    windows.sort_unstable();
    windows.dedup();
    windows.windows(2).all(|pair| matches!(pair, [a, b] if !overlap(*a, *b)))
}

fn covered(window: Period, by: impl Iterator<Item = Period>) -> bool {
    let mut spans: Vec<Period> = by.collect();
    spans.sort_unstable();
    let mut reached = window.start();
    for span in spans {
        if span.start() > reached {
            return false;
        }
        reached = reached.max(span.end());
    }
    reached >= window.end()
}

fn set(variants: &mut HashMap<RecordKey, (Judged, u32)>, key: RecordKey, standing: Standing, reason: &'static str) {
    if let Some((judged, _)) = variants.get_mut(&key) {
        judged.standing = standing;
        judged.reason = Some(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn hour(start: i64, end: i64) -> Period {
        Period::new(Timestamp::from_seconds(start * 60), Timestamp::from_seconds(end * 60)).unwrap()
    }

    /// A record of an owner's resource in a window given in minutes.
    fn row(owner: &str, usage_type: i32, resource: &str, window: (i64, i64), quantity: i64) -> Record {
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
    fn judging_again_changes_nothing() {
        let rows: Vec<Record> = (0..6)
            .flat_map(|run| (run / 2..4).map(move |hour| row("a", 3, "ip", (hour * 60, hour * 60 + 60), 100 + run % 2)))
            .collect();
        assert_eq!(judge(rows.clone()), judge(rows));
    }
}
