//! The figures and the records as files for spreadsheets.

use axum::{
    extract::{Query, State},
    response::Response,
};

use super::{
    DAYS_DRAWN, added_up,
    address::{strict_span, today},
    drawn, parts,
    table::resource_type,
};
use crate::{
    jobs::work::slug_of,
    web::{
        WebState,
        access::Tenant,
        error::Failure,
        rights::See,
        spending::{self, Ask, By, download, period, records::Which, sheet, shown::plain},
        words,
    },
};

/// A table of the page as a file, all of it: the lines, the days, or the months.
pub(in crate::web::tenant) async fn lines(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(ask): Query<Ask>,
) -> Result<Response, Failure> {
    match ask.table.as_str() {
        "" | "lines" => {}
        "days" => return days(&state, &tenant, &ask).await,
        "months" => return months(&state, &tenant).await,
        _ => return Err(Failure::bad(words::NOT_LIKE_THIS)),
    }
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

/// What each day cost and what that adds up to, as the page draws it: by month where the time is long.
async fn days(state: &WebState, tenant: &Tenant<See>, ask: &Ask) -> Result<Response, Failure> {
    let span = strict_span(state, ask)?;
    let mut tx = state.app.store.read().await?;
    let figures = spending::figures(state, &mut tx, tenant.account(), ask, span).await?;
    tx.commit().await?;
    let by_months = span.days() > DAYS_DRAWN;
    let each = drawn(&figures, today(state)?, by_months)?;
    let what = if by_months { "month" } else { "day" };
    let code = state.app.config.billing.currency.code();
    let rows: Vec<Vec<String>> = added_up(&each)?
        .into_iter()
        .zip(each)
        .map(|((name, sum), (_, gross))| vec![name, gross.to_string(), sum.to_string(), code.to_owned()])
        .collect();
    let (from, to) = (span.from.to_string(), span.last().to_string());
    sheet::answer(
        &["usage", &tenant.account().name, "days", &from, &to],
        &[what, "gross", "added_up", "currency"],
        &rows,
    )
}

/// The last months, as the page has them.
async fn months(state: &WebState, tenant: &Tenant<See>) -> Result<Response, Failure> {
    let today = today(state)?;
    let mut tx = state.app.store.read().await?;
    let sums = parts::month_sums(state, &mut tx, tenant.account(), today).await?;
    tx.commit().await?;
    let code = state.app.config.billing.currency.code();
    let rows: Vec<Vec<String>> = sums
        .into_iter()
        .map(|(month, sum)| {
            let (from, to) = (month.from.to_string(), month.last().to_string());
            vec![period::month_name(month), from, to, sum.to_string(), code.to_owned()]
        })
        .collect();
    let on = today.to_string();
    let head = ["month", "from", "to", "gross", "currency"];
    sheet::answer(&["usage", &tenant.account().name, "months", &on], &head, &rows)
}

/// The records of one resource as a file.
pub(in crate::web::tenant) async fn records(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(ask): Query<Ask>,
) -> Result<Response, Failure> {
    let span = strict_span(&state, &ask)?;
    download::records(&state, tenant.account(), ask, span, Which::Resource).await
}
