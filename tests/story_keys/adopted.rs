//! Keys that were there before bursar.

use bursar::access::Adoption;

use super::*;
use crate::harness::on_each_database;

fn adoption(which: &str, days: u32) -> Adoption {
    Adoption { which: which.to_owned(), days, purpose: "Terraform".to_owned(), by: "carol".to_owned() }
}

async fn adopt(cloud: &Cloud, account: &str, wish: &Adoption) -> Result<KeyRequestId, access::Error> {
    let client = cloud.app.client(Role::Keys).unwrap();
    let settings = keys::settings_for(&cloud.app, &client).await.unwrap();
    let account = cloud.account(account).await;
    access::adopt(&cloud.app.store, &client, &account, wish, &settings, &cloud.clock).await
}

#[tokio::test]
async fn an_adopted_key_is_watched_warned_of_and_switched_off_while_its_user_stays() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let alice = user(&cloud, "alice");
        let pair = cloud.standin.with(|world| world.register_keys(alice));
        let secret = pair.1.expose().to_owned();
        let client = signing(&cloud, &pair.0, pair.1);
        let (ours, _) = shown(&cloud, "alice", 30).await;
        let keys_client = cloud.app.client(Role::Keys).unwrap();
        let settings = keys::settings(&cloud.app);
        let account = cloud.account("alice").await;
        let listed = access::list_candidates(&cloud.app.store, &keys_client, &account, &settings).await.unwrap();
        let shown: Vec<_> = listed.iter().map(|one| (one.username.as_str(), one.request)).collect();
        assert!(
            shown.contains(&("alice", None)) && shown.iter().any(|(_, request)| *request == Some(ours)),
            "{shown:?}"
        );
        assert!(!serde_json::to_string(&listed).unwrap().contains(&secret) && !format!("{listed:?}").contains(&secret));

        let id = adopt(&cloud, "alice", &adoption("alice", 20)).await.unwrap();
        assert_eq!(adopt(&cloud, "alice", &adoption("alice", 10)).await.unwrap(), id, "adopting twice is once");
        let taken = row(&cloud, id).await;
        assert_eq!((taken.kind.as_str(), taken.state.as_str(), taken.secret_box), ("adopted", "shown", None));
        assert!(told(&cloud, "alice").await.contains(&format!("key-adopted-{id}")));
        assert!(
            adopt(&cloud, "alice", &adoption("nobody", 10)).await.unwrap_err().to_string().contains("bursar key adopt")
        );
        assert!(adopt(&cloud, "bursar-reader", &adoption("bursar-reader", 10)).await.is_err(), "administrators");

        assert_eq!(watch(&cloud).await.audited.unwrap().unchanged, 2);
        cloud.clock.advance(DAY * 6);
        round(&cloud).await;
        assert!(told(&cloud, "alice").await.contains(&format!("key-expiring-{id}-14")));
        assert!(works(&client).await);
        cloud.clock.advance(DAY * 14);
        round(&cloud).await;
        assert!(!works(&client).await, "it is switched off");
        assert_eq!(state(&cloud, id).await, "revoked");
        assert!(cloud.standin.with(|world| world.find_user(world.root_domain(), "alice")).is_some(), "its user stays");
        let calls = cloud.standin.calls();
        assert!(calls.iter().all(|call| call.command != "deleteUser"), "nothing was deleted");
    })
    .await;
}

#[tokio::test]
async fn an_adopted_key_is_taken_over_by_one_of_bursars_own() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let alice = user(&cloud, "alice");
        let pair = cloud.standin.with(|world| world.register_keys(alice));
        let client = signing(&cloud, &pair.0, pair.1);
        let old = adopt(&cloud, "alice", &adoption("alice", 60)).await.unwrap();
        let new = rotate(&cloud, old, "once").await.unwrap();
        round(&cloud).await;
        let new_client = look_at(&cloud, new).await;
        cloud.clock.advance(DAY * 3);
        round(&cloud).await;
        assert!(!works(&client).await && works(&new_client).await);
        assert_eq!(row(&cloud, new).await.kind, "dedicated");
    })
    .await;
}

#[tokio::test]
async fn an_adopted_key_that_is_replaced_is_switched_off_as_well() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let alice = user(&cloud, "alice");
        cloud.standin.with(|world| world.register_keys(alice));
        let id = adopt(&cloud, "alice", &adoption("alice", 60)).await.unwrap();
        let other = cloud.standin.with(|world| world.register_keys(alice));
        let client = signing(&cloud, &other.0, other.1);
        assert_eq!(watch(&cloud).await.audited.unwrap().changed, 1);
        assert_eq!(state(&cloud, id).await, "revoked");
        assert!(!works(&client).await);
    })
    .await;
}
