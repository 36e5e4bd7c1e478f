//! Proposals to delete an account that has been stopped for long. bursar deletes nothing: a person decides, and does it.

use super::{
    plan::{Plan, PlannedAccount},
    record::figures_json,
    tell,
};
use crate::{
    policy::{Outcome, Rung},
    store::{
        StoreError, Tx, cloud,
        operations::{self as rows, DeletionRow},
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// Open proposals looked at in a run.
const OPEN_LOOKED_AT: i64 = 10_000;

/// Why a proposal can not be decided.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody decided before, or the account is no longer stopped.
    #[error("proposal {id} is {state}; `bursar deletion list --all` shows who decided and why")]
    Decided {
        /// The proposal.
        id: i64,
        /// What it is.
        state: String,
    },
}

/// Proposes what was decided, once for each time that an account has been stopped; proposals that have lost their object lapse.
/// What only holds the ladder back for a while (a pause, old usage, an exemption) takes no proposal away.
pub(super) async fn propose(tx: &mut Tx, plan: &Plan, now: Timestamp) -> Result<(), StoreError> {
    let wanted =
        |planned: &&PlannedAccount| planned.decision.outcome == Outcome::ProposeDeletion && !planned.is_rehearsal();
    for planned in plan.accounts.iter().filter(wanted) {
        let (account, sentence) = (&planned.account, &planned.decision.sentence);
        let Some(since) = planned.held_since else { continue };
        if rows::is_deletion_proposed_since(tx, account.id, since).await? {
            continue;
        }
        let figures = figures_json(planned);
        let made = rows::propose_deletion(tx, (account.id, account.payer_id), sentence, &figures, since, now).await?;
        if let Some(id) = made {
            let name = account.full_name();
            audit(tx, "bursar", "deletion.propose", &name, sentence, now).await?;
            let body = format!(
                "{name} has been stopped for long. Proposal {id} waits for you: `bursar deletion confirm {id} --reason …` or \
                 `bursar deletion refuse {id} --reason …`. bursar deletes nothing by itself."
            );
            // One that had lapsed is told again.
            let key = format!("deletion-{id}-{}", now.as_seconds());
            tell::administrators(tx, &key, "deletion", "An account may be deleted", &body, now).await?;
        }
    }
    for open in rows::list_deletions(tx, false, OPEN_LOOKED_AT).await? {
        let planned = plan.accounts.iter().find(|planned| planned.account.id == open.account_id);
        let Some(words) = lost_its_object(planned) else { continue };
        if rows::decide_deletion(tx, open.id, "lapsed", "bursar", words, now).await? {
            let name = cloud::get_account(tx, open.account_id).await?.full_name();
            audit(tx, "bursar", "deletion.lapse", &name, words, now).await?;
        }
    }
    Ok(())
}

/// Why there is nothing left to propose about an account, in words. None: bursar has it stopped as before.
fn lost_its_object(planned: Option<&PlannedAccount>) -> Option<&'static str> {
    match planned {
        None => Some("the account is no longer in CloudStack"),
        Some(planned) if planned.rung < Rung::Stop => Some("the account is no longer stopped for want of credit"),
        Some(planned) if planned.standing.limit_removed => Some("no credit limit applies to the account any more"),
        Some(planned) if planned.is_to_open => Some("enough is available again"),
        Some(planned) if planned.account.state == "enabled" => Some("somebody enabled the account in CloudStack"),
        Some(_) => None,
    }
}

/// A person says yes or no. Yes is recorded and tells what to do next; nothing is deleted.
pub async fn decide(
    tx: &mut Tx,
    id: i64,
    confirm: bool,
    (author, reason): (&str, &str),
    now: Timestamp,
) -> Result<DeletionRow, DeletionError> {
    let state = if confirm { "confirmed" } else { "refused" };
    let found = rows::get_deletion(tx, id).await?;
    if !rows::decide_deletion(tx, id, state, author, reason, now).await? {
        return Err(DeletionError::Decided { id, state: found.state });
    }
    let name = cloud::get_account(tx, found.account_id).await?.full_name();
    let action = if confirm { "deletion.confirm" } else { "deletion.refuse" };
    audit(tx, author, action, &name, reason, now).await?;
    Ok(rows::get_deletion(tx, id).await?)
}

/// What an administrator does after saying yes.
pub fn next_steps(account: &str) -> String {
    format!(
        "{account} is to be deleted. bursar does not do it: tell its people, save what has to be kept, then delete the account in \
         CloudStack (Accounts, {account}, Delete account), which removes its machines, volumes and networks for good. Its ledger \
         stays here."
    )
}

async fn audit(
    tx: &mut Tx,
    author: &str,
    action: &str,
    account: &str,
    answer: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: author.to_owned(),
        action: action.to_owned(),
        subject: account.to_owned(),
        answer: Some(answer.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}
