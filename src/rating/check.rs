//! Prices every day again and compares: that each charge is that of its records, and that each record has its charge.
//!
//! Reads only. Days that wait to be rated are left out: what they cost is not worked out yet.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};

use super::desk::{Desk, Error, RateSettings, Under};
use crate::{
    ids::{AccountId, PriceBookId},
    store::{
        Store,
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
    /// Net in billionths and records as priced again.
    pub priced: (i64, i64),
}

/// What was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct CheckReport {
    /// Account days priced again.
    pub days: u64,
    /// Records on them.
    pub records: u64,
    /// What differs.
    pub mismatches: Vec<Mismatch>,
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
    tx.commit().await?;
    let mut report = CheckReport::default();
    for (account, day) in used.difference(&charged).filter(|day| !waiting.contains(day)) {
        report.mismatches.push(Mismatch {
            account: AccountId::new(*account),
            day: Day::from_number(*day),
            usage_type: None,
            stored: (0, 0),
            priced: (0, 0),
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
    for (account, day) in batch {
        let (account, day) = (AccountId::new(account), Day::from_number(day));
        let stored = rows::list_charge_days(&mut tx, account, day).await?;
        let Some(first) = stored.first() else { continue };
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
                });
            }
        }
    }
    tx.commit().await?;
    Ok(report)
}
