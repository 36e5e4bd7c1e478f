//! The pages in Chromium, headless, behind a real nginx with the shipped configuration, in an imitation of CloudStack's UI
//! that goes as far as the iframe and the cookies.
//!
//! Skipped with a message where Chromium, its driver or nginx is missing; `BURSAR_TEST_REQUIRE_BROWSER` turns that into a
//! failure. `BURSAR_TEST_SCREENSHOTS` names a folder for pictures of every page.

mod accessibility;
mod demo;
mod driver;
mod hostile;
mod keyboard;
mod pages;
mod site;
mod stories;
mod strangers;
mod visit;

use std::process::{Command, Stdio};

/// Browsers side by side: each is a handful of processes.
static BROWSERS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);

/// The program of this name, if it is installed.
fn program(names: &[&'static str]) -> Option<&'static str> {
    let answers = |name: &&str| {
        let mut command = Command::new(name);
        command.arg(if name.ends_with("nginx") { "-v" } else { "--version" });
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    names.iter().copied().find(answers)
}

/// A client for plain HTTP on loopback.
fn client() -> reqwest::Client {
    // reqwest asks for a provider of cryptography even where it needs none. Where there is one already, that one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// What the tests of this folder run.
#[derive(Clone, Copy)]
struct Programs {
    chromium: &'static str,
    driver: &'static str,
    nginx: &'static str,
}

impl Programs {
    /// None: something is missing, and the test is left out with a message. A failure where a browser is required.
    fn find() -> Option<Self> {
        let found = (|| {
            Some(Self {
                chromium: program(&["chromium", "chromium-browser", "google-chrome"])?,
                driver: program(&["chromedriver"])?,
                nginx: program(&["nginx", "/usr/sbin/nginx"])?,
            })
        })();
        if found.is_none() {
            let missing = "Chromium, chromedriver or nginx is missing";
            assert!(std::env::var("BURSAR_TEST_REQUIRE_BROWSER").is_err(), "{missing}, and the pages must be tested");
            eprintln!("skipped: {missing}");
        }
        found
    }
}
