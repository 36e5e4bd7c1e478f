//! How mail is sent, and whether it was tried.

use std::{path::PathBuf, time::Duration};

use chrono_tz::Tz;

use crate::{
    email::{EmailAddress, Mailbox},
    policy::Ladders,
    schedule::Schedule,
    secrets::Secret,
    store::{StoreError, Tx, runs},
    time::Timestamp,
};

/// The setting that says for which mail settings a test mail passed.
pub const TESTED: &str = "mail.tested";
/// Bytes of the password's hash that settings are told apart by: enough to see that it is another one, and far too few to
/// find it by.
const PASSWORD_HASH_BYTES: usize = 2;

/// How mail is sent, from the configuration.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// How it leaves.
    pub transport: Transport,
    /// The sender; there wherever mail leaves.
    pub from: Option<Mailbox>,
    /// Where answers go; None: to the sender.
    pub reply_to: Option<EmailAddress>,
    /// Who is told what a person has to look at.
    pub admins: Vec<EmailAddress>,
    /// More people for accounts: domain path, name, address.
    pub recipients: Vec<(String, String, EmailAddress)>,
    /// When the digest is due; None: never.
    pub digest: Option<Schedule>,
    /// The zone in which it is due.
    pub digest_zone: Tz,
    /// The zone in which dates are told, where the payer has none of its own.
    pub zone: Tz,
    /// The pause after the first try.
    pub retry_first: Duration,
    /// The longest pause.
    pub retry_longest: Duration,
    /// How long a mail is tried.
    pub give_up: Duration,
    /// How the names of users begin that hold key pairs; nobody reads their mail.
    pub key_user_prefix: String,
    /// Where the pages are; None: mails have no links.
    pub pages: Option<String>,
    /// How long the link to the page of a suspended account holds.
    pub link_lasts: Duration,
    /// The policies of everybody and of the classes: what a warning promises is what is decided by.
    pub ladders: Ladders,
}

/// How mail leaves.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Nobody has said yet.
    NotSetUp,
    /// Not at all, on purpose.
    Off,
    /// Through a mail server.
    Smtp(Server),
    /// As files in a folder.
    Folder(PathBuf),
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept from others.
    pub security: Security,
    /// Name and password.
    pub credentials: Option<(String, Secret)>,
    /// Certificate authority to trust besides the system's own.
    pub ca_file: Option<PathBuf>,
    /// Longest time for connecting, and for one mail.
    pub timeout: Duration,
}

/// How the connection to a mail server is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Encrypted from the first byte.
    Tls,
    /// Encrypted before anything is said.
    StartTls,
    /// Not at all.
    None,
}

/// Why warnings can not be counted on to arrive.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody has said how mail leaves.
    #[error(
        "mail is not set up, so no warning would reach anybody: fill in [mail] and run `bursar mail test`, or set [mail] \
         transport = \"off\" if people are warned in another way"
    )]
    NotSetUp,
    /// No test mail passed with these settings.
    #[error("no test mail has passed with the present [mail] settings: run `bursar mail test`")]
    NotTested,
}

impl MailSettings {
    /// Whether mail leaves at all.
    pub const fn sends(&self) -> bool {
        matches!(self.transport, Transport::Smtp(_) | Transport::Folder(_))
    }

    /// A hash over everything that decides whether a mail gets through: with other settings a test counts no more.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        let mut add = |part: &str| {
            text.push_str(part);
            text.push('\n');
        };
        match &self.transport {
            Transport::NotSetUp => add("not set up"),
            Transport::Off => add("off"),
            Transport::Folder(folder) => add(&format!("folder {}", folder.display())),
            Transport::Smtp(server) => {
                add(&format!("smtp {} {} {:?}", server.host, server.port, server.security));
                add(&server.ca_file.as_ref().map(|file| file.display().to_string()).unwrap_or_default());
                if let Some((username, password)) = &server.credentials {
                    add(username);
                    let hash = blake3::hash(password.expose().as_bytes());
                    add(&hash
                        .as_bytes()
                        .iter()
                        .take(PASSWORD_HASH_BYTES)
                        .map(u8::to_string)
                        .collect::<Vec<_>>()
                        .join(" "));
                }
            }
        }
        add(&self.from.as_ref().map(|from| from.address().person()).unwrap_or_default());
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }
}

/// Whether warnings can be counted on: a test mail passed with exactly these settings, or mail is off on purpose.
pub async fn mail_ready(tx: &mut Tx, settings: &MailSettings) -> Result<(), NotReady> {
    match settings.transport {
        Transport::Off => Ok(()),
        Transport::NotSetUp => Err(NotReady::NotSetUp),
        Transport::Smtp(_) | Transport::Folder(_) => {
            let tested = runs::find_setting(tx, TESTED).await?;
            if tested.as_deref() == Some(settings.fingerprint().as_str()) { Ok(()) } else { Err(NotReady::NotTested) }
        }
    }
}

/// Notes that a test mail passed with these settings.
pub async fn note_tested(tx: &mut Tx, settings: &MailSettings, now: Timestamp) -> Result<(), StoreError> {
    runs::put_setting(tx, TESTED, &settings.fingerprint(), now).await
}
