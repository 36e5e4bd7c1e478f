//! A price is changed: compared, proposed, approved, posted anew, explained and quoted, as an administrator does it.

use super::{bursar, cloud};
use crate::harness::{PRICES, on_each_database};

#[tokio::test]
async fn a_price_is_changed_compared_approved_explained_and_quoted() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let env = &cloud.env;
        let json = async |arguments: &[&str]| bursar(env, &[&["--json"], arguments].concat()).await.json();
        let text = async |arguments: &[&str]| {
            let ran = bursar(env, arguments).await;
            assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
            ran.out
        };
        json(&["sync"]).await;
        json(&["rate"]).await;
        let prices = cloud.database.folder.path().join("prices.toml");
        std::fs::write(&prices, PRICES.replace("price = \"0.10\"", "price = \"0.20\"")).unwrap();
        let compared = text(&["price", "diff"]).await;
        assert!(compared.contains("0.10") || compared.contains("0.1"), "{compared}");
        assert!(compared.contains("0.20") || compared.contains("0.2"), "{compared}");

        let before = json(&["account", "show", "bob"]).await["account"]["available"].clone();
        let rated = json(&["rate"]).await;
        let item = rated["proposal"]["item"].as_i64().unwrap().to_string();
        assert!(text(&["review", "list"]).await.contains("price-change"));
        let shown = text(&["review", "show", &item]).await;
        assert!(shown.contains("ROOT/bob") && shown.contains("running-vm"), "{shown}");
        assert_eq!(json(&["review", "show", &item]).await["accounts"][0][0], "ROOT/bob");
        assert_eq!(bursar(env, &["review", "release", &item]).await.code, 2, "a verdict has a reason");
        assert!(text(&["review", "release", &item, "--reason", "as agreed"]).await.contains("released"));
        bursar(env, &["review", "reject", &item, "--reason", "no"]).await.refused(&["settled already"]);
        let rated = json(&["rate"]).await;
        assert!(rated["posted"]["reversals"].as_u64().unwrap() > 0, "{rated}");
        assert_ne!(json(&["account", "show", "bob"]).await["account"]["available"], before);
        assert!(text(&["verify"]).await.contains("Everything agrees"));

        let explained = json(&["explain", "bob"]).await;
        assert_eq!(explained["account"], "ROOT/bob");
        let reversed = |row: &&serde_json::Value| row["postings"].to_string().contains("reversal");
        let charge = explained["charges"].as_array().unwrap().iter().find(reversed).unwrap();
        assert_eq!(charge["type"], "running-vm", "{charge}");
        let day = charge["day"].as_str().unwrap().to_owned();
        assert!(text(&["explain", "bob"]).await.contains("money: charge"));
        let lines = text(&["explain", "bob", "--day", &day, "--type", "running-vm"]).await;
        assert!(lines.contains("0.2 a hour (in general)") && lines.contains("bob-vm"), "{lines}");
        // As it stood before anything was posted.
        let then = json(&["explain", "bob", "--at", "2020-01-01"]).await;
        assert_eq!(then["charges"].as_array().unwrap().len(), 0);
        assert_eq!(then["available"], "0.00");
        bursar(env, &["explain", "bob", "--at", "noon"]).await.refused(&["noon"]);
        bursar(env, &["explain", "bob", "--day", "noon"]).await.refused(&["2026-11-01"]);

        let quoted = text(&["price", "quote", "--type", "ip-address", "--amount", "2", "--account", "bob"]).await;
        assert!(quoted.contains("ip-address"), "{quoted}");
        bursar(env, &["price", "quote", "--type", "moon-dust", "--amount", "2"]).await.refused(&["moon-dust"]);
        cloud.verify().await;
    })
    .await;
}
