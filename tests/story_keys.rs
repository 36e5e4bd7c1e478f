//! API access: pairs made, shown once, rotated, watched, adopted and ended, with everything that goes wrong on the way.

mod adopted;
mod approvals;
mod domains;
mod faults;
mod native;
mod pages;
mod restored;
mod rotation;
mod self_service;
mod watch;

use std::{sync::Arc, time::Duration};

use bursar::{
    access::{self, Consent, NewRequest, Rotated},
    approver::Approver,
    cloudstack::{Client, Credentials},
    ids::{CloudId, KeyRequestId},
    jobs::{
        Role,
        keys::{self, KeysRound},
    },
    people::directory,
    random::{RandomSource as _, SystemRandom},
    secrets::Secret,
    standin::World,
    store::{
        enforcement, notify as mails,
        people::{self, KeyRequest},
        runs,
    },
    time::Clock as _,
};

use crate::harness::{Cloud, Database, NOVEMBER, tenant};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// A cloud in which API access can be requested, with alice and bob and what `build` adds.
async fn cloud(database: Database, build: impl FnOnce(&mut World)) -> Cloud {
    let mut cloud = Cloud::start(database, NOVEMBER, |world| {
        tenant(world, "alice");
        tenant(world, "bob");
        for role in ["bursar-reader", "bursar-enforcer"] {
            let role = world.find_role(role).unwrap();
            for rule in ["listRoles", "listRolePermissions", "listUserKeys", "deleteUserKeys"] {
                world.add_first_rule(role, rule, true);
            }
        }
        build(world);
    })
    .await;
    cloud.reconfigure("ACCESS_ENABLED", "true").await;
    meet(&cloud).await;
    cloud
}

/// Reads accounts and people from CloudStack.
async fn meet(cloud: &Cloud) {
    let client = cloud.app.client(Role::Reader).unwrap();
    let run = cloud.begin_run().await;
    directory::sync_directory(&client, &cloud.app.store, &cloud.clock, run).await.unwrap();
}

async fn wish(cloud: &Cloud, account: &str, days: u32) -> NewRequest {
    NewRequest {
        key: SystemRandom.uuid().to_string(),
        account: cloud.account(account).await.id,
        requested_by: account.to_owned(),
        for_user: None,
        replaces: None,
        purpose: "nightly backups".to_owned(),
        days,
    }
}

async fn file(cloud: &Cloud, wish: NewRequest) -> Result<KeyRequestId, access::Error> {
    let mut tx = cloud.app.store.begin().await.unwrap();
    let id = access::file(&mut tx, &keys::settings(&cloud.app), wish, cloud.clock.now()).await?;
    tx.commit().await.unwrap();
    Ok(id)
}

async fn approve(
    cloud: &Cloud,
    id: KeyRequestId,
    admin: &str,
    consent: &Consent,
) -> Result<access::Approved, access::Error> {
    approve_as(cloud, id, &Approver::by_name(admin), consent).await
}

async fn approve_as(
    cloud: &Cloud,
    id: KeyRequestId,
    admin: &Approver,
    consent: &Consent,
) -> Result<access::Approved, access::Error> {
    let mut tx = cloud.app.store.begin().await.unwrap();
    let settings = keys::settings(&cloud.app);
    let approved = access::approve(&mut tx, id, admin, consent, &settings, cloud.clock.now()).await?;
    tx.commit().await.unwrap();
    Ok(approved)
}

async fn revoke(cloud: &Cloud, id: KeyRequestId) {
    let mut tx = cloud.app.store.begin().await.unwrap();
    access::revoke(&mut tx, id, "alice", &keys::settings(&cloud.app), cloud.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn rotate(cloud: &Cloud, old: KeyRequestId, key: &str) -> Result<KeyRequestId, access::Error> {
    let mut tx = cloud.app.store.begin().await.unwrap();
    let wish = Rotated { key, old, by: "alice", for_user: None };
    let id = access::rotate(&mut tx, &wish, &keys::settings(&cloud.app), cloud.clock.now()).await?;
    tx.commit().await.unwrap();
    Ok(id)
}

/// Filed and approved, not made yet.
async fn approved(cloud: &Cloud, account: &str, days: u32) -> KeyRequestId {
    let id = file(cloud, wish(cloud, account, days).await).await.unwrap();
    approve(cloud, id, "carol", &Consent::default()).await.unwrap();
    id
}

/// Made and looked at: the request and a client that signs with its pair.
async fn shown(cloud: &Cloud, account: &str, days: u32) -> (KeyRequestId, Client) {
    let id = approved(cloud, account, days).await;
    round(cloud).await;
    let client = look_at(cloud, id).await;
    (id, client)
}

async fn round(cloud: &Cloud) -> KeysRound {
    keys::look_after(&cloud.app, false).await.unwrap()
}

/// A round in which every pair is looked at.
async fn watch(cloud: &Cloud) -> KeysRound {
    keys::look_after(&cloud.app, true).await.unwrap()
}

async fn look_at(cloud: &Cloud, id: KeyRequestId) -> Client {
    let pair = keys::show(&cloud.app, id, "alice").await.unwrap();
    signing(cloud, &pair.api_key, pair.secret_key)
}

fn signing(cloud: &Cloud, api_key: &str, secret_key: Secret) -> Client {
    let credentials = Credentials { api_key: Secret::new(api_key), secret_key };
    Client::new(cloud.app.client_settings().unwrap(), credentials, Arc::new(cloud.clock.clone())).unwrap()
}

async fn works(client: &Client) -> bool {
    client.call_raw("listVirtualMachines", &[]).await.is_ok()
}

async fn row(cloud: &Cloud, id: KeyRequestId) -> KeyRequest {
    let mut tx = cloud.app.store.read().await.unwrap();
    people::get_key_request(&mut tx, id).await.unwrap()
}

async fn state(cloud: &Cloud, id: KeyRequestId) -> String {
    row(cloud, id).await.state
}

/// What the people of an account were told, oldest first.
async fn told(cloud: &Cloud, account: &str) -> Vec<String> {
    let account = cloud.account(account).await;
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut notices = enforcement::list_notices(&mut tx, Some(account.id), 100).await.unwrap();
    notices.reverse();
    notices.into_iter().map(|notice| notice.event).collect()
}

/// What administrators were told, oldest first.
async fn admins_told(cloud: &Cloud) -> Vec<String> {
    let mut tx = cloud.app.store.read().await.unwrap();
    let notices = mails::list_admin_notices_to_mail(&mut tx, 100).await.unwrap();
    notices.into_iter().map(|notice| format!("{}: {}", notice.kind, notice.subject)).collect()
}

async fn audit(cloud: &Cloud) -> Vec<String> {
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut lines = runs::list_audit(&mut tx, None, 1_000).await.unwrap();
    lines.reverse();
    lines.into_iter().map(|line| line.action).collect()
}

/// The CloudStack user of a request, if it is there.
fn user_of(cloud: &Cloud, row: &KeyRequest) -> Option<CloudId> {
    let name = row.username.clone()?;
    cloud.standin.with(|world| world.find_user(world.root_domain(), &name))
}

/// The user of this name.
fn user(cloud: &Cloud, name: &str) -> CloudId {
    cloud.standin.with(|world| world.find_user(world.root_domain(), name)).unwrap()
}

/// Users that bursar made in an account.
async fn key_users(cloud: &Cloud, account: &str) -> usize {
    let client = cloud.app.client(Role::Keys).unwrap();
    let domain = cloud.account(account).await.domain_id.parse().unwrap();
    let users = client.list_users_of(account, domain).await.unwrap();
    users.items.iter().filter(|user| access::is_key_user(&user.username, "bursar-key-")).count()
}
