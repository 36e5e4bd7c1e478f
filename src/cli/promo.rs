//! Promo codes and offers.

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::{
    Context,
    args::{PromoArgs, PromoCommand},
    author, output,
    payments::{day_start, usage_type, wake},
};
use crate::{
    jobs::{App, work},
    ledger::{
        booking::Cause,
        promo::{self, NewPromo, Outcome},
        rules::codes::{Code, Worth},
    },
    money::Money,
    store::{
        Tx, cloud,
        promo::{Promo, list_promos, list_redemptions},
    },
    time::Timestamp,
};

/// Codes and redemptions listed at most.
const MAX_LISTED: i64 = 1_000;

/// `bursar promo …`
pub async fn promo(context: &Context, command: PromoCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    let now = app.clock.now();
    match command {
        PromoCommand::Create(args) => create(context, &app, *args).await?,
        PromoCommand::List { all } => {
            let mut tx = app.store.read().await?;
            let promos = list_promos(&mut tx, now, all, false, MAX_LISTED).await?;
            show_list(context, &app, &promos)?;
        }
        PromoCommand::Show { code } => show(context, &app, &code).await?,
        PromoCommand::Close { code } => {
            let mut tx = app.store.begin().await?;
            let closed = promo::close(&mut tx, &code, &author(), now).await?;
            tx.commit().await?;
            let value = serde_json::json!({ "code": code, "closed_now": closed });
            context.show(&value, |_| if closed { "Closed." } else { "It was closed before." }.to_owned())?;
        }
        PromoCommand::Redeem { account, code, key } => redeem(context, &app, &account, &code, key).await?,
        PromoCommand::Offers { account } => {
            let mut tx = app.store.read().await?;
            let found = cloud::resolve_account(&mut tx, &account).await?;
            let offers = promo::list_offers(&mut tx, &found, now).await?;
            show_list(context, &app, &offers)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(context: &Context, app: &App, args: PromoArgs) -> anyhow::Result<()> {
    let now = app.clock.now();
    let money = |text: Option<&String>| text.map(|text| Money::parse(text)).transpose();
    let worth = match (money(args.amount.as_ref())?, &args.percent) {
        (Some(amount), _) => Worth::Amount(amount),
        (None, Some(text)) => Worth::Percent {
            percent: text.parse().ok().with_context(|| format!("\"{text}\" is not a percentage such as 10 or 12.5"))?,
            most: money(args.max.as_ref())?,
        },
        (None, None) => bail!("say --amount or --percent"),
    };
    let mut tx = app.store.begin().await?;
    let mut domains = Vec::new();
    for word in &args.domains {
        domains.push(domain(&mut tx, word).await?);
    }
    domains.sort_unstable();
    domains.dedup();
    let terms = Code {
        worth,
        valid_from: args.from.as_deref().map(|text| day_start(app, text)).transpose()?.unwrap_or(now),
        valid_until: args.until.as_deref().map(|text| day_start(app, text)).transpose()?,
        total_uses: args.uses,
        uses_per_account: args.per_account,
        min_payment: money(args.min_payment.as_ref())?.unwrap_or(Money::ZERO),
        domains,
        closed: false,
        uses: 0,
    };
    let new = NewPromo {
        code: args.code,
        terms,
        public: args.public,
        grant_days: args.days,
        grant_scope: args.scope.as_deref().map(usage_type).transpose()?,
        grant_priority: args.priority,
        note: args.note,
    };
    let made = promo::create(&mut tx, new, &author(), now).await?;
    tx.commit().await?;
    context.show(&json(app, &made), |_| format!("{} is made: {}.", made.code, worth_words(app, &made)))
}

/// CloudStack's id of the domain that a person means by its path or id.
async fn domain(tx: &mut Tx, word: &str) -> anyhow::Result<String> {
    cloud::list_domains(tx)
        .await?
        .into_iter()
        .find(|domain| domain.cloud_id == word || domain.path == word)
        .map(|domain| domain.cloud_id)
        .with_context(|| format!("there is no domain \"{word}\"; write its path, such as ROOT/acme, or its id"))
}

async fn redeem(context: &Context, app: &App, account: &str, code: &str, key: Option<String>) -> anyhow::Result<()> {
    let who = author();
    let key = key.unwrap_or_else(|| app.random.uuid().to_string());
    let mut tx = app.store.begin().await?;
    let found = cloud::resolve_account(&mut tx, account).await?;
    let cause = Cause { key: &key, author: &who, reason: "redeemed at the command line" };
    let defaults = (app.default_limit(), app.tax()?);
    let redeemed = promo::redeem(&mut tx, &found, code, cause, defaults, app.clock.now()).await?;
    wake(app, &mut tx).await?;
    tx.commit().await?;
    let currency = &app.config.billing.currency;
    let (grant, amount) = match redeemed.outcome {
        Outcome::Granted { grant, amount } => (Some(grant), Some(amount)),
        Outcome::Waiting { .. } => (None, None),
    };
    let value = serde_json::json!({
        "redemption": redeemed.redemption, "code": redeemed.code, "grant": grant,
        "amount": amount.map(|amount| amount.to_string()), "available": redeemed.figures.available.to_string(),
        "repeated": redeemed.repeated,
    });
    context.show(&value, |_| match &redeemed.outcome {
        Outcome::Granted { grant, amount } => {
            let available = currency.format(redeemed.figures.available);
            format!("{} gave {} (grant {grant}). Available {available}.", redeemed.code, currency.format(*amount))
        }
        Outcome::Waiting { min_payment, until, .. } => {
            let least = if min_payment.is_positive() {
                format!(" of at least {}", currency.format(*min_payment))
            } else {
                String::new()
            };
            let until = until
                .map_or_else(String::new, |until| format!(" before {}", until.display_in(app.config.billing.zone)));
            format!("{} counts with the next payment{least}{until}.", redeemed.code)
        }
    })
}

fn worth_words(app: &App, promo: &Promo) -> String {
    let currency = &app.config.billing.currency;
    match promo.terms.worth {
        Worth::Amount(amount) => currency.format(amount),
        Worth::Percent { percent, most } => {
            let most = most.map_or_else(String::new, |most| format!(", {} at most", currency.format(most)));
            format!("{percent} % of a payment{most}")
        }
    }
}

fn json(app: &App, promo: &Promo) -> serde_json::Value {
    let (amount, percent, most) = match promo.terms.worth {
        Worth::Amount(amount) => (Some(amount.to_string()), None, None),
        Worth::Percent { percent, most } => (None, Some(percent.to_string()), most.map(|most| most.to_string())),
    };
    serde_json::json!({
        "code": promo.code,
        "amount": amount,
        "percent": percent,
        "maximum": most,
        "currency": app.config.billing.currency.code(),
        "valid_from_ms": promo.terms.valid_from.as_ms(),
        "valid_until_ms": promo.terms.valid_until.map(Timestamp::as_ms),
        "uses": promo.terms.uses,
        "total_uses": promo.terms.total_uses,
        "uses_per_account": promo.terms.uses_per_account,
        "min_payment": promo.terms.min_payment.to_string(),
        "domains": promo.terms.domains,
        "public": promo.public,
        "grant_days": promo.grant_days,
        "grant_scope": promo.grant_scope.map(work::slug_of),
        "grant_priority": promo.grant_priority,
        "ended": promo.terms.has_ended(app.clock.now()),
        "note": promo.note,
        "author": promo.author,
    })
}

fn line(app: &App, promo: &Promo) -> [String; 8] {
    let zone = app.config.billing.zone;
    let uses = promo
        .terms
        .total_uses
        .map_or_else(|| promo.terms.uses.to_string(), |total| format!("{} of {total}", promo.terms.uses));
    [
        promo.code.clone(),
        worth_words(app, promo),
        if promo.terms.has_ended(app.clock.now()) { "ended" } else { "open" }.to_owned(),
        promo.terms.valid_until.map_or_else(|| "never".to_owned(), |until| until.display_in(zone)),
        uses,
        if promo.terms.min_payment.is_positive() {
            app.config.billing.currency.format(promo.terms.min_payment)
        } else {
            String::new()
        },
        if promo.public { "offer" } else { "" }.to_owned(),
        promo.note.clone(),
    ]
}

const HEAD: [&str; 8] = ["code", "gives", "", "until", "used", "with a payment of", "", "note"];

fn show_list(context: &Context, app: &App, promos: &[Promo]) -> anyhow::Result<()> {
    let values: Vec<_> = promos.iter().map(|promo| json(app, promo)).collect();
    context.show(&values, |_| output::table(HEAD, promos.iter().map(|promo| line(app, promo)).collect()))
}

async fn show(context: &Context, app: &App, code: &str) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let found = promo::get(&mut tx, code).await?;
    let redemptions = list_redemptions(&mut tx, Some(found.id), None, MAX_LISTED).await?;
    let mut lines = Vec::new();
    for row in &redemptions {
        let account = cloud::get_account(&mut tx, row.account_id).await?;
        lines.push([
            Timestamp::from_ms(row.redeemed_ms).display_in(app.config.billing.zone),
            account.full_name(),
            row.author.clone(),
            row.amount_micros.map_or_else(
                || "waits for a payment".to_owned(),
                |micros| app.config.billing.currency.format(Money::from_micros(micros)),
            ),
        ]);
    }
    let value = serde_json::json!({ "promo": json(app, &found), "redemptions": redemptions });
    context.show(&value, |_| {
        let table = output::table(HEAD, vec![line(app, &found)]);
        format!("{table}\n\nRedemptions\n{}", output::table(["when", "account", "by", "gave"], lines))
    })
}
