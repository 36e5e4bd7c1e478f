//! The stage: days whose records changed are rated again, and what each day costs is stored.
//!
//! Each batch is one transaction: cut off anywhere, the days that were not finished are still on the list. A day that
//! was posted before is rated with the book it was posted with: changing the past takes an explicit order.

use std::collections::{BTreeMap, HashMap};

use chrono_tz::Tz;

use super::{Customer, Features, PriceBook, Rated, Rater, TierUse, Usage};
use crate::{
    ids::{AccountId, PriceBookId},
    progress::Progress,
    scope::Scope,
    store::{
        Store, StoreError, Tx,
        bulk::NewRated,
        cloud,
        rating::{self as rows, ChargeDay, DayToRate},
        runs, usage,
    },
    time::{Day, Period, Timestamp},
    usage::{sync::settings as usage_settings, types::UsageType},
};

/// Days rated in one transaction.
const DAYS_PER_TRANSACTION: usize = 40;
/// Days taken from the list at once.
const DAYS_PER_READ: i64 = 2_000;
/// A record longer than this is not looked for where nothing says how long records get: a day.
const DEFAULT_REACH_MS: i64 = 86_400_000;

/// How the stage goes about it.
#[derive(Debug, Clone)]
pub struct RateSettings {
    /// Zone of billing days.
    pub zone: Tz,
    /// First billing day, where a payer has none of its own.
    pub start: Day,
    /// Which domains are billed.
    pub scope: Scope,
    /// Rate posted days with the newest book too, instead of the one that they were posted with.
    pub with_newest_book: bool,
}

/// Why days could not be rated. Batches committed before stay.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A book in the store can not be read any more.
    #[error("price book {0} in the store can not be read by this version: {1}")]
    OldBook(PriceBookId, String),
}

/// What rating did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct RateReport {
    /// Account days rated.
    pub days: u64,
    /// Lines written.
    pub lines: u64,
    /// Lines without a price.
    pub unpriced: u64,
    /// Lines that could not be priced, such as a size that is missing.
    pub failed: u64,
}

/// Rates every day on the list.
pub async fn rate_days(
    store: &Store,
    newest: (PriceBookId, &PriceBook),
    settings: &RateSettings,
    progress: &dyn Progress,
) -> Result<RateReport, Error> {
    let mut report = RateReport::default();
    let mut old_books: HashMap<PriceBookId, PriceBook> = HashMap::new();
    loop {
        let mut tx = store.read().await?;
        let days = rows::list_days_to_rate(&mut tx, DAYS_PER_READ).await?;
        let total = report.days + u64::try_from(rows::count_days_to_rate(&mut tx).await?).unwrap_or(0);
        let reach_ms = runs::find_setting(&mut tx, LONGEST_RECORD_MS)
            .await?
            .and_then(|text| text.parse().ok())
            .unwrap_or(DEFAULT_REACH_MS);
        tx.commit().await?;
        if days.is_empty() {
            return Ok(report);
        }
        for batch in days.chunks(DAYS_PER_TRANSACTION) {
            let mut tx = store.begin().await?;
            for day in batch {
                let account = AccountId::new(day.account_id);
                let posted_with = if settings.with_newest_book {
                    None
                } else {
                    rows::find_book_of_day(&mut tx, account, Day::from_number(day.day)).await?
                };
                let (book_id, book) = match posted_with {
                    Some(id) if id != newest.0 => {
                        if let std::collections::hash_map::Entry::Vacant(slot) = old_books.entry(id) {
                            let text = rows::get_book(&mut tx, id).await?;
                            let book = PriceBook::parse(&text, settings.zone)
                                .map_err(|problems| Error::OldBook(id, problems_text(&problems)))?;
                            slot.insert(book);
                        }
                        (id, old_books.get(&id).unwrap_or(newest.1))
                    }
                    _ => newest,
                };
                let customer = Customer::default();
                let mut rater = Rater::new(book, settings.zone, &customer);
                rate_day(&mut tx, *day, book_id, &mut rater, settings, reach_ms, &mut report).await?;
                rows::clear_day_to_rate(&mut tx, *day).await?;
            }
            tx.commit().await?;
            progress.step("account days rated", report.days, Some(total));
        }
    }
}

/// The setting with the length of the longest record stored, ms.
pub const LONGEST_RECORD_MS: &str = usage_settings::LONGEST_RECORD_MS;

fn problems_text(problems: &[super::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

async fn rate_day(
    tx: &mut Tx,
    wanted: DayToRate,
    book_id: PriceBookId,
    rater: &mut Rater<'_>,
    settings: &RateSettings,
    reach_ms: i64,
    report: &mut RateReport,
) -> Result<(), StoreError> {
    let account_id = AccountId::new(wanted.account_id);
    let day = Day::from_number(wanted.day);
    let Some(period) = day.period(settings.zone) else {
        return Err(StoreError::Nonsense(format!("day {} is in no calendar", wanted.day)));
    };
    let account = cloud::get_account(tx, account_id).await?;
    let payer = cloud::get_payer(tx, account.payer_id).await?;
    let start = payer.billing_start_day.map_or(settings.start, Day::from_number);
    let charged = if day < start {
        Some("before-start")
    } else if !settings.scope.includes(&account.domain_path, &account.domain_id) {
        Some("out-of-scope")
    } else {
        None
    };
    let records = usage::list_current(tx, account_id, period.start(), period.end(), reach_ms).await?;
    let mut lines: Vec<NewRated> = Vec::with_capacity(records.len());
    let mut sums: BTreeMap<i64, ChargeDay> = BTreeMap::new();
    // Types that were charged before and have no record left are charged zero now.
    for old in rows::list_charge_days(tx, account_id, day).await? {
        sums.insert(old.usage_type, ChargeDay { records: 0, unpriced: 0, net_nanos: 0, book_id: book_id.get(), ..old });
    }
    for record in records {
        let Ok(key) = <[u8; 16]>::try_from(record.key.as_slice()) else {
            return Err(StoreError::Nonsense("a record's key is not sixteen bytes".to_owned()));
        };
        let before = lines.len();
        match charged {
            Some(outcome) => lines.push(line(key, 0, record.usage_type, outcome)),
            None => rate_record(&record, key, day, rater, &mut lines),
        }
        let sum = sums.entry(record.usage_type).or_insert(ChargeDay {
            account_id: wanted.account_id,
            day: wanted.day,
            usage_type: record.usage_type,
            book_id: book_id.get(),
            records: 0,
            unpriced: 0,
            net_nanos: 0,
            posted_net_micros: 0,
            posted_tax_micros: 0,
            postings: 0,
        });
        for line in lines.get(before..).unwrap_or_default() {
            sum.records += 1;
            sum.unpriced += i64::from(line.outcome == "unpriced");
            report.unpriced += u64::from(line.outcome == "unpriced");
            report.failed += u64::from(line.outcome == "failed");
            sum.net_nanos = sum.net_nanos.checked_add(line.amount_nanos).ok_or_else(|| {
                StoreError::Nonsense(format!("the charges of account {account_id} on {day} are beyond all measure"))
            })?;
        }
    }
    rows::replace_rated(tx, account_id, day, &lines).await?;
    for sum in sums.values() {
        rows::put_charge_day(tx, sum).await?;
    }
    report.days += 1;
    report.lines += lines.len() as u64;
    Ok(())
}

fn line(key: [u8; 16], part: i64, usage_type: i64, outcome: &'static str) -> NewRated {
    NewRated { key, part, usage_type, outcome, tariff: None, amount_nanos: 0, note: None }
}

/// The part of a record that falls on a day, as lines.
fn rate_record(record: &usage::RecordRow, key: [u8; 16], day: Day, rater: &mut Rater<'_>, lines: &mut Vec<NewRated>) {
    let number = |lines: &[NewRated]| i64::try_from(lines.iter().filter(|line| line.key == key).count()).unwrap_or(0);
    let Some(usage) = to_usage(record) else {
        let note = Some("the stored record makes no sense".to_owned());
        lines.push(NewRated { note, ..line(key, 0, record.usage_type, "failed") });
        return;
    };
    let prices = rater.find_prices(usage.usage_type, &to_features(record));
    match rater.rate(&usage, &prices, &mut TierUse::new()) {
        Ok(Rated::Charged(charge)) => {
            for part in charge.parts().iter().filter(|part| part.day == day) {
                lines.push(NewRated {
                    tariff: Some(i64::from(part.tariff.index)),
                    amount_nanos: part.amount_nanos,
                    ..line(key, number(lines), record.usage_type, "charged")
                });
            }
            for _ in charge.unpriced().iter().filter(|piece| piece.day == day) {
                lines.push(line(key, number(lines), record.usage_type, "unpriced"));
            }
            if number(lines) == 0 {
                lines.push(line(key, 0, record.usage_type, "free"));
            }
        }
        Ok(Rated::Free) => lines.push(line(key, 0, record.usage_type, "free")),
        Ok(Rated::Unpriced) => lines.push(line(key, 0, record.usage_type, "unpriced")),
        Err(error) => {
            lines.push(NewRated { note: Some(error.to_string()), ..line(key, 0, record.usage_type, "failed") });
        }
    }
}

/// A stored record as the rater takes it.
pub fn to_usage(record: &usage::RecordRow) -> Option<Usage> {
    let usage_type = i32::try_from(record.usage_type).ok()?;
    UsageType::from_id(usage_type)?;
    Some(Usage {
        usage_type,
        quantity: record.quantity,
        period: Period::new(Timestamp::from_ms(record.start_ms), Timestamp::from_ms(record.end_ms))?,
        size_bytes: record.size_bytes,
    })
}

/// What a stored record tells of the thing that was used.
pub fn to_features(record: &usage::RecordRow) -> Features<'_> {
    Features { offering: record.offering_cloud_id.as_deref(), ..Features::default() }
}
