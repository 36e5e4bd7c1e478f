//! Holds that people place and lift, and proposals to delete an account.

use std::process::ExitCode;

use anyhow::bail;

use super::{
    Context,
    args::{DeletionCommand, HoldCommand},
    author, output,
};
use crate::{
    enforcement::{adopt, deletions},
    jobs::App,
    store::{
        Tx,
        cloud::{self, Account},
        enforcement, operations,
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// Proposals shown.
const PROPOSALS_SHOWN: i64 = 500;

/// `bursar hold …`
pub async fn hold(context: &Context, command: HoldCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        HoldCommand::List { account } => list(context, &app, account.as_deref()).await,
        HoldCommand::Place { account, owner, reason } => place(context, &app, &account, (&owner, &reason)).await,
        HoldCommand::Lift { account, owner, reason } => lift(context, &app, &account, (&owner, &reason)).await,
        HoldCommand::Adopt { account, owner } => adopt_hold(context, &app, &account, &owner).await,
    }
}

async fn list(context: &Context, app: &App, word: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut tx = app.store.read().await?;
    let account = match word {
        Some(word) => Some(cloud::resolve_account(&mut tx, word).await?.id),
        None => None,
    };
    let holds = enforcement::list_holds(&mut tx, account).await?;
    let mut rows = Vec::new();
    for hold in &holds {
        let account = cloud::get_account(&mut tx, hold.account_id).await?;
        let since = Timestamp::from_ms(hold.placed_ms).display_in(app.config.billing.zone);
        rows.push([
            account.full_name(),
            hold.owner.clone(),
            hold.rung.clone(),
            hold.reason.clone(),
            hold.placed_by.clone(),
            since,
        ]);
    }
    context.show(&holds, |_| output::table(["account", "held by", "step", "why", "placed by", "since"], rows))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes what a person did to a hold into the audit trail.
async fn audit(
    app: &App,
    tx: &mut Tx,
    action: &str,
    account: &Account,
    (before, after): (Option<String>, Option<String>),
    why: &str,
) -> anyhow::Result<()> {
    let line = AuditLine {
        at_ms: app.clock.now().as_ms(),
        actor: author(),
        action: action.to_owned(),
        subject: account.full_name(),
        before_state: before,
        after_state: after,
        answer: Some(why.to_owned()),
        ..AuditLine::default()
    };
    Ok(runs::write_audit(tx, &line).await?)
}

async fn place(context: &Context, app: &App, word: &str, (owner, reason): (&str, &str)) -> anyhow::Result<ExitCode> {
    let mut tx = app.store.begin().await?;
    let found = cloud::resolve_account(&mut tx, word).await?;
    let now = app.clock.now();
    if !enforcement::place_hold(&mut tx, found.id, owner, "lock", reason, None, &author(), now).await? {
        bail!("{} is held by {owner} already; `bursar hold list {word}` says why", found.full_name());
    }
    audit(app, &mut tx, "hold.place", &found, (None, Some(owner.to_owned())), reason).await?;
    tx.commit().await?;
    context.show(&serde_json::json!({ "account": found.full_name(), "held_by": owner }), |_| {
        let lock = if found.state == "enabled" {
            " It is still enabled: to keep its people out, lock it in CloudStack."
        } else {
            ""
        };
        format!("{} is held by {owner}: bursar does not open it, whatever is paid.{lock}", found.full_name())
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn lift(context: &Context, app: &App, word: &str, (owner, reason): (&str, &str)) -> anyhow::Result<ExitCode> {
    let mut tx = app.store.begin().await?;
    let found = cloud::resolve_account(&mut tx, word).await?;
    if !enforcement::lift_hold(&mut tx, found.id, owner, &author(), app.clock.now()).await? {
        bail!("{} is not held by {owner}; `bursar hold list {word}` shows what there is", found.full_name());
    }
    audit(app, &mut tx, "hold.lift", &found, (Some(owner.to_owned()), None), reason).await?;
    let left: Vec<String> =
        enforcement::list_holds(&mut tx, Some(found.id)).await?.into_iter().map(|hold| hold.owner).collect();
    super::payments::wake(app, &mut tx).await?;
    tx.commit().await?;
    context.show(&serde_json::json!({ "account": found.full_name(), "held_by": left }), |_| match left.as_slice() {
        [] if found.state == "enabled" => format!("{} is not held any more.", found.full_name()),
        [] => format!(
            "{} is not held any more, and is {} in CloudStack. bursar opens only what it locked: enable it there.",
            found.full_name(),
            found.state
        ),
        [only] if only == "billing" => {
            format!(
                "{} is held by billing only: it opens as soon as enough is available. A lock made by hand in CloudStack ends only there.",
                found.full_name()
            )
        }
        more => format!("{} is still held by {}.", found.full_name(), more.join(", ")),
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn adopt_hold(context: &Context, app: &App, word: &str, owner: &str) -> anyhow::Result<ExitCode> {
    let mut tx = app.store.begin().await?;
    let found = cloud::resolve_account(&mut tx, word).await?;
    adopt::adopt(&mut tx, &found, owner, &author(), app.clock.now()).await?;
    super::payments::wake(app, &mut tx).await?;
    tx.commit().await?;
    let value = serde_json::json!({ "account": found.full_name(), "held_by": owner });
    context.show(&value, |_| match owner {
        "billing" => format!(
            "{} is held by billing now: bursar opens it as soon as enough is available. Machines that were stopped before stay stopped.",
            found.full_name()
        ),
        _ => format!("{} is now held by {owner}: bursar never opens it.", found.full_name()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `bursar deletion …`
pub async fn deletion(context: &Context, command: DeletionCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        DeletionCommand::List { all } => {
            let mut tx = app.store.read().await?;
            let proposals = operations::list_deletions(&mut tx, all, PROPOSALS_SHOWN).await?;
            let mut rows = Vec::new();
            for proposal in &proposals {
                rows.push([
                    proposal.id.to_string(),
                    cloud::get_account(&mut tx, proposal.account_id).await?.full_name(),
                    Timestamp::from_ms(proposal.proposed_ms).display_in(app.config.billing.zone),
                    proposal.state.clone(),
                    proposal.decided_by.clone().unwrap_or_default(),
                    proposal.words.clone().unwrap_or_else(|| proposal.sentence.clone()),
                ]);
            }
            context.show(&proposals, |_| {
                output::table(["proposal", "account", "proposed", "state", "decided by", "why"], rows)
            })?;
        }
        DeletionCommand::Confirm { id, reason } => decide(context, &app, id, true, &reason).await?,
        DeletionCommand::Refuse { id, reason } => decide(context, &app, id, false, &reason).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn decide(context: &Context, app: &App, id: i64, confirm: bool, reason: &str) -> anyhow::Result<()> {
    let mut tx = app.store.begin().await?;
    let row = deletions::decide(&mut tx, id, confirm, (&author(), reason), app.clock.now()).await?;
    let name = cloud::get_account(&mut tx, row.account_id).await?.full_name();
    tx.commit().await?;
    context.show(&row, |_| {
        if confirm {
            deletions::next_steps(&name)
        } else {
            format!("{name} stays. It is not proposed again for this time over its credit.")
        }
    })
}
