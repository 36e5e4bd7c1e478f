//! The price book: which usage type costs what, for which offering, from when to when.
//!
//! Read from TOML (`docs/price-book.md` explains the format to operators) and never changed afterwards. The most
//! specific tariff in force wins: one for an offering hides the general one of its type while it is in force, also
//! with a blank price. A type without a tariff is unpriced, unless the book says that it is free.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{
    parse,
    problem::{Problem, quoted},
    timeline::{Dated, Holds, Price, Timeline},
};
use crate::{
    money::Currency,
    time::Timestamp,
    usage::types::{Unit, UsageType},
};

/// The highest price of one unit: more is a slip of the keyboard.
pub const MAX_PRICE: i64 = 1_000_000_000;
/// The most decimals of a price.
pub const MAX_PRICE_DECIMALS: u32 = 12;
/// The most tariffs in a book; a large cloud has some thousands of offerings.
pub const MAX_TARIFFS: usize = 20_000;
/// The longest text of a book, in bytes: the most tariffs with notes.
pub const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// One line of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariff {
    pub(super) usage_type: &'static UsageType,
    pub(super) unit: Unit,
    pub(super) price: Option<Decimal>,
    pub(super) offering: Option<String>,
    pub(super) note: Option<String>,
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) line: u32,
}

impl Tariff {
    /// What it prices.
    pub const fn usage_type(&self) -> &'static UsageType {
        self.usage_type
    }

    /// What the price is for.
    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// The net price of one unit in the book's currency; None while it is blank.
    pub const fn price(&self) -> Option<Decimal> {
        self.price
    }

    /// The only service, disk or network offering it is for; None for all.
    pub fn offering(&self) -> Option<&str> {
        self.offering.as_deref()
    }

    /// The operator's words.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The first instant at which it is in force; None for always.
    pub const fn from(&self) -> Option<Timestamp> {
        self.from
    }

    /// The first instant at which it is no longer in force; None for never.
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// The line of the file in which it begins.
    pub const fn line(&self) -> u32 {
        self.line
    }
}

/// Which tariff of a book priced something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TariffRef {
    /// Its place in [`PriceBook::tariffs`]: the same in every book of the same [`PriceBook::digest`].
    pub index: u32,
    /// The line of the file in which it begins.
    pub line: u32,
    /// Since when it is in force; None for always.
    pub from: Option<Timestamp>,
}

/// A book without contradictions.
#[derive(Debug, Clone)]
pub struct PriceBook {
    currency: Currency,
    currency_line: u32,
    free: BTreeSet<i32>,
    tariffs: Vec<Tariff>,
    canonical: String,
    digest: String,
    types: HashMap<i32, TypePrices>,
}

/// The timelines of one usage type.
#[derive(Debug, Clone)]
struct TypePrices {
    general: Timeline,
    by_offering: HashMap<String, Timeline>,
}

impl PriceBook {
    /// Reads a book; bare dates are midnight in `zone`, the billing zone. All problems come at once, by line.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, Vec<Problem>> {
        parse::read(text, zone).map(|parts| Self::new(parts.currency, parts.currency_line, parts.free, parts.tariffs))
    }

    fn new(currency: Currency, currency_line: u32, free: BTreeSet<i32>, mut tariffs: Vec<Tariff>) -> Self {
        tariffs.sort_by(|a, b| {
            (a.usage_type.id, &a.offering, a.from, a.until).cmp(&(b.usage_type.id, &b.offering, b.from, b.until))
        });
        let canonical = canonical(&currency, &free, &tariffs);
        let digest = blake3::hash(canonical.as_bytes()).to_hex().to_string();
        let types = timelines(&free, &tariffs);
        Self { currency, currency_line, free, tariffs, canonical, digest, types }
    }

    /// The currency of all its prices.
    pub const fn currency(&self) -> &Currency {
        &self.currency
    }

    /// What is wrong if the cloud is configured for another currency.
    pub fn currency_problem(&self, configured: &Currency) -> Option<Problem> {
        (*configured != self.currency).then(|| {
            let (here, there) = (self.currency.code(), configured.code());
            let message = format!("the price book is in {here}, and bursar is configured for {there}");
            Problem::new(self.currency_line, message, format!("currency = \"{there}\""))
        })
    }

    /// All tariffs, sorted by type, offering (the general ones first) and start.
    pub fn tariffs(&self) -> &[Tariff] {
        &self.tariffs
    }

    /// The tariff that priced a part.
    pub fn tariff(&self, reference: TariffRef) -> Option<&Tariff> {
        usize::try_from(reference.index).ok().and_then(|index| self.tariffs.get(index))
    }

    /// Whether the type is deliberately not charged. Some of its offerings may still have a price.
    pub fn is_free(&self, usage_type: i32) -> bool {
        self.free.contains(&usage_type)
    }

    /// What names this version of the prices, in hexadecimal: the same for books that price alike, whatever their order,
    /// comments and notes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The book as text without comments and notes, sorted, dates as instants: what the digest is made of. Reads back as
    /// a book of the same digest in every zone.
    pub fn canonical_text(&self) -> &str {
        &self.canonical
    }

    /// What holds for a type and offering over time; None if the book says nothing of the type.
    pub(super) fn timeline(&self, usage_type: i32, offering: Option<&str>) -> Option<&Timeline> {
        let prices = self.types.get(&usage_type)?;
        offering.and_then(|id| prices.by_offering.get(id)).or(Some(&prices.general))
    }
}

fn timelines(free: &BTreeSet<i32>, tariffs: &[Tariff]) -> HashMap<i32, TypePrices> {
    let mut entries: BTreeMap<i32, BTreeMap<Option<&str>, Vec<Dated>>> =
        free.iter().map(|id| (*id, BTreeMap::new())).collect();
    for (index, tariff) in (0_u32..).zip(tariffs) {
        let reference = TariffRef { index, line: tariff.line, from: tariff.from };
        let holds = tariff.price.map_or(Holds::Unpriced, |price| {
            let price = price.normalize();
            let (mantissa, scale) = (price.mantissa().unsigned_abs(), price.scale());
            Holds::Priced(Price { mantissa, scale, unit: tariff.unit, tariff: reference })
        });
        let dated = Dated { from: tariff.from, until: tariff.until, holds };
        entries.entry(tariff.usage_type.id).or_default().entry(tariff.offering()).or_default().push(dated);
    }
    let lay = |(id, by_offering): (i32, BTreeMap<Option<&str>, Vec<Dated>>)| {
        let ground = Timeline::always(if free.contains(&id) { Holds::Free } else { Holds::Unpriced });
        let general = ground.covered_by(by_offering.get(&None).map_or(&[], Vec::as_slice));
        let by_offering = by_offering
            .iter()
            .filter_map(|(offering, dated)| Some((offering.as_ref()?.to_string(), general.covered_by(dated))))
            .collect();
        (id, TypePrices { general, by_offering })
    };
    entries.into_iter().map(lay).collect()
}

fn canonical(currency: &Currency, free: &BTreeSet<i32>, tariffs: &[Tariff]) -> String {
    let mut text = String::with_capacity(64 + tariffs.len() * 160);
    let slugs: Vec<String> =
        free.iter().filter_map(|id| UsageType::from_id(*id)).map(|known| format!("\"{}\"", known.slug)).collect();
    // Writing to a String can not fail.
    let _ = writeln!(text, "# price book, form 1\ncurrency = \"{}\"\nfree = [{}]", currency.code(), slugs.join(", "));
    for tariff in tariffs {
        let price = tariff.price.map(|price| price.normalize().to_string()).unwrap_or_default();
        let _ = writeln!(
            text,
            "\n[[tariff]]\ntype = \"{}\"\nunit = \"{}\"\nprice = \"{price}\"",
            tariff.usage_type.slug, tariff.unit
        );
        if let Some(offering) = &tariff.offering {
            let _ = writeln!(text, "offering = {}", quoted(offering));
        }
        for (key, date) in [("from", tariff.from), ("until", tariff.until)] {
            if let Some(date) = date {
                let _ = writeln!(text, "{key} = \"{date}\"");
            }
        }
    }
    text
}
