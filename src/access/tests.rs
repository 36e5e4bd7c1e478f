use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    approver::Approver,
    cloudstack::testing::{NOW, Reaction, Scripted, ok},
    ids::{AccountId, CloudId},
    random::{RandomSource, SeededRandom},
    secrets::Secret,
    store::{Store, StoreSettings, cloud, people},
    time::{Clock, ManualClock},
};

const ACCOUNT: &str = "d522b0de-3fe4-4094-9d94-fb27222e11d7";
const DOMAIN: &str = "e3a4f522-e698-11f1-b665-02fc00000001";
const SEED: u64 = 5;

pub(super) struct Place {
    folder: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) box_key: BoxKey,
    pub(super) settings: AccessSettings,
    pub(super) clock: ManualClock,
    pub(super) random: SeededRandom,
    account: AccountId,
}

async fn open(folder: &tempfile::TempDir) -> Store {
    let data_dir = folder.path().to_owned();
    Store::open(&StoreSettings { data_dir, url: Secret::new(""), max_connections: 2 }).await.unwrap()
}

impl Place {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let box_key = BoxKey::load_or_create(&folder.path().join("box.key"), &SeededRandom::new(1)).unwrap();
        let settings = AccessSettings {
            enabled: true,
            user_prefix: "api-".to_owned(),
            max_days: 90,
            secret_shown: Duration::from_hours(48),
            two_approvals: false,
            overlap: Duration::from_hours(24),
            warn_days: vec![14, 3, 1],
            zone: chrono_tz::Tz::UTC,
            protected: Vec::new(),
            several_pairs: false,
            unconfirmed: None,
        };
        let clock = ManualClock::new(NOW);
        let account = put_account(&store, 0, "User").await;
        Self { folder, store, box_key, settings, clock, random: SeededRandom::new(SEED), account }
    }

    async fn file(&self, key: &str) -> Result<KeyRequestId, Error> {
        let mut tx = self.store.begin().await.unwrap();
        let id = file(&mut tx, &self.settings, self.wish(key), NOW).await?;
        tx.commit().await.unwrap();
        Ok(id)
    }

    fn wish(&self, key: &str) -> NewRequest {
        NewRequest {
            key: key.to_owned(),
            account: self.account,
            requested_by: "alice".to_owned(),
            for_user: None,
            replaces: None,
            purpose: "backups".to_owned(),
            days: 30,
        }
    }

    pub(super) async fn approved(&self, key: &str) -> KeyRequestId {
        let id = self.file(key).await.unwrap();
        let mut tx = self.store.begin().await.unwrap();
        let consent = Consent { message: Some("fine".to_owned()), days: Some(10), purpose: None };
        approve(&mut tx, id, &root(), &consent, &self.settings, NOW).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Until when a pass that begins now has a request for itself.
    pub(super) fn claim(&self) -> Timestamp {
        self.clock.now().plus(issue::CLAIM)
    }

    async fn issued(&self) -> KeyRequestId {
        let id = self.approved("first").await;
        let server = Scripted::start([created(), updated(), listed(), keys("1")]).await;
        assert_eq!(self.pass(&server).await.issued, 1);
        id
    }

    async fn pass(&self, server: &Scripted) -> CarriedOut {
        let client = server.client();
        let pass = carry_out(&self.store, &client, &self.box_key, &self.settings, &self.clock, &self.random);
        sendable(pass).await.unwrap()
    }

    async fn revoke(&self, id: KeyRequestId) -> Result<(), Error> {
        let mut tx = self.store.begin().await.unwrap();
        revoke(&mut tx, id, "alice", &self.settings, self.clock.now()).await?;
        tx.commit().await.unwrap();
        Ok(())
    }

    async fn show(&self, id: KeyRequestId) -> Result<ShownPair, Error> {
        show_secret(&self.store, id, "alice", &self.box_key, &self.settings, &self.clock).await
    }

    pub(super) async fn row(&self, id: KeyRequestId) -> KeyRequest {
        let mut tx = self.store.read().await.unwrap();
        people::get_key_request(&mut tx, id).await.unwrap()
    }

    async fn audit(&self) -> Vec<String> {
        let mut tx = self.store.read().await.unwrap();
        let mut lines = runs::list_audit(&mut tx, None, 100).await.unwrap();
        lines.reverse();
        lines.into_iter().map(|line| line.action).collect()
    }
}

fn root() -> Approver {
    Approver::by_name("root")
}

/// Jobs are spawned: a pass has to be movable between threads.
fn sendable<T: Send>(future: T) -> T {
    future
}

async fn put_account(store: &Store, account_type: i64, role_type: &str) -> AccountId {
    let seen = cloud::SeenAccount {
        cloud_id: ACCOUNT.to_owned(),
        name: "alice".to_owned(),
        domain_id: DOMAIN.to_owned(),
        domain_path: "ROOT".to_owned(),
        account_type,
        role_type: role_type.to_owned(),
        state: "enabled".to_owned(),
    };
    let mut tx = store.begin().await.unwrap();
    let (id, _) = cloud::put_account(&mut tx, &seen, NOW).await.unwrap();
    tx.commit().await.unwrap();
    id
}

pub(super) fn user_id() -> CloudId {
    CloudId::new(SeededRandom::new(SEED).uuid())
}

fn user_in(account: &str, role_type: &str) -> String {
    format!(
        r#"{{"id":"{}","username":"api-alice-1","email":"api-alice-1@invalid.example","state":"enabled","account":"alice","accounttype":0,"roletype":"{role_type}","accountid":"{account}"}}"#,
        user_id()
    )
}

fn created() -> Reaction {
    ok(&format!(r#"{{"createuserresponse":{{"user":{}}}}}"#, user_in(ACCOUNT, "User")))
}

pub(super) fn updated() -> Reaction {
    ok(&format!(r#"{{"updateuserresponse":{{"user":{}}}}}"#, user_in(ACCOUNT, "User")))
}

pub(super) fn listed() -> Reaction {
    ok(&format!(r#"{{"listusersresponse":{{"count":1,"user":[{}]}}}}"#, user_in(ACCOUNT, "User")))
}

fn nobody() -> Reaction {
    ok(r#"{"listusersresponse":{}}"#)
}

fn keys(which: &str) -> Reaction {
    ok(&format!(
        r#"{{"registeruserkeysresponse":{{"userkeys":{{"apikey":"EXAMPLE-KEY-{which}","secretkey":"EXAMPLE-SECRET-{which}"}}}}}}"#
    ))
}

pub(super) fn deleted() -> Reaction {
    ok(r#"{"deleteuserresponse":{"success":true}}"#)
}

fn refused(command: &str, code: u16, text: &str) -> Reaction {
    Reaction::json(code, &format!(r#"{{"{command}response":{{"errorcode":{code},"errortext":"{text}"}}}}"#))
}

fn commands(server: &Scripted) -> Vec<String> {
    server.received().iter().map(|request| request.param("command").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_approved_request_becomes_a_pair_of_a_user_of_its_own() {
    let place = Place::new().await;
    let id = place.approved("first").await;
    let server = Scripted::start([created(), updated(), listed(), keys("1")]).await;
    let done = place.pass(&server).await;
    assert_eq!(done, CarriedOut { issued: 1, ..CarriedOut::default() });
    assert_eq!(commands(&server), ["createUser", "updateUser", "listUsers", "registerUserKeys"]);
    let sent = &server.received()[0];
    assert_eq!(sent.param("userid"), Some(user_id().to_string().as_str()));
    assert_eq!(sent.param("username"), Some("api-alice-1"));
    assert_eq!(sent.param("email"), Some("api-alice-1@invalid.example"));
    assert_eq!((sent.param("account"), sent.param("domainid")), (Some("alice"), Some(DOMAIN)));
    assert_eq!(server.received()[1].param("apikeyaccess"), Some("enabled"));

    let row = place.row(id).await;
    assert_eq!((row.state.as_str(), row.api_key.as_deref()), ("issued", Some("EXAMPLE-KEY-1")));
    assert_eq!(row.expires_ms, Some(NOW.plus(Duration::from_hours(240)).as_ms()));
    let file = std::fs::read(place.folder.path().join("bursar.db")).unwrap();
    let log = std::fs::read(place.folder.path().join("bursar.db-wal")).unwrap_or_default();
    let stored = |text: &[u8]| file.windows(text.len()).chain(log.windows(text.len())).any(|part| part == text);
    assert!(stored(b"EXAMPLE-KEY-1"), "the files are not those of the database");
    let password = sent.param("password").unwrap().as_bytes();
    for secret in [b"EXAMPLE-SECRET".as_slice(), password] {
        assert!(!stored(secret));
    }
    assert_eq!(place.audit().await, ["key.request", "key.approve", "key.prepare", "key.issue"]);
}

#[tokio::test]
async fn the_secret_is_shown_once_also_after_a_restart_and_to_one_of_two() {
    let mut place = Place::new().await;
    let id = place.issued().await;
    place.store.close().await;
    place.store = open(&place.folder).await;
    place.box_key = BoxKey::load_or_create(&place.folder.path().join("box.key"), &SeededRandom::new(9)).unwrap();
    let place = Arc::new(place);
    let both = [0, 1].map(|_| {
        let place = Arc::clone(&place);
        tokio::spawn(async move { place.show(id).await })
    });
    let mut shown = Vec::new();
    for one in both {
        match one.await.unwrap() {
            Ok(pair) => shown.push(pair),
            Err(error) => assert!(matches!(error, Error::ShownBefore(_)), "{error}"),
        }
    }
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].api_key.as_str(), shown[0].secret_key.expose()), ("EXAMPLE-KEY-1", "EXAMPLE-SECRET-1"));
    assert_eq!(format!("{:?}", shown[0]), "ShownPair(…)");
    let row = place.row(id).await;
    assert!(row.state == "shown" && row.secret_box.is_none());
}

#[tokio::test]
async fn a_lost_createuser_answer_is_read_back_in_the_same_pass() {
    let place = Place::new().await;
    place.approved("first").await;
    let server = Scripted::start([Reaction::Cut, listed(), updated(), listed(), keys("1")]).await;
    assert_eq!(place.pass(&server).await.issued, 1);
    assert_eq!(commands(&server)[..2], ["createUser", "listUsers"]);
}

#[tokio::test]
async fn a_pass_cut_off_after_createuser_goes_on_with_the_same_user() {
    let place = Place::new().await;
    let id = place.approved("first").await;
    let server = Scripted::start([created(), Reaction::Cut]).await;
    assert_eq!(place.pass(&server).await.failed, 1);
    let row = place.row(id).await;
    assert_eq!((row.state.as_str(), row.user_id), ("approved", Some(user_id().to_string())));
    assert!(row.last_error.is_some());

    let server = Scripted::start([listed(), updated(), listed(), keys("1")]).await;
    assert_eq!(place.pass(&server).await.issued, 1);
    assert_eq!(commands(&server)[0], "listUsers", "the user was made twice");
    assert_eq!(place.row(id).await.last_error, None);
}

#[tokio::test]
async fn a_pass_cut_off_before_createuser_makes_the_user_under_the_id_it_noted() {
    let place = Place::new().await;
    let id = place.approved("first").await;
    let mut tx = place.store.begin().await.unwrap();
    people::put_key_user(&mut tx, id, &user_id().to_string(), "api-alice-1").await.unwrap();
    tx.commit().await.unwrap();
    let server = Scripted::start([nobody(), created(), updated(), listed(), keys("1")]).await;
    assert_eq!(place.pass(&server).await.issued, 1);
    assert_eq!(server.received()[1].param("userid"), Some(user_id().to_string().as_str()));
}

#[tokio::test]
async fn a_lost_registeruserkeys_answer_means_another_pair() {
    let place = Place::new().await;
    let id = place.approved("first").await;
    let server = Scripted::start([created(), updated(), listed(), Reaction::CutInside, keys("2")]).await;
    assert_eq!(place.pass(&server).await.issued, 1);
    assert_eq!(place.show(id).await.unwrap().secret_key.expose(), "EXAMPLE-SECRET-2");

    let other = Place::new().await;
    let id = other.approved("first").await;
    let server = Scripted::start([created(), updated(), listed(), Reaction::Cut, Reaction::Cut]).await;
    assert_eq!(other.pass(&server).await.failed, 1);
    let server = Scripted::start([listed(), updated(), listed(), keys("3")]).await;
    assert_eq!(other.pass(&server).await.issued, 1);
    assert_eq!(other.show(id).await.unwrap().secret_key.expose(), "EXAMPLE-SECRET-3");
}

#[tokio::test]
async fn a_user_of_that_name_that_bursar_did_not_make_is_left_alone() {
    let place = Place::new().await;
    let id = place.approved("first").await;
    let taken = || refused("createuser", 530, "The user api-alice-1 already exists in domain 1");
    let server = Scripted::start([taken(), nobody()]).await;
    assert_eq!(place.pass(&server).await.failed, 1);
    assert_eq!(commands(&server), ["createUser", "listUsers"]);
    let row = place.row(id).await;
    let error = row.last_error.unwrap();
    assert!(row.state == "approved" && error.contains("\"api-alice-1\" that bursar did not make"), "{error}");

    let server = Scripted::start([nobody(), taken(), listed(), updated(), listed(), keys("1")]).await;
    assert_eq!(place.pass(&server).await.issued, 1, "a user with our id is ours");
}

#[tokio::test]
async fn where_apikeyaccess_is_not_allowed_the_pair_is_made_all_the_same() {
    let place = Place::new().await;
    place.approved("first").await;
    let denied = refused("updateuser", 432, "The API [updateUser] does not exist or is not available for the account");
    let server = Scripted::start([created(), denied, keys("1")]).await;
    assert_eq!(place.pass(&server).await.issued, 1);
}

#[tokio::test]
async fn one_request_that_fails_does_not_stop_the_others() {
    let place = Place::new().await;
    let first = place.approved("first").await;
    let second = place.approved("second").await;
    let mut tx = place.store.begin().await.unwrap();
    people::put_key_user(&mut tx, second, &user_id().to_string(), "api-alice-2").await.unwrap();
    tx.commit().await.unwrap();
    let policy = refused("createuser", 431, "the password is too weak");
    let server = Scripted::start([policy, listed(), updated(), listed(), keys("2")]).await;
    let done = place.pass(&server).await;
    assert_eq!((done.failed, done.issued, done.stopped), (1, 1, false));
    assert!(place.row(first).await.last_error.unwrap().contains("too weak"));
    assert_eq!(place.row(second).await.state, "issued");
}

#[tokio::test]
async fn a_key_that_cloudstack_does_not_accept_ends_the_pass_early() {
    let place = Place::new().await;
    place.approved("first").await;
    place.approved("second").await;
    let server = Scripted::start([refused("createuser", 401, "unable to verify user credentials")]).await;
    let done = place.pass(&server).await;
    assert!(done.stopped && done.failed == 1, "{done:?}");
    assert_eq!(commands(&server), ["createUser"]);
}

#[tokio::test]
async fn a_revoked_pair_is_switched_off_and_its_user_deleted() {
    let place = Place::new().await;
    let id = place.issued().await;
    place.revoke(id).await.unwrap();
    let row = place.row(id).await;
    assert!(row.state == "revoking" && row.secret_box.is_none());
    assert!(matches!(place.show(id).await, Err(Error::WrongState { .. })));

    let server = Scripted::start([updated(), listed(), deleted()]).await;
    assert_eq!(place.pass(&server).await.revoked, 1);
    assert_eq!(commands(&server), ["updateUser", "listUsers", "deleteUser"]);
    assert_eq!(server.received()[0].param("apikeyaccess"), Some("disabled"));
    let row = place.row(id).await;
    assert_eq!((row.state.as_str(), row.revoked_ms), ("revoked", Some(NOW.as_ms())));
    let text = place.revoke(id).await.unwrap_err().to_string();
    assert!(text.contains("is revoked"), "{text}");
    let server = Scripted::start([]).await;
    assert_eq!(place.pass(&server).await, CarriedOut::default());
}

#[tokio::test]
async fn a_lost_deleteuser_answer_is_read_back_and_gone_is_done() {
    let place = Place::new().await;
    let id = place.issued().await;
    place.revoke(id).await.unwrap();
    let server = Scripted::start([updated(), listed(), Reaction::Cut, listed()]).await;
    assert_eq!(place.pass(&server).await.failed, 1);
    assert_eq!(place.row(id).await.state, "revoking");
    let gone = || refused("deleteuser", 431, "Unable to find user by id");
    let server = Scripted::start([gone(), gone()]).await;
    assert_eq!(place.pass(&server).await.revoked, 1);
    assert_eq!(place.row(id).await.state, "revoked");
}

#[tokio::test]
async fn a_request_revoked_before_it_was_made_needs_no_call() {
    let place = Place::new().await;
    let id = place.approved("first").await;
    place.revoke(id).await.unwrap();
    let server = Scripted::start([]).await;
    assert_eq!(place.pass(&server).await.revoked, 1);
    assert!(commands(&server).is_empty());
}

#[tokio::test]
async fn a_pair_ends_when_its_days_are_over_also_while_access_is_switched_off() {
    let mut place = Place::new().await;
    let id = place.issued().await;
    place.show(id).await.unwrap();
    place.settings.enabled = false;
    place.clock.advance(Duration::from_hours(239));
    let server = Scripted::start([updated(), listed(), deleted()]).await;
    assert_eq!(place.pass(&server).await, CarriedOut::default());
    place.clock.advance(Duration::from_hours(1));
    let done = place.pass(&server).await;
    assert_eq!((done.expired, done.revoked), (1, 1));
    assert_eq!(place.row(id).await.state, "revoked");
}

#[tokio::test]
async fn a_secret_that_nobody_looked_at_is_erased_and_its_pair_revoked() {
    let place = Place::new().await;
    let id = place.issued().await;
    place.clock.advance(Duration::from_hours(48));
    let server = Scripted::start([Reaction::Cut, refused("deleteuser", 530, "not now")]).await;
    let done = place.pass(&server).await;
    assert_eq!((done.lapsed, done.revoked), (1, 0));
    let row = place.row(id).await;
    assert!(row.state == "revoking" && row.secret_box.is_none());
    let server = Scripted::start([updated(), listed(), deleted()]).await;
    assert_eq!(place.pass(&server).await.revoked, 1);
}

#[tokio::test]
async fn a_denied_request_is_never_carried_out() {
    let place = Place::new().await;
    let id = place.file("first").await.unwrap();
    let mut tx = place.store.begin().await.unwrap();
    assert!(matches!(
        deny(&mut tx, id, "root", Some("two\nlines"), &place.settings, NOW).await,
        Err(Error::NotAcceptable(_))
    ));
    deny(&mut tx, id, "root", Some("ask your team lead"), &place.settings, NOW).await.unwrap();
    let again = approve(&mut tx, id, &root(), &Consent::default(), &place.settings, NOW).await;
    assert!(matches!(again, Err(Error::WrongState { .. })));
    tx.commit().await.unwrap();
    let server = Scripted::start([]).await;
    assert_eq!(place.pass(&server).await, CarriedOut::default());
    assert!(commands(&server).is_empty());
    assert_eq!(place.row(id).await.message.as_deref(), Some("ask your team lead"));
}

#[tokio::test]
async fn a_request_outside_the_limits_is_refused_and_the_same_key_gives_the_same_request() {
    let mut place = Place::new().await;
    let first = place.file("key 0").await.unwrap();
    let mut tx = place.store.begin().await.unwrap();
    for (purpose, days) in [(String::new(), 1), (" ".to_owned(), 1), ("a\u{7}".to_owned(), 1), ("é".repeat(501), 1)]
        .into_iter()
        .chain([("backups".to_owned(), 0), ("backups".to_owned(), 91)])
    {
        let request = NewRequest { purpose, days, ..place.wish("odd") };
        assert!(matches!(file(&mut tx, &place.settings, request, NOW).await, Err(Error::NotAcceptable(_))));
    }
    drop(tx);
    for number in 1..10 {
        place.file(&format!("key {number}")).await.unwrap();
    }
    assert!(matches!(place.file("key 10").await, Err(Error::TooMany { open: 10, limit: 10 })));
    assert_eq!(place.file("key 0").await.unwrap(), first);
    place.settings.enabled = false;
    assert!(matches!(place.file("key 11").await, Err(Error::Disabled)));
}

#[tokio::test]
async fn a_protected_account_is_refused_when_asking_deciding_and_carrying_out() {
    let place = Place::new().await;
    let asked = place.file("asked").await.unwrap();
    let approved = place.approved("approved").await;
    for (account_type, role_type) in [(1, "Admin"), (3, "ResourceAdmin"), (4, "User"), (0, "Admin")] {
        put_account(&place.store, account_type, role_type).await;
        assert!(matches!(place.file("another").await, Err(Error::Protected { .. })));
        let mut tx = place.store.begin().await.unwrap();
        let decided = approve(&mut tx, asked, &root(), &Consent::default(), &place.settings, NOW).await;
        assert!(matches!(decided, Err(Error::Protected { .. })));
    }
    let server = Scripted::start([]).await;
    assert_eq!(place.pass(&server).await.refused, 1);
    let row = place.row(approved).await;
    assert!(row.state == "failed" && row.last_error.unwrap().contains("administrator's"));
    assert!(commands(&server).is_empty());
}

#[tokio::test]
async fn an_account_that_the_operator_protects_loses_the_user_made_so_far() {
    let mut place = Place::new().await;
    let id = place.approved("first").await;
    let server = Scripted::start([created(), Reaction::Cut]).await;
    place.pass(&server).await;
    place.settings.protected.push(("ROOT".to_owned(), "alice".to_owned()));
    assert!(matches!(place.file("another").await, Err(Error::Protected { .. })));
    let server = Scripted::start([updated(), listed(), deleted()]).await;
    assert_eq!(place.pass(&server).await.refused, 1);
    let row = place.row(id).await;
    let why = Some("it is on the list of protected accounts");
    assert_eq!((row.state.as_str(), row.last_error.as_deref()), ("revoked", why));
}

#[tokio::test]
async fn a_user_that_landed_in_an_administrators_account_is_deleted_before_it_has_a_pair() {
    for user in [user_in(ACCOUNT, "Admin"), user_in(DOMAIN, "User")] {
        let place = Place::new().await;
        let id = place.approved("first").await;
        let made = ok(&format!(r#"{{"createuserresponse":{{"user":{user}}}}}"#));
        let server = Scripted::start([made, updated(), listed(), deleted()]).await;
        assert_eq!(place.pass(&server).await.refused, 1);
        assert_eq!(commands(&server), ["createUser", "updateUser", "listUsers", "deleteUser"]);
        assert_eq!(place.row(id).await.state, "revoked");
    }
}

#[tokio::test]
async fn a_box_that_was_tampered_with_shows_nothing_and_erases_nothing() {
    let place = Place::new().await;
    let id = place.issued().await;
    let row = place.row(id).await;
    let mut boxed = row.secret_box.unwrap();
    *boxed.last_mut().unwrap() ^= 1;
    let mut tx = place.store.begin().await.unwrap();
    crate::store::exec!(&mut tx, "update key_request set secret_box = $1 where id = $2", boxed, id).unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(place.show(id).await, Err(Error::Box(BoxError::DoesNotOpen))));
    let row = place.row(id).await;
    assert!(row.state == "issued" && row.secret_box.is_some());
}

#[tokio::test]
async fn a_pair_that_changed_by_itself_is_revoked() {
    let place = Place::new().await;
    let id = place.issued().await;
    let theirs = |key: &str| {
        ok(&format!(r#"{{"getuserkeysresponse":{{"userkeys":{{"apikey":"{key}","secretkey":"EXAMPLE"}}}}}}"#))
    };
    let server = Scripted::start([theirs("EXAMPLE-KEY-1"), listed(), theirs("EXAMPLE-KEY-9")]).await;
    let client = server.client();
    let seen = audit_pairs(&place.store, &client, &place.settings, &place.clock).await.unwrap();
    assert_eq!((seen.unchanged, seen.changed), (1, 0));
    let seen = audit_pairs(&place.store, &client, &place.settings, &place.clock).await.unwrap();
    assert_eq!((seen.unchanged, seen.changed), (0, 1));
    assert_eq!(place.row(id).await.state, "revoking");
    assert!(place.audit().await.contains(&"key.mistrust".to_owned()));
}
