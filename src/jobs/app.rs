//! The pieces that every job, page and command needs, opened once.

use std::sync::Arc;

use crate::{
    cloudstack::{self, Carrier, Client, ClientSettings, Credentials},
    config::{Config, Database, DomainRef, KeyPair},
    ids::{PayerId, RunId},
    ledger::{post::PostSettings, standing},
    money::Money,
    policy::{Ladders, Policy},
    random::RandomSource,
    rating::{
        desk::RateSettings,
        tax::{NotATaxRate, TaxRate},
    },
    scope::Scope,
    secrets::Secret,
    store::{Store, StoreError, StoreSettings, Tx, runs},
    time::{Clock, Day, Timestamp},
    usage::{
        compact::CompactSettings,
        sync::{SPAN_ROWS, SyncSettings, settings},
    },
};

/// The setting with the first billing day, where the configuration names none: the day of the first sync.
const BILLING_START: &str = "billing.start-day";
/// The setting with the address of the cloud that the data is of.
const CLOUD: &str = "cloudstack.url";

/// Which of the service accounts acts (design 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Lists and reads: enough for everything but acting.
    Reader,
    /// Locks, enables, sets limits.
    Enforcer,
    /// Makes users and key pairs.
    Keys,
}

impl Role {
    /// The section of the configuration.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Enforcer => "enforcer",
            Self::Keys => "keys",
        }
    }
}

/// Why the pieces could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// CloudStack's client could not be made.
    #[error(transparent)]
    CloudStack(#[from] cloudstack::Error),
    /// The configuration lacks something that the command needs.
    #[error("{0}")]
    Configuration(String),
    /// The data belongs to another cloud.
    #[error(
        "the data in this store is of the cloud at {stored}, and bursar is configured for {configured}. Use another data directory (or correct [cloudstack] url); nothing was changed"
    )]
    OtherCloud {
        /// What the store says.
        stored: String,
        /// What the configuration says.
        configured: String,
    },
}

impl From<NotATaxRate> for AppError {
    fn from(error: NotATaxRate) -> Self {
        Self::Configuration(error.to_string())
    }
}

/// Everything opened.
#[derive(Clone)]
pub struct App {
    /// The configuration.
    pub config: Arc<Config>,
    /// The store.
    pub store: Store,
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Where random bytes come from.
    pub random: Arc<dyn RandomSource>,
    /// Who this process is, for runs and leases.
    pub holder: String,
    /// What carries calls to CloudStack instead of HTTP; for the simulation.
    pub carrier: Option<Arc<dyn Carrier>>,
    /// The request that is being carried out: nothing is begun for it once it is another process's.
    pub request: Option<i64>,
}

impl App {
    /// Opens the store.
    pub async fn open(config: Config, clock: Arc<dyn Clock>, random: Arc<dyn RandomSource>) -> Result<Self, AppError> {
        let store = Store::open(&store_settings(&config)).await?;
        let holder = format!("{}/{}", std::process::id(), random.hex(6));
        Ok(Self { config: Arc::new(config), store, clock, random, holder, carrier: None, request: None })
    }

    /// Refuses data that belongs to another cloud; data of no cloud yet is this one's from now on.
    pub async fn bind_to_cloud(&self) -> Result<(), AppError> {
        let Some(url) = &self.config.cloudstack.url else { return Ok(()) };
        let mut tx = self.store.begin().await?;
        match runs::find_setting(&mut tx, CLOUD).await? {
            Some(stored) if stored != url.as_str() => {
                return Err(AppError::OtherCloud { stored, configured: url.to_string() });
            }
            Some(_) => {}
            None => runs::put_setting(&mut tx, CLOUD, url.as_str(), self.clock.now()).await?,
        }
        Ok(tx.commit().await?)
    }

    /// Settings of the connection to CloudStack.
    pub fn client_settings(&self) -> Result<ClientSettings, AppError> {
        client_settings(&self.config)
    }

    /// The client of one of the service accounts. The reader's work is done by the enforcer where only that one is set.
    pub fn client(&self, role: Role) -> Result<Client, AppError> {
        client(&self.config, role, Arc::clone(&self.clock), self.carrier.clone())
    }

    /// The limit of payers that have none of their own.
    pub fn default_limit(&self) -> Option<Money> {
        self.config.policy.default_limit
    }

    /// Tax where a payer has no rate of its own.
    pub fn tax(&self) -> Result<TaxRate, AppError> {
        Ok(TaxRate::from_percent(self.config.billing.tax_percent)?)
    }

    /// Which domains are billed and acted upon.
    pub fn scope(&self) -> Scope {
        Scope::new(self.config.scope.domains.iter().map(|domain| match domain {
            DomainRef::Path(path) => path.clone(),
            DomainRef::Id(id) => id.to_string(),
        }))
    }

    /// How far back usage may still come or change.
    pub fn lookback(&self) -> std::time::Duration {
        std::time::Duration::from_hours(u64::from(self.config.billing.lookback_days) * 24)
    }

    /// For how long usage records are kept.
    pub fn compact_settings(&self) -> CompactSettings {
        CompactSettings { zone: self.config.billing.zone, keep_days: self.config.billing.keep_records_days }
    }

    /// How usage is fetched.
    pub fn sync_settings(&self, full: bool) -> SyncSettings {
        SyncSettings {
            zone: self.config.billing.zone,
            lookback_days: self.config.billing.lookback_days,
            begins: self.config.billing.start.and_then(|day| day.start(self.config.billing.zone)),
            concurrency: usize::try_from(self.config.cloudstack.concurrency).unwrap_or(1),
            page_size: self.config.cloudstack.page_size,
            span_rows: SPAN_ROWS,
            full,
            tags: false,
        }
    }

    /// How usage is rated. The first billing day is noted at the first call where the configuration names none.
    pub async fn rate_settings(&self, tx: &mut Tx) -> Result<RateSettings, AppError> {
        if let Some(settings) = self.noted_rate_settings(tx).await? {
            return Ok(settings);
        }
        let now = self.clock.now();
        let today = Day::of(now, self.config.billing.zone)
            .ok_or_else(|| AppError::Configuration(format!("the clock says {now}, which is in no calendar")))?;
        runs::put_setting(tx, BILLING_START, &today.number().to_string(), now).await?;
        self.rate_settings_from(today)
    }

    /// As above; None where no first billing day is configured or noted yet.
    pub async fn noted_rate_settings(&self, tx: &mut Tx) -> Result<Option<RateSettings>, AppError> {
        let noted =
            runs::find_setting(tx, BILLING_START).await?.and_then(|text| text.parse().ok()).map(Day::from_number);
        self.config.billing.start.or(noted).map(|start| self.rate_settings_from(start)).transpose()
    }

    fn rate_settings_from(&self, start: Day) -> Result<RateSettings, AppError> {
        Ok(RateSettings { zone: self.config.billing.zone, start, scope: self.scope(), tax: self.tax()? })
    }

    /// How charges are posted; None before the first window was fetched.
    pub async fn post_settings(&self, tx: &mut Tx, run: RunId) -> Result<Option<PostSettings>, AppError> {
        Ok(match self.fetched_until(tx).await? {
            Some(closed_until) => Some(PostSettings {
                zone: self.config.billing.zone,
                tax: self.tax()?,
                closed_until,
                correction_limit: self.config.billing.correction_limit,
                run,
            }),
            None => None,
        })
    }

    /// The thresholds and delays that apply to everybody, before classes and overrides.
    pub fn policy(&self) -> Policy {
        self.config.policy.ladder.clone()
    }

    /// The policies of everybody and of the classes.
    pub fn ladders(&self) -> Ladders {
        Ladders::new(self.policy(), &self.config.policy.classes)
    }

    /// Up to when usage is fetched.
    pub async fn fetched_until(&self, tx: &mut Tx) -> Result<Option<Timestamp>, StoreError> {
        Ok(runs::find_setting(tx, settings::FETCHED_UNTIL)
            .await?
            .and_then(|text| text.parse().ok())
            .map(Timestamp::from_ms))
    }

    /// The standing of every payer.
    pub async fn standings(&self, tx: &mut Tx) -> Result<Vec<standing::Standing>, AppError> {
        let until = self.fetched_until(tx).await?;
        let tax = self.tax()?;
        let zone = self.config.billing.zone;
        standing::list_standings(tx, self.default_limit(), tax, zone, until, self.clock.now())
            .await
            .map_err(without_standing)
    }

    /// The standing of one payer now; its cost does not grow with the cloud.
    pub async fn standing_of(&self, tx: &mut Tx, payer: PayerId) -> Result<standing::Standing, AppError> {
        let closed = (self.config.billing.zone, self.fetched_until(tx).await?);
        standing::get_standing(tx, payer, self.default_limit(), self.tax()?, closed, self.clock.now())
            .await
            .map_err(without_standing)
    }
}

fn without_standing(error: standing::Error) -> AppError {
    match error {
        standing::Error::Store(error) => AppError::Store(error),
        standing::Error::Money(error) => AppError::Configuration(error.to_string()),
    }
}

/// Where the configuration says the data is.
pub fn store_settings(config: &Config) -> StoreSettings {
    let url = match &config.store.database {
        Database::Sqlite(file) => Secret::new(format!("sqlite:{}", file.display())),
        Database::Postgres(url) => url.clone(),
    };
    StoreSettings { data_dir: config.store.data_dir.clone(), url, max_connections: config.store.max_connections }
}

/// Settings of the connection to CloudStack, from the configuration.
pub fn client_settings(config: &Config) -> Result<ClientSettings, AppError> {
    let url = config.cloudstack.url.clone().ok_or_else(|| {
        AppError::Configuration(
            "no CloudStack is configured: set [cloudstack] url, such as https://cloud.example.com/client/api, or run \
             `bursar init https://cloud.example.com`"
                .to_owned(),
        )
    })?;
    let mut settings = ClientSettings::new(url);
    settings.timeout = config.cloudstack.timeout;
    settings.read_retries = config.cloudstack.read_retries;
    settings.ca_file.clone_from(&config.cloudstack.ca_file);
    settings.reads_at_once = usize::try_from(config.cloudstack.concurrency).unwrap_or(1);
    Ok(settings)
}

/// The client of one of the service accounts, from the configuration.
pub fn client(
    config: &Config,
    role: Role,
    clock: Arc<dyn Clock>,
    carrier: Option<Arc<dyn Carrier>>,
) -> Result<Client, AppError> {
    let settings = ClientSettings { carrier, ..client_settings(config)? };
    let section = &config.cloudstack;
    let pair: Option<&KeyPair> = match role {
        Role::Reader => section.reader.as_ref().or(section.enforcer.as_ref()),
        Role::Enforcer => section.enforcer.as_ref(),
        Role::Keys => section.keys.as_ref(),
    };
    let pair = pair.ok_or_else(|| {
        AppError::Configuration(format!(
            "no key pair is configured for this: set [cloudstack.{0}] api_key and secret_key (or …_file); `bursar init` \
             makes the account",
            role.section()
        ))
    })?;
    let credentials = Credentials { api_key: pair.api_key.clone(), secret_key: pair.secret_key.clone() };
    Ok(Client::new(settings, credentials, clock)?)
}
