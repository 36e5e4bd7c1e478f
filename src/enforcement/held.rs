//! What holds back every step downwards of a run, for people: in its report, in the status, on the page, and by mail.

use crate::policy::Block;

/// A guard that holds back everybody.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HeldBack {
    /// stale-usage, clock, quota-plugin, waiting-usage, version, events, no-key; paused and restored-backup, which are told apart from these.
    pub kind: String,
    /// Why, as a sentence without its full stop.
    pub why: String,
}

impl HeldBack {
    /// By this guard.
    pub fn by(block: &Block) -> Self {
        let kind = match block {
            Block::StaleUsage { .. } => "stale-usage",
            Block::ClockJumped => "clock",
            Block::QuotaPluginEnforces => "quota-plugin",
            Block::Quarantine { .. } | Block::OpenProposal { .. } | Block::QuarantineShare { .. } => "waiting-usage",
            Block::VersionChanged { .. } => "version",
            Block::EventsUnreadable { .. } => "events",
            Block::RestoredBackup => "restored-backup",
            Block::Paused => "paused",
        };
        Self { kind: kind.to_owned(), why: block.explain() }
    }

    /// Steps are armed, and bursar has no right to take them: somebody has taken the key pair out of the configuration.
    pub fn lacking_key() -> Self {
        let why = "steps are armed, and the enforcer's key pair is not configured ([cloudstack.enforcer]): notices are given where they are \
                   armed, and nobody is restricted, locked, stopped or opened"
            .to_owned();
        Self { kind: "no-key".to_owned(), why }
    }

    /// Whether it has a word of its own wherever enforcement is shown: somebody paused, or has to confirm.
    pub fn is_told_elsewhere(&self) -> bool {
        matches!(self.kind.as_str(), "paused" | "restored-backup")
    }
}
