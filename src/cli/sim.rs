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
    let ended = exit_code(&report);
    let shown = Shown { report, seconds: begun.elapsed().as_secs() };
    context.show(&shown, words)?;
    Ok(ended)
}

/// A simulation fails where an invariant was broken. A whole story that was asked for is no failure by itself.
fn exit_code(report: &Report) -> ExitCode {
    let broken = report.failures.iter().any(|failure| !failure.violations.is_empty());
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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
        if !failure.violations.is_empty() {
            let _ = writeln!(text, "`bursar sim --seed {}` plays it again", failure.seed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Failure, Violation};

    /// Three lives, one of which is told, with these invariants broken.
    fn lived(violations: Vec<Violation>) -> Shown {
        let story = vec!["tick 11: bob pays 50.00".to_owned(), "tick 12: enforce".to_owned()];
        let failures = vec![Failure { seed: 4_711, tick: 12, violations, story }];
        Shown { report: Report { seeds: 3, failures, ..Report::default() }, seconds: 2 }
    }

    fn left_locked() -> Violation {
        Violation { invariant: "set-free", account: "bob".to_owned(), detail: "locked though he has paid".to_owned() }
    }

    /// The exit code as a text, which can be compared.
    fn ends(report: &Report) -> String {
        format!("{:?}", exit_code(report))
    }

    #[test]
    fn a_failed_life_is_told_with_its_story_what_was_broken_and_the_command_that_plays_it_again() {
        let text = words(&lived(vec![left_locked()]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["tick 11: bob pays 50.00", "tick 12: enforce"]);
        assert!(lines[2].starts_with("seed 4711, tick 12: set-free (bob): locked though he has paid"), "{text}");
        assert_eq!(lines[3], "`bursar sim --seed 4711` plays it again");
        assert!(text.contains("3 lives in 2 s") && text.ends_with("1 failed"), "{text}");
    }

    #[test]
    fn a_life_that_was_only_told_is_no_failed_one() {
        let text = words(&lived(Vec::new()));
        assert!(text.contains("tick 12: enforce") && text.ends_with("0 failed"), "{text}");
        assert!(!text.contains("seed 4711"), "{text}");
    }

    #[test]
    fn the_exit_status_is_a_failure_where_an_invariant_was_broken_and_only_there() {
        let success = format!("{:?}", ExitCode::SUCCESS);
        assert_ne!(success, format!("{:?}", ExitCode::FAILURE));
        assert_eq!(ends(&lived(vec![left_locked()]).report), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(ends(&lived(Vec::new()).report), success);
        assert_eq!(ends(&Report { seeds: 3, ..Report::default() }), success);
    }
}
