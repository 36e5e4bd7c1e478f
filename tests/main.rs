//! Stories: whole paths through bursar, against the stand-in, on both databases.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can not go on should stop where it stands"
)]

mod browser;
mod harness;
mod real_cloudstack;
mod standin_replay;
mod story_cli;
mod story_compaction;
mod story_enforcement;
mod story_keys;
mod story_ledger;
mod story_live;
mod story_mail;
mod story_main;
mod story_operations;
mod story_own;
mod story_policy;
mod story_quota;
mod story_rating;
mod story_recorded;
mod story_requests;
mod story_review;
mod story_setup;
mod story_signin;
mod story_sim;
mod story_spending;
mod story_survival;
mod story_suspension;
mod story_usage;
mod structure;
