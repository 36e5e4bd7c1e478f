//! Requests for API access, and service tokens.

use std::process::ExitCode;

use anyhow::bail;

use super::{
    Context,
    args::{KeyCommand, TokenCommand},
    author, output,
};
use crate::{
    access::{self, NewRequest},
    ids::KeyRequestId,
    jobs::keys,
    secrets::token_hash,
    store::{
        StoreError, cloud, people,
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// `bursar key …`
pub async fn key(context: &Context, command: KeyCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let settings = keys::settings(&app);
    let now = app.clock.now();
    let who = author();
    match command {
        KeyCommand::Request { account, purpose, days } => {
            let mut tx = app.store.begin().await?;
            let found = cloud::resolve_account(&mut tx, &account).await?;
            let request =
                NewRequest { key: app.random.uuid().to_string(), account: found.id, requested_by: who, purpose, days };
            let id = access::file(&mut tx, &settings, request, now).await?;
            tx.commit().await?;
            context.show(&serde_json::json!({ "id": id }), |_| {
                format!("Request {id} is filed; `bursar key approve {id}` or `bursar key deny {id}` answers it.")
            })?;
        }
        KeyCommand::List => {
            let mut tx = app.store.begin().await?;
            let requests = people::list_key_requests(&mut tx, None, None, 500).await?;
            let mut rows = Vec::new();
            let mut values = Vec::new();
            for row in &requests {
                let account = cloud::get_account(&mut tx, row.account_id).await?;
                let until = row.expires_ms.map(Timestamp::from_ms);
                values.push(serde_json::json!({
                    "id": row.id, "account": account.full_name(), "state": row.state, "purpose": row.purpose, "days": row.days,
                    "user": row.username, "expires": until, "last_error": row.last_error, "message": row.message,
                }));
                rows.push([
                    row.id.to_string(),
                    account.full_name(),
                    row.state.clone(),
                    row.purpose.clone(),
                    row.days.to_string(),
                    until.map_or_else(String::new, |until| until.display_in(app.config.billing.zone)),
                    row.last_error.clone().unwrap_or_default(),
                ]);
            }
            context.show(&values, |_| {
                output::table(["id", "account", "state", "purpose", "days", "until", "what went wrong"], rows)
            })?;
        }
        KeyCommand::Approve { id, days, message } => {
            let id = KeyRequestId::new(id);
            let mut tx = app.store.begin().await?;
            access::approve(&mut tx, id, &who, message.as_deref(), days, &settings, now).await?;
            tx.commit().await?;
            keys::carry_out(&app).await?;
            report(context, &app, id, "made; `bursar key show` shows the pair, once").await?;
        }
        KeyCommand::Deny { id, message } => {
            let id = KeyRequestId::new(id);
            let mut tx = app.store.begin().await?;
            access::deny(&mut tx, id, &who, Some(&message), now).await?;
            tx.commit().await?;
            report(context, &app, id, "denied").await?;
        }
        KeyCommand::Show { id } => {
            let pair = keys::show(&app, KeyRequestId::new(id), &who).await?;
            let value = serde_json::json!({ "api_key": pair.api_key, "secret_key": pair.secret_key.expose() });
            context.show(&value, |_| {
                format!(
                    "API key     {}\nSecret key  {}\n\nThis is the only time that the secret is shown; bursar has erased it.",
                    pair.api_key,
                    pair.secret_key.expose()
                )
            })?;
        }
        KeyCommand::Revoke { id } => {
            let id = KeyRequestId::new(id);
            let mut tx = app.store.begin().await?;
            access::revoke(&mut tx, id, &who, now).await?;
            tx.commit().await?;
            keys::carry_out(&app).await?;
            report(context, &app, id, "ended; the CloudStack user is deleted").await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn report(context: &Context, app: &crate::jobs::App, id: KeyRequestId, done: &str) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let row = people::get_key_request(&mut tx, id).await?;
    if let Some(error) = &row.last_error {
        bail!(
            "request {id} is {}, but CloudStack did not follow: {error}. It is tried again with every round",
            row.state
        );
    }
    context.show(&serde_json::json!({ "id": id, "state": row.state }), |_| format!("Request {id}: {done}."))
}

/// `bursar token …`
pub async fn token(context: &Context, command: TokenCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let now = app.clock.now();
    let who = author();
    let mut tx = app.store.begin().await?;
    let audit = |action: &str, name: &str| AuditLine {
        at_ms: now.as_ms(),
        actor: who.clone(),
        action: action.to_owned(),
        subject: format!("token {name}"),
        ..AuditLine::default()
    };
    match command {
        TokenCommand::Create { name, write } => {
            let token = format!("bursar_{}", app.random.hex(32));
            let scopes = if write { "read,write" } else { "read" };
            match people::insert_token(&mut tx, &name, &token_hash(&token), scopes, &who, now).await {
                Err(StoreError::Exists(_)) => {
                    bail!("there is a token called \"{name}\", or there was one; give the new one another name")
                }
                other => other?,
            }
            runs::write_audit(&mut tx, &audit("token.create", &name)).await?;
            tx.commit().await?;
            context.show(&serde_json::json!({ "name": name, "token": token, "scopes": scopes }), |_| {
                format!("{token}\nThis is the only time that it is shown. It may {scopes}.")
            })?;
        }
        TokenCommand::List => {
            let tokens = people::list_tokens(&mut tx).await?;
            context.show(&tokens, |tokens| {
                let rows = tokens
                    .iter()
                    .map(|token| {
                        let used = token
                            .last_used_ms
                            .map(Timestamp::from_ms)
                            .map_or_else(|| "never".to_owned(), |at| at.to_string());
                        [token.name.clone(), token.scopes.clone(), used]
                    })
                    .collect();
                output::table(["name", "may", "last used"], rows)
            })?;
        }
        TokenCommand::Revoke { name } => {
            if !people::revoke_token(&mut tx, &name, now).await? {
                bail!("there is no standing token called \"{name}\"; `bursar token list` shows them");
            }
            runs::write_audit(&mut tx, &audit("token.revoke", &name)).await?;
            tx.commit().await?;
            context.show(&serde_json::json!({ "name": name }), |_| format!("Token {name} is ended."))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
