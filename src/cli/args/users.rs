//! The words of `bursar user`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `user …`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// CloudStack's users, people of other issuers, and whom they are mapped to.
    List,
    /// Map a person to an account; whoever waits in the queue is let in by it.
    Map(UserMapArgs),
    /// Take a mapping away; its sessions end.
    Unmap {
        /// Who vouches for the person: "cloudstack", an issuer's name in the configuration, or its address.
        #[arg(long, default_value = "cloudstack")]
        issuer: String,
        /// The person at that issuer.
        subject: String,
        /// The account.
        account: String,
    },
    /// E-mail rules: whoever comes first with a verified address at a trusted issuer is of an account.
    Rules {
        #[command(subcommand)]
        /// What to do; without it: list.
        command: Option<EmailRuleCommand>,
    },
    /// People who signed in with OpenID Connect and are mapped to nothing.
    Queue,
    /// Say no to a person in the queue; mapping the person later lets them in nevertheless.
    Refuse {
        /// The number in the queue.
        id: i64,
    },
    /// Confirm that an address is a user's, or the account's.
    Confirm {
        /// The account.
        account: String,
        /// The address.
        email: String,
        /// The CloudStack user's id or name; without it the address is the account's and tells nobody apart.
        #[arg(long)]
        user: Option<String>,
    },
    /// Confirmed addresses.
    Confirmed {
        /// The account.
        account: Option<String>,
    },
    /// End that a confirmed address counts, with the mappings that rest on it.
    Unconfirm {
        /// The address's number.
        id: i64,
    },
    /// Mappings that let nobody in any more: the account or the CloudStack user is gone, moved or disabled.
    Orphans {
        /// Take them all away.
        #[arg(long)]
        remove: bool,
    },
    /// Signed links to pages of suspended accounts.
    Links {
        #[command(subcommand)]
        /// What to do; without it: list.
        command: Option<LinkCommand>,
    },
    /// Requests for more time of suspended accounts.
    MoreTime {
        #[command(subcommand)]
        /// What to do; without it: list.
        command: Option<MoreTimeCommand>,
    },
    /// Take mappings, e-mail rules and confirmed addresses in from a CSV file; all of it or nothing.
    Import {
        /// The file, with the columns `kind,issuer,who,account,account_id,role,user`.
        file: PathBuf,
        /// Say what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write mappings, e-mail rules and confirmed addresses as CSV.
    Export,
}

/// `user map …`
#[derive(Debug, Args)]
pub struct UserMapArgs {
    /// Who vouches for the person: "cloudstack" (the subject is then a CloudStack user id), an issuer's name in the configuration,
    /// or its address.
    #[arg(long, default_value = "cloudstack")]
    pub issuer: String,
    /// The person at that issuer, or, for somebody in the queue, the number there behind a #.
    pub subject: String,
    /// The account.
    pub account: String,
    /// What the person may do.
    #[arg(long, default_value = "viewer", value_parser = ["owner", "finance", "viewer", "cloud-admin"])]
    pub role: String,
    /// The CloudStack user that the person is: its id or name. The mapping then ends with that user.
    #[arg(long)]
    pub user: Option<String>,
}

/// `user rules …`
#[derive(Debug, Subcommand)]
pub enum EmailRuleCommand {
    /// Every rule, and who was let in by it.
    List,
    /// Make a rule, or change its role.
    Add {
        /// The issuer's name in the configuration, or its address.
        issuer: String,
        /// The address.
        email: String,
        /// The account.
        account: String,
        /// What whoever comes with it may do.
        #[arg(long, default_value = "viewer", value_parser = ["owner", "finance", "viewer"])]
        role: String,
    },
    /// Take a rule away, with who was let in by it.
    Drop {
        /// The rule's number.
        id: i64,
    },
}

/// `user links …`
#[derive(Debug, Subcommand)]
pub enum LinkCommand {
    /// Links that hold.
    List {
        /// Of this account only.
        account: Option<String>,
    },
    /// Take links back; pages that they opened close.
    Revoke {
        /// The account.
        account: String,
        /// Only the link of this number.
        #[arg(long)]
        id: Option<i64>,
    },
}

/// `user more-time …`
#[derive(Debug, Subcommand)]
pub enum MoreTimeCommand {
    /// Requests that wait for an answer.
    List,
    /// Leave the account alone until a date, and say so by mail.
    Grant {
        /// The request's number.
        id: i64,
        /// A date (2026-12-04: that day included), an instant (2026-12-04T12:00:00Z), or a time from now (12h, 3d, 2w).
        until: String,
        /// What to say.
        #[arg(long, default_value = "")]
        message: String,
    },
    /// Say no, by mail.
    Refuse {
        /// The request's number.
        id: i64,
        /// What to say.
        #[arg(long)]
        message: String,
    },
}
