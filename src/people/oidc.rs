//! OpenID Connect: sending a person to an issuer, and believing what comes back.
//!
//! Promises: the code flow with PKCE, state and nonce, and nothing else; tokens are taken only with a signature by a key
//! of the issuer itself, by an algorithm that needs such a key (never `none`, never a shared secret); redirects of an issuer's
//! server are not followed; what a server says is bounded in time and size. Must not: store anything, or know who may do
//! what. No token, code or secret reaches a log.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openidconnect::{
    AccessTokenHash, AsyncHttpClient, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret,
    CsrfToken, HttpRequest, HttpResponse, IssuerUrl, JsonWebKey as _, JwsSigningAlgorithm as _, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope,
    SignatureVerificationError, SubjectIdentifier, TokenResponse as _,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdTokenClaims, CoreJsonWebKey, CoreJsonWebKeyUse,
        CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreUserInfoClaims,
    },
};
use url::Url;

use crate::{
    config,
    email::EmailAddress,
    random::RandomSource,
    secrets::Secret,
    time::{Clock, Timestamp},
};

/// Longest time of one question to an issuer. A sign-in asks four at most, within the time of one request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer taken; key sets of large issuers have some 20 KiB.
const ANSWER_LIMIT: usize = 256 * 1024;
/// How long an issuer's addresses and keys are believed.
const CACHED_FOR: Duration = Duration::from_hours(1);
/// An unknown key is looked up anew at most this often.
const REFRESHED_AFTER: Duration = Duration::from_mins(1);
/// How far an issuer's clock may be off.
const SKEW: Duration = Duration::from_mins(2);
/// A token is taken for so long after it was made, whatever end it names.
const OLDEST_TOKEN: Duration = Duration::from_mins(10);
/// Longest subject that is taken (OpenID Connect Core, 2: at most 255 characters).
const LONGEST_SUBJECT: usize = 255;
/// Longest name that is kept.
const LONGEST_NAME: usize = 100;

/// What a token may be signed with: a key that only the issuer has.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Why nobody is signed in. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration has no such issuer.
    #[error("there is no issuer of this name")]
    Unknown,
    /// It can not be set up: a file of authorities that does not read, or the like.
    #[error("the issuer can not be asked: {0}")]
    NotSetUp(String),
    /// It did not answer, or with an error of its own.
    #[error("the issuer did not answer: {0}")]
    Silent(String),
    /// It refused the code: it was used before, or is another one's.
    #[error("the issuer refused the sign-in: {0}")]
    Refused(String),
    /// It answered with something that can not be believed.
    #[error("the issuer's answer can not be believed: {0}")]
    Wrong(String),
}

/// A person whom an issuer vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The issuer.
    pub issuer: String,
    /// The person there.
    pub subject: String,
    /// A name for people; may be empty.
    pub name: String,
    /// The address, if the issuer tells one that reads.
    pub email: Option<EmailAddress>,
    /// Whether the issuer says that it was verified.
    pub email_verified: bool,
}

/// What a sign-in is told apart by. Made anew each time.
#[derive(Debug, Clone)]
pub struct Seal {
    /// Comes back in the address.
    pub state: Secret,
    /// Comes back in the token.
    pub nonce: Secret,
    /// Goes with the code; the issuer has seen its hash.
    pub verifier: Secret,
}

/// What an issuer said when nobody was to be signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Keys of a kind that tokens are taken with.
    pub keys: usize,
    /// Scopes of the configuration that it does not offer; empty where it does not tell what it offers.
    pub unknown_scopes: Vec<String>,
    /// Whether it knows bursar.
    pub client: ClientWord,
}

/// Whether an issuer knows bursar as its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientWord {
    /// It does.
    Known,
    /// It does not, or the secret is another one; with its word for it.
    Refused(String),
    /// It did not say.
    Untold(String),
}

/// The issuers of the configuration, with what is known of them. Cheap to clone.
#[derive(Clone)]
pub struct Issuers {
    known: Arc<[Known]>,
    clock: Arc<dyn Clock>,
}

struct Known {
    settings: config::Issuer,
    http: Result<reqwest::Client, String>,
    cached: Mutex<Option<(CoreProviderMetadata, Timestamp)>>,
}

/// Why an answer did not come, for the crate that asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoAnswer(String);

impl Issuers {
    /// The issuers of a configuration. Asks nobody yet.
    pub fn new(issuers: &[config::Issuer], clock: Arc<dyn Clock>) -> Self {
        let known = issuers
            .iter()
            .map(|settings| Known { http: http(settings), settings: settings.clone(), cached: Mutex::default() })
            .collect();
        Self { known, clock }
    }

    /// Every issuer, in the order of their names.
    pub fn list(&self) -> impl Iterator<Item = &config::Issuer> {
        self.known.iter().map(|known| &known.settings)
    }

    /// The issuer of a name.
    pub fn find(&self, name: &str) -> Option<&config::Issuer> {
        self.list().find(|settings| settings.name == name)
    }

    fn known(&self, name: &str) -> Result<&Known, Error> {
        self.known.iter().find(|known| known.settings.name == name).ok_or(Error::Unknown)
    }

    /// Where the person is to be sent, so that the answer comes back to `redirect`.
    pub async fn begin(&self, name: &str, redirect: &str, seal: &Seal) -> Result<Url, Error> {
        let known = self.known(name)?;
        let metadata = known.metadata(self.clock.now(), CACHED_FOR).await?;
        let client =
            CoreClient::from_provider_metadata(metadata, ClientId::new(known.settings.client_id.clone()), None)
                .set_redirect_uri(redirect_url(redirect)?);
        let (state, nonce) =
            (CsrfToken::new(seal.state.expose().to_owned()), Nonce::new(seal.nonce.expose().to_owned()));
        let verifier = PkceCodeVerifier::new(seal.verifier.expose().to_owned());
        let mut request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        for scope in &known.settings.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        Ok(request.url().0)
    }

    /// Whether somebody could sign in: discovery and keys are read, and a made-up code is handed in, which an issuer refuses
    /// (RFC 6749, 5.2) as `invalid_grant` where it knows the client, and as `invalid_client` where it does not.
    pub async fn look(&self, name: &str, redirect: &str, random: &dyn RandomSource) -> Result<Outlook, Error> {
        let known = self.known(name)?;
        let metadata = known.metadata(self.clock.now(), Duration::ZERO).await?;
        let keys = metadata.jwks().keys().iter().filter(|key| signs(key)).count();
        let offered = metadata.scopes_supported();
        let unknown_scopes =
            known.settings.scopes.iter().filter(|scope| {
                offered.is_some_and(|offered| !offered.iter().any(|one| one.as_str() == scope.as_str()))
            });
        let unknown_scopes = unknown_scopes.cloned().collect();
        let made_up = || Secret::new(random.hex(32));
        let seal = Seal { state: made_up(), nonce: made_up(), verifier: made_up() };
        let client = match known.exchange(metadata, redirect, &seal, made_up().expose()).await {
            Err(Error::Refused(why)) if why == "invalid_grant" => ClientWord::Known,
            Err(Error::Refused(why)) if matches!(why.as_str(), "invalid_client" | "unauthorized_client") => {
                ClientWord::Refused(why)
            }
            Err(error) => ClientWord::Untold(error.to_string()),
            Ok(_) => ClientWord::Untold("it took a code that was made up".to_owned()),
        };
        Ok(Outlook { keys, unknown_scopes, client })
    }

    /// Who came back with a code. `issuer` is what the answer itself names (RFC 9207), if it does.
    pub async fn finish(
        &self,
        name: &str,
        redirect: &str,
        seal: &Seal,
        code: &str,
        issuer: Option<&str>,
    ) -> Result<Claims, Error> {
        let known = self.known(name)?;
        if issuer.is_some_and(|issuer| issuer != known.settings.issuer) {
            return Err(Error::Wrong("the answer is another issuer's".to_owned()));
        }
        let now = self.clock.now();
        let mut metadata = known.metadata(now, CACHED_FOR).await?;
        let answer = known.exchange(metadata.clone(), redirect, seal, code).await?;
        let token = answer.id_token().ok_or_else(|| Error::Wrong("there is no identity token".to_owned()))?;
        let claims = match known.verify(&metadata, &answer, seal, now) {
            // A key that is not known yet: issuers change theirs.
            Err(Unverified::UnknownKey) => {
                metadata = known.metadata(now, REFRESHED_AFTER).await?;
                known.verify(&metadata, &answer, seal, now).map_err(Unverified::into_error)?
            }
            verified => verified.map_err(Unverified::into_error)?,
        };
        if let Some(hash) = claims.access_token_hash() {
            let algorithm = token.signing_alg().map_err(|error| Error::Wrong(error.to_string()))?;
            let key =
                AccessTokenHash::from_token(answer.access_token(), algorithm, &known.signing_key(&metadata, token)?)
                    .map_err(|error| Error::Wrong(error.to_string()))?;
            if key != *hash {
                return Err(Error::Wrong("the access token does not belong to the identity token".to_owned()));
            }
        }
        let subject = claims.subject().as_str();
        if subject.is_empty() || subject.chars().count() > LONGEST_SUBJECT || subject.chars().any(char::is_control) {
            return Err(Error::Wrong("the subject is empty or too long".to_owned()));
        }
        let mut person = Claims {
            issuer: known.settings.issuer.clone(),
            subject: subject.to_owned(),
            name: name_of(&claims),
            email: claims.email().and_then(|email| EmailAddress::parse(email).ok()),
            email_verified: claims.email_verified().unwrap_or(false),
        };
        // Many issuers tell the address only when asked once more.
        if claims.email().is_none() && metadata.userinfo_endpoint().is_some() {
            known.ask_for_address(metadata, answer.access_token().clone(), &mut person).await?;
        }
        Ok(person)
    }
}

impl Known {
    fn carrier(&self) -> Result<Carrier, Error> {
        self.http.clone().map(Carrier).map_err(Error::NotSetUp)
    }

    /// The issuer's addresses and keys, not older than `oldest`.
    async fn metadata(&self, now: Timestamp, oldest: Duration) -> Result<CoreProviderMetadata, Error> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((metadata, at)) = cached
            && at <= now
            && now.since(at) < oldest
        {
            return Ok(metadata);
        }
        let issuer =
            IssuerUrl::new(self.settings.issuer.clone()).map_err(|error| Error::NotSetUp(error.to_string()))?;
        let carrier = self.carrier()?;
        let metadata = CoreProviderMetadata::discover_async(issuer, &carrier).await.map_err(|error| match error {
            openidconnect::DiscoveryError::Request(NoAnswer(why)) => Error::Silent(why),
            openidconnect::DiscoveryError::Response(status, ..) if status.is_server_error() => {
                Error::Silent(format!("discovery: {status}"))
            }
            openidconnect::DiscoveryError::Response(status, ..) => Error::Wrong(format!("discovery: {status}")),
            openidconnect::DiscoveryError::Validation(why) => Error::Wrong(why),
            other => Error::Wrong(format!("discovery: {other}")),
        })?;
        let plain = self.settings.issuer.starts_with("http://");
        let addresses = [
            Some(metadata.authorization_endpoint().url()),
            metadata.token_endpoint().map(openidconnect::TokenUrl::url),
            metadata.userinfo_endpoint().map(openidconnect::UserInfoUrl::url),
            Some(metadata.jwks_uri().url()),
        ];
        if addresses.into_iter().flatten().any(|url| url.scheme() != "https" && !(plain && url.scheme() == "http")) {
            return Err(Error::Wrong("an address of the issuer is without TLS".to_owned()));
        }
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some((metadata.clone(), now));
        Ok(metadata)
    }

    async fn exchange(
        &self,
        metadata: CoreProviderMetadata,
        redirect: &str,
        seal: &Seal,
        code: &str,
    ) -> Result<openidconnect::core::CoreTokenResponse, Error> {
        let secret = self.settings.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let methods = metadata.token_endpoint_auth_methods_supported();
        let in_body = methods.is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let mut client =
            CoreClient::from_provider_metadata(metadata, ClientId::new(self.settings.client_id.clone()), secret)
                .set_redirect_uri(redirect_url(redirect)?);
        if in_body {
            client = client.set_auth_type(AuthType::RequestBody);
        }
        let carrier = self.carrier()?;
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| Error::Wrong("the issuer has no token endpoint".to_owned()))?
            .set_pkce_verifier(PkceCodeVerifier::new(seal.verifier.expose().to_owned()));
        request.request_async(&carrier).await.map_err(|error| match error {
            RequestTokenError::Request(NoAnswer(why)) => Error::Silent(why),
            // The description is the issuer's free text: it may repeat the code.
            RequestTokenError::ServerResponse(answer) => Error::Refused(bounded(answer.error().as_ref())),
            RequestTokenError::Parse(..) => Error::Wrong("the token endpoint's answer can not be read".to_owned()),
            RequestTokenError::Other(why) => Error::Wrong(bounded(&why)),
        })
    }

    fn verify(
        &self,
        metadata: &CoreProviderMetadata,
        answer: &openidconnect::core::CoreTokenResponse,
        seal: &Seal,
        now: Timestamp,
    ) -> Result<CoreIdTokenClaims, Unverified> {
        let wrong = |why: &str| Unverified::Wrong(why.to_owned());
        let token = answer.id_token().ok_or_else(|| wrong("there is no identity token"))?;
        let id = ClientId::new(self.settings.client_id.clone());
        let client = CoreClient::from_provider_metadata(metadata.clone(), id, None);
        let earliest = now.minus(OLDEST_TOKEN).to_utc();
        let latest = now.plus(SKEW).to_utc();
        // An end that passed within the skew has not passed by the issuer's clock.
        let by_its_clock = now.minus(SKEW).to_utc().unwrap_or_default();
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || by_its_clock)
            .set_issue_time_verifier_fn(move |made| {
                let fits =
                    earliest.is_some_and(|earliest| made >= earliest) && latest.is_some_and(|latest| made <= latest);
                if fits { Ok(()) } else { Err("the token was made too long ago, or is of the future".to_owned()) }
            });
        let nonce = Nonce::new(seal.nonce.expose().to_owned());
        let claims = token.claims(&verifier, &nonce).map_err(|error| match error {
            ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
                Unverified::UnknownKey
            }
            // The texts repeat claims, which are a person's data: the kind is enough.
            ClaimsVerificationError::Expired(_) => wrong("the token's time is over, or has not come"),
            ClaimsVerificationError::InvalidAudience(_) => wrong("the token is for somebody else"),
            ClaimsVerificationError::InvalidIssuer(_) => wrong("the token is another issuer's"),
            ClaimsVerificationError::InvalidNonce(_) => wrong("the token belongs to another sign-in"),
            ClaimsVerificationError::SignatureVerification(why) => wrong(&format!("signature: {why}")),
            _ => wrong("the token is not as it should be"),
        })?;
        // OpenID Connect Core, 3.1.3.7, 5: who it was made for, where it says so.
        if claims.authorized_party().is_some_and(|party| party.as_str() != self.settings.client_id) {
            return Err(wrong("the token was made for another client"));
        }
        Ok(claims.clone())
    }

    fn signing_key(
        &self,
        metadata: &CoreProviderMetadata,
        token: &openidconnect::core::CoreIdToken,
    ) -> Result<openidconnect::core::CoreJsonWebKey, Error> {
        let id = ClientId::new(self.settings.client_id.clone());
        let client = CoreClient::from_provider_metadata(metadata.clone(), id, None);
        let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
        token.signing_key(&verifier).cloned().map_err(|error| Error::Wrong(error.to_string()))
    }

    async fn ask_for_address(
        &self,
        metadata: CoreProviderMetadata,
        access_token: openidconnect::AccessToken,
        person: &mut Claims,
    ) -> Result<(), Error> {
        let id = ClientId::new(self.settings.client_id.clone());
        let client = CoreClient::from_provider_metadata(metadata, id, None);
        let carrier = self.carrier()?;
        let expected = SubjectIdentifier::new(person.subject.clone());
        let request =
            client.user_info(access_token, Some(expected)).map_err(|error| Error::Wrong(error.to_string()))?;
        let told: CoreUserInfoClaims = request.request_async(&carrier).await.map_err(|error| match error {
            openidconnect::UserInfoError::Request(NoAnswer(why)) => Error::Silent(why),
            openidconnect::UserInfoError::ClaimsVerification(_) => {
                Error::Wrong("the address is somebody else's".to_owned())
            }
            _ => Error::Wrong("the person's address can not be read".to_owned()),
        })?;
        person.email = told.email().and_then(|email| EmailAddress::parse(email).ok());
        person.email_verified = told.email_verified().unwrap_or(false);
        if person.name.is_empty()
            && let Some(name) = told.name().and_then(|name| name.get(None))
        {
            person.name = plain(name);
        }
        Ok(())
    }
}

enum Unverified {
    UnknownKey,
    Wrong(String),
}

impl Unverified {
    fn into_error(self) -> Error {
        match self {
            Self::UnknownKey => Error::Wrong("the token is signed with a key that is not the issuer's".to_owned()),
            Self::Wrong(why) => Error::Wrong(why),
        }
    }
}

/// Whether a key is of a kind that tokens are taken with.
fn signs(key: &CoreJsonWebKey) -> bool {
    ALGORITHMS.iter().any(|algorithm| match algorithm.key_type() {
        Some(kind) => {
            kind == *key.key_type() && key.key_use().is_none_or(|usage| *usage == CoreJsonWebKeyUse::Signature)
        }
        None => false,
    })
}

fn name_of(claims: &CoreIdTokenClaims) -> String {
    let name = claims.name().and_then(|name| name.get(None)).map(|name| plain(name.as_str()));
    name.filter(|name| !name.is_empty())
        .or_else(|| claims.preferred_username().map(|name| plain(name.as_str())))
        .unwrap_or_default()
}

/// A name as one line, not longer than a name is.
fn plain(text: &str) -> String {
    let blank: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    blank.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST_NAME).collect()
}

fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

fn redirect_url(text: &str) -> Result<RedirectUrl, Error> {
    RedirectUrl::new(text.to_owned()).map_err(|error| Error::NotSetUp(error.to_string()))
}

fn http(settings: &config::Issuer) -> Result<reqwest::Client, String> {
    // Fails when somebody else was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("bursar/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        // An issuer's server that sends elsewhere would choose whom bursar asks.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false);
    let extra = match &settings.ca_file {
        None => Vec::new(),
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if certificates.is_empty() {
                return Err(format!("{} holds no certificate in PEM form", path.display()));
            }
            certificates
        }
    };
    // Plain HTTP is for this machine only: no authorities are needed, and no proxy is in between.
    builder = if settings.issuer.starts_with("http://") {
        builder.tls_certs_only(extra).no_proxy()
    } else {
        builder.tls_certs_merge(extra)
    };
    builder.build().map_err(|error| error.to_string())
}

/// Carries the crate's questions by the HTTP client and the TLS that bursar has anyhow.
struct Carrier(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Carrier {
    type Error = NoAnswer;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, NoAnswer>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(carry(self.0.clone(), request))
    }
}

/// One question and its answer, bounded in time and size.
async fn carry(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, NoAnswer> {
    let lost = |what: &str| NoAnswer(what.to_owned());
    let (parts, body) = request.into_parts();
    let url = Url::parse(&parts.uri.to_string()).map_err(|_| lost("an address can not be read"))?;
    let mut answer = http
        .request(parts.method, url)
        .headers(parts.headers)
        .body(body)
        .send()
        .await
        .map_err(|error| lost(if error.is_timeout() { "it took too long" } else { "there is no connection" }))?;
    let mut told = openidconnect::http::Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get("content-type") {
        told = told.header("content-type", kind);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|_| lost("the answer broke off"))? {
        if bytes.len() + chunk.len() > ANSWER_LIMIT {
            return Err(lost("the answer is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    told.body(bytes).map_err(|_| lost("the answer can not be read"))
}
