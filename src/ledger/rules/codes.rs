//! Promo codes: who may redeem one, and what it is worth. Pure.
//!
//! Promises: a refusal tells a person what to do and nothing about other accounts; whom a code is not for learns neither that
//! it has ended nor that it is used up.

use rust_decimal::Decimal;

use crate::{
    money::{Money, MoneyError},
    time::Timestamp,
};

/// A code has at least and at most so many characters.
const LENGTH: std::ops::RangeInclusive<usize> = 3..=40;

/// What a code gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// An amount.
    Amount(Money),
    /// A share of a payment.
    Percent {
        /// Above 0, at most 100.
        percent: Decimal,
        /// Never more than this.
        most: Option<Money>,
    },
}

/// The terms of a code, as far as they decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// What it gives.
    pub worth: Worth,
    /// From when it can be redeemed.
    pub valid_from: Timestamp,
    /// From when it can no longer be redeemed.
    pub valid_until: Option<Timestamp>,
    /// How often in all; None: any number of times.
    pub total_uses: Option<i64>,
    /// How often by one account.
    pub uses_per_account: i64,
    /// Above zero: it waits for a payment of at least so much.
    pub min_payment: Money,
    /// CloudStack's ids of the domains it is for, with their children; empty: every domain.
    pub domains: Vec<String>,
    /// An administrator ended it.
    pub closed: bool,
    /// How often it was redeemed.
    pub uses: i64,
}

/// Why a code gives nothing: each a sentence for the person who typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such code, or it has not begun.
    #[error("this code is not known; check how it is written")]
    Unknown,
    /// Its time is over, or an administrator ended it.
    #[error("this code has ended")]
    Ended,
    /// Redeemed as often as it may be.
    #[error("this code has been used up")]
    UsedUp,
    /// This account has redeemed it as often as it may.
    #[error("your account has used this code already")]
    UsedAlready,
    /// The account's domain is not one of the code's.
    #[error("this code is not for your account")]
    NotForYou,
    /// It waits for a larger payment.
    #[error("this code counts with a payment of at least {0}")]
    PaymentTooSmall(Money),
}

/// A code as it is compared: upper case, without blanks. None for what can be no code.
pub fn normalise(text: &str) -> Option<String> {
    // Far longer than any code: not worth walking through.
    if text.len() > 10 * LENGTH.end() {
        return None;
    }
    let code: String =
        text.chars().filter(|letter| !letter.is_whitespace()).map(|letter| letter.to_ascii_uppercase()).collect();
    let fits = code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    (fits && LENGTH.contains(&code.len())).then_some(code)
}

impl Code {
    /// Whether it waits for a payment instead of giving at once.
    pub const fn waits_for_payment(&self) -> bool {
        matches!(self.worth, Worth::Percent { .. }) || self.min_payment.is_positive()
    }

    /// Whether it is for an account in these domains: its own and every one above.
    pub fn is_for(&self, domains: &[String]) -> bool {
        self.domains.is_empty() || self.domains.iter().any(|wanted| domains.contains(wanted))
    }

    /// Whether its time has ended.
    pub fn has_ended(&self, at: Timestamp) -> bool {
        self.closed || self.valid_until.is_some_and(|until| until <= at)
    }

    /// Whether an account in `domains` that redeemed it `used` times may redeem it at `at`.
    pub fn may_redeem(&self, domains: &[String], used: i64, at: Timestamp) -> Result<(), Refusal> {
        if at < self.valid_from {
            return Err(Refusal::Unknown);
        }
        if !self.is_for(domains) {
            return Err(Refusal::NotForYou);
        }
        if used >= self.uses_per_account {
            return Err(Refusal::UsedAlready);
        }
        if self.has_ended(at) {
            return Err(Refusal::Ended);
        }
        if self.total_uses.is_some_and(|total| self.uses >= total) {
            return Err(Refusal::UsedUp);
        }
        Ok(())
    }

    /// What a waiting code gives with a payment at `at`. One that has ended meanwhile gives nothing any more.
    pub fn with_payment(&self, payment: Money, at: Timestamp) -> Result<Result<Money, Refusal>, MoneyError> {
        if self.has_ended(at) {
            return Ok(Err(Refusal::Ended));
        }
        if payment < self.min_payment {
            return Ok(Err(Refusal::PaymentTooSmall(self.min_payment)));
        }
        let amount = match self.worth {
            Worth::Amount(amount) => amount,
            Worth::Percent { percent, most } => {
                let share = percent.checked_div(Decimal::ONE_HUNDRED).ok_or(MoneyError::Overflow)?;
                let part = payment.times(share)?;
                most.map_or(part, |most| part.min(most))
            }
        };
        // A share that rounds to nothing is no grant: the code waits on.
        Ok(if amount.is_positive() { Ok(amount) } else { Err(Refusal::PaymentTooSmall(self.min_payment)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(text: &str) -> Money {
        Money::parse(text).unwrap()
    }

    fn code() -> Code {
        Code {
            worth: Worth::Amount(eur("10")),
            valid_from: Timestamp::from_seconds(100),
            valid_until: Some(Timestamp::from_seconds(200)),
            total_uses: Some(2),
            uses_per_account: 1,
            min_payment: Money::ZERO,
            domains: vec![],
            closed: false,
            uses: 0,
        }
    }

    const AT: Timestamp = Timestamp::from_seconds(150);

    #[test]
    fn spellings_of_one_code_are_one_code() {
        assert_eq!(normalise(" welcome-2026 ").as_deref(), Some("WELCOME-2026"));
        assert_eq!(normalise("Wel come").as_deref(), Some("WELCOME"));
        for bad in ["", "ab", "a=b=c", "grüße", "'; drop table", &"A".repeat(41), &" ".repeat(5_000)] {
            assert_eq!(normalise(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let nowhere: [String; 0] = [];
        assert_eq!(code().may_redeem(&nowhere, 0, AT), Ok(()));
        assert_eq!(code().may_redeem(&nowhere, 1, AT), Err(Refusal::UsedAlready));
        assert_eq!(code().may_redeem(&nowhere, 0, Timestamp::from_seconds(99)), Err(Refusal::Unknown));
        assert_eq!(code().may_redeem(&nowhere, 0, Timestamp::from_seconds(200)), Err(Refusal::Ended));
        assert_eq!(Code { closed: true, ..code() }.may_redeem(&nowhere, 0, AT), Err(Refusal::Ended));
        assert_eq!(Code { uses: 2, ..code() }.may_redeem(&nowhere, 0, AT), Err(Refusal::UsedUp));
    }

    #[test]
    fn a_code_for_a_domain_is_for_its_children_and_tells_others_nothing_more() {
        let acme = Code { domains: vec!["acme".to_owned()], closed: true, uses: 2, ..code() };
        let child = ["research".to_owned(), "acme".to_owned(), "root".to_owned()];
        assert_eq!(Code { closed: false, uses: 0, ..acme.clone() }.may_redeem(&child, 0, AT), Ok(()));
        assert_eq!(acme.may_redeem(&["other".to_owned(), "root".to_owned()], 0, AT), Err(Refusal::NotForYou));
    }

    #[test]
    fn a_share_of_a_payment_has_its_least_and_its_most() {
        let percent = |text: &str| Worth::Percent { percent: text.parse().unwrap(), most: Some(eur("15")) };
        let code = Code { worth: percent("10"), min_payment: eur("50"), ..code() };
        assert!(code.waits_for_payment());
        assert_eq!(code.with_payment(eur("49.99"), AT), Ok(Err(Refusal::PaymentTooSmall(eur("50")))));
        assert_eq!(code.with_payment(eur("50"), AT), Ok(Ok(eur("5"))));
        assert_eq!(code.with_payment(eur("5000"), AT), Ok(Ok(eur("15"))));
        assert_eq!(code.with_payment(eur("5000"), Timestamp::from_seconds(200)), Ok(Err(Refusal::Ended)));
        let amount = Code { min_payment: eur("50"), ..self::code() };
        assert!(amount.waits_for_payment());
        assert_eq!(amount.with_payment(eur("60"), AT), Ok(Ok(eur("10"))));
    }
}
