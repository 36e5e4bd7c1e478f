//! What people do: file, approve, deny and revoke. Each is one change of one row with a line in the audit trail and word
//! to whom it concerns.

use std::fmt::Write as _;

use super::{
    AccessSettings, Error, after, note,
    protected::protected_reason,
    state::{KeyState, Step},
    tell::{self, News},
    wrong_state,
};
use crate::{
    approver::{self, Approver},
    ids::{AccountId, KeyRequestId},
    store::{
        Tx, cloud, keys,
        people::{self, KeyRequest},
    },
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
    /// Their CloudStack user, where it is known: where users have several pairs, it is theirs.
    pub for_user: Option<String>,
    /// The pair that the new one is to take over from.
    pub replaces: Option<KeyRequestId>,
    /// What for.
    pub purpose: String,
    /// For how many days.
    pub days: u32,
}

/// What an administrator agrees to.
#[derive(Debug, Clone, Default)]
pub struct Consent {
    /// What to tell the person.
    pub message: Option<String>,
    /// For how many days, instead of what was asked.
    pub days: Option<u32>,
    /// What for, instead of what was asked.
    pub purpose: Option<String>,
}

/// What an approval came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approved {
    /// The pair can be made.
    Complete,
    /// Another administrator has to approve the same terms.
    AnotherNeeded,
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
    keys::lock_account(tx, request.account).await?;
    if let Some((id, account)) = people::find_key_request(tx, &request.key).await? {
        return if account == request.account { Ok(id) } else { Err(Error::KeyInUse) };
    }
    refuse_protected(tx, request.account, settings).await?;
    if let Some(old) = request.replaces {
        check_replaced(tx, old, request.account).await?;
    }
    refuse_too_many(tx, request.account).await?;
    let NewRequest { key, account, requested_by, for_user, replaces, purpose, days } = request;
    let id = people::insert_key_request(tx, &key, account, &requested_by, purpose.trim(), i64::from(days), now).await?;
    keys::put_wish(tx, id, for_user.as_deref(), replaces).await?;
    let answer = Some(match replaces {
        Some(old) => format!("{days} days, to take over from request {old}"),
        None => format!("{days} days"),
    });
    note(tx, &requested_by, "key.request", id, (None, KeyState::Requested), answer, now).await?;
    let filed = people::get_key_request(tx, id).await?;
    tell::tell_filed(tx, &filed, settings, now).await?;
    Ok(id)
}

/// Refuses an account that has as many requests and pairs as it may have.
pub(super) async fn refuse_too_many(tx: &mut Tx, account: AccountId) -> Result<(), Error> {
    let open = people::count_open_key_requests(tx, account).await?;
    if open >= MAX_OPEN { Err(Error::TooMany { open, limit: MAX_OPEN }) } else { Ok(()) }
}

/// A pair can be taken over from while it works, by one other, in its own account. The caller holds the account
/// ([`keys::lock_account`]): of two at once the later one finds the earlier one.
pub(super) async fn check_replaced(tx: &mut Tx, old: KeyRequestId, account: AccountId) -> Result<KeyRequest, Error> {
    // It may not end meanwhile either.
    keys::lock_request(tx, old).await?;
    let request = people::get_key_request(tx, old).await?;
    if request.account_id != account {
        return Err(Error::NotThere(format!("request {old} is of another account")));
    }
    match super::state_of(&request)? {
        KeyState::Issued | KeyState::Shown => {}
        _ => return Err(wrong_state(&request, "replaced")),
    }
    match keys::find_successor(tx, old).await? {
        Some(successor) => Err(Error::RotatedBefore(old, successor)),
        None => Ok(request),
    }
}

/// Agrees to a request, for as many days as asked or as given here. Where two administrators have to, the first approval
/// settles the terms, and only an approval of the same terms by another person completes it; whoever changes them begins anew.
/// The next pass of [`super::carry_out`] makes the pair.
pub async fn approve(
    tx: &mut Tx,
    id: KeyRequestId,
    by: &Approver,
    consent: &Consent,
    settings: &AccessSettings,
    now: Timestamp,
) -> Result<Approved, Error> {
    if !settings.enabled {
        return Err(Error::Disabled);
    }
    let admin = by.name();
    // Of two at once the later one counts the earlier one.
    keys::lock_request(tx, id).await?;
    let request = people::get_key_request(tx, id).await?;
    let to = after(&request, Step::Approve, "approved")?;
    check_message(consent.message.as_deref())?;
    let days = match consent.days {
        Some(days) => days,
        None => u32::try_from(request.days).unwrap_or(u32::MAX),
    };
    check_days(days, settings)?;
    let purpose = consent.purpose.as_deref().map_or(request.purpose.as_str(), str::trim);
    check_text("the purpose", purpose, MAX_TEXT_CHARS)?;
    refuse_protected(tx, request.account_id, settings).await?;
    keys::put_terms(tx, id, i64::from(days), purpose).await?;
    keys::put_approval(tx, id, (by.identity(), admin), (i64::from(days), purpose), now).await?;
    let answer = terms(&request, days, purpose);
    if settings.two_approvals {
        let same: Vec<String> = keys::list_approvals(tx, id)
            .await?
            .into_iter()
            .filter(|approval| approval.days == i64::from(days) && approval.purpose == purpose)
            .map(|approval| approval.identity)
            .collect();
        if approver::count_people(&same) < 2 {
            people::put_key_decision(tx, id, admin, kept(&request, consent), i64::from(days), now).await?;
            let states = (Some(request.state.as_str()), KeyState::Requested);
            note(tx, admin, "key.approve-first", id, states, Some(answer), now).await?;
            return Ok(Approved::AnotherNeeded);
        }
    }
    if !people::move_key_request(tx, id, &request.state, to.as_str()).await? {
        return Err(wrong_state(&request, "approved"));
    }
    let message = kept(&request, consent);
    people::put_key_decision(tx, id, admin, message, i64::from(days), now).await?;
    note(tx, admin, "key.approve", id, (Some(&request.state), to), Some(answer), now).await?;
    let decided = people::get_key_request(tx, id).await?;
    tell::tell(tx, &decided, News::Approved { days, message }, settings.zone, now).await?;
    Ok(Approved::Complete)
}

/// The message of this approval, or that of the first one.
fn kept<'a>(request: &'a KeyRequest, consent: &'a Consent) -> Option<&'a str> {
    consent.message.as_deref().filter(|text| !text.trim().is_empty()).or(request.message.as_deref())
}

/// What was agreed to, for the audit trail.
fn terms(request: &KeyRequest, days: u32, purpose: &str) -> String {
    let mut text = format!("{days} days");
    if request.days != i64::from(days) {
        let _ = write!(text, " instead of {}", request.days);
    }
    if request.purpose != purpose {
        let _ = write!(text, ", purpose \"{purpose}\" instead of \"{}\"", request.purpose);
    }
    text
}

/// Declines a request.
pub async fn deny(
    tx: &mut Tx,
    id: KeyRequestId,
    admin: &str,
    message: Option<&str>,
    settings: &AccessSettings,
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
    tell::tell(tx, &request, News::Denied(message), settings.zone, now).await?;
    Ok(())
}

/// Ends an approved request or a pair: the secret is erased now, the user is deleted by the next pass of
/// [`super::carry_out`].
pub async fn revoke(
    tx: &mut Tx,
    id: KeyRequestId,
    by: &str,
    settings: &AccessSettings,
    now: Timestamp,
) -> Result<(), Error> {
    let request = people::get_key_request(tx, id).await?;
    let to = after(&request, Step::Revoke, "revoked")?;
    if !people::put_key_revoking(tx, id, &request.state).await? {
        return Err(wrong_state(&request, "revoked"));
    }
    note(tx, by, "key.revoke", id, (Some(&request.state), to), None, now).await?;
    tell::tell(tx, &request, News::Ended(&format!("it was taken back by {by}")), settings.zone, now).await?;
    Ok(())
}

/// Takes a request back that nobody has decided about: nothing was made, so that is its end, and it is in no queue any more.
pub async fn withdraw(tx: &mut Tx, id: KeyRequestId, by: &str, now: Timestamp) -> Result<(), Error> {
    let request = people::get_key_request(tx, id).await?;
    let to = after(&request, Step::Withdraw, "withdrawn")?;
    if !people::move_key_request(tx, id, &request.state, to.as_str()).await? {
        return Err(wrong_state(&request, "withdrawn"));
    }
    people::put_key_revoked(tx, id, now).await?;
    Ok(note(tx, by, "key.withdraw", id, (Some(&request.state), to), None, now).await?)
}

pub(super) async fn refuse_protected(tx: &mut Tx, account: AccountId, settings: &AccessSettings) -> Result<(), Error> {
    let account = cloud::get_account(tx, account).await?;
    match protected_reason(&account, &settings.protected) {
        Some(reason) => Err(Error::Protected { account: account.full_name(), reason }),
        None => Ok(()),
    }
}

pub(super) fn check_purpose(purpose: &str) -> Result<(), Error> {
    check_text("the purpose", purpose, MAX_TEXT_CHARS)
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

pub(super) fn check_days(days: u32, settings: &AccessSettings) -> Result<(), Error> {
    if (1..=settings.max_days).contains(&days) {
        return Ok(());
    }
    Err(Error::NotAcceptable(format!("a pair can be had for 1 to {} days, not for {days}", settings.max_days)))
}
