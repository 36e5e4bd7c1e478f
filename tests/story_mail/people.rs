//! Who is written to, once, and who is not; and what becomes of names and addresses that mean harm.

use ::bursar::{
    standin::AccountKind,
    store::{cloud as accounts, notice_wishes, payers},
};

use super::*;
use crate::{
    harness::{on_each_database, tenant},
    story_cli::bursar,
};

#[tokio::test]
async fn a_person_in_two_accounts_of_a_payer_gets_one_mail() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = cloud_with_mail(database, &server, |world| {
            let root = world.find_domain("ROOT").unwrap();
            for (name, people) in [("shop", ["alice", "bob"]), ("lab", ["alice2", "carol"])] {
                let account = world.add_account(root, name, AccountKind::User);
                for user in people {
                    // alice is the same person in both, however she writes herself.
                    let address =
                        if user == "alice2" { "ALICE@Example.com".into() } else { format!("{user}@example.com") };
                    world.add_user(account, user, "password-of-a-tenant", &address);
                }
            }
        })
        .await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let customer =
            payers::insert_customer(&mut tx, "Alice Ltd", None, None, None, cloud.clock.now()).await.unwrap();
        for name in ["shop", "lab"] {
            let account = accounts::resolve_account(&mut tx, name).await.unwrap();
            payers::move_account(&mut tx, account.id, account.payer_id, customer).await.unwrap();
        }
        tx.commit().await.unwrap();
        let notices = [notice(&cloud, "shop", WARNING, SENTENCE).await, notice(&cloud, "lab", WARNING, SENTENCE).await];
        assert_eq!(pass(&cloud).await.sent.sent, 3);
        let mut taken = server.taken();
        taken.sort_by(|one, two| one.to.cmp(&two.to));
        let to: Vec<&str> = taken.iter().map(|mail| mail.to.as_str()).collect();
        assert_eq!(to.iter().filter(|to| to.eq_ignore_ascii_case("alice@example.com")).count(), 1, "{to:?}");
        let alice = taken.iter().find(|mail| mail.to.eq_ignore_ascii_case("alice@example.com")).unwrap();
        assert!(alice.part("text/plain").contains("Accounts: ROOT/shop, ROOT/lab"), "{}", alice.text);
        let bob = taken.iter().find(|mail| mail.to == "bob@example.com").unwrap();
        assert!(bob.part("text/plain").contains("Account: ROOT/shop\r\n"), "{}", bob.text);
        for notice in notices {
            assert_eq!(arrived(&cloud, notice).await, Some(cloud.clock.now()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_mail_about_sixty_accounts_names_each_of_them() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let names: Vec<String> = (0..60).map(|number| format!("account-{number:02}")).collect();
        let cloud = cloud_with_mail(database, &server, |world| {
            let root = world.find_domain("ROOT").unwrap();
            for name in &names {
                let account = world.add_account(root, name, AccountKind::User);
                world.add_user(account, &format!("alice-{name}"), "password-of-a-tenant", "alice@example.com");
            }
        })
        .await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let customer =
            payers::insert_customer(&mut tx, "Alice Ltd", None, None, None, cloud.clock.now()).await.unwrap();
        for name in &names {
            let account = accounts::resolve_account(&mut tx, name).await.unwrap();
            payers::move_account(&mut tx, account.id, account.payer_id, customer).await.unwrap();
        }
        tx.commit().await.unwrap();
        for name in &names {
            notice(&cloud, name, WARNING, SENTENCE).await;
        }
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        let mail = server.taken().remove(0);
        let (text, html) = (mail.part("text/plain"), mail.part("text/html"));
        assert!(text.contains("Accounts: 60, listed below"), "{text}");
        for name in &names {
            let line = format!("- ROOT/{name}");
            assert_eq!(text.lines().filter(|said| *said == line).count(), 1, "{line} is missing in {text}");
            assert!(html.contains(&format!("<li>ROOT/{name}</li>")), "{name} is missing in {html}");
        }
    })
    .await;
}

#[tokio::test]
async fn users_that_nobody_reads_the_mail_of_are_left_out_and_configured_people_added() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            let account = tenant(world, "alice");
            world.add_user(account, "bursar-key-alice-1", "password-of-a-key", "someone@example.com");
            world.add_user(account, "robot", "password-of-a-robot", "robot@localhost");
            world.add_user(account, "typo", "password-of-a-typo", "typo at example.com");
            world.add_user(account, "nobody", "password-of-nobody", "");
        })
        .await;
        let mut settings = settings(&server, "none");
        let added = "ROOT/alice=accounting@example.com,ROOT/alice=Alice@example.com,ROOT/bob=bob@example.com";
        settings.push(("MAIL_RECIPIENTS", added.to_owned()));
        let cloud = set_up(cloud, &settings).await;
        notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
        pass(&cloud).await;
        let mut to: Vec<String> = server.taken().into_iter().map(|mail| mail.to.to_lowercase()).collect();
        to.sort();
        assert_eq!(to, ["accounting@example.com", "alice@example.com"]);
    })
    .await;
}

#[tokio::test]
async fn an_account_without_an_address_is_told_to_administrators_and_written_to_once_it_has_one() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut account = None;
        let mut cloud = cloud_with_mail(database, &server, |world| {
            let root = world.find_domain("ROOT").unwrap();
            let mute = world.add_account(root, "mute", AccountKind::User);
            world.add_user(mute, "mute", "password-of-a-tenant", "mute@invalid.example");
            account = Some(mute);
        })
        .await;
        let warning = notice(&cloud, "mute", WARNING, SENTENCE).await;
        let summary = pass(&cloud).await;
        assert_eq!(summary.queued.without_address, 1);
        assert_eq!(server.subjects(), ["admin@example.com: bursar: nobody of ROOT/mute can be written to"]);
        let mut tx = cloud.app.store.read().await.unwrap();
        let missing = rows::list_without_address(&mut tx, 10).await.unwrap();
        drop(tx);
        assert_eq!(
            missing.iter().map(|row| (row.name.as_str(), row.event.as_str())).collect::<Vec<_>>(),
            [("mute", WARNING)]
        );
        assert_eq!(arrived(&cloud, warning).await, None);
        assert_eq!(pass(&cloud).await, MailSummary::default(), "administrators are told once");
        // However long it takes: a warning that stands waits for its address.
        cloud.clock.advance(Duration::from_hours(20 * 24));
        cloud.reconfigure("MAIL_RECIPIENTS", "ROOT/mute=owner@example.com").await;
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        assert_eq!(arrived(&cloud, warning).await, Some(cloud.clock.now()));
        let mut tx = cloud.app.store.read().await.unwrap();
        assert!(rows::list_without_address(&mut tx, 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_warning_that_reached_nobody_goes_to_a_corrected_address_by_itself() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = cloud_with_mail(database, &server, alice).await;
        let refused = (550, "no such user".to_owned());
        server.set(|script| drop(script.recipients.insert("alice@example.com".to_owned(), refused)));
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        notice(&cloud, "alice", "used-100", "100 % of your credit is used.").await;
        assert_eq!(pass(&cloud).await.sent.dead, 2);
        pass(&cloud).await;
        assert_eq!(pass(&cloud).await, MailSummary::default(), "nothing goes round");
        cloud.reconfigure("MAIL_RECIPIENTS", "ROOT/alice=alice@example.org").await;
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        assert_eq!(server.taken().last().unwrap().to, "alice@example.org");
        assert_eq!(arrived(&cloud, warning).await, Some(cloud.clock.now()));
        assert_eq!(pass(&cloud).await, MailSummary::default());
        assert_eq!(
            states(&cloud).await,
            ["alice@example.com dead", "alice@example.com dead", "admin@example.com sent", "alice@example.org sent"]
        );
    })
    .await;
}

#[tokio::test]
async fn hostile_names_never_become_headers_or_markup() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let name = "eve\r\nBcc: mallory@example.com\r\n\r\n<script>alert(1)</script>\u{202e}txt.exe";
        let cloud = cloud_with_mail(database, &server, |world| {
            let root = world.find_domain("ROOT").unwrap();
            let account = world.add_account(root, name, AccountKind::User);
            world.add_user(account, "eve", "password-of-a-tenant", "eve@example.com");
            world.add_user(
                account,
                "mallory",
                "password-of-a-tenant",
                "x@example.com\r\nRCPT TO:<mallory@example.com>",
            );
        })
        .await;
        let full = format!("ROOT/{name}");
        notice(&cloud, &full, "used-80", "80 % of <b>your</b> credit\r\n.\r\nMAIL FROM:<x@example.com> is used.").await;
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        let mail = server.taken().remove(0);
        assert_eq!(mail.to, "eve@example.com");
        let known = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"];
        for header in mail.header_names() {
            assert!(known.contains(&header.as_str()), "{header} came from outside: {}", mail.text);
        }
        let subject = mail.header("Subject").unwrap();
        assert!(!subject.contains('\u{202e}'), "{subject}");
        let html = mail.part("text/html");
        assert!(!html.contains("<script") && !html.contains("<b>your"), "{html}");
        assert!(html.contains("&#60;script&#62;") || html.contains("&lt;script&gt;"), "{html}");
        let commands = server.script.lock().unwrap().commands.clone();
        assert_eq!(commands.iter().filter(|line| line.starts_with("MAIL")).count(), 1, "{commands:?}");
        assert_eq!(commands.iter().filter(|line| line.starts_with("RCPT")).count(), 1, "{commands:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_line_names_an_address_a_password_or_what_was_written() {
    let mut server = MailServer::start_apart();
    let cloud = Cloud::start(Database::sqlite(), NOVEMBER, |world| {
        for name in ["alice", "bob"] {
            tenant(world, name);
        }
        let root = world.find_domain("ROOT").unwrap();
        let mute = world.add_account(root, "mute", AccountKind::User);
        world.add_user(mute, "mute", "password-of-a-tenant", "mute@localhost");
    })
    .await;
    let mut cloud = set_up(cloud, &settings(&server, "none")).await;
    cloud.env.insert("BURSAR_LOG_LEVEL".to_owned(), "trace".to_owned());
    let refused = (550, "<bob@example.com> is unknown".to_owned());
    server.set(|script| drop(script.recipients.insert("bob@example.com".to_owned(), refused)));
    for name in ["alice", "bob", "mute"] {
        notice(&cloud, name, WARNING, SENTENCE).await;
    }
    // The log of a process is what it says on standard error.
    let mut log = bursar(&cloud.env, &["mail", "send"]).await.err;
    // A server that wants no password is offered none; then one that is down.
    cloud.env.insert("BURSAR_MAIL_USERNAME".to_owned(), "billing".to_owned());
    cloud.env.insert("BURSAR_MAIL_PASSWORD".to_owned(), "hunter2".to_owned());
    notice(&cloud, "alice", "used-90", "90 % of your credit is used.").await;
    log.push_str(&bursar(&cloud.env, &["mail", "send"]).await.err);
    server.stop();
    notice(&cloud, "alice", "used-100", "100 % of your credit is used.").await;
    log.push_str(&bursar(&cloud.env, &["mail", "send"]).await.err);
    for told in ["mail sent", "mail given up", "found nobody to be written to", "can not be reached", "sign in"] {
        assert!(log.contains(told), "{told} is missing in {log}");
    }
    for secret in ["@example.com", "@localhost", "hunter2", "104.20", "credit is used", "is unknown"] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

#[tokio::test]
async fn a_person_gets_what_that_person_chose_and_warnings_come_to_everybody() {
    use ::bursar::policy::{Topic, Wishes};
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut ids = Vec::new();
        let cloud = cloud_with_mail(database, &server, |world| {
            let account = tenant(world, "alice");
            for name in ["bea", "carol"] {
                ids.push(world.add_user(account, name, "password-of-a-tenant", &format!("{name}@example.com")));
            }
        })
        .await;
        let account = cloud.account("alice").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let nothing = Wishes { topics: Topic::ALL.map(|topic| (topic, false)).into(), ..Wishes::default() };
        let own = Wishes { topics: [(Topic::Invoice, true)].into(), percent: [60].into() };
        for (id, wishes) in ids.iter().zip([&nothing, &own]) {
            notice_wishes::put_wishes(&mut tx, account.id, *id, wishes, "en", cloud.clock.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        for (event, wanted) in [
            ("used-80", vec!["alice"]),
            ("own-60", vec!["carol"]),
            ("days-left-7", vec!["alice", "carol"]),
            ("overdue-1-1", vec!["alice", "carol"]),
            ("invoice-2026-11-1", vec!["carol"]),
            ("locked-1", vec!["alice", "bea", "carol"]),
            (WARNING, vec!["alice", "bea", "carol"]),
        ] {
            let before = server.taken().len();
            let notice = notice(&cloud, "alice", event, "A sentence.").await;
            pass(&cloud).await;
            let mut to: Vec<String> = server.taken().into_iter().skip(before).map(|mail| mail.to).collect();
            to.sort();
            let wanted: Vec<String> = wanted.iter().map(|name| format!("{name}@example.com")).collect();
            assert_eq!(to, wanted, "{event}");
            assert!(arrived(&cloud, notice).await.is_some(), "{event}");
        }
        assert_eq!(pass(&cloud).await, MailSummary::default(), "nothing waits, and nobody is missing an address");
    })
    .await;
}

#[tokio::test]
async fn three_days_before_the_end_of_the_month_whoever_asked_is_told_the_amount_once() {
    use ::bursar::policy::{Topic, Wishes};
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = cloud_with_mail(database, &server, |world| {
            tenant(world, "alice");
            tenant(world, "bob");
        })
        .await;
        let account = cloud.account("alice").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let users = accounts::list_users(&mut tx, Some(account.id)).await.unwrap();
        let wishes = Wishes { topics: [(Topic::Invoice, true)].into(), ..Wishes::default() };
        let user = users[0].cloud_id.parse().unwrap();
        notice_wishes::put_wishes(&mut tx, account.id, user, &wishes, "en", cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        cloud.clock.advance(Duration::from_hours(28 * 24));
        assert_eq!(pass(&cloud).await, MailSummary::default(), "a dry run tells tenants nothing");
        cloud.arm(&["notify"]).await;
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        let mails = server.taken();
        assert_eq!(mails[0].to, "alice@example.com");
        let text = mails[0].part("text/plain");
        assert!(text.contains("ROOT/alice: the month from 2026-11-01 on comes to 0.00 EUR so far"), "{text}");
        cloud.clock.advance(Duration::from_hours(24));
        assert_eq!(pass(&cloud).await, MailSummary::default(), "once");
    })
    .await;
}
