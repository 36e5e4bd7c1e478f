//! The terms of grants, and what became of them. What is left of a grant is a balance of the ledger.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{ids::PayerId, money::Money, time::Timestamp};

/// The terms of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// From when it counts.
    pub starts: Timestamp,
    /// From when it no longer counts; None: never ends.
    pub ends: Option<Timestamp>,
    /// Lower burns first.
    pub priority: i64,
    /// The one usage type that it pays for; None: any.
    pub scope: Option<i64>,
}

/// A grant as people see it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct GrantRow {
    /// Its number.
    pub id: i64,
    /// Whose.
    pub payer_id: PayerId,
    /// The payer's name.
    pub payer: String,
    /// What was granted.
    pub amount_micros: i64,
    /// What is left.
    pub left_micros: i64,
    /// From when it counts.
    pub starts_ms: i64,
    /// From when it no longer counts.
    pub ends_ms: Option<i64>,
    /// Lower burns first.
    pub priority: i64,
    /// The one usage type that it pays for.
    pub scope_usage_type: Option<i64>,
    /// Why it was given.
    pub reason: String,
    /// By whom.
    pub author: String,
    /// When it was revoked, moved, or booked as lapsed.
    pub closed_ms: Option<i64>,
}

impl GrantRow {
    /// What is left.
    pub const fn left(&self) -> Money {
        Money::from_micros(self.left_micros)
    }

    /// waiting, active, ended, closed.
    pub fn state(&self, now: Timestamp) -> &'static str {
        if self.closed_ms.is_some() {
            "closed"
        } else if self.ends_ms.is_some_and(|ends| ends <= now.as_ms()) {
            "ended"
        } else if self.starts_ms > now.as_ms() {
            "waiting"
        } else {
            "active"
        }
    }

    /// The terms on which it was given.
    pub fn terms(&self) -> Terms {
        Terms {
            starts: Timestamp::from_ms(self.starts_ms),
            ends: self.ends_ms.map(Timestamp::from_ms),
            priority: self.priority,
            scope: self.scope_usage_type,
        }
    }
}

/// Stores a grant's terms and gives its number; the caller posts the transfer that funds it.
pub async fn insert_grant(
    tx: &mut Tx,
    payer: PayerId,
    amount: Money,
    terms: &Terms,
    author: &str,
    reason: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let begun = (terms.starts <= now).then_some(now);
    scalar!(
        tx,
        i64,
        "insert into credit_grant (payer_id, amount_micros, starts_ms, ends_ms, priority, scope_usage_type, reason, author, \
           created_ms, begun_ms) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning id",
        payer,
        amount.as_micros(),
        terms.starts,
        terms.ends,
        terms.priority,
        terms.scope,
        reason,
        author,
        now,
        begun
    )
}

/// A grant by its number.
pub async fn find_grant(tx: &mut Tx, id: i64) -> Result<Option<GrantRow>, StoreError> {
    maybe!(
        tx,
        GrantRow,
        "select g.id, g.payer_id, p.name as payer, g.amount_micros, coalesce(b.amount_micros, 0) as left_micros, g.starts_ms, \
           g.ends_ms, g.priority, g.scope_usage_type, g.reason, g.author, g.closed_ms \
         from credit_grant g join payer p on p.id = g.payer_id \
           left join ledger_account a on a.grant_id = g.id and a.kind = 'grant' \
           left join balance b on b.ledger_account_id = a.id where g.id = $1",
        id
    )
}

/// The newest grants, of one payer or of all, with the closed ones or without.
pub async fn list_grant_rows(
    tx: &mut Tx,
    payer: Option<PayerId>,
    with_closed: bool,
    limit: i64,
) -> Result<Vec<GrantRow>, StoreError> {
    all!(
        tx,
        GrantRow,
        "select g.id, g.payer_id, p.name as payer, g.amount_micros, coalesce(b.amount_micros, 0) as left_micros, g.starts_ms, \
           g.ends_ms, g.priority, g.scope_usage_type, g.reason, g.author, g.closed_ms \
         from credit_grant g join payer p on p.id = g.payer_id \
           left join ledger_account a on a.grant_id = g.id and a.kind = 'grant' \
           left join balance b on b.ledger_account_id = a.id \
         where ($1 is null or g.payer_id = $1) and ($2 = 1 or g.closed_ms is null) order by g.id desc limit $3",
        payer,
        i64::from(with_closed),
        limit
    )
}

/// Notes that nothing goes back to a grant any more; false where that was so already.
pub async fn close_grant(tx: &mut Tx, id: i64, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update credit_grant set closed_ms = $1 where id = $2 and closed_ms is null", now, id)? == 1)
}

/// Open grants that ended at `cutoff` or before, oldest first.
pub async fn list_lapsed(tx: &mut Tx, cutoff: Timestamp, limit: i64) -> Result<Vec<(i64, PayerId)>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64),
        "select id, payer_id from credit_grant where closed_ms is null and ends_ms is not null and ends_ms <= $1 \
         order by ends_ms, id limit $2",
        cutoff,
        limit
    )?;
    Ok(rows.into_iter().map(|(id, payer)| (id, PayerId::new(payer))).collect())
}

/// Payers with a grant that began or ended without an epoch so far.
pub async fn list_turned(tx: &mut Tx, now: Timestamp) -> Result<Vec<PayerId>, StoreError> {
    let rows = all!(
        tx,
        (i64,),
        "select distinct payer_id from credit_grant where closed_ms is null \
           and ((begun_ms is null and starts_ms <= $1) or (ended_ms is null and ends_ms <= $1)) order by payer_id",
        now
    )?;
    Ok(rows.into_iter().map(|(payer,)| PayerId::new(payer)).collect())
}

/// Notes the begins and ends of a payer's grants up to now, and gives how many of them change what is available.
pub async fn note_turns(tx: &mut Tx, payer: PayerId, now: Timestamp) -> Result<i64, StoreError> {
    let telling = scalar!(
        tx,
        i64,
        "select count(*) from credit_grant g left join ledger_account a on a.grant_id = g.id and a.kind = 'grant' \
           left join balance b on b.ledger_account_id = a.id \
         where g.payer_id = $1 and g.closed_ms is null and g.scope_usage_type is null and coalesce(b.amount_micros, 0) > 0 \
           and ((g.begun_ms is null and g.starts_ms <= $2) or (g.ended_ms is null and g.ends_ms <= $2))",
        payer,
        now
    )?;
    exec!(
        tx,
        "update credit_grant set begun_ms = $1 where payer_id = $2 and closed_ms is null and begun_ms is null and starts_ms <= $1",
        now,
        payer
    )?;
    exec!(
        tx,
        "update credit_grant set ended_ms = $1 where payer_id = $2 and closed_ms is null and ended_ms is null and ends_ms <= $1",
        now,
        payer
    )?;
    Ok(telling)
}

/// Grants of a payer that are still open, for moving them.
pub async fn list_open_grants(tx: &mut Tx, payer: PayerId) -> Result<Vec<GrantRow>, StoreError> {
    let mut rows = list_grant_rows(tx, Some(payer), false, i64::MAX).await?;
    rows.reverse();
    Ok(rows)
}
