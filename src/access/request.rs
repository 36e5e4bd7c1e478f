//! What people do: file, approve, deny and revoke. Each is one change of one row with a line in the audit trail.

use super::{
    AccessSettings, Error, after, note,
    protected::protected_reason,
    state::{KeyState, Step},
    wrong_state,
};
use crate::{
    ids::{AccountId, KeyRequestId},
    store::{Tx, cloud, people},
    time::Timestamp,
};

/// Characters of a purpose or a message: a paragraph.
const MAX_TEXT_CHARS: usize = 500;
/// Characters of the key that a request is filed under.
const MAX_KEY_CHARS: usize = 100;
/// Requests and pairs of one account that have not ended. Each is a CloudStack user; rotation needs two at a time.
const MAX_OPEN: i64 = 10;

/// A request to be filed.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// Made by the caller; filing the same request twice gives one.
    pub key: String,
    /// The account that the pair is for.
    pub account: AccountId,
    /// Who asks.
    pub requested_by: String,
    /// What for.
    pub purpose: String,
    /// For how many days.
    pub days: u32,
}

/// Files a request. The same key again gives the same request.
pub async fn file(
    tx: &mut Tx,
    settings: &AccessSettings,
    request: NewRequest,
    now: Timestamp,
) -> Result<KeyRequestId, Error> {
    if !settings.enabled {
        return Err(Error::Disabled);
    }
    check_text("the request key", &request.key, MAX_KEY_CHARS)?;
    check_text("the purpose", &request.purpose, MAX_TEXT_CHARS)?;
    check_days(request.days, settings)?;
    if let Some((id, account)) = people::find_key_request(tx, &request.key).await? {
        return if account == request.account { Ok(id) } else { Err(Error::KeyInUse) };
    }
    refuse_protected(tx, request.account).await?;
    let open = people::count_open_key_requests(tx, request.account).await?;
    if open >= MAX_OPEN {
        return Err(Error::TooMany { open, limit: MAX_OPEN });
    }
    let NewRequest { key, account, requested_by, purpose, days } = request;
    let id = people::insert_key_request(tx, &key, account, &requested_by, purpose.trim(), i64::from(days), now).await?;
    let answer = Some(format!("{days} days"));
    note(tx, &requested_by, "key.request", id, (None, KeyState::Requested), answer, now).await?;
    Ok(id)
}

/// Agrees to a request, for as many days as asked or as given here. The next pass of [`super::carry_out`] makes the pair.
pub async fn approve(
    tx: &mut Tx,
    id: KeyRequestId,
    admin: &str,
    message: Option<&str>,
    days: Option<u32>,
    settings: &AccessSettings,
    now: Timestamp,
) -> Result<(), Error> {
    if !settings.enabled {
        return Err(Error::Disabled);
    }
    let request = people::get_key_request(tx, id).await?;
    let to = after(&request, Step::Approve, "approved")?;
    check_message(message)?;
    let days = match days {
        Some(days) => days,
        None => u32::try_from(request.days).unwrap_or(u32::MAX),
    };
    check_days(days, settings)?;
    refuse_protected(tx, request.account_id).await?;
    if !people::move_key_request(tx, id, &request.state, to.as_str()).await? {
        return Err(wrong_state(&request, "approved"));
    }
    people::put_key_decision(tx, id, admin, message, i64::from(days), now).await?;
    note(tx, admin, "key.approve", id, (Some(&request.state), to), Some(format!("{days} days")), now).await?;
    Ok(())
}

/// Declines a request.
pub async fn deny(
    tx: &mut Tx,
    id: KeyRequestId,
    admin: &str,
    message: Option<&str>,
    now: Timestamp,
) -> Result<(), Error> {
    let request = people::get_key_request(tx, id).await?;
    let to = after(&request, Step::Deny, "denied")?;
    check_message(message)?;
    if !people::move_key_request(tx, id, &request.state, to.as_str()).await? {
        return Err(wrong_state(&request, "denied"));
    }
    people::put_key_decision(tx, id, admin, message, request.days, now).await?;
    note(tx, admin, "key.deny", id, (Some(&request.state), to), message.map(str::to_owned), now).await?;
    Ok(())
}

/// Ends an approved request or a pair: the secret is erased now, the user is deleted by the next pass of
/// [`super::carry_out`].
pub async fn revoke(tx: &mut Tx, id: KeyRequestId, by: &str, now: Timestamp) -> Result<(), Error> {
    let request = people::get_key_request(tx, id).await?;
    let to = after(&request, Step::Revoke, "revoked")?;
    if !people::put_key_revoking(tx, id, &request.state).await? {
        return Err(wrong_state(&request, "revoked"));
    }
    note(tx, by, "key.revoke", id, (Some(&request.state), to), None, now).await?;
    Ok(())
}

async fn refuse_protected(tx: &mut Tx, account: AccountId) -> Result<(), Error> {
    let account = cloud::get_account(tx, account).await?;
    match protected_reason(&account) {
        Some(reason) => Err(Error::Protected { account: account.full_name(), reason }),
        None => Ok(()),
    }
}

fn check_text(what: &str, text: &str, most: usize) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(Error::NotAcceptable(format!("{what} is empty")));
    }
    check_line(what, text, most)
}

fn check_message(message: Option<&str>) -> Result<(), Error> {
    message.map_or(Ok(()), |text| check_line("the message", text, MAX_TEXT_CHARS))
}

fn check_line(what: &str, text: &str, most: usize) -> Result<(), Error> {
    if text.chars().nth(most).is_some() {
        return Err(Error::NotAcceptable(format!("{what} is longer than {most} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::NotAcceptable(format!("{what} holds a line break or another control character")));
    }
    Ok(())
}

fn check_days(days: u32, settings: &AccessSettings) -> Result<(), Error> {
    if (1..=settings.max_days).contains(&days) {
        return Ok(());
    }
    Err(Error::NotAcceptable(format!("a pair can be had for 1 to {} days, not for {days}", settings.max_days)))
}
