//! What holds for every account at every instant.

use chrono::Weekday;
use proptest::prelude::*;

use super::*;
use crate::policy::{Outcome, amounts::to_pay_before, opens_at, to_avoid};

const HOUR: i64 = 3_600;

fn instant() -> impl Strategy<Value = Timestamp> {
    (0_i64..40 * 24 * HOUR).prop_map(|seconds| Timestamp::from_seconds(1_767_571_200 + seconds))
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        any::<bool>(),
        proptest::option::of(80_u32..130),
        proptest::option::of(-40_i64..40),
        proptest::option::of(1_i64..9),
        0_u64..12,
    )
        .prop_map(|(enabled, percent, available, days_left, after)| Rule {
            enabled,
            percent,
            available: available.map(|units| Money::from_micros(units * 1_000_000)),
            days_left,
            delay: days(after),
        })
}

fn ladder() -> impl Strategy<Value = Policy> {
    let quiet = (any::<bool>(), 0_u16..1_440, 1_u16..1_380, any::<bool>());
    (rule(), rule(), rule(), 1_u64..100, 0_u64..60, quiet, any::<bool>(), 0_i64..30).prop_map(
        |(restrict, lock, stop, warning, respite, (hours, from, length, weekend), suspend, minimum)| Policy {
            restrict,
            lock,
            stop,
            delete_after: Some(days(9)),
            warning_before: Duration::from_hours(warning),
            respite: Duration::from_hours(respite),
            quiet: Quiet {
                hours: hours.then_some((from, (from + length) % 1_440)),
                days: if weekend { vec![Weekday::Sat, Weekday::Sun] } else { Vec::new() },
            },
            on_drift: if suspend { OnDrift::Suspend } else { OnDrift::Leave },
            restore_minimum: Money::from_micros(minimum * 1_000_000),
            ..policy()
        },
    )
}

fn warning(rung: Rung) -> impl Strategy<Value = Option<(Rung, Option<Timestamp>, Timestamp, bool)>> {
    proptest::option::of(
        (proptest::option::of(instant()), instant(), any::<bool>())
            .prop_map(move |(arrived, named, no_address)| (rung, arrived, named, no_address)),
    )
}

fn world() -> impl Strategy<Value = World> {
    let hold = proptest::option::of((prop_oneof![Just(Rung::Restrict), Just(Rung::Lock), Just(Rung::Stop)], instant()));
    let reached = (proptest::option::of(instant()), proptest::option::of(instant()), proptest::option::of(instant()));
    let warned = (warning(Rung::Restrict), warning(Rung::Lock), warning(Rung::Stop));
    let flags = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.1), proptest::bool::weighted(0.9));
    let state = prop_oneof![Just("enabled"), Just("locked"), Just("disabled")];
    let rest = (
        proptest::option::of(instant()),
        proptest::option::weighted(0.2, (instant(), any::<bool>())),
        0_u8..16,
        proptest::bool::weighted(0.2),
    );
    (ladder(), instant(), (-20_i64..140, 0_i64..20), hold, reached, warned, flags, state, rest).prop_map(
        |(policy, now, (used, per_day), hold, reached, warned, flags, state, (lifted, exempt, armed, blocked))| {
            let (managed, _, other_hold, in_scope) = flags;
            let mut world = World {
                policy,
                now,
                used: Money::from_micros(used * 1_000_000),
                per_day: Money::from_micros(per_day * 1_000_000),
                credit_limit: if managed || used % 3 == 0 { CreditLimit::Applies } else { CreditLimit::Lacking },
                other_hold,
                in_scope,
                state,
                hold: hold.map(|(rung, since)| BillingHold { rung, since }),
                reached: Reached { restrict: reached.0, lock: reached.1, stop: reached.2 },
                lifted,
                exemption: exempt.map(|(until, no_notices)| Exemption {
                    until: until.max(now.plus(Duration::from_secs(1))),
                    no_notices,
                    author: "alice".to_owned(),
                    reason: "a test".to_owned(),
                }),
                armed: Rung::ARMABLE
                    .into_iter()
                    .enumerate()
                    .filter(|(at, _)| armed & (1 << at) != 0)
                    .map(|(_, rung)| rung)
                    .collect(),
                blocks: if blocked { vec![Block::RestoredBackup] } else { Vec::new() },
                ..World::used("0")
            };
            for (rung, arrived, named, no_address) in [warned.0, warned.1, warned.2].into_iter().flatten() {
                if let Some(since) = world.reached.get(rung) {
                    let event = warning_event(rung, since.max(lifted.unwrap_or_default()));
                    world.warned.set(rung, Warning { event, given: since, arrived, named, no_address });
                }
            }
            world
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_decision_takes_one_step_at_most_and_only_with_everything_in_order(world in world()) {
        let decision = world.decide();
        let present = world.hold.map_or(Rung::None, |hold| hold.rung);
        if let Some(rung) = decision.outcome.step_down() {
            prop_assert_eq!(decision.rung, rung);
            let again = decision.reason == crate::policy::Reason::SuspendedAgain;
            prop_assert!(rung > present || (again && rung == present), "{:?} from {:?}", decision, present);
            let is_rehearsed = world.armed.has(Rung::Lock) && !world.armed.has(Rung::Stop);
            prop_assert!(rung != Rung::Stop || present >= Rung::Lock || is_rehearsed, "stop passes lock");
            prop_assert!(world.blocks.is_empty() && world.exemption.is_none(), "blocked or exempt");
            prop_assert!(!world.policy.quiet.is_quiet(world.now, world.zone), "quiet hours");
            prop_assert!(world.lifted.is_none_or(|lifted| lifted.plus(world.policy.respite) <= world.now), "respite");
            prop_assert!(world.credit_limit == CreditLimit::Applies && world.in_scope && !world.other_hold, "not to be touched");
            if rung >= Rung::Lock {
                let arrived = [Rung::Lock, Rung::Stop].into_iter().any(|step| {
                    world.warned.get(step).is_some_and(|warning| {
                        let counts = warning.named.plus(crate::policy::WARNING_COUNTS_FOR) >= world.now;
                        warning.named <= world.now
                            && (counts || !world.armed.has(step))
                            && warning.arrived.is_some_and(|at| at.plus(world.policy.warning_before) <= world.now)
                    })
                });
                prop_assert!(arrived, "no warning arrived");
            }
        }
        for notice in &decision.notices {
            prop_assert!(notice.acts_at.is_none_or(|at| !world.policy.quiet.is_quiet(at, world.zone)));
            prop_assert!(world.exemption.as_ref().is_none_or(|exemption| !exemption.no_notices));
        }
    }

    #[test]
    fn the_same_facts_decide_the_same(world in world()) {
        prop_assert_eq!(world.decide(), world.clone().decide());
    }

    #[test]
    fn whoever_may_be_free_stays_so_with_more_available(world in world(), more in 0_i64..50) {
        let richer = World { used: world.used.minus(Money::from_micros(more * 1_000_000)).unwrap(), ..world.clone() };
        if world.decide().outcome == Outcome::Restore {
            prop_assert_eq!(richer.decide().outcome, Outcome::Restore);
        }
        if world.decide().outcome.step_down().is_none() && world.hold.is_none() {
            // More money never brings a step.
            prop_assert!(richer.decide().outcome.step_down().is_none());
        }
    }

    #[test]
    fn a_restore_waits_for_nothing(world in world()) {
        let mut free = world.clone();
        free.blocks.clear();
        free.exemption = None;
        free.lifted = None;
        free.policy.quiet = Quiet::default();
        if free.decide().outcome == Outcome::Restore {
            prop_assert_eq!(world.decide().outcome, Outcome::Restore);
        }
    }

    #[test]
    fn what_was_just_restored_is_not_taken_again(world in world()) {
        if world.decide().outcome == Outcome::Restore {
            let reached = world.decide().reached;
            let after = World { hold: None, state: "enabled", reached, lifted: Some(world.now), ..world };
            let decision = after.decide();
            prop_assert!(decision.outcome.step_down().is_none() && decision.next.is_none(), "{:?}", decision);
        }
    }

    #[test]
    fn a_second_later_nothing_has_turned_round(world in world()) {
        let now = world.decide();
        let later = World { now: world.now.plus(Duration::from_secs(1)), reached: now.reached, ..world.clone() }.decide();
        // What was due stays due, unless quiet hours begin.
        if now.outcome.step_down().is_some() {
            prop_assert!(later.outcome == now.outcome || later.reason == crate::policy::Reason::QuietHours);
        }
        prop_assert_eq!(now.outcome == Outcome::Restore, later.outcome == Outcome::Restore);
        prop_assert_eq!(now.reached, later.reached, "a count begins once");
    }

    #[test]
    fn paying_what_is_named_ends_the_step(world in world()) {
        let pay = to_avoid(&world.policy, &world.facts());
        prop_assert!(!pay.is_negative());
        let paid = World { used: world.used.minus(pay).unwrap(), ..world.clone() };
        let decision = paid.decide();
        if world.hold.is_some() && pay.is_positive() {
            prop_assert!(paid.facts().figures.available >= opens_at(&paid.policy, &paid.facts()));
        }
        prop_assert!(decision.outcome.step_down().is_none());
    }

    #[test]
    fn paying_what_a_warning_names_just_before_its_date_ends_the_step(world in world()) {
        let first = world.decide();
        if let Some(next) = first.next.filter(|next| next.at > world.now) {
            let span = i128::try_from(next.at.since(world.now).as_millis()).unwrap();
            let burnt = (i128::from(world.per_day.as_micros()) * span).div_euclid(86_400_000);
            let pay = to_pay_before(&world.policy, &world.facts(), next.at);
            let used = world.used.plus(Money::from_micros(i64::try_from(burnt).unwrap())).unwrap().minus(pay).unwrap();
            let paid = World { now: next.at, used, reached: first.reached, ..world };
            prop_assert!(paid.facts().figures.available >= opens_at(&paid.policy, &paid.facts()));
            prop_assert!(paid.decide().outcome.step_down().is_none());
        }
    }
}
