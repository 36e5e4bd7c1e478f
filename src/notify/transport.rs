//! The way out: a mail server, or a folder.
//!
//! What goes wrong is told apart by what can be done about it: a mail that is refused for good, a mail that is put off, and a
//! server that can not be used at all, which says nothing about the mail.

use std::path::Path;

use lettre::transport::smtp::{
    authentication::{Credentials, Mechanism},
    client::{AsyncSmtpConnection, Certificate, TlsParameters},
    commands::{Data, Mail as MailFrom, Rcpt, Rset},
    extension::ClientId,
};

use super::{
    letter::Letter,
    message::{self, Ready},
    settings::{MailSettings, Security, Server, Transport},
};
use crate::{email::EmailAddress, random::RandomSource, store::notify::Mail, time::Timestamp};

/// The answer by which a server says that it closes now (RFC 5321, 3.8).
const CLOSING: &str = "421";
/// Characters of a server's answer that are kept.
const ANSWER_CHARS: usize = 500;

/// What came of handing a mail over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server took it, with these words.
    Accepted(String),
    /// The server will never take it.
    Refused(String),
    /// The server does not take it now.
    Later(String),
}

/// The server can not be used. Nothing is known against any mail.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// It can not be reached, or the connection broke.
    #[error("{0} can not be reached: {1}. Is it running, and are [mail] host, port and security right?")]
    Unreachable(String, String),
    /// It is not who it should be, or does not encrypt.
    #[error(
        "the connection to {0} can not be secured: {1}. If the server has a certificate of your own authority, name that in [mail] ca_file; \
         [mail] host must be a name in the certificate"
    )]
    Tls(String, String),
    /// It does not let bursar sign in.
    #[error("{0} does not let \"{1}\" sign in: {2}. Are [mail] username and password right?")]
    SignIn(String, String, String),
    /// It does not take mail from this sender.
    #[error("{0} takes no mail from the sender in [mail] from: {1}")]
    Sender(String, String),
    /// The settings can not be used.
    #[error("{0}")]
    Settings(String),
    /// The folder can not be written.
    #[error("the folder {0} ([mail] folder) can not be written: {1}")]
    Folder(String, String),
}

impl TransportError {
    /// In words that hold no address and no name, for the log.
    pub const fn for_log(&self) -> &'static str {
        match self {
            Self::Unreachable(..) => "the mail server can not be reached",
            Self::Tls(..) => "the connection to the mail server can not be secured",
            Self::SignIn(..) => "the mail server does not let bursar sign in",
            Self::Sender(..) => "the mail server takes no mail from the configured sender",
            Self::Settings(_) => "mail can not be sent with the present settings",
            Self::Folder(..) => "the folder for mail can not be written",
        }
    }
}

/// An open way out, good for several mails.
pub struct Connection<'a> {
    way: Way<'a>,
    settings: &'a MailSettings,
}

enum Way<'a> {
    /// `unfinished`: the server did not take the mail before, and still has its sender and recipient in mind.
    Smtp {
        smtp: Box<AsyncSmtpConnection>,
        server: &'a Server,
        unfinished: bool,
    },
    Folder(&'a Path),
}

fn cut(text: &str) -> String {
    super::letter::plain(text, ANSWER_CHARS)
}

/// An error of the SMTP client without its own heading: the server's words, or what the network says.
fn said(error: &lettre::transport::smtp::Error) -> String {
    use std::error::Error as _;
    let mut text = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    if let Some(code) = error.status() {
        text = format!("{code} {text}");
    }
    cut(&text)
}

impl<'a> Connection<'a> {
    /// Opens the way out: connects, secures and signs in, or makes the folder.
    pub async fn open(settings: &'a MailSettings) -> Result<Self, TransportError> {
        let way = match &settings.transport {
            Transport::NotSetUp => {
                return Err(TransportError::Settings("mail is not set up: fill in [mail] (docs/mail.md)".to_owned()));
            }
            Transport::Off => {
                return Err(TransportError::Settings("mail is switched off: [mail] transport is \"off\"".to_owned()));
            }
            Transport::Smtp(server) => Way::Smtp { smtp: Box::new(connect(server).await?), server, unfinished: false },
            Transport::Folder(folder) => {
                make_folder(folder)
                    .map_err(|error| TransportError::Folder(folder.display().to_string(), error.to_string()))?;
                Way::Folder(folder)
            }
        };
        Ok(Self { way, settings })
    }

    /// Hands one mail over.
    pub async fn send(&mut self, mail: &Mail) -> Result<Outcome, TransportError> {
        let ready = match message::ready(mail, self.settings) {
            Ok(ready) => ready,
            Err(error) => return Ok(Outcome::Refused(error.to_string())),
        };
        match &mut self.way {
            Way::Smtp { smtp, server, unfinished } => {
                let sending = hand_over(smtp, &ready, server, *unfinished);
                match tokio::time::timeout(server.timeout, sending).await {
                    Ok(outcome) => {
                        *unfinished = !matches!(outcome, Ok(Outcome::Accepted(_)));
                        outcome
                    }
                    Err(_) => Err(TransportError::Unreachable(
                        server.host.clone(),
                        format!("it took longer than {} seconds to take a mail", server.timeout.as_secs()),
                    )),
                }
            }
            Way::Folder(folder) => {
                let name = format!("{:06}-{}.eml", mail.id.get(), mail.kind);
                write(folder, &name, &ready.bytes)
                    .map_err(|error| TransportError::Folder(folder.display().to_string(), error.to_string()))?;
                Ok(Outcome::Accepted(name))
            }
        }
    }

    /// Says goodbye. What is sent is sent, whatever comes of it.
    pub async fn close(self) {
        if let Way::Smtp { mut smtp, server, .. } = self.way {
            let _ = tokio::time::timeout(server.timeout, smtp.quit()).await;
        }
    }
}

async fn connect(server: &Server) -> Result<AsyncSmtpConnection, TransportError> {
    let tls = match server.security {
        Security::None => None,
        Security::Tls | Security::StartTls => Some(tls(server)?),
    };
    let host = || server.host.clone();
    let me = ClientId::default();
    let (wrapped, upgrade) = match server.security {
        Security::StartTls => (None, tls),
        Security::Tls | Security::None => (tls, None),
    };
    let address = (server.host.as_str(), server.port);
    let connecting = async {
        let mut smtp = AsyncSmtpConnection::connect_tokio1(address, Some(server.timeout), &me, wrapped, None)
            .await
            .map_err(|error| trouble(&error, server))?;
        if let Some(tls) = upgrade {
            // Without the offer the server is answered nothing: neither name nor mail goes out in plain text.
            if !smtp.can_starttls() {
                return Err(TransportError::Tls(host(), "it does not offer STARTTLS".to_owned()));
            }
            smtp.starttls(tls, &me).await.map_err(|error| trouble(&error, server))?;
        }
        if let Some((username, password)) = &server.credentials {
            let credentials = Credentials::new(username.clone(), password.expose().to_owned());
            smtp.auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .await
                .map_err(|error| TransportError::SignIn(host(), username.clone(), said(&error)))?;
        }
        Ok(smtp)
    };
    tokio::time::timeout(server.timeout, connecting).await.unwrap_or_else(|_| {
        let why = format!("no answer within {} seconds", server.timeout.as_secs());
        Err(TransportError::Unreachable(host(), why))
    })
}

fn tls(server: &Server) -> Result<TlsParameters, TransportError> {
    let mut builder = TlsParameters::builder(server.host.clone());
    if let Some(file) = &server.ca_file {
        let unusable = |why: String| {
            TransportError::Settings(format!("{} ([mail] ca_file) can not be used: {why}", file.display()))
        };
        let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
        let certificate =
            Certificate::from_pem(&pem).map_err(|_| unusable("it holds no certificate in PEM".to_owned()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| TransportError::Tls(server.host.clone(), said(&error)))
}

/// A failure before any mail was named.
fn trouble(error: &lettre::transport::smtp::Error, server: &Server) -> TransportError {
    let text = said(error);
    // rustls comes through as an error of the network.
    let certificate =
        error.is_tls() || text.contains("certificate") || text.contains("TLS") || text.contains("handshake");
    if certificate && server.security != Security::None {
        TransportError::Tls(server.host.clone(), text)
    } else {
        TransportError::Unreachable(server.host.clone(), text)
    }
}

async fn hand_over(
    smtp: &mut AsyncSmtpConnection,
    ready: &Ready,
    server: &Server,
    unfinished: bool,
) -> Result<Outcome, TransportError> {
    let broken = |error: &lettre::transport::smtp::Error| TransportError::Unreachable(server.host.clone(), said(error));
    // What an answer to this mail means; a broken connection means nothing for the mail.
    let judged = |error: lettre::transport::smtp::Error| {
        let text = said(&error);
        if error.is_permanent() {
            Ok(Outcome::Refused(text))
        } else if error.is_transient() && !text.starts_with(CLOSING) {
            Ok(Outcome::Later(text))
        } else {
            Err(broken(&error))
        }
    };
    if unfinished {
        smtp.command(Rset).await.map_err(|error| broken(&error))?;
    }
    let sender = MailFrom::new(ready.envelope.from().cloned(), Vec::new());
    if let Err(error) = smtp.command(sender).await {
        return Err(if error.is_permanent() {
            TransportError::Sender(server.host.clone(), said(&error))
        } else {
            broken(&error)
        });
    }
    for recipient in ready.envelope.to() {
        if let Err(error) = smtp.command(Rcpt::new(recipient.clone(), Vec::new())).await {
            return judged(error);
        }
    }
    if let Err(error) = smtp.command(Data).await {
        return judged(error);
    }
    match smtp.message(&ready.bytes).await {
        Ok(answer) => {
            let text = answer.message().collect::<Vec<_>>().join(" ");
            Ok(Outcome::Accepted(cut(&format!("{} {text}", answer.code()))))
        }
        Err(error) => judged(error),
    }
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a file in whole or not at all: the same mail again replaces it.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let part = folder.join(format!(".{name}.part"));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, folder.join(name))
}

/// Looks whether the way out can be used, without sending anything.
pub async fn look(settings: &MailSettings) -> Result<(), TransportError> {
    Connection::open(settings).await?.close().await;
    Ok(())
}

/// What the server said to a test mail.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TestAnswer {
    /// The address.
    pub address: String,
    /// Whether it was taken.
    pub accepted: bool,
    /// The server's words.
    pub answer: String,
}

/// Sends a test mail to each address, past the outbox.
pub async fn send_test(
    settings: &MailSettings,
    addresses: &[EmailAddress],
    random: &dyn RandomSource,
    now: Timestamp,
) -> Result<Vec<TestAnswer>, TransportError> {
    let mut connection = Connection::open(settings).await?;
    let mut answers = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let made = Letter::test()
            .to_mail(String::new(), address, settings, random)
            .map_err(|error| TransportError::Settings(error.to_string()))?;
        let mail = Mail {
            // Below every number of the outbox, so that a folder keeps both.
            id: crate::ids::MailId::new(-i64::try_from(number).unwrap_or(0)),
            kind: made.kind,
            recipient: made.recipient,
            subject: made.subject,
            text_body: made.text_body,
            html_body: made.html_body,
            message_id: made.message_id,
            attempts: 1,
            created_ms: now,
            opened_ms: now,
        };
        let (accepted, answer) = match connection.send(&mail).await? {
            Outcome::Accepted(answer) => (true, answer),
            Outcome::Refused(answer) | Outcome::Later(answer) => (false, answer),
        };
        answers.push(TestAnswer { address: address.to_string(), accepted, answer });
    }
    connection.close().await;
    Ok(answers)
}
