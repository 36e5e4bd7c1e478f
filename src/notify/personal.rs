//! Mails to one person about the person: an address to be confirmed, and word of it to the old one.

use super::{
    letter::{Letter, plain},
    settings::MailSettings,
    words,
};
use crate::{
    email::EmailAddress,
    random::RandomSource,
    secrets::Secret,
    store::{StoreError, notify::NewMail},
    time::Timestamp,
};

/// The kind of these mails.
const KIND: &str = "address";
/// Longest name of a person in a mail.
const NAME_CHARS: usize = 200;

/// The link in the pages that confirms an address; None where the pages' address is not configured.
fn link(settings: &MailSettings, token: &Secret) -> Option<String> {
    settings.pages.as_ref().map(|pages| format!("{pages}confirm-address/{}", token.expose()))
}

/// Whether a new address can be confirmed: mail leaves, and the pages have an address to link to.
pub fn can_confirm(settings: &MailSettings) -> bool {
    settings.sends() && settings.pages.is_some()
}

fn letter(headline: &'static str, paragraphs: Vec<String>, link: Option<(&'static str, String)>) -> Letter {
    Letter {
        kind: KIND.to_owned(),
        subject: format!("{}: {headline}", words::PRODUCT),
        headline: headline.to_owned(),
        paragraphs,
        facts: Vec::new(),
        sections: Vec::new(),
        links: link.into_iter().map(|(label, address)| (label.to_owned(), address)).collect(),
        footer: words::PERSON_FOOTER,
    }
}

fn mail(
    letter: &Letter,
    to: &EmailAddress,
    settings: &MailSettings,
    random: &dyn RandomSource,
) -> Result<NewMail, StoreError> {
    let key = format!("{KIND}/{}", random.hex(16));
    letter.to_mail(key, to, settings, random).map_err(|error| StoreError::Nonsense(error.to_string()))
}

/// Asks at the new address whether it shall be `username`'s, and tells the old one, if mail can reach it.
pub fn address_asked(
    username: &str,
    old: Option<&EmailAddress>,
    new: &EmailAddress,
    token: &Secret,
    until: Timestamp,
    settings: &MailSettings,
    random: &dyn RandomSource,
) -> Result<Vec<NewMail>, StoreError> {
    let username = plain(username, NAME_CHARS);
    let Some(link) = link(settings, token) else { return Ok(Vec::new()) };
    let ask = letter(
        words::CONFIRM_ADDRESS,
        words::confirm_address(&username, &until.display_in(settings.zone)),
        Some((words::CONFIRM_LINK, link)),
    );
    let mut mails = vec![mail(&ask, new, settings, random)?];
    if let Some(old) = old.filter(|old| old.looks_deliverable()) {
        let tell = letter(words::ADDRESS_ASKED, words::address_asked(&username, new.as_str()), None);
        mails.push(mail(&tell, old, settings, random)?);
    }
    Ok(mails)
}

/// Tells the old address that it is `username`'s no more.
pub fn address_changed(
    username: &str,
    old: &EmailAddress,
    new: &str,
    settings: &MailSettings,
    random: &dyn RandomSource,
) -> Result<Option<NewMail>, StoreError> {
    if !settings.sends() || !old.looks_deliverable() {
        return Ok(None);
    }
    let username = plain(username, NAME_CHARS);
    let tell = letter(words::ADDRESS_CHANGED, words::address_changed(&username, &plain(new, NAME_CHARS)), None);
    mail(&tell, old, settings, random).map(Some)
}
