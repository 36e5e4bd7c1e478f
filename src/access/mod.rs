//! API access on approved requests: a dedicated CloudStack user in the account, with a key pair of its own.
//!
//! Promises: nothing is made before an administrator approved; the person's own pair is never touched (up to 4.22
//! registerUserKeys replaces the pair a user has, so every request gets a user of its own); a secret is stored encrypted,
//! shown once and erased; every step is found again after a crash; every change leaves a line in the audit trail.
//! Must not: make a pair in an account of administrators, or hold a transaction across a call to CloudStack.
//!
//! What tells where a request stands after a crash:
//!
//! | state | `user_id` | in CloudStack | the next pass |
//! |---|---|---|---|
//! | approved | none | nothing | notes an id and a name, then makes the user |
//! | approved | noted | perhaps the user, perhaps a pair that nobody saw | reads the user by its id; makes it if it is not there; registers a pair (again) |
//! | issued, shown | noted | the user and its pair | ends it when its days are over, or when nobody looked |
//! | revoking | none | nothing | notes the end |
//! | revoking | noted | perhaps the user | switches its pair off and deletes it; gone is done |
//!
//! A secret that nobody looked at in time is erased, and as nobody has it then, its pair is revoked.
//!
//! A pair that takes over from another (`replaces`) leaves the old one alone until somebody has looked at the new secret;
//! from then on the old one works for the overlap that is configured and then ends by itself. So a crash, or a look that
//! never comes, leaves the old pair working. An adopted pair is one that was there before: it is watched and ended
//! (switched off, its user stays), and its secret is never read.

mod adopt;
mod carry_out;
mod issue;
mod names;
mod pairs;
mod protected;
mod request;
mod rotate;
pub mod rules;
pub mod secret_box;
pub mod self_service;
pub mod self_service_domain;
mod show;
pub mod state;
mod tell;
mod warn;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use adopt::{Adoption, Candidate, adopt, list_candidates};
pub use carry_out::{CarriedOut, carry_out};
use chrono_tz::Tz;
pub use names::{is_key_user, username};
pub use pairs::{AuditedPairs, TouchedUser, audit_pairs, find_touched};
pub use protected::protected_reason;
pub use request::{Approved, Consent, NewRequest, approve, deny, file, revoke, withdraw};
pub use rotate::{Rotated, rotate};
pub use secret_box::{BoxError, BoxKey};
pub use show::{ShownPair, show_secret};
use state::{KeyState, Step};
pub use tell::tell_touched;
pub use warn::warn;

use crate::{
    cloudstack,
    ids::KeyRequestId,
    store::{
        StoreError, Tx,
        people::KeyRequest,
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// Requests gone through at a time.
const PAGE: i64 = 100;

/// What the operator allows.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// Whether it can be requested. Off, nothing new is made; what is there still expires and can be revoked.
    pub enabled: bool,
    /// How the names of users made for keys begin.
    pub user_prefix: String,
    /// Longest life of a pair, in days.
    pub max_days: u32,
    /// How long a secret waits for its one look.
    pub secret_shown: Duration,
    /// Whether two administrators have to approve the same terms.
    pub two_approvals: bool,
    /// How long the old pair works after the secret of the new one was looked at.
    pub overlap: Duration,
    /// Days before the end at which people are warned, falling.
    pub warn_days: Vec<u32>,
    /// The zone in which dates are told.
    pub zone: Tz,
    /// Domain paths and names of accounts that the operator protects.
    pub protected: Vec<(String, String)>,
    /// Whether CloudStack gives a user several pairs, and they are to be used.
    pub several_pairs: bool,
    /// Why nothing is made, shown or given up: a backup was restored, and no administrator has looked yet.
    pub unconfirmed: Option<String>,
}

/// Why something about API access could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator has not switched it on.
    #[error("API access is switched off here ([access] enabled)")]
    Disabled,
    /// A field of the request is not acceptable.
    #[error("{0}")]
    NotAcceptable(String),
    /// Another account has filed a request under this key.
    #[error("this request key is in use; make a new one")]
    KeyInUse,
    /// The account has as many requests and pairs as it may have.
    #[error(
        "this account has {open} requests and key pairs that have not ended, and {limit} is the most. Revoke one that is not needed any more"
    )]
    TooMany {
        /// How many there are.
        open: i64,
        /// How many there may be.
        limit: i64,
    },
    /// No pair is ever made in this account.
    #[error("no key pair is made for {account}: {reason}")]
    Protected {
        /// The account's full name.
        account: String,
        /// Why.
        reason: String,
    },
    /// The request is in no state for this.
    #[error("request {id} is {state}: it can not be {wanted} any more, or not yet")]
    WrongState {
        /// Its number.
        id: KeyRequestId,
        /// Where it stands.
        state: String,
        /// What was wanted of it.
        wanted: &'static str,
    },
    /// The secret was looked at before.
    #[error(
        "the secret of request {0} was shown before and is erased; bursar does not have it any more. Revoke this pair and request another if it is lost"
    )]
    ShownBefore(KeyRequestId),
    /// The name of the dedicated user is in use in the domain.
    #[error(
        "a user \"{0}\" that bursar did not make is in the domain; it was left alone. Rename or delete that user, or revoke this request and file another"
    )]
    NameTaken(String),
    /// CloudStack made a user with another id than it was told.
    #[error(
        "CloudStack gave the new user {0} another id than it was asked to; the user was deleted again. This release can not be used for API access"
    )]
    IdNotTaken(String),
    /// Another pair is to take over already.
    #[error("request {0} is replaced by request {1} already; look at that one, or revoke it and rotate again")]
    RotatedBefore(KeyRequestId, KeyRequestId),
    /// A backup was restored, and no administrator has looked yet.
    #[error(
        "the data here was put back from a backup: until an administrator has looked at it, no key pair is made or shown. Revoking works"
    )]
    Unconfirmed,
    /// The account or user is not what the caller took it for.
    #[error("{0}")]
    NotThere(String),
    /// The box or its key can not be used.
    #[error(transparent)]
    Box(#[from] BoxError),
    /// CloudStack did not do it.
    #[error(transparent)]
    CloudStack(#[from] cloudstack::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a request was not carried out, as the audit trail has it: its days had passed before the pair could be made.
pub const TIME_OVER: &str = "its time is over";
/// The same: the person's own user, which it was for, is gone.
pub const USER_GONE: &str = "the CloudStack user that it was for is gone";
/// Why a pair was ended at once: only one of two is known then.
pub const MADE_TWICE: &str = "two passes made a pair at once";

/// Who acts where no person does.
const BURSAR: &str = "api access";

/// The state that a request is in.
fn state_of(request: &KeyRequest) -> Result<KeyState, StoreError> {
    KeyState::from_word(&request.state)
        .ok_or_else(|| StoreError::Nonsense(format!("request {} is in state \"{}\"", request.id, request.state)))
}

/// The state after a step, or the error that the step is not possible.
fn after(request: &KeyRequest, step: Step, wanted: &'static str) -> Result<KeyState, Error> {
    state::next(state_of(request)?, step).ok_or_else(|| wrong_state(request, wanted))
}

fn wrong_state(request: &KeyRequest, wanted: &'static str) -> Error {
    Error::WrongState { id: request.id, state: request.state.clone(), wanted }
}

/// A line of the audit trail about a request.
async fn note(
    tx: &mut Tx,
    actor: &str,
    action: &str,
    request: KeyRequestId,
    states: (Option<&str>, KeyState),
    answer: Option<String>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: format!("API access request {request}"),
        before_state: states.0.map(str::to_owned),
        after_state: Some(states.1.as_str().to_owned()),
        request_id: Some(request.to_string()),
        answer,
    };
    runs::write_audit(tx, &line).await
}
