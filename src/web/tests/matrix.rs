//! Who reaches what: every route of the router, by every kind of caller, for own and for foreign things.
//!
//! The table is compared with the router itself, so a route without a row fails.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use sqlx::Connection as _;

use super::*;
use crate::{
    ledger::{
        promo::{self, NewPromo},
        rules::codes::{Code, Worth},
    },
    money::Money,
    people::{
        leaving::{self, Step},
        mapping,
    },
    secrets::token_hash,
    store::{
        enforcement as holds,
        gateways::{self, NewGateway},
        links::{self, NewLink},
        mapping::NewBinding,
        people,
        sessions::{self, WebSession},
    },
    web::cookies::COOKIE,
};

const CALLERS: usize = 12;

/// Who asks, in the order of the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// Nobody: no cookie, no token.
    Nobody,
    /// alice, the only user of her account.
    Owner,
    /// One of two users of an account; nobody knows which.
    Viewer,
    /// dora, the only user of a domain administrator's account: of bursar's, an owner like any other.
    DomainAdmin,
    /// The cloud's administrator.
    Admin,
    /// Somebody of an OpenID issuer who is alice's account's owner.
    IssuerOwner,
    /// Likewise, who sees to its money.
    IssuerFinance,
    /// Likewise, who may look.
    IssuerViewer,
    /// Somebody of an OpenID issuer who administers the cloud.
    IssuerAdmin,
    /// Whoever has the link to the page of bob's account, which is suspended.
    Link,
    /// A service token that may read.
    Read,
    /// A service token that may write.
    Write,
}

impl Caller {
    pub(super) const ALL: [Self; CALLERS] = [
        Self::Nobody,
        Self::Owner,
        Self::Viewer,
        Self::DomainAdmin,
        Self::Admin,
        Self::IssuerOwner,
        Self::IssuerFinance,
        Self::IssuerViewer,
        Self::IssuerAdmin,
        Self::Link,
        Self::Read,
        Self::Write,
    ];

    /// The role at the issuer's, for who comes by one.
    const fn role_at_issuer(self) -> Option<&'static str> {
        match self {
            Self::IssuerOwner => Some("owner"),
            Self::IssuerFinance => Some("finance"),
            Self::IssuerViewer => Some("viewer"),
            Self::IssuerAdmin => Some("cloud-admin"),
            _ => None,
        }
    }
}

/// What a route answers to each caller. `{alice}` and `{root}` are the numbers of the tenant's and the administrator's
/// account, `{plan}` that of a plan that waits, `{gateway}` one for everybody, `{foreign}` one for somebody
/// else alone, `{waiting}` one that is proposed, `{none}` a number that nothing has.
pub(super) struct Row {
    pub(super) method: &'static str,
    /// As in the router, below the base path; the API's is below both prefixes.
    pub(super) route: &'static str,
    /// What is asked for; more than one line of a route are own and foreign things.
    pub(super) path: &'static str,
    /// Fields of a form, or the JSON body of a call.
    pub(super) body: &'static str,
    pub(super) expect: [u16; CALLERS],
}

const fn row(
    method: &'static str,
    route: &'static str,
    path: &'static str,
    body: &'static str,
    expect: [u16; CALLERS],
) -> Row {
    Row { method, route, path, body, expect }
}

/// What everybody is answered: nobody; the owner, viewer, domain administrator and administrator by a session of CloudStack; the
/// owner, finance person, viewer and administrator by an issuer; the link's holder; the tokens that read and write.
const fn columns(nobody: u16, cloudstack: [u16; 4], issuer: [u16; 4], link: u16, tokens: [u16; 2]) -> [u16; CALLERS] {
    let [owner, viewer, domain, admin] = cloudstack;
    let [issuer_owner, finance, issuer_viewer, issuer_admin] = issuer;
    let [read, write] = tokens;
    [nobody, owner, viewer, domain, admin, issuer_owner, finance, issuer_viewer, issuer_admin, link, read, write]
}

/// Open to everybody.
const OPEN: [u16; CALLERS] = [200; CALLERS];
/// A page for everybody who is signed in.
const SEEN: [u16; CALLERS] = columns(401, [200; 4], [200; 4], 403, [401; 2]);
/// A form of who may pay.
const PAID: [u16; CALLERS] = columns(401, [303, 403, 303, 303], [303, 303, 403, 303], 403, [401; 2]);
/// A form of who may act for the account: keys, and its end.
const ACTED: [u16; CALLERS] = columns(401, [303, 403, 303, 303], [303, 403, 403, 303], 403, [401; 2]);
/// A page, and a form, about the one user of CloudStack: in CloudStack's own session only, and who is not known to be one user
/// stays out. These people of the issuer are none.
const SEEN_AT_HOME: [u16; CALLERS] = columns(401, [200, 403, 200, 200], [403; 4], 403, [401; 2]);
const DONE_AT_HOME: [u16; CALLERS] = columns(401, [303, 403, 303, 303], [403; 4], 403, [401; 2]);
/// A page and a form of administrators.
const ADMINS: [u16; CALLERS] = columns(401, [403, 403, 403, 200], [403, 403, 403, 200], 403, [401; 2]);
const BY_ADMINS: [u16; CALLERS] = columns(401, [403, 403, 403, 303], [403, 403, 403, 303], 403, [401; 2]);
/// A call that reads, and one that writes. A cookie opens none of them.
const READ: [u16; CALLERS] = columns(401, [401; 4], [401; 4], 401, [200, 403]);
const WRITTEN: [u16; CALLERS] = columns(401, [401; 4], [401; 4], 401, [403, 200]);

const fn with(expect: [u16; CALLERS], allowed: u16) -> [u16; CALLERS] {
    let mut given = expect;
    let mut at = 0;
    while at < given.len() {
        if given[at] < 400 {
            given[at] = allowed;
        }
        at += 1;
    }
    given
}

const fn with_link(expect: [u16; CALLERS], allowed: u16) -> [u16; CALLERS] {
    let mut given = expect;
    given[Caller::Link as usize] = allowed;
    given
}

/// What is asked for is somebody else's.
const NOT_THEIRS: [u16; CALLERS] = DONE_BY_ALL;
const DONE_BY_ALL: [u16; CALLERS] = columns(401, [303; 4], [303; 4], 403, [401; 2]);
/// With a link too.
const DONE_BY_EACH: [u16; CALLERS] = with_link(DONE_BY_ALL, 303);
/// A link that nobody was sent.
const DEAD_LINK: [u16; CALLERS] = [410; CALLERS];

/// An issuer that nothing asks here: the sessions of its people are put into the store, as its sign-in would.
const ISSUER: &str = "https://issuer.example.com";
const BOB: &str = "4c9bd1f4-4a15-4d5c-8c7f-4a5b70c5b9d1";
const DORA: &str = "4c9bd1f4-4a15-4d5c-8c7f-4a5b70c5b9d5";
const DORA_USER: &str = "4c9bd1f4-4a15-4d5c-8c7f-4a5b70c5b9d6";
const CAROL: &str = "4c9bd1f4-4a15-4d5c-8c7f-4a5b70c5b9d3";
const PROPOSAL: &str = "name=Pay&country=Chile&website=https://pay.example.com&details=cards";
/// `{name}` is that of the caller's account.
const LEAVING: &str = "reason=x&name={name}&understood=yes";

pub(super) const ROWS: &[Row] = &[
    row("GET", "", "", "", [308; CALLERS]),
    row("GET", "/static/{name}", "/static/nothing.css", "", [404; CALLERS]),
    // Tenants: every page is about the account of the session, and no address names another one.
    row("GET", "/", "/", "", SEEN),
    row("GET", "/usage", "/usage", "", SEEN),
    row("GET", "/usage", "/usage?by=resource&resource={none}", "", SEEN),
    row("GET", "/usage/download", "/usage/download", "", SEEN),
    row("GET", "/usage/download", "/usage/download?table=days", "", SEEN),
    row("GET", "/usage/download", "/usage/download?table=months", "", SEEN),
    row("GET", "/usage/records", "/usage/records?resource={none}&type=running-vm", "", with(SEEN, 404)),
    row(
        "GET",
        "/usage/records/download",
        "/usage/records/download?resource={none}&type=running-vm",
        "",
        with(SEEN, 404),
    ),
    row("GET", "/prices", "/prices", "", SEEN),
    row("GET", "/credits", "/credits", "", SEEN),
    row("POST", "/credits", "/credits", "code=WELCOME", PAID),
    row("GET", "/payment-settings", "/payment-settings", "", SEEN),
    row("POST", "/payment-settings", "/payment-settings", "gateway={gateway}", PAID),
    row("POST", "/payment-settings", "/payment-settings", "gateway={foreign}", with(PAID, 422)),
    row("POST", "/payment-settings", "/payment-settings", "gateway={none}", with(PAID, 422)),
    row("POST", "/payment-settings/propose", "/payment-settings/propose", PROPOSAL, PAID),
    row("GET", "/notifications", "/notifications", "", SEEN_AT_HOME),
    row("POST", "/notifications", "/notifications", "invoice=on", DONE_AT_HOME),
    row("GET", "/delete-request", "/delete-request", "", SEEN),
    row("POST", "/delete-request", "/delete-request", LEAVING, ACTED),
    row("POST", "/delete-request/take-back", "/delete-request/take-back", "", ACTED),
    row("GET", "/profile", "/profile", "", SEEN_AT_HOME),
    row("GET", "/profile/edit", "/profile/edit", "", SEEN_AT_HOME),
    row("POST", "/profile/edit", "/profile/edit", "firstname=", with(DONE_AT_HOME, 422)),
    row("POST", "/profile/address/give-up", "/profile/address/give-up", "", DONE_AT_HOME),
    row("GET", "/profile/picture", "/profile/picture", "", with(SEEN_AT_HOME, 404)),
    row("POST", "/profile/picture", "/profile/picture", "", columns(401, [400; 4], [400; 4], 403, [401; 2])),
    row("POST", "/profile/picture/remove", "/profile/picture/remove", "", DONE_AT_HOME),
    row("GET", "/password", "/password", "", SEEN_AT_HOME),
    row("POST", "/password", "/password", "old=a&new=b&again=c", with(DONE_AT_HOME, 422)),
    // The cloud of these tests knows no second factors: who gets as far as 503 was let in.
    row("GET", "/second-factor", "/second-factor", "", with(SEEN_AT_HOME, 503)),
    row("POST", "/second-factor/begin", "/second-factor/begin", "provider=none", with(DONE_AT_HOME, 503)),
    row("POST", "/second-factor/confirm", "/second-factor/confirm", "code=x", with(DONE_AT_HOME, 503)),
    row("POST", "/second-factor/end", "/second-factor/end", "code=x&password=x", with(DONE_AT_HOME, 503)),
    // The desk for keys is closed in these tests: who gets as far as 422 was let in. What another account has is as what nobody
    // has (the stories tell that with requests that are there).
    row("GET", "/api-access", "/api-access", "", SEEN),
    row("POST", "/api-access", "/api-access", "purpose=x&days=5", with(ACTED, 422)),
    row("POST", "/api-access", "/api-access", "purpose=x&days=5&replaces={none}", with(ACTED, 404)),
    row("POST", "/api-access/{id}/secret", "/api-access/{none}/secret", "", with(ACTED, 404)),
    row("POST", "/api-access/{id}/rotate", "/api-access/{none}/rotate", "", with(ACTED, 404)),
    row("POST", "/api-access/{id}/revoke", "/api-access/{none}/revoke", "", with(ACTED, 404)),
    row("GET", "/you", "/you", "", SEEN),
    row("POST", "/you/account", "/you/account", "account={root}", with(NOT_THEIRS, 403)),
    row("POST", "/you/account", "/you/account", "account={none}", with(NOT_THEIRS, 403)),
    // Only who is one of several asks to be known as one of them; these two have no address.
    row("POST", "/you/user", "/you/user", "user={none}", columns(401, [403, 422, 403, 403], [403; 4], 403, [401; 2])),
    row("POST", "/you/address", "/you/address", "", columns(401, [422, 403, 422, 422], [403; 4], 403, [401; 2])),
    // CloudStack lets these people in, so their accounts are open and there is nothing to see.
    row("GET", "/suspended", "/suspended", "", columns(401, [303; 4], [303; 4], 200, [401; 2])),
    row("GET", "/suspended/records", "/suspended/records", "", columns(401, [303; 4], [303; 4], 200, [401; 2])),
    row(
        "GET",
        "/suspended/records/download",
        "/suspended/records/download?type=running-vm",
        "",
        columns(401, [303; 4], [303; 4], 200, [401; 2]),
    ),
    row("POST", "/suspended/more-time", "/suspended/more-time", "reason=x", DONE_BY_EACH),
    row("POST", "/sign-out", "/sign-out", "", DONE_BY_EACH),
    // For strangers: they prove nothing here.
    row("GET", "/sign-in", "/sign-in", "", OPEN),
    row("POST", "/sign-in/link", "/sign-in/link", "address=alice%40example.com", [303; CALLERS]),
    row("GET", "/sign-in/{name}", "/sign-in/none", "", [404; CALLERS]),
    row("GET", "/sign-in/{name}/callback", "/sign-in/none/callback", "", [400; CALLERS]),
    row("GET", "/link/{token}", "/link/none", "", DEAD_LINK),
    row("POST", "/link", "/link", "token=none", DEAD_LINK),
    // The link of a mail: whoever holds it, and nobody holds this one.
    row("GET", "/confirm-address/{token}", "/confirm-address/none", "", OPEN),
    row("POST", "/confirm-address/{token}", "/confirm-address/none", "", [404; CALLERS]),
    // Administrators.
    row("GET", "/admin/queue", "/admin/queue", "", ADMINS),
    row("POST", "/admin/queue/deletions/{id}/refuse", "/admin/queue/deletions/1/refuse", "message=x", BY_ADMINS),
    row("POST", "/admin/queue/gateways/{id}/{what}", "/admin/queue/gateways/{waiting}/approve", "", BY_ADMINS),
    row("POST", "/admin/queue/gateways/{id}/{what}", "/admin/queue/gateways/{waiting}/refuse", "message=x", BY_ADMINS),
    row("POST", "/admin/queue/gateways/{id}/{what}", "/admin/queue/gateways/{none}/approve", "", with(BY_ADMINS, 404)),
    row("POST", "/admin/queue/gateways/{id}/{what}", "/admin/queue/gateways/{gateway}/retire", "", BY_ADMINS),
    row("POST", "/admin/queue/gateways/{id}/{what}", "/admin/queue/gateways/{none}/retire", "", with(BY_ADMINS, 404)),
    row("POST", "/admin/queue/keys/{id}/approve", "/admin/queue/keys/1/approve", "days=5", with(BY_ADMINS, 409)),
    row("POST", "/admin/queue/keys/{id}/deny", "/admin/queue/keys/1/deny", "message=x", with(BY_ADMINS, 409)),
    row("GET", "/admin/people", "/admin/people", "", ADMINS),
    row(
        "POST",
        "/admin/people/waiting/{id}/map",
        "/admin/people/waiting/{none}/map",
        "account=alice&role=viewer",
        with(BY_ADMINS, 404),
    ),
    row("POST", "/admin/people/waiting/{id}/refuse", "/admin/people/waiting/{none}/refuse", "", with(BY_ADMINS, 404)),
    row(
        "POST",
        "/admin/people/more-time/{id}",
        "/admin/people/more-time/{none}",
        "answer=refuse&message=x",
        with(BY_ADMINS, 404),
    ),
    row("POST", "/admin/people/links/{id}/revoke", "/admin/people/links/{none}/revoke", "", with(BY_ADMINS, 404)),
    row("GET", "/admin/accounts", "/admin/accounts", "", ADMINS),
    row("POST", "/admin/accounts/{id}/limit", "/admin/accounts/{alice}/limit", "limit=5&reason=x", BY_ADMINS),
    row("POST", "/admin/accounts/{id}/limit", "/admin/accounts/{root}/limit", "limit=5&reason=x", BY_ADMINS),
    row("POST", "/admin/accounts/{id}/limit", "/admin/accounts/{none}/limit", "limit=5&reason=x", with(BY_ADMINS, 404)),
    row("POST", "/admin/accounts/{id}/payment", "/admin/accounts/{alice}/payment", "amount=5&reference=x", BY_ADMINS),
    row("GET", "/admin/enforcement", "/admin/enforcement", "", ADMINS),
    row("POST", "/admin/enforcement/{what}", "/admin/enforcement/pause", "", BY_ADMINS),
    row("POST", "/admin/enforcement/{what}", "/admin/enforcement/resume", "", BY_ADMINS),
    row("POST", "/admin/enforcement/{what}", "/admin/enforcement/other", "", with(BY_ADMINS, 404)),
    row("POST", "/admin/enforcement/plans", "/admin/enforcement/plans", "", BY_ADMINS),
    row("POST", "/admin/enforcement/plans/{id}/approve", "/admin/enforcement/plans/{plan}/approve", "", BY_ADMINS),
    row("POST", "/admin/enforcement/plans/{id}/drop", "/admin/enforcement/plans/{plan}/drop", "", BY_ADMINS),
    row(
        "POST",
        "/admin/enforcement/deletions/{id}/{what}",
        "/admin/enforcement/deletions/{none}/confirm",
        "reason=x",
        with(BY_ADMINS, 404),
    ),
    // Machines.
    row("GET", "/api/v1/accounts", "/api/v1/accounts", "", READ),
    row("GET", "/api/v1/accounts/{id}", "/api/v1/accounts/{alice}", "", READ),
    row("GET", "/api/v1/accounts/{id}", "/api/v1/accounts/{none}", "", with(READ, 404)),
    row(
        "POST",
        "/api/v1/accounts/{id}/limit",
        "/api/v1/accounts/{alice}/limit",
        r#"{"limit":"5","reason":"x"}"#,
        WRITTEN,
    ),
    row(
        "POST",
        "/api/v1/accounts/{id}/payments",
        "/api/v1/accounts/{alice}/payments",
        r#"{"amount":"5","reference":"x"}"#,
        WRITTEN,
    ),
    row("GET", "/api/v1/accounts/{id}/usage", "/api/v1/accounts/{alice}/usage", "", READ),
    row("GET", "/api/v1/accounts/{id}/usage", "/api/v1/accounts/{none}/usage", "", with(READ, 404)),
    row("GET", "/api/v1/accounts/{id}/usage/records", "/api/v1/accounts/{none}/usage/records", "", with(READ, 404)),
    row("GET", "/api/v1/accounts/{id}/estimate", "/api/v1/accounts/{none}/estimate", "", with(READ, 404)),
    row("GET", "/api/v1/accounts/{id}/prices", "/api/v1/accounts/{none}/prices", "", with(READ, 404)),
    row("GET", "/api/v1/accounts/{id}/quote", "/api/v1/accounts/{none}/quote", "", with(READ, 404)),
    row("GET", "/api/v1/decisions", "/api/v1/decisions", "", READ),
    row("GET", "/api/v1/runs", "/api/v1/runs", "", READ),
    row("GET", "/api/v1/enforcement", "/api/v1/enforcement", "", READ),
    row("GET", "/api/v1/plans", "/api/v1/plans", "", READ),
    row("POST", "/api/v1/plans", "/api/v1/plans", "{}", with(WRITTEN, 202)),
    row("GET", "/api/v1/plans/{id}", "/api/v1/plans/{plan}", "", READ),
    row("POST", "/api/v1/plans/{id}/approve", "/api/v1/plans/{plan}/approve", "{}", WRITTEN),
    row("POST", "/api/v1/plans/{id}/drop", "/api/v1/plans/{plan}/drop", "{}", WRITTEN),
    row("GET", "/api/v1/key-requests", "/api/v1/key-requests", "", READ),
    row("GET", "/api/v1/key-requests/{id}", "/api/v1/key-requests/{none}", "", with(READ, 404)),
    // The desk for keys is closed in these tests: who gets as far as 409 was let in.
    row(
        "POST",
        "/api/v1/key-requests",
        "/api/v1/key-requests",
        r#"{"account":1,"purpose":"x","days":1}"#,
        with(WRITTEN, 409),
    ),
    row("POST", "/api/v1/key-requests/{id}/approve", "/api/v1/key-requests/1/approve", "{}", with(WRITTEN, 409)),
    row("POST", "/api/v1/key-requests/{id}/deny", "/api/v1/key-requests/1/deny", "{}", with(WRITTEN, 409)),
    row("POST", "/api/v1/key-requests/{id}/rotate", "/api/v1/key-requests/1/rotate", "{}", with(WRITTEN, 409)),
    row("POST", "/api/v1/key-requests/{id}/revoke", "/api/v1/key-requests/1/revoke", "{}", with(WRITTEN, 409)),
    row("POST", "/api/v1/key-requests/{id}/secret", "/api/v1/key-requests/1/secret", "{}", with(WRITTEN, 409)),
    row("GET", "/healthz", "/healthz", "", OPEN),
    row("GET", "/readyz", "/readyz", "", [503; CALLERS]),
];

/// The routes of a router, each with its methods, as the router itself tells them.
fn routes(router: &Router) -> BTreeSet<(String, String)> {
    let text = format!("{router:?}");
    let (routes, rest) = text.split_once("node: Node { paths: {").expect("axum tells its routes in another way now");
    let (paths, _) = rest.split_once('}').map_or((rest, ""), |_| split_braces(rest));
    let path_of = |id: &str| {
        let start = paths.split_once(&format!("RouteId({id}): \"")).unwrap().1;
        start.split_once('"').unwrap().0.to_owned()
    };
    let mut found = BTreeSet::new();
    for part in routes.split("RouteId(").skip(1) {
        let (id, methods) = part.split_once("): ").unwrap();
        let methods = methods.split_once("fallback:").map_or(methods, |(methods, _)| methods);
        for method in ["get", "head", "delete", "options", "patch", "post", "put", "trace", "connect"] {
            let (_, state) =
                methods.split_once(&format!("{method}: ")).expect("axum tells its methods in another way now");
            if !state.starts_with("None") {
                found.insert((method.to_uppercase(), path_of(id)));
            }
        }
    }
    found
}

/// What stands before the brace that closes this text.
fn split_braces(text: &str) -> (&str, &str) {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => return text.split_at(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    (text, "")
}

/// Where a route is below: pages and the API at the base path, the API and the health checks at the root too.
fn prefixes(route: &str) -> &'static [&'static str] {
    if route.starts_with("/api/") {
        &["", BASE]
    } else if matches!(route, "/healthz" | "/readyz") {
        &[""]
    } else {
        &[BASE]
    }
}

#[tokio::test]
async fn every_route_has_a_row_and_every_row_its_route() {
    let place = Place::open().await;
    let there = routes(&place.router());
    let mut told = BTreeSet::new();
    for row in ROWS {
        for prefix in prefixes(row.route) {
            told.insert((row.method.to_owned(), format!("{prefix}{}", row.route)));
        }
    }
    let without: Vec<_> = there.difference(&told).collect();
    assert!(without.is_empty(), "these routes have no row in src/web/tests/matrix.rs: {without:#?}");
    let gone: Vec<_> = told.difference(&there).collect();
    assert!(gone.is_empty(), "these rows have no route: {gone:#?}");
    assert!(there.len() > 40, "{there:?}");
}

/// The callers at one place: their cookies, tokens of forms, and service tokens.
pub(super) struct Callers {
    cookies: HashMap<Caller, (String, String)>,
}

impl Callers {
    /// Everybody signs in anew.
    pub(super) async fn at(place: &Place) -> Self {
        // So many sign-ins at one instant would be too many.
        place.clock.advance(Duration::from_secs(1));
        let number = place.cloud.calls().len();
        let mut cookies = HashMap::new();
        let by_cloudstack = [
            ("owner", Caller::Owner),
            ("viewer", Caller::Viewer),
            ("domain", Caller::DomainAdmin),
            ("admin", Caller::Admin),
        ];
        for (name, caller) in by_cloudstack {
            place.as_caller(caller);
            // So many new sessions at one moment would be refused.
            place.clock.advance(Duration::from_millis(400));
            let session = format!("JSESSIONID={name}{number}; sessionkey={name}{number}");
            let own = own_cookie(&place.open_page("/", &session).await).unwrap();
            let hash = token_hash(own.split_once('=').unwrap().1);
            let csrf = place.read_text(format!("select csrf from web_session where hash = '{hash}'")).await;
            cookies.insert(caller, (format!("{session}; {own}"), csrf));
        }
        for caller in Caller::ALL {
            if caller.role_at_issuer().is_some() || caller == Caller::Link {
                let token = format!("{caller:?}{number}");
                let csrf = place.put_session_of(caller, &token).await;
                cookies.insert(caller, (format!("{COOKIE}={token}"), csrf));
            }
        }
        Self { cookies }
    }

    /// The cookies and the token of forms; empty for who has none.
    pub(super) fn session(&self, caller: Caller) -> (&str, &str) {
        self.cookies.get(&caller).map_or(("", ""), |(cookies, csrf)| (cookies, csrf))
    }
}

impl Place {
    fn router(&self) -> Router {
        let sessions =
            SessionClient::new(&ClientSettings::new("http://127.0.0.1:1/client/api".parse().unwrap())).unwrap();
        let (readiness, wake) = (self.readiness.clone(), Arc::clone(&self.wake));
        crate::web::router(WebState::new(self.app.clone(), readiness, sessions, wake, Arc::new(ClosedDesk)))
    }

    /// One text out of the database, past the store.
    pub(super) async fn read_text(&self, sql: impl Into<String>) -> String {
        let file = self.folder.path().join("bursar.db");
        let mut connection = sqlx::SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
        sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql.into())).fetch_one(&mut connection).await.unwrap()
    }

    /// How much there is of everything that a caller could have changed.
    pub(super) async fn traces(&self) -> String {
        self.read_text(
            "select (select count(*) from audit) || ' lines, ' || (select count(*) from transfer) || ' bookings, ' || \
             (select count(*) from key_request) || ' wishes, ' || (select count(*) from request) || ' requests, ' || \
             (select count(*) from gateway_choice) || ' choices, ' || (select count(*) from notice_choice) || ' wishes, ' || \
             (select count(*) from link_wish) || ' links, ' || (select count(*) from web_session) || ' sessions, ' || \
             (select coalesce(group_concat(key || value, ' '), '') from setting)",
        )
        .await
    }

    /// What CloudStack says of whoever this is.
    fn as_caller(&self, caller: Caller) {
        self.cloud.answer(
            200,
            match caller {
                Caller::Viewer => users(&[alice(), user(ADMIN, "bert", (ALICE, "alice"), 0, "User")]),
                Caller::DomainAdmin => users(&[user(DORA_USER, "dora", (DORA, "dora"), 2, "DomainAdmin")]),
                Caller::Admin => users(&[admin()]),
                _ => users(&[alice()]),
            },
        );
    }

    /// A caller asks for a path, with a body where it is a form or a call.
    pub(super) async fn ask(
        &self,
        callers: &Callers,
        caller: Caller,
        method: &str,
        path: &str,
        body: &str,
    ) -> Response {
        self.as_caller(caller);
        let (cookies, csrf) = callers.session(caller);
        let mut request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        request = request.header("accept", "text/html").header("sec-fetch-site", "same-origin");
        request = request.header("sec-fetch-mode", "navigate");
        if !cookies.is_empty() {
            request = request.header("cookie", cookies);
        }
        match caller {
            Caller::Read => request = request.header("authorization", "Bearer bursar_reader"),
            Caller::Write => request = request.header("authorization", "Bearer bursar_writer"),
            _ => {}
        }
        if method == "POST" && path.contains("/api/v1/") {
            request =
                request.header("content-type", "application/json").header("idempotency-key", format!("{caller:?}"));
            request = request.body(body.to_owned());
        } else if method == "POST" {
            // Every caller has a nonce of its own.
            let nonce = format!("{:032x}", caller as u8);
            request = request.header("content-type", "application/x-www-form-urlencoded");
            request = request.body(format!("csrf={csrf}&nonce={nonce}&{body}"));
        }
        request.send().await.unwrap()
    }
}

/// The numbers of what the table names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Things {
    plan: i64,
    gateways: [i64; 3],
}

/// A place with what the table names.
pub(super) async fn furnished() -> (Place, Things) {
    let place = Place::open_with(&[
        ("BURSAR_WEB_PUBLIC_URL", "https://cloud.example.com"),
        ("BURSAR_OIDC_CORP_ISSUER", ISSUER),
        ("BURSAR_OIDC_CORP_CLIENT_ID", "bursar"),
    ])
    .await;
    for (name, scopes) in [("reader", "read"), ("writer", "write")] {
        let mut tx = place.app.store.begin().await.unwrap();
        people::insert_token(&mut tx, name, &token_hash(&format!("bursar_{name}")), scopes, "test", NOW).await.unwrap();
        tx.commit().await.unwrap();
    }
    let plan = place.put_plan().await;
    place.put_code().await;
    place.put_people().await;
    let carol = put_account(&place.app, CAROL, "carol", 0, "User").await;
    let mut tx = place.app.store.begin().await.unwrap();
    let carol = cloud::get_account(&mut tx, carol).await.unwrap();
    let step = Step { author: "carol", now: NOW, zone: place.app.config.billing.zone };
    leaving::ask(&mut tx, "carol", &carol, "x", Duration::from_hours(24), step).await.unwrap();
    let mut numbers = [0; 3];
    for (number, (name, decided)) in [("all", Some(true)), ("own", Some(false)), ("new", None)].into_iter().enumerate()
    {
        let new = NewGateway {
            key: name,
            name,
            country: "Chile",
            website: "https://pay.example.com",
            details: "cards",
            payer: carol.payer_id,
            account: carol.id,
            author: "carol",
        };
        assert!(gateways::propose(&mut tx, &new, NOW).await.unwrap());
        let id = gateways::list_proposed(&mut tx, 1).await.unwrap()[0].id;
        if let Some(for_all) = decided {
            assert!(gateways::decide(&mut tx, id, (true, for_all), "admin", None, NOW).await.unwrap());
        }
        numbers[number] = id;
    }
    tx.commit().await.unwrap();
    (place, Things { plan, gateways: numbers })
}

impl Place {
    /// dora's account; somebody of each role at the issuer; and bob's account, suspended, with a link to its page.
    async fn put_people(&self) {
        put_account(&self.app, DORA, "dora", 2, "DomainAdmin").await;
        let mut tx = self.app.store.begin().await.unwrap();
        for caller in Caller::ALL {
            let Some(role) = caller.role_at_issuer() else { continue };
            let binding = NewBinding {
                issuer: ISSUER,
                subject: role,
                cloud_user_id: None,
                account: if caller == Caller::IssuerAdmin { self.root } else { self.alice },
                role,
                by: "test",
                rule_id: None,
                address_id: None,
            };
            mapping::map(&mut tx, &binding, NOW).await.unwrap();
        }
        let seen = SeenAccount {
            cloud_id: BOB.to_owned(),
            name: "bob".to_owned(),
            domain_id: ROOT.to_owned(),
            domain_path: "ROOT".to_owned(),
            account_type: 0,
            role_type: "User".to_owned(),
            state: "locked".to_owned(),
        };
        let (bob, _) = cloud::put_account(&mut tx, &seen, NOW).await.unwrap();
        holds::place_hold(&mut tx, bob, "billing", "lock", "104.20 of 100.00 EUR were used", None, "enforce", NOW)
            .await
            .unwrap();
        let link = NewLink {
            purpose: "suspension",
            account: bob,
            cloud_user_id: "",
            notice_id: None,
            proof_hash: "",
            recipient: "bob@example.com",
            expires: NOW.plus(Duration::from_hours(240)),
            delete_request: None,
        };
        links::insert_link(&mut tx, &link, NOW).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The session of somebody whom an issuer or a link let in. Gives the token of its forms.
    async fn put_session_of(&self, caller: Caller, token: &str) -> String {
        let by_link = caller == Caller::Link;
        let role = caller.role_at_issuer().unwrap_or("viewer");
        let number = if by_link { "(select account_id from signed_link)" } else { "0" };
        let bob: i64 = self.read_text(format!("select cast({number} as text)")).await.parse().unwrap();
        let account = match caller {
            Caller::Link => AccountId::new(bob),
            Caller::IssuerAdmin => self.root,
            _ => self.alice,
        };
        let now = crate::time::Clock::now(&self.clock);
        let csrf = token_hash(&format!("{token} csrf"));
        let session = WebSession {
            kind: if by_link { "link" } else { "openid" }.to_owned(),
            cloud_user_id: String::new(),
            issuer: if by_link { String::new() } else { ISSUER.to_owned() },
            subject: if by_link { String::new() } else { role.to_owned() },
            link_id: by_link.then_some(1),
            account_id: account,
            home_account_id: account,
            role: role.to_owned(),
            username: format!("{caller:?}"),
            proof_hash: String::new(),
            csrf: csrf.clone(),
            proven_ms: now.as_ms(),
            expires_ms: now.plus(Duration::from_hours(1)).as_ms(),
        };
        let mut tx = self.app.store.begin().await.unwrap();
        sessions::put_session(&mut tx, &token_hash(token), &session).await.unwrap();
        tx.commit().await.unwrap();
        csrf
    }

    /// A code that gives something to everybody.
    async fn put_code(&self) {
        let terms = Code {
            worth: Worth::Amount(Money::parse("5").unwrap()),
            valid_from: NOW,
            valid_until: None,
            total_uses: None,
            uses_per_account: 1,
            min_payment: Money::ZERO,
            domains: Vec::new(),
            closed: false,
            uses: 0,
        };
        let new = NewPromo {
            code: "WELCOME".to_owned(),
            terms,
            public: true,
            grant_days: None,
            grant_scope: None,
            grant_priority: 0,
            note: String::new(),
        };
        let mut tx = self.app.store.begin().await.unwrap();
        promo::create(&mut tx, new, "test", NOW).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A path or a body with the numbers of what is there.
    pub(super) fn fill(&self, path: &str, things: Things, caller: Caller) -> String {
        let [all, foreign, waiting] = things.gateways;
        path.replace("{alice}", &self.alice.to_string())
            .replace("{root}", &self.root.to_string())
            .replace("{plan}", &things.plan.to_string())
            .replace("{gateway}", &all.to_string())
            .replace("{foreign}", &foreign.to_string())
            .replace("{waiting}", &waiting.to_string())
            .replace(
                "{name}",
                match caller {
                    Caller::Admin | Caller::IssuerAdmin => "admin",
                    Caller::DomainAdmin => "dora",
                    _ => "alice",
                },
            )
            .replace("{none}", "987654")
    }
}

/// Asks, and says what is not as the row has it.
async fn look(
    place: &Place,
    callers: &Callers,
    caller: Caller,
    row: &Row,
    (prefix, things): (&str, Things),
) -> Vec<String> {
    let expected = row.expect[caller as usize];
    let (before, calls) = (place.traces().await, place.cloud.calls().len());
    let path = format!("{prefix}{}", place.fill(row.path, things, caller));
    let body = place.fill(row.body, things, caller);
    let response = place.ask(callers, caller, row.method, &path, &body).await;
    let status = response.status().as_u16();
    let what = format!("{caller:?} {} {path}", row.method);
    let mut wrong = Vec::new();
    if status != expected {
        wrong.push(format!("{what}: {status} and not {expected}"));
    }
    if let Some(target) = response.headers().get("location").map(|target| target.to_str().unwrap().to_owned())
        && (!target.starts_with(&format!("{BASE}/")) || target.contains("//"))
    {
        wrong.push(format!("{what}: leads to {target}"));
    }
    if matches!(expected, 401 | 403) {
        let text = response.text().await.unwrap();
        if text.contains("alice") || text.contains("EUR") {
            wrong.push(format!("{what}: tells {text}"));
        }
        if place.traces().await != before {
            wrong.push(format!("{what}: left a trace"));
        }
        // Who may not do a thing need not be proven for it. Which person it is, CloudStack tells.
        let about_one = ["/notifications", "/profile", "/password", "/second-factor", "/you"];
        let is_about_one = about_one.iter().any(|page| row.route.starts_with(page));
        if row.method == "POST" && !is_about_one && place.cloud.calls().len() != calls {
            wrong.push(format!("{what}: asked CloudStack"));
        }
    }
    wrong
}

#[tokio::test]
async fn every_caller_gets_what_the_table_says_and_who_is_refused_changes_nothing() {
    let mut wrong = Vec::new();
    let (shared, things) = furnished().await;
    for row in ROWS {
        for prefix in prefixes(row.route) {
            let callers = Callers::at(&shared).await;
            for caller in Caller::ALL {
                let changes = row.method == "POST" && row.expect[caller as usize] < 400;
                if changes {
                    let (own, things) = furnished().await;
                    let callers = Callers::at(&own).await;
                    if row.route == "/delete-request/take-back" {
                        let body = own.fill(LEAVING, things, caller);
                        own.ask(&callers, caller, "POST", &format!("{BASE}/delete-request"), &body).await;
                    }
                    let before = own.traces().await;
                    wrong.extend(look(&own, &callers, caller, row, (prefix, things)).await);
                    // There is no wish and no picture to give up here; tests/story_own has them.
                    // Nor is anybody suspended; tests/story_signin has that.
                    let is_nothing_there = matches!(
                        row.route,
                        "/profile/address/give-up" | "/profile/picture/remove" | "/suspended/more-time"
                    );
                    if !is_nothing_there && own.traces().await == before {
                        wrong.push(format!("{caller:?} {} did nothing: a row that proves nothing", row.path));
                    }
                } else {
                    wrong.extend(look(&shared, &callers, caller, row, (prefix, things)).await);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
