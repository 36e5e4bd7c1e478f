//! What tenants ask for and administrators answer, on both databases: gateways and deletions.

use std::{collections::HashMap, time::Duration};

use bursar::{
    jobs::{Role, deletions},
    people::{
        directory,
        leaving::{self, Step},
    },
    store::{
        enforcement,
        gateways::{self, NewGateway},
        leaving as rows, notify, runs,
    },
    time::{Clock as _, Timestamp},
};

use crate::harness::{Cloud, NOVEMBER, on_each_database, tenant};

async fn meet(cloud: &Cloud) {
    let client = cloud.app.client(Role::Reader).unwrap();
    let run = cloud.begin_run().await;
    directory::sync_directory(&client, &cloud.app.store, &cloud.clock, run).await.unwrap();
}

fn step(cloud: &Cloud) -> Step<'static> {
    Step { author: "alice (ROOT/alice)", now: cloud.clock.now(), zone: chrono_tz::UTC }
}

const WAIT: Duration = Duration::from_hours(14 * 24);

#[tokio::test]
async fn an_account_is_asked_to_be_deleted_once_told_once_and_closed_by_its_absence() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            tenant(world, "alice");
            tenant(world, "bob");
        })
        .await;
        meet(&cloud).await;
        let account = cloud.account("alice").await;
        let mut numbers = Vec::new();
        for key in ["first", "first", "another tab"] {
            let mut tx = cloud.app.store.begin().await.unwrap();
            numbers.push(leaving::ask(&mut tx, key, &account, "we move", WAIT, step(&cloud)).await.unwrap().id);
            tx.commit().await.unwrap();
        }
        assert_eq!(numbers, [numbers[0]; 3]);
        assert_eq!(deletions::look_after(&cloud.app).await.unwrap(), 0);
        cloud.clock.advance(WAIT);
        assert_eq!(deletions::look_after(&cloud.app).await.unwrap(), 1);
        assert_eq!(deletions::look_after(&cloud.app).await.unwrap(), 0);
        let mut tx = cloud.app.store.read().await.unwrap();
        let told =
            notify::list_admin_notices(&mut tx, Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX), 10).await.unwrap();
        assert_eq!(told.iter().filter(|notice| notice.subject == "ROOT/alice is to be deleted").count(), 1);
        let events: Vec<_> = enforcement::list_notices(&mut tx, Some(account.id), 9).await.unwrap();
        assert_eq!(events.len(), 2, "asked, due");
        drop(tx);
        // It can be taken back even now, and asked for anew; refused, it is over for everybody.
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert!(leaving::take_back(&mut tx, &account, step(&cloud)).await.unwrap());
        assert!(!leaving::take_back(&mut tx, &account, step(&cloud)).await.unwrap());
        let again = leaving::ask(&mut tx, "again", &account, "really", WAIT, step(&cloud)).await.unwrap();
        assert!(leaving::refuse(&mut tx, again.id, "An invoice is open.", step(&cloud)).await.unwrap());
        assert!(!leaving::refuse(&mut tx, again.id, "Twice.", step(&cloud)).await.unwrap());
        assert!(leaving::refuse(&mut tx, 4_711, "No such.", step(&cloud)).await.is_err());
        let last = leaving::ask(&mut tx, "last", &account, "really", WAIT, step(&cloud)).await.unwrap();
        tx.commit().await.unwrap();
        let id = account.cloud_id.parse().unwrap();
        let now = cloud.clock.now();
        cloud.standin.with(|world| world.remove_account(id, now));
        meet(&cloud).await;
        assert_eq!(deletions::look_after(&cloud.app).await.unwrap(), 1);
        let mut tx = cloud.app.store.read().await.unwrap();
        let states: Vec<_> = rows::list(&mut tx, true, 9).await.unwrap().into_iter().map(|row| row.state).collect();
        assert_eq!(states, ["done", "refused", "withdrawn"], "newest first; {}", last.id);
        let actions: Vec<_> = runs::list_audit(&mut tx, Some("ROOT/alice"), 50)
            .await
            .unwrap()
            .into_iter()
            .map(|line| line.action)
            .collect();
        for action in ["ask", "take-back", "refuse", "done"] {
            assert!(actions.contains(&format!("account.delete-{action}")), "{action}: {actions:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_gateway_is_one_payers_until_it_is_approved_for_everybody() {
    on_each_database(|database| async {
        let cloud = Cloud::start(database, NOVEMBER, |world| {
            tenant(world, "alice");
            tenant(world, "bob");
        })
        .await;
        meet(&cloud).await;
        let (alice, bob) = (cloud.account("alice").await, cloud.account("bob").await);
        let now = cloud.clock.now();
        let propose = async |key: &str, name: &str| {
            let mut tx = cloud.app.store.begin().await.unwrap();
            let new = NewGateway {
                key,
                name,
                country: "Norway",
                website: "https://pay.example.com",
                details: "Kroner",
                payer: alice.payer_id,
                account: alice.id,
                author: "alice",
            };
            let made = gateways::propose(&mut tx, &new, now).await.unwrap();
            tx.commit().await.unwrap();
            made
        };
        assert!(propose("one", "Alone").await && !propose("one", "Alone").await);
        assert!(propose("two", "Everybody").await && propose("three", "Nobody").await);
        let mut tx = cloud.app.store.begin().await.unwrap();
        assert_eq!(gateways::count_proposed(&mut tx, alice.payer_id).await.unwrap(), 3);
        let ids: Vec<i64> = gateways::list_proposed(&mut tx, 9).await.unwrap().iter().map(|row| row.id).collect();
        for (id, approved, for_all) in [(ids[0], true, false), (ids[1], true, true), (ids[2], false, false)] {
            assert!(gateways::decide(&mut tx, id, (approved, for_all), "root", Some("Well."), now).await.unwrap());
            assert!(!gateways::decide(&mut tx, id, (true, true), "root", None, now).await.unwrap(), "decided once");
        }
        let names = async |tx: &mut bursar::store::Tx, payer| -> Vec<String> {
            let rows = gateways::list_of_payer(tx, payer, 9).await.unwrap();
            rows.into_iter().filter(|row| row.state == "approved").map(|row| row.name).collect()
        };
        assert_eq!(names(&mut tx, alice.payer_id).await, ["Everybody", "Alone"]);
        assert_eq!(names(&mut tx, bob.payer_id).await, ["Everybody"]);
        for choice in [Some(ids[0]), Some(ids[1]), None] {
            gateways::choose(&mut tx, alice.payer_id, choice, "alice", now).await.unwrap();
            assert_eq!(gateways::find_choice(&mut tx, alice.payer_id).await.unwrap(), choice);
        }
        // Retired, it is offered to nobody; who had chosen it falls back to bank transfer and is told which one it was.
        for payer in [alice.payer_id, bob.payer_id] {
            gateways::choose(&mut tx, payer, Some(ids[1]), "each", now).await.unwrap();
        }
        assert_eq!(gateways::count_choosers(&mut tx).await.unwrap(), HashMap::from([(ids[1], 2)]));
        let mut both = [alice.id, bob.id];
        both.sort();
        assert_eq!(gateways::list_choosers(&mut tx, ids[1]).await.unwrap(), both);
        assert_eq!(gateways::list_choices(&mut tx).await.unwrap()[&bob.payer_id], "Everybody");
        let offered: Vec<i64> = gateways::list_approved(&mut tx, 9).await.unwrap().iter().map(|row| row.id).collect();
        assert_eq!(offered, [ids[0], ids[1]], "by name");
        assert!(!gateways::retire(&mut tx, ids[2], "root", None, now).await.unwrap(), "it was never approved");
        assert!(gateways::retire(&mut tx, ids[1], "root", None, now).await.unwrap());
        assert!(!gateways::retire(&mut tx, ids[1], "root", Some("Twice."), now).await.unwrap());
        for payer in [alice.payer_id, bob.payer_id] {
            assert_eq!(gateways::find_choice(&mut tx, payer).await.unwrap(), None);
            assert_eq!(gateways::find_retired_choice(&mut tx, payer).await.unwrap().as_deref(), Some("Everybody"));
        }
        assert!(gateways::list_choices(&mut tx).await.unwrap().is_empty());
        assert_eq!(names(&mut tx, alice.payer_id).await, ["Alone"]);
        assert_eq!(names(&mut tx, bob.payer_id).await, Vec::<String>::new());
        let states = |rows: Vec<gateways::Gateway>| rows.into_iter().map(|row| row.state).collect::<Vec<_>>();
        let own = states(gateways::list_of_payer(&mut tx, alice.payer_id, 9).await.unwrap());
        assert_eq!(own, ["refused", "retired", "approved"], "who proposed it sees what became of it");
        assert!(states(gateways::list_of_payer(&mut tx, bob.payer_id, 9).await.unwrap()).is_empty());
        let kept = gateways::find(&mut tx, ids[1]).await.unwrap().unwrap();
        assert_eq!((kept.state.as_str(), kept.message.as_deref()), ("retired", Some("Well.")));
        gateways::choose(&mut tx, bob.payer_id, None, "bob", now).await.unwrap();
        assert_eq!(gateways::find_retired_choice(&mut tx, bob.payer_id).await.unwrap(), None);
        tx.commit().await.unwrap();
    })
    .await;
}
