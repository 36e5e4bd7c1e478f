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
    ELSE = "Networks, snapshots, templates, backups and everything else of the account go as well.";
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
