//! What an account used, what it cost, what it pays, and what a machine would cost: everything that the tenant's pages show.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde_json::{Value, json};

use super::time;
use crate::{
    ids::AccountId,
    jobs::{estimate, work::slug_of},
    money::Money,
    store::{
        Tx,
        cloud::{self, Account},
    },
    time::Day,
    web::{
        WebState,
        access::Reader,
        error::Failure,
        quote::{self, Refused, Terms},
        spending::{
            self, Ask, Line,
            groups::{Cost, Key},
            period::{self, Span},
            records,
        },
        tariffs::{self, Lister},
        tenant,
    },
};

async fn account(tx: &mut Tx, id: i64) -> Result<Account, Failure> {
    Ok(cloud::get_account(tx, AccountId::new(id)).await?)
}

fn span(state: &WebState, ask: &Ask) -> Result<Span, Failure> {
    let now = state.app.clock.now();
    let today = Day::of(now, state.app.config.billing.zone)
        .ok_or_else(|| Failure::unexpected(&format!("the clock says {now}, which is in no calendar")))?;
    period::choose(ask, today).map_err(|mistake| Failure::bad(format!("{}: {}", mistake.field, mistake.text)))
}

fn cost(cost: Cost, open: Money) -> Result<Value, Failure> {
    Ok(json!({
        "net": cost.net.to_string(), "tax": cost.tax.to_string(), "gross": cost.gross()?.to_string(),
        "not_booked": open.to_string(),
    }))
}

fn quantity(usage_type: i64, quantity: i64) -> String {
    crate::rating::shown_quantity(i32::try_from(usage_type).unwrap_or_default(), quantity).to_string()
}

/// What was used of a resource; other lines are of many things.
fn quantity_of(line: &Line) -> Option<String> {
    match &line.key {
        Key::Resource(_, kind) => Some(quantity(*kind, line.sum.quantity)),
        _ => None,
    }
}

/// What was used in a time and what it cost.
pub(in crate::web) async fn usage(
    State(state): State<WebState>,
    _: Reader,
    Path(id): Path<i64>,
    Query(ask): Query<Ask>,
) -> Result<Json<Value>, Failure> {
    let span = span(&state, &ask)?;
    let mut tx = state.app.store.read().await?;
    let account = account(&mut tx, id).await?;
    let figures = spending::figures(&state, &mut tx, &account, &ask, span).await?;
    let corrections = spending::corrections(&state, &mut tx, &account, span).await?;
    let until = state.app.fetched_until(&mut tx).await?;
    tx.commit().await?;
    let mut lines = Vec::with_capacity(figures.lines.len());
    for line in &figures.lines {
        lines.push(json!({
            "name": line.name, "id": line.id, "type": line.usage_type.map(slug_of), "records": line.sum.records,
            "quantity": quantity_of(line), "cost": cost(line.sum.cost, line.sum.open)?,
        }));
    }
    let mut corrected = Vec::with_capacity(corrections.len());
    for correction in &corrections {
        corrected.push(json!({
            "kind": correction.row.kind, "day": Day::from_number(correction.row.day),
            "type": slug_of(correction.row.usage_type), "booked": time(correction.row.posted_ms),
            "net": correction.cost.net.to_string(), "tax": correction.cost.tax.to_string(),
            "gross": correction.cost.gross()?.to_string(), "in_figures": correction.is_within,
        }));
    }
    let days: Vec<Value> =
        figures.days.iter().map(|(day, gross)| json!({ "day": day, "gross": gross.to_string() })).collect();
    Ok(Json(json!({
        "account": account.id, "currency": state.app.config.billing.currency.code(),
        "from": span.from, "to": span.last(), "by": figures.by.as_str(), "figures_until": until,
        "total": cost(figures.total.cost, figures.total.open)?, "lines": lines, "days": days,
        "told_since": figures.told_since, "records_kept_since": figures.kept_since, "tags": figures.tags,
        "unpriced_records": figures.unpriced, "corrections": corrected,
    })))
}

/// The records of one resource and the price line behind each piece.
pub(in crate::web) async fn records(
    State(state): State<WebState>,
    _: Reader,
    Path(id): Path<i64>,
    Query(ask): Query<Ask>,
) -> Result<Json<Value>, Failure> {
    let span = span(&state, &ask)?;
    let mut tx = state.app.store.read().await?;
    let account = account(&mut tx, id).await?;
    let found = records::page(&state, &mut tx, &account, &ask, span, records::PAGE).await?;
    tx.commit().await?;
    let pieces: Vec<Value> = found
        .pieces
        .iter()
        .map(|piece| {
            json!({
                "start": piece.period.start(), "end": piece.period.end(), "type": slug_of(piece.usage_type),
                "quantity": quantity(piece.usage_type, piece.quantity), "bytes": piece.size_bytes,
                "net": piece.net_nanos.map(tariffs::nanos), "price_line": piece.why,
            })
        })
        .collect();
    let sums: Vec<Value> = found
        .sums
        .iter()
        .map(|row| {
            json!({
                "day": Day::from_number(row.day), "type": slug_of(row.sum.usage_type), "records": row.sum.records,
                "quantity": quantity(row.sum.usage_type, row.sum.quantity), "bytes": row.sum.size_bytes,
            })
        })
        .collect();
    Ok(Json(json!({
        "account": account.id, "currency": state.app.config.billing.currency.code(), "resource": found.id,
        "name": found.name, "from": span.from, "to": span.last(), "records": pieces, "daily_sums": sums,
        "records_kept_since": found.kept_since, "next": found.next,
    })))
}

/// What is there now and costs by time: an estimate.
pub(in crate::web) async fn live(
    State(state): State<WebState>,
    _: Reader,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.read().await?;
    let account = account(&mut tx, id).await?;
    let book = tariffs::book(&state, &mut tx).await?;
    let found = match &book {
        Some(book) => estimate::of_account(&state.app, &mut tx, book, &account)
            .await
            .map_err(|error| Failure::unexpected(&error))?,
        None => None,
    };
    tx.commit().await?;
    let net = |nanos: i64| Money::round_from_nanos(nanos).to_string();
    let told = found.map(|found| {
        let lines: Vec<Value> = found
            .lines
            .iter()
            .map(|(kind, line)| {
                json!({
                    "type": slug_of(i64::from(*kind)), "things": line.things, "net": net(line.net_nanos),
                    "net_per_day": net(line.per_day_nanos), "unpriced": line.unpriced,
                })
            })
            .collect();
        json!({
            "from": found.from, "until": found.until, "read": found.read, "lines": lines,
            "net": net(found.sum.net_nanos), "net_per_day": net(found.sum.per_day_nanos),
            "mean_error_percent": found.mean_percent.map(|mean| mean.to_string()),
        })
    });
    let currency = state.app.config.billing.currency.code();
    Ok(Json(json!({ "account": account.id, "currency": currency, "estimate": told })))
}

/// What the account pays for what.
pub(in crate::web) async fn prices(
    State(state): State<WebState>,
    _: Reader,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Failure> {
    let billing = &state.app.config.billing;
    let now = state.app.clock.now();
    let mut tx = state.app.store.read().await?;
    let account = account(&mut tx, id).await?;
    let book = tariffs::book(&state, &mut tx).await?.ok_or_else(|| Failure::missing("no prices are set yet"))?;
    let terms = Terms::of(&state, &mut tx, &account).await?;
    let own = book.own_prices(&terms.customer, now);
    let mut names = HashMap::new();
    for price in &own {
        tariffs::read_names(&mut tx, price.tariff.narrowing(), &mut names).await?;
    }
    tx.commit().await?;
    let today = Day::of(now, billing.zone).ok_or_else(|| Failure::unexpected(&format!("the clock says {now}")))?;
    let tax = terms.tax(&book, today);
    let lister = Lister { currency: &billing.currency, zone: billing.zone, now, tax, names: &names };
    let services = lister.services(&own);
    let prices: Vec<Value> = own
        .iter()
        .map(|price| {
            let steps: Vec<Value> = price
                .tariff
                .tiers()
                .iter()
                .map(|tier| {
                    json!({ "up_to": tier.up_to.map(|up_to| up_to.to_string()), "price": tier.price.to_string() })
                })
                .collect();
            json!({
                "type": price.tariff.usage_type().slug, "unit": price.tariff.unit().name(),
                "for": tariffs::what_for(price.tariff.narrowing(), &names), "offering": price.tariff.offering(),
                "list_price": price.tariff.price().map(|price| price.to_string()), "steps": steps,
                "discount_percent": price.discount.map(|discount| discount.percent().normalize().to_string()),
                "note": price.tariff.note(), "from": price.from, "until": price.until,
            })
        })
        .collect();
    let free = tenant::free_services(&book, &services);
    Ok(Json(json!({
        "account": account.id, "currency": book.currency().code(), "tax_percent": tax.percent().normalize().to_string(),
        "prices": prices, "free": free,
    })))
}

/// What a machine would cost in a month.
pub(in crate::web) async fn quote(
    State(state): State<WebState>,
    _: Reader,
    Path(id): Path<i64>,
    Query(ask): Query<quote::Ask>,
) -> Result<Json<Value>, Failure> {
    let mut tx = state.app.store.read().await?;
    let account = account(&mut tx, id).await?;
    let book = tariffs::book(&state, &mut tx).await?.ok_or_else(|| Failure::missing("no prices are set yet"))?;
    let terms = Terms::of(&state, &mut tx, &account).await?;
    let found = match quote::quote(&state, &mut tx, &account, (&book, &terms), &ask).await {
        Ok(found) => found,
        Err(Refused::Mistake(mistake)) => {
            return Err(Failure::bad(format!("{}: {}", mistake.field, mistake.text)));
        }
        Err(Refused::Failure(failure)) => return Err(failure),
    };
    tx.commit().await?;
    let lines: Vec<Value> = found
        .lines
        .iter()
        .map(|line| {
            json!({
                "item": line.item, "quantity": line.quantity, "price": line.price, "discount": line.discount,
                "net": line.net.to_string(),
            })
        })
        .collect();
    let taxes: Vec<Value> = found
        .taxes
        .iter()
        .map(|(rate, tax)| json!({ "percent": rate.percent().normalize().to_string(), "tax": tax.to_string() }))
        .collect();
    Ok(Json(json!({
        "account": account.id, "currency": book.currency().code(), "month": found.month, "lines": lines,
        "net": found.net.to_string(), "taxes": taxes, "gross": found.gross.to_string(), "free": found.free,
        "unpriced": found.unpriced, "share_of_credit_percent": found.share, "days_left": found.days_left,
    })))
}
