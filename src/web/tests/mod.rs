//! The pages and the API over loopback, against a CloudStack that answers what a test says.

mod admin;
mod api;
mod attacks;
mod enforcement;
mod matrix;
mod requests;
mod seen;
mod signin;
mod templates;

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{WebState, keydesk::ClosedDesk};
use crate::{
    cloudstack::{ClientSettings, session::SessionClient},
    config::{Config, Sources},
    ids::AccountId,
    jobs::app::App,
    lifecycle::{Condition, Readiness},
    random::SeededRandom,
    store::cloud::{self, SeenAccount},
    time::{ManualClock, Timestamp},
};

/// 2026-11-22T17:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_795_366_800);
const BASE: &str = "/client/api/bursar";
const COOKIES: &str = "JSESSIONID=node01; sessionkey=key01";
const ALICE: &str = "d522b0de-3fe4-4094-9d94-fb27222e11d7";
const ALICE_USER: &str = "eb3fdb07-e9df-4e1c-afec-d49847b486a9";
const ADMIN: &str = "0b1f7d3a-0f0c-4d5e-9d2f-1f6f6f9d7a01";
const ADMIN_USER: &str = "0b1f7d3a-0f0c-4d5e-9d2f-1f6f6f9d7a02";
const ROOT: &str = "e3a4f522-e698-11f1-b665-02fc00000001";

/// What CloudStack was sent and answers.
#[derive(Default)]
struct Script {
    status: u16,
    body: Value,
    /// The cookie header of each call.
    calls: Vec<String>,
}

#[derive(Clone, Default)]
struct FakeCloud(Arc<Mutex<Script>>);

impl FakeCloud {
    fn answer(&self, status: u16, body: Value) {
        let mut script = self.0.lock().unwrap();
        (script.status, script.body) = (status, body);
    }

    fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.clone()
    }
}

async fn listen(State(cloud): State<FakeCloud>, headers: HeaderMap) -> impl IntoResponse {
    let mut script = cloud.0.lock().unwrap();
    let cookie = headers.get("cookie").map(|value| value.to_str().unwrap().to_owned());
    script.calls.push(cookie.unwrap_or_default());
    let headers =
        [("content-type", "application/json;charset=utf-8"), ("set-cookie", "JSESSIONID=stolen; Path=/client")];
    (StatusCode::from_u16(script.status).unwrap(), headers, script.body.to_string())
}

/// One user as in `tests/recorded/071-session-listUsers.json`.
fn user(id: &str, name: &str, account: (&str, &str), account_type: i64, role_type: &str) -> Value {
    json!({
        "id": id, "username": name, "firstname": "Alice", "lastname": "Tester", "email": "alice@example.com",
        "created": "2026-11-22T17:32:32+0000", "state": "enabled", "account": account.1, "accounttype": account_type,
        "usersource": "native", "roletype": role_type, "rolename": if role_type == "Admin" { "Root Admin" } else { role_type }, "domainid": ROOT, "domain": "ROOT",
        "accountid": account.0, "is2faenabled": false,
    })
}

fn alice() -> Value {
    user(ALICE_USER, "alice", (ALICE, "alice"), 0, "User")
}

fn admin() -> Value {
    user(ADMIN_USER, "admin", (ADMIN, "admin"), 1, "Admin")
}

fn users(users: &[Value]) -> Value {
    json!({ "listusersresponse": { "count": users.len(), "user": users } })
}

fn refused(code: u16) -> Value {
    json!({ "listusersresponse": { "uuidList": [], "errorcode": code, "errortext": "unable to verify user credentials" } })
}

struct Place {
    url: String,
    client: reqwest::Client,
    app: App,
    clock: ManualClock,
    cloud: FakeCloud,
    wake: Arc<Notify>,
    readiness: Readiness,
    alice: AccountId,
    root: AccountId,
    folder: tempfile::TempDir,
}

impl Place {
    async fn open() -> Self {
        Self::open_with(&[]).await
    }

    async fn open_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cloud = FakeCloud::default();
        cloud.answer(200, users(&[alice()]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cloud_url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Router::new().fallback(listen).with_state(cloud.clone());
        tokio::spawn(async move { axum::serve(listener, fake).await.unwrap() });

        let data = folder.path().display().to_string();
        let mut variables = vec![("BURSAR_STORE_DATA_DIR", data.as_str()), ("BURSAR_BILLING_CURRENCY", "EUR")];
        variables.extend(settings);
        let sources = Sources::new(None, variables).with_fallback(None);
        let config = Config::load(&sources).unwrap();
        let clock = ManualClock::new(NOW);
        let app = App::open(config, Arc::new(clock.clone()), Arc::new(SeededRandom::new(7))).await.unwrap();
        let alice = put_account(&app, ALICE, "alice", 0, "User").await;
        let root = put_account(&app, ADMIN, "admin", 1, "Admin").await;
        let sessions = SessionClient::new(&ClientSettings::new(cloud_url.parse().unwrap())).unwrap();
        let readiness = Readiness::new(&[Condition::Store], &[]);
        let wake = Arc::new(Notify::new());
        let state = WebState::new(app.clone(), readiness.clone(), sessions, Arc::clone(&wake), Arc::new(ClosedDesk));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(super::serve(state, listener, CancellationToken::new()));
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { url, client, app, clock, cloud, wake, readiness, alice, root, folder }
    }

    /// A person opens a page.
    async fn open_page(&self, path: &str, cookies: &str) -> Response {
        let request = self.client.get(format!("{}{BASE}{path}", self.url)).header("accept", "text/html");
        request.header("sec-fetch-mode", "navigate").header("cookie", cookies).send().await.unwrap()
    }

    /// Signs in and gives the cookies that a browser has from then on.
    async fn sign_in(&self, path: &str) -> (String, String) {
        let response = self.open_page(path, COOKIES).await;
        let status = response.status();
        let cookies = format!("{COOKIES}; {}", own_cookie(&response).unwrap_or_default());
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        (cookies, text)
    }

    async fn send_form(&self, path: &str, cookies: &str, site: &str, fields: &[(&str, &str)]) -> Response {
        let request = self.client.post(format!("{}{BASE}{path}", self.url)).header("sec-fetch-site", site);
        request.header("cookie", cookies).form(fields).send().await.unwrap()
    }
}

async fn put_account(app: &App, cloud_id: &str, name: &str, account_type: i64, role_type: &str) -> AccountId {
    let seen = SeenAccount {
        cloud_id: cloud_id.to_owned(),
        name: name.to_owned(),
        domain_id: ROOT.to_owned(),
        domain_path: "ROOT".to_owned(),
        account_type,
        role_type: role_type.to_owned(),
        state: "enabled".to_owned(),
    };
    let mut tx = app.store.begin().await.unwrap();
    let (id, _) = cloud::put_account(&mut tx, &seen, NOW).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// bursar's cookie out of an answer, as a browser sends it back.
fn own_cookie(response: &Response) -> Option<String> {
    let line = response.headers().get("set-cookie")?.to_str().unwrap();
    Some(line.split(';').next().unwrap().to_owned())
}

/// The value of a hidden field.
fn hidden(text: &str, name: &str) -> String {
    let start = text.split_once(&format!("name=\"{name}\" value=\"")).unwrap().1;
    start.split_once('"').unwrap().0.to_owned()
}
