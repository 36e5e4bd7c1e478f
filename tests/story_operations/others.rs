//! Whose a lock is, where clocks differ and where CloudStack's events tell only half of it.

use bursar::time::ManualClock;

use super::*;

/// bob, locked by bursar.
async fn locked(database: Database) -> Cloud {
    let cloud = due(database, &["bob"]).await;
    assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
    cloud
}

#[tokio::test]
async fn a_lock_by_hand_is_seen_though_our_clock_was_ahead_when_events_were_read() {
    on_each_database(|database| async {
        let cloud = locked(database).await;
        cloud.pass(HOUR);
        cloud.catch_up().await;
        let ahead = ManualClock::new(cloud.clock.now().plus(2 * DAY));
        let app = crate::harness::open(&cloud.env, &ahead).await;
        let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
        work::enforce(&app, options, "test").await.unwrap();
        app.store.close().await;
        let bob = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| world.lock_by_admin(bob));
        cloud.pass(HOUR);
        cloud.round().await;
        assert!(holds(&cloud, "bob").await.contains(&"admin".to_owned()));
    })
    .await;
}

/// Somebody enables bob, and something locks him again that leaves no event, as the quota plugin does.
async fn locked_past_the_events(cloud: &Cloud) {
    let bob = id_of(cloud, "bob").await;
    cloud.clock.advance(HOUR);
    cloud.standin.with(|world| world.enable_by_admin(bob));
    cloud.clock.advance(HOUR);
    cloud.standin.with(|world| world.set_account_state(bob, State::Locked));
}

#[tokio::test]
async fn a_lock_without_an_event_after_somebody_enabled_the_account_is_not_opened() {
    on_each_database(|database| async {
        let cloud = locked(database).await;
        locked_past_the_events(&cloud).await;
        cloud.pay("bob", "500").await;
        let report = cloud.enforce().await;
        assert!(report.left.iter().any(|line| line.contains("somebody else locked it too")), "{report:?}");
        assert_eq!(state(&cloud, "bob").await, State::Locked);
        assert!(holds(&cloud, "bob").await.contains(&"admin".to_owned()));
        assert_eq!(calls(&cloud, "enableAccount"), 0);
    })
    .await;
}

#[tokio::test]
async fn a_lock_without_an_event_after_somebody_enabled_the_account_is_not_built_upon() {
    on_each_database(|database| async {
        let cloud = due_to_stop(database).await;
        locked_past_the_events(&cloud).await;
        let before = calls(&cloud, "disableAccount");
        let report = cloud.enforce().await;
        assert!(report.left.iter().any(|line| line.contains("somebody else locked it")), "{report:?}");
        assert_eq!((calls(&cloud, "disableAccount"), state(&cloud, "bob").await), (before, State::Locked));
    })
    .await;
}

#[tokio::test]
async fn each_lock_of_an_account_that_somebody_enabled_has_a_decision_and_figures_of_its_own() {
    on_each_database(|database| async {
        let mut cloud = due(database, &["bob"]).await;
        cloud.reconfigure("POLICY_ON_DRIFT", "suspend").await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        let bob = id_of(&cloud, "bob").await;
        for _ in 0..3 {
            cloud.standin.with(|world| world.enable_by_admin(bob));
            cloud.pass(HOUR);
            assert_eq!(cloud.round().await.locked, ["ROOT/bob"]);
        }
        let account = cloud.account("bob").await.id;
        let mut tx = cloud.app.store.read().await.unwrap();
        let intents = rows::list_intents(&mut tx, Some(account), 10).await.unwrap();
        let decisions = rows::list_decisions(&mut tx, account, 10).await.unwrap();
        assert_eq!(intents.len(), 4);
        let mut sentences = std::collections::BTreeSet::new();
        for intent in &intents {
            let decision = decisions.iter().find(|row| row.id == intent.decision_id).unwrap();
            assert!(decision.decided_ms <= intent.created_ms && intent.created_ms - decision.decided_ms < 60_000);
            sentences.insert(&decision.sentence);
        }
        assert_eq!(sentences.len(), 4, "each tells what was used by then: {sentences:?}");
    })
    .await;
}

#[tokio::test]
async fn a_user_of_the_same_name_in_another_domain_is_not_bursar() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob", "ann"]).await;
        let own = {
            let client = cloud.app.client(bursar::jobs::Role::Enforcer).unwrap();
            client.own_user().await.unwrap().unwrap().username
        };
        // A customer's administrator makes a user of bursar's name, and locks and enables an account of the customer's with it.
        let ann = id_of(&cloud, "ann").await;
        cloud.standin.with(|world| {
            let root = world.find_domain("ROOT").unwrap();
            let domain = world.add_domain(root, "customer");
            let account = world.add_account(domain, "boss", AccountKind::DomainAdmin);
            let user = world.add_user(account, &own, "password-of-a-tenant", "boss@example.com");
            world.lock_by(user, ann);
        });
        let report = cloud.enforce().await;
        assert_eq!(report.unconfirmed, None, "{report:?}");
        assert!(report.locked.contains(&"ROOT/bob".to_owned()) || report.plan.is_some(), "{report:?}");
        assert!(holds(&cloud, "ann").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_lock_by_hand_that_was_handed_over_opens_though_bursar_had_locked_the_account_before() {
    on_each_database(|database| async {
        let cloud = locked(database).await;
        cloud.pay("bob", "500").await;
        assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"]);
        day(&cloud).await;
        let bob = id_of(&cloud, "bob").await;
        cloud.standin.with(|world| world.lock_by_admin(bob));
        cloud.pass(HOUR);
        cloud.round().await;
        // As `bursar hold adopt bob --as billing` does it.
        let account = cloud.account("bob").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let why = "adopted as billing: it was locked when it was met";
        rows::place_hold(&mut tx, account.id, "billing", "lock", why, None, "alice", cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let report = cloud.enforce().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn what_others_did_is_in_the_audit_trail() {
    on_each_database(|database| async {
        let cloud = locked(database).await;
        let bob = id_of(&cloud, "bob").await;
        cloud.pass(HOUR);
        cloud.catch_up().await;
        cloud.standin.with(|world| world.lock_by_admin(bob));
        cloud.pass(HOUR);
        cloud.round().await;
        assert_eq!(audit(&cloud, "hold.place").await.len(), 1);
        cloud.standin.with(|world| world.enable_by_admin(bob));
        cloud.pass(HOUR);
        cloud.round().await;
        assert_eq!(audit(&cloud, "hold.lift").await.len(), 1);
    })
    .await;
}

/// Not on PostgreSQL: there the lease of who died lasts as long as its clock was ahead.
#[tokio::test]
async fn what_goes_with_an_opening_that_came_late_comes_back_though_our_clock_was_ahead() {
    let cloud = armed(Database::sqlite(), &["bob"], &["notify", "restrict", "lock"]).await;
    cloud.pass(HOUR);
    cloud.round().await;
    let bob = id_of(&cloud, "bob").await;
    let limits = || cloud.standin.with(|world| world.limits_of(bob));
    let before = limits();
    let_locks_come_due(&cloud, &["bob"]).await;
    cloud.round().await;
    cloud.pass(3 * DAY);
    cloud.catch_up().await;
    assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
    // The process dies, its clock ahead, while the call that opens bob is on its way.
    cloud.limit("bob", "500").await;
    let ahead = ManualClock::new(cloud.clock.now().plus(2 * DAY + 10 * HOUR));
    let app = crate::harness::open(&cloud.env, &ahead).await;
    let gate = Gate::default();
    let fault = Fault::once("enableAccount", FaultKind::DelayUntil(gate.clone()));
    cloud.standin.with(|world| world.faults().push(fault));
    let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
    let called = async {
        while cloud.standin.with(|world| world.faults().waiting()) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        report = Box::pin(work::enforce(&app, options, "test")) => panic!("it came to its end: {report:?}"),
        () = called => {}
    }
    app.store.close().await;
    // Nobody would open him any more, and what was sent is given up.
    cloud.limit("bob", "0.05").await;
    cloud.enforce().await;
    assert_eq!((state(&cloud, "bob").await, holds(&cloud, "bob").await), (State::Locked, vec!["billing".to_owned()]));
    gate.open();
    while state(&cloud, "bob").await != State::Enabled {
        tokio::task::yield_now().await;
    }
    cloud.pass(HOUR);
    cloud.round().await;
    assert_eq!((holds(&cloud, "bob").await, limits()), (Vec::new(), before));
}
