//! The first price book of a cloud: everything it was seen to use, with blank prices for the operator to fill in.
//!
//! What is written reads back without problems, and prices nothing until somebody writes a price.

use std::{collections::BTreeMap, fmt::Write as _};

use rust_decimal::Decimal;

use super::problem::quoted;
use crate::{
    money::Currency,
    usage::types::{Quantity, Unit, UsageType},
};

/// Something that the cloud was seen to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `CloudStack`'s number of the usage type.
    pub usage_type: i32,
    /// The offering's id and name, where records name one.
    pub offering: Option<(String, String)>,
    /// The sum of `rawusage` over the last month; for buckets the bytes held on average.
    pub quantity_last_month: Decimal,
}

/// Offering names in notes are cut to this many letters.
const MAX_NAME: usize = 60;

const HEAD: &str = "\
# The price book: what each kind of usage costs. Prices are net of tax.
#
# A price stands in quotes, with a dot: price = \"0.02\". A blank price, price = \"\", means \"not yet priced\": such usage
# is listed and never charged. price = \"0\" means that it costs nothing, and is shown so.
# A tariff with an offering is for that offering only and comes before the one without, also while it is blank.
# Delete it to let the general one count. What shall never be charged goes into the list \"free\".
#
# Units:
#   hour, month           one thing for an hour, for a whole calendar month (by the month's real hours)
#   gib-hour, gib-month   one GiB (2^30 bytes) for an hour, for a whole calendar month
#   gb, gib               10^9 bytes, 2^30 bytes moved
#   million               one million operations
#
# Prices for a payer, domain, tag or machine size, graduated prices, discounts and tax rates: see the documentation of the
# price book.
#
# A price that changes: until = \"2027-01-01\" in the old tariff, and a new one with from = \"2027-01-01\".
";

/// Writes a price book of everything seen, with last month's quantities as comments and blank prices.
pub fn write_price_book(currency: &Currency, seen: &[Seen]) -> String {
    let mut by_type: BTreeMap<i32, BTreeMap<Option<&str>, (&str, Decimal)>> = BTreeMap::new();
    for entry in seen {
        let has_offering = UsageType::from_id(entry.usage_type).is_some_and(|known| known.has_offering);
        let offering = entry.offering.as_ref().filter(|(id, _)| has_offering && !id.trim().is_empty());
        let key = offering.map(|(id, _)| id.as_str());
        let sum = by_type.entry(entry.usage_type).or_default().entry(key).or_default();
        sum.0 = offering.map_or("", |(_, name)| name.as_str());
        sum.1 = sum.1.checked_add(entry.quantity_last_month).unwrap_or(sum.1);
    }
    let mut text = HEAD.to_owned();
    // Writing to a String can not fail.
    let _ = writeln!(
        text,
        "\ncurrency = \"{}\"\n\n# Usage types that are deliberately not charged, for example",
        currency.code()
    );
    let _ = writeln!(text, "# free = [\"template\", \"iso\"]\nfree = []");
    for (id, offerings) in &by_type {
        match UsageType::from_id(*id) {
            Some(known) => seen_type(&mut text, known, offerings),
            None => {
                let _ = writeln!(
                    text,
                    "\n# CloudStack reports usage type {id}, which bursar does not know: it is listed as unpriced."
                );
            }
        }
    }
    let _ = writeln!(text, "\n\n# Not seen last month. Take the \"# \" away from a tariff to price it.");
    for known in UsageType::all().iter().filter(|known| !by_type.contains_key(&known.id)) {
        let _ = writeln!(text, "\n# {}", title(known));
        write_tariff(&mut text, "# ", known, None);
    }
    text
}

fn seen_type(text: &mut String, known: &UsageType, offerings: &BTreeMap<Option<&str>, (&str, Decimal)>) {
    let _ = writeln!(text, "\n\n# {}", title(known));
    for (offering, (name, quantity)) in offerings {
        let _ = writeln!(text, "\n# last month: {}", natural(known.quantity, *quantity));
        write_tariff(text, "", known, offering.map(|id| (id, *name)));
    }
    if !offerings.contains_key(&None) {
        let _ = writeln!(text, "\n# for every other offering:");
        write_tariff(text, "# ", known, None);
    }
}

/// The type's words, its number and constant, and the units that fit.
fn title(known: &UsageType) -> String {
    let units: Vec<&str> = known.units.iter().map(|unit| unit.name()).collect();
    format!("{} (CloudStack's type {}, {}); by {}", known.words, known.id, known.constant, units.join(", "))
}

fn write_tariff(text: &mut String, before: &str, known: &UsageType, offering: Option<(&str, &str)>) {
    let unit = known.units.first().copied().unwrap_or(Unit::Hour);
    let _ = writeln!(text, "{before}[[tariff]]\n{before}type = \"{}\"", known.slug);
    if let Some((id, name)) = offering {
        let _ = writeln!(text, "{before}offering = {}", quoted(id));
        // Names come from CloudStack: kept to one harmless line.
        let name: String = name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect();
        if !name.is_empty() {
            let _ = writeln!(text, "{before}note = {}", quoted(&name));
        }
    }
    let _ = writeln!(text, "{before}unit = \"{unit}\"\n{before}price = \"\"");
}

/// A quantity as a person would say it.
fn natural(kind: Quantity, quantity: Decimal) -> String {
    let by = |divisor: u64, decimals: u32| {
        quantity.checked_div(Decimal::from(divisor)).unwrap_or(quantity).round_dp(decimals).normalize()
    };
    match kind {
        Quantity::Hours => format!("{} hours", by(1, 2)),
        Quantity::Bytes => format!("{} GB of 10^9 bytes ({} GiB)", by(1_000_000_000, 3), by(1 << 30, 3)),
        Quantity::Operations => format!("{} million operations", by(1_000_000, 3)),
        Quantity::BytesAtWindow => format!("{} GiB held", by(1 << 30, 3)),
    }
}
