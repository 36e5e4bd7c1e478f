//! Multi-Factor Authentication.

use std::time::Duration;

use bursar::{
    standin::{State, totp_code},
    time::Clock as _,
};

use super::*;
use crate::harness::on_each_database;

impl Place {
    async fn open_to_factors(database: Database) -> Self {
        Self::open_with(database, &[], |world| world.set_configuration("enable.user.2fa", "true")).await
    }

    /// What the app on alice's phone shows.
    fn app(&self) -> String {
        let secret = self.cloud.standin.with(|world| world.second_factor_secret(self.alice).unwrap());
        totp_code(secret.expose(), self.cloud.clock.now())
    }

    fn factor(&self) -> Option<(&'static str, bool)> {
        self.person().second_factor
    }
}

impl Browser<'_> {
    async fn begin(&mut self, provider: &str) -> Answer {
        self.open("/second-factor").await;
        self.post("/second-factor/begin", &[("provider", provider)]).await
    }

    async fn confirm(&mut self, page: &Answer, code: &str) -> Answer {
        let mark = page.hidden("mark");
        self.post("/second-factor/confirm", &[("mark", &mark), ("code", code)]).await
    }

    async fn end(&mut self, password: &str, code: &str) -> Answer {
        self.post("/second-factor/end", &[("password", password), ("code", code)]).await
    }

    /// Turns it on, all the way.
    async fn turn_on(&mut self) {
        let page = self.begin("totp").await;
        let code = self.place.app();
        self.confirm(&page, &code).await.is_done("factor-on");
    }
}

/// A code that is not the one.
fn not(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

#[tokio::test]
async fn where_it_is_off_the_page_says_who_can_turn_it_on() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.open("/second-factor").await;
    page.says("Multi-Factor Authentication")
        .says("enable.user.2fa")
        .says("The administrator of the cloud can turn it on");
    assert!(!page.text.contains("/second-factor/begin"));
    speaks_plainly(&page.text);
    // A form that was open while it was switched off.
    browser.open("/password").await;
    browser.post("/second-factor/begin", &[("provider", "totp")]).await.is_refused_with("did not allow it");
    assert_eq!(place.factor(), None);
    browser.open("/second-factor").await.says("Off");
}

#[tokio::test]
async fn a_second_factor_is_turned_on_with_an_app_and_off_with_a_code() {
    on_each_database(|database| async {
        let place = Place::open_to_factors(database).await;
        let mut browser = place.alice().await;
        let page = browser.open("/second-factor").await;
        page.says("Authenticator app").says("Fixed PIN").says("If you lose your phone");
        speaks_plainly(&page.text);
        let page = browser.begin("totp").await;
        assert_eq!(page.status, 200);
        speaks_plainly(&page.text);
        assert_eq!(page.headers["cache-control"], "no-store");
        assert!(page.location.is_none());
        let secret = place.cloud.standin.with(|world| world.second_factor_secret(place.alice).unwrap());
        page.says(secret.expose()).says("<svg class=\"qr\"").says("<path fill=\"#000\" d=\"M");
        let code = place.app();
        let spaced = format!("{} {}", &code[..3], &code[3..]);
        browser.confirm(&page, &spaced).await.is_done("factor-on");
        assert_eq!(place.factor(), Some(("totp", true)));
        let page = browser.open("/second-factor?done=factor-on").await;
        page.says("The second factor is on").says("Turn off").says("no recovery codes");
        assert!(!page.text.contains(secret.expose()), "the secret is shown once");
        speaks_plainly(&page.text);
        assert!(browser.is_signed_in().await);

        let sessions = place.cloud.standin.with(|world| world.sessions_of(place.alice));
        browser.end(PASSWORD, &place.app()).await.is_done("factor-off");
        assert_eq!(place.factor(), None);
        assert!(browser.is_signed_in().await);
        assert_eq!(place.cloud.standin.with(|world| world.sessions_of(place.alice)), sessions);
        let audit = place.audit(place.alice).await;
        assert_eq!(audit.last().unwrap(), &("second-factor.end".to_owned(), "off".to_owned()));
        assert!(!format!("{audit:?}").contains(secret.expose()));
        let calls = place.cloud.standin.calls();
        assert!(!format!("{calls:?}").contains(&code), "codes stay out of logs");
        for call in calls.iter().filter(|call| call.command == "setupUserTwoFactorAuthentication") {
            assert_eq!(call.caller.as_deref(), Some("alice"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_fixed_pin_works_alike() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.begin("staticpin").await;
    page.says("Your PIN");
    assert!(!page.text.contains("<svg"));
    let pin = place.cloud.standin.with(|world| world.second_factor_secret(place.alice).unwrap());
    browser.confirm(&page, pin.expose()).await.is_done("factor-on");
    browser.end(PASSWORD, pin.expose()).await.is_done("factor-off");
}

#[tokio::test]
async fn a_wrong_code_in_the_set_up_undoes_it_and_says_so() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.begin("totp").await;
    for slip in ["12345", "12345a", "", "1234567"] {
        browser.confirm(&page, slip).await.is_refused_with("A code is six digits.");
    }
    assert_eq!(place.factor(), Some(("totp", false)), "a slip of the finger is not sent");
    let wrong = not(&place.app());
    browser.confirm(&page, wrong).await.is_refused_with("CloudStack undid the set-up").says("Turn on");
    assert_eq!(place.factor(), None);
    assert!(browser.is_signed_in().await);
    browser.confirm(&page, wrong).await.is_refused_with("a set-up that is over");
    browser.turn_on().await;
    assert_eq!(place.factor(), Some(("totp", true)));
}

#[tokio::test]
async fn a_code_that_is_a_step_too_old_counts_no_more() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.begin("totp").await;
    let old = place.app();
    place.cloud.clock.advance(Duration::from_secs(31));
    if old != place.app() {
        browser.confirm(&page, &old).await.is_refused_with("CloudStack undid the set-up");
        assert_eq!(place.factor(), None);
    }
}

#[tokio::test]
async fn a_form_of_another_window_never_ends_the_session() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.begin("totp").await;
    browser
        .post("/second-factor/begin", &[("provider", "totp")])
        .await
        .is_refused_with("There is a second factor already.");
    // Confirmed in one window; the other one's form would send a wrong code into a session whose factor is confirmed.
    let code = place.app();
    browser.confirm(&page, &code).await.is_done("factor-on");
    let wrong = not(&code);
    browser.confirm(&page, wrong).await.is_refused_with("a set-up that is over");
    browser.confirm(&page, &code).await.is_refused_with("a set-up that is over");
    assert!(browser.is_signed_in().await);
    assert_eq!(place.factor(), Some(("totp", true)));
}

#[tokio::test]
async fn a_set_up_that_was_left_can_be_confirmed_later_or_is_cleared_by_signing_in() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.begin("totp").await;
    let page = browser.open("/second-factor").await;
    page.says("Begun").says("that clears what was never confirmed");
    let code = place.app();
    browser.confirm(&page, &code).await.is_done("factor-on");
    browser.end(PASSWORD, &code).await.is_done("factor-off");

    browser.begin("totp").await;
    let mut again = place.alice().await;
    let page = again.open("/second-factor").await;
    page.says("Off").says("Turn on");
    assert_eq!(place.factor(), None, "CloudStack wiped it");
}

#[tokio::test]
async fn it_is_not_turned_off_without_the_right_password_and_code_and_nobody_is_signed_out() {
    on_each_database(|database| async {
        let place = Place::open_to_factors(database).await;
        let mut browser = place.alice().await;
        browser.turn_on().await;
        browser.open("/second-factor").await.says("it proves your password and code in a sign-in of its own");
        let wrong = not(&place.app());
        browser.end(PASSWORD, wrong).await.is_refused_with("The code was wrong; nothing was changed. 4 more tries");
        browser.end(PASSWORD, "abc").await.is_refused_with("A code is six digits.");
        browser.end("", &place.app()).await.is_refused_with("not your present password");
        for left in ["2 more tries", "One more try", "No more tries"] {
            browser.end("wrong", &place.app()).await.is_refused_with(left);
        }
        browser.end(PASSWORD, &place.app()).await.is_refused_with("Too many wrong tries");
        assert_eq!(place.factor(), Some(("totp", true)));
        let person = place.person();
        assert_eq!((person.state, person.wrong_passwords), (State::Enabled, 3));
        assert!(browser.is_signed_in().await);
        assert_eq!(place.calls("setupUserTwoFactorAuthentication"), 1, "only when it was begun");
        place.cloud.clock.advance(Duration::from_hours(25));
    })
    .await;
}

#[tokio::test]
async fn wrong_codes_are_counted() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.turn_on().await;
    browser.open("/second-factor").await;
    for _ in 0..5 {
        let wrong = not(&place.app());
        browser.end(PASSWORD, wrong).await.is_refused_with("The code was wrong");
    }
    browser.end(PASSWORD, &place.app()).await.is_refused_with("Too many wrong tries");
    assert_eq!(place.person().wrong_passwords, 0);
    place.cloud.clock.advance(Duration::from_mins(16));
    browser.open("/second-factor").await;
    browser.end(PASSWORD, &place.app()).await.is_done("factor-off");
}

#[tokio::test]
async fn single_sign_on_people_are_warned_and_give_the_code_in_their_own_session() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.turn_on().await;
    place.cloud.standin.with(|world| world.set_user_source(place.alice, "saml2"));
    let page = browser.open("/second-factor").await;
    page.says("a wrong one signs you out of CloudStack");
    assert!(!page.text.contains("type=\"password\""));
    browser.end("", &place.app()).await.is_done("factor-off");
    assert_eq!(place.calls("login"), 0);

    place.cloud.standin.with(|world| world.set_user_source(place.alice, "native"));
    let mut browser = place.alice().await;
    browser.turn_on().await;
    place.cloud.standin.with(|world| world.set_user_source(place.alice, "saml2"));
    browser.open("/second-factor").await;
    let wrong = not(&place.app());
    let answer = browser.end("", wrong).await;
    assert_eq!(answer.status, 401);
    answer.says("CloudStack has signed you out");
    assert_eq!(place.factor(), Some(("totp", true)));
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn turning_off_what_was_never_confirmed_needs_only_the_password() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    // Begun in CloudStack's own UI: bursar does not know of it.
    let key = browser.cookies["sessionkey"].clone();
    let form = [
        ("command", "setupUserTwoFactorAuthentication"),
        ("provider", "totp"),
        ("response", "json"),
        ("sessionkey", &key),
    ];
    let request = place.client.post(place.cloud.standin.url()).header("cookie", browser.cookie_header());
    assert_eq!(request.form(&form).send().await.unwrap().status(), 200);
    browser.open("/second-factor").await.says("If you never gave a first code, it was not confirmed");
    browser.end(PASSWORD, "123456").await.is_done("factor-cleared");
    assert_eq!(place.factor(), None);
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn lost_answers_are_read_back() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.open("/second-factor").await;
    let set_up = "setupUserTwoFactorAuthentication";
    let validate = "validateUserTwoFactorAuthenticationCode";
    place.fault(set_up, FaultKind::CutBeforeAction);
    browser.post("/second-factor/begin", &[("provider", "totp")]).await.is_refused_with("CloudStack did not do it");
    place.fault(set_up, FaultKind::CutAfterAction);
    browser
        .post("/second-factor/begin", &[("provider", "totp")])
        .await
        .is_refused_with("its secret was lost on the way");
    // Signing in again clears it, as the page says.
    let mut browser = place.alice().await;
    let page = browser.begin("totp").await;
    place.fault(validate, FaultKind::CutBeforeAction);
    browser.confirm(&page, &place.app()).await.is_refused_with("can not be told what became of it");
    let mut browser = place.alice().await;
    let page = browser.begin("totp").await;
    let wrong = not(&place.app());
    place.fault(validate, FaultKind::CutAfterAction);
    browser.confirm(&page, wrong).await.is_refused_with("CloudStack undid the set-up");
    let page = browser.begin("totp").await;
    place.fault(validate, FaultKind::Status(429));
    browser.confirm(&page, &place.app()).await.is_refused_with("does not answer now");
    // Nothing was sent, so the same form still works.
    browser.confirm(&page, &place.app()).await.is_done("factor-on");

    browser.open("/second-factor").await;
    place.fault(set_up, FaultKind::CutBeforeAction);
    browser.end(PASSWORD, &place.app()).await.is_refused_with("CloudStack did not do it");
    assert_eq!(place.factor(), Some(("totp", true)));
    place.fault(set_up, FaultKind::CutAfterAction);
    browser.end(PASSWORD, &place.app()).await.is_done("factor-off");
    assert_eq!(place.factor(), None);
}

#[tokio::test]
async fn a_session_that_ended_in_between_changes_nothing() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.begin("totp").await;
    browser.sign_out().await;
    let answer = browser.confirm(&page, &place.app()).await;
    assert_eq!(answer.status, 401);
    assert_eq!(place.factor(), Some(("totp", false)));
    assert_eq!(place.calls("validateUserTwoFactorAuthenticationCode"), 0);
}

#[tokio::test]
async fn a_mandate_is_told() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    place.cloud.standin.with(|world| world.set_configuration("mandate.user.2fa", "true"));
    browser.open("/second-factor").await.says("Your cloud wants everybody in your domain to have a second factor");
}

#[tokio::test]
async fn who_has_one_gives_it_to_ask_for_the_deletion_of_the_account() {
    on_each_database(|database| async {
        let place = Place::open_to_factors(database).await;
        let mut browser = place.alice().await;
        browser.turn_on().await;
        let page = browser.open("/delete-request").await;
        speaks_plainly(&page.text);
        let nonce = page.hidden("nonce");
        let ask = async |browser: &mut Browser<'_>, password: &str, code: &str| {
            let fields = [
                ("nonce", nonce.as_str()),
                ("reason", "we move"),
                ("name", "alice"),
                ("understood", "yes"),
                ("password", password),
                ("code", code),
            ];
            browser.post("/delete-request", &fields).await
        };
        ask(&mut browser, "", "").await.is_refused_with("give your password and a code");
        let code = place.app();
        ask(&mut browser, PASSWORD, not(&code)).await.is_refused_with("code");
        ask(&mut browser, "not-the-password", &code).await.is_refused_with("password");
        assert!(browser.is_signed_in().await, "a wrong try ends nothing");
        let page = browser.open("/delete-request").await;
        assert!(!page.text.contains("This account is to be deleted."), "nothing was asked");
        ask(&mut browser, PASSWORD, &place.app()).await.is_done("asked");
        browser.open("/delete-request").await.says("This account is to be deleted.");
        assert_eq!(place.factor(), Some(("totp", true)), "it is still on");
        // The way back needs neither.
        browser.post("/delete-request/take-back", &[]).await.is_done("back");
    })
    .await;
}

#[tokio::test]
async fn the_deletion_page_names_the_waiting_time_and_asks_for_a_second_factor_only_where_it_is_on() {
    let place = Place::open_to_factors(Database::sqlite()).await;
    let mut browser = place.alice().await;
    let page = browser.open("/delete-request").await;
    page.says("The waiting time is 14 days. Asked for now, it can be taken back until 2026-11-15");
    assert!(!page.text.contains("name=\"password\"") && !page.text.contains("name=\"code\""), "{}", page.text);
    // It can not be read: whoever has one gives it.
    place.cloud.standin.with(|world| world.faults().push(Fault::once("listUsers", FaultKind::Status(503))));
    let page = browser.open("/delete-request").await;
    page.says("Otherwise leave both empty.").says("name=\"password\"").says("name=\"code\"");

    browser.turn_on().await;
    let page = browser.open("/delete-request").await;
    page.says("so this wants your password and a code").says("name=\"password\"").says("name=\"code\"");
    let nonce = page.hidden("nonce");
    place.cloud.standin.with(|world| world.set_user_source(place.alice, "saml2"));
    let page = browser.open("/delete-request").await;
    page.says("a wrong one signs you out of CloudStack").says("name=\"code\"");
    assert!(!page.text.contains("type=\"password\""), "they have none: {}", page.text);
    let ask = async |browser: &mut Browser<'_>, code: &str| {
        let fields = [
            ("nonce", nonce.as_str()),
            ("reason", "we move"),
            ("name", "alice"),
            ("understood", "yes"),
            ("code", code),
        ];
        browser.post("/delete-request", &fields).await
    };
    ask(&mut browser, "").await.is_refused_with("Your user has a second factor: give a code.");
    ask(&mut browser, &place.app()).await.is_done("asked");
    assert_eq!(place.calls("login"), 0);
}

#[tokio::test]
async fn the_deletion_page_counts_snapshots_and_templates_by_the_newest_usage() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let account: CloudId = place.cloud.account("alice").await.cloud_id.parse().unwrap();
        place.alice().await.open("/delete-request").await.says("There are no usage records yet");
        let now = place.cloud.clock.now();
        place.cloud.standin.with(|world| {
            for name in ["nightly", "weekly"] {
                world.add_usage_resource(account, 9, name, Some(1 << 30), now);
            }
            world.add_usage_resource(account, 7, "golden", Some(1 << 30), now);
        });
        for _ in 0..3 {
            place.cloud.pass(Duration::from_hours(1));
        }
        place.cloud.catch_up().await;
        let page = place.alice().await.open("/delete-request").await;
        page.says("Snapshots (2)").says("Templates and ISO images (1)").says("by the usage records of 2026-11-01");
        let page = place.sign_in("bob", PASSWORD, "/").await.open("/delete-request").await;
        page.says("Snapshots (0)").says("Templates and ISO images (0)");
    })
    .await;
}
