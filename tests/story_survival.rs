//! What bursar survives: being killed anywhere, a second process, a full disk, a folder that can not be written.
//!
//! Here the real program runs, as child processes, beside the stand-in.

mod asked;
mod killed;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use bursar::{
    random::{RandomSource, SeededRandom},
    standin::{Fault, FaultKind, Gate, State},
    store::enforcement as rows,
    time::{Clock as _, SystemClock, Timestamp},
};

use crate::harness::{Cloud, Database, on_each_database, run_sql_on, tenant};

const BURSAR: &str = env!("CARGO_BIN_EXE_bursar");
const HOUR: Duration = Duration::from_hours(1);
const NAMES: [&str; 3] = ["ann", "bob", "eve"];
/// Longer than anything here takes; only a hang gets there.
const PATIENCE: Duration = Duration::from_mins(2);

/// A cloud whose clock came to `end` (the machine's now): bob is due to be locked, and five days of usage wait to be fetched.
async fn five_days_behind(database: Database, end: Timestamp) -> Cloud {
    let start = (end.as_seconds() / 3_600 - 5 * 24) * 3_600;
    let mut cloud = Cloud::start(database, start, |world| {
        for name in NAMES {
            let account = tenant(world, name);
            let offering = world.find_offering("Small Instance").unwrap();
            let now = world.now();
            world.deploy_vm(account, "machine", offering, now);
        }
    })
    .await;
    let first = chrono::DateTime::from_timestamp(start, 0).unwrap().format("%Y-%m-%d").to_string();
    cloud.reconfigure("BILLING_START", &first).await;
    cloud.reconfigure("LOG_LEVEL", "warn").await;
    cloud.arm(&["notify", "lock"]).await;
    cloud.pass(HOUR);
    cloud.round().await;
    cloud.limit("bob", "0.05").await;
    cloud.limit("ann", "500").await;
    cloud.pass(HOUR);
    cloud.round().await;
    cloud.pass(end.since(cloud.clock.now()));
    cloud
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn command(cloud: &Cloud, arguments: &[&str]) -> Command {
    let mut command = Command::new(BURSAR);
    command.args(arguments).env_clear().envs(&cloud.env).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn bursar(cloud: &Cloud, arguments: &[&str]) -> Output {
    run(command(cloud, arguments)).await
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn succeeds(cloud: &Cloud, arguments: &[&str]) -> String {
    let output = bursar(cloud, arguments).await;
    assert!(output.status.success(), "{arguments:?} on {}: {}", cloud.database.kind, said(&output));
    said(&output)
}

/// Ends a child that is still running when a test stops.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// As the kernel's out-of-memory killer does it.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    async fn ends(&mut self) -> std::process::ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the process does not end");
            pause().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Between two looks at something that another process does.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// On PostgreSQL the dead are given up after minutes: lets these be over. On SQLite the data directory's lock tells at once.
async fn let_the_dead_be_given_up(cloud: &Cloud) {
    let Some(url) = &cloud.database.url else { return };
    run_sql_on(url, "update run set alive_ms = 0 where ended_ms is null").await;
    run_sql_on(url, "update lease set expires_ms = 0").await;
}

/// What counts in the end, without ids and instants: figures, states and holds of every tenant, and the locks done.
async fn outcome(cloud: &Cloud) -> String {
    let mut text = String::new();
    for name in NAMES {
        let account = cloud.account(name).await;
        let state = cloud.standin.with(|world| world.account_state(account.cloud_id.parse().unwrap()));
        let mut tx = cloud.app.store.read().await.unwrap();
        let holds: Vec<String> =
            rows::list_holds(&mut tx, Some(account.id)).await.unwrap().into_iter().map(|hold| hold.owner).collect();
        drop(tx);
        let figures = cloud.standing(name).await.figures;
        text.push_str(&format!("{name} {state:?} {holds:?} {figures:?}\n"));
    }
    let locks = cloud.standin.calls().iter().filter(|call| call.command == "disableAccount").count();
    text.push_str(&format!("{locks} locks"));
    text
}

async fn to_the_end(cloud: &Cloud) -> String {
    for job in ["sync", "rate", "enforce"] {
        succeeds(cloud, &[job]).await;
    }
    succeeds(cloud, &["verify"]).await;
    outcome(cloud).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_ends_as_if_nothing_had_happened() {
    let end = now();
    let folder = tempfile::tempdir().unwrap();
    let calm = five_days_behind(Database { kind: "SQLite", folder, url: None }, end).await;
    let undisturbed = to_the_end(&calm).await;
    assert!(
        undisturbed.contains("bob Some(Locked) [\"billing\"]") && undisturbed.ends_with("1 locks"),
        "{undisturbed}"
    );
    on_each_database(|database| {
        let undisturbed = undisturbed.clone();
        async move {
            let cloud = five_days_behind(database, end).await;
            let random = SeededRandom::new(20_261_122);
            for job in ["sync", "rate", "enforce"] {
                for _ in 0..4 {
                    let mut bytes = [0_u8; 2];
                    random.fill(&mut bytes);
                    let moment = Duration::from_millis(u64::from(u16::from_le_bytes(bytes)) % 400);
                    let mut child = Running::start(command(&cloud, &[job]));
                    tokio::time::sleep(moment).await;
                    child.kill();
                    let_the_dead_be_given_up(&cloud).await;
                }
                succeeds(&cloud, &["verify"]).await;
                if job != "enforce" {
                    succeeds(&cloud, &[job]).await;
                }
            }
            assert_eq!(to_the_end(&cloud).await, undisturbed, "on {}", cloud.database.kind);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_a_lock_is_on_its_way_the_lock_is_found_and_owned() {
    on_each_database(|database| async {
        let cloud = five_days_behind(database, now()).await;
        for job in ["sync", "rate"] {
            succeeds(&cloud, &[job]).await;
        }
        let gate = Gate::default();
        let fault = Fault::once("disableAccount", FaultKind::DelayUntil(gate.clone()));
        cloud.standin.with(|world| world.faults().push(fault));
        let mut child = Running::start(command(&cloud, &["enforce"]));
        let begun = Instant::now();
        // The stand-in has taken the fault once the call is there.
        while cloud.standin.with(|world| world.faults().waiting()) > 0 {
            assert!(begun.elapsed() < PATIENCE);
            pause().await;
        }
        child.kill();
        gate.open();
        let bob = cloud.account("bob").await;
        let id = bob.cloud_id.parse().unwrap();
        while cloud.standin.with(|world| world.account_state(id)) != Some(State::Locked) {
            assert!(begun.elapsed() < PATIENCE);
            pause().await;
        }
        let_the_dead_be_given_up(&cloud).await;
        let text = succeeds(&cloud, &["enforce"]).await;
        assert!(text.contains("an interrupted lock turned out to be done"), "{text}");
        assert!(outcome(&cloud).await.contains("bob Some(Locked) [\"billing\"]"));
        cloud.pay("bob", "500").await;
        assert!(succeeds(&cloud, &["enforce"]).await.contains("Opened again: ROOT/bob"));
        succeeds(&cloud, &["verify"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arming_is_refused_while_the_quota_plugin_enforces() {
    on_each_database(|database| async {
        let cloud = five_days_behind(database, now()).await;
        succeeds(&cloud, &["enforce", "disarm"]).await;
        cloud.standin.with(|world| world.set_configuration("quota.enable.enforcement", "true"));
        let output = bursar(&cloud, &["enforce", "arm"]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("turn it off first"), "{}", said(&output));
        assert!(cloud.enforce().await.dry_run);
        cloud.standin.with(|world| world.set_configuration("quota.enable.enforcement", "false"));
        succeeds(&cloud, &["enforce", "arm", "--yes"]).await;
        assert!(!cloud.enforce().await.dry_run);
    })
    .await;
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The status line and body of a page; None while nobody listens.
async fn page(port: u16, path: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text)
}

async fn answers(port: u16, path: &str, status: &str) -> String {
    let begun = Instant::now();
    loop {
        let text = page(port, path).await.unwrap_or_default();
        if text.starts_with(&format!("HTTP/1.1 {status}")) {
            return text;
        }
        assert!(begun.elapsed() < PATIENCE, "{path}: {text}");
        pause().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_works_alone_carries_out_requests_and_stops_when_told() {
    on_each_database(|database| async {
        let mut cloud = five_days_behind(database, now()).await;
        let (web, metrics) = (free_port(), free_port());
        cloud.env.insert("BURSAR_WEB_LISTEN".to_owned(), format!("127.0.0.1:{web}"));
        cloud.env.insert("BURSAR_METRICS_LISTEN".to_owned(), format!("127.0.0.1:{metrics}"));
        let mut server = Running::start(command(&cloud, &["serve"]));
        answers(web, "/healthz", "200").await;
        answers(web, "/readyz", "200").await;
        assert!(answers(metrics, "/metrics", "200").await.contains("bursar_"));

        let second = bursar(&cloud, &["serve"]).await;
        let sentence = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(1), "{sentence}");
        let reason = if cloud.database.url.is_none() { "another bursar works on" } else { "can not be opened" };
        assert!(sentence.contains(reason) && sentence.trim().lines().count() == 1, "{sentence}");

        // A command leaves its work to the server on SQLite, and does it itself on PostgreSQL; either may meet the server's own
        // run of the same job.
        for job in ["sync", "rate", "enforce"] {
            let output = bursar(&cloud, &[job]).await;
            let text = said(&output);
            assert!(output.status.success() || text.contains("is running since"), "{job}: {text}");
            assert_eq!(text.contains("the running server does it"), cloud.database.url.is_none(), "{text}");
        }
        server.terminate();
        let status = server.ends().await;
        assert_eq!(status.code(), Some(0), "{status}");
        let done = to_the_end(&cloud).await;
        assert!(done.contains("bob Some(Locked) [\"billing\"]") && done.ends_with("1 locks"), "{done}");
    })
    .await;
}

/// Runs the demo in a folder that says when it began.
fn demo(folder: &Path) -> Command {
    let mut command = Command::new(BURSAR);
    command.args(["--json", "demo", "--once", "--data-dir"]).arg(folder).env_clear().stdin(Stdio::null());
    command
}

/// What the demo in this folder told at its end: the books agree, and its mails are files in the folder that it names.
fn summary(output: &Output, folder: &Path) -> serde_json::Value {
    assert!(output.status.success(), "{}", said(output));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["findings"], serde_json::json!([]));
    let mail = folder.join("mail");
    assert_eq!(summary["mail"]["folder"], serde_json::json!(mail.display().to_string()));
    let files = mails_in(&mail);
    assert!(files.contains(&"000000-test.eml".to_owned()) && files.len() > 1, "{files:?}");
    for file in &files {
        let text = std::fs::read_to_string(mail.join(file)).unwrap();
        assert!(text.contains("\nSubject: ") || text.starts_with("Subject: "), "{file}: {text}");
    }
    summary
}

/// The names of the mails that are files in a folder, in their order.
fn mails_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|ending| ending == "eml"));
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_that_was_killed_goes_on_and_ends_the_same() {
    let hour = now().as_seconds() / 3_600 * 3_600;
    let began = Timestamp::from_seconds(hour - 14 * 86_400).as_ms().to_string();
    let folders: Vec<tempfile::TempDir> = (0..2)
        .map(|_| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("began"), &began).unwrap();
            folder
        })
        .collect();
    let begun = Instant::now();
    let undisturbed = summary(&run(demo(folders[0].path())).await, folders[0].path());
    // Each mail that was told of went out and is a file; the test mail is past the outbox.
    let told = undisturbed["events"].as_array().unwrap();
    let told = told.iter().filter(|event| event.as_str().unwrap().starts_with("Mail to ")).count();
    assert_eq!(undisturbed["mail"]["states"], serde_json::json!({ "sent": told }));
    assert_eq!(mails_in(&folders[0].path().join("mail")).len(), told + 1);
    let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
    let random = SeededRandom::new(7);
    for _ in 0..2 {
        let mut bytes = [0_u8; 4];
        random.fill(&mut bytes);
        let mut child = Running::start(demo(folders[1].path()));
        tokio::time::sleep(Duration::from_millis(u64::from(u32::from_le_bytes(bytes)) % took * 4 / 10)).await;
        child.kill();
    }
    let disturbed = summary(&run(demo(folders[1].path())).await, folders[1].path());
    assert_eq!(disturbed["tenants"], undisturbed["tenants"]);
    let states = disturbed["mail"]["states"].as_object().unwrap();
    assert!(states["sent"].as_u64().unwrap() > 0, "{states:?}");
    assert!(!states.contains_key("dead"), "{states:?}");
}

/// One clear sentence for people, without a backtrace or a panic.
fn refuses_in_one_sentence(output: &Output, what: &str) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{what}: {text}");
    assert!(text.contains("can not be written"), "{what}: {text}");
    assert!(!text.contains("panicked"), "{what}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_work_with_a_sentence_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = five_days_behind(Database { kind: "SQLite", folder, url: None }, now()).await;
    let before = outcome(&cloud).await;
    for job in ["sync", "rate", "enforce"] {
        // A file may not grow beyond 4 KiB: what a full disk says, without filling one.
        let mut limited = Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$1\"", BURSAR, job]);
        limited.env_clear().envs(&cloud.env).stdin(Stdio::null());
        refuses_in_one_sentence(&run(limited).await, job);
        succeeds(&cloud, &["verify"]).await;
    }
    assert_eq!(outcome(&cloud).await, before);
    assert!(to_the_end(&cloud).await.contains("bob Some(Locked) [\"billing\"]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_can_not_be_written_is_told_in_a_sentence_and_nothing_is_lost() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let cloud = five_days_behind(Database { kind: "SQLite", folder, url: None }, now()).await;
    let before = outcome(&cloud).await;
    let data = cloud.database.folder.path().to_owned();
    let files: Vec<PathBuf> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    let set = |files_mode: u32, folder_mode: u32| {
        for file in &files {
            std::fs::set_permissions(file, PermissionsExt::from_mode(files_mode)).unwrap();
        }
        std::fs::set_permissions(&data, PermissionsExt::from_mode(folder_mode)).unwrap();
    };
    set(0o444, 0o555);
    // Root may write everywhere, so as somebody else where this is root.
    let unprivileged = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", BURSAR]).args(arguments);
        command.env_clear().envs(&cloud.env).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null());
        command
    };
    let is_root = std::fs::File::create(data.join("probe")).is_ok();
    let _ = std::fs::remove_file(data.join("probe"));
    let able = !is_root || unprivileged(&["--version"]).output().is_ok_and(|output| output.status.success());
    if able {
        for job in ["sync", "rate", "enforce", "serve"] {
            let attempt = if is_root { unprivileged(&[job]) } else { command(&cloud, &[job]) };
            refuses_in_one_sentence(&run(attempt).await, job);
        }
    } else {
        eprintln!("skipped: this is root, and setpriv can not start bursar as somebody else");
    }
    set(0o644, 0o755);
    succeeds(&cloud, &["verify"]).await;
    assert_eq!(outcome(&cloud).await, before);
    assert!(to_the_end(&cloud).await.contains("bob Some(Locked) [\"billing\"]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_finds_nothing_wrong_counts_as_a_look_at_a_new_version() {
    on_each_database(|database| async {
        let cloud = five_days_behind(database, now()).await;
        cloud.catch_up().await;
        cloud.switch(bursar::enforcement::switches::VERSION, "4.20.1.0").await;
        assert!(succeeds(&cloud, &["enforce"]).await.contains("CloudStack was 4.20.1.0"));
        let text = succeeds(&cloud, &["check"]).await;
        assert!(text.contains("looked at, and enforcement goes on"), "{text}");
        assert!(succeeds(&cloud, &["enforce"]).await.contains("Locked: ROOT/bob"));
    })
    .await;
}
