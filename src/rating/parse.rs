//! Reads the text of a price book and finds everything that is wrong with it, at once.
//!
//! Each problem names its line, says what is wrong and shows what would be right. The rules are those of
//! `docs/price-book.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use chrono_tz::Tz;
use rust_decimal::Decimal;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    book::{MAX_PRICE, MAX_PRICE_DECIMALS, MAX_TARIFFS, MAX_TEXT_BYTES, Tariff},
    overlap,
    problem::{Problem, closest, shown},
};
use crate::{
    money::Currency,
    time::Timestamp,
    usage::types::{Unit, UsageType},
};

/// The longest offering id and note, in bytes.
const MAX_TEXT: usize = 255;
/// Dates outside of 2000 to 2200 are slips of the keyboard (seconds since 1970).
const DATES: std::ops::Range<i64> = 946_684_800..7_258_118_400;
/// The keys of a book and of a tariff.
const BOOK_KEYS: [&str; 3] = ["currency", "free", "tariff"];
const TARIFF_KEYS: [&str; 7] = ["type", "unit", "price", "offering", "note", "from", "until"];

/// What was read.
pub(super) struct Parts {
    pub(super) currency: Currency,
    pub(super) currency_line: u32,
    pub(super) free: BTreeSet<i32>,
    pub(super) tariffs: Vec<Tariff>,
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
    let tariffs = reader.tariffs(document.get_ref());
    reader.problems.extend(overlap::find(&tariffs, zone));
    reader.free_and_priced(&free, &tariffs);
    match currency {
        Some((currency, currency_line)) if reader.problems.is_empty() => {
            Ok(Parts { currency, currency_line, free: free.into_keys().collect(), tariffs })
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
}

impl Reader {
    fn new(text: &str, zone: Tz) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { starts, zone, problems: Vec::new() }
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

    fn tariffs(&mut self, book: &Table<'_>) -> Vec<Tariff> {
        let Some(value) = book.get("tariff") else { return Vec::new() };
        let DeValue::Array(entries) = value.get_ref() else {
            self.refuse(self.line_of(value), "each tariff begins with two brackets", "[[tariff]]");
            return Vec::new();
        };
        if entries.len() > MAX_TARIFFS {
            let message = format!("the book has {} tariffs; at most {MAX_TARIFFS} are read", entries.len());
            self.refuse(self.line_of(value), message, "leave out offerings that the general tariff covers");
            return Vec::new();
        }
        let mut tariffs = Vec::with_capacity(entries.len());
        for entry in entries {
            let line = self.line_of(entry);
            match entry.get_ref() {
                DeValue::Table(table) => tariffs.extend(self.tariff(line, table)),
                _ => self.refuse(line, "this is not a tariff", "[[tariff]]"),
            }
        }
        tariffs
    }

    fn tariff(&mut self, line: u32, table: &Table<'_>) -> Option<Tariff> {
        self.unknown_keys(table, &TARIFF_KEYS, "a tariff");
        let usage_type = self.required(line, table, "type", "type = \"running-vm\"").and_then(|value| {
            let example = "type = \"running-vm\"";
            self.usage_type(value, example)
        });
        let unit = self.unit(line, table, usage_type);
        let price = self.price(line, table);
        let offering = self.offering(table, usage_type);
        let note = self.text(table, "note", "note = \"Medium Instance\"");
        let from = self.date(table, "from");
        let until = self.date(table, "until");
        let (from, until) = (from.ok()?, until.ok()?);
        if let (Some(from), Some(until), Some(value)) = (from, until, table.get("until"))
            && until <= from
        {
            let message = "until is not later than from, so the tariff is never in force";
            self.refuse(self.line_of(value), message, "from = \"2026-11-01\" with until = \"2027-01-01\"");
            return None;
        }
        Some(Tariff {
            usage_type: usage_type?,
            unit: unit?,
            price: price.ok()?,
            offering: offering.ok()?,
            note: note.ok()?,
            from,
            until,
            line,
        })
    }

    fn required<'v, 't>(&mut self, line: u32, table: &'v Table<'t>, key: &str, example: &str) -> Option<&'v Value<'t>> {
        let value = table.get(key);
        if value.is_none() {
            self.refuse(line, format!("this tariff has no {key}"), example);
        }
        value
    }

    fn unit(&mut self, line: u32, table: &Table<'_>, usage_type: Option<&UsageType>) -> Option<Unit> {
        let fitting: Vec<&str> =
            usage_type.map_or(Unit::ALL.as_slice(), |known| known.units).iter().map(|unit| unit.name()).collect();
        let example = format!("unit = \"{}\"", fitting.first().unwrap_or(&"hour"));
        let value = self.required(line, table, "unit", &example)?;
        let unit = value.get_ref().as_str().and_then(Unit::from_name);
        let here = self.line_of(value);
        match (unit, usage_type) {
            (None, _) => {
                let written = value.get_ref().as_str().map_or_else(|| "this".to_owned(), shown);
                self.refuse(here, format!("{written} is not a unit; fitting are {}", fitting.join(", ")), example);
                None
            }
            (Some(unit), Some(known)) if !known.takes(unit) => {
                let counted = known.quantity.word();
                let message = if unit.is_by_size() && known.units.contains(&Unit::Hour) {
                    format!("\"{known}\" can not be priced by {unit}: its records carry no size; fitting are ")
                } else {
                    format!("\"{known}\" counts {counted} and can not be priced by {unit}; fitting are ")
                };
                self.refuse(here, message + &fitting.join(", "), example);
                None
            }
            (Some(unit), _) => Some(unit),
        }
    }

    /// The price, None if it is blank.
    fn price(&mut self, line: u32, table: &Table<'_>) -> Result<Option<Decimal>, Noted> {
        let example = "price = \"0.02\"";
        let missing = "price = \"0.02\", or price = \"\" while it has none";
        let value = self.required(line, table, "price", missing).ok_or(Noted)?;
        let line = self.line_of(value);
        let text = match value.get_ref() {
            DeValue::String(text) => text.trim(),
            DeValue::Float(number) => {
                let written = shown(number.as_str());
                self.refuse(line, format!("the price {written} is not in quotes: write it as text"), example);
                return Err(Noted);
            }
            DeValue::Integer(number) => {
                let message = format!("the price {} is not in quotes: write it as text", shown(number.as_str()));
                self.refuse(line, message, example);
                return Err(Noted);
            }
            _ => {
                self.refuse(line, "the price is not a text", example);
                return Err(Noted);
            }
        };
        if text.is_empty() {
            return Ok(None);
        }
        match parse_price(text) {
            Ok(price) => Ok(Some(price)),
            Err(message) => {
                self.refuse(line, format!("the price {} {message}", shown(text)), example);
                Err(Noted)
            }
        }
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

    fn offering(&mut self, table: &Table<'_>, usage_type: Option<&UsageType>) -> Result<Option<String>, Noted> {
        let example = "offering = \"3a51980d-1969-47d9-ad1d-a9104acafda8\"";
        let text = self.text(table, "offering", example)?;
        let (Some(text), Some(value)) = (text, table.get("offering")) else { return Ok(None) };
        let line = self.line_of(value);
        if text.trim().is_empty() {
            self.refuse(line, "offering is blank: leave it out for a price of all offerings", example);
            return Err(Noted);
        }
        if let Some(known) = usage_type.filter(|known| !known.has_offering) {
            let message = format!("records of \"{known}\" name no offering, so this tariff would never be used");
            self.refuse(line, message, "leave offering out");
            return Err(Noted);
        }
        let id = text.trim();
        // CloudStack writes UUIDs in lower case; people copy them in any.
        let is_uuid = uuid::Uuid::try_parse(id).is_ok();
        Ok(Some(if is_uuid { id.to_ascii_lowercase() } else { id.to_owned() }))
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

    /// A type is free or has a general price; single offerings of a free type may have one.
    fn free_and_priced(&mut self, free: &BTreeMap<i32, u32>, tariffs: &[Tariff]) {
        for tariff in tariffs.iter().filter(|tariff| tariff.offering.is_none()) {
            if let Some(line) = free.get(&tariff.usage_type.id) {
                let slug = tariff.usage_type.slug;
                let message = format!("\"{slug}\" has a tariff here and is free in line {line}");
                let hint = if tariff.usage_type.has_offering {
                    "keep one of both, or name the offering that costs something"
                } else {
                    "keep one of both"
                };
                self.refuse(tariff.line, message, hint);
            }
        }
    }
}

/// Reads a price; the error continues the sentence "the price … ".
fn parse_price(text: &str) -> Result<Decimal, String> {
    let plain = text.len() <= 40 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    let price: Decimal = plain
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| "is not a plain decimal number with a dot".to_owned())?;
    if text.starts_with('-') {
        return Err("is negative; discounts are not prices".to_owned());
    }
    if price > Decimal::from(MAX_PRICE) {
        return Err(format!("is beyond {MAX_PRICE}"));
    }
    let decimals = text.split_once('.').map_or("", |(_, decimals)| decimals).trim_end_matches('0');
    if decimals.len() > usize::try_from(MAX_PRICE_DECIMALS).unwrap_or(usize::MAX) {
        return Err(format!("has more than {MAX_PRICE_DECIMALS} decimals"));
    }
    Ok(price)
}
