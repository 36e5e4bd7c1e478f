//! The notify rung: thresholds by percent used, by amount available and by days left, each noticed once an epoch; and how events
//! are named.

use std::{collections::BTreeSet, time::Duration};

use super::{
    amounts::percent_is_used,
    decision::{NoticeWanted, Rung},
    facts::Facts,
    rules::{Policy, Rule},
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
    // Of nothing that is available nothing lasts for days.
    let lasts = facts.days_left.filter(|_| facts.figures.available.is_positive());
    let reached = policy.notify_days_left.iter().filter(|days| lasts.is_some_and(|left| left <= **days)).min();
    if let Some(days) = reached
        && !policy.notify_days_left.iter().any(|other| other <= days && noticed(format!("days-left-{other}")))
    {
        want(format!("days-left-{days}"), sentences::days_left(facts, facts.days_left.unwrap_or(0)));
    }
    notices
}

/// How often somebody who is over the credit is reminded.
const REMIND_EVERY: Duration = Duration::from_hours(7 * 24);

/// What single people want to hear of: the highest of each person's own thresholds that was reached, once an epoch, and a
/// reminder for each week that the account has been over its credit. Who gets them is decided when mails are made
/// ([`super::topics`]).
pub fn personal(policy: &Policy, facts: &Facts<'_>, own: &[BTreeSet<u32>]) -> Vec<NoticeWanted> {
    if !facts.is_managed()
        || !facts.in_scope
        || facts.protected.is_some()
        || facts.exemption.is_some_and(|exemption| exemption.no_notices)
    {
        return Vec::new();
    }
    let mut notices: Vec<NoticeWanted> = Vec::new();
    let mut want = |event: String, sentence: String| {
        if !facts.noticed.contains(&event) && notices.iter().all(|notice| notice.event != event) {
            notices.push(NoticeWanted { event, sentence, acts_at: None, rung: Rung::Notify });
        }
    };
    for thresholds in own {
        let reached = thresholds.iter().rev().find(|percent| percent_is_used(&facts.figures, **percent));
        if let Some(percent) = reached
            && !thresholds.iter().any(|other| other > percent && facts.noticed.contains(&format!("own-{other}")))
        {
            want(format!("own-{percent}"), sentences::used(facts, *percent));
        }
    }
    let earliest = |of: fn(&Rule) -> bool| {
        let rungs = Rung::ACTING.into_iter().filter(|rung| policy.rule(*rung).is_some_and(of));
        rungs.filter_map(|rung| facts.reached.get(rung)).min()
    };
    // A rule that is reached while credit is left does not tell since when there was none.
    let used_up = earliest(Rule::wants_credit_used_up);
    if let Some(since) = used_up.or_else(|| earliest(|_| true))
        && !facts.figures.available.is_positive()
        && since <= facts.now
    {
        let over = facts.now.since(since);
        let weeks = over.as_secs() / REMIND_EVERY.as_secs();
        if weeks > 0 {
            let days = used_up.map(|_| over.as_secs() / 86_400);
            want(format!("overdue-{}-{weeks}", since.as_seconds()), sentences::overdue(policy, facts, days));
        }
    }
    notices
}
