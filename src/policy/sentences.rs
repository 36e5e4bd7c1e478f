//! What tenants are told about a decision: the catalogue of sentences (English).
//!
//! The inner words (rung, hold, fuse, quarantine, standing) stay out of it (design 3).

use super::{
    amounts::{opens_at, round_up, to_pay, to_pay_before},
    decision::{Reason, Rung},
    facts::{CreditLimit, Facts},
    rules::Policy,
};
use crate::time::Timestamp;

fn amounts(facts: &Facts<'_>) -> String {
    let currency = facts.currency;
    if facts.figures.total.is_positive() {
        format!("{} of {} were used", currency.format_plain(facts.figures.used), currency.format(facts.figures.total))
    } else {
        format!("there is no credit and {} were used", currency.format(facts.figures.used))
    }
}

/// What to pay, as an amount.
fn sum(policy: &Policy, facts: &Facts<'_>) -> String {
    facts.currency.format(to_pay(policy, facts))
}

/// What has to be available, as an amount.
fn needed(policy: &Policy, facts: &Facts<'_>) -> String {
    facts.currency.format(round_up(opens_at(policy, facts), facts.currency))
}

/// A threshold of percent used was reached.
pub fn used(facts: &Facts<'_>, percent: u32) -> String {
    format!("{percent} % of your credit is used: {}; {}.", amounts(facts), left(facts))
}

/// What is left of the credit, or by how much it is exceeded.
fn left(facts: &Facts<'_>) -> String {
    let available = facts.figures.available;
    match available.negated() {
        Ok(beyond) if available.is_negative() && !is_nothing(facts) => {
            format!("that is {} more than your credit", facts.currency.format(beyond))
        }
        _ if is_nothing(facts) => "nothing is available any more".to_owned(),
        _ => format!("{} are available", facts.currency.format(available)),
    }
}

/// Whether nothing is available, as amounts are shown.
fn is_nothing(facts: &Facts<'_>) -> bool {
    let shown = facts.currency.format(facts.figures.available);
    shown.trim_start_matches('-') == facts.currency.format(crate::money::Money::ZERO)
}

/// A threshold of what is available was reached.
pub fn available(facts: &Facts<'_>) -> String {
    if is_nothing(facts) {
        return format!("Nothing is available any more: {}.", amounts(facts));
    }
    if facts.figures.available.is_negative() {
        return format!("Nothing is available any more: {}; {}.", amounts(facts), left(facts));
    }
    format!("Only {} are available: {}.", facts.currency.format(facts.figures.available), amounts(facts))
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

/// What to pay before a step's date: enough to last until then. Where nothing is known of the rate, that is said.
fn pay_before(policy: &Policy, facts: &Facts<'_>, at: Timestamp) -> String {
    let sum = facts.currency.format(to_pay_before(policy, facts, at));
    let more = if facts.per_day.is_positive() { "" } else { ", plus what is used until then" };
    format!("pay {sum} or more before then{more}")
}

/// A step will be taken on a date.
pub fn warning(policy: &Policy, facts: &Facts<'_>, rung: Rung, at: Timestamp) -> String {
    let (date, amounts, pay) = (at.display_in(facts.zone), amounts(facts), pay_before(policy, facts, at));
    match rung {
        Rung::Restrict => format!(
            "From {date} on nothing can be added to your account because {amounts}. To keep it open, {pay}. What you have keeps \
             running; requests for more, also with API keys, will be refused."
        ),
        Rung::Stop => format!(
            "Your account will be disabled and its machines stopped on {date} because {amounts}. To keep them running, {pay}. Your \
             data is kept; signing in and API keys do not work then."
        ),
        Rung::None | Rung::Notify | Rung::Lock => format!(
            "Your account will be locked on {date} because {amounts}. To keep it open, {pay}. Once it is locked, signing in and API \
             keys stop working; your machines keep running."
        ),
    }
}

/// A step is being taken.
pub fn stepped_down(policy: &Policy, facts: &Facts<'_>, rung: Rung) -> String {
    let (now, amounts) = (facts.now.display_in(facts.zone), amounts(facts));
    let (sum, needed) = (sum(policy, facts), needed(policy, facts));
    match rung {
        Rung::Restrict => format!(
            "Your account was restricted on {now} because {amounts}: nothing can be added to it; that ends as soon as {needed} are \
             available, so pay {sum} or more. What you have keeps running; signing in and API keys keep working."
        ),
        Rung::Stop => format!(
            "Your account was disabled and its machines were stopped on {now} because {amounts}; it opens again, and the machines \
             that ran are started, as soon as {needed} are available, so pay {sum} or more. Your data is kept. Signing in and API \
             keys do not work until then."
        ),
        Rung::None | Rung::Notify | Rung::Lock => format!(
            "Your account was locked on {now} because {amounts}; it opens again as soon as {needed} are available, so pay {sum} or \
             more. Your machines keep running. Signing in and API keys do not work until then."
        ),
    }
}

/// The account stays as it was made.
pub fn still(policy: &Policy, facts: &Facts<'_>, rung: Rung) -> String {
    let (amounts, sum, needed) = (amounts(facts), sum(policy, facts), needed(policy, facts));
    match rung {
        Rung::Restrict => format!(
            "Nothing can be added to your account because {amounts}; that ends as soon as {needed} are available, so pay {sum} or \
             more."
        ),
        Rung::Stop => format!(
            "Your account is disabled and its machines are stopped because {amounts}; it opens again as soon as {needed} are \
             available, so pay {sum} or more."
        ),
        Rung::None | Rung::Notify | Rung::Lock => format!(
            "Your account is locked because {amounts}; it opens again as soon as {needed} are available, so pay {sum} or more."
        ),
    }
}

/// The account has been over its credit for weeks: for so many days, where that is known.
pub fn overdue(policy: &Policy, facts: &Facts<'_>, days: Option<u64>) -> String {
    let over = match days {
        Some(days) => format!("has been over its credit for {days} days"),
        None => "is over its credit".to_owned(),
    };
    format!("Payment is overdue: your account {over}, {}. Please pay {} or more.", amounts(facts), sum(policy, facts))
}

/// What was taken is being given back.
pub fn restored(facts: &Facts<'_>, rung: Rung) -> String {
    let now = facts.now.display_in(facts.zone);
    let why = if facts.credit_limit == CreditLimit::Removed {
        "no credit limit applies to it any more".to_owned()
    } else {
        format!("{} are available", facts.currency.format(facts.figures.available))
    };
    match rung {
        Rung::Restrict => format!("Your account is no longer restricted since {now}: {why}."),
        Rung::Stop => {
            format!("Your account was opened again on {now}, and the machines that ran before are started: {why}.")
        }
        Rung::None | Rung::Notify | Rung::Lock => format!("Your account was opened again on {now}: {why}."),
    }
}

/// A step is due and waits.
pub fn held_back(policy: &Policy, facts: &Facts<'_>, present: Rung) -> String {
    match present {
        Rung::None | Rung::Notify if facts.figures.available.is_positive() && !is_nothing(facts) => {
            format!("Your credit is nearly used up: {}. Please pay soon.", amounts(facts))
        }
        Rung::None | Rung::Notify => format!("Your credit is used up: {}. Please pay soon.", amounts(facts)),
        Rung::Restrict | Rung::Lock | Rung::Stop => still(policy, facts, present),
    }
}

/// The account is never touched.
pub fn protected(why: &str) -> String {
    format!("This account is never suspended: {why}.")
}

/// How things are, where nothing is done.
pub fn standing(policy: &Policy, facts: &Facts<'_>, reason: Reason) -> String {
    match reason {
        Reason::NotManaged => "No credit limit applies to this account.".to_owned(),
        Reason::OutOfScope => "This account is not billed here yet.".to_owned(),
        Reason::SuspendedByOthers if facts.state == "enabled" => {
            "The cloud's administrators look after this account themselves: nothing is done about its credit for now."
                .to_owned()
        }
        Reason::SuspendedByOthers => {
            format!("This account was {} by the cloud's administrators, not for billing.", facts.state)
        }
        Reason::OtherHold => {
            let why = if facts.credit_limit == CreditLimit::Removed {
                "No credit limit applies any more"
            } else {
                "Enough is available again"
            };
            format!("{why}, but the cloud's administrators keep this account closed; please ask them.")
        }
        Reason::EnabledByOthers => {
            "This account was closed for billing and has been opened by an administrator.".to_owned()
        }
        Reason::StepsAreOff => held_back(policy, facts, Rung::None),
        _ => format!("{}; {}.", sentence_case(&amounts(facts)), left(facts)),
    }
}

fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
