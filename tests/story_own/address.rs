//! A new e-mail address.

use std::time::Duration;

use bursar::{
    jobs::mail,
    notify::Looked,
    store::profiles,
    time::{Clock as _, Timestamp},
};

use super::*;
use crate::harness::on_each_database;

const NEW: &str = "alice.anders@example.com";

async fn with_mail(database: Database) -> Place {
    let folder = database.folder.path().join("mails").display().to_string();
    let settings = [
        ("MAIL_TRANSPORT", "folder"),
        ("MAIL_FOLDER", folder.as_str()),
        ("MAIL_FROM", "billing@example.com"),
        ("MAIL_ADMINS", "admin@example.com"),
        ("MAIL_DIGEST", ""),
        ("WEB_PUBLIC_URL", "https://cloud.example.com"),
    ];
    Place::open_with(database, &settings, |_| {}).await
}

/// Sends what waits, and gives every mail there is: whom it went to and what it says.
async fn mails(place: &Place) -> Vec<(String, String)> {
    mail::pass(&place.cloud.app, Looked::AtAll, "test").await.unwrap();
    let folder = place.cloud.database.folder.path().join("mails");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text =
                std::fs::read_to_string(file).unwrap().replace("=\r\n", "").replace("=\n", "").replace("=3D", "=");
            let to = text.lines().find_map(|line| line.strip_prefix("To: ")).unwrap().trim().to_owned();
            (to, text)
        })
        .collect()
}

/// The path of the link below the pages.
fn link(mails: &[(String, String)], to: &str) -> String {
    let (_, text) = mails.iter().rev().find(|(whom, text)| whom == to && text.contains("/confirm-address/")).unwrap();
    let (_, after) = text.split_once("https://cloud.example.com/client/api/bursar").unwrap();
    after.chars().take_while(|sign| sign.is_ascii_alphanumeric() || "/-".contains(*sign)).collect()
}

async fn ask(browser: &mut Browser<'_>, email: &str) -> Answer {
    let page = browser.open("/profile/edit").await;
    let seen = page.hidden("seen");
    let fields =
        [("seen", seen.as_str()), ("firstname", "alice"), ("lastname", "alice"), ("timezone", ""), ("email", email)];
    browser.post("/profile/edit", &fields).await
}

/// Somebody at a mail program: no cookies of anybody.
fn from_mail(place: &Place) -> Browser<'_> {
    Browser { place, cookies: BTreeMap::new(), csrf: String::new() }
}

#[tokio::test]
async fn a_new_address_is_taken_once_it_was_confirmed_there_and_the_old_one_is_told() {
    on_each_database(|database| async {
        let place = with_mail(database).await;
        let mut browser = place.alice().await;
        ask(&mut browser, NEW).await.is_done("asked");
        browser
            .open("/profile?done=asked")
            .await
            .says("written to the new address")
            .says(NEW)
            .says("waits for its confirmation");
        assert_eq!(place.person().email.as_deref(), Some("alice@example.com"));
        let sent = mails(&place).await;
        let whom: Vec<&str> = sent.iter().map(|(to, _)| to.as_str()).collect();
        assert!(whom.contains(&NEW) && whom.contains(&"alice@example.com") && whom.len() == 2, "{whom:?}");
        let old = sent.iter().find(|(to, _)| to == "alice@example.com").unwrap();
        assert!(!old.1.contains("/confirm-address/"), "the link goes to the new address only");
        let link = link(&sent, NEW);

        // A scanner follows the link; nothing happens.
        let mut mail_program = from_mail(&place);
        let page = mail_program.open(&link).await;
        page.says("Confirm this address");
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        browser.open("/profile").await.says("waits for its confirmation");
        // The button confirms it, and CloudStack is not asked: that takes alice's own session.
        let before = place.cloud.standin.calls().len();
        mail_program.post(&link, &[]).await.says("The address is confirmed");
        mail_program.post(&link, &[]).await.says("The address is confirmed");
        assert_eq!(place.cloud.standin.calls().len(), before);
        assert_eq!(place.person().email.as_deref(), Some("alice@example.com"));

        // Somebody else's visit is not hers.
        let mut bob = place.sign_in("bob", PASSWORD, "/").await;
        bob.open("/profile").await.says("bob@example.com");
        assert_eq!(place.person().email.as_deref(), Some("alice@example.com"));
        browser.open("/profile").await.says("CloudStack has it now").says(NEW);
        assert_eq!(place.person().email.as_deref(), Some(NEW));
        let calls = place.cloud.standin.calls();
        let call = calls.iter().find(|call| call.command == "updateUser").unwrap();
        assert_eq!(call.caller.as_deref(), Some("alice"));
        assert_eq!(place.calls("updateUser"), 1);
        browser.open("/profile").await.says(NEW);
        assert_eq!(place.calls("updateUser"), 1, "once");
        let sent = mails(&place).await;
        assert!(sent.iter().any(|(to, text)| to == "alice@example.com" && text.contains("no longer here")), "{sent:?}");
        let audit = place.audit(place.alice).await;
        assert!(audit.iter().all(|(_, after)| !after.contains('@')), "{audit:?}");
        let mut tx = place.cloud.app.store.read().await.unwrap();
        let confirmed = profiles::list_confirmed_addresses(&mut tx, None).await.unwrap();
        assert_eq!(confirmed, [(place.alice.to_string(), NEW.to_owned())]);
    })
    .await;
}

#[tokio::test]
async fn a_link_ends_after_a_day_and_with_the_wish() {
    let place = with_mail(Database::sqlite()).await;
    let mut browser = place.alice().await;
    ask(&mut browser, NEW).await.is_done("asked");
    let first = link(&mails(&place).await, NEW);
    ask(&mut browser, "third@example.com").await.is_done("asked");
    let mut mail_program = from_mail(&place);
    let answer = mail_program.post(&first, &[]).await;
    assert_eq!(answer.status, 404, "a newer wish takes its place");
    answer.says("This link does not work");

    let second = link(&mails(&place).await, "third@example.com");
    browser.open("/profile").await.says("third@example.com");
    browser.post("/profile/address/give-up", &[]).await.is_done("given-up");
    assert_eq!(mail_program.post(&second, &[]).await.status, 404);

    ask(&mut browser, NEW).await.is_done("asked");
    let third = link(&mails(&place).await, NEW);
    place.cloud.clock.advance(Duration::from_hours(24));
    assert_eq!(mail_program.post(&third, &[]).await.status, 404);
    for token in ["0".repeat(64), "x".to_owned(), "%27%20or%201=1".to_owned()] {
        assert_eq!(mail_program.post(&format!("/confirm-address/{token}"), &[]).await.status, 404, "{token}");
    }
    let mut browser = place.alice().await;
    browser.open("/profile").await;
    assert_eq!(place.person().email.as_deref(), Some("alice@example.com"));
}

#[tokio::test]
async fn a_confirmed_address_waits_until_cloudstack_takes_it() {
    let place = with_mail(Database::sqlite()).await;
    let mut browser = place.alice().await;
    ask(&mut browser, NEW).await.is_done("asked");
    let link = link(&mails(&place).await, NEW);
    from_mail(&place).post(&link, &[]).await.says("confirmed");
    place.fault("updateUser", FaultKind::CutBeforeAction);
    browser.open("/profile").await.says("is confirmed, and CloudStack takes it the next time");
    assert_eq!(place.person().email.as_deref(), Some("alice@example.com"));
    place.fault("updateUser", FaultKind::CutAfterAction);
    browser.open("/profile").await.says("CloudStack has it now");
    // The one that was cut before it arrived is in no log of CloudStack's.
    assert_eq!((place.person().email.as_deref(), place.calls("updateUser")), (Some(NEW), 1));
}

#[tokio::test]
async fn addresses_that_can_not_be_are_refused_and_nobody_is_flooded() {
    let place = with_mail(Database::sqlite()).await;
    let mut browser = place.alice().await;
    for (email, words) in [
        ("no address", "no address that mail"),
        ("a@b", "no address that mail"),
        ("a@example.com\r\nBcc: b@example.com", "no address that mail"),
        ("a@example.com, b@example.com", "no address that mail"),
        ("", "not taken away"),
    ] {
        ask(&mut browser, email).await.is_refused_with(words);
    }
    assert!(mails(&place).await.is_empty());
    for number in 0..5 {
        ask(&mut browser, &format!("a{number}@example.com")).await.is_done("asked");
    }
    ask(&mut browser, "a5@example.com").await.is_refused_with("five new addresses in a day");
    // The same as before is no change.
    ask(&mut browser, "alice@example.com").await.is_done("saved");
    let now: Timestamp = place.cloud.clock.now();
    place.cloud.clock.advance(Duration::from_hours(25));
    assert!(place.cloud.clock.now() > now);
    let mut browser = place.alice().await;
    ask(&mut browser, "a6@example.com").await.is_done("asked");
}

#[tokio::test]
async fn without_mail_the_page_says_that_an_address_can_not_be_changed_here() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.open("/profile/edit").await.says("sends no mail, so a new address can not be confirmed here");
    ask(&mut browser, NEW).await.is_done("saved");
    browser.open("/profile").await;
    assert_eq!(place.person().email.as_deref(), Some("alice@example.com"));
}

#[tokio::test]
async fn a_confirmed_address_is_dropped_where_a_third_one_stands_meanwhile_or_nobody_came_for_a_week() {
    on_each_database(|database| async {
        let place = with_mail(database).await;
        let confirmed = async |new: &str| {
            let mut browser = place.alice().await;
            ask(&mut browser, new).await.is_done("asked");
            let link = link(&mails(&place).await, new);
            let mut mail_program = from_mail(&place);
            mail_program.open(&link).await;
            mail_program.post(&link, &[]).await;
        };
        confirmed(NEW).await;
        place.cloud.standin.with(|world| world.set_user_email(place.alice, "third@example.com"));
        let mut browser = place.alice().await;
        browser.open("/profile").await;
        assert_eq!(place.person().email.as_deref(), Some("third@example.com"));
        confirmed("late@example.com").await;
        place.cloud.clock.advance(Duration::from_hours(8 * 24));
        let mut browser = place.alice().await;
        browser.open("/profile").await;
        assert_eq!(place.person().email.as_deref(), Some("third@example.com"));
        let audit = place.audit(place.alice).await;
        assert!(audit.iter().any(|(_, after)| after == "dropped: changed meanwhile"), "{audit:?}");
        assert!(audit.iter().any(|(_, after)| after == "dropped: confirmed too long ago"), "{audit:?}");
    })
    .await;
}
