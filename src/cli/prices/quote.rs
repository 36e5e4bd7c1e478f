//! `bursar price quote`: a machine, or anything else, for a month, priced as the bill would.

use anyhow::{Context as _, bail};
use rust_decimal::{Decimal, prelude::ToPrimitive as _};

use super::{
    super::{Context, args::QuoteArgs, output},
    read,
};
use crate::{
    jobs::App,
    rating::{
        Customer, Features, PriceBook, TaxRate, TierUse, Usage,
        desk::customer_of,
        estimate::{Estimate, EstimateLine, Wanted, estimate},
        machine::{self, GIB, PER_HOUR, RUNNING_VM},
        shown_quantity,
    },
    store::cloud,
    time::{Day, Month, Period, Timestamp},
    usage::types::{Quantity, UsageType},
};

const GB: i64 = 1_000_000_000;
const MILLION: i64 = 1_000_000;

/// `bursar price quote`
pub(super) async fn quote(context: &Context, app: &App, args: QuoteArgs) -> anyhow::Result<()> {
    let zone = app.config.billing.zone;
    let (_, book) = read(app, args.file.clone())?;
    let (month, period) = month(app, args.month.as_deref())?;
    let (customer, otherwise) = customer(app, args.account.as_deref()).await?;
    let tags = tags(&args.tags)?;
    let features = Features {
        offering: args.offering.as_deref(),
        zone: args.zone.as_deref(),
        template: args.template.as_deref(),
        os_type: args.os.as_deref(),
        cpu_number: args.cpu.map(i64::from),
        memory_mib: args.memory.map(i64::from),
        tags: &tags,
    };
    let wanted = wanted(&args, period, features)?;
    let found = estimate(&book, &customer, zone, &wanted, &mut TierUse::new(), otherwise)?;
    show(context, &book, month, &wanted, &found)
}

fn month(app: &App, text: Option<&str>) -> anyhow::Result<(Month, Period)> {
    let zone = app.config.billing.zone;
    let day = match text {
        None => Day::of(app.clock.now(), zone),
        Some(text) => Timestamp::parse(&format!("{text}-01"), zone).and_then(|at| Day::of(at, zone)),
    };
    let month = day
        .and_then(Day::month)
        .with_context(|| format!("--month \"{}\" is not a month such as 2026-12", text.unwrap_or_default()))?;
    Ok((month, month.period(zone).context("the month is in no calendar")?))
}

/// The account's customer and the tax rate where the book has none; nobody in particular without an account.
async fn customer(app: &App, account: Option<&str>) -> anyhow::Result<(Customer, TaxRate)> {
    let Some(word) = account else { return Ok((Customer::default(), app.tax()?)) };
    let mut tx = app.store.read().await?;
    let account = cloud::resolve_account(&mut tx, word).await?;
    let customer = customer_of(&mut tx, &account).await?;
    let payer = cloud::get_payer(&mut tx, account.payer_id).await?;
    tx.commit().await?;
    let own = payer.tax_percent.as_deref().map(TaxRate::parse).transpose()?;
    Ok((customer, own.map_or_else(|| app.tax(), Ok)?))
}

fn tags(texts: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    texts
        .iter()
        .map(|text| {
            let (key, value) = text.split_once('=').with_context(|| format!("--tag \"{text}\" is not KEY=VALUE"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn wanted<'a>(args: &'a QuoteArgs, period: Period, features: Features<'a>) -> anyhow::Result<Vec<Wanted<'a>>> {
    let whole = machine::whole(period);
    let mut wanted = Vec::new();
    if let Some(slug) = &args.usage_type {
        let kind = UsageType::from_slug(slug)
            .with_context(|| format!("\"{slug}\" is no usage type; `bursar price show` lists those with a price"))?;
        let quantity = amount(kind, args.amount.as_deref().unwrap_or_default(), whole)?;
        let size_bytes = args.size_gib.map(|gib| i64::from(gib) * GIB);
        wanted.push(Wanted { usage: Usage { usage_type: kind.id, quantity, period, size_bytes }, features });
    } else if args.offering.is_some() || args.cpu.is_some() || args.hours.is_some() {
        let hours = match &args.hours {
            None => whole,
            Some(text) => scaled("--hours", text, PER_HOUR)?,
        };
        if hours > whole {
            bail!("--hours {} is more than the month has", shown_quantity(RUNNING_VM, hours));
        }
        wanted.extend(machine::hours(features, hours, period));
    }
    if let Some(gib) = args.disk_gib {
        wanted.push(machine::disk(features, args.disk_offering.as_deref(), gib, period));
    }
    if let Some(count) = args.ip {
        wanted.push(machine::addresses(features, count, period).context("--ip is beyond any cloud")?);
    }
    if wanted.is_empty() {
        bail!("nothing to price: name a machine's --offering, a --disk-gib, an --ip, or a --type with its --amount");
    }
    Ok(wanted)
}

/// An amount as people give it, as it is stored.
fn amount(kind: &UsageType, text: &str, whole: i64) -> anyhow::Result<i64> {
    let per_one = match kind.quantity {
        Quantity::Hours => whole,
        Quantity::Bytes => GB,
        Quantity::Operations => MILLION,
        Quantity::BytesAtWindow => GIB,
    };
    scaled("--amount", text, per_one)
}

fn scaled(option: &str, text: &str, per_one: i64) -> anyhow::Result<i64> {
    let number: Option<Decimal> = text.parse().ok().filter(|number: &Decimal| !number.is_sign_negative());
    number
        .and_then(|number| number.checked_mul(Decimal::from(per_one))?.round().to_i64())
        .with_context(|| format!("{option} \"{text}\" is not a number such as 10 or 2.5"))
}

/// A quantity in words: in units that people count in, to the sixth decimal.
fn words(kind: &UsageType, usage: &Usage, quantity: i64) -> String {
    let by = |divisor: i64| Decimal::from(quantity).checked_div(Decimal::from(divisor)).unwrap_or_default();
    let (number, unit) = match kind.quantity {
        Quantity::Hours => (by(PER_HOUR), "hours"),
        Quantity::Bytes => (by(GB), "GB"),
        Quantity::Operations => (by(MILLION), "million"),
        Quantity::BytesAtWindow => (by(GIB), "GiB held"),
    };
    let size = usage.size_bytes.map(|bytes| format!(" of {} GiB", bytes / GIB)).unwrap_or_default();
    format!("{} {unit}{size}", number.round_dp(6).normalize())
}

fn line(book: &PriceBook, wanted: &[Wanted<'_>], line: &EstimateLine) -> Option<[String; 8]> {
    let usage = wanted.get(line.item)?.usage;
    let kind = UsageType::from_id(usage.usage_type)?;
    let tariff = book.tariff(line.tariff)?;
    let price = match line.tier {
        None => tariff.price(),
        Some(place) => tariff.tiers().get(usize::from(place)).map(|tier| tier.price),
    };
    let discount = line.discount.and_then(|given| book.discount(given));
    Some([
        kind.slug.to_owned(),
        words(kind, &usage, line.quantity),
        tariff.narrowing().words().unwrap_or_else(|| "all".to_owned()),
        format!("{} per {}", price.unwrap_or_default(), tariff.unit()),
        line.tariff.line.to_string(),
        line.list.to_string(),
        discount.map_or_else(String::new, |given| format!("{} % (line {})", given.percent(), given.line())),
        line.net.to_string(),
    ])
}

fn show(
    context: &Context,
    book: &PriceBook,
    month: Month,
    wanted: &[Wanted<'_>],
    found: &Estimate,
) -> anyhow::Result<()> {
    let currency = book.currency();
    let rows: Vec<[String; 8]> = found.lines.iter().filter_map(|each| line(book, wanted, each)).collect();
    let slugs = |items: &[usize]| -> Vec<&str> {
        let kinds = items.iter().filter_map(|item| UsageType::from_id(wanted.get(*item)?.usage.usage_type));
        kinds.map(|kind| kind.slug).collect()
    };
    let (unpriced, free) = (slugs(&found.unpriced), slugs(&found.free));
    let taxes: Vec<[String; 3]> = found
        .taxes
        .iter()
        .map(|(rate, net, tax)| [rate.to_string(), currency.format_plain(*net), currency.format_plain(*tax)])
        .collect();
    let head = ["type", "quantity", "for", "price", "line", "list", "discount", "net"];
    let lines: Vec<serde_json::Map<String, serde_json::Value>> = rows
        .iter()
        .map(|row| head.iter().zip(row).map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect())
        .collect();
    let value = serde_json::json!({
        "month": month.to_string(), "currency": currency.code(), "lines": lines, "unpriced": unpriced, "free": free,
        "net": currency.format_plain(found.net), "taxes": taxes, "gross": currency.format_plain(found.gross),
    });
    context.show(&value, |_| {
        let mut text = output::table(head, rows.clone());
        text.push_str(&format!("\n{month}, net: {}", currency.format(found.net)));
        for [rate, net, tax] in &taxes {
            text.push_str(&format!("\nTax {rate} on {net}: {tax} {}", currency.code()));
        }
        text.push_str(&format!("\nWith tax: {}", currency.format(found.gross)));
        if !free.is_empty() {
            text.push_str(&format!("\nFree: {}.", free.join(", ")));
        }
        if !unpriced.is_empty() {
            text.push_str(&format!("\nWithout a price, for some of the month at least: {}.", unpriced.join(", ")));
        }
        if book.has_tiers() {
            text.push_str(
                "\nGraduated prices begin at their first step here: use by others of the payer is not counted.",
            );
        }
        text
    })
}
