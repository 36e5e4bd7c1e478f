//! The records of one resource, each with the price line that priced it.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use super::address::{query, strict_span};
use crate::web::{
    WebState,
    access::Tenant,
    error::Failure,
    pages::{self, Frame, Page},
    rights::See,
    spending::{
        Ask, records,
        shown::{self, RecordLine, SumLine},
    },
    words,
};

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
        span: format!("{} {} {}", span.from, words::usage::TO_DAY, span.last()),
        back: query(&ask, &[("by", "resource")]),
        currency: state.app.config.billing.currency.code().to_owned(),
        records: shown::records(&found, zone),
        sums: shown::sums(&found),
        kept_note: found.kept_since.map(|day| words::usage::kept_since(&day.to_string())),
        download: own(&[]),
        first: (!ask.after.is_empty()).then(|| own(&[])),
        next: found.next.as_ref().map(|after| own(&[("after", after)])),
        name: found.name,
        id: found.id,
    };
    pages::show(&page)
}
