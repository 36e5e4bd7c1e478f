//! What the pages and the API ask of API access, without knowing how keys are made.

use std::{future::Future, pin::Pin};

use crate::{
    approver::Approver,
    ids::{AccountId, KeyRequestId},
    secrets::Secret,
};

/// An answer that is still being worked on.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeyDeskError>> + Send + 'a>>;

/// What stands in the way of a request, for pages that say it in their own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A value can not be taken.
    Value,
    /// The account has as many requests and keys as it may have.
    TooMany(i64),
    /// No key is made in this account.
    Protected,
    /// It is answered, ended or not ready.
    State,
    /// The secret was looked at before.
    ShownBefore,
    /// Another key takes over already.
    Replaced,
    /// Something else, which the words for the caller tell.
    Other,
}

/// Why the desk did not do it.
#[derive(Debug, thiserror::Error)]
pub enum KeyDeskError {
    /// API access is not switched on.
    #[error("API access is not switched on here")]
    Off,
    /// There is no such request.
    #[error("there is no such request")]
    Missing,
    /// The values, the account or the state of the request stand in the way; in words for the caller.
    #[error("{1}")]
    Refused(Refusal, String),
    /// CloudStack does not answer; the same again may work.
    #[error("CloudStack does not answer now; try again")]
    Unavailable,
    /// Nobody expected this; in words for the log.
    #[error("{0}")]
    Unexpected(String),
}

/// A request for API access.
#[derive(Debug, Clone)]
pub struct KeyWish {
    /// Made by the caller; filing the same again gives the same request.
    pub key: String,
    /// For which account.
    pub account: AccountId,
    /// Who asks.
    pub requested_by: String,
    /// Their CloudStack user, where it is known.
    pub for_user: Option<String>,
    /// The pair that the new one is to take over from.
    pub replaces: Option<KeyRequestId>,
    /// What for.
    pub purpose: String,
    /// For how many days.
    pub days: i64,
}

/// What an administrator agrees to.
#[derive(Debug, Clone, Default)]
pub struct KeyTerms {
    /// For how many days, instead of what was asked.
    pub days: Option<i64>,
    /// What for, instead of what was asked.
    pub purpose: Option<String>,
    /// What to tell the person.
    pub message: Option<String>,
}

/// A pair at its one look.
#[derive(Debug, Clone)]
pub struct ShownPair {
    /// The public half.
    pub api_key: String,
    /// The secret half; gone after this.
    pub secret_key: Secret,
}

/// Requests for API access and what becomes of them.
pub trait KeyDesk: Send + Sync {
    /// Whether API access can be requested here.
    fn is_open(&self) -> bool;
    /// Files a request.
    fn file(&self, wish: KeyWish) -> Pending<'_, KeyRequestId>;
    /// Approves a request; false where another administrator has to approve the same.
    fn approve(&self, id: KeyRequestId, by: Approver, terms: KeyTerms) -> Pending<'_, bool>;
    /// Denies a request.
    fn deny(&self, id: KeyRequestId, by: String, message: Option<String>) -> Pending<'_, ()>;
    /// Begins a pair that takes over from another; the same `key` again gives the same.
    fn rotate(&self, id: KeyRequestId, by: String, key: String, for_user: Option<String>) -> Pending<'_, KeyRequestId>;
    /// Takes a key back.
    fn revoke(&self, id: KeyRequestId, by: String) -> Pending<'_, ()>;
    /// Takes a request back that nobody has decided about.
    fn withdraw(&self, id: KeyRequestId, by: String) -> Pending<'_, ()>;
    /// Shows the pair, once.
    fn show_secret(&self, id: KeyRequestId, by: String) -> Pending<'_, ShownPair>;
}

/// The desk where API access is not switched on.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClosedDesk;

fn off<'a, T: Send + 'a>() -> Pending<'a, T> {
    Box::pin(std::future::ready(Err(KeyDeskError::Off)))
}

impl KeyDesk for ClosedDesk {
    fn is_open(&self) -> bool {
        false
    }

    fn file(&self, _: KeyWish) -> Pending<'_, KeyRequestId> {
        off()
    }

    fn approve(&self, _: KeyRequestId, _: Approver, _: KeyTerms) -> Pending<'_, bool> {
        off()
    }

    fn rotate(&self, _: KeyRequestId, _: String, _: String, _: Option<String>) -> Pending<'_, KeyRequestId> {
        off()
    }

    fn deny(&self, _: KeyRequestId, _: String, _: Option<String>) -> Pending<'_, ()> {
        off()
    }

    fn revoke(&self, _: KeyRequestId, _: String) -> Pending<'_, ()> {
        off()
    }

    fn withdraw(&self, _: KeyRequestId, _: String) -> Pending<'_, ()> {
        off()
    }

    fn show_secret(&self, _: KeyRequestId, _: String) -> Pending<'_, ShownPair> {
        off()
    }
}
