//! The words of the commands about money: payments, adjustments, refunds, grants, payers, promo codes, exports.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `payment …`
#[derive(Debug, Subcommand)]
pub enum PaymentCommand {
    /// Record a payment.
    Add {
        /// Who paid: an account's name, full name or CloudStack id.
        account: String,
        /// How much, such as 50.00.
        #[arg(allow_negative_numbers = true)]
        amount: String,
        /// What the bank statement says.
        #[arg(long, default_value = "bank transfer")]
        reference: String,
        /// Names this payment: the same again is recorded once.
        #[arg(long)]
        key: Option<String>,
    },
}

/// `adjustment …`
#[derive(Debug, Subcommand)]
pub enum AdjustmentCommand {
    /// Correct what a payer has by hand.
    Add {
        /// Whose: an account's name, full name or CloudStack id.
        account: String,
        /// Above zero in the payer's favour, below zero against it.
        #[arg(allow_negative_numbers = true)]
        amount: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Names this adjustment: the same again is booked once.
        #[arg(long)]
        key: Option<String>,
    },
}

/// `refund …`
#[derive(Debug, Subcommand)]
pub enum RefundCommand {
    /// Record money that was paid back out.
    Add {
        /// To whom: an account's name, full name or CloudStack id.
        account: String,
        /// How much, such as 50.00.
        #[arg(allow_negative_numbers = true)]
        amount: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// The payment that it is of: its key or number; never more than that payment is refunded.
        #[arg(long, value_name = "PAYMENT")]
        of: Option<String>,
        /// Pay out more than is there; the payer owes the rest.
        #[arg(long)]
        into_debt: bool,
        /// Names this refund: the same again is booked once.
        #[arg(long)]
        key: Option<String>,
    },
}

/// `grant …`
#[derive(Debug, Subcommand)]
pub enum GrantCommand {
    /// Give credit.
    Add(GrantArgs),
    /// Grants and what is left of them.
    List {
        /// Only those of this account or payer.
        payer: Option<String>,
        /// Those that are revoked, moved or lapsed too.
        #[arg(long)]
        all: bool,
    },
    /// Take back what is left of a grant.
    Revoke {
        /// The grant's number.
        id: i64,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

/// Arguments of `grant add`.
#[derive(Debug, Args)]
pub struct GrantArgs {
    /// To whom.
    pub account: String,
    /// How much.
    #[arg(allow_negative_numbers = true)]
    pub amount: String,
    /// First day on which it counts (YYYY-MM-DD); without it, from now on.
    #[arg(long, value_name = "DATE")]
    pub from: Option<String>,
    /// First day on which it no longer counts (YYYY-MM-DD).
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
    /// Lower burns first.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i64,
    /// Pays for this usage type only, such as volume; it then does not count for Available.
    #[arg(long, value_name = "TYPE")]
    pub scope: Option<String>,
    /// Why.
    #[arg(long, default_value = "granted at the command line")]
    pub reason: String,
    /// Names this grant: the same again is given once.
    #[arg(long)]
    pub key: Option<String>,
}

/// `payer …`
#[derive(Debug, Subcommand)]
pub enum PayerCommand {
    /// Who pays, and for how many accounts.
    List,
    /// One payer with its accounts, grants and newest transfers.
    Show {
        /// A number, a customer's name, or an account.
        payer: String,
    },
    /// Put accounts under one customer: one limit, one ledger.
    Join {
        /// The accounts.
        #[arg(required = true)]
        accounts: Vec<String>,
        /// The customer; made if nobody is called so.
        #[arg(long)]
        name: String,
        /// The customer's credit limit, or none; needed where a joined account has one of its own.
        #[arg(long, value_name = "AMOUNT")]
        limit: Option<String>,
        /// Why.
        #[arg(long, default_value = "joined at the command line")]
        reason: String,
    },
    /// Set the first day that is charged; "cloud": as everybody's.
    BillingStart {
        /// A number, a customer's name, or an account.
        payer: String,
        /// The day (YYYY-MM-DD), or cloud.
        day: String,
        /// Why.
        #[arg(long, default_value = "set at the command line")]
        reason: String,
    },
    /// Set the class of policy; "none": the default applies.
    Class {
        /// A number, a customer's name, or an account.
        payer: String,
        /// The class, or none.
        class: String,
        /// Why.
        #[arg(long, default_value = "set at the command line")]
        reason: String,
    },
}

/// `promo …`
#[derive(Debug, Subcommand)]
pub enum PromoCommand {
    /// Make a code.
    Create(Box<PromoArgs>),
    /// Codes that can be redeemed, or all.
    List {
        /// Those that have ended too.
        #[arg(long)]
        all: bool,
    },
    /// One code with its redemptions.
    Show {
        /// The code.
        code: String,
    },
    /// End a code at once; grants that it gave stay.
    Close {
        /// The code.
        code: String,
    },
    /// Redeem a code for an account.
    Redeem {
        /// The account.
        account: String,
        /// The code.
        code: String,
        /// Names this redemption: the same again is one.
        #[arg(long)]
        key: Option<String>,
    },
    /// The public codes that an account is offered.
    Offers {
        /// The account.
        account: String,
    },
}

/// Arguments of `promo create`.
#[derive(Debug, Args)]
pub struct PromoArgs {
    /// The code: letters, digits, dashes, underscores; upper and lower case are the same.
    pub code: String,
    /// Gives this amount.
    #[arg(long, conflicts_with = "percent", required_unless_present = "percent")]
    pub amount: Option<String>,
    /// Gives so many percent of the next payment.
    #[arg(long)]
    pub percent: Option<String>,
    /// With --percent: never more than this.
    #[arg(long, value_name = "AMOUNT", requires = "percent")]
    pub max: Option<String>,
    /// First day on which it can be redeemed (YYYY-MM-DD); without it, from now on.
    #[arg(long, value_name = "DATE")]
    pub from: Option<String>,
    /// First day on which it no longer can (YYYY-MM-DD).
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
    /// How often in all; without it, any number of times.
    #[arg(long, value_name = "NUMBER")]
    pub uses: Option<i64>,
    /// How often by one account.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub per_account: i64,
    /// Counts with a payment of at least this; an amount then waits for it too.
    #[arg(long, value_name = "AMOUNT")]
    pub min_payment: Option<String>,
    /// For accounts in this domain and below (path or id); may be given several times. Without it, for everybody.
    #[arg(long = "domain", value_name = "DOMAIN")]
    pub domains: Vec<String>,
    /// Show it as an offer to whom it is for.
    #[arg(long)]
    pub public: bool,
    /// Billing days that its grant pays for, the first one included; without it, no end.
    #[arg(long, value_name = "NUMBER")]
    pub days: Option<i64>,
    /// Its grant pays for this usage type only.
    #[arg(long, value_name = "TYPE")]
    pub scope: Option<String>,
    /// Its grant's priority: lower burns first.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i64,
    /// For administrators.
    #[arg(long, default_value = "")]
    pub note: String,
}

/// `export …`
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Write a CSV file; its columns are in docs/export.md.
    Csv(CsvArgs),
}

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Export {
    /// Current usage records, by their start.
    Usage,
    /// Charges, by billing day.
    Charges,
    /// Entries of the ledger, by when they count.
    Ledger,
    /// The figures of every payer, now.
    Standing,
}

/// Arguments of `export csv`.
#[derive(Debug, Args)]
pub struct CsvArgs {
    /// What.
    pub what: Export,
    /// First day (YYYY-MM-DD).
    #[arg(long, value_name = "DATE")]
    pub from: Option<String>,
    /// First day that no longer counts (YYYY-MM-DD).
    #[arg(long, value_name = "DATE")]
    pub to: Option<String>,
    /// Only this payer: a number, a customer's name, or an account.
    #[arg(long)]
    pub payer: Option<String>,
    /// Only this account; of the ledger, its charges.
    #[arg(long, conflicts_with = "payer")]
    pub account: Option<String>,
    /// The file; without it, standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
