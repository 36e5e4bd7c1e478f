//! Words of `bursar price`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `price …`
#[derive(Debug, Subcommand)]
pub enum PriceCommand {
    /// Write a price book with every usage type and offering seen, and blank prices.
    Init {
        /// The new file.
        file: PathBuf,
    },
    /// Tell everything that is wrong with a price book, and what it leaves without a price.
    Check {
        /// The file; without it, the configured one.
        file: Option<PathBuf>,
    },
    /// Show tariffs, discounts and tax rates.
    Show {
        /// The file; without it, the configured one.
        file: Option<PathBuf>,
    },
    /// Tell what the price book says differently from the one last used, or from another file.
    Diff {
        /// The old file; without it, the book that was last used for rating.
        old: Option<PathBuf>,
        /// The new file; without it, the configured one.
        new: Option<PathBuf>,
    },
    /// Price a machine, or anything else, for a month: as the bill would.
    Quote(Box<QuoteArgs>),
}

/// `price quote`
#[derive(Debug, Args)]
pub struct QuoteArgs {
    /// The month (YYYY-MM); without it, the present one.
    #[arg(long, value_name = "MONTH")]
    pub month: Option<String>,
    /// The tariffs, discounts and tax of this account: its name, full name or CloudStack id.
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// A machine with this service offering's id; with --type, the offering of that thing.
    #[arg(long, value_name = "ID")]
    pub offering: Option<String>,
    /// Hours that the machine runs in the month; without it, all of them. It exists all month.
    #[arg(long, value_name = "HOURS")]
    pub hours: Option<String>,
    /// A volume of so many GiB.
    #[arg(long, value_name = "GIB")]
    pub disk_gib: Option<u32>,
    /// The volume's disk offering's id.
    #[arg(long, value_name = "ID", requires = "disk_gib")]
    pub disk_offering: Option<String>,
    /// Public IP addresses.
    #[arg(long, value_name = "COUNT")]
    pub ip: Option<u32>,
    /// Another usage type, by its name in the price book.
    #[arg(long = "type", value_name = "TYPE", requires = "amount")]
    pub usage_type: Option<String>,
    /// How much of it: things that exist all month, GB (10^9 bytes) moved, millions of operations, or GiB held.
    #[arg(long, value_name = "NUMBER", requires = "usage_type")]
    pub amount: Option<String>,
    /// The size of each thing of --type in GiB.
    #[arg(long, value_name = "GIB", requires = "usage_type")]
    pub size_gib: Option<u32>,
    /// The zone's id.
    #[arg(long, value_name = "ID")]
    pub zone: Option<String>,
    /// The template's id.
    #[arg(long, value_name = "ID")]
    pub template: Option<String>,
    /// The OS type's id.
    #[arg(long, value_name = "ID")]
    pub os: Option<String>,
    /// The machine's CPUs.
    #[arg(long, value_name = "COUNT")]
    pub cpu: Option<u32>,
    /// The machine's memory in MiB.
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u32>,
    /// A resource tag; may be given several times.
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub tags: Vec<String>,
    /// The price book; without it, the configured one.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}
