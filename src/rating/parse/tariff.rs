//! One `[[tariff]]`: type, unit, price or tiers.

use rust_decimal::Decimal;
use toml::de::DeValue;

use super::{Noted, Reader, Table, Value, narrowing::TARIFF_NARROWINGS};
use crate::{
    rating::{
        book::{MAX_PRICE, MAX_PRICE_DECIMALS, Pricing, Tariff},
        problem::shown,
        tiers::{MAX_TIERS, Tier},
    },
    usage::types::{Unit, UsageType},
};

const OWN_KEYS: [&str; 8] = ["type", "unit", "price", "tiers", "free_amount", "note", "from", "until"];
const TIER_KEYS: [&str; 2] = ["up_to", "price"];
const PRICE_EXAMPLE: &str = "price = \"0.02\"";
const TIERS_EXAMPLE: &str = "tiers = [{ up_to = \"100\", price = \"0.10\" }, { price = \"0.08\" }]";
const FREE_EXAMPLE: &str = "free_amount = \"10\"";
/// The most decimals of an amount of use, which is counted in billionths, and the largest such amount.
const USE: Limits = Limits { most: 1_000_000_000, decimals: 9 };
const PRICE: Limits = Limits { most: MAX_PRICE, decimals: MAX_PRICE_DECIMALS };

struct Limits {
    most: i64,
    decimals: u32,
}

impl Reader {
    pub(super) fn tariff(&mut self, line: u32, table: &Table<'_>) -> Option<Tariff> {
        let known: Vec<&str> = OWN_KEYS.into_iter().chain(TARIFF_NARROWINGS).collect();
        self.unknown_keys(table, &known, "a tariff");
        let example = "type = \"running-vm\"";
        let usage_type =
            self.required(line, table, ("tariff", "type"), example).and_then(|value| self.usage_type(value, example));
        let unit = self.unit(line, table, usage_type);
        let pricing = self.pricing(line, table);
        let narrowing = self.narrowing(table, usage_type);
        let note = self.text(table, "note", "note = \"Medium Instance\"");
        let (from, until) = self.dates(table, "tariff").ok()?;
        Some(Tariff {
            usage_type: usage_type?,
            unit: unit?,
            pricing: pricing.ok()?,
            narrowing: narrowing.ok()?,
            note: note.ok()?,
            from,
            until,
            line,
        })
    }

    fn unit(&mut self, line: u32, table: &Table<'_>, usage_type: Option<&UsageType>) -> Option<Unit> {
        let fitting: Vec<&str> =
            usage_type.map_or(Unit::ALL.as_slice(), |known| known.units).iter().map(|unit| unit.name()).collect();
        let example = format!("unit = \"{}\"", fitting.first().unwrap_or(&"hour"));
        let value = self.required(line, table, ("tariff", "unit"), &example)?;
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

    /// The price, the tiers, or nothing yet; with the free amount as a first tier.
    fn pricing(&mut self, line: u32, table: &Table<'_>) -> Result<Pricing, Noted> {
        let free = match table.get("free_amount") {
            None => Ok(None),
            Some(value) => self.amount_of_use(value, "free_amount", FREE_EXAMPLE).map(Some),
        };
        let Some(tiers) = table.get("tiers") else {
            let missing = "price = \"0.02\", or price = \"\" while it has none";
            let value = self.required(line, table, ("tariff", "price"), missing).ok_or(Noted)?;
            let price = self.price(value)?;
            return Ok(match (price, free?) {
                (None, _) => Pricing::Blank,
                (Some(price), None) => Pricing::Flat(price),
                (Some(price), Some(free)) => Pricing::tiers(Some(free), vec![Tier { up_to: None, price }]),
            });
        };
        if let Some(price) = table.get("price") {
            let message = "this tariff has both a price and tiers";
            self.refuse(
                self.line_of(price),
                message,
                "keep one of both; the last tier is the price of all that follows",
            );
            return Err(Noted);
        }
        let (read, free) = (self.tiers(tiers)?, free?);
        if let (Some(free), Some(end), Some(value)) =
            (free, read.first().and_then(|first| first.up_to), table.get("free_amount"))
            && free >= end
        {
            let message = format!("the free amount {free} reaches beyond the first tier, which ends at {end}");
            self.refuse(
                self.line_of(value),
                message,
                "a free_amount below the first up_to, or a first tier of price = \"0\"",
            );
            return Err(Noted);
        }
        Ok(Pricing::tiers(free, read))
    }

    fn tiers(&mut self, value: &Value<'_>) -> Result<Vec<Tier>, Noted> {
        let line = self.line_of(value);
        let DeValue::Array(entries) = value.get_ref() else {
            self.refuse(line, "tiers are not a list", TIERS_EXAMPLE);
            return Err(Noted);
        };
        if entries.is_empty() || entries.len() > MAX_TIERS {
            self.refuse(line, format!("there are {} tiers; write 1 to {MAX_TIERS}", entries.len()), TIERS_EXAMPLE);
            return Err(Noted);
        }
        let before = self.problems.len();
        let mut tiers: Vec<Tier> = Vec::with_capacity(entries.len());
        for (place, entry) in entries.iter().enumerate() {
            let is_last = place + 1 == entries.len();
            if let Ok(tier) = self.tier(entry, is_last, tiers.last().and_then(|tier| tier.up_to)) {
                tiers.push(tier);
            }
        }
        if self.problems.len() == before { Ok(tiers) } else { Err(Noted) }
    }

    fn tier(&mut self, entry: &Value<'_>, is_last: bool, before: Option<Decimal>) -> Result<Tier, Noted> {
        let line = self.line_of(entry);
        let DeValue::Table(table) = entry.get_ref() else {
            self.refuse(line, "this is not a tier", TIERS_EXAMPLE);
            return Err(Noted);
        };
        self.unknown_keys(table, &TIER_KEYS, "a tier");
        let price = self.required(line, table, ("tier", "price"), TIERS_EXAMPLE).ok_or(Noted).and_then(|value| {
            let price = self.price(value)?;
            if price.is_none() {
                let message = "the price of a tier is blank; a tariff without a price yet has no tiers";
                self.refuse(self.line_of(value), message, TIERS_EXAMPLE);
            }
            price.ok_or(Noted)
        });
        let up_to = match table.get("up_to") {
            None if is_last => None,
            None => {
                let message = "this tier has no up_to, and another one follows that would never be reached";
                self.refuse(line, message, TIERS_EXAMPLE);
                return Err(Noted);
            }
            Some(value) if is_last => {
                let message = "the last tier has an up_to, so what is used beyond has no price";
                self.refuse(self.line_of(value), message, TIERS_EXAMPLE);
                return Err(Noted);
            }
            Some(value) => {
                let up_to = self.amount_of_use(value, "up_to", TIERS_EXAMPLE)?;
                if let Some(before) = before.filter(|before| up_to <= *before) {
                    let message = format!("up_to {up_to} does not rise: the tier before ends at {before}");
                    self.refuse(self.line_of(value), message, TIERS_EXAMPLE);
                    return Err(Noted);
                }
                Some(up_to)
            }
        };
        Ok(Tier { up_to, price: price? })
    }

    /// The price, None if it is blank.
    fn price(&mut self, value: &Value<'_>) -> Result<Option<Decimal>, Noted> {
        self.number(value, "the price", PRICE_EXAMPLE, &PRICE)
    }

    /// An amount of use above zero.
    fn amount_of_use(&mut self, value: &Value<'_>, key: &str, example: &str) -> Result<Decimal, Noted> {
        let amount = self.number(value, key, example, &USE)?;
        let some = amount.filter(|amount| !amount.is_zero());
        if some.is_none() {
            self.refuse(self.line_of(value), format!("{key} is blank or nothing: leave it out"), example);
        }
        some.ok_or(Noted)
    }

    /// A decimal number in quotes; None if it is blank.
    fn number(
        &mut self,
        value: &Value<'_>,
        what: &str,
        example: &str,
        limits: &Limits,
    ) -> Result<Option<Decimal>, Noted> {
        let line = self.line_of(value);
        let text = match value.get_ref() {
            DeValue::String(text) => text.trim(),
            DeValue::Float(number) => {
                let written = shown(number.as_str());
                self.refuse(line, format!("{what} {written} is not in quotes: write it as text"), example);
                return Err(Noted);
            }
            DeValue::Integer(number) => {
                let written = shown(number.as_str());
                self.refuse(line, format!("{what} {written} is not in quotes: write it as text"), example);
                return Err(Noted);
            }
            _ => {
                self.refuse(line, format!("{what} is not a text"), example);
                return Err(Noted);
            }
        };
        if text.is_empty() {
            return Ok(None);
        }
        match parse_number(text, limits) {
            Ok(number) => Ok(Some(number)),
            Err(message) => {
                self.refuse(line, format!("{what} {} {message}", shown(text)), example);
                Err(Noted)
            }
        }
    }
}

/// Reads a number; the error continues the sentence "the price … ".
fn parse_number(text: &str, limits: &Limits) -> Result<Decimal, String> {
    let plain = text.len() <= 40 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    let number: Decimal = plain
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| "is not a plain decimal number with a dot".to_owned())?;
    if text.starts_with('-') {
        return Err("is negative; for a discount write [[discount]]".to_owned());
    }
    if number > Decimal::from(limits.most) {
        return Err(format!("is beyond {}", limits.most));
    }
    let decimals = text.split_once('.').map_or("", |(_, decimals)| decimals).trim_end_matches('0');
    if decimals.len() > usize::try_from(limits.decimals).unwrap_or(usize::MAX) {
        return Err(format!("has more than {} decimals", limits.decimals));
    }
    Ok(number)
}
