//! Who is mapped to which account, and what no address can bring about (rule 22).

use bursar::{
    email::EmailAddress,
    store::{cloud, mapping as rows, runs},
    time::Clock as _,
};

use super::*;
use crate::harness::on_each_database;

impl Place {
    async fn rule(&self, provider: &Provider, email: &str, account: &str, role: &str) -> i64 {
        let account = self.cloud.account(account).await;
        let email = EmailAddress::parse(email).unwrap();
        let mut tx = self.cloud.app.store.begin().await.unwrap();
        let now = self.cloud.clock.now();
        let id = people::put_rule(&mut tx, &provider.issuer, &email, &account, role, "test", now).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    async fn waiting(&self) -> Vec<(String, String)> {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        let people = rows::list_unmatched(&mut tx, "waiting", 100).await.unwrap();
        people.into_iter().map(|person| (person.subject, person.why)).collect()
    }

    async fn orphans(&self) -> Vec<(String, String)> {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        rows::list_orphans(&mut tx).await.unwrap().into_iter().map(|row| (row.subject, row.why)).collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect()
}

#[tokio::test]
async fn rule_22_an_address_lets_in_only_by_a_trusted_issuer_verified_and_confirmed() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        for provider in [&place.corp, &place.public] {
            place.rule(provider, "Finance@Corp.example.com", "alice", "finance").await;
        }
        // The public issuer's word about addresses does not count, whatever it says.
        let (browser, page) = place.signs_in("public", Person::new("eve", "finance@corp.example.com")).await;
        assert_eq!((page.status, browser.cookie("bursar_session")), (403, None), "{}", page.text);
        assert!(page.says("no account has been assigned to you yet"), "{}", page.text);
        // Trusted, but the address was never verified.
        let unverified = Person { email_verified: false, ..Person::new("mallory", "finance@corp.example.com") };
        assert_eq!(place.signs_in("corp", unverified).await.1.status, 403);
        // Trusted and verified, but nobody said that it is anybody's: CloudStack's own field is not asked.
        assert_eq!(place.signs_in("corp", Person::new("al", "alice@example.com")).await.1.status, 403);
        let known = pairs(&[("eve", "not-trusted"), ("mallory", "not-verified"), ("al", "no-rule")]);
        assert_eq!(place.waiting().await, known);
        place.post().await;
        let told = ["admin@example.com: bursar: somebody waits to be mapped to an account"];
        assert_eq!(place.mail.subjects(), told, "once a day");

        let (mut browser, page) = place.signs_in("corp", Person::new("fin", "FINANCE@corp.example.com")).await;
        assert!(page.says("ROOT/alice"), "{}", page.text);
        assert!(browser.open(&place.at("/you")).await.says("redeem codes and choose how to pay"));
        // Once an administrator says that alice's address is hers, whoever has it at corp is her.
        let alice = place.user("alice").await;
        place.confirm("alice", &alice, "alice@example.com").await;
        let (mut browser, page) = place.signs_in("corp", Person::new("al", "alice@example.com")).await;
        assert!(page.says("ROOT/alice"), "{}", page.text);
        assert!(browser.open(&place.at("/you")).await.says("everything for this account"));
        assert_eq!(place.waiting().await, pairs(&[("eve", "not-trusted"), ("mallory", "not-verified")]));
    })
    .await;
}

#[tokio::test]
async fn rule_22_the_first_who_comes_with_an_address_keeps_it_and_no_address_makes_an_administrator() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let rule = place.rule(&place.corp, "desk@corp.example.com", "alice", "owner").await;
        let admin = place.user("admin").await;
        place.confirm("admin", &admin, "root@corp.example.com").await;
        assert_eq!(place.signs_in("corp", Person::new("first", "desk@corp.example.com")).await.1.status, 200);
        // The address was given to somebody else there.
        let (_, page) = place.signs_in("corp", Person::new("second", "desk@corp.example.com")).await;
        assert_eq!(page.status, 403);
        assert_eq!(place.waiting().await, pairs(&[("second", "address-taken")]));
        // The first one changed the address and is still the same person.
        assert_eq!(place.signs_in("corp", Person::new("first", "new@corp.example.com")).await.1.status, 200);
        // The root administrator's own confirmed address: his account, and no administration.
        let (mut browser, page) = place.signs_in("corp", Person::new("root", "root@corp.example.com")).await;
        assert!(page.says("ROOT/admin") && !page.says("/admin/accounts"), "{}", page.text);
        assert_eq!(browser.open(&place.at("/admin/accounts")).await.status, 403);
        // No rule can say otherwise, here or in the database.
        let account = place.cloud.account("alice").await;
        let email = EmailAddress::parse("x@corp.example.com").unwrap();
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        let now = place.cloud.clock.now();
        let refused = people::put_rule(&mut tx, &place.corp.issuer, &email, &account, "cloud-admin", "test", now).await;
        assert!(refused.unwrap_err().to_string().contains("owner, finance, viewer"));
        let by_hand = rows::put_email_rule(&mut tx, ("x", "x@x"), account.id, "cloud-admin", "test", now).await;
        assert!(by_hand.is_err(), "the table refuses it too");
        drop(tx);
        // The rule goes, and with it whoever came by it.
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        assert!(people::drop_rule(&mut tx, rule, "test", now).await.unwrap().is_some());
        tx.commit().await.unwrap();
        assert_eq!(place.signs_in("corp", Person::new("first", "desk@corp.example.com")).await.1.status, 403);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_who_edits_the_address_in_cloudstack_becomes_nobody_else() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        // bob writes the boss's address into his own profile, in his own session.
        let session = place.sessions.login("bob", &Secret::new(PASSWORD), "/").await.unwrap().session;
        let bob = place.user("bob").await;
        let edit = [("id", bob.as_str()), ("email", "boss@corp.example.com")];
        place.sessions.call_raw(&session, "updateUser", &edit, true).await.unwrap();
        place.meet().await;
        let (_, page) = place.signs_in("corp", Person::new("boss", "boss@corp.example.com")).await;
        assert_eq!(page.status, 403, "bob's field makes the boss no owner of bob's account");
        // And where the boss's address is confirmed for alice, it stays alice's.
        let alice = place.user("alice").await;
        place.confirm("alice", &alice, "boss@corp.example.com").await;
        let (_, page) = place.signs_in("corp", Person::new("boss", "boss@corp.example.com")).await;
        assert!(page.says("ROOT/alice") && !page.says("ROOT/bob"), "{}", page.text);
    })
    .await;
}

#[tokio::test]
async fn a_person_confirms_the_own_address_by_a_link_that_holds_in_the_same_browser_once() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let mut alice = Browser::default();
        place.cloudstack(&mut alice, "alice").await;
        let you = alice.open(&place.at("/you")).await;
        assert!(you.says("alice@example.com") && you.says("not confirmed"), "{}", you.text);
        let sent = alice.send(&place.at("/you/address"), &[("csrf", &you.hidden("csrf"))]).await;
        assert!(sent.says("A link is on its way"), "{}", sent.text);
        place.post().await;
        let link = place.link_to("alice@example.com");
        // Whoever else gets the mail says nothing by it.
        let mut other = Browser::default();
        place.cloudstack(&mut other, "bob").await;
        let refused = place.redeem(&mut other, &link).await;
        assert!(refused.status == 403 && refused.says("in which it was asked for"), "{}", refused.text);
        let done = place.redeem(&mut alice, &link).await;
        assert!(done.says("Your address is confirmed"), "{}", done.text);
        assert_eq!(alice.open(&link).await.status, 410, "once");
        assert_eq!(place.signs_in("corp", Person::new("al", "alice@example.com")).await.1.status, 200);
    })
    .await;
}

#[tokio::test]
async fn somebody_who_waits_is_let_in_or_refused_on_the_administrators_page() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let name = Person { name: "<b>Zoe</b> & co".to_owned(), ..Person::new("zoe", "zoe@corp.example.com") };
        assert_eq!(place.signs_in("corp", name.clone()).await.1.status, 403);
        assert_eq!(place.signs_in("public", Person::new("yan", "yan@example.org")).await.1.status, 403);
        let mut admin = place.admin().await;
        let page = admin.open(&place.at("/admin/people")).await;
        assert!(page.says("&#60;b&#62;Zoe&#60;/b&#62;") && !page.says("<b>Zoe"), "{}", page.text);
        assert!(page.says("zoe@corp.example.com") && page.says("no rule fits"), "{}", page.text);
        let id = |page: &crate::harness::browser::Page, sub: &str| {
            let before = page.text.split(&format!("<code>{sub}</code>")).next().unwrap();
            before.rsplit("id=\"person-").next().unwrap().split('"').next().unwrap().to_owned()
        };
        let csrf = page.hidden("csrf");
        let to = place.at(&format!("/admin/people/waiting/{}/map", id(&page, "zoe")));
        for (account, role, status) in
            [("", "viewer", 422), ("nowhere", "viewer", 422), ("ROOT/alice", "cloud-admin", 422)]
        {
            let fields = [("csrf", csrf.as_str()), ("account", account), ("role", role)];
            assert_eq!(admin.send(&to, &fields).await.status, status, "{account} {role}");
        }
        // What was typed stays, on the page that the form stood on.
        for (from, heading) in [("people", "<h1>People</h1>"), ("queue", "<h1>Queue</h1>")] {
            let fields = [("csrf", csrf.as_str()), ("from", from), ("account", "nowhere"), ("role", "finance")];
            let page = admin.send(&to, &fields).await;
            assert!(page.status == 422 && page.says(heading), "{from}: {}", page.text);
            assert!(page.says("value=\"nowhere\"") && page.says("<option selected>finance</option>"), "{}", page.text);
            assert!(page.says("No account is called"), "{}", page.text);
        }
        let nobody = [("csrf", csrf.as_str()), ("account", "ROOT/alice"), ("role", "finance"), ("user", "bob")];
        let refused = admin.send(&to, &nobody).await;
        assert!(refused.status == 422 && refused.says("ROOT/alice has no user of this name"), "{}", refused.text);
        let fields = [("csrf", csrf.as_str()), ("account", "ROOT/alice"), ("role", "finance"), ("user", "alice")];
        // A tenant can not do it.
        let mut bob = Browser::default();
        place.cloudstack(&mut bob, "bob").await;
        let own = bob.open(&place.at("/you")).await.hidden("csrf");
        assert_eq!(bob.send(&to, &[("csrf", &own), fields[1], fields[2], fields[3]]).await.status, 403);
        assert!(admin.send(&to, &fields).await.says("Mapped."));
        let to = place.at(&format!("/admin/people/waiting/{}/refuse", id(&page, "yan")));
        let done = admin.send(&to, &[("csrf", &csrf), ("from", "queue")]).await;
        assert!(done.says("Refused.") && done.url.path() == "/client/api/bursar/admin/queue", "{}", done.text);
        let (mut zoe, page) = place.signs_in("corp", name).await;
        assert!(page.says("ROOT/alice"), "{}", page.text);
        // Known as a user, the person chooses the notices of that user.
        assert_eq!(zoe.open(&place.at("/notifications")).await.status, 200);
        let (_, page) = place.signs_in("public", Person::new("yan", "yan@example.org")).await;
        assert!(page.status == 403 && page.says("decided that you have no access"), "{}", page.text);
        assert_eq!(place.waiting().await, Vec::new());
        let mut tx = place.cloud.app.store.read().await.unwrap();
        let audit = runs::list_audit(&mut tx, None, 50).await.unwrap();
        for action in ["user.map", "user.refuse"] {
            assert!(audit.iter().any(|line| line.action == action && line.actor.contains("admin")), "{action}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_person_with_several_accounts_chooses_and_stays_with_the_choice() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        place.map(&place.corp, "ann", "alice", "finance").await;
        place.map(&place.corp, "ann", "bob", "viewer").await;
        let ann = || Person::new("ann", "ann@corp.example.com");
        let (mut browser, page) = place.signs_in("corp", ann()).await;
        assert!(page.says("id=\"switch-account\"") && page.says("ROOT/bob</option>"), "{}", page.text);
        let (alice, bob) = (place.cloud.account("alice").await.id, place.cloud.account("bob").await.id);
        let shop = place.cloud.account("shop").await.id.to_string();
        let csrf = page.hidden("csrf");
        let to = place.at("/you/account");
        for account in [shop.as_str(), "0", "-1", "x", "999999"] {
            let page = browser.send(&to, &[("csrf", &csrf), ("account", account)]).await;
            assert_eq!(page.status, 403, "{account}");
        }
        let page = browser.send(&to, &[("csrf", &csrf), ("account", &bob.to_string())]).await;
        assert!(page.says("You see the other account now") && page.says("<dd>view only</dd>"), "{}", page.text);
        // A page that was open about the first account reaches nothing of the second.
        let stale = [("csrf", csrf.as_str()), ("nonce", "0123456789abcdef0123456789abcdef"), ("code", "X")];
        for form in ["/you/account", "/credits", "/payment-settings", "/api-access", "/delete-request"] {
            assert_eq!(browser.send(&place.at(form), &stale).await.status, 403, "{form}");
        }
        assert!(browser.open(&place.at("/you")).await.says("<dd>ROOT/bob</dd>"));
        // The next sign-in remembers it.
        let (mut browser, _) = place.signs_in("corp", ann()).await;
        assert!(browser.open(&place.at("/you")).await.says("<dd>ROOT/bob</dd>"));

        // The same inside CloudStack, for a user whom somebody mapped to a second account.
        let user = place.user("alice").await;
        place.map_as(people::CLOUDSTACK, &user, "bob", "finance", Some(&user)).await;
        let mut browser = Browser::default();
        place.cloudstack(&mut browser, "alice").await;
        let page = browser.open(&place.at("/you")).await;
        assert!(page.says("<dd>ROOT/alice</dd>") && page.says("everything for this account"), "{}", page.text);
        let csrf = page.hidden("csrf");
        let page = browser.send(&to, &[("csrf", &csrf), ("account", &bob.to_string())]).await;
        assert!(page.says("<dd>ROOT/bob</dd>") && page.says("redeem codes and choose how to pay"), "{}", page.text);
        place.cloud.clock.advance(2 * MINUTE);
        let page = browser.open(&place.at("/you")).await;
        assert!(page.says("<dd>ROOT/bob</dd>"), "proven anew, and still there: {}", page.text);
        let page = browser.send(&to, &[("csrf", &page.hidden("csrf")), ("account", &alice.to_string())]).await;
        assert!(page.says("<dd>ROOT/alice</dd>") && page.says("everything for this account"), "{}", page.text);
    })
    .await;
}

#[tokio::test]
async fn another_account_of_the_same_name_is_another_account() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let alice = place.user("alice").await;
        place.map(&place.corp, "ann", "alice", "finance").await;
        place.map_as(&place.corp.issuer, "al", "alice", "owner", Some(&alice)).await;
        place.confirm("alice", &alice, "alice@example.com").await;
        let (mut browser, page) = place.signs_in("corp", Person::new("ann", "ann@corp.example.com")).await;
        assert_eq!(page.status, 200);
        // Renamed: still the same account.
        let admin = place.sessions.login("admin", &Secret::new(bursar::standin::ADMIN_PASSWORD), "/").await.unwrap();
        let old = place.cloud.account("alice").await;
        let rename = [("id", old.cloud_id.as_str()), ("newname", "alicia")];
        place.sessions.call_raw(&admin.session, "updateAccount", &rename, true).await.unwrap();
        place.meet().await;
        assert!(browser.open(&place.at("/")).await.says("ROOT/alicia"));
        assert_eq!(place.orphans().await, Vec::new());
        // Deleted, and made anew under its old names: account, user and address.
        let id = old.cloud_id.parse().unwrap();
        let now = place.cloud.clock.now();
        place.cloud.standin.with(|world| {
            world.remove_account(id, now);
            tenant(world, "alicia");
            let root = world.find_domain("ROOT").unwrap();
            let again = world.add_account(root, "alice", AccountKind::User);
            world.add_user(again, "alice", PASSWORD, "alice@example.com");
        });
        place.meet().await;
        assert_eq!(browser.open(&place.at("/")).await.status, 401, "the session ends with its account");
        for sub in ["ann", "al"] {
            let (_, page) = place.signs_in("corp", Person::new(sub, "alice@example.com")).await;
            assert_eq!(page.status, 403, "{sub}: {}", page.text);
        }
        assert_eq!(place.orphans().await, pairs(&[("al", "account-gone"), ("ann", "account-gone")]));
        let orphan = pairs(&[("ann", "orphan"), ("al", "orphan")]);
        assert_eq!(place.waiting().await, orphan);
        let mut admin = place.admin().await;
        assert!(admin.open(&place.at("/admin/people")).await.says("one made anew under its name is another account"));
    })
    .await;
}

#[tokio::test]
async fn a_mapping_ends_with_its_user() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let (sara, sam) = (place.user("sara").await, place.user("sam").await);
        for (sub, user) in [("sa", &sara), ("sm", &sam)] {
            place.map_as(&place.corp.issuer, sub, "shop", "owner", Some(user)).await;
        }
        let (mut browser, page) = place.signs_in("corp", Person::new("sa", "sa@corp.example.com")).await;
        assert!(page.says("ROOT/shop"), "{}", page.text);
        // Disabled, and enabled again.
        let id: CloudId = sara.parse().unwrap();
        place.cloud.standin.with(|world| world.set_user_state(id, bursar::standin::State::Disabled));
        place.meet().await;
        assert_eq!(browser.open(&place.at("/")).await.status, 401);
        assert_eq!(place.orphans().await, pairs(&[("sa", "user-disabled")]));
        place.cloud.standin.with(|world| world.set_user_state(id, bursar::standin::State::Enabled));
        place.meet().await;
        assert_eq!(place.signs_in("corp", Person::new("sa", "sa@corp.example.com")).await.1.status, 200);
        // Moved to another account, as CloudStack's moveUser does.
        let alice = place.cloud.account("alice").await;
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        let user = rows::find_cloud_user(&mut tx, &sam).await.unwrap().unwrap();
        let moved = cloud::CloudUser { account_id: alice.id, ..user };
        cloud::put_user(&mut tx, &moved, place.cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(place.signs_in("corp", Person::new("sm", "sm@corp.example.com")).await.1.status, 403);
        // Gone, and another one made under the name.
        let shop: CloudId = place.cloud.account("shop").await.cloud_id.parse().unwrap();
        place.cloud.standin.with(|world| {
            world.remove_user(id);
            world.add_user(shop, "sara", PASSWORD, "sara@example.com");
        });
        place.meet().await;
        assert_eq!(place.signs_in("corp", Person::new("sa", "sa@corp.example.com")).await.1.status, 403);
        assert_eq!(place.orphans().await, pairs(&[("sa", "user-gone")]), "the sync found sam back where he was");
    })
    .await;
}

#[tokio::test]
async fn what_an_address_brought_about_is_not_taken_away_for_a_moment_only() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let rule = place.rule(&place.corp, "desk@corp.example.com", "alice", "owner").await;
        let bob = place.user("bob").await;
        place.confirm("bob", &bob, "bob@corp.example.com").await;
        for (sub, address, account) in
            [("desk", "desk@corp.example.com", "alice"), ("bo", "bob@corp.example.com", "bob")]
        {
            let person = || Person::new(sub, address);
            assert_eq!(place.signs_in("corp", person()).await.1.status, 200, "{sub}");
            let account = place.cloud.account(account).await;
            let mut tx = place.cloud.app.store.begin().await.unwrap();
            let now = place.cloud.clock.now();
            let refused = people::unmap(&mut tx, (&place.corp.issuer, sub), &account, "test", now).await.unwrap_err();
            drop(tx);
            let says = if sub == "desk" { format!("user rules drop {rule}") } else { "user unconfirm".to_owned() };
            assert!(refused.to_string().contains(&says), "{refused}");
            assert_eq!(place.signs_in("corp", person()).await.1.status, 200, "{sub} is still mapped");
        }
        // What an administrator mapped goes at once.
        place.map(&place.corp, "ann", "alice", "owner").await;
        let alice = place.cloud.account("alice").await;
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        let now = place.cloud.clock.now();
        assert!(people::unmap(&mut tx, (&place.corp.issuer, "ann"), &alice, "test", now).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(place.signs_in("corp", Person::new("ann", "ann@corp.example.com")).await.1.status, 403);
    })
    .await;
}

#[tokio::test]
async fn an_address_that_two_users_of_an_account_share_says_who_nobody_is() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        for user in ["sara", "sam"] {
            let user = place.user(user).await;
            place.confirm("shop", &user, "desk@shop.example.com").await;
        }
        for sub in ["one", "two"] {
            assert_eq!(place.signs_in("corp", Person::new(sub, "desk@shop.example.com")).await.1.status, 403, "{sub}");
        }
        // A rule that says viewer stays one, whatever else the address is.
        place.rule(&place.corp, "alice@corp.example.com", "alice", "viewer").await;
        let alice = place.user("alice").await;
        place.confirm("alice", &alice, "alice@corp.example.com").await;
        let (mut browser, page) = place.signs_in("corp", Person::new("al", "alice@corp.example.com")).await;
        assert_eq!(page.status, 200);
        assert!(browser.open(&place.at("/you")).await.says("<dd>view only</dd>"));
    })
    .await;
}

#[tokio::test]
async fn no_address_makes_an_administrator_of_somebody_whom_the_configuration_names() {
    on_each_database(|database| async {
        // sara administers by the configuration; sam could have confirmed any address.
        let place = Place::open(database).await;
        let sara = place.user("sara").await;
        let place = {
            let Place { mut cloud, url, mail, corp, public, sessions } = place;
            cloud.env.insert("BURSAR_WEB_ADMINS".to_owned(), sara.clone());
            cloud.restart().await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let moved = format!("http://{}", listener.local_addr().unwrap());
            drop(url);
            cloud.env.insert("BURSAR_WEB_PUBLIC_URL".to_owned(), moved.clone());
            cloud.restart().await;
            let place = Place { cloud, url: moved, mail, corp, public, sessions };
            place.serve(listener);
            place
        };
        place.confirm("shop", &sara, "sara@shop.example.com").await;
        let mut browser = Browser::default();
        place.cloudstack(&mut browser, "sam").await;
        assert!(browser.open(&place.at("/you")).await.says("one of ROOT/shop"));
        place.signs_in_by(&mut browser, "corp", Person::new("sa", "sara@shop.example.com")).await;
        let you = browser.open(&place.at("/you")).await;
        assert!(you.says("<strong>sara</strong>") && !you.says("/admin/accounts"), "{}", you.text);
        assert_eq!(browser.open(&place.at("/admin/accounts")).await.status, 403);
        // An administrator's own mapping to the user does.
        place.map_as(&place.corp.issuer, "sa2", "shop", "owner", Some(&sara)).await;
        let mut browser = Browser::default();
        place.cloudstack(&mut browser, "sara").await;
        browser.open(&place.at("/you")).await;
        place.signs_in_by(&mut browser, "corp", Person::new("sa2", "x@shop.example.com")).await;
        assert_eq!(browser.open(&place.at("/admin/accounts")).await.status, 200);
    })
    .await;
}
