//! Setting bursar up: [`check::check`] looks at everything bursar stands on and says what to do about what is wrong;
//! [`init::init`] makes the service accounts.
//!
//! Promises: a check changes nothing, in CloudStack or in the database, and goes on behind what fails; init changes
//! nothing before it has seen that nothing stands in its way, and keeps no administrator's key. Must not: print, ask or
//! read the environment; the command line does.

pub mod check;
#[cfg(test)]
mod fake;
pub mod init;
mod mounts;
pub mod report;
pub mod rights;
