//! What is known of an account and its payer when a decision is taken.

use std::collections::BTreeSet;

use super::{arming::ArmedRungs, block::Block, decision::Rung};
use crate::{
    ledger::rules::Figures,
    money::{Currency, Money},
    time::Timestamp,
};

/// Since when each rule of the ladder has been reached without a break: what "days overdue" counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reached {
    /// The rule of restrict.
    pub restrict: Option<Timestamp>,
    /// The rule of lock.
    pub lock: Option<Timestamp>,
    /// The rule of stop.
    pub stop: Option<Timestamp>,
}

impl Reached {
    /// Since when the rule of a rung has been reached.
    pub const fn get(&self, rung: Rung) -> Option<Timestamp> {
        match rung {
            Rung::Restrict => self.restrict,
            Rung::Lock => self.lock,
            Rung::Stop => self.stop,
            Rung::None | Rung::Notify => None,
        }
    }

    /// Notes since when the rule of a rung has been reached.
    pub const fn set(&mut self, rung: Rung, since: Option<Timestamp>) {
        match rung {
            Rung::Restrict => self.restrict = since,
            Rung::Lock => self.lock = since,
            Rung::Stop => self.stop = since,
            Rung::None | Rung::Notify => {}
        }
    }
}

/// The newest dated warning of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its event, `warning-lock-<since>`: which reaching of the rule it warned of.
    pub event: String,
    /// When it was written.
    pub given: Timestamp,
    /// When a mail server took it, or the tenant saw it, whichever was first. None: it has not arrived.
    pub arrived: Option<Timestamp>,
    /// The date it named.
    pub named: Timestamp,
    /// Whether nobody could be found to send it to.
    pub no_address: bool,
}

/// The newest warning of each step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Warnings {
    /// Of restrict.
    pub restrict: Option<Warning>,
    /// Of lock.
    pub lock: Option<Warning>,
    /// Of stop.
    pub stop: Option<Warning>,
}

impl Warnings {
    /// The newest warning of a step.
    pub const fn get(&self, rung: Rung) -> Option<&Warning> {
        match rung {
            Rung::Restrict => self.restrict.as_ref(),
            Rung::Lock => self.lock.as_ref(),
            Rung::Stop => self.stop.as_ref(),
            Rung::None | Rung::Notify => None,
        }
    }

    /// Notes a newer one.
    pub fn set(&mut self, rung: Rung, warning: Warning) {
        match rung {
            Rung::Restrict => self.restrict = Some(warning),
            Rung::Lock => self.lock = Some(warning),
            Rung::Stop => self.stop = Some(warning),
            Rung::None | Rung::Notify => {}
        }
    }
}

/// What bursar took from an account and has not given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BillingHold {
    /// The present rung: restrict, lock or stop.
    pub rung: Rung,
    /// Since when it has stood on that rung.
    pub since: Timestamp,
}

/// That an administrator said to leave an account alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// Until when.
    pub until: Timestamp,
    /// Whether notices are held back too.
    pub no_notices: bool,
    /// Who said so.
    pub author: String,
    /// Why.
    pub reason: String,
}

/// Whether a credit limit applies to a payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreditLimit {
    /// One of its own, or the default.
    Applies,
    /// None of its own, and there is no default, perhaps by an oversight: nothing is taken, and nothing given back for it.
    Lacking,
    /// A person said that none applies: nothing is due any more.
    Removed,
}

/// What is known of an account and its payer at an instant.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Now.
    pub now: Timestamp,
    /// The cloud's currency.
    pub currency: &'a Currency,
    /// The zone in which the tenant reads dates and has quiet hours.
    pub zone: chrono_tz::Tz,
    /// CloudStack's state of the account: enabled, locked, disabled.
    pub state: &'a str,
    /// Why the account is never touched, if so.
    pub protected: Option<&'a str>,
    /// Whether a limit or a default applies.
    pub credit_limit: CreditLimit,
    /// Whether its domain is in scope.
    pub in_scope: bool,
    /// The payer's figures.
    pub figures: Figures,
    /// What the payer burns a day.
    pub per_day: Money,
    /// Whole days until Available is used up.
    pub days_left: Option<i64>,
    /// Since when the payer's rules have been reached, as stored.
    pub reached: Reached,
    /// What bursar took and has not given back.
    pub billing_hold: Option<BillingHold>,
    /// Whether somebody else wants it suspended.
    pub other_hold: bool,
    /// When the newest billing hold was lifted, if one ever was: by enough money or by a person.
    pub lifted: Option<Timestamp>,
    /// The events noticed in this epoch.
    pub noticed: &'a BTreeSet<String>,
    /// The newest warnings.
    pub warned: &'a Warnings,
    /// That an administrator said to leave the account alone, if it still holds.
    pub exemption: Option<&'a Exemption>,
    /// The rungs that are armed for it.
    pub armed: ArmedRungs,
    /// Why nobody, or not this payer, may be taken a step down.
    pub blocks: &'a [Block],
}

impl Facts<'_> {
    /// Whether a limit or a default applies: nobody else is ever taken a step down.
    pub fn is_managed(&self) -> bool {
        self.credit_limit == CreditLimit::Applies
    }
}
