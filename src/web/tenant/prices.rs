//! "Prices": what the account pays for what, after discounts, and what a machine would cost in a month.

use std::collections::HashMap;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use crate::web::{
    WebState,
    access::{Mistake, Tenant},
    error::Failure,
    pages::{self, Frame, Page},
    quote::{self, Ask, Quote, Refused, Terms},
    rights::See,
    tariffs::{self, Lister, Service},
    words,
};
use crate::{
    money::Currency,
    rating::{PriceBook, machine, own::OwnPrice},
    time::Day,
    usage::types::UsageType,
};

struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

struct ShownLine {
    item: String,
    quantity: String,
    price: String,
    discount: Option<String>,
    net: String,
}

/// An estimate in words.
struct Shown {
    month: String,
    lines: Vec<ShownLine>,
    net: String,
    taxes: Vec<(String, String)>,
    gross: String,
    free: String,
    unpriced: String,
    share: Option<String>,
    days_left: Option<i64>,
    has_steps: bool,
    more: bool,
}

#[derive(Template)]
#[template(path = "prices.html")]
struct PricesPage {
    frame: Frame,
    has_book: bool,
    tax: String,
    services: Vec<Service>,
    free: Vec<&'static str>,
    ask: Ask,
    offerings: Vec<Choice>,
    months: Vec<Choice>,
    quote: Option<Shown>,
    mistake: Option<Mistake>,
}

impl PricesPage {
    /// What is wrong with a field.
    fn wrong(&self, field: &str) -> Option<&str> {
        self.mistake.as_ref().filter(|mistake| mistake.field == field).map(|mistake| mistake.text.as_str())
    }
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(ask): Query<Ask>,
) -> Result<Response, Failure> {
    let account = tenant.account();
    let billing = &state.app.config.billing;
    let now = state.app.clock.now();
    let today = Day::of(now, billing.zone).ok_or_else(|| Failure::unexpected(&format!("the clock says {now}")))?;
    let mut tx = state.app.store.read().await?;
    let mut page = PricesPage {
        frame: Frame::around(&state, &tenant, Page::Prices),
        has_book: false,
        tax: String::new(),
        services: Vec::new(),
        free: Vec::new(),
        offerings: Vec::new(),
        months: months(&ask, today),
        quote: None,
        mistake: None,
        ask,
    };
    if let Some(book) = tariffs::book(&state, &mut tx).await? {
        let terms = Terms::of(&state, &mut tx, account).await?;
        let prices = book.own_prices(&terms.customer, now);
        let mut names = HashMap::new();
        for price in &prices {
            tariffs::read_names(&mut tx, price.tariff.narrowing(), &mut names).await?;
        }
        let tax = terms.tax(&book, today);
        let lister = Lister { currency: &billing.currency, zone: billing.zone, now, tax, names: &names };
        page.has_book = true;
        page.tax = tax.to_string();
        page.services = lister.services(&prices);
        page.free = free(&book, &page.services);
        page.offerings = offerings(&page.ask, quote::offerings(&mut tx, account, &prices).await?);
        if !page.ask.quote.is_empty() {
            match quote::quote(&state, &mut tx, account, (&book, &terms), &page.ask).await {
                Ok(found) => page.quote = Some(shown(&found, &prices, &billing.currency)),
                Err(Refused::Mistake(mistake)) => page.mistake = Some(mistake),
                Err(Refused::Failure(failure)) => return Err(failure),
            }
        }
    }
    tx.commit().await?;
    if page.mistake.is_some() { pages::show_refused(&page) } else { pages::show(&page) }
}

/// Services that the book says are free, and that have no price of their own for the account.
pub(in crate::web) fn free(book: &PriceBook, listed: &[Service]) -> Vec<&'static str> {
    UsageType::all()
        .iter()
        .filter(|kind| book.is_free(kind.id) && !listed.iter().any(|service| service.slug == kind.slug))
        .map(|kind| kind.words)
        .collect()
}

fn months(ask: &Ask, today: Day) -> Vec<Choice> {
    quote::months(today)
        .into_iter()
        .map(|(name, _)| Choice { is_chosen: name == ask.month, label: name.clone(), value: name })
        .collect()
}

fn offerings(ask: &Ask, offerings: Vec<(String, String)>) -> Vec<Choice> {
    offerings.into_iter().map(|(id, name)| Choice { is_chosen: id == ask.offering, value: id, label: name }).collect()
}

fn shown(quote: &Quote, prices: &[OwnPrice<'_>], currency: &Currency) -> Shown {
    let concerns = |price: &&OwnPrice<'_>| {
        let kinds = [machine::RUNNING_VM, machine::ALLOCATED_VM, machine::VOLUME, machine::IP_ADDRESS];
        kinds.contains(&price.tariff.usage_type().id)
    };
    Shown {
        month: quote.month.clone(),
        lines: quote
            .lines
            .iter()
            .map(|line| ShownLine {
                item: line.item.clone(),
                quantity: line.quantity.clone(),
                price: line.price.clone(),
                discount: line.discount.clone(),
                net: currency.format_plain(line.net),
            })
            .collect(),
        net: currency.format(quote.net),
        taxes: quote.taxes.iter().map(|(rate, tax)| (rate.to_string(), currency.format(*tax))).collect(),
        gross: currency.format(quote.gross),
        free: quote.free.join(", "),
        unpriced: quote.unpriced.join(", "),
        share: quote.share.as_deref().map(words::usage::percent),
        days_left: quote.days_left,
        has_steps: quote.has_steps,
        more: prices.iter().filter(concerns).any(|price| tariffs::is_beyond_estimates(price.tariff.narrowing())),
    }
}
