//! The notify rung: thresholds by percent used, by amount available and by days left, each noticed once an epoch; and how events
//! are named.

use super::{
    amounts::percent_is_used,
    decision::{NoticeWanted, Rung},
    facts::Facts,
    rules::Policy,
    sentences,
};
use crate::time::Timestamp;

/// The event of a dated warning: of a step, and of which reaching of its rule.
pub fn warning_event(rung: Rung, since: Timestamp) -> String {
    format!("warning-{}-{}", rung.word(), since.as_seconds())
}

/// The rung that an event belongs to.
pub fn rung_of_event(event: &str) -> Rung {
    event.strip_prefix("warning-").and_then(|rest| rest.split('-').next()).and_then(Rung::parse).unwrap_or(Rung::Notify)
}

/// The nearest threshold of each kind, unless it or a nearer one was noticed in this epoch.
pub(super) fn thresholds(policy: &Policy, facts: &Facts<'_>) -> Vec<NoticeWanted> {
    let mut notices = Vec::new();
    let noticed = |event: String| facts.noticed.contains(&event);
    let mut want = |event: String, sentence: String| {
        notices.push(NoticeWanted { event, sentence, acts_at: None, rung: Rung::Notify });
    };
    let reached = policy.notify_percent.iter().filter(|percent| percent_is_used(&facts.figures, **percent)).max();
    if let Some(percent) = reached
        && !policy.notify_percent.iter().any(|other| other >= percent && noticed(format!("used-{other}")))
    {
        want(format!("used-{percent}"), sentences::used(facts, *percent));
    }
    let reached = policy.notify_available.iter().filter(|amount| facts.figures.available <= **amount).min();
    if let Some(amount) = reached
        && !policy.notify_available.iter().any(|other| other <= amount && noticed(format!("available-{other}")))
    {
        want(format!("available-{amount}"), sentences::available(facts));
    }
    let reached =
        policy.notify_days_left.iter().filter(|days| facts.days_left.is_some_and(|left| left <= **days)).min();
    if let Some(days) = reached
        && !policy.notify_days_left.iter().any(|other| other <= days && noticed(format!("days-left-{other}")))
    {
        want(format!("days-left-{days}"), sentences::days_left(facts, facts.days_left.unwrap_or(0)));
    }
    notices
}
