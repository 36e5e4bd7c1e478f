//! `rate` and `re-rate`: what stored records cost.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chrono_tz::Tz;

use super::{
    figure::{Aim, Figure},
    ingest,
    memory::Watch,
    place::{BEGIN_SECONDS, Place, hour},
    rows::{self, DAY_HOURS, Shape},
};
use crate::{
    ids::{AccountId, PriceBookId},
    ledger::post::{self, PostSettings},
    progress::Quiet,
    rating::{PriceBook, desk::RateSettings, stage, tax::TaxRate},
    scope::Scope,
    store::{
        bulk::{self, NewRecord},
        cloud::{self, SeenAccount},
        rating as rating_rows, runs, usage,
    },
    time::{Clock as _, Day, Timestamp},
    usage::{record::RecordKey, sync::settings},
};

const PRICES: &str = "currency = \"EUR\"\n[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.08\"\n";
/// Accounts of the big month: a million records are some fourteen hundred records of each of 740 hours.
const MONTH_ACCOUNTS: u64 = 140;
/// Re-rating stored records shall reach this.
const AGAIN_PER_SECOND: u64 = 200_000;
/// Records made and inserted at once.
const INSERTED_AT_ONCE: usize = 20_000;

type Book = (PriceBookId, Arc<PriceBook>);

/// From ingested records to postings.
pub(super) async fn rate(place: &Place, records: u64) -> anyhow::Result<Vec<Figure>> {
    let shape = Shape::new(ingest::ACCOUNTS, records);
    let ingested = ingest::fill(place, shape).await?;
    let book = book(place).await?;
    let watch = Watch::begin();
    let rated = stage_pass(place, &book).await?;
    let rated_memory = watch.end();
    let watch = Watch::begin();
    let posted = post(place, shape).await?;
    let database = place.database();
    let figure = |name, elapsed, aim| Figure::new(name, database, (records, "records"), elapsed, aim);
    Ok(vec![
        figure("rate", rated, Aim::None).with_memory(rated_memory),
        figure("post", posted, Aim::None).with_memory(watch.end()),
        figure("ingest + rate + post", ingested + rated + posted, Aim::PerSecond(place.ingest_aim())),
    ])
}

/// A month that is rated and posted, marked as a whole and rated again.
pub(super) async fn rate_again(place: &Place, records: u64) -> anyhow::Result<Vec<Figure>> {
    let shape = Shape::new(MONTH_ACCOUNTS, records);
    let begun = Instant::now();
    insert(place, shape).await?;
    mark(place, shape).await?;
    let inserted = begun.elapsed();
    let book = book(place).await?;
    stage_pass(place, &book).await?;
    post(place, shape).await?;
    mark(place, shape).await?;
    let watch = Watch::begin();
    let again = stage_pass(place, &book).await?;
    let database = place.database();
    let figure = |name, elapsed, aim| Figure::new(name, database, (records, "records"), elapsed, aim);
    Ok(vec![
        figure("insert in bulk", inserted, Aim::None),
        figure("re-rate", again, Aim::PerSecond(AGAIN_PER_SECOND)).with_memory(watch.end()),
    ])
}

pub(super) async fn book(place: &Place) -> anyhow::Result<Book> {
    let book = PriceBook::parse(PRICES, Tz::UTC).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let mut tx = place.store().begin().await?;
    let id = rating_rows::put_book(&mut tx, book.digest(), "EUR", book.canonical_text(), place.clock.now()).await?;
    tx.commit().await?;
    Ok((id, Arc::new(book)))
}

async fn stage_pass(place: &Place, (id, book): &Book) -> anyhow::Result<Duration> {
    let settings = RateSettings {
        zone: Tz::UTC,
        start: Day::of(Timestamp::from_seconds(BEGIN_SECONDS), Tz::UTC).context("no day")?,
        scope: Scope::default(),
        tax: TaxRate::ZERO,
    };
    let begun = Instant::now();
    stage::rate_days(place.store(), (*id, book), &settings, place.run, &Quiet).await?;
    Ok(begun.elapsed())
}

async fn post(place: &Place, shape: Shape) -> anyhow::Result<Duration> {
    let closed_until = hour((shape.days + 2) * DAY_HOURS);
    let settings =
        PostSettings { zone: Tz::UTC, tax: TaxRate::ZERO, closed_until, correction_limit: None, run: place.run };
    let begun = Instant::now();
    post::post_charges(place.store(), &settings, &place.clock, &Quiet).await?;
    Ok(begun.elapsed())
}

pub(super) fn seen_account(account: u64) -> SeenAccount {
    SeenAccount {
        cloud_id: rows::account_id(account),
        name: format!("bench-{account}"),
        domain_id: "00000000-0000-4000-8000-000000999999".to_owned(),
        domain_path: "ROOT".to_owned(),
        account_type: 0,
        role_type: "User".to_owned(),
        state: "enabled".to_owned(),
    }
}

/// Records as they would be after a sync, past the sync.
async fn insert(place: &Place, shape: Shape) -> anyhow::Result<()> {
    let now = place.clock.now();
    let mut tx = place.store().begin().await?;
    let mut accounts = Vec::new();
    for account in 0..shape.accounts {
        accounts.push(cloud::put_account(&mut tx, &seen_account(account), now).await?.0.get());
    }
    let mut words: BTreeSet<(String, String)> = BTreeSet::new();
    for account in 0..shape.accounts {
        for machine in 0..rows::MACHINES {
            words.insert((rows::machine_id(account, machine), format!("machine-{account}-{machine}")));
            words.insert((rows::offering_id(account, machine), "small".to_owned()));
        }
    }
    let words: Vec<(String, String)> = words.into_iter().collect();
    let numbers: std::collections::HashMap<String, i64> =
        bulk::number_resources(&mut tx, &words).await?.into_iter().collect();
    runs::put_setting(&mut tx, settings::LONGEST_RECORD_MS, "3600000", now).await?;
    let mut waiting: Vec<NewRecord> = Vec::with_capacity(INSERTED_AT_ONCE);
    for (at, account, machine) in shape.all() {
        let number = |id: String| numbers.get(&id).copied();
        let start = hour(at);
        let name = [at.to_be_bytes(), account.to_be_bytes(), machine.to_be_bytes()].concat();
        waiting.push(NewRecord {
            key: *RecordKey::new(start.as_seconds().div_euclid(3_600), blake3::hash(&name).as_bytes()).as_bytes(),
            account_id: accounts.get(usize::try_from(account)?).copied().unwrap_or_default(),
            project_id: None,
            usage_type: 1,
            resource_id: number(rows::machine_id(account, machine)).unwrap_or_default(),
            offering_id: number(rows::offering_id(account, machine)),
            start_ms: start.as_ms(),
            end_ms: start.as_ms() + 3_600_000,
            quantity: 1_000_000,
            size_bytes: None,
            seen: 1,
            standing: 0,
            attributes_id: None,
            charged_quantity: None,
            estimate: None,
            item_id: None,
        });
        if waiting.len() >= INSERTED_AT_ONCE {
            usage::insert_records(&mut tx, &waiting, place.run).await?;
            waiting.clear();
        }
    }
    usage::insert_records(&mut tx, &waiting, place.run).await?;
    tx.commit().await?;
    Ok(())
}

/// Puts every account day on the list.
async fn mark(place: &Place, shape: Shape) -> anyhow::Result<()> {
    let first = Day::of(hour(0), Tz::UTC).context("no day")?.number();
    let mut tx = place.store().begin().await?;
    for account in cloud::list_accounts(&mut tx).await? {
        for day in 0..i64::try_from(shape.days)? {
            usage::mark_to_rate(&mut tx, AccountId::new(account.id.get()), Day::from_number(first + day)).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}
