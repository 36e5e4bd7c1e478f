//! sync, rate, verify, and whose turn it is.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use super::{
    Context, author,
    output::{self, Shown},
};
use crate::{
    config::Database,
    jobs::{
        App,
        lock::{self, DataLock},
        server::REQUEST_LASTS,
        work::{self, RateSummary, SyncSummary},
    },
    money::Money,
    store::runs,
    time::Day,
};

/// How long a command waits for another one that works on the same data.
const COMMAND_DEADLINE: Duration = Duration::from_mins(10);
/// How often it looks whether its turn has come, or its request is answered.
const PAUSE: Duration = Duration::from_millis(300);

/// On SQLite one process acts: where a server runs, it is asked to do the work (design 7.14).
pub(super) enum Turn {
    /// This process may act. The lock is held on SQLite.
    Ours(Option<DataLock>),
    /// The server acts.
    Server,
}

pub(super) async fn take_turn(app: &App) -> anyhow::Result<Turn> {
    if matches!(app.config.store.database, Database::Postgres(_)) {
        return Ok(Turn::Ours(None));
    }
    let data_dir = &app.config.store.data_dir;
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        if let Some(lock) = DataLock::try_take(data_dir)? {
            let mut tx = app.store.begin().await?;
            // Whoever had runs open held the lock, and is dead.
            runs::close_runs_of(&mut tx, "", app.clock.now()).await?;
            tx.commit().await?;
            return Ok(Turn::Ours(Some(lock)));
        }
        if lock::is_served(data_dir) {
            return Ok(Turn::Server);
        }
        // Another command carries out nothing that it is asked for: what was left for it would be found by a server, some day.
        if begun.elapsed() > COMMAND_DEADLINE {
            bail!(
                "another command works on {} for more than 10 minutes; nothing was done. `bursar runs` shows what it does",
                data_dir.display()
            );
        }
        if !is_told {
            output::error(&format!(
                "another command works on {}; waiting until it is done, 10 minutes at most …",
                data_dir.display()
            ));
            is_told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Leaves a request for the server and waits for the answer. Whoever no longer waits takes the request back: nobody would
/// expect that it is carried out later.
pub(super) async fn ask_server(app: &App, kind: &str, body: &serde_json::Value) -> anyhow::Result<String> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut tx = app.store.begin().await?;
    let id = runs::leave_request(&mut tx, kind, &body.to_string(), &author(), app.clock.now()).await?;
    tx.commit().await?;
    output::error(&format!("the running server does it (request {id}) …"));
    let begun = Instant::now();
    loop {
        let is_stopped = tokio::select! {
            () = tokio::time::sleep(PAUSE) => false,
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
        };
        // Looked at before the answer: a server that ends may have answered last.
        let is_served = lock::is_served(&app.config.store.data_dir);
        if let Some(answer) = answer(app, id).await? {
            return answer;
        }
        let why = if is_stopped {
            "stopped while it waited for the running server"
        } else if !is_served {
            "the running server has stopped"
        } else if begun.elapsed() > REQUEST_LASTS {
            "the running server has not come to it within 30 minutes"
        } else {
            continue;
        };
        return give_up(app, id, why, !is_served).await;
    }
}

/// What the server said; None while it has not.
async fn answer(app: &App, id: i64) -> anyhow::Result<Option<anyhow::Result<String>>> {
    let mut tx = app.store.read().await?;
    let answer = runs::find_answer(&mut tx, id).await?;
    tx.commit().await?;
    Ok(answer.map(|(succeeded, result)| if succeeded { Ok(result) } else { Err(anyhow!("{result}")) }))
}

/// Takes a request back, and says what became of it.
async fn give_up(app: &App, id: i64, why: &str, server_is_gone: bool) -> anyhow::Result<String> {
    let mut tx = app.store.begin().await?;
    let is_withdrawn = runs::withdraw_request(&mut tx, id, server_is_gone, app.clock.now()).await?;
    tx.commit().await?;
    if is_withdrawn {
        bail!("{why}; request {id} is withdrawn and will not be carried out");
    }
    match answer(app, id).await? {
        Some(answer) => answer,
        None => bail!("{why}; the server is at request {id} and goes on with it: `bursar runs` shows what it does"),
    }
}

fn show_json(context: &Context, result: &str, text: impl FnOnce(&serde_json::Value) -> String) -> anyhow::Result<()> {
    let value: serde_json::Value = serde_json::from_str(result)?;
    context.show(&value, |value| text(value))
}

/// `bursar sync`
pub async fn sync(context: &Context, full: bool) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match take_turn(&app).await? {
        Turn::Ours(_lock) => {
            let summary = work::sync(&app, full, "command", &Shown::new()).await?;
            context.show(&summary, sync_text)?;
        }
        Turn::Server => {
            let result = ask_server(&app, "sync", &serde_json::json!({ "full": full })).await?;
            show_json(context, &result, |_| "done by the running server; --json shows the figures".to_owned())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a sync did, in sentences.
pub fn sync_text(summary: &SyncSummary) -> String {
    let (directory, usage) = (&summary.directory, &summary.usage);
    let mut text = format!(
        "{} domains, {} accounts ({} new, {} changed, {} gone), {} users, {} projects.\n{} usage rows fetched: {} new records, {} changed, {} repeats",
        directory.domains,
        directory.accounts,
        directory.new_accounts,
        directory.changed_accounts,
        directory.gone_accounts,
        directory.users,
        directory.projects,
        usage.rows,
        usage.new_records,
        usage.changed_records,
        usage.repeats,
    );
    if usage.late_days > 0 {
        text.push_str(&format!(", {} days fetched again because records came late", usage.late_days));
    }
    text.push('.');
    if let Some(until) = usage.closed_until {
        text.push_str(&format!("\nUsage is known up to {until}."));
    }
    if usage.quarantined > 0 {
        text.push_str(&format!("\n{} rows wait for a person: `bursar review` tells why.", usage.quarantined));
    }
    if usage.removed_rows > 0 {
        text.push_str(&format!(
            "\nCloudStack no longer has {} rows that are stored; their charges stay.",
            usage.removed_rows
        ));
    }
    if usage.missing_rows > 0 {
        text.push_str(&format!(
            "\nCloudStack counts {} rows more than it gave; the next sync asks again.",
            usage.missing_rows
        ));
    }
    text
}

/// `bursar rate`
pub async fn rate(context: &Context, from: Option<&str>) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let from = from
        .map(|text| {
            text.parse().map(Day::from_date).with_context(|| format!("\"{text}\" is not a date such as 2026-11-01"))
        })
        .transpose()?;
    match take_turn(&app).await? {
        Turn::Ours(_lock) => {
            let summary = work::rate(&app, from, "command", &Shown::new()).await?;
            context.show(&summary, rate_text)?;
        }
        Turn::Server => {
            let body = serde_json::json!({ "from": from.map(Day::number) });
            let result = ask_server(&app, "rate", &body).await?;
            show_json(context, &result, |_| "done by the running server; --json shows the figures".to_owned())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Billionths as a plain amount with its sign.
fn signed_nanos(nanos: i128) -> String {
    let micros = i64::try_from(nanos / 1_000).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX });
    let sign = if micros > 0 { "+" } else { "" };
    format!("{sign}{}", Money::from_micros(micros))
}

/// What rating did, in sentences.
pub fn rate_text(summary: &RateSummary) -> String {
    let mut text = format!(
        "{} account days rated ({} records), {} transfers posted, {} of them corrections.",
        summary.rated.days, summary.rated.records, summary.posted.transfers, summary.posted.corrections
    );
    if summary.posted.reversals > 0 {
        text.push_str(&format!("\n{} charges reversed and posted at approved prices.", summary.posted.reversals));
    }
    if summary.posted.held > 0 {
        text.push_str(&format!(
            "\n{} corrections are beyond the limit of their payer and wait: `bursar review list`.",
            summary.posted.held
        ));
    }
    if let Some(proposal) = &summary.proposal {
        text.push_str(&format!(
            "\nClosed days would cost something else: {} charges of {} accounts, {} net in all. Nothing was changed; \
             `bursar review show {}` lists them, `bursar review release {}` approves.",
            proposal.charges,
            proposal.accounts,
            signed_nanos(proposal.difference_nanos),
            proposal.item,
            proposal.item
        ));
        if proposal.summed_up > 0 {
            text.push_str(&format!(
                "\n{} older account days are left out: their usage records are summed up, and they keep what they cost.",
                proposal.summed_up
            ));
        }
    }
    if summary.compacted.days > 0 {
        text.push_str(&format!(
            "\n{} account days summed up: {} usage records are gone, {} daily sums stand in their place.",
            summary.compacted.days, summary.compacted.records, summary.compacted.sums
        ));
    }
    for row in &summary.unpriced {
        text.push_str(&format!(
            "\nUnpriced: {} ({} records, {} to {}). Give it a tariff or list it under `free`.",
            row.slug, row.records, row.first, row.last
        ));
    }
    if summary.rated.failed > 0 {
        text.push_str(&format!(
            "\n{} records could not be priced; `bursar explain ACCOUNT` says why.",
            summary.rated.failed
        ));
    }
    for failure in &summary.posted.failed {
        text.push_str(&format!("\nNot posted: {failure}"));
    }
    text
}

/// `bursar verify`
pub async fn verify(context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let report = work::verify(&app).await?;
    let well = report.findings.is_empty();
    context.show(&report, |report| {
        if report.findings.is_empty() {
            let mut text = format!(
                "Everything agrees: {} charges compared with their entries; {} records on {} account days priced again.",
                report.charges, report.records, report.days
            );
            if report.summed_up > 0 {
                text.push_str(&format!(
                    "\n{} older account days, whose usage records are summed up, compared with their daily sums.",
                    report.summed_up
                ));
            }
            text
        } else {
            let rows = report.findings.iter().map(|row| [row.check.to_owned(), row.detail.clone()]).collect();
            format!(
                "{}\n{} things do not agree. Nothing was changed.",
                output::table(["check", "what differs"], rows),
                report.findings.len()
            )
        }
    })?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
