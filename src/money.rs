//! Exact money: integer millionths of the cloud's one currency, checked arithmetic, one rounding function.
//!
//! Nothing here wraps, saturates or guesses: a sum that does not fit is an error, and an unknown currency is
//! refused instead of being given two decimals.

use std::fmt;

use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive};

/// Millionths of a currency unit in one unit.
pub const MICROS_PER_UNIT: i64 = 1_000_000;
/// Billionths of a currency unit in one unit: the precision at which single rated records are kept.
pub const NANOS_PER_UNIT: i64 = 1_000_000_000;

/// Why an amount was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// A sum or product left the range of ±9.2 trillion currency units.
    #[error("an amount is beyond what the ledger can hold (about 9.2 trillion)")]
    Overflow,
    /// The text is not a plain decimal number.
    #[error("\"{0}\" is not an amount; write a plain decimal number such as 104.20")]
    NotAnAmount(String),
    /// More decimals than the ledger keeps.
    #[error("\"{0}\" has more than six decimals")]
    TooPrecise(String),
    /// The currency code is not in ISO 4217's table.
    #[error("\"{0}\" is not a currency code of ISO 4217, such as EUR")]
    UnknownCurrency(String),
}

/// An amount in millionths of the currency unit. May be negative: debts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i64);

impl Money {
    /// Nothing owed, nothing paid.
    pub const ZERO: Self = Self(0);

    /// An amount from millionths of the currency unit.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The amount in millionths of the currency unit.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Reads a plain decimal ("104.20", "-3"); refuses exponents, commas, blanks and more than six decimals.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let plain = !text.is_empty()
            && text.len() <= 32
            && text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-' || b == b'+');
        let decimal: Decimal = plain
            .then(|| text.parse().ok())
            .flatten()
            .ok_or_else(|| MoneyError::NotAnAmount(text.chars().take(40).collect()))?;
        if decimal.normalize().scale() > 6 {
            return Err(MoneyError::TooPrecise(text.to_owned()));
        }
        Self::round_from(decimal)
    }

    /// The one place where a decimal amount becomes money: half to even, at the sixth decimal.
    pub fn round_from(units: Decimal) -> Result<Self, MoneyError> {
        round_scaled(units, MICROS_PER_UNIT).map(Self)
    }

    /// Money from a sum of billionths (the sum of rated records), rounded half to even.
    pub fn round_from_nanos(nanos: i64) -> Self {
        let (quotient, rest) = (nanos.div_euclid(1_000), nanos.rem_euclid(1_000));
        let up = rest > 500 || (rest == 500 && quotient % 2 != 0);
        Self(quotient + i64::from(up))
    }

    /// The amount as a decimal number of currency units.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.0, 6).normalize()
    }

    /// Sum, or an error where it does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// Difference, or an error where it does not fit.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// The amount with its sign turned.
    pub fn negated(self) -> Result<Self, MoneyError> {
        self.0.checked_neg().map(Self).ok_or(MoneyError::Overflow)
    }

    /// The amount times a decimal factor (a tax rate, a share), rounded half to even.
    pub fn times(self, factor: Decimal) -> Result<Self, MoneyError> {
        Self::round_from(self.to_decimal().checked_mul(factor).ok_or(MoneyError::Overflow)?)
    }

    /// Sum of many, or an error where it does not fit.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }

    /// Whether the amount is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether the amount is above zero.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// Whether the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Money {
    /// The exact amount without a currency, with at least two decimals: for logs and JSON. Pages use [`Currency::format`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.to_decimal();
        let shown = if exact.scale() < 2 { rescaled(exact, 2) } else { exact };
        write!(f, "{shown}")
    }
}

/// Rounds `units` × `per_unit` to an integer, half to even.
pub(crate) fn round_scaled(units: Decimal, per_unit: i64) -> Result<i64, MoneyError> {
    units
        .checked_mul(Decimal::from(per_unit))
        .map(|scaled| scaled.round_dp_with_strategy(0, RoundingStrategy::MidpointNearestEven))
        .and_then(|rounded| rounded.to_i64())
        .ok_or(MoneyError::Overflow)
}

fn rescaled(mut value: Decimal, scale: u32) -> Decimal {
    value.rescale(scale);
    value
}

/// The cloud's one currency: its ISO 4217 code and how many decimals people write it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Currency {
    code: String,
    decimals: u32,
}

/// Codes with other than two decimals (ISO 4217 list one, "minor unit").
const NO_DECIMALS: [&str; 16] =
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF"];
const THREE_DECIMALS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];
/// Codes with two decimals that clouds bill in; the list is ISO 4217's active national currencies.
const TWO_DECIMALS: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF \
CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR \
JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR \
NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY \
TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG";

impl Currency {
    /// Looks the code up in ISO 4217; unknown codes are refused, never given two decimals.
    pub fn from_code(code: &str) -> Result<Self, MoneyError> {
        let decimals = if NO_DECIMALS.contains(&code) || code == "XPF" {
            0
        } else if THREE_DECIMALS.contains(&code) {
            3
        } else if code.len() == 3 && TWO_DECIMALS.split_ascii_whitespace().any(|known| known == code) {
            2
        } else {
            return Err(MoneyError::UnknownCurrency(code.chars().take(12).collect()));
        };
        Ok(Self { code: code.to_owned(), decimals })
    }

    /// The three-letter code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Decimals of the currency's minor unit.
    pub const fn decimals(&self) -> u32 {
        self.decimals
    }

    /// The amount as a person reads it: rounded to the currency's decimals, thousands grouped, code behind ("1,204.20 EUR").
    pub fn format(&self, amount: Money) -> String {
        format!("{} {}", self.format_plain(amount), self.code)
    }

    /// As [`Currency::format`], without the code.
    pub fn format_plain(&self, amount: Money) -> String {
        let rounded = amount.to_decimal().round_dp_with_strategy(self.decimals, RoundingStrategy::MidpointNearestEven);
        let text = rescaled(rounded, self.decimals).to_string();
        let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
        let (whole, fraction) = digits.split_once('.').map_or((digits, ""), |(w, f)| (w, f));
        let mut grouped = String::with_capacity(text.len() + 4);
        for (position, digit) in whole.chars().enumerate() {
            if position > 0 && (whole.len() - position).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        let sign = if rounded.is_zero() { "" } else { sign };
        if fraction.is_empty() { format!("{sign}{grouped}") } else { format!("{sign}{grouped}.{fraction}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_people_write_and_refuses_the_rest() {
        assert_eq!(Money::parse("104.20").unwrap(), Money::from_micros(104_200_000));
        assert_eq!(Money::parse("-3").unwrap(), Money::from_micros(-3_000_000));
        assert_eq!(Money::parse("0.000001").unwrap(), Money::from_micros(1));
        for bad in ["", "1e5", "1,5", "12 ", "NaN", "--1", "1.2.3", "ten", "99999999999999999999999999999999"] {
            assert!(matches!(Money::parse(bad), Err(MoneyError::NotAnAmount(_))), "{bad}");
        }
        assert!(matches!(Money::parse("0.0000001"), Err(MoneyError::TooPrecise(_))));
        assert_eq!(Money::parse("99999999999999999999"), Err(MoneyError::Overflow));
    }

    #[test]
    fn rounds_half_to_even_in_both_ways_in() {
        assert_eq!(Money::round_from("0.0000005".parse().unwrap()).unwrap().as_micros(), 0);
        assert_eq!(Money::round_from("0.0000015".parse().unwrap()).unwrap().as_micros(), 2);
        for (nanos, micros) in [(500, 0), (1_500, 2), (2_500, 2), (2_501, 3), (-500, 0), (-1_500, -2), (-2_501, -3)] {
            assert_eq!(Money::round_from_nanos(nanos).as_micros(), micros, "{nanos}");
        }
    }

    #[test]
    fn arithmetic_refuses_instead_of_wrapping() {
        let most = Money::from_micros(i64::MAX);
        assert_eq!(most.plus(Money::from_micros(1)), Err(MoneyError::Overflow));
        assert_eq!(Money::from_micros(i64::MIN).negated(), Err(MoneyError::Overflow));
        assert_eq!(most.times(Decimal::TWO), Err(MoneyError::Overflow));
    }

    #[test]
    fn formats_with_the_currencys_own_decimals() {
        let amount = Money::parse("1234567.895").unwrap();
        assert_eq!(Currency::from_code("EUR").unwrap().format(amount), "1,234,567.90 EUR");
        assert_eq!(Currency::from_code("JPY").unwrap().format(amount), "1,234,568 JPY");
        assert_eq!(Currency::from_code("KWD").unwrap().format(amount), "1,234,567.895 KWD");
        assert_eq!(Currency::from_code("EUR").unwrap().format(Money::from_micros(-1)), "0.00 EUR");
        assert_eq!(Currency::from_code("EUR").unwrap().format(Money::parse("-1000").unwrap()), "-1,000.00 EUR");
        for unknown in ["XXX", "eur", "EURO", ""] {
            assert!(Currency::from_code(unknown).is_err(), "{unknown}");
        }
    }
}
