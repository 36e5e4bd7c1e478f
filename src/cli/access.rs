//! Service tokens.

use std::process::ExitCode;

use anyhow::bail;

use super::{Context, args::TokenCommand, author, output};
use crate::{
    secrets::token_hash,
    store::{
        StoreError, people,
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

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
