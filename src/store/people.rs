//! Requests for API access, and service tokens.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, KeyRequestId},
    time::Timestamp,
};

/// A request for API access.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct KeyRequest {
    /// Its number.
    pub id: KeyRequestId,
    /// The account.
    pub account_id: AccountId,
    /// Who asked.
    pub requested_by: String,
    /// What for.
    pub purpose: String,
    /// For how many days.
    pub days: i64,
    /// requested, approved, denied, issued, shown, revoking, revoked, failed.
    pub state: String,
    /// Who decided.
    pub decided_by: Option<String>,
    /// What the administrator said.
    pub message: Option<String>,
    /// The dedicated CloudStack user.
    pub user_id: Option<String>,
    /// Its name.
    pub username: Option<String>,
    /// The public half of the pair.
    pub api_key: Option<String>,
    /// The secret half, encrypted, until it was looked at.
    pub secret_box: Option<Vec<u8>>,
    /// When it was filed.
    pub requested_ms: i64,
    /// When the pair was made.
    pub issued_ms: Option<i64>,
    /// When the pair ends.
    pub expires_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// dedicated, person, adopted: whose user the pair is of.
    pub kind: String,
    /// The CloudStack user who asks, where it is known.
    pub for_user: Option<String>,
    /// The pair that this one takes over from.
    pub replaces: Option<KeyRequestId>,
    /// The pair ends then at the latest.
    pub ends_ms: Option<i64>,
    /// The pair's own id, where CloudStack gives it one.
    pub pair_id: Option<String>,
    /// The least number of days left that was warned of.
    pub warned_days: Option<i64>,
    /// What the last look found changed by hand.
    pub watched: Option<String>,
    /// When the secret was looked at.
    pub shown_ms: Option<i64>,
    /// Until then one pass has it for itself.
    pub claim_ends_ms: Option<i64>,
}

/// A token for machines.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct ServiceToken {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What it may do: read, write, act.
    pub scopes: String,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last used.
    pub last_used_ms: Option<i64>,
}

/// Files a request for API access; the same key again gives the same request.
pub async fn insert_key_request(
    tx: &mut Tx,
    key: &str,
    account: AccountId,
    requested_by: &str,
    purpose: &str,
    days: i64,
    now: Timestamp,
) -> Result<KeyRequestId, StoreError> {
    exec!(
        tx,
        "insert into key_request (key, account_id, requested_by, purpose, days, state, requested_ms) \
         values ($1, $2, $3, $4, $5, 'requested', $6) on conflict (key) do nothing",
        key,
        account,
        requested_by,
        purpose,
        days,
        now
    )?;
    let id = scalar!(tx, i64, "select id from key_request where key = $1", key)?;
    Ok(KeyRequestId::new(id))
}

/// A request for API access.
pub async fn get_key_request(tx: &mut Tx, id: KeyRequestId) -> Result<KeyRequest, StoreError> {
    maybe!(
        tx,
        KeyRequest,
        "select id, account_id, requested_by, purpose, days, state, decided_by, message, user_id, username, api_key, \
           secret_box, requested_ms, issued_ms, expires_ms, revoked_ms, last_error, \
           kind, for_user, replaces, ends_ms, pair_id, warned_days, watched, shown_ms, claim_ends_ms from key_request where id = $1",
        id
    )?
    .ok_or_else(|| StoreError::Missing(format!("there is no request for API access with number {id}")))
}

/// Requests for API access, newest first: of one account, in one state, or all.
pub async fn list_key_requests(
    tx: &mut Tx,
    account: Option<AccountId>,
    state: Option<&str>,
    limit: i64,
) -> Result<Vec<KeyRequest>, StoreError> {
    all!(
        tx,
        KeyRequest,
        "select id, account_id, requested_by, purpose, days, state, decided_by, message, user_id, username, api_key, \
           secret_box, requested_ms, issued_ms, expires_ms, revoked_ms, last_error, \
           kind, for_user, replaces, ends_ms, pair_id, warned_days, watched, shown_ms, claim_ends_ms from key_request \
         where ($1 is null or account_id = $1) and ($2 is null or state = $2) order by id desc limit $3",
        account,
        state,
        limit
    )
}

/// The request that was filed under this key, and its account.
pub async fn find_key_request(tx: &mut Tx, key: &str) -> Result<Option<(KeyRequestId, AccountId)>, StoreError> {
    maybe!(tx, (KeyRequestId, AccountId), "select id, account_id from key_request where key = $1", key)
}

/// How many requests of an account have not come to their end.
pub async fn count_open_key_requests(tx: &mut Tx, account: AccountId) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "select count(*) from key_request where account_id = $1 and state not in ('denied', 'revoked', 'failed')",
        account
    )
}

/// Requests in one state, oldest first, after a number: to go through all of them page by page.
pub async fn list_key_requests_after(
    tx: &mut Tx,
    state: &str,
    after: KeyRequestId,
    limit: i64,
) -> Result<Vec<KeyRequest>, StoreError> {
    all!(
        tx,
        KeyRequest,
        "select id, account_id, requested_by, purpose, days, state, decided_by, message, user_id, username, api_key, \
           secret_box, requested_ms, issued_ms, expires_ms, revoked_ms, last_error, \
           kind, for_user, replaces, ends_ms, pair_id, warned_days, watched, shown_ms, claim_ends_ms from key_request \
         where state = $1 and id > $2 order by id limit $3",
        state,
        after,
        limit
    )
}

/// Notes that the pair has to go, and erases its secret in the same step; false where it is not in `from` any more.
pub async fn put_key_revoking(tx: &mut Tx, id: KeyRequestId, from: &str) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update key_request set state = 'revoking', secret_box = null where id = $1 and state = $2",
        id,
        from
    )? == 1)
}

/// Moves a request from one state to the next; false where it is not in `from` any more.
pub async fn move_key_request(tx: &mut Tx, id: KeyRequestId, from: &str, to: &str) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update key_request set state = $1 where id = $2 and state = $3", to, id, from)? == 1)
}

/// Notes who decided and what was said, and for how many days.
pub async fn put_key_decision(
    tx: &mut Tx,
    id: KeyRequestId,
    decided_by: &str,
    message: Option<&str>,
    days: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "update key_request set decided_by = $1, message = $2, days = $3, decided_ms = $4 where id = $5",
        decided_by,
        message,
        days,
        now,
        id
    )?;
    Ok(())
}

/// Notes the dedicated user before it is made.
pub async fn put_key_user(tx: &mut Tx, id: KeyRequestId, user_id: &str, username: &str) -> Result<(), StoreError> {
    exec!(tx, "update key_request set user_id = $1, username = $2 where id = $3", user_id, username, id)?;
    Ok(())
}

/// Stores the pair, the secret half encrypted.
pub async fn put_key_pair(
    tx: &mut Tx,
    id: KeyRequestId,
    api_key: &str,
    secret_box: &[u8],
    issued: Timestamp,
    expires: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update key_request set state = 'issued', api_key = $1, secret_box = $2, issued_ms = $3, expires_ms = $4, \
           last_error = null, claim_ends_ms = null where id = $5 and state = 'approved'",
        api_key,
        secret_box,
        issued,
        expires,
        id
    )? == 1)
}

/// Erases the secret after its one look.
pub async fn erase_secret(tx: &mut Tx, id: KeyRequestId, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update key_request set secret_box = null, shown_ms = $1, state = 'shown' where id = $2 and state = 'issued'",
        now,
        id
    )? == 1)
}

/// Notes that the pair is gone for good.
pub async fn put_key_revoked(tx: &mut Tx, id: KeyRequestId, now: Timestamp) -> Result<(), StoreError> {
    exec!(
        tx,
        "update key_request set state = 'revoked', secret_box = null, revoked_ms = $1, last_error = null where id = $2",
        now,
        id
    )?;
    Ok(())
}

/// Notes why a step failed, and lets go of the claim that ends at `claim`; the next run tries again. Another pass's claim stands.
pub async fn put_key_error(
    tx: &mut Tx,
    id: KeyRequestId,
    claim: Option<Timestamp>,
    error: &str,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "update key_request set last_error = $1, \
           claim_ends_ms = case when claim_ends_ms = $2 then null else claim_ends_ms end where id = $3",
        error,
        claim,
        id
    )?;
    Ok(())
}

/// Stores a service token's hash.
pub async fn insert_token(
    tx: &mut Tx,
    name: &str,
    hash: &str,
    scopes: &str,
    created_by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into service_token (name, hash, scopes, created_by, created_ms) values ($1, $2, $3, $4, $5)",
        name,
        hash,
        scopes,
        created_by,
        now
    )?;
    Ok(())
}

/// The standing token of this hash.
pub async fn find_token(tx: &mut Tx, hash: &str) -> Result<Option<ServiceToken>, StoreError> {
    maybe!(
        tx,
        ServiceToken,
        "select id, name, scopes, created_ms, last_used_ms from service_token where hash = $1 and revoked_ms is null",
        hash
    )
}

/// Notes that a token was used.
pub async fn touch_token(tx: &mut Tx, id: i64, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "update service_token set last_used_ms = $1 where id = $2", now, id)?;
    Ok(())
}

/// Standing tokens.
pub async fn list_tokens(tx: &mut Tx) -> Result<Vec<ServiceToken>, StoreError> {
    all!(
        tx,
        ServiceToken,
        "select id, name, scopes, created_ms, last_used_ms from service_token where revoked_ms is null order by name"
    )
}

/// Ends a token at once.
pub async fn revoke_token(tx: &mut Tx, name: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update service_token set revoked_ms = $1 where name = $2 and revoked_ms is null", now, name)? == 1)
}
