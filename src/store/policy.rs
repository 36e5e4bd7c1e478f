//! What the ladder needs to remember: since when rules are reached, arming, overrides of the policy, exemptions.

use std::collections::HashMap;

use super::{StoreError, Tx, all, exec};
use crate::{ids::PayerId, time::Timestamp};

/// A rung armed somewhere.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct ArmingRow {
    /// notify, restrict, lock, stop.
    pub rung: String,
    /// The domain with everything below it; empty: the whole cloud.
    pub domain_path: String,
    /// Who armed it.
    pub armed_by: String,
    /// When.
    pub armed_ms: Timestamp,
}

/// Every arming.
pub async fn list_arming(tx: &mut Tx) -> Result<Vec<ArmingRow>, StoreError> {
    all!(tx, ArmingRow, "select rung, domain_path, armed_by, armed_ms from arming order by rung, domain_path")
}

/// Arms a rung for a domain with everything below it, or for the whole cloud (the empty path). False: it was armed.
pub async fn arm(tx: &mut Tx, rung: &str, domain_path: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "insert into arming (rung, domain_path, armed_by, armed_ms) values ($1, $2, $3, $4) \
         on conflict (rung, domain_path) do nothing",
        rung,
        domain_path,
        by,
        now
    )? == 1)
}

/// Takes an arming back. False: there was none.
pub async fn disarm(tx: &mut Tx, rung: &str, domain_path: &str) -> Result<bool, StoreError> {
    Ok(exec!(tx, "delete from arming where rung = $1 and domain_path = $2", rung, domain_path)? == 1)
}

/// Since when each payer's rules have been reached: (payer, rung) to the instant.
pub async fn list_reached(tx: &mut Tx) -> Result<HashMap<(PayerId, String), Timestamp>, StoreError> {
    let rows = all!(
        tx,
        (PayerId, String, Timestamp),
        "select payer_id, rung, since_ms from rung_watch order by payer_id, rung"
    )?;
    Ok(rows.into_iter().map(|(payer, rung, since)| ((payer, rung), since)).collect())
}

/// Notes since when a payer's rule has been reached, or that it is reached no longer.
pub async fn put_reached(tx: &mut Tx, payer: PayerId, rung: &str, since: Option<Timestamp>) -> Result<(), StoreError> {
    match since {
        Some(since) => exec!(
            tx,
            "insert into rung_watch (payer_id, rung, since_ms) values ($1, $2, $3) \
             on conflict (payer_id, rung) do update set since_ms = excluded.since_ms",
            payer,
            rung,
            since
        )?,
        None => exec!(tx, "delete from rung_watch where payer_id = $1 and rung = $2", payer, rung)?,
    };
    Ok(())
}
