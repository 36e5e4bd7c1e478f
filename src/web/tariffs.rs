//! Prices in words that people know, and which book they come from: the one that usage is priced by.

use std::{collections::HashMap, sync::Arc};

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{WebState, error::Failure, words};
use crate::{
    ids::PriceBookId,
    jobs::work::{self, LAST_BOOK},
    money::Currency,
    rating::{Narrowing, Part, PriceBook, Pricing, Tariff, TaxRate, Tier, own::OwnPrice},
    store::{Tx, rating, runs, spending},
    time::{Day, Timestamp},
    usage::types::{Quantity, Unit, UsageType},
};

/// Decimals of a price with tax at most; a price has twelve.
const GROSS_DECIMALS: u32 = 12;

/// The book in force: what usage was priced by last. The operator's file is taken where it says the same, since it has notes; a
/// file that nothing was priced by yet is no price in force, except at the very beginning.
pub(super) async fn book(state: &WebState, tx: &mut Tx) -> Result<Option<Arc<PriceBook>>, Failure> {
    let last = runs::find_setting(tx, LAST_BOOK).await?.and_then(|text| text.parse().ok()).map(PriceBookId::new);
    let file = file(state).await;
    let Some(id) = last else { return Ok(file) };
    let stored = if let Some(known) = state.desk.spending.book(id) {
        known
    } else {
        let text = rating::get_book(tx, id).await?;
        let book = PriceBook::parse(&text, state.app.config.billing.zone)
            .map_err(|problems| Failure::unexpected(&format!("price book {id}: {} problems", problems.len())))?;
        let book = Arc::new(book);
        state.desk.spending.keep_book(id, &book);
        book
    };
    Ok(Some(file.filter(|file| file.digest() == stored.digest()).unwrap_or(stored)))
}

async fn file(state: &WebState) -> Option<Arc<PriceBook>> {
    let text = tokio::fs::read_to_string(&state.app.config.billing.price_book).await.ok()?;
    let digest = blake3::hash(text.as_bytes());
    if let Some(known) = state.desk.spending.file(digest) {
        return Some(known);
    }
    let book = Arc::new(work::parse_price_book(&state.app, &text).ok()?);
    state.desk.spending.keep_file(digest, &book);
    Some(book)
}

/// Reads what the ids in a narrowing are called, where that is known.
pub(super) async fn read_names(
    tx: &mut Tx,
    narrowing: &Narrowing,
    names: &mut HashMap<String, String>,
) -> Result<(), Failure> {
    for id in [&narrowing.offering, &narrowing.template, &narrowing.zone].into_iter().flatten() {
        if !names.contains_key(id) {
            let name = spending::find_name(tx, id).await?.unwrap_or_else(|| id.clone());
            names.insert(id.clone(), name);
        }
    }
    Ok(())
}

/// What a price is for, without for whom; None: for all things of its type.
pub(super) fn what_for(narrowing: &Narrowing, names: &HashMap<String, String>) -> Option<String> {
    let name = |id: &String| names.get(id).unwrap_or(id).clone();
    let words: Vec<String> = [
        narrowing.offering.as_ref().map(name),
        narrowing.tag.as_ref().map(|tag| words::prices::tagged(&tag.to_string())),
        narrowing.template.as_ref().map(|id| words::prices::template(&name(id))),
        narrowing.os_type.as_ref().map(|id| words::prices::os_type(id)),
        narrowing.cpu.map(|range| words::prices::range(range.from, range.below, words::prices::CPUS)),
        narrowing.memory_mib.map(|range| words::prices::range(range.from, range.below, words::prices::MIB)),
        narrowing.zone.as_ref().map(|id| words::prices::zone(&name(id))),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// A price of a unit: exact, with two decimals at least.
pub(super) fn amount(price: Decimal, currency: &Currency) -> String {
    let mut price = price.normalize();
    if price.scale() < 2 {
        price.rescale(2);
    }
    format!("{price} {}", currency.code())
}

/// A number as people write it: thousands are set apart, and nothing is rounded.
pub(super) fn number(value: Decimal) -> String {
    let text = value.normalize().to_string();
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or_else(|| format!("{sign}{grouped}"), |rest| format!("{sign}{grouped}.{rest}"))
}

/// A stored quantity in a measure that people count in.
pub(super) fn quantity(usage_type: i64, quantity: i64, size_bytes: Option<i64>) -> String {
    let kind = i32::try_from(usage_type).ok().and_then(UsageType::from_id).map(|kind| kind.quantity);
    let gib = |bytes: i64| {
        number(Decimal::from(bytes).checked_div(Decimal::from(1_i64 << 30)).unwrap_or_default().round_dp(3))
    };
    match kind {
        Some(Quantity::Hours) => {
            let hours = format!("{} h", number(Decimal::new(quantity, 6)));
            size_bytes.map_or(hours.clone(), |bytes| format!("{hours} × {} GiB", gib(bytes)))
        }
        Some(Quantity::Bytes) => format!("{} GB", number(Decimal::new(quantity, 9))),
        Some(Quantity::BytesAtWindow) => format!("{} GiB", gib(quantity)),
        Some(Quantity::Operations) | None => number(Decimal::from(quantity)),
    }
}

/// Billionths as an exact amount with two decimals at least.
pub(super) fn nanos(nanos: i64) -> String {
    let mut amount = Decimal::new(nanos, 9).normalize();
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    amount.to_string()
}

/// The price line behind a piece of a record: price, unit, what it is for, step and discount.
pub(super) fn line_of(currency: &Currency, book: &PriceBook, part: &Part, names: &HashMap<String, String>) -> String {
    let Some(tariff) = book.tariff(part.tariff) else { return String::new() };
    let step = part.tier.and_then(|place| tariff.tiers().get(usize::from(place)));
    let price = step.map(|step| step.price).or_else(|| tariff.price()).unwrap_or_default();
    let mut words = vec![if price.is_zero() {
        words::prices::FREE.to_owned()
    } else {
        format!("{} {}", amount(price, currency), words::prices::unit(tariff.unit()))
    }];
    words.extend(part.tier.map(|place| words::prices::step_number(u32::from(place) + 1)));
    words.extend(what_for(tariff.narrowing(), names));
    let discount = part.discount.and_then(|given| book.discount(given)).map(crate::rating::Discount::percent);
    words.extend(discount.map(|percent| words::prices::discount(&percent.normalize().to_string())));
    words.join(", ")
}

/// A step of a graduated price.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Where it lies.
    pub(super) bounds: String,
    /// Net, after the discount.
    pub(super) net: String,
    /// With tax.
    pub(super) gross: String,
}

/// A price as it is listed.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    /// What it is for; None: all, or all others.
    pub(super) what: Option<String>,
    /// The operator's words.
    pub(super) note: Option<String>,
    /// What a price is for.
    pub(super) unit: &'static str,
    /// Net, after the discount; empty where there are steps or no price.
    pub(super) net: String,
    /// With tax.
    pub(super) gross: String,
    /// Before the discount, where there is one.
    pub(super) list: Option<String>,
    /// The steps.
    pub(super) steps: Vec<Step>,
    /// The discount.
    pub(super) discount: Option<String>,
    /// From when to when.
    pub(super) valid: String,
    /// Whether it does not hold yet.
    pub(super) is_coming: bool,
    /// Whether it costs nothing.
    pub(super) is_free: bool,
}

/// The prices of a service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    /// In words.
    pub(super) name: &'static str,
    /// Its name in the price book.
    pub(super) slug: &'static str,
    /// Its prices, the general one first.
    pub(super) prices: Vec<Listed>,
}

impl Service {
    /// Whether one price is for everything.
    pub(super) fn is_single(&self) -> bool {
        matches!(self.prices.as_slice(), [only] if only.what.is_none())
    }

    /// What is told where a price is for everything: "all", or "all others" where others have prices of their own.
    pub(super) fn everything(&self) -> &'static str {
        if self.prices.iter().any(|price| price.what.is_some()) {
            words::prices::ALL_OTHERS
        } else {
            words::prices::ALL
        }
    }
}

/// What turns a price of the book into words.
pub(super) struct Lister<'l> {
    pub(super) currency: &'l Currency,
    pub(super) zone: Tz,
    pub(super) now: Timestamp,
    pub(super) tax: TaxRate,
    pub(super) names: &'l HashMap<String, String>,
}

impl Lister<'_> {
    /// Prices by service.
    pub(super) fn services(&self, prices: &[OwnPrice<'_>]) -> Vec<Service> {
        prices
            .chunk_by(|a, b| a.tariff.usage_type() == b.tariff.usage_type())
            .filter_map(|of_type| {
                let kind = of_type.first()?.tariff.usage_type();
                let prices = of_type.iter().map(|price| self.listed(price)).collect();
                Some(Service { name: kind.words, slug: kind.slug, prices })
            })
            .collect()
    }

    fn listed(&self, price: &OwnPrice<'_>) -> Listed {
        let tariff = price.tariff;
        let percent = price.discount.map(crate::rating::Discount::percent);
        let reduced = |net: Decimal| {
            percent.map_or(Some(net), |percent| {
                net.checked_mul(Decimal::ONE_HUNDRED - percent)?.checked_div(Decimal::ONE_HUNDRED)
            })
        };
        let shown = |net: Decimal| {
            let net = reduced(net).unwrap_or(net);
            if net.is_zero() {
                return (words::prices::FREE.to_owned(), words::prices::FREE.to_owned());
            }
            let factor = (Decimal::ONE_HUNDRED + self.tax.percent()).checked_div(Decimal::ONE_HUNDRED);
            let gross = factor.and_then(|factor| net.checked_mul(factor)).unwrap_or(net);
            (amount(net, self.currency), amount(gross.round_dp(GROSS_DECIMALS), self.currency))
        };
        let (mut net, mut gross, mut list) = (String::new(), String::new(), None);
        match tariff.pricing() {
            Pricing::Flat(price) => {
                (net, gross) = shown(*price);
                list = percent.filter(|_| !price.is_zero()).map(|_| amount(*price, self.currency));
            }
            Pricing::Blank => words::prices::NOT_PRICED.clone_into(&mut net),
            Pricing::Tiers(_) => {}
        }
        let is_free = tariff.price().and_then(reduced).is_some_and(|net| net.is_zero());
        let discount = price.discount.map(|given| {
            let words = words::prices::discount(&given.percent().normalize().to_string());
            given.note().map_or(words.clone(), |note| format!("{words} ({note})"))
        });
        Listed {
            what: what_for(tariff.narrowing(), self.names),
            note: tariff.note().map(str::to_owned),
            unit: words::prices::unit(tariff.unit()),
            net,
            gross,
            list,
            steps: steps(tariff, shown),
            discount,
            valid: self.valid(price),
            is_coming: price.from.is_some_and(|from| from > self.now),
            is_free,
        }
    }

    fn valid(&self, price: &OwnPrice<'_>) -> String {
        let from = price.from.map(|from| match self.midnight(from) {
            Some(day) => words::prices::from(&day.to_string()),
            None => words::prices::from(&from.display_in(self.zone)),
        });
        let until = price.until.map(|until| match self.midnight(until) {
            Some(day) => words::prices::up_to(&Day::from_number(day.number() - 1).to_string()),
            None => words::prices::until(&until.display_in(self.zone)),
        });
        match (from, until) {
            (None, None) => words::prices::ALWAYS.to_owned(),
            (Some(only), None) | (None, Some(only)) => only,
            (Some(from), Some(until)) => words::prices::both(&from, &until),
        }
    }

    /// The day that begins at an instant, if one does.
    fn midnight(&self, at: Timestamp) -> Option<Day> {
        Day::of(at, self.zone).filter(|day| day.start(self.zone) == Some(at))
    }
}

fn steps(tariff: &Tariff, shown: impl Fn(Decimal) -> (String, String)) -> Vec<Step> {
    let units = words::prices::units(tariff.unit());
    let mut from: Option<String> = None;
    tariff
        .tiers()
        .iter()
        .map(|Tier { up_to, price }| {
            let up_to = up_to.map(number);
            let bounds = words::prices::step(from.as_deref(), up_to.as_deref(), units);
            from = up_to;
            let (net, gross) = shown(*price);
            Step { bounds, net, gross }
        })
        .collect()
}

/// Whether a price depends on what nobody types into an estimate.
pub(super) fn is_beyond_estimates(narrowing: &Narrowing) -> bool {
    narrowing.tag.is_some() || narrowing.template.is_some() || narrowing.os_type.is_some() || narrowing.zone.is_some()
}

/// What a unit is called in a price line of an estimate.
pub(super) fn each(price: Decimal, unit: Unit, currency: &Currency) -> String {
    if price.is_zero() {
        return words::prices::FREE.to_owned();
    }
    format!("{} {}", amount(price, currency), words::prices::unit(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn euro() -> Currency {
        Currency::from_code("EUR").unwrap()
    }

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_exact_and_readable() {
        assert_eq!(amount(decimal("0.0200"), &euro()), "0.02 EUR");
        assert_eq!(amount(decimal("3"), &euro()), "3.00 EUR");
        assert_eq!(amount(decimal("0.000000012"), &euro()), "0.000000012 EUR");
        assert_eq!(number(decimal("1234567.50")), "1,234,567.5");
        assert_eq!(number(decimal("-1000")), "-1,000");
        assert_eq!(number(decimal("999")), "999");
        assert_eq!(nanos(100_000_000), "0.10");
        assert_eq!(nanos(1), "0.000000001");
        assert_eq!(quantity(1, 744_000_000, None), "744 h");
        assert_eq!(quantity(6, 1_000_000, Some(50 << 30)), "1 h × 50 GiB");
        assert_eq!(quantity(4, 9_300_000_000_001, None), "9,300.000000001 GB");
        assert_eq!(quantity(21, 12_345, None), "12,345");
        assert_eq!(quantity(29, 3 << 29, None), "1.5 GiB");
    }

    #[test]
    fn a_price_is_listed_with_its_steps_discount_and_dates() {
        let book = r#"
currency = "EUR"
[[tariff]]
type = "network-bytes-sent"
unit = "gb"
tiers = [{ up_to = "1000", price = "0.10" }, { price = "0.05" }]
free_amount = "100"
[[tariff]]
type = "running-vm"
unit = "hour"
price = "0.03"
until = "2026-12-01"
[[tariff]]
type = "running-vm"
unit = "hour"
price = "0.04"
from = "2026-12-01"
until = "2027-01-01T06:00:00Z"
[[tariff]]
type = "running-vm"
offering = "small"
cpu_from = 2
cpu_below = 8
unit = "hour"
price = "0"
[[tariff]]
type = "snapshot"
unit = "gib-month"
price = ""
[[discount]]
percent = "10"
type = "running-vm"
domain = "ROOT"
note = "friends"
"#;
        let book = PriceBook::parse(book, Tz::UTC).unwrap();
        let customer = crate::rating::Customer { domain_path: "ROOT".to_owned(), ..Default::default() };
        let now = Timestamp::parse("2026-11-15", Tz::UTC).unwrap();
        let names = HashMap::from([("small".to_owned(), "Small Instance".to_owned())]);
        let currency = euro();
        let lister =
            Lister { currency: &currency, zone: Tz::UTC, now, tax: TaxRate::parse("20").unwrap(), names: &names };
        let services = lister.services(&book.own_prices(&customer, now));
        assert_eq!(
            services.iter().map(|service| service.slug).collect::<Vec<_>>(),
            ["running-vm", "network-bytes-sent", "snapshot"]
        );
        let running = &services[0].prices;
        assert_eq!((running[0].net.as_str(), running[0].gross.as_str()), ("0.027 EUR", "0.0324 EUR"));
        assert_eq!(running[0].list.as_deref(), Some("0.03 EUR"));
        assert_eq!(running[0].discount.as_deref(), Some("10 % discount (friends)"));
        assert_eq!((running[0].valid.as_str(), running[0].is_coming), ("up to 2026-11-30", false));
        assert_eq!(running[1].valid, "from 2026-12-01 until 2027-01-01 06:00 UTC");
        assert!(running[1].is_coming);
        assert_eq!(running[2].what.as_deref(), Some("Small Instance, 2 to below 8 CPUs"));
        assert!(running[2].is_free && running[2].net == "free" && running[2].list.is_none());
        let steps: Vec<(&str, &str, &str)> = services[1].prices[0]
            .steps
            .iter()
            .map(|step| (step.bounds.as_str(), step.net.as_str(), step.gross.as_str()))
            .collect();
        assert_eq!(
            steps,
            [
                ("the first 100 GB of a month", "free", "free"),
                ("from 100 to 1,000 GB", "0.10 EUR", "0.12 EUR"),
                ("beyond 1,000 GB", "0.05 EUR", "0.06 EUR"),
            ]
        );
        assert_eq!(services[2].prices[0].net, "no price yet: not charged");
        assert!(!services[2].prices[0].is_free);
    }
}
