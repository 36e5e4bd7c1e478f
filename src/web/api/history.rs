//! What was decided, and what ran.

use axum::{
    Json,
    extract::{Query, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::time;
use crate::{
    ids::AccountId,
    store::{
        enforcement::{self, DecisionRow},
        runs,
    },
    web::{WebState, access::Reader, error::Failure},
};

#[derive(Deserialize)]
pub(in crate::web) struct DecisionsOf {
    account: Option<i64>,
    limit: Option<i64>,
}

#[derive(Deserialize)]
pub(in crate::web) struct RunsOf {
    job: Option<String>,
    limit: Option<i64>,
}

/// A text that holds JSON, as JSON.
fn unpacked(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

pub(super) fn decision(row: &DecisionRow) -> Value {
    json!({
        "id": row.id, "run": row.run_id, "account": row.account_id, "outcome": row.outcome, "rung": row.rung,
        "reason": row.reason, "sentence": row.sentence, "figures": unpacked(&row.figures),
        "dry_run": row.dry_run != 0, "decided": time(row.decided_ms),
    })
}

/// The decisions of one account, or the newest one of each.
pub(in crate::web) async fn decisions(
    State(state): State<WebState>,
    _: Reader,
    Query(query): Query<DecisionsOf>,
) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.read().await?;
    let rows = super::rows(query.limit);
    let decisions = if let Some(account) = query.account {
        enforcement::list_decisions(&mut tx, AccountId::new(account), rows).await?
    } else {
        let mut newest: Vec<_> = enforcement::list_newest_decisions(&mut tx).await?.into_values().collect();
        newest.sort_by_key(|decision| std::cmp::Reverse(decision.id));
        newest.truncate(usize::try_from(rows).unwrap_or(usize::MAX));
        newest
    };
    Ok(Json(json!({ "decisions": decisions.iter().map(decision).collect::<Vec<_>>() })))
}

pub(in crate::web) async fn runs(
    State(state): State<WebState>,
    _: Reader,
    Query(query): Query<RunsOf>,
) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.read().await?;
    let runs: Vec<Value> = runs::list_runs(&mut tx, query.job.as_deref(), super::rows(query.limit))
        .await?
        .iter()
        .map(|run| {
            json!({
                "id": run.id, "job": run.job, "cause": run.cause, "started": time(run.started_ms),
                "ended": run.ended_ms.map(time), "outcome": run.outcome, "detail": unpacked(&run.detail),
            })
        })
        .collect();
    Ok(Json(json!({ "runs": runs })))
}
