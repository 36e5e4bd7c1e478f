//! HTTP around the world: reads a request, lets a waiting fault happen, answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::any,
};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{
    Options,
    commands::{Incoming, answer},
    connection::Connection,
    envelope::Reply,
    faults::FaultKind,
    guesses,
    kept::{self, Kept},
    signature::read_parameters,
    world::World,
};
use crate::time::Clock;

/// `request.content.size`: larger forms are not read.
const LARGEST_FORM_BYTES: usize = 1_048_576;
/// How many lists of usage records CloudStack builds side by side without slowing each other down.
const USAGE_LISTS_AT_ONCE: usize = 2;
const JSON: &str = "application/json;charset=utf-8";

/// What every handler shares.
/// Sees the world after each call, before its answer goes out.
pub type OnAnswer = Arc<dyn Fn(&World) + Send + Sync>;

pub(crate) struct Shared {
    pub world: Mutex<World>,
    pub clock: Arc<dyn Clock>,
    /// Rows of usage that one list gives a second; None is as fast as it goes.
    pub usage_rows_per_second: Option<u32>,
    usage_lists: Semaphore,
    kept: Option<Kept>,
    on_answer: Option<OnAnswer>,
}

impl Shared {
    pub(crate) fn new(world: World, options: &Options) -> Self {
        Self {
            world: Mutex::new(world),
            clock: Arc::clone(&options.clock),
            usage_rows_per_second: options.usage_rows_per_second,
            usage_lists: Semaphore::new(USAGE_LISTS_AT_ONCE),
            kept: options.keep_usage_answers.then(Kept::default),
            on_answer: options.on_answer.clone(),
        }
    }

    /// Lets the call happen; whoever listens sees the world before the client has its answer.
    fn answer(&self, incoming: &Incoming) -> Option<Reply> {
        self.with(|world| {
            let reply = answer(world, incoming);
            if let Some(on_answer) = &self.on_answer {
                on_answer(world);
            }
            reply
        })
    }

    /// The world at the clock's now.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.begin(self.clock.now());
        act(&mut world)
    }
}

/// What goes back to the client.
enum Outgoing {
    Reply(Option<Reply>),
    Raw { status: u16, content_type: &'static str, body: String },
    Nothing,
}

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/client/api", any(handle)).route("/client/api/", any(handle)).with_state(shared)
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    // A task of its own: what was begun is done, also when the client has gone away.
    let work = tokio::spawn(serve(shared, connection, request));
    work.await.unwrap_or_else(|_| respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Body::empty()))
}

/// An answer to a request that came without a connection.
#[derive(Debug, Clone)]
pub struct Direct {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Answers a posted form without HTTP around it, with this fault. None: the connection would have been cut.
pub(crate) async fn exchange(shared: &Shared, form: &str, fault: Option<FaultKind>) -> Option<Direct> {
    let connection = Connection::detached();
    let incoming = Incoming {
        method: "POST".to_owned(),
        parameters: read_parameters("", form),
        cookies: HashMap::new(),
        remote: connection.remote.ip(),
    };
    let outgoing = act(shared, &connection, &incoming, fault).await;
    if connection.is_cut() {
        return None;
    }
    let (status, content_type, body) = match outgoing {
        Outgoing::Nothing | Outgoing::Reply(None) => (200, JSON, String::new()),
        Outgoing::Raw { status, content_type, body } => (status, content_type, body),
        Outgoing::Reply(Some(reply)) => {
            (reply.status, JSON, reply.before.iter().chain([&reply.body]).map(Value::to_string).collect())
        }
    };
    Some(Direct { status, content_type, body })
}

async fn serve(shared: Arc<Shared>, connection: Connection, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_FORM_BYTES).await else {
        return respond(StatusCode::BAD_REQUEST, "text/plain", Body::from(guesses::FORM_TOO_LARGE));
    };
    let form = if is_form(&parts.headers) { String::from_utf8_lossy(&body).into_owned() } else { String::new() };
    let incoming = Incoming {
        method: parts.method.as_str().to_owned(),
        parameters: read_parameters(parts.uri.query().unwrap_or_default(), &form),
        cookies: cookies(&parts.headers),
        remote: connection.remote.ip(),
    };
    let question =
        shared.kept.as_ref().and_then(|kept| Some((kept, kept::question(incoming.command(), &incoming.parameters)?)));
    if let Some((kept, question)) = &question
        && let Some(body) = kept.find(question, shared.with(|world| world.usage_version()))
    {
        return respond(StatusCode::OK, JSON, Body::from(body));
    }
    let fault = shared.with(|world| world.faults.take(incoming.command(), &incoming.parameters));
    let outgoing = act(&shared, &connection, &incoming, fault).await;
    let xml = !incoming.parameters.get("response").is_some_and(|format| format.eq_ignore_ascii_case("json"));
    match outgoing {
        Outgoing::Nothing | Outgoing::Reply(None) => respond(StatusCode::OK, JSON, Body::empty()),
        Outgoing::Raw { status, content_type, body } => respond(status_of(status), content_type, Body::from(body)),
        Outgoing::Reply(Some(reply)) => {
            pace(&shared, &incoming, &reply).await;
            if let (Some((kept, question)), 200) = (question, reply.status) {
                let body = Bytes::from(reply.body.to_string());
                kept.keep(question, shared.with(|world| world.usage_version()), body);
            }
            written(reply, xml)
        }
    }
}

/// Lets the call happen, in the way that the fault wants.
async fn act(shared: &Shared, connection: &Connection, incoming: &Incoming, fault: Option<FaultKind>) -> Outgoing {
    let done = || Outgoing::Reply(shared.answer(incoming));
    match fault {
        None => done(),
        Some(FaultKind::DelayUntil(gate)) => {
            gate.passed().await;
            done()
        }
        Some(FaultKind::DelayFor(span)) => {
            tokio::time::sleep(span).await;
            done()
        }
        Some(FaultKind::Status(status)) => Outgoing::Raw {
            status,
            content_type: "text/html",
            body: format!("<html><body><h1>{status}</h1></body></html>"),
        },
        Some(FaultKind::NoNewJobs) => Outgoing::Raw {
            status: 503,
            content_type: "application/json;charset=utf-8",
            body: serde_json::json!({ format!("{}response", incoming.command().to_ascii_lowercase()): {
                "uuidList": [], "errorcode": 503,
                "errortext": "Maintenance or Shutdown has been initiated on this management server. Can not accept new jobs",
            } })
            .to_string(),
        },
        Some(FaultKind::PagesOf(rows)) => Outgoing::Raw {
            status: 431,
            content_type: JSON,
            body: serde_json::json!({ format!("{}response", incoming.command().to_ascii_lowercase()): {
                "uuidList": [], "errorcode": 431, "cserrorcode": 4350,
                "errortext": format!("Page size can't exceed max allowed page size value: {rows}"),
            } })
            .to_string(),
        },
        Some(FaultKind::CutBeforeAction) => {
            connection.cut();
            Outgoing::Nothing
        }
        Some(FaultKind::CutAfterAction) => {
            shared.answer(incoming);
            connection.cut();
            Outgoing::Nothing
        }
        Some(FaultKind::EmptyOk { acted }) => {
            if acted {
                shared.answer(incoming);
            }
            Outgoing::Nothing
        }
        Some(FaultKind::InvalidJson) => match shared.answer(incoming) {
            Some(reply) => {
                let text = reply.body.to_string();
                let half = text.chars().take(text.chars().count() / 2).collect();
                Outgoing::Raw { status: reply.status, content_type: JSON, body: half }
            }
            None => Outgoing::Nothing,
        },
        Some(FaultKind::Html) => Outgoing::Raw {
            status: 200,
            content_type: "text/html",
            body: "<html><body>Welcome to the balancer</body></html>".to_owned(),
        },
        Some(FaultKind::HugeBody(bytes)) => Outgoing::Raw {
            status: 200,
            content_type: JSON,
            body: format!(r#"{{"hugeresponse":{{"text":"{}"}}}}"#, "x".repeat(bytes)),
        },
        Some(FaultKind::WrongDuplicates) => {
            let mut reply = shared.answer(incoming);
            if let Some(reply) = &mut reply {
                double_rows(&mut reply.body);
            }
            Outgoing::Reply(reply)
        }
        Some(FaultKind::Vanishes(machine)) => {
            let reply = shared.answer(incoming);
            shared.with(|world| world.destroy_vm(machine, world.now()));
            Outgoing::Reply(reply)
        }
    }
}

/// Puts every row of the answer's list in twice.
fn double_rows(body: &mut Value) {
    let lists = body
        .as_object_mut()
        .into_iter()
        .flat_map(|outer| outer.values_mut())
        .filter_map(Value::as_object_mut)
        .flat_map(|content| content.values_mut())
        .filter_map(Value::as_array_mut);
    for rows in lists {
        *rows = rows.iter().flat_map(|row| [row.clone(), row.clone()]).collect();
    }
}

/// Slows a list of usage records down to CloudStack's own speed.
async fn pace(shared: &Shared, incoming: &Incoming, reply: &Reply) {
    let Some(rate) = shared.usage_rows_per_second.filter(|_| incoming.command() == "listUsageRecords") else { return };
    let rows =
        reply.body.pointer("/listusagerecordsresponse/usagerecord").and_then(Value::as_array).map_or(0, Vec::len);
    let micros = u64::try_from(rows).unwrap_or(0) * 1_000_000 / u64::from(rate.max(1));
    // The semaphore is never closed.
    let _permit = shared.usage_lists.acquire().await;
    tokio::time::sleep(Duration::from_micros(micros)).await;
}

fn written(reply: Reply, xml: bool) -> Response {
    let (content_type, body) = match &reply.body {
        Value::String(text) => ("text/plain;charset=utf-8", text.clone()),
        body if xml => ("text/xml;charset=utf-8", to_xml(body)),
        body => (JSON, reply.before.iter().chain([body]).map(Value::to_string).collect()),
    };
    let mut response = respond(status_of(reply.status), content_type, Body::from(body));
    let headers = response.headers_mut();
    for cookie in &reply.cookies {
        if let Ok(cookie) = HeaderValue::from_str(cookie) {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    if let Some(description) =
        reply.description.and_then(|text| HeaderValue::from_str(&text.replace(['\n', '\r'], " ")).ok())
    {
        headers.insert("X-Description", description);
    }
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// CloudStack's own codes are valid HTTP statuses though nobody else knows them.
fn status_of(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}

fn cookies(headers: &HeaderMap) -> HashMap<String, String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The default format. Nobody of ours reads it; it is there so that a forgotten `response=json` is noticed.
fn to_xml(body: &Value) -> String {
    use std::fmt::Write as _;
    fn element(target: &mut String, name: &str, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| element(target, name, item)),
            Value::Object(fields) => {
                let _ = write!(target, "<{name}>");
                fields.iter().for_each(|(name, value)| element(target, name, value));
                let _ = write!(target, "</{name}>");
            }
            other => {
                let text = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                let _ = write!(target, "<{name}>{text}</{name}>");
            }
        }
    }
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned();
    for (name, value) in body.as_object().into_iter().flatten() {
        element(&mut text, name, value);
    }
    text
}
