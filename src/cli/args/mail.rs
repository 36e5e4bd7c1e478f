//! `bursar mail …`

use clap::{ArgGroup, Subcommand};

/// `mail …`
#[derive(Debug, Subcommand)]
pub enum MailCommand {
    /// Make what is to be sent, and send what is due, once. A running server does so by itself.
    Send,
    /// Send a test mail past the outbox and tell what the mail server said. Enforcement can be armed once one has passed.
    Test {
        /// To whom; without it, to every address in [mail] admins.
        address: Option<String>,
    },
    /// The newest mails, and the accounts that nobody can be written to.
    List {
        /// Only those that were refused for good or given up.
        #[arg(long, conflicts_with = "open")]
        dead: bool,
        /// Only those that are still to be sent.
        #[arg(long)]
        open: bool,
    },
    /// Try a mail again that was given up, or at once one that waits.
    #[command(group(ArgGroup::new("which").required(true).args(["id", "dead"])))]
    Retry {
        /// The mail's number.
        id: Option<i64>,
        /// All that were given up. Mails to tenants that were given up longer than `[mail] give_up_hours` ago are dropped for good instead,
        /// unless they warn of what still stands.
        #[arg(long)]
        dead: bool,
    },
}
