//! Words of `bursar policy` and `bursar account leave-alone`.

use clap::{Args, Subcommand};

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// The policy that applies, each value with where it comes from.
    Show {
        /// An account, a payer's number or a customer's name; without it the default that applies to everybody.
        payer: Option<String>,
    },
    /// Set a value for one payer; it wins over class and default.
    Set {
        /// An account, a payer's number or a customer's name.
        payer: String,
        /// A key of `[policy]`, such as `lock_after_days`; also `time_zone`.
        key: String,
        /// The value, as in the configuration; lists with commas, "none" for nothing.
        #[arg(allow_negative_numbers = true)]
        value: String,
        /// Why, for the audit trail.
        #[arg(long)]
        reason: String,
        /// Until when: a date (its beginning), an instant, or a time from now such as 12h, 3d, 2w. Without it: until it is unset.
        #[arg(long, value_name = "WHEN")]
        until: Option<String>,
    },
    /// Take a value back: class and default apply again.
    Unset {
        /// An account, a payer's number or a customer's name.
        payer: String,
        /// The key.
        key: String,
        /// Why, for the audit trail.
        #[arg(long, default_value = "taken back at the command line")]
        reason: String,
    },
    /// Give a payer a class, whose section `[class.NAME]` stands in the configuration.
    Class {
        /// An account, a payer's number or a customer's name.
        payer: String,
        /// The class; "none" takes it away.
        class: String,
        /// Why, for the audit trail.
        #[arg(long, default_value = "set at the command line")]
        reason: String,
    },
    /// Everything that differs from the default: classes, values of single payers, and who is left alone.
    List,
}

/// Arguments of `account leave-alone`.
#[derive(Debug, Args)]
pub struct LeaveAloneArgs {
    /// Its name, full name or CloudStack id.
    pub account: String,
    /// Until when: a date (its beginning), an instant, or a time from now such as 12h, 3d, 2w.
    #[arg(long, value_name = "WHEN", required_unless_present = "end", conflicts_with = "end")]
    pub until: Option<String>,
    /// Why, for the audit trail.
    #[arg(
        long,
        required_unless_present = "end",
        default_value_if("end", clap::builder::ArgPredicate::IsPresent, "ended at the command line")
    )]
    pub reason: Option<String>,
    /// Every account of its payer, and those that join it.
    #[arg(long)]
    pub whole_payer: bool,
    /// Hold back notices too.
    #[arg(long, conflicts_with = "end")]
    pub no_notices: bool,
    /// It holds no longer.
    #[arg(long)]
    pub end: bool,
}
