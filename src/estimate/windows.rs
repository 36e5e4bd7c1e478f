//! Prices what is live since the last usage record, and compares what was estimated with the records when they come.

use std::collections::{BTreeMap, HashMap};

use chrono_tz::Tz;

use super::{
    live::{Span, kinds},
    price::{self, Tally, Terms, TooLarge},
};
use crate::{
    ids::{AccountId, PayerId, RunId},
    rating::{
        PriceBook, Rated, TaxRate, TierUse,
        desk::{Desk, Pricing, RateSettings, Under, customer_of, list_customers},
    },
    scope::Scope,
    store::{
        Store, StoreError, Tx,
        cloud::{self, Payer},
        live::{self as rows, EstimateWindow, ListState},
        rating, runs,
    },
    time::{Day, Timestamp},
};

/// Longer spans are not compared: after an outage of days an old inventory says nothing about how good estimates are.
const LONGEST_WINDOW: std::time::Duration = std::time::Duration::from_hours(48);

/// Why there is no estimate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sums do not fit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// By what is estimated.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'b> {
    /// The price book.
    pub book: &'b PriceBook,
    /// The billing zone.
    pub zone: Tz,
    /// The first billing day, where a payer has none of its own.
    pub start: Day,
    /// Which domains are billed.
    pub scope: &'b Scope,
}

/// What is live, priced.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// Everything before is fetched: the estimate begins here.
    pub from: Timestamp,
    /// The instant it is made for.
    pub until: Timestamp,
    /// What it comes to, by account and usage type.
    pub tally: Tally,
    /// How the lists were read.
    pub lists: Vec<ListState>,
}

/// By what each account is charged; accounts that are not are left out.
pub async fn terms(tx: &mut Tx, basis: &Basis<'_>) -> Result<BTreeMap<AccountId, Terms>, StoreError> {
    let payers: HashMap<PayerId, Payer> =
        cloud::list_payers(tx).await?.into_iter().map(|payer| (payer.id, payer)).collect();
    let mut customers = list_customers(tx).await?;
    let mut terms = BTreeMap::new();
    for account in cloud::list_accounts(tx).await? {
        if !basis.scope.includes(&account.domain_path, &account.domain_id) {
            continue;
        }
        let own = payers.get(&account.payer_id).and_then(|payer| payer.billing_start_day).map(Day::from_number);
        let Some(charged_from) = own.unwrap_or(basis.start).start(basis.zone) else { continue };
        let Some(customer) = customers.remove(&account.id) else { continue };
        terms.insert(account.id, Terms { charged_from, customer });
    }
    Ok(terms)
}

/// What is live now and what it came to since the end of fetched usage. A clock that stands before that end
/// estimates nothing for the time since; what a day costs is told all the same.
pub async fn estimate(
    tx: &mut Tx,
    basis: &Basis<'_>,
    account: Option<AccountId>,
    fetched_until: Timestamp,
    now: Timestamp,
) -> Result<Estimate, Error> {
    let terms = terms(tx, basis).await?;
    let spans: Vec<Span> = rows::list_spans(tx, account, false).await?.into_iter().map(|(_, span)| span).collect();
    let tally = price::tally(basis.book, basis.zone, &spans, fetched_until, now, &terms)?;
    Ok(Estimate { from: fetched_until, until: now, tally, lists: rows::list_lists(tx).await? })
}

/// As [`estimate`], of one account: nobody else is read.
pub async fn estimate_one(
    tx: &mut Tx,
    basis: &Basis<'_>,
    account: &cloud::Account,
    fetched_until: Timestamp,
    now: Timestamp,
) -> Result<Estimate, Error> {
    let payer = cloud::get_payer(tx, account.payer_id).await?;
    let first = payer.billing_start_day.map_or(basis.start, Day::from_number);
    let mut terms = BTreeMap::new();
    if basis.scope.includes(&account.domain_path, &account.domain_id)
        && let Some(charged_from) = first.start(basis.zone)
    {
        terms.insert(account.id, Terms { charged_from, customer: customer_of(tx, account).await? });
    }
    let spans: Vec<Span> =
        rows::list_spans(tx, Some(account.id), false).await?.into_iter().map(|(_, span)| span).collect();
    let tally = price::tally(basis.book, basis.zone, &spans, fetched_until, now, &terms)?;
    Ok(Estimate { from: fetched_until, until: now, tally, lists: rows::list_lists(tx).await? })
}

/// Usage of `[from, until)` has come: compares its price with what the lists read before said, account by account, and
/// keeps both. Gives how many accounts were compared; None where there was nothing to compare with.
pub async fn compare(
    store: &Store,
    basis: &Basis<'_>,
    (from, until): (Timestamp, Timestamp),
    run: RunId,
    now: Timestamp,
) -> Result<Option<u64>, Error> {
    let mut tx = store.begin().await?;
    let lists = rows::list_lists(&mut tx).await?;
    // Lists that were all read since the span began: an older inventory was none of this span.
    let read: Vec<&str> = lists
        .iter()
        .filter(|list| list.complete_ms.is_some_and(|read| read >= from))
        .map(|list| list.list.as_str())
        .collect();
    if until <= from || until.since(from) > LONGEST_WINDOW || read.is_empty() {
        return Ok(None);
    }
    let types: Vec<i32> = kinds::ALL.into_iter().filter(|kind| read.contains(&list_of(*kind))).collect();
    let terms = terms(&mut tx, basis).await?;
    let spans: Vec<Span> = rows::list_spans(&mut tx, None, false)
        .await?
        .into_iter()
        .map(|(_, span)| span)
        .filter(|span| types.contains(&span.thing.usage_type))
        .collect();
    let tally = price::tally(basis.book, basis.zone, &spans, from, until, &terms)?;
    let settings =
        RateSettings { zone: basis.zone, start: basis.start, scope: basis.scope.clone(), tax: TaxRate::ZERO };
    let desk = Desk::open(&mut tx, settings).await?;
    let mut sums: BTreeMap<AccountId, (i64, i64)> = BTreeMap::new();
    for (account, lines) in &tally {
        sums.entry(*account).or_default().0 = price::sum(lines)?.net_nanos;
    }
    for account in rows::list_accounts_with_records(&mut tx, from, until).await? {
        let Some(own) = terms.get(&account) else { continue };
        let (kept, _) = desk.terms(&mut tx, account, &[], Under::Kept).await?;
        // From the first step of graduated prices on, as the estimate does.
        let mut pricing = Pricing::new(&desk, basis.book, &kept, TierUse::new());
        let sum = &mut sums.entry(account).or_default().1;
        for record in rating::list_ratable(&mut tx, account, from.max(own.charged_from), until, 0).await? {
            if !types.iter().any(|kind| i64::from(*kind) == record.usage_type) {
                continue;
            }
            if let Ok(Rated::Charged(charge)) = pricing.price_whole(&mut tx, &record).await? {
                let nanos = charge.total_nanos().ok_or(TooLarge)?;
                *sum = sum.checked_add(nanos).ok_or(TooLarge)?;
            }
        }
    }
    let mut compared = 0;
    for (account_id, (net_nanos, rated_nanos)) in sums {
        if net_nanos == 0 && rated_nanos == 0 {
            continue;
        }
        let window =
            EstimateWindow { account_id, from_ms: from, until_ms: until, net_nanos, rated_nanos, made_ms: now };
        rows::put_window(&mut tx, &window).await?;
        compared += 1;
    }
    rows::forget_old_windows(&mut tx).await?;
    runs::commit_for(tx, run).await?;
    Ok(Some(compared))
}

/// The list that a usage type comes from.
pub const fn list_of(usage_type: i32) -> &'static str {
    match usage_type {
        kinds::RUNNING_VM | kinds::ALLOCATED_VM => "machines",
        kinds::VOLUME => "volumes",
        _ => "addresses",
    }
}
