//! Mail at the command line: a pass, a test, the outbox.

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::{Context, args::MailCommand, author, output};
use crate::{
    email::EmailAddress,
    ids::MailId,
    jobs::{
        App,
        mail::{self, MailSummary},
        work::JobError,
    },
    notify::{self, Looked, MailSettings, Transport},
    store::{
        notify as rows,
        runs::{self, AuditLine},
    },
};

/// Mails and accounts listed at most.
const MAX_LISTED: i64 = 500;

/// `bursar mail …`
pub async fn mail(context: &Context, command: MailCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        MailCommand::Send => send(context, &app).await,
        MailCommand::Test { address } => test(context, &app, address.as_deref()).await,
        MailCommand::List { dead, open } => {
            let state = if dead {
                Some("dead")
            } else if open {
                Some("open")
            } else {
                None
            };
            list(context, &app, state).await
        }
        MailCommand::Retry { id, dead: _ } => retry(context, &app, id.map(MailId::new)).await,
    }
}

/// Refuses where no mail leaves, with what to do.
fn sends(settings: &MailSettings) -> anyhow::Result<()> {
    match settings.transport {
        Transport::NotSetUp => bail!("mail is not set up: fill in [mail] in the configuration (docs/mail.md says how)"),
        Transport::Off => bail!("mail is switched off ([mail] transport = \"off\"); set it to \"smtp\" to send any"),
        Transport::Smtp(_) | Transport::Folder(_) => Ok(()),
    }
}

async fn send(context: &Context, app: &App) -> anyhow::Result<ExitCode> {
    sends(&mail::settings(app))?;
    let summary = match mail::pass(app, Looked::AtAll, "command").await {
        Err(JobError::Running { since, .. }) => bail!(
            "mail is being sent since {since} by another process, the running server most likely; `bursar mail list` shows how far it is"
        ),
        done => done?,
    };
    context.show(&summary, send_text)?;
    Ok(if summary.sent.stopped.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn send_text(summary: &MailSummary) -> String {
    let (queued, sent) = (&summary.queued, &summary.sent);
    let mut text =
        format!("{} mails made; {} sent, {} put off, {} given up.", queued.mails, sent.sent, sent.deferred, sent.dead);
    if queued.without_address > 0 {
        text.push_str(&format!(
            "\n{} notices found nobody to be written to; `bursar mail list` names the accounts.",
            queued.without_address
        ));
    }
    if queued.dropped > 0 {
        text.push_str(&format!("\n{} mails dropped: what they tell of is no longer so.", queued.dropped));
    }
    if let Some(why) = &sent.stopped {
        text.push_str(&format!("\nStopped: {why}"));
    }
    text
}

async fn test(context: &Context, app: &App, address: Option<&str>) -> anyhow::Result<ExitCode> {
    let settings = mail::settings(app);
    sends(&settings)?;
    let addresses = match address {
        Some(text) => vec![EmailAddress::parse(text).with_context(|| format!("\"{text}\" is no address"))?],
        None => settings.admins.clone(),
    };
    let now = app.clock.now();
    let answers = notify::send_test(&settings, &addresses, app.random.as_ref(), now).await?;
    let passed = answers.iter().all(|answer| answer.accepted);
    if passed {
        let mut tx = app.store.begin().await?;
        notify::note_tested(&mut tx, &settings, now).await?;
        let line = AuditLine {
            at_ms: now.as_ms(),
            actor: author(),
            action: notify::TESTED.to_owned(),
            subject: "mail".to_owned(),
            after_state: Some("passed".to_owned()),
            ..AuditLine::default()
        };
        runs::write_audit(&mut tx, &line).await?;
        tx.commit().await?;
        // From now on mail leaves: notices are mailed from here on, also before the server's next look.
        notify::queue(&app.store, &settings, app.random.as_ref(), Looked::AtAll, now).await?;
    }
    context.show(&serde_json::json!({ "passed": passed, "answers": answers }), |_| {
        let mut text = String::new();
        for answer in &answers {
            let verdict = if answer.accepted { "taken" } else { "not taken" };
            text.push_str(&format!("{}: {verdict}. The server said: {}\n", answer.address, answer.answer));
        }
        text.push_str(if passed {
            "The test passed. Look whether the mail arrived, and not among unwanted mail."
        } else {
            "The test did not pass; enforcement can not be armed with these settings."
        });
        text
    })?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn list(context: &Context, app: &App, state: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut tx = app.store.read().await?;
    let mails = rows::list_mails(&mut tx, state, MAX_LISTED).await?;
    let missing = if state.is_none() { rows::list_without_address(&mut tx, MAX_LISTED).await? } else { Vec::new() };
    let zone = app.config.billing.zone;
    context.show(&serde_json::json!({ "mails": mails, "without_address": missing }), |_| {
        let lines = mails
            .iter()
            .map(|mail| {
                let when = match mail.state.as_str() {
                    "open" => format!("next try {}", mail.next_ms.display_in(zone)),
                    _ => mail.ended_ms.map(|at| at.display_in(zone)).unwrap_or_default(),
                };
                [
                    mail.id.to_string(),
                    mail.recipient.clone(),
                    mail.subject.clone(),
                    mail.state.clone(),
                    when,
                    mail.attempts.to_string(),
                    mail.last_error.clone().unwrap_or_default(),
                ]
            })
            .collect();
        let mut text =
            output::table(["mail", "to", "subject", "state", "when", "tries", "what the server said"], lines);
        if mails.iter().any(|mail| mail.state == "dead") {
            text.push_str("\n`bursar mail retry MAIL` tries a dead one again, once its cause is mended.");
        }
        if !missing.is_empty() {
            let lines = missing
                .iter()
                .map(|row| {
                    [
                        format!("{}/{}", row.domain_path, row.name),
                        notify::kind_title(notify::kind_of(&row.event)).to_owned(),
                        row.no_address_ms.display_in(zone),
                    ]
                })
                .collect();
            text.push_str("\n\nNobody can be written to:\n");
            text.push_str(&output::table(["account", "newest notice", "since"], lines));
            text.push_str(
                "\nEnter an address at a user of the account in CloudStack, or add one to [mail] recipients.",
            );
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn retry(context: &Context, app: &App, id: Option<MailId>) -> anyhow::Result<ExitCode> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    // All of them: not what has become old. Whoever names one means it.
    let give_up = mail::settings(app).give_up;
    let dropped =
        if id.is_none() { rows::drop_old_dead(&mut tx, now.minus(give_up), notify::TOO_OLD, now).await? } else { 0 };
    let mut again = rows::reopen_mails(&mut tx, id, now).await?;
    if again == 0
        && let Some(id) = id
        && rows::hurry_mail(&mut tx, id, now).await?
    {
        again = 1;
    }
    tx.commit().await?;
    if let (0, Some(id)) = (again, id) {
        bail!("there is no mail {id} that is open or dead; `bursar mail list` shows them");
    }
    context.show(&serde_json::json!({ "again": again, "dropped": dropped }), |_| {
        let old = match dropped {
            0 => String::new(),
            count => {
                format!(
                    " Dropped since they had been given up for more than {} hours: {count}.",
                    give_up.as_secs() / 3_600
                )
            }
        };
        format!("{again} to be tried again: by the running server within seconds, or by `bursar mail send`.{old}")
    })?;
    Ok(ExitCode::SUCCESS)
}
