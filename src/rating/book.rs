//! The price book: which usage type costs what, for whom and for which things, from when to when.
//!
//! Read from TOML (`docs/price-book.md` explains the format to operators) and never changed afterwards. Of the tariffs
//! that fit a record and are in force the most specific one counts ([`super::narrowing::Rank`]), also with a blank price.
//! A type without a tariff is unpriced, unless the book says that it is free.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{
    canonical,
    discount::{Cut, Discount},
    narrowing::{Customer, Features, Index, Narrowing, Rank},
    parse::{self, Parts},
    problem::Problem,
    tax::{Tax, TaxRate},
    tiers::{Tier, TierKey},
    timeline::{Dated, Holds, Price, Timeline},
};
use crate::{
    money::Currency,
    time::{Day, Timestamp},
    usage::types::{Unit, UsageType},
};

/// The highest price of one unit: more is a slip of the keyboard.
pub const MAX_PRICE: i64 = 1_000_000_000;
/// The most decimals of a price.
pub const MAX_PRICE_DECIMALS: u32 = 12;
/// The most tariffs in a book, and the most discounts, and the most taxes; a large cloud has some thousands of offerings.
pub const MAX_LINES: usize = 20_000;
/// The longest text of a book, in bytes: the most tariffs with notes.
pub const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// What a tariff asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pricing {
    /// Nothing yet: such usage is listed as unpriced.
    Blank,
    /// One net price a unit.
    Flat(Decimal),
    /// Graduated net prices by a payer's use in the calendar month; a free amount is a first step of nothing.
    Tiers(Vec<Tier>),
}

impl Pricing {
    /// Steps, after a free amount that ends within the first of them.
    pub(super) fn tiers(free: Option<Decimal>, mut tiers: Vec<Tier>) -> Self {
        if free.is_some() {
            tiers.insert(0, Tier { up_to: free, price: Decimal::ZERO });
        }
        match tiers.as_slice() {
            [Tier { up_to: None, price }] => Self::Flat(*price),
            _ => Self::Tiers(tiers),
        }
    }
}

impl fmt::Display for Pricing {
    /// In words, without currency and unit: `0.10 up to 100, then 0.08`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("blank"),
            Self::Flat(price) => write!(f, "{price}"),
            Self::Tiers(tiers) => {
                for (place, tier) in tiers.iter().enumerate() {
                    let joint = if place == 0 { "" } else { ", then " };
                    match tier.up_to {
                        Some(up_to) => write!(f, "{joint}{} up to {up_to}", tier.price)?,
                        None => write!(f, "{joint}{}", tier.price)?,
                    }
                }
                Ok(())
            }
        }
    }
}

/// One `[[tariff]]` of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariff {
    pub(super) usage_type: &'static UsageType,
    pub(super) unit: Unit,
    pub(super) pricing: Pricing,
    pub(super) narrowing: Narrowing,
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

    /// What it asks for.
    pub const fn pricing(&self) -> &Pricing {
        &self.pricing
    }

    /// The net price of one unit in the book's currency; None while it is blank, and where it has tiers.
    pub const fn price(&self) -> Option<Decimal> {
        match self.pricing {
            Pricing::Flat(price) => Some(price),
            Pricing::Blank | Pricing::Tiers(_) => None,
        }
    }

    /// Whether it has no price yet.
    pub const fn is_blank(&self) -> bool {
        matches!(self.pricing, Pricing::Blank)
    }

    /// Its steps, from the first on; none for a plain price.
    pub fn tiers(&self) -> &[Tier] {
        match &self.pricing {
            Pricing::Tiers(tiers) => tiers,
            Pricing::Blank | Pricing::Flat(_) => &[],
        }
    }

    /// For whom and for what it is.
    pub const fn narrowing(&self) -> &Narrowing {
        &self.narrowing
    }

    /// The only service, disk or network offering it is for; None for all.
    pub fn offering(&self) -> Option<&str> {
        self.narrowing.offering.as_deref()
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

    /// What use at its tiers is counted under; None if it has none.
    pub fn tier_key(&self) -> Option<TierKey> {
        if self.tiers().is_empty() {
            return None;
        }
        let mut text = format!("type = {}\nunit = {}\n", self.usage_type, self.unit);
        canonical::narrowing(&mut text, &self.narrowing);
        Some(TierKey::of(&text))
    }

    fn is_in_force(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
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

/// A tariff that fits a record, and why it stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The tariff.
    pub tariff: TariffRef,
    /// What it is narrowed to, in words; "in general" for a tariff of everybody and everything.
    pub words: String,
}

/// A step in the form that the exact arithmetic takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Where it ends, in billionths of the unit.
    pub(super) end: i64,
    pub(super) mantissa: u128,
    pub(super) scale: u32,
}

/// What is looked up for a tariff of the same place.
#[derive(Debug, Clone)]
struct Laid {
    dated: Dated<Holds>,
    steps: Vec<Step>,
}

/// A book without contradictions.
#[derive(Debug, Clone)]
pub struct PriceBook {
    currency: Currency,
    currency_line: u32,
    free: BTreeSet<i32>,
    tariffs: Vec<Tariff>,
    laid: Vec<Laid>,
    by_type: HashMap<i32, Index>,
    discounts: Vec<Discount>,
    discount_index: Index,
    taxes: Vec<Tax>,
    tax_index: Index,
    canonical: String,
    digest: String,
}

impl PriceBook {
    /// Reads a book; bare dates are midnight in `zone`, the billing zone. All problems come at once, by line.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, Vec<Problem>> {
        parse::read(text, zone).map(Self::new)
    }

    fn new(parts: Parts) -> Self {
        let Parts { currency, currency_line, free, mut tariffs, mut discounts, mut taxes } = parts;
        tariffs.sort_by(|a, b| {
            (a.usage_type.id, &a.narrowing, a.from, a.until).cmp(&(b.usage_type.id, &b.narrowing, b.from, b.until))
        });
        let of_type = |discount: &Discount| discount.usage_type.map(|known| known.id);
        discounts.sort_by(|a, b| (&a.narrowing, of_type(a), a.from).cmp(&(&b.narrowing, of_type(b), b.from)));
        taxes.sort_by(|a, b| (&a.narrowing, a.from).cmp(&(&b.narrowing, b.from)));
        let canonical = canonical::write(&currency, &free, &tariffs, &discounts, &taxes);
        let digest = blake3::hash(canonical.as_bytes()).to_hex().to_string();
        let laid = (0_u32..).zip(&tariffs).map(|(index, tariff)| lay(index, tariff)).collect();
        let mut by_type: HashMap<i32, Index> = HashMap::new();
        for (index, tariff) in (0_u32..).zip(&tariffs) {
            by_type.entry(tariff.usage_type.id).or_default().insert(index, &tariff.narrowing);
        }
        let (mut discount_index, mut tax_index) = (Index::default(), Index::default());
        (0_u32..).zip(&discounts).for_each(|(index, discount)| discount_index.insert(index, &discount.narrowing));
        (0_u32..).zip(&taxes).for_each(|(index, tax)| tax_index.insert(index, &tax.narrowing));
        Self {
            currency,
            currency_line,
            free,
            tariffs,
            laid,
            by_type,
            discounts,
            discount_index,
            taxes,
            tax_index,
            canonical,
            digest,
        }
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

    /// All tariffs, sorted by type, narrowing (the general ones first) and start.
    pub fn tariffs(&self) -> &[Tariff] {
        &self.tariffs
    }

    /// The tariff that priced a part.
    pub fn tariff(&self, reference: TariffRef) -> Option<&Tariff> {
        at(&self.tariffs, reference.index)
    }

    /// All discounts, sorted by narrowing, type and start.
    pub fn discounts(&self) -> &[Discount] {
        &self.discounts
    }

    /// The discount that a part got.
    pub fn discount(&self, reference: super::DiscountRef) -> Option<&Discount> {
        at(&self.discounts, reference.index)
    }

    /// All tax rates, sorted by narrowing and start.
    pub fn taxes(&self) -> &[Tax] {
        &self.taxes
    }

    /// The types that are deliberately not charged.
    pub(super) const fn free(&self) -> &BTreeSet<i32> {
        &self.free
    }

    pub(super) const fn currency_line(&self) -> u32 {
        self.currency_line
    }

    /// Whether the type is deliberately not charged. Some of its offerings may still have a price.
    pub fn is_free(&self, usage_type: i32) -> bool {
        self.free.contains(&usage_type)
    }

    /// Whether a price or a discount depends on the tags of what is used, so that they have to be asked for.
    pub fn uses_tags(&self) -> bool {
        self.tariffs.iter().any(|tariff| tariff.narrowing.tag.is_some())
    }

    /// Whether a price depends on how much was used before in the month.
    pub fn has_tiers(&self) -> bool {
        self.tariffs.iter().any(|tariff| !tariff.tiers().is_empty())
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

    /// The tax rate of a customer on a billing day: the most specific one in force; None if the book says nothing.
    pub fn tax(&self, customer: &Customer, day: Day) -> Option<TaxRate> {
        self.tax_index
            .candidates(customer, None)
            .filter_map(|index| at(&self.taxes, index))
            .filter(|tax| tax.is_in_force(day))
            .filter_map(|tax| Some((tax.narrowing().rank_for(customer)?, tax)))
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, tax)| tax.rate())
    }

    /// The tariffs in force at an instant that fit a customer's thing, the most specific first: that one priced it.
    pub fn candidates(
        &self,
        usage_type: i32,
        customer: &Customer,
        features: &Features<'_>,
        when: Timestamp,
    ) -> Vec<Candidate> {
        let mut fitting = self.fitting(usage_type, customer, features);
        fitting.reverse();
        fitting
            .into_iter()
            .filter_map(|(_, index)| Some((index, at(&self.tariffs, index)?)))
            .filter(|(_, tariff)| tariff.is_in_force(when))
            .map(|(index, tariff)| Candidate {
                tariff: TariffRef { index, line: tariff.line, from: tariff.from },
                words: tariff.narrowing.words().unwrap_or_else(|| "in general".to_owned()),
            })
            .collect()
    }

    /// The tariffs that fit, at whatever time, the least specific first.
    fn fitting(&self, usage_type: i32, customer: &Customer, features: &Features<'_>) -> Vec<(Rank, u32)> {
        let Some(index) = self.by_type.get(&usage_type) else { return Vec::new() };
        let mut fitting: Vec<(Rank, u32)> = index
            .candidates(customer, features.offering)
            .filter_map(|place| Some((at(&self.tariffs, place)?.narrowing.rank(customer, features)?, place)))
            .collect();
        fitting.sort_unstable();
        fitting
    }

    /// The steps of a tariff.
    pub(super) fn steps(&self, reference: TariffRef) -> &[Step] {
        at(&self.laid, reference.index).map_or(&[], |laid| &laid.steps)
    }

    /// What holds for a type of thing over time.
    pub(super) fn timeline(&self, kind: &UsageType, customer: &Customer, features: &Features<'_>) -> Timeline<Holds> {
        let ground = if self.is_free(kind.id) { Holds::Free } else { Holds::Unpriced };
        let mut timeline = Timeline::always(ground);
        // Entries of one rank follow each other in time.
        for group in self.fitting(kind.id, customer, features).chunk_by(|a, b| a.0 == b.0) {
            let dated: Vec<Dated<Holds>> =
                group.iter().filter_map(|(_, place)| at(&self.laid, *place)).map(|laid| laid.dated).collect();
            timeline = timeline.covered_by(&dated);
        }
        match self.cuts(kind, customer) {
            None => timeline,
            Some(cuts) => timeline.joined(&cuts, |holds, discount| match holds {
                Holds::Priced(price) => Holds::Priced(Price { discount, ..price }),
                Holds::Free | Holds::Unpriced => holds,
            }),
        }
    }

    /// What the discounts of a customer leave of the prices of a type over time.
    pub(super) fn cuts(&self, kind: &UsageType, customer: &Customer) -> Option<Timeline<Option<Cut>>> {
        let mut fitting: Vec<((Rank, bool), u32)> = self
            .discount_index
            .candidates(customer, None)
            .filter_map(|place| {
                let discount = at(&self.discounts, place)?;
                let is_for_type = discount.usage_type.is_none_or(|known| known.id == kind.id);
                let rank = discount.narrowing.rank_for(customer).filter(|_| is_for_type)?;
                Some(((rank, discount.usage_type.is_some()), place))
            })
            .collect();
        fitting.sort_unstable();
        let mut timeline = Timeline::always(None);
        for group in fitting.chunk_by(|a, b| a.0 == b.0) {
            let dated: Vec<Dated<Option<Cut>>> = group
                .iter()
                .filter_map(|(_, place)| Some((*place, at(&self.discounts, *place)?)))
                .map(|(place, discount)| Dated {
                    from: discount.from,
                    until: discount.until,
                    holds: Some(discount.cut(place)),
                })
                .collect();
            timeline = timeline.covered_by(&dated);
        }
        (!fitting.is_empty()).then_some(timeline)
    }
}

fn at<T>(list: &[T], place: u32) -> Option<&T> {
    usize::try_from(place).ok().and_then(|place| list.get(place))
}

/// A price as an integer and its number of decimals.
fn split(price: Decimal) -> (u128, u32) {
    let price = price.normalize();
    (price.mantissa().unsigned_abs(), price.scale())
}

fn lay(index: u32, tariff: &Tariff) -> Laid {
    let reference = TariffRef { index, line: tariff.line, from: tariff.from };
    let steps = tariff.tiers().iter().map(|tier| {
        let (mantissa, scale) = split(tier.price);
        Step { end: tier.end(), mantissa, scale }
    });
    let priced = |price: Decimal| {
        let (mantissa, scale) = split(price);
        let tiers = tariff.tier_key();
        Holds::Priced(Price { mantissa, scale, unit: tariff.unit, tariff: reference, tiers, discount: None })
    };
    let holds = match &tariff.pricing {
        Pricing::Blank => Holds::Unpriced,
        Pricing::Flat(price) => priced(*price),
        Pricing::Tiers(tiers) => priced(tiers.first().map_or(Decimal::ZERO, |tier| tier.price)),
    };
    Laid { dated: Dated { from: tariff.from, until: tariff.until, holds }, steps: steps.collect() }
}
