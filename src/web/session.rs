//! Who is at the browser: proven by the person's own CloudStack session (design 2.5, rules 18 to 20).
//!
//! Promises: CloudStack is asked only with both halves of one session, since a wrong or missing half logs the person out;
//! never by background requests; one question at a time for a session; never more than once a minute, unless something
//! is to be changed. No cookie of CloudStack is kept, logged or passed on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    WebState,
    cookies::{COOKIE, Jar, NoSession, proof_hash},
    error::Failure,
    limits::Limit,
    rights::Role,
    words,
};
use crate::{
    cloudstack::{self, AccountState, User, session::ForwardedSession},
    ids::CloudId,
    secrets::token_hash,
    store::{
        Tx,
        cloud::{self, Account},
        people::{self, WebSession},
    },
    time::Timestamp,
};

/// A navigation proves again after so long.
const PROVEN_FOR: Duration = Duration::from_mins(1);
/// Random bytes of the cookie and of the token in forms.
const TOKEN_BYTES: usize = 32;
/// CloudStack's account type of root administrators.
const ROOT_ADMIN: i64 = 1;

/// What a request with a session was let in with. Only this module makes one.
#[derive(Clone)]
pub(super) struct Proof {
    hash: String,
    session: WebSession,
    account: Account,
    forwarded: ForwardedSession,
    navigates: bool,
}

impl Proof {
    /// Whether a person opened a page with this request, and no script or fetch in advance.
    pub(super) const fn navigates(&self) -> bool {
        self.navigates
    }

    pub(super) const fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn role(&self) -> Role {
        Role::from_str(&self.session.role)
    }

    pub(super) fn username(&self) -> &str {
        &self.session.username
    }

    pub(super) fn csrf(&self) -> &str {
        &self.session.csrf
    }

    /// The CloudStack user, where it is known who of the account it is.
    pub(super) fn user(&self) -> Option<CloudId> {
        self.session.cloud_user_id.parse().ok()
    }

    /// CloudStack's own session, for what is done in the person's name.
    pub(super) const fn forwarded(&self) -> &ForwardedSession {
        &self.forwarded
    }
}

/// One question at a time for a session.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        turns.insert(key.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

/// What a request is for, as far as proving goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errand {
    /// A person opens a page.
    Navigation,
    /// A form; it proves by itself, once its token was checked.
    Form,
    /// A script, a picture, a page fetched in advance.
    Background,
}

impl Errand {
    fn of(method: &Method, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if *method == Method::POST {
            return Self::Form;
        }
        let fetched_ahead = text("sec-purpose").is_some_and(|purpose| purpose.contains("prefetch"));
        let navigates = match text("sec-fetch-mode") {
            Some(mode) => mode == "navigate",
            // Old browsers do not say; a page is asked for with HTML first.
            None => text("accept").is_some_and(|accept| accept.contains("text/html")),
        };
        if *method == Method::GET && navigates && !fetched_ahead { Self::Navigation } else { Self::Background }
    }
}

/// Lets a request in with its session, or answers it.
pub(super) async fn guard(State(state): State<WebState>, mut request: Request, next: Next) -> Response {
    let errand = Errand::of(request.method(), request.headers());
    let jar = Jar::read(request.headers());
    match enter(&state, &jar, errand).await {
        Ok((proof, cookie)) => {
            request.extensions_mut().insert(Proof { navigates: errand == Errand::Navigation, ..proof });
            let mut response = next.run(request).await;
            if let Some(cookie) = cookie {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(failure) => failure.into_response(),
    }
}

async fn enter(state: &WebState, jar: &Jar, errand: Errand) -> Result<(Proof, Option<HeaderValue>), Failure> {
    let forwarded = jar.cloudstack(&state.app.config.web.trusted_affinity_cookies).map_err(|problem| match problem {
        NoSession::Missing => Failure::sign_in(words::SIGN_IN),
        NoSession::Several => Failure::sign_in(words::SEVERAL_SESSIONS),
    });
    let own = jar.own().map(token_hash);
    let forwarded = match forwarded {
        Ok(forwarded) => forwarded,
        Err(failure) => {
            // Without CloudStack's session there is none of bursar's.
            if let Some(hash) = &own {
                end(state, hash).await?;
            }
            return Err(failure);
        }
    };
    let tied_to = proof_hash(&forwarded);
    if !state.desk.limits.take(Limit::Pages, &tied_to, state.app.clock.now()) {
        return Err(Failure::too_many());
    }
    let held = find(state, own.as_deref(), &tied_to).await?;
    let proof = |hash: String, session: WebSession, account: Account, forwarded: ForwardedSession| Proof {
        hash,
        session,
        account,
        forwarded,
        navigates: false,
    };
    match (errand, held) {
        (Errand::Form | Errand::Background, Some((hash, session, account))) => {
            Ok((proof(hash, session, account, forwarded), None))
        }
        (Errand::Form, None) => Err(Failure::sign_in(words::OPEN_TOO_LONG)),
        (Errand::Background, None) => Err(Failure::sign_in(words::SIGN_IN_AGAIN)),
        (Errand::Navigation, Some((hash, session, account))) if is_fresh(&session, state.app.clock.now()) => {
            Ok((proof(hash, session, account, forwarded), None))
        }
        (Errand::Navigation, _) => {
            let turn = state.desk.turns.of(&tied_to);
            let _turn = turn.lock().await;
            // Somebody else's turn may have proven it meanwhile.
            let held = find(state, own.as_deref(), &tied_to).await?;
            if let Some((hash, session, account)) = &held
                && is_fresh(session, state.app.clock.now())
            {
                return Ok((proof(hash.clone(), session.clone(), account.clone(), forwarded), None));
            }
            match prove(state, &forwarded, &tied_to, held.as_ref()).await {
                Ok((hash, session, account, cookie)) => Ok((proof(hash, session, account, forwarded), cookie)),
                // CloudStack is silent: what was proven minutes ago may still be looked at.
                Err(Unproven::Silent) => match held {
                    Some((hash, session, account)) => Ok((proof(hash, session, account, forwarded), None)),
                    None => Err(Failure::silent_cloud()),
                },
                Err(Unproven::Refused(failure)) => Err(failure),
            }
        }
    }
}

/// Asks CloudStack once more, whatever was proven before: for what changes money or limits.
pub(super) async fn prove_again(state: &WebState, proof: &Proof) -> Result<Proof, Failure> {
    let tied_to = proof_hash(&proof.forwarded);
    let turn = state.desk.turns.of(&tied_to);
    let _turn = turn.lock().await;
    let held = (proof.hash.clone(), proof.session.clone(), proof.account.clone());
    match prove(state, &proof.forwarded, &tied_to, Some(&held)).await {
        // A cookie would have to be set: it is somebody else than before.
        Ok((_, _, _, Some(_))) => Err(Failure::sign_in(words::OPEN_TOO_LONG)),
        Ok((hash, session, account, None)) => {
            Ok(Proof { hash, session, account, forwarded: proof.forwarded.clone(), navigates: false })
        }
        Err(Unproven::Silent) => Err(Failure::silent_cloud()),
        Err(Unproven::Refused(failure)) => Err(failure),
    }
}

fn is_fresh(session: &WebSession, now: Timestamp) -> bool {
    let proven = Timestamp::from_ms(session.proven_ms);
    proven <= now && now.since(proven) < PROVEN_FOR
}

type Held = (String, WebSession, Account);

/// bursar's session, if it has not ended and belongs to these cookies of CloudStack.
async fn find(state: &WebState, own: Option<&str>, tied_to: &str) -> Result<Option<Held>, Failure> {
    let Some(hash) = own else { return Ok(None) };
    let mut tx = state.app.store.read().await?;
    let Some(session) = people::find_session(&mut tx, hash, state.app.clock.now()).await? else { return Ok(None) };
    if session.proof_hash != tied_to {
        drop(tx);
        end(state, hash).await?;
        return Ok(None);
    }
    let account = cloud::get_account(&mut tx, session.account_id).await?;
    if account.gone_ms.is_some() {
        return Err(Failure::forbidden(words::ACCOUNT_GONE));
    }
    Ok(Some((hash.to_owned(), session, account)))
}

async fn end(state: &WebState, hash: &str) -> Result<(), Failure> {
    let mut tx = state.app.store.begin().await?;
    people::end_session(&mut tx, hash).await?;
    Ok(tx.commit().await?)
}

enum Unproven {
    /// CloudStack could not say.
    Silent,
    /// It said no, or bursar does.
    Refused(Failure),
}

impl<E: Into<Failure>> From<E> for Unproven {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Asks CloudStack and keeps the answer. Gives a cookie to set where the session is a new one.
async fn prove(
    state: &WebState,
    forwarded: &ForwardedSession,
    tied_to: &str,
    held: Option<&Held>,
) -> Result<(String, WebSession, Account, Option<HeaderValue>), Unproven> {
    let now = state.app.clock.now();
    if !state.desk.limits.take(Limit::Proofs, tied_to, now) {
        return Err(Unproven::Refused(Failure::too_many()));
    }
    let users = match state.sessions.who_am_i(forwarded).await {
        Ok(users) => users,
        Err(error) => {
            let failure = match &error {
                cloudstack::Error::Retry { .. } | cloudstack::Error::Malformed { .. } => {
                    tracing::warn!(%error, "CloudStack did not tell whose session it is");
                    return Err(Unproven::Silent);
                }
                cloudstack::Error::Configuration { .. } => Failure::unexpected(&error),
                _ => Failure::sign_in(words::SIGN_IN_AGAIN),
            };
            if let Some((hash, ..)) = held {
                end(state, hash).await.map_err(Unproven::Refused)?;
            }
            return Err(Unproven::Refused(failure));
        }
    };
    let mut tx = state.app.store.begin().await?;
    let person = match identify(&mut tx, &users, &state.app.config).await {
        Ok(person) => person,
        Err(failure) => {
            if let Some((hash, ..)) = held {
                people::end_session(&mut tx, hash).await?;
                tx.commit().await?;
            }
            return Err(Unproven::Refused(failure));
        }
    };
    let user = person.user.map(|id| id.to_string()).unwrap_or_default();
    let kept = held.filter(|(_, session, _)| session.cloud_user_id == user && session.account_id == person.account.id);
    let (hash, csrf, cookie) = if let Some((hash, session, _)) = kept {
        (hash.clone(), session.csrf.clone(), None)
    } else {
        if let Some((hash, ..)) = held {
            people::end_session(&mut tx, hash).await?;
        }
        let token = state.app.random.hex(TOKEN_BYTES);
        (token_hash(&token), state.app.random.hex(TOKEN_BYTES), Some(cookie(state, &token)?))
    };
    let session = WebSession {
        cloud_user_id: user,
        account_id: person.account.id,
        role: person.role.as_str().to_owned(),
        username: person.username,
        proof_hash: tied_to.to_owned(),
        csrf,
        proven_ms: now.as_ms(),
        expires_ms: now.plus(state.app.config.web.session).as_ms(),
    };
    people::purge_sessions(&mut tx, now).await?;
    people::put_session(&mut tx, &hash, &session).await?;
    tx.commit().await?;
    Ok((hash, session, person.account, cookie))
}

fn cookie(state: &WebState, token: &str) -> Result<HeaderValue, Failure> {
    let web = &state.app.config.web;
    let path = if web.base_path.is_empty() { "/" } else { &web.base_path };
    let secure = if web.public_url.as_ref().is_some_and(|url| url.scheme() == "https") { "; Secure" } else { "" };
    let text = format!("{COOKIE}={token}; Path={path}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::from_str(&text).map_err(|error| Failure::unexpected(&error))?;
    value.set_sensitive(true);
    Ok(value)
}

struct Person {
    account: Account,
    /// None: one of several, nobody knows which.
    user: Option<CloudId>,
    username: String,
    role: Role,
}

/// Who it is, by what CloudStack said. One user is that user; several are the users of an administrator's account. The
/// account's own state is not asked here: CloudStack ends the session of one that is not enabled by itself (facts 2.2),
/// and the state in the store may be older than the answer.
async fn identify(tx: &mut Tx, users: &[User], config: &crate::config::Config) -> Result<Person, Failure> {
    let prefix = &config.access.user_prefix;
    let mut people =
        users.iter().filter(|user| user.state == AccountState::Enabled && !user.username.starts_with(prefix.as_str()));
    let first = people.next().ok_or_else(|| Failure::forbidden(words::USER_REFUSED))?;
    let exact = people.next().is_none();
    if users.iter().any(|user| user.account_id != first.account_id || user.domain_id != first.domain_id) {
        return Err(Failure::forbidden(words::USER_REFUSED));
    }
    let known = match &first.account_id {
        Some(id) => cloud::find_account_by_cloud_id(tx, &id.to_string()).await?,
        None => by_name(tx, first).await?,
    };
    let account = known.ok_or_else(|| Failure::forbidden(words::ACCOUNT_UNKNOWN))?;
    if account.gone_ms.is_some() {
        return Err(Failure::forbidden(words::ACCOUNT_GONE));
    }
    // The role hangs on the account, so it holds for each of its users.
    let is_root_admin = first.account_type == Some(ROOT_ADMIN) && first.role_type.as_deref() == Some("Admin");
    let role = match (is_root_admin || (exact && config.web.admins.contains(&first.id)), exact) {
        (true, _) => Role::CloudAdmin,
        (false, true) => Role::Owner,
        (false, false) => Role::Viewer,
    };
    let username = if exact { first.username.clone() } else { words::one_of(&account.full_name()) };
    Ok(Person { account, user: exact.then_some(first.id), username, role })
}

async fn by_name(tx: &mut Tx, user: &User) -> Result<Option<Account>, Failure> {
    let (Some(name), Some(domain)) = (&user.account, &user.domain_id) else { return Ok(None) };
    let domain = domain.to_string();
    Ok(cloud::list_accounts(tx)
        .await?
        .into_iter()
        .find(|account| account.gone_ms.is_none() && account.name == *name && account.domain_id == domain))
}
