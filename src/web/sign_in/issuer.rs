//! Signing in by OpenID Connect: to the issuer, and back.

use std::time::Duration;

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use crate::{
    people::{
        mapping::{self, SignedIn},
        oidc::{self, Seal},
    },
    secrets::{Secret, token_hash},
    store::sessions::{self, Attempt, KnownUser},
    web::{
        WebState,
        cookies::{Jar, SIGN_IN_COOKIE},
        error::Failure,
        limits::Limit,
        session::{Errand, SUSPENDED, begin_by_openid, set_cookie},
        words,
    },
};

/// How long a sign-in may take at the issuer.
const ATTEMPT_LASTS: Duration = Duration::from_mins(10);
/// Random bytes of the browser's cookie and of the state.
const TOKEN_BYTES: usize = 32;
/// Longest path to come back to.
const LONGEST_PATH: usize = 200;
/// Longest code that is taken.
const LONGEST_CODE: usize = 4_096;
/// How long it is remembered which user of the account a CloudStack session is: longer than any such session lasts unused.
const KNOWN_FOR: Duration = Duration::from_hours(12);

/// Where to come back to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Begin {
    to: String,
}

/// What an issuer sends back.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Finish {
    code: String,
    state: String,
    iss: Option<String>,
    error: String,
}

/// A path below the base path and nothing else: whatever else was asked for leads to the first page.
fn return_to(text: &str) -> &str {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_".contains(&b));
    if text.starts_with('/') && !text.starts_with("//") && plain && text.len() <= LONGEST_PATH { text } else { "/" }
}

/// What a sign-in is told apart by: state from a fresh token; nonce and verifier from it and the browser's cookie, so that the
/// store need not know them.
fn seal(browser: &str, state: &str) -> Seal {
    let derive = |context: &str| {
        let mut hash = blake3::Hasher::new_derive_key(context);
        for part in [browser, state] {
            hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Secret::new(hash.finalize().to_hex().to_string())
    };
    Seal {
        state: Secret::new(state),
        nonce: derive("bursar 2026 nonce of a sign-in by OpenID Connect"),
        verifier: derive("bursar 2026 PKCE verifier of a sign-in by OpenID Connect"),
    }
}

fn callback(state: &WebState, name: &str) -> Result<String, Failure> {
    let address = state.app.config.web.address();
    Ok(format!("{}/sign-in/{name}/callback", address.ok_or_else(|| Failure::missing(words::sign_in::ISSUER_MISSING))?))
}

fn failure(name: &str, error: &oidc::Error) -> Failure {
    let (status, words) = match error {
        oidc::Error::Unknown => (StatusCode::NOT_FOUND, words::sign_in::ISSUER_MISSING),
        oidc::Error::NotSetUp(_) | oidc::Error::Silent(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, words::sign_in::ISSUER_SILENT)
        }
        oidc::Error::Refused(_) => (StatusCode::FORBIDDEN, words::sign_in::ISSUER_REFUSED),
        oidc::Error::Wrong(_) => (StatusCode::BAD_GATEWAY, words::sign_in::ISSUER_WRONG),
    };
    if !matches!(error, oidc::Error::Unknown) {
        tracing::warn!(issuer = name, %error, "nobody was signed in");
    }
    Failure::new(status, "sign-in", words)
}

/// Sends the person to the issuer.
pub(super) async fn begin(
    State(state): State<WebState>,
    Path(name): Path<String>,
    Query(query): Query<Begin>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let now = state.app.clock.now();
    if state.issuers.find(&name).is_none() {
        return Err(failure(&name, &oidc::Error::Unknown));
    }
    // A page fetched in advance begins nothing.
    if Errand::of(&Method::GET, &headers) != Errand::Navigation {
        return Err(Failure::sign_in(words::SIGN_IN));
    }
    if !state.desk.limits.take(Limit::SignIns, "", now) {
        return Err(Failure::too_many());
    }
    // The cookie is the browser's for all of its sign-ins, so that two tabs do not end each other.
    let jar = Jar::read(&headers);
    let kept = jar.one(SIGN_IN_COOKIE).ok().filter(|text| is_token(text)).map(str::to_owned);
    let browser = kept.unwrap_or_else(|| state.app.random.hex(TOKEN_BYTES));
    let token = state.app.random.hex(TOKEN_BYTES);
    let redirect = callback(&state, &name)?;
    let url =
        state.issuers.begin(&name, &redirect, &seal(&browser, &token)).await.map_err(|error| failure(&name, &error))?;
    let attempt = Attempt { issuer_name: name, return_to: return_to(&query.to).to_owned() };
    let hashes = (token_hash(&token), token_hash(&browser));
    let mut tx = state.app.store.begin().await?;
    sessions::purge_sessions(&mut tx, now).await?;
    let until = now.plus(ATTEMPT_LASTS);
    sessions::insert_attempt(&mut tx, (&hashes.0, &hashes.1), &attempt, now, until).await?;
    tx.commit().await?;
    let life = format!("; Max-Age={}", ATTEMPT_LASTS.as_secs());
    let cookie = set_cookie(&state, SIGN_IN_COOKIE, &browser, "/sign-in", &life)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(url.as_str())).into_response())
}

fn is_token(text: &str) -> bool {
    text.len() == TOKEN_BYTES * 2 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Takes the person back from the issuer.
pub(super) async fn finish(
    State(state): State<WebState>,
    Path(name): Path<String>,
    Query(query): Query<Finish>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let now = state.app.clock.now();
    // Only what nobody waits for is limited: whoever was sent to the issuer comes back.
    let anew = || {
        if state.desk.limits.take(Limit::Returns, "", now) {
            Failure::new(StatusCode::BAD_REQUEST, "sign-in", words::sign_in::BEGIN_ANEW)
        } else {
            Failure::too_many()
        }
    };
    let jar = Jar::read(&headers);
    let browser = jar.one(SIGN_IN_COOKIE).ok().filter(|text| is_token(text)).ok_or_else(anew)?.to_owned();
    if !is_token(&query.state) {
        return Err(anew());
    }
    // Taken once, whatever comes of it: an answer that is sent again finds nothing.
    let mut tx = state.app.store.begin().await?;
    let attempt = sessions::take_attempt(&mut tx, &token_hash(&query.state), &token_hash(&browser), now).await?;
    tx.commit().await?;
    // An answer that comes to another issuer's address would be a mix-up of the two.
    let attempt = attempt.filter(|attempt| attempt.issuer_name == name).ok_or_else(anew)?;
    if !query.error.is_empty() || query.code.is_empty() || query.code.len() > LONGEST_CODE {
        return Err(Failure::new(StatusCode::FORBIDDEN, "sign-in", words::sign_in::ISSUER_REFUSED));
    }
    let redirect = callback(&state, &name)?;
    let seal = seal(&browser, &query.state);
    let claims = state
        .issuers
        .finish(&name, &redirect, &seal, &query.code, query.iss.as_deref())
        .await
        .map_err(|error| failure(&name, &error))?;
    let settings = state.issuers.find(&name).ok_or_else(anew)?;
    let forwarded = jar.cloudstack(&state.app.config.web.trusted_affinity_cookies);
    let tied_to = jar.tied_to(&forwarded);
    let now = state.app.clock.now();
    let mut tx = state.app.store.begin().await?;
    let prefix = &state.app.config.access.user_prefix;
    let ways = match mapping::sign_in(&mut tx, &claims, settings.trusted, prefix, now).await? {
        SignedIn::Mapped(ways) => ways,
        SignedIn::Waits => {
            tx.commit().await?;
            return Err(Failure::forbidden(&format!("{}. {}", words::sign_in::WAITING_TITLE, words::sign_in::WAITING)));
        }
        SignedIn::Refused => return Err(Failure::forbidden(words::sign_in::REFUSED)),
    };
    let base = &state.app.config.web.base_path;
    // Somebody of an account with several people, whom CloudStack let in a moment ago: it is known now who (rule 20), and the
    // session stays CloudStack's.
    if let Some(own) = jar.own() {
        let hash = token_hash(own);
        let session = sessions::find_session(&mut tx, &hash, now).await?;
        let session =
            session.filter(|s| s.kind == "cloudstack" && s.cloud_user_id.is_empty() && s.proof_hash == tied_to);
        let found = session.and_then(|session| {
            let way = ways.iter().find(|way| way.account.id == session.home_account_id)?;
            Some((way.account.id, way.cloud_user_id.clone()?, way.by_address))
        });
        if let Some((account_id, cloud_user_id, by_address)) = found {
            let how = if by_address { "address" } else { "openid" }.to_owned();
            let known = KnownUser { account_id, cloud_user_id, how };
            sessions::put_known_user(&mut tx, &tied_to, &known, now, now.plus(KNOWN_FOR)).await?;
            sessions::end_session(&mut tx, &hash).await?;
            tx.commit().await?;
            let to = Redirect::to(&format!("{base}{}", attempt.return_to));
            return Ok(to.into_response());
        }
    }
    let (cookie, suspended) = begin_by_openid(&state, &mut tx, &claims, &ways, (jar.own(), &tied_to)).await?;
    tx.commit().await?;
    let to = if suspended { SUSPENDED } else { &attempt.return_to };
    // The browser's cookie stays for its other sign-ins: what came back is used, and it is good for nothing else.
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&format!("{base}{to}"))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for text in ["/usage", "/admin/accounts", "/"] {
            assert_eq!(return_to(text), text);
        }
        for text in [
            "",
            "usage",
            "//evil.example.com",
            "/\\evil.example.com",
            "https://evil.example.com/",
            "/usage?x=y",
            "/%2e%2e/",
            "/..",
            "/a\r\nset-cookie: x",
            "javascript:alert(1)",
        ] {
            assert_eq!(return_to(text), "/", "{text}");
        }
    }

    #[test]
    fn nonce_and_verifier_belong_to_one_browser_and_one_sign_in() {
        let one = seal("browser", "state");
        assert_eq!(one.verifier.expose().len(), 64);
        assert_ne!(one.verifier.expose(), one.nonce.expose());
        for other in [seal("another", "state"), seal("browser", "another"), seal("browse", "rstate")] {
            assert_ne!(one.nonce.expose(), other.nonce.expose());
            assert_ne!(one.verifier.expose(), other.verifier.expose());
        }
    }
}
