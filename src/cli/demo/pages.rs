//! The demo's pages: bursar's own, and a way to sign in as each person without a password.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{
    cloud::{DemoCloud, PASSWORD, TENANTS},
    output,
};
use crate::{
    cloudstack::{self, session::SessionClient},
    jobs::{App, keys::Desk},
    lifecycle::{Condition, Readiness, Shutdown},
    secrets::Secret,
    standin::ADMIN_PASSWORD,
    time::{Clock as _, ManualClock, SystemClock},
    web::{self, WebState},
};

/// The demo's clock follows the machine's in steps of this length.
const TICK: Duration = Duration::from_millis(200);
/// How long open requests may take after Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct SignIn {
    sessions: SessionClient,
    base: String,
}

/// Serves until Ctrl-C.
pub async fn serve(app: &App, demo: &DemoCloud, clock: &ManualClock, listen: SocketAddr) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.listen()?;
    let readiness = Readiness::new(&[Condition::Store], &[]);
    readiness.good(Condition::Store);
    let sessions = SessionClient::new(&app.client_settings()?)?;
    let wake = Arc::new(Notify::new());
    let desk = Arc::new(Desk::new(app.clone(), Arc::clone(&wake)));
    let state = WebState::new(app.clone(), readiness, sessions.clone(), Arc::clone(&wake), desk);
    let base = app.config.web.base_path.clone();
    let sign_in = Router::new()
        .route("/", get(start_page))
        .route("/demo/sign-in/{name}", get(sign_in))
        .with_state(SignIn { sessions, base });
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("{listen} can not be opened; name another address with --listen"))?;
    let address = listener.local_addr()?;
    output::line(&format!("\nThe pages are at http://{address}/ . Sign in as:"));
    for (name, part) in TENANTS {
        output::line(&format!("  http://{address}/demo/sign-in/{name:<6}  {part}"));
    }
    output::line(&format!("  http://{address}/demo/sign-in/admin   the cloud's administrator"));
    output::line("Ctrl-C ends the demo.");
    let soft = shutdown.soft().clone();
    let router = web::router(state).merge(sign_in);
    shutdown.spawn(async move {
        let stop = soft.clone();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = serving.await {
            tracing::error!(%error, "the demo's pages stopped");
        }
    });
    let stop = shutdown.soft().clone();
    tokio::select! {
        _ = shutdown.finish(GRACE) => {}
        () = live(app, demo, clock, &wake, &stop) => {}
    }
    Ok(())
}

/// The clock goes on, the usage job runs on the hour, and a change on a page is acted upon at once.
async fn live(app: &App, demo: &DemoCloud, clock: &ManualClock, wake: &Notify, stop: &CancellationToken) {
    let mut hour = clock.now().as_seconds() / 3_600;
    while !stop.is_cancelled() {
        let woken = tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notified() => true,
            () = tokio::time::sleep(TICK) => false,
        };
        // The past that was lived ends at a full hour: the clock never goes backwards.
        let now = SystemClock.now();
        if now > clock.now() {
            clock.set(now);
        }
        let new_hour = clock.now().as_seconds() / 3_600;
        if new_hour > hour || woken {
            if new_hour > hour {
                demo.tick(clock);
                hour = new_hour;
            }
            if let Err(error) = round(app).await {
                tracing::error!(%error, "a round of the demo failed");
            }
        }
    }
}

async fn round(app: &App) -> Result<(), crate::jobs::work::JobError> {
    use crate::{
        jobs::{
            mail,
            work::{self, EnforceOptions},
        },
        notify::Looked,
        progress::Quiet,
    };
    work::sync(app, false, "demo", &Quiet).await?;
    work::rate(app, None, "demo", &Quiet).await?;
    let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
    work::enforce(app, options, "demo").await?;
    mail::pass(app, Looked::AtAll, "demo").await?;
    Ok(())
}

async fn start_page() -> Html<String> {
    let mut people = String::new();
    for (name, part) in TENANTS.iter().chain(&[("admin", "the cloud's administrator")]) {
        people.push_str(&format!("<li><a href=\"/demo/sign-in/{name}\">{name}</a>: {part}</li>"));
    }
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>bursar demo</title></head><body><h1>bursar demo</h1><p>Sign in \
         to the stand-in for CloudStack as one of these people; bursar's page opens with that person's session.</p><ul>{people}</ul></body></html>"
    ))
}

/// Signs in to the stand-in as a browser would, and hands its cookies on with the paths that CloudStack's UI leaves.
async fn sign_in(State(demo): State<SignIn>, Path(name): Path<String>) -> Response {
    let (password, domain) = match name.as_str() {
        "admin" => (ADMIN_PASSWORD, "/"),
        "carol" => (PASSWORD, "/acme"),
        _ => (PASSWORD, "/"),
    };
    match demo.sessions.login(&name, &Secret::new(password), domain).await {
        Ok(session) => {
            let mut headers = HeaderMap::new();
            for cookie in [
                format!("JSESSIONID={}; Path=/client; HttpOnly", session.session.jsessionid.expose()),
                format!("sessionkey={}; Path=/client/api; HttpOnly; SameSite=Lax", session.session.session_key.expose()),
            ] {
                if let Ok(value) = HeaderValue::from_str(&cookie) {
                    headers.append(header::SET_COOKIE, value);
                }
            }
            (headers, Redirect::to(&format!("{}/", demo.base))).into_response()
        }
        Err(cloudstack::Error::NotAllowed { text, .. }) => (
            StatusCode::FORBIDDEN,
            Html(format!(
                "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Not signed in</title></head><body><h1>CloudStack does \
                 not let {name} in</h1><p>It says: {}</p><p>A locked account can not sign in; that is what the lock does.</p><p><a \
                 href=\"/\">Back</a></p></body></html>",
                text.replace('<', "&lt;")
            )),
        )
            .into_response(),
        Err(_) => (StatusCode::BAD_GATEWAY, "the stand-in does not answer").into_response(),
    }
}
