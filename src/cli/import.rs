//! `bursar import …`: moving from something else.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use super::{Context, args::ImportCommand, author, output};
use crate::{
    jobs::{
        App,
        quota::{self, Comparison, Import, Opening},
        work::slug_of,
    },
    time::{Day, Timestamp},
};

/// `bursar import …`
pub async fn import(context: &Context, command: ImportCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        ImportCommand::Quota { compare: Some(month), .. } => compare(context, &app, &month).await?,
        ImportCommand::Quota { file, write, compare: None } => everything(context, &app, file, write).await?,
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(serde::Serialize)]
struct BalanceLine {
    accounts: String,
    balance: String,
    opening: &'static str,
}

#[derive(serde::Serialize)]
struct CreditLine {
    account: String,
    amount: String,
    at: Option<Timestamp>,
    by: Option<String>,
}

const fn word(opening: Opening) -> &'static str {
    match opening {
        Opening::Nothing => "nothing to bring in",
        Opening::Waits => "not yet: --write",
        Opening::Written => "brought in",
        Opening::Known => "has one already",
    }
}

async fn everything(context: &Context, app: &App, file: Option<PathBuf>, write: bool) -> anyhow::Result<()> {
    // The file first: who can not write it must not have balances brought in.
    let target =
        match &file {
            Some(path) => Some(std::fs::File::create_new(path).with_context(|| {
                format!("{} can not be made (an existing file is never overwritten)", path.display())
            })?),
            None => None,
        };
    let who = author();
    let imported = quota::import(app, write.then_some(who.as_str())).await;
    if let (Err(_), Some(path)) = (&imported, &file) {
        // Nothing was imported: an empty price book would only be in the way of the next try.
        let _ = std::fs::remove_file(path);
    }
    let imported = imported?;
    if let Some(mut target) = target {
        std::io::Write::write_all(&mut target, imported.draft.text.as_bytes())?;
    }
    let currency = &app.config.billing.currency;
    let balances: Vec<BalanceLine> = imported
        .balances
        .iter()
        .map(|row| BalanceLine {
            accounts: row.accounts.join(", "),
            balance: currency.format_plain(row.balance),
            opening: word(row.opening),
        })
        .collect();
    let credits: Option<Vec<CreditLine>> = imported.credits.as_ref().map(|credits| {
        credits
            .iter()
            .map(|row| CreditLine {
                account: row.account.clone(),
                amount: currency.format_plain(row.amount),
                at: row.at,
                by: row.by.clone(),
            })
            .collect()
    });
    let value = serde_json::json!({
        "tariffs": imported.draft, "file": file, "balances": balances, "unknown_accounts": imported.unknown,
        "credits": credits, "currency": currency.code(),
    });
    context.show(&value, |_| text(app, &imported, file.as_ref(), &balances, credits.as_deref()))
}

fn text(
    app: &App,
    imported: &Import,
    file: Option<&PathBuf>,
    balances: &[BalanceLine],
    credits: Option<&[CreditLine]>,
) -> String {
    let draft = &imported.draft;
    let mut text = format!(
        "Tariffs: {} prices{}.",
        draft.prices,
        file.map_or_else(
            || "; name a file to have them written as a price book".to_owned(),
            |file| format!(" written to {}; read it, then `bursar price check`", file.display())
        )
    );
    for (what, lines) in [
        ("Not importable, a rule decides", &draft.with_rules),
        ("Left out", &draft.untranslated),
        ("Added together, as the quota plugin does", &draft.added_together),
        ("Free there", &draft.free),
    ] {
        if !lines.is_empty() {
            text.push_str(&format!("\n{what}: {}.", lines.join("; ")));
        }
    }
    let rows = balances.iter().map(|row| [row.accounts.clone(), row.balance.clone(), row.opening.to_owned()]).collect();
    text.push_str(&format!("\n\nBalances\n{}", output::table(["accounts", "balance there", "opening balance"], rows)));
    if !imported.unknown.is_empty() {
        text.push_str(&format!("\nNot known here (run `bursar sync`): {}.", imported.unknown.join(", ")));
    }
    match credits {
        None => {
            text.push_str("\n\nCredits can not be listed: CloudStack does so from 4.21 on, where the role allows it.");
        }
        Some(credits) => {
            let zone = app.config.billing.zone;
            let rows = credits
                .iter()
                .map(|row| {
                    let at = row.at.map_or_else(String::new, |at| at.display_in(zone));
                    [row.account.clone(), row.amount.clone(), at, row.by.clone().unwrap_or_default()]
                })
                .collect();
            text.push_str(&format!(
                "\n\nCredits given there (they are in the balances)\n{}",
                output::table(["account", "amount", "when", "by"], rows)
            ));
        }
    }
    text.push_str(&format!(
        "\nAmounts there have no currency but a symbol; they are taken for {}.",
        app.config.billing.currency.code()
    ));
    text
}

#[derive(serde::Serialize)]
struct CompareLine {
    account: String,
    usage_type: String,
    theirs: Option<String>,
    ours: String,
    difference: String,
    why: Vec<String>,
}

async fn compare(context: &Context, app: &App, month: &str) -> anyhow::Result<()> {
    let zone = app.config.billing.zone;
    let month = Timestamp::parse(&format!("{month}-01"), zone)
        .and_then(|at| Day::of(at, zone))
        .and_then(Day::month)
        .with_context(|| format!("\"{month}\" is not a month such as 2026-11"))?;
    let Comparison { rows, names } = quota::compare_month(app, month).await?;
    let currency = &app.config.billing.currency;
    let lines: Vec<CompareLine> = rows
        .into_iter()
        .map(|row| CompareLine {
            account: names.get(&row.key.0).cloned().unwrap_or_default(),
            usage_type: slug_of(i64::from(row.key.1)),
            theirs: row.theirs.map(|amount| currency.format_plain(amount)),
            ours: currency.format_plain(row.ours),
            difference: currency.format_plain(row.difference),
            why: row.why,
        })
        .collect();
    let value = serde_json::json!({ "month": month.to_string(), "currency": currency.code(), "rows": lines });
    context.show(&value, |_| {
        let rows = lines
            .iter()
            .map(|line| {
                [
                    line.account.clone(),
                    line.usage_type.clone(),
                    line.theirs.clone().unwrap_or_else(|| "nothing".to_owned()),
                    line.ours.clone(),
                    line.difference.clone(),
                    line.why.join("; "),
                ]
            })
            .collect();
        let table = output::table(["account", "type", "quota plugin", "here", "here less there", "why"], rows);
        format!("{table}\n{month}, net, in {}. Nothing was changed.", currency.code())
    })
}
