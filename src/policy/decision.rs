//! What can be decided: the rungs of the ladder, the outcomes, and a decision with its reasons.

use super::facts::Reached;
use crate::time::Timestamp;

/// A step of the ladder, from free to machines stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Rung {
    /// Free.
    #[default]
    None,
    /// Notices are given.
    Notify,
    /// Resource limits are set to what is used now: nothing can be added.
    Restrict,
    /// The account is locked: no signing in, no API keys; machines run on.
    Lock,
    /// The account is disabled: machines are stopped.
    Stop,
}

impl Rung {
    /// The rungs that act on an account, rising.
    pub const ACTING: [Self; 3] = [Self::Restrict, Self::Lock, Self::Stop];
    /// The rungs that are armed one by one, rising.
    pub const ARMABLE: [Self; 4] = [Self::Notify, Self::Restrict, Self::Lock, Self::Stop];

    /// As stored and shown.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Notify => "notify",
            Self::Restrict => "restrict",
            Self::Lock => "lock",
            Self::Stop => "stop",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Notify, Self::Restrict, Self::Lock, Self::Stop].into_iter().find(|rung| rung.word() == word)
    }

    /// Whether the step wants a warning that arrived. A restriction takes nothing away that runs, so it does not.
    pub const fn wants_warning(self) -> bool {
        matches!(self, Self::Lock | Self::Stop)
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Keep,
    /// Give notices.
    Warn,
    /// Set the resource limits to what is used now.
    Restrict,
    /// Lock the account.
    Lock,
    /// Disable the account, which stops its machines.
    Stop,
    /// Give back what was taken.
    Restore,
    /// A step downwards is due and held back.
    Wait,
    /// Stopped for so long that a person should look whether the account is to be deleted.
    ProposeDeletion,
}

impl Outcome {
    /// As stored and shown.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Warn => "warn",
            Self::Restrict => "restrict",
            Self::Lock => "lock",
            Self::Stop => "stop",
            Self::Restore => "restore",
            Self::Wait => "wait",
            Self::ProposeDeletion => "propose-deletion",
        }
    }

    /// The rung to which it takes an account down, if it does.
    pub const fn step_down(self) -> Option<Rung> {
        match self {
            Self::Restrict => Some(Rung::Restrict),
            Self::Lock => Some(Rung::Lock),
            Self::Stop => Some(Rung::Stop),
            Self::Keep | Self::Warn | Self::Restore | Self::Wait | Self::ProposeDeletion => None,
        }
    }

    /// The outcome that takes an account down to a rung.
    pub const fn of_step(rung: Rung) -> Self {
        match rung {
            Rung::None | Rung::Notify => Self::Warn,
            Rung::Restrict => Self::Restrict,
            Rung::Lock => Self::Lock,
            Rung::Stop => Self::Stop,
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
    /// Somebody else suspended it, or wants it to be.
    SuspendedByOthers,
    /// Suspended for billing, and somebody else wants it suspended too.
    OtherHold,
    /// Suspended for billing, but somebody enabled it.
    EnabledByOthers,
    /// Still not enough available to open.
    StillOver,
    /// A threshold was reached.
    Threshold,
    /// Restricting is due on a date that has not come.
    RestrictIsDue,
    /// Locking is due on a date that has not come.
    LockIsDue,
    /// Stopping is due on a date that has not come.
    StopIsDue,
    /// Nothing is left, and no step of the ladder that is switched on for it is reached.
    StepsAreOff,
    /// The restriction has come due.
    RestrictDateReached,
    /// The date of the lock has come.
    LockDateReached,
    /// The date of the stop has come.
    StopDateReached,
    /// Enough is available again.
    EnoughAgain,
    /// A step downwards is due, but the data or an administrator says wait.
    HeldBack,
    /// A step is due, and its warning has not arrived.
    WarningNotArrived,
    /// A step is due, and there is no address to which its warning could go.
    NoAddress,
    /// A step is due, and it is night or weekend where the tenant is.
    QuietHours,
    /// A step is due, and a suspension was lifted only just now.
    Respite,
    /// A step is due, and an administrator said to leave the account alone until a date.
    Exempt,
    /// Somebody enabled the account, and by policy it is suspended again.
    SuspendedAgain,
    /// Stopped for so long that a person should look.
    StoppedForLong,
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
            Self::RestrictIsDue => "restrict-is-due",
            Self::LockIsDue => "lock-is-due",
            Self::StopIsDue => "stop-is-due",
            Self::StepsAreOff => "steps-are-off",
            Self::RestrictDateReached => "restrict-date-reached",
            Self::LockDateReached => "lock-date-reached",
            Self::StopDateReached => "stop-date-reached",
            Self::EnoughAgain => "enough-again",
            Self::HeldBack => "held-back",
            Self::WarningNotArrived => "warning-not-arrived",
            Self::NoAddress => "no-address",
            Self::QuietHours => "quiet-hours",
            Self::Respite => "respite",
            Self::Exempt => "exempt",
            Self::SuspendedAgain => "suspended-again",
            Self::StoppedForLong => "stopped-for-long",
        }
    }
}

/// A notice to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeWanted {
    /// `used-80`, `days-left-7`, `available-5.00`, `warning-lock-<since>`: once an epoch.
    pub event: String,
    /// For the tenant.
    pub sentence: String,
    /// The date it names, if it warns of something.
    pub acts_at: Option<Timestamp>,
    /// The rung that it belongs to: it is really given where that rung is armed.
    pub rung: Rung,
}

/// The step that comes next if nothing is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextStep {
    /// To which rung.
    pub rung: Rung,
    /// Not before.
    pub at: Timestamp,
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
    /// Since when each rule of the payer has been reached, as of now: to be stored.
    pub reached: Reached,
    /// Why a step that is due waits, for administrators.
    pub waits_for: Vec<String>,
    /// The step that comes next if nothing is paid.
    pub next: Option<NextStep>,
}

impl Decision {
    /// The rung whose arming says whether the decision is carried out: of a step, of its waiting or of its date that rung, else
    /// the notices'. None: nothing is to be done, or what was done is given back, which needs no arming.
    pub fn acts_for(&self) -> Option<Rung> {
        match self.outcome {
            Outcome::Restrict | Outcome::Lock | Outcome::Stop => self.outcome.step_down(),
            Outcome::Wait | Outcome::Keep => self.next.map(|next| next.rung),
            Outcome::Warn => self.notices.iter().map(|notice| notice.rung).max(),
            Outcome::ProposeDeletion => Some(Rung::Stop),
            Outcome::Restore => None,
        }
    }
}
