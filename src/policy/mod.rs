//! What should happen to an account, and why: pure decisions over figures.
//!
//! Promises: the same facts give the same decision; *wait* holds back steps downwards only, a restore never waits for
//! usage; nothing happens to accounts that are protected, out of scope or not managed. Must not: read a clock, a database or
//! CloudStack.

pub mod decide;
pub mod sentences;

pub use decide::{Block, Decision, Facts, NoticeWanted, Outcome, Policy, Reason, Rung, decide};
