//! The price book at the command line, and the preview.

mod quote;
mod show;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use rust_decimal::Decimal;

use super::{Context, args::PriceCommand};
use crate::{
    jobs::{App, work},
    rating::{
        PriceBook,
        init::{Seen, write_price_book},
    },
    store::usage,
    time::{Day, Timestamp},
    usage::types::{Quantity, UsageType},
};

/// `bursar price …`
pub async fn price(context: &Context, command: PriceCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        PriceCommand::Init { file } => init(context, &app, &file).await?,
        PriceCommand::Check { file } => check(context, &app, file)?,
        PriceCommand::Show { file } => {
            let (_, book) = read(&app, file)?;
            show::show(context, &book, app.config.billing.zone)?;
        }
        PriceCommand::Diff { old, new } => show::diff(context, &app, old, new).await?,
        PriceCommand::Quote(args) => quote::quote(context, &app, *args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(context: &Context, app: &App, file: Option<PathBuf>) -> anyhow::Result<()> {
    let (path, book) = read(app, file)?;
    let blank = book.tariffs().iter().filter(|tariff| tariff.is_blank()).count();
    let unpriced: Vec<&str> = UsageType::all()
        .iter()
        .filter(|kind| !book.is_free(kind.id))
        .filter(|kind| !book.tariffs().iter().any(|tariff| tariff.usage_type() == *kind && !tariff.is_blank()))
        .map(|kind| kind.slug)
        .collect();
    let value = serde_json::json!({
        "file": path, "tariffs": book.tariffs().len(), "blank": blank, "discounts": book.discounts().len(),
        "taxes": book.taxes().len(), "unpriced": unpriced, "digest": book.digest(),
    });
    context.show(&value, |_| {
        let mut text = format!("{}: {} tariffs", path.display(), book.tariffs().len());
        for (count, what) in [(book.discounts().len(), "discount"), (book.taxes().len(), "tax rate")] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}{}", if count == 1 { "" } else { "s" }));
            }
        }
        text.push_str(", no problems.");
        if blank > 0 {
            text.push_str(&format!(" {blank} prices are blank: what they are for is not charged."));
        }
        if !unpriced.is_empty() {
            text.push_str(&format!("\nNeither priced nor free, so listed and not charged: {}.", unpriced.join(", ")));
        }
        text
    })
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
