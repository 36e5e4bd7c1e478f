//! What a person orders, given twice, too late, or ended in the middle; and what an order has no say in.

use bursar::{
    enforcement::undo::UndoReport,
    store::{acting, cloud as directory},
};

use super::*;

async fn leave(cloud: &Cloud) -> UndoReport {
    operations::leave(&cloud.app, "alice", true, "test").await.unwrap()
}

/// bob, locked by bursar, and the run that did it.
async fn locked(database: Database) -> (Cloud, RunId) {
    let cloud = due(database, &["bob"]).await;
    assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
    let run = newest_run(&cloud).await;
    (cloud, run)
}

fn bob() -> Vec<String> {
    vec!["ROOT/bob".to_owned()]
}

#[tokio::test]
async fn who_leaves_again_once_an_administrator_has_enabled_the_account_gets_the_rest_back() {
    on_each_database(|database| async {
        let cloud = due_to_stop(database).await;
        cloud.pass(2 * DAY);
        cloud.catch_up().await;
        assert_eq!(cloud.enforce().await.stopped, ["ROOT/bob"]);
        let bob_id = id_of(&cloud, "bob").await;
        let machines = cloud.standin.with(|world| world.machines_of(bob_id));
        cloud.pass(HOUR);
        cloud.standin.with(|world| world.lock_by_admin(bob_id));
        let report = leave(&cloud).await;
        assert!(report.given_back.is_empty() && report.left[0].starts_with("ROOT/bob: "), "{report:?}");
        cloud.pass(HOUR);
        cloud.standin.with(|world| world.enable_by_admin(bob_id));
        let report = leave(&cloud).await;
        assert_eq!((report.given_back, report.left), (bob(), Vec::<String>::new()), "on {}", cloud.database.kind);
        assert!(holds(&cloud, "bob").await.is_empty());
        assert!(cloud.standin.with(|world| machines.iter().all(|vm| world.vm_power(*vm) == Some(Power::Running))));
    })
    .await;
}

#[tokio::test]
async fn an_order_given_twice_says_that_nothing_is_held_any_more() {
    on_each_database(|database| async {
        let (cloud, run) = locked(database).await;
        cloud.switch(switches::PAUSED, "1").await;
        assert_eq!(undo(&cloud, run).await.given_back, ["ROOT/bob"]);
        let alone = audit(&cloud, "account.leave-alone").await.len();
        for _ in 0..2 {
            let again = undo(&cloud, run).await;
            assert_eq!((again.left, again.free), (Vec::<String>::new(), bob()), "on {}", cloud.database.kind);
        }
        assert_eq!(audit(&cloud, "account.leave-alone").await.len(), alone, "nothing more was said of bob");
        let report = leave(&cloud).await;
        assert_eq!((report.given_back, report.left), (Vec::<String>::new(), Vec::new()));
    })
    .await;
}

#[tokio::test]
async fn an_account_that_stays_closed_is_not_told_that_it_was_opened() {
    on_each_database(|database| async {
        let (cloud, run) = locked(database).await;
        let account = cloud.account("bob").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        rows::place_hold(&mut tx, account.id, "abuse", "lock", "spam", None, "bert", cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let newest = async || {
            let mut tx = cloud.app.store.read().await.unwrap();
            rows::list_decisions(&mut tx, account.id, 1).await.unwrap()[0].clone()
        };
        let before = newest().await;
        let report = undo(&cloud, run).await;
        assert!(report.left[0].contains("somebody else wants it suspended too"), "{report:?}");
        let after = newest().await;
        assert_eq!((after.id, after.outcome.as_str()), (before.id, "lock"), "{}", after.sentence);
        assert_eq!(state(&cloud, "bob").await, State::Locked);
    })
    .await;
}

#[tokio::test]
async fn leaving_names_what_is_not_back_of_an_account_that_somebody_else_holds() {
    on_each_database(|database| async {
        let cloud = armed(database, &["bob"], &["notify", "restrict"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("bob", "0.05").await;
        cloud.pass(HOUR);
        assert_eq!(cloud.round().await.restricted, ["ROOT/bob"]);
        // The hold was lifted by hand before anything was back, and an administrator holds the account.
        let account = cloud.account("bob").await;
        let now = cloud.clock.now();
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(rows::lift_hold(&mut tx, account.id, "billing", "bert", now).await.unwrap());
        rows::place_hold(&mut tx, account.id, "abuse", "lock", "spam", None, "bert", now).await.unwrap();
        tx.commit().await.unwrap();
        let report = leave(&cloud).await;
        assert!(report.given_back.is_empty(), "{report:?}");
        assert!(report.left.iter().any(|line| line.starts_with("ROOT/bob: held by abuse")), "{report:?}");
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(rows::lift_hold(&mut tx, account.id, "abuse", "bert", now).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(leave(&cloud).await.given_back, ["ROOT/bob"]);
        let mut tx = cloud.app.store.read().await.unwrap();
        assert_eq!(acting::list_limit_changes(&mut tx, None).await.unwrap(), Vec::new());
    })
    .await;
}

#[tokio::test]
async fn a_plan_does_not_outlive_leaving() {
    on_each_database(|database| async {
        let cloud = due(database, &["ann", "bob"]).await;
        let id = cloud.enforce().await.plan.unwrap();
        cloud.approve(id, "alice").await.unwrap();
        leave(&cloud).await;
        assert_eq!(plan(&cloud, id).await.0.state, "dropped");
        assert_eq!(audit(&cloud, "plan.drop").await, [("alice".to_owned(), format!("plan {id}"))]);
        // Somebody arms again: nobody has approved anything since.
        cloud.arm(&["notify", "lock"]).await;
        cloud.switch(switches::PAUSED, "0").await;
        cloud.catch_up().await;
        let report = cloud.enforce().await;
        assert_eq!((report.carried_plan, report.locked.len()), (None, 0), "{report:?}");
        assert_eq!(calls(&cloud, "disableAccount"), 0);
    })
    .await;
}

#[tokio::test]
async fn an_account_that_was_removed_in_cloudstack_keeps_nobody_from_leaving() {
    on_each_database(|database| async {
        let (cloud, run) = locked(database).await;
        let bob_id = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| {
            let now = world.now();
            world.remove_account(bob_id, now);
        });
        cloud.pass(HOUR);
        cloud.catch_up().await;
        let report = leave(&cloud).await;
        assert_eq!((report.left, report.free.len()), (Vec::<String>::new(), 1), "on {}", cloud.database.kind);
        assert!(report.free[0].contains("it is no longer in CloudStack"), "{:?}", report.free);
        let mut tx = cloud.app.store.read().await.unwrap();
        assert!(directory::list_accounts(&mut tx).await.unwrap().iter().any(|account| account.gone_ms.is_some()));
        assert_eq!(rows::list_holds(&mut tx, None).await.unwrap().len(), 1, "it may only be hidden");
        tx.commit().await.unwrap();
        assert!(undo(&cloud, run).await.left.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_order_that_ends_in_the_middle_says_and_keeps_what_it_did() {
    on_each_database(|database| async {
        let mut cloud = armed(database, &["ann", "bob"], &["notify", "lock"]).await;
        for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100")] {
            cloud.reconfigure(key, value).await;
        }
        let_locks_come_due(&cloud, &["ann", "bob"]).await;
        assert_eq!(cloud.enforce().await.locked.len(), 2);
        let run = newest_run(&cloud).await;
        // CloudStack is away from the second account on.
        let bob_id = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| {
            let away = |command| Fault::once(command, FaultKind::Status(503)).times(100);
            world.faults().push(away("listAccounts").about("id", &bob_id.to_string()));
            // CloudStack's clock is measured at first.
            world.faults().push(Fault::once("listCapabilities", FaultKind::DelayFor(Duration::ZERO)).times(2));
            world.faults().push(away("listCapabilities"));
        });
        let error = operations::undo(&cloud.app, run, "alice", true, "test").await.unwrap_err().to_string();
        assert!(error.contains("given back before that: ROOT/ann"), "{error}");
        cloud.standin.with(|world| world.faults().clear());
        let mut tx = cloud.app.store.read().await.unwrap();
        let lines = runs::list_audit(&mut tx, None, 1_000).await.unwrap();
        let line = lines.iter().find(|line| line.action == "enforce.undo").unwrap();
        let answer = line.answer.clone().unwrap();
        assert!(line.actor == "alice" && answer.starts_with("1 given back, 0 left; not ended: "), "{answer}");
        let detail = runs::list_runs(&mut tx, Some("enforce"), 1).await.unwrap()[0].detail.clone();
        assert!(detail.contains("\"given_back\":[\"ROOT/ann\"]") && detail.contains("\"error\":"), "{detail}");
        tx.commit().await.unwrap();
        // The same again does the rest.
        let again = undo(&cloud, run).await;
        assert_eq!((again.given_back, again.free), (bob(), vec!["ROOT/ann".to_owned()]));
    })
    .await;
}

#[tokio::test]
async fn what_one_of_two_has_approved_stays_while_its_steps_merely_wait() {
    on_each_database(|database| async {
        let mut cloud = due(database, &["ann", "bob"]).await;
        cloud.reconfigure("FUSE_SECOND_ADMIN", "true").await;
        let id = cloud.enforce().await.plan.unwrap();
        assert!(!cloud.approve(id, "alice").await.unwrap());
        // A guard holds everything back for a run.
        let mut tx = cloud.app.store.read().await.unwrap();
        let version = runs::find_setting(&mut tx, switches::VERSION).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        cloud.switch(switches::VERSION, "4.20.1.0").await;
        let report = cloud.enforce().await;
        assert_eq!(decided(&report, "ROOT/ann").0, "wait", "{report:?}");
        assert_eq!(plan(&cloud, id).await.0.state, "waiting", "on {}", cloud.database.kind);
        // Nor does one that waits for a guard keep a plan whose other step has gone.
        let other = due(Database::sqlite(), &["ann", "bob"]).await;
        let waiting = other.enforce().await.plan.unwrap();
        other.pay("ann", "500").await;
        other.switch(switches::VERSION, "4.20.1.0").await;
        other.enforce().await;
        assert_eq!(plan(&other, waiting).await.0.state, "overtaken");
        cloud.switch(switches::VERSION, &version).await;
        assert!(cloud.approve(id, "bert").await.unwrap());
        assert_eq!(cloud.enforce().await.locked, ["ROOT/ann", "ROOT/bob"]);
    })
    .await;
}
