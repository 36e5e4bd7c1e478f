//! A price book as tables, and what differs between two.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use chrono_tz::Tz;

use super::{
    super::{Context, output},
    read,
};
use crate::{
    ids::PriceBookId,
    jobs::App,
    rating::{Change, ChangeKind, FirstDifference, Narrowing, PriceBook},
    store::{rating as rows, runs},
    time::Timestamp,
    usage::types::UsageType,
};

/// The setting with the price book of the last run of rating.
const LAST_BOOK: &str = "rating.book";

fn whom(narrowing: &Narrowing) -> String {
    narrowing.words().unwrap_or_else(|| "all".to_owned())
}

/// `bursar price show`
pub(super) fn show(context: &Context, book: &PriceBook, zone: Tz) -> anyhow::Result<()> {
    let date = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.display_in(zone));
    let note = |note: Option<&str>| note.unwrap_or_default().to_owned();
    let tariffs: Vec<[String; 8]> = book
        .tariffs()
        .iter()
        .map(|tariff| {
            [
                tariff.line().to_string(),
                tariff.usage_type().slug.to_owned(),
                whom(tariff.narrowing()),
                tariff.pricing().to_string(),
                tariff.unit().name().to_owned(),
                date(tariff.from()),
                date(tariff.until()),
                note(tariff.note()),
            ]
        })
        .collect();
    let discounts: Vec<[String; 7]> = book
        .discounts()
        .iter()
        .map(|discount| {
            [
                discount.line().to_string(),
                discount.usage_type().map_or_else(|| "all".to_owned(), |kind| kind.slug.to_owned()),
                whom(discount.narrowing()),
                format!("{} %", discount.percent()),
                date(discount.from()),
                date(discount.until()),
                note(discount.note()),
            ]
        })
        .collect();
    let day = |day: Option<crate::time::Day>| day.map_or_else(String::new, |day| day.to_string());
    let taxes: Vec<[String; 6]> = book
        .taxes()
        .iter()
        .map(|tax| {
            let rate = tax.rate().to_string();
            [tax.line().to_string(), whom(tax.narrowing()), rate, day(tax.from()), day(tax.until()), note(tax.note())]
        })
        .collect();
    let free: Vec<&str> = UsageType::all().iter().filter(|kind| book.is_free(kind.id)).map(|kind| kind.slug).collect();
    let value = serde_json::json!({
        "currency": book.currency().code(), "free": free, "tariffs": tariffs, "discounts": discounts, "taxes": taxes,
    });
    context.show(&value, |_| {
        let mut text = output::table(["line", "type", "for", "price", "per", "from", "until", "note"], tariffs.clone());
        if !discounts.is_empty() {
            let head = ["line", "type", "for", "discount", "from", "until", "note"];
            text.push_str(&format!("\n\n{}", output::table(head, discounts.clone())));
        }
        if !taxes.is_empty() {
            let head = ["line", "for", "tax", "from", "until", "note"];
            text.push_str(&format!("\n\n{}", output::table(head, taxes.clone())));
        }
        text.push_str(&format!(
            "\nNet prices in {}. Free: {}.",
            book.currency().code(),
            if free.is_empty() { "nothing".to_owned() } else { free.join(", ") }
        ));
        text
    })
}

/// `bursar price diff`
pub(super) async fn diff(
    context: &Context,
    app: &App,
    old: Option<PathBuf>,
    new: Option<PathBuf>,
) -> anyhow::Result<()> {
    let zone = app.config.billing.zone;
    let (new_path, new) = read(app, new)?;
    let is_stored = old.is_none();
    let (old_name, old) = match old {
        Some(path) => {
            let (path, book) = read(app, Some(path))?;
            (path.display().to_string(), book)
        }
        None => ("the book last used".to_owned(), last_used(app).await?),
    };
    let mut changes = PriceBook::diff(&old, &new, zone);
    if is_stored {
        // The lines of a kept book are those of its canonical text, which nobody has.
        for change in &mut changes {
            change.old_line = None;
        }
    }
    let since = PriceBook::first_difference(&old, &new);
    let value = serde_json::json!({
        "old": old_name,
        "new": new_path,
        "changes": changes,
        "since": since.map(|since| since.at().map_or_else(|| "always".to_owned(), |at| at.to_string())),
    });
    context.show(&value, |_| {
        let lines: Vec<String> = changes.iter().map(told).collect();
        let since = match since {
            None => "Both price alike.".to_owned(),
            Some(FirstDifference::Always) => "They may price differently at all times.".to_owned(),
            Some(FirstDifference::From(at)) => {
                format!("They may price differently from {} on; before, they price alike.", at.display_in(zone))
            }
        };
        format!("{}\n{since}", lines.join("\n"))
    })
}

fn told(change: &Change) -> String {
    let sign = match change.kind {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Changed => '~',
    };
    let line = match (change.old_line, change.new_line) {
        (Some(old), Some(new)) => format!(" (line {new}, before {old})"),
        (None, Some(line)) => format!(" (line {line})"),
        (Some(line), None) => format!(" (line {line} before)"),
        (None, None) => String::new(),
    };
    format!("{sign} {}{line}", change.words)
}

async fn last_used(app: &App) -> anyhow::Result<PriceBook> {
    let mut tx = app.store.read().await?;
    let id: i64 = runs::find_setting(&mut tx, LAST_BOOK)
        .await?
        .and_then(|text| text.parse().ok())
        .context("no price book was used for rating yet; name the old file too: `bursar price diff OLD`")?;
    let text = rows::get_book(&mut tx, PriceBookId::new(id)).await?;
    tx.commit().await?;
    match PriceBook::parse(&text, app.config.billing.zone) {
        Ok(book) => Ok(book),
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("price book {id} in the store can not be read by this version: {}", problems.join("; "))
        }
    }
}
