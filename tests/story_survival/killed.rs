//! The real program, killed again and again while it restricts, locks, stops and gives back, machines and projects included.

use std::collections::BTreeMap;

use bursar::{
    ids::CloudId,
    standin::{Power, World},
    store::acting,
};

use super::*;
use crate::story_cli::run_sql;

/// Everything in CloudStack that enforcement changes.
const WRITES: [&str; 7] = [
    "disableAccount",
    "enableAccount",
    "updateResourceLimit",
    "suspendProject",
    "activateProject",
    "startVirtualMachine",
    "stopVirtualMachine",
];
/// A process that begins that often has nothing left to do long before.
const MOST_PROCESSES: usize = 100;

/// ann runs within her limit until now, bob is due to be locked, eve to be stopped, and dora was stopped and has paid. Each has two
/// machines that run, one that was stopped by hand, and a project with a machine.
struct Four {
    cloud: Cloud,
    /// The account and its project.
    ids: BTreeMap<&'static str, [CloudId; 2]>,
    /// What each had before bursar took anything.
    before: BTreeMap<&'static str, Belongings>,
}

/// The limits of an account and of its project, and what its machines do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Belongings {
    state: Option<State>,
    limits: [BTreeMap<u8, i64>; 2],
    machines: BTreeMap<CloudId, Power>,
}

fn build(world: &mut World, name: &str) -> [CloudId; 2] {
    let account = tenant(world, name);
    let offering = world.find_offering("Small Instance").unwrap();
    let now = world.now();
    for machine in ["first", "second", "off"] {
        let vm = world.deploy_vm(account, &format!("{name}-{machine}"), offering, now);
        if machine == "off" {
            world.stop_vm(vm, now);
        }
    }
    let project = world.add_project(account, &format!("{name}-shop"));
    world.deploy_vm(project, &format!("{name}-web"), offering, now);
    [account, project]
}

fn belongings(cloud: &Cloud, [account, project]: [CloudId; 2]) -> Belongings {
    cloud.standin.with(|world| {
        let machines = [world.machines_of(account), world.machines_of(project)].concat();
        Belongings {
            state: world.account_state(account),
            limits: [world.limits_of(account), world.limits_of(project)],
            machines: machines.into_iter().map(|vm| (vm, world.vm_power(vm).unwrap())).collect(),
        }
    })
}

impl Four {
    async fn at(database: Database, end: Timestamp) -> Self {
        let start = (end.as_seconds() / 3_600 - 5 * 24) * 3_600;
        let mut ids = BTreeMap::new();
        let mut cloud = Cloud::start(database, start, |world| {
            for name in ["ann", "bob", "dora", "eve"] {
                ids.insert(name, build(world, name));
            }
        })
        .await;
        let first = chrono::DateTime::from_timestamp(start, 0).unwrap().format("%Y-%m-%d").to_string();
        for (key, value) in [
            ("BILLING_START", first.as_str()),
            ("LOG_LEVEL", "warn"),
            ("FUSE_ACCOUNTS", "50"),
            ("FUSE_PERCENT", "100"),
            ("POLICY_WARNING_HOURS", "1"),
            ("POLICY_LOCK_AFTER_DAYS", "1"),
            ("POLICY_STOP_AFTER_DAYS", "2"),
        ] {
            cloud.env.insert(format!("BURSAR_{key}"), value.to_owned());
        }
        cloud.restart().await;
        cloud.arm(&["notify", "restrict", "lock", "stop"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        let before = ids.iter().map(|(name, id)| (*name, belongings(&cloud, *id))).collect();
        for name in ids.keys() {
            cloud.limit(name, "100").await;
        }
        // Each day somebody else is over, and whoever is over goes down a step.
        for over in ["dora", "nobody", "eve", "bob"] {
            if over != "nobody" {
                cloud.limit(over, "0.05").await;
            }
            cloud.pass(HOUR);
            cloud.round().await;
            cloud.pass(Duration::from_hours(23));
            cloud.round().await;
        }
        let states = ["ann", "bob", "dora", "eve"].map(|name| belongings(&cloud, ids[name]).state.unwrap());
        assert_eq!(states, [State::Enabled, State::Enabled, State::Disabled, State::Locked]);
        cloud.pay("dora", "500").await;
        cloud.limit("ann", "0.05").await;
        cloud.pass(end.since(cloud.clock.now()));
        cloud.catch_up().await;
        Self { cloud, ids, before }
    }

    fn now(&self, name: &str) -> Belongings {
        belongings(&self.cloud, self.ids[name])
    }

    fn writes(&self) -> usize {
        self.cloud.standin.with(|world| world.calls().iter().filter(|call| WRITES.contains(&&*call.command)).count())
    }

    async fn open(&self) -> Vec<String> {
        let mut tx = self.cloud.app.store.read().await.unwrap();
        let mut open = Vec::new();
        for intent in rows::list_open_intents(&mut tx).await.unwrap() {
            let calls = acting::list_calls(&mut tx, &intent.id).await.unwrap();
            open.push(format!("{intent:?}: {calls:?}"));
        }
        open
    }

    /// Kills process after process, each a few changes after it began, until one has nothing left to do. Gives how many were killed.
    async fn enforce_with_kills(&self, random: &SeededRandom) -> usize {
        let mut killed = 0;
        for _ in 0..MOST_PROCESSES {
            // The cloud goes by the story's clock, and the program by the machine's.
            self.cloud.clock.advance(now().since(self.cloud.clock.now()));
            let (before, mut byte) = (self.writes(), [0_u8; 1]);
            random.fill(&mut byte);
            let lives_for = 1 + usize::from(byte[0]) % 5;
            let mut child = Running::start(command(&self.cloud, &["enforce"]));
            let begun = Instant::now();
            while self.writes() < before + lives_for && child.0.try_wait().unwrap().is_none() {
                assert!(begun.elapsed() < PATIENCE);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let ended = child.0.try_wait().unwrap();
            child.kill();
            let_the_dead_be_given_up(&self.cloud).await;
            if let Some(status) = ended {
                // 1: something did not come about, and a later run takes it up.
                assert!(matches!(status.code(), Some(0 | 1)), "{status}");
                if self.writes() == before {
                    if self.open().await.is_empty() {
                        return killed;
                    }
                    // A machine is on its way, and nobody asks about its job any more: it arrives within a minute.
                    self.cloud.clock.advance(Duration::from_secs(61));
                }
            } else {
                killed += 1;
            }
            // What was sent has arrived; the program waits a quarter of an hour before it takes that for granted.
            run_sql(&self.cloud, "update intent_call set claimed_ms = claimed_ms - 1200000").await;
        }
        panic!("it does not come to an end; open: {:#?}", self.open().await);
    }

    async fn rungs(&self) -> Vec<String> {
        let mut rungs = Vec::new();
        for name in self.ids.keys() {
            let account = self.cloud.account(name).await;
            let mut tx = self.cloud.app.store.read().await.unwrap();
            let holds = rows::list_holds(&mut tx, Some(account.id)).await.unwrap();
            rungs.extend(holds.iter().map(|hold| format!("{name} {} {}", hold.owner, hold.rung)));
        }
        rungs
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_every_step_it_takes_and_gives_back_exactly_what_it_should() {
    on_each_database(|database| async {
        let four = Four::at(database, now()).await;
        let random = SeededRandom::new(20_261_127);
        assert!(four.enforce_with_kills(&random).await > 8);
        assert_eq!(four.rungs().await, ["ann billing restrict", "bob billing lock", "eve billing stop"]);
        let states = ["ann", "bob", "dora", "eve"].map(|name| four.now(name).state.unwrap());
        assert_eq!(states, [State::Enabled, State::Locked, State::Enabled, State::Disabled]);
        assert_eq!(four.now("dora"), four.before["dora"], "what was stopped came back as it was");
        let (ann, before) = (four.now("ann"), &four.before["ann"]);
        assert_eq!((ann.limits.clone().map(|limits| limits[&0]), &ann.machines), ([3, 1], &before.machines));
        assert_eq!(four.now("bob").machines, four.before["bob"].machines, "locked machines run on");
        assert!(four.now("eve").machines.values().all(|power| *power == Power::Stopped));
        succeeds(&four.cloud, &["verify"]).await;

        for name in ["ann", "bob", "eve"] {
            four.cloud.pay(name, "500").await;
        }
        assert!(four.enforce_with_kills(&random).await > 8);
        assert_eq!(four.rungs().await, Vec::<String>::new());
        for (name, before) in &four.before {
            assert_eq!(four.now(name), *before, "{name} on {}", four.cloud.database.kind);
        }
        let mut tx = four.cloud.app.store.read().await.unwrap();
        assert_eq!(acting::list_limit_changes(&mut tx, None).await.unwrap(), Vec::new());
        assert_eq!(acting::list_machine_notes(&mut tx, None).await.unwrap(), Vec::new());
        assert_eq!(acting::list_project_notes(&mut tx, None).await.unwrap(), Vec::new());
        drop(tx);
        succeeds(&four.cloud, &["verify"]).await;
    })
    .await;
}
