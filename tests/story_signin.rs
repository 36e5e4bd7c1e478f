//! Signing in: by CloudStack's session, by OpenID Connect, by a signed link; and who is mapped to which account (rules 18 to 22
//! of the design). Over HTTP, with the stand-in's real sessions and a provider with keys of its own.

mod check;
mod cloudstack;
mod deletions;
mod links;
mod mapping;
mod openid;
mod rights;
mod tables;

use std::{sync::Arc, time::Duration};

use bursar::{
    cloudstack::session::SessionClient,
    ids::{CloudId, RunId},
    jobs::{
        Role,
        mail::{self, MailSummary},
    },
    lifecycle::{Condition, Readiness},
    notify::Looked,
    people::{directory, mapping as people},
    secrets::Secret,
    standin::{AccountKind, World},
    store::mapping::NewBinding,
    time::Clock as _,
    web::{self, WebState, keydesk::ClosedDesk},
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;

use crate::harness::{
    Cloud, Database, NOVEMBER,
    browser::Browser,
    oidc::{CLIENT, Person, Provider, SECRET, Signs},
    smtp::MailServer,
    tenant,
};

const BASE: &str = "/client/api/bursar";
const PASSWORD: &str = "password-of-a-tenant";
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const MINUTE: Duration = Duration::from_mins(1);

/// A cloud with bursar's pages, a mail server, and two OpenID providers: `corp`, whose word about addresses counts, and `public`,
/// whose does not.
struct Place {
    cloud: Cloud,
    url: String,
    mail: MailServer,
    corp: Provider,
    public: Provider,
    sessions: SessionClient,
}

impl Place {
    async fn open(database: Database) -> Self {
        Self::open_with(database, &[], people_of_the_cloud).await
    }

    async fn open_with(database: Database, settings: &[(&str, &str)], build: impl FnOnce(&mut World)) -> Self {
        Self::open_signing(database, Signs::Es256, settings, build).await
    }

    /// With a `corp` that signs so.
    async fn open_signing(
        database: Database,
        signs: Signs,
        settings: &[(&str, &str)],
        build: impl FnOnce(&mut World),
    ) -> Self {
        let at_once = |options: &mut bursar::standin::Options| options.job_delay_polls = 0;
        let mut cloud = Cloud::start_tuned(database, NOVEMBER, at_once, build).await;
        let corp = Provider::start(&cloud.clock, signs).await;
        let public = Provider::start(&cloud.clock, Signs::EdDsa).await;
        let mail = MailServer::start();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut set = |key: &str, value: &str| cloud.env.insert(format!("BURSAR_{key}"), value.to_owned());
        set("WEB_PUBLIC_URL", &url);
        for (name, provider, trusted) in [("CORP", &corp, "true"), ("PUBLIC", &public, "false")] {
            set(&format!("OIDC_{name}_ISSUER"), &provider.issuer);
            set(&format!("OIDC_{name}_CLIENT_ID"), CLIENT);
            set(&format!("OIDC_{name}_CLIENT_SECRET"), SECRET);
            set(&format!("OIDC_{name}_LABEL"), &format!("{name} login"));
            set(&format!("OIDC_{name}_TRUSTED"), trusted);
        }
        for (key, value) in [
            ("MAIL_TRANSPORT", "smtp"),
            ("MAIL_HOST", "127.0.0.1"),
            ("MAIL_SECURITY", "none"),
            ("MAIL_FROM", "billing@example.com"),
            ("MAIL_ADMINS", "admin@example.com"),
            ("MAIL_DIGEST", ""),
        ] {
            set(key, value);
        }
        set("MAIL_PORT", &mail.address.port().to_string());
        for (key, value) in settings {
            set(key, value);
        }
        cloud.restart().await;
        let sessions = SessionClient::new(&cloud.app.client_settings().unwrap()).unwrap();
        let place = Self { cloud, url, mail, corp, public, sessions };
        place.meet().await;
        place.post().await;
        place.serve(listener);
        place
    }

    fn serve(&self, listener: TcpListener) {
        let readiness = Readiness::new(&[Condition::Store], &[]);
        let wake = Arc::new(Notify::new());
        let state = WebState::new(self.cloud.app.clone(), readiness, self.sessions.clone(), wake, Arc::new(ClosedDesk));
        tokio::spawn(web::serve(state, listener, CancellationToken::new()));
    }

    /// Reads accounts and people from CloudStack.
    async fn meet(&self) {
        let client = self.cloud.app.client(Role::Reader).unwrap();
        let run = self.cloud.begin_run().await;
        directory::sync_directory(&client, &self.cloud.app.store, &self.cloud.clock, run).await.unwrap();
    }

    /// Makes and sends what mail there is.
    async fn post(&self) -> MailSummary {
        mail::pass(&self.cloud.app, Looked::AtAll, "test").await.unwrap()
    }

    fn at(&self, path: &str) -> String {
        format!("{}{BASE}{path}", self.url)
    }

    /// Signs somebody in to CloudStack, in a browser.
    async fn cloudstack(&self, browser: &mut Browser, username: &str) {
        self.cloudstack_with(browser, username, PASSWORD).await;
    }

    async fn cloudstack_with(&self, browser: &mut Browser, username: &str, password: &str) {
        let session = self.sessions.login(username, &Secret::new(password), "/").await.unwrap().session;
        browser.plant(&self.url, "/client", "JSESSIONID", session.jsessionid.expose());
        browser.plant(&self.url, "/client/api", "sessionkey", session.session_key.expose());
    }

    /// The root administrator at bursar's pages.
    async fn admin(&self) -> Browser {
        let mut browser = Browser::default();
        self.cloudstack_with(&mut browser, "admin", bursar::standin::ADMIN_PASSWORD).await;
        browser
    }

    /// Signs in at a provider and comes back, in a browser of its own.
    async fn signs_in(&self, name: &str, person: Person) -> (Browser, crate::harness::browser::Page) {
        let mut browser = Browser::default();
        let page = self.signs_in_by(&mut browser, name, person).await;
        (browser, page)
    }

    async fn signs_in_by(&self, browser: &mut Browser, name: &str, person: Person) -> crate::harness::browser::Page {
        let provider = if name == "corp" { &self.corp } else { &self.public };
        provider.person(person);
        browser.open(&self.at(&format!("/sign-in/{name}"))).await
    }

    /// Maps a person of a provider to an account.
    async fn map(&self, provider: &Provider, sub: &str, account: &str, role: &str) {
        self.map_as(&provider.issuer, sub, account, role, None).await;
    }

    async fn map_as(&self, issuer: &str, sub: &str, account: &str, role: &str, user: Option<&str>) {
        let account = self.cloud.account(account).await;
        let binding = NewBinding {
            issuer,
            subject: sub,
            cloud_user_id: user,
            account: account.id,
            role,
            by: "test",
            rule_id: None,
            address_id: None,
        };
        let mut tx = self.cloud.app.store.begin().await.unwrap();
        people::map(&mut tx, &binding, self.cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The CloudStack user of a name.
    async fn user(&self, name: &str) -> String {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        let users = bursar::store::cloud::list_users(&mut tx, None).await.unwrap();
        users.into_iter().find(|user| user.username == name).unwrap().cloud_id
    }

    /// An administrator confirms an address.
    async fn confirm(&self, account: &str, user: &str, email: &str) {
        let account = self.cloud.account(account).await;
        let email = bursar::email::EmailAddress::parse(email).unwrap();
        let mut tx = self.cloud.app.store.begin().await.unwrap();
        let now = self.cloud.clock.now();
        assert!(people::confirm(&mut tx, &account, user, &email, ("admin", "test"), now).await.unwrap());
        tx.commit().await.unwrap();
    }

    /// The link of the newest mail to somebody.
    fn link_to(&self, address: &str) -> String {
        let mails = self.mail.taken();
        let mail = mails.iter().rev().find(|mail| mail.to.contains(address));
        let text = mail.unwrap_or_else(|| panic!("no mail to {address}")).part("text/plain");
        let start = text.find(&self.at("/link/")).unwrap_or_else(|| panic!("no link in {text}"));
        text[start..].split_whitespace().next().unwrap().to_owned()
    }

    /// How many mails went to somebody.
    fn mails_to(&self, address: &str) -> usize {
        self.mail.taken().iter().filter(|mail| mail.to.contains(address)).count()
    }

    /// Opens a link and presses its button.
    async fn redeem(&self, browser: &mut Browser, link: &str) -> crate::harness::browser::Page {
        let looked = browser.open(link).await;
        assert_eq!(looked.status, 200, "{}", looked.text);
        browser.send(&self.at("/link"), &[("token", &looked.hidden("token"))]).await
    }

    /// Lets bob use up a small limit until he is locked, and his mail be sent.
    async fn lock_bob(&self) {
        let cloud = &self.cloud;
        bursar_tested(self).await;
        cloud.arm(&["notify", "lock", "stop"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("bob", "0.05").await;
        for _ in 0..8 {
            cloud.pass(DAY);
            let locked = cloud.round().await.locked;
            self.post().await;
            if locked == ["ROOT/bob"] {
                self.meet().await;
                assert_eq!(cloud.account("bob").await.state, "locked");
                return;
            }
        }
        panic!("bob was never locked");
    }
}

/// A test mail passed: warnings count.
async fn bursar_tested(place: &Place) {
    let mut tx = place.cloud.app.store.begin().await.unwrap();
    let settings = mail::settings(&place.cloud.app);
    bursar::notify::note_tested(&mut tx, &settings, place.cloud.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

/// alice, and bob with a machine; and `shop`, whose two users are administrators of their domain.
fn people_of_the_cloud(world: &mut World) {
    tenant(world, "alice");
    let bob = tenant(world, "bob");
    let offering = world.find_offering("Small Instance").unwrap();
    let now = world.now();
    world.deploy_vm(bob, "bob-vm", offering, now);
    shop(world);
}

fn shop(world: &mut World) -> CloudId {
    let root = world.find_domain("ROOT").unwrap();
    let shop = world.add_account(root, "shop", AccountKind::DomainAdmin);
    world.add_user(shop, "sara", PASSWORD, "sara@example.com");
    world.add_user(shop, "sam", PASSWORD, "sam@example.com");
    shop
}

/// A table as text.
async fn dump(place: &Place, table: &str) -> String {
    use bursar::store::Store;
    use sqlx::Row as _;
    // As JSON on both, whatever the columns are.
    let store = &place.cloud.app.store;
    match store {
        Store::Sqlite { reader, .. } => {
            let columns = format!("select group_concat(name) from pragma_table_info('{table}')");
            let columns: String = sqlx::query_scalar(sqlx::AssertSqlSafe(columns)).fetch_one(reader).await.unwrap();
            let parts: Vec<String> = columns.split(',').map(|name| format!("coalesce({name}, '')")).collect();
            let sql = format!("select {} as line from {table}", parts.join(" || ' ' || "));
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(reader).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>("line")).collect()
        }
        Store::Postgres(pool) => {
            let sql = format!("select row_to_json(t)::text as line from {table} t");
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>("line")).collect()
        }
    }
}
