//! Changes of past prices: what another book would change for whom, as a proposal that a person approves or not.
//!
//! A new book prices days that are not closed yet. Days that are closed keep the book they were closed with, until somebody
//! approves: then exactly the days and accounts of the proposal are rated with the new book, reversed and posted anew.
//! Looking changes nothing but the list of what waits for a person.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};

use super::{
    PriceBook, TierUse,
    desk::{Desk, Error, PricedDay, RateSettings, Terms, Under, month_of},
    tiers::TierKey,
};
use crate::{
    ids::{AccountId, PayerId, PriceBookId, RunId},
    progress::Progress,
    store::{
        Store, StoreError, Tx,
        corrections::{self as rows, NewItem, PRICE_CHANGE, ReviewCharge},
        rating::{self, ChargeDay},
        runs::{self, AuditLine},
        usage,
    },
    time::{Day, Month, Timestamp},
};

/// Days priced by one worker at a time.
const DAYS_PER_BATCH: usize = 100;
/// Batches priced side by side.
const WORKERS: usize = 2;

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Proposal {
    /// The item under which it waits.
    pub item: i64,
    /// Charges that would change.
    pub charges: u64,
    /// Accounts that they belong to.
    pub accounts: u64,
    /// Account days that were left out: their usage records are summed up, and they keep what they cost.
    pub summed_up: u64,
    /// What all of them together would cost more (less: below zero), net, in billionths.
    pub difference_nanos: i128,
}

/// A charge that would differ, and the terms under which.
type Differing = (ReviewCharge, Arc<Terms>);

/// The days that are looked at: closed ones in `[from, until)`.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// First day.
    pub from: Day,
    /// First day that is not.
    pub until: Day,
    /// Kept: only the prices differ. Revised: the first billing day, the scope and the tax rate of now too.
    pub under: Under,
}

/// Prices the closed days of a span with a book and, where anything differs, opens a proposal. An older open proposal is
/// closed: the newest book speaks for itself.
pub async fn propose(
    store: &Store,
    (book_id, book): (PriceBookId, &Arc<PriceBook>),
    settings: &RateSettings,
    span: Span,
    (run, now): (RunId, Timestamp),
    progress: &dyn Progress,
) -> Result<Option<Proposal>, Error> {
    let mut tx = store.read().await?;
    let desk = Arc::new(Desk::open(&mut tx, settings.clone()).await?);
    // Tiers count from the first of the month, whichever day is asked for.
    let (_, month, _) = month_of(span.from)?;
    let first = if book.has_tiers() { month } else { span.from };
    let days = rows::list_closed_days(&mut tx, first, span.until).await?;
    let summed_up = count_summed_up(&desk, &days, span.from)?;
    tx.commit().await?;
    desk.keep_book(book_id, book);
    let mut charges: Vec<Differing> = Vec::new();
    let mut seen = 0_u64;
    let mut batches = if book.has_tiers() {
        let priced = price_in_order(store, &desk, (book_id, book), &days, span, &mut charges).await?;
        seen += priced;
        stream::iter(Vec::new()).boxed()
    } else {
        stream::iter(days.chunks(DAYS_PER_BATCH).map(<[(i64, i64)]>::to_vec).collect::<Vec<_>>())
            .map(|batch| {
                let (store, desk, book) = (store.clone(), Arc::clone(&desk), Arc::clone(book));
                tokio::spawn(async move { compare_batch(&store, &desk, (book_id, &book), span.under, batch).await })
            })
            .buffered(WORKERS)
            .boxed()
    };
    while let Some(batch) = batches.next().await {
        let (looked_at, differing) = batch.map_err(|error| Error::CutOff(error.to_string()))??;
        seen += looked_at;
        charges.extend(differing);
        progress.step("closed days compared", seen, u64::try_from(days.len()).ok());
    }
    drop(batches);
    let mut tx = store.begin().await?;
    close_older(&mut tx, now).await?;
    if summed_up > 0 {
        tracing::info!(
            days = summed_up,
            "closed days whose usage records are summed up were left out: they keep what they cost"
        );
    }
    if charges.is_empty() {
        runs::commit_for(tx, run).await?;
        return Ok(None);
    }
    let charges = number_terms(&mut tx, charges).await?;
    let key = format!("price-change/{book_id}/{run}");
    let first = charges.iter().map(|charge| charge.day).min().map_or(span.from, Day::from_number);
    let mut reason = format!("closed days from {first} on would cost something else by price book {book_id}");
    if summed_up > 0 {
        reason.push_str(&format!(
            "; {summed_up} older account days are left out, because their usage records are summed up"
        ));
    }
    let item = NewItem { key: &key, kind: PRICE_CHANGE, reason: &reason, run };
    let opened = rows::open_item(&mut tx, &item, &charges, now).await?;
    runs::commit_for(tx, run).await?;
    let accounts: std::collections::HashSet<i64> = charges.iter().map(|charge| charge.account_id).collect();
    Ok(opened.map(|item| Proposal {
        item,
        charges: charges.len() as u64,
        accounts: accounts.len() as u64,
        summed_up,
        difference_nanos: charges
            .iter()
            .map(|charge| i128::from(charge.new_net_nanos) - i128::from(charge.old_net_nanos))
            .sum(),
    }))
}

/// How many of the days from `from` on have no records any more, and can not be priced again.
fn count_summed_up(desk: &Desk, days: &[(i64, i64)], from: Day) -> Result<u64, StoreError> {
    let mut count = 0;
    for (account, day) in days {
        let day = Day::from_number(*day);
        count += u64::from(day >= from && desk.is_summed_up(AccountId::new(*account), day)?);
    }
    Ok(count)
}

/// Numbers the terms that the charges would be kept with.
async fn number_terms(tx: &mut Tx, charges: Vec<Differing>) -> Result<Vec<ReviewCharge>, StoreError> {
    let mut numbers: HashMap<usize, i64> = HashMap::new();
    let mut numbered = Vec::with_capacity(charges.len());
    for (charge, terms) in &charges {
        let key = Arc::as_ptr(terms).addr();
        let number = if let Some(known) = numbers.get(&key) {
            *known
        } else {
            let number = rating::put_terms(tx, &terms.to_json()?).await?;
            numbers.insert(key, number);
            number
        };
        numbered.push(ReviewCharge { new_terms_id: Some(number), ..charge.clone() });
    }
    Ok(numbered)
}

async fn compare_batch(
    store: &Store,
    desk: &Desk,
    book: (PriceBookId, &PriceBook),
    under: Under,
    batch: Vec<(i64, i64)>,
) -> Result<(u64, Vec<Differing>), Error> {
    let mut tx = store.read().await?;
    let mut differing = Vec::new();
    for (account, day) in &batch {
        let (account, day) = (AccountId::new(*account), Day::from_number(*day));
        if desk.is_summed_up(account, day)? {
            continue;
        }
        let stored = rating::list_charge_days(&mut tx, account, day).await?;
        let priced = desk.price_day(&mut tx, book, (account, day), &stored, (TierUse::default(), under)).await?;
        differing.extend(differences(&stored, &priced));
    }
    tx.commit().await?;
    Ok((batch.len() as u64, differing))
}

/// As above for a book with tiers: in order, each day with what the payer would have used before by this book.
async fn price_in_order(
    store: &Store,
    desk: &Desk,
    book: (PriceBookId, &Arc<PriceBook>),
    days: &[(i64, i64)],
    span: Span,
    charges: &mut Vec<Differing>,
) -> Result<u64, Error> {
    let mut used: HashMap<(PayerId, Month), BTreeMap<i64, i64>> = HashMap::new();
    let mut tx = store.read().await?;
    for (account, day) in days {
        let (account, day) = (AccountId::new(*account), Day::from_number(*day));
        let (month, _, _) = month_of(day)?;
        let payer = desk.payer(account)?;
        let so_far = used.entry((payer, month)).or_default();
        if desk.is_summed_up(account, day)? {
            // What it used of each step is known, as it was charged.
            for (key, nanos) in rating::list_tier_use(&mut tx, account, day).await? {
                let sum = so_far.entry(key).or_default();
                *sum = sum.saturating_add(nanos);
            }
            continue;
        }
        let mut before = TierUse::default();
        for (key, nanos) in so_far.iter() {
            if !before.add(month, TierKey::new(*key), *nanos) {
                return Err(StoreError::Nonsense(format!(
                    "the use of tier {key} of payer {payer} is beyond all measure"
                ))
                .into());
            }
        }
        let stored = rating::list_charge_days(&mut tx, account, day).await?;
        let priced = desk.price_day(&mut tx, (book.0, book.1), (account, day), &stored, (before, span.under)).await?;
        for (key, nanos) in &priced.tiers {
            let sum = so_far.entry(*key).or_default();
            *sum = sum.saturating_add(*nanos);
        }
        if day >= span.from {
            charges.extend(differences(&stored, &priced));
        }
    }
    tx.commit().await?;
    Ok(days.len() as u64)
}

/// The types of a closed day that would cost something else.
fn differences(stored: &[ChargeDay], priced: &PricedDay) -> Vec<Differing> {
    priced
        .sums
        .iter()
        .filter_map(|new| {
            let old = stored.iter().find(|old| old.usage_type == new.usage_type);
            let old_net = old.map_or(0, |old| old.net_nanos);
            let old_tax = old.and_then(|old| old.tax_percent.clone());
            let tax_differs = old_tax != new.tax_percent && (old_net != 0 || new.net_nanos != 0);
            let charge = (old_net != new.net_nanos || tax_differs).then(|| ReviewCharge {
                item_id: 0,
                account_id: new.account_id,
                day: new.day,
                usage_type: new.usage_type,
                old_net_nanos: old_net,
                new_net_nanos: new.net_nanos,
                old_tax_percent: old_tax,
                new_tax_percent: new.tax_percent.clone(),
                new_terms_id: None,
                state: "open".to_owned(),
            });
            charge.map(|charge| (charge, Arc::clone(&priced.terms)))
        })
        .collect()
}

async fn close_older(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    for item in rows::list_open_items(tx, PRICE_CHANGE).await? {
        for charge in rows::list_charges(tx, item).await? {
            rows::settle_charge(tx, &charge, "overtaken").await?;
        }
    }
    rows::settle_items(tx, PRICE_CHANGE, "cured", "bursar", "overtaken by a newer look", now).await?;
    Ok(())
}

/// Gives a person's verdict on a proposal, for one account or for all. Approved days are rated with the new book by the next
/// run, which reverses what was posted and posts it anew. Gives the number of charges concerned.
pub async fn settle(
    tx: &mut Tx,
    item: i64,
    approve: bool,
    account: Option<i64>,
    (author, words): (&str, &str),
    now: Timestamp,
) -> Result<u64, StoreError> {
    let book = rows::find_item_book(tx, item)
        .await?
        .ok_or_else(|| StoreError::Nonsense(format!("review item {item} names no price book")))?;
    let mut settled = 0;
    for charge in rows::list_charges(tx, item).await? {
        if charge.state != "open" || account.is_some_and(|account| account != charge.account_id) {
            continue;
        }
        if approve {
            let (account, day) = (AccountId::new(charge.account_id), Day::from_number(charge.day));
            rows::order_book(tx, account, day, book, charge.new_terms_id, item).await?;
            usage::mark_to_rate(tx, account, day).await?;
        }
        settled += u64::from(rows::settle_charge(tx, &charge, if approve { "released" } else { "rejected" }).await?);
    }
    let verdict = if approve { "release" } else { "reject" };
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: author.to_owned(),
        action: format!("price-change.{verdict}"),
        subject: format!("review item {item}"),
        after_state: Some(format!("{settled} charges")),
        answer: Some(words.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await?;
    rows::settle_items(tx, PRICE_CHANGE, verdict, author, words, now).await?;
    Ok(settled)
}
