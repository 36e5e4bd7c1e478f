//! Accounts with their limits, users, holds, notices and the quarantine.

use std::{collections::HashSet, path::Path, process::ExitCode};

use anyhow::{Context as _, bail};

use super::{
    Context,
    args::AccountCommand,
    author, output,
    payments::{show_figures, wake},
};
use crate::{
    ids::{AccountId, PayerId},
    jobs::App,
    ledger::{
        post::{self, Cause},
        standing::Standing,
    },
    money::Money,
    policy::decide::share_words,
    store::{
        Tx,
        cloud::{self, Account},
        enforcement, gateways, ledger,
    },
    time::Timestamp,
};

/// A CSV file of limits has at most so many lines.
const MAX_CSV_LINES: usize = 200_000;

#[derive(serde::Serialize)]
struct AccountLine {
    id: AccountId,
    account: String,
    cloud_id: String,
    state: String,
    managed: bool,
    limit: Option<String>,
    total: String,
    used: String,
    available: String,
    share: String,
    per_day: String,
    days_left: Option<i64>,
    decision: Option<String>,
    reason: Option<String>,
}

/// `bursar account …`
pub async fn account(context: &Context, command: AccountCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        AccountCommand::List => list(context, &app).await?,
        AccountCommand::Show { account } => show(context, &app, &account).await?,
        AccountCommand::Limit { account, amount, reason, csv, dry_run } => {
            let wanted = match (csv, account, amount) {
                (Some(file), _, _) => read_limits(&file)?,
                (None, Some(account), Some(amount)) => vec![(account, amount)],
                _ => bail!("name an account and an amount, or a CSV file"),
            };
            limits(context, &app, wanted, &reason, dry_run).await?;
        }
        AccountCommand::LeaveAlone(args) => super::policy::leave_alone(context, &app, args).await?,
        AccountCommand::Opening { account, amount, reason } => {
            let amount = Money::parse(&amount)?;
            let mut tx = app.store.begin().await?;
            let found = cloud::resolve_account(&mut tx, &account).await?;
            let who = author();
            let cause = Cause { key: "opening", author: &who, reason: &reason };
            let defaults = (app.default_limit(), app.tax()?);
            let figures =
                post::set_opening_balance(&mut tx, found.payer_id, amount, cause, defaults, app.clock.now()).await?;
            wake(&app, &mut tx).await?;
            tx.commit().await?;
            show_figures(context, &app, &found, &figures)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn account_line(
    app: &App,
    account: &Account,
    standing: &Standing,
    own_limit: Option<Option<Money>>,
    decision: Option<&enforcement::DecisionRow>,
) -> AccountLine {
    let currency = &app.config.billing.currency;
    let limit = own_limit.unwrap_or(app.default_limit());
    AccountLine {
        id: account.id,
        account: account.full_name(),
        cloud_id: account.cloud_id.clone(),
        state: if account.gone_ms.is_some() { "gone".to_owned() } else { account.state.clone() },
        managed: standing.managed,
        limit: limit.map(|limit| currency.format_plain(limit)),
        total: currency.format_plain(standing.figures.total),
        used: currency.format_plain(standing.figures.used),
        available: currency.format_plain(standing.figures.available),
        share: share_words(standing.figures.share()),
        per_day: currency.format_plain(standing.per_day),
        days_left: standing.days_left,
        decision: decision.map(|row| row.outcome.clone()),
        reason: decision.map(|row| row.reason.clone()),
    }
}

async fn list(context: &Context, app: &App) -> anyhow::Result<()> {
    let mut tx = app.store.begin().await?;
    let standings = app.standings(&mut tx).await?;
    let limits = ledger::list_limits(&mut tx).await?;
    let decisions = enforcement::list_newest_decisions(&mut tx).await?;
    let accounts = cloud::list_accounts(&mut tx).await?;
    let lines: Vec<AccountLine> = accounts
        .iter()
        .filter_map(|account| {
            let standing = standings.iter().find(|standing| standing.payer == account.payer_id)?;
            let decision = decisions.get(&account.id.get());
            Some(account_line(app, account, standing, limits.get(&account.payer_id).copied(), decision))
        })
        .collect();
    context.show(&lines, |lines| {
        if lines.is_empty() {
            return "No accounts yet: run `bursar sync`.".to_owned();
        }
        let code = app.config.billing.currency.code();
        let rows = lines
            .iter()
            .map(|line| {
                [
                    line.account.clone(),
                    line.state.clone(),
                    line.limit.clone().unwrap_or_else(|| "not managed".to_owned()),
                    line.total.clone(),
                    line.used.clone(),
                    line.available.clone(),
                    line.share.clone(),
                    line.days_left.map_or_else(String::new, |days| days.to_string()),
                    line.reason.clone().unwrap_or_default(),
                ]
            })
            .collect();
        let table = output::table(
            ["account", "state", "limit", "Total", "Used", "Available", "used", "days left", "why"],
            rows,
        );
        format!("{table}\nAmounts in {code}.")
    })
}

async fn show(context: &Context, app: &App, word: &str) -> anyhow::Result<()> {
    let mut tx = app.store.begin().await?;
    let account = cloud::resolve_account(&mut tx, word).await?;
    let standing = standing_of(app, &mut tx, account.payer_id).await?;
    let own = ledger::list_limits(&mut tx).await?.get(&account.payer_id).copied();
    let decisions = enforcement::list_decisions(&mut tx, account.id, 5).await?;
    let line = account_line(app, &account, &standing, own, decisions.first());
    let holds = enforcement::list_holds(&mut tx, Some(account.id)).await?;
    let notices = enforcement::list_notices(&mut tx, Some(account.id), 10).await?;
    let intents = enforcement::list_intents(&mut tx, Some(account.id), 10).await?;
    let transfers = ledger::list_transfers(&mut tx, account.payer_id, 20).await?;
    let gateway = gateways::list_choices(&mut tx).await?.remove(&account.payer_id);
    let value = serde_json::json!({
        "account": line, "gateway": gateway, "decisions": decisions, "holds": holds, "notices": notices, "actions": intents, "transfers": transfers,
    });
    let zone = app.config.billing.zone;
    let currency = &app.config.billing.currency;
    context.show(&value, |_| {
        let when = |ms: i64| Timestamp::from_ms(ms).display_in(zone);
        let figures = &standing.figures;
        let mut text = format!(
            "{} ({}), {}\n  Total credit limit         {}\n  Used credit limit          {}  ({})\n  Balance available          {}\n  \
             what an administrator allocates {}, grants left {}, money {}, not yet posted {}\n  {} a day{}\n",
            line.account,
            line.cloud_id,
            line.state,
            currency.format(figures.total),
            currency.format(figures.used),
            line.share,
            currency.format(figures.available),
            line.limit.clone().unwrap_or_else(|| "nothing: not managed".to_owned()),
            currency.format(figures.grants_left),
            currency.format(figures.money),
            currency.format(figures.accrued),
            currency.format(standing.per_day),
            standing.days_left.map_or_else(String::new, |days| format!(", {days} days left")),
        );
        text.push_str(&format!("  pays by {}\n", gateway.as_deref().unwrap_or("bank transfer")));
        for decision in decisions.iter().take(1) {
            text.push_str(&format!("\nDecided {}: {} ({}). {}\n", when(decision.decided_ms), decision.outcome, decision.reason, decision.sentence));
        }
        for hold in &holds {
            text.push_str(&format!("Held by {}: {} (since {})\n", hold.owner, hold.reason, when(hold.placed_ms)));
        }
        let rows = transfers
            .iter()
            .map(|row| {
                [when(row.at_ms), row.kind.clone(), currency.format(Money::from_micros(row.amount_micros)), row.reason.clone()]
            })
            .collect();
        text.push_str(&format!("\nTransfers\n{}", output::table(["when", "what", "amount", "why"], rows)));
        let rows = notices
            .iter()
            .map(|row| {
                let rehearsal = if row.dry_run == 1 { "dry run" } else { "given" };
                [when(row.recorded_ms), rehearsal.to_owned(), row.event.clone(), row.sentence.clone()]
            })
            .collect();
        text.push_str(&format!("\n\nNotices\n{}", output::table(["when", "", "event", "what the tenant is told"], rows)));
        text
    })
}

async fn standing_of(app: &App, tx: &mut Tx, payer: PayerId) -> anyhow::Result<Standing> {
    app.standings(tx)
        .await?
        .into_iter()
        .find(|standing| standing.payer == payer)
        .context("the payer has no standing; report this")
}

/// Reads `account,limit` lines; every problem is told with its line.
fn read_limits(file: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} can not be read", file.display()))?;
    let mut wanted = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || (number == 0 && line.eq_ignore_ascii_case("account,limit")) {
            continue;
        }
        let Some((account, amount)) = line.split_once(',') else {
            bail!("{} line {}: \"{line}\" is not account,limit; nothing was changed", file.display(), number + 1);
        };
        let unquote = |text: &str| text.trim().trim_matches('"').to_owned();
        wanted.push((unquote(account), unquote(amount)));
        if wanted.len() > MAX_CSV_LINES {
            bail!("{} has more than {MAX_CSV_LINES} lines; nothing was changed", file.display());
        }
    }
    if wanted.is_empty() {
        bail!("{} names no account: each line is account,limit, such as ROOT/acme/carol,100.00", file.display());
    }
    Ok(wanted)
}

#[derive(serde::Serialize)]
struct LimitChange {
    account: String,
    before: Option<String>,
    after: Option<String>,
    changed: bool,
}

/// All or nothing: one wrong line changes no limit.
async fn limits(
    context: &Context,
    app: &App,
    wanted: Vec<(String, String)>,
    reason: &str,
    dry_run: bool,
) -> anyhow::Result<()> {
    let who = author();
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let known = ledger::list_limits(&mut tx).await?;
    let mut problems = Vec::new();
    let mut changes = Vec::new();
    let defaults = (app.default_limit(), app.tax()?);
    let mut named = HashSet::new();
    for (word, amount) in &wanted {
        let account = match cloud::resolve_account(&mut tx, word).await {
            Ok(account) => account,
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        // A project shares its owner's limit: two lines for one payer would leave it to their order which of them counts.
        if !named.insert(account.payer_id) {
            problems.push(format!("{} (or who pays for it) is named twice; one limit counts", account.full_name()));
            continue;
        }
        let after = match amount.as_str() {
            "none" => None,
            text => match Money::parse(text) {
                Ok(amount) if amount.is_negative() => {
                    problems.push(format!("{word}: a credit limit can not be negative; 0 is prepaid"));
                    continue;
                }
                Ok(amount) => Some(amount),
                Err(error) => {
                    problems.push(format!("{word}: {error}"));
                    continue;
                }
            },
        };
        let before = known.get(&account.payer_id).copied();
        let changed = before != Some(after);
        if changed {
            let key = format!("limit/{}", app.random.uuid());
            let cause = Cause { key: &key, author: &who, reason };
            post::set_limit(&mut tx, account.payer_id, after, cause, defaults, now).await?;
        }
        let shown = |limit: Option<Money>| limit.map(|limit| app.config.billing.currency.format_plain(limit));
        changes.push(LimitChange {
            account: account.full_name(),
            before: shown(before.unwrap_or(defaults.0)),
            after: shown(after),
            changed,
        });
    }
    if !problems.is_empty() {
        bail!("nothing was changed:\n  {}", problems.join("\n  "));
    }
    if !dry_run {
        wake(app, &mut tx).await?;
        tx.commit().await?;
    }
    context.show(&changes, |changes| {
        let words = |limit: &Option<String>| limit.clone().unwrap_or_else(|| "not managed".to_owned());
        let rows = changes
            .iter()
            .map(|change| {
                let done = if change.changed { "changed" } else { "as before" };
                [change.account.clone(), words(&change.before), words(&change.after), done.to_owned()]
            })
            .collect();
        let note = if dry_run { "\nDry run: nothing was changed." } else { "" };
        format!("{}{note}", output::table(["account", "limit before", "limit", ""], rows))
    })
}

/// `bursar notice`
pub async fn notices(context: &Context, word: Option<&str>) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let mut tx = app.store.begin().await?;
    let account = match word {
        Some(word) => Some(cloud::resolve_account(&mut tx, word).await?.id),
        None => None,
    };
    let notices = enforcement::list_notices(&mut tx, account, 200).await?;
    let mut rows = Vec::new();
    for notice in &notices {
        let account = cloud::get_account(&mut tx, AccountId::new(notice.account_id)).await?;
        let when = |ms: i64| Timestamp::from_ms(ms).display_in(app.config.billing.zone);
        let reached = match (notice.dry_run, notice.arrived_ms, notice.seen_ms, notice.no_address_ms) {
            (1, ..) => "dry run".to_owned(),
            (_, Some(at), ..) => format!("mailed {}", when(at)),
            (_, None, Some(at), _) => format!("seen {}", when(at)),
            (_, None, None, Some(_)) => "nobody to write to".to_owned(),
            _ => "recorded".to_owned(),
        };
        rows.push([when(notice.recorded_ms), account.full_name(), reached, notice.sentence.clone()]);
    }
    context
        .show(&notices, |_| output::table(["when", "account", "how far it got", "what the tenant is told"], rows))?;
    Ok(ExitCode::SUCCESS)
}
