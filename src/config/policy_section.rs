//! `[policy]` and `[class.NAME]`: the ladder's keys are read by the policy itself, so that a class, a single payer and the default
//! follow the same rules.

use std::collections::BTreeMap;

use super::{
    Policy,
    check::{account, amount},
    layers::cut,
    problem::{Origin, Problem, nearest},
    reading::Reading,
    schema::schema,
};
use crate::policy::{self as ladder, PolicyPatch, patch};

/// The section of classes; each has a name of its own behind the dot.
pub(super) const CLASSES: &str = "class";
/// A key that is there for classes and single payers only: the cloud's own zone stands in `billing.zone`.
pub(super) const CLASS_ONLY: &str = "time_zone";
/// The longest name of a class.
const CLASS_NAME_LENGTH: usize = 40;

/// Reads both sections.
pub(super) fn read(r: &mut Reading) -> Option<Policy> {
    let default_limit = r.optional("policy.default_limit", amount);
    let protected_accounts = r.list("policy.protected_accounts", account);
    let mut patch = PolicyPatch::default();
    let mut complete = true;
    for key in patch::KEYS.iter().filter(|key| key.name != CLASS_ONLY) {
        let path = format!("policy.{}", key.name);
        let Some(text) = r.as_text(&path) else {
            complete = false;
            continue;
        };
        if let Err(error) = patch.set(key.name, &text) {
            complete = false;
            r.complain(&path, &words(error));
        }
    }
    let ladder = patch.over(&ladder::Policy::nothing());
    if let Some(what) = complete.then(|| ladder.contradiction()).flatten() {
        r.tell(Problem::new(Origin::Default, format!("[policy] contradicts itself: {what}"), None));
        complete = false;
    }
    let classes = classes(r, complete.then_some(&ladder));
    let read = Policy { default_limit: default_limit?, ladder, classes, protected_accounts: protected_accounts? };
    complete.then_some(read)
}

fn classes(r: &mut Reading, below: Option<&ladder::Policy>) -> BTreeMap<String, PolicyPatch> {
    let mut classes = BTreeMap::new();
    for (name, given) in r.classes() {
        let mut patch = PolicyPatch::default();
        let mut first: Option<Origin> = None;
        for (key, (raw, origin)) in given {
            first.get_or_insert_with(|| origin.clone());
            if let Err(error) = patch.set(&key, &raw.to_variable()) {
                let what = format!("{CLASSES}.{name}.{key} {}", words(error));
                r.tell(Problem::new(origin, what, None));
            }
        }
        if let Some(what) = below.and_then(|below| patch.over(below).contradiction()) {
            let what = format!("[{CLASSES}.{name}] contradicts itself: {what}");
            r.tell(Problem::new(first.unwrap_or(Origin::Default), what, None));
        }
        classes.insert(name, patch);
    }
    classes
}

/// What continues the name of a key.
fn words(error: patch::PatchError) -> String {
    match error {
        patch::PatchError::BadValue { what, .. } => what,
        patch::PatchError::UnknownKey { .. } => "is no key of a policy".to_owned(),
    }
}

/// What is wrong with the name of a class, if anything is.
pub(super) fn wrong_class_name(name: &str) -> Option<String> {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
    let right = plain && (1..=CLASS_NAME_LENGTH).contains(&name.len()) && name != "none";
    (!right).then(|| {
        format!(
            "a class can not be named \"{}\": use up to {CLASS_NAME_LENGTH} of a-z, 0-9, dash and underscore, and not \"none\"",
            cut(name)
        )
    })
}

/// What to say of a key that classes do not have.
pub(super) fn unknown_class_key(class: &str, key: &str) -> String {
    let path = format!("{CLASSES}.{class}.{key}");
    if schema().key(&format!("policy.{key}")).is_some() {
        return format!("{path} can not differ by class; it stands in [policy] for the whole cloud");
    }
    match nearest(key, patch::KEYS.iter().map(|key| key.name)) {
        Some(meant) => format!("there is no key {path}; did you mean {CLASSES}.{class}.{meant}?"),
        None => format!("there is no key {path}"),
    }
}
