//! The words of enforcement, holds and deletion proposals.

use clap::{Args, Subcommand};

/// Arguments of `enforce`.
#[derive(Debug, Args)]
pub struct EnforceArgs {
    /// Decide and store, but do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Store what would be done downwards as a plan, show it, and do nothing until it is approved.
    #[arg(long, conflicts_with = "dry_run")]
    pub plan: bool,
    #[command(subcommand)]
    /// Steer enforcement instead of running it.
    pub command: Option<EnforceCommand>,
}

/// What steers enforcement.
#[derive(Debug, Subcommand)]
pub enum EnforceCommand {
    /// From now on act on the decisions: all steps in the whole cloud, or only some. Shows first what the first run would do.
    Arm {
        /// Only this step of the ladder; may be given more than once.
        #[arg(long = "rung", value_name = "RUNG", value_parser = ["notify", "restrict", "lock", "stop"])]
        rungs: Vec<String>,
        /// Only this domain with everything below it, such as ROOT/acme; may be given more than once.
        #[arg(long = "domain", value_name = "PATH")]
        domains: Vec<String>,
        /// Do it without asking.
        #[arg(long)]
        yes: bool,
    },
    /// From now on only decide: everywhere, or for some steps and domains. What was taken is still given back.
    Disarm {
        /// Only this step of the ladder; may be given more than once.
        #[arg(long = "rung", value_name = "RUNG", value_parser = ["notify", "restrict", "lock", "stop"])]
        rungs: Vec<String>,
        /// Only this domain, as it was armed; may be given more than once.
        #[arg(long = "domain", value_name = "PATH")]
        domains: Vec<String>,
    },
    /// What is armed where, what is held up and why, and what waits for you.
    Status,
    /// Stop acting at once, on all replicas.
    Pause,
    /// Go on after a pause.
    Resume,
    /// The newest plans, or one with its lines.
    Plans {
        /// The plan's number.
        plan: Option<i64>,
    },
    /// Approve a plan: then exactly that is carried out, as far as it is still decided.
    Approve {
        /// The plan's number.
        plan: i64,
    },
    /// Drop a plan that was not carried out.
    Drop {
        /// The plan's number.
        plan: i64,
    },
    /// Give back what a run took, and leave those accounts alone for a while.
    Undo {
        /// The run's number, as `bursar runs enforce` shows it.
        run: i64,
    },
    /// How CloudStack and this database differ: what to look at after a restored backup.
    Differences,
    /// Say that you have looked: at the differences after a restored backup, or at a new version of CloudStack.
    Confirm,
}

/// `hold …`
#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Standing holds, of one account or of all.
    List {
        /// The account.
        account: Option<String>,
    },
    /// Say that an account must not be opened: by bursar, whatever is paid. It does not lock the account; do that in CloudStack.
    Place {
        /// The account.
        account: String,
        /// Whose hold it is.
        #[arg(long, value_parser = ["abuse", "admin", "tenant"])]
        owner: String,
        /// Why, for the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Lift a hold that a person placed. Where billing holds the account too, the next run opens it once enough is available.
    Lift {
        /// The account.
        account: String,
        /// Whose hold it is.
        #[arg(long, value_parser = ["abuse", "admin", "tenant", "before"])]
        owner: String,
        /// Why, for the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Say what a suspension from before bursar is.
    Adopt {
        /// The account.
        account: String,
        /// billing: bursar opens it when enough is available; abuse or admin: bursar never opens it.
        #[arg(long = "as", value_parser = ["billing", "abuse", "admin"])]
        owner: String,
    },
}

/// `deletion …`
#[derive(Debug, Subcommand)]
pub enum DeletionCommand {
    /// Accounts that the ladder proposes to delete.
    List {
        /// Decided ones too.
        #[arg(long)]
        all: bool,
    },
    /// Record that an account is to be deleted, and say what to do; bursar deletes nothing.
    Confirm {
        /// The proposal's number.
        id: i64,
        /// Why, for the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Record that an account stays.
    Refuse {
        /// The proposal's number.
        id: i64,
        /// Why, for the audit trail.
        #[arg(long)]
        reason: String,
    },
}

/// Arguments of `leave`.
#[derive(Debug, Args)]
pub struct LeaveArgs {
    /// Do it without asking.
    #[arg(long)]
    pub yes: bool,
}
