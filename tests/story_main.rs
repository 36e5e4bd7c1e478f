//! The main job, end to end, on both databases.

use std::time::Duration;

use bursar::{standin::State, store::enforcement as rows};

use crate::harness::{Cloud, NOVEMBER, on_each_database, tenant};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn a_tenant_over_its_limit_is_warned_locked_and_restored() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            let bob = tenant(world, "bob");
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(bob, "bob-vm", offering, now);
        })
        .await;
        cloud.pass(HOUR);
        cloud.round().await;
        cloud.limit("bob", "5").await;
        cloud.arm(&["notify", "lock"]).await;
        let mut locked_on = None;
        let mut warned_on = None;
        for day in 1..=8 {
            cloud.pass(DAY);
            let report = cloud.round().await;
            if report.notices > 0
                && warned_on.is_none()
                && report.decisions.iter().any(|line| line.reason == "lock-is-due")
            {
                warned_on = Some(day);
            }
            if !report.locked.is_empty() {
                assert_eq!(report.locked, ["ROOT/bob"]);
                locked_on = Some(day);
                break;
            }
        }
        // 24 h at 0.10 and one address at 0.005 and a root disk: over 5.00 on the second day; three days later it is locked.
        assert_eq!((warned_on, locked_on), (Some(2), Some(5)), "on {}", cloud.database.kind);
        let id = cloud.account("bob").await.cloud_id.parse().unwrap();
        assert_eq!(cloud.standin.with(|world| world.account_state(id)), Some(State::Locked));
        cloud.verify().await;
        // A lock does not stop the cost (facts 4.3): the machine runs on and is charged.
        let used_at_the_lock = cloud.standing("bob").await.figures.used;
        cloud.pass(DAY);
        cloud.round().await;
        assert!(cloud.standing("bob").await.figures.used > used_at_the_lock);

        cloud.pay("bob", "50").await;
        let report = cloud.enforce().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        assert_eq!(cloud.standin.with(|world| world.account_state(id)), Some(State::Enabled));
        let mut tx = cloud.app.store.read().await.unwrap();
        assert!(rows::list_holds(&mut tx, None).await.unwrap().is_empty());
        drop(tx);
        cloud.verify().await;
    })
    .await;
}
