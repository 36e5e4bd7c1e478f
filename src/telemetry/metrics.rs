//! Figures for Prometheus: one table of names, and one function for each figure, so that no caller can misspell one.
//!
//! The recorder has no HTTP server of its own; whoever listens calls [`Recorder::render`]. Before [`install`] (and in
//! commands that never call it) every function here does nothing. This is the one place besides charts where numbers
//! become floats: nothing is computed from them.

use std::{fmt::Write as _, time::Duration};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::time::Timestamp;

/// Upper edges of the time buckets, in seconds: from a quick call to a first sync.
const SECONDS_BUCKETS: [f64; 13] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 1_800.0];

const RUNS: &str = "bursar_runs_total";
const RUN_SECONDS: &str = "bursar_run_seconds";
const LAST_SUCCESS: &str = "bursar_run_last_success_timestamp_seconds";
const USAGE_RECORDS: &str = "bursar_usage_records_total";
const USAGE_AGE: &str = "bursar_usage_age_seconds";
const UNPRICED: &str = "bursar_unpriced_records";
const CALLS: &str = "bursar_cloudstack_calls_total";
const CALL_SECONDS: &str = "bursar_cloudstack_call_seconds";
const ACCOUNTS: &str = "bursar_accounts";
const OVER_LIMIT: &str = "bursar_payers_over_limit";
const DECISIONS: &str = "bursar_decisions_total";
const INTENTS: &str = "bursar_intents_total";
const INTENTS_OPEN: &str = "bursar_intents_open";
const MAILS: &str = "bursar_mails_total";
const MAILS_WAITING: &str = "bursar_mails";
const BUILD: &str = "bursar_build_info";

/// How a figure moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only upwards, from zero at each start.
    Counter,
    /// To where the thing counted stands.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One figure.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name at Prometheus.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What is counted.
    pub unit: Unit,
    /// Labels, with commas; empty where there are none.
    pub labels: &'static str,
    /// What it tells, and when to worry.
    pub help: &'static str,
}

const fn metric(name: &'static str, kind: Kind, unit: Unit, labels: &'static str, help: &'static str) -> Metric {
    Metric { name, kind, unit, labels, help }
}

/// Every figure there is.
pub const METRICS: [Metric; 16] = [
    metric(RUNS, Kind::Counter, Unit::Count, "job, outcome", "Runs of a job that ended: done, failed or skipped."),
    metric(RUN_SECONDS, Kind::Histogram, Unit::Seconds, "job", "How long a run of a job took."),
    metric(
        LAST_SUCCESS,
        Kind::Gauge,
        Unit::Seconds,
        "job",
        "When a run of the job last ended well, in seconds since 1970. Worry when it stands still.",
    ),
    metric(
        USAGE_RECORDS,
        Kind::Counter,
        Unit::Count,
        "outcome",
        "Usage records read from CloudStack: ingested, duplicate (seen before) or quarantined (not understood).",
    ),
    metric(
        USAGE_AGE,
        Kind::Gauge,
        Unit::Seconds,
        "",
        "Age of the newest usage. Nobody is locked while it is too old, so worry before that.",
    ),
    metric(UNPRICED, Kind::Gauge, Unit::Count, "", "Stored usage records that the price book has no price for."),
    metric(
        CALLS,
        Kind::Counter,
        Unit::Count,
        "command, outcome",
        "Calls to CloudStack: ok, retry, refused, gone, not_allowed, malformed or uncertain.",
    ),
    metric(CALL_SECONDS, Kind::Histogram, Unit::Seconds, "command", "How long a call to CloudStack took."),
    metric(ACCOUNTS, Kind::Gauge, Unit::Count, "state", "Accounts by their state in CloudStack."),
    metric(OVER_LIMIT, Kind::Gauge, Unit::Count, "", "Managed payers with nothing left of their credit."),
    metric(
        DECISIONS,
        Kind::Counter,
        Unit::Count,
        "outcome",
        "Decisions taken: keep, warn, wait, restrict, lock, stop, restore, propose-deletion. Many of wait mean that data is missing.",
    ),
    metric(INTENTS, Kind::Counter, Unit::Count, "outcome", "Actions that came to an end, by how they did."),
    metric(INTENTS_OPEN, Kind::Gauge, Unit::Count, "", "Actions begun whose outcome is not known yet."),
    metric(
        MAILS,
        Kind::Counter,
        Unit::Count,
        "outcome",
        "Tries to send a mail: sent, deferred (tried again) or dead (refused for good, or given up).",
    ),
    metric(
        MAILS_WAITING,
        Kind::Gauge,
        Unit::Count,
        "state",
        "Mails that are open (still to be sent) or dead. Worry when open ones only grow, and about each dead one.",
    ),
    metric(BUILD, Kind::Gauge, Unit::Count, "version", "Always 1; the label tells the version that runs."),
];

/// How a run of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// All was done.
    Done,
    /// It ended with an error.
    Failed,
    /// It was not begun, since another one was at work.
    Skipped,
}

/// How a call to CloudStack ended, by what the caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// Answered as asked.
    Ok,
    /// Worth trying again.
    Retry,
    /// Refused because of what was asked.
    Refused,
    /// What it is about does not exist.
    Gone,
    /// The key may not call this.
    NotAllowed,
    /// The answer was not understood.
    Malformed,
    /// Nobody knows whether it was done.
    Uncertain,
}

/// What became of usage records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UsageOutcome {
    Ingested,
    Duplicate,
    Quarantined,
}

/// What came of trying to send a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailOutcome {
    /// A server took it.
    Sent,
    /// It is tried again.
    Deferred,
    /// It is not tried again.
    Dead,
}

/// Why no recorder could be installed.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// A process has one recorder, and it has one already.
    #[error("metrics were set up before")]
    AlreadySetUp,
    /// The table of buckets is empty.
    #[error("metrics could not be set up")]
    Buckets(#[source] metrics_exporter_prometheus::BuildError),
}

/// The process's figures.
#[derive(Clone)]
pub struct Recorder(PrometheusHandle);

impl Recorder {
    /// All figures as Prometheus reads them.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Tidies what was recorded since the last scrape. To be called every few seconds, or memory grows while nobody scrapes.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// How often [`Recorder::upkeep`] should be called.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts recording for this process. Works once.
pub fn install() -> Result<Recorder, MetricsError> {
    let recorder = builder()?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| MetricsError::AlreadySetUp)?;
    describe();
    Ok(Recorder(handle))
}

fn builder() -> Result<PrometheusBuilder, MetricsError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
        .map_err(MetricsError::Buckets)
}

/// Tells the recorder what each figure means, and which version records.
fn describe() {
    for Metric { name, kind, unit, help, .. } in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, unit, help),
            Kind::Gauge => describe_gauge!(name, unit, help),
            Kind::Histogram => describe_histogram!(name, unit, help),
        }
    }
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// A run of a job ended at `at` after `took`.
pub fn run_ended(job: &'static str, outcome: RunOutcome, took: Duration, at: Timestamp) {
    let word = match outcome {
        RunOutcome::Done => "done",
        RunOutcome::Failed => "failed",
        RunOutcome::Skipped => "skipped",
    };
    counter!(RUNS, "job" => job, "outcome" => word).increment(1);
    if outcome != RunOutcome::Skipped {
        histogram!(RUN_SECONDS, "job" => job).record(took.as_secs_f64());
    }
    if outcome == RunOutcome::Done {
        gauge!(LAST_SUCCESS, "job" => job).set(whole(u64::try_from(at.as_seconds()).unwrap_or(0)));
    }
}

/// New usage records were stored.
pub fn usage_ingested(records: u64) {
    usage(UsageOutcome::Ingested, records);
}

/// Usage records came that were stored before.
pub fn usage_duplicates(records: u64) {
    usage(UsageOutcome::Duplicate, records);
}

/// Usage records came that were not understood.
pub fn usage_quarantined(records: u64) {
    usage(UsageOutcome::Quarantined, records);
}

fn usage(outcome: UsageOutcome, records: u64) {
    let word = match outcome {
        UsageOutcome::Ingested => "ingested",
        UsageOutcome::Duplicate => "duplicate",
        UsageOutcome::Quarantined => "quarantined",
    };
    counter!(USAGE_RECORDS, "outcome" => word).increment(records);
}

/// The newest usage ended so long ago.
pub fn usage_age(age: Duration) {
    gauge!(USAGE_AGE).set(whole(age.as_secs()));
}

/// So many stored records have no price.
pub fn unpriced_records(records: u64) {
    gauge!(UNPRICED).set(whole(records));
}

/// A call to CloudStack ended. `command` is the API's name, never text from outside.
pub fn cloudstack_call(command: &str, outcome: CallOutcome, took: Duration) {
    let word = match outcome {
        CallOutcome::Ok => "ok",
        CallOutcome::Retry => "retry",
        CallOutcome::Refused => "refused",
        CallOutcome::Gone => "gone",
        CallOutcome::NotAllowed => "not_allowed",
        CallOutcome::Malformed => "malformed",
        CallOutcome::Uncertain => "uncertain",
    };
    counter!(CALLS, "command" => command.to_owned(), "outcome" => word).increment(1);
    histogram!(CALL_SECONDS, "command" => command.to_owned()).record(took.as_secs_f64());
}

/// So many accounts are in a state. A state that no account is in any more has to be told as zero.
pub fn accounts(state: &'static str, count: u64) {
    gauge!(ACCOUNTS, "state" => state).set(whole(count));
}

/// So many managed payers have nothing left.
pub fn payers_over_limit(count: u64) {
    gauge!(OVER_LIMIT).set(whole(count));
}

/// Decisions with this outcome were taken.
pub fn decisions(outcome: &'static str, count: u64) {
    counter!(DECISIONS, "outcome" => outcome).increment(count);
}

/// An action came to its end.
pub fn intent_ended(outcome: &'static str) {
    counter!(INTENTS, "outcome" => outcome).increment(1);
}

/// So many actions have no outcome yet.
pub fn intents_open(count: u64) {
    gauge!(INTENTS_OPEN).set(whole(count));
}

/// A try to send a mail came to its end.
pub fn mail_ended(outcome: MailOutcome) {
    let word = match outcome {
        MailOutcome::Sent => "sent",
        MailOutcome::Deferred => "deferred",
        MailOutcome::Dead => "dead",
    };
    counter!(MAILS, "outcome" => word).increment(1);
}

/// So many mails are open or dead.
pub fn mails(state: &'static str, count: u64) {
    gauge!(MAILS_WAITING, "state" => state).set(whole(count));
}

/// As a float; from four thousand million on it stays there, which no figure here reaches.
fn whole(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The list of all figures as Markdown: `docs/metrics.md`.
pub fn reference() -> String {
    let mut out =
        String::from("# Metrics\n\n<!-- Made from the table in src/telemetry/metrics.rs; change it there. -->\n\n");
    out.push_str("Served for Prometheus at `/metrics` on the address in `metrics.listen`.\n\n");
    out.push_str("| Name | Kind | Unit | Labels | What it tells |\n|---|---|---|---|---|\n");
    for Metric { name, kind, unit, labels, help } in METRICS {
        let labels = if labels.is_empty() { "none" } else { labels };
        let _ = writeln!(out, "| `{name}` | {} | {} | {labels} | {help} |", kind.as_str(), unit.as_str());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Everything emitted once, as Prometheus would read it.
    fn everything() -> String {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            let at = Timestamp::from_seconds(1_795_000_000);
            run_ended("sync", RunOutcome::Done, Duration::from_millis(1_500), at);
            run_ended("rate", RunOutcome::Failed, Duration::from_millis(10), at);
            run_ended("rate", RunOutcome::Skipped, Duration::ZERO, at);
            usage_ingested(12);
            usage_ingested(1);
            usage_duplicates(3);
            usage_quarantined(2);
            usage_age(Duration::from_hours(1));
            unpriced_records(4);
            for outcome in [
                CallOutcome::Ok,
                CallOutcome::Retry,
                CallOutcome::Refused,
                CallOutcome::Gone,
                CallOutcome::NotAllowed,
                CallOutcome::Malformed,
                CallOutcome::Uncertain,
            ] {
                cloudstack_call("listAccounts", outcome, Duration::from_millis(80));
            }
            accounts("locked", 2);
            payers_over_limit(1);
            decisions("keep", 40);
            intent_ended("confirmed");
            intents_open(1);
            mail_ended(MailOutcome::Sent);
            mail_ended(MailOutcome::Sent);
            mail_ended(MailOutcome::Deferred);
            mail_ended(MailOutcome::Dead);
            mails("open", 5);
        });
        recorder.handle().render()
    }

    #[test]
    fn what_is_told_is_what_prometheus_reads() {
        let text = everything();
        for line in [
            r#"bursar_runs_total{job="sync",outcome="done"} 1"#,
            r#"bursar_runs_total{job="rate",outcome="skipped"} 1"#,
            r#"bursar_run_seconds_bucket{job="sync",le="2.5"} 1"#,
            r#"bursar_run_seconds_count{job="rate"} 1"#,
            r#"bursar_run_last_success_timestamp_seconds{job="sync"} 1795000000"#,
            r#"bursar_usage_records_total{outcome="ingested"} 13"#,
            r#"bursar_usage_records_total{outcome="duplicate"} 3"#,
            r#"bursar_usage_records_total{outcome="quarantined"} 2"#,
            "bursar_usage_age_seconds 3600",
            "bursar_unpriced_records 4",
            r#"bursar_cloudstack_calls_total{command="listAccounts",outcome="not_allowed"} 1"#,
            r#"bursar_cloudstack_call_seconds_count{command="listAccounts"} 7"#,
            r#"bursar_accounts{state="locked"} 2"#,
            "bursar_payers_over_limit 1",
            r#"bursar_decisions_total{outcome="keep"} 40"#,
            r#"bursar_intents_total{outcome="confirmed"} 1"#,
            "bursar_intents_open 1",
            r#"bursar_mails_total{outcome="sent"} 2"#,
            r#"bursar_mails_total{outcome="deferred"} 1"#,
            r#"bursar_mails_total{outcome="dead"} 1"#,
            r#"bursar_mails{state="open"} 5"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains(r#"last_success_timestamp_seconds{job="rate"}"#), "{text}");
    }

    #[test]
    fn every_figure_in_the_table_is_emitted_with_its_kind_and_no_other() {
        let text = everything();
        let typed: BTreeSet<String> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
        let table: BTreeSet<String> =
            METRICS.iter().map(|metric| format!("{} {}", metric.name, metric.kind.as_str())).collect();
        assert_eq!(typed, table);
    }

    #[test]
    fn a_count_beyond_the_range_stays_at_its_end() {
        assert_eq!(whole(u64::MAX).to_string(), "4294967295");
    }

    #[test]
    fn the_documentation_lists_what_there_is() {
        let written = std::fs::read_to_string("docs/metrics.md").unwrap_or_default();
        assert!(written == reference(), "docs/metrics.md is old; run: cargo run -- config metrics > docs/metrics.md");
    }
}
