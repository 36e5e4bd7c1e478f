//! What holds when: slots that together cover all of time.

use crate::{
    rating::{book::TariffRef, discount::Cut, tiers::TierKey},
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
    /// What the use is counted under, where the tariff has tiers; the price is that of the first then.
    pub(super) tiers: Option<TierKey>,
    pub(super) discount: Option<Cut>,
}

/// What a slot of prices says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Free,
    Unpriced,
    Priced(Price),
}

/// From when on something holds (until the next slot's start).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot<T> {
    from: Timestamp,
    holds: T,
}

/// Slots in order; the first begins at the start of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timeline<T> {
    first: T,
    later: Vec<Slot<T>>,
}

pub(super) const START: Timestamp = Timestamp::from_ms(i64::MIN);
const END: Timestamp = Timestamp::from_ms(i64::MAX);

/// A dated entry to lay over a timeline; None stands for the ends of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dated<T> {
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) holds: T,
}

impl<T: Copy + PartialEq> Timeline<T> {
    /// One that says the same at all times.
    pub(super) const fn always(holds: T) -> Self {
        Self { first: holds, later: Vec::new() }
    }

    fn slots(&self) -> impl Iterator<Item = Slot<T>> {
        std::iter::once(Slot { from: START, holds: self.first }).chain(self.later.iter().copied())
    }

    fn from_edges(mut edges: Vec<Timestamp>, holds: impl Fn(Timestamp) -> T) -> Self {
        edges.sort_unstable();
        edges.dedup();
        let mut timeline = Self::always(holds(START));
        let mut last = timeline.first;
        for from in edges.into_iter().filter(|edge| *edge != START) {
            let now = holds(from);
            if now != last {
                timeline.later.push(Slot { from, holds: now });
                last = now;
            }
        }
        timeline
    }

    /// This timeline with entries laid over it: where an entry is in force it hides what was there.
    pub(super) fn covered_by(self, entries: &[Dated<T>]) -> Self {
        if let [Dated { from: None, until: None, holds }] = entries {
            return Self::always(*holds);
        }
        let mut edges: Vec<Timestamp> = self.later.iter().map(|slot| slot.from).collect();
        edges.extend(entries.iter().flat_map(|entry| [entry.from, entry.until]).flatten());
        Self::from_edges(edges, |at| {
            let covers =
                |entry: &&Dated<T>| entry.from.unwrap_or(START) <= at && entry.until.is_none_or(|until| at < until);
            entries.iter().find(covers).map_or_else(|| self.at(at).0, |entry| entry.holds)
        })
    }

    /// This timeline and another, put together at each instant.
    pub(super) fn joined<U: Copy + PartialEq>(&self, other: &Timeline<U>, join: impl Fn(T, U) -> T) -> Self {
        let edges = self.later.iter().map(|slot| slot.from).chain(other.later.iter().map(|slot| slot.from)).collect();
        Self::from_edges(edges, |at| join(self.at(at).0, other.at(at).0))
    }

    /// What holds at an instant, and until when.
    pub(super) fn at(&self, at: Timestamp) -> (T, Timestamp) {
        let next = self.later.partition_point(|slot| slot.from <= at);
        let until = self.later.get(next).map_or(END, |slot| slot.from);
        let holds = next.checked_sub(1).and_then(|position| self.later.get(position)).map(|slot| slot.holds);
        (holds.unwrap_or(self.first), until)
    }

    /// What holds in all of a period, if that is one thing.
    pub(super) fn throughout(&self, period: Period) -> Option<T> {
        let (holds, until) = self.at(period.start());
        (period.end() <= until).then_some(holds)
    }

    /// The first instant at which two timelines differ: [`START`] if they always did.
    pub(super) fn first_difference(&self, other: &Self) -> Option<Timestamp> {
        let edges = self.slots().chain(other.slots()).map(|slot| slot.from);
        edges.filter(|at| self.at(*at).0 != other.at(*at).0).min()
    }
}
