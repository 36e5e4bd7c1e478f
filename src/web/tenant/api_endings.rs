//! How requests for API access and their keys ended, as the page tells it: from the audit trail, in words of the catalogue.

use chrono_tz::Tz;

use crate::{
    access::{MADE_TWICE, TIME_OVER, USER_GONE},
    store::{keys::Ending, people::KeyRequest},
    time::Timestamp,
    web::words::api_access::{self as text, Who},
};

/// The word of a request that was taken back before there was a key.
pub(super) const WITHDRAWN: &str = "withdrawn";

/// What is known of a request.
pub(super) struct Known<'a> {
    pub(super) request: &'a KeyRequest,
    /// What the audit trail has.
    pub(super) ending: Option<&'a Ending>,
    pub(super) now: Timestamp,
    /// Until when its secret could be looked at.
    pub(super) look_until: Option<Timestamp>,
    /// Whoever looks at the page, as the audit trail names them.
    pub(super) you: &'a str,
    /// The account's full name.
    pub(super) account: &'a str,
}

impl Known<'_> {
    fn works(&self) -> bool {
        matches!(self.request.state.as_str(), "issued" | "shown")
    }

    fn expired(&self) -> Option<Timestamp> {
        self.request.expires_ms.map(Timestamp::from_ms).filter(|end| self.works() && *end <= self.now)
    }

    fn not_fetched(&self) -> Option<Timestamp> {
        self.look_until.filter(|end| self.request.state == "issued" && *end <= self.now)
    }

    /// Whether its time is over, though no pass has come by yet.
    pub(super) fn is_over(&self) -> bool {
        self.expired().is_some() || self.not_fetched().is_some()
    }

    /// Its state, told apart further than the store does.
    pub(super) fn word(&self) -> &str {
        let action = self.ending.map_or("", |ending| ending.action.as_str());
        match (self.request.state.as_str(), action) {
            ("revoking" | "revoked", "key.withdraw") => WITHDRAWN,
            ("revoking" | "revoked", "key.revoke") if self.request.issued_ms.is_none() => WITHDRAWN,
            ("revoking" | "revoked", "key.abandon") => "failed",
            (state, _) => state,
        }
    }

    fn who<'b>(&'b self, ending: &'b Ending) -> Who<'b> {
        if ending.actor == self.you {
            return Who::You;
        }
        // Authors of pages are told with the account that they acted for.
        ending
            .actor
            .strip_suffix(')')
            .and_then(|actor| actor.strip_suffix(self.account))
            .and_then(|actor| actor.strip_suffix(" ("))
            .map_or(Who::Administrator, Who::Person)
    }

    /// How and when it ended; None while it has not, and where nobody noted it.
    pub(super) fn sentence(&self, zone: Tz) -> Option<String> {
        let told = |how: text::Ending<'_>, at: Timestamp| text::ending(&how, &at.display_in(zone));
        if let Some(at) = self.expired() {
            return Some(told(text::Ending::Expired, at));
        }
        if let Some(at) = self.not_fetched() {
            return Some(told(text::Ending::NotFetched, at));
        }
        let ending = self.ending?;
        let answer = ending.answer.as_deref().unwrap_or_default();
        let how = match ending.action.as_str() {
            "key.expire" => text::Ending::Expired,
            "key.lapse" => text::Ending::NotFetched,
            "key.deny" => text::Ending::Denied,
            "key.mistrust" if answer == MADE_TWICE => text::Ending::FailedTwice,
            "key.mistrust" => text::Ending::Changed,
            "key.withdraw" => text::Ending::Withdrawn(self.who(ending)),
            "key.revoke" if self.request.issued_ms.is_none() => text::Ending::Withdrawn(self.who(ending)),
            "key.revoke" => text::Ending::Revoked(self.who(ending)),
            _ if answer.contains(TIME_OVER) => text::Ending::FailedTooLate,
            _ if answer.contains(USER_GONE) => text::Ending::FailedUserGone,
            _ => text::Ending::Failed,
        };
        Some(told(how, ending.at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AccountId, KeyRequestId};

    const ALICE: &str = "alice (ROOT/alice)";

    fn request(state: &str, issued: bool) -> KeyRequest {
        KeyRequest {
            id: KeyRequestId::new(1),
            account_id: AccountId::new(1),
            requested_by: ALICE.to_owned(),
            purpose: "backups".to_owned(),
            days: 30,
            state: state.to_owned(),
            decided_by: None,
            message: None,
            user_id: None,
            username: None,
            api_key: None,
            secret_box: None,
            requested_ms: 0,
            claim_ends_ms: None,
            issued_ms: issued.then_some(0),
            expires_ms: issued.then_some(1_000),
            revoked_ms: None,
            last_error: None,
            kind: "dedicated".to_owned(),
            for_user: None,
            replaces: None,
            ends_ms: None,
            pair_id: None,
            warned_days: None,
            watched: None,
            shown_ms: None,
        }
    }

    fn told(state: &str, issued: bool, (action, actor, answer): (&str, &str, &str), now: i64) -> (String, String) {
        let request = request(state, issued);
        let ending = Ending {
            request_id: request.id,
            action: action.to_owned(),
            actor: actor.to_owned(),
            at_ms: Timestamp::from_ms(5),
            answer: Some(answer.to_owned()),
        };
        let known = Known {
            request: &request,
            ending: Some(&ending).filter(|_| !action.is_empty()),
            now: Timestamp::from_ms(now),
            look_until: issued.then_some(Timestamp::from_ms(500)),
            you: ALICE,
            account: "ROOT/alice",
        };
        (known.word().to_owned(), known.sentence(Tz::UTC).unwrap_or_default())
    }

    #[test]
    fn each_ending_says_who_or_why() {
        for (state, issued, entry, word, says) in [
            ("revoked", true, ("key.expire", "api access", ""), "revoked", "Its time was over"),
            ("revoking", true, ("key.lapse", "api access", ""), "revoking", "Nobody looked at its secret in time"),
            ("revoked", true, ("key.revoke", ALICE, ""), "revoked", "You ended the key"),
            ("revoked", true, ("key.revoke", "bob (ROOT/alice)", ""), "revoked", "bob ended the key"),
            ("revoked", true, ("key.revoke", "cli:carol", ""), "revoked", "An administrator ended the key"),
            ("revoked", true, ("key.revoke", "admin (ROOT/admin)", ""), "revoked", "An administrator ended the key"),
            ("revoked", false, ("key.withdraw", ALICE, ""), WITHDRAWN, "You withdrew the request"),
            ("revoked", false, ("key.revoke", "cli:carol", ""), WITHDRAWN, "An administrator withdrew"),
            ("revoked", true, ("key.mistrust", "key pair check", "another pair"), "revoked", "changed by itself"),
            ("revoked", true, ("key.mistrust", "api access", MADE_TWICE), "revoked", "made twice"),
            ("denied", false, ("key.deny", "admin (ROOT/admin)", "no"), "denied", "An administrator refused it"),
            ("failed", false, ("key.fail", "api access", TIME_OVER), "failed", "had passed"),
            ("revoked", false, ("key.abandon", "api access", USER_GONE), "failed", "no longer in CloudStack"),
            (
                "revoked",
                false,
                ("key.abandon", "api access", "its role is"),
                "failed",
                "could not be made for this account",
            ),
        ] {
            let (told_word, sentence) = told(state, issued, entry, 0);
            assert_eq!(told_word, word, "{entry:?}");
            assert!(sentence.contains(says), "{entry:?}: {sentence}");
        }
    }

    #[test]
    fn what_has_come_to_its_time_is_told_before_a_pass_has_come_by() {
        let nothing = ("", "", "");
        assert_eq!(told("issued", true, nothing, 499).1, "");
        assert!(told("issued", true, nothing, 500).1.contains("Nobody looked"));
        assert_eq!(told("shown", true, nothing, 999).1, "", "somebody has looked");
        assert!(told("shown", true, nothing, 1_000).1.contains("Its time was over"));
    }
}
