//! A small OpenID provider on loopback, with keys of its own, that can be told to misbehave. It shares no code with what it is to
//! test: tokens are put together and signed here.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use bursar::time::{Clock as _, ManualClock};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use rsa::{pkcs8::EncodePrivateKey as _, rand_core::OsRng};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The client that bursar is there.
pub const CLIENT: &str = "bursar-client";
/// Its secret, with signs that have to be escaped.
pub const SECRET: &str = "s3cret:with/odd+signs";

/// How a provider signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// As most issuers do; what OpenID Connect Core, 15.1, wants of each of them.
    Rs256,
    Es256,
    EdDsa,
}

/// What a provider does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fault {
    #[default]
    None,
    Nonce,
    NoNonce,
    Audience,
    SecondAudience,
    AuthorizedParty,
    Issuer,
    Expired,
    MadeLongAgo,
    OfTheFuture,
    AlgorithmNone,
    SignedWithTheSecret,
    ForeignKey,
    NoToken,
    AccessTokenHash,
    UserInfoOfSomebodyElse,
    ServerError,
    NoSense,
    DiscoveryOfAnother,
    Silence,
    TooLong,
    /// Names another issuer in what comes back (RFC 9207).
    AnswersForAnother,
    /// Says no.
    Denies,
    /// Has no key to sign with.
    NoKeys,
}

/// A person who signs in there.
#[derive(Clone, Debug)]
pub struct Person {
    pub sub: String,
    pub name: String,
    pub email: Option<String>,
    pub email_verified: bool,
}

impl Person {
    pub fn new(sub: &str, email: &str) -> Self {
        Self {
            sub: sub.to_owned(),
            name: format!("{sub} of example"),
            email: Some(email.to_owned()),
            email_verified: true,
        }
    }
}

struct Granted {
    nonce: String,
    challenge: String,
    redirect_uri: String,
    person: Person,
}

struct Inside {
    person: Option<Person>,
    fault: Fault,
    codes: HashMap<String, Granted>,
    tokens: HashMap<String, Person>,
    key: Key,
    kid: u32,
    email_by_userinfo: bool,
    /// Every code exchange: whether PKCE and the client fitted.
    exchanges: Vec<bool>,
    discoveries: usize,
}

enum Key {
    Rs256(Arc<RsaKeyPair>),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// RSA keys take long to make, so they are made once and dealt out in turn: the next one is always another one.
static RSA_KEYS: LazyLock<Mutex<Vec<Arc<RsaKeyPair>>>> = LazyLock::new(|| {
    let make = || {
        let key = rsa::RsaPrivateKey::new(&mut OsRng, 2048).unwrap().to_pkcs8_der().unwrap();
        Arc::new(RsaKeyPair::from_pkcs8(key.as_bytes()).unwrap())
    };
    Mutex::new((0..2).map(|_| make()).collect())
});

fn key(signs: Signs) -> Key {
    let random = SystemRandom::new();
    match signs {
        Signs::Rs256 => {
            let mut keys = RSA_KEYS.lock().unwrap();
            keys.rotate_left(1);
            Key::Rs256(Arc::clone(&keys[0]))
        }
        Signs::Es256 => {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            Key::Es256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap())
        }
        Signs::EdDsa => {
            Key::EdDsa(Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap())
        }
    }
}

impl Key {
    fn name(&self) -> &'static str {
        match self {
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    fn public(&self, kid: u32) -> Value {
        let kid = format!("key-{kid}");
        match self {
            Self::Rs256(pair) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
                    "n": B64.encode(&public.n), "e": B64.encode(&public.e) })
            }
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
                    "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..65]) })
            }
            Self::EdDsa(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid,
                    "x": B64.encode(pair.public_key().as_ref()) })
            }
        }
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        match self {
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Es256(pair) => pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
        }
    }
}

/// The provider.
#[derive(Clone)]
pub struct Provider {
    /// Its address, which is its name.
    pub issuer: String,
    inside: Arc<Mutex<Inside>>,
    clock: ManualClock,
    signs: Signs,
}

impl Provider {
    /// Starts one.
    pub async fn start(clock: &ManualClock, signs: Signs) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let inside = Inside {
            person: None,
            fault: Fault::None,
            codes: HashMap::new(),
            tokens: HashMap::new(),
            key: key(signs),
            kid: 1,
            email_by_userinfo: false,
            exchanges: Vec::new(),
            discoveries: 0,
        };
        let provider = Self { issuer, inside: Arc::new(Mutex::new(inside)), clock: clock.clone(), signs };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/jwks", get(jwks))
            .route("/userinfo", get(userinfo))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        provider
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inside) -> T) -> T {
        look(&mut self.inside.lock().unwrap())
    }

    /// Who is signed in there.
    pub fn person(&self, person: Person) {
        self.with(|inside| inside.person = Some(person));
    }

    /// What it does wrong from now on.
    pub fn fault(&self, fault: Fault) {
        self.with(|inside| inside.fault = fault);
    }

    /// Tells addresses only at its user info endpoint.
    pub fn email_by_userinfo(&self) {
        self.with(|inside| inside.email_by_userinfo = true);
    }

    /// Signs with a new key, under a new name.
    pub fn rotate(&self) {
        let fresh = key(self.signs);
        self.with(|inside| {
            inside.key = fresh;
            inside.kid += 1;
        });
    }

    /// Whether each exchange of a code fitted.
    pub fn exchanges(&self) -> Vec<bool> {
        self.with(|inside| inside.exchanges.clone())
    }

    /// How often it was discovered.
    pub fn discoveries(&self) -> usize {
        self.with(|inside| inside.discoveries)
    }
}

async fn discovery(State(provider): State<Provider>) -> Response {
    let fault = provider.with(|inside| {
        inside.discoveries += 1;
        inside.fault
    });
    let name = if fault == Fault::DiscoveryOfAnother { "http://127.0.0.1:1" } else { provider.issuer.as_str() };
    match fault {
        Fault::ServerError => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fault::NoSense => return ([(header::CONTENT_TYPE, "application/json")], "{").into_response(),
        Fault::Silence => tokio::time::sleep(Duration::from_hours(1)).await,
        Fault::TooLong => {
            return ([(header::CONTENT_TYPE, "application/json")], "x".repeat(2_000_000)).into_response();
        }
        _ => {}
    }
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": name, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"), "jwks_uri": at("/jwks"),
        "userinfo_endpoint": at("/userinfo"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA", "HS256", "none"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"], "scopes_supported": ["openid", "profile", "email"],
    }))
    .into_response()
}

async fn jwks(State(provider): State<Provider>) -> Json<Value> {
    let key = provider.with(|inside| inside.key.public(inside.kid));
    // A key of a kind that nobody knows stands beside it, and one for another use: key sets of large issuers have such.
    let mut other = key.clone();
    (other["use"], other["kid"]) = (json!("enc"), json!("other"));
    let odd = json!({ "kty": "odd", "kid": "odd" });
    if provider.with(|inside| inside.fault) == Fault::NoKeys {
        return Json(json!({ "keys": [odd, other] }));
    }
    Json(json!({ "keys": [odd, other, key] }))
}

/// The person is signed in there already, so the answer comes at once.
async fn authorize(State(provider): State<Provider>, Query(query): Query<HashMap<String, String>>) -> Response {
    let get = |name: &str| query.get(name).cloned().unwrap_or_default();
    let (redirect_uri, state) = (get("redirect_uri"), get("state"));
    let fits = get("client_id") == CLIENT
        && get("response_type") == "code"
        && get("scope").split(' ').any(|scope| scope == "openid")
        && get("code_challenge_method") == "S256"
        && !get("nonce").is_empty();
    if !fits {
        return (StatusCode::BAD_REQUEST, "not a request of OpenID Connect with PKCE").into_response();
    }
    let fault = provider.with(|inside| inside.fault);
    let mut url = url::Url::parse(&redirect_uri).unwrap();
    if fault == Fault::Denies {
        url.query_pairs_mut().append_pair("error", "access_denied").append_pair("state", &state);
        return Redirect::to(url.as_str()).into_response();
    }
    let code = bursar::random::RandomSource::hex(&bursar::random::SystemRandom, 16);
    provider.with(|inside| {
        let person = inside.person.clone().unwrap();
        let granted = Granted { nonce: get("nonce"), challenge: get("code_challenge"), redirect_uri, person };
        inside.codes.insert(code.clone(), granted);
    });
    let issuer = if fault == Fault::AnswersForAnother { "http://127.0.0.1:1" } else { provider.issuer.as_str() };
    url.query_pairs_mut().append_pair("code", &code).append_pair("state", &state).append_pair("iss", issuer);
    Redirect::to(url.as_str()).into_response()
}

fn client_fits(headers: &HeaderMap, form: &HashMap<String, String>) -> bool {
    let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let Some(basic) = basic else {
        return form.get("client_id").is_some_and(|id| id == CLIENT)
            && form.get("client_secret").is_some_and(|secret| secret == SECRET);
    };
    let text = String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap();
    let (id, secret) = text.split_once(':').unwrap();
    // RFC 6749, 2.3.1: both halves are form-encoded first.
    let plain = |text: &str| {
        let pair = format!("x={text}");
        let (_, value) = url::form_urlencoded::parse(pair.as_bytes()).next().unwrap();
        value.into_owned()
    };
    plain(id) == CLIENT && plain(secret) == SECRET
}

fn sha256(text: &str) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref().to_vec()
}

async fn token(
    State(provider): State<Provider>,
    headers: HeaderMap,
    axum::Form(form): axum::Form<HashMap<String, String>>,
) -> Response {
    let get = |name: &str| form.get(name).cloned().unwrap_or_default();
    // A code is good once.
    let granted = provider.with(|inside| inside.codes.remove(&get("code")));
    let challenge = B64.encode(sha256(&get("code_verifier")));
    let fits = client_fits(&headers, &form)
        && get("grant_type") == "authorization_code"
        && granted
            .as_ref()
            .is_some_and(|granted| granted.challenge == challenge && granted.redirect_uri == get("redirect_uri"));
    provider.with(|inside| inside.exchanges.push(fits));
    if !client_fits(&headers, &form) {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_client" }))).into_response();
    }
    let Some(granted) = granted.filter(|_| fits) else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
    };
    let access = bursar::random::RandomSource::hex(&bursar::random::SystemRandom, 16);
    let fault = provider.with(|inside| {
        inside.tokens.insert(access.clone(), granted.person.clone());
        inside.fault
    });
    let mut answer = json!({ "access_token": access, "token_type": "Bearer", "expires_in": 300 });
    if fault != Fault::NoToken {
        answer["id_token"] = json!(id_token(&provider, &granted, fault, &access));
    }
    Json(answer).into_response()
}

fn id_token(provider: &Provider, granted: &Granted, fault: Fault, access: &str) -> String {
    let now = provider.clock.now().as_seconds();
    let half_hash = |text: &str, algorithm: &str| {
        let hash = if algorithm == "EdDSA" {
            ring::digest::digest(&ring::digest::SHA512, text.as_bytes()).as_ref().to_vec()
        } else {
            sha256(text)
        };
        B64.encode(&hash[..hash.len() / 2])
    };
    let by_userinfo = provider.with(|inside| inside.email_by_userinfo);
    let algorithm = provider.with(|inside| inside.key.name());
    let mut claims = json!({
        "iss": provider.issuer, "sub": granted.person.sub, "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": granted.nonce,
        "name": granted.person.name, "auth_time": now, "azp": CLIENT,
    });
    if algorithm != "EdDSA" {
        claims["at_hash"] = json!(half_hash(access, algorithm));
    }
    if let (Some(email), false) = (&granted.person.email, by_userinfo) {
        claims["email"] = json!(email);
        claims["email_verified"] = json!(granted.person.email_verified);
    }
    match fault {
        Fault::Nonce => claims["nonce"] = json!("another"),
        Fault::NoNonce => drop(claims.as_object_mut().unwrap().remove("nonce")),
        Fault::Audience => claims["aud"] = json!("somebody-else"),
        Fault::SecondAudience => claims["aud"] = json!([CLIENT, "somebody-else"]),
        Fault::AuthorizedParty => claims["azp"] = json!("somebody-else"),
        Fault::Issuer => claims["iss"] = json!("http://127.0.0.1:1"),
        Fault::Expired => claims["exp"] = json!(now - 300),
        Fault::MadeLongAgo => claims["iat"] = json!(now - 3_600),
        Fault::OfTheFuture => claims["iat"] = json!(now + 3_600),
        Fault::AccessTokenHash => claims["at_hash"] = json!(half_hash("another", algorithm)),
        _ => {}
    }
    let kid = provider.with(|inside| format!("key-{}", inside.kid));
    let part = |value: &Value| B64.encode(value.to_string());
    match fault {
        Fault::AlgorithmNone => {
            format!("{}.{}.", part(&json!({ "alg": "none", "typ": "JWT" })), part(&claims))
        }
        Fault::SignedWithTheSecret => {
            let text = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(&claims));
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
            let mac = ring::hmac::sign(&key, text.as_bytes());
            format!("{text}.{}", B64.encode(mac.as_ref()))
        }
        _ => {
            let text = format!("{}.{}", part(&json!({ "alg": algorithm, "typ": "JWT", "kid": kid })), part(&claims));
            let signature = if fault == Fault::ForeignKey {
                key(provider.signs).sign(&text)
            } else {
                provider.with(|inside| inside.key.sign(&text))
            };
            format!("{text}.{}", B64.encode(signature))
        }
    }
}

async fn userinfo(State(provider): State<Provider>, headers: HeaderMap) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let found = token.and_then(|token| provider.with(|inside| inside.tokens.get(token).cloned()));
    let Some(person) = found else { return StatusCode::UNAUTHORIZED.into_response() };
    let fault = provider.with(|inside| inside.fault);
    let sub = if fault == Fault::UserInfoOfSomebodyElse { "somebody-else" } else { person.sub.as_str() };
    let mut told = json!({ "sub": sub, "name": person.name });
    if let Some(email) = &person.email {
        told["email"] = json!(email);
        told["email_verified"] = json!(person.email_verified);
    }
    Json(told).into_response()
}
