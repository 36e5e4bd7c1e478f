//! Comparing a recorded answer with the stand-in's: everything but what differs from cloud to cloud.

use std::collections::{BTreeMap, BTreeSet};

use bursar::ids::CloudId;
use serde_json::Value;

/// What the recorder saw and the stand-in leaves out, by recorded file and place; each with its reason.
const LEFT_OUT: [(&str, &str, &str); 4] = [
    ("160", "set-cookie", "the recorder kept no cookies of this one login; every other login has both"),
    ("*", ".listapisresponse.api[0].related", "the stand-in does not know which commands answer alike"),
    ("*", ".listapisresponse.api[0].since", "nor since when a command exists"),
    ("*", ".listapisresponse.api[0].response", "nor the fields of its answer"),
];

pub(super) fn is_id(text: &str) -> bool {
    text.len() == 36 && text.parse::<CloudId>().is_ok()
}

/// Error texts without what differs from cloud to cloud: ids, and the numbers of accounts and machines.
fn without_ids(text: &str) -> String {
    text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
        .map(|word| {
            let bare = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
            if is_id(bare) { word.replace(bare, "ID") } else { word.to_owned() }
        })
        .collect()
}

pub(super) fn left_out(file: &str, place: &str) -> bool {
    LEFT_OUT.iter().any(|(number, start, _)| (*number == "*" || file.starts_with(number)) && place.starts_with(start))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "double",
        Value::Number(_) => "integer",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Where the shape differs: keys, types, the first elements of lists.
pub(super) fn compare(file: &str, place: &str, recorded: &Value, here: &Value, found: &mut Vec<String>) {
    if left_out(file, place) {
        return;
    }
    match (recorded, here) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let place = format!("{place}.{key}");
                match (old.get(key), new.get(key)) {
                    (Some(old), Some(new)) => compare(file, &place, old, new, found),
                    (Some(_), None) if !left_out(file, &place) => found.push(format!("{place} is missing")),
                    (None, Some(_)) if !left_out(file, &place) => found.push(format!("{place} is too much")),
                    _ => {}
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => compare_lists(file, place, old, new, found),
        (old, new) if kind(old) != kind(new) => {
            found.push(format!("{place} is {} ({new}) instead of {} ({old})", kind(new), kind(old)));
        }
        (Value::String(old), Value::String(new)) if place.ends_with(".errortext") => {
            if without_ids(old) != without_ids(new) {
                found.push(format!("{place} reads {new:?} instead of {old:?}"));
            }
        }
        (old, new) => {
            let exact =
                [".errorcode", ".cserrorcode", ".jobstatus", ".jobresultcode", ".state", ".cmd", ".jobresulttype"];
            if exact.iter().any(|end| place.ends_with(end)) && old != new {
                found.push(format!("{place} is {new} instead of {old}"));
            }
        }
    }
}

fn compare_lists(file: &str, place: &str, old: &[Value], new: &[Value], found: &mut Vec<String>) {
    let list = place.rsplit('.').next();
    if matches!(list, Some("usagerecord" | "volume" | "publicipaddress")) {
        // One row of each sort: what a row shows depends on its type and on who owns it.
        let sort = |row: &Value| {
            let owner = if row.get("projectid").is_some() { "project" } else { "account" };
            let kind = row.get("usagetype").or_else(|| row.get("purpose")).unwrap_or(&row["type"]);
            // Root volumes have a template, data volumes an offering.
            let template = row.get("templateid").is_some();
            format!("{owner} {kind} {template}")
        };
        let first = |rows: &[Value]| -> BTreeMap<String, Value> {
            rows.iter().rev().map(|row| (sort(row), row.clone())).collect()
        };
        let (old, new) = (first(old), first(new));
        for (sort, row) in &old {
            match new.get(sort) {
                Some(other) => compare(file, &format!("{place}[{sort}]"), row, other, found),
                None => found.push(format!("{place} has no row of {sort}")),
            }
        }
    } else if list == Some("event") {
        // The order of events of one second is the database's whim: all keys together have to be the same.
        let keys = |rows: &[Value]| -> BTreeSet<String> {
            rows.iter().flat_map(|row| row.as_object().unwrap().keys().cloned()).collect()
        };
        if keys(old) != keys(new) {
            found.push(format!("{place} has the keys {:?} instead of {:?}", keys(new), keys(old)));
        }
    } else if list == Some("params") {
        let names = |rows: &[Value]| -> BTreeSet<String> {
            rows.iter().map(|row| format!("{} {} {}", row["name"], row["type"], row["required"])).collect()
        };
        let missing: Vec<String> = names(old).difference(&names(new)).cloned().collect();
        if !missing.is_empty() {
            found.push(format!("{place} lacks {missing:?}"));
        }
    } else if let Some(row) = old.first() {
        match new.first() {
            Some(other) => compare(file, &format!("{place}[0]"), row, other, found),
            None => found.push(format!("{place} is empty")),
        }
    } else if !new.is_empty() {
        found.push(format!("{place} is not empty"));
    }
}

/// A cookie's name and attributes, without its value and the date of its end.
pub(super) fn cookie_shape(cookie: &str) -> String {
    let mut parts = cookie.split(';');
    let first = parts.next().unwrap();
    let (name, value) = first.split_once('=').unwrap();
    let value = if value.is_empty() { "" } else { "…" };
    let rest: Vec<&str> =
        parts.map(|part| if part.trim().starts_with("Expires=") { " Expires=…" } else { part }).collect();
    format!("{name}={value};{}", rest.join(";"))
}
