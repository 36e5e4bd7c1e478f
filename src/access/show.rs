//! The one look at a secret.

use super::{
    AccessSettings, BoxKey, Error, after, note,
    state::Step,
    tell::{self, News},
};
use crate::{
    ids::KeyRequestId,
    secrets::Secret,
    store::{
        Store, Tx, keys,
        people::{self, KeyRequest},
    },
    time::{Clock, Timestamp},
};

/// A pair as it is shown once. Its Debug shows neither half.
#[derive(Clone)]
pub struct ShownPair {
    /// Names the user to CloudStack.
    pub api_key: String,
    /// Signs requests.
    pub secret_key: Secret,
}

impl std::fmt::Debug for ShownPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShownPair(…)")
    }
}

/// Gives the pair of a request and erases its secret: of two callers at once, one gets it. The erasing is committed
/// before the secret leaves, so a crash in between loses the secret and never shows it twice. That the caller may see
/// it is for the caller to prove. If the pair takes over from another, that one ends after the overlap from now on.
pub async fn show_secret(
    store: &Store,
    id: KeyRequestId,
    by: &str,
    box_key: &BoxKey,
    settings: &AccessSettings,
    clock: &dyn Clock,
) -> Result<ShownPair, Error> {
    if settings.unconfirmed.is_some() {
        // It may have been shown since the backup was made.
        return Err(Error::Unconfirmed);
    }
    let now = clock.now();
    let mut tx = store.begin().await?;
    let request = people::get_key_request(&mut tx, id).await?;
    if request.state == "shown" {
        return Err(Error::ShownBefore(id));
    }
    let to = after(&request, Step::Show, "shown")?;
    if request.expires_ms.is_some_and(|end| end <= now.as_ms()) {
        return Err(super::wrong_state(&people::KeyRequest { state: "expired".to_owned(), ..request }, "shown"));
    }
    // Nobody looks after its time either, even where no pass has come by to erase it.
    let waits_until = request.issued_ms.map(|at| Timestamp::from_ms(at).plus(settings.secret_shown));
    if waits_until.is_some_and(|end| end <= now) {
        return Err(super::wrong_state(&people::KeyRequest { state: "lapsed".to_owned(), ..request }, "shown"));
    }
    let (Some(api_key), Some(boxed)) = (&request.api_key, &request.secret_box) else {
        return Err(Error::ShownBefore(id));
    };
    let secret_key = box_key.open(id, boxed)?;
    if !people::erase_secret(&mut tx, id, now).await? {
        return Err(Error::ShownBefore(id));
    }
    note(&mut tx, by, "key.show", id, (Some(&request.state), to), None, now).await?;
    retire(&mut tx, &request, settings, now).await?;
    tx.commit().await?;
    Ok(ShownPair { api_key: api_key.clone(), secret_key })
}

/// Lets the pair that a new one takes over from end after the overlap.
async fn retire(tx: &mut Tx, new: &KeyRequest, settings: &AccessSettings, now: Timestamp) -> Result<(), Error> {
    let Some(old) = new.replaces else { return Ok(()) };
    let ends = now.plus(settings.overlap);
    if !keys::end_sooner(tx, old, ends).await? {
        return Ok(());
    }
    let request = people::get_key_request(tx, old).await?;
    let state = super::state_of(&request)?;
    let answer = Some(format!("until {}, request {} takes over", ends.display_in(settings.zone), new.id));
    note(tx, super::BURSAR, "key.retire", old, (Some(&request.state), state), answer, now).await?;
    tell::tell(tx, &request, News::Rotated { by: new.id.get(), ends }, settings.zone, now).await?;
    Ok(())
}
