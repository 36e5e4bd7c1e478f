//! Every sentence and label of the pages, in one place (English).
//!
//! The inner words (rung, hold, fuse, quarantine, standing) stay out of what tenants read (design 3).

macro_rules! words {
    ($($name:ident = $text:literal;)*) => {$(
        pub(in crate::web) const $name: &str = $text;
    )*};
}

pub(in crate::web) mod api_access;
pub(in crate::web) mod credits;
pub(in crate::web) mod delete_request;
pub(in crate::web) mod notifications;
pub(in crate::web) mod overview;
pub(in crate::web) mod own;
pub(in crate::web) mod payment_settings;
pub(in crate::web) mod people;
pub(in crate::web) mod prices;
pub(in crate::web) mod queue;
pub(in crate::web) mod sign_in;
pub(in crate::web) mod usage;

words! {
    PRODUCT = "Billing";
    OVERVIEW = "Overview";
    USAGE = "Usage & cost";
    PRICES = "Prices";
    CREDITS = "Credits & Promo codes";
    PAYMENT_SETTINGS = "Payment settings";
    PROFILE = "My Profile";
    PASSWORD = "Change Password";
    SECOND_FACTOR = "Multi-Factor Authentication";
    NOTIFICATIONS = "Notification Settings";
    API_ACCESS = "Request API Access";
    DELETE_REQUEST = "Account Delete Request";
    QUEUE = "Queue";
    PEOPLE = "People";
    YOU = "Your sign-in";
    ACCOUNTS = "Accounts";
    SIGNED_IN_AS = "Signed in as";
    MENU = "Pages";
    MENU_BILLING = "Billing";
    MENU_ACCOUNT = "Account settings";
    MENU_ADMINISTRATION = "Administration";
    SKIP = "Skip to the page";
    TABLE = "Table, scrolls sideways";
    BACK_TO_OVERVIEW = "Back to the overview";

    TOTAL = "Total Credit Limit";
    USED = "Used Credit Limit";
    AVAILABLE = "Balance Available Credit Limit";
    LINES = "What the total is made of";
    LINE_LIMIT = "Allocated by your administrator";
    LINE_GRANTS = "Credits";
    LINE_GRANTS_LEFT = "of which is left";
    LINE_MONEY = "Money paid in and not spent";
    LINE_DEBT = "Cost booked and not paid";
    LINE_ACCRUED = "Cost not booked yet";
    GAUGE = "Share of the credit that is used";
    NO_CREDIT = "No credit";
    DAYS_LEFT = "Days left at this rate";
    PER_DAY = "Average cost a day";
    NO_DAYS_LEFT = "No end in sight";
    FIGURES_UP_TO = "Figures up to";
    NO_FIGURES = "No usage was read from CloudStack yet; the figures appear after the first time.";
    UNMANAGED = "No credit limit applies to this account. Its cost is shown so that you know it.";
    COST_BY_DAY = "Cost by day";
    LAST_DAYS = "the last 30 days, with tax";
    AS_TABLE = "Cost by day as a table";
    DAY = "Day";
    COST = "Cost";
    STATE = "State";
    ALL_WELL = "Your account is open.";
    CREDIT_USED_UP = "Your credit is used up. Please pay soon.";
    CREDIT_NEARLY_USED_UP = "Your credit is nearly used up. Please pay soon.";
    LATELY = "What happened lately";
    NOTHING_LATELY = "Nothing yet.";
    SUSPENDED_FOR_CREDIT = "This account is locked because its credit is used up. Machines keep running; signing in and API keys do not work.";
    SUSPENDED_BY_ADMIN = "This account is locked. Please ask the administrator of this cloud.";
    STOPPED_FOR_CREDIT = "This account is disabled because its credit is used up: its machines are stopped. Its data is kept.";
    RESTRICTED = "Nothing can be added to this account because its credit is used up. What is there keeps running.";
    DISABLED = "This account is disabled: its machines are stopped. Please ask the administrator of this cloud.";

    KIND_PAYMENT = "Payment";
    KIND_GRANT = "Credit";
    KIND_OPENING = "Opening balance";
    KIND_ADJUSTMENT = "Adjustment";
    KIND_CORRECTION = "Correction";
    KIND_OTHER = "Booking";
    KIND_LIMIT = "Credit limit set";
    KIND_NO_LIMIT = "Credit limit taken away";
    KIND_NOTICE = "Notice";

    SEARCH = "Search";
    SEARCH_HINT = "Name or domain";
    NAME = "Name";
    DOMAIN = "Domain";
    LIMIT = "Credit limit";
    USED_SHORT = "Used";
    AVAILABLE_SHORT = "Available";
    PERCENT = "Percent";
    DAYS_SHORT = "Days left";
    WHY = "Why";
    NOT_MANAGED = "not managed";
    LIMIT_HINT = "0 is prepaid; empty is not managed, and gives back what was suspended";
    REASON = "Reason";
    SET_LIMIT = "Set limit";
    ADD_PAYMENT = "Add payment";
    AMOUNT = "Amount";
    REFERENCE = "Reference";
    NO_ACCOUNTS = "No account fits.";
    PREVIOUS = "Previous";
    NEXT = "Next";
    PAGE = "Page";
    OF = "of";
    CHANGED = "Saved.";
    REASON_WANTED = "Say why, in a few words.";
    REFERENCE_WANTED = "Give a reference, such as the number of the bank transfer.";
    TOO_LONG = "That is too long; 200 characters are enough.";

    ENFORCEMENT = "Enforcement";
    ARMED = "What is armed";
    WHOLE_CLOUD = "the whole cloud";
    BY = "by";
    AND = "and";
    MORE = "more";
    PROJECT = "project";
    REHEARSED = "rehearsed only";
    NOTHING_ARMED = "Nothing is armed: every decision is taken and stored, and nothing is done. \"bursar enforce arm\" shows what the first run would do.";
    RUNG_NONE = "free";
    RUNG_NOTIFY = "notices";
    RUNG_RESTRICT = "nothing new can be made";
    RUNG_LOCK = "locked: nobody signs in, machines run on";
    RUNG_STOP = "disabled: machines stopped";
    NOTHING_IS_DONE = "Nothing is taken, and nothing is given back.";
    LOOK_AT_DIFFERENCES = "\"bursar enforce differences\" shows what to look at, \"bursar enforce confirm\" goes on.";
    PAUSED = "Enforcement is paused.";
    PAUSED_WHAT = "Nothing is taken and nothing is given back.";
    HELD_BACK = "No steps down were taken in the last run:";
    STOP_AND_GO = "Stop and go";
    PAUSE_WHAT = "A pause stops everything at once, also on other replicas. Nothing is taken and nothing is given back until somebody resumes.";
    RESUME_WHAT = "Resuming takes every decision anew on the present figures.";
    PAUSE = "Pause";
    RESUME = "Resume";
    PLAN_WHAT = "A plan shows who would be restricted, locked or stopped now, and why. Nothing is done before it is approved.";
    MAKE_PLAN = "Make a plan";
    PLANS = "Plans that wait";
    NO_PLANS = "No plan waits for an approval.";
    PLAN = "Plan";
    MADE = "Made";
    GOOD_UNTIL = "good until";
    APPROVED_BY = "Approved by";
    NOBODY = "nobody yet";
    APPROVE = "Approve";
    DROP = "Drop";
    APPROVE_WHAT = "Once approved, exactly these lines are carried out, as far as they are still decided then. Nothing else is done in that run.";
    MACHINES_STOP = "machines would stop:";
    MACHINES_RUN_ON = "machines run on:";
    NOTE = "Note:";
    TO_AVOID = "To avoid it:";
    DELETIONS = "Proposals to delete";
    DELETIONS_WHAT = "These accounts have been stopped for long. Nothing is deleted here: your answer is recorded, and the account is deleted by a person, in CloudStack.";
    PROPOSED = "proposed";
    DELETE_YES = "To be deleted";
    DELETE_NO = "It stays";
    LAST_RUNS = "Last runs";
    NO_RUNS = "There was no run yet.";
    RUN = "Run";
    BEGAN = "Began";
    CAUSE = "Cause";
    OUTCOME = "Outcome";
    WHAT_IT_DID = "What it did";
    NOTHING_DONE = "nothing to do";
    UNDO_WHAT = "\"bursar enforce undo RUN\" gives back what a run took.";
    DRIFT = "State and holds do not fit";
    NO_DRIFT = "CloudStack and this database agree, as of the last sync.";
    DRIFT_NO_HOLD = "in CloudStack, and no hold says why: \"bursar hold adopt\" says what it is.";
    DRIFT_ENABLED = "is enabled in CloudStack though it is held for its credit: somebody enabled it.";
    NO_ADDRESS = "Accounts without an address";
    NO_ADDRESS_WHAT = "A step is due, and there is nobody to warn: it waits until somebody can be reached.";
    ALL_REACHED = "Everybody who had to be warned can be reached.";
    HOLDS = "Holds";
    NO_HOLDS = "No account is held.";
    ACCOUNT = "Account";
    HELD_BY = "Held by";
    STEP = "Step";
    SINCE = "Since";
    PLACED_BY = "Placed by";

    PROBLEM = "That did not work";
    OPERATION = "Number for the administrator";
    SIGN_IN = "Sign in to CloudStack and open Billing there.";
    SIGN_IN_AGAIN = "Sign in to CloudStack again, then open Billing there.";
    SEVERAL_SESSIONS = "Your browser holds more than one CloudStack session. Sign out of CloudStack, sign in again, then open Billing there.";
    OPEN_TOO_LONG = "This page was open for too long, so nothing was changed. Open it again and repeat what you did.";
    NOT_FROM_HERE = "This form did not come from a page of Billing that you opened, so nothing was changed. Open the page again.";
    FORM_USED = "This form was sent before with something else in it, and that was done. Look at what is there now; to do this too, send it again.";
    NOT_YOURS = "Your account may not open this page.";
    USER_REFUSED = "This CloudStack user may not sign in here.";
    ACCOUNT_UNKNOWN = "Your account is not known here yet; it appears after the next sync.";
    ACCOUNT_GONE = "Your account is no longer in CloudStack.";
    CLOUD_SILENT = "CloudStack does not answer now, so we can not tell who you are. Try again in a minute.";
    NO_SUCH_PAGE = "There is no such page.";
    TOO_MANY = "Too many requests. Wait a minute, then go on.";
    TOO_BIG = "That is more than one request may hold.";
    TOO_SLOW = "This took too long and was given up.";
    UNEXPECTED = "Something went wrong that should not. The administrator finds it in the log by this number.";
    WHO_OF_THEM = "Several people share this account, and CloudStack does not say which of them you are. This page is about one person. Say who you are under Your sign-in, then open it again.";
    ROLE_TELLS_NOBODY = "Your role in CloudStack may not call listUsers, so Billing can not tell who you are. Ask the administrator of your cloud.";
    NO_CONTROL_SIGNS = "Write it on one line, without control characters.";
    NOT_LIKE_THIS = "The request can not be understood.";
}

/// Who a person is called where CloudStack tells the account only.
pub(in crate::web) fn one_of(account: &str) -> String {
    format!("one of {account}")
}

/// What another part of bursar says in half a sentence, as a sentence of its own.
pub(in crate::web) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// A text is longer than it may be.
pub(in crate::web) fn too_long(most: usize) -> String {
    format!("That is too long; {most} characters are enough.")
}

/// So much of the credit is used.
pub(in crate::web) fn percent_used(percent: &str) -> String {
    format!("{percent} % used")
}

/// What a run did, by the keys of its report.
pub(in crate::web) const RUN_DID: [(&str, &str); 10] = [
    ("restricted", "Restricted"),
    ("locked", "Locked"),
    ("stopped", "Stopped"),
    ("restored", "Opened again"),
    ("given_back", "Given back"),
    ("started", "Under way"),
    ("failed", "Not done"),
    ("skipped", "Left out of the plan"),
    ("left", "Left"),
    ("recovered", "From a former run"),
];

/// How a run ended.
pub(in crate::web) fn run_outcome(outcome: Option<&str>) -> &'static str {
    match outcome {
        None => "running",
        Some("done") => "done",
        Some("failed") => "failed",
        Some("cut-off") => "cut off",
        Some(_) => "held",
    }
}

/// How a plan stands.
pub(in crate::web) fn plan_state(state: &str) -> &'static str {
    match state {
        "waiting" => "waits for approval",
        "approved" => "approved, being carried out",
        "done" => "carried out",
        "dropped" => "dropped",
        "expired" => "expired",
        _ => "overtaken by a newer one",
    }
}

/// What a form of the enforcement page just did.
pub(in crate::web) fn enforcement_said(done: &str) -> Option<&'static str> {
    Some(match done {
        "approved" => "Approved. It is carried out now; this page shows how it went.",
        "approved-once" => "Your approval is noted. A second administrator has to approve it.",
        "dropped" => "Dropped. What is still due comes with the next run, or as a new plan.",
        "planning" => "If anything is due downwards, a plan is being made of it; open this page again in a moment.",
        "paused" => "Paused.",
        "resumed" => "Enforcement goes on.",
        "deletion-confirmed" => {
            "Recorded. Delete the account in CloudStack once its data is safe; nothing is deleted from here."
        }
        "deletion-refused" => "Recorded: the account stays.",
        _ => return None,
    })
}
