//! The CloudStack API client: what bursar reads from CloudStack and the few things that it does there.
//!
//! Promises: reads are retried, writes never; a write whose answer was lost is [`Error::Uncertain`]; every call has a
//! deadline and a size limit; secrets show up in no error, log or URL. Must not: decide anything, store anything, keep
//! cookies, or call `enableUser` (which would lift a suspension, facts 4.4).

mod accounts;
mod carrier;
mod catalogue;
mod client;
mod directory;
mod discovery;
mod envelope;
mod error;
mod events;
mod fields;
mod inventory;
mod jobs;
mod keys;
mod limits;
mod machines;
mod pace;
mod params;
pub mod person;
mod projects;
mod quota;
mod roles;
pub mod session;
mod settings;
pub mod signing;
mod transport;
mod usage;
mod users;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod recorded;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod traps;

pub use accounts::NewAccount;
pub use carrier::{Carried, Carrier, NotCarried, OnItsWay};
pub use catalogue::{Offering, Zone};
pub use client::{Client, Listing, Stopwatch};
pub use directory::{Account, AccountState, ApiKeyAccess, Domain, Project, User};
pub use discovery::{ApiDescription, ApiParameter, Capabilities, Configuration};
pub use envelope::Page;
pub use error::Error;
pub use events::{Event, EventFilter, Events, OwnUser};
pub use inventory::{Address, Inventory, LiveVm, LiveVolume, Owner};
pub use jobs::JobState;
pub use keys::{KeyPair, NamedPair, PairTerms, UserKeys};
pub use limits::{LimitOwner, PRIMARY_STORAGE, ResourceLimit, ResourceUse};
pub use machines::{VirtualMachine, VmFilter};
pub use pace::ReadPace;
pub use projects::ProjectMember;
pub use quota::{QuotaBalance, QuotaCredit, QuotaItem, QuotaTariff};
pub use roles::{Role, RolePermission};
pub use settings::{ClientSettings, Credentials};
pub use usage::{ResourceTag, UsageQuery, UsageRow, UsageServerMetrics, UsageType};
pub use users::NewUser;
