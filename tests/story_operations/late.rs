//! Orders of a process that stood still: another one has carried them out meanwhile, and somebody may have changed his mind since.

use std::sync::Arc;

use bursar::{
    cloudstack::Client,
    enforcement::{
        EnforceSettings, Error,
        run::Enforcer,
        undo::{self, UndoReport},
    },
    jobs::{App, Role},
};

use super::*;

/// bob is locked; the run that did it.
async fn locked(database: Database) -> (Cloud, RunId) {
    let cloud = due(database, &["bob"]).await;
    assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
    let run = newest_run(&cloud).await;
    (cloud, run)
}

/// A run that a process has begun.
async fn begun(cloud: &Cloud, holder: &str) -> RunId {
    let mut tx = cloud.app.store.begin().await.unwrap();
    let run = runs::start_run(&mut tx, "enforce", "test", holder, cloud.clock.now()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    run
}

/// What a process needs that has begun a run and goes on from there.
struct Going {
    client: Client,
    settings: EnforceSettings,
}

impl Going {
    fn of(cloud: &Cloud) -> Self {
        let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
        let settings = work::enforce_settings(&cloud.app, options).unwrap();
        Self { client: cloud.app.client(Role::Enforcer).unwrap(), settings }
    }

    fn enforcer<'a>(&'a self, cloud: &'a Cloud) -> Enforcer<'a> {
        Enforcer {
            store: &cloud.app.store,
            client: Some(&self.client),
            clock: Arc::clone(&cloud.app.clock),
            random: Arc::clone(&cloud.app.random),
            holder: &cloud.app.holder,
            settings: &self.settings,
        }
    }

    async fn undo(&self, cloud: &Cloud, run: RunId, of: RunId) -> Result<UndoReport, Error> {
        undo::undo(&self.enforcer(cloud), run, of, "carol").await
    }

    async fn leave(&self, cloud: &Cloud, run: RunId) -> Result<UndoReport, Error> {
        undo::leave(&self.enforcer(cloud), run, "carol").await
    }
}

/// Enforcement goes on, and bob is locked.
async fn is_as_it_was(cloud: &Cloud) {
    let status = arming::status(&cloud.app).await.unwrap();
    assert!(!status.armed.is_empty() && !status.paused && status.held == 1, "{}: {status:?}", cloud.database.kind);
    assert_eq!(state(cloud, "bob").await, State::Locked, "on {}", cloud.database.kind);
}

#[tokio::test]
async fn an_order_that_another_process_has_carried_out_meanwhile_is_not_begun() {
    on_each_database(|database| async {
        let (cloud, run) = locked(database).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let asked = runs::leave_request(&mut tx, "leave", "{}", "cli:carol", cloud.clock.now()).await.unwrap();
        for holder in [&*cloud.app.holder, "another replica"] {
            assert!(runs::claim_request(&mut tx, asked, holder, false, cloud.clock.now()).await.unwrap());
            cloud.clock.advance(HOUR);
        }
        let now = cloud.clock.now();
        assert!(runs::answer_request(&mut tx, asked, "another replica", (true, "{}"), now).await.unwrap());
        tx.commit().await.unwrap();
        let app = App { request: Some(asked), ..cloud.app.clone() };
        let why = format!("another process has taken over request {asked}");
        let leaving = operations::leave(&app, "carol", true, "test").await.unwrap_err();
        assert!(leaving.is_taken_over() && leaving.to_string().contains(&why), "{leaving}");
        let undoing = operations::undo(&app, run, "carol", true, "test").await.unwrap_err();
        assert!(undoing.to_string().contains(&why), "{undoing}");
        is_as_it_was(&cloud).await;
    })
    .await;
}

#[tokio::test]
async fn an_order_whose_run_was_cut_off_does_nothing_any_more() {
    on_each_database(|database| async {
        let (cloud, run) = locked(database).await;
        let ours = begun(&cloud, &cloud.app.holder).await;
        // This process stands still, and another one works; by now somebody may have armed again, and bob be locked again.
        cloud.clock.advance(HOUR);
        let theirs = begun(&cloud, "another replica").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        runs::end_run(&mut tx, theirs, "done", "{}", cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let going = Going::of(&cloud);
        assert!(matches!(going.leave(&cloud, ours).await, Err(Error::TakenOver)));
        assert!(matches!(going.undo(&cloud, ours, run).await, Err(Error::TakenOver)));
        is_as_it_was(&cloud).await;
    })
    .await;
}

#[tokio::test]
async fn what_an_order_gives_back_is_looked_at_once_nobody_else_enforces() {
    on_each_database(|database| async {
        let (cloud, run) = locked(database).await;
        let bob = cloud.account("bob").await.id;
        cloud.clock.advance(HOUR);
        let now = cloud.clock.now();
        let ours = begun(&cloud, &cloud.app.holder).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let fence = runs::seize_lease(&mut tx, "enforcer", "another replica", HOUR, now).await.unwrap();
        let going = Going::of(&cloud);
        let mut undoing = Box::pin(going.undo(&cloud, ours, run));
        assert!(tokio::time::timeout(AT_ONCE, undoing.as_mut()).await.is_err(), "it waits for the other process");
        // Which gives bob back and takes him once more.
        assert!(rows::lift_hold(&mut tx, bob, "billing", "bursar", now).await.unwrap());
        let why = "over the limit again";
        assert!(rows::place_hold(&mut tx, bob, "billing", "lock", why, None, "bursar", now).await.unwrap());
        runs::drop_lease(&mut tx, "enforcer", "another replica", fence).await.unwrap();
        tx.commit().await.unwrap();
        let report = undoing.await.unwrap();
        assert!(report.given_back.is_empty(), "{}: {report:?}", cloud.database.kind);
        is_as_it_was(&cloud).await;
    })
    .await;
}

#[tokio::test]
async fn leaving_pauses_and_disarms_at_once_though_another_process_is_enforcing() {
    on_each_database(|database| async {
        let (cloud, _) = locked(database).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        runs::take_lease(&mut tx, "enforcer", "another replica", Duration::from_mins(2), cloud.clock.now())
            .await
            .unwrap()
            .unwrap();
        tx.commit().await.unwrap();
        let error = operations::leave(&cloud.app, "alice", false, "test").await.unwrap_err();
        assert!(error.is_busy() && error.to_string().contains("paused and disarmed"), "{error}");
        let status = arming::status(&cloud.app).await.unwrap();
        assert!(status.armed.is_empty() && status.paused && status.held == 1, "{status:?}");
        assert_eq!(state(&cloud, "bob").await, State::Locked);
    })
    .await;
}
