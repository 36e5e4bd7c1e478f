//! Sessions that CloudStack has no part in: of an OpenID issuer, and of a signed link.
//!
//! Each request looks anew whether the mapping or the link behind it still holds; that costs a look into the store.

use std::time::Duration;

use axum::http::HeaderValue;

use super::{
    Choice, Door, Errand, Failure, Held, Kind, Proof, Role, SUSPENDED, TOKEN_BYTES, Turned, choices, cookie, end,
    present, set_cookie, words,
};
use crate::{
    people::{
        links::{self, Dead},
        mapping::{self, Way},
        oidc::Claims,
    },
    secrets::token_hash,
    store::{
        Tx, links as link_rows,
        links::SignedLink,
        sessions::{self, WebSession},
    },
    time::Timestamp,
    web::{WebState, cookies::COOKIE},
};

/// A sign-in by OpenID Connect lasts so long: it can not be proven again without sending the person to the issuer.
const OPENID_LASTS: Duration = Duration::from_hours(1);
/// Something is changed only so soon after signing in by OpenID Connect.
const OPENID_CHANGES: Duration = Duration::from_mins(15);
/// A link, once used, opens its page for so long; then it is used again.
const LINK_LASTS: Duration = Duration::from_hours(1);

/// Whether somebody is in the store's eyes suspended: CloudStack lets nobody of the account in.
fn is_suspended(state: &str) -> bool {
    state != "enabled"
}

/// Replicas' clocks differ by less.
const CLOCKS_DIFFER: Duration = Duration::from_mins(2);

fn is_of_the_future(session: &WebSession, now: Timestamp) -> bool {
    Timestamp::from_ms(session.proven_ms) > now.plus(CLOCKS_DIFFER)
}

/// Lets somebody in whose session CloudStack has no part in. None: there is none such.
pub(super) async fn enter(
    state: &WebState,
    hash: &str,
    tied_to: &str,
    errand: Errand,
    door: Door,
) -> Result<Option<Proof>, Turned> {
    let mut tx = state.app.store.read().await?;
    let found = sessions::find_session(&mut tx, hash, state.app.clock.now()).await?;
    let Some(session) = found.filter(|session| session.kind != "cloudstack") else { return Ok(None) };
    let now = state.app.clock.now();
    // Somebody signed in to CloudStack in this browser since: who that is, only CloudStack can tell. Or the clock went back behind
    // the sign-in, and nobody can say how old it is.
    if (!tied_to.is_empty() && session.proof_hash != tied_to) || is_of_the_future(&session, now) {
        drop(tx);
        end(state, hash).await?;
        return Ok(None);
    }
    let looked = match Kind::of(&session.kind) {
        Kind::OpenId => openid(state, &mut tx, hash, session).await,
        Kind::CloudStack | Kind::Link => by_link(state, &mut tx, hash, session).await,
    };
    drop(tx);
    let held = match looked {
        Ok(held) => held,
        Err(failure) => {
            end(state, hash).await?;
            return Err(failure.into());
        }
    };
    let proof = held.into_proof(None, tied_to);
    let suspended = is_suspended(&proof.account.state);
    let owns = matches!(proof.role, Role::Owner | Role::CloudAdmin);
    match (door, proof.kind(), errand) {
        (Door::Out, ..) | (Door::Suspended, Kind::Link, _) => Ok(Some(proof)),
        (Door::Pages, Kind::Link, _) => Err(Failure::forbidden(words::sign_in::LINK_ONLY).into()),
        (Door::Suspended, _, _) if suspended => Ok(Some(proof)),
        (Door::Suspended, _, _) => Err(Turned::To("/")),
        (Door::Pages, _, Errand::Form) if suspended => {
            Err(Failure::forbidden(words::sign_in::SUSPENDED_READ_ONLY).into())
        }
        (Door::Pages, ..) if suspended && !owns => Err(Turned::To(SUSPENDED)),
        (Door::Pages, ..) => Ok(Some(proof)),
    }
}

/// Looks whether the mapping behind a session still holds, and reads the role anew.
async fn openid(state: &WebState, tx: &mut Tx, hash: &str, session: WebSession) -> Result<Held, Failure> {
    if !state.issuers.list().any(|issuer| issuer.issuer == session.issuer) {
        return Err(Failure::sign_in(words::sign_in::ISSUER_GONE));
    }
    let ways = mapping::ways(tx, &session.issuer, &session.subject).await?;
    let way = ways.iter().find(|way| way.account.id == session.account_id);
    let way = way.ok_or_else(|| Failure::sign_in(words::sign_in::MAPPING_GONE))?;
    let choices = choices(None, &ways, way.account.id);
    let admins: Vec<String> = state.app.config.web.admins.iter().map(ToString::to_string).collect();
    let is_listed = |way: &Way| way.cloud_user_id.as_ref().is_some_and(|user| admins.contains(user));
    let looks_in = ways.iter().any(|way| way.role == Role::CloudAdmin.as_str() || is_listed(way));
    let session =
        WebSession { role: way.role.clone(), cloud_user_id: way.cloud_user_id.clone().unwrap_or_default(), ..session };
    Ok(Held {
        hash: hash.to_owned(),
        account: way.account.clone(),
        home: way.account.clone(),
        session,
        choices,
        looks_in,
    })
}

async fn by_link(state: &WebState, tx: &mut Tx, hash: &str, session: WebSession) -> Result<Held, Failure> {
    let gone = || Failure::sign_in(words::sign_in::LINK_ENDED);
    let link = match session.link_id {
        Some(id) => link_rows::find_link(tx, id).await?.ok_or_else(gone)?,
        None => return Err(gone()),
    };
    links::holds(tx, &link, state.app.clock.now()).await.map_err(of_dead)?;
    let account = present(tx, session.account_id).await?;
    Ok(Held {
        hash: hash.to_owned(),
        session,
        home: account.clone(),
        account,
        choices: Vec::<Choice>::new(),
        looks_in: false,
    })
}

/// Why a link is of no use, as a page.
pub(in crate::web) fn of_dead(dead: Dead) -> Failure {
    match dead {
        Dead::Store(error) => error.into(),
        Dead::Ended => Failure::new(axum::http::StatusCode::GONE, "sign-in", words::sign_in::LINK_ENDED),
        Dead::Open => Failure::new(axum::http::StatusCode::GONE, "sign-in", words::sign_in::LINK_OPEN),
    }
}

/// Who it is was told by the issuer at sign-in: what changes something needs that to be fresh.
pub(super) async fn prove_again(state: &WebState, proof: &Proof) -> Result<Proof, Failure> {
    let now = state.app.clock.now();
    if proof.kind() == Kind::OpenId && now.since(Timestamp::from_ms(proof.session.proven_ms)) > OPENID_CHANGES {
        return Err(Failure::sign_in(words::sign_in::PROVE_AGAIN));
    }
    let mut tx = state.app.store.read().await?;
    let held = match proof.kind() {
        Kind::OpenId => openid(state, &mut tx, &proof.hash, proof.session.clone()).await?,
        _ => by_link(state, &mut tx, &proof.hash, proof.session.clone()).await?,
    };
    Ok(held.into_proof(None, &proof.tied_to))
}

/// Begins a session for somebody whom an issuer vouches for. The browser's former session ends: nobody can have planted it.
/// Gives its cookie, and whether the account is suspended.
pub(in crate::web) async fn begin_by_openid(
    state: &WebState,
    tx: &mut Tx,
    claims: &Claims,
    ways: &[Way],
    (former, tied_to): (Option<&str>, &str),
) -> Result<(HeaderValue, bool), Failure> {
    let choice = sessions::find_choice(tx, &claims.issuer, &claims.subject).await?;
    let way = ways.iter().find(|way| Some(way.account.id) == choice).or_else(|| ways.first());
    let way = way.ok_or_else(|| Failure::forbidden(words::sign_in::MAPPING_GONE))?;
    let now = state.app.clock.now();
    let username = [claims.name.as_str(), claims.email.as_ref().map_or("", |email| email.as_str()), &claims.subject]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default()
        .to_owned();
    let session = WebSession {
        kind: Kind::OpenId.word().to_owned(),
        cloud_user_id: way.cloud_user_id.clone().unwrap_or_default(),
        issuer: claims.issuer.clone(),
        subject: claims.subject.clone(),
        link_id: None,
        account_id: way.account.id,
        home_account_id: way.account.id,
        role: way.role.clone(),
        username,
        proof_hash: tied_to.to_owned(),
        csrf: state.app.random.hex(TOKEN_BYTES),
        proven_ms: now.as_ms(),
        expires_ms: now.plus(OPENID_LASTS).as_ms(),
    };
    Ok((begin(state, tx, &session, former).await?, is_suspended(&way.account.state)))
}

/// Begins a session for whoever has a link to the page of a suspended account.
pub(in crate::web) async fn begin_by_link(
    state: &WebState,
    tx: &mut Tx,
    link: &SignedLink,
    (former, tied_to): (Option<&str>, &str),
) -> Result<HeaderValue, Failure> {
    let now = state.app.clock.now();
    let session = WebSession {
        kind: Kind::Link.word().to_owned(),
        cloud_user_id: String::new(),
        issuer: String::new(),
        subject: String::new(),
        link_id: Some(link.id),
        account_id: link.account_id,
        home_account_id: link.account_id,
        role: Role::Viewer.as_str().to_owned(),
        username: words::sign_in::BY_LINK.to_owned(),
        proof_hash: tied_to.to_owned(),
        csrf: state.app.random.hex(TOKEN_BYTES),
        proven_ms: now.as_ms(),
        expires_ms: now.plus(LINK_LASTS).min(link.expires_ms).as_ms(),
    };
    begin(state, tx, &session, former).await
}

async fn begin(
    state: &WebState,
    tx: &mut Tx,
    session: &WebSession,
    former: Option<&str>,
) -> Result<HeaderValue, Failure> {
    if let Some(former) = former {
        sessions::end_session(tx, &token_hash(former)).await?;
    }
    let token = state.app.random.hex(TOKEN_BYTES);
    sessions::put_session(tx, &token_hash(&token), session).await?;
    cookie(state, &token)
}

/// Takes bursar's cookie out of the browser.
pub(in crate::web) fn sign_out_cookie(state: &WebState) -> Result<HeaderValue, Failure> {
    set_cookie(state, COOKIE, "", "", "; Max-Age=0")
}
