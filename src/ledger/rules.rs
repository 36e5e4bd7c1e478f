//! The ledger's arithmetic (design 1 and 2.3): the figures of a payer, and which source a charge burns. Pure.

pub mod codes;
#[cfg(test)]
mod properties;

use rust_decimal::Decimal;

use crate::{
    money::{Money, MoneyError},
    time::{Period, Timestamp},
};

/// Dated credit from a promo code or an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its number.
    pub id: i64,
    /// What was granted.
    pub amount: Money,
    /// What is left of it.
    pub left: Money,
    /// From when it counts.
    pub starts: Timestamp,
    /// From when it no longer counts; None: never ends.
    pub ends: Option<Timestamp>,
    /// Lower burns first.
    pub priority: i64,
    /// The one usage type it pays for; None: any. Scoped grants do not count for Available and Total (design 7.7).
    pub scope_usage_type: Option<i64>,
}

impl Grant {
    /// Whether the grant counts at this instant.
    pub fn is_active(&self, at: Timestamp) -> bool {
        self.starts <= at && self.ends.is_none_or(|ends| at < ends)
    }
}

/// Everything that the figures of a payer are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// What an administrator allocates; None: the payer is not managed.
    pub limit: Option<Money>,
    /// Every grant that is left or active.
    pub grants: Vec<Grant>,
    /// Money paid in and not spent; below zero: debt.
    pub money: Money,
    /// Rated, not yet posted, with tax.
    pub accrued: Money,
    /// What was available right after the last payment, grant or change of limit.
    pub epoch_available: Option<Money>,
}

/// The figures of a payer at an instant (design 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Total credit limit.
    pub total: Money,
    /// Used credit limit.
    pub used: Money,
    /// Balance available.
    pub available: Money,
    /// The allocated limit, zero if there is none.
    pub limit: Money,
    /// What is left of active, unscoped grants.
    pub grants_left: Money,
    /// Amounts of active, unscoped grants.
    pub grants_amount: Money,
    /// Money paid in and not spent; below zero: debt.
    pub money: Money,
    /// Rated, not yet posted.
    pub accrued: Money,
}

/// Used ÷ Total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// In percent, rounded to two decimals.
    Percent(Decimal),
    /// Total is zero or below: there is no percentage. Nothing used yet.
    NoCreditUnused,
    /// Total is zero or below, and something was used: counts as 100 %.
    NoCreditUsed,
}

impl Share {
    /// The percentage for comparing with thresholds: "no credit" with a charge counts as 100.
    pub fn for_thresholds(self) -> Decimal {
        match self {
            Self::Percent(percent) => percent,
            Self::NoCreditUnused => Decimal::ZERO,
            Self::NoCreditUsed => Decimal::ONE_HUNDRED,
        }
    }
}

impl Figures {
    /// Works the figures out at `at`.
    pub fn of(position: &Position, at: Timestamp) -> Result<Self, MoneyError> {
        let counted = || position.grants.iter().filter(|grant| grant.is_active(at) && grant.scope_usage_type.is_none());
        let grants_left = Money::sum(counted().map(|grant| grant.left))?;
        let grants_amount = Money::sum(counted().map(|grant| grant.amount))?;
        let limit = position.limit.unwrap_or(Money::ZERO);
        let available = limit.plus(grants_left)?.plus(position.money)?.minus(position.accrued)?;
        let allocated = limit.plus(grants_amount)?;
        let total = position.epoch_available.map_or(allocated, |after| after.max(allocated));
        let used = total.minus(available)?;
        Ok(Self {
            total,
            used,
            available,
            limit,
            grants_left,
            grants_amount,
            money: position.money,
            accrued: position.accrued,
        })
    }

    /// How much of Total is used.
    pub fn share(&self) -> Share {
        if !self.total.is_positive() {
            return if self.available.is_negative() { Share::NoCreditUsed } else { Share::NoCreditUnused };
        }
        self.used
            .to_decimal()
            .checked_mul(Decimal::ONE_HUNDRED)
            .and_then(|scaled| scaled.checked_div(self.total.to_decimal()))
            .map_or(Share::NoCreditUsed, |percent| Share::Percent(percent.round_dp(2)))
    }
}

/// What pays for a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A grant, by its number.
    Grant(i64),
    /// Money paid in; past it, the credit limit.
    Money,
}

/// Which sources a charge of `amount` (not negative) burns, for usage of `usage_type` at `usage_at`:
/// grants first (priority, then earliest end, then age), then money, then the limit.
pub fn burn(
    amount: Money,
    grants: &[Grant],
    usage_at: Timestamp,
    usage_type: i64,
) -> Result<Vec<(Source, Money)>, MoneyError> {
    let mut usable: Vec<&Grant> = grants
        .iter()
        .filter(|grant| grant.is_active(usage_at) && grant.left.is_positive())
        .filter(|grant| grant.scope_usage_type.is_none_or(|scope| scope == usage_type))
        .collect();
    usable.sort_by_key(|grant| {
        (grant.priority, grant.ends.unwrap_or(Timestamp::from_ms(i64::MAX)), grant.starts, grant.id)
    });
    let mut rest = amount;
    let mut burned = Vec::new();
    for grant in usable {
        if !rest.is_positive() {
            break;
        }
        let part = rest.min(grant.left);
        burned.push((Source::Grant(grant.id), part));
        rest = rest.minus(part)?;
    }
    if rest.is_positive() {
        burned.push((Source::Money, rest));
    }
    Ok(burned)
}

/// Where a correction of `amount` (positive: given back) goes: to the grants that paid for that very charge, as far as
/// they did and still count, and to money otherwise.
pub fn give_back(
    amount: Money,
    paid_by: &[(i64, Money)],
    grants: &[Grant],
    now: Timestamp,
) -> Result<Vec<(Source, Money)>, MoneyError> {
    let mut rest = amount;
    let mut given = Vec::new();
    for (grant_id, burned) in paid_by.iter().rev() {
        let counts = grants.iter().any(|grant| grant.id == *grant_id && grant.ends.is_none_or(|ends| now < ends));
        if !counts || !rest.is_positive() || !burned.is_positive() {
            continue;
        }
        let part = rest.min(*burned);
        given.push((Source::Grant(*grant_id), part));
        rest = rest.minus(part)?;
    }
    if rest.is_positive() {
        given.push((Source::Money, rest));
    }
    Ok(given)
}

/// Charges a day on average over the days that are closed: what the payer burns at the present rate.
pub fn burn_rate_per_day(charged: Money, days: u32) -> Option<Money> {
    (days > 0).then(|| Money::round_from(charged.to_decimal() / Decimal::from(days)).ok()).flatten()
}

/// Whole days until Available is used up at this rate; None where nothing is burnt or nothing is left.
pub fn days_left(available: Money, per_day: Money) -> Option<i64> {
    if !per_day.is_positive() {
        return None;
    }
    if !available.is_positive() {
        return Some(0);
    }
    available.as_micros().checked_div(per_day.as_micros())
}

/// The month up to `at`, as a period; for "this month so far".
pub fn month_so_far(at: Timestamp, zone: chrono_tz::Tz) -> Option<Period> {
    let month = crate::time::Day::of(at, zone)?.month()?.period(zone)?;
    Period::new(month.start(), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(text: &str) -> Money {
        Money::parse(text).unwrap()
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_seconds(day * 86_400)
    }

    fn grant(id: i64, amount: &str, left: &str, ends_day: Option<i64>) -> Grant {
        Grant {
            id,
            amount: eur(amount),
            left: eur(left),
            starts: at(0),
            ends: ends_day.map(at),
            priority: 0,
            scope_usage_type: None,
        }
    }

    /// The worked table of design.md section 1. Each line: limit, grants (amount, left, end day), money, accrued, what was
    /// available after the last epoch; then Total, Used, Available and the share at day 10.
    #[test]
    fn the_worked_table_holds() {
        struct Line {
            case: &'static str,
            position: Position,
            total: &'static str,
            used: &'static str,
            available: &'static str,
            share: Share,
        }
        let percent = |text: &str| Share::Percent(text.parse().unwrap());
        let position =
            |limit: Option<&str>, grants: Vec<Grant>, money: &str, accrued: &str, epoch: Option<&str>| Position {
                limit: limit.map(eur),
                grants,
                money: eur(money),
                accrued: eur(accrued),
                epoch_available: epoch.map(eur),
            };
        let table = [
            Line {
                case: "prepaid: paid 100, used 20",
                position: position(Some("0"), vec![], "80", "0", Some("100")),
                total: "100",
                used: "20",
                available: "80",
                share: percent("20"),
            },
            Line {
                case: "postpaid: limit 100, used 104.20",
                position: position(Some("100"), vec![], "-104.20", "0", Some("100")),
                total: "100",
                used: "104.20",
                available: "-4.20",
                share: percent("104.20"),
            },
            Line {
                case: "postpaid: 15 posted, 5 still accrued",
                position: position(Some("100"), vec![], "-15", "5", Some("100")),
                total: "100",
                used: "20",
                available: "80",
                share: percent("20"),
            },
            Line {
                case: "mixed: limit 50, grant 20 of which 5 left, paid 30, nothing of it spent",
                position: position(Some("50"), vec![grant(1, "20", "5", None)], "30", "0", Some("85")),
                total: "85",
                used: "0",
                available: "85",
                share: percent("0"),
            },
            Line {
                case: "an expired grant no longer counts, whatever is left of it",
                position: position(Some("50"), vec![grant(1, "20", "20", Some(9))], "0", "0", Some("50")),
                total: "50",
                used: "0",
                available: "50",
                share: percent("0"),
            },
            Line {
                case: "several payments: the second found a debt of 40 and brought 100",
                position: position(Some("100"), vec![], "60", "10", Some("160")),
                total: "160",
                used: "10",
                available: "150",
                share: percent("6.25"),
            },
            Line {
                case: "a payment that only pays the debt leaves Total at the limit",
                position: position(Some("100"), vec![], "0", "25", Some("100")),
                total: "100",
                used: "25",
                available: "75",
                share: percent("25"),
            },
            Line {
                case: "no credit at all, nothing used",
                position: position(Some("0"), vec![], "0", "0", None),
                total: "0",
                used: "0",
                available: "0",
                share: Share::NoCreditUnused,
            },
            Line {
                case: "no credit at all: the first charge counts as 100 %",
                position: position(Some("0"), vec![], "-0.01", "0", None),
                total: "0",
                used: "0.01",
                available: "-0.01",
                share: Share::NoCreditUsed,
            },
        ];
        for line in table {
            let figures = Figures::of(&line.position, at(10)).unwrap();
            assert_eq!(
                (figures.total, figures.used, figures.available, figures.share()),
                (eur(line.total), eur(line.used), eur(line.available), line.share),
                "{}",
                line.case
            );
            assert_eq!(figures.total.minus(figures.available).unwrap(), figures.used, "{}", line.case);
        }
    }

    #[test]
    fn grants_burn_by_priority_then_end_then_age() {
        let mut first = grant(1, "10", "10", None);
        first.priority = -1;
        let grants =
            [grant(4, "10", "10", Some(30)), first, grant(3, "10", "10", Some(20)), grant(2, "10", "0", Some(11))];
        let burned = burn(eur("35"), &grants, at(10), 1).unwrap();
        assert_eq!(
            burned,
            vec![
                (Source::Grant(1), eur("10")),
                (Source::Grant(3), eur("10")),
                (Source::Grant(4), eur("10")),
                (Source::Money, eur("5"))
            ]
        );
    }

    #[test]
    fn a_grant_pays_by_the_day_of_the_usage_and_within_its_scope() {
        let mut scoped = grant(1, "10", "10", Some(20));
        scoped.scope_usage_type = Some(6);
        assert_eq!(burn(eur("1"), &[scoped.clone()], at(10), 1).unwrap(), vec![(Source::Money, eur("1"))]);
        assert_eq!(burn(eur("1"), &[scoped.clone()], at(10), 6).unwrap(), vec![(Source::Grant(1), eur("1"))]);
        assert_eq!(burn(eur("1"), &[scoped], at(20), 6).unwrap(), vec![(Source::Money, eur("1"))]);
    }

    #[test]
    fn a_correction_goes_back_to_its_source_or_to_money_if_that_has_lapsed() {
        let grants = [grant(1, "10", "0", Some(5)), grant(2, "10", "0", None)];
        let paid_by = [(1, eur("10")), (2, eur("4"))];
        assert_eq!(
            give_back(eur("20"), &paid_by, &grants, at(10)).unwrap(),
            vec![(Source::Grant(2), eur("4")), (Source::Money, eur("16"))]
        );
    }

    #[test]
    fn days_left_are_whole_and_never_negative() {
        assert_eq!(days_left(eur("10"), eur("3")), Some(3));
        assert_eq!(days_left(eur("-1"), eur("3")), Some(0));
        assert_eq!(days_left(eur("10"), Money::ZERO), None);
        assert_eq!(burn_rate_per_day(eur("7"), 7), Some(eur("1")));
        assert_eq!(burn_rate_per_day(eur("7"), 0), None);
    }
}
