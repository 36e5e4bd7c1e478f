//! The schedule of a running server: one worker, one job at a time, nudged by time, by the stage before, by pages and by
//! requests that commands left.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    app::App,
    keys, operations,
    work::{self, EnforceOptions, JobError},
};
use crate::{
    config::{Database, Jobs},
    ids::RunId,
    progress::Quiet,
    schedule::Schedule,
    store::{
        runs::{self, Request},
        sessions,
    },
    time::{Day, Timestamp},
};

/// How long a request is carried out after it was left; whoever asked waits no longer. An older one nobody expects any more.
pub const REQUEST_LASTS: Duration = Duration::from_mins(30);
/// How often the worker looks for requests and due times.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long what waits for another process is left alone before it is tried again.
const BUSY_PAUSE: Duration = Duration::from_secs(3);
/// How often it shows that a request is still being carried out.
const CLAIM_SHOWN_EVERY: Duration = Duration::from_secs(30);
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

impl Due {
    /// What a clock that was ahead put off comes when it would by the right one.
    fn bring_forward(&mut self, jobs: &Jobs, now: Timestamp) {
        let schedules =
            [(&mut self.sync, &jobs.sync), (&mut self.rate, &jobs.rate), (&mut self.enforce, &jobs.enforce)];
        for (due, schedule) in schedules {
            let next = schedule.as_ref().and_then(|schedule| schedule.next_after(now, jobs.zone));
            *due = due.map(|at| next.map_or(at, |next| at.min(next)));
        }
        self.purge = self.purge.min(now.plus(PURGE_EVERY));
    }
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
    // Until then another process is left alone with what it is at.
    let mut patient_until = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notified() => enforce_now = true,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let is_patient = Instant::now() < patient_until;
        let mut is_busy = false;
        if !is_patient {
            match Box::pin(answer_requests(&app)).await {
                Ok(waits) => is_busy |= waits,
                Err(error) => tracing::error!(%error, "requests could not be answered"),
            }
        }
        let now = app.clock.now();
        due.bring_forward(jobs, now);
        if due.sync.is_some_and(|at| at <= now) {
            let done = work::sync(&app, false, "schedule", &Quiet).await;
            // Of a sync that was taken over nobody knows here how it ended.
            if !done.as_ref().is_err_and(JobError::is_taken_over) {
                ready(done.as_ref().map(|_| ()).map_err(ToString::to_string));
            }
            rate_now |= log("sync", done) == Ended::Done;
            due.sync = next(jobs.sync.as_ref(), app.clock.now());
        }
        if stop.is_cancelled() {
            return;
        }
        if (rate_now && !is_patient) || due.rate.is_some_and(|at| at <= now) {
            let ended = log("rate", work::rate(&app, None, "schedule", &Quiet).await);
            // The other process began before what set this one off: that is still to be done.
            rate_now &= ended == Ended::Busy;
            is_busy |= rate_now;
            enforce_now |= ended == Ended::Done;
            due.rate = next(jobs.rate.as_ref(), app.clock.now());
        }
        if stop.is_cancelled() {
            return;
        }
        if (enforce_now && !is_patient) || due.enforce.is_some_and(|at| at <= now) {
            let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
            enforce_now &= log("enforce", work::enforce(&app, options, "schedule").await) == Ended::Busy;
            is_busy |= enforce_now;
            if !enforce_now {
                look_after_keys(&app).await;
            }
            due.enforce = next(jobs.enforce.as_ref(), app.clock.now());
        }
        if is_busy {
            patient_until = Instant::now() + BUSY_PAUSE;
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

/// Also where it can no longer be requested: what is there still ends.
async fn look_after_keys(app: &App) {
    if app.config.cloudstack.keys.is_none() {
        return;
    }
    match keys::look_after(app, false).await {
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

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    /// It was not begun, because another process is at it, or that one goes on with it. What set it off may be younger.
    Busy,
    Failed,
}

/// A failure is logged once, here; the run's record has it as well.
fn log<T>(job: &'static str, result: Result<T, JobError>) -> Ended {
    match result {
        Ok(_) => Ended::Done,
        Err(error) if error.is_busy() => {
            tracing::info!(job, %error, "another replica is at it");
            Ended::Busy
        }
        Err(error) if error.is_taken_over() => {
            tracing::warn!(job, %error, "a job was taken over");
            Ended::Busy
        }
        Err(error) => {
            tracing::error!(job, %error, "a job failed; it runs again at its next time");
            Ended::Failed
        }
    }
}

/// Carries out what commands and pages asked for, one after the other. True: the rest waits for another process, which is at that
/// very request or at the same job; it stays open.
pub async fn answer_requests(app: &App) -> Result<bool, JobError> {
    // On SQLite whoever looks here holds the data directory's lock.
    let others_are_dead = matches!(app.config.store.database, Database::Sqlite(_));
    let mut tx = app.store.read().await?;
    let open = runs::list_open_requests(&mut tx, REQUESTS_AT_ONCE).await?;
    tx.commit().await?;
    for request in open {
        let now = app.clock.now();
        let mut tx = app.store.begin().await?;
        let is_ours = runs::claim_request(&mut tx, request.id, &app.holder, others_are_dead, now).await?;
        tx.commit().await?;
        if !is_ours {
            return Ok(true);
        }
        let left = Timestamp::from_ms(request.created_ms);
        let is_old = left.plus(REQUEST_LASTS) < now || left > now.plus(REQUEST_LASTS);
        let (succeeded, text) = if is_old {
            (false, format!("request {} expired: it was left at {left}, and nobody waits for it any more", request.id))
        } else {
            match carry_out_alive(app, &request).await {
                Ok(text) => (true, text),
                Err(NotDone::Failed(text)) => (false, text),
                Err(NotDone::Busy) => {
                    let mut tx = app.store.begin().await?;
                    runs::release_request(&mut tx, request.id, &app.holder).await?;
                    tx.commit().await?;
                    return Ok(true);
                }
            }
        };
        let mut tx = app.store.begin().await?;
        let answer = (succeeded, text.as_str());
        let is_answered = runs::answer_request(&mut tx, request.id, &app.holder, answer, app.clock.now()).await?;
        tx.commit().await?;
        if !is_answered {
            tracing::warn!(request = request.id, "another process has taken over a request, and answers it");
        }
    }
    Ok(false)
}

/// Why a request was not carried out.
enum NotDone {
    /// Another process is at the same job, or has taken it over: later, or whoever took over answers.
    Busy,
    Failed(String),
}

/// Carries a request out, and shows all the while that somebody does.
async fn carry_out_alive(app: &App, request: &Request) -> Result<String, NotDone> {
    let app = App { request: Some(request.id), ..app.clone() };
    let showing = tokio::spawn(show_claim(app.clone(), request.id));
    let result = Box::pin(carry_out(&app, request)).await;
    showing.abort();
    result
}

async fn show_claim(app: App, request: i64) {
    loop {
        tokio::time::sleep(CLAIM_SHOWN_EVERY).await;
        if let Ok(mut tx) = app.store.begin().await
            && runs::touch_request(&mut tx, request, &app.holder, app.clock.now()).await.is_ok()
            && let Err(error) = tx.commit().await
        {
            tracing::warn!(request, %error, "a request could not be shown as being carried out");
        }
    }
}

async fn carry_out(app: &App, request: &Request) -> Result<String, NotDone> {
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap_or_default();
    let cause = format!("request {} of {}", request.id, request.requested_by);
    let flag = |key: &str| body.get(key).and_then(serde_json::Value::as_bool).unwrap_or_default();
    let number = |key: &str| body.get(key).and_then(serde_json::Value::as_i64);
    match request.kind.as_str() {
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
        other => Err(NotDone::Failed(format!("this server does not know how to do \"{other}\""))),
    }
}

fn to_json<T: serde::Serialize>(result: Result<T, JobError>) -> Result<String, NotDone> {
    match result {
        Ok(report) => serde_json::to_string(&report).map_err(|error| NotDone::Failed(error.to_string())),
        Err(error) if error.is_busy() || error.is_taken_over() => {
            tracing::info!(%error, "a request is put back");
            Err(NotDone::Busy)
        }
        Err(error) => Err(NotDone::Failed(error.to_string())),
    }
}
