//! People and the directory they stand in: CloudStack's domains, accounts, users and projects, and who is mapped to them; and what
//! a person does to the own user.
//!
//! Promises: what CloudStack lists is mirrored, what it no longer lists is marked and kept. Nobody is let in by a name, and by an
//! address only where somebody confirmed it: what a tenant can edit proves nothing. Must not: act on CloudStack, but for
//! the person's own user in the person's own session ([`own`]), never with a service account.

pub mod address;
pub mod csv;
pub mod directory;
pub mod leaving;
pub mod links;
pub mod mapping;
pub mod oidc;
pub mod own;
pub mod password;
pub mod picture;
pub mod profile;
pub mod second_factor;
