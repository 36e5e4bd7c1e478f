//! Sessions and the second factor, as facts 2.1 to 2.4 and CloudStack's source have them.

use std::{collections::HashMap, time::Duration};

use serde_json::Value;

use super::{
    AccountKind, State, World,
    commands::{Incoming, answer},
    envelope::Reply,
    totp_code,
};
use crate::{ids::CloudId, time::Timestamp};

/// A browser: the two cookies.
#[derive(Default)]
struct Browser {
    cookies: HashMap<String, String>,
}

struct Cloud {
    world: World,
    alice: CloudId,
    admin: CloudId,
}

const ALICE: &str = "alice-password";

fn cloud() -> Cloud {
    let mut world = World::new(Timestamp::from_seconds(1_795_366_800));
    let root = world.root_domain();
    let account = world.add_account(root, "alice", AccountKind::User);
    let alice = world.add_user(account, "alice", ALICE, "alice@example.com");
    let acme = world.add_domain(root, "acme");
    let account = world.add_account(acme, "acmeadmin", AccountKind::DomainAdmin);
    let admin = world.add_user(account, "acmeadmin", "acme-password", "acmeadmin@example.com");
    world.set_configuration("enable.user.2fa", "true");
    Cloud { world, alice, admin }
}

impl Browser {
    fn send(&self, world: &mut World, command: &str, parameters: &[(&str, &str)]) -> Option<Reply> {
        let mut all: std::collections::BTreeMap<String, String> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.insert("command".to_owned(), command.to_owned());
        if let Some(key) = self.cookies.get("sessionkey") {
            all.entry("sessionkey".to_owned()).or_insert_with(|| key.clone());
        }
        let remote = "127.0.0.1".parse().unwrap();
        let incoming = Incoming { method: "POST".to_owned(), parameters: all, cookies: self.cookies.clone(), remote };
        answer(world, &incoming)
    }

    fn call(&self, world: &mut World, command: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
        let reply = self.send(world, command, parameters).unwrap();
        (reply.status, reply.body.as_object().unwrap().values().next().unwrap().clone())
    }

    fn login(world: &mut World, username: &str, password: &str, domain: &str) -> (Self, u16, Value) {
        let mut browser = Self::default();
        let parameters = [("username", username), ("password", password), ("domain", domain)];
        let reply = browser.send(world, "login", &parameters).unwrap();
        for cookie in &reply.cookies {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            browser.cookies.insert(name.to_owned(), value.to_owned());
        }
        (browser, reply.status, reply.body["loginresponse"].clone())
    }

    fn alice(world: &mut World) -> Self {
        Self::login(world, "alice", ALICE, "/").0
    }

    fn status(&self, world: &mut World, command: &str, parameters: &[(&str, &str)]) -> u16 {
        self.call(world, command, parameters).0
    }

    fn code(&self, world: &mut World, code: &str) -> u16 {
        self.status(world, "validateUserTwoFactorAuthenticationCode", &[("codefor2fa", code)])
    }
}

fn app_code(cloud: &Cloud) -> String {
    totp_code(cloud.world.second_factor_secret(cloud.alice).unwrap().expose(), cloud.world.now())
}

/// Alice's browser, and a second factor that is confirmed.
fn with_second_factor(cloud: &mut Cloud) -> Browser {
    let browser = Browser::alice(&mut cloud.world);
    assert_eq!(browser.status(&mut cloud.world, "setupUserTwoFactorAuthentication", &[("provider", "totp")]), 200);
    let code = app_code(cloud);
    assert_eq!(browser.code(&mut cloud.world, &code), 200);
    browser
}

#[test]
fn a_second_factor_counts_as_on_from_its_set_up_and_is_wiped_at_the_next_login_unless_confirmed() {
    let mut cloud = cloud();
    let browser = Browser::alice(&mut cloud.world);
    browser.call(&mut cloud.world, "setupUserTwoFactorAuthentication", &[("provider", "totp")]);
    let (_, users) = browser.call(&mut cloud.world, "listUsers", &[]);
    assert_eq!(users["user"][0]["is2faenabled"], true);
    let (again, text) = browser.call(&mut cloud.world, "setupUserTwoFactorAuthentication", &[]);
    assert_eq!(again, 530, "{text}");
    let (_, _, body) = Browser::login(&mut cloud.world, "alice", ALICE, "/");
    assert_eq!(body["is2faenabled"], "false");
    assert_eq!(cloud.world.person(cloud.alice).unwrap().second_factor, None);
}

#[test]
fn a_wrong_code_undoes_a_set_up_and_ends_a_session_whose_factor_was_confirmed() {
    let mut cloud = cloud();
    let browser = Browser::alice(&mut cloud.world);
    browser.call(&mut cloud.world, "setupUserTwoFactorAuthentication", &[("provider", "totp")]);
    assert_eq!(browser.code(&mut cloud.world, "000000"), 511);
    assert_eq!(cloud.world.person(cloud.alice).unwrap().second_factor, None);
    assert_eq!(browser.status(&mut cloud.world, "listUsers", &[]), 200, "the session goes on");

    let browser = with_second_factor(&mut cloud);
    assert_eq!(browser.code(&mut cloud.world, "000000"), 511);
    assert_eq!(cloud.world.person(cloud.alice).unwrap().second_factor, Some(("totp", true)));
    assert_eq!(browser.status(&mut cloud.world, "listUsers", &[]), 401, "though it had been a verified one");
}

#[test]
fn a_pending_session_may_do_little_and_is_free_once_the_factor_is_off() {
    let mut cloud = cloud();
    with_second_factor(&mut cloud);
    let (pending, _, body) = Browser::login(&mut cloud.world, "alice", ALICE, "/");
    assert_eq!((&body["is2faverified"], &body["providerfor2fa"]), (&"false".into(), &"totp".into()));
    for free in ["listApis", "listUserTwoFactorAuthenticatorProviders"] {
        assert_eq!(pending.status(&mut cloud.world, free, &[]), 200, "{free}");
    }
    assert_eq!(pending.status(&mut cloud.world, "setupUserTwoFactorAuthentication", &[("enable", "false")]), 200);
    assert_eq!(pending.status(&mut cloud.world, "listUsers", &[]), 200, "nobody asks for a code any more");

    with_second_factor(&mut cloud);
    let (pending, ..) = Browser::login(&mut cloud.world, "alice", ALICE, "/");
    let code = app_code(&cloud);
    assert_eq!(pending.code(&mut cloud.world, &code), 200);
    assert_eq!(pending.status(&mut cloud.world, "listUsers", &[]), 200);
    let (pending, ..) = Browser::login(&mut cloud.world, "alice", ALICE, "/");
    assert_eq!(pending.status(&mut cloud.world, "listUsers", &[]), 511);
    assert_eq!(pending.code(&mut cloud.world, &code), 401, "the session is gone");
}

#[test]
fn where_a_second_factor_is_mandated_it_has_to_be_set_up_before_anything_else() {
    let mut cloud = cloud();
    cloud.world.set_configuration("mandate.user.2fa", "true");
    let (pending, _, body) = Browser::login(&mut cloud.world, "alice", ALICE, "/");
    assert_eq!(body["is2faverified"], "false");
    let (status, text) = pending.call(&mut cloud.world, "listUsers", &[]);
    assert!(status == 511 && text["errortext"].as_str().unwrap().contains("mandated by admin"), "{text}");
    let (pending, ..) = Browser::login(&mut cloud.world, "alice", ALICE, "/");
    pending.call(&mut cloud.world, "setupUserTwoFactorAuthentication", &[("provider", "totp")]);
    let code = app_code(&cloud);
    assert_eq!(pending.code(&mut cloud.world, &code), 200);
    let (_, users) = pending.call(&mut cloud.world, "listUsers", &[]);
    assert_eq!(users["user"][0]["is2famandated"], true);
}

#[test]
fn a_code_is_looked_at_before_the_session_key_and_only_under_its_exact_name() {
    let mut cloud = cloud();
    with_second_factor(&mut cloud);
    let code = app_code(&cloud);
    let parameters = [("codefor2fa", code.as_str()), ("sessionkey", "wrong")];
    let (pending, ..) = Browser::login(&mut cloud.world, "alice", ALICE, "/");
    let reply = pending.send(&mut cloud.world, "validateUserTwoFactorAuthenticationCode", &parameters).unwrap();
    assert_eq!(reply.status, 401);
    assert!(reply.before.is_some(), "the success stands in front of the refusal");
    assert_eq!(pending.status(&mut cloud.world, "listUsers", &[]), 401, "and the session is gone");

    let (pending, ..) = Browser::login(&mut cloud.world, "alice", ALICE, "/");
    let lower = "validateusertwofactorauthenticationcode";
    assert_eq!(pending.status(&mut cloud.world, lower, &[("codefor2fa", &code)]), 200);
    assert_eq!(pending.status(&mut cloud.world, "listUsers", &[]), 511, "the session goes on waiting");

    let mut other = self::cloud();
    let browser = Browser::alice(&mut other.world);
    let nothing =
        browser.send(&mut other.world, "validateUserTwoFactorAuthenticationCode", &[("codefor2fa", "123456")]);
    assert!(nothing.is_none(), "without a set-up the server answers nothing");
    assert_eq!(browser.code(&mut other.world, ""), 531);
    assert_eq!(browser.status(&mut other.world, "listUsers", &[]), 200);
}

#[test]
fn the_session_key_is_looked_for_where_the_setting_says() {
    for (setting, cookie, parameter, allowed) in [
        ("CookieAndParameter", true, true, true),
        ("CookieAndParameter", false, true, false),
        ("CookieOrParameter", false, true, true),
        ("CookieOrParameter", false, false, false),
        ("ParameterOnly", false, true, true),
        ("ParameterOnly", true, false, false),
    ] {
        let mut cloud = cloud();
        cloud.world.set_configuration("api.sessionkey.check.locations", setting);
        let mut browser = Browser::alice(&mut cloud.world);
        let key = browser.cookies.remove("sessionkey").unwrap();
        if cookie {
            browser.cookies.insert("sessionkey".to_owned(), key.clone());
        }
        let mut parameters = std::collections::BTreeMap::from([("command".to_owned(), "listUsers".to_owned())]);
        if parameter {
            parameters.insert("sessionkey".to_owned(), key);
        }
        let remote = "127.0.0.1".parse().unwrap();
        let incoming = Incoming { method: "POST".to_owned(), parameters, cookies: browser.cookies.clone(), remote };
        let status = answer(&mut cloud.world, &incoming).unwrap().status;
        assert_eq!(status == 200, allowed, "{setting} {cookie} {parameter}");
    }
}

#[test]
fn five_wrong_passwords_disable_the_user_and_a_right_one_forgets_them() {
    let mut cloud = cloud();
    for _ in 0..4 {
        assert_eq!(Browser::login(&mut cloud.world, "alice", "wrong", "/").1, 531);
    }
    assert_eq!(Browser::login(&mut cloud.world, "alice", ALICE, "/").1, 200);
    assert_eq!(cloud.world.person(cloud.alice).unwrap().wrong_passwords, 0);
    for _ in 0..5 {
        Browser::login(&mut cloud.world, "alice", "wrong", "/");
    }
    assert_eq!(cloud.world.person(cloud.alice).unwrap().state, State::Disabled);
    assert_eq!(Browser::login(&mut cloud.world, "alice", ALICE, "/").1, 531);
}

#[test]
fn single_sign_on_people_have_no_password_here() {
    for source in ["saml2", "saml2disabled", "oauth2"] {
        let mut cloud = cloud();
        cloud.world.set_user_source(cloud.alice, source);
        assert_eq!(Browser::login(&mut cloud.world, "alice", ALICE, "/").1, 531, "{source}");
        assert_eq!(cloud.world.person(cloud.alice).unwrap().wrong_passwords, 0, "{source}");
    }
}

#[test]
fn passwords_are_held_to_the_rules_of_the_domain() {
    let mut cloud = cloud();
    let browser = Browser::alice(&mut cloud.world);
    let id = cloud.alice.to_string();
    for (setting, value, password, text) in [
        ("password.policy.minimum.special.characters", "1", "Abcdefg1", "at least [1] special characters"),
        ("password.policy.minimum.uppercase.letters", "2", "abcdefg1!", "at least [2] upper case letters"),
        ("password.policy.minimum.lowercase.letters", "1", "ABC1!", "at least [1] lower case letters"),
        ("password.policy.minimum.digits", "3", "Abcdefg12!", "at least [3] digits"),
        ("password.policy.minimum.length", "12", "Abcdefg1!", "at least [12] characters"),
        ("password.policy.allowPasswordToContainUsername", "false", "xALICEx", "not contain their username"),
        ("password.policy.regex", "[a-z]{30}", "Abcdefg1!", "does not match with password policy regex"),
    ] {
        cloud.world.set_configuration(setting, value);
        let parameters = [("id", id.as_str()), ("password", password), ("currentpassword", ALICE)];
        let (status, body) = browser.call(&mut cloud.world, "updateUser", &parameters);
        assert!(status == 431 && body["errortext"].as_str().unwrap().contains(text), "{setting}: {body}");
        let default = if setting.ends_with("Username") {
            "true"
        } else if setting.ends_with("regex") {
            ".+"
        } else {
            "0"
        };
        cloud.world.set_configuration(setting, default);
    }
    assert!(cloud.world.has_password(cloud.alice, ALICE));
}

#[test]
fn a_plain_user_needs_the_old_password_and_a_domain_admin_does_not() {
    let mut cloud = cloud();
    let browser = Browser::alice(&mut cloud.world);
    let id = cloud.alice.to_string();
    for current in [None, Some("wrong")] {
        let mut parameters = vec![("id", id.as_str()), ("password", "new-password")];
        parameters.extend(current.map(|current| ("currentpassword", current)));
        assert_eq!(browser.status(&mut cloud.world, "updateUser", &parameters), 431);
    }
    assert_eq!(cloud.world.person(cloud.alice).unwrap().wrong_passwords, 0, "no login was tried");
    let (browser, ..) = Browser::login(&mut cloud.world, "acmeadmin", "acme-password", "/acme");
    let id = cloud.admin.to_string();
    assert_eq!(browser.status(&mut cloud.world, "updateUser", &[("id", &id), ("password", "new-password")]), 200);
    assert!(cloud.world.has_password(cloud.admin, "new-password"));
    assert_eq!(browser.status(&mut cloud.world, "listUsers", &[]), 200, "the session goes on");
}

#[test]
fn icons_are_read_as_pictures_and_gone_ones_can_not_be_deleted() {
    let mut cloud = cloud();
    let browser = Browser::alice(&mut cloud.world);
    let id = cloud.alice.to_string();
    let target = [("resourceids", id.as_str()), ("resourcetype", "User")];
    assert_eq!(browser.status(&mut cloud.world, "deleteResourceIcon", &target), 530);
    // The head of a PNG and nothing behind it.
    let broken = [target[0], target[1], ("base64image", "iVBORw0KGgoAAAANSUhEUgAA")];
    let (status, body) = browser.call(&mut cloud.world, "uploadResourceIcon", &broken);
    assert_eq!((status, &body["errortext"]), (530, &"Invalid image uploaded".into()));
    assert_eq!(cloud.world.person(cloud.alice).unwrap().icon, None);
}

#[test]
fn a_session_ends_by_itself_and_with_its_user() {
    let mut cloud = cloud();
    let browser = Browser::alice(&mut cloud.world);
    let later = cloud.world.now().plus(Duration::from_mins(31));
    cloud.world.begin(later);
    assert_eq!(browser.status(&mut cloud.world, "listUsers", &[]), 401);
    let browser = Browser::alice(&mut cloud.world);
    cloud.world.set_user_state(cloud.alice, State::Disabled);
    let (status, body) = browser.call(&mut cloud.world, "listUsers", &[]);
    assert_eq!((status, &body["errortext"]), (401, &"unable to verify user credentials".into()));
    assert_eq!(browser.status(&mut cloud.world, "logout", &[]), 431);
}
