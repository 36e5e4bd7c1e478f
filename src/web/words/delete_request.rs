//! The words of Account Delete Request.

words! {
    WHAT = "Here you ask that this account be deleted with everything in it. Nothing is deleted at once.";
    HOW = "How it goes";
    STEP_WAIT = "You ask. Everybody of the account is told by mail, and so are the administrators.";
    STEP_UNDO = "Until the waiting time is over, anybody who may ask can take it back, on this page.";
    STEP_DONE = "Then an administrator deletes the account in CloudStack. What is deleted can not be brought back.";
    INVENTORY = "What would go";
    INVENTORY_AS_OF = "As CloudStack's lists were last read:";
    INVENTORY_NEVER = "CloudStack's lists were not read yet, so machines, volumes and addresses are not named here.";
    INVENTORY_NOTHING = "None were found.";
    MACHINES = "Machines";
    VOLUMES = "Volumes";
    ADDRESSES = "Public IP addresses";
    PROJECTS = "Projects";
    USERS = "Users";
    KEYS = "API keys";
    ELSE = "Networks, backups and everything else of the account go as well.";
    BALANCE = "Open balance";
    BALANCE_OWED = "This is still to be paid. The request can be made all the same.";
    BALANCE_LEFT = "This is paid in and not spent. Ask your administrator about it before the account is gone.";
    BALANCE_NONE = "Nothing is open.";
    ASK = "Ask for deletion";
    NAME = "Type the name of the account";
    NAME_WRONG = "That is not the name of this account. Type it exactly as it stands above.";
    REASON = "Why (for the administrator)";
    FACTOR = "If your user has a second factor";
    FACTOR_WHAT = "Then this wants your password and a code. Otherwise leave both empty.";
    PASSWORD = "Your password";
    CODE = "Code";
    CODE_WANTED = "Your user has a second factor: give your password and a code.";
    UNDERSTOOD = "I know that everything in this account will be deleted.";
    UNDERSTOOD_WANTED = "Say that you know what will be deleted.";
    BUTTON = "Ask that the account be deleted";
    WAITING = "This account is to be deleted.";
    ASKED_BY = "Asked by";
    ASKED_ON = "Asked on";
    DUE = "Can be taken back until";
    OVERDUE = "The waiting time is over. It can still be taken back as long as an administrator has not deleted the account.";
    TAKE_BACK = "Take it back: the account stays";
    LAST = "The last request";
    ENDED_BY = "Ended by";
    SAID = "What was said";
    NOT_YOU = "Only owners of the account may ask for this.";
    DONE_ASKED = "Your request was sent. It can be taken back on this page.";
    DONE_BACK = "Taken back: the account stays.";
    DONE_NOTHING = "There was no open request.";
}

/// How a request ended.
pub(in crate::web) fn state(state: &str) -> &'static str {
    match state {
        "withdrawn" => "taken back",
        "refused" => "refused",
        "done" => "deleted",
        _ => "waiting",
    }
}

/// So many things, and so many more than are named.
pub(in crate::web) fn more(count: usize) -> String {
    format!("and {count} more")
}

words! {
    SNAPSHOTS = "Snapshots";
    TEMPLATES = "Templates and ISO images";
    COUNTED_NEVER = "There are no usage records yet, so they were not counted. They go as well.";
    CODE_WANTED_ALONE = "Your user has a second factor: give a code.";
    FACTOR_ON = "Your second factor";
    FACTOR_ON_WHAT = "Your user has a second factor, so this wants your password and a code.";
    FACTOR_ON_SSO = "Your user has a second factor, so this wants a code. You sign in through single sign-on, so the code has to be given in the session that you are in: a wrong one signs you out of CloudStack.";

    LINK_TITLE = "Request to delete an account";
    LINK_ACCOUNT = "Account";
    LINK_WHAT = "This account is to be deleted with everything in it. With the button the request is taken back, and the account stays. Nothing else happens, and you are not signed in.";
    LINK_DONE = "The request is taken back: the account stays.";
    LINK_TAKEN_BACK = "This request was taken back already: the account stays.";
    LINK_REFUSED = "An administrator refused this request already: the account stays.";
    LINK_DELETED = "It is too late: the account is deleted.";
    LINK_OVER = "The waiting time is over, so this link does nothing any more. Ask the administrator of your cloud at once if the account shall stay.";
}

/// How long one waits, before one asks. `by_link`: a mail tells how to take it back, too.
pub(in crate::web) fn waiting_time(days: u64, until: &str, by_link: bool) -> String {
    let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
    let link = if by_link { ", or with the link in the mail" } else { "" };
    format!("The waiting time is {days}. Asked for now, it can be taken back until {until} on this page{link}.")
}

/// The day that a count is of.
pub(in crate::web) fn counted_on(day: &str) -> String {
    format!("by the usage records of {day}")
}
