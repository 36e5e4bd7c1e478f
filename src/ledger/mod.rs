//! The ledger: double entry, append only, every transfer balanced and under a key made by its caller.
//!
//! Promises: a call repeated changes nothing; a charge follows what is rated by numbered corrections; balances are derived
//! and can be rebuilt; a grant is never below zero or above its amount. Must not: price usage, decide about suspension, call
//! CloudStack.

pub mod booking;
pub mod corrections;
pub mod grants;
pub mod limits;
pub mod payers;
pub mod payments;
pub mod post;
pub mod promo;
pub mod rules;
pub mod standing;
pub mod verify;
