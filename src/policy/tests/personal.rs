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
