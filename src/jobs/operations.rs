//! What administrators do with enforcement: plans, undo, leaving, differences, and what a run would do.

use std::sync::Arc;

use super::{
    app::App,
    keys,
    work::{self, EnforceOptions, JobError, RunReport, enforcement_client},
};
use crate::{
    enforcement::{
        self, EnforceReport, EnforceSettings,
        differences::{self, Differences},
        held::HeldBack,
        marker,
        run::Enforcer,
        switches,
        undo::{self, UndoReport},
    },
    ids::RunId,
    store::{
        policy,
        runs::{self, AuditLine},
    },
};

impl RunReport for UndoReport {}

/// Decides, and stores what would be done downwards as a plan in somebody's name.
pub async fn make_plan(app: &App, author: &str, holds_data_lock: bool, cause: &str) -> Result<EnforceReport, JobError> {
    let options = EnforceOptions { dry_run: true, holds_data_lock };
    let settings = EnforceSettings { planned_by: Some(author.to_owned()), ..work::enforce_settings(app, options)? };
    work::as_enforcer(app, settings, cause, async |enforcer, run| crate::enforcement::enforce(enforcer, run).await)
        .await
}

/// Gives back what a run took.
pub async fn undo(
    app: &App,
    of: RunId,
    author: &str,
    holds_data_lock: bool,
    cause: &str,
) -> Result<UndoReport, JobError> {
    let options = EnforceOptions { dry_run: false, holds_data_lock };
    let settings = work::enforce_settings(app, options)?;
    work::as_enforcer(app, settings, cause, async |enforcer, run| undo::undo(enforcer, run, of, author).await).await
}

/// Pauses, disarms, and gives back everything.
pub async fn leave(app: &App, author: &str, holds_data_lock: bool, cause: &str) -> Result<UndoReport, JobError> {
    let options = EnforceOptions { dry_run: false, holds_data_lock };
    let settings = work::enforce_settings(app, options)?;
    let left =
        work::as_enforcer(app, settings, cause, async |enforcer, run| undo::leave(enforcer, run, author).await).await;
    let mut report = match left {
        Ok(report) => report,
        Err(why) if is_paused_and_disarmed(app).await? => {
            let done = "enforcement is paused and disarmed, and stays so";
            return Err(JobError::Unfinished { done, why: Box::new(why) });
        }
        Err(why) => return Err(why),
    };
    // Whoever took over opens them.
    let mut tx = app.store.begin().await?;
    if let Err(why) = work::keep_request(app, &mut tx, app.clock.now()).await {
        let done = "enforcement is paused and disarmed, and accounts were given back";
        return Err(JobError::Unfinished { done, why: Box::new(why) });
    }
    tx.commit().await?;
    for (account, opened) in keys::open_all(app, author).await? {
        match opened {
            Ok(()) => report.given_back.push(format!("{account}: key self-service")),
            Err(why) => report.left.push(format!("{account}: key self-service stays closed: {why}")),
        }
    }
    Ok(report)
}

async fn is_paused_and_disarmed(app: &App) -> Result<bool, JobError> {
    let mut tx = app.store.read().await?;
    let is_paused = runs::find_setting(&mut tx, switches::PAUSED).await?.as_deref() == Some("1");
    Ok(is_paused && policy::list_arming(&mut tx).await?.is_empty())
}

/// What holds back every step downwards now. Asks CloudStack; the first version of it that is met is noted, as a run would.
pub async fn find_guards(app: &App) -> Result<Vec<HeldBack>, JobError> {
    let settings = work::enforce_settings(app, EnforceOptions { dry_run: true, holds_data_lock: false })?;
    let client = enforcement_client(app)?;
    let blocks = enforcement::blocks(&looker(app, &settings, &client), false, app.clock.now()).await?;
    Ok(blocks.iter().map(HeldBack::by).collect())
}

/// How CloudStack and the database differ now.
pub async fn find_differences(app: &App) -> Result<Differences, JobError> {
    let settings = work::enforce_settings(app, EnforceOptions { dry_run: true, holds_data_lock: false })?;
    let client = enforcement_client(app)?;
    Ok(differences::find(&looker(app, &settings, &client)).await?)
}

/// An administrator has looked. Gives what was confirmed.
pub async fn confirm(app: &App, author: &str) -> Result<Vec<String>, JobError> {
    let settings = work::enforce_settings(app, EnforceOptions { dry_run: true, holds_data_lock: false })?;
    let client = enforcement_client(app)?;
    // A restored backup is noted by the next run; who confirms before it means that as well.
    marker::look(&app.store, &app.config.store.data_dir, app.clock.now()).await?;
    marker::renew(&app.store, app.random.as_ref(), app.clock.now()).await?;
    let confirmed = differences::confirm(&looker(app, &settings, &client), author).await?;
    marker::write(&app.store, &app.config.store.data_dir, app.random.as_ref(), app.clock.now()).await?;
    Ok(confirmed)
}

/// The present version of CloudStack has been looked at. None: it had been before.
pub async fn acknowledge_version(app: &App, author: &str) -> Result<Option<String>, JobError> {
    let version = enforcement_client(app)?.capabilities().await?.version;
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let text = differences::acknowledge_version(&mut tx, &version, now).await?;
    if let Some(text) = &text {
        let line = AuditLine {
            at_ms: now.as_ms(),
            actor: author.to_owned(),
            action: "enforce.confirm".to_owned(),
            subject: "enforcement".to_owned(),
            before_state: Some(text.clone()),
            after_state: Some("a check found everything in order".to_owned()),
            ..AuditLine::default()
        };
        runs::write_audit(&mut tx, &line).await?;
    }
    tx.commit().await?;
    Ok(text)
}

fn looker<'a>(app: &'a App, settings: &'a EnforceSettings, client: &'a crate::cloudstack::Client) -> Enforcer<'a> {
    Enforcer {
        store: &app.store,
        client: Some(client),
        clock: Arc::clone(&app.clock),
        random: Arc::clone(&app.random),
        holder: &app.holder,
        settings,
    }
}
