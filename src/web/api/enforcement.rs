//! How enforcement stands, its plans, and approving or dropping them.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::time;
use crate::{
    enforcement::plans::{self, PlanError},
    jobs::arming,
    store::{operations, runs},
    web::{
        WebState,
        access::{Reader, Writer},
        error::Failure,
    },
};

#[derive(Deserialize)]
pub(in crate::web) struct PlansOf {
    limit: Option<i64>,
}

/// What is armed where, what holds it up, and what waits for a person.
pub(in crate::web) async fn status(State(state): State<WebState>, _: Reader) -> Result<Json<Value>, Failure> {
    let status = arming::status(&state.app).await.map_err(|error| Failure::unexpected(&error))?;
    let armed: Vec<Value> = status
        .armed
        .iter()
        .map(|row| {
            json!({ "rung": row.rung, "domain": row.domain_path, "armed_by": row.armed_by, "armed": row.armed_ms })
        })
        .collect();
    Ok(Json(json!({
        "armed": armed, "paused": status.paused, "unconfirmed": status.unconfirmed,
        "unmatched": status.unmatched, "lacks_key": status.lacks_key,
        "cloudstack_version": status.version, "held_accounts": status.held, "deletion_proposals": status.deletions,
        "plans": status.plans.iter().map(head).collect::<Vec<_>>(),
        "last_run": status.last_run.map(|run| json!({
            "id": run.id, "started": time(run.started_ms), "ended": run.ended_ms.map(time), "outcome": run.outcome,
        })),
    })))
}

fn head(plan: &operations::PlanRow) -> Value {
    json!({
        "id": plan.id, "cause": plan.cause, "author": plan.author, "why": plan.why, "state": plan.state,
        "created": time(plan.created_ms), "expires": time(plan.expires_ms), "carried_out_in_run": plan.carried_run_id,
        "ended_by": plan.ended_by,
    })
}

pub(in crate::web) async fn list(
    State(state): State<WebState>,
    _: Reader,
    Query(query): Query<PlansOf>,
) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.read().await?;
    let plans = operations::list_plans(&mut tx, super::rows(query.limit)).await?;
    Ok(Json(json!({ "plans": plans.iter().map(head).collect::<Vec<_>>() })))
}

pub(in crate::web) async fn show(
    State(state): State<WebState>,
    _: Reader,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Failure> {
    one(&state, id).await
}

async fn one(state: &WebState, id: i64) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.read().await?;
    let plan = operations::get_plan(&mut tx, id).await?;
    let shown = plans::show(&mut tx, plan, state.app.config.fuse.second_admin).await?;
    Ok(Json(serde_json::to_value(shown).map_err(|error| Failure::unexpected(&error))?))
}

/// Has the server make a plan; the answer comes with the list.
pub(in crate::web) async fn make(
    State(state): State<WebState>,
    Writer(machine): Writer,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let mut tx = state.app.store.begin().await?;
    let request = runs::leave_request(&mut tx, "enforce-plan", "{}", &machine.author(), state.app.clock.now()).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "request": request }))))
}

fn refused(error: PlanError) -> Failure {
    match error {
        PlanError::Store(error) => error.into(),
        other => Failure::new(StatusCode::CONFLICT, "refused", other.to_string()),
    }
}

pub(in crate::web) async fn approve(
    State(state): State<WebState>,
    Writer(machine): Writer,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Failure> {
    let app = &state.app;
    let mut tx = app.store.begin().await?;
    let second = app.config.fuse.second_admin;
    let complete = plans::approve(&mut tx, id, &machine.approver(), second, app.clock.now()).await.map_err(refused)?;
    tx.commit().await?;
    if complete {
        state.wake.notify_one();
    }
    one(&state, id).await
}

pub(in crate::web) async fn drop_plan(
    State(state): State<WebState>,
    Writer(machine): Writer,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.begin().await?;
    plans::drop_plan(&mut tx, id, &machine.author(), state.app.clock.now()).await.map_err(refused)?;
    tx.commit().await?;
    one(&state, id).await
}
