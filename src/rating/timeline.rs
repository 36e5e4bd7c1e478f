//! What holds when, for one usage type and offering: slots that together cover all of time.

use crate::{
    rating::book::TariffRef,
    time::{Period, Timestamp},
    usage::types::Unit,
};

/// A price in the form that the exact arithmetic takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Price {
    /// The price is `mantissa` ÷ 10^`scale` a unit.
    pub(super) mantissa: u128,
    pub(super) scale: u32,
    pub(super) unit: Unit,
    pub(super) tariff: TariffRef,
}

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Free,
    Unpriced,
    Priced(Price),
}

/// From when on something holds (until the next slot's start).
#[derive(Debug, Clone, Copy)]
struct Slot {
    from: Timestamp,
    holds: Holds,
}

/// Slots in order; the first begins at the start of time.
#[derive(Debug, Clone)]
pub(super) struct Timeline(Vec<Slot>);

const START: Timestamp = Timestamp::from_ms(i64::MIN);
const END: Timestamp = Timestamp::from_ms(i64::MAX);

/// A dated entry to lay over a timeline; None stands for the ends of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dated {
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) holds: Holds,
}

impl Timeline {
    /// One that says the same at all times.
    pub(super) fn always(holds: Holds) -> Self {
        Self(vec![Slot { from: START, holds }])
    }

    /// This timeline with entries laid over it: where an entry is in force it hides what was there.
    pub(super) fn covered_by(&self, entries: &[Dated]) -> Self {
        let mut edges: Vec<Timestamp> = self.0.iter().map(|slot| slot.from).collect();
        edges.extend(entries.iter().flat_map(|entry| [entry.from.unwrap_or(START), entry.until.unwrap_or(START)]));
        edges.sort_unstable();
        edges.dedup();
        let holds = |at: Timestamp| {
            let covers =
                |entry: &&Dated| entry.from.unwrap_or(START) <= at && entry.until.is_none_or(|until| at < until);
            entries.iter().find(covers).map_or_else(|| self.at(at).0, |entry| entry.holds)
        };
        let mut slots: Vec<Slot> = edges.into_iter().map(|from| Slot { from, holds: holds(from) }).collect();
        slots.dedup_by(|later, earlier| later.holds == earlier.holds);
        Self(slots)
    }

    /// What holds at an instant, and until when.
    pub(super) fn at(&self, at: Timestamp) -> (Holds, Timestamp) {
        let next = self.0.partition_point(|slot| slot.from <= at);
        let until = self.0.get(next).map_or(END, |slot| slot.from);
        let holds = next.checked_sub(1).and_then(|position| self.0.get(position)).map(|slot| slot.holds);
        (holds.unwrap_or(Holds::Unpriced), until)
    }

    /// What holds in all of a period, if that is one thing.
    pub(super) fn throughout(&self, period: Period) -> Option<Holds> {
        let (holds, until) = self.at(period.start());
        (period.end() <= until).then_some(holds)
    }
}
