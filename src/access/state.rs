//! The states of a request for API access and the only ways between them. Pure.
//!
//! ```text
//! requested ─┬─▶ denied
//!            ├─▶ revoked   (withdrawn)
//!            └─▶ approved ─┬─▶ failed   (nothing was made in CloudStack)
//!                          ├─▶ issued ─┬─▶ shown ─┐
//!                          │           │          │
//!                          └───────────┴──────────┴─▶ revoking ─▶ revoked
//! ```

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Filed; an administrator has to decide.
    Requested,
    /// To be made: the dedicated user may be there already, its pair is not stored.
    Approved,
    /// Declined. The end.
    Denied,
    /// The pair works and its secret waits, encrypted, for its one look.
    Issued,
    /// The pair works, and only the person has its secret.
    Shown,
    /// The user has to go; its secret is erased already.
    Revoking,
    /// The user is gone. The end.
    Revoked,
    /// Could not be carried out, and nothing was made. The end.
    Failed,
}

/// What can happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An administrator agrees.
    Approve,
    /// An administrator declines.
    Deny,
    /// The pair was made and is stored.
    Issue,
    /// The secret was looked at.
    Show,
    /// A person ends it.
    Revoke,
    /// Whoever asked does not want it any more, before anybody has decided.
    Withdraw,
    /// Its days are over.
    Expire,
    /// Nobody looked at the secret in time: nobody has it, so the pair is of no use.
    Lapse,
    /// The pair in CloudStack is not the one that bursar made.
    Mistrust,
    /// It must not be carried out after all, and the user was made (or may have been).
    Abandon,
    /// It must not be carried out after all, and no user was made.
    Fail,
    /// The user is gone from CloudStack.
    End,
}

/// Every state.
pub const STATES: [KeyState; 8] = [
    KeyState::Requested,
    KeyState::Approved,
    KeyState::Denied,
    KeyState::Issued,
    KeyState::Shown,
    KeyState::Revoking,
    KeyState::Revoked,
    KeyState::Failed,
];

impl KeyState {
    /// The word in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Issued => "issued",
            Self::Shown => "shown",
            Self::Revoking => "revoking",
            Self::Revoked => "revoked",
            Self::Failed => "failed",
        }
    }

    /// The state of a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        STATES.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing will happen to it any more.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Denied | Self::Revoked | Self::Failed)
    }
}

/// The state after a step; None where the step is not possible.
pub const fn next(state: KeyState, step: Step) -> Option<KeyState> {
    match (state, step) {
        (KeyState::Requested, Step::Approve) => Some(KeyState::Approved),
        (KeyState::Requested, Step::Deny) => Some(KeyState::Denied),
        (KeyState::Approved, Step::Issue) => Some(KeyState::Issued),
        (KeyState::Approved, Step::Fail) => Some(KeyState::Failed),
        (KeyState::Issued, Step::Show) => Some(KeyState::Shown),
        (KeyState::Approved, Step::Revoke | Step::Abandon)
        | (KeyState::Issued, Step::Revoke | Step::Expire | Step::Lapse | Step::Mistrust)
        | (KeyState::Shown, Step::Revoke | Step::Expire | Step::Mistrust) => Some(KeyState::Revoking),
        (KeyState::Requested, Step::Withdraw) | (KeyState::Revoking, Step::End) => Some(KeyState::Revoked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 12] = [
        Step::Approve,
        Step::Deny,
        Step::Issue,
        Step::Show,
        Step::Revoke,
        Step::Withdraw,
        Step::Expire,
        Step::Lapse,
        Step::Mistrust,
        Step::Abandon,
        Step::Fail,
        Step::End,
    ];

    #[test]
    fn every_word_reads_back() {
        for state in STATES {
            assert_eq!(KeyState::from_word(state.as_str()), Some(state));
        }
        assert_eq!(KeyState::from_word("granted"), None);
    }

    #[test]
    fn an_ended_request_stays_ended_and_every_other_can_end() {
        for state in STATES {
            let followers: Vec<KeyState> = STEPS.into_iter().filter_map(|step| next(state, step)).collect();
            assert_eq!(followers.is_empty(), state.is_ended(), "{state:?}");
        }
    }

    #[test]
    fn a_pair_is_made_only_after_an_approval_and_shown_only_once() {
        for state in STATES {
            assert_eq!(next(state, Step::Issue).is_some(), state == KeyState::Approved, "{state:?}");
            assert_eq!(next(state, Step::Show).is_some(), state == KeyState::Issued, "{state:?}");
            assert_eq!(next(state, Step::End).is_some(), state == KeyState::Revoking, "{state:?}");
        }
    }

    #[test]
    fn only_what_nobody_has_decided_is_withdrawn() {
        for state in STATES {
            assert_eq!(next(state, Step::Withdraw).is_some(), state == KeyState::Requested, "{state:?}");
        }
    }

    #[test]
    fn whatever_may_have_a_user_in_cloudstack_ends_by_its_deletion() {
        for state in [KeyState::Approved, KeyState::Issued, KeyState::Shown] {
            assert_eq!(next(state, Step::Revoke), Some(KeyState::Revoking));
        }
    }
}
