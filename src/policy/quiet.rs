//! Quiet hours: times of day and days of the week, on the tenant's clock, at which nobody is taken a step down.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, NaiveTime, Timelike as _, Weekday};
use chrono_tz::Tz;

use crate::time::Timestamp;

/// How far ahead the end of quiet hours is looked for: a week and a day.
const LOOKED_AHEAD_HALF_HOURS: u32 = 8 * 24 * 2;
const HALF_HOUR: Duration = Duration::from_mins(30);
const MINUTES_A_DAY: u16 = 24 * 60;
/// What of a day is left open at least: less would be skipped by the search above and by a run that comes late.
const OPEN_MINUTES: u16 = 60;
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];

/// When nobody is taken a step down. Times are those of the clock on the wall: where it is put forward over them, they do not
/// happen; where it is put back into them, they last longer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quiet {
    /// Minutes of the day from which and before which it is quiet; across midnight where the first is the later.
    pub hours: Option<(u16, u16)>,
    /// Days that are quiet as a whole.
    pub days: Vec<Weekday>,
}

impl Quiet {
    /// Whether it is quiet at an instant, in a zone.
    pub fn is_quiet(&self, at: Timestamp, zone: Tz) -> bool {
        at.to_utc().is_some_and(|utc| self.is_quiet_local(&utc.with_timezone(&zone)))
    }

    /// The first instant from `at` on that is not quiet.
    pub fn next_open(&self, at: Timestamp, zone: Tz) -> Timestamp {
        if !self.is_quiet(at, zone) {
            return at;
        }
        // Quiet hours begin and end on a minute of the local clock, and an open time lasts an hour at least: half hours find it,
        // minutes its beginning.
        let mut quiet = Timestamp::from_seconds(at.as_seconds().div_euclid(60) * 60);
        for _ in 0..LOOKED_AHEAD_HALF_HOURS {
            let next = quiet.plus(HALF_HOUR);
            if !self.is_quiet(next, zone) {
                return (1..=30)
                    .map(|minutes| quiet.plus(Duration::from_mins(minutes)))
                    .find(|minute| !self.is_quiet(*minute, zone))
                    .unwrap_or(next);
            }
            quiet = next;
        }
        at
    }

    fn is_quiet_local(&self, local: &DateTime<Tz>) -> bool {
        if self.days.contains(&local.weekday()) {
            return true;
        }
        let minute = u16::try_from(local.hour() * 60 + local.minute()).unwrap_or(0);
        match self.hours {
            None => false,
            Some((from, until)) if from < until => from <= minute && minute < until,
            Some((from, until)) => minute >= from || minute < until,
        }
    }
}

/// Reads "20:00-07:00"; an error continues the key's name.
pub(super) fn read_hours(text: &str) -> Result<(u16, u16), String> {
    let minute = |text: &str| {
        let time = NaiveTime::parse_from_str(text.trim(), "%H:%M").ok()?;
        u16::try_from(time.hour() * 60 + time.minute()).ok()
    };
    let read = text.split_once('-').and_then(|(from, until)| Some((minute(from)?, minute(until)?)));
    let Some((from, until)) = read else {
        let shown: String = text.chars().take(40).collect();
        return Err(format!("is \"{shown}\" and must be two times of day such as 20:00-07:00"));
    };
    let quiet = if from < until { until - from } else { MINUTES_A_DAY - from + until };
    if quiet > MINUTES_A_DAY - OPEN_MINUTES {
        return Err("leaves less than an hour of the day in which anything may happen".to_owned());
    }
    Ok((from, until))
}

/// Reads names of days; an error continues the key's name.
pub(super) fn read_days<'a>(items: impl Iterator<Item = &'a str>) -> Result<Vec<Weekday>, String> {
    let mut days = Vec::new();
    for item in items {
        let day = DAYS.iter().find(|(name, _)| *name == item).map(|(_, day)| *day).ok_or_else(|| {
            let shown: String = item.chars().take(20).collect();
            format!("holds \"{shown}\"; days are mon, tue, wed, thu, fri, sat and sun")
        })?;
        if days.contains(&day) {
            return Err(format!("holds {item} twice"));
        }
        days.push(day);
    }
    if days.len() == DAYS.len() {
        return Err("leaves no day on which anything may happen".to_owned());
    }
    Ok(days)
}

/// As [`read_hours`] reads it, or "none".
pub(super) fn show_hours(hours: Option<(u16, u16)>) -> String {
    let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    hours.map_or_else(|| "none".to_owned(), |(from, until)| format!("{}-{}", time(from), time(until)))
}

/// As [`read_days`] reads them, or "none".
pub(super) fn show_days(days: &[Weekday]) -> String {
    if days.is_empty() {
        return "none".to_owned();
    }
    let name = |day: &Weekday| DAYS.iter().find(|(_, other)| other == day).map_or("", |(name, _)| *name);
    days.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use chrono_tz::{America::Santiago, Asia::Kathmandu, Europe::Vienna, UTC};

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, UTC).unwrap()
    }

    fn quiet(hours: &str, days: &[Weekday]) -> Quiet {
        let hours = (!hours.is_empty()).then(|| read_hours(hours).unwrap());
        Quiet { hours, days: days.to_vec() }
    }

    #[test]
    fn quiet_hours_begin_and_end_to_the_second_also_across_midnight() {
        let night = quiet("20:00-07:00", &[]);
        for (instant, expected) in [
            ("2026-01-14T18:59:59Z", false),
            ("2026-01-14T19:00:00Z", true),
            ("2026-01-14T23:30:00Z", true),
            ("2026-01-15T05:59:59Z", true),
            ("2026-01-15T06:00:00Z", false),
        ] {
            assert_eq!(night.is_quiet(at(instant), Vienna), expected, "{instant}");
        }
        let noon = quiet("12:00-13:00", &[]);
        assert!(
            noon.is_quiet(at("2026-01-14T06:15:00Z"), Kathmandu)
                && !noon.is_quiet(at("2026-01-14T06:14:59Z"), Kathmandu)
        );
        assert!(!Quiet::default().is_quiet(at("2026-01-14T03:00:00Z"), Vienna));
    }

    #[test]
    fn a_quiet_weekend_lasts_from_midnight_to_midnight_and_joins_the_nights() {
        let weekend = quiet("20:00-07:00", &[Weekday::Sat, Weekday::Sun]);
        assert!(!weekend.is_quiet(at("2026-01-16T18:59:59Z"), Vienna), "Friday before eight");
        assert!(weekend.is_quiet(at("2026-01-17T11:00:00Z"), Vienna), "Saturday noon");
        assert_eq!(
            weekend.next_open(at("2026-01-16T19:00:00Z"), Vienna),
            at("2026-01-19T06:00:00Z"),
            "Monday at seven"
        );
        assert_eq!(weekend.next_open(at("2026-01-16T12:34:56Z"), Vienna), at("2026-01-16T12:34:56Z"));
        let days = quiet("", &[Weekday::Sat, Weekday::Sun]);
        assert_eq!(days.next_open(at("2026-01-16T23:00:00Z"), Vienna), at("2026-01-18T23:00:00Z"));
    }

    #[test]
    fn the_clock_on_the_wall_counts_where_it_is_put_forward_and_back() {
        // 2026-03-29: 02:00 becomes 03:00; half past two does not happen, and it is open right after the gap.
        let gap = quiet("01:00-02:30", &[]);
        assert_eq!(gap.next_open(at("2026-03-29T00:00:00Z"), Vienna), at("2026-03-29T01:00:00Z"), "03:00 summer time");
        let within = quiet("02:10-02:40", &[]);
        assert!(
            (0..120)
                .all(|minute| !within.is_quiet(at("2026-03-29T00:00:00Z").plus(Duration::from_mins(minute)), Vienna))
        );
        // 2026-10-25: 03:00 becomes 02:00; what is quiet until 02:30 is quiet until the second 02:30.
        let fold = quiet("23:00-02:30", &[]);
        assert_eq!(fold.next_open(at("2026-10-24T22:00:00Z"), Vienna), at("2026-10-25T00:30:00Z"), "the first 02:30");
        assert!(fold.is_quiet(at("2026-10-25T01:00:00Z"), Vienna), "02:00 comes again");
        assert_eq!(fold.next_open(at("2026-10-25T01:00:00Z"), Vienna), at("2026-10-25T01:30:00Z"), "the second 02:30");
        // Midnight itself is skipped in Santiago on 2026-09-06: the day begins at one.
        let sunday = quiet("", &[Weekday::Sat]);
        assert_eq!(sunday.next_open(at("2026-09-05T12:00:00Z"), Santiago), at("2026-09-06T04:00:00Z"));
    }

    #[test]
    fn the_next_open_instant_is_never_quiet_and_never_early() {
        let policy = quiet("19:30-08:15", &[Weekday::Sun]);
        for step in 0..600_i64 {
            let instant = at("2026-03-20T00:00:07Z").plus(Duration::from_mins(u64::try_from(step).unwrap() * 37));
            let open = policy.next_open(instant, Vienna);
            assert!(open >= instant && !policy.is_quiet(open, Vienna), "{instant}");
            assert!(open == instant || policy.is_quiet(open.minus(Duration::from_mins(1)), Vienna), "{instant}");
        }
    }
}
