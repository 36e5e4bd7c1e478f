//! The table of lines, and the choosers above it.

use rust_decimal::Decimal;

use super::address::{link, query};
use crate::{
    money::{Currency, Money},
    store::{Tx, spending as rows},
    time::Day,
    web::{
        error::Failure,
        spending::{self, Ask, By, Figures, Line, groups::Key, period},
        tariffs, words,
    },
};

/// Lines of a page.
pub(super) const LINES: usize = 50;

/// Something to choose.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_chosen: bool,
}

/// A tab.
pub(super) struct Tab {
    pub(super) query: String,
    pub(super) label: &'static str,
    pub(super) is_here: bool,
}

/// A line of the table.
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) service: String,
    pub(super) quantity: String,
    pub(super) link: Option<String>,
    pub(super) width: String,
    pub(super) share: String,
    pub(super) net: String,
    pub(super) tax: String,
    pub(super) gross: String,
    pub(super) open: Option<String>,
}

pub(super) fn paging(ask: &Ask, lines: usize) -> (usize, usize) {
    let pages = lines.div_ceil(LINES).max(1);
    (ask.page.parse().unwrap_or(1).clamp(1, pages), pages)
}

/// What stands in the chooser of periods.
pub(super) fn period_value(ask: &Ask) -> &str {
    match ask.period.as_str() {
        "" if !(ask.from.is_empty() && ask.to.is_empty()) => "dates",
        "" => "this-month",
        other => other,
    }
}

pub(super) fn periods(ask: &Ask, today: Day) -> Vec<Choice> {
    let chosen = period_value(ask);
    let fixed = [
        ("this-month", words::usage::THIS_MONTH),
        ("last-month", words::usage::LAST_MONTH),
        ("last-30-days", words::usage::LAST_30_DAYS),
    ];
    let mut choices: Vec<Choice> = fixed
        .into_iter()
        .map(|(value, label)| Choice { value: value.to_owned(), label: label.to_owned(), is_chosen: value == chosen })
        .collect();
    choices.extend(period::months(today).into_iter().map(|month| {
        let name = period::month_name(month);
        Choice { is_chosen: name == chosen, label: name.clone(), value: name }
    }));
    if !choices.iter().any(|choice| choice.is_chosen) {
        // Dates, or a month longer ago.
        let label = if chosen == "dates" { words::usage::OWN_DATES } else { chosen };
        choices.insert(0, Choice { value: chosen.to_owned(), label: label.to_owned(), is_chosen: true });
    }
    choices
}

pub(super) fn label(by: By) -> &'static str {
    match by {
        By::Service => words::usage::SERVICE,
        By::Machine => words::usage::MACHINE,
        By::Tag => words::usage::TAG,
        By::Resource => words::usage::RESOURCE,
        By::Project => words::usage::PROJECT,
    }
}

pub(super) fn tabs(ask: &Ask, here: By) -> Vec<Tab> {
    By::ALL
        .into_iter()
        .map(|by| Tab { query: query(ask, &[("by", by.as_str())]), label: label(by), is_here: by == here })
        .collect()
}

/// Share of a whole in percent: for a bar, and for people.
pub(super) fn share(part: Money, whole: Money) -> (String, String) {
    if !whole.is_positive() {
        return ("0".to_owned(), String::new());
    }
    let percent = part
        .to_decimal()
        .checked_mul(Decimal::ONE_HUNDRED)
        .and_then(|scaled| scaled.checked_div(whole.to_decimal()))
        .unwrap_or_default();
    let width = percent.clamp(Decimal::ZERO, Decimal::ONE_HUNDRED).round_dp(2).normalize().to_string();
    (width, words::usage::percent(&percent.round_dp(1).normalize().to_string()))
}

pub(super) fn shown(
    ask: &Ask,
    figures: &Figures,
    line: &Line,
    whole: Money,
    tag: &str,
    currency: &Currency,
) -> Result<Shown, Failure> {
    let gross = line.sum.cost.gross()?;
    let (width, share) = share(gross, whole);
    Ok(Shown {
        name: line.name.clone(),
        service: line.usage_type.filter(|_| figures.by == By::Resource).map_or_else(String::new, spending::service),
        quantity: resource_type(line).map_or_else(String::new, |kind| tariffs::quantity(kind, line.sum.quantity, None)),
        link: link(ask, line, tag),
        width,
        share,
        net: currency.format_plain(line.sum.cost.net),
        tax: currency.format_plain(line.sum.cost.tax),
        gross: currency.format_plain(gross),
        open: (!line.sum.open.is_zero()).then(|| currency.format_plain(line.sum.open)),
    })
}

/// The usage type of a resource's line, in which its quantity is told.
pub(super) const fn resource_type(line: &Line) -> Option<i64> {
    match &line.key {
        Key::Resource(_, kind) => Some(*kind),
        _ => None,
    }
}

pub(super) fn notes(figures: &Figures) -> Vec<String> {
    let most = tariffs::number(Decimal::from(spending::MAX_RECORDS));
    [
        figures.told_since.map(|day| words::usage::told_since(&day.to_string(), &most)),
        figures.kept_since.map(|day| words::usage::kept_since(&day.to_string())),
        (figures.unpriced > 0).then(|| words::usage::unpriced(figures.unpriced)),
        (figures.by == By::Tag && figures.tags.is_empty()).then(|| words::usage::NO_TAGS.to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) async fn filters(tx: &mut Tx, ask: &Ask) -> Result<Vec<String>, Failure> {
    let mut filters = Vec::new();
    if let Some(kind) = spending::type_of(&ask.kind) {
        filters.push(format!("{} {}", words::usage::SERVICE, spending::service(kind)));
    }
    if !ask.machine.is_empty() {
        let name = rows::find_name(tx, &ask.machine).await?.unwrap_or_else(|| ask.machine.clone());
        filters.push(format!("{} {name}", words::usage::MACHINE));
    }
    if ask.project == "none" {
        filters.push(words::usage::NO_PROJECT.to_owned());
    } else if !ask.project.is_empty() {
        let name = rows::find_project_name(tx, &ask.project).await?.unwrap_or_else(|| ask.project.clone());
        filters.push(format!("{} {name}", words::usage::PROJECT));
    }
    if let Some(value) = &ask.value {
        filters.push(if value.is_empty() {
            format!("{} ({})", words::usage::NO_TAG, ask.tag)
        } else {
            format!("{} {}={value}", words::usage::TAG, ask.tag)
        });
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_between_nothing_and_all_for_the_bar() {
        let money = |text: &str| Money::parse(text).unwrap();
        assert_eq!(share(money("1"), money("3")), ("33.33".to_owned(), "33.3 %".to_owned()));
        assert_eq!(share(money("-1"), money("4")), ("0".to_owned(), "-25 %".to_owned()));
        assert_eq!(share(money("1"), Money::ZERO), ("0".to_owned(), String::new()));
    }
}
