//! Settling what waits: a person releases, rejects or corrects rows, or makes a rule that does so for what comes.
//!
//! Each verdict is one transaction of its caller, with a line in the audit trail; the days that it concerns are marked to be
//! rated. Verdicts stand about records by their key, so that fetching a span again changes nothing (`review_rows` applies
//! them). Must not: call CloudStack, or price anything.

use std::collections::BTreeSet;

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{
    correct, ingest,
    record::{RecordKey, Standing},
    review_kind::Kind,
    review_rows::released,
    types::{Quantity, UsageType},
};
use crate::{
    ids::AccountId,
    store::{
        StoreError, Tx,
        bulk::{self, ChangedRecord},
        compaction::Marks,
        review::{self as rows, By, Filter, Item, ReviewRaw, ReviewRecord, Rule, Verdict},
        runs::{self, AuditLine},
        usage,
    },
    time::{Day, Period, Timestamp},
};

/// Rows decided about in one statement.
const CHUNK: i64 = 5_000;
/// Rows that an audit line names; of more it gives the number.
const MAX_NAMED: usize = 20;

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No row that waits fits.
    #[error("no row that waits fits; `bursar review list` shows what waits")]
    NothingWaits,
    /// The filter names nothing, which would be everything.
    #[error("name an item, rows, or at least one of --kind, --account, --type and --day")]
    TooWide,
    /// No such row.
    #[error("there is no row {0}; `bursar review show ITEM` shows the rows of an item")]
    NoSuchRow(String),
    /// The text names no row.
    #[error("\"{0}\" names no row: a record is 32 hex digits, a row that could not be read is q and its number")]
    NotARow(String),
    /// Raw rows have nothing that could be released.
    #[error("these rows can not be charged as they are: correct each (`bursar review correct`), or reject them")]
    NothingToRelease,
    /// The time in which it begins is summed up.
    #[error(
        "row {0} begins in a time that is closed and summed up: it can not be charged by a record any more. Reject it; if money is \
         owed, book it (`bursar adjustment add`)"
    )]
    SummedUp(String),
    /// A newer emission stands in its place.
    #[error("row {0} is not true any more: a newer run of the usage job reported its window")]
    Superseded(String),
    /// A record names these itself.
    #[error("row {0} names its type and its account; only its quantity can be corrected")]
    NamesItself(String),
    /// A record was made of the row.
    #[error("a record was made of row {0}: decide about record {1}")]
    MadeInto(String, String),
    /// The person has to say which type it is.
    #[error("bursar does not know the usage type of this row: say it with --type")]
    NeedsType,
    /// The person has to say who pays.
    #[error("this row names nobody who is known: say who pays with --account")]
    NeedsAccount,
    /// The quantity makes no sense.
    #[error(
        "{0} is no quantity of {1}: hours are given with a point and at most six decimals, all else in whole numbers"
    )]
    BadQuantity(Decimal, &'static str),
    /// Even so no record can be made.
    #[error("no record can be made of it: {0}")]
    StillUnreadable(String),
    /// A rule can not decide about such rows.
    #[error("no rule can {verdict} rows of the kind {kind}")]
    NoRule {
        /// release, reject.
        verdict: &'static str,
        /// The kind.
        kind: &'static str,
    },
    /// No such rule.
    #[error("there is no rule {0} in force; `bursar review rule list` shows them")]
    NoSuchRule(i64),
}

/// What a person decides about rows as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Charge them: as reported, a part window with its estimate.
    Release,
    /// Never charge them.
    Reject,
}

impl Choice {
    /// As stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Reject => "reject",
        }
    }
}

/// Who decides, and why.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// Who, as in the audit trail.
    pub name: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// A row as people name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowRef {
    /// A record, by its key in hex.
    Record(RecordKey),
    /// A raw row, as q and its number.
    Raw(i64),
}

impl std::str::FromStr for RowRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let raw = text.strip_prefix('q').and_then(|number| number.parse().ok()).map(Self::Raw);
        raw.or_else(|| RecordKey::from_hex(text).map(Self::Record)).ok_or_else(|| Error::NotARow(text.to_owned()))
    }
}

impl std::fmt::Display for RowRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Record(key) => f.write_str(&key.to_hex()),
            Self::Raw(id) => write!(f, "q{id}"),
        }
    }
}

/// What was decided.
#[derive(Debug, Default, serde::Serialize)]
pub struct Decided {
    /// Records.
    pub records: u64,
    /// Raw rows.
    pub raw_rows: u64,
    /// Raw rows that could not be released.
    pub left: u64,
    /// The items that it concerns, as they are now.
    pub items: Vec<Item>,
}

/// A verdict in the making.
pub(super) struct Docket<'a> {
    pub(super) author: Author<'a>,
    pub(super) zone: Tz,
    pub(super) now: Timestamp,
    items: BTreeSet<i64>,
    days: BTreeSet<(AccountId, Day)>,
    named: Vec<String>,
    decided: Decided,
}

impl<'a> Docket<'a> {
    pub(super) fn new(author: Author<'a>, zone: Tz, now: Timestamp) -> Self {
        let (items, days) = (BTreeSet::new(), BTreeSet::new());
        Self { author, zone, now, items, days, named: Vec::new(), decided: Decided::default() }
    }

    pub(super) fn mark(&mut self, account: i64, start_ms: i64, end_ms: i64) {
        if let Some(window) = Period::new(Timestamp::from_ms(start_ms), Timestamp::from_ms(end_ms)) {
            self.days.extend(ingest::days_of(window, self.zone).into_iter().map(|day| (AccountId::new(account), day)));
        }
    }

    pub(super) fn note(&mut self, row: RowRef, item: Option<i64>) {
        match row {
            RowRef::Record(_) => self.decided.records += 1,
            RowRef::Raw(_) => self.decided.raw_rows += 1,
        }
        if self.named.len() < MAX_NAMED {
            self.named.push(row.to_string());
        }
        self.items.extend(item);
    }

    /// Changes a record, keeps the verdict about it and marks its days.
    pub(super) async fn put(
        &mut self,
        tx: &mut Tx,
        records: &[ReviewRecord],
        verdict: &'static str,
        charged: impl Fn(&ReviewRecord) -> Option<i64>,
    ) -> Result<(), Error> {
        let marks = Marks::load(tx).await?;
        let mut changed = Vec::with_capacity(records.len());
        let mut verdicts = Vec::with_capacity(records.len());
        for record in records {
            let key = key_of(record)?;
            let row = RowRef::Record(RecordKey::from_bytes(key));
            if record.standing == Standing::Superseded.code() {
                return Err(Error::Superseded(row.to_string()));
            }
            let is_closed = marks.cover(AccountId::new(record.account_id), Timestamp::from_ms(record.start_ms));
            if is_closed && (verdict != "reject" || record.standing == Standing::Current.code()) {
                return Err(Error::SummedUp(row.to_string()));
            }
            let standing = if verdict == "reject" { Standing::Rejected } else { Standing::Current };
            let charged_quantity = charged(record);
            changed.push(ChangedRecord {
                key,
                seen: record.seen,
                standing: standing.code(),
                charged_quantity,
                estimate: record.estimate,
                item_id: record.item_id,
            });
            verdicts.push(Verdict {
                key,
                start: Timestamp::from_ms(record.start_ms),
                verdict: verdict.to_owned(),
                charged_quantity,
                author: self.author.name.to_owned(),
                reason: self.author.reason.to_owned(),
            });
            self.mark(record.account_id, record.start_ms, record.end_ms);
            self.note(row, record.item_id);
        }
        bulk::change_records(tx, &changed, None).await?;
        rows::put_verdicts(tx, &verdicts, self.now).await?;
        Ok(())
    }

    /// Marks the days, works the items out again, writes the audit line.
    pub(super) async fn close(mut self, tx: &mut Tx, verdict: &'static str) -> Result<Decided, Error> {
        for (account, day) in &self.days {
            usage::mark_to_rate(tx, *account, *day).await?;
        }
        let by = By { verdict, author: self.author.name, words: self.author.reason };
        for item in &self.items {
            let before = rows::get_item(tx, *item).await?;
            let after = rows::refresh_item(tx, *item, by, self.now).await?;
            self.audit(tx, verdict, &format!("review item {item}"), Some((before.waiting, after.waiting))).await?;
            self.decided.items.push(after);
        }
        if self.items.is_empty() {
            self.audit(tx, verdict, &self.named.join(" "), None).await?;
        }
        Ok(self.decided)
    }

    async fn audit(
        &self,
        tx: &mut Tx,
        verdict: &str,
        subject: &str,
        waiting: Option<(i64, i64)>,
    ) -> Result<(), StoreError> {
        let named = if self.named.len() < MAX_NAMED { self.named.join(" ") } else { "many rows".to_owned() };
        let line = AuditLine {
            at_ms: self.now.as_ms(),
            actor: self.author.name.to_owned(),
            action: format!("usage.review.{verdict}"),
            subject: subject.to_owned(),
            before_state: waiting.map(|(before, _)| format!("{before} rows wait")),
            after_state: Some(match waiting {
                Some((_, after)) => format!("{after} rows wait; decided: {named}"),
                None => format!("decided: {named}"),
            }),
            answer: Some(self.author.reason.to_owned()),
            ..AuditLine::default()
        };
        runs::write_audit(tx, &line).await
    }
}

pub(super) fn key_of(record: &ReviewRecord) -> Result<[u8; 16], StoreError> {
    <[u8; 16]>::try_from(record.key.as_slice())
        .map_err(|_| StoreError::Nonsense("a record's key is not sixteen bytes".to_owned()))
}

/// Releases or rejects everything that waits and fits the filter: an item, a group, or both.
pub async fn decide(
    tx: &mut Tx,
    filter: &Filter,
    choice: Choice,
    author: Author<'_>,
    zone: Tz,
    now: Timestamp,
) -> Result<Decided, Error> {
    let Filter { item, kind, account, usage_type, day } = filter;
    if item.is_none() && kind.is_none() && account.is_none() && usage_type.is_none() && day.is_none() {
        return Err(Error::TooWide);
    }
    if let Some(told) = tell_apart(tx, filter).await? {
        return seen(tx, &told, author, now).await;
    }
    let mut docket = Docket::new(author, zone, now);
    // What is decided no longer waits.
    loop {
        let records = rows::list_waiting_records(tx, filter, CHUNK).await?;
        if records.is_empty() {
            break;
        }
        choose(tx, &mut docket, &records, choice).await?;
    }
    loop {
        let raw = rows::list_waiting_raw(tx, filter, CHUNK).await?;
        if choice == Choice::Release {
            docket.decided.left = u64::try_from(raw.len()).unwrap_or(0);
            break;
        }
        if raw.is_empty() {
            break;
        }
        for row in &raw {
            reject_raw(tx, &mut docket, row).await?;
        }
    }
    match (&docket.decided, docket.decided.left) {
        (Decided { records: 0, raw_rows: 0, .. }, 0) => Err(Error::NothingWaits),
        (Decided { records: 0, raw_rows: 0, .. }, _) => Err(Error::NothingToRelease),
        _ => docket.close(tx, choice.name()).await,
    }
}

/// Releases or rejects rows by name, also such as were decided about before.
pub async fn decide_rows(
    tx: &mut Tx,
    named: &[RowRef],
    choice: Choice,
    author: Author<'_>,
    zone: Tz,
    now: Timestamp,
) -> Result<Decided, Error> {
    let mut docket = Docket::new(author, zone, now);
    let mut records = Vec::new();
    for row in named.iter().copied().collect::<BTreeSet<_>>() {
        let missing = || Error::NoSuchRow(row.to_string());
        match row {
            RowRef::Record(key) => records.push(rows::find_record(tx, key.as_bytes()).await?.ok_or_else(missing)?),
            RowRef::Raw(_) if choice == Choice::Release => return Err(Error::NothingToRelease),
            RowRef::Raw(id) => {
                let raw = rows::find_raw(tx, id).await?.ok_or_else(missing)?;
                if raw.state == 2 {
                    return Err(correct::made_into(&raw));
                }
                reject_raw(tx, &mut docket, &raw).await?;
            }
        }
    }
    choose(tx, &mut docket, &records, choice).await?;
    if docket.named.is_empty() {
        return Err(Error::NothingWaits);
    }
    docket.close(tx, choice.name()).await
}

async fn choose(tx: &mut Tx, docket: &mut Docket<'_>, records: &[ReviewRecord], choice: Choice) -> Result<(), Error> {
    docket
        .put(tx, records, choice.name(), |record| match choice {
            Choice::Release => released(record.kind.as_deref().and_then(Kind::from_slug), record.estimate),
            Choice::Reject => None,
        })
        .await
}

async fn reject_raw(tx: &mut Tx, docket: &mut Docket<'_>, raw: &ReviewRaw) -> Result<(), Error> {
    if raw.state != 1 && !rows::put_raw_state(tx, raw.id, (raw.state, 1), None).await? {
        return Err(
            StoreError::Nonsense(format!("row q{} was decided about by somebody else meanwhile", raw.id)).into()
        );
    }
    docket.note(RowRef::Raw(raw.id), raw.item_id);
    Ok(())
}

/// The item, where the filter names one that is only told and has no rows.
async fn tell_apart(tx: &mut Tx, filter: &Filter) -> Result<Option<Item>, Error> {
    let Some(id) = filter.item else { return Ok(None) };
    let item = rows::get_item(tx, id).await?;
    let told = Kind::from_slug(&item.kind).is_some_and(|kind| kind.is_told() && kind != Kind::Removed);
    Ok(told.then_some(item))
}

async fn seen(tx: &mut Tx, item: &Item, author: Author<'_>, now: Timestamp) -> Result<Decided, Error> {
    let by = By { verdict: "seen", author: author.name, words: author.reason };
    if !rows::settle_item(tx, item.id, by, now).await? {
        return Err(Error::NothingWaits);
    }
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: author.name.to_owned(),
        action: "usage.review.seen".to_owned(),
        subject: format!("review item {}", item.id),
        answer: Some(author.reason.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await?;
    Ok(Decided { items: vec![rows::get_item(tx, item.id).await?], ..Decided::default() })
}

/// A quantity as stored: millionths of an hour, or whole bytes and operations.
pub fn to_stored(quantity: Decimal, kind: &UsageType) -> Result<i64, Error> {
    use rust_decimal::prelude::ToPrimitive as _;
    let scale = if kind.quantity == Quantity::Hours { 1_000_000 } else { 1 };
    quantity
        .checked_mul(Decimal::from(scale))
        .filter(|scaled| scaled.is_integer() && !scaled.is_sign_negative())
        .and_then(|scaled| scaled.to_i64())
        .ok_or(Error::BadQuantity(quantity, kind.quantity.word()))
}

/// A stored quantity in the unit of its type.
pub fn from_stored(quantity: i64, usage_type: i64) -> Decimal {
    let kind = i32::try_from(usage_type).ok().and_then(UsageType::from_id);
    let scale = if kind.is_some_and(|kind| kind.quantity != Quantity::Hours) { 0 } else { 6 };
    Decimal::new(quantity, scale).normalize()
}

/// A rule for what comes.
#[derive(Debug, Clone, Copy)]
pub struct NewRule {
    /// The kind of rows.
    pub kind: Kind,
    /// Only this usage type.
    pub usage_type: Option<i32>,
    /// Only this account.
    pub account: Option<AccountId>,
    /// What it decides.
    pub choice: Choice,
}

/// Makes a rule for rows that come from now on; what waits already is decided by [`decide`]. Gives its number.
pub async fn add_rule(tx: &mut Tx, new: NewRule, author: Author<'_>, now: Timestamp) -> Result<i64, Error> {
    let can_be_charged = !new.kind.is_raw() && new.kind != Kind::BeforeCompaction;
    if new.kind.is_told() || !can_be_charged && new.choice == Choice::Release {
        return Err(Error::NoRule { verdict: new.choice.name(), kind: new.kind.slug() });
    }
    let rule = Rule {
        id: 0,
        kind: new.kind.slug().to_owned(),
        usage_type: new.usage_type.map(i64::from),
        account_id: new.account.map(AccountId::get),
        verdict: new.choice.name().to_owned(),
        author: author.name.to_owned(),
        why: author.reason.to_owned(),
        created_ms: now.as_ms(),
    };
    let id = rows::add_rule(tx, &rule).await?;
    let text = format!("{} {} type {:?} account {:?}", rule.verdict, rule.kind, rule.usage_type, rule.account_id);
    audit_rule(tx, id, "usage.review.rule.add", text, author, now).await?;
    Ok(id)
}

/// Takes a rule out of force; what it decided stays decided.
pub async fn remove_rule(tx: &mut Tx, id: i64, author: Author<'_>, now: Timestamp) -> Result<(), Error> {
    if !rows::remove_rule(tx, id, now).await? {
        return Err(Error::NoSuchRule(id));
    }
    audit_rule(tx, id, "usage.review.rule.remove", String::new(), author, now).await?;
    Ok(())
}

async fn audit_rule(
    tx: &mut Tx,
    id: i64,
    action: &str,
    after: String,
    author: Author<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: author.name.to_owned(),
        action: action.to_owned(),
        subject: format!("review rule {id}"),
        after_state: Some(after).filter(|text| !text.is_empty()),
        answer: Some(author.reason.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_as_they_are_shown() {
        let record = RowRef::Record(RecordKey::from_bytes([0xab; 16]));
        for row in [record, RowRef::Raw(12)] {
            assert_eq!(row.to_string().parse::<RowRef>().unwrap(), row);
        }
        for text in ["", "12", "q", "qx", "abab", "zz"] {
            assert!(matches!(text.parse::<RowRef>(), Err(Error::NotARow(_))), "{text}");
        }
    }

    #[test]
    fn quantities_are_given_in_the_unit_of_their_type() {
        let (machine, traffic) = (UsageType::from_id(1).unwrap(), UsageType::from_id(4).unwrap());
        assert_eq!(to_stored("0.5".parse().unwrap(), machine).unwrap(), 500_000);
        assert_eq!(to_stored("7".parse().unwrap(), traffic).unwrap(), 7);
        assert_eq!(from_stored(500_000, 1).to_string(), "0.5");
        assert_eq!(from_stored(7, 4).to_string(), "7");
        for (text, kind) in [("-1", machine), ("0.0000001", machine), ("0.5", traffic)] {
            assert!(matches!(to_stored(text.parse().unwrap(), kind), Err(Error::BadQuantity(..))), "{text}");
        }
    }
}
