//! A stand-in for Apache CloudStack: an HTTP server in this process that speaks CloudStack 4.22's API.
//!
//! It promises to answer as a running CloudStack did: `tests/standin_replay/` replays every recorded exchange against
//! it. It shares no code with the client, so that a misunderstanding in one is not hidden by the same one in the other.
//! What it does without a recorded answer or a stated fact stands in `docs/guesses.md`.
//!
//! It is for the demo, the tests and the simulation. It must never be reachable from outside: it binds to loopback unless
//! told otherwise, and its keys are only as secret as its seed.

mod calls;
mod commands;
mod connection;
mod dates;
mod envelope;
mod faults;
mod guesses;
mod kept;
mod server;
#[cfg(test)]
mod session_tests;
mod signature;
#[cfg(test)]
mod tests;
mod totp;
mod usage;
mod views;
mod world;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

pub use calls::Received;
pub use faults::{Fault, FaultKind, Faults, Gate};
pub use server::{Direct, OnAnswer};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
pub use totp::totp_code;
use url::Url;
pub use usage::UsageRun;
pub use world::{AccountKind, Locale, Person, Power, RoleKind, State, Stubbornness, World, build::ADMIN_PASSWORD};

use crate::{
    random::{RandomSource, SystemRandom},
    time::{Clock, SystemClock},
};

/// How the stand-in runs.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The server's clock: `expires`, dates, jobs, one-time codes and the `Date` header go by it.
    pub clock: Arc<dyn Clock>,
    /// The source of ids and keys made from now on.
    pub random: Arc<dyn RandomSource>,
    /// How many questions about a job are answered with "still running".
    pub job_delay_polls: u32,
    /// The largest page (`default.page.size`).
    pub page_limit: usize,
    /// Rows a second of listUsageRecords, for benchmarks at CloudStack's real speed (some 430); None is unlimited.
    pub usage_rows_per_second: Option<u32>,
    /// Keeps the answers of listUsageRecords and gives them again without a look at the signature, for benchmarks in which
    /// the stand-in shall cost next to nothing.
    pub keep_usage_answers: bool,
    /// Sees the world after each call, before its answer goes out: for keeping it over a restart.
    pub on_answer: Option<OnAnswer>,
}

impl Default for Options {
    /// Loopback at a free port, the machine's clock and random source, one poll, pages of 500, full speed.
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            job_delay_polls: 1,
            page_limit: 500,
            usage_rows_per_second: None,
            keep_usage_answers: false,
            on_answer: None,
        }
    }
}

/// Why the stand-in did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("the stand-in can not listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The address has no URL.
    #[error("the stand-in's address has no URL")]
    Url(#[from] url::ParseError),
}

/// A stand-in without a server around it: requests are handed to it in the process, with the faults that they shall meet.
pub struct InProcess {
    shared: server::Shared,
}

impl InProcess {
    /// Makes a stand-in of the world. Options about listening mean nothing here.
    pub fn new(mut world: World, options: &Options) -> Self {
        prepare(&mut world, options);
        Self { shared: server::Shared::new(world, options) }
    }

    /// Answers a signed form; None: the connection was cut before the answer.
    pub async fn exchange(&self, form: &str, fault: Option<FaultKind>) -> Option<Direct> {
        server::exchange(&self.shared, form, fault).await
    }

    /// Looks at or changes the world, at the clock's present instant.
    pub fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        self.shared.with(act)
    }
}

/// Sets the world to the options.
fn prepare(world: &mut World, options: &Options) {
    let mut seed = [0_u8; 16];
    options.random.fill(&mut seed);
    world.reseed(seed);
    world.job_delay_polls = options.job_delay_polls;
    world.page_limit = options.page_limit;
    world.set_configuration("default.page.size", &options.page_limit.to_string());
}

/// A running stand-in. Dropping it stops it too.
pub struct StandIn {
    shared: Arc<server::Shared>,
    url: Url,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Starts serving the world on the caller's runtime.
    pub async fn start(mut world: World, options: Options) -> Result<Self, Error> {
        let address = options.bind;
        let bound = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bound)?;
        let local = listener.local_addr().map_err(bound)?;
        let url = Url::parse(&format!("http://{local}/client/api"))?;
        prepare(&mut world, &options);
        let shared = Arc::new(server::Shared::new(world, &options));
        let service =
            server::router(Arc::clone(&shared)).into_make_service_with_connect_info::<connection::Connection>();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let listener = connection::Cuttable { listener, stop: stop.clone() };
        let task = tokio::spawn(async move {
            tokio::select! {
                result = async { axum::serve(listener, service).await } => {
                    if let Err(error) = result {
                        tracing::error!(%error, "the stand-in stopped serving");
                    }
                }
                () = stopped => {}
            }
        });
        Ok(Self { shared, url, stop, task: Some(task) })
    }

    /// Where the API is: `http://127.0.0.1:…/client/api`.
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// Looks at or changes the world, at the clock's present instant. Calls wait meanwhile.
    pub fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        self.shared.with(act)
    }

    /// The calls received so far.
    pub fn calls(&self) -> Vec<Received> {
        self.with(|world| world.calls().to_vec())
    }

    /// Stops listening and cuts every connection; what was begun is still done.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // The task ends by the token; that it was aborted or panicked is no news to anybody here.
            let _ = task.await;
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
