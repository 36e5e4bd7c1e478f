//! The section `[mail]`: what it holds, and what makes it right.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use super::{
    AccountRef,
    check::{self, HOURS, MINUTES, SECONDS},
    layers::cut,
    reading::Reading,
};
use crate::{
    email::{EmailAddress, Mailbox},
    schedule::Schedule,
    secrets::Secret,
};

/// Longest time for connecting, and for one mail. A sender's claim on a mail outlasts both.
const LONGEST_TIMEOUT_SECONDS: u32 = 120;

/// Mail to tenants and administrators.
#[derive(Debug, Clone)]
pub struct Mail {
    /// How it leaves.
    pub transport: MailTransport,
    /// The sender; always there where mail leaves.
    pub from: Option<Mailbox>,
    /// Where answers go; None: to the sender.
    pub reply_to: Option<EmailAddress>,
    /// Who is told what a person has to look at. Not empty where mail leaves.
    pub admins: Vec<EmailAddress>,
    /// More people for accounts.
    pub recipients: Vec<(AccountRef, EmailAddress)>,
    /// When the digest is due, in the zone of the jobs; None: never.
    pub digest: Option<Schedule>,
    /// The pause after the first try.
    pub retry_first: Duration,
    /// The longest pause.
    pub retry_longest: Duration,
    /// How long a mail is tried.
    pub give_up: Duration,
}

/// How mail leaves.
#[derive(Debug, Clone)]
pub enum MailTransport {
    /// Nobody has said yet.
    NotSetUp,
    /// Not at all, on purpose.
    Off,
    /// Through a mail server.
    Smtp(MailServer),
    /// As files in a folder.
    Folder(PathBuf),
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct MailServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept from others.
    pub security: MailSecurity,
    /// Name and password.
    pub credentials: Option<(String, Secret)>,
    /// Certificate authority to trust besides the system's own.
    pub ca_file: Option<PathBuf>,
    /// Longest time for connecting, and for one mail.
    pub timeout: Duration,
}

/// How the connection to the mail server is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// Encrypted from the first byte.
    Tls,
    /// Encrypted before anything is said.
    StartTls,
    /// Not at all.
    None,
}

impl MailSecurity {
    /// As it is configured.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::StartTls => "starttls",
            Self::None => "none",
        }
    }

    const fn usual_port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::StartTls => 587,
            Self::None => 25,
        }
    }
}

/// Which transport is named, before its own keys are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Nothing,
    Off,
    Smtp,
    Folder,
}

/// Reads the section; every problem of it is told.
pub(super) fn mail(r: &mut Reading) -> Option<Mail> {
    let named = r.text("mail.transport").and_then(|text| match text.as_str() {
        "" => Some(Named::Nothing),
        "off" => Some(Named::Off),
        "smtp" => Some(Named::Smtp),
        "folder" => Some(Named::Folder),
        other => {
            r.complain("mail.transport", &format!("is \"{}\" and must be smtp, folder, off or empty", cut(other)));
            None
        }
    });
    let server = server(r, named);
    let folder = r.optional("mail.folder", |text| Ok(PathBuf::from(text)));
    let from = r.optional("mail.from", |text| Mailbox::parse(text).map_err(|error| format!("is no sender: {error}")));
    let reply_to = r
        .optional("mail.reply_to", |text| EmailAddress::parse(text).map_err(|error| format!("is no address: {error}")));
    let admins = r.list("mail.admins", |text| {
        EmailAddress::parse(text).map_err(|error| format!("holds \"{}\", which is no address: {error}", cut(text)))
    });
    let recipients = r.list("mail.recipients", recipient);
    let digest = r.optional("mail.digest", |text| {
        Schedule::parse(text).map_err(|error| format!("is \"{}\", no schedule: {error}", cut(text)))
    });
    let retry_first = r.span("mail.retry_minutes", &(1..=1_440), MINUTES);
    let retry_longest = r.span("mail.retry_longest_minutes", &(1..=1_440), MINUTES);
    let give_up = r.span("mail.give_up_hours", &(1..=720), HOURS);
    if let (Some(first), Some(longest)) = (retry_first, retry_longest)
        && longest < first
    {
        r.complain("mail.retry_longest_minutes", "must not be less than mail.retry_minutes");
    }
    let named = named?;
    if matches!(named, Named::Smtp | Named::Folder) {
        if matches!(from, Some(None)) {
            r.complain("mail.from", "must be given: a mail has a sender");
        }
        if admins.as_ref().is_some_and(Vec::is_empty) {
            r.complain("mail.admins", "must name somebody: who else would be told of what can not be delivered");
        }
        if named == Named::Folder && matches!(folder, Some(None)) {
            r.complain("mail.folder", "must be given with transport \"folder\"");
        }
    }
    let transport = match named {
        Named::Nothing => MailTransport::NotSetUp,
        Named::Off => MailTransport::Off,
        Named::Smtp => MailTransport::Smtp(server?),
        Named::Folder => MailTransport::Folder(folder??),
    };
    Some(Mail {
        transport,
        from: from?,
        reply_to: reply_to?,
        admins: admins?,
        recipients: recipients?,
        digest: digest?,
        retry_first: retry_first?,
        retry_longest: retry_longest?,
        give_up: give_up?,
    })
}

fn server(r: &mut Reading, named: Option<Named>) -> Option<MailServer> {
    let host = r.optional("mail.host", host);
    let port = r.number("mail.port", &(0..=65_535));
    let security = r.parsed("mail.security", |text| match text {
        "tls" => Ok(MailSecurity::Tls),
        "starttls" => Ok(MailSecurity::StartTls),
        "none" => Ok(MailSecurity::None),
        other => Err(format!("is \"{}\" and must be tls, starttls or none", cut(other))),
    });
    let allow_unencrypted = r.flag("mail.allow_unencrypted");
    let username = r.optional("mail.username", |text| Ok(text.to_owned()));
    // Passwords of mail servers hold blanks, where people copy them as they are shown.
    let password = r.optional("mail.password", |text| {
        let plain = !text.chars().any(char::is_control);
        if plain { Ok(Secret::new(text)) } else { Err("holds line breaks or odd characters".to_owned()) }
    });
    let ca_file = r.optional("mail.ca_file", |text| Ok(PathBuf::from(text)));
    let timeout = r.span("mail.timeout_seconds", &(1..=LONGEST_TIMEOUT_SECONDS), SECONDS);
    let credentials = match (username?, password?) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => None,
        (Some(_), None) => {
            r.complain("mail.username", "is set without mail.password; give both or none");
            return None;
        }
        (None, Some(_)) => {
            r.complain("mail.password", "is set without mail.username; give both or none");
            return None;
        }
    };
    let (host, security) = (host?, security?);
    match named {
        Some(Named::Smtp) if host.is_none() => {
            r.complain("mail.host", "must be given with transport \"smtp\"");
            return None;
        }
        // Whoever names a server means to use it.
        Some(Named::Nothing) if host.is_some() => {
            r.complain(
                "mail.transport",
                "is empty although mail.host is given; say \"smtp\", or \"off\" to send nothing",
            );
            return None;
        }
        _ => {}
    }
    let host = host?;
    if security == MailSecurity::None && !is_loopback(&host) && !allow_unencrypted? {
        r.complain(
            "mail.security",
            &format!(
                "is \"none\", and {} is another machine: mail and password would cross the network in plain text. Use tls or \
                 starttls, or set mail.allow_unencrypted = true",
                cut(&host)
            ),
        );
        return None;
    }
    let port = u16::try_from(port?).ok().filter(|port| *port != 0).unwrap_or_else(|| security.usual_port());
    Some(MailServer { host, port, security, credentials, ca_file: ca_file?, timeout: timeout? })
}

fn host(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if text.contains("://") || text.contains('/') {
        return Err(format!("is \"{}\" and must be a name alone, such as mail.example.com", cut(text)));
    }
    if text.contains(':') {
        return Err(format!("is \"{}\"; the port stands in mail.port", cut(text)));
    }
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if text.split('.').all(label) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("is \"{}\", which is no name of a machine", cut(text)))
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn recipient(text: &str) -> Result<(AccountRef, EmailAddress), String> {
    let wrong = |why: &str| format!("holds \"{}\": {why}", cut(text));
    let (account, address) =
        text.rsplit_once('=').ok_or_else(|| wrong("an account, an equals sign and an address are wanted"))?;
    let account =
        check::account(account.trim()).map_err(|_| wrong("in front of = stands no account such as ROOT/acme/alice"))?;
    let address =
        EmailAddress::parse(address).map_err(|error| wrong(&format!("behind = stands no address; {error}")))?;
    Ok((account, address))
}
