//! Makes CloudStack match the requests. A pass takes no input and may run at any time; the next pass is the retry.

use std::time::Duration;

use super::{
    AccessSettings, BURSAR, BoxKey, Error, PAGE,
    names::{new_user, username},
    note,
    protected::{misplaced, protected_reason},
    state::{KeyState, Step, next},
    state_of,
};
use crate::{
    cloudstack::{self, ApiKeyAccess, Client, KeyPair, User},
    ids::{CloudId, KeyRequestId},
    random::RandomSource,
    store::{
        Store, StoreError, cloud,
        people::{self, KeyRequest},
    },
    time::{Clock, Timestamp},
};

/// How often a pair is registered in one pass when the answer is lost; then the next pass tries.
const REGISTER_TRIES: usize = 2;

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct CarriedOut {
    /// Pairs made.
    pub issued: usize,
    /// Pairs whose days were over.
    pub expired: usize,
    /// Secrets that nobody looked at in time.
    pub lapsed: usize,
    /// Users deleted, or found gone.
    pub revoked: usize,
    /// Approved requests that must not be carried out after all.
    pub refused: usize,
    /// Requests with a step that failed; `last_error` tells why.
    pub failed: usize,
    /// Whether the pass ended early because CloudStack does not answer or does not accept bursar's key.
    pub stopped: bool,
}

/// Ends what is due, deletes the users of revoked requests and makes the pairs of approved ones. One pass at a time: the
/// caller holds the lease of the job.
pub async fn carry_out(
    store: &Store,
    client: &Client,
    box_key: &BoxKey,
    settings: &AccessSettings,
    protected: &(dyn Fn(&cloud::Account) -> Option<String> + Sync),
    clock: &dyn Clock,
    random: &dyn RandomSource,
) -> Result<CarriedOut, Error> {
    let pass = Pass { store, client, box_key, settings, protected, clock, random };
    let mut done = CarriedOut::default();
    pass.end_due(&mut done).await?;
    // Revocations first: they are the urgent half.
    pass.each(KeyState::Revoking, &mut done).await?;
    if settings.enabled && !done.stopped {
        pass.each(KeyState::Approved, &mut done).await?;
    }
    Ok(done)
}

/// What became of one request.
enum Outcome {
    Issued,
    Revoked,
    Refused,
    /// Somebody else has moved it meanwhile.
    Overtaken,
}

struct Pass<'a> {
    store: &'a Store,
    client: &'a Client,
    box_key: &'a BoxKey,
    settings: &'a AccessSettings,
    protected: &'a (dyn Fn(&cloud::Account) -> Option<String> + Sync),
    clock: &'a dyn Clock,
    random: &'a dyn RandomSource,
}

/// A request about to be made, its user's id and name committed.
struct Prepared {
    request: KeyRequest,
    account: cloud::Account,
    user_id: CloudId,
    username: String,
    /// Whether a former pass has noted the id, so that the user may be there.
    resumed: bool,
}

enum Preparation {
    Ready(Box<Prepared>),
    Ended(Outcome),
    /// It must go, and its user may be there.
    Forbidden(String),
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
                let outcome = match state {
                    KeyState::Revoking => self.end(request).await,
                    _ => self.issue(request.id).await,
                };
                match outcome {
                    Ok(Outcome::Issued) => done.issued += 1,
                    Ok(Outcome::Revoked) => done.revoked += 1,
                    Ok(Outcome::Refused) => done.refused += 1,
                    Ok(Outcome::Overtaken) => {}
                    Err(error) => {
                        done.failed += 1;
                        self.keep_error(request.id, error).await.map(|stop| done.stopped = stop)?;
                        if done.stopped {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Stores a request's error; says whether the other requests would fail of the same. An error of the store itself
    /// ends the pass.
    async fn keep_error(&self, id: KeyRequestId, error: Error) -> Result<bool, Error> {
        match &error {
            Error::Store(StoreError::Nonsense(_) | StoreError::Missing(_)) => {}
            Error::Store(_) => return Err(error),
            _ => {}
        }
        tracing::warn!(request = id.get(), error = %error, "a step of API access failed and is tried again");
        let mut tx = self.store.begin().await?;
        people::put_key_error(&mut tx, id, &error.to_string()).await?;
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
                    let Some(to) = next(state, step) else { continue };
                    let mut tx = self.store.begin().await?;
                    if people::put_key_revoking(&mut tx, request.id, state.as_str()).await? {
                        note(&mut tx, BURSAR, action, request.id, (Some(state.as_str()), to), None, now).await?;
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

    /// Makes the user and the pair of an approved request, from wherever a former pass has stopped.
    async fn issue(&self, id: KeyRequestId) -> Result<Outcome, Error> {
        let prepared = match self.prepare(id).await? {
            Preparation::Ready(prepared) => prepared,
            Preparation::Ended(outcome) => return Ok(outcome),
            Preparation::Forbidden(reason) => return self.abandon(id, &reason).await,
        };
        let there = if prepared.resumed { self.client.get_user(prepared.user_id).await? } else { None };
        let user = match there {
            Some(user) => user,
            None => match self.create(&prepared).await {
                Err(error @ Error::IdNotTaken(_)) => return self.abandon(id, &error.to_string()).await,
                made => made?,
            },
        };
        if let Some(reason) = misplaced(&user, &prepared.account) {
            return self.abandon(id, &reason).await;
        }
        let unsupported = self.switch_on(prepared.user_id).await?;
        let pair = self.register(prepared.user_id).await?;
        self.keep_pair(&prepared, &pair, unsupported).await
    }

    /// Checks an approved request once more and commits its user's id and name before anything is sent.
    async fn prepare(&self, id: KeyRequestId) -> Result<Preparation, Error> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let request = people::get_key_request(&mut tx, id).await?;
        if state_of(&request)? != KeyState::Approved {
            return Ok(Preparation::Ended(Outcome::Overtaken));
        }
        let account = cloud::get_account(&mut tx, request.account_id).await?;
        let reason = protected_reason(&account).or_else(|| (self.protected)(&account));
        match (reason, &request.user_id, &request.username) {
            (Some(reason), Some(_), _) => Ok(Preparation::Forbidden(reason)),
            (Some(reason), None, _) => {
                let failed = KeyState::Failed;
                if people::move_key_request(&mut tx, id, &request.state, failed.as_str()).await? {
                    let error = Error::Protected { account: account.full_name(), reason }.to_string();
                    people::put_key_error(&mut tx, id, &error).await?;
                    note(&mut tx, BURSAR, "key.fail", id, (Some(&request.state), failed), Some(error), now).await?;
                    tx.commit().await?;
                }
                Ok(Preparation::Ended(Outcome::Refused))
            }
            (None, Some(user_id), Some(username)) => {
                let (user_id, username) = (cloud_id(user_id)?, username.clone());
                Ok(Preparation::Ready(Box::new(Prepared { request, account, user_id, username, resumed: true })))
            }
            (None, _, _) => {
                let user_id = CloudId::new(self.random.uuid());
                let username = username(&self.settings.user_prefix, &account.name, id);
                people::put_key_user(&mut tx, id, &user_id.to_string(), &username).await?;
                let answer = Some(format!("user {username} ({user_id})"));
                note(&mut tx, BURSAR, "key.prepare", id, (Some(&request.state), KeyState::Approved), answer, now)
                    .await?;
                tx.commit().await?;
                Ok(Preparation::Ready(Box::new(Prepared { request, account, user_id, username, resumed: false })))
            }
        }
    }

    /// Makes the dedicated user. A user that is there already is taken only if it has our id: the name proves nothing.
    async fn create(&self, prepared: &Prepared) -> Result<User, Error> {
        let Prepared { request, account, user_id, username, .. } = prepared;
        let domain = cloud_id(&account.domain_id)?;
        let new = new_user(*user_id, username, request.id, &account.name, domain, self.random);
        let error = match self.client.create_user(&new).await {
            Ok(user) if user.id == *user_id => return Ok(user),
            Ok(user) => {
                self.client.delete_user(user.id).await?;
                return Err(Error::IdNotTaken(username.clone()));
            }
            Err(error) => error,
        };
        let exists = error.is_already_exists();
        if !exists && !matches!(error, cloudstack::Error::Uncertain { .. }) {
            return Err(error.into());
        }
        match self.client.get_user(*user_id).await? {
            Some(user) => Ok(user),
            None if exists => Err(Error::NameTaken(username.clone())),
            None => Err(error.into()),
        }
    }

    /// Lets the user's pair work also where the account or the domain says that pairs do not (4.20.1 on). Where this is
    /// not allowed or not known, the level above decides; the text tells.
    async fn switch_on(&self, user_id: CloudId) -> Result<Option<String>, Error> {
        match self.client.set_user_api_key_access(user_id, ApiKeyAccess::Enabled).await {
            Ok(_) => Ok(None),
            Err(error @ (cloudstack::Error::NotAllowed { .. } | cloudstack::Error::Refused { .. })) => {
                Ok(Some(format!("apikeyaccess was not set, the account or domain decides: {error}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Registers a pair. When the answer is lost, another one is registered: nobody has seen the lost one.
    async fn register(&self, user_id: CloudId) -> Result<KeyPair, Error> {
        let mut tries = 1;
        loop {
            match self.client.register_user_keys(user_id).await {
                Err(cloudstack::Error::Uncertain { .. }) if tries < REGISTER_TRIES => tries += 1,
                answer => return Ok(answer?),
            }
        }
    }

    /// Stores the pair in one commit. If the request was revoked meanwhile, the user goes again.
    async fn keep_pair(
        &self,
        prepared: &Prepared,
        pair: &KeyPair,
        unsupported: Option<String>,
    ) -> Result<Outcome, Error> {
        let id = prepared.request.id;
        let boxed = self.box_key.seal(id, &pair.secret_key, self.random)?;
        let now = self.clock.now();
        let expires = now.plus(Duration::from_hours(u64::try_from(prepared.request.days).unwrap_or(0) * 24));
        let mut tx = self.store.begin().await?;
        if people::put_key_pair(&mut tx, id, pair.api_key.expose(), &boxed, now, expires).await? {
            let answer = unsupported.unwrap_or_else(|| format!("until {expires}"));
            let states = (Some(prepared.request.state.as_str()), KeyState::Issued);
            note(&mut tx, BURSAR, "key.issue", id, states, Some(answer), now).await?;
            tx.commit().await?;
            return Ok(Outcome::Issued);
        }
        // Revoked meanwhile; or two passes ran at once, and this one's pair has replaced the stored one, which is dead then.
        let request = people::get_key_request(&mut tx, id).await?;
        if let Some(to) = next(state_of(&request)?, Step::Mistrust)
            && people::put_key_revoking(&mut tx, id, &request.state).await?
        {
            let answer = Some("two passes made a pair at once".to_owned());
            note(&mut tx, BURSAR, "key.mistrust", id, (Some(&request.state), to), answer, now).await?;
        }
        tx.commit().await?;
        self.remove(prepared.user_id).await?;
        Ok(Outcome::Overtaken)
    }

    /// Ends an approved request that must not have a pair, and deletes its user.
    async fn abandon(&self, id: KeyRequestId, reason: &str) -> Result<Outcome, Error> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let request = people::get_key_request(&mut tx, id).await?;
        let Some(to) = next(state_of(&request)?, Step::Abandon) else { return Ok(Outcome::Overtaken) };
        if !people::put_key_revoking(&mut tx, id, &request.state).await? {
            return Ok(Outcome::Overtaken);
        }
        let states = (Some(request.state.as_str()), to);
        note(&mut tx, BURSAR, "key.abandon", id, states, Some(reason.to_owned()), now).await?;
        tx.commit().await?;
        let moved = KeyRequest { state: to.as_str().to_owned(), ..request };
        self.end(&moved).await?;
        let mut tx = self.store.begin().await?;
        people::put_key_error(&mut tx, id, reason).await?;
        tx.commit().await?;
        Ok(Outcome::Refused)
    }

    /// Deletes the user of a request that is `revoking` and notes the end.
    async fn end(&self, request: &KeyRequest) -> Result<Outcome, Error> {
        if let Some(user_id) = &request.user_id {
            self.remove(cloud_id(user_id)?).await?;
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

    /// Switches the pair off, so that it is dead even if the user can not be deleted now, and deletes the user.
    async fn remove(&self, user_id: CloudId) -> Result<(), Error> {
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
}

/// Whether a working pair's time is over, and which time. Pure.
fn due(request: &KeyRequest, state: KeyState, secret_shown: Duration, now: Timestamp) -> Option<(Step, &'static str)> {
    if request.expires_ms.is_some_and(|end| end <= now.as_ms()) {
        return Some((Step::Expire, "key.expire"));
    }
    let waits_until = request.issued_ms.map(|at| Timestamp::from_ms(at).plus(secret_shown));
    (state == KeyState::Issued && waits_until.is_some_and(|end| end <= now)).then_some((Step::Lapse, "key.lapse"))
}

fn cloud_id(text: &str) -> Result<CloudId, StoreError> {
    text.parse().map_err(|_| StoreError::Nonsense(format!("\"{text}\" is no CloudStack id")))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            revoke,
            tests::{Place, deleted, listed, updated, user_id},
        },
        *,
    };
    use crate::{cloudstack::testing::Scripted, secrets::Secret};

    /// A pass that has registered a pair, while `meanwhile` happened to the request.
    async fn keep_after(place: &Place, meanwhile: KeyState) -> (String, usize) {
        let id = place.approved("first").await;
        let server = Scripted::start([updated(), listed(), deleted()]).await;
        let Place { store, box_key, settings, clock, random, .. } = place;
        let client = server.client();
        let pass = Pass { store, client: &client, box_key, settings, protected: &|_| None, clock, random };
        let Preparation::Ready(prepared) = pass.prepare(id).await.unwrap() else { panic!("it is approved") };
        assert_eq!(prepared.user_id, user_id());
        let mut tx = store.begin().await.unwrap();
        match meanwhile {
            KeyState::Issued => {
                assert!(people::put_key_pair(&mut tx, id, "EXAMPLE", b"", clock.now(), clock.now()).await.unwrap());
            }
            _ => revoke(&mut tx, id, "alice", clock.now()).await.unwrap(),
        }
        tx.commit().await.unwrap();
        let pair = KeyPair { api_key: Secret::new("EXAMPLE-KEY"), secret_key: Secret::new("EXAMPLE-SECRET") };
        assert!(matches!(pass.keep_pair(&prepared, &pair, None).await.unwrap(), Outcome::Overtaken));
        let row = place.row(id).await;
        assert!(row.secret_box.is_none());
        (row.state, server.received().len())
    }

    #[tokio::test]
    async fn a_pair_made_while_its_request_was_revoked_goes_at_once() {
        assert_eq!(keep_after(&Place::new().await, KeyState::Revoking).await, ("revoking".to_owned(), 3));
    }

    #[tokio::test]
    async fn two_passes_at_once_leave_no_pair_that_works_for_nobody() {
        assert_eq!(keep_after(&Place::new().await, KeyState::Issued).await, ("revoking".to_owned(), 3));
    }
}
