//! The files that leave bursar, by the real binary.

use bursar::time::Clock as _;
use serde_json::Value;

use super::*;
use crate::{
    harness::on_each_database,
    story_cli::{bursar, cloud},
};

/// Reads what the standard calls a CSV file: header and rows.
fn read(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    assert!(text.ends_with("\r\n"), "{text}");
    let mut csv = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let head = csv.headers().unwrap().iter().map(str::to_owned).collect();
    (head, csv.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect())
}

#[tokio::test]
async fn files_hold_what_the_ledger_holds_with_columns_that_are_documented() {
    on_each_database(async |database| {
        let cloud = cloud(database).await;
        let run = async |arguments: &[&str]| bursar(&cloud.env, arguments).await;
        let json = async |arguments: &[&str]| -> Value {
            let with: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
            bursar(&cloud.env, &with).await.json()
        };
        json(&["sync"]).await;
        json(&["rate"]).await;
        json(&["payment", "add", "bob", "50", "--reference", "=cmd|' /C calc'!A1, \"quoted\"", "--key", "bank-1"])
            .await;
        json(&["promo", "create", "plus", "--percent", "10", "--days", "30", "--public"]).await;
        assert_eq!(json(&["promo", "offers", "carol"]).await[0]["code"], "PLUS");
        json(&["promo", "redeem", "carol", "plus"]).await;
        assert_eq!(json(&["payment", "add", "carol", "30"]).await["bonuses"][0]["amount"], "3.00");
        run(&["promo", "redeem", "carol", "plus"]).await.refused(&["used this code already"]);
        json(&["adjustment", "add", "carol", "-1.50", "--reason", "wrong price"]).await;
        run(&["refund", "add", "carol", "40", "--reason", "leaves"]).await.refused(&["28.50", "--into-debt"]);
        json(&["refund", "add", "carol", "8.50", "--reason", "leaves"]).await;
        let granted = json(&["grant", "list", "carol"]).await;
        assert_eq!((granted[0]["left_micros"].as_i64(), granted.as_array().unwrap().len()), (Some(3_000_000), 1));
        let id = granted[0]["id"].to_string();
        assert_eq!(json(&["grant", "revoke", &id, "--reason", "mistake"]).await["taken_back"], "3.00");
        json(&["payer", "join", "carol", "dave", "--name", "Acme Ltd"]).await;
        let shown = json(&["payer", "show", "Acme Ltd"]).await;
        assert_eq!(shown["available"], "20.00", "{shown}");
        assert!(run(&["payer", "list"]).await.out.contains("Acme Ltd"));

        let today = Day::of(cloud.clock.now(), chrono_tz::UTC).unwrap();
        let (from, to) =
            (Day::from_number(today.number() - 5).to_string(), Day::from_number(today.number() + 2).to_string());
        let period = ["--from", from.as_str(), "--to", to.as_str()];
        let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/export.md")).unwrap();
        let mut columns = std::collections::HashMap::new();
        for what in ["usage", "charges", "ledger", "standing"] {
            let period: &[&str] = if what == "standing" { &[] } else { &period };
            let arguments: Vec<&str> = ["export", "csv", what].iter().chain(period).copied().collect();
            let ran = run(&arguments).await;
            assert_eq!(ran.code, 0, "{}", ran.err);
            let (head, rows) = read(&ran.out);
            assert!(!rows.is_empty(), "{what}");
            let section = documented.split(&format!("## `{what}`")).nth(1).unwrap();
            let section = section.split("\n## ").next().unwrap();
            let named: Vec<String> = section
                .lines()
                .filter_map(|line| line.strip_prefix("| `").and_then(|rest| rest.split('`').next()))
                .map(str::to_owned)
                .collect();
            assert_eq!(head, named, "docs/export.md tells the columns of {what}, in order");
            columns.insert(what, (head, rows));
        }
        let at = |what: &str, column: &str| columns[what].0.iter().position(|name| name == column).unwrap();
        let ledger = &columns["ledger"].1;
        let sum: rust_decimal::Decimal =
            ledger.iter().map(|row| row[at("ledger", "amount")].parse::<rust_decimal::Decimal>().unwrap()).sum();
        assert!(sum.is_zero(), "{sum}");
        let payment = ledger.iter().find(|row| row[at("ledger", "key")] == "payment/bank-1").unwrap();
        assert_eq!(payment[at("ledger", "reason")], "'=cmd|' /C calc'!A1, \"quoted\"");
        assert!(payment[at("ledger", "at")].ends_with('Z'), "{payment:?}");
        let counted = crate::story_cli::count(&cloud, "usage_record").await;
        assert_eq!(i64::try_from(columns["usage"].1.len()).unwrap(), counted);
        // What bob was charged stands in both.
        let charged: rust_decimal::Decimal = columns["charges"]
            .1
            .iter()
            .map(|row| row[at("charges", "net")].parse::<rust_decimal::Decimal>().unwrap())
            .sum();
        let revenue: rust_decimal::Decimal = ledger
            .iter()
            .filter(|row| row[at("ledger", "ledger_account")].starts_with("revenue"))
            .map(|row| row[at("ledger", "amount")].parse::<rust_decimal::Decimal>().unwrap())
            .sum();
        assert!(!charged.is_zero());
        assert_eq!(charged, revenue);

        let file = cloud.database.folder.path().join("out.csv");
        let file = file.to_str().unwrap();
        let arguments = ["export", "csv", "charges", "--from", &from, "--to", &to, "--account", "carol", "--out", file];
        json(&arguments).await;
        let (_, rows) = read(&std::fs::read_to_string(file).unwrap());
        assert!(rows.iter().all(|row| row[at("charges", "account")] == "carol"), "{rows:?}");
        run(&["export", "csv", "usage"]).await.refused(&["--from"]);
        run(&["export", "csv", "standing", "--from", &from, "--to", &to]).await.refused(&["of now"]);
        run(&["export", "csv", "usage", "--from", &to, "--to", &from]).await.refused(&["no day"]);
        cloud.verify().await;
    })
    .await;
}
