//! The link in the mail about a deletion: it takes the request back, also for a suspended account, and does nothing else. And
//! the link to the page of a suspended account, in whatever mail.

use bursar::{
    people::{
        leaving::{self, Step},
        links as signed,
    },
    store::{enforcement, leaving as rows, mapping, runs},
};

use super::{links::everything_stored, *};
use crate::harness::{browser::Page, on_each_database};

const WAIT: Duration = Duration::from_hours(14 * 24);
const UNDO: &str = "Take the request back: the account stays";
const WHY: &str = "Why, and what to do";

impl Place {
    fn step(&self) -> Step<'static> {
        Step { author: "alice (ROOT/alice)", now: self.cloud.clock.now(), zone: chrono_tz::UTC }
    }

    /// Asks for the deletion of an account, and sends the mails.
    async fn ask_deletion(&self, name: &str, key: &str) -> i64 {
        let account = self.cloud.account(name).await;
        let mut tx = self.cloud.app.store.begin().await.unwrap();
        let request = leaving::ask(&mut tx, key, &account, "we move", WAIT, self.step()).await.unwrap();
        tx.commit().await.unwrap();
        self.post().await;
        request.id
    }

    /// The newest mail to somebody, as text.
    fn mail_to(&self, address: &str) -> String {
        let mails = self.mail.taken();
        mails.iter().rev().find(|mail| mail.to.contains(address)).unwrap().part("text/plain")
    }

    /// Presses the button of a link that was opened before.
    async fn press(&self, browser: &mut Browser, link: &str) -> Page {
        let token = link.rsplit('/').next().unwrap();
        browser.send(&self.at("/link"), &[("token", token)]).await
    }

    async fn request(&self, id: i64) -> rows::DeleteRequest {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        rows::find(&mut tx, id).await.unwrap().unwrap()
    }

    /// Looks at a link that does nothing any more, presses its button all the same, and is told why each time.
    async fn is_over(&self, link: &str, status: u16, why: &str) {
        let mut browser = Browser::default();
        let page = browser.open(link).await;
        assert!(page.status == 200 && page.says(why) && !page.says("<form"), "{}: {}", page.status, page.text);
        let page = self.press(&mut browser, link).await;
        assert!(page.status == status && page.says(why) && !page.says("<form"), "{}: {}", page.status, page.text);
    }
}

/// The address of a link by its label.
fn labelled(text: &str, label: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{label}: ")).map(str::to_owned));
    line.filter(|address| address.contains("/link/"))
}

#[tokio::test]
async fn rule_21_the_link_in_the_mail_takes_a_deletion_request_back_once_and_does_nothing_else() {
    on_each_database(|database| async {
        let settings = [("MAIL_RECIPIENTS", "ROOT/alice=accounting@corp.example.com")];
        let place = Place::open_with(database, &settings, people_of_the_cloud).await;
        let id = place.ask_deletion("alice", "one").await;
        let text = place.mail_to("alice@example.com");
        let link = labelled(&text, UNDO).unwrap();
        assert!(text.contains("without signing in") && text.contains("Open Billing: "), "{text}");
        let elsewhere = place.mail_to("accounting@corp.example.com");
        assert!(elsewhere.contains("Open Billing: ") && !elsewhere.contains("/link/"), "no user: {elsewhere}");
        let token = link.rsplit('/').next().unwrap();
        assert!(!everything_stored(&place).await.contains(token), "only the hash is kept");

        // Whoever follows the link does nothing by that, and neither does a wrong token or a form from elsewhere.
        let mut browser = Browser::default();
        for _ in 0..3 {
            let page = browser.open(&link).await;
            assert!(page.status == 200 && page.set_cookies.is_empty(), "{}", page.text);
            for words in ["ROOT/alice", "alice (ROOT/alice)", "Take it back: the account stays", "2026-11-15"] {
                assert!(page.says(words), "{words} is missing: {}", page.text);
            }
        }
        let wrong = format!("{}{}", place.at("/link/"), "a".repeat(64));
        assert_eq!(browser.open(&wrong).await.status, 410);
        assert_eq!(place.press(&mut browser, &wrong).await.status, 410);
        let fields = [("token", token)];
        assert_eq!(browser.send_from(&place.at("/link"), "cross-site", &fields).await.status, 403);
        assert_eq!(place.request(id).await.state, "waiting");

        let page = place.redeem(&mut browser, &link).await;
        assert!(page.status == 200 && page.says("The request is taken back: the account stays."), "{}", page.text);
        assert!(page.set_cookies.is_empty() && page.url.path().ends_with("/link"), "no page is opened: {}", page.url);
        for path in ["/", "/suspended", "/delete-request"] {
            assert_eq!(browser.open(&place.at(path)).await.status, 401, "{path}: no session began");
        }
        place.is_over(&link, 200, "This request was taken back already").await;
        let request = place.request(id).await;
        assert_eq!(request.state, "withdrawn");
        assert_eq!(request.ended_by.as_deref(), Some("the link that was sent to alice@example.com"));
        let mut tx = place.cloud.app.store.read().await.unwrap();
        let audit = runs::list_audit(&mut tx, Some("ROOT/alice"), 50).await.unwrap();
        let back: Vec<_> = audit.iter().filter(|line| line.action == "account.delete-take-back").collect();
        assert!(back.len() == 1 && back[0].actor.starts_with("link "), "{audit:?}");
        let confirmed = mapping::list_confirmed_with(&mut tx, "alice@example.com").await.unwrap();
        assert!(confirmed.is_empty(), "it proves nothing else");
        drop(tx);
        place.post().await;
        let told = place.mail_to("alice@example.com");
        assert!(told.contains("was taken back by the link that was sent to alice@example.com"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn the_link_of_a_deletion_request_ends_with_it_and_with_the_waiting_time() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let first = place.ask_deletion("alice", "one").await;
        let of_first = labelled(&place.mail_to("alice@example.com"), UNDO).unwrap();
        let alice = place.cloud.account("alice").await;
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        assert!(leaving::refuse(&mut tx, first, "An invoice is open.", place.step()).await.unwrap());
        tx.commit().await.unwrap();
        place.is_over(&of_first, 409, "An administrator refused this request already").await;
        place.post().await;

        // The next request is another one.
        let second = place.ask_deletion("alice", "two").await;
        let of_second = labelled(&place.mail_to("alice@example.com"), UNDO).unwrap();
        place.is_over(&of_first, 409, "An invoice is open.").await;
        place.cloud.clock.advance(WAIT);
        place.is_over(&of_second, 409, "The waiting time is over").await;
        assert_eq!(place.request(second).await.state, "waiting");
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        assert!(leaving::take_back(&mut tx, &alice, place.step()).await.unwrap(), "on the page it still goes");
        tx.commit().await.unwrap();
        place.is_over(&of_second, 200, "This request was taken back already").await;
        place.post().await;

        // Taken back by an administrator, a link is none any more.
        place.ask_deletion("alice", "three").await;
        let of_third = labelled(&place.mail_to("alice@example.com"), UNDO).unwrap();
        assert_eq!(Browser::default().open(&of_third).await.status, 200);
        let now = place.cloud.clock.now();
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        let open = bursar::store::links::list_open_links(&mut tx, Some(alice.id), now, 9).await.unwrap();
        assert_eq!(open.len(), 1, "those of requests that ended are not listed: {open:?}");
        assert_eq!(signed::revoke(&mut tx, &alice, Some(open[0].id), "root", now).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let mut browser = Browser::default();
        assert_eq!(browser.open(&of_third).await.status, 410);
        assert_eq!(place.press(&mut browser, &of_third).await.status, 410);

        // Carried out.
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        assert!(leaving::take_back(&mut tx, &alice, place.step()).await.unwrap());
        tx.commit().await.unwrap();
        place.post().await;
        place.ask_deletion("alice", "four").await;
        let of_fourth = labelled(&place.mail_to("alice@example.com"), UNDO).unwrap();
        let id = alice.cloud_id.parse().unwrap();
        place.cloud.standin.with(|world| world.remove_account(id, now));
        place.meet().await;
        place.is_over(&of_fourth, 409, "It is too late: the account is deleted.").await;
        place.post().await;
        place.is_over(&of_fourth, 409, "It is too late: the account is deleted.").await;
    })
    .await;
}

#[tokio::test]
async fn who_may_not_take_a_deletion_request_back_gets_no_link() {
    let place = Place::open(Database::sqlite()).await;
    let user = place.user("bob").await;
    place.map_as(people::CLOUDSTACK, &user, "bob", "finance", Some(&user)).await;
    place.ask_deletion("bob", "one").await;
    let text = place.mail_to("bob@example.com");
    assert!(text.contains("be deleted with everything in it") && !text.contains("/link/"), "{text}");
    place.ask_deletion("shop", "two").await;
    for address in ["sara@example.com", "sam@example.com"] {
        assert!(labelled(&place.mail_to(address), UNDO).is_some(), "each user of the account");
    }
}

#[tokio::test]
async fn every_mail_of_a_suspended_account_leads_to_its_page_and_its_deletion_can_be_taken_back() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        place.lock_bob().await;
        let id = place.ask_deletion("bob", "one").await;
        let text = place.mail_to("bob@example.com");
        assert!(!text.contains("Open Billing: "), "nobody can open it: {text}");
        let (undo, page) = (labelled(&text, UNDO).unwrap(), labelled(&text, WHY).unwrap());
        let opened = place.redeem(&mut Browser::default(), &page).await;
        assert_eq!((opened.status, opened.url.path()), (200, "/client/api/bursar/suspended"));
        let done = place.redeem(&mut Browser::default(), &undo).await;
        assert!(done.status == 200 && done.says("The request is taken back"), "{}", done.text);
        assert_eq!(place.request(id).await.state, "withdrawn");
        place.post().await;

        // Whatever the mail is about.
        let notice = async |event: &str| {
            let bob = place.cloud.account("bob").await;
            let now = place.cloud.clock.now();
            let mut tx = place.cloud.app.store.begin().await.unwrap();
            let told =
                enforcement::insert_notice(&mut tx, bob.payer_id, bob.id, 0, event, "So it is.", None, false, now);
            assert!(told.await.unwrap());
            tx.commit().await.unwrap();
            place.post().await;
            place.mail_to("bob@example.com")
        };
        for event in ["overdue-7-1", "warning-stop-1793487600", "deletion-due-9"] {
            let text = notice(event).await;
            assert!(text.contains("So it is.") && !text.contains("Open Billing: "), "{event}: {text}");
            let page = place.redeem(&mut Browser::default(), &labelled(&text, WHY).unwrap()).await;
            assert_eq!(page.url.path(), "/client/api/bursar/suspended", "{event}");
        }
        place.cloud.pay("bob", "50").await;
        assert_eq!(place.cloud.enforce().await.restored, ["ROOT/bob"]);
        place.meet().await;
        place.post().await;
        let text = notice("overdue-7-2").await;
        assert!(text.contains("Open Billing: ") && !text.contains("/link/"), "open again: {text}");
    })
    .await;
}
