//! The demo's cloud: a stand-in with a handful of tenants, the same on every start.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use url::Url;

use crate::{
    ids::CloudId,
    jobs::Role,
    random::SeededRandom,
    secrets::Secret,
    setup::rights,
    standin::{AccountKind, Options, RoleKind, StandIn, State, World},
    time::{Clock as _, ManualClock, Timestamp},
};

/// What the demo's cloud charges.
pub const PRICES: &str = include_str!("prices.toml");
/// Every demo person's password.
pub const PASSWORD: &str = "demo-password";
/// The ids and keys of the demo's cloud are the same on every start.
const SEED: u64 = 20_261_122;

/// The tenants: name, and what they are in the story.
pub const TENANTS: [(&str, &str); 6] = [
    ("alice", "comfortable"),
    ("bob", "near the limit"),
    ("carol", "over the limit, in the domain acme"),
    ("dave", "locked by an administrator before bursar came"),
    ("erin", "owns a project"),
    ("frank", "over the limit, pays in the end"),
];

/// The running cloud.
pub struct DemoCloud {
    standin: StandIn,
    keys: BTreeMap<&'static str, (String, Secret)>,
    accounts: BTreeMap<&'static str, CloudId>,
}

impl DemoCloud {
    /// Builds the cloud and starts it; states of accounts are taken from the folder where it ran before.
    pub async fn start(folder: &Path, clock: ManualClock) -> anyhow::Result<Self> {
        let mut world = World::new(clock.now());
        world.set_configuration("usage.stats.job.aggregation.range", "60");
        let mut keys = BTreeMap::new();
        for role in [Role::Reader, Role::Enforcer, Role::Keys] {
            let name = role.section();
            let narrow = world.add_role(&format!("bursar-{name}"), RoleKind::Admin, &rights::rules(role));
            keys.insert(name, world.add_service_account(&format!("bursar-{name}"), narrow));
        }
        let accounts = build(&mut world).context("the demo's cloud has no offerings")?;
        let file = folder.join("cloud-states.json");
        restore_states(&mut world, &file, &accounts)?;
        let options = Options {
            clock: Arc::new(clock),
            random: Arc::new(SeededRandom::new(SEED)),
            job_delay_polls: 1,
            on_answer: Some(keeper(file, accounts.clone())),
            ..Options::default()
        };
        let standin = StandIn::start(world, options).await?;
        Ok(Self { standin, keys, accounts })
    }

    /// Where its API is.
    pub fn url(&self) -> Url {
        self.standin.url()
    }

    /// The pairs of bursar's service accounts.
    pub fn service_keys(&self) -> impl Iterator<Item = (&'static str, &(String, Secret))> {
        self.keys.iter().map(|(name, pair)| (*name, pair))
    }

    /// The state of a tenant's account, as the cloud has it.
    pub fn state(&self, name: &str) -> &'static str {
        let state = self.accounts.get(name).and_then(|id| self.standin.with(|world| world.account_state(*id)));
        match state {
            Some(State::Enabled) => "enabled",
            Some(State::Locked) => "locked",
            Some(State::Disabled) => "disabled",
            None => "gone",
        }
    }

    /// Lets a day pass: bytes flow, and the usage job reports the hours.
    pub fn live_until(&self, began: Timestamp, day: u32, clock: &ManualClock) -> usize {
        let now = began.plus(Duration::from_hours(u64::from(day) * 24));
        let noon = now.minus(Duration::from_hours(12));
        clock.set(noon);
        self.standin.with(|world| {
            for id in self.accounts.values() {
                if let Some(network) = world.network_of(*id) {
                    world.transfer_bytes(network, 3_000_000_000, 9_000_000_000, noon);
                }
            }
        });
        clock.set(now);
        self.standin.with(|world| {
            world.run_usage_job(now);
            world.usage_record_count()
        })
    }

    /// Lets the hours of the real clock pass while the pages are served.
    pub fn tick(&self, clock: &ManualClock) {
        let now = clock.now();
        self.standin.with(|world| world.run_usage_job(now));
    }
}

fn build(world: &mut World) -> Option<BTreeMap<&'static str, CloudId>> {
    let root = world.find_domain("ROOT")?;
    let acme = world.add_domain(root, "acme");
    let (small, medium) = (world.find_offering("Small Instance")?, world.find_offering("Medium Instance")?);
    let now = world.now();
    let mut accounts = BTreeMap::new();
    for (name, _) in TENANTS {
        let domain = if name == "carol" { acme } else { root };
        let account = world.add_account(domain, name, AccountKind::User);
        world.add_user(account, name, PASSWORD, &format!("{name}@example.com"));
        accounts.insert(name, account);
        let machines: &[(&str, CloudId)] = match name {
            "alice" => &[("web", medium), ("db", medium)],
            "carol" => &[("shop", medium), ("search", medium), ("cache", small)],
            "frank" => &[("build", medium), ("mail", small)],
            "erin" => &[("lab", small)],
            _ => &[("www", small)],
        };
        for (machine, offering) in machines {
            world.deploy_vm(account, &format!("{name}-{machine}"), *offering, now);
        }
    }
    let project = world.add_project(*accounts.get("erin")?, "erin-research");
    world.deploy_vm(project, "research-1", medium, now);
    world.lock_by_admin(*accounts.get("dave")?);
    Some(accounts)
}

fn word(state: State) -> &'static str {
    match state {
        State::Enabled => "enabled",
        State::Locked => "locked",
        State::Disabled => "disabled",
    }
}

/// What the cloud keeps of its tenants over a restart: the state, and who locked it when, which its events tell bursar.
fn states(world: &World, accounts: &BTreeMap<&'static str, CloudId>) -> BTreeMap<String, String> {
    let mut states = BTreeMap::new();
    for (name, id) in accounts {
        let Some(state) = world.account_state(*id) else { continue };
        states.insert((*name).to_owned(), word(state).to_owned());
        if let Some((at, username)) = world.last_suspension(*id) {
            states.insert(format!("{name}/locked-at-ms"), at.as_ms().to_string());
            states.insert(format!("{name}/locked-by"), username);
        }
    }
    states
}

fn restore_states(world: &mut World, file: &Path, accounts: &BTreeMap<&'static str, CloudId>) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(()) };
    let states: BTreeMap<String, String> =
        serde_json::from_str(&text).with_context(|| format!("{} is not the demo's", file.display()))?;
    for (name, id) in accounts {
        match states.get(*name).map(String::as_str) {
            Some("locked") => world.set_account_state(*id, State::Locked),
            Some("disabled") => world.set_account_state(*id, State::Disabled),
            Some(_) => world.set_account_state(*id, State::Enabled),
            None => {}
        }
        let at = states.get(&format!("{name}/locked-at-ms")).and_then(|ms| ms.parse().ok()).map(Timestamp::from_ms);
        let by = states.get(&format!("{name}/locked-by"));
        if let (Some(at), Some(username)) = (at, by)
            && world.last_suspension(*id).is_none_or(|(known, _)| known < at)
        {
            world.remember_suspension(*id, username, at);
        }
    }
    Ok(())
}

/// Writes the states of the tenants' accounts whenever they changed, before the cloud answers.
fn keeper(file: PathBuf, accounts: BTreeMap<&'static str, CloudId>) -> crate::standin::OnAnswer {
    let last: Mutex<String> = Mutex::new(String::new());
    Arc::new(move |world: &World| {
        let states = states(world, &accounts);
        let text = serde_json::to_string(&states).unwrap_or_default();
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *last == text {
            return;
        }
        let part = file.with_extension("part");
        let written = std::fs::write(&part, &text).and_then(|()| std::fs::rename(&part, &file));
        if let Err(error) = written {
            tracing::error!(%error, "the demo's cloud could not keep its states");
        }
        *last = text;
    })
}
