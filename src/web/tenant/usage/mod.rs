//! "Usage & cost": what the account used in a time and what that cost, down to single records and the price line behind each.

mod address;
pub(super) mod files;
mod parts;
pub(super) mod records;
mod table;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use self::{
    address::{asked, only_time, query, today},
    parts::{Live, MonthLine, ShownCorrection},
    table::{Choice, LINES, Shown, Tab},
};
use crate::{
    money::Money,
    store::Tx,
    time::Day,
    web::{
        WebState,
        access::{Mistake, Tenant},
        chart::{self, Bar},
        error::Failure,
        pages::{self, Frame, Page},
        rights::See,
        spending::{
            self, Ask, By, Figures, Line,
            groups::Key,
            period::{self, Span},
        },
        words,
    },
};

/// Longer times are drawn by month.
const DAYS_DRAWN: i64 = 92;

#[derive(Template)]
#[template(path = "usage.html")]
struct UsagePage {
    frame: Frame,
    periods: Vec<Choice>,
    from: String,
    to: String,
    kept: Vec<(&'static str, String)>,
    mistake: Option<Mistake>,
    span: String,
    up_to: Option<String>,
    gross: String,
    net: String,
    tax: String,
    open: Option<String>,
    payer: Option<String>,
    filters: Vec<String>,
    everything: String,
    chart_title: &'static str,
    bars: Vec<Bar>,
    width: i64,
    sums: Vec<Bar>,
    curve: String,
    tabs: Vec<Tab>,
    by_label: &'static str,
    has_service: bool,
    tags: Vec<Choice>,
    kept_for_tag: Vec<(&'static str, String)>,
    asks_tag: bool,
    lines: Vec<Shown>,
    download: String,
    download_days: String,
    download_months: String,
    page: usize,
    pages: usize,
    previous: Option<String>,
    next: Option<String>,
    notes: Vec<String>,
    corrections: Vec<ShownCorrection>,
    live: Option<Live>,
    months: Vec<MonthLine>,
}

impl UsagePage {
    /// What is wrong with a field.
    fn wrong(&self, field: &str) -> Option<&str> {
        self.mistake.as_ref().filter(|mistake| mistake.field == field).map(|mistake| mistake.text.as_str())
    }

    /// Where a line leads.
    fn to(&self, link: &str) -> String {
        format!("{}{link}", self.frame.base)
    }
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(mut ask): Query<Ask>,
) -> Result<Response, Failure> {
    let today = today(&state)?;
    let (span, mistake) = match period::choose(&ask, today) {
        Ok(span) => (span, None),
        Err(mistake) => {
            let usual = period::choose(&Ask::default(), today);
            (usual.map_err(|mistake| Failure::unexpected(&mistake.text))?, Some(mistake))
        }
    };
    let typed = (ask.from.clone(), ask.to.clone());
    if mistake.is_some() {
        // The figures below are of this month then, and so are the links.
        (ask.period, ask.from, ask.to) = Default::default();
    }
    let mut tx = state.app.store.read().await?;
    let page = build(&state, &tenant, &mut tx, &ask, (span, today), (mistake, typed)).await?;
    tx.commit().await?;
    if page.mistake.is_some() { pages::show_refused(&page) } else { pages::show(&page) }
}

async fn build(
    state: &WebState,
    tenant: &Tenant<See>,
    tx: &mut Tx,
    ask: &Ask,
    (span, today): (Span, Day),
    (mistake, typed): (Option<Mistake>, (String, String)),
) -> Result<UsagePage, Failure> {
    let account = tenant.account();
    let billing = &state.app.config.billing;
    let currency = &billing.currency;
    let figures = spending::figures(state, tx, account, ask, span).await?;
    let gross = figures.total.cost.gross()?;
    let by_months = span.days() > DAYS_DRAWN;
    let drawn = drawn(&figures, today, by_months)?;
    let added = added_up(&drawn)?;
    let bars = chart::of_sums(&drawn, currency);
    let sums = chart::of_sums(&added, currency);
    let (page, pages) = table::paging(ask, figures.lines.len());
    let link = |to: usize| query(ask, &[("page", &to.to_string())]);
    let is_dates = table::period_value(ask) == "dates";
    let tag = if ask.tag.is_empty() { figures.tags.first().cloned().unwrap_or_default() } else { ask.tag.clone() };
    Ok(UsagePage {
        frame: Frame::around(state, tenant, Page::Usage),
        periods: table::periods(ask, today),
        from: if is_dates || mistake.is_some() { typed.0 } else { String::new() },
        to: if is_dates || mistake.is_some() { typed.1 } else { String::new() },
        kept: asked(ask).into_iter().filter(|(key, _)| !matches!(*key, "period" | "from" | "to")).collect(),
        mistake,
        span: words::prices::both(&span.from.to_string(), &format!("{} {}", words::usage::TO_DAY, span.last())),
        up_to: state.app.fetched_until(tx).await?.map(|until| until.display_in(billing.zone)),
        gross: currency.format(gross),
        net: currency.format(figures.total.cost.net),
        tax: currency.format(figures.total.cost.tax),
        open: (!figures.total.open.is_zero()).then(|| currency.format(figures.total.open)),
        payer: parts::payer_total(state, tx, account, span).await?,
        filters: table::filters(tx, ask).await?,
        everything: query(&only_time(ask), &[]),
        chart_title: if by_months { words::usage::BY_MONTH } else { words::usage::BY_DAY },
        width: chart::width(bars.len()),
        curve: chart::line(&sums),
        bars,
        sums,
        tabs: table::tabs(ask, figures.by),
        by_label: table::label(figures.by),
        has_service: figures.by == By::Resource,
        tags: figures
            .tags
            .iter()
            .map(|key| Choice { value: key.clone(), label: key.clone(), is_chosen: *key == tag })
            .collect(),
        kept_for_tag: asked(ask).into_iter().filter(|(key, _)| !matches!(*key, "tag" | "value")).collect(),
        asks_tag: figures.by == By::Tag,
        lines: figures
            .lines
            .iter()
            .skip((page - 1) * LINES)
            .take(LINES)
            .map(|line| table::shown(ask, &figures, line, gross, &tag, currency))
            .collect::<Result<_, _>>()?,
        download: query(ask, &[]),
        download_days: query(ask, &[("table", "days")]),
        download_months: query(&Ask::default(), &[("table", "months")]),
        previous: (page > 1).then(|| link(page - 1)),
        next: (page < pages).then(|| link(page + 1)),
        page,
        pages,
        notes: table::notes(&figures),
        corrections: parts::corrections(state, tx, account, span).await?,
        live: parts::live(state, tx, account).await?,
        months: parts::months(state, tx, account, (span, today)).await?,
    })
}

/// Where the records of this month of a line are, if it is one resource's.
pub(super) fn records_of(line: &Line) -> Option<String> {
    matches!(line.key, Key::Resource(..)).then(|| address::link(&Ask::default(), line, "")).flatten()
}

/// Sums by day or month, as they are drawn; days to come are not.
fn drawn(figures: &Figures, today: Day, by_months: bool) -> Result<Vec<(String, Money)>, Failure> {
    let mut drawn: Vec<(String, Money)> = Vec::new();
    for (day, sum) in &figures.days {
        if *day > today && sum.is_zero() && !drawn.is_empty() {
            break;
        }
        let name =
            if by_months { day.month().map_or_else(String::new, |month| month.to_string()) } else { day.to_string() };
        match drawn.last_mut().filter(|last| last.0 == name) {
            Some(last) => last.1 = last.1.plus(*sum)?,
            None => drawn.push((name, *sum)),
        }
    }
    Ok(drawn)
}

fn added_up(drawn: &[(String, Money)]) -> Result<Vec<(String, Money)>, Failure> {
    let mut sum = Money::ZERO;
    let mut added = Vec::with_capacity(drawn.len());
    for (name, more) in drawn {
        sum = sum.plus(*more)?;
        added.push((name.clone(), sum));
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_up_ends_with_the_sum() {
        let money = |text: &str| Money::parse(text).unwrap();
        let drawn = [("a".to_owned(), money("1")), ("b".to_owned(), money("-0.5")), ("c".to_owned(), money("2"))];
        let added: Vec<Money> = added_up(&drawn).unwrap().into_iter().map(|(_, sum)| sum).collect();
        assert_eq!(added, [money("1"), money("0.5"), money("2.5")]);
    }
}
