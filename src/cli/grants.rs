//! Grants.

use std::process::ExitCode;

use super::{
    Context,
    args::{GrantArgs, GrantCommand},
    author, output,
    payments::{day_start, show_figures, usage_type, wake},
};
use crate::{
    jobs::{App, work},
    ledger::{
        booking::Cause,
        grants::{self, Terms},
        payers,
    },
    money::Money,
    store::{
        cloud,
        grants::{GrantRow, list_grant_rows},
    },
    time::Timestamp,
};

/// Grants listed at most.
const MAX_LISTED: i64 = 1_000;

/// `bursar grant …`
pub async fn grant(context: &Context, command: GrantCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        GrantCommand::Add(args) => add(context, &app, args).await?,
        GrantCommand::List { payer, all } => {
            let mut tx = app.store.read().await?;
            let payer = match payer {
                Some(word) => Some(payers::resolve(&mut tx, &word).await?.id),
                None => None,
            };
            let rows = list_grant_rows(&mut tx, payer, all, MAX_LISTED).await?;
            context.show(&rows, |rows| table(&app, rows))?;
        }
        GrantCommand::Revoke { id, reason } => {
            let who = author();
            let mut tx = app.store.begin().await?;
            let cause = Cause { key: "revoke", author: &who, reason: &reason };
            let defaults = (app.default_limit(), app.tax()?);
            let revoked = grants::revoke(&mut tx, id, cause, defaults, app.clock.now()).await?;
            wake(&app, &mut tx).await?;
            tx.commit().await?;
            let currency = &app.config.billing.currency;
            let value = serde_json::json!({
                "grant": id, "taken_back": revoked.taken.to_string(), "available": revoked.figures.available.to_string(),
            });
            context.show(&value, |_| {
                format!(
                    "Grant {id}: {} taken back. Available {}.",
                    currency.format(revoked.taken),
                    currency.format(revoked.figures.available)
                )
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(context: &Context, app: &App, args: GrantArgs) -> anyhow::Result<()> {
    let amount = Money::parse(&args.amount)?;
    let now = app.clock.now();
    let terms = Terms {
        starts: args.from.as_deref().map(|text| day_start(app, text)).transpose()?.unwrap_or(now),
        ends: args.until.as_deref().map(|text| day_start(app, text)).transpose()?,
        priority: args.priority,
        scope: args.scope.as_deref().map(usage_type).transpose()?,
    };
    let who = author();
    let key = args.key.unwrap_or_else(|| app.random.uuid().to_string());
    let mut tx = app.store.begin().await?;
    let found = cloud::resolve_account(&mut tx, &args.account).await?;
    let cause = Cause { key: &key, author: &who, reason: &args.reason };
    let defaults = (app.default_limit(), app.tax()?);
    let given = grants::give(&mut tx, found.payer_id, amount, &terms, cause, defaults, now).await?;
    wake(app, &mut tx).await?;
    tx.commit().await?;
    show_figures(context, app, &found, &given.figures)
}

/// Grants as a table.
pub(super) fn table(app: &App, rows: &[GrantRow]) -> String {
    let currency = &app.config.billing.currency;
    let (zone, now) = (app.config.billing.zone, app.clock.now());
    let when = |ms: i64| Timestamp::from_ms(ms).display_in(zone);
    let lines = rows
        .iter()
        .map(|row| {
            [
                row.id.to_string(),
                row.payer.clone(),
                row.state(now).to_owned(),
                currency.format_plain(Money::from_micros(row.amount_micros)),
                currency.format_plain(row.left()),
                when(row.starts_ms),
                row.ends_ms.map_or_else(|| "never".to_owned(), when),
                row.priority.to_string(),
                row.scope_usage_type.map_or_else(|| "any".to_owned(), work::slug_of),
                row.reason.clone(),
            ]
        })
        .collect();
    let head = ["grant", "payer", "", "amount", "left", "from", "until", "priority", "pays for", "why"];
    format!("{}\nAmounts in {}.", output::table(head, lines), currency.code())
}
