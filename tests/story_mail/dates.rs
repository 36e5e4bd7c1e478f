//! Accounts of one payer with dates and promises of their own.

use bursar::{
    enforcement::terms::{Word, set_value},
    ledger,
    standin::AccountKind,
    store::{cloud as accounts, payers},
};

use super::*;
use crate::harness::{on_each_database, tenant};

/// Lets one customer pay for accounts.
async fn one_payer_of(cloud: &Cloud, names: &[&str]) {
    let mut tx = cloud.app.store.begin().await.unwrap();
    let customer = payers::insert_customer(&mut tx, "Alice Ltd", None, None, None, cloud.clock.now()).await.unwrap();
    for name in names {
        let account = accounts::resolve_account(&mut tx, name).await.unwrap();
        payers::move_account(&mut tx, account.id, account.payer_id, customer).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// Two accounts in which alice is a user.
fn shop_and_lab(world: &mut World) {
    let root = world.find_domain("ROOT").unwrap();
    for name in ["shop", "lab"] {
        let account = world.add_account(root, name, AccountKind::User);
        world.add_user(account, &format!("alice-{name}"), "password-of-a-tenant", "alice@example.com");
    }
}

/// Records a warning of the same time over the limit as the others, with a date of its own.
async fn warning_on(cloud: &Cloud, account: &str, day: i64) -> i64 {
    let account = cloud.account(account).await;
    let date = Timestamp::from_seconds(NOVEMBER + day * 86_400);
    let sentence = format!("Your account will be locked on {}.", date.display_in(chrono_tz::UTC));
    let mut tx = cloud.app.store.begin().await.unwrap();
    let since = Some(Timestamp::from_seconds(OVER_SINCE));
    policy::put_reached(&mut tx, account.payer_id, "lock", since).await.unwrap();
    let now = cloud.clock.now();
    enforcement::insert_notice(&mut tx, account.payer_id, account.id, 1, WARNING, &sentence, Some(date), false, now)
        .await
        .unwrap();
    let id = enforcement::list_notices(&mut tx, Some(account.id), 1).await.unwrap()[0].id;
    tx.commit().await.unwrap();
    id
}

#[tokio::test]
async fn accounts_that_are_warned_of_other_dates_have_a_mail_each() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = cloud_with_mail(database, &server, shop_and_lab).await;
        one_payer_of(&cloud, &["shop", "lab"]).await;
        let notices = [warning_on(&cloud, "shop", 3).await, warning_on(&cloud, "lab", 9).await];
        assert_eq!(pass(&cloud).await.sent.sent, 2);
        let texts: Vec<String> = server.taken().iter().map(|mail| mail.part("text/plain")).collect();
        for (account, other, date) in [("shop", "lab", "2026-11-04 00:00 UTC"), ("lab", "shop", "2026-11-10 00:00 UTC")]
        {
            let named = format!("Account: ROOT/{account}\r\nDate: {date}");
            let text = texts.iter().find(|text| text.contains(&named)).unwrap_or_else(|| panic!("{named}: {texts:?}"));
            assert!(text.contains(&format!("Your account will be locked on {date}.")), "{text}");
            assert!(!text.contains(&format!("ROOT/{other}")), "{text}");
        }
        for notice in notices {
            assert_eq!(arrived(&cloud, notice).await, Some(cloud.clock.now()));
        }
        assert_eq!(pass(&cloud).await, MailSummary::default());
    })
    .await;
}

#[tokio::test]
async fn whoever_was_written_to_about_several_dates_at_once_is_not_written_to_again() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = cloud_with_mail(database, &server, shop_and_lab).await;
        one_payer_of(&cloud, &["shop", "lab"]).await;
        let notices = [warning_on(&cloud, "shop", 3).await, warning_on(&cloud, "lab", 9).await];
        // As such notices were mailed once: one mail about both, which its server refused.
        let now = cloud.clock.now();
        let mail = rows::NewMail {
            key: "1/1/warning-lock/1+2/alice@example.com".to_owned(),
            kind: "warning-lock".to_owned(),
            recipient: "Alice@example.com".to_owned(),
            subject: "Billing: Your accounts will be locked".to_owned(),
            text_body: "So it is.".to_owned(),
            html_body: "So it is.".to_owned(),
            message_id: "1@example.com".to_owned(),
        };
        let mut tx = cloud.app.store.begin().await.unwrap();
        let id = rows::insert_mail(&mut tx, &mail, now).await.unwrap().unwrap();
        for notice in notices {
            rows::link_notice(&mut tx, id, notice).await.unwrap();
            rows::put_notice_queued(&mut tx, notice, now).await.unwrap();
        }
        rows::claim_mail(&mut tx, "an older one", now, now).await.unwrap().unwrap();
        assert!(rows::put_mail_dead(&mut tx, id, "an older one", "550 no", now).await.unwrap());
        tx.commit().await.unwrap();
        for _ in 0..2 {
            cloud.clock.advance(Duration::from_hours(1));
            assert_eq!(pass(&cloud).await, MailSummary::default());
        }
        assert_eq!(states(&cloud).await, ["Alice@example.com dead"]);
        // Another address is news for both.
        cloud.reconfigure("MAIL_RECIPIENTS", "ROOT/shop=alice@example.org,ROOT/lab=alice@example.org").await;
        assert_eq!(pass(&cloud).await.sent.sent, 2);
        assert_eq!(
            states(&cloud).await,
            ["Alice@example.com dead", "alice@example.org sent", "alice@example.org sent"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_warning_promises_what_the_payers_own_policy_holds_to() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = cloud_with_mail(database, &server, |world| {
            for name in ["alice", "bob", "carol"] {
                tenant(world, name);
            }
        })
        .await;
        let file = cloud.database.folder.path().join("bursar.toml");
        std::fs::write(&file, "[class.gold]\nwarning_hours = 24\ntime_zone = \"Europe/Vienna\"\n").unwrap();
        cloud.reconfigure("CONFIG", &file.display().to_string()).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let now = cloud.clock.now();
        for name in ["bob", "carol"] {
            let payer = accounts::resolve_account(&mut tx, name).await.unwrap().payer_id;
            let cause = ledger::booking::Cause { key: name, author: "alice", reason: "a story" };
            ledger::payers::set_class(&mut tx, payer, Some("gold"), cause, now).await.unwrap();
        }
        let carol = accounts::resolve_account(&mut tx, "carol").await.unwrap().payer_id;
        let carol = payers::find_payer_row(&mut tx, carol).await.unwrap().unwrap();
        let word = Word { author: "alice", reason: "a story", now };
        set_value(&mut tx, &cloud.app.ladders(), &carol, ("warning_hours", "36"), None, word).await.unwrap();
        tx.commit().await.unwrap();
        for name in ["alice", "bob", "carol"] {
            notice(&cloud, name, WARNING, "Your account will be locked.").await;
        }
        assert_eq!(pass(&cloud).await.sent.sent, 3);
        for (name, hours, date) in [
            ("alice", 48, "2026-11-04 00:00 UTC"),
            ("bob", 24, "2026-11-04 01:00 CET"),
            ("carol", 36, "2026-11-04 01:00 CET"),
        ] {
            let to = format!("{name}@example.com");
            let mail = server.taken().into_iter().find(|mail| mail.to == to).unwrap();
            let text = mail.part("text/plain");
            let promise = format!("It does not happen earlier than {hours} hours after this warning first reached somebody of your account.");
            assert!(text.contains(&promise), "{name}: {text}");
            assert!(text.contains(&format!("Account: ROOT/{name}\r\nDate: {date}")), "{name}: {text}");
            let subject = format!("Billing: Your account will be locked on {date} ({name})");
            assert_eq!(mail.header("Subject").unwrap(), subject);
        }
    })
    .await;
}

#[tokio::test]
async fn a_mail_about_two_accounts_goes_on_while_it_is_true_of_one() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = cloud_with_mail(database, &server, shop_and_lab).await;
        one_payer_of(&cloud, &["shop", "lab"]).await;
        let put_off = (450, "4.2.0 greylisted, come back later".to_owned());
        server.set(|script| drop(script.recipients.insert("alice@example.com".to_owned(), put_off)));
        for name in ["shop", "lab"] {
            notice(&cloud, name, "locked-1", "Your account was locked.").await;
        }
        assert_eq!(pass(&cloud).await.sent.deferred, 1);
        notice(&cloud, "shop", "restored-2", "Your account was opened again.").await;
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.dropped, summary.sent.deferred), (0, 1), "the lab is locked: {summary:?}");
        notice(&cloud, "lab", "restored-3", "Your account was opened again.").await;
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.dropped, summary.sent.deferred), (1, 1), "{summary:?}");
        server.set(|script| script.recipients.clear());
        cloud.clock.advance(Duration::from_hours(1));
        assert_eq!(pass(&cloud).await.sent.sent, 2);
        assert!(server.subjects().iter().all(|subject| subject.contains("open again")), "{:?}", server.subjects());
    })
    .await;
}
