//! A new e-mail address: confirmed by whoever reads mail there, then taken over in the person's own session.
//!
//! Promises: the token stands in one mail, of the outbox here is kept its hash; it works once and for a day; the link by itself
//! changes nothing in CloudStack: only the person's own session does, at once or at the next visit.

use std::time::Duration;

use super::{
    mapping,
    own::{Own, OwnError},
    profile::{ProfileError, change_user},
};
use crate::{
    cloudstack::person::UserChange,
    email::EmailAddress,
    secrets::{Secret, token_hash},
    store::{
        Store, StoreError, Tx, cloud, mapping as mapping_rows,
        notify::{self, NewMail},
        profiles::{self, EmailChange},
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// How long the link of a mail works.
pub const LINK_WORKS_FOR: Duration = Duration::from_hours(24);
/// Random bytes of the token.
const TOKEN_BYTES: usize = 32;
/// How many changes a person may ask for in a day: each writes to somebody who may not want it.
const MOST_A_DAY: i64 = 5;
/// A confirmed change that CloudStack has not taken after so long has no meaning any more.
const COUNTS_FOR: Duration = Duration::from_hours(7 * 24);
/// After so long a change that was being carried out is looked at again: whoever did it has crashed.
const CARRIED_OUT_WITHIN: Duration = Duration::from_mins(2);

/// Why a change was not filed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// What stands in the way of any change.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// Too many today.
    #[error("too many changes were asked for today")]
    TooMany,
    /// It is the present one.
    #[error("it is the present address")]
    Same,
    /// Another one is being carried out at this moment.
    #[error("another change is being carried out")]
    Busy,
}

impl From<StoreError> for AddressError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exists(_) => Self::Busy,
            error => Self::Own(error.into()),
        }
    }
}

/// Files a change and puts its mails into the outbox: the link to the new address, word of it to the old one. `mails` makes them
/// of the token.
pub async fn request(
    own: &Own,
    present: Option<&str>,
    wanted: &EmailAddress,
    mails: impl FnOnce(&Secret) -> Result<Vec<NewMail>, StoreError>,
) -> Result<(), AddressError> {
    if present.is_some_and(|present| present == wanted.as_str()) {
        return Err(AddressError::Same);
    }
    let token = Secret::new(own.random.hex(TOKEN_BYTES));
    let mails = mails(&token)?;
    let (user, now) = (own.id(), own.now());
    let mut tx = own.store.begin().await?;
    if profiles::count_email_changes(&mut tx, &user, now.minus(Duration::from_hours(24))).await? >= MOST_A_DAY {
        return Err(AddressError::TooMany);
    }
    let hash = token_hash(token.expose());
    let (old, new, until) = (present.unwrap_or_default(), wanted.as_str(), now.plus(LINK_WORKS_FOR));
    profiles::insert_email_change(&mut tx, &user, own.account, old, new, &hash, until, now).await?;
    for mail in &mails {
        notify::insert_mail(&mut tx, mail, now).await?;
    }
    runs::write_audit(&mut tx, &line(&user, own.author.clone(), "asked for", now)).await?;
    Ok(tx.commit().await?)
}

fn line(user: &str, actor: String, after: &str, now: Timestamp) -> AuditLine {
    AuditLine {
        at_ms: now.as_ms(),
        actor,
        action: "profile.address".to_owned(),
        subject: format!("user {user}"),
        after_state: Some(after.to_owned()),
        ..AuditLine::default()
    }
}

/// The change that is on its way.
pub async fn on_its_way(own: &Own) -> Result<Option<EmailChange>, OwnError> {
    let mut tx = own.store.read().await?;
    Ok(profiles::find_email_change(&mut tx, &own.id(), own.now()).await?)
}

/// Gives a change up.
pub async fn give_up(own: &Own) -> Result<bool, OwnError> {
    let mut tx = own.store.begin().await?;
    let dropped = profiles::drop_email_change(&mut tx, &own.id(), own.now()).await?;
    if dropped {
        runs::write_audit(&mut tx, &line(&own.id(), own.author.clone(), "given up", own.now())).await?;
    }
    tx.commit().await?;
    Ok(dropped)
}

/// Redeems a token: whoever holds it reads mail at the new address. False: unknown, given up or run out. Once more is as once.
pub async fn redeem(store: &Store, token: &str, now: Timestamp) -> Result<bool, StoreError> {
    if token.len() != TOKEN_BYTES * 2 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(false);
    }
    let mut tx = store.begin().await?;
    let hash = token_hash(token);
    let Some(change) = profiles::confirm_email_change(&mut tx, &hash, now).await? else {
        return profiles::is_email_change_confirmed(&mut tx, &hash).await;
    };
    let actor = "whoever reads mail there".to_owned();
    runs::write_audit(&mut tx, &line(&change.cloud_user_id, actor, "confirmed", now)).await?;
    tx.commit().await?;
    Ok(true)
}

/// What a visit did about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakenOver {
    /// Nothing was to be done.
    Nothing,
    /// CloudStack has the new address now.
    Done,
    /// It could not be told; the next visit tries again.
    Later,
}

/// The new address counts as the user's from now on, and the old one no more: somebody else may read mail there one day.
async fn keep_confirmed(tx: &mut Tx, own: &Own, change: &EmailChange, now: Timestamp) -> Result<(), StoreError> {
    let user = own.id();
    let old = EmailAddress::parse(&change.old_email).map(|address| address.person()).unwrap_or_default();
    for row in mapping_rows::list_confirmed(tx, Some(own.account)).await? {
        if row.cloud_user_id == user && row.email == old {
            mapping_rows::end_confirmed(tx, row.id, &own.author, now).await?;
        }
    }
    if let Ok(address) = EmailAddress::parse(&change.new_email) {
        let account = cloud::get_account(tx, own.account).await?;
        mapping::confirm(tx, &account, &user, &address, ("mail", "a link that came back"), now).await?;
    }
    Ok(())
}

/// Takes a confirmed address over in the person's own session. `told` makes the mail to the old one.
pub async fn take_over(
    own: &Own,
    told: impl FnOnce(&EmailChange) -> Result<Option<NewMail>, StoreError>,
) -> Result<TakenOver, OwnError> {
    let Some(change) = on_its_way(own).await? else { return Ok(TakenOver::Nothing) };
    let now = own.now();
    let stuck = change.state == "applying"
        && change.confirmed_ms.is_some_and(|confirmed| confirmed.plus(CARRIED_OUT_WITHIN) < now);
    if change.state != "confirmed" && !stuck {
        return Ok(TakenOver::Nothing);
    }
    // Somebody entered a third address meanwhile, or it was confirmed so long ago that nobody expects it any more.
    let Ok(user) = own.read().await else { return Ok(TakenOver::Later) };
    let present = user.email.as_deref().unwrap_or_default();
    let is_meant = present == change.old_email || present == change.new_email;
    let is_fresh = change.confirmed_ms.is_none_or(|confirmed| confirmed.plus(COUNTS_FOR) > now);
    if !is_meant || !is_fresh {
        let mut tx = own.store.begin().await?;
        if profiles::move_email_change(&mut tx, change.id, &change.state, "dropped", now).await? {
            let word = if is_meant { "dropped: confirmed too long ago" } else { "dropped: changed meanwhile" };
            runs::write_audit(&mut tx, &line(&own.id(), own.author.clone(), word, now)).await?;
        }
        tx.commit().await?;
        return Ok(TakenOver::Nothing);
    }
    if !stuck {
        let mut tx = own.store.begin().await?;
        let mine = profiles::move_email_change(&mut tx, change.id, "confirmed", "applying", now).await?;
        tx.commit().await?;
        if !mine {
            return Ok(TakenOver::Nothing);
        }
    }
    let wanted = UserChange { email: Some(change.new_email.clone()), ..UserChange::default() };
    let ended = change_user(own, &wanted).await;
    let mut tx = own.store.begin().await?;
    let (to, word) =
        if ended.is_ok() { ("applied", "changed in CloudStack") } else { ("confirmed", "not changed yet") };
    let mine = profiles::move_email_change(&mut tx, change.id, "applying", to, now).await?;
    // Where another window was faster, it has told and kept it.
    if mine && ended.is_ok() {
        keep_confirmed(&mut tx, own, &change, now).await?;
        if let Some(mail) = told(&change)? {
            notify::insert_mail(&mut tx, &mail, now).await?;
        }
    }
    runs::write_audit(&mut tx, &line(&own.id(), own.author.clone(), word, now)).await?;
    tx.commit().await?;
    match ended {
        Ok(()) => Ok(TakenOver::Done),
        Err(ProfileError::Own(OwnError::Store(error))) => Err(error.into()),
        Err(_) => Ok(TakenOver::Later),
    }
}
