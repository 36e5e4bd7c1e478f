//! A handful of seeded lives. The many are lived by `bursar sim` (docs/simulation.md).

use bursar::sim::{self, Range, Step};

/// Enough that each kind of mishap comes about in some of them.
const SEEDS: u64 = 6;

fn range(first: u64, count: u64, threads: usize) -> Range {
    Range { first, count, threads, stop_after: 1, whole_story: false }
}

#[test]
fn lives_in_which_everything_goes_wrong_break_no_invariant() {
    let report = sim::run(&range(1, SEEDS, 2), &|_| {}).unwrap();
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert_eq!(report.seeds, SEEDS);
    // Lives in which nothing happens would prove nothing.
    let told = report.told;
    assert!(told.deaths_after_write > 0 && told.freezes > 0 && told.compared > 0, "{told:?}");
    // Stops and starts of machines are rarer: `bursar sim` shows them.
    for step in [Step::Restrict, Step::Lock, Step::Lift, Step::Enable] {
        assert!(told.by_step.contains_key(&step), "{step:?}: {told:?}");
    }
    for command in ["updateResourceLimit", "disableAccount", "enableAccount"] {
        assert!(told.calls.contains_key(command), "{command}: {told:?}");
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
