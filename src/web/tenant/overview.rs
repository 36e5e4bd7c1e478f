//! What a tenant sees of the own account. Every query here is about [`Tenant::account`] or its payer.

use std::time::Duration;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    figures::{self, Figures},
    ladder::{Ladder, Present},
    usage,
};
use crate::web::{
    WebState,
    access::Tenant,
    chart::{self, Bar},
    error::Failure,
    pages::{self, Frame, Page},
    rights::See,
    session::SUSPENDED,
    spending::{self, Ask, By, period},
    warnings,
    words::{self, overview as text},
};
use crate::{
    jobs::app::App,
    ledger::standing::Standing,
    policy::Rung,
    rating::tax::TaxRate,
    store::{
        Tx,
        cloud::{self, Account, Payer},
        enforcement, ledger, notify, rating, runs,
    },
    time::{Day, Timestamp},
    usage::sync::settings,
};

/// Days of the chart.
const CHART_DAYS: i64 = 30;
/// Lines under "What happened lately".
const LATELY: usize = 12;
/// Resources under "What costs most".
const TOP: usize = 5;
/// Bookings looked through for them; charges are left out, the chart shows those.
const BOOKINGS_READ: i64 = 300;

struct Line {
    at: Timestamp,
    when: String,
    what: &'static str,
    detail: String,
    /// The notice behind it, if it is one.
    notice: Option<i64>,
}

/// One of the dearest resources.
struct Dear {
    name: String,
    service: String,
    cost: String,
    /// Where its records are, below the base path.
    records: Option<String>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    account: String,
    warnings: Vec<String>,
    suspended: Option<&'static str>,
    ways_out: Vec<(&'static str, &'static str)>,
    figures: Figures,
    width: String,
    percent: Option<String>,
    urgency: &'static str,
    ladder: Ladder,
    per_day: String,
    days_left: Option<i64>,
    up_to: Option<String>,
    next_update: Option<String>,
    sentence: String,
    bars: Vec<Bar>,
    top: Vec<Dear>,
    lately: Vec<Line>,
}

/// The tenant's first page.
pub(super) async fn page(State(state): State<WebState>, tenant: Tenant<See>) -> Result<Response, Failure> {
    let app = &state.app;
    let account = tenant.account();
    let mut tx = app.store.read().await?;
    let payer = cloud::get_payer(&mut tx, account.payer_id).await?;
    let standing = figures::standing_of(&mut tx, app, account).await?;
    let currency = &app.config.billing.currency;
    let share = standing.figures.share();
    let (width, percent) = pages::bar(share);
    let warnings = warnings::of_account(&mut tx, account).await?;
    let lately = lately(&mut tx, app, account, &standing).await?;
    let shown: Vec<i64> =
        warnings.iter().map(|warning| warning.id).chain(lately.iter().filter_map(|line| line.notice)).collect();
    let up_to = app.fetched_until(&mut tx).await?;
    let page = Overview {
        warnings: warnings.into_iter().map(|warning| warning.sentence).collect(),
        frame: Frame::around(&state, &tenant, Page::Overview),
        account: account.full_name(),
        suspended: suspended(&mut tx, account).await?,
        ways_out: ways_out(account),
        figures: Figures::of(&standing, app),
        width,
        percent,
        urgency: pages::urgency(share),
        ladder: ladder(&mut tx, app, account, &payer, &standing).await?,
        per_day: currency.format(standing.per_day),
        days_left: standing.days_left,
        up_to: up_to.map(|until| until.display_in(app.config.billing.zone)),
        next_update: next_update(&mut tx, app, up_to).await?,
        sentence: sentence(&mut tx, account, &standing).await?,
        bars: cost_by_day(&mut tx, app, account, &payer).await?,
        top: top(&mut tx, &state, account).await?,
        lately,
    };
    tx.commit().await?;
    let response = pages::show(&page)?;
    if tenant.sees_notices() {
        note_seen(app, account, &shown).await?;
    }
    Ok(response)
}

/// The ladder of the account, as far as it is armed for it. Nobody without a limit stands on one.
async fn ladder(
    tx: &mut Tx,
    app: &App,
    account: &Account,
    payer: &Payer,
    standing: &Standing,
) -> Result<Ladder, Failure> {
    if !standing.managed {
        return Ok(Ladder::default());
    }
    let policy = figures::policy_of(tx, app, payer).await?;
    let arming = crate::enforcement::arming(tx).await?;
    let holds = enforcement::list_holds(tx, Some(account.id)).await?;
    let rung = holds
        .iter()
        .filter(|hold| hold.owner == "billing")
        .filter_map(|hold| Rung::parse(&hold.rung))
        .max()
        .unwrap_or_default();
    let present = Present { share: standing.figures.share(), rung };
    let armed = |rung| arming.is_armed(rung, &account.domain_path);
    Ok(Ladder::of(&policy, armed, &present, &app.config.billing.currency))
}

/// When the figures are next renewed: the first sync after CloudStack's usage job has closed its next window.
async fn next_update(tx: &mut Tx, app: &App, up_to: Option<Timestamp>) -> Result<Option<String>, Failure> {
    let (Some(up_to), Some(schedule)) = (up_to, &app.config.jobs.sync) else { return Ok(None) };
    let range = runs::find_setting(tx, settings::RANGE_MINUTES).await?.and_then(|text| text.parse::<u64>().ok());
    let Some(range) = range else { return Ok(None) };
    let closed = up_to.plus(Duration::from_secs(range.saturating_mul(60)));
    let next = schedule.next_after(closed.max(app.clock.now()), app.config.jobs.zone);
    Ok(next.map(|at| at.display_in(app.config.billing.zone)))
}

/// The dearest resources of this month.
async fn top(tx: &mut Tx, state: &WebState, account: &Account) -> Result<Vec<Dear>, Failure> {
    let Some(today) = Day::of(state.app.clock.now(), state.app.config.billing.zone) else { return Ok(Vec::new()) };
    let ask = Ask { by: By::Resource.as_str().to_owned(), ..Ask::default() };
    let Ok(span) = period::choose(&ask, today) else { return Ok(Vec::new()) };
    let mut lines = Vec::new();
    for line in spending::figures(state, tx, account, &ask, span).await?.lines {
        lines.push((line.sum.cost.gross()?, line));
    }
    lines.retain(|(cost, _)| cost.is_positive());
    lines.sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.name.cmp(&b.name)));
    lines.truncate(TOP);
    let currency = &state.app.config.billing.currency;
    Ok(lines
        .into_iter()
        .map(|(cost, line)| Dear {
            service: line.usage_type.map_or_else(String::new, spending::service),
            cost: currency.format(cost),
            records: usage::records_of(&line),
            name: line.name,
        })
        .collect())
}

/// Notes which notices a person of the account has before the eyes now: a warning counts from then on.
async fn note_seen(app: &App, account: &Account, shown: &[i64]) -> Result<(), Failure> {
    let mut tx = app.store.read().await?;
    let mut unseen = Vec::new();
    for notice in shown {
        if notify::is_unseen(&mut tx, account.id, *notice).await? {
            unseen.push(*notice);
        }
    }
    tx.commit().await?;
    if unseen.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.begin().await?;
    for notice in unseen {
        notify::put_notice_seen(&mut tx, account.id, notice, app.clock.now()).await?;
    }
    Ok(tx.commit().await?)
}

/// Why the account is suspended, in the tenant's words.
async fn suspended(tx: &mut Tx, account: &Account) -> Result<Option<&'static str>, Failure> {
    let holds = enforcement::list_holds(tx, Some(account.id)).await?;
    let ours = holds.iter().find(|hold| hold.owner == "billing");
    Ok(match account.state.as_str() {
        "enabled" => ours.filter(|hold| hold.rung == "restrict").map(|_| words::RESTRICTED),
        "disabled" if ours.is_some_and(|hold| hold.rung == "stop") => Some(words::STOPPED_FOR_CREDIT),
        "disabled" => Some(words::DISABLED),
        _ if ours.is_some() => Some(words::SUSPENDED_FOR_CREDIT),
        _ => Some(words::SUSPENDED_BY_ADMIN),
    })
}

/// Where the banner leads. Nobody of a locked or disabled account can change anything on the other pages.
fn ways_out(account: &Account) -> Vec<(&'static str, &'static str)> {
    if account.state == "enabled" {
        vec![(Page::PaymentSettings.path(), text::WAYS_TO_PAY), (Page::Credits.path(), words::CREDITS)]
    } else {
        vec![(SUSPENDED, text::HOW_TO_PAY)]
    }
}

/// The newest decision in its sentence. What was only rehearsed is not told to tenants, and a step that waits not as taken.
async fn sentence(tx: &mut Tx, account: &Account, standing: &Standing) -> Result<String, Failure> {
    let newest = enforcement::list_decisions(tx, account.id, 1).await?.into_iter().next();
    if let Some(step) = newest.as_ref().filter(|decision| decision.dry_run == 0)
        && enforcement::is_untaken(tx, step).await?
    {
        let is_used_up = !standing.figures.available.is_positive();
        let words = if is_used_up { words::CREDIT_USED_UP } else { words::CREDIT_NEARLY_USED_UP };
        return Ok(if account.state == "enabled" { words.to_owned() } else { String::new() });
    }
    Ok(newest
        .filter(|decision| {
            // A step that is due and only rehearsed is no threat.
            decision.dry_run == 0 || (decision.outcome == "keep" && !decision.reason.ends_with("-is-due"))
        })
        // What it says of an account within its limit are figures of then, and those of now stand above.
        .filter(|decision| !matches!(decision.reason.as_str(), "within-limit" | "threshold"))
        .map(|decision| decision.sentence)
        .filter(|sentence| !sentence.is_empty())
        .unwrap_or_else(|| if account.state == "enabled" { words::ALL_WELL.to_owned() } else { String::new() }))
}

async fn cost_by_day(tx: &mut Tx, app: &App, account: &Account, payer: &Payer) -> Result<Vec<Bar>, Failure> {
    let tax = match &payer.tax_percent {
        Some(text) => TaxRate::parse(text).map_err(|error| Failure::unexpected(&error))?,
        None => app.tax()?,
    };
    let Some(today) = Day::of(app.clock.now(), app.config.billing.zone) else { return Ok(Vec::new()) };
    let days = (Day::from_number(today.number() - CHART_DAYS + 1), today.next());
    let charges = rating::list_charges_between(tx, Some(account.id), days.0, days.1).await?;
    Ok(chart::bars(&charges, days, tax, &app.config.billing.currency)?)
}

async fn lately(tx: &mut Tx, app: &App, account: &Account, standing: &Standing) -> Result<Vec<Line>, Failure> {
    let (currency, zone) = (&app.config.billing.currency, app.config.billing.zone);
    let line = |at_ms: i64, what, detail| {
        let at = Timestamp::from_ms(at_ms);
        Line { at, when: at.display_in(zone), what, detail, notice: None }
    };
    let mut lines = Vec::new();
    for transfer in ledger::list_transfers(tx, standing.payer, BOOKINGS_READ).await? {
        let what = match transfer.kind.as_str() {
            "charge" => continue,
            "payment" => words::KIND_PAYMENT,
            "grant" => words::KIND_GRANT,
            "opening" => words::KIND_OPENING,
            "adjustment" => words::KIND_ADJUSTMENT,
            "correction" => words::KIND_CORRECTION,
            _ => words::KIND_OTHER,
        };
        let amount = currency.format(crate::money::Money::from_micros(transfer.amount_micros));
        lines.push(line(transfer.at_ms, what, format!("{amount} · {}", transfer.reason)));
    }
    let subject = format!("payer {}", standing.payer);
    for audit in runs::list_audit(tx, Some(&subject), 50).await?.into_iter().filter(|line| line.action == "limit.set") {
        let set = audit.after_state.as_deref().and_then(|text| crate::money::Money::parse(text).ok());
        lines.push(match set {
            Some(amount) => line(audit.at_ms, words::KIND_LIMIT, currency.format(amount)),
            None => line(audit.at_ms, words::KIND_NO_LIMIT, String::new()),
        });
    }
    for notice in enforcement::list_notices(tx, Some(account.id), 50).await?.into_iter().filter(|n| n.dry_run == 0) {
        lines.push(Line { notice: Some(notice.id), ..line(notice.recorded_ms, words::KIND_NOTICE, notice.sentence) });
    }
    lines.sort_by_key(|line| std::cmp::Reverse(line.at));
    lines.truncate(LATELY);
    Ok(lines)
}
