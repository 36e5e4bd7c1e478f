//! One host name with CloudStack and bursar behind it: the shipped nginx configuration in front of bursar's real router and
//! of the stand-in, which gets a page like CloudStack's UI around it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{OriginalUri, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use bursar::{
    cloudstack::session::SessionClient,
    jobs::keys::Desk,
    lifecycle::{Condition, Readiness},
    standin::World,
    web::{self, WebState},
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{Programs, client};
use crate::harness::{Cloud, Database};

/// The host name of the shipped configuration.
pub const HOST: &str = "cloud.example.com";
/// Where bursar's pages are.
pub const BASE: &str = "/client/api/bursar";
/// How often nginx is started anew where somebody else took its port.
const TRIES: usize = 5;

/// The whole, running. It ends with this.
pub struct Site {
    /// CloudStack's stand-in and bursar.
    pub cloud: Cloud,
    /// `https://cloud.example.com:PORT`.
    pub origin: String,
    nginx: Child,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
    }
}

impl Site {
    /// Starts everything; `build` adds tenants, `settings` change bursar's configuration.
    pub async fn start(
        programs: Programs,
        start: i64,
        settings: &[(&str, &str)],
        build: impl FnOnce(&mut World),
    ) -> Self {
        let mut cloud = Cloud::start(Database::sqlite(), start, build).await;
        let stop = CancellationToken::new();
        let edge = listen(edge(cloud.standin.url()), &stop).await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (nginx, port) = proxy(programs, folder.path(), edge, listener.local_addr().unwrap()).await;
        let origin = format!("https://{HOST}:{port}");
        cloud.env.insert("BURSAR_WEB_PUBLIC_URL".to_owned(), origin.clone());
        // As the shipped configuration says that bursar.toml must have it.
        cloud.env.insert("BURSAR_WEB_TRUSTED_AFFINITY_COOKIES".to_owned(), "CLOUDSTACK_ROUTE".to_owned());
        for (key, value) in settings {
            cloud.env.insert(format!("BURSAR_{key}"), (*value).to_owned());
        }
        cloud.restart().await;
        let readiness = Readiness::new(&[Condition::Store], &[]);
        readiness.good(Condition::Store);
        let sessions = SessionClient::new(&cloud.app.client_settings().unwrap()).unwrap();
        let wake = Arc::new(Notify::new());
        let desk = Arc::new(Desk::new(cloud.app.clone(), Arc::clone(&wake)));
        let state = WebState::new(cloud.app.clone(), readiness, sessions, wake, desk);
        tokio::spawn(web::serve(state, listener, stop.clone()));
        Self { cloud, origin, nginx, stop, _folder: folder }
    }

    /// An address below the host name.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

async fn listen(router: Router, stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = stop.clone().cancelled_owned();
    tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stop).await });
    address
}

#[derive(Clone)]
struct Edge {
    client: reqwest::Client,
    standin: url::Url,
}

/// What a management server serves: the UI's page, its configuration as shipped in deploy/, and the API.
fn edge(standin: url::Url) -> Router {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let config = include_str!("../../deploy/cloudstack-ui/config.json.example");
    Router::new()
        .route("/client/", get(|| async { Html(include_str!("cloudstack.html")) }))
        .route("/client/config.json", get(move || async move { (json, config) }))
        .fallback(pass_on)
        .with_state(Edge { client: client(), standin })
}

/// Hands a call of the API to the stand-in, cookies both ways.
async fn pass_on(
    State(edge): State<Edge>,
    OriginalUri(uri): OriginalUri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut url = edge.standin;
    url.set_path(uri.path());
    url.set_query(uri.query());
    let mut request = edge.client.request(method, url).body(body);
    for name in [header::COOKIE, header::CONTENT_TYPE] {
        for value in headers.get_all(&name) {
            request = request.header(name.clone(), value);
        }
    }
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = (status, answer.bytes().await.unwrap_or_default()).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for name in [header::SET_COOKIE, header::CONTENT_TYPE] {
        for value in headers.get_all(&name) {
            response.headers_mut().append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
    }
    response
}

/// Starts nginx in front of both and gives the port of its TLS listener.
async fn proxy(programs: Programs, folder: &Path, cloudstack: SocketAddr, bursar: SocketAddr) -> (Child, u16) {
    let key = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), key.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.signing_key.serialize_pem()).unwrap();
    for _ in 0..TRIES {
        let (tls, plain) = (free_port(), free_port());
        let site = shipped(folder, (tls, plain), cloudstack, bursar);
        std::fs::write(folder.join("site.conf"), site).unwrap();
        std::fs::write(folder.join("nginx.conf"), around(folder)).unwrap();
        let mut nginx = Command::new(programs.nginx)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .arg("-e")
            .arg(folder.join("error.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        loop {
            if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, tls)).await.is_ok() {
                return (nginx, tls);
            }
            if nginx.try_wait().unwrap().is_some() {
                break;
            }
            // Another process starts up: there is nothing to be told by but trying.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    panic!("nginx does not start: {}", std::fs::read_to_string(folder.join("error.log")).unwrap_or_default());
}

/// `deploy/nginx/bursar.conf` with nothing changed but what its head says that an operator changes, and the listeners: ports
/// of this machine, and no IPv6. A line that is no longer there fails, so that what is tested is what is shipped.
fn shipped(folder: &Path, ports: (u16, u16), cloudstack: SocketAddr, bursar: SocketAddr) -> String {
    let mut text = include_str!("../../deploy/nginx/bursar.conf").to_owned();
    let file = |name: &str| folder.join(name).display().to_string();
    for (times, shipped, here) in [
        (1, "    listen 443 ssl;", format!("    listen 127.0.0.1:{} ssl;", ports.0)),
        (1, "    listen [::]:443 ssl;\n", String::new()),
        (1, "    listen 80;", format!("    listen 127.0.0.1:{};", ports.1)),
        (1, "    listen [::]:80;\n", String::new()),
        (1, "/etc/ssl/certs/cloud.example.com.pem", file("cert.pem")),
        (1, "/etc/ssl/private/cloud.example.com.key", file("key.pem")),
        (1, "server 192.0.2.11:8080;", format!("server {cloudstack};")),
        (1, "    server 192.0.2.12:8080;\n", String::new()),
        (1, "server 127.0.0.1:8093;", format!("server {bursar};")),
        (2, "server_name cloud.example.com;", format!("server_name {HOST};")),
    ] {
        assert_eq!(text.matches(shipped).count(), times, "deploy/nginx/bursar.conf: {shipped}");
        text = text.replace(shipped, &here);
    }
    text
}

/// What stands around a file of conf.d: nginx's own, with every file in a folder of the test.
fn around(folder: &Path) -> String {
    let folder = folder.display();
    // The folder is closed to others, so the workers run as whoever runs the test. Without root nginx has no say in that.
    let user = if Path::new("/proc/self").metadata().is_ok_and(|own| is_root(&own)) { "user root;" } else { "" };
    let mut text = format!(
        "{user}\ndaemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n\
         access_log off;\n"
    );
    for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        text.push_str(&format!("{name}_temp_path {folder}/{name};\n"));
    }
    text + &format!("include {folder}/site.conf;\n}}\n")
}

fn is_root(own: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    own.uid() == 0
}

/// A port that is free at this moment.
fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
