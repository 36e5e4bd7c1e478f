//! What people are told of a run that did less than it was asked for, and with which exit status.

use bursar::{
    standin::{Fault, FaultKind},
    store::{notify, operations::NewPlan},
    time::SystemClock,
};

use super::*;
use crate::story_cli::{self, bursar};

#[tokio::test]
async fn leaving_that_breaks_off_says_what_it_did_and_is_audited() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        cloud.standin.with(|world| world.faults().push(Fault::once("listUsers", FaultKind::Status(503))));
        let error = operations::leave(&cloud.app, "alice", true, "test").await.unwrap_err().to_string();
        assert!(error.contains("paused and disarmed") && !error.contains("nothing was done"), "{error}");
        let status = arming::status(&cloud.app).await.unwrap();
        assert!(status.armed.is_empty() && status.paused && status.held == 1, "{status:?}");
        assert_eq!(audit(&cloud, "enforce.disarm").await, [("alice".to_owned(), "enforcement".to_owned())]);
        assert_eq!(operations::leave(&cloud.app, "alice", true, "test").await.unwrap().given_back, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn an_approval_stands_though_another_run_is_under_way() {
    on_each_database(|database| async {
        if database.url.is_none() {
            return; // On SQLite a command waits for the lock on the data directory, or asks the server.
        }
        let cloud = story_cli::cloud(database).await;
        cloud.catch_up().await;
        cloud.arm(&["lock"]).await;
        let now = SystemClock.now();
        let line = PlanLineRow {
            account_id: cloud.account("bob").await.id,
            rung: "lock".to_owned(),
            reason: "lock-date-reached".to_owned(),
            sentence: "Your account was locked.".to_owned(),
            figures: "{}".to_owned(),
            machines: "[]".to_owned(),
            notes: "[]".to_owned(),
            to_avoid: "a payment".to_owned(),
            state: "waiting".to_owned(),
            answer: None,
        };
        let mut tx = cloud.app.store.begin().await.unwrap();
        let run = runs::start_run(&mut tx, "enforce", "test", "another replica", now).await.unwrap().unwrap();
        let new = NewPlan {
            cause: "fuse",
            author: "the fuse",
            why: "much is due",
            figures: "{}".to_owned(),
            run,
            expires: now.plus(DAY),
        };
        let id = plan_rows::insert_plan(&mut tx, &new, &[line], now).await.unwrap();
        tx.commit().await.unwrap();
        let ran = bursar(&cloud.env, &["enforce", "approve", &id.to_string()]).await;
        assert!(ran.code == 0 && ran.out.contains(&format!("Plan {id} is approved")), "{}{}", ran.out, ran.err);
        assert_eq!(plan(&cloud, id).await.0.state, "approved");
        let mut tx = cloud.app.store.read().await.unwrap();
        let open = runs::list_open_requests(&mut tx, 10).await.unwrap();
        assert_eq!(open.iter().map(|request| request.kind.as_str()).collect::<Vec<_>>(), ["enforce"]);
    })
    .await;
}

#[tokio::test]
async fn a_plan_that_was_overtaken_leaves_a_line_in_the_audit_trail() {
    on_each_database(|database| async {
        let cloud = due(database, &["ann", "bob"]).await;
        let id = cloud.enforce().await.plan.unwrap();
        cloud.pay("ann", "500").await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        assert_eq!(plan(&cloud, id).await.0.state, "overtaken");
        assert_eq!(audit(&cloud, "plan.overtake").await, [("bursar".to_owned(), format!("plan {id}"))]);
    })
    .await;
}

#[tokio::test]
async fn what_holds_everybody_back_is_shown_and_told_once_and_what_waits_for_a_person_is_no_success() {
    on_each_database(|database| async {
        let cloud = story_cli::cloud(database).await;
        cloud.catch_up().await;
        let run = async |arguments: &[&str]| bursar(&cloud.env, arguments).await;
        cloud.switch(switches::UNCONFIRMED, "a backup was restored").await;
        let ran = run(&["enforce"]).await;
        assert!(
            ran.code == 1 && ran.out.contains("Nothing was taken and nothing given back"),
            "{}{}",
            ran.out,
            ran.err
        );
        assert_eq!(run(&["enforce", "--dry-run"]).await.code, 0);
        cloud.switch(switches::UNCONFIRMED, "").await;
        cloud.arm(&["lock"]).await;
        cloud.switch(switches::VERSION, "4.20.1.0").await;
        for arguments in [&["enforce"][..], &["enforce"], &["enforce", "status"]] {
            let ran = run(arguments).await;
            let sentence = "Nobody is taken a step down: CloudStack was 4.20.1.0";
            assert!(ran.code == 0 && ran.out.contains(sentence), "{arguments:?}: {}{}", ran.out, ran.err);
        }
        let status = run(&["--json", "enforce", "status"]).await.json();
        assert_eq!((&status["held_back_by"][0]["kind"], &status["paused"]), (&"version".into(), &false.into()));
        let mut tx = cloud.app.store.read().await.unwrap();
        let told = notify::list_admin_notices_to_mail(&mut tx, 100).await.unwrap();
        let told: Vec<_> = told.iter().filter(|notice| notice.kind == "held-back").collect();
        assert_eq!(told.len(), 1, "once a day");
        assert!(told[0].body.contains("CloudStack was 4.20.1.0"), "{}", told[0].body);
    })
    .await;
}
