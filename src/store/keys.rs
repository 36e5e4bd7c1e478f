//! Key pairs beyond their requests: claims, rotation, approvals, adopted pairs, and closed self-service. The requests
//! themselves are read in [`super::people`].

use std::{collections::BTreeSet, time::Duration};

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, KeyRequestId},
    time::Timestamp,
};

/// A pair that takes over from another.
#[derive(Debug, Clone)]
pub struct Successor<'a> {
    /// Made by the caller; the same key again gives the same request.
    pub key: &'a str,
    /// The pair that it takes over from.
    pub replaces: KeyRequestId,
    /// Who rotates.
    pub by: &'a str,
    /// Their CloudStack user, where it is known.
    pub for_user: Option<&'a str>,
    /// For how many days at most.
    pub days: i64,
    /// It ends then at the latest.
    pub ends: Option<Timestamp>,
}

/// A pair that was there before bursar.
#[derive(Debug, Clone)]
pub struct AdoptedPair<'a> {
    /// Made of the user and the pair; the same again gives the same request.
    pub key: &'a str,
    /// The account.
    pub account: AccountId,
    /// Who adopts it.
    pub by: &'a str,
    /// What it is for.
    pub purpose: &'a str,
    /// For how many days from now.
    pub days: i64,
    /// Its user.
    pub user_id: &'a str,
    /// The user's name.
    pub username: &'a str,
    /// The public half.
    pub api_key: &'a str,
    /// Its own id, where CloudStack gives it one.
    pub pair_id: Option<&'a str>,
    /// When it ends.
    pub expires: Timestamp,
}

/// An approval of the terms that it names.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Approval {
    /// Who approved, for comparing ([`crate::approver`]).
    #[serde(skip)]
    pub identity: String,
    /// Who approved, by name.
    pub admin: String,
    /// For how many days.
    pub days: i64,
    /// For what.
    pub purpose: String,
    /// When.
    pub at_ms: Timestamp,
}

/// An account in which CloudStack's own self-service is closed, was, or is being opened.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Closing {
    /// Its number.
    pub id: i64,
    /// The account.
    pub account_id: AccountId,
    /// closed, opening, opened.
    pub state: String,
    /// Who closed it.
    pub closed_by: String,
    /// When.
    pub closed_ms: Timestamp,
}

/// A user of such an account.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct ClosingUser {
    /// The CloudStack user.
    pub user_id: String,
    /// Its name.
    pub username: String,
    /// What stood there before: enabled, disabled, inherit.
    pub before_access: String,
    /// What is to stand there: enabled or disabled.
    pub set_access: String,
    /// When it was set.
    pub done_ms: Option<Timestamp>,
    /// When what stood before was set again.
    pub undone_ms: Option<Timestamp>,
}

/// Notes whose user asks and which pair the new one takes over from.
pub async fn put_wish(
    tx: &mut Tx,
    id: KeyRequestId,
    for_user: Option<&str>,
    replaces: Option<KeyRequestId>,
) -> Result<(), StoreError> {
    exec!(tx, "update key_request set for_user = $1, replaces = $2 where id = $3", for_user, replaces, id)?;
    Ok(())
}

/// Files an approved request for a pair that takes over; the same key again gives the same request.
pub async fn insert_successor(tx: &mut Tx, new: &Successor<'_>, now: Timestamp) -> Result<KeyRequestId, StoreError> {
    exec!(
        tx,
        "insert into key_request (key, account_id, requested_by, purpose, days, state, requested_ms, decided_ms, decided_by, \
           message, for_user, replaces, ends_ms) \
         select $1, account_id, $2, purpose, $3, 'approved', $4, $4, decided_by, message, $5, id, $6 from key_request \
         where id = $7 on conflict (key) do nothing",
        new.key,
        new.by,
        new.days,
        now,
        new.for_user,
        new.ends,
        new.replaces
    )?;
    let id = scalar!(tx, i64, "select id from key_request where key = $1", new.key)?;
    Ok(KeyRequestId::new(id))
}

/// The pair that takes over from this one, or is to; ended ones do not count.
pub async fn find_successor(tx: &mut Tx, id: KeyRequestId) -> Result<Option<KeyRequestId>, StoreError> {
    let found = maybe!(
        tx,
        (KeyRequestId,),
        "select id from key_request where replaces = $1 and state not in ('denied', 'revoking', 'revoked', 'failed') \
         order by id limit 1",
        id
    )?;
    Ok(found.map(|(id,)| id))
}

/// Lets a working pair end at an instant, if it would work longer; false where it would not.
pub async fn end_sooner(tx: &mut Tx, id: KeyRequestId, at: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update key_request set expires_ms = $1, ends_ms = $1 where id = $2 and state in ('issued', 'shown') \
           and (expires_ms is null or expires_ms > $1)",
        at,
        id
    )? == 1)
}

/// Notes a CloudStack user that is the person's own before a pair is made for it.
pub async fn put_person_user(tx: &mut Tx, id: KeyRequestId, user_id: &str, username: &str) -> Result<(), StoreError> {
    exec!(
        tx,
        "update key_request set user_id = $1, username = $2, kind = 'person' where id = $3",
        user_id,
        username,
        id
    )?;
    Ok(())
}

/// Notes the pair's own id.
pub async fn put_pair_id(tx: &mut Tx, id: KeyRequestId, pair_id: Option<&str>) -> Result<(), StoreError> {
    exec!(tx, "update key_request set pair_id = $1 where id = $2", pair_id, id)?;
    Ok(())
}

/// No pass claims a request for so long: such a claim was made by a clock that was ahead and has been set right.
const LONGER_THAN_ANY_CLAIM: Duration = Duration::from_hours(1);

/// Whether a pass has a request for itself, by when its claim ends.
pub fn is_claimed(claim_ends: Option<Timestamp>, now: Timestamp) -> bool {
    claim_ends.is_some_and(|ends| ends > now && ends <= now.plus(LONGER_THAN_ANY_CLAIM))
}

/// Takes an approved request for one pass; false where another pass has it ([`is_claimed`]), or has ended it.
pub async fn claim_request(
    tx: &mut Tx,
    id: KeyRequestId,
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update key_request set claim_ends_ms = $1 \
         where id = $2 and state = 'approved' \
           and (claim_ends_ms is null or claim_ends_ms <= $3 or claim_ends_ms > $4)",
        until,
        id,
        now,
        now.plus(LONGER_THAN_ANY_CLAIM)
    )? == 1)
}

/// Notes the least number of days left that was warned of; false where it was warned of before.
pub async fn put_warned(tx: &mut Tx, id: KeyRequestId, days: i64) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update key_request set warned_days = $1 where id = $2 and (warned_days is null or warned_days > $1)",
        days,
        id
    )? == 1)
}

/// Notes what a look at the user found; false where it found the same before.
pub async fn put_watched(tx: &mut Tx, id: KeyRequestId, found: Option<&str>) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update key_request set watched = $1 where id = $2 and coalesce(watched, '') <> coalesce($1, '')",
        found,
        id
    )? == 1)
}

/// What ended a request, as the audit trail has it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Ending {
    /// The request.
    pub request_id: KeyRequestId,
    /// key.deny, key.revoke, key.withdraw, key.expire, key.lapse, key.mistrust, key.abandon, key.fail.
    pub action: String,
    /// Who did it.
    pub actor: String,
    /// When.
    pub at_ms: Timestamp,
    /// What was noted with it.
    pub answer: Option<String>,
}

/// What ended the requests of an account, oldest first; the last one of a request is what counts.
pub async fn list_endings(tx: &mut Tx, account: AccountId) -> Result<Vec<Ending>, StoreError> {
    all!(
        tx,
        Ending,
        "select r.id as request_id, a.action, a.actor, a.at_ms, a.answer from key_request r \
           join audit a on a.subject = 'API access request ' || r.id \
         where r.account_id = $1 and r.state in ('denied', 'revoking', 'revoked', 'failed') and a.action in ('key.deny', \
           'key.revoke', 'key.withdraw', 'key.expire', 'key.lapse', 'key.mistrust', 'key.abandon', 'key.fail') order by a.id",
        account
    )
}

/// How many requests have something to be done about, now or later.
pub async fn count_standing(tx: &mut Tx) -> Result<i64, StoreError> {
    scalar!(tx, i64, "select count(*) from key_request where state in ('approved', 'issued', 'shown', 'revoking')")
}

/// The requests of these users that have not ended: which pairs in an account are bursar's.
pub async fn list_pairs_of_account(
    tx: &mut Tx,
    account: AccountId,
) -> Result<Vec<(KeyRequestId, String, Option<String>)>, StoreError> {
    all!(
        tx,
        (KeyRequestId, String, Option<String>),
        "select id, user_id, api_key from key_request where account_id = $1 and user_id is not null \
           and state in ('approved', 'issued', 'shown') order by id",
        account
    )
}

/// The users that were made in an account for key pairs, by CloudStack's ids.
pub async fn list_made_users(tx: &mut Tx, account: AccountId) -> Result<BTreeSet<String>, StoreError> {
    let rows = all!(
        tx,
        (String,),
        "select user_id from key_request where account_id = $1 and kind = 'dedicated' and user_id is not null",
        account
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Holds a request for this transaction: what is read and counted then does not change until its end.
pub async fn lock_request(tx: &mut Tx, id: KeyRequestId) -> Result<(), StoreError> {
    exec!(tx, "update key_request set state = state where id = $1", id)?;
    Ok(())
}

/// Lets one transaction after the other add requests and pairs to an account.
pub async fn lock_account(tx: &mut Tx, account: AccountId) -> Result<(), StoreError> {
    exec!(tx, "update account set name = name where id = $1", account)?;
    Ok(())
}

/// Lets go of a request that a pass had claimed until `claim`. Another pass's claim stands.
pub async fn drop_claim(tx: &mut Tx, id: KeyRequestId, claim: Option<Timestamp>) -> Result<(), StoreError> {
    exec!(tx, "update key_request set claim_ends_ms = null where id = $1 and claim_ends_ms = $2", id, claim)?;
    Ok(())
}

/// Stores an approval; a later one of the same person takes the place of the former.
pub async fn put_approval(
    tx: &mut Tx,
    id: KeyRequestId,
    (identity, admin): (&str, &str),
    (days, purpose): (i64, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into key_approval (request_id, identity, admin, days, purpose, at_ms) values ($1, $2, $3, $4, $5, $6) \
         on conflict (request_id, identity) do update set admin = excluded.admin, days = excluded.days, \
           purpose = excluded.purpose, at_ms = excluded.at_ms",
        id,
        identity,
        admin,
        days,
        purpose,
        now
    )?;
    Ok(())
}

/// Approvals of a request, oldest first.
pub async fn list_approvals(tx: &mut Tx, id: KeyRequestId) -> Result<Vec<Approval>, StoreError> {
    all!(
        tx,
        Approval,
        "select identity, admin, days, purpose, at_ms from key_approval where request_id = $1 order by at_ms, identity",
        id
    )
}

/// Changes what is asked for, while nobody has decided.
pub async fn put_terms(tx: &mut Tx, id: KeyRequestId, days: i64, purpose: &str) -> Result<(), StoreError> {
    exec!(tx, "update key_request set days = $1, purpose = $2 where id = $3", days, purpose, id)?;
    Ok(())
}

/// Takes in a pair that was there before; the same key again gives the same request.
pub async fn insert_adopted(tx: &mut Tx, new: &AdoptedPair<'_>, now: Timestamp) -> Result<KeyRequestId, StoreError> {
    exec!(
        tx,
        "insert into key_request (key, account_id, requested_by, purpose, days, state, decided_by, requested_ms, decided_ms, \
           issued_ms, shown_ms, expires_ms, kind, user_id, username, api_key, pair_id) \
         values ($1, $2, $3, $4, $5, 'shown', $3, $6, $6, $6, $6, $7, 'adopted', $8, $9, $10, $11) \
         on conflict (key) do nothing",
        new.key,
        new.account,
        new.by,
        new.purpose,
        new.days,
        now,
        new.expires,
        new.user_id,
        new.username,
        new.api_key,
        new.pair_id
    )?;
    let id = scalar!(tx, i64, "select id from key_request where key = $1", new.key)?;
    Ok(KeyRequestId::new(id))
}

/// Notes that self-service of an account is to be closed; None where it is already.
pub async fn insert_closing(
    tx: &mut Tx,
    account: AccountId,
    by: &str,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    if find_closing(tx, account).await?.is_some() {
        return Ok(None);
    }
    let id = scalar!(
        tx,
        i64,
        "insert into key_closing (account_id, state, closed_by, closed_ms) values ($1, 'closed', $2, $3) returning id",
        account,
        by,
        now
    )?;
    Ok(Some(id))
}

/// The closing of an account that stands.
pub async fn find_closing(tx: &mut Tx, account: AccountId) -> Result<Option<Closing>, StoreError> {
    maybe!(
        tx,
        Closing,
        "select id, account_id, state, closed_by, closed_ms from key_closing \
         where account_id = $1 and state <> 'opened'",
        account
    )
}

/// Every closing that stands.
pub async fn list_closings(tx: &mut Tx) -> Result<Vec<Closing>, StoreError> {
    all!(
        tx,
        Closing,
        "select id, account_id, state, closed_by, closed_ms from key_closing where state <> 'opened' order by id"
    )
}

/// Whether a closing still closes: nobody has begun to open it.
pub async fn is_closed(tx: &mut Tx, closing: i64) -> Result<bool, StoreError> {
    let found = maybe!(tx, (i64,), "select id from key_closing where id = $1 and state = 'closed'", closing)?;
    Ok(found.is_some())
}

/// What a user is to be given back: while the closing is being opened, and nobody has given it back.
pub async fn find_to_give_back(tx: &mut Tx, closing: i64, user: &str) -> Result<Option<String>, StoreError> {
    let found = maybe!(
        tx,
        (String,),
        "select u.before_access from key_closing_user u join key_closing c on c.id = u.closing_id \
         where c.id = $1 and u.user_id = $2 and u.undone_ms is null and c.state = 'opening'",
        closing,
        user
    )?;
    Ok(found.map(|(access,)| access))
}

/// Lets another closing of the account that stands set a user once more: a call for this one may have come behind its own. False:
/// there is none.
pub async fn close_again(tx: &mut Tx, account: AccountId, closing: i64, user: &str) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update key_closing_user set done_ms = null where user_id = $1 \
           and closing_id in (select id from key_closing where account_id = $2 and id <> $3 and state = 'closed')",
        user,
        account,
        closing
    )? > 0)
}

/// A user whose key was switched off for good stays off when the closing that found it on is opened.
pub async fn stay_disabled(tx: &mut Tx, user: &str) -> Result<(), StoreError> {
    exec!(tx, "update key_closing_user set before_access = 'disabled' where user_id = $1 and undone_ms is null", user)?;
    Ok(())
}

/// Moves a closing from one state to the next; false where it is not in `from` any more.
pub async fn move_closing(
    tx: &mut Tx,
    closing: i64,
    from: &str,
    to: &str,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update key_closing set state = $1, opened_by = coalesce(opened_by, $2), opened_ms = $3 \
         where id = $4 and state = $5",
        to,
        by,
        now,
        closing,
        from
    )? == 1)
}

/// Notes what a user's access was and is to be; what was noted before stays.
pub async fn put_closing_user(tx: &mut Tx, closing: i64, user: &ClosingUser) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "insert into key_closing_user (closing_id, user_id, username, before_access, set_access) \
         values ($1, $2, $3, $4, $5) on conflict (closing_id, user_id) do nothing",
        closing,
        &user.user_id,
        &user.username,
        &user.before_access,
        &user.set_access
    )? == 1)
}

/// Marks a user to be kept that was to be closed; false where it is kept already, or not there.
pub async fn keep_closing_user(tx: &mut Tx, closing: i64, user: &str) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update key_closing_user set set_access = 'enabled', done_ms = null \
         where closing_id = $1 and user_id = $2 and set_access = 'disabled'",
        closing,
        user
    )? == 1)
}

/// The users of a closing; those to be kept come first, so that they are safe before anything is closed.
pub async fn list_closing_users(tx: &mut Tx, closing: i64) -> Result<Vec<ClosingUser>, StoreError> {
    all!(
        tx,
        ClosingUser,
        "select user_id, username, before_access, set_access, done_ms, undone_ms from key_closing_user \
         where closing_id = $1 order by case set_access when 'enabled' then 0 else 1 end, username, user_id",
        closing
    )
}

/// Notes that a user's access is set.
pub async fn put_closing_done(tx: &mut Tx, closing: i64, user: &str, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "update key_closing_user set done_ms = $1 where closing_id = $2 and user_id = $3", now, closing, user)?;
    Ok(())
}

/// Notes that a user's access is as it was.
pub async fn put_closing_undone(tx: &mut Tx, closing: i64, user: &str, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "update key_closing_user set undone_ms = $1 where closing_id = $2 and user_id = $3", now, closing, user)?;
    Ok(())
}
