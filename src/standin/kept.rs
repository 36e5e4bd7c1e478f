//! Answers of listUsageRecords, kept as they went out: for benchmarks, in which the stand-in shall cost next to nothing.
//!
//! A kept answer is given without looking at the signature, so this is never on unless it was asked for, and it holds only as
//! long as no usage record is added or removed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::body::Bytes;

use super::signature::Parameters;

/// Parameters that differ from call to call though the question is the same.
const PASSING: [&str; 4] = ["apikey", "expires", "signature", "signatureversion"];

/// The answers to questions asked before.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<HashMap<String, (u64, Bytes)>>);

impl Kept {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (u64, Bytes)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was answered while the records were as they are now (`version`).
    pub(crate) fn find(&self, question: &str, version: u64) -> Option<Bytes> {
        self.lock().get(question).filter(|(then, _)| *then == version).map(|(_, answer)| answer.clone())
    }

    pub(crate) fn keep(&self, question: String, version: u64, answer: Bytes) {
        self.lock().insert(question, (version, answer));
    }
}

/// The question that a call asks; None where it is not about usage records.
pub(crate) fn question(command: &str, parameters: &Parameters) -> Option<String> {
    if command != "listUsageRecords" {
        return None;
    }
    let mut asked: Vec<String> = parameters
        .iter()
        .filter(|(name, _)| !PASSING.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    asked.sort_unstable();
    Some(asked.join("&"))
}
