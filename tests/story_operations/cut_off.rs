//! An undo whose process dies while it gives back.

use bursar::store::policy;

use super::*;

/// Undoes a run in a process that dies while it waits for the answer to the next call of this command. CloudStack does what it was asked.
async fn undo_and_die(cloud: &Cloud, run: RunId, command: &str) {
    let gate = Gate::default();
    let fault = Fault::once(command, FaultKind::DelayUntil(gate.clone()));
    cloud.standin.with(|world| world.faults().push(fault));
    let called = async {
        while cloud.standin.with(|world| world.faults().waiting()) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        report = Box::pin(undo(cloud, run)) => panic!("it came to its end: {report:?}"),
        () = called => {}
    }
    gate.open();
}

/// On whose word bob is left alone.
async fn left_alone_by(cloud: &Cloud) -> Vec<String> {
    let bob = cloud.account("bob").await.id;
    let mut tx = cloud.app.store.read().await.unwrap();
    let alone = policy::list_exemptions(&mut tx, cloud.clock.now()).await.unwrap();
    alone.into_iter().filter(|row| row.account_id == Some(bob)).map(|row| row.author).collect()
}

#[tokio::test]
async fn who_was_opened_by_an_undo_that_died_is_left_alone() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        let run = newest_run(&cloud).await;
        undo_and_die(&cloud, run, "enableAccount").await;
        while state(&cloud, "bob").await != State::Enabled {
            tokio::task::yield_now().await;
        }
        assert_eq!(holds(&cloud, "bob").await, ["billing"], "nothing was noted of it any more");
        assert_eq!(left_alone_by(&cloud).await, [format!("alice (undo of run {run})")], "on {}", cloud.database.kind);
        // The next run ends what was begun.
        cloud.pass(HOUR);
        let report = cloud.round().await;
        assert!(report.locked.is_empty() && holds(&cloud, "bob").await.is_empty(), "{report:?}");
        assert_eq!(state(&cloud, "bob").await, State::Enabled);
    })
    .await;
}

#[tokio::test]
async fn who_was_freed_by_an_undo_that_died_is_not_taken_again_by_the_next_runs() {
    on_each_database(|database| async {
        let mut cloud = armed(database, &["bob"], &["notify", "restrict"]).await;
        // Nothing but the word of whoever undid keeps the next runs off.
        for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100"), ("POLICY_RESPITE_HOURS", "0")] {
            cloud.reconfigure(key, value).await;
        }
        cloud.pass(HOUR);
        cloud.round().await;
        let bob = id_of(&cloud, "bob").await;
        let limits = || cloud.standin.with(|world| world.limits_of(bob));
        let before = limits();
        cloud.limit("bob", "0.05").await;
        cloud.pass(HOUR);
        assert_eq!(cloud.round().await.restricted, ["ROOT/bob"]);
        let run = newest_run(&cloud).await;
        undo_and_die(&cloud, run, "updateResourceLimit").await;
        assert!(holds(&cloud, "bob").await.is_empty(), "bob is free, and his limits are on their way back");
        for _ in 0..3 {
            cloud.pass(HOUR);
            let report = cloud.round().await;
            assert!(report.restricted.is_empty(), "on {}: {report:?}", cloud.database.kind);
            assert_eq!(decided(&report, "ROOT/bob").1, "exempt", "{report:?}");
        }
        assert_eq!(limits(), before);
    })
    .await;
}
