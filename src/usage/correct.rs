//! A person says what a row comes to: the quantity of a record, or everything that a raw row does not say readably.
//!
//! The record that is made of a raw row stands for no row of CloudStack: the raw row stays counted where it was put aside.

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{
    normalise::{self, Unreadable},
    record::{Record, RecordKey, Standing, Words},
    review::{Author, Decided, Docket, Error, RowRef, to_stored},
    types::UsageType,
};
use crate::{
    cloudstack::UsageRow,
    ids::{AccountId, RunId},
    store::{
        StoreError, Tx,
        bulk::{self, NewAttributes, NewRecord},
        compaction::Marks,
        review::{self as rows, ReviewRaw, Verdict},
        usage,
    },
    time::{Day, Timestamp},
};

/// What a person says.
#[derive(Debug, Clone, Copy)]
pub struct Correction {
    /// In hours, bytes or operations.
    pub quantity: Decimal,
    /// Of raw rows: the usage type, where it is another one than the row says.
    pub usage_type: Option<&'static UsageType>,
    /// Of raw rows: who pays, where the row names nobody who is known.
    pub account: Option<AccountId>,
}

pub(super) fn made_into(raw: &ReviewRaw) -> Error {
    let key = raw.record_key.as_deref().and_then(|key| <[u8; 16]>::try_from(key).ok());
    let record = key.map_or_else(String::new, |key| RecordKey::from_bytes(key).to_hex());
    Error::MadeInto(format!("q{}", raw.id), record)
}

/// Corrects a row, whether it waits or not.
pub async fn correct(
    tx: &mut Tx,
    row: RowRef,
    correction: Correction,
    author: Author<'_>,
    zone: Tz,
    now: Timestamp,
) -> Result<Decided, Error> {
    let mut docket = Docket::new(author, zone, now);
    match row {
        RowRef::Record(key) => {
            let record =
                rows::find_record(tx, key.as_bytes()).await?.ok_or_else(|| Error::NoSuchRow(row.to_string()))?;
            if correction.usage_type.is_some() || correction.account.is_some() {
                return Err(Error::NamesItself(row.to_string()));
            }
            let kind = i32::try_from(record.usage_type).ok().and_then(UsageType::from_id).ok_or(Error::NeedsType)?;
            let quantity = to_stored(correction.quantity, kind)?;
            docket.put(tx, std::slice::from_ref(&record), "correct", |_| Some(quantity)).await?;
        }
        RowRef::Raw(id) => {
            let raw = rows::find_raw(tx, id).await?.ok_or_else(|| Error::NoSuchRow(row.to_string()))?;
            if raw.state == 2 {
                return Err(made_into(&raw));
            }
            make_record(tx, &mut docket, &raw, correction).await?;
        }
    }
    docket.close(tx, "correct").await
}

async fn make_record(
    tx: &mut Tx,
    docket: &mut Docket<'_>,
    raw: &ReviewRaw,
    correction: Correction,
) -> Result<(), Error> {
    let record = read(raw, correction)?;
    let account = correction.account.map(AccountId::get).or(raw.account_id).ok_or(Error::NeedsAccount)?;
    if Marks::load(tx).await?.cover(AccountId::new(account), record.window.start()) {
        return Err(Error::SummedUp(RowRef::Raw(raw.id).to_string()));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"made by a person of");
    hasher.update(&raw.key);
    let key = *RecordKey::of_window(record.window, &hasher).as_bytes();
    let mut words = vec![(record.resource.to_string(), record.resource_name.to_string())];
    words.extend(record.offering.as_ref().map(|id| (id.to_string(), String::new())));
    let numbers = bulk::number_resources(tx, &words).await?;
    let number = |id: &str| numbers.iter().find(|(known, _)| known == id).map(|(_, number)| *number);
    let attributes: Vec<NewAttributes> = record.attributes.iter().map(|shared| shared.to_new()).collect();
    let attributes_id = bulk::number_attributes(tx, &attributes).await?.first().map(|(_, id)| *id);
    let new = NewRecord {
        key,
        account_id: account,
        project_id: None,
        usage_type: i64::from(record.usage_type),
        resource_id: number(&record.resource)
            .ok_or_else(|| StoreError::Nonsense("a resource was not numbered".to_owned()))?,
        offering_id: record.offering.as_deref().and_then(number),
        start_ms: record.window.start().as_ms(),
        end_ms: record.window.end().as_ms(),
        quantity: record.quantity,
        size_bytes: record.size_bytes,
        seen: 0,
        standing: Standing::Current.code(),
        attributes_id,
        charged_quantity: None,
        estimate: None,
        item_id: raw.item_id,
    };
    let run = match raw.item_id {
        Some(item) => rows::get_item(tx, item).await?.run_id,
        None => 0,
    };
    if usage::insert_records(tx, &[new], RunId::new(run)).await? != 1
        || !rows::put_raw_state(tx, raw.id, (raw.state, 2), Some(&key)).await?
    {
        return Err(
            StoreError::Nonsense(format!("row q{} was decided about by somebody else meanwhile", raw.id)).into()
        );
    }
    let verdict = Verdict {
        key,
        start: record.window.start(),
        verdict: "correct".to_owned(),
        charged_quantity: Some(record.quantity),
        author: docket.author.name.to_owned(),
        reason: docket.author.reason.to_owned(),
    };
    rows::put_verdicts(tx, &[verdict], docket.now).await?;
    docket.mark(account, record.window.start().as_ms(), record.window.end().as_ms());
    docket.note(RowRef::Raw(raw.id), raw.item_id);
    Ok(())
}

/// The raw row with what the person says in place of what can not be read. Dates that can not be read are the day it is filed
/// under; a row that names no resource is one of its own.
fn read(raw: &ReviewRaw, correction: Correction) -> Result<Record, Error> {
    let mut row: UsageRow =
        serde_json::from_str(&raw.raw).map_err(|error| Error::StillUnreadable(error.to_string()))?;
    let kind = correction.usage_type.or_else(|| row.usage_type.and_then(UsageType::from_id)).ok_or(Error::NeedsType)?;
    row.usage_type = Some(kind.id);
    to_stored(correction.quantity, kind)?;
    row.raw_usage = Some(correction.quantity.normalize().to_string());
    if row.account_id.is_none() && row.project_id.is_none() {
        row.account_id = Some(String::from("-"));
    }
    if row.period().is_none() {
        let day = Day::of(Timestamp::from_ms(raw.start_ms), Tz::UTC).unwrap_or(Day::from_number(0));
        let bounds = day.period(Tz::UTC).ok_or_else(|| Error::StillUnreadable(Unreadable::BadDates.to_string()))?;
        row.start_date = Some(bounds.start().to_cloudstack());
        row.end_date = Some(Timestamp::from_seconds(bounds.end().as_seconds() - 1).to_cloudstack());
    }
    let mut read = normalise::normalise(&row, &mut Words::default());
    if read == Err(Unreadable::NoResource) {
        let own = format!("row {}", raw.id);
        row.usage_id.get_or_insert_with(|| own.clone());
        row.virtual_machine_id.get_or_insert(own);
        read = normalise::normalise(&row, &mut Words::default());
    }
    read.map_err(|reason| Error::StillUnreadable(reason.to_string()))
}
