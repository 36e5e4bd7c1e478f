//! The page of a suspended account: why, how much, how to pay, what works, what comes next (rule 21).

use askama::Template;
use axum::{
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};

use super::behind;
use crate::{
    email::EmailAddress,
    enforcement,
    jobs::work::{EnforceOptions, enforce_settings},
    money::Money,
    people::links::{self, LONGEST_REASON, NotAsked},
    policy::{Rung, notices},
    store::{Tx, cloud::Account, enforcement as rows, links as link_rows, notify, policy as policy_rows},
    time::{Day, Timestamp},
    web::{
        WebState,
        access::{AnyForm, Suspended},
        chart::{self, Bar},
        error::Failure,
        pages::{self, After, Frame},
        session::SUSPENDED,
        warnings,
        words::{self, sign_in as own_words},
    },
};

struct Service {
    name: String,
    cost: String,
    /// Where its records are, below the base path.
    records: String,
}

struct Step {
    /// When it comes, or since when it is due.
    when: String,
    sentence: String,
}

struct Works {
    what: &'static str,
    how: &'static str,
    well: bool,
}

struct More {
    open: bool,
    answer: Option<String>,
    message: Option<String>,
}

#[derive(Template)]
#[template(path = "suspended.html")]
struct SuspendedPage {
    frame: Frame,
    said: Option<&'static str>,
    account: String,
    state: &'static str,
    sentence: String,
    by_admin: bool,
    total: String,
    used: String,
    available: String,
    to_pay: Option<String>,
    needed: Option<String>,
    services: Vec<Service>,
    cost: String,
    records: String,
    bars: Vec<Bar>,
    how_to_pay: Vec<String>,
    works: Vec<Works>,
    next: Vec<Step>,
    left_alone: Option<String>,
    more: More,
    reason: String,
    wished: String,
    wrong: Option<String>,
    may_look_around: bool,
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    who: Suspended,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let said = (after.done == "more-time").then_some(own_words::MORE_ASKED);
    let page = build(&state, &who, said).await?;
    note_seen(&state, &who).await?;
    pages::show(&page)
}

/// Asks for more time.
pub(super) async fn ask(State(state): State<WebState>, form: AnyForm) -> Result<Response, Failure> {
    let app = &state.app;
    let now = app.clock.now();
    let zone = app.config.billing.zone;
    // Lines, and nothing that steers the terminal or the mail program of whoever reads it.
    let reason: String = form.fields.get("reason").chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let typed = form.fields.get("until");
    let wished = chrono::NaiveDate::parse_from_str(typed, "%Y-%m-%d").ok().map(Day::from_date);
    let wrong = if reason.is_empty() {
        Some(own_words::MORE_REASON_WANTED.to_owned())
    } else if reason.chars().count() > LONGEST_REASON {
        Some(words::too_long(LONGEST_REASON))
    } else if !typed.is_empty() && wished.is_none() {
        Some(own_words::MORE_DAY_WRONG.to_owned())
    } else {
        None
    };
    let wrong = if let Some(wrong) = wrong {
        wrong
    } else {
        let today = Day::of(now, zone).ok_or_else(|| Failure::unexpected(&"the clock is in no calendar"))?;
        let mut tx = app.store.begin().await?;
        let address = match form.who.link() {
            Some(link) => link_rows::find_link(&mut tx, link).await?.map(|link| link.recipient),
            None => None,
        };
        let address = address.and_then(|text| EmailAddress::parse(&text).ok());
        let (account, by) = (form.who.account(), form.who.author());
        let asked = links::ask_more_time(&mut tx, account, &by, (&reason, wished), address.as_ref(), today, now).await;
        match asked {
            Ok(_) => {
                tx.commit().await?;
                let to = format!("{}{SUSPENDED}?done=more-time", app.config.web.base_path);
                return Ok(Redirect::to(&to).into_response());
            }
            Err(NotAsked::Store(error)) => return Err(error.into()),
            Err(NotAsked::Day) => own_words::MORE_DAY_AHEAD.to_owned(),
            Err(NotAsked::Open) => own_words::MORE_ASKED_BEFORE.to_owned(),
            Err(NotAsked::TooOften) => own_words::MORE_TOO_OFTEN.to_owned(),
        }
    };
    let mut page = build(&state, &form.who, None).await?;
    (page.reason, page.wished, page.wrong) = (reason, typed.to_owned(), Some(wrong));
    pages::show_refused(&page)
}

async fn build(state: &WebState, who: &Suspended, said: Option<&'static str>) -> Result<SuspendedPage, Failure> {
    let app = &state.app;
    let now = app.clock.now();
    let (currency, zone) = (&app.config.billing.currency, app.config.billing.zone);
    let account = who.account();
    let mut tx = app.store.read().await?;
    let settings = enforce_settings(app, EnforceOptions::default()).map_err(|error| Failure::unexpected(&error))?;
    let look = enforcement::look_at(&mut tx, &settings, account.clone(), now)
        .await
        .map_err(|error| Failure::unexpected(&error))?;
    let figures = look.standing.figures;
    let holds = rows::list_holds(&mut tx, Some(account.id)).await?;
    let ours = holds.iter().any(|hold| hold.owner == "billing");
    let others = holds.iter().any(|hold| hold.owner != "billing");
    let stopped = account.state == "disabled";
    let next = next_steps(&mut tx, account, &holds, now, zone).await?;
    let left_alone = policy_rows::list_exemptions(&mut tx, now).await?.into_iter().filter(|row| match row.account_id {
        Some(of) => of == account.id,
        None => row.payer_id == account.payer_id,
    });
    let left_alone = left_alone.map(|row| row.until_ms).max().map(|until| until.display_in(zone));
    let charged = behind::figures(state, &mut tx, who).await?;
    let days: Vec<(String, Money)> = charged.days.iter().map(|(day, sum)| (day.to_string(), *sum)).collect();
    let mut services = Vec::new();
    for line in charged.lines.iter().filter(|line| !line.sum.cost.is_zero()) {
        let cost = currency.format(line.sum.cost.gross()?);
        services.push(Service { name: line.name.clone(), cost, records: behind::path(&line.id) });
    }
    let opens_at = (!look.standing.limit_removed).then_some(look.opens_at);
    let reason = if ours {
        let newest = sentence(&mut tx, account).await?;
        newest.unwrap_or_else(|| own_words::suspended_because(currency, &figures, opens_at))
    } else {
        String::new()
    };
    let page = SuspendedPage {
        frame: Frame { csrf: who.csrf().to_owned(), ..Frame::bare(state) },
        said,
        account: account.full_name(),
        state: if stopped { own_words::STATE_DISABLED } else { own_words::STATE_LOCKED },
        sentence: reason,
        by_admin: others || !ours,
        total: currency.format(figures.total),
        used: currency.format(figures.used),
        available: currency.format(figures.available),
        to_pay: (ours && look.to_avoid.is_positive()).then(|| currency.format(look.to_avoid)),
        needed: opens_at.map(|sum| currency.format(sum)),
        services,
        cost: currency.format(charged.total.cost.gross()?),
        records: behind::path(""),
        bars: chart::of_sums(&days, currency),
        how_to_pay: app.config.billing.how_to_pay.clone(),
        works: works(stopped),
        next,
        left_alone,
        more: more(&mut tx, account, zone).await?,
        reason: String::new(),
        wished: String::new(),
        wrong: None,
        may_look_around: who.may_look_around(),
    };
    tx.commit().await?;
    Ok(page)
}

/// The newest decision in its sentence, if it was taken in earnest and no step in it waits. None where it is about the next step, which
/// stands by itself: what led to the present one is told by the figures of now.
async fn sentence(tx: &mut Tx, account: &Account) -> Result<Option<String>, Failure> {
    let newest = rows::list_decisions(tx, account.id, 20).await?;
    for decision in newest.into_iter().filter(|decision| decision.dry_run == 0) {
        if !rows::is_untaken(tx, &decision).await? {
            let is_next_step =
                decision.reason.ends_with("-is-due") && matches!(decision.outcome.as_str(), "keep" | "warn");
            return Ok((!is_next_step).then_some(decision.sentence));
        }
    }
    Ok(None)
}

/// What works and what does not. Stopped, nothing runs; locked, what ran runs on.
fn works(stopped: bool) -> Vec<Works> {
    let line = |what, how, well| Works { what, how, well };
    vec![
        line(own_words::WORKS_UI, own_words::NOT_POSSIBLE, false),
        line(own_words::WORKS_KEYS, own_words::NOT_POSSIBLE, false),
        line(own_words::WORKS_NEW, own_words::IS_NOT_POSSIBLE, false),
        line(own_words::WORKS_MACHINES, if stopped { own_words::ARE_STOPPED } else { own_words::RUN_ON }, !stopped),
        line(own_words::WORKS_DATA, own_words::IS_KEPT, true),
    ]
}

/// The newest request for more time, and its answer.
async fn more(tx: &mut Tx, account: &Account, zone: chrono_tz::Tz) -> Result<More, Failure> {
    let newest = link_rows::list_more_time(tx, Some(account.id), None, 1).await?.into_iter().next();
    let Some(newest) = newest else { return Ok(More { open: false, answer: None, message: None }) };
    let answer = match newest.until_ms {
        Some(until) => Some(format!("{} {}.", own_words::MORE_GRANTED, until.display_in(zone))),
        None => (newest.state == "refused").then(|| own_words::MORE_REFUSED.to_owned()),
    };
    Ok(More { open: newest.state == "open", answer, message: newest.message })
}

/// The steps that were announced and not taken yet, with their dates. A date that has passed says since when the step is due:
/// something keeps it back, which is not for a tenant to weigh.
async fn next_steps(
    tx: &mut Tx,
    account: &Account,
    holds: &[rows::HoldRow],
    now: Timestamp,
    zone: chrono_tz::Tz,
) -> Result<Vec<Step>, Failure> {
    let ours = holds.iter().filter(|hold| hold.owner == "billing");
    let taken = ours.filter_map(|hold| Rung::parse(&hold.rung)).max().unwrap_or_default();
    let mut steps = Vec::new();
    for warning in warnings::of_account(tx, account).await? {
        let Some(at) = warning.acts_at_ms else { continue };
        let rung = notices::rung_of_event(&warning.event);
        if rung <= taken {
            continue;
        }
        let when = at.display_in(zone);
        let when = if at > now { when } else { own_words::due_since(&when) };
        steps.push(Step { when, sentence: warning.sentence });
    }
    Ok(steps)
}

/// A warning that somebody of the account has before the eyes counts from then on.
async fn note_seen(state: &WebState, who: &Suspended) -> Result<(), Failure> {
    if !who.sees_notices() {
        return Ok(());
    }
    let account = who.account();
    let mut tx = state.app.store.begin().await?;
    for warning in warnings::of_account(&mut tx, account).await? {
        notify::put_notice_seen(&mut tx, account.id, warning.id, state.app.clock.now()).await?;
    }
    Ok(tx.commit().await?)
}
