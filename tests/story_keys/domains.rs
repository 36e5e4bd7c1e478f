//! CloudStack's own key self-service, closed and opened for the accounts of a domain.

use bursar::{
    access::{
        AccessSettings,
        self_service::{self, Door},
        self_service_domain::{self as domains, Chosen, DomainDone, LeftOut},
    },
    cloudstack::ApiKeyAccess,
    scope::Scope,
    standin::{AccountKind, Fault, FaultKind},
};

use super::*;
use crate::harness::on_each_database;

const ACME: &str = "ROOT/acme";
const LAB: &str = "ROOT/acme/lab";
const INHERIT: Option<ApiKeyAccess> = Some(ApiKeyAccess::Inherit);
const ON: Option<ApiKeyAccess> = Some(ApiKeyAccess::Enabled);
const OFF: Option<ApiKeyAccess> = Some(ApiKeyAccess::Disabled);

/// alice in ROOT, erin and an administrator in acme, frank with a second user in acme/lab; all with keys.
fn people(world: &mut World) {
    let root = world.root_domain();
    let acme = world.add_domain(root, "acme");
    let lab = world.add_domain(acme, "lab");
    for (domain, name, kind) in [
        (acme, "erin", AccountKind::User),
        (acme, "operator", AccountKind::RootAdmin),
        (lab, "frank", AccountKind::User),
    ] {
        let account = world.add_account(domain, name, kind);
        let user = world.add_user(account, name, "password-of-a-tenant", &format!("{name}@example.com"));
        world.register_keys(user);
        if name == "frank" {
            let builder = world.add_user(account, "builder", "password-of-a-tenant", "builder@example.com");
            world.register_keys(builder);
        }
    }
    let alice = world.find_user(root, "alice").unwrap();
    world.register_keys(alice);
}

async fn access_in(cloud: &Cloud, domain: &str, name: &str) -> Option<ApiKeyAccess> {
    let user = cloud.standin.with(|world| world.find_user(world.find_domain(domain).unwrap(), name)).unwrap();
    let client = cloud.app.client(Role::Keys).unwrap();
    client.get_user(user).await.unwrap().unwrap().api_key_access
}

/// erin, frank, builder, the administrator, and alice outside the domain.
async fn accesses(cloud: &Cloud) -> Vec<Option<ApiKeyAccess>> {
    let mut found = Vec::new();
    for (domain, name) in [(ACME, "erin"), (LAB, "frank"), (LAB, "builder"), (ACME, "operator"), ("ROOT", "alice")] {
        found.push(access_in(cloud, domain, name).await);
    }
    found
}

fn tools(cloud: &Cloud) -> (Client, AccessSettings) {
    (cloud.app.client(Role::Keys).unwrap(), keys::settings(&cloud.app))
}

fn door<'a>(cloud: &'a Cloud, (client, settings): &'a (Client, AccessSettings)) -> Door<'a> {
    Door { store: &cloud.app.store, client, settings, clock: &cloud.clock }
}

async fn choose(cloud: &Cloud, domain: &str) -> Chosen {
    domains::choose(&cloud.app.store, domain, &Scope::default(), &[]).await.unwrap()
}

async fn close(cloud: &Cloud, keep: &[String]) -> DomainDone {
    let (chosen, tools) = (choose(cloud, ACME).await, tools(cloud));
    domains::close(&door(cloud, &tools), &chosen, keep, "carol").await
}

async fn open(cloud: &Cloud) -> DomainDone {
    let (chosen, tools) = (choose(cloud, ACME).await, tools(cloud));
    domains::open(&door(cloud, &tools), &chosen, "carol").await.unwrap()
}

fn names(chosen: &Chosen) -> Vec<String> {
    chosen.accounts.iter().map(bursar::store::cloud::Account::full_name).collect()
}

async fn times_told(cloud: &Cloud, account: &str, kind: &str) -> usize {
    told(cloud, account).await.iter().filter(|event| event.starts_with(kind)).count()
}

#[tokio::test]
async fn a_domain_is_its_accounts_and_those_below_it_without_protected_ones_and_those_outside_the_scope() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        let chosen = choose(&cloud, ACME).await;
        assert_eq!(names(&chosen), ["ROOT/acme/erin", "ROOT/acme/lab/frank"]);
        assert_eq!(
            chosen.left_out,
            [LeftOut {
                account: "ROOT/acme/operator".to_owned(),
                reason: "it is a root administrator's account".to_owned()
            }]
        );
        let pilot = Scope::new([LAB.to_owned()]);
        let guarded = [(LAB.to_owned(), "frank".to_owned())];
        let left = domains::choose(&cloud.app.store, "ROOT/acme/", &pilot, &guarded).await.unwrap();
        assert!(names(&left).is_empty(), "{left:?}");
        let reason_of =
            |name: &str| left.left_out.iter().find(|one| one.account.ends_with(name)).unwrap().reason.clone();
        assert!(reason_of("/erin").contains("scope") && reason_of("/frank").contains("protected"), "{left:?}");
        let unknown = domains::choose(&cloud.app.store, "ROOT/nowhere", &pilot, &[]).await.unwrap_err();
        assert!(unknown.to_string().contains("no domain \"ROOT/nowhere\""), "{unknown}");
    })
    .await;
}

#[tokio::test]
async fn a_domain_is_closed_after_one_list_told_once_and_opened_as_it_was() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        let (chosen, tools) = (choose(&cloud, ACME).await, tools(&cloud));
        let door = door(&cloud, &tools);
        let keep = ["ROOT/acme/lab/frank/builder".to_owned()];
        let list = domains::preview(&door, &chosen, &keep).await.unwrap();
        let dying: Vec<&str> =
            list.accounts.iter().flat_map(self_service::Preview::dying).map(|line| line.username.as_str()).collect();
        assert_eq!(dying, ["erin", "frank"]);
        assert!(list.failed.is_empty() && list.left_out.len() == 1, "{list:?}");
        let unknown = domains::preview(&door, &chosen, &["erinn".to_owned()]).await.unwrap_err().to_string();
        assert!(unknown.contains("\"erinn\""), "{unknown}");
        assert_eq!(accesses(&cloud).await, vec![INHERIT; 5], "looking changes nothing");
        // The same again does nothing twice.
        for _ in 0..2 {
            let done = close(&cloud, &keep).await;
            assert_eq!((done.done.len(), done.failed.len(), done.stopped), (2, 0, false), "{done:?}");
            assert_eq!(accesses(&cloud).await, [OFF, OFF, ON, INHERIT, INHERIT]);
        }
        for account in ["erin", "frank"] {
            assert_eq!(times_told(&cloud, account, "key-closed-").await, 1, "{account}");
        }
        assert_eq!(times_told(&cloud, "alice", "key-closed-").await, 0);
        let account = cloud.account("frank").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let notices = enforcement::list_notices(&mut tx, Some(account.id), 10).await.unwrap();
        tx.commit().await.unwrap();
        assert!(notices[0].sentence.contains("The API key of frank stops working now"), "{notices:?}");
        assert!(cloud.standin.calls().iter().all(|call| call.command != "updateConfiguration"), "facts 0");
        let done = open(&cloud).await;
        assert_eq!((done.done.len(), done.failed.len()), (2, 0), "{done:?}");
        assert_eq!(accesses(&cloud).await, vec![INHERIT; 5]);
        assert_eq!(times_told(&cloud, "erin", "key-opened-").await, 1);
        assert!(open(&cloud).await.done.is_empty(), "nothing is closed any more");
    })
    .await;
}

#[tokio::test]
async fn what_fails_in_one_account_stops_no_other_and_is_gone_on_with() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        cloud.standin.with(|world| world.faults().push(Fault::once("updateUser", FaultKind::CutBeforeAction)));
        let done = close(&cloud, &[]).await;
        assert_eq!(done.done, ["ROOT/acme/lab/frank"]);
        assert_eq!(done.failed.iter().map(|one| one.account.as_str()).collect::<Vec<_>>(), ["ROOT/acme/erin"]);
        assert_eq!(accesses(&cloud).await, [INHERIT, OFF, OFF, INHERIT, INHERIT]);
        round(&cloud).await;
        assert_eq!(accesses(&cloud).await, [OFF, OFF, OFF, INHERIT, INHERIT], "what was begun is gone on with");
        assert_eq!(times_told(&cloud, "erin", "key-closed-").await, 1);
        cloud.standin.with(|world| world.faults().push(Fault::once("updateUser", FaultKind::CutBeforeAction)));
        let done = open(&cloud).await;
        assert_eq!((done.done.len(), done.failed.len()), (1, 1), "{done:?}");
        round(&cloud).await;
        assert_eq!(accesses(&cloud).await, vec![INHERIT; 5]);
    })
    .await;
}

#[tokio::test]
async fn a_domain_that_was_cut_off_between_two_accounts_is_finished_by_the_same_command() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        let tools = tools(&cloud);
        // As far as a crash let it come.
        self_service::close(&door(&cloud, &tools), &cloud.account("erin").await, &[], "carol").await.unwrap();
        let done = close(&cloud, &[]).await;
        assert_eq!(done.done, ["ROOT/acme/erin", "ROOT/acme/lab/frank"]);
        assert_eq!(accesses(&cloud).await, [OFF, OFF, OFF, INHERIT, INHERIT]);
        assert_eq!(times_told(&cloud, "erin", "key-closed-").await, 1);
    })
    .await;
}

#[tokio::test]
async fn root_closes_the_tenants_and_shuts_out_no_administrator_and_not_bursar() {
    on_each_database(|database| async {
        let cloud = cloud(database, people).await;
        let (chosen, tools) = (choose(&cloud, "ROOT").await, tools(&cloud));
        let left: Vec<&str> = chosen.left_out.iter().map(|one| one.account.as_str()).collect();
        for name in ["ROOT/bursar-reader", "ROOT/bursar-enforcer", "ROOT/admin", "ROOT/acme/operator"] {
            assert!(left.contains(&name), "{name} is missing in {left:?}");
        }
        let done = domains::close(&door(&cloud, &tools), &chosen, &[], "carol").await;
        assert!(done.failed.is_empty(), "{done:?}");
        assert_eq!(accesses(&cloud).await, [OFF, OFF, OFF, INHERIT, OFF]);
        for role in [Role::Reader, Role::Keys] {
            cloud.app.client(role).unwrap().list_accounts().await.unwrap();
        }
        assert!(cloud.standin.calls().iter().all(|call| call.command != "updateConfiguration"), "facts 0");
    })
    .await;
}
