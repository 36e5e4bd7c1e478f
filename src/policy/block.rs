//! Why no step downwards is taken, for anybody or for one payer. A restore never waits for any of these.

use crate::time::Timestamp;

/// Why no step downwards is taken for anybody, or for one payer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Usage is older than two ranges of the usage job plus the grace: the newest closed window ended then.
    StaleUsage {
        /// End of the newest closed window.
        until: Option<Timestamp>,
    },
    /// The clock went backwards or leapt.
    ClockJumped,
    /// CloudStack's quota plugin enforces too and would fight over the same accounts.
    QuotaPluginEnforces,
    /// Rows that may over-charge this payer wait for a person.
    Quarantine {
        /// How many.
        records: i64,
    },
    /// What waits for a person is more of the whole cloud's charges than a limit allows.
    QuarantineShare {
        /// Its share, in percent, in words: "7.5".
        percent: String,
        /// The limit, in words.
        limit: String,
    },
    /// Proposals of the rating, or corrections, wait for a person and concern this payer.
    OpenProposal {
        /// How many.
        proposals: i64,
    },
    /// The payer is of a class that has no section in the configuration: nobody knows which policy was meant.
    ClassUnknown {
        /// The class.
        class: String,
    },
    /// CloudStack's version changed, and nobody has looked yet.
    VersionChanged {
        /// As it was.
        from: String,
        /// As it is.
        to: String,
    },
    /// The data was restored from a backup, and nobody has confirmed the differences yet.
    RestoredBackup,
    /// CloudStack's events can not be read, so a lock by somebody else can not be told from bursar's own.
    EventsUnreadable {
        /// Why, in words.
        why: String,
    },
    /// An administrator paused enforcement.
    Paused,
}

impl Block {
    /// In words for administrators.
    pub fn explain(&self) -> String {
        match self {
            Self::StaleUsage { until: Some(until) } => {
                let until = until.display_in(chrono_tz::UTC);
                format!("usage is only known up to {until}; is CloudStack's usage job running? (`bursar check` tells)")
            }
            Self::StaleUsage { until: None } => "no usage window has been fetched yet; run `bursar sync`".to_owned(),
            Self::ClockJumped => "the clock jumped since the last run, or differs from CloudStack's; waiting for one quiet run (do both take their time by NTP?)".to_owned(),
            Self::QuotaPluginEnforces => {
                "CloudStack's quota plugin enforces too; turn quota.enable.enforcement off first".to_owned()
            }
            Self::Quarantine { records } => {
                format!("{records} usage records that may charge too much wait for a person (`bursar review`)")
            }
            Self::QuarantineShare { percent, limit } => format!(
                "usage that waits for a person is {percent} % of the cloud's charges, and {limit} % is the limit (`bursar review`)"
            ),
            Self::OpenProposal { proposals } => format!(
                "{proposals} corrections that would change what was charged wait for a person (`bursar review`)"
            ),
            Self::ClassUnknown { class } => format!(
                "it is of class {class}, and the configuration has no section [class.{class}]; write it, or give it another class \
                 (`bursar policy class`)"
            ),
            Self::VersionChanged { from, to } => {
                format!("CloudStack was {from} and is {to} now; run `bursar check`, then confirm with `bursar enforce confirm`")
            }
            Self::RestoredBackup => {
                "the data was restored from a backup; look at the differences, then confirm them with `bursar enforce confirm`"
                    .to_owned()
            }
            Self::EventsUnreadable { why } => {
                format!("CloudStack's events can not be read ({why}), so nobody would know whose a lock is when it is to be lifted")
            }
            Self::Paused => "enforcement is paused (`bursar enforce resume` goes on)".to_owned(),
        }
    }
}
