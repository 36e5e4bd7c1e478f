//! `bursar sim`: seeded lives, and what was wrong with them.

use std::{
    fmt::Write as _,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use super::{Context, args::SimArgs, output};
use crate::{
    progress::Progress as _,
    sim::{self, Range, Report},
};

/// Seeds where none is named.
const SEEDS: u64 = 100;
/// Lives between two signs of progress.
const SHOWN_EVERY: u64 = 50;

/// A report with how long it took.
#[derive(serde::Serialize)]
struct Shown {
    #[serde(flatten)]
    report: Report,
    seconds: u64,
}

pub(super) async fn sim(context: &Context, args: SimArgs) -> anyhow::Result<ExitCode> {
    let alone = args.seed.is_some() && args.seeds.is_none();
    let count = args.seeds.unwrap_or(if alone { 1 } else { SEEDS });
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let range =
        Range { first: args.seed.unwrap_or(1), count, threads, stop_after: args.stop_after, whole_story: alone };
    let begun = Instant::now();
    let report = tokio::task::spawn_blocking(move || {
        let shown = output::Shown::new();
        let lived = AtomicU64::new(0);
        sim::run(&range, &|_| {
            let done = lived.fetch_add(1, Ordering::SeqCst) + 1;
            if done.is_multiple_of(SHOWN_EVERY) {
                shown.step("lives", done, Some(range.count));
            }
        })
    })
    .await??;
    let broken = report.failures.iter().any(|failure| !failure.violations.is_empty());
    let shown = Shown { report, seconds: begun.elapsed().as_secs() };
    context.show(&shown, words)?;
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn words(shown: &Shown) -> String {
    let Shown { report, seconds } = shown;
    let mut text = String::new();
    for failure in &report.failures {
        for line in &failure.story {
            let _ = writeln!(text, "{line}");
        }
        for violation in &failure.violations {
            let _ = writeln!(text, "seed {}, tick {}: {violation}", failure.seed, failure.tick);
        }
    }
    let told = &report.told;
    let failed = report.failures.iter().filter(|failure| !failure.violations.is_empty()).count();
    let steps: Vec<String> = told.by_step.iter().map(|(step, count)| format!("{step:?} {count}")).collect();
    let _ = writeln!(text, "steps of accounts: {}", steps.join(", "));
    let calls = told.calls.iter().map(|(command, count)| {
        let faults = told.faults.get(command).copied().unwrap_or_default();
        format!("{command} {count} ({faults})")
    });
    let _ = writeln!(text, "writes (with a fault): {}", calls.collect::<Vec<_>>().join(", "));
    let _ = write!(
        text,
        "{} lives in {seconds} s: {} jobs, {} deaths ({} after a write), {} freezes, {} steps of accounts, {} payers compared to the \
         cent; {failed} failed",
        report.seeds, told.jobs, told.deaths, told.deaths_after_write, told.freezes, told.steps, told.compared
    );
    text
}
