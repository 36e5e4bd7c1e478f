//! What stands around the table: corrections, the live estimate, the months, the payer's sum.

use super::{address::query, table::share};
use crate::{
    jobs::estimate,
    money::Money,
    rating::tax::TaxRate,
    store::{
        Tx,
        cloud::{self, Account},
        spending::{self as rows, Of},
    },
    time::{Day, Timestamp},
    web::{
        WebState,
        error::Failure,
        spending::{
            self, Ask,
            period::{self, Span},
        },
        tariffs, words,
    },
};

pub(super) struct ShownCorrection {
    pub(super) day: String,
    pub(super) service: String,
    pub(super) why: &'static str,
    pub(super) booked: String,
    pub(super) gross: String,
    pub(super) is_within: bool,
}

pub(super) struct MonthLine {
    pub(super) name: String,
    pub(super) query: String,
    pub(super) gross: String,
    pub(super) width: String,
    pub(super) is_here: bool,
}

pub(super) struct LiveLine {
    pub(super) service: String,
    pub(super) things: u64,
    pub(super) since: String,
    pub(super) per_day: String,
}

pub(super) struct Live {
    pub(super) lines: Vec<LiveLine>,
    pub(super) since: String,
    pub(super) per_day: String,
    pub(super) from: String,
    pub(super) percent: Option<String>,
    pub(super) read: Option<String>,
}

/// What all accounts of the payer spent, where there are several.
pub(super) async fn payer_total(
    state: &WebState,
    tx: &mut Tx,
    account: &Account,
    span: Span,
) -> Result<Option<String>, Failure> {
    if rows::count_accounts(tx, account.payer_id).await? < 2 {
        return Ok(None);
    }
    let payer = cloud::get_payer(tx, account.payer_id).await?;
    let days = spending::gross_by_day(state, tx, Of::Payer(payer.id), span).await?;
    let sum = Money::sum(days.into_values())?;
    Ok(Some(words::usage::payer_total(&payer.name, &state.app.config.billing.currency.format(sum))))
}

pub(super) async fn corrections(
    state: &WebState,
    tx: &mut Tx,
    account: &Account,
    span: Span,
) -> Result<Vec<ShownCorrection>, Failure> {
    let billing = &state.app.config.billing;
    spending::corrections(state, tx, account, span)
        .await?
        .into_iter()
        .map(|correction| {
            Ok(ShownCorrection {
                day: Day::from_number(correction.row.day).to_string(),
                service: spending::service(correction.row.usage_type),
                why: why(&correction.row.kind),
                booked: Timestamp::from_ms(correction.row.posted_ms).display_in(billing.zone),
                gross: billing.currency.format_plain(correction.cost.gross()?),
                is_within: correction.is_within,
            })
        })
        .collect()
}

pub(super) fn why(kind: &str) -> &'static str {
    match kind {
        "reversal" => words::usage::TAKEN_BACK,
        "charge" => words::usage::CHARGED_ANEW,
        _ => words::usage::REPORTED_ANEW,
    }
}

pub(super) async fn live(state: &WebState, tx: &mut Tx, account: &Account) -> Result<Option<Live>, Failure> {
    let Some(book) = tariffs::book(state, tx).await? else { return Ok(None) };
    let found =
        estimate::of_account(&state.app, tx, &book, account).await.map_err(|error| Failure::unexpected(&error))?;
    let Some(found) = found.filter(|found| found.read.is_some()) else { return Ok(None) };
    let billing = &state.app.config.billing;
    let payer = cloud::get_payer(tx, account.payer_id).await?;
    let tax = match &payer.tax_percent {
        Some(text) => TaxRate::parse(text).map_err(|error| Failure::unexpected(&error))?,
        None => state.app.tax()?,
    };
    let gross = |nanos: i64| -> Result<String, Failure> {
        let net = Money::round_from_nanos(nanos);
        Ok(billing.currency.format(net.plus(tax.of(net)?)?))
    };
    let net = |nanos: i64| billing.currency.format_plain(Money::round_from_nanos(nanos));
    let lines = found
        .lines
        .iter()
        .map(|(kind, line)| LiveLine {
            service: spending::service(i64::from(*kind)),
            things: line.things,
            since: net(line.net_nanos),
            per_day: net(line.per_day_nanos),
        })
        .collect();
    Ok(Some(Live {
        lines,
        since: gross(found.sum.net_nanos)?,
        per_day: gross(found.sum.per_day_nanos)?,
        from: found.from.display_in(billing.zone),
        percent: found.mean_percent.map(|mean| words::usage::percent(&mean.to_string())),
        read: found.read.map(|read| read.display_in(billing.zone)),
    }))
}

/// The last months with what each came to, newest first; those before the first one with a figure say nothing.
pub(super) async fn month_sums(
    state: &WebState,
    tx: &mut Tx,
    account: &Account,
    today: Day,
) -> Result<Vec<(Span, Money)>, Failure> {
    let months = period::months(today);
    let Some(first) = months.last() else { return Ok(Vec::new()) };
    let all = Span { from: first.from, until: today.next() };
    let days = spending::gross_by_day(state, tx, Of::Account(account.id), all).await?;
    let mut sums = Vec::new();
    for month in months {
        let own = days.iter().filter(|(day, _)| (month.from.number()..month.until.number()).contains(day));
        sums.push((month, Money::sum(own.map(|(_, sum)| *sum))?));
    }
    while sums.len() > 1 && sums.last().is_some_and(|(_, sum)| sum.is_zero()) {
        sums.pop();
    }
    Ok(sums)
}

pub(super) async fn months(
    state: &WebState,
    tx: &mut Tx,
    account: &Account,
    (span, today): (Span, Day),
) -> Result<Vec<MonthLine>, Failure> {
    let sums = month_sums(state, tx, account, today).await?;
    let most = sums.iter().map(|(_, sum)| *sum).max().unwrap_or_default();
    let currency = &state.app.config.billing.currency;
    Ok(sums
        .into_iter()
        .map(|(month, sum)| {
            let name = period::month_name(month);
            MonthLine {
                query: query(&Ask::default(), &[("period", &name)]),
                gross: currency.format(sum),
                width: share(sum, most).0,
                is_here: month == span,
                name,
            }
        })
        .collect())
}
