//! A policy: what reaches each rung of the ladder, and after how long.

use std::time::Duration;

use chrono_tz::Tz;

use super::{decision::Rung, quiet::Quiet};
use crate::money::Money;

/// What reaches one of the rungs restrict, lock and stop: any of its thresholds, then a delay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whether the rung is among the steps at all.
    pub enabled: bool,
    /// Percent used, or more. None: not by percent.
    pub percent: Option<u32>,
    /// Available, or less. None: not by amount.
    pub available: Option<Money>,
    /// Whole days left at the present rate, or fewer. None: not by days.
    pub days_left: Option<i64>,
    /// How long it must have been reached.
    pub delay: Duration,
}

/// What to do about an account that somebody else enabled while bursar's suspension stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrift {
    /// Show it.
    #[default]
    Leave,
    /// Take it down again.
    Suspend,
}

impl OnDrift {
    /// As configured and shown.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Suspend => "suspend",
        }
    }
}

/// Thresholds, delays and manners: what applies to one payer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Percent used at which a notice is given, rising.
    pub notify_percent: Vec<u32>,
    /// Amounts available at which a notice is given, falling.
    pub notify_available: Vec<Money>,
    /// Days left at the present rate at which a notice is given, falling.
    pub notify_days_left: Vec<i64>,
    /// What restricts.
    pub restrict: Rule,
    /// What locks.
    pub lock: Rule,
    /// What stops.
    pub stop: Rule,
    /// How long an account must have been stopped before its deletion is proposed to a person. None: never.
    pub delete_after: Option<Duration>,
    /// How long before a lock or stop its warning must have arrived.
    pub warning_before: Duration,
    /// When no step down is taken.
    pub quiet: Quiet,
    /// What must be available for a restore, at least; or one day at the present rate, if that is more.
    pub restore_minimum: Money,
    /// No step down for so long after a suspension was lifted.
    pub respite: Duration,
    /// What to do about an account that somebody else enabled.
    pub on_drift: OnDrift,
    /// The zone of the tenant's clock. None: that of the cloud's billing days.
    pub zone: Option<Tz>,
}

impl Policy {
    /// The rule of a rung, if it has one.
    pub const fn rule(&self, rung: Rung) -> Option<&Rule> {
        match rung {
            Rung::Restrict => Some(&self.restrict),
            Rung::Lock => Some(&self.lock),
            Rung::Stop => Some(&self.stop),
            Rung::None | Rung::Notify => None,
        }
    }
}
