//! Carrying out: steps downwards within the fuse, or exactly the lines of an approved plan.

use std::time::Duration;

use super::{
    Machine,
    act::{Actor, DECISION_IS_OLD, Done},
    calls::PAUSED_MEANWHILE,
    plan::PlannedAccount,
    plans,
    run::{EnforceReport, Enforcer, Error},
    switches,
};
use crate::{
    ids::{AccountId, DecisionId, RunId},
    policy::{Outcome, Reason, Rung},
    store::{
        enforcement as rows,
        operations::{self, PlanLineRow, PlanRow},
        runs,
    },
    time::Timestamp,
};

/// Decisions older than this are taken again: the rest of a plan is left for the next run.
const DECISIONS_LAST: Duration = Duration::from_secs(45);

/// A step downwards that is due, and the decision behind it.
pub(super) type Due<'p> = (&'p PlannedAccount, Rung, DecisionId);

/// One step, counted by the fuse before its first call.
pub(super) async fn step(
    enforcer: &Enforcer<'_>,
    actor: &Actor<'_>,
    (planned, rung, decision): Due<'_>,
    machines: u64,
    run: RunId,
) -> Result<Done, Error> {
    let account = planned.account.id;
    let mut tx = actor.write().await?;
    let machines = i64::try_from(machines).unwrap_or(i64::MAX);
    operations::begin_fuse_use(&mut tx, run, account, rung.word(), machines, enforcer.clock.now()).await?;
    tx.commit().await?;
    let stepped = Box::pin(actor.step_down(planned, decision, rung)).await;
    let done = actor.bear(stepped).await?.unwrap_or_else(Done::No);
    let mut tx = actor.write().await?;
    let open = rows::list_open_intents(&mut tx).await?.iter().any(|intent| intent.account_id == account);
    // What has no known end counts as done, and where another process took over, this line is not reached.
    if !open {
        let state = if matches!(done, Done::Yes | Done::Started(_)) { "done" } else { "not" };
        operations::end_fuse_use(&mut tx, run, account, state).await?;
    }
    tx.commit().await?;
    Ok(done)
}

/// Whether an administrator paused enforcement meanwhile.
pub(super) async fn is_paused(enforcer: &Enforcer<'_>) -> Result<bool, Error> {
    let mut tx = enforcer.store.read().await?;
    let paused = runs::find_setting(&mut tx, switches::PAUSED).await?.as_deref() == Some("1");
    tx.commit().await?;
    Ok(paused)
}

/// Carries out an approved plan: its lines whose decision is still the same, and nothing else downwards.
pub(super) async fn approved(
    enforcer: &Enforcer<'_>,
    actor: &Actor<'_>,
    plan: &PlanRow,
    (due, decided): (&[Due<'_>], &[PlannedAccount]),
    (run, planned_at): (RunId, Timestamp),
    report: &mut EnforceReport,
) -> Result<(), Error> {
    report.carried_plan = Some(plan.id);
    let mut tx = enforcer.store.read().await?;
    let lines = operations::list_plan_lines(&mut tx, plan.id).await?;
    let accounts = crate::store::cloud::list_accounts(&mut tx).await?;
    tx.commit().await?;
    let name = |id: AccountId| {
        accounts
            .iter()
            .find(|account| account.id == id)
            .map(crate::store::cloud::Account::full_name)
            .unwrap_or_default()
    };
    for line in lines.iter().filter(|line| line.state == "waiting") {
        if is_paused(enforcer).await? || enforcer.clock.now().since(planned_at) > DECISIONS_LAST {
            report.failed.push(format!("plan {}: the rest is left for the next run", plan.id));
            return Ok(());
        }
        let mut tx = enforcer.store.read().await?;
        let now = operations::get_plan(&mut tx, plan.id).await?;
        tx.commit().await?;
        if now.state != "approved" {
            report.failed.push(format!("plan {}: it is {} meanwhile; the rest is left", plan.id, now.state));
            return Ok(());
        }
        let full_name = name(line.account_id);
        let (state, answer) = match one(enforcer, actor, line, (due, decided), run).await? {
            Ok(done) => {
                report.note(line.rung.as_str(), &full_name, &done);
                // Nothing was sent, and that is no reason to use the line up.
                let is_cut_short = |why: &str| why.starts_with(PAUSED_MEANWHILE) || why == DECISION_IS_OLD;
                if done.why().is_some_and(is_cut_short) {
                    report.failed.push(format!("plan {}: the rest is left for the next run", plan.id));
                    return Ok(());
                }
                match done {
                    Done::Yes => ("done", "done".to_owned()),
                    Done::Started(why) => ("started", why),
                    Done::Left(why) | Done::No(why) => ("failed", why),
                }
            }
            Err(why) => {
                report.skipped.push(format!("{full_name}: {why}"));
                ("skipped", why)
            }
        };
        let mut tx = actor.write().await?;
        operations::end_plan_line(&mut tx, plan.id, line.account_id, state, &answer).await?;
        tx.commit().await?;
    }
    let now = enforcer.clock.now();
    let mut tx = actor.write().await?;
    if !operations::end_plan(&mut tx, plan.id, "done", &format!("run {run}"), Some(run), now).await? {
        // Dropped behind its last line.
        return Ok(());
    }
    let line = runs::AuditLine {
        at_ms: now.as_ms(),
        actor: format!("run {run}"),
        action: "plan.carry-out".to_owned(),
        subject: format!("plan {}", plan.id),
        answer: Some(format!("{} lines, {} left out", lines.len(), report.skipped.len())),
        ..runs::AuditLine::default()
    };
    runs::write_audit(&mut tx, &line).await?;
    tx.commit().await?;
    Ok(())
}

/// One line. Err: why it is left out.
async fn one(
    enforcer: &Enforcer<'_>,
    actor: &Actor<'_>,
    line: &PlanLineRow,
    (due, decided): (&[Due<'_>], &[PlannedAccount]),
    run: RunId,
) -> Result<Result<Done, String>, Error> {
    let same = due.iter().find(|(planned, rung, _)| planned.account.id == line.account_id && rung.word() == line.rung);
    let Some(step_due) = same else {
        let mut tx = enforcer.store.read().await?;
        let standing = rows::list_holds(&mut tx, Some(line.account_id)).await?;
        tx.commit().await?;
        // A run that was cut off while it carried this out: what it began was ended before anything new.
        if standing.iter().any(|hold| hold.owner == "billing" && hold.rung == line.rung) {
            return Ok(Ok(Done::Yes));
        }
        let decided = decided.iter().find(|planned| planned.account.id == line.account_id);
        return Ok(Err(why_not(&line.rung, decided)));
    };
    let mut machines = 0;
    if line.rung != Rung::Restrict.word() {
        let listed = actor.running_machines(&step_due.0.account).await;
        let now = match actor.bear(listed).await? {
            Ok(now) => now,
            Err(why) => return Ok(Ok(Done::No(format!("its machines could not be listed: {why}")))),
        };
        machines = now.len() as u64;
        // None: they were not listed when the plan was made. Former versions said so in a note alone.
        let planned: Option<Vec<Machine>> = serde_json::from_str(&line.machines).unwrap_or_else(|_| Some(Vec::new()));
        let notes: Vec<String> = serde_json::from_str(&line.notes).unwrap_or_default();
        let was_said = || notes.iter().any(|note| note.starts_with("its machines were not listed: "));
        let planned = planned.filter(|planned| !planned.is_empty() || !was_said());
        if line.rung == Rung::Stop.word()
            && let Some(planned) = planned
            && let Some(new) = now.iter().find(|machine| planned.iter().all(|known| known.id != machine.id))
        {
            return Ok(Err(format!("the machine {} runs now and is not in the plan", new.name)));
        }
    }
    Ok(Ok(step(enforcer, actor, *step_due, machines, run).await?))
}

/// Why the step of a line is not due any more, in words.
fn why_not(rung: &str, decided: Option<&PlannedAccount>) -> String {
    let Some(planned) = decided else { return "the account is no longer in CloudStack".to_owned() };
    match planned.decision.outcome.step_down() {
        Some(step) if step.word() == rung => format!("the step to {rung} is not armed there"),
        None if planned.decision.outcome == Outcome::Wait => {
            format!("the step to {rung} waits: {}", planned.decision.waits_for.join("; "))
        }
        _ => format!("to {rung} it is not decided any more"),
    }
}

/// Whether a step is due, and a guard or the night keeps it back: not what a person or the account's people have to do about it.
fn is_held_back(planned: &PlannedAccount) -> bool {
    planned.decision.outcome == Outcome::Wait
        && matches!(planned.decision.reason, Reason::HeldBack | Reason::QuietHours)
}

/// An older plan of the fuse has no object where the fuse holds; but where nothing is due at the moment, `decided`, one stays whose
/// steps are all held back: a guard or the night would throw away what one of two administrators has approved.
pub(super) async fn fuse_no_longer_blown(actor: &Actor<'_>, decided: &[PlannedAccount]) -> Result<(), Error> {
    let now = actor.enforcer.clock.now();
    let mut tx = actor.write().await?;
    plans::expire(&mut tx, now).await?;
    for plan in operations::list_open_plans(&mut tx).await? {
        if plan.cause == "fuse" && plan.state == "waiting" {
            let lines = operations::list_plan_lines(&mut tx, plan.id).await?;
            let waits = |line: &PlanLineRow| {
                decided.iter().any(|planned| planned.account.id == line.account_id && is_held_back(planned))
            };
            if lines.iter().all(waits) {
                continue;
            }
            plans::overtake(&mut tx, plan.id, "the fuse holds again", now).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}
