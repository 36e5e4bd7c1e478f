//! CloudStack's own self-service, closed and opened again for one account (design rule 7.17); a domain is its accounts one by
//! one (`self_service_domain`).
//!
//! Every user's own `apikeyaccess` is what is set, never the setting `api.key.access`: false on the ROOT domain shuts out
//! every key of the cloud at once, the service accounts' too (facts 0). The users whose keys are to live are marked first
//! and read back; only then are the others switched off. What stood there before is stored before anything is sent, so
//! that opening gives it back, and a crash at any point is gone on with by the next pass. While an account is closed, users
//! that come later are closed too.

use super::{AccessSettings, Error, adopt::users_of, carry_out::cloud_id, request::refuse_protected, tell};
use crate::{
    cloudstack::{self, ApiKeyAccess, Client, User},
    store::{
        Store, StoreError, Tx, cloud,
        keys::{self, Closing, ClosingUser},
        people,
        runs::{self, AuditLine},
    },
    time::{Clock, Timestamp},
};

/// Who acts where no person does.
const BURSAR: &str = "api access";
/// Accounts one after the other for which CloudStack does not answer, until the pass ends.
const MOST_SILENT: u32 = 2;

/// What closing does to one user.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PreviewLine {
    /// CloudStack's id.
    pub user_id: String,
    /// Its name.
    pub username: String,
    /// Whether it has a key pair now.
    pub has_key: bool,
    /// Since when, of a pair that bursar made or adopted; CloudStack does not tell it of others.
    pub key_since: Option<Timestamp>,
    /// When the user was made: its pair is no older.
    pub user_since: Option<Timestamp>,
    /// enabled, disabled, inherit.
    pub access: &'static str,
    /// Why its keys are kept; None: they are switched off.
    pub kept: Option<String>,
}

impl PreviewLine {
    /// Whether a key that works now would not any more.
    pub fn dies(&self) -> bool {
        self.has_key && self.kept.is_none() && self.access != ApiKeyAccess::Disabled.as_str()
    }
}

/// What closing does to an account.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Preview {
    /// The account's full name.
    pub account: String,
    /// Its users.
    pub users: Vec<PreviewLine>,
}

impl Preview {
    /// The users whose keys would not work any more.
    pub fn dying(&self) -> impl Iterator<Item = &PreviewLine> {
        self.users.iter().filter(|line| line.dies())
    }
}

/// What a pass over closed accounts did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tended {
    /// Users that were set as they are to be, or as they were.
    pub set: usize,
    /// Users that somebody else has set meanwhile, so that they were left alone.
    pub left: usize,
    /// Accounts that could not be gone on with; the log tells why, and the next pass tries again.
    pub failed: usize,
}

/// What self-service is closed and opened with.
#[derive(Clone, Copy)]
pub struct Door<'a> {
    /// Where it is noted.
    pub store: &'a Store,
    /// The service account for keys.
    pub client: &'a Client,
    /// What the operator allows.
    pub settings: &'a AccessSettings,
    /// The time.
    pub clock: &'a dyn Clock,
}

/// What closing would do; nothing is changed. `keep` are names of users whose keys are to live.
pub async fn preview(door: &Door<'_>, account: &cloud::Account, keep: &[String]) -> Result<Preview, Error> {
    let preview = preview_keeping(door, account, &|username: &str| keep.iter().any(|name| name == username)).await?;
    match keep.iter().find(|name| !preview.users.iter().any(|line| line.username == **name)) {
        Some(unknown) => {
            Err(Error::NotThere(format!("no user \"{unknown}\" is in {}; nothing was changed", preview.account)))
        }
        None => Ok(preview),
    }
}

/// The same with users to be kept by their names.
pub(super) async fn preview_keeping(
    door: &Door<'_>,
    account: &cloud::Account,
    keeps: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Preview, Error> {
    let users = users_of(door.client, account, door.settings).await?;
    let mut tx = door.store.read().await?;
    let mut ours = Vec::new();
    for (id, owner, _) in keys::list_pairs_of_account(&mut tx, account.id).await? {
        let since = people::get_key_request(&mut tx, id).await?.issued_ms.map(Timestamp::from_ms);
        ours.push((id, owner, since));
    }
    tx.commit().await?;
    let mut lines = Vec::with_capacity(users.len());
    for user in users {
        let user_id = user.id.to_string();
        let of_bursar = ours.iter().find(|(_, owner, _)| *owner == user_id);
        let kept = of_bursar
            .map(|(id, _, _)| format!("request {id}"))
            .or_else(|| keeps(&user.username).then(|| "to be kept".to_owned()));
        let access = access_of(&user)?.as_str();
        lines.push(PreviewLine {
            user_id,
            has_key: user.api_key.is_some(),
            key_since: of_bursar.and_then(|(_, _, since)| *since),
            user_since: user.created,
            username: user.username,
            access,
            kept,
        });
    }
    Ok(Preview { account: account.full_name(), users: lines })
}

/// What stands at a user. Without it nothing could be given back, so nothing is taken.
fn access_of(user: &User) -> Result<ApiKeyAccess, Error> {
    user.api_key_access.ok_or_else(|| {
        Error::NotThere(
            "CloudStack does not tell users' apikeyaccess, so self-service can not be closed and opened again: this needs 4.20.1 or \
             later, and a role of type Admin for [cloudstack.keys]"
                .to_owned(),
        )
    })
}

/// Closes an account as the preview says: the intent is stored, then carried out. Closing again adds users that came later,
/// and those newly to be kept.
pub async fn close(door: &Door<'_>, account: &cloud::Account, keep: &[String], by: &str) -> Result<Tended, Error> {
    let preview = preview(door, account, keep).await?;
    close_as(door, account, &preview, by).await
}

/// Closes an account as this preview says.
pub(super) async fn close_as(
    door: &Door<'_>,
    account: &cloud::Account,
    preview: &Preview,
    by: &str,
) -> Result<Tended, Error> {
    let now = door.clock.now();
    let mut tx = door.store.begin().await?;
    refuse_protected(&mut tx, account.id, door.settings).await?;
    let closing = match keys::insert_closing(&mut tx, account.id, by, now).await? {
        Some(id) => {
            let dying: Vec<&str> = preview.dying().map(|line| line.username.as_str()).collect();
            let answer = format!("{} users, {} working keys end", preview.users.len(), dying.len());
            audit(&mut tx, account, by, ("key.self-service-close", Some(answer)), now).await?;
            tell::tell_closed(&mut tx, account, id, &dying, now).await?;
            id
        }
        None => match keys::find_closing(&mut tx, account.id).await? {
            Some(standing) if standing.state == "closed" => standing.id,
            _ => {
                return Err(Error::NotThere(format!(
                    "{} is being opened; close it again when that is done",
                    account.full_name()
                )));
            }
        },
    };
    for line in &preview.users {
        if !put_line(&mut tx, closing, line).await?
            && line.kept.is_some()
            && keys::keep_closing_user(&mut tx, closing, &line.user_id).await?
        {
            let answer = format!("{} is kept from now on", line.username);
            audit(&mut tx, account, by, ("key.self-service-keep", Some(answer)), now).await?;
        }
    }
    tx.commit().await?;
    let mut tended = Tended::default();
    tend_closed(door, account, closing, &mut tended).await?;
    Ok(tended)
}

async fn put_line(tx: &mut Tx, closing: i64, line: &PreviewLine) -> Result<bool, StoreError> {
    let set = if line.kept.is_some() { ApiKeyAccess::Enabled } else { ApiKeyAccess::Disabled };
    let row = ClosingUser {
        user_id: line.user_id.clone(),
        username: line.username.clone(),
        before_access: line.access.to_owned(),
        set_access: set.as_str().to_owned(),
        done_ms: None,
        undone_ms: None,
    };
    keys::put_closing_user(tx, closing, &row).await
}

/// Gives every user of a closed account back what stood there before, unless somebody else has set it meanwhile.
pub async fn open(door: &Door<'_>, account: &cloud::Account, by: &str) -> Result<Tended, Error> {
    let now = door.clock.now();
    let mut tx = door.store.begin().await?;
    let Some(closing) = keys::find_closing(&mut tx, account.id).await? else {
        return Err(Error::NotThere(format!("self-service of {} is not closed by bursar", account.full_name())));
    };
    if keys::move_closing(&mut tx, closing.id, "closed", "opening", by, now).await? {
        audit(&mut tx, account, by, ("key.self-service-open", None), now).await?;
        tell::tell_opened(&mut tx, account, closing.id, now).await?;
    }
    tx.commit().await?;
    let mut tended = Tended::default();
    tend_opening(door, account, closing.id, by, &mut tended).await?;
    Ok(tended)
}

/// Goes on with every account that is being closed or opened, and with `newcomers` closes users that came later. The error of one
/// account is logged and counted and does not stop the others; the next pass is the retry. An error of the store ends it, and
/// so does a CloudStack that answers neither for one account nor for the next.
pub async fn tend(door: &Door<'_>, newcomers: bool) -> Result<Tended, Error> {
    let mut tx = door.store.read().await?;
    let closings = keys::list_closings(&mut tx).await?;
    let mut accounts = Vec::with_capacity(closings.len());
    for closing in closings {
        let account = cloud::get_account(&mut tx, closing.account_id).await?;
        accounts.push((closing, account));
    }
    tx.commit().await?;
    let mut tended = Tended::default();
    let mut silent = 0;
    for (closing, account) in accounts {
        if account.gone_ms.is_some() {
            continue;
        }
        let Err(error) = tend_one(door, &account, &closing, newcomers, &mut tended).await else {
            silent = 0;
            continue;
        };
        if let Error::Store(of_store) = &error
            && !matches!(of_store, StoreError::Nonsense(_) | StoreError::Missing(_))
        {
            return Err(error);
        }
        let is_silent = matches!(
            error,
            Error::CloudStack(cloudstack::Error::Retry { .. } | cloudstack::Error::Unauthorized { .. })
        );
        let name = account.full_name();
        tracing::warn!(account = %name, %error, "closed self-service could not be looked after and is tried again");
        tended.failed += 1;
        silent = if is_silent { silent + 1 } else { 0 };
        if silent >= MOST_SILENT {
            break;
        }
    }
    Ok(tended)
}

/// Whether the next account would fail of the same.
pub(super) const fn concerns_all(error: &Error) -> bool {
    matches!(
        error,
        Error::Store(_) | Error::CloudStack(cloudstack::Error::Retry { .. } | cloudstack::Error::Unauthorized { .. })
    )
}

async fn tend_one(
    door: &Door<'_>,
    account: &cloud::Account,
    closing: &Closing,
    newcomers: bool,
    tended: &mut Tended,
) -> Result<(), Error> {
    if closing.state == "opening" {
        return tend_opening(door, account, closing.id, BURSAR, tended).await;
    }
    if newcomers {
        add_newcomers(door, account, closing.id).await?;
    }
    tend_closed(door, account, closing.id, tended).await
}

/// Users that came after the account was closed.
async fn add_newcomers(door: &Door<'_>, account: &cloud::Account, closing: i64) -> Result<(), Error> {
    let preview = preview(door, account, &[]).await?;
    let mut tx = door.store.begin().await?;
    for line in &preview.users {
        if put_line(&mut tx, closing, line).await? {
            let what = if line.kept.is_some() { "is kept" } else { "is closed too" };
            let answer = format!("{} came later and {what}", line.username);
            audit(&mut tx, account, BURSAR, ("key.self-service-newcomer", Some(answer)), door.clock.now()).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// Sets what is not set yet; those to be kept come first in the list, and an error among them ends it before anybody is shut
/// out.
async fn tend_closed(
    door: &Door<'_>,
    account: &cloud::Account,
    closing: i64,
    tended: &mut Tended,
) -> Result<(), Error> {
    let Door { store, client, clock, .. } = *door;
    let mut tx = store.read().await?;
    let users = keys::list_closing_users(&mut tx, closing).await?;
    tx.commit().await?;
    for user in users.into_iter().filter(|user| user.done_ms.is_none()) {
        let id = cloud_id(&user.user_id)?;
        let wanted = access_from(&user.set_access)?;
        let mut tx = store.read().await?;
        let goes_on = keys::is_closed(&mut tx, closing).await?;
        tx.commit().await?;
        if !goes_on {
            // Opened meanwhile: what is not set yet stays as it is.
            return Ok(());
        }
        let is_there = client.get_user(id).await?.is_some();
        if is_there {
            set(client, id, wanted).await?;
            tended.set += 1;
        }
        let now = clock.now();
        let mut tx = store.begin().await?;
        if !keys::is_closed(&mut tx, closing).await? {
            // Opened meanwhile; where it was closed again behind that, the user is that closing's.
            let closed_again = keys::close_again(&mut tx, account.id, closing, &user.user_id).await?;
            tx.commit().await?;
            if is_there && !closed_again {
                set_back(door, account, closing, &user, access_from(&user.before_access)?).await?;
            }
            return Ok(());
        }
        keys::put_closing_done(&mut tx, closing, &user.user_id, now).await?;
        let answer = format!("{}: {} instead of {}", user.username, user.set_access, user.before_access);
        audit(&mut tx, account, BURSAR, ("key.self-service-set", Some(answer)), now).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn tend_opening(
    door: &Door<'_>,
    account: &cloud::Account,
    closing: i64,
    by: &str,
    tended: &mut Tended,
) -> Result<(), Error> {
    let Door { store, client, clock, .. } = *door;
    let mut tx = store.read().await?;
    let users = keys::list_closing_users(&mut tx, closing).await?;
    tx.commit().await?;
    for user in users.into_iter().filter(|user| user.undone_ms.is_none()) {
        let id = cloud_id(&user.user_id)?;
        let now_set = match client.get_user(id).await? {
            Some(there) => Some(access_of(&there)?),
            None => None,
        };
        let before = access_from(&user.before_access)?;
        // What stands there is ours only if it is what was set; also where a crash came before that was noted.
        let ours = now_set.is_some_and(|access| access.as_str() == user.set_access);
        let answer = if ours && now_set != Some(before) {
            // CloudStack may have taken its time: another pass may have opened the account, and somebody have closed it again.
            let mut tx = store.read().await?;
            let to_give_back = keys::find_to_give_back(&mut tx, closing, &user.user_id).await?;
            tx.commit().await?;
            let Some(to_give_back) = to_give_back else { continue };
            set_back(door, account, closing, &user, access_from(&to_give_back)?).await?;
            tended.set += 1;
            format!("{}: {to_give_back} again", user.username)
        } else if ours || now_set == Some(before) {
            format!("{}: as it was", user.username)
        } else {
            tended.left += 1;
            format!("{}: left alone, it was changed meanwhile", user.username)
        };
        let now = clock.now();
        let mut tx = store.begin().await?;
        keys::put_closing_undone(&mut tx, closing, &user.user_id, now).await?;
        audit(&mut tx, account, BURSAR, ("key.self-service-reset", Some(answer)), now).await?;
        tx.commit().await?;
    }
    let now = clock.now();
    let mut tx = store.begin().await?;
    if keys::move_closing(&mut tx, closing, "opening", "opened", by, now).await? {
        audit(&mut tx, account, BURSAR, ("key.self-service-opened", None), now).await?;
    }
    Ok(tx.commit().await?)
}

/// Gives a user back what stood there before. Where the account was closed again while CloudStack was asked, that closing sets the
/// user once more, whatever became of the call.
async fn set_back(
    door: &Door<'_>,
    account: &cloud::Account,
    closing: i64,
    user: &ClosingUser,
    before: ApiKeyAccess,
) -> Result<(), Error> {
    let done = set(door.client, cloud_id(&user.user_id)?, before).await;
    let mut tx = door.store.begin().await?;
    keys::close_again(&mut tx, account.id, closing, &user.user_id).await?;
    tx.commit().await?;
    done
}

/// Sets a user's access and believes only what is read back.
async fn set(client: &Client, id: crate::ids::CloudId, access: ApiKeyAccess) -> Result<(), Error> {
    let read = client.set_user_api_key_access(id, access).await?;
    if read.api_key_access == Some(access) {
        return Ok(());
    }
    Err(Error::NotThere(format!("apikeyaccess of {} could not be read back after it was set", read.username)))
}

fn access_from(word: &str) -> Result<ApiKeyAccess, StoreError> {
    [ApiKeyAccess::Enabled, ApiKeyAccess::Disabled, ApiKeyAccess::Inherit]
        .into_iter()
        .find(|access| access.as_str() == word)
        .ok_or_else(|| StoreError::Nonsense(format!("\"{word}\" is no apikeyaccess")))
}

async fn audit(
    tx: &mut Tx,
    account: &cloud::Account,
    by: &str,
    (action, answer): (&str, Option<String>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: by.to_owned(),
        action: action.to_owned(),
        subject: account.full_name(),
        answer,
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}
