//! Saying what a suspension is that bursar finds and can not explain: from before the first sync, or from what a restored backup does
//! not hold.

use crate::{
    store::{
        StoreError, Tx,
        cloud::Account,
        enforcement::{self as rows, HoldRow},
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// Why a suspension is not adopted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none.
    #[error("{0} is enabled in CloudStack: there is no suspension to adopt")]
    Enabled(String),
    /// What there is has its hold.
    #[error("{0} has no suspension to adopt; `bursar hold list` shows what there is")]
    Explained(String),
}

/// Whether the holds of an account say why it is locked or disabled: a restriction leaves it enabled.
pub(super) fn is_explained<'h>(holds: impl IntoIterator<Item = &'h HoldRow>) -> bool {
    holds.into_iter().any(|hold| hold.owner != "billing" || hold.rung != "restrict")
}

/// Says that an account was suspended for billing, by an administrator or for abuse (`owner`). A restriction that bursar holds becomes
/// part of a suspension for billing: what it lowered comes back with the rest.
pub async fn adopt(tx: &mut Tx, account: &Account, owner: &str, who: &str, now: Timestamp) -> Result<(), Error> {
    if account.state == "enabled" {
        return Err(Error::Enabled(account.full_name()));
    }
    let holds = rows::list_holds(tx, Some(account.id)).await?;
    let is_suspended = account.state == "locked" || account.state == "disabled";
    let is_from_before = rows::lift_hold(tx, account.id, "before", who, now).await?;
    if !is_from_before && (!is_suspended || is_explained(&holds)) {
        return Err(Error::Explained(account.full_name()));
    }
    let was_restricted = owner == "billing" && rows::lift_hold(tx, account.id, "billing", who, now).await?;
    let rung = if account.state == "disabled" { "stop" } else { "lock" };
    let reason = format!("adopted as {owner}: it was {} when it was met", account.state);
    rows::place_hold(tx, account.id, owner, rung, &reason, None, who, now).await?;
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: who.to_owned(),
        action: "hold.adopt".to_owned(),
        subject: account.full_name(),
        before_state: Some(if was_restricted { "billing (restrict)" } else { "before" }.to_owned()),
        after_state: Some(format!("{owner} ({rung}), state {}", account.state)),
        answer: Some(reason),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await?;
    Ok(())
}
