//! The ladder (design 2.4) as one function.

use std::{collections::BTreeSet, time::Duration};

use rust_decimal::Decimal;

use super::sentences;
use crate::{
    ledger::rules::{Figures, Share},
    money::{Currency, Money},
    time::Timestamp,
};

/// Thresholds and delays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Percent used at which a notice is given, ascending. 100 is always among them.
    pub notify_percent: Vec<u32>,
    /// Days left at the present rate at which a notice is given.
    pub notify_days_left: Vec<i64>,
    /// Whether accounts are locked at all.
    pub lock_enabled: bool,
    /// How long after reaching 100 % an account is locked.
    pub lock_after: Duration,
    /// How long before a lock its warning must have been given.
    pub warning_before: Duration,
    /// What must be available for a restore, at least; or one day at the present rate, if that is more.
    pub restore_minimum: Money,
}

/// Why no step downwards is taken for anybody, or for one payer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Usage is older than two ranges of the usage job plus the grace: the newest closed window ended then.
    StaleUsage {
        /// End of the newest closed window.
        until: Option<Timestamp>,
    },
    /// The clock went backwards or leapt.
    ClockJumped,
    /// CloudStack's quota plugin enforces too and would fight over the same accounts.
    QuotaPluginEnforces,
    /// Rows that may over-charge this payer wait for a person.
    Quarantine {
        /// How many.
        records: i64,
    },
    /// An administrator paused enforcement.
    Paused,
}

impl Block {
    /// In words for administrators.
    pub fn explain(&self) -> String {
        match self {
            Self::StaleUsage { until: Some(until) } => {
                format!("usage is only known up to {until}; is CloudStack's usage job running? (`bursar check` tells)")
            }
            Self::StaleUsage { until: None } => "no usage window has been fetched yet; run `bursar sync`".to_owned(),
            Self::ClockJumped => "the clock jumped since the last run; waiting for one quiet run".to_owned(),
            Self::QuotaPluginEnforces => {
                "CloudStack's quota plugin enforces too; turn quota.enable.enforcement off first".to_owned()
            }
            Self::Quarantine { records } => {
                format!("{records} usage records that may be charged twice wait for a person (`bursar review`)")
            }
            Self::Paused => "enforcement is paused (`bursar enforce resume` goes on)".to_owned(),
        }
    }
}

/// What is known of an account and its payer at an instant.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each fact may hold without the others")]
pub struct Facts<'a> {
    /// Now.
    pub now: Timestamp,
    /// The cloud's currency.
    pub currency: &'a Currency,
    /// The zone in which the tenant reads dates.
    pub zone: chrono_tz::Tz,
    /// CloudStack's state of the account: enabled, locked, disabled.
    pub state: &'a str,
    /// Why the account is never touched, if so.
    pub protected: Option<&'a str>,
    /// Whether a limit or a default applies.
    pub managed: bool,
    /// Whether its domain is in scope.
    pub in_scope: bool,
    /// The payer's figures.
    pub figures: Figures,
    /// What the payer burns a day.
    pub per_day: Money,
    /// Whole days until Available is used up.
    pub days_left: Option<i64>,
    /// Since when the payer has been at 100 % or above.
    pub over_since: Option<Timestamp>,
    /// Whether bursar suspended the account and has not lifted it.
    pub billing_hold: bool,
    /// Whether somebody else wants it suspended.
    pub other_hold: bool,
    /// The events noticed in this epoch.
    pub noticed: &'a BTreeSet<String>,
    /// The standing warning of a lock: when it was given, and the date it named.
    pub warned: Option<(Timestamp, Timestamp)>,
    /// Why nobody, or not this payer, may be taken a step down.
    pub blocks: &'a [Block],
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Keep,
    /// Give notices.
    Warn,
    /// Lock the account.
    Lock,
    /// Enable it again.
    Restore,
    /// A step downwards is due and held back.
    Wait,
}

impl Outcome {
    /// As stored and shown.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Warn => "warn",
            Self::Lock => "lock",
            Self::Restore => "restore",
            Self::Wait => "wait",
        }
    }
}

/// Which step of the ladder the account stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// Free.
    None,
    /// A notice was or is given.
    Notify,
    /// Locked.
    Lock,
}

impl Rung {
    /// As stored and shown.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Notify => "notify",
            Self::Lock => "lock",
        }
    }
}

/// Why, as a word to search for; the sentence tells people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Enough is available.
    WithinLimit,
    /// No limit, class or default applies.
    NotManaged,
    /// Its domain is out of scope.
    OutOfScope,
    /// It is protected.
    Protected,
    /// Somebody else suspended it.
    SuspendedByOthers,
    /// Suspended for billing, and somebody else wants it suspended too.
    OtherHold,
    /// Suspended for billing, but somebody enabled it.
    EnabledByOthers,
    /// Still not enough available to open.
    StillOver,
    /// A threshold was reached.
    Threshold,
    /// At 100 % and the date of the lock has not come.
    LockIsDue,
    /// At 100 % and locking is off.
    LockIsOff,
    /// The date of the lock has come.
    LockDateReached,
    /// Enough is available again.
    EnoughAgain,
    /// A step downwards is due, but the data or an administrator says wait.
    HeldBack,
}

impl Reason {
    /// As stored and shown.
    pub const fn word(self) -> &'static str {
        match self {
            Self::WithinLimit => "within-limit",
            Self::NotManaged => "not-managed",
            Self::OutOfScope => "out-of-scope",
            Self::Protected => "protected",
            Self::SuspendedByOthers => "suspended-by-others",
            Self::OtherHold => "other-hold",
            Self::EnabledByOthers => "enabled-by-others",
            Self::StillOver => "still-over",
            Self::Threshold => "threshold",
            Self::LockIsDue => "lock-is-due",
            Self::LockIsOff => "lock-is-off",
            Self::LockDateReached => "lock-date-reached",
            Self::EnoughAgain => "enough-again",
            Self::HeldBack => "held-back",
        }
    }
}

/// A notice to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeWanted {
    /// `used-80`, `days-left-7`, `lock-warning`: once an epoch.
    pub event: String,
    /// For the tenant.
    pub sentence: String,
    /// The date it names, if it warns of something.
    pub acts_at: Option<Timestamp>,
}

/// What to do with an account, with the reason in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What.
    pub outcome: Outcome,
    /// The step of the ladder it stands on afterwards.
    pub rung: Rung,
    /// Why, as a word.
    pub reason: Reason,
    /// For the tenant.
    pub sentence: String,
    /// Notices to be given with it.
    pub notices: Vec<NoticeWanted>,
    /// Since when the payer has been at 100 % or above, as of now.
    pub over_since: Option<Timestamp>,
}

/// What must be available before a suspended account opens (design 7.8).
pub fn opens_at(policy: &Policy, per_day: Money) -> Money {
    policy.restore_minimum.max(per_day)
}

/// Decides what to do with one account.
pub fn decide(policy: &Policy, facts: &Facts<'_>) -> Decision {
    let percent = facts.figures.share().for_thresholds();
    let over = percent >= Decimal::ONE_HUNDRED;
    // Without a limit nobody is over it: the days until a lock begin with the limit at the earliest.
    let over_since = if over && facts.managed { Some(facts.over_since.unwrap_or(facts.now)) } else { None };
    let keep = |rung, reason| Decision {
        outcome: Outcome::Keep,
        rung,
        reason,
        sentence: sentences::standing(facts, reason),
        notices: Vec::new(),
        over_since,
    };

    if facts.billing_hold {
        return decide_suspended(policy, facts, &keep);
    }
    if let Some(why) = facts.protected {
        return Decision { sentence: sentences::protected(why), ..keep(Rung::None, Reason::Protected) };
    }
    if !facts.in_scope {
        return keep(Rung::None, Reason::OutOfScope);
    }
    if !facts.managed {
        return keep(Rung::None, Reason::NotManaged);
    }
    if facts.state != "enabled" || facts.other_hold {
        return keep(Rung::None, Reason::SuspendedByOthers);
    }
    if over { decide_over(policy, facts, over_since, &keep) } else { decide_within(policy, facts, percent, &keep) }
}

fn decide_suspended(policy: &Policy, facts: &Facts<'_>, keep: &dyn Fn(Rung, Reason) -> Decision) -> Decision {
    if facts.state == "enabled" {
        return keep(Rung::None, Reason::EnabledByOthers);
    }
    let needed = opens_at(policy, facts.per_day);
    if facts.figures.available < needed {
        return Decision { sentence: sentences::still_locked(facts, needed), ..keep(Rung::Lock, Reason::StillOver) };
    }
    if facts.other_hold {
        return keep(Rung::Lock, Reason::OtherHold);
    }
    Decision {
        outcome: Outcome::Restore,
        sentence: sentences::restored(facts),
        ..keep(Rung::None, Reason::EnoughAgain)
    }
}

fn decide_within(
    policy: &Policy,
    facts: &Facts<'_>,
    percent: Decimal,
    keep: &dyn Fn(Rung, Reason) -> Decision,
) -> Decision {
    let mut notices = Vec::new();
    // The highest threshold reached, unless it or a higher one was noticed in this epoch.
    let reached = policy.notify_percent.iter().filter(|threshold| percent >= Decimal::from(**threshold)).max();
    if let Some(threshold) = reached {
        let done = policy
            .notify_percent
            .iter()
            .any(|other| other >= threshold && facts.noticed.contains(&format!("used-{other}")));
        if !done {
            notices.push(NoticeWanted {
                event: format!("used-{threshold}"),
                sentence: sentences::used(facts, *threshold),
                acts_at: None,
            });
        }
    }
    if let Some(left) = facts.days_left {
        let reached = policy.notify_days_left.iter().filter(|days| left <= **days).min();
        if let Some(days) = reached {
            let done = policy
                .notify_days_left
                .iter()
                .any(|other| other <= days && facts.noticed.contains(&format!("days-left-{other}")));
            if !done {
                notices.push(NoticeWanted {
                    event: format!("days-left-{days}"),
                    sentence: sentences::days_left(facts, left),
                    acts_at: None,
                });
            }
        }
    }
    if notices.is_empty() {
        return keep(Rung::None, Reason::WithinLimit);
    }
    let sentence = notices.iter().map(|notice| notice.sentence.clone()).collect::<Vec<_>>().join(" ");
    Decision { outcome: Outcome::Warn, sentence, notices, ..keep(Rung::Notify, Reason::Threshold) }
}

fn decide_over(
    policy: &Policy,
    facts: &Facts<'_>,
    over_since: Option<Timestamp>,
    keep: &dyn Fn(Rung, Reason) -> Decision,
) -> Decision {
    let since = over_since.unwrap_or(facts.now);
    let mut notices = Vec::new();
    if !policy.lock_enabled {
        if !facts.noticed.contains("used-100") {
            notices.push(NoticeWanted {
                event: "used-100".to_owned(),
                sentence: sentences::used(facts, 100),
                acts_at: None,
            });
        }
        let outcome = if notices.is_empty() { Outcome::Keep } else { Outcome::Warn };
        return Decision { outcome, notices, ..keep(Rung::Notify, Reason::LockIsOff) };
    }
    let Some((warned_at, named)) = facts.warned.filter(|(warned_at, _)| *warned_at >= since) else {
        // The warning names the date; the lock comes at that date and never before.
        let acts_at = since.plus(policy.lock_after).max(facts.now.plus(policy.warning_before));
        let sentence = sentences::lock_warning(facts, acts_at, opens_at(policy, facts.per_day));
        notices.push(NoticeWanted {
            // Named after the time over the limit: coming back over it is warned of anew, also within one epoch.
            event: format!("lock-warning-{}", since.as_seconds()),
            sentence: sentence.clone(),
            acts_at: Some(acts_at),
        });
        return Decision { outcome: Outcome::Warn, sentence, notices, ..keep(Rung::Notify, Reason::LockIsDue) };
    };
    let due = named.max(since.plus(policy.lock_after)).max(warned_at.plus(policy.warning_before));
    if facts.now < due {
        return Decision {
            sentence: sentences::lock_warning(facts, due, opens_at(policy, facts.per_day)),
            ..keep(Rung::Notify, Reason::LockIsDue)
        };
    }
    if !facts.blocks.is_empty() {
        return Decision {
            outcome: Outcome::Wait,
            sentence: sentences::held_back(facts),
            ..keep(Rung::Notify, Reason::HeldBack)
        };
    }
    Decision {
        outcome: Outcome::Lock,
        sentence: sentences::locked(facts, opens_at(policy, facts.per_day)),
        ..keep(Rung::Lock, Reason::LockDateReached)
    }
}

/// Used ÷ Total in words: "83.5 %" or "no credit".
pub fn share_words(share: Share) -> String {
    match share {
        Share::Percent(percent) => format!("{} %", percent.normalize()),
        Share::NoCreditUnused | Share::NoCreditUsed => "no credit".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::Position;

    fn eur(text: &str) -> Money {
        Money::parse(text).unwrap()
    }

    fn hours(hours: i64) -> Timestamp {
        Timestamp::from_seconds(1_767_225_600 + hours * 3600)
    }

    fn policy() -> Policy {
        Policy {
            notify_percent: vec![50, 80, 90, 100],
            notify_days_left: vec![7, 2],
            lock_enabled: true,
            lock_after: Duration::from_hours(72),
            warning_before: Duration::from_hours(48),
            restore_minimum: eur("1"),
        }
    }

    struct Case {
        currency: Currency,
        noticed: BTreeSet<String>,
        blocks: Vec<Block>,
        used: &'static str,
    }

    impl Case {
        fn used(used: &'static str) -> Self {
            Self { currency: Currency::from_code("EUR").unwrap(), noticed: BTreeSet::new(), blocks: Vec::new(), used }
        }

        /// An enabled, managed account with a limit of 100 of which `used` is used, at hour 100.
        fn facts(&self) -> Facts<'_> {
            let position = Position {
                limit: Some(eur("100")),
                money: eur(self.used).negated().unwrap(),
                epoch_available: Some(eur("100")),
                ..Position::default()
            };
            Facts {
                now: hours(100),
                currency: &self.currency,
                zone: chrono_tz::UTC,
                state: "enabled",
                protected: None,
                managed: true,
                in_scope: true,
                figures: Figures::of(&position, hours(100)).unwrap(),
                per_day: eur("5"),
                days_left: None,
                over_since: None,
                billing_hold: false,
                other_hold: false,
                noticed: &self.noticed,
                warned: None,
                blocks: &self.blocks,
            }
        }
    }

    fn outcome(facts: &Facts<'_>) -> (Outcome, Reason) {
        let decision = decide(&policy(), facts);
        (decision.outcome, decision.reason)
    }

    #[test]
    fn a_threshold_is_noticed_once_an_epoch_and_never_downwards() {
        let mut case = Case::used("85");
        let decision = decide(&policy(), &case.facts());
        assert_eq!(decision.notices.iter().map(|n| n.event.as_str()).collect::<Vec<_>>(), ["used-80"]);
        case.noticed.insert("used-90".to_owned());
        assert_eq!(outcome(&case.facts()), (Outcome::Keep, Reason::WithinLimit));
    }

    #[test]
    fn days_left_are_noticed_at_the_nearest_step() {
        let mut case = Case::used("10");
        let mut facts = case.facts();
        facts.days_left = Some(1);
        assert_eq!(decide(&policy(), &facts).notices[0].event, "days-left-2");
        case.noticed.insert("days-left-2".to_owned());
        let mut facts = case.facts();
        facts.days_left = Some(6);
        assert!(decide(&policy(), &facts).notices.is_empty());
    }

    #[test]
    fn reaching_the_limit_warns_with_a_date_before_anything_else() {
        let case = Case::used("104.20");
        let decision = decide(&policy(), &case.facts());
        assert_eq!((decision.outcome, decision.over_since), (Outcome::Warn, Some(hours(100))));
        assert_eq!(decision.notices[0].acts_at, Some(hours(172)));
    }

    #[test]
    fn nobody_is_locked_before_the_date_of_the_warning() {
        let case = Case::used("104.20");
        for (over_since, warned, now, expected) in [
            (0, Some((0, 72)), 71, Outcome::Keep),
            (0, Some((0, 72)), 72, Outcome::Lock),
            (0, Some((40, 88)), 87, Outcome::Keep),
            (0, Some((40, 88)), 88, Outcome::Lock),
            (0, None, 500, Outcome::Warn),
            // A warning from before the account came back under its limit says nothing about this time.
            (100, Some((0, 72)), 500, Outcome::Warn),
        ] {
            let mut facts = case.facts();
            facts.now = hours(now);
            facts.over_since = Some(hours(over_since));
            facts.warned = warned.map(|(given, named)| (hours(given), hours(named)));
            assert_eq!(decide(&policy(), &facts).outcome, expected, "{over_since} {warned:?} {now}");
        }
    }

    #[test]
    fn bad_data_holds_back_the_lock_and_never_the_restore() {
        let mut case = Case::used("104.20");
        case.blocks.push(Block::StaleUsage { until: None });
        let mut facts = case.facts();
        facts.over_since = Some(hours(0));
        facts.warned = Some((hours(0), hours(72)));
        assert_eq!(outcome(&facts), (Outcome::Wait, Reason::HeldBack));
        let mut paid = Case::used("10");
        paid.blocks.push(Block::ClockJumped);
        let mut facts = paid.facts();
        facts.billing_hold = true;
        facts.state = "locked";
        assert_eq!(outcome(&facts), (Outcome::Restore, Reason::EnoughAgain));
    }

    #[test]
    fn a_restore_wants_a_days_worth_and_no_other_hold() {
        let case = Case::used("96");
        let mut facts = case.facts();
        facts.billing_hold = true;
        facts.state = "locked";
        assert_eq!(outcome(&facts), (Outcome::Keep, Reason::StillOver), "4 available, 5 a day");
        facts.per_day = eur("4");
        assert_eq!(outcome(&facts), (Outcome::Restore, Reason::EnoughAgain));
        facts.other_hold = true;
        assert_eq!(outcome(&facts), (Outcome::Keep, Reason::OtherHold));
        facts.state = "enabled";
        assert_eq!(outcome(&facts), (Outcome::Keep, Reason::EnabledByOthers));
    }

    #[test]
    fn the_untouchable_are_kept() {
        let case = Case::used("500");
        let mut facts = case.facts();
        facts.over_since = Some(hours(0));
        facts.warned = Some((hours(0), hours(72)));
        assert_eq!(outcome(&facts).0, Outcome::Lock);
        let mut protected = facts.clone();
        protected.protected = Some("it is a root administrator's account");
        assert_eq!(outcome(&protected), (Outcome::Keep, Reason::Protected));
        let mut outside = facts.clone();
        outside.in_scope = false;
        assert_eq!(outcome(&outside), (Outcome::Keep, Reason::OutOfScope));
        let mut unmanaged = facts.clone();
        unmanaged.managed = false;
        assert_eq!(outcome(&unmanaged), (Outcome::Keep, Reason::NotManaged));
        let mut locked = facts.clone();
        locked.state = "locked";
        assert_eq!(outcome(&locked), (Outcome::Keep, Reason::SuspendedByOthers));
    }

    #[test]
    fn no_credit_counts_as_over_with_the_first_charge() {
        let case = Case::used("0");
        let mut facts = case.facts();
        let position = Position { limit: Some(Money::ZERO), money: eur("-0.01"), ..Position::default() };
        facts.figures = Figures::of(&position, facts.now).unwrap();
        assert_eq!(outcome(&facts), (Outcome::Warn, Reason::LockIsDue));
    }

    #[test]
    fn tenant_sentences_keep_the_inner_words_out() {
        let case = Case::used("104.20");
        let mut facts = case.facts();
        facts.over_since = Some(hours(0));
        facts.warned = Some((hours(0), hours(72)));
        let sentence = decide(&policy(), &facts).sentence;
        assert_eq!(
            sentence,
            "Your account was locked on 2026-01-05 04:00 UTC because 104.20 of 100.00 EUR were used; it opens again as soon \
             as 5.00 EUR are available, so pay 9.20 EUR or more. Your machines keep running. Signing in and API keys do \
             not work until then."
        );
        for word in ["rung", "hold", "fuse", "quarantine", "standing"] {
            assert!(!sentence.contains(word));
        }
    }
}
