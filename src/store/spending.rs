//! What was spent, for pages and reports about one account or one payer: charges of days, the records behind them, and
//! the corrections among the bookings. Every query names whose it is.

use std::collections::HashMap;

use super::{StoreError, Tx, all, maybe};
use crate::{
    ids::{AccountId, PayerId},
    store::{compaction::NamedSum, rating::RatableRow},
    time::{Day, Period, Timestamp},
};

/// Names are looked up so many at once.
const NAMES_AT_ONCE: usize = 16;

/// Whose spending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// One account's.
    Account(AccountId),
    /// That of all accounts of a payer.
    Payer(PayerId),
}

impl Of {
    const fn account(self) -> Option<i64> {
        match self {
            Self::Account(id) => Some(id.get()),
            Self::Payer(_) => None,
        }
    }

    const fn payer(self) -> Option<i64> {
        match self {
            Self::Account(_) => None,
            Self::Payer(id) => Some(id.get()),
        }
    }
}

/// The charge of a day, account and usage type, with how far it is booked.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SpentRow {
    /// The billing day.
    pub day: i64,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Records that touch the day.
    pub records: i64,
    /// Of them, those without a price.
    pub unpriced: i64,
    /// Of them, those that could not be priced.
    pub failed: i64,
    /// Net as rated, billionths.
    pub net_nanos: i64,
    /// Tax in percent; None: as configured.
    pub tax_percent: Option<String>,
    /// Net posted so far, millionths.
    pub posted_net_micros: i64,
    /// Tax posted so far, millionths.
    pub posted_tax_micros: i64,
    /// How many transfers it took.
    pub postings: i64,
    /// 0 posted as rated, 1 to be posted, 2 a correction that waits for a person, 3 one that a person refused.
    pub unsettled: i64,
}

/// Charges of billing days in `[from, until)`.
pub async fn list_spent(tx: &mut Tx, of: Of, from: Day, until: Day) -> Result<Vec<SpentRow>, StoreError> {
    all!(
        tx,
        SpentRow,
        "select day, usage_type, records, unpriced, failed, net_nanos, tax_percent, posted_net_micros, posted_tax_micros, \
           postings, unsettled from charge_day \
         where account_id in (select id from account where ($1 is null or id = $1) and ($2 is null or payer_id = $2)) \
           and day >= $3 and day < $4 order by day, usage_type, account_id",
        of.account(),
        of.payer(),
        from,
        until
    )
}

/// What is posted, gross millionths, by day in `[from, until)`; what is still to be posted is in [`list_open`] and not here.
pub async fn list_posted_by_day(tx: &mut Tx, of: Of, from: Day, until: Day) -> Result<Vec<(i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64),
        "select day, cast(sum(posted_net_micros + posted_tax_micros) as bigint) from charge_day \
         where account_id in (select id from account where ($1 is null or id = $1) and ($2 is null or payer_id = $2)) \
           and day >= $3 and day < $4 and unsettled <> 1 group by day order by day",
        of.account(),
        of.payer(),
        from,
        until
    )
}

/// Charges of billing days in `[from, until)` that are to be posted.
pub async fn list_open(tx: &mut Tx, of: Of, from: Day, until: Day) -> Result<Vec<SpentRow>, StoreError> {
    all!(
        tx,
        SpentRow,
        "select day, usage_type, records, unpriced, failed, net_nanos, tax_percent, posted_net_micros, posted_tax_micros, \
           postings, unsettled from charge_day \
         where account_id in (select id from account where ($1 is null or id = $1) and ($2 is null or payer_id = $2)) \
           and day >= $3 and day < $4 and unsettled = 1 order by day, usage_type, account_id",
        of.account(),
        of.payer(),
        from,
        until
    )
}

/// How many accounts a payer has.
pub async fn count_accounts(tx: &mut Tx, payer: PayerId) -> Result<i64, StoreError> {
    let count = maybe!(tx, (i64,), "select count(*) from account where payer_id = $1", payer)?;
    Ok(count.map_or(0, |(count,)| count))
}

/// A charged record with the numbers of what it is about.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ThingRow {
    /// Sixteen bytes.
    pub key: Vec<u8>,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Number of the resource.
    pub resource_id: i64,
    /// The project, where it is a project's.
    pub project_id: Option<i64>,
    /// Number of the offering.
    pub offering_id: Option<i64>,
    /// Number of what else is known of the thing.
    pub attributes_id: Option<i64>,
    /// First instant, ms.
    pub start_ms: i64,
    /// First instant after, ms.
    pub end_ms: i64,
    /// Millionths of an hour, bytes or operations: what is charged.
    pub quantity: i64,
    /// Bytes held.
    pub size_bytes: Option<i64>,
}

impl From<&ThingRow> for RatableRow {
    fn from(row: &ThingRow) -> Self {
        Self {
            usage_type: row.usage_type,
            offering_id: row.offering_id,
            attributes_id: row.attributes_id,
            start_ms: row.start_ms,
            end_ms: row.end_ms,
            quantity: row.quantity,
            size_bytes: row.size_bytes,
        }
    }
}

/// Charged records of an account (or of one resource of it) that touch a period, in the order in which they are priced.
/// None is longer than `reach_ms`.
pub async fn list_things(
    tx: &mut Tx,
    account: AccountId,
    resource: Option<i64>,
    period: Period,
    reach_ms: i64,
) -> Result<Vec<ThingRow>, StoreError> {
    all!(
        tx,
        ThingRow,
        "select key, usage_type, resource_id, project_id, offering_id, attributes_id, start_ms, end_ms, \
           coalesce(charged_quantity, quantity) as quantity, size_bytes from usage_record \
         where account_id = $1 and standing = 0 and start_ms >= $2 and start_ms < $3 and end_ms > $4 \
           and ($5 is null or resource_id = $5) order by start_ms, key",
        account,
        Timestamp::from_ms(period.start().as_ms().saturating_sub(reach_ms)),
        period.end(),
        period.start(),
        resource
    )
}

/// Which records are asked for.
#[derive(Debug, Clone, Copy)]
pub struct RecordsOf<'r> {
    /// Whose.
    pub account: AccountId,
    /// Number of the resource; None: of all.
    pub resource: Option<i64>,
    /// Of one usage type only.
    pub usage_type: Option<i64>,
    /// They touch it.
    pub period: Period,
    /// None is longer, ms.
    pub reach_ms: i64,
    /// Behind the record that starts there and has that key.
    pub after: (i64, &'r [u8]),
}

/// Charged records of a resource or of all of an account, a page of them.
pub async fn list_records_of(tx: &mut Tx, of: RecordsOf<'_>, limit: i64) -> Result<Vec<ThingRow>, StoreError> {
    let first = of.period.start().as_ms().saturating_sub(of.reach_ms).max(of.after.0);
    all!(
        tx,
        ThingRow,
        "select key, usage_type, resource_id, project_id, offering_id, attributes_id, start_ms, end_ms, \
           coalesce(charged_quantity, quantity) as quantity, size_bytes from usage_record \
         where account_id = $1 and ($2 is null or resource_id = $2) and standing = 0 and start_ms >= $3 and start_ms < $4 \
           and end_ms > $5 and (start_ms > $6 or (start_ms = $6 and key > $7)) and ($8 is null or usage_type = $8) \
         order by start_ms, key limit $9",
        of.account,
        of.resource,
        first,
        of.period.end(),
        of.period.start(),
        of.after.0,
        of.after.1,
        of.usage_type,
        limit
    )
}

/// A daily sum in place of records that are gone.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SumRow {
    /// The billing day.
    pub day: i64,
    /// What is kept of it.
    #[sqlx(flatten)]
    pub sum: NamedSum,
}

/// What is kept of records that are gone, of a resource or of all of an account, of billing days in `[from, until)`.
pub async fn list_sums_of(
    tx: &mut Tx,
    account: AccountId,
    resource: Option<i64>,
    usage_type: Option<i64>,
    (from, until): (Day, Day),
) -> Result<Vec<SumRow>, StoreError> {
    all!(
        tx,
        SumRow,
        "select d.day, d.usage_type, s.cloud_id as resource, s.name, o.cloud_id as offering, o.name as offering_name, \
           d.size_bytes, d.records, d.quantity from usage_daily d join resource s on s.id = d.resource_id \
           left join resource o on o.id = d.offering_id \
         where d.account_id = $1 and ($2 is null or d.resource_id = $2) and ($3 is null or d.usage_type = $3) \
           and d.day >= $4 and d.day < $5 \
         order by d.day, d.line",
        account,
        resource,
        usage_type,
        from,
        until
    )
}

/// The number of a resource by CloudStack's id.
pub async fn find_resource(tx: &mut Tx, cloud_id: &str) -> Result<Option<i64>, StoreError> {
    Ok(maybe!(tx, (i64,), "select id from resource where cloud_id = $1", cloud_id)?.map(|(id,)| id))
}

/// What resources or offerings are, by number: (CloudStack's id, name).
pub async fn list_names(tx: &mut Tx, ids: &[i64]) -> Result<HashMap<i64, (String, String)>, StoreError> {
    let mut names = HashMap::new();
    for chunk in ids.chunks(NAMES_AT_ONCE) {
        // Places that are left over ask for the first one again.
        let id = |place: usize| chunk.get(place).or(chunk.first()).copied().unwrap_or_default();
        let rows = all!(
            tx,
            (i64, String, String),
            "select id, cloud_id, name from resource \
             where id in ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) order by id",
            id(0),
            id(1),
            id(2),
            id(3),
            id(4),
            id(5),
            id(6),
            id(7),
            id(8),
            id(9),
            id(10),
            id(11),
            id(12),
            id(13),
            id(14),
            id(15)
        )?;
        names.extend(rows.into_iter().map(|(id, cloud_id, name)| (id, (cloud_id, name))));
    }
    Ok(names)
}

/// The name of a resource or offering by CloudStack's id, where it is known.
pub async fn find_name(tx: &mut Tx, cloud_id: &str) -> Result<Option<String>, StoreError> {
    Ok(maybe!(tx, (String,), "select name from resource where cloud_id = $1 and name <> ''", cloud_id)?
        .map(|(name,)| name))
}

/// A project by number: (CloudStack's id, name).
pub async fn find_project(tx: &mut Tx, id: i64) -> Result<Option<(String, String)>, StoreError> {
    maybe!(tx, (String, String), "select cloud_id, name from project where id = $1", id)
}

/// The name of a project by CloudStack's id, where it is known.
pub async fn find_project_name(tx: &mut Tx, cloud_id: &str) -> Result<Option<String>, StoreError> {
    Ok(maybe!(tx, (String,), "select name from project where cloud_id = $1", cloud_id)?.map(|(name,)| name))
}

/// The tags of a number of attributes, as JSON.
pub async fn find_tags(tx: &mut Tx, attributes: i64) -> Result<Option<String>, StoreError> {
    Ok(maybe!(tx, (Option<String>,), "select tags from usage_attributes where id = $1", attributes)?
        .and_then(|(tags,)| tags))
}

/// A booking that changed what a day had cost before.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CorrectionRow {
    /// correction; reversal and charge: a day at other prices.
    pub kind: String,
    /// The day that it is about.
    pub day: i64,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// When it was booked.
    pub posted_ms: i64,
    /// Net, millionths; below zero: given back.
    pub net_micros: i64,
    /// Tax, millionths.
    pub tax_micros: i64,
}

/// Which corrections are asked for.
#[derive(Debug, Clone, Copy)]
pub struct CorrectionsOf {
    /// Whose.
    pub account: AccountId,
    /// Who pays for it.
    pub payer: PayerId,
    /// They concern billing days from one on, up to before another;
    pub days: (Day, Day),
    /// or they were booked in that time,
    pub booked: (Timestamp, Timestamp),
    /// and concern nothing older.
    pub oldest: Timestamp,
}

/// Corrections of an account, those booked last first.
pub async fn list_corrections(tx: &mut Tx, of: CorrectionsOf, limit: i64) -> Result<Vec<CorrectionRow>, StoreError> {
    all!(
        tx,
        CorrectionRow,
        "select t.kind, t.day, t.usage_type, t.posted_ms, \
           cast(sum(case when a.kind = 'revenue' then e.amount_micros else 0 end) as bigint) as net_micros, \
           cast(sum(case when a.kind = 'tax' then e.amount_micros else 0 end) as bigint) as tax_micros \
         from transfer t join entry e on e.transfer_id = t.id join ledger_account a on a.id = e.ledger_account_id \
         where t.payer_id = $2 and t.account_id = $1 and t.number > 1 and t.kind in ('correction', 'reversal', 'charge') \
           and t.at_ms >= $7 and t.at_ms < $6 \
           and ((t.day >= $3 and t.day < $4) or (t.posted_ms >= $5 and t.posted_ms < $6)) \
         group by t.id, t.kind, t.day, t.usage_type, t.posted_ms order by t.posted_ms desc, t.id desc limit $8",
        of.account,
        of.payer,
        of.days.0,
        of.days.1,
        of.booked.0,
        of.booked.1,
        of.oldest,
        limit
    )
}
