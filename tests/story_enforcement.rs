//! Who is suspended and who is not: the guards around every action, and what happens when calls go wrong half way.

use std::{sync::Arc, time::Duration};

use bursar::{
    enforcement::{EnforceReport, switches},
    jobs::work::{self, EnforceOptions, JobError},
    standin::{AccountKind, Fault, FaultKind, Gate, Options, RoleKind, State, World},
    store::{enforcement as rows, runs},
    time::{Clock as _, ManualClock},
};

use crate::harness::{Cloud, Database, NOVEMBER, READER, on_each_database, open, tenant};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// A small machine that runs from now on: it uses up any small limit within the hour.
fn machine(world: &mut World, owner: bursar::ids::CloudId) {
    let offering = world.find_offering("Small Instance").unwrap();
    let now = world.now();
    world.deploy_vm(owner, "machine", offering, now);
}

fn tenants(world: &mut World, names: &[&str]) {
    for name in names {
        let account = tenant(world, name);
        machine(world, account);
    }
}

/// Lets every named account go over a tiny limit and be warned, and three days pass: the next run is due to lock them.
async fn let_the_date_come(cloud: &Cloud, names: &[&str]) {
    cloud.pass(HOUR);
    cloud.round().await;
    for name in names {
        cloud.limit(name, "0.05").await;
    }
    cloud.pass(HOUR);
    let report = cloud.round().await;
    assert!(report.locked.is_empty(), "{report:?}");
    cloud.pass(3 * DAY);
    cloud.catch_up().await;
}

/// An armed cloud where the named tenants are due to be locked by the next run.
async fn due(database: Database, names: &[&str]) -> Cloud {
    let at_once = |options: &mut Options| options.job_delay_polls = 0;
    let cloud = Cloud::start_tuned(database, NOVEMBER, at_once, |world| tenants(world, names)).await;
    cloud.arm(&["notify", "lock"]).await;
    let_the_date_come(&cloud, names).await;
    cloud
}

/// An armed cloud where bob is locked.
async fn locked(database: Database) -> Cloud {
    let cloud = due(database, &["bob"]).await;
    assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
    cloud
}

fn count(cloud: &Cloud, command: &str) -> usize {
    cloud.standin.calls().iter().filter(|call| call.command == command).count()
}

fn fault(cloud: &Cloud, command: &str, kind: FaultKind) {
    cloud.standin.with(|world| world.faults().push(Fault::once(command, kind)));
}

async fn id_of(cloud: &Cloud, name: &str) -> bursar::ids::CloudId {
    cloud.account(name).await.cloud_id.parse().unwrap()
}

async fn state(cloud: &Cloud, name: &str) -> State {
    let id = id_of(cloud, name).await;
    cloud.standin.with(|world| world.account_state(id)).unwrap()
}

/// The owners of an account's standing holds.
async fn holds(cloud: &Cloud, name: &str) -> Vec<String> {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    rows::list_holds(&mut tx, Some(account.id)).await.unwrap().into_iter().map(|hold| hold.owner).collect()
}

async fn open_intents(cloud: &Cloud) -> usize {
    let mut tx = cloud.app.store.read().await.unwrap();
    rows::list_open_intents(&mut tx).await.unwrap().len()
}

/// What was decided about an account: outcome and reason.
fn decided(report: &EnforceReport, name: &str) -> (&'static str, &'static str) {
    let line = report.decisions.iter().find(|line| line.account == name).unwrap();
    (line.outcome, line.reason)
}

fn waits_for(report: &EnforceReport, name: &str) -> String {
    let line = report.decisions.iter().find(|line| line.account == name).unwrap();
    assert_eq!((line.outcome, line.reason), ("wait", "held-back"), "{report:?}");
    line.waits_for.join("; ")
}

async fn restores_after_payment(cloud: &Cloud) {
    cloud.pay("bob", "50").await;
    let report = cloud.enforce().await;
    assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
    assert_eq!(state(cloud, "bob").await, State::Enabled);
    assert_eq!((holds(cloud, "bob").await, open_intents(cloud).await), (Vec::new(), 0));
    cloud.verify().await;
}

#[tokio::test]
async fn nothing_is_done_until_armed_and_a_rehearsed_warning_warns_nobody() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| tenants(world, &["bob"])).await;
        let_the_date_come(&cloud, &["bob"]).await;
        let report = cloud.enforce().await;
        assert!(report.dry_run);
        assert_eq!(decided(&report, "ROOT/bob"), ("restrict", "restrict-date-reached"));
        assert_eq!((report.locked.len(), count(&cloud, "disableAccount")), (0, 0));
        // Armed: the tenant was told nothing so far, so the warning comes first.
        cloud.arm(&["notify", "lock"]).await;
        assert_eq!(decided(&cloud.enforce().await, "ROOT/bob"), ("warn", "lock-is-due"));
        cloud.pass(2 * DAY);
        assert_eq!(cloud.round().await.locked, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn the_stored_decision_of_a_lock_holds_the_figures_that_led_to_it() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        let figures = cloud.standing("bob").await.figures;
        assert!(figures.used > figures.total && figures.available.is_negative(), "three amounts: {figures:?}");
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        let bob = cloud.account("bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let decisions = rows::list_decisions(&mut tx, bob.id, 50).await.unwrap();
        let intents = rows::list_intents(&mut tx, Some(bob.id), 50).await.unwrap();
        drop(tx);
        let lock = decisions.iter().find(|decision| decision.outcome == "lock").unwrap();
        assert_eq!(intents.iter().map(|intent| intent.decision_id).collect::<Vec<_>>(), [lock.id]);
        let stored: serde_json::Value = serde_json::from_str(&lock.figures).unwrap();
        for (key, amount) in [("total", figures.total), ("used", figures.used), ("available", figures.available)] {
            assert_eq!(stored[key], amount.to_string(), "{key} on {}: {stored}", cloud.database.kind);
        }
        assert_eq!(stored["total"], "0.05");
        // The decision that warned of it holds those of its own day.
        let warned = decisions.iter().find(|decision| decision.outcome == "warn").unwrap();
        let then: serde_json::Value = serde_json::from_str(&warned.figures).unwrap();
        assert_ne!(then["used"], stored["used"], "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_of_an_armed_cloud_tells_what_the_run_would_do() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        let options = EnforceOptions { dry_run: true, holds_data_lock: true };
        let rehearsed = work::enforce(&cloud.app, options, "test").await.unwrap();
        assert_eq!(decided(&rehearsed, "ROOT/bob"), ("lock", "lock-date-reached"));
        assert_eq!((rehearsed.locked.len(), count(&cloud, "disableAccount")), (0, 0));
        let done = cloud.enforce().await;
        let lines = |report: &EnforceReport| serde_json::to_string(&report.decisions).unwrap();
        assert_eq!(lines(&done), lines(&rehearsed));
        assert_eq!(done.locked, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn a_pause_stops_locks_and_restores() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        cloud.switch(switches::PAUSED, "1").await;
        let report = cloud.enforce().await;
        assert!(waits_for(&report, "ROOT/bob").contains("paused"), "{report:?}");
        assert_eq!((report.locked.len(), count(&cloud, "disableAccount")), (0, 0));
        cloud.switch(switches::PAUSED, "0").await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        cloud.switch(switches::PAUSED, "1").await;
        cloud.pay("bob", "50").await;
        assert!(cloud.enforce().await.restored.is_empty());
        assert_eq!((state(&cloud, "bob").await, count(&cloud, "enableAccount")), (State::Locked, 0));
        cloud.switch(switches::PAUSED, "0").await;
        assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn administrators_service_accounts_listed_ones_and_those_without_a_limit_are_never_touched() {
    on_each_database(|database| async {
        let mut cloud = Cloud::start(database, NOVEMBER, |world| {
            let root = world.find_domain("ROOT").unwrap();
            for (name, kind) in [
                ("boss", AccountKind::RootAdmin),
                ("resource-boss", AccountKind::ResourceAdmin),
                ("reseller", AccountKind::DomainAdmin),
            ] {
                let account = world.add_account(root, name, kind);
                machine(world, account);
            }
            for service in ["bursar-reader", "bursar-enforcer"] {
                let account = world.find_account(root, service).unwrap();
                machine(world, account);
            }
            tenants(world, &["friend", "free"]);
        })
        .await;
        for (key, value) in
            [("POLICY_PROTECTED_ACCOUNTS", "ROOT/friend"), ("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100")]
        {
            cloud.reconfigure(key, value).await;
        }
        cloud.arm(&["notify", "lock"]).await;
        let limited = ["boss", "resource-boss", "bursar-reader", "bursar-enforcer", "friend", "reseller"];
        let_the_date_come(&cloud, &limited).await;
        let report = cloud.enforce().await;
        for name in &limited[..5] {
            assert_eq!(decided(&report, &format!("ROOT/{name}")), ("keep", "protected"), "{name}");
        }
        assert_eq!(decided(&report, "ROOT/free"), ("keep", "not-managed"));
        // A domain administrator's account is a customer like any other.
        assert_eq!((report.locked, count(&cloud, "disableAccount")), (vec!["ROOT/reseller".to_owned()], 1));
    })
    .await;
}

#[tokio::test]
async fn an_account_that_vanished_is_neither_locked_nor_restored() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        let id = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| world.remove_account(id, world.now()));
        let report = cloud.enforce().await;
        assert_eq!((report.locked.len(), count(&cloud, "disableAccount")), (0, 0));
        assert!(report.failed[0].contains("no longer in CloudStack"), "{report:?}");
        cloud.pass(HOUR);
        assert!(cloud.round().await.decisions.iter().all(|line| line.account != "ROOT/bob"));
    })
    .await;
    on_each_database(|database| async {
        let cloud = locked(database).await;
        let id = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| world.remove_account(id, world.now()));
        cloud.pay("bob", "50").await;
        let report = cloud.enforce().await;
        assert!(report.failed[0].contains("no longer in CloudStack"), "{report:?}");
        assert_eq!((report.restored.len(), count(&cloud, "enableAccount")), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn accounts_outside_the_scope_are_not_acted_on() {
    on_each_database(|database| async {
        let mut cloud = Cloud::start(database, NOVEMBER, |world| {
            let root = world.find_domain("ROOT").unwrap();
            for (domain, name) in [("inside", "carol"), ("outside", "dave")] {
                let domain = world.add_domain(root, domain);
                let account = world.add_account(domain, name, AccountKind::User);
                machine(world, account);
            }
        })
        .await;
        cloud.arm(&["notify", "lock"]).await;
        let_the_date_come(&cloud, &["carol", "dave"]).await;
        cloud.reconfigure("SCOPE_DOMAINS", "ROOT/inside").await;
        let report = cloud.enforce().await;
        assert_eq!(decided(&report, "ROOT/outside/dave"), ("keep", "out-of-scope"));
        assert_eq!(report.locked, ["ROOT/inside/carol"]);
    })
    .await;
}

#[tokio::test]
async fn the_fuse_locks_nobody_and_names_the_way_through() {
    on_each_database(|database| async {
        let cloud = due(database, &["ann", "bob", "eve"]).await;
        let report = cloud.enforce().await;
        let why = report.fuse.unwrap();
        assert!(why.contains("3 accounts are due") && why.contains("bursar enforce approve 1"), "{why}");
        assert_eq!((report.locked.len(), count(&cloud, "disableAccount")), (0, 0));
        // The same again changes nothing: one plan waits.
        let told = cloud.told("fuse").await;
        assert!(told.len() == 1 && told[0].contains("No step down was begun"), "{told:?}");
        assert!(told[0].contains("3 accounts are due") && told[0].contains("bursar enforce approve 1"), "{told:?}");
        assert_eq!(cloud.enforce().await.plan, Some(1));
        assert_eq!(cloud.told("fuse").await, told, "administrators are told once");
        cloud.approve(1, "alice").await.unwrap();
        let report = cloud.enforce().await;
        assert_eq!(report.locked, ["ROOT/ann", "ROOT/bob", "ROOT/eve"]);
        assert_eq!(cloud.told("fuse").await, told);
    })
    .await;
}

#[tokio::test]
async fn the_fuse_counts_a_rolling_day_and_running_machines() {
    on_each_database(|database| async {
        let mut cloud = Cloud::start(database, NOVEMBER, |world| {
            tenants(world, &["ann", "bob"]);
            let ann = world.find_account(world.root_domain(), "ann").unwrap();
            machine(world, ann);
        })
        .await;
        for (key, value) in [("FUSE_ACCOUNTS", "1"), ("FUSE_PERCENT", "100"), ("FUSE_RUNNING_VMS", "1")] {
            cloud.reconfigure(key, value).await;
        }
        cloud.arm(&["notify", "lock"]).await;
        // ann goes over ten hours before bob.
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("ann", "0.05").await;
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("bob", "0.05").await;
        cloud.pass(10 * HOUR);
        assert_eq!(decided(&cloud.round().await, "ROOT/bob"), ("warn", "lock-is-due"));
        cloud.pass(62 * HOUR);
        let why = cloud.round().await.fuse.unwrap();
        assert!(why.contains("run 2 machines") && why.contains("bursar enforce approve 1"), "{why}");
        cloud.reconfigure("FUSE_RUNNING_VMS", "50").await;
        cloud.pass(HOUR);
        assert_eq!(cloud.round().await.locked, ["ROOT/ann"]);
        cloud.pass(9 * HOUR);
        let why = cloud.round().await.fuse.unwrap();
        assert!(why.contains("1 accounts are due") && why.contains("with those of the last day 2"), "{why}");
        cloud.pass(14 * HOUR);
        assert!(cloud.round().await.fuse.is_some());
        cloud.pass(2 * HOUR);
        assert_eq!(cloud.round().await.locked, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn what_somebody_else_locked_before_stays_locked() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            tenants(world, &["bob", "eve"]);
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            world.lock_by_admin(bob);
        })
        .await;
        cloud.arm(&["notify", "lock"]).await;
        let_the_date_come(&cloud, &["bob", "eve"]).await;
        // eve is locked by hand the day she is due, between the sync and the run.
        let eve = id_of(&cloud, "eve").await;
        cloud.standin.with(|world| world.lock_by_admin(eve));
        let report = cloud.enforce().await;
        assert_eq!(decided(&report, "ROOT/bob"), ("keep", "suspended-by-others"));
        assert!(report.left[0].contains("locked already, by somebody else"), "{report:?}");
        for name in ["bob", "eve"] {
            cloud.pay(name, "500").await;
        }
        cloud.pass(HOUR);
        assert_eq!(decided(&cloud.round().await, "ROOT/eve"), ("keep", "suspended-by-others"));
        for name in ["bob", "eve"] {
            assert_eq!(state(&cloud, name).await, State::Locked);
        }
        assert_eq!((count(&cloud, "disableAccount"), count(&cloud, "enableAccount")), (0, 0));
        assert_eq!((holds(&cloud, "bob").await, holds(&cloud, "eve").await.len()), (vec!["before".to_owned()], 0));
    })
    .await;
}

#[tokio::test]
async fn a_lock_by_hand_on_top_of_ours_is_never_undone_by_a_payment() {
    on_each_database(|database| async {
        let cloud = locked(database).await;
        cloud.pass(5 * HOUR);
        let id = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| world.lock_by_admin(id));
        // Seen by the next run, long before anybody pays and CloudStack forgets its events.
        cloud.pass(MINUTE);
        cloud.round().await;
        assert_eq!(holds(&cloud, "bob").await, ["billing", "admin"]);
        cloud.pass(5 * HOUR);
        cloud.pay("bob", "50").await;
        assert_eq!(decided(&cloud.round().await, "ROOT/bob"), ("keep", "other-hold"));
        assert_eq!((state(&cloud, "bob").await, count(&cloud, "enableAccount")), (State::Locked, 0));
        // The administrator opens it again by hand: both holds have no object any more.
        cloud.standin.with(|world| world.set_account_state(id, State::Enabled));
        cloud.pass(HOUR);
        cloud.round().await;
        assert_eq!(holds(&cloud, "bob").await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_lock_by_hand_while_ours_was_under_way_is_seen_however_late_ours_is_concluded() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        // The lock acts, and its job can not be looked up; hours go by before the next run.
        fault(&cloud, "queryAsyncJobResult", FaultKind::Status(503));
        let report = cloud.enforce().await;
        assert!(report.locked.is_empty() && report.started[0].contains("the next run looks again"), "{report:?}");
        let id = id_of(&cloud, "bob").await;
        cloud.pass(10 * MINUTE);
        cloud.standin.with(|world| world.lock_by_admin(id));
        cloud.pass(5 * HOUR);
        let report = cloud.round().await;
        assert!(report.recovered[0].contains("turned out to be done"), "{report:?}");
        cloud.pay("bob", "50").await;
        let report = cloud.enforce().await;
        assert_eq!((report.restored.len(), state(&cloud, "bob").await), (0, State::Locked), "{report:?}");
        assert_eq!(holds(&cloud, "bob").await, ["billing", "admin"]);
    })
    .await;
}

#[tokio::test]
async fn what_somebody_enabled_is_not_locked_again_until_it_was_paid() {
    on_each_database(|database| async {
        let cloud = locked(database).await;
        let id = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| world.set_account_state(id, State::Enabled));
        for _ in 0..3 {
            cloud.pass(DAY);
            assert_eq!(decided(&cloud.round().await, "ROOT/bob"), ("keep", "enabled-by-others"));
        }
        assert_eq!((count(&cloud, "disableAccount"), holds(&cloud, "bob").await.len()), (1, 1));
        cloud.pay("bob", "20").await;
        cloud.enforce().await;
        assert!(holds(&cloud, "bob").await.is_empty());
        // Over again: warned anew, with a date of its own.
        cloud.pass(5 * DAY);
        assert_eq!(decided(&cloud.round().await, "ROOT/bob"), ("warn", "lock-is-due"));
        cloud.pass(3 * DAY);
        assert_eq!(cloud.round().await.locked, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn stale_usage_holds_back_locks_and_not_restores() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        cloud.clock.advance(5 * HOUR);
        cloud.catch_up().await;
        let report = cloud.enforce().await;
        assert!(
            waits_for(&report, "ROOT/bob").contains("usage is only known up to 2026-11-04 02:00 UTC"),
            "{report:?}"
        );
        assert_eq!(count(&cloud, "disableAccount"), 0);
        // The usage job works again.
        cloud.pass(HOUR);
        assert_eq!(cloud.round().await.locked, ["ROOT/bob"]);
        cloud.clock.advance(5 * HOUR);
        restores_after_payment(&cloud).await;
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_jumped_or_differs_from_cloudstacks_holds_back_locks() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        // Half an hour ahead of CloudStack.
        let ahead = ManualClock::new(cloud.clock.now().plus(30 * MINUTE));
        let mut app = cloud.app.clone();
        app.clock = Arc::new(ahead);
        let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
        let report = work::enforce(&app, options, "test").await.unwrap();
        assert!(waits_for(&report, "ROOT/bob").contains("clock"), "{report:?}");
        // Set right again, which looks like going back.
        assert!(waits_for(&cloud.enforce().await, "ROOT/bob").contains("clock"));
        assert_eq!(count(&cloud, "disableAccount"), 0);
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn nobody_is_locked_while_the_quota_plugin_enforces_too() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        cloud.standin.with(|world| {
            world.set_configuration("quota.enable.service", "true");
            world.set_configuration("quota.enable.enforcement", "true");
        });
        assert!(waits_for(&cloud.enforce().await, "ROOT/bob").contains("quota plugin"));
        assert_eq!(count(&cloud, "disableAccount"), 0);
        cloud.standin.with(|world| world.set_configuration("quota.enable.enforcement", "false"));
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn nobody_is_locked_before_two_days_after_the_warning() {
    on_each_database(|database| async {
        let mut cloud = Cloud::start(database, NOVEMBER, |world| tenants(world, &["bob"])).await;
        cloud.reconfigure("POLICY_LOCK_AFTER_DAYS", "0").await;
        cloud.arm(&["notify", "lock"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("bob", "0.05").await;
        assert_eq!(decided(&cloud.enforce().await, "ROOT/bob"), ("warn", "lock-is-due"));
        cloud.pass(47 * HOUR);
        assert_eq!(decided(&cloud.round().await, "ROOT/bob"), ("keep", "lock-is-due"));
        cloud.pass(HOUR);
        assert_eq!(cloud.round().await.locked, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn a_payment_before_the_date_avoids_the_lock_and_notices_come_once() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| tenants(world, &["bob"])).await;
        cloud.arm(&["notify", "lock"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("bob", "0.05").await;
        cloud.pass(HOUR);
        assert!(cloud.round().await.notices > 0);
        for _ in 0..5 {
            assert_eq!(cloud.enforce().await.notices, 0);
        }
        cloud.pass(2 * DAY);
        cloud.pay("bob", "50").await;
        assert_eq!(cloud.round().await.notices, 0);
        cloud.pass(3 * DAY);
        assert_eq!(decided(&cloud.round().await, "ROOT/bob").0, "keep");
        assert_eq!(count(&cloud, "disableAccount"), 0);
    })
    .await;
}

#[tokio::test]
async fn a_lock_whose_answer_was_lost_is_found_again_and_counts_once() {
    for kind in [FaultKind::CutAfterAction, FaultKind::EmptyOk { acted: true }, FaultKind::InvalidJson] {
        on_each_database(|database| async {
            let cloud = due(database, &["bob"]).await;
            fault(&cloud, "disableAccount", kind.clone());
            assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"], "{kind:?}");
            assert_eq!((count(&cloud, "disableAccount"), open_intents(&cloud).await), (1, 0));
            assert_eq!(holds(&cloud, "bob").await, ["billing"]);
            restores_after_payment(&cloud).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_lock_that_never_arrived_is_done_by_a_later_run() {
    for kind in [FaultKind::CutBeforeAction, FaultKind::EmptyOk { acted: false }, FaultKind::Html] {
        on_each_database(|database| async {
            let cloud = due(database, &["bob"]).await;
            fault(&cloud, "disableAccount", kind.clone());
            let report = cloud.enforce().await;
            assert_eq!((report.locked.len(), report.started.len()), (0, 1), "{kind:?}: {report:?}");
            assert_eq!(state(&cloud, "bob").await, State::Enabled);
            // The request could still be on its way until it has expired; nothing new is sent before.
            let report = cloud.enforce().await;
            assert_eq!((report.locked.len(), count(&cloud, "disableAccount")), (0, 0), "{kind:?}: {report:?}");
            cloud.pass(HOUR);
            assert_eq!(cloud.round().await.locked, ["ROOT/bob"], "{kind:?}");
            assert_eq!((count(&cloud, "disableAccount"), open_intents(&cloud).await), (1, 0));
            restores_after_payment(&cloud).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_lock_that_acts_after_bursar_stopped_waiting_is_still_ours() {
    on_each_database(|database| async {
        let mut cloud = due(database, &["bob"]).await;
        cloud.reconfigure("CLOUDSTACK_TIMEOUT_SECONDS", "1").await;
        let gate = Gate::default();
        fault(&cloud, "disableAccount", FaultKind::DelayUntil(gate.clone()));
        let report = cloud.enforce().await;
        assert_eq!((report.locked.len(), report.started.len()), (0, 1), "{report:?}");
        gate.open();
        while state(&cloud, "bob").await != State::Locked {
            tokio::task::yield_now().await;
        }
        let report = cloud.enforce().await;
        assert!(report.recovered.iter().any(|line| line.contains("turned out to be done")), "{report:?}");
        assert_eq!(holds(&cloud, "bob").await, ["billing"]);
        restores_after_payment(&cloud).await;
    })
    .await;
}

#[tokio::test]
async fn a_refused_lock_is_reported_and_tried_again() {
    for status in [503, 429, 431] {
        on_each_database(|database| async {
            let cloud = due(database, &["bob"]).await;
            fault(&cloud, "disableAccount", FaultKind::Status(status));
            let report = cloud.enforce().await;
            assert_eq!(
                (report.locked.len(), report.failed.len() + report.started.len()),
                (0, 1),
                "{status}: {report:?}"
            );
            assert!(holds(&cloud, "bob").await.is_empty());
            cloud.pass(HOUR);
            assert_eq!(cloud.round().await.locked, ["ROOT/bob"], "{status}");
            assert_eq!((count(&cloud, "disableAccount"), open_intents(&cloud).await), (1, 0));
            restores_after_payment(&cloud).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_job_that_takes_longer_than_the_deadline_is_concluded_by_the_next_run() {
    on_each_database(|database| async {
        let mut cloud = Cloud::start_tuned(
            database,
            NOVEMBER,
            |options| options.job_delay_polls = u32::MAX,
            |world| tenants(world, &["bob"]),
        )
        .await;
        cloud.reconfigure("ENFORCEMENT_INTENT_DEADLINE_SECONDS", "5").await;
        cloud.arm(&["notify", "lock"]).await;
        let_the_date_come(&cloud, &["bob"]).await;
        let report = cloud.enforce().await;
        assert!(report.started[0].contains("its job has not ended"), "{report:?}");
        assert_eq!((open_intents(&cloud).await, holds(&cloud, "bob").await.len()), (1, 0));
        cloud.standin.with(World::finish_jobs);
        let report = cloud.enforce().await;
        assert!(report.recovered[0].contains("turned out to be done"), "{report:?}");
        assert_eq!((holds(&cloud, "bob").await, count(&cloud, "disableAccount")), (vec!["billing".to_owned()], 1));
        restores_after_payment(&cloud).await;
    })
    .await;
}

#[tokio::test]
async fn somebody_who_disables_or_locks_while_our_lock_travels_keeps_the_say() {
    for disables in [true, false] {
        on_each_database(|database| async {
            let cloud = due(database, &["bob"]).await;
            let gate = Gate::default();
            fault(&cloud, "disableAccount", FaultKind::DelayUntil(gate.clone()));
            let id = id_of(&cloud, "bob").await;
            let meddling = async {
                while open_intents(&cloud).await == 0 {
                    tokio::task::yield_now().await;
                }
                cloud.standin.with(|world| {
                    if disables {
                        world.set_account_state(id, State::Disabled);
                    } else {
                        world.lock_by_admin(id);
                    }
                });
                gate.open();
            };
            let (report, ()) = tokio::join!(cloud.enforce(), meddling);
            assert_eq!(report.locked.len(), usize::from(!disables), "{report:?}");
            assert_eq!(holds(&cloud, "bob").await.len(), usize::from(!disables));
            cloud.pay("bob", "500").await;
            cloud.pass(HOUR);
            let report = cloud.round().await;
            assert_eq!((report.restored.len(), count(&cloud, "enableAccount")), (0, 0), "{report:?}");
            assert_eq!(state(&cloud, "bob").await, if disables { State::Disabled } else { State::Locked });
        })
        .await;
    }
}

#[tokio::test]
async fn a_restore_whose_answer_was_lost_is_read_back() {
    on_each_database(|database| async {
        let cloud = locked(database).await;
        fault(&cloud, "enableAccount", FaultKind::CutAfterAction);
        restores_after_payment(&cloud).await;
    })
    .await;
    for kind in [FaultKind::CutBeforeAction, FaultKind::EmptyOk { acted: false }, FaultKind::Status(503)] {
        on_each_database(|database| async {
            let cloud = locked(database).await;
            fault(&cloud, "enableAccount", kind.clone());
            cloud.pay("bob", "50").await;
            let report = cloud.enforce().await;
            assert_eq!((report.restored.len(), holds(&cloud, "bob").await.len()), (0, 1), "{kind:?}: {report:?}");
            restores_after_payment(&cloud).await;
        })
        .await;
    }
}

/// From now on bursar acts by a role that may not list events.
async fn without_events(cloud: &mut Cloud) {
    let (api_key, secret_key) = cloud.standin.with(|world| {
        let rules: Vec<(&str, bool)> = READER
            .iter()
            .copied()
            .filter(|api| *api != "listEvents")
            .chain(["disableAccount", "enableAccount"])
            .map(|api| (api, true))
            .chain([("*", false)])
            .collect();
        let role = world.add_role("bursar-no-events", RoleKind::Admin, &rules);
        world.add_service_account("bursar-no-events", role)
    });
    cloud.reconfigure("CLOUDSTACK_ENFORCER_API_KEY", &api_key).await;
    cloud.reconfigure("CLOUDSTACK_ENFORCER_SECRET_KEY", secret_key.expose()).await;
}

#[tokio::test]
async fn without_the_right_to_read_events_nothing_is_restored_and_the_reason_is_told() {
    on_each_database(|database| async {
        let mut cloud = due(database, &["bob"]).await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        without_events(&mut cloud).await;
        cloud.pay("bob", "50").await;
        let report = cloud.enforce().await;
        assert!(report.failed[0].contains("events can not be read"), "{report:?}");
        assert_eq!((state(&cloud, "bob").await, count(&cloud, "enableAccount")), (State::Locked, 0));
    })
    .await;
}

#[tokio::test]
async fn nobody_is_locked_where_nobody_could_tell_whose_lock_it_is_afterwards() {
    on_each_database(|database| async {
        let mut cloud = due(database, &["bob"]).await;
        let keys = ["CLOUDSTACK_ENFORCER_API_KEY", "CLOUDSTACK_ENFORCER_SECRET_KEY"];
        let before = keys.map(|key| cloud.env.get(&format!("BURSAR_{key}")).cloned().unwrap_or_default());
        without_events(&mut cloud).await;
        let report = cloud.enforce().await;
        assert!(report.locked.is_empty(), "{report:?}");
        assert!(waits_for(&report, "ROOT/bob").contains("events can not be read (the role does not allow listEvents)"));
        for (key, value) in keys.iter().zip(&before) {
            cloud.reconfigure(key, value).await;
        }
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn two_enforcers_at_once_lock_once() {
    on_each_database(|database| async {
        if database.url.is_none() {
            return; // On SQLite the data directory's lock keeps a second process out.
        }
        let cloud = due(database, &["bob"]).await;
        let other = open(&cloud.env, &cloud.clock).await;
        let options = EnforceOptions::default();
        let (first, second) = tokio::join!(
            Box::pin(work::enforce(&cloud.app, options, "first")),
            Box::pin(work::enforce(&other, options, "second"))
        );
        let outcomes = [&first, &second].map(|result| match result {
            Ok(report) => report.locked.len(),
            Err(JobError::Running { .. } | JobError::Enforce(_) | JobError::Store(_)) => 0,
            Err(error) => panic!("{error}"),
        });
        assert_eq!(outcomes.iter().sum::<usize>(), 1, "{first:?} {second:?}");
        assert_eq!((count(&cloud, "disableAccount"), holds(&cloud, "bob").await.len()), (1, 1));
        other.store.close().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_lost_the_lease_acts_no_more() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        let now = cloud.clock.now();
        let mut tx = cloud.app.store.begin().await.unwrap();
        let fence = runs::take_lease(&mut tx, "enforcer", "somebody else", 2 * MINUTE, now).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let refused = work::enforce(&cloud.app, EnforceOptions::default(), "test").await.unwrap_err();
        assert!(refused.to_string().contains("another process is enforcing"), "{refused}");
        assert_eq!(count(&cloud, "disableAccount"), 0);
        // Another process takes the lease while this one has read the account and is about to lock it.
        let mut tx = cloud.app.store.begin().await.unwrap();
        runs::drop_lease(&mut tx, "enforcer", "somebody else", fence).await.unwrap();
        tx.commit().await.unwrap();
        let gate = Gate::default();
        fault(&cloud, "listConfigurations", FaultKind::DelayUntil(gate.clone()));
        let taking = async {
            let ours = |call: &bursar::standin::Received| {
                call.command == "listUsers" && call.caller.as_deref() == Some("bursar-enforcer") && call.at == now
            };
            while !cloud.standin.calls().iter().any(ours) {
                tokio::task::yield_now().await;
            }
            let mut tx = cloud.app.store.begin().await.unwrap();
            runs::seize_lease(&mut tx, "enforcer", "somebody else", 2 * MINUTE, now).await.unwrap();
            tx.commit().await.unwrap();
            gate.open();
        };
        let (report, ()) = tokio::join!(work::enforce(&cloud.app, EnforceOptions::default(), "test"), taking);
        let error = report.unwrap_err().to_string();
        assert!(error.contains("another process has taken over enforcement"), "{error}");
        assert_eq!(count(&cloud, "disableAccount"), 0);
    })
    .await;
}
