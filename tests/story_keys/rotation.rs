//! Two pairs for one purpose, for a while; and the warnings before the end.

use bursar::{jobs::mail, notify::Looked};

use super::*;
use crate::harness::on_each_database;

#[tokio::test]
async fn the_old_pair_works_for_the_overlap_after_the_look_at_the_new_one() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let (old, old_client) = shown(&cloud, "alice", 30).await;
        let ends = row(&cloud, old).await.expires_ms;
        cloud.clock.advance(DAY * 10);
        let new = rotate(&cloud, old, "once").await.unwrap();
        assert_eq!(rotate(&cloud, old, "once").await.unwrap(), new, "the same key again is the same rotation");
        let twice = rotate(&cloud, old, "twice").await.unwrap_err().to_string();
        assert!(twice.contains(&format!("replaced by request {new}")), "{twice}");
        round(&cloud).await;
        assert_eq!(row(&cloud, new).await.expires_ms, ends, "it gives nothing more than was approved");
        assert!(works(&old_client).await);
        assert_eq!(row(&cloud, old).await.expires_ms, ends, "nobody has looked at the new one yet");
        let new_client = look_at(&cloud, new).await;
        for _ in 0..71 {
            cloud.clock.advance(HOUR);
        }
        round(&cloud).await;
        assert!(works(&old_client).await && works(&new_client).await, "both, within 72 hours");
        cloud.clock.advance(HOUR);
        round(&cloud).await;
        assert!(!works(&old_client).await && works(&new_client).await);
        assert_eq!((state(&cloud, old).await, state(&cloud, new).await), ("revoked".to_owned(), "shown".to_owned()));
        let told = told(&cloud, "alice").await;
        assert!(told.contains(&format!("key-rotated-{old}")) && told.contains(&format!("key-ended-{old}")), "{told:?}");
        cloud.clock.set(bursar::time::Timestamp::from_ms(ends.unwrap()));
        round(&cloud).await;
        assert!(!works(&new_client).await, "the end stayed where it was");
    })
    .await;
}

#[tokio::test]
async fn of_two_rotations_at_once_one_makes_a_pair() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let (old, _) = shown(&cloud, "alice", 30).await;
        let mut tx = cloud.app.store.begin().await.unwrap();
        let wish = Rotated { key: "first", old, by: "alice", for_user: None };
        let new = access::rotate(&mut tx, &wish, &keys::settings(&cloud.app), cloud.clock.now()).await.unwrap();
        let mut second = Box::pin(rotate(&cloud, old, "second"));
        let at_once = Duration::from_millis(100);
        assert!(tokio::time::timeout(at_once, second.as_mut()).await.is_err(), "it waits for the first");
        tx.commit().await.unwrap();
        let refused = second.await.unwrap_err().to_string();
        assert!(refused.contains(&format!("replaced by request {new}")), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn a_second_pair_that_nobody_looks_at_leaves_the_first_alone() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let (old, old_client) = shown(&cloud, "alice", 30).await;
        let new = rotate(&cloud, old, "once").await.unwrap();
        round(&cloud).await;
        cloud.clock.advance(DAY);
        assert!(keys::show(&cloud.app, new, "alice").await.is_err(), "its time is over even before a round comes by");
        round(&cloud).await;
        assert_eq!(state(&cloud, new).await, "revoked");
        cloud.clock.advance(DAY * 20);
        round(&cloud).await;
        assert!(works(&old_client).await);
        let again = rotate(&cloud, old, "again").await.unwrap();
        assert!(again.get() > new.get());
    })
    .await;
}

#[tokio::test]
async fn a_request_for_longer_is_approved_and_then_takes_over() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let (old, old_client) = shown(&cloud, "alice", 30).await;
        let foreign = NewRequest { replaces: Some(old), ..wish(&cloud, "bob", 90).await };
        assert!(file(&cloud, foreign).await.unwrap_err().to_string().contains("another account"));
        let longer = NewRequest { replaces: Some(old), ..wish(&cloud, "alice", 90).await };
        let new = file(&cloud, longer).await.unwrap();
        round(&cloud).await;
        assert_eq!(state(&cloud, new).await, "requested", "more than was approved has to be approved");
        approve(&cloud, new, "carol", &Consent::default()).await.unwrap();
        round(&cloud).await;
        let new_client = look_at(&cloud, new).await;
        cloud.clock.advance(DAY * 3);
        round(&cloud).await;
        assert!(!works(&old_client).await && works(&new_client).await);
        assert_eq!(row(&cloud, new).await.expires_ms.unwrap(), cloud.clock.now().plus(DAY * 87).as_ms());
    })
    .await;
}

#[tokio::test]
async fn warnings_before_the_end_are_mailed_once_each() {
    on_each_database(|database| async {
        let mut cloud = cloud(database, |_| {}).await;
        let folder = cloud.database.folder.path().join("mails").display().to_string();
        std::fs::create_dir_all(&folder).unwrap();
        for (key, value) in [
            ("MAIL_FROM", "Cloud billing <billing@example.com>"),
            ("MAIL_ADMINS", "admin@example.com"),
            ("MAIL_DIGEST", ""),
            ("MAIL_FOLDER", folder.as_str()),
            ("MAIL_TRANSPORT", "folder"),
        ] {
            cloud.env.insert(format!("BURSAR_{key}"), value.to_owned());
        }
        cloud.restart().await;
        mail::pass(&cloud.app, Looked::AtAll, "test").await.unwrap();
        let (id, _) = shown(&cloud, "alice", 30).await;
        mail::pass(&cloud.app, Looked::AtAll, "test").await.unwrap();
        assert_eq!(
            kinds(&cloud).await,
            ["alice@example.com key-approved", "alice@example.com key-issued", "admin@example.com admin"]
        );
        let end = row(&cloud, id).await.expires_ms.unwrap();
        let before = |days: u64| bursar::time::Timestamp::from_ms(end).minus(DAY * u32::try_from(days).unwrap());
        for (days, mails) in [(15, 0), (14, 1), (13, 1), (3, 2), (2, 2), (1, 3)] {
            cloud.clock.set(before(days));
            for _ in 0..2 {
                round(&cloud).await;
                mail::pass(&cloud.app, Looked::AtAll, "test").await.unwrap();
            }
            let expiring = kinds(&cloud).await.into_iter().filter(|kind| kind.ends_with("key-expiring")).count();
            assert_eq!(expiring, mails, "{days} days before the end");
        }
        let text: String = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .filter(|text| text.contains("Your API key ends on"))
            .collect();
        assert!(text.contains("2026-12-01"), "{text}");
        cloud.clock.set(before(0));
        round(&cloud).await;
        mail::pass(&cloud.app, Looked::AtAll, "test").await.unwrap();
        assert_eq!(kinds(&cloud).await.last().unwrap(), "alice@example.com key-ended");
    })
    .await;
}

async fn kinds(cloud: &Cloud) -> Vec<String> {
    let mut tx = cloud.app.store.read().await.unwrap();
    let mut mails = mails::list_mails(&mut tx, None, 1_000).await.unwrap();
    mails.reverse();
    mails.into_iter().map(|mail| format!("{} {}", mail.recipient, mail.kind)).collect()
}
