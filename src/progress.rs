//! Long work says how far it is; who listens decides how to show it.

/// Somebody who shows progress.
pub trait Progress: Send + Sync {
    /// `done` of `total` (if known) of `what`.
    fn step(&self, what: &str, done: u64, total: Option<u64>);
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn step(&self, _what: &str, _done: u64, _total: Option<u64>) {}
}
