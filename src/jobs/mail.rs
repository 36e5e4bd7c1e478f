//! Mail, wired: the settings, one pass, and the task of a running server.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    app::App,
    deletions, reminders,
    work::{self, JobError, RunReport},
};
use crate::{
    config::{MailSecurity, MailTransport},
    notify::{self, Looked, MailSettings, Queued, Security, SendReport, Sender, Server, Transport},
    policy::Ladders,
    store::notify as rows,
    time::Timestamp,
};

/// How often a server looks for mail to be made and sent.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it looks at notices that wait for an address: CloudStack's users come with each sync.
const LOOK_AT_ALL_EVERY: Duration = Duration::from_mins(5);
/// The longest time that a server leaves a mail server alone which can not be used.
const LONGEST_REST: Duration = Duration::from_mins(5);

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MailSummary {
    /// Mails made.
    pub queued: Queued,
    /// Mails sent.
    pub sent: SendReport,
}

impl RunReport for MailSummary {}

/// How mail is sent, from the configuration.
pub fn settings(app: &App) -> MailSettings {
    settings_of(&app.config)
}

/// As above, where nothing is opened yet.
pub fn settings_of(config: &crate::config::Config) -> MailSettings {
    let mail = &config.mail;
    let transport = match &mail.transport {
        MailTransport::NotSetUp => Transport::NotSetUp,
        MailTransport::Off => Transport::Off,
        MailTransport::Folder(folder) => Transport::Folder(folder.clone()),
        MailTransport::Smtp(server) => Transport::Smtp(Server {
            host: server.host.clone(),
            port: server.port,
            security: match server.security {
                MailSecurity::Tls => Security::Tls,
                MailSecurity::StartTls => Security::StartTls,
                MailSecurity::None => Security::None,
            },
            credentials: server.credentials.clone(),
            ca_file: server.ca_file.clone(),
            timeout: server.timeout,
        }),
    };
    let pages = config.web.address().map(|address| format!("{address}/"));
    MailSettings {
        transport,
        from: mail.from.clone(),
        reply_to: mail.reply_to.clone(),
        admins: mail.admins.clone(),
        recipients: mail
            .recipients
            .iter()
            .map(|(account, address)| (account.domain_path.clone(), account.name.clone(), address.clone()))
            .collect(),
        digest: mail.digest.clone(),
        digest_zone: config.jobs.zone,
        zone: config.billing.zone,
        retry_first: mail.retry_first,
        retry_longest: mail.retry_longest,
        give_up: mail.give_up,
        key_user_prefix: config.access.user_prefix.clone(),
        pages,
        link_lasts: config.web.link,
        ladders: Ladders::new(config.policy.ladder.clone(), &config.policy.classes),
    }
}

/// Fills the outbox and sends what is due. A run is recorded where there was something to send.
pub async fn pass(app: &App, looked: Looked, cause: &str) -> Result<MailSummary, JobError> {
    pass_until(app, looked, cause, &CancellationToken::new()).await
}

async fn pass_until(app: &App, looked: Looked, cause: &str, stop: &CancellationToken) -> Result<MailSummary, JobError> {
    let settings = settings(app);
    if looked == Looked::AtAll {
        reminders::record(app).await?;
        deletions::look_after(app).await?;
    }
    let queued = notify::queue(&app.store, &settings, app.random.as_ref(), looked, app.clock.now()).await?;
    let mut tx = app.store.read().await?;
    let due = settings.sends() && rows::is_mail_due(&mut tx, app.clock.now()).await?;
    tx.commit().await?;
    if !due {
        if looked == Looked::AtAll {
            notify::tell_gauges(&app.store).await?;
        }
        return Ok(MailSummary { queued, sent: SendReport::default() });
    }
    work::recorded(app, "notify", cause, async |_| {
        let sender = Sender {
            store: &app.store,
            settings: &settings,
            clock: app.clock.as_ref(),
            random: app.random.as_ref(),
            holder: &app.holder,
            stop: stop.clone(),
        };
        Ok(MailSummary { queued, sent: notify::send_due(&sender).await? })
    })
    .await
}

/// Makes and sends mail until told to stop.
pub async fn send_until(app: App, stop: CancellationToken) {
    let mut looked_at_all: Option<Timestamp> = None;
    let mut rest = LOOK_EVERY;
    loop {
        let now = app.clock.now();
        let all = looked_at_all.is_none_or(|at| at.plus(LOOK_AT_ALL_EVERY) <= now || at > now);
        let looked = if all { Looked::AtAll } else { Looked::AtNews };
        match pass_until(&app, looked, "schedule", &stop).await {
            Ok(summary) => {
                // A server that can not be used is left alone for longer each time; one that takes so many mails a connection and
                // then hangs up is not.
                let unusable = summary.sent.stopped.is_some() && summary.sent.sent == 0;
                rest = if unusable { (rest * 2).min(LONGEST_REST) } else { LOOK_EVERY };
                if all {
                    looked_at_all = Some(now);
                }
            }
            Err(JobError::Running { .. }) => {}
            Err(error) => tracing::error!(%error, "mail could not be looked after; it is tried again"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}
