//! What goes wrong gives one sentence with the way out, and changes nothing.

use std::{collections::BTreeMap, path::Path, time::Duration};

use axum::{Router, response::Html, routing::any};
use bursar::{
    standin::{Fault, FaultKind, RoleKind, State},
    time::{Clock as _, Timestamp},
};
use tokio::net::TcpListener;

use super::{bursar, cloud, count, row_counts, run_sql};
use crate::harness::{Database, PRICES, on_each_database};

type Env = BTreeMap<String, String>;

fn with(env: &Env, settings: &[(&str, &str)]) -> Env {
    let mut env = env.clone();
    for (key, value) in settings {
        env.insert(format!("BURSAR_{key}"), (*value).to_owned());
    }
    env
}

fn sqlite() -> Database {
    Database { kind: "SQLite", folder: tempfile::tempdir().unwrap(), url: None }
}

/// A database of its own, for configurations that the cloud's own data would refuse as another cloud's.
fn elsewhere(env: &Env, folder: &Path, settings: &[(&str, &str)]) -> Env {
    let mut env = with(env, settings);
    env.remove("BURSAR_STORE_URL");
    env.insert("BURSAR_STORE_DATA_DIR".to_owned(), folder.display().to_string());
    env
}

#[tokio::test]
async fn a_cloudstack_that_can_not_be_asked_is_told_with_the_way_out() {
    let cloud = cloud(sqlite()).await;
    let folder = tempfile::tempdir().unwrap();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/client/api", listener.local_addr().unwrap())
    };
    let env = elsewhere(&cloud.env, folder.path(), &[("CLOUDSTACK_URL", &closed)]);
    bursar(&env, &["sync"]).await.refused(&["no connection", "[cloudstack] url", "firewall"]);

    let web = Router::new()
        .route("/client/api", any(|| async { Html("<html><body>Welcome to nginx!</body></html>") }))
        .fallback(|| async { (axum::http::StatusCode::NOT_FOUND, Html("<h1>404</h1>")) });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, web).await });
    for path in ["client/api", "somewhere/else"] {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("http://{address}/{path}");
        let env = elsewhere(&cloud.env, folder.path(), &[("CLOUDSTACK_URL", &url)]);
        bursar(&env, &["sync"]).await.refused(&["[cloudstack]", "https://cloud.example.com/client/api"]);
    }
    serving.abort();

    let before = row_counts(&cloud).await;
    for wrong in ["CLOUDSTACK_READER_API_KEY", "CLOUDSTACK_READER_SECRET_KEY"] {
        let env = with(&cloud.env, &[(wrong, "EXAMPLE-WRONG-KEY")]);
        let told = bursar(&env, &["sync"]).await;
        let text = told.refused(&["401", "key", "locked", "clock", "bursar check"]);
        assert!(!text.contains("EXAMPLE-WRONG-KEY"), "{text}");
    }
    let reader = cloud.standin.with(|world| {
        let root = world.find_domain("ROOT").unwrap();
        world.find_account(root, "bursar-reader").unwrap()
    });
    cloud.standin.with(|world| world.set_account_state(reader, State::Locked));
    bursar(&cloud.env, &["sync"]).await.refused(&["401", "locked", "bursar check"]);
    cloud.standin.with(|world| world.set_account_state(reader, State::Enabled));
    assert_eq!(row_counts(&cloud).await, before);

    cloud.standin.with(|world| world.faults().push(Fault::any(1, FaultKind::Status(503))));
    bursar(&cloud.env, &["sync"]).await.refused(&["503", "again"]);

    let right = cloud.clock.now();
    cloud.clock.advance(Duration::from_hours(1));
    bursar(&cloud.env, &["sync"]).await.refused(&["401", "the clock of this machine", "bursar check"]);
    let report = bursar(&cloud.env, &["check"]).await;
    let is_measured = report.out.contains("CloudStack's clock is ahead") && report.out.contains("time service");
    assert!(report.code != 0 && is_measured, "{}{}", report.out, report.err);
    cloud.standin.with(|world| world.set_configuration("enforce.post.requests.and.timestamps", "true"));
    cloud.clock.set(Timestamp::from_ms(right.as_ms() - 3_600_000));
    bursar(&cloud.env, &["sync"]).await.refused(&["401", "the clock of this machine", "bursar check"]);
    cloud.clock.set(right);
    cloud.standin.with(|world| world.set_configuration("enforce.post.requests.and.timestamps", "false"));
    assert_eq!(row_counts(&cloud).await, before);
    assert_eq!(bursar(&cloud.env, &["sync"]).await.code, 0, "once all is right, it works");
}

#[tokio::test]
async fn an_api_that_the_role_lacks_is_named() {
    let cloud = cloud(sqlite()).await;
    let (api_key, secret_key) = cloud.standin.with(|world| {
        let rules: Vec<(&str, bool)> = crate::harness::READER
            .iter()
            .filter(|api| **api != "listUsageRecords")
            .map(|api| (*api, true))
            .chain([("*", false)])
            .collect();
        let role = world.add_role("half-a-reader", RoleKind::Admin, &rules);
        world.add_service_account("half-a-reader", role)
    });
    let before = row_counts(&cloud).await;
    let env = with(
        &cloud.env,
        &[("CLOUDSTACK_READER_API_KEY", &api_key), ("CLOUDSTACK_READER_SECRET_KEY", secret_key.expose())],
    );
    bursar(&env, &["sync"]).await.refused(&["listUsageRecords", "role", "docs/install.md"]);
    let after = row_counts(&cloud).await;
    let money = |counts: &[(&'static str, i64)]| {
        counts.iter().filter(|(t, _)| *t != "account" && *t != "hold").copied().collect::<Vec<_>>()
    };
    assert_eq!(money(&after), money(&before), "the accounts are mirrored already, and nothing else happened");
}

#[tokio::test]
async fn a_place_that_can_not_be_written_is_named() {
    let cloud = cloud(sqlite()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "not a folder").unwrap();
    let below = file.join("data");
    let env = elsewhere(&cloud.env, &below, &[]);
    for arguments in [&["account", "list"][..], &["sync"], &["serve"], &["verify"]] {
        bursar(&env, arguments).await.refused(&["a-file/data", "write access", "data directory"]);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a folder");

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bursar.db")).unwrap();
    let env = elsewhere(&cloud.env, folder.path(), &[]);
    bursar(&env, &["account", "list"]).await.refused(&["bursar.db", "can not be written", "data directory"]);

    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("bursar.db");
    let noise: Vec<u8> = (0..8_192_u32).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
    std::fs::write(&damaged, &noise).unwrap();
    let env = elsewhere(&cloud.env, folder.path(), &[]);
    for arguments in [&["account", "list"][..], &["sync"], &["serve"]] {
        bursar(&env, arguments).await.refused(&["bursar.db", "damaged or not a database", "backup"]);
    }
    assert_eq!(std::fs::read(&damaged).unwrap(), noise, "what is left of it is not touched");
}

#[tokio::test]
async fn a_database_whose_pages_were_overwritten_is_damaged() {
    let cloud = cloud(sqlite()).await;
    assert_eq!(bursar(&cloud.env, &["sync"]).await.code, 0);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("bursar.db");
    assert_eq!(bursar(&cloud.env, &["backup", copy.to_str().unwrap()]).await.code, 0);
    let mut bytes = std::fs::read(&copy).unwrap();
    // The first page stays: it is a database, of which everything else is noise.
    for byte in bytes.iter_mut().skip(4_096) {
        *byte = 0xa5;
    }
    std::fs::write(&copy, &bytes).unwrap();
    let env = elsewhere(&cloud.env, folder.path(), &[]);
    bursar(&env, &["account", "list"]).await.refused(&["damaged", "backup"]);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let checksum = if cloud.database.url.is_some() { "'\\x00'" } else { "x'00'" };
        let success = if cloud.database.url.is_some() { "true" } else { "1" };
        run_sql(
            &cloud,
            &format!(
                "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
                 values (9999, 'from the future', {success}, {checksum}, 1)"
            ),
        )
        .await;
        let before = row_counts(&cloud).await;
        for arguments in [&["account", "list"][..], &["sync"], &["serve"]] {
            bursar(&cloud.env, arguments).await.refused(&["newer bursar", "9999", "nothing was changed"]);
        }
        assert_eq!(row_counts(&cloud).await, before);
        assert_eq!(count(&cloud, "_sqlx_migrations where version = 9999").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_postgresql_that_can_not_be_reached_is_named_without_its_password() {
    let cloud = cloud(sqlite()).await;
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = format!("postgres://bursar:EXAMPLE-PASSWORD@127.0.0.1:{port}/bursar");
    let told = bursar(&with(&cloud.env, &[("STORE_URL", &url)]), &["account", "list"]).await;
    let text = told.refused(&["database can not be reached", "[store] url"]);
    assert!(!text.contains("EXAMPLE-PASSWORD"), "{text}");
}

#[tokio::test]
async fn a_wrong_price_book_is_told_line_by_line_and_prices_nothing() {
    let cloud = cloud(sqlite()).await;
    assert_eq!(bursar(&cloud.env, &["sync"]).await.code, 0);
    let before = row_counts(&cloud).await;
    let tariff = "[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\n";
    let gap = format!(
        "{}{tariff}price = \"0.10\"\nuntil = \"2026-11-05\"\n\n{tariff}price = \"0.12\"\nfrom = \"2026-11-09\"\n",
        "currency = \"EUR\"\n\n"
    );
    let wrong = [
        ("gap", gap, vec!["line ", "2026-11-05", "2026-11-09"]),
        ("type", PRICES.replace("running-vm", "runing-vm"), vec!["line ", "runing-vm", "running-vm"]),
        ("float", PRICES.replace("\"0.10\"", "0.10"), vec!["line 8", "not in quotes", "price = \"0.02\""]),
        ("currency", PRICES.replace("EUR", "USD"), vec!["USD", "EUR"]),
        ("negative", PRICES.replace("\"0.10\"", "\"-0.10\""), vec!["line ", "-0.10"]),
        ("toml", PRICES.replace("[[tariff]]", "[[tariff"), vec!["line "]),
    ];
    for (name, text, words) in &wrong {
        let file = cloud.database.folder.path().join(format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        let mut words = words.clone();
        let shown = format!("{name}.toml");
        words.push(&shown);
        bursar(&cloud.env, &["price", "check", file.to_str().unwrap()]).await.refused(&words);
        let env = with(&cloud.env, &[("BILLING_PRICE_BOOK", file.to_str().unwrap())]);
        bursar(&env, &["rate"]).await.refused(&words);
        bursar(&env, &["preview", "--from", "2026-11-01", "--to", "2026-12-01"]).await.refused(&words);
    }
    let env = with(&cloud.env, &[("BILLING_PRICE_BOOK", "/nowhere/prices.toml")]);
    bursar(&env, &["rate"]).await.refused(&["/nowhere/prices.toml", "bursar price init"]);
    bursar(&env, &["price", "check"]).await.refused(&["/nowhere/prices.toml", "bursar price init"]);
    assert_eq!(row_counts(&cloud).await, before);
}

#[tokio::test]
async fn amounts_and_accounts_that_make_no_sense_change_nothing() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        assert_eq!(bursar(&cloud.env, &["sync"]).await.code, 0);
        let before = row_counts(&cloud).await;
        let say =
            async |arguments: &[&str], words: &[&str]| bursar(&cloud.env, arguments).await.refused(words).to_owned();
        for amount in ["-5", "0"] {
            say(&["payment", "add", "bob", amount], &["payment", "above zero"]).await;
            say(&["grant", "add", "bob", amount], &["above zero"]).await;
        }
        say(&["account", "limit", "bob", "-5"], &["can not be negative", "0 is prepaid", "nothing was changed"]).await;
        for command in [&["payment", "add"][..], &["grant", "add"], &["account", "limit"]] {
            for (amount, word) in [
                ("12,50", "104.20"),
                ("1e3", "104.20"),
                ("ten", "104.20"),
                ("0.1234567", "six decimals"),
                ("99999999999999999999", "beyond"),
                ("9999999999999", "beyond"),
            ] {
                let arguments = [command, &["bob", amount]].concat();
                say(&arguments, &[word]).await;
            }
            say(&[command, &["nobody", "5"]].concat(), &["no account is called \"nobody\"", "bursar account list"])
                .await;
            say(&[command, &["twin", "5"]].concat(), &["ROOT/acme/twin", "ROOT/umbrella/twin", "in full"]).await;
        }
        say(&["grant", "add", "bob", "5", "--until", "tomorrow"], &["tomorrow", "2026-12-31"]).await;
        say(&["account", "show", "nobody"], &["no account is called"]).await;
        say(&["account", "show", "twin"], &["ROOT/acme/twin", "ROOT/umbrella/twin"]).await;
        say(&["hold", "adopt", "bob", "--as", "billing"], &["ROOT/bob", "no suspension to adopt"]).await;
        say(&["key", "request", "bursar-reader", "--purpose", "x"], &["bursar-reader"]).await;
        say(&["key", "approve", "4711"], &["4711"]).await;
        say(&["key", "show", "4711"], &["4711"]).await;
        say(&["token", "revoke", "nothing"], &["nothing"]).await;
        say(&["user", "map", "not-a-user", "bob"], &["not-a-user", "bursar user list"]).await;
        say(&["rate", "--from", "yesterday"], &["yesterday", "2026-11-01"]).await;
        say(&["preview", "--from", "2026-12-01", "--to", "2026-11-01"], &["--to", "--from"]).await;

        let csv = cloud.database.folder.path().join("limits.csv");
        let file = csv.to_str().unwrap();
        for (text, words) in [
            ("account,limit\nROOT/bob,10\nROOT/carol\n", vec!["line 3", "ROOT/carol", "nothing was changed"]),
            ("account,limit\nROOT/bob,10\nROOT/carol,-1\n", vec!["ROOT/carol", "negative", "nothing was changed"]),
            ("account,limit\nROOT/bob,10\nnobody,1\n", vec!["nobody", "nothing was changed"]),
            ("account,limit\nROOT/bob,10\nROOT/bob,11\n", vec!["ROOT/bob", "twice", "nothing was changed"]),
            ("account,limit\n", vec!["limits.csv", "no account"]),
        ] {
            std::fs::write(&csv, text).unwrap();
            say(&["account", "limit", "--csv", file], &words).await;
        }
        say(&["account", "limit", "--csv", "/nowhere/limits.csv"], &["/nowhere/limits.csv"]).await;
        assert_eq!(row_counts(&cloud).await, before, "on {}", cloud.database.kind);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_configuration_is_told_where_it_stands() {
    let cloud = cloud(sqlite()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bursar.toml");
    std::fs::write(&file, "[billing]\ncurrency = \"EUR\"\nlook_back = 3\n").unwrap();
    let path = file.to_str().unwrap();
    for arguments in [&["config", "check"][..], &["account", "list"], &["check"], &["sync"]] {
        let arguments = [&["--config", path], arguments].concat();
        bursar(&cloud.env, &arguments).await.refused(&["bursar.toml:3", "look_back"]);
    }
    let env = with(&cloud.env, &[("BILLING_CURENCY", "EUR")]);
    bursar(&env, &["config", "check"]).await.refused(&["BURSAR_BILLING_CURENCY", "BURSAR_BILLING_CURRENCY"]);
    let mut env = cloud.env.clone();
    env.remove("BURSAR_CLOUDSTACK_READER_SECRET_KEY");
    let text = bursar(&env, &["config", "check"]).await;
    let text = text.refused(&["cloudstack.reader", "secret_key"]).to_owned();
    assert!(!text.contains(&cloud.env["BURSAR_CLOUDSTACK_READER_API_KEY"]), "{text}");
    let mut env = cloud.env.clone();
    for half in ["API", "SECRET"] {
        env.remove(&format!("BURSAR_CLOUDSTACK_READER_{half}_KEY"));
        env.remove(&format!("BURSAR_CLOUDSTACK_ENFORCER_{half}_KEY"));
    }
    bursar(&env, &["sync"]).await.refused(&["[cloudstack.reader]", "bursar init"]);
    env.remove("BURSAR_CLOUDSTACK_URL");
    bursar(&env, &["sync"]).await.refused(&["[cloudstack] url", "bursar init"]);
    bursar(&cloud.env, &["--config", "/nowhere/bursar.toml", "sync"]).await.refused(&["/nowhere/bursar.toml"]);
    // The command line itself: clap's words, and its exit status.
    for wrong in [&["acount", "list"][..], &["account", "limit", "bob"], &["hold", "adopt", "bob", "--as", "friend"]] {
        let told = bursar(&cloud.env, wrong).await;
        assert!(told.code == 2 && told.err.contains("Usage:") || told.err.contains("possible values"), "{}", told.err);
    }
}

#[tokio::test]
async fn data_of_another_cloud_is_refused() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        assert_eq!(bursar(&cloud.env, &["sync"]).await.code, 0);
        let before = row_counts(&cloud).await;
        let env = with(&cloud.env, &[("CLOUDSTACK_URL", "https://other.example.com/client/api")]);
        for arguments in [&["sync"][..], &["account", "list"], &["enforce"], &["payment", "add", "bob", "5"]] {
            bursar(&env, arguments).await.refused(&[
                "https://other.example.com/client/api",
                cloud.env["BURSAR_CLOUDSTACK_URL"].as_str(),
                "data directory",
                "nothing was changed",
            ]);
        }
        assert_eq!(row_counts(&cloud).await, before);
    })
    .await;
}
