//! The stage: days whose records changed are rated again, and what each day costs is stored.
//!
//! Each batch is one transaction: cut off anywhere, the days that were not finished are still on the list. Nobody but the open run
//! takes a day off it, so that the marks of a day only grow while it is priced. A day that was closed before is rated with the
//! book it was closed with: changing the past takes an approved proposal.
//!
//! Days are priced side by side, and written by one. Where a book has tiers the order matters (what a payer used before in
//! the month decides the price), so they are priced one after the other, and a day that uses more or less of a tier than
//! before puts the payer's later days of the month on the list.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};

use super::{
    PriceBook,
    desk::{Desk, Error, PricedDay, RateSettings, Under, month_of},
};
use crate::{
    ids::{AccountId, PriceBookId, RunId},
    progress::Progress,
    store::{
        Store, StoreError, Tx, bulk,
        rating::{self as rows, ChargeDay, DayToRate},
        runs,
    },
    time::Day,
};

/// Days priced by one worker and written in one transaction.
const DAYS_PER_BATCH: usize = 100;
/// Days taken from the list at once.
const DAYS_PER_READ: i64 = 5_000;
/// Batches priced side by side: reading a row costs about as much as pricing it, so two keep two cores busy.
const WORKERS: usize = 2;

/// What rating did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct RateReport {
    /// Account days rated.
    pub days: u64,
    /// Records priced on them; one across midnight counts on both days.
    pub records: u64,
    /// Of them, without a price.
    pub unpriced: u64,
    /// Of them, those that could not be priced, such as for a size that is missing.
    pub failed: u64,
}

impl RateReport {
    fn add(&mut self, day: &PricedDay) {
        let sum = |get: fn(&ChargeDay) -> i64| u64::try_from(day.sums.iter().map(get).sum::<i64>()).unwrap_or(0);
        self.days += 1;
        self.records += day.records;
        self.unpriced += sum(|row| row.unpriced);
        self.failed += sum(|row| row.failed);
    }
}

/// Rates every day on the list.
pub async fn rate_days(
    store: &Store,
    newest: (PriceBookId, &Arc<PriceBook>),
    settings: &RateSettings,
    run: RunId,
    progress: &dyn Progress,
) -> Result<RateReport, Error> {
    let mut report = RateReport::default();
    loop {
        let mut tx = store.read().await?;
        let days = rows::list_days_to_rate(&mut tx, DAYS_PER_READ).await?;
        if days.is_empty() {
            return Ok(report);
        }
        let total = report.days + u64::try_from(rows::count_days_to_rate(&mut tx).await?).unwrap_or(0);
        let desk = Arc::new(Desk::open(&mut tx, settings.clone()).await?);
        let in_order = newest.1.has_tiers() || rows::has_tier_use(&mut tx).await?;
        tx.commit().await?;
        desk.keep_book(newest.0, newest.1);
        let days = drop_summed_up(store, &desk, run, days).await?;
        if in_order {
            for batch in days.chunks(DAYS_PER_BATCH) {
                let mut tx = store.begin().await?;
                for day in batch {
                    let priced = price(&mut tx, &desk, newest.0, *day).await?;
                    pass_on_tiers(&mut tx, &desk, &priced).await?;
                    write(&mut tx, &[*day], std::slice::from_ref(&priced)).await?;
                    report.add(&priced);
                }
                runs::commit_for(tx, run).await?;
                progress.step("account days rated", report.days, Some(total));
            }
            continue;
        }
        let mut batches = stream::iter(days.chunks(DAYS_PER_BATCH).map(<[DayToRate]>::to_vec).collect::<Vec<_>>())
            .map(|batch| {
                let (store, desk, newest) = (store.clone(), Arc::clone(&desk), newest.0);
                tokio::spawn(async move { price_batch(&store, &desk, newest, batch).await })
            })
            .buffered(WORKERS);
        while let Some(batch) = batches.next().await {
            let (batch, priced) = batch.map_err(|error| Error::CutOff(error.to_string()))??;
            let mut tx = store.begin().await?;
            write(&mut tx, &batch, &priced).await?;
            runs::commit_for(tx, run).await?;
            for day in &priced {
                report.add(day);
            }
            progress.step("account days rated", report.days, Some(total));
        }
    }
}

/// Takes days off the list whose records are summed up: priced again they would cost nothing. They keep what they cost.
async fn drop_summed_up(
    store: &Store,
    desk: &Desk,
    run: RunId,
    days: Vec<DayToRate>,
) -> Result<Vec<DayToRate>, StoreError> {
    let mut kept = Vec::with_capacity(days.len());
    let mut summed_up = Vec::new();
    for day in days {
        let is = desk.is_summed_up(AccountId::new(day.account_id), Day::from_number(day.day))?;
        if is { summed_up.push(day) } else { kept.push(day) }
    }
    let Some(first) = summed_up.first() else { return Ok(kept) };
    tracing::warn!(
        days = summed_up.len(),
        account = first.account_id,
        day = %Day::from_number(first.day),
        "days whose usage records are summed up are not rated again: they keep what they cost"
    );
    let mut tx = store.begin().await?;
    for day in summed_up {
        rows::clear_day_to_rate(&mut tx, day).await?;
    }
    runs::commit_for(tx, run).await?;
    Ok(kept)
}

async fn price_batch(
    store: &Store,
    desk: &Desk,
    newest: PriceBookId,
    batch: Vec<DayToRate>,
) -> Result<(Vec<DayToRate>, Vec<PricedDay>), Error> {
    let mut tx = store.read().await?;
    let mut priced = Vec::with_capacity(batch.len());
    for day in &batch {
        priced.push(price(&mut tx, desk, newest, *day).await?);
    }
    tx.commit().await?;
    Ok((batch, priced))
}

/// Prices a day with the book that a person ordered for it, else the one it was closed with, else the newest.
async fn price(tx: &mut Tx, desk: &Desk, newest: PriceBookId, wanted: DayToRate) -> Result<PricedDay, Error> {
    let (account, day) = (AccountId::new(wanted.account_id), Day::from_number(wanted.day));
    let stored = rows::list_charge_days(tx, account, day).await?;
    let closed = stored.iter().filter(|row| row.closed == 1).map(|row| row.book_id).min();
    let book_id = wanted.ordered_book_id.or(closed).map_or(newest, PriceBookId::new);
    let book = desk.book(tx, book_id).await?;
    let used = desk.used_before(tx, &book, account, day).await?;
    desk.price_day(tx, (book_id, &book), (account, day), &stored, (used, Under::Kept)).await
}

/// Puts the payer's later days of the month on the list where this day uses another share of a tier than before.
async fn pass_on_tiers(tx: &mut Tx, desk: &Desk, priced: &PricedDay) -> Result<(), StoreError> {
    let before = rows::list_tier_use(tx, priced.account, priced.day).await?;
    if before == priced.tiers {
        return Ok(());
    }
    let payer = desk.payer(priced.account)?;
    let (_, _, month_end) = month_of(priced.day)?;
    let changed = before.iter().filter(|row| !priced.tiers.contains(row)).map(|(key, _)| *key);
    let fresh = priced.tiers.iter().filter(|row| !before.contains(row)).map(|(key, _)| *key);
    let keys: std::collections::BTreeSet<i64> = changed.chain(fresh).collect();
    for key in keys {
        rows::mark_tier_after(tx, payer, key, (priced.day, priced.account), month_end).await?;
    }
    rows::replace_tier_use(tx, priced.account, priced.day, &priced.tiers).await
}

async fn write(tx: &mut Tx, batch: &[DayToRate], priced: &[PricedDay]) -> Result<(), StoreError> {
    let mut sums: Vec<ChargeDay> = Vec::new();
    let mut numbers: HashMap<usize, i64> = HashMap::new();
    for day in priced {
        // Days of an account share their terms: each is numbered once a batch.
        let number = match numbers.entry(Arc::as_ptr(&day.terms).addr()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(slot) => *slot.insert(rows::put_terms(tx, &day.terms.to_json()?).await?),
        };
        sums.extend(day.sums.iter().map(|sum| ChargeDay { terms_id: Some(number), ..sum.clone() }));
    }
    bulk::put_charge_days(tx, &sums).await?;
    for day in batch {
        // Marked again meanwhile, it stays on the list.
        rows::clear_day_to_rate(tx, *day).await?;
    }
    Ok(())
}
