//! Words of "Usage & cost".

words! {
    PERIOD = "Period";
    THIS_MONTH = "This month";
    LAST_MONTH = "Last month";
    LAST_30_DAYS = "Last 30 days";
    OWN_DATES = "Own dates";
    FROM = "First day";
    TO = "Last day";
    SHOW = "Show";
    DOWNLOAD = "Download as CSV";
    GROSS = "Cost with tax";
    NET = "Net";
    TAX = "Tax";
    WITH_TAX = "With tax";
    SHARE = "Share";
    OF_IT_NOT_BOOKED = "of it not booked yet";
    TO_DAY = "to";
    ONLY = "Only:";
    ALL_OF_IT = "Show everything";
    BY = "By";
    SERVICE = "Service";
    MACHINE = "VM";
    TAG = "Tag";
    RESOURCE = "Resource";
    PROJECT = "Project";
    TOTAL = "Total";
    EXACT = "Amounts are exact to the millionth; here they are rounded one by one, in the file they are not.";
    NOTHING = "Nothing was used in this time.";
    NO_TAGS = "Usage of this time carries no tags. CloudStack is asked for tags only where a price depends on one.";
    RECORDS = "Records";
    RECORDS_NOTE = "What CloudStack reported, and the price line behind each piece. A record across midnight or a change of price is cut there.";
    BACK = "Back to the figures";
    START = "From";
    END = "Until";
    QUANTITY = "Quantity";
    PRICE_LINE = "Price line";
    NEXT_RECORDS = "Later records";
    FIRST_RECORDS = "From the beginning";
    SUMS = "Days summed up";
    SUMS_NOTE = "Of these days only the daily sums are kept. What they cost stands by service.";
    NO_RECORDS_LEFT = "Single records of this time are no longer kept.";
    BY_DAY = "Cost by day";
    BY_MONTH = "Cost by month";
    ADDED_UP = "Cumulative";
    AS_TABLE = "As a table";
    HISTORY = "The last thirteen months";
    MONTH = "Month";
    CORRECTIONS = "Corrections";
    CORRECTIONS_NOTE = "Bookings that changed what a day had cost before.";
    CORRECTS = "Day it concerns";
    BOOKED = "Booked";
    WHY = "Why";
    IN_FIGURES = "in the figures above";
    OTHER_TIME = "of another time";
    REPORTED_ANEW = "CloudStack reported it differently";
    TAKEN_BACK = "taken back: prices changed";
    CHARGED_ANEW = "charged anew at the new prices";
    ESTIMATE = "Right now";
    ESTIMATE_TAG = "Estimate";
    ESTIMATE_NOTE = "An estimate by what is there now. It is not booked, it is not part of the figures above or of your balance, and nothing is suspended by it.";
    ESTIMATE_SINCE = "Since the figures end";
    ESTIMATE_DAY = "Per day, if nothing changes";
    THINGS = "Resources";
    ESTIMATE_ERROR = "Estimates were off by, on average";
    NO_ESTIMATE = "There is no estimate yet.";
    NOTHING_LIVE = "Nothing is there that costs by time.";
    NOT_KNOWN_YET = "not known yet";
    LISTS_READ = "Looked at CloudStack";
    NET_NOTE = "net";

    NO_MACHINE = "Not part of a VM";
    NO_TAG = "Without this tag";
    NO_PROJECT = "Outside of projects";
    OTHER = "Not broken down: pending corrections, or usage that has changed since";
    NOT_RATED_YET = "not priced yet";
    FREE = "free";
    WITHOUT_PRICE = "no price is set: not charged";
    NOT_PRICED = "could not be priced: not charged";
    NOT_BILLED = "before billing began: not charged";

    NOT_A_PERIOD = "Choose one of the periods, or a month such as 2026-11.";
    NOT_A_DATE = "Write a date such as 2026-11-30.";
    DATES_TURNED = "The last day lies before the first one.";
    NO_SUCH_SERVICE = "There is no such service.";
    NOTHING_OF_THAT = "Nothing of that was used by your account in this time.";
    TOO_MUCH_AT_ONCE = "That is too much at once; choose a shorter time.";
}

/// Longer than is shown at once.
pub(in crate::web) fn too_many_days(most: i64) -> String {
    format!("That is more than {most} days; choose a shorter time.")
}

/// A usage type that this version does not know.
pub(in crate::web) fn unknown_service(usage_type: i64) -> String {
    format!("Usage type {usage_type}")
}

/// Days of a service without single records.
pub(in crate::web) fn summed_up(service: &str, before: &str) -> String {
    format!("{service}, days before {before}")
}

/// Days that are not told by single things.
pub(in crate::web) fn days_before(before: &str) -> String {
    format!("Days before {before}, not told apart here")
}

/// Why there is a line for days without records.
pub(in crate::web) fn kept_since(day: &str) -> String {
    format!("Single records are no longer kept of days before {day}; they are shown by service.")
}

/// Why there is a line for days that are not told apart.
pub(in crate::web) fn told_since(day: &str, most: &str) -> String {
    format!(
        "There is more than {most} records of usage in this time, so days before {day} are one line. Choose a shorter time to see what is in it."
    )
}

/// What a payer of several accounts spent.
pub(in crate::web) fn payer_total(payer: &str, amount: &str) -> String {
    format!("These are the figures of this account. All accounts of {payer} together: {amount}.")
}

/// Records without a price.
pub(in crate::web) fn unpriced(records: i64) -> String {
    format!("{records} records of this time have no price and are not charged.")
}

/// So many percent.
pub(in crate::web) fn percent(share: &str) -> String {
    format!("{share} %")
}
