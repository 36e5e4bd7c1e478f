//! `bursar user …`: people, and the accounts that they are mapped to.

use std::{collections::HashMap, process::ExitCode};

use anyhow::{Context as _, bail};

use super::{
    Context,
    args::{EmailRuleCommand, LinkCommand, MoreTimeCommand, UserCommand, UserMapArgs},
    author, output,
};
use crate::{
    email::EmailAddress,
    ids::AccountId,
    jobs::{App, people::answer_more_time},
    people::{
        csv::{self, issuer_of},
        links, mapping,
    },
    store::{
        Tx,
        cloud::{self, Account, CloudUser},
        links as link_rows,
        mapping::{self as rows, NewBinding},
    },
    time::Timestamp,
};

/// Lines shown of a list.
const SHOWN: i64 = 1_000;

/// `bursar user …`
pub async fn user(context: &Context, command: UserCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        UserCommand::List => list(context, &app).await?,
        UserCommand::Map(args) => map(context, &app, args).await?,
        UserCommand::Unmap { issuer, subject, account } => unmap(context, &app, &issuer, &subject, &account).await?,
        UserCommand::Rules { command } => rules(context, &app, command.unwrap_or(EmailRuleCommand::List)).await?,
        UserCommand::Queue => queue(context, &app).await?,
        UserCommand::Refuse { id } => {
            let mut tx = app.store.begin().await?;
            mapping::refuse(&mut tx, id, &author(), app.clock.now()).await?;
            tx.commit().await?;
            context.show(&serde_json::json!({ "id": id, "state": "refused" }), |_| format!("{id} is refused."))?;
        }
        UserCommand::Confirm { account, email, user } => {
            confirm(context, &app, &account, &email, user.as_deref()).await?;
        }
        UserCommand::Confirmed { account } => confirmed(context, &app, account.as_deref()).await?,
        UserCommand::Unconfirm { id } => {
            let mut tx = app.store.begin().await?;
            if !mapping::unconfirm(&mut tx, id, &author(), app.clock.now()).await? {
                bail!("no confirmed address has number {id}; `bursar user confirmed` shows them");
            }
            tx.commit().await?;
            context.show(&serde_json::json!({ "id": id }), |_| format!("Address {id} counts no more."))?;
        }
        UserCommand::Orphans { remove } => orphans(context, &app, remove).await?,
        UserCommand::Links { command } => {
            links(context, &app, command.unwrap_or(LinkCommand::List { account: None })).await?;
        }
        UserCommand::MoreTime { command } => {
            more_time(context, &app, command.unwrap_or(MoreTimeCommand::List)).await?;
        }
        UserCommand::Import { file, dry_run } => {
            let text = std::fs::read_to_string(&file).with_context(|| format!("{} can not be read", file.display()))?;
            let mut tx = app.store.begin().await?;
            let taken = csv::import(&mut tx, &text, &issuers(&app), &author(), app.clock.now()).await?;
            if !dry_run {
                tx.commit().await?;
            }
            context.show(&taken, |taken| {
                let note = if dry_run { "\nDry run: nothing was changed." } else { "" };
                let lines = taken.changed.join("\n");
                format!("{lines}\n{} changed, {} as before.{note}", taken.changed.len(), taken.same).trim().to_owned()
            })?;
        }
        UserCommand::Export => {
            let mut tx = app.store.read().await?;
            output::text(&csv::export(&mut tx, &issuers(&app)).await?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The issuers of the configuration: name and address.
fn issuers(app: &App) -> Vec<(String, String)> {
    app.config.oidc.iter().map(|issuer| (issuer.name.clone(), issuer.issuer.clone())).collect()
}

fn issuer(app: &App, word: &str) -> anyhow::Result<String> {
    let known = issuers(app);
    issuer_of(word, &known).with_context(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).chain([mapping::CLOUDSTACK]).collect();
        format!("there is no issuer \"{word}\"; there are {}", names.join(", "))
    })
}

async fn names(tx: &mut Tx) -> anyhow::Result<HashMap<AccountId, String>> {
    let accounts = cloud::list_accounts(tx).await?;
    Ok(accounts.iter().map(|account| (account.id, account.full_name())).collect())
}

fn name(names: &HashMap<AccountId, String>, id: AccountId) -> String {
    names.get(&id).cloned().unwrap_or_default()
}

async fn list(context: &Context, app: &App) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let users = cloud::list_users(&mut tx, None).await?;
    let mapped = rows::list_bindings(&mut tx, None).await?;
    let names = names(&mut tx).await?;
    let value = serde_json::json!({ "users": users, "mapped": mapped });
    context.show(&value, |_| {
        let rows = users
            .iter()
            .map(|user| {
                // A CloudStack user owns the account it stands in, unless somebody mapped it otherwise.
                let own = mapped.iter().find(|row| {
                    row.issuer == mapping::CLOUDSTACK
                        && row.subject == user.cloud_id
                        && row.account_id == user.account_id
                });
                [
                    user.username.clone(),
                    user.cloud_id.clone(),
                    name(&names, user.account_id),
                    user.state.clone(),
                    if user.email.is_some() { "yes" } else { "no" }.to_owned(),
                    own.map_or("owner (by CloudStack)", |row| row.role.as_str()).to_owned(),
                ]
            })
            .collect();
        let mut text = output::table(["user", "CloudStack id", "account", "state", "mail", "role"], rows);
        for row in &mapped {
            let who =
                row.name.as_deref().filter(|name| !name.is_empty()).map_or(String::new(), |name| format!(" ({name})"));
            let account = name(&names, row.account_id);
            text.push_str(&format!(
                "\n{}{who} at {}: {} of {account}, by {}",
                row.subject, row.issuer, row.role, row.mapped_by
            ));
        }
        text
    })
}

/// A user of CloudStack by its id, or by its name within an account.
async fn cloud_user(tx: &mut Tx, account: &Account, word: &str) -> anyhow::Result<CloudUser> {
    let users = cloud::list_users(tx, Some(account.id)).await?;
    users
        .into_iter()
        .find(|user| user.cloud_id == word || user.username == word)
        .with_context(|| format!("{} has no user \"{word}\"; `bursar user list` shows them", account.full_name()))
}

async fn map(context: &Context, app: &App, args: UserMapArgs) -> anyhow::Result<()> {
    let mut tx = app.store.begin().await?;
    let account = cloud::resolve_account(&mut tx, &args.account).await?;
    let (issuer, subject) = match args.subject.strip_prefix('#').and_then(|number| number.parse().ok()) {
        Some(number) => {
            let person = rows::get_unmatched(&mut tx, number).await?;
            (person.issuer, person.subject)
        }
        None => (issuer(app, &args.issuer)?, args.subject.clone()),
    };
    let user = match &args.user {
        Some(word) => Some(cloud_user(&mut tx, &account, word).await?.cloud_id),
        None if issuer == mapping::CLOUDSTACK => Some(subject.clone()),
        None => None,
    };
    let who = author();
    let binding = NewBinding {
        issuer: &issuer,
        subject: &subject,
        cloud_user_id: user.as_deref(),
        account: account.id,
        role: &args.role,
        by: &who,
        rule_id: None,
        address_id: None,
    };
    mapping::map(&mut tx, &binding, app.clock.now()).await?;
    tx.commit().await?;
    let value = serde_json::json!({ "account": account.full_name(), "role": args.role });
    context.show(&value, |_| format!("Mapped to {} as {}.", account.full_name(), args.role))
}

async fn unmap(context: &Context, app: &App, word: &str, subject: &str, account: &str) -> anyhow::Result<()> {
    let issuer = issuer(app, word)?;
    let mut tx = app.store.begin().await?;
    // The mapping of an account that is gone must be found too, whatever stands under its name now.
    let mapped = rows::list_bindings_of(&mut tx, &issuer, subject).await?;
    let mut found = None;
    for binding in mapped {
        let candidate = cloud::get_account(&mut tx, binding.account_id).await?;
        if candidate.full_name() == account || candidate.name == account || candidate.cloud_id == account {
            found = Some(candidate);
            break;
        }
    }
    let found = found.with_context(|| format!("{subject} at {issuer} is not mapped to {account}"))?;
    mapping::unmap(&mut tx, (&issuer, subject), &found, &author(), app.clock.now()).await?;
    tx.commit().await?;
    let value = serde_json::json!({ "account": found.full_name() });
    context.show(&value, |_| format!("{subject} is no longer mapped to {}.", found.full_name()))
}

async fn rules(context: &Context, app: &App, command: EmailRuleCommand) -> anyhow::Result<()> {
    match command {
        EmailRuleCommand::List => {
            let mut tx = app.store.read().await?;
            let rules = rows::list_email_rules(&mut tx).await?;
            let names = names(&mut tx).await?;
            context.show(&rules, |rules| {
                let lines = rules
                    .iter()
                    .map(|rule| {
                        [
                            rule.id.to_string(),
                            rule.email.clone(),
                            rule.issuer.clone(),
                            name(&names, rule.account_id),
                            rule.role.clone(),
                            rule.bound_subject.clone().unwrap_or_default(),
                            rule.made_by.clone(),
                        ]
                    })
                    .collect();
                output::table(["id", "address", "issuer", "account", "role", "taken by", "made by"], lines)
            })
        }
        EmailRuleCommand::Add { issuer: word, email, account, role } => {
            let issuer = issuer(app, &word)?;
            let email = EmailAddress::parse(&email)?;
            let trusted = app.config.oidc.iter().any(|known| known.issuer == issuer && known.trusted);
            let mut tx = app.store.begin().await?;
            let account = cloud::resolve_account(&mut tx, &account).await?;
            let id = mapping::put_rule(&mut tx, &issuer, &email, &account, &role, &author(), app.clock.now()).await?;
            tx.commit().await?;
            let value = serde_json::json!({ "id": id, "account": account.full_name(), "role": role });
            context.show(&value, |_| {
                let note = if trusted {
                    ""
                } else {
                    " It takes effect only once the issuer is marked with trusted = true: its word about addresses does not count yet."
                };
                format!("Rule {id}: whoever comes first with {email} is {role} of {}.{note}", account.full_name())
            })
        }
        EmailRuleCommand::Drop { id } => {
            let mut tx = app.store.begin().await?;
            let account = mapping::drop_rule(&mut tx, id, &author(), app.clock.now()).await?;
            let account = account.with_context(|| format!("there is no rule {id}; `bursar user rules` shows them"))?;
            tx.commit().await?;
            context.show(&serde_json::json!({ "id": id }), |_| {
                format!("Rule {id} for {} is gone, with who was let in by it.", account.full_name())
            })
        }
    }
}

async fn queue(context: &Context, app: &App) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let people = rows::list_unmatched(&mut tx, "waiting", SHOWN).await?;
    context.show(&people, |people| {
        let zone = app.config.billing.zone;
        let lines = people
            .iter()
            .map(|person| {
                let verified = if person.email_verified == 1 { "" } else { " (not verified)" };
                let email = if person.email.is_empty() { String::new() } else { format!("{}{verified}", person.email) };
                [
                    format!("#{}", person.id),
                    person.name.clone(),
                    email,
                    person.issuer.clone(),
                    person.subject.clone(),
                    person.why.clone(),
                    Timestamp::from_ms(person.last_ms).display_in(zone),
                ]
            })
            .collect();
        output::table(["id", "name", "address", "issuer", "subject", "why", "last here"], lines)
    })
}

async fn confirm(context: &Context, app: &App, word: &str, email: &str, user: Option<&str>) -> anyhow::Result<()> {
    let email = EmailAddress::parse(email)?;
    let mut tx = app.store.begin().await?;
    let account = cloud::resolve_account(&mut tx, word).await?;
    let user = match user {
        Some(word) => Some(cloud_user(&mut tx, &account, word).await?),
        None => None,
    };
    let id = user.as_ref().map_or("", |user| user.cloud_id.as_str());
    let who = author();
    let new = mapping::confirm(&mut tx, &account, id, &email, ("admin", &who), app.clock.now()).await?;
    tx.commit().await?;
    let value = serde_json::json!({ "account": account.full_name(), "email": email.as_str(), "new": new });
    context.show(&value, |_| {
        let whose =
            user.map_or_else(|| account.full_name(), |user| format!("{} of {}", user.username, account.full_name()));
        if new { format!("{email} is {whose}'s.") } else { format!("That {email} is {whose}'s was known.") }
    })
}

async fn confirmed(context: &Context, app: &App, word: Option<&str>) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let account = match word {
        Some(word) => Some(cloud::resolve_account(&mut tx, word).await?.id),
        None => None,
    };
    let addresses = rows::list_confirmed(&mut tx, account).await?;
    let names = names(&mut tx).await?;
    let users = cloud::list_users(&mut tx, account).await?;
    context.show(&addresses, |addresses| {
        let lines = addresses
            .iter()
            .map(|address| {
                let user = users.iter().find(|user| user.cloud_id == address.cloud_user_id);
                [
                    address.id.to_string(),
                    address.email.clone(),
                    name(&names, address.account_id),
                    user.map_or_else(|| address.cloud_user_id.clone(), |user| user.username.clone()),
                    address.how.clone(),
                    address.confirmed_by.clone(),
                ]
            })
            .collect();
        output::table(["id", "address", "account", "user", "how", "by"], lines)
    })
}

async fn orphans(context: &Context, app: &App, remove: bool) -> anyhow::Result<()> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let orphans = rows::list_orphans(&mut tx).await?;
    let names = names(&mut tx).await?;
    if remove {
        for orphan in &orphans {
            let account = cloud::get_account(&mut tx, orphan.account_id).await?;
            mapping::unmap(&mut tx, (&orphan.issuer, &orphan.subject), &account, &author(), now).await?;
        }
        tx.commit().await?;
    }
    context.show(&orphans, |orphans| {
        let lines = orphans
            .iter()
            .map(|orphan| {
                [
                    orphan.subject.clone(),
                    orphan.issuer.clone(),
                    name(&names, orphan.account_id),
                    orphan.role.clone(),
                    orphan.why.clone(),
                ]
            })
            .collect();
        let note = if remove && !orphans.is_empty() { "\nTaken away." } else { "" };
        format!("{}{note}", output::table(["subject", "issuer", "account", "role", "why"], lines))
    })
}

async fn links(context: &Context, app: &App, command: LinkCommand) -> anyhow::Result<()> {
    let now = app.clock.now();
    match command {
        LinkCommand::List { account } => {
            let mut tx = app.store.read().await?;
            let account = match &account {
                Some(word) => Some(cloud::resolve_account(&mut tx, word).await?.id),
                None => None,
            };
            let links = link_rows::list_open_links(&mut tx, account, now, SHOWN).await?;
            let names = names(&mut tx).await?;
            context.show(&links, |links| {
                let zone = app.config.billing.zone;
                let lines = links
                    .iter()
                    .map(|link| {
                        [
                            link.id.to_string(),
                            name(&names, link.account_id),
                            link.purpose.clone(),
                            link.recipient.clone(),
                            link.made_ms.display_in(zone),
                            link.expires_ms.display_in(zone),
                            link.uses.to_string(),
                        ]
                    })
                    .collect();
                output::table(["id", "account", "for", "sent to", "made", "holds until", "used"], lines)
            })
        }
        LinkCommand::Revoke { account, id } => {
            let mut tx = app.store.begin().await?;
            let account = cloud::resolve_account(&mut tx, &account).await?;
            let count = links::revoke(&mut tx, &account, id, &author(), now).await?;
            if count == 0 {
                bail!("no such link of {} holds; `bursar user links` shows which do", account.full_name());
            }
            tx.commit().await?;
            let value = serde_json::json!({ "account": account.full_name(), "revoked": count });
            context.show(&value, |_| format!("{count} links of {} are taken back.", account.full_name()))
        }
    }
}

async fn more_time(context: &Context, app: &App, command: MoreTimeCommand) -> anyhow::Result<()> {
    let (id, until, message) = match command {
        MoreTimeCommand::List => {
            let mut tx = app.store.read().await?;
            let requests = link_rows::list_more_time(&mut tx, None, Some("open"), SHOWN).await?;
            let names = names(&mut tx).await?;
            return context.show(&requests, |requests| {
                let zone = app.config.billing.zone;
                let lines = requests
                    .iter()
                    .map(|request| {
                        let wished = request.wished_day.map(crate::time::Day::from_number);
                        [
                            request.id.to_string(),
                            name(&names, request.account_id),
                            request.asked_ms.display_in(zone),
                            wished.map_or_else(String::new, |day| day.to_string()),
                            request.reason.clone(),
                            request.asked_by.clone(),
                        ]
                    })
                    .collect();
                output::table(["id", "account", "asked", "wished until", "why", "by"], lines)
            });
        }
        MoreTimeCommand::Grant { id, until, message } => {
            (id, Some(super::policy::instant_or_day(app, &until)?), message)
        }
        MoreTimeCommand::Refuse { id, message } => (id, None, message),
    };
    let mut tx = app.store.begin().await?;
    let account = answer_more_time(app, &mut tx, id, until, &message, &author()).await?;
    super::payments::wake(app, &mut tx).await?;
    tx.commit().await?;
    let value = serde_json::json!({ "id": id, "account": account.full_name(), "until": until });
    context.show(&value, |_| match until {
        Some(until) => format!(
            "{} is left alone until {}; its people are told by mail. What was taken is given back once it is paid.",
            account.full_name(),
            until.display_in(app.config.billing.zone)
        ),
        None => format!("The request of {} is refused; its people are told by mail.", account.full_name()),
    })
}
