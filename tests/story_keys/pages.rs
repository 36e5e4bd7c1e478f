//! The page Request API Access and the queue, through the real router with people signed in to CloudStack.

use bursar::{
    cloudstack::session::SessionClient,
    jobs::keys::Desk,
    lifecycle::{Condition, Readiness},
    web::{self, WebState},
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::harness::on_each_database;

const BASE: &str = "/client/api/bursar";

/// A browser of one person.
struct Browser {
    client: reqwest::Client,
    url: String,
    cookies: String,
}

/// The pages of a cloud.
struct Site {
    url: String,
    sessions: SessionClient,
}

impl Site {
    async fn open(cloud: &Cloud) -> Self {
        let sessions = SessionClient::new(&cloud.app.client_settings().unwrap()).unwrap();
        let wake = Arc::new(Notify::new());
        let desk = Arc::new(Desk::new(cloud.app.clone(), Arc::clone(&wake)));
        let readiness = Readiness::new(&[Condition::Store], &[]);
        let state = WebState::new(cloud.app.clone(), readiness, sessions.clone(), wake, desk);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{BASE}", listener.local_addr().unwrap());
        tokio::spawn(web::serve(state, listener, CancellationToken::new()));
        Self { url, sessions }
    }

    async fn sign_in(&self, name: &str, password: &str) -> Browser {
        let session = self.sessions.login(name, &Secret::new(password), "/").await.unwrap().session;
        let cookies =
            format!("JSESSIONID={}; sessionkey={}", session.jsessionid.expose(), session.session_key.expose());
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut browser = Browser { client, url: self.url.clone(), cookies };
        let answer = browser.send(browser.client.get(format!("{}/", browser.url))).await;
        assert_eq!(answer.status(), 200);
        let own = answer.headers().get("set-cookie").unwrap().to_str().unwrap().split(';').next().unwrap().to_owned();
        browser.cookies = format!("{}; {own}", browser.cookies);
        browser
    }
}

impl Browser {
    async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Response {
        let request = request.header("cookie", &self.cookies).header("accept", "text/html");
        request.header("sec-fetch-mode", "navigate").header("sec-fetch-site", "same-origin").send().await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let answer = self.send(self.client.get(format!("{}{path}", self.url))).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        text
    }

    /// Sends a form of the page `from`, with its hidden fields.
    async fn post(&self, from: &str, path: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        let mut all = vec![("csrf", hidden(from, "csrf")), ("nonce", hidden(from, "nonce"))];
        all.extend(fields.iter().map(|(name, value)| (*name, (*value).to_owned())));
        self.send(self.client.post(format!("{}{path}", self.url)).form(&all)).await
    }
}

fn hidden(text: &str, name: &str) -> String {
    let start = text.split_once(&format!("name=\"{name}\" value=\""));
    start.map_or_else(String::new, |(_, rest)| rest.split_once('"').unwrap().0.to_owned())
}

/// What stands in the box of this id.
fn boxed(text: &str, id: &str) -> String {
    let start = text.split_once(&format!("<pre id=\"{id}\"")).unwrap().1.split_once('>').unwrap().1;
    start.split_once("</pre>").unwrap().0.to_owned()
}

async fn place(database: Database) -> (Cloud, Site) {
    let mut cloud = cloud(database, |_| {}).await;
    cloud.reconfigure("WEB_BASE_PATH", BASE).await;
    let site = Site::open(&cloud).await;
    (cloud, site)
}

#[tokio::test]
async fn a_key_is_asked_for_shown_once_rotated_and_ended_on_the_page() {
    on_each_database(|database| async {
        let (cloud, site) = place(database).await;
        let alice = site.sign_in("alice", "password-of-a-tenant").await;
        let page = alice.get("/api-access").await;
        assert!(page.contains("personal access tokens") && page.contains("There are none yet"), "{page}");
        let wish = [("purpose", "nightly <backups>"), ("days", "30")];
        let empty = alice.post(&page, "/api-access", &[("purpose", ""), ("days", "30")]).await;
        assert_eq!(empty.status(), 422);
        let text = empty.text().await.unwrap();
        assert!(text.contains("Say what the key is for") && text.contains("value=\"30\""), "{text}");
        let long = alice.post(&page, "/api-access", &[("purpose", "backups"), ("days", "999")]).await;
        assert_eq!(long.status(), 422);
        let text = long.text().await.unwrap();
        assert!(text.contains("Give a whole number of days from 1 to") && text.contains("backups"), "{text}");
        // Pressed twice, it is one request.
        for _ in 0..2 {
            let sent = alice.post(&page, "/api-access", &wish).await;
            assert_eq!(sent.status(), 303);
            assert!(sent.headers()["location"].to_str().unwrap().ends_with("/api-access?done=filed"));
        }
        let page = alice.get("/api-access?done=filed").await;
        assert!(page.contains("was sent to the administrator") && page.contains("nightly &#60;backups&#62;"), "{page}");
        assert_eq!(page.matches("waits for an administrator").count(), 1, "{page}");
        let id = KeyRequestId::new(1);
        assert!(row(&cloud, id).await.for_user.is_some());
        let consent = Consent { message: Some("use it well".to_owned()), ..Consent::default() };
        approve(&cloud, id, "carol", &consent).await.unwrap();
        round(&cloud).await;
        let page = alice.get("/api-access").await;
        let secret = cloud
            .standin
            .with(|world| world.secret_for_tests(&world.api_key_for_tests("bursar-key-alice-1").unwrap()))
            .unwrap();
        assert!(page.contains("use it well") && page.contains("Show the secret, once"), "{page}");
        assert!(!page.contains(secret.expose()), "a page that is opened never shows it");
        let get = alice.send(alice.client.get(format!("{}/api-access/1/secret", alice.url))).await;
        assert_eq!(get.status(), 405);
        let shown = alice.post(&page, "/api-access/1/secret", &[]).await;
        assert_eq!((shown.status().as_u16(), &shown.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
        let shown = shown.text().await.unwrap();
        assert_eq!(boxed(&shown, "secret-key"), secret.expose());
        let api_key = boxed(&shown, "api-key");
        for config in ["cmk", "cs"] {
            let text = boxed(&shown, config);
            assert!(text.contains(&api_key) && text.contains(secret.expose()), "{text}");
        }
        assert!(boxed(&shown, "cs").starts_with("[cloudstack]\nendpoint = http"), "{shown}");
        assert!(works(&signing(&cloud, &api_key, secret.clone())).await);
        // Reloaded, sent again, or looked at from the page before: nothing.
        let again = alice.post(&page, "/api-access/1/secret", &[]).await;
        assert_eq!(again.status(), 422);
        let again = again.text().await.unwrap();
        assert!(again.contains("shown before") && !again.contains(secret.expose()), "{again}");
        let page = alice.get("/api-access").await;
        assert!(!page.contains(secret.expose()) && page.contains("does not tell when a key was last used"), "{page}");
        for _ in 0..2 {
            let rotated = alice.post(&page, "/api-access/1/rotate", &[]).await;
            assert_eq!(rotated.status(), 303, "{:?}", rotated.text().await);
        }
        let page = alice.get("/api-access").await;
        assert_eq!(state(&cloud, KeyRequestId::new(2)).await, "issued", "one second key");
        assert!(page.contains("Takes over from the key of request"), "{page}");
        for _ in 0..2 {
            let ended = alice.post(&page, "/api-access/1/revoke", &[]).await;
            assert_eq!(ended.status(), 303);
        }
        assert_eq!(state(&cloud, id).await, "revoked");
        assert!(!works(&signing(&cloud, &api_key, secret)).await);
        assert!(alice.get("/api-access").await.contains("You ended the key on"));
        let longer = alice.get("/api-access?replaces=2").await;
        assert!(longer.contains("name=\"replaces\" value=\"2\""), "{longer}");
    })
    .await;
}

#[tokio::test]
async fn a_request_is_withdrawn_before_anybody_has_decided_and_before_its_key_is_made() {
    on_each_database(|database| async {
        let (cloud, site) = place(database).await;
        let alice = site.sign_in("alice", "password-of-a-tenant").await;
        let page = alice.get("/api-access").await;
        // A purpose on several lines is one.
        let wish = [("purpose", "nightly\r\n backups\tand more"), ("days", "30")];
        assert_eq!(alice.post(&page, "/api-access", &wish).await.status(), 303);
        let id = KeyRequestId::new(1);
        assert_eq!(row(&cloud, id).await.purpose, "nightly backups and more");
        let page = alice.get("/api-access").await;
        assert!(page.contains("Withdraw this request") && !page.contains("stops working at once"), "{page}");
        for _ in 0..2 {
            let sent = alice.post(&page, "/api-access/1/revoke", &[]).await;
            assert_eq!(sent.status(), 303);
            assert!(sent.headers()["location"].to_str().unwrap().ends_with("/api-access?done=withdrawn"));
        }
        let page = alice.get("/api-access?done=withdrawn").await;
        for says in ["The request is withdrawn.", ">withdrawn<", "You withdrew the request on"] {
            assert!(page.contains(says), "{says} is missing in {page}");
        }
        assert_eq!(state(&cloud, id).await, "revoked");
        assert_eq!(audit(&cloud).await.iter().filter(|action| *action == "key.withdraw").count(), 1);
        assert!(approve(&cloud, id, "carol", &Consent::default()).await.is_err());
        let carol = site.sign_in("admin", bursar::standin::ADMIN_PASSWORD).await;
        assert!(carol.get("/admin/queue").await.contains("No request waits"));
        // Approved, and no pair is made yet: withdrawn as well, and nothing is made.
        let second = approved(&cloud, "alice", 30).await;
        let page = alice.get("/api-access").await;
        assert!(page.contains("no key is handed out") && !page.contains("stops working at once"), "{page}");
        let sent = alice.post(&page, &format!("/api-access/{second}/revoke"), &[]).await;
        assert!(sent.headers()["location"].to_str().unwrap().ends_with("?done=withdrawn"));
        assert_eq!((state(&cloud, second).await.as_str(), key_users(&cloud, "alice").await), ("revoked", 0));
        assert_eq!(alice.get("/api-access").await.matches("You withdrew the request on").count(), 2);
    })
    .await;
}

#[tokio::test]
async fn each_request_that_ended_says_how_and_when() {
    on_each_database(|database| async {
        let (cloud, site) = place(database).await;
        let settings = keys::settings(&cloud.app);
        approved(&cloud, "alice", 30).await;
        round(&cloud).await;
        cloud.clock.advance(cloud.app.config.access.secret_shown);
        round(&cloud).await;
        shown(&cloud, "alice", 1).await;
        cloud.clock.advance(DAY);
        round(&cloud).await;
        let denied = file(&cloud, wish(&cloud, "alice", 30).await).await.unwrap();
        let mut tx = cloud.app.store.begin().await.unwrap();
        access::deny(&mut tx, denied, "carol", Some("ask for less"), &settings, cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let (changed, _) = shown(&cloud, "alice", 30).await;
        let key_user = user_of(&cloud, &row(&cloud, changed).await).unwrap();
        cloud.standin.with(|world| world.register_keys(key_user));
        watch(&cloud).await;
        let (ended, _) = shown(&cloud, "alice", 30).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        access::revoke(&mut tx, ended, "cli:carol", &settings, cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        round(&cloud).await;
        let alice = site.sign_in("alice", "password-of-a-tenant").await;
        let page = alice.get("/api-access").await;
        for says in [
            "Nobody looked at its secret in time, so the key was switched off on",
            "Its time was over on",
            "An administrator refused it on",
            "ask for less",
            "The key changed by itself and was switched off on",
            "An administrator ended the key on",
        ] {
            assert!(page.contains(says), "{says} is missing in {page}");
        }
        assert!(!page.contains("cli:carol"), "{page}");
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_is_said_in_whole_sentences_and_an_administrators_account_gets_no_form() {
    on_each_database(|database| async {
        let (cloud, site) = place(database).await;
        let alice = site.sign_in("alice", "password-of-a-tenant").await;
        let page = alice.get("/api-access").await;
        for _ in 0..10 {
            file(&cloud, wish(&cloud, "alice", 30).await).await.unwrap();
        }
        let sent = alice.post(&page, "/api-access", &[("purpose", "one more"), ("days", "30")]).await;
        assert_eq!(sent.status(), 422);
        let text = sent.text().await.unwrap();
        assert!(text.contains("Your account has 10 requests and keys that have not ended"), "{text}");
        let sent = alice.post(&page, "/api-access/1/rotate", &[]).await;
        assert_eq!(sent.status(), 422);
        let text = sent.text().await.unwrap();
        assert!(text.contains("That is not possible any more, or not yet."), "{text}");
        let carol = site.sign_in("admin", bursar::standin::ADMIN_PASSWORD).await;
        let page = carol.get("/api-access").await;
        assert!(page.contains("No keys are made for it here") && !page.contains("name=\"purpose\""), "{page}");
    })
    .await;
}

#[tokio::test]
async fn another_accounts_request_is_as_if_it_were_not_there() {
    on_each_database(|database| async {
        let (cloud, site) = place(database).await;
        let id = approved(&cloud, "alice", 30).await;
        round(&cloud).await;
        let bob = site.sign_in("bob", "password-of-a-tenant").await;
        let page = bob.get("/api-access").await;
        assert!(page.contains("There are none yet"), "{page}");
        for what in ["secret", "rotate", "revoke"] {
            let answer = bob.post(&page, &format!("/api-access/{id}/{what}"), &[]).await;
            assert_eq!(answer.status(), 404, "{what}");
        }
        let wish = [("purpose", "mine"), ("days", "30"), ("replaces", "1")];
        assert_eq!(bob.post(&page, "/api-access", &wish).await.status(), 404);
        assert_eq!(state(&cloud, id).await, "issued");
        // Without the token of the form nothing happens either.
        let forged = bob.send(bob.client.post(format!("{}/api-access", bob.url)).form(&wish)).await;
        assert_eq!(forged.status(), 403);
    })
    .await;
}

#[tokio::test]
async fn whoever_may_only_look_sees_the_list_and_no_form() {
    on_each_database(|database| async {
        let (cloud, site) = place(database).await;
        let id = approved(&cloud, "alice", 30).await;
        round(&cloud).await;
        let alice = site.sign_in("alice", "password-of-a-tenant").await;
        let page = alice.get("/api-access").await;
        for role in ["viewer", "finance"] {
            // What the mapping says is read with every request.
            cloud_role(&cloud, role).await;
            let looked = alice.get("/api-access").await;
            assert!(looked.contains("Only owners of the account"), "{looked}");
            assert!(looked.contains("nightly backups") && !looked.contains("/secret\""), "{looked}");
            for what in ["secret", "rotate", "revoke"] {
                let answer = alice.post(&page, &format!("/api-access/{id}/{what}"), &[]).await;
                assert_eq!(answer.status(), 403, "{role} {what}");
            }
            let wish = [("purpose", "mine"), ("days", "30")];
            assert_eq!(alice.post(&page, "/api-access", &wish).await.status(), 403, "{role}");
        }
        assert_eq!(state(&cloud, id).await, "issued");
    })
    .await;
}

/// Gives the signed-in session of alice another role.
async fn cloud_role(cloud: &Cloud, role: &str) {
    use sqlx::{ConnectOptions as _, Executor as _};

    let sql = format!("update web_session set role = '{role}'");
    if let Some(url) = &cloud.database.url {
        crate::harness::run_sql_on(url, &sql).await;
    } else {
        let file = cloud.database.folder.path().join("bursar.db");
        let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }
}

#[tokio::test]
async fn an_administrator_answers_in_the_queue() {
    on_each_database(|database| async {
        let (cloud, site) = place(database).await;
        let (first, second) = (
            file(&cloud, wish(&cloud, "alice", 30).await).await.unwrap(),
            file(&cloud, wish(&cloud, "bob", 30).await).await.unwrap(),
        );
        let carol = site.sign_in("admin", bursar::standin::ADMIN_PASSWORD).await;
        let page = carol.get("/admin/queue").await;
        assert!(page.contains("ROOT/alice") && page.contains("ROOT/bob"), "{page}");
        let terms = [("purpose", "backups only"), ("days", "5"), ("message", "for now")];
        let done = carol.post(&page, &format!("/admin/queue/keys/{first}/approve"), &terms).await;
        assert_eq!(done.status(), 303, "{:?}", done.text().await);
        let row = row(&cloud, first).await;
        assert_eq!((row.state.as_str(), row.days, row.purpose.as_str()), ("issued", 5, "backups only"));
        let denied = format!("/admin/queue/keys/{second}/deny");
        assert_eq!(carol.post(&page, &denied, &[("message", "")]).await.status(), 422);
        assert_eq!(carol.post(&page, &denied, &[("message", "no")]).await.status(), 303);
        assert_eq!(state(&cloud, second).await, "denied");
        let page = carol.get("/admin/queue").await;
        assert!(page.contains("No request waits"), "{page}");
        let alice = site.sign_in("alice", "password-of-a-tenant").await;
        let own = alice.get("/api-access").await;
        let third = file(&cloud, wish(&cloud, "bob", 30).await).await.unwrap();
        let answer = alice.post(&own, &format!("/admin/queue/keys/{third}/approve"), &terms).await;
        assert_eq!(answer.status(), 403);
        assert_eq!(state(&cloud, third).await, "requested");
    })
    .await;
}

#[tokio::test]
async fn machines_do_the_same_through_the_api() {
    on_each_database(|database| async {
        let (cloud, site) = place(database).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let hash = bursar::secrets::token_hash("bursar_portal");
        people::insert_token(&mut tx, "portal", &hash, "read,write", "test", cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let client = reqwest::Client::new();
        let call = async |path: &str, key: &str, body: serde_json::Value| {
            let request = client.post(format!("{}/api/v1{path}", site.url)).bearer_auth("bursar_portal");
            let request = request.header("idempotency-key", key).header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await.unwrap();
            let status = answer.status().as_u16();
            let told = answer.text().await.unwrap();
            (status, serde_json::from_str::<serde_json::Value>(&told).unwrap_or_else(|_| panic!("not JSON: {told}")))
        };
        let account = cloud.account("alice").await.id;
        let wish = serde_json::json!({ "account": account, "purpose": "backups", "days": 30 });
        let (status, filed) = call("/key-requests", "a", wish).await;
        assert_eq!((status, filed["state"].as_str()), (201, Some("requested")), "{filed}");
        let terms = serde_json::json!({ "days": 9, "purpose": "backups only", "message": "fine" });
        let (status, made) = call("/key-requests/1/approve", "b", terms).await;
        assert_eq!((status, made["state"].as_str(), made["days"].as_i64()), (200, Some("issued"), Some(9)), "{made}");
        assert_eq!((made["purpose"].as_str(), made["approvals"].as_array().unwrap().len()), (Some("backups only"), 1));
        let (_, pair) = call("/key-requests/1/secret", "c", serde_json::json!({})).await;
        let secret = pair["secret_key"].as_str().unwrap();
        let (status, again) = call("/key-requests/1/secret", "d", serde_json::json!({})).await;
        assert!(status == 409 && !again.to_string().contains(secret), "{again}");
        let (status, second) = call("/key-requests/1/rotate", "e", serde_json::json!({})).await;
        assert_eq!((status, second["replaces"].as_i64(), second["state"].as_str()), (201, Some(1), Some("issued")));
        let (_, same) = call("/key-requests/1/rotate", "e", serde_json::json!({})).await;
        assert_eq!(same["id"], second["id"], "the same key is the same rotation");
        let (status, _) = call("/key-requests/1/rotate", "f", serde_json::json!({})).await;
        assert_eq!(status, 409);
        assert!(!second.to_string().contains(secret));
    })
    .await;
}
