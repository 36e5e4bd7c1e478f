//! API access, wired: the box key, the settings, the pass that makes and ends pairs, and the looks at what is there.

use std::time::Duration;

use serde::Serialize;

use super::{
    app::{App, AppError, Role},
    key_roles,
};
use crate::{
    access::{
        self, AccessSettings, AuditedPairs, CarriedOut, ShownPair,
        self_service::{self, Door, Tended},
    },
    approver::Approver,
    cloudstack::{Client, OwnUser},
    enforcement::marker,
    ids::KeyRequestId,
    secrets::token_hash,
    store::{StoreError, Tx, cloud, keys as rows, runs},
    time::Timestamp,
    web::keydesk::{KeyDesk, KeyDeskError, KeyTerms, KeyWish, Pending, Refusal, ShownPair as ShownByDesk},
};

/// The setting with the instant of the last look at whether pairs are as they were made, in ms.
const WATCHED: &str = "access.watched-ms";
/// The setting with the instant up to which CloudStack's events about key users were read, in ms.
const EVENTS: &str = "access.events-ms";
/// The setting with the name of the service account's user, behind some of its key's hash.
const OWN_USER: &str = "access.own-user";
/// Entries of the event log are read again for so long: CloudStack writes some late.
const EVENTS_AGAIN: Duration = Duration::from_mins(10);
/// Digits of a key's hash by which a new key is seen.
const HASH_CHARS: usize = 12;

/// Settings of API access, from the configuration.
pub fn settings(app: &App) -> AccessSettings {
    let config = &app.config.access;
    AccessSettings {
        enabled: config.enabled,
        user_prefix: config.user_prefix.clone(),
        max_days: config.max_days,
        secret_shown: config.secret_shown,
        two_approvals: config.two_approvals,
        overlap: config.overlap,
        warn_days: config.warn_days.clone(),
        zone: app.config.billing.zone,
        protected: app
            .config
            .policy
            .protected_accounts
            .iter()
            .map(|account| (account.domain_path.clone(), account.name.clone()))
            .collect(),
        several_pairs: false,
        unconfirmed: None,
    }
}

/// Why nothing is made, shown or given up until an administrator has confirmed, if so: a restored backup. Looked for here too,
/// since a page may ask before the first run after a start has.
async fn find_unconfirmed(app: &App) -> Result<Option<String>, StoreError> {
    Box::pin(marker::look(&app.store, &app.config.store.data_dir, app.clock.now())).await?;
    marker::find_unconfirmed(&mut app.store.read().await?).await
}

/// The same, with what CloudStack can do.
pub async fn settings_for(app: &App, client: &Client) -> Result<AccessSettings, Error> {
    let several_pairs = app.config.access.native_pairs && client.has_several_pairs().await?;
    Ok(AccessSettings { several_pairs, ..settings(app) })
}

/// Why API access could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pieces could not be opened.
    #[error(transparent)]
    App(#[from] AppError),
    /// The pass stopped.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// The key that encrypts secrets at rest can not be used.
    #[error(transparent)]
    Box(#[from] access::BoxError),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Access(error.into())
    }
}

impl From<crate::cloudstack::Error> for Error {
    fn from(error: crate::cloudstack::Error) -> Self {
        Self::Access(error.into())
    }
}

/// What a round of API access did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct KeysRound {
    /// Pairs made and ended.
    pub carried_out: CarriedOut,
    /// Warnings that a pair ends soon.
    pub warned: usize,
    /// What a look at every pair showed; None where it was not its time.
    pub audited: Option<AuditedPairs>,
    /// Entries of CloudStack's event log about key users, newly told of.
    pub touched: usize,
    /// Accounts with closed self-service.
    pub tended: Tended,
    /// Why nothing was made, given up or looked at: a restored backup that no administrator has looked at yet.
    pub unconfirmed: Option<String>,
}

fn box_key(app: &App) -> Result<access::BoxKey, Error> {
    Ok(access::BoxKey::load_or_create(&app.config.secrets.key_file, app.random.as_ref())?)
}

/// Makes approved pairs, ends revoked and expired ones.
pub async fn carry_out(app: &App) -> Result<CarriedOut, Error> {
    if rows::count_standing(&mut app.store.read().await?).await? == 0 {
        return Ok(CarriedOut::default());
    }
    let client = app.client(Role::Keys)?;
    let unconfirmed = find_unconfirmed(app).await?;
    let settings = AccessSettings { unconfirmed, ..settings_for(app, &client).await? };
    let clock = app.clock.as_ref();
    Ok(access::carry_out(&app.store, &client, &box_key(app)?, &settings, clock, app.random.as_ref()).await?)
}

/// Everything that API access needs from time to time: pairs made and ended, warnings, closed accounts, and the look at
/// whether pairs are as they were made when it is due (`now`: at once).
pub async fn look_after(app: &App, now: bool) -> Result<KeysRound, Error> {
    let mut round = KeysRound { carried_out: carry_out(app).await?, ..KeysRound::default() };
    round.unconfirmed = find_unconfirmed(app).await?;
    if round.unconfirmed.is_some() {
        // What is remembered may be long over: neither told of nor acted upon.
        return Ok(round);
    }
    round.warned = access::warn(&app.store, &settings(app), app.clock.now()).await?;
    if round.carried_out.stopped {
        return Ok(round);
    }
    let due = now || is_due(app).await?;
    let closed = !rows::list_closings(&mut app.store.read().await?).await?.is_empty();
    if !due && !closed {
        return Ok(round);
    }
    let (client, settings) = (app.client(Role::Keys)?, settings(app));
    let door = Door { store: &app.store, client: &client, settings: &settings, clock: app.clock.as_ref() };
    // What was cut off is gone on with at every round; who came later is looked for when it is time.
    round.tended = self_service::tend(&door, due).await?;
    if due {
        key_roles::look(app).await?;
        let audited = access::audit_pairs(&app.store, &client, &settings, app.clock.as_ref()).await?;
        round.audited = Some(audited);
        round.touched = tell_touched(app, &client).await?;
        if audited.changed > 0 {
            // What changed by itself is switched off now and not at the next round.
            let again = carry_out(app).await?;
            round.carried_out.revoked += again.revoked;
            round.carried_out.failed += again.failed;
        }
        put(app, WATCHED, &app.clock.now().as_ms().to_string()).await?;
    }
    Ok(round)
}

/// Opens CloudStack's own self-service wherever it is closed; what stood in the way is told by account.
pub async fn open_all(app: &App, by: &str) -> Result<Vec<(String, Result<(), String>)>, StoreError> {
    let mut tx = app.store.read().await?;
    let mut accounts = Vec::new();
    for closing in rows::list_closings(&mut tx).await? {
        accounts.push(cloud::get_account(&mut tx, closing.account_id).await?);
    }
    tx.commit().await?;
    let mut opened = Vec::new();
    for account in accounts {
        let done = match app.client(Role::Keys) {
            Ok(client) => {
                let settings = settings(app);
                let door = Door { store: &app.store, client: &client, settings: &settings, clock: app.clock.as_ref() };
                self_service::open(&door, &account, by).await.map(|_| ()).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        opened.push((account.full_name(), done));
    }
    Ok(opened)
}

async fn is_due(app: &App) -> Result<bool, Error> {
    let now = app.clock.now();
    let last = find_instant(&mut app.store.read().await?, WATCHED).await?;
    Ok(last.is_none_or(|last| last.plus(app.config.access.watch_every) <= now || last > now))
}

async fn find_instant(tx: &mut Tx, setting: &str) -> Result<Option<Timestamp>, Error> {
    Ok(runs::find_setting(tx, setting).await?.and_then(|text| text.parse().ok()).map(Timestamp::from_ms))
}

async fn put(app: &App, setting: &str, value: &str) -> Result<(), Error> {
    let mut tx = app.store.begin().await?;
    runs::put_setting(&mut tx, setting, value, app.clock.now()).await?;
    Ok(tx.commit().await?)
}

/// Tells administrators who changed users that bursar made, as far as CloudStack's event log can be read and it is known
/// which entries are bursar's own.
async fn tell_touched(app: &App, client: &Client) -> Result<usize, Error> {
    let now = app.clock.now();
    let since = find_instant(&mut app.store.read().await?, EVENTS).await?.unwrap_or(now);
    let Some(own) = own_user(app, client).await? else { return Ok(0) };
    let reader = app.client(Role::Reader)?;
    let Some(touched) = access::find_touched(&app.store, &reader, &own, since.minus(EVENTS_AGAIN)).await? else {
        tracing::warn!("CloudStack's events can not be listed, so nobody knows who changes the users of API keys");
        return Ok(0);
    };
    let mut told = 0;
    let mut tx = app.store.begin().await?;
    for one in touched {
        let entry = (one.event.as_str(), one.who.as_str(), one.what.as_str());
        told += usize::from(access::tell_touched(&mut tx, &one.request, entry, now).await?);
    }
    runs::put_setting(&mut tx, EVENTS, &now.as_ms().to_string(), now).await?;
    tx.commit().await?;
    Ok(told)
}

/// The name of the service account's user, asked for once a key: it stands in a list of every user.
async fn own_user(app: &App, client: &Client) -> Result<Option<OwnUser>, Error> {
    let Some(pair) = &app.config.cloudstack.keys else { return Ok(None) };
    let hash: String = token_hash(pair.api_key.expose()).chars().take(HASH_CHARS).collect();
    let known = runs::find_setting(&mut app.store.read().await?, OWN_USER).await?;
    let known = known.as_deref().and_then(|text| text.strip_prefix(&format!("{hash}/")));
    if let Some(own) = known.and_then(|text| serde_json::from_str(text).ok()) {
        return Ok(Some(own));
    }
    let Some(own) = client.own_user().await?.map(OwnUser::of) else { return Ok(None) };
    let text = serde_json::to_string(&own).map_err(|error| StoreError::Nonsense(error.to_string()))?;
    put(app, OWN_USER, &format!("{hash}/{text}")).await?;
    Ok(Some(own))
}

/// Shows a pair, once.
pub async fn show(app: &App, id: KeyRequestId, by: &str) -> Result<ShownPair, Error> {
    let settings = AccessSettings { unconfirmed: find_unconfirmed(app).await?, ..settings(app) };
    Ok(access::show_secret(&app.store, id, by, &box_key(app)?, &settings, app.clock.as_ref()).await?)
}

/// The desk that pages and API ask.
pub struct Desk {
    app: App,
    wake: std::sync::Arc<tokio::sync::Notify>,
}

impl Desk {
    /// A desk that nudges `wake` after each answer.
    pub fn new(app: App, wake: std::sync::Arc<tokio::sync::Notify>) -> Self {
        Self { app, wake }
    }

    /// Runs a step in a transaction of its own, then lets the pass make or end pairs at once.
    async fn step<T>(&self, then_carry_out: bool, result: Result<T, Error>) -> Result<T, KeyDeskError> {
        let done = result.map_err(desk_error)?;
        if then_carry_out {
            if let Err(error) = carry_out(&self.app).await {
                tracing::error!(%error, "API access could not be looked after; it is tried again");
            }
            self.wake.notify_one();
        }
        Ok(done)
    }
}

fn desk_error(error: Error) -> KeyDeskError {
    match error {
        Error::Access(access::Error::Store(StoreError::Missing(_))) => KeyDeskError::Missing,
        Error::Access(access::Error::Disabled) => KeyDeskError::Off,
        Error::Access(access::Error::CloudStack(_)) => KeyDeskError::Unavailable,
        Error::Access(access::Error::Store(error)) => KeyDeskError::Unexpected(error.to_string()),
        Error::Access(error) => KeyDeskError::Refused(refusal(&error), error.to_string()),
        Error::App(error) => KeyDeskError::Unexpected(error.to_string()),
        Error::Box(error) => KeyDeskError::Unexpected(error.to_string()),
    }
}

const fn refusal(error: &access::Error) -> Refusal {
    match error {
        access::Error::NotAcceptable(_) => Refusal::Value,
        access::Error::TooMany { limit, .. } => Refusal::TooMany(*limit),
        access::Error::Protected { .. } => Refusal::Protected,
        access::Error::WrongState { .. } => Refusal::State,
        access::Error::ShownBefore(_) => Refusal::ShownBefore,
        access::Error::RotatedBefore(..) => Refusal::Replaced,
        _ => Refusal::Other,
    }
}

async fn in_transaction<T>(app: &App, work: impl AsyncFnOnce(&mut Tx) -> Result<T, access::Error>) -> Result<T, Error> {
    let mut tx = app.store.begin().await.map_err(access::Error::from)?;
    let done = work(&mut tx).await?;
    tx.commit().await.map_err(access::Error::from)?;
    Ok(done)
}

impl KeyDesk for Desk {
    fn is_open(&self) -> bool {
        self.app.config.access.enabled
    }

    fn file(&self, wish: KeyWish) -> Pending<'_, KeyRequestId> {
        Box::pin(async move {
            let request = access::NewRequest {
                key: wish.key,
                account: wish.account,
                requested_by: wish.requested_by,
                for_user: wish.for_user,
                replaces: wish.replaces,
                purpose: wish.purpose,
                days: u32::try_from(wish.days).unwrap_or(0),
            };
            let (settings, now) = (settings(&self.app), self.app.clock.now());
            in_transaction(&self.app, async |tx| access::file(tx, &settings, request, now).await)
                .await
                .map_err(desk_error)
        })
    }

    fn approve(&self, id: KeyRequestId, by: Approver, terms: KeyTerms) -> Pending<'_, bool> {
        Box::pin(async move {
            let (settings, now) = (settings(&self.app), self.app.clock.now());
            let consent = access::Consent {
                message: terms.message,
                days: terms.days.map(|days| u32::try_from(days).unwrap_or(0)),
                purpose: terms.purpose,
            };
            let done =
                in_transaction(&self.app, async |tx| access::approve(tx, id, &by, &consent, &settings, now).await)
                    .await
                    .map(|approved| approved == access::Approved::Complete);
            self.step(true, done).await
        })
    }

    fn deny(&self, id: KeyRequestId, by: String, message: Option<String>) -> Pending<'_, ()> {
        Box::pin(async move {
            let (settings, now) = (settings(&self.app), self.app.clock.now());
            let done = in_transaction(&self.app, async |tx| {
                access::deny(tx, id, &by, message.as_deref(), &settings, now).await
            })
            .await;
            self.step(false, done).await
        })
    }

    fn rotate(&self, id: KeyRequestId, by: String, key: String, for_user: Option<String>) -> Pending<'_, KeyRequestId> {
        Box::pin(async move {
            let (settings, now) = (settings(&self.app), self.app.clock.now());
            let wish = access::Rotated { key: &key, old: id, by: &by, for_user: for_user.as_deref() };
            let done = in_transaction(&self.app, async |tx| access::rotate(tx, &wish, &settings, now).await).await;
            self.step(true, done).await
        })
    }

    fn revoke(&self, id: KeyRequestId, by: String) -> Pending<'_, ()> {
        Box::pin(async move {
            let (settings, now) = (settings(&self.app), self.app.clock.now());
            let done = in_transaction(&self.app, async |tx| access::revoke(tx, id, &by, &settings, now).await).await;
            self.step(true, done).await
        })
    }

    fn withdraw(&self, id: KeyRequestId, by: String) -> Pending<'_, ()> {
        Box::pin(async move {
            let now = self.app.clock.now();
            let done = in_transaction(&self.app, async |tx| access::withdraw(tx, id, &by, now).await).await;
            self.step(false, done).await
        })
    }

    fn show_secret(&self, id: KeyRequestId, by: String) -> Pending<'_, ShownByDesk> {
        Box::pin(async move {
            let pair = show(&self.app, id, &by).await.map_err(desk_error)?;
            Ok(ShownByDesk { api_key: pair.api_key, secret_key: pair.secret_key })
        })
    }
}
