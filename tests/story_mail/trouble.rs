//! Servers that put off, refuse, are down, or take a mail without saying so; processes that die; two senders at once.

use std::sync::atomic::{AtomicU32, Ordering};

use bursar::{
    notify::{Connection, Outcome, Sender, send_due},
    store::notify as rows,
    time::{Clock, ManualClock},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::harness::{on_each_database, tenant};

#[tokio::test]
async fn a_mail_that_is_put_off_is_tried_again_with_growing_pauses() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = cloud_with_mail(database, &server, |world| {
            for name in ["alice", "bob"] {
                tenant(world, name);
            }
        })
        .await;
        let answer = (450, "4.2.0 greylisted, come back later".to_owned());
        server.set(|script| drop(script.recipients.insert("alice@example.com".to_owned(), answer)));
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        notice(&cloud, "bob", "used-80", "80 % of your credit is used.").await;
        let sent = pass(&cloud).await.sent;
        assert_eq!((sent.sent, sent.deferred, sent.stopped), (1, 1, None), "bob's mail goes on behind alice's");
        for minutes in [1, 2, 4, 8, 16, 30, 30] {
            let begun = cloud.clock.now();
            let next = outbox(&cloud).await[0].next_ms;
            assert_eq!(next, begun.plus(Duration::from_mins(minutes)));
            cloud.clock.advance(Duration::from_secs(minutes * 60 - 1));
            assert_eq!(pass(&cloud).await, MailSummary::default(), "not before its time");
            cloud.clock.advance(Duration::from_secs(1));
            assert_eq!(pass(&cloud).await.sent.deferred, 1);
        }
        assert_eq!(arrived(&cloud, warning).await, None);
        server.set(|script| script.recipients.clear());
        cloud.clock.advance(Duration::from_mins(30));
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        assert_eq!(arrived(&cloud, warning).await, Some(cloud.clock.now()));
        assert_eq!(server.taken().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_mail_refused_for_good_is_a_dead_letter_that_is_told_and_can_be_tried_again() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = cloud_with_mail(database, &server, alice).await;
        let answer = (550, "5.1.1 <alice@example.com>: user unknown".to_owned());
        server.set(|script| drop(script.recipients.insert("alice@example.com".to_owned(), answer)));
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        assert_eq!(pass(&cloud).await.sent.dead, 1);
        let mails = outbox(&cloud).await;
        assert_eq!(mails[0].last_error.as_deref(), Some("550 5.1.1 <alice@example.com>: user unknown"));
        pass(&cloud).await;
        assert_eq!(states(&cloud).await, ["alice@example.com dead", "admin@example.com sent"]);
        assert_eq!(server.subjects(), ["admin@example.com: bursar: a mail could not be delivered"]);
        assert_eq!(arrived(&cloud, warning).await, None);
        cloud.clock.advance(Duration::from_hours(100));
        assert_eq!(pass(&cloud).await, MailSummary::default(), "nobody tries it by himself");

        server.set(|script| script.recipients.clear());
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert_eq!(rows::reopen_mails(&mut tx, None, cloud.clock.now()).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        assert_eq!(arrived(&cloud, warning).await, Some(cloud.clock.now()));
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_to_an_administrator_is_not_told_by_mail() {
    let server = MailServer::start();
    let cloud = cloud_with_mail(Database::sqlite(), &server, |_| {}).await;
    server.set(|script| drop(script.recipients.insert("admin@example.com".to_owned(), (550, "no".to_owned()))));
    let mut tx = cloud.app.store.begin().await.unwrap();
    let now = cloud.clock.now();
    assert!(rows::insert_admin_notice(&mut tx, "x", "fuse", "the fuse held", "Look.", now).await.unwrap());
    assert!(!rows::insert_admin_notice(&mut tx, "x", "fuse", "the fuse held", "Look.", now).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(pass(&cloud).await.sent.dead, 1);
    assert_eq!(pass(&cloud).await, MailSummary::default());
    assert_eq!(states(&cloud).await, ["admin@example.com dead"]);
}

#[tokio::test]
async fn a_server_that_was_down_for_an_hour_gets_each_mail_once() {
    on_each_database(|database| async {
        let mut server = MailServer::start_apart();
        let cloud = cloud_with_mail(database, &server, |world| {
            for name in ["alice", "bob", "carol", "dave"] {
                tenant(world, name);
            }
        })
        .await;
        server.stop();
        for name in ["alice", "bob", "carol", "dave"] {
            notice(&cloud, name, "used-80", "80 % of your credit is used.").await;
        }
        for _ in 0..60 {
            let sent = pass(&cloud).await.sent;
            assert_eq!((sent.sent, sent.dead), (0, 0));
            assert!(sent.deferred <= 1, "a server that is down is asked once a pass");
            assert!(sent.stopped.is_none_or(|why| why.contains("can not be reached")));
            cloud.clock.advance(Duration::from_mins(1));
        }
        server.come_back();
        for _ in 0..31 {
            pass(&cloud).await;
            cloud.clock.advance(Duration::from_mins(1));
        }
        let mut to: Vec<String> = server.taken().into_iter().map(|mail| mail.to).collect();
        to.sort();
        assert_eq!(to, ["alice@example.com", "bob@example.com", "carol@example.com", "dave@example.com"]);
        assert!(states(&cloud).await.iter().all(|state| state.ends_with(" sent")));
    })
    .await;
}

#[tokio::test]
async fn a_mail_that_nobody_takes_for_three_days_is_given_up() {
    let mut server = MailServer::start_apart();
    let cloud = cloud_with_mail(Database::sqlite(), &server, alice).await;
    server.stop();
    notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
    let mut dead_after = 0;
    for hour in 0..100 {
        if pass(&cloud).await.sent.dead > 0 {
            dead_after = hour;
            break;
        }
        cloud.clock.advance(Duration::from_hours(1));
    }
    assert_eq!(dead_after, 72);
    let mails = outbox(&cloud).await;
    assert!(mails[0].last_error.as_ref().unwrap().starts_with("given up after its last try: "), "{mails:?}");
}

#[tokio::test]
async fn a_mail_taken_without_an_answer_is_sent_once_more_under_the_same_id() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = cloud_with_mail(database, &server, alice).await;
        server.set(|script| script.silent = 1);
        notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
        assert_eq!(pass(&cloud).await.sent.deferred, 1);
        cloud.clock.advance(Duration::from_mins(1));
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        cloud.clock.advance(Duration::from_hours(1));
        assert_eq!(pass(&cloud).await, MailSummary::default());
        let taken = server.taken();
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[0].text, taken[1].text, "the same mail to the byte, its Message-ID included");
    })
    .await;
}

#[tokio::test]
async fn a_sender_that_died_after_the_servers_yes_costs_one_repeat_with_the_same_id() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = cloud_with_mail(database, &server, alice).await;
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        // A pass by hand up to where the process dies: claimed, committed, handed over, and no word of it.
        let settings = mail::settings(&cloud.app);
        let now = cloud.clock.now();
        bursar::notify::queue(&cloud.app.store, &settings, cloud.app.random.as_ref(), Looked::AtAll, now)
            .await
            .unwrap();
        let mut tx = cloud.app.store.begin().await.unwrap();
        let ends = now.plus(Duration::from_mins(2));
        let claimed = rows::claim_mail(&mut tx, "the dead one", ends, now).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let mut connection = Connection::open(&settings).await.unwrap();
        assert!(matches!(connection.send(&claimed).await.unwrap(), Outcome::Accepted(_)));
        drop(connection);
        cloud.restart().await;

        assert_eq!(pass(&cloud).await, MailSummary::default(), "the claim of the dead still stands");
        cloud.clock.advance(Duration::from_mins(3));
        assert_eq!(pass(&cloud).await.sent.sent, 1);
        assert_eq!(pass(&cloud).await, MailSummary::default());
        let taken = server.taken();
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[0].header("Message-ID"), taken[1].header("Message-ID"));
        assert_eq!(arrived(&cloud, warning).await, Some(cloud.clock.now()));
    })
    .await;
}

#[tokio::test]
async fn mails_of_a_time_when_the_clock_was_days_ahead_go_out_once_it_is_right() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = cloud_with_mail(database, &server, alice).await;
        let right = cloud.clock.now();
        cloud.clock.advance(Duration::from_hours(67));
        // The first is put off, the second is claimed by a process that dies, the third is not tried.
        server.set(|script| script.silent = 1);
        notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
        assert_eq!(pass(&cloud).await.sent.deferred, 1);
        let settings = mail::settings(&cloud.app);
        for event in ["used-90", "used-100"] {
            notice(&cloud, "alice", event, "More of your credit is used.").await;
            let random = cloud.app.random.as_ref();
            bursar::notify::queue(&cloud.app.store, &settings, random, Looked::AtAll, cloud.clock.now()).await.unwrap();
            if event == "used-90" {
                let mut tx = cloud.app.store.begin().await.unwrap();
                let ends = cloud.clock.now().plus(Duration::from_mins(2));
                assert!(rows::claim_mail(&mut tx, "the dead one", ends, cloud.clock.now()).await.unwrap().is_some());
                tx.commit().await.unwrap();
            }
        }
        cloud.clock.set(right);
        assert_eq!(pass(&cloud).await.sent.sent, 3);
        assert_eq!(pass(&cloud).await, MailSummary::default());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_senders_at_once_send_each_mail_once() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let names: Vec<String> = (0..12).map(|number| format!("tenant{number:02}")).collect();
        let cloud = cloud_with_mail(database, &server, |world| {
            for name in &names {
                tenant(world, name);
            }
        })
        .await;
        for name in &names {
            notice(&cloud, name, "used-80", "80 % of your credit is used.").await;
        }
        // Long enough that both are always at one.
        server.set(|script| script.thinking = Duration::from_millis(30));
        let settings = mail::settings(&cloud.app);
        let sender = async |holder: &str| {
            let now = cloud.clock.now();
            // Both make the mails, too.
            let random = cloud.app.random.as_ref();
            bursar::notify::queue(&cloud.app.store, &settings, random, Looked::AtAll, now).await.unwrap();
            let sender = Sender {
                store: &cloud.app.store,
                settings: &settings,
                clock: &cloud.clock,
                random,
                holder,
                stop: CancellationToken::new(),
            };
            send_due(&sender).await.unwrap().sent
        };
        let (one, two) = tokio::join!(sender("one"), sender("two"));
        assert_eq!(one + two, 12);
        assert!(one > 0 && two > 0, "both were at work: {one} and {two}");
        let mut to: Vec<String> = server.taken().into_iter().map(|mail| mail.to).collect();
        to.sort();
        assert_eq!(to, names.iter().map(|name| format!("{name}@example.com")).collect::<Vec<_>>());
    })
    .await;
}

/// The clock of a sender that stands still right after it has claimed its first mail, and is told to stop after that one.
struct StandsStill<'a> {
    clock: &'a ManualClock,
    looks: AtomicU32,
    lasts: Duration,
    stop: CancellationToken,
}

impl Clock for StandsStill<'_> {
    fn now(&self) -> Timestamp {
        // It claims with the first look.
        if self.looks.fetch_add(1, Ordering::SeqCst) == 1 {
            self.clock.advance(self.lasts);
            self.stop.cancel();
        }
        self.clock.now()
    }
}

#[tokio::test]
async fn a_sender_that_stood_still_until_its_claim_was_about_to_end_leaves_the_mail_to_others() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let cloud = cloud_with_mail(database, &server, alice).await;
        let settings = mail::settings(&cloud.app);
        let random = cloud.app.random.as_ref();
        // A claim lasts for 80 seconds, and a mail may take 10.
        for (event, lasts) in [("used-80", Duration::from_secs(75)), ("used-90", Duration::from_hours(1))] {
            notice(&cloud, "alice", event, "Much of your credit is used.").await;
            let now = cloud.clock.now();
            bursar::notify::queue(&cloud.app.store, &settings, random, Looked::AtAll, now).await.unwrap();
            let before = server.taken().len();
            let stop = CancellationToken::new();
            let clock = StandsStill { clock: &cloud.clock, looks: AtomicU32::new(0), lasts, stop: stop.clone() };
            let (store, holder) = (&cloud.app.store, "the one that stood still");
            let sender = Sender { store, settings: &settings, clock: &clock, random, holder, stop };
            let sent = send_due(&sender).await.unwrap();
            assert_eq!((sent.sent, sent.deferred, sent.dead, sent.stopped), (0, 0, 0, None));
            assert_eq!(server.taken().len(), before, "{event} on {}", cloud.database.kind);
            cloud.clock.advance(Duration::from_mins(1));
            assert_eq!(pass(&cloud).await.sent.sent, 1);
            assert_eq!(server.taken().len(), before + 1);
        }
    })
    .await;
}

#[tokio::test]
async fn warnings_given_up_in_a_long_outage_go_out_once_the_server_takes_mail_again() {
    on_each_database(|database| async {
        let mut server = MailServer::start_apart();
        let cloud = cloud_with_mail(database, &server, |world| {
            for name in ["alice", "bob", "carol"] {
                tenant(world, name);
            }
        })
        .await;
        let refused = (550, "no such user".to_owned());
        server.set(|script| drop(script.recipients.insert("bob@example.com".to_owned(), refused)));
        notice(&cloud, "bob", WARNING, SENTENCE).await;
        assert_eq!(pass(&cloud).await.sent.dead, 1);
        pass(&cloud).await;
        server.stop();
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        notice(&cloud, "carol", "used-80", "80 % of your credit is used.").await;
        let mut dead = 0;
        for _ in 0..80 {
            dead += pass(&cloud).await.sent.dead;
            cloud.clock.advance(Duration::from_hours(1));
        }
        assert_eq!(dead, 2);
        let states_of = async || {
            let mails = outbox(&cloud).await;
            ["alice@", "bob@", "carol@"].map(|name| {
                let of: Vec<_> = mails.iter().filter(|mail| mail.recipient.starts_with(name)).collect();
                assert_eq!(of.len(), 1, "{mails:?}");
                of[0].state.clone()
            })
        };
        assert_eq!(states_of().await, ["dead", "dead", "dead"]);
        server.come_back();
        // The word to the administrators, which waits, shows that mail is taken again.
        for _ in 0..3 {
            cloud.clock.advance(Duration::from_hours(1));
            pass(&cloud).await;
        }
        assert_eq!(states_of().await, ["sent", "dead", "dead"]);
        assert!(arrived(&cloud, warning).await.is_some());
        assert_eq!(server.subjects().iter().filter(|subject| subject.starts_with("alice@")).count(), 1);
        assert_eq!(pass(&cloud).await, MailSummary::default());
    })
    .await;
}
