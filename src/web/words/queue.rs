//! The words of the administrator's queue.

words! {
    WHAT = "What tenants asked for and a person has to decide.";
    NOTHING = "Nothing waits.";
    DELETIONS = "Accounts that ask to be deleted";
    DELETIONS_WHAT = "Nothing is deleted here. Once the waiting time is over, save what has to be kept and delete the account in CloudStack: the request closes by itself after the next sync.";
    GATEWAYS = "Proposed payment gateways";
    GATEWAYS_WHAT = "An approved gateway can be chosen by the tenant who proposed it, or by everybody.";
    ACCOUNT = "Account";
    ASKED = "Asked";
    BY = "by";
    REASON = "Reason";
    DUE = "Due";
    IS_DUE = "due now";
    REFUSE = "Refuse";
    APPROVE = "Approve";
    APPROVE_FOR_ALL = "Approve for everybody";
    MESSAGE = "Message to the tenant";
    MESSAGE_WANTED = "Say why: the tenant reads it.";
    COUNTRY = "Country";
    WEBSITE = "Web address";
    DETAILS = "Details";
    ORPHAN = "the account is gone";
    DONE_REFUSED = "Refused; the tenant is told.";
    DONE_APPROVED = "Approved.";
    DONE_ALREADY = "Somebody decided before.";
    OFFERED = "Payment gateways that can be chosen";
    OFFERED_NONE = "No gateway is approved.";
    OFFERED_WHAT = "Retire a gateway when it is no longer to be used: nobody can choose it then, and whoever had chosen it pays by bank transfer and is told.";
    FOR = "For";
    FOR_EVERYBODY = "everybody";
    CHOSEN_BY = "Payers who chose it";
    RETIRE = "Retire";
    DONE_RETIRED = "Retired; whoever had chosen it is told.";
}

/// What a form of the queue just did.
pub(in crate::web) fn said(done: &str) -> Option<&'static str> {
    Some(match done {
        "refused" => DONE_REFUSED,
        "approved" => DONE_APPROVED,
        "already" => DONE_ALREADY,
        "retired" => DONE_RETIRED,
        _ => return None,
    })
}

fn said_too(message: Option<&str>) -> String {
    message.map(|message| format!(" The administrator says: {message}")).unwrap_or_default()
}

/// Told to the tenant.
pub(in crate::web) fn gateway_approved(name: &str, message: Option<&str>) -> String {
    format!("The payment gateway {name} was approved and can be chosen under Payment settings.{}", said_too(message))
}

/// Told to the tenant.
pub(in crate::web) fn gateway_refused(name: &str, message: Option<&str>) -> String {
    format!("The payment gateway {name} was not approved.{}", said_too(message))
}

/// Told to the tenant.
pub(in crate::web) fn gateway_retired(name: &str, message: Option<&str>) -> String {
    format!("The payment gateway {name} is no longer offered, so you pay by bank transfer now.{}", said_too(message))
}
