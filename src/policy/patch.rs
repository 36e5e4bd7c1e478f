//! What differs from a policy: one set of keys for the configuration's default, for classes and for single payers.
//!
//! Every key has a name, reads and checks a text, and shows its value as such a text. Errors continue the key's name and say
//! what would do.

use std::{collections::BTreeMap, time::Duration};

use chrono::Weekday;
use chrono_tz::Tz;

use super::{
    decision::Rung,
    quiet::{self, Quiet},
    rules::{OnDrift, Policy, Rule},
};
use crate::money::Money;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
/// Written where nothing applies; an empty text says the same.
const NOTHING: &str = "none";

/// A key of the policy.
pub struct PolicyKey {
    /// As written in `[policy]`, in classes and at the command line.
    pub name: &'static str,
    set: fn(&mut Policy, &str) -> Result<(), String>,
    show: fn(&Policy) -> String,
}

impl PolicyKey {
    /// The value in a policy, as a text that the key reads.
    pub fn show(&self, policy: &Policy) -> String {
        (self.show)(policy)
    }
}

macro_rules! key {
    ($name:literal, $field:ident $(. $inner:ident)?, $read:expr, $show:expr) => {
        PolicyKey {
            name: $name,
            set: |policy, text| {
                policy.$field $(. $inner)? = $read(text)?;
                Ok(())
            },
            show: |policy| $show(&policy.$field $(. $inner)?),
        }
    };
}

/// Every key, in the order in which they are shown.
pub const KEYS: &[PolicyKey] = &[
    key!("notify_percent", notify_percent, |text| rising(text, 1, 1_000), list),
    key!("notify_available", notify_available, amounts, list),
    key!("notify_days_left", notify_days_left, |text| falling(text, 1, 365), list),
    key!("restrict_enabled", restrict.enabled, flag, ToString::to_string),
    key!("restrict_percent", restrict.percent, percent, |percent: &Option<u32>| or_zero(*percent)),
    key!("restrict_available", restrict.available, optional_amount, |amount: &Option<Money>| or_none(*amount)),
    key!("restrict_days_left", restrict.days_left, days_left, |days: &Option<i64>| or_zero(*days)),
    key!("restrict_after_days", restrict.delay, |text| span(text, 0, 365, DAY), in_days),
    key!("lock_enabled", lock.enabled, flag, ToString::to_string),
    key!("lock_percent", lock.percent, percent, |percent: &Option<u32>| or_zero(*percent)),
    key!("lock_available", lock.available, optional_amount, |amount: &Option<Money>| or_none(*amount)),
    key!("lock_days_left", lock.days_left, days_left, |days: &Option<i64>| or_zero(*days)),
    key!("lock_after_days", lock.delay, |text| span(text, 0, 365, DAY), in_days),
    key!("stop_enabled", stop.enabled, flag, ToString::to_string),
    key!("stop_percent", stop.percent, percent, |percent: &Option<u32>| or_zero(*percent)),
    key!("stop_available", stop.available, optional_amount, |amount: &Option<Money>| or_none(*amount)),
    key!("stop_days_left", stop.days_left, days_left, |days: &Option<i64>| or_zero(*days)),
    key!("stop_after_days", stop.delay, |text| span(text, 0, 365, DAY), in_days),
    key!("delete_after_days", delete_after, delete_after, |after: &Option<Duration>| after
        .map_or_else(|| "0".to_owned(), |after| in_days(&after))),
    key!("warning_hours", warning_before, |text| span(text, 1, 720, HOUR), in_hours),
    key!("quiet_hours", quiet.hours, quiet_hours, |hours: &Option<(u16, u16)>| quiet::show_hours(*hours)),
    key!("quiet_days", quiet.days, quiet_days, quiet::show_days),
    key!("restore_minimum", restore_minimum, amount, ToString::to_string),
    key!("respite_hours", respite, |text| span(text, 0, 8_760, HOUR), in_hours),
    key!("on_drift", on_drift, on_drift, |drift: &OnDrift| drift.word().to_owned()),
    key!("time_zone", zone, time_zone, |zone: &Option<Tz>| zone
        .map_or_else(|| NOTHING.to_owned(), |zone| zone.name().to_owned())),
];

/// The key of this name.
pub fn key(name: &str) -> Option<&'static PolicyKey> {
    KEYS.iter().find(|key| key.name == name)
}

/// Why a key or value was refused, with what would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// There is no such key.
    #[error("there is no key {name} in a policy; there are {}", KEYS.iter().map(|key| key.name).collect::<Vec<_>>().join(", "))]
    UnknownKey {
        /// As written.
        name: String,
    },
    /// The value makes no sense.
    #[error("{name} {what}")]
    BadValue {
        /// The key.
        name: &'static str,
        /// What is wrong, continuing the key's name.
        what: String,
    },
}

/// Values that differ from the policy below: of a class, or of one payer. Only right values get in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyPatch(BTreeMap<&'static str, String>);

impl PolicyPatch {
    /// Sets a key.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), PatchError> {
        let key = key(name).ok_or_else(|| PatchError::UnknownKey { name: name.to_owned() })?;
        let mut tried = Policy::nothing();
        (key.set)(&mut tried, text.trim()).map_err(|what| PatchError::BadValue { name: key.name, what })?;
        self.0.insert(key.name, key.show(&tried));
        Ok(())
    }

    /// The value of a key, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lays the values over a policy.
    #[must_use]
    pub fn over(&self, policy: &Policy) -> Policy {
        let mut laid = policy.clone();
        for key in KEYS {
            if let Some(text) = self.0.get(key.name) {
                // Only what the key read before was kept, in the form in which it shows values.
                let _ = (key.set)(&mut laid, text);
            }
        }
        laid
    }
}

impl Policy {
    /// A policy under which nothing is ever done: the ground on which the configuration is laid.
    pub fn nothing() -> Self {
        let off = Rule { enabled: false, percent: None, available: None, days_left: None, delay: Duration::ZERO };
        Self {
            notify_percent: Vec::new(),
            notify_available: Vec::new(),
            notify_days_left: Vec::new(),
            restrict: off.clone(),
            lock: off.clone(),
            stop: off,
            delete_after: None,
            warning_before: Duration::from_hours(48),
            quiet: Quiet::default(),
            restore_minimum: Money::ZERO,
            respite: Duration::ZERO,
            on_drift: OnDrift::Leave,
            zone: None,
        }
    }

    /// What does not fit together in it, as a sentence; None where all is well.
    pub fn contradiction(&self) -> Option<String> {
        for rung in Rung::ACTING {
            let Some(rule) = self.rule(rung) else { continue };
            if rule.enabled && rule.percent.is_none() && rule.available.is_none() && rule.days_left.is_none() {
                let word = rung.word();
                return Some(format!(
                    "{word} has no threshold: give {word}_percent, {word}_available or {word}_days_left, or set {word}_enabled to \
                     false"
                ));
            }
        }
        None
    }
}

/// A text of some length, as far as it is repeated in an error.
fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    let text = if text == NOTHING { "" } else { text };
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn whole<N: std::str::FromStr + PartialOrd + Copy + std::fmt::Display>(
    text: &str,
    least: N,
    most: N,
) -> Result<N, String> {
    text.parse::<N>().ok().filter(|number| *number >= least && *number <= most).ok_or_else(|| {
        format!(
            "is {} and must be from {least} to {most}",
            if text.is_empty() { "empty".to_owned() } else { cut(text) }
        )
    })
}

fn numbers<N: std::str::FromStr + PartialOrd + Copy + std::fmt::Display>(
    text: &str,
    least: N,
    most: N,
) -> Result<Vec<N>, String> {
    items(text)
        .map(|item| whole(item, least, most))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| format!("must hold numbers from {least} to {most}"))
}

fn rising(text: &str, least: u32, most: u32) -> Result<Vec<u32>, String> {
    let found = numbers(text, least, most)?;
    if found.is_sorted_by(|left, right| left < right) {
        Ok(found)
    } else {
        Err("must be in rising order, no number twice".to_owned())
    }
}

fn falling(text: &str, least: i64, most: i64) -> Result<Vec<i64>, String> {
    let found = numbers(text, least, most)?;
    if found.is_sorted_by(|left, right| left > right) {
        Ok(found)
    } else {
        Err("must be in falling order, no number twice".to_owned())
    }
}

/// Any amount: a rung may well begin below zero.
fn any_amount(text: &str) -> Result<Money, String> {
    Money::parse(text).map_err(|error| format!("is wrong: {error}"))
}

fn amount(text: &str) -> Result<Money, String> {
    let amount = any_amount(text)?;
    if amount.is_negative() { Err(format!("is {amount} and must not be negative")) } else { Ok(amount) }
}

fn amounts(text: &str) -> Result<Vec<Money>, String> {
    let found = items(text).map(any_amount).collect::<Result<Vec<_>, _>>()?;
    if found.is_sorted_by(|left, right| left > right) {
        Ok(found)
    } else {
        Err("must be in falling order, no amount twice".to_owned())
    }
}

fn optional_amount(text: &str) -> Result<Option<Money>, String> {
    if text.is_empty() || text == NOTHING { Ok(None) } else { any_amount(text).map(Some) }
}

fn percent(text: &str) -> Result<Option<u32>, String> {
    whole(text, 0, 1_000).map(|percent| (percent > 0).then_some(percent))
}

fn days_left(text: &str) -> Result<Option<i64>, String> {
    whole(text, 0, 365).map(|days| (days > 0).then_some(days))
}

fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("is {} and must be true or false", cut(text)))
}

fn span(text: &str, least: u32, most: u32, unit_seconds: u64) -> Result<Duration, String> {
    whole(text, least, most).map(|count| Duration::from_secs(u64::from(count) * unit_seconds))
}

fn delete_after(text: &str) -> Result<Option<Duration>, String> {
    span(text, 0, 3_650, DAY).map(|after| (!after.is_zero()).then_some(after))
}

fn quiet_hours(text: &str) -> Result<Option<(u16, u16)>, String> {
    if text.is_empty() || text == NOTHING { Ok(None) } else { quiet::read_hours(text).map(Some) }
}

fn quiet_days(text: &str) -> Result<Vec<Weekday>, String> {
    quiet::read_days(items(text))
}

fn on_drift(text: &str) -> Result<OnDrift, String> {
    [OnDrift::Leave, OnDrift::Suspend]
        .into_iter()
        .find(|drift| drift.word() == text)
        .ok_or_else(|| format!("is \"{}\" and must be leave or suspend", cut(text)))
}

fn time_zone(text: &str) -> Result<Option<Tz>, String> {
    if text.is_empty() || text == NOTHING {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("is \"{}\", which is no time zone by its IANA name", cut(text)))
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return NOTHING.to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn or_zero<N: ToString>(number: Option<N>) -> String {
    number.map_or_else(|| "0".to_owned(), |number| number.to_string())
}

fn or_none(amount: Option<Money>) -> String {
    amount.map_or_else(|| NOTHING.to_owned(), |amount| amount.to_string())
}

fn in_days(span: &Duration) -> String {
    (span.as_secs() / DAY).to_string()
}

fn in_hours(span: &Duration) -> String {
    (span.as_secs() / HOUR).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_what_it_shows() {
        let mut patch = PolicyPatch::default();
        for (name, text, shown) in [
            ("notify_percent", "50,80", "50, 80"),
            ("notify_available", "20, 5.5", "20.00, 5.50"),
            ("notify_days_left", "none", "none"),
            ("restrict_enabled", "false", "false"),
            ("restrict_percent", "0", "0"),
            ("lock_available", "", "none"),
            ("stop_available", "-20", "-20.00"),
            ("lock_days_left", "2", "2"),
            ("stop_after_days", " 14 ", "14"),
            ("delete_after_days", "90", "90"),
            ("warning_hours", "72", "72"),
            ("quiet_hours", "20:00-07:00", "20:00-07:00"),
            ("quiet_days", "sat,sun", "sat, sun"),
            ("restore_minimum", "2.5", "2.50"),
            ("respite_hours", "0", "0"),
            ("on_drift", "suspend", "suspend"),
            ("time_zone", "Europe/Vienna", "Europe/Vienna"),
        ] {
            patch.set(name, text).unwrap();
            let policy = patch.over(&Policy::nothing());
            assert_eq!(patch.get(name), Some(shown), "{name}");
            assert_eq!(key(name).unwrap().show(&policy), shown, "{name}");
        }
        for key in KEYS {
            let shown = key.show(&Policy::nothing());
            let mut again = PolicyPatch::default();
            again.set(key.name, &shown).unwrap();
            assert_eq!(again.get(key.name), Some(shown.as_str()));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would_do() {
        let refused = |name: &str, text: &str| PolicyPatch::default().set(name, text).unwrap_err().to_string();
        assert!(
            refused("lock_afterdays", "3")
                .starts_with("there is no key lock_afterdays in a policy; there are notify_percent,")
        );
        for (name, text, said) in [
            ("lock_after_days", "366", "lock_after_days is 366 and must be from 0 to 365"),
            ("lock_after_days", "", "lock_after_days is empty and must be from 0 to 365"),
            ("notify_percent", "80, 50", "notify_percent must be in rising order, no number twice"),
            ("notify_percent", "0", "notify_percent must hold numbers from 1 to 1000"),
            ("notify_available", "5, 20", "notify_available must be in falling order, no amount twice"),
            ("lock_enabled", "yes", "lock_enabled is yes and must be true or false"),
            ("restore_minimum", "-1", "restore_minimum is -1.00 and must not be negative"),
            ("quiet_hours", "8pm-7am", "quiet_hours is \"8pm-7am\" and must be two times of day such as 20:00-07:00"),
            (
                "quiet_hours",
                "20:00-19:30",
                "quiet_hours leaves less than an hour of the day in which anything may happen",
            ),
            (
                "quiet_days",
                "sat, someday",
                "quiet_days holds \"someday\"; days are mon, tue, wed, thu, fri, sat and sun",
            ),
            ("quiet_days", "mon,tue,wed,thu,fri,sat,sun", "quiet_days leaves no day on which anything may happen"),
            ("on_drift", "fight", "on_drift is \"fight\" and must be leave or suspend"),
            ("time_zone", "CEST", "time_zone is \"CEST\", which is no time zone by its IANA name"),
        ] {
            assert_eq!(refused(name, text), said);
        }
    }

    #[test]
    fn a_rung_without_any_threshold_is_a_contradiction() {
        let mut patch = PolicyPatch::default();
        patch.set("lock_enabled", "true").unwrap();
        assert!(patch.over(&Policy::nothing()).contradiction().unwrap().starts_with("lock has no threshold"));
        patch.set("lock_days_left", "1").unwrap();
        assert_eq!(patch.over(&Policy::nothing()).contradiction(), None);
    }

    #[test]
    fn a_patch_changes_its_keys_and_nothing_else() {
        let mut class = PolicyPatch::default();
        class.set("stop_enabled", "false").unwrap();
        let mut own = PolicyPatch::default();
        own.set("lock_after_days", "30").unwrap();
        let mut base = Policy::nothing();
        base.stop.enabled = true;
        base.restrict.percent = Some(100);
        let laid = own.over(&class.over(&base));
        assert!(!laid.stop.enabled && laid.lock.delay == Duration::from_hours(720));
        assert_eq!((laid.restrict, class.is_empty()), (base.restrict, false));
    }
}
