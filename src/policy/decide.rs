//! The ladder (design 2.4) as one function: from a policy and the facts about an account to a decision.
//!
//! The order of the questions: is something of ours standing, and may it be given back; may the account be touched at all; which
//! step comes next, was it warned of, has its date come, and does anything hold it back.

use std::time::Duration;

use super::{
    amounts::{self, percent_is_used},
    block::Block,
    decision::{Decision, NextStep, NoticeWanted, Outcome, Reason, Rung},
    facts::{BillingHold, CreditLimit, Facts, Reached, Warning},
    notices,
    rules::{OnDrift, Policy},
    sentences,
};
use crate::{ledger::rules::Share, time::Timestamp};

/// A warning counts for so long after the date that it names. A step that did not come by then (disarmed, left alone, a plan that
/// nobody approved) is warned of anew, with a date that lies ahead: nobody is locked on a warning of months ago.
pub const WARNING_COUNTS_FOR: Duration = Duration::from_hours(7 * 24);

/// Decides what to do with one account.
pub fn decide(policy: &Policy, facts: &Facts<'_>) -> Decision {
    let ladder = Ladder { policy, facts, reached: reached(policy, facts) };
    match facts.billing_hold {
        Some(hold) => ladder.suspended(hold),
        None => ladder.free(),
    }
}

/// Since when each rule has been reached, as of now. A count goes on until enough is available to be free of the rule again
/// (see [`amounts::free_of`]), so that a cent does not start it anew; it keeps the instant that was stored, also where the clock
/// went back behind it, and none begins while the clock is known to be wrong.
fn reached(policy: &Policy, facts: &Facts<'_>) -> Reached {
    let clock_is_wrong = facts.blocks.contains(&Block::ClockJumped);
    let mut reached = Reached::default();
    // Without a limit nobody is over it: the days begin with the limit at the earliest.
    if !facts.is_managed() {
        return reached;
    }
    for rung in Rung::ACTING {
        let Some(rule) = policy.rule(rung).filter(|rule| rule.enabled) else { continue };
        let stored = facts.reached.get(rung);
        let since = if rule.is_reached(facts) {
            stored.or((!clock_is_wrong).then_some(facts.now))
        } else {
            stored.filter(|_| facts.figures.available < amounts::free_of(policy, rule, facts))
        };
        reached.set(rung, since);
    }
    reached
}

/// The step that comes next.
struct Step<'w> {
    /// The rung whose rule is reached.
    rung: Rung,
    /// The rung that this step leads to: stop passes lock.
    to: Rung,
    /// What its delay counts from.
    since: Timestamp,
    /// The warning that was given of it.
    warning: Option<&'w Warning>,
}

struct Ladder<'a> {
    policy: &'a Policy,
    facts: &'a Facts<'a>,
    reached: Reached,
}

impl<'a> Ladder<'a> {
    fn keep(&self, rung: Rung, reason: Reason) -> Decision {
        Decision {
            outcome: Outcome::Keep,
            rung,
            reason,
            sentence: sentences::standing(self.policy, self.facts, reason),
            notices: Vec::new(),
            reached: self.reached,
            waits_for: Vec::new(),
            next: None,
        }
    }

    /// An account of which bursar holds nothing.
    fn free(&self) -> Decision {
        let facts = self.facts;
        if let Some(why) = facts.protected {
            return Decision { sentence: sentences::protected(why), ..self.keep(Rung::None, Reason::Protected) };
        }
        if !facts.in_scope {
            return self.keep(Rung::None, Reason::OutOfScope);
        }
        if !facts.is_managed() {
            return self.keep(Rung::None, Reason::NotManaged);
        }
        if facts.state != "enabled" || facts.other_hold {
            return self.keep(Rung::None, Reason::SuspendedByOthers);
        }
        match self.next_step(Rung::None) {
            Some(step) => self.take(&step, Rung::Notify),
            None => self.within(),
        }
    }

    /// No rule of the ladder is reached, or none counts yet: notices at most.
    fn within(&self) -> Decision {
        let notices = self.threshold_notices();
        let counts_not_yet = |rung| {
            let is_reached = self.policy.rule(rung).is_some_and(|rule| rule.enabled && rule.is_reached(self.facts));
            self.facts.is_managed() && is_reached && self.reached.get(rung).is_none()
        };
        if Rung::ACTING.into_iter().any(counts_not_yet) {
            return Decision {
                outcome: Outcome::Wait,
                sentence: sentences::held_back(self.policy, self.facts, Rung::Notify),
                notices,
                waits_for: vec![format!("the days are not counted yet: {}", Block::ClockJumped.explain())],
                ..self.keep(Rung::Notify, Reason::HeldBack)
            };
        }
        let used_up = percent_is_used(&self.facts.figures, 100);
        let (rung, reason) =
            if used_up { (Rung::Notify, Reason::StepsAreOff) } else { (Rung::None, Reason::WithinLimit) };
        if notices.is_empty() {
            return self.keep(rung, reason);
        }
        let sentence = notices.iter().map(|notice| notice.sentence.clone()).collect::<Vec<_>>().join(" ");
        let reason = if used_up { reason } else { Reason::Threshold };
        Decision { outcome: Outcome::Warn, sentence, notices, ..self.keep(Rung::Notify, reason) }
    }

    /// An account that bursar restricted, locked or stopped.
    fn suspended(&self, hold: BillingHold) -> Decision {
        let facts = self.facts;
        if hold.rung >= Rung::Lock && facts.state == "enabled" {
            return self.enabled_by_others(hold);
        }
        if amounts::is_to_open(self.policy, facts) {
            if facts.other_hold {
                return self.keep(hold.rung, Reason::OtherHold);
            }
            let reason =
                if facts.credit_limit == CreditLimit::Removed { Reason::NotManaged } else { Reason::EnoughAgain };
            return Decision {
                outcome: Outcome::Restore,
                sentence: sentences::restored(facts, hold.rung),
                ..self.keep(Rung::None, reason)
            };
        }
        let still = || Decision {
            sentence: sentences::still(self.policy, facts, hold.rung),
            ..self.keep(hold.rung, Reason::StillOver)
        };
        if hold.rung == Rung::Restrict && facts.state != "enabled" {
            return self.keep(hold.rung, Reason::SuspendedByOthers);
        }
        if !self.may_go_down() || (hold.rung == Rung::Lock && facts.state != "locked") {
            return still();
        }
        if let Some(step) = self.next_step(hold.rung) {
            return self.take(&step, hold.rung);
        }
        if hold.rung == Rung::Stop
            && self.reached.stop.is_some()
            && self.policy.delete_after.is_some_and(|after| hold.since.plus(after) <= facts.now)
            && facts.blocks.is_empty()
            && facts.exemption.is_none()
        {
            return Decision { outcome: Outcome::ProposeDeletion, reason: Reason::StoppedForLong, ..still() };
        }
        still()
    }

    /// Somebody enabled the account while bursar's suspension stands: shown, or taken down again to the rung that stands, with
    /// everything that guards a first step, a warning of this time over the rule included.
    fn enabled_by_others(&self, hold: BillingHold) -> Decision {
        let rule_is_reached =
            self.policy.rule(hold.rung).is_some_and(|rule| rule.enabled && rule.is_reached(self.facts));
        let shown = || self.keep(Rung::None, Reason::EnabledByOthers);
        if self.policy.on_drift == OnDrift::Leave || !rule_is_reached || !self.may_go_down() {
            return shown();
        }
        // Where the clock is known to be wrong no count has begun.
        let Some(step) = self.step(hold.rung, hold.rung) else { return shown() };
        let decision = self.take(&step, Rung::None);
        if decision.outcome.step_down().is_some() {
            return Decision { reason: Reason::SuspendedAgain, ..decision };
        }
        decision
    }

    fn may_go_down(&self) -> bool {
        let facts = self.facts;
        facts.protected.is_none() && facts.in_scope && facts.is_managed() && !facts.other_hold
    }

    /// The lowest rung above the present one that is among the steps and whose rule is reached.
    fn next_step(&self, present: Rung) -> Option<Step<'a>> {
        let above = || {
            Rung::ACTING
                .into_iter()
                .filter(move |rung| *rung > present)
                .filter(|rung| self.policy.rule(*rung).is_some_and(|rule| rule.enabled))
        };
        let armed = self.facts.armed;
        above()
            // A rung that is only rehearsed never comes about, so it must not stand in the way of one that is armed.
            .filter(|rung| armed.has(*rung) || !above().any(|higher| higher > *rung && armed.has(higher)))
            .find(|rung| self.policy.rule(*rung).is_some_and(|rule| rule.is_reached(self.facts)))
            .and_then(|rung| {
                // Where the lock alone is armed, the lock on the way to a stop that is merely rehearsed would be taken in earnest, on a
                // warning that nobody got.
                let is_rehearsed = armed.has(Rung::Lock) && !armed.has(Rung::Stop);
                let passes_lock = rung == Rung::Stop && present < Rung::Lock && !is_rehearsed;
                let to = if passes_lock { Rung::Lock } else { rung };
                self.step(rung, to)
            })
    }

    /// A step to be taken for a rung whose rule is reached, with the warning that was given of it.
    fn step(&self, rung: Rung, to: Rung) -> Option<Step<'a>> {
        // The days begin anew when a suspension was lifted: the same charges do not renew it at once.
        let since = self.reached.get(rung)?.max(self.facts.lifted.unwrap_or_default());
        let event = notices::warning_event(rung, since);
        let warning =
            self.facts.warned.get(rung).filter(|warning| warning.event == event && self.counts(rung, warning));
        Some(Step { rung, to, since, warning })
    }

    /// Whether a warning still counts: not long after its date. It is not renewed while nothing would come of it: where the step
    /// waits for its arrival or for better data, or is only rehearsed.
    fn counts(&self, rung: Rung, warning: &Warning) -> bool {
        self.facts.now <= warning.named.plus(WARNING_COUNTS_FOR)
            || (rung.wants_warning() && warning.arrived.is_none())
            || !self.facts.blocks.is_empty()
            || !self.facts.armed.has(rung)
    }

    /// Takes the next step, warns of it, or says what it waits for.
    fn take(&self, step: &Step<'_>, present: Rung) -> Decision {
        let Some(rule) = self.policy.rule(step.rung) else { return self.keep(present, Reason::StillOver) };
        let facts = self.facts;
        let delayed = step.since.plus(rule.delay);
        let at_once = step.rung == Rung::Restrict && rule.delay.is_zero();
        let Some(warning) = step.warning.filter(|_| !at_once) else {
            if at_once || (step.rung == Rung::Restrict && self.no_notices()) {
                let notices = if present == Rung::Notify { self.threshold_notices() } else { Vec::new() };
                return Decision { notices, ..self.when_due(step, present, delayed) };
            }
            return self.warn(step, present, delayed);
        };
        let due = warning.named.max(delayed);
        if !step.rung.wants_warning() {
            return self.when_due(step, present, due);
        }
        let Some(arrived) = warning.arrived else {
            if facts.now < due {
                return self.not_yet(step, present, due);
            }
            let (reason, why) = if warning.no_address {
                (Reason::NoAddress, "nobody has a usable address to which the warning could go".to_owned())
            } else {
                let given = warning.given.display_in(facts.zone);
                (Reason::WarningNotArrived, format!("the warning of {given} has not arrived yet"))
            };
            return Decision { reason, waits_for: vec![why], ..self.wait(step, present) };
        };
        self.when_due(step, present, due.max(arrived.plus(self.policy.warning_before)))
    }

    /// A step whose warnings are in order, at its instant or before.
    fn when_due(&self, step: &Step<'_>, present: Rung, due: Timestamp) -> Decision {
        if self.facts.now < due {
            return self.not_yet(step, present, due);
        }
        if let Some(wait) = self.hindered() {
            return wait(self.wait(step, present));
        }
        let reason = match step.to {
            Rung::Restrict => Reason::RestrictDateReached,
            Rung::Stop => Reason::StopDateReached,
            _ => Reason::LockDateReached,
        };
        Decision {
            outcome: Outcome::of_step(step.to),
            sentence: sentences::stepped_down(self.policy, self.facts, step.to),
            next: Some(NextStep { rung: step.to, at: self.facts.now }),
            ..self.keep(step.to, reason)
        }
    }

    fn wait(&self, step: &Step<'_>, present: Rung) -> Decision {
        Decision {
            outcome: Outcome::Wait,
            sentence: sentences::held_back(self.policy, self.facts, present),
            next: Some(NextStep { rung: step.to, at: self.facts.now }),
            ..self.keep(present, Reason::HeldBack)
        }
    }

    /// The step has its date, which has not come.
    fn not_yet(&self, step: &Step<'_>, present: Rung, at: Timestamp) -> Decision {
        Decision {
            sentence: sentences::warning(self.policy, self.facts, step.rung, at),
            next: Some(NextStep { rung: step.to, at }),
            ..self.keep(present, is_due(step.rung))
        }
    }

    /// Warns of a step, with a date that is neither too early nor in quiet hours. The step comes at that date and never before.
    fn warn(&self, step: &Step<'_>, present: Rung, delayed: Timestamp) -> Decision {
        let facts = self.facts;
        if facts.blocks.contains(&Block::ClockJumped) {
            let why = vec![format!("no date is named: {}", Block::ClockJumped.explain())];
            return Decision { waits_for: why, ..self.wait(step, present) };
        }
        let warned_at_least =
            if step.rung.wants_warning() { facts.now.plus(self.policy.warning_before) } else { facts.now };
        let after_respite = facts.lifted.map_or(delayed, |lifted| lifted.plus(self.policy.respite));
        let after_exemption = facts.exemption.map_or(delayed, |exemption| exemption.until);
        let earliest = delayed.max(warned_at_least).max(after_respite).max(after_exemption);
        let at = self.policy.quiet.next_open(earliest, facts.zone);
        let next = Some(NextStep { rung: step.to, at });
        let sentence = sentences::warning(self.policy, facts, step.rung, at);
        if self.no_notices() {
            let why = vec!["notices are held back too, so it is not warned of yet".to_owned()];
            return Decision { sentence, next, waits_for: why, ..self.keep(present, Reason::Exempt) };
        }
        let notices = vec![NoticeWanted {
            // Named after the time since which the rule is reached: coming back to it is warned of anew, also within one epoch.
            event: notices::warning_event(step.rung, step.since),
            sentence: sentence.clone(),
            acts_at: Some(at),
            rung: step.rung,
        }];
        Decision { outcome: Outcome::Warn, sentence, notices, next, ..self.keep(present, is_due(step.rung)) }
    }

    fn threshold_notices(&self) -> Vec<NoticeWanted> {
        if self.no_notices() { Vec::new() } else { notices::thresholds(self.policy, self.facts) }
    }

    fn no_notices(&self) -> bool {
        self.facts.exemption.is_some_and(|exemption| exemption.no_notices)
    }

    /// What holds back a step that is due, if anything does: every reason in words, the weightiest as the word.
    fn hindered(&self) -> Option<impl FnOnce(Decision) -> Decision + use<>> {
        let (facts, policy) = (self.facts, self.policy);
        let mut found: Vec<(Reason, String)> =
            facts.blocks.iter().map(|block| (Reason::HeldBack, block.explain())).collect();
        if let Some(exemption) = facts.exemption {
            let until = exemption.until.display_in(facts.zone);
            let why = format!("to be left alone until {until}, says {}: {}", exemption.author, exemption.reason);
            found.push((Reason::Exempt, why));
        }
        if let Some(until) = facts.lifted.map(|lifted| lifted.plus(policy.respite)).filter(|until| facts.now < *until) {
            let until = until.display_in(facts.zone);
            found.push((Reason::Respite, format!("a suspension was lifted; no step before {until}")));
        }
        if policy.quiet.is_quiet(facts.now, facts.zone) {
            let until = policy.quiet.next_open(facts.now, facts.zone).display_in(facts.zone);
            found.push((Reason::QuietHours, format!("quiet hours until {until}")));
        }
        let reason = found.first().map(|(reason, _)| *reason)?;
        let waits_for = found.into_iter().map(|(_, why)| why).collect();
        Some(move |decision| Decision { outcome: Outcome::Wait, reason, waits_for, ..decision })
    }
}

const fn is_due(rung: Rung) -> Reason {
    match rung {
        Rung::Restrict => Reason::RestrictIsDue,
        Rung::Stop => Reason::StopIsDue,
        Rung::Lock | Rung::None | Rung::Notify => Reason::LockIsDue,
    }
}

/// Used ÷ Total in words: "83.5 %" or "no credit".
pub fn share_words(share: Share) -> String {
    match share {
        Share::Percent(percent) => format!("{} %", percent.normalize()),
        Share::NoCreditUnused | Share::NoCreditUsed => "no credit".to_owned(),
    }
}
