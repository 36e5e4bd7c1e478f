//! Releases on which a user has several pairs (read in CloudStack's source, not recorded).

use bursar::standin::{Fault, FaultKind};

use super::*;
use crate::harness::on_each_database;

async fn several(database: Database) -> Cloud {
    cloud(database, World::set_several_pairs).await
}

async fn of_person(cloud: &Cloud, name: &str, days: u32) -> KeyRequestId {
    let wish = NewRequest { for_user: Some(user(cloud, name).to_string()), ..wish(cloud, name, days).await };
    let id = file(cloud, wish).await.unwrap();
    approve(cloud, id, "carol", &Consent::default()).await.unwrap();
    id
}

fn names(cloud: &Cloud, person: &str) -> Vec<String> {
    let person = user(cloud, person);
    cloud.standin.with(|world| world.pair_names(person))
}

#[tokio::test]
async fn the_pair_is_one_more_of_the_persons_own_user_and_only_it_goes() {
    on_each_database(|database| async {
        let cloud = several(database).await;
        let alice = user(&cloud, "alice");
        let (_, own_key, own_secret) = cloud.standin.with(|world| world.add_named_pair(alice, "my own", None));
        let own = signing(&cloud, &own_key, own_secret);
        let id = of_person(&cloud, "alice", 30).await;
        round(&cloud).await;
        let made = row(&cloud, id).await;
        assert_eq!((made.kind.as_str(), made.user_id.as_deref()), ("person", Some(alice.to_string().as_str())));
        assert!(made.pair_id.is_some());
        assert_eq!(names(&cloud, "alice"), ["my own".to_owned(), format!("bursar-{id}")]);
        assert_eq!(key_users(&cloud, "alice").await, 0, "no user was made");
        let client = look_at(&cloud, id).await;
        assert!(works(&client).await && works(&own).await);
        assert_eq!(watch(&cloud).await.audited.unwrap().unchanged, 1);
        revoke(&cloud, id).await;
        round(&cloud).await;
        assert!(!works(&client).await && works(&own).await);
        assert_eq!(names(&cloud, "alice"), ["my own"]);
        assert!(cloud.standin.calls().iter().all(|call| call.command != "deleteUser"));
        assert!(
            cloud.standin.calls().iter().all(|call| call.command != "updateUser"),
            "a person's own switch is not touched"
        );
    })
    .await;
}

#[tokio::test]
async fn cloudstack_ends_the_pair_by_itself_even_if_bursar_does_not_run() {
    on_each_database(|database| async {
        let cloud = several(database).await;
        let id = of_person(&cloud, "alice", 10).await;
        round(&cloud).await;
        let client = look_at(&cloud, id).await;
        cloud.clock.advance(DAY * 10);
        assert!(!works(&client).await);
        round(&cloud).await;
        assert_eq!(state(&cloud, id).await, "revoked");
    })
    .await;
}

#[tokio::test]
async fn a_lost_answer_leaves_no_stray_pair() {
    on_each_database(|database| async {
        let cloud = several(database).await;
        for kind in [FaultKind::CutAfterAction, FaultKind::CutBeforeAction, FaultKind::InvalidJson] {
            for command in ["registerUserKeys", "listUserKeys", "getUser", "listUsers"] {
                let id = of_person(&cloud, "alice", 30).await;
                cloud.standin.with(|world| world.faults().push(Fault::once(command, kind.clone())));
                let _ = keys::look_after(&cloud.app, false).await;
                cloud.standin.with(|world| world.faults().clear());
                round(&cloud).await;
                assert_eq!(names(&cloud, "alice"), [format!("bursar-{id}")], "{command} {kind:?}");
                let client = look_at(&cloud, id).await;
                assert!(works(&client).await);
                revoke(&cloud, id).await;
                cloud.standin.with(|world| world.faults().push(Fault::once("deleteUserKeys", kind.clone())));
                let _ = keys::look_after(&cloud.app, false).await;
                cloud.standin.with(|world| world.faults().clear());
                round(&cloud).await;
                assert_eq!((state(&cloud, id).await.as_str(), names(&cloud, "alice").len()), ("revoked", 0));
                assert!(!works(&client).await);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_known_person_a_user_of_its_own_gets_a_pair_with_an_end() {
    on_each_database(|database| async {
        let cloud = several(database).await;
        let (id, client) = shown(&cloud, "alice", 30).await;
        let made = row(&cloud, id).await;
        assert_eq!(made.kind, "dedicated");
        let key_user = user_of(&cloud, &made).unwrap();
        assert_eq!(cloud.standin.with(|world| world.pair_names(key_user)), [format!("bursar-{id}")]);
        assert!(works(&client).await);
        // Nobody has business with that user: a second pair there is a change.
        cloud.standin.with(|world| world.add_named_pair(key_user, "another", None));
        assert_eq!(watch(&cloud).await.audited.unwrap().changed, 1);
        assert!(!works(&client).await);
    })
    .await;
}

#[tokio::test]
async fn somebody_elses_user_is_never_taken_for_the_persons() {
    on_each_database(|database| async {
        let cloud = several(database).await;
        for foreign in [user(&cloud, "bob"), cloud.standin.with(|world| world.admin_user())] {
            let wish = NewRequest { for_user: Some(foreign.to_string()), ..wish(&cloud, "alice", 30).await };
            let id = file(&cloud, wish).await.unwrap();
            approve(&cloud, id, "carol", &Consent::default()).await.unwrap();
            round(&cloud).await;
            assert_eq!(row(&cloud, id).await.kind, "dedicated");
        }
        assert!(names(&cloud, "bob").is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_cloud_that_can_have_several_pairs_can_be_used_as_if_it_could_not() {
    on_each_database(|database| async {
        let mut cloud = several(database).await;
        cloud.reconfigure("ACCESS_NATIVE_PAIRS", "false").await;
        let id = of_person(&cloud, "alice", 30).await;
        round(&cloud).await;
        assert_eq!(row(&cloud, id).await.kind, "dedicated");
    })
    .await;
}
