//! One `[[discount]]`, and one `[[tax]]`.

use rust_decimal::Decimal;

use super::{Noted, Reader, Table, narrowing::CUSTOMER_NARROWINGS};
use crate::{
    rating::{
        discount::{Discount, MAX_PERCENT_DECIMALS},
        problem::shown,
        tax::{Tax, TaxRate},
    },
    time::{Day, Timestamp},
};

const DISCOUNT_KEYS: [&str; 5] = ["percent", "type", "note", "from", "until"];
const TAX_KEYS: [&str; 4] = ["percent", "note", "from", "until"];

impl Reader {
    pub(super) fn discount(&mut self, line: u32, table: &Table<'_>) -> Option<Discount> {
        let known: Vec<&str> = DISCOUNT_KEYS.into_iter().chain(CUSTOMER_NARROWINGS).collect();
        self.unknown_keys(table, &known, "a discount");
        let percent = self.percent(line, table, "discount");
        let usage_type = match table.get("type") {
            None => Ok(None),
            Some(value) => self.usage_type(value, "type = \"running-vm\"").map(Some).ok_or(Noted),
        };
        let narrowing = self.customer_narrowing(table);
        let note = self.text(table, "note", "note = \"as agreed\"");
        let (from, until) = self.dates(table, "discount").ok()?;
        Some(Discount {
            percent: percent?,
            usage_type: usage_type.ok()?,
            narrowing: narrowing.ok()?,
            note: note.ok()?,
            from,
            until,
            line,
        })
    }

    pub(super) fn tax(&mut self, line: u32, table: &Table<'_>) -> Option<Tax> {
        let known: Vec<&str> = TAX_KEYS.into_iter().chain(CUSTOMER_NARROWINGS).collect();
        self.unknown_keys(table, &known, "a tax");
        let percent = self.percent(line, table, "tax");
        let narrowing = self.customer_narrowing(table);
        let note = self.text(table, "note", "note = \"abroad\"");
        let dates = self.dates(table, "tax");
        let (from_at, until_at) = dates.ok()?;
        let (from, until) = (self.day(table, "from", from_at), self.day(table, "until", until_at));
        Some(Tax {
            rate: TaxRate::from_percent(percent?).ok()?,
            narrowing: narrowing.ok()?,
            note: note.ok()?,
            from: from.ok()?,
            until: until.ok()?,
            from_at,
            until_at,
            line,
        })
    }

    /// Percent from 0 to 100 in quotes.
    fn percent(&mut self, line: u32, table: &Table<'_>, place: &str) -> Option<Decimal> {
        let example = if place == "tax" { "percent = \"20\"" } else { "percent = \"10\"" };
        let value = self.required(line, table, (place, "percent"), example)?;
        let text = value.get_ref().as_str().map(str::trim);
        // A discount has the limits of a tax rate: plain, from 0 to 100, four decimals.
        let percent = text.and_then(|text| TaxRate::parse(text).ok()).map(TaxRate::percent);
        if percent.is_none() {
            let written = text.map_or_else(|| "this".to_owned(), shown);
            let message = format!(
                "{written} is not a percentage in quotes, from 0 to 100 with at most {MAX_PERCENT_DECIMALS} decimals"
            );
            self.refuse(self.line_of(value), message, example);
        }
        percent
    }

    /// The billing day that begins at an instant.
    fn day(&mut self, table: &Table<'_>, key: &str, at: Option<Timestamp>) -> Result<Option<Day>, Noted> {
        let (Some(at), Some(value)) = (at, table.get(key)) else { return Ok(None) };
        let day = Day::of(at, self.zone).filter(|day| day.start(self.zone) == Some(at));
        if day.is_none() {
            let message =
                format!("{key} of a tax is not the start of a billing day in {}: a day has one rate", self.zone);
            self.refuse(self.line_of(value), message, format!("{key} = \"2027-01-01\""));
        }
        day.map(Some).ok_or(Noted)
    }
}
