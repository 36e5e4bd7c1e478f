//! The usage job (facts 0, 3.4, 3.5): which windows a run covers, and the records of each.
//!
//! A run is all or nothing. It starts behind the end of the last successful one, or at the oldest late event before
//! that, and is split backwards from its end into windows of the configured range: the first may be odd.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, TimeZone, Timelike};
use chrono_tz::Tz;
use serde_json::Value;

use super::{Amount, Count, Fields, Measure, PARSER_ORDER, Record, Span, kind, quantity::human_size};
use crate::{
    ids::CloudId,
    standin::world::{World, entities::SYSTEM_ACCOUNT},
    time::Timestamp,
};

const MS_PER_MINUTE: i64 = 60_000;
/// Accounts removed up to this long before a run are still reported.
const REMOVED_GRACE_MS: i64 = 3 * 24 * 60 * MS_PER_MINUTE;

/// What a run of the usage job did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageRun {
    /// It reported; windows touch, ends are the last millisecond.
    Done {
        /// The windows, oldest first: first and last instant.
        windows: Vec<(Timestamp, Timestamp)>,
        /// How many records were written.
        records: usize,
    },
    /// Everything up to now was reported already.
    NothingToDo,
    /// The run failed and was rolled back.
    RolledBack,
    /// The job hangs and does nothing.
    Stuck,
}

impl World {
    /// Runs the usage job as if its time had come.
    pub fn run_usage_job(&mut self, now: Timestamp) -> UsageRun {
        if self.usage.stuck {
            return UsageRun::Stuck;
        }
        self.usage.heartbeat = Some(now);
        let Some((start, end, range_ms)) = self.usage_range(now) else { return UsageRun::NothingToDo };
        if std::mem::take(&mut self.usage.fail_next) {
            return UsageRun::RolledBack;
        }
        let windows = split(start, end, range_ms);
        let before = self.usage.records.len();
        for (window_start, window_end) in &windows {
            self.report_window(*window_start, *window_end);
        }
        self.usage.late = None;
        self.usage.last_end = Some(end);
        UsageRun::Done { windows, records: self.usage.records.len().saturating_sub(before) }
    }

    /// A usage event that comes in late: the next run starts there and reports everything since then again.
    pub fn late_event(&mut self, at: Timestamp) {
        self.usage.happened(at);
    }

    /// The next run fails and is rolled back.
    pub fn fail_next_usage_run(&mut self) {
        self.usage.fail_next = true;
    }

    /// The job hangs (its last success stays where it is) until this is called with `false`.
    pub fn set_usage_job_stuck(&mut self, stuck: bool) {
        self.usage.stuck = stuck;
    }

    /// Whether the usage server runs on the management server's own machine: what `state` of listUsageServerMetrics tells.
    pub fn set_usage_server_local(&mut self, local: bool) {
        self.usage.local = local;
    }

    /// The last second that the last successful run covered.
    pub fn last_successful_usage_job(&self) -> Option<Timestamp> {
        self.usage.last_end
    }

    /// First instant, last millisecond and range of the next run.
    fn usage_range(&self, now: Timestamp) -> Option<(Timestamp, Timestamp, i64)> {
        let minutes: i64 =
            self.settings.global("usage.stats.job.aggregation.range").parse().ok().filter(|range| *range > 0)?;
        let zone: Tz = self.settings.global("usage.aggregation.timezone").parse().unwrap_or(Tz::UTC);
        let end = Timestamp::from_ms(run_end(now, minutes, zone)?.as_ms() - 1);
        let usual = match self.usage.last_end {
            Some(last) => Timestamp::from_ms(last.as_ms() + 1),
            None => self.usage.earliest?,
        };
        let start = self.usage.late.map_or(usual, |late| late.min(usual));
        (start < end).then_some((start, end, minutes * MS_PER_MINUTE))
    }

    fn report_window(&mut self, start: Timestamp, end: Timestamp) {
        let accounts: Vec<CloudId> = self
            .accounts
            .iter()
            .filter(|account| account.number != SYSTEM_ACCOUNT)
            .filter(|account| account.removed.is_none_or(|at| at.as_ms() + REMOVED_GRACE_MS >= start.as_ms()))
            .map(|account| account.id)
            .collect();
        let mut written = Vec::new();
        for owner in accounts {
            let spans = self.usage.spans.get(&owner).map_or(&[][..], Vec::as_slice);
            let counts = self.usage.counts.get(&owner).map_or(&[][..], Vec::as_slice);
            if spans.is_empty() && counts.is_empty() {
                continue;
            }
            for kind in PARSER_ORDER {
                match kind {
                    // Each of these parsers writes the types of one statistics row side by side.
                    kind::BYTES_SENT | kind::DISK_IO_READ => {
                        write_counts(&mut written, owner, kind, counts, start, end);
                    }
                    kind::BYTES_RECEIVED | kind::DISK_IO_WRITE | kind::DISK_BYTES_READ | kind::DISK_BYTES_WRITE => {}
                    _ => write_spans(&mut written, owner, kind, spans, start, end),
                }
            }
        }
        for record in written {
            self.usage.push(record);
        }
    }
}

/// Where a run ends: the start of today, of this hour, or now.
fn run_end(now: Timestamp, minutes: i64, zone: Tz) -> Option<Timestamp> {
    let local = now.to_utc()?.with_timezone(&zone);
    let cut: DateTime<Tz> = match minutes {
        1440 => zone.from_local_datetime(&local.date_naive().and_hms_opt(0, 0, 0)?).earliest()?,
        60 => local.with_minute(0)?.with_second(0)?.with_nanosecond(0)?,
        _ => local,
    };
    Some(Timestamp::from_ms(cut.timestamp_millis()))
}

/// Windows of `range_ms`, counted back from the last millisecond `end`; the first may be shorter.
fn split(start: Timestamp, end: Timestamp, range_ms: i64) -> Vec<(Timestamp, Timestamp)> {
    let mut windows = Vec::new();
    let mut last = end.as_ms();
    while last >= start.as_ms() {
        let first = (last - range_ms + 1).max(start.as_ms());
        windows.push((Timestamp::from_ms(first), Timestamp::from_ms(last)));
        last = first - 1;
    }
    windows.reverse();
    windows
}

fn write_spans(written: &mut Vec<Record>, owner: CloudId, kind: u8, spans: &[Span], start: Timestamp, end: Timestamp) {
    let mut places: HashMap<(CloudId, CloudId), usize> = HashMap::new();
    for span in spans.iter().filter(|span| span.kind == kind && span.from <= end) {
        if span.to.is_some_and(|to| to < start) {
            continue;
        }
        let (from, to) = (span.from.max(start), span.to.map_or(end, |to| to.min(end)));
        // CloudStack counts the last millisecond too.
        let lasted = to.as_ms() - from.as_ms() + 1;
        let amount = match span.measure {
            Measure::Hours => Amount::Hours(lasted),
            Measure::Level(bytes) => Amount::Whole(bytes),
        };
        if let Some(record) = places.get(&span.group).and_then(|place| written.get_mut(*place)) {
            if let (Amount::Hours(sum), Amount::Hours(more)) = (&mut record.amount, &amount) {
                *sum += more;
            }
            continue;
        }
        if !span.own_dates {
            places.insert(span.group, written.len());
        }
        let (first, last) = if span.own_dates { (from, to) } else { (start, end) };
        written.push(Record {
            id: 0,
            owner,
            kind,
            start: first,
            end: last,
            amount,
            fields: Arc::clone(&span.fields),
            hidden: false,
        });
    }
}

fn write_counts(
    written: &mut Vec<Record>,
    owner: CloudId,
    first_kind: u8,
    counts: &[Count],
    start: Timestamp,
    end: Timestamp,
) {
    let mut order: Vec<CloudId> = Vec::new();
    let mut sums: HashMap<CloudId, (&Count, Vec<u64>)> = HashMap::new();
    for count in
        counts.iter().filter(|count| count.kinds.first() == Some(&first_kind) && start <= count.at && count.at <= end)
    {
        let (_, sum) = sums.entry(count.resource).or_insert_with(|| {
            order.push(count.resource);
            (count, vec![0; count.kinds.len()])
        });
        for (total, amount) in sum.iter_mut().zip(&count.amounts) {
            *total += amount;
        }
    }
    for (count, sum) in order.iter().filter_map(|resource| sums.get(resource)) {
        if sum.iter().all(|amount| *amount == 0) {
            continue;
        }
        for (kind, amount) in count.kinds.iter().zip(sum) {
            written.push(Record {
                id: 0,
                owner,
                kind: *kind,
                start,
                end,
                amount: Amount::Whole(*amount),
                fields: described(*kind, *amount, &count.fields),
                hidden: false,
            });
        }
    }
}

/// Byte records carry the amount in their description too.
fn described(kind: u8, amount: u64, fields: &Fields) -> Fields {
    let mut own = (**fields).clone();
    let text = own.get("description").and_then(Value::as_str).unwrap_or_default();
    let text = match kind {
        kind::BYTES_SENT => format!("Bytes sent {}", text.replace("{amount}", &sized(amount))),
        kind::BYTES_RECEIVED => format!("Bytes received {}", text.replace("{amount}", &sized(amount))),
        kind::DISK_IO_READ => format!("Disk I/O read requests {text}"),
        kind::DISK_IO_WRITE => format!("Disk I/O write requests {text}"),
        kind::DISK_BYTES_READ => format!("Disk I/O read bytes {text}"),
        _ => format!("Disk I/O write bytes {text}"),
    };
    own.insert("description".to_owned(), Value::String(text));
    Arc::new(own)
}

fn sized(amount: u64) -> String {
    format!("{} {amount}", human_size(amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Tz::UTC).unwrap()
    }

    #[test]
    fn a_run_ends_at_midnight_the_hour_or_now() {
        let now = at("2026-11-22T17:40:30Z");
        let zone: Tz = "Asia/Kolkata".parse().unwrap();
        assert_eq!(
            run_end(now, 1440, zone),
            Some(at("2026-11-22T18:30:00Z").minus(std::time::Duration::from_hours(24)))
        );
        assert_eq!(run_end(now, 60, zone), Some(at("2026-11-22T17:30:00Z")));
        assert_eq!(run_end(now, 15, zone), Some(now));
    }

    #[test]
    fn windows_are_counted_back_from_the_end() {
        let end = Timestamp::from_ms(at("2026-11-22T18:00:00Z").as_ms() - 1);
        let windows = split(at("2026-11-22T14:39:29Z"), end, 3_600_000);
        assert_eq!(windows.len(), 4);
        assert_eq!(windows[0].0, at("2026-11-22T14:39:29Z"));
        assert_eq!(windows[1].0, at("2026-11-22T15:00:00Z"));
        assert_eq!(windows[3].1, end);
    }
}
