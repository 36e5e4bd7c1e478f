//! What somebody does while bursar waits for an answer of CloudStack: it is seen before the next call.

use std::time::Duration;

use bursar::{
    enforcement::{EnforceReport, switches},
    jobs::work::{self, EnforceOptions, JobError},
    standin::{Fault, FaultKind, Gate, Power, State, Stubbornness},
    store::{
        acting::{self, Noted},
        enforcement as rows, operations, runs,
    },
    time::Clock as _,
};

use super::{HOUR, Story, story};
use crate::harness::on_each_database;

impl Story {
    /// Enforces; once a call meets the last of the faults that wait, `act` is done before its answer comes.
    pub(super) async fn enforce_while(&self, gate: &Gate, act: impl AsyncFnOnce()) -> EnforceReport {
        self.try_while(gate, act).await.unwrap()
    }

    pub(super) async fn try_while(&self, gate: &Gate, act: impl AsyncFnOnce()) -> Result<EnforceReport, JobError> {
        let meanwhile = async {
            while self.cloud.standin.with(|world| world.faults().waiting()) > 0 {
                tokio::task::yield_now().await;
            }
            act().await;
            gate.open();
        };
        let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
        let enforcing = work::enforce(&self.cloud.app, options, "test");
        tokio::join!(enforcing, meanwhile).0
    }

    /// The next call of this command waits, before it is done.
    pub(super) fn delay(&self, command: &str) -> Gate {
        let gate = Gate::default();
        self.fault(command, FaultKind::DelayUntil(gate.clone()));
        gate
    }

    /// The next call of this command with this parameter waits, before it is done.
    pub(super) fn delay_about(&self, command: &str, (parameter, value): (&str, &str)) -> Gate {
        let gate = Gate::default();
        let fault = Fault::once(command, FaultKind::DelayUntil(gate.clone())).about(parameter, value);
        self.cloud.standin.with(|world| world.faults().push(fault));
        gate
    }

    /// The next time that a limit of bob's project is set waits, before it is done.
    fn delay_project_limit(&self) -> Gate {
        self.delay_about("updateResourceLimit", ("projectid", &self.bob.project.to_string()))
    }

    pub(super) fn lock_by_admin(&self) {
        self.cloud.standin.with(|world| world.lock_by_admin(self.bob.account));
    }

    /// Whoever locked bob enables him, and two rounds pass.
    pub(super) async fn enabled_by_admin(&self) {
        self.cloud.standin.with(|world| world.enable_by_admin(self.bob.account));
        for _ in 0..2 {
            self.cloud.pass(HOUR);
            self.cloud.round().await;
        }
    }

    /// How often a limit of bob's project was asked to be set.
    fn project_limits_set(&self) -> usize {
        let calls = self.cloud.standin.calls();
        calls
            .iter()
            .filter(|call| call.command == "updateResourceLimit" && call.parameters.contains_key("projectid"))
            .count()
    }
}

#[tokio::test]
async fn a_stop_is_not_begun_on_a_decision_that_grew_old_while_cloudstack_was_asked() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        let before = story.count("disableAccount");
        // The machines are listed for the fuse, and again to be noted: the second answer takes its time.
        story.fault("listVirtualMachines", FaultKind::DelayFor(Duration::ZERO));
        let gate = story.delay("listVirtualMachines");
        let report = story
            .enforce_while(&gate, async || {
                story.cloud.clock.advance(Duration::from_mins(5));
                story.cloud.pay("bob", "500").await;
            })
            .await;
        assert!(report.failed.iter().any(|line| line.contains("the decision is older than a minute")), "{report:?}");
        assert_eq!((story.count("disableAccount"), story.state()), (before, State::Locked));
        assert_eq!(story.power(story.bob.first), Power::Running);
        let report = story.cloud.enforce().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_pause_that_comes_while_cloudstack_is_asked_holds() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        let before = story.count("disableAccount");
        story.fault("listVirtualMachines", FaultKind::DelayFor(Duration::ZERO));
        let gate = story.delay("listVirtualMachines");
        let report = story.enforce_while(&gate, async || story.cloud.switch(switches::PAUSED, "1").await).await;
        assert_eq!((report.stopped.len(), story.count("disableAccount")), (0, before), "{report:?}");
        story.cloud.switch(switches::PAUSED, "").await;
        assert_eq!(story.cloud.enforce().await.stopped, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn an_account_that_an_administrator_locks_while_its_machines_start_gets_no_further_start() {
    on_each_database(|database| async {
        let mut story = Story::stopped(database, false).await;
        story.cloud.reconfigure("ENFORCEMENT_STARTS_AT_ONCE", "1").await;
        story.cloud.pay("bob", "500").await;
        let gate = story.delay("startVirtualMachine");
        let report = story.enforce_while(&gate, async || story.lock_by_admin()).await;
        assert!(report.started.iter().any(|line| line.contains("somebody else has locked it meanwhile")), "{report:?}");
        assert_eq!((story.started().len(), story.state()), (1, State::Locked));
        assert_eq!(story.power(story.bob.second), Power::Stopped);
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        assert_eq!((story.started().len(), story.state()), (1, State::Locked));
        story.enabled_by_admin().await;
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn an_account_that_an_administrator_locks_while_its_limits_come_back_gets_no_further_ones() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        let before = story.limits(story.bob.project);
        assert_eq!(story.over().await.restricted, ["ROOT/bob"]);
        let restricted = story.project_limits_set();
        story.cloud.pay("bob", "500").await;
        let gate = story.delay_project_limit();
        let report = story.enforce_while(&gate, async || story.lock_by_admin()).await;
        assert!(report.started.iter().any(|line| line.contains("somebody else has locked it meanwhile")), "{report:?}");
        assert_eq!((story.project_limits_set(), story.state()), (restricted + 1, State::Locked));
        story.enabled_by_admin().await;
        assert_eq!(story.limits(story.bob.project), before);
        story.is_all_back(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn the_projects_of_an_account_that_an_administrator_locks_while_it_is_restored_stay_suspended() {
    on_each_database(|database| async {
        let story = Story::stopped(database, true).await;
        let before = story.limits(story.bob.account);
        story.cloud.pay("bob", "500").await;
        let gate = story.delay("updateResourceLimit");
        story.enforce_while(&gate, async || story.lock_by_admin()).await;
        assert_eq!((story.count("activateProject"), story.started().len()), (0, 0));
        assert_eq!((story.state(), story.power(story.bob.in_project)), (State::Locked, Power::Stopped));
        story.enabled_by_admin().await;
        assert!(story.limits(story.bob.account).iter().all(|(kind, max)| before[kind] <= *max));
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
    })
    .await;
}

#[tokio::test]
async fn an_account_that_an_administrator_locks_while_it_is_restricted_is_restricted_no_further() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        let before = story.limits(story.bob.project);
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        story.cloud.limit("bob", "0.05").await;
        story.cloud.pass(HOUR);
        story.cloud.catch_up().await;
        let gate = story.delay_project_limit();
        story.enforce_while(&gate, async || story.lock_by_admin()).await;
        assert_eq!((story.project_limits_set(), story.state()), (1, State::Locked));
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        assert_eq!(story.project_limits_set(), 1);
        story.cloud.pay("bob", "500").await;
        story.enabled_by_admin().await;
        assert_eq!(story.limits(story.bob.project), before);
        story.is_all_back(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_a_late_stop_hits_while_others_start_is_started_too() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        let obeys = |how| story.cloud.standin.with(|world| world.set_stubbornness(story.bob.first, how));
        obeys(Stubbornness::KeepsRunning);
        story.cloud.enforce().await;
        assert_eq!((story.power(story.bob.first), story.rung().await.as_deref()), (Power::Running, Some("stop")));
        obeys(Stubbornness::Obedient);
        story.cloud.pay("bob", "500").await;
        let gate = story.delay("startVirtualMachine");
        let stops_late = async || {
            story.cloud.standin.with(|world| {
                let now = world.now();
                world.stop_vm(story.bob.first, now);
            });
        };
        let report = story.enforce_while(&gate, stops_late).await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        assert_eq!(story.started(), [story.bob.second, story.bob.first].map(|machine| machine.to_string()));
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_restriction_that_another_process_ended_meanwhile_counts_for_the_fuse() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        story.cloud.limit("bob", "0.05").await;
        story.cloud.pass(HOUR);
        story.cloud.catch_up().await;
        let bob = story.cloud.account("bob").await;
        let gate = story.delay("updateResourceLimit");
        let ended_elsewhere = async || {
            let now = story.cloud.clock.now();
            let mut tx = story.cloud.app.store.begin().await.unwrap();
            let open = rows::list_open_intents(&mut tx).await.unwrap();
            assert!(rows::end_intent(&mut tx, &open[0].id, "done", None, "restricted in part", now).await.unwrap());
            // And gave it back, since bob has paid.
            rows::raise_hold(&mut tx, bob.id, "restrict", "restricted in part", &open[0].id, now).await.unwrap();
            assert!(rows::lift_hold(&mut tx, bob.id, "billing", "bursar", now).await.unwrap());
            runs::seize_lease(&mut tx, "enforcer", "somebody else", Duration::from_mins(2), now).await.unwrap();
            tx.commit().await.unwrap();
        };
        let taken_over = story.try_while(&gate, ended_elsewhere).await.unwrap_err().to_string();
        assert!(taken_over.contains("another process has taken over"), "{taken_over}");
        let mut tx = story.cloud.app.store.read().await.unwrap();
        let counted = operations::list_fuse_uses(&mut tx, story.cloud.clock.now().minus(HOUR)).await.unwrap();
        assert_eq!(counted.iter().map(|(account, _)| *account).collect::<Vec<_>>(), [bob.id]);
    })
    .await;
}

#[tokio::test]
async fn what_is_given_back_is_not_due_again_by_a_process_that_stood_still_meanwhile() {
    on_each_database(|database| async {
        let story = Story::stopped(database, true).await;
        let mut tx = story.cloud.app.store.read().await.unwrap();
        let limits = acting::list_limit_changes(&mut tx, None).await.unwrap().into_iter();
        let projects = acting::list_project_notes(&mut tx, None).await.unwrap().into_iter();
        let stopped = acting::list_machine_notes(&mut tx, None).await.unwrap();
        let machines = stopped.iter();
        let noted: Vec<(Noted, i64)> = limits
            .map(|limit| (Noted::Limit, limit.id))
            .chain(projects.map(|project| (Noted::Project, project.id)))
            .chain(machines.map(|machine| (Noted::Machine, machine.id)))
            .collect();
        tx.commit().await.unwrap();
        story.pay().await;
        // It writes down what it saw before.
        let mut tx = story.cloud.app.store.begin().await.unwrap();
        for what in noted {
            acting::put_state(&mut tx, what, "noted", Some("still running"), None).await.unwrap();
        }
        for machine in &stopped {
            assert!(!acting::note_machine(&mut tx, machine, story.cloud.clock.now()).await.unwrap());
        }
        tx.commit().await.unwrap();
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
    })
    .await;
}
