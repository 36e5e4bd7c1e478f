//! Accounts: their figures, and changes of limit and money.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Body, CallKey, time};
use crate::{
    ids::{AccountId, PayerId},
    ledger::{
        post::{self, Cause},
        rules::{Figures, Share},
        standing::Standing,
    },
    money::Money,
    store::{
        cloud::{self, Account},
        enforcement, gateways,
    },
    web::{
        WebState,
        access::{Reader, Writer},
        error::Failure,
    },
};

/// Decisions told along with an account.
const DECISIONS: i64 = 20;

#[derive(Deserialize)]
pub(in crate::web) struct Search {
    #[serde(default)]
    search: String,
}

#[derive(Deserialize)]
pub(in crate::web) struct NewLimit {
    /// A text, or null, which takes the account out of management and gives back what was suspended. It can not be left out.
    limit: Value,
    reason: String,
}

#[derive(Deserialize)]
pub(in crate::web) struct NewPayment {
    amount: String,
    reference: String,
}

fn figures(figures: &Figures) -> Value {
    let percent = match figures.share() {
        Share::Percent(percent) => Some(percent.normalize().to_string()),
        Share::NoCreditUnused | Share::NoCreditUsed => None,
    };
    json!({
        "total": figures.total.to_string(),
        "used": figures.used.to_string(),
        "available": figures.available.to_string(),
        "percent": percent,
        "limit": figures.limit.to_string(),
        "grants": figures.grants_amount.to_string(),
        "grants_left": figures.grants_left.to_string(),
        "money": figures.money.to_string(),
        "accrued": figures.accrued.to_string(),
    })
}

fn summary(account: &Account, standing: Option<&Standing>, gateways: &HashMap<PayerId, String>) -> Value {
    json!({
        "id": account.id,
        "cloudstack_id": account.cloud_id,
        "payer": account.payer_id,
        "name": account.name,
        "domain": account.domain_path,
        "state": account.state,
        "gone": account.gone_ms,
        "gateway": gateways.get(&account.payer_id),
        "managed": standing.is_some_and(|standing| standing.managed),
        "figures": standing.map(|standing| figures(&standing.figures)),
        "per_day": standing.map(|standing| standing.per_day.to_string()),
        "days_left": standing.and_then(|standing| standing.days_left),
    })
}

pub(in crate::web) async fn list(
    State(state): State<WebState>,
    _: Reader,
    Query(query): Query<Search>,
) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.read().await?;
    let standings: HashMap<_, _> =
        state.app.standings(&mut tx).await?.into_iter().map(|standing| (standing.payer, standing)).collect();
    let choices = gateways::list_choices(&mut tx).await?;
    let needle = query.search.to_lowercase();
    let accounts: Vec<Value> = cloud::list_accounts(&mut tx)
        .await?
        .iter()
        .filter(|account| account.gone_ms.is_none() && account.full_name().to_lowercase().contains(&needle))
        .map(|account| summary(account, standings.get(&account.payer_id), &choices))
        .collect();
    let until = state.app.fetched_until(&mut tx).await?;
    let currency = state.app.config.billing.currency.code();
    Ok(Json(json!({ "currency": currency, "figures_until": until, "accounts": accounts })))
}

pub(in crate::web) async fn show(
    State(state): State<WebState>,
    _: Reader,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.read().await?;
    let account = cloud::get_account(&mut tx, AccountId::new(id)).await?;
    let standing = state.app.standing_of(&mut tx, account.payer_id).await?;
    let mut told = summary(&account, Some(&standing), &gateways::list_choices(&mut tx).await?);
    let holds: Vec<Value> = enforcement::list_holds(&mut tx, Some(account.id))
        .await?
        .into_iter()
        .map(|hold| {
            json!({
                "owner": hold.owner, "rung": hold.rung, "reason": hold.reason,
                "placed_by": hold.placed_by, "placed": time(hold.placed_ms),
            })
        })
        .collect();
    let decisions: Vec<Value> = enforcement::list_decisions(&mut tx, account.id, DECISIONS)
        .await?
        .iter()
        .map(super::history::decision)
        .collect();
    if let Some(told) = told.as_object_mut() {
        told.insert("currency".to_owned(), json!(state.app.config.billing.currency.code()));
        told.insert("figures_until".to_owned(), json!(state.app.fetched_until(&mut tx).await?));
        told.insert("holds".to_owned(), Value::Array(holds));
        told.insert("decisions".to_owned(), Value::Array(decisions));
    }
    Ok(Json(told))
}

fn amount(text: &str) -> Result<Money, Failure> {
    Ok(Money::parse(text)?)
}

pub(in crate::web) async fn set_limit(
    State(state): State<WebState>,
    Writer(machine): Writer,
    Path(id): Path<i64>,
    CallKey(key): CallKey,
    Body(body): Body<NewLimit>,
) -> Result<Json<Value>, Failure> {
    let limit = match &body.limit {
        Value::Null => None,
        Value::String(text) => Some(amount(text)?),
        _ => return Err(Failure::bad("limit is a decimal text such as \"100.00\", or null")),
    };
    let app = &state.app;
    let mut tx = app.store.begin().await?;
    let account = cloud::get_account(&mut tx, AccountId::new(id)).await?;
    let (key, author) = (format!("api/limit/{}/{id}/{key}", machine.id), machine.author());
    let cause = Cause { key: &key, author: &author, reason: &body.reason };
    let defaults = (app.default_limit(), app.tax()?);
    let after = post::set_limit(&mut tx, account.payer_id, limit, cause, defaults, app.clock.now()).await?;
    tx.commit().await?;
    state.wake.notify_one();
    Ok(Json(json!({ "account": account.id, "figures": figures(&after) })))
}

pub(in crate::web) async fn add_payment(
    State(state): State<WebState>,
    Writer(machine): Writer,
    Path(id): Path<i64>,
    CallKey(key): CallKey,
    Body(body): Body<NewPayment>,
) -> Result<Json<Value>, Failure> {
    let amount = amount(&body.amount)?;
    let app = &state.app;
    let mut tx = app.store.begin().await?;
    let account = cloud::get_account(&mut tx, AccountId::new(id)).await?;
    let (key, author) = (format!("api/payment/{}/{id}/{key}", machine.id), machine.author());
    let cause = Cause { key: &key, author: &author, reason: &body.reference };
    let defaults = (app.default_limit(), app.tax()?);
    let after = post::add_payment(&mut tx, account.payer_id, amount, cause, defaults, app.clock.now()).await?;
    tx.commit().await?;
    state.wake.notify_one();
    Ok(Json(json!({ "account": account.id, "figures": figures(&after) })))
}
