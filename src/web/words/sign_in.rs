//! The words of signing in: its page, the person's own page, and the page of a suspended account.

use crate::{
    ledger::rules::Figures,
    money::{Currency, Money},
};

words! {
    OTHER_WAYS = "Other ways to sign in";
    TITLE = "Sign in";
    IN_CLOUDSTACK = "Sign in to CloudStack and open Billing in its menu: you are known here then.";
    TO_CLOUDSTACK = "Open CloudStack";
    WITH = "Sign in with";
    SUSPENDED_TITLE = "Your account is suspended?";
    SUSPENDED_WHAT = "CloudStack lets nobody in then. The notice that you got holds a link to a page that says why, and what to do. Lost it? Give the address that it came to.";
    ADDRESS = "E-mail address";
    SEND_LINK = "Send me a new link";
    LINK_SENT = "If this address belongs to a suspended account and was confirmed before, a new link is on its way. It may take some minutes; another one is not sent within ten minutes.";
    SIGNED_OUT = "You are signed out of Billing. At the place where you signed in you may still be signed in.";

    ISSUER_SILENT = "The sign-in service does not answer now. Try again in a minute; if it stays so, tell the administrator of your cloud.";
    ISSUER_WRONG = "The answer of the sign-in service could not be checked, so nobody was signed in. Try again; if it stays so, tell the administrator of your cloud.";
    ISSUER_REFUSED = "The sign-in was cancelled or refused there. You can begin anew.";
    ISSUER_MISSING = "There is no sign-in service of this name.";
    ISSUER_GONE = "Signing in this way is no longer possible here.";
    BEGIN_ANEW = "This sign-in is too old, was used already, or began in another browser. Begin anew.";
    MAPPING_GONE = "You no longer have access to this account. Sign in again.";
    PROVE_AGAIN = "It is a while since you signed in, so nothing was changed. Sign in again, then repeat it.";
    ONLY_IN_CLOUDSTACK = "This page acts on your CloudStack user, so it needs CloudStack's own session: sign in to CloudStack and open Billing there.";
    WAITING_TITLE = "You are signed in, but no account has been assigned to you yet";
    WAITING = "The administrator of your cloud was told, and decides. Come back later and sign in again.";
    REFUSED = "The administrator of your cloud decided that you have no access.";

    LINK_TITLE = "Your link";
    LINK_SUSPENSION = "This link opens a page about one suspended account: why it is suspended, how to pay, and what happens next. Whoever has the link can see it.";
    LINK_OPEN_PAGE = "Open the page";
    LINK_ADDRESS = "This link says that the address it was sent to is yours. Press the button only if you asked for it, in this browser.";
    LINK_CONFIRM = "The address is mine";
    LINK_USER = "This link says which person of the account you are. Press the button only if you asked for it, in this browser.";
    LINK_IT_IS_ME = "It is me";
    LINK_ENDED = "This link is no longer valid. Ask for a new one.";
    LINK_OPEN = "The account is open again: sign in to CloudStack as ever.";
    LINK_OTHER_BROWSER = "This link holds only in the browser in which it was asked for, while you are signed in to CloudStack there. Nothing was changed.";
    LINK_ONLY = "Your link opens the page about your suspended account and the records behind it, and nothing else.";
    BY_LINK = "by a link";

    YOU_ARE = "You are";
    BY_WAY = "Signed in by";
    BY_CLOUDSTACK = "CloudStack";
    ROLE = "What you may do";
    ROLE_OWNER = "everything for this account";
    ROLE_FINANCE = "view everything; redeem codes and choose how to pay";
    ROLE_VIEWER = "view only";
    ROLE_ADMIN = "administer the cloud's billing";
    ACCOUNT_SHOWN = "Account";
    SWITCH = "Show";
    SIGN_OUT = "Sign out of Billing";
    WHICH_TITLE = "Which of them are you?";
    WHICH_WHAT = "Several people share this account, and CloudStack tells only the account. Until you say who you are, you may look and change nothing. A link is sent to the address that was confirmed for the user, whatever CloudStack's own field says.";
    WHICH_USER = "I am";
    WHICH_NO_ADDRESS = "no confirmed address: ask the administrator of your cloud";
    WHICH_NOBODY = "No address of a user of this account is confirmed, so no link can be sent. Ask the administrator of your cloud to confirm one, or sign in another way.";
    WHICH_SEND = "Send the link";
    WHICH_SENT = "A link is on its way. Open it in this browser within an hour.";
    WHICH_CHANGED = "It is known now who you are.";
    ADDRESS_TITLE = "Your e-mail address";
    ADDRESS_WHAT = "A confirmed address lets you ask for a new link while the account is suspended, and can be used to recognise you elsewhere.";
    ADDRESS_CONFIRMED = "confirmed";
    ADDRESS_OPEN = "not confirmed";
    ADDRESS_NONE = "CloudStack has no address of you that mail can be sent to.";
    ADDRESS_SEND = "Send a link to confirm it";
    ADDRESS_DONE = "Your address is confirmed.";
    NO_MAIL = "Mail does not leave from here now, so no link can be sent.";
    SWITCHED = "You see the other account now.";

    MAIL_USER_HEADLINE = "Which person of the account are you?";
    MAIL_USER_TEXT = "Somebody who is signed in to CloudStack for this account claims to be you. If it was you, open the link in the same browser, within an hour. If it was not you, do nothing, and tell the administrator of your cloud.";
    MAIL_ADDRESS_HEADLINE = "Confirm your address";
    MAIL_ADDRESS_TEXT = "You asked to confirm this address. Open the link in the same browser, within an hour. If it was not you, do nothing.";
    MAIL_OPEN = "Open";

    PAGE_TITLE = "Your account is suspended";
    REASON_TITLE = "Why";
    STATE_LOCKED = "The account is locked.";
    STATE_DISABLED = "The account is disabled and its machines are stopped.";
    STATE_BY_ADMIN = "The administrator of your cloud suspended this account. Please contact them.";
    WHAT_OPENS = "To open it again, pay at least";
    WHAT_OPENS_NOTHING = "Enough is available: it opens by itself within minutes.";
    NO_LIMIT_ANY_MORE = "No credit limit applies to it any more: it opens by itself within minutes.";
    WHAT_OPENS_ADMIN = "Paying alone does not reopen it: the administrator of your cloud has suspended it too.";
    NEEDED = "Balance at which it opens again";
    BEHIND = "What it is made of";
    BEHIND_WHAT = "the last 30 days by service, with tax";
    BEHIND_DAYS = "Cost by day";
    BEHIND_NONE = "Nothing was charged in the last 30 days.";
    SERVICE = "Service";
    HOW_TO_PAY = "How to pay";
    BANK_TRANSFER = "Bank transfer. The administrator of your cloud tells you the details; write your account's name as the reference:";
    WORKS_TITLE = "What works, and what does not";
    WORKS_UI = "CloudStack's pages";
    WORKS_KEYS = "API keys";
    WORKS_MACHINES = "Running machines";
    WORKS_DATA = "Your data";
    WORKS_NEW = "New machines, and changes";
    NOT_POSSIBLE = "do not work until the account opens";
    IS_NOT_POSSIBLE = "not possible until the account opens";
    RUN_ON = "keep running, and are charged";
    ARE_STOPPED = "are stopped; those that ran are started when the account opens";
    IS_KEPT = "is kept, and what is stored is charged";
    NEXT_TITLE = "What happens next";
    NEXT_NOTHING = "No further step is announced.";
    LEFT_ALONE = "No further step will be taken before";
    MORE_TITLE = "Ask for more time";
    MORE_WHAT = "The administrator of your cloud reads it and answers. Restrictions already in place stay until the account is paid.";
    MORE_REASON = "What should the administrator know?";
    MORE_DAY = "Until which day? (year-month-day; may stay empty)";
    MORE_ASK = "Ask for more time";
    MORE_ASKED = "Your request is sent.";
    MORE_OPEN = "Your request is waiting for an answer.";
    MORE_GRANTED = "You were given more time, until";
    MORE_REFUSED = "You were not given more time.";
    MORE_REASON_WANTED = "Write a sentence or two.";
    MORE_DAY_WRONG = "Write the day as year-month-day, such as 2027-01-31.";
    SUSPENDED_READ_ONLY = "Your account is suspended, so nothing can be changed here. You can look, pay, and ask for more time.";
    OTHER_PAGES = "Open the other pages";
    PAY_REFERENCE = "Write your account's name as the reference:";
    RECORDS_TITLE = "What was charged";
    RECORDS_ALL = "All records behind it, each with its price";
    RECORDS_BACK = "Back to why your account is suspended, and how to pay";
    RECORDS_ROUNDED = "A day is rounded once for each service, so the lines can differ from the sums in the last digits.";
    RECORDS_NONE = "There are no records of this time.";
    EVERY_SERVICE = "all services";
    MORE_DAY_AHEAD = "Write the day as year-month-day. It must lie ahead, within a year.";
    MORE_ASKED_BEFORE = "Your request is waiting for an answer already, so this one was not sent.";
    MORE_TOO_OFTEN = "You asked several times this week, so this one was not sent. Please write to the administrator of your cloud.";
}

/// A sign-in with an issuer.
pub(in crate::web) fn with(label: &str) -> String {
    format!("{WITH} {label}")
}

/// Why an account is suspended, by the figures of now.
pub(in crate::web) fn suspended_because(currency: &Currency, figures: &Figures, opens_at: Option<Money>) -> String {
    let used = if figures.total.is_positive() {
        format!("{} of {} were used", currency.format_plain(figures.used), currency.format(figures.total))
    } else {
        format!("There is no credit and {} were used", currency.format(figures.used))
    };
    match opens_at {
        Some(opens_at) => format!("{used}; it opens again as soon as {} are available.", currency.format(opens_at)),
        None => format!("{used}."),
    }
}

/// A step whose date has passed.
pub(in crate::web) fn due_since(when: &str) -> String {
    format!("due since {when}")
}
