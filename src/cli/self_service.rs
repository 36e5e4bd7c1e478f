//! CloudStack's own key self-service: closed and opened for an account, or for those of a domain.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::{Context, args::SelfServiceCommand, author, output};
use crate::{
    access::{
        AccessSettings,
        self_service::{self, Door, Preview, PreviewLine},
        self_service_domain::{self as domains, Chosen, DomainDone, DomainPreview, LeftOut},
    },
    cloudstack::Client,
    jobs::{App, Role, keys},
    store::{cloud, keys as rows},
};

/// The domain that is the whole cloud.
const WHOLE_CLOUD: &str = "ROOT";

/// `bursar key self-service …`
pub(super) async fn run(context: &Context, app: &App, command: SelfServiceCommand) -> anyhow::Result<()> {
    let named = |account: Option<String>| account.context("name an account, or a domain with --domain");
    match command {
        SelfServiceCommand::Close { domain: Some(domain), keep, yes, .. } => {
            close_domain(context, app, (&domain, &keep), yes).await
        }
        SelfServiceCommand::Close { account, keep, yes, .. } => {
            close(context, app, (&named(account)?, &keep), yes).await
        }
        SelfServiceCommand::Open { domain: Some(domain), yes, .. } => open_domain(context, app, &domain, yes).await,
        SelfServiceCommand::Open { account, yes, .. } => open(context, app, &named(account)?, yes).await,
        SelfServiceCommand::List => list(context, app).await,
    }
}

fn tools(app: &App) -> anyhow::Result<(Client, AccessSettings)> {
    Ok((app.client(Role::Keys)?, keys::settings(app)))
}

fn door<'a>(app: &'a App, (client, settings): &'a (Client, AccessSettings)) -> Door<'a> {
    Door { store: &app.store, client, settings, clock: app.clock.as_ref() }
}

fn key_of(app: &App, line: &PreviewLine) -> String {
    let zone = app.config.billing.zone;
    match (line.has_key, line.key_since, line.user_since) {
        (false, ..) => "no".to_owned(),
        (true, Some(since), _) => format!("since {}", since.display_in(zone)),
        // CloudStack does not tell a pair's age; its user's is the most that it can be.
        (true, None, Some(made)) => format!("yes, not before {}", made.display_in(zone)),
        (true, None, None) => "yes".to_owned(),
    }
}

fn fate(line: &PreviewLine) -> String {
    match &line.kept {
        Some(why) => format!("kept ({why})"),
        None if line.dies() => "ITS KEY STOPS WORKING".to_owned(),
        None => "closed; has no working key".to_owned(),
    }
}

fn dying_text(dying: usize, verb: &str, place: &str) -> String {
    format!(
        "{dying} working keys {verb} in {place}. Think of the Kubernetes service, autoscaling and Terraform: they use keys too."
    )
}

fn preview_text(app: &App, preview: &Preview, verb: &str) -> String {
    let rows = preview
        .users
        .iter()
        .map(|line| [line.username.clone(), key_of(app, line), line.access.to_owned(), fate(line)])
        .collect();
    format!(
        "{}\n{}",
        output::table(["user", "has a key", "access now", "what becomes of it"], rows),
        dying_text(preview.dying().count(), verb, &preview.account)
    )
}

async fn close(context: &Context, app: &App, (account, keep): (&str, &[String]), yes: bool) -> anyhow::Result<()> {
    let account = cloud::resolve_account(&mut app.store.read().await?, account).await?;
    let tools = tools(app)?;
    let door = door(app, &tools);
    let preview = self_service::preview(&door, &account, keep).await?;
    if !yes {
        return context.show(&json!({ "preview": preview, "done": false }), |_| {
            format!(
                "{}\nNothing was changed. --yes closes; --keep USER lets a user's keys live on.",
                preview_text(app, &preview, "would stop working")
            )
        });
    }
    let done = self_service::close(&door, &account, keep, &author()).await?;
    context.show(&json!({ "preview": preview, "done": true, "set": done.set }), |_| {
        format!(
            "{}\nSelf-service is closed there, for users that come later too, and the people of the account are told. `bursar key \
             self-service open {} --yes` gives everything back.",
            preview_text(app, &preview, "stopped working"),
            account.full_name()
        )
    })
}

async fn open(context: &Context, app: &App, account: &str, yes: bool) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let account = cloud::resolve_account(&mut tx, account).await?;
    let Some(closing) = rows::find_closing(&mut tx, account.id).await? else {
        bail!(
            "self-service of {} is not closed by bursar; `bursar key self-service list` shows where it is",
            account.full_name()
        );
    };
    let users = rows::list_closing_users(&mut tx, closing.id).await?;
    tx.commit().await?;
    if !yes {
        return context.show(&json!({ "users": users, "done": false }), |_| {
            let lines = users
                .iter()
                .map(|user| [user.username.clone(), user.set_access.clone(), user.before_access.clone()])
                .collect();
            format!(
                "{}\nNothing was changed. --yes gives back what stood there before, where nobody has changed it meanwhile.",
                output::table(["user", "bursar set it to", "goes back to"], lines)
            )
        });
    }
    let tools = tools(app)?;
    let done = self_service::open(&door(app, &tools), &account, &author()).await?;
    context.show(&json!({ "done": true, "set": done.set, "left": done.left }), |_| {
        format!(
            "Self-service of {} is open again: {} users set back.{}",
            account.full_name(),
            done.set,
            left_alone(done.left)
        )
    })
}

fn left_alone(users: usize) -> String {
    match users {
        0 => String::new(),
        left => format!(" {left} were changed by somebody else meanwhile and were left alone."),
    }
}

/// The lists of accounts that nothing is done to, each with its reason.
fn others_text(text: &mut String, title: &str, others: &[LeftOut]) {
    if others.is_empty() {
        return;
    }
    let _ = write!(text, "\n{title}:");
    for one in others {
        let _ = write!(text, "\n    {}: {}", one.account, one.reason);
    }
}

async fn chosen(app: &App, domain: &str) -> anyhow::Result<Chosen> {
    let settings = keys::settings(app);
    Ok(domains::choose(&app.store, domain, &app.scope(), &settings.protected).await?)
}

fn domain_text(app: &App, preview: &DomainPreview, verb: &str) -> String {
    let rows = preview
        .accounts
        .iter()
        .flat_map(|account| account.users.iter().map(move |line| (account, line)))
        .map(|(account, line)| {
            [account.account.clone(), line.username.clone(), key_of(app, line), line.access.to_owned(), fate(line)]
        })
        .collect();
    let dying = preview.accounts.iter().map(|account| account.dying().count()).sum();
    let place = format!("{} accounts of {} and the domains below it", preview.accounts.len(), preview.domain);
    let mut text = format!(
        "{}\n{}",
        output::table(["account", "user", "has a key", "access now", "what becomes of it"], rows),
        dying_text(dying, verb, &place)
    );
    others_text(&mut text, "Left out", &preview.left_out);
    others_text(&mut text, "Could not be looked at", &preview.failed);
    if preview.domain == WHOLE_CLOUD {
        text.push_str(
            "\nROOT is the whole cloud. Administrators' and bursar's own accounts are left out, and CloudStack's setting \
             api.key.access is not touched.",
        );
    }
    text
}

async fn close_domain(
    context: &Context,
    app: &App,
    (domain, keep): (&str, &[String]),
    yes: bool,
) -> anyhow::Result<()> {
    let chosen = chosen(app, domain).await?;
    let tools = tools(app)?;
    let door = door(app, &tools);
    let preview = domains::preview(&door, &chosen, keep).await?;
    if !yes {
        return context.show(&json!({ "preview": preview, "done": false }), |_| {
            format!(
                "{}\nNothing was changed. --yes closes account by account; --keep USER or --keep ACCOUNT/USER lets a user's keys live on.",
                domain_text(app, &preview, "would stop working")
            )
        });
    }
    let done = domains::close(&door, &chosen, keep, &author()).await;
    context.show(&json!({ "preview": preview, "done": done.failed.is_empty(), "accounts": done }), |_| {
        let mut text = domain_text(app, &preview, "were to stop working");
        let _ = write!(
            text,
            "\nSelf-service is closed in {} accounts ({} users set), for users that come later too, and their people are told. `bursar key \
             self-service open --domain {} --yes` gives everything back.",
            done.done.len(),
            done.set,
            chosen.domain
        );
        others_text(&mut text, "Not finished", &done.failed);
        text
    })?;
    finished(&done)
}

async fn open_domain(context: &Context, app: &App, domain: &str, yes: bool) -> anyhow::Result<()> {
    let chosen = chosen(app, domain).await?;
    let closed = domains::closed_of(&app.store, &chosen).await?;
    if closed.is_empty() {
        bail!(
            "self-service of no account of {} is closed by bursar; `bursar key self-service list` shows where it is",
            chosen.domain
        );
    }
    if !yes {
        let values: Vec<_> =
            closed.iter().map(|(account, users)| json!({ "account": account.full_name(), "users": users })).collect();
        return context.show(&json!({ "accounts": values, "left_out": chosen.left_out, "done": false }), |_| {
            let lines = closed
                .iter()
                .flat_map(|(account, users)| users.iter().map(move |user| (account, user)))
                .map(|(account, user)| {
                    [
                        account.full_name(),
                        user.username.clone(),
                        user.set_access.clone(),
                        user.before_access.clone(),
                    ]
                })
                .collect();
            let mut text = output::table(["account", "user", "bursar set it to", "goes back to"], lines);
            others_text(&mut text, "Left out", &chosen.left_out);
            text.push_str(
                "\nNothing was changed. --yes gives back what stood there before, where nobody has changed it meanwhile.",
            );
            text
        });
    }
    let tools = tools(app)?;
    let done = domains::open(&door(app, &tools), &chosen, &author()).await?;
    context.show(&json!({ "done": done.failed.is_empty(), "accounts": done }), |_| {
        let mut text = format!(
            "Self-service is open again in {} accounts of {}: {} users set back.{}",
            done.done.len(),
            chosen.domain,
            done.set,
            left_alone(done.left)
        );
        others_text(&mut text, "Not finished", &done.failed);
        text
    })?;
    finished(&done)
}

/// An error where an account is left over, so that a script sees it.
fn finished(done: &DomainDone) -> anyhow::Result<()> {
    if done.failed.is_empty() {
        return Ok(());
    }
    let stopped = if done.stopped { "; CloudStack did not answer, so the accounts behind were not tried" } else { "" };
    bail!(
        "{} accounts are not finished{stopped}. What was begun is gone on with by itself; the same command again does the rest",
        done.failed.len()
    )
}

async fn list(context: &Context, app: &App) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let closings = rows::list_closings(&mut tx).await?;
    let mut lines = Vec::new();
    let mut values = Vec::new();
    for closing in closings {
        let account = cloud::get_account(&mut tx, closing.account_id).await?;
        let since = closing.closed_ms.display_in(app.config.billing.zone);
        values.push(json!({ "account": account.full_name(), "state": closing.state, "by": closing.closed_by, "since": closing.closed_ms }));
        lines.push([account.full_name(), closing.state, since, closing.closed_by]);
    }
    context.show(&values, |_| output::table(["account", "state", "since", "by"], lines))
}
