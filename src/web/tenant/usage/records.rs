//! The records of one resource, each with the price line that priced it.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use super::address::{query, strict_span};
use crate::{
    time::Day,
    web::{
        WebState,
        access::Tenant,
        error::Failure,
        pages::{self, Frame, Page},
        rights::See,
        spending::{self, Ask, records},
        tariffs, words,
    },
};

struct RecordLine {
    start: String,
    end: String,
    service: String,
    quantity: String,
    net: Option<String>,
    why: String,
}

struct SumLine {
    day: String,
    service: String,
    quantity: String,
    records: i64,
}

#[derive(Template)]
#[template(path = "usage_records.html")]
struct RecordsPage {
    frame: Frame,
    name: String,
    id: String,
    span: String,
    back: String,
    currency: String,
    records: Vec<RecordLine>,
    sums: Vec<SumLine>,
    kept_note: Option<String>,
    download: String,
    first: Option<String>,
    next: Option<String>,
}

/// The records of one resource.
pub(in crate::web::tenant) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(ask): Query<Ask>,
) -> Result<Response, Failure> {
    let span = strict_span(&state, &ask)?;
    let zone = state.app.config.billing.zone;
    let mut tx = state.app.store.read().await?;
    let found = records::page(&state, &mut tx, tenant.account(), &ask, span, records::PAGE).await?;
    tx.commit().await?;
    let own = |set: &[(&str, &str)]| {
        let mut all = vec![("resource", ask.resource.as_str())];
        all.extend(set);
        query(&ask, &all)
    };
    let page = RecordsPage {
        frame: Frame::around(&state, &tenant, Page::Usage),
        name: found.name,
        id: found.id,
        span: format!("{} {} {}", span.from, words::usage::TO_DAY, span.last()),
        back: query(&ask, &[("by", "resource")]),
        currency: state.app.config.billing.currency.code().to_owned(),
        records: found
            .pieces
            .iter()
            .map(|piece| RecordLine {
                start: piece.period.start().display_in(zone),
                end: piece.period.end().display_in(zone),
                service: spending::service(piece.usage_type),
                quantity: tariffs::quantity(piece.usage_type, piece.quantity, piece.size_bytes),
                net: piece.net_nanos.map(tariffs::nanos),
                why: piece.why.clone(),
            })
            .collect(),
        sums: found
            .sums
            .iter()
            .map(|row| SumLine {
                day: Day::from_number(row.day).to_string(),
                service: spending::service(row.sum.usage_type),
                quantity: tariffs::quantity(row.sum.usage_type, row.sum.quantity, row.sum.size_bytes),
                records: row.sum.records,
            })
            .collect(),
        kept_note: found.kept_since.map(|day| words::usage::kept_since(&day.to_string())),
        download: own(&[]),
        first: (!ask.after.is_empty()).then(|| own(&[])),
        next: found.next.as_ref().map(|after| own(&[("after", after)])),
    };
    pages::show(&page)
}
