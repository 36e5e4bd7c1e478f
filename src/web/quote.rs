//! What a machine would cost an account in a month, by the function that prices usage: for the page "Prices" and the API.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use serde::Deserialize;

use super::{WebState, access::Mistake, error::Failure, tariffs, words};
use crate::{
    estimate::live::Span as LiveSpan,
    ledger::rules,
    money::Money,
    rating::{
        Customer, Features, PriceBook, TaxRate, TierUse,
        desk::{customer_of, month_of},
        estimate::{Estimate, Wanted, estimate},
        machine::{self, GIB, Machine, PER_HOUR},
        own::OwnPrice,
    },
    store::{
        Tx,
        cloud::{self, Account},
        live, spending,
    },
    time::{Day, Period},
};

/// Months that can be asked about: the present one and those that follow.
const MONTHS: usize = 4;
/// The most CPUs, GiB and addresses that are believed.
const MOST: u32 = 100_000;

/// What was typed, as it stands in the address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ask {
    /// CloudStack's id of the service offering; empty: by size.
    pub(super) offering: String,
    /// CPUs.
    pub(super) cpu: String,
    /// Memory, GiB.
    pub(super) memory: String,
    /// Root disk, GiB.
    pub(super) disk: String,
    /// Filled: with a public address.
    pub(super) address: String,
    /// Hours that it runs; empty: all month.
    pub(super) hours: String,
    /// 2026-11; empty: the present one.
    pub(super) month: String,
    /// Filled: the form was sent.
    pub(super) quote: String,
}

/// A line of the answer.
#[derive(Debug, Clone)]
pub(super) struct QuoteLine {
    /// What it is.
    pub(super) item: String,
    /// How much of it.
    pub(super) quantity: String,
    /// By which price.
    pub(super) price: String,
    /// What comes off.
    pub(super) discount: Option<String>,
    /// Net.
    pub(super) net: Money,
}

/// The answer.
#[derive(Debug, Clone)]
pub(super) struct Quote {
    /// The month.
    pub(super) month: String,
    /// Line by line.
    pub(super) lines: Vec<QuoteLine>,
    /// Net.
    pub(super) net: Money,
    /// Rate and tax.
    pub(super) taxes: Vec<(TaxRate, Money)>,
    /// With tax.
    pub(super) gross: Money,
    /// Things that cost nothing.
    pub(super) free: Vec<&'static str>,
    /// Things without a price.
    pub(super) unpriced: Vec<&'static str>,
    /// Share of the payer's total credit, in percent; None: no credit.
    pub(super) share: Option<String>,
    /// Days until nothing is available with this machine added; None: no end in sight.
    pub(super) days_left: Option<i64>,
    /// Whether a step of a graduated price is in it.
    pub(super) has_steps: bool,
}

/// What an account pays, and who it is for that.
pub(super) struct Terms {
    /// Who the account is for the price book.
    pub(super) customer: Customer,
    /// The tax rate where the book has none.
    pub(super) otherwise: TaxRate,
}

impl Terms {
    pub(super) async fn of(state: &WebState, tx: &mut Tx, account: &Account) -> Result<Self, Failure> {
        let payer = cloud::get_payer(tx, account.payer_id).await?;
        let otherwise = match &payer.tax_percent {
            Some(text) => TaxRate::parse(text).map_err(|error| Failure::unexpected(&error))?,
            None => state.app.tax()?,
        };
        Ok(Self { customer: customer_of(tx, account).await?, otherwise })
    }

    /// The tax rate of a day.
    pub(super) fn tax(&self, book: &PriceBook, day: Day) -> TaxRate {
        book.tax(&self.customer, day).unwrap_or(self.otherwise)
    }
}

/// The months that can be chosen: name and days.
pub(super) fn months(today: Day) -> Vec<(String, Day)> {
    let mut months = Vec::new();
    let mut at = today;
    while months.len() < MONTHS
        && let Ok((month, first, next)) = month_of(at)
    {
        months.push((month.to_string(), first));
        at = next;
    }
    months
}

/// Service offerings that have a price of their own for the account, or that its machines have: id and name.
pub(super) async fn offerings(
    tx: &mut Tx,
    account: &Account,
    prices: &[OwnPrice<'_>],
) -> Result<Vec<(String, String)>, Failure> {
    let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
    for price in prices
        .iter()
        .filter(|price| matches!(price.tariff.usage_type().id, machine::RUNNING_VM | machine::ALLOCATED_VM))
    {
        if let Some(id) = price.tariff.offering() {
            found.entry(id.to_owned()).or_insert_with(|| price.tariff.note().map(str::to_owned));
        }
    }
    for span in machines(tx, account).await? {
        if let Some(id) = span.thing.offering {
            found.entry(id).or_default();
        }
    }
    let mut offerings = Vec::with_capacity(found.len());
    for (id, note) in found {
        let name = spending::find_name(tx, &id).await?.or(note).unwrap_or_else(|| id.clone());
        offerings.push((id, name));
    }
    offerings.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    Ok(offerings)
}

async fn machines(tx: &mut Tx, account: &Account) -> Result<Vec<LiveSpan>, Failure> {
    let spans = live::list_spans(tx, Some(account.id), true).await?.into_iter().map(|(_, span)| span);
    Ok(spans.filter(|span| span.thing.usage_type == machine::ALLOCATED_VM).collect())
}

fn count(field: &str, text: &str) -> Result<Option<u32>, Mistake> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let number: u32 = text.parse().map_err(|_| Mistake::new(field, words::prices::NOT_A_COUNT))?;
    if number > MOST { Err(Mistake::new(field, words::prices::BEYOND)) } else { Ok(Some(number)) }
}

/// A number times a measure, rounded to whole ones of it.
fn scaled(field: &str, text: &str, per_one: i64, wrong: &str) -> Result<Option<i64>, Mistake> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let plain = text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: Option<Decimal> = plain.then(|| text.parse().ok()).flatten();
    let number = number.filter(|number| *number <= Decimal::from(MOST)).ok_or_else(|| Mistake::new(field, wrong))?;
    let whole = number.checked_mul(Decimal::from(per_one)).and_then(|scaled| scaled.round().to_i64());
    whole.map(Some).ok_or_else(|| Mistake::new(field, wrong))
}

/// What was typed, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Typed {
    period: Period,
    month: String,
    days: i64,
    offering: Option<String>,
    cpu: Option<i64>,
    memory_mib: Option<i64>,
    disk_gib: Option<u32>,
    addresses: u32,
    running: i64,
}

fn typed(ask: &Ask, today: Day, zone: chrono_tz::Tz) -> Result<Typed, Mistake> {
    let months = months(today);
    let wanted = ask.month.trim();
    let chosen = if wanted.is_empty() { months.first() } else { months.iter().find(|(name, _)| name == wanted) };
    let found = chosen.and_then(|(name, first)| {
        let (month, first, next) = month_of(*first).ok()?;
        Some((name.clone(), month.period(zone)?, next.number() - first.number()))
    });
    let (month, period, days) = found.ok_or_else(|| Mistake::new("month", words::prices::NOT_A_MONTH))?;
    let whole = machine::whole(period);
    let running = scaled("hours", &ask.hours, PER_HOUR, words::prices::NOT_HOURS)?.unwrap_or(whole);
    if running > whole {
        return Err(Mistake::new("hours", words::prices::MORE_HOURS_THAN_MONTH));
    }
    Ok(Typed {
        period,
        month,
        days,
        offering: Some(ask.offering.trim().to_owned()).filter(|id| !id.is_empty()),
        cpu: count("cpu", &ask.cpu)?.map(i64::from),
        memory_mib: scaled("memory", &ask.memory, 1_024, words::prices::NOT_A_SIZE)?,
        disk_gib: count("disk", &ask.disk)?.filter(|gib| *gib > 0),
        addresses: u32::from(!ask.address.trim().is_empty()),
        running,
    })
}

/// Why there is no quote: a field, or something else.
pub(super) enum Refused {
    /// What was typed makes no sense.
    Mistake(Mistake),
    /// Something else.
    Failure(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What the machine that was typed costs the account.
pub(super) async fn quote(
    state: &WebState,
    tx: &mut Tx,
    account: &Account,
    (book, terms): (&PriceBook, &Terms),
    ask: &Ask,
) -> Result<Quote, Refused> {
    let zone = state.app.config.billing.zone;
    let now = state.app.clock.now();
    let today = Day::of(now, zone).ok_or_else(|| Failure::unexpected(&format!("the clock says {now}")))?;
    let mut typed = typed(ask, today, zone).map_err(Refused::Mistake)?;
    // What machines of the offering have, where the account has one and nothing was typed.
    if let Some(offering) = &typed.offering {
        let spans = machines(tx, account).await?;
        let like = spans.iter().map(|span| &span.thing).find(|thing| thing.offering.as_ref() == Some(offering));
        typed.cpu = typed.cpu.or_else(|| like?.cpu_number);
        typed.memory_mib = typed.memory_mib.or_else(|| like?.memory_mib);
    }
    let features = Features {
        offering: typed.offering.as_deref(),
        cpu_number: typed.cpu,
        memory_mib: typed.memory_mib,
        ..Features::default()
    };
    let machine = Machine {
        period: typed.period,
        features,
        running: typed.running,
        disk_gib: typed.disk_gib,
        disk_offering: None,
        addresses: typed.addresses,
    };
    let beyond = || Refused::Mistake(Mistake::new("disk", words::prices::BEYOND));
    let wanted = machine::things(&machine).ok_or_else(beyond)?;
    let found =
        estimate(book, &terms.customer, zone, &wanted, &mut TierUse::new(), terms.otherwise).map_err(|_| beyond())?;
    let mut names = HashMap::new();
    for line in &found.lines {
        if let Some(tariff) = book.tariff(line.tariff) {
            tariffs::read_names(tx, tariff.narrowing(), &mut names).await?;
        }
    }
    let standing = state.app.standing_of(tx, account.payer_id).await.map_err(Failure::from)?;
    let per_day = match per_day(found.gross, typed.days) {
        Some(more) => standing.per_day.plus(more).map_err(Failure::from)?,
        None => standing.per_day,
    };
    let days_left = rules::days_left(standing.figures.available, per_day);
    let share = share(found.gross, standing.figures.total);
    let items = |places: &[usize]| places.iter().filter_map(|place| Some(item(wanted.get(*place)?))).collect();
    let currency = &state.app.config.billing.currency;
    Ok(Quote {
        month: typed.month,
        lines: found.lines.iter().filter_map(|each| line(book, &wanted, each, currency, &names)).collect(),
        net: found.net,
        taxes: found.taxes.iter().map(|(rate, _, tax)| (*rate, *tax)).collect(),
        gross: found.gross,
        free: items(&found.free),
        unpriced: items(&found.unpriced),
        share,
        days_left,
        has_steps: has_steps(&found),
    })
}

fn has_steps(found: &Estimate) -> bool {
    found.lines.iter().any(|line| line.tier.is_some())
}

fn per_day(gross: Money, days: i64) -> Option<Money> {
    gross.times(Decimal::ONE.checked_div(Decimal::from(days))?).ok()
}

fn share(gross: Money, total: Money) -> Option<String> {
    if !total.is_positive() {
        return None;
    }
    let percent = gross.to_decimal().checked_mul(Decimal::ONE_HUNDRED)?.checked_div(total.to_decimal())?;
    Some(percent.round_dp(1).normalize().to_string())
}

/// What a thing of the list is, in words.
fn item(wanted: &Wanted<'_>) -> &'static str {
    match wanted.usage.usage_type {
        machine::RUNNING_VM => words::prices::RUNNING,
        machine::ALLOCATED_VM => words::prices::EXISTING,
        machine::VOLUME => words::prices::ROOT_DISK,
        _ => words::prices::IP_ADDRESS,
    }
}

fn line(
    book: &PriceBook,
    wanted: &[Wanted<'_>],
    line: &crate::rating::estimate::EstimateLine,
    currency: &crate::money::Currency,
    names: &HashMap<String, String>,
) -> Option<QuoteLine> {
    let thing = wanted.get(line.item)?;
    let tariff = book.tariff(line.tariff)?;
    let price = match line.tier {
        None => tariff.price(),
        Some(place) => tariff.tiers().get(usize::from(place)).map(|tier| tier.price),
    };
    let mut price = tariffs::each(price.unwrap_or_default(), tariff.unit(), currency);
    if let Some(what) = tariffs::what_for(tariff.narrowing(), names) {
        price = format!("{price}, {what}");
    }
    let name = item(thing);
    let size = thing.usage.size_bytes.map(|bytes| words::prices::gib(bytes / GIB));
    let discount = line.discount.and_then(|given| book.discount(given));
    Some(QuoteLine {
        item: size.map_or_else(|| name.to_owned(), |size| format!("{name}, {size}")),
        quantity: tariffs::quantity(i64::from(thing.usage.usage_type), line.quantity, None),
        price,
        discount: discount.map(|given| words::prices::discount(&given.percent().normalize().to_string())),
        net: line.net,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(fields: &[(&str, &str)]) -> Ask {
        let of = |name: &str| {
            fields.iter().find(|(field, _)| *field == name).map_or_else(String::new, |(_, value)| (*value).to_owned())
        };
        Ask {
            offering: of("offering"),
            cpu: of("cpu"),
            memory: of("memory"),
            disk: of("disk"),
            address: of("address"),
            hours: of("hours"),
            month: of("month"),
            quote: "1".to_owned(),
        }
    }

    fn read(fields: &[(&str, &str)]) -> Result<Typed, String> {
        let today = Day::from_date("2026-11-15".parse().unwrap());
        typed(&ask(fields), today, chrono_tz::Tz::UTC).map_err(|mistake| mistake.field)
    }

    #[test]
    fn a_machine_is_read_as_it_is_typed() {
        let typed = read(&[("cpu", "4"), ("memory", "1.5"), ("disk", "20"), ("address", "yes"), ("hours", "0.5")]);
        let typed = typed.unwrap();
        assert_eq!((typed.cpu, typed.memory_mib, typed.disk_gib, typed.addresses), (Some(4), Some(1_536), Some(20), 1));
        assert_eq!((typed.running, typed.days, typed.month.as_str()), (500_000, 30, "2026-11"));
        let typed = read(&[("month", "2026-12"), ("disk", "0")]).unwrap();
        assert_eq!((typed.running, typed.days, typed.disk_gib, typed.addresses), (744_000_000, 31, None, 0));
    }

    #[test]
    fn what_makes_no_sense_is_told_by_its_field() {
        for (field, value) in [
            ("cpu", "-1"),
            ("cpu", "4.5"),
            ("cpu", "100001"),
            ("memory", "1e3"),
            ("memory", "-2"),
            ("memory", "9999999"),
            ("disk", "ten"),
            ("disk", "4294967296"),
            ("hours", "721"),
            ("hours", "NaN"),
            ("month", "2026-10"),
            ("month", "2027-03"),
            ("month", "x"),
        ] {
            assert_eq!(read(&[(field, value)]), Err(field.to_owned()), "{field}={value}");
        }
    }

    #[test]
    fn a_share_of_no_credit_is_none() {
        let money = |text: &str| Money::parse(text).unwrap();
        assert_eq!(share(money("12.5"), money("100")).as_deref(), Some("12.5"));
        assert_eq!(share(money("12.5"), Money::ZERO), None);
        assert_eq!(per_day(money("30"), 30), Some(money("1")));
        assert_eq!(per_day(money("30"), 0), None);
    }
}
