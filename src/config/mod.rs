//! The configuration: typed, checked, and the same for every part of the program.
//!
//! It is read once, from three layers (built-in default, one file, environment), and either all of it is right or every
//! problem is told at once. A [`Config`] can only come out of [`Config::load`], so whoever holds one needs no further
//! checks. Nothing here reads the process's environment or arguments: [`Sources`] brings them in. No output of this
//! module, its Debug included, shows a secret.

mod check;
mod layers;
mod mail;
mod oidc;
mod policy_section;
mod problem;
mod reading;
mod schema;
mod show;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use chrono_tz::Tz;
use rust_decimal::Decimal;
use url::Url;

pub use self::{
    layers::{DEFAULT_FILE, Sources},
    mail::{Mail, MailSecurity, MailServer, MailTransport},
    oidc::Issuer,
    problem::{Origin, Problem, Problems},
    show::reference,
};
use crate::{
    ids::CloudId,
    money::{Currency, Money},
    policy::{self, PolicyPatch},
    schedule::Schedule,
    secrets::Secret,
    time::Day,
};

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// How CloudStack is reached.
    pub cloudstack: Cloudstack,
    /// Where data is kept.
    pub store: Store,
    /// What is charged.
    pub billing: Billing,
    /// Which part of the cloud is looked at.
    pub scope: Scope,
    /// When accounts are warned, restricted, locked, stopped and restored.
    pub policy: Policy,
    /// How much may be done before a person is asked.
    pub fuse: Fuse,
    /// What enforcement waits for.
    pub enforcement: Enforcement,
    /// Mail to tenants and administrators.
    pub mail: Mail,
    /// API keys for tenants.
    pub access: Access,
    /// The pages and the JSON API.
    pub web: Web,
    /// Issuers that people may sign in with.
    pub oidc: Vec<Issuer>,
    /// Figures for Prometheus.
    pub metrics: Metrics,
    /// What is logged.
    pub log: Log,
    /// When jobs run by themselves.
    pub jobs: Jobs,
    /// Secrets at rest.
    pub secrets: Secrets,
    /// As [`Config::print`] gives it, secrets masked.
    printed: String,
    warnings: Vec<String>,
}

impl Config {
    /// Reads all layers; either everything is right, or every problem comes back.
    pub fn load(sources: &Sources) -> Result<Self, Problems> {
        check::load(sources)
    }

    /// The configuration in effect as TOML, each value with where it came from, secrets masked.
    pub fn print(&self) -> &str {
        &self.printed
    }

    /// What is in order but unwise, such as a secret in a file that everybody can read. Sentences for the log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// How CloudStack's management server is reached.
#[derive(Debug, Clone)]
pub struct Cloudstack {
    /// Address of the API; None: not set yet.
    pub url: Option<Url>,
    /// Certificate authority to trust besides the system's own.
    pub ca_file: Option<PathBuf>,
    /// Longest time of one call.
    pub timeout: Duration,
    /// How often a failed read is tried again.
    pub read_retries: u32,
    /// Records asked for in one page.
    pub page_size: u32,
    /// Pages downloaded side by side.
    pub concurrency: u32,
    /// The service account that only reads.
    pub reader: Option<KeyPair>,
    /// The service account that locks and restores.
    pub enforcer: Option<KeyPair>,
    /// The service account behind API access.
    pub keys: Option<KeyPair>,
}

/// A service account's API key and secret key; always both.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The API key, which goes along with each call.
    pub api_key: Secret,
    /// The secret key, which signs and never travels.
    pub secret_key: Secret,
}

/// Where bursar keeps its own data.
#[derive(Debug, Clone)]
pub struct Store {
    /// Folder for database, lock and key.
    pub data_dir: PathBuf,
    /// The database.
    pub database: Database,
    /// Connections kept.
    pub max_connections: u32,
}

/// Which database.
#[derive(Debug, Clone)]
pub enum Database {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server by its address, which may hold a password.
    Postgres(Secret),
}

/// What is charged, in which currency, and from when on.
#[derive(Debug, Clone)]
pub struct Billing {
    /// The cloud's one currency.
    pub currency: Currency,
    /// Zone of billing days and months.
    pub zone: Tz,
    /// First day charged; None: the day of the first sync.
    pub start: Option<Day>,
    /// Tax on net charges, in percent.
    pub tax_percent: Decimal,
    /// The price book's file.
    pub price_book: PathBuf,
    /// How many days back late records are looked for.
    pub lookback_days: u32,
    /// For how many days usage records are kept before they become daily sums.
    pub keep_records_days: u32,
    /// Corrections of one payer and run beyond this sum wait for a person; None: none do.
    pub correction_limit: Option<Money>,
    /// How tenants pay, line by line.
    pub how_to_pay: Vec<String>,
}

/// Which part of the cloud bursar looks at.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Domains with everything below them; empty: the whole cloud.
    pub domains: Vec<DomainRef>,
}

/// A domain as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainRef {
    /// By path from the root, "ROOT/acme".
    Path(String),
    /// By CloudStack's id.
    Id(CloudId),
}

/// An account as a person names it: "ROOT/acme/alice".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRef {
    /// Path of its domain, "ROOT/acme".
    pub domain_path: String,
    /// Name within the domain.
    pub name: String,
}

/// When accounts are warned, restricted, locked, stopped and restored.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Credit limit of payers without one; None: they are unmanaged.
    pub default_limit: Option<Money>,
    /// What applies to everybody.
    pub ladder: policy::Policy,
    /// What differs for payers of a class, by its name.
    pub classes: BTreeMap<String, PolicyPatch>,
    /// Accounts never acted on.
    pub protected_accounts: Vec<AccountRef>,
}

/// How much one run, and one rolling day, may do before a person is asked.
#[derive(Debug, Clone)]
pub struct Fuse {
    /// Accounts acted on.
    pub accounts: u32,
    /// Share of all accounts, in percent.
    pub percent: Decimal,
    /// Running machines of those accounts.
    pub running_vms: u32,
    /// Whether a plan takes the approval of two administrators.
    pub second_admin: bool,
    /// How long a plan can be approved and carried out.
    pub plan_lasts: Duration,
}

/// What enforcement waits for.
#[derive(Debug, Clone)]
pub struct Enforcement {
    /// What usage may be late beyond two ranges of the usage job.
    pub usage_grace: Duration,
    /// How far a clock may have moved.
    pub clock_jump: Duration,
    /// Share of the cloud's charges, in percent, that may wait for a person.
    pub quarantine_percent: Decimal,
    /// How long the right to act is held. Longer than `intent_deadline`.
    pub lease: Duration,
    /// Time for an action to have its outcome. At least CloudStack's timeout.
    pub intent_deadline: Duration,
    /// Machines that a restore starts side by side.
    pub starts_at_once: u32,
    /// Whether a restriction also stops snapshots and backups.
    pub restrict_backups: bool,
}

/// API keys for tenants, on approved requests.
#[derive(Debug, Clone)]
pub struct Access {
    /// Whether it can be requested.
    pub enabled: bool,
    /// How the names of users made for keys begin.
    pub user_prefix: String,
    /// Longest life of a key, in days.
    pub max_days: u32,
    /// How long a secret waits for its one look.
    pub secret_shown: Duration,
    /// Whether two administrators have to approve.
    pub two_approvals: bool,
    /// How long the old pair works after the new one was looked at.
    pub overlap: Duration,
    /// Days before the end at which people are warned, falling.
    pub warn_days: Vec<u32>,
    /// How long between two looks at whether pairs are as they were made.
    pub watch_every: Duration,
    /// Whether CloudStack's several pairs of one user are used.
    pub native_pairs: bool,
}

/// The pages and the JSON API.
#[derive(Debug, Clone)]
pub struct Web {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Path that bursar is served under: begins with a slash, ends without; empty for the root.
    pub base_path: String,
    /// What people type to reach CloudStack's pages.
    pub public_url: Option<Url>,
    /// Life of a sign-in from its last proof.
    pub session: Duration,
    /// Load balancer's cookies to forward with a session.
    pub trusted_affinity_cookies: Vec<String>,
    /// CloudStack users who are administrators here too.
    pub admins: Vec<CloudId>,
    /// Largest request body, in bytes.
    pub request_body_limit_bytes: usize,
    /// How long a request to delete an account can be taken back.
    pub delete_wait: Duration,
    /// How long the link in the notice of a suspension holds.
    pub link: Duration,
}

impl Web {
    /// Where the pages are for a browser, without a slash at the end; None where nobody said.
    pub fn address(&self) -> Option<String> {
        let url = self.public_url.as_ref()?;
        Some(format!("{}{}", url.as_str().trim_end_matches('/'), self.base_path))
    }
}

/// Figures for Prometheus.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where to listen; None: nowhere.
    pub listen: Option<SocketAddr>,
}

/// What is written to standard error.
#[derive(Debug, Clone)]
pub struct Log {
    /// In which form.
    pub format: LogFormat,
    /// From which level on.
    pub level: LogLevel,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Least important level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// And what may need a person.
    Warn,
    /// And what happens.
    Info,
    /// And how it happens.
    Debug,
    /// And every detail.
    Trace,
}

/// When jobs run by themselves; None: only by command.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// Zone of the schedules.
    pub zone: Tz,
    /// Reading accounts and usage.
    pub sync: Option<Schedule>,
    /// Pricing and posting.
    pub rate: Option<Schedule>,
    /// Deciding and acting.
    pub enforce: Option<Schedule>,
}

/// Secrets that bursar keeps.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The file with the key that encrypts them; made at the first start.
    pub key_file: PathBuf,
}
