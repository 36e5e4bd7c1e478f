//! What single people asked to hear of.
use super::*;
use crate::policy::notices::personal;

fn events(world: &World, own: &[BTreeSet<u32>]) -> Vec<String> {
    personal(&world.policy, &world.facts(), own).into_iter().map(|notice| notice.event).collect()
}

#[test]
fn each_person_hears_of_the_highest_own_threshold_once() {
    let own = [BTreeSet::from([60, 70]), BTreeSet::from([60]), BTreeSet::from([95])];
    let mut world = World::used("75");
    assert_eq!(events(&world, &own), ["own-70", "own-60"]);
    world.noticed = ["own-70".to_owned(), "own-60".to_owned()].into();
    assert_eq!(events(&world, &own), Vec::<String>::new());
    world.exemption = Some(Exemption {
        until: world.now.plus(Duration::from_hours(1)),
        no_notices: true,
        author: "alice".to_owned(),
        reason: "a fair".to_owned(),
    });
    world.noticed.clear();
    assert_eq!(events(&world, &own), Vec::<String>::new(), "whoever is left alone is left alone by these too");
}

#[test]
fn a_reminder_comes_each_week_over_the_credit_and_not_before() {
    let mut world = World::used("104.20");
    let since = world.now;
    world.reached.set(Rung::Restrict, Some(since));
    let name = |week: u32| format!("overdue-{}-{week}", since.as_seconds());
    for (days, wanted) in [(0, vec![]), (6, vec![]), (7, vec![name(1)]), (13, vec![name(1)]), (21, vec![name(3)])] {
        world.now = since.plus(Duration::from_hours(days * 24));
        assert_eq!(events(&world, &[]), wanted, "after {days} days");
    }
    world.noticed = [name(3)].into();
    assert_eq!(events(&world, &[]), Vec::<String>::new());
    // Paid: whatever the watch says, nothing is overdue.
    world.used = eur("10");
    world.noticed.clear();
    assert_eq!(events(&world, &[]), Vec::<String>::new());
}

#[test]
fn a_reminder_counts_the_days_without_credit_and_not_those_of_a_rule_that_was_reached_before() {
    let mut world = World::used("104.20");
    let (early, today) = (world.now.minus(days(60)), world.now);
    world.policy.restrict.percent = Some(80);
    world.reached = Reached { restrict: Some(early), lock: Some(today), stop: Some(today) };
    assert_eq!(events(&world, &[]), Vec::<String>::new(), "the credit is used up only today");
    world.now = today.plus(days(8));
    let notices = personal(&world.policy, &world.facts(), &[]);
    assert_eq!(notices[0].event, format!("overdue-{}-1", today.as_seconds()));
    assert!(notices[0].sentence.contains("has been over its credit for 8 days, 104.20 of"), "{}", notices[0].sentence);
}

#[test]
fn a_reminder_names_no_days_where_no_rule_tells_since_when_the_credit_is_used_up() {
    let mut world = World::used("104.20");
    let early = world.now.minus(days(60));
    for rule in [&mut world.policy.restrict, &mut world.policy.lock, &mut world.policy.stop] {
        rule.percent = Some(80);
    }
    world.reached = Reached { restrict: Some(early), lock: Some(early), stop: Some(early) };
    let notices = personal(&world.policy, &world.facts(), &[]);
    assert_eq!(notices[0].event, format!("overdue-{}-8", early.as_seconds()));
    let told = "Payment is overdue: your account is over its credit, 104.20 of 100.00 EUR were used. Please pay ";
    assert!(notices[0].sentence.starts_with(told), "{}", notices[0].sentence);
}
