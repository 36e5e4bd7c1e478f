//! Usage: records are fetched, normalised, judged and stored.
//!
//! Promises: no raw row is lost (each is stored, counted as a repeat, or quarantined with what CloudStack said), none is
//! charged twice, and fetching a span again changes nothing when nothing changed. Must not: price anything, or act.

pub mod compact;
pub mod correct;
pub mod emission;
mod fetch;
pub mod ingest;
pub mod normalise;
pub mod record;
pub mod review;
pub mod review_kind;
mod review_rows;
pub mod review_watch;
mod settle;
pub mod sync;
pub mod types;
