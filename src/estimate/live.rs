//! What there is, from when to when: turns what a list shows now into spans, given what it showed before.
//!
//! A span is a thing in one shape: when its price could change (another offering, size or owner), one span ends and the
//! next begins. Lists tell what is and not what was, so an instant is as exact as CloudStack's dates, and else as
//! the poll that noticed it.

use std::collections::HashMap;

use crate::{ids::AccountId, time::Timestamp};

/// The usage types that a live list stands for.
pub mod kinds {
    /// A machine that runs.
    pub const RUNNING_VM: i32 = 1;
    /// A machine in whatever state.
    pub const ALLOCATED_VM: i32 = 2;
    /// A public address.
    pub const IP_ADDRESS: i32 = 3;
    /// A volume.
    pub const VOLUME: i32 = 6;
    /// All of them.
    pub const ALL: [i32; 4] = [RUNNING_VM, ALLOCATED_VM, IP_ADDRESS, VOLUME];
}

/// A thing as a list shows it, under one usage type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// CloudStack's number of the usage type that it will be reported under.
    pub usage_type: i32,
    /// CloudStack's id: the usage id of its records.
    pub cloud_id: String,
    /// Who pays.
    pub account: AccountId,
    /// The project, where it is a project's.
    pub project: Option<i64>,
    /// What people call it.
    pub name: String,
    /// Its state, in CloudStack's word.
    pub state: String,
    /// Its offering.
    pub offering: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
    /// Its template.
    pub template: Option<String>,
    /// Its operating system.
    pub os_type: Option<String>,
    /// Virtual CPUs.
    pub cpu_number: Option<i64>,
    /// Memory, MiB.
    pub memory_mib: Option<i64>,
    /// Its size, bytes.
    pub size_bytes: Option<i64>,
    /// Its tags in order, each key once.
    pub tags: Vec<(String, String)>,
    /// When it was made, as CloudStack says.
    pub created: Option<Timestamp>,
    /// Since when it is as it is, as far as CloudStack tells.
    pub since: Option<Timestamp>,
}

impl Thing {
    /// Whether nothing that a price may depend on differs.
    fn costs_like(&self, other: &Self) -> bool {
        let shape = |thing: &Self| (thing.account, thing.project, thing.size_bytes, thing.cpu_number, thing.memory_mib);
        shape(self) == shape(other)
            && self.tags == other.tags
            && self.offering == other.offering
            && self.zone == other.zone
            && self.template == other.template
            && self.os_type == other.os_type
    }

    fn key(&self) -> (i32, &str) {
        (self.usage_type, &self.cloud_id)
    }
}

/// A thing over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What.
    pub thing: Thing,
    /// When bursar first saw the thing.
    pub first_seen: Timestamp,
    /// From when on it counts.
    pub since: Timestamp,
    /// The first instant at which it no longer counts; None while it is there.
    pub until: Option<Timestamp>,
}

/// What one list showed.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The things.
    pub things: Vec<Thing>,
    /// Things that are still listed but no longer count (a machine that was stopped): when that happened.
    pub ended: HashMap<String, Timestamp>,
    /// Whether the list was read to its end; else absence means nothing.
    pub complete: bool,
}

/// What is to be stored so that the spans are true.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Spans that end: (number, end).
    pub close: Vec<(i64, Timestamp)>,
    /// Spans that begin.
    pub open: Vec<Span>,
}

/// What changed between the open spans of a list's usage types and what the list shows `now`. `previous` is when it was
/// last read to its end.
pub fn changes(known: &[(i64, Span)], shown: &Shown, previous: Option<Timestamp>, now: Timestamp) -> Changes {
    let mut open: HashMap<(i32, &str), (i64, &Span)> =
        known.iter().map(|(id, span)| (span.thing.key(), (*id, span))).collect();
    let mut changes = Changes::default();
    // Between the two readings, if CloudStack's date says so; else when it was noticed.
    let within = |at: Option<Timestamp>| at.filter(|at| *at <= now && previous.is_none_or(|previous| *at > previous));
    for thing in &shown.things {
        match open.remove(&thing.key()) {
            Some((_, span)) if span.thing.costs_like(thing) => {}
            Some((id, span)) => {
                let at = within(thing.since).unwrap_or(now).max(span.since);
                changes.close.push((id, at));
                changes.open.push(Span { thing: thing.clone(), first_seen: span.first_seen, since: at, until: None });
            }
            None => {
                let said = thing.since.unwrap_or(now).min(now);
                // It was not in the previous list, so it does not count for the time before that.
                let since = previous.map_or(said, |previous| said.max(previous.min(now)));
                changes.open.push(Span { thing: thing.clone(), first_seen: now, since, until: None });
            }
        }
    }
    if shown.complete {
        for (id, span) in open.into_values() {
            // The last instant at which it was seen, unless CloudStack tells when it ended.
            let ended = within(shown.ended.get(&span.thing.cloud_id).copied());
            let at = ended.or(previous).unwrap_or(now).max(span.since);
            changes.close.push((id, at));
        }
        changes.close.sort_unstable();
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_seconds(minute * 60)
    }

    fn thing(usage_type: i32, name: &str, since: i64) -> Thing {
        Thing {
            usage_type,
            cloud_id: name.to_owned(),
            account: AccountId::new(1),
            project: None,
            name: name.to_owned(),
            state: "Running".to_owned(),
            offering: Some("small".to_owned()),
            zone: None,
            template: None,
            os_type: None,
            cpu_number: Some(1),
            memory_mib: Some(512),
            size_bytes: None,
            tags: Vec::new(),
            created: Some(at(since)),
            since: Some(at(since)),
        }
    }

    fn list(things: Vec<Thing>) -> Shown {
        Shown { things, ended: HashMap::new(), complete: true }
    }

    fn known(thing: Thing, since: i64) -> (i64, Span) {
        (7, Span { thing, first_seen: at(since), since: at(since), until: None })
    }

    #[test]
    fn the_first_list_goes_by_the_dates_that_cloudstack_gives() {
        let made = changes(&[], &list(vec![thing(1, "vm", 10)]), None, at(60));
        assert_eq!(made.open.len(), 1);
        assert_eq!((made.open[0].since, made.open[0].first_seen), (at(10), at(60)));
        // A date ahead of our clock is now.
        assert_eq!(changes(&[], &list(vec![thing(1, "vm", 99)]), None, at(60)).open[0].since, at(60));
    }

    #[test]
    fn what_was_not_in_the_list_before_does_not_count_for_the_time_before() {
        let made = changes(&[], &list(vec![thing(1, "vm", 10)]), Some(at(60)), at(120));
        assert_eq!(made.open[0].since, at(60));
        assert_eq!(changes(&[], &list(vec![thing(1, "vm", 90)]), Some(at(60)), at(120)).open[0].since, at(90));
    }

    #[test]
    fn the_same_again_changes_nothing_and_another_state_or_name_neither() {
        let mut later = thing(2, "vm", 10);
        later.state = "Stopped".to_owned();
        later.name = "renamed".to_owned();
        let made = changes(&[known(thing(2, "vm", 10), 10)], &list(vec![later]), Some(at(60)), at(120));
        assert_eq!(made, Changes::default());
    }

    #[test]
    fn another_offering_ends_one_span_and_begins_the_next_at_the_same_instant() {
        let mut resized = thing(1, "vm", 90);
        resized.offering = Some("medium".to_owned());
        let made = changes(&[known(thing(1, "vm", 10), 10)], &list(vec![resized.clone()]), Some(at(60)), at(120));
        assert_eq!(made.close, [(7, at(90))]);
        assert_eq!((made.open[0].since, made.open[0].first_seen), (at(90), at(10)));
        // Its date is older than the last look: it changed since, nobody knows when.
        resized.since = Some(at(10));
        let made = changes(&[known(thing(1, "vm", 10), 10)], &list(vec![resized]), Some(at(60)), at(120));
        assert_eq!((made.close[0].1, made.open[0].since), (at(120), at(120)));
    }

    #[test]
    fn what_a_complete_list_lacks_ends_when_it_was_last_seen_or_when_cloudstack_says() {
        let before = [known(thing(1, "vm", 10), 10)];
        let mut shown = list(Vec::new());
        assert_eq!(changes(&before, &shown, Some(at(60)), at(120)).close, [(7, at(60))]);
        shown.ended.insert("vm".to_owned(), at(100));
        assert_eq!(changes(&before, &shown, Some(at(60)), at(120)).close, [(7, at(100))]);
    }

    #[test]
    fn what_an_incomplete_list_lacks_goes_on() {
        let shown = Shown { complete: false, ..list(Vec::new()) };
        assert_eq!(changes(&[known(thing(1, "vm", 10), 10)], &shown, Some(at(60)), at(120)), Changes::default());
    }

    #[test]
    fn no_span_ends_before_it_began() {
        let made = changes(&[known(thing(1, "vm", 100), 100)], &list(Vec::new()), Some(at(60)), at(120));
        assert_eq!(made.close, [(7, at(100))]);
    }
}
