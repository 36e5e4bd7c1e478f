//! The wiring of live figures: the poll behind each sync, and the estimate and forecast of each payer when somebody asks.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde::Serialize;

use super::{
    app::{App, AppError},
    work::{self, JobError},
};
use crate::{
    cloudstack::Client,
    estimate::{
        forecast::{ClosedDay, Forecast, Known, forecast},
        live::kinds,
        poll::{self, PollReport},
        price::{self, Line},
        windows::{self, Basis, Estimate},
    },
    ids::{AccountId, PayerId, RunId},
    ledger::standing::{BURN_DAYS, Standing},
    money::Money,
    rating::{PriceBook, tax::TaxRate},
    scope::Scope,
    store::{Tx, cloud, rating, runs},
    time::{Day, Timestamp},
    usage::sync::settings,
};

/// The setting with the end of fetched usage at the last poll: what comes after is compared when it has come.
const ESTIMATED_FROM: &str = "estimate.from-ms";
/// Records may be so much late beyond two ranges of the usage job before a vanished resource is overlooked.
const REACH_MARGIN: Duration = Duration::from_hours(1);
/// A usage job's range where it is not known: a day.
const DEFAULT_RANGE_MINUTES: u64 = 1_440;

/// What the poll behind a sync did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LiveSummary {
    /// The inventory.
    pub poll: PollReport,
    /// Accounts whose estimate was compared with their records.
    pub compared: u64,
    /// In words, what did not come about. It fails nothing.
    pub notes: Vec<String>,
}

/// Polls the live inventory and compares the estimate of the usage that has just come. Nothing here fails a sync: it is an
/// estimate, and money moves without it.
pub async fn after_usage(app: &App, client: &Client, run: RunId) -> LiveSummary {
    let mut summary = LiveSummary::default();
    // First the comparison: with the inventory as it was known before this poll.
    match compare(app, run).await {
        Ok(compared) => summary.compared = compared,
        Err(error) => summary.notes.push(format!("estimates were not compared: {error}")),
    }
    match polled(app, client, run).await {
        Ok(report) => {
            summary.notes.extend(report.lists.iter().filter_map(|list| list.note.clone()));
            summary.poll = report;
        }
        Err(error) => summary.notes.push(format!("the live inventory was not stored: {error}")),
    }
    for note in &summary.notes {
        tracing::info!(note, "live figures are incomplete");
    }
    summary
}

async fn find_ms(tx: &mut Tx, key: &str) -> Result<Option<Timestamp>, JobError> {
    Ok(runs::find_setting(tx, key).await?.and_then(|text| text.parse().ok()).map(Timestamp::from_ms))
}

async fn compare(app: &App, run: RunId) -> Result<u64, JobError> {
    let mut tx = app.store.read().await?;
    let from = find_ms(&mut tx, ESTIMATED_FROM).await?;
    let until = app.fetched_until(&mut tx).await?;
    tx.commit().await?;
    let (Some(from), Some(until)) = (from, until) else { return Ok(0) };
    if until <= from {
        return Ok(0);
    }
    let (_, book) = work::load_price_book_text(app)?;
    let pieces = Pieces::of(app, book).await?;
    let compared = windows::compare(&app.store, &pieces.basis(app), (from, until), run, app.clock.now()).await;
    Ok(compared.map_err(in_words)?.unwrap_or(0))
}

async fn polled(app: &App, client: &Client, run: RunId) -> Result<PollReport, JobError> {
    let mut tx = app.store.read().await?;
    let range = runs::find_setting(&mut tx, settings::RANGE_MINUTES).await?;
    tx.commit().await?;
    let minutes = range.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_RANGE_MINUTES);
    let reach = Duration::from_secs(minutes.saturating_mul(2 * 60)).saturating_add(REACH_MARGIN);
    let report = poll::poll_inventory(client, &app.store, app.clock.as_ref(), run, reach).await?;
    let mut tx = app.store.begin().await?;
    if let Some(until) = app.fetched_until(&mut tx).await? {
        crate::store::live::forget_ended(&mut tx, until).await?;
        runs::put_setting(&mut tx, ESTIMATED_FROM, &until.as_ms().to_string(), app.clock.now()).await?;
    }
    runs::commit_for(tx, run).await?;
    Ok(report)
}

fn in_words(error: windows::Error) -> JobError {
    match error {
        windows::Error::Store(error) => JobError::Store(error),
        error @ windows::Error::TooLarge(_) => JobError::App(AppError::Configuration(error.to_string())),
    }
}

/// What a [`Basis`] borrows from.
struct Pieces {
    book: PriceBook,
    start: Day,
    scope: Scope,
}

impl Pieces {
    async fn of(app: &App, book: PriceBook) -> Result<Self, JobError> {
        let mut tx = app.store.begin().await?;
        let start = app.rate_settings(&mut tx).await?.start;
        tx.commit().await?;
        Ok(Self { book, start, scope: app.scope() })
    }

    fn basis(&self, app: &App) -> Basis<'_> {
        Basis { book: &self.book, zone: app.config.billing.zone, start: self.start, scope: &self.scope }
    }
}

/// The live figures of one payer. Everything is an estimate.
#[derive(Debug, Clone)]
pub struct PayerOutlook {
    /// Who pays.
    pub payer: PayerId,
    /// A name for people.
    pub name: String,
    /// What is live, by usage type.
    pub lines: BTreeMap<i32, Line>,
    /// Estimated since the end of fetched usage, with tax.
    pub since: Money,
    /// What the live things cost a day, with tax.
    pub live_per_day: Money,
    /// Where the month is going; None where nothing is known yet.
    pub forecast: Option<Forecast>,
    /// Balance Available, which has nothing of the estimate in it.
    pub available: Money,
}

/// The live figures of every payer.
#[derive(Debug, Clone)]
pub struct Outlook {
    /// The estimate behind them.
    pub estimate: Estimate,
    /// By payer.
    pub payers: Vec<PayerOutlook>,
    /// In words, what is not in the figures.
    pub notes: Vec<String>,
}

/// What is live, what it costs and where the month is going: of all payers, or of the one of an account.
pub async fn outlook(app: &App, payer: Option<PayerId>) -> Result<Outlook, JobError> {
    let (_, book) = work::load_price_book_text(app)?;
    let pieces = Pieces::of(app, book).await?;
    let now = app.clock.now();
    let mut tx = app.store.read().await?;
    let Some(fetched_until) = app.fetched_until(&mut tx).await? else {
        return Err(JobError::App(AppError::Configuration(
            "no usage is known yet; run `bursar sync` first".to_owned(),
        )));
    };
    let estimate = windows::estimate(&mut tx, &pieces.basis(app), None, fetched_until, now).await.map_err(in_words)?;
    let mut notes: Vec<String> = estimate.lists.iter().filter_map(|list| list.note.clone()).collect();
    if estimate.lists.is_empty() {
        notes.push("the live inventory was not read yet; the next sync does".to_owned());
    }
    if now < fetched_until {
        notes.push(format!(
            "this machine's clock ({now}) stands before the end of fetched usage ({fetched_until}); nothing is estimated"
        ));
    }
    let payer_of: HashMap<AccountId, PayerId> =
        cloud::list_accounts(&mut tx).await?.into_iter().map(|account| (account.id, account.payer_id)).collect();
    let charges = Charges::load(&mut tx, app, &payer_of, fetched_until, now).await?;
    let standings: HashMap<PayerId, Standing> =
        app.standings(&mut tx).await?.into_iter().map(|standing| (standing.payer, standing)).collect();
    let mut payers = Vec::new();
    for row in cloud::list_payers(&mut tx).await? {
        if payer.is_some_and(|wanted| wanted != row.id) {
            continue;
        }
        let tax =
            row.tax_percent.as_deref().and_then(|text| TaxRate::parse(text).ok()).map_or_else(|| app.tax(), Ok)?;
        let mut lines: BTreeMap<i32, Line> = BTreeMap::new();
        for (account, own) in &estimate.tally {
            if payer_of.get(account) == Some(&row.id) {
                add_lines(&mut lines, own).map_err(in_words)?;
            }
        }
        let Some(standing) = standings.get(&row.id) else { continue };
        let known_lists = estimate.lists.iter().any(|list| list.complete_ms.is_some());
        payers.push(
            one(row.id, row.name, lines, (tax, known_lists), &charges.of(row.id), standing)
                .map_err(|error| app_error(&error))?,
        );
    }
    tx.commit().await?;
    Ok(Outlook { estimate, payers, notes })
}

/// The live figures of one account: net, and how far such estimates were off.
#[derive(Debug, Clone)]
pub struct AccountOutlook {
    /// The estimate begins here: everything before is fetched.
    pub from: Timestamp,
    /// The instant that it is made for.
    pub until: Timestamp,
    /// What is live, by usage type.
    pub lines: BTreeMap<i32, Line>,
    /// All of it.
    pub sum: Line,
    /// When the lists were read to their ends; the oldest one. None: never.
    pub read: Option<Timestamp>,
    /// The mean of how far off estimates of this account were, in percent; None: not known.
    pub mean_percent: Option<rust_decimal::Decimal>,
}

/// What is live of an account and what it costs by a book; None before any usage was fetched.
pub async fn of_account(
    app: &App,
    tx: &mut Tx,
    book: &PriceBook,
    account: &cloud::Account,
) -> Result<Option<AccountOutlook>, JobError> {
    let Some(fetched_until) = app.fetched_until(tx).await? else { return Ok(None) };
    let Some(settings) = app.noted_rate_settings(tx).await? else { return Ok(None) };
    let basis = Basis { book, zone: settings.zone, start: settings.start, scope: &settings.scope };
    let mut estimate =
        windows::estimate_one(tx, &basis, account, fetched_until, app.clock.now()).await.map_err(in_words)?;
    let lines = estimate.tally.remove(&account.id).unwrap_or_default();
    let sum = price::sum(&lines).map_err(|error| in_words(error.into()))?;
    let misses: Vec<price::Miss> = crate::store::live::list_windows(tx, Some(account.id))
        .await?
        .iter()
        .map(|window| price::miss(window.net_nanos, window.rated_nanos))
        .collect();
    Ok(Some(AccountOutlook {
        from: estimate.from,
        until: estimate.until,
        lines,
        sum,
        read: estimate.lists.iter().filter_map(|list| list.complete_ms).min(),
        mean_percent: price::mean_percent(&misses),
    }))
}

fn app_error(error: &crate::money::MoneyError) -> JobError {
    JobError::App(AppError::Configuration(error.to_string()))
}

fn add_lines(sum: &mut BTreeMap<i32, Line>, more: &BTreeMap<i32, Line>) -> Result<(), windows::Error> {
    for (usage_type, line) in more {
        let old = sum.remove(usage_type).unwrap_or_default();
        sum.insert(*usage_type, price::sum(&BTreeMap::from([(0, old), (1, *line)]))?);
    }
    Ok(())
}

fn one(
    payer: PayerId,
    name: String,
    lines: BTreeMap<i32, Line>,
    (tax, known_lists): (TaxRate, bool),
    charges: &PayerCharges,
    standing: &Standing,
) -> Result<PayerOutlook, crate::money::MoneyError> {
    let gross = |nanos: i64| {
        let net = Money::round_from_nanos(nanos);
        net.plus(tax.of(net)?)
    };
    let sum = price::sum(&lines).map_err(|_| crate::money::MoneyError::Overflow)?;
    let (since, live_per_day) = (gross(sum.net_nanos)?, gross(sum.per_day_nanos)?);
    let days = charges
        .days
        .iter()
        .map(|(all, live)| Ok(ClosedDay { all: gross(*all)?, live_kinds: gross(*live)? }))
        .collect::<Result<Vec<_>, crate::money::MoneyError>>()?;
    let known = Known {
        days: &days,
        live_per_day: known_lists.then_some(live_per_day),
        month_so_far: gross(charges.month_nanos)?.plus(since)?,
        rest_ms: charges.rest_ms,
        available: standing.figures.available,
    };
    let forecast = forecast(&known)?;
    Ok(PayerOutlook { payer, name, lines, since, live_per_day, forecast, available: standing.figures.available })
}

/// What payers were charged lately, net, billionths.
struct Charges {
    /// By payer and day: everything, and of it what the live inventory stands for.
    days: HashMap<PayerId, BTreeMap<i64, (i64, i64)>>,
    first_closed: i64,
    open: i64,
    month_first: i64,
    rest_ms: i64,
}

/// The same of one payer.
struct PayerCharges {
    days: Vec<(i64, i64)>,
    month_nanos: i64,
    rest_ms: i64,
}

impl Charges {
    async fn load(
        tx: &mut Tx,
        app: &App,
        payer_of: &HashMap<AccountId, PayerId>,
        fetched_until: Timestamp,
        now: Timestamp,
    ) -> Result<Self, JobError> {
        let zone = app.config.billing.zone;
        let in_no_calendar = || AppError::Configuration(format!("the clock says {now}, which is in no calendar"));
        let open = Day::of(fetched_until, zone).ok_or_else(in_no_calendar)?;
        let month = Day::of(now, zone).and_then(Day::month).and_then(|month| month.period(zone));
        let month = month.ok_or_else(in_no_calendar)?;
        let month_first = Day::of(month.start(), zone).ok_or_else(in_no_calendar)?;
        let first_closed = Day::from_number(open.number().saturating_sub(i64::from(BURN_DAYS)));
        let from = first_closed.min(month_first);
        let mut days: HashMap<PayerId, BTreeMap<i64, (i64, i64)>> = HashMap::new();
        for charge in rating::list_charges_between(tx, None, from, open.next().max(from)).await? {
            let Some(payer) = payer_of.get(&AccountId::new(charge.account_id)) else { continue };
            let sum = days.entry(*payer).or_default().entry(charge.day).or_default();
            sum.0 = sum.0.saturating_add(charge.net_nanos);
            if i32::try_from(charge.usage_type).is_ok_and(|kind| kinds::ALL.contains(&kind)) {
                sum.1 = sum.1.saturating_add(charge.net_nanos);
            }
        }
        Ok(Self {
            days,
            first_closed: first_closed.number(),
            open: open.number(),
            month_first: month_first.number(),
            rest_ms: month.end().as_ms().saturating_sub(now.as_ms()),
        })
    }

    fn of(&self, payer: PayerId) -> PayerCharges {
        let empty = BTreeMap::new();
        let days = self.days.get(&payer).unwrap_or(&empty);
        // A payer that began two days ago has had two days and not seven; a day without charges in between counts as nothing.
        let first = days.keys().next().map_or(self.open, |first| (*first).max(self.first_closed));
        PayerCharges {
            days: (first..self.open).map(|day| days.get(&day).copied().unwrap_or_default()).collect(),
            month_nanos: days.range(self.month_first..).fold(0_i64, |sum, (_, (all, _))| sum.saturating_add(*all)),
            rest_ms: self.rest_ms,
        }
    }
}
