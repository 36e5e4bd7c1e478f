//! A process that stands still while another one takes over writes nothing any more, and what it looked at long ago opens and holds nobody.

use std::time::Duration;

use bursar::{
    enforcement::switches,
    standin::{Fault, FaultKind, Gate, State},
    store::{Tx, acting, cloud, enforcement as rows, operations, runs},
    time::{Clock as _, Timestamp},
};

use super::{DAY, HOUR, Story};
use crate::harness::on_each_database;

/// Everything that enforcement writes, as it stands.
async fn written(story: &Story) -> Vec<String> {
    let bob = story.cloud.account("bob").await.id;
    let mut tx = story.cloud.app.store.read().await.unwrap();
    let tx = &mut tx;
    let mut all = vec![
        format!("{:?}", rows::list_holds(tx, None).await.unwrap()),
        format!("{:?}", rows::list_notices(tx, None, 1_000).await.unwrap()),
        format!("{:?}", rows::list_decisions(tx, bob, 1_000).await.unwrap()),
        format!("{:?}", acting::list_limit_changes(tx, None).await.unwrap()),
        format!("{:?}", acting::list_project_notes(tx, None).await.unwrap()),
        format!("{:?}", acting::list_machine_notes(tx, None).await.unwrap()),
        format!("{:?}", acting::list_settled(tx, bob, Timestamp::from_ms(0)).await.unwrap()),
        format!("{:?}", operations::list_fuse_uses(tx, Timestamp::from_ms(0)).await.unwrap()),
        format!("{:?}", operations::list_plans(tx, 100).await.unwrap()),
        format!("{:?}", runs::list_audit(tx, None, 1_000).await.unwrap()),
        format!("{:?}", cloud::get_account(tx, bob).await.unwrap().state),
    ];
    let intents = rows::list_intents(tx, None, 1_000).await.unwrap();
    for intent in &intents {
        all.push(format!("{:?}", acting::list_calls(tx, &intent.id).await.unwrap()));
    }
    all.push(format!("{intents:?}"));
    for key in [switches::EVENTS_UNTIL, switches::EVENTS_LOST, switches::OWN_ACTS_UNTIL, switches::LAST_NOW] {
        all.push(format!("{key} {:?}", runs::find_setting(tx, key).await.unwrap()));
    }
    all
}

async fn seize(tx: &mut Tx, now: Timestamp) {
    runs::seize_lease(tx, "enforcer", "somebody else", Duration::from_secs(1), now).await.unwrap();
}

impl Story {
    /// Enforces, and another process takes over while the first call of this command waits for its answer. What stands in the database
    /// then is what stands there once this one has ended.
    async fn is_taken_over_at(&self, command: &str) {
        let gate = self.delay(command);
        let mut before = Vec::new();
        let takes_over = async || {
            let mut tx = self.cloud.app.store.begin().await.unwrap();
            seize(&mut tx, self.cloud.clock.now()).await;
            tx.commit().await.unwrap();
            before = written(self).await;
        };
        let error = self.try_while(&gate, takes_over).await.unwrap_err().to_string();
        assert!(error.contains("another process has taken over"), "{command}: {error}");
        assert_eq!(written(self).await, before, "{command}");
    }

    async fn rounds(&self, count: u32) {
        for _ in 0..count {
            self.cloud.pass(HOUR);
            self.cloud.round().await;
        }
    }
}

#[tokio::test]
async fn a_stop_that_another_process_took_over_writes_nothing_and_is_ended_there() {
    for command in ["listAccounts", "listEvents", "listVirtualMachines", "disableAccount", "suspendProject"] {
        on_each_database(|database| async {
            let story = super::story(database, true, |_| {}).await;
            story.due_to_stop().await;
            story.is_taken_over_at(command).await;
            story.rounds(2).await;
            assert_eq!((story.state(), story.rung().await.as_deref()), (State::Disabled, Some("stop")), "{command}");
            story.pay().await;
            story.rounds(2).await;
            story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_restore_that_another_process_took_over_writes_nothing_and_is_ended_there() {
    let commands = [
        "listEvents",
        "enableAccount",
        "updateResourceLimit",
        "activateProject",
        "listVirtualMachines",
        "startVirtualMachine",
    ];
    for command in commands {
        on_each_database(|database| async {
            let story = Story::stopped(database, true).await;
            story.cloud.pay("bob", "500").await;
            story.is_taken_over_at(command).await;
            story.rounds(2).await;
            story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_account_that_somebody_holds_while_bursar_looks_who_locked_it_stays_closed() {
    on_each_database(|database| async {
        let story = Story::stopped(database, false).await;
        story.cloud.pay("bob", "500").await;
        let bob = story.cloud.account("bob").await.id;
        // Holds have been read by then.
        let gate = story.delay_about("listEvents", ("resourceid", &story.bob.account.to_string()));
        let holds = async || {
            let mut tx = story.cloud.app.store.begin().await.unwrap();
            let now = story.cloud.clock.now();
            assert!(rows::place_hold(&mut tx, bob, "abuse", "lock", "spam", None, "alice", now).await.unwrap());
            tx.commit().await.unwrap();
        };
        let report = story.enforce_while(&gate, holds).await;
        assert!(report.failed.iter().any(|line| line.contains("somebody else wants it suspended too")), "{report:?}");
        assert_eq!((story.count("enableAccount"), story.holds().await), (0, vec!["billing".into(), "abuse".into()]));
        let mut tx = story.cloud.app.store.begin().await.unwrap();
        assert!(rows::lift_hold(&mut tx, bob, "abuse", "alice", story.cloud.clock.now()).await.unwrap());
        tx.commit().await.unwrap();
        story.rounds(1).await;
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn who_locked_an_account_is_looked_at_anew_where_bursar_stood_still_before_it_opened_it() {
    on_each_database(|database| async {
        let story = Story::stopped(database, false).await;
        story.cloud.pay("bob", "500").await;
        let open = Gate::default();
        open.open();
        // The first look at the account comes before the look at the events, the second one behind it.
        let fault = |gate: &Gate| {
            Fault::once("listAccounts", FaultKind::DelayUntil(gate.clone())).about("id", &story.bob.account.to_string())
        };
        let gate = Gate::default();
        story.cloud.standin.with(|world| {
            world.faults().push(fault(&open));
            world.faults().push(fault(&gate));
        });
        let stands_still = async || {
            story.cloud.pass(Duration::from_mins(6));
            story.lock_by_admin();
        };
        let report = story.enforce_while(&gate, stands_still).await;
        assert_eq!((story.count("enableAccount"), story.state()), (0, State::Disabled), "{report:?}");
        assert!(report.failed.iter().any(|line| line.contains("bursar stood still")), "{report:?}");
        story.rounds(1).await;
        assert_eq!((story.count("enableAccount"), story.state()), (0, State::Disabled));
        story.enabled_by_admin().await;
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn an_account_that_somebody_suspends_while_bursar_looks_who_locked_it_stays_closed() {
    // How long bursar stands still over the second question, and what it says then.
    for (stands, says) in [(6, "bursar stood still"), (0, "it was locked and is disabled now")] {
        on_each_database(|database| async {
            let story = Story::on(database).await;
            story.over().await;
            for _ in 0..20 {
                story.cloud.pass(DAY);
                story.cloud.round().await;
                if story.state() == State::Locked {
                    break;
                }
            }
            story.cloud.pay("bob", "500").await;
            let (open, gate) = (Gate::default(), Gate::default());
            open.open();
            story.cloud.standin.with(|world| {
                for gate in [&open, &gate] {
                    let fault = Fault::once("listEvents", FaultKind::DelayUntil(gate.clone()));
                    world.faults().push(fault.about("resourceid", &story.bob.account.to_string()));
                }
            });
            let suspends = async || {
                story.cloud.clock.advance(Duration::from_mins(stands));
                story.cloud.standin.with(|world| world.disable_by_admin(story.bob.account));
            };
            let report = story.enforce_while(&gate, suspends).await;
            assert!(report.failed.iter().any(|line| line.contains(says)), "{report:?}");
            assert_eq!((story.count("enableAccount"), story.state()), (0, State::Disabled));
            story.rounds(1).await;
            assert_eq!(
                (story.count("enableAccount"), story.holds().await),
                (0, vec!["billing".into(), "admin".into()])
            );
        })
        .await;
    }
}

#[tokio::test]
async fn a_hold_that_a_person_places_instead_of_a_seen_lock_is_not_lifted_with_it() {
    on_each_database(|database| async {
        let story = Story::stopped(database, false).await;
        story.cloud.pass(HOUR);
        story.lock_by_admin();
        story.rounds(1).await;
        assert_eq!(story.holds().await, ["billing", "admin"]);
        let bob = story.cloud.account("bob").await.id;
        story.cloud.standin.with(|world| world.enable_by_admin(story.bob.account));
        // Asked whether the account is enabled by now.
        let gate = story.delay_about("listAccounts", ("id", &story.bob.account.to_string()));
        let replaces = async || {
            let (mut tx, now) = (story.cloud.app.store.begin().await.unwrap(), story.cloud.clock.now());
            assert!(rows::lift_hold(&mut tx, bob, "admin", "alice", now).await.unwrap());
            assert!(rows::place_hold(&mut tx, bob, "admin", "lock", "ask me", None, "alice", now).await.unwrap());
            tx.commit().await.unwrap();
        };
        story.enforce_while(&gate, replaces).await;
        assert_eq!(story.holds().await, ["billing", "admin"]);
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_was_seen_beside_a_hold_which_a_person_lifted_meanwhile_holds_nobody() {
    on_each_database(|database| async {
        let story = Story::stopped(database, false).await;
        story.cloud.pass(HOUR);
        story.lock_by_admin();
        let bob = story.cloud.account("bob").await.id;
        let open = Gate::default();
        open.open();
        // Own acts are looked at first, by two questions, and then what others did.
        let gate = Gate::default();
        story.cloud.standin.with(|world| {
            for gate in [&open, &open, &gate] {
                world.faults().push(Fault::once("listEvents", FaultKind::DelayUntil(gate.clone())));
            }
        });
        let lifts = async || {
            let mut tx = story.cloud.app.store.begin().await.unwrap();
            assert!(rows::lift_hold(&mut tx, bob, "billing", "alice", story.cloud.clock.now()).await.unwrap());
            tx.commit().await.unwrap();
        };
        story.enforce_while(&gate, lifts).await;
        assert_eq!(story.holds().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn decisions_are_as_of_when_the_guards_were_read_also_where_bursar_stood_still_over_them() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        story.cloud.limit("bob", "0.05").await;
        let gate = story.delay_about("listConfigurations", ("name", "quota.enable.enforcement"));
        let stands_still = async || {
            story.cloud.clock.advance(Duration::from_mins(5));
        };
        story.enforce_while(&gate, stands_still).await;
        let mut tx = story.cloud.app.store.read().await.unwrap();
        let decided = rows::list_decisions(&mut tx, story.cloud.account("bob").await.id, 1).await.unwrap();
        assert_eq!(decided[0].decided_ms, story.cloud.clock.now().as_ms(), "{decided:?}");
    })
    .await;
}
