//! Rotation: a second pair for the same purpose, while the first one works on for an overlap.
//!
//! It needs no approval, because it gives nothing more: the new pair ends when the old one would have ended. Whoever wants
//! it longer files a request that takes over (`NewRequest::replaces`), which an administrator answers.

use super::{
    AccessSettings, Error, note,
    request::{check_replaced, refuse_protected, refuse_too_many},
    state::KeyState,
};
use crate::{
    ids::KeyRequestId,
    store::{Tx, keys, people},
    time::Timestamp,
};

/// A pair that is about to be rotated.
#[derive(Debug, Clone)]
pub struct Rotated<'a> {
    /// Made by the caller; the same key again gives the same new request.
    pub key: &'a str,
    /// The pair that goes.
    pub old: KeyRequestId,
    /// Who rotates it.
    pub by: &'a str,
    /// Their CloudStack user, where it is known.
    pub for_user: Option<&'a str>,
}

/// Makes an approved request for a pair that takes over; the next pass of [`super::carry_out`] makes the pair, and the look
/// at its secret begins the overlap. The same key again gives the same request.
pub async fn rotate(
    tx: &mut Tx,
    wish: &Rotated<'_>,
    settings: &AccessSettings,
    now: Timestamp,
) -> Result<KeyRequestId, Error> {
    if !settings.enabled {
        return Err(Error::Disabled);
    }
    let old = people::get_key_request(tx, wish.old).await?;
    keys::lock_account(tx, old.account_id).await?;
    if let Some((id, account)) = people::find_key_request(tx, wish.key).await? {
        return if account == old.account_id { Ok(id) } else { Err(Error::KeyInUse) };
    }
    let old = check_replaced(tx, wish.old, old.account_id).await?;
    if old.expires_ms.is_some_and(|end| end <= now.as_ms()) {
        return Err(super::wrong_state(&people::KeyRequest { state: "expired".to_owned(), ..old }, "rotated"));
    }
    refuse_protected(tx, old.account_id, settings).await?;
    refuse_too_many(tx, old.account_id).await?;
    let new = keys::Successor {
        key: wish.key,
        replaces: wish.old,
        by: wish.by,
        for_user: wish.for_user.or(old.for_user.as_deref()),
        days: old.days,
        ends: old.expires_ms.map(Timestamp::from_ms),
    };
    let id = keys::insert_successor(tx, &new, now).await?;
    let answer = Some(format!("takes over from request {}", wish.old));
    note(tx, wish.by, "key.rotate", id, (None, KeyState::Approved), answer, now).await?;
    Ok(id)
}
