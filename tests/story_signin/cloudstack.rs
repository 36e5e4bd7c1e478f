//! CloudStack's own sessions: how they are asked, and who of an account somebody is (rules 18 to 20).

use bursar::standin::ADMIN_PASSWORD;

use super::*;
use crate::harness::{oidc::Fault, on_each_database};

impl Place {
    /// How often CloudStack was asked whose session it is.
    fn asked(&self) -> usize {
        let calls = self.cloud.standin.calls();
        let by_service = |caller: &Option<String>| caller.as_deref().is_some_and(|name| name.starts_with("bursar-"));
        calls.iter().filter(|call| call.command == "listUsers" && !by_service(&call.caller)).count()
    }
}

#[tokio::test]
async fn rule_18_a_session_is_proven_by_navigations_and_forms_only_once_a_minute_and_ends_with_its_cookies() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let mut bob = Browser::default();
        assert_eq!(bob.open(&place.at("/")).await.status, 401);
        assert_eq!(place.asked(), 0, "without a session nobody is asked");
        place.cloudstack(&mut bob, "bob").await;
        let page = bob.open(&place.at("/")).await;
        assert!(page.says("ROOT/bob"), "{}", page.text);
        for _ in 0..5 {
            bob.open(&place.at("/")).await;
        }
        assert_eq!(place.asked(), 1, "once a minute");
        // A refresh by a script proves nothing, however late it comes.
        place.cloud.clock.advance(2 * MINUTE);
        let cookies = format!(
            "JSESSIONID={}; sessionkey={}; bursar_session={}",
            bob.cookie("JSESSIONID").unwrap(),
            bob.cookie("sessionkey").unwrap(),
            bob.cookie("bursar_session").unwrap()
        );
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let background = async || {
            let request = client.get(place.at("/")).header("sec-fetch-mode", "cors").header("cookie", &cookies);
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!((background().await, place.asked()), (200, 1));
        place.cloud.clock.advance(4 * MINUTE);
        assert_eq!((background().await, place.asked()), (401, 1), "five minutes after the last proof it is over");
        assert_eq!(bob.open(&place.at("/")).await.status, 200);
        assert_eq!(place.asked(), 2);
        // A form proves each time, and before anything is done.
        let csrf = bob.open(&place.at("/you")).await.hidden("csrf");
        let before = place.asked();
        bob.send(&place.at("/you/address"), &[("csrf", &csrf)]).await;
        assert_eq!(place.asked(), before + 1);
        // Signed out of CloudStack: bursar's session is worth nothing at the next look, and CloudStack is not logged out by it.
        bob.forget("sessionkey");
        assert_eq!(bob.open(&place.at("/")).await.status, 401);
        place.cloudstack(&mut bob, "bob").await;
        assert_eq!(bob.open(&place.at("/")).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn rule_18_whoever_invents_cookies_does_not_have_cloudstack_asked_without_end() {
    let place = Place::open(Database::sqlite()).await;
    let mut limited = 0;
    for number in 0..220 {
        let mut browser = Browser::default();
        browser.plant(&place.url, "/client", "JSESSIONID", &format!("node{number}"));
        browser.plant(&place.url, "/client/api", "sessionkey", "invented");
        limited += usize::from(browser.open(&place.at("/")).await.status == 429);
    }
    assert_eq!((place.asked(), limited), (200, 20));
}

#[tokio::test]
async fn rule_19_two_session_keys_are_not_tried_and_only_the_sessions_own_cookies_travel() {
    on_each_database(|database| async {
        let place = Place::open_with(database, &[("WEB_TRUSTED_AFFINITY_COOKIES", "ROUTE")], people_of_the_cloud).await;
        let session = place.sessions.login("bob", &Secret::new(PASSWORD), "/").await.unwrap().session;
        let (id, key) = (session.jsessionid.expose().to_owned(), session.session_key.expose().to_owned());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let open = async |cookies: String| {
            let request = client.get(place.at("/")).header("sec-fetch-mode", "navigate").header("cookie", cookies);
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let own = response.headers().get_all("set-cookie").iter().all(|line| {
                let line = line.to_str().unwrap();
                line.starts_with("bursar_session=")
            });
            assert!(own, "a cookie of CloudStack was passed on");
            (status, response.text().await.unwrap())
        };
        // What SAML leaves behind: trying the wrong one would log the person out.
        let (status, text) = open(format!("JSESSIONID={id}; sessionkey={key}; sessionkey=of-saml")).await;
        assert!(status == 401 && text.contains("more than one CloudStack session"), "{text}");
        assert_eq!(place.asked(), 0);
        let (status, text) =
            open(format!("JSESSIONID={id}; sessionkey={key}; ROUTE=r1; userid=forged; account=forged; role=Admin"))
                .await;
        assert!(status == 200 && text.contains("ROOT/bob"), "{text}");
        assert_eq!(place.asked(), 1);
        // The person is still signed in to CloudStack.
        assert_eq!(place.sessions.who_am_i(&session).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn rule_20_one_of_several_may_only_look_until_a_link_to_a_confirmed_address_tells_who() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let (sara, sam) = (place.user("sara").await, place.user("sam").await);
        let mut browser = Browser::default();
        place.cloudstack(&mut browser, "sara").await;
        let you = browser.open(&place.at("/you")).await;
        assert!(you.says("one of ROOT/shop") && you.says("<dd>view only</dd>"), "{}", you.text);
        assert!(you.says("No address of a user of this account is confirmed"), "{}", you.text);
        // CloudStack has an address of each of them; that is not enough.
        // sam, who administers the domain as sara does, writes his own address into her field.
        let session = place.sessions.login("sam", &Secret::new(PASSWORD), "/").await.unwrap().session;
        let edit = [("id", sara.as_str()), ("email", "sam@example.com")];
        place.sessions.call_raw(&session, "updateUser", &edit, true).await.unwrap();
        place.meet().await;
        place.confirm("shop", &sara, "sara@example.com").await;
        place.confirm("alice", &place.user("alice").await, "alice@example.com").await;
        let csrf = browser.open(&place.at("/you")).await.hidden("csrf");
        let claim = async |browser: &mut Browser, user: &str| {
            browser.send(&place.at("/you/user"), &[("csrf", &csrf), ("user", user)]).await
        };
        for user in [sam.as_str(), "", "x", &place.user("alice").await] {
            assert_eq!(claim(&mut browser, user).await.status, 422, "{user}");
        }
        let page = claim(&mut browser, &sara).await;
        assert!(page.says("A link is on its way"), "{}", page.text);
        place.post().await;
        assert_eq!((place.mails_to("sara@example.com"), place.mails_to("sam@example.com")), (1, 0));
        let link = place.link_to("sara@example.com");

        // It holds for the session that asked for it only: sara is not talked into vouching for sam's.
        let mut other = Browser::default();
        place.cloudstack(&mut other, "sam").await;
        assert_eq!(place.redeem(&mut other, &link).await.status, 403);
        assert!(other.open(&place.at("/you")).await.says("one of ROOT/shop"));
        let page = place.redeem(&mut browser, &link).await;
        assert!(page.says("It is known now who you are") && page.says("<dd>sara</dd>"), "{}", page.text);
        assert!(page.says("everything for this account"), "{}", page.text);
        assert_eq!(browser.open(&link).await.status, 410, "once");
        // It lasts as long as this session of CloudStack, and not a moment longer.
        place.cloud.clock.advance(7 * MINUTE);
        assert!(browser.open(&place.at("/you")).await.says("<dd>sara</dd>"));
        place.cloudstack(&mut browser, "sam").await;
        assert!(browser.open(&place.at("/you")).await.says("one of ROOT/shop"));
    })
    .await;
}

#[tokio::test]
async fn rule_20_openid_connect_tells_who_of_the_account_it_is_too() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let (sara, alice) = (place.user("sara").await, place.user("alice").await);
        place.map_as(&place.corp.issuer, "sa", "shop", "owner", Some(&sara)).await;
        place.map_as(&place.corp.issuer, "al", "alice", "owner", Some(&alice)).await;
        let mut browser = Browser::default();
        place.cloudstack(&mut browser, "sara").await;
        assert!(browser.open(&place.at("/you")).await.says("one of ROOT/shop"));
        place.corp.fault(Fault::Nonce);
        place.signs_in_by(&mut browser, "corp", Person::new("sa", "sa@corp.example.com")).await;
        assert!(browser.open(&place.at("/you")).await.says("one of ROOT/shop"));
        place.corp.fault(Fault::None);
        let page = place.signs_in_by(&mut browser, "corp", Person::new("sa", "sa@corp.example.com")).await;
        assert_eq!(page.status, 200);
        let you = browser.open(&place.at("/you")).await;
        assert!(
            you.says("<dd>sara</dd>") && you.says("<dd>CloudStack</dd>"),
            "the session stays CloudStack's: {}",
            you.text
        );
        assert!(you.says("everything for this account"), "{}", you.text);

        // Somebody of another account says nothing about this one: they are signed in as themselves.
        let mut browser = Browser::default();
        place.cloudstack(&mut browser, "sam").await;
        browser.open(&place.at("/you")).await;
        let page = place.signs_in_by(&mut browser, "corp", Person::new("al", "al@corp.example.com")).await;
        assert!(page.says("ROOT/alice"), "{}", page.text);
    })
    .await;
}

#[tokio::test]
async fn a_root_administrator_is_one_whoever_of_them_it_is() {
    let place = Place::open(Database::sqlite()).await;
    let mut admin = Browser::default();
    place.cloudstack_with(&mut admin, "admin", ADMIN_PASSWORD).await;
    assert_eq!(admin.open(&place.at("/admin/people")).await.status, 200);
}
