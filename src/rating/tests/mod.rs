//! Books, figures worked out by hand, and properties.

mod books;
mod differences;
mod figures;
mod graduated;
mod levies;
mod narrowed;
mod properties;

use chrono_tz::Tz;

use super::*;
use crate::time::{Period, Timestamp};

const VIENNA: Tz = Tz::Europe__Vienna;
const UTC: Tz = Tz::UTC;

fn book(text: &str) -> PriceBook {
    PriceBook::parse(&format!("currency = \"EUR\"\n{text}"), VIENNA).unwrap()
}

/// A book of one general tariff.
fn one(usage_type: &str, unit: &str, price: &str) -> PriceBook {
    book(&format!("[[tariff]]\ntype = \"{usage_type}\"\nunit = \"{unit}\"\nprice = \"{price}\""))
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, VIENNA).unwrap()
}

fn period(start: &str, end: &str) -> Period {
    Period::new(at(start), at(end)).unwrap()
}

fn decimal(text: &str) -> rust_decimal::Decimal {
    text.parse().unwrap()
}

/// A quantity as it is stored: hours in millionths.
fn stored(usage_type: i32, quantity: rust_decimal::Decimal) -> i64 {
    let per_unit = if shown_quantity(usage_type, 1) == rust_decimal::Decimal::ONE { 1 } else { 1_000_000 };
    let stored = quantity * rust_decimal::Decimal::from(per_unit);
    assert!(stored.is_integer(), "{quantity}");
    i64::try_from(stored).unwrap()
}

fn usage(usage_type: i32, quantity: &str, period: Period) -> Usage {
    Usage { usage_type, quantity: stored(usage_type, decimal(quantity)), period, size_bytes: None }
}

/// A price of nobody in particular.
fn rate(book: &PriceBook, usage: &Usage, zone: Tz) -> Result<Rated, RateError> {
    rate_of(book, usage, zone, &Customer::default(), &Features::default())
}

fn rate_of(
    book: &PriceBook,
    usage: &Usage,
    zone: Tz,
    customer: &Customer,
    features: &Features<'_>,
) -> Result<Rated, RateError> {
    let mut rater = Rater::new(book, zone, customer);
    let prices = rater.find_prices(usage.usage_type, features);
    rater.rate(usage, &prices, &mut TierUse::new())
}

fn problems(text: &str) -> Vec<String> {
    PriceBook::parse(text, VIENNA).unwrap_err().iter().map(ToString::to_string).collect()
}

/// carol's account of Acme Ltd, in the lab below acme.
fn carol() -> Customer {
    Customer {
        payer: "Acme Ltd".to_owned(),
        account_id: CAROL.to_owned(),
        domain_ids: vec![LAB.to_owned(), ACME.to_owned(), ROOT.to_owned()],
        domain_path: "ROOT/acme/lab".to_owned(),
    }
}

const CAROL: &str = "00000000-0000-4000-8000-00000000000c";
const LAB: &str = "00000000-0000-4000-8000-0000000000d3";
const ACME: &str = "00000000-0000-4000-8000-0000000000d2";
const ROOT: &str = "00000000-0000-4000-8000-0000000000d1";

fn offering(id: &str) -> Features<'_> {
    Features { offering: Some(id), ..Features::default() }
}

fn expect_charge(rated: Result<Rated, RateError>) -> Charge {
    match rated.unwrap() {
        Rated::Charged(charge) => charge,
        other => panic!("{other:?}"),
    }
}

fn charged(book: &PriceBook, usage: &Usage) -> Charge {
    expect_charge(rate(book, usage, VIENNA))
}

fn amounts(charge: &Charge) -> Vec<i64> {
    charge.parts().iter().map(|part| part.amount_nanos).collect()
}

fn nanos(book: &PriceBook, usage: &Usage) -> Vec<i64> {
    amounts(&charged(book, usage))
}

/// The amounts for somebody's thing.
fn nanos_of(book: &PriceBook, usage: &Usage, customer: &Customer, features: &Features<'_>) -> Vec<i64> {
    amounts(&expect_charge(rate_of(book, usage, VIENNA, customer, features)))
}
