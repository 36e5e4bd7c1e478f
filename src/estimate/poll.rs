//! Reads CloudStack's live lists and stores what there is.
//!
//! Promises: a list that can not be read leaves a note in words and fails nothing; what an incomplete list lacks is
//! not taken for gone; a list that is not allowed leaves nothing behind that could grow old. No database
//! transaction is held across a call.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use super::live::{Shown, Span, Thing, changes, kinds};
use crate::{
    cloudstack::{self, Address, Client, Inventory, LiveVm, LiveVolume, Owner, ResourceTag},
    ids::{AccountId, RunId},
    store::{
        Store, StoreError, Tx, cloud,
        live::{self as rows, Absence, ListState},
        runs,
    },
    time::{Clock, Timestamp},
};

/// The lists, the API that each needs and the usage types that it stands for.
const LISTS: [(&str, &str, &[i32]); 3] = [
    ("machines", "listVirtualMachines", &[kinds::RUNNING_VM, kinds::ALLOCATED_VM]),
    ("volumes", "listVolumes", &[kinds::VOLUME]),
    ("addresses", "listPublicIpAddresses", &[kinds::IP_ADDRESS]),
];

/// States of a machine in which it counts as running: CloudStack ends its running time when it has stopped.
const RUNNING: [&str; 3] = ["Running", "Migrating", "Stopping"];
/// States of a machine that is reported no longer, or never was.
const NO_MACHINE: [&str; 3] = ["Error", "Expunging", "Expunged"];
/// States of a volume that is reported no longer, or never was.
const NO_VOLUME: [&str; 6] = ["Destroy", "Expunging", "Expunged", "UploadError", "UploadAbandoned", "NotUploaded"];
/// Names are kept to so many letters.
const MAX_NAME: usize = 120;

/// How one list was read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ListReport {
    /// machines, volumes, addresses.
    pub list: &'static str,
    /// Things in it.
    pub things: u64,
    /// Whether it was read to its end.
    pub complete: bool,
    /// In words, where it was not.
    pub note: Option<String>,
}

/// What a poll did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct PollReport {
    /// The lists.
    pub lists: Vec<ListReport>,
    /// Things that appeared, or began to cost something else.
    pub opened: u64,
    /// Things that vanished, or cost something else before.
    pub closed: u64,
    /// Resources newly noted as gone.
    pub gone: u64,
    /// Things whose owner bursar does not know (CloudStack's own, or an account made just now).
    pub without_owner: u64,
}

/// Whom things belong to.
#[derive(Debug, Default)]
struct Owners {
    accounts: HashMap<(String, String), AccountId>,
    projects: HashMap<String, (i64, AccountId)>,
}

impl Owners {
    async fn load(tx: &mut Tx) -> Result<Self, StoreError> {
        let accounts = cloud::list_accounts(tx).await?;
        let projects = cloud::list_projects(tx).await?;
        Ok(Self {
            accounts: accounts
                .into_iter()
                .filter(|account| account.gone_ms.is_none())
                .map(|account| ((account.domain_id, account.name), account.id))
                .collect(),
            projects: projects
                .into_iter()
                .filter_map(|project| Some((project.cloud_id, (project.id, project.owner_account_id?))))
                .collect(),
        })
    }

    fn find(&self, owner: Option<Owner>) -> Option<(AccountId, Option<i64>)> {
        match owner? {
            Owner::Account { name, domain } => {
                self.accounts.get(&(domain.to_string(), name)).map(|account| (*account, None))
            }
            Owner::Project(project) => {
                self.projects.get(&project.to_string()).map(|(number, account)| (*account, Some(*number)))
            }
        }
    }
}

/// In order, each key once.
fn tags(tags: &[ResourceTag]) -> Vec<(String, String)> {
    let sorted: BTreeMap<&String, &str> =
        tags.iter().filter_map(|tag| Some((tag.key.as_ref()?, tag.value.as_deref().unwrap_or_default()))).collect();
    sorted.into_iter().map(|(key, value)| (key.clone(), value.to_owned())).collect()
}

fn name(text: Option<&String>) -> String {
    text.map(|text| text.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect()).unwrap_or_default()
}

/// Turns what a list said into things; counts those without a known owner.
struct Reading<'a> {
    owners: &'a Owners,
    shown: Shown,
    without_owner: u64,
}

impl<'a> Reading<'a> {
    fn new(owners: &'a Owners, complete: bool) -> Self {
        Self { owners, shown: Shown { complete, ..Shown::default() }, without_owner: 0 }
    }

    fn owner(&mut self, owner: Option<Owner>) -> Option<(AccountId, Option<i64>)> {
        let found = self.owners.find(owner);
        self.without_owner += u64::from(found.is_none());
        found
    }

    fn machine(&mut self, vm: LiveVm) {
        if NO_MACHINE.contains(&vm.state.as_str()) {
            return;
        }
        let Some((account, project)) = self.owner(vm.owner()) else { return };
        let allocated = Thing {
            usage_type: kinds::ALLOCATED_VM,
            cloud_id: vm.id.to_string(),
            account,
            project,
            name: name(vm.name.as_ref()),
            state: vm.state,
            offering: vm.offering_id,
            zone: vm.zone_id,
            template: vm.template_id,
            os_type: vm.os_type_id,
            cpu_number: vm.cpu_number,
            memory_mib: vm.memory_mib,
            size_bytes: None,
            tags: tags(&vm.tags),
            created: vm.created,
            since: vm.created,
        };
        // A machine that was started after its making has run since its state last changed.
        if RUNNING.contains(&allocated.state.as_str()) {
            let since = vm.updated.max(vm.created);
            self.shown.things.push(Thing { usage_type: kinds::RUNNING_VM, since, ..allocated.clone() });
        } else if let Some(updated) = vm.updated {
            self.shown.ended.insert(allocated.cloud_id.clone(), updated);
        }
        self.shown.things.push(allocated);
    }

    fn volume(&mut self, volume: LiveVolume) {
        if NO_VOLUME.contains(&volume.state.as_str()) {
            return;
        }
        let Some((account, project)) = self.owner(volume.owner()) else { return };
        self.shown.things.push(Thing {
            usage_type: kinds::VOLUME,
            cloud_id: volume.id.to_string(),
            account,
            project,
            name: name(volume.name.as_ref()),
            state: volume.state,
            offering: volume.offering_id,
            zone: volume.zone_id,
            template: volume.template_id,
            os_type: None,
            cpu_number: None,
            memory_mib: None,
            size_bytes: volume.size_bytes,
            tags: tags(&volume.tags),
            created: volume.created,
            since: volume.created,
        });
    }

    fn address(&mut self, address: Address) {
        if address.is_system == Some(true) || address.state.as_deref() == Some("Releasing") {
            return;
        }
        let Some((account, project)) = self.owner(address.owner()) else { return };
        self.shown.things.push(Thing {
            usage_type: kinds::IP_ADDRESS,
            cloud_id: address.id.to_string(),
            account,
            project,
            name: name(address.address.as_ref()),
            state: address.state.unwrap_or_default(),
            offering: None,
            zone: address.zone_id,
            template: None,
            os_type: None,
            cpu_number: None,
            memory_mib: None,
            size_bytes: None,
            tags: tags(&address.tags),
            created: address.allocated,
            since: address.allocated,
        });
    }
}

/// What one list gave.
enum Read {
    Machines(Inventory<LiveVm>),
    Volumes(Inventory<LiveVolume>),
    Addresses(Inventory<Address>),
}

async fn read(client: &Client, list: &str) -> Result<Read, cloudstack::Error> {
    match list {
        "machines" => client.live_machines().await.map(Read::Machines),
        "volumes" => client.live_volumes().await.map(Read::Volumes),
        _ => client.live_addresses().await.map(Read::Addresses),
    }
}

/// Reads every list and stores what it says, each in one transaction. `reach` is how much older than the last poll the
/// records may be that have come since: whose resources are in no list may be gone.
pub async fn poll_inventory(
    client: &Client,
    store: &Store,
    clock: &dyn Clock,
    run: RunId,
    reach: Duration,
) -> Result<PollReport, StoreError> {
    let mut report = PollReport::default();
    for (list, api, usage_types) in LISTS {
        let now = clock.now();
        let answer = read(client, list).await;
        let mut tx = store.begin().await?;
        let before = rows::list_lists(&mut tx).await?.into_iter().find(|state| state.list == list);
        let complete_before = before.as_ref().and_then(|state| state.complete_ms);
        let mut state = ListState {
            list: list.to_owned(),
            tried_ms: now,
            complete_ms: complete_before,
            things: before.map_or(0, |state| state.things),
            note: None,
        };
        match answer {
            Ok(answer) => {
                let owners = Owners::load(&mut tx).await?;
                let reading = reading(&owners, answer);
                report.without_owner += reading.without_owner;
                state.things = i64::try_from(reading.shown.things.len()).unwrap_or(i64::MAX);
                let shown = reading.shown;
                if shown.complete {
                    state.complete_ms = Some(now);
                } else {
                    state.note = Some(format!("{api} kept changing while it was read; what it lacks is kept"));
                }
                let list = Applied { usage_types, shown: &shown, previous: complete_before, now, reach };
                apply(&mut tx, &list, &mut report).await?;
            }
            Err(cloudstack::Error::NotAllowed { .. }) => {
                for usage_type in usage_types {
                    rows::forget_type(&mut tx, *usage_type).await?;
                }
                (state.things, state.complete_ms) = (0, None);
                state.note = Some(format!("not estimated: the reader's role does not allow {api}"));
            }
            Err(error) => {
                tracing::warn!(list, %error, "a live list could not be read; the estimate goes by the one before");
                state.note = Some(format!("not read this time: {error}"));
            }
        }
        rows::put_list(&mut tx, &state).await?;
        runs::commit_for(tx, run).await?;
        report.lists.push(ListReport {
            list,
            things: u64::try_from(state.things).unwrap_or(0),
            complete: state.complete_ms == Some(now),
            note: state.note,
        });
    }
    Ok(report)
}

fn reading(owners: &Owners, answer: Read) -> Reading<'_> {
    match answer {
        Read::Machines(list) => {
            let mut reading = Reading::new(owners, list.complete);
            list.items.into_iter().for_each(|vm| reading.machine(vm));
            reading
        }
        Read::Volumes(list) => {
            let mut reading = Reading::new(owners, list.complete);
            list.items.into_iter().for_each(|volume| reading.volume(volume));
            reading
        }
        Read::Addresses(list) => {
            let mut reading = Reading::new(owners, list.complete);
            list.items.into_iter().for_each(|address| reading.address(address));
            reading
        }
    }
}

struct Applied<'a> {
    usage_types: &'a [i32],
    shown: &'a Shown,
    previous: Option<Timestamp>,
    now: Timestamp,
    reach: Duration,
}

async fn apply(tx: &mut Tx, list: &Applied<'_>, report: &mut PollReport) -> Result<(), StoreError> {
    let known: Vec<(i64, Span)> = rows::list_spans(tx, None, true)
        .await?
        .into_iter()
        .filter(|(_, span)| list.usage_types.contains(&span.thing.usage_type))
        .collect();
    // A clock that was set back must not end spans before they began, nor begin them in the future.
    let previous = list.previous.filter(|previous| *previous <= list.now);
    let changes = changes(&known, list.shown, previous, list.now);
    for (id, until) in &changes.close {
        rows::close_span(tx, *id, *until).await?;
    }
    for span in &changes.open {
        rows::open_span(tx, span).await?;
    }
    report.closed += changes.close.len() as u64;
    report.opened += changes.open.len() as u64;
    if list.shown.complete {
        let live: HashSet<String> = list.shown.things.iter().map(|thing| thing.cloud_id.clone()).collect();
        let appeared: Vec<String> = changes.open.iter().map(|span| span.thing.cloud_id.clone()).collect();
        let absence = Absence {
            usage_types: list.usage_types,
            live: &live,
            appeared: &appeared,
            // The first list looks at all records.
            records_since: list.previous.map(|previous| previous.minus(list.reach)),
            seen_at: list.now,
        };
        report.gone += rows::mark_resources_gone(tx, absence).await?;
    }
    Ok(())
}
