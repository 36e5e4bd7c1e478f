//! After a restored backup nothing is taken and nothing given back until somebody has looked.

use std::path::Path;

use bursar::{
    enforcement::{adopt, marker::Marker},
    jobs::{App, mail},
    notify::Looked,
    store::{notify, operations::NewPlan},
};

use super::*;
use crate::harness::open;

fn marker_file(cloud: &Cloud) -> std::path::PathBuf {
    cloud.database.folder.path().join("highest-run.json")
}

fn read_marker(cloud: &Cloud) -> Marker {
    serde_json::from_str(&std::fs::read_to_string(marker_file(cloud)).unwrap()).unwrap()
}

/// As if the database were of an earlier time: the file beside it has seen more runs.
fn pretend_restored(cloud: &Cloud) {
    let marker = read_marker(cloud);
    let later = Marker { run: marker.run + 50, ..marker };
    std::fs::write(marker_file(cloud), serde_json::to_string(&later).unwrap()).unwrap();
}

#[tokio::test]
async fn a_database_older_than_its_marker_neither_locks_nor_opens_until_confirmed() {
    on_each_database(|database| async {
        let mut cloud = armed(database, &["ann", "bob"], &["notify", "lock"]).await;
        for (key, value) in [("FUSE_ACCOUNTS", "50"), ("FUSE_PERCENT", "100")] {
            cloud.reconfigure(key, value).await;
        }
        let_locks_come_due(&cloud, &["bob"]).await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        let run = newest_run(&cloud).await.get();
        let_locks_come_due(&cloud, &["ann"]).await;
        pretend_restored(&cloud);
        cloud.pay("bob", "500").await;
        // A sync comes first, as it does after a restart: what it counts must not hide the gap.
        for _ in 0..3 {
            cloud.catch_up().await;
        }
        for _ in 0..2 {
            let report = cloud.enforce().await;
            assert!(report.unconfirmed.as_ref().unwrap().contains("a backup was restored"), "{report:?}");
            assert_eq!((report.locked.len(), report.restored.len()), (0, 0));
            let told = cloud.told("unconfirmed").await;
            assert_eq!(told.len(), 1, "administrators are told once: {told:?}");
            for words in ["a backup was restored", "bursar enforce confirm"] {
                assert!(told[0].contains(words), "{words} is missing in {told:?}");
            }
            cloud.clock.advance(Duration::from_mins(1));
        }
        assert_eq!((state(&cloud, "ann").await, state(&cloud, "bob").await), (State::Enabled, State::Locked));
        let status = arming::status(&cloud.app).await.unwrap();
        assert!(status.text(chrono_tz::UTC).contains("bursar enforce confirm"), "{status:?}");
        assert!(!arming::obstacles(&cloud.app, &Wanted::new(&[], &[])).await.unwrap().is_empty());
        // Neither on a person's word: what the database knows may be wrong.
        let refused =
            operations::undo(&cloud.app, RunId::new(run), "alice", true, "test").await.unwrap_err().to_string();
        assert!(refused.contains("nothing was given back: a backup was restored"), "{refused}");
        assert_eq!(state(&cloud, "bob").await, State::Locked);
        let confirmed = operations::confirm(&cloud.app, "alice").await.unwrap();
        assert!(confirmed[0].contains("a backup was restored"), "{confirmed:?}");
        let report = cloud.enforce().await;
        assert_eq!((report.locked, report.restored), (vec!["ROOT/ann".to_owned()], vec!["ROOT/bob".to_owned()]));
        assert_eq!(cloud.told("unconfirmed").await.len(), 1);
        assert_eq!(read_marker(&cloud).run, newest_run(&cloud).await.get(), "the file goes with the database again");
    })
    .await;
}

#[tokio::test]
async fn a_marker_that_is_missing_torn_or_of_another_database_holds_up_nothing() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        std::fs::remove_file(marker_file(&cloud)).unwrap();
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        std::fs::write(marker_file(&cloud), "{").unwrap();
        cloud.pay("bob", "500").await;
        assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"]);
        let other = Marker { instance: "somebody else's".to_owned(), run: 1_000_000, former: Vec::new() };
        std::fs::write(marker_file(&cloud), serde_json::to_string(&other).unwrap()).unwrap();
        assert_eq!(cloud.enforce().await.unconfirmed, None);
        assert_ne!(read_marker(&cloud).run, 1_000_000);
    })
    .await;
}

#[tokio::test]
async fn acts_of_the_own_user_that_nobody_remembers_are_a_sign_too() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
        // The backup is from before the lock, and came to a machine without the marker.
        for table in ["intent_call", "fuse_use", "hold", "intent"] {
            run_sql(&cloud, &format!("delete from {table}")).await;
        }
        std::fs::remove_file(marker_file(&cloud)).unwrap();
        cloud.pay("bob", "500").await;
        let report = cloud.enforce().await;
        let why = report.unconfirmed.clone().unwrap();
        assert!(why.contains("bursar-enforcer") && why.contains("ACCOUNT.DISABLE of ROOT/bob"), "{report:?}");
        assert_eq!((report.restored.len(), state(&cloud, "bob").await), (0, State::Locked));
        let found = operations::find_differences(&cloud.app).await.unwrap();
        assert_eq!((found.without_hold.len(), found.unknown_acts.len()), (1, 1), "{found:?}");
        assert!(found.without_hold[0].way_out.contains("bursar hold adopt ROOT/bob --as billing"), "{found:?}");
        operations::confirm(&cloud.app, "alice").await.unwrap();
        assert_eq!(cloud.enforce().await.unconfirmed, None, "what was confirmed is not asked again");
        // Nobody has said what the lock is: it stays.
        assert_eq!(state(&cloud, "bob").await, State::Locked);
    })
    .await;
}

/// A cloud in which bursar has locked bob, on a backup of before that came without the file beside it: no run has noticed yet.
async fn with_acts_that_no_run_has_found(database: Database) -> Cloud {
    let cloud = due(database, &["bob"]).await;
    assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
    for table in ["intent_call", "fuse_use", "hold", "intent"] {
        run_sql(&cloud, &format!("delete from {table}")).await;
    }
    std::fs::remove_file(marker_file(&cloud)).unwrap();
    assert_eq!(operations::find_differences(&cloud.app).await.unwrap().unknown_acts.len(), 1);
    cloud
}

#[tokio::test]
async fn who_confirms_a_version_has_not_looked_at_acts_that_no_run_has_found_yet() {
    on_each_database(|database| async {
        let cloud = with_acts_that_no_run_has_found(database).await;
        cloud.switch(switches::VERSION, "4.20.1.0").await;
        let confirmed = operations::confirm(&cloud.app, "alice").await.unwrap();
        assert!(confirmed.len() == 1 && confirmed[0].contains("CloudStack was 4.20.1.0"), "{confirmed:?}");
        let report = cloud.enforce().await;
        let why = report.unconfirmed.unwrap_or_default();
        assert!(why.contains("ACCOUNT.DISABLE of ROOT/bob"), "on {}: {why}", cloud.database.kind);
        let confirmed = operations::confirm(&cloud.app, "alice").await.unwrap();
        assert_eq!(confirmed, [why]);
        assert_eq!(cloud.enforce().await.unconfirmed, None);
    })
    .await;
}

#[tokio::test]
async fn acts_that_no_run_has_found_yet_are_confirmed_by_name_where_there_is_nothing_else() {
    on_each_database(|database| async {
        let cloud = with_acts_that_no_run_has_found(database).await;
        // Approved in the backup.
        let now = cloud.clock.now();
        let run = newest_run(&cloud).await;
        let (why, expires) = ("much is due", now.plus(DAY));
        let new = NewPlan { cause: "fuse", author: "the fuse", why, figures: "{}".to_owned(), run, expires };
        let mut tx = cloud.app.store.begin().await.unwrap();
        let id = plan_rows::insert_plan(&mut tx, &new, &[], now).await.unwrap();
        tx.commit().await.unwrap();
        cloud.approve(id, "alice").await.unwrap();
        let confirmed = operations::confirm(&cloud.app, "alice").await.unwrap();
        assert!(confirmed.len() == 1 && confirmed[0].contains("ACCOUNT.DISABLE of ROOT/bob"), "{confirmed:?}");
        assert_eq!(plan(&cloud, id).await.0.state, "dropped");
        assert_eq!(audit(&cloud, "enforce.confirm").await[0].0, "alice");
        assert_eq!(cloud.enforce().await.unconfirmed, None, "on {}", cloud.database.kind);
        assert_eq!(operations::confirm(&cloud.app, "alice").await.unwrap(), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_plan_out_of_a_restored_backup_is_not_carried_out() {
    on_each_database(|database| async {
        let cloud = due(database, &["ann", "bob"]).await;
        let id = cloud.enforce().await.plan.unwrap();
        cloud.approve(id, "alice").await.unwrap();
        pretend_restored(&cloud);
        assert!(cloud.enforce().await.unconfirmed.is_some());
        operations::confirm(&cloud.app, "bert").await.unwrap();
        let report = cloud.enforce().await;
        assert_eq!((report.carried_plan, report.locked.len()), (None, 0), "{report:?}");
        assert_eq!(plan(&cloud, id).await.0.state, "dropped", "on {}", cloud.database.kind);
        assert!(report.plan.is_some_and(|new| new != id), "it waits for an approval of its own");
    })
    .await;
}

#[tokio::test]
async fn a_lock_behind_a_restriction_that_the_backup_knows_is_shown_and_adopted() {
    on_each_database(|database| async {
        let cloud = armed(database, &["bob"], &["notify", "restrict", "lock"]).await;
        cloud.pass(HOUR);
        cloud.round().await;
        let bob = id_of(&cloud, "bob").await;
        let limits = || cloud.standin.with(|world| world.limits_of(bob));
        let before = limits();
        cloud.limit("bob", "0.05").await;
        cloud.pass(HOUR);
        assert_eq!(cloud.round().await.restricted, ["ROOT/bob"]);
        // Locked since by bursar, which the backup does not know.
        cloud.standin.with(|world| world.set_account_state(bob, State::Locked));
        cloud.pass(HOUR);
        cloud.catch_up().await;
        let found = operations::find_differences(&cloud.app).await.unwrap();
        let [difference] = found.without_hold.as_slice() else { panic!("{found:?}") };
        assert!(difference.way_out.contains("bursar hold adopt ROOT/bob --as billing"), "{found:?}");
        let account = cloud.account("bob").await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        adopt::adopt(&mut tx, &account, "billing", "alice", cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(holds(&cloud, "bob").await, ["billing"]);
        assert!(operations::find_differences(&cloud.app).await.unwrap().without_hold.is_empty());
        cloud.pay("bob", "500").await;
        assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"], "on {}", cloud.database.kind);
        assert_eq!((state(&cloud, "bob").await, limits()), (State::Enabled, before));
    })
    .await;
}

#[tokio::test]
async fn a_real_backup_put_back_is_noticed_and_its_lock_is_adopted() {
    // PostgreSQL is restored by its own tools, into the same tables.
    let folder = tempfile::tempdir().unwrap();
    let database = Database { kind: "SQLite", folder, url: None };
    let mut cloud = due(database, &["bob"]).await;
    let folder = cloud.database.folder.path().to_owned();
    let backup = folder.join("backup.db");
    cloud.app.store.backup(&backup).await.unwrap();
    assert_eq!(cloud.enforce().await.locked, ["ROOT/bob"]);
    cloud.app.store.close().await;
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("bursar.db{ending}")));
    }
    std::fs::copy(&backup, folder.join("bursar.db")).unwrap();
    cloud.restart().await;
    cloud.catch_up().await;
    let report = cloud.enforce().await;
    assert!(report.unconfirmed.unwrap().contains("a backup was restored"));
    let found = operations::find_differences(&cloud.app).await.unwrap();
    assert_eq!(found.without_hold[0].account, "ROOT/bob");
    operations::confirm(&cloud.app, "alice").await.unwrap();
    let account = cloud.account("bob").await.id;
    let mut tx = cloud.app.store.begin().await.unwrap();
    rows::place_hold(&mut tx, account, "billing", "lock", "adopted", None, "alice", cloud.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    cloud.pay("bob", "500").await;
    assert_eq!(cloud.enforce().await.restored, ["ROOT/bob"]);
    assert_eq!(state(&cloud, "bob").await, State::Enabled);
}

#[tokio::test]
async fn a_confirmation_clears_no_reason_that_came_up_while_cloudstack_was_asked() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        cloud.switch(switches::UNCONFIRMED, "a backup was restored").await;
        let gate = Gate::default();
        let fault = Fault::once("listCapabilities", FaultKind::DelayUntil(gate.clone()));
        cloud.standin.with(|world| world.faults().push(fault));
        let asked = cloud.clock.now();
        let meanwhile = async {
            while cloud.standin.with(|world| world.faults().waiting()) > 0 {
                tokio::task::yield_now().await;
            }
            cloud.clock.advance(Duration::from_mins(5));
            cloud.switch(switches::UNCONFIRMED, "acts that nobody remembers").await;
            gate.open();
        };
        let (confirmed, ()) = tokio::join!(operations::confirm(&cloud.app, "alice"), meanwhile);
        assert_eq!(confirmed.unwrap(), Vec::<String>::new());
        let mut tx = cloud.app.store.read().await.unwrap();
        let until = runs::find_setting(&mut tx, switches::OWN_ACTS_UNTIL).await.unwrap();
        let looked = until.map_or(i64::MIN, |until| until.parse().unwrap());
        assert!(looked <= asked.as_ms(), "nothing was confirmed, so every act since is looked at");
        tx.commit().await.unwrap();
        let report = cloud.enforce().await;
        assert_eq!(report.unconfirmed.as_deref(), Some("acts that nobody remembers"), "on {}", cloud.database.kind);
        assert_eq!(operations::confirm(&cloud.app, "alice").await.unwrap(), ["acts that nobody remembers"]);
        assert_eq!(cloud.enforce().await.unconfirmed, None);
    })
    .await;
}

/// Notices of bob's that were given in earnest, oldest first, without what makes them single.
async fn earnest(cloud: &Cloud) -> Vec<String> {
    let bob = cloud.account("bob").await.id;
    let mut tx = cloud.app.store.read().await.unwrap();
    let notices = rows::list_notices(&mut tx, Some(bob), 100).await.unwrap();
    let kind = |event: &str| event.rsplit_once('-').unwrap().0.to_owned();
    notices.iter().rev().filter(|notice| notice.dry_run == 0).map(|notice| kind(&notice.event)).collect()
}

/// What became of the mails to somebody, oldest first, once the outbox was looked after.
async fn mails_to(cloud: &Cloud, address: &str) -> Vec<String> {
    mail::pass(&cloud.app, Looked::AtAll, "test").await.unwrap();
    let mut tx = cloud.app.store.read().await.unwrap();
    let mails = notify::list_mails(&mut tx, None, 100).await.unwrap();
    mails.into_iter().rev().filter(|mail| mail.recipient == address).map(|mail| mail.state).collect()
}

#[tokio::test]
async fn nobody_is_warned_or_written_to_until_a_restored_backup_is_confirmed() {
    on_each_database(|database| async {
        let mut cloud = armed(database, &["bob"], &["notify", "lock"]).await;
        let folder = cloud.database.folder.path().join("mail").display().to_string();
        for (key, value) in [
            ("FOLDER", folder.as_str()),
            ("FROM", "billing@example.com"),
            ("ADMINS", "admin@example.com"),
            ("DIGEST", ""),
        ] {
            cloud.env.insert(format!("BURSAR_MAIL_{key}"), value.to_owned());
        }
        cloud.reconfigure("MAIL_TRANSPORT", "folder").await;
        cloud.pass(HOUR);
        cloud.round().await;
        assert!(mails_to(&cloud, "bob@example.com").await.is_empty());
        // The backup is from before this was mailed.
        let bob = cloud.account("bob").await;
        let now = cloud.clock.now();
        let mut tx = cloud.app.store.begin().await.unwrap();
        rows::insert_notice(&mut tx, bob.payer_id, bob.id, 1, "used-50", "50 % are used.", None, false, now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        pretend_restored(&cloud);
        cloud.limit("bob", "0.05").await;
        for _ in 0..2 {
            cloud.pass(HOUR);
            let report = cloud.round().await;
            assert!(report.unconfirmed.is_some(), "{report:?}");
            assert_eq!(earnest(&cloud).await, ["used"], "on {}", cloud.database.kind);
            assert_eq!(mails_to(&cloud, "bob@example.com").await, ["open"], "on {}", cloud.database.kind);
        }
        let told = mails_to(&cloud, "admin@example.com").await;
        assert!(!told.is_empty() && told.iter().all(|state| state == "sent"), "administrators are told: {told:?}");
        operations::confirm(&cloud.app, "alice").await.unwrap();
        cloud.enforce().await;
        assert_eq!(earnest(&cloud).await, ["used", "warning-lock"], "on {}", cloud.database.kind);
        assert_eq!(mails_to(&cloud, "bob@example.com").await, ["sent", "sent"], "on {}", cloud.database.kind);
    })
    .await;
}

/// bursar on the same database with a data directory of its own, as a second replica.
async fn replica(cloud: &Cloud, data_dir: &Path) -> App {
    let mut env = cloud.env.clone();
    env.insert("BURSAR_STORE_DATA_DIR".to_owned(), data_dir.display().to_string());
    if cloud.database.url.is_none() {
        let file = cloud.database.folder.path().join("bursar.db");
        env.insert("BURSAR_STORE_URL".to_owned(), format!("sqlite:{}", file.display()));
    }
    open(&env, &cloud.clock).await
}

#[tokio::test]
async fn with_two_replicas_a_restored_backup_is_confirmed_once_and_the_next_one_is_noticed() {
    on_each_database(|database| async {
        let cloud = due(database, &["bob"]).await;
        let folder = tempfile::tempdir().unwrap();
        let other = replica(&cloud, folder.path()).await;
        let options = EnforceOptions { dry_run: true, holds_data_lock: true };
        let unconfirmed = async |app: &App| Box::pin(work::enforce(app, options, "test")).await.unwrap().unconfirmed;
        for app in [&cloud.app, &other] {
            assert_eq!(unconfirmed(app).await, None);
        }
        let mut tx = cloud.app.store.read().await.unwrap();
        let instance = runs::find_setting(&mut tx, switches::INSTANCE).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let later = Marker { instance: instance.clone(), run: 1_000, former: Vec::new() };
        for file in [marker_file(&cloud), folder.path().join("highest-run.json")] {
            assert!(file.exists(), "{}", file.display());
            std::fs::write(file, serde_json::to_string(&later).unwrap()).unwrap();
        }
        assert!(unconfirmed(&cloud.app).await.unwrap().contains("a backup was restored"));
        operations::confirm(&cloud.app, "alice").await.unwrap();
        for app in [&other, &cloud.app, &other] {
            assert_eq!(unconfirmed(app).await, None, "on {}", cloud.database.kind);
        }
        // A backup from before the confirmation goes by the former id.
        cloud.switch(switches::INSTANCE, &instance).await;
        cloud.switch("store.former-instances", "").await;
        assert!(unconfirmed(&other).await.unwrap().contains("a backup was restored"));
        operations::confirm(&other, "alice").await.unwrap();
        for app in [&cloud.app, &other] {
            assert_eq!(unconfirmed(app).await, None);
        }
        other.store.close().await;
    })
    .await;
}
