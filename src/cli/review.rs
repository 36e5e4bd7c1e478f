//! What waits for a person: `bursar review …`.

mod charges;

use std::{collections::HashMap, process::ExitCode};

use anyhow::{Context as _, bail};

use super::{
    Context,
    args::{ChooseArgs, FilterArgs, ReviewCommand, RuleCommand},
    author, output,
    payments::wake_for,
};
use crate::{
    ids::AccountId,
    jobs::{App, work::slug_of},
    store::{
        Tx, cloud,
        review::{self as rows, Filter, Item, ReviewRaw, ReviewRecord, Rule},
    },
    time::{Day, Timestamp},
    usage::{
        correct::{self, Correction},
        record::RecordKey,
        review::{self, Author, Choice, Decided, NewRule, RowRef, from_stored},
        review_kind::Kind,
        types::UsageType,
    },
};

/// Items listed at most.
const MAX_ITEMS: i64 = 500;
/// Rows of an item shown at most.
const MAX_ROWS: i64 = 500;

/// What a running server does at once after something was decided: it prices, and looks whether somebody may be opened.
const PRICE_AND_LOOK: [&str; 2] = ["rate", "enforce"];

/// `bursar review`
pub async fn review(context: &Context, command: Option<ReviewCommand>) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command.unwrap_or(ReviewCommand::List { all: false, kind: None }) {
        ReviewCommand::List { all, kind } => list(context, &app, all, kind.as_deref()).await,
        ReviewCommand::Show { item } => show(context, &app, item).await,
        ReviewCommand::Release(args) => choose(context, &app, &args, Choice::Release).await,
        ReviewCommand::Reject(args) => choose(context, &app, &args, Choice::Reject).await,
        ReviewCommand::Correct { row, quantity, usage_type, account, reason } => {
            let row: RowRef = row.parse()?;
            let quantity = quantity.parse().with_context(|| format!("\"{quantity}\" is not a number such as 0.5"))?;
            let mut tx = app.store.begin().await?;
            let account = account_of(&mut tx, account.as_deref()).await?;
            let usage_type = usage_type.as_deref().map(type_of).transpose()?;
            let correction = Correction { quantity, usage_type, account };
            let who = author();
            let by = Author { name: &who, reason: &reason };
            let decided =
                correct::correct(&mut tx, row, correction, by, app.config.billing.zone, app.clock.now()).await?;
            wake_for(&app, &mut tx, &PRICE_AND_LOOK).await?;
            tx.commit().await?;
            shown(context, &decided)
        }
        ReviewCommand::Rule { command } => rule(context, &app, command).await,
    }
}

fn kind_of(slug: &str) -> anyhow::Result<Kind> {
    Kind::from_slug(slug).with_context(|| {
        let known: Vec<&str> = Kind::ALL.into_iter().map(Kind::slug).collect();
        format!("\"{slug}\" is no kind of review item; there are {}", known.join(", "))
    })
}

fn type_of(word: &str) -> anyhow::Result<&'static UsageType> {
    UsageType::from_slug(word).or_else(|| word.parse().ok().and_then(UsageType::from_id)).with_context(|| {
        format!("\"{word}\" is no usage type; they are named as in the price book, such as running-vm")
    })
}

async fn account_of(tx: &mut Tx, word: Option<&str>) -> anyhow::Result<Option<AccountId>> {
    Ok(match word {
        Some(word) => Some(cloud::resolve_account(tx, word).await?.id),
        None => None,
    })
}

fn day_text(number: Option<i64>) -> String {
    number.map_or_else(String::new, |number| Day::from_number(number).to_string())
}

fn days_text(item: &Item) -> String {
    match (item.first_day, item.last_day) {
        (first, last) if first == last => day_text(first),
        (first, last) => format!("{} to {}", day_text(first), day_text(last)),
    }
}

async fn list(context: &Context, app: &App, all: bool, kind: Option<&str>) -> anyhow::Result<ExitCode> {
    let kind = kind.map(kind_of).transpose()?;
    let mut tx = app.store.read().await?;
    let items = rows::list_items(&mut tx, all, kind, MAX_ITEMS).await?;
    context.show(&serde_json::json!({ "items": items }), |_| {
        let lines = items
            .iter()
            .map(|item| {
                let settled = item.verdict.clone().unwrap_or_else(|| item.state.clone());
                [
                    item.id.to_string(),
                    item.kind.clone(),
                    days_text(item),
                    format!("{} of {}", item.waiting, item.row_count),
                    item.accounts.to_string(),
                    settled,
                    item.reason.clone(),
                ]
            })
            .collect();
        let mut text = output::table(["item", "kind", "days", "rows waiting", "accounts", "state", "why"], lines);
        if items.iter().any(|item| item.state == "open") {
            text.push_str("\n`bursar review show ITEM` shows the rows; `release`, `reject` or `correct` settles them.");
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A row as shown to a person.
#[derive(serde::Serialize)]
struct RowLine {
    row: String,
    account: Option<String>,
    usage_type: String,
    resource: String,
    offering: Option<String>,
    from: Timestamp,
    until: Option<Timestamp>,
    reported: Option<String>,
    charged: Option<String>,
    estimate: Option<String>,
    came: i64,
    state: &'static str,
    why: Option<String>,
    raw: Option<String>,
}

fn record_line(record: &ReviewRecord, names: &HashMap<i64, String>) -> anyhow::Result<RowLine> {
    let key = <[u8; 16]>::try_from(record.key.as_slice()).ok().context("a record's key is not sixteen bytes")?;
    let quantity = |number: i64| from_stored(number, record.usage_type).to_string();
    let charged = (record.standing == 0).then(|| quantity(record.charged_quantity.unwrap_or(record.quantity)));
    Ok(RowLine {
        row: RowRef::Record(RecordKey::from_bytes(key)).to_string(),
        account: names.get(&record.account_id).cloned(),
        usage_type: slug_of(record.usage_type),
        resource: if record.name.is_empty() { record.resource.clone() } else { record.name.clone() },
        offering: record.offering.clone(),
        from: Timestamp::from_ms(record.start_ms),
        until: Some(Timestamp::from_ms(record.end_ms)),
        reported: Some(quantity(record.quantity)),
        charged,
        estimate: record.estimate.map(quantity),
        came: record.seen,
        state: match record.standing {
            0 => "charged",
            1 => "superseded",
            4 => "rejected",
            _ => "waits",
        },
        why: None,
        raw: None,
    })
}

fn raw_line(raw: &ReviewRaw, names: &HashMap<i64, String>) -> RowLine {
    RowLine {
        row: RowRef::Raw(raw.id).to_string(),
        account: raw.account_id.and_then(|id| names.get(&id).cloned()),
        usage_type: raw.usage_type.map_or_else(String::new, slug_of),
        resource: String::new(),
        offering: None,
        from: Timestamp::from_ms(raw.start_ms),
        until: None,
        reported: None,
        charged: None,
        estimate: None,
        came: raw.seen,
        state: match raw.state {
            0 => "waits",
            1 => "rejected",
            2 => "corrected",
            _ => "done with",
        },
        why: Some(raw.reason.clone()),
        raw: Some(raw.raw.clone()),
    }
}

async fn names(tx: &mut Tx) -> anyhow::Result<HashMap<i64, String>> {
    Ok(cloud::list_accounts(tx).await?.into_iter().map(|account| (account.id.get(), account.full_name())).collect())
}

async fn show(context: &Context, app: &App, id: i64) -> anyhow::Result<ExitCode> {
    let zone = app.config.billing.zone;
    let mut tx = app.store.read().await?;
    let item = rows::get_item(&mut tx, id).await?;
    let names = names(&mut tx).await?;
    if charges::is_about_charges(&item.kind) {
        return charges::show(context, app, &mut tx, &item, &names).await;
    }
    let mut lines = Vec::new();
    for record in rows::list_records_of(&mut tx, id, MAX_ROWS).await? {
        lines.push(record_line(&record, &names)?);
    }
    lines.extend(rows::list_raw_of(&mut tx, id, MAX_ROWS).await?.iter().map(|raw| raw_line(raw, &names)));
    context.show(&serde_json::json!({ "item": item, "rows": lines }), |_| {
        let mut text = format!(
            "Item {}, {} ({}): {}.\n{} of {} rows wait, of {} accounts.",
            item.id,
            item.kind,
            days_text(&item),
            item.reason,
            item.waiting,
            item.row_count,
            item.accounts
        );
        if let (Some(verdict), Some(who)) = (&item.verdict, &item.author) {
            let words = item.words.as_deref().unwrap_or_default();
            text.push_str(&format!(" Settled by {who} ({verdict}): {words}"));
        }
        let table = lines
            .iter()
            .map(|line| {
                let words = |text: &Option<String>| text.clone().unwrap_or_default();
                [
                    line.row.clone(),
                    words(&line.account),
                    line.usage_type.clone(),
                    line.why.clone().unwrap_or_else(|| line.resource.clone()),
                    line.from.display_in(zone),
                    line.until.map_or_else(String::new, |at| at.display_in(zone)),
                    words(&line.reported),
                    words(&line.charged),
                    words(&line.estimate),
                    line.state.to_owned(),
                ]
            })
            .collect();
        let head = ["row", "account", "type", "what", "from", "until", "reported", "charged", "estimate", "state"];
        text.push('\n');
        text.push_str(&output::table(head, table));
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn filter_of(tx: &mut Tx, item: Option<i64>, args: &FilterArgs) -> anyhow::Result<Filter> {
    let day = args
        .day
        .as_deref()
        .map(|text| {
            text.parse().map(Day::from_date).with_context(|| format!("\"{text}\" is not a date such as 2026-11-01"))
        })
        .transpose()?;
    Ok(Filter {
        item,
        kind: args.kind.as_deref().map(kind_of).transpose()?,
        account: account_of(tx, args.account.as_deref()).await?.map(AccountId::get),
        usage_type: args.usage_type.as_deref().map(type_of).transpose()?.map(|kind| i64::from(kind.id)),
        day,
    })
}

async fn choose(context: &Context, app: &App, args: &ChooseArgs, choice: Choice) -> anyhow::Result<ExitCode> {
    let who = author();
    let by = Author { name: &who, reason: &args.reason };
    let (zone, now) = (app.config.billing.zone, app.clock.now());
    let mut tx = app.store.begin().await?;
    if let Some(id) = args.item {
        let item = rows::get_item(&mut tx, id).await?;
        if charges::is_about_charges(&item.kind) {
            let account = account_of(&mut tx, args.filter.account.as_deref()).await?;
            let settled = charges::settle(&mut tx, &item, choice, account, by, now).await?;
            wake_for(app, &mut tx, &PRICE_AND_LOOK).await?;
            tx.commit().await?;
            return charges::shown(context, settled, choice);
        }
    }
    let filter = filter_of(&mut tx, args.item, &args.filter).await?;
    let decided = if args.row.is_empty() {
        review::decide(&mut tx, &filter, choice, by, zone, now).await?
    } else {
        let named = args.row.iter().map(|text| text.parse()).collect::<Result<Vec<RowRef>, _>>()?;
        review::decide_rows(&mut tx, &named, choice, by, zone, now).await?
    };
    wake_for(app, &mut tx, &PRICE_AND_LOOK).await?;
    tx.commit().await?;
    shown(context, &decided)
}

fn shown(context: &Context, decided: &Decided) -> anyhow::Result<ExitCode> {
    context.show(decided, |decided| {
        let mut text = format!(
            "{} rows decided. The next `bursar rate` charges accordingly.",
            decided.records.saturating_add(decided.raw_rows)
        );
        if decided.left > 0 {
            text.push_str(&format!(
                "\n{} rows can not be charged as they are: `bursar review correct` each, or reject them.",
                decided.left
            ));
        }
        for item in &decided.items {
            text.push_str(&format!("\nItem {}: {} of {} rows wait.", item.id, item.waiting, item.row_count));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn rule(context: &Context, app: &App, command: RuleCommand) -> anyhow::Result<ExitCode> {
    let (who, now) = (author(), app.clock.now());
    match command {
        RuleCommand::Add { verdict, kind, account, usage_type, reason } => {
            let choice = match verdict.as_str() {
                "release" => Choice::Release,
                "reject" => Choice::Reject,
                other => bail!("\"{other}\" is neither release nor reject"),
            };
            let mut tx = app.store.begin().await?;
            let new = NewRule {
                kind: kind_of(&kind)?,
                usage_type: usage_type.as_deref().map(type_of).transpose()?.map(|kind| kind.id),
                account: account_of(&mut tx, account.as_deref()).await?,
                choice,
            };
            let id = review::add_rule(&mut tx, new, Author { name: &who, reason: &reason }, now).await?;
            tx.commit().await?;
            context.show(&serde_json::json!({ "rule": id }), |_| {
                format!(
                    "Rule {id} decides about rows that come from now on. What waits already: `bursar review {verdict} --kind {kind}`."
                )
            })?;
        }
        RuleCommand::List => {
            let mut tx = app.store.read().await?;
            let rules = rows::list_rules(&mut tx).await?;
            let names = names(&mut tx).await?;
            context.show(&rules, |rules| {
                let line = |rule: &Rule| {
                    [
                        rule.id.to_string(),
                        rule.verdict.clone(),
                        rule.kind.clone(),
                        rule.usage_type.map_or_else(|| "any".to_owned(), slug_of),
                        rule.account_id
                            .map_or_else(|| "any".to_owned(), |id| names.get(&id).cloned().unwrap_or_default()),
                        rule.author.clone(),
                        rule.why.clone(),
                    ]
                };
                let lines = rules.iter().map(line).collect();
                output::table(["rule", "verdict", "kind", "type", "account", "by", "why"], lines)
            })?;
        }
        RuleCommand::Remove { id, reason } => {
            let mut tx = app.store.begin().await?;
            review::remove_rule(&mut tx, id, Author { name: &who, reason: &reason }, now).await?;
            tx.commit().await?;
            context.show(&serde_json::json!({ "removed": id }), |_| {
                format!("Rule {id} is out of force. What it decided stays decided.")
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
