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
        assert!(report.failed.iter().any(|line| line.contains("somebody else locked it too")), "{report:?}");
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
        assert!(report.failed.iter().any(|line| line.contains("somebody else locked it")), "{report:?}");
        assert_eq!((calls(&cloud, "disableAccount"), state(&cloud, "bob").await), (before, State::Locked));
    })
    .await;
}
