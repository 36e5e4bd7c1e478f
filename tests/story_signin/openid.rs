//! OpenID Connect: who gets in, and everything that must not.

use bursar::{
    random::RandomSource as _,
    store::{operations as plans, sessions},
    time::Clock as _,
};

use super::*;
use crate::harness::{oidc::Fault, on_each_database};

#[tokio::test]
async fn a_person_signs_in_by_openid_connect_and_sees_the_account_that_somebody_mapped() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        place.map(&place.corp, "ann", "alice", "finance").await;
        let mut browser = Browser::default();
        let ways = browser.open(&place.at("/sign-in")).await;
        assert!(ways.says("Sign in with CORP login") && ways.says("Sign in with PUBLIC login"), "{}", ways.text);
        let page = place.signs_in_by(&mut browser, "corp", Person::new("ann", "ann@corp.example.com")).await;
        assert_eq!((page.status, page.url.path()), (200, "/client/api/bursar/"));
        assert!(
            page.says("ROOT/alice") && page.says("ann of example") && page.says("Total Credit Limit"),
            "{}",
            page.text
        );
        assert!(!page.says("/admin/accounts"), "nobody administers anything by this");
        assert_eq!(place.corp.exchanges(), [true], "the code came with the secret and the verifier");
        // What acts on the person's CloudStack user needs CloudStack's own session; what needs more than the role is refused.
        let you = browser.open(&place.at("/you")).await;
        assert!(
            you.says("view everything; redeem codes and choose how to pay") && you.says("CORP login"),
            "{}",
            you.text
        );
        assert_eq!(browser.open(&place.at("/admin/people")).await.status, 403);

        // Out again: bursar's session is gone, and what is left in the browser opens nothing.
        let session = browser.cookie("bursar_session").unwrap();
        let out = browser.send(&place.at("/sign-out"), &[("csrf", &you.hidden("csrf"))]).await;
        assert!(out.says("You are signed out of Billing"), "{}", out.text);
        assert_eq!(browser.cookie("bursar_session"), None);
        browser.plant(&place.url, BASE, "bursar_session", &session);
        assert_eq!(browser.open(&place.at("/")).await.status, 401);
    })
    .await;
}

#[tokio::test]
async fn a_key_of_another_kind_is_believed_and_an_address_told_apart_is_asked_for() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        place.map(&place.public, "eve", "alice", "viewer").await;
        place.public.email_by_userinfo();
        let (mut browser, page) = place.signs_in("public", Person::new("eve", "eve@example.org")).await;
        assert!(page.says("ROOT/alice"), "{}", page.text);
        assert!(browser.open(&place.at("/you")).await.says("view only"), "a viewer");
        let mut tx = place.cloud.app.store.read().await.unwrap();
        let binding = bursar::store::mapping::list_bindings(&mut tx, None).await.unwrap().remove(0);
        assert_eq!(binding.email.as_deref(), Some("eve@example.org"));
        drop(tx);
        place.public.fault(Fault::UserInfoOfSomebodyElse);
        let (_, page) = place.signs_in("public", Person::new("eve", "eve@example.org")).await;
        assert_eq!(page.status, 502);
    })
    .await;
}

#[tokio::test]
async fn what_an_issuer_sends_is_believed_only_if_all_of_it_fits() {
    on_each_database(|database| async { what_is_believed(Place::open(database).await).await }).await;
}

#[tokio::test]
async fn what_an_issuer_signs_by_rsa_is_believed_only_if_all_of_it_fits() {
    on_each_database(|database| async {
        what_is_believed(Place::open_signing(database, Signs::Rs256, &[], people_of_the_cloud).await).await;
    })
    .await;
}

async fn what_is_believed(place: Place) {
    place.map(&place.corp, "ann", "alice", "owner").await;
    let ann = || Person::new("ann", "ann@corp.example.com");
    for fault in [
        Fault::Nonce,
        Fault::NoNonce,
        Fault::Audience,
        Fault::SecondAudience,
        Fault::AuthorizedParty,
        Fault::Issuer,
        Fault::Expired,
        Fault::MadeLongAgo,
        Fault::OfTheFuture,
        Fault::AlgorithmNone,
        Fault::SignedWithTheSecret,
        Fault::ForeignKey,
        Fault::NoToken,
        Fault::AccessTokenHash,
        Fault::AnswersForAnother,
    ] {
        place.corp.fault(fault);
        let (browser, page) = place.signs_in("corp", ann()).await;
        assert_eq!((page.status, browser.cookie("bursar_session")), (502, None), "{fault:?}: {}", page.text);
        assert!(page.says("could not be checked"), "{fault:?}");
    }
    place.corp.fault(Fault::Denies);
    let (browser, page) = place.signs_in("corp", ann()).await;
    assert_eq!((page.status, browser.cookie("bursar_session")), (403, None));
    place.corp.fault(Fault::None);
    let (_, page) = place.signs_in("corp", ann()).await;
    assert_eq!(page.status, 200, "nothing of it lasts");
}

#[tokio::test]
async fn a_clock_may_be_off_by_two_minutes_and_not_more() {
    let place = Place::open(Database::sqlite()).await;
    place.map(&place.corp, "ann", "alice", "owner").await;
    let ann = || Person::new("ann", "ann@corp.example.com");
    // The token is made at one instant and looked at at another.
    let tried = async |late: Duration| {
        place.corp.person(ann());
        let mut browser = Browser::default();
        let begun = browser.open_once(&place.at("/sign-in/corp")).await;
        let back = browser.open_once(&begun.location.unwrap()).await.location.unwrap();
        // A token lives for five minutes there.
        place.cloud.clock.advance(late);
        browser.open(&back).await.status
    };
    assert_eq!(tried(MINUTE).await, 200);
    assert_eq!(tried(Duration::from_mins(11)).await, 400, "the sign-in itself is too old by then");
}

#[tokio::test]
async fn a_state_is_good_once_in_one_browser_and_for_one_issuer() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        place.map(&place.corp, "ann", "alice", "owner").await;
        place.map(&place.public, "ann", "bob", "owner").await;
        let ann = || Person::new("ann", "ann@corp.example.com");
        place.corp.person(ann());
        place.public.person(ann());
        // Up to the door: the answer of the issuer is there and was not opened.
        let waiting = async |browser: &mut Browser, name: &str| {
            let begun = browser.open_once(&place.at(&format!("/sign-in/{name}"))).await;
            assert_eq!(begun.status, 303);
            let cookie = begun.set_cookies.iter().find(|line| line.starts_with("bursar_sign_in=")).unwrap();
            let wanted = "; Path=/client/api/bursar/sign-in; HttpOnly; SameSite=Lax; Max-Age=600";
            assert!(cookie.ends_with(wanted), "{cookie}");
            browser.open_once(&begun.location.unwrap()).await.location.unwrap()
        };

        // Somebody else's answer, in a browser that never began: a planted sign-in.
        let mut evil = Browser::default();
        let planted = waiting(&mut evil, "corp").await;
        let mut victim = Browser::default();
        assert_eq!(victim.open(&planted).await.status, 400);
        // The same, where the victim has begun a sign-in of its own.
        let own = waiting(&mut victim, "corp").await;
        assert_eq!(victim.open(&planted).await.status, 400);
        assert_eq!(victim.cookie("bursar_session"), None);
        // A changed state, and one that was replayed.
        let changed = own.replacen("state=", "state=0", 1);
        assert_eq!(victim.open(&changed).await.status, 400);
        let page = victim.open(&own).await;
        assert!(page.status == 200 && page.says("ROOT/alice"), "{}", page.text);
        assert_eq!(victim.open(&own).await.status, 400, "it was used");

        // Mix-up: what one issuer sent comes to the other one's address.
        let mut browser = Browser::default();
        let answer = waiting(&mut browser, "public").await;
        let mixed = answer.replacen("/sign-in/public/", "/sign-in/corp/", 1);
        assert_eq!(browser.open(&mixed).await.status, 400);
        let exchanges = place.corp.exchanges().len();
        assert_eq!(browser.open(&answer).await.status, 400, "and it is used up by that");
        assert_eq!(place.corp.exchanges().len(), exchanges, "no issuer saw another one's code");

        // Two tabs do not end each other.
        let mut browser = Browser::default();
        let one = waiting(&mut browser, "corp").await;
        let two = waiting(&mut browser, "corp").await;
        assert_eq!(browser.open(&two).await.status, 200);
        assert_eq!(browser.open(&one).await.status, 200);
        // Too late.
        let mut browser = Browser::default();
        let late = waiting(&mut browser, "corp").await;
        place.cloud.clock.advance(Duration::from_mins(11));
        assert_eq!(browser.open(&late).await.status, 400);
    })
    .await;
}

#[tokio::test]
async fn an_issuer_that_is_down_wrong_or_endless_is_told_clearly() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        place.map(&place.corp, "ann", "alice", "owner").await;
        for (fault, status, says) in [
            (Fault::ServerError, 503, "does not answer now"),
            (Fault::TooLong, 503, "does not answer now"),
            (Fault::NoSense, 502, "could not be checked"),
            (Fault::DiscoveryOfAnother, 502, "could not be checked"),
        ] {
            place.corp.fault(fault);
            let (_, page) = place.signs_in("corp", Person::new("ann", "ann@corp.example.com")).await;
            assert_eq!(page.status, status, "{fault:?}");
            assert!(page.says(says) && page.says("/sign-in\""), "{fault:?}: {}", page.text);
            assert!(!page.says("127.0.0.1"), "nothing of the inside is told");
        }
        let mut browser = Browser::default();
        assert_eq!(browser.open(&place.at("/sign-in/nowhere")).await.status, 404);
        place.corp.fault(Fault::None);
        let (_, page) = place.signs_in("corp", Person::new("ann", "ann@corp.example.com")).await;
        assert_eq!(page.status, 200, "a failure is not remembered");
    })
    .await;
}

#[tokio::test]
async fn an_issuer_that_never_answers_is_given_up() {
    let place = Place::open(Database::sqlite()).await;
    place.corp.fault(Fault::Silence);
    let (_, page) = place.signs_in("corp", Person::new("ann", "ann@corp.example.com")).await;
    assert!(page.status == 503 && page.says("does not answer now"), "{}", page.text);
}

#[tokio::test]
async fn an_issuer_is_asked_once_an_hour_and_a_new_key_is_looked_up() {
    let place = Place::open(Database::sqlite()).await;
    place.map(&place.corp, "ann", "alice", "owner").await;
    let ann = || Person::new("ann", "ann@corp.example.com");
    for _ in 0..3 {
        assert_eq!(place.signs_in("corp", ann()).await.1.status, 200);
    }
    assert_eq!(place.corp.discoveries(), 1);
    place.corp.rotate();
    // Just looked up: a token with an unknown key does not make bursar ask again and again.
    assert_eq!(place.signs_in("corp", ann()).await.1.status, 502);
    assert_eq!(place.corp.discoveries(), 1);
    place.cloud.clock.advance(Duration::from_secs(61));
    assert_eq!(place.signs_in("corp", ann()).await.1.status, 200);
    assert_eq!(place.corp.discoveries(), 2);
}

#[tokio::test]
async fn nobody_is_sent_elsewhere_whatever_an_address_or_a_host_says() {
    let place = Place::open(Database::sqlite()).await;
    place.map(&place.corp, "ann", "alice", "owner").await;
    place.corp.person(Person::new("ann", "ann@corp.example.com"));
    for (to, ends) in [
        ("/you", "/client/api/bursar/you"),
        ("//evil.example.com/", "/client/api/bursar/"),
        ("https://evil.example.com/", "/client/api/bursar/"),
        ("/%5Cevil.example.com", "/client/api/bursar/"),
        ("/..//evil.example.com", "/client/api/bursar/"),
    ] {
        let mut browser = Browser::default();
        let page = browser.open(&place.at(&format!("/sign-in/corp?to={to}"))).await;
        assert_eq!((page.status, page.url.path()), (200, ends), "{to}");
        assert!(page.url.as_str().starts_with(&place.url), "{}", page.url);
    }
    // Where the issuer sends people back is configured, and not taken from what a request claims to be for.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let request =
        client.get(place.at("/sign-in/corp")).header("accept", "text/html").header("host", "evil.example.com");
    let response = request.header("x-forwarded-host", "evil.example.com").send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap();
    let url = url::Url::parse(location).unwrap();
    let redirect = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(redirect, place.at("/sign-in/corp/callback"));
    // A page fetched in advance begins nothing.
    let request = client.get(place.at("/sign-in/corp")).header("sec-fetch-mode", "navigate");
    assert_eq!(request.header("sec-purpose", "prefetch").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_session_can_not_be_planted_and_another_persons_cookie_opens_nothing_else() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        place.map(&place.corp, "ann", "alice", "owner").await;
        place.map(&place.corp, "ben", "bob", "owner").await;
        let (ann, _) = place.signs_in("corp", Person::new("ann", "ann@corp.example.com")).await;
        let planted = ann.cookie("bursar_session").unwrap();
        // Ann's session was planted in Ben's browser; when he signs in, it is another, and the planted one ends.
        let mut ben = Browser::default();
        ben.plant(&place.url, BASE, "bursar_session", &planted);
        let page = place.signs_in_by(&mut ben, "corp", Person::new("ben", "ben@corp.example.com")).await;
        assert!(page.says("ROOT/bob"), "{}", page.text);
        assert_ne!(ben.cookie("bursar_session").unwrap(), planted);
        let mut evil = ann;
        assert_eq!(evil.open(&place.at("/")).await.status, 401);
        // Changed, guessed and odd cookies.
        let real = ben.cookie("bursar_session").unwrap();
        for value in [format!("{real}0"), real.to_uppercase(), "x".repeat(64), String::new(), "..".to_owned()] {
            let mut browser = Browser::default();
            browser.plant(&place.url, BASE, "bursar_session", &value);
            assert_eq!(browser.open(&place.at("/")).await.status, 401, "{value}");
        }
        // What is stored is no cookie.
        let mut tx = place.cloud.app.store.read().await.unwrap();
        assert!(sessions::find_session(&mut tx, &real, place.cloud.clock.now()).await.unwrap().is_none());
        let guess = bursar::random::SystemRandom.hex(32);
        assert!(sessions::find_session(&mut tx, &guess, place.cloud.clock.now()).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_session_of_an_issuer_ends_by_time_with_its_mapping_and_with_another_cloudstack_session() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        place.map(&place.corp, "ann", "alice", "owner").await;
        let ann = || Person::new("ann", "ann@corp.example.com");
        let (mut browser, _) = place.signs_in("corp", ann()).await;
        place.cloud.clock.advance(Duration::from_mins(59));
        assert_eq!(browser.open(&place.at("/")).await.status, 200);
        place.cloud.clock.advance(Duration::from_mins(2));
        assert_eq!(browser.open(&place.at("/")).await.status, 401);

        let (mut browser, page) = place.signs_in("corp", ann()).await;
        assert_eq!(page.status, 200);
        let account = place.cloud.account("alice").await;
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        let who = (place.corp.issuer.as_str(), "ann");
        assert!(people::unmap(&mut tx, who, &account, "test", place.cloud.clock.now()).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(browser.open(&place.at("/")).await.status, 401);

        place.map(&place.corp, "ann", "alice", "owner").await;
        let (mut browser, _) = place.signs_in("corp", ann()).await;
        // bob signs in to CloudStack in the same browser: he sees his own account and not Ann's.
        place.cloudstack(&mut browser, "bob").await;
        let page = browser.open(&place.at("/")).await;
        assert!(page.says("ROOT/bob") && !page.says("ROOT/alice"), "{}", page.text);
    })
    .await;
}

#[tokio::test]
async fn something_is_changed_only_soon_after_signing_in() {
    let place = Place::open(Database::sqlite()).await;
    place.map(&place.corp, "ann", "alice", "owner").await;
    place.map(&place.corp, "ann", "bob", "viewer").await;
    let (mut browser, page) = place.signs_in("corp", Person::new("ann", "ann@corp.example.com")).await;
    let csrf = page.hidden("csrf");
    let bob = place.cloud.account("bob").await.id.to_string();
    place.cloud.clock.advance(Duration::from_mins(16));
    let fields = [("csrf", csrf.as_str()), ("account", bob.as_str())];
    let page = browser.send(&place.at("/you/account"), &fields).await;
    assert!(page.status == 401 && page.says("nothing was changed"), "{}", page.text);
    assert_eq!(browser.open(&place.at("/")).await.status, 200, "looking goes on");
    // A form from elsewhere, or without its token, changes nothing either.
    let (mut browser, page) = place.signs_in("corp", Person::new("ann", "ann@corp.example.com")).await;
    let fields = [("csrf", page.hidden("csrf")), ("account", bob)];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(browser.send_from(&place.at("/you/account"), "cross-site", &fields).await.status, 403);
    assert_eq!(browser.send(&place.at("/you/account"), &[("csrf", "guess"), fields[1]]).await.status, 403);
    assert_eq!(browser.send_from(&place.at("/sign-out"), "cross-site", &fields).await.status, 403);
    assert!(browser.open(&place.at("/")).await.says("ROOT/alice"));
}

#[tokio::test]
async fn several_sessions_of_cloudstack_in_the_browser_and_a_clock_that_goes_back_end_a_session() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        place.map(&place.corp, "ann", "alice", "owner").await;
        let ann = || Person::new("ann", "ann@corp.example.com");
        let (mut browser, page) = place.signs_in("corp", ann()).await;
        assert_eq!(page.status, 200);
        // Somebody else signs in to CloudStack by SAML there, which leaves two keys.
        browser.plant(&place.url, "/client", "JSESSIONID", "another");
        browser.plant(&place.url, "/client", "sessionkey", "one");
        browser.plant(&place.url, "/client/api", "sessionkey", "two");
        assert_eq!(browser.open(&place.at("/")).await.status, 401);

        let (mut browser, _) = place.signs_in("corp", ann()).await;
        place.cloud.clock.set(place.cloud.clock.now().minus(MINUTE));
        assert_eq!(browser.open(&place.at("/")).await.status, 200, "replicas' clocks differ a little");
        place.cloud.clock.set(place.cloud.clock.now().minus(DAY));
        assert_eq!(browser.open(&place.at("/")).await.status, 401);
    })
    .await;
}

#[tokio::test]
async fn an_administrator_with_another_name_at_the_issuer_does_not_approve_twice() {
    on_each_database(|database| async {
        let place = Place::open_with(database, &[("FUSE_SECOND_ADMIN", "true")], people_of_the_cloud).await;
        place.cloud.arm(&["lock"]).await;
        let user = place.user("alice").await;
        place.map_as(&place.corp.issuer, "ann", "alice", "cloud-admin", Some(&user)).await;
        place.map(&place.corp, "bea", "bob", "cloud-admin").await;
        let now = place.cloud.clock.now();
        let plan = plans::NewPlan {
            cause: "command",
            author: "test",
            why: "a story",
            figures: "{}".to_owned(),
            run: RunId::new(1),
            expires: now.plus(DAY),
        };
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        let id = plans::insert_plan(&mut tx, &plan, &[], now).await.unwrap();
        tx.commit().await.unwrap();
        for (sub, name, status, state) in [
            ("ann", "Ann", 200, "waiting"),
            ("ann", "Somebody Else", 409, "waiting"),
            // Another person may well be called the same.
            ("bea", "Ann", 200, "approved"),
        ] {
            let person = Person { name: name.to_owned(), ..Person::new(sub, &format!("{sub}@corp.example.com")) };
            let (mut browser, _) = place.signs_in("corp", person).await;
            let page = browser.open(&place.at("/admin/enforcement")).await;
            let form = place.at(&format!("/admin/enforcement/plans/{id}/approve"));
            let sent = browser.send(&form, &[("csrf", &page.hidden("csrf"))]).await;
            assert_eq!(sent.status, status, "{sub} as {name}: {}", sent.text);
            let mut tx = place.cloud.app.store.read().await.unwrap();
            assert_eq!(plans::get_plan(&mut tx, id).await.unwrap().state, state, "{sub} as {name}");
        }
    })
    .await;
}
