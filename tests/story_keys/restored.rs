//! After a restored backup nothing is made, shown or given up until an administrator has looked.

use bursar::enforcement::{
    marker::{self, Marker},
    switches,
};

use super::*;
use crate::harness::on_each_database;

#[tokio::test]
async fn after_a_restored_backup_only_revocations_and_due_ends_are_carried_out() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let (ending, ending_client) = shown(&cloud, "alice", 1).await;
        let (revoked, revoked_client) = shown(&cloud, "alice", 30).await;
        let waiting = approved(&cloud, "alice", 30).await;
        round(&cloud).await;
        let new = approved(&cloud, "alice", 30).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        marker::note_unconfirmed(&mut tx, "a backup was restored", cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let refused = keys::show(&cloud.app, waiting, "alice").await.unwrap_err().to_string();
        assert!(refused.contains("put back from a backup"), "{refused}");
        cloud.clock.advance(DAY * 3);
        revoke(&cloud, revoked).await;
        let held = watch(&cloud).await;
        assert_eq!(held.unconfirmed.as_deref(), Some("a backup was restored"));
        assert_eq!(
            (held.carried_out.lapsed, held.carried_out.issued, held.audited.is_some()),
            (0, 0, false),
            "{held:?}"
        );
        assert!(!works(&ending_client).await && !works(&revoked_client).await);
        for (id, wanted) in [(ending, "revoked"), (revoked, "revoked"), (waiting, "issued"), (new, "approved")] {
            assert_eq!(state(&cloud, id).await, wanted, "request {id}");
        }
        cloud.switch(switches::UNCONFIRMED, "").await;
        let confirmed = round(&cloud).await;
        assert_eq!((confirmed.unconfirmed, confirmed.carried_out.lapsed), (None, 1));
        assert_eq!(
            (state(&cloud, waiting).await, state(&cloud, new).await),
            ("revoked".to_owned(), "issued".to_owned())
        );
    })
    .await;
}

#[tokio::test]
async fn a_restored_backup_is_noticed_by_a_look_at_a_secret_before_any_run() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let id = approved(&cloud, "alice", 30).await;
        round(&cloud).await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let instance = runs::find_setting(&mut tx, switches::INSTANCE).await.unwrap();
        tx.commit().await.unwrap();
        let later = Marker { instance: instance.unwrap_or_default(), run: 1_000, former: Vec::new() };
        let file = cloud.database.folder.path().join("highest-run.json");
        std::fs::write(file, serde_json::to_string(&later).unwrap()).unwrap();
        assert!(keys::show(&cloud.app, id, "alice").await.is_err());
        assert_eq!(state(&cloud, id).await, "issued");
    })
    .await;
}
