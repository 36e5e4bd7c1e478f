//! `bursar explain`: walks from Available down to records and price lines.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono_tz::Tz;

use super::{Context, args::ExplainArgs, output};
use crate::{
    jobs::{App, work},
    ledger::rules::{Figures, Position},
    money::{Currency, Money},
    rating::{
        desk::Desk,
        explain::{self, DayLines, Line},
        tax::TaxRate,
    },
    store::{Tx, cloud, explain as rows, ledger, rating},
    time::{Day, Timestamp},
    usage::types::{Quantity, UsageType},
};

/// Days of charges that are listed under the figures.
const DAYS_SHOWN: i64 = 31;

#[derive(serde::Serialize)]
struct Step {
    /// What it is.
    what: String,
    amount: String,
    /// Where it comes from.
    from: String,
}

#[derive(serde::Serialize)]
struct ChargeRow {
    day: String,
    account: String,
    #[serde(rename = "type")]
    usage_type: String,
    records: i64,
    net: String,
    tax_percent: Option<String>,
    posted: String,
    state: String,
    postings: Vec<String>,
}

#[derive(serde::Serialize)]
struct Explained {
    account: String,
    payer: String,
    at: Timestamp,
    currency: String,
    available: String,
    steps: Vec<Step>,
    charges: Vec<ChargeRow>,
    notes: Vec<String>,
}

/// `bursar explain`
pub async fn explain(context: &Context, args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let mut tx = app.store.read().await?;
    let account = cloud::resolve_account(&mut tx, &args.account).await?;
    if let Some(day) = &args.day {
        return explain_day(context, &app, &mut tx, &account, day, args.usage_type.as_deref()).await;
    }
    let zone = app.config.billing.zone;
    let at = match &args.at {
        Some(text) => Timestamp::parse(text, zone)
            .with_context(|| format!("\"{text}\" is not an instant such as 2026-11-01 or 2026-11-01T12:00:00Z"))?,
        None => app.clock.now(),
    };
    let explained = figures(&app, &mut tx, &account, at, args.at.is_none()).await?;
    context.show(&explained, |explained| text(explained, zone))?;
    Ok(ExitCode::SUCCESS)
}

async fn figures(
    app: &App,
    tx: &mut Tx,
    account: &cloud::Account,
    at: Timestamp,
    is_now: bool,
) -> anyhow::Result<Explained> {
    let currency = &app.config.billing.currency;
    let zone = app.config.billing.zone;
    let shown = |amount: Money| currency.format_plain(amount);
    let payer = cloud::get_payer(tx, account.payer_id).await?;
    let mut steps = Vec::new();
    let limit = rows::find_limit_at(tx, payer.id, at).await?;
    let limit_amount = if let Some((amount, author, reason, since)) = &limit {
        let from = format!("set by {author} on {}: {reason}", since.display_in(zone));
        let what = if amount.is_some() { "credit limit" } else { "no credit limit: not managed" };
        steps.push(Step { what: what.to_owned(), amount: shown(amount.unwrap_or(Money::ZERO)), from });
        *amount
    } else {
        let default = app.default_limit();
        let from = if default.is_some() { "the configured default" } else { "none set and no default: not managed" };
        let amount = shown(default.unwrap_or(Money::ZERO));
        steps.push(Step { what: "credit limit".to_owned(), amount, from: from.to_owned() });
        default
    };
    let sums = rows::list_kind_sums(tx, payer.id, at).await?;
    let mut grants = Vec::new();
    for (_, grant) in ledger::list_grants(tx, Some(payer.id)).await? {
        let left = Money::sum(
            sums.iter().filter(|sum| sum.grant_id == Some(grant.id)).map(|sum| Money::from_micros(sum.amount_micros)),
        )?;
        let ends = grant.ends.map_or_else(|| "no end".to_owned(), |ends| format!("until {}", ends.display_in(zone)));
        let scope = grant.scope_usage_type.map(work::slug_of);
        let state = if grant.is_active(at) { "" } else { ", not active" };
        let counts = grant.is_active(at) && scope.is_none();
        let scoped = scope.map_or_else(String::new, |slug| format!(", only for {slug}: not part of Available"));
        if grant.starts <= at {
            steps.push(Step {
                what: format!("{} grant {}: what is left", if counts { "+" } else { " " }, grant.id),
                amount: shown(left),
                from: format!("of {}, {ends}{state}{scoped}", shown(grant.amount)),
            });
        }
        grants.push(crate::ledger::rules::Grant { left, ..grant });
    }
    let mut money = Money::ZERO;
    for sum in sums.iter().filter(|sum| sum.source == "payer") {
        let amount = Money::from_micros(sum.amount_micros);
        money = money.plus(amount)?;
        let transfers =
            if sum.transfers == 1 { "1 transfer".to_owned() } else { format!("{} transfers", sum.transfers) };
        steps.push(Step { what: format!("+ money: {}", sum.kind), amount: shown(amount), from: transfers });
    }
    let accounts: Vec<cloud::Account> =
        cloud::list_accounts(tx).await?.into_iter().filter(|other| other.payer_id == payer.id).collect();
    let tax = app.tax()?;
    let mut accrued = Money::ZERO;
    let mut notes = Vec::new();
    if is_now {
        let owns = |id: i64| accounts.iter().any(|account| account.id.get() == id);
        for charge in rating::list_unsettled(tx, None, i64::MAX).await?.iter().filter(|charge| owns(charge.account_id))
        {
            accrued = accrued.plus(open(charge, tax)?)?;
        }
        steps.push(Step {
            what: "− accrued".to_owned(),
            amount: shown(accrued.negated()?),
            from: "rated with tax, and not posted yet".to_owned(),
        });
    } else {
        notes.push("What was rated and not posted at that time is not kept, so it is not in it.".to_owned());
    }
    let position = Position { limit: limit_amount, grants, money, accrued, epoch_available: None };
    let figures = Figures::of(&position, at)?;
    let charges = charges(tx, &accounts, at, zone, currency).await?;
    Ok(Explained {
        account: account.full_name(),
        payer: payer.name,
        at,
        currency: currency.code().to_owned(),
        available: shown(figures.available),
        steps,
        charges,
        notes,
    })
}

fn open(charge: &rating::ChargeDay, tax: TaxRate) -> anyhow::Result<Money> {
    let net = Money::round_from_nanos(charge.net_nanos);
    let rate = charge.tax_percent.as_deref().and_then(|text| TaxRate::parse(text).ok()).unwrap_or(tax);
    let posted = Money::from_micros(charge.posted_net_micros).plus(Money::from_micros(charge.posted_tax_micros))?;
    Ok(net.plus(rate.of(net)?)?.minus(posted)?)
}

async fn charges(
    tx: &mut Tx,
    accounts: &[cloud::Account],
    at: Timestamp,
    zone: Tz,
    currency: &Currency,
) -> anyhow::Result<Vec<ChargeRow>> {
    let today = Day::of(at, zone).context("the instant lies beyond the calendar")?;
    let first = Day::from_number(today.number() - DAYS_SHOWN);
    let mut list = Vec::new();
    for account in accounts {
        for charge in rating::list_charges_between(tx, Some(account.id), first, today.next()).await? {
            let mut posted = Money::ZERO;
            let mut postings = Vec::new();
            for (transfer, _, kind, when, gross, _) in
                rows::list_postings(tx, charge.account_id, charge.day, charge.usage_type).await?
            {
                if when <= at.as_ms() {
                    let gross = Money::from_micros(gross);
                    posted = posted.plus(gross)?;
                    postings.push(format!("{kind} #{transfer} {}", currency.format_plain(gross)));
                }
            }
            let mut state = Vec::new();
            for (count, word) in [(charge.unpriced, "unpriced"), (charge.failed, "could not be priced")] {
                if count > 0 {
                    state.push(format!("{count} {word}"));
                }
            }
            state.extend(charge.issue.clone());
            // What is free, or before the first billing day, says nothing about a balance.
            if charge.net_nanos == 0 && postings.is_empty() && state.is_empty() {
                continue;
            }
            list.push(ChargeRow {
                day: Day::from_number(charge.day).to_string(),
                account: account.full_name(),
                usage_type: work::slug_of(charge.usage_type),
                records: charge.records,
                net: currency.format_plain(Money::round_from_nanos(charge.net_nanos)),
                tax_percent: charge.tax_percent,
                posted: currency.format_plain(posted),
                state: state.join(", "),
                postings,
            });
        }
    }
    list.sort_by(|a, b| (&b.day, &a.account, &a.usage_type).cmp(&(&a.day, &b.account, &b.usage_type)));
    Ok(list)
}

fn text(explained: &Explained, zone: Tz) -> String {
    let mut text = format!(
        "{} (payer {}): {} {} available at {}\n\n",
        explained.account,
        explained.payer,
        explained.available,
        explained.currency,
        explained.at.display_in(zone)
    );
    let rows = explained.steps.iter().map(|step| [step.what.clone(), step.amount.clone(), step.from.clone()]).collect();
    text.push_str(&output::table(["made of", "amount", "from"], rows));
    for note in &explained.notes {
        text.push_str(&format!("\n{note}"));
    }
    if explained.charges.is_empty() {
        text.push_str("\n\nNo charges in the last 31 days.");
        return text;
    }
    let rows = explained
        .charges
        .iter()
        .map(|row| {
            [
                row.day.clone(),
                row.account.clone(),
                row.usage_type.clone(),
                row.records.to_string(),
                row.net.clone(),
                row.tax_percent.clone().unwrap_or_default(),
                row.posted.clone(),
                row.postings.join(", "),
                row.state.clone(),
            ]
        })
        .collect();
    text.push_str("\n\nCharges of the last 31 days\n");
    text.push_str(&output::table(
        ["day", "account", "type", "records", "net", "tax %", "posted with tax", "transfers", "to know"],
        rows,
    ));
    text.push_str("\n`bursar explain ACCOUNT --day DATE` lists the records of a day and the price line behind each.");
    text
}

async fn explain_day(
    context: &Context,
    app: &App,
    tx: &mut Tx,
    account: &cloud::Account,
    day: &str,
    slug: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let day = day.parse().map(Day::from_date).with_context(|| format!("\"{day}\" is not a date such as 2026-11-01"))?;
    let usage_type = slug
        .map(|slug| {
            UsageType::from_slug(slug)
                .map(|kind| i64::from(kind.id))
                .with_context(|| format!("\"{slug}\" is no usage type of the price book, such as running-vm"))
        })
        .transpose()?;
    let settings = app.noted_rate_settings(tx).await?.context("no usage is known yet; run `bursar sync` first")?;
    let desk = Desk::open(tx, settings).await?;
    let lines = explain::explain_day(tx, &desk, account.id, day, usage_type).await?;
    let zone = app.config.billing.zone;
    context.show(&lines, |lines| day_text(lines, &account.full_name(), day, zone))?;
    Ok(ExitCode::SUCCESS)
}

fn day_text(day_lines: &DayLines, account: &str, day: Day, zone: Tz) -> String {
    if day_lines.lines.is_empty() {
        return format!("{account} has no usage records on {day}.");
    }
    let mut rows: Vec<[String; 8]> = Vec::new();
    let mut sum = 0_i64;
    for line in &day_lines.lines {
        let name = if line.name.is_empty() { line.resource.clone() } else { line.name.clone() };
        let row = |(start, end, used): (Timestamp, Timestamp, i64), amount: String, price: String| {
            [
                start.display_in(zone),
                end.display_in(zone),
                work::slug_of(line.usage_type),
                name.clone(),
                quantity(line, used),
                line.standing.to_owned(),
                amount,
                price,
            ]
        };
        if line.parts.is_empty() {
            let note = line.note.clone().unwrap_or_default();
            rows.push(row((line.start, line.end, line.charged), String::new(), note));
        }
        for part in &line.parts {
            sum = sum.saturating_add(part.amount_nanos);
            let discount =
                part.discount_percent.as_ref().map_or_else(String::new, |percent| format!(", less {percent} %"));
            let price = format!("line {}: {}{discount}", part.tariff_line, part.tariff);
            rows.push(row((part.start, part.end, part.quantity), nanos(part.amount_nanos), price));
        }
    }
    let book = day_lines.book.map_or_else(|| "no price book yet".to_owned(), |book| format!("price book {book}"));
    let closing = match day_lines.summed_up {
        Some(net) => format!(
            "Net, as charged: {}. The day is older than [billing] keep_records_days: its usage records are summed up by what was \
             used, and it is not priced again.",
            nanos(net)
        ),
        None => format!(
            "Net, all lines together: {}. The charge of a type is the exact sum of its lines, rounded once.",
            nanos(sum)
        ),
    };
    let table = output::table(["from", "until", "type", "resource", "quantity", "standing", "net", "price line"], rows);
    format!("{account} on {day}, by {book}\n{table}\n{closing}")
}

/// Billionths as a decimal without needless zeros.
fn nanos(nanos: i64) -> String {
    rust_decimal::Decimal::new(nanos, 9).normalize().to_string()
}

fn quantity(line: &Line, quantity: i64) -> String {
    let kind = i32::try_from(line.usage_type).ok().and_then(UsageType::from_id);
    match kind.map(|kind| kind.quantity) {
        Some(Quantity::Hours) => format!("{} h", rust_decimal::Decimal::new(quantity, 6).normalize()),
        Some(other) => format!("{quantity} {}", other.word()),
        None => quantity.to_string(),
    }
}
