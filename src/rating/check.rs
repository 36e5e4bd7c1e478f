//! Prices every day again and compares: that each charge is that of its records, and that each record has its charge.
//!
//! Reads only. Days that wait to be rated are left out: what they cost is not worked out yet. Days whose records are summed up
//! are not priced again: their charges are compared with the number of records in the sums.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};

use super::desk::{Desk, Error, RateSettings, Under};
use crate::{
    ids::{AccountId, PriceBookId},
    store::{
        Store, StoreError, Tx,
        compaction::{self, Marks},
        rating::{self as rows, ChargeDay},
    },
    time::{Day, Timestamp},
};

/// Days checked by one worker at a time.
const DAYS_PER_BATCH: usize = 100;
/// Batches checked side by side.
const WORKERS: usize = 2;

/// A charge that is not that of its records.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mismatch {
    /// The account.
    pub account: AccountId,
    /// The billing day.
    pub day: Day,
    /// CloudStack's usage type; None: the whole day has records and no charge.
    pub usage_type: Option<i64>,
    /// Net and records as stored.
    pub stored: (i64, i64),
    /// Net in billionths and records as priced again; the records in the sums where the day is summed up.
    pub priced: (i64, i64),
    /// Whether its records are summed up.
    pub summed_up: bool,
}

/// What was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct CheckReport {
    /// Account days priced again.
    pub days: u64,
    /// Records on them.
    pub records: u64,
    /// Account days whose records are summed up.
    pub summed_up: u64,
    /// What differs.
    pub mismatches: Vec<Mismatch>,
    /// Where more or fewer records are gone than are summed up: (account, type, gone, summed up).
    pub wrong_digests: Vec<(i64, i64, i64, i64)>,
}

/// Checks every charge.
pub async fn check_charges(store: &Store, settings: &RateSettings) -> Result<CheckReport, Error> {
    let mut tx = store.read().await?;
    let desk = Arc::new(Desk::open(&mut tx, settings.clone()).await?);
    let waiting: HashSet<(i64, i64)> =
        rows::list_days_to_rate(&mut tx, i64::MAX).await?.into_iter().map(|day| (day.account_id, day.day)).collect();
    let charged: BTreeSet<(i64, i64)> = rows::list_charged_days(&mut tx).await?.into_iter().collect();
    let mut used: BTreeSet<(i64, i64)> = BTreeSet::new();
    for (account, hour) in rows::list_hours_with_usage(&mut tx).await? {
        if let Some(day) = Day::of(Timestamp::from_seconds(hour.saturating_mul(3_600)), settings.zone) {
            used.insert((account, day.number()));
        }
    }
    let wrong_digests = compaction::list_wrong_digests(&mut tx).await?;
    tx.commit().await?;
    let mut report = CheckReport { wrong_digests, ..CheckReport::default() };
    for (account, day) in used.difference(&charged).filter(|day| !waiting.contains(day)) {
        report.mismatches.push(Mismatch {
            account: AccountId::new(*account),
            day: Day::from_number(*day),
            usage_type: None,
            stored: (0, 0),
            priced: (0, 0),
            summed_up: false,
        });
    }
    // What a tier costs depends on the days before, also on those that wait.
    let waiting = Arc::new(waiting);
    let days: Vec<(i64, i64)> = charged.iter().filter(|day| !waiting.contains(day)).copied().collect();
    let mut batches = stream::iter(days.chunks(DAYS_PER_BATCH).map(<[(i64, i64)]>::to_vec).collect::<Vec<_>>())
        .map(|batch| {
            let (store, desk, skip_tiers) = (store.clone(), Arc::clone(&desk), !waiting.is_empty());
            tokio::spawn(async move { check_batch(&store, &desk, skip_tiers, batch).await })
        })
        .buffered(WORKERS);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| Error::CutOff(error.to_string()))??;
        report.days += batch.days;
        report.records += batch.records;
        report.summed_up += batch.summed_up;
        report.mismatches.extend(batch.mismatches);
    }
    Ok(report)
}

async fn check_batch(
    store: &Store,
    desk: &Desk,
    skip_tiers: bool,
    batch: Vec<(i64, i64)>,
) -> Result<CheckReport, Error> {
    let mut tx = store.read().await?;
    let mut report = CheckReport::default();
    // As they are now: days may have been summed up since the check began.
    let marks = Marks::load(&mut tx).await?;
    for (account, day) in batch {
        let (account, day) = (AccountId::new(account), Day::from_number(day));
        let stored = rows::list_charge_days(&mut tx, account, day).await?;
        let Some(first) = stored.first() else { continue };
        if marks.cover(account, desk.period(day)?.start()) {
            report.summed_up += 1;
            report.mismatches.extend(check_sums(&mut tx, account, day, &stored).await?);
            continue;
        }
        let book_id = PriceBookId::new(first.book_id);
        let book = desk.book(&mut tx, book_id).await?;
        if book.has_tiers() && skip_tiers {
            continue;
        }
        let used = desk.used_before(&mut tx, &book, account, day).await?;
        let priced = desk.price_day(&mut tx, (book_id, &book), (account, day), &stored, (used, Under::Kept)).await?;
        report.days += 1;
        report.records += priced.records;
        for new in &priced.sums {
            let old = stored.iter().find(|old| old.usage_type == new.usage_type);
            let figures = |row: Option<&ChargeDay>| row.map_or((0, 0), |row| (row.net_nanos, row.records));
            if figures(old) != figures(Some(new)) {
                report.mismatches.push(Mismatch {
                    account,
                    day,
                    usage_type: Some(new.usage_type),
                    stored: figures(old),
                    priced: figures(Some(new)),
                    summed_up: false,
                });
            }
        }
    }
    tx.commit().await?;
    Ok(report)
}

/// Compares the charges of a day whose records are gone with the sums in their place.
async fn check_sums(
    tx: &mut Tx,
    account: AccountId,
    day: Day,
    stored: &[ChargeDay],
) -> Result<Vec<Mismatch>, StoreError> {
    let summed: BTreeMap<i64, i64> = compaction::list_sum_records(tx, account, day).await?.into_iter().collect();
    let types: BTreeSet<i64> = stored.iter().map(|row| row.usage_type).chain(summed.keys().copied()).collect();
    let mut mismatches = Vec::new();
    for usage_type in types {
        let charged = stored.iter().find(|row| row.usage_type == usage_type);
        let figures = charged.map_or((0, 0), |row| (row.net_nanos, row.records));
        let records = summed.get(&usage_type).copied().unwrap_or_default();
        if figures.1 != records {
            let priced = (figures.0, records);
            mismatches.push(Mismatch {
                account,
                day,
                usage_type: Some(usage_type),
                stored: figures,
                priced,
                summed_up: true,
            });
        }
    }
    Ok(mismatches)
}
