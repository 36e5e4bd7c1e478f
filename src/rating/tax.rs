//! Tax rates. Prices are net; the ledger is gross and posts a net and a tax leg for each charge.

use std::fmt;

use rust_decimal::Decimal;

use super::narrowing::Narrowing;
use crate::{
    money::{Money, MoneyError},
    time::{Day, Timestamp},
};

/// The most decimals of a rate, as in 9.975 percent.
const MAX_DECIMALS: u32 = 4;

/// Why a rate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a tax rate; write percent from 0 to 100 with at most four decimals, such as 20 or 9.975")]
pub struct NotATaxRate(String);

/// A tax rate in percent, from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaxRate(Decimal);

impl TaxRate {
    /// No tax.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// A rate, or an error outside of 0 to 100 or with more than four decimals.
    pub fn from_percent(percent: Decimal) -> Result<Self, NotATaxRate> {
        let rate = percent.normalize();
        let fits = rate >= Decimal::ZERO && rate <= Decimal::ONE_HUNDRED && rate.scale() <= MAX_DECIMALS;
        fits.then_some(Self(rate)).ok_or_else(|| NotATaxRate(percent.to_string()))
    }

    /// Reads a plain decimal number of percent.
    pub fn parse(text: &str) -> Result<Self, NotATaxRate> {
        let plain = text.len() <= 16 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let refuse = || NotATaxRate(text.chars().take(20).collect());
        let percent = plain.then(|| text.parse().ok()).flatten().ok_or_else(refuse)?;
        Self::from_percent(percent).map_err(|_| refuse())
    }

    /// The rate in percent.
    pub const fn percent(self) -> Decimal {
        self.0
    }

    /// The tax on a net amount, rounded half to even at the sixth decimal.
    ///
    /// Taxes of single charges do not add up to the tax of their sum. Where that matters the ledger posts cumulatively:
    /// the tax on all net so far less the tax posted so far, so that the total is never off by more than half a millionth.
    pub fn of(self, net: Money) -> Result<Money, MoneyError> {
        net.times(self.0.checked_div(Decimal::ONE_HUNDRED).ok_or(MoneyError::Overflow)?)
    }
}

impl fmt::Display for TaxRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// One `[[tax]]` of the price book: the rate of some customers from a billing day on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tax {
    pub(super) rate: TaxRate,
    pub(super) narrowing: Narrowing,
    pub(super) note: Option<String>,
    pub(super) from: Option<Day>,
    pub(super) until: Option<Day>,
    /// The starts of both days in the billing zone.
    pub(super) from_at: Option<Timestamp>,
    pub(super) until_at: Option<Timestamp>,
    pub(super) line: u32,
}

impl Tax {
    /// The rate.
    pub const fn rate(&self) -> TaxRate {
        self.rate
    }

    /// The account, payer or domain it is for.
    pub const fn narrowing(&self) -> &Narrowing {
        &self.narrowing
    }

    /// The operator's words.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The first billing day on which it is in force; None for always.
    pub const fn from(&self) -> Option<Day> {
        self.from
    }

    /// The first billing day on which it is no longer in force; None for never.
    pub const fn until(&self) -> Option<Day> {
        self.until
    }

    /// The line of the file in which it begins.
    pub const fn line(&self) -> u32 {
        self.line
    }

    pub(super) fn is_in_force(&self, day: Day) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_percent_and_refuses_the_rest() {
        assert_eq!(TaxRate::parse("20").unwrap().to_string(), "20 %");
        assert_eq!(TaxRate::parse("9.9750").unwrap().to_string(), "9.975 %");
        assert_eq!(TaxRate::parse("0").unwrap(), TaxRate::ZERO);
        for bad in ["", "-1", "100.0001", "101", "20%", "20 %", "1e1", "9,975", "0.00001", "99999999999999999"] {
            assert!(TaxRate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn taxes_exactly_and_rounds_half_to_even() {
        let tax = |rate: &str, net: &str| TaxRate::parse(rate).unwrap().of(Money::parse(net).unwrap()).unwrap();
        assert_eq!(tax("20", "104.20"), Money::parse("20.84").unwrap());
        assert_eq!(tax("0", "104.20"), Money::ZERO);
        assert_eq!(tax("100", "104.20"), Money::parse("104.20").unwrap());
        // 0.000005 × 10 % = 0.0000005, to even: 0; 0.000015 × 10 % = 0.0000015, to even: 0.000002
        assert_eq!(tax("10", "0.000005"), Money::ZERO);
        assert_eq!(tax("10", "0.000015"), Money::from_micros(2));
        // A credit note's tax mirrors that of the charge.
        assert_eq!(tax("20", "-104.20"), Money::parse("-20.84").unwrap());
        assert_eq!(TaxRate::parse("100").unwrap().of(Money::from_micros(i64::MAX)), Ok(Money::from_micros(i64::MAX)));
    }
}
