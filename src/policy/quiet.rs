//! Quiet hours: times of day and days of the week, on the tenant's clock, at which nobody is taken a step down.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, Timelike as _, Weekday};
use chrono_tz::Tz;

use crate::time::Timestamp;

/// How far ahead the end of quiet hours is looked for: a week and a day.
const LOOKED_AHEAD_HALF_HOURS: u32 = 8 * 24 * 2;
const HALF_HOUR: Duration = Duration::from_mins(30);

/// When nobody is taken a step down.
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

    /// The first instant from `at` on that is not quiet. Where it is quiet for a whole week, `at` itself: a rule that never lets
    /// anything happen is refused where it is written.
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
