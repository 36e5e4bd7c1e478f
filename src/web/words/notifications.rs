//! The words of Notification Settings.

use crate::policy::Topic;

words! {
    WHAT = "What you choose here is for you alone, by mail. Other people of the account choose for themselves.";
    ADDRESS = "Mail goes to";
    NO_ADDRESS = "Your user has no e-mail address that mail can be sent to. Enter one under My Profile.";
    ALWAYS = "What always comes";
    ALWAYS_WHAT = "Warnings before your account is locked or its machines are stopped, what was taken and given back, answers to your requests, keys that are about to end, and the steps of deleting the account. They can not be switched off.";
    CHOOSE = "What you can choose";
    OWN = "Own thresholds";
    OWN_WHAT = "Percent of the credit used at which you want to hear of it, instead of the usual ones. For example: 60, 75, 95";
    OWN_NONE = "Leave it empty for the usual ones:";
    LANGUAGE = "Language";
    LANGUAGE_WHAT = "Mails and pages are in English so far.";
    ENGLISH = "English";
    SAVE = "Save";
    SAVED = "Saved.";
    NOT_ARMED = "Notices are not switched on in this cloud yet. What you choose is kept and holds from then on.";
    NO_USER = "Notices go to people whom CloudStack knows as users of the account, and you are not mapped to one. Ask the administrator of your cloud to map you to your CloudStack user.";
    BAD_PERCENT = "Write whole numbers from 1 to 100 with commas between, ten at most.";
}

/// A topic's name, as the page calls it.
pub(in crate::web) const fn topic(topic: Topic) -> &'static str {
    match topic {
        Topic::Maintenance => "Maintenance and outage",
        Topic::Invoice => "Invoice preference",
        Topic::Overdue => "Payments Overdue",
        Topic::Credit => "Credit warnings",
    }
}

/// What a topic brings.
pub(in crate::web) const fn topic_what(topic: Topic) -> &'static str {
    match topic {
        Topic::Maintenance => {
            "Planned work on the cloud, and known outages. Announcements come with a later version; your choice is kept."
        }
        Topic::Invoice => "A reminder three days before the end of the month, with the amount so far.",
        Topic::Overdue => "A reminder every week while the account is over its credit.",
        Topic::Credit => "When much of your credit is used, little is left, or few days remain.",
    }
}
