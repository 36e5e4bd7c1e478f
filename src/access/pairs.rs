//! A pair that changed by itself: with the default roles, whoever has a key can register another pair for its user
//! (facts 0, 5). Nobody approved that one, and its days are not counted, so it is switched off.

use super::{
    Error, PAGE, note,
    state::{KeyState, Step, next},
};
use crate::{
    cloudstack::{self, Client},
    ids::{CloudId, KeyRequestId},
    store::{
        Store, StoreError,
        people::{self, KeyRequest},
    },
    time::Clock,
};

/// What a look at every working pair showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct AuditedPairs {
    /// Pairs that are as bursar made them.
    pub unchanged: usize,
    /// Pairs that are not, or whose user is gone: they are `revoking` now.
    pub changed: usize,
    /// Pairs that could not be looked at.
    pub unknown: usize,
}

/// Compares every working pair with CloudStack's and moves those that differ to `revoking`; the next pass of
/// [`super::carry_out`] deletes their users. Only the public halves are compared, and nothing that was read is kept.
pub async fn audit_pairs(store: &Store, client: &Client, clock: &dyn Clock) -> Result<AuditedPairs, Error> {
    let mut seen = AuditedPairs::default();
    for state in [KeyState::Issued, KeyState::Shown] {
        let mut after = KeyRequestId::new(0);
        loop {
            let page = {
                let mut tx = store.read().await?;
                people::list_key_requests_after(&mut tx, state.as_str(), after, PAGE).await?
            };
            let Some(last) = page.last() else { break };
            after = last.id;
            for request in &page {
                match difference(client, request).await {
                    Ok(None) => seen.unchanged += 1,
                    Ok(Some(reason)) => {
                        if mistrust(store, request.id, state, reason, clock).await? {
                            seen.changed += 1;
                        }
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

/// How CloudStack's pair differs from the stored one.
async fn difference(client: &Client, request: &KeyRequest) -> Result<Option<&'static str>, cloudstack::Error> {
    let Some(user_id) = request.user_id.as_deref().and_then(|text| text.parse::<CloudId>().ok()) else {
        return Ok(Some("the stored user id can not be read"));
    };
    let keys = match client.get_user_keys(user_id).await {
        Ok(keys) => keys,
        Err(cloudstack::Error::Gone { .. }) => return Ok(Some("the user is gone from CloudStack")),
        Err(error) => return Err(error),
    };
    Ok(match (keys.api_key, &request.api_key) {
        (Some(there), Some(ours)) if there.matches(ours) => None,
        (Some(_), _) => Some("the user has another key pair than bursar made"),
        (None, _) => Some("the user has no key pair any more"),
    })
}

async fn mistrust(
    store: &Store,
    id: KeyRequestId,
    state: KeyState,
    reason: &str,
    clock: &dyn Clock,
) -> Result<bool, StoreError> {
    let Some(to) = next(state, Step::Mistrust) else { return Ok(false) };
    let mut tx = store.begin().await?;
    if !people::put_key_revoking(&mut tx, id, state.as_str()).await? {
        return Ok(false);
    }
    let answer = Some(reason.to_owned());
    note(&mut tx, "key pair check", "key.mistrust", id, (Some(state.as_str()), to), answer, clock.now()).await?;
    tx.commit().await?;
    Ok(true)
}
