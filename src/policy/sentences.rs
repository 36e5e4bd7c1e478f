//! What tenants are told about a decision: the catalogue of sentences (English).
//!
//! The inner words (rung, hold, fuse, quarantine, standing) stay out of it (design 3).

use super::decide::{Facts, Reason};
use crate::{money::Money, time::Timestamp};

fn amounts(facts: &Facts<'_>) -> String {
    let currency = facts.currency;
    if facts.figures.total.is_positive() {
        format!("{} of {} were used", currency.format_plain(facts.figures.used), currency.format(facts.figures.total))
    } else {
        format!("there is no credit and {} were used", currency.format(facts.figures.used))
    }
}

fn to_pay(facts: &Facts<'_>, needed: Money) -> Money {
    needed.minus(facts.figures.available).unwrap_or(needed)
}

/// A threshold of percent used was reached.
pub fn used(facts: &Facts<'_>, percent: u32) -> String {
    format!(
        "{percent} % of your credit is used: {}; {} are available.",
        amounts(facts),
        facts.currency.format(facts.figures.available)
    )
}

/// The balance lasts only so long.
pub fn days_left(facts: &Facts<'_>, days: i64) -> String {
    let span = match days {
        0 => "less than a day".to_owned(),
        1 => "about one day".to_owned(),
        more => format!("about {more} days"),
    };
    format!(
        "At the present rate of {} a day your available {} last {span}.",
        facts.currency.format(facts.per_day),
        facts.currency.format(facts.figures.available)
    )
}

/// The account will be locked on a date.
pub fn lock_warning(facts: &Facts<'_>, at: Timestamp, needed: Money) -> String {
    format!(
        "Your account will be locked on {} because {}. To keep it open, pay {} or more before then. Once it is locked, signing \
         in and API keys stop working; your machines keep running.",
        at.display_in(facts.zone),
        amounts(facts),
        facts.currency.format(to_pay(facts, needed))
    )
}

/// The account is being locked.
pub fn locked(facts: &Facts<'_>, needed: Money) -> String {
    format!(
        "Your account was locked on {} because {}; it opens again as soon as {} are available, so pay {} or more. Your machines \
         keep running. Signing in and API keys do not work until then.",
        facts.now.display_in(facts.zone),
        amounts(facts),
        facts.currency.format(needed),
        facts.currency.format(to_pay(facts, needed))
    )
}

/// The account stays locked.
pub fn still_locked(facts: &Facts<'_>, needed: Money) -> String {
    format!(
        "Your account is locked because {}; it opens again as soon as {} are available, so pay {} or more.",
        amounts(facts),
        facts.currency.format(needed),
        facts.currency.format(to_pay(facts, needed))
    )
}

/// The account is being opened.
pub fn restored(facts: &Facts<'_>) -> String {
    format!(
        "Your account was opened again on {}: {} are available.",
        facts.now.display_in(facts.zone),
        facts.currency.format(facts.figures.available)
    )
}

/// A lock is due and waits.
pub fn held_back(facts: &Facts<'_>) -> String {
    format!("Your credit is used up: {}. Please pay soon.", amounts(facts))
}

/// The account is never touched.
pub fn protected(why: &str) -> String {
    format!("This account is never suspended: {why}.")
}

/// How things are, where nothing is done.
pub fn standing(facts: &Facts<'_>, reason: Reason) -> String {
    let available = facts.currency.format(facts.figures.available);
    match reason {
        Reason::NotManaged => "No credit limit applies to this account.".to_owned(),
        Reason::OutOfScope => "This account is not billed here yet.".to_owned(),
        Reason::SuspendedByOthers => {
            format!("This account was {} by the cloud's administrators, not for billing.", facts.state)
        }
        Reason::OtherHold => {
            "Enough is available again, but the cloud's administrators keep this account closed; please ask them.".to_owned()
        }
        Reason::EnabledByOthers => {
            "This account was locked for billing and has been opened by an administrator.".to_owned()
        }
        Reason::LockIsOff => format!("Your credit is used up: {}. Please pay soon.", amounts(facts)),
        _ => format!("{}; {available} are available.", sentence_case(&amounts(facts))),
    }
}

fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
