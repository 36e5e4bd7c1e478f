//! My Profile.

use std::time::Duration;

use bursar::store::profiles;

use super::*;
use crate::harness::on_each_database;

/// The fields of the form as they stand, with these changed.
fn filled<'a>(page: &'a BTreeMap<&'a str, String>, changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, String)> {
    let mut fields: BTreeMap<&str, String> = page.clone();
    fields.extend(changed.iter().map(|(name, value)| (*name, (*value).to_owned())));
    fields.into_iter().collect()
}

/// What the form of the open page has in it.
fn form(answer: &Answer) -> BTreeMap<&'static str, String> {
    let value = |name: &str| {
        let (_, after) = answer.text.split_once(&format!("name=\"{name}\"")).unwrap();
        let (tag, _) = after.split_once('>').unwrap();
        tag.split_once("value=\"").map_or_else(String::new, |(_, value)| value.split_once('"').unwrap().0.to_owned())
    };
    let zone = answer.text.split_once(" selected>").map_or("", |(_, after)| after.split_once('<').unwrap().0);
    let mut fields: BTreeMap<&'static str, String> =
        ["seen", "firstname", "lastname", "email", "phone", "company", "location"]
            .map(|name| (name, value(name)))
            .into();
    fields.insert("timezone", if zone == "(not set)" { String::new() } else { zone.to_owned() });
    fields.insert("address", String::new());
    fields
}

impl Browser<'_> {
    async fn save(&mut self, form: &BTreeMap<&str, String>, changed: &[(&str, &str)]) -> Answer {
        let fields = filled(form, changed);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.post("/profile/edit", &fields).await
    }
}

#[tokio::test]
async fn a_profile_is_looked_at_then_changed_and_saved_in_cloudstack_and_here() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let mut browser = place.alice().await;
        let page = browser.open("/profile").await;
        page.says("My Profile").says("User credit limit").says("250.00").says("alice@example.com").says("Change");
        speaks_plainly(&page.text);
        let page = browser.open("/profile/edit").await;
        speaks_plainly(&page.text);
        let changes = [
            ("firstname", "Alice"),
            ("lastname", "Anders"),
            ("timezone", "Europe/Vienna"),
            ("phone", "+43 1 555-0123"),
            ("company", "Anders & Co"),
            ("location", "Wien"),
            ("address", "Some street 1\r\n1010 Wien"),
        ];
        browser.save(&form(&page), &changes).await.is_done("saved");
        let person = place.person();
        assert_eq!((person.firstname.as_str(), person.lastname.as_str()), ("Alice", "Anders"));
        assert_eq!(person.timezone.as_deref(), Some("Europe/Vienna"));
        let page = browser.open("/profile?done=saved").await;
        page.says("Saved.").says("+43 1 555-0123").says("Wien").says("Some street 1<br>1010 Wien<br>");
        assert!(page.text.contains("Anders &#38; Co") || page.text.contains("Anders &amp; Co"));
        // In the person's own session, and only what was changed.
        let calls = place.cloud.standin.calls();
        let call = calls.iter().find(|call| call.command == "updateUser").unwrap();
        assert_eq!(call.caller.as_deref(), Some("alice"));
        assert!(!call.parameters.contains_key("email"), "{call:?}");
        assert_eq!(
            place.audit(place.alice).await,
            [
                ("profile.change", "asked for: first name, last name, time zone"),
                ("profile.change", "changed"),
                ("profile.change", "phone, company, location or address saved"),
            ]
            .map(|(action, after)| (action.to_owned(), after.to_owned()))
        );
    })
    .await;
}

#[tokio::test]
async fn two_windows_do_not_undo_each_other_and_sending_twice_is_no_mistake() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.open("/profile/edit").await;
    let stale = form(&page);
    browser.save(&stale, &[("company", "First")]).await.is_done("saved");
    browser.save(&stale, &[("company", "First")]).await.is_done("saved");
    let refused = browser.save(&stale, &[("phone", "+43 2")]).await;
    refused.is_refused_with("changed meanwhile").says("First");
    assert_eq!(place.calls("updateUser"), 0, "CloudStack's part was never touched");
    browser.save(&form(&refused), &[("phone", "+43 2")]).await.is_done("saved");
    browser.open("/profile").await.says("First").says("+43 2");
}

#[tokio::test]
async fn what_is_typed_is_words_and_never_structure() {
    let place = Place::open(Database::sqlite()).await;
    let hostile = "<script>alert(1)</script>\"'";
    place.cloud.standin.with(|world| world.set_person(place.alice, hostile, hostile, Some("<b>zone</b>")));
    let mut browser = place.alice().await;
    for path in ["/profile", "/profile/edit", "/password", "/second-factor"] {
        let page = browser.open(path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        for raw in ["<script>alert", "<b>zone"] {
            assert!(!page.text.contains(raw), "{path}: {}", page.text);
        }
    }
    let page = browser.open("/profile/edit").await;
    let before = place.person();
    for (field, value, words) in [
        ("firstname", "Alice\r\nBcc: eve@example.com", "on one line"),
        ("firstname", "", "wants a first name"),
        ("firstname", "   ", "wants a first name"),
        ("lastname", &"x".repeat(256), "255 characters are enough"),
        ("timezone", "Mars/Olympus", "no such time zone"),
        ("phone", "call me", "A phone number is digits"),
        ("company", &"x".repeat(121), "120 characters are enough"),
        ("address", "a\u{0}b", "at most eight lines"),
        ("address", &"x\n".repeat(9), "at most eight lines"),
        ("address", &"x".repeat(501), "500 characters are enough"),
    ] {
        let mut fields = form(&page);
        fields.insert("firstname", "Alice".to_owned());
        browser.save(&fields, &[(field, value)]).await.is_refused_with(words);
    }
    assert_eq!((place.person(), place.calls("updateUser")), (before, 0));
}

#[tokio::test]
async fn a_lost_answer_is_read_back_and_a_silent_cloud_changes_nothing() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.open("/profile/edit").await;
    place.fault("updateUser", FaultKind::CutAfterAction);
    browser.save(&form(&page), &[("lastname", "Anders")]).await.is_done("saved");
    assert_eq!((place.person().lastname.as_str(), place.calls("updateUser")), ("Anders", 1));

    let page = browser.open("/profile/edit").await;
    place.fault("updateUser", FaultKind::CutBeforeAction);
    let changes = [("lastname", "Other"), ("company", "Kept back")];
    browser.save(&form(&page), &changes).await.is_refused_with("it stands as before").says("Kept back");
    assert_eq!(place.person().lastname, "Anders");
    browser.open("/profile").await.says("Anders");
    assert!(!browser.open("/profile").await.text.contains("Kept back"), "bursar's part waits for CloudStack's");

    place.fault("updateUser", FaultKind::Status(503));
    let refused = browser.save(&form(&page), &changes).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert_eq!(place.person().lastname, "Anders");
}

#[tokio::test]
async fn a_session_that_has_ended_in_between_changes_nothing() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.open("/profile/edit").await;
    browser.sign_out().await;
    let answer = browser.save(&form(&page), &[("lastname", "Anders"), ("company", "Anders")]).await;
    assert_eq!(answer.status, 401);
    answer.says("Sign in to CloudStack again");
    assert_eq!(place.calls("updateUser"), 0);
    let mut browser = place.alice().await;
    assert!(!browser.open("/profile").await.text.contains("Anders"));
}

#[tokio::test]
async fn a_form_from_elsewhere_or_without_its_token_changes_nothing() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.open("/profile/edit").await;
    browser.csrf = "0".repeat(64);
    assert_eq!(browser.save(&form(&page), &[("lastname", "Anders")]).await.status, 403);
    for (path, fields) in [
        ("/password", &[("old", PASSWORD), ("new", "another-one"), ("again", "another-one")][..]),
        ("/second-factor/begin", &[("provider", "totp")][..]),
        ("/second-factor/end", &[("code", "123456")][..]),
        ("/profile/picture/remove", &[][..]),
        ("/profile/address/give-up", &[][..]),
    ] {
        assert_eq!(browser.post(path, fields).await.status, 403, "{path}");
    }
    assert_eq!(place.calls("updateUser") + place.calls("setupUserTwoFactorAuthentication"), 0);
}

#[tokio::test]
async fn one_of_several_of_an_account_is_told_why_the_pages_stay_closed() {
    let place = Place::open_with(Database::sqlite(), &[], |world| {
        let acme = world.find_domain("ROOT/acme").unwrap();
        let admin = world.find_account(acme, "acmeadmin").unwrap();
        world.add_user(admin, "second", PASSWORD, "second@example.com");
    })
    .await;
    let mut browser = place.sign_in("acmeadmin", PASSWORD, "/acme").await;
    assert_eq!(browser.open("/").await.status, 200);
    for path in ["/profile", "/profile/edit", "/profile/picture", "/password", "/second-factor"] {
        let page = browser.open(path).await;
        assert_eq!(page.status, 403, "{path}");
        page.says("Several people share this account");
    }
    for path in ["/password", "/second-factor/begin", "/second-factor/end", "/profile/picture/remove"] {
        let fields = [
            ("old", PASSWORD),
            ("new", "another-one"),
            ("again", "another-one"),
            ("code", "123456"),
            ("provider", "totp"),
        ];
        let answer = browser.post(path, &fields).await;
        assert_eq!(answer.status, 403, "{path}");
    }
    assert!(place.cloud.standin.calls().iter().all(|call| call.command == "listUsers"));
}

#[tokio::test]
async fn a_profile_is_forgotten_a_while_after_its_user_has_gone() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let mut browser = place.alice().await;
        let page = browser.open("/profile/edit").await;
        browser.save(&form(&page), &[("company", "Anders & Co")]).await.is_done("saved");
        place.cloud.standin.with(|world| world.remove_user(place.alice));
        let kept = async || {
            let reader = place.cloud.app.client(Role::Reader).unwrap();
            let store = &place.cloud.app.store;
            let run = place.cloud.begin_run().await;
            directory::sync_directory(&reader, store, &place.cloud.clock, run).await.unwrap();
            let mut tx = store.read().await.unwrap();
            profiles::find_profile(&mut tx, &place.alice.to_string()).await.unwrap().company
        };
        assert_eq!(kept().await, "Anders & Co");
        place.cloud.clock.advance(Duration::from_hours(89 * 24));
        assert_eq!(kept().await, "Anders & Co");
        place.cloud.clock.advance(Duration::from_hours(2 * 24));
        assert_eq!(kept().await, "");
    })
    .await;
}
