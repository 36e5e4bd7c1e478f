//! `bursar preview`: what a period would have cost every payer, and what would have been decided.

use std::{
    collections::{BTreeMap, HashMap},
    process::ExitCode,
};

use anyhow::Context as _;
use rust_decimal::Decimal;

use super::{Context, output};
use crate::{
    ids::PayerId,
    jobs::work,
    ledger::rules::{Figures, Position},
    money::Money,
    policy::{Policy, decide::share_words, reached_by},
    rating::{
        Rated, TierUse,
        desk::{Desk, Pricing, Under},
        tax::TaxRate,
    },
    store::{cloud, ledger, policy, rating},
    time::{Day, Period, Timestamp},
};

const DAY_SECONDS: u64 = 86_400;

#[derive(serde::Serialize)]
struct PreviewLine {
    payer: String,
    net: String,
    tax: String,
    gross: String,
    limit: Option<String>,
    share: String,
    would: String,
}

/// What a payer's accounts come to.
#[derive(Default)]
struct Sum {
    net_nanos: i64,
    tax: Money,
    used: TierUse,
}

/// `bursar preview`
pub async fn preview(context: &Context, from: &str, to: &str) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let zone = app.config.billing.zone;
    let start = |text: &str| {
        Timestamp::parse(text, zone).with_context(|| format!("\"{text}\" is not a date such as 2026-11-01"))
    };
    let period = Period::new(start(from)?, start(to)?).context("--to must be later than --from")?;
    let (_, book) = work::load_price_book_text(&app)?;
    let mut tx = app.store.read().await?;
    let settings = app.noted_rate_settings(&mut tx).await?.context("no usage is known yet; run `bursar sync` first")?;
    let desk = Desk::open(&mut tx, settings).await?;
    let mut sums: HashMap<PayerId, Sum> = HashMap::new();
    let mut unpriced: BTreeMap<i64, u64> = BTreeMap::new();
    for account in cloud::list_accounts(&mut tx).await? {
        let sum = sums.entry(account.payer_id).or_default();
        let (terms, _) = desk.terms(&mut tx, account.id, &[], Under::Kept).await?;
        // The payer's accounts go on counting each other's tiers.
        let mut pricing = Pricing::new(&desk, &book, &terms, std::mem::take(&mut sum.used));
        let mut nets: BTreeMap<Day, i64> = BTreeMap::new();
        let records = rating::list_ratable(&mut tx, account.id, period.start(), period.end(), desk.reach_ms()).await?;
        for record in &records {
            match pricing.price_whole(&mut tx, record).await? {
                Ok(Rated::Charged(charge)) => {
                    for part in charge.parts() {
                        // A record across the edge counts by its days.
                        if part.day.start(zone).is_some_and(|at| at >= period.start() && at < period.end()) {
                            let net = nets.entry(part.day).or_default();
                            *net = net.checked_add(part.amount_nanos).context("the sum is beyond all measure")?;
                        }
                    }
                    if !charge.unpriced().is_empty() {
                        *unpriced.entry(record.usage_type).or_default() += 1;
                    }
                }
                Ok(Rated::Free) => {}
                Ok(Rated::Unpriced) | Err(_) => *unpriced.entry(record.usage_type).or_default() += 1,
            }
        }
        sum.used = pricing.into_used();
        for (day, net) in nets {
            let rate = TaxRate::parse(&desk.tax(&book, &terms, day, &[], Under::Kept))?;
            sum.net_nanos = sum.net_nanos.checked_add(net).context("the sum is beyond all measure")?;
            sum.tax = sum.tax.plus(rate.of(Money::round_from_nanos(net))?)?;
        }
    }
    let limits = ledger::list_limits(&mut tx).await?;
    let (ladders, classes) = (app.ladders(), policy::list_classes(&mut tx).await?);
    let currency = &app.config.billing.currency;
    let mut lines = Vec::new();
    for payer in cloud::list_payers(&mut tx).await? {
        let sum = sums.remove(&payer.id).unwrap_or_default();
        let (net, tax) = (Money::round_from_nanos(sum.net_nanos), sum.tax);
        let gross = net.plus(tax)?;
        let limit = limits.get(&payer.id).copied().unwrap_or(app.default_limit());
        let position = Position { limit, money: gross.negated()?, ..Position::default() };
        let figures = Figures::of(&position, app.clock.now())?;
        let would = match limit {
            None => "nothing: not managed".to_owned(),
            Some(_) => would(&ladders.of(classes.get(&payer.id).map(String::as_str), None), &figures),
        };
        lines.push(PreviewLine {
            payer: payer.name,
            net: currency.format_plain(net),
            tax: currency.format_plain(tax),
            gross: currency.format_plain(gross),
            limit: limit.map(|limit| currency.format_plain(limit)),
            share: share_words(figures.share()),
            would,
        });
    }
    let unpriced: BTreeMap<String, u64> =
        unpriced.into_iter().map(|(usage_type, count)| (work::slug_of(usage_type), count)).collect();
    let value =
        serde_json::json!({ "from": period.start(), "to": period.end(), "payers": lines, "unpriced": unpriced });
    context.show(&value, |_| {
        let rows = lines
            .iter()
            .map(|line| {
                [
                    line.payer.clone(),
                    line.net.clone(),
                    line.tax.clone(),
                    line.gross.clone(),
                    line.limit.clone().unwrap_or_else(|| "none".to_owned()),
                    line.share.clone(),
                    line.would.clone(),
                ]
            })
            .collect();
        let mut text = output::table(["payer", "net", "tax", "with tax", "limit", "of limit", "would"], rows);
        text.push_str(&format!("\nAmounts in {}. Nothing was stored, nothing was sent.", currency.code()));
        for (slug, count) in &unpriced {
            text.push_str(&format!("\nUnpriced: {slug} ({count} records)."));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What would have been decided about these figures.
fn would(policy: &Policy, figures: &Figures) -> String {
    let steps: Vec<String> = reached_by(policy, figures)
        .into_iter()
        .map(|(rung, delay)| match delay.as_secs() / DAY_SECONDS {
            0 => rung.word().to_owned(),
            1 => format!("{} after a day", rung.word()),
            days => format!("{} after {days} days", rung.word()),
        })
        .collect();
    let percent = figures.share().for_thresholds();
    if !steps.is_empty() {
        steps.join(", ")
    } else if policy.notify_percent.iter().any(|threshold| percent >= Decimal::from(*threshold)) {
        "notify".to_owned()
    } else {
        "nothing".to_owned()
    }
}
