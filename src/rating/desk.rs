//! Where days are priced: what the store knows of accounts, offerings and books, made ready for the pure rater.
//!
//! Promises: the same records, book and terms give the same sums, whoever asks: the stage that writes them, the check that
//! compares them, a proposal that only looks, and the explanation of a single day. Reads only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use chrono_tz::Tz;

use super::{
    Customer, Features, PriceBook, Prices, RateError, Rated, Rater, TierUse, Usage, tax::TaxRate, tiers::TierKey,
};
use crate::{
    ids::{AccountId, PayerId, PriceBookId},
    scope::Scope,
    store::{
        StoreError, Tx, cloud,
        compaction::Marks,
        rating::{self as rows, ChargeDay, RatableRow},
        runs,
    },
    time::{Day, Month, Period, Timestamp},
    usage::sync::settings as usage_settings,
};

/// A record longer than this is not looked for where nothing says how long records get: a day.
const DEFAULT_REACH_MS: i64 = 86_400_000;

/// How days are priced.
#[derive(Debug, Clone)]
pub struct RateSettings {
    /// Zone of billing days.
    pub zone: Tz,
    /// First billing day, where a payer has none of its own.
    pub start: Day,
    /// Which domains are billed.
    pub scope: Scope,
    /// Tax where neither the book nor the payer has a rate.
    pub tax: TaxRate,
}

/// Why days could not be priced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A book in the store can not be read any more.
    #[error("price book {0} in the store can not be read by this version: {1}")]
    OldBook(PriceBookId, String),
    /// The records of the day are gone: priced again it would cost nothing.
    #[error("the records of account {0} on {1} are summed up; the day keeps what it costs")]
    SummedUp(AccountId, Day),
    /// A worker ended without an answer.
    #[error("pricing was cut off: {0}")]
    CutOff(String),
}

/// Who an account is for the price book. Kept with every charge: an account that moves later does not change what closed days
/// cost.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Terms {
    /// As the price book knows it.
    pub customer: Customer,
    /// First day that is charged.
    pub start: i64,
    /// Whether its domain is billed.
    pub is_billed: bool,
    /// The payer's own tax rate in percent, where the book says nothing.
    pub tax: Option<String>,
}

impl Terms {
    /// As kept.
    pub fn to_json(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|error| StoreError::Nonsense(format!("terms can not be written: {error}")))
    }
}

/// An account as it is now.
#[derive(Debug, Clone)]
struct Present {
    payer: PayerId,
    terms: Arc<Terms>,
}

/// Under which terms a day is priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Under {
    /// Those that the day was closed under, if it was; else the present ones.
    Kept,
    /// As kept, but with the first billing day, the scope and the tax rate of now: for a look at what would change.
    Revised,
}

/// Known attributes, as the rater takes them.
#[derive(Debug, Default)]
struct Known {
    zone: Option<String>,
    template: Option<String>,
    os_type: Option<String>,
    cpu_number: Option<i64>,
    memory_mib: Option<i64>,
    tags: Vec<(String, String)>,
}

/// A day of an account, priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedDay {
    /// The account.
    pub account: AccountId,
    /// The billing day.
    pub day: Day,
    /// What it costs by usage type; types that were charged before and have no record left cost zero.
    pub sums: Vec<ChargeDay>,
    /// What it used of each tier, in billionths of the tariff's unit.
    pub tiers: Vec<(i64, i64)>,
    /// Records priced.
    pub records: u64,
    /// The terms, to be numbered where they are the present ones.
    pub terms: Arc<Terms>,
}

/// Everything that pricing needs and the records do not carry.
#[derive(Debug)]
pub struct Desk {
    settings: RateSettings,
    reach_ms: i64,
    closed: Marks,
    accounts: HashMap<AccountId, Present>,
    kept: Mutex<HashMap<i64, Arc<Terms>>>,
    books: Mutex<HashMap<PriceBookId, Arc<PriceBook>>>,
    offerings: Mutex<HashMap<i64, Option<Arc<str>>>>,
    attributes: Mutex<HashMap<i64, Arc<Known>>>,
}

impl Desk {
    /// Reads who pays for what, under which terms.
    pub async fn open(tx: &mut Tx, settings: RateSettings) -> Result<Self, StoreError> {
        let reach_ms = find_reach(tx).await?;
        let payers: HashMap<PayerId, cloud::Payer> =
            cloud::list_payers(tx).await?.into_iter().map(|payer| (payer.id, payer)).collect();
        let parents = parents(tx).await?;
        let mut accounts = HashMap::new();
        for account in cloud::list_accounts(tx).await? {
            let payer = payers.get(&account.payer_id).ok_or_else(|| {
                StoreError::Nonsense(format!("account {} has no payer {}", account.id, account.payer_id))
            })?;
            let terms = present_terms(&settings, &parents, payer, &account);
            accounts.insert(account.id, Present { payer: payer.id, terms: Arc::new(terms) });
        }
        Ok(Self {
            settings,
            reach_ms,
            closed: Marks::load(tx).await?,
            accounts,
            kept: Mutex::default(),
            books: Mutex::default(),
            offerings: Mutex::default(),
            attributes: Mutex::default(),
        })
    }

    /// As [`Desk::open`], for one account: what pages ask need not read everybody.
    pub async fn open_for(tx: &mut Tx, settings: RateSettings, account: &cloud::Account) -> Result<Self, StoreError> {
        let reach_ms = find_reach(tx).await?;
        let payer = cloud::get_payer(tx, account.payer_id).await?;
        let parents = parents(tx).await?;
        let terms = present_terms(&settings, &parents, &payer, account);
        Ok(Self {
            settings,
            reach_ms,
            closed: Marks::load(tx).await?,
            accounts: HashMap::from([(account.id, Present { payer: payer.id, terms: Arc::new(terms) })]),
            kept: Mutex::default(),
            books: Mutex::default(),
            offerings: Mutex::default(),
            attributes: Mutex::default(),
        })
    }

    fn present(&self, account: AccountId) -> Result<&Present, StoreError> {
        self.accounts
            .get(&account)
            .ok_or_else(|| StoreError::Missing(format!("account number {account} came up after the run began")))
    }

    /// Who pays for an account.
    pub fn payer(&self, account: AccountId) -> Result<PayerId, StoreError> {
        Ok(self.present(account)?.payer)
    }

    /// The terms of a day, and their number where they were kept as they are.
    pub async fn terms(
        &self,
        tx: &mut Tx,
        account: AccountId,
        stored: &[ChargeDay],
        under: Under,
    ) -> Result<(Arc<Terms>, Option<i64>), StoreError> {
        let present = &self.present(account)?.terms;
        let Some(id) = stored.iter().find(|row| row.closed == 1).and_then(|row| row.terms_id) else {
            return Ok((Arc::clone(present), None));
        };
        let known = lock(&self.kept).get(&id).cloned();
        let kept = if let Some(known) = known {
            known
        } else {
            let body = rows::get_terms(tx, id).await?;
            let terms: Arc<Terms> = serde_json::from_str(&body)
                .map(Arc::new)
                .map_err(|error| StoreError::Nonsense(format!("the terms {id} can not be read: {error}")))?;
            lock(&self.kept).insert(id, Arc::clone(&terms));
            terms
        };
        Ok(match under {
            Under::Kept => (kept, Some(id)),
            Under::Revised => {
                // The configured tax rate becomes one of the terms: it is what the day is kept with once that is approved.
                let tax = present.tax.clone().unwrap_or_else(|| self.settings.tax.percent().normalize().to_string());
                let revised = Terms { customer: kept.customer.clone(), tax: Some(tax), ..Terms::clone(present) };
                (Arc::new(revised), None)
            }
        })
    }

    /// Whether the records of a day are summed up: it is not priced any more, and keeps what it costs.
    pub fn is_summed_up(&self, account: AccountId, day: Day) -> Result<bool, StoreError> {
        Ok(self.closed.cover(account, self.period(day)?.start()))
    }

    /// How long records get, ms.
    pub const fn reach_ms(&self) -> i64 {
        self.reach_ms
    }

    /// How days are priced.
    pub const fn settings(&self) -> &RateSettings {
        &self.settings
    }

    /// Makes a book known that is at hand, so that it is not read again.
    pub fn keep_book(&self, id: PriceBookId, book: &Arc<PriceBook>) {
        lock(&self.books).insert(id, Arc::clone(book));
    }

    /// A book of the store.
    pub async fn book(&self, tx: &mut Tx, id: PriceBookId) -> Result<Arc<PriceBook>, Error> {
        if let Some(book) = lock(&self.books).get(&id) {
            return Ok(Arc::clone(book));
        }
        let text = rows::get_book(tx, id).await?;
        let book = PriceBook::parse(&text, self.settings.zone).map_err(|problems| {
            Error::OldBook(id, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let book = Arc::new(book);
        self.keep_book(id, &book);
        Ok(book)
    }

    /// The records of a day that are charged.
    pub async fn records(&self, tx: &mut Tx, account: AccountId, day: Day) -> Result<Vec<RatableRow>, StoreError> {
        let period = self.period(day)?;
        rows::list_ratable(tx, account, period.start(), period.end(), self.reach_ms).await
    }

    /// The time of a billing day.
    pub fn period(&self, day: Day) -> Result<Period, StoreError> {
        day.period(self.settings.zone)
            .ok_or_else(|| StoreError::Nonsense(format!("day {} is in no calendar", day.number())))
    }

    /// How much of each tier the payer used in the month before this day of this account.
    pub async fn used_before(
        &self,
        tx: &mut Tx,
        book: &PriceBook,
        account: AccountId,
        day: Day,
    ) -> Result<TierUse, StoreError> {
        let mut used = TierUse::default();
        if !book.has_tiers() {
            return Ok(used);
        }
        let (month, first, _) = month_of(day)?;
        let payer = self.payer(account)?;
        for (key, nanos) in rows::list_tier_use_before(tx, payer, first, day, account).await? {
            if !used.add(month, TierKey::new(key), nanos) {
                return Err(StoreError::Nonsense(format!(
                    "the use of tier {key} of payer {payer} is beyond all measure"
                )));
            }
        }
        Ok(used)
    }

    /// Prices a day of an account. `stored`: its charges so far, so that what is gone is charged zero; `used`: what the payer
    /// used of each tier before.
    pub async fn price_day(
        &self,
        tx: &mut Tx,
        (book_id, book): (PriceBookId, &PriceBook),
        (account, day): (AccountId, Day),
        stored: &[ChargeDay],
        (used, under): (TierUse, Under),
    ) -> Result<PricedDay, Error> {
        if self.is_summed_up(account, day)? {
            return Err(Error::SummedUp(account, day));
        }
        let records = self.records(tx, account, day).await?;
        let (terms, terms_id) = self.terms(tx, account, stored, under).await?;
        let tax = self.tax(book, &terms, day, stored, under);
        let empty = |usage_type| ChargeDay {
            tax_percent: Some(tax.clone()),
            terms_id,
            ..ChargeDay::empty(account.get(), day.number(), usage_type, book_id.get())
        };
        let mut sums: BTreeMap<i64, ChargeDay> =
            stored.iter().map(|old| (old.usage_type, empty(old.usage_type))).collect();
        let is_charged = terms.is_billed && day.number() >= terms.start;
        let mut pricing = Pricing::new(self, book, &terms, used);
        for record in &records {
            let sum = sums.entry(record.usage_type).or_insert_with(|| empty(record.usage_type));
            sum.records += 1;
            if !is_charged {
                continue;
            }
            match pricing.price(tx, record, day).await? {
                Ok(rated) => {
                    let (nanos, unpriced) = on_day(&rated, day);
                    sum.unpriced += i64::from(unpriced);
                    sum.net_nanos = nanos.and_then(|nanos| sum.net_nanos.checked_add(nanos)).ok_or_else(|| {
                        StoreError::Nonsense(format!(
                            "the charges of account {account} on {day} are beyond all measure"
                        ))
                    })?;
                }
                Err(reason) => {
                    sum.failed += 1;
                    sum.issue.get_or_insert(reason);
                }
            }
        }
        let tiers = pricing.used_on(day)?;
        drop(pricing);
        let sums = sums.into_values().collect();
        Ok(PricedDay { account, day, sums, tiers, records: records.len() as u64, terms })
    }

    /// The book's rate, else the payer's own, else the one that the day was closed with, else the configured one.
    pub fn tax(&self, book: &PriceBook, terms: &Terms, day: Day, stored: &[ChargeDay], under: Under) -> String {
        let closed = || {
            let row = stored.iter().find(|row| row.closed == 1 && under == Under::Kept)?;
            TaxRate::parse(row.tax_percent.as_deref()?).ok()
        };
        book.tax(&terms.customer, day)
            .or_else(|| TaxRate::parse(terms.tax.as_deref()?).ok())
            .or_else(closed)
            .unwrap_or(self.settings.tax)
            .percent()
            .normalize()
            .to_string()
    }

    async fn offering(&self, tx: &mut Tx, id: Option<i64>) -> Result<Option<Arc<str>>, StoreError> {
        let Some(id) = id else { return Ok(None) };
        if let Some(known) = lock(&self.offerings).get(&id) {
            return Ok(known.clone());
        }
        let found: Option<Arc<str>> = rows::find_offering(tx, id).await?.map(Arc::from);
        lock(&self.offerings).insert(id, found.clone());
        Ok(found)
    }

    async fn attributes(&self, tx: &mut Tx, id: Option<i64>) -> Result<Arc<Known>, StoreError> {
        let Some(id) = id else { return Ok(Arc::default()) };
        if let Some(known) = lock(&self.attributes).get(&id) {
            return Ok(Arc::clone(known));
        }
        let row = rows::find_attributes(tx, id)
            .await?
            .ok_or_else(|| StoreError::Nonsense(format!("attributes {id} of a usage record are missing")))?;
        let tags = match &row.tags {
            Some(text) => serde_json::from_str(text).map_err(|error| {
                StoreError::Nonsense(format!("the tags of attributes {id} can not be read: {error}"))
            })?,
            None => Vec::new(),
        };
        let known = Arc::new(Known {
            zone: row.zone_id,
            template: row.template_id,
            os_type: row.os_type_id,
            cpu_number: row.cpu_number,
            memory_mib: row.memory_mib,
            tags,
        });
        lock(&self.attributes).insert(id, Arc::clone(&known));
        Ok(known)
    }
}

/// Prices the records of one account in order, under one book.
pub struct Pricing<'d> {
    desk: &'d Desk,
    book: &'d PriceBook,
    rater: Rater<'d>,
    prices: HashMap<(i64, Option<i64>, Option<i64>), Prices>,
    before: TierUse,
    used: TierUse,
}

impl<'d> Pricing<'d> {
    /// `used`: what the payer used of each tier before.
    pub fn new(desk: &'d Desk, book: &'d PriceBook, terms: &'d Terms, used: TierUse) -> Self {
        Self {
            desk,
            book,
            rater: Rater::new(book, desk.settings.zone, &terms.customer),
            prices: HashMap::new(),
            before: used.clone(),
            used,
        }
    }

    /// Prices what of a record falls on a day; the reason in words where it can not be priced.
    pub async fn price(
        &mut self,
        tx: &mut Tx,
        record: &RatableRow,
        day: Day,
    ) -> Result<Result<Rated, String>, StoreError> {
        self.price_some(tx, record, Some(day)).await
    }

    /// Prices a whole record.
    pub async fn price_whole(&mut self, tx: &mut Tx, record: &RatableRow) -> Result<Result<Rated, String>, StoreError> {
        self.price_some(tx, record, None).await
    }

    async fn price_some(
        &mut self,
        tx: &mut Tx,
        record: &RatableRow,
        day: Option<Day>,
    ) -> Result<Result<Rated, String>, StoreError> {
        let Some(usage) = to_usage(record) else {
            return Ok(Err("the stored record makes no sense".to_owned()));
        };
        let key = (record.usage_type, record.offering_id, record.attributes_id);
        let prices = if let Some(known) = self.prices.get(&key) {
            known.clone()
        } else {
            let offering = self.desk.offering(tx, record.offering_id).await?;
            let known = self.desk.attributes(tx, record.attributes_id).await?;
            let features = Features {
                offering: offering.as_deref(),
                zone: known.zone.as_deref(),
                template: known.template.as_deref(),
                os_type: known.os_type.as_deref(),
                cpu_number: known.cpu_number,
                memory_mib: known.memory_mib,
                tags: &known.tags,
            };
            let found = self.rater.find_prices(usage.usage_type, &features);
            self.prices.insert(key, found.clone());
            found
        };
        let rated: Result<Rated, RateError> = match day {
            Some(day) => self.rater.rate_on(day, &usage, &prices, &mut self.used),
            None => self.rater.rate(&usage, &prices, &mut self.used),
        };
        Ok(rated.map_err(|error| error.to_string()))
    }

    /// What was used of each tier before and now.
    pub fn into_used(self) -> TierUse {
        self.used
    }

    /// What was used of each tier since the beginning, in the month of `day`.
    fn used_on(&self, day: Day) -> Result<Vec<(i64, i64)>, StoreError> {
        if !self.book.has_tiers() {
            return Ok(Vec::new());
        }
        let (month, _, _) = month_of(day)?;
        Ok(self
            .used
            .iter()
            .filter(|(its_month, _, _)| *its_month == month)
            .map(|(_, key, nanos)| (key.get(), nanos - self.before.get(month, key)))
            .filter(|(_, nanos)| *nanos != 0)
            .collect())
    }
}

/// The amount of the parts on a day (None: beyond all measure), and whether some of the record has no price.
fn on_day(rated: &Rated, day: Day) -> (Option<i64>, bool) {
    match rated {
        Rated::Charged(charge) => {
            let mut parts = charge.parts().iter().filter(|part| part.day == day);
            let sum = parts.try_fold(0_i64, |sum, part| sum.checked_add(part.amount_nanos));
            (sum, charge.unpriced().iter().any(|piece| piece.day == day))
        }
        Rated::Free => (Some(0), false),
        Rated::Unpriced => (Some(0), true),
    }
}

/// The month of a day, its first day, and the first day of the next one.
pub fn month_of(day: Day) -> Result<(Month, Day, Day), StoreError> {
    let bounds = || {
        let month = day.month()?;
        let period = month.period(Tz::UTC)?;
        Some((month, Day::of(period.start(), Tz::UTC)?, Day::of(period.end(), Tz::UTC)?))
    };
    bounds().ok_or_else(|| StoreError::Nonsense(format!("day {} is in no calendar", day.number())))
}

/// A stored record as the rater takes it.
pub fn to_usage(record: &RatableRow) -> Option<Usage> {
    Some(Usage {
        usage_type: i32::try_from(record.usage_type).ok()?,
        quantity: record.quantity,
        period: Period::new(Timestamp::from_ms(record.start_ms), Timestamp::from_ms(record.end_ms))?,
        size_bytes: record.size_bytes,
    })
}

async fn find_reach(tx: &mut Tx) -> Result<i64, StoreError> {
    let noted = runs::find_setting(tx, usage_settings::LONGEST_RECORD_MS).await?;
    Ok(noted.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_REACH_MS))
}

fn present_terms(
    settings: &RateSettings,
    parents: &HashMap<String, Option<String>>,
    payer: &cloud::Payer,
    account: &cloud::Account,
) -> Terms {
    Terms {
        start: payer.billing_start_day.unwrap_or(settings.start.number()),
        is_billed: settings.scope.includes(&account.domain_path, &account.domain_id),
        tax: payer.tax_percent.clone(),
        customer: customer(parents, payer, account),
    }
}

/// Who an account is for the price book.
fn customer(parents: &HashMap<String, Option<String>>, payer: &cloud::Payer, account: &cloud::Account) -> Customer {
    Customer {
        payer: payer.name.clone(),
        account_id: account.cloud_id.clone(),
        domain_ids: chain(parents, &account.domain_id),
        domain_path: account.domain_path.clone(),
    }
}

async fn parents(tx: &mut Tx) -> Result<HashMap<String, Option<String>>, StoreError> {
    Ok(cloud::list_domains(tx).await?.into_iter().map(|domain| (domain.cloud_id, domain.parent_id)).collect())
}

/// Who every account is for the price book now.
pub async fn list_customers(tx: &mut Tx) -> Result<HashMap<AccountId, Customer>, StoreError> {
    let payers: HashMap<PayerId, cloud::Payer> =
        cloud::list_payers(tx).await?.into_iter().map(|payer| (payer.id, payer)).collect();
    let parents = parents(tx).await?;
    let mut customers = HashMap::new();
    for account in cloud::list_accounts(tx).await? {
        if let Some(payer) = payers.get(&account.payer_id) {
            customers.insert(account.id, customer(&parents, payer, &account));
        }
    }
    Ok(customers)
}

/// Who one account is for the price book now.
pub async fn customer_of(tx: &mut Tx, account: &cloud::Account) -> Result<Customer, StoreError> {
    let payer = cloud::get_payer(tx, account.payer_id).await?;
    Ok(customer(&parents(tx).await?, &payer, account))
}

/// A domain and those above it.
fn chain(parents: &HashMap<String, Option<String>>, domain: &str) -> Vec<String> {
    let mut chain = vec![domain.to_owned()];
    let mut at = parents.get(domain).cloned().flatten();
    while let Some(parent) = at {
        // A loop can not be, and would never end.
        if chain.contains(&parent) {
            break;
        }
        at = parents.get(&parent).cloned().flatten();
        chain.push(parent);
    }
    chain
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
