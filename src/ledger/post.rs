//! The stage that posts: charges of closed days, payments, grants and limits.
//!
//! Everything is under a key made before the call; repeated, it changes nothing. A broken amount stops posting for its own
//! account and says so.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use chrono_tz::Tz;

use super::{
    corrections,
    rules::{self, Figures, Position, Source},
    standing,
};
use crate::{
    ids::{AccountId, PayerId, RunId, TransferId},
    money::{Money, MoneyError},
    progress::Progress,
    rating::tax::TaxRate,
    store::{
        Store, StoreError, Tx, cloud, corrections as correction_rows,
        ledger::{self as rows, LedgerAccount, NewTransfer},
        rating::{self, ChargeDay},
        runs::{self, AuditLine},
    },
    time::{Clock, Day, Timestamp},
};

/// Charges posted in one transaction.
const CHARGES_PER_TRANSACTION: i64 = 500;

/// Why something was not posted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The amounts do not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// An amount that makes no sense here.
    #[error("{0}")]
    BadAmount(String),
}

/// How charges are posted.
#[derive(Debug, Clone)]
pub struct PostSettings {
    /// Zone of billing days.
    pub zone: Tz,
    /// Tax of days that were rated by a release that did not note it.
    pub tax: TaxRate,
    /// Everything before is fetched and closed.
    pub closed_until: Timestamp,
    /// Corrections of one payer beyond this sum (gross, up and down added) wait for a person; None: none do.
    pub correction_limit: Option<Money>,
    /// The run that posts: what waits from one run is one item.
    pub run: RunId,
}

/// What posting did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct PostReport {
    /// Transfers posted.
    pub transfers: u64,
    /// Of them, corrections of a day posted before.
    pub corrections: u64,
    /// Of them, reversals of days whose prices were changed on an administrator's word.
    pub reversals: u64,
    /// Corrections beyond the limit of their payer, which wait for a person now.
    pub held: u64,
    /// Charges that could not be posted, with the reason.
    pub failed: Vec<String>,
}

/// The first day that is not closed: its end is not fetched yet.
pub fn first_open_day(closed_until: Timestamp, zone: Tz) -> Option<Day> {
    Day::of(closed_until, zone)
}

/// Posts what is rated and not posted, for every day that is closed.
pub async fn post_charges(
    store: &Store,
    settings: &PostSettings,
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<PostReport, Error> {
    let mut report = PostReport::default();
    let Some(open) = first_open_day(settings.closed_until, settings.zone) else { return Ok(report) };
    if let Some(limit) = settings.correction_limit {
        report.held = corrections::hold(store, settings, limit, open, clock.now()).await?;
    }
    let mut failed: HashSet<(i64, i64, i64)> = HashSet::new();
    loop {
        let mut tx = store.begin().await?;
        let limit = CHARGES_PER_TRANSACTION + i64::try_from(failed.len()).unwrap_or(0);
        let charges: Vec<ChargeDay> = rating::list_unsettled(&mut tx, Some(open), limit)
            .await?
            .into_iter()
            .filter(|charge| !failed.contains(&(charge.account_id, charge.day, charge.usage_type)))
            .collect();
        if charges.is_empty() {
            corrections::close_overtaken(&mut tx, clock.now()).await?;
            tx.commit().await?;
            return Ok(report);
        }
        let mut desk = Desk::default();
        for charge in &charges {
            match post_charge(&mut tx, &mut desk, charge, settings, clock.now(), &mut report).await {
                Ok(()) => {}
                Err(Error::Store(error)) => return Err(Error::Store(error)),
                Err(error) => {
                    failed.insert((charge.account_id, charge.day, charge.usage_type));
                    report.failed.push(format!(
                        "account {} on {}, usage type {}: {error}",
                        charge.account_id,
                        Day::from_number(charge.day),
                        charge.usage_type
                    ));
                }
            }
        }
        tx.commit().await?;
        progress.step("charges posted", report.transfers, None);
    }
}

/// What one transaction has looked up already.
#[derive(Default)]
struct Desk {
    accounts: HashMap<i64, (PayerId, String)>,
    grants: HashMap<PayerId, Vec<rules::Grant>>,
}

impl Desk {
    async fn payer(&mut self, tx: &mut Tx, account: i64) -> Result<(PayerId, String), StoreError> {
        if let Some(known) = self.accounts.get(&account) {
            return Ok(known.clone());
        }
        let found = cloud::get_account(tx, AccountId::new(account)).await?;
        let known = (found.payer_id, found.full_name());
        self.accounts.insert(account, known.clone());
        Ok(known)
    }

    async fn grants(&mut self, tx: &mut Tx, payer: PayerId) -> Result<&mut Vec<rules::Grant>, StoreError> {
        match self.grants.entry(payer) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(slot) => {
                let grants = rows::list_grants(tx, Some(payer)).await?;
                Ok(slot.insert(grants.into_iter().map(|(_, grant)| grant).collect()))
            }
        }
    }
}

/// The net that a charge comes to, and the tax on it: cumulative, so that corrections never drift.
pub(super) fn due(charge: &ChargeDay, default_tax: TaxRate) -> Result<(Money, Money), Error> {
    let rate = match &charge.tax_percent {
        Some(text) => TaxRate::parse(text).map_err(|error| Error::BadAmount(error.to_string()))?,
        None => default_tax,
    };
    let net = Money::round_from_nanos(charge.net_nanos);
    Ok((net, rate.of(net)?))
}

/// Posts the difference between what is rated and what is posted; after a change of prices, the reversal of everything
/// and the whole anew.
async fn post_charge(
    tx: &mut Tx,
    desk: &mut Desk,
    charge: &ChargeDay,
    settings: &PostSettings,
    now: Timestamp,
    report: &mut PostReport,
) -> Result<(), Error> {
    let (net, tax) = due(charge, settings.tax)?;
    let posted = (Money::from_micros(charge.posted_net_micros), Money::from_micros(charge.posted_tax_micros));
    let mut number = charge.postings;
    let reversal = match charge.repost_item {
        Some(item) if charge.postings > 0 && (net, tax) != posted => {
            number += 1;
            let back = (posted.0.negated()?, posted.1.negated()?);
            let reverses = correction_rows::find_newest_charge(
                tx,
                AccountId::new(charge.account_id),
                Day::from_number(charge.day),
                charge.usage_type,
            )
            .await?;
            let why = Why::Reversal { item, reverses };
            post_amounts(tx, desk, charge, settings.zone, (number, back, why), now).await?;
            report.transfers += 1;
            report.reversals += 1;
            Some(item)
        }
        _ => None,
    };
    let before = if reversal.is_some() { (Money::ZERO, Money::ZERO) } else { posted };
    let more = (net.minus(before.0)?, tax.minus(before.1)?);
    if !more.0.is_zero() || !more.1.is_zero() {
        number += 1;
        let why = match reversal {
            Some(item) => Why::Anew { item },
            None if number == 1 => Why::Usage,
            None => Why::Correction(number - 1),
        };
        report.corrections += u64::from(matches!(why, Why::Correction(_)));
        post_amounts(tx, desk, charge, settings.zone, (number, more, why), now).await?;
        report.transfers += 1;
    }
    rating::settle_charge_day(tx, charge, net.as_micros(), tax.as_micros(), number - charge.postings).await?;
    Ok(())
}

/// Why an amount of usage is posted.
#[derive(Debug, Clone, Copy)]
enum Why {
    Usage,
    Correction(i64),
    Reversal { item: i64, reverses: Option<TransferId> },
    Anew { item: i64 },
}

/// Posts net and tax (below zero: given back) as posting `number` of a charge.
async fn post_amounts(
    tx: &mut Tx,
    desk: &mut Desk,
    charge: &ChargeDay,
    zone: Tz,
    (number, (net, tax), why): (i64, (Money, Money), Why),
    now: Timestamp,
) -> Result<(), Error> {
    let (payer, account_name) = desk.payer(tx, charge.account_id).await?;
    let account = AccountId::new(charge.account_id);
    let day = Day::from_number(charge.day);
    let gross = net.plus(tax)?;
    let end = day.next().start(zone).ok_or(MoneyError::Overflow)?;
    let usage_at = Timestamp::from_ms(end.as_ms() - 1);
    let grants = desk.grants(tx, payer).await?;
    let sources: Vec<(Source, Money)> = if gross.is_negative() {
        let paid_by = rows::list_paid_by(tx, account, day, charge.usage_type).await?;
        rules::give_back(gross.negated()?, &paid_by, grants, now)?
    } else {
        let mut burned = Vec::new();
        for (source, part) in rules::burn(gross, grants, usage_at, charge.usage_type)? {
            burned.push((source, part.negated()?));
        }
        burned
    };
    for (source, part) in &sources {
        if let Source::Grant(id) = source
            && let Some(grant) = grants.iter_mut().find(|grant| grant.id == *id)
        {
            grant.left = grant.left.plus(*part)?;
        }
    }
    let mut entries: Vec<(LedgerAccount, Money)> = sources
        .into_iter()
        .map(|(source, part)| match source {
            Source::Grant(id) => (LedgerAccount::Grant(payer, id), part),
            Source::Money => (LedgerAccount::Payer(payer), part),
        })
        .collect();
    if !net.is_zero() {
        entries.push((LedgerAccount::Revenue(charge.usage_type), net));
    }
    if !tax.is_zero() {
        entries.push((LedgerAccount::Tax, tax));
    }
    let (kind, reason, item_id, reverses) = match why {
        Why::Usage => ("charge", format!("usage of {account_name} on {day}"), None, None),
        Why::Correction(number) => (
            "correction",
            format!("correction {number} of {account_name} on {day}: CloudStack reported it differently"),
            None,
            None,
        ),
        Why::Reversal { item, reverses } => {
            ("reversal", format!("usage of {account_name} on {day} taken back: prices changed"), Some(item), reverses)
        }
        Why::Anew { item } => {
            ("charge", format!("usage of {account_name} on {day} at the new prices"), Some(item), None)
        }
    };
    let transfer = NewTransfer {
        key: format!("charge/{}/{}/{}/{number}", charge.account_id, day, charge.usage_type),
        kind,
        payer,
        at: usage_at,
        author: "bursar".to_owned(),
        reason,
        entries,
        charge: Some((account, day, charge.usage_type, number)),
    };
    let id = rows::post(tx, &transfer, now).await?;
    if let Some(item) = item_id {
        correction_rows::link_transfer(tx, id, item, reverses).await?;
    }
    Ok(())
}

/// Who does something to a payer, and why.
#[derive(Debug, Clone, Copy)]
pub struct Cause<'a> {
    /// Made by the caller; the same again changes nothing.
    pub key: &'a str,
    /// Who.
    pub author: &'a str,
    /// Why, for people.
    pub reason: &'a str,
}

/// Opens an epoch after what was just posted.
async fn open_epoch(
    tx: &mut Tx,
    payer: PayerId,
    cause: &str,
    default_limit: Option<Money>,
    tax: TaxRate,
    now: Timestamp,
) -> Result<Figures, Error> {
    let mut position: Position = standing::position_of(tx, payer, default_limit, tax).await?;
    position.epoch_available = None;
    let figures = Figures::of(&position, now)?;
    rows::open_epoch(tx, payer, cause, figures.available, now).await?;
    // What is told now is what every later look shows: Used begins anew with the epoch.
    position.epoch_available = Some(figures.available);
    Ok(Figures::of(&position, now)?)
}

/// Money that came in, now. Zero and negative amounts are refused: a refund is an entry of its own.
pub async fn add_payment(
    tx: &mut Tx,
    payer: PayerId,
    amount: Money,
    cause: Cause<'_>,
    defaults: (Option<Money>, TaxRate),
    now: Timestamp,
) -> Result<Figures, Error> {
    if !amount.is_positive() {
        return Err(Error::BadAmount(format!("a payment of {amount} is not possible; give an amount above zero")));
    }
    let known = rows::find_transfer(tx, &format!("payment/{}", cause.key)).await?;
    let transfer = NewTransfer {
        key: format!("payment/{}", cause.key),
        kind: "payment",
        payer,
        at: now,
        author: cause.author.to_owned(),
        reason: cause.reason.to_owned(),
        entries: vec![(LedgerAccount::Payer(payer), amount), (LedgerAccount::Received, amount.negated()?)],
        charge: None,
    };
    rows::post(tx, &transfer, now).await?;
    if known.is_some() {
        return Ok(Figures::of(&standing::position_of(tx, payer, defaults.0, defaults.1).await?, now)?);
    }
    audit(tx, payer, "payment.add", cause, &amount.to_string(), now).await?;
    open_epoch(tx, payer, "payment", defaults.0, defaults.1, now).await
}

/// What a payer brought in from before bursar: positive is credit, negative is debt. Once a payer.
pub async fn set_opening_balance(
    tx: &mut Tx,
    payer: PayerId,
    amount: Money,
    cause: Cause<'_>,
    defaults: (Option<Money>, TaxRate),
    now: Timestamp,
) -> Result<Figures, Error> {
    let key = format!("opening/{payer}");
    let known = rows::find_transfer(tx, &key).await?;
    if known.is_some() {
        return Err(Error::BadAmount("this payer has an opening balance already; it is set once".to_owned()));
    }
    let transfer = NewTransfer {
        key,
        kind: "opening",
        payer,
        at: now,
        author: cause.author.to_owned(),
        reason: cause.reason.to_owned(),
        entries: vec![(LedgerAccount::Payer(payer), amount), (LedgerAccount::Opening, amount.negated()?)],
        charge: None,
    };
    rows::post(tx, &transfer, now).await?;
    audit(tx, payer, "opening.set", cause, &amount.to_string(), now).await?;
    open_epoch(tx, payer, "opening", defaults.0, defaults.1, now).await
}

/// Dated credit by an administrator.
pub async fn add_grant(
    tx: &mut Tx,
    payer: PayerId,
    amount: Money,
    ends: Option<Timestamp>,
    cause: Cause<'_>,
    defaults: (Option<Money>, TaxRate),
    now: Timestamp,
) -> Result<Figures, Error> {
    if !amount.is_positive() {
        return Err(Error::BadAmount(format!("a grant of {amount} is not possible; give an amount above zero")));
    }
    if ends.is_some_and(|ends| ends <= now) {
        return Err(Error::BadAmount("the grant would end before it begins".to_owned()));
    }
    let key = format!("grant/{}", cause.key);
    let known = match rows::find_transfer(tx, &key).await? {
        Some(transfer) => rows::find_grant_of(tx, transfer).await?,
        None => None,
    };
    let grant = match known {
        Some(grant) => grant,
        None => rows::insert_grant(tx, payer, amount, now, ends, 0, cause.author, cause.reason, now).await?,
    };
    let transfer = NewTransfer {
        key,
        kind: "grant",
        payer,
        at: now,
        author: cause.author.to_owned(),
        reason: cause.reason.to_owned(),
        entries: vec![(LedgerAccount::Grant(payer, grant), amount), (LedgerAccount::Promotion, amount.negated()?)],
        charge: None,
    };
    // The same again is the same transfer; for another payer or another amount the key is refused.
    rows::post(tx, &transfer, now).await?;
    if known.is_some() {
        return Ok(Figures::of(&standing::position_of(tx, payer, defaults.0, defaults.1).await?, now)?);
    }
    audit(tx, payer, "grant.add", cause, &amount.to_string(), now).await?;
    open_epoch(tx, payer, "grant", defaults.0, defaults.1, now).await
}

/// The credit limit of a payer; None takes it out of management.
pub async fn set_limit(
    tx: &mut Tx,
    payer: PayerId,
    amount: Option<Money>,
    cause: Cause<'_>,
    defaults: (Option<Money>, TaxRate),
    now: Timestamp,
) -> Result<Figures, Error> {
    if amount.is_some_and(Money::is_negative) {
        return Err(Error::BadAmount("a credit limit can not be negative; 0 is prepaid".to_owned()));
    }
    let before = rows::list_limits(tx).await?.get(&payer).copied();
    if rows::insert_limit(tx, cause.key, payer, amount, cause.author, cause.reason, now).await?
        && before != Some(amount)
    {
        let shown = amount.map_or_else(|| "none".to_owned(), |amount| amount.to_string());
        audit(tx, payer, "limit.set", cause, &shown, now).await?;
        return open_epoch(tx, payer, "limit", defaults.0, defaults.1, now).await;
    }
    Ok(Figures::of(&standing::position_of(tx, payer, defaults.0, defaults.1).await?, now)?)
}

async fn audit(
    tx: &mut Tx,
    payer: PayerId,
    action: &str,
    cause: Cause<'_>,
    after: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: cause.author.to_owned(),
        action: action.to_owned(),
        subject: format!("payer {payer}"),
        after_state: Some(after.to_owned()),
        answer: Some(cause.reason.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}
