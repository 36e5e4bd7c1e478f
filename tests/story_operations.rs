//! Enforcement as administrators run it: arming, guards, the fuse and its plans, undo, leaving, holds, restored backups.

mod audited;
mod begun;
mod cut_off;
mod desk;
mod late;
mod orders;
mod others;
mod restored;
mod told;

use std::time::Duration;

use bursar::{
    approver::Approver,
    enforcement::{EnforceReport, plans, switches},
    ids::{CloudId, RunId},
    jobs::{
        arming::{self, Wanted},
        operations,
        work::{self, EnforceOptions},
    },
    standin::{AccountKind, Fault, FaultKind, Gate, Power, RoleKind, State, World},
    store::{
        Tx,
        corrections::{self, CORRECTION, NewItem, PRICE_CHANGE, ReviewCharge},
        enforcement as rows, notify,
        operations::{self as plan_rows, PlanLineRow, PlanRow},
        runs,
    },
    time::Clock as _,
};

use crate::{
    harness::{Cloud, Database, NOVEMBER, READER, on_each_database, tenant},
    story_cli::run_sql,
};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// What waits for nobody is done by then.
const AT_ONCE: Duration = Duration::from_millis(100);
const ALL: [&str; 4] = ["notify", "restrict", "lock", "stop"];

fn machine(world: &mut World, owner: CloudId, name: &str) -> CloudId {
    let offering = world.find_offering("Small Instance").unwrap();
    let now = world.now();
    world.deploy_vm(owner, name, offering, now)
}

fn tenants(world: &mut World, names: &[&str]) {
    for name in names {
        let account = tenant(world, name);
        machine(world, account, &format!("{name}-vm"));
    }
}

/// A cloud with these tenants, each with a machine, and these steps armed.
async fn armed(database: Database, names: &[&str], rungs: &[&str]) -> Cloud {
    let cloud =
        Cloud::start_tuned(database, NOVEMBER, |options| options.job_delay_polls = 0, |world| tenants(world, names))
            .await;
    cloud.arm(rungs).await;
    cloud
}

/// A day with a round of the schedule in it.
async fn day(cloud: &Cloud) -> EnforceReport {
    cloud.pass(DAY);
    cloud.round().await
}

/// Everybody named is over a tiny limit from now on and warned; the date of the lock comes with the next run.
async fn let_locks_come_due(cloud: &Cloud, names: &[&str]) {
    cloud.pass(HOUR);
    cloud.round().await;
    for name in names {
        cloud.limit(name, "0.05").await;
    }
    cloud.pass(HOUR);
    cloud.round().await;
    cloud.pass(3 * DAY);
    cloud.catch_up().await;
}

/// An armed cloud where the named are due to be locked by the next run; the fuse allows one.
async fn due(database: Database, names: &[&str]) -> Cloud {
    let cloud = armed(database, names, &["notify", "lock"]).await;
    let_locks_come_due(&cloud, names).await;
    cloud
}

async fn id_of(cloud: &Cloud, name: &str) -> CloudId {
    cloud.account(name).await.cloud_id.parse().unwrap()
}

async fn state(cloud: &Cloud, name: &str) -> State {
    let id = id_of(cloud, name).await;
    cloud.standin.with(|world| world.account_state(id)).unwrap()
}

fn calls(cloud: &Cloud, command: &str) -> usize {
    cloud.standin.calls().iter().filter(|call| call.command == command).count()
}

async fn plan(cloud: &Cloud, id: i64) -> (PlanRow, Vec<PlanLineRow>) {
    let mut tx = cloud.app.store.read().await.unwrap();
    (plan_rows::get_plan(&mut tx, id).await.unwrap(), plan_rows::list_plan_lines(&mut tx, id).await.unwrap())
}

async fn holds(cloud: &Cloud, name: &str) -> Vec<String> {
    let account = cloud.account(name).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    rows::list_holds(&mut tx, Some(account.id)).await.unwrap().into_iter().map(|hold| hold.owner).collect()
}

/// Actions in the audit trail, newest first: who, what, to what.
async fn audit(cloud: &Cloud, action: &str) -> Vec<(String, String)> {
    let mut tx = cloud.app.store.read().await.unwrap();
    let lines = runs::list_audit(&mut tx, None, 1_000).await.unwrap();
    lines.into_iter().filter(|line| line.action == action).map(|line| (line.actor, line.subject)).collect()
}

fn decided<'a>(report: &'a EnforceReport, account: &str) -> (&'a str, &'a str, String) {
    let line = report.decisions.iter().find(|line| line.account == account).unwrap();
    (line.outcome, line.reason, line.waits_for.join("; "))
}

/// The number of the newest run of enforcement.
async fn newest_run(cloud: &Cloud) -> RunId {
    let mut tx = cloud.app.store.read().await.unwrap();
    RunId::new(runs::list_runs(&mut tx, Some("enforce"), 1).await.unwrap()[0].id)
}

async fn undo(cloud: &Cloud, run: RunId) -> bursar::enforcement::undo::UndoReport {
    operations::undo(&cloud.app, run, "alice", true, "test").await.unwrap()
}

// Plans and the fuse.

#[tokio::test]
async fn an_approved_plan_is_carried_out_exactly_and_what_changed_since_is_left_out() {
    on_each_database(|database| async {
        let cloud = due(database, &["ann", "bob", "eve"]).await;
        let report = cloud.enforce().await;
        let id = report.plan.unwrap();
        assert!(report.fuse.unwrap().contains("3 accounts are due"));
        assert_eq!((report.locked.len(), calls(&cloud, "disableAccount")), (0, 0));
        // ann pays before anybody approves; dora comes due after the plan was made.
        cloud.pay("ann", "500").await;
        cloud.approve(id, "alice").await.unwrap();
        let report = cloud.enforce().await;
        assert_eq!(report.locked, ["ROOT/bob", "ROOT/eve"]);
        assert!(report.skipped[0].starts_with("ROOT/ann: to lock it is not decided any more"), "{report:?}");
        let (row, lines) = plan(&cloud, id).await;
        assert_eq!((row.state.as_str(), report.carried_plan), ("done", Some(id)));
        let states: Vec<&str> = lines.iter().map(|line| line.state.as_str()).collect();
        assert_eq!(states, ["skipped", "done", "done"]);
        assert_eq!(state(&cloud, "ann").await, State::Enabled);
        let approvals = audit(&cloud, "plan.approve").await;
        assert_eq!(approvals, [("alice".to_owned(), format!("plan {id}"))]);
        // It is used up: what comes due later needs another one.
        assert!(cloud.approve(id, "bert").await.is_err());
    })
    .await;
}

#[tokio::test]
async fn nothing_beyond_the_plan_is_done_in_its_run() {
    on_each_database(|database| async {
        let cloud = due(database, &["ann", "bob"]).await;
        let id = cloud.enforce().await.plan.unwrap();
        cloud.approve(id, "alice").await.unwrap();
        // eve comes due between the approval and the run: she is not in the plan.
        run_sql(&cloud, "update enforce_plan_line set state = 'skipped', answer = 'story' where account_id = (select id from account where name = 'ann')").await;
        let report = cloud.enforce().await;
        assert_eq!(report.locked, ["ROOT/bob"], "ann is due and not among the lines that are left: {report:?}");
        assert_eq!(state(&cloud, "ann").await, State::Enabled);
    })
    .await;
}

#[tokio::test]
async fn a_plan_can_take_two_administrators_of_different_names() {
    on_each_database(|database| async {
        let mut cloud = due(database, &["ann", "bob"]).await;
        cloud.reconfigure("FUSE_SECOND_ADMIN", "true").await;
        let id = cloud.enforce().await.plan.unwrap();
        assert!(!cloud.approve(id, "alice").await.unwrap());
        let twice = cloud.approve(id, "alice").await.unwrap_err();
        assert!(twice.to_string().contains("alice has approved it already"), "{twice}");
        assert!(cloud.enforce().await.locked.is_empty(), "one approval is not enough");
        assert!(cloud.approve(id, "bert").await.unwrap());
        assert_eq!(cloud.enforce().await.locked, ["ROOT/ann", "ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn a_plan_that_was_approved_under_another_configuration_waits_for_the_second_administrator() {
    on_each_database(|database| async {
        let mut cloud = due(database, &["ann", "bob"]).await;
        cloud.reconfigure("FUSE_SECOND_ADMIN", "true").await;
        let id = cloud.enforce().await.plan.unwrap();
        // A process with the configuration of before takes one approval for enough.
        let mut tx = cloud.app.store.begin().await.unwrap();
        let alice = Approver::by_name("alice");
        assert!(plans::approve(&mut tx, id, &alice, false, cloud.clock.now()).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(plan(&cloud, id).await.0.state, "approved");
        for _ in 0..2 {
            let report = cloud.enforce().await;
            assert_eq!((report.locked.len(), report.carried_plan), (0, None), "{report:?}");
            assert_eq!(plan(&cloud, id).await.0.state, "waiting");
        }
        assert_eq!(calls(&cloud, "disableAccount"), 0);
        assert_eq!(audit(&cloud, "plan.recount").await, [("bursar".to_owned(), format!("plan {id}"))]);
        assert!(cloud.approve(id, "bert").await.unwrap());
        assert_eq!(cloud.enforce().await.locked, ["ROOT/ann", "ROOT/bob"]);
        assert_eq!(plan(&cloud, id).await.0.state, "done");
    })
    .await;
}

#[tokio::test]
async fn one_person_under_two_names_is_not_two_administrators() {
    on_each_database(|database| async {
        let mut cloud = due(database, &["ann", "bob"]).await;
        cloud.reconfigure("FUSE_SECOND_ADMIN", "true").await;
        let id = cloud.enforce().await.plan.unwrap();
        let home = cloud.account("ann").await.id;
        let by_issuer = |name: &str, subject: &str, user| {
            Approver::by_openid(name.to_owned(), "https://id.example.com", subject, [(home, Some(user))])
        };
        assert!(!cloud.approve_as(id, &by_issuer("Alice", "1", "u-1")).await.unwrap());
        let renamed = cloud.approve_as(id, &by_issuer("Bert", "1", "u-1")).await.unwrap_err();
        assert!(renamed.to_string().contains("Bert has approved it already"), "{renamed}");
        let by_session = |user| Approver::by_cloudstack("admin (ROOT/admin)".to_owned(), home, user);
        assert!(cloud.approve_as(id, &by_session(Some("u-1"))).await.is_err(), "the same user by the other way");
        assert!(!cloud.approve_as(id, &by_session(None)).await.unwrap(), "it may be the same user");
        assert_eq!(plan(&cloud, id).await.0.state, "waiting");
        assert!(
            cloud.approve_as(id, &by_issuer("Alice", "2", "u-2")).await.unwrap(),
            "another person of the same name"
        );
    })
    .await;
}

#[tokio::test]
async fn of_two_approvals_at_once_the_later_one_counts_the_earlier_one() {
    on_each_database(|database| async {
        let mut cloud = due(database, &["ann", "bob"]).await;
        cloud.reconfigure("FUSE_SECOND_ADMIN", "true").await;
        let id = cloud.enforce().await.plan.unwrap();
        let mut first = cloud.app.store.begin().await.unwrap();
        let alice = Approver::by_name("alice");
        assert!(!plans::approve(&mut first, id, &alice, true, cloud.clock.now()).await.unwrap());
        let mut second = Box::pin(cloud.approve(id, "bert"));
        assert!(tokio::time::timeout(AT_ONCE, second.as_mut()).await.is_err(), "it waits for the first");
        first.commit().await.unwrap();
        assert!(second.await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_plan_that_expired_or_was_dropped_is_never_carried_out() {
    on_each_database(|database| async {
        let mut cloud = due(database, &["ann", "bob"]).await;
        cloud.reconfigure("FUSE_PLAN_HOURS", "2").await;
        let first = cloud.enforce().await.plan.unwrap();
        cloud.approve(first, "alice").await.unwrap();
        cloud.pass(2 * HOUR);
        cloud.catch_up().await;
        let report = cloud.enforce().await;
        assert_eq!((plan(&cloud, first).await.0.state.as_str(), report.locked.len()), ("expired", 0));
        let second = report.plan.unwrap();
        assert_ne!(first, second);
        let mut tx = cloud.app.store.begin().await.unwrap();
        bursar::enforcement::plans::drop_plan(&mut tx, second, "alice", cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let refused = cloud.approve(second, "bert").await.unwrap_err();
        assert!(refused.to_string().contains("plan 2 is dropped"), "{refused}");
        assert!(cloud.enforce().await.locked.is_empty());
        assert_eq!(calls(&cloud, "disableAccount"), 0);
    })
    .await;
}

#[tokio::test]
async fn a_pause_in_the_middle_of_a_plan_leaves_the_rest_for_later() {
    on_each_database(|database| async {
        let cloud = due(database, &["ann", "bob"]).await;
        let id = cloud.enforce().await.plan.unwrap();
        cloud.approve(id, "alice").await.unwrap();
        cloud.switch(switches::PAUSED, "1").await;
        assert!(cloud.enforce().await.locked.is_empty());
        assert_eq!(plan(&cloud, id).await.0.state, "approved");
        cloud.switch(switches::PAUSED, "0").await;
        assert_eq!(cloud.enforce().await.locked.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_plan_on_demand_says_who_what_why_and_how_to_avoid_it_and_does_nothing() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        let report = operations::make_plan(&cloud.app, "alice", true, "test").await.unwrap();
        let id = report.plan.unwrap();
        let (row, lines) = plan(&cloud, id).await;
        assert_eq!((row.author.as_str(), row.cause.as_str(), row.state.as_str()), ("alice", "command", "waiting"));
        assert_eq!((lines[0].rung.as_str(), lines[0].reason.as_str()), ("lock", "lock-date-reached"));
        assert!(lines[0].machines.contains("bob-vm") && lines[0].to_avoid.contains("EUR"), "{lines:?}");
        assert_eq!((calls(&cloud, "disableAccount"), state(&cloud, "bob").await), (0, State::Enabled));
        let mut tx = cloud.app.store.read().await.unwrap();
        let shown = bursar::enforcement::plans::show(&mut tx, row, false).await.unwrap();
        let text = bursar::enforcement::plans::text(&shown, chrono_tz::UTC);
        assert!(text.contains("ROOT/bob: lock") && text.contains("1 machines run on: bob-vm"), "{text}");
    })
    .await;
}

/// bob with a machine, and a project with one: stopped by the next run, all steps armed.
async fn due_to_stop(database: Database) -> Cloud {
    due_to_stop_with(database, "shop").await
}

/// The same with a project of this name.
async fn due_to_stop_with(database: Database, project: &str) -> Cloud {
    let mut cloud = Cloud::start_tuned(
        database,
        NOVEMBER,
        |options| options.job_delay_polls = 0,
        |world| {
            tenants(world, &["bob"]);
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            let project = world.add_project(bob, project);
            machine(world, project, "shop-vm");
            let eve = tenant(world, "eve");
            world.add_project_member(project, eve);
        },
    )
    .await;
    for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100")] {
        cloud.reconfigure(key, value).await;
    }
    cloud.arm(&ALL).await;
    cloud.pass(HOUR);
    cloud.round().await;
    cloud.limit("bob", "0.05").await;
    for _ in 0..30 {
        cloud.pass(DAY);
        cloud.catch_up().await;
        let options = EnforceOptions { dry_run: true, holds_data_lock: true };
        let rehearsed = work::enforce(&cloud.app, options, "test").await.unwrap();
        if decided(&rehearsed, "ROOT/bob").0 == "stop" {
            return cloud;
        }
        cloud.enforce().await;
    }
    panic!("bob never came to be stopped");
}

#[tokio::test]
async fn the_fuse_counts_machines_of_projects_and_the_plan_names_them() {
    on_each_database(|database| async {
        let mut cloud = due_to_stop(database).await;
        cloud.reconfigure("FUSE_RUNNING_VMS", "1").await;
        cloud.pass(2 * DAY);
        cloud.catch_up().await;
        let report = cloud.enforce().await;
        assert!(report.fuse.as_ref().unwrap().contains("run 2 machines"), "{report:?}");
        let id = report.plan.unwrap();
        let lines = plan(&cloud, id).await.1;
        assert!(lines[0].machines.contains("bob-vm") && lines[0].machines.contains("shop-vm"), "{lines:?}");
        assert!(lines[0].notes.contains("its projects are suspended") && lines[0].notes.contains("shop"), "{lines:?}");
        assert!(lines[0].notes.contains("people of other accounts work in its projects: shop (eve)"), "{lines:?}");
        // A machine that nobody has seen in the plan: the line waits for another plan.
        cloud.approve(id, "alice").await.unwrap();
        let bob = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| machine(world, bob, "new-vm"));
        let report = cloud.enforce().await;
        assert!(report.skipped[0].contains("the machine new-vm runs now and is not in the plan"), "{report:?}");
        assert_eq!((report.stopped.len(), state(&cloud, "bob").await), (0, State::Locked));
        let again = operations::make_plan(&cloud.app, "alice", true, "test").await.unwrap().plan.unwrap();
        cloud.approve(again, "alice").await.unwrap();
        assert_eq!(cloud.enforce().await.stopped, ["ROOT/bob"]);
        assert_eq!(state(&cloud, "bob").await, State::Disabled);
    })
    .await;
}

#[tokio::test]
async fn no_name_of_a_project_hides_a_machine_that_was_started_after_the_approval() {
    on_each_database(|database| async {
        // As it is said of machines that nobody could list.
        let mut cloud = due_to_stop_with(database, "were not listed").await;
        cloud.reconfigure("FUSE_RUNNING_VMS", "1").await;
        cloud.pass(2 * DAY);
        cloud.catch_up().await;
        let id = cloud.enforce().await.plan.unwrap();
        let lines = plan(&cloud, id).await.1;
        assert!(lines[0].notes.contains("were not listed") && lines[0].machines.contains("bob-vm"), "{lines:?}");
        cloud.approve(id, "alice").await.unwrap();
        let bob = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| machine(world, bob, "new-vm"));
        let report = cloud.enforce().await;
        assert_eq!((report.stopped.len(), state(&cloud, "bob").await), (0, State::Locked), "{report:?}");
        assert!(report.skipped[0].contains("the machine new-vm runs now and is not in the plan"), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_plan_whose_machines_nobody_could_list_is_carried_out_as_it_was_approved() {
    on_each_database(|database| async {
        let cloud = due_to_stop(database).await;
        let silent = Fault::once("listVirtualMachines", FaultKind::Status(503)).times(1_000);
        cloud.standin.with(|world| world.faults().push(silent));
        let id = operations::make_plan(&cloud.app, "alice", true, "test").await.unwrap().plan.unwrap();
        cloud.standin.with(|world| world.faults().clear());
        let lines = plan(&cloud, id).await.1;
        assert!(lines[0].notes.contains("its machines were not listed") && lines[0].rung == "stop", "{lines:?}");
        cloud.approve(id, "alice").await.unwrap();
        assert_eq!(cloud.enforce().await.stopped, ["ROOT/bob"]);
        assert_eq!(state(&cloud, "bob").await, State::Disabled);
    })
    .await;
}

// Arming.

#[tokio::test]
async fn only_what_is_armed_for_the_domain_is_done() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            let root = world.find_domain("ROOT").unwrap();
            for (domain, name) in [("inside", "carol"), ("outside", "dave")] {
                let domain = world.add_domain(root, domain);
                let account = world.add_account(domain, name, AccountKind::User);
                machine(world, account, name);
            }
        })
        .await;
        cloud.arm(&["notify"]).await;
        cloud.arm_in("ROOT/inside", &["lock"]).await;
        let_locks_come_due(&cloud, &["carol", "dave"]).await;
        let report = cloud.enforce().await;
        assert_eq!(report.locked, ["ROOT/inside/carol"], "{report:?}");
        assert_eq!(state(&cloud, "dave").await, State::Enabled);
    })
    .await;
}

#[tokio::test]
async fn arming_says_everything_that_stands_in_its_way() {
    on_each_database(|database| async {
        let mut cloud = armed(database, &["bob"], &[]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.reconfigure("MAIL_TRANSPORT", "").await;
        let wanted = Wanted::new(&[], &[]);
        assert!(arming::obstacles(&cloud.app, &wanted).await.unwrap()[0].contains("bursar mail test"));
        cloud.reconfigure("MAIL_TRANSPORT", "off").await;
        let obstacles = async |cloud: &Cloud, rungs: &[&str], domains: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            arming::obstacles(&cloud.app, &Wanted::new(&owned(rungs), &owned(domains))).await.unwrap().join("; ")
        };
        assert_eq!(obstacles(&cloud, &["notify", "lock"], &[]).await, "");
        assert!(obstacles(&cloud, &["stop"], &[]).await.contains("stop passes lock"));
        assert!(obstacles(&cloud, &["lock"], &["ROOT/nowhere"]).await.contains("there is no domain ROOT/nowhere"));
        cloud.standin.with(|world| world.set_configuration("quota.enable.enforcement", "true"));
        assert!(obstacles(&cloud, &["lock"], &[]).await.contains("quota plugin enforces too"));
        cloud.standin.with(|world| world.set_configuration("quota.enable.enforcement", "false"));
        // A role that may lock and no more.
        let (api_key, secret_key) = cloud.standin.with(|world| {
            let rules: Vec<(&str, bool)> = READER
                .iter()
                .copied()
                .chain(["disableAccount", "enableAccount"])
                .map(|api| (api, true))
                .chain([("*", false)])
                .collect();
            let role = world.add_role("bursar-narrow", RoleKind::Admin, &rules);
            world.add_service_account("bursar-narrow", role)
        });
        cloud.reconfigure("CLOUDSTACK_ENFORCER_API_KEY", &api_key).await;
        cloud.reconfigure("CLOUDSTACK_ENFORCER_SECRET_KEY", secret_key.expose()).await;
        assert_eq!(obstacles(&cloud, &["lock"], &[]).await, "");
        assert!(obstacles(&cloud, &["restrict"], &[]).await.contains("updateResourceLimit"));
        cloud.env.insert("BURSAR_CLOUDSTACK_ENFORCER_API_KEY".to_owned(), String::new());
        cloud.reconfigure("CLOUDSTACK_ENFORCER_SECRET_KEY", "").await;
        assert!(obstacles(&cloud, &["lock"], &[]).await.contains("the enforcer's key pair is not configured"));
    })
    .await;
}

#[tokio::test]
async fn without_the_enforcers_key_notices_are_given_where_that_is_armed_and_nobody_is_taken_down_unnoticed() {
    on_each_database(|database| async {
        let mut cloud = armed(database, &["ann", "bob", "eve"], &["notify", "lock"]).await;
        for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100")] {
            cloud.reconfigure(key, value).await;
        }
        let_locks_come_due(&cloud, &["eve"]).await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/eve"]);
        let run = newest_run(&cloud).await.get();
        let_locks_come_due(&cloud, &["bob"]).await;
        cloud.limit("ann", "0.05").await;
        cloud.env.insert("BURSAR_CLOUDSTACK_ENFORCER_API_KEY".to_owned(), String::new());
        cloud.reconfigure("CLOUDSTACK_ENFORCER_SECRET_KEY", "").await;
        let undone = operations::undo(&cloud.app, RunId::new(run), "alice", true, "test").await.unwrap();
        assert!(undone.left[0].contains("the enforcer's key pair is not configured"), "{undone:?}");
        assert_eq!(holds(&cloud, "eve").await, ["billing"], "and not somebody else's too");
        cloud.pay("eve", "500").await;
        for _ in 0..2 {
            let report = cloud.enforce().await;
            assert!(report.lacks_key && !report.dry_run && report.locked.is_empty(), "{report:?}");
        }
        let locks = cloud.standin.calls().iter().filter(|call| call.command == "disableAccount").count();
        assert_eq!((state(&cloud, "bob").await, locks), (State::Enabled, 1));
        assert_eq!(state(&cloud, "eve").await, State::Locked);
        let eve = cloud.account("eve").await.id;
        let mut tx = cloud.app.store.read().await.unwrap();
        let decided = rows::list_decisions(&mut tx, eve, 1).await.unwrap();
        assert_eq!((decided[0].outcome.as_str(), decided[0].dry_run), ("restore", 1), "it is told to nobody");
        tx.commit().await.unwrap();
        let status = arming::status(&cloud.app).await.unwrap().text(chrono_tz::UTC);
        assert!(status.contains("lock in the whole cloud (by test)"), "{status}");
        assert!(status.contains("key pair is not configured"), "{status}");
        let ann = cloud.account("ann").await.id;
        let mut tx = cloud.app.store.read().await.unwrap();
        let notices = rows::list_notices(&mut tx, Some(ann), 100).await.unwrap();
        let given: Vec<(&str, i64)> = notices.iter().map(|notice| (notice.event.as_str(), notice.dry_run)).collect();
        assert!(given.iter().any(|(event, dry_run)| event.starts_with("used-") && *dry_run == 0), "{given:?}");
        // Nobody is warned in earnest of a lock that nobody could carry out.
        assert!(given.iter().all(|(event, dry_run)| !event.starts_with("warning-") || *dry_run == 1), "{given:?}");
        let told = notify::list_admin_notices_to_mail(&mut tx, 100).await.unwrap();
        let told: Vec<&str> = told.iter().map(|notice| notice.body.as_str()).collect();
        let about_it: Vec<_> = told.iter().filter(|body| body.contains("key pair is not configured")).collect();
        assert!(about_it.len() == 1 && about_it[0].contains("Who has paid stays suspended"), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn the_first_run_report_tells_what_would_be_done_now_and_soon() {
    on_each_database(|database| async {
        let cloud = armed(database, &["bob", "ann"], &[]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("bob", "0.05").await;
        cloud.pass(HOUR);
        cloud.round().await;
        let wanted = Wanted::new(&["notify".to_owned(), "lock".to_owned()], &[]);
        let first = arming::first_run(&cloud.app, &wanted).await.unwrap();
        let bob = first.lines.iter().find(|line| line.account == "ROOT/bob").unwrap();
        assert_eq!((bob.now, bob.next, bob.machines), ("warn", Some("lock"), Some(1)), "{first:?}");
        let text = first.text(chrono_tz::UTC);
        assert!(
            text.contains("would warn 1, restrict 0, lock 0") && text.contains("ROOT/bob: warn now, lock from"),
            "{text}"
        );
        assert!(first.lines.iter().all(|line| line.account != "ROOT/ann"), "nothing is due for ann");
        assert!(audit(&cloud, "enforce.arm").await.is_empty(), "a report arms nothing");
        arming::arm(&cloud.app, &wanted, "alice").await.unwrap();
        assert_eq!(audit(&cloud, "enforce.arm").await[0].0, "alice");
        assert!(!cloud.enforce().await.dry_run);
        assert_eq!(arming::disarm(&cloud.app, &wanted, true, "alice").await.unwrap().len(), 2);
        assert!(cloud.enforce().await.dry_run);
    })
    .await;
}

#[tokio::test]
async fn what_was_taken_is_given_back_also_after_disarming() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        arming::disarm(&cloud.app, &Wanted::new(&[], &[]), true, "alice").await.unwrap();
        cloud.pay("bob", "500").await;
        assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"]);
        assert_eq!(state(&cloud, "bob").await, State::Enabled);
    })
    .await;
}

// Guards.

#[tokio::test]
async fn a_new_version_of_cloudstack_holds_steps_down_until_somebody_has_looked() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let version = runs::find_setting(&mut tx, switches::VERSION).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        cloud.switch(switches::VERSION, "4.20.1.0").await;
        let report = cloud.enforce().await;
        let (outcome, _, why) = decided(&report, "ROOT/bob");
        assert!(outcome == "wait" && why.contains("CloudStack was 4.20.1.0") && why.contains(&version), "{report:?}");
        assert_eq!(calls(&cloud, "disableAccount"), 0);
        operations::confirm(&cloud.app, "alice").await.unwrap();
        assert_eq!(audit(&cloud, "enforce.confirm").await[0].0, "alice");
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        // A restore waits for no look.
        cloud.switch(switches::VERSION, "4.20.1.0").await;
        cloud.pay("bob", "500").await;
        assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"]);
    })
    .await;
}

/// A charge of bob's that waits for a person in an item of this kind: from this net to that, in billionths.
async fn open_charge(cloud: &Cloud, kind: &'static str, (old, new): (i64, i64)) {
    let account = cloud.account("bob").await.id.get();
    let run = newest_run(cloud).await;
    let mut tx = cloud.app.store.begin().await.unwrap();
    let charge = ReviewCharge {
        item_id: 0,
        account_id: account,
        day: 20_000,
        usage_type: 1,
        old_net_nanos: old,
        new_net_nanos: new,
        old_tax_percent: None,
        new_tax_percent: None,
        new_terms_id: None,
        state: "open".to_owned(),
    };
    let key = format!("story/{kind}/{old}/{new}");
    let item = NewItem { key: &key, kind, reason: "story", run };
    corrections::open_item(&mut tx, &item, &[charge], cloud.clock.now()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

/// What waits in items of this kind holds bob where too much may be charged to him, and nobody otherwise.
async fn only_what_may_be_too_much_holds_its_payer(database: Database, kind: &'static str) {
    let mut cloud = armed(database, &["ann", "bob"], &["notify", "lock"]).await;
    for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100")] {
        cloud.reconfigure(key, value).await;
    }
    let_locks_come_due(&cloud, &["ann", "bob"]).await;
    open_charge(&cloud, kind, (9_000_000_000, 1_000_000_000)).await;
    let report = cloud.enforce().await;
    let (outcome, reason, why) = decided(&report, "ROOT/bob");
    assert_eq!((outcome, reason), ("wait", "held-back"), "{report:?}");
    assert!(why.contains("1 corrections that would change what was charged"), "{why}");
    assert_eq!(report.locked, ["ROOT/ann"], "nobody else waits for it");
    run_sql(&cloud, "update review_charge set state = 'released'").await;
    // What would charge more than it does now holds up nobody.
    open_charge(&cloud, kind, (1_000_000_000, 9_000_000_000)).await;
    assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
}

#[tokio::test]
async fn a_correction_that_waits_holds_its_payer_only_where_too_much_may_be_charged() {
    on_each_database(|database| only_what_may_be_too_much_holds_its_payer(database, CORRECTION)).await;
}

#[tokio::test]
async fn a_change_of_past_prices_that_waits_holds_its_payer_only_where_too_much_may_be_charged() {
    on_each_database(|database| only_what_may_be_too_much_holds_its_payer(database, PRICE_CHANGE)).await;
}

#[tokio::test]
async fn much_usage_that_waits_holds_everybody_and_little_only_its_payers() {
    on_each_database(|database| async {
        let mut cloud = armed(database, &["ann", "bob"], &["notify", "lock"]).await;
        for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100"), ("ENFORCEMENT_QUARANTINE_PERCENT", "90")]
        {
            cloud.reconfigure(key, value).await;
        }
        let_locks_come_due(&cloud, &["ann", "bob"]).await;
        run_sql(
            &cloud,
            "update usage_record set standing = 3 where account_id = (select id from account where name = 'bob')",
        )
        .await;
        let report = cloud.enforce().await;
        assert_eq!(report.locked, ["ROOT/ann"], "{report:?}");
        assert!(decided(&report, "ROOT/bob").2.contains("usage records"), "{report:?}");
        cloud.pay("ann", "500").await;
        cloud.enforce().await;
        cloud.limit("ann", "0.01").await;
        cloud.reconfigure("ENFORCEMENT_QUARANTINE_PERCENT", "5").await;
        let report = cloud.enforce().await;
        assert!(decided(&report, "ROOT/bob").2.contains("5 % is the limit"), "{report:?}");
        let options = EnforceOptions { dry_run: true, holds_data_lock: true };
        let rehearsed = work::enforce(&cloud.app, options, "test").await.unwrap();
        assert!(rehearsed.decisions.iter().all(|line| line.outcome != "lock"), "{rehearsed:?}");
    })
    .await;
}

// Undo and leaving.

#[tokio::test]
async fn undo_gives_back_what_a_run_took_and_nothing_of_others_also_while_paused() {
    on_each_database(|database| async {
        let mut cloud = armed(database, &["ann", "bob"], &["notify", "lock"]).await;
        for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100")] {
            cloud.reconfigure(key, value).await;
        }
        let_locks_come_due(&cloud, &["ann", "bob"]).await;
        assert_eq!(cloud.enforce().await.locked.len(), 2);
        let run = newest_run(&cloud).await;
        // An administrator locks bob too.
        cloud.pass(HOUR);
        let bob = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| world.lock_by_admin(bob));
        cloud.switch(switches::PAUSED, "1").await;
        let report = undo(&cloud, run).await;
        assert_eq!(report.given_back, ["ROOT/ann"], "{report:?}");
        assert!(report.left[0].starts_with("ROOT/bob: "), "{report:?}");
        assert_eq!((state(&cloud, "ann").await, state(&cloud, "bob").await), (State::Enabled, State::Locked));
        assert_eq!(audit(&cloud, "enforce.undo").await, [("alice".to_owned(), format!("run {run}"))]);
        // The next runs do not do it again.
        cloud.switch(switches::PAUSED, "0").await;
        for _ in 0..3 {
            cloud.pass(HOUR);
            assert!(cloud.round().await.locked.is_empty());
        }
        let refused = operations::undo(&cloud.app, RunId::new(99_999), "alice", true, "test").await.unwrap_err();
        assert!(refused.to_string().contains("run 99999 is no run of enforcement"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn leaving_gives_back_accounts_projects_machines_and_disarms() {
    on_each_database(|database| async {
        let cloud = due_to_stop(database).await;
        cloud.pass(2 * DAY);
        cloud.catch_up().await;
        assert_eq!(cloud.enforce().await.stopped, ["ROOT/bob"]);
        let bob = id_of(&cloud, "bob").await;
        let eve = id_of(&cloud, "eve").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let projects = bursar::store::cloud::list_projects(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let shop: CloudId = projects[0].cloud_id.parse().unwrap();
        let owners = [bob, shop];
        let machines: Vec<CloudId> =
            cloud.standin.with(|world| owners.into_iter().flat_map(|owner| world.machines_of(owner)).collect());
        assert_eq!(machines.len(), 2, "one is the project's");
        assert!(cloud.standin.with(|world| machines.iter().all(|vm| world.vm_power(*vm) != Some(Power::Running))));
        assert_eq!(cloud.standin.with(|world| world.project_is_active(shop)), Some(false));
        // An account and a project that nobody has restricted have the limits that bob and his had.
        let before = cloud.standin.with(|world| {
            let fresh = world.add_project(eve, "fresh");
            [eve, fresh].map(|owner| world.limits_of(owner))
        });
        let limits = || cloud.standin.with(|world| owners.map(|owner| world.limits_of(owner)));
        let restricted = limits();
        assert!(restricted[0] != before[0] && restricted[1] != before[1], "{restricted:?}");
        let report = operations::leave(&cloud.app, "alice", true, "test").await.unwrap();
        assert_eq!((report.given_back, report.left), (vec!["ROOT/bob".to_owned()], Vec::<String>::new()));
        assert_eq!((state(&cloud, "bob").await, holds(&cloud, "bob").await), (State::Enabled, Vec::new()));
        assert!(cloud.standin.with(|world| machines.iter().all(|vm| world.vm_power(*vm) == Some(Power::Running))));
        assert_eq!(cloud.standin.with(|world| world.project_is_active(shop)), Some(true));
        assert_eq!(limits(), before);
        let status = arming::status(&cloud.app).await.unwrap();
        assert!(status.armed.is_empty() && status.paused && status.held == 0, "{status:?}");
        assert!(day(&cloud).await.dry_run);
        assert_eq!(audit(&cloud, "enforce.leave").await[0].0, "alice");
    })
    .await;
}

// One enforcer.

#[tokio::test]
async fn a_stale_holder_claims_nothing_after_a_new_fence() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        let now = cloud.clock.now();
        let mut tx = cloud.app.store.begin().await.unwrap();
        let old = runs::seize_lease(&mut tx, "enforcer", "the old one", HOUR, now).await.unwrap();
        let new = runs::seize_lease(&mut tx, "enforcer", "the new one", HOUR, now).await.unwrap();
        assert!(new > old);
        let until = now.plus(HOUR);
        assert!(!runs::keep_lease(&mut tx, "enforcer", ("the old one", old), until).await.unwrap());
        assert!(!runs::keep_lease(&mut tx, "enforcer", ("the new one", old), until).await.unwrap());
        assert!(runs::keep_lease(&mut tx, "enforcer", ("the new one", new), until).await.unwrap());
        // Neither does dropping a lease that somebody else took over end it.
        for (holder, fence) in [("the old one", old), ("the new one", old), ("the old one", new)] {
            runs::drop_lease(&mut tx, "enforcer", holder, fence).await.unwrap();
        }
        let taken = runs::take_lease(&mut tx, "enforcer", "a third one", HOUR, now).await.unwrap();
        assert_eq!(taken, None, "it is held");
        // Who takes it a second time writes nothing any more under the first.
        let again = runs::take_lease(&mut tx, "enforcer", "the new one", HOUR, until).await.unwrap().unwrap();
        assert!(again > new);
        assert!(!runs::keep_lease(&mut tx, "enforcer", ("the new one", new), until).await.unwrap());
        // Given back, it is for anybody to take; who gave it back may still write until somebody does.
        runs::drop_lease(&mut tx, "enforcer", "the new one", again).await.unwrap();
        assert!(runs::take_lease(&mut tx, "enforcer", "a third one", HOUR, now).await.unwrap().is_some());
        tx.commit().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn postgresql_takes_away_the_locks_of_who_stands_still_while_it_writes_and_lets_readers_take_their_time() {
    async fn patience(tx: Tx) -> Option<String> {
        let Tx::Postgres(mut tx) = tx else { return None };
        let sql = "show idle_in_transaction_session_timeout";
        Some(sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap())
    }
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        let store = &cloud.app.store;
        let (writes, reads) =
            (patience(store.begin().await.unwrap()).await, patience(store.read().await.unwrap()).await);
        let expected = cloud.database.url.is_some().then(|| ["1min", "0"].map(str::to_owned));
        assert_eq!(writes.zip(reads).map(|(writes, reads)| [writes, reads]), expected);
    })
    .await;
}

// What is told of a step.

#[tokio::test]
async fn a_step_that_waited_for_an_approval_is_told_in_the_words_of_the_day_on_which_it_is_taken() {
    on_each_database(|database| async {
        let cloud = due(database, &["ann", "bob"]).await;
        let id = cloud.enforce().await.plan.unwrap();
        let held = cloud.clock.now().display_in(chrono_tz::UTC);
        cloud.pass(6 * HOUR);
        cloud.catch_up().await;
        cloud.approve(id, "alice").await.unwrap();
        let taken = cloud.clock.now().display_in(chrono_tz::UTC);
        assert_eq!(cloud.enforce().await.locked, ["ROOT/ann", "ROOT/bob"]);
        let bob = cloud.account("bob").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let notices = rows::list_notices(&mut tx, Some(bob.id), 50).await.unwrap();
        let told = notices.into_iter().find(|notice| notice.event.starts_with("locked-")).unwrap().sentence;
        assert!(told.contains(&taken) && !told.contains(&held), "{told}");
        // The lock has a decision of its own, with the figures of then.
        let decisions = rows::list_decisions(&mut tx, bob.id, 50).await.unwrap();
        let locks: Vec<_> = decisions.into_iter().filter(|decision| decision.outcome == "lock").collect();
        assert_eq!(locks.len(), 2, "{locks:?}");
        assert!(!rows::is_untaken(&mut tx, &locks[0]).await.unwrap());
        assert!(rows::is_untaken(&mut tx, &locks[1]).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_plan_that_is_dropped_while_it_is_carried_out_goes_no_further() {
    on_each_database(|database| async {
        let cloud = due(database, &["ann", "bob"]).await;
        let id = cloud.enforce().await.plan.unwrap();
        cloud.approve(id, "alice").await.unwrap();
        let gate = Gate::default();
        let fault = Fault::once("disableAccount", FaultKind::DelayUntil(gate.clone()));
        cloud.standin.with(|world| world.faults().push(fault));
        let meanwhile = async {
            while cloud.standin.with(|world| world.faults().waiting()) > 0 {
                tokio::task::yield_now().await;
            }
            let mut tx = cloud.app.store.begin().await.unwrap();
            plans::drop_plan(&mut tx, id, "alice", cloud.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
            gate.open();
        };
        let (report, ()) = tokio::join!(cloud.enforce(), meanwhile);
        assert_eq!(report.locked, ["ROOT/ann"], "{report:?}");
        assert!(report.failed.iter().any(|line| line.contains("dropped")), "{report:?}");
        assert_eq!((state(&cloud, "bob").await, calls(&cloud, "disableAccount")), (State::Enabled, 1));
        let (row, lines) = plan(&cloud, id).await;
        let states: Vec<&str> = lines.iter().map(|line| line.state.as_str()).collect();
        assert_eq!((row.state.as_str(), states), ("dropped", vec!["done", "waiting"]));
        assert!(audit(&cloud, "plan.carry-out").await.is_empty());
    })
    .await;
}

/// A plan that locks ann and bob, approved.
async fn approved(database: Database) -> (Cloud, i64) {
    let cloud = due(database, &["ann", "bob"]).await;
    let id = cloud.enforce().await.plan.unwrap();
    assert!(cloud.approve(id, "alice").await.unwrap());
    (cloud, id)
}

/// Enforces; while the next call of this command waits for its answer, `act` is done.
async fn enforce_while(cloud: &Cloud, command: &str, act: impl AsyncFnOnce()) -> EnforceReport {
    let gate = Gate::default();
    let fault = Fault::once(command, FaultKind::DelayUntil(gate.clone()));
    cloud.standin.with(|world| world.faults().push(fault));
    let meanwhile = async {
        while cloud.standin.with(|world| world.faults().waiting()) > 0 {
            tokio::task::yield_now().await;
        }
        act().await;
        gate.open();
    };
    tokio::join!(Box::pin(cloud.enforce()), meanwhile).0
}

/// The state of a plan, and those of its lines.
async fn states(cloud: &Cloud, id: i64) -> (String, Vec<String>) {
    let (row, lines) = plan(cloud, id).await;
    (row.state, lines.into_iter().map(|line| line.state).collect())
}

fn are(plan: &str, lines: [&str; 2]) -> (String, Vec<String>) {
    (plan.to_owned(), lines.map(str::to_owned).to_vec())
}

/// The first line of the plan came about, and the second one is left for the next run, which carries it out.
async fn the_next_run_carries_out_the_rest(cloud: &Cloud, id: i64, report: &EnforceReport) {
    assert_eq!(report.locked, ["ROOT/ann"], "{report:?}");
    // Nothing was begun on the second line.
    assert_eq!(report.failed, [format!("plan {id}: the rest is left for the next run")]);
    assert_eq!((state(cloud, "bob").await, calls(cloud, "disableAccount")), (State::Enabled, 1));
    assert_eq!(states(cloud, id).await, are("approved", ["done", "waiting"]));
    cloud.switch(switches::PAUSED, "0").await;
    let report = cloud.enforce().await;
    assert_eq!((report.carried_plan, report.locked.as_slice()), (Some(id), &["ROOT/bob".to_owned()][..]), "{report:?}");
    assert_eq!(states(cloud, id).await, are("done", ["done", "done"]));
    assert_eq!((state(cloud, "bob").await, calls(cloud, "disableAccount")), (State::Locked, 2));
}

#[tokio::test]
async fn a_pause_behind_the_first_line_of_a_plan_leaves_the_rest_for_the_run_after_it() {
    on_each_database(|database| async {
        let (cloud, id) = approved(database).await;
        let pauses = async || cloud.switch(switches::PAUSED, "1").await;
        let report = enforce_while(&cloud, "disableAccount", pauses).await;
        the_next_run_carries_out_the_rest(&cloud, id, &report).await;
    })
    .await;
}

#[tokio::test]
async fn the_rest_of_a_plan_whose_decisions_grew_old_behind_its_first_line_is_left_for_the_next_run() {
    on_each_database(|database| async {
        let (cloud, id) = approved(database).await;
        // A step would still be begun on them: that takes more than a minute.
        let takes_long = async || cloud.clock.advance(Duration::from_secs(50));
        let report = enforce_while(&cloud, "disableAccount", takes_long).await;
        the_next_run_carries_out_the_rest(&cloud, id, &report).await;
    })
    .await;
}

#[tokio::test]
async fn a_line_of_a_plan_that_is_cut_short_before_it_was_begun_is_not_used_up() {
    on_each_database(|database| async {
        let (cloud, id) = approved(database).await;
        // Its machines are listed first. Once the decision grows old meanwhile, and once somebody pauses.
        let takes_long = async || cloud.clock.advance(Duration::from_mins(2));
        let report = enforce_while(&cloud, "listVirtualMachines", takes_long).await;
        assert!(report.failed[0].contains("ROOT/ann: the decision is older than a minute"), "{report:?}");
        assert_eq!(states(&cloud, id).await, are("approved", ["waiting", "waiting"]), "{report:?}");
        let pauses = async || cloud.switch(switches::PAUSED, "1").await;
        let report = enforce_while(&cloud, "listVirtualMachines", pauses).await;
        assert!(report.failed[0].contains("ROOT/ann: enforcement was paused meanwhile"), "{report:?}");
        assert_eq!(states(&cloud, id).await, are("approved", ["waiting", "waiting"]), "{report:?}");
        assert_eq!(calls(&cloud, "disableAccount"), 0);
        cloud.switch(switches::PAUSED, "0").await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/ann", "ROOT/bob"]);
        assert_eq!(states(&cloud, id).await, are("done", ["done", "done"]));
    })
    .await;
}

#[tokio::test]
async fn who_has_paid_is_opened_in_a_cloud_in_which_accounts_are_locked_by_the_thousand() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        cloud.pass(HOUR);
        // Three events each.
        cloud.standin.with(|world| {
            let zoe = tenant(world, "zoe");
            for _ in 0..700 {
                world.lock_by_admin(zoe);
            }
        });
        cloud.pay("bob", "500").await;
        let report = cloud.round().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        assert_eq!(state(&cloud, "bob").await, State::Enabled);
    })
    .await;
}
