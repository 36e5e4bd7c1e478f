//! Which days figures are about: what a person chose, as days of the billing zone.

use chrono::NaiveDate;

use super::Ask;
use crate::{
    rating::desk::month_of,
    time::Day,
    web::{access::Mistake, words},
};

/// The longest time that is shown at once: thirteen months.
const MAX_DAYS: i64 = 400;
/// Months that can be chosen by name.
const MONTHS: usize = 13;

/// Days from one on, up to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) struct Span {
    /// The first day.
    pub(in crate::web) from: Day,
    /// The first day after.
    pub(in crate::web) until: Day,
}

impl Span {
    /// How many days.
    pub(in crate::web) const fn days(self) -> i64 {
        self.until.number() - self.from.number()
    }

    /// The last day.
    pub(in crate::web) const fn last(self) -> Day {
        Day::from_number(self.until.number() - 1)
    }
}

/// A month: its first day and that of the next one.
fn month(day: Day) -> Option<Span> {
    month_of(day).ok().map(|(_, from, until)| Span { from, until })
}

/// The present month and those before it, newest first.
pub(in crate::web) fn months(today: Day) -> Vec<Span> {
    let mut months = Vec::new();
    let mut at = today;
    while months.len() < MONTHS
        && let Some(span) = month(at)
    {
        at = Day::from_number(span.from.number() - 1);
        months.push(span);
    }
    months
}

/// A month as it is chosen: `2026-11`.
pub(in crate::web) fn month_name(span: Span) -> String {
    span.from.date().map_or_else(String::new, |date| date.format("%Y-%m").to_string())
}

/// The days that were asked for; what is wrong with the dates otherwise.
pub(in crate::web) fn choose(ask: &Ask, today: Day) -> Result<Span, Mistake> {
    let period = ask.period.trim();
    let has_dates = !(ask.from.trim().is_empty() && ask.to.trim().is_empty());
    let none = || Mistake::new("period", words::usage::NOT_A_PERIOD);
    match period {
        "dates" => dates(ask),
        "" if has_dates => dates(ask),
        "" | "this-month" => month(today).ok_or_else(none),
        "last-month" => month(today).and_then(|span| month(Day::from_number(span.from.number() - 1))).ok_or_else(none),
        "last-30-days" => Ok(Span { from: Day::from_number(today.number() - 29), until: today.next() }),
        text => {
            let first = (text.len() == 7).then(|| format!("{text}-01").parse().ok()).flatten();
            first.map(Day::from_date).and_then(month).ok_or_else(none)
        }
    }
}

fn date(field: &str, text: &str) -> Result<Day, Mistake> {
    let text = text.trim();
    let date: Option<NaiveDate> = (text.len() == 10).then(|| text.parse().ok()).flatten();
    date.map(Day::from_date).ok_or_else(|| Mistake::new(field, words::usage::NOT_A_DATE))
}

fn dates(ask: &Ask) -> Result<Span, Mistake> {
    let (from, to) = (date("from", &ask.from)?, date("to", &ask.to)?);
    if to < from {
        return Err(Mistake::new("to", words::usage::DATES_TURNED));
    }
    let span = Span { from, until: to.next() };
    if span.days() > MAX_DAYS {
        return Err(Mistake::new("to", words::usage::too_many_days(MAX_DAYS)));
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::from_date(text.parse().unwrap())
    }

    fn asked(period: &str, from: &str, to: &str) -> Result<(String, String), String> {
        let ask = Ask { period: period.to_owned(), from: from.to_owned(), to: to.to_owned(), ..Ask::default() };
        choose(&ask, day("2026-03-30"))
            .map(|span| (span.from.to_string(), span.last().to_string()))
            .map_err(|mistake| mistake.field)
    }

    #[test]
    fn a_period_is_whole_days_with_both_ends() {
        let days = |from: &str, to: &str| Ok((from.to_owned(), to.to_owned()));
        assert_eq!(asked("", "", ""), days("2026-03-01", "2026-03-31"));
        assert_eq!(asked("last-month", "2020-01-01", ""), days("2026-02-01", "2026-02-28"));
        assert_eq!(asked("last-30-days", "", ""), days("2026-03-01", "2026-03-30"));
        assert_eq!(asked("2025-12", "", ""), days("2025-12-01", "2025-12-31"));
        assert_eq!(asked("dates", "2026-03-05", "2026-03-05"), days("2026-03-05", "2026-03-05"));
        assert_eq!(asked("", " 2026-03-05", "2026-03-06 "), days("2026-03-05", "2026-03-06"));
    }

    #[test]
    fn what_is_no_period_is_told_by_its_field() {
        for (period, from, to, field) in [
            ("yesterday", "", "", "period"),
            ("2026-13", "", "", "period"),
            ("20260-1", "", "", "period"),
            ("dates", "", "2026-03-01", "from"),
            ("dates", "2026-03-01", "", "to"),
            ("dates", "2026-02-30", "2026-03-01", "from"),
            ("dates", "2026-03-01", "2026-2-1", "to"),
            ("dates", "2026-03-01", "2026-02-28", "to"),
            ("dates", "2020-03-01", "2026-02-28", "to"),
            ("dates", "+99999-01", "2026-02-28", "from"),
            ("dates", "2026-03-01' --", "2026-03-01", "from"),
        ] {
            assert_eq!(asked(period, from, to), Err(field.to_owned()), "{period} {from} {to}");
        }
    }

    #[test]
    fn thirteen_months_can_be_chosen() {
        let months: Vec<String> = months(day("2026-03-30")).into_iter().map(month_name).collect();
        assert_eq!((months.len(), months[0].as_str(), months[12].as_str()), (13, "2026-03", "2025-03"));
    }
}
