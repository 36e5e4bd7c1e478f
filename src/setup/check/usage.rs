//! The job that makes usage records, without which nothing is charged and nothing is decided.

use chrono_tz::Tz;

use super::{Area, CheckReport, Line, cloud::Found, way_out};
use crate::{
    cloudstack::{Error, UsageServerMetrics},
    time::Timestamp,
};

const AREA: Area = Area::Usage;
const NAME: &str = "usage job";
/// CloudStack's own default, where it does not tell.
const DEFAULT_RANGE_MINUTES: u64 = 1440;
const MS_PER_MINUTE: u64 = 60_000;
/// The first usage record type's window needs at least this; shorter ones make the server write more than it reads.
const SHORT_RANGE_MINUTES: u64 = 60;

pub(super) async fn look(found: &Found<'_>, settings_readable: bool, report: &mut CheckReport) {
    let mut range = DEFAULT_RANGE_MINUTES;
    if settings_readable {
        let setting = async |name| found.reader.configuration(name).await.ok().flatten();
        if setting("enable.usage.server").await.is_some_and(|value| !value.trim().eq_ignore_ascii_case("true")) {
            report.add(
                Line::bad(
                    AREA,
                    NAME,
                    "enable.usage.server is false: CloudStack records no usage, so nothing can be charged",
                )
                .with_way_out("set it to true, install cloudstack-usage and start it"),
            );
        }
        if let Some(minutes) = setting("usage.stats.job.aggregation.range").await.and_then(|v| v.trim().parse().ok()) {
            range = minutes;
        }
        let at = setting("usage.stats.job.exec.time").await.unwrap_or_else(|| "00:15".to_owned());
        let execution = setting("usage.execution.timezone").await.filter(|zone| !zone.trim().is_empty());
        let aggregation = setting("usage.aggregation.timezone").await.unwrap_or_else(|| "GMT".to_owned());
        report.add(schedule(range, &at, execution.as_deref()));
        report.add(zone(&aggregation, found.config.billing.zone));
    }
    report.add(last_success(found, range, found.reader.usage_server_metrics().await));
}

fn schedule(range: u64, at: &str, execution: Option<&str>) -> Line {
    let zone = execution.map_or_else(|| "the server's time zone".to_owned(), ToOwned::to_owned);
    let text = match range {
        1440 => format!("daily, from {at} on ({zone}): charges are a day behind"),
        60 => "hourly: charges are an hour or two behind".to_owned(),
        _ => format!("every {range} minutes, from {at} on ({zone})"),
    };
    if range < SHORT_RANGE_MINUTES {
        return Line::warning(AREA, "usage windows", text)
            .with_way_out("60 minutes are as good for credit limits and give CloudStack less to write");
    }
    Line::good(AREA, "usage windows", text)
}

fn zone(aggregation: &str, billing: Tz) -> Line {
    let name = "usage time zone";
    let same = same_zone(aggregation.trim(), billing.name());
    if same {
        return Line::good(AREA, name, format!("{aggregation}, as billing"));
    }
    let text = format!(
        "CloudStack cuts usage in {aggregation}, and bursar's days are of {billing}: records across midnight are split by seconds"
    );
    Line::warning(AREA, name, text)
        .with_way_out(format!("set [billing] zone = \"{aggregation}\", unless that is on purpose"))
}

/// Whether both names mean the same; universal time has several.
fn same_zone(left: &str, right: &str) -> bool {
    let universal = |name: &str| {
        [
            "UTC",
            "GMT",
            "Etc/UTC",
            "Etc/GMT",
            "Etc/Greenwich",
            "Greenwich",
            "Zulu",
            "Etc/Zulu",
            "UCT",
            "Universal",
            "GMT0",
        ]
        .iter()
        .any(|one| one.eq_ignore_ascii_case(name))
    };
    left.eq_ignore_ascii_case(right) || (universal(left) && universal(right))
}

/// The usage server's own state is no sign: a recorded one said "Down" with a heartbeat seconds old. The end of what the last
/// successful job covered is.
fn last_success(found: &Found<'_>, range: u64, metrics: Result<Option<UsageServerMetrics>, Error>) -> Line {
    let metrics = match metrics {
        Ok(Some(metrics)) => metrics,
        Ok(None) => {
            return Line::not_checked(AREA, NAME, "CloudStack does not tell when it last ran (listUsageServerMetrics)")
                .with_way_out("allow listUsageServerMetrics in the role, and see that the usage server runs");
        }
        Err(error) => {
            return Line::bad(AREA, NAME, format!("its state can not be read: {error}")).with_way_out(way_out(&error));
        }
    };
    let start = "start the usage server (systemctl status cloudstack-usage) and look into its log";
    let heartbeat = metrics.last_heartbeat.map_or_else(String::new, |at| format!("; last sign of life {at}"));
    let Some(last) = metrics.last_successful_job else {
        return Line::warning(AREA, NAME, format!("it has never succeeded yet{heartbeat}")).with_way_out(start);
    };
    let grace = u64::try_from(found.config.enforcement.usage_grace.as_millis()).unwrap_or(u64::MAX);
    judge(found.now, last, range, grace / MS_PER_MINUTE, &heartbeat, start)
}

fn judge(now: Timestamp, last: Timestamp, range: u64, grace: u64, heartbeat: &str, way_out: &str) -> Line {
    let age = u64::try_from(now.since(last).as_millis()).unwrap_or(u64::MAX) / MS_PER_MINUTE;
    let limit = range.saturating_mul(2).saturating_add(grace);
    let text = format!("usage is complete up to {last}, {} ago{heartbeat}", span(age));
    if age > limit {
        let text = format!("{text}: older than {}, so nobody is warned or locked until it is fresh again", span(limit));
        Line::bad(AREA, NAME, text).with_way_out(way_out)
    } else {
        Line::good(AREA, NAME, text)
    }
}

/// Minutes as people say them.
fn span(minutes: u64) -> String {
    match (minutes / 60, minutes % 60) {
        (0, rest) => format!("{rest} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, rest) => format!("{hours} h {rest} min"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::setup::report::Verdict;

    #[test]
    fn usage_is_stale_after_two_ranges_and_the_grace() {
        let last = Timestamp::from_seconds(1_795_366_800);
        let at = |minutes: u64| judge(last.plus(Duration::from_secs(minutes * 60)), last, 60, 120, "", "start it");
        assert_eq!(at(240).verdict, Verdict::Good);
        assert_eq!(at(241).verdict, Verdict::Bad);
        assert!(at(241).text.contains("4 h 1 min ago"), "{:?}", at(241));
        let future = judge(last.minus(Duration::from_mins(1)), last, 60, 120, "", "");
        assert_eq!(future.verdict, Verdict::Good);
    }

    #[test]
    fn universal_time_has_several_names() {
        assert_eq!(zone("GMT", Tz::UTC).verdict, Verdict::Good);
        assert_eq!(zone("Europe/Vienna", Tz::Europe__Vienna).verdict, Verdict::Good);
        assert_eq!(zone("GMT", Tz::Europe__Vienna).verdict, Verdict::Warning);
    }

    #[test]
    fn windows_shorter_than_an_hour_are_told_of() {
        assert_eq!(schedule(1440, "00:15", Some("Europe/Vienna")).verdict, Verdict::Good);
        assert_eq!(schedule(5, "00:15", None).verdict, Verdict::Warning);
    }
}
