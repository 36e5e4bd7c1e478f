//! Ids as types of their own, so that no account's number is ever taken for a payer's.

use std::{fmt, str::FromStr};

use uuid::Uuid;

macro_rules! row_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(i64);

        impl $name {
            /// The id of a stored row.
            pub const fn new(row: i64) -> Self {
                Self(row)
            }

            /// The row's number.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

row_id! {
    /// A CloudStack account as bursar's store numbers it.
    AccountId,
    /// A payer: who pays and whom a limit belongs to.
    PayerId,
    /// One pass of a job.
    RunId,
    /// A stored decision.
    DecisionId,
    /// A balanced transfer in the ledger.
    TransferId,
    /// A stored version of the price book.
    PriceBookId,
    /// A request for API access.
    KeyRequestId,
    /// A mail in the outbox.
    MailId,
}

/// The UUID that CloudStack gave an entity. Text of users never becomes one unchecked (facts 1.3: old commands would
/// take an internal number instead).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct CloudId(Uuid);

impl CloudId {
    /// Wraps a UUID.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for CloudId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for CloudId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(text).map(Self)
    }
}
