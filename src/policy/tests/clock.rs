//! One table: for each way of standing the instants, and what is decided at them, to the second before and at each boundary.

use std::collections::BTreeMap;

use chrono::Weekday;

use super::*;
use crate::policy::{Ladders, Outcome, PolicyPatch, Reason};

/// A name, a way of standing, and what is decided at each instant.
type Row = (&'static str, World, Vec<(&'static str, Outcome, Reason)>);

fn with(mut world: World, change: impl FnOnce(&mut World)) -> World {
    change(&mut world);
    world
}

fn locked_with_default(since: &str) -> World {
    World::over_since(since).held(Rung::Lock, "3 12:00")
}

/// Restricted since day 0 12:00, warned then of a lock on day 3 12:00.
fn warned_of_lock() -> World {
    World::over_since("0 12:00").held(Rung::Restrict, "0 12:00").warned(Rung::Lock, Some("0 12:10"), "3 12:00")
}

/// Locked on day 3, of which it was warned.
fn locked_as_warned() -> World {
    locked_with_default("0 12:00").warned(Rung::Lock, Some("0 12:10"), "3 12:00")
}

/// Enabled by somebody while bursar's suspension stands, and to be suspended again.
fn enabled_again(mut world: World) -> World {
    (world.state, world.policy.on_drift) = ("enabled", OnDrift::Suspend);
    world
}

fn warned_of_stop() -> World {
    locked_with_default("0 12:00").warned(Rung::Stop, Some("3 12:10"), "10 12:00")
}

/// Keys of the policy with their values.
type Values<'a> = &'a [(&'a str, &'a str)];

fn patch(values: Values<'_>) -> PolicyPatch {
    let mut patch = PolicyPatch::default();
    for (key, value) in values {
        patch.set(key, value).unwrap();
    }
    patch
}

/// The policy of a payer whose class has these values over the default, and who has these of its own over the class.
fn of_payer(mut world: World, class: Values<'_>, own: Values<'_>) -> World {
    let ladders = Ladders::new(world.policy.clone(), &BTreeMap::from([("gold".to_owned(), patch(class))]));
    world.policy = ladders.of(Some("gold"), Some(&patch(own))).into_owned();
    world
}

/// Locked where 20 less than nothing is available, and by nothing else; over since day 0 12:00.
fn locks_by_amount(used: &str) -> World {
    with(World::over_since("0 12:00"), |w| {
        w.used = eur(used);
        (w.policy.restrict.enabled, w.policy.stop.enabled) = (false, false);
        (w.policy.lock.percent, w.policy.lock.available) = (None, Some(eur("-20")));
    })
}

/// Warned of a stop on day 10 12:00, which comes where 20 less than nothing is available.
fn stops_by_amount(used: &str) -> World {
    with(warned_of_stop(), |w| {
        w.used = eur(used);
        (w.policy.stop.percent, w.policy.stop.available) = (None, Some(eur("-20")));
    })
}

/// Locked where two days are left at 5 a day, and by nothing else; that was reached on day 0 12:00.
fn locks_by_days_left(used: &str) -> World {
    with(World::over_since("0 12:00"), |w| {
        w.used = eur(used);
        (w.policy.restrict.enabled, w.policy.stop.enabled) = (false, false);
        (w.policy.lock.percent, w.policy.lock.days_left) = (None, Some(2));
    })
}

/// Warned of a stop on day 10 12:00, which comes where two days are left at 5 a day. It is not opened with 20 or less.
fn stops_by_days_left(used: &str) -> World {
    with(warned_of_stop(), |w| {
        w.used = eur(used);
        w.policy.lock.available = Some(eur("20"));
        (w.policy.stop.percent, w.policy.stop.days_left) = (None, Some(2));
    })
}

#[expect(clippy::too_many_lines, reason = "one table")]
fn table() -> Vec<Row> {
    use Outcome::{Keep, Lock, ProposeDeletion, Restore, Restrict, Stop, Wait, Warn};
    use Reason::{
        EnabledByOthers, EnoughAgain, Exempt, HeldBack, LockDateReached, LockIsDue, NoAddress, NotManaged, OtherHold,
        OutOfScope, Protected, QuietHours, Respite, RestrictDateReached, RestrictIsDue, StepsAreOff, StillOver,
        StopDateReached, StopIsDue, StoppedForLong, SuspendedAgain, SuspendedByOthers, Threshold, WarningNotArrived,
        WithinLimit,
    };
    vec![
        // Notify.
        ("within the limit", World::used("10"), vec![("0 12:00", Keep, WithinLimit)]),
        ("half is used", World::used("50"), vec![("0 12:00", Warn, Threshold)]),
        ("just below half", World::used("49.999999"), vec![("0 12:00", Keep, WithinLimit)]),
        // Restrict.
        ("the limit is reached", World::used("100"), vec![("0 12:00", Restrict, RestrictDateReached)]),
        (
            "a millionth below",
            with(World::used("99.999999"), |w| w.noticed.extend(["used-90", "days-left-2"].map(str::to_owned))),
            vec![("0 12:00", Keep, WithinLimit)],
        ),
        (
            "restrict with a delay is warned of with its date",
            with(World::over_since("0 12:00"), |w| w.policy.restrict.delay = days(1)),
            vec![("0 12:00", Warn, RestrictIsDue)],
        ),
        (
            "restrict with a delay waits for its date and for no answer",
            with(World::over_since("0 12:00"), |w| w.policy.restrict.delay = days(1)).warned(
                Rung::Restrict,
                None,
                "1 12:00",
            ),
            vec![("1 11:59:59", Keep, RestrictIsDue), ("1 12:00:00", Restrict, RestrictDateReached)],
        ),
        // Lock.
        (
            "the lock is warned of once the restriction stands",
            World::over_since("0 12:00").held(Rung::Restrict, "0 12:00"),
            vec![("0 12:10", Warn, LockIsDue), ("9 12:00", Warn, LockIsDue)],
        ),
        (
            "the lock comes at its date",
            warned_of_lock(),
            vec![("0 12:10", Keep, LockIsDue), ("3 11:59:59", Keep, LockIsDue), ("3 12:00:00", Lock, LockDateReached)],
        ),
        (
            "the lock's warning has not arrived",
            with(warned_of_lock(), |w| w.warned.lock.as_mut().unwrap().arrived = None),
            vec![
                ("3 11:59:59", Keep, LockIsDue),
                ("3 12:00:00", Wait, WarningNotArrived),
                ("300 12:00", Wait, WarningNotArrived),
            ],
        ),
        (
            "nobody has an address",
            with(warned_of_lock(), |w| {
                let warning = w.warned.lock.as_mut().unwrap();
                (warning.arrived, warning.no_address) = (None, true);
            }),
            vec![("3 12:00:00", Wait, NoAddress)],
        ),
        (
            "the warning arrived late",
            with(warned_of_lock(), |w| w.warned.lock.as_mut().unwrap().arrived = Some(at("2 20:00"))),
            vec![
                ("3 12:00:00", Keep, LockIsDue),
                ("4 19:59:59", Keep, LockIsDue),
                ("4 20:00:00", Lock, LockDateReached),
            ],
        ),
        (
            "a warning from before it came back over the limit says nothing",
            with(warned_of_lock(), |w| {
                w.reached.lock = Some(at("5 00:00"));
            }),
            vec![("8 12:00", Warn, LockIsDue)],
        ),
        (
            "a warning counts for a week after its date",
            warned_of_lock(),
            vec![("10 12:00:00", Lock, LockDateReached), ("10 12:00:01", Warn, LockIsDue)],
        ),
        (
            "a warning of long ago, on bad data: nothing would come of another one",
            with(warned_of_lock(), |w| w.blocks.push(Block::StaleUsage { until: None })),
            vec![("10 12:00:01", Wait, HeldBack)],
        ),
        (
            "exempt for long after the date: warned anew",
            with(warned_of_lock(), |w| w.exemption = Some(exemption("40 00:00", false))),
            vec![("9 12:00", Wait, Exempt), ("20 12:00", Warn, LockIsDue)],
        ),
        (
            "a rehearsed warning stays",
            with(warned_of_lock(), |w| w.armed = ArmedRungs::NONE),
            vec![("99 12:00", Lock, LockDateReached)],
        ),
        (
            "a restriction that was announced long ago is announced anew",
            with(World::over_since("0 12:00"), |w| w.policy.restrict.delay = days(1)).warned(
                Rung::Restrict,
                None,
                "1 12:00",
            ),
            vec![("8 12:00:00", Restrict, RestrictDateReached), ("8 12:00:01", Warn, RestrictIsDue)],
        ),
        (
            "the clock went back behind the beginning",
            with(warned_of_lock(), |w| {
                w.reached.lock = Some(at("2 00:00"));
                w.warned.lock.as_mut().unwrap().event = warning_event(Rung::Lock, at("2 00:00"));
            }),
            vec![("1 00:00", Keep, LockIsDue), ("4 23:59:59", Keep, LockIsDue), ("5 00:00:00", Lock, LockDateReached)],
        ),
        (
            "only notices and locks are armed",
            with(World::over_since("0 12:00"), |w| {
                w.armed = [Rung::Notify, Rung::Lock].into_iter().collect();
            }),
            vec![("0 12:00", Warn, LockIsDue)],
        ),
        (
            "only notices and restrictions are armed",
            with(World::over_since("0 12:00"), |w| {
                w.armed = [Rung::Notify, Rung::Restrict].into_iter().collect();
            }),
            vec![("0 12:00", Restrict, RestrictDateReached)],
        ),
        (
            "restricting is off",
            with(World::over_since("0 12:00"), |w| w.policy.restrict.enabled = false),
            vec![("0 12:00", Warn, LockIsDue)],
        ),
        // Stop.
        (
            "the stop is warned of once the lock stands",
            locked_with_default("0 12:00"),
            vec![("3 12:10", Warn, StopIsDue)],
        ),
        (
            "the stop comes at its date",
            warned_of_stop(),
            vec![("10 11:59:59", Keep, StopIsDue), ("10 12:00:00", Stop, StopDateReached)],
        ),
        (
            "the stop's warning has not arrived",
            with(warned_of_stop(), |w| w.warned.stop.as_mut().unwrap().arrived = None),
            vec![("10 12:00:00", Wait, WarningNotArrived)],
        ),
        (
            "stop passes lock where locking is off",
            with(
                World::over_since("0 12:00").held(Rung::Restrict, "0 12:00").warned(
                    Rung::Stop,
                    Some("0 12:10"),
                    "10 12:00",
                ),
                |w| w.policy.lock.enabled = false,
            ),
            vec![("10 11:59:59", Keep, StopIsDue), ("10 12:00:00", Lock, LockDateReached)],
        ),
        (
            "stopped, and deletion is off",
            World::over_since("0 12:00").held(Rung::Stop, "10 12:00"),
            vec![("400 12:00", Keep, StillOver)],
        ),
        (
            "stopped for long",
            with(World::over_since("0 12:00").held(Rung::Stop, "10 12:00"), |w| w.policy.delete_after = Some(days(90))),
            vec![("100 11:59:59", Keep, StillOver), ("100 12:00:00", ProposeDeletion, StoppedForLong)],
        ),
        (
            "stopped for long, on bad data",
            with(World::over_since("0 12:00").held(Rung::Stop, "10 12:00"), |w| {
                w.policy.delete_after = Some(days(90));
                w.blocks.push(Block::ClockJumped);
            }),
            vec![("100 12:00:00", Keep, StillOver)],
        ),
        // Other thresholds.
        (
            "restricted by an amount",
            with(World::used("90"), |w| w.policy.restrict.available = Some(eur("10"))),
            vec![("0 12:00", Restrict, RestrictDateReached)],
        ),
        (
            "a millionth short of the amount that restricts",
            with(World::used("89.999999"), |w| {
                w.policy.restrict.available = Some(eur("10"));
                w.noticed.extend(["used-80", "days-left-2"].map(str::to_owned));
            }),
            vec![("0 12:00", Keep, WithinLimit)],
        ),
        (
            "a millionth short of the amount that locks",
            locks_by_amount("119.999999"),
            vec![("0 12:00", Warn, StepsAreOff)],
        ),
        ("warned of a lock by an amount", locks_by_amount("120"), vec![("0 12:00", Warn, LockIsDue)]),
        (
            "locked by an amount",
            locks_by_amount("120").warned(Rung::Lock, Some("0 12:10"), "3 12:00"),
            vec![("3 11:59:59", Keep, LockIsDue), ("3 12:00:00", Lock, LockDateReached)],
        ),
        (
            "a millionth short of the amount that stops",
            stops_by_amount("119.999999"),
            vec![("10 12:00:00", Keep, StillOver)],
        ),
        (
            "stopped by an amount",
            stops_by_amount("120"),
            vec![("10 11:59:59", Keep, StopIsDue), ("10 12:00:00", Stop, StopDateReached)],
        ),
        (
            "restricted by days left",
            with(World::used("90"), |w| w.policy.restrict.days_left = Some(2)),
            vec![("0 12:00", Restrict, RestrictDateReached)],
        ),
        (
            "more days are left",
            with(World::used("84.99"), |w| {
                w.policy.restrict.days_left = Some(2);
                w.noticed.insert("used-80".to_owned());
                w.noticed.insert("days-left-7".to_owned());
            }),
            vec![("0 12:00", Keep, WithinLimit)],
        ),
        ("more days are left than the two that lock", locks_by_days_left("85"), vec![("3 12:00", Warn, Threshold)]),
        ("warned of a lock by days left", locks_by_days_left("85.000001"), vec![("0 12:00", Warn, LockIsDue)]),
        (
            "locked by days left",
            locks_by_days_left("85.000001").warned(Rung::Lock, Some("0 12:10"), "3 12:00"),
            vec![("3 11:59:59", Keep, LockIsDue), ("3 12:00:00", Lock, LockDateReached)],
        ),
        ("more days are left than the two that stop", stops_by_days_left("85"), vec![("10 12:00:00", Keep, StillOver)]),
        (
            "stopped by days left",
            stops_by_days_left("85.000001"),
            vec![("10 11:59:59", Keep, StopIsDue), ("10 12:00:00", Stop, StopDateReached)],
        ),
        (
            "no step is among the steps",
            with(World::over_since("0 12:00"), |w| {
                for rule in [&mut w.policy.restrict, &mut w.policy.lock, &mut w.policy.stop] {
                    rule.enabled = false;
                }
                w.noticed.insert("used-100".to_owned());
            }),
            vec![("99 12:00", Keep, StepsAreOff)],
        ),
        (
            "no credit counts as used up with the first charge",
            with(World::used("0.01"), |w| w.limit = Some(Money::ZERO)),
            vec![("0 12:00", Restrict, RestrictDateReached)],
        ),
        // Values of a class, and of the payer alone.
        (
            "a class has more days until the lock, whatever the warning named",
            of_payer(warned_of_lock(), &[("lock_after_days", "5")], &[]),
            vec![
                ("3 12:00:00", Keep, LockIsDue),
                ("5 11:59:59", Keep, LockIsDue),
                ("5 12:00:00", Lock, LockDateReached),
            ],
        ),
        (
            "a value of its own goes before that of the class",
            of_payer(warned_of_lock(), &[("lock_after_days", "6")], &[("lock_after_days", "4")]),
            vec![
                ("3 12:00:00", Keep, LockIsDue),
                ("4 11:59:59", Keep, LockIsDue),
                ("4 12:00:00", Lock, LockDateReached),
            ],
        ),
        (
            "fewer days of its own, and two days after the warning nevertheless",
            of_payer(
                World::over_since("0 12:00").held(Rung::Restrict, "0 12:00").warned(
                    Rung::Lock,
                    Some("0 12:10"),
                    "1 12:00",
                ),
                &[],
                &[("lock_after_days", "1")],
            ),
            vec![("2 12:09:59", Keep, LockIsDue), ("2 12:10:00", Lock, LockDateReached)],
        ),
        (
            "a class whose warnings have to arrive earlier",
            of_payer(warned_of_lock(), &[("warning_hours", "96")], &[]),
            vec![
                ("3 12:00:00", Keep, LockIsDue),
                ("4 12:09:59", Keep, LockIsDue),
                ("4 12:10:00", Lock, LockDateReached),
            ],
        ),
        (
            "more days of its own until the stop",
            of_payer(warned_of_stop(), &[], &[("stop_after_days", "12")]),
            vec![
                ("10 12:00:00", Keep, StopIsDue),
                ("12 11:59:59", Keep, StopIsDue),
                ("12 12:00:00", Stop, StopDateReached),
            ],
        ),
        (
            "a class that is never locked by itself is warned of the stop",
            of_payer(World::over_since("0 12:00").held(Rung::Restrict, "0 12:00"), &[("lock_enabled", "false")], &[]),
            vec![("0 12:10", Warn, StopIsDue)],
        ),
        (
            "a millionth short of the percentage of its class",
            of_payer(
                with(World::over_since("0 12:00").held(Rung::Restrict, "0 12:00"), |w| w.used = eur("119.999999")),
                &[("lock_percent", "120"), ("stop_enabled", "false")],
                &[],
            ),
            vec![("0 12:10", Keep, StillOver)],
        ),
        (
            "the percentage of its class is reached",
            of_payer(
                with(World::over_since("0 12:00").held(Rung::Restrict, "0 12:00"), |w| w.used = eur("120")),
                &[("lock_percent", "120"), ("stop_enabled", "false")],
                &[],
            ),
            vec![("0 12:10", Warn, LockIsDue)],
        ),
        (
            "a millionth short of the one notice that its class gets",
            of_payer(World::used("59.999999"), &[("notify_percent", "60")], &[]),
            vec![("0 12:00", Keep, WithinLimit)],
        ),
        (
            "the one notice that its class gets",
            of_payer(World::used("60"), &[("notify_percent", "60")], &[]),
            vec![("0 12:00", Warn, Threshold)],
        ),
        (
            "quiet hours of its own",
            of_payer(warned_of_lock(), &[], &[("quiet_hours", "20:00-07:00")]),
            vec![("3 19:59:59", Lock, LockDateReached), ("3 20:00:00", Wait, QuietHours)],
        ),
        (
            "a class without a respite",
            of_payer(
                with(World::over_since("0 12:00"), |w| w.lifted = Some(at("4 12:00"))),
                &[("respite_hours", "0")],
                &[],
            ),
            vec![("4 12:00:00", Restrict, RestrictDateReached)],
        ),
        (
            "a millionth short of what opens it alone",
            of_payer(
                with(locked_with_default("0 12:00"), |w| w.used = eur("80.000001")),
                &[],
                &[("restore_minimum", "20")],
            ),
            vec![("4 12:00", Keep, StillOver)],
        ),
        (
            "what opens it alone",
            of_payer(with(locked_with_default("0 12:00"), |w| w.used = eur("80")), &[], &[("restore_minimum", "20")]),
            vec![("4 12:00", Restore, EnoughAgain)],
        ),
        (
            "enabled by others, to be locked again by a value of its own",
            of_payer(with(locked_as_warned(), |w| w.state = "enabled"), &[], &[("on_drift", "suspend")]),
            vec![("4 12:00", Lock, SuspendedAgain)],
        ),
        // What holds back.
        (
            "bad data",
            with(warned_of_lock(), |w| w.blocks.push(Block::StaleUsage { until: None })),
            vec![("3 11:59:59", Keep, LockIsDue), ("3 12:00:00", Wait, HeldBack)],
        ),
        (
            "a clock that jumped begins no count",
            with(World::used("104.20"), |w| w.blocks.push(Block::ClockJumped)),
            vec![("0 12:00", Wait, HeldBack)],
        ),
        (
            "a clock that jumped names no date",
            with(World::over_since("0 12:00").held(Rung::Restrict, "0 12:00"), |w| {
                w.blocks.push(Block::ClockJumped);
            }),
            vec![("0 13:00", Wait, HeldBack)],
        ),
        (
            "exempt",
            with(warned_of_lock(), |w| w.exemption = Some(exemption("5 00:00", false))),
            vec![("3 12:00:00", Wait, Exempt)],
        ),
        (
            "exempt, before the first step",
            with(World::used("104.20"), |w| w.exemption = Some(exemption("5 00:00", false))),
            vec![("0 12:00", Wait, Exempt)],
        ),
        (
            "exempt from notices too",
            with(World::over_since("0 12:00").held(Rung::Restrict, "0 12:00"), |w| {
                w.exemption = Some(exemption("5 00:00", true));
            }),
            vec![("0 12:10", Keep, Exempt)],
        ),
        (
            "exempt until a date, and locked from it on",
            with(warned_of_lock(), |w| w.exemption = Some(exemption("5 00:00", false))),
            vec![
                ("3 11:59:59", Keep, LockIsDue),
                ("3 12:00:00", Wait, Exempt),
                ("4 23:59:59", Wait, Exempt),
                ("5 00:00:00", Lock, LockDateReached),
            ],
        ),
        (
            "exempt before the first step until a date, and restricted from it on",
            with(World::over_since("0 12:00"), |w| w.exemption = Some(exemption("5 00:00", false))),
            vec![("4 23:59:59", Wait, Exempt), ("5 00:00:00", Restrict, RestrictDateReached)],
        ),
        (
            "exempt from notices too until a date, and warned from it on",
            with(World::over_since("0 12:00").held(Rung::Restrict, "0 12:00"), |w| {
                w.exemption = Some(exemption("5 00:00", true));
            }),
            vec![("4 23:59:59", Keep, Exempt), ("5 00:00:00", Warn, LockIsDue)],
        ),
        (
            "exempt, and the warning named the end of it",
            with(
                World::over_since("0 12:00").held(Rung::Restrict, "0 12:00").warned(
                    Rung::Lock,
                    Some("0 12:10"),
                    "9 00:00",
                ),
                |w| w.exemption = Some(exemption("9 00:00", false)),
            ),
            vec![("8 23:59:59", Keep, LockIsDue), ("9 00:00:00", Lock, LockDateReached)],
        ),
        (
            "quiet hours, across midnight",
            with(warned_of_lock(), |w| w.policy.quiet.hours = Some((20 * 60, 7 * 60))),
            vec![
                ("3 19:59:59", Lock, LockDateReached),
                ("3 20:00:00", Wait, QuietHours),
                ("4 06:59:59", Wait, QuietHours),
                ("4 07:00:00", Lock, LockDateReached),
            ],
        ),
        (
            "quiet hours where the tenant is",
            with(warned_of_lock(), |w| {
                w.policy.quiet.hours = Some((20 * 60, 7 * 60));
                w.zone = chrono_tz::America::New_York;
            }),
            vec![
                ("4 00:59:59", Lock, LockDateReached),
                ("4 01:00:00", Wait, QuietHours),
                ("4 12:00:00", Lock, LockDateReached),
            ],
        ),
        (
            "quiet weekend",
            with(warned_of_lock(), |w| w.policy.quiet.days = vec![Weekday::Sat, Weekday::Sun]),
            vec![
                ("4 23:59:59", Lock, LockDateReached),
                ("5 00:00:00", Wait, QuietHours),
                ("6 23:59:59", Wait, QuietHours),
                ("7 00:00:00", Lock, LockDateReached),
            ],
        ),
        (
            "a suspension was lifted and nothing paid: warned anew when the respite is over",
            with(World::over_since("0 12:00"), |w| {
                w.lifted = Some(at("4 12:00"));
            }),
            vec![("5 11:59:59", Wait, Respite), ("5 12:00:00", Restrict, RestrictDateReached)],
        ),
        (
            "the days begin anew when a suspension was lifted",
            with(World::over_since("0 12:00"), |w| {
                w.lifted = Some(at("4 12:00"));
            })
            .held(Rung::Restrict, "5 12:00")
            .warned(Rung::Lock, Some("5 12:10"), "7 12:10"),
            vec![("7 12:09:59", Keep, LockIsDue), ("7 12:10:00", Lock, LockDateReached)],
        ),
        (
            "the former warning does not count after the lift",
            with(warned_of_lock(), |w| w.lifted = Some(at("3 13:00"))),
            vec![("9 12:00", Warn, LockIsDue)],
        ),
        // The untouchable.
        (
            "protected",
            with(World::over_since("0 12:00"), |w| w.protected = Some("it is on the list")),
            vec![("99 12:00", Keep, Protected)],
        ),
        (
            "out of scope",
            with(World::over_since("0 12:00"), |w| w.in_scope = false),
            vec![("99 12:00", Keep, OutOfScope)],
        ),
        (
            "not managed",
            with(World::over_since("0 12:00"), |w| w.credit_limit = CreditLimit::Lacking),
            vec![("99 12:00", Keep, NotManaged)],
        ),
        (
            "locked by others",
            with(World::over_since("0 12:00"), |w| w.state = "locked"),
            vec![("99 12:00", Keep, SuspendedByOthers)],
        ),
        (
            "held by others",
            with(World::over_since("0 12:00"), |w| w.other_hold = true),
            vec![("99 12:00", Keep, SuspendedByOthers)],
        ),
        (
            "restricted, then locked by others",
            with(warned_of_lock(), |w| w.state = "locked"),
            vec![("3 12:00", Keep, SuspendedByOthers)],
        ),
        (
            "restricted, then protected",
            with(warned_of_lock(), |w| w.protected = Some("it is on the list")),
            vec![("3 12:00", Keep, StillOver)],
        ),
        (
            "locked, then disabled by others",
            with(warned_of_stop(), |w| w.state = "disabled"),
            vec![("10 12:00", Keep, StillOver)],
        ),
        (
            "locked, and held by others too",
            with(warned_of_stop(), |w| w.other_hold = true),
            vec![("10 12:00", Keep, StillOver)],
        ),
        // Restore.
        (
            "a cent does not open",
            with(locked_with_default("0 12:00"), |w| w.used = eur("95.01")),
            vec![("4 12:00", Keep, StillOver)],
        ),
        (
            "a day's worth opens, at night, on bad data, paused and exempt",
            with(locked_with_default("0 12:00"), |w| {
                w.used = eur("95");
                w.blocks = vec![Block::ClockJumped, Block::StaleUsage { until: None }, Block::Paused];
                w.policy.quiet.hours = Some((20 * 60, 7 * 60));
                w.exemption = Some(exemption("9 00:00", true));
                w.lifted = Some(at("3 23:00"));
            }),
            vec![("4 03:00", Restore, EnoughAgain)],
        ),
        (
            "a restriction opens alike",
            with(World::over_since("0 12:00").held(Rung::Restrict, "0 12:00"), |w| w.used = eur("95")),
            vec![("4 12:00", Restore, EnoughAgain)],
        ),
        (
            "a stop opens alike",
            with(World::over_since("0 12:00").held(Rung::Stop, "10 12:00"), |w| w.used = eur("95")),
            vec![("11 12:00", Restore, EnoughAgain)],
        ),
        (
            "nothing opens at which the ladder would begin again",
            with(World::used("90").held(Rung::Lock, "3 12:00"), |w| {
                w.policy.restrict.available = Some(eur("10"));
            }),
            vec![("4 12:00", Keep, StillOver)],
        ),
        (
            "a millionth more opens",
            with(World::used("89.999999").held(Rung::Lock, "3 12:00"), |w| {
                w.policy.restrict.available = Some(eur("10"));
            }),
            vec![("4 12:00", Restore, EnoughAgain)],
        ),
        (
            "enough, and held by others",
            with(locked_with_default("0 12:00"), |w| {
                w.used = eur("10");
                w.other_hold = true;
            }),
            vec![("4 12:00", Keep, OtherHold)],
        ),
        (
            "back over the limit after a restore: the days begin anew",
            World::over_since("20 00:00").held(Rung::Restrict, "20 00:00"),
            vec![("20 00:10", Warn, LockIsDue)],
        ),
        // Drift.
        (
            "enabled by others",
            with(locked_with_default("0 12:00"), |w| w.state = "enabled"),
            vec![("4 12:00", Keep, EnabledByOthers)],
        ),
        (
            "enabled by others, to be locked again",
            enabled_again(locked_as_warned()),
            vec![
                ("4 12:00", Lock, SuspendedAgain),
                ("10 12:00:00", Lock, SuspendedAgain),
                ("10 12:00:01", Warn, LockIsDue),
            ],
        ),
        (
            "enabled by others, to be stopped again",
            enabled_again(World::over_since("0 12:00").held(Rung::Stop, "10 12:00")).warned(
                Rung::Stop,
                Some("3 12:10"),
                "10 12:00",
            ),
            vec![("11 12:00", Stop, SuspendedAgain)],
        ),
        (
            "enabled by others, and never warned: the suspension was adopted",
            enabled_again(locked_with_default("0 12:00")),
            vec![("4 12:00", Warn, LockIsDue)],
        ),
        (
            "enabled by others, warned of it, and the date has not come",
            enabled_again(locked_with_default("0 12:00")).warned(Rung::Lock, Some("4 12:10"), "6 12:00"),
            vec![
                ("6 11:59:59", Keep, LockIsDue),
                ("6 12:00:00", Keep, LockIsDue),
                ("6 12:10:00", Lock, SuspendedAgain),
            ],
        ),
        (
            "enabled by others, and the warning has not arrived",
            enabled_again(locked_with_default("0 12:00")).warned(Rung::Lock, None, "6 12:00"),
            vec![("6 12:10:00", Wait, WarningNotArrived)],
        ),
        (
            "enabled by others, below the rule for a while and over it again since",
            with(enabled_again(locked_as_warned()), |w| w.reached.lock = Some(at("3 18:00"))),
            vec![("4 12:00", Warn, LockIsDue)],
        ),
        (
            "enabled by others, to be locked again, at night",
            with(enabled_again(locked_as_warned()), |w| w.policy.quiet.hours = Some((20 * 60, 7 * 60))),
            vec![("4 21:00", Wait, QuietHours)],
        ),
        (
            "enabled by others, to be locked again, on bad data",
            with(enabled_again(locked_as_warned()), |w| w.blocks.push(Block::RestoredBackup)),
            vec![("4 12:00", Wait, HeldBack)],
        ),
        (
            "enabled by others, and under the limit",
            with(locked_with_default("0 12:00"), |w| {
                w.state = "enabled";
                w.used = eur("99");
                w.policy.on_drift = OnDrift::Suspend;
            }),
            vec![("4 12:00", Keep, EnabledByOthers)],
        ),
    ]
}

#[test]
fn every_rung_delay_exemption_override_and_warning_holds_to_the_second() {
    for (name, world, instants) in table() {
        for (now, outcome, reason) in instants {
            let decision = world.decide_at(now);
            assert_eq!((decision.outcome, decision.reason), (outcome, reason), "{name}, at {now}: {decision:?}");
        }
    }
}

#[test]
fn a_stop_that_is_only_rehearsed_takes_no_lock_in_earnest_where_locking_is_off() {
    let restricted = World::over_since("0 12:00").held(Rung::Restrict, "0 12:00");
    let world = with(restricted.warned(Rung::Stop, Some("0 12:10"), "10 12:00"), |w| {
        w.policy.lock.enabled = false;
        w.armed = [Rung::Notify, Rung::Restrict, Rung::Lock].into_iter().collect();
    });
    for (now, outcome) in [("10 11:59:59", Outcome::Keep), ("10 12:00:00", Outcome::Stop)] {
        let decision = world.decide_at(now);
        assert_eq!((decision.outcome, decision.acts_for()), (outcome, Some(Rung::Stop)), "at {now}: {decision:?}");
    }
    let in_earnest = with(world, |w| w.armed = w.armed.with(Rung::Stop));
    for (now, outcome) in [("10 11:59:59", Outcome::Keep), ("10 12:00:00", Outcome::Lock)] {
        let decision = in_earnest.decide_at(now);
        assert_eq!((decision.outcome, decision.acts_for()), (outcome, Some(Rung::Lock)), "at {now}: {decision:?}");
    }
}

#[test]
fn the_table_covers_every_outcome_and_every_reason_of_a_wait() {
    let decided: BTreeSet<&str> = table()
        .iter()
        .flat_map(|(_, world, instants)| instants.iter().map(|(now, ..)| world.decide_at(now)))
        .flat_map(|decision| [decision.outcome.word(), decision.reason.word()])
        .collect();
    for word in [
        "keep",
        "warn",
        "restrict",
        "lock",
        "stop",
        "restore",
        "wait",
        "propose-deletion",
        "held-back",
        "exempt",
        "respite",
        "quiet-hours",
        "warning-not-arrived",
        "no-address",
    ] {
        assert!(decided.contains(word), "{word}");
    }
}

#[test]
fn the_date_of_a_warning_keeps_every_delay_and_avoids_quiet_hours() {
    let named = |world: &World, now: &str| world.decide_at(now).notices[0].acts_at.unwrap();
    let restricted = World::over_since("0 12:00").held(Rung::Restrict, "0 12:00");
    assert_eq!(named(&restricted, "0 12:10"), at("3 12:00"), "three days over the limit");
    assert_eq!(named(&restricted, "2 18:00"), at("4 18:00"), "two days after the warning");
    let nights = with(restricted.clone(), |w| w.policy.quiet.hours = Some((20 * 60, 7 * 60)));
    assert_eq!(named(&nights, "1 22:00"), at("4 07:00"));
    let weekends = with(nights, |w| w.policy.quiet.days = vec![Weekday::Sat, Weekday::Sun]);
    assert_eq!(named(&weekends, "2 21:00"), at("7 07:00"), "Friday night becomes Monday at seven");
    let exempt = with(restricted.clone(), |w| w.exemption = Some(exemption("9 00:00", false)));
    assert_eq!(named(&exempt, "0 12:10"), at("9 00:00"));
    let lifted = with(restricted, |w| {
        w.lifted = Some(at("4 12:00"));
        w.policy.respite = days(5);
        w.policy.lock.delay = days(1);
    });
    assert_eq!(named(&lifted, "4 12:10"), at("9 12:00"), "the respite is kept");
}

#[test]
fn a_threshold_is_noticed_once_an_epoch_and_the_nearest_only() {
    let events = |world: &World| world.decide().notices.into_iter().map(|notice| notice.event).collect::<Vec<_>>();
    let mut world = World::used("85");
    world.policy.notify_available = vec![eur("20"), eur("5")];
    assert_eq!(events(&world), ["used-80", "available-20.00", "days-left-7"]);
    world.noticed.insert("used-90".to_owned());
    world.noticed.insert("available-5.00".to_owned());
    world.noticed.insert("days-left-2".to_owned());
    assert_eq!(events(&world), Vec::<String>::new());
    assert_eq!(events(&World::used("95")), ["used-90", "days-left-2"]);
    let reached = World::used("104.20");
    assert_eq!(events(&reached), ["used-100"], "the restriction brings the notice of the limit along");
    assert_eq!(events(&World::used("100")), ["used-100"], "of nothing that is available nothing lasts for days");
    let warned = World { armed: [Rung::Notify, Rung::Lock].into_iter().collect(), ..reached };
    assert_eq!(events(&warned), [format!("warning-lock-{}", at("0 12:00").as_seconds())], "the warning says it all");
    let silent = World { exemption: Some(exemption("1 00:00", true)), ..World::used("85") };
    assert_eq!(events(&silent), Vec::<String>::new());
}

#[test]
fn a_count_goes_on_until_enough_is_available_to_be_free_again() {
    let since = Some(at("0 12:00"));
    let over = World::over_since("0 12:00");
    assert_eq!(over.decide_at("2 00:00").reached.lock, since);
    let cents = World { used: eur("99.50"), ..over.clone() };
    assert_eq!(cents.decide_at("2 00:00").reached.lock, since, "half a euro is not enough");
    assert_ne!(cents.decide_at("2 00:00").outcome, crate::policy::Outcome::Restrict);
    let free = World { used: eur("95"), ..over.clone() };
    assert_eq!(free.decide_at("2 00:00").reached, Reached::default());
    let off = with(over.clone(), |w| w.policy.stop.enabled = false);
    assert_eq!((off.decide().reached.lock, off.decide().reached.stop), (since, None));
    let unmanaged = World { credit_limit: CreditLimit::Lacking, ..over.clone() };
    assert_eq!(unmanaged.decide().reached, Reached::default());
    assert_eq!(over.decide_at("0 11:00").reached.lock, since, "a clock that goes back shortens nothing");
    assert_eq!(World::used("104.20").decide_at("1 02:03:04").reached.stop, Some(at("1 02:03:04")));
}

#[test]
fn who_has_no_limit_any_more_is_opened_unless_somebody_else_wants_it_closed() {
    for rung in [Rung::Restrict, Rung::Lock, Rung::Stop] {
        let held = World::over_since("0 12:00").held(rung, "3 00:00");
        assert_ne!(held.decide_at("4 00:00").outcome, Outcome::Restore);
        // A default that is lacking, as in a process with another configuration, opens nobody.
        let unmanaged = World { credit_limit: CreditLimit::Lacking, ..held };
        assert_ne!(unmanaged.decide_at("4 00:00").outcome, Outcome::Restore);
        let removed = World { credit_limit: CreditLimit::Removed, ..unmanaged };
        let decision = removed.decide_at("4 00:00");
        assert_eq!((decision.outcome, decision.reason), (Outcome::Restore, Reason::NotManaged));
        assert!(decision.sentence.ends_with("no credit limit applies to it any more."), "{}", decision.sentence);
        let others = World { other_hold: true, ..removed };
        let decision = others.decide_at("4 00:00");
        assert_eq!((decision.outcome, decision.reason), (Outcome::Keep, Reason::OtherHold));
        assert!(decision.sentence.starts_with("No credit limit applies any more"), "{}", decision.sentence);
    }
}

#[test]
fn what_a_wait_waits_for_is_told_in_words() {
    let mut world = warned_of_lock();
    world.blocks.push(Block::Quarantine { records: 3 });
    world.exemption = Some(exemption("5 00:00", false));
    world.policy.quiet.hours = Some((11 * 60, 13 * 60));
    let waits = world.decide_at("3 12:00").waits_for;
    assert_eq!(
        waits,
        [
            "3 usage records that may charge too much wait for a person (`bursar review`)",
            "to be left alone until 2026-01-10 00:00 UTC, says alice: a migration",
            "quiet hours until 2026-01-08 13:00 UTC",
        ]
    );
}

#[test]
fn the_decision_says_for_which_rung_arming_counts() {
    let rung = |world: &World, now: &str| world.decide_at(now).acts_for();
    assert_eq!(rung(&World::used("85"), "0 12:00"), Some(Rung::Notify));
    assert_eq!(rung(&World::over_since("0 12:00"), "0 12:00"), Some(Rung::Restrict));
    assert_eq!(rung(&World::over_since("0 12:00").held(Rung::Restrict, "0 12:00"), "0 12:10"), Some(Rung::Lock));
    assert_eq!(rung(&warned_of_lock(), "1 00:00"), Some(Rung::Lock));
    assert_eq!(rung(&warned_of_stop(), "10 12:00"), Some(Rung::Stop));
    assert_eq!(rung(&World { used: eur("10"), ..locked_with_default("0 12:00") }, "4 00:00"), None);
}
