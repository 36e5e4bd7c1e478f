//! Signed links, wishes for new ones, and requests for more time.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, MailId},
    time::Timestamp,
};

/// A signed link.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct SignedLink {
    /// Its number.
    pub id: i64,
    /// suspension, address, user, deletion.
    pub purpose: String,
    /// The account.
    pub account_id: AccountId,
    /// The CloudStack user that it is about; empty: nobody in particular.
    pub cloud_user_id: String,
    /// The notice that it stood in.
    pub notice_id: Option<i64>,
    /// The CloudStack session that it holds for; empty: for any.
    #[serde(skip)]
    pub proof_hash: String,
    /// Who it was sent to.
    pub recipient: String,
    /// When it was made.
    pub made_ms: Timestamp,
    /// When it ends.
    pub expires_ms: Timestamp,
    /// When it was last used.
    pub used_ms: Option<Timestamp>,
    /// How often it was used.
    pub uses: i64,
    /// Who took it back.
    pub revoked_by: Option<String>,
    /// The request to delete the account that it takes back.
    pub delete_request_id: Option<i64>,
}

/// A link to be made.
#[derive(Debug, Clone)]
pub struct NewLink<'a> {
    /// suspension, address, user, deletion.
    pub purpose: &'a str,
    /// The account.
    pub account: AccountId,
    /// The CloudStack user that it is about; empty: nobody in particular.
    pub cloud_user_id: &'a str,
    /// The notice that it stands in.
    pub notice_id: Option<i64>,
    /// The CloudStack session that it holds for; empty: for any.
    pub proof_hash: &'a str,
    /// Who it is sent to.
    pub recipient: &'a str,
    /// When it ends.
    pub expires: Timestamp,
    /// The request to delete the account that it takes back.
    pub delete_request: Option<i64>,
}

/// Where in a mail the token of a link goes.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Marker {
    /// The link.
    pub link_id: i64,
    /// The text that the token replaces.
    pub marker: String,
}

/// A wish for a new link.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Wish {
    /// Its number.
    pub id: i64,
    /// The address, in lower case.
    pub address: String,
}

/// A request for more time.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct MoreTime {
    /// Its number.
    pub id: i64,
    /// The account.
    pub account_id: AccountId,
    /// Who asks.
    pub asked_by: String,
    /// Why.
    pub reason: String,
    /// The day that was wished for.
    pub wished_day: Option<i64>,
    /// Where the answer goes besides the account's people; may be empty.
    pub address: String,
    /// open, granted, refused.
    pub state: String,
    /// Until when it was granted.
    pub until_ms: Option<Timestamp>,
    /// What the administrator said.
    pub message: Option<String>,
    /// Who answered.
    pub answered_by: Option<String>,
    /// When it was asked.
    pub asked_ms: Timestamp,
}

/// Makes a link. Its token comes when its mail leaves.
pub async fn insert_link(tx: &mut Tx, link: &NewLink<'_>, now: Timestamp) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "insert into signed_link (purpose, account_id, cloud_user_id, notice_id, proof_hash, recipient, made_ms, expires_ms, uses, \
           delete_request_id) values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9) returning id",
        link.purpose,
        link.account,
        link.cloud_user_id,
        link.notice_id,
        link.proof_hash,
        link.recipient,
        now,
        link.expires,
        link.delete_request
    )
}

/// Says where in a mail the token of a link goes.
pub async fn insert_marker(tx: &mut Tx, mail: MailId, link: i64, marker: &str) -> Result<(), StoreError> {
    exec!(tx, "insert into mail_link (mail_id, link_id, marker) values ($1, $2, $3)", mail, link, marker)?;
    Ok(())
}

/// The links that stand in a mail.
pub async fn list_markers(tx: &mut Tx, mail: MailId) -> Result<Vec<Marker>, StoreError> {
    all!(tx, Marker, "select link_id, marker from mail_link where mail_id = $1 order by link_id", mail)
}

/// Notes the hash of a token.
pub async fn insert_token(tx: &mut Tx, link: i64, hash: &str, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "insert into signed_link_token (hash, link_id, made_ms) values ($1, $2, $3)", hash, link, now)?;
    Ok(())
}

/// The link of a token, in whatever state.
pub async fn find_by_token(tx: &mut Tx, hash: &str) -> Result<Option<SignedLink>, StoreError> {
    maybe!(
        tx,
        SignedLink,
        "select l.id, l.purpose, l.account_id, l.cloud_user_id, l.notice_id, l.proof_hash, l.recipient, l.made_ms, l.expires_ms, \
           l.used_ms, l.uses, l.revoked_by, l.delete_request_id \
         from signed_link l join signed_link_token t on t.link_id = l.id where t.hash = $1",
        hash
    )
}

/// A link by its number.
pub async fn find_link(tx: &mut Tx, id: i64) -> Result<Option<SignedLink>, StoreError> {
    maybe!(
        tx,
        SignedLink,
        "select id, purpose, account_id, cloud_user_id, notice_id, proof_hash, recipient, made_ms, expires_ms, used_ms, uses, \
           revoked_by, delete_request_id from signed_link where id = $1",
        id
    )
}

/// Notes that a link was used; false where it was used before and `once` is wanted.
pub async fn use_link(tx: &mut Tx, id: i64, once: bool, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update signed_link set used_ms = $1, uses = uses + 1 where id = $2 and ($3 = 0 or uses = 0)",
        now,
        id,
        i64::from(once)
    )? == 1)
}

/// Links to pages of suspended accounts, and such as take a request to delete an account back, that have not ended or been taken
/// back, newest first.
pub async fn list_open_links(
    tx: &mut Tx,
    account: Option<AccountId>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<SignedLink>, StoreError> {
    all!(
        tx,
        SignedLink,
        "select id, purpose, account_id, cloud_user_id, notice_id, proof_hash, recipient, made_ms, expires_ms, used_ms, uses, \
           revoked_by, delete_request_id from signed_link where purpose in ('suspension', 'deletion') and revoked_ms is null \
           and expires_ms > $1 and ($2 is null or account_id = $2) \
           and (delete_request_id is null \
             or delete_request_id in (select id from delete_request where state = 'waiting')) order by id desc limit $3",
        now,
        account,
        limit
    )
}

/// Takes links of an account back, or one of them, and ends their sessions. Gives how many.
pub async fn revoke_links(
    tx: &mut Tx,
    account: AccountId,
    link: Option<i64>,
    by: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    exec!(
        tx,
        "delete from web_session where link_id in (select id from signed_link where account_id = $1 and ($2 is null or id = $2))",
        account,
        link
    )?;
    exec!(
        tx,
        "update signed_link set revoked_by = $1, revoked_ms = $2 \
         where account_id = $3 and ($4 is null or id = $4) and revoked_ms is null and expires_ms > $2",
        by,
        now,
        account,
        link
    )
}

/// Forgets the tokens of links that ended before an instant.
pub async fn purge_tokens(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    exec!(tx, "delete from link_wish where answered_ms < $1", before)?;
    exec!(
        tx,
        "delete from signed_link_token where link_id in (select id from signed_link where expires_ms < $1)",
        before
    )
}

/// Whether a link to the page of an account was made for an address since an instant.
pub async fn has_link_since(
    tx: &mut Tx,
    account: AccountId,
    recipient: &str,
    since: Timestamp,
) -> Result<bool, StoreError> {
    let found = maybe!(
        tx,
        (i64,),
        "select id from signed_link where purpose = 'suspension' and account_id = $1 and recipient = $2 and made_ms > $3 \
           order by id desc limit 1",
        account,
        recipient,
        since
    )?;
    Ok(found.is_some())
}

/// Writes down that somebody wants a new link sent to an address.
pub async fn insert_wish(tx: &mut Tx, address: &str, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "insert into link_wish (address, asked_ms) values ($1, $2)", address, now)?;
    Ok(())
}

/// Wishes that were not looked at yet.
pub async fn list_wishes(tx: &mut Tx, limit: i64) -> Result<Vec<Wish>, StoreError> {
    all!(tx, Wish, "select id, address from link_wish where answered_ms is null order by id limit $1", limit)
}

/// Notes that a wish was looked at.
pub async fn put_wish_answered(tx: &mut Tx, id: i64, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "update link_wish set answered_ms = $1 where id = $2", now, id)?;
    Ok(())
}

/// Asks for more time; None where a request of the account is open.
pub async fn insert_more_time(
    tx: &mut Tx,
    account: AccountId,
    asked_by: &str,
    reason: &str,
    wished_day: Option<i64>,
    address: &str,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let row = maybe!(
        tx,
        (i64,),
        "insert into more_time (account_id, asked_by, reason, wished_day, address, state, asked_ms) \
         values ($1, $2, $3, $4, $5, 'open', $6) on conflict do nothing returning id",
        account,
        asked_by,
        reason,
        wished_day,
        address,
        now
    )?;
    Ok(row.map(|(id,)| id))
}

/// Requests for more time, newest first: of one account, in one state, or all.
pub async fn list_more_time(
    tx: &mut Tx,
    account: Option<AccountId>,
    state: Option<&str>,
    limit: i64,
) -> Result<Vec<MoreTime>, StoreError> {
    all!(
        tx,
        MoreTime,
        "select id, account_id, asked_by, reason, wished_day, address, state, until_ms, message, answered_by, asked_ms \
         from more_time where ($1 is null or account_id = $1) and ($2 is null or state = $2) order by id desc limit $3",
        account,
        state,
        limit
    )
}

/// A request for more time.
pub async fn get_more_time(tx: &mut Tx, id: i64) -> Result<MoreTime, StoreError> {
    maybe!(
        tx,
        MoreTime,
        "select id, account_id, asked_by, reason, wished_day, address, state, until_ms, message, answered_by, asked_ms \
         from more_time where id = $1",
        id
    )?
    .ok_or_else(|| StoreError::Missing(format!("there is no request for more time with number {id}")))
}

/// Notes the answer to a request; false where it was answered before.
pub async fn answer_more_time(
    tx: &mut Tx,
    id: i64,
    state: &str,
    until: Option<Timestamp>,
    message: Option<&str>,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update more_time set state = $1, until_ms = $2, message = $3, answered_by = $4, answered_ms = $5 \
         where id = $6 and state = 'open'",
        state,
        until,
        message,
        by,
        now,
        id
    )? == 1)
}

/// Since when bursar's suspension of an account stands, if it does and the account is not open.
pub async fn find_suspended_since(tx: &mut Tx, account: AccountId) -> Result<Option<Timestamp>, StoreError> {
    let found = maybe!(
        tx,
        (Timestamp,),
        "select h.placed_ms from hold h join account a on a.id = h.account_id where h.account_id = $1 and h.owner = 'billing' \
           and h.lifted_ms is null and a.state <> 'enabled' and a.gone_ms is null",
        account
    )?;
    Ok(found.map(|(at,)| at))
}
