//! Steps downwards that were begun and not ended, and the fuse.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use bursar::{
    store::acting,
    time::{Clock, ManualClock, Timestamp},
};

use super::*;

/// ann and bob, to be restricted once they are over; the fuse allows one a day. bob is over, and the network fails in the middle
/// of his restriction.
async fn half_restricted(database: Database) -> Cloud {
    let cloud = armed(database, &["ann", "bob"], &["notify", "restrict"]).await;
    cloud.pass(HOUR);
    cloud.round().await;
    cloud.limit("bob", "0.05").await;
    cloud.pass(HOUR);
    cut(&cloud);
    let report = cloud.round().await;
    assert!(report.started.iter().any(|line| line.starts_with("ROOT/bob: ")), "{report:?}");
    assert_eq!(open(&cloud).await, ["restrict"]);
    cloud
}

/// The next change of a limit does not arrive.
fn cut(cloud: &Cloud) {
    let fault = Fault::once("updateResourceLimit", FaultKind::CutBeforeAction);
    cloud.standin.with(|world| world.faults().push(fault));
}

/// What is under way.
async fn open(cloud: &Cloud) -> Vec<String> {
    let mut tx = cloud.app.store.read().await.unwrap();
    rows::list_open_intents(&mut tx).await.unwrap().into_iter().map(|intent| intent.action).collect()
}

/// ann is over, two days after bob's restriction was begun.
async fn ann_is_over_too(cloud: &Cloud) {
    cloud.limit("ann", "0.05").await;
    cloud.pass(2 * DAY);
    cloud.catch_up().await;
}

#[tokio::test]
async fn a_restriction_that_was_begun_is_ended_and_does_not_wait_behind_the_fuse() {
    on_each_database(|database| async {
        let cloud = half_restricted(database).await;
        ann_is_over_too(&cloud).await;
        let report = cloud.enforce().await;
        assert_eq!(report.restricted, ["ROOT/bob"], "{report:?}");
        assert!(open(&cloud).await.is_empty());
        // bob's last step counts for the day on which it was taken.
        assert!(report.fuse.as_ref().is_some_and(|why| why.contains("with those of the last day 2")), "{report:?}");
        cloud.pass(DAY + HOUR);
        assert_eq!(cloud.round().await.restricted, ["ROOT/ann"]);
    })
    .await;
}

#[tokio::test]
async fn what_was_begun_keeps_its_room_in_the_fuse_until_it_has_ended() {
    on_each_database(|database| async {
        let cloud = half_restricted(database).await;
        ann_is_over_too(&cloud).await;
        cut(&cloud);
        let report = cloud.enforce().await;
        assert_eq!((open(&cloud).await.len(), report.restricted.len()), (1, 0), "{report:?}");
        assert!(report.fuse.is_some(), "ann would be the second: {report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_restriction_that_was_begun_is_ended_where_nothing_is_armed_any_more() {
    on_each_database(|database| async {
        let cloud = half_restricted(database).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        for rung in ["notify", "restrict"] {
            assert!(bursar::store::policy::disarm(&mut tx, rung, "").await.unwrap());
        }
        tx.commit().await.unwrap();
        cloud.pass(HOUR);
        cloud.round().await;
        assert!(open(&cloud).await.is_empty());
        assert_eq!(holds(&cloud, "bob").await, ["billing"], "what was lowered is held, to be put back");
    })
    .await;
}

#[tokio::test]
async fn a_restriction_that_was_begun_is_ended_and_held_where_the_decision_waits_for_better_data() {
    on_each_database(|database| async {
        let cloud = half_restricted(database).await;
        // The usage job has not run for hours.
        cloud.clock.advance(5 * HOUR);
        let report = cloud.round().await;
        assert_eq!(decided(&report, "ROOT/bob").0, "wait", "{report:?}");
        assert!(open(&cloud).await.is_empty());
        assert_eq!(holds(&cloud, "bob").await, ["billing"]);
        cloud.pay("bob", "500").await;
        assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"], "giving back waits for no data");
    })
    .await;
}

#[tokio::test]
async fn a_restore_that_was_cut_off_behind_the_hold_goes_on() {
    on_each_database(|database| async {
        let cloud = armed(database, &["bob"], &["notify", "restrict"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        let bob = id_of(&cloud, "bob").await;
        let limits = || cloud.standin.with(|world| world.limits_of(bob));
        let before = limits();
        cloud.limit("bob", "0.05").await;
        cloud.pass(HOUR);
        assert_eq!(cloud.round().await.restricted, ["ROOT/bob"]);
        cloud.pay("bob", "500").await;
        // The account is open already when its limits are asked for.
        let fault = Fault::once("listResourceLimits", FaultKind::Status(503));
        cloud.standin.with(|world| world.faults().push(fault));
        let report = cloud.enforce().await;
        assert!(report.failed.iter().any(|line| line.starts_with("ROOT/bob: ")), "{report:?}");
        assert!(holds(&cloud, "bob").await.is_empty() && limits() != before);
        cloud.enforce().await;
        assert_eq!(limits(), before);
        assert!(open(&cloud).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_was_lowered_comes_back_where_somebody_lifted_the_hold() {
    on_each_database(|database| async {
        let cloud = armed(database, &["bob"], &["notify", "restrict"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        let bob = id_of(&cloud, "bob").await;
        let limits = || cloud.standin.with(|world| world.limits_of(bob));
        let before = limits();
        cloud.limit("bob", "0.05").await;
        cloud.pass(HOUR);
        assert_eq!(cloud.round().await.restricted, ["ROOT/bob"]);
        cloud.pay("bob", "500").await;
        run_sql(&cloud, "update hold set lifted_ms = placed_ms + 1, lifted_by = 'alice'").await;
        assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"]);
        assert_eq!(limits(), before);
    })
    .await;
}

#[tokio::test]
async fn leaving_gives_back_what_no_hold_stands_for_yet() {
    on_each_database(|database| async {
        let cloud = half_restricted(database).await;
        let bob = id_of(&cloud, "bob").await;
        let most = || cloud.standin.with(|world| world.limits_of(bob)[&2]);
        assert_eq!(most(), 1, "volumes are limited to the one that is there");
        cloud.pass(HOUR);
        let report = operations::leave(&cloud.app, "alice", true, "test").await.unwrap();
        assert_eq!((report.given_back.as_slice(), report.left.as_slice()), (&["ROOT/bob".to_owned()][..], &[][..]));
        assert_eq!(most(), 20);
        assert!(open(&cloud).await.is_empty() && holds(&cloud, "bob").await.is_empty());
        let mut tx = cloud.app.store.read().await.unwrap();
        assert_eq!(bursar::store::acting::list_limit_changes(&mut tx, None).await.unwrap(), Vec::new());
    })
    .await;
}

#[tokio::test]
async fn what_could_not_be_given_back_before_somebody_locked_the_account_comes_back_once_it_is_enabled() {
    on_each_database(|database| async {
        let cloud = armed(database, &["bob"], &["notify", "restrict", "lock"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        let bob = id_of(&cloud, "bob").await;
        let limits = || cloud.standin.with(|world| world.limits_of(bob));
        let before = limits();
        let_locks_come_due(&cloud, &["bob"]).await;
        // The restriction came first; the lock is warned of behind it.
        cloud.round().await;
        cloud.pass(3 * DAY);
        cloud.catch_up().await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        cloud.pay("bob", "500").await;
        let fault = Fault::once("listResourceLimits", FaultKind::Status(503));
        cloud.standin.with(|world| world.faults().push(fault));
        let report = cloud.enforce().await;
        assert!(report.failed.iter().any(|line| line.starts_with("ROOT/bob: ")), "{report:?}");
        assert_eq!(state(&cloud, "bob").await, State::Enabled);
        cloud.standin.with(|world| world.lock_by_admin(bob));
        cloud.enforce().await;
        // Nothing is under way while somebody else has the say.
        assert!(open(&cloud).await.is_empty() && limits() != before);
        assert_eq!((state(&cloud, "bob").await, calls(&cloud, "enableAccount")), (State::Locked, 1));
        cloud.standin.with(|world| world.enable_by_admin(bob));
        cloud.pass(HOUR);
        let report = cloud.round().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        assert_eq!(limits(), before);
    })
    .await;
}

#[tokio::test]
async fn a_restore_that_was_left_open_is_not_driven_over_what_somebody_else_did_since() {
    for by_hand in [true, false] {
        on_each_database(|database| async {
            let cloud = due(database, &["bob"]).await;
            assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
            cloud.pay("bob", "500").await;
            let gate = Gate::default();
            let push =
                |command: &str, kind| cloud.standin.with(|world| world.faults().push(Fault::once(command, kind)));
            push("enableAccount", FaultKind::DelayUntil(gate.clone()));
            // The account is enabled, and nobody can read that it is.
            let breaking = async {
                while cloud.standin.with(|world| world.faults().waiting()) > 0 {
                    tokio::task::yield_now().await;
                }
                push("listAccounts", FaultKind::Status(503));
                gate.open();
            };
            let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
            let (_, ()) = tokio::join!(work::enforce(&cloud.app, options, "test"), breaking);
            assert_eq!(open(&cloud).await, ["restore"]);
            let bob = id_of(&cloud, "bob").await;
            cloud.standin.with(|world| world.lock_by_admin(bob));
            if !by_hand {
                let account = cloud.account("bob").await;
                let mut tx = cloud.app.store.begin().await.unwrap();
                let why = "he attacked others";
                rows::place_hold(&mut tx, account.id, "abuse", "lock", why, None, "alice", cloud.clock.now())
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
            }
            for _ in 0..3 {
                cloud.pass(HOUR);
                cloud.round().await;
            }
            assert_eq!((state(&cloud, "bob").await, calls(&cloud, "enableAccount")), (State::Locked, 1));
            assert!(open(&cloud).await.is_empty());
        })
        .await;
    }
}

#[tokio::test]
async fn undoing_a_run_gives_back_what_it_went_on_with() {
    on_each_database(|database| async {
        let cloud = half_restricted(database).await;
        cloud.pass(HOUR);
        assert_eq!(cloud.round().await.restricted, ["ROOT/bob"]);
        let report = undo(&cloud, newest_run(&cloud).await).await;
        assert_eq!(report.given_back, ["ROOT/bob"], "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn undoing_a_run_leaves_what_a_later_one_did_to_the_same_account() {
    on_each_database(|database| async {
        let cloud = armed(database, &["bob"], &["notify", "restrict"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("bob", "0.05").await;
        cloud.pass(HOUR);
        assert_eq!(cloud.round().await.restricted, ["ROOT/bob"]);
        let first = newest_run(&cloud).await;
        cloud.limit("bob", "500").await;
        assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"]);
        cloud.pass(2 * DAY);
        cloud.catch_up().await;
        cloud.limit("bob", "0.05").await;
        assert_eq!(cloud.enforce().await.restricted, ["ROOT/bob"]);
        let second = newest_run(&cloud).await;
        assert_eq!(undo(&cloud, first).await.given_back, Vec::<String>::new());
        assert_eq!(holds(&cloud, "bob").await, ["billing"]);
        assert_eq!(undo(&cloud, second).await.given_back, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn undoing_a_lock_that_is_still_on_its_way_says_so() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        let fault = Fault::once("disableAccount", FaultKind::CutBeforeAction);
        cloud.standin.with(|world| world.faults().push(fault));
        let report = cloud.enforce().await;
        assert_eq!((report.locked.len(), report.started.len()), (0, 1), "{report:?}");
        let report = undo(&cloud, newest_run(&cloud).await).await;
        assert!(report.started[0].contains("a lock is on its way"), "{report:?}");
    })
    .await;
}

/// ann, bob and eve, restricted, with a fuse that lets everybody pass.
async fn all_restricted(database: Database) -> Cloud {
    let mut cloud = armed(database, &["ann", "bob", "eve"], &["notify", "restrict"]).await;
    for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100")] {
        cloud.reconfigure(key, value).await;
    }
    cloud.pass(HOUR);
    cloud.round().await;
    for name in ["ann", "bob", "eve"] {
        cloud.limit(name, "0.05").await;
    }
    cloud.pass(HOUR);
    assert_eq!(cloud.round().await.restricted.len(), 3);
    cloud
}

/// From now on nobody's limits can be read of this account.
fn unreadable(cloud: &Cloud, name: &str) {
    let fault = Fault::once("listResourceLimits", FaultKind::Status(503)).about("account", name).times(1_000);
    cloud.standin.with(|world| world.faults().push(fault));
}

#[tokio::test]
async fn an_account_that_can_not_be_read_stands_in_nobodys_way() {
    on_each_database(|database| async {
        let cloud = all_restricted(database).await;
        unreadable(&cloud, "ann");
        cloud.pay("ann", "500").await;
        cloud.pay("bob", "500").await;
        let report = cloud.enforce().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        assert!(report.failed.iter().any(|line| line.starts_with("ROOT/ann: ")), "{report:?}");
        // Her restore is open from now on, and looked at before anything else.
        cloud.pay("eve", "500").await;
        let report = cloud.enforce().await;
        assert_eq!(report.restored, ["ROOT/eve"], "{report:?}");
        assert!(
            report.recovered.iter().any(|line| line.starts_with("ROOT/ann: an interrupted restore: ")),
            "{report:?}"
        );
        cloud.standin.with(|world| world.faults().clear());
        cloud.enforce().await;
        assert!(open(&cloud).await.is_empty() && holds(&cloud, "ann").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_run_ends_where_cloudstack_is_out_and_tells_what_was_done_before() {
    on_each_database(|database| async {
        let cloud = all_restricted(database).await;
        for name in ["ann", "bob", "eve"] {
            cloud.pay(name, "500").await;
        }
        unreadable(&cloud, "bob");
        // The clock is asked for twice, and the version.
        let soon = Fault::once("listCapabilities", FaultKind::DelayFor(Duration::ZERO)).times(5);
        let out = Fault::once("listCapabilities", FaultKind::Status(503)).times(1_000);
        cloud.standin.with(|world| {
            world.faults().push(soon);
            world.faults().push(out);
        });
        let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
        let error = work::enforce(&cloud.app, options, "test").await.unwrap_err().to_string();
        assert!(error.starts_with("nothing more was done: "), "{error}");
        let mut tx = cloud.app.store.read().await.unwrap();
        let run = runs::list_runs(&mut tx, Some("enforce"), 1).await.unwrap().remove(0);
        tx.commit().await.unwrap();
        let told: serde_json::Value = serde_json::from_str(&run.detail).unwrap();
        assert_eq!((run.outcome.as_deref(), &told["restored"]), (Some("failed"), &serde_json::json!(["ROOT/ann"])));
        assert_eq!(told["error"], error);
        assert!(told["decided"]["restore"].as_u64() > Some(1) && told.get("decisions").is_none(), "{told}");
        assert_eq!(holds(&cloud, "eve").await, ["billing"], "nobody is asked for who can not answer");
        cloud.standin.with(|world| world.faults().clear());
        cloud.enforce().await;
        assert!(open(&cloud).await.is_empty() && holds(&cloud, "eve").await.is_empty());
        // And where nothing answers at all.
        cloud.standin.with(|world| world.faults().push(Fault::any(1_000, FaultKind::Status(503))));
        work::enforce(&cloud.app, options, "test").await.unwrap_err();
    })
    .await;
}

/// A clock that leaps two minutes at one of the looks at it, counted from when it is told to.
struct Leaping {
    clock: ManualClock,
    looks: Arc<AtomicU32>,
}

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        let left = self.looks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left == Ok(1) {
            self.clock.advance(Duration::from_mins(2));
        }
        self.clock.now()
    }
}

#[tokio::test]
async fn a_process_that_stood_still_behind_its_claim_does_not_send_the_call() {
    let stood_still = AtomicU32::new(0);
    // Where exactly it stands still is found out: before the claim the decision is too old, behind the last look nobody can tell.
    for looks in 1..=12 {
        on_each_database(|database| async {
            let mut cloud = due(database, &["bob"]).await;
            let told = Arc::new(AtomicU32::new(0));
            cloud.app.clock = Arc::new(Leaping { clock: cloud.clock.clone(), looks: Arc::clone(&told) });
            let bob = id_of(&cloud, "bob").await.to_string();
            // bob is read for the fuse, and again right before he is locked.
            let gate = Gate::default();
            for kind in [FaultKind::DelayFor(Duration::ZERO), FaultKind::DelayUntil(gate.clone())] {
                cloud.standin.with(|world| world.faults().push(Fault::once("listAccounts", kind).about("id", &bob)));
            }
            let meanwhile = async {
                while cloud.standin.with(|world| world.faults().waiting()) > 0 {
                    tokio::task::yield_now().await;
                }
                told.store(looks, Ordering::SeqCst);
                gate.open();
            };
            let (report, ()) = tokio::join!(cloud.enforce(), meanwhile);
            if report.started.iter().any(|line| line.contains("stood still")) {
                stood_still.fetch_add(1, Ordering::SeqCst);
                assert_eq!((state(&cloud, "bob").await, calls(&cloud, "disableAccount")), (State::Enabled, 0));
                let mut tx = cloud.app.store.read().await.unwrap();
                let intent = rows::list_open_intents(&mut tx).await.unwrap().remove(0);
                let claimed = acting::list_calls(&mut tx, &intent.id).await.unwrap();
                assert_eq!(
                    (claimed.len(), claimed[0].state.as_str()),
                    (1, "open"),
                    "whoever has the lease concludes it"
                );
            } else if report.locked.is_empty() {
                assert!(report.failed[0].contains("older than a minute"), "{looks}: {report:?}");
                assert_eq!(calls(&cloud, "disableAccount"), 0);
            }
        })
        .await;
    }
    assert!(stood_still.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn a_limit_that_may_still_be_lowered_is_waited_for_though_the_account_has_another_name_by_now() {
    on_each_database(|database| async {
        let cloud = armed(database, &["bob"], &["notify", "restrict"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        let bob = id_of(&cloud, "bob").await;
        let limits = || cloud.standin.with(|world| world.limits_of(bob));
        let before = limits();
        cloud.limit("bob", "0.05").await;
        cloud.pass(HOUR);
        cut(&cloud);
        assert_eq!(cloud.round().await.started.len(), 1);
        cloud.pay("bob", "500").await;
        cloud.standin.with(|world| world.rename_account(bob, "robert"));
        // The request may be on its way for a quarter of an hour.
        cloud.enforce().await;
        assert_eq!(open(&cloud).await, ["restrict"]);
        for _ in 0..2 {
            cloud.pass(HOUR);
            cloud.round().await;
        }
        assert!(open(&cloud).await.is_empty());
        assert_eq!(limits(), before);
    })
    .await;
}

#[tokio::test]
async fn undoing_a_run_gives_back_the_others_where_one_account_can_not_be_read() {
    on_each_database(|database| async {
        let cloud = all_restricted(database).await;
        let run = newest_run(&cloud).await;
        unreadable(&cloud, "ann");
        let report = undo(&cloud, run).await;
        assert_eq!(report.given_back, ["ROOT/bob", "ROOT/eve"], "{report:?}");
        assert!(report.left[0].starts_with("ROOT/ann: "), "{report:?}");
        let left_alone = audit(&cloud, "account.leave-alone").await;
        // The one that could not be read too: it is not taken further while the order is given again.
        assert_eq!(left_alone.len(), 3, "who is left alone now is in the audit trail: {left_alone:?}");
    })
    .await;
}
