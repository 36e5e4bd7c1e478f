//! Words of `bursar account`.

use std::path::PathBuf;

use clap::Subcommand;

use super::LeaveAloneArgs;

/// `account …`
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Every account with its figures.
    List,
    /// One account: figures, decision, holds, notices, transfers.
    Show {
        /// Its name, full name (ROOT/acme/carol) or CloudStack id.
        account: String,
    },
    /// Set credit limits: of one account, or of many by a CSV file with the columns account,limit.
    Limit {
        /// Its name, full name or CloudStack id.
        #[arg(required_unless_present = "csv", requires = "amount")]
        account: Option<String>,
        /// The limit, such as 100.00; 0 is prepaid; "none" takes the account out of management, and gives back what was suspended.
        #[arg(allow_negative_numbers = true)]
        amount: Option<String>,
        /// Why, for the audit trail.
        #[arg(long, default_value = "set at the command line")]
        reason: String,
        /// A CSV file with the columns account,limit.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["account", "amount"])]
        csv: Option<PathBuf>,
        /// Say what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Leave an account alone until a date: no restriction, lock or stop. What gives back never waits.
    LeaveAlone(LeaveAloneArgs),
    /// Bring in what a payer had or owed before bursar; once.
    Opening {
        /// Its name, full name or CloudStack id.
        account: String,
        /// Positive is credit, negative is debt.
        #[arg(allow_negative_numbers = true)]
        amount: String,
        /// Why.
        #[arg(long, default_value = "opening balance")]
        reason: String,
    },
}
