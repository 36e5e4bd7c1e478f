//! Instants, half-open periods, billing days and months. UTC everywhere; zones only where days and months are cut
//! and where a person reads a date. The clock is handed in.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

/// Milliseconds in a second.
pub const MS_PER_SECOND: i64 = 1_000;

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, sqlx::Type)]
#[sqlx(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// From whole seconds since the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MS_PER_SECOND))
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(MS_PER_SECOND)
    }

    /// Later by `span` (at the end of time: the last instant).
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Earlier by `span` (at the start of time: the first instant).
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How much later than `earlier`; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As a chrono instant; None beyond the years chrono knows.
    pub fn to_utc(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.0)
    }

    /// Reads every date CloudStack writes (facts 1.5, 3.2): `+0000` without a colon (4.20 on), literal quotes around the
    /// `T` (up to 4.19), `+00:00` and `Z`. A text without a zone is refused: it would be in the server's own zone.
    pub fn parse_cloudstack(text: &str) -> Option<Self> {
        let plain = text.trim().replace("'T'", "T");
        ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M:%S%.f%#z"]
            .iter()
            .find_map(|format| DateTime::parse_from_str(&plain, format).ok())
            .or_else(|| DateTime::parse_from_rfc3339(&plain).ok())
            .map(|at| Self(at.timestamp_millis()))
    }

    /// As CloudStack takes dates in a request: with a zone, always (facts 1.3).
    pub fn to_cloudstack(self) -> String {
        self.to_utc().map_or_else(|| self.0.to_string(), |at| at.format("%Y-%m-%dT%H:%M:%S+0000").to_string())
    }

    /// Reads RFC 3339, or a bare date as midnight of `zone`.
    pub fn parse(text: &str, zone: Tz) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).map(|at| Self(at.timestamp_millis())).ok().or_else(|| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|date| Day::from_date(date).start(zone))
        })
    }

    /// As a person reads it, in a zone: `2026-11-22 17:05 CET`.
    pub fn display_in(self, zone: Tz) -> String {
        self.to_utc()
            .map_or_else(|| self.0.to_string(), |at| at.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z").to_string())
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the second (milliseconds only where there are some).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_utc() {
            Some(at) if self.0.rem_euclid(MS_PER_SECOND) == 0 => write!(f, "{}", at.format("%Y-%m-%dT%H:%M:%SZ")),
            Some(at) => write!(f, "{}", at.format("%Y-%m-%dT%H:%M:%S%.3fZ")),
            None => write!(f, "{}", self.0),
        }
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A half-open period: its start belongs to it, its end does not. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Period {
    start: Timestamp,
    end: Timestamp,
}

impl Period {
    /// A period, or None if `end` is not after `start`.
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The first instant of the period.
    pub const fn start(self) -> Timestamp {
        self.start
    }

    /// The first instant after the period.
    pub const fn end(self) -> Timestamp {
        self.end
    }

    /// Whole seconds in the period.
    pub const fn seconds(self) -> i64 {
        (self.end.0 - self.start.0) / MS_PER_SECOND
    }

    /// Whether the instant lies in the period.
    pub fn contains(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// Whether all of `other` lies in this period.
    pub fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What both have in common.
    pub fn overlap(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

/// A calendar day without a zone: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Day(i64);

impl Day {
    /// From days since 1970-01-01.
    pub const fn from_number(days: i64) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The day of a calendar date.
    pub fn from_date(date: NaiveDate) -> Self {
        Self(i64::from(date.num_days_from_ce()) - 719_163)
    }

    /// The calendar date; None beyond the years chrono knows.
    pub fn date(self) -> Option<NaiveDate> {
        i32::try_from(self.0 + 719_163).ok().and_then(NaiveDate::from_num_days_from_ce_opt)
    }

    /// The day that `at` falls on in `zone`.
    pub fn of(at: Timestamp, zone: Tz) -> Option<Self> {
        at.to_utc().map(|utc| Self::from_date(utc.with_timezone(&zone).date_naive()))
    }

    /// The first instant of the day in `zone` (after the gap, where clocks jump at midnight).
    pub fn start(self, zone: Tz) -> Option<Timestamp> {
        self.date().and_then(|date| first_instant(date, zone))
    }

    /// The day's period in `zone`: 23, 24 or 25 hours, or odder where a zone shifted.
    pub fn period(self, zone: Tz) -> Option<Period> {
        Period::new(self.start(zone)?, self.next().start(zone)?)
    }

    /// The following day.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The month that the day belongs to.
    pub fn month(self) -> Option<Month> {
        self.date().map(|date| Month { year: date.year(), month: date.month() })
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date() {
            Some(date) => write!(f, "{}", date.format("%Y-%m-%d")),
            None => write!(f, "{}", self.0),
        }
    }
}

impl serde::Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i32,
    month: u32,
}

impl Month {
    /// The month's period in `zone`, with its real length.
    pub fn period(self, zone: Tz) -> Option<Period> {
        let (next_year, next_month) =
            if self.month == 12 { (self.year.checked_add(1)?, 1) } else { (self.year, self.month + 1) };
        let start = first_instant(NaiveDate::from_ymd_opt(self.year, self.month, 1)?, zone)?;
        let end = first_instant(NaiveDate::from_ymd_opt(next_year, next_month, 1)?, zone)?;
        Period::new(start, end)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

fn first_instant(date: NaiveDate, zone: Tz) -> Option<Timestamp> {
    let midnight = NaiveDateTime::new(date, NaiveTime::MIN);
    // Some zones jump at midnight: the day then begins at the first instant that exists.
    (0..=180).find_map(|minutes| {
        zone.from_local_datetime(&(midnight + chrono::TimeDelta::minutes(minutes)))
            .earliest()
            .map(|at| Timestamp(at.timestamp_millis()))
    })
}

/// Where "now" comes from.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is moved: for tests, the demo's past and the simulation.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock standing at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start.as_ms())))
    }

    /// Moves the clock to `at`, also backwards.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_ms(), Ordering::SeqCst);
    }

    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().plus(span));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_date_shape_cloudstack_writes() {
        let expected = Timestamp::from_seconds(1_701_856_799);
        for text in [
            "2023-12-06T09:59:59+0000",
            "2023-12-06'T'09:59:59+00:00",
            "2023-12-06T10:59:59+0100",
            "2023-12-06T15:29:59+05:30",
            "2023-12-06T09:59:59Z",
        ] {
            assert_eq!(Timestamp::parse_cloudstack(text), Some(expected), "{text}");
        }
        for text in ["2023-12-06T09:59:59", "2023-12-06", "yesterday", ""] {
            assert_eq!(Timestamp::parse_cloudstack(text), None, "{text}");
        }
        assert_eq!(Timestamp::parse_cloudstack(&expected.to_cloudstack()), Some(expected));
    }

    #[test]
    fn months_and_days_have_their_real_length() {
        let vienna: Tz = "Europe/Vienna".parse().unwrap();
        let hours = |text: &str| Day::from_date(text.parse().unwrap()).period(vienna).unwrap().seconds() / 3600;
        assert_eq!((hours("2026-03-29"), hours("2026-10-25"), hours("2026-11-22")), (23, 25, 24));
        let month = |text: &str| {
            Day::from_date(text.parse().unwrap()).month().unwrap().period(vienna).unwrap().seconds() / 3600
        };
        assert_eq!(
            (month("2026-02-10"), month("2026-03-10"), month("2026-10-10"), month("2024-02-29")),
            (672, 743, 745, 696)
        );
    }

    #[test]
    fn a_day_whose_midnight_does_not_exist_starts_later() {
        let beirut: Tz = "Asia/Beirut".parse().unwrap();
        let day = Day::from_date("2022-03-27".parse().unwrap());
        assert_eq!(day.start(beirut).unwrap().to_string(), "2022-03-26T22:00:00Z");
        assert_eq!(day.period(beirut).unwrap().seconds(), 23 * 3600);
    }

    #[test]
    fn periods_are_half_open() {
        let at = Timestamp::from_seconds;
        let period = Period::new(at(10), at(20)).unwrap();
        assert!(period.contains(at(10)) && !period.contains(at(20)));
        assert_eq!(period.overlap(Period::new(at(20), at(30)).unwrap()), None);
        assert_eq!(Period::new(at(5), at(5)), None);
    }
}
