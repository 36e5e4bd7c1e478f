//! Change Password.

use std::time::Duration;

use bursar::standin::State;

use super::*;
use crate::harness::on_each_database;

const NEW: &str = "a-new-password-1";

impl Browser<'_> {
    async fn change(&mut self, old: &str, new: &str, again: &str) -> Answer {
        self.post("/password", &[("old", old), ("new", new), ("again", again)]).await
    }
}

impl Place {
    fn has(&self, user: CloudId, password: &str) -> bool {
        self.cloud.standin.with(|world| world.has_password(user, password))
    }

    fn sessions(&self, user: CloudId) -> usize {
        self.cloud.standin.with(|world| world.sessions_of(user))
    }

    fn admin(&self) -> CloudId {
        self.cloud.standin.with(|world| world.find_user(world.find_domain("ROOT/acme").unwrap(), "acmeadmin").unwrap())
    }

    async fn acmeadmin(&self) -> Browser<'_> {
        self.sign_in("acmeadmin", PASSWORD, "/acme").await
    }
}

#[tokio::test]
async fn a_password_is_changed_in_the_own_session_which_goes_on() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let mut browser = place.alice().await;
        let page = browser.open("/password").await;
        page.says("Change Password").says("Old password").says("Confirm new password");
        speaks_plainly(&page.text);
        browser.change(PASSWORD, NEW, NEW).await.is_done("password");
        assert!(place.has(place.alice, NEW));
        assert!(browser.is_signed_in().await);
        browser.open("/password?done=password").await.says("Your password is changed");
        let calls = place.cloud.standin.calls();
        let call = calls.iter().find(|call| call.command == "updateUser").unwrap();
        assert_eq!(call.caller.as_deref(), Some("alice"));
        assert_eq!(place.calls("login"), 0, "CloudStack looks at a plain user's old password by itself");
        let audit = place.audit(place.alice).await;
        assert_eq!(audit.last().unwrap(), &("password.change".to_owned(), "changed".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_told_beside_its_field_before_cloudstack_is_asked() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.open("/password").await;
    let long = "x".repeat(256);
    for (old, new, again, words) in [
        ("", NEW, NEW, "Type your present password."),
        (PASSWORD, "", "", "Type a new password."),
        (PASSWORD, "   ", "   ", "Type a new password."),
        (PASSWORD, NEW, "a-new-password-2", "The two are not the same."),
        (PASSWORD, PASSWORD, PASSWORD, "The new password is the old one."),
        (PASSWORD, &long, &long, "255 characters are enough"),
        (PASSWORD, "tab\tin it", "tab\tin it", "may not contain control characters"),
    ] {
        let answer = browser.change(old, new, again).await;
        answer.is_refused_with(words);
        for typed in [PASSWORD, NEW, "a-new-password-2"] {
            assert!(!answer.text.contains(typed), "what was typed comes back");
        }
    }
    assert_eq!(place.calls("updateUser"), 0);
}

#[tokio::test]
async fn the_rules_of_the_cloud_are_shown_before_and_told_after() {
    let place = Place::open(Database::sqlite()).await;
    place.cloud.standin.with(|world| {
        let root = world.root_domain();
        world.set_domain_configuration(root, "password.policy.minimum.length", "12");
        world.set_domain_configuration(root, "password.policy.minimum.digits", "2");
        world.set_domain_configuration(root, "password.policy.allowPasswordToContainUsername", "false");
    });
    let mut browser = place.alice().await;
    browser
        .open("/password")
        .await
        .says("Password rules of this cloud")
        .says("at least 12 characters")
        .says("at least 2 digits")
        .says("your user name must not be in it");
    browser
        .change(PASSWORD, "short-12", "short-12")
        .await
        .is_refused_with("breaks a rule of this cloud: at least 12 characters.");
    browser.change(PASSWORD, "no-digits-in-it", "no-digits-in-it").await.is_refused_with("at least 2 digits.");
    browser
        .change(PASSWORD, "my-alice-1234", "my-alice-1234")
        .await
        .is_refused_with("your user name must not be in it.");
    place.cloud.standin.with(|world| world.set_configuration("password.policy.regex", "[a-z]+"));
    browser.change(PASSWORD, "long-enough-12", "long-enough-12").await.is_refused_with("it must match a pattern");
    assert!(place.has(place.alice, PASSWORD));
    place.cloud.standin.with(|world| world.set_configuration("password.policy.regex", ".+"));
    browser.change(PASSWORD, "long-enough-12", "long-enough-12").await.is_done("password");
}

#[tokio::test]
async fn a_wrong_old_password_is_told_with_the_tries_that_are_left() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.open("/password").await;
    for left in ["4 more tries", "3 more tries", "2 more tries", "One more try", "No more tries"] {
        browser.change("wrong", NEW, NEW).await.is_refused_with("not your present password").says(left);
    }
    browser.change(PASSWORD, NEW, NEW).await.is_refused_with("Too many wrong tries");
    let person = place.person();
    assert_eq!((person.wrong_passwords, person.state), (0, State::Enabled), "CloudStack counted none");
    assert!(place.has(place.alice, PASSWORD));
    place.cloud.clock.advance(Duration::from_mins(61));
    let mut browser = place.alice().await;
    browser.open("/password").await;
    browser.change("wrong", NEW, NEW).await.is_refused_with("4 more tries");
    // A right one forgets the wrong ones; a rule that is broken is no wrong try.
    browser.change(PASSWORD, NEW, NEW).await.is_done("password");
    browser.change("wrong", "another-1", "another-1").await.is_refused_with("4 more tries");
}

#[tokio::test]
async fn the_old_password_of_a_domain_admin_is_looked_at_too_and_the_user_is_never_disabled_by_it() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let admin = place.admin();
        let mut browser = place.acmeadmin().await;
        let page = browser.open("/password").await;
        page.says("only three attempts a day are possible here");
        speaks_plainly(&page.text);
        for left in ["2 more tries", "One more try", "No more tries"] {
            browser.change("wrong", NEW, NEW).await.is_refused_with(left).says("disables the user in the end");
        }
        for _ in 0..4 {
            browser.change("wrong", NEW, NEW).await.is_refused_with("Too many wrong tries");
        }
        let person = place.person_of(admin);
        assert_eq!((person.wrong_passwords, person.state), (3, State::Enabled));
        assert!(place.has(admin, PASSWORD));
        assert_eq!(place.calls("updateUser"), 0);
        // Signing in with the right one makes CloudStack forget; a day later bursar does too.
        place.cloud.clock.advance(Duration::from_hours(25));
        let mut browser = place.acmeadmin().await;
        browser.open("/password").await;
        let sessions = place.sessions(admin);
        browser.change(PASSWORD, NEW, NEW).await.is_done("password");
        assert!(place.has(admin, NEW) && browser.is_signed_in().await);
        assert_eq!(place.sessions(admin), sessions, "the session that proved the old one is ended");
        assert_eq!(place.calls("login"), 1);
        let calls = place.cloud.standin.calls();
        let login = calls.iter().find(|call| call.command == "login").unwrap();
        assert_eq!(login.parameters.get("domain").map(String::as_str), Some("/acme"));
    })
    .await;
}

#[tokio::test]
async fn tries_at_the_same_moment_count_too() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let admin = place.admin();
        let mut browser = place.acmeadmin().await;
        browser.open("/password").await;
        let tries: Vec<_> = (0..8).map(|_| browser.clone()).collect();
        let tries = tries.into_iter().map(|mut browser| async move { browser.change("wrong", NEW, NEW).await.status });
        for status in futures_util::future::join_all(tries).await {
            assert_eq!(status, 422);
        }
        let person = place.person_of(admin);
        assert_eq!((person.wrong_passwords, person.state), (3, State::Enabled));
    })
    .await;
}

#[tokio::test]
async fn people_whose_password_is_elsewhere_are_told_where() {
    for (source, words) in [("ldap", "directory (LDAP)"), ("saml2", "single sign-on"), ("oauth2", "single sign-on")] {
        let place = Place::open(Database::sqlite()).await;
        let mut browser = place.alice().await;
        place.cloud.standin.with(|world| world.set_user_source(place.alice, source));
        let page = browser.open("/password").await;
        page.says(words);
        assert!(!page.text.contains("name=\"old\""), "{source}");
        browser.open("/profile").await;
        browser.change(PASSWORD, NEW, NEW).await.is_refused_with(words);
        assert!(place.has(place.alice, PASSWORD));
        assert_eq!(place.calls("updateUser") + place.calls("login"), 0, "{source}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_a_sign_in_of_its_own() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.open("/password").await;
    place.fault("updateUser", FaultKind::CutAfterAction);
    browser.change(PASSWORD, NEW, NEW).await.is_done("password");
    assert!(place.has(place.alice, NEW) && browser.is_signed_in().await);
    assert_eq!(place.sessions(place.alice), 1);
    place.fault("updateUser", FaultKind::CutBeforeAction);
    browser.change(NEW, "third-1", "third-1").await.is_refused_with("the old password still counts");
    assert!(place.has(place.alice, NEW));
    place.fault("updateUser", FaultKind::EmptyOk { acted: true });
    place.fault("login", FaultKind::Status(503));
    browser.change(NEW, "third-1", "third-1").await.is_refused_with("can not be told whether the password was changed");
    let audit = place.audit(place.alice).await;
    assert_eq!(audit.last().unwrap().1, "not known");
    assert_eq!(place.calls("updateUser"), 2, "nothing is sent twice; one never arrived");
}

#[tokio::test]
async fn a_user_that_was_disabled_meanwhile_is_told_so() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.acmeadmin().await;
    browser.open("/password").await;
    let admin = place.admin();
    // Between the proof of the form and the sign-in nothing can be put from here: the session is gone with the user.
    place.cloud.standin.with(|world| world.set_user_state(admin, State::Disabled));
    let answer = browser.change(PASSWORD, NEW, NEW).await;
    assert_eq!(answer.status, 401);
    assert!(place.has(admin, PASSWORD));
}

/// Found on a last read: a switch to a mapped account must not turn what is about the person against a user of the same name
/// in that account's domain.
#[tokio::test]
async fn whoever_looks_at_another_account_still_changes_the_own_user_only() {
    use ::bursar::{people::mapping, store::mapping::NewBinding, time::Clock as _};
    on_each_database(|database| async {
        let place = Place::open_with(database, &[], |world| {
            let root = world.root_domain();
            let twin = world.add_account(root, "twin", AccountKind::User);
            world.add_user(twin, "acmeadmin", "another-password-altogether", "twin@example.com");
        })
        .await;
        let twin = place.cloud.standin.with(|world| world.find_user(world.root_domain(), "acmeadmin").unwrap());
        let (admin, account) = (place.admin(), place.cloud.account("twin").await);
        let user = admin.to_string();
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        let binding = NewBinding {
            issuer: mapping::CLOUDSTACK,
            subject: &user,
            cloud_user_id: Some(&user),
            account: account.id,
            role: "owner",
            by: "test",
            rule_id: None,
            address_id: None,
        };
        mapping::map(&mut tx, &binding, place.cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let mut browser = place.acmeadmin().await;
        browser.open("/you").await;
        browser.post("/you/account", &[("account", &account.id.to_string())]).await.is_done("account");
        browser.open("/").await.says("ROOT/twin");
        browser.open("/profile").await.says("ROOT/acme/acmeadmin");
        browser.open("/notifications").await.says("acmeadmin@example.com");
        browser.open("/password").await;
        browser.change("wrong", NEW, NEW).await.is_refused_with("2 more tries");
        browser.change(PASSWORD, NEW, NEW).await.is_done("password");
        assert!(place.has(admin, NEW));
        let other = place.person_of(twin);
        assert_eq!(
            (other.wrong_passwords, other.state),
            (0, State::Enabled),
            "nobody tried a password on the other user"
        );
    })
    .await;
}
