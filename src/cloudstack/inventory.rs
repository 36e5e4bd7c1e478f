//! What there is right now: machines, volumes and public addresses, of accounts and of projects.
//!
//! Promises: a list says whether it is complete. CloudStack's pages are no snapshot (facts 1.8): what vanishes while they
//! are read moves the rest forward, and a row is skipped without a word. So a list whose count changed from page to
//! page is read again, and one that never holds still is given as far as it goes, marked as incomplete.

use std::collections::HashSet;

use serde::Deserialize;

use super::{Client, Error, ResourceTag, envelope::Entry, fields, params::Params};
use crate::{ids::CloudId, time::Timestamp};

/// How often a list that changed while it was read is read again.
const TRIES: u32 = 3;
/// The most pages of one list: a million rows with CloudStack's default page size.
const MAX_PAGES: u32 = 2_000;

/// Whose a thing is, as its list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// An account, by its name and its domain's id.
    Account {
        /// Its name, unique within the domain only.
        name: String,
        /// The domain.
        domain: CloudId,
    },
    /// A project.
    Project(CloudId),
}

/// One list as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory<T> {
    /// Each thing once.
    pub items: Vec<T>,
    /// Whether it holds everything. Only then absence means something.
    pub complete: bool,
}

/// The owner's fields, which all lists share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct OwnerFields {
    #[serde(default, deserialize_with = "fields::text")]
    account: Option<String>,
    #[serde(default, rename = "domainid", deserialize_with = "fields::id")]
    domain_id: Option<CloudId>,
    #[serde(default, rename = "projectid", deserialize_with = "fields::id")]
    project_id: Option<CloudId>,
}

impl OwnerFields {
    fn owner(&self) -> Option<Owner> {
        match (self.project_id, &self.account, self.domain_id) {
            (Some(project), ..) => Some(Owner::Project(project)),
            (None, Some(name), Some(domain)) => Some(Owner::Account { name: name.clone(), domain }),
            _ => None,
        }
    }
}

/// A machine with what its price may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LiveVm {
    /// Its id: the usage id of its records.
    pub id: CloudId,
    #[serde(flatten)]
    owner: OwnerFields,
    /// The name that people see.
    #[serde(default, rename = "displayname", deserialize_with = "fields::text")]
    pub name: Option<String>,
    /// `Running`, `Stopped`, `Starting`, `Stopping`, `Migrating`, `Error`, …
    #[serde(deserialize_with = "fields::required_text")]
    pub state: String,
    /// Its zone.
    #[serde(default, rename = "zoneid", deserialize_with = "fields::text")]
    pub zone_id: Option<String>,
    /// Its service offering.
    #[serde(default, rename = "serviceofferingid", deserialize_with = "fields::text")]
    pub offering_id: Option<String>,
    /// Its template.
    #[serde(default, rename = "templateid", deserialize_with = "fields::text")]
    pub template_id: Option<String>,
    /// Its operating system.
    #[serde(default, rename = "ostypeid", deserialize_with = "fields::text")]
    pub os_type_id: Option<String>,
    /// Virtual CPUs.
    #[serde(default, rename = "cpunumber", deserialize_with = "fields::whole")]
    pub cpu_number: Option<i64>,
    /// Memory in MiB.
    #[serde(default, rename = "memory", deserialize_with = "fields::whole")]
    pub memory_mib: Option<i64>,
    /// When it was made.
    #[serde(default, deserialize_with = "fields::instant")]
    pub created: Option<Timestamp>,
    /// When its state last changed.
    #[serde(default, rename = "lastupdated", deserialize_with = "fields::instant")]
    pub updated: Option<Timestamp>,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<ResourceTag>,
}

/// A volume with what its price may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LiveVolume {
    /// Its id: the usage id of its records.
    pub id: CloudId,
    #[serde(flatten)]
    owner: OwnerFields,
    /// Its name.
    #[serde(default, deserialize_with = "fields::text")]
    pub name: Option<String>,
    /// `Ready`, `Allocated`, `Destroy`, …
    #[serde(deserialize_with = "fields::required_text")]
    pub state: String,
    /// Its zone.
    #[serde(default, rename = "zoneid", deserialize_with = "fields::text")]
    pub zone_id: Option<String>,
    /// Its disk offering; a root disk may have none.
    #[serde(default, rename = "diskofferingid", deserialize_with = "fields::text")]
    pub offering_id: Option<String>,
    /// A root disk's template.
    #[serde(default, rename = "templateid", deserialize_with = "fields::text")]
    pub template_id: Option<String>,
    /// Bytes.
    #[serde(default, rename = "size", deserialize_with = "fields::whole")]
    pub size_bytes: Option<i64>,
    /// When it was made.
    #[serde(default, deserialize_with = "fields::instant")]
    pub created: Option<Timestamp>,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<ResourceTag>,
}

/// A public address that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// Its id: the usage id of its records.
    pub id: CloudId,
    #[serde(flatten)]
    owner: OwnerFields,
    /// The address.
    #[serde(default, rename = "ipaddress", deserialize_with = "fields::text")]
    pub address: Option<String>,
    /// `Allocated`, `Releasing`, …
    #[serde(default, deserialize_with = "fields::text")]
    pub state: Option<String>,
    /// Whether a machine of CloudStack itself holds it.
    #[serde(default, rename = "issystem", deserialize_with = "fields::flag")]
    pub is_system: Option<bool>,
    /// Its zone.
    #[serde(default, rename = "zoneid", deserialize_with = "fields::text")]
    pub zone_id: Option<String>,
    /// Since when it is held.
    #[serde(default, deserialize_with = "fields::instant")]
    pub allocated: Option<Timestamp>,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<ResourceTag>,
}

/// An entry with an id.
pub(super) trait Thing: Entry {
    fn id(&self) -> CloudId;
}

macro_rules! thing {
    ($($name:ident),*) => {$(
        impl Entry for $name {}
        impl Thing for $name {
            fn id(&self) -> CloudId {
                self.id
            }
        }
        impl $name {
            /// Whose it is; None where the list does not say.
            pub fn owner(&self) -> Option<Owner> {
                self.owner.owner()
            }
        }
    )*};
}

thing!(LiveVm, LiveVolume, Address);

impl Client {
    /// Every machine, of accounts and of projects, with its offering and template.
    pub async fn live_machines(&self) -> Result<Inventory<LiveVm>, Error> {
        // "min" leaves out the offering (recorded in 046); everything else would be slow to gather.
        self.everywhere("listVirtualMachines", &Params::new().with("listall", true).with("details", "servoff,tmpl"))
            .await
    }

    /// Every volume, of accounts and of projects.
    pub async fn live_volumes(&self) -> Result<Inventory<LiveVolume>, Error> {
        self.everywhere("listVolumes", &Params::new().with("listall", true)).await
    }

    /// Every public address that is held, by accounts and by projects.
    pub async fn live_addresses(&self) -> Result<Inventory<Address>, Error> {
        self.everywhere("listPublicIpAddresses", &Params::new().with("listall", true)).await
    }

    /// A list of what accounts have, then one with what projects have. With `listall` 4.22 gives administrators everything in the second
    /// one already; the first stays for releases that give them apart.
    async fn everywhere<T: Thing>(&self, command: &str, params: &Params) -> Result<Inventory<T>, Error> {
        let mut all = self.steady::<T>(command, params).await?;
        let projects = self.steady::<T>(command, &params.clone().with("projectid", "-1")).await?;
        all.complete &= projects.complete;
        // What is in both lists must not count twice.
        let known: HashSet<CloudId> = all.items.iter().map(Thing::id).collect();
        all.items.extend(projects.items.into_iter().filter(|thing| !known.contains(&thing.id())));
        Ok(all)
    }

    /// A list that held still while it was read, or the last try at one.
    pub(super) async fn steady<T: Thing>(&self, command: &str, params: &Params) -> Result<Inventory<T>, Error> {
        let mut last = Inventory { items: Vec::new(), complete: false };
        for _ in 0..TRIES {
            last = self.once(command, params).await?;
            if last.complete {
                break;
            }
        }
        if !last.complete {
            tracing::warn!(command, rows = last.items.len(), "a list of CloudStack kept changing while it was read");
        }
        Ok(last)
    }

    async fn once<T: Thing>(&self, command: &str, params: &Params) -> Result<Inventory<T>, Error> {
        let mut items = Vec::new();
        let mut seen = HashSet::new();
        let (mut rows_seen, mut first_count, mut steady) = (0_u64, None, true);
        for number in 1..=MAX_PAGES {
            let (page, size) = self.list_page::<T>(command, params, number).await?;
            let rows = page.rows() as u64;
            rows_seen = rows_seen.saturating_add(rows);
            let count = page.count.unwrap_or(rows_seen);
            steady &= count == *first_count.get_or_insert(count) && page.unreadable == 0;
            for item in page.items {
                // The same again is a row that moved back while the pages were read.
                steady &= seen.insert(item.id());
                items.push(item);
            }
            if rows == 0 || rows < u64::from(size) || rows_seen >= count {
                steady &= rows_seen == count;
                break;
            }
            steady &= number < MAX_PAGES;
        }
        let mut once = HashSet::new();
        items.retain(|item| once.insert(item.id()));
        Ok(Inventory { items, complete: steady })
    }
}
