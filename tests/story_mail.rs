//! Mail: from notices to a mail server, through everything that goes wrong on the way.

mod commands;
mod dates;
mod outbox;
mod people;
mod trouble;
mod warnings;
mod ways;

use std::time::Duration;

use bursar::{
    jobs::{
        Role,
        mail::{self, MailSummary},
    },
    notify::Looked,
    people::directory,
    standin::World,
    store::{
        enforcement,
        notify::{self as rows, MailLine},
        policy,
    },
    time::{Clock as _, Timestamp},
};

use crate::harness::{
    Cloud, Database, NOVEMBER,
    smtp::{MailServer, Way},
    tenant,
};

/// Since when the stories' payers are over their limit.
const OVER_SINCE: i64 = NOVEMBER - 3_600;
/// A warning about that time.
const WARNING: &str = "warning-lock-1793487600";
const SENTENCE: &str = "Your account will be locked on 2026-11-04 00:00 UTC because 104.20 of 100.00 EUR were used.";

/// Settings of mail through a server.
fn settings(server: &MailServer, security: &str) -> Vec<(&'static str, String)> {
    let host = if server.is_encrypted() { "localhost".to_owned() } else { server.address.ip().to_string() };
    vec![
        ("MAIL_TRANSPORT", "smtp".to_owned()),
        ("MAIL_HOST", host),
        ("MAIL_PORT", server.address.port().to_string()),
        ("MAIL_SECURITY", security.to_owned()),
        ("MAIL_TIMEOUT_SECONDS", "10".to_owned()),
        ("MAIL_FROM", "Cloud billing <billing@example.com>".to_owned()),
        ("MAIL_ADMINS", "admin@example.com".to_owned()),
        ("MAIL_DIGEST", String::new()),
    ]
}

/// A cloud of tenants whose people are known, with mail by a server in plain text, set up from now on.
async fn cloud_with_mail(database: Database, server: &MailServer, build: impl FnOnce(&mut World)) -> Cloud {
    let cloud = Cloud::start(database, NOVEMBER, build).await;
    set_up(cloud, &settings(server, "none")).await
}

/// Reads accounts and people from CloudStack.
async fn meet(cloud: &Cloud) {
    let client = cloud.app.client(Role::Reader).unwrap();
    let run = cloud.begin_run().await;
    directory::sync_directory(&client, &cloud.app.store, &cloud.clock, run).await.unwrap();
}

/// Sets mail up, from now on.
async fn set_up(mut cloud: Cloud, settings: &[(&'static str, String)]) -> Cloud {
    meet(&cloud).await;
    for (key, value) in settings {
        cloud.env.insert(format!("BURSAR_{key}"), value.clone());
    }
    cloud.restart().await;
    assert_eq!(pass(&cloud).await, MailSummary::default(), "nothing was recorded yet");
    cloud
}

/// Makes and sends what there is.
async fn pass(cloud: &Cloud) -> MailSummary {
    mail::pass(&cloud.app, Looked::AtAll, "test").await.unwrap()
}

/// Records a notice in earnest, as enforcement does.
async fn notice(cloud: &Cloud, account: &str, event: &str, sentence: &str) -> i64 {
    record(cloud, account, event, sentence, false).await
}

/// Records a notice; a warning belongs to a time over the limit that goes on, and names a date.
async fn record(cloud: &Cloud, account: &str, event: &str, sentence: &str, dry_run: bool) -> i64 {
    let account = cloud.account(account).await;
    let now = cloud.clock.now();
    let mut tx = cloud.app.store.begin().await.unwrap();
    let acts_at = event.starts_with("warning-").then(|| Timestamp::from_seconds(NOVEMBER + 3 * 86_400));
    if acts_at.is_some() {
        let since = Some(Timestamp::from_seconds(OVER_SINCE));
        let rung = event.split('-').nth(1).unwrap();
        policy::put_reached(&mut tx, account.payer_id, rung, since).await.unwrap();
    }
    enforcement::insert_notice(&mut tx, account.payer_id, account.id, 1, event, sentence, acts_at, dry_run, now)
        .await
        .unwrap();
    let id = enforcement::list_notices(&mut tx, Some(account.id), 1).await.unwrap()[0].id;
    tx.commit().await.unwrap();
    id
}

/// When a notice arrived.
async fn arrived(cloud: &Cloud, notice: i64) -> Option<Timestamp> {
    let mut tx = cloud.app.store.read().await.unwrap();
    rows::find_arrival(&mut tx, notice).await.unwrap()
}

/// The outbox, oldest first.
async fn outbox(cloud: &Cloud) -> Vec<MailLine> {
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut mails = rows::list_mails(&mut tx, None, 1_000).await.unwrap();
    mails.reverse();
    mails
}

/// The states of the mails, oldest first.
async fn states(cloud: &Cloud) -> Vec<String> {
    outbox(cloud).await.into_iter().map(|mail| format!("{} {}", mail.recipient, mail.state)).collect()
}

/// A cloud with one tenant.
fn alice(world: &mut World) {
    tenant(world, "alice");
}
