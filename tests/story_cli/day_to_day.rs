//! The commands of every day, and their results for scripts.

use std::collections::BTreeMap;

use bursar::time::{Clock as _, Day};
use serde_json::Value;

use super::{Ran, bursar, cloud, count};
use crate::harness::{Cloud, Database, on_each_database};

/// Runs commands, keeps everything they said, and looks for secrets in it.
struct Desk<'a> {
    env: &'a BTreeMap<String, String>,
    said: std::cell::RefCell<String>,
}

impl Desk<'_> {
    async fn run(&self, arguments: &[&str]) -> Ran {
        let ran = bursar(self.env, arguments).await;
        self.said.borrow_mut().push_str(&format!("{arguments:?}\n{}\n{}\n", ran.out, ran.err));
        ran
    }

    /// The result of a command that succeeds, as JSON; for people it has words too.
    async fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[&["--json"], arguments].concat()).await.json()
    }

    async fn text(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        ran.out
    }

    /// No secret of the configuration is in anything that was said.
    fn no_secret_was_told(&self) {
        let said = self.said.borrow();
        for (name, value) in self.env.iter().filter(|(name, _)| name.ends_with("SECRET_KEY")) {
            assert!(!said.contains(value), "{name} was told");
        }
    }
}

fn line<'a>(list: &'a Value, account: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|line| line["account"] == account).unwrap()
}

#[tokio::test]
async fn every_day_with_sync_rate_limits_and_money() {
    on_each_database(|database| async {
        let mut env_log = BTreeMap::new();
        let cloud = cloud(database).await;
        env_log.clone_from(&cloud.env);
        // The most talkative log, which is where secrets would slip out.
        env_log.insert("BURSAR_LOG_LEVEL".to_owned(), "trace".to_owned());
        let desk = Desk { env: &env_log, said: std::cell::RefCell::default() };
        assert!(desk.text(&["account", "list"]).await.contains("bursar sync"), "what to do first");

        let synced = desk.json(&["sync"]).await;
        assert!(synced["directory"]["accounts"].as_u64().unwrap() >= 6, "{synced}");
        assert!(synced["usage"]["new_records"].as_u64().unwrap() > 0, "{synced}");
        preview_stores_nothing(&desk, &cloud).await;
        let rated = desk.json(&["rate"]).await;
        assert!(rated["posted"]["transfers"].as_u64().unwrap() > 0, "{rated}");
        assert_eq!(desk.json(&["rate"]).await["posted"]["transfers"], 0, "the same again changes nothing");

        let list = desk.json(&["account", "list"]).await;
        assert_eq!(line(&list, "ROOT/bob")["managed"], false);
        money(&desk, &cloud).await;
        limits(&desk, &cloud).await;

        let report = desk.json(&["enforce", "--dry-run"]).await;
        assert_eq!(report["dry_run"], true);
        assert_eq!(
            report["decisions"].as_array().unwrap().len(),
            usize::try_from(count(&cloud, "decision").await).unwrap()
        );
        // Of a line an account the run's record keeps how many there were of each outcome.
        let runs = desk.json(&["runs", "enforce"]).await;
        let kept: Value = serde_json::from_str(runs[0]["detail"].as_str().unwrap()).unwrap();
        let counts = kept["decided"].as_object().unwrap().values().map(|count| count.as_u64().unwrap());
        let accounts = u64::try_from(report["decisions"].as_array().unwrap().len()).unwrap();
        assert_eq!(counts.sum::<u64>(), accounts, "{kept}");
        assert_eq!((kept.get("decisions"), &kept["dry_run"]), (None, &report["dry_run"]), "{kept}");
        let shown = desk.json(&["account", "show", "bob"]).await;
        assert_eq!(shown["account"]["account"], "ROOT/bob");
        assert!(!shown["transfers"].as_array().unwrap().is_empty(), "{shown}");
        assert_eq!(shown["decisions"].as_array().unwrap().len(), 1, "{shown}");
        let id = shown["account"]["cloud_id"].as_str().unwrap();
        assert_eq!(desk.json(&["account", "show", id]).await["account"]["account"], "ROOT/bob");
        assert!(desk.text(&["account", "show", "ROOT/bob"]).await.contains("ROOT/bob"));

        holds(&desk, &cloud).await;
        people(&desk).await;
        history(&desk).await;
        let verified = desk.json(&["verify"]).await;
        assert_eq!(verified["findings"], Value::Array(Vec::new()));
        assert!(desk.text(&["verify"]).await.contains("Everything agrees"));
        desk.no_secret_was_told();
    })
    .await;
}

async fn preview_stores_nothing(desk: &Desk<'_>, cloud: &Cloud) {
    let today = Day::of(cloud.clock.now(), chrono_tz::UTC).unwrap();
    let (from, to) =
        (Day::from_number(today.number() - 4).to_string(), Day::from_number(today.number() + 1).to_string());
    let preview = desk.json(&["preview", "--from", &from, "--to", &to]).await;
    let bob = preview["payers"].as_array().unwrap().iter().find(|line| line["payer"].as_str().unwrap().contains("bob"));
    assert!(bob.unwrap()["net"].as_str().unwrap().parse::<rust_decimal::Decimal>().unwrap().is_sign_positive());
    assert_ne!(bob.unwrap()["net"], "0.00", "{preview}");
    assert!(desk.text(&["preview", "--from", &from, "--to", &to]).await.contains("Nothing was stored"));
    for table in ["charge_day", "transfer", "decision", "notice"] {
        assert_eq!(count(cloud, table).await, 0, "{table}");
    }
}

async fn money(desk: &Desk<'_>, cloud: &Cloud) {
    let before = count(cloud, "transfer").await;
    let paid = desk.json(&["payment", "add", "bob", "50.00", "--reference", "statement 17", "--key", "bank-17"]).await;
    assert_eq!((paid["account"].as_str(), paid["total"].as_str()), (Some("ROOT/bob"), paid["total"].as_str()));
    let again = desk.json(&["payment", "add", "bob", "50.00", "--reference", "statement 17", "--key", "bank-17"]).await;
    assert_eq!(again, paid, "the same key counts once");
    assert_eq!(count(cloud, "transfer").await, before + 1);
    let other = desk.run(&["payment", "add", "bob", "51.00", "--key", "bank-17"]).await;
    other.refused(&["bank-17"]);
    let other = desk.run(&["payment", "add", "carol", "50.00", "--key", "bank-17"]).await;
    other.refused(&["bank-17"]);
    assert_eq!(count(cloud, "transfer").await, before + 1);

    let grant = ["grant", "add", "carol", "20", "--until", "2999-01-01", "--key", "welcome", "--reason", "welcome"];
    let given = desk.json(&grant).await;
    assert_eq!(desk.json(&grant).await, given);
    for wrong in [["bob", "20"], ["carol", "21"]] {
        let other = desk.run(&["grant", "add", wrong[0], wrong[1], "--key", "welcome"]).await;
        other.refused(&["welcome", "used before"]);
    }
    assert_eq!(count(cloud, "credit_grant").await, 1);
    let opened = desk.json(&["account", "opening", "dave", "-7.50"]).await;
    assert_eq!(opened["account"], "ROOT/dave");
    let twice = desk.run(&["account", "opening", "dave", "-8.50"]).await;
    twice.refused(&["opening"]);
}

async fn limits(desk: &Desk<'_>, cloud: &Cloud) {
    let limits = |list: &Value| count_limits(list);
    let set = desk.json(&["account", "limit", "bob", "100.00", "--reason", "contract 7"]).await;
    assert_eq!((set[0]["before"].as_str(), set[0]["after"].as_str()), (None, Some("100.00")));
    let rehearsed = desk.json(&["account", "limit", "bob", "5", "--dry-run"]).await;
    assert_eq!(rehearsed[0]["changed"], true);
    let list = desk.json(&["account", "list"]).await;
    assert_eq!(line(&list, "ROOT/bob")["limit"], "100.00", "a rehearsal changes nothing");
    assert_eq!(limits(&list), 1);

    let csv = cloud.database.folder.path().join("limits.csv");
    std::fs::write(&csv, "account,limit\nROOT/bob,120\n\"ROOT/acme/twin\",0\r\ncarol,none\n").unwrap();
    let file = csv.to_str().unwrap();
    let rehearsed = desk.json(&["account", "limit", "--csv", file, "--dry-run"]).await;
    assert_eq!(rehearsed.as_array().unwrap().len(), 3);
    assert_eq!(limits(&desk.json(&["account", "list"]).await), 1);
    assert!(desk.text(&["account", "limit", "--csv", file, "--dry-run"]).await.contains("nothing was changed"));
    desk.json(&["account", "limit", "--csv", file]).await;
    let list = desk.json(&["account", "list"]).await;
    assert_eq!(line(&list, "ROOT/bob")["limit"], "120.00");
    assert_eq!(line(&list, "ROOT/acme/twin")["limit"], "0.00");
    assert_eq!(line(&list, "ROOT/umbrella/twin")["limit"], Value::Null);
    assert_eq!(line(&list, "ROOT/carol")["managed"], false);
    let again = desk.json(&["account", "limit", "--csv", file]).await;
    assert!(again.as_array().unwrap().iter().all(|change| change["changed"] == false), "{again}");
}

fn count_limits(list: &Value) -> usize {
    list.as_array().unwrap().iter().filter(|line| !line["limit"].is_null()).count()
}

async fn holds(desk: &Desk<'_>, cloud: &Cloud) {
    let holds = desk.json(&["hold", "list"]).await;
    assert_eq!((holds.as_array().unwrap().len(), holds[0]["owner"].as_str()), (1, Some("before")), "{holds}");
    assert!(desk.text(&["hold", "list"]).await.contains("ROOT/mallory"));
    let adopted = desk.json(&["hold", "adopt", "mallory", "--as", "abuse"]).await;
    assert_eq!(adopted["held_by"], "abuse");
    assert_eq!(desk.json(&["hold", "list"]).await[0]["owner"], "abuse");
    desk.run(&["hold", "adopt", "mallory", "--as", "billing"]).await.refused(&["no suspension to adopt"]);
    assert!(count(cloud, "hold").await >= 1);
    assert!(desk.json(&["notice"]).await.is_array());
    assert!(desk.json(&["notice", "bob"]).await.is_array());
    for words in [&["review"][..], &["review", "list", "--all", "--kind", "overlap"], &["quarantine"]] {
        assert!(desk.json(words).await["items"].is_array());
    }
    assert!(desk.json(&["review", "rule", "list"]).await.is_array());
    desk.run(&["review", "show", "4711"]).await.refused(&["no review item 4711"]);
    desk.run(&["review", "release", "--reason", "all of it"]).await.refused(&["name an item"]);
}

async fn people(desk: &Desk<'_>) {
    let users = desk.json(&["user", "list"]).await;
    let carol = users["users"].as_array().unwrap().iter().find(|user| user["username"] == "carol").unwrap();
    let id = carol["cloud_id"].as_str().unwrap();
    let mapped = desk.json(&["user", "map", id, "bob", "--role", "finance"]).await;
    assert_eq!((mapped["account"].as_str(), mapped["role"].as_str()), (Some("ROOT/bob"), Some("finance")));
    assert_eq!(desk.json(&["user", "list"]).await["mapped"].as_array().unwrap().len(), 1);
    let text = desk.text(&["user", "list"]).await;
    assert!(text.contains("finance") && text.contains("carol"), "{text}");
}

async fn history(desk: &Desk<'_>) {
    let runs = desk.json(&["runs"]).await;
    let jobs: Vec<&str> = runs.as_array().unwrap().iter().filter_map(|run| run["job"].as_str()).collect();
    for job in ["sync", "rate", "enforce"] {
        assert!(jobs.contains(&job), "{jobs:?}");
    }
    assert!(desk.json(&["runs", "sync"]).await.as_array().unwrap().iter().all(|run| run["job"] == "sync"));
    let audit = desk.json(&["audit"]).await;
    let lines = audit.as_array().unwrap();
    for action in ["hold.adopt", "user.map"] {
        let line = lines.iter().find(|line| line["action"] == action).unwrap();
        assert_eq!(line["actor"], "cli:carol");
    }
    assert!(desk.text(&["audit", "ROOT/mallory"]).await.contains("hold.adopt"));
}

#[tokio::test]
async fn the_price_book_begins_as_what_the_cloud_uses() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = cloud(Database { kind: "SQLite", folder, url: None }).await;
    let desk = Desk { env: &cloud.env, said: std::cell::RefCell::default() };
    let path = cloud.database.folder.path().join("first.toml");
    let file = path.to_str().unwrap();
    desk.run(&["price", "init", file]).await.refused(&["bursar sync"]);
    assert!(!path.exists());
    desk.json(&["sync"]).await;
    let made = desk.json(&["price", "init", file]).await;
    assert!(made["types"].as_u64().unwrap() >= 3, "{made}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("running-vm") && text.contains("Small Instance"), "{text}");
    let checked = desk.json(&["price", "check", file]).await;
    assert_eq!(checked["blank"], checked["tariffs"], "the written book is right, with blank prices only: {checked}");
    desk.run(&["price", "init", file]).await.refused(&["first.toml", "never overwritten"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let shown = desk.text(&["price", "show"]).await;
    assert!(shown.contains("running-vm") && shown.contains("0.10"), "{shown}");
    assert!(desk.json(&["price", "show"]).await.to_string().contains("running-vm"));
    assert_eq!(desk.json(&["price", "check"]).await["blank"], 0);
}

#[tokio::test]
async fn a_key_is_shown_once_and_ends_with_its_user() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let desk = Desk { env: &cloud.env, said: std::cell::RefCell::default() };
        desk.json(&["sync"]).await;
        let id = desk.json(&["key", "request", "bob", "--purpose", "backups", "--days", "30"]).await["id"].to_string();
        let row = &desk.json(&["key", "list"]).await[0];
        assert_eq!((row["account"].as_str(), row["days"].as_i64()), (Some("ROOT/bob"), Some(30)));
        desk.run(&["key", "show", &id]).await.refused(&[&id]);
        desk.json(&["key", "approve", &id, "--message", "welcome"]).await;
        let pair = desk.json(&["key", "show", &id]).await;
        let secret = pair["secret_key"].as_str().unwrap().to_owned();
        assert!(secret.len() > 20 && !pair["api_key"].as_str().unwrap().is_empty());
        let again = desk.run(&["key", "show", &id]).await;
        assert!(!again.refused(&["shown before", "Revoke"]).contains(&secret));
        for command in [&["key", "list"][..], &["audit"], &["runs"], &["user", "list"]] {
            let told = desk.text(&[&["--json"], command].concat()).await;
            assert!(!told.contains(&secret), "{command:?}");
        }
        let user = desk.json(&["key", "list"]).await[0]["user"].as_str().unwrap().to_owned();
        let find = || {
            cloud.standin.with(|world| {
                let root = world.find_domain("ROOT").unwrap();
                world.find_user(root, &user)
            })
        };
        assert!(find().is_some(), "{user} is CloudStack's");
        desk.json(&["key", "revoke", &id]).await;
        assert!(find().is_none(), "{user} has gone");
        let second = desk.json(&["key", "request", "bob", "--purpose", "again"]).await["id"].to_string();
        desk.json(&["key", "deny", &second, "--message", "not now"]).await;
        desk.run(&["key", "approve", &second]).await.refused(&["denied"]);
        desk.no_secret_was_told();
    })
    .await;
}

#[tokio::test]
async fn keys_are_rotated_adopted_checked_and_self_service_is_closed_by_command() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let (bob, own_secret) = cloud.standin.with(|world| {
            for role in ["bursar-reader", "bursar-enforcer"] {
                let role = world.find_role(role).unwrap();
                world.add_first_rule(role, "listRole*", true);
            }
            let bob = world.find_user(world.root_domain(), "bob").unwrap();
            (bob, world.register_keys(bob).1)
        });
        // The most talkative log, which is where secrets would slip out.
        let mut env = cloud.env.clone();
        env.insert("BURSAR_LOG_LEVEL".to_owned(), "trace".to_owned());
        let desk = Desk { env: &env, said: std::cell::RefCell::default() };
        desk.json(&["sync"]).await;
        let id = desk.json(&["key", "request", "bob", "--purpose", "backups", "--days", "30"]).await["id"].to_string();
        desk.json(&["key", "approve", &id, "--days", "20", "--purpose", "backups only"]).await;
        let details = desk.json(&["key", "details", &id]).await;
        assert_eq!((details["days"].as_i64(), details["purpose"].as_str()), (Some(20), Some("backups only")));
        assert_eq!(details["approvals"][0]["admin"], "cli:carol");
        let text = desk.text(&["key", "details", &id]).await;
        assert!(text.contains("backups only") && text.contains("Approved         by cli:carol"), "{text}");
        desk.run(&["key", "list", "--state", "granted"]).await.refused(&["granted", "requested, approved, denied"]);
        assert_eq!(desk.json(&["key", "list", "--account", "carol"]).await.as_array().unwrap().len(), 0);
        let first = desk.json(&["key", "show", &id]).await["secret_key"].as_str().unwrap().to_owned();
        desk.run(&["key", "rotate", "4711"]).await.refused(&["4711"]);
        let second = desk.json(&["key", "rotate", &id]).await["id"].to_string();
        desk.run(&["key", "rotate", &id]).await.refused(&["replaced by request", &second]);
        let pair = desk.json(&["key", "show", &second]).await;
        assert_ne!(pair["secret_key"].as_str().unwrap(), first);
        let listed = desk.json(&["key", "adopt", "bob"]).await;
        assert!(listed.as_array().unwrap().iter().any(|one| one["username"] == "bob"), "{listed}");
        desk.run(&["key", "adopt", "bob", "nobody"]).await.refused(&["nobody", "bursar key adopt ROOT/bob"]);
        let adopted = desk.json(&["key", "adopt", "bob", "bob", "--days", "5"]).await["id"].to_string();
        assert_eq!(desk.json(&["key", "details", &adopted]).await["kind"], "adopted");
        let checked = desk.json(&["key", "check"]).await;
        assert_eq!(checked["audited"]["unchanged"], 3, "{checked}");
        let rules = desk.text(&["key", "rules"]).await;
        assert!(rules.contains("registerUserKeys") && rules.contains("cmk create role"), "{rules}");
        let preview = desk.text(&["key", "self-service", "close", "carol"]).await;
        assert!(preview.contains("Nothing was changed") && preview.contains("carol"), "{preview}");
        assert!(desk.json(&["key", "self-service", "list"]).await.as_array().unwrap().is_empty());
        desk.run(&["key", "self-service", "open", "carol"]).await.refused(&["not closed by bursar"]);
        desk.json(&["key", "self-service", "close", "carol", "--yes"]).await;
        assert_eq!(desk.json(&["key", "self-service", "list"]).await[0]["account"], "ROOT/carol");
        assert!(desk.text(&["key", "self-service", "open", "carol"]).await.contains("inherit"));
        desk.json(&["key", "self-service", "open", "carol", "--yes"]).await;
        assert!(desk.json(&["key", "self-service", "list"]).await.as_array().unwrap().is_empty());
        let whole = desk.text(&["key", "self-service", "close", "--domain", "ROOT"]).await;
        for says in ["Nothing was changed", "ROOT/carol", "Left out", "ROOT is the whole cloud"] {
            assert!(whole.contains(says), "{says} is missing in {whole}");
        }
        let unknown = ["key", "self-service", "close", "--domain", "ROOT/nowhere"];
        desk.run(&unknown).await.refused(&["no domain", "ROOT/nowhere"]);
        desk.run(&["key", "self-service", "open", "--domain", "ROOT"]).await.refused(&["no account of ROOT"]);
        desk.json(&["key", "self-service", "close", "--domain", "ROOT", "--keep", "ROOT/carol/carol", "--yes"]).await;
        assert!(desk.text(&["key", "self-service", "open", "--domain", "ROOT"]).await.contains("ROOT/carol"));
        desk.json(&["key", "self-service", "open", "--domain", "ROOT", "--yes"]).await;
        assert!(desk.json(&["key", "self-service", "list"]).await.as_array().unwrap().is_empty());
        desk.json(&["key", "revoke", &adopted]).await;
        for command in [&["key", "list"][..], &["audit"], &["runs"]] {
            desk.text(&[&["--json"], command].concat()).await;
        }
        // Results and logs of all of it: only `key show` tells a secret, and bob's own is told by nothing.
        let said = desk.said.borrow().clone();
        assert_eq!((said.matches(&first).count(), said.matches(own_secret.expose()).count()), (1, 0));
        assert!(cloud.standin.with(|world| world.find_user(world.root_domain(), "bob")) == Some(bob));
        desk.no_secret_was_told();
    })
    .await;
}

#[tokio::test]
async fn tokens_are_shown_once_and_end_at_once() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let desk = Desk { env: &cloud.env, said: std::cell::RefCell::default() };
        let made = desk.json(&["token", "create", "portal", "--write"]).await;
        let token = made["token"].as_str().unwrap().to_owned();
        assert!(token.starts_with("bursar_"), "{made}");
        desk.run(&["token", "create", "portal"]).await.refused(&["portal", "another name"]);
        let listed = desk.text(&["--json", "token", "list"]).await;
        assert!(listed.contains("portal") && !listed.contains(&token), "{listed}");
        desk.json(&["token", "revoke", "portal"]).await;
        assert!(!desk.text(&["token", "list"]).await.contains("portal"));
        desk.run(&["token", "revoke", "portal"]).await.refused(&["portal", "bursar token list"]);
    })
    .await;
}

#[tokio::test]
async fn a_backup_comes_back_as_it_was() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let desk = Desk { env: &cloud.env, said: std::cell::RefCell::default() };
        desk.json(&["sync"]).await;
        desk.json(&["rate"]).await;
        desk.json(&["payment", "add", "bob", "50"]).await;
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("bursar.db");
        let file = copy.to_str().unwrap();
        if cloud.database.url.is_some() {
            desk.run(&["backup", file]).await.refused(&["pg_dump", "docs/backup.md"]);
            assert!(!copy.exists());
            return;
        }
        desk.json(&["backup", file]).await;
        desk.run(&["backup", file]).await.refused(&["bursar.db", "name a new file"]);
        desk.run(&["backup", "/nowhere/bursar.db"]).await.refused(&["/nowhere/bursar.db"]);
        let mut restored = cloud.env.clone();
        restored.insert("BURSAR_STORE_DATA_DIR".to_owned(), folder.path().display().to_string());
        let there = Desk { env: &restored, said: std::cell::RefCell::default() };
        assert_eq!(there.json(&["account", "list"]).await, desk.json(&["account", "list"]).await);
        assert_eq!(there.json(&["verify"]).await["findings"], Value::Array(Vec::new()));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).unwrap().permissions()) & 0o777;
        assert_eq!(mode, 0o600, "names and balances are for bursar's user only");
    })
    .await;
}

/// What the documents tell people to type. Each is the text between two backticks, or an indented line.
fn typed(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let spans: Vec<&str> = match line.strip_prefix("    ") {
            Some(code) => vec![code],
            None => line.split('`').skip(1).step_by(2).collect(),
        };
        for span in spans {
            for part in span.split(['|', ';', '&', '(']) {
                let words: Vec<&str> = part.split_whitespace().collect();
                if let Some(at) = words.iter().rposition(|word| *word == "bursar" || word.ends_with("/bursar")) {
                    found.push(words[at + 1..].join(" "));
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn the_documents_name_commands_and_flags_that_there_are() {
    let reference = bursar(&BTreeMap::new(), &["reference"]).await.out;
    // Sections by command: "## `bursar account limit`" and what stands below it.
    let mut sections = BTreeMap::new();
    for section in reference.split("\n#").skip(1) {
        let name = section.split('`').nth(1).unwrap_or_default();
        sections.insert(name.strip_prefix("bursar ").unwrap_or_default().to_owned(), section.to_owned());
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut seen = 0;
    let documents = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for file in documents.chain(["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|name| root.join(name))) {
        if file.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        for command in typed(&std::fs::read_to_string(&file).unwrap()) {
            let mut words = command.split(' ').filter(|word| !word.is_empty()).peekable();
            while words
                .next_if(|word| word.starts_with("--"))
                .is_some_and(|word| word == "--config" && words.next().is_some())
            {}
            let Some(first) = words.next().filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) else {
                continue;
            };
            let words: Vec<&str> = words.collect();
            // The longest that is a command: `key`, `key self-service`, `key self-service close`.
            let name = (0..=words.len().min(2))
                .rev()
                .map(|count| [&[first], &words[..count]].concat().join(" "))
                .find(|name| sections.contains_key(name))
                .unwrap_or_else(|| first.to_owned());
            seen += 1;
            let Some(section) = sections.get(&name) else {
                wrong.push(format!("{}: bursar {command}: there is no such command", file.display()));
                continue;
            };
            for flag in words.iter().filter(|word| word.starts_with("--") && !["--json", "--config"].contains(word)) {
                let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
                if !section.contains(flag) {
                    wrong.push(format!("{}: bursar {command}: there is no {flag}", file.display()));
                }
            }
        }
    }
    assert!(seen > 20, "the documents were not found");
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = cloud(Database { kind: "SQLite", folder, url: None }).await;
    let desk = Desk { env: &cloud.env, said: std::cell::RefCell::default() };
    desk.text(&["config", "check"]).await;
    assert!(desk.json(&["config", "check"]).await["warnings"].is_array());
    let printed = desk.text(&["config", "print"]).await;
    assert!(printed.contains("BURSAR_CLOUDSTACK_URL") && printed.contains("currency"), "{printed}");
    desk.no_secret_was_told();
    assert!(desk.text(&["completions", "bash"]).await.contains("_bursar"));
    let reference = desk.text(&["reference"]).await;
    for command in ["bursar sync", "bursar account limit", "bursar key approve", "--dry-run"] {
        assert!(reference.contains(command), "{command}");
    }
    assert!(desk.text(&["config", "reference"]).await.contains("lookback_days"));
    assert!(desk.text(&["metrics", "reference"]).await.contains("bursar_"));
    assert!(desk.text(&["--help"]).await.contains("sync"));
}

#[tokio::test]
async fn a_program_asks_the_server_with_its_token_until_it_is_revoked() {
    on_each_database(|database| async {
        let cloud = cloud(database).await;
        let desk = Desk { env: &cloud.env, said: std::cell::RefCell::default() };
        desk.json(&["sync"]).await;
        let reads = desk.json(&["token", "create", "reader"]).await["token"].as_str().unwrap().to_owned();
        let writes = desk.json(&["token", "create", "portal", "--write"]).await["token"].as_str().unwrap().to_owned();
        let server = Server::start(&cloud.env).await;
        let (status, list) = server.ask("GET", "/api/v1/accounts", &reads, None).await;
        assert_eq!(status, 200, "{list}");
        let bob = list["accounts"].as_array().unwrap().iter().find(|line| line["name"] == "bob").unwrap();
        let payments = format!("/api/v1/accounts/{}/payments", bob["id"]);
        let body = serde_json::json!({ "amount": "50.00", "reference": "transfer 17" });
        let (status, answer) = server.ask("POST", &payments, &reads, Some(&body)).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (403, Some("scope")), "{answer}");
        for _ in 0..2 {
            let (status, answer) = server.ask("POST", &payments, &writes, Some(&body)).await;
            assert!(status == 200 || status == 201, "{status} {answer}");
        }
        assert_eq!(count(&cloud, "transfer where kind = 'payment'").await, 1, "the same key counts once");
        let (status, _) = server.ask("GET", "/api/v1/accounts", "bursar_wrong", None).await;
        assert_eq!(status, 401);
        desk.json(&["token", "revoke", "reader"]).await;
        let (status, _) = server.ask("GET", "/api/v1/accounts", &reads, None).await;
        assert_eq!(status, 401, "a revoked token ends at once");
        if cloud.database.url.is_none() {
            desk.run(&["serve"]).await.refused(&["another bursar", "PostgreSQL"]);
        }
        // A job at the command line is done by the server, on SQLite. On PostgreSQL the command works by itself, and is told
        // so while the server's own first sync is under way.
        let mut synced = desk.run(&["--json", "sync"]).await;
        for _ in 0..1_000 {
            if !synced.err.contains("is running since") {
                break;
            }
            synced = desk.run(&["--json", "sync"]).await;
        }
        assert!(synced.json()["directory"]["accounts"].as_u64().unwrap() >= 6);
        let log = server.stop().await;
        assert!(!log.contains(&reads) && !log.contains(&writes), "a token was logged");
        for (name, value) in cloud.env.iter().filter(|(name, _)| name.ends_with("SECRET_KEY")) {
            assert!(!log.contains(value), "{name} was logged");
        }
        desk.no_secret_was_told();
    })
    .await;
}

/// `bursar serve` at a port of its own.
struct Server {
    child: tokio::process::Child,
    address: std::net::SocketAddr,
    log: tempfile::NamedTempFile,
}

impl Server {
    async fn start(env: &BTreeMap<String, String>) -> Self {
        let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_bursar"))
            .arg("serve")
            .env_clear()
            .envs(env)
            .env("BURSAR_WEB_LISTEN", address.to_string())
            .env("BURSAR_LOG_LEVEL", "trace")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(log.reopen().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            let gone = child.try_wait().unwrap();
            assert!(gone.is_none(), "{gone:?}: {}", std::fs::read_to_string(log.path()).unwrap());
            tokio::task::yield_now().await;
        }
        Self { child, address, log }
    }

    /// One call; a body comes with an idempotency key that is the same each time.
    async fn ask(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: bank-17\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let json = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {answer}")))
    }

    /// Ends it as systemd does, and gives its log.
    async fn stop(mut self) -> String {
        let id = self.child.id().unwrap();
        let told = tokio::process::Command::new("kill").arg("-TERM").arg(id.to_string()).status().await.unwrap();
        assert!(told.success());
        let ended = self.child.wait().await.unwrap();
        let log = std::fs::read_to_string(self.log.path()).unwrap();
        assert!(ended.success(), "{ended}: {log}");
        log
    }
}
