//! What gets into the outbox, and what does not: rehearsals, what is settled, the digest.

use super::*;
use crate::harness::{on_each_database, tenant};

#[tokio::test]
async fn a_dry_run_mails_tenants_nothing_and_administrators_a_digest() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = cloud_with_mail(database, &server, |world| {
            let small = world.find_offering("Small Instance").unwrap();
            for name in ["alice", "bob"] {
                let account = tenant(world, name);
                world.deploy_vm(account, &format!("{name}-vm"), small, world.now());
            }
        })
        .await;
        cloud.reconfigure("MAIL_DIGEST", "0 7 * * *").await;
        assert_eq!(pass(&cloud).await, MailSummary::default());
        cloud.limit("bob", "0.50").await;
        cloud.pass(Duration::from_hours(6));
        let report = cloud.round().await;
        assert!(report.dry_run && report.notices > 0, "{report:?}");
        assert_eq!(pass(&cloud).await, MailSummary::default(), "a rehearsal reaches no tenant");
        cloud.clock.advance(Duration::from_hours(1));
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        let mail = server.taken().remove(0);
        assert_eq!(mail.to, "admin@example.com");
        assert_eq!(mail.header("Subject").unwrap(), "bursar: what was decided and done up to 2026-11-01 07:00 UTC");
        let text = mail.part("text/plain");
        for words in ["Notices that would have been given", "- ROOT/bob: ", "nothing was sent to tenants"] {
            assert!(text.contains(words), "{words} is missing in {text}");
        }
        assert!(!text.contains("ROOT/alice"), "alice is well: {text}");

        cloud.clock.advance(Duration::from_hours(23));
        assert_eq!(pass(&cloud).await, MailSummary::default(), "one digest a day");
        cloud.clock.advance(Duration::from_hours(1));
        assert_eq!(pass(&cloud).await, MailSummary::default(), "and none of a day on which nothing happened");
    })
    .await;
}

#[tokio::test]
async fn a_digest_tells_what_was_done_and_what_a_person_has_to_look_at() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = cloud_with_mail(database, &server, alice).await;
        cloud.reconfigure("MAIL_DIGEST", "0 7 * * *").await;
        pass(&cloud).await;
        cloud.clock.advance(Duration::from_hours(1));
        notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let now = cloud.clock.now();
        rows::insert_admin_notice(&mut tx, "fuse/1", "fuse", "the fuse held", "Nobody was locked.", now).await.unwrap();
        tx.commit().await.unwrap();
        pass(&cloud).await;
        // Three days without bursar: one digest tells of all of them.
        cloud.clock.advance(Duration::from_hours(72));
        pass(&cloud).await;
        assert_eq!(
            server.subjects(),
            [
                "alice@example.com: Billing: 80 % of your credit is used (alice)",
                "admin@example.com: bursar: the fuse held",
                "admin@example.com: bursar: what was decided and done up to 2026-11-03 07:00 UTC",
            ]
        );
        let text = server.taken()[2].part("text/plain");
        for words in ["Notices given\r\n- ROOT/alice: 80 %", "To look at\r\n- the fuse held"] {
            assert!(text.contains(words), "{words} is missing in {text}");
        }
        assert!(!text.contains("would have"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn old_mails_are_looked_for_once_a_day_and_forgotten_whether_mail_is_sent_or_not() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = cloud_with_mail(database, &server, alice).await;
        notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        let kept = async |cloud: &Cloud| {
            pass(cloud).await;
            outbox(cloud).await.iter().filter(|mail| mail.kind == "used").count()
        };
        cloud.clock.advance(Duration::from_hours(180 * 24));
        assert_eq!(kept(&cloud).await, 1, "to the very end of its time");
        cloud.clock.advance(Duration::from_hours(23));
        assert_eq!(kept(&cloud).await, 1, "it was looked less than a day ago");
        cloud.reconfigure("MAIL_TRANSPORT", "off").await;
        cloud.clock.advance(Duration::from_hours(1));
        assert_eq!(kept(&cloud).await, 0, "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn a_warning_that_is_settled_before_it_could_be_sent_is_dropped() {
    on_each_database(|database| async {
        let mut server = MailServer::start_apart();
        let cloud = cloud_with_mail(database, &server, |world| {
            for name in ["alice", "bob"] {
                tenant(world, name);
            }
        })
        .await;
        server.stop();
        let settled = notice(&cloud, "alice", WARNING, SENTENCE).await;
        let stands = notice(&cloud, "bob", WARNING, SENTENCE).await;
        pass(&cloud).await;
        let alice = cloud.account("alice").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        policy::put_reached(&mut tx, alice.payer_id, "lock", None).await.unwrap();
        tx.commit().await.unwrap();
        server.come_back();
        cloud.clock.advance(Duration::from_hours(1));
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.dropped, summary.sent.sent), (1, 1), "{summary:?}");
        assert_eq!(states(&cloud).await, ["alice@example.com dropped", "bob@example.com sent"]);
        assert_eq!(arrived(&cloud, settled).await, None);
        assert!(arrived(&cloud, stands).await.is_some());
    })
    .await;
}

#[tokio::test]
async fn mail_that_is_set_up_later_tells_nothing_old_but_the_warnings_that_stand() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = Cloud::start(database, NOVEMBER, alice).await;
        meet(&cloud).await;
        notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
        let old = notice(&cloud, "alice", "warning-lock-1700000000", "Settled long ago.").await;
        let stands = notice(&cloud, "alice", WARNING, SENTENCE).await;
        assert_eq!(pass(&cloud).await, MailSummary::default(), "mail is off");
        let mut cloud = cloud;
        for (key, value) in settings(&server, "none") {
            cloud.env.insert(format!("BURSAR_{key}"), value);
        }
        cloud.restart().await;
        cloud.clock.advance(Duration::from_hours(1));
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        assert_eq!(arrived(&cloud, stands).await, Some(cloud.clock.now()));
        assert_eq!(arrived(&cloud, old).await, None);
        // Off for a while, and on again: the same.
        cloud.reconfigure("MAIL_TRANSPORT", "off").await;
        pass(&cloud).await;
        notice(&cloud, "alice", "used-90", "90 % of your credit is used.").await;
        cloud.reconfigure("MAIL_TRANSPORT", "smtp").await;
        assert_eq!(pass(&cloud).await, MailSummary::default());
        assert_eq!(server.taken().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_notice_has_a_subject_of_its_own_and_keeps_the_inner_words_out() {
    let server = MailServer::start();
    let cloud = cloud_with_mail(Database::sqlite(), &server, alice).await;
    let events = [
        "used-80",
        "days-left-7",
        "days-left-1",
        "available-10",
        "warning-restrict-1793487600",
        WARNING,
        "warning-stop-1793487600",
        "restricted-0f6f9d7a-0c0e-4b7a-9a3f-1f6f6f9d7a01",
        "locked-0f6f9d7a-0c0e-4b7a-9a3f-1f6f6f9d7a01",
        "stopped-0f6f9d7a-0c0e-4b7a-9a3f-1f6f6f9d7a01",
        "restored-0f6f9d7a-0c0e-4b7a-9a3f-1f6f6f9d7a01",
        "something-new",
    ];
    for event in events {
        notice(&cloud, "alice", event, "A sentence for the tenant.").await;
        assert_eq!(pass(&cloud).await.sent.sent, 1, "{event}");
    }
    let subjects: std::collections::BTreeSet<String> = server.subjects().into_iter().collect();
    assert_eq!(subjects.len(), events.len(), "{subjects:?}");
    assert_eq!(subjects.iter().filter(|subject| subject.contains("About your account")).count(), 1, "{subjects:?}");
    for mail in server.taken() {
        let text = format!("{} {}", mail.header("Subject").unwrap(), mail.part("text/plain")).to_lowercase();
        for word in ["rung", "hold", "fuse", "quarantine", "standing"] {
            assert!(!text.contains(word), "{word} is in {text}");
        }
        let warns =
            text.contains("will be locked on") || text.contains("will be stopped on") || text.contains("from 2026");
        assert!(!warns || text.contains("api keys stop working too"), "{text}");
    }
}

/// A cloud of alice and bob where alice's mail is put off.
async fn alice_is_put_off(database: Database, server: &MailServer) -> Cloud {
    let cloud = cloud_with_mail(database, server, |world| {
        for name in ["alice", "bob"] {
            tenant(world, name);
        }
    })
    .await;
    let answer = (450, "4.2.0 greylisted, come back later".to_owned());
    server.set(|script| drop(script.recipients.insert("alice@example.com".to_owned(), answer)));
    cloud
}

#[tokio::test]
async fn what_was_done_to_an_account_is_not_told_after_the_contrary() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = alice_is_put_off(database, &server).await;
        let locked = notice(&cloud, "alice", "locked-a1", "Your account was locked.").await;
        assert_eq!(pass(&cloud).await.sent.deferred, 1);
        server.set(|script| script.recipients.clear());
        notice(&cloud, "alice", "restored-b2", "Your account was opened again.").await;
        notice(&cloud, "bob", "locked-c3", "Your account was locked.").await;
        cloud.clock.advance(Duration::from_hours(1));
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.dropped, summary.sent.sent), (1, 2), "{summary:?}");
        assert_eq!(arrived(&cloud, locked).await, None);
        let mails = outbox(&cloud).await;
        assert_eq!((mails[0].kind.as_str(), mails[0].state.as_str()), ("locked", "dropped"));
        assert_eq!(mails[0].last_error.as_deref(), Some("not sent: what it says was no longer so by then"));
        // Also where both wait for their first try, whatever order they are made in.
        notice(&cloud, "alice", "stopped-d4", "Your account was disabled.").await;
        notice(&cloud, "alice", "restored-e5", "Your account was opened again.").await;
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.dropped, summary.sent.sent), (1, 1), "{summary:?}");
        // And the other way round.
        notice(&cloud, "bob", "restored-f6", "Your account was opened again.").await;
        notice(&cloud, "bob", "restricted-g7", "Your account was restricted.").await;
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.dropped, summary.sent.sent), (1, 1), "{summary:?}");
        // A warning from before that was never sent.
        notice(&cloud, "alice", "warning-stop-1700000000", "Your machines will be stopped.").await;
        notice(&cloud, "alice", "restored-h8", "Your account was opened again.").await;
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.dropped, summary.sent.sent), (1, 1), "{summary:?}");
        let mut subjects = server.subjects();
        subjects.sort();
        assert_eq!(
            subjects,
            [
                "alice@example.com: Billing: Your account is open again (alice)",
                "alice@example.com: Billing: Your account is open again (alice)",
                "alice@example.com: Billing: Your account is open again (alice)",
                "bob@example.com: Billing: Your account can not grow any more (bob)",
                "bob@example.com: Billing: Your account is locked (bob)",
            ]
        );
        assert_eq!(pass(&cloud).await, MailSummary::default());
    })
    .await;
}

#[tokio::test]
async fn mails_that_were_left_over_when_mail_was_switched_off_are_not_sent_days_later() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = alice_is_put_off(database, &server).await;
        notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        assert_eq!(pass(&cloud).await.sent.deferred, 2);
        cloud.clock.advance(Duration::from_hours(24));
        notice(&cloud, "alice", "used-90", "90 % of your credit is used.").await;
        assert_eq!(pass(&cloud).await.sent.deferred, 3);
        cloud.reconfigure("MAIL_TRANSPORT", "off").await;
        pass(&cloud).await;
        server.set(|script| script.recipients.clear());
        cloud.clock.advance(Duration::from_hours(60));
        cloud.reconfigure("MAIL_TRANSPORT", "smtp").await;
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.dropped, summary.sent.sent), (1, 2), "{summary:?}");
        assert!(arrived(&cloud, warning).await.is_some(), "what still stands is told");
        let mails = outbox(&cloud).await;
        let dropped: Vec<_> = mails.iter().filter(|mail| mail.state == "dropped").collect();
        assert_eq!(dropped.len(), 1, "{mails:?}");
        assert_eq!(dropped[0].kind, "used", "{mails:?}");
        let why = "not sent: mail was switched off until it was older than [mail] give_up_hours";
        assert_eq!(dropped[0].last_error.as_deref(), Some(why));
        assert!(
            server.subjects().contains(&"alice@example.com: Billing: 90 % of your credit is used (alice)".to_owned())
        );
    })
    .await;
}

#[tokio::test]
async fn what_administrators_are_told_stands_in_one_digest() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = cloud_with_mail(database, &server, alice).await;
        cloud.reconfigure("MAIL_DIGEST", "0 7 * * *").await;
        pass(&cloud).await;
        cloud.clock.advance(Duration::from_hours(6));
        notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
        // After the digest is due, and before a late pass makes it.
        cloud.clock.advance(Duration::from_hours(2));
        let mut tx = cloud.app.store.begin().await.unwrap();
        let now = cloud.clock.now();
        rows::insert_admin_notice(&mut tx, "fuse/1", "fuse", "the fuse held", "Nobody was locked.", now).await.unwrap();
        tx.commit().await.unwrap();
        for hours in [1, 22] {
            cloud.clock.advance(Duration::from_hours(hours));
            pass(&cloud).await;
        }
        let digests: Vec<String> = server
            .taken()
            .iter()
            .filter(|mail| mail.header("Subject").unwrap().contains("what was decided and done"))
            .map(|mail| mail.part("text/plain"))
            .collect();
        let told: Vec<bool> = digests.iter().map(|text| text.contains("the fuse held")).collect();
        assert_eq!(told, [false, true], "{digests:?}");
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_is_forgotten_after_half_a_year_also_without_a_digest_and_where_mail_is_off() {
    for is_off in [false, true] {
        on_each_database(|database| async {
            let server = MailServer::start();
            let mut cloud = cloud_with_mail(database, &server, alice).await;
            notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
            assert_eq!(pass(&cloud).await.sent.sent, 1);
            if is_off {
                cloud.reconfigure("MAIL_TRANSPORT", "off").await;
            }
            let mut kept = Vec::new();
            // Days apart from each other, however often what is old is looked for.
            for days in [90, 89, 2] {
                cloud.clock.advance(Duration::from_hours(days * 24));
                pass(&cloud).await;
                kept.push(outbox(&cloud).await.len());
            }
            assert_eq!(kept, [1, 1, 0], "off: {is_off}, on {}", cloud.database.kind);
        })
        .await;
    }
}
