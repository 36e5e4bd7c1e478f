//! Promo codes: made, ended, redeemed, offered, and turned into grants by payments.
//!
//! Promises: a code is never redeemed more often than it may be, however many try at once; a redemption repeated under its key is
//! one redemption; a waiting code becomes a grant in the transaction of the payment that it waited for, once. A code that
//! ends while a redemption waits gives nothing any more.

use std::{collections::HashMap, time::Duration};

use super::{
    booking::{Cause, Defaults, figures, open_epoch},
    grants::{self, Terms},
    post,
    rules::{
        Figures,
        codes::{self, Code, Refusal, Worth},
    },
};
use crate::{
    ids::{AccountId, PayerId, TransferId},
    money::{Money, MoneyError},
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        payers,
        promo::{self as rows, Promo},
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// A grant lasts at most so many days: a century, so that sums of instants stay in the calendar.
const MAX_DAYS: i64 = 36_500;
/// Domains above an account at most: a bound for walking up a tree that might be a ring.
const MAX_DEPTH: usize = 100;
/// A note or a name has at most so many characters.
const MAX_NOTE: usize = 500;
/// Offers shown at most.
const MAX_OFFERS: i64 = 200;

/// Why a code was not made or not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A sentence for the person who typed the code.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The terms make no sense: for administrators.
    #[error("{0}")]
    BadTerms(String),
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] post::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The amounts do not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// A code to be made.
#[derive(Debug, Clone)]
pub struct NewPromo {
    /// As people write it.
    pub code: String,
    /// The terms that decide; `uses` and `closed` are not read.
    pub terms: Code,
    /// Shown as an offer to whom it is for.
    pub public: bool,
    /// Billing days that its grant pays for, the day on which it is given included; None: without end.
    pub grant_days: Option<i64>,
    /// The one usage type that its grant pays for.
    pub grant_scope: Option<i64>,
    /// The priority of its grant.
    pub grant_priority: i64,
    /// For administrators.
    pub note: String,
}

/// Makes a code.
pub async fn create(tx: &mut Tx, new: NewPromo, author: &str, now: Timestamp) -> Result<Promo, Error> {
    let bad = |text: &str| Error::BadTerms(text.to_owned());
    let code = codes::normalise(&new.code)
        .ok_or_else(|| bad("a code has 3 to 40 letters, digits, dashes or underscores, such as WELCOME-2026"))?;
    let terms = &new.terms;
    match terms.worth {
        Worth::Amount(amount) if !amount.is_positive() => return Err(bad("the amount must be above zero")),
        Worth::Percent { percent, .. }
            if percent <= rust_decimal::Decimal::ZERO || percent > rust_decimal::Decimal::ONE_HUNDRED =>
        {
            return Err(bad("the percentage must be above 0 and at most 100"));
        }
        Worth::Percent { most: Some(most), .. } if !most.is_positive() => {
            return Err(bad("the maximum must be above zero"));
        }
        _ => {}
    }
    if terms.valid_until.is_some_and(|until| until <= terms.valid_from) {
        return Err(bad("the code would end before it begins"));
    }
    if terms.total_uses.is_some_and(|uses| uses < 1) || terms.uses_per_account < 1 {
        return Err(bad("a code can be used once at least"));
    }
    if terms.min_payment.is_negative() {
        return Err(bad("the smallest payment can not be negative"));
    }
    if new.grant_days.is_some_and(|days| !(1..=MAX_DAYS).contains(&days)) {
        return Err(bad("its grant lasts at least one day, and a century at most"));
    }
    if new.note.chars().count() > MAX_NOTE {
        return Err(bad("the note is too long"));
    }
    let mut promo = Promo {
        id: 0,
        code,
        terms: Code { uses: 0, closed: false, ..new.terms },
        public: new.public,
        grant_days: new.grant_days,
        grant_scope: new.grant_scope,
        grant_priority: new.grant_priority,
        note: new.note,
        author: author.to_owned(),
        created: now,
        closed_by: None,
    };
    promo.id = rows::insert_promo(tx, &promo).await?;
    audit(tx, &promo.code, "promo.create", author, &promo.note, now).await?;
    Ok(promo)
}

/// Ends a code at once: it can not be redeemed any more, and redemptions that wait for a payment give nothing. Grants stay.
/// False where it was ended before.
pub async fn close(tx: &mut Tx, code: &str, author: &str, now: Timestamp) -> Result<bool, Error> {
    let promo = get(tx, code).await?;
    let closed = rows::close_promo(tx, promo.id, author, now).await?;
    if closed {
        audit(tx, &promo.code, "promo.close", author, "", now).await?;
    }
    Ok(closed)
}

/// The code that is written like this, for administrators.
pub async fn get(tx: &mut Tx, code: &str) -> Result<Promo, Error> {
    let found = match codes::normalise(code) {
        Some(code) => rows::find_promo(tx, &code).await?,
        None => None,
    };
    found.ok_or_else(|| {
        StoreError::Missing(format!("there is no code \"{}\"; `bursar promo list` shows them", shortened(code))).into()
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

/// What redeeming a code did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeemed {
    /// The redemption's number.
    pub redemption: i64,
    /// The code.
    pub code: String,
    /// What it gives.
    pub outcome: Outcome,
    /// The payer's figures right after.
    pub figures: Figures,
    /// The key had redeemed it before: nothing was done now.
    pub repeated: bool,
}

/// What a redemption gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A grant, at once.
    Granted {
        /// Its number.
        grant: i64,
        /// Of how much.
        amount: Money,
    },
    /// A grant with the next payment of at least so much.
    Waiting {
        /// The smallest payment that counts.
        min_payment: Money,
        /// What it will give.
        worth: Worth,
        /// Until when the payment has to come.
        until: Option<Timestamp>,
    },
}

/// Redeems a code for an account. The key of the cause makes it happen once.
pub async fn redeem(
    tx: &mut Tx,
    account: &Account,
    code: &str,
    cause: Cause<'_>,
    defaults: Defaults,
    now: Timestamp,
) -> Result<Redeemed, Error> {
    let code = codes::normalise(code).ok_or(Refusal::Unknown)?;
    // The payer first, then the code: whoever locks both does it in this order.
    payers::lock_payer(tx, account.payer_id).await?;
    let promo = rows::lock_promo(tx, &code).await?.ok_or(Refusal::Unknown)?;
    if let Some(known) = rows::find_redemption(tx, cause.key).await? {
        if known.code != promo.code || known.account_id != account.id {
            return Err(StoreError::Exists(format!(
                "the key \"{}\" was used before for something else; a new redemption wants a new key",
                cause.key
            ))
            .into());
        }
        let outcome = match (known.grant_id, known.amount_micros) {
            (Some(grant), Some(micros)) => Outcome::Granted { grant, amount: Money::from_micros(micros) },
            _ => waiting(&promo),
        };
        let figures = figures(tx, account.payer_id, defaults, now).await?;
        return Ok(Redeemed { redemption: known.id, code, outcome, figures, repeated: true });
    }
    let domains = domains_above(tx, &account.domain_id).await?;
    let used = rows::count_redemptions(tx, promo.id, account.id).await?;
    promo.terms.may_redeem(&domains, used, now)?;
    if !rows::count_use(tx, promo.id).await? {
        return Err(Refusal::UsedUp.into());
    }
    let redemption = rows::insert_redemption(tx, cause.key, promo.id, account.id, cause.author, now).await?;
    audit(tx, &promo.code, "promo.redeem", cause.author, &account.full_name(), now).await?;
    let (outcome, figures) = match promo.terms.worth {
        Worth::Amount(amount) if !promo.terms.waits_for_payment() => {
            let (grant, terms) =
                grant_of(tx, &promo, account.payer_id, redemption, amount, None, cause.author, now).await?;
            let figures = if grants::counts(&terms, now) {
                open_epoch(tx, account.payer_id, "promo", defaults, now).await?
            } else {
                figures(tx, account.payer_id, defaults, now).await?
            };
            (Outcome::Granted { grant, amount }, figures)
        }
        _ => (waiting(&promo), figures(tx, account.payer_id, defaults, now).await?),
    };
    Ok(Redeemed { redemption, code, outcome, figures, repeated: false })
}

const fn waiting(promo: &Promo) -> Outcome {
    Outcome::Waiting { min_payment: promo.terms.min_payment, worth: promo.terms.worth, until: promo.terms.valid_until }
}

/// Gives what a redemption is worth as a grant.
#[expect(
    clippy::too_many_arguments,
    reason = "one booking: of which code and redemption, whose, how much, why and when"
)]
async fn grant_of(
    tx: &mut Tx,
    promo: &Promo,
    payer: PayerId,
    redemption: i64,
    amount: Money,
    payment: Option<TransferId>,
    author: &str,
    now: Timestamp,
) -> Result<(i64, Terms), post::Error> {
    let days = promo.grant_days.map(|days| u64::try_from(days.clamp(1, MAX_DAYS)).unwrap_or(1));
    let terms = Terms {
        starts: now,
        ends: days.map(|days| now.plus(Duration::from_hours(days * 24))),
        priority: promo.grant_priority,
        scope: promo.grant_scope,
    };
    let key = redemption.to_string();
    let reason = format!("promo code {}", promo.code);
    let cause = Cause { key: &key, author, reason: &reason };
    let (grant, _) = grants::post(tx, payer, amount, &terms, "promo", cause, now).await?;
    rows::fulfil_redemption(tx, redemption, grant, payment, now).await?;
    Ok((grant, terms))
}

/// A code that turned into a grant with a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bonus {
    /// The code.
    pub code: String,
    /// The grant's number.
    pub grant: i64,
    /// Of how much.
    pub amount: Money,
}

/// A code that waits on after a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The code.
    pub code: String,
    /// Why: a sentence for the person who redeemed it.
    pub why: Refusal,
}

/// Turns what waits for this payment into grants. The caller has locked the payer, and opens the epoch.
pub(super) async fn turn_into_grants(
    tx: &mut Tx,
    payer: PayerId,
    payment: TransferId,
    amount: Money,
    author: &str,
    now: Timestamp,
) -> Result<(Vec<Bonus>, Vec<Waiting>), post::Error> {
    let (mut bonuses, mut waiting) = (Vec::new(), Vec::new());
    for redemption in rows::list_waiting(tx, payer).await? {
        let Some(promo) = rows::find_promo(tx, &redemption.code).await? else { continue };
        match promo.terms.with_payment(amount, now)? {
            Err(why) => waiting.push(Waiting { code: promo.code, why }),
            Ok(bonus) => {
                let (grant, _) = grant_of(tx, &promo, payer, redemption.id, bonus, Some(payment), author, now).await?;
                bonuses.push(Bonus { code: promo.code, grant, amount: bonus });
            }
        }
    }
    Ok((bonuses, waiting))
}

/// Public codes that this account could redeem now, newest first.
pub async fn list_offers(tx: &mut Tx, account: &Account, now: Timestamp) -> Result<Vec<Promo>, Error> {
    let domains = domains_above(tx, &account.domain_id).await?;
    let mut offers = Vec::new();
    for promo in rows::list_promos(tx, now, false, true, MAX_OFFERS).await? {
        let used = rows::count_redemptions(tx, promo.id, account.id).await?;
        if promo.terms.may_redeem(&domains, used, now).is_ok() {
            offers.push(promo);
        }
    }
    Ok(offers)
}

/// What an account redeemed, newest first: for its own pages.
pub async fn list_redeemed(tx: &mut Tx, account: AccountId, limit: i64) -> Result<Vec<rows::Redemption>, Error> {
    Ok(rows::list_redemptions(tx, None, Some(account), limit).await?)
}

/// A domain's id and those of every domain above it.
async fn domains_above(tx: &mut Tx, domain: &str) -> Result<Vec<String>, StoreError> {
    let parents: HashMap<String, Option<String>> =
        cloud::list_domains(tx).await?.into_iter().map(|domain| (domain.cloud_id, domain.parent_id)).collect();
    let mut above = vec![domain.to_owned()];
    while let Some(Some(parent)) = above.last().and_then(|last| parents.get(last)) {
        if above.len() >= MAX_DEPTH || above.contains(parent) {
            break;
        }
        above.push(parent.clone());
    }
    Ok(above)
}

async fn audit(
    tx: &mut Tx,
    code: &str,
    action: &str,
    author: &str,
    answer: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: author.to_owned(),
        action: action.to_owned(),
        subject: format!("promo {code}"),
        answer: (!answer.is_empty()).then(|| answer.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}
