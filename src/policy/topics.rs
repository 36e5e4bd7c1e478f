//! Which notices a person may choose, and whether one is wanted: what a person said, over defaults. Pure.
//!
//! Promises: what takes something from an account, warns of it or gives it back is never a matter of choice, since a lock counts
//! from the arrival of its warning; and neither are keys and the deletion of the account.

use std::collections::{BTreeMap, BTreeSet};

/// Something that a person may want to hear of or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Maintenance and outages of the cloud.
    Maintenance,
    /// A reminder three days before the end of the month, with the amount so far.
    Invoice,
    /// Reminders while the account is over its credit.
    Overdue,
    /// Credit used, amount and days left.
    Credit,
}

impl Topic {
    /// Every topic, in the order of the page.
    pub const ALL: [Self; 4] = [Self::Maintenance, Self::Invoice, Self::Overdue, Self::Credit];

    /// As it is stored.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Invoice => "invoice",
            Self::Overdue => "overdue",
            Self::Credit => "credit",
        }
    }

    /// What holds where a person said nothing. The reminder before the end of the month is asked for, the rest comes by itself.
    pub const fn by_default(self) -> bool {
        !matches!(self, Self::Invoice)
    }

    /// The topic of an event; None: nobody can choose not to get it.
    pub fn of_event(event: &str) -> Option<Self> {
        let is = |kind: &str| event.strip_prefix(kind).is_some_and(|rest| rest.starts_with('-'));
        if is("used") || is("own") || is("available") || is("days-left") {
            Some(Self::Credit)
        } else if is("overdue") {
            Some(Self::Overdue)
        } else if is("invoice") {
            Some(Self::Invoice)
        } else if is("maintenance") || is("outage") {
            Some(Self::Maintenance)
        } else {
            None
        }
    }
}

/// What one person of an account said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The topics about which something was said.
    pub topics: BTreeMap<Topic, bool>,
    /// Percent used at which the person wants to hear of it; empty: the thresholds of the cloud.
    pub percent: BTreeSet<u32>,
}

impl Wishes {
    /// Whether a topic is wanted.
    pub fn wants_topic(&self, topic: Topic) -> bool {
        self.topics.get(&topic).copied().unwrap_or_else(|| topic.by_default())
    }

    /// Whether an event goes to this person. `noticed` are the events of the same epoch: who has own thresholds hears of the
    /// highest that was reached.
    pub fn wants(&self, event: &str, noticed: &BTreeSet<String>) -> bool {
        let Some(topic) = Topic::of_event(event) else { return true };
        if !self.wants_topic(topic) {
            return false;
        }
        match (event.strip_prefix("own-"), event.starts_with("used-")) {
            (Some(percent), _) => {
                let highest = self.percent.iter().rev().find(|own| noticed.contains(&format!("own-{own}")));
                highest.is_some_and(|highest| highest.to_string() == percent)
            }
            (None, true) => self.percent.is_empty(),
            (None, false) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn warnings_steps_keys_and_deletions_can_not_be_switched_off() {
        let nothing = Wishes { topics: Topic::ALL.map(|topic| (topic, false)).into(), ..Wishes::default() };
        for event in ["warning-lock-1", "warning-stop-1", "restricted-1", "locked-1", "stopped-1", "restored-1"] {
            assert!(nothing.wants(event, &events(&[])), "{event}");
        }
        for event in ["key-issued-1", "key-expiring-1", "deletion-asked-1"] {
            assert!(nothing.wants(event, &events(&[])), "{event}");
        }
        for event in ["used-80", "days-left-7", "available-10.00", "overdue-1-1", "invoice-2026-11", "outage-1"] {
            assert!(!nothing.wants(event, &events(&[])), "{event}");
        }
    }

    #[test]
    fn who_said_nothing_gets_everything_but_the_reminder_of_the_month() {
        let silent = Wishes::default();
        for (event, wanted) in [
            ("used-80", true),
            ("own-60", false),
            ("overdue-1-1", true),
            ("invoice-2026-11", false),
            ("outage-1", true),
        ] {
            assert_eq!(silent.wants(event, &events(&["own-60"])), wanted, "{event}");
        }
    }

    #[test]
    fn own_thresholds_take_the_place_of_the_clouds_and_only_the_highest_is_told() {
        let own = Wishes { percent: [60, 70].into(), ..Wishes::default() };
        let noticed = events(&["used-50", "own-60", "own-70", "own-65"]);
        assert!(own.wants("own-70", &noticed));
        for event in ["own-60", "own-65", "used-50"] {
            assert!(!own.wants(event, &noticed), "{event}");
        }
        assert!(own.wants("own-60", &events(&["own-60"])));
        assert!(own.wants("days-left-7", &noticed), "days left are another matter");
    }
}
