//! Who agrees to what: one administrator, two, with changes, and with what the person is told.

use bursar::access::Approved;

use super::*;
use crate::harness::on_each_database;

#[tokio::test]
async fn an_administrator_changes_days_and_purpose_and_the_person_is_told() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let id = file(&cloud, wish(&cloud, "alice", 30).await).await.unwrap();
        assert_eq!(admins_told(&cloud).await, [format!("key-request: ROOT/alice asks for API access (request {id})")]);
        let consent = Consent {
            message: Some("a week is enough".to_owned()),
            days: Some(7),
            purpose: Some("backups, read only".to_owned()),
        };
        assert_eq!(approve(&cloud, id, "carol", &consent).await.unwrap(), Approved::Complete);
        round(&cloud).await;
        let row = row(&cloud, id).await;
        assert_eq!((row.days, row.purpose.as_str(), row.state.as_str()), (7, "backups, read only", "issued"));
        assert_eq!(row.expires_ms, Some(cloud.clock.now().plus(DAY * 7).as_ms()));
        assert_eq!(told(&cloud, "alice").await, [format!("key-approved-{id}"), format!("key-issued-{id}")]);
        let account = cloud.account("alice").await;
        let mut tx = cloud.app.store.read().await.unwrap();
        let notices = enforcement::list_notices(&mut tx, Some(account.id), 10).await.unwrap();
        let approved = &notices.last().unwrap().sentence;
        assert!(approved.contains("7 days") && approved.contains("a week is enough"), "{approved}");
        let ready = &notices[0].sentence;
        assert!(ready.contains("can be looked at once") && ready.contains("2026-11-02 00:00 UTC"), "{ready}");
    })
    .await;
}

#[tokio::test]
async fn two_administrators_have_to_approve_the_same() {
    on_each_database(|database| async {
        let mut cloud = cloud(database, |_| {}).await;
        cloud.reconfigure("ACCESS_TWO_APPROVALS", "true").await;
        let id = file(&cloud, wish(&cloud, "alice", 30).await).await.unwrap();
        let none = Consent::default();
        let shorter = Consent { days: Some(10), ..Consent::default() };
        let first = Consent { message: Some("for the backups".to_owned()), ..Consent::default() };
        assert_eq!(approve(&cloud, id, "carol", &first).await.unwrap(), Approved::AnotherNeeded);
        assert_eq!(
            approve(&cloud, id, "carol", &none).await.unwrap(),
            Approved::AnotherNeeded,
            "the same person twice"
        );
        round(&cloud).await;
        assert_eq!(state(&cloud, id).await, "requested");
        assert_eq!(key_users(&cloud, "alice").await, 0, "nothing was made");
        assert_eq!(approve(&cloud, id, "dave", &shorter).await.unwrap(), Approved::AnotherNeeded, "other terms");
        assert_eq!(approve(&cloud, id, "carol", &none).await.unwrap(), Approved::Complete, "dave's terms");
        round(&cloud).await;
        let row = row(&cloud, id).await;
        assert_eq!((row.state.as_str(), row.days), ("issued", 10));
        assert_eq!(row.message.as_deref(), Some("for the backups"));
        let actions = audit(&cloud).await;
        assert_eq!(actions.iter().filter(|action| *action == "key.approve-first").count(), 3);
        assert_eq!(actions.iter().filter(|action| *action == "key.approve").count(), 1);
    })
    .await;
}

#[tokio::test]
async fn one_administrator_under_two_names_is_not_two() {
    on_each_database(|database| async {
        let mut cloud = cloud(database, |_| {}).await;
        cloud.reconfigure("ACCESS_TWO_APPROVALS", "true").await;
        let id = file(&cloud, wish(&cloud, "alice", 30).await).await.unwrap();
        let (none, home) = (Consent::default(), cloud.account("bob").await.id);
        let by_issuer = |name: &str, subject: &str, user| {
            Approver::by_openid(name.to_owned(), "https://id.example.com", subject, [(home, Some(user))])
        };
        let by_session = |user| Approver::by_cloudstack("admin (ROOT/admin)".to_owned(), home, user);
        for same in
            [by_issuer("Alice", "1", "u-1"), by_issuer("Bert", "1", "u-1"), by_session(Some("u-1")), by_session(None)]
        {
            assert_eq!(approve_as(&cloud, id, &same, &none).await.unwrap(), Approved::AnotherNeeded, "{same:?}");
        }
        let other = by_issuer("Alice", "2", "u-2");
        assert_eq!(approve_as(&cloud, id, &other, &none).await.unwrap(), Approved::Complete);
    })
    .await;
}

#[tokio::test]
async fn a_denied_request_makes_nothing_and_says_why() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let id = file(&cloud, wish(&cloud, "alice", 30).await).await.unwrap();
        let mut tx = cloud.app.store.begin().await.unwrap();
        let settings = keys::settings(&cloud.app);
        access::deny(&mut tx, id, "carol", Some("ask again in May"), &settings, cloud.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        round(&cloud).await;
        assert_eq!(key_users(&cloud, "alice").await, 0);
        assert_eq!(told(&cloud, "alice").await, [format!("key-denied-{id}")]);
        assert!(approve(&cloud, id, "carol", &Consent::default()).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn an_account_of_administrators_gets_no_key() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let refused = file(&cloud, wish(&cloud, "bursar-reader", 30).await).await.unwrap_err().to_string();
        assert!(refused.contains("no key pair is made for ROOT/bursar-reader"), "{refused}");
    })
    .await;
}
