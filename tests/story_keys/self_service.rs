//! CloudStack's own key self-service, closed in one account and opened again.

use bursar::{
    access::{
        AccessSettings,
        self_service::{self, Door},
    },
    cloudstack::ApiKeyAccess,
    standin::{Fault, FaultKind, Gate},
    store::{
        cloud::{SeenAccount, put_account},
        keys as rows,
    },
};

use super::*;
use crate::harness::on_each_database;

/// alice with a key of her own, a second person with one to be kept, a third without a key.
fn people(world: &mut World) {
    let root = world.root_domain();
    let account = world.find_account(root, "alice").unwrap();
    for name in ["builder", "guest"] {
        world.add_user(account, name, "password-of-a-tenant", &format!("{name}@example.com"));
    }
    for name in ["alice", "builder"] {
        let user = world.find_user(root, name).unwrap();
        world.register_keys(user);
    }
}

async fn access_of(cloud: &Cloud, name: &str) -> Option<ApiKeyAccess> {
    let client = cloud.app.client(Role::Keys).unwrap();
    client.get_user(user(cloud, name)).await.unwrap().unwrap().api_key_access
}

async fn accesses(cloud: &Cloud) -> Vec<Option<ApiKeyAccess>> {
    let mut found = Vec::new();
    for name in ["alice", "builder", "guest", "bob"] {
        found.push(access_of(cloud, name).await);
    }
    found
}

const INHERIT: Option<ApiKeyAccess> = Some(ApiKeyAccess::Inherit);
const ON: Option<ApiKeyAccess> = Some(ApiKeyAccess::Enabled);
const OFF: Option<ApiKeyAccess> = Some(ApiKeyAccess::Disabled);

fn tools(cloud: &Cloud) -> (Client, AccessSettings) {
    (cloud.app.client(Role::Keys).unwrap(), keys::settings(&cloud.app))
}

fn door<'a>(cloud: &'a Cloud, client: &'a Client, settings: &'a AccessSettings) -> Door<'a> {
    Door { store: &cloud.app.store, client, settings, clock: &cloud.clock }
}

async fn close(cloud: &Cloud, keep: &[&str]) -> Result<self_service::Tended, access::Error> {
    let keep: Vec<String> = keep.iter().map(|name| (*name).to_owned()).collect();
    let (client, settings) = tools(cloud);
    let account = cloud.account("alice").await;
    self_service::close(&door(cloud, &client, &settings), &account, &keep, "carol").await
}

async fn open(cloud: &Cloud) -> Result<self_service::Tended, access::Error> {
    let (client, settings) = tools(cloud);
    let account = cloud.account("alice").await;
    self_service::open(&door(cloud, &client, &settings), &account, "carol").await
}

#[tokio::test]
async fn what_would_die_is_shown_first_and_nothing_is_changed_by_looking() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        let (id, _) = shown(&cloud, "alice", 30).await;
        let writes = |cloud: &Cloud| cloud.standin.calls().iter().filter(|call| call.command == "updateUser").count();
        let before = writes(&cloud);
        let (client, settings) = tools(&cloud);
        let door = door(&cloud, &client, &settings);
        let account = cloud.account("alice").await;
        let keep = ["builder".to_owned()];
        let preview = self_service::preview(&door, &account, &keep).await.unwrap();
        let of = |name: &str| preview.users.iter().find(|line| line.username == name).unwrap();
        assert!(of("alice").dies() && of("alice").has_key);
        assert_eq!((of("builder").dies(), of("builder").kept.as_deref()), (false, Some("to be kept")));
        assert!(!of("guest").dies() && !of("guest").has_key);
        let ours = preview.users.iter().find(|line| line.kept.as_deref() == Some(&format!("request {id}"))).unwrap();
        assert!(ours.username.starts_with("bursar-key-"));
        assert_eq!((writes(&cloud), accesses(&cloud).await), (before, vec![INHERIT; 4]));
        let unknown = ["nobody".to_owned()];
        let refused = self_service::preview(&door, &account, &unknown).await.unwrap_err().to_string();
        assert!(refused.contains("\"nobody\""), "{refused}");
        let admin = cloud.account("bursar-reader").await;
        assert!(self_service::preview(&door, &admin, &[]).await.is_err(), "protected");
    })
    .await;
}

#[tokio::test]
async fn an_account_is_closed_user_by_user_and_opened_as_it_was() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        let (_, client) = shown(&cloud, "alice", 30).await;
        cloud.standin.with(|world| {
            let guest = world.find_user(world.root_domain(), "guest").unwrap();
            world.set_user_key_access(guest, Some(true));
        });
        close(&cloud, &["builder"]).await.unwrap();
        assert_eq!(accesses(&cloud).await, [OFF, ON, OFF, INHERIT], "bob's account is another");
        assert!(works(&client).await, "bursar's own key lives on");
        // Kept ones come first: nobody is shut out who should not be, not even for a moment.
        let set: Vec<(String, String)> = cloud
            .standin
            .calls()
            .iter()
            .filter(|call| call.command == "updateUser")
            .filter_map(|call| Some((call.parameters.get("id")?.clone(), call.parameters.get("apikeyaccess")?.clone())))
            .collect();
        let first_off = set.iter().position(|(_, access)| access == "disabled").unwrap();
        let last_on = set.iter().rposition(|(_, access)| access == "enabled").unwrap();
        assert!(last_on < first_off, "{set:?}");
        assert!(cloud.standin.calls().iter().all(|call| call.command != "updateConfiguration"), "rule 7.17");
        // Somebody new is closed too, by the next look.
        cloud.standin.with(|world| {
            let account = world.find_account(world.root_domain(), "alice").unwrap();
            world.add_user(account, "newcomer", "password-of-a-tenant", "newcomer@example.com");
        });
        watch(&cloud).await;
        assert_eq!(access_of(&cloud, "newcomer").await, OFF);
        // A key that is approved meanwhile works all the same.
        let (_, later) = shown(&cloud, "alice", 30).await;
        watch(&cloud).await;
        assert!(works(&later).await);
        // An administrator has given builder another value since: that stays.
        cloud.standin.with(|world| {
            let builder = world.find_user(world.root_domain(), "builder").unwrap();
            world.set_user_key_access(builder, Some(false));
        });
        let opened = open(&cloud).await.unwrap();
        assert_eq!(opened.left, 1);
        assert_eq!(accesses(&cloud).await, [INHERIT, OFF, ON, INHERIT], "each as it was");
        assert_eq!(access_of(&cloud, "newcomer").await, INHERIT);
        assert!(open(&cloud).await.unwrap_err().to_string().contains("is not closed by bursar"));
        assert!(works(&client).await);
    })
    .await;
}

#[tokio::test]
async fn a_closing_that_was_cut_off_is_gone_on_with_and_so_is_an_opening() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        for kind in [FaultKind::CutBeforeAction, FaultKind::CutAfterAction, FaultKind::Status(503)] {
            cloud.standin.with(|world| world.faults().push(Fault::once("updateUser", kind.clone())));
            assert!(close(&cloud, &["builder"]).await.is_err());
            round(&cloud).await;
            assert_eq!(accesses(&cloud).await, [OFF, ON, OFF, INHERIT], "{kind:?}");
            cloud.standin.with(|world| world.faults().push(Fault::once("updateUser", kind.clone())));
            assert!(open(&cloud).await.is_err());
            round(&cloud).await;
            assert_eq!(accesses(&cloud).await, vec![INHERIT; 4], "{kind:?}");
            let standing = rows::list_closings(&mut cloud.app.store.read().await.unwrap()).await.unwrap();
            assert!(standing.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn a_user_to_be_kept_that_can_not_be_marked_shuts_out_nobody() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        cloud.standin.with(|world| world.faults().push(Fault::once("updateUser", FaultKind::Status(503))));
        assert!(close(&cloud, &["builder"]).await.is_err());
        assert_eq!(accesses(&cloud).await, vec![INHERIT; 4], "the first call was for the one to be kept");
        close(&cloud, &["builder", "guest"]).await.unwrap();
        assert_eq!(accesses(&cloud).await, [OFF, ON, ON, INHERIT], "closing again adds who is to be kept");
    })
    .await;
}

#[tokio::test]
async fn leaving_opens_what_was_closed() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        close(&cloud, &[]).await.unwrap();
        assert_eq!(accesses(&cloud).await, [OFF, OFF, OFF, INHERIT]);
        let report = bursar::jobs::operations::leave(&cloud.app, "carol", true, "test").await.unwrap();
        assert!(report.given_back.contains(&"ROOT/alice: key self-service".to_owned()), "{report:?}");
        assert_eq!(accesses(&cloud).await, vec![INHERIT; 4]);
    })
    .await;
}

#[tokio::test]
async fn leaving_that_another_process_took_over_opens_nothing_more() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        close(&cloud, &[]).await.unwrap();
        let claim = async |request: Option<i64>, holder: &str| {
            let now = cloud.clock.now();
            let mut tx = cloud.app.store.begin().await.unwrap();
            let id = match request {
                Some(id) => id,
                None => runs::leave_request(&mut tx, "leave", "{}", "cli:carol", now).await.unwrap(),
            };
            assert!(runs::claim_request(&mut tx, id, holder, false, now).await.unwrap());
            tx.commit().await.unwrap();
            id
        };
        let asked = claim(None, &cloud.app.holder).await;
        let gate = Gate::default();
        let fault = Fault::once("listUsers", FaultKind::DelayUntil(gate.clone()));
        cloud.standin.with(|world| world.faults().push(fault));
        let taking_over = async {
            while cloud.standin.with(|world| world.faults().waiting()) > 0 {
                tokio::task::yield_now().await;
            }
            cloud.clock.advance(Duration::from_mins(4));
            claim(Some(asked), "another replica").await;
            gate.open();
        };
        let app = bursar::jobs::App { request: Some(asked), ..cloud.app.clone() };
        let leaving = bursar::jobs::operations::leave(&app, "carol", true, "test");
        let (left, ()) = tokio::join!(leaving, taking_over);
        assert!(left.unwrap_err().is_taken_over());
        assert_eq!(accesses(&cloud).await, [OFF, OFF, OFF, INHERIT], "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn one_account_that_can_not_be_looked_at_stops_neither_the_others_nor_the_watch() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        close(&cloud, &[]).await.unwrap();
        let (client, settings) = tools(&cloud);
        let bob = cloud.account("bob").await;
        self_service::close(&door(&cloud, &client, &settings), &bob, &[], "carol").await.unwrap();
        // alice's account is an administrator's from now on.
        let alice = cloud.account("alice").await;
        let seen = SeenAccount {
            cloud_id: alice.cloud_id,
            name: alice.name,
            domain_id: alice.domain_id,
            domain_path: alice.domain_path,
            account_type: 1,
            role_type: "Admin".to_owned(),
            state: alice.state,
        };
        let mut tx = cloud.app.store.begin().await.unwrap();
        put_account(&mut tx, &seen, cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        cloud.standin.with(|world| {
            let account = world.find_account(world.root_domain(), "bob").unwrap();
            world.add_user(account, "newcomer", "password-of-a-tenant", "newcomer@example.com");
        });
        let watched = watch(&cloud).await;
        assert_eq!((watched.tended.failed, watched.tended.set, watched.audited.is_some()), (1, 1, true), "{watched:?}");
        assert_eq!(access_of(&cloud, "newcomer").await, OFF);
    })
    .await;
}

/// Begins something of which the next call of this command about alice's user waits until the account was opened to the end and
/// closed again by others.
async fn held_up<T>(cloud: &Cloud, command: &str, begun: impl Future<Output = T>) -> T {
    let gate = Gate::default();
    let fault = Fault::once(command, FaultKind::DelayUntil(gate.clone()));
    let fault = fault.about("id", &user(cloud, "alice").to_string());
    cloud.standin.with(|world| world.faults().push(fault));
    let meanwhile = async {
        while cloud.standin.with(|world| world.faults().waiting()) > 0 {
            tokio::task::yield_now().await;
        }
        open(cloud).await.unwrap();
        assert_eq!(accesses(cloud).await, vec![INHERIT; 4]);
        close(cloud, &[]).await.unwrap();
        assert_eq!(accesses(cloud).await, [OFF, OFF, OFF, INHERIT]);
        gate.open();
    };
    tokio::join!(begun, meanwhile).0
}

#[tokio::test]
async fn an_opening_that_stood_still_opens_nothing_of_a_later_closing() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        // It stood still before it looked at alice.
        close(&cloud, &[]).await.unwrap();
        Box::pin(held_up(&cloud, "listUsers", open(&cloud))).await.unwrap();
        assert_eq!(accesses(&cloud).await, [OFF, OFF, OFF, INHERIT], "on {}", cloud.database.kind);
        // Its call itself was long on its way: what it opened is closed by the next look.
        Box::pin(held_up(&cloud, "updateUser", open(&cloud))).await.unwrap();
        round(&cloud).await;
        assert_eq!(accesses(&cloud).await, [OFF, OFF, OFF, INHERIT], "on {}", cloud.database.kind);
        open(&cloud).await.unwrap();
        assert_eq!(accesses(&cloud).await, vec![INHERIT; 4]);
    })
    .await;
}

#[tokio::test]
async fn a_closing_that_stood_still_takes_nothing_back_of_a_later_one() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        Box::pin(held_up(&cloud, "updateUser", close(&cloud, &[]))).await.unwrap();
        assert_eq!(accesses(&cloud).await, [OFF, OFF, OFF, INHERIT], "on {}", cloud.database.kind);
        open(&cloud).await.unwrap();
        assert_eq!(accesses(&cloud).await, vec![INHERIT; 4]);
    })
    .await;
}
