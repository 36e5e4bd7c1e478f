//! Dates as CloudStack reads and writes them (facts 1.2, 1.3, 1.5, 3.2). The stand-in's own, so that a fault in the
//! client's reading can not hide behind the same fault here.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;

use super::world::Locale;
use crate::time::Timestamp;

/// Whether a bare date in a request means the day's first or last second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    Start,
    End,
}

fn in_zone(at: Timestamp, zone: Tz) -> Option<DateTime<Tz>> {
    at.to_utc().map(|utc| utc.with_timezone(&zone))
}

/// `2026-11-22T17:39:27+0000`, in the server's zone.
pub(crate) fn out(at: Timestamp, locale: Locale) -> String {
    in_zone(at, locale.zone).map(|at| at.format("%Y-%m-%dT%H:%M:%S%z").to_string()).unwrap_or_default()
}

/// As in usage records: with literal quotes up to 4.19.
pub(crate) fn out_usage(at: Timestamp, locale: Locale) -> String {
    if locale.quoted_dates {
        in_zone(at, locale.zone).map(|at| at.format("%Y-%m-%d'T'%H:%M:%S%:z").to_string()).unwrap_or_default()
    } else {
        out(at, locale)
    }
}

/// Java's `Date.toString()`: `Sun Nov 22 00:00:00 UTC 2026`.
pub(crate) fn java(at: Timestamp, locale: Locale) -> String {
    in_zone(at, locale.zone).map(|at| at.format("%a %b %d %H:%M:%S %Z %Y").to_string()).unwrap_or_default()
}

/// A date with a zone: what `expires` must be, and what is tried first for other dates.
pub(crate) fn read_zoned(text: &str) -> Option<Timestamp> {
    ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M:%S%.f%:z"]
        .iter()
        .find_map(|format| DateTime::parse_from_str(text, format).ok().map(|at| at.timestamp_millis()))
        .or_else(|| {
            let plain = text.strip_suffix("'Z'Z").or_else(|| text.strip_suffix('Z'))?;
            let naive = NaiveDateTime::parse_from_str(plain, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
            Some(naive.and_utc().timestamp_millis())
        })
        .map(Timestamp::from_ms)
}

/// A date parameter: with a zone, else in the server's own.
pub(crate) fn read(text: &str, edge: Edge, zone: Tz) -> Option<Timestamp> {
    read_zoned(text).or_else(|| {
        let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok().or_else(|| {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            let time = match edge {
                Edge::Start => NaiveTime::MIN,
                Edge::End => NaiveTime::from_hms_opt(23, 59, 59)?,
            };
            Some(date.and_time(time))
        })?;
        zone.from_local_datetime(&naive).earliest().map(|at| Timestamp::from_ms(at.timestamp_millis()))
    })
}
