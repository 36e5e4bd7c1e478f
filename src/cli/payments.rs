//! Payments, adjustments and refunds.

use std::process::ExitCode;

use anyhow::Context as _;

use super::{
    Context,
    args::{AdjustmentCommand, PaymentCommand, RefundCommand},
    author,
};
use crate::{
    config::Database,
    jobs::{App, lock},
    ledger::{
        booking::Cause,
        payments::{self, Refund},
        rules::Figures,
    },
    money::Money,
    store::{
        Tx,
        cloud::{self, Account},
        runs,
    },
    time::{Day, Timestamp},
};

/// `bursar payment …`
pub async fn payment(context: &Context, command: PaymentCommand) -> anyhow::Result<ExitCode> {
    let PaymentCommand::Add { account, amount, reference, key } = command;
    let app = context.app().await?;
    let amount = Money::parse(&amount)?;
    let who = author();
    let key = key.unwrap_or_else(|| app.random.uuid().to_string());
    let mut tx = app.store.begin().await?;
    let found = cloud::resolve_account(&mut tx, &account).await?;
    let cause = Cause { key: &key, author: &who, reason: &reference };
    let defaults = (app.default_limit(), app.tax()?);
    let paid = payments::receive(&mut tx, found.payer_id, amount, cause, defaults, app.clock.now()).await?;
    wake(&app, &mut tx).await?;
    tx.commit().await?;
    let currency = &app.config.billing.currency;
    let mut value = figures_of(&found, &paid.figures);
    let mut notes = String::new();
    for bonus in &paid.bonuses {
        notes.push_str(&format!(
            "\nCode {} gave {} (grant {}).",
            bonus.code,
            currency.format(bonus.amount),
            bonus.grant
        ));
    }
    for waiting in &paid.waiting {
        notes.push_str(&format!("\nCode {} gave nothing: {}.", waiting.code, waiting.why));
    }
    if let Some(fields) = value.as_object_mut() {
        let bonuses: Vec<_> = paid
            .bonuses
            .iter()
            .map(|bonus| serde_json::json!({ "code": bonus.code, "grant": bonus.grant, "amount": bonus.amount.to_string() }))
            .collect();
        fields.insert("transfer".to_owned(), paid.transfer.get().into());
        fields.insert("bonuses".to_owned(), bonuses.into());
    }
    context.show(&value, |_| format!("{}{notes}", sentence(&app, &found, &paid.figures)))?;
    Ok(ExitCode::SUCCESS)
}

/// `bursar adjustment …`
pub async fn adjustment(context: &Context, command: AdjustmentCommand) -> anyhow::Result<ExitCode> {
    let AdjustmentCommand::Add { account, amount, reason, key } = command;
    let app = context.app().await?;
    let amount = Money::parse(&amount)?;
    let who = author();
    let key = key.unwrap_or_else(|| app.random.uuid().to_string());
    let mut tx = app.store.begin().await?;
    let found = cloud::resolve_account(&mut tx, &account).await?;
    let cause = Cause { key: &key, author: &who, reason: &reason };
    let defaults = (app.default_limit(), app.tax()?);
    let figures = payments::add_adjustment(&mut tx, found.payer_id, amount, cause, defaults, app.clock.now()).await?;
    wake(&app, &mut tx).await?;
    tx.commit().await?;
    show_figures(context, &app, &found, &figures)?;
    Ok(ExitCode::SUCCESS)
}

/// `bursar refund …`
pub async fn refund(context: &Context, command: RefundCommand) -> anyhow::Result<ExitCode> {
    let RefundCommand::Add { account, amount, reason, of, into_debt, key } = command;
    let app = context.app().await?;
    let amount = Money::parse(&amount)?;
    let who = author();
    let key = key.unwrap_or_else(|| app.random.uuid().to_string());
    let mut tx = app.store.begin().await?;
    let found = cloud::resolve_account(&mut tx, &account).await?;
    let cause = Cause { key: &key, author: &who, reason: &reason };
    let defaults = (app.default_limit(), app.tax()?);
    let refund = Refund { amount, of: of.as_deref(), into_debt };
    let figures = payments::add_refund(&mut tx, found.payer_id, refund, cause, defaults, app.clock.now())
        .await
        .map_err(anyhow::Error::from)
        .map_err(|error| {
            let owed = error.to_string().contains("owed by the payer");
            if owed { error.context("to do so nevertheless, add --into-debt") } else { error }
        })?;
    wake(&app, &mut tx).await?;
    tx.commit().await?;
    show_figures(context, &app, &found, &figures)?;
    Ok(ExitCode::SUCCESS)
}

/// A running server looks at once whether somebody may be opened now.
pub(super) async fn wake(app: &App, tx: &mut Tx) -> anyhow::Result<()> {
    wake_for(app, tx, &["enforce"]).await
}

/// A running server does these jobs at once, in this order.
pub(super) async fn wake_for(app: &App, tx: &mut Tx, jobs: &[&str]) -> anyhow::Result<()> {
    // On PostgreSQL nobody can tell from here whether a replica runs: one that starts later finds the request.
    let sqlite = matches!(app.config.store.database, Database::Sqlite(_));
    if !sqlite || lock::is_served(&app.config.store.data_dir) {
        for job in jobs {
            runs::leave_request(tx, job, "{}", &author(), app.clock.now()).await?;
        }
    }
    Ok(())
}

/// The first instant of a day that a person wrote.
pub(super) fn day_start(app: &App, text: &str) -> anyhow::Result<Timestamp> {
    day(text)?.start(app.config.billing.zone).with_context(|| format!("{text} is in no calendar"))
}

/// A day that a person wrote.
pub(super) fn day(text: &str) -> anyhow::Result<Day> {
    text.parse().ok().map(Day::from_date).with_context(|| format!("\"{text}\" is not a date such as 2026-12-31"))
}

/// The number of a usage type that a person named.
pub(super) fn usage_type(word: &str) -> anyhow::Result<i64> {
    use crate::usage::types::UsageType;
    UsageType::from_slug(word).map(|known| i64::from(known.id)).with_context(|| {
        let names: Vec<&str> = UsageType::all().iter().map(|known| known.slug).collect();
        format!("\"{word}\" is no usage type; there are {}", names.join(", "))
    })
}

fn figures_of(account: &Account, figures: &Figures) -> serde_json::Value {
    serde_json::json!({
        "account": account.full_name(),
        "total": figures.total.to_string(),
        "used": figures.used.to_string(),
        "available": figures.available.to_string(),
    })
}

fn sentence(app: &App, account: &Account, figures: &Figures) -> String {
    let currency = &app.config.billing.currency;
    format!(
        "{}: Total {}, Used {}, Available {}.",
        account.full_name(),
        currency.format(figures.total),
        currency.format(figures.used),
        currency.format(figures.available)
    )
}

/// Shows the figures right after a booking.
pub(super) fn show_figures(context: &Context, app: &App, account: &Account, figures: &Figures) -> anyhow::Result<()> {
    context.show(&figures_of(account, figures), |_| sentence(app, account, figures))
}
