//! The command line and `bursar check`, beside a real mail server.

use bursar::{ids::MailId, time::SystemClock};

use super::*;
use crate::{harness::on_each_database, story_cli::bursar};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_is_tested_sent_listed_and_tried_again_at_the_command_line() {
    let mut server = MailServer::start_apart();
    let mut cloud = Cloud::start(Database::sqlite(), NOVEMBER, alice).await;
    meet(&cloud).await;
    bursar(&cloud.env, &["mail", "test"]).await.refused(&["mail is switched off"]);
    for (key, value) in settings(&server, "none") {
        cloud.env.insert(format!("BURSAR_{key}"), value);
    }
    let check = bursar(&cloud.env, &["check"]).await;
    assert!(check.out.contains("answers, and lets bursar in"), "{}", check.out);
    assert!(check.out.contains("no test mail has passed"), "{}", check.out);

    server
        .set(|script| drop(script.recipients.insert("admin@example.com".to_owned(), (550, "no such user".to_owned()))));
    let failed = bursar(&cloud.env, &["mail", "test"]).await;
    assert_eq!(failed.code, 1, "{}", failed.out);
    assert!(failed.out.contains("admin@example.com: not taken. The server said: 550 no such user"), "{}", failed.out);
    let check = bursar(&cloud.env, &["check"]).await;
    assert!(check.out.contains("no test mail has passed"), "{}", check.out);
    server.set(|script| script.recipients.clear());
    let passed = bursar(&cloud.env, &["mail", "test", "carol@example.com"]).await;
    assert_eq!(passed.code, 0, "{}{}", passed.out, passed.err);
    assert!(
        passed.out.contains("carol@example.com: taken. The server said: 250 2.0.0 Ok: queued as 1"),
        "{}",
        passed.out
    );
    assert_eq!(server.taken()[0].header("Subject").unwrap(), "bursar: test mail");
    let check = bursar(&cloud.env, &["check"]).await;
    assert!(check.out.contains("test mail: passed with the present settings"), "{}", check.out);
    bursar(&cloud.env, &["mail", "test", "carol"]).await.refused(&["\"carol\" is no address"]);

    let refused = (550, "mailbox is gone".to_owned());
    server.set(|script| drop(script.recipients.insert("alice@example.com".to_owned(), refused)));
    notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
    let sent = bursar(&cloud.env, &["--json", "mail", "send"]).await.json();
    assert_eq!((&sent["queued"]["mails"], &sent["sent"]["dead"]), (&1.into(), &1.into()), "{sent}");
    let dead = bursar(&cloud.env, &["--json", "mail", "list", "--dead"]).await.json();
    assert_eq!(dead["mails"][0]["last_error"], "550 mailbox is gone");
    let text = bursar(&cloud.env, &["mail", "list"]).await.out;
    assert!(text.contains("`bursar mail retry MAIL` tries a dead one again"), "{text}");
    let check = bursar(&cloud.env, &["check"]).await;
    assert!(check.out.contains("1 could not be delivered"), "{}", check.out);
    bursar(&cloud.env, &["mail", "retry", "4711"]).await.refused(&["there is no mail 4711 that is open or dead"]);
    assert_eq!(bursar(&cloud.env, &["mail", "retry"]).await.code, 2, "which one has to be said");
    let id = dead["mails"][0]["id"].to_string();
    server.set(|script| script.recipients.clear());
    assert_eq!(bursar(&cloud.env, &["--json", "mail", "retry", &id]).await.json()["again"], 1);
    assert_eq!(
        bursar(&cloud.env, &["--json", "mail", "send"]).await.json()["sent"]["sent"],
        2,
        "with what administrators are told"
    );
    assert_eq!(bursar(&cloud.env, &["--json", "mail", "list", "--open"]).await.json()["mails"], serde_json::json!([]));
    let audit = bursar(&cloud.env, &["--json", "audit", "mail"]).await.out;
    assert!(audit.contains("mail.tested") && audit.contains("passed"), "{audit}");
    server.stop();
    let way_out = "Is it running, and are [mail] host, port and security right?";
    bursar(&cloud.env, &["mail", "test"]).await.refused(&["can not be reached", way_out]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_sends_by_itself_while_its_runs_go_on() {
    let server = MailServer::start();
    let now = SystemClock.now();
    let mut cloud = Cloud::start(Database::sqlite(), (now.as_seconds() / 3_600 - 2) * 3_600, |world| {
        let small = world.find_offering("Small Instance").unwrap();
        let account = tenant(world, "alice");
        world.deploy_vm(account, "www", small, world.now());
    })
    .await;
    for (key, value) in settings(&server, "none") {
        cloud.env.insert(format!("BURSAR_{key}"), value);
    }
    for (key, value) in [
        ("WEB_LISTEN", "127.0.0.1:0"),
        ("METRICS_LISTEN", ""),
        ("JOBS_RATE", ""),
        ("JOBS_ENFORCE", ""),
        ("MAIL_TIMEOUT_SECONDS", "120"),
    ] {
        cloud.env.insert(format!("BURSAR_{key}"), value.to_owned());
    }
    meet(&cloud).await;
    cloud.pass(Duration::from_hours(1));
    cloud.pass(Duration::from_hours(1));
    // Set up before the notice; the server then finds it.
    assert_eq!(bursar(&cloud.env, &["mail", "test"]).await.code, 0);
    notice(&cloud, "alice", "used-80", "80 % of your credit is used.").await;
    // The mail server does not answer; the sync has its own task and ends nevertheless.
    server.set(|script| script.hold = true);
    let mut serving = tokio::process::Command::new(env!("CARGO_BIN_EXE_bursar"));
    serving.arg("serve").env_clear().envs(&cloud.env).kill_on_drop(true);
    let mut child = serving.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    until("the mail is being sent", async || server.script.lock().unwrap().commands.iter().any(|line| line == "DATA"))
        .await;
    until("the sync ends", async || {
        let mut tx = cloud.app.store.read().await.unwrap();
        let runs = bursar::store::runs::list_runs(&mut tx, Some("sync"), 50).await.unwrap();
        runs.iter().any(|run| run.cause == "schedule" && run.outcome.as_deref() == Some("done"))
    })
    .await;
    assert_eq!(states(&cloud).await, ["alice@example.com open"]);
    server.set(|script| script.hold = false);
    until("the mail is sent", async || states(&cloud).await == ["alice@example.com sent"]).await;
    child.kill().await.unwrap();
    assert_eq!(server.taken().len(), 2, "the test mail and the notice");
}

/// Waits for something that a process of its own brings about.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_mins(1), "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A mail that was made so many hours ago and given up then.
async fn dead(cloud: &Cloud, kind: &str, hours: u64) -> MailId {
    let made = SystemClock.now().minus(Duration::from_hours(hours));
    let mail = rows::NewMail {
        key: format!("{kind}/{hours}"),
        kind: kind.to_owned(),
        recipient: "alice@example.com".to_owned(),
        subject: "Billing".to_owned(),
        text_body: "So it is.".to_owned(),
        html_body: "So it is.".to_owned(),
        message_id: format!("{kind}-{hours}@example.com"),
    };
    let mut tx = cloud.app.store.begin().await.unwrap();
    let id = rows::insert_mail(&mut tx, &mail, made).await.unwrap().unwrap();
    let claimed = rows::claim_mail(&mut tx, "an older one", made, made).await.unwrap().unwrap();
    assert_eq!(claimed.id, id);
    assert!(rows::put_mail_dead(&mut tx, id, "an older one", "550 no", made).await.unwrap());
    tx.commit().await.unwrap();
    id
}

/// The state of a mail, and what was said of it last.
async fn state_of(cloud: &Cloud, id: MailId) -> (String, String) {
    let mail = outbox(cloud).await.into_iter().find(|mail| mail.id == id).unwrap();
    (mail.state, mail.last_error.unwrap_or_default())
}

#[tokio::test]
async fn to_try_all_dead_mails_again_leaves_out_what_has_become_old_and_to_name_one_does_not() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, alice).await;
        meet(&cloud).await;
        let (named, old, young) =
            (dead(&cloud, "used", 500).await, dead(&cloud, "used", 73).await, dead(&cloud, "used", 71).await);
        let (stands, to_admins) = (dead(&cloud, "warning-lock", 500).await, dead(&cloud, "admin", 500).await);
        let warning = notice(&cloud, "alice", WARNING, SENTENCE).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        rows::link_notice(&mut tx, stands, warning).await.unwrap();
        tx.commit().await.unwrap();

        let one = bursar(&cloud.env, &["--json", "mail", "retry", &named.to_string()]).await.json();
        assert_eq!((&one["again"], &one["dropped"]), (&1.into(), &0.into()), "{one}");
        assert_eq!(state_of(&cloud, named).await.0, "open", "whoever names one means it");
        for id in [old, young, stands, to_admins] {
            assert_eq!(state_of(&cloud, id).await.0, "dead");
        }
        let all = bursar(&cloud.env, &["--json", "mail", "retry", "--dead"]).await.json();
        assert_eq!((&all["again"], &all["dropped"]), (&3.into(), &1.into()), "{all} on {}", cloud.database.kind);
        let why = "not sent again: it had been given up for longer than [mail] give_up_hours";
        assert_eq!(state_of(&cloud, old).await, ("dropped".to_owned(), why.to_owned()));
        for id in [young, stands, to_admins] {
            assert_eq!(state_of(&cloud, id).await.0, "open", "on {}", cloud.database.kind);
        }
        // In words.
        dead(&cloud, "used", 600).await;
        let said = bursar(&cloud.env, &["mail", "retry", "--dead"]).await;
        assert!(
            said.out.contains("0 to be tried again") && said.out.contains("for more than 72 hours: 1."),
            "{}",
            said.out
        );
    })
    .await;
}
