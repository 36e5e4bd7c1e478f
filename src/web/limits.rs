//! How many requests one session or token may send: a bucket of tokens for each, filled again as time goes by.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::time::Timestamp;

/// A named limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Limit {
    /// Pages and forms of one CloudStack session.
    Pages,
    /// Questions to CloudStack who somebody is, for one CloudStack session.
    Proofs,
    /// Questions to CloudStack about sessions that are not known yet, all together.
    Strangers,
    /// Sign-ins sent to issuers, all together.
    SignIns,
    /// Answers of issuers that nobody waits for, all together.
    Returns,
    /// Tokens of signed links that nobody knows, all together.
    Links,
    /// Wishes for a new link to one address.
    Wishes,
    /// Wishes for new links, all together.
    AllWishes,
    /// Mails that one account has sent to its own people.
    Letters,
    /// Promo codes tried by one account: too few to guess one.
    Codes,
    /// Calls with one service token.
    Calls,
    /// Calls with tokens that nobody knows, all together.
    UnknownTokens,
    /// Links of mails that nobody knows, all together.
    UnknownLinks,
}

impl Limit {
    /// How many at once, and how long until one more is allowed.
    const fn size(self) -> (u32, Duration) {
        match self {
            Self::Pages => (60, Duration::from_millis(500)),
            Self::Proofs => (20, Duration::from_secs(3)),
            Self::Strangers => (200, Duration::from_millis(100)),
            Self::SignIns | Self::Returns | Self::Links => (100, Duration::from_millis(200)),
            Self::Wishes => (3, Duration::from_mins(20)),
            Self::AllWishes => (60, Duration::from_secs(10)),
            Self::Letters => (5, Duration::from_mins(12)),
            Self::Codes => (20, Duration::from_secs(30)),
            Self::Calls => (120, Duration::from_millis(100)),
            Self::UnknownTokens | Self::UnknownLinks => (60, Duration::from_secs(1)),
        }
    }
}

/// Buckets beyond so many are tidied: full ones say nothing.
const TIDY_FROM: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    since: Timestamp,
}

/// The buckets of this process.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<HashMap<(Limit, String), Bucket>>);

impl Limits {
    /// Takes one; false where none is left.
    pub(super) fn take(&self, limit: Limit, whose: &str, now: Timestamp) -> bool {
        let (size, every) = limit.size();
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > TIDY_FROM {
            buckets.retain(|(limit, _), bucket| filled(*bucket, limit.size(), now).left < limit.size().0);
        }
        let bucket = buckets.entry((limit, whose.to_owned())).or_insert(Bucket { left: size, since: now });
        *bucket = filled(*bucket, (size, every), now);
        let allowed = bucket.left > 0;
        bucket.left = bucket.left.saturating_sub(1);
        allowed
    }
}

fn filled(bucket: Bucket, (size, every): (u32, Duration), now: Timestamp) -> Bucket {
    let more = now.since(bucket.since).as_millis().checked_div(every.as_millis()).unwrap_or(0);
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    if more == 0 && now >= bucket.since {
        return bucket;
    }
    Bucket { left: bucket.left.saturating_add(more).min(size), since: now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let limits = Limits::default();
        let start = Timestamp::from_seconds(1_000);
        assert!((0..20).all(|_| limits.take(Limit::Proofs, "a", start)));
        assert!(!limits.take(Limit::Proofs, "a", start));
        assert!(limits.take(Limit::Proofs, "b", start), "another one has a bucket of its own");
        let later = start.plus(Duration::from_secs(3));
        assert!(limits.take(Limit::Proofs, "a", later));
        assert!(!limits.take(Limit::Proofs, "a", later));
    }
}
