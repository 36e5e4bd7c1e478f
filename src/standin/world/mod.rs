//! The cloud behind the stand-in: what exists, who may do what, and what has been used.
//!
//! Nothing here speaks HTTP. Ids and keys come from one seeded sequence, so that the same calls on the same seed
//! build the same cloud.

pub(crate) mod build;
pub(crate) mod entities;
pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod limits;
pub(crate) mod lookups;
pub(crate) mod machines;
pub(crate) mod pairs;
pub(crate) mod quota;
pub(crate) mod settings;
pub(crate) mod table;

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono_tz::Tz;
use entities::{
    Account, DiskOffering, Domain, Event, Ip, Network, NetworkOffering, Offering, Project, Role, Session, User, Vm,
    Volume,
};
pub use entities::{AccountKind, Power, RoleKind, State, Stubbornness};
pub use lookups::Person;
use table::Table;

use super::{calls::Received, faults::Faults, usage::Usage};
use crate::{ids::CloudId, time::Timestamp};

/// How the server writes numbers and dates.
#[derive(Debug, Clone, Copy)]
pub struct Locale {
    /// The JVM's time zone: dates go out in it, and dates without a zone are read in it.
    pub zone: Tz,
    /// `0,083333` instead of `0.083333` in rawusage.
    pub decimal_comma: bool,
    /// `2023-12-06'T'09:59:59+00:00` in usage records, as up to 4.19.
    pub quoted_dates: bool,
}

/// What the stand-in knows of its one zone, template and guest system.
#[derive(Debug)]
pub(crate) struct Zone {
    pub id: CloudId,
    pub name: &'static str,
    pub template: CloudId,
    pub os_type: CloudId,
    pub os_category: CloudId,
    pub host: CloudId,
    pub physical_network: CloudId,
    pub public_network: CloudId,
    pub vlan: CloudId,
    pub storage: CloudId,
    pub cluster: CloudId,
    pub pod: CloudId,
    pub management_server: CloudId,
    pub token: CloudId,
}

/// The template every machine is made from.
pub(crate) const TEMPLATE_NAME: &str = "CentOS 5.6 (64-bit) no GUI (Simulator)";

/// The source of ids and keys.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: [u8; 16],
    counter: u64,
}

impl Ids {
    fn hasher(&mut self) -> blake3::Hasher {
        self.counter += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed).update(&self.counter.to_le_bytes());
        hasher
    }

    pub(crate) fn id(&mut self) -> CloudId {
        let mut bytes = [0_u8; 16];
        self.hasher().finalize_xof().fill(&mut bytes);
        CloudId::new(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// A key as CloudStack makes them: 64 random bytes in URL-safe Base64.
    pub(crate) fn key(&mut self) -> String {
        let mut bytes = [0_u8; 64];
        self.hasher().finalize_xof().fill(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn bytes20(&mut self) -> [u8; 20] {
        let mut bytes = [0_u8; 20];
        self.hasher().finalize_xof().fill(&mut bytes);
        bytes
    }
}

/// The cloud behind the stand-in.
#[derive(Debug)]
pub struct World {
    pub(crate) now: Timestamp,
    pub(crate) ids: Ids,
    pub(crate) zone: Zone,
    /// How numbers and dates are written.
    pub locale: Locale,
    pub(crate) domains: Table<Domain>,
    pub(crate) accounts: Table<Account>,
    pub(crate) users: Table<User>,
    pub(crate) roles: Table<Role>,
    pub(crate) projects: Table<Project>,
    pub(crate) vms: Table<Vm>,
    pub(crate) volumes: Table<Volume>,
    pub(crate) ips: Table<Ip>,
    pub(crate) networks: Table<Network>,
    pub(crate) offerings: Table<Offering>,
    pub(crate) disk_offerings: Table<DiskOffering>,
    pub(crate) network_offerings: Table<NetworkOffering>,
    pub(crate) numbers: Numbers,
    pub(crate) root: CloudId,
    pub(crate) admin: CloudId,
    pub(crate) events: Vec<Event>,
    pub(crate) jobs: Table<jobs::Job>,
    pub(crate) sessions: HashMap<String, Session>,
    pub(crate) settings: settings::Settings,
    pub(crate) usage: Usage,
    pub(crate) icons: HashMap<(String, String), String>,
    pub(crate) resource_tags: HashMap<String, Vec<(String, String)>>,
    pub(crate) api_keys: HashMap<String, CloudId>,
    /// Whether a user has several pairs (4.23), and those pairs.
    pub(crate) several_pairs: bool,
    pub(crate) named_pairs: Vec<pairs::NamedPair>,
    pub(crate) received: Vec<Received>,
    pub(crate) quota: quota::Quota,
    pub(crate) throttle: HashMap<CloudId, (Timestamp, u32)>,
    pub(crate) faults: Faults,
    pub(crate) job_delay_polls: u32,
    pub(crate) page_limit: usize,
    /// Host tags that limits may be narrowed to (`resource.limit.host.tags`).
    pub(crate) limit_tags: Vec<String>,
}

/// The next internal number of each kind; machines and routers share one sequence, as in CloudStack.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub domain: u64,
    pub account: u64,
    pub user: u64,
    pub role: u64,
    pub project: u64,
    pub instance: u64,
    pub volume: u64,
    pub ip: u64,
    pub network: u64,
    pub job: u64,
    pub address: u32,
}

pub(crate) fn next(number: &mut u64) -> u64 {
    let current = *number;
    *number += 1;
    current
}

impl World {
    /// The instant that the cloud takes for now.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The faults that wait for calls.
    pub fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// The calls received so far, oldest first, without any secret.
    pub fn calls(&self) -> &[Received] {
        &self.received
    }

    /// Forgets the calls received so far.
    pub fn forget_calls(&mut self) {
        self.received.clear();
    }

    /// Moves the cloud's clock and lets what was due by then happen: jobs that nobody polls end by themselves.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        self.now = now;
        self.settle_jobs();
    }

    pub(crate) fn reseed(&mut self, seed: [u8; 16]) {
        self.ids = Ids { seed, counter: 0 };
    }
}

impl World {
    /// A tariff's id: the same for the same usage type.
    pub(crate) fn tariff_id(usage_type: u8) -> CloudId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"tariff").update(&[usage_type]);
        let mut bytes = [0_u8; 16];
        hasher.finalize_xof().fill(&mut bytes);
        CloudId::new(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}
