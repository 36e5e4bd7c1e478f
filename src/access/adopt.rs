//! Pairs that were there before bursar: listed, and taken under an expiry. Nothing is changed in CloudStack by that, and no
//! secret is read: listUsers tells the public half, and so does listUserKeys where a user has several pairs.

use super::{
    AccessSettings, Error, note,
    protected::{misplaced, protected_reason},
    request::{check_days, check_purpose},
    state::KeyState,
    tell::{self, News},
};
use crate::{
    cloudstack::{ApiKeyAccess, Client, User},
    ids::KeyRequestId,
    secrets::token_hash,
    store::{Store, cloud, keys, people},
    time::{Clock, Timestamp},
};

/// Hexadecimal digits of a hash that tell one pair from another.
const HASH_CHARS: usize = 32;
/// Days of a year that a pair of years is told in.
const DAY_HOURS: u64 = 24;

/// A pair that is in CloudStack.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Candidate {
    /// Its user.
    pub user_id: String,
    /// The user's name.
    pub username: String,
    /// The public half.
    pub api_key: String,
    /// Its own id, where users have several pairs.
    pub pair_id: Option<String>,
    /// Its name there.
    pub pair_name: Option<String>,
    /// When CloudStack ends it by itself.
    pub ends: Option<Timestamp>,
    /// enabled, disabled, inherit; None where CloudStack does not tell.
    pub access: Option<&'static str>,
    /// The request that it belongs to, if bursar made or adopted it.
    pub request: Option<KeyRequestId>,
}

/// What is to be adopted.
#[derive(Debug, Clone)]
pub struct Adoption {
    /// The user's name, or the pair's id where the user has several.
    pub which: String,
    /// For how many days from now.
    pub days: u32,
    /// What it is for.
    pub purpose: String,
    /// Who adopts it.
    pub by: String,
}

/// Every key pair in an account.
pub async fn list_candidates(
    store: &Store,
    client: &Client,
    account: &cloud::Account,
    settings: &AccessSettings,
) -> Result<Vec<Candidate>, Error> {
    let users = users_of(client, account, settings).await?;
    let mut tx = store.read().await?;
    let ours = keys::list_pairs_of_account(&mut tx, account.id).await?;
    tx.commit().await?;
    let mut found = Vec::new();
    for user in users {
        let access = user.api_key_access.map(ApiKeyAccess::as_str);
        let user_id = user.id.to_string();
        let mut add = |api_key: &str, pair_id, pair_name, ends| {
            let request = ours
                .iter()
                .find(|(_, owner, key)| *owner == user_id && key.as_deref() == Some(api_key))
                .map(|(id, _, _)| *id);
            found.push(Candidate {
                user_id: user_id.clone(),
                username: user.username.clone(),
                api_key: api_key.to_owned(),
                pair_id,
                pair_name,
                ends,
                access,
                request,
            });
        };
        if settings.several_pairs {
            for pair in client.list_user_keys(user.id).await? {
                if let Some(key) = &pair.api_key {
                    add(key.expose(), Some(pair.id.to_string()), pair.name.clone(), pair.end);
                }
            }
        } else if let Some(key) = &user.api_key {
            add(key.expose(), None, None, None);
        }
    }
    Ok(found)
}

/// The users of an account as CloudStack has them now, unless the account is no longer the one that bursar knows.
pub(super) async fn users_of(
    client: &Client,
    account: &cloud::Account,
    settings: &AccessSettings,
) -> Result<Vec<User>, Error> {
    if let Some(reason) = protected_reason(account, &settings.protected) {
        return Err(Error::Protected { account: account.full_name(), reason });
    }
    let domain = super::carry_out::cloud_id(&account.domain_id)?;
    let listed = client.list_users_of(&account.name, domain).await?;
    if listed.unreadable > 0 {
        return Err(Error::NotThere(format!("a user of {} can not be read", account.full_name())));
    }
    // By name and domain only: a foreign row must not be touched.
    for user in &listed.items {
        if let Some(reason) = misplaced(user, account) {
            return Err(Error::Protected { account: account.full_name(), reason });
        }
    }
    Ok(listed.items)
}

/// Takes a pair under an expiry: it is watched, warned of and switched off at its end like every other. Adopting the same
/// pair again gives the same request.
pub async fn adopt(
    store: &Store,
    client: &Client,
    account: &cloud::Account,
    wish: &Adoption,
    settings: &AccessSettings,
    clock: &dyn Clock,
) -> Result<KeyRequestId, Error> {
    if !settings.enabled {
        return Err(Error::Disabled);
    }
    check_days(wish.days, settings)?;
    check_purpose(&wish.purpose)?;
    let candidates = list_candidates(store, client, account, settings).await?;
    let meant = |one: &&Candidate| one.username == wish.which || one.pair_id.as_deref() == Some(wish.which.as_str());
    let mut found = candidates.iter().filter(meant);
    let (pair, more) = (found.next(), found.next());
    let Some(pair) = pair else {
        return Err(Error::NotThere(format!(
            "no user \"{}\" with a key is in {}; without a user's name, `bursar key adopt {}` lists the keys there",
            wish.which,
            account.full_name(),
            account.full_name()
        )));
    };
    if more.is_some() {
        return Err(Error::NotThere(format!(
            "{} has several keys; give the id of the one that is meant, as the list shows it",
            wish.which
        )));
    }
    if let Some(request) = pair.request {
        return Ok(request);
    }
    if pair.access.is_none() && pair.pair_id.is_none() {
        return Err(Error::NotThere(
            "CloudStack does not tell whether users' keys are switched on (apikeyaccess, from 4.20.1 on, for roles of type Admin), so \
             the key could not be ended; it was not adopted"
                .to_owned(),
        ));
    }
    let now = clock.now();
    let asked = now.plus(std::time::Duration::from_hours(u64::from(wish.days) * DAY_HOURS));
    let expires = pair.ends.map_or(asked, |ends| ends.min(asked));
    let hash: String = token_hash(&pair.api_key).chars().take(HASH_CHARS).collect();
    let key = format!("adopt/{}/{hash}/{}", pair.user_id, now.as_ms());
    let new = keys::AdoptedPair {
        key: &key,
        account: account.id,
        by: &wish.by,
        purpose: wish.purpose.trim(),
        days: i64::from(wish.days),
        user_id: &pair.user_id,
        username: &pair.username,
        api_key: &pair.api_key,
        pair_id: pair.pair_id.as_deref(),
        expires,
    };
    let mut tx = store.begin().await?;
    // Read again, one after the other: somebody else may have adopted it meanwhile.
    keys::lock_account(&mut tx, account.id).await?;
    let ours = keys::list_pairs_of_account(&mut tx, account.id).await?;
    let known = ours.into_iter().find(|(_, user, key)| *user == pair.user_id && key.as_deref() == Some(&pair.api_key));
    if let Some((id, _, _)) = known {
        return Ok(id);
    }
    let id = keys::insert_adopted(&mut tx, &new, now).await?;
    let answer = Some(format!("the key of {} until {expires}", pair.username));
    note(&mut tx, &wish.by, "key.adopt", id, (None, KeyState::Shown), answer, now).await?;
    let request = people::get_key_request(&mut tx, id).await?;
    tell::tell(&mut tx, &request, News::Adopted { expires }, settings.zone, now).await?;
    tx.commit().await?;
    Ok(id)
}
