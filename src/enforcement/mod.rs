//! Makes CloudStack match what was decided, at most once each, and remembers why.
//!
//! Promises: nothing is done before its intent is committed, no call goes out before its row is, and every one is read back; after a
//! crash at any line the next run compares wanted with actual and goes on; bursar brings back only what bursar took, and only
//! where nobody else wants it suspended; nobody is taken a step down while enforcement is not armed, is paused, or another process
//! holds the lease. Must not: work out figures (the ledger does) or decide (the policy does).

mod act;
mod calls;
mod lock;
mod machines;
mod others;
mod plan;
mod recover;
mod restore;
mod restrict;
pub mod run;
mod start;
mod stop;
pub mod terms;

pub use calls::job_id;
pub use machines::Machine;
pub use plan::{Plan, PlannedAccount, plan, protection};
pub use run::{EnforceReport, EnforceSettings, Error, enforce};

/// Settings that steer enforcement.
pub mod switches {
    /// "1" once an administrator has armed enforcement.
    pub const ARMED: &str = "enforce.armed";
    /// "1" while an administrator has paused it.
    pub const PAUSED: &str = "enforce.paused";
    /// Up to when CloudStack's events were looked through for locks by others, ms.
    pub const EVENTS_UNTIL: &str = "enforce.events-until-ms";
    /// The instant of the last run, ms: a clock that went backwards is seen here.
    pub const LAST_NOW: &str = "enforce.last-now-ms";
}
