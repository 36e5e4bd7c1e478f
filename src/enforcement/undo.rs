//! Taking back: what one run did, or everything that bursar ever took and has not given back.
//!
//! Promises: nothing of another owner's hold is lifted; what can not be given back is named with the reason; it works while
//! enforcement is paused, because whoever undoes has paused first.

use std::collections::BTreeSet;

use super::{
    act::{Actor, Done},
    plan::{self, PlannedAccount},
    record::figures_json,
    recover,
    run::{self, Enforcer, Error},
    switches,
};
use crate::{
    ids::{AccountId, RunId},
    store::{
        StoreError,
        enforcement::{self as rows, NewDecision},
        operations, policy as policy_rows,
        runs::{self, AuditLine},
    },
};

/// What an intent of these kinds took.
const DOWNWARDS: [&str; 3] = ["restrict", "lock", "stop"];

/// What was given back.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct UndoReport {
    /// The run that was undone; None: everything.
    pub of_run: Option<i64>,
    /// Accounts given back.
    pub given_back: Vec<String>,
    /// What could not be given back, with the reason.
    pub left: Vec<String>,
    /// What a former run had begun, with how it ended.
    pub recovered: Vec<String>,
}

/// Gives back what a run took: each account that it took a step down and that bursar still holds.
pub async fn undo(enforcer: &Enforcer<'_>, run: RunId, of: RunId, author: &str) -> Result<UndoReport, Error> {
    let mut tx = enforcer.store.read().await?;
    let known = operations::find_run(&mut tx, of).await?;
    let touched: BTreeSet<AccountId> = operations::list_intents_of_run(&mut tx, of)
        .await?
        .into_iter()
        .filter(|intent| intent.state == "done" && DOWNWARDS.contains(&intent.action.as_str()))
        .map(|intent| intent.account_id)
        .collect();
    tx.commit().await?;
    if known.is_none_or(|known| known.job != "enforce") {
        let text = format!("run {of} is no run of enforcement; `bursar runs enforce` shows them");
        return Err(StoreError::Missing(text).into());
    }
    let why = format!("run {of} was undone by {author}");
    let mut report = with_lease(enforcer, run, &touched, &why).await?;
    report.of_run = Some(of.get());
    audit(enforcer, author, "enforce.undo", &format!("run {of}"), &report).await?;
    Ok(report)
}

/// Pauses and disarms, then gives back every account that bursar holds.
pub async fn leave(enforcer: &Enforcer<'_>, run: RunId, author: &str) -> Result<UndoReport, Error> {
    let now = enforcer.clock.now();
    let mut tx = enforcer.store.begin().await?;
    runs::put_setting(&mut tx, switches::PAUSED, "1", now).await?;
    for row in policy_rows::list_arming(&mut tx).await? {
        policy_rows::disarm(&mut tx, &row.rung, &row.domain_path).await?;
    }
    let held: BTreeSet<AccountId> = rows::list_holds(&mut tx, None)
        .await?
        .into_iter()
        .filter(|hold| hold.owner == "billing")
        .map(|hold| hold.account_id)
        .collect();
    tx.commit().await?;
    let report = with_lease(enforcer, run, &held, &format!("bursar leaves, by order of {author}")).await?;
    audit(enforcer, author, "enforce.leave", "enforcement", &report).await?;
    Ok(report)
}

async fn with_lease(
    enforcer: &Enforcer<'_>,
    run: RunId,
    accounts: &BTreeSet<AccountId>,
    why: &str,
) -> Result<UndoReport, Error> {
    let fence = run::take_lease(enforcer).await?;
    let result = give_back_all(enforcer, run, fence, accounts, why).await;
    run::drop_lease(enforcer).await?;
    result
}

async fn give_back_all(
    enforcer: &Enforcer<'_>,
    run: RunId,
    fence: i64,
    accounts: &BTreeSet<AccountId>,
    why: &str,
) -> Result<UndoReport, Error> {
    let mut report = UndoReport::default();
    let Some(client) = enforcer.client else {
        report.left.push("everything: the enforcer's key pair is not configured".to_owned());
        return Ok(report);
    };
    let mut actor = Actor::new(enforcer, client, run, fence).await?;
    // What a former run began is ended first: nothing else can be done to its account before.
    report.recovered = recover::recover(&actor).await?;
    actor.note_locks_by_others().await?;
    let now = enforcer.clock.now();
    let mut tx = enforcer.store.read().await?;
    let arming = run::arming(&mut tx).await?;
    let plan = plan::plan(&mut tx, enforcer.settings, &[], &arming, now).await?;
    tx.commit().await?;
    for account in accounts {
        let Some(planned) = plan.accounts.iter().find(|planned| planned.account.id == *account) else {
            let mut tx = enforcer.store.read().await?;
            let gone = crate::store::cloud::get_account(&mut tx, *account).await?.full_name();
            report.left.push(format!("{gone}: it is no longer in CloudStack"));
            continue;
        };
        actor.carries_out_decisions_of(enforcer.clock.now());
        let name = planned.account.full_name();
        match give_back(enforcer, &actor, planned, run, why).await? {
            Done::Yes => report.given_back.push(name),
            Done::No(reason) => report.left.push(format!("{name}: {reason}")),
        }
    }
    Ok(report)
}

/// Gives one account back, whatever its figures say.
async fn give_back(
    enforcer: &Enforcer<'_>,
    actor: &Actor<'_>,
    planned: &PlannedAccount,
    run: RunId,
    why: &str,
) -> Result<Done, Error> {
    let mut tx = enforcer.store.begin().await?;
    let new = NewDecision {
        run,
        payer: planned.account.payer_id,
        account: planned.account.id,
        outcome: "restore",
        rung: "none",
        reason: "ordered",
        sentence: format!("Your account was opened again: {why}."),
        figures: figures_json(planned),
        dry_run: false,
    };
    let decision = rows::insert_decision(&mut tx, &new, enforcer.clock.now()).await?;
    tx.commit().await?;
    actor.restore(planned, decision).await
}

async fn audit(
    enforcer: &Enforcer<'_>,
    author: &str,
    action: &str,
    subject: &str,
    report: &UndoReport,
) -> Result<(), Error> {
    let mut tx = enforcer.store.begin().await?;
    let line = AuditLine {
        at_ms: enforcer.clock.now().as_ms(),
        actor: author.to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        answer: Some(format!("{} given back, {} left", report.given_back.len(), report.left.len())),
        ..AuditLine::default()
    };
    runs::write_audit(&mut tx, &line).await?;
    tx.commit().await?;
    Ok(())
}
