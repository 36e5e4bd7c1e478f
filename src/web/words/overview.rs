//! The words of the overview beyond those that every page shares.

use crate::policy::Rung;

words! {
    LADDER = "What happens when";
    LADDER_WHAT = "Before your account is locked or its machines are stopped, you are warned by mail and here.";
    NEXT = "next";
    REACHED = "reached";
    NEXT_UPDATE = "next update about";
    TOP = "What costs most";
    TOP_WHAT = "the five dearest of this month, with tax";
    NOTHING_TOP = "Nothing was charged this month.";
    ALL_USAGE = "All usage & cost";
    HOW_TO_PAY = "How to pay, and what happens next";
    WAYS_TO_PAY = "Ways to pay";
}

/// A step of the ladder in the tenant's words: what happens.
pub(in crate::web) const fn step(rung: Rung) -> &'static str {
    match rung {
        Rung::None | Rung::Notify => "you get a notice",
        Rung::Restrict => "nothing new can be made; what runs keeps running",
        Rung::Lock => "the account is locked: signing in and API keys stop working, machines keep running",
        Rung::Stop => "the account is disabled: its machines are stopped, its data is kept",
    }
}

/// When it happens: one of its thresholds.
pub(in crate::web) fn at_percent(percent: u32) -> String {
    format!("{percent} % used")
}

/// When it happens: one of its thresholds.
pub(in crate::web) fn at_available(amount: &str) -> String {
    format!("{amount} or less available")
}

/// When it happens: one of its thresholds.
pub(in crate::web) fn at_days(days: i64) -> String {
    if days == 1 { "one day left at this rate".to_owned() } else { format!("{days} days left at this rate") }
}

/// When it happens: so long after a threshold.
pub(in crate::web) fn after(thresholds: &str, hours: u64) -> String {
    match hours {
        0 => thresholds.to_owned(),
        hours if hours.is_multiple_of(24) && hours > 24 => format!("{thresholds}, for {} days", hours / 24),
        24 => format!("{thresholds}, for a day"),
        hours => format!("{thresholds}, for {hours} hours"),
    }
}

/// The next step, named under the gauge.
pub(in crate::web) fn next(when: &str, what: &str) -> String {
    format!("Next, at {when}: {what}.")
}
