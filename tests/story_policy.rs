//! Which policy applies to whom, whom an administrator said to leave alone, and what the ladder remembers.

use std::time::Duration;

use bursar::{
    enforcement::{
        EnforceReport,
        terms::{self, Whom, Word},
    },
    jobs::mail,
    ledger::payers,
    notify::Looked,
    people::links::ask_more_time,
    standin::{Options, State, World},
    store::{enforcement as rows, notify, payers::PayerRow, policy},
    time::{Clock as _, Day, Timestamp},
};
use serde_json::Value;
use sqlx::Row as _;

use crate::{
    harness::{Cloud, Database, NOVEMBER, on_each_database, tenant},
    story_cli::bursar,
};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);

fn machines(world: &mut World, names: &[&str]) {
    for name in names {
        let account = tenant(world, name);
        let offering = world.find_offering("Small Instance").unwrap();
        let now = world.now();
        world.deploy_vm(account, "machine", offering, now);
    }
}

/// A cloud where notices and locks are armed.
async fn cloud(database: Database, names: &[&str]) -> Cloud {
    let at_once = |options: &mut Options| options.job_delay_polls = 0;
    let mut cloud = Cloud::start_tuned(database, NOVEMBER, at_once, |world| machines(world, names)).await;
    cloud.reconfigure("FUSE_ACCOUNTS", "50").await;
    cloud.reconfigure("FUSE_PERCENT", "100").await;
    arm(&cloud, &["notify", "lock"]).await;
    cloud
}

async fn arm(cloud: &Cloud, rungs: &[&str]) {
    let mut tx = cloud.app.store.begin().await.unwrap();
    for rung in rungs {
        policy::arm(&mut tx, rung, "", "test", cloud.clock.now()).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// Everybody named goes over a tiny limit.
async fn over(cloud: &Cloud, names: &[&str]) -> EnforceReport {
    cloud.pass(HOUR);
    cloud.round().await;
    for name in names {
        cloud.limit(name, "0.05").await;
    }
    cloud.pass(HOUR);
    cloud.round().await
}

async fn payer(cloud: &Cloud, name: &str) -> PayerRow {
    let mut tx = cloud.app.store.read().await.unwrap();
    payers::resolve(&mut tx, name).await.unwrap()
}

async fn set(cloud: &Cloud, name: &str, key: &str, value: &str, until: Option<Timestamp>) {
    let row = payer(cloud, name).await;
    let mut tx = cloud.app.store.begin().await.unwrap();
    let word = Word { author: "alice", reason: "a story", now: cloud.clock.now() };
    terms::set_value(&mut tx, &cloud.app.ladders(), &row, (key, value), until, word).await.unwrap();
    tx.commit().await.unwrap();
}

/// Outcome and reason of an account in a report, with what it waits for.
fn decided(report: &EnforceReport, account: &str) -> (&'static str, &'static str, Vec<String>) {
    let line = report.decisions.iter().find(|line| line.account == account).unwrap();
    (line.outcome, line.reason, line.waits_for.clone())
}

fn word(report: &EnforceReport, account: &str) -> (&'static str, &'static str) {
    let (outcome, reason, _) = decided(report, account);
    (outcome, reason)
}

/// The newest dated warning of an account: its event and its date.
async fn warning(cloud: &Cloud, name: &str) -> Option<(i64, String, Timestamp)> {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    let notices = rows::list_notices(&mut tx, Some(account.id), 50).await.unwrap();
    notices
        .into_iter()
        .filter(|notice| notice.dry_run == 0)
        .find_map(|notice| Some((notice.id, notice.event, Timestamp::from_ms(notice.acts_at_ms?))))
}

/// Moves the clock to an instant, with usage up to then.
async fn move_to(cloud: &Cloud, at: Timestamp) -> EnforceReport {
    let now = cloud.clock.now();
    cloud.pass(at.since(now));
    cloud.catch_up().await;
    cloud.enforce().await
}

/// The decisions about an account as they are stored, oldest first: outcome, reason and when.
async fn stored(cloud: &Cloud, name: &str) -> Vec<(String, String, Timestamp)> {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    let decisions = rows::list_decisions(&mut tx, account.id, 100).await.unwrap();
    decisions.into_iter().rev().map(|row| (row.outcome, row.reason, Timestamp::from_ms(row.decided_ms))).collect()
}

#[tokio::test]
async fn class_and_a_value_of_its_own_decide_for_a_payer() {
    on_each_database(async |database| {
        let mut cloud = cloud(database, &["alice", "bob", "carol"]).await;
        let file = cloud.database.folder.path().join("bursar.toml");
        std::fs::write(&file, "[class.gold]\nlock_after_days = 14\n").unwrap();
        cloud.reconfigure("CONFIG", &file.display().to_string()).await;
        cloud.pass(HOUR);
        cloud.round().await;
        let bob = payer(&cloud, "bob").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let cause = bursar::ledger::booking::Cause { key: "class", author: "alice", reason: "a story" };
        payers::set_class(&mut tx, bob.id, Some("gold"), cause, cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        set(&cloud, "carol", "lock_after_days", "30", None).await;
        set(&cloud, "carol", "warning_hours", "100", Some(cloud.clock.now().plus(DAY * 90))).await;
        over(&cloud, &["alice", "bob", "carol"]).await;
        let since = cloud.clock.now();
        for (name, days) in [("alice", 3), ("bob", 14), ("carol", 30)] {
            assert_eq!(
                warning(&cloud, name).await.unwrap().2,
                since.plus(DAY * days),
                "{name} on {}",
                cloud.database.kind
            );
        }
        // What is set until a date is forgotten then: the class or the default applies again.
        let now = cloud.clock.now();
        set(&cloud, "carol", "lock_after_days", "60", Some(now.plus(DAY))).await;
        let report = move_to(&cloud, since.plus(DAY * 3)).await;
        assert_eq!(word(&report, "ROOT/alice"), ("lock", "lock-date-reached"));
        assert_eq!(word(&report, "ROOT/bob"), ("keep", "lock-is-due"));
        assert_eq!(word(&report, "ROOT/carol"), ("keep", "lock-is-due"), "the date that was named holds");
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn nobody_of_a_class_that_the_configuration_does_not_know_is_taken_down_until_it_does() {
    on_each_database(async |database| {
        let mut cloud = cloud(database, &["alice", "bob"]).await;
        over(&cloud, &["alice", "bob"]).await;
        let bob = payer(&cloud, "bob").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let cause = bursar::ledger::booking::Cause { key: "class", author: "alice", reason: "a story" };
        payers::set_class(&mut tx, bob.id, Some("gold"), cause, cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let due = warning(&cloud, "bob").await.unwrap().2;
        let report = move_to(&cloud, due).await;
        assert_eq!(report.locked, ["ROOT/alice"], "on {}: {report:?}", cloud.database.kind);
        let (outcome, reason, waits) = decided(&report, "ROOT/bob");
        assert_eq!((outcome, reason), ("wait", "held-back"), "on {}", cloud.database.kind);
        assert!(waits.iter().any(|why| why.contains("no section [class.gold]")), "{waits:?}");
        let file = cloud.database.folder.path().join("bursar.toml");
        std::fs::write(&file, "[class.gold]\nlock_after_days = 3\n").unwrap();
        cloud.reconfigure("CONFIG", &file.display().to_string()).await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"], "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn a_value_that_holds_until_a_date_decides_nothing_from_that_date_on() {
    on_each_database(async |database| {
        let cloud = cloud(database, &["alice", "bob", "carol"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        let tomorrow = cloud.clock.now().plus(DAY);
        set(&cloud, "bob", "lock_after_days", "30", Some(tomorrow.plus(SECOND))).await;
        set(&cloud, "carol", "lock_after_days", "30", Some(tomorrow)).await;
        move_to(&cloud, tomorrow.minus(HOUR)).await;
        for name in ["alice", "bob", "carol"] {
            assert_eq!(warning(&cloud, name).await, None, "{name} is warned of nothing before the value ends");
            cloud.limit(name, "0.05").await;
        }
        // They are over the limit from the instant on at which carol's value ends; bob's ends a second later.
        move_to(&cloud, tomorrow).await;
        let (by_default, by_own) = (tomorrow.plus(DAY * 3), tomorrow.plus(DAY * 30));
        assert_ne!(by_default, by_own);
        for (name, named) in [("alice", by_default), ("bob", by_own), ("carol", by_default)] {
            assert_eq!(warning(&cloud, name).await.unwrap().2, named, "{name} on {}", cloud.database.kind);
        }
        let report = move_to(&cloud, by_default).await;
        assert_eq!(report.locked, ["ROOT/alice", "ROOT/carol"], "on {}: {report:?}", cloud.database.kind);
        assert_eq!(word(&report, "ROOT/bob"), ("keep", "lock-is-due"));
    })
    .await;
}

#[tokio::test]
async fn an_unchanged_decision_is_stored_once_a_day_and_a_changed_one_at_once() {
    on_each_database(async |database| {
        let cloud = cloud(database, &["bob"]).await;
        cloud.pass(HOUR);
        cloud.catch_up().await;
        cloud.limit("bob", "1000").await;
        let (first, second) = (cloud.clock.now(), cloud.clock.now().plus(DAY));
        let kept = |at| ("keep".to_owned(), "within-limit".to_owned(), at);
        // Five runs, each with other figures.
        cloud.enforce().await;
        for hours in 1..5 {
            move_to(&cloud, first.plus(HOUR * hours)).await;
        }
        assert_eq!(stored(&cloud, "bob").await, [kept(first)], "on {}", cloud.database.kind);
        move_to(&cloud, second.minus(SECOND)).await;
        assert_eq!(stored(&cloud, "bob").await, [kept(first)], "on {}", cloud.database.kind);
        for _ in 0..2 {
            move_to(&cloud, second).await;
            assert_eq!(stored(&cloud, "bob").await, [kept(first), kept(second)], "on {}", cloud.database.kind);
        }
        // What is decided changes: each change is a row of its own, in the run that finds it.
        cloud.limit("bob", "0.05").await;
        for _ in 0..3 {
            cloud.enforce().await;
        }
        let changed = |outcome: &str| (outcome.to_owned(), "lock-is-due".to_owned(), second);
        let wanted = [kept(first), kept(second), changed("warn"), changed("keep")];
        assert_eq!(stored(&cloud, "bob").await, wanted, "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn whoever_is_to_be_left_alone_is_until_the_date_and_given_back_nevertheless() {
    on_each_database(async |database| {
        let cloud = cloud(database, &["alice", "bob"]).await;
        over(&cloud, &["alice", "bob"]).await;
        let due = warning(&cloud, "bob").await.unwrap().2;
        let bob = cloud.account("bob").await;
        let says = |now| Word { author: "alice", reason: "a migration until Friday", now };
        let mut tx = cloud.app.store.begin().await.unwrap();
        let now = cloud.clock.now();
        for until in [due.plus(DAY), due.plus(DAY * 2)] {
            terms::leave_alone(&mut tx, Whom::Account(&bob), until, false, says(now)).await.unwrap();
        }
        for (until, said) in [(now, "not in the future"), (now.plus(DAY * 400), "a year at most")] {
            let refused = terms::leave_alone(&mut tx, Whom::Account(&bob), until, false, says(now)).await.unwrap_err();
            assert!(refused.to_string().contains(said), "{refused}");
        }
        assert_eq!(
            policy::list_exemptions(&mut tx, now).await.unwrap().len(),
            1,
            "a later word replaces an earlier one"
        );
        tx.commit().await.unwrap();
        let report = move_to(&cloud, due).await;
        assert_eq!(word(&report, "ROOT/alice"), ("lock", "lock-date-reached"));
        let (outcome, reason, waits) = decided(&report, "ROOT/bob");
        assert_eq!((outcome, reason), ("wait", "exempt"));
        assert!(waits[0].contains("says alice: a migration until Friday"), "{waits:?}");
        assert_eq!(word(&move_to(&cloud, due.plus(DAY * 2).minus(SECOND)).await, "ROOT/bob"), ("wait", "exempt"));
        assert_eq!(word(&move_to(&cloud, due.plus(DAY * 2)).await, "ROOT/bob"), ("lock", "lock-date-reached"));
        // Locked or not: whoever pays is opened, left alone or not.
        let mut tx = cloud.app.store.begin().await.unwrap();
        let now = cloud.clock.now();
        terms::leave_alone(&mut tx, Whom::Account(&bob), now.plus(DAY), true, says(now)).await.unwrap();
        tx.commit().await.unwrap();
        cloud.pay("bob", "100").await;
        assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"], "on {}", cloud.database.kind);
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(terms::end_leave_alone(&mut tx, Whom::Account(&bob), says(now)).await.unwrap());
        assert!(!terms::end_leave_alone(&mut tx, Whom::Account(&bob), says(now)).await.unwrap(), "it ended before");
        tx.commit().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_lock_waits_for_a_warning_that_arrived() {
    on_each_database(async |database| {
        let mut cloud = cloud(database, &["bob"]).await;
        // No mail is set up, which is another thing than mail that is switched off on purpose.
        cloud.reconfigure("MAIL_TRANSPORT", "").await;
        over(&cloud, &["bob"]).await;
        let (notice, _, due) = warning(&cloud, "bob").await.unwrap();
        let report = move_to(&cloud, due.plus(DAY)).await;
        assert_eq!(word(&report, "ROOT/bob"), ("wait", "warning-not-arrived"));
        let account = cloud.account("bob").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(notify::put_notice_unaddressed(&mut tx, notice, cloud.clock.now()).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(word(&cloud.enforce().await, "ROOT/bob"), ("wait", "no-address"));
        // bob reads it on his page: from then on it counts.
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(notify::put_notice_seen(&mut tx, account.id, notice, cloud.clock.now()).await.unwrap());
        tx.commit().await.unwrap();
        let seen = cloud.clock.now();
        let report = move_to(&cloud, seen.plus(DAY * 2).minus(SECOND)).await;
        assert_eq!(word(&report, "ROOT/bob"), ("keep", "lock-is-due"), "on {}", cloud.database.kind);
        assert_eq!(word(&move_to(&cloud, seen.plus(DAY * 2)).await, "ROOT/bob"), ("lock", "lock-date-reached"));
    })
    .await;
}

#[tokio::test]
async fn what_an_administrator_lifted_is_left_in_peace_and_warned_of_anew() {
    on_each_database(async |database| {
        let cloud = cloud(database, &["bob"]).await;
        over(&cloud, &["bob"]).await;
        let (_, first, due) = warning(&cloud, "bob").await.unwrap();
        assert_eq!(move_to(&cloud, due).await.locked, ["ROOT/bob"]);
        let bob = cloud.account("bob").await;
        let lifted = cloud.clock.now();
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(rows::lift_hold(&mut tx, bob.id, "billing", "alice", lifted).await.unwrap());
        tx.commit().await.unwrap();
        cloud.standin.with(|world| world.set_account_state(bob.cloud_id.parse().unwrap(), State::Enabled));
        let report = move_to(&cloud, lifted.plus(HOUR)).await;
        assert_eq!(word(&report, "ROOT/bob"), ("warn", "lock-is-due"));
        let (_, second, anew) = warning(&cloud, "bob").await.unwrap();
        assert_ne!(first, second);
        assert_eq!((second, anew), (format!("warning-lock-{}", lifted.as_seconds()), lifted.plus(DAY * 3)));
        assert_eq!(word(&move_to(&cloud, anew.minus(SECOND)).await, "ROOT/bob"), ("keep", "lock-is-due"));
        assert_eq!(word(&move_to(&cloud, anew).await, "ROOT/bob"), ("lock", "lock-date-reached"));
    })
    .await;
}

#[tokio::test]
async fn quiet_hours_are_those_of_the_tenants_own_clock() {
    on_each_database(async |database| {
        let cloud = cloud(database, &["alice", "bob"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        for name in ["alice", "bob"] {
            set(&cloud, name, "quiet_hours", "20:00-07:00", None).await;
        }
        set(&cloud, "bob", "time_zone", "America/New_York", None).await;
        over(&cloud, &["alice", "bob"]).await;
        // 03:00 in UTC on the third day is night for alice, and ten in the evening for bob.
        let night = Timestamp::parse("2026-11-04T03:00:00Z", chrono_tz::UTC).unwrap();
        for (name, named) in [("alice", "2026-11-04T07:00:00Z"), ("bob", "2026-11-04T12:00:00Z")] {
            let named = Timestamp::parse(named, chrono_tz::UTC).unwrap();
            assert_eq!(warning(&cloud, name).await.unwrap().2, named, "{name} on {}", cloud.database.kind);
        }
        assert_eq!(word(&move_to(&cloud, night).await, "ROOT/bob"), ("keep", "lock-is-due"));
        // A run that comes late finds night where bob is.
        let late = Timestamp::parse("2026-11-05T02:00:00Z", chrono_tz::UTC).unwrap();
        let report = move_to(&cloud, late).await;
        for name in ["ROOT/alice", "ROOT/bob"] {
            assert_eq!(word(&report, name), ("wait", "quiet-hours"), "{name}");
        }
        let morning = Timestamp::parse("2026-11-05T07:00:00Z", chrono_tz::UTC).unwrap();
        let report = move_to(&cloud, morning).await;
        assert_eq!(word(&report, "ROOT/alice"), ("lock", "lock-date-reached"));
        assert_eq!(word(&report, "ROOT/bob"), ("wait", "quiet-hours"));
    })
    .await;
}

#[tokio::test]
async fn the_accounts_of_a_customer_share_figures_and_stand_on_rungs_of_their_own() {
    on_each_database(async |database| {
        let cloud = cloud(database, &["bob", "carol"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        let accounts = [cloud.account("bob").await, cloud.account("carol").await];
        let mut tx = cloud.app.store.begin().await.unwrap();
        let cause = bursar::ledger::booking::Cause { key: "join", author: "alice", reason: "one customer" };
        let limit = Some(Some(bursar::money::Money::parse("0.05").unwrap()));
        let defaults = (cloud.app.default_limit(), cloud.app.tax().unwrap());
        let terms = payers::JoinTerms { defaults, limit, zone: chrono_tz::UTC };
        payers::join(&mut tx, &accounts, "Example Ltd", terms, cause, cloud.clock.now()).await.unwrap();
        let now = cloud.clock.now();
        let word_of = Word { author: "alice", reason: "a demonstration", now };
        terms::leave_alone(&mut tx, Whom::Account(&accounts[1]), now.plus(DAY * 30), false, word_of).await.unwrap();
        tx.commit().await.unwrap();
        cloud.pass(HOUR);
        cloud.round().await;
        let due = warning(&cloud, "bob").await.unwrap().2;
        let report = move_to(&cloud, due).await;
        assert_eq!(word(&report, "ROOT/bob"), ("lock", "lock-date-reached"), "on {}", cloud.database.kind);
        // carol's own warning names the day on which she is no longer left alone.
        assert_eq!(word(&report, "ROOT/carol"), ("keep", "lock-is-due"));
        assert_eq!(warning(&cloud, "carol").await.unwrap().2, now.plus(DAY * 30));
        assert_eq!(cloud.standing("bob").await.figures, cloud.standing("carol").await.figures);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_set_for_a_payer_that_went_into_a_customer() {
    on_each_database(async |database| {
        let cloud = cloud(database, &["bob", "carol"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        let former = payer(&cloud, "bob").await;
        let accounts = [cloud.account("bob").await, cloud.account("carol").await];
        let mut tx = cloud.app.store.begin().await.unwrap();
        let now = cloud.clock.now();
        let cause = bursar::ledger::booking::Cause { key: "join", author: "alice", reason: "one customer" };
        let limit = Some(Some(bursar::money::Money::parse("100").unwrap()));
        let defaults = (cloud.app.default_limit(), cloud.app.tax().unwrap());
        let terms_of = payers::JoinTerms { defaults, limit, zone: chrono_tz::UTC };
        payers::join(&mut tx, &accounts, "Example Ltd", terms_of, cause, now).await.unwrap();
        let joined = payers::resolve(&mut tx, &former.id.to_string()).await.unwrap();
        assert_eq!(joined.id, former.id);
        let word_of = Word { author: "alice", reason: "a story", now };
        let value = ("lock_after_days", "30");
        let refused = terms::set_value(&mut tx, &cloud.app.ladders(), &joined, value, None, word_of).await.unwrap_err();
        assert!(refused.to_string().contains("ROOT/bob went into a customer"), "{refused}");
        assert!(policy::list_overrides(&mut tx, Some(former.id), now).await.unwrap().is_empty());
        tx.commit().await.unwrap();
        set(&cloud, "Example Ltd", "lock_after_days", "30", None).await;
        let customer = payer(&cloud, "bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let values = policy::list_overrides(&mut tx, Some(customer.id), now).await.unwrap();
        assert_eq!(values.len(), 1, "on {}: {values:?}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn a_rung_that_is_not_armed_is_rehearsed_with_warnings_of_its_own() {
    on_each_database(async |database| {
        let cloud = cloud(database, &["bob"]).await;
        over(&cloud, &["bob"]).await;
        let due = warning(&cloud, "bob").await.unwrap().2;
        assert_eq!(move_to(&cloud, due).await.locked, ["ROOT/bob"]);
        // Stopping is not armed: its warning is rehearsed, and counts as if it had arrived.
        cloud.enforce().await;
        let account = cloud.account("bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let notices = rows::list_notices(&mut tx, Some(account.id), 50).await.unwrap();
        let stop = notices.iter().find(|notice| notice.event.starts_with("warning-stop-")).unwrap();
        assert_eq!(stop.dry_run, 1);
        drop(tx);
        let report = move_to(&cloud, Timestamp::from_ms(stop.acts_at_ms.unwrap())).await;
        assert_eq!(word(&report, "ROOT/bob"), ("stop", "stop-date-reached"));
        assert!(report.stopped.is_empty(), "only rehearsed, on {}", cloud.database.kind);
        // Once it is armed a warning has to be given in earnest.
        arm(&cloud, &["stop"]).await;
        assert_eq!(word(&cloud.enforce().await, "ROOT/bob"), ("warn", "stop-is-due"));
    })
    .await;
}

#[tokio::test]
async fn the_policy_is_shown_set_and_taken_back_at_the_command_line() {
    on_each_database(async |database| {
        let mut cloud = crate::story_cli::cloud(database).await;
        let file = cloud.database.folder.path().join("bursar.toml");
        std::fs::write(&file, "[class.gold]\nlock_after_days = 14\n").unwrap();
        cloud.reconfigure("CONFIG", &file.display().to_string()).await;
        cloud.catch_up().await;
        let env = cloud.env.clone();
        let value = |shown: &Value, key: &str| {
            let values = shown["values"].as_array().unwrap();
            let found = values.iter().find(|value| value["key"] == key).unwrap();
            (found["value"].as_str().unwrap().to_owned(), found["from"].as_str().unwrap().to_owned())
        };
        let default = bursar(&env, &["--json", "policy", "show"]).await.json();
        assert_eq!(value(&default, "lock_after_days"), ("3".to_owned(), "default".to_owned()));
        assert_eq!(value(&default, "stop_after_days"), ("10".to_owned(), "default".to_owned()));
        bursar(&env, &["policy", "class", "bob", "silver"]).await.refused(&["[class.silver]", "there are gold"]);
        assert_eq!(bursar(&env, &["policy", "class", "bob", "gold"]).await.code, 0);
        let set = ["policy", "set", "bob", "stop_enabled", "false", "--reason", "a school", "--until", "12w"];
        let said = bursar(&env, &set).await;
        assert!(said.out.starts_with("stop_enabled is false for ROOT/bob until 20"), "{}{}", said.out, said.err);
        let shown = bursar(&env, &["--json", "policy", "show", "bob"]).await.json();
        assert_eq!(value(&shown, "lock_after_days"), ("14".to_owned(), "class gold".to_owned()));
        let (stop, from) = value(&shown, "stop_enabled");
        assert!(stop == "false" && from.starts_with("cli:carol until ") && from.ends_with(": a school"), "{from}");
        for (arguments, words) in [
            (
                vec!["policy", "set", "bob", "lock_afterdays", "3", "--reason", "x"],
                vec!["no key lock_afterdays", "lock_after_days"],
            ),
            (
                vec!["policy", "set", "bob", "lock_after_days", "soon", "--reason", "x"],
                vec!["lock_after_days is soon and must be from 0 to 365"],
            ),
            (
                vec!["policy", "set", "bob", "lock_percent", "0", "--reason", "x"],
                vec!["contradicts", "lock has no threshold", "Nothing was changed"],
            ),
            (vec!["policy", "set", "bob", "lock_percent", "90", "--reason", " "], vec!["say why"]),
            (
                vec!["policy", "set", "bob", "lock_percent", "90", "--reason", "x", "--until", "friday"],
                vec!["no time", "3d"],
            ),
            (
                vec!["policy", "set", "bob", "lock_percent", "90", "--reason", "x", "--until", "2020-01-01"],
                vec!["not in the future"],
            ),
            (vec!["policy", "unset", "bob", "lock_percent"], vec!["no lock_percent is set for ROOT/bob"]),
            (vec!["account", "leave-alone", "bob", "--end"], vec!["nobody said to leave ROOT/bob alone"]),
        ] {
            bursar(&env, &arguments).await.refused(&words);
        }
        let alone = ["account", "leave-alone", "bob", "--until", "3d", "--reason", "a migration", "--no-notices"];
        let said = bursar(&env, &alone).await;
        assert!(
            said.out.starts_with("ROOT/bob is left alone until ") && said.out.contains("gets no notices"),
            "{}",
            said.out
        );
        let list = bursar(&env, &["--json", "policy", "list"]).await.json();
        assert_eq!(list["classes"][0]["class"], "gold");
        assert_eq!(
            (&list["values"][0]["key"], &list["left_alone"][0]["reason"]),
            (&"stop_enabled".into(), &"a migration".into())
        );
        let table = bursar(&env, &["policy", "list"]).await.out;
        for word in ["class gold", "stop_enabled = false", "left alone, no notices", "cli:carol: a migration"] {
            assert!(table.contains(word), "{word} is missing in {table}");
        }
        assert_eq!(bursar(&env, &["account", "leave-alone", "bob", "--end"]).await.code, 0);
        assert_eq!(bursar(&env, &["policy", "unset", "bob", "stop_enabled"]).await.code, 0);
        assert_eq!(bursar(&env, &["policy", "class", "bob", "none"]).await.code, 0);
        let list = bursar(&env, &["policy", "list"]).await.out;
        assert!(list.starts_with("The default applies to everybody"), "{list}");
        let audit = bursar(&env, &["--json", "audit", "ROOT/bob"]).await.json();
        let actions: Vec<&str> =
            audit.as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect();
        for action in ["policy.set", "policy.unset", "account.leave-alone", "account.leave-alone.end"] {
            assert!(actions.contains(&action), "{action} is missing in {actions:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_value_until_a_date_says_which_one_it_replaces_for_good() {
    on_each_database(async |database| {
        let cloud = crate::story_cli::cloud(database).await;
        cloud.catch_up().await;
        let env = cloud.env.clone();
        let set = |value| ["policy", "set", "bob", "lock_after_days", value, "--reason", "a story"];
        let until = |value| [&set(value)[..], &["--until", "12w"]].concat();
        let said = async |arguments: &[&str]| {
            let ran = bursar(&env, arguments).await;
            assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
            ran.out
        };
        let first = said(&until("7")).await;
        assert!(!first.contains("replaced"), "nothing was set before: {first}");
        assert_eq!(said(&set("14")).await.trim_end(), "lock_after_days is 14 for ROOT/bob.");
        let told = said(&until("30")).await;
        assert!(told.starts_with("lock_after_days is 30 for ROOT/bob until 20"), "{told}");
        let replaced = " 14 is replaced and does not come back then: class and default apply.";
        assert!(told.trim_end().ends_with(replaced), "{told}");
        let told = said(&until("60")).await;
        assert!(told.contains(" 30 until 20") && told.contains(" is replaced and does not come back then"), "{told}");
        let json: Value = serde_json::from_str(&said(&[&["--json"], &set("90")[..]].concat()).await).unwrap();
        assert_eq!((&json["value"], &json["replaced"]["value"]), (&"90".into(), &"60".into()), "{json}");
    })
    .await;
}

#[tokio::test]
async fn whoever_is_left_alone_by_another_word_is_said_to_be_when_one_ends() {
    on_each_database(async |database| {
        let cloud = crate::story_cli::cloud(database).await;
        cloud.catch_up().await;
        let env = cloud.env.clone();
        let run =
            async |arguments: &[&str]| bursar(&env, &[&["account", "leave-alone", "bob"], arguments].concat()).await;
        assert_eq!(run(&["--until", "3d", "--reason", "a migration"]).await.code, 0);
        assert_eq!(run(&["--until", "5d", "--reason", "a contract", "--whole-payer"]).await.code, 0);
        let whole = "as cli:carol said of its payer as a whole (--whole-payer): a contract";
        let ended = run(&["--end"]).await;
        assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
        assert!(ended.out.starts_with("That has ended. ROOT/bob is still left alone until 20"), "{}", ended.out);
        assert!(ended.out.trim_end().ends_with(whole), "{}", ended.out);
        let nobody = "nobody said to leave ROOT/bob alone";
        run(&["--end"]).await.refused(&[nobody, "ROOT/bob is still left alone until 20", whole]);
        let ended = run(&["--end", "--whole-payer"]).await;
        assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
        assert_eq!(ended.out.trim_end(), "ROOT/bob with all its accounts is no longer left alone.");
        let list = bursar(&env, &["policy", "list"]).await.out;
        assert!(list.starts_with("The default applies to everybody"), "{list}");
    })
    .await;
}

#[tokio::test]
async fn more_time_until_a_day_lasts_through_that_day() {
    on_each_database(async |database| {
        let mut cloud = crate::story_cli::cloud(database).await;
        cloud.reconfigure("BILLING_ZONE", "Europe/Vienna").await;
        cloud.catch_up().await;
        let (bob, now, zone) = (cloud.account("bob").await, cloud.clock.now(), chrono_tz::Europe::Vienna);
        let today = Day::of(now, zone).unwrap();
        let mut tx = cloud.app.store.begin().await.unwrap();
        let id = ask_more_time(&mut tx, &bob, "bob", ("please", None), None, today, now).await.unwrap();
        tx.commit().await.unwrap();
        let day = Day::from_number(today.number() + 5);
        let granted = bursar(&cloud.env, &["user", "more-time", "grant", &id.to_string(), &day.to_string()]).await;
        assert_eq!(granted.code, 0, "{}{}", granted.out, granted.err);
        let end = day.next().start(zone).unwrap();
        let says = format!("ROOT/bob is left alone until {}", end.display_in(zone));
        assert!(granted.out.starts_with(&says), "{}", granted.out);
        let mut tx = cloud.app.store.read().await.unwrap();
        let alone = policy::list_exemptions(&mut tx, now).await.unwrap();
        let held: Vec<_> = alone.iter().map(|row| (row.account_id, row.until_ms)).collect();
        assert_eq!(held, [(Some(bob.id), end)], "on {}", cloud.database.kind);
    })
    .await;
}

/// Every migration up to a number, as text.
fn migrations(folder: &str, numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .filter(|file| {
            let name = file.file_name().unwrap().to_str().unwrap();
            numbers.contains(&name[..4].parse().unwrap())
        })
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect()
}

const BEFORE: &str = "insert into setting (key, value, updated_ms) values ('enforce.armed', '1', 5000); \
    insert into payer (name, kind, created_ms) values ('ROOT/bob', 'account', 1); \
    insert into watch (payer_id, over_since_ms, changed_ms) values (1, 1793498400000, 2); \
    insert into account (cloud_id, payer_id, name, domain_id, domain_path, account_type, role_type, state, first_state, \
      first_seen_ms, seen_ms) values ('c', 1, 'bob', 'd', 'ROOT', 0, 'User', 'enabled', 'enabled', 1, 1); \
    insert into notice (payer_id, account_id, epoch_id, event, sentence, acts_at_ms, dry_run, recorded_ms) \
      values (1, 1, 1, 'lock-warning-1793498400', 'x', 9, 0, 3), (1, 1, 1, 'lock-warning-17', 'x', 9, 0, 2);";

#[tokio::test]
async fn what_was_armed_over_and_warned_of_before_is_so_after_the_migration() {
    use sqlx::{Connection as _, Executor as _};
    let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for sql in migrations("sqlite", 1..=12).into_iter().chain([BEFORE.to_owned()]).chain(migrations("sqlite", 13..=13))
    {
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }
    let text = "select group_concat(rung || domain_path, ' ') from (select * from arming order by rung)";
    let armed: String = connection.fetch_one(text).await.unwrap().get(0);
    let text = "select group_concat(rung || since_ms, ' ') from (select * from rung_watch order by rung)";
    let reached: String = connection.fetch_one(text).await.unwrap().get(0);
    assert_eq!(armed, "lock notify");
    assert_eq!(reached, "lock1793498400000 restrict1793498400000 stop1793498400000");
    let standing: i64 = connection.fetch_one("select notice_id from standing_warning").await.unwrap().get(0);
    assert_eq!(standing, 1, "the warning of the present time over the limit, and no other");
    let Ok(server) = std::env::var("BURSAR_TEST_POSTGRES_URL") else { return };
    let mut admin = sqlx::PgConnection::connect(&server).await.unwrap();
    let name = format!("bursar_test_{}", bursar::random::RandomSource::hex(&bursar::random::SystemRandom, 8));
    admin.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    let mut connection = sqlx::PgConnection::connect(url.as_str()).await.unwrap();
    for sql in
        migrations("postgres", 1..=12).into_iter().chain([BEFORE.to_owned()]).chain(migrations("postgres", 13..=13))
    {
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }
    let armed: String =
        connection.fetch_one("select string_agg(rung, ' ' order by rung) from arming").await.unwrap().get(0);
    let standing: i64 = connection.fetch_one("select notice_id from standing_warning").await.unwrap().get(0);
    assert_eq!((armed.as_str(), standing), ("lock notify", 1));
    connection.close().await.unwrap();
    admin.execute(sqlx::AssertSqlSafe(format!("drop database {name} with (force)"))).await.unwrap();
}

/// What became of the mails that warn of a lock.
async fn lock_mails(cloud: &Cloud) -> Vec<String> {
    mail::pass(&cloud.app, Looked::AtAll, "test").await.unwrap();
    let mut tx = cloud.app.store.read().await.unwrap();
    let mails = notify::list_mails(&mut tx, None, 100).await.unwrap();
    mails.into_iter().filter(|mail| mail.kind == "warning-lock").map(|mail| mail.state).collect()
}

#[tokio::test]
async fn a_lock_that_was_disarmed_for_long_is_warned_of_anew() {
    on_each_database(async |database| {
        let mut cloud = cloud(database, &["bob"]).await;
        let folder = cloud.database.folder.path().join("mail").display().to_string();
        cloud.env.insert("BURSAR_MAIL_FOLDER".to_owned(), folder);
        cloud.env.insert("BURSAR_MAIL_FROM".to_owned(), "billing@example.com".to_owned());
        cloud.env.insert("BURSAR_MAIL_ADMINS".to_owned(), "admin@example.com".to_owned());
        cloud.reconfigure("MAIL_TRANSPORT", "folder").await;
        assert!(lock_mails(&cloud).await.is_empty());
        over(&cloud, &["bob"]).await;
        let (first, event, due) = warning(&cloud, "bob").await.unwrap();
        assert_eq!(lock_mails(&cloud).await, ["sent"]);
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(policy::disarm(&mut tx, "lock", "").await.unwrap());
        tx.commit().await.unwrap();
        move_to(&cloud, due.plus(DAY * 8)).await;
        arm(&cloud, &["lock"]).await;
        let report = cloud.enforce().await;
        assert_eq!(word(&report, "ROOT/bob"), ("warn", "lock-is-due"), "on {}", cloud.database.kind);
        let (second, same, anew) = warning(&cloud, "bob").await.unwrap();
        assert!(second > first && same == event, "{same}");
        assert_eq!(anew, cloud.clock.now().plus(DAY * 2));
        assert_eq!(lock_mails(&cloud).await, ["sent", "sent"], "on {}", cloud.database.kind);
        let bob = cloud.account("bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let standing = notify::list_standing_warnings(&mut tx, bob.id).await.unwrap();
        drop(tx);
        assert_eq!(standing.iter().map(|warning| warning.id).collect::<Vec<_>>(), [second], "one date is shown");
        assert_eq!(word(&move_to(&cloud, anew.minus(SECOND)).await, "ROOT/bob"), ("keep", "lock-is-due"));
        assert_eq!(word(&move_to(&cloud, anew).await, "ROOT/bob"), ("lock", "lock-date-reached"));
    })
    .await;
}

#[tokio::test]
async fn no_rung_loses_its_last_threshold_when_a_value_is_taken_back_or_ends() {
    on_each_database(async |database| {
        let cloud = crate::story_cli::cloud(database).await;
        cloud.catch_up().await;
        let env = cloud.env.clone();
        let run = async |arguments: &[&str]| bursar(&env, arguments).await;
        let set = |key, value| ["policy", "set", "bob", key, value, "--reason", "a story"];
        let until = |key, value| ["policy", "set", "bob", key, value, "--reason", "a story", "--until", "12w"];
        let done = async |arguments: &[&str]| {
            let ran = run(arguments).await;
            assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        };
        done(&set("lock_days_left", "2")).await;
        done(&set("lock_percent", "0")).await;
        run(&["policy", "unset", "bob", "lock_days_left"])
            .await
            .refused(&["lock has no threshold", "Nothing was changed"]);
        // Until a date is no better: the rung would be lost then.
        run(&until("lock_days_left", "3")).await.refused(&["lock has no threshold", "has ended"]);
        // What is switched off until a date does no harm where the threshold comes back with it.
        done(&set("stop_days_left", "2")).await;
        done(&until("stop_percent", "0")).await;
        let shown = run(&["--json", "policy", "show", "bob"]).await.json();
        let value = |key: &str| {
            let values = shown["values"].as_array().unwrap();
            values.iter().find(|value| value["key"] == key).unwrap()["value"].as_str().unwrap().to_owned()
        };
        assert_eq!((value("lock_days_left"), value("lock_percent")), ("2".to_owned(), "0".to_owned()));
        assert_eq!((value("stop_days_left"), value("stop_percent")), ("2".to_owned(), "0".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn an_account_from_before_that_somebody_enables_is_warned_like_any_other() {
    on_each_database(async |database| {
        let at_once = |options: &mut Options| options.job_delay_polls = 0;
        let build = |world: &mut World| {
            machines(world, &["bob"]);
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            world.lock_by_admin(bob);
        };
        let cloud = Cloud::start_tuned(database, NOVEMBER, at_once, build).await;
        arm(&cloud, &["notify", "lock"]).await;
        over(&cloud, &["bob"]).await;
        let bob = cloud.account("bob").await;
        let owners = async || {
            let mut tx = cloud.app.store.read().await.unwrap();
            let holds = rows::list_holds(&mut tx, Some(bob.id)).await.unwrap();
            holds.into_iter().map(|hold| hold.owner).collect::<Vec<_>>()
        };
        assert_eq!(owners().await, ["before"]);
        assert_eq!(word(&cloud.enforce().await, "ROOT/bob"), ("keep", "suspended-by-others"));
        cloud.standin.with(|world| world.set_account_state(bob.cloud_id.parse().unwrap(), State::Enabled));
        cloud.pass(HOUR);
        let report = cloud.round().await;
        assert!(owners().await.is_empty(), "on {}", cloud.database.kind);
        assert_eq!(word(&report, "ROOT/bob"), ("warn", "lock-is-due"), "on {}", cloud.database.kind);
        let mut tx = cloud.app.store.read().await.unwrap();
        let audit = bursar::store::runs::list_audit(&mut tx, Some("ROOT/bob"), 10).await.unwrap();
        let lifted: Vec<_> = audit.iter().filter(|line| line.action == "hold.lift").collect();
        assert!(lifted.len() == 1 && lifted[0].actor.starts_with("run "), "{audit:?}");
    })
    .await;
}

#[tokio::test]
async fn a_part_payment_does_not_repeat_the_reminder_of_the_week() {
    on_each_database(async |database| {
        let cloud = cloud(database, &["alice"]).await;
        over(&cloud, &["alice"]).await;
        let since = cloud.clock.now();
        let reminders = async || {
            let account = cloud.account("alice").await;
            let mut tx = cloud.app.store.read().await.unwrap();
            let notices = rows::list_notices(&mut tx, Some(account.id), 100).await.unwrap();
            notices.iter().filter(|notice| notice.event.starts_with("overdue-")).count()
        };
        assert_eq!(reminders().await, 0);
        for (week, paid) in [(1, "0.01"), (2, "0.02")] {
            move_to(&cloud, since.plus(DAY * 7 * week)).await;
            assert_eq!(reminders().await, usize::try_from(week).unwrap(), "on {}", cloud.database.kind);
            cloud.pay("alice", paid).await;
            cloud.enforce().await;
            assert_eq!(reminders().await, usize::try_from(week).unwrap(), "paid in part, on {}", cloud.database.kind);
        }
    })
    .await;
}
