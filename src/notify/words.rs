//! Every text of a mail, in one place (English).
//!
//! The inner words (rung, hold, fuse, quarantine, standing) stay out of what tenants read (design 3).

/// What a mail's subject begins with.
pub(super) const PRODUCT: &str = "Billing";
/// Below every mail to a tenant.
pub(super) const TENANT_FOOTER: &str =
    "Sent by the billing of your cloud, because your address belongs to this account.";
/// Below every mail to an administrator.
pub(super) const ADMIN_FOOTER: &str = "Sent by bursar, because your address stands in [mail] admins.";
/// The label of the link.
pub(super) const OPEN_PAGES: &str = "Open Billing";
/// The label of the link to the page of a suspended account.
pub(super) const WHY: &str = "Why, and what to do";
/// A link that was asked for.
pub(super) const NEW_LINK: &str = "Your link to the page of your suspended account";
pub(super) const NEW_LINK_TEXT: &str = "Somebody asked for this link with your address. It shows why the account is suspended, how to \
     pay, and what happens next; whoever has it can see that, so do not pass it on. If it was not you, nothing needs to be done.";
pub(super) const ACCOUNT: &str = "Account";
pub(super) const ACCOUNTS: &str = "Accounts";
pub(super) const DATE: &str = "Date";

pub(super) const DIGEST: &str = "What was decided and done";
pub(super) const DIGEST_DRY: &str =
    "Enforcement is a dry run for what stands under \"would have\": nothing was done and nothing was sent to tenants.";
pub(super) const DIGEST_DONE: &str = "Done";
pub(super) const DIGEST_DECIDED: &str = "Decided";
pub(super) const DIGEST_WOULD: &str = "Would have been done";
pub(super) const DIGEST_NOTICES: &str = "Notices given";
pub(super) const DIGEST_WOULD_NOTICES: &str = "Notices that would have been given";
pub(super) const DIGEST_TO_LOOK_AT: &str = "To look at";
pub(super) const DIGEST_NO_ADDRESS: &str = "Accounts that nobody can be written to";
pub(super) const DIGEST_DEAD: &str = "Mails that could not be delivered";

/// The kinds that there are; behind the dash that follows stands what makes an event one of its own, which may have dashes
/// itself.
const KINDS: &[&str] = &[
    "used",
    "days-left",
    "available",
    "warning-restrict",
    "warning-lock",
    "warning-stop",
    "restricted",
    "locked",
    "stopped",
    "restored",
    "key-approved",
    "key-denied",
    "key-issued",
    "key-failed",
    "key-expiring",
    "key-rotated",
    "key-ended",
    "key-changed",
    "key-adopted",
    "key-closed",
    "key-opened",
    "own",
    "overdue",
    "invoice",
    "deletion-asked",
    "deletion-taken-back",
    "deletion-refused",
    "deletion-due",
    "gateway-approved",
    "gateway-refused",
    "gateway-retired",
];

/// The kind of a notice by its event; of an unknown one what stands before its last dash.
pub fn kind_of(event: &str) -> &str {
    let known = |kind: &&&str| event.strip_prefix(**kind).is_some_and(|rest| rest.starts_with('-'));
    KINDS.iter().find(known).copied().unwrap_or_else(|| event.rsplit_once('-').map_or(event, |(kind, _)| kind))
}

/// A kind in a few words, for lists.
pub fn title(kind: &str) -> &'static str {
    match kind {
        "used" => "credit used",
        "days-left" => "days left",
        "available" => "amount left",
        "warning-restrict" => "warning before the account can not grow",
        "warning-lock" => "warning before the lock",
        "warning-stop" => "warning before machines are stopped",
        "restricted" => "can not grow",
        "locked" => "locked",
        "stopped" => "machines stopped",
        "restored" => "open again",
        "key-approved" => "API access approved",
        "key-denied" => "API access denied",
        "key-issued" => "API key ready",
        "key-failed" => "API key not made",
        "key-expiring" => "API key ends soon",
        "key-rotated" => "API key taken over",
        "key-ended" => "API key ended",
        "key-changed" => "API key changed by itself",
        "key-adopted" => "API key looked after",
        "key-closed" => "own API keys end",
        "key-opened" => "own API keys work again",
        "link" => "new link",
        "user-link" => "who it is",
        "address-link" => "confirm an address",
        "more-time" => "answer about more time",
        "address" => "address of a person",
        "own" => "credit used, own threshold",
        "overdue" => "payment overdue",
        "invoice" => "amount of the month so far",
        "deletion-asked" => "deletion asked for",
        "deletion-taken-back" => "deletion taken back",
        "deletion-refused" => "deletion refused",
        "deletion-due" => "deletion due",
        "gateway-approved" | "gateway-refused" => "payment gateway answered",
        "gateway-retired" => "payment gateway retired",
        "digest" => "digest",
        "admin" => "for administrators",
        "test" => "test",
        _ => "notice",
    }
}

/// The headline of a notice, which is its subject as well. `date` is the one it names.
pub(super) fn headline(event: &str, date: Option<&str>) -> String {
    let on = |what: &str, without: &str| date.map_or_else(|| without.to_owned(), |date| format!("{what} on {date}"));
    let behind = event.rsplit_once('-').map_or("", |(_, behind)| behind);
    match kind_of(event) {
        "used" | "own" => format!("{behind} % of your credit is used"),
        "overdue" => "Payment is overdue".to_owned(),
        "invoice" => "Your month so far".to_owned(),
        "deletion-asked" => date.map_or_else(
            || "Deletion of your account was requested".to_owned(),
            |date| format!("Deletion of your account was requested; undo until {date}"),
        ),
        "deletion-taken-back" => "Your account stays: the request to delete it was taken back".to_owned(),
        "deletion-refused" => "Your account stays: the request to delete it was refused".to_owned(),
        "gateway-approved" => "Your payment gateway was approved".to_owned(),
        "gateway-refused" => "Your payment gateway was not approved".to_owned(),
        "gateway-retired" => "Your payment gateway is no longer offered".to_owned(),
        "deletion-due" => "Your account is going to be deleted".to_owned(),
        "days-left" if behind == "1" => "Your credit lasts a day at most at this rate".to_owned(),
        "days-left" => format!("Your credit lasts {behind} days at most at this rate"),
        "available" => "Little of your credit is left".to_owned(),
        "warning-restrict" => date.map_or_else(
            || "Soon nothing new can be made in your account".to_owned(),
            |date| format!("Nothing new can be made in your account from {date} on"),
        ),
        "warning-lock" => on("Your account will be locked", "Your account will be locked soon"),
        "warning-stop" => {
            on("The machines of your account will be stopped", "The machines of your account will be stopped soon")
        }
        "restricted" => "Your account can not grow any more".to_owned(),
        "locked" => "Your account is locked".to_owned(),
        "stopped" => "Your account is disabled and its machines are stopped".to_owned(),
        "restored" => "Your account is open again".to_owned(),
        "key-approved" => "Your request for API access was approved".to_owned(),
        "key-denied" => "Your request for API access was denied".to_owned(),
        "key-issued" => "Your API key is ready".to_owned(),
        "key-failed" => "Your API key could not be made".to_owned(),
        "key-expiring" => on("Your API key ends", "Your API key ends soon"),
        "key-rotated" => "A new API key takes over from the old one".to_owned(),
        "key-ended" => "Your API key was ended".to_owned(),
        "key-changed" => "Your API key changed by itself and was switched off".to_owned(),
        "key-adopted" => on("An API key of your account ends", "An API key of your account ends by itself from now on"),
        "key-closed" => "API keys that were made in CloudStack do not work any more".to_owned(),
        "key-opened" => "API keys that were made in CloudStack work again".to_owned(),
        _ => "About your account".to_owned(),
    }
}

/// What a step means for whoever it is announced to or was taken against.
pub(super) fn consequences(kind: &str) -> &'static [&'static str] {
    match kind {
        "warning-restrict" => &[
            "From then on nothing new can be made in the account, neither on the pages nor with API keys. What runs goes on running.",
            "If it stays like this, the account is locked later: signing in stops working then, and API keys stop working too.",
        ],
        "warning-lock" => &[
            "Once the account is locked, signing in stops working, and API keys stop working too. Machines keep running.",
        ],
        "warning-stop" => {
            &["Then every machine of the account is stopped. Signing in stops working, and API keys stop working too."]
        }
        "restricted" => &[
            "Nothing new can be made in the account, neither on the pages nor with API keys. What runs goes on running.",
        ],
        "locked" => &["Signing in and API keys do not work. Machines keep running."],
        "stopped" => &["Machines are stopped. Signing in and API keys do not work."],
        "restored" => &["Signing in and API keys work again."],
        _ => &[],
    }
}

/// The promise of a warning, where there is one.
pub(super) fn not_before(kind: &str, hours: u64) -> Option<String> {
    let promised = matches!(kind, "warning-lock" | "warning-stop");
    promised.then(|| {
        format!(
            "It does not happen earlier than {hours} hours after this warning first reached somebody of your account."
        )
    })
}

/// The same, where a mail has several.
pub(super) fn why_of(account: &str) -> String {
    format!("{WHY}: {account}")
}

/// So many more lines than a section shows.
pub(super) fn and_more(count: usize) -> String {
    format!("… and {count} more")
}

/// So many accounts, each named further down.
pub(super) fn listed_below(count: usize) -> String {
    format!("{count}, listed below")
}

/// What a decision is called that nothing was done about, and one that was.
pub(super) fn decided(outcome: &str, would: bool) -> String {
    match (outcome, would) {
        ("lock", true) => "would be locked".to_owned(),
        ("lock", false) => "to be locked".to_owned(),
        ("restrict", true) => "would be restricted".to_owned(),
        ("restrict", false) => "to be restricted".to_owned(),
        ("stop", true) => "machines would be stopped".to_owned(),
        ("stop", false) => "machines to be stopped".to_owned(),
        ("restore", true) => "would be opened again".to_owned(),
        ("restore", false) => "to be opened again".to_owned(),
        ("wait", _) => "a step is held back".to_owned(),
        (other, true) => format!("would have: {other}"),
        (other, false) => other.to_owned(),
    }
}

/// What an action came to.
pub(super) fn action(action: &str, state: &str, outcome: Option<&str>) -> String {
    let outcome = outcome.map(|outcome| format!(": {outcome}")).unwrap_or_default();
    format!("{action}, {state}{outcome}")
}

/// The subject of the digest of a day.
pub(super) fn digest_subject(date: &str) -> String {
    format!("bursar: what was decided and done up to {date}")
}

/// The subject of what administrators are told.
pub(super) fn admin_subject(subject: &str) -> String {
    format!("bursar: {subject}")
}

/// Told once of accounts that nobody can be written to.
pub(super) fn no_address(accounts: &[String]) -> (String, String) {
    let subject = match accounts {
        [one] => format!("nobody of {one} can be written to"),
        many => format!("nobody of {} accounts can be written to", many.len()),
    };
    let body = format!(
        "A notice for these accounts reached nobody, since no user of them has an address that mail can be sent to. A lock or a \
         stop waits until somebody was warned. Enter an address at a user of the account in CloudStack, or add one to [mail] \
         recipients; the notice goes out by itself then. `bursar mail list` shows who is still missing.\n{}",
        accounts.iter().map(|account| format!("- {account}")).collect::<Vec<_>>().join("\n")
    );
    (subject, body)
}

/// Told of mails that were given up.
pub(super) fn dead_letters() -> (&'static str, &'static str) {
    (
        "a mail could not be delivered",
        "At least one mail to a tenant was refused for good or given up after all its tries. `bursar mail list --dead` shows which and \
         why; `bursar mail retry ID` tries one again, once its cause is mended. A lock or a stop waits until somebody of the account was \
         warned.",
    )
}

/// Why a mail was not sent, where `bursar mail list` shows what a server said of others.
pub(super) const OVERTAKEN: &str = "not sent: what it says was no longer so by then";
pub(super) const LEFT_BEHIND: &str = "not sent: mail was switched off until it was older than [mail] give_up_hours";

/// Said of given-up mails when all of them are to be tried again.
pub const TOO_OLD: &str = "not sent again: it had been given up for longer than [mail] give_up_hours";

/// The test mail.
pub(super) const TEST_SUBJECT: &str = "bursar: test mail";
pub(super) const TEST_HEADLINE: &str = "Mail works";
pub(super) const TEST_TEXT: &str = "This mail was sent by `bursar mail test`. Warnings to tenants go the same way. If it lies among unwanted mail, look after \
     SPF, DKIM and DMARC of the sender's domain.";

/// Below every mail that is about one person.
pub(super) const PERSON_FOOTER: &str = "Sent by the billing of your cloud, about your own user there.";
/// Asks at a new address.
pub(super) const CONFIRM_ADDRESS: &str = "Confirm this address";
pub(super) const CONFIRM_LINK: &str = "Confirm it here";

/// What the mail to a new address says.
pub(super) fn confirm_address(username: &str, until: &str) -> Vec<String> {
    vec![
        format!("The cloud user {username} wants to be written to at this address."),
        format!("Follow the link and press the button there. The link works once, until {until}."),
        "If you do not know about this, do nothing: without the button nothing changes.".to_owned(),
    ]
}

/// Told to the old address.
pub(super) const ADDRESS_ASKED: &str = "Another address was asked for";

/// What the old address is told at first.
pub(super) fn address_asked(username: &str, new: &str) -> Vec<String> {
    vec![
        format!("The cloud user {username}, who is written to at this address, asked for another one: {new}."),
        "It becomes the new one once it is confirmed there.".to_owned(),
        "If that was not you, change your password and tell the administrator of your cloud.".to_owned(),
    ]
}

/// Told to the old address once it is the old one.
pub(super) const ADDRESS_CHANGED: &str = "Your address was changed";

/// What the old address is told at last.
pub(super) fn address_changed(username: &str, new: &str) -> Vec<String> {
    vec![
        format!("The cloud user {username} is written to at {new} from now on, and no longer here."),
        "If that was not you, change your password and tell the administrator of your cloud.".to_owned(),
    ]
}

/// The label of the link that takes a request to delete the account back, and what stands before it.
pub(super) const UNDO: &str = "Take the request back: the account stays";
pub(super) const UNDO_TEXT: &str = "The link below takes the request back, without signing in and also while the account is \
     suspended. It works until that date. Whoever has it can do that, so do not pass it on.";
