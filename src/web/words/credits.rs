//! The words of Credits & Promo codes.

words! {
    ENTER = "Enter a promo code";
    CODE = "Promo code";
    CODE_HINT = "Upper and lower case are the same.";
    REDEEM = "Redeem";
    GRANTS = "Your credits";
    GRANTS_WHAT = "Credits pay first, before money that was paid in; those that end first come first.";
    NO_GRANTS = "No credits yet.";
    REASON = "What for";
    AMOUNT = "Amount";
    LEFT = "Left";
    FROM = "From";
    ENDS = "Ends";
    NEVER = "never";
    ANY_SERVICE = "everything";
    PAYS_FOR = "Pays for";
    OFFERS = "Offers for you";
    OFFERS_WHAT = "These codes can be redeemed by your account now.";
    NO_OFFERS = "There is no offer at present.";
    REDEEM_THIS = "Redeem this code";
    HISTORY = "History";
    NO_HISTORY = "No code was redeemed yet.";
    WHEN = "When";
    BY = "By";
    GAVE = "Gave";
    WAITS = "waits for a payment";
    NOT_YOU = "With your role you can view this page but not redeem codes.";
    SLOWLY = "Too many codes were tried. Wait some minutes, then try again.";
    DONE = "The code was redeemed.";
    DONE_WAITS = "The code is saved; its credit is added with your next payment that is large enough.";
    CODE_WANTED = "Type a code.";
}

/// Where a grant stands.
pub(in crate::web) fn state(state: &str) -> (&'static str, &'static str) {
    match state {
        "active" => ("good", "counts now"),
        "waiting" => ("waiting", "begins later"),
        "ended" => ("", "ended"),
        _ => ("", "closed"),
    }
}

/// What an offer gives: an amount at once.
pub(in crate::web) fn gives(amount: &str) -> String {
    format!("{amount} of credit")
}

/// What an offer gives: an amount with a payment.
pub(in crate::web) fn gives_with(amount: &str, payment: &str) -> String {
    format!("{amount} of credit with a payment of at least {payment}")
}

/// What an offer gives: a share of a payment.
pub(in crate::web) fn gives_share(percent: &str, most: Option<&str>, payment: Option<&str>) -> String {
    let most = most.map(|most| format!(", {most} at most")).unwrap_or_default();
    let payment = payment.map(|payment| format!(" of at least {payment}")).unwrap_or_default();
    format!("{percent} % of your next payment{payment}{most}, as credit")
}

/// Until when an offer holds.
pub(in crate::web) fn until(date: &str) -> String {
    format!("until {date}")
}

/// How long its credit counts.
pub(in crate::web) fn for_days(days: i64) -> String {
    if days == 1 { "the credit counts for one day".to_owned() } else { format!("the credit counts for {days} days") }
}
