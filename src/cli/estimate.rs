//! Live figures at the command line: what runs now costs, where the month is going, and how good the estimates were.

use std::{collections::BTreeMap, process::ExitCode};

use super::{Context, output};
use crate::{
    estimate::{
        forecast::Range,
        price::{self, Miss},
    },
    ids::{AccountId, PayerId},
    jobs::{
        App,
        estimate::{self, PayerOutlook},
        work::slug_of,
    },
    money::{Currency, Money},
    store::{cloud, live},
    time::Timestamp,
};

/// `bursar estimate`
pub async fn estimate(context: &Context, account: Option<&str>, error: bool) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let account = match account {
        Some(word) => {
            let mut tx = app.store.read().await?;
            Some(cloud::resolve_account(&mut tx, word).await?)
        }
        None => None,
    };
    if error {
        misses(context, &app, account.map(|account| account.id)).await?;
    } else {
        figures(context, &app, account.map(|account| account.payer_id)).await?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(serde::Serialize)]
struct LiveLine {
    usage_type: String,
    things: u64,
    net: String,
    net_per_day: String,
    unpriced: u64,
}

#[derive(serde::Serialize)]
struct Figure {
    low: String,
    expected: String,
    high: String,
}

#[derive(serde::Serialize)]
struct Days {
    low: Option<i64>,
    expected: Option<i64>,
    high: Option<i64>,
}

#[derive(serde::Serialize)]
struct PayerLine {
    payer: String,
    lines: Vec<LiveLine>,
    since: String,
    live_per_day: String,
    per_day: Option<Figure>,
    month: Option<Figure>,
    days_left: Option<Days>,
    available: String,
}

fn figure(currency: &Currency, range: Range<Money>) -> Figure {
    let shown = |amount: Money| currency.format_plain(amount);
    Figure { low: shown(range.low), expected: shown(range.expected), high: shown(range.high) }
}

fn payer_line(app: &App, payer: &PayerOutlook) -> PayerLine {
    let currency = &app.config.billing.currency;
    let nanos = |nanos: i64| currency.format_plain(Money::round_from_nanos(nanos));
    let lines = payer
        .lines
        .iter()
        .map(|(usage_type, line)| LiveLine {
            usage_type: slug_of(i64::from(*usage_type)),
            things: line.things,
            net: nanos(line.net_nanos),
            net_per_day: nanos(line.per_day_nanos),
            unpriced: line.unpriced,
        })
        .collect();
    PayerLine {
        payer: payer.name.clone(),
        lines,
        since: currency.format_plain(payer.since),
        live_per_day: currency.format_plain(payer.live_per_day),
        per_day: payer.forecast.map(|forecast| figure(currency, forecast.per_day)),
        month: payer.forecast.map(|forecast| figure(currency, forecast.month)),
        days_left: payer.forecast.map(|forecast| Days {
            low: forecast.days_left.low,
            expected: forecast.days_left.expected,
            high: forecast.days_left.high,
        }),
        available: currency.format_plain(payer.available),
    }
}

async fn figures(context: &Context, app: &App, payer: Option<PayerId>) -> anyhow::Result<()> {
    let outlook = estimate::outlook(app, payer).await?;
    let zone = app.config.billing.zone;
    let code = app.config.billing.currency.code();
    let payers: Vec<PayerLine> = outlook.payers.iter().map(|payer| payer_line(app, payer)).collect();
    let lists: Vec<serde_json::Value> = outlook
        .estimate
        .lists
        .iter()
        .map(|list| {
            serde_json::json!({
                "list": list.list, "things": list.things, "read": list.complete_ms, "note": list.note,
            })
        })
        .collect();
    let value = serde_json::json!({
        "estimate": true, "from": outlook.estimate.from, "until": outlook.estimate.until, "currency": code,
        "payers": payers, "lists": lists, "notes": outlook.notes,
    });
    context.show(&value, |_| {
        let mut text = match (payer, payers.first()) {
            (Some(_), Some(line)) => one_payer(line),
            _ => all_payers(&payers),
        };
        text.push_str(&format!(
            "\nEstimates in {code}, with tax, by what was running since {} (the end of fetched usage). Not part of Available \
             or Used, and nothing is suspended by them.",
            outlook.estimate.from.display_in(zone)
        ));
        for note in &outlook.notes {
            text.push_str(&format!("\nNote: {note}."));
        }
        text
    })
}

fn days(days: Option<&Days>) -> String {
    let word = |days: Option<i64>| days.map_or_else(|| "∞".to_owned(), |days| days.to_string());
    days.map_or_else(String::new, |days| {
        if days.low == days.high {
            word(days.expected)
        } else {
            format!("{} ({} to {})", word(days.expected), word(days.low), word(days.high))
        }
    })
}

fn range(figure: Option<&Figure>) -> String {
    figure.map_or_else(String::new, |figure| {
        if figure.low == figure.high {
            figure.expected.clone()
        } else {
            format!("{} ({} to {})", figure.expected, figure.low, figure.high)
        }
    })
}

fn all_payers(payers: &[PayerLine]) -> String {
    let rows = payers
        .iter()
        .map(|payer| {
            [
                payer.payer.clone(),
                payer.lines.iter().map(|line| line.things).sum::<u64>().to_string(),
                payer.since.clone(),
                range(payer.per_day.as_ref()),
                range(payer.month.as_ref()),
                payer.available.clone(),
                days(payer.days_left.as_ref()),
            ]
        })
        .collect();
    output::table(["payer", "things", "since", "a day", "whole month", "Available", "days left"], rows)
}

fn one_payer(payer: &PayerLine) -> String {
    let rows = payer
        .lines
        .iter()
        .map(|line| {
            let unpriced =
                if line.unpriced == 0 { String::new() } else { format!("{} without a price", line.unpriced) };
            [line.usage_type.clone(), line.things.to_string(), line.net.clone(), line.net_per_day.clone(), unpriced]
        })
        .collect();
    format!(
        "{}, estimated\n{}\n  since then        {}\n  a day             {}\n  whole month       {}\n  Balance available {}\n  \
         days left         {}\n",
        payer.payer,
        output::table(["type", "things", "net since", "net a day", ""], rows),
        payer.since,
        range(payer.per_day.as_ref()),
        range(payer.month.as_ref()),
        payer.available,
        days(payer.days_left.as_ref()),
    )
}

#[derive(serde::Serialize)]
struct WindowLine {
    from: Timestamp,
    until: Timestamp,
    estimated: String,
    rated: String,
    difference: String,
    percent: Option<String>,
}

/// `bursar estimate --error`
async fn misses(context: &Context, app: &App, account: Option<AccountId>) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let windows = live::list_windows(&mut tx, account).await?;
    tx.commit().await?;
    let sums: BTreeMap<(Timestamp, Timestamp), (i64, i64)> = live::by_window(&windows).into_iter().collect();
    let zone = app.config.billing.zone;
    let currency = &app.config.billing.currency;
    let shown = |nanos: i64| currency.format_plain(Money::round_from_nanos(nanos));
    let mut all: Vec<Miss> = Vec::new();
    let mut lines = Vec::new();
    for ((from, until), (estimated, rated)) in sums.into_iter().rev() {
        let miss = price::miss(estimated, rated);
        all.push(miss);
        lines.push(WindowLine {
            from,
            until,
            estimated: shown(estimated),
            rated: shown(rated),
            difference: shown(miss.difference_nanos),
            percent: miss.percent.map(|percent| percent.to_string()),
        });
    }
    let mean = price::mean_percent(&all).map(|mean| mean.to_string());
    let value = serde_json::json!({
        "windows": lines, "mean_percent": mean, "currency": currency.code(),
    });
    context.show(&value, |_| {
        if lines.is_empty() {
            return "Nothing to compare yet: an estimate is compared once the usage of its time has come.".to_owned();
        }
        let rows = lines
            .iter()
            .map(|line| {
                [
                    line.from.display_in(zone),
                    line.until.display_in(zone),
                    line.estimated.clone(),
                    line.rated.clone(),
                    line.difference.clone(),
                    line.percent.as_ref().map_or_else(String::new, |percent| format!("{percent} %")),
                ]
            })
            .collect();
        let table = output::table(["from", "until", "estimated", "by records", "records less estimate", ""], rows);
        let mean = mean.map_or_else(String::new, |mean| format!(" On average {mean} % off, whatever the direction."));
        format!("{table}\nNet amounts in {} of what the live lists stand for.{mean}", currency.code())
    })
}
