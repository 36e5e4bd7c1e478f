//! The price book at the command line, and the preview.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use rust_decimal::Decimal;

use super::{Context, args::PriceCommand, output};
use crate::{
    ids::PayerId,
    jobs::{App, work},
    ledger::rules::{Figures, Position},
    money::Money,
    policy::decide::share_words,
    rating::{
        Customer, PriceBook, Rated, Rater, TierUse,
        init::{Seen, write_price_book},
        stage,
    },
    store::{cloud, ledger, usage},
    time::{Day, Period, Timestamp},
    usage::{
        sync::settings::LONGEST_RECORD_MS,
        types::{Quantity, UsageType},
    },
};

/// `bursar price …`
pub async fn price(context: &Context, command: PriceCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        PriceCommand::Init { file } => init(context, &app, &file).await?,
        PriceCommand::Check { file } => {
            let (path, book) = read(&app, file)?;
            let blank = book.tariffs().iter().filter(|tariff| tariff.is_blank()).count();
            let value = serde_json::json!({
                "file": path, "tariffs": book.tariffs().len(), "blank": blank, "digest": book.digest(),
            });
            context.show(&value, |_| {
                let blanks = if blank > 0 {
                    format!(" {blank} prices are blank: what they are for is not charged.")
                } else {
                    String::new()
                };
                format!("{}: {} tariffs, no problems.{blanks}", path.display(), book.tariffs().len())
            })?;
        }
        PriceCommand::Show { file } => {
            let (_, book) = read(&app, file)?;
            let rows: Vec<[String; 7]> = book
                .tariffs()
                .iter()
                .map(|tariff| {
                    let date = |at: Option<Timestamp>| {
                        at.map_or_else(String::new, |at| at.display_in(app.config.billing.zone))
                    };
                    [
                        tariff.usage_type().slug.to_owned(),
                        tariff.offering().unwrap_or("any").to_owned(),
                        tariff.price().map_or_else(|| "blank".to_owned(), |price| price.to_string()),
                        tariff.unit().name().to_owned(),
                        date(tariff.from()),
                        date(tariff.until()),
                        tariff.note().unwrap_or_default().to_owned(),
                    ]
                })
                .collect();
            context.show(&rows, |rows| {
                let free: Vec<&str> =
                    UsageType::all().iter().filter(|kind| book.is_free(kind.id)).map(|kind| kind.slug).collect();
                format!(
                    "{}\nNet prices in {}. Free: {}.",
                    output::table(["type", "offering", "price", "per", "from", "until", "note"], rows.clone()),
                    book.currency().code(),
                    if free.is_empty() { "nothing".to_owned() } else { free.join(", ") }
                )
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(app: &App, file: Option<PathBuf>) -> anyhow::Result<(PathBuf, PriceBook)> {
    let path = file.unwrap_or_else(|| app.config.billing.price_book.clone());
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("{} can not be read; `bursar price init {}` writes a first one", path.display(), path.display())
    })?;
    match work::parse_price_book(app, &text) {
        Ok(book) => Ok((path, book)),
        Err(problems) => bail!("{} has problems:\n{problems}", path.display()),
    }
}

async fn init(context: &Context, app: &App, file: &PathBuf) -> anyhow::Result<()> {
    let now = app.clock.now();
    let zone = app.config.billing.zone;
    let today = Day::of(now, zone).context("the clock is in no calendar")?;
    let this_month = today.month().and_then(|month| month.period(zone)).context("the clock is in no calendar")?;
    let last_day = Day::of(Timestamp::from_ms(this_month.start().as_ms() - 1), zone).context("no last month")?;
    let last_month = last_day.month().and_then(|month| month.period(zone)).context("no last month")?;
    let mut tx = app.store.read().await?;
    let month_rows = usage::list_seen(&mut tx, last_month.start(), last_month.end()).await?;
    let all_rows = usage::list_seen(&mut tx, Timestamp::from_ms(0), now).await?;
    if all_rows.is_empty() {
        bail!("no usage is known yet; run `bursar sync` first, so that the book lists what this cloud uses");
    }
    let mut seen: BTreeMap<(i64, Option<String>), (Option<String>, i64)> = BTreeMap::new();
    for (usage_type, offering, name, _) in all_rows {
        seen.insert((usage_type, offering), (name, 0));
    }
    for (usage_type, offering, name, quantity) in month_rows {
        seen.insert((usage_type, offering), (name, quantity));
    }
    let hours = last_month.seconds() / 3_600;
    let seen: Vec<Seen> = seen
        .into_iter()
        .filter_map(|((usage_type, offering), (name, quantity))| {
            let usage_type = i32::try_from(usage_type).ok()?;
            let kind = UsageType::from_id(usage_type)?;
            let quantity = match kind.quantity {
                Quantity::Hours => Decimal::new(quantity, 6),
                // Bytes held are reported once a window: the month's average counts, not the sum.
                Quantity::BytesAtWindow => Decimal::from(quantity / hours.max(1)),
                _ => Decimal::from(quantity),
            };
            let offering = if kind.has_offering { offering } else { None };
            Some(Seen {
                usage_type,
                offering: offering.map(|id| (id.clone(), name.filter(|name| !name.is_empty()).unwrap_or(id))),
                quantity_last_month: quantity,
            })
        })
        .collect();
    let text = write_price_book(&app.config.billing.currency, &seen);
    let mut target = std::fs::File::create_new(file)
        .with_context(|| format!("{} can not be made (an existing file is never overwritten)", file.display()))?;
    std::io::Write::write_all(&mut target, text.as_bytes())?;
    context.show(&serde_json::json!({ "file": file, "types": seen.len() }), |_| {
        format!(
            "{} lists {} types and offerings with blank prices and last month's quantities. Fill the prices in, then `bursar price check` and \
             `bursar preview`.",
            file.display(),
            seen.len()
        )
    })
}

#[derive(serde::Serialize)]
struct PreviewLine {
    payer: String,
    net: String,
    tax: String,
    gross: String,
    limit: Option<String>,
    share: String,
    would: &'static str,
}

/// `bursar preview`
pub async fn preview(context: &Context, from: &str, to: &str) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let zone = app.config.billing.zone;
    let start = |text: &str| {
        Timestamp::parse(text, zone).with_context(|| format!("\"{text}\" is not a date such as 2026-11-01"))
    };
    let period = Period::new(start(from)?, start(to)?).context("--to must be later than --from")?;
    let (_, book) = work::load_price_book_text(&app)?;
    let tax = app.tax()?;
    let mut tx = app.store.read().await?;
    let reach_ms = crate::store::runs::find_setting(&mut tx, LONGEST_RECORD_MS)
        .await?
        .and_then(|text| text.parse().ok())
        .context("no usage is known yet; run `bursar sync` first")?;
    let customer = Customer::default();
    let mut rater = Rater::new(&book, zone, &customer);
    let mut used = TierUse::new();
    let mut nets: BTreeMap<PayerId, i64> = BTreeMap::new();
    let mut unpriced: BTreeMap<i64, u64> = BTreeMap::new();
    for account in cloud::list_accounts(&mut tx).await? {
        let sum = nets.entry(account.payer_id).or_default();
        for record in usage::list_current(&mut tx, account.id, period.start(), period.end(), reach_ms).await? {
            let Some(usage) = stage::to_usage(&record) else { continue };
            let prices = rater.find_prices(usage.usage_type, &stage::to_features(&record));
            match rater.rate(&usage, &prices, &mut used) {
                Ok(Rated::Charged(charge)) => {
                    for part in charge.parts() {
                        // A record across the edge counts by its days.
                        if part.day.start(zone).is_some_and(|at| at >= period.start() && at < period.end()) {
                            *sum = sum.checked_add(part.amount_nanos).context("the sum is beyond all measure")?;
                        }
                    }
                    if !charge.unpriced().is_empty() {
                        *unpriced.entry(record.usage_type).or_default() += 1;
                    }
                }
                Ok(Rated::Free) => {}
                Ok(Rated::Unpriced) | Err(_) => *unpriced.entry(record.usage_type).or_default() += 1,
            }
        }
    }
    let limits = ledger::list_limits(&mut tx).await?;
    let policy = app.policy();
    let currency = &app.config.billing.currency;
    let mut lines = Vec::new();
    for payer in cloud::list_payers(&mut tx).await? {
        let net = Money::round_from_nanos(nets.get(&payer.id).copied().unwrap_or_default());
        let tax = tax.of(net)?;
        let gross = net.plus(tax)?;
        let limit = limits.get(&payer.id).copied().unwrap_or(app.default_limit());
        let position = Position { limit, money: gross.negated()?, ..Position::default() };
        let figures = Figures::of(&position, app.clock.now())?;
        let percent = figures.share().for_thresholds();
        let would = match limit {
            None => "nothing: not managed",
            Some(_) if percent >= Decimal::ONE_HUNDRED && policy.lock_enabled => "warn, then lock",
            Some(_) if percent >= Decimal::ONE_HUNDRED => "warn",
            Some(_) if policy.notify_percent.iter().any(|threshold| percent >= Decimal::from(*threshold)) => "notify",
            Some(_) => "nothing",
        };
        lines.push(PreviewLine {
            payer: payer.name,
            net: currency.format_plain(net),
            tax: currency.format_plain(tax),
            gross: currency.format_plain(gross),
            limit: limit.map(|limit| currency.format_plain(limit)),
            share: share_words(figures.share()),
            would,
        });
    }
    let unpriced: BTreeMap<String, u64> =
        unpriced.into_iter().map(|(usage_type, count)| (work::slug_of(usage_type), count)).collect();
    let value =
        serde_json::json!({ "from": period.start(), "to": period.end(), "payers": lines, "unpriced": unpriced });
    context.show(&value, |_| {
        let rows = lines
            .iter()
            .map(|line| {
                [
                    line.payer.clone(),
                    line.net.clone(),
                    line.tax.clone(),
                    line.gross.clone(),
                    line.limit.clone().unwrap_or_else(|| "none".to_owned()),
                    line.share.clone(),
                    line.would.to_owned(),
                ]
            })
            .collect();
        let mut text = output::table(["payer", "net", "tax", "with tax", "limit", "of limit", "would"], rows);
        text.push_str(&format!("\nAmounts in {}. Nothing was stored, nothing was sent.", currency.code()));
        for (slug, count) in &unpriced {
            text.push_str(&format!("\nUnpriced: {slug} ({count} records)."));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}
