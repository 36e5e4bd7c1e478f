//! Faults on demand: what networks, balancers and tired servers do to a call.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::ids::CloudId;

/// A gate that delayed calls wait at until it is opened.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// Lets every call through, now and later.
    pub fn open(&self) {
        self.0.close();
    }

    /// Waits until the gate is open.
    pub async fn passed(&self) {
        // A closed semaphore gives an error at once: that is the open gate.
        let _ = self.0.acquire().await;
    }
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum FaultKind {
    /// The call waits at a gate, then is done as usual (also when the client has gone away meanwhile).
    DelayUntil(Gate),
    /// The call waits a span of real time.
    DelayFor(Duration),
    /// The call is not done; this HTTP status with a short HTML body comes back (503, 429, 502, …).
    Status(u16),
    /// The call is not done: the management server prepares for a shutdown and takes no new jobs (facts 1.6).
    NoNewJobs,
    /// The call is not done: it asks for longer pages than this many rows (facts 1.8).
    PagesOf(u32),
    /// The connection is cut and nothing was done.
    CutBeforeAction,
    /// The call is done, but its connection is cut before the answer.
    CutAfterAction,
    /// HTTP 200 with an empty body, after the call was done or without.
    EmptyOk {
        /// Whether the call is done.
        acted: bool,
    },
    /// The call is done; its answer breaks off in the middle of the JSON text.
    InvalidJson,
    /// HTTP 200 with a HTML page, the call is not done.
    Html,
    /// A JSON answer of this many bytes.
    HugeBody(usize),
    /// The call is done and each row of the answer's list comes twice (the count stays).
    WrongDuplicates,
    /// The call is done; behind its answer this machine is destroyed, so that the next page begins one row further on.
    Vanishes(CloudId),
}

/// A fault that waits for calls.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The command it waits for; None for every command.
    pub command: Option<String>,
    /// Only calls with this parameter (its name in lower case) and value; None: with any.
    pub about: Option<(String, String)>,
    /// How many calls it still hits.
    pub calls: u32,
    /// What goes wrong.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault for the next call of `command`.
    pub fn once(command: &str, kind: FaultKind) -> Self {
        Self { command: Some(command.to_owned()), about: None, calls: 1, kind }
    }

    /// The same for calls with this parameter and value alone.
    #[must_use]
    pub fn about(self, parameter: &str, value: &str) -> Self {
        Self { about: Some((parameter.to_owned(), value.to_owned())), ..self }
    }

    /// The same for so many calls.
    #[must_use]
    pub fn times(self, calls: u32) -> Self {
        Self { calls, ..self }
    }

    /// A fault for the next `calls` calls, whatever they are.
    pub fn any(calls: u32, kind: FaultKind) -> Self {
        Self { command: None, about: None, calls, kind }
    }
}

/// The faults that wait, first come first served.
#[derive(Debug, Default)]
pub struct Faults(VecDeque<Fault>);

impl Faults {
    /// Adds a fault behind those that wait already.
    pub fn push(&mut self, fault: Fault) {
        self.0.push_back(fault);
    }

    /// Drops every fault that still waits.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many faults still wait.
    pub fn waiting(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn take(&mut self, command: &str, parameters: &BTreeMap<String, String>) -> Option<FaultKind> {
        let is_about = |(name, value): &(String, String)| parameters.get(name) == Some(value);
        let at = self.0.iter().position(|fault| {
            fault.command.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(command))
                && fault.about.as_ref().is_none_or(is_about)
        })?;
        let fault = self.0.get_mut(at)?;
        fault.calls = fault.calls.saturating_sub(1);
        let kind = fault.kind.clone();
        if fault.calls == 0 {
            self.0.remove(at);
        }
        Some(kind)
    }
}
