//! The price list of one customer: of all tariffs in the book those that ever count for them, from when to when, with the
//! discount that comes off. What is shown is what is charged: the order of tariffs is the rater's.

use super::{
    book::{PriceBook, Tariff, TariffRef},
    discount::Discount,
    narrowing::{Customer, Narrowing, Range, Rank},
};
use crate::time::Timestamp;

/// A tariff while it counts for a customer, under one discount or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnPrice<'b> {
    /// The tariff.
    pub tariff: &'b Tariff,
    /// Which it is.
    pub reference: TariffRef,
    /// What comes off.
    pub discount: Option<&'b Discount>,
    /// The first instant; None: always so far.
    pub from: Option<Timestamp>,
    /// The first instant at which it no longer holds; None: for ever.
    pub until: Option<Timestamp>,
}

/// A stretch of time; the ends of time are the ends of the numbers.
type Stretch = (Timestamp, Timestamp);

const BEGIN: Timestamp = Timestamp::from_ms(i64::MIN);
const END: Timestamp = Timestamp::from_ms(i64::MAX);

impl PriceBook {
    /// The prices of a customer that hold now or come later, by type, what they are for, and time. A tariff that a more
    /// specific one of the customer replaces altogether is left out while that one is in force.
    pub fn own_prices(&self, customer: &Customer, now: Timestamp) -> Vec<OwnPrice<'_>> {
        let fitting: Vec<(Rank, TariffRef, &Tariff)> = (0_u32..)
            .zip(self.tariffs())
            .filter_map(|(index, tariff)| {
                let rank = tariff.narrowing().rank_for(customer)?;
                Some((rank, TariffRef { index, line: tariff.line(), from: tariff.from() }, tariff))
            })
            .collect();
        let mut prices = Vec::new();
        for (rank, reference, tariff) in &fitting {
            let mut stretches = vec![(tariff.from().unwrap_or(BEGIN).max(now), tariff.until().unwrap_or(END))];
            let replaces = |other: &(Rank, TariffRef, &Tariff)| {
                other.2.usage_type() == tariff.usage_type()
                    && other.0 > *rank
                    && other.2.narrowing().takes_all_of(tariff.narrowing())
            };
            for (_, _, other) in fitting.iter().filter(|other| replaces(other)) {
                let hidden = (other.from().unwrap_or(BEGIN), other.until().unwrap_or(END));
                stretches = stretches.into_iter().flat_map(|stretch| without(stretch, hidden)).collect();
            }
            for stretch in stretches.into_iter().filter(|(from, until)| from < until) {
                for (from, until, discount) in self.discounted(customer, tariff, stretch) {
                    // What began before now began when the book says, as far as the book says it.
                    let from = if from == now { tariff.from().filter(|from| *from <= now) } else { Some(from) };
                    let until = (until != END).then_some(until);
                    prices.push(OwnPrice { tariff, reference: *reference, discount, from, until });
                }
            }
        }
        prices.sort_by_key(|price| {
            (price.tariff.usage_type().id, price.tariff.narrowing().what_only(), price.from.unwrap_or(BEGIN))
        });
        prices
    }

    /// A stretch of a tariff, cut where the customer's discount changes.
    fn discounted(
        &self,
        customer: &Customer,
        tariff: &Tariff,
        (from, until): Stretch,
    ) -> Vec<(Timestamp, Timestamp, Option<&Discount>)> {
        let Some(cuts) = self.cuts(tariff.usage_type(), customer) else { return vec![(from, until, None)] };
        let (mut at, mut pieces) = (from, Vec::new());
        while at < until {
            let (cut, end) = cuts.at(at);
            let discount = cut.and_then(|cut| self.discount(cut.discount)).filter(|found| !found.percent().is_zero());
            pieces.push((at, end.min(until), discount));
            at = end;
        }
        pieces
    }
}

/// What is left of a stretch without another one.
fn without((from, until): Stretch, (hidden_from, hidden_until): Stretch) -> Vec<Stretch> {
    if hidden_until <= from || until <= hidden_from {
        return vec![(from, until)];
    }
    let pieces = [(from, hidden_from.min(until)), (hidden_until.max(from), until)];
    pieces.into_iter().filter(|(from, until)| from < until).collect()
}

impl Narrowing {
    /// The same without for whom it is.
    #[must_use]
    pub fn what_only(&self) -> Self {
        Self { account: None, payer: None, domain: None, ..self.clone() }
    }

    /// Whether every thing that fits the other one fits this one, whoever uses it.
    fn takes_all_of(&self, other: &Self) -> bool {
        let same = |own: Option<&String>, its: Option<&String>| own.is_none() || own == its;
        let sizes = |own: Option<Range>, its: Option<Range>| match (own, its) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(its)) => {
                own.from <= its.from
                    && own.below.is_none_or(|below| its.below.is_some_and(|its_below| its_below <= below))
            }
        };
        let tags = match (&self.tag, &other.tag) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(its)) => own.key == its.key && (own.value.is_none() || own.value == its.value),
        };
        tags && same(self.template.as_ref(), other.template.as_ref())
            && same(self.offering.as_ref(), other.offering.as_ref())
            && same(self.os_type.as_ref(), other.os_type.as_ref())
            && same(self.zone.as_ref(), other.zone.as_ref())
            && sizes(self.cpu, other.cpu)
            && sizes(self.memory_mib, other.memory_mib)
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::rating::Features;

    const BOOK: &str = r#"
currency = "EUR"
free = ["template"]
[[tariff]]
type = "running-vm"
unit = "hour"
price = "0.10"
until = "2026-12-01"
[[tariff]]
type = "running-vm"
unit = "hour"
price = "0.12"
from = "2026-12-01"
[[tariff]]
type = "running-vm"
offering = "small"
unit = "hour"
price = "0.05"
[[tariff]]
type = "running-vm"
payer = "Acme"
unit = "hour"
price = "0.04"
from = "2026-11-10"
until = "2026-11-20"
[[tariff]]
type = "running-vm"
domain = "ROOT/other"
unit = "hour"
price = "9"
[[tariff]]
type = "running-vm"
cpu_from = 8
unit = "hour"
price = "0.30"
[[discount]]
percent = "10"
payer = "Acme"
until = "2026-12-15"
"#;

    fn day(text: &str) -> Timestamp {
        Timestamp::parse(text, Tz::UTC).unwrap()
    }

    fn acme() -> Customer {
        Customer {
            payer: "Acme".to_owned(),
            account_id: "a".to_owned(),
            domain_ids: vec!["d".to_owned()],
            domain_path: "ROOT/acme".to_owned(),
        }
    }

    fn shown(prices: &[OwnPrice<'_>]) -> Vec<String> {
        let date = |at: Option<Timestamp>| at.map_or_else(|| "…".to_owned(), |at| at.to_string()[..10].to_owned());
        prices
            .iter()
            .map(|price| {
                let what = price.tariff.narrowing().what_only().words().unwrap_or_else(|| "all".to_owned());
                let off = price.discount.map_or_else(String::new, |off| format!(" -{}", off.percent()));
                format!("{what} {}{off} {} {}", price.tariff.pricing(), date(price.from), date(price.until))
            })
            .collect()
    }

    #[test]
    fn a_customer_sees_what_counts_for_them_and_from_when_to_when() {
        let book = PriceBook::parse(BOOK, Tz::UTC).unwrap();
        assert_eq!(
            shown(&book.own_prices(&acme(), day("2026-11-15"))),
            [
                "all 0.04 -10 2026-11-10 2026-11-20",
                "all 0.10 -10 2026-11-20 2026-12-01",
                "all 0.12 -10 2026-12-01 2026-12-15",
                "all 0.12 2026-12-15 …",
                "CPUs from 8 0.30 -10 2026-11-20 2026-12-15",
                "CPUs from 8 0.30 2026-12-15 …",
                "offering small 0.05 -10 2026-11-20 2026-12-15",
                "offering small 0.05 2026-12-15 …",
            ]
        );
        let nobody = book.own_prices(&Customer::default(), day("2026-11-15"));
        assert_eq!(shown(&nobody).first().map(String::as_str), Some("all 0.10 … 2026-12-01"));
        assert!(!shown(&nobody).iter().any(|line| line.contains("0.04") || line.contains('9')), "{nobody:?}");
    }

    #[test]
    fn what_is_shown_for_an_instant_is_what_prices_a_record_then() {
        let book = PriceBook::parse(BOOK, Tz::UTC).unwrap();
        let things = [
            Features::default(),
            Features { offering: Some("small"), ..Features::default() },
            Features { cpu_number: Some(8), ..Features::default() },
            Features { cpu_number: Some(9), offering: Some("small"), ..Features::default() },
        ];
        for customer in [acme(), Customer::default()] {
            let prices = book.own_prices(&customer, day("2026-11-01"));
            for number in 0..60 {
                let at = day("2026-11-01").plus(std::time::Duration::from_hours(24 * number));
                for features in &things {
                    let counts = book.candidates(1, &customer, features, at).first().map(|found| found.tariff);
                    let listed = prices
                        .iter()
                        .filter(|price| price.from.is_none_or(|from| from <= at))
                        .filter(|price| price.until.is_none_or(|until| at < until))
                        .filter_map(|price| Some((price.tariff.narrowing().rank(&customer, features)?, price)))
                        .max_by_key(|(rank, _)| *rank)
                        .map(|(_, price)| price.reference);
                    assert_eq!(listed, counts, "{features:?} at {at}");
                }
            }
        }
    }

    #[test]
    fn a_stretch_without_another_is_what_is_left_on_both_sides() {
        let at = Timestamp::from_ms;
        let cut = |hidden: (i64, i64)| {
            let left = without((at(10), at(20)), (at(hidden.0), at(hidden.1)));
            left.into_iter().map(|(from, until)| (from.as_ms(), until.as_ms())).collect::<Vec<_>>()
        };
        assert_eq!(cut((0, 10)), [(10, 20)]);
        assert_eq!(cut((20, 30)), [(10, 20)]);
        assert_eq!(cut((12, 15)), [(10, 12), (15, 20)]);
        assert_eq!(cut((0, 15)), [(15, 20)]);
        assert_eq!(cut((15, 30)), [(10, 15)]);
        assert_eq!(cut((0, 30)), []);
    }
}
