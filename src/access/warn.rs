//! Warnings before a pair ends: each threshold once, and after an outage only the nearest.

use super::{
    AccessSettings, Error, PAGE,
    tell::{self, News},
};
use crate::{
    ids::KeyRequestId,
    store::{Store, keys, people},
    time::Timestamp,
};

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// Warns of every pair that ends soon; says how many warnings were given. A pair that another one takes over from is not
/// warned of: its end was told with that.
pub async fn warn(store: &Store, settings: &AccessSettings, now: Timestamp) -> Result<usize, Error> {
    let mut warned = 0;
    for state in ["issued", "shown"] {
        let mut after = KeyRequestId::new(0);
        loop {
            let mut tx = store.begin().await?;
            let page = people::list_key_requests_after(&mut tx, state, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for request in &page {
                let Some(expires) = request.expires_ms.map(Timestamp::from_ms) else { continue };
                let begun = request.issued_ms.map_or(now, Timestamp::from_ms);
                let thresholds: Vec<u32> =
                    settings.warn_days.iter().copied().filter(|days| is_shorter(*days, begun, expires)).collect();
                let Some(days) = due(expires, now, &thresholds, request.warned_days) else { continue };
                let rotated = keys::find_successor(&mut tx, request.id).await?.is_some();
                if keys::put_warned(&mut tx, request.id, i64::from(days)).await? && !rotated {
                    tell::tell(&mut tx, request, News::Expiring { days, expires }, settings.zone, now).await?;
                    warned += 1;
                }
            }
            tx.commit().await?;
        }
    }
    Ok(warned)
}

/// Whether a threshold lies within a pair's life: whoever gets a pair for a week need not hear at once that it ends within two.
/// Pure.
fn is_shorter(days: u32, begun: Timestamp, expires: Timestamp) -> bool {
    expires.as_seconds() - begun.as_seconds() > i64::from(days) * DAY_SECONDS
}

/// The threshold that a pair has come under and was not warned of: the least one, so that nobody gets three mails at once
/// after an outage. None once it has ended. Pure.
fn due(expires: Timestamp, now: Timestamp, thresholds: &[u32], warned: Option<i64>) -> Option<u32> {
    let left = expires.as_seconds() - now.as_seconds();
    if left <= 0 {
        return None;
    }
    let days = thresholds.iter().copied().filter(|days| left <= i64::from(*days) * DAY_SECONDS).min()?;
    warned.is_none_or(|told| told > i64::from(days)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_counts_only_within_a_pairs_life() {
        let end = Timestamp::from_seconds(7 * DAY_SECONDS);
        let counted: Vec<u32> =
            [14, 7, 3].into_iter().filter(|days| is_shorter(*days, Timestamp::from_seconds(0), end)).collect();
        assert_eq!(counted, [3]);
    }

    #[test]
    fn each_threshold_is_due_once_and_only_the_nearest_after_an_outage() {
        let end = Timestamp::from_seconds(100 * DAY_SECONDS);
        let at = |days: i64| Timestamp::from_seconds((100 - days) * DAY_SECONDS);
        let all = [14, 3, 1];
        assert_eq!(due(end, at(15), &all, None), None);
        assert_eq!(due(end, at(14), &all, None), Some(14));
        assert_eq!(due(end, at(13), &all, Some(14)), None);
        assert_eq!(due(end, at(3), &all, Some(14)), Some(3));
        assert_eq!(due(end, at(1), &all, None), Some(1), "after an outage");
        assert_eq!(due(end, at(1), &all, Some(1)), None);
        assert_eq!(due(end, at(0), &all, None), None, "it has ended");
        assert_eq!(due(end, at(1), &[], None), None);
    }
}
