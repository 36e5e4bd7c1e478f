//! A mail of the outbox as the bytes that travel. The same mail gives the same bytes at every try.

use std::time::{Duration, SystemTime};

use lettre::{
    Message,
    address::Envelope,
    message::{Mailbox, MultiPart, SinglePart, header::HeaderName, header::HeaderValue},
};

use super::settings::MailSettings;
use crate::{email::EmailAddress, store::notify::Mail, time::Timestamp};

/// Why a mail can not be put together. It would not get better at the next try.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAMail {
    /// The address does not read.
    #[error("its address is none that mail can be sent to")]
    Address,
    /// There is no sender.
    #[error("[mail] from is empty")]
    NoSender,
    /// The parts do not fit.
    #[error("it can not be put together: {0}")]
    Parts(String),
}

/// A mail ready to be sent.
pub(super) struct Ready {
    pub(super) envelope: Envelope,
    pub(super) bytes: Vec<u8>,
}

/// Puts a mail together.
pub(super) fn ready(mail: &Mail, settings: &MailSettings) -> Result<Ready, NotAMail> {
    let from = settings.from.as_ref().ok_or(NotAMail::NoSender)?;
    let address = |address: &EmailAddress| address.as_str().parse::<lettre::Address>().map_err(|_| NotAMail::Address);
    let to = address(&EmailAddress::parse(&mail.recipient).map_err(|_| NotAMail::Address)?)?;
    let sender = address(from.address())?;
    let envelope =
        Envelope::new(Some(sender.clone()), vec![to.clone()]).map_err(|error| NotAMail::Parts(error.to_string()))?;
    let mut builder = Message::builder()
        .from(Mailbox::new(from.name().map(str::to_owned), sender))
        .to(Mailbox::new(None, to))
        .subject(mail.subject.as_str())
        .date(system_time(mail.created_ms))
        .message_id(Some(format!("<{}>", mail.message_id)))
        // RFC 3834: nobody's "out of office" answers it.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
        .envelope(envelope.clone());
    if let Some(reply_to) = &settings.reply_to {
        builder = builder.reply_to(Mailbox::new(None, address(reply_to)?));
    }
    // Not random: a repeated mail is the same to the byte.
    let boundary = blake3::hash(mail.message_id.as_bytes()).to_hex();
    let message = builder
        .multipart(
            MultiPart::alternative()
                .boundary(format!("=_{}", boundary.get(..40).unwrap_or_default()))
                .singlepart(SinglePart::plain(mail.text_body.clone()))
                .singlepart(SinglePart::html(mail.html_body.clone())),
        )
        .map_err(|error| NotAMail::Parts(error.to_string()))?;
    Ok(Ready { envelope, bytes: message.formatted() })
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at.as_seconds()).unwrap_or(0))
}
