//! Requests of tenants that their account be deleted.

use std::collections::BTreeSet;

use super::{StoreError, Tx, all, exec, maybe};
use crate::{ids::AccountId, time::Timestamp};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct DeleteRequest {
    /// Its number.
    pub id: i64,
    /// Whose account.
    pub account_id: AccountId,
    /// waiting, withdrawn, refused, done.
    pub state: String,
    /// Why, in the tenant's words.
    pub reason: String,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub requested_ms: Timestamp,
    /// From when on it may be carried out.
    pub due_ms: Timestamp,
    /// When administrators were told that it is due.
    pub told_ms: Option<Timestamp>,
    /// Who ended it.
    pub ended_by: Option<String>,
    /// When.
    pub ended_ms: Option<Timestamp>,
    /// What was said then.
    pub message: Option<String>,
}

/// Keeps a request and gives its number; None where the account has one that waits, or the key was kept before.
pub async fn insert(
    tx: &mut Tx,
    key: &str,
    account: AccountId,
    reason: &str,
    by: &str,
    (now, due): (Timestamp, Timestamp),
) -> Result<Option<i64>, StoreError> {
    let inserted = maybe!(
        tx,
        (i64,),
        "insert into delete_request (key, account_id, state, reason, requested_by, requested_ms, due_ms) \
         values ($1, $2, 'waiting', $3, $4, $5, $6) on conflict do nothing returning id",
        key,
        account,
        reason,
        by,
        now,
        due
    )?;
    Ok(inserted.map(|(id,)| id))
}

/// The newest request of an account.
pub async fn find_newest(tx: &mut Tx, account: AccountId) -> Result<Option<DeleteRequest>, StoreError> {
    maybe!(
        tx,
        DeleteRequest,
        "select id, account_id, state, reason, requested_by, requested_ms, due_ms, told_ms, ended_by, ended_ms, message \
         from delete_request where account_id = $1 order by id desc limit 1",
        account
    )
}

/// A request by its number.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<DeleteRequest>, StoreError> {
    maybe!(
        tx,
        DeleteRequest,
        "select id, account_id, state, reason, requested_by, requested_ms, due_ms, told_ms, ended_by, ended_ms, message \
         from delete_request where id = $1",
        id
    )
}

/// Requests that wait, oldest first; or all, newest first.
pub async fn list(tx: &mut Tx, everything: bool, limit: i64) -> Result<Vec<DeleteRequest>, StoreError> {
    all!(
        tx,
        DeleteRequest,
        "select id, account_id, state, reason, requested_by, requested_ms, due_ms, told_ms, ended_by, ended_ms, message \
         from delete_request where $1 = 1 or state = 'waiting' \
         order by case when $1 = 1 then -id else id end limit $2",
        i64::from(everything),
        limit
    )
}

/// Ends a request that waits; false where it waits no longer.
pub async fn end(
    tx: &mut Tx,
    id: i64,
    state: &str,
    by: &str,
    message: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update delete_request set state = $2, ended_by = $3, message = $4, ended_ms = $5 where id = $1 and state = 'waiting'",
        id,
        state,
        by,
        message,
        now
    )? == 1)
}

/// Notes that administrators were told that a request is due; false where they were before.
pub async fn put_told(tx: &mut Tx, id: i64, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update delete_request set told_ms = $2 where id = $1 and state = 'waiting' and told_ms is null",
        id,
        now
    )? == 1)
}

/// The CloudStack users of an account who may not take a request back: an administrator gave them a lesser role than CloudStack
/// does.
pub async fn list_lesser_users(tx: &mut Tx, account: AccountId) -> Result<BTreeSet<String>, StoreError> {
    let rows = all!(
        tx,
        (String,),
        "select subject from portal_user where issuer = 'cloudstack' and account_id = $1 and role not in ('owner', 'cloud-admin')",
        account
    )?;
    Ok(rows.into_iter().map(|(subject,)| subject).collect())
}
