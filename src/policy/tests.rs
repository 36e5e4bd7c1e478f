//! The ladder against the clock, as properties, through a year, and in the words of the tenant.

mod clock;
mod personal;
mod properties;
mod words;
mod year;

use std::{collections::BTreeSet, time::Duration};

use super::{
    ArmedRungs, BillingHold, Block, CreditLimit, Decision, Exemption, Facts, OnDrift, Policy, Quiet, Reached, Rule,
    Rung, Warning, Warnings, decide, notices::warning_event,
};
use crate::{
    ledger::rules::{Figures, Position, days_left},
    money::{Currency, Money},
    time::Timestamp,
};

fn eur(text: &str) -> Money {
    Money::parse(text).unwrap()
}

fn days(days: u64) -> Duration {
    Duration::from_hours(days * 24)
}

/// "3 07:59:59": day 0 is Monday, 5 January 2026, in UTC.
fn at(text: &str) -> Timestamp {
    let (day, time) = text.split_once(' ').unwrap();
    let mut parts = time.split(':').map(|part| part.parse::<i64>().unwrap());
    let (hours, minutes, seconds) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or(0));
    Timestamp::from_seconds(
        1_767_571_200 + day.parse::<i64>().unwrap() * 86_400 + hours * 3_600 + minutes * 60 + seconds,
    )
}

/// The defaults of config/bursar.toml.
fn policy() -> Policy {
    let rule = |after| Rule { enabled: true, percent: Some(100), available: None, days_left: None, delay: days(after) };
    Policy {
        notify_percent: vec![50, 80, 90, 100],
        notify_available: Vec::new(),
        notify_days_left: vec![7, 2],
        restrict: rule(0),
        lock: rule(3),
        stop: rule(10),
        delete_after: None,
        warning_before: Duration::from_hours(48),
        quiet: Quiet::default(),
        restore_minimum: eur("1"),
        respite: Duration::from_hours(24),
        on_drift: OnDrift::Leave,
        zone: None,
    }
}

/// Everything that a decision is about, to be changed row by row.
#[derive(Debug, Clone)]
struct World {
    policy: Policy,
    now: Timestamp,
    currency: Currency,
    zone: chrono_tz::Tz,
    state: &'static str,
    protected: Option<&'static str>,
    credit_limit: CreditLimit,
    in_scope: bool,
    limit: Option<Money>,
    used: Money,
    per_day: Money,
    reached: Reached,
    hold: Option<BillingHold>,
    other_hold: bool,
    lifted: Option<Timestamp>,
    noticed: BTreeSet<String>,
    warned: Warnings,
    exemption: Option<Exemption>,
    armed: ArmedRungs,
    blocks: Vec<Block>,
}

impl World {
    /// An enabled, managed account with a limit of 100, of which so much is used, at 5 a day.
    fn used(used: &str) -> Self {
        Self {
            policy: policy(),
            now: at("0 12:00"),
            currency: Currency::from_code("EUR").unwrap(),
            zone: chrono_tz::UTC,
            state: "enabled",
            protected: None,
            credit_limit: CreditLimit::Applies,
            in_scope: true,
            limit: Some(eur("100")),
            used: eur(used),
            per_day: eur("5"),
            reached: Reached::default(),
            hold: None,
            other_hold: false,
            lifted: None,
            noticed: BTreeSet::new(),
            warned: Warnings::default(),
            exemption: None,
            armed: ArmedRungs::ALL,
            blocks: Vec::new(),
        }
    }

    /// Over the limit since an instant: every rule has been reached since then.
    fn over_since(since: &str) -> Self {
        let since = Some(at(since));
        Self { reached: Reached { restrict: since, lock: since, stop: since }, ..Self::used("104.20") }
    }

    fn held(mut self, rung: Rung, since: &str) -> Self {
        self.hold = Some(BillingHold { rung, since: at(since) });
        self.state = match rung {
            Rung::Lock => "locked",
            Rung::Stop => "disabled",
            _ => "enabled",
        };
        self
    }

    /// Warned of a rung for the present reaching of its rule: when it arrived, and the date it named.
    fn warned(mut self, rung: Rung, arrived: Option<&str>, named: &str) -> Self {
        let since = self.reached.get(rung).unwrap().max(self.lifted.unwrap_or_default());
        let event = warning_event(rung, since);
        let given = arrived.map_or(since, at);
        self.warned.set(rung, Warning { event, given, arrived: arrived.map(at), named: at(named), no_address: false });
        self
    }

    fn position(&self) -> Position {
        Position {
            limit: self.limit,
            money: self.used.negated().unwrap(),
            epoch_available: self.limit,
            ..Position::default()
        }
    }

    fn facts(&self) -> Facts<'_> {
        let figures = Figures::of(&self.position(), self.now).unwrap();
        Facts {
            now: self.now,
            currency: &self.currency,
            zone: self.zone,
            state: self.state,
            protected: self.protected,
            credit_limit: self.credit_limit,
            in_scope: self.in_scope,
            figures,
            per_day: self.per_day,
            days_left: days_left(figures.available, self.per_day),
            reached: self.reached,
            billing_hold: self.hold,
            other_hold: self.other_hold,
            lifted: self.lifted,
            noticed: &self.noticed,
            warned: &self.warned,
            // As the store gives it: one that has ended holds no longer.
            exemption: self.exemption.as_ref().filter(|exemption| self.now < exemption.until),
            armed: self.armed,
            blocks: &self.blocks,
        }
    }

    fn decide(&self) -> Decision {
        decide(&self.policy, &self.facts())
    }

    fn decide_at(&self, now: &str) -> Decision {
        Self { now: at(now), ..self.clone() }.decide()
    }
}

fn exemption(until: &str, no_notices: bool) -> Exemption {
    Exemption { until: at(until), no_notices, author: "alice".to_owned(), reason: "a migration".to_owned() }
}
