//! Authorisation as types: a handler that takes one of these can not be reached without the proof.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};

use super::{
    WebState,
    error::Failure,
    session::{Proof, Role, prove_again},
    words,
};
use crate::{
    secrets::{Secret, token_hash},
    store::cloud::Account,
};

/// A signed-in person, for the account that was proven and no other.
pub(super) struct Tenant {
    account: Account,
    role: Role,
    username: String,
    navigates: bool,
}

impl Tenant {
    /// The person's own account.
    pub(super) const fn account(&self) -> &Account {
        &self.account
    }

    /// Whether the account's own person looks at a page: no administrator of the cloud, and no script.
    pub(super) fn sees_notices(&self) -> bool {
        self.navigates && self.role != Role::CloudAdmin
    }

    /// What the person may do for it.
    pub(super) const fn role(&self) -> Role {
        self.role
    }

    /// The person's name.
    pub(super) fn username(&self) -> &str {
        &self.username
    }
}

impl FromRequestParts<WebState> for Tenant {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &WebState) -> Result<Self, Failure> {
        let proof = proof(parts)?;
        Ok(Self {
            account: proof.account().clone(),
            role: proof.role(),
            username: proof.username().to_owned(),
            navigates: proof.navigates(),
        })
    }
}

/// A signed-in administrator of the cloud.
pub(super) struct CloudAdmin {
    account: Account,
    username: String,
    csrf: String,
}

impl CloudAdmin {
    fn of(proof: &Proof) -> Result<Self, Failure> {
        if proof.role() != Role::CloudAdmin {
            return Err(Failure::forbidden(words::NOT_YOURS));
        }
        Ok(Self {
            account: proof.account().clone(),
            username: proof.username().to_owned(),
            csrf: proof.csrf().to_owned(),
        })
    }

    /// The name for the audit trail.
    pub(super) fn author(&self) -> String {
        format!("{} ({})", self.username, self.account.full_name())
    }

    /// The person's name.
    pub(super) fn username(&self) -> &str {
        &self.username
    }

    /// The token for forms.
    pub(super) fn csrf(&self) -> &str {
        &self.csrf
    }
}

impl FromRequestParts<WebState> for CloudAdmin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &WebState) -> Result<Self, Failure> {
        Self::of(&proof(parts)?)
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
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.trim())
    }
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
        let (parts, body) = request.into_parts();
        let proof = proof(&parts)?;
        if !comes_from_here(&parts.headers, state.app.config.web.public_url.as_ref()) {
            return Err(Failure::forbidden(words::NOT_FROM_HERE));
        }
        let body = Bytes::from_request(Request::from_parts(parts, body), state)
            .await
            .map_err(|rejection| Failure::new(rejection.status(), "bad-request", words::NOT_LIKE_THIS))?;
        let fields = Fields(url::form_urlencoded::parse(&body).into_owned().collect());
        if !Secret::new(proof.csrf()).matches(fields.get("csrf")) {
            return Err(Failure::forbidden(words::NOT_FROM_HERE));
        }
        // Before CloudStack is asked: who may not do this need not be proven.
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
