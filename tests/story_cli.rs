//! The program as people meet it: the real binary as a process of its own, beside the stand-in.

mod day_to_day;
mod prices;
mod refusals;

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use bursar::{
    standin::{AccountKind, World},
    time::{Clock as _, Day, SystemClock, Timestamp},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::harness::{Cloud, Database, tenant};

const DAY: Duration = Duration::from_hours(24);

/// What a command said and how it ended.
pub struct Ran {
    /// Its exit status.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// The result as JSON, after a command that had to succeed.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {}", self.out))
    }

    /// What the program itself says on standard error: the one message, without log lines and progress.
    pub fn message(&self) -> &str {
        let begins: Vec<usize> = self.err.match_indices("bursar: ").map(|(at, _)| at).collect();
        let begins: Vec<usize> =
            begins.into_iter().filter(|at| *at == 0 || self.err.as_bytes()[at - 1] == b'\n').collect();
        assert_eq!(begins.len(), 1, "one message, not this: {}", self.err);
        self.err[begins[0] + "bursar: ".len()..].trim_end()
    }

    /// Ended with exit status 1 and one message that holds all of `words`, and nothing a programmer would say.
    pub fn refused(&self, words: &[&str]) -> &str {
        assert_eq!(self.code, 1, "{}{}", self.out, self.err);
        assert_eq!(self.out, "", "a refusal has no result");
        let message = self.message();
        for word in words {
            assert!(message.contains(word), "\"{word}\" is missing in: {message}");
        }
        for noise in ["Some(", "Err(", "Error {", "panicked", "unwrap", "RUST_BACKTRACE"] {
            assert!(!message.contains(noise), "\"{noise}\" is no word for people: {message}");
        }
        message
    }
}

/// Runs the binary with this configuration and nothing else in its environment.
pub async fn bursar(env: &BTreeMap<String, String>, arguments: &[&str]) -> Ran {
    bursar_with(env, arguments, "").await
}

/// The same with something on its standard input.
pub async fn bursar_with(env: &BTreeMap<String, String>, arguments: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bursar"))
        .args(arguments)
        .env_clear()
        .env("USER", "carol")
        .envs(env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A cloud whose clock stands at the machine's now, with three days of usage behind it: bob has a machine, carol and dave
/// have nothing, "twin" is in two domains, and mallory was locked before bursar came.
pub async fn cloud(database: Database) -> Cloud {
    let now = SystemClock.now().as_ms().div_euclid(1_000);
    let start = now - i64::try_from(DAY.as_secs()).unwrap() * 3;
    let mut cloud = Cloud::start(database, start, people).await;
    let first = Day::of(Timestamp::from_seconds(start), chrono_tz::UTC).unwrap();
    cloud.reconfigure("BILLING_START", &first.to_string()).await;
    cloud.pass(DAY * 3);
    cloud
}

fn people(world: &mut World) {
    let bob = tenant(world, "bob");
    tenant(world, "carol");
    tenant(world, "dave");
    let mallory = tenant(world, "mallory");
    world.lock_by_admin(mallory);
    let root = world.find_domain("ROOT").unwrap();
    for name in ["acme", "umbrella"] {
        let domain = world.add_domain(root, name);
        let twin = world.add_account(domain, "twin", AccountKind::User);
        world.add_user(twin, "twin", "password-of-a-tenant", "twin@example.com");
    }
    let offering = world.find_offering("Small Instance").unwrap();
    let now = world.now();
    world.deploy_vm(bob, "bob-vm", offering, now);
}

/// The number of rows of every table that holds facts. Runs are left out: that a run failed is a fact too.
pub async fn row_counts(cloud: &Cloud) -> Vec<(&'static str, i64)> {
    const TABLES: &[&str] = &[
        "audit",
        "account",
        "usage_record",
        "review_item",
        "review_charge",
        "promo_code",
        "charge_day",
        "transfer",
        "entry",
        "credit_grant",
        "credit_limit",
        "decision",
        "notice",
        "hold",
        "intent",
        "key_request",
        "portal_user",
        "service_token",
        "request",
    ];
    let mut counts = Vec::new();
    for table in TABLES {
        counts.push((*table, count(cloud, table).await));
    }
    counts
}

/// The number of rows of a table.
pub async fn count(cloud: &Cloud, table: &str) -> i64 {
    use bursar::store::Store;
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    match &cloud.app.store {
        Store::Sqlite { reader, .. } => sqlx::query_scalar(sql).fetch_one(reader).await.unwrap(),
        Store::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
    }
}

/// Runs a statement behind bursar's back.
pub async fn run_sql(cloud: &Cloud, sql: &str) {
    use bursar::store::Store;
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    match &cloud.app.store {
        Store::Sqlite { writer, .. } => drop(sqlx::query(sql).execute(writer).await.unwrap()),
        Store::Postgres(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
    }
}
