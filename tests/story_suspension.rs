//! What a suspension takes and what a restore gives back: limits, machines, projects, row by row, whatever goes wrong on the way.

mod lasting;
mod meanwhile;
mod taken_over;

use std::{collections::BTreeMap, time::Duration};

use bursar::{
    enforcement::{EnforceReport, switches},
    ids::CloudId,
    standin::{Fault, FaultKind, Options, Power, State, Stubbornness, World},
    store::{acting, enforcement as rows, policy},
};

use crate::harness::{Cloud, Database, NOVEMBER, on_each_database, tenant};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// bob's cloud: two machines that run, one that is off, and a project with a machine.
struct Bob {
    account: CloudId,
    first: CloudId,
    second: CloudId,
    off: CloudId,
    project: CloudId,
    in_project: CloudId,
}

fn build(world: &mut World, with_project: bool) -> Bob {
    let account = tenant(world, "bob");
    let offering = world.find_offering("Small Instance").unwrap();
    let now = world.now();
    let first = world.deploy_vm(account, "first", offering, now);
    let second = world.deploy_vm(account, "second", offering, now.plus(Duration::from_secs(5)));
    let off = world.deploy_vm(account, "off", offering, now.plus(Duration::from_secs(9)));
    world.stop_vm(off, now.plus(Duration::from_secs(10)));
    let (project, in_project) = if with_project {
        let project = world.add_project(account, "shop");
        (project, world.deploy_vm(project, "web", offering, now.plus(Duration::from_secs(20))))
    } else {
        (account, first)
    };
    Bob { account, first, second, off, project, in_project }
}

struct Story {
    cloud: Cloud,
    bob: Bob,
}

async fn story(database: Database, with_project: bool, tune: impl FnOnce(&mut Options)) -> Story {
    let mut bob = None;
    let mut cloud = Cloud::start_tuned(
        database,
        NOVEMBER,
        |options| {
            options.job_delay_polls = 0;
            tune(options);
        },
        |world| bob = Some(build(world, with_project)),
    )
    .await;
    for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100")] {
        cloud.reconfigure(key, value).await;
    }
    let mut tx = cloud.app.store.begin().await.unwrap();
    for rung in ["notify", "restrict", "lock", "stop"] {
        policy::arm(&mut tx, rung, "", "test", bursar::time::Clock::now(&cloud.clock)).await.unwrap();
    }
    tx.commit().await.unwrap();
    Story { cloud, bob: bob.unwrap() }
}

impl Story {
    async fn on(database: Database) -> Self {
        story(database, false, |_| {}).await
    }

    /// bob is over his limit from now on, and warned of the lock.
    async fn over(&self) -> EnforceReport {
        self.cloud.pass(HOUR);
        self.cloud.round().await;
        self.cloud.limit("bob", "0.05").await;
        self.cloud.pass(HOUR);
        self.cloud.round().await
    }

    async fn restricted(database: Database) -> Self {
        let story = Self::on(database).await;
        assert_eq!(story.over().await.restricted, ["ROOT/bob"]);
        story
    }

    /// Lets days pass, with a round each, until bob is due to be stopped by the next run.
    async fn due_to_stop(&self) {
        self.over().await;
        for _ in 0..30 {
            self.cloud.pass(DAY);
            self.cloud.catch_up().await;
            let options = bursar::jobs::work::EnforceOptions { dry_run: true, holds_data_lock: true };
            let rehearsed = bursar::jobs::work::enforce(&self.cloud.app, options, "test").await.unwrap();
            if rehearsed.decisions.iter().any(|line| line.account == "ROOT/bob" && line.outcome == "stop") {
                return;
            }
            self.cloud.enforce().await;
        }
        panic!("bob never came to be stopped");
    }

    async fn stopped(database: Database, with_project: bool) -> Self {
        let story = story(database, with_project, |_| {}).await;
        story.due_to_stop().await;
        let report = story.cloud.enforce().await;
        assert_eq!(report.stopped, ["ROOT/bob"], "{report:?}");
        story
    }

    async fn pay(&self) -> EnforceReport {
        self.cloud.pay("bob", "500").await;
        self.cloud.enforce().await
    }

    fn power(&self, vm: CloudId) -> Power {
        self.cloud.standin.with(|world| world.vm_power(vm)).unwrap()
    }

    fn state(&self) -> State {
        self.cloud.standin.with(|world| world.account_state(self.bob.account)).unwrap()
    }

    fn limits(&self, owner: CloudId) -> BTreeMap<u8, i64> {
        self.cloud.standin.with(|world| world.limits_of(owner))
    }

    fn fault(&self, command: &str, kind: FaultKind) {
        self.cloud.standin.with(|world| world.faults().push(Fault::once(command, kind)));
    }

    fn count(&self, command: &str) -> usize {
        self.cloud.standin.calls().iter().filter(|call| call.command == command).count()
    }

    /// The ids of the machines that were told to start, in order.
    fn started(&self) -> Vec<String> {
        let calls = self.cloud.standin.calls();
        let starts = calls.iter().filter(|call| call.command == "startVirtualMachine");
        starts.filter_map(|call| call.parameters.get("id").cloned()).collect()
    }

    async fn rung(&self) -> Option<String> {
        let account = self.cloud.account("bob").await;
        let mut tx = self.cloud.app.store.read().await.unwrap();
        let holds = rows::list_holds(&mut tx, Some(account.id)).await.unwrap();
        holds.into_iter().find(|hold| hold.owner == "billing").map(|hold| hold.rung)
    }

    /// Who holds bob.
    async fn holds(&self) -> Vec<String> {
        let account = self.cloud.account("bob").await;
        let mut tx = self.cloud.app.store.read().await.unwrap();
        rows::list_holds(&mut tx, Some(account.id)).await.unwrap().into_iter().map(|hold| hold.owner).collect()
    }

    /// How the newest action on bob ended, in words.
    async fn outcome(&self) -> String {
        let account = self.cloud.account("bob").await;
        let mut tx = self.cloud.app.store.read().await.unwrap();
        let intents = rows::list_intents(&mut tx, Some(account.id), 100).await.unwrap();
        // Several may have begun at the same instant of the story's clock.
        let restore = intents.iter().find(|intent| intent.action == "restore");
        restore.or_else(|| intents.first()).and_then(|intent| intent.outcome.clone()).unwrap_or_default()
    }

    /// Nothing is held, open or left over, and everything is as before.
    async fn is_all_back(&self, running: &[CloudId]) {
        assert_eq!((self.state(), self.rung().await), (State::Enabled, None));
        for vm in running {
            assert_eq!(self.power(*vm), Power::Running, "{}", self.outcome().await);
        }
        assert_eq!(self.power(self.bob.off), Power::Stopped, "what was off stays off");
        let mut tx = self.cloud.app.store.read().await.unwrap();
        assert_eq!(rows::list_open_intents(&mut tx).await.unwrap().len(), 0);
        assert_eq!(acting::list_limit_changes(&mut tx, None).await.unwrap(), Vec::new());
        assert_eq!(acting::list_machine_notes(&mut tx, None).await.unwrap(), Vec::new());
        assert_eq!(acting::list_project_notes(&mut tx, None).await.unwrap(), Vec::new());
        drop(tx);
        self.cloud.verify().await;
    }
}

#[tokio::test]
async fn a_restriction_sets_limits_to_what_is_used_and_puts_back_exactly_what_it_changed() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.cloud.standin.with(|world| world.set_limit(story.bob.account, 1, -1));
        let before = story.limits(story.bob.account);
        assert_eq!(story.over().await.restricted, ["ROOT/bob"]);
        let restricted = story.limits(story.bob.account);
        // Three machines, one address (unlimited before), three root volumes; 3 x 512 MiB.
        assert_eq!([0, 1, 2, 9].map(|kind| restricted[&kind]), [3, 1, 3, 3 * 512]);
        // Snapshots, secondary storage and backups stay possible.
        for kind in [3, 11, 12, 13] {
            assert_eq!(restricted[&kind], before[&kind]);
        }
        assert_eq!((story.state(), story.power(story.bob.first)), (State::Enabled, Power::Running));
        let report = story.pay().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        assert_eq!(story.limits(story.bob.account), before);
        assert_eq!((story.count("enableAccount"), story.count("disableAccount")), (0, 0));
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn snapshots_and_backups_are_restricted_only_where_that_is_switched_on() {
    on_each_database(|database| async {
        let mut story = Story::on(database).await;
        story.cloud.reconfigure("ENFORCEMENT_RESTRICT_BACKUPS", "true").await;
        story.over().await;
        let restricted = story.limits(story.bob.account);
        assert_eq!([3, 12].map(|kind| restricted[&kind]), [0, 0]);
    })
    .await;
}

#[tokio::test]
async fn a_limit_that_somebody_changed_meanwhile_stays_and_is_told() {
    on_each_database(|database| async {
        let story = Story::restricted(database).await;
        let before_volumes = 20;
        story.cloud.standin.with(|world| world.set_limit(story.bob.account, 0, 7));
        story.pay().await;
        let limits = story.limits(story.bob.account);
        assert_eq!((limits[&0], limits[&2]), (7, before_volumes));
        assert!(story.outcome().await.contains("somebody else changed it from 3 to 7"), "{}", story.outcome().await);
        story.is_all_back(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn projects_are_restricted_with_their_account() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        let before = story.limits(story.bob.project);
        story.over().await;
        assert_eq!(story.limits(story.bob.project)[&0], 1);
        story.pay().await;
        assert_eq!(story.limits(story.bob.project), before);
        story.is_all_back(&[story.bob.in_project]).await;
    })
    .await;
}

#[tokio::test]
async fn a_restricted_account_that_somebody_locks_gets_its_limits_back_once_it_is_enabled() {
    on_each_database(|database| async {
        let story = Story::restricted(database).await;
        let restricted = story.limits(story.bob.account);
        story.cloud.pass(HOUR);
        story.cloud.standin.with(|world| world.lock_by_admin(story.bob.account));
        story.cloud.pay("bob", "500").await;
        story.cloud.pass(HOUR);
        let report = story.cloud.round().await;
        assert_eq!((report.restored.len(), story.state()), (0, State::Locked), "{report:?}");
        assert_eq!(story.limits(story.bob.account), restricted);
        assert_eq!(story.count("enableAccount"), 0, "not bursar's to open");
        assert_eq!(story.holds().await, ["billing", "admin"], "the lock by hand is seen in the events");
        story.cloud.standin.with(|world| world.set_account_state(story.bob.account, State::Enabled));
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        story.cloud.round().await;
        assert_eq!(story.limits(story.bob.account)[&0], 20);
        story.is_all_back(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_limit_call_ends_the_same() {
    let kinds = [
        FaultKind::CutAfterAction,
        FaultKind::CutBeforeAction,
        FaultKind::EmptyOk { acted: true },
        FaultKind::EmptyOk { acted: false },
        FaultKind::InvalidJson,
        FaultKind::Status(503),
    ];
    for kind in kinds {
        on_each_database(|database| async {
            let story = Story::on(database).await;
            let before = story.limits(story.bob.account);
            story.fault("updateResourceLimit", kind.clone());
            story.over().await;
            story.cloud.pass(HOUR);
            story.cloud.round().await;
            assert_eq!(story.rung().await.as_deref(), Some("restrict"), "{kind:?}");
            story.fault("updateResourceLimit", kind.clone());
            story.pay().await;
            story.cloud.pass(HOUR);
            story.cloud.round().await;
            let after = story.limits(story.bob.account);
            // A limit that CloudStack refused to lower was left alone; nothing else differs.
            assert_eq!(after, before, "{kind:?}");
            story.is_all_back(&[]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_stop_notes_what_runs_and_a_restore_starts_exactly_that_in_order() {
    on_each_database(|database| async {
        let story = Story::stopped(database, false).await;
        assert_eq!((story.state(), story.rung().await.as_deref()), (State::Disabled, Some("stop")));
        for vm in [story.bob.first, story.bob.second, story.bob.off] {
            assert_eq!(story.power(vm), Power::Stopped);
        }
        let report = story.pay().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        assert_eq!(story.started(), [story.bob.first, story.bob.second].map(|id| id.to_string()));
        assert_eq!(story.limits(story.bob.account)[&0], 20);
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn projects_are_suspended_with_the_stop_and_activated_with_their_machines() {
    on_each_database(|database| async {
        let story = Story::stopped(database, true).await;
        let active = || story.cloud.standin.with(|world| world.project_is_active(story.bob.project));
        assert_eq!((active(), story.power(story.bob.in_project)), (Some(false), Power::Stopped));
        let report = story.pay().await;
        assert_eq!((report.restored.len(), active()), (1, Some(true)), "{report:?}");
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_goes_on_running_is_followed_up_and_starts_again_with_the_rest() {
    for stubbornness in [Stubbornness::KeepsRunning, Stubbornness::Throws] {
        on_each_database(|database| async {
            let story = Story::on(database).await;
            story.due_to_stop().await;
            let (first, second) = (story.bob.first, story.bob.second);
            story.cloud.standin.with(|world| world.set_stubbornness(first, stubbornness));
            let report = story.cloud.enforce().await;
            assert_eq!((story.state(), report.stopped.len()), (State::Disabled, 0), "{report:?}");
            assert_eq!(
                story.rung().await.as_deref(),
                Some("stop"),
                "the account is disabled, whatever its machines do"
            );
            assert!(report.started[0].contains("still running: first"), "{report:?}");
            story.cloud.standin.with(|world| world.set_stubbornness(first, Stubbornness::Obedient));
            story.cloud.pass(HOUR);
            story.cloud.round().await;
            assert_eq!((story.power(first), story.power(second)), (Power::Stopped, Power::Stopped), "{stubbornness:?}");
            story.pay().await;
            story.is_all_back(&[first, second]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_machine_on_its_way_down_is_not_taken_for_stopped() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        let (first, second) = (story.bob.first, story.bob.second);
        story.cloud.standin.with(|world| world.set_stubbornness(first, Stubbornness::HangsStopping));
        let report = story.cloud.enforce().await;
        assert_eq!((story.state(), report.stopped.len()), (State::Disabled, 0), "{report:?}");
        assert!(report.started[0].contains("still stopping: first"), "{report:?}");
        // It runs on, in an account that is disabled: nobody else would look.
        story.cloud.standin.with(|world| {
            world.fail_stopping(first);
            world.set_stubbornness(first, Stubbornness::Obedient);
        });
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        assert_eq!((story.power(first), story.power(second)), (Power::Stopped, Power::Stopped));
        story.pay().await;
        story.is_all_back(&[first, second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_hangs_on_its_way_down_is_waited_for_a_day_and_then_told() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        story.cloud.standin.with(|world| world.set_stubbornness(story.bob.first, Stubbornness::HangsStopping));
        story.cloud.enforce().await;
        story.cloud.pass(25 * HOUR);
        story.cloud.round().await;
        let outcome = story.outcome().await;
        assert!(outcome.contains("stop them by hand: first"), "{outcome}");
        let report = story.pay().await;
        assert_eq!(report.restored.len() + report.started.len(), 1, "nobody waits behind it: {report:?}");
        assert_eq!(story.state(), State::Enabled);
    })
    .await;
}

#[tokio::test]
async fn a_payment_ends_the_following_up_of_a_stop() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        story.cloud.standin.with(|world| world.set_stubbornness(story.bob.first, Stubbornness::KeepsRunning));
        story.cloud.enforce().await;
        let report = story.pay().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_can_not_be_stopped_is_told_by_name_after_some_tries() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        story.cloud.standin.with(|world| world.set_stubbornness(story.bob.first, Stubbornness::KeepsRunning));
        for _ in 0..6 {
            story.cloud.enforce().await;
        }
        let outcome = story.outcome().await;
        assert!(outcome.contains("still running, stop them by hand: first"), "{outcome}");
    })
    .await;
}

#[tokio::test]
async fn machines_that_were_deleted_or_moved_are_told_and_the_rest_comes_back() {
    on_each_database(|database| async {
        let story = Story::stopped(database, false).await;
        story.cloud.standin.with(|world| {
            let eve = tenant(world, "eve");
            world.destroy_vm(story.bob.first, world.now());
            world.move_vm(story.bob.second, eve, world.now());
        });
        let report = story.pay().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        let outcome = story.outcome().await;
        assert!(outcome.contains("machine first: it was deleted meanwhile"), "{outcome}");
        assert!(outcome.contains("machine second: it belongs to eve now"), "{outcome}");
        assert_eq!((story.power(story.bob.second), story.started().len()), (Power::Stopped, 0));
        story.is_all_back(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_stop_took_comes_back_with_the_payment_whoever_enabled_the_account() {
    on_each_database(|database| async {
        let story = Story::stopped(database, true).await;
        story.cloud.standin.with(|world| world.set_account_state(story.bob.account, State::Enabled));
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        assert_eq!(story.rung().await.as_deref(), Some("stop"), "shown as drift until it is paid");
        assert_eq!(story.count("startVirtualMachine"), 0);
        story.pay().await;
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        assert_eq!(story.count("enableAccount"), 0);
        assert_eq!(story.limits(story.bob.account)[&0], 20);
        assert_eq!(story.cloud.standin.with(|world| world.project_is_active(story.bob.project)), Some(true));
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
    })
    .await;
}

#[tokio::test]
async fn a_restriction_that_is_no_longer_wanted_half_way_is_put_back() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        let before = story.limits(story.bob.account);
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        story.cloud.limit("bob", "0.05").await;
        story.cloud.pass(HOUR);
        // One limit's answer is lost, and the payment comes before it is known what came of it.
        story.fault("updateResourceLimit", FaultKind::CutBeforeAction);
        let report = story.cloud.round().await;
        assert!(report.restricted.is_empty(), "{report:?}");
        story.pay().await;
        for _ in 0..3 {
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        assert_eq!(story.limits(story.bob.account), before);
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_project_that_somebody_else_suspended_stays_suspended() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        story.cloud.standin.with(|world| world.suspend_project_by_admin(story.bob.project));
        story.due_to_stop().await;
        story.cloud.enforce().await;
        assert_eq!(story.count("suspendProject"), 0);
        story.pay().await;
        assert_eq!(story.cloud.standin.with(|world| world.project_is_active(story.bob.project)), Some(false));
        assert_eq!(story.count("activateProject"), 0);
        assert_eq!(story.state(), State::Enabled);
    })
    .await;
}

#[tokio::test]
async fn limits_of_a_project_that_somebody_else_suspended_wait_for_as_long_as_that_lasts() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        let before = [story.bob.account, story.bob.project].map(|owner| story.limits(owner));
        assert_eq!(story.over().await.restricted, ["ROOT/bob"]);
        story.cloud.standin.with(|world| world.suspend_project_by_admin(story.bob.project));
        let report = story.pay().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        assert!(
            story.outcome().await.ends_with("limits of the project shop come back once it is active in CloudStack")
        );
        let raised = story.count("updateResourceLimit");
        for _ in 0..7 {
            story.cloud.pass(HOUR);
            let report = story.cloud.round().await;
            assert!(
                report.left.iter().any(|line| line.contains("of the project shop come back once it is active")),
                "{report:?}"
            );
        }
        assert_eq!((story.count("updateResourceLimit"), story.count("activateProject")), (raised, 0));
        story.cloud.standin.with(|world| world.activate_project_by_admin(story.bob.project));
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        assert_eq!([story.bob.account, story.bob.project].map(|owner| story.limits(owner)), before);
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn every_lost_answer_of_a_stop_and_its_restore_ends_the_same() {
    let commands = ["disableAccount", "suspendProject", "enableAccount", "activateProject", "startVirtualMachine"];
    let kinds = [FaultKind::CutAfterAction, FaultKind::CutBeforeAction, FaultKind::InvalidJson, FaultKind::Status(503)];
    for (command, kind) in commands.iter().flat_map(|command| kinds.iter().map(move |kind| (*command, kind.clone()))) {
        on_each_database(|database| async {
            let story = story(database, true, |_| {}).await;
            story.due_to_stop().await;
            if ["disableAccount", "suspendProject"].contains(&command) {
                story.fault(command, kind.clone());
            }
            for _ in 0..3 {
                story.cloud.enforce().await;
                story.cloud.pass(HOUR);
                story.cloud.catch_up().await;
            }
            assert_eq!(story.rung().await.as_deref(), Some("stop"), "{command} {kind:?}");
            for vm in [story.bob.first, story.bob.in_project] {
                assert_eq!(story.power(vm), Power::Stopped, "{command} {kind:?}");
            }
            if !["disableAccount", "suspendProject"].contains(&command) {
                story.fault(command, kind.clone());
            }
            story.pay().await;
            for _ in 0..3 {
                story.cloud.pass(HOUR);
                story.cloud.round().await;
            }
            story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_cloud_that_takes_no_new_jobs_for_hours_counts_as_no_try_neither_way() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        story.due_to_stop().await;
        let closed = |command: &str| {
            let fault = Fault::once(command, FaultKind::NoNewJobs).times(1_000);
            story.cloud.standin.with(|world| world.faults().push(fault));
        };
        closed("suspendProject");
        for _ in 0..8 {
            let report = story.cloud.enforce().await;
            assert!(report.stopped.is_empty(), "{report:?}");
            story.cloud.clock.advance(Duration::from_mins(5));
        }
        assert_eq!(story.power(story.bob.in_project), Power::Running);
        story.cloud.standin.with(|world| world.faults().clear());
        story.cloud.enforce().await;
        assert_eq!(story.power(story.bob.in_project), Power::Stopped, "no project is forgotten");
        // And the way back: the account opens, and what ran starts hours later.
        closed("startVirtualMachine");
        closed("activateProject");
        story.pay().await;
        for _ in 0..12 {
            story.cloud.clock.advance(Duration::from_mins(10));
            story.cloud.enforce().await;
        }
        assert_eq!((story.state(), story.power(story.bob.first)), (State::Enabled, Power::Stopped));
        story.cloud.standin.with(|world| world.faults().clear());
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        story.cloud.enforce().await;
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
    })
    .await;
}

#[tokio::test]
async fn a_restore_waits_for_the_job_that_still_stops_machines() {
    on_each_database(|database| async {
        let mut story = story(database, false, |_| {}).await;
        story.cloud.reconfigure("ENFORCEMENT_INTENT_DEADLINE_SECONDS", "5").await;
        story.due_to_stop().await;
        story.cloud.standin.with(|world| world.set_job_delay(u32::MAX));
        let report = story.cloud.enforce().await;
        assert!(report.started[0].contains("its job has not ended"), "{report:?}");
        let report = story.pay().await;
        assert_eq!((report.restored.len(), story.count("enableAccount")), (0, 0), "{report:?}");
        story.cloud.standin.with(|world| {
            world.set_job_delay(0);
            world.finish_jobs();
        });
        let report = story.cloud.enforce().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_stop_that_was_begun_is_not_driven_on_once_the_tenant_has_paid() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        story.due_to_stop().await;
        // The account is disabled, and the run ends before the project's turn: its state can not be read.
        story.cloud.standin.with(|world| {
            world.faults().push(Fault::once("suspendProject", FaultKind::Status(503)));
            world.faults().push(Fault::once("listProjects", FaultKind::Status(503)));
        });
        let _ = bursar::jobs::work::enforce(
            &story.cloud.app,
            bursar::jobs::work::EnforceOptions { holds_data_lock: true, ..Default::default() },
            "test",
        )
        .await;
        story.cloud.standin.with(|world| world.faults().clear());
        let suspends = story.count("suspendProject");
        story.pay().await;
        for _ in 0..2 {
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        assert_eq!(story.count("suspendProject"), suspends, "no project is suspended after the payment");
        assert_eq!(story.power(story.bob.in_project), Power::Running);
        story.is_all_back(&[story.bob.in_project]).await;
    })
    .await;
}

#[tokio::test]
async fn a_stop_that_was_begun_goes_no_further_once_somebody_else_locks_the_account_too() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        story.due_to_stop().await;
        story.fault("suspendProject", FaultKind::CutBeforeAction);
        let report = story.cloud.enforce().await;
        assert!(report.stopped.is_empty() && story.state() == State::Disabled, "{report:?}");
        // On a disabled account it changes nothing, and says what that person wants all the same.
        story.cloud.standin.with(|world| world.lock_by_admin(story.bob.account));
        let suspends = story.count("suspendProject");
        story.cloud.enforce().await;
        assert_eq!(story.outcome().await, "", "the lost call may still arrive");
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        let outcome = story.outcome().await;
        assert!(outcome.contains("somebody else suspended the account too"), "{outcome}");
        assert_eq!((story.count("suspendProject"), story.power(story.bob.in_project)), (suspends, Power::Running));
        // Nobody opens it but who locked it; then what bursar stopped comes back.
        assert_eq!((story.pay().await.restored.len(), story.state()), (0, State::Disabled));
        story.cloud.standin.with(|world| world.enable_by_admin(story.bob.account));
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_start_lacks_room_for_is_tried_again_and_then_told() {
    on_each_database(|database| async {
        let story = Story::stopped(database, false).await;
        story.fault("startVirtualMachine", FaultKind::Status(503));
        let report = story.pay().await;
        assert_eq!(story.state(), State::Enabled, "open at once, whatever its machines do");
        assert!(report.started.iter().any(|line| line.contains("was not started")), "{report:?}");
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn machines_come_back_where_somebody_enabled_the_account_before_the_end_of_the_stop_was_seen() {
    on_each_database(|database| async {
        let story = story(database, false, |_| {}).await;
        story.due_to_stop().await;
        // The account is disabled, and nobody hears of it.
        story.fault("queryAsyncJobResult", FaultKind::InvalidJson);
        let report = story.cloud.enforce().await;
        assert!(report.stopped.is_empty() && story.state() == State::Disabled, "{report:?}");
        story.cloud.standin.with(|world| world.enable_by_admin(story.bob.account));
        story.pay().await;
        story.cloud.enforce().await;
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn limits_of_a_project_come_back_though_its_activation_was_declined_at_first() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        let before = story.limits(story.bob.project);
        story.due_to_stop().await;
        assert_eq!(story.cloud.enforce().await.stopped, ["ROOT/bob"]);
        assert_ne!(story.limits(story.bob.project), before);
        for _ in 0..4 {
            story.fault("activateProject", FaultKind::Status(431));
        }
        story.pay().await;
        for _ in 0..5 {
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        assert_eq!(story.limits(story.bob.project), before);
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
    })
    .await;
}

#[tokio::test]
async fn who_pays_while_a_project_is_still_being_suspended_gets_everything_back() {
    for kind in [FaultKind::CutBeforeAction, FaultKind::CutAfterAction] {
        on_each_database(|database| async {
            let story = story(database, true, |_| {}).await;
            story.due_to_stop().await;
            story.fault("suspendProject", kind.clone());
            story.fault("queryAsyncJobResult", FaultKind::DelayFor(Duration::ZERO));
            story.fault("queryAsyncJobResult", FaultKind::InvalidJson);
            let report = story.cloud.enforce().await;
            assert!(report.stopped.is_empty(), "{report:?}");
            story.pay().await;
            for _ in 0..3 {
                story.cloud.pass(HOUR);
                story.cloud.round().await;
            }
            story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
        })
        .await;
    }
}

/// A stop whose machines are noted and whose first call was never sent: somebody paused in between, and resumed.
async fn noted_and_never_sent(story: &Story) {
    let slow = FaultKind::DelayFor(Duration::from_millis(300));
    story.cloud.standin.with(|world| world.faults().push(Fault::once("listVirtualMachines", slow).times(100)));
    let pausing = async {
        while open_stops(story).await.is_empty() {
            tokio::task::yield_now().await;
        }
        story.cloud.switch(switches::PAUSED, "1").await;
    };
    let (report, ()) = tokio::join!(story.cloud.enforce(), pausing);
    story.cloud.standin.with(|world| world.faults().clear());
    story.cloud.switch(switches::PAUSED, "0").await;
    assert_eq!((open_stops(story).await, report.stopped.len()), (vec![0], 0), "{report:?}");
    let mut tx = story.cloud.app.store.read().await.unwrap();
    assert_eq!(acting::list_machine_notes(&mut tx, None).await.unwrap().len(), 2);
}

/// How many calls each stop that is open has made.
async fn open_stops(story: &Story) -> Vec<i64> {
    let mut tx = story.cloud.app.store.read().await.unwrap();
    let open = rows::list_open_intents(&mut tx).await.unwrap();
    open.into_iter().filter(|intent| intent.action == "stop").map(|intent| intent.attempt).collect()
}

#[tokio::test]
async fn who_pays_before_a_stop_was_sent_is_opened() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        noted_and_never_sent(&story).await;
        let report = story.pay().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn what_ended_by_itself_before_the_stop_was_sent_is_not_started_at_the_restore() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        noted_and_never_sent(&story).await;
        story.cloud.standin.with(|world| {
            let now = world.now();
            world.stop_vm(story.bob.second, now);
        });
        assert_eq!(story.cloud.enforce().await.stopped, ["ROOT/bob"]);
        story.pay().await;
        assert_eq!(story.power(story.bob.second), Power::Stopped, "its owner had stopped it");
        story.is_all_back(&[story.bob.first]).await;
    })
    .await;
}

/// bob with five machines, which fill three pages of two: first and second, the one that is off and third, fourth. Due to be stopped.
async fn on_three_pages(database: Database) -> (Story, CloudId, CloudId) {
    let story = Story::on(database).await;
    let [third, fourth] = ["third", "fourth"].map(|name| {
        story.cloud.standin.with(|world| {
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(story.bob.account, name, offering, now)
        })
    });
    story.due_to_stop().await;
    (story, third, fourth)
}

/// The next run reads lists in pages of two rows.
fn in_short_pages(story: &Story) {
    let fault = Fault::once("listVirtualMachines", FaultKind::PagesOf(2)).about("page", "1");
    story.cloud.standin.with(|world| world.faults().push(fault));
}

/// Behind the answer with the second page of bob's machines this one is gone, and the last one moves up to that page.
fn vanishes(story: &Story, machine: CloudId) {
    let fault = Fault::once("listVirtualMachines", FaultKind::Vanishes(machine)).about("page", "2");
    story.cloud.standin.with(|world| world.faults().push(fault));
}

#[tokio::test]
async fn a_machine_that_moves_up_while_the_list_is_read_is_noted_all_the_same() {
    on_each_database(|database| async {
        let (story, third, fourth) = on_three_pages(database).await;
        in_short_pages(&story);
        // The list for the fuse holds still, the one for the notes does not.
        let still = Fault::once("listVirtualMachines", FaultKind::DelayFor(Duration::ZERO)).about("page", "2");
        story.cloud.standin.with(|world| world.faults().push(still));
        vanishes(&story, story.bob.first);
        let report = story.cloud.enforce().await;
        assert_eq!(report.stopped, ["ROOT/bob"], "{report:?}");
        assert_eq!(story.power(fourth), Power::Stopped);
        story.pay().await;
        story.is_all_back(&[story.bob.second, third, fourth]).await;
    })
    .await;
}

#[tokio::test]
async fn an_account_whose_list_of_machines_never_holds_still_is_not_stopped() {
    on_each_database(|database| async {
        let (story, third, fourth) = on_three_pages(database).await;
        let still = Fault::once("listVirtualMachines", FaultKind::DelayFor(Duration::ZERO)).about("page", "2");
        in_short_pages(&story);
        // Each row twice is a list that shifts.
        let shifts = Fault::once("listVirtualMachines", FaultKind::WrongDuplicates).about("page", "2").times(3);
        story.cloud.standin.with(|world| {
            world.faults().push(still);
            world.faults().push(shifts);
        });
        let before = story.count("disableAccount");
        let report = story.cloud.enforce().await;
        assert_eq!((report.stopped.len(), story.count("disableAccount")), (0, before), "{report:?}");
        assert!(report.failed.iter().any(|line| line.contains("could not be listed completely")), "{report:?}");
        story.cloud.clock.advance(Duration::from_mins(5));
        assert_eq!(story.cloud.enforce().await.stopped, ["ROOT/bob"], "the next run");
        story.pay().await;
        story.is_all_back(&[story.bob.first, story.bob.second, third, fourth]).await;
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_is_only_missing_in_the_list_is_started_again() {
    on_each_database(|database| async {
        let (story, third, fourth) = on_three_pages(database).await;
        assert_eq!(story.cloud.enforce().await.stopped, ["ROOT/bob"]);
        in_short_pages(&story);
        // Twice the list shifts, and the third time the fourth machine moves up unseen.
        let shifts = Fault::once("listVirtualMachines", FaultKind::WrongDuplicates).about("page", "2").times(2);
        story.cloud.standin.with(|world| world.faults().push(shifts));
        vanishes(&story, story.bob.off);
        story.pay().await;
        for vm in [story.bob.first, story.bob.second, third, fourth] {
            assert_eq!(story.power(vm), Power::Running, "{}", story.outcome().await);
        }
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_the_clean_up_stops_before_its_project_is_active_again_is_started() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        story.due_to_stop().await;
        let web = story.bob.in_project;
        story.cloud.standin.with(|world| world.set_stubbornness(web, Stubbornness::KeepsRunning));
        story.cloud.enforce().await;
        assert_eq!(story.power(web), Power::Running, "it does not obey");
        story.fault("activateProject", FaultKind::Status(503));
        let report = story.pay().await;
        assert!(report.started[0].contains("is not active yet"), "{report:?}");
        // CloudStack tries again to stop what runs in a suspended project.
        story.cloud.standin.with(|world| {
            world.set_stubbornness(web, Stubbornness::Obedient);
            world.clean_up_accounts();
        });
        assert_eq!(story.power(web), Power::Stopped);
        for _ in 0..2 {
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        story.is_all_back(&[story.bob.first, story.bob.second, web]).await;
    })
    .await;
}

#[tokio::test]
async fn a_machine_whose_starts_are_lost_again_and_again_is_not_given_up() {
    on_each_database(|database| async {
        let story = Story::stopped(database, false).await;
        let lost = Fault::once("startVirtualMachine", FaultKind::CutBeforeAction);
        let lost = lost.about("id", &story.bob.first.to_string()).times(6);
        story.cloud.standin.with(|world| world.faults().push(lost));
        story.pay().await;
        for _ in 0..8 {
            // Looked for twice while it may still be on its way.
            story.cloud.enforce().await;
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn who_has_no_limit_any_more_gets_everything_back() {
    on_each_database(|database| async {
        let story = story(database, true, |_| {}).await;
        let before = [story.bob.account, story.bob.project].map(|owner| story.limits(owner));
        story.due_to_stop().await;
        assert_eq!(story.cloud.enforce().await.stopped, ["ROOT/bob"]);
        story.cloud.limit("bob", "none").await;
        let report = story.cloud.enforce().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        assert_eq!([story.bob.account, story.bob.project].map(|owner| story.limits(owner)), before);
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
        // Nothing is due any more.
        story.cloud.pass(DAY * 3);
        let report = story.cloud.round().await;
        assert!(report.restricted.is_empty() && report.locked.is_empty(), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_project_whose_activation_never_arrived_is_activated_by_the_run_that_finds_that_out() {
    on_each_database(|database| async {
        let story = Story::stopped(database, true).await;
        story.fault("activateProject", FaultKind::CutBeforeAction);
        let report = story.pay().await;
        assert!(report.started.iter().any(|line| line.contains("may still be on its way")), "{report:?}");
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
    })
    .await;
}

#[tokio::test]
async fn locks_are_told_apart_also_where_cloudstack_gives_pages_of_three_rows() {
    on_each_database(|database| async {
        let story = story(database, true, |options| options.page_limit = 3).await;
        story.due_to_stop().await;
        assert_eq!(story.cloud.enforce().await.stopped, ["ROOT/bob"]);
        let report = story.pay().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
    })
    .await;
    on_each_database(|database| async {
        let story = story(database, false, |options| options.page_limit = 3).await;
        story.due_to_stop().await;
        assert_eq!(story.cloud.enforce().await.stopped, ["ROOT/bob"]);
        story.cloud.standin.with(|world| world.lock_by_admin(story.bob.account));
        let report = story.pay().await;
        assert!(report.restored.is_empty() && story.state() != State::Enabled, "{report:?}");
        assert_eq!(story.holds().await.len(), 2);
    })
    .await;
}
