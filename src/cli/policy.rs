//! The policy of everybody, of classes and of single payers.

use std::{collections::HashMap, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};

use super::{
    Context,
    args::{LeaveAloneArgs, PolicyCommand},
    author, output,
    payments::wake,
};
use crate::{
    enforcement::terms::{self, Whom, Word},
    ids::PayerId,
    jobs::App,
    ledger::{booking::Cause, payers},
    policy::{PolicyPatch, effective::Source},
    store::{
        Tx,
        cloud::{self, Account},
        payers as payer_rows,
        payers::PayerRow,
        policy::{self as rows, ExemptionRow, OverrideRow},
    },
    time::{Day, Timestamp},
};

/// `bursar policy …`
pub async fn policy(context: &Context, command: PolicyCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        PolicyCommand::Show { payer } => show(context, &app, payer.as_deref()).await?,
        PolicyCommand::Set { payer, key, value, reason, until } => {
            let until = until.map(|text| instant(&app, &text)).transpose()?;
            let who = author();
            let mut tx = app.store.begin().await?;
            let row = payers::resolve(&mut tx, &payer).await?;
            let word = Word { author: &who, reason: &reason, now: app.clock.now() };
            let (_, before) = terms::own_patch(&mut tx, &row, app.clock.now()).await?;
            let value = terms::set_value(&mut tx, &app.ladders(), &row, (&key, &value), until, word).await?;
            wake(&app, &mut tx).await?;
            tx.commit().await?;
            let replaced = before.into_iter().find(|set| set.key == key);
            let json = serde_json::json!({
                "payer": row.name, "key": key, "value": value, "until": until, "replaced": replaced,
            });
            context.show(&json, |_| {
                let mut text = format!("{key} is {value} for {}{}.", row.name, until_words(&app, until));
                if let (Some(_), Some(replaced)) = (until, &replaced) {
                    text.push_str(&format!(
                        " {}{} is replaced and does not come back then: class and default apply.",
                        replaced.value,
                        until_words(&app, replaced.until_ms)
                    ));
                }
                text
            })?;
        }
        PolicyCommand::Unset { payer, key, reason } => {
            let who = author();
            let mut tx = app.store.begin().await?;
            let row = payers::resolve(&mut tx, &payer).await?;
            let word = Word { author: &who, reason: &reason, now: app.clock.now() };
            if !terms::unset_value(&mut tx, &app.ladders(), &row, &key, word).await? {
                bail!("no {key} is set for {}; `bursar policy show {payer}` tells what applies", row.name);
            }
            wake(&app, &mut tx).await?;
            tx.commit().await?;
            let json = serde_json::json!({ "payer": row.name, "key": key });
            context.show(&json, |_| format!("{key} is no longer set for {}: class and default apply.", row.name))?;
        }
        PolicyCommand::Class { payer, class, reason } => class_of(context, &app, &payer, &class, &reason).await?,
        PolicyCommand::List => list(context, &app).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives a payer a class, or takes it away.
pub(super) async fn class_of(
    context: &Context,
    app: &App,
    payer: &str,
    class: &str,
    reason: &str,
) -> anyhow::Result<()> {
    let class = (class != "none").then_some(class);
    let ladders = app.ladders();
    if let Some(class) = class.filter(|class| !ladders.has_class(class)) {
        let known: Vec<&str> = ladders.class_names().collect();
        let known =
            if known.is_empty() { "there is none yet".to_owned() } else { format!("there are {}", known.join(", ")) };
        bail!("the configuration has no section [class.{class}]; {known}. Write it first");
    }
    let who = author();
    let mut tx = app.store.begin().await?;
    let row = payers::resolve(&mut tx, payer).await?;
    let (_, own) = terms::own_patch(&mut tx, &row, app.clock.now()).await?;
    if let Some(what) = terms::contradiction(&ladders, class, &own)? {
        bail!("with what is set for {} this contradicts itself: {what}. Nothing was changed", row.name);
    }
    let cause = Cause { key: "class", author: &who, reason };
    payers::set_class(&mut tx, row.id, class, cause, app.clock.now()).await?;
    wake(app, &mut tx).await?;
    tx.commit().await?;
    let json = serde_json::json!({ "payer": row.name, "class": class });
    context.show(&json, |_| match class {
        Some(class) => format!("{} is of class {class}.", row.name),
        None => format!("{} is of no class: the default applies.", row.name),
    })
}

/// `bursar account leave-alone …`
pub async fn leave_alone(context: &Context, app: &App, args: LeaveAloneArgs) -> anyhow::Result<()> {
    let who = author();
    let reason = args.reason.unwrap_or_default();
    let until = args.until.map(|text| instant(app, &text)).transpose()?;
    let mut tx = app.store.begin().await?;
    let account = cloud::resolve_account(&mut tx, &args.account).await?;
    let payer = payer_rows::find_payer_row(&mut tx, account.payer_id).await?.context("an account has no payer")?;
    let (whom, name) = if args.whole_payer {
        (Whom::Payer(&payer), format!("{} with all its accounts", payer.name))
    } else {
        (Whom::Account(&account), account.full_name())
    };
    let word = Word { author: &who, reason: &reason, now: app.clock.now() };
    match until {
        Some(until) => terms::leave_alone(&mut tx, whom, until, args.no_notices, word).await?,
        None if !terms::end_leave_alone(&mut tx, whom, word).await? => {
            let still = still_alone(app, &mut tx, &account, word.now).await?.unwrap_or_default();
            bail!(
                "nobody said to leave {name} alone by this; `bursar policy list` shows what was said of whom.{still}"
            );
        }
        None => {}
    }
    let still = still_alone(app, &mut tx, &account, word.now).await?;
    wake(app, &mut tx).await?;
    tx.commit().await?;
    let json = serde_json::json!({ "account": account.full_name(), "until": until, "no_notices": args.no_notices });
    context.show(&json, |_| match until {
        Some(_) => format!(
            "{name} is left alone{}: it is not restricted, locked or stopped{}. What was taken is given back as ever.",
            until_words(app, until),
            if args.no_notices { ", and gets no notices" } else { "" }
        ),
        None => match &still {
            Some(still) => format!("That has ended.{still}"),
            None => format!("{name} is no longer left alone."),
        },
    })
}

/// By which other word an account is left alone: what was said of it ends without what was said of its payer, and the other way round.
async fn still_alone(app: &App, tx: &mut Tx, account: &Account, now: Timestamp) -> anyhow::Result<Option<String>> {
    let about_it = |row: &ExemptionRow| match row.account_id {
        Some(of) => of == account.id,
        None => row.payer_id == account.payer_id,
    };
    let longest = rows::list_exemptions(tx, now).await?.into_iter().filter(about_it).max_by_key(|row| row.until_ms);
    Ok(longest.map(|row| {
        let name = account.full_name();
        let whole = if row.account_id.is_none() { " of its payer as a whole (--whole-payer)" } else { "" };
        let until = until_words(app, Some(row.until_ms));
        format!(" {name} is still left alone{until}, as {} said{whole}: {}", row.author, row.reason)
    }))
}

async fn show(context: &Context, app: &App, word: Option<&str>) -> anyhow::Result<()> {
    let ladders = app.ladders();
    let mut tx = app.store.read().await?;
    let now = app.clock.now();
    let (payer, own, overrides) = match word {
        Some(word) => {
            let row = payers::resolve(&mut tx, word).await?;
            let (own, overrides) = terms::own_patch(&mut tx, &row, now).await?;
            (Some(row), own, overrides)
        }
        None => (None, PolicyPatch::default(), Vec::new()),
    };
    let class = payer.as_ref().and_then(|payer| payer.class.clone());
    let alone = match &payer {
        Some(payer) => exemptions(&mut tx, payer, now).await?,
        None => Vec::new(),
    };
    let shown = ladders.explain(class.as_deref(), &own);
    let from = |key: &str, source: Source| match source {
        Source::Default => "default".to_owned(),
        Source::Class => format!("class {}", class.as_deref().unwrap_or_default()),
        Source::Own => overrides.iter().find(|row| row.key == key).map_or_else(String::new, |row| {
            format!("{}{}: {}", row.author, until_words(app, row.until_ms), row.reason)
        }),
    };
    let values: Vec<_> = shown
        .iter()
        .map(|shown| {
            serde_json::json!({ "key": shown.key, "value": shown.value, "from": from(shown.key, shown.source) })
        })
        .collect();
    let json = serde_json::json!({
        "payer": payer.as_ref().map(|payer| &payer.name), "class": class, "values": values, "left_alone": alone,
    });
    context.show(&json, |_| {
        let mut text = String::new();
        if let Some(payer) = &payer {
            let of_class = match class.as_deref() {
                Some(class) if ladders.has_class(class) => format!("of class {class}"),
                Some(class) => {
                    format!("of class {class}, which has no section in the configuration: no step down is taken")
                }
                None => "of no class".to_owned(),
            };
            text.push_str(&format!("{} (payer {}), {of_class}\n", payer.name, payer.id));
            for row in &alone {
                text.push_str(&format!("{}\n", alone_words(app, row)));
            }
        }
        let lines = shown
            .iter()
            .map(|shown| [shown.key.to_owned(), shown.value.clone(), from(shown.key, shown.source)])
            .collect();
        text.push_str(&output::table(["key", "value", "from"], lines));
        text
    })
}

async fn list(context: &Context, app: &App) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let now = app.clock.now();
    let payers: Vec<PayerRow> = payer_rows::list_payer_rows(&mut tx).await?;
    let names: HashMap<PayerId, &str> = payers.iter().map(|row| (row.id, row.name.as_str())).collect();
    let accounts: HashMap<_, _> =
        cloud::list_accounts(&mut tx).await?.into_iter().map(|account| (account.id, account.full_name())).collect();
    let overrides: Vec<OverrideRow> = rows::list_overrides(&mut tx, None, now).await?;
    let alone = rows::list_exemptions(&mut tx, now).await?;
    let classed: Vec<_> = payers.iter().filter(|row| row.class.is_some() && row.joined_into.is_none()).collect();
    let name = |payer: PayerId| names.get(&payer).copied().unwrap_or_default().to_owned();
    let json = serde_json::json!({
        "classes": classed.iter().map(|row| serde_json::json!({ "payer": row.name, "class": row.class })).collect::<Vec<_>>(),
        "values": overrides, "left_alone": alone,
    });
    context.show(&json, |_| {
        let mut lines: Vec<[String; 4]> = classed
            .iter()
            .map(|row| {
                [
                    row.name.clone(),
                    format!("class {}", row.class.as_deref().unwrap_or_default()),
                    String::new(),
                    String::new(),
                ]
            })
            .collect();
        lines.extend(overrides.iter().map(|row| {
            let until = row.until_ms.map_or_else(String::new, |until| until.display_in(app.config.billing.zone));
            [
                name(row.payer_id),
                format!("{} = {}", row.key, row.value),
                until,
                format!("{}: {}", row.author, row.reason),
            ]
        }));
        lines.extend(alone.iter().map(|row| {
            let whom = row
                .account_id
                .and_then(|account| accounts.get(&account).cloned())
                .unwrap_or_else(|| name(row.payer_id));
            let what = if row.no_notices == 1 { "left alone, no notices" } else { "left alone" };
            let until = row.until_ms.display_in(app.config.billing.zone);
            [whom, what.to_owned(), until, format!("{}: {}", row.author, row.reason)]
        }));
        if lines.is_empty() {
            return "The default applies to everybody; `bursar policy show` tells it.".to_owned();
        }
        output::table(["payer or account", "what differs", "until", "who and why"], lines)
    })
}

async fn exemptions(tx: &mut Tx, payer: &PayerRow, now: Timestamp) -> anyhow::Result<Vec<ExemptionRow>> {
    let accounts: Vec<_> = cloud::list_accounts(tx)
        .await?
        .into_iter()
        .filter(|account| account.payer_id == payer.id)
        .map(|account| account.id)
        .collect();
    let all = rows::list_exemptions(tx, now).await?;
    Ok(all
        .into_iter()
        .filter(|row| row.account_id.map_or(row.payer_id == payer.id, |account| accounts.contains(&account)))
        .collect())
}

fn alone_words(app: &App, row: &ExemptionRow) -> String {
    let whom = if row.account_id.is_some() { "an account of it" } else { "it" };
    let notices = if row.no_notices == 1 { ", without notices" } else { "" };
    format!(
        "{whom} is left alone{}{notices}, says {}: {}",
        until_words(app, Some(row.until_ms)),
        row.author,
        row.reason
    )
}

fn until_words(app: &App, until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| format!(" until {}", until.display_in(app.config.billing.zone)))
}

/// Reads a date, an instant, or a time from now: 12h, 3d, 2w.
pub(super) fn instant(app: &App, text: &str) -> anyhow::Result<Timestamp> {
    if let Some(at) = Timestamp::parse(text, app.config.billing.zone) {
        return Ok(at);
    }
    span(text).map(|span| app.clock.now().plus(span)).with_context(|| {
        format!("\"{text}\" is no time: write a date (2026-12-04), an instant (2026-12-04T12:00:00Z), or a time from now (12h, 3d, 2w)")
    })
}

/// As [`instant`], for what holds up to a day: a day that is named belongs to it, as on the pages.
pub(super) fn instant_or_day(app: &App, text: &str) -> anyhow::Result<Timestamp> {
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(Day::from_date);
    match day.and_then(|day| day.next().start(app.config.billing.zone)) {
        Some(end) => Ok(end),
        None => instant(app, text),
    }
}

fn span(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let hours = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 7 * 24,
        _ => return None,
    };
    let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
    u64::from(count).checked_mul(hours).map(Duration::from_hours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_from_now_has_a_unit() {
        assert_eq!(span("12h"), Some(Duration::from_hours(12)));
        assert_eq!(span("3d"), Some(Duration::from_hours(72)));
        assert_eq!(span("2w"), Some(Duration::from_hours(336)));
        for bad in ["", "d", "3", "-3d", "3.5d", "3m", "friday"] {
            assert_eq!(span(bad), None, "{bad}");
        }
    }
}
