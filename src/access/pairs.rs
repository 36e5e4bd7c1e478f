//! Whether pairs and their users are as bursar made them.
//!
//! A pair that changed by itself: with the default roles, whoever has a key can register another pair for its user
//! (facts 0, 5). Nobody approved that one, and its days are not counted, so it is switched off. What a person changed of the
//! user (name, address, state) is told to administrators, once; a password shows in CloudStack's event log only.

use std::collections::HashMap;

use super::{
    AccessSettings, Error, PAGE,
    names::address,
    note,
    protected::misplaced,
    state::{KeyState, Step, next},
    tell::{self, News},
};
use crate::{
    cloudstack::{self, AccountState, ApiKeyAccess, Client, EventFilter, OwnUser, User},
    ids::{CloudId, KeyRequestId},
    store::{
        Store, StoreError, cloud, keys,
        people::{self, KeyRequest},
    },
    time::{Clock, Timestamp},
};

/// Events that are looked through: more of them than a day of anybody's work.
const MOST_EVENTS: usize = 10_000;
/// Entries of the event log that tell of a change to a user, its password among them, and to its pair.
const EVENT_TYPES: [&str; 2] = ["USER.UPDATE", "REGISTER.USER.KEY"];

/// What a look at every working pair showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct AuditedPairs {
    /// Pairs that are as bursar made them.
    pub unchanged: usize,
    /// Pairs that are not, or whose user is gone: they are `revoking` now.
    pub changed: usize,
    /// Pairs whose user somebody changed, newly found; the pairs work on.
    pub touched: usize,
    /// Pairs that could not be looked at.
    pub unknown: usize,
}

/// What a look at one pair showed.
enum Seen {
    Unchanged,
    /// The user is another than it was made, in words.
    Touched(String),
    /// The pair is not the one that was made, or must not be.
    Changed(String),
}

/// Compares every working pair and its user with CloudStack's and moves pairs that differ to `revoking`; the next pass of
/// [`super::carry_out`] ends them. Only the public halves are compared, and nothing that was read is kept.
pub async fn audit_pairs(
    store: &Store,
    client: &Client,
    settings: &AccessSettings,
    clock: &dyn Clock,
) -> Result<AuditedPairs, Error> {
    let mut seen = AuditedPairs::default();
    for state in [KeyState::Issued, KeyState::Shown] {
        let mut after = KeyRequestId::new(0);
        loop {
            let mut tx = store.read().await?;
            let page = people::list_key_requests_after(&mut tx, state.as_str(), after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            let mut looked_at = Vec::with_capacity(page.len());
            for request in page {
                let account = cloud::get_account(&mut tx, request.account_id).await?;
                looked_at.push((request, account));
            }
            tx.commit().await?;
            for (request, account) in &looked_at {
                match look(client, request, account).await {
                    Ok(Seen::Changed(reason)) => {
                        if mistrust(store, request, state, &reason, settings, clock).await? {
                            seen.changed += 1;
                        }
                    }
                    Ok(Seen::Touched(found)) => {
                        seen.touched += usize::from(watch(store, request, Some(&found), clock).await?);
                    }
                    Ok(Seen::Unchanged) => {
                        seen.unchanged += 1;
                        watch(store, request, None, clock).await?;
                    }
                    Err(error) => {
                        tracing::warn!(request = request.id.get(), error = %error, "a key pair could not be looked at");
                        seen.unknown += 1;
                        if matches!(error, cloudstack::Error::Unauthorized { .. }) {
                            return Err(error.into());
                        }
                    }
                }
            }
        }
    }
    Ok(seen)
}

/// How CloudStack's pair and user differ from the stored ones.
async fn look(client: &Client, request: &KeyRequest, account: &cloud::Account) -> Result<Seen, cloudstack::Error> {
    let Some(user_id) = request.user_id.as_deref().and_then(|text| text.parse::<CloudId>().ok()) else {
        return Ok(Seen::Changed("the stored user id can not be read".to_owned()));
    };
    if let Some(reason) = pair_difference(client, request, user_id).await? {
        return Ok(Seen::Changed(reason.to_owned()));
    }
    let Some(user) = client.get_user(user_id).await? else {
        return Ok(Seen::Changed("the user is gone from CloudStack".to_owned()));
    };
    // In another account, or with an administrator's role, it can do what nobody approved.
    if let Some(reason) = misplaced(&user, account) {
        return Ok(Seen::Changed(reason));
    }
    Ok(user_difference(request, &user).map_or(Seen::Unchanged, Seen::Touched))
}

async fn pair_difference(
    client: &Client,
    request: &KeyRequest,
    user_id: CloudId,
) -> Result<Option<&'static str>, cloudstack::Error> {
    const ANOTHER: &str = "the user has another key pair than bursar made";
    const NONE: &str = "the user has no key pair any more";
    let Some(ours) = &request.api_key else { return Ok(Some("no key pair is stored")) };
    if let Some(pair_id) = &request.pair_id {
        let listed = match client.list_user_keys(user_id).await {
            Ok(listed) => listed,
            Err(cloudstack::Error::Gone { .. }) => return Ok(Some("the user is gone from CloudStack")),
            Err(error) => return Err(error),
        };
        let same = |key: &Option<crate::secrets::Secret>| key.as_ref().is_some_and(|key| key.matches(ours));
        return Ok(match listed.iter().find(|pair| pair.id.to_string() == *pair_id) {
            None => Some("CloudStack has the key pair no more"),
            Some(pair) if !same(&pair.api_key) => Some(ANOTHER),
            // Nobody but bursar has business with the user that it made; a person's own other pairs are the person's.
            Some(_) if request.kind == "dedicated" && listed.len() > 1 => {
                Some("the user has more key pairs than bursar made")
            }
            Some(_) => None,
        });
    }
    let found = match client.get_user_keys(user_id).await {
        Ok(found) => found,
        Err(cloudstack::Error::Gone { .. }) => return Ok(Some("the user is gone from CloudStack")),
        Err(error) => return Err(error),
    };
    Ok(match found.api_key {
        Some(there) if there.matches(ours) => None,
        Some(_) => Some(ANOTHER),
        None => Some(NONE),
    })
}

/// What somebody changed of a user, in words. Of a person's own user only what stops the key from working counts. Pure.
fn user_difference(request: &KeyRequest, user: &User) -> Option<String> {
    let mut found = Vec::new();
    let made = request.kind == "dedicated";
    if let Some(name) = request.username.as_deref().filter(|_| made) {
        if user.username != name {
            found.push(format!("it was renamed to {}", user.username));
        }
        if user.email.as_deref() != Some(address(name).as_str()) {
            found.push("its e-mail address was changed, so its password can be reset by mail".to_owned());
        }
    }
    if user.state != AccountState::Enabled {
        found.push(format!("it is {}", user.state.as_str()));
    }
    if user.api_key_access == Some(ApiKeyAccess::Disabled) {
        found.push("its API key access is switched off".to_owned());
    }
    (!found.is_empty()).then(|| found.join("; "))
}

/// Notes what was found, and tells of it where it is new.
async fn watch(
    store: &Store,
    request: &KeyRequest,
    found: Option<&str>,
    clock: &dyn Clock,
) -> Result<bool, StoreError> {
    if request.watched.as_deref() == found {
        return Ok(false);
    }
    let now = clock.now();
    let mut tx = store.begin().await?;
    if !keys::put_watched(&mut tx, request.id, found).await? {
        return Ok(false);
    }
    if let Some(found) = found {
        let state = super::state_of(request)?;
        let states = (Some(request.state.as_str()), state);
        note(&mut tx, "key pair check", "key.watch", request.id, states, Some(found.to_owned()), now).await?;
        tell::tell_watched(&mut tx, request, found, now).await?;
    }
    tx.commit().await?;
    Ok(found.is_some())
}

async fn mistrust(
    store: &Store,
    request: &KeyRequest,
    state: KeyState,
    reason: &str,
    settings: &AccessSettings,
    clock: &dyn Clock,
) -> Result<bool, StoreError> {
    let Some(to) = next(state, Step::Mistrust) else { return Ok(false) };
    let now = clock.now();
    let mut tx = store.begin().await?;
    if !people::put_key_revoking(&mut tx, request.id, state.as_str()).await? {
        return Ok(false);
    }
    let answer = Some(reason.to_owned());
    note(&mut tx, "key pair check", "key.mistrust", request.id, (Some(state.as_str()), to), answer, now).await?;
    tell::tell(&mut tx, request, News::Changed(reason), settings.zone, now).await?;
    tx.commit().await?;
    Ok(true)
}

/// An entry of CloudStack's event log about the user of a working pair, by somebody who is not bursar.
#[derive(Debug, Clone)]
pub struct TouchedUser {
    /// The pair.
    pub request: KeyRequest,
    /// The entry's id.
    pub event: String,
    /// Who did it.
    pub who: String,
    /// What it was, such as `USER.UPDATE`.
    pub what: String,
}

/// Entries since an instant about the users that bursar made. `own` is the service account's user. None where
/// events can not be listed, or are too many to be read.
pub async fn find_touched(
    store: &Store,
    client: &Client,
    own: &OwnUser,
    since: Timestamp,
) -> Result<Option<Vec<TouchedUser>>, Error> {
    let mut made: HashMap<String, KeyRequest> = HashMap::new();
    let mut tx = store.read().await?;
    for state in [KeyState::Issued, KeyState::Shown] {
        let mut after = KeyRequestId::new(0);
        loop {
            let page = people::list_key_requests_after(&mut tx, state.as_str(), after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for request in page.into_iter().filter(|request| request.kind == "dedicated") {
                if let Some(user) = request.user_id.clone() {
                    made.insert(user, request);
                }
            }
        }
    }
    tx.commit().await?;
    let mut touched = Vec::new();
    if made.is_empty() {
        return Ok(Some(touched));
    }
    for event_type in EVENT_TYPES {
        let filter =
            EventFilter { event_type: Some(event_type.to_owned()), start: Some(since), ..EventFilter::default() };
        let events = match client.list_events(&filter, MOST_EVENTS).await {
            Ok(events) => events,
            Err(cloudstack::Error::NotAllowed { .. } | cloudstack::Error::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !events.is_complete {
            return Ok(None);
        }
        for event in events.items {
            let acted = own.acted(&event);
            let who = event.username.unwrap_or_else(|| "somebody".to_owned());
            let Some(request) = event.resource_id.and_then(|id| made.get(&id.to_string())) else { continue };
            if acted == Some(false) && event.created.is_none_or(|at| at >= since) {
                let event_id = event.id.to_string();
                touched.push(TouchedUser { request: request.clone(), event: event_id, who, what: event.event_type });
            }
        }
    }
    Ok(Some(touched))
}
