//! The words of My Profile, Change Password and Multi-Factor Authentication.

words! {
    CHANGE = "Change";
    SAVE = "Save";
    CANCEL = "Cancel";
    NOT_GIVEN = "not given";

    PROFILE_PERSON = "About you";
    USER_CREDIT_LIMIT = "User credit limit";
    USER_CREDIT_LIMIT_WHAT = "what your administrator allocates";
    NO_LIMIT = "none";
    USERNAME = "User name";
    FIRST_NAME = "First name";
    LAST_NAME = "Last name";
    EMAIL = "E-mail";
    TIMEZONE = "Time zone";
    TIMEZONE_HINT = "Used by CloudStack's pages.";
    TIMEZONE_KEEP = "(not set)";
    PHONE = "Phone";
    PHONE_HINT = "With the country's number, such as +43 1 5550123.";
    COMPANY = "Company";
    LOCATION = "Location";
    ADDRESS = "Address";
    IN_CLOUDSTACK = "In CloudStack";
    HERE_ONLY = "Kept by Billing only";
    EMAIL_HINT = "We send a link to the new address; it takes effect once you confirm it there. Your old address is informed.";
    EMAIL_NOT_HERE = "This cloud's billing sends no mail, so a new address can not be confirmed here. Ask the administrator of this cloud.";
    EMAIL_WAITS = "waits for its confirmation";
    EMAIL_CONFIRMED = "is confirmed, and CloudStack takes it the next time that you open this page";
    EMAIL_DROP = "Cancel the change of address";
    FIRST_NAME_WANTED = "CloudStack wants a first name.";
    LAST_NAME_WANTED = "CloudStack wants a last name.";
    EMAIL_WRONG = "This is no address that mail can be sent to.";
    EMAIL_EMPTY = "An address can be changed, not taken away.";
    EMAIL_TOO_MANY = "You have asked for five new addresses in a day. Try again tomorrow.";
    EMAIL_BUSY = "A change of your address is being carried out. Open this page again in a minute.";
    TIMEZONE_WRONG = "There is no such time zone.";
    PHONE_WRONG = "A phone number is digits, blanks, and + ( ) - . /";
    LINES_WRONG = "Write at most eight lines, without control characters.";
    MEANWHILE = "Your profile was changed meanwhile, perhaps in another window. Nothing was saved; here is how it stands now.";

    PICTURE = "Picture";
    PICTURE_OF_YOU = "Your picture";
    NO_PICTURE = "No picture";
    PICTURE_HINT = "PNG or JPEG, at most 5 MB. It is cut to its middle square.";
    PICTURE_CHOOSE = "Choose a file";
    PICTURE_UPLOAD = "Upload";
    PICTURE_REMOVE = "Remove";
    ICON_SET = "CloudStack shows it too.";
    ICON_WAITING = "It is being set in CloudStack.";
    ICON_REFUSED = "It is kept here; CloudStack did not take it as your icon: its release or your role does not allow it.";
    ICON_UNKNOWN = "It is kept here; whether CloudStack took it as your icon is not known. Upload it again to make sure.";
    PICTURE_EMPTY = "Choose a file first.";
    PICTURE_TOO_BIG = "This file is bigger than 5 MB.";
    PICTURE_OTHER_KIND = "This is neither a PNG nor a JPEG file, whatever its name says.";
    PICTURE_TOO_MANY_PIXELS = "This picture has too many pixels. Make it smaller first.";
    PICTURE_BROKEN = "This picture can not be read; the file may be incomplete.";

    CONFIRM_TITLE = "Confirm an e-mail address";
    CONFIRM_WHAT = "Somebody asked in your cloud's billing to be written to at the address that this link was sent to. If that was you, confirm it.";
    CONFIRM_BUTTON = "Confirm this address";
    CONFIRM_DONE = "The address is confirmed. CloudStack takes it as soon as you open My Profile there.";
    CONFIRM_NOT = "This link does not work: it was given up, has run out after a day, or was not copied as a whole. Ask for a new one in My Profile.";
    CONFIRM_OPEN = "Open My Profile";

    PASSWORD_WHAT = "The password of your user in CloudStack. You stay signed in, and API keys go on working.";
    PASSWORD_OLD = "Old password";
    PASSWORD_NEW = "New password";
    PASSWORD_AGAIN = "Confirm new password";
    PASSWORD_CHANGE = "Change password";
    PASSWORD_RULES = "Password rules of this cloud";
    PASSWORD_COUNTED = "We check your old password with a separate sign-in. CloudStack disables a user after several wrong passwords in a row, usually five, so only three attempts a day are possible here.";
    PASSWORD_DIRECTORY = "Your password is kept in your organisation's directory (LDAP), not in CloudStack. Change it there; the people who run the directory can help.";
    PASSWORD_SSO = "You sign in through your organisation's single sign-on, so CloudStack has no password of yours. Change it in the account settings of that sign-in service; the people who run it can help.";
    PASSWORD_OLD_WANTED = "Type your present password.";
    PASSWORD_NEW_WANTED = "Type a new password.";
    PASSWORD_DIFFERENT = "The two are not the same.";
    PASSWORD_SAME = "The new password is the old one.";
    PASSWORD_SIGNS = "A password may not contain control characters, such as a tab.";
    PASSWORD_NOT_DONE = "CloudStack did not change it: the old password still counts. Try again.";
    PASSWORD_UNSURE = "CloudStack's answer was lost, and it can not be told whether the password was changed. Sign in to CloudStack in a private window with the new one; if that fails, the old one still counts.";
    SHUT_OUT = "CloudStack says that this user is disabled or locked. Ask the administrator of this cloud.";
    RULE_NOT_THE_NAME = "your user name must not be in it";
    RULE_PATTERN = "it must match a pattern of this cloud; ask its administrator";
    RULE_NOT_BLANK = "it must not be blank";

    FACTOR_OFF = "Off";
    FACTOR_ON = "On";
    FACTOR_BEGUN = "Begun";
    FACTOR_STATE = "State";
    FACTOR_WHAT = "With a second factor CloudStack asks for a code after your password whenever you sign in. API keys never ask for one.";
    FACTOR_NOT_ALLOWED = "This cloud has no second factor for your domain. The administrator of the cloud can turn it on: CloudStack's setting enable.user.2fa, for the whole cloud or for your domain.";
    FACTOR_MAYBE = "Whether this cloud allows a second factor in your domain can not be told from here; CloudStack says so when you try.";
    FACTOR_REFUSED = "CloudStack did not allow it. Most likely a second factor is not allowed in your domain: the administrator of the cloud can turn it on (setting enable.user.2fa).";
    FACTOR_MANDATED = "Your cloud wants everybody in your domain to have a second factor: without one CloudStack asks you to set one up at your next sign-in.";
    FACTOR_PROVIDER = "How the code comes";
    FACTOR_TOTP = "Authenticator app";
    FACTOR_TOTP_HINT = "An app on your phone shows a new code every 30 seconds. The safer way.";
    FACTOR_PIN = "Fixed PIN";
    FACTOR_PIN_HINT = "CloudStack makes a number of six digits that stays the same.";
    FACTOR_TURN_ON = "Turn on";
    FACTOR_SCAN = "Scan this with your authenticator app";
    FACTOR_QR = "QR code for an authenticator app; the secret for typing stands below";
    FACTOR_SECRET = "Or type this secret";
    FACTOR_SECRET_PIN = "Your PIN";
    FACTOR_ONCE = "It is shown this once and kept nowhere here. Write it down in a safe place if you want to use it on another phone.";
    FACTOR_ONCE_PIN = "This PIN is shown only once. You need it at every sign-in, so keep it in a safe place.";
    FACTOR_FIRST_CODE = "Give the code that the app shows now";
    FACTOR_FIRST_PIN = "Give the PIN to confirm it";
    FACTOR_CODE = "Code";
    FACTOR_CODE_HINT = "Six digits";
    FACTOR_CONFIRM = "Confirm";
    FACTOR_CONFIRM_WARNING = "A wrong code makes CloudStack undo the set-up, and you begin anew. The code counts for 30 seconds, and your phone's clock has to be right.";
    FACTOR_CONFIRM_WARNING_PIN = "A wrong PIN makes CloudStack undo the set-up, and you begin anew.";
    FACTOR_UNFINISHED = "A second factor was begun and has not had its first code. If your app shows a code for it, give it here. If not, sign out of CloudStack and in again: that clears what was never confirmed, and you can begin anew.";
    FACTOR_MAYBE_UNFINISHED = "If you never gave a first code, it was not confirmed: signing out of CloudStack and in again clears it.";
    FACTOR_TURN_OFF = "Turn off";
    FACTOR_TURN_OFF_WHAT = "CloudStack itself would not ask for a code here. Billing does: it proves your password and code in a sign-in of its own before anything is turned off. A wrong code changes nothing.";
    FACTOR_TURN_OFF_SSO = "CloudStack itself would not ask for a code here. Billing does. You sign in through single sign-on, so the code has to be given in the session that you are in: a wrong one signs you out of CloudStack.";
    FACTOR_PASSWORD = "Password";
    FACTOR_RECOVERY = "If you lose your phone";
    FACTOR_RECOVERY_WHAT = "There are no recovery codes. The administrator of the cloud, or of your domain, can turn the second factor off for you in CloudStack; then you sign in by password and turn it on anew. A secret that you wrote down works in any authenticator app.";
    FACTOR_NOT_A_CODE = "A code is six digits.";
    FACTOR_WRONG_CODE = "The code was wrong; nothing was changed.";
    FACTOR_UNDONE = "The code was wrong, so CloudStack undid the set-up. Nothing is turned on. Begin anew, and remove the old entry from your app.";
    FACTOR_OVER = "This form belongs to a set-up that is over, perhaps because it was confirmed or begun anew in another window. Here is how it stands now.";
    FACTOR_IS_ON = "There is a second factor already.";
    FACTOR_IS_OFF = "There is no second factor to turn off.";
    FACTOR_SECRET_LOST = "CloudStack began a second factor, and its secret was lost on the way. Sign out of CloudStack and in again: that clears it, and you can begin anew.";
    FACTOR_NOT_DONE = "CloudStack did not do it. Try again.";
    FACTOR_SIGNED_OUT = "The code was wrong, and CloudStack has signed you out. Sign in again; nothing was changed.";
    FACTOR_UNSURE = "CloudStack's answer was lost, and it can not be told what became of it. Sign out of CloudStack and in again: if it asks for a code, the second factor is on.";
    FACTOR_NO_PROVIDER = "Choose one of the ways.";

    SILENT = "CloudStack does not answer now. Nothing was changed; try again in a minute.";
    UNSURE = "CloudStack's answer was lost, and it can not be told whether it was done. Open the page again and look.";
    NOT_DONE = "CloudStack did not do it: it stands as before. Try again.";
}

/// How many more tries there are, where CloudStack counts too.
pub(in crate::web) fn wrong_password(left: i64, counted: bool) -> String {
    let more = match left {
        0 => "No more tries are left here for now.".to_owned(),
        1 => "One more try is left here.".to_owned(),
        left => format!("{left} more tries are left here."),
    };
    let counted = if counted {
        " CloudStack counts wrong passwords too, those at its sign-in page included, and disables the user in the end."
    } else {
        ""
    };
    format!("This is not your present password. {more}{counted}")
}

/// A wrong code, and how many more tries there are.
pub(in crate::web) fn wrong_code(left: i64) -> String {
    let more = match left {
        0 => "No more tries are left for now.".to_owned(),
        1 => "One more try is left.".to_owned(),
        left => format!("{left} more tries are left."),
    };
    format!("{FACTOR_WRONG_CODE} {more}")
}

/// Too many wrong tries.
pub(in crate::web) fn too_many_tries(until: &str) -> String {
    format!("Too many wrong tries. You can try again after {until}.")
}

/// CloudStack's own words, where there is no better explanation.
pub(in crate::web) fn refused(text: &str) -> String {
    format!("CloudStack refused: {text}")
}

/// A rule with a number.
pub(in crate::web) fn at_least(number: u32, what: &str) -> String {
    format!("at least {number} {what}")
}

/// The new password breaks a rule of the cloud.
pub(in crate::web) fn breaks_rule(rule: &str) -> String {
    format!("The new password breaks a rule of this cloud: {rule}.")
}

/// What a form just did.
pub(in crate::web) fn said(word: &str) -> Option<&'static str> {
    Some(match word {
        "saved" => "Saved.",
        "asked" => {
            "Saved. We have written to the new address: follow the link in that mail within a day. Until then the old one stays."
        }
        "given-up" => "The new address is given up.",
        "taken-over" => "Your new address is confirmed, and CloudStack has it now.",
        "picture" => "Your picture is saved.",
        "picture-removed" => "Your picture is removed.",
        "picture-removed-here" => "Your picture is removed here; CloudStack may still show it.",
        "password" => "Your password is changed. Use the new one the next time that you sign in.",
        "factor-on" => "The second factor is on. CloudStack asks for a code from your next sign-in on.",
        "factor-off" => "The second factor is off.",
        "factor-cleared" => {
            "The second factor is off: no code had ever confirmed it, so proving your password cleared it."
        }
        _ => return None,
    })
}
