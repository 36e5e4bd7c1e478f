//! init, check, runs, audit, config, metrics, backup.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail};

use super::{
    Context,
    args::{ConfigCommand, InitArgs, MetricsCommand},
    author, output,
};
use crate::{
    cloudstack::{ClientSettings, Credentials},
    config,
    jobs::{App, operations},
    random::SystemRandom,
    secrets::Secret,
    setup::{
        check,
        init::{self, InitRequest},
    },
    store::runs,
    telemetry::metrics,
    time::{SystemClock, Timestamp},
};

/// `bursar init URL`
pub async fn init(context: &Context, args: InitArgs) -> anyhow::Result<ExitCode> {
    // Before anything is made: a pair that can not be written down would be lost.
    init::check_config_path(&args.output)?;
    let url =
        args.url.parse().with_context(|| format!("\"{}\" is not a URL such as https://cloud.example.com", args.url))?;
    let mut settings = ClientSettings::new(url);
    settings.ca_file = args.ca_file;
    let admin = ask_admin_key()?;
    let request = InitRequest {
        reader_only: args.reader_only,
        renew: args.renew,
        prefix: args.prefix,
        ..InitRequest::new(settings)
    };
    let outcome = init::init(request, admin, Arc::new(SystemClock), Arc::new(SystemRandom)).await?;
    init::write_config(&args.output, &outcome.configuration)?;
    let value = serde_json::json!({ "made": outcome.made, "configuration": args.output });
    context.show(&value, |_| {
        format!(
            "{}\n\nThe configuration is in {} (readable by its owner only); the administrator's key was not kept.\nNext: `bursar --config {} check`.",
            outcome.made.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"),
            args.output.display(),
            args.output.display()
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The administrator's pair: from the terminal without echo, or from two lines of standard input.
fn ask_admin_key() -> anyhow::Result<Credentials> {
    use std::io::{BufRead as _, IsTerminal as _};
    let (api_key, secret_key) = if std::io::stdin().is_terminal() {
        output::error("an administrator's key pair is needed once; it is not stored");
        (rpassword::prompt_password("API key: ")?, rpassword::prompt_password("Secret key: ")?)
    } else {
        let mut lines = std::io::stdin().lock().lines();
        let mut next = |what: &str| -> anyhow::Result<String> {
            lines.next().transpose()?.with_context(|| format!("standard input has no line with the {what}"))
        };
        (next("API key")?, next("secret key")?)
    };
    let (api_key, secret_key) = (api_key.trim().to_owned(), secret_key.trim().to_owned());
    if api_key.is_empty() || secret_key.is_empty() {
        bail!(
            "an API key and a secret key are needed; a root administrator finds them under Accounts, Users, Generate keys"
        );
    }
    Ok(Credentials { api_key: Secret::new(api_key), secret_key: Secret::new(secret_key) })
}

/// `bursar check`
pub async fn check(context: &Context) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    let report = check::check(&config, Arc::new(SystemClock)).await;
    let acknowledged = if report.exit_code() == 0 { Box::pin(acknowledge(config, &report)).await? } else { None };
    context.show(&report, |report| {
        let acknowledged = acknowledged.map(|text| format!("\n{text}: looked at, and enforcement goes on."));
        format!("{report}{}", acknowledged.unwrap_or_default())
    })?;
    Ok(ExitCode::from(report.exit_code()))
}

/// Everything works: a version of CloudStack that nobody had looked at yet counts as looked at. Only in a database that is
/// there and up to date already: a check makes none.
async fn acknowledge(config: config::Config, report: &check::CheckReport) -> anyhow::Result<Option<String>> {
    let opens = |line: &check::Line| {
        line.area == check::Area::Data && line.name == "database" && line.text.contains("opens, and its tables")
    };
    if !report.lines.iter().any(opens) || config.cloudstack.url.is_none() {
        return Ok(None);
    }
    let app = App::open(config, Arc::new(SystemClock), Arc::new(SystemRandom)).await?;
    Ok(operations::acknowledge_version(&app, &author()).await?)
}

/// `bursar runs`
pub async fn runs(context: &Context, job: Option<&str>) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let mut tx = app.store.read().await?;
    let rows = runs::list_runs(&mut tx, job, 50).await?;
    context.show(&rows, |rows| {
        let lines = rows
            .iter()
            .map(|run| {
                let at = |ms: i64| Timestamp::from_ms(ms).display_in(app.config.billing.zone);
                let detail: String = if run.outcome.as_deref() == Some("failed") {
                    run.detail.chars().take(300).collect()
                } else {
                    String::new()
                };
                [
                    run.id.to_string(),
                    run.job.clone(),
                    run.cause.clone(),
                    at(run.started_ms),
                    run.ended_ms.map_or_else(|| "running".to_owned(), at),
                    run.outcome.clone().unwrap_or_default(),
                    detail,
                ]
            })
            .collect();
        output::table(["run", "job", "cause", "began", "ended", "outcome", ""], lines)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `bursar audit`
pub async fn audit(context: &Context, subject: Option<&str>) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let mut tx = app.store.read().await?;
    let rows = runs::list_audit(&mut tx, subject, 200).await?;
    context.show(&rows, |rows| {
        let lines = rows
            .iter()
            .map(|line| {
                [
                    Timestamp::from_ms(line.at_ms).display_in(app.config.billing.zone),
                    line.actor.clone(),
                    line.action.clone(),
                    line.subject.clone(),
                    line.before_state.clone().unwrap_or_default(),
                    line.after_state.clone().unwrap_or_default(),
                    line.answer.clone().unwrap_or_default(),
                ]
            })
            .collect();
        output::table(["when", "who", "what", "to", "before", "after", "why"], lines)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `bursar config …`
pub fn config(context: &Context, command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Reference => output::text(&config::reference()),
        ConfigCommand::Print => output::text(context.config()?.print()),
        ConfigCommand::Check => {
            let config = context.config()?;
            let warnings = config.warnings();
            context.show(&serde_json::json!({ "warnings": warnings }), |_| {
                if warnings.is_empty() {
                    "The configuration is right.".to_owned()
                } else {
                    format!("The configuration is possible, but:\n{}", warnings.join("\n"))
                }
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `bursar metrics …`
pub fn metrics(command: &MetricsCommand) -> ExitCode {
    match command {
        MetricsCommand::Reference => output::text(&metrics::reference()),
    }
    ExitCode::SUCCESS
}

/// `bursar backup FILE`
pub async fn backup(context: &Context, file: &Path) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    app.store.backup(file).await?;
    context.show(&serde_json::json!({ "file": file }), |_| {
        format!(
            "{} holds everything up to now. To restore: stop bursar, put it in the place of bursar.db, start. Nothing is enforced then \
             until you have looked (`bursar enforce differences`) and said `bursar enforce confirm`.",
            file.display()
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
