//! Reads the text of a price book and finds everything that is wrong with it, at once.
//!
//! Each problem names its line, says what is wrong and shows what would be right. The rules are those of
//! `docs/price-book.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use chrono_tz::Tz;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    book::{MAX_LINES, MAX_TEXT_BYTES, Tariff},
    discount::Discount,
    overlap,
    problem::{Problem, closest, shown},
    tax::Tax,
};
use crate::{money::Currency, time::Timestamp, usage::types::UsageType};

mod levy;
mod narrowing;
mod tariff;

/// The longest id, name and note, in bytes.
const MAX_TEXT: usize = 255;
/// Dates outside of 2000 to 2200 are slips of the keyboard (seconds since 1970).
const DATES: std::ops::Range<i64> = 946_684_800..7_258_118_400;
/// The keys of a book.
const BOOK_KEYS: [&str; 5] = ["currency", "free", "tariff", "discount", "tax"];

/// What was read.
pub(super) struct Parts {
    pub(super) currency: Currency,
    pub(super) currency_line: u32,
    pub(super) free: BTreeSet<i32>,
    pub(super) tariffs: Vec<Tariff>,
    pub(super) discounts: Vec<Discount>,
    pub(super) taxes: Vec<Tax>,
}

/// Reads a book, or finds all its problems, by line.
pub(super) fn read(text: &str, zone: Tz) -> Result<Parts, Vec<Problem>> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("the price book is longer than {} MiB", MAX_TEXT_BYTES >> 20);
        return Err(vec![Problem::new(1, message, "leave out offerings that the general tariff covers")]);
    }
    let mut reader = Reader::new(text, zone);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What follows a broken line can not be trusted, so the rules are not tried on it.
        for error in errors {
            let line = reader.line(error.span().map_or(0, |span| span.start));
            let message = format!("this is not TOML: {}", error.message());
            reader.problems.push(Problem::new(line, message, "type = \"running-vm\""));
        }
        return Err(reader.finish());
    }
    let (currency, free) = reader.head(document.get_ref());
    let tariffs = reader.entries(document.get_ref(), "tariff", Reader::tariff);
    let discounts = reader.entries(document.get_ref(), "discount", Reader::discount);
    let taxes = reader.entries(document.get_ref(), "tax", Reader::tax);
    reader.problems.extend(overlap::find(&tariffs, zone));
    reader.problems.extend(overlap::find(&discounts, zone));
    reader.problems.extend(overlap::find(&taxes, zone));
    reader.problems.extend(overlap::find_ambiguous(&tariffs));
    reader.free_and_priced(&free, &tariffs);
    match currency {
        Some((currency, currency_line)) if reader.problems.is_empty() => {
            Ok(Parts { currency, currency_line, free: free.into_keys().collect(), tariffs, discounts, taxes })
        }
        _ => Err(reader.finish()),
    }
}

type Table<'t> = DeTable<'t>;
type Value<'t> = Spanned<DeValue<'t>>;

/// Something could not be read, and its problem is noted already: so that reading goes on with the next key.
struct Noted;

struct Reader {
    /// Where each line starts.
    starts: Vec<usize>,
    zone: Tz,
    problems: Vec<Problem>,
    /// Where a domain was first named by id, and where by path.
    domains: [Option<u32>; 2],
}

impl Reader {
    fn new(text: &str, zone: Tz) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { starts, zone, problems: Vec::new(), domains: [None; 2] }
    }

    fn finish(mut self) -> Vec<Problem> {
        self.problems.sort();
        self.problems.dedup();
        self.problems
    }

    /// The line of a byte, from 1.
    fn line(&self, at: usize) -> u32 {
        u32::try_from(self.starts.partition_point(|start| *start <= at)).unwrap_or(u32::MAX).max(1)
    }

    fn line_of(&self, value: &Value<'_>) -> u32 {
        self.line(value.span().start)
    }

    fn refuse(&mut self, line: u32, message: impl fmt::Display, example: impl fmt::Display) {
        self.problems.push(Problem::new(line, message.to_string(), example.to_string()));
    }

    fn unknown_keys(&mut self, table: &Table<'_>, known: &[&str], place: &str) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let line = self.line(key.span().start);
            let guess = closest(key.get_ref(), known.iter().copied());
            let message = format!("{place} has no key {}; its keys are {}", shown(key.get_ref()), known.join(", "));
            let example = guess.map_or_else(|| "leave it out".to_owned(), |guess| format!("{guess} = …"));
            self.refuse(line, message, example);
        }
    }

    fn head(&mut self, book: &Table<'_>) -> (Option<(Currency, u32)>, BTreeMap<i32, u32>) {
        self.unknown_keys(book, &BOOK_KEYS, "a price book");
        let currency = match book.get("currency") {
            None => {
                self.refuse(1, "the book does not name its currency", "currency = \"EUR\"");
                None
            }
            Some(value) => {
                let line = self.line_of(value);
                let found = value.get_ref().as_str().map(Currency::from_code);
                match found {
                    Some(Ok(currency)) => Some((currency, line)),
                    Some(Err(error)) => {
                        self.refuse(line, error, "currency = \"EUR\"");
                        None
                    }
                    None => {
                        self.refuse(line, "the currency is not a text", "currency = \"EUR\"");
                        None
                    }
                }
            }
        };
        (currency, self.free(book))
    }

    fn free(&mut self, book: &Table<'_>) -> BTreeMap<i32, u32> {
        let mut free = BTreeMap::new();
        let Some(value) = book.get("free") else { return free };
        let example = "free = [\"template\", \"iso\"]";
        let DeValue::Array(entries) = value.get_ref() else {
            self.refuse(self.line_of(value), "free is not a list of usage types", example);
            return free;
        };
        for entry in entries {
            let line = self.line_of(entry);
            let Some(known) = self.usage_type(entry, example) else { continue };
            if free.insert(known.id, line).is_some() {
                self.refuse(line, format!("\"{known}\" is in the list twice"), example);
            }
        }
        free
    }

    fn usage_type(&mut self, value: &Value<'_>, example: &str) -> Option<&'static UsageType> {
        let (found, written) = match value.get_ref() {
            DeValue::String(text) => {
                let by_number = || text.parse().ok().and_then(UsageType::from_id);
                (UsageType::from_slug(text).or_else(by_number), shown(text))
            }
            DeValue::Integer(number) if number.radix() == 10 => {
                (number.as_str().parse().ok().and_then(UsageType::from_id), shown(number.as_str()))
            }
            _ => (None, "this".to_owned()),
        };
        if found.is_none() {
            let guess = value.get_ref().as_str().and_then(|text| {
                closest(&text.to_lowercase().replace('_', "-"), UsageType::all().iter().map(|known| known.slug))
            });
            let known: Vec<String> =
                UsageType::all().iter().map(|known| format!("{} ({})", known.slug, known.id)).collect();
            let message = format!("{written} is not a usage type; known are {}", known.join(", "));
            let example = guess.map_or_else(|| example.to_owned(), |guess| format!("\"{guess}\""));
            self.refuse(self.line_of(value), message, example);
        }
        found
    }

    /// Reads every `[[key]]`.
    fn entries<T>(
        &mut self,
        book: &Table<'_>,
        key: &str,
        read: impl Fn(&mut Self, u32, &Table<'_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = book.get(key) else { return Vec::new() };
        let example = format!("[[{key}]]");
        let DeValue::Array(entries) = value.get_ref() else {
            self.refuse(self.line_of(value), format!("each {key} begins with two brackets"), example);
            return Vec::new();
        };
        if entries.len() > MAX_LINES {
            let message = format!("the book has {} of [[{key}]]; at most {MAX_LINES} are read", entries.len());
            self.refuse(self.line_of(value), message, "leave out what more general ones cover");
            return Vec::new();
        }
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            let line = self.line_of(entry);
            match entry.get_ref() {
                DeValue::Table(table) => found.extend(read(self, line, table)),
                _ => self.refuse(line, format!("this is not a {key}"), &example),
            }
        }
        found
    }

    /// The value; its absence is a problem.
    fn required<'v, 't>(
        &mut self,
        line: u32,
        table: &'v Table<'t>,
        (place, key): (&str, &str),
        example: &str,
    ) -> Option<&'v Value<'t>> {
        let value = table.get(key);
        if value.is_none() {
            self.refuse(line, format!("this {place} has no {key}"), example);
        }
        value
    }

    /// The value, None if the key is absent.
    fn text(&mut self, table: &Table<'_>, key: &str, example: &str) -> Result<Option<String>, Noted> {
        let Some(value) = table.get(key) else { return Ok(None) };
        let fits = |text: &&str| text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
        let text = value.get_ref().as_str().filter(fits);
        if text.is_none() {
            let message = format!("{key} is not a text of one line and at most {MAX_TEXT} bytes");
            self.refuse(self.line_of(value), message, example);
        }
        text.map(|text| Some(text.to_owned())).ok_or(Noted)
    }

    /// The value, None if the key is absent.
    fn date(&mut self, table: &Table<'_>, key: &str) -> Result<Option<Timestamp>, Noted> {
        let Some(value) = table.get(key) else { return Ok(None) };
        let text = match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Datetime(date) => Some(date.to_string()),
            _ => None,
        };
        let found = text.and_then(|text| Timestamp::parse(text.trim(), self.zone));
        let date = found.filter(|date| DATES.contains(&date.as_seconds()));
        if date.is_none() {
            let message = if found.is_some() {
                format!("{key} is not a date between 2000 and 2200")
            } else {
                format!("{key} is neither a date nor an instant with a time zone")
            };
            let example = format!("{key} = \"2026-11-01\" (midnight in {}), \"2026-11-01T06:00:00Z\"", self.zone);
            self.refuse(self.line_of(value), message, example);
        }
        date.map(Some).ok_or(Noted)
    }

    /// Both dates, in order.
    fn dates(&mut self, table: &Table<'_>, place: &str) -> Result<(Option<Timestamp>, Option<Timestamp>), Noted> {
        let (from, until) = (self.date(table, "from"), self.date(table, "until"));
        let (from, until) = (from?, until?);
        if let (Some(from), Some(until), Some(value)) = (from, until, table.get("until"))
            && until <= from
        {
            let message = format!("until is not later than from, so the {place} is never in force");
            self.refuse(self.line_of(value), message, "from = \"2026-11-01\" with until = \"2027-01-01\"");
            return Err(Noted);
        }
        Ok((from, until))
    }

    /// A type is free or has a general price; single things of a free type may have one.
    fn free_and_priced(&mut self, free: &BTreeMap<i32, u32>, tariffs: &[Tariff]) {
        for tariff in tariffs.iter().filter(|tariff| tariff.narrowing.is_general()) {
            if let Some(line) = free.get(&tariff.usage_type.id) {
                let slug = tariff.usage_type.slug;
                let message = format!("\"{slug}\" has a tariff here and is free in line {line}");
                self.refuse(tariff.line, message, "keep one of both, or narrow the tariff to what costs something");
            }
        }
    }
}
