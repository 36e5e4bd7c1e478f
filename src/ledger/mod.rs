//! The ledger: double entry, append only, every transfer balanced and under a key made by its caller.
//!
//! Promises: a call repeated changes nothing; a charge follows what is rated by numbered corrections; balances are derived
//! and can be rebuilt. Must not: price usage, decide about suspension, call CloudStack.

pub mod corrections;
pub mod post;
pub mod rules;
pub mod standing;
pub mod verify;
