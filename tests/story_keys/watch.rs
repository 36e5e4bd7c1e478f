//! Pairs that changed by themselves, users that somebody changed, and roles that let it happen.

use bursar::jobs::key_roles::{self, KeyRules};

use super::*;
use crate::harness::on_each_database;

#[tokio::test]
async fn a_pair_that_changed_by_itself_is_switched_off_in_the_same_round_and_everybody_told() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let (id, client) = shown(&cloud, "alice", 30).await;
        let (other, untouched) = shown(&cloud, "bob", 30).await;
        assert_eq!(watch(&cloud).await.audited.unwrap().unchanged, 2);
        // With the default role the key makes itself another pair.
        let own = user_of(&cloud, &row(&cloud, id).await).unwrap().to_string();
        let made = client.call_raw("registerUserKeys", &[("id", &own)]).await.unwrap();
        let keys_made = &made["userkeys"];
        let stolen = signing(
            &cloud,
            keys_made["apikey"].as_str().unwrap(),
            Secret::new(keys_made["secretkey"].as_str().unwrap()),
        );
        assert!(works(&stolen).await && !works(&client).await);
        let done = watch(&cloud).await;
        assert_eq!((done.audited.unwrap().changed, done.carried_out.revoked), (1, 1));
        assert!(!works(&stolen).await, "nobody approved that one");
        assert_eq!(state(&cloud, id).await, "revoked");
        assert!(told(&cloud, "alice").await.contains(&format!("key-changed-{id}")));
        assert!(admins_told(&cloud).await.iter().any(|line| line.starts_with("key-changed: ")));
        assert!(works(&untouched).await && state(&cloud, other).await == "shown");
        let before = admins_told(&cloud).await.len();
        watch(&cloud).await;
        assert_eq!(admins_told(&cloud).await.len(), before, "told once");
    })
    .await;
}

#[tokio::test]
async fn what_is_changed_by_hand_is_reported_once_and_the_key_works_on() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let (id, client) = shown(&cloud, "alice", 30).await;
        watch(&cloud).await;
        let key_user = user_of(&cloud, &row(&cloud, id).await).unwrap().to_string();
        let admin = cloud.standin.with(|world| {
            let admin = world.admin_user();
            world.register_keys(admin)
        });
        let admin = signing(&cloud, &admin.0, admin.1);
        cloud.clock.advance(HOUR);
        admin.call_raw("updateUser", &[("id", &key_user), ("email", "mallory@example.com")]).await.unwrap();
        let found = watch(&cloud).await;
        assert_eq!((found.audited.unwrap().touched, found.touched), (1, 1), "by what it is, and by the event log");
        let reported: Vec<String> =
            admins_told(&cloud).await.into_iter().filter(|line| line.starts_with("key-watch")).collect();
        assert_eq!(reported.len(), 2, "{reported:?}");
        assert!(reported.iter().any(|line| line.contains("admin changed the user of an API key")), "{reported:?}");
        assert!(row(&cloud, id).await.watched.unwrap().contains("e-mail address was changed"));
        // A password shows in the event log only.
        cloud.clock.advance(HOUR);
        admin.call_raw("updateUser", &[("id", &key_user), ("password", "another-Passw0rd!")]).await.unwrap();
        let found = watch(&cloud).await;
        assert_eq!((found.audited.unwrap().touched, found.touched), (0, 1));
        let again = watch(&cloud).await;
        assert_eq!((again.audited.unwrap().touched, again.touched), (0, 0), "each is told once");
        assert!(works(&client).await && state(&cloud, id).await == "shown");
    })
    .await;
}

#[tokio::test]
async fn a_switched_off_user_is_reported_and_a_deleted_one_ends_its_request() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let (id, _) = shown(&cloud, "alice", 30).await;
        let key_user = user_of(&cloud, &row(&cloud, id).await).unwrap();
        cloud.standin.with(|world| world.set_user_state(key_user, bursar::standin::State::Disabled));
        watch(&cloud).await;
        assert_eq!(row(&cloud, id).await.watched.as_deref(), Some("it is disabled"));
        cloud.standin.with(|world| world.set_user_state(key_user, bursar::standin::State::Enabled));
        watch(&cloud).await;
        assert_eq!(row(&cloud, id).await.watched, None, "mended is mended");
        cloud.standin.with(|world| world.remove_user(key_user));
        assert_eq!(watch(&cloud).await.audited.unwrap().changed, 1);
        assert_eq!(state(&cloud, id).await, "revoked");
    })
    .await;
}

#[tokio::test]
async fn the_look_comes_at_its_time_and_not_at_every_round() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        shown(&cloud, "alice", 30).await;
        assert!(round(&cloud).await.audited.is_none(), "the first round has just looked");
        cloud.clock.advance(Duration::from_mins(59));
        assert!(round(&cloud).await.audited.is_none());
        cloud.clock.advance(Duration::from_mins(1));
        assert!(round(&cloud).await.audited.is_some());
    })
    .await;
}

#[tokio::test]
async fn roles_that_let_keys_make_keys_are_named_with_what_to_do() {
    on_each_database(|database| async {
        let cloud = cloud(database, |world| {
            let role =
                world.add_role("shop", bursar::standin::RoleKind::User, &[("registerUserKeys", true), ("get*", false)]);
            let root = world.root_domain();
            let account = world.add_account_with_role(root, "erin", role);
            world.add_user(account, "erin", "password-of-a-tenant", "erin@example.com");
        })
        .await;
        let advice = key_roles::advice(&cloud.app).await.unwrap();
        let of = |name: &str| advice.roles.iter().find(|role| role.name == name).unwrap();
        assert!(of("User").is_default && of("User").steps[0].starts_with("cmk create role"), "{advice:?}");
        assert_eq!(of("User").accounts, ["ROOT/alice", "ROOT/bob"]);
        assert_eq!((of("shop").open.as_slice(), of("shop").is_default), (["registerUserKeys"].as_slice(), false));
        assert!(of("shop").steps[0].contains("update rolepermission") && of("shop").steps.len() == 1, "{advice:?}");
        assert!(advice.roles.iter().all(|role| !role.name.starts_with("bursar")), "administrators are not customers");
        assert!(advice.not_checked.is_empty(), "{advice:?}");
        watch(&cloud).await;
        assert_eq!(key_roles::known(&mut cloud.app.store.read().await.unwrap()).await.unwrap(), KeyRules::Open);
        cloud.standin.with(|world| {
            for role in ["User", "shop"] {
                let role = world.find_role(role).unwrap();
                world.add_first_rule(role, "*UserKeys", false);
            }
        });
        assert_eq!(key_roles::advice(&cloud.app).await.unwrap(), key_roles::Advice::default());
        watch(&cloud).await;
        assert_eq!(key_roles::known(&mut cloud.app.store.read().await.unwrap()).await.unwrap(), KeyRules::Closed);
        // With such rules a key makes no other.
        let (id, client) = shown(&cloud, "alice", 30).await;
        let own = user_of(&cloud, &row(&cloud, id).await).unwrap().to_string();
        assert!(client.call_raw("registerUserKeys", &[("id", &own)]).await.is_err());
        assert!(works(&client).await);
    })
    .await;
}
