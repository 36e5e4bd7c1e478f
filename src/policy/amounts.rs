//! When a rule is reached, and the amounts behind it: what must be available so that it is not.

use std::time::Duration;

use super::{
    decision::Rung,
    facts::{CreditLimit, Facts},
    rules::{Policy, Rule},
};
use crate::{
    ledger::rules::Figures,
    money::{Currency, Money},
    time::Timestamp,
};

/// A whole, in percent.
const WHOLE: i128 = 100;
const DAY_MS: u128 = 86_400_000;

fn money(micros: i128) -> Money {
    Money::from_micros(i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX }))
}

/// Whether so many percent are used. Exact, unlike the percentage that people read. With no credit the first charge counts
/// as 100 %.
pub(super) fn percent_is_used(figures: &Figures, percent: u32) -> bool {
    if figures.total.is_positive() {
        i128::from(figures.used.as_micros()) * WHOLE >= i128::from(figures.total.as_micros()) * i128::from(percent)
    } else {
        figures.available.is_negative() && i128::from(percent) <= WHOLE
    }
}

impl Rule {
    /// Whether any of the thresholds is reached.
    pub(super) fn is_reached(&self, facts: &Facts<'_>) -> bool {
        self.percent.is_some_and(|percent| percent_is_used(&facts.figures, percent))
            || self.available.is_some_and(|amount| facts.figures.available <= amount)
            || self.days_left.is_some_and(|days| facts.days_left.is_some_and(|left| left <= days))
    }

    /// Whether it is reached only where nothing is available any more.
    pub(super) fn wants_credit_used_up(&self) -> bool {
        self.percent.is_none_or(|percent| percent >= 100)
            && self.available.is_none_or(|amount| !amount.is_positive())
            && self.days_left.is_none()
    }

    /// What must be available at least so that no threshold is reached, as things stand.
    fn clears_at(&self, facts: &Facts<'_>) -> Money {
        let by_percent = self.percent.map(|percent| {
            let total = i128::from(facts.figures.total.as_micros());
            if total > 0 {
                // Available × 100 must be more than Total × (100 − percent).
                money((total * (WHOLE - i128::from(percent))).div_euclid(WHOLE) + 1)
            } else {
                Money::ZERO
            }
        });
        let by_amount = self.available.map(|amount| money(i128::from(amount.as_micros()) + 1));
        let by_days = self
            .days_left
            .filter(|_| facts.per_day.is_positive())
            .map(|days| money(i128::from(facts.per_day.as_micros()) * (i128::from(days) + 1)));
        [by_percent, by_amount, by_days].into_iter().flatten().max().unwrap_or(Money::from_micros(i64::MIN))
    }
}

/// The rungs whose rules these figures reach, by percent and amount, with their delays: what a preview can tell without knowing how
/// many days are left.
pub fn reached_by(policy: &Policy, figures: &Figures) -> Vec<(Rung, Duration)> {
    Rung::ACTING
        .into_iter()
        .filter_map(|rung| Some((rung, policy.rule(rung)?)))
        .filter(|(_, rule)| {
            rule.enabled
                && (rule.percent.is_some_and(|percent| percent_is_used(figures, percent))
                    || rule.available.is_some_and(|amount| figures.available <= amount))
        })
        .map(|(rung, rule)| (rung, rule.delay))
        .collect()
}

/// What must be available before a payer counts as free of a rule again: the larger of the configured amount, one day at the
/// present rate (design 7.8), and what the rule itself asks for. So a cent does not open what the next hour locks.
pub(super) fn free_of(policy: &Policy, rule: &Rule, facts: &Facts<'_>) -> Money {
    policy.restore_minimum.max(facts.per_day).max(rule.clears_at(facts))
}

/// What must be available before an account gets back what was taken: enough for every rule of the ladder.
pub fn opens_at(policy: &Policy, facts: &Facts<'_>) -> Money {
    Rung::ACTING
        .into_iter()
        .filter_map(|rung| policy.rule(rung))
        .filter(|rule| rule.enabled)
        .map(|rule| free_of(policy, rule, facts))
        .max()
        .unwrap_or_else(|| policy.restore_minimum.max(facts.per_day))
}

/// Whether what was taken is to be given back: enough is available, or somebody took the limit away that was used up.
pub fn is_to_open(policy: &Policy, facts: &Facts<'_>) -> bool {
    facts.credit_limit == CreditLimit::Removed || facts.figures.available >= opens_at(policy, facts)
}

/// What to pay so that the next step does not come, or the present one is lifted; zero where none is in sight. Rounded up to
/// what can be paid.
pub fn to_avoid(policy: &Policy, facts: &Facts<'_>) -> Money {
    let reached = Rung::ACTING
        .into_iter()
        .filter_map(|rung| policy.rule(rung))
        .any(|rule| facts.is_managed() && rule.enabled && rule.is_reached(facts));
    if reached || (facts.billing_hold.is_some() && facts.credit_limit != CreditLimit::Removed) {
        to_pay(policy, facts)
    } else {
        Money::ZERO
    }
}

/// What is missing until the account opens, rounded up to what can be paid.
pub(super) fn to_pay(policy: &Policy, facts: &Facts<'_>) -> Money {
    let missing = i128::from(opens_at(policy, facts).as_micros()) - i128::from(facts.figures.available.as_micros());
    round_up(money(missing.max(0)), facts.currency)
}

/// What to pay before an instant so that the account is free of every rule then: what is missing now, and what is used until
/// then at the present rate, a day begun counting as a whole one. Rounded up to what can be paid.
pub(super) fn to_pay_before(policy: &Policy, facts: &Facts<'_>, at: Timestamp) -> Money {
    let days = i128::try_from(at.since(facts.now).as_millis().div_ceil(DAY_MS)).unwrap_or(i128::MAX);
    let used_until_then = i128::from(facts.per_day.as_micros()).max(0).saturating_mul(days);
    let missing = i128::from(opens_at(policy, facts).as_micros()) - i128::from(facts.figures.available.as_micros());
    round_up(money(missing.saturating_add(used_until_then).max(0)), facts.currency)
}

/// Up to the currency's minor unit.
pub(super) fn round_up(amount: Money, currency: &Currency) -> Money {
    let unit = 10_i128.pow(6_u32.saturating_sub(currency.decimals()));
    let micros = i128::from(amount.as_micros());
    money((micros + unit - 1).div_euclid(unit) * unit)
}
