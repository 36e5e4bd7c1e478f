//! The schedule of a running server: one worker, one job at a time, nudged by time, by the stage before, by pages and by
//! requests that commands left.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    app::App,
    keys, operations,
    work::{self, EnforceOptions, JobError},
};
use crate::{
    ids::RunId,
    progress::Quiet,
    schedule::Schedule,
    store::{runs, sessions},
    time::{Day, Timestamp},
};

/// How often the worker looks for requests and due times.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Requests answered in one look.
const REQUESTS_AT_ONCE: i64 = 20;
/// How often ended sessions are forgotten.
const PURGE_EVERY: Duration = Duration::from_hours(1);

/// When each job is due next.
struct Due {
    sync: Option<Timestamp>,
    rate: Option<Timestamp>,
    enforce: Option<Timestamp>,
    purge: Timestamp,
}

/// Works until told to stop. `wake` is nudged by pages after a change; `ready` hears whether CloudStack answers.
pub async fn work_until(
    app: App,
    wake: Arc<Notify>,
    stop: CancellationToken,
    ready: impl Fn(Result<(), String>) + Send,
) {
    let jobs = &app.config.jobs;
    let next = |schedule: Option<&Schedule>, after: Timestamp| schedule.and_then(|s| s.next_after(after, jobs.zone));
    let now = app.clock.now();
    // The first round comes at once: a server that was down has something to catch up with.
    let mut due = Due { sync: jobs.sync.as_ref().map(|_| now), rate: None, enforce: None, purge: now };
    let (mut rate_now, mut enforce_now) = (false, false);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notified() => enforce_now = true,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if let Err(error) = answer_requests(&app).await {
            tracing::error!(%error, "requests could not be answered");
        }
        let now = app.clock.now();
        if due.sync.is_some_and(|at| at <= now) {
            let done = work::sync(&app, false, "schedule", &Quiet).await;
            ready(done.as_ref().map(|_| ()).map_err(ToString::to_string));
            rate_now |= log("sync", done).is_some();
            due.sync = next(jobs.sync.as_ref(), app.clock.now());
        }
        if stop.is_cancelled() {
            return;
        }
        if rate_now || due.rate.is_some_and(|at| at <= now) {
            rate_now = false;
            enforce_now |= log("rate", work::rate(&app, None, "schedule", &Quiet).await).is_some();
            due.rate = next(jobs.rate.as_ref(), app.clock.now());
        }
        if stop.is_cancelled() {
            return;
        }
        if enforce_now || due.enforce.is_some_and(|at| at <= now) {
            enforce_now = false;
            let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
            log("enforce", work::enforce(&app, options, "schedule").await);
            // Also where it can no longer be requested: what is there still ends.
            if app.config.cloudstack.keys.is_some() {
                match keys::look_after(&app, false).await {
                    Ok(round) if round.carried_out.failed > 0 => tracing::warn!(
                        failed = round.carried_out.failed,
                        "requests for API access could not be carried out; they are tried again"
                    ),
                    Ok(round) if round.unconfirmed.is_some() => tracing::warn!(
                        why = round.unconfirmed.as_deref(),
                        "no keys are made or looked at until an administrator has confirmed: `bursar enforce confirm`"
                    ),
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "API access could not be looked after"),
                }
            }
            due.enforce = next(jobs.enforce.as_ref(), app.clock.now());
        }
        if due.rate.is_none() {
            due.rate = next(jobs.rate.as_ref(), now);
        }
        if due.enforce.is_none() {
            due.enforce = next(jobs.enforce.as_ref(), now);
        }
        if due.purge <= now {
            due.purge = now.plus(PURGE_EVERY);
            if let Ok(mut tx) = app.store.begin().await
                && sessions::purge_sessions(&mut tx, now).await.is_ok()
                && let Err(error) = tx.commit().await
            {
                tracing::warn!(%error, "ended sessions could not be forgotten");
            }
        }
    }
}

/// A failure is logged once, here; the run's record has it as well.
fn log<T>(job: &'static str, result: Result<T, JobError>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(JobError::Running { since, .. }) => {
            tracing::info!(job, %since, "another replica is at it");
            None
        }
        Err(error) => {
            tracing::error!(job, %error, "a job failed; it runs again at its next time");
            None
        }
    }
}

async fn answer_requests(app: &App) -> Result<(), JobError> {
    let mut tx = app.store.read().await?;
    let open = runs::list_open_requests(&mut tx, REQUESTS_AT_ONCE).await?;
    tx.commit().await?;
    for request in open {
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap_or_default();
        let cause = format!("request {} of {}", request.id, request.requested_by);
        let flag = |key: &str| body.get(key).and_then(serde_json::Value::as_bool).unwrap_or_default();
        let number = |key: &str| body.get(key).and_then(serde_json::Value::as_i64);
        let result = match request.kind.as_str() {
            "sync" => to_json(work::sync(app, flag("full"), &cause, &Quiet).await),
            "rate" => to_json(work::rate(app, number("from").map(Day::from_number), &cause, &Quiet).await),
            "enforce" => {
                let options = EnforceOptions { dry_run: flag("dry_run"), holds_data_lock: true };
                to_json(work::enforce(app, options, &cause).await)
            }
            "enforce-plan" => to_json(operations::make_plan(app, &request.requested_by, true, &cause).await),
            "enforce-undo" => {
                let run = RunId::new(number("run").unwrap_or_default());
                to_json(operations::undo(app, run, &request.requested_by, true, &cause).await)
            }
            "leave" => to_json(operations::leave(app, &request.requested_by, true, &cause).await),
            other => Err(format!("this server does not know how to do \"{other}\"")),
        };
        let (succeeded, text) = match &result {
            Ok(text) => (true, text),
            Err(text) => (false, text),
        };
        let mut tx = app.store.begin().await?;
        runs::answer_request(&mut tx, request.id, succeeded, text, app.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(())
}

fn to_json<T: serde::Serialize>(result: Result<T, JobError>) -> Result<String, String> {
    match result {
        Ok(report) => serde_json::to_string(&report).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
