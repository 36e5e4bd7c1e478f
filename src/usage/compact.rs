//! Compaction: billing days whose records have been kept long enough become daily sums, and the records go.
//!
//! Promises: each day of all accounts is one transaction, so that it may be cut off anywhere and run again; of an account the
//! oldest day goes first; nothing goes that waits for a person, is not rated or not posted, or that its charge does not count.
//! What a day costs stays as it was posted: days that are summed up are not priced again (`rating::desk` refuses). What starts
//! before the mark of its account waits for a person (design 7.5). Must not: price anything, or touch a charge.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;

use crate::{
    ids::{AccountId, RunId},
    store::{
        Store, StoreError, Tx,
        bulk::{self, NewSum},
        compaction::{self as rows, Next, OldRecord},
        rating, runs,
    },
    time::{Day, Period, Timestamp},
};

/// Days summed up in one run: a run stays short, and a year is done in some days.
const DAYS_PER_RUN: usize = 10;
/// Days held back that a report names; of more it gives the number.
const MAX_NAMED: usize = 20;

/// How records are kept.
#[derive(Debug, Clone, Copy)]
pub struct CompactSettings {
    /// Zone of billing days.
    pub zone: Tz,
    /// For how many days records are kept.
    pub keep_days: u32,
}

/// A day that is old enough and is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Held {
    /// The account.
    pub account: AccountId,
    /// The billing day; later ones of the account wait for it.
    pub day: Day,
    /// Why, in words.
    pub reason: &'static str,
}

/// What compaction did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct CompactReport {
    /// Account days summed up.
    pub days: u64,
    /// Charged records that are gone.
    pub records: u64,
    /// Daily sums in their place.
    pub sums: u64,
    /// Accounts whose oldest day is left as it is.
    pub held_accounts: u64,
    /// The first of them.
    pub held: Vec<Held>,
}

/// Sums up days that are old enough, oldest first; some days a run.
pub async fn compact_days(
    store: &Store,
    settings: CompactSettings,
    (run, now): (RunId, Timestamp),
) -> Result<CompactReport, StoreError> {
    let mut report = CompactReport::default();
    let Some(today) = Day::of(now, settings.zone) else { return Ok(report) };
    let boundary = Day::from_number(today.number() - i64::from(settings.keep_days));
    let until = period_of(boundary, settings.zone)?.start();
    let mut tx = store.read().await?;
    let mut queue: BTreeSet<(Day, AccountId)> = BTreeSet::new();
    for next in rows::list_next(&mut tx, None, until).await? {
        queue.extend(day_of(next, settings.zone).map(|day| (day, next.account)));
    }
    tx.commit().await?;
    let mut done = 0;
    while done < DAYS_PER_RUN {
        let Some((day, _)) = queue.first().copied().filter(|(day, _)| *day < boundary) else { break };
        let before = report.days;
        let mut tx = store.begin().await?;
        while let Some((_, account)) = queue.first().copied().filter(|(next, _)| *next == day) {
            queue.pop_first();
            match sum_up(&mut tx, account, day, settings.zone, now).await? {
                Outcome::Done { records, sums } => {
                    report.days += 1;
                    report.records += records;
                    report.sums += sums;
                    for next in rows::list_next(&mut tx, Some(account), until).await? {
                        queue.extend(day_of(next, settings.zone).filter(|next| *next > day).map(|day| (day, account)));
                    }
                }
                Outcome::Held(reason) => {
                    report.held_accounts += 1;
                    if report.held.len() < MAX_NAMED {
                        report.held.push(Held { account, day, reason });
                    }
                }
                Outcome::Nothing => {}
            }
        }
        runs::commit_for(tx, run).await?;
        done += usize::from(report.days > before);
    }
    if let Some(first) = report.held.first() {
        tracing::warn!(
            accounts = report.held_accounts,
            account = first.account.get(),
            day = %first.day,
            reason = first.reason,
            "usage records older than [billing] keep_records_days are kept, because something of their day is open"
        );
    }
    Ok(report)
}

/// What became of a day of an account.
enum Outcome {
    Done { records: u64, sums: u64 },
    Held(&'static str),
    Nothing,
}

/// The first billing day of what is not summed up.
fn day_of(next: Next, zone: Tz) -> Option<Day> {
    Day::of(next.mark.map_or(next.start, |mark| mark.max(next.start)), zone)
}

fn period_of(day: Day, zone: Tz) -> Result<Period, StoreError> {
    day.period(zone).ok_or_else(|| StoreError::Nonsense(format!("day {} is in no calendar", day.number())))
}

/// Sums up a day of an account, if nothing of it is open.
async fn sum_up(tx: &mut Tx, account: AccountId, day: Day, zone: Tz, now: Timestamp) -> Result<Outcome, StoreError> {
    let whole = period_of(day, zone)?;
    // Looked up again: somebody else may have been here.
    let Some(next) = rows::list_next(tx, Some(account), whole.end()).await?.into_iter().next() else {
        return Ok(Outcome::Nothing);
    };
    // The day is cut where another zone had it closed already.
    let mark = next.mark.unwrap_or(Timestamp::from_ms(0));
    let Some(period) = Period::new(whole.start().max(mark), whole.end()) else { return Ok(Outcome::Nothing) };
    if let Some(reason) = rows::find_obstacle(tx, account, day, period).await? {
        return Ok(Outcome::Held(reason));
    }
    let records = rows::list_charged(tx, account, period, mark).await?;
    if !are_charged(tx, account, day, &records).await? {
        return Ok(Outcome::Held("its charges are of another number of records; `bursar verify` says more"));
    }
    let sums = sums_of(account, day, period, &records)?;
    bulk::insert_sums(tx, &sums).await?;
    close(tx, account, (day.next(), period.end()), &records).await?;
    let gone = rows::delete_ended(tx, account, period.end(), mark, now).await?;
    let ended = records.iter().filter(|record| record.end_ms <= period.end().as_ms()).count() as u64;
    // Where somebody decided about a record meanwhile, its day was marked: all of it is taken back, and tried again later.
    if gone != ended || rows::find_obstacle(tx, account, day, period).await?.is_some() {
        return Err(StoreError::Nonsense(format!(
            "the usage of account {account} on {day} changed while it was summed up; nothing of the day was changed"
        )));
    }
    Ok(Outcome::Done { records: gone, sums: sums.len() as u64 })
}

/// Whether the charges of the day count just these records: otherwise their loss would hide a fault.
async fn are_charged(tx: &mut Tx, account: AccountId, day: Day, records: &[OldRecord]) -> Result<bool, StoreError> {
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for record in records {
        *counts.entry(record.usage_type).or_default() += 1;
    }
    let charges = rating::list_charge_days(tx, account, day).await?;
    let charged = charges.iter().filter(|row| row.records != 0).map(|row| (row.usage_type, row.records)).collect();
    Ok(counts == charged)
}

/// What belongs into one sum.
type Group = (i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

fn sums_of(account: AccountId, day: Day, period: Period, records: &[OldRecord]) -> Result<Vec<NewSum>, StoreError> {
    let mut groups: BTreeMap<Group, (i64, i64, i64)> = BTreeMap::new();
    for record in records {
        let group = (
            record.usage_type,
            record.resource_id,
            record.offering_id,
            record.attributes_id,
            record.size_bytes,
            record.project_id,
        );
        let (count, ended, quantity) = groups.entry(group).or_default();
        *count += 1;
        *ended += i64::from(record.end_ms <= period.end().as_ms());
        *quantity =
            quantity.checked_add(share_in(record.quantity, (record.start_ms, record.end_ms), period)).ok_or_else(
                || StoreError::Nonsense(format!("the usage of account {account} on {day} is beyond all measure")),
            )?;
    }
    Ok(groups
        .into_iter()
        .zip(0_i64..)
        .map(|((group, (records, ended, quantity)), line)| {
            let (usage_type, resource_id, offering_id, attributes_id, size_bytes, project_id) = group;
            NewSum {
                account_id: account.get(),
                day: day.number(),
                line,
                project_id,
                usage_type,
                resource_id,
                offering_id,
                attributes_id,
                size_bytes,
                records,
                ended,
                quantity,
            }
        })
        .collect())
}

/// The share of a record's quantity that falls into a period, by time. The shares of periods that join sum up to the whole.
pub fn share_in(quantity: i64, (start_ms, end_ms): (i64, i64), period: Period) -> i64 {
    let until = |at: Timestamp| share_before(quantity, (start_ms, end_ms), at);
    until(period.end()) - until(period.start())
}

/// The share of a record's quantity that falls before an instant.
pub fn share_before(quantity: i64, (start_ms, end_ms): (i64, i64), at: Timestamp) -> i64 {
    let length = i128::from(end_ms - start_ms).max(1);
    let passed = i128::from(at.as_ms().clamp(start_ms, end_ms.max(start_ms)) - start_ms);
    i64::try_from(i128::from(quantity) * passed / length).unwrap_or(quantity)
}

/// Moves the mark, and carries the hash on over the records that end with the day.
async fn close(
    tx: &mut Tx,
    account: AccountId,
    (day, at): (Day, Timestamp),
    records: &[OldRecord],
) -> Result<(), StoreError> {
    let known = rows::list_digests(tx, account).await?;
    rows::move_mark(tx, account, day, at).await?;
    let mut chains: BTreeMap<i64, (i64, blake3::Hasher)> = BTreeMap::new();
    for record in records {
        let (count, hasher) = chains.entry(record.usage_type).or_insert_with(|| {
            let mut hasher = blake3::Hasher::new();
            let (records, digest) = known.get(&record.usage_type).map_or((0, &[][..]), |known| (known.0, &known.1[..]));
            hasher.update(digest);
            (records, hasher)
        });
        if record.end_ms <= at.as_ms() {
            *count += 1;
            hasher.update(&record.key);
        }
    }
    for (usage_type, (count, hasher)) in chains {
        rows::put_digest(tx, account, usage_type, (day, at), (count, hasher.finalize().as_bytes())).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(from: i64, until: i64) -> Period {
        Period::new(Timestamp::from_seconds(from * 3_600), Timestamp::from_seconds(until * 3_600)).unwrap()
    }

    #[test]
    fn the_days_of_a_record_sum_up_to_it_whatever_its_quantity() {
        for quantity in [0, 1, 7, 1_000_001, i64::MAX] {
            let window = (20 * 3_600_000, 53 * 3_600_000 + 1);
            let days = [hours(0, 24), hours(24, 48), hours(48, 72)];
            let shares: Vec<i64> = days.iter().map(|day| share_in(quantity, window, *day)).collect();
            assert_eq!(shares.iter().sum::<i64>(), quantity, "{shares:?}");
            assert!(shares.iter().all(|share| *share >= 0));
        }
        assert_eq!(share_in(1_000_000, (23 * 3_600_000, 25 * 3_600_000), hours(0, 24)), 500_000);
        assert_eq!(share_in(1_000_000, (23 * 3_600_000, 24 * 3_600_000), hours(24, 48)), 0);
    }

    #[test]
    fn what_differs_in_what_a_price_depends_on_is_summed_apart() {
        let record = |resource_id, offering_id, quantity| OldRecord {
            key: vec![0; 16],
            project_id: None,
            usage_type: 1,
            resource_id,
            offering_id,
            attributes_id: None,
            size_bytes: None,
            start_ms: 0,
            end_ms: 3_600_000,
            quantity,
        };
        let records = [record(1, Some(5), 10), record(1, Some(6), 20), record(2, Some(5), 30), record(1, Some(5), 40)];
        let sums = sums_of(AccountId::new(3), Day::from_number(0), hours(0, 24), &records).unwrap();
        let figures: Vec<_> = sums.iter().map(|sum| (sum.line, sum.records, sum.ended, sum.quantity)).collect();
        assert_eq!(figures, [(0, 2, 2, 50), (1, 1, 1, 20), (2, 1, 1, 30)]);
    }
}
