//! People and the directory they stand in: CloudStack's domains, accounts, users and projects, and who is mapped to them.
//!
//! Promises: what CloudStack lists is mirrored, what it no longer lists is marked and kept. Must not: act on CloudStack.

pub mod directory;
pub mod leaving;
