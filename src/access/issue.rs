//! Making a pair, from wherever a former pass has stopped: noted, made, switched on, registered, stored.

use std::time::Duration;

use super::{
    BURSAR, Error, MADE_TWICE, TIME_OVER, USER_GONE,
    carry_out::{Outcome, Pass, Remains, cloud_id, pair_name},
    names::{new_user, username},
    note,
    protected::{misplaced, protected_reason},
    state::{KeyState, Step, next},
    state_of,
    tell::{self, News},
};
use crate::{
    cloudstack::{self, ApiKeyAccess, KeyPair, PairTerms, User},
    ids::{CloudId, KeyRequestId},
    store::{
        Tx, cloud, keys,
        people::{self, KeyRequest},
    },
    time::Timestamp,
};

/// How often a pair is registered in one pass when the answer is lost; then the next pass tries.
const REGISTER_TRIES: usize = 2;
/// How long a pass has a request for itself: longer than its calls take, so that only a pass that died is followed.
pub(super) const CLAIM: Duration = Duration::from_mins(5);

/// A request about to be made, its user's id and name committed.
pub(super) struct Prepared {
    pub(super) request: KeyRequest,
    account: cloud::Account,
    pub(super) user_id: CloudId,
    username: String,
    kind: &'static str,
    /// Whether a former pass has noted the id, so that the user may be there.
    resumed: bool,
    expires: Timestamp,
}

pub(super) enum Preparation {
    Ready(Box<Prepared>),
    Ended(Outcome),
    /// It must go, and its user may be there.
    Forbidden(String),
}

/// Until when a pass has a request for itself, which tells passes apart.
fn claim_of(request: &KeyRequest) -> Option<Timestamp> {
    request.claim_ends_ms.map(Timestamp::from_ms)
}

impl Pass<'_> {
    /// Makes the pair of an approved request, which is this pass's until `claim`.
    pub(super) async fn issue(&self, id: KeyRequestId, claim: Timestamp) -> Result<Outcome, Error> {
        let prepared = match self.prepare(id, claim).await? {
            Preparation::Ready(prepared) => prepared,
            Preparation::Ended(outcome) => return Ok(outcome),
            Preparation::Forbidden(reason) => return self.abandon(id, claim, &reason).await,
        };
        let user = if prepared.kind == "person" {
            match self.client.get_user(prepared.user_id).await? {
                Some(user) => user,
                None => return self.abandon(id, claim, USER_GONE).await,
            }
        } else {
            let there = if prepared.resumed { self.client.get_user(prepared.user_id).await? } else { None };
            match there {
                Some(user) => user,
                None => match self.create(&prepared).await {
                    Err(error @ Error::IdNotTaken(_)) => return self.abandon(id, claim, &error.to_string()).await,
                    made => made?,
                },
            }
        };
        if let Some(reason) = misplaced(&user, &prepared.account) {
            return self.abandon(id, claim, &reason).await;
        }
        // A person's own user is left as it is: its other pairs are nobody's business here.
        let unsupported = if prepared.kind == "person" { None } else { self.switch_on(prepared.user_id).await? };
        let pair = self.register(&prepared).await?;
        self.keep_pair(&prepared, &pair, unsupported).await
    }

    /// Checks an approved request once more, claims it, and commits its user's id and name before anything is sent.
    pub(super) async fn prepare(&self, id: KeyRequestId, claim: Timestamp) -> Result<Preparation, Error> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        // Claimed first and read then: what was read before may be another pass's past by the time the claim holds.
        if !keys::claim_request(&mut tx, id, claim, now).await? {
            return Ok(Preparation::Ended(Outcome::Overtaken));
        }
        let request = people::get_key_request(&mut tx, id).await?;
        let account = cloud::get_account(&mut tx, request.account_id).await?;
        let days = u64::try_from(request.days).unwrap_or(0);
        let asked = now.plus(Duration::from_hours(days * 24));
        let expires = request.ends_ms.map(Timestamp::from_ms).map_or(asked, |ends| ends.min(asked));
        let reason = protected_reason(&account, &self.settings.protected)
            .or_else(|| (expires <= now).then(|| TIME_OVER.to_owned()));
        if let Some(reason) = reason {
            if request.user_id.is_some() {
                tx.commit().await?;
                return Ok(Preparation::Forbidden(reason));
            }
            return self.fail(tx, &request, &account, reason, now).await;
        }
        let prepared = if let (Some(user_id), Some(username)) = (&request.user_id, &request.username) {
            let kind = if request.kind == "person" { "person" } else { "dedicated" };
            let (user_id, username) = (cloud_id(user_id)?, username.clone());
            Prepared { request, account, user_id, username, kind, resumed: true, expires }
        } else {
            let (user_id, username, kind) = self.choose_user(&mut tx, &request, &account).await?;
            let answer = Some(format!("user {username} ({user_id})"));
            note(&mut tx, BURSAR, "key.prepare", id, (Some(&request.state), KeyState::Approved), answer, now).await?;
            Prepared { request, account, user_id, username, kind, resumed: false, expires }
        };
        // Its claim is committed with it.
        tx.commit().await?;
        if prepared.kind == "person" && !self.settings.several_pairs {
            // Registering would replace the person's own pair.
            let error = "it was for a release with several key pairs of one user, and CloudStack has them no more";
            return Err(Error::NotThere(error.to_owned()));
        }
        Ok(Preparation::Ready(Box::new(prepared)))
    }

    /// Notes that nothing is made after all.
    async fn fail(
        &self,
        mut tx: Tx,
        request: &KeyRequest,
        account: &cloud::Account,
        reason: String,
        now: Timestamp,
    ) -> Result<Preparation, Error> {
        let (id, failed) = (request.id, KeyState::Failed);
        if people::move_key_request(&mut tx, id, &request.state, failed.as_str()).await? {
            let error = Error::Protected { account: account.full_name(), reason }.to_string();
            people::put_key_error(&mut tx, id, claim_of(request), &error).await?;
            tell::tell(&mut tx, request, News::Failed(&error), self.settings.zone, now).await?;
            note(&mut tx, BURSAR, "key.fail", id, (Some(&request.state), failed), Some(error), now).await?;
            tx.commit().await?;
        }
        Ok(Preparation::Ended(Outcome::Refused))
    }

    /// Whose user it is to be, noted. The person's own, where a user can have several pairs and the person's user is known
    /// in this very account; a new one otherwise. Where self-service is closed the person's own pairs are switched off, so
    /// a new one there too.
    async fn choose_user(
        &self,
        tx: &mut Tx,
        request: &KeyRequest,
        account: &cloud::Account,
    ) -> Result<(CloudId, String, &'static str), Error> {
        if self.settings.several_pairs
            && let Some(wanted) = &request.for_user
            && keys::find_closing(tx, account.id).await?.is_none()
        {
            let people_there = cloud::list_users(tx, Some(account.id)).await?;
            if let Some(person) = people_there.into_iter().find(|user| user.cloud_id == *wanted) {
                keys::put_person_user(tx, request.id, &person.cloud_id, &person.username).await?;
                return Ok((cloud_id(&person.cloud_id)?, person.username, "person"));
            }
        }
        let user_id = CloudId::new(self.random.uuid());
        let username = username(&self.settings.user_prefix, &account.name, request.id);
        people::put_key_user(tx, request.id, &user_id.to_string(), &username).await?;
        Ok((user_id, username, "dedicated"))
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

    /// Registers a pair. When the answer is lost, another one is registered: nobody has seen the lost one. Where a user has
    /// several pairs the lost one is ended first, since it would stay otherwise.
    async fn register(&self, prepared: &Prepared) -> Result<KeyPair, Error> {
        let (user_id, several) = (prepared.user_id, self.settings.several_pairs);
        let mut tries = 1;
        loop {
            if several && (prepared.resumed || prepared.kind == "person" || tries > 1) {
                let strays = Remains { request: prepared.request.id, kind: "person", user_id, pair_id: None };
                self.remove(&strays).await?;
            }
            let answer = if several {
                let terms = PairTerms {
                    name: pair_name(prepared.request.id),
                    description: format!("API access, request {}", prepared.request.id),
                    end: prepared.expires,
                };
                self.client.register_named_pair(user_id, &terms).await
            } else {
                self.client.register_user_keys(user_id).await
            };
            match answer {
                Err(cloudstack::Error::Uncertain { .. }) if tries < REGISTER_TRIES => tries += 1,
                answer => return Ok(answer?),
            }
        }
    }

    /// Stores the pair in one commit. If the request was revoked meanwhile, the user goes again.
    pub(super) async fn keep_pair(
        &self,
        prepared: &Prepared,
        pair: &KeyPair,
        unsupported: Option<String>,
    ) -> Result<Outcome, Error> {
        let id = prepared.request.id;
        let boxed = self.box_key.seal(id, &pair.secret_key, self.random)?;
        let now = self.clock.now();
        let expires = prepared.expires;
        let pair_id = pair.id.filter(|_| self.settings.several_pairs);
        let mut tx = self.store.begin().await?;
        if people::put_key_pair(&mut tx, id, pair.api_key.expose(), &boxed, now, expires).await? {
            keys::put_pair_id(&mut tx, id, pair_id.map(|id| id.to_string()).as_deref()).await?;
            let answer = unsupported.unwrap_or_else(|| format!("until {expires}"));
            let states = (Some(prepared.request.state.as_str()), KeyState::Issued);
            note(&mut tx, BURSAR, "key.issue", id, states, Some(answer), now).await?;
            let news = News::Issued { expires, look_until: now.plus(self.settings.secret_shown).min(expires) };
            tell::tell(&mut tx, &prepared.request, news, self.settings.zone, now).await?;
            tx.commit().await?;
            return Ok(Outcome::Issued);
        }
        // Revoked meanwhile; or two passes ran at once, and this one's pair has replaced the stored one, which is dead then.
        let request = people::get_key_request(&mut tx, id).await?;
        if let Some(to) = next(state_of(&request)?, Step::Mistrust)
            && people::put_key_revoking(&mut tx, id, &request.state).await?
        {
            let answer = Some(MADE_TWICE.to_owned());
            note(&mut tx, BURSAR, "key.mistrust", id, (Some(&request.state), to), answer, now).await?;
            tell::tell(&mut tx, &request, News::Ended("it was made twice at once"), self.settings.zone, now).await?;
        }
        tx.commit().await?;
        self.remove(&Remains { request: id, kind: prepared.kind, user_id: prepared.user_id, pair_id }).await?;
        // Nothing more is made here: whoever comes next may note the end, unless another pass is at it.
        let mut tx = self.store.begin().await?;
        keys::drop_claim(&mut tx, id, claim_of(&prepared.request)).await?;
        tx.commit().await?;
        Ok(Outcome::Overtaken)
    }

    /// Ends an approved request that must not have a pair, and what was made for it.
    async fn abandon(&self, id: KeyRequestId, claim: Timestamp, reason: &str) -> Result<Outcome, Error> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        keys::lock_request(&mut tx, id).await?;
        let request = people::get_key_request(&mut tx, id).await?;
        if claim_of(&request) != Some(claim) {
            // Another pass is at it, and finds out for itself.
            return Ok(Outcome::Overtaken);
        }
        let Some(to) = next(state_of(&request)?, Step::Abandon) else { return Ok(Outcome::Overtaken) };
        if !people::put_key_revoking(&mut tx, id, &request.state).await? {
            return Ok(Outcome::Overtaken);
        }
        let states = (Some(request.state.as_str()), to);
        note(&mut tx, BURSAR, "key.abandon", id, states, Some(reason.to_owned()), now).await?;
        tell::tell(&mut tx, &request, News::Failed(reason), self.settings.zone, now).await?;
        tx.commit().await?;
        let moved = KeyRequest { state: to.as_str().to_owned(), ..request };
        self.end(&moved).await?;
        let mut tx = self.store.begin().await?;
        people::put_key_error(&mut tx, id, Some(claim), reason).await?;
        tx.commit().await?;
        Ok(Outcome::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            CarriedOut, carry_out, revoke,
            tests::{Place, deleted, listed, updated, user_id},
        },
        *,
    };
    use crate::{cloudstack::testing::Scripted, secrets::Secret, time::Clock as _};

    /// A pass that has registered a pair, while `meanwhile` happened to the request.
    async fn keep_after(place: &Place, meanwhile: KeyState) -> (String, usize) {
        let id = place.approved("first").await;
        let server = Scripted::start([updated(), listed(), deleted()]).await;
        let Place { store, box_key, settings, clock, random, .. } = place;
        let client = server.client();
        let pass = Pass { store, client: &client, box_key, settings, clock, random };
        let Preparation::Ready(prepared) = pass.prepare(id, place.claim()).await.unwrap() else {
            panic!("it is approved")
        };
        assert_eq!(prepared.user_id, user_id());
        let mut tx = store.begin().await.unwrap();
        match meanwhile {
            KeyState::Issued => {
                assert!(people::put_key_pair(&mut tx, id, "EXAMPLE", b"", clock.now(), clock.now()).await.unwrap());
            }
            _ => revoke(&mut tx, id, "alice", settings, clock.now()).await.unwrap(),
        }
        tx.commit().await.unwrap();
        let pair = KeyPair { api_key: Secret::new("EXAMPLE-KEY"), secret_key: Secret::new("EXAMPLE-SECRET"), id: None };
        assert!(matches!(pass.keep_pair(&prepared, &pair, None).await.unwrap(), Outcome::Overtaken));
        let row = place.row(id).await;
        assert!(row.secret_box.is_none() && row.claim_ends_ms.is_none(), "the next pass may note the end");
        (row.state, server.received().len())
    }

    #[tokio::test]
    async fn a_pair_made_while_its_request_was_revoked_goes_at_once() {
        assert_eq!(keep_after(&Place::new().await, KeyState::Revoking).await, ("revoking".to_owned(), 3));
    }

    #[tokio::test]
    async fn a_revocation_waits_for_the_pass_that_makes_the_pair() {
        let place = Place::new().await;
        let id = place.approved("first").await;
        let server = Scripted::start([updated(), listed(), deleted()]).await;
        let Place { store, box_key, settings, clock, random, .. } = &place;
        let client = server.client();
        let pass = Pass { store, client: &client, box_key, settings, clock, random };
        assert!(matches!(pass.prepare(id, place.claim()).await.unwrap(), Preparation::Ready(_)));
        let mut tx = store.begin().await.unwrap();
        revoke(&mut tx, id, "alice", settings, clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let other = || carry_out(store, &client, box_key, settings, clock, random);
        assert_eq!(other().await.unwrap(), CarriedOut::default(), "the first pass may be making it");
        assert_eq!((place.row(id).await.state.as_str(), server.received().len()), ("revoking", 0));
        clock.advance(CLAIM);
        assert_eq!(other().await.unwrap().revoked, 1, "the first pass has died");
        assert_eq!((place.row(id).await.state.as_str(), server.received().len()), ("revoked", 3));
    }

    #[tokio::test]
    async fn two_passes_at_once_leave_no_pair_that_works_for_nobody() {
        assert_eq!(keep_after(&Place::new().await, KeyState::Issued).await, ("revoking".to_owned(), 3));
    }

    #[tokio::test]
    async fn a_pair_that_is_kept_is_claimed_by_no_pass_that_comes_late() {
        let place = Place::new().await;
        let (id, now) = (place.approved("first").await, place.clock.now());
        let mut tx = place.store.begin().await.unwrap();
        assert!(people::put_key_pair(&mut tx, id, "EXAMPLE", b"", now, now).await.unwrap());
        assert!(!keys::claim_request(&mut tx, id, now.plus(CLAIM), now).await.unwrap());
    }

    #[tokio::test]
    async fn a_request_that_one_pass_has_is_left_alone_by_another_until_the_first_has_died() {
        let place = Place::new().await;
        let id = place.approved("first").await;
        let server = Scripted::start([]).await;
        let Place { store, box_key, settings, clock, random, .. } = &place;
        let client = server.client();
        let pass = Pass { store, client: &client, box_key, settings, clock, random };
        let first = pass.prepare(id, place.claim()).await.unwrap();
        assert!(matches!(first, Preparation::Ready(_)));
        assert!(matches!(pass.prepare(id, place.claim()).await.unwrap(), Preparation::Ended(Outcome::Overtaken)));
        clock.advance(CLAIM);
        let Preparation::Ready(again) = pass.prepare(id, place.claim()).await.unwrap() else {
            panic!("the first pass has died")
        };
        assert!(again.resumed && again.user_id == user_id());
    }

    #[tokio::test]
    async fn what_a_clock_that_was_days_ahead_claimed_is_free_once_it_is_right() {
        let place = Place::new().await;
        let id = place.approved("first").await;
        let server = Scripted::start([updated(), listed(), deleted()]).await;
        let Place { store, box_key, settings, clock, random, .. } = &place;
        let client = server.client();
        let pass = Pass { store, client: &client, box_key, settings, clock, random };
        let right = clock.now();
        for is_revoked in [false, true] {
            clock.advance(Duration::from_hours(67));
            assert!(matches!(pass.prepare(id, place.claim()).await.unwrap(), Preparation::Ready(_)));
            if !is_revoked {
                clock.set(right);
                assert!(matches!(pass.prepare(id, place.claim()).await.unwrap(), Preparation::Ready(_)));
                clock.advance(CLAIM);
                continue;
            }
            let mut tx = store.begin().await.unwrap();
            revoke(&mut tx, id, "alice", settings, clock.now()).await.unwrap();
            tx.commit().await.unwrap();
            clock.set(right);
            carry_out(store, &client, box_key, settings, clock, random).await.unwrap();
            assert_eq!(place.row(id).await.state, "revoked");
        }
    }

    #[tokio::test]
    async fn a_pass_that_comes_back_late_touches_nothing_that_another_one_has_claimed() {
        let place = Place::new().await;
        let id = place.approved("first").await;
        let server = Scripted::start([updated(), listed(), deleted()]).await;
        let Place { store, box_key, settings, clock, random, .. } = &place;
        let client = server.client();
        let pass = Pass { store, client: &client, box_key, settings, clock, random };
        let first = place.claim();
        let Preparation::Ready(late) = pass.prepare(id, first).await.unwrap() else { panic!("it is approved") };
        clock.advance(CLAIM);
        let second = place.claim();
        assert!(matches!(pass.prepare(id, second).await.unwrap(), Preparation::Ready(_)));
        pass.keep_error(id, first, Error::NotThere("no answer came".to_owned())).await.unwrap();
        assert_eq!(claim_of(&place.row(id).await), Some(second));
        assert!(matches!(pass.abandon(id, first, "its time is over").await.unwrap(), Outcome::Overtaken));
        assert_eq!(place.row(id).await.state, "approved");
        let mut tx = store.begin().await.unwrap();
        revoke(&mut tx, id, "alice", settings, clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let pair = KeyPair { api_key: Secret::new("EXAMPLE-KEY"), secret_key: Secret::new("EXAMPLE-SECRET"), id: None };
        assert!(matches!(pass.keep_pair(&late, &pair, None).await.unwrap(), Outcome::Overtaken));
        assert_eq!(claim_of(&place.row(id).await), Some(second));
        let other = carry_out(store, &client, box_key, settings, clock, random);
        assert_eq!(other.await.unwrap(), CarriedOut::default(), "the second pass may be making its pair");
        pass.keep_error(id, second, Error::NotThere("no answer came".to_owned())).await.unwrap();
        assert_eq!(claim_of(&place.row(id).await), None);
    }
}
