//! What tenants read, whole.

use super::*;
use crate::policy::to_avoid;

fn sentence(world: &World, now: &str) -> String {
    world.decide_at(now).sentence
}

#[test]
fn each_step_says_why_and_what_ends_it() {
    let over = World::over_since("0 12:00");
    let restricted = over.clone().held(Rung::Restrict, "0 12:00");
    let locked = over.clone().held(Rung::Lock, "3 12:00");
    let stopped = over.clone().held(Rung::Stop, "10 12:00");
    let no_stop = |mut world: World| {
        world.policy.stop.enabled = false;
        world
    };
    for (found, expected) in [
        (
            sentence(&over, "0 12:00"),
            "Your account was restricted on 2026-01-05 12:00 UTC because 104.20 of 100.00 EUR were used: nothing can be added to \
             it; that ends as soon as 5.00 EUR are available, so pay 9.20 EUR or more. What you have keeps running; signing in and \
             API keys keep working.",
        ),
        (
            sentence(&restricted, "0 12:10"),
            "Your account will be locked on 2026-01-08 12:00 UTC because 104.20 of 100.00 EUR were used. To keep it open, pay 24.20 \
             EUR or more before then. Once it is locked, signing in and API keys stop working; your machines keep running.",
        ),
        (
            sentence(&restricted.clone().warned(Rung::Lock, Some("0 12:10"), "3 12:00"), "3 12:00"),
            "Your account was locked on 2026-01-08 12:00 UTC because 104.20 of 100.00 EUR were used; it opens again as soon as 5.00 \
             EUR are available, so pay 9.20 EUR or more. Your machines keep running. Signing in and API keys do not work until then.",
        ),
        (
            sentence(&locked, "3 12:10"),
            "Your account will be disabled and its machines stopped on 2026-01-15 12:00 UTC because 104.20 of 100.00 EUR were used. \
             To keep them running, pay 44.20 EUR or more before then. Your data is kept; signing in and API keys do not work then.",
        ),
        (
            sentence(&locked.clone().warned(Rung::Stop, Some("3 12:10"), "10 12:00"), "10 12:00"),
            "Your account was disabled and its machines were stopped on 2026-01-15 12:00 UTC because 104.20 of 100.00 EUR were used; \
             it opens again, and the machines that ran are started, as soon as 5.00 EUR are available, so pay 9.20 EUR or more. Your \
             data is kept. Signing in and API keys do not work until then.",
        ),
        (
            sentence(&no_stop(locked.clone()), "4 12:00"),
            "Your account is locked because 104.20 of 100.00 EUR were used; it opens again as soon as 5.00 EUR are available, so \
             pay 9.20 EUR or more.",
        ),
        (
            sentence(&stopped, "12 12:00"),
            "Your account is disabled and its machines are stopped because 104.20 of 100.00 EUR were used; it opens again as soon as \
             5.00 EUR are available, so pay 9.20 EUR or more.",
        ),
        (
            sentence(&World { used: eur("10"), ..restricted.clone() }, "2 12:00"),
            "Your account is no longer restricted since 2026-01-07 12:00 UTC: 90.00 EUR are available.",
        ),
        (
            sentence(&World { used: eur("10"), ..locked.clone() }, "4 12:00"),
            "Your account was opened again on 2026-01-09 12:00 UTC: 90.00 EUR are available.",
        ),
        (
            sentence(&World { used: eur("10"), ..stopped.clone() }, "12 12:00"),
            "Your account was opened again on 2026-01-17 12:00 UTC, and the machines that ran before are started: 90.00 EUR are \
             available.",
        ),
    ] {
        assert_eq!(found, expected);
        for word in ["rung", "hold", "fuse", "quarantine", "standing"] {
            assert!(!found.contains(word), "{word}: {found}");
        }
    }
}

#[test]
fn what_lacks_is_no_available_amount_with_a_minus() {
    let told = |used: &str| {
        let world = World::used(used);
        [crate::policy::sentences::used(&world.facts(), 100), crate::policy::sentences::available(&world.facts())]
    };
    assert_eq!(
        told("104.20"),
        [
            "100 % of your credit is used: 104.20 of 100.00 EUR were used; that is 4.20 EUR more than your credit.",
            "Nothing is available any more: 104.20 of 100.00 EUR were used; that is 4.20 EUR more than your credit."
        ]
    );
    assert_eq!(
        told("100"),
        [
            "100 % of your credit is used: 100.00 of 100.00 EUR were used; nothing is available any more.",
            "Nothing is available any more: 100.00 of 100.00 EUR were used."
        ]
    );
}

#[test]
fn a_credit_of_which_something_is_left_is_nearly_used_up_where_a_step_waits() {
    let told = |used: &str| {
        let world = World::used(used);
        [Rung::None, Rung::Notify]
            .map(|present| crate::policy::sentences::held_back(&world.policy, &world.facts(), present))
    };
    for (used, expected) in [
        ("85", "Your credit is nearly used up: 85.00 of 100.00 EUR were used. Please pay soon."),
        ("99.99", "Your credit is nearly used up: 99.99 of 100.00 EUR were used. Please pay soon."),
        ("99.999999", "Your credit is used up: 100.00 of 100.00 EUR were used. Please pay soon."),
        ("100", "Your credit is used up: 100.00 of 100.00 EUR were used. Please pay soon."),
        ("104.20", "Your credit is used up: 104.20 of 100.00 EUR were used. Please pay soon."),
    ] {
        assert_eq!(told(used), [expected, expected]);
    }
}

#[test]
fn what_paying_avoids_is_what_the_sentence_names() {
    let pay = |world: &World| to_avoid(&world.policy, &world.facts());
    assert_eq!(pay(&World::used("10")), Money::ZERO);
    assert_eq!(pay(&World::used("99.50")), Money::ZERO, "nothing is in sight yet");
    assert_eq!(pay(&World::used("104.20")), eur("9.20"));
    assert_eq!(pay(&World::used("99.50").held(Rung::Lock, "3 12:00")), eur("4.50"), "to open what stands");
    let exact = World { used: eur("104.201234"), ..World::used("0") };
    assert_eq!(pay(&exact), eur("9.21"), "rounded up to what can be paid");
    let mut early = World::used("90");
    early.policy.restrict.available = Some(eur("10"));
    assert_eq!(pay(&early), eur("0.01"));
    let paid = World { used: eur("89.99"), ..early };
    assert_eq!(pay(&paid), Money::ZERO);
}

#[test]
fn an_account_that_others_hold_or_closed_is_told_which_of_both() {
    let held = World { other_hold: true, ..World::used("104.20") };
    assert_eq!(
        sentence(&held, "0 12:00"),
        "The cloud's administrators look after this account themselves: nothing is done about its credit for now."
    );
    let closed = World { state: "locked", ..World::used("104.20") };
    assert_eq!(sentence(&closed, "0 12:00"), "This account was locked by the cloud's administrators, not for billing.");
}

#[test]
fn the_sum_that_a_warning_names_lasts_until_its_date() {
    let over = World::over_since("0 12:00");
    let restricted = over.clone().held(Rung::Restrict, "0 12:00");
    let locked = over.held(Rung::Lock, "3 12:00");
    for (world, now, date, rung) in
        [(restricted, "0 12:10", "3 12:00", Rung::Lock), (locked, "3 12:10", "10 12:00", Rung::Stop)]
    {
        let named = sentence(&world, now);
        let named = eur(named.split("pay ").nth(1).unwrap().split(' ').next().unwrap());
        // Five a day until just before the date; then the payment comes.
        let burnt = Money::from_micros(i64::try_from(at(date).since(at(now)).as_secs()).unwrap() * 5_000_000 / 86_400);
        let unpaid = World { used: world.used.plus(burnt).unwrap(), ..world.warned(rung, Some(now), date) };
        assert_eq!(unpaid.decide_at(date).outcome.step_down(), Some(rung));
        let paid = World { used: unpaid.used.minus(named).unwrap(), ..unpaid };
        assert_eq!(paid.decide_at(date).outcome.step_down(), None, "{named} do not last until {date}");
    }
}

#[test]
fn a_warning_says_where_it_can_not_know_what_is_used_until_its_date() {
    let world = World { per_day: Money::ZERO, ..World::over_since("0 12:00").held(Rung::Restrict, "0 12:00") };
    let named = sentence(&world, "0 12:10");
    assert!(
        named.contains("To keep it open, pay 5.20 EUR or more before then, plus what is used until then."),
        "{named}"
    );
}
