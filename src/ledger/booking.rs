//! What every booking by hand has in common: who does it and why, the epoch it opens, the line in the audit trail.

use super::{
    post::Error,
    rules::{Figures, Position},
    standing,
};
use crate::{
    ids::PayerId,
    money::Money,
    rating::tax::TaxRate,
    store::{
        StoreError, Tx, ledger as rows,
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// Who does something to a payer, and why.
#[derive(Debug, Clone, Copy)]
pub struct Cause<'a> {
    /// Made by the caller; the same again changes nothing.
    pub key: &'a str,
    /// Who.
    pub author: &'a str,
    /// Why, for people.
    pub reason: &'a str,
}

/// What applies to payers that have nothing of their own: the default limit (None: not managed) and the tax rate.
pub type Defaults = (Option<Money>, TaxRate);

/// The figures of a payer as they stand.
pub(super) async fn figures(tx: &mut Tx, payer: PayerId, defaults: Defaults, now: Timestamp) -> Result<Figures, Error> {
    Ok(Figures::of(&standing::position_of(tx, payer, defaults.0, defaults.1).await?, now)?)
}

/// Opens an epoch after what was just posted.
pub(super) async fn open_epoch(
    tx: &mut Tx,
    payer: PayerId,
    cause: &str,
    defaults: Defaults,
    now: Timestamp,
) -> Result<Figures, Error> {
    let mut position: Position = standing::position_of(tx, payer, defaults.0, defaults.1).await?;
    position.epoch_available = None;
    let figures = Figures::of(&position, now)?;
    rows::open_epoch(tx, payer, cause, figures.available, now).await?;
    // What is told now is what every later look shows: Used begins anew with the epoch.
    position.epoch_available = Some(figures.available);
    Ok(Figures::of(&position, now)?)
}

/// Writes down who did what to a payer.
pub(super) async fn audit(
    tx: &mut Tx,
    payer: PayerId,
    action: &str,
    cause: Cause<'_>,
    after: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: cause.author.to_owned(),
        action: action.to_owned(),
        subject: format!("payer {payer}"),
        after_state: Some(after.to_owned()),
        answer: Some(cause.reason.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}
