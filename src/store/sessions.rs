//! Signed-in browsers, sign-ins on their way, and which user of an account is behind a session.

use super::{StoreError, Tx, exec, maybe};
use crate::{ids::AccountId, time::Timestamp};

/// A signed-in browser.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct WebSession {
    /// cloudstack, openid, link.
    pub kind: String,
    /// The CloudStack user; empty where it is one of several, or none.
    pub cloud_user_id: String,
    /// Who vouches: `cloudstack`, or an OpenID issuer. Empty where there is no person.
    pub issuer: String,
    /// The person at that issuer.
    pub subject: String,
    /// The signed link that let it in.
    pub link_id: Option<i64>,
    /// The account that it looks at.
    pub account_id: AccountId,
    /// The account that CloudStack named, or that the person came to at sign-in.
    pub home_account_id: AccountId,
    /// owner, finance, viewer, cloud-admin.
    pub role: String,
    /// The user's name, for the page.
    pub username: String,
    /// Hash of the cookies of CloudStack that were there; empty where there were none.
    pub proof_hash: String,
    /// The token that forms must carry.
    pub csrf: String,
    /// When it was last confirmed.
    pub proven_ms: i64,
    /// When it ends.
    pub expires_ms: i64,
}

/// A sign-in that was sent to an issuer.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Attempt {
    /// The issuer's name in the configuration.
    pub issuer_name: String,
    /// Where the person wanted to go, below the base path.
    pub return_to: String,
}

/// Which user is behind a CloudStack session of an account with several.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct KnownUser {
    /// The account.
    pub account_id: AccountId,
    /// The user.
    pub cloud_user_id: String,
    /// openid (by a mapping that an administrator made), address (by one that an address made), mail.
    pub how: String,
}

/// Stores a session under the hash of its cookie.
pub async fn put_session(tx: &mut Tx, hash: &str, session: &WebSession) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into web_session (hash, kind, cloud_user_id, issuer, subject, link_id, account_id, home_account_id, role, \
           username, proof_hash, csrf, proven_ms, expires_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) on conflict (hash) do update set \
           account_id = excluded.account_id, role = excluded.role, username = excluded.username, \
           proof_hash = excluded.proof_hash, csrf = excluded.csrf, \
           proven_ms = excluded.proven_ms, expires_ms = excluded.expires_ms",
        hash,
        &session.kind,
        &session.cloud_user_id,
        &session.issuer,
        &session.subject,
        session.link_id,
        session.account_id,
        session.home_account_id,
        &session.role,
        &session.username,
        &session.proof_hash,
        &session.csrf,
        session.proven_ms,
        session.expires_ms
    )?;
    Ok(())
}

/// The session of this hash, if it has not ended.
pub async fn find_session(tx: &mut Tx, hash: &str, now: Timestamp) -> Result<Option<WebSession>, StoreError> {
    maybe!(
        tx,
        WebSession,
        "select kind, cloud_user_id, issuer, subject, link_id, account_id, home_account_id, role, username, proof_hash, csrf, \
           proven_ms, expires_ms from web_session where hash = $1 and expires_ms > $2",
        hash,
        now
    )
}

/// Lets a session look at another account, in a role. Pages that are open about the former one have the former token.
pub async fn put_session_account(
    tx: &mut Tx,
    hash: &str,
    (account, role): (AccountId, &str),
    csrf: &str,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "update web_session set account_id = $1, role = $2, csrf = $3 where hash = $4",
        account,
        role,
        csrf,
        hash
    )?;
    Ok(())
}

/// Ends a session.
pub async fn end_session(tx: &mut Tx, hash: &str) -> Result<(), StoreError> {
    exec!(tx, "delete from web_session where hash = $1", hash)?;
    Ok(())
}

/// Ends every session of a person.
pub async fn end_sessions_of(tx: &mut Tx, issuer: &str, subject: &str) -> Result<u64, StoreError> {
    exec!(tx, "delete from web_session where issuer = $1 and subject = $2", issuer, subject)
}

/// Forgets what has ended: sessions, sign-ins on their way, and who was known.
pub async fn purge_sessions(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    exec!(tx, "delete from openid_attempt where expires_ms <= $1", now)?;
    exec!(tx, "delete from known_user where expires_ms <= $1", now)?;
    exec!(tx, "delete from web_session where expires_ms <= $1", now)
}

/// Notes a sign-in that is being sent to an issuer.
pub async fn insert_attempt(
    tx: &mut Tx,
    (state_hash, browser_hash): (&str, &str),
    attempt: &Attempt,
    now: Timestamp,
    expires: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into openid_attempt (state_hash, browser_hash, issuer_name, return_to, begun_ms, expires_ms) \
         values ($1, $2, $3, $4, $5, $6)",
        state_hash,
        browser_hash,
        &attempt.issuer_name,
        &attempt.return_to,
        now,
        expires
    )?;
    Ok(())
}

/// Takes a sign-in that came back: once, and only for the browser that began it.
pub async fn take_attempt(
    tx: &mut Tx,
    state_hash: &str,
    browser_hash: &str,
    now: Timestamp,
) -> Result<Option<Attempt>, StoreError> {
    maybe!(
        tx,
        Attempt,
        "delete from openid_attempt where state_hash = $1 and browser_hash = $2 and expires_ms > $3 \
         returning issuer_name, return_to",
        state_hash,
        browser_hash,
        now
    )
}

/// Notes which user is behind a CloudStack session.
pub async fn put_known_user(
    tx: &mut Tx,
    proof_hash: &str,
    known: &KnownUser,
    now: Timestamp,
    expires: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into known_user (proof_hash, account_id, cloud_user_id, how, known_ms, expires_ms) \
         values ($1, $2, $3, $4, $5, $6) on conflict (proof_hash) do update set account_id = excluded.account_id, \
           cloud_user_id = excluded.cloud_user_id, how = excluded.how, known_ms = excluded.known_ms, \
           expires_ms = excluded.expires_ms",
        proof_hash,
        known.account_id,
        &known.cloud_user_id,
        &known.how,
        now,
        expires
    )?;
    Ok(())
}

/// Which user is behind a CloudStack session, if somebody told.
pub async fn find_known_user(tx: &mut Tx, proof_hash: &str, now: Timestamp) -> Result<Option<KnownUser>, StoreError> {
    maybe!(
        tx,
        KnownUser,
        "select account_id, cloud_user_id, how from known_user where proof_hash = $1 and expires_ms > $2",
        proof_hash,
        now
    )
}

/// Notes which of several accounts a person looks at.
pub async fn put_choice(
    tx: &mut Tx,
    issuer: &str,
    subject: &str,
    account: AccountId,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into account_choice (issuer, subject, account_id, chosen_ms) values ($1, $2, $3, $4) \
         on conflict (issuer, subject) do update set account_id = excluded.account_id, chosen_ms = excluded.chosen_ms",
        issuer,
        subject,
        account,
        now
    )?;
    Ok(())
}

/// The account that a person last chose.
pub async fn find_choice(tx: &mut Tx, issuer: &str, subject: &str) -> Result<Option<AccountId>, StoreError> {
    let found = maybe!(
        tx,
        (AccountId,),
        "select account_id from account_choice where issuer = $1 and subject = $2",
        issuer,
        subject
    )?;
    Ok(found.map(|(account,)| account))
}
