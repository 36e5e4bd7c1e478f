//! Every invariant has to be able to fail: each is fed what a faulty bursar would have done.

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn at(hours: u64) -> Timestamp {
    Timestamp::from_seconds(1_793_491_200).plus(Duration::from_hours(hours))
}

fn id(number: u128) -> CloudId {
    CloudId::new(uuid::Uuid::from_u128(number))
}

fn ann() -> CloudId {
    id(1)
}

fn watch() -> Watch {
    let mut watch = Watch::default();
    watch.add(ann(), "ann");
    watch.add(id(2), "bob");
    watch
}

/// As everything should be for a lock at hour 100.
fn fair() -> Truth {
    Truth {
        available: -1_000_000,
        doubt: 0,
        managed: true,
        untouchable: false,
        may_act: true,
        guard: None,
        warned: Some(at(40)),
        warning_before: 2 * DAY,
    }
}

/// One account, of three machines at most.
const ONE: Option<Fuse> = Some(Fuse { accounts: 1, machines: 3 });

fn step(step: Step) -> Taken {
    Taken {
        step,
        sent: at(100),
        at: at(100),
        target: ann(),
        before: if step.is_down() { State::Enabled } else { State::Locked },
        decision: Some(7),
        running: BTreeSet::new(),
        machines: 0,
        limits: BTreeMap::new(),
        lowered: BTreeSet::new(),
    }
}

fn found() -> Found {
    Found {
        at: at(200),
        state: State::Enabled,
        available: 5_000_000,
        doubt: 0,
        opens_at: 1_000_000,
        may_act: true,
        running: BTreeSet::new(),
        existing: BTreeSet::new(),
        limits: BTreeMap::new(),
    }
}

fn names(violations: &[Violation]) -> Vec<&'static str> {
    violations.iter().map(|violation| violation.invariant).collect()
}

#[test]
fn a_fair_lock_and_its_restore_break_nothing() {
    let mut watch = watch();
    assert_eq!(watch.taken(ann(), &step(Step::Lock), &fair(), ONE), []);
    assert!(watch.is_busy(ann()));
    assert_eq!(watch.quiet(ann(), &Found { state: State::Locked, available: 0, ..found() }), []);
    assert_eq!(watch.taken(ann(), &step(Step::Enable), &fair(), ONE), []);
    assert_eq!(watch.quiet(ann(), &found()), []);
    assert!(!watch.is_busy(ann()));
}

#[test]
fn a_lock_of_somebody_with_credit_is_seen() {
    let truth = Truth { available: 60_000, ..fair() };
    assert_eq!(names(&watch().taken(ann(), &step(Step::Lock), &truth, ONE)), ["below-threshold"]);
    // What bursar may rightly believe is no fault.
    let truth = Truth { available: 60_000, doubt: 10_000, ..fair() };
    assert_eq!(watch().taken(ann(), &step(Step::Lock), &truth, ONE), []);
}

#[test]
fn a_lock_without_a_warning_long_enough_before_is_seen() {
    for warned in [None, Some(at(53))] {
        for what in [Step::Lock, Step::Stop] {
            let truth = Truth { warned, ..fair() };
            assert_eq!(names(&watch().taken(ann(), &step(what), &truth, ONE)), ["warned"]);
        }
    }
    let truth = Truth { warned: None, ..fair() };
    assert_eq!(watch().taken(ann(), &step(Step::Restrict), &truth, ONE), [], "a restriction needs none");
}

#[test]
fn acts_on_the_protected_the_unmanaged_and_without_arms_are_seen() {
    let truth = Truth { untouchable: true, ..fair() };
    assert_eq!(names(&watch().taken(ann(), &step(Step::Lock), &truth, ONE)), ["untouched"]);
    let truth = Truth { managed: false, ..fair() };
    assert_eq!(names(&watch().taken(ann(), &step(Step::Stop), &truth, ONE)), ["untouched"]);
    let truth = Truth { may_act: false, ..fair() };
    assert_eq!(names(&watch().taken(ann(), &step(Step::Lock), &truth, ONE)), ["armed"]);
    let truth = Truth { guard: Some("the quota plugin enforces"), ..fair() };
    assert_eq!(names(&watch().taken(ann(), &step(Step::Lock), &truth, ONE)), ["armed"]);
}

#[test]
fn undoing_what_was_done_by_hand_is_seen() {
    for what in [ByHand::Suspends, ByHand::SuspendsSilently] {
        let mut watch = watch();
        watch.by_hand(ann(), what, State::Enabled, at(50));
        assert_eq!(names(&watch.taken(ann(), &step(Step::Enable), &fair(), ONE)), ["by-hand"]);
    }
    let mut watch = watch();
    watch.taken(ann(), &step(Step::Lock), &fair(), ONE);
    watch.by_hand(ann(), ByHand::Suspends, State::Locked, at(101));
    let later = Taken { sent: at(110), ..step(Step::Enable) };
    assert_eq!(names(&watch.taken(ann(), &later, &fair(), ONE)), ["by-hand"]);
    // A second lock without any trace can be seen by nobody.
    let mut watch = self::watch();
    watch.taken(ann(), &step(Step::Lock), &fair(), ONE);
    watch.by_hand(ann(), ByHand::SuspendsSilently, State::Locked, at(101));
    assert_eq!(watch.taken(ann(), &later, &fair(), ONE), []);
}

#[test]
fn enabling_what_bursar_did_not_suspend_is_seen() {
    assert_eq!(names(&watch().taken(ann(), &step(Step::Enable), &fair(), ONE)), ["only-ours"]);
    let mut watch = watch();
    watch.taken(ann(), &step(Step::Lock), &fair(), ONE);
    watch.by_hand(ann(), ByHand::Enables, State::Locked, at(101));
    assert_eq!(names(&watch.taken(ann(), &step(Step::Enable), &fair(), ONE)), ["only-ours"]);
}

#[test]
fn a_step_further_down_of_what_somebody_else_suspended_is_seen() {
    let taken = Taken { before: State::Locked, ..step(Step::Stop) };
    assert_eq!(names(&watch().taken(ann(), &taken, &fair(), ONE)), ["by-hand"]);
}

#[test]
fn two_effective_acts_on_one_decision_are_seen() {
    let mut watch = watch();
    watch.taken(ann(), &step(Step::Lock), &fair(), ONE);
    watch.by_hand(ann(), ByHand::Enables, State::Locked, at(101));
    assert_eq!(names(&watch.taken(ann(), &step(Step::Lock), &fair(), ONE)), ["once"]);
}

#[test]
fn more_accounts_in_a_day_than_the_fuse_allows_are_seen() {
    let mut watch = watch();
    watch.taken(ann(), &step(Step::Lock), &fair(), ONE);
    let next_day = Taken { at: at(124), sent: at(124), ..step(Step::Lock) };
    let same_day = Taken { at: at(120), sent: at(120), ..step(Step::Lock) };
    assert_eq!(names(&watch.taken(id(2), &same_day, &fair(), ONE)), ["fuse"]);
    let mut watch = self::watch();
    watch.taken(ann(), &step(Step::Lock), &fair(), ONE);
    assert_eq!(watch.taken(id(2), &next_day, &fair(), ONE), []);
}

#[test]
fn an_account_left_suspended_that_may_be_free_is_seen() {
    let mut watch = watch();
    watch.taken(ann(), &step(Step::Lock), &fair(), ONE);
    let left = Found { state: State::Locked, ..found() };
    assert_eq!(names(&watch.quiet(ann(), &left)), ["set-free"]);
    for excused in [
        Found { available: 1_000_000, ..left.clone() },
        Found { doubt: 4_500_000, ..left.clone() },
        Found { may_act: false, ..left.clone() },
    ] {
        assert_eq!(watch.quiet(ann(), &excused), []);
    }
    watch.by_hand(ann(), ByHand::Suspends, State::Locked, at(101));
    assert_eq!(watch.quiet(ann(), &left), []);
}

#[test]
fn machines_that_do_not_come_back_or_come_too_many_are_seen() {
    let ran: BTreeSet<CloudId> = [id(10), id(11), id(12)].into();
    // The third was destroyed meanwhile.
    let existing: BTreeSet<CloudId> = [id(10), id(11), id(13)].into();
    for (running, complaint) in [
        ([id(10), id(11)].into(), vec![]),
        ([id(10)].into(), vec!["machines-back"]),
        ([id(10), id(11), id(13)].into(), vec!["machines-back"]),
    ] {
        let mut watch = watch();
        watch.taken(ann(), &Taken { running: ran.clone(), ..step(Step::Stop) }, &fair(), ONE);
        watch.taken(ann(), &Taken { before: State::Disabled, ..step(Step::Enable) }, &fair(), ONE);
        let after = Found { running, existing: existing.clone(), ..found() };
        let mut seen = Vec::new();
        for _ in 0..CYCLES_TO_RESTORE {
            seen = watch.quiet(ann(), &after);
        }
        assert_eq!(names(&seen), complaint);
    }
}

#[test]
fn limits_that_are_not_put_back_are_seen() {
    let before: BTreeMap<CloudId, BTreeMap<u8, i64>> = [(ann(), [(0, 20)].into())].into();
    for (limit, complaint) in [(20, vec![]), (3, vec!["limits-back"])] {
        let mut watch = watch();
        watch.taken(ann(), &Taken { limits: before.clone(), ..step(Step::Restrict) }, &fair(), ONE);
        watch.taken(ann(), &Taken { before: State::Enabled, ..step(Step::Lift) }, &fair(), ONE);
        let after = Found { limits: [(ann(), [(0, limit)].into())].into(), ..found() };
        let mut seen = Vec::new();
        for _ in 0..CYCLES_TO_RESTORE {
            seen = watch.quiet(ann(), &after);
        }
        assert_eq!(names(&seen), complaint);
    }
}

#[test]
fn a_restore_that_begins_by_a_late_call_behind_a_lock_by_hand_need_not_end() {
    let mut watch = watch();
    let limits = |max| [(ann(), [(0, max)].into_iter().collect())].into_iter().collect();
    let restrict = Taken { limits: limits(20), lowered: [0].into_iter().collect(), ..step(Step::Restrict) };
    assert_eq!(watch.taken(ann(), &restrict, &fair(), ONE), []);
    watch.by_hand(ann(), ByHand::Suspends, State::Enabled, at(100));
    let late = Taken { sent: at(99), at: at(101), limits: limits(3), ..step(Step::Lift) };
    assert_eq!(watch.taken(ann(), &late, &fair(), ONE), []);
    for _ in 0..CYCLES_TO_RESTORE {
        assert_eq!(watch.quiet(ann(), &Found { limits: limits(3), state: State::Locked, ..found() }), []);
    }
}

#[test]
fn a_limit_raised_late_behind_another_restriction_frees_nobody() {
    let before: BTreeMap<CloudId, BTreeMap<u8, i64>> = [(ann(), [(0, 20)].into())].into();
    let mut watch = watch();
    let restrict = |second| Taken { sent: at(second), at: at(second), limits: before.clone(), ..step(Step::Restrict) };
    let lift = |sent, second| Taken { sent: at(sent), at: at(second), before: State::Enabled, ..step(Step::Lift) };
    watch.taken(ann(), &restrict(1), &fair(), ONE);
    watch.taken(ann(), &lift(50, 60), &fair(), ONE);
    watch.taken(ann(), &restrict(70), &fair(), ONE);
    // Sent before the second restriction, and held up.
    watch.taken(ann(), &lift(55, 80), &fair(), ONE);
    let still = Found { limits: [(ann(), [(0, 3)].into())].into(), available: -1, ..found() };
    for _ in 0..CYCLES_TO_RESTORE {
        assert_eq!(watch.quiet(ann(), &still), []);
    }
    // One that is sent after it does.
    watch.taken(ann(), &lift(90, 91), &fair(), ONE);
    let mut seen = Vec::new();
    for _ in 0..CYCLES_TO_RESTORE {
        seen = watch.quiet(ann(), &still);
    }
    assert_eq!(names(&seen), ["limits-back"]);
}

#[test]
fn more_machines_in_a_day_than_the_fuse_allows_are_seen() {
    let of = |machines| Taken { machines, ..step(Step::Lock) };
    assert_eq!(watch().taken(ann(), &of(3), &fair(), ONE), []);
    assert_eq!(names(&watch().taken(ann(), &of(4), &fair(), ONE)), ["fuse"]);
    // What was approved has no fuse, and takes no room of it.
    let mut watch = watch();
    assert_eq!(watch.taken(ann(), &of(4), &fair(), None), []);
    assert_eq!(watch.taken(id(2), &of(1), &fair(), ONE), []);
    let restriction = Taken { machines: 9, ..step(Step::Restrict) };
    assert_eq!(self::watch().taken(ann(), &restriction, &fair(), ONE), [], "a restriction stops no machine");
}

#[test]
fn limits_that_are_not_to_be_lowered_are_seen() {
    let lowered = |kind| Taken { lowered: [kind].into(), ..step(Step::Restrict) };
    assert_eq!(watch().taken(ann(), &lowered(0), &fair(), ONE), []);
    assert_eq!(names(&watch().taken(ann(), &lowered(12), &fair(), ONE)), ["limits"]);
}

fn moved(started: bool) -> Moved {
    Moved { machine: id(10), started, sent: at(110), owner: State::Disabled }
}

#[test]
fn a_machine_that_bursar_had_no_business_to_start_or_stop_is_seen() {
    assert_eq!(names(&watch().moved(ann(), &moved(true), &fair())), ["only-ours"]);
    assert_eq!(names(&watch().moved(ann(), &moved(false), &fair())), ["only-ours"]);
    let mut watch = watch();
    watch.taken(ann(), &Taken { running: [id(10)].into(), ..step(Step::Stop) }, &fair(), ONE);
    assert_eq!(watch.moved(ann(), &moved(true), &fair()), []);
    assert_eq!(watch.moved(ann(), &moved(false), &fair()), []);
    let other = Moved { machine: id(11), ..moved(true) };
    assert_eq!(names(&watch.moved(ann(), &other, &fair())), ["only-ours"]);
    let enabled = Moved { owner: State::Enabled, ..moved(false) };
    assert_eq!(names(&watch.moved(ann(), &enabled, &fair())), ["only-ours"]);
    let paid = Truth { available: 60_000, ..fair() };
    assert_eq!(names(&watch.moved(ann(), &moved(false), &paid)), ["below-threshold"]);
    watch.by_hand(ann(), ByHand::Suspends, State::Disabled, at(105));
    assert_eq!(names(&watch.moved(ann(), &moved(true), &fair())), ["by-hand"]);
}

#[test]
fn a_removal_is_seen() {
    assert_eq!(names(&watch().removed(ann(), "a machine")), ["untouched"]);
}

#[test]
fn a_warning_counts_no_longer_once_there_was_enough() {
    let mut watch = watch();
    assert_eq!(watch.freed_at(ann()), None);
    watch.quiet(ann(), &Found { available: 500_000, ..found() });
    assert_eq!(watch.freed_at(ann()), None);
    watch.quiet(ann(), &found());
    assert_eq!(watch.freed_at(ann()), Some(at(200)));
}
