//! Warnings and the steps that they are of: from when on they count, what takes them back, and after what they are not sent any more.

use bursar::{
    enforcement::{
        EnforceReport,
        terms::{self, Whom, Word},
    },
    ids::CloudId,
    ledger::{booking::Cause, payers},
    standin::{AccountKind, Options},
};

use super::*;
use crate::harness::on_each_database;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// What is decided while the lock has its date and that has not come.
const WAITS: (&str, &str) = ("keep", "lock-is-due");
/// What is decided once it has.
const LOCKS: (&str, &str) = ("lock", "lock-date-reached");

/// A machine that runs in an account.
fn runs_a_machine(world: &mut World, account: CloudId) {
    let small = world.find_offering("Small Instance").unwrap();
    let now = world.now();
    world.deploy_vm(account, "machine", small, now);
}

/// Tenants with a machine each.
fn tenants(world: &mut World, names: &[&str]) {
    for name in names {
        let account = tenant(world, name);
        runs_a_machine(world, account);
    }
}

/// A cloud where notices and locks are armed, and mail is switched off.
async fn armed(database: Database, build: impl FnOnce(&mut World)) -> Cloud {
    let at_once = |options: &mut Options| options.job_delay_polls = 0;
    let mut cloud = Cloud::start_tuned(database, NOVEMBER, at_once, build).await;
    for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100")] {
        cloud.env.insert(format!("BURSAR_{key}"), value.to_owned());
    }
    cloud.restart().await;
    cloud.arm(&["notify", "lock"]).await;
    cloud
}

/// The same with mail by a server.
async fn armed_with_mail(database: Database, server: &MailServer, build: impl FnOnce(&mut World)) -> Cloud {
    set_up(armed(database, build).await, &settings(server, "none")).await
}

/// From now on the server puts off what is for these.
fn put_off(server: &MailServer, names: &[&str]) {
    server.set(|script| {
        for name in names {
            let answer = (450, "4.2.0 greylisted, come back later".to_owned());
            script.recipients.insert(format!("{name}@example.com"), answer);
        }
    });
}

/// From now on the server takes everything.
fn takes_all(server: &MailServer) {
    server.set(|script| script.recipients.clear());
}

/// These are over a tiny limit from now on, and warned of the lock. Gives since when.
async fn over(cloud: &Cloud, names: &[&str]) -> Timestamp {
    cloud.pass(HOUR);
    cloud.round().await;
    for name in names {
        cloud.limit(name, "0.05").await;
    }
    cloud.pass(HOUR);
    cloud.round().await;
    cloud.clock.now()
}

/// Lets time pass until an instant, with usage up to then, and enforces.
async fn run_at(cloud: &Cloud, at: Timestamp) -> EnforceReport {
    cloud.pass(at.since(cloud.clock.now()));
    cloud.catch_up().await;
    cloud.enforce().await
}

/// Outcome and reason of an account in a report.
fn decided(report: &EnforceReport, account: &str) -> (&'static str, &'static str) {
    let line = report.decisions.iter().find(|line| line.account == account).unwrap();
    (line.outcome, line.reason)
}

/// The newest warning of a lock that an account was given in earnest: its number and its date.
async fn warned(cloud: &Cloud, name: &str) -> (i64, Timestamp) {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    let notices = enforcement::list_notices(&mut tx, Some(account.id), 50).await.unwrap();
    let is_one = |notice: &&enforcement::NoticeRow| notice.dry_run == 0 && notice.event.starts_with("warning-lock-");
    let newest = notices.iter().find(is_one).unwrap();
    (newest.id, Timestamp::from_ms(newest.acts_at_ms.unwrap()))
}

/// The states of the mails that warn somebody of a lock, oldest first.
async fn lock_warnings(cloud: &Cloud, recipient: &str) -> Vec<String> {
    let mails = outbox(cloud).await;
    let to_them = mails.into_iter().filter(|mail| mail.kind == "warning-lock" && mail.recipient == recipient);
    to_them.map(|mail| mail.state).collect()
}

/// How many warnings stand for an account, as its page shows them.
async fn standing(cloud: &Cloud, name: &str) -> usize {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    rows::list_standing_warnings(&mut tx, account.id).await.unwrap().len()
}

/// Somebody of the account sees a warning on its page.
async fn sees(cloud: &Cloud, name: &str, warning: i64) {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.begin().await.unwrap();
    assert!(rows::put_notice_seen(&mut tx, account.id, warning, cloud.clock.now()).await.unwrap());
    tx.commit().await.unwrap();
}

// From when on they count where mail is switched off.

#[tokio::test]
async fn once_mail_is_switched_off_a_warning_that_reached_nobody_counts_from_then_and_another_from_its_arrival() {
    on_each_database(|database| async {
        let server = MailServer::start();
        put_off(&server, &["alice", "bob"]);
        let mut cloud = armed_with_mail(database, &server, |world| tenants(world, &["alice", "bob"])).await;
        let since = over(&cloud, &["alice", "bob"]).await;
        assert_eq!(warned(&cloud, "bob").await.1, since.plus(3 * DAY));
        pass(&cloud).await;
        run_at(&cloud, since.plus(36 * HOUR)).await;
        server.set(|script| drop(script.recipients.remove("alice@example.com")));
        pass(&cloud).await;
        let states = [lock_warnings(&cloud, "alice@example.com").await, lock_warnings(&cloud, "bob@example.com").await];
        assert_eq!(states, [["sent"], ["open"]]);
        run_at(&cloud, since.plus(2 * DAY)).await;
        cloud.reconfigure("MAIL_TRANSPORT", "off").await;
        pass(&cloud).await;
        // Both dates come, and neither was given two days with the warning: alice has had a day and a half, and bob a day.
        for at in [since.plus(3 * DAY), since.plus(84 * HOUR).minus(SECOND)] {
            let report = run_at(&cloud, at).await;
            for name in ["ROOT/alice", "ROOT/bob"] {
                assert_eq!(decided(&report, name), WAITS, "{name} at {at} on {}", cloud.database.kind);
            }
        }
        let report = run_at(&cloud, since.plus(84 * HOUR)).await;
        assert_eq!((decided(&report, "ROOT/alice"), decided(&report, "ROOT/bob")), (LOCKS, WAITS));
        let report = run_at(&cloud, since.plus(4 * DAY).minus(SECOND)).await;
        assert_eq!(decided(&report, "ROOT/bob"), WAITS, "on {}", cloud.database.kind);
        let report = run_at(&cloud, since.plus(4 * DAY)).await;
        assert_eq!(decided(&report, "ROOT/bob"), LOCKS, "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn where_no_server_runs_a_run_of_enforcement_notes_that_mail_was_switched_off() {
    on_each_database(|database| async {
        let server = MailServer::start();
        put_off(&server, &["bob"]);
        let mut cloud = armed_with_mail(database, &server, |world| tenants(world, &["alice", "bob"])).await;
        let since = over(&cloud, &["alice", "bob"]).await;
        pass(&cloud).await;
        cloud.reconfigure("MAIL_TRANSPORT", "off").await;
        // No mail pass has looked since.
        let report = run_at(&cloud, since.plus(3 * DAY)).await;
        assert_eq!(decided(&report, "ROOT/alice"), LOCKS, "hers had arrived before");
        assert_eq!(decided(&report, "ROOT/bob"), WAITS, "on {}", cloud.database.kind);
        // That run has noted it: no server has to.
        let report = run_at(&cloud, since.plus(5 * DAY).minus(SECOND)).await;
        assert_eq!(decided(&report, "ROOT/bob"), WAITS, "on {}", cloud.database.kind);
        let report = run_at(&cloud, since.plus(5 * DAY)).await;
        assert_eq!(decided(&report, "ROOT/bob"), LOCKS, "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn a_warning_that_was_recorded_while_mail_was_off_counts_from_its_recording() {
    for from_the_start in [true, false] {
        on_each_database(|database| async {
            let server = MailServer::start();
            let mut cloud = armed(database, |world| tenants(world, &["bob"])).await;
            if !from_the_start {
                cloud = set_up(cloud, &settings(&server, "none")).await;
                cloud.reconfigure("MAIL_TRANSPORT", "off").await;
            }
            pass(&cloud).await;
            let since = over(&cloud, &["bob"]).await;
            pass(&cloud).await;
            let report = run_at(&cloud, since.plus(3 * DAY).minus(SECOND)).await;
            assert_eq!(decided(&report, "ROOT/bob"), WAITS, "{from_the_start}");
            pass(&cloud).await;
            let report = run_at(&cloud, since.plus(3 * DAY)).await;
            assert_eq!(decided(&report, "ROOT/bob"), LOCKS, "{from_the_start} on {}", cloud.database.kind);
        })
        .await;
    }
}

// What takes them back.

#[tokio::test]
async fn disarming_takes_back_what_reached_nobody_and_arming_again_warns_anew() {
    on_each_database(|database| async {
        let server = MailServer::start();
        put_off(&server, &["bob"]);
        let mut cloud = armed_with_mail(database, &server, |world| {
            tenants(world, &["alice", "bob"]);
            let root = world.find_domain("ROOT").unwrap();
            let mute = world.add_account(root, "mute", AccountKind::User);
            world.add_user(mute, "mute", "password-of-a-tenant", "mute@invalid.example");
            runs_a_machine(world, mute);
        })
        .await;
        let since = over(&cloud, &["alice", "bob", "mute"]).await;
        pass(&cloud).await;
        let first = warned(&cloud, "bob").await;
        assert_eq!(lock_warnings(&cloud, "bob@example.com").await, ["open"]);
        assert_eq!(lock_warnings(&cloud, "alice@example.com").await, ["sent"]);
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(policy::disarm(&mut tx, "lock", "").await.unwrap());
        tx.commit().await.unwrap();
        run_at(&cloud, since.plus(DAY)).await;
        assert_eq!([standing(&cloud, "bob").await, standing(&cloud, "mute").await], [0, 0]);
        assert_eq!(standing(&cloud, "alice").await, 1, "what was heard can not be unsaid");
        // Neither goes out any more: not to who would take it now, and not to an address that comes later.
        takes_all(&server);
        cloud.reconfigure("MAIL_RECIPIENTS", "ROOT/mute=owner@example.com").await;
        pass(&cloud).await;
        assert_eq!(lock_warnings(&cloud, "bob@example.com").await, ["dropped"]);
        assert_eq!(lock_warnings(&cloud, "owner@example.com").await, Vec::<String>::new());

        put_off(&server, &["bob"]);
        cloud.pass(DAY);
        cloud.catch_up().await;
        cloud.arm(&["lock"]).await;
        let report = cloud.enforce().await;
        for name in ["ROOT/bob", "ROOT/mute"] {
            assert_eq!(decided(&report, name), ("warn", "lock-is-due"), "{name} on {}", cloud.database.kind);
        }
        assert_eq!(decided(&report, "ROOT/alice"), WAITS);
        let anew = warned(&cloud, "bob").await;
        assert!(anew.0 > first.0);
        assert_eq!((first.1, anew.1), (since.plus(3 * DAY), since.plus(4 * DAY)));
        pass(&cloud).await;
        assert_eq!(lock_warnings(&cloud, "bob@example.com").await, ["dropped", "open"]);
        assert_eq!(lock_warnings(&cloud, "owner@example.com").await, ["sent"]);
        let report = run_at(&cloud, first.1).await;
        assert_eq!(decided(&report, "ROOT/alice"), LOCKS, "her warning of before counts, on {}", cloud.database.kind);
        assert_eq!((decided(&report, "ROOT/bob"), decided(&report, "ROOT/mute")), (WAITS, WAITS));
        let report = run_at(&cloud, anew.1).await;
        assert_eq!(decided(&report, "ROOT/mute"), LOCKS);
        assert_eq!(decided(&report, "ROOT/bob"), ("wait", "warning-not-arrived"), "on {}", cloud.database.kind);
        takes_all(&server);
        pass(&cloud).await;
        assert_eq!(arrived(&cloud, anew.0).await, Some(anew.1));
        let report = run_at(&cloud, anew.1.plus(2 * DAY).minus(SECOND)).await;
        assert_eq!(decided(&report, "ROOT/bob"), WAITS);
        assert_eq!(decided(&run_at(&cloud, anew.1.plus(2 * DAY)).await, "ROOT/bob"), LOCKS);
    })
    .await;
}

#[tokio::test]
async fn leaving_somebody_alone_without_notices_takes_back_what_reached_nobody() {
    on_each_database(|database| async {
        let server = MailServer::start();
        put_off(&server, &["bob"]);
        let cloud = armed_with_mail(database, &server, |world| tenants(world, &["alice", "bob"])).await;
        let since = over(&cloud, &["alice", "bob"]).await;
        pass(&cloud).await;
        let says = |now| Word { author: "carol", reason: "a migration", now };
        let leave_alone = async |no_notices: bool| {
            for name in ["alice", "bob"] {
                let account = cloud.account(name).await;
                let (now, until) = (cloud.clock.now(), since.plus(2 * DAY));
                let mut tx = cloud.app.store.begin().await.unwrap();
                let whom = Whom::Account(&account);
                terms::leave_alone(&mut tx, whom, until, no_notices, says(now)).await.unwrap();
                tx.commit().await.unwrap();
            }
            cloud.enforce().await;
            cloud.clock.advance(HOUR);
            pass(&cloud).await;
        };
        // Notices are given all the same.
        leave_alone(false).await;
        assert_eq!(lock_warnings(&cloud, "bob@example.com").await, ["open"]);
        leave_alone(true).await;
        assert_eq!(lock_warnings(&cloud, "bob@example.com").await, ["dropped"], "on {}", cloud.database.kind);
        assert_eq!([standing(&cloud, "alice").await, standing(&cloud, "bob").await], [1, 0]);
        takes_all(&server);
        pass(&cloud).await;
        assert_eq!(lock_warnings(&cloud, "bob@example.com").await, ["dropped"]);
        cloud.pass(since.plus(36 * HOUR).since(cloud.clock.now()));
        cloud.catch_up().await;
        for name in ["alice", "bob"] {
            let account = cloud.account(name).await;
            let mut tx = cloud.app.store.begin().await.unwrap();
            let whom = Whom::Account(&account);
            assert!(terms::end_leave_alone(&mut tx, whom, says(cloud.clock.now())).await.unwrap());
            tx.commit().await.unwrap();
        }
        let report = cloud.enforce().await;
        assert_eq!(decided(&report, "ROOT/alice"), WAITS);
        assert_eq!(decided(&report, "ROOT/bob"), ("warn", "lock-is-due"), "on {}", cloud.database.kind);
        let dates = [warned(&cloud, "alice").await.1, warned(&cloud, "bob").await.1];
        assert_eq!(dates, [since.plus(3 * DAY), since.plus(84 * HOUR)]);
    })
    .await;
}

#[tokio::test]
async fn no_warning_of_a_payer_stands_once_its_account_belongs_to_a_customer() {
    on_each_database(|database| async {
        let server = MailServer::start();
        put_off(&server, &["alice"]);
        let cloud = cloud_with_mail(database, &server, |world| {
            for name in ["alice", "bob"] {
                tenant(world, name);
            }
        })
        .await;
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        assert_eq!(pass(&cloud).await.sent.deferred, 1);
        assert_eq!(standing(&cloud, "alice").await, 1);
        let accounts = [cloud.account("alice").await, cloud.account("bob").await];
        let mut tx = cloud.app.store.begin().await.unwrap();
        let defaults = (cloud.app.default_limit(), cloud.app.tax().unwrap());
        let terms = payers::JoinTerms { defaults, limit: Some(None), zone: chrono_tz::UTC };
        let cause = Cause { key: "join", author: "carol", reason: "one customer" };
        payers::join(&mut tx, &accounts, "Alice Ltd", terms, cause, cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(standing(&cloud, "alice").await, 0, "on {}", cloud.database.kind);
        takes_all(&server);
        cloud.clock.advance(HOUR);
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.dropped, summary.sent.sent), (1, 0), "{summary:?}");
        assert_eq!(states(&cloud).await, ["alice@example.com dropped"]);
        assert_eq!(arrived(&cloud, warning).await, None);
    })
    .await;
}

// After what they are not sent any more.

#[tokio::test]
async fn a_warning_of_a_lock_is_not_sent_to_the_second_one_once_the_account_was_locked() {
    on_each_database(|database| async {
        let server = MailServer::start();
        put_off(&server, &["bob"]);
        let mut cloud = armed_with_mail(database, &server, |world| {
            let account = tenant(world, "alice");
            world.add_user(account, "bob", "password-of-a-tenant", "bob@example.com");
            runs_a_machine(world, account);
        })
        .await;
        // Before the mail would be given up.
        cloud.reconfigure("POLICY_LOCK_AFTER_DAYS", "2").await;
        let since = over(&cloud, &["alice"]).await;
        pass(&cloud).await;
        assert_eq!(lock_warnings(&cloud, "alice@example.com").await, ["sent"]);
        assert_eq!(run_at(&cloud, since.plus(2 * DAY)).await.locked, ["ROOT/alice"]);
        assert_eq!(standing(&cloud, "alice").await, 1, "the account is over its limit as before");
        takes_all(&server);
        pass(&cloud).await;
        assert_eq!(lock_warnings(&cloud, "bob@example.com").await, ["dropped"], "on {}", cloud.database.kind);
        let to_bob: Vec<String> =
            server.subjects().into_iter().filter(|subject| subject.starts_with("bob@example.com: ")).collect();
        assert_eq!(to_bob, ["bob@example.com: Billing: Your account is locked (alice)"]);
    })
    .await;
}

/// Of what was warned, what was done then, and whether the warning is true no longer.
const DONE_SINCE: [(&str, &str, bool); 9] = [
    ("restrict", "restricted", true),
    ("restrict", "locked", true),
    ("restrict", "stopped", true),
    ("lock", "restricted", false),
    ("lock", "locked", true),
    ("lock", "stopped", true),
    ("stop", "restricted", false),
    ("stop", "locked", false),
    ("stop", "stopped", true),
];

#[tokio::test]
async fn a_warning_is_true_until_its_step_or_a_higher_one_was_taken() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let names = DONE_SINCE.map(|(warned, done, _)| format!("{warned}-{done}"));
        let cloud = cloud_with_mail(database, &server, |world| {
            for name in &names {
                tenant(world, name);
            }
        })
        .await;
        put_off(&server, &names.each_ref().map(String::as_str));
        for (name, (warned, _, _)) in names.iter().zip(DONE_SINCE) {
            notice(&cloud, name, &format!("warning-{warned}-1793487600"), "It will be done.").await;
        }
        assert_eq!(pass(&cloud).await.sent.deferred, 9);
        for (name, (_, done, _)) in names.iter().zip(DONE_SINCE) {
            notice(&cloud, name, &format!("{done}-a1"), "It was done.").await;
        }
        takes_all(&server);
        cloud.clock.advance(HOUR);
        let summary = pass(&cloud).await;
        assert_eq!((summary.queued.dropped, summary.sent.sent), (6, 12), "{summary:?}");
        let mails = outbox(&cloud).await;
        for (name, (warned, done, is_dropped)) in names.iter().zip(DONE_SINCE) {
            let (kind, to) = (format!("warning-{warned}"), format!("{name}@example.com"));
            let mail = mails.iter().find(|mail| mail.kind == kind && mail.recipient == to).unwrap();
            let state = if is_dropped { "dropped" } else { "sent" };
            assert_eq!(mail.state, state, "{warned}, {done} on {}", cloud.database.kind);
        }
    })
    .await;
}

#[tokio::test]
async fn a_warning_that_was_seen_on_the_page_is_not_tried_again_after_an_outage() {
    on_each_database(|database| async {
        let mut server = MailServer::start_apart();
        let cloud = cloud_with_mail(database, &server, |world| {
            for name in ["alice", "bob"] {
                tenant(world, name);
            }
        })
        .await;
        server.stop();
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        notice(&cloud, "bob", WARNING, SENTENCE).await;
        let mut dead = 0;
        for _ in 0..80 {
            dead += pass(&cloud).await.sent.dead;
            cloud.clock.advance(HOUR);
        }
        assert_eq!(dead, 2);
        sees(&cloud, "alice", warning).await;
        server.come_back();
        // The word to the administrators, which waits, shows that mail is taken again.
        for _ in 0..3 {
            cloud.clock.advance(HOUR);
            pass(&cloud).await;
        }
        assert_eq!(lock_warnings(&cloud, "bob@example.com").await, ["sent"]);
        assert_eq!(lock_warnings(&cloud, "alice@example.com").await, ["dead"], "on {}", cloud.database.kind);
        assert_eq!(arrived(&cloud, warning).await, None);
    })
    .await;
}

#[tokio::test]
async fn a_warning_that_was_seen_on_the_page_is_not_sent_to_a_corrected_address() {
    on_each_database(|database| async {
        let server = MailServer::start();
        let mut cloud = cloud_with_mail(database, &server, |world| {
            for name in ["alice", "bob"] {
                tenant(world, name);
            }
        })
        .await;
        for name in ["alice", "bob"] {
            let refused = (550, "no such user".to_owned());
            server.set(|script| drop(script.recipients.insert(format!("{name}@example.com"), refused)));
        }
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        notice(&cloud, "bob", WARNING, SENTENCE).await;
        assert_eq!(pass(&cloud).await.sent.dead, 2);
        pass(&cloud).await;
        sees(&cloud, "alice", warning).await;
        cloud.reconfigure("MAIL_RECIPIENTS", "ROOT/alice=alice@example.org,ROOT/bob=bob@example.org").await;
        for _ in 0..2 {
            pass(&cloud).await;
        }
        assert_eq!(lock_warnings(&cloud, "bob@example.org").await, ["sent"]);
        assert_eq!(lock_warnings(&cloud, "alice@example.org").await, Vec::<String>::new(), "{}", cloud.database.kind);
    })
    .await;
}
