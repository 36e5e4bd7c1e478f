//! The words of the administrator's page of people.

words! {
    QUEUE_TITLE = "People without an account";
    QUEUE_WHAT = "They signed in with OpenID Connect, and no rule took them in.";
    QUEUE_NONE = "Nobody waits.";
    PERSON = "Person";
    ISSUER = "Issuer";
    ADDRESS = "Address";
    VERIFIED = "verified";
    NOT_VERIFIED = "not verified";
    WHY = "Why";
    LAST = "Last here";
    ACCOUNT = "Account";
    ACCOUNT_HINT = "ROOT/acme/alice";
    USER = "CloudStack user that the person is; may stay empty";
    USER_HINT = "user, if known";
    ROLE = "Role";
    MAP = "Map";
    REFUSE = "Refuse";
    ACCOUNT_WANTED = "Name an account.";
    TIME_TITLE = "Requests for more time";
    TIME_NONE = "Nobody asks for more time.";
    ASKED = "Asked";
    WISHED = "wished until";
    UNTIL = "Until (date)";
    MESSAGE = "Message";
    GRANT = "Grant";
    UNTIL_WANTED = "Say until which day, as year-month-day, ahead and within a year.";
    MAPPED_TITLE = "Who is mapped";
    MAPPED_NONE = "Nobody is mapped. Users of CloudStack need no mapping.";
    BY = "By";
    RULES_TITLE = "E-mail rules";
    RULES_NONE = "There are no e-mail rules.";
    BOUND = "taken by";
    FREE = "nobody came yet";
    ORPHANS_TITLE = "Mappings that let nobody in any more";
    ORPHANS_NONE = "Every mapping has its account and its user.";
    LINKS_TITLE = "Links to pages of suspended accounts";
    LINKS_NONE = "No link holds.";
    REVOKE = "Take back";
    USED = "used";
    TIMES = "times";
    NEVER_USED = "not used yet";
    EXPIRES = "holds until";
    COMMANDS = "\"bursar user\" does the same at the command line, and takes tables in and out.";
    DONE_MAPPED = "Mapped.";
    DONE_REFUSED = "Refused.";
    DONE_ANSWERED = "Answered.";
    DONE_REVOKED = "Taken back.";
    GONE_ALREADY = "It was answered already.";
}

/// A user was named whom the account does not have.
pub(in crate::web) fn no_such_user(account: &str) -> String {
    format!("{account} has no user of this name.")
}

/// Why a person waits.
pub(in crate::web) fn why(word: &str) -> &'static str {
    match word {
        "not-verified" => "the issuer tells no verified address",
        "not-trusted" => "a rule has the address, but the issuer is not marked as trusted",
        "address-taken" => "somebody else came with the address before",
        "orphan" => "mapped to an account or user that is gone",
        _ => "no rule fits",
    }
}

/// Why a mapping lets nobody in.
pub(in crate::web) fn orphan(word: &str) -> &'static str {
    match word {
        "account-gone" => "the account is gone; one made anew under its name is another account",
        "user-gone" => "the CloudStack user is gone",
        "user-moved" => "the CloudStack user is of another account now",
        _ => "the CloudStack user is disabled",
    }
}

/// What a link is for.
pub(in crate::web) fn link(purpose: &str) -> &'static str {
    match purpose {
        "deletion" => "takes a request for deletion back",
        _ => "page of the suspended account",
    }
}
