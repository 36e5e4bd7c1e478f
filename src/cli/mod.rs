//! The command line: each command opens what it needs, calls one function, and shows what came of it.
//!
//! Tables for people, `--json` for scripts. Exit status 0: done; 1: it did not come about, with one sentence that says what to
//! do; 2: the command line itself was wrong.

mod access;
mod accounts;
mod admin;
mod args;
mod bench;
mod demo;
mod enforce;
mod estimate;
mod explain;
mod export;
mod grants;
mod holds;
mod import;
mod jobs;
mod keys;
mod mail;
mod output;
mod payers;
mod payments;
mod policy;
mod preview;
mod prices;
mod promo;
mod review;
mod self_service;
mod serve;
mod sim;
mod users;
mod way_out;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser as _;

pub use self::args::Cli;
use self::args::Command;
use crate::{
    approver::Approver,
    config::{Config, Sources},
    jobs::App,
    random::SystemRandom,
    telemetry::logs,
    time::SystemClock,
};

/// What a command needs besides its own arguments.
pub(crate) struct Context {
    json: bool,
    config_file: Option<PathBuf>,
}

impl Context {
    fn config(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&Sources::new(self.config_file.clone(), std::env::vars_os()))?)
    }

    /// Opens the store and everything around it; logs go to standard error.
    async fn app(&self) -> anyhow::Result<App> {
        let config = self.config()?;
        logs::init(config.log.format, config.log.level)?;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let app = App::open(config, Arc::new(SystemClock), Arc::new(SystemRandom)).await?;
        app.bind_to_cloud().await?;
        Ok(app)
    }

    /// Shows a value as JSON, or as the text made of it.
    fn show<T: serde::Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        if self.json {
            output::line(&serde_json::to_string_pretty(value)?);
        } else {
            output::line(&text(value));
        }
        Ok(())
    }
}

/// Who acts, for the audit trail: the person at the command line.
fn author() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".to_owned());
    format!("cli:{name}")
}

/// The same where two administrators have to approve.
fn approver() -> Approver {
    Approver::by_command_line(author())
}

/// Runs the command line.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let context = Context { json: cli.json, config_file: cli.config };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&format!("the runtime can not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(cli.command, &context)) {
        Ok(code) => code,
        Err(error) => {
            output::error(&way_out::sentence(&error));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(args) => admin::init(context, args).await,
        Command::Check => admin::check(context).await,
        Command::Serve => serve::serve(context).await,
        Command::Sync { full } => jobs::sync(context, full).await,
        Command::Rate { from } => jobs::rate(context, from.as_deref()).await,
        Command::Enforce(args) => enforce::enforce(context, args).await,
        Command::Estimate { account, error } => estimate::estimate(context, account.as_deref(), error).await,
        Command::Verify => jobs::verify(context).await,
        Command::Explain(args) => explain::explain(context, args).await,
        Command::Preview { from, to } => Box::pin(preview::preview(context, &from, &to)).await,
        Command::Price { command } => prices::price(context, command).await,
        Command::Import { command } => import::import(context, command).await,
        Command::Account { command } => accounts::account(context, command).await,
        Command::Payment { command } => payments::payment(context, command).await,
        Command::Adjustment { command } => payments::adjustment(context, command).await,
        Command::Refund { command } => payments::refund(context, command).await,
        Command::Grant { command } => grants::grant(context, command).await,
        Command::Payer { command } => payers::payer(context, command).await,
        Command::Policy { command } => policy::policy(context, command).await,
        Command::Promo { command } => promo::promo(context, command).await,
        Command::Export { command } => export::export(context, command).await,
        Command::User { command } => users::user(context, command).await,
        Command::Key { command } => keys::key(context, command).await,
        Command::Token { command } => access::token(context, command).await,
        Command::Hold { command } => holds::hold(context, command).await,
        Command::Deletion { command } => holds::deletion(context, command).await,
        Command::Leave(args) => enforce::leave(context, &args).await,
        Command::Notice { account } => accounts::notices(context, account.as_deref()).await,
        Command::Mail { command } => mail::mail(context, command).await,
        Command::Review { command } => review::review(context, command).await,
        Command::Runs { job } => admin::runs(context, job.as_deref()).await,
        Command::Audit { subject } => admin::audit(context, subject.as_deref()).await,
        Command::Config { command } => admin::config(context, &command),
        Command::Metrics { command } => Ok(admin::metrics(&command)),
        Command::Backup { file } => admin::backup(context, &file).await,
        Command::Reference => {
            output::text(&args::reference());
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            args::completions(shell);
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(args) => bench::bench(context, args).await,
        Command::Demo(args) => demo::demo(context, args).await,
        Command::Sim(args) => sim::sim(context, args).await,
    }
}
