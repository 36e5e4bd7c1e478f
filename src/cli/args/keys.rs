//! The words of `bursar key`.

use clap::Subcommand;

/// `key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Ask for API access.
    Request {
        /// The account.
        account: String,
        /// What for.
        #[arg(long)]
        purpose: String,
        /// For how many days.
        #[arg(long, default_value_t = 90)]
        days: u32,
        /// The request whose key the new one takes over from; both work for a while.
        #[arg(long, value_name = "REQUEST")]
        replaces: Option<i64>,
    },
    /// Requests and keys, newest first.
    List {
        /// Only those of this account.
        #[arg(long)]
        account: Option<String>,
        /// Only those in this state: requested, approved, denied, issued, shown, revoking, revoked, failed.
        #[arg(long)]
        state: Option<String>,
    },
    /// Everything about one request but its secret.
    Details {
        /// The request's number.
        id: i64,
    },
    /// Approve a request: a key pair is made, of a CloudStack user of its own where a user can have one pair only. Where two
    /// administrators have to approve, whoever changes the terms begins anew.
    Approve {
        /// The request's number.
        id: i64,
        /// For how many days, instead of what was asked.
        #[arg(long)]
        days: Option<u32>,
        /// What for, instead of what was asked.
        #[arg(long)]
        purpose: Option<String>,
        /// What to tell the person.
        #[arg(long)]
        message: Option<String>,
    },
    /// Deny a request.
    Deny {
        /// The request's number.
        id: i64,
        /// What to tell the person.
        #[arg(long)]
        message: String,
    },
    /// Show a pair, once; the secret is erased.
    Show {
        /// The request's number.
        id: i64,
    },
    /// Make a second key for the same purpose. The old one works on until somebody has looked at the new one, and for the
    /// overlap from then on (`[access] overlap_hours`). It ends when the old one would have ended.
    Rotate {
        /// The request's number.
        id: i64,
    },
    /// End a key at once.
    Revoke {
        /// The request's number.
        id: i64,
    },
    /// Take a key that is there already under an expiry: it is watched, warned of, and switched off at its end; its user
    /// stays. Without a user's name: list the keys in the account. No secret is read.
    Adopt {
        /// The account.
        account: String,
        /// The user's name, or the key's id where the user has several.
        user: Option<String>,
        /// For how many days from now.
        #[arg(long, default_value_t = 90)]
        days: u32,
        /// What it is for.
        #[arg(long, default_value = "adopted")]
        purpose: String,
    },
    /// Close or open CloudStack's own key self-service in an account.
    SelfService {
        #[command(subcommand)]
        /// What to do.
        command: SelfServiceCommand,
    },
    /// Roles with which a key can make or read keys, and what to do about each. Changes nothing.
    Rules,
    /// Look at every key now: whether it and its user are as bursar made them.
    Check,
}

/// `key self-service …`
#[derive(Debug, Subcommand)]
pub enum SelfServiceCommand {
    /// Show what closing would do, every key that would stop working first; with --yes, close. Keys of bursar live on.
    /// CloudStack's setting api.key.access is never touched: each user's own switch is. The people of the account are told.
    Close {
        /// The account.
        #[arg(required_unless_present = "domain", conflicts_with = "domain")]
        account: Option<String>,
        /// Every account of this domain and of those below it, one after the other; the same command again goes on. Protected
        /// accounts and those outside the scope are left out.
        #[arg(long, value_name = "PATH")]
        domain: Option<String>,
        /// A user whose keys live on; several times for several users. With --domain a name counts in every account, and
        /// ACCOUNT/USER in one.
        #[arg(long, value_name = "USER")]
        keep: Vec<String>,
        /// Close, after the list was read.
        #[arg(long)]
        yes: bool,
    },
    /// Show what opening would do; with --yes, give every user back what stood there before. The people of the account are told.
    Open {
        /// The account.
        #[arg(required_unless_present = "domain", conflicts_with = "domain")]
        account: Option<String>,
        /// Every account of this domain and of those below it in which it is closed.
        #[arg(long, value_name = "PATH")]
        domain: Option<String>,
        /// Open.
        #[arg(long)]
        yes: bool,
    },
    /// Accounts in which it is closed.
    List,
}
