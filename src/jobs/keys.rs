//! API access, wired: the box key, the settings, and the pass that makes and ends pairs.

use super::app::{App, AppError, Role};
use crate::{
    access::{self, AccessSettings, CarriedOut, ShownPair},
    ids::KeyRequestId,
    store::cloud::Account,
    web::keydesk::{KeyDesk, KeyDeskError, KeyWish, Pending, ShownPair as ShownByDesk},
};

/// Settings of API access, from the configuration.
pub fn settings(app: &App) -> AccessSettings {
    let config = &app.config.access;
    AccessSettings {
        enabled: config.enabled,
        user_prefix: config.user_prefix.clone(),
        max_days: config.max_days,
        secret_shown: config.secret_shown,
    }
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

fn box_key(app: &App) -> Result<access::BoxKey, Error> {
    Ok(access::BoxKey::load_or_create(&app.config.secrets.key_file, app.random.as_ref())?)
}

/// Makes approved pairs, ends revoked and expired ones.
pub async fn carry_out(app: &App) -> Result<CarriedOut, Error> {
    let client = app.client(Role::Keys)?;
    let listed: Vec<(String, String)> = app
        .config
        .policy
        .protected_accounts
        .iter()
        .map(|account| (account.domain_path.clone(), account.name.clone()))
        .collect();
    let protected = move |account: &Account| crate::enforcement::protection(account, &listed).map(str::to_owned);
    let clock = app.clock.as_ref();
    Ok(access::carry_out(&app.store, &client, &box_key(app)?, &settings(app), &protected, clock, app.random.as_ref())
        .await?)
}

/// Shows a pair, once.
pub async fn show(app: &App, id: KeyRequestId, by: &str) -> Result<ShownPair, Error> {
    Ok(access::show_secret(&app.store, id, by, &box_key(app)?, app.clock.as_ref()).await?)
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
    async fn step(&self, then_carry_out: bool, result: Result<(), Error>) -> Result<(), KeyDeskError> {
        result.map_err(desk_error)?;
        if then_carry_out {
            if let Err(error) = carry_out(&self.app).await {
                tracing::error!(%error, "API access could not be looked after; it is tried again");
            }
            self.wake.notify_one();
        }
        Ok(())
    }
}

fn desk_error(error: Error) -> KeyDeskError {
    match error {
        Error::Access(access::Error::Store(crate::store::StoreError::Missing(_))) => KeyDeskError::Missing,
        Error::Access(access::Error::Disabled) => KeyDeskError::Off,
        Error::Access(access::Error::CloudStack(_)) => KeyDeskError::Unavailable,
        Error::Access(access::Error::Store(error)) => KeyDeskError::Unexpected(error.to_string()),
        Error::Access(error) => KeyDeskError::Refused(error.to_string()),
        Error::App(error) => KeyDeskError::Unexpected(error.to_string()),
        Error::Box(error) => KeyDeskError::Unexpected(error.to_string()),
    }
}

async fn in_transaction<T>(
    app: &App,
    work: impl AsyncFnOnce(&mut crate::store::Tx) -> Result<T, access::Error>,
) -> Result<T, Error> {
    let mut tx = app.store.begin().await.map_err(access::Error::from)?;
    let done = work(&mut tx).await?;
    tx.commit().await.map_err(access::Error::from)?;
    Ok(done)
}

impl KeyDesk for Desk {
    fn file(&self, wish: KeyWish) -> Pending<'_, KeyRequestId> {
        Box::pin(async move {
            let request = access::NewRequest {
                key: wish.key,
                account: wish.account,
                requested_by: wish.requested_by,
                purpose: wish.purpose,
                days: u32::try_from(wish.days).unwrap_or(0),
            };
            let (settings, now) = (settings(&self.app), self.app.clock.now());
            in_transaction(&self.app, async |tx| access::file(tx, &settings, request, now).await)
                .await
                .map_err(desk_error)
        })
    }

    fn approve(&self, id: KeyRequestId, by: String, days: Option<i64>, message: Option<String>) -> Pending<'_, ()> {
        Box::pin(async move {
            let (settings, now) = (settings(&self.app), self.app.clock.now());
            let days = days.map(|days| u32::try_from(days).unwrap_or(0));
            let done = in_transaction(&self.app, async |tx| {
                access::approve(tx, id, &by, message.as_deref(), days, &settings, now).await
            })
            .await;
            self.step(true, done).await
        })
    }

    fn deny(&self, id: KeyRequestId, by: String, message: Option<String>) -> Pending<'_, ()> {
        Box::pin(async move {
            let now = self.app.clock.now();
            let done =
                in_transaction(&self.app, async |tx| access::deny(tx, id, &by, message.as_deref(), now).await).await;
            self.step(false, done).await
        })
    }

    fn revoke(&self, id: KeyRequestId, by: String) -> Pending<'_, ()> {
        Box::pin(async move {
            let now = self.app.clock.now();
            let done = in_transaction(&self.app, async |tx| access::revoke(tx, id, &by, now).await).await;
            self.step(true, done).await
        })
    }

    fn show_secret(&self, id: KeyRequestId, by: String) -> Pending<'_, ShownByDesk> {
        Box::pin(async move {
            let pair = show(&self.app, id, &by).await.map_err(desk_error)?;
            Ok(ShownByDesk { api_key: pair.api_key, secret_key: pair.secret_key })
        })
    }
}
