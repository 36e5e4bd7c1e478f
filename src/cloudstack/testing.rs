//! A server on loopback that does what a script says, for tests of the client.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{Client, ClientSettings, Credentials, Error, session::ForwardedSession};
use crate::{
    ids::CloudId,
    secrets::Secret,
    time::{ManualClock, Timestamp},
};

/// The clock of every test client: 2026-11-22T17:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_795_366_800);
pub(crate) const API_KEY: &str = "EXAMPLE-API-KEY";
pub(crate) const SECRET_KEY: &str = "EXAMPLE-SECRET-KEY";

pub(crate) const ID: &str = "d522b0de-3fe4-4094-9d94-fb27222e11d7";
pub(crate) const JOB: &str = "cec289fa-4eff-4646-9ec4-e2767617dae0";

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Reaction {
    /// Answers.
    Answer { status: u16, content_type: &'static str, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Reads the request and closes the connection.
    Cut,
    /// Begins an answer and closes the connection in the middle of it.
    CutInside,
    /// Reads the request and never answers.
    Silence,
}

impl Reaction {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::Answer {
            status,
            content_type: "application/json;charset=utf-8",
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        Self::Answer { status, content_type: "text/html", headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) form: Vec<(String, String)>,
}

impl Received {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// The server. Stops when dropped.
pub(crate) struct Scripted {
    pub(crate) settings: ClientSettings,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    pub(crate) async fn start(script: impl IntoIterator<Item = Reaction>) -> Self {
        let mut script: VecDeque<Reaction> = script.into_iter().collect();
        Self::answering(move |_| script.pop_front().unwrap_or_else(|| Reaction::json(500, "the script has ended")))
            .await
    }

    /// A server that looks at each request before it reacts.
    pub(crate) async fn answering(mut react: impl FnMut(&Received) -> Reaction + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = received.clone();
        let task = tokio::spawn(async move {
            let mut silent = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Some(request) = read_request(&mut stream).await else { continue };
                let reaction = react(&request);
                seen.lock().unwrap().push(request);
                match reaction {
                    Reaction::Cut => drop(stream),
                    Reaction::Silence => silent.push(stream),
                    Reaction::CutInside => {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"x\":").await;
                    }
                    Reaction::Answer { status, content_type, headers, body } => {
                        let mut head = format!(
                            "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n",
                            body.len()
                        );
                        for (name, value) in headers {
                            let _ = write!(head, "{name}: {value}\r\n");
                        }
                        head.push_str("\r\n");
                        let _ = stream.write_all(head.as_bytes()).await;
                        let _ = stream.write_all(&body).await;
                        let _ = stream.shutdown().await;
                    }
                }
            }
        });
        let mut settings = ClientSettings::new(format!("http://127.0.0.1:{port}").parse().unwrap());
        settings.retry_pause = Duration::ZERO;
        settings.read_retries = 2;
        Self { settings, received, task }
    }

    pub(crate) fn client(&self) -> Client {
        client(self.settings.clone())
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

pub(crate) fn client(settings: ClientSettings) -> Client {
    let credentials = Credentials { api_key: Secret::new(API_KEY), secret_key: Secret::new(SECRET_KEY) };
    Client::new(settings, credentials, Arc::new(ManualClock::new(NOW))).unwrap()
}

async fn read_request(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        let read = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut request = Received { head, form: Vec::new() };
        let length: usize = request.header("content-length").map_or(0, |l| l.parse().unwrap());
        if bytes.len() >= end + 4 + length {
            request.form = url::form_urlencoded::parse(&bytes[end + 4..]).into_owned().collect();
            return Some(request);
        }
    }
}

pub(crate) fn id() -> CloudId {
    ID.parse().unwrap()
}

pub(crate) fn job() -> uuid::Uuid {
    JOB.parse().unwrap()
}

pub(crate) fn ok(body: &str) -> Reaction {
    Reaction::json(200, body)
}

pub(crate) fn row(name: &str) -> String {
    format!(
        r#"{{"accountid":"{ID}","usagetype":1,"rawusage":"1","name":"{name}","startdate":"2026-11-22T15:00:00+0000","enddate":"2026-11-22T15:59:59+0000","tags":[{{"key":"a","value":"b"}},{{"key":"c","value":"d"}}]}}"#
    )
}

pub(crate) fn rows(count: u64, rows: &[String]) -> String {
    format!(r#"{{"listusagerecordsresponse":{{"count":{count},"usagerecord":[{}]}}}}"#, rows.join(","))
}

pub(crate) async fn lock(client: &Client) -> Result<uuid::Uuid, Error> {
    client.lock_account(id(), job()).await
}

pub(crate) fn session(jsessionid: &str, session_key: &str) -> ForwardedSession {
    ForwardedSession {
        jsessionid: Secret::new(jsessionid),
        session_key: Secret::new(session_key),
        extra_cookies: vec![("SRV".to_owned(), Secret::new("ms1"))],
    }
}
