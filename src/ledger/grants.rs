//! Grants: dated credit, given, revoked, begun, ended, and booked as lapsed.
//!
//! A grant counts from its start to its end. What is left at the end still pays for late usage of the days before; once the
//! look-back has passed nothing can come any more, and the rest is booked as lapsed by a transfer of its own (design 7.7).

use std::time::Duration;

use super::{
    booking::{Cause, Defaults, audit, figures, open_epoch},
    payments::by_hand,
    post::Error,
    rules::Figures,
};
use crate::{
    ids::PayerId,
    money::Money,
    store::{
        Store, StoreError, Tx, grants,
        ledger::{self as rows, LedgerAccount},
        payers,
    },
    time::Timestamp,
};

pub use crate::store::grants::Terms;

/// Grants booked as lapsed at one call: the next run of the job goes on.
const LAPSES_PER_CALL: i64 = 10_000;

/// What giving a grant did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// The grant's number.
    pub grant: i64,
    /// The figures right after.
    pub figures: Figures,
}

/// Dated credit by an administrator. It opens an epoch if it counts for Available now: one that begins later does so then,
/// one for a single service never does (design 7.7).
pub async fn give(
    tx: &mut Tx,
    payer: PayerId,
    amount: Money,
    terms: &Terms,
    cause: Cause<'_>,
    defaults: Defaults,
    now: Timestamp,
) -> Result<Given, Error> {
    payers::lock_payer(tx, payer).await?;
    let (grant, known) = post(tx, payer, amount, terms, "grant", cause, now).await?;
    if known {
        return Ok(Given { grant, figures: figures(tx, payer, defaults, now).await? });
    }
    let figures = if counts(terms, now) {
        open_epoch(tx, payer, "grant", defaults, now).await?
    } else {
        figures(tx, payer, defaults, now).await?
    };
    Ok(Given { grant, figures })
}

/// Whether a grant on these terms is part of what is available.
pub(super) fn counts(terms: &Terms, now: Timestamp) -> bool {
    terms.scope.is_none() && terms.starts <= now && terms.ends.is_none_or(|ends| now < ends)
}

/// Books a grant without an epoch: its number, and whether the key had given it before. The caller has locked the payer.
pub(super) async fn post(
    tx: &mut Tx,
    payer: PayerId,
    amount: Money,
    terms: &Terms,
    kind: &'static str,
    cause: Cause<'_>,
    now: Timestamp,
) -> Result<(i64, bool), Error> {
    if !amount.is_positive() {
        return Err(Error::BadAmount(format!("a grant of {amount} is not possible; give an amount above zero")));
    }
    let key = format!("{kind}/{}", cause.key);
    let known = match rows::find_transfer(tx, &key).await? {
        Some(transfer) => rows::find_grant_of(tx, transfer).await?,
        None => None,
    };
    let grant = match known {
        Some(grant) => {
            // The transfer knows the amount only; the start is left out, because without one it is the instant of the call.
            let stored = grants::find_grant(tx, grant).await?.map(|row| row.terms());
            if !stored.is_some_and(|stored| Terms { starts: terms.starts, ..stored } == *terms) {
                return Err(Error::Store(StoreError::Exists(format!(
                    "the key \"{}\" was used before for a grant on other terms; a new grant wants a new key",
                    cause.key
                ))));
            }
            grant
        }
        None if terms.ends.is_some_and(|ends| ends <= terms.starts || ends <= now) => {
            return Err(Error::BadAmount("the grant would end before it begins".to_owned()));
        }
        None => grants::insert_grant(tx, payer, amount, terms, cause.author, cause.reason, now).await?,
    };
    let entries = vec![(LedgerAccount::Grant(payer, grant), amount), (LedgerAccount::Promotion, amount.negated()?)];
    // The same again is the same transfer; for another payer or another amount the key is refused.
    rows::post(tx, &by_hand(key, kind, payer, cause, entries, now), now).await?;
    if known.is_none() {
        audit(tx, payer, "grant.add", cause, &format!("grant {grant}: {amount}"), now).await?;
    }
    Ok((grant, known.is_some()))
}

/// What revoking a grant did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// Whose it was.
    pub payer: PayerId,
    /// What was left, and is taken back.
    pub taken: Money,
    /// The figures right after.
    pub figures: Figures,
}

/// Takes back what is left of a grant. Done once: again, it takes nothing more. Corrections of charges that the grant paid go to
/// money from then on.
pub async fn revoke(
    tx: &mut Tx,
    grant: i64,
    cause: Cause<'_>,
    defaults: Defaults,
    now: Timestamp,
) -> Result<Revoked, Error> {
    let missing = || {
        Error::Store(StoreError::Missing(format!("there is no grant number {grant}; `bursar grant list` shows them")))
    };
    let payer = grants::find_grant(tx, grant).await?.ok_or_else(missing)?.payer_id;
    payers::lock_payer(tx, payer).await?;
    let row = grants::find_grant(tx, grant).await?.ok_or_else(missing)?;
    let key = format!("grant-revoke/{grant}");
    if row.closed_ms.is_some() {
        if rows::find_transfer(tx, &key).await?.is_none() {
            return Err(Error::BadAmount(format!("grant {grant} is closed: nothing of it is left to be taken back")));
        }
        return Ok(Revoked { payer, taken: Money::ZERO, figures: figures(tx, payer, defaults, now).await? });
    }
    let taken = row.left();
    close(tx, grant, payer, taken, &key, "grant-revoke", cause, now).await?;
    audit(tx, payer, "grant.revoke", cause, &format!("grant {grant}: {taken} taken back"), now).await?;
    let figures = if counts(&row.terms(), now) {
        open_epoch(tx, payer, "grant", defaults, now).await?
    } else {
        figures(tx, payer, defaults, now).await?
    };
    Ok(Revoked { payer, taken, figures })
}

/// Books what is left of a grant back, and notes that nothing goes to it any more.
#[expect(clippy::too_many_arguments, reason = "one booking: what, whose, how much, under which key, why and when")]
async fn close(
    tx: &mut Tx,
    grant: i64,
    payer: PayerId,
    left: Money,
    key: &str,
    kind: &'static str,
    cause: Cause<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    if left.is_positive() {
        let entries = vec![(LedgerAccount::Grant(payer, grant), left.negated()?), (LedgerAccount::Promotion, left)];
        rows::post(tx, &by_hand(key.to_owned(), kind, payer, cause, entries, now), now).await?;
    }
    grants::close_grant(tx, grant, now).await?;
    Ok(())
}

/// What booking lapsed grants did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Lapsed {
    /// How many grants were closed.
    pub grants: u64,
    /// What was left of them, in millionths.
    pub amount_micros: i64,
}

/// Books what is left of grants that ended at least `lookback` ago: no usage that they could pay for comes any more. Each
/// grant in a transaction of its own, under a key of its own; again, it changes nothing. The figures stay as they are: an ended
/// grant did not count any more.
pub async fn book_expired_grants(store: &Store, lookback: Duration, now: Timestamp) -> Result<Lapsed, Error> {
    let mut tx = store.read().await?;
    let due = grants::list_lapsed(&mut tx, now.minus(lookback), LAPSES_PER_CALL).await?;
    drop(tx);
    let mut lapsed = Lapsed::default();
    for (grant, payer) in due {
        let mut tx = store.begin().await?;
        payers::lock_payer(&mut tx, payer).await?;
        let Some(row) = grants::find_grant(&mut tx, grant).await?.filter(|row| row.closed_ms.is_none()) else {
            continue;
        };
        let (key, left) = (format!("grant-expiry/{grant}"), row.left());
        let reason = format!("grant {grant} ended: {}", row.reason);
        let cause = Cause { key: &key, author: "bursar", reason: &reason };
        close(&mut tx, grant, payer, left, &key, "grant-expiry", cause, now).await?;
        tx.commit().await?;
        lapsed.grants += 1;
        lapsed.amount_micros = Money::from_micros(lapsed.amount_micros).plus(left)?.as_micros();
    }
    Ok(lapsed)
}

/// Opens an epoch for payers of whom a grant has begun or ended since the last call, with something left of it: what is
/// allocated to them changed, though nobody did anything just now. Gives how many epochs were opened.
pub async fn open_turned_epochs(store: &Store, defaults: Defaults, now: Timestamp) -> Result<u64, Error> {
    let mut tx = store.read().await?;
    let payers = grants::list_turned(&mut tx, now).await?;
    drop(tx);
    let mut opened = 0;
    for payer in payers {
        let mut tx = store.begin().await?;
        payers::lock_payer(&mut tx, payer).await?;
        if grants::note_turns(&mut tx, payer, now).await? > 0 {
            open_epoch(&mut tx, payer, "grant", defaults, now).await?;
            opened += 1;
        }
        tx.commit().await?;
    }
    Ok(opened)
}
