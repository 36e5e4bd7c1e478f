//! `bursar serve`: the schedule, the pages, the API and the metrics, until told to stop.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{net::TcpListener, sync::Notify};

use super::Context;
use crate::{
    cloudstack::session::SessionClient,
    config::Database,
    jobs::{keys::Desk, lock::DataLock, mail, server},
    lifecycle::{self, Condition, Ending, Readiness, Shutdown, Systemd},
    store::{StoreError, runs},
    telemetry::metrics,
    web::{self, WebState},
};

/// What is under way may end within this time after a signal; systemd's limit in deploy/ is longer.
const GRACE: Duration = Duration::from_secs(150);

/// How often the data directory's lock is tried for, and how long after each other: a command that looks whether a server runs has it for
/// an instant.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

async fn take_lock(data_dir: &Path) -> Result<Option<DataLock>, StoreError> {
    for _ in 1..LOCK_TRIES {
        if let Some(lock) = DataLock::try_serve(data_dir)? {
            return Ok(Some(lock));
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    DataLock::try_serve(data_dir)
}

/// `bursar serve`
pub async fn serve(context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let _lock = if matches!(app.config.store.database, Database::Sqlite(_)) {
        let Some(lock) = take_lock(&app.config.store.data_dir).await? else {
            bail!(
                "another bursar works on {}; on SQLite there can be one. For two replicas use PostgreSQL",
                app.config.store.data_dir.display()
            );
        };
        let mut tx = app.store.begin().await?;
        let cut = runs::close_runs_of(&mut tx, "", app.clock.now()).await?;
        tx.commit().await?;
        if cut > 0 {
            tracing::warn!(runs = cut, "runs of a former process were cut off; what they left is picked up");
        }
        Some(lock)
    } else {
        None
    };
    let recorder = metrics::install()?;
    let shutdown = Shutdown::new();
    shutdown.listen()?;
    let readiness =
        Readiness::new(&[Condition::Store, Condition::Migrations, Condition::Listeners], &[Condition::CloudStack]);
    readiness.good(Condition::Store);
    readiness.good(Condition::Migrations);

    let wake = Arc::new(Notify::new());
    let sessions = SessionClient::new(&app.client_settings()?)?;
    let desk = Arc::new(Desk::new(app.clone(), Arc::clone(&wake)));
    let state = WebState::new(app.clone(), readiness.clone(), sessions, Arc::clone(&wake), desk);
    let address = app.config.web.listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} ([web] listen) can not be opened; is another program there?"))?;
    shutdown.spawn(logged("pages", web::serve(state, listener, shutdown.soft().clone())));
    if let Some(address) = app.config.metrics.listen {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("{address} ([metrics] listen) can not be opened; is another program there?"))?;
        shutdown.spawn(logged("metrics", web::serve_metrics(recorder.clone(), listener, shutdown.soft().clone())));
    }
    readiness.good(Condition::Listeners);
    tracing::info!(%address, base_path = %app.config.web.base_path, "serving");

    let stop = shutdown.soft().clone();
    let heard = readiness.clone();
    shutdown.spawn(server::work_until(app.clone(), wake, stop.clone(), move |answer| match answer {
        Ok(()) => heard.good(Condition::CloudStack),
        Err(why) => heard.bad(Condition::CloudStack, why),
    }));
    // A task of its own: a mail server that is slow or down holds up no run.
    shutdown.spawn(mail::send_until(app.clone(), stop.clone()));
    shutdown.spawn(async move {
        while !stop.is_cancelled() {
            tokio::time::sleep(metrics::UPKEEP_INTERVAL).await;
            recorder.upkeep();
        }
    });
    let systemd = Systemd;
    let watchdog = Systemd::watchdog_interval();
    let ending = tokio::select! {
        ending = shutdown.finish(GRACE) => ending,
        () = async {
            lifecycle::report_to(&systemd, &readiness, &shutdown, watchdog).await;
            std::future::pending::<()>().await;
        } => Ending::Clean,
    };
    app.store.close().await;
    tracing::info!(?ending, "stopped");
    Ok(if ending == Ending::Abandoned { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn logged(what: &'static str, serving: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = serving.await {
        tracing::error!(%error, what, "a listener stopped");
    }
}
