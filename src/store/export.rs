//! Rows as they leave bursar in files, a page at a time: a month of a large cloud never stands in memory.

use super::{StoreError, Tx, all};
use crate::{
    ids::{AccountId, PayerId},
    time::{Day, Timestamp},
};

/// Rows of a page.
pub const PAGE: i64 = 5_000;

/// Whose rows; both None: everybody's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Whose {
    /// Of one payer.
    pub payer: Option<PayerId>,
    /// Of one account.
    pub account: Option<AccountId>,
}

/// A current usage record.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct UsageRow {
    /// The record's key.
    pub key: Vec<u8>,
    /// The payer's number.
    pub payer_id: i64,
    /// The payer's name.
    pub payer: String,
    /// The account's CloudStack id.
    pub account_id: String,
    /// The domain's path.
    pub domain: String,
    /// The account's name.
    pub account: String,
    /// The project's name.
    pub project: Option<String>,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// CloudStack's id of the resource.
    pub resource_id: String,
    /// The resource's name.
    pub resource: String,
    /// CloudStack's id of the offering.
    pub offering_id: Option<String>,
    /// First instant.
    pub start_ms: i64,
    /// First instant after.
    pub end_ms: i64,
    /// Millionths of an hour, bytes or operations.
    pub quantity: i64,
    /// Bytes held.
    pub size_bytes: Option<i64>,
    /// Raw rows that it stands for.
    pub seen: i64,
}

/// Current usage records that start in `[from, until)` and are not summed up, after the last one of the page before.
pub async fn list_usage(
    tx: &mut Tx,
    whose: Whose,
    from: Timestamp,
    until: Timestamp,
    after: Option<&UsageRow>,
) -> Result<Vec<UsageRow>, StoreError> {
    let (start, key) = after.map_or((from.as_ms(), &[][..]), |row| (row.start_ms, &row.key[..]));
    all!(
        tx,
        UsageRow,
        "select r.key, a.payer_id, y.name as payer, a.cloud_id as account_id, a.domain_path as domain, a.name as account, \
           p.name as project, r.usage_type, s.cloud_id as resource_id, s.name as resource, o.cloud_id as offering_id, \
           r.start_ms, r.end_ms, coalesce(r.charged_quantity, r.quantity) as quantity, r.size_bytes, r.seen \
         from usage_record r join account a on a.id = r.account_id join payer y on y.id = a.payer_id \
           join resource s on s.id = r.resource_id left join resource o on o.id = r.offering_id \
           left join project p on p.id = r.project_id \
           left join (select account_id, max(closed_until_ms) as until_ms from compaction group by account_id) m \
             on m.account_id = r.account_id \
         where r.standing = 0 and r.start_ms >= $1 and r.start_ms < $2 and (r.start_ms > $1 or r.key > $3) \
           and (m.until_ms is null or r.start_ms >= m.until_ms) and ($4 is null or a.payer_id = $4) and ($5 is null or a.id = $5) \
         order by r.start_ms, r.key limit $6",
        start,
        until,
        key,
        whose.payer,
        whose.account,
        PAGE
    )
}

/// A record that began before its account's usage is summed up, and ends after it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RestRow {
    /// The record.
    #[sqlx(flatten)]
    pub record: UsageRow,
    /// Where the rest begins.
    pub until_ms: i64,
}

/// Records of which only the first part is summed up, where that ends in `[from, until)`: at most those of one day.
pub async fn list_rests(
    tx: &mut Tx,
    whose: Whose,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<RestRow>, StoreError> {
    all!(
        tx,
        RestRow,
        "select r.key, a.payer_id, y.name as payer, a.cloud_id as account_id, a.domain_path as domain, a.name as account, \
           p.name as project, r.usage_type, s.cloud_id as resource_id, s.name as resource, o.cloud_id as offering_id, \
           r.start_ms, r.end_ms, coalesce(r.charged_quantity, r.quantity) as quantity, r.size_bytes, r.seen, m.until_ms \
         from (select account_id, max(closed_until_ms) as until_ms from compaction group by account_id) m \
           join usage_record r on r.account_id = m.account_id and r.start_ms < m.until_ms and r.end_ms > m.until_ms \
           join account a on a.id = r.account_id join payer y on y.id = a.payer_id \
           join resource s on s.id = r.resource_id left join resource o on o.id = r.offering_id \
           left join project p on p.id = r.project_id \
         where r.standing = 0 and m.until_ms >= $1 and m.until_ms < $2 \
           and ($3 is null or a.payer_id = $3) and ($4 is null or a.id = $4) order by m.until_ms, r.key",
        from,
        until,
        whose.payer,
        whose.account
    )
}

/// A daily sum in place of records that are gone.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SumRow {
    /// The billing day.
    pub day: i64,
    /// The account's number in the store.
    pub account_row: i64,
    /// The place within the day.
    pub line: i64,
    /// The payer's number.
    pub payer_id: i64,
    /// The payer's name.
    pub payer: String,
    /// The account's CloudStack id.
    pub account_id: String,
    /// The domain's path.
    pub domain: String,
    /// The account's name.
    pub account: String,
    /// The project's name.
    pub project: Option<String>,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// CloudStack's id of the resource.
    pub resource_id: String,
    /// The resource's name.
    pub resource: String,
    /// CloudStack's id of the offering.
    pub offering_id: Option<String>,
    /// Millionths of an hour, bytes or operations.
    pub quantity: i64,
    /// Bytes held.
    pub size_bytes: Option<i64>,
    /// Records that touched the day.
    pub records: i64,
}

/// Daily sums of billing days in `[from, until)`, after the last one of the page before.
pub async fn list_sums(
    tx: &mut Tx,
    whose: Whose,
    from: Day,
    until: Day,
    after: Option<&SumRow>,
) -> Result<Vec<SumRow>, StoreError> {
    let (day, account, line) = after.map_or((from.number(), 0, -1), |row| (row.day, row.account_row, row.line));
    all!(
        tx,
        SumRow,
        "select d.day, a.id as account_row, d.line, a.payer_id, y.name as payer, a.cloud_id as account_id, \
           a.domain_path as domain, a.name as account, p.name as project, d.usage_type, s.cloud_id as resource_id, \
           s.name as resource, o.cloud_id as offering_id, d.quantity, d.size_bytes, d.records \
         from usage_daily d join account a on a.id = d.account_id join payer y on y.id = a.payer_id \
           join resource s on s.id = d.resource_id left join resource o on o.id = d.offering_id \
           left join project p on p.id = d.project_id \
         where d.day >= $1 and d.day < $2 \
           and (d.day > $1 or d.account_id > $3 or (d.account_id = $3 and d.line > $4)) \
           and ($5 is null or a.payer_id = $5) and ($6 is null or a.id = $6) order by d.day, d.account_id, d.line limit $7",
        day,
        until,
        account,
        line,
        whose.payer,
        whose.account,
        PAGE
    )
}

/// The charge of a billing day.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ChargeRow {
    /// The billing day.
    pub day: i64,
    /// The payer's number.
    pub payer_id: i64,
    /// The payer's name.
    pub payer: String,
    /// The account's number in the store.
    pub account_row: i64,
    /// The account's CloudStack id.
    pub account_id: String,
    /// The domain's path.
    pub domain: String,
    /// The account's name.
    pub account: String,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Net as rated, billionths.
    pub net_nanos: i64,
    /// Net posted, millionths.
    pub posted_net_micros: i64,
    /// Tax posted, millionths.
    pub posted_tax_micros: i64,
    /// How many transfers it took.
    pub postings: i64,
    /// 1 while what is rated differs from what is posted.
    pub unsettled: i64,
}

/// Charges of billing days in `[from, until)`, after the last one of the page before.
pub async fn list_charges(
    tx: &mut Tx,
    whose: Whose,
    from: Day,
    until: Day,
    after: Option<&ChargeRow>,
) -> Result<Vec<ChargeRow>, StoreError> {
    let (day, account, usage_type) =
        after.map_or((from.number(), 0, -1), |row| (row.day, row.account_row, row.usage_type));
    all!(
        tx,
        ChargeRow,
        "select c.day, a.payer_id, y.name as payer, a.id as account_row, a.cloud_id as account_id, a.domain_path as domain, \
           a.name as account, c.usage_type, c.net_nanos, c.posted_net_micros, c.posted_tax_micros, c.postings, c.unsettled \
         from charge_day c join account a on a.id = c.account_id join payer y on y.id = a.payer_id \
         where c.day >= $1 and c.day < $2 \
           and (c.day > $1 or c.account_id > $3 or (c.account_id = $3 and c.usage_type > $4)) \
           and ($5 is null or a.payer_id = $5) and ($6 is null or a.id = $6) \
         order by c.day, c.account_id, c.usage_type limit $7",
        day,
        until,
        account,
        usage_type,
        whose.payer,
        whose.account,
        PAGE
    )
}

/// An entry of the ledger.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct EntryRow {
    /// The transfer's number.
    pub transfer_id: i64,
    /// The entry's place in it.
    pub line: i64,
    /// The transfer's key.
    pub key: String,
    /// charge, payment …
    pub kind: String,
    /// When it counts.
    pub at_ms: i64,
    /// When it was posted.
    pub posted_ms: i64,
    /// The payer's number.
    pub payer_id: i64,
    /// The payer's name.
    pub payer: String,
    /// The account's CloudStack id, for charges.
    pub account_id: Option<String>,
    /// The domain's path, for charges.
    pub domain: Option<String>,
    /// The account's name, for charges.
    pub account: Option<String>,
    /// The billing day that was charged.
    pub day: Option<i64>,
    /// The usage type that was charged.
    pub usage_type: Option<i64>,
    /// Where it was booked: `payer:1`, `grant:3`, `revenue:1`, `tax` …
    pub ledger_account: String,
    /// How much.
    pub amount_micros: i64,
    /// Who caused it.
    pub author: String,
    /// Why.
    pub reason: String,
}

/// Entries of transfers that count in `[from, until)`, after the last one of the page before. Of one account: its charges only.
pub async fn list_entries(
    tx: &mut Tx,
    whose: Whose,
    from: Timestamp,
    until: Timestamp,
    after: Option<&EntryRow>,
) -> Result<Vec<EntryRow>, StoreError> {
    let (transfer, line) = after.map_or((0, -1), |row| (row.transfer_id, row.line));
    all!(
        tx,
        EntryRow,
        "select t.id as transfer_id, e.line, t.key, t.kind, t.at_ms, t.posted_ms, t.payer_id, y.name as payer, \
           a.cloud_id as account_id, a.domain_path as domain, a.name as account, t.day, t.usage_type, \
           l.name as ledger_account, e.amount_micros, t.author, t.reason \
         from transfer t join entry e on e.transfer_id = t.id join ledger_account l on l.id = e.ledger_account_id \
           join payer y on y.id = t.payer_id left join account a on a.id = t.account_id \
         where t.id >= $1 and (t.id > $1 or e.line > $2) and t.at_ms >= $3 and t.at_ms < $4 \
           and ($5 is null or t.payer_id = $5) and ($6 is null or t.account_id = $6) \
         order by t.id, e.line limit $7",
        transfer,
        line,
        from,
        until,
        whose.payer,
        whose.account,
        PAGE
    )
}
