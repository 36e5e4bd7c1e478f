//! What `CloudStack` reports of its tenants' use: the types it counts in, and (with the poll) the records themselves.

pub mod types;
