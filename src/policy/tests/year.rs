//! A year of one payer, run by run in pure code: what is decided is carried out, mail arrives or does not, now and then something
//! is paid.

use proptest::prelude::*;

use super::*;
use crate::policy::Outcome;

/// What happened, by day.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Event {
    Down(Rung),
    Up,
}

struct Life {
    world: World,
    /// Hours that mail takes; None: it never arrives.
    mail_hours: Option<u64>,
    events: Vec<(i64, Event)>,
    notices: Vec<(i64, String)>,
}

impl Life {
    fn new(mut world: World, mail_hours: Option<u64>) -> Self {
        world.now = at("0 00:00");
        Self { world, mail_hours, events: Vec::new(), notices: Vec::new() }
    }

    fn day(&self) -> i64 {
        (self.world.now.as_seconds() - at("0 00:00").as_seconds()) / 86_400
    }

    /// One run: decide, and carry out.
    fn run(&mut self) -> Decision {
        let decision = self.world.decide();
        let (now, day) = (self.world.now, self.day());
        self.world.reached = decision.reached;
        for notice in &decision.notices {
            assert!(self.world.noticed.insert(notice.event.clone()), "{} is given twice in an epoch", notice.event);
            self.notices.push((day, notice.event.clone()));
            if let Some(named) = notice.acts_at {
                let arrived = self.mail_hours.map(|hours| now.plus(Duration::from_hours(hours)));
                let warning = Warning { event: notice.event.clone(), given: now, arrived, named, no_address: false };
                self.world.warned.set(notice.rung, warning);
            }
        }
        if let Some(rung) = decision.outcome.step_down() {
            self.world.hold = Some(BillingHold { rung, since: now });
            self.world.state = match rung {
                Rung::Lock => "locked",
                Rung::Stop => "disabled",
                _ => "enabled",
            };
            self.events.push((day, Event::Down(rung)));
        }
        if decision.outcome == Outcome::Restore {
            (self.world.hold, self.world.state, self.world.lifted) = (None, "enabled", Some(now));
            self.events.push((day, Event::Up));
        }
        decision
    }

    /// A run every hour for so many days, at so much a day.
    fn live(&mut self, days: u64, per_day: i64) {
        for _ in 0..days * 24 {
            self.world.now = self.world.now.plus(Duration::from_hours(1));
            // Stopped machines cost nothing more.
            let burnt = if self.world.state == "disabled" { 0 } else { per_day * 1_000_000 / 24 };
            self.world.used = self.world.used.plus(Money::from_micros(burnt)).unwrap();
            self.run();
        }
    }

    fn pay(&mut self, amount: &str) {
        self.world.used = self.world.used.minus(eur(amount)).unwrap();
        self.world.noticed.clear();
    }
}

#[test]
fn a_year_of_a_payer_who_pays_late_goes_down_and_up_the_whole_ladder() {
    let mut life = Life::new(World::used("0"), Some(1));
    life.live(21, 5);
    assert_eq!(life.events, [(20, Event::Down(Rung::Restrict))]);
    life.live(3, 5);
    assert_eq!(life.events.last(), Some(&(23, Event::Down(Rung::Lock))));
    life.pay("20");
    life.live(1, 5);
    assert_eq!(life.events.len(), 2, "20 are not enough for what was used on credit");
    life.pay("30");
    life.live(1, 5);
    assert_eq!(life.events.last(), Some(&(25, Event::Up)));
    // Nothing is paid any more.
    life.live(40, 5);
    let downs: Vec<_> = life.events[3..].to_vec();
    assert_eq!(
        downs.iter().map(|(_, event)| *event).collect::<Vec<_>>(),
        [Event::Down(Rung::Restrict), Event::Down(Rung::Lock), Event::Down(Rung::Stop)]
    );
    assert_eq!((downs[1].0 - downs[0].0, downs[2].0 - downs[0].0), (3, 10));
    life.live(240, 5);
    assert_eq!(life.events.len(), 6, "a stopped account stays as it is");
    life.pay("200");
    life.live(1, 5);
    assert_eq!(life.events.last().map(|(_, event)| *event), Some(Event::Up));
    life.live(59, 1);
    assert_eq!(life.events.len(), 7);
}

/// The calendar of docs/policy.md: runs every ten minutes from five past, mail that takes five.
#[test]
fn the_worked_calendar_of_the_documentation_holds() {
    let mut world = World::used("80.20");
    world.policy.quiet =
        Quiet { hours: Some((20 * 60, 7 * 60)), days: vec![chrono::Weekday::Sat, chrono::Weekday::Sun] };
    let mut life = Life::new(world, Some(0));
    let mut seen = Vec::new();
    let mut warned = Vec::new();
    let mut used = Money::ZERO;
    let mut now = at("2 10:05");
    while now < at("17 00:00") {
        life.world.now = now;
        if now == at("11 10:05") {
            used = eur("50");
        }
        let hours = i64::try_from(now.since(at("2 10:05")).as_secs() / 3_600).unwrap();
        life.world.used = eur("80.20").plus(Money::from_micros(hours * 5_000_000 / 24)).unwrap().minus(used).unwrap();
        if now == at("11 10:05") {
            life.world.noticed.clear();
        }
        let decision = life.run();
        match decision.outcome {
            Outcome::Restrict | Outcome::Lock | Outcome::Stop | Outcome::Restore => seen.push((now, decision.outcome)),
            Outcome::Wait if seen.is_empty() => seen.push((now, decision.outcome)),
            _ => {}
        }
        warned.extend(decision.notices.iter().filter_map(|notice| Some((now, notice.rung, notice.acts_at?))));
        now = now.plus(Duration::from_mins(10));
    }
    assert_eq!(
        seen[..4],
        [
            (at("6 10:05"), Outcome::Wait),
            (at("7 07:05"), Outcome::Restrict),
            (at("9 10:05"), Outcome::Lock),
            (at("11 10:05"), Outcome::Restore),
        ]
    );
    let (again, outcome) = seen[4];
    assert!(outcome == Outcome::Restrict && again > at("16 00:00") && again < at("17 00:00"), "{again}");
    assert_eq!(
        warned,
        [
            (at("7 07:15"), Rung::Lock, at("9 10:05")),
            (at("9 10:15"), Rung::Stop, at("16 10:05")),
            (again.plus(Duration::from_mins(10)), Rung::Lock, at("21 07:00")),
        ]
    );
}

#[test]
fn without_mail_nobody_is_locked_in_a_year() {
    let mut life = Life::new(World::used("0"), None);
    life.live(365, 5);
    assert_eq!(life.events, [(20, Event::Down(Rung::Restrict))]);
}

#[test]
fn small_payments_around_the_limit_bring_no_flapping_and_no_flood() {
    let mut life = Life::new(World::used("96"), Some(1));
    for _ in 0..60 {
        life.live(1, 5);
        life.pay("5");
    }
    let downs = life.events.iter().filter(|(_, event)| *event == Event::Down(Rung::Restrict)).count();
    assert!(downs <= 1, "{:?}", life.events);
    let warnings = life.notices.iter().filter(|(_, event)| event.starts_with("warning-")).count();
    assert!(warnings <= 2, "{:?}", life.notices);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn in_any_year_steps_come_one_by_one_each_after_its_days(
        payments in proptest::collection::vec((1_u64..40, 1_i64..60), 12),
        mail in proptest::option::of(0_u64..100),
        per_day in 1_i64..12,
    ) {
        let mut life = Life::new(World::used("0"), mail);
        for (days, amount) in payments {
            life.live(days, per_day);
            life.pay(&amount.to_string());
        }
        life.live(1, per_day);
        let mut present = Rung::None;
        let mut lifted: Option<i64> = None;
        for (day, event) in &life.events {
            match event {
                Event::Up => (present, lifted) = (Rung::None, Some(*day)),
                Event::Down(rung) => {
                    prop_assert!(*rung > present);
                    prop_assert!(*rung == Rung::Restrict || present != Rung::None, "each rung in its turn");
                    prop_assert!(lifted.is_none_or(|lifted| *day > lifted), "not on the day it was lifted");
                    prop_assert!(mail.is_some() || *rung == Rung::Restrict);
                    present = *rung;
                }
            }
        }
        // Whoever has enough at the end is free.
        let facts = life.world.facts();
        let enough = facts.figures.available >= super::super::opens_at(&life.world.policy, &facts);
        prop_assert!(!enough || life.world.hold.is_none());
    }
}
