//! Who somebody is by the own CloudStack session (rules 18 to 20).

use super::{
    Errand, Failure, Held, Limit, Proof, Role, TOKEN_BYTES, Turned, choices, cookie, end, is_fresh, present, words,
};
use crate::{
    cloudstack::{self, AccountState, User, session::ForwardedSession},
    config::Config,
    ids::CloudId,
    people::mapping::{self, CLOUDSTACK, Way},
    secrets::token_hash,
    store::{
        Tx,
        cloud::{self, Account},
        keys,
        sessions::{self, WebSession},
    },
    web::WebState,
};
use axum::http::HeaderValue;

/// CloudStack's account type of everybody with a role of type Admin, however narrow (facts 4.6).
const ADMIN_TYPE: i64 = 1;
/// The type of accounts that administer nothing.
const USER_TYPE: i64 = 0;
/// The one of these roles that may do everything. Others of the type, such as "Read-Only Admin - Default", administer nothing
/// here, unless `[web] admins` names the user.
const ROOT_ADMIN_ROLE: &str = "Root Admin";

pub(super) async fn enter(
    state: &WebState,
    own: Option<&str>,
    forwarded: ForwardedSession,
    tied_to: &str,
    errand: Errand,
) -> Result<(Proof, Option<HeaderValue>), Turned> {
    let held = find(state, own, tied_to).await?;
    match (errand, held) {
        (Errand::Form | Errand::Background, Some(held)) => Ok((held.into_proof(Some(forwarded), tied_to), None)),
        (Errand::Form, None) => Err(Failure::sign_in(words::OPEN_TOO_LONG).into()),
        (Errand::Background, None) => Err(Failure::sign_in(words::SIGN_IN_AGAIN).into()),
        (Errand::Navigation, Some(held)) if is_fresh(&held.session, state.app.clock.now()) => {
            Ok((held.into_proof(Some(forwarded), tied_to), None))
        }
        (Errand::Navigation, _) => {
            let turn = state.desk.turns.of(tied_to);
            let _turn = turn.lock().await;
            // Somebody else's turn may have proven it meanwhile.
            let held = find(state, own, tied_to).await?;
            if let Some(held) = &held
                && is_fresh(&held.session, state.app.clock.now())
            {
                return Ok((held.clone().into_proof(Some(forwarded), tied_to), None));
            }
            match prove(state, &forwarded, tied_to, held.as_ref()).await {
                Ok((held, cookie)) => Ok((held.into_proof(Some(forwarded), tied_to), cookie)),
                // CloudStack is silent: what was proven minutes ago may still be looked at.
                Err(Unproven::Silent) => match held {
                    Some(held) => Ok((held.into_proof(Some(forwarded), tied_to), None)),
                    None => Err(Failure::silent_cloud().into()),
                },
                Err(Unproven::Refused(failure)) => Err(failure.into()),
            }
        }
    }
}

/// Asks CloudStack once more, whatever was proven before.
pub(super) async fn prove_again(
    state: &WebState,
    proof: &Proof,
    forwarded: &ForwardedSession,
) -> Result<Proof, Failure> {
    let turn = state.desk.turns.of(&proof.tied_to);
    let _turn = turn.lock().await;
    let held = Held {
        hash: proof.hash.clone(),
        session: proof.session.clone(),
        account: proof.account.clone(),
        home: proof.home.clone(),
        choices: Vec::new(),
        looks_in: proof.looks_in,
    };
    match prove(state, forwarded, &proof.tied_to, Some(&held)).await {
        // A cookie would have to be set: it is somebody else than before.
        Ok((_, Some(_))) => Err(Failure::sign_in(words::OPEN_TOO_LONG)),
        // The page was about the account that was looked at then: a form for one must not reach another.
        Ok((held, None)) if held.account.id != proof.account.id => Err(Failure::sign_in(words::OPEN_TOO_LONG)),
        Ok((held, None)) => Ok(held.into_proof(Some(forwarded.clone()), &proof.tied_to)),
        Err(Unproven::Silent) => Err(Failure::silent_cloud()),
        Err(Unproven::Refused(failure)) => Err(failure),
    }
}

/// bursar's session, if it has not ended and belongs to these cookies of CloudStack.
async fn find(state: &WebState, own: Option<&str>, tied_to: &str) -> Result<Option<Held>, Failure> {
    let Some(hash) = own else { return Ok(None) };
    let mut tx = state.app.store.read().await?;
    let Some(session) = sessions::find_session(&mut tx, hash, state.app.clock.now()).await? else { return Ok(None) };
    if session.kind != "cloudstack" || session.proof_hash != tied_to {
        drop(tx);
        end(state, hash).await?;
        return Ok(None);
    }
    let account = present(&mut tx, session.account_id).await?;
    let ways = ways_of(&mut tx, &session.subject).await?;
    if session.account_id != session.home_account_id && !ways.iter().any(|way| way.account.id == account.id) {
        // The mapping was taken away meanwhile.
        drop(tx);
        end(state, hash).await?;
        return Ok(None);
    }
    let home = cloud::get_account(&mut tx, session.home_account_id).await?;
    let choices = choices(Some(&home), &ways, account.id);
    let looks_in = looks_in(&state.app.config, &session, &home, &ways);
    Ok(Some(Held { hash: hash.to_owned(), session, account, home, choices, looks_in }))
}

/// Whether an administrator looks into an account of somebody else's: what is seen there, its own people have not seen.
fn looks_in(config: &Config, session: &WebSession, home: &Account, ways: &[Way]) -> bool {
    let listed = || config.web.admins.iter().any(|admin| admin.to_string() == session.cloud_user_id);
    let mapped = || ways.iter().any(|way| way.role == Role::CloudAdmin.as_str());
    session.account_id != home.id && (home.account_type != USER_TYPE || listed() || mapped())
}

/// What a CloudStack user was mapped to beside the own account; nothing where it is one of several.
async fn ways_of(tx: &mut Tx, user: &str) -> Result<Vec<Way>, Failure> {
    if user.is_empty() {
        return Ok(Vec::new());
    }
    Ok(mapping::ways(tx, CLOUDSTACK, user).await?)
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
) -> Result<(Held, Option<HeaderValue>), Unproven> {
    let now = state.app.clock.now();
    // Cookies that nobody knows are limited all together: whoever makes them up must not have CloudStack asked without end.
    let allowed = state.desk.limits.take(Limit::Proofs, tied_to, now)
        && (held.is_some() || state.desk.limits.take(Limit::Strangers, "", now));
    if !allowed {
        return Err(Unproven::Refused(Failure::too_many()));
    }
    let users = match state.sessions.who_am_i(forwarded).await {
        Ok(users) => users,
        Err(error) => {
            let failure = match &error {
                cloudstack::Error::Configuration { .. } => Failure::unexpected(&error),
                cloudstack::Error::Unauthorized { .. } | cloudstack::Error::SecondFactor { .. } => {
                    Failure::sign_in(words::SIGN_IN_AGAIN)
                }
                // Signing in again would not help.
                cloudstack::Error::NotAllowed { .. } => {
                    tracing::warn!(%error, "a role may not call listUsers, so its people can not be recognised");
                    Failure::forbidden(words::ROLE_TELLS_NOBODY)
                }
                // Silent, or failed inside (530): nothing is known of the session.
                _ => {
                    tracing::warn!(%error, "CloudStack did not tell whose session it is");
                    return Err(Unproven::Silent);
                }
            };
            if let Some(held) = held {
                end(state, &held.hash).await.map_err(Unproven::Refused)?;
            }
            return Err(Unproven::Refused(failure));
        }
    };
    let mut tx = state.app.store.begin().await?;
    let person = match identify(&mut tx, &users, &state.app.config, tied_to, now).await {
        Ok(person) => person,
        Err(failure) => {
            if let Some(held) = held {
                sessions::end_session(&mut tx, &held.hash).await?;
                tx.commit().await?;
            }
            return Err(Unproven::Refused(failure));
        }
    };
    let user = person.user.map(|id| id.to_string()).unwrap_or_default();
    let kept =
        held.filter(|held| held.session.cloud_user_id == user && held.session.home_account_id == person.account.id);
    let (hash, kept_csrf, cookie) = if let Some(held) = kept {
        (held.hash.clone(), Some(&held.session).map(|session| (session.account_id, session.csrf.clone())), None)
    } else {
        if let Some(held) = held {
            sessions::end_session(&mut tx, &held.hash).await?;
        }
        let token = state.app.random.hex(TOKEN_BYTES);
        (token_hash(&token), None, Some(cookie(state, &token)?))
    };
    let ways = ways_of(&mut tx, &user).await?;
    let (account, role) = chosen(&mut tx, &user, &person, &ways).await?;
    // A page that is open about one account must not reach another.
    let csrf = kept_csrf
        .and_then(|(looked_at, csrf)| (looked_at == account.id).then_some(csrf))
        .unwrap_or_else(|| state.app.random.hex(TOKEN_BYTES));
    let session = WebSession {
        kind: "cloudstack".to_owned(),
        issuer: if user.is_empty() { String::new() } else { CLOUDSTACK.to_owned() },
        subject: user.clone(),
        cloud_user_id: user,
        link_id: None,
        account_id: account.id,
        home_account_id: person.account.id,
        role,
        username: person.username,
        proof_hash: tied_to.to_owned(),
        csrf,
        proven_ms: now.as_ms(),
        expires_ms: now.plus(state.app.config.web.session).as_ms(),
    };
    sessions::purge_sessions(&mut tx, now).await?;
    sessions::put_session(&mut tx, &hash, &session).await?;
    tx.commit().await?;
    let choices = choices(Some(&person.account), &ways, account.id);
    let looks_in = looks_in(&state.app.config, &session, &person.account, &ways);
    Ok((Held { hash, session, account, home: person.account, choices, looks_in }, cookie))
}

/// The account that the person looks at: the one last chosen, if the person still may, else the own one.
async fn chosen(tx: &mut Tx, user: &str, person: &Person, ways: &[Way]) -> Result<(Account, String), Failure> {
    let own = ways.iter().find(|way| way.account.id == person.account.id);
    // An administrator may have given a CloudStack user another role for the own account; never more than CloudStack says.
    let role = match (own, person.role) {
        (Some(way), Role::Owner) => Role::from_str(&way.role),
        (_, role) => role,
    };
    let at_home = (person.account.clone(), role.as_str().to_owned());
    if user.is_empty() {
        return Ok(at_home);
    }
    let choice = sessions::find_choice(tx, CLOUDSTACK, user).await?;
    let other = ways.iter().find(|way| Some(way.account.id) == choice && way.account.id != person.account.id);
    Ok(other.map_or(at_home, |way| (way.account.clone(), way.role.clone())))
}

struct Person {
    account: Account,
    /// None: one of several, nobody knows which.
    user: Option<CloudId>,
    username: String,
    role: Role,
}

/// Who it is, by what CloudStack said. One user is that user; several are the users of an administrator's account, of whom
/// somebody may have told by OpenID Connect or by mail which it is. The account's own state is not asked here: CloudStack ends
/// the session of one that is not enabled by itself (facts 2.2), and the state in the store may be older than the answer.
async fn identify(
    tx: &mut Tx,
    users: &[User],
    config: &Config,
    tied_to: &str,
    now: crate::time::Timestamp,
) -> Result<Person, Failure> {
    let first = users.first().ok_or_else(|| Failure::forbidden(words::USER_REFUSED))?;
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
    // The users that bursar made for key pairs, by their ids: a name can be changed by whoever has it, and who takes the name of such a
    // user must not make a colleague the only person left.
    let made = keys::list_made_users(tx, account.id).await?;
    let people: Vec<&User> = users
        .iter()
        .filter(|user| user.state == AccountState::Enabled && !made.contains(&user.id.to_string()))
        .collect();
    if people.is_empty() {
        return Err(Failure::forbidden(words::USER_REFUSED));
    }
    let (exact, how) = match people.as_slice() {
        [only] => (Some(*only), None),
        several => {
            let known = sessions::find_known_user(tx, tied_to, now).await?;
            let known = known.filter(|known| known.account_id == account.id);
            let user = known
                .as_ref()
                .and_then(|known| several.iter().find(|user| user.id.to_string() == known.cloud_user_id).copied());
            (user, known.map(|known| known.how))
        }
    };
    let how = how.as_deref();
    // The role hangs on the account; who acts in it has to be known all the same (rule 20), so that two approvals are two people's.
    let is_root_admin = first.account_type == Some(ADMIN_TYPE)
        && first.role_type.as_deref() == Some("Admin")
        && first.role_name.as_deref() == Some(ROOT_ADMIN_ROLE);
    // An address makes nobody an administrator who was not one without it (rule 22).
    let by_address = people.len() > 1 && how != Some("openid");
    let role = match exact {
        Some(_) if is_root_admin => Role::CloudAdmin,
        Some(user) if !by_address && config.web.admins.contains(&user.id) => Role::CloudAdmin,
        Some(_) => Role::Owner,
        None => Role::Viewer,
    };
    let username = exact.map_or_else(|| words::one_of(&account.full_name()), |user| user.username.clone());
    Ok(Person { account, user: exact.map(|user| user.id), username, role })
}

async fn by_name(tx: &mut Tx, user: &User) -> Result<Option<Account>, Failure> {
    let (Some(name), Some(domain)) = (&user.account, &user.domain_id) else { return Ok(None) };
    let domain = domain.to_string();
    Ok(cloud::list_accounts(tx)
        .await?
        .into_iter()
        .find(|account| account.gone_ms.is_none() && account.name == *name && account.domain_id == domain))
}
