//! From a row as it came to a record with an identity, or to the reason why not.

use std::{borrow::Cow, sync::Arc};

use rust_decimal::{Decimal, prelude::ToPrimitive};

use super::{
    record::{Attributes, Owner, Record, Shared, Words, digest_of},
    review_kind::Kind,
    types::{Quantity, UsageType},
};
use crate::cloudstack::UsageRow;

/// Millionths in one.
const MICROS: i64 = 1_000_000;

/// Why a row can not be charged as it is. Each waits for a person, with what CloudStack said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No usage type.
    #[error("it names no usage type")]
    NoType,
    /// A type that this version does not know.
    #[error("usage type {0} is not known to this version of bursar; a newer one may know it")]
    UnknownType(i32),
    /// Neither account nor project.
    #[error("it names neither an account nor a project")]
    NoOwner,
    /// Dates that can not be read, or an end before the start.
    #[error("its dates can not be read")]
    BadDates,
    /// A quantity that can not be read.
    #[error("its quantity \"{0}\" can not be read")]
    BadQuantity(String),
    /// A quantity below zero or beyond all measure.
    #[error("its quantity {0} is negative or absurd")]
    AbsurdQuantity(Decimal),
    /// Nothing that says which resource it is about.
    #[error("nothing in it says which resource it is about")]
    NoResource,
}

impl Unreadable {
    /// The kind of review item that it belongs to.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::UnknownType(_) => Kind::UnknownType,
            _ => Kind::Unreadable,
        }
    }

    /// Why, without the figures of the single row: what an item is made by.
    pub fn group(&self) -> String {
        match self {
            Self::BadQuantity(_) => "its quantity can not be read".to_owned(),
            Self::AbsurdQuantity(_) => "its quantity is negative or absurd".to_owned(),
            other => other.to_string(),
        }
    }
}

/// The identity of the resource, by usage type (design 7.2): never a name, a tag or free text.
///
/// | types | identified by |
/// |---|---|
/// | 4, 5 | network and the router that counted |
/// | 10 | security group and machine |
/// | 13 | machine and network offering |
/// | 21 to 24 | the usage id and the machine |
/// | 26, 30, 31 | the id in `description`: they have no usage id |
/// | all others | the usage id |
fn resource<'a>(kind: &UsageType, row: &'a UsageRow) -> Option<Cow<'a, str>> {
    let usage_id = row.usage_id.as_deref().filter(|text| !text.is_empty());
    let machine = row.virtual_machine_id.as_deref().filter(|text| !text.is_empty());
    let offering = row.offering_id.as_deref().unwrap_or_default();
    match kind.id {
        4 | 5 => Some(format!("{}/{}", row.network_id.as_deref().unwrap_or_default(), usage_id?).into()),
        13 => Some(format!("{}/{offering}", machine?).into()),
        10 | 21..=24 => Some(format!("{}/{}", usage_id?, machine.unwrap_or_default()).into()),
        26 | 30 | 31 => usage_id.map(Cow::Borrowed).or_else(|| id_in(row.description.as_deref()?).map(Cow::Owned)),
        _ => usage_id.or(machine).map(Cow::Borrowed),
    }
}

/// The id inside a description: the first UUID, else the number behind the first `ID:` ("Network usage for network ID:
/// 212, network offering: 10").
fn id_in(description: &str) -> Option<String> {
    let uuid = description
        .split(|letter: char| !(letter.is_ascii_hexdigit() || letter == '-'))
        .find(|word| word.len() == 36 && uuid::Uuid::parse_str(word).is_ok());
    if let Some(uuid) = uuid {
        return Some(uuid.to_owned());
    }
    let lower = description.to_ascii_lowercase();
    let (_, rest) = lower.split_once("id:")?;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| format!("#{digits}"))
}

/// Reads a row, or says why it can not be charged as it is.
pub fn normalise(row: &UsageRow, words: &mut Words) -> Result<Record, Unreadable> {
    let type_id = row.usage_type.ok_or(Unreadable::NoType)?;
    let kind = UsageType::from_id(type_id).ok_or(Unreadable::UnknownType(type_id))?;
    let owner = match (&row.account_id, &row.project_id) {
        (_, Some(project)) if !project.is_empty() => Owner::Project(words.text(project)),
        (Some(account), _) if !account.is_empty() => Owner::Account(words.text(account)),
        _ => return Err(Unreadable::NoOwner),
    };
    let window = row.period().ok_or(Unreadable::BadDates)?;
    let amount = row
        .quantity()
        .ok_or_else(|| Unreadable::BadQuantity(row.raw_usage.clone().unwrap_or_default().chars().take(40).collect()))?;
    let scale = if kind.quantity == Quantity::Hours { MICROS } else { 1 };
    let quantity = amount
        .checked_mul(Decimal::from(scale))
        .map(|scaled| scaled.round())
        .and_then(|scaled| scaled.to_i64())
        .filter(|scaled| *scaled >= 0)
        .ok_or(Unreadable::AbsurdQuantity(amount))?;
    let shape = [row.cpu_number, row.cpu_speed, row.memory].iter().any(Option::is_some).then(|| {
        let part = |value: Option<i64>| value.map_or_else(String::new, |value| value.to_string());
        words.text(&format!("{}x{}/{}", part(row.cpu_number), part(row.cpu_speed), part(row.memory)))
    });
    let resource = resource(kind, row).ok_or(Unreadable::NoResource)?;
    Ok(Record {
        owner,
        usage_type: type_id,
        resource: words.text(&resource),
        resource_name: name(row, words),
        offering: row.offering_id.as_deref().filter(|text| !text.is_empty()).map(|id| words.text(id)),
        shape,
        attributes: attributes(row, words),
        size_bytes: row.size.or(row.virtual_size),
        window,
        quantity,
    })
}

/// What people call the resource; 120 characters at most.
fn name(row: &UsageRow, words: &mut Words) -> Arc<str> {
    let text = row.name.as_deref().filter(|text| !text.is_empty()).or(row.description.as_deref()).unwrap_or_default();
    let end = text.char_indices().nth(120).map_or(text.len(), |(at, _)| at);
    words.text(text.get(..end).unwrap_or_default())
}

/// What a price may be narrowed by, where the row says any of it.
fn attributes(row: &UsageRow, words: &mut Words) -> Option<Arc<Shared>> {
    let texts = [&row.zone_id, &row.template_id, &row.os_type_id];
    let numbers = [row.cpu_number, row.cpu_speed, row.memory];
    if texts.iter().all(|text| text.is_none()) && numbers.iter().all(Option::is_none) && row.tags.is_empty() {
        return None;
    }
    let mut tags: Vec<(&str, &str)> = row
        .tags
        .iter()
        .filter_map(|tag| Some((tag.key.as_deref()?, tag.value.as_deref().unwrap_or_default())))
        .collect();
    tags.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    for text in texts {
        add(text.as_deref().unwrap_or_default());
    }
    for (key, value) in &tags {
        add(key);
        add(value);
    }
    for number in numbers {
        hasher.update(&number.unwrap_or(-1).to_be_bytes());
    }
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Some(words.attributes(digest_of(&hasher), || Attributes {
        zone_id: filled(&row.zone_id),
        template_id: filled(&row.template_id),
        os_type_id: filled(&row.os_type_id),
        cpu_number: row.cpu_number,
        cpu_speed: row.cpu_speed,
        memory_mib: row.memory,
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalise(row: &UsageRow) -> Result<Record, Unreadable> {
        super::normalise(row, &mut Words::default())
    }

    fn row(usage_type: i32, raw: &str) -> UsageRow {
        UsageRow {
            account_id: Some("a".to_owned()),
            usage_type: Some(usage_type),
            raw_usage: Some(raw.to_owned()),
            usage_id: Some("r".to_owned()),
            start_date: Some("2026-11-22T13:00:00+0000".to_owned()),
            end_date: Some("2026-11-22T13:59:59+0000".to_owned()),
            ..UsageRow::default()
        }
    }

    #[test]
    fn hours_become_millionths_and_bytes_stay_whole() {
        assert_eq!(normalise(&row(1, "0.083333")).unwrap().quantity, 83_333);
        assert_eq!(normalise(&row(1, "0,083333")).unwrap().quantity, 83_333);
        assert_eq!(normalise(&row(4, "9300000000000")).unwrap().quantity, 9_300_000_000_000);
        assert_eq!(normalise(&row(1, "1")).unwrap().window.seconds(), 3_600);
    }

    #[test]
    fn identity_comes_from_ids_and_never_from_names() {
        let mut network = row(30, "1");
        network.usage_id = None;
        network.description = Some("Network usage for network ID: 212, network offering: 10".to_owned());
        assert_eq!(normalise(&network).unwrap().resource.as_ref(), "#212");
        network.description = Some("Network usage for a network".to_owned());
        assert_eq!(normalise(&network), Err(Unreadable::NoResource));
        let mut offering = row(13, "3");
        offering.usage_id = None;
        offering.virtual_machine_id = Some("vm".to_owned());
        offering.offering_id = Some("off".to_owned());
        assert_eq!(
            normalise(&offering).unwrap().resource.as_ref(),
            "vm/off",
            "and 3 h in an hour are right for type 13"
        );
        let mut secondary = row(26, "1");
        secondary.usage_id = None;
        secondary.description = Some("Volume on secondary (6f5ef948-2bf2-41ef-a22c-5abb534cb69a) of x".to_owned());
        assert_eq!(normalise(&secondary).unwrap().resource.as_ref(), "6f5ef948-2bf2-41ef-a22c-5abb534cb69a");
    }

    #[test]
    fn a_project_record_needs_no_account() {
        let mut project = row(1, "1");
        project.account_id = None;
        project.project_id = Some("p".to_owned());
        assert_eq!(normalise(&project).unwrap().owner, Owner::Project("p".into()));
        project.project_id = None;
        assert_eq!(normalise(&project), Err(Unreadable::NoOwner));
    }

    #[test]
    fn what_can_not_be_charged_says_why() {
        assert_eq!(normalise(&row(99, "1")), Err(Unreadable::UnknownType(99)));
        assert!(matches!(normalise(&row(1, "-1")), Err(Unreadable::AbsurdQuantity(_))));
        assert!(matches!(normalise(&row(1, "1.000,5")), Err(Unreadable::BadQuantity(_))));
        let mut dates = row(1, "1");
        dates.end_date = Some("2026-11-22".to_owned());
        assert_eq!(normalise(&dates), Err(Unreadable::BadDates));
    }
}
