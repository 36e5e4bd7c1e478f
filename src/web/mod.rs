//! The pages inside CloudStack's UI, and the JSON API for machines.
//!
//! Promises: a handler is reached only with the proof that its arguments stand for; pages work without
//! scripts and hold nothing inline; nothing here acts on an account: it reads, writes requests and bookings, and nudges the
//! jobs. What a person does to the own CloudStack user is the exception: it runs in that person's session. Reads never call
//! CloudStack, except to learn who somebody is, and what the own user's pages show.

mod access;
mod admin;
mod api;
mod assets;
mod chart;
mod cookies;
mod error;
pub mod keydesk;
mod limits;
mod pages;
mod quote;
mod rights;
mod session;
mod sign_in;
mod spending;
mod tariffs;
mod tenant;
#[cfg(test)]
mod tests;
mod warnings;
mod words;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;
use tower_http::{catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer, timeout::TimeoutLayer};

use self::keydesk::KeyDesk;
use crate::{
    cloudstack::session::SessionClient, jobs::app::App, lifecycle::Readiness, people::oidc::Issuers,
    telemetry::metrics::Recorder,
};

/// Longest time of one request, beyond what CloudStack may take to say who somebody is.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// What the pages keep in memory; a restart forgets it without harm.
#[derive(Debug, Default)]
struct Desk {
    limits: limits::Limits,
    turns: session::Turns,
    spending: spending::Cache,
}

/// Everything that pages and API need. Cheap to clone.
#[derive(Clone)]
pub struct WebState {
    app: App,
    readiness: Readiness,
    sessions: SessionClient,
    wake: Arc<Notify>,
    keys: Arc<dyn KeyDesk>,
    issuers: Issuers,
    desk: Arc<Desk>,
}

impl WebState {
    /// `wake` is notified after each change, so that jobs need not wait for their time.
    pub fn new(
        app: App,
        readiness: Readiness,
        sessions: SessionClient,
        wake: Arc<Notify>,
        keys: Arc<dyn KeyDesk>,
    ) -> Self {
        let issuers = Issuers::new(&app.config.oidc, Arc::clone(&app.clock));
        Self { app, readiness, sessions, wake, keys, issuers, desk: Arc::default() }
    }
}

/// Everything on the pages' listener: pages and API at the base path, the API and the health checks at the root too.
pub fn router(state: WebState) -> Router {
    let base = state.app.config.web.base_path.clone();
    let at = |path: &str| format!("{base}{path}");
    let pages = Router::new()
        .merge(tenant::routes(&base))
        .merge(admin::routes(&base))
        .merge(sign_in::routes(&base))
        .route_layer(middleware::from_fn_with_state(state.clone(), session::guard));
    let uploads = tenant::uploads(&base).route_layer(middleware::from_fn_with_state(state.clone(), session::guard));
    let suspended = sign_in::suspended_routes(&base)
        .route_layer(middleware::from_fn_with_state(state.clone(), session::guard_suspended));
    let out = sign_in::out_routes(&base).route_layer(middleware::from_fn_with_state(state.clone(), session::guard_out));
    let mut all = pages
        .merge(suspended)
        .merge(out)
        .merge(sign_in::open_routes(&base))
        .route(&at("/static/{name}"), get(assets::file))
        .merge(tenant::links(&base))
        .merge(api::routes("/api/v1"));
    if !base.is_empty() {
        let home = at("/");
        all =
            all.merge(api::routes(&at("/api/v1"))).route(&base, get(move || async move { Redirect::permanent(&home) }));
    }
    let timeout = REQUEST_TIMEOUT + state.app.config.cloudstack.timeout;
    all.layer(RequestBodyLimitLayer::new(state.app.config.web.request_body_limit_bytes))
        .merge(uploads)
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, timeout))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            axum::http::Response::builder()
                .status(StatusCode::INTERNAL_SERVER_ERROR)
                .body(axum::body::Body::empty())
                .unwrap_or_default()
        }))
        .layer(middleware::from_fn_with_state(state.clone(), error::tell))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .layer(middleware::map_response(error::harden))
        .with_state(state)
}

async fn ready(State(state): State<WebState>) -> Response {
    let status = if state.readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, state.readiness.report()).into_response()
}

/// The figures for Prometheus, for a listener of their own.
pub fn metrics_router(recorder: Recorder) -> Router {
    Router::new().route(
        "/metrics",
        get(move || async move {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], recorder.render())
        }),
    )
}

/// Serves until `shutdown` is cancelled, then ends what is under way.
pub async fn serve(state: WebState, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router(state)).with_graceful_shutdown(async move { shutdown.cancelled().await }).await
}

/// Serves the figures until `shutdown` is cancelled.
pub async fn serve_metrics(
    recorder: Recorder,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, metrics_router(recorder))
        .with_graceful_shutdown(async move { shutdown.cancelled().await })
        .await
}
