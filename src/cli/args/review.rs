//! Words of `bursar review`.

use clap::{Args, Subcommand};

/// `review …`
#[derive(Debug, Subcommand)]
pub enum ReviewCommand {
    /// Items that wait: one for each reason of each run of the sync.
    List {
        /// Settled ones too.
        #[arg(long)]
        all: bool,
        /// Only this kind, such as overlap or part.
        #[arg(long)]
        kind: Option<String>,
    },
    /// The rows of an item: what CloudStack said, what is charged, what releasing a part window would add.
    Show {
        /// The item's number.
        item: i64,
    },
    /// Charge what waits: as reported, part windows with their estimate.
    Release(ChooseArgs),
    /// Never charge what waits.
    Reject(ChooseArgs),
    /// Say what a row comes to.
    Correct {
        /// The row, as `review show` names it.
        row: String,
        /// In hours, bytes or operations.
        #[arg(long, allow_negative_numbers = true)]
        quantity: String,
        /// The usage type, where the row does not say a known one.
        #[arg(long = "type", value_name = "TYPE")]
        usage_type: Option<String>,
        /// Who pays, where the row names nobody who is known.
        #[arg(long)]
        account: Option<String>,
        /// Why, for the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Rules that decide about rows as they come in.
    Rule {
        #[command(subcommand)]
        /// What to do.
        command: RuleCommand,
    },
}

/// Which rows are meant, as a group.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only this kind, such as overlap or part.
    #[arg(long)]
    pub kind: Option<String>,
    /// Only this account.
    #[arg(long)]
    pub account: Option<String>,
    /// Only this usage type, such as running-vm.
    #[arg(long = "type", value_name = "TYPE")]
    pub usage_type: Option<String>,
    /// Only windows that start on this day of UTC (YYYY-MM-DD).
    #[arg(long, value_name = "DATE")]
    pub day: Option<String>,
}

/// Arguments of `review release` and `review reject`.
#[derive(Debug, Args)]
pub struct ChooseArgs {
    /// The item's number; without it, everything that waits and fits the group.
    pub item: Option<i64>,
    /// A row, as `review show` names it, whatever was decided about it before; may be given more than once.
    #[arg(long, value_name = "ROW", conflicts_with_all = ["item", "kind", "account", "usage_type", "day"])]
    pub row: Vec<String>,
    #[command(flatten)]
    /// The group.
    pub filter: FilterArgs,
    /// Why, for the audit trail.
    #[arg(long)]
    pub reason: String,
}

/// `review rule …`
#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Add a rule for rows that come from now on.
    Add {
        /// What it decides.
        #[arg(value_parser = ["release", "reject"])]
        verdict: String,
        /// The kind of rows.
        #[arg(long)]
        kind: String,
        /// Only this account.
        #[arg(long)]
        account: Option<String>,
        /// Only this usage type.
        #[arg(long = "type", value_name = "TYPE")]
        usage_type: Option<String>,
        /// Why, for the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Rules in force.
    List,
    /// Take a rule out of force; what it decided stays decided.
    Remove {
        /// The rule's number.
        id: i64,
        /// Why, for the audit trail.
        #[arg(long, default_value = "no longer wanted")]
        reason: String,
    },
}
