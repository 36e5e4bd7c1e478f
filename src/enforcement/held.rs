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
            Block::ClassUnknown { .. } => "class",
            Block::VersionChanged { .. } => "version",
            Block::EventsUnreadable { .. } => "events",
            Block::RestoredBackup => "restored-backup",
            Block::Paused => "paused",
        };
        Self { kind: kind.to_owned(), why: block.explain() }
    }

    /// Steps are armed or accounts held, and bursar has no right to act: somebody has taken the key pair out of the configuration.
    pub fn lacking_key() -> Self {
        let why = "The enforcer's key pair is not configured ([cloudstack.enforcer]), though steps are armed or accounts held: notices are \
                   given where they are armed, and nobody is restricted, locked, stopped or opened again"
            .to_owned();
        Self { kind: "no-key".to_owned(), why }
    }

    /// What it means for everybody, in whole sentences.
    pub fn means(&self) -> &'static str {
        if self.kind == "no-key" {
            "Who has paid stays suspended until it is configured again."
        } else {
            "Until then nobody is taken a step down; who has enough is opened all the same."
        }
    }

    /// Whether it has a word of its own wherever enforcement is shown: somebody paused, or has to confirm.
    pub fn is_told_elsewhere(&self) -> bool {
        matches!(self.kind.as_str(), "paused" | "restored-backup")
    }
}
