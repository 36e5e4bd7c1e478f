//! For whom and for what an entry is: the keys that narrow it.

use toml::de::DeValue;

use super::{Noted, Reader, Table};
use crate::{
    rating::narrowing::{Domain, Narrowing, Range, Tag},
    usage::types::UsageType,
};

/// The keys that say who.
pub(super) const CUSTOMER_NARROWINGS: [&str; 3] = ["account", "payer", "domain"];
/// All keys that narrow a tariff.
pub(super) const TARIFF_NARROWINGS: [&str; 12] = [
    "account",
    "payer",
    "domain",
    "tag",
    "template",
    "offering",
    "os",
    "cpu_from",
    "cpu_below",
    "memory_from",
    "memory_below",
    "zone",
];

/// The most CPUs or MiB: a thousand TiB.
const MAX_SIZE: i64 = 1 << 30;
const ID: &str = "3a51980d-1969-47d9-ad1d-a9104acafda8";

/// Whether records of a type carry what a key asks for, as `ApiResponseHelper.createUsageResponse` fills them.
fn carries(known: &UsageType, key: &str) -> bool {
    match key {
        "offering" => known.has_offering,
        "template" => matches!(known.id, 1 | 2 | 6),
        "os" | "cpu_from" | "cpu_below" | "memory_from" | "memory_below" => matches!(known.id, 1 | 2),
        _ => true,
    }
}

impl Reader {
    /// What a tariff is narrowed to.
    pub(super) fn narrowing(&mut self, table: &Table<'_>, usage_type: Option<&UsageType>) -> Result<Narrowing, Noted> {
        let before = self.problems.len();
        for key in TARIFF_NARROWINGS {
            let (Some(value), Some(known)) = (table.get(key), usage_type) else { continue };
            if !carries(known, key) {
                let what = key.split('_').next().unwrap_or(key);
                let message = format!("records of \"{known}\" name no {what}, so this tariff would never be used");
                self.refuse(self.line_of(value), message, format!("leave {key} out"));
            }
        }
        let customer = self.customer_narrowing(table);
        let tag = self.tag(table);
        let template = self.id(table, "template");
        let offering = self.id(table, "offering");
        let os_type = self.id(table, "os");
        let cpu = self.range(table, "cpu_from", "cpu_below");
        let memory_mib = self.range(table, "memory_from", "memory_below");
        let zone = self.id(table, "zone");
        if self.problems.len() > before {
            return Err(Noted);
        }
        Ok(Narrowing {
            tag: tag?,
            template: template?,
            offering: offering?,
            os_type: os_type?,
            cpu: cpu?,
            memory_mib: memory_mib?,
            zone: zone?,
            ..customer?
        })
    }

    /// Whom an entry is narrowed to.
    pub(super) fn customer_narrowing(&mut self, table: &Table<'_>) -> Result<Narrowing, Noted> {
        let account = self.id(table, "account");
        let payer = self.filled(table, "payer", "payer = \"Acme Ltd\"");
        let domain = self.domain(table);
        Ok(Narrowing { account: account?, payer: payer?, domain: domain?, ..Narrowing::default() })
    }

    /// A text that is not blank; None if the key is absent.
    fn filled(&mut self, table: &Table<'_>, key: &str, example: &str) -> Result<Option<String>, Noted> {
        let text = self.text(table, key, example)?;
        let (Some(text), Some(value)) = (text, table.get(key)) else { return Ok(None) };
        if text.trim().is_empty() {
            self.refuse(self.line_of(value), format!("{key} is blank: leave it out for all"), example);
            return Err(Noted);
        }
        Ok(Some(text.trim().to_owned()))
    }

    /// An id of `CloudStack`'s.
    fn id(&mut self, table: &Table<'_>, key: &str) -> Result<Option<String>, Noted> {
        let example = format!("{key} = \"{ID}\"");
        let text = self.filled(table, key, &example)?;
        let (Some(text), Some(value)) = (text, table.get(key)) else { return Ok(None) };
        if text.contains('/') {
            self.refuse(self.line_of(value), format!("{key} is not an id of CloudStack's"), example);
            return Err(Noted);
        }
        Ok(Some(in_one_case(text)))
    }

    fn domain(&mut self, table: &Table<'_>) -> Result<Option<Domain>, Noted> {
        let example = "domain = \"ROOT/acme\"";
        let text = self.filled(table, "domain", example)?;
        let (Some(text), Some(value)) = (text, table.get("domain")) else { return Ok(None) };
        let line = self.line_of(value);
        let mut segments = text.split('/');
        let is_path =
            segments.next() == Some("ROOT") && segments.all(|segment| !segment.is_empty() && segment.trim() == segment);
        let domain = if is_path {
            Domain::Path(text)
        } else if uuid::Uuid::try_parse(&text).is_ok() {
            Domain::Id(in_one_case(text))
        } else {
            self.refuse(line, "domain is neither a path from ROOT nor an id", example);
            return Err(Noted);
        };
        let [by_id, by_path] = &mut self.domains;
        let (own, other) = if is_path { (by_path, by_id) } else { (by_id, by_path) };
        own.get_or_insert(line);
        if let Some(other) = *other {
            let message = format!(
                "this domain is named in another way than that of line {other}: a book names domains by path or by id, so that \
                 of two that are one it is known"
            );
            self.refuse(line, message, example);
            return Err(Noted);
        }
        Ok(Some(domain))
    }

    fn tag(&mut self, table: &Table<'_>) -> Result<Option<Tag>, Noted> {
        let example = "tag = \"backup=gold\", or tag = \"backup\" for any value";
        let text = self.filled(table, "tag", example)?;
        let (Some(text), Some(value)) = (text, table.get("tag")) else { return Ok(None) };
        let (key, wanted) = text.split_once('=').map_or((text.as_str(), None), |(key, value)| (key, Some(value)));
        if key.trim().is_empty() {
            self.refuse(self.line_of(value), "the tag has no key", example);
            return Err(Noted);
        }
        Ok(Some(Tag { key: key.trim().to_owned(), value: wanted.map(|value| value.trim().to_owned()) }))
    }

    fn range(&mut self, table: &Table<'_>, from_key: &str, below_key: &str) -> Result<Option<Range>, Noted> {
        let (from, below) = (self.size(table, from_key), self.size(table, below_key));
        let (from, below) = (from?, below?);
        if from.is_none() && below.is_none() {
            return Ok(None);
        }
        let range = Range { from: from.unwrap_or(0), below };
        if let (Some(below), Some(value)) = (below, table.get(below_key))
            && below <= range.from
        {
            let message = format!("{below_key} is not larger than {from_key}, so nothing is of that size");
            self.refuse(self.line_of(value), message, format!("{from_key} = 4 with {below_key} = 8: 4 to 7"));
            return Err(Noted);
        }
        Ok(Some(range))
    }

    fn size(&mut self, table: &Table<'_>, key: &str) -> Result<Option<i64>, Noted> {
        let Some(value) = table.get(key) else { return Ok(None) };
        let number = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            DeValue::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| (0..=MAX_SIZE).contains(number));
        if number.is_none() {
            let unit = if key.starts_with("memory") { " of MiB" } else { "" };
            let example = if key.starts_with("memory") { format!("{key} = 8192") } else { format!("{key} = 4") };
            self.refuse(self.line_of(value), format!("{key} is not a whole number{unit}"), example);
        }
        number.map(Some).ok_or(Noted)
    }
}

/// `CloudStack` writes UUIDs in lower case; people copy them in any.
fn in_one_case(id: String) -> String {
    if uuid::Uuid::try_parse(&id).is_ok() { id.to_ascii_lowercase() } else { id }
}
