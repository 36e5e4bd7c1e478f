//! What each thing of a day cost: the records of a day priced once more, by the function, the book and the terms that the day
//! was rated with. For pages that tell machines, tags and projects apart; the charge of a day stands by usage type only.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    Charge, PriceBook, Rated,
    desk::{Desk, Error, Pricing, Under},
};
use crate::{
    ids::{AccountId, PriceBookId},
    store::{
        Tx,
        rating::{ChargeDay, RatableRow},
        spending::{self as rows, ThingRow},
    },
    time::Day,
};

/// What a thing cost on a day, under one usage type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThingCost {
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Number of the resource.
    pub resource_id: i64,
    /// The project, where it is a project's.
    pub project_id: Option<i64>,
    /// Number of its attributes, where its tags stand.
    pub attributes_id: Option<i64>,
    /// Records that touch the day.
    pub records: i64,
    /// What was used of it on the day, as it is stored.
    pub quantity: i64,
    /// Net, billionths.
    pub net_nanos: i64,
}

/// Usage type, resource, project and attributes: what tells things apart.
type ThingKey = (i64, i64, Option<i64>, Option<i64>);

/// What became of a record on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All or some of it has a price.
    Charged(Charge),
    /// The book says that its type costs nothing.
    Free,
    /// The book has no price for it.
    Unpriced,
    /// It could not be priced.
    Failed,
    /// The day is before the first that is charged, or the account is not billed.
    NotBilled,
}

/// A record on one of the days it touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedRecord {
    /// The record.
    pub row: ThingRow,
    /// The day.
    pub day: Day,
    /// What became of it.
    pub outcome: Outcome,
}

/// What every thing of a day cost. `stored`: the charges of the day; without any it was not rated yet, and nothing is told.
/// Days whose records are summed up are an error.
pub async fn things_of_day(
    tx: &mut Tx,
    desk: &Desk,
    (account, day): (AccountId, Day),
    stored: &[ChargeDay],
) -> Result<Vec<ThingCost>, Error> {
    let period = desk.period(day)?;
    let records = rows::list_things(tx, account, None, period, desk.reach_ms()).await?;
    let mut sums: BTreeMap<ThingKey, (i64, i64, i64)> = BTreeMap::new();
    price(tx, desk, (account, day), stored, records, |row, outcome| {
        let sum = sums.entry((row.usage_type, row.resource_id, row.project_id, row.attributes_id)).or_default();
        sum.0 = sum.0.saturating_add(1);
        let (quantity, nanos) = match &outcome {
            Outcome::Charged(charge) => on_day(charge, day),
            // Where nothing was cut, a record counts on the day on which it begins.
            _ => (if period.contains(crate::time::Timestamp::from_ms(row.start_ms)) { row.quantity } else { 0 }, 0),
        };
        sum.1 = sum.1.saturating_add(quantity);
        sum.2 = sum.2.saturating_add(nanos);
    })
    .await?;
    Ok(sums
        .into_iter()
        .map(|((usage_type, resource_id, project_id, attributes_id), (records, quantity, net_nanos))| ThingCost {
            usage_type,
            resource_id,
            project_id,
            attributes_id,
            records,
            quantity,
            net_nanos,
        })
        .collect())
}

/// Quantity and amount of a charge on a day.
fn on_day(charge: &Charge, day: Day) -> (i64, i64) {
    let parts = charge.parts().iter().filter(|part| part.day == day);
    let priced = parts.fold((0_i64, 0_i64), |sum, part| {
        (sum.0.saturating_add(part.quantity), sum.1.saturating_add(part.amount_nanos))
    });
    let unpriced = charge.unpriced().iter().filter(|piece| piece.day == day);
    (unpriced.fold(priced.0, |sum, piece| sum.saturating_add(piece.quantity)), priced.1)
}

/// Some records of one resource, as far as they fall on a day, with the book that the day was rated with. With graduated prices
/// all records of the day are priced, since what others used before counts.
pub async fn records_of_day(
    tx: &mut Tx,
    desk: &Desk,
    (account, day): (AccountId, Day),
    stored: &[ChargeDay],
    wanted: &[ThingRow],
) -> Result<(Option<Arc<PriceBook>>, Vec<PricedRecord>), Error> {
    let Some(first) = stored.first() else { return Ok((None, Vec::new())) };
    let period = desk.period(day)?;
    let book = desk.book(tx, PriceBookId::new(first.book_id)).await?;
    let touches = |row: &&ThingRow| row.start_ms < period.end().as_ms() && row.end_ms > period.start().as_ms();
    let own: Vec<ThingRow> = wanted.iter().filter(touches).cloned().collect();
    let keys: HashSet<Vec<u8>> = own.iter().map(|row| row.key.clone()).collect();
    let records =
        if book.has_tiers() { rows::list_things(tx, account, None, period, desk.reach_ms()).await? } else { own };
    let mut priced = Vec::new();
    price(tx, desk, (account, day), stored, records, |row, outcome| {
        if keys.contains(&row.key) {
            priced.push(PricedRecord { row: row.clone(), day, outcome });
        }
    })
    .await?;
    Ok((Some(book), priced))
}

async fn price(
    tx: &mut Tx,
    desk: &Desk,
    (account, day): (AccountId, Day),
    stored: &[ChargeDay],
    records: Vec<ThingRow>,
    mut take: impl FnMut(&ThingRow, Outcome),
) -> Result<(), Error> {
    if desk.is_summed_up(account, day)? {
        return Err(Error::SummedUp(account, day));
    }
    let Some(first) = stored.first() else { return Ok(()) };
    let book = desk.book(tx, PriceBookId::new(first.book_id)).await?;
    let used = desk.used_before(tx, &book, account, day).await?;
    let (terms, _) = desk.terms(tx, account, stored, Under::Kept).await?;
    let is_charged = terms.is_billed && day.number() >= terms.start;
    let mut pricing = Pricing::new(desk, &book, &terms, used);
    for row in &records {
        let outcome = if is_charged {
            match pricing.price(tx, &RatableRow::from(row), day).await? {
                Ok(Rated::Charged(charge)) => Outcome::Charged(charge),
                Ok(Rated::Free) => Outcome::Free,
                Ok(Rated::Unpriced) => Outcome::Unpriced,
                Err(_) => Outcome::Failed,
            }
        } else {
            Outcome::NotBilled
        };
        take(row, outcome);
    }
    Ok(())
}
