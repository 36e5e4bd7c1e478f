//! Cron schedules as people write them: five fields, in a time zone.
//!
//! What happens when clocks are changed: a job at a fixed time inside the skipped hour (`30 2 * * *`) runs at the first
//! instant after the gap; inside the doubled hour it runs once, at the first of the two. Jobs at intervals
//! (`*/10 * * * *`) simply follow the instants that exist: none in the gap, both rounds of the doubled hour.
//!
//! A schedule only computes instants. It neither waits nor reads a clock.

use std::{fmt, str::FromStr};

use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use crate::time::Timestamp;

/// Longest expression that is looked at; a real one has some twenty characters.
const MAX_CHARS: usize = 200;
/// 2024-01-01T00:00:00Z, from where a new schedule must have a next time.
const PROBE: Timestamp = Timestamp::from_seconds(1_704_067_200);

/// Why an expression is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// `@daily` and its like.
    #[error("words such as @daily are not taken; write the five fields, such as 0 0 * * *")]
    Nickname,
    /// Not five fields.
    #[error("a schedule has five fields (minute, hour, day of month, month, weekday), this one has {0}")]
    FieldCount(usize),
    /// A field that does not read.
    #[error("a field does not read: {0}")]
    Field(String),
    /// A date that no calendar has, such as 30 February.
    #[error("no date ever matches it")]
    Never,
}

/// A five-field cron expression.
#[derive(Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

impl Schedule {
    /// Reads five fields; refuses seconds, years, `@` words and dates that never come.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.first().is_some_and(|first| first.starts_with('@')) {
            return Err(ScheduleError::Nickname);
        }
        if fields.len() != 5 {
            return Err(ScheduleError::FieldCount(fields.len()));
        }
        let plain = fields.join(" ");
        if plain.chars().count() > MAX_CHARS {
            return Err(ScheduleError::Field(format!("it is longer than {MAX_CHARS} characters")));
        }
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(&plain)
            .map_err(|error| ScheduleError::Field(error.to_string()))?;
        let schedule = Self { text: plain, cron };
        if schedule.next_after(PROBE, Tz::UTC).is_none() {
            return Err(ScheduleError::Never);
        }
        Ok(schedule)
    }

    /// The first instant after `after` at which the schedule is due; always later than `after`.
    pub fn next_after(&self, after: Timestamp, zone: Tz) -> Option<Timestamp> {
        let second = Timestamp::from_seconds(after.as_seconds());
        let from = second.to_utc()?.with_timezone(&zone);
        let next = self.cron.find_next_occurrence(&from, false).ok()?;
        Some(Timestamp::from_ms(next.timestamp_millis())).filter(|next| *next > after)
    }

    /// The expression, with single blanks.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?})", self.text)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Tz::UTC).unwrap()
    }

    /// The next instants after `start`, as written.
    fn times(expression: &str, start: &str, zone: Tz, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(expression).unwrap();
        let mut now = at(start);
        (0..count)
            .map(|_| {
                now = schedule.next_after(now, zone).unwrap();
                now.to_string()
            })
            .collect()
    }

    #[test]
    fn the_default_schedules_give_the_times_one_expects() {
        let start = "2026-11-22T10:00:00Z";
        assert_eq!(times("*/10 * * * *", start, Tz::UTC, 2), ["2026-11-22T10:10:00Z", "2026-11-22T10:20:00Z"]);
        assert_eq!(times("2-59/10 * * * *", start, Tz::UTC, 2), ["2026-11-22T10:02:00Z", "2026-11-22T10:12:00Z"]);
        assert_eq!(times("0 3 * * MON", start, Tz::Europe__Vienna, 1), ["2026-11-23T02:00:00Z"]);
        assert_eq!(times("0 0 29 2 *", start, Tz::UTC, 1), ["2028-02-29T00:00:00Z"]);
    }

    #[test]
    fn the_instant_itself_is_never_returned() {
        let schedule = Schedule::parse("* * * * *").unwrap();
        let due = at("2026-11-22T10:00:00Z");
        assert_eq!(schedule.next_after(due, Tz::UTC), Some(at("2026-11-22T10:01:00Z")));
        let just_before = Timestamp::from_ms(due.as_ms() - 1);
        assert_eq!(schedule.next_after(just_before, Tz::UTC), Some(due));
        let just_after = Timestamp::from_ms(due.as_ms() + 1);
        assert_eq!(schedule.next_after(just_after, Tz::UTC), Some(at("2026-11-22T10:01:00Z")));
    }

    #[test]
    fn a_fixed_time_in_the_skipped_hour_runs_right_after_the_gap() {
        // Vienna, 29 March 2026: 02:00 becomes 03:00, which is 01:00 UTC.
        let zone = Tz::Europe__Vienna;
        assert_eq!(
            times("30 2 * * *", "2026-03-28T02:00:00Z", zone, 3),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]
        );
    }

    #[test]
    fn a_fixed_time_in_the_doubled_hour_runs_once_at_the_first() {
        // Vienna, 25 October 2026: 03:00 becomes 02:00 again at 01:00 UTC.
        let zone = Tz::Europe__Vienna;
        assert_eq!(
            times("30 2 * * *", "2026-10-24T02:00:00Z", zone, 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        // Also when asked between the two.
        assert_eq!(times("30 2 * * *", "2026-10-25T00:45:00Z", zone, 1), ["2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn intervals_follow_the_instants_that_exist() {
        let zone = Tz::Europe__Vienna;
        assert_eq!(
            times("*/30 * * * *", "2026-03-29T00:15:00Z", zone, 3),
            ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
        );
        assert_eq!(
            times("*/30 * * * *", "2026-10-24T23:45:00Z", zone, 6),
            [
                "2026-10-25T00:00:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-25T02:00:00Z",
                "2026-10-25T02:30:00Z"
            ]
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_reason() {
        let refused = |text: &str| Schedule::parse(text).unwrap_err();
        assert_eq!(refused("@daily"), ScheduleError::Nickname);
        assert_eq!(refused(""), ScheduleError::FieldCount(0));
        assert_eq!(refused("0 0 * * * *"), ScheduleError::FieldCount(6));
        assert_eq!(refused("0 0 30 2 *"), ScheduleError::Never);
        assert_eq!(refused("0 0 31 4,6,9,11 *"), ScheduleError::Never);
        for text in ["60 * * * *", "a b c d e", "*/0 * * * *", "5-1-2 * * * *", "* 25 * * *", "* * * 13 *"] {
            assert!(matches!(refused(text), ScheduleError::Field(_)), "{text}");
        }
        assert!(matches!(refused(&format!("{} * * * *", "1,".repeat(200))), ScheduleError::Field(_)));
    }

    #[test]
    fn blanks_do_not_matter() {
        assert_eq!(Schedule::parse("  0   3 * *  * ").unwrap().as_str(), "0 3 * * *");
    }

    proptest! {
        #[test]
        fn the_next_time_is_always_later(seconds in 1_600_000_000_i64..2_000_000_000, ms in 0_i64..1000, which in 0_usize..5, zone in 0_usize..4) {
            let expression = ["*/10 * * * *", "30 2 * * *", "0 0 * * *", "15 1,2,3 * * 0", "59 23 L * *"][which];
            let zone = [Tz::UTC, Tz::Europe__Vienna, Tz::America__St_Johns, Tz::Australia__Lord_Howe][zone];
            let after = Timestamp::from_ms(seconds * 1000 + ms);
            let next = Schedule::parse(expression).unwrap().next_after(after, zone).unwrap();
            prop_assert!(next > after);
        }
    }
}
