//! The administrator's table of accounts, where limits are set and payments are booked.

use std::collections::HashMap;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use rust_decimal::Decimal;
use serde::Deserialize;

use crate::web::{
    WebState,
    access::{AdminForm, CloudAdmin, Fields},
    error::Failure,
    pages::{self, Frame, Page},
    words,
};
use crate::{
    ids::AccountId,
    ledger::{
        post::{self, Cause},
        rules::Figures,
    },
    money::Money,
    store::{StoreError, cloud, enforcement, gateways},
};

/// Accounts on one page.
const PER_PAGE: usize = 100;
/// Longest reason or reference.
const MAX_TEXT: usize = 200;

/// Which accounts are shown, and how.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct View {
    search: String,
    sort: String,
    page: usize,
    changed: Option<i64>,
}

impl View {
    fn of(fields: &Fields) -> Self {
        Self {
            search: fields.get("search").to_owned(),
            sort: fields.get("sort").to_owned(),
            page: fields.get("page").parse().unwrap_or(1),
            changed: None,
        }
    }

    fn query(&self, sort: &str, page: usize) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("search", &self.search)
            .append_pair("sort", sort)
            .append_pair("page", &page.to_string())
            .finish()
    }
}

/// One account of the table.
struct Row {
    id: i64,
    name: String,
    domain: String,
    state: String,
    managed: bool,
    limit: Money,
    figures: Figures,
    share: Decimal,
    days: Option<i64>,
    why: String,
    /// What was taken from it, in words; empty: nothing.
    step: &'static str,
    pays: Option<String>,
    shown: Shown,
}

/// The row's figures as people read them.
struct Shown {
    limit: String,
    used: String,
    available: String,
    width: String,
    percent: Option<String>,
    urgency: &'static str,
}

/// A column that can be sorted by.
struct Column {
    title: &'static str,
    query: String,
    /// `ascending`, `descending` or `none`.
    order: &'static str,
    amount: bool,
}

/// What is wrong with a form, beside its field.
struct Wrong {
    account: i64,
    field: &'static str,
    text: String,
    /// What was typed.
    values: Fields,
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct Accounts {
    frame: Frame,
    view: View,
    columns: Vec<Column>,
    rows: Vec<Row>,
    page: usize,
    pages: usize,
    previous: Option<String>,
    next: Option<String>,
    wrong: Option<Wrong>,
}

impl Accounts {
    fn is_changed(&self, row: &Row) -> bool {
        self.view.changed == Some(row.id)
    }

    fn wrong(&self, row: &Row, field: &str) -> Option<&str> {
        self.wrong
            .as_ref()
            .filter(|wrong| wrong.account == row.id && wrong.field == field)
            .map(|wrong| wrong.text.as_str())
    }

    /// What was typed into a form that was refused, or what stands there at first.
    fn typed<'a>(&'a self, row: &Row, field: &str, otherwise: &'a str) -> &'a str {
        self.wrong.as_ref().filter(|wrong| wrong.account == row.id).map_or(otherwise, |wrong| wrong.values.get(field))
    }
}

/// The table.
pub(in crate::web) async fn accounts(
    State(state): State<WebState>,
    admin: CloudAdmin,
    Query(view): Query<View>,
) -> Result<Response, Failure> {
    table(&state, &admin, view, None).await
}

async fn table(state: &WebState, admin: &CloudAdmin, view: View, wrong: Option<Wrong>) -> Result<Response, Failure> {
    let mut rows = list_rows(state).await?;
    let needle = view.search.trim().to_lowercase();
    rows.retain(|row| format!("{}/{}", row.domain, row.name).to_lowercase().contains(&needle));
    sort(&mut rows, &view.sort);
    let pages = rows.len().div_ceil(PER_PAGE).max(1);
    let page = view.page.clamp(1, pages);
    let rows: Vec<Row> = rows.into_iter().skip((page - 1) * PER_PAGE).take(PER_PAGE).collect();
    let is_wrong = wrong.is_some();
    let content = Accounts {
        frame: Frame::around(state, admin, Page::Accounts),
        columns: columns(&view),
        rows,
        page,
        pages,
        previous: (page > 1).then(|| view.query(&view.sort, page - 1)),
        next: (page < pages).then(|| view.query(&view.sort, page + 1)),
        wrong,
        view,
    };
    if is_wrong { pages::show_refused(&content) } else { pages::show(&content) }
}

async fn list_rows(state: &WebState) -> Result<Vec<Row>, Failure> {
    let app = &state.app;
    let currency = &app.config.billing.currency;
    let mut tx = app.store.read().await?;
    let standings: HashMap<_, _> =
        app.standings(&mut tx).await?.into_iter().map(|standing| (standing.payer, standing)).collect();
    let decisions = enforcement::list_newest_decisions(&mut tx).await?;
    let steps: HashMap<_, _> = enforcement::list_holds(&mut tx, None)
        .await?
        .into_iter()
        .filter(|hold| hold.owner == "billing")
        .map(|hold| (hold.account_id, super::enforcement::rung_words(&hold.rung)))
        .collect();
    let gateways = gateways::list_choices(&mut tx).await?;
    let accounts = cloud::list_accounts(&mut tx).await?;
    let rows = accounts.into_iter().filter(|account| account.gone_ms.is_none()).filter_map(|account| {
        let standing = standings.get(&account.payer_id)?;
        let figures = standing.figures;
        let share = figures.share();
        let (width, percent) = pages::bar(share);
        Some(Row {
            id: account.id.get(),
            why: decisions.get(&account.id.get()).map(|decision| decision.reason.clone()).unwrap_or_default(),
            step: steps.get(&account.id).copied().unwrap_or_default(),
            pays: words::payment_settings::pays_by(gateways.get(&account.payer_id).map(String::as_str)),
            name: account.name,
            domain: account.domain_path,
            state: account.state,
            managed: standing.managed,
            limit: figures.limit,
            share: share.for_thresholds(),
            days: standing.days_left,
            shown: Shown {
                limit: if standing.managed { figures.limit.to_string() } else { String::new() },
                used: currency.format(figures.used),
                available: currency.format(figures.available),
                width,
                percent,
                urgency: pages::urgency(share),
            },
            figures,
        })
    });
    Ok(rows.collect())
}

/// Names of the columns that can be sorted by, in their order on the page.
const COLUMNS: [(&str, &str, bool); 9] = [
    ("name", words::NAME, false),
    ("domain", words::DOMAIN, false),
    ("state", words::STATE, false),
    ("limit", words::LIMIT, false),
    ("used", words::USED_SHORT, true),
    ("available", words::AVAILABLE_SHORT, true),
    ("percent", words::PERCENT, false),
    ("days", words::DAYS_SHORT, true),
    ("why", words::WHY, false),
];

fn columns(view: &View) -> Vec<Column> {
    let (present, falling) = view.sort.strip_prefix('-').map_or((view.sort.as_str(), false), |name| (name, true));
    COLUMNS
        .iter()
        .map(|&(name, title, amount)| {
            let order = match (name == present, falling) {
                (true, false) => "ascending",
                (true, true) => "descending",
                (false, _) => "none",
            };
            let sort = if order == "ascending" { format!("-{name}") } else { name.to_owned() };
            Column { title, query: view.query(&sort, 1), order, amount }
        })
        .collect()
}

fn sort(rows: &mut [Row], by: &str) {
    let (name, falling) = by.strip_prefix('-').map_or((by, false), |name| (name, true));
    rows.sort_by(|a, b| {
        let order = match name {
            "name" => a.name.cmp(&b.name),
            "state" => a.state.cmp(&b.state),
            "limit" => (a.managed, a.limit).cmp(&(b.managed, b.limit)),
            "used" => a.figures.used.cmp(&b.figures.used),
            "available" => a.figures.available.cmp(&b.figures.available),
            "percent" => a.share.cmp(&b.share),
            "days" => a.days.unwrap_or(i64::MAX).cmp(&b.days.unwrap_or(i64::MAX)),
            "why" => a.why.cmp(&b.why),
            _ => std::cmp::Ordering::Equal,
        };
        let order = if falling { order.reverse() } else { order };
        order.then_with(|| (&a.domain, &a.name, a.id).cmp(&(&b.domain, &b.name, b.id)))
    });
    if by == "-domain" {
        rows.reverse();
    }
}

/// A wrong field: which, and why.
type Mistake = (&'static str, String);

fn text_of(fields: &Fields, field: &'static str, missing: &str) -> Result<String, Mistake> {
    let text = fields.get(field);
    if text.is_empty() {
        return Err((field, missing.to_owned()));
    }
    if text.chars().count() > MAX_TEXT {
        return Err((field, words::TOO_LONG.to_owned()));
    }
    Ok(text.to_owned())
}

fn amount_of(text: &str, field: &'static str) -> Result<Money, Mistake> {
    Money::parse(text).map_err(|error| (field, error.to_string()))
}

/// What may be told beside the field; everything else is a failure.
fn mistake(error: post::Error, field: &'static str) -> Result<Mistake, Failure> {
    match error {
        post::Error::BadAmount(text) => Ok((field, text)),
        post::Error::Store(StoreError::Exists(_)) => Ok((field, words::FORM_USED.to_owned())),
        post::Error::Money(error) => Ok((field, error.to_string())),
        post::Error::Store(error) => Err(error.into()),
    }
}

/// Sets or takes away a limit.
pub(in crate::web) async fn set_limit(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    AdminForm { admin, fields }: AdminForm,
) -> Result<Response, Failure> {
    let key = fields.key(&format!("limit/{id}"))?;
    let filled = (|| {
        let text = fields.get("limit");
        let limit = if text.is_empty() { None } else { Some(amount_of(text, "limit")?) };
        if limit.is_some_and(Money::is_negative) {
            return Err(("limit", "a credit limit can not be negative; 0 is prepaid".to_owned()));
        }
        Ok((limit, text_of(&fields, "reason", words::REASON_WANTED)?))
    })();
    let mistake = match filled {
        Err(mistake) => mistake,
        Ok((limit, reason)) => {
            let app = &state.app;
            let mut tx = app.store.begin().await?;
            let account = cloud::get_account(&mut tx, AccountId::new(id)).await?;
            let author = admin.author();
            let cause = Cause { key: &key, author: &author, reason: &reason };
            let defaults = (app.default_limit(), app.tax()?);
            match post::set_limit(&mut tx, account.payer_id, limit, cause, defaults, app.clock.now()).await {
                Ok(_) => {
                    tx.commit().await?;
                    return Ok(done(&state, id, &fields));
                }
                Err(error) => mistake(error, "limit")?,
            }
        }
    };
    again(&state, &admin, id, fields, mistake).await
}

/// Books a payment.
pub(in crate::web) async fn add_payment(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    AdminForm { admin, fields }: AdminForm,
) -> Result<Response, Failure> {
    let key = fields.key(&format!("payment/{id}"))?;
    let filled = amount_of(fields.get("amount"), "amount")
        .and_then(|amount| Ok((amount, text_of(&fields, "reference", words::REFERENCE_WANTED)?)));
    let mistake = match filled {
        Err(mistake) => mistake,
        Ok((amount, reference)) => {
            let app = &state.app;
            let mut tx = app.store.begin().await?;
            let account = cloud::get_account(&mut tx, AccountId::new(id)).await?;
            let author = admin.author();
            let cause = Cause { key: &key, author: &author, reason: &reference };
            let defaults = (app.default_limit(), app.tax()?);
            match post::add_payment(&mut tx, account.payer_id, amount, cause, defaults, app.clock.now()).await {
                Ok(_) => {
                    tx.commit().await?;
                    return Ok(done(&state, id, &fields));
                }
                Err(error) => mistake(error, "amount")?,
            }
        }
    };
    again(&state, &admin, id, fields, mistake).await
}

/// After a change: the jobs look at once, the person sees the table again.
fn done(state: &WebState, id: i64, fields: &Fields) -> Response {
    state.wake.notify_one();
    let view = View::of(fields);
    let base = &state.app.config.web.base_path;
    let query = view.query(&view.sort, view.page);
    Redirect::to(&format!("{base}/admin/accounts?{query}&changed={id}#account-{id}")).into_response()
}

async fn again(
    state: &WebState,
    admin: &CloudAdmin,
    account: i64,
    values: Fields,
    (field, text): Mistake,
) -> Result<Response, Failure> {
    table(state, admin, View::of(&values), Some(Wrong { account, field, text, values })).await
}
