//! Limits and texts that need no mail server.

use std::time::Duration;

use super::{
    letter::{Letter, plain},
    sender::pause,
    terms::Terms,
    words,
};
use crate::{
    config::{Config, Sources},
    email::EmailAddress,
    ids::AccountId,
    jobs::mail::settings_of,
    random::SystemRandom,
    store::notify::NoticeToMail,
    time::Timestamp,
};

#[test]
fn the_pause_between_tries_doubles_up_to_the_longest() {
    let settings = settings_of(&Config::load(&Sources::none()).unwrap());
    let minutes: Vec<u64> = (1..=8).map(|tries| pause(&settings, tries).as_secs() / 60).collect();
    assert_eq!(minutes, [1, 2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(pause(&settings, 0), Duration::from_mins(1));
    assert_eq!(pause(&settings, i64::MAX), Duration::from_mins(30));
}

#[test]
fn a_line_holds_nothing_that_steers() {
    assert_eq!(plain("a\r\nBcc: b\t c\u{0}\u{202e}d\u{2028}e", 100), "a Bcc: b c d e");
    assert_eq!(plain("  Jürgen  &  Söhne ", 100), "Jürgen & Söhne");
    assert_eq!(plain("abcdef", 3), "abc…");
}

#[test]
fn the_kind_of_an_event_is_known_whatever_stands_behind_it() {
    for (event, kind) in [
        ("used-80", "used"),
        ("days-left-7", "days-left"),
        ("warning-lock-1793487600", "warning-lock"),
        ("available-10.00", "available"),
        ("locked-0f6f9d7a-0c0e-4b7a-9a3f-1f6f6f9d7a01", "locked"),
        ("restored-0f6f9d7a-0c0e-4b7a-9a3f-1f6f6f9d7a01", "restored"),
        ("not-known-yet-1", "not-known-yet"),
        ("odd", "odd"),
    ] {
        assert_eq!(words::kind_of(event), kind);
    }
}

#[test]
fn a_promise_is_made_only_of_what_waits_for_its_warning() {
    assert!(words::not_before("warning-lock", 48).unwrap().contains("48 hours"));
    assert!(words::not_before("warning-stop", 48).is_some());
    assert_eq!(words::not_before("warning-restrict", 48), None);
    for kind in ["warning-restrict", "warning-lock", "warning-stop"] {
        assert!(words::consequences(kind).concat().contains("API keys stop working too"), "{kind}");
    }
}

#[test]
fn the_subject_of_a_deletion_says_until_when_and_is_not_cut() {
    let settings = settings_of(&Config::load(&Sources::none()).unwrap());
    let until = Timestamp::from_seconds(1_793_491_200);
    let notice = NoticeToMail {
        id: 1,
        payer_id: 1,
        account_id: AccountId::new(1),
        epoch_id: 0,
        event: "deletion-asked-12".to_owned(),
        sentence: "It was asked for.".to_owned(),
        acts_at_ms: Some(until),
        no_address_ms: None,
    };
    let accounts = ["ROOT/acme/an-account-of-thirty-characters".to_owned()];
    let terms = Terms::of(settings.ladders.default_policy(), &settings);
    let letter = Letter::notice(&notice, &accounts, terms, &settings);
    let date = until.display_in(settings.zone);
    assert_eq!(letter.headline, format!("Deletion of your account was requested; undo until {date}"));
    let to = EmailAddress::parse("alice@example.com").unwrap();
    let mail = letter.to_mail("key".to_owned(), &to, &settings, &SystemRandom).unwrap();
    assert_eq!(mail.subject, format!("Billing: {} (an-account-of-thirty-characters)", letter.headline));
}

#[test]
fn a_letter_with_new_links_names_each_of_many_accounts() {
    let settings = settings_of(&Config::load(&Sources::none()).unwrap());
    let accounts: Vec<String> = (0..60).map(|number| format!("ROOT/account-{number:02}")).collect();
    let to = EmailAddress::parse("alice@example.com").unwrap();
    let mail = Letter::link(&accounts, Vec::new()).to_mail("key".to_owned(), &to, &settings, &SystemRandom).unwrap();
    assert!(mail.text_body.contains("Accounts: 60, listed below"), "{}", mail.text_body);
    for account in &accounts {
        let line = format!("- {account}");
        assert!(mail.text_body.lines().any(|said| said == line), "{line} is missing in {}", mail.text_body);
        assert!(mail.html_body.contains(&format!("<li>{account}</li>")), "{account} is missing in {}", mail.html_body);
    }
    let few = Letter::link(&accounts[..2], Vec::new());
    assert_eq!(few.facts, [("Accounts", "ROOT/account-00, ROOT/account-01".to_owned())]);
    assert!(few.sections.is_empty());
}
