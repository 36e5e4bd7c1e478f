//! What is current, settled resource by resource: what may be charged by itself, and what waits for a person.
//!
//! - Hours that no window can hold wait, of one record or of several together (what fits first, in the order of the server, is
//!   charged).
//! - The same resource, window, type and quantity once more under another offering or size in one emission waits
//!   (facts 3.5, #10687), unless all of them together are just the window: then something was changed half-way.
//! - A part window inside a charged span charges nothing by itself (design 7.3). It is a proposal with an estimate, and waits
//!   for nobody where that is zero within rounding.
//! - A newer, wider window replaces what it covers; what sticks out of a charged span waits.

use std::collections::HashMap;

use super::{
    emission::{Judged, overlap},
    record::{Owner, Standing},
    review_kind::Kind,
    types::{Quantity, UsageType},
};
use crate::time::Period;

/// CloudStack's hours carry the noise of 32-bit floats (facts 3.2), and its seconds are whole: so much more than the window is
/// still the window, and so much of a difference is none.
const HOURS_TOLERANCE_MICROS: i64 = 1_000;
/// Bytes and operations are whole numbers: a share of them is off by one at most.
const WHOLE_TOLERANCE: i64 = 1;

/// Millionths of an hour in a window.
pub(super) fn hours_of(window: Period) -> i64 {
    window.seconds().saturating_mul(1_000_000) / 3_600
}

/// A change of what became of a row.
struct Change {
    index: usize,
    standing: Standing,
    kind: Option<Kind>,
    estimate: Option<i64>,
}

/// A row of one resource.
#[derive(Clone, Copy)]
struct Row<'a> {
    index: usize,
    judged: &'a Judged,
}

impl Row<'_> {
    const fn window(&self) -> Period {
        self.judged.record.window
    }

    const fn quantity(&self) -> i64 {
        self.judged.record.quantity
    }

    const fn waits(&self, kind: Kind) -> Change {
        Change { index: self.index, standing: Standing::Quarantined, kind: Some(kind), estimate: None }
    }
}

/// Settles everything that is current.
pub(super) fn settle(judged: &mut [Judged]) {
    let mut resources: HashMap<(&Owner, i32, &str, Option<&str>), Vec<Row<'_>>> = HashMap::new();
    for (index, row) in judged.iter().enumerate() {
        if row.standing == Standing::Current {
            resources.entry(row.record.resource_identity()).or_default().push(Row { index, judged: row });
        }
    }
    let mut changes = Vec::new();
    for ((_, usage_type, _, _), rows) in resources {
        let Some(kind) = UsageType::from_id(usage_type) else { continue };
        let held = windows(kind, rows, &mut changes);
        if !disjoint(&held) {
            overlaps(kind, held, &mut changes);
        }
    }
    for change in changes {
        if let Some(row) = judged.get_mut(change.index) {
            row.standing = change.standing;
            row.kind = change.kind;
            row.estimate = change.estimate;
        }
    }
}

/// What each window of a resource can hold. Gives the rows that may be charged.
fn windows<'a>(kind: &UsageType, mut rows: Vec<Row<'a>>, changes: &mut Vec<Change>) -> Vec<Row<'a>> {
    let by_hours = kind.quantity == Quantity::Hours && !kind.may_exceed_window;
    if by_hours {
        rows.retain(|row| {
            let fits = row.quantity() <= hours_of(row.window()).saturating_add(HOURS_TOLERANCE_MICROS);
            if !fits {
                changes.push(row.waits(Kind::MoreThanWindow));
            }
            fits
        });
    }
    // In the order of windows; within one as the server sent them. All current rows of a window are of one emission.
    rows.sort_by_key(Row::window);
    let mut kept = Vec::with_capacity(rows.len());
    for group in rows.chunk_by(|one, other| one.window() == other.window()) {
        let [_, _, ..] = group else {
            kept.extend_from_slice(group);
            continue;
        };
        let room = group.first().map_or(0, |row| hours_of(row.window()));
        let all: i64 = group.iter().map(Row::quantity).fold(0, i64::saturating_add);
        let just_the_window = by_hours && (all - room).abs() <= HOURS_TOLERANCE_MICROS;
        let before = kept.len();
        let mut sum = 0_i64;
        for row in group {
            let twice = kept.iter().skip(before).any(|other: &Row<'_>| is_the_same_again(other, row));
            if twice && !just_the_window {
                changes.push(row.waits(Kind::Duplicate));
            } else if by_hours && sum.saturating_add(row.quantity()) > room.saturating_add(HOURS_TOLERANCE_MICROS) {
                changes.push(row.waits(Kind::Together));
            } else {
                sum = sum.saturating_add(row.quantity());
                kept.push(*row);
            }
        }
    }
    kept
}

/// The same quantity under another offering, shape or size. Rows that are equal in these too were told apart before.
fn is_the_same_again(one: &Row<'_>, other: &Row<'_>) -> bool {
    let (one, other) = (&one.judged.record, &other.judged.record);
    one.quantity == other.quantity
        && one.quantity > 0
        && (&one.offering, &one.shape, one.size_bytes) != (&other.offering, &other.shape, other.size_bytes)
}

fn disjoint(rows: &[Row<'_>]) -> bool {
    // They come in the order of windows.
    rows.windows(2).all(|pair| matches!(pair, [a, b] if a.window() == b.window() || !overlap(a.window(), b.window())))
}

/// Windows that overlap without being equal.
fn overlaps<'a>(kind: &UsageType, mut rows: Vec<Row<'a>>, changes: &mut Vec<Change>) {
    // Oldest emission first; within one emission as the server sent them.
    rows.sort_by_key(|row| (row.judged.emission, row.index));
    let mut charged: Vec<Row<'a>> = Vec::new();
    let mut parts: Vec<Row<'a>> = Vec::new();
    for row in rows {
        let window = row.window();
        let older: Vec<Row<'a>> = charged
            .iter()
            .filter(|other| {
                other.judged.emission < row.judged.emission
                    && other.window() != window
                    && overlap(other.window(), window)
            })
            .copied()
            .collect();
        if older.is_empty() {
            charged.push(row);
        } else if older.iter().all(|other| window.covers(other.window())) {
            for old in &older {
                let standing = Standing::Superseded;
                changes.push(Change { index: old.index, standing, kind: None, estimate: None });
            }
            charged.retain(|row| older.iter().all(|old| old.index != row.index));
            charged.push(row);
        } else if covered(window, older.iter().map(Row::window)) {
            parts.push(row);
        } else {
            changes.push(row.waits(Kind::Overlap));
        }
    }
    parts.sort_by_key(|row| (row.window(), row.index));
    for group in parts.chunk_by(|one, other| one.window() == other.window()) {
        estimates(kind, group, &charged, changes);
    }
}

/// What the rows of a part window report beyond their share of what is charged.
fn estimates(kind: &UsageType, group: &[Row<'_>], charged: &[Row<'_>], changes: &mut Vec<Change>) {
    let Some(window) = group.first().map(Row::window) else { return };
    let mut share = charged
        .iter()
        .filter(|row| overlap(row.window(), window))
        .map(|row| share_of(row.quantity(), row.window(), window))
        .fold(0, i64::saturating_add);
    let tolerance = if kind.quantity == Quantity::Hours { HOURS_TOLERANCE_MICROS } else { WHOLE_TOLERANCE };
    let last = group.len().saturating_sub(1);
    for (at, row) in group.iter().enumerate() {
        // The last one takes what is left, also where less is reported than is charged.
        let taken = if at == last { share } else { share.min(row.quantity()) };
        share = share.saturating_sub(taken);
        let estimate = row.quantity().saturating_sub(taken);
        let kind = (estimate.abs() > tolerance).then_some(Kind::Part);
        changes.push(Change { index: row.index, standing: Standing::Part, kind, estimate: Some(estimate) });
    }
}

/// The part of a window's quantity that falls into another window.
fn share_of(quantity: i64, window: Period, part: Period) -> i64 {
    let Some(both) = window.overlap(part) else { return 0 };
    let length = |period: Period| i128::from(period.end().as_ms() - period.start().as_ms()).max(1);
    let whole = length(window);
    i64::try_from((i128::from(quantity) * length(both) + whole / 2) / whole).unwrap_or(i64::MAX)
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

#[cfg(test)]
mod tests {
    use super::{
        super::{
            emission::{judge, tests::row},
            record::Record,
        },
        *,
    };

    fn under(offering: &str, record: Record) -> Record {
        Record { offering: Some(offering.into()), ..record }
    }

    fn kinds(rows: Vec<Record>) -> Vec<(Standing, Option<Kind>, Option<i64>)> {
        judge(rows).into_iter().map(|row| (row.standing, row.kind, row.estimate)).collect()
    }

    const CHARGED: (Standing, Option<Kind>, Option<i64>) = (Standing::Current, None, None);

    fn waits(kind: Kind) -> (Standing, Option<Kind>, Option<i64>) {
        (Standing::Quarantined, Some(kind), None)
    }

    #[test]
    fn more_hours_than_the_window_wait_except_where_they_are_right() {
        assert_eq!(kinds(vec![row("a", 1, "vm", (0, 60), 1_500_000)]), [waits(Kind::MoreThanWindow)]);
        assert_eq!(kinds(vec![row("a", 1, "vm", (0, 60), 1_000_900)]), [CHARGED]);
        assert_eq!(kinds(vec![row("a", 13, "vm/off", (0, 60), 3_000_000)]), [CHARGED]);
    }

    #[test]
    fn the_same_again_under_another_offering_waits() {
        let rows = |quantity| {
            vec![
                under("small", row("a", 30, "net", (0, 60), quantity)),
                under("large", row("a", 30, "net", (0, 60), quantity)),
            ]
        };
        assert_eq!(kinds(rows(1_000_000)), [CHARGED, waits(Kind::Duplicate)]);
        assert_eq!(kinds(rows(300_000)), [CHARGED, waits(Kind::Duplicate)]);
        assert_eq!(kinds(rows(500_000)), [CHARGED, CHARGED], "changed half-way");
    }

    #[test]
    fn what_fits_first_is_charged_where_the_window_is_too_small_for_all() {
        let rows = vec![
            under("small", row("a", 1, "vm", (0, 60), 438_056)),
            under("medium", row("a", 1, "vm", (0, 60), 700_000)),
            under("large", row("a", 1, "vm", (0, 60), 500_000)),
        ];
        assert_eq!(kinds(rows), [CHARGED, waits(Kind::Together), CHARGED]);
        let resized = vec![
            under("small", row("a", 1, "vm", (0, 60), 438_056)),
            under("medium", row("a", 1, "vm", (0, 60), 561_389)),
        ];
        assert_eq!(kinds(resized), [CHARGED, CHARGED]);
    }

    #[test]
    fn a_part_window_is_a_proposal_where_it_reports_something_else() {
        let rows = |quantity| vec![row("a", 1, "vm", (0, 60), 600_000), row("a", 1, "vm", (30, 60), quantity)];
        // Half of 0.6 h is charged for these 30 minutes.
        assert_eq!(kinds(rows(300_000))[1], (Standing::Part, None, Some(0)));
        assert_eq!(kinds(rows(500_000))[1], (Standing::Part, Some(Kind::Part), Some(200_000)));
        assert_eq!(kinds(rows(100_000))[1], (Standing::Part, Some(Kind::Part), Some(-200_000)));
    }

    #[test]
    fn the_rows_of_a_part_window_share_what_is_charged() {
        let mut rows = vec![row("a", 1, "vm", (0, 60), 1_000_000)];
        rows.push(under("small", row("a", 1, "vm", (30, 60), 300_000)));
        rows.push(under("large", row("a", 1, "vm", (30, 60), 200_000)));
        let judged = kinds(rows);
        assert_eq!(judged[1], (Standing::Part, None, Some(0)));
        assert_eq!(judged[2], (Standing::Part, None, Some(0)));
    }

    #[test]
    fn copies_of_a_template_in_two_zones_are_two() {
        use super::super::record::{Attributes, Shared};
        let zone = |name: &str, digest| {
            let attributes = Attributes { zone_id: Some(name.to_owned()), ..Attributes::default() };
            let shared = Some(std::sync::Arc::new(Shared { digest: [digest; 16], attributes }));
            Record { attributes: shared, ..row("a", 7, "template", (0, 60), 1_000_000) }
        };
        assert_eq!(kinds(vec![zone("one", 1), zone("two", 2)]), [CHARGED, CHARGED]);
        assert_eq!(kinds(vec![zone("one", 1), zone("one", 1)]), [CHARGED]);
    }
}
