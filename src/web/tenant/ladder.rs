//! The ladder as a tenant sees it: what happens when, which of it is reached, and what comes next. Only what is armed for the
//! account is told: a rehearsed step is no threat.

use rust_decimal::Decimal;

use crate::{
    ledger::rules::Share,
    money::Currency,
    policy::{Policy, Rung, rules::Rule},
    web::words::overview as text,
};

/// A line of the ladder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) when: String,
    pub(super) what: &'static str,
    pub(super) reached: bool,
    /// Whether something is taken, beside a notice.
    pub(super) takes: bool,
}

/// A threshold on the gauge.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) percent: u32,
    pub(super) reached: bool,
    /// Whether something is taken there, beside a notice.
    pub(super) takes: bool,
}

/// What stands on the page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ladder {
    pub(super) steps: Vec<Step>,
    pub(super) marks: Vec<Mark>,
    /// The next step, as a sentence.
    pub(super) next: Option<String>,
}

/// What the steps are measured against.
pub(super) struct Present {
    pub(super) share: Share,
    /// The step that the account stands on.
    pub(super) rung: Rung,
}

impl Ladder {
    /// Of a policy, as far as `armed` says; `present` tells what is reached.
    pub(super) fn of(policy: &Policy, armed: impl Fn(Rung) -> bool, present: &Present, currency: &Currency) -> Self {
        let used = present.share.for_thresholds();
        let is_reached = |percent: u32| Decimal::from(percent) <= used;
        let mut steps = Vec::new();
        let mut marks: Vec<Mark> = Vec::new();
        if armed(Rung::Notify) {
            for &percent in &policy.notify_percent {
                let reached = is_reached(percent);
                steps.push(Step {
                    when: text::at_percent(percent),
                    what: text::step(Rung::Notify),
                    reached,
                    takes: false,
                });
                marks.push(Mark { percent, reached, takes: false });
            }
        }
        for rung in Rung::ACTING {
            let Some(rule) = policy.rule(rung).filter(|rule| rule.enabled && armed(rung)) else { continue };
            steps.push(Step {
                when: when(rule, currency),
                what: text::step(rung),
                reached: present.rung >= rung,
                takes: true,
            });
            if let Some(percent) = rule.percent {
                match marks.iter_mut().find(|mark| mark.percent == percent) {
                    Some(mark) => mark.takes = true,
                    None => marks.push(Mark { percent, reached: is_reached(percent), takes: true }),
                }
            }
        }
        marks.retain(|mark| mark.percent <= 100);
        marks.sort_by_key(|mark| mark.percent);
        let next = steps.iter().find(|step| !step.reached).map(|step| text::next(&step.when, step.what));
        Self { steps, marks, next }
    }

    /// Whether a step is the next one.
    pub(super) fn is_next(&self, step: &Step) -> bool {
        self.steps.iter().find(|other| !other.reached) == Some(step)
    }
}

/// The thresholds of a rule, and for how long.
fn when(rule: &Rule, currency: &Currency) -> String {
    let thresholds: Vec<String> = [
        rule.percent.map(text::at_percent),
        rule.available.map(|amount| text::at_available(&currency.format(amount))),
        rule.days_left.map(text::at_days),
    ]
    .into_iter()
    .flatten()
    .collect();
    text::after(&thresholds.join(" / "), rule.delay.as_secs() / 3_600)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn policy() -> Policy {
        let rule = |days: u64| Rule {
            enabled: true,
            percent: Some(100),
            available: None,
            days_left: None,
            delay: Duration::from_hours(days * 24),
        };
        Policy { notify_percent: vec![80, 100], restrict: rule(0), lock: rule(3), stop: rule(10), ..Policy::nothing() }
    }

    fn ladder(percent: i64, rung: Rung, armed: impl Fn(Rung) -> bool) -> Ladder {
        let present = Present { share: Share::Percent(percent.into()), rung };
        Ladder::of(&policy(), armed, &present, &Currency::from_code("EUR").unwrap())
    }

    #[test]
    fn the_next_step_is_the_first_that_is_not_reached() {
        let next = |percent, rung| ladder(percent, rung, |_| true).next.unwrap_or_default();
        assert_eq!(next(10, Rung::None), "Next, at 80 % used: you get a notice.");
        assert!(next(80, Rung::None).starts_with("Next, at 100 % used: you get a notice"));
        assert!(next(104, Rung::None).contains("nothing new can be made"));
        assert!(next(104, Rung::Restrict).starts_with("Next, at 100 % used, for 3 days: the account is locked"));
        assert_eq!(next(104, Rung::Stop), "");
    }

    #[test]
    fn what_is_not_armed_is_not_told() {
        let none = ladder(104, Rung::None, |_| false);
        assert_eq!(none, Ladder::default());
        let notices = ladder(104, Rung::None, |rung| rung == Rung::Notify);
        assert_eq!(notices.steps.len(), 2);
        assert_eq!(notices.next, None);
    }

    #[test]
    fn a_mark_that_takes_something_is_told_from_a_notice() {
        let marks = ladder(85, Rung::None, |_| true).marks;
        let seen: Vec<_> = marks.iter().map(|mark| (mark.percent, mark.reached, mark.takes)).collect();
        assert_eq!(seen, [(80, true, false), (100, false, true)]);
    }
}
