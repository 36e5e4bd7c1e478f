//! Whether warnings reach anybody: the mail server, the test mail, what waits in the outbox. Nothing is sent.

use super::{Area, CheckReport, Line, data};
use crate::{
    config::Config,
    jobs::{app, mail},
    notify::{self, MailSettings, NotReady, Transport},
    store::{Store, StoreError, notify as rows},
};

const AREA: Area = Area::Mail;
/// Accounts counted at most.
const MOST_ACCOUNTS: i64 = 10_000;

pub(super) async fn look(config: &Config, report: &mut CheckReport) {
    let settings = mail::settings_of(config);
    match &settings.transport {
        Transport::NotSetUp => {
            let line =
                Line::not_checked(AREA, "mail", "not set up: nobody is warned, and enforcement can not be armed");
            report.add(
                line.with_way_out("fill in [mail] (docs/mail.md), or set [mail] transport = \"off\" if it is meant so"),
            );
            return;
        }
        Transport::Off => {
            let line = Line::warning(AREA, "mail", "off on purpose: a warning counts from when it is recorded");
            report.add(line.with_way_out("pass on what `bursar notice` lists"));
            return;
        }
        Transport::Smtp(server) => {
            let shown = format!("{}:{}", server.host, server.port);
            report.add(match notify::look(&settings).await {
                Ok(()) => Line::good(AREA, "mail server", format!("{shown} answers, and lets bursar in")),
                Err(error) => Line::bad(AREA, "mail server", error.to_string())
                    .with_way_out("correct [mail]; `bursar mail test` says what the server answers"),
            });
        }
        Transport::Folder(folder) => {
            let text = format!("mails become files in {}: nobody gets them", folder.display());
            report.add(Line::warning(AREA, "mail", text).with_way_out("set [mail] transport = \"smtp\" for real mail"));
        }
    }
    if data::is_current(config).await
        && let Err(error) = outbox(config, &settings, report).await
    {
        report.add(Line::bad(AREA, "outbox", error.to_string()).with_way_out("see [store] in the configuration"));
    }
}

async fn outbox(config: &Config, settings: &MailSettings, report: &mut CheckReport) -> Result<(), StoreError> {
    let store = Store::open(&app::store_settings(config)).await?;
    let mut tx = store.read().await?;
    report.add(match notify::mail_ready(&mut tx, settings).await {
        Ok(()) => Line::good(AREA, "test mail", "passed with the present settings"),
        Err(NotReady::Store(error)) => return Err(error),
        Err(error) => Line::warning(AREA, "test mail", error.to_string()).with_way_out("`bursar mail test`"),
    });
    let counts = rows::count_mails(&mut tx).await?;
    let count = |state: &str| counts.iter().find(|(name, _)| name == state).map_or(0, |(_, count)| *count);
    let text = format!("{} sent, {} waiting", count("sent"), count("open"));
    report.add(if count("dead") == 0 {
        Line::good(AREA, "outbox", text)
    } else {
        Line::warning(AREA, "outbox", format!("{text}, {} could not be delivered", count("dead")))
            .with_way_out("`bursar mail list --dead` says why; `bursar mail retry` tries again")
    });
    let missing = rows::list_without_address(&mut tx, MOST_ACCOUNTS).await?.len();
    if missing > 0 {
        let text = format!("{missing} accounts have notices that nobody can be sent; no lock or stop follows");
        report.add(Line::warning(AREA, "addresses", text).with_way_out("`bursar mail list` names the accounts"));
    }
    drop(tx);
    store.close().await;
    Ok(())
}
