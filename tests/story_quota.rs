//! Moving from CloudStack's quota plugin.

use std::time::Duration;

use bursar::{
    standin::{Fault, FaultKind},
    time::{Clock, Timestamp},
};

use crate::{
    harness::{Cloud, Database, on_each_database},
    story_cli::{self, bursar, count},
};

/// What the reader needs besides.
const QUOTA: [&str; 4] = ["quotaTariffList", "quotaSummary", "quotaCreditsList", "quotaStatement"];

/// bob has a machine and three days of usage, and 12.50 in the quota plugin; carol owes 3 there.
async fn cloud(database: Database) -> Cloud {
    let cloud = story_cli::cloud(database).await;
    cloud.standin.with(|world| {
        let role = world.find_role("bursar-reader").unwrap();
        for api in QUOTA {
            world.add_first_rule(role, api, true);
        }
        let root = world.root_domain();
        let (bob, carol) = (world.find_account(root, "bob").unwrap(), world.find_account(root, "carol").unwrap());
        world.set_quota_balance(bob, 12_500_000);
        world.set_quota_balance(carol, -3_000_000);
        let always = (Timestamp::from_seconds(1_272_931_200), None);
        world.add_quota_tariff(1, 72_000_000, always, None);
        world.add_quota_tariff(1, 8_000_000, always, None);
        world.add_quota_tariff(6, 300_000, always, None);
        world.add_quota_tariff(3, 3_000_000, always, Some("account.name == 'bob'"));
    });
    cloud.catch_up().await;
    cloud
}

#[tokio::test]
async fn tariffs_become_a_price_book_that_is_read() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let file = cloud.database.folder.path().join("draft.toml").display().to_string();
        let ran = bursar(&cloud.env, &["--json", "import", "quota", &file]).await.json();
        assert_eq!(ran["tariffs"]["prices"], 2, "{ran}");
        assert_eq!(ran["tariffs"]["added_together"][0], "running-vm");
        assert_eq!(ran["tariffs"]["with_rules"][0], "tariff 4 (usage type ip-address)");
        let checked = bursar(&cloud.env, &["--json", "price", "check", &file]).await.json();
        assert_eq!(checked["tariffs"], 2);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("price = \"80\"") && text.contains("gib-month"), "{text}");
        // Never over an existing file; and nothing was written to the ledger.
        bursar(&cloud.env, &["import", "quota", &file, "--write"]).await.refused(&["draft.toml", "never overwritten"]);
        assert_eq!(count(&cloud, "transfer where kind = 'opening'").await, 0);
    })
    .await;
}

#[tokio::test]
async fn balances_are_brought_in_once_and_only_when_asked_to() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let opening = |ran: &serde_json::Value, name: &str| {
            let rows = ran["balances"].as_array().unwrap();
            let row = rows.iter().find(|row| row["accounts"] == format!("ROOT/{name}")).unwrap();
            (row["balance"].as_str().unwrap().to_owned(), row["opening"].as_str().unwrap().to_owned())
        };
        let said = |amount: &str, word: &str| (amount.to_owned(), word.to_owned());
        let ran = bursar(&cloud.env, &["--json", "import", "quota"]).await.json();
        assert_eq!(opening(&ran, "bob"), said("12.50", "not yet: --write"));
        assert_eq!(opening(&ran, "dave"), said("0.00", "nothing to bring in"));
        assert_eq!(count(&cloud, "transfer where kind = 'opening'").await, 0);
        let before = cloud.standing("carol").await.figures.money;
        let ran = bursar(&cloud.env, &["--json", "import", "quota", "--write"]).await.json();
        assert_eq!(opening(&ran, "bob"), said("12.50", "brought in"));
        assert_eq!(opening(&ran, "carol"), said("-3.00", "brought in"));
        let after = cloud.standing("carol").await.figures.money;
        assert_eq!(after.minus(before).unwrap().as_micros(), -3_000_000, "on {}", cloud.database.kind);
        assert_eq!(count(&cloud, "audit where action = 'opening.set'").await, 2);
        let ran = bursar(&cloud.env, &["--json", "import", "quota", "--write"]).await.json();
        assert_eq!(opening(&ran, "bob"), said("12.50", "has one already"));
        assert_eq!(count(&cloud, "transfer where kind = 'opening'").await, 2);
        cloud.verify().await;
    })
    .await;
}

#[tokio::test]
async fn a_month_is_compared_and_the_difference_explained() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let now = cloud.clock.now();
        let seen = now.minus(Duration::from_hours(1));
        cloud.standin.with(|world| {
            let bob = world.find_account(world.root_domain(), "bob").unwrap();
            world.add_quota_charge(bob, 1, seen, 999_000_000);
            world.add_quota_charge(bob, 2, seen, 5_000_000);
        });
        let month = seen.to_utc().unwrap().format("%Y-%m").to_string();
        let ran = bursar(&cloud.env, &["--json", "import", "quota", "--compare", &month]).await.json();
        let row = |kind: &str| {
            let rows = ran["rows"].as_array().unwrap();
            rows.iter().find(|row| row["account"] == "ROOT/bob" && row["usage_type"] == kind).unwrap().clone()
        };
        let words = |kind: &str| row(kind)["why"].to_string();
        assert_eq!(row("running-vm")["theirs"], "999.00", "{ran}");
        assert!(words("running-vm").contains("tariffs overlap"), "{ran}");
        assert!(words("allocated-vm").contains("free here"), "{ran}");
        assert!(words("volume").contains("nothing was charged there") && row("volume")["theirs"].is_null(), "{ran}");
        assert!(words("ip-address").contains("rule"), "{ran}");
        let ran = bursar(&cloud.env, &["import", "quota", "--compare", "2026-13"]).await;
        ran.refused(&["2026-13", "not a month"]);
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_read_is_said_and_leaves_nothing_behind() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let file = cloud.database.folder.path().join("draft.toml");
        let path = file.display().to_string();
        for kind in [FaultKind::Status(503), FaultKind::InvalidJson, FaultKind::CutAfterAction] {
            cloud.standin.with(|world| world.faults().push(Fault::once("quotaSummary", kind)));
            let ran = bursar(&cloud.env, &["import", "quota", &path, "--write"]).await;
            ran.refused(&["quotaSummary"]);
            assert!(!file.exists());
            assert_eq!(count(&cloud, "transfer where kind = 'opening'").await, 0);
        }
        let deny = |api: &str| {
            cloud.standin.with(|world| {
                let role = world.find_role("bursar-reader").unwrap();
                world.add_first_rule(role, api, false);
            });
        };
        // Credits are worth knowing and not needed.
        deny("quotaCreditsList");
        let ran = bursar(&cloud.env, &["--json", "import", "quota"]).await.json();
        assert!(ran["credits"].is_null(), "{ran}");
        deny("quotaTariffList");
        bursar(&cloud.env, &["import", "quota"]).await.refused(&["does not allow quotaTariffList"]);
    })
    .await;
}
