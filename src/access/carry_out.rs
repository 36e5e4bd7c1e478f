//! Makes CloudStack match the requests. A pass takes no input and may run at any time; the next pass is the retry.

use std::time::Duration;

use super::{
    AccessSettings, BURSAR, BoxKey, Error, PAGE,
    issue::CLAIM,
    note,
    state::{KeyState, Step, next},
    state_of,
    tell::{self, News},
};
use crate::{
    cloudstack::{self, ApiKeyAccess, Client},
    ids::{CloudId, KeyRequestId},
    policy::protection,
    random::RandomSource,
    store::{
        Store, StoreError, keys,
        people::{self, KeyRequest},
    },
    time::{Clock, Timestamp},
};

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct CarriedOut {
    /// Pairs made.
    pub issued: usize,
    /// Pairs whose days were over.
    pub expired: usize,
    /// Secrets that nobody looked at in time.
    pub lapsed: usize,
    /// Pairs ended, or found gone.
    pub revoked: usize,
    /// Approved requests that must not be carried out after all.
    pub refused: usize,
    /// Requests with a step that failed; `last_error` tells why.
    pub failed: usize,
    /// Whether the pass ended early because CloudStack does not answer or does not accept bursar's key.
    pub stopped: bool,
}

/// Ends what is due, deletes the users of revoked requests and makes the pairs of approved ones. Passes may run side by
/// side: each request is claimed before anything is made for it.
pub async fn carry_out(
    store: &Store,
    client: &Client,
    box_key: &BoxKey,
    settings: &AccessSettings,
    clock: &dyn Clock,
    random: &dyn RandomSource,
) -> Result<CarriedOut, Error> {
    let pass = Pass { store, client, box_key, settings, clock, random };
    let mut done = CarriedOut::default();
    pass.end_due(&mut done).await?;
    // Revocations first: they are the urgent half.
    pass.each(KeyState::Revoking, &mut done).await?;
    // After a restored backup the pair may be made already, and somebody have it.
    if settings.enabled && settings.unconfirmed.is_none() && !done.stopped {
        pass.each(KeyState::Approved, &mut done).await?;
    }
    Ok(done)
}

/// What became of one request.
pub(super) enum Outcome {
    Issued,
    Revoked,
    Refused,
    /// Somebody else has moved it meanwhile, or is at it.
    Overtaken,
}

pub(super) struct Pass<'a> {
    pub(super) store: &'a Store,
    pub(super) client: &'a Client,
    pub(super) box_key: &'a BoxKey,
    pub(super) settings: &'a AccessSettings,
    pub(super) clock: &'a dyn Clock,
    pub(super) random: &'a dyn RandomSource,
}

/// What has to go from CloudStack when a pair ends.
pub(super) struct Remains<'a> {
    pub(super) request: KeyRequestId,
    pub(super) kind: &'a str,
    pub(super) user_id: CloudId,
    pub(super) pair_id: Option<CloudId>,
}

impl Pass<'_> {
    async fn page(&self, state: KeyState, after: KeyRequestId) -> Result<Vec<KeyRequest>, StoreError> {
        let mut tx = self.store.read().await?;
        people::list_key_requests_after(&mut tx, state.as_str(), after, PAGE).await
    }

    /// Goes through every request in a state. The error of one is stored with it and does not stop the others.
    async fn each(&self, state: KeyState, done: &mut CarriedOut) -> Result<(), Error> {
        let mut after = KeyRequestId::new(0);
        loop {
            let page = self.page(state, after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for request in &page {
                // Tells this pass's claim from others': who stood still lets go of its own only.
                let claim = self.clock.now().plus(CLAIM);
                let outcome = match state {
                    // The pass that makes its pair may be at it still: what it makes after the end, nobody would end.
                    KeyState::Revoking if self.is_claimed(request) => Ok(Outcome::Overtaken),
                    KeyState::Revoking => self.end(request).await,
                    _ => self.issue(request.id, claim).await,
                };
                match outcome {
                    Ok(Outcome::Issued) => done.issued += 1,
                    Ok(Outcome::Revoked) => done.revoked += 1,
                    Ok(Outcome::Refused) => done.refused += 1,
                    Ok(Outcome::Overtaken) => {}
                    Err(error) => {
                        done.failed += 1;
                        self.keep_error(request.id, claim, error).await.map(|stop| done.stopped = stop)?;
                        if done.stopped {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    fn is_claimed(&self, request: &KeyRequest) -> bool {
        keys::is_claimed(request.claim_ends_ms.map(Timestamp::from_ms), self.clock.now())
    }

    /// Stores a request's error; says whether the other requests would fail of the same. An error of the store itself
    /// ends the pass.
    pub(super) async fn keep_error(&self, id: KeyRequestId, claim: Timestamp, error: Error) -> Result<bool, Error> {
        match &error {
            Error::Store(StoreError::Nonsense(_) | StoreError::Missing(_)) => {}
            Error::Store(_) => return Err(error),
            _ => {}
        }
        tracing::warn!(request = id.get(), error = %error, "a step of API access failed and is tried again");
        let mut tx = self.store.begin().await?;
        people::put_key_error(&mut tx, id, Some(claim), &error.to_string()).await?;
        tx.commit().await?;
        Ok(matches!(error, Error::CloudStack(cloudstack::Error::Retry { .. } | cloudstack::Error::Unauthorized { .. })))
    }

    /// Moves pairs whose time is over to `revoking`.
    async fn end_due(&self, done: &mut CarriedOut) -> Result<(), Error> {
        for state in [KeyState::Issued, KeyState::Shown] {
            let mut after = KeyRequestId::new(0);
            loop {
                let page = self.page(state, after).await?;
                let Some(last) = page.last() else { break };
                after = last.id;
                for request in &page {
                    let now = self.clock.now();
                    let Some((step, action)) = due(request, state, self.settings.secret_shown, now) else { continue };
                    // Whether nobody has looked is not known after a restored backup.
                    if step == Step::Lapse && self.settings.unconfirmed.is_some() {
                        continue;
                    }
                    let Some(to) = next(state, step) else { continue };
                    let mut tx = self.store.begin().await?;
                    if people::put_key_revoking(&mut tx, request.id, state.as_str()).await? {
                        note(&mut tx, BURSAR, action, request.id, (Some(state.as_str()), to), None, now).await?;
                        let why = if step == Step::Lapse {
                            "nobody looked at its secret in time, so nobody has it"
                        } else {
                            "its time is over"
                        };
                        tell::tell(&mut tx, request, News::Ended(why), self.settings.zone, now).await?;
                        tx.commit().await?;
                        match step {
                            Step::Lapse => done.lapsed += 1,
                            _ => done.expired += 1,
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the pair of a request that is `revoking` and notes the end.
    pub(super) async fn end(&self, request: &KeyRequest) -> Result<Outcome, Error> {
        if let Some(user_id) = &request.user_id {
            let pair_id = request.pair_id.as_deref().map(cloud_id).transpose()?;
            let remains = Remains { request: request.id, kind: &request.kind, user_id: cloud_id(user_id)?, pair_id };
            self.remove(&remains).await?;
        }
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let Some(to) = next(state_of(request)?, Step::End) else { return Ok(Outcome::Overtaken) };
        if !people::move_key_request(&mut tx, request.id, &request.state, to.as_str()).await? {
            return Ok(Outcome::Overtaken);
        }
        people::put_key_revoked(&mut tx, request.id, now).await?;
        note(&mut tx, BURSAR, "key.end", request.id, (Some(&request.state), to), None, now).await?;
        tx.commit().await?;
        Ok(Outcome::Revoked)
    }

    /// Ends a pair in the way that its kind asks for. A person's own user is never deleted.
    pub(super) async fn remove(&self, remains: &Remains<'_>) -> Result<(), Error> {
        match (remains.kind, remains.pair_id) {
            ("person", _) => self.drop_named(remains).await,
            ("adopted", Some(pair)) => self.drop_pair(remains.user_id, pair).await,
            ("adopted", None) => self.switch_off_for_good(remains.user_id).await,
            _ => self.delete_key_user(remains.user_id).await,
        }
    }

    /// Switches the pair off, so that it is dead even if the user can not be deleted now, and deletes the user.
    async fn delete_key_user(&self, user_id: CloudId) -> Result<(), Error> {
        if let Err(error) = self.client.set_user_api_key_access(user_id, ApiKeyAccess::Disabled).await {
            tracing::info!(user = %user_id, error = %error, "a key pair could not be switched off; its user is deleted");
        }
        match self.client.delete_user(user_id).await {
            Ok(()) | Err(cloudstack::Error::Gone { .. }) => Ok(()),
            Err(error @ cloudstack::Error::Uncertain { .. }) => match self.client.get_user(user_id).await? {
                None => Ok(()),
                Some(_) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the pairs of a person's user that bear this request's name, and the one whose id is known.
    async fn drop_named(&self, remains: &Remains<'_>) -> Result<(), Error> {
        let name = pair_name(remains.request);
        let listed = match self.client.list_user_keys(remains.user_id).await {
            Ok(listed) => listed,
            Err(cloudstack::Error::Gone { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for pair in listed {
            if Some(pair.id) == remains.pair_id || pair.name.as_deref() == Some(name.as_str()) {
                self.drop_pair(remains.user_id, pair.id).await?;
            }
        }
        Ok(())
    }

    async fn drop_pair(&self, user_id: CloudId, pair: CloudId) -> Result<(), Error> {
        match self.client.delete_user_keys(pair).await {
            Ok(()) | Err(cloudstack::Error::Gone { .. }) => Ok(()),
            Err(error @ cloudstack::Error::Uncertain { .. }) => {
                let left = self.client.list_user_keys(user_id).await?;
                if left.iter().any(|one| one.id == pair) { Err(error.into()) } else { Ok(()) }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Switches an adopted pair off. Its user stays: it was there before bursar. What can not be read back did not happen.
    async fn switch_off_for_good(&self, user_id: CloudId) -> Result<(), Error> {
        let Some(user) = self.client.get_user(user_id).await? else { return Ok(()) };
        if let Some(reason) = protection::by_type(user.account_type, user.role_type.as_deref()) {
            let account = user.account.unwrap_or_else(|| user.username.clone());
            return Err(Error::Protected { account, reason: reason.to_owned() });
        }
        let read = self.client.set_user_api_key_access(user_id, ApiKeyAccess::Disabled).await?;
        if read.api_key_access == Some(ApiKeyAccess::Disabled) {
            let mut tx = self.store.begin().await?;
            keys::stay_disabled(&mut tx, &user_id.to_string()).await?;
            return Ok(tx.commit().await?);
        }
        Err(Error::NotThere(
            "CloudStack does not tell whether the adopted key is switched off (apikeyaccess, from 4.20.1 on); end it by hand"
                .to_owned(),
        ))
    }
}

/// What a native pair is called: by this it is found again when the answer is lost.
pub(super) fn pair_name(request: KeyRequestId) -> String {
    format!("bursar-{request}")
}

/// Whether a working pair's time is over, and which time. Pure.
fn due(request: &KeyRequest, state: KeyState, secret_shown: Duration, now: Timestamp) -> Option<(Step, &'static str)> {
    if request.expires_ms.is_some_and(|end| end <= now.as_ms()) {
        return Some((Step::Expire, "key.expire"));
    }
    let waits_until = request.issued_ms.map(|at| Timestamp::from_ms(at).plus(secret_shown));
    (state == KeyState::Issued && waits_until.is_some_and(|end| end <= now)).then_some((Step::Lapse, "key.lapse"))
}

pub(super) fn cloud_id(text: &str) -> Result<CloudId, StoreError> {
    text.parse().map_err(|_| StoreError::Nonsense(format!("\"{text}\" is no CloudStack id")))
}
