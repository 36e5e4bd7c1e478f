//! Every act leaves a line in the audit trail: who or which rule, what, to whom, from which state to which, and what CloudStack said.

use bursar::store::runs::AuditLine;

use super::*;

/// What was done to bob, oldest first.
async fn acts_on_bob(cloud: &Cloud) -> Vec<AuditLine> {
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut lines = runs::list_audit(&mut tx, Some("ROOT/bob"), 1_000).await.unwrap();
    let acts = ["account.restrict", "account.lock", "account.stop", "account.restore"];
    lines.retain(|line| acts.contains(&line.action.as_str()));
    lines.reverse();
    lines
}

#[tokio::test]
async fn each_step_down_and_the_way_back_leave_a_line_with_states_intent_and_answer() {
    on_each_database(|database| async {
        let cloud = due_to_stop(database).await;
        cloud.pass(2 * DAY);
        cloud.catch_up().await;
        assert_eq!(cloud.enforce().await.stopped, ["ROOT/bob"]);
        cloud.pay("bob", "500").await;
        let report = cloud.enforce().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");

        let lines = acts_on_bob(&cloud).await;
        let told: Vec<(&str, &str, Option<&str>, Option<&str>)> = lines
            .iter()
            .map(|line| {
                let states = (line.before_state.as_deref(), line.after_state.as_deref());
                (line.action.as_str(), line.subject.as_str(), states.0, states.1)
            })
            .collect();
        let (enabled, locked, disabled) = (Some("enabled"), Some("locked"), Some("disabled"));
        let wanted = [
            ("account.restrict", "ROOT/bob", enabled, enabled),
            ("account.lock", "ROOT/bob", enabled, locked),
            ("account.stop", "ROOT/bob", locked, disabled),
            // Once as the account is open, and once as everything is back.
            ("account.restore", "ROOT/bob", disabled, enabled),
            ("account.restore", "ROOT/bob", disabled, enabled),
        ];
        assert_eq!(told, wanted, "on {}", cloud.database.kind);

        let answers: Vec<&str> = lines.iter().map(|line| line.answer.as_deref().unwrap()).collect();
        assert!(answers[0].starts_with("restricted for billing: "), "{answers:?}");
        // With the calls behind it, and their jobs in CloudStack.
        assert!(
            answers[0].contains(". CloudStack: ") && answers[0].ends_with(" updateResourceLimit done"),
            "{answers:?}"
        );
        let bob = cloud.account("bob").await;
        let called = |command: &str| format!("CloudStack: {command} {}", bob.cloud_id);
        assert!(answers[1].starts_with("locked for billing. CloudStack: disableAccount "), "{answers:?}");
        assert!(answers[1].contains(&called("disableAccount")) && answers[1].contains(" (job "), "{answers:?}");
        let stopped = "disabled for billing: 2 machines stopped, 1 projects suspended. CloudStack: disableAccount ";
        assert!(answers[2].starts_with(stopped) && answers[2].contains("; suspendProject "), "{answers:?}");
        assert_eq!(answers[3], format!("opened again. {} done", called("enableAccount")));
        for words in ["opened again, ", " limits put back", " 1 projects activated", " 2 machines running again"] {
            assert!(answers[4].contains(words), "{words} is missing in {answers:?}");
        }

        // Each names the intent behind it, the run that carried it out, and the rule.
        let rules = ["restrict-date-reached", "lock-date-reached", "stop-date-reached", "enough-again", "enough-again"];
        let mut tx = cloud.app.store.read().await.unwrap();
        let intents = rows::list_intents(&mut tx, Some(bob.id), 100).await.unwrap();
        for (line, rule) in lines.iter().zip(rules) {
            let id = line.request_id.as_deref().unwrap();
            assert!(!id.is_empty(), "{line:?}");
            let intent = intents.iter().find(|intent| intent.id == id).unwrap();
            assert_eq!(line.action, format!("account.{}", intent.action));
            assert_eq!(line.actor, format!("run {}: {rule}", intent.run_id));
        }
        assert_eq!(lines[3].request_id, lines[4].request_id);
    })
    .await;
}

#[tokio::test]
async fn what_a_person_ordered_stands_in_the_audit_trail_under_their_name() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        let run = newest_run(&cloud).await;
        assert_eq!(undo(&cloud, run).await.given_back, ["ROOT/bob"]);
        let told: Vec<(String, String)> =
            acts_on_bob(&cloud).await.into_iter().map(|line| (line.actor, line.action)).collect();
        let by_run = (format!("run {run}: lock-date-reached"), "account.lock".to_owned());
        let by_alice = (format!("alice (undo of run {run})"), "account.restore".to_owned());
        assert_eq!(told, [by_run, by_alice.clone(), by_alice], "on {}", cloud.database.kind);
    })
    .await;
}
