//! bursar: credit limits for the tenants of an Apache CloudStack cloud.
//!
//! The data flows in one direction, and every arrow is a table:
//!
//! ```text
//! CloudStack ─poll─▶ usage records ─rate─▶ charges ─post─▶ ledger ─decide─▶ intents ─act─▶ CloudStack
//! ```
//!
//! The pure core ([`money`], [`time`], [`rating`], [`ledger::rules`], [`policy`], [`usage::emission`]) knows no database,
//! HTTP, async runtime, clock or random source. Stages know the core and the [`store`], never each other; only
//! the wiring in [`cli`], [`jobs`] and [`web`] knows all. `ARCHITECTURE.md` tells the rest.

pub mod access;
pub mod approver;
pub mod cli;
pub mod cloudstack;
pub mod config;
pub mod email;
pub mod enforcement;
pub mod estimate;
pub mod ids;
pub mod jobs;
pub mod ledger;
pub mod lifecycle;
pub mod money;
pub mod notify;
pub mod people;
pub mod policy;
pub mod progress;
pub mod quota;
pub mod random;
pub mod rating;
pub mod schedule;
pub mod scope;
pub mod secrets;
pub mod setup;
pub mod sim;
pub mod standin;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod usage;
pub mod web;
