//! The figures and the records as files for spreadsheets.

use axum::{
    extract::{Query, State},
    response::Response,
};

use super::{address::strict_span, table::resource_type};
use crate::{
    jobs::work::slug_of,
    time::Day,
    web::{
        WebState,
        access::Tenant,
        error::Failure,
        rights::See,
        spending::{self, Ask, By, records as found_records, sheet},
        tariffs, words,
    },
};

/// A quantity as a plain number: hours with their decimals.
fn plain(usage_type: i64, quantity: i64) -> String {
    crate::rating::shown_quantity(i32::try_from(usage_type).unwrap_or_default(), quantity).to_string()
}

/// The lines of the page as a file, all of them.
pub(in crate::web::tenant) async fn lines(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(ask): Query<Ask>,
) -> Result<Response, Failure> {
    let span = strict_span(&state, &ask)?;
    let mut tx = state.app.store.read().await?;
    let figures = spending::figures(&state, &mut tx, tenant.account(), &ask, span).await?;
    tx.commit().await?;
    let by = figures.by.as_str();
    let head = ["from", "to", by, "id", "type", "records", "quantity", "net", "tax", "gross", "not_booked", "currency"];
    let code = state.app.config.billing.currency.code();
    let rows = figures
        .lines
        .iter()
        .map(|line| {
            let cost = line.sum.cost;
            Ok(vec![
                span.from.to_string(),
                span.last().to_string(),
                sheet::text(&line.name),
                sheet::text(&line.id),
                line.usage_type.map_or_else(String::new, slug_of),
                if figures.by == By::Service { String::new() } else { line.sum.records.to_string() },
                resource_type(line).map_or_else(String::new, |kind| plain(kind, line.sum.quantity)),
                cost.net.to_string(),
                cost.tax.to_string(),
                cost.gross()?.to_string(),
                line.sum.open.to_string(),
                code.to_owned(),
            ])
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let (from, to) = (span.from.to_string(), span.last().to_string());
    sheet::answer(&["usage", &tenant.account().name, by, &from, &to], &head, &rows)
}

/// The records of one resource as a file.
pub(in crate::web::tenant) async fn records(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(ask): Query<Ask>,
) -> Result<Response, Failure> {
    let ask = Ask { after: String::new(), ..ask };
    let span = strict_span(&state, &ask)?;
    let mut tx = state.app.store.read().await?;
    let found = found_records::page(&state, &mut tx, tenant.account(), &ask, span, found_records::FILE).await?;
    tx.commit().await?;
    if found.next.is_some() {
        return Err(Failure::bad(words::usage::TOO_MUCH_AT_ONCE));
    }
    let head = ["start", "end", "type", "resource", "name", "quantity", "bytes", "net", "price_line", "currency"];
    let code = state.app.config.billing.currency.code();
    let (id, name) = (sheet::text(&found.id), sheet::text(&found.name));
    let row = |start: String, end: String, kind: i64, (quantity, size): (String, Option<i64>), net, why| {
        let size = size.map_or_else(String::new, |bytes| bytes.to_string());
        vec![start, end, slug_of(kind), id.clone(), name.clone(), quantity, size, net, why, code.to_owned()]
    };
    let mut rows: Vec<Vec<String>> = found
        .sums
        .iter()
        .map(|sum| {
            let day = Day::from_number(sum.day).to_string();
            let quantity = (plain(sum.sum.usage_type, sum.sum.quantity), sum.sum.size_bytes);
            let why = words::usage::SUMS.to_owned();
            row(day.clone(), day, sum.sum.usage_type, quantity, String::new(), why)
        })
        .collect();
    rows.extend(found.pieces.iter().map(|piece| {
        let quantity = (plain(piece.usage_type, piece.quantity), piece.size_bytes);
        let net = piece.net_nanos.map_or_else(String::new, tariffs::nanos);
        let (start, end) = (piece.period.start().to_string(), piece.period.end().to_string());
        row(start, end, piece.usage_type, quantity, net, sheet::text(&piece.why))
    }));
    let (from, to) = (span.from.to_string(), span.last().to_string());
    sheet::answer(&["records", &tenant.account().name, &found.name, &from, &to], &head, &rows)
}
