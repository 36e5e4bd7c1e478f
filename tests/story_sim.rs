//! A handful of seeded lives. The many are lived by `bursar sim` (docs/simulation.md).

use bursar::sim::{self, Range, Step};

/// The first seed of the handful.
const FIRST: u64 = 7;
/// Enough that each kind of mishap comes about in some of them, and that somebody is stopped and gets everything back. Where a change
/// of the simulation takes that away, `bursar sim --seed SEED` tells the steps of a single life: move [`FIRST`], or take one more.
const SEEDS: u64 = 6;

fn range(first: u64, count: u64, threads: usize) -> Range {
    Range { first, count, threads, stop_after: 1, whole_story: false }
}

#[test]
fn lives_in_which_everything_goes_wrong_break_no_invariant() {
    let report = sim::run(&range(FIRST, SEEDS, 2), &|_| {}).unwrap();
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert_eq!(report.seeds, SEEDS);
    // Lives in which nothing happens would prove nothing.
    let told = report.told;
    assert!(told.deaths_after_write > 0 && told.freezes > 0 && told.compared > 0, "{told:?}");
    // All the way down, and all the way back.
    for step in [Step::Restrict, Step::Lock, Step::Stop, Step::Lift, Step::Enable] {
        let times = told.by_step.get(&step).copied().unwrap_or_default();
        assert!(times > 0, "{step:?} in none of the seeds {FIRST} to {}: {told:?}", FIRST + SEEDS - 1);
    }
    // What a stop stopped is started again by the last part of a restore.
    for command in ["updateResourceLimit", "disableAccount", "enableAccount", "startVirtualMachine"] {
        let times = told.calls.get(command).copied().unwrap_or_default();
        assert!(times > 0, "{command} in none of the seeds {FIRST} to {}: {told:?}", FIRST + SEEDS - 1);
    }
    assert!(told.faults.values().sum::<u64>() > 0, "{told:?}");
}

#[test]
fn a_seed_is_lived_again_word_for_word() {
    let story = || {
        let range = Range { whole_story: true, ..range(3, 1, 1) };
        sim::run(&range, &|_| {}).unwrap().failures.remove(0).story
    };
    assert_eq!(story(), story());
}
