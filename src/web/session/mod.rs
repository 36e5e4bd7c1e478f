//! Who is at the browser, and by which way: the person's own CloudStack session, an OpenID issuer, or a signed link (design
//! 2.5, rules 18 to 22).
//!
//! Promises: CloudStack is asked only with both halves of one session, since a wrong or missing half logs the person out;
//! never by background requests; one question at a time for a session; never more than once a minute, unless something
//! is to be changed. No cookie of CloudStack is kept, logged or passed on. Another CloudStack session in the browser ends
//! whatever session was there. A signed link opens the page of a suspended account with the records behind it, and nothing else.

mod cloudstack;
mod others;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};

pub(super) use self::others::{begin_by_link, begin_by_openid, of_dead as link_failure, sign_out_cookie};
use super::{
    WebState,
    cookies::{COOKIE, Jar, NoSession},
    error::Failure,
    limits::Limit,
    rights::Role,
    words,
};
use crate::{
    cloudstack::session::ForwardedSession,
    ids::{AccountId, CloudId},
    people::mapping::{self, Way},
    secrets::token_hash,
    store::{
        Tx,
        cloud::{self, Account},
        sessions::{self, WebSession},
    },
    time::Timestamp,
};

/// A navigation proves again after so long.
const PROVEN_FOR: Duration = Duration::from_mins(1);
/// Random bytes of the cookie and of the token in forms.
const TOKEN_BYTES: usize = 32;
/// The page of a suspended account, below the base path.
pub(super) const SUSPENDED: &str = "/suspended";

/// By which way somebody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// By a session of CloudStack.
    CloudStack,
    /// By an OpenID issuer.
    OpenId,
    /// By a signed link.
    Link,
}

impl Kind {
    /// As it is stored.
    const fn word(self) -> &'static str {
        match self {
            Self::CloudStack => "cloudstack",
            Self::OpenId => "openid",
            Self::Link => "link",
        }
    }

    /// What is stored; an unknown word may the least.
    fn of(word: &str) -> Self {
        match word {
            "cloudstack" => Self::CloudStack,
            "openid" => Self::OpenId,
            _ => Self::Link,
        }
    }
}

/// An account that the person may look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// The account.
    pub(super) account: AccountId,
    /// Its full name.
    pub(super) name: String,
    /// Whether it is the present one.
    pub(super) present: bool,
}

/// What a request with a session was let in with. Only this module makes one.
#[derive(Clone)]
pub(super) struct Proof {
    hash: String,
    session: WebSession,
    account: Account,
    home: Account,
    role: Role,
    forwarded: Option<ForwardedSession>,
    tied_to: String,
    choices: Vec<Choice>,
    navigates: bool,
    looks_in: bool,
}

impl Proof {
    /// Whether a person opened a page with this request, and no script or fetch in advance.
    pub(super) const fn navigates(&self) -> bool {
        self.navigates
    }

    /// Whether the account's own person looks at a page: no administrator, and no script.
    pub(super) fn sees_notices(&self) -> bool {
        self.navigates && self.role != Role::CloudAdmin && !self.looks_in
    }

    pub(super) const fn account(&self) -> &Account {
        &self.account
    }

    /// The account that the person's own user belongs to: another one where the person switched to a mapped account.
    pub(super) const fn home(&self) -> &Account {
        &self.home
    }

    pub(super) const fn role(&self) -> Role {
        self.role
    }

    pub(super) fn username(&self) -> &str {
        &self.session.username
    }

    pub(super) fn csrf(&self) -> &str {
        &self.session.csrf
    }

    /// By which way the person came.
    pub(super) fn kind(&self) -> Kind {
        Kind::of(&self.session.kind)
    }

    /// The CloudStack user, a user of [`Proof::home`], where it is known who of that account it is.
    pub(super) fn user(&self) -> Option<CloudId> {
        self.session.cloud_user_id.parse().ok()
    }

    /// CloudStack's own session, for what is done in the person's name; None where the person came another way.
    pub(super) const fn forwarded(&self) -> Option<&ForwardedSession> {
        self.forwarded.as_ref()
    }

    /// What ties the request to CloudStack's session; empty where there is none.
    pub(super) fn tied_to(&self) -> &str {
        &self.tied_to
    }

    /// Who vouches for whom; empty where it is nobody in particular.
    pub(super) fn person(&self) -> (&str, &str) {
        (&self.session.issuer, &self.session.subject)
    }

    /// The signed link behind the session.
    pub(super) const fn link(&self) -> Option<i64> {
        self.session.link_id
    }

    /// The accounts to choose from; empty where there is no choice.
    pub(super) fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// Under what the session is stored.
    pub(super) fn hash(&self) -> &str {
        &self.hash
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
pub(super) enum Errand {
    /// A person opens a page.
    Navigation,
    /// A form; it proves by itself, once its token was checked.
    Form,
    /// A script, a picture, a page fetched in advance.
    Background,
}

impl Errand {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
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

/// Which routes are behind a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Every page of tenants and administrators. Links do not open it; a suspended account's people may look where they may.
    Pages,
    /// The page of a suspended account, with the records behind its sums.
    Suspended,
    /// Signing out: whoever has a session.
    Out,
}

/// Why a request was not let in.
enum Turned {
    /// With a page that says why.
    Away(Failure),
    /// To another page of bursar's.
    To(&'static str),
}

impl<E: Into<Failure>> From<E> for Turned {
    fn from(error: E) -> Self {
        Self::Away(error.into())
    }
}

/// Lets a request in with its session, or answers it.
pub(super) async fn guard(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let_in(&state, Door::Pages, request, next).await
}

/// The same for the page of a suspended account.
pub(super) async fn guard_suspended(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let_in(&state, Door::Suspended, request, next).await
}

/// The same for signing out.
pub(super) async fn guard_out(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let_in(&state, Door::Out, request, next).await
}

async fn let_in(state: &WebState, door: Door, mut request: Request, next: Next) -> Response {
    let errand = Errand::of(request.method(), request.headers());
    let jar = Jar::read(request.headers());
    match enter(state, &jar, errand, door).await {
        Ok((proof, cookie)) => {
            request.extensions_mut().insert(Proof { navigates: errand == Errand::Navigation, ..proof });
            let mut response = next.run(request).await;
            if let Some(cookie) = cookie {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(Turned::Away(failure)) => failure.into_response(),
        Err(Turned::To(page)) => Redirect::to(&format!("{}{page}", state.app.config.web.base_path)).into_response(),
    }
}

async fn enter(
    state: &WebState,
    jar: &Jar,
    errand: Errand,
    door: Door,
) -> Result<(Proof, Option<HeaderValue>), Turned> {
    let forwarded = jar.cloudstack(&state.app.config.web.trusted_affinity_cookies);
    let own = jar.own().map(token_hash);
    let tied_to = jar.tied_to(&forwarded);
    let whose = if tied_to.is_empty() { own.as_deref().unwrap_or_default() } else { &tied_to };
    if !state.desk.limits.take(Limit::Pages, whose, state.app.clock.now()) {
        return Err(Failure::too_many().into());
    }
    if let Some(hash) = &own
        && let Some(proof) = others::enter(state, hash, &tied_to, errand, door).await?
    {
        return Ok((proof, None));
    }
    let forwarded = match forwarded {
        Ok(forwarded) => forwarded,
        Err(problem) => {
            // Without CloudStack's session there is none that was proven by it.
            if let Some(hash) = &own {
                end(state, hash).await?;
            }
            return Err(Turned::Away(Failure::sign_in(match problem {
                NoSession::Missing => words::SIGN_IN,
                NoSession::Several => words::SEVERAL_SESSIONS,
            })));
        }
    };
    let entered = cloudstack::enter(state, own.as_deref(), forwarded, &tied_to, errand).await?;
    // CloudStack lets them in, so their account is open.
    if door == Door::Suspended { Err(Turned::To("/")) } else { Ok(entered) }
}

/// Asks once more who somebody is, whatever was proven before: for what changes money or limits.
pub(super) async fn prove_again(state: &WebState, proof: &Proof) -> Result<Proof, Failure> {
    match &proof.forwarded {
        Some(forwarded) if proof.kind() == Kind::CloudStack => cloudstack::prove_again(state, proof, forwarded).await,
        _ => others::prove_again(state, proof).await,
    }
}

/// A session, as it was found.
#[derive(Clone)]
struct Held {
    hash: String,
    session: WebSession,
    account: Account,
    home: Account,
    choices: Vec<Choice>,
    /// Whether an administrator looks into an account of somebody else's.
    looks_in: bool,
}

impl Held {
    fn into_proof(self, forwarded: Option<ForwardedSession>, tied_to: &str) -> Proof {
        Proof {
            hash: self.hash,
            role: Role::from_str(&self.session.role),
            session: self.session,
            account: self.account,
            home: self.home,
            forwarded,
            tied_to: tied_to.to_owned(),
            choices: self.choices,
            navigates: false,
            looks_in: self.looks_in,
        }
    }
}

/// The accounts of `ways` and the own one, as a choice; empty where there is only one.
fn choices(home: Option<&Account>, ways: &[Way], present: AccountId) -> Vec<Choice> {
    let mut choices: Vec<Choice> = Vec::new();
    for account in home.into_iter().chain(ways.iter().map(|way| &way.account)) {
        if !choices.iter().any(|choice| choice.account == account.id) {
            let choice = Choice { account: account.id, name: account.full_name(), present: account.id == present };
            choices.push(choice);
        }
    }
    if choices.len() < 2 { Vec::new() } else { choices }
}

async fn end(state: &WebState, hash: &str) -> Result<(), Failure> {
    let mut tx = state.app.store.begin().await?;
    sessions::end_session(&mut tx, hash).await?;
    Ok(tx.commit().await?)
}

/// Lets a session look at another account, if the person may.
pub(super) async fn switch(state: &WebState, proof: &Proof, account: AccountId) -> Result<(), Failure> {
    let choice = proof.choices().iter().find(|choice| choice.account == account);
    let choice = choice.ok_or_else(|| Failure::forbidden(words::NOT_YOURS))?;
    let (issuer, subject) = proof.person();
    let now = state.app.clock.now();
    let mut tx = state.app.store.begin().await?;
    let ways = mapping::ways(&mut tx, issuer, subject).await?;
    let role = match ways.iter().find(|way| way.account.id == choice.account) {
        Some(way) => way.role.clone(),
        // The own account: what the person is there, CloudStack said.
        None if account == proof.session.home_account_id => {
            sessions::put_choice(&mut tx, issuer, subject, account, now).await?;
            sessions::end_session(&mut tx, &proof.hash).await?;
            return Ok(tx.commit().await?);
        }
        None => return Err(Failure::forbidden(words::NOT_YOURS)),
    };
    cloud::get_account(&mut tx, account).await?;
    sessions::put_choice(&mut tx, issuer, subject, account, now).await?;
    let csrf = state.app.random.hex(TOKEN_BYTES);
    sessions::put_session_account(&mut tx, &proof.hash, (account, &role), &csrf).await?;
    Ok(tx.commit().await?)
}

/// The cookie of a session.
fn cookie(state: &WebState, token: &str) -> Result<HeaderValue, Failure> {
    set_cookie(state, COOKIE, token, "", "")
}

/// A cookie of bursar's: only for its own pages, out of reach of scripts. `below` is a path below the base path.
pub(super) fn set_cookie(
    state: &WebState,
    name: &str,
    value: &str,
    below: &str,
    more: &str,
) -> Result<HeaderValue, Failure> {
    let web = &state.app.config.web;
    let path =
        if web.base_path.is_empty() && below.is_empty() { "/".to_owned() } else { format!("{}{below}", web.base_path) };
    let secure = if web.public_url.as_ref().is_some_and(|url| url.scheme() == "https") { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax{secure}{more}");
    let mut value = HeaderValue::from_str(&text).map_err(|error| Failure::unexpected(&error))?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_fresh(session: &WebSession, now: Timestamp) -> bool {
    let proven = Timestamp::from_ms(session.proven_ms);
    proven <= now && now.since(proven) < PROVEN_FOR
}

/// An account that is still there.
async fn present(tx: &mut Tx, id: AccountId) -> Result<Account, Failure> {
    let account = cloud::get_account(tx, id).await?;
    if account.gone_ms.is_some() {
        return Err(Failure::forbidden(words::ACCOUNT_GONE));
    }
    Ok(account)
}
