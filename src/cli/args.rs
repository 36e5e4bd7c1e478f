//! The words of the command line.

mod accounts;
mod enforce;
mod keys;
mod ledger;
mod mail;
mod policy;
mod prices;
mod review;
mod users;

use std::path::PathBuf;

pub use self::accounts::AccountCommand;
pub use self::enforce::{DeletionCommand, EnforceArgs, EnforceCommand, HoldCommand, LeaveArgs};
pub use self::keys::{KeyCommand, SelfServiceCommand};
pub use self::ledger::{
    AdjustmentCommand, CsvArgs, Export, ExportCommand, GrantArgs, GrantCommand, PayerCommand, PaymentCommand,
    PromoArgs, PromoCommand, RefundCommand,
};
pub use self::mail::MailCommand;
pub use self::policy::{LeaveAloneArgs, PolicyCommand};
pub use self::prices::{PriceCommand, QuoteArgs};
pub use self::review::{ChooseArgs, FilterArgs, ReviewCommand, RuleCommand};
pub use self::users::{EmailRuleCommand, LinkCommand, MoreTimeCommand, UserCommand, UserMapArgs};
use clap::{Args, CommandFactory as _, Parser, Subcommand};

/// Credit limits for Apache CloudStack: prices usage, keeps the ledger, warns, suspends and restores accounts, issues API keys.
#[derive(Debug, Parser)]
#[command(name = "bursar", version, arg_required_else_help = true)]
pub struct Cli {
    /// Print JSON for scripts instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// The configuration file. Without it: `$BURSAR_CONFIG`, then /etc/bursar/bursar.toml if it is there.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make bursar's service accounts in CloudStack and write a configuration; asks for an administrator's key, once.
    Init(InitArgs),
    /// Check everything that bursar depends on; each line is good or says how to mend it.
    Check,
    /// Run the schedule, the pages and the API until told to stop.
    Serve,
    /// Mirror CloudStack's accounts and fetch usage by closed windows.
    Sync {
        /// Fetch the whole look-back again, whatever the counts say.
        #[arg(long)]
        full: bool,
    },
    /// Price what changed and post the charges of closed days.
    Rate {
        /// Price every day from this date on again with the present price book; differences are posted as corrections.
        #[arg(long, value_name = "DATE")]
        from: Option<String>,
    },
    /// Decide about every account, and act where enforcement is armed.
    Enforce(EnforceArgs),
    /// What runs now costs since the last usage record, a day, and by the end of the month. Estimates: nothing is charged
    /// by them.
    Estimate {
        /// Only the payer of this account: its name, full name (ROOT/acme/carol) or CloudStack id.
        account: Option<String>,
        /// How far the estimates of the newest windows were off once their records had come.
        #[arg(long)]
        error: bool,
    },
    /// Rebuild every balance from its entries and compare; changes nothing.
    Verify,
    /// Why is it so: from what is available down to records and price lines.
    Explain(ExplainArgs),
    /// What a period would have cost every payer and what would have been decided; stores and sends nothing.
    Preview {
        /// First day (YYYY-MM-DD).
        #[arg(long, value_name = "DATE")]
        from: String,
        /// First day that no longer counts (YYYY-MM-DD).
        #[arg(long, value_name = "DATE")]
        to: String,
    },
    /// The price book.
    Price {
        #[command(subcommand)]
        /// What to do with it.
        command: PriceCommand,
    },
    /// Move from something else.
    Import {
        #[command(subcommand)]
        /// From what.
        command: ImportCommand,
    },
    /// Accounts, their figures and credit limits.
    Account {
        #[command(subcommand)]
        /// What to do.
        command: AccountCommand,
    },
    /// Money that came in.
    Payment {
        #[command(subcommand)]
        /// What to do.
        command: PaymentCommand,
    },
    /// Corrections by hand.
    Adjustment {
        #[command(subcommand)]
        /// What to do.
        command: AdjustmentCommand,
    },
    /// Money that went back out.
    Refund {
        #[command(subcommand)]
        /// What to do.
        command: RefundCommand,
    },
    /// Dated credit.
    Grant {
        #[command(subcommand)]
        /// What to do.
        command: GrantCommand,
    },
    /// Who pays: accounts, or customers with several of them.
    Payer {
        #[command(subcommand)]
        /// What to do.
        command: PayerCommand,
    },
    /// When accounts are warned, restricted, locked and stopped: the default, classes, and values of single payers.
    Policy {
        #[command(subcommand)]
        /// What to do.
        command: PolicyCommand,
    },
    /// Promo codes and offers.
    Promo {
        #[command(subcommand)]
        /// What to do.
        command: PromoCommand,
    },
    /// Figures for other programs.
    Export {
        #[command(subcommand)]
        /// What to write.
        command: ExportCommand,
    },
    /// People and the accounts they are mapped to.
    User {
        #[command(subcommand)]
        /// What to do.
        command: UserCommand,
    },
    /// Requests for API access.
    Key {
        #[command(subcommand)]
        /// What to do.
        command: KeyCommand,
    },
    /// Tokens for machines that use bursar's API.
    Token {
        #[command(subcommand)]
        /// What to do.
        command: TokenCommand,
    },
    /// Why accounts are suspended.
    Hold {
        #[command(subcommand)]
        /// What to do.
        command: HoldCommand,
    },
    /// Accounts that the ladder proposes to delete; a person decides, and bursar deletes nothing.
    Deletion {
        #[command(subcommand)]
        /// What to do.
        command: DeletionCommand,
    },
    /// Stop enforcing for good: pause, disarm, and give back everything that bursar took.
    Leave(LeaveArgs),
    /// The newest notices, of one account or of all.
    Notice {
        /// The account.
        account: Option<String>,
    },
    /// Mail: what was sent to whom, what could not be, and whether it works.
    Mail {
        #[command(subcommand)]
        /// What to do.
        command: MailCommand,
    },
    /// Usage that waits for a person, and what the sync has to tell.
    #[command(alias = "quarantine")]
    Review {
        #[command(subcommand)]
        /// What to do; without it: list.
        command: Option<ReviewCommand>,
    },
    /// The newest runs of the jobs.
    Runs {
        /// Only this job: sync, rate, enforce, notify.
        job: Option<String>,
    },
    /// The newest lines of the audit trail.
    Audit {
        /// Only this account (full name) or payer.
        subject: Option<String>,
    },
    /// The configuration.
    Config {
        #[command(subcommand)]
        /// What to do.
        command: ConfigCommand,
    },
    /// The metrics.
    Metrics {
        #[command(subcommand)]
        /// What to do.
        command: MetricsCommand,
    },
    /// Copy the whole SQLite database into a new file while everything goes on.
    Backup {
        /// The new file.
        file: PathBuf,
    },
    /// Print this reference as Markdown.
    Reference,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Measure sync, ingest, rating and decisions: figures of this machine beside their aims.
    Bench(BenchArgs),
    /// The whole product on this machine, without a CloudStack.
    Demo(DemoArgs),
    /// Play seeded lives of a small cloud through this very program, with everything going wrong, and check what must always hold.
    Sim(SimArgs),
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The cloud's address, such as `https://cloud.example.com`.
    pub url: String,
    /// Make the reader only, for a first look.
    #[arg(long)]
    pub reader_only: bool,
    /// Register new key pairs for accounts that exist already; the old ones end at once.
    #[arg(long)]
    pub renew: bool,
    /// How the names of roles and accounts begin.
    #[arg(long, default_value = crate::setup::init::DEFAULT_PREFIX)]
    pub prefix: String,
    /// Where the configuration is written.
    #[arg(long, value_name = "FILE", default_value = "/etc/bursar/bursar.toml")]
    pub output: PathBuf,
    /// A file with more certificates to trust (PEM).
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// `explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The account.
    pub account: String,
    /// The ledger as it stood at this instant (YYYY-MM-DD or RFC 3339) instead of now.
    #[arg(long, value_name = "INSTANT", conflicts_with = "day")]
    pub at: Option<String>,
    /// The records of this billing day (YYYY-MM-DD) and what each costs.
    #[arg(long, value_name = "DATE")]
    pub day: Option<String>,
    /// Only this usage type, by its name in the price book.
    #[arg(long = "type", value_name = "TYPE", requires = "day")]
    pub usage_type: Option<String>,
}

/// `import …`
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// CloudStack's quota plugin: its tariffs as the draft of a price book, its balances, its credits. Only reads there.
    Quota {
        /// The new file for the price book.
        file: Option<PathBuf>,
        /// Bring the balances in as opening balances, once a payer.
        #[arg(long)]
        write: bool,
        /// Instead: this month (YYYY-MM) there and here side by side, and why they differ.
        #[arg(long, value_name = "MONTH", conflicts_with_all = ["file", "write"])]
        compare: Option<String>,
    },
}

/// `token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown once.
    Create {
        /// Its name.
        name: String,
        /// Let it write too.
        #[arg(long)]
        write: bool,
    },
    /// Standing tokens.
    List,
    /// End a token at once.
    Revoke {
        /// Its name.
        name: String,
    },
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Tell everything that is wrong with the configuration.
    Check,
    /// Print the configuration with where each value comes from; secrets are masked.
    Print,
    /// Print the reference of all keys as Markdown.
    Reference,
}

/// `metrics …`
#[derive(Debug, Subcommand)]
pub enum MetricsCommand {
    /// Print the list of metrics as Markdown.
    Reference,
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// How many usage records (default: 1,000,000 for re-rate, 8,600 at most for sync-real, else 100,000).
    #[arg(long)]
    pub records: Option<u64>,
    /// Measure only this.
    #[arg(long, value_name = "NAME")]
    pub only: Option<super::bench::Measure>,
    /// A PostgreSQL server to measure too; a database of its own is made and dropped.
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Tell the story and exit, without serving the pages.
    #[arg(long)]
    pub once: bool,
    /// Keep the data here and go on from what is there (default: a temporary folder).
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the pages are served.
    #[arg(long, default_value = "127.0.0.1:8093")]
    pub listen: std::net::SocketAddr,
}

/// Arguments of `sim`.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// How many seeds (default: 100, or the one named).
    #[arg(long)]
    pub seeds: Option<u64>,
    /// The first seed. Alone (without `--seeds`) it is played by itself, with its whole story.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How many lives at once (default: one for each processor).
    #[arg(long)]
    pub threads: Option<usize>,
    /// Failed lives after which no further one is begun.
    #[arg(long, default_value_t = 10)]
    pub stop_after: usize,
}

/// Prints completions for a shell.
pub(super) fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "bursar", &mut std::io::stdout());
}

/// The reference of every command as Markdown.
pub(super) fn reference() -> String {
    let mut text = String::from(
        "# Command line\n\nMade by `bursar reference`; every command takes `--json` and `--config FILE`.\n",
    );
    let mut root = Cli::command();
    root.build();
    describe(&root, "", 2, &mut text);
    text
}

fn describe(command: &clap::Command, parent: &str, level: usize, text: &mut String) {
    use std::fmt::Write as _;
    let name = format!("{parent}{}", command.get_name());
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let full = format!("{name} {}", sub.get_name());
        let _ = write!(text, "\n{} `{full}`\n\n", "#".repeat(level));
        if let Some(about) = sub.get_about() {
            let _ = writeln!(text, "{about}");
        }
        let mut rows = String::new();
        for arg in
            sub.get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version" | "json" | "config"))
        {
            let shown = match (arg.get_long(), arg.is_positional()) {
                (Some(long), _) if arg.get_action().takes_values() => format!("--{long} {}", value_name(arg)),
                (Some(long), _) => format!("--{long}"),
                _ => value_name(arg),
            };
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
            let default = default.map(|value| format!(" (default: {value})")).unwrap_or_default();
            let _ = writeln!(rows, "| `{shown}` | {help}{default} |");
        }
        if !rows.is_empty() {
            let _ = write!(text, "\n| argument | meaning |\n|---|---|\n{rows}");
        }
        describe(sub, &format!("{name} "), (level + 1).min(4), text);
    }
}

fn value_name(arg: &clap::Arg) -> String {
    arg.get_value_names()
        .and_then(|names| names.first())
        .map_or_else(|| arg.get_id().to_string().to_uppercase(), ToString::to_string)
}
