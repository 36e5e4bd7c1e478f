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

/// Proposes what was decided, once for each time over the credit; proposals that have lost their object lapse.
pub(super) async fn propose(tx: &mut Tx, plan: &Plan, now: Timestamp) -> Result<(), StoreError> {
    let wanted =
        |planned: &&PlannedAccount| planned.decision.outcome == Outcome::ProposeDeletion && !planned.is_rehearsal();
    for planned in plan.accounts.iter().filter(wanted) {
        let account = &planned.account;
        let since = planned.decision.reached.get(Rung::Stop).unwrap_or(now);
        let (sentence, figures) = (&planned.decision.sentence, figures_json(planned));
        let made = rows::propose_deletion(tx, (account.id, account.payer_id), sentence, &figures, since, now).await?;
        if let Some(id) = made {
            let name = account.full_name();
            audit(tx, "bursar", "deletion.propose", &name, sentence, now).await?;
            let body = format!(
                "{name} has been stopped for long. Proposal {id} waits for you: `bursar deletion confirm {id} --reason …` or \
                 `bursar deletion refuse {id} --reason …`. bursar deletes nothing by itself."
            );
            tell::administrators(tx, &format!("deletion-{id}"), "deletion", "An account may be deleted", &body, now)
                .await?;
        }
    }
    for open in rows::list_deletions(tx, false, OPEN_LOOKED_AT).await? {
        let stands = plan.accounts.iter().filter(wanted).any(|planned| planned.account.id == open.account_id);
        if !stands {
            let words = "the account is no longer stopped for want of credit";
            rows::decide_deletion(tx, open.id, "lapsed", "bursar", words, now).await?;
        }
    }
    Ok(())
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
