//! Users whose key the enforcer had before: what they did while they had it was bursar's doing. Without that, another service account
//! would make every lock that stands somebody else's, and nobody would be opened any more.

use serde::{Deserialize, Serialize};

use super::{
    act::EVENT_TOLERANCE,
    calls::REQUEST_LIVES_FOR,
    run::{Enforcer, Error},
    switches,
};
use crate::{
    cloudstack::{Client, Event, OwnUser},
    ids::CloudId,
    store::{StoreError, acting, runs},
    time::Timestamp,
};

/// So many are remembered; CloudStack forgets its events after two weeks.
const REMEMBERED: usize = 10;

/// A user whose key the enforcer had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FormerUser {
    user: OwnUser,
    /// What the user did later than that was not bursar's doing.
    until_ms: i64,
}

/// Whether one of them acted, for bursar. None: the event does not tell, and its siblings do.
pub(super) fn acted(former: &[FormerUser], event: &Event) -> Option<bool> {
    let of_its_time = |former: &&FormerUser| event.created.is_none_or(|at| at <= Timestamp::from_ms(former.until_ms));
    let mut told = Some(false);
    for former in former.iter().filter(of_its_time) {
        match former.user.acted(event) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => told = None,
        }
    }
    told
}

/// Whose key the enforcer has, as far as somebody has looked.
#[derive(Serialize, Deserialize)]
struct Known {
    id: CloudId,
    user: OwnUser,
}

/// The user whose key the enforcer had in the last run, by CloudStack's id.
pub(super) async fn find_own_id(enforcer: &Enforcer<'_>) -> Result<Option<CloudId>, Error> {
    let mut tx = enforcer.store.read().await?;
    let known = runs::find_setting(&mut tx, switches::OWN_USER).await?;
    tx.commit().await?;
    Ok(known.and_then(|text| serde_json::from_str::<Known>(&text).ok()).map(|known| known.id))
}

/// Notes whose key the enforcer has, and gives those whose it had before. The time of one of these ends with the last call that bursar
/// saw to its end, and as long as one may take to arrive.
pub(super) async fn note(
    enforcer: &Enforcer<'_>,
    fence: i64,
    (own, id): (&OwnUser, CloudId),
) -> Result<Vec<FormerUser>, Error> {
    let mut tx = enforcer.store.read().await?;
    let known = runs::find_setting(&mut tx, switches::OWN_USER).await?;
    let former = runs::find_setting(&mut tx, switches::FORMER_USERS).await?;
    tx.commit().await?;
    let mut former: Vec<FormerUser> = former.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let known: Option<Known> = known.and_then(|text| serde_json::from_str(&text).ok());
    if known.as_ref().is_some_and(|known| known.id == id && known.user == *own) {
        return Ok(former);
    }
    // Who only looks has no lease to write under.
    if fence == 0 {
        return Ok(former);
    }
    let now = enforcer.clock.now();
    let mut tx = enforcer.write(fence).await?;
    // Another name of the same user is the same: CloudStack tells events by the present one.
    if let Some(Known { user, .. }) = known.filter(|known| known.id != id)
        && let Some(last) = acting::find_last_end(&mut tx, enforcer.client.map_or(now, Client::server_now)).await?
    {
        tracing::warn!(before = %user.username, now = %own.username, "the enforcer's key is another user's than before");
        former.insert(0, FormerUser { user, until_ms: last.plus(REQUEST_LIVES_FOR).plus(EVENT_TOLERANCE).as_ms() });
        former.truncate(REMEMBERED);
        runs::put_setting(&mut tx, switches::FORMER_USERS, &text_of(&former)?, now).await?;
    }
    let known = Known { id, user: own.clone() };
    runs::put_setting(&mut tx, switches::OWN_USER, &text_of(&known)?, now).await?;
    tx.commit().await?;
    Ok(former)
}

fn text_of<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Nonsense(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(username: &str, account: &str, created: &str) -> Event {
        serde_json::from_value(serde_json::json!({
            "id": "d522b0de-3fe4-4094-9d94-fb27222e11d8", "type": "ACCOUNT.DISABLE", "state": "Completed", "level": "INFO",
            "username": username, "account": account, "created": created,
        }))
        .unwrap()
    }

    #[test]
    fn what_a_former_user_did_in_its_time_was_bursars_doing_and_nothing_later() {
        let user = OwnUser { username: "admin".to_owned(), account: Some("admin".to_owned()), domain_id: None };
        let until = Timestamp::from_seconds(1_795_366_800);
        let former = [FormerUser { user, until_ms: until.as_ms() }];
        assert_eq!(acted(&former, &event("admin", "admin", "2026-11-22T16:59:00+0000")), Some(true));
        assert_eq!(acted(&former, &event("admin", "admin", "2026-11-22T17:01:00+0000")), Some(false));
        assert_eq!(acted(&former, &event("admin", "acme", "2026-11-22T16:59:00+0000")), Some(false));
        assert_eq!(acted(&former, &event("carol", "admin", "2026-11-22T16:59:00+0000")), Some(false));
        assert_eq!(acted(&[], &event("admin", "admin", "2026-11-22T16:59:00+0000")), Some(false));
    }
}
