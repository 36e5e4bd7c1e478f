//! What should happen to an account, and why: pure decisions over figures.
//!
//! Promises: the same facts give the same decision; at most one step of the ladder a decision; *wait* holds back steps
//! downwards only, a restore never waits; nothing happens to accounts that are protected, out of scope or not managed.
//! Must not: read a clock, a database or CloudStack.

pub mod amounts;
pub mod arming;
pub mod block;
pub mod decide;
pub mod decision;
pub mod effective;
pub mod facts;
pub mod notices;
pub mod patch;
pub mod protection;
pub mod quiet;
pub mod rules;
pub mod sentences;
#[cfg(test)]
mod tests;
pub mod topics;

pub use amounts::{is_to_open, opens_at, reached_by, to_avoid};
pub use arming::{ArmedRungs, Arming};
pub use block::Block;
pub use decide::{WARNING_COUNTS_FOR, decide};
pub use decision::{Decision, NextStep, NoticeWanted, Outcome, Reason, Rung};
pub use effective::Ladders;
pub use facts::{BillingHold, CreditLimit, Exemption, Facts, Reached, Warning, Warnings};
pub use patch::{PatchError, PolicyPatch};
pub use quiet::Quiet;
pub use rules::{OnDrift, Policy, Rule};
pub use topics::{Topic, Wishes};
