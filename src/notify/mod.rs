//! Mail: notices become mails, mails go out, and whoever has to know is told.
//!
//! Promises: what is sent stands in the outbox first, under a key that names event and person, so that nobody is told a thing
//! twice; a mail is claimed in a commit of its own before it is sent, and no transaction is held across the call; a crash
//! between a mail server's yes and the commit sends it once more, under the same Message-ID; what a rehearsal recorded
//! never reaches a tenant. Must not: decide anything, or act on an account. Addresses and passwords never reach a log.

mod digest;
mod letter;
mod links;
mod message;
mod personal;
mod queue;
mod recipients;
mod sender;
mod settings;
mod terms;
#[cfg(test)]
mod tests;
mod transport;
mod words;

pub use self::{
    links::{Note, people_of, write_note},
    personal::{address_asked, address_changed, can_confirm},
    queue::{Looked, Queued, queue},
    sender::{SendReport, Sender, send_due, tell_gauges},
    settings::{MailSettings, NotReady, Security, Server, TESTED, Transport, mail_ready, note_tested},
    transport::{Connection, Outcome, TestAnswer, TransportError, look, send_test},
    words::{TOO_OLD, kind_of, title as kind_title},
};
