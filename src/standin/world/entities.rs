//! The things a cloud consists of, as far as CloudStack's answers show them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::table::Row;
use crate::{ids::CloudId, secrets::Secret, time::Timestamp};

macro_rules! rows {
    ($($name:ident),* $(,)?) => {$(
        impl Row for $name {
            fn id(&self) -> CloudId {
                self.id
            }

            fn number(&self) -> u64 {
                self.number
            }
        }
    )*};
}

rows!(Domain, Account, User, Role, Project, Vm, Volume, Ip, Network, Offering, DiskOffering, NetworkOffering);

/// What an account may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// An ordinary tenant (type 0, default role User).
    User,
    /// A root admin (type 1, default role Root Admin).
    RootAdmin,
    /// A domain admin (type 2, default role Domain Admin).
    DomainAdmin,
    /// A resource domain admin (type 3, default role Resource Admin).
    ResourceAdmin,
}

/// The type of a role, which decides what its bearers are allowed where no rule speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleKind {
    /// Unlimited access to entities.
    Admin,
    /// Between the two.
    ResourceAdmin,
    /// The tree below the own domain.
    DomainAdmin,
    /// The own account.
    User,
}

impl RoleKind {
    /// The name in CloudStack's answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "Admin",
            Self::ResourceAdmin => "ResourceAdmin",
            Self::DomainAdmin => "DomainAdmin",
            Self::User => "User",
        }
    }

    /// By the name in a request.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Admin, Self::ResourceAdmin, Self::DomainAdmin, Self::User]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The bit in a command's list of role types.
    pub(crate) const fn bit(self) -> u8 {
        match self {
            Self::Admin => 1,
            Self::ResourceAdmin => 2,
            Self::DomainAdmin => 4,
            Self::User => 8,
        }
    }

    /// The account type that goes with the role type.
    pub(crate) const fn account_type(self) -> u8 {
        match self {
            Self::Admin => 1,
            Self::ResourceAdmin => 3,
            Self::DomainAdmin => 2,
            Self::User => 0,
        }
    }
}

/// The state of an account or user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In use.
    Enabled,
    /// Shut off, machines stopped.
    Disabled,
    /// Shut off, machines running.
    Locked,
}

impl State {
    /// The name in CloudStack's answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Locked => "locked",
        }
    }
}

/// The state of a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Running.
    Running,
    /// Stopped, still allocated.
    Stopped,
    /// A job is starting it.
    Starting,
    /// A job is stopping it.
    Stopping,
    /// On its way to another host, running.
    Migrating,
    /// Destroyed, not yet expunged.
    Destroyed,
}

impl Power {
    /// Whether its hours count: it runs, and moving does not change that.
    pub const fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Migrating)
    }

    /// The name in CloudStack's answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Starting => "Starting",
            Self::Stopping => "Stopping",
            Self::Migrating => "Migrating",
            Self::Destroyed => "Destroyed",
        }
    }
}

/// What happens when somebody tries to stop a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stubbornness {
    /// It stops.
    #[default]
    Obedient,
    /// It goes on running; disableAccount succeeds all the same and leaves the account for the cleanup task.
    KeepsRunning,
    /// The attempt throws: the job fails although the account's state has changed.
    Throws,
    /// It is on its way down when the job ends, and stays so until something comes of it.
    HangsStopping,
}

#[derive(Debug)]
pub(crate) struct Domain {
    pub id: CloudId,
    pub number: u64,
    pub name: String,
    pub parent: Option<CloudId>,
    /// As in answers: `ROOT/acme`.
    pub path: String,
    pub level: u32,
    pub created: Option<Timestamp>,
    /// Limits of the domain as a whole.
    pub limits: BTreeMap<u8, i64>,
}

#[derive(Debug)]
pub(crate) struct Account {
    pub id: CloudId,
    pub number: u64,
    pub name: String,
    /// CloudStack's account type: 0 to 3, 5 for a project's account.
    pub kind: u8,
    pub role: CloudId,
    pub domain: CloudId,
    pub state: State,
    pub created: Option<Timestamp>,
    pub removed: Option<Timestamp>,
    pub key_access: Option<bool>,
    pub limits: BTreeMap<u8, i64>,
    /// Limits of what carries a host tag.
    pub tagged_limits: BTreeMap<(u8, String), i64>,
    pub needs_cleanup: bool,
    pub details: Map<String, Value>,
    pub is_default: bool,
    pub project: Option<CloudId>,
    /// Allowed source addresses (`api.allowed.source.cidr.list`, account scope); None is the global value.
    pub allowed_cidrs: Option<String>,
    pub quota_micros: i64,
}

/// A project's account is of this type.
pub(crate) const PROJECT_ACCOUNT: u8 = 5;
/// The hidden system account's number.
pub(crate) const SYSTEM_ACCOUNT: u64 = 1;

#[derive(Debug)]
pub(crate) struct User {
    pub id: CloudId,
    pub number: u64,
    pub account: CloudId,
    pub username: String,
    pub password: Secret,
    pub firstname: String,
    pub lastname: String,
    pub email: Option<String>,
    pub timezone: Option<String>,
    pub state: State,
    pub created: Timestamp,
    pub removed: Option<Timestamp>,
    pub api_key: Option<String>,
    pub secret_key: Option<Secret>,
    pub key_access: Option<bool>,
    pub wrong_passwords: u32,
    pub second_factor: Option<SecondFactor>,
    pub mandate_2fa: bool,
    pub is_default: bool,
    pub source: &'static str,
}

/// A person's second factor.
#[derive(Debug, Clone)]
pub(crate) struct SecondFactor {
    /// Base32 for totp, six digits for staticpin.
    pub secret: Secret,
    pub provider: &'static str,
    /// Whether a first code was accepted after the set-up.
    pub verified: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub pattern: String,
    pub allow: bool,
}

#[derive(Debug)]
pub(crate) struct Role {
    pub id: CloudId,
    pub number: u64,
    pub name: String,
    pub kind: RoleKind,
    pub description: Option<String>,
    pub is_default: bool,
    pub rules: Vec<Rule>,
}

#[derive(Debug)]
pub(crate) struct Project {
    pub id: CloudId,
    pub number: u64,
    pub name: String,
    pub displaytext: String,
    /// The account that owns it.
    pub owner: CloudId,
    /// The account (type 5) that owns its resources.
    pub account: CloudId,
    /// Accounts that were added to it.
    pub members: Vec<CloudId>,
    pub active: bool,
    pub created: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Vm {
    pub id: CloudId,
    pub number: u64,
    pub name: String,
    /// The owning account; a project's account for a project's machine.
    pub owner: CloudId,
    pub user: Option<CloudId>,
    pub offering: CloudId,
    pub network: CloudId,
    pub nic: CloudId,
    pub address: String,
    pub power: Power,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub expunged: Option<Timestamp>,
    pub stubbornness: Stubbornness,
    pub ever_stopped: bool,
}

#[derive(Debug)]
pub(crate) struct Volume {
    pub id: CloudId,
    pub number: u64,
    pub name: String,
    pub owner: CloudId,
    pub vm: Option<CloudId>,
    pub disk_offering: Option<CloudId>,
    pub size_bytes: u64,
    pub created: Timestamp,
    pub removed: Option<Timestamp>,
    pub storage_path: CloudId,
}

#[derive(Debug)]
pub(crate) struct Ip {
    pub id: CloudId,
    pub number: u64,
    pub owner: CloudId,
    pub address: String,
    pub source_nat: bool,
    pub network: Option<CloudId>,
    /// The kind and name of the system machine that uses it, for the hidden system account's addresses.
    pub system_vm: Option<(&'static str, String)>,
    pub created: Timestamp,
    pub removed: Option<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub id: CloudId,
    pub number: u64,
    pub owner: CloudId,
    pub name: String,
    pub router: CloudId,
    pub router_number: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub removed: Option<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct Offering {
    pub id: CloudId,
    pub number: u64,
    pub name: String,
    pub cpus: u32,
    pub mhz: u32,
    pub memory_mib: u32,
    pub created: Timestamp,
    pub root_disk: CloudId,
}

#[derive(Debug)]
pub(crate) struct DiskOffering {
    pub id: CloudId,
    pub number: u64,
    pub name: String,
    pub displaytext: String,
    pub size_gib: u64,
    pub customized: bool,
    pub created: Timestamp,
}

#[derive(Debug)]
pub(crate) struct NetworkOffering {
    pub id: CloudId,
    pub number: u64,
    pub name: String,
    pub displaytext: String,
    pub created: Timestamp,
}

/// A row of listEvents.
#[derive(Debug)]
pub(crate) struct Event {
    pub id: CloudId,
    pub kind: &'static str,
    pub level: &'static str,
    pub description: String,
    pub username: String,
    pub account: CloudId,
    pub resource: Option<(&'static str, CloudId, String)>,
    pub created: Timestamp,
    pub state: &'static str,
    pub parent: Option<CloudId>,
}

/// A browser's session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub user: CloudId,
    pub key: String,
    /// False while the second factor is awaited.
    pub verified: bool,
    pub last_used: Timestamp,
}
