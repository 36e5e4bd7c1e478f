//! Storing what was decided: decisions that changed, notices that are new, and figures for the gauges.

use std::{collections::HashMap, time::Duration};

use super::{
    deletions,
    plan::{Plan, PlannedAccount},
    run::{EnforceReport, Error, ReportLine},
};
use crate::{
    ids::{DecisionId, RunId},
    policy::{Outcome, Rung, WARNING_COUNTS_FOR, notices},
    store::{
        Tx,
        enforcement::{self as rows, NewDecision},
        policy as policy_rows,
    },
    time::Timestamp,
};

/// An unchanged decision is stored again after this time (design 7.15).
const DECISION_REPEATS_AFTER: Duration = Duration::from_hours(24);

/// The decisions of a run as they are stored.
pub(super) struct Stored<'p> {
    /// Each account with the decision that stands.
    pub decisions: Vec<(&'p PlannedAccount, DecisionId)>,
    /// Those that stand since an earlier run and lead to an act, as they are now: stored once something is begun on them, so that
    /// it is told in the words and figures of its own day.
    pub anew: HashMap<DecisionId, NewDecision>,
}

/// Stores decisions that changed, notices that are new, and since when payers are over.
pub(super) async fn store_plan<'p>(
    tx: &mut Tx,
    plan: &'p Plan,
    run: RunId,
    rehearsal: bool,
    now: Timestamp,
    report: &mut EnforceReport,
) -> Result<Stored<'p>, Error> {
    count_for_metrics(plan);
    crate::telemetry::metrics::intents_open(rows::list_open_intents(tx).await?.len() as u64);
    let newest = rows::list_newest_decisions(tx).await?;
    let carried_out = rows::list_carried_out(tx).await?;
    let reached = policy_rows::list_reached(tx).await?;
    let (mut decisions, mut anew) = (Vec::new(), HashMap::new());
    for planned in &plan.accounts {
        let decision = &planned.decision;
        let only_rehearsed = rehearsal || planned.is_rehearsal();
        let (outcome, rung, reason) = (decision.outcome.word(), decision.rung.word(), decision.reason.word());
        let stored = newest.get(&planned.account.id.get());
        let same = stored.is_some_and(|row| {
            row.outcome == outcome
                && row.rung == rung
                && row.reason == reason
                && (row.dry_run == 1) == only_rehearsed
                // What it decided was done: to do it again is another decision, with figures of its own.
                && !(carried_out.contains(&row.id) && leads_to_an_act(decision.outcome))
                && Timestamp::from_ms(row.decided_ms).plus(DECISION_REPEATS_AFTER) > now
        });
        let as_of_now = || NewDecision {
            run,
            payer: planned.account.payer_id,
            account: planned.account.id,
            outcome,
            rung,
            reason,
            sentence: decision.sentence.clone(),
            figures: figures_json(planned),
            dry_run: only_rehearsed,
        };
        let id = match stored {
            Some(row) if same => {
                let id = DecisionId::new(row.id);
                if leads_to_an_act(decision.outcome) {
                    anew.insert(id, as_of_now());
                }
                id
            }
            _ => rows::insert_decision(tx, &as_of_now(), now).await?,
        };
        for rung in Rung::ACTING {
            let since = decision.reached.get(rung);
            if reached.get(&(planned.account.payer_id, rung.word().to_owned())).copied() != since {
                policy_rows::put_reached(tx, planned.account.payer_id, rung.word(), since).await?;
            }
        }
        for notice in &decision.notices {
            let rehearsed = rehearsal || !planned.armed.has(notice.rung);
            if notice.acts_at.is_some() {
                // It is warned of anew: what was said of the same time before no longer counts.
                let (account, long_ago) = (planned.account.id, now.minus(WARNING_COUNTS_FOR));
                policy_rows::put_warnings_aside(tx, account, &notice.event, rehearsed, long_ago, now).await?;
            }
            let given = rows::insert_notice(
                tx,
                planned.account.payer_id,
                planned.account.id,
                planned.epoch,
                &notice.event,
                &notice.sentence,
                notice.acts_at,
                rehearsed,
                now,
            )
            .await?;
            if given {
                report.notices += 1;
                tracing::info!(
                    account = %planned.account.full_name(),
                    event = %notice.event,
                    rehearsal,
                    "notice recorded"
                );
            }
        }
        crate::telemetry::metrics::decisions(outcome, 1);
        report.decisions.push(ReportLine {
            account: planned.account.full_name(),
            outcome,
            rung,
            reason,
            sentence: decision.sentence.clone(),
            waits_for: decision.waits_for.clone(),
        });
        decisions.push((planned, id));
    }
    if !rehearsal {
        withdraw_warnings(tx, plan, now).await?;
        deletions::propose(tx, plan, now).await?;
    }
    Ok(Stored { decisions, anew })
}

/// Takes back what was said in earnest of steps that are not armed any more, or of accounts whose notices are held back by now, as far
/// as it has reached nobody: a threat that holds no longer must not go out because a mail server was slow.
async fn withdraw_warnings(tx: &mut Tx, plan: &Plan, now: Timestamp) -> Result<(), Error> {
    let unheard: Vec<_> = policy_rows::list_warnings(tx)
        .await?
        .into_iter()
        .filter(|row| row.dry_run == 0 && row.arrived_ms.is_none())
        .collect();
    if unheard.is_empty() {
        return Ok(());
    }
    let planned: HashMap<_, _> = plan.accounts.iter().map(|planned| (planned.account.id, planned)).collect();
    for row in unheard {
        let Some(planned) = planned.get(&row.account_id) else { continue };
        if planned.armed.has(notices::rung_of_event(&row.event)) && !planned.notices_wait {
            continue;
        }
        if policy_rows::withdraw_warnings(tx, row.account_id, &row.event, now).await? > 0 {
            tracing::info!(account = %planned.account.full_name(), event = %row.event, "a warning that reached nobody was taken back");
        }
    }
    Ok(())
}

/// Tells the gauges how many accounts are in which state, and how many managed payers have nothing left.
fn count_for_metrics(plan: &Plan) {
    let count =
        |wanted: &dyn Fn(&PlannedAccount) -> bool| plan.accounts.iter().filter(|row| wanted(row)).count() as u64;
    for state in ["enabled", "locked", "disabled"] {
        crate::telemetry::metrics::accounts(state, count(&|row| row.account.state == state));
    }
    let known = |row: &PlannedAccount| ["enabled", "locked", "disabled"].contains(&row.account.state.as_str());
    crate::telemetry::metrics::accounts("other", count(&|row| !known(row)));
    let over: std::collections::HashSet<_> = plan
        .accounts
        .iter()
        .filter(|row| row.standing.managed && !row.standing.figures.available.is_positive())
        .map(|row| row.standing.payer)
        .collect();
    crate::telemetry::metrics::payers_over_limit(over.len() as u64);
}

const fn leads_to_an_act(outcome: Outcome) -> bool {
    outcome.step_down().is_some() || matches!(outcome, Outcome::Restore)
}

/// The figures behind a decision, as they are stored.
pub(super) fn figures_json(planned: &PlannedAccount) -> String {
    let figures = &planned.standing.figures;
    serde_json::json!({
        "total": figures.total.to_string(),
        "used": figures.used.to_string(),
        "available": figures.available.to_string(),
        "limit": figures.limit.to_string(),
        "grants_left": figures.grants_left.to_string(),
        "money": figures.money.to_string(),
        "accrued": figures.accrued.to_string(),
        "per_day": planned.standing.per_day.to_string(),
        "days_left": planned.standing.days_left,
    })
    .to_string()
}
