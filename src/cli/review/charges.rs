//! Items about charges: corrections beyond the limit, and changes of past prices.

use std::{collections::HashMap, process::ExitCode};

use anyhow::bail;

use super::{
    super::{Context, output},
    days_text,
};
use crate::{
    ids::AccountId,
    jobs::{App, work::slug_of},
    ledger::corrections,
    money::Money,
    rating::changes,
    store::{
        Tx,
        corrections::{self as rows, CORRECTION, PRICE_CHANGE},
        review::Item,
    },
    time::{Day, Timestamp},
    usage::review::{Author, Choice},
};

/// Charges of an item shown at most; `--json` gives all.
const MAX_SHOWN: usize = 500;

/// Whether an item of this kind is about charges, and not about usage records.
pub(super) fn is_about_charges(kind: &str) -> bool {
    matches!(kind, CORRECTION | PRICE_CHANGE)
}

/// A charge as shown to a person.
#[derive(serde::Serialize)]
struct ChargeLine {
    account: String,
    day: String,
    usage_type: String,
    now: String,
    then: String,
    difference: String,
    tax_percent: Option<String>,
    state: String,
}

/// Shows what would change for whom, in sum by account and charge by charge.
pub(super) async fn show(
    context: &Context,
    app: &App,
    tx: &mut Tx,
    item: &Item,
    names: &HashMap<i64, String>,
) -> anyhow::Result<ExitCode> {
    let currency = &app.config.billing.currency;
    let shown = |nanos: i64| currency.format_plain(Money::round_from_nanos(nanos));
    let charges = rows::list_charges(tx, item.id).await?;
    let mut sums: Vec<(String, i64)> = Vec::new();
    let mut lines = Vec::new();
    for charge in &charges {
        let account = names.get(&charge.account_id).cloned().unwrap_or_default();
        let difference = charge.new_net_nanos.saturating_sub(charge.old_net_nanos);
        match sums.iter_mut().find(|(name, _)| *name == account) {
            Some((_, sum)) => *sum = sum.saturating_add(difference),
            None => sums.push((account.clone(), difference)),
        }
        lines.push(ChargeLine {
            account,
            day: Day::from_number(charge.day).to_string(),
            usage_type: slug_of(charge.usage_type),
            now: shown(charge.old_net_nanos),
            then: shown(charge.new_net_nanos),
            difference: shown(difference),
            tax_percent: charge.new_tax_percent.clone(),
            state: charge.state.clone(),
        });
    }
    let accounts: Vec<(String, String)> = sums.iter().map(|(name, sum)| (name.clone(), shown(*sum))).collect();
    context.show(&serde_json::json!({ "item": item, "accounts": accounts, "charges": lines }), |_| {
        let mut text = format!(
            "Item {}, {} ({}): {}.\n{} of {} charges wait, of {} accounts. Net amounts in {}.\n",
            item.id,
            item.kind,
            days_text(item),
            item.reason,
            item.waiting,
            item.row_count,
            item.accounts,
            currency.code()
        );
        if let (Some(verdict), Some(who)) = (&item.verdict, &item.author) {
            let words = item.words.as_deref().unwrap_or_default();
            text.push_str(&format!("Settled by {who} ({verdict}): {words}\n"));
        }
        let sums = accounts.iter().map(|(name, sum)| [name.clone(), sum.clone()]).collect();
        text.push_str(&output::table(["account", "difference in all"], sums));
        text.push_str("\n\n");
        let table = lines
            .iter()
            .take(MAX_SHOWN)
            .map(|line| {
                [
                    line.account.clone(),
                    line.day.clone(),
                    line.usage_type.clone(),
                    line.now.clone(),
                    line.then.clone(),
                    line.difference.clone(),
                    line.tax_percent.clone().unwrap_or_default(),
                    line.state.clone(),
                ]
            })
            .collect();
        let head = ["account", "day", "type", "posted", "would be", "difference", "tax %", "state"];
        text.push_str(&output::table(head, table));
        if lines.len() > MAX_SHOWN {
            text.push_str(&format!("\n{} more; --json gives all.", lines.len() - MAX_SHOWN));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a verdict on the charges of an item, of one account or of all.
pub(super) async fn settle(
    tx: &mut Tx,
    item: &Item,
    choice: Choice,
    account: Option<AccountId>,
    by: Author<'_>,
    now: Timestamp,
) -> anyhow::Result<u64> {
    if item.state != "open" {
        bail!("item {} is settled already; `bursar review show {}` says how", item.id, item.id);
    }
    let release = matches!(choice, Choice::Release);
    let (account, by) = (account.map(AccountId::get), (by.name, by.reason));
    Ok(if item.kind == CORRECTION {
        corrections::settle(tx, item.id, release, account, by, now).await?
    } else {
        changes::settle(tx, item.id, release, account, by, now).await?
    })
}

/// Tells what a verdict did.
pub(super) fn shown(context: &Context, settled: u64, choice: Choice) -> anyhow::Result<ExitCode> {
    context.show(&serde_json::json!({ "charges": settled }), |_| match choice {
        Choice::Release => format!("{settled} charges released. The next `bursar rate` posts them."),
        Choice::Reject => format!("{settled} charges stay as they are posted."),
    })?;
    Ok(ExitCode::SUCCESS)
}
