//! Sends what is due: claim in a commit of its own, hand over, note what came of it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    links,
    settings::{MailSettings, Transport},
    transport::{Connection, Outcome, TransportError},
    words,
};
use crate::{
    random::RandomSource,
    store::{
        Store, StoreError,
        notify::{self as rows, Mail},
    },
    telemetry::metrics::{self, MailOutcome},
    time::{Clock, Timestamp},
};

/// Mails of one pass; the next pass goes on. Some minutes of a slow server, so that an order to stop is heard.
const MAILS_AT_ONCE: u32 = 200;
/// What a claim lasts beyond connecting and sending, for the commits.
const CLAIM_GRACE: Duration = Duration::from_mins(1);
/// A claim on a mail that goes into a folder.
const FOLDER_CLAIM: Duration = Duration::from_mins(2);
/// Claims that may be lost to other senders in a row; the next pass goes on.
const CLAIMS_LOST: u32 = 20;
/// Doublings of the pause between tries; more than the longest pause can hold.
const MOST_DOUBLINGS: i64 = 16;
/// Administrators are told of dead letters at most once in this time.
const DEAD_TOLD_EVERY_MS: i64 = 3_600_000;

/// Everything that sending needs.
pub struct Sender<'a> {
    /// The store.
    pub store: &'a Store,
    /// How mail is sent.
    pub settings: &'a MailSettings,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// Where the tokens of links come from.
    pub random: &'a dyn RandomSource,
    /// Who this process is.
    pub holder: &'a str,
    /// Cancelled where no further mail is to be begun.
    pub stop: CancellationToken,
}

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct SendReport {
    /// Mails that a server took.
    pub sent: u64,
    /// Mails put off.
    pub deferred: u64,
    /// Mails given up.
    pub dead: u64,
    /// Why nothing more could be sent in this pass.
    pub stopped: Option<String>,
}

/// Sends what is due until nothing is, or the server can not be used. Several may send at once: each mail is claimed.
pub async fn send_due(sender: &Sender<'_>) -> Result<SendReport, StoreError> {
    let mut report = SendReport::default();
    if !sender.settings.sends() {
        return Ok(report);
    }
    let mut connection = None;
    for _ in 0..MAILS_AT_ONCE {
        if sender.stop.is_cancelled() {
            break;
        }
        let Some((mut mail, ends)) = claim(sender).await? else { break };
        links::fill(sender, &mut mail).await?;
        let Some(handed_over) = hand_over(sender, &mut connection, &mail, ends).await.transpose() else {
            tracing::info!(mail = mail.id.get(), kind = %mail.kind, "a mail is left to whoever claims it next: this claim is over");
            continue;
        };
        let goes_on = settle(sender, &mail, handed_over, &mut report).await?;
        if !goes_on {
            connection = None;
            break;
        }
    }
    if let Some(connection) = connection {
        connection.close().await;
    }
    tell_gauges(sender.store).await?;
    Ok(report)
}

/// How long handing one mail over may take.
const fn send_lasts(settings: &MailSettings) -> Duration {
    match &settings.transport {
        Transport::Smtp(server) => server.timeout,
        _ => Duration::ZERO,
    }
}

/// How long a claim lasts: longer than connecting and sending may take.
fn claim_lasts(settings: &MailSettings) -> Duration {
    match &settings.transport {
        Transport::Smtp(server) => server.timeout * 2 + CLAIM_GRACE,
        _ => FOLDER_CLAIM,
    }
}

/// The next mail that is due, and until when it is this process's.
async fn claim(sender: &Sender<'_>) -> Result<Option<(Mail, Timestamp)>, StoreError> {
    for _ in 0..CLAIMS_LOST {
        let now = sender.clock.now();
        let ends = now.plus(claim_lasts(sender.settings));
        let mut tx = sender.store.begin().await?;
        let mail = rows::claim_mail(&mut tx, sender.holder, ends, now).await?;
        tx.commit().await?;
        if let Some(mail) = mail {
            return Ok(Some((mail, ends)));
        }
        // Either nothing is due, or another sender was faster at this very mail.
        let mut tx = sender.store.read().await?;
        let more = rows::is_mail_due(&mut tx, now).await?;
        tx.commit().await?;
        if !more {
            break;
        }
    }
    Ok(None)
}

/// Hands a mail over. None: the claim does not last for it any more, and somebody else may send the mail by now, or have dropped it.
async fn hand_over<'a>(
    sender: &Sender<'a>,
    connection: &mut Option<Connection<'a>>,
    mail: &Mail,
    ends: Timestamp,
) -> Result<Option<Outcome>, TransportError> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(sender.settings).await?,
    };
    // Looked at last: connecting takes its time as well.
    let is_ours = sender.clock.now().plus(send_lasts(sender.settings)) <= ends;
    let outcome = if is_ours { Some(open.send(mail).await?) } else { None };
    *connection = Some(open);
    Ok(outcome)
}

/// Notes what came of a mail; false where the server can not be used any more.
async fn settle(
    sender: &Sender<'_>,
    mail: &Mail,
    handed_over: Result<Outcome, TransportError>,
    report: &mut SendReport,
) -> Result<bool, StoreError> {
    let now = sender.clock.now();
    let id = mail.id;
    let mut tx = sender.store.begin().await?;
    let goes_on = handed_over.is_ok();
    let (why, refused) = match handed_over {
        Ok(Outcome::Accepted(_)) => {
            if !rows::put_mail_sent(&mut tx, id, sender.holder, now).await? {
                tracing::warn!(mail = id.get(), "a mail was sent after its claim had run out; it may come twice");
            }
            tx.commit().await?;
            report.sent += 1;
            metrics::mail_ended(MailOutcome::Sent);
            tracing::info!(mail = id.get(), kind = %mail.kind, attempt = mail.attempts, "mail sent");
            return Ok(true);
        }
        Ok(Outcome::Refused(why)) => (why, true),
        Ok(Outcome::Later(why)) => {
            tracing::info!(mail = id.get(), kind = %mail.kind, attempt = mail.attempts, "mail put off by the server");
            (why, false)
        }
        Err(error) => {
            report.stopped = Some(error.to_string());
            tracing::warn!(reason = error.for_log(), "mail waits; `bursar mail test` tells more");
            (error.to_string(), false)
        }
    };
    if refused || mail.opened_ms.plus(sender.settings.give_up) <= now {
        let why = if refused { why } else { format!("{}{why}", rows::GIVEN_UP) };
        rows::put_mail_dead(&mut tx, id, sender.holder, &why, now).await?;
        // A mail to an administrator that can not be delivered is told of in the list only: telling by mail would go round.
        if !matches!(mail.kind.as_str(), "admin" | "digest") {
            let (subject, body) = words::dead_letters();
            let key = format!("dead-letters/{}", now.as_ms() / DEAD_TOLD_EVERY_MS);
            rows::insert_admin_notice(&mut tx, &key, "dead-letters", subject, body, now).await?;
        }
        report.dead += 1;
        metrics::mail_ended(MailOutcome::Dead);
        tracing::warn!(mail = id.get(), kind = %mail.kind, attempt = mail.attempts, "mail given up; `bursar mail list --dead`");
    } else {
        rows::put_mail_later(&mut tx, id, sender.holder, now.plus(pause(sender.settings, mail.attempts)), &why).await?;
        report.deferred += 1;
        metrics::mail_ended(MailOutcome::Deferred);
    }
    tx.commit().await?;
    Ok(goes_on)
}

/// The pause after a number of tries: doubled each time, up to the longest.
pub(super) fn pause(settings: &MailSettings, attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, MOST_DOUBLINGS)).unwrap_or(0);
    settings.retry_first.saturating_mul(1 << doublings).min(settings.retry_longest)
}

/// Tells the gauges how many mails wait and how many were given up.
pub async fn tell_gauges(store: &Store) -> Result<(), StoreError> {
    let mut tx = store.read().await?;
    let counts = rows::count_mails(&mut tx).await?;
    let of = |state: &str| {
        counts.iter().find(|(name, _)| name == state).map_or(0, |(_, count)| u64::try_from(*count).unwrap_or(0))
    };
    metrics::mails("open", of("open"));
    metrics::mails("dead", of("dead"));
    tx.commit().await
}
