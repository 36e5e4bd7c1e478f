//! What the figures of a payer are made of, now or at an earlier instant, straight from the entries.

use super::{StoreError, Tx, all, maybe};
use crate::{ids::PayerId, money::Money, time::Timestamp};

/// What transfers of one kind did to a payer's money or grants.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct KindSum {
    /// payer (money) or grant.
    pub source: String,
    /// The grant, where it is one.
    pub grant_id: Option<i64>,
    /// charge, correction, reversal, payment, grant, …
    pub kind: String,
    /// How many transfers.
    pub transfers: i64,
    /// Their sum, millionths.
    pub amount_micros: i64,
}

/// What moved a payer's money and grants, of transfers posted until `at`.
pub async fn list_kind_sums(tx: &mut Tx, payer: PayerId, at: Timestamp) -> Result<Vec<KindSum>, StoreError> {
    all!(
        tx,
        KindSum,
        "select a.kind as source, a.grant_id, t.kind, count(distinct t.id) as transfers, \
           cast(sum(e.amount_micros) as bigint) as amount_micros \
         from transfer t join entry e on e.transfer_id = t.id join ledger_account a on a.id = e.ledger_account_id \
         where a.payer_id = $1 and a.kind in ('payer', 'grant') and t.posted_ms <= $2 \
         group by a.kind, a.grant_id, t.kind order by a.kind desc, a.grant_id, t.kind",
        payer,
        at
    )
}

/// The credit limit in force at an instant: amount (None: not managed), author, reason, since when. None: never set.
pub async fn find_limit_at(
    tx: &mut Tx,
    payer: PayerId,
    at: Timestamp,
) -> Result<Option<(Option<Money>, String, String, Timestamp)>, StoreError> {
    let row = maybe!(
        tx,
        (Option<i64>, String, String, i64),
        "select amount_micros, author, reason, set_ms from credit_limit where payer_id = $1 and set_ms <= $2 \
         order by id desc limit 1",
        payer,
        at
    )?;
    Ok(row
        .map(|(micros, author, reason, set)| (micros.map(Money::from_micros), author, reason, Timestamp::from_ms(set))))
}

/// The postings of a charge: (transfer, number, kind, posted, net and tax in millionths, reason).
pub async fn list_postings(
    tx: &mut Tx,
    account: i64,
    day: i64,
    usage_type: i64,
) -> Result<Vec<(i64, i64, String, i64, i64, String)>, StoreError> {
    all!(
        tx,
        (i64, i64, String, i64, i64, String),
        "select t.id, t.number, t.kind, t.posted_ms, \
           cast(sum(case when a.kind in ('revenue', 'tax') then e.amount_micros else 0 end) as bigint), t.reason \
         from transfer t join entry e on e.transfer_id = t.id join ledger_account a on a.id = e.ledger_account_id \
         where t.account_id = $1 and t.day = $2 and t.usage_type = $3 \
         group by t.id, t.number, t.kind, t.posted_ms, t.reason order by t.number",
        account,
        day,
        usage_type
    )
}
