//! A suspended account: the link in its notice, the page behind it, and asking for more time (rule 21).

use bursar::{
    email::EmailAddress,
    enforcement::terms::{self, Whom, Word},
    jobs::people::answer_more_time,
    money::Money,
    people::links::ask_more_time,
    secrets::token_hash,
    store::{links as rows, mapping, notify, policy, runs, sessions},
    time::{Clock as _, Day},
};

use super::*;
use crate::harness::{on_each_database, smtp::Taken};

/// The labels and facts that the page owes whoever opens it.
const PAGE: &[&str] = &[
    "Your account is suspended: ROOT/bob",
    "The account is locked.",
    "Total Credit Limit",
    "Used Credit Limit",
    "Balance Available Credit Limit",
    "To open it again, pay at least",
    "IBAN XX00",
    "Running machines",
    "API keys",
    "keep running, and are charged",
    "Ask for more time",
];

async fn locked(database: Database) -> Place {
    let settings = [("BILLING_HOW_TO_PAY", "Example Cloud Ltd; IBAN XX00 0000,Write your account's name")];
    let place = Place::open_with(database, &settings, people_of_the_cloud).await;
    place.lock_bob().await;
    place
}

/// Every text that the database holds in the tables that a token could have come to.
pub(super) async fn everything_stored(place: &Place) -> String {
    let mut tx = place.cloud.app.store.read().await.unwrap();
    let mut text = String::new();
    for line in runs::list_audit(&mut tx, None, 10_000).await.unwrap() {
        text.push_str(&format!("{line:?}"));
    }
    drop(tx);
    for table in ["mail", "signed_link", "signed_link_token", "mail_link", "web_session"] {
        text.push_str(&crate::story_signin::dump(place, table).await);
    }
    text
}

#[tokio::test]
async fn rule_21_the_link_in_the_notice_opens_the_accounts_page_after_a_button_and_nothing_else() {
    on_each_database(|database| async {
        let place = locked(database).await;
        let link = place.link_to("bob@example.com");
        let token = link.rsplit('/').next().unwrap().to_owned();
        assert_eq!(token.len(), 64);
        let stored = everything_stored(&place).await;
        assert!(!stored.contains(&token) && stored.contains(&token_hash(&token)), "only the hash is kept");

        // A mail scanner follows links: nothing happens by that.
        let mut scanner = Browser::default();
        for _ in 0..3 {
            let page = scanner.open(&link).await;
            assert!(page.status == 200 && page.set_cookies.is_empty() && page.says("Open the page"), "{}", page.text);
        }
        let mut tx = place.cloud.app.store.read().await.unwrap();
        let bob = place.cloud.account("bob").await;
        let open = rows::list_open_links(&mut tx, Some(bob.id), place.cloud.clock.now(), 10).await.unwrap();
        assert!(open.iter().all(|link| link.uses == 0));
        drop(tx);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let head = client.get(&link).send().await.unwrap();
        assert_eq!(head.headers()["referrer-policy"], "no-referrer");
        assert_eq!(head.headers()["cache-control"], "no-store");

        let mut browser = Browser::default();
        let page = place.redeem(&mut browser, &link).await;
        assert_eq!((page.status, page.url.path()), (200, "/client/api/bursar/suspended"), "no token in the address");
        for text in PAGE {
            assert!(page.says(text), "{text} is missing in {}", page.text);
        }
        for word in ["rung", "hold", "fuse", "quarantine", "standing"] {
            assert!(!page.text.to_lowercase().contains(word), "{word}");
        }
        assert!(!page.says(&token));
        // The step that comes next, with its date, once it is announced.
        assert!(page.says("What happens next"));

        // Every other page refuses it, whatever the method.
        let csrf = page.hidden("csrf");
        for path in ["/", "/you", "/credits", "/admin/accounts", "/admin/people", "/admin/enforcement"] {
            let page = browser.open(&place.at(path)).await;
            assert_eq!(page.status, 403, "{path}: {}", page.text);
        }
        for path in ["/you/account", "/you/user", "/you/address", "/admin/accounts/1/limit", "/admin/enforcement/pause"]
        {
            let page = browser.send(&place.at(path), &[("csrf", &csrf), ("account", "1")]).await;
            assert_eq!(page.status, 403, "{path}: {}", page.text);
        }
        // Another CloudStack session in this browser is somebody else's.
        place.cloudstack(&mut browser, "alice").await;
        let page = browser.open(&place.at("/")).await;
        assert!(page.says("ROOT/alice") && !page.says("ROOT/bob"), "{}", page.text);
    })
    .await;
}

#[tokio::test]
async fn rule_21_a_link_ends_with_the_restore_with_its_time_and_when_it_is_taken_back() {
    on_each_database(|database| async {
        let place = locked(database).await;
        let link = place.link_to("bob@example.com");
        let mut browser = Browser::default();
        assert_eq!(place.redeem(&mut browser, &link).await.status, 200);
        assert_eq!(place.redeem(&mut Browser::default(), &link).await.status, 200, "it may be used again");
        // Changed tokens, and ids in their place.
        let (front, token) = link.rsplit_once('/').unwrap();
        for token in [token.replacen(|_: char| true, "z", 1), token.to_uppercase(), "1".to_owned(), "a".repeat(64)] {
            assert_eq!(browser.open(&format!("{front}/{token}")).await.status, 410, "{token}");
        }
        // Taken back by an administrator: the open page closes too.
        let mut admin = place.admin().await;
        let page = admin.open(&place.at("/admin/people")).await;
        let id = page.text.split("id=\"link-").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let to = place.at(&format!("/admin/people/links/{id}/revoke"));
        assert!(admin.send(&to, &[("csrf", &page.hidden("csrf"))]).await.says("Taken back."));
        assert_eq!(browser.open(&place.at("/suspended")).await.status, 401);
        assert_eq!(browser.open(&link).await.status, 410);

        // A new one, which ends with the restore, and does not come to life with the next suspension.
        place.cloud.clock.advance(11 * MINUTE);
        let asked = Browser::default().send(&place.at("/sign-in/link"), &[("address", "bob@example.com")]).await;
        assert!(asked.says("a new link is on its way"), "{}", asked.text);
        place.post().await;
        let link = place.link_to("bob@example.com");
        let mut browser = Browser::default();
        assert_eq!(place.redeem(&mut browser, &link).await.status, 200);
        place.cloud.pay("bob", "50").await;
        assert_eq!(place.cloud.enforce().await.restored, ["ROOT/bob"]);
        place.meet().await;
        let page = browser.open(&place.at("/suspended")).await;
        assert!(page.status == 410 && page.says("open again"), "{} {}", page.status, page.text);
        assert_eq!(Browser::default().open(&link).await.status, 410);
        let bob: CloudId = place.cloud.account("bob").await.cloud_id.parse().unwrap();
        place.cloud.standin.with(|world| world.set_account_state(bob, bursar::standin::State::Locked));
        place.meet().await;
        let account = place.cloud.account("bob").await;
        place.cloud.clock.advance(MINUTE);
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        let now = place.cloud.clock.now();
        let placed =
            bursar::store::enforcement::place_hold(&mut tx, account.id, "billing", "lock", "again", None, "test", now);
        assert!(placed.await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(Browser::default().open(&link).await.status, 410, "it was of the suspension before");
    })
    .await;
}

/// The rows of a file by the names of its columns.
fn rows(text: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let named = |row: csv::StringRecord| head.iter().map(str::to_owned).zip(row.iter().map(str::to_owned)).collect();
    reader.records().map(|row| named(row.unwrap())).collect()
}

#[tokio::test]
async fn the_records_behind_the_amount_are_open_to_the_link_and_add_up_to_what_the_page_says() {
    on_each_database(|database| async {
        let place = locked(database).await;
        let mut browser = Browser::default();
        let page = place.redeem(&mut browser, &place.link_to("bob@example.com")).await;
        let currency = &place.cloud.app.config.billing.currency;
        // There is no tax here, so the sums of the page are net.
        let mut whole = Money::ZERO;
        let mut seen = 0;
        for slug in ["running-vm", "volume", "ip-address"] {
            let at = format!("/suspended/records?type={slug}");
            if !page.says(&at) {
                continue;
            }
            seen += 1;
            let file = browser.open(&place.at(&format!("/suspended/records/download?type={slug}"))).await;
            assert_eq!(file.status, 200, "{}", file.text);
            let records = rows(&file.text);
            assert!(records.iter().all(|row| row["type"] == slug), "{}", file.text);
            let net = records.iter().filter(|row| !row["net"].is_empty());
            let net: rust_decimal::Decimal = net.map(|row| row["net"].parse::<rust_decimal::Decimal>().unwrap()).sum();
            let net = Money::round_from(net).unwrap();
            assert!(net.is_positive(), "{slug}");
            assert!(page.says(&currency.format(net)), "{slug}: {net} is not on {}", page.text);
            whole = whole.plus(net).unwrap();
            let shown = browser.open(&place.at(&at)).await;
            assert_eq!(shown.status, 200, "{}", shown.text);
            assert!(shown.says(&currency.format(net)) && shown.says(&records[0]["price_line"]), "{}", shown.text);
            // Page by page it is as much as the file has.
            let (mut lines, mut next) = (0, Some(shown));
            while let Some(shown) = next {
                lines += shown.text.matches("<tr><td class=\"time\">").count();
                let link = shown.text.split("\" rel=\"next\"").next().filter(|before| *before != shown.text);
                let link =
                    link.and_then(|before| before.rsplit("href=\"").next()).map(|link| link.replace("&#38;", "&"));
                next = match link {
                    Some(link) => Some(browser.open(&format!("{}{link}", place.url)).await),
                    None => None,
                };
            }
            assert_eq!(lines, records.len(), "{slug}");
        }
        assert!(seen >= 1, "{}", page.text);
        assert!(page.says(&format!("<strong>{}</strong>", currency.format(whole))), "{whole}: {}", page.text);
        let all = rows(&browser.open(&place.at("/suspended/records/download")).await.text);
        assert!(all.iter().any(|row| row["name"] == "bob-vm") && !all.is_empty());
        // An address asks for no other time, account or thing.
        let other = "/suspended/records/download?period=2026-10&resource=x&account=1&machine=x";
        assert_eq!(rows(&browser.open(&place.at(other)).await.text), all);
        assert_eq!(browser.open(&place.at("/suspended/records?type=nothing")).await.status, 404);
        assert_eq!(browser.open(&place.at("/suspended/records?after=x")).await.status, 422);
        // The tenant's own pages stay closed to the link.
        for path in ["/usage", "/usage/records?resource=x", "/usage/download", "/usage/records/download?resource=x"] {
            assert_eq!(browser.open(&place.at(path)).await.status, 403, "{path}");
        }
        // Whoever may look at the account by an issuer has them too; people of an open account are led away.
        place.map(&place.corp, "fin", "bob", "finance").await;
        let (mut finance, _) = place.signs_in("corp", Person::new("fin", "fin@corp.example.com")).await;
        assert_eq!(rows(&finance.open(&place.at("/suspended/records/download")).await.text), all);
        let mut alice = Browser::default();
        place.cloudstack(&mut alice, "alice").await;
        let away = alice.open(&place.at("/suspended/records")).await;
        assert_eq!(away.url.path(), "/client/api/bursar/");
        assert_eq!(Browser::default().open(&place.at("/suspended/records")).await.status, 401);
        place.cloud.pay("bob", "50").await;
        assert_eq!(place.cloud.enforce().await.restored, ["ROOT/bob"]);
        place.meet().await;
        assert_eq!(finance.open(&place.at("/suspended/records")).await.url.path(), "/client/api/bursar/");
        assert_eq!(browser.open(&place.at("/suspended/records")).await.status, 410, "the link ended");
    })
    .await;
}

#[tokio::test]
async fn a_step_whose_day_has_passed_and_that_is_kept_back_is_told_as_due() {
    let place = locked(Database::sqlite()).await;
    let mut browser = Browser::default();
    let page = place.redeem(&mut browser, &place.link_to("bob@example.com")).await;
    assert!(page.says("<strong>ROOT/bob</strong>") && page.says("as the reference"), "{}", page.text);
    assert!(!page.says("due since"), "the lock was taken: {}", page.text);
    let account = place.cloud.account("bob").await;
    let now = place.cloud.clock.now();
    let since = now.minus(DAY);
    let mut tx = place.cloud.app.store.begin().await.unwrap();
    policy::put_reached(&mut tx, account.payer_id, "stop", Some(since)).await.unwrap();
    let lifted = since.as_ms() / 1000;
    bursar::store::enforcement::insert_notice(
        &mut tx,
        account.payer_id,
        account.id,
        1,
        &format!("warning-stop-{lifted}"),
        "The machines will be stopped.",
        Some(now.minus(HOUR)),
        false,
        since,
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let page = browser.open(&place.at("/suspended")).await;
    assert!(page.says("due since") && page.says("The machines will be stopped."), "{}", page.text);
    assert!(!page.says("No further step is announced"), "{}", page.text);
    // A step that was disarmed since does not come.
    let mut tx = place.cloud.app.store.begin().await.unwrap();
    assert!(policy::disarm(&mut tx, "stop", "").await.unwrap());
    tx.commit().await.unwrap();
    let page = browser.open(&place.at("/suspended")).await;
    assert!(page.says("No further step is announced") && !page.says("The machines will be stopped."), "{}", page.text);
}

#[tokio::test]
async fn a_links_time_ends() {
    let place = locked(Database::sqlite()).await;
    let link = place.link_to("bob@example.com");
    let mut browser = Browser::default();
    place.redeem(&mut browser, &link).await;
    place.cloud.clock.advance(Duration::from_mins(61));
    assert_eq!(browser.open(&place.at("/suspended")).await.status, 401, "the page closes after an hour");
    assert_eq!(place.redeem(&mut browser, &link).await.status, 200, "and is opened again by the link");
    place.cloud.clock.advance(30 * DAY);
    assert_eq!(browser.open(&link).await.status, 410);
}

#[tokio::test]
async fn rule_21_a_new_link_goes_to_confirmed_addresses_only_and_everybody_is_answered_alike() {
    on_each_database(|database| async {
        let place = locked(database).await;
        place.confirm("alice", "", "alice@example.com").await;
        place.cloud.clock.advance(11 * MINUTE);
        let mut answers = Vec::new();
        // Not confirmed though CloudStack has it; confirmed but not suspended; known to nobody; no address at all.
        for address in ["bob@example.com", "alice@example.com", "nobody@example.org", "x", ""] {
            let page = Browser::default().send(&place.at("/sign-in/link"), &[("address", address)]).await;
            answers.push((page.status, page.text, page.set_cookies));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        let before = (place.mails_to("bob@example.com"), place.mails_to("alice@example.com"));
        place.post().await;
        assert_eq!((place.mails_to("bob@example.com"), place.mails_to("alice@example.com")), before);
        assert_eq!(place.mails_to("nobody@example.org"), 0);

        // A link that came back confirms the address of its mail.
        let link = place.link_to("bob@example.com");
        place.redeem(&mut Browser::default(), &link).await;
        let mut tx = place.cloud.app.store.read().await.unwrap();
        let confirmed = mapping::list_confirmed_with(&mut tx, "bob@example.com").await.unwrap();
        assert_eq!((confirmed[0].how.as_str(), confirmed[0].cloud_user_id.as_str()), ("mail", ""), "of the account");
        drop(tx);
        // Not of a person: it makes nobody bob elsewhere.
        assert_eq!(place.signs_in("corp", Person::new("b", "bob@example.com")).await.1.status, 403);
        let wish =
            async || Browser::default().send(&place.at("/sign-in/link"), &[("address", "BOB@example.com")]).await;
        assert_eq!(wish().await.status, 200);
        place.post().await;
        let fresh = place.link_to("bob@example.com");
        assert_ne!(fresh, link);
        assert_eq!(place.redeem(&mut Browser::default(), &fresh).await.status, 200);
        // Not again within ten minutes, and not without end.
        let count = place.mails_to("bob@example.com");
        assert_eq!(wish().await.status, 200, "answered alike");
        place.post().await;
        assert_eq!(place.mails_to("bob@example.com"), count);
        assert_eq!(wish().await.status, 429, "three an hour for one address");
        place.cloud.clock.advance(20 * MINUTE);
        assert_eq!(wish().await.status, 200);
        place.post().await;
        assert_eq!(place.mails_to("bob@example.com"), count + 1);
        // Whoever left the account may still read mail there.
        let id: CloudId = place.user("bob").await.parse().unwrap();
        place.cloud.standin.with(|world| world.set_user_state(id, bursar::standin::State::Disabled));
        place.meet().await;
        place.cloud.clock.advance(20 * MINUTE);
        assert_eq!(wish().await.status, 200);
        place.post().await;
        assert_eq!(place.mails_to("bob@example.com"), count + 1);
        // From elsewhere nobody can be made to ask.
        let mut browser = Browser::default();
        let fields = [("address", "bob@example.com")];
        assert_eq!(browser.send_from(&place.at("/sign-in/link"), "cross-site", &fields).await.status, 403);
        assert_eq!(browser.send_from(&place.at("/link"), "cross-site", &[("token", "x")]).await.status, 403);
    })
    .await;
}

#[tokio::test]
async fn a_mail_that_is_tried_again_holds_another_token_and_both_work() {
    let place = locked(Database::sqlite()).await;
    let first = place.link_to("bob@example.com");
    place.redeem(&mut Browser::default(), &first).await;
    place.cloud.clock.advance(20 * MINUTE);
    Browser::default().send(&place.at("/sign-in/link"), &[("address", "bob@example.com")]).await;
    // The server takes the mail and never says so.
    place.mail.set(|script| script.silent = 1);
    place.post().await;
    let once = place.link_to("bob@example.com");
    place.cloud.clock.advance(HOUR);
    place.post().await;
    let twice = place.link_to("bob@example.com");
    assert!(first != once && once != twice);
    for link in [first, once, twice] {
        assert_eq!(place.redeem(&mut Browser::default(), &link).await.status, 200, "{link}");
    }
}

#[tokio::test]
async fn a_suspended_owner_by_openid_connect_looks_around_and_changes_nothing() {
    on_each_database(|database| async {
        let place = locked(database).await;
        place.map(&place.corp, "own", "bob", "owner").await;
        place.map(&place.corp, "fin", "bob", "finance").await;
        let (mut browser, page) = place.signs_in("corp", Person::new("own", "own@corp.example.com")).await;
        assert_eq!(page.url.path(), "/client/api/bursar/suspended");
        assert!(page.says("Open the other pages"), "{}", page.text);
        let overview = browser.open(&place.at("/")).await;
        assert!(overview.status == 200 && overview.says("ROOT/bob"), "{}", overview.text);
        let way_out = "<a href=\"/client/api/bursar/suspended\">How to pay, and what happens next</a>";
        assert!(overview.says(way_out) && !overview.says("Ways to pay"), "{}", overview.text);
        let csrf = overview.hidden("csrf");
        for path in ["/you/account", "/you/address", "/credits", "/payment-settings", "/api-access"] {
            let page = browser.send(&place.at(path), &[("csrf", &csrf), ("account", "1")]).await;
            assert_eq!(page.status, 403, "{path}");
        }
        // Whoever sees to the money has the page, and that only.
        let (mut browser, page) = place.signs_in("corp", Person::new("fin", "fin@corp.example.com")).await;
        assert!(page.says("IBAN XX00") && !page.says("Open the other pages"), "{}", page.text);
        assert_eq!(browser.open(&place.at("/")).await.url.path(), "/client/api/bursar/suspended");
        // Open again: the page leads back.
        place.cloud.pay("bob", "50").await;
        place.cloud.enforce().await;
        place.meet().await;
        assert_eq!(browser.open(&place.at("/suspended")).await.url.path(), "/client/api/bursar/");
    })
    .await;
}

#[tokio::test]
async fn more_time_is_asked_for_once_answered_by_an_administrator_and_told_by_mail() {
    on_each_database(|database| async {
        let place = locked(database).await;
        let mut bob = Browser::default();
        let page = place.redeem(&mut bob, &place.link_to("bob@example.com")).await;
        let (to, csrf) = (place.at("/suspended/more-time"), page.hidden("csrf"));
        for (reason, until, says) in [
            ("", "", "Write a sentence or two"),
            ("please", "tomorrow", "Write the day as"),
            ("please", "2026-11-01", "It must lie ahead, within a year"),
            ("please", "2099-01-01", "It must lie ahead, within a year"),
        ] {
            let fields = [("csrf", csrf.as_str()), ("reason", reason), ("until", until)];
            let page = bob.send(&to, &fields).await;
            assert!(page.status == 422 && page.says(says), "{reason} {until}: {}", page.text);
            assert!(page.says(&format!(">{reason}</textarea>")) && page.says(&format!("value=\"{until}\"")), "kept");
        }
        assert_eq!(bob.send(&to, &[("csrf", "guess"), ("reason", "x")]).await.status, 403);
        let fields = [("csrf", csrf.as_str()), ("reason", "The invoice <is> at the bank."), ("until", "2026-11-30")];
        assert!(bob.send(&to, &fields).await.says("Your request is sent"));
        let again = bob.send(&to, &fields).await;
        assert_eq!(again.status, 422, "one waits");
        assert!(again.says("waiting for an answer already") && again.says("The invoice &#60;is&#62; at the bank."));
        place.post().await;
        assert!(place.mail.subjects().iter().any(|line| line.ends_with("bursar: ROOT/bob asks for more time")));

        let mut admin = place.admin().await;
        let page = admin.open(&place.at("/admin/people")).await;
        assert!(page.says("The invoice &#60;is&#62; at the bank.") && page.says("2026-11-30"), "{}", page.text);
        let id = page.text.split("id=\"more-time-").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let (answer, own) = (place.at(&format!("/admin/people/more-time/{id}")), page.hidden("csrf"));
        let fields = |until| {
            [
                ("csrf", own.clone()),
                ("answer", "grant".to_owned()),
                ("until", until),
                ("message", "Until the end of the month.".to_owned()),
                ("from", "queue".to_owned()),
            ]
        };
        let send = async |admin: &mut Browser, until: &str| {
            let fields = fields(until.to_owned());
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            admin.send(&answer, &fields).await
        };
        let behind = send(&mut admin, "2026-11-01").await;
        assert!(behind.status == 422 && behind.says("<h1>Queue</h1>"), "behind us: {}", behind.text);
        assert!(behind.says("Say until which day") && behind.says("value=\"2026-11-01\""), "{}", behind.text);
        assert!(behind.says("value=\"Until the end of the month.\""), "what was typed stays: {}", behind.text);
        let done = send(&mut admin, "2026-11-30").await;
        assert!(done.says("Answered.") && done.url.path() == "/client/api/bursar/admin/queue", "{}", done.text);
        assert!(send(&mut admin, "2026-12-30").await.says("It was answered already."), "once");
        let account = place.cloud.account("bob").await;
        let mut tx = place.cloud.app.store.read().await.unwrap();
        let alone = policy::list_exemptions(&mut tx, place.cloud.clock.now()).await.unwrap();
        assert_eq!(alone.len(), 1);
        assert_eq!(
            (alone[0].account_id, alone[0].until_ms.to_string().as_str()),
            (Some(account.id), "2026-12-01T00:00:00Z")
        );
        drop(tx);
        place.post().await;
        let mails = place.mail.taken();
        let told = mails.iter().rev().find(|mail| mail.to.contains("bob@example.com")).unwrap();
        let text = told.part("text/plain");
        assert!(text.contains("You were given more time") && text.contains("Until the end of the month."), "{text}");
        let page = bob.open(&place.at("/suspended")).await;
        assert!(
            page.says("You were given more time, until") && page.says("No further step will be taken before"),
            "{}",
            page.text
        );
        // Nothing is taken until then: the stop that was due does not come.
        for _ in 0..12 {
            place.cloud.pass(DAY);
            assert_eq!(place.cloud.round().await.stopped, Vec::<String>::new());
        }
    })
    .await;
}

#[tokio::test]
async fn more_time_takes_nothing_of_what_an_administrator_said_for_longer() {
    on_each_database(|database| async {
        let place = locked(database).await;
        let cloud = &place.cloud;
        let bob = cloud.account("bob").await;
        let now = cloud.clock.now();
        let (longer, shorter) = (now.plus(20 * DAY), now.plus(2 * DAY));
        let mut tx = cloud.app.store.begin().await.unwrap();
        let word = Word { author: "alice", reason: "a migration", now };
        terms::leave_alone(&mut tx, Whom::Account(&bob), longer, true, word).await.unwrap();
        let today = Day::of(now, chrono_tz::UTC).unwrap();
        let id = ask_more_time(&mut tx, &bob, "bob", ("please", None), None, today, now).await.unwrap();
        answer_more_time(&cloud.app, &mut tx, id, Some(shorter), "", "carol").await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = cloud.app.store.read().await.unwrap();
        let alone = policy::list_exemptions(&mut tx, now).await.unwrap();
        drop(tx);
        let mut said: Vec<(String, i64)> = alone.iter().map(|row| (row.until_ms.to_string(), row.no_notices)).collect();
        said.sort();
        assert_eq!(said, [(shorter.to_string(), 0), (longer.to_string(), 1)], "on {}", cloud.database.kind);
        // Neither warned of the stop, nor stopped, though the time that was granted is over.
        for _ in 0..5 {
            cloud.pass(DAY);
            assert_eq!(cloud.round().await.stopped, Vec::<String>::new());
        }
        let mut tx = cloud.app.store.read().await.unwrap();
        let notices = bursar::store::enforcement::list_notices(&mut tx, Some(bob.id), 100).await.unwrap();
        assert!(notices.iter().all(|notice| !notice.event.starts_with("warning-stop-")), "{notices:?}");
    })
    .await;
}

#[tokio::test]
async fn what_a_tenant_writes_steers_nothing_and_is_quoted_to_administrators_line_by_line() {
    on_each_database(|database| async {
        let place = locked(database).await;
        let mut browser = Browser::default();
        let page = place.redeem(&mut browser, &place.link_to("bob@example.com")).await;
        let reason = "The invoice is at the bank.\u{1b}[31m\r\nGranted\u{7} by\u{0} bursar.\u{9b}2J";
        let fields = [("csrf", page.hidden("csrf")), ("reason", reason.to_owned())];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let sent = browser.send(&place.at("/suspended/more-time"), &fields).await;
        assert!(sent.says("Your request is sent"), "{}", sent.text);
        let bob = place.cloud.account("bob").await;
        let mut tx = place.cloud.app.store.read().await.unwrap();
        let asked = rows::list_more_time(&mut tx, Some(bob.id), Some("open"), 10).await.unwrap();
        drop(tx);
        assert_eq!(asked[0].reason, "The invoice is at the bank.[31m\nGranted by bursar.2J");
        let told = place.cloud.told("more-time").await;
        assert_eq!(told.len(), 1);
        let quoted = "takes the answer. It writes:\n> The invoice is at the bank.[31m\n> Granted by bursar.2J";
        assert!(told[0].ends_with(quoted), "{}", told[0]);
        place.post().await;
        let mails = place.mail.taken();
        let about_it = |mail: &&Taken| mail.header("Subject").unwrap().ends_with("asks for more time");
        let text = mails.iter().find(about_it).unwrap().part("text/plain");
        for line in ["> The invoice is at the bank.[31m", "> Granted by bursar.2J"] {
            assert!(text.lines().any(|said| said == line), "{line} is missing in {text}");
        }
        assert!(text.lines().all(|said| !said.starts_with("Granted")), "{text}");
    })
    .await;
}

#[tokio::test]
async fn an_address_of_the_configuration_gets_links_too() {
    let settings = [("MAIL_RECIPIENTS", "ROOT/bob=boss@corp.example.com")];
    let place = Place::open_with(Database::sqlite(), &settings, people_of_the_cloud).await;
    place.lock_bob().await;
    let link = place.link_to("boss@corp.example.com");
    assert_ne!(link, place.link_to("bob@example.com"), "one for each who is written to");
    place.cloud.clock.advance(11 * MINUTE);
    let count = place.mails_to("boss@corp.example.com");
    Browser::default().send(&place.at("/sign-in/link"), &[("address", "boss@corp.example.com")]).await;
    place.post().await;
    assert_eq!(place.mails_to("boss@corp.example.com"), count + 1, "an administrator wrote it down");
    assert!(EmailAddress::parse("boss@corp.example.com").is_ok());
}

#[tokio::test]
async fn whoever_guesses_links_keeps_nobody_with_a_right_one_out() {
    let place = locked(Database::sqlite()).await;
    let link = place.link_to("bob@example.com");
    let mut stranger = Browser::default();
    let mut limited = 0;
    for number in 0..150 {
        let guess = place.at(&format!("/link/{number:064x}"));
        limited += usize::from(stranger.open(&guess).await.status == 429);
    }
    assert!(limited > 0, "guesses are limited");
    assert_eq!(place.redeem(&mut Browser::default(), &link).await.status, 200);
}

#[tokio::test]
async fn an_administrator_on_the_page_has_not_seen_its_warnings_for_the_people_of_the_account() {
    on_each_database(|database| async {
        let place = locked(database).await;
        // bob is warned of the stop, and no mail has left.
        place.cloud.pass(HOUR);
        place.cloud.round().await;
        let bob = place.cloud.account("bob").await;
        let stop = async || {
            let mut tx = place.cloud.app.store.read().await.unwrap();
            let standing = notify::list_standing_warnings(&mut tx, bob.id).await.unwrap();
            let stop = standing.iter().find(|warning| warning.event.starts_with("warning-stop-")).unwrap().id;
            notify::is_unseen(&mut tx, bob.id, stop).await.unwrap()
        };
        assert!(stop().await);
        place.map(&place.corp, "ann", "bob", "viewer").await;
        place.map(&place.corp, "ann", "alice", "cloud-admin").await;
        place.map(&place.corp, "bea", "bob", "viewer").await;
        let now = place.cloud.clock.now();
        let mut tx = place.cloud.app.store.begin().await.unwrap();
        sessions::put_choice(&mut tx, &place.corp.issuer, "ann", bob.id, now).await.unwrap();
        tx.commit().await.unwrap();
        for (sub, unseen) in [("ann", true), ("bea", false)] {
            let person = Person::new(sub, &format!("{sub}@corp.example.com"));
            let (mut browser, _) = place.signs_in("corp", person).await;
            let page = browser.open(&place.at("/suspended")).await;
            assert!(page.text.contains("Your account is suspended: ROOT/bob"), "{sub}: {}", page.text);
            assert_eq!(stop().await, unseen, "{sub}");
            // The next step stands once, and not as the reason of what is.
            let told = |words: &str| page.text.matches(words).count();
            assert_eq!(told("will be disabled and its machines stopped"), 1, "{}", page.text);
            assert_eq!(told("were used; it opens again as soon as"), 1, "{}", page.text);
        }
    })
    .await;
}
