//! Books, figures worked out by hand, and properties.

mod books;
mod figures;
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

fn usage(usage_type: i32, quantity: &str, period: Period) -> Usage<'static> {
    Usage { usage_type, quantity: decimal(quantity), period, size_bytes: None, offering: None }
}

fn charged(book: &PriceBook, usage: &Usage<'_>) -> Charge {
    match rate(book, usage, VIENNA).unwrap() {
        Rated::Charged(charge) => charge,
        other => panic!("{other:?}"),
    }
}

fn nanos(book: &PriceBook, usage: &Usage<'_>) -> Vec<i64> {
    charged(book, usage).parts().iter().map(|part| part.amount_nanos).collect()
}
