//! The small cloud of one life, bursar beside it, and what is particular to this seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use super::{
    Error, book,
    dice::{Dice, derived},
    watch::Fuse,
    wire::Cloud,
};
use crate::{
    config::{Config, Sources},
    ids::CloudId,
    jobs::app::{Role, store_settings},
    random::SeededRandom,
    setup::rights,
    standin::{AccountKind, InProcess, Options, RoleKind, World},
    store::{Store, StoreSettings},
    time::{Clock, ManualClock, Timestamp},
};

/// Midnight of 1 November 2026, UTC: where every life begins.
pub const BEGINS: i64 = 1_793_491_200;
/// The first billing day: the one before, since the part of the very first window that lies before midnight is charged by its time.
const FIRST_DAY: &str = "2026-10-31";
/// The URL of the cloud; nothing listens there.
const URL: &str = "http://127.0.0.1:1/client/api";
/// Kinds of limits of which nobody has any: VPCs, buckets, object storage, GPUs, templates; and, without a project, projects.
const UNUSED: [u8; 6] = [7, 14, 15, 16, 4, PROJECTS];
/// Of these, projects are what some tenants have.
const PROJECTS: u8 = 5;
/// Ranges of the usage job, in minutes; a day is the usual one.
const RANGES: [i64; 5] = [1_440, 1_440, 1_440, 720, 360];

/// bursar's clock: CloudStack's, and off it by so much.
#[derive(Debug, Clone)]
pub struct OffClock {
    /// CloudStack's.
    pub time: ManualClock,
    off_ms: Arc<AtomicI64>,
}

impl OffClock {
    /// On time.
    pub fn new(time: ManualClock) -> Self {
        Self { time, off_ms: Arc::default() }
    }

    /// Sets how far ahead it is.
    pub fn set_off(&self, ms: i64) {
        self.off_ms.store(ms, Ordering::SeqCst);
    }

    /// How far ahead it is.
    pub fn off_ms(&self) -> i64 {
        self.off_ms.load(Ordering::SeqCst)
    }
}

impl Clock for OffClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.time.now().as_ms().saturating_add(self.off_ms()))
    }
}

/// What an account is to bursar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// May be acted upon once it has a limit.
    Tenant,
    /// Never: on the list, out of scope, or an administrator's.
    Untouchable,
}

/// An account of the cloud.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: CloudId,
    /// Its name.
    pub name: String,
    /// What it is to bursar.
    pub kind: Kind,
    /// Its projects, and the accounts that these have.
    pub projects: Vec<(CloudId, CloudId)>,
}

impl Tenant {
    /// Everything whose usage it pays for.
    pub fn owners(&self) -> Vec<CloudId> {
        std::iter::once(self.id).chain(self.projects.iter().map(|(_, account)| *account)).collect()
    }
}

/// What differs from seed to seed for a whole life.
#[derive(Debug, Clone)]
pub struct Lot {
    /// Tax in percent.
    pub tax_percent: i64,
    /// Hours between a warning and a step.
    pub warning_hours: u64,
    /// Least sum that opens, in millionths.
    pub restore_minimum: i64,
    /// Accounts that the fuse lets through.
    pub fuse_accounts: u64,
    /// And what percent of all.
    pub fuse_percent: u64,
    /// Running machines of accounts that the fuse lets through.
    pub fuse_machines: u64,
    /// Whether the usage server hears of some stops late.
    pub late: bool,
    /// Whether a second process works on the same database.
    pub two: bool,
    /// How many calls in a thousand fail on a bad day: reads, writes.
    pub faults: (u64, u64),
    /// Ticks of the life.
    pub ticks: u64,
    /// Whether warnings go by mail, and count from when it was sent; otherwise from when they were written.
    pub mail: bool,
}

impl Lot {
    fn drawn(dice: &Dice, seed: u64) -> Self {
        Self {
            mail: Dice::of(seed, "mail").chance(300),
            tax_percent: if dice.chance(300) { 20 } else { 0 },
            warning_hours: *dice.pick(&[1, 24, 48, 48]).unwrap_or(&48),
            restore_minimum: *dice.pick(&[1_000_000, 1_000_000, 5_000_000]).unwrap_or(&1_000_000),
            fuse_accounts: dice.between(1, 5),
            fuse_percent: *dice.pick(&[2, 50, 100, 100]).unwrap_or(&100),
            fuse_machines: Dice::of(seed, "machines").between(3, 20),
            late: dice.chance(600),
            two: dice.chance(500),
            faults: (dice.below(60), dice.below(300)),
            ticks: dice.between(20, 45),
        }
    }

    /// How much may be taken down in a day.
    pub fn fuse(&self, accounts: usize) -> Fuse {
        let accounts = u64::try_from(accounts).unwrap_or(0);
        let accounts = self.fuse_accounts.min((self.fuse_percent * accounts / 100).max(1));
        Fuse { accounts, machines: self.fuse_machines }
    }
}

/// Everything that a life begins with.
pub struct Begun {
    /// The cloud.
    pub cloud: Arc<Cloud>,
    /// bursar's clock.
    pub clock: OffClock,
    /// Its accounts.
    pub tenants: Vec<Tenant>,
    /// What is particular to the seed.
    pub lot: Lot,
    /// bursar's configuration.
    pub env: BTreeMap<String, String>,
}

/// An empty database, brought up to date, that every life begins with a copy of.
pub async fn prepare_database(folder: &Path) -> Result<PathBuf, Error> {
    let template = folder.join("template");
    let settings =
        StoreSettings { data_dir: template.clone(), url: crate::secrets::Secret::new(""), max_connections: 2 };
    let store = Store::open(&settings).await.map_err(Error::setup)?;
    store.close().await;
    Ok(template.join("bursar.db"))
}

/// Makes the cloud of a seed.
pub fn begin(seed: u64, folder: &Path) -> Result<Begun, Error> {
    let dice = Dice::of(seed, "setup");
    let lot = Lot::drawn(&dice, seed);
    let start = Timestamp::from_seconds(BEGINS);
    let time = ManualClock::new(start);
    let mut world = World::new(start);
    let range = dice.pick(&RANGES).copied().unwrap_or(1_440);
    world.set_configuration("usage.stats.job.aggregation.range", &range.to_string());
    let mut keys = Vec::new();
    for role in [Role::Reader, Role::Enforcer] {
        let name = format!("bursar-{}", role.section());
        let id = world.add_role(&name, RoleKind::Admin, &rights::rules(role));
        keys.push((role.section().to_uppercase(), world.add_service_account(&name, id)));
    }
    let tenants = populate(&mut world, &dice, start);
    let options = Options {
        clock: Arc::new(time.clone()),
        random: Arc::new(SeededRandom::new(derived(seed, "ids"))),
        job_delay_polls: u32::try_from(dice.below(4)).unwrap_or(0),
        ..Options::default()
    };
    let standin = InProcess::new(world, &options);
    let mut env = BTreeMap::new();
    let mut set = |key: &str, value: String| env.insert(format!("BURSAR_{key}"), value);
    set("CLOUDSTACK_URL", URL.to_owned());
    for (section, (api_key, secret_key)) in &keys {
        set(&format!("CLOUDSTACK_{section}_API_KEY"), api_key.clone());
        set(&format!("CLOUDSTACK_{section}_SECRET_KEY"), secret_key.expose().to_owned());
    }
    set("CLOUDSTACK_READ_RETRIES", dice.below(2).to_string());
    set("CLOUDSTACK_CONCURRENCY", "1".to_owned());
    set("STORE_DATA_DIR", folder.display().to_string());
    set("STORE_MAX_CONNECTIONS", "2".to_owned());
    let prices = folder.join("prices.toml");
    std::fs::write(&prices, book::PRICES).map_err(Error::setup)?;
    set("BILLING_PRICE_BOOK", prices.display().to_string());
    set("BILLING_START", FIRST_DAY.to_owned());
    set("BILLING_TAX_PERCENT", lot.tax_percent.to_string());
    set("BILLING_CORRECTION_LIMIT", String::new());
    set("POLICY_RESTRICT_ENABLED", dice.chance(800).to_string());
    let lock_after = dice.below(4);
    set("POLICY_LOCK_AFTER_DAYS", lock_after.to_string());
    set("POLICY_STOP_ENABLED", dice.chance(800).to_string());
    set("POLICY_STOP_AFTER_DAYS", (lock_after + dice.below(3)).to_string());
    set("POLICY_ON_DRIFT", if dice.chance(500) { "suspend" } else { "leave" }.to_owned());
    if lot.mail {
        let outbox = folder.join("mail");
        std::fs::create_dir(&outbox).map_err(Error::setup)?;
        set("MAIL_TRANSPORT", "folder".to_owned());
        set("MAIL_FOLDER", outbox.display().to_string());
        set("MAIL_FROM", "billing@example.com".to_owned());
        set("MAIL_ADMINS", "admin@example.com".to_owned());
    } else {
        set("MAIL_TRANSPORT", "off".to_owned());
    }
    set("POLICY_WARNING_HOURS", lot.warning_hours.to_string());
    set("POLICY_RESTORE_MINIMUM", format!("{}.00", lot.restore_minimum / 1_000_000));
    set("POLICY_PROTECTED_ACCOUNTS", "ROOT/acme/listed".to_owned());
    set("SCOPE_DOMAINS", "ROOT/acme".to_owned());
    set("FUSE_ACCOUNTS", lot.fuse_accounts.to_string());
    set("FUSE_RUNNING_VMS", lot.fuse_machines.to_string());
    set("FUSE_PERCENT", lot.fuse_percent.to_string());
    set("ENFORCEMENT_STARTS_AT_ONCE", dice.between(1, 3).to_string());
    let cloud = Arc::new(Cloud::new(standin, time.clone()));
    Ok(Begun { cloud, clock: OffClock::new(time), tenants, lot, env })
}

fn populate(world: &mut World, dice: &Dice, start: Timestamp) -> Vec<Tenant> {
    let root = world.root_domain();
    let acme = world.add_domain(root, "acme");
    let shop = world.add_domain(acme, "shop");
    let other = world.add_domain(root, "other");
    let mut tenants = Vec::new();
    let mut add = |world: &mut World, domain: CloudId, name: String, account: AccountKind, kind: Kind| {
        let id = world.add_account(domain, &name, account);
        world.add_user(id, &name, "password-of-a-tenant", &format!("{name}@example.com"));
        tenants.push(Tenant { id, name, kind, projects: Vec::new() });
    };
    for number in 0..dice.between(3, 5) {
        let (domain, account) = match number {
            0 => (acme, AccountKind::DomainAdmin),
            number if number % 2 == 0 => (shop, AccountKind::User),
            _ => (acme, AccountKind::User),
        };
        add(world, domain, format!("tenant{number}"), account, Kind::Tenant);
    }
    add(world, acme, "listed".to_owned(), AccountKind::User, Kind::Untouchable);
    add(world, acme, "resources".to_owned(), AccountKind::ResourceAdmin, Kind::Untouchable);
    add(world, other, "outside".to_owned(), AccountKind::User, Kind::Untouchable);
    add(world, acme, "root".to_owned(), AccountKind::RootAdmin, Kind::Untouchable);
    let offerings = machine_sizes(world);
    for (number, tenant) in tenants.iter_mut().enumerate() {
        if tenant.kind == Kind::Tenant && dice.chance(500) {
            let project = world.add_project(tenant.id, &format!("project{number}"));
            let account = world.owner_account(project);
            tenant.projects.push((project, account));
            if let Some(offering) = dice.pick(&offerings) {
                world.deploy_vm(project, &format!("{}-web", tenant.name), *offering, start);
            }
        }
        for machine in 0..dice.between(1, 3) {
            if let Some(offering) = dice.pick(&offerings) {
                world.deploy_vm(tenant.id, &format!("{}-{machine}", tenant.name), *offering, start);
            }
        }
        if dice.chance(300) {
            world.set_limit(tenant.id, 0, i64::try_from(dice.between(4, 30)).unwrap_or(20));
        }
        // What nobody makes has a limit of nothing in most lives: a restriction then has as much less to lower, and a life is faster.
        let none_used = |kind: &&u8| **kind != PROJECTS || tenant.projects.is_empty();
        for owner in tenant.owners() {
            for kind in UNUSED.iter().filter(none_used) {
                if dice.chance(700) {
                    world.set_limit(owner, *kind, 0);
                }
            }
        }
    }
    tenants
}

/// The sizes that machines are made in.
pub fn machine_sizes(world: &World) -> Vec<CloudId> {
    ["Small Instance", "Medium Instance", "Large Instance"]
        .iter()
        .filter_map(|name| world.find_offering(name))
        .collect()
}

/// bursar's configuration.
pub fn configuration(env: &BTreeMap<String, String>) -> Result<Config, Error> {
    let vars: Vec<(OsString, OsString)> = env.iter().map(|(key, value)| (key.into(), value.into())).collect();
    Config::load(&Sources::new(None, vars).with_fallback(None)).map_err(Error::setup)
}

/// Opens the database of a life.
pub async fn open(config: &Config) -> Result<Store, Error> {
    Store::open(&store_settings(config)).await.map_err(Error::setup)
}

/// Accounts that bursar counts for the fuse: all that are listed, service accounts and administrators too.
pub fn counted_accounts(world: &World) -> usize {
    world
        .accounts
        .iter()
        .filter(|account| account.removed.is_none() && account.kind != 5 && account.number != 1)
        .map(|account| account.id)
        .collect::<BTreeSet<_>>()
        .len()
}
