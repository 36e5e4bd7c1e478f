//! Words of "Prices".

use crate::usage::types::Unit;

words! {
    YOUR_PRICES = "What you pay";
    YOUR_PRICES_NOTE = "These are the prices of your account, after discounts. What is not listed has no price and is not charged.";
    NO_PRICES = "No prices are set yet.";
    SERVICE = "Service";
    ALL = "all";
    ALL_OTHERS = "all others";
    PRICE = "Price, net";
    GROSS_PRICE = "With tax";
    VALID = "Valid";
    ALWAYS = "until further notice";
    FREE = "free";
    FREE_SERVICES = "Free of charge";
    NOT_PRICED = "no price yet: not charged";
    INSTEAD_OF = "instead of";
    COMING = "to come";
    TAX_RATE = "Tax";

    ESTIMATE = "What would a machine cost?";
    ESTIMATE_NOTE = "Calculated by the same rules as your bill. Traffic, snapshots and backups come on top, by what is used.";
    OFFERING = "Offering";
    ANY_OFFERING = "any: by CPUs and memory";
    CPU = "CPUs";
    MEMORY = "Memory in GiB";
    DISK = "Root disk in GiB";
    ADDRESS = "A public IP address of its own";
    HOURS = "Hours it runs in the month";
    HOURS_HINT = "Empty: the whole month. It exists all month in any case, and so do its disk and its address.";
    MONTH = "Month";
    ESTIMATE_BUTTON = "Calculate";
    ITEM = "Item";
    QUANTITY = "Quantity";
    PRICE_EACH = "Price";
    NET = "Net";
    TAX = "Tax";
    GROSS = "With tax";
    RESULT = "Cost for";
    IS_FREE = "Free of charge:";
    IS_UNPRICED = "No price for at least part of the month, not included in the total:";
    SHARE = "Share of your total credit";
    NO_CREDIT = "no credit";
    DAYS_LEFT = "Days left with this machine added";
    NO_DAYS_LEFT = "no end in sight";
    STEPS_NOTE = "Graduated prices begin at their first step here: what you use already is not counted.";
    MORE_NOTE = "Some of your prices depend on zone, template, operating system or tags; they are not in this estimate.";

    NOT_A_COUNT = "Write a whole number such as 4.";
    NOT_A_SIZE = "Write a number of GiB such as 8.";
    NOT_HOURS = "Write a number of hours such as 200, or leave it empty.";
    MORE_HOURS_THAN_MONTH = "The month has fewer hours.";
    NOT_A_MONTH = "Choose one of the months.";
    BEYOND = "That is beyond any cloud.";

    RUNNING = "Machine, while it runs";
    EXISTING = "Machine, while it exists";
    ROOT_DISK = "Root disk";
    IP_ADDRESS = "Public IP address";
}

/// What a price is for.
pub(in crate::web) const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Hour => "per hour",
        Unit::Month => "per month",
        Unit::GibHour => "per GiB-hour",
        Unit::GibMonth => "per GiB-month",
        Unit::Gb => "per GB",
        Unit::Gib => "per GiB",
        Unit::Million => "per million requests",
    }
}

/// Many of a unit.
pub(in crate::web) const fn units(unit: Unit) -> &'static str {
    match unit {
        Unit::Hour => "hours",
        Unit::Month => "months",
        Unit::GibHour => "GiB-hours",
        Unit::GibMonth => "GiB-months",
        Unit::Gb => "GB",
        Unit::Gib => "GiB",
        Unit::Million => "million requests",
    }
}

/// Where a step of a graduated price lies, in a month.
pub(in crate::web) fn step(from: Option<&str>, up_to: Option<&str>, units: &str) -> String {
    match (from, up_to) {
        (None, Some(up_to)) => format!("the first {up_to} {units} of a month"),
        (Some(from), Some(up_to)) => format!("from {from} to {up_to} {units}"),
        (Some(from), None) => format!("beyond {from} {units}"),
        (None, None) => String::new(),
    }
}

/// A step of a price line.
pub(in crate::web) fn step_number(number: u32) -> String {
    format!("step {number}")
}

/// Percent off.
pub(in crate::web) fn discount(percent: &str) -> String {
    format!("{percent} % discount")
}

/// From a day on.
pub(in crate::web) fn from(day: &str) -> String {
    format!("from {day}")
}

/// To a day with it.
pub(in crate::web) fn up_to(day: &str) -> String {
    format!("up to {day}")
}

/// To an instant.
pub(in crate::web) fn until(at: &str) -> String {
    format!("until {at}")
}

/// Between two days.
pub(in crate::web) fn both(from: &str, until: &str) -> String {
    format!("{from} {until}")
}

/// A tag.
pub(in crate::web) fn tagged(tag: &str) -> String {
    format!("with the tag {tag}")
}

/// A template.
pub(in crate::web) fn template(name: &str) -> String {
    format!("template {name}")
}

/// An OS type.
pub(in crate::web) fn os_type(id: &str) -> String {
    format!("OS type {id}")
}

/// A zone.
pub(in crate::web) fn zone(id: &str) -> String {
    format!("zone {id}")
}

/// A range of sizes.
pub(in crate::web) fn range(from: i64, below: Option<i64>, what: &str) -> String {
    match (from, below) {
        (from, None) => format!("{from} {what} or more"),
        (0, Some(below)) => format!("fewer than {below} {what}"),
        (from, Some(below)) => format!("{from} to below {below} {what}"),
    }
}

/// CPUs, for [`range`].
pub(in crate::web) const CPUS: &str = "CPUs";
/// Memory, for [`range`].
pub(in crate::web) const MIB: &str = "MiB of memory";

/// A size of a disk.
pub(in crate::web) fn gib(size: i64) -> String {
    format!("{size} GiB")
}
