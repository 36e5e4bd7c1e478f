//! Payers: several accounts of one customer under one limit and one ledger, and the terms that an administrator sets.
//!
//! A join moves everything by booked transfers: money or debt, and what is left of each grant on the terms it was given on. What
//! was charged stays with its account; what is not charged yet is the customer's from then on. It is refused where it would change
//! what somebody pays without anybody having said so: other tax, class or billing start; limits without a word about the new one.

use chrono_tz::Tz;

use super::{
    booking::{Cause, Defaults, audit, figures, open_epoch},
    grants::{self, Terms},
    limits,
    payments::by_hand,
    post::Error,
    rules::Figures,
};
use crate::{
    ids::PayerId,
    money::Money,
    store::{
        StoreError, Tx,
        cloud::Account,
        compaction, grants as grant_rows,
        ledger::{self as rows, LedgerAccount},
        payers::{self, PayerRow},
    },
    time::{Day, Timestamp},
};

/// A customer's name has at most so many characters.
const MAX_NAME: usize = 200;

/// What joining did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The customer.
    pub payer: PayerId,
    /// The accounts that were moved now, with the money (below zero: debt) and the grants that came along.
    pub moved: Vec<(String, Money, Money)>,
    /// The customer's figures right after.
    pub figures: Figures,
}

/// The payer that a person means: a number, a name, or an account that it pays for.
pub async fn resolve(tx: &mut Tx, word: &str) -> Result<PayerRow, StoreError> {
    if let Ok(number) = word.parse()
        && let Some(row) = payers::find_payer_row(tx, PayerId::new(number)).await?
    {
        return Ok(row);
    }
    if let Some(customer) = find_customer(tx, word).await? {
        return Ok(customer);
    }
    let account = crate::store::cloud::resolve_account(tx, word).await.map_err(|error| match error {
        StoreError::Missing(text) if text.starts_with("no account") => {
            StoreError::Missing(format!("no payer and no account is called \"{word}\"; `bursar payer list` shows them"))
        }
        other => other,
    })?;
    payers::find_payer_row(tx, account.payer_id)
        .await?
        .ok_or_else(|| StoreError::Missing(format!("there is no payer number {}", account.payer_id)))
}

async fn find_customer(tx: &mut Tx, name: &str) -> Result<Option<PayerRow>, StoreError> {
    Ok(payers::list_payer_rows(tx).await?.into_iter().find(|row| row.kind == "customer" && row.name == name))
}

/// What applies to a join.
#[derive(Debug, Clone, Copy)]
pub struct JoinTerms {
    /// What applies to payers that have nothing of their own.
    pub defaults: Defaults,
    /// What the customer may run up (None inside: not managed). It may be left out where none of the joined payers has a limit
    /// of its own, or the customer has one.
    pub limit: Option<Option<Money>>,
    /// Zone of billing days.
    pub zone: Tz,
}

/// Puts accounts under one customer, which is made if nobody is called so. An account that is there already stays; nothing is
/// done for it.
pub async fn join(
    tx: &mut Tx,
    accounts: &[Account],
    name: &str,
    terms: JoinTerms,
    cause: Cause<'_>,
    now: Timestamp,
) -> Result<Joined, Error> {
    let JoinTerms { defaults, limit, zone } = terms;
    let bad = |text: String| Error::BadAmount(text);
    let name = name.trim();
    if name.is_empty()
        || name.chars().count() > MAX_NAME
        || name.chars().any(char::is_control)
        || name.parse::<i64>().is_ok()
    {
        return Err(bad("a customer's name is a line of text and not a number".to_owned()));
    }
    let customer = find_customer(tx, name).await?;
    let mut moving: Vec<(&Account, PayerRow)> = Vec::new();
    for account in accounts {
        if customer.as_ref().is_some_and(|customer| customer.id == account.payer_id)
            || moving.iter().any(|(other, _)| other.id == account.id)
        {
            continue;
        }
        let row = payers::find_payer_row(tx, account.payer_id)
            .await?
            .ok_or_else(|| StoreError::Missing(format!("there is no payer number {}", account.payer_id)))?;
        if row.kind == "customer" || row.accounts != 1 {
            return Err(bad(format!(
                "{} belongs to the customer \"{}\" already; nothing was changed",
                account.full_name(),
                row.name
            )));
        }
        moving.push((account, row));
    }
    let Some((_, first)) = moving.first() else {
        let customer = customer.ok_or_else(|| bad("name the accounts to be joined".to_owned()))?;
        return Ok(Joined {
            payer: customer.id,
            moved: vec![],
            figures: figures(tx, customer.id, defaults, now).await?,
        });
    };
    let model = customer.as_ref().unwrap_or(first);
    for (account, row) in &moving {
        let same = row.class == model.class
            && row.billing_start_day == model.billing_start_day
            && row.tax_percent == model.tax_percent;
        if !same {
            return Err(bad(format!(
                "{} has another class, billing start or tax rate than {}; make them equal first. Nothing was changed",
                account.full_name(),
                model.name
            )));
        }
    }
    let limits = rows::list_limits(tx).await?;
    let own_limit = customer.as_ref().and_then(|customer| limits.get(&customer.id).copied());
    let named: Vec<&Account> =
        moving.iter().filter(|(_, row)| limits.contains_key(&row.id)).map(|(account, _)| *account).collect();
    if limit.is_none()
        && own_limit.is_none()
        && let Some(account) = named.first()
    {
        return Err(bad(format!(
            "{} has a credit limit of its own, and a customer has one for all its accounts: say which. Nothing was changed",
            account.full_name()
        )));
    }
    let payer = if let Some(customer) = &customer {
        customer.id
    } else {
        let (class, tax) = (first.class.as_deref(), first.tax_percent.as_deref());
        payers::insert_customer(tx, name, class, first.billing_start_day, tax, now).await?
    };
    let mut locked: Vec<PayerId> = moving.iter().map(|(_, row)| row.id).chain([payer]).collect();
    // Always in the same order, so that two joins wait for each other and not on each other.
    locked.sort_unstable();
    for payer in locked {
        payers::lock_payer(tx, payer).await?;
    }
    let mut moved = Vec::new();
    for (account, row) in &moving {
        let (money, granted) = bring_over(tx, account, row.id, payer, name, cause, defaults, now).await?;
        moved.push((account.full_name(), money, granted));
    }
    if let Some(limit) = limit {
        let key = format!("limit/{}", cause.key);
        limits::set_limit(tx, payer, limit, Cause { key: &key, ..cause }, defaults, now).await?;
    }
    // Tiers count by payer and month: this month's are the customer's.
    if let Some(month) = Day::of(now, zone).and_then(Day::month).and_then(|month| month.period(zone))
        && let Some(day) = Day::of(month.start(), zone)
    {
        payers::mark_charged_from(tx, payer, day).await?;
    }
    let names: Vec<&str> = moved.iter().map(|(name, _, _)| name.as_str()).collect();
    audit(tx, payer, "payer.join", cause, &format!("{name}: {}", names.join(", ")), now).await?;
    let figures = open_epoch(tx, payer, "join", defaults, now).await?;
    Ok(Joined { payer, moved, figures })
}

/// Moves one account with its money and grants: (money, what was left of grants).
#[expect(clippy::too_many_arguments, reason = "whose account goes from whom to whom, why, and what applies")]
async fn bring_over(
    tx: &mut Tx,
    account: &Account,
    from: PayerId,
    into: PayerId,
    name: &str,
    cause: Cause<'_>,
    defaults: Defaults,
    now: Timestamp,
) -> Result<(Money, Money), Error> {
    payers::move_account(tx, account.id, from, into).await?;
    // An account is joined once: its number is key enough.
    let id = account.id;
    let (out, arrived) =
        (format!("{} joined the customer {name}", account.full_name()), format!("{} joined", account.full_name()));
    let leaving = Cause { reason: &out, ..cause };
    let arriving = Cause { reason: &arrived, ..cause };
    let money = rows::get_balance(tx, LedgerAccount::Payer(from)).await?;
    if !money.is_zero() {
        let there = vec![(LedgerAccount::Payer(from), money.negated()?), (LedgerAccount::Joined, money)];
        rows::post(tx, &by_hand(format!("join/{id}/{from}"), "join", from, leaving, there, now), now).await?;
        let here = vec![(LedgerAccount::Payer(into), money), (LedgerAccount::Joined, money.negated()?)];
        rows::post(tx, &by_hand(format!("join/{id}/{into}"), "join", into, arriving, here, now), now).await?;
    }
    let mut granted = Money::ZERO;
    for grant in grant_rows::list_open_grants(tx, from).await? {
        let left = grant.left();
        if left.is_positive() {
            let number = grant.id;
            let there = vec![(LedgerAccount::Grant(from, number), left.negated()?), (LedgerAccount::Joined, left)];
            let key = format!("join/{id}/grant/{number}");
            rows::post(tx, &by_hand(key, "join", from, leaving, there, now), now).await?;
            let terms: Terms = grant.terms();
            let new = grant_rows::insert_grant(tx, into, left, &terms, &grant.author, &grant.reason, now).await?;
            let here = vec![(LedgerAccount::Grant(into, new), left), (LedgerAccount::Joined, left.negated()?)];
            let key = format!("join/{id}/grant/{number}/as/{new}");
            rows::post(tx, &by_hand(key, "join", into, arriving, here, now), now).await?;
            if grants::counts(&terms, now) {
                granted = granted.plus(left)?;
            }
        }
        grant_rows::close_grant(tx, grant.id, now).await?;
    }
    let key = format!("limit/join/{id}/{from}");
    limits::set_limit(tx, from, None, Cause { key: &key, ..leaving }, defaults, now).await?;
    payers::retire_payer(tx, from, into).await?;
    Ok((money, granted))
}

/// Sets a payer's first billing day, or leaves it to the cloud's (None), and asks for every day that this concerns to be rated
/// again: usage before is kept and never charged. Gives how many days wait to be rated for it.
pub async fn set_billing_start(
    tx: &mut Tx,
    payer: PayerId,
    day: Option<Day>,
    zone: Tz,
    cause: Cause<'_>,
    now: Timestamp,
) -> Result<u64, Error> {
    payers::lock_payer(tx, payer).await?;
    let row = payers::find_payer_row(tx, payer)
        .await?
        .ok_or_else(|| StoreError::Missing(format!("there is no payer number {payer}")))?;
    let before = row.billing_start_day.map(Day::from_number);
    if before == day {
        return Ok(0);
    }
    payers::put_billing_start(tx, payer, day).await?;
    // Only days from the earlier of the two on change; the cloud's own start is not known here, so without one it is every day.
    let first = before.zip(day).map(|(before, day)| before.min(day));
    let mut marked = 0;
    let mut spans = Vec::new();
    for (account, begins, ends) in payers::list_usage_spans(tx, payer).await? {
        let (Some(at), Some(last)) = (Day::of(begins, zone), Day::of(ends, zone)) else { continue };
        spans.push((account, at, last));
    }
    // Days that are summed up keep what they cost: rating takes them off the list again, and says so.
    spans.extend(compaction::list_summed_days(tx, payer).await?);
    for (account, mut at, last) in spans {
        if let Some(first) = first {
            at = at.max(first);
        }
        while at <= last {
            payers::mark_day(tx, account, at).await?;
            marked += 1;
            at = at.next();
        }
    }
    let shown = day.map_or_else(|| "as the cloud".to_owned(), |day| day.to_string());
    audit(tx, payer, "payer.billing-start", cause, &shown, now).await?;
    Ok(marked)
}

/// Sets a payer's class of policy; None: the default applies.
pub async fn set_class(
    tx: &mut Tx,
    payer: PayerId,
    class: Option<&str>,
    cause: Cause<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    if class.is_some_and(|class| class.is_empty() || class.len() > 60 || class.chars().any(char::is_control)) {
        return Err(Error::BadAmount("a class has a short name".to_owned()));
    }
    payers::lock_payer(tx, payer).await?;
    payers::put_class(tx, payer, class).await?;
    audit(tx, payer, "payer.class", cause, class.unwrap_or("none"), now).await?;
    Ok(())
}
