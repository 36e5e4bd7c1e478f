//! What people do at the command line: holds, deletion proposals, plans, and waking the running server.

use bursar::jobs::lock::DataLock;
use serde_json::Value;

use super::*;
use crate::story_cli::{self, bursar};

async fn requests(cloud: &Cloud) -> Vec<String> {
    let mut tx = cloud.app.store.read().await.unwrap();
    runs::list_open_requests(&mut tx, 100).await.unwrap().into_iter().map(|request| request.kind).collect()
}

#[tokio::test]
async fn whatever_may_open_an_account_wakes_the_running_server() {
    on_each_database(|database| async {
        let cloud = story_cli::cloud(database).await;
        cloud.catch_up().await;
        // The server runs: on SQLite it holds the data directory.
        let lock = DataLock::try_serve(cloud.database.folder.path()).unwrap();
        let mut expected = Vec::new();
        for arguments in [
            vec!["payment", "add", "bob", "5", "--reference", "transfer 1"],
            vec!["account", "limit", "bob", "70"],
            vec!["account", "opening", "dave", "3"],
            vec!["grant", "add", "bob", "4", "--reason", "sorry"],
            vec!["adjustment", "add", "bob", "1", "--reason", "rounding"],
            vec!["hold", "place", "bob", "--owner", "abuse", "--reason", "spam"],
            vec!["hold", "lift", "bob", "--owner", "abuse", "--reason", "it was not bob"],
            vec!["hold", "adopt", "mallory", "--as", "billing"],
            vec!["enforce", "pause"],
            vec!["enforce", "resume"],
            vec!["enforce", "confirm"],
        ] {
            let ran = bursar(&cloud.env, &arguments).await;
            assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
            let takes = arguments[..2] == ["hold", "place"] || arguments[..2] == ["enforce", "pause"];
            if !takes {
                expected.push("enforce".to_owned());
            }
            assert_eq!(requests(&cloud).await, expected, "after {arguments:?}");
        }
        drop(lock);
    })
    .await;
}

#[tokio::test]
async fn holds_are_placed_lifted_and_adopted_with_author_and_reason() {
    on_each_database(|database| async {
        let cloud = story_cli::cloud(database).await;
        cloud.catch_up().await;
        let run = async |arguments: &[&str]| bursar(&cloud.env, arguments).await;
        run(&["hold", "place", "bob", "--owner", "abuse", "--reason", "spam"]).await.json_of("hold place");
        run(&["hold", "place", "bob", "--owner", "abuse", "--reason", "again"])
            .await
            .refused(&["held by abuse already"]);
        assert_eq!(
            (holds(&cloud, "bob").await, state(&cloud, "bob").await),
            (vec!["abuse".to_owned()], State::Enabled)
        );
        let listed: Value = run(&["--json", "hold", "list", "bob"]).await.json();
        assert_eq!(listed[0]["reason"], "spam");
        run(&["hold", "lift", "bob", "--owner", "admin", "--reason", "x"]).await.refused(&["not held by admin"]);
        run(&["hold", "lift", "bob", "--owner", "abuse", "--reason", "cleared"]).await.json_of("hold lift");
        // mallory was locked before bursar came: as billing it is bursar's to open, the state read before stands in the audit.
        let before: Value = run(&["--json", "hold", "list", "mallory"]).await.json();
        assert_eq!(before[0]["owner"], "before");
        run(&["hold", "adopt", "mallory", "--as", "billing"]).await.json_of("hold adopt");
        let after: Value = run(&["--json", "hold", "list", "mallory"]).await.json();
        assert_eq!((&after[0]["owner"], &after[0]["rung"]), (&"billing".into(), &"lock".into()));
        assert_eq!(audit(&cloud, "hold.place").await, [("cli:carol".to_owned(), "ROOT/bob".to_owned())]);
        assert_eq!(audit(&cloud, "hold.lift").await, [("cli:carol".to_owned(), "ROOT/bob".to_owned())]);
        assert_eq!(audit(&cloud, "hold.adopt").await, [("cli:carol".to_owned(), "ROOT/mallory".to_owned())]);
    })
    .await;
}

#[tokio::test]
async fn enforcement_is_armed_planned_and_disarmed_at_the_command_line() {
    on_each_database(|database| async {
        let cloud = story_cli::cloud(database).await;
        cloud.catch_up().await;
        let run = async |arguments: &[&str]| bursar(&cloud.env, arguments).await;
        run(&["enforce", "arm", "--rung", "notify"]).await.refused(&["--yes"]);
        let armed: Value =
            run(&["--json", "enforce", "arm", "--rung", "notify", "--rung", "lock", "--yes"]).await.json();
        assert_eq!(armed["armed"].as_array().unwrap().len(), 2);
        run(&["enforce", "arm", "--rung", "stop", "--domain", "ROOT/acme", "--yes"])
            .await
            .json_of("lock is armed everywhere");
        let status: Value = run(&["--json", "enforce", "status"]).await.json();
        assert_eq!(status["armed"].as_array().unwrap().len(), 3, "{status}");
        let ran = run(&["enforce", "--plan"]).await;
        assert!(ran.code == 0 && ran.out.contains("there is nothing to plan"), "{}{}", ran.out, ran.err);
        run(&["enforce", "approve", "7"]).await.refused(&["there is no plan 7"]);
        run(&["enforce", "undo", "12345"]).await.refused(&["no run of enforcement"]);
        let ran = run(&["enforce", "differences"]).await;
        assert!(ran.out.contains("agree"), "{}{}", ran.out, ran.err);
        run(&["enforce", "disarm", "--rung", "stop"]).await.json_of("disarm");
        run(&["enforce", "disarm", "--rung", "stop"]).await.refused(&["is not armed like this"]);
        run(&["leave"]).await.refused(&["--yes"]);
        run(&["leave", "--yes"]).await.json_of("leave");
        let status: Value = run(&["--json", "enforce", "status"]).await.json();
        assert_eq!((status["armed"].as_array().unwrap().len(), &status["paused"]), (0, &true.into()));
    })
    .await;
}

#[tokio::test]
async fn pausing_and_resuming_leave_who_did_it_and_what_was_before_and_after_in_the_audit_trail() {
    on_each_database(|database| async {
        let cloud = story_cli::cloud(database).await;
        for word in ["pause", "resume", "pause"] {
            bursar(&cloud.env, &["enforce", word]).await.json_of(word);
        }
        let mut tx = cloud.app.store.read().await.unwrap();
        let lines = runs::list_audit(&mut tx, Some("enforcement"), 10).await.unwrap();
        let of_it = lines.iter().rev().map(|line| {
            let (before, after) = (line.before_state.as_deref(), line.after_state.as_deref());
            (line.actor.as_str(), line.action.as_str(), before, after)
        });
        assert_eq!(
            of_it.collect::<Vec<_>>(),
            [
                ("cli:carol", "enforce.pause", None, Some("1")),
                ("cli:carol", "enforce.resume", Some("1"), Some("0")),
                ("cli:carol", "enforce.pause", Some("0"), Some("1")),
            ],
            "on {}",
            cloud.database.kind
        );
    })
    .await;
}

impl story_cli::Ran {
    /// It succeeded; what it said does not matter.
    fn json_of(&self, what: &str) {
        assert_eq!(self.code, 0, "{what}: {}{}", self.out, self.err);
    }
}

#[tokio::test]
async fn a_proposal_to_delete_is_decided_by_a_person_and_deletes_nothing() {
    on_each_database(|database| async {
        let mut cloud = due_to_stop(database).await;
        cloud.reconfigure("POLICY_DELETE_AFTER_DAYS", "1").await;
        cloud.pass(2 * DAY);
        cloud.catch_up().await;
        assert_eq!(cloud.enforce().await.stopped, ["ROOT/bob"]);
        for _ in 0..2 {
            cloud.pass(2 * DAY);
            cloud.round().await;
        }
        let mut tx = cloud.app.store.read().await.unwrap();
        let open = plan_rows::list_deletions(&mut tx, false, 10).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(open.len(), 1, "proposed once");
        let told = cloud.told("deletion").await;
        assert_eq!(told.len(), 1, "administrators are told once: {told:?}");
        assert!(told[0].contains(&format!("Proposal {} waits for you", open[0].id)), "{told:?}");
        let id = open[0].id.to_string();
        let ran = bursar(&cloud.env, &["deletion", "refuse", &id, "--reason", "they will pay"]).await;
        assert!(ran.code == 0 && ran.out.contains("ROOT/bob stays"), "{}{}", ran.out, ran.err);
        bursar(&cloud.env, &["deletion", "confirm", &id, "--reason", "x"]).await.refused(&["is refused"]);
        cloud.pass(2 * DAY);
        cloud.round().await;
        let listed: Value = bursar(&cloud.env, &["--json", "deletion", "list", "--all"]).await.json();
        assert_eq!(listed.as_array().unwrap().len(), 1, "not proposed again for the same time over the credit");
        assert_eq!(cloud.told("deletion").await, told);
        assert_eq!(audit(&cloud, "deletion.refuse").await, [("cli:carol".to_owned(), "ROOT/bob".to_owned())]);
        assert_eq!((calls(&cloud, "deleteAccount"), state(&cloud, "bob").await), (0, State::Disabled));
    })
    .await;
}

/// Proposals to delete, newest first: number and state.
async fn proposals(cloud: &Cloud) -> Vec<(i64, String)> {
    let mut tx = cloud.app.store.read().await.unwrap();
    let rows = plan_rows::list_deletions(&mut tx, true, 10).await.unwrap();
    rows.into_iter().map(|row| (row.id, row.state)).collect()
}

/// bob has been stopped for long enough: a proposal is open.
async fn proposed(database: Database) -> Cloud {
    let mut cloud = due_to_stop(database).await;
    cloud.reconfigure("POLICY_DELETE_AFTER_DAYS", "1").await;
    cloud.pass(2 * DAY);
    cloud.catch_up().await;
    assert_eq!(cloud.enforce().await.stopped, ["ROOT/bob"]);
    for _ in 0..2 {
        cloud.pass(2 * DAY);
        cloud.round().await;
    }
    cloud
}

#[tokio::test]
async fn a_proposal_to_delete_outlives_what_holds_the_ladder_back_for_a_while() {
    on_each_database(|database| async {
        let cloud = proposed(database).await;
        let open = proposals(&cloud).await;
        assert!(open.len() == 1 && open[0].1 == "open", "{open:?}");
        cloud.switch(switches::PAUSED, "1").await;
        cloud.enforce().await;
        assert_eq!(proposals(&cloud).await, open, "paused, on {}", cloud.database.kind);
        cloud.switch(switches::PAUSED, "").await;
        cloud.enforce().await;
        assert_eq!(proposals(&cloud).await, open, "resumed, on {}", cloud.database.kind);
        // One that lapsed though the account stayed stopped, as earlier versions had it, comes back under its number.
        run_sql(
            &cloud,
            "update deletion_proposal set state = 'lapsed', decided_by = 'bursar', words = 'x', decided_ms = 1",
        )
        .await;
        cloud.enforce().await;
        assert_eq!(proposals(&cloud).await, open, "taken up again, on {}", cloud.database.kind);
        assert_eq!(audit(&cloud, "deletion.propose").await.len(), 2);
        assert_eq!(cloud.told("deletion").await.len(), 2, "told again");
        cloud.pay("bob", "500").await;
        cloud.enforce().await;
        assert_eq!(proposals(&cloud).await, [(open[0].0, "lapsed".to_owned())]);
        assert_eq!(audit(&cloud, "deletion.lapse").await, [("bursar".to_owned(), "ROOT/bob".to_owned())]);
    })
    .await;
}

#[tokio::test]
async fn an_account_is_proposed_once_also_where_stopping_is_switched_off_by_now() {
    on_each_database(|database| async {
        let mut cloud = proposed(database).await;
        let open = proposals(&cloud).await;
        assert_eq!(open.len(), 1);
        cloud.reconfigure("POLICY_STOP_ENABLED", "false").await;
        for _ in 0..3 {
            cloud.pass(HOUR);
            cloud.round().await;
        }
        assert_eq!(proposals(&cloud).await, open, "on {}", cloud.database.kind);
        assert_eq!(audit(&cloud, "deletion.propose").await.len(), 1);
        // A refused one is not asked again either.
        run_sql(&cloud, "update deletion_proposal set state = 'refused'").await;
        cloud.reconfigure("POLICY_STOP_ENABLED", "true").await;
        for _ in 0..3 {
            cloud.pass(HOUR);
            cloud.round().await;
        }
        assert_eq!(proposals(&cloud).await, [(open[0].0, "refused".to_owned())], "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn whoever_disarms_lock_disarms_stop_with_it_where_no_lock_is_left() {
    on_each_database(|database| async {
        let cloud = story_cli::cloud(database).await;
        cloud.catch_up().await;
        let status = async || {
            let armed = arming::status(&cloud.app).await.unwrap().armed;
            armed.into_iter().map(|row| format!("{} {}", row.rung, row.domain_path)).collect::<Vec<_>>()
        };
        cloud.arm(&["notify", "lock"]).await;
        cloud.arm_in("ROOT/acme", &["lock", "stop"]).await;
        // Locks are armed there by the whole cloud, too.
        let ran = bursar(&cloud.env, &["enforce", "disarm", "--rung", "lock", "--domain", "ROOT/acme"]).await;
        assert!(ran.code == 0 && !ran.out.contains("stop"), "{}{}", ran.out, ran.err);
        assert_eq!(status().await, ["lock ", "notify ", "stop ROOT/acme"]);
        let ran = bursar(&cloud.env, &["enforce", "disarm", "--rung", "lock"]).await;
        assert!(ran.out.contains("stop in ROOT/acme (it passes lock)"), "{}{}", ran.out, ran.err);
        assert_eq!(status().await, ["notify "], "on {}", cloud.database.kind);
        let mut tx = cloud.app.store.read().await.unwrap();
        let lines = runs::list_audit(&mut tx, None, 10).await.unwrap();
        let last = lines.iter().find(|line| line.action == "enforce.disarm").unwrap();
        assert_eq!(
            last.before_state.as_deref(),
            Some("lock in the whole cloud, notify in the whole cloud, stop in ROOT/acme")
        );
        assert_eq!(last.after_state.as_deref(), Some("notify in the whole cloud"));
    })
    .await;
}

#[tokio::test]
async fn names_that_protect_or_arm_nothing_any_more_are_told() {
    on_each_database(|database| async {
        let mut cloud = story_cli::cloud(database).await;
        cloud.reconfigure("POLICY_PROTECTED_ACCOUNTS", "ROOT/bob, ROOT/robert").await;
        cloud.arm(&["notify"]).await;
        cloud.arm_in("ROOT/acme", &["lock"]).await;
        cloud.arm_in("ROOT/acme-old", &["lock"]).await;
        assert!(arming::status(&cloud.app).await.unwrap().unmatched.is_empty(), "nothing was read yet");
        cloud.catch_up().await;
        let status = arming::status(&cloud.app).await.unwrap();
        assert_eq!(status.unmatched.len(), 2, "{:?}", status.unmatched);
        let text = status.text(chrono_tz::UTC);
        for words in
            ["names ROOT/robert, and CloudStack has no such account", "armed in ROOT/acme-old, and CloudStack has"]
        {
            assert!(text.contains(words), "{words} is missing in {text}");
        }
    })
    .await;
}
