//! Why a day costs what it costs: its records, and the price line behind each part. Worked out again by the function that
//! priced the day, with the book and the terms that the day keeps.

use super::{
    PriceBook, Rated,
    desk::{Desk, Error, Pricing, Under},
};
use crate::{
    ids::{AccountId, PriceBookId},
    store::{
        Tx,
        compaction::{self, NamedSum},
        rating::{self as rows, NamedRow, RatableRow},
    },
    time::{Day, Period, Timestamp},
    usage::record::RecordKey,
};

/// A record of a day.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// Sixteen bytes in hexadecimal.
    pub key: String,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// What was used: CloudStack's id or what identifies it.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// Its offering, by name or id.
    pub offering: Option<String>,
    /// First instant of its window.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
    /// As CloudStack reported it: millionths of an hour, bytes or operations.
    pub reported: i64,
    /// What is charged of it, in the same measure.
    pub charged: i64,
    /// current, superseded, part, quarantined, rejected: only current records are charged. summed-up: a daily sum of charged ones.
    pub standing: &'static str,
    /// The priced pieces.
    pub parts: Vec<PartLine>,
    /// Why nothing is charged, in words.
    pub note: Option<String>,
}

/// A piece of a record and the price line behind it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PartLine {
    /// First instant.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
    /// Its share of the record.
    pub quantity: i64,
    /// Line of the price book as it is kept.
    pub tariff_line: u32,
    /// The tariff in words: price, unit, what it is narrowed to.
    pub tariff: String,
    /// The discount in percent.
    pub discount_percent: Option<String>,
    /// Before the discount, billionths.
    pub list_nanos: i64,
    /// Net, billionths.
    pub amount_nanos: i64,
}

/// A day of an account, explained.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DayLines {
    /// The price book that it is rated with; None: no charge was worked out yet.
    pub book: Option<i64>,
    /// Its records, or the daily sums in their place.
    pub lines: Vec<Line>,
    /// Where its records are summed up: what it costs, net, in billionths.
    pub summed_up: Option<i64>,
}

/// The records of a day and what each costs; of one usage type or of all.
pub async fn explain_day(
    tx: &mut Tx,
    desk: &Desk,
    account: AccountId,
    day: Day,
    usage_type: Option<i64>,
) -> Result<DayLines, Error> {
    let stored = rows::list_charge_days(tx, account, day).await?;
    let period = desk.period(day)?;
    if desk.is_summed_up(account, day)? {
        let sums = compaction::list_sums(tx, account, day).await?;
        let wanted = |its_type: i64| usage_type.is_none_or(|wanted| wanted == its_type);
        let net = stored.iter().filter(|row| wanted(row.usage_type)).map(|row| row.net_nanos);
        return Ok(DayLines {
            book: stored.first().map(|row| row.book_id),
            lines: sums.iter().filter(|sum| wanted(sum.usage_type)).map(|sum| sum_line(sum, period)).collect(),
            summed_up: Some(net.fold(0, i64::saturating_add)),
        });
    }
    let records = rows::list_named(tx, account, period.start(), period.end(), desk.reach_ms()).await?;
    let Some(first) = stored.first() else {
        let lines = records.iter().map(|row| line(row, Some("not rated yet".to_owned()))).collect();
        return Ok(DayLines { book: None, lines, summed_up: None });
    };
    let book_id = PriceBookId::new(first.book_id);
    let book = desk.book(tx, book_id).await?;
    let used = desk.used_before(tx, &book, account, day).await?;
    let (terms, _) = desk.terms(tx, account, &stored, Under::Kept).await?;
    let is_charged = terms.is_billed && day.number() >= terms.start;
    let mut pricing = Pricing::new(desk, &book, &terms, used);
    let mut lines = Vec::new();
    for row in &records {
        let mut line = line(row, None);
        if row.standing == 0 && is_charged {
            // Also those that are not asked for: they count for the steps of graduated prices.
            match pricing.price(tx, &RatableRow::from(row), day).await? {
                Ok(Rated::Charged(charge)) => {
                    line.parts =
                        charge.parts().iter().filter(|part| part.day == day).map(|part| words(&book, part)).collect();
                    if charge.unpriced().iter().any(|piece| piece.day == day) {
                        line.note = Some("part of it has no price in the book".to_owned());
                    }
                }
                Ok(Rated::Free) => line.note = Some("listed as free in the book".to_owned()),
                Ok(Rated::Unpriced) => line.note = Some("no price in the book".to_owned()),
                Err(reason) => line.note = Some(reason),
            }
        } else if row.standing == 0 {
            line.note = Some(
                if terms.is_billed { "before the first billing day" } else { "its domain is not billed" }.to_owned(),
            );
        }
        if usage_type.is_none_or(|wanted| wanted == row.usage_type) {
            lines.push(line);
        }
    }
    Ok(DayLines { book: Some(book_id.get()), lines, summed_up: None })
}

/// What stands in place of records that are gone.
fn sum_line(sum: &NamedSum, period: Period) -> Line {
    let records = if sum.records == 1 { "1 record".to_owned() } else { format!("{} records", sum.records) };
    Line {
        key: String::new(),
        usage_type: sum.usage_type,
        resource: sum.resource.clone(),
        name: sum.name.clone(),
        offering: sum.offering_name.clone().filter(|name| !name.is_empty()).or_else(|| sum.offering.clone()),
        start: period.start(),
        end: period.end(),
        reported: sum.quantity,
        charged: sum.quantity,
        standing: "summed-up",
        parts: Vec::new(),
        note: Some(match sum.size_bytes {
            Some(size) => format!("{records} of {size} bytes held, summed up"),
            None => format!("{records}, summed up"),
        }),
    }
}

fn line(row: &NamedRow, note: Option<String>) -> Line {
    Line {
        key: <[u8; 16]>::try_from(row.key.as_slice())
            .map_or_else(|_| String::new(), |key| RecordKey::from_bytes(key).to_hex()),
        usage_type: row.usage_type,
        resource: row.resource.clone(),
        name: row.name.clone(),
        offering: row.offering_name.clone().filter(|name| !name.is_empty()).or_else(|| row.offering.clone()),
        start: Timestamp::from_ms(row.start_ms),
        end: Timestamp::from_ms(row.end_ms),
        reported: row.reported,
        charged: row.quantity,
        standing: match row.standing {
            0 => "current",
            1 => "superseded",
            2 => "part",
            4 => "rejected",
            _ => "quarantined",
        },
        parts: Vec::new(),
        note,
    }
}

fn words(book: &PriceBook, part: &super::Part) -> PartLine {
    let period: Period = part.period;
    let tariff = book.tariff(part.tariff).map_or_else(String::new, |tariff| {
        let step = part.tier.and_then(|tier| tariff.tiers().get(usize::from(tier)));
        let price = step.map(|step| step.price).or_else(|| tariff.price());
        let price = price.map_or_else(|| "no price".to_owned(), |price| price.normalize().to_string());
        let narrowed = tariff.narrowing().words().unwrap_or_else(|| "in general".to_owned());
        match part.tier {
            Some(tier) => format!("{price} a {}, step {} ({narrowed})", tariff.unit(), u32::from(tier) + 1),
            None => format!("{price} a {} ({narrowed})", tariff.unit()),
        }
    });
    PartLine {
        start: period.start(),
        end: period.end(),
        quantity: part.quantity,
        tariff_line: part.tariff.line,
        tariff,
        discount_percent: part
            .discount
            .and_then(|discount| book.discount(discount))
            .map(|discount| discount.percent().normalize().to_string()),
        list_nanos: part.list_nanos,
        amount_nanos: part.amount_nanos,
    }
}
