//! The wiring of the move from CloudStack's quota plugin: what it says, read by the reader; opening balances, written only
//! when asked to; a month side by side.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rust_decimal::Decimal;

use super::{
    app::{App, AppError, Role},
    work::{self, JobError},
};
use crate::{
    cloudstack,
    ids::{AccountId, CloudId, PayerId},
    ledger::post::{self, Cause},
    money::Money,
    quota::{
        compare::{self, Facts, Ours, Records, Row},
        tariffs::{self, Draft, Tariff},
    },
    rating::PriceBook,
    store::{
        cloud::{self, Account},
        ledger, quota as rows, rating,
    },
    time::{Day, Month, Timestamp},
    usage::types::UsageType,
};

/// Why the quota plugin's data could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As with every job.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The ledger refused.
    #[error(transparent)]
    Post(#[from] post::Error),
    /// The role lacks a right.
    #[error(
        "the reader's role does not allow {api}; add rules that allow quotaTariffList, quotaSummary, quotaCreditsList and \
         quotaStatement above the last one (`bursar init` gives them), or is the quota plugin off (quota.enable.service)?"
    )]
    NotAllowed {
        /// What was called.
        api: &'static str,
    },
    /// A figure that is no number.
    #[error("the quota plugin's {what} \"{text}\" is no amount")]
    NoAmount {
        /// Of what.
        what: &'static str,
        /// What came.
        text: String,
    },
}

impl From<crate::store::StoreError> for Error {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Job(JobError::Store(error))
    }
}

impl From<AppError> for Error {
    fn from(error: AppError) -> Self {
        Self::Job(JobError::App(error))
    }
}

fn refused(api: &'static str) -> impl Fn(cloudstack::Error) -> Error {
    move |error| match error {
        cloudstack::Error::NotAllowed { .. } => Error::NotAllowed { api },
        error => Error::Job(JobError::CloudStack(error)),
    }
}

fn amount(what: &'static str, text: &str) -> Result<Money, Error> {
    let refuse = || Error::NoAmount { what, text: text.chars().take(40).collect() };
    let decimal: Decimal = text.trim().parse().map_err(|_| refuse())?;
    Money::round_from(decimal).map_err(|_| refuse())
}

/// The plugin's tariffs.
async fn read_tariffs(client: &cloudstack::Client) -> Result<Vec<Tariff>, Error> {
    let listed = client.quota_tariffs().await.map_err(refused("quotaTariffList"))?;
    listed
        .into_iter()
        .map(|row| {
            let text = row.value.unwrap_or_default();
            let value = text.trim().parse().map_err(|_| Error::NoAmount { what: "tariff", text })?;
            Ok(Tariff {
                usage_type: row.usage_type.unwrap_or_default(),
                unit: row.unit.unwrap_or_default(),
                value,
                from: row.from,
                last: row.last,
                has_rule: row.rule.is_some_and(|rule| !rule.trim().is_empty()),
                name: row.name.unwrap_or_default(),
            })
        })
        .collect()
}

/// What became of a balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Nothing there, so nothing to bring in.
    Nothing,
    /// It would be brought in by `--write`.
    Waits,
    /// It was brought in now.
    Written,
    /// The payer has an opening balance already.
    Known,
}

/// What a payer has in the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayerBalance {
    /// Who pays.
    pub payer: PayerId,
    /// Its accounts there, by name.
    pub accounts: Vec<String>,
    /// The sum.
    pub balance: Money,
    /// What became of it.
    pub opening: Opening,
}

/// Credit that an account was given there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// Whose.
    pub account: String,
    /// How much.
    pub amount: Money,
    /// By whom.
    pub by: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
}

/// Everything the plugin says.
#[derive(Debug, Clone)]
pub struct Import {
    /// The tariffs as a price book.
    pub draft: Draft,
    /// What payers have.
    pub balances: Vec<PayerBalance>,
    /// Accounts there that bursar does not know.
    pub unknown: Vec<String>,
    /// Credits given; None where this CloudStack can not list them.
    pub credits: Option<Vec<Credit>>,
}

/// Reads it all. `write`: balances become opening balances, once a payer.
pub async fn import(app: &App, write: Option<&str>) -> Result<Import, Error> {
    let client = app.client(Role::Reader)?;
    let draft = tariffs::draft(&app.config.billing.currency, &read_tariffs(&client).await?);
    let listed = client.quota_balances().await.map_err(refused("quotaSummary"))?;
    let mut tx = app.store.read().await?;
    let accounts: HashMap<String, Account> =
        cloud::list_accounts(&mut tx).await?.into_iter().map(|account| (account.cloud_id.clone(), account)).collect();
    tx.commit().await?;
    let mut sums: BTreeMap<PayerId, (Vec<String>, Money)> = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut credits = Some(Vec::new());
    for row in listed {
        let Some(account) = accounts.get(&row.account_id) else {
            unknown.push(row.account.unwrap_or(row.account_id));
            continue;
        };
        let balance = amount("balance", row.balance.as_deref().unwrap_or("0"))?;
        let sum = sums.entry(account.payer_id).or_default();
        sum.0.push(account.full_name());
        sum.1 = sum.1.plus(balance).map_err(post::Error::Money)?;
        if let Some(list) = &mut credits {
            match client.quota_credits(&row.account_id).await {
                Ok(found) => {
                    for credit in found {
                        let amount = amount("credit", &credit.credit)?;
                        list.push(Credit { account: account.full_name(), amount, by: credit.by, at: credit.at });
                    }
                }
                // Before 4.21 there is no such list, and who may not read it needs no credits to move.
                Err(
                    cloudstack::Error::NotAllowed { .. }
                    | cloudstack::Error::Unauthorized { .. }
                    | cloudstack::Error::Gone { .. }
                    | cloudstack::Error::Refused { .. },
                ) => credits = None,
                Err(error) => return Err(Error::Job(JobError::CloudStack(error))),
            }
        }
    }
    let balances = openings(app, sums, write).await?;
    Ok(Import { draft, balances, unknown, credits })
}

async fn openings(
    app: &App,
    sums: BTreeMap<PayerId, (Vec<String>, Money)>,
    write: Option<&str>,
) -> Result<Vec<PayerBalance>, Error> {
    let mut balances = Vec::new();
    // All or nothing: a second try after a failure must not have to ask which payers were done.
    let mut tx = app.store.begin().await?;
    for (payer, (accounts, balance)) in sums {
        let known = ledger::find_transfer(&mut tx, &format!("opening/{payer}")).await?.is_some();
        let opening = match (known, balance.is_zero(), write) {
            (true, ..) => Opening::Known,
            (false, true, _) => Opening::Nothing,
            (false, false, None) => Opening::Waits,
            (false, false, Some(author)) => {
                let cause = Cause { key: "opening", author, reason: "balance in CloudStack's quota plugin" };
                let defaults = (app.default_limit(), app.tax()?);
                post::set_opening_balance(&mut tx, payer, balance, cause, defaults, app.clock.now()).await?;
                Opening::Written
            }
        };
        balances.push(PayerBalance { payer, accounts, balance, opening });
    }
    if write.is_some() {
        tx.commit().await?;
    }
    Ok(balances)
}

/// A month side by side.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// By account and usage type.
    pub rows: Vec<Row>,
    /// Names of accounts.
    pub names: HashMap<AccountId, String>,
}

/// Compares what the plugin charged in a month with what was charged here.
pub async fn compare_month(app: &App, month: Month) -> Result<Comparison, Error> {
    let client = app.client(Role::Reader)?;
    let zone = app.config.billing.zone;
    let no_calendar = || AppError::Configuration(format!("{month} is in no calendar"));
    let period = month.period(zone).ok_or_else(no_calendar)?;
    let first = Day::of(period.start(), zone).ok_or_else(no_calendar)?;
    let until = Day::of(period.end(), zone).ok_or_else(no_calendar)?;
    let last = Day::from_number(until.number() - 1);
    let tariffs = read_tariffs(&client).await?;
    let mut tx = app.store.begin().await?;
    let start = app.rate_settings(&mut tx).await?.start;
    let accounts = cloud::list_accounts(&mut tx).await?;
    let payers: HashMap<PayerId, Option<i64>> =
        cloud::list_payers(&mut tx).await?.into_iter().map(|payer| (payer.id, payer.billing_start_day)).collect();
    let fetched = app.fetched_until(&mut tx).await?;
    let ours = charged_here(&mut tx, first, until).await?;
    let repeats = rows::list_repeats(&mut tx, period.start(), period.end()).await?;
    tx.commit().await?;

    let mut facts = tariff_facts(&tariffs, (period.start(), period.end()));
    facts.is_open = fetched.is_none_or(|fetched| fetched < period.end());
    facts.other_zone = zone != chrono_tz::UTC;
    if let Ok((_, book)) = work::load_price_book_text(app) {
        facts.free = free_types(&book);
    }
    for row in repeats {
        let Ok(usage_type) = i32::try_from(row.usage_type) else { continue };
        let records = Records { repeats: row.repeats, waiting: row.waiting };
        facts.records.insert((row.account_id, usage_type), records);
    }
    let scope = app.scope();
    let mut theirs = BTreeMap::new();
    let mut names = HashMap::new();
    for account in accounts {
        names.insert(account.id, account.full_name());
        let begins = payers.get(&account.payer_id).copied().flatten().map_or(start, Day::from_number);
        if !scope.includes(&account.domain_path, &account.domain_id) {
            facts.not_charged.insert(account.id, "its domain is not billed here".to_owned());
        } else if begins > first {
            facts.not_charged.insert(account.id, format!("here it is billed from {begins} on"));
        }
        // A removed account can not be asked for by name; its figures there are not known.
        let Ok(domain) = account.domain_id.parse::<CloudId>() else { continue };
        if account.gone_ms.is_some() {
            continue;
        }
        let items = client.quota_statement(&account.name, domain, (first, last)).await;
        for item in items.map_err(refused("quotaStatement"))? {
            let (Some(usage_type), text) = (item.usage_type, item.quota.clone().unwrap_or_default()) else { continue };
            theirs.insert((account.id, usage_type), amount("charge", &text)?);
        }
    }
    Ok(Comparison { rows: compare::compare(&theirs, &ours, &facts), names })
}

async fn charged_here(
    tx: &mut crate::store::Tx,
    first: Day,
    until: Day,
) -> Result<BTreeMap<compare::Key, Ours>, Error> {
    let mut nanos: BTreeMap<compare::Key, (i64, i64)> = BTreeMap::new();
    for charge in rating::list_charges_between(tx, None, first, until).await? {
        let Ok(usage_type) = i32::try_from(charge.usage_type) else { continue };
        let sum = nanos.entry((AccountId::new(charge.account_id), usage_type)).or_default();
        sum.0 = sum.0.saturating_add(charge.net_nanos);
        sum.1 = sum.1.saturating_add(charge.unpriced);
    }
    let ours = |(nanos, unpriced)| Ours { net: Money::round_from_nanos(nanos), unpriced };
    Ok(nanos.into_iter().map(|(key, sums)| (key, ours(sums))).collect())
}

fn free_types(book: &PriceBook) -> BTreeSet<i32> {
    UsageType::all().iter().map(|kind| kind.id).filter(|id| book.is_free(*id)).collect()
}

/// What the tariffs say about a span: which overlap, which a script decides about, which begin or end within.
fn tariff_facts(tariffs: &[Tariff], (from, until): (Timestamp, Timestamp)) -> Facts {
    let mut facts = Facts::default();
    let mut holding: BTreeMap<i32, u32> = BTreeMap::new();
    for tariff in tariffs {
        let holds = tariff.from.is_none_or(|start| start < until) && tariff.last.is_none_or(|last| last >= from);
        if !holds {
            continue;
        }
        *holding.entry(tariff.usage_type).or_default() += 1;
        if tariff.has_rule {
            facts.ruled.insert(tariff.usage_type);
        }
        if tariff.from.is_some_and(|start| start > from) || tariff.last.is_some_and(|last| last < until) {
            facts.changed.insert(tariff.usage_type);
        }
    }
    facts.overlapping = holding.into_iter().filter(|(_, count)| *count > 1).map(|(kind, _)| kind).collect();
    facts
}
