//! Who somebody is, and what can be done where that is not certain.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use crate::{
    email::EmailAddress,
    ids::AccountId,
    jobs::mail,
    notify::{self, Note},
    people::links::{self, PROOF_LASTS},
    store::{links::NewLink, mapping},
    web::{
        WebState,
        access::{Tenant, TenantForm},
        error::Failure,
        limits::Limit,
        pages::{self, After, Frame, Page},
        rights::{Own, Role, See},
        session::{self, Kind},
        words,
    },
};

struct Claim {
    id: String,
    username: String,
    possible: bool,
}

#[derive(Template)]
#[template(path = "you.html")]
struct You {
    frame: Frame,
    said: Option<&'static str>,
    name: String,
    way: String,
    account: String,
    role: &'static str,
    /// Who of the account it may be; None: that is known.
    which: Option<Vec<Claim>>,
    nobody_claimable: bool,
    /// The own address, and whether it is confirmed; None: it is not known who of the account it is.
    address: Option<(String, bool)>,
    ways: Vec<(String, String)>,
    mails: bool,
}

const fn role_words(role: Role) -> &'static str {
    match role {
        Role::Owner => words::sign_in::ROLE_OWNER,
        Role::Finance => words::sign_in::ROLE_FINANCE,
        Role::Viewer => words::sign_in::ROLE_VIEWER,
        Role::CloudAdmin => words::sign_in::ROLE_ADMIN,
    }
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let proof = tenant.proof();
    let app = &state.app;
    let by_cloudstack = proof.kind() == Kind::CloudStack;
    let mut tx = app.store.read().await?;
    let which = if by_cloudstack && proof.user().is_none() {
        let claims = links::claimable(&mut tx, tenant.account().id, &app.config.access.user_prefix).await?;
        let claim = |claim: links::Claimable| Claim {
            id: claim.cloud_user_id,
            possible: claim.address.is_some(),
            username: claim.username,
        };
        Some(claims.into_iter().map(claim).collect::<Vec<_>>())
    } else {
        None
    };
    let address = match (by_cloudstack, proof.user()) {
        (true, Some(user)) => {
            let known = mapping::find_cloud_user(&mut tx, &user.to_string()).await?;
            let text = known.and_then(|user| user.email).unwrap_or_default();
            let parsed = EmailAddress::parse(&text).ok().filter(EmailAddress::looks_deliverable);
            let confirmed = match &parsed {
                Some(address) => mapping::list_confirmed_with(&mut tx, &address.person())
                    .await?
                    .iter()
                    .any(|row| row.cloud_user_id == user.to_string()),
                None => false,
            };
            Some((parsed.map(|address| address.to_string()).unwrap_or_default(), confirmed))
        }
        _ => None,
    };
    let (issuer, _) = proof.person();
    let label = state.issuers.list().find(|known| known.issuer == issuer).map(|known| known.label.clone());
    pages::show(&You {
        frame: Frame::around(&state, &tenant, Page::You),
        said: match after.done.as_str() {
            "account" => Some(words::sign_in::SWITCHED),
            "address" => Some(words::sign_in::ADDRESS_DONE),
            "user" => Some(words::sign_in::WHICH_CHANGED),
            "sent" => Some(words::sign_in::WHICH_SENT),
            "no-mail" => Some(words::sign_in::NO_MAIL),
            _ => None,
        },
        name: proof.username().to_owned(),
        way: if by_cloudstack { words::sign_in::BY_CLOUDSTACK.to_owned() } else { label.unwrap_or_default() },
        account: tenant.account().full_name(),
        role: role_words(tenant.role()),
        nobody_claimable: which.as_ref().is_some_and(|claims| claims.iter().all(|claim| !claim.possible)),
        which,
        address,
        ways: if by_cloudstack {
            state.issuers.list().map(|issuer| (issuer.name.clone(), words::sign_in::with(&issuer.label))).collect()
        } else {
            Vec::new()
        },
        mails: mail::settings(app).sends() && app.config.web.public_url.is_some(),
    })
}

/// Shows another account of the person.
pub(super) async fn switch_account(State(state): State<WebState>, form: TenantForm<See>) -> Result<Response, Failure> {
    let account = form.fields.get("account").parse().map(AccountId::new);
    let account = account.map_err(|_| Failure::forbidden(words::NOT_YOURS))?;
    // The choices of this very moment, not of when the page was opened: proving again does not read them.
    let proof = form.tenant.proof();
    session::switch(&state, proof, account).await?;
    Ok(pages::done(&state, Page::You, "account"))
}

/// Sends a link to the confirmed address of the user that somebody says to be.
pub(super) async fn claim_user(State(state): State<WebState>, form: TenantForm<Own>) -> Result<Response, Failure> {
    let proof = form.tenant.proof();
    let account = form.tenant.account();
    if proof.kind() != Kind::CloudStack || proof.user().is_some() {
        return Err(Failure::forbidden(words::NOT_YOURS));
    }
    let mut tx = state.app.store.begin().await?;
    let claims = links::claimable(&mut tx, account.id, &state.app.config.access.user_prefix).await?;
    let claim = claims.into_iter().find(|claim| claim.cloud_user_id == form.fields.get("user"));
    let (user, address) = claim
        .and_then(|claim| Some((claim.cloud_user_id, claim.address?)))
        .ok_or_else(|| Failure::bad(words::sign_in::WHICH_NO_ADDRESS))?;
    limit(&state, account.id)?;
    let note = note(
        &state,
        ("user", "user-link"),
        (words::sign_in::MAIL_USER_HEADLINE, words::sign_in::MAIL_USER_TEXT),
        (account.id, &user, &address, proof.tied_to()),
    );
    let sent = send(&state, &mut tx, &address, note).await?;
    tx.commit().await?;
    Ok(pages::done(&state, Page::You, sent_or_not(sent)))
}

/// Sends a link to the person's own address, as CloudStack has it.
pub(super) async fn confirm_address(State(state): State<WebState>, form: TenantForm<Own>) -> Result<Response, Failure> {
    let proof = form.tenant.proof();
    let (Kind::CloudStack, Some(user)) = (proof.kind(), proof.user()) else {
        return Err(Failure::forbidden(words::WHO_OF_THEM));
    };
    let user = user.to_string();
    let mut tx = state.app.store.begin().await?;
    let known = mapping::find_cloud_user(&mut tx, &user).await?;
    let known = known.ok_or_else(|| Failure::bad(words::sign_in::ADDRESS_NONE))?;
    let address = known.email.as_deref().and_then(|text| EmailAddress::parse(text).ok());
    let address =
        address.filter(EmailAddress::looks_deliverable).ok_or_else(|| Failure::bad(words::sign_in::ADDRESS_NONE))?;
    limit(&state, known.account_id)?;
    let note = note(
        &state,
        ("address", "address-link"),
        (words::sign_in::MAIL_ADDRESS_HEADLINE, words::sign_in::MAIL_ADDRESS_TEXT),
        (known.account_id, &user, &address, proof.tied_to()),
    );
    let sent = send(&state, &mut tx, &address, note).await?;
    tx.commit().await?;
    Ok(pages::done(&state, Page::You, sent_or_not(sent)))
}

fn limit(state: &WebState, account: AccountId) -> Result<(), Failure> {
    let allowed = state.desk.limits.take(Limit::Letters, &account.to_string(), state.app.clock.now());
    if allowed { Ok(()) } else { Err(Failure::too_many()) }
}

fn note<'a>(
    state: &WebState,
    (purpose, kind): (&'a str, &'static str),
    (headline, text): (&str, &str),
    (account, user, address, tied_to): (AccountId, &'a str, &'a EmailAddress, &'a str),
) -> Note<'a> {
    let link = NewLink {
        purpose,
        account,
        cloud_user_id: user,
        notice_id: None,
        proof_hash: tied_to,
        recipient: address.as_str(),
        expires: state.app.clock.now().plus(PROOF_LASTS),
        delete_request: None,
    };
    Note {
        key: format!("{kind}/{}", state.app.random.uuid()),
        kind,
        headline: headline.to_owned(),
        paragraphs: vec![text.to_owned()],
        link: Some((words::sign_in::MAIL_OPEN, link)),
    }
}

const fn sent_or_not(sent: bool) -> &'static str {
    if sent { "sent" } else { "no-mail" }
}

async fn send(
    state: &WebState,
    tx: &mut crate::store::Tx,
    address: &EmailAddress,
    note: Note<'_>,
) -> Result<bool, Failure> {
    let settings = mail::settings(&state.app);
    let now = state.app.clock.now();
    Ok(notify::write_note(tx, &settings, state.app.random.as_ref(), address, note, now).await?)
}
