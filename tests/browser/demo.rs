//! The demo's pages: Chromium loads them with a session's cookies and what it shows is read back.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::Programs;

/// The demo as a child process, ended with the test.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What Chromium makes of a page, scripts run, redirects followed.
fn dom(browser: &str, profile: &std::path::Path, url: &str) -> String {
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--virtual-time-budget=3000", "--dump-dom", url])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_browser_shows_the_tenants_and_the_administrators_page() {
    let Some(Programs { chromium: browser, .. }) = Programs::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_bursar"))
        .args(["demo", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let demo = Demo(child);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("The pages are at ") {
                let _ = sender.send(rest.split_whitespace().next().unwrap_or_default().to_owned());
            }
        }
    });
    let base = receiver.recv_timeout(Duration::from_mins(4)).expect("the demo serves its pages");

    let tenant = dom(browser, &folder.path().join("bob"), &format!("{base}demo/sign-in/bob"));
    for label in ["Total Credit Limit", "Used Credit Limit", "Balance Available Credit Limit", "ROOT/bob", "42.00 EUR"]
    {
        assert!(tenant.contains(label), "\"{label}\" is not on the tenant's page:\n{tenant}");
    }
    for word in ["rung", "fuse", "quarantine"] {
        assert!(!tenant.contains(word), "\"{word}\" is on the tenant's page");
    }
    assert!(!tenant.contains("/admin/accounts"), "a tenant is led to the administrator's page");
    let admin = dom(browser, &folder.path().join("admin"), &format!("{base}demo/sign-in/admin"));
    assert!(admin.contains("/admin/accounts"), "{admin}");
    let locked = dom(browser, &folder.path().join("carol"), &format!("{base}demo/sign-in/carol"));
    assert!(locked.contains("disabled/locked"), "{locked}");
    drop(demo);
}
