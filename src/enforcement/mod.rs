//! Makes CloudStack match what was decided, at most once each, and remembers why.
//!
//! Promises: nothing is done before its intent is committed, no call goes out before its row is, and every one is read back; after a
//! crash at any line the next run compares wanted with actual and goes on; bursar brings back only what bursar took, and only
//! where nobody else wants it suspended; nobody is taken a step down while enforcement is not armed, is paused, or another process
//! holds the lease. Must not: work out figures (the ledger does) or decide (the policy does).

mod act;
pub mod adopt;
mod calls;
mod carry;
pub mod deletions;
pub mod differences;
mod former;
pub mod fuse;
mod guards;
pub mod held;
mod lock;
mod machines;
pub mod marker;
mod others;
mod plan;
pub mod plans;
mod record;
mod recover;
mod restore;
mod restrict;
pub mod run;
pub mod running;
mod start;
mod stop;
mod tell;
pub mod terms;
pub mod undo;

pub use calls::job_id;
pub use guards::gather as blocks;
pub use machines::Machine;
pub use plan::{Plan, PlannedAccount, look_at, plan, protection};
pub use run::{EnforceReport, EnforceSettings, Error, arming, enforce};

/// Settings that steer enforcement.
pub mod switches {
    /// "1" while an administrator has paused it.
    pub const PAUSED: &str = "enforce.paused";
    /// Up to when CloudStack's events were looked through for locks by others, ms.
    pub const EVENTS_UNTIL: &str = "enforce.events-until-ms";
    /// This database's own id, as the file beside the data knows it.
    pub const INSTANCE: &str = "store.instance";
    /// Why nothing is enforced until an administrator has confirmed; empty: nothing to confirm.
    pub const UNCONFIRMED: &str = "enforce.unconfirmed";
    /// CloudStack's version that an administrator last looked at.
    pub const VERSION: &str = "cloudstack.version-acknowledged";
    /// Up to when CloudStack's events were looked through for acts by bursar's own user, ms.
    pub const OWN_ACTS_UNTIL: &str = "enforce.own-acts-until-ms";
    /// When it was noticed that CloudStack had forgotten events before they were looked at, ms.
    pub const EVENTS_LOST: &str = "enforce.events-lost-ms";
    /// Why the last run could not read CloudStack's events; empty: it could.
    pub const EVENTS_UNREADABLE: &str = "enforce.events-unreadable";
    /// The user whose key the enforcer has, as JSON.
    pub const OWN_USER: &str = "enforce.own-user";
    /// The users whose key it had before, as JSON.
    pub const FORMER_USERS: &str = "enforce.former-users";
    /// The instant of the last run, ms: a clock that went backwards is seen here.
    pub const LAST_NOW: &str = "enforce.last-now-ms";
}
