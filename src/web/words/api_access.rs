//! The words of the page Request API Access, and of its part of the queue.

words! {
    WHAT_IT_IS = "What an API key is";
    WHAT_A_KEY_CAN = "With an API key a program does in your account what you can do there: machines, disks, networks, templates, everything that your account's role allows. It can not sign in to CloudStack's pages.";
    KEEP_IT = "Whoever has the key and its secret can use it. Keep it like a password, give each program a key of its own, and end a key that is not needed any more.";
    RULES_CLOSED = "Keys can not read or register API keys here. CloudStack still lets a key set another key for its own user; such a change is noticed and the key is switched off.";
    RULES_OPEN = "A key is not meant for creating personal access tokens. In this cloud CloudStack itself does not stop it: with a key, or signed in, people of this account can read each other's keys and replace them. A key that changes in this way is noticed and switched off.";
    RULES_UNKNOWN = "A key is not meant for creating personal access tokens. Whether CloudStack itself stops it is not known here; a key that changes in this way is noticed and switched off.";
    ENDS_WITH_LOCK = "A key stops working while the account is locked or disabled, and for good when its time is over.";
    ACCESS_OFF = "API access can not be requested here at present.";
    ASK = "Ask for a key";
    PURPOSE = "Purpose";
    PURPOSE_HINT = "What the key is for, such as the program that uses it. An administrator reads this.";
    PURPOSE_MISSING = "Say what the key is for.";
    DAYS = "For how many days";
    DAYS_WRONG = "Give a whole number of days.";
    SEND = "Send the request";
    TAKES_OVER = "Takes over from the key of request";
    TAKES_OVER_HINT = "Once you have looked at the new key's secret, the old key works for a while longer, so that you can change over without a gap.";
    ONLY_A_KEY = "Only a new key on its own";
    YOURS = "Your requests and keys";
    NONE_YET = "There are none yet.";
    REQUEST = "Request";
    ASKED = "Asked";
    ASKED_BY = "by";
    MESSAGE = "The administrator writes";
    ENDS = "Ends";
    KEY = "API key";
    LOOKED_AT = "Secret looked at";
    LAST_USED = "Last used";
    LAST_USED_UNKNOWN = "CloudStack does not tell when a key was last used.";
    SECRET_WAITS = "Its secret waits to be looked at, once, until";
    SHOW = "Show the secret, once";
    SHOW_HINT = "It is shown one time and then erased. Have a place ready to keep it.";
    ROTATE = "Make a second key";
    ROTATE_HINT = "For the same purpose and the same end. Both work until some time after you have looked at the new one.";
    ASK_LONGER = "Ask for a key that lasts longer";
    REVOKE = "End this key now";
    WITHDRAW = "Withdraw";
    ENDING = "Ending a key";
    REVOKE_HINT = "What uses it stops working at once. This can not be taken back.";
    READ_ONLY = "Only owners of the account can ask for keys, look at secrets and end keys.";

    SHOWN = "Your API key";
    SHOWN_ONCE = "This is the only time that the secret is shown. It is erased here already: copy it now. If you leave or reload this page, it is gone.";
    API_KEY = "API key";
    SECRET_KEY = "Secret key";
    COPY = "Copy";
    COPIED = "Copied";
    FOR_CLOUDMONKEY = "For CloudMonkey (cmk)";
    FOR_CS = "For cs, in the file ~/.cloudstack.ini";
    DONE_LOOKING = "I have kept it";

    DONE_FILED = "Your request was sent to the administrator.";
    DONE_ROTATED = "The second key is being made. Look at its secret below when it is ready.";
    DONE_REVOKED = "The key is ended.";
    NO_SUCH_REQUEST = "There is no such request in your account.";
    NOT_YOURS_TO_SEE = "This key belongs to another person of your account; only that person can look at its secret.";
    SHOWN_BEFORE = "This secret was shown before and is erased; nobody has it here any more. If you do not have it, make a second key, or end this one and ask for another.";

    STATE_REQUESTED = "waits for an administrator";
    STATE_APPROVED = "approved; the key is being made";
    STATE_DENIED = "denied";
    STATE_ISSUED = "ready";
    STATE_SHOWN = "works";
    STATE_REVOKED = "ended";
    STATE_FAILED = "could not be made";

    QUEUE_TITLE = "API access";
    QUEUE_EMPTY = "No request waits.";
    QUEUE_APPROVE = "Approve";
    QUEUE_DENY = "Deny";
    QUEUE_DAYS = "Days";
    QUEUE_PURPOSE = "Purpose";
    QUEUE_MESSAGE = "Message to the person";
    QUEUE_MESSAGE_NEEDED = "Say why: the person gets this message.";
    QUEUE_APPROVED_BY = "Approved by";
    QUEUE_ANOTHER = "Another administrator has to approve the same days and purpose.";
    QUEUE_TWO = "Two administrators have to approve the same days and purpose; changing them begins anew.";
    QUEUE_DONE_APPROVED = "The request is approved; the key is made at once, or as soon as CloudStack answers.";
    QUEUE_DONE_DENIED = "The request is denied; the person is told.";
    QUEUE_FAILING = "Approved, but CloudStack does not follow; it is tried again by itself";
}

/// What a state is called.
pub(in crate::web) fn state(word: &str) -> &'static str {
    match word {
        "requested" => STATE_REQUESTED,
        "approved" => STATE_APPROVED,
        "denied" => STATE_DENIED,
        "issued" => STATE_ISSUED,
        "shown" => STATE_SHOWN,
        "failed" => STATE_FAILED,
        _ => STATE_REVOKED,
    }
}

/// The longest that can be asked for.
pub(in crate::web) fn days_hint(most: u32) -> String {
    format!("{most} at most.")
}

/// How a key is told from another where the whole is too long to read.
pub(in crate::web) fn short_key(api_key: &str) -> String {
    let start: String = api_key.chars().take(12).collect();
    format!("{start}…")
}

words! {
    NOT_FOR_ADMINISTRATORS = "This is an administrator's account. No keys are made for it here; in CloudStack itself you can make one.";
    NOT_FOR_THIS_ACCOUNT = "No keys are made for this account. An administrator can say why.";
    WITHDRAWN = "withdrawn";
    ENDED = "How it ended";
    WITHDRAW_REQUEST = "Withdraw this request";
    WITHDRAW_HINT = "Then no key is made for it. You can send another request at any time.";
    WITHDRAW_APPROVED_HINT = "It is approved, and its key is not ready yet. Withdrawn, no key is handed out. You can send another request at any time.";
    MAKING_TAKES_LONGER = "The key could not be made yet. It is tried again by itself; an administrator sees it too.";
    DONE_WITHDRAWN = "The request is withdrawn.";
    VALUE_WRONG = "Something in the form can not be taken as it is. Look at the purpose and at the days.";
    NOT_POSSIBLE_ANY_MORE = "That is not possible any more, or not yet. Where the request stands now is shown below.";
    TAKEN_OVER_ALREADY = "Another key takes over from this one already. Look at that one below, or end it first.";
    DID_NOT_WORK = "That did not work, and nothing was changed. If it happens again, tell an administrator.";
}

/// Days that can not be asked for.
pub(in crate::web) fn days_wrong(most: u32) -> String {
    format!("Give a whole number of days from 1 to {most}.")
}

/// As many requests and keys as there may be.
pub(in crate::web) fn too_many(most: i64) -> String {
    format!(
        "Your account has {most} requests and keys that have not ended, and more are not possible. End or withdraw one that is not needed any more."
    )
}

/// Who ended it.
pub(in crate::web) enum Who<'a> {
    /// Whoever looks at the page.
    You,
    /// Somebody else of the account.
    Person(&'a str),
    /// An administrator.
    Administrator,
}

impl Who<'_> {
    fn begins(&self) -> &str {
        match self {
            Self::You => "You",
            Self::Person(name) => name,
            Self::Administrator => "An administrator",
        }
    }
}

/// How a request or a key ended, and when.
pub(in crate::web) enum Ending<'a> {
    /// Its days were over.
    Expired,
    /// Nobody looked at the secret in time.
    NotFetched,
    /// Somebody ended the key.
    Revoked(Who<'a>),
    /// Somebody took the request back before there was a key.
    Withdrawn(Who<'a>),
    /// It changed.
    Changed,
    /// An administrator said no.
    Denied,
    /// Its days were over before the key could be made.
    FailedTooLate,
    /// The person's user is gone.
    FailedUserGone,
    /// It could not be made.
    Failed,
    /// It was made twice.
    FailedTwice,
}

/// The sentence of an ending.
pub(in crate::web) fn ending(ending: &Ending<'_>, at: &str) -> String {
    match ending {
        Ending::Expired => format!("Its time was over on {at}."),
        Ending::NotFetched => format!(
            "Nobody looked at its secret in time, so the key was switched off on {at}. Ask for another one if it is still needed."
        ),
        Ending::Revoked(who) => format!("{} ended the key on {at}.", who.begins()),
        Ending::Withdrawn(who) => format!("{} withdrew the request on {at}.", who.begins()),
        Ending::Changed => format!(
            "The key changed by itself and was switched off on {at}. If none of you did this, change the passwords of this account, then ask \
             for another key."
        ),
        Ending::Denied => format!("An administrator refused it on {at}."),
        Ending::FailedTooLate => {
            format!("On {at} the key could not be made: the days that were asked for had passed. Send another request.")
        }
        Ending::FailedUserGone => {
            format!("On {at} the key could not be made: the user that it was for is no longer in CloudStack.")
        }
        Ending::Failed => {
            format!(
                "On {at} the key could not be made for this account. Nothing is left behind; an administrator can say more."
            )
        }
        Ending::FailedTwice => {
            format!("On {at} the key was made twice by mistake, so both were switched off. Ask for another one.")
        }
    }
}
