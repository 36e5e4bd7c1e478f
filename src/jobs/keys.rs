//! API access, wired: the box key, the settings, and the pass that makes and ends pairs.

use super::app::{App, AppError, Role};
use crate::{
    access::{self, AccessSettings, CarriedOut, ShownPair},
    ids::KeyRequestId,
    store::cloud::Account,
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
