//! Chromium at the end of the W3C `WebDriver` protocol, as chromedriver speaks it.
//!
//! A client of its own: the protocol is one JSON call a command, and the crates for it bring a licence that `deny.toml`
//! refuses, or switch features of `serde_json` that the product must be tested without.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Programs, client};

/// How long the driver looks for an element, and a script for its condition.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a page that another process is building.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// The key by which `WebDriver` marks an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The Tab key.
pub const TAB: &str = "\u{e004}";
/// The Enter key.
pub const ENTER: &str = "\u{e007}";
/// The Shift key.
pub const SHIFT: &str = "\u{e008}";

/// An element of the page that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element(String);

impl Element {
    fn of(value: &Value) -> Option<Self> {
        value.get(ELEMENT).and_then(Value::as_str).map(|id| Self(id.to_owned()))
    }

    /// As scripts take it.
    pub fn value(&self) -> Value {
        json!({ ELEMENT: self.0 })
    }
}

/// A Chromium with a profile of its own. It ends with this.
pub struct Browser {
    client: reqwest::Client,
    address: SocketAddr,
    session: String,
    driver: Child,
    profile: tempfile::TempDir,
}

impl Drop for Browser {
    /// Without a runtime: a test may be unwinding. chromedriver ends Chromium when its session is deleted.
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let request = format!(
                "DELETE /session/{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                self.session, self.address
            );
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// Starts chromedriver and gives its port. It looks for a free port before it takes it, and another one may be quicker.
    async fn start_driver(programs: Programs) -> (Child, u16) {
        for _ in 0..3 {
            if let Some(started) = Self::try_driver(programs).await {
                return started;
            }
        }
        panic!("chromedriver does not start");
    }

    async fn try_driver(programs: Programs) -> Option<(Child, u16)> {
        let mut driver = Command::new(programs.driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut sender = Some(sender);
            // Read to the end, so that the driver never waits for a reader.
            for line in lines.map_while(Result::ok) {
                let port = line.split_once("started successfully on port ").map(|(_, rest)| rest.trim_end_matches('.'));
                if let (Some(port), Some(sender)) = (port, sender.take_if(|_| port.is_some())) {
                    let _ = sender.send(port.parse::<u16>().unwrap());
                }
            }
        });
        if let Ok(port) = receiver.await {
            Some((driver, port))
        } else {
            let _ = driver.kill();
            let _ = driver.wait();
            None
        }
    }

    /// Starts chromedriver and Chromium. `host` is found on loopback and no other name is found at all.
    pub async fn start(programs: Programs, host: &str) -> Self {
        let (driver, port) = Self::start_driver(programs).await;
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Self {
            client: client(),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            session: String::new(),
            driver,
            profile,
        };
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--no-proxy-server".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--force-color-profile=srgb".to_owned(),
            "--lang=en-US".to_owned(),
            format!("--host-resolver-rules=MAP {host} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
            format!("--user-data-dir={}", browser.profile.path().display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "unhandledPromptBehavior": "ignore",
            "timeouts": { "implicit": PATIENCE.as_millis(), "script": PATIENCE.as_millis(), "pageLoad": 30_000 },
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": which(programs.chromium), "args": arguments },
        } } });
        let session = browser.call("POST", "/session", &wanted).await.unwrap();
        session["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser
    }

    /// One call; the driver's own error where it refuses.
    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("http://{}{path}", self.address);
        let request = self.client.request(method.parse().unwrap(), url).timeout(Duration::from_mins(2));
        let request = if method == "POST" {
            request.header("content-type", "application/json").body(body.to_string())
        } else {
            request
        };
        let response = request.send().await.map_err(|error| format!("chromedriver: {error}"))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| format!("chromedriver: {error}"))?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|_| format!("{status}: {text}"))?;
        let value = answer["value"].take();
        if status.is_success() {
            Ok(value)
        } else {
            Err(format!("{}: {}", value["error"].as_str().unwrap_or("?"), value["message"].as_str().unwrap_or("?")))
        }
    }

    async fn post(&self, command: &str, body: Value) -> Result<Value, String> {
        self.call("POST", &format!("/session/{}/{command}", self.session), &body).await
    }

    async fn get(&self, command: &str) -> Value {
        self.call("GET", &format!("/session/{}/{command}", self.session), &Value::Null).await.unwrap()
    }

    /// Opens an address in the window.
    pub async fn open(&self, url: &str) {
        self.post("url", json!({ "url": url })).await.unwrap();
    }

    /// Goes back in the history.
    pub async fn back(&self) {
        self.post("back", json!({})).await.unwrap();
    }

    /// Reloads.
    pub async fn reload(&self) {
        self.post("refresh", json!({})).await.unwrap();
    }

    /// A new tab, and the name of it.
    pub async fn new_tab(&self) -> String {
        let tab = self.post("window/new", json!({ "type": "tab" })).await.unwrap();
        tab["handle"].as_str().unwrap().to_owned()
    }

    /// The name of the present tab.
    pub async fn tab(&self) -> String {
        self.get("window").await.as_str().unwrap().to_owned()
    }

    /// Turns to a tab.
    pub async fn turn_to(&self, tab: &str) {
        self.post("window", json!({ "handle": tab })).await.unwrap();
    }

    /// Into a frame, or out of all of them.
    pub async fn frame(&self, frame: Option<&Element>) {
        self.post("frame", json!({ "id": frame.map(Element::value) })).await.unwrap();
    }

    /// The first element that fits; waits for it.
    pub async fn find(&self, css: &str) -> Element {
        let found = self.post("element", json!({ "using": "css selector", "value": css })).await;
        match found.map(|value| Element::of(&value)) {
            Ok(Some(element)) => element,
            other => panic!("no element fits {css}: {other:?}\n{}", self.text().await),
        }
    }

    /// The link with this text; waits for it.
    pub async fn link(&self, text: &str) -> Element {
        let found = self.post("element", json!({ "using": "link text", "value": text })).await;
        Element::of(&found.unwrap_or_else(|error| panic!("no link \"{text}\": {error}"))).unwrap()
    }

    /// Clicks as a mouse does, and waits for a page that this opens.
    pub async fn click(&self, element: &Element) {
        self.post(&format!("element/{}/click", element.0), json!({})).await.unwrap();
    }

    /// Types into a field that is emptied first.
    pub async fn fill(&self, element: &Element, text: &str) {
        self.post(&format!("element/{}/clear", element.0), json!({})).await.unwrap();
        self.post(&format!("element/{}/value", element.0), json!({ "text": text })).await.unwrap();
    }

    /// Presses keys one after the other, each down and up again, while `held` are down.
    pub async fn press(&self, held: &[&str], keys: &[&str]) {
        let down = |key: &&str| json!({ "type": "keyDown", "value": key });
        let up = |key: &&str| json!({ "type": "keyUp", "value": key });
        let mut actions: Vec<Value> = held.iter().map(down).collect();
        for key in keys {
            actions.extend([down(key), up(key)]);
        }
        actions.extend(held.iter().map(up));
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.post("actions", body).await.unwrap();
    }

    /// Runs a script in the present frame and gives what it returns.
    pub async fn run(&self, script: &str, arguments: Value) -> Value {
        let body = json!({ "script": script, "args": arguments });
        self.post("execute/sync", body).await.unwrap_or_else(|error| panic!("{script}\n{error}"))
    }

    /// Runs a script that calls its last argument when it is done.
    pub async fn run_until_called(&self, script: &str, arguments: Value) -> Value {
        let body = json!({ "script": script, "args": arguments });
        self.post("execute/async", body).await.unwrap_or_else(|error| panic!("{script}\n{error}"))
    }

    /// Waits until an expression is true in the present frame. Asked from outside again and again, since the page may be
    /// replaced by the next one meanwhile.
    pub async fn wait_for(&self, expression: &str) {
        let script = format!("try {{ return Boolean({expression}); }} catch (error) {{ return false; }}");
        let body = json!({ "script": script, "args": [] });
        let asking = async {
            while self.post("execute/sync", body.clone()).await != Ok(Value::Bool(true)) {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, asking).await.is_ok();
        assert!(in_time, "never true: {expression}\n{}", self.text().await);
    }

    /// What a person reads in the present frame.
    pub async fn text(&self) -> String {
        let text = self.run("return document.body ? document.body.innerText : ''", json!([])).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// A picture of the window, PNG.
    pub async fn picture(&self) -> Vec<u8> {
        use base64::Engine as _;
        let text = self.get("screenshot").await;
        base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
    }

    /// The window's inner size, in pixels of the page.
    pub async fn size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Switches the scripts of pages on or off.
    pub async fn scripts(&self, on: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !on })).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await.unwrap();
    }

    /// The names and values of the cookies that go to the present page.
    pub async fn cookies(&self) -> Vec<(String, String)> {
        let cookies = self.get("cookie").await;
        let text = |cookie: &Value, key: &str| cookie[key].as_str().unwrap_or_default().to_owned();
        cookies.as_array().unwrap().iter().map(|cookie| (text(cookie, "name"), text(cookie, "value"))).collect()
    }

    /// What the browser complained of since the last time: errors of scripts, refused loads, the content security policy.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", json!({ "type": "browser" })).await.unwrap();
        let severe = |line: &&Value| matches!(line["level"].as_str(), Some("SEVERE" | "WARNING"));
        log.as_array().unwrap().iter().filter(severe).map(|line| line["message"].to_string()).collect()
    }
}

/// chromedriver wants the whole path of the browser.
fn which(name: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.map_or_else(|| name.to_owned(), |file| file.display().to_string())
}
