//! The wiring of the stages: what each job does, when, and what it leaves behind.

pub mod app;
pub mod arming;
pub mod deletions;
pub mod estimate;
pub mod key_roles;
pub mod keys;
pub mod lock;
pub mod mail;
pub mod operations;
pub mod people;
pub mod quota;
pub mod reminders;
pub mod server;
pub mod work;

pub use app::{App, AppError, Role};
