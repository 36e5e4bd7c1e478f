//! Authorisation as types: a handler that takes one of these can not be reached without the proof.

use std::marker::PhantomData;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};

use super::{
    WebState,
    error::Failure,
    pages::{self, InCloudStack, Visitor},
    rights::{Right, Role, See},
    session::{Choice, Kind, Proof, prove_again},
    words,
};
use crate::{
    approver::Approver,
    cloudstack::session::ForwardedSession,
    ids::CloudId,
    secrets::{Secret, token_hash},
    store::{StoreError, Tx, cloud::Account, mapping},
};

/// A signed-in person with a right, for the account that was proven and no other.
pub(super) struct Tenant<R: Right = See> {
    proof: Proof,
    right: PhantomData<R>,
}

/// What acts on a person's own CloudStack user: that user, and the person's own session.
pub(super) struct OwnSession {
    /// The user; its id was told by CloudStack.
    pub(super) user: CloudId,
    /// The account that the user belongs to, whichever account is looked at.
    pub(super) home: Account,
    /// The session, whole.
    pub(super) session: ForwardedSession,
}

impl<R: Right> Tenant<R> {
    fn of(proof: Proof) -> Result<Self, Failure> {
        if !R::is_with(proof.role()) {
            return Err(Failure::forbidden(words::NOT_YOURS));
        }
        Ok(Self { proof, right: PhantomData })
    }

    /// The person's own account.
    pub(super) const fn account(&self) -> &Account {
        self.proof.account()
    }

    /// The account that the person's own user belongs to; [`Tenant::account`] is another one after a switch to a mapped account.
    pub(super) const fn home(&self) -> &Account {
        self.proof.home()
    }

    /// Whether the account's own person looks at a page: no administrator, also where one was given the account to look into, and no
    /// script.
    pub(super) fn sees_notices(&self) -> bool {
        self.proof.sees_notices()
    }

    /// Whether a person opened the page with this request.
    pub(super) const fn navigates(&self) -> bool {
        self.proof.navigates()
    }

    /// What the person may do for it.
    pub(super) fn role(&self) -> Role {
        self.proof.role()
    }

    /// The CloudStack user, where it is known who of the account it is.
    pub(super) fn user(&self) -> Option<CloudId> {
        self.proof.user()
    }

    /// The person's own user, where that is a user of the account that is looked at.
    pub(super) fn user_of_account(&self) -> Option<CloudId> {
        self.user().filter(|_| self.home().id == self.account().id)
    }

    /// The person's own CloudStack session; refused where nobody knows which person of the account it is.
    pub(super) fn own_session(&self) -> Result<OwnSession, Failure> {
        let session = self.proof.forwarded().ok_or_else(|| Failure::forbidden(words::sign_in::ONLY_IN_CLOUDSTACK))?;
        let user = self.user().ok_or_else(|| Failure::forbidden(words::WHO_OF_THEM))?;
        Ok(OwnSession { user, home: self.home().clone(), session: session.clone() })
    }

    /// What the person was let in with.
    pub(super) const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// The name for the audit trail.
    pub(super) fn author(&self) -> String {
        format!("{} ({})", self.username(), self.account().full_name())
    }
}

/// Somebody on the page of a suspended account: by a signed link to it, or by an OpenID issuer.
pub(super) struct Suspended {
    proof: Proof,
}

impl Suspended {
    /// The account.
    pub(super) const fn account(&self) -> &Account {
        self.proof.account()
    }

    /// Whether the person may look at more than this page.
    pub(super) fn may_look_around(&self) -> bool {
        self.proof.kind() == Kind::OpenId && matches!(self.proof.role(), Role::Owner | Role::CloudAdmin)
    }

    /// Whether the account's own person looks at the page, and no administrator or script.
    pub(super) fn sees_notices(&self) -> bool {
        self.proof.sees_notices()
    }

    /// The signed link that the person came by.
    pub(super) const fn link(&self) -> Option<i64> {
        self.proof.link()
    }

    /// The name for the audit trail.
    pub(super) fn author(&self) -> String {
        match self.proof.link() {
            Some(link) => format!("link {link}"),
            None => format!("{} ({})", self.proof.username(), self.account().full_name()),
        }
    }

    /// The token for forms.
    pub(super) fn csrf(&self) -> &str {
        self.proof.csrf()
    }
}

impl FromRequestParts<WebState> for Suspended {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &WebState) -> Result<Self, Failure> {
        Ok(Self { proof: proof(parts)? })
    }
}

/// A form of somebody with any session, for what any session may do: ask for more time, sign out.
pub(super) struct AnyForm {
    /// Who sent it.
    pub(super) who: Suspended,
    /// What was filled in.
    pub(super) fields: Fields,
    /// Under what the session is stored.
    pub(super) session: String,
}

impl FromRequest<WebState> for AnyForm {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &WebState) -> Result<Self, Failure> {
        let (proof, fields) = read_form(request, state).await?;
        if !Secret::new(proof.csrf()).matches(fields.get("csrf")) {
            return Err(Failure::forbidden(words::NOT_FROM_HERE));
        }
        let session = proof.hash().to_owned();
        Ok(Self { who: Suspended { proof }, fields, session })
    }
}

/// A form without a session: somebody who is not signed in yet. It must come from a page of the same origin.
pub(super) struct StrangersForm(pub(super) Fields);

impl FromRequest<WebState> for StrangersForm {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &WebState) -> Result<Self, Failure> {
        if !comes_from_here(request.headers(), state.app.config.web.public_url.as_ref()) {
            return Err(Failure::forbidden(words::NOT_FROM_HERE));
        }
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Failure::new(rejection.status(), "bad-request", words::NOT_LIKE_THIS))?;
        Ok(Self(Fields(url::form_urlencoded::parse(&body).into_owned().collect())))
    }
}

impl<R: Right> Visitor for Tenant<R> {
    fn username(&self) -> &str {
        self.proof.username()
    }

    fn csrf(&self) -> &str {
        self.proof.csrf()
    }

    fn administers(&self) -> bool {
        self.proof.role() == Role::CloudAdmin
    }

    fn choices(&self) -> &[Choice] {
        self.proof.choices()
    }

    fn signs_out(&self) -> bool {
        self.proof.kind() != Kind::CloudStack
    }

    fn standing_in_cloudstack(&self) -> InCloudStack {
        in_cloudstack(&self.proof)
    }
}

impl<R: Right> FromRequestParts<WebState> for Tenant<R> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &WebState) -> Result<Self, Failure> {
        Self::of(proof(parts)?)
    }
}

/// A signed-in administrator of the cloud.
pub(super) struct CloudAdmin {
    proof: Proof,
}

impl CloudAdmin {
    fn of(proof: &Proof) -> Result<Self, Failure> {
        if proof.role() != Role::CloudAdmin {
            return Err(Failure::forbidden(words::NOT_YOURS));
        }
        Ok(Self { proof: proof.clone() })
    }

    /// The name for the audit trail.
    pub(super) fn author(&self) -> String {
        format!("{} ({})", self.proof.username(), self.proof.account().full_name())
    }

    /// The person where two administrators have to approve: by the user of CloudStack or by the issuer's subject, not by name.
    pub(super) async fn approver(&self, tx: &mut Tx) -> Result<Approver, StoreError> {
        let user = self.proof.user().map(|user| user.to_string());
        if self.proof.kind() != Kind::OpenId {
            return Ok(Approver::by_cloudstack(self.author(), self.proof.home().id, user.as_deref()));
        }
        let (issuer, subject) = self.proof.person();
        let mapped = mapping::list_bindings_of(tx, issuer, subject).await?;
        let mapped = mapped.iter().map(|binding| (binding.account_id, binding.cloud_user_id.as_deref()));
        Ok(Approver::by_openid(self.author(), issuer, subject, mapped))
    }
}

impl Visitor for CloudAdmin {
    fn username(&self) -> &str {
        self.proof.username()
    }

    fn csrf(&self) -> &str {
        self.proof.csrf()
    }

    fn administers(&self) -> bool {
        true
    }

    fn choices(&self) -> &[Choice] {
        self.proof.choices()
    }

    fn signs_out(&self) -> bool {
        self.proof.kind() != Kind::CloudStack
    }

    fn standing_in_cloudstack(&self) -> InCloudStack {
        in_cloudstack(&self.proof)
    }
}

impl FromRequestParts<WebState> for CloudAdmin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &WebState) -> Result<Self, Failure> {
        Self::of(&proof(parts)?)
    }
}

fn in_cloudstack(proof: &Proof) -> InCloudStack {
    match (proof.kind(), proof.user()) {
        (Kind::CloudStack, Some(_)) => InCloudStack::SignedIn,
        (_, Some(_)) => InCloudStack::Known,
        (_, None) => InCloudStack::Unknown,
    }
}

fn proof(parts: &Parts) -> Result<Proof, Failure> {
    parts.extensions.get::<Proof>().cloned().ok_or_else(|| Failure::sign_in(words::SIGN_IN))
}

/// The fields of a form.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// A field without blanks around it; empty where it is missing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.exact(name).trim()
    }

    /// A field as it was typed: a password may begin with a blank.
    pub(super) fn exact(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.as_str())
    }

    /// Whether a box was ticked.
    pub(super) fn is_on(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// The key of a form, so that sending it twice does it once: `what` it is about, and the nonce of the page.
    pub(super) fn key(&self, what: &str) -> Result<String, Failure> {
        let nonce = self.get("nonce");
        if nonce.len() != pages::NONCE_BYTES * 2 || !nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Failure::forbidden(words::NOT_FROM_HERE));
        }
        Ok(format!("web/{what}/{nonce}"))
    }

    /// A line of text, at most `most` characters.
    pub(super) fn line(&self, name: &str, most: usize) -> Result<String, Mistake> {
        let text = self.get(name);
        if text.chars().count() > most {
            return Err(Mistake::new(name, words::too_long(most)));
        }
        if text.chars().any(char::is_control) {
            return Err(Mistake::new(name, words::NO_CONTROL_SIGNS));
        }
        Ok(text.to_owned())
    }

    /// A line that must not be empty; `missing` says what is wanted.
    pub(super) fn needed(&self, name: &str, most: usize, missing: &str) -> Result<String, Mistake> {
        let text = self.line(name, most)?;
        if text.is_empty() { Err(Mistake::new(name, missing)) } else { Ok(text) }
    }
}

/// What is wrong with one field, told beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The field's name.
    pub(super) field: String,
    /// What to do about it.
    pub(super) text: String,
}

impl Mistake {
    /// Something is wrong with a field.
    pub(super) fn new(field: &str, text: impl Into<String>) -> Self {
        Self { field: field.to_owned(), text: text.into() }
    }
}

/// A form that a tenant sent from one of bursar's pages, proven by CloudStack at this moment.
pub(super) struct TenantForm<R: Right> {
    /// Who sent it.
    pub(super) tenant: Tenant<R>,
    /// What was filled in.
    pub(super) fields: Fields,
}

impl<R: Right> FromRequest<WebState> for TenantForm<R> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &WebState) -> Result<Self, Failure> {
        let (proof, fields) = read_form(request, state).await?;
        let tenant = admit(state, &proof, fields.get("csrf")).await?;
        Ok(Self { tenant, fields })
    }
}

/// Lets a tenant's form in whose token was read: right first, then CloudStack is asked once more who that is.
pub(super) async fn admit<R: Right>(state: &WebState, proof: &Proof, csrf: &str) -> Result<Tenant<R>, Failure> {
    if !Secret::new(proof.csrf()).matches(csrf) {
        return Err(Failure::forbidden(words::NOT_FROM_HERE));
    }
    // Before CloudStack is asked: who may not do this need not be proven.
    Tenant::<R>::of(proof.clone())?;
    Tenant::of(prove_again(state, proof).await?)
}

/// The proof of a form that came from a page of the same origin; its token is still to be looked at.
pub(super) fn proof_of_form(parts: &Parts, state: &WebState) -> Result<Proof, Failure> {
    let proof = proof(parts)?;
    if !comes_from_here(&parts.headers, state.app.config.web.public_url.as_ref()) {
        return Err(Failure::forbidden(words::NOT_FROM_HERE));
    }
    Ok(proof)
}

async fn read_form(request: Request, state: &WebState) -> Result<(Proof, Fields), Failure> {
    let (parts, body) = request.into_parts();
    let proof = proof_of_form(&parts, state)?;
    let body = Bytes::from_request(Request::from_parts(parts, body), state)
        .await
        .map_err(|rejection| Failure::new(rejection.status(), "bad-request", words::NOT_LIKE_THIS))?;
    Ok((proof, Fields(url::form_urlencoded::parse(&body).into_owned().collect())))
}

/// A form that an administrator sent from one of bursar's pages, proven by CloudStack at this moment.
pub(super) struct AdminForm {
    /// Who sent it.
    pub(super) admin: CloudAdmin,
    /// What was filled in.
    pub(super) fields: Fields,
}

impl FromRequest<WebState> for AdminForm {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &WebState) -> Result<Self, Failure> {
        let (proof, fields) = read_form(request, state).await?;
        if !Secret::new(proof.csrf()).matches(fields.get("csrf")) {
            return Err(Failure::forbidden(words::NOT_FROM_HERE));
        }
        CloudAdmin::of(&proof)?;
        let proof = prove_again(state, &proof).await?;
        Ok(Self { admin: CloudAdmin::of(&proof)?, fields })
    }
}

/// Whether the browser says that the form came from a page of the same origin. Where it says nothing, the token decides.
fn comes_from_here(headers: &HeaderMap, public_url: Option<&url::Url>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = text(header::ORIGIN.as_str()).filter(|origin| *origin != "null") else { return true };
    let Some(authority) = origin.split_once("://").map(|(_, authority)| authority) else { return false };
    let is_public = public_url.is_some_and(|url| url.origin().ascii_serialization() == origin);
    is_public || text(header::HOST.as_str()) == Some(authority)
}

/// What a token for machines may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Read,
    Write,
}

impl Scope {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// The token of a machine.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) id: i64,
    pub(super) name: String,
    scopes: String,
}

impl Machine {
    fn may(&self, scope: Scope) -> bool {
        self.scopes.split([',', ' ']).any(|word| word == scope.as_str())
    }

    async fn of(parts: &Parts, state: &WebState, scope: Scope) -> Result<Self, Failure> {
        use super::limits::Limit;
        use crate::store::people;
        let unauthorized = || {
            Failure::new(
                axum::http::StatusCode::UNAUTHORIZED,
                "token",
                "a service token is needed: Authorization: Bearer bursar_…",
            )
        };
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .filter(|token| token.starts_with("bursar_"))
            .ok_or_else(unauthorized)?;
        let now = state.app.clock.now();
        let found = people::find_token(&mut state.app.store.read().await?, &token_hash(token)).await?;
        let Some(token) = found else {
            let allowed = state.desk.limits.take(Limit::UnknownTokens, "", now);
            return Err(if allowed { unauthorized() } else { Failure::too_many() });
        };
        if !state.desk.limits.take(Limit::Calls, &token.id.to_string(), now) {
            return Err(Failure::too_many());
        }
        let used = token.last_used_ms.map(crate::time::Timestamp::from_ms);
        if used.is_none_or(|used| now.since(used) >= std::time::Duration::from_mins(1)) {
            let mut tx = state.app.store.begin().await?;
            people::touch_token(&mut tx, token.id, now).await?;
            tx.commit().await?;
        }
        let machine = Self { id: token.id, name: token.name, scopes: token.scopes };
        if !machine.may(scope) {
            return Err(Failure::new(
                axum::http::StatusCode::FORBIDDEN,
                "scope",
                format!("this token lacks the scope \"{}\"", scope.as_str()),
            ));
        }
        Ok(machine)
    }

    /// The name for the audit trail.
    pub(super) fn author(&self) -> String {
        format!("token {}", self.name)
    }

    /// The token where two administrators have to approve: it counts as one of them.
    pub(super) fn approver(&self) -> Approver {
        Approver::by_token(self.author(), self.id)
    }
}

/// A machine that may read.
pub(super) struct Reader;

impl FromRequestParts<WebState> for Reader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Failure> {
        Machine::of(parts, state, Scope::Read).await.map(|_| Self)
    }
}

/// A machine that may change things.
pub(super) struct Writer(pub(super) Machine);

impl FromRequestParts<WebState> for Writer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Failure> {
        Machine::of(parts, state, Scope::Write).await.map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_form_from_elsewhere_is_told_by_what_the_browser_says() {
        let public = "https://cloud.example.com/".parse().unwrap();
        let here = |pairs: &[(&'static str, &str)]| comes_from_here(&headers(pairs), Some(&public));
        assert!(here(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(!here(&[("sec-fetch-site", "cross-site")]));
        assert!(!here(&[("sec-fetch-site", "same-site")]));
        assert!(here(&[("origin", "https://cloud.example.com")]));
        assert!(here(&[("origin", "http://localhost:8093"), ("host", "localhost:8093")]));
        assert!(!here(&[("origin", "https://evil.example.com"), ("host", "cloud.example.com")]));
        assert!(here(&[]), "the token decides");
    }
}
