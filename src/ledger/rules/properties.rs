//! What holds for every charge and correction, whatever the amounts.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::rating::tax::TaxRate;

fn money(micros: i64) -> Money {
    Money::from_micros(micros)
}

fn grants() -> impl Strategy<Value = Vec<Grant>> {
    let one = (
        1_i64..1_000_000,
        0_i64..=100,
        0_i64..40,
        proptest::option::of(1_i64..40),
        -2_i64..3,
        proptest::option::of(1_i64..3),
    );
    vec(one, 0..8).prop_map(|terms| {
        terms
            .into_iter()
            .zip(1..)
            .map(|((amount, left, starts, lasts, priority, scope), id)| Grant {
                id,
                amount: money(amount),
                left: money(amount * left / 100),
                starts: Timestamp::from_seconds(starts),
                ends: lasts.map(|lasts| Timestamp::from_seconds(starts + lasts)),
                priority,
                scope_usage_type: scope,
            })
            .collect()
    })
}

fn apply(grants: &mut [Grant], paid: &mut Vec<(i64, Money)>, moved: &[(Source, Money)], sign: i64) -> i64 {
    let mut of_money = 0;
    for (source, part) in moved {
        let micros = part.as_micros() * sign;
        match source {
            Source::Money => of_money += micros,
            Source::Grant(id) => {
                let grant = grants.iter_mut().find(|grant| grant.id == *id).unwrap();
                grant.left = money(grant.left.as_micros() - micros);
                match paid.iter_mut().find(|(known, _)| known == id) {
                    Some(known) => known.1 = money(known.1.as_micros() + micros),
                    None => paid.push((*id, money(micros))),
                }
            }
        }
    }
    of_money
}

proptest! {
    #[test]
    fn a_charge_and_any_number_of_corrections_keep_every_grant_within_its_amount(
        mut grants in grants(),
        totals in vec((0_i64..3_000_000, 0_i64..60), 1..12),
        usage_at in 0_i64..60,
        usage_type in 1_i64..3,
    ) {
        let before: i64 = grants.iter().map(|grant| grant.left.as_micros()).sum();
        let (mut paid, mut charged, mut of_money) = (Vec::new(), 0, 0);
        for (total, now) in totals {
            let now = Timestamp::from_seconds(now);
            let difference = total - charged;
            let moved = if difference >= 0 {
                let at = Timestamp::from_seconds(usage_at);
                let burned = burn(money(difference), &grants, at, usage_type).unwrap();
                for (source, _) in &burned {
                    if let Source::Grant(id) = source {
                        let grant = grants.iter().find(|grant| grant.id == *id).unwrap();
                        prop_assert!(grant.is_active(at) && grant.scope_usage_type.is_none_or(|scope| scope == usage_type));
                    }
                }
                burned
            } else {
                let given = give_back(money(-difference), &paid, &grants, now).unwrap();
                for (source, _) in &given {
                    if let Source::Grant(id) = source {
                        let grant = grants.iter().find(|grant| grant.id == *id).unwrap();
                        prop_assert!(grant.ends.is_none_or(|ends| now < ends), "it has ended: money gets it");
                    }
                }
                given
            };
            prop_assert!(moved.iter().all(|(_, part)| part.is_positive()));
            let sum: i64 = moved.iter().map(|(_, part)| part.as_micros()).sum();
            prop_assert_eq!(sum, difference.abs());
            of_money += apply(&mut grants, &mut paid, &moved, difference.signum());
            charged = total;
            for grant in &grants {
                prop_assert!(!grant.left.is_negative() && grant.left <= grant.amount, "{:?}", grant);
            }
            let left: i64 = grants.iter().map(|grant| grant.left.as_micros()).sum();
            prop_assert_eq!(before - left + of_money, charged, "what was paid is what was charged");
        }
    }

    /// Posted is the difference to what was posted: however often a day is corrected, net and tax are off by half a millionth at
    /// most, and the tax by half a millionth from the tax on the posted net.
    #[test]
    fn corrections_never_drift(totals in vec(-5_000_000_000_000_i64..5_000_000_000_000, 1..40), rate in 0_i64..1_000_000) {
        let rate = TaxRate::from_percent(Decimal::new(rate, 4)).unwrap();
        let (mut net, mut tax) = (Money::ZERO, Money::ZERO);
        for nanos in totals {
            let wanted = Money::round_from_nanos(nanos);
            let more = wanted.minus(net).unwrap();
            let tax_more = rate.of(wanted).unwrap().minus(tax).unwrap();
            net = net.plus(more).unwrap();
            tax = tax.plus(tax_more).unwrap();
            prop_assert!((i128::from(net.as_micros()) * 1_000 - i128::from(nanos)).abs() <= 500);
            let exact = net.to_decimal() * rate.percent() / Decimal::ONE_HUNDRED;
            prop_assert!((tax.to_decimal() - exact).abs() <= Decimal::new(5, 7));
        }
    }
}
