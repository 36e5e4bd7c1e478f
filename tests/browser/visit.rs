//! A person at a browser, in CloudStack's UI and in bursar's pages within it.

use std::time::Duration;

use bursar::standin::ADMIN_PASSWORD;
use serde_json::json;

use super::{
    Programs,
    driver::Browser,
    site::{BASE, HOST, Site},
};

/// The password that the harness gives to tenants.
pub const PASSWORD: &str = "password-of-a-tenant";
/// Time that passes between two pages: nobody reads faster, and the limit of requests knows it.
const BETWEEN_PAGES: Duration = Duration::from_secs(5);

/// A browser at a site.
pub struct Visit<'a> {
    /// Where it is.
    pub site: &'a Site,
    /// The browser; in the frame of the plugin after the methods that end in a page of bursar's.
    pub browser: Browser,
}

impl<'a> Visit<'a> {
    /// Opens a browser, at nothing yet.
    pub async fn begin(programs: Programs, site: &'a Site) -> Self {
        Self { site, browser: Browser::start(programs, HOST).await }
    }

    /// Opens CloudStack's UI.
    pub async fn ui(&self) {
        self.pause();
        self.browser.frame(None).await;
        self.browser.open(&self.site.at("/client/")).await;
    }

    /// Signs in there; whether it let the person in.
    pub async fn try_sign_in(&self, name: &str, password: &str) -> bool {
        self.ui().await;
        for (field, text) in [("username", name), ("password", password), ("domain", "/")] {
            let field = self.browser.find(&format!("input[name={field}]")).await;
            self.browser.fill(&field, text).await;
        }
        self.browser.click(&self.browser.find("#enter").await).await;
        self.browser
            .wait_for(
                "document.querySelector('iframe') || document.getElementById('said').textContent || \
                 !document.getElementById('second').hidden",
            )
            .await;
        self.browser.run("return document.querySelector('iframe') !== null", json!([])).await == true
    }

    /// Signs in, and goes into the frame with bursar's first page.
    pub async fn sign_in(&self, name: &str) {
        let password = if name == "admin" { ADMIN_PASSWORD } else { PASSWORD };
        assert!(self.try_sign_in(name, password).await, "{name}: {}", self.browser.text().await);
        self.enter_frame().await;
    }

    /// Out of wherever it is, into the frame of the plugin.
    pub async fn enter_frame(&self) {
        self.browser.frame(None).await;
        let frame = self.browser.find("iframe").await;
        self.browser.frame(Some(&frame)).await;
        self.browser.wait_for("document.readyState === 'complete' && document.querySelector('main')").await;
    }

    /// Opens a page of bursar's in the frame.
    pub async fn open(&self, path: &str) {
        self.pause();
        self.browser.frame(None).await;
        self.browser.find("iframe").await;
        let script = "const done = arguments[1]; const frame = document.querySelector('iframe'); \
                      frame.addEventListener('load', () => done(true), { once: true }); frame.src = arguments[0];";
        self.browser.run_until_called(script, json!([format!("{BASE}{path}")])).await;
        self.enter_frame().await;
    }

    /// Opens a page of bursar's by itself, without CloudStack's UI around it.
    pub async fn open_alone(&self, path: &str) {
        self.pause();
        self.browser.frame(None).await;
        self.browser.open(&self.site.at(&format!("{BASE}{path}"))).await;
    }

    /// Switches the UI between light and dark, and goes back into the frame.
    pub async fn switch_dark(&self) {
        self.browser.frame(None).await;
        self.browser.click(&self.browser.find("#dark").await).await;
        self.enter_frame().await;
    }

    /// Signs out in the UI.
    pub async fn sign_out(&self) {
        self.browser.frame(None).await;
        self.browser.click(&self.browser.find("#logout").await).await;
        self.browser.wait_for("!document.querySelector('iframe')").await;
    }

    /// Where the frame, or the page, is.
    pub async fn address(&self) -> String {
        self.browser.run("return location.href", json!([])).await.as_str().unwrap().to_owned()
    }

    /// The browser complained of nothing but the answers that a story provoked.
    pub async fn no_complaints(&self, but: &[&str]) {
        let complaints = self.browser.complaints().await;
        let unexpected: Vec<_> = complaints
            .iter()
            .filter(|line| !line.contains("/favicon.ico") && !but.iter().any(|expected| line.contains(expected)))
            .collect();
        assert!(unexpected.is_empty(), "{unexpected:?}");
    }

    /// A person needs some time for a page.
    pub fn pause(&self) {
        self.site.cloud.clock.advance(BETWEEN_PAGES);
    }
}
