//! Payers: accounts, and customers with several of them.

use std::process::ExitCode;

use super::{
    Context,
    args::PayerCommand,
    author, grants, output,
    payments::{day, wake},
};
use crate::{
    jobs::App,
    ledger::{booking::Cause, payers, rules::Figures},
    money::Money,
    policy::decide::share_words,
    store::{cloud, grants::list_grant_rows, ledger, payers as rows, payers::PayerRow},
    time::{Day, Timestamp},
};

/// `bursar payer …`
pub async fn payer(context: &Context, command: PayerCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let now = app.clock.now();
    let who = author();
    match command {
        PayerCommand::List => list(context, &app).await?,
        PayerCommand::Show { payer } => show(context, &app, &payer).await?,
        PayerCommand::Join { accounts, name, limit, reason } => {
            join(context, &app, &accounts, &name, limit.as_deref(), &reason).await?;
        }
        PayerCommand::BillingStart { payer, day: text, reason } => {
            let start = if text == "cloud" { None } else { Some(day(&text)?) };
            let mut tx = app.store.begin().await?;
            let row = payers::resolve(&mut tx, &payer).await?;
            let cause = Cause { key: "billing-start", author: &who, reason: &reason };
            let marked = payers::set_billing_start(&mut tx, row.id, start, app.config.billing.zone, cause, now).await?;
            tx.commit().await?;
            let shown = start.map(|day| day.to_string());
            let value = serde_json::json!({ "payer": row.name, "billing_start": shown, "days_to_rate": marked });
            context.show(&value, |_| {
                let from = shown.clone().unwrap_or_else(|| "the cloud's first billing day".to_owned());
                format!(
                    "{} is charged from {from} on; {marked} days wait for `bursar rate`. Days that are closed stay as they were \
                     charged: `bursar rate --from DATE` proposes the difference, for `bursar review` to approve.",
                    row.name
                )
            })?;
        }
        PayerCommand::Class { payer, class, reason } => {
            super::policy::class_of(context, &app, &payer, &class, &reason).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context, app: &App) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let rows = rows::list_payer_rows(&mut tx).await?;
    let standings = app.standings(&mut tx).await?;
    let available = |row: &PayerRow| {
        standings.iter().find(|standing| standing.payer == row.id).map(|standing| standing.figures.available)
    };
    let shown: Vec<&PayerRow> = rows.iter().filter(|row| row.joined_into.is_none()).collect();
    context.show(&shown, |shown| {
        let lines = shown
            .iter()
            .map(|row| {
                [
                    row.id.to_string(),
                    row.name.clone(),
                    row.kind.clone(),
                    row.accounts.to_string(),
                    row.class.clone().unwrap_or_default(),
                    row.billing_start_day.map_or_else(String::new, |day| Day::from_number(day).to_string()),
                    row.tax_percent.clone().unwrap_or_default(),
                    available(row).map_or_else(String::new, |amount| app.config.billing.currency.format(amount)),
                ]
            })
            .collect();
        output::table(["payer", "name", "kind", "accounts", "class", "billed from", "tax %", "Available"], lines)
    })
}

async fn show(context: &Context, app: &App, word: &str) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let row = payers::resolve(&mut tx, word).await?;
    let figures = app
        .standings(&mut tx)
        .await?
        .into_iter()
        .find(|standing| standing.payer == row.id)
        .map(|standing| standing.figures);
    let accounts: Vec<String> = cloud::list_accounts(&mut tx)
        .await?
        .into_iter()
        .filter(|account| account.payer_id == row.id)
        .map(|account| account.full_name())
        .collect();
    let granted = list_grant_rows(&mut tx, Some(row.id), false, 100).await?;
    let transfers = ledger::list_transfers(&mut tx, row.id, 20).await?;
    let value = serde_json::json!({
        "payer": row, "accounts": accounts, "grants": granted, "transfers": transfers,
        "total": figures.map(|figures| figures.total.to_string()),
        "used": figures.map(|figures| figures.used.to_string()),
        "available": figures.map(|figures| figures.available.to_string()),
    });
    let currency = &app.config.billing.currency;
    context.show(&value, |_| {
        let mut text = format!("{} (payer {}, {}): {}", row.name, row.id, row.kind, accounts.join(", "));
        if let Some(figures) = figures {
            text.push_str(&format!("\n{}", sentence(app, &figures)));
        }
        text.push_str(&format!("\n\nGrants\n{}", grants::table(app, &granted)));
        let lines = transfers
            .iter()
            .map(|row| {
                let when = Timestamp::from_ms(row.at_ms).display_in(app.config.billing.zone);
                let amount = currency.format(Money::from_micros(row.amount_micros));
                [row.id.to_string(), when, row.kind.clone(), amount, row.reason.clone()]
            })
            .collect();
        text.push_str(&format!(
            "\n\nTransfers\n{}",
            output::table(["transfer", "when", "what", "amount", "why"], lines)
        ));
        text
    })
}

fn sentence(app: &App, figures: &Figures) -> String {
    let currency = &app.config.billing.currency;
    format!(
        "Total {}, Used {} ({}), Available {}.",
        currency.format(figures.total),
        currency.format(figures.used),
        share_words(figures.share()),
        currency.format(figures.available)
    )
}

async fn join(
    context: &Context,
    app: &App,
    words: &[String],
    name: &str,
    limit: Option<&str>,
    reason: &str,
) -> anyhow::Result<()> {
    let limit = match limit {
        None => None,
        Some("none") => Some(None),
        Some(text) => Some(Some(Money::parse(text)?)),
    };
    let who = author();
    let key = app.random.uuid().to_string();
    let mut tx = app.store.begin().await?;
    let mut accounts = Vec::new();
    for word in words {
        accounts.push(cloud::resolve_account(&mut tx, word).await?);
    }
    let cause = Cause { key: &key, author: &who, reason };
    let terms = payers::JoinTerms { defaults: (app.default_limit(), app.tax()?), limit, zone: app.config.billing.zone };
    let joined = payers::join(&mut tx, &accounts, name, terms, cause, app.clock.now()).await?;
    wake(app, &mut tx).await?;
    tx.commit().await?;
    let currency = &app.config.billing.currency;
    let moved: Vec<_> = joined
        .moved
        .iter()
        .map(|(account, money, grants)| {
            serde_json::json!({ "account": account, "money": money.to_string(), "grants": grants.to_string() })
        })
        .collect();
    let value = serde_json::json!({
        "payer": joined.payer, "moved": moved, "total": joined.figures.total.to_string(),
        "available": joined.figures.available.to_string(),
    });
    context.show(&value, |_| {
        let lines = joined
            .moved
            .iter()
            .map(|(account, money, grants)| [account.clone(), currency.format(*money), currency.format(*grants)])
            .collect();
        let table = output::table(["account", "money brought along", "grants brought along"], lines);
        format!("{table}\n{name} (payer {}): {}", joined.payer, sentence(app, &joined.figures))
    })
}
