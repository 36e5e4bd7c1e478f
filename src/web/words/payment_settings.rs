//! The words of Payment settings.

words! {
    HOW = "How you pay";
    HOW_WHAT = "Choose among the gateways that the administrator of this cloud has approved. Paying on these pages comes later; until then your choice is known to the administrator.";
    BANK = "Bank transfer";
    BANK_WHAT = "Always possible. The administrator books what arrives.";
    BANK_ASK = "Ask the administrator of this cloud for the bank details.";
    ONLY_BANK = "No payment gateway is approved yet; please pay by bank transfer.";
    CHOOSE = "Save";
    SAVED = "Saved.";
    OWN = "My country's gateway";
    OWN_WHAT = "You may propose a gateway of your country. An administrator looks at it and approves or refuses it, with a message.";
    NAME = "Name of the gateway";
    COUNTRY = "Country";
    WEBSITE = "Web address";
    WEBSITE_HINT = "Beginning with https://";
    WEBSITE_WRONG = "Write an address that begins with https://, such as https://pay.example.com";
    DETAILS = "What the administrator should know";
    DETAILS_HINT = "Currencies, fees, how to reach their support. Never a password or key.";
    PROPOSE = "Propose";
    PROPOSED = "Your proposal waits for an administrator.";
    NAME_WANTED = "Say what the gateway is called.";
    COUNTRY_WANTED = "Say which country it is for.";
    DETAILS_WANTED = "Say in a few words why and how.";
    MINE = "Your proposals";
    STATE = "State";
    WHEN = "When";
    MESSAGE = "What the administrator said";
    NOT_YOU = "With your role you can view this page but not change anything.";
    TOO_MANY = "Five proposals wait already. An administrator has to look at them first.";
    NOT_THERE = "This gateway can not be chosen any more.";
}

/// Where a proposal stands.
pub(in crate::web) fn state(state: &str) -> (&'static str, &'static str) {
    match state {
        "approved" => ("good", "approved"),
        "refused" => ("bad", "refused"),
        "proposed" => ("waiting", "waits"),
        _ => ("", "no longer offered"),
    }
}

/// What was chosen is retired.
pub(in crate::web) fn retired(name: &str) -> String {
    format!(
        "{name}, which you had chosen, is no longer offered. You pay by bank transfer until you choose another way below."
    )
}

/// How an account pays, in the administrators' table. Nothing is said of a bank transfer: it is what everybody else uses.
pub(in crate::web) fn pays_by(gateway: Option<&str>) -> Option<String> {
    gateway.map(|name| format!("pays by {name}"))
}
