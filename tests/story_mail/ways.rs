//! How mail leaves: plain, encrypted, signed in, into a folder; and when it does not.

use bursar::notify;

use super::*;
use crate::harness::{on_each_database, smtp::authority};

#[tokio::test]
async fn a_notice_arrives_as_text_and_html_and_its_arrival_is_noted() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = Cloud::start(database, NOVEMBER, alice).await;
        meet(&cloud).await;
        let before = notice(&cloud, "alice", "used-50", "50 % of your credit is used.").await;
        let mut settings = settings(&server, "none");
        settings.push(("MAIL_REPLY_TO", "support@example.com".to_owned()));
        settings.push(("WEB_PUBLIC_URL", "https://cloud.example.com".to_owned()));
        let cloud = set_up(cloud, &settings).await;
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.mails, summary.sent.sent), (1, 1), "{summary:?}");

        let mail = server.taken().remove(0);
        assert_eq!((mail.from.as_str(), mail.to.as_str()), ("billing@example.com", "alice@example.com"));
        let header = |name: &str| mail.header(name).unwrap_or_else(|| panic!("{name} is missing in {}", mail.text));
        assert_eq!(header("From"), "\"Cloud billing\" <billing@example.com>");
        assert_eq!(header("To"), "alice@example.com");
        assert_eq!(header("Reply-To"), "support@example.com");
        assert_eq!(header("Subject"), "Billing: Your account will be locked on 2026-11-04 00:00 UTC (alice)");
        assert_eq!(header("Auto-Submitted"), "auto-generated");
        assert_eq!(header("Date"), "Sun, 01 Nov 2026 00:00:00 +0000");
        assert!(header("Message-ID").ends_with("@example.com>"), "{}", header("Message-ID"));
        assert!(header("Content-Type").starts_with("multipart/alternative"), "{}", header("Content-Type"));
        let text = mail.part("text/plain");
        assert_eq!(
            text.replace("\r\n", "\n").trim(),
            "Your account will be locked on 2026-11-04 00:00 UTC\n\n\
             Your account will be locked on 2026-11-04 00:00 UTC because 104.20 of 100.00 EUR were used.\n\n\
             Once the account is locked, signing in stops working, and API keys stop working too. Machines keep running.\n\n\
             It does not happen earlier than 48 hours after this warning first reached somebody of your account.\n\n\
             Account: ROOT/alice\nDate: 2026-11-04 00:00 UTC\n\n\
             Open Billing: https://cloud.example.com/client/api/bursar/\n\n-- \n\
             Sent by the billing of your cloud, because your address belongs to this account."
        );
        let html = mail.part("text/html");
        for words in [
            "<h2>Your account will be locked on 2026-11-04 00:00 UTC</h2>",
            "<p>Once the account is locked, signing in stops working, and API keys stop working too.",
            "<a href=\"https://cloud.example.com/client/api/bursar/\">Open Billing</a>",
        ] {
            assert!(html.contains(words), "{words} is missing in {html}");
        }

        assert_eq!(arrived(&cloud, warning).await, Some(cloud.clock.now()));
        assert_eq!(arrived(&cloud, before).await, None, "what was recorded before there was mail is never mailed");
        assert_eq!(pass(&cloud).await, MailSummary::default());
        assert_eq!(server.taken().len(), 1, "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn mail_goes_encrypted_from_the_first_byte_or_before_anything_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (ca_file, config) = authority(folder.path(), "own");
    for (way, security) in [(Way::Tls(config.clone()), "tls"), (Way::StartTls(config.clone()), "starttls")] {
        let server = MailServer::start_by(way);
        server.set(|script| script.sign_in = Some(("billing".to_owned(), "hunter2 and more".to_owned())));
        let cloud = Cloud::start(Database::sqlite(), NOVEMBER, alice).await;
        let mut settings = settings(&server, security);
        settings.push(("MAIL_CA_FILE", ca_file.display().to_string()));
        settings.push(("MAIL_USERNAME", "billing".to_owned()));
        settings.push(("MAIL_PASSWORD", "hunter2 and more".to_owned()));
        let cloud = set_up(cloud, &settings).await;
        notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
        notice(&cloud, "alice", "used-90", "90 % of your credit is used.").await;
        assert_eq!(pass(&cloud).await.sent.sent, 2, "{security}");
        assert_eq!(server.taken().len(), 2);
        assert_eq!(server.script.lock().unwrap().connections, 1, "one connection does for a pass");
    }
}

#[tokio::test]
async fn a_server_that_can_not_be_trusted_is_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_, config) = authority(folder.path(), "own");
    let (other, _) = authority(folder.path(), "other");
    // Somebody else's certificate; no offer to encrypt; a certificate for another name.
    for (way, security, host, told) in [
        (Way::Tls(config.clone()), "tls", "localhost", "certificate"),
        (Way::StartTls(config.clone()), "starttls", "localhost", "certificate"),
        (Way::Plain, "starttls", "127.0.0.1", "it does not offer STARTTLS"),
        (Way::Tls(config.clone()), "tls", "127.0.0.1", "certificate"),
    ] {
        let server = MailServer::start_by(way);
        let cloud = Cloud::start(Database::sqlite(), NOVEMBER, alice).await;
        let mut settings = settings(&server, security);
        settings.push(("MAIL_HOST", host.to_owned()));
        settings.push(("MAIL_CA_FILE", other.display().to_string()));
        settings.push(("MAIL_USERNAME", "billing".to_owned()));
        settings.push(("MAIL_PASSWORD", "hunter2".to_owned()));
        let cloud = set_up(cloud, &settings).await;
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        let stopped = pass(&cloud).await.sent.stopped.unwrap();
        assert!(stopped.contains("can not be secured") && stopped.contains(told), "{security} {host}: {stopped}");
        assert!(server.taken().is_empty());
        let commands = server.script.lock().unwrap().commands.join("\n");
        assert!(!commands.contains("AUTH") && !commands.contains("MAIL"), "{commands}");
        assert_eq!(arrived(&cloud, warning).await, None);
        assert_eq!(states(&cloud).await, ["alice@example.com open"]);
    }
}

#[tokio::test]
async fn a_wrong_password_or_a_refused_sender_says_nothing_about_the_mail() {
    let folder = tempfile::tempdir().unwrap();
    let (ca_file, config) = authority(folder.path(), "own");
    let server = MailServer::start_by(Way::StartTls(config));
    server.set(|script| script.sign_in = Some(("billing".to_owned(), "right".to_owned())));
    let cloud = Cloud::start(Database::sqlite(), NOVEMBER, alice).await;
    let mut settings = settings(&server, "starttls");
    settings.push(("MAIL_CA_FILE", ca_file.display().to_string()));
    settings.push(("MAIL_USERNAME", "billing".to_owned()));
    settings.push(("MAIL_PASSWORD", "hunter2".to_owned()));
    let mut cloud = set_up(cloud, &settings).await;
    notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
    let stopped = pass(&cloud).await.sent.stopped.unwrap();
    assert!(stopped.contains("does not let \"billing\" sign in: 535"), "{stopped}");
    assert!(!stopped.contains("hunter2"), "{stopped}");
    cloud.reconfigure("MAIL_PASSWORD", "right").await;
    server.set(|script| script.sender = Some((550, "sender not allowed".to_owned())));
    cloud.clock.advance(Duration::from_hours(1));
    let stopped = pass(&cloud).await.sent.stopped.unwrap();
    assert!(stopped.contains("takes no mail from the sender in [mail] from: 550 sender not allowed"), "{stopped}");
    server.set(|script| script.sender = None);
    cloud.clock.advance(Duration::from_hours(1));
    assert_eq!(pass(&cloud).await.sent.sent, 1);
    assert_eq!(states(&cloud).await, ["alice@example.com sent"]);
}

#[tokio::test]
async fn mail_in_a_folder_is_a_file_each_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let cloud = Cloud::start(Database::sqlite(), NOVEMBER, alice).await;
    let folder = cloud.database.folder.path().join("out/mail");
    let settings = [
        ("MAIL_TRANSPORT", "folder".to_owned()),
        ("MAIL_FOLDER", folder.display().to_string()),
        ("MAIL_FROM", "billing@example.com".to_owned()),
        ("MAIL_ADMINS", "admin@example.com".to_owned()),
    ];
    let cloud = set_up(cloud, &settings).await;
    let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
    assert_eq!(pass(&cloud).await.sent.sent, 1);
    assert_eq!(arrived(&cloud, warning).await, Some(cloud.clock.now()));
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].ends_with("000001-warning-lock.eml"), "{files:?}");
    assert!(std::fs::read_to_string(&files[0]).unwrap().contains("To: alice@example.com\r\n"));
    for path in [&files[0], &folder] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}

#[tokio::test]
async fn enforcement_may_be_armed_once_a_test_passed_with_exactly_these_settings() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = cloud_with_mail(database, &server, |_| {}).await;
        let ready = async |cloud: &Cloud| {
            let mut tx = cloud.app.store.read().await.unwrap();
            notify::mail_ready(&mut tx, &mail::settings(&cloud.app)).await.map_err(|why| why.to_string())
        };
        assert!(ready(&cloud).await.unwrap_err().contains("run `bursar mail test`"));
        let now = cloud.clock.now();
        let mut tx = cloud.app.store.begin().await.unwrap();
        notify::note_tested(&mut tx, &mail::settings(&cloud.app), now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ready(&cloud).await, Ok(()));
        cloud.reconfigure("MAIL_RECIPIENTS", "ROOT/alice=a@example.com").await;
        assert_eq!(ready(&cloud).await, Ok(()), "who is written to decides nothing about the way");
        cloud.env.insert("BURSAR_MAIL_USERNAME".to_owned(), "billing".to_owned());
        cloud.reconfigure("MAIL_PASSWORD", "first").await;
        assert!(ready(&cloud).await.is_err(), "to sign in is another way");
        let mut tx = cloud.app.store.begin().await.unwrap();
        notify::note_tested(&mut tx, &mail::settings(&cloud.app), now).await.unwrap();
        tx.commit().await.unwrap();
        cloud.reconfigure("MAIL_PASSWORD", "second").await;
        assert!(ready(&cloud).await.is_err(), "so is another password");
        cloud.reconfigure("MAIL_PASSWORD", "first").await;
        assert_eq!(ready(&cloud).await, Ok(()));
        cloud.reconfigure("MAIL_FROM", "other@example.com").await;
        assert!(ready(&cloud).await.is_err(), "and another sender");
        cloud.reconfigure("MAIL_TRANSPORT", "off").await;
        assert_eq!(ready(&cloud).await, Ok(()), "off is a choice");
        cloud.env.insert("BURSAR_MAIL_HOST".to_owned(), String::new());
        cloud.reconfigure("MAIL_TRANSPORT", "").await;
        assert!(ready(&cloud).await.unwrap_err().contains("mail is not set up"));
    })
    .await;
}
