//! Properties of narrowing, tiers and discounts.

use proptest::{prelude::*, sample::select};
use rust_decimal::Decimal;

use super::*;
use crate::{
    rating::{
        narrowing::{Domain, Range, Tag},
        problem::quoted,
    },
    time::Day,
};

const NANOS: i64 = 1_000_000_000;

fn text(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop::option::of(select(values).prop_map(str::to_owned))
}

fn range() -> impl Strategy<Value = Option<Range>> {
    prop::option::of((0_i64..4, prop::option::of(4_i64..7)).prop_map(|(from, below)| Range { from, below }))
}

fn narrowing() -> impl Strategy<Value = Narrowing> {
    let domain = prop::option::of(select(vec!["ROOT", "ROOT/a", "ROOT/a/b", "ROOT/c"]))
        .prop_map(|path| path.map(|path| Domain::Path(path.to_owned())));
    let tag = prop::option::of((select(vec!["k", "l"]), text(&["1", "2"])))
        .prop_map(|tag| tag.map(|(key, value)| Tag { key: key.to_owned(), value }));
    let customer = (text(&["a1", "a2"]), text(&["p1", "p2"]), domain);
    let thing = (tag, text(&["t1", "t2"]), text(&["o1", "o2"]), text(&["os"]), range(), range(), text(&["z1", "z2"]));
    (customer, thing).prop_map(
        |((account, payer, domain), (tag, template, offering, os_type, cpu, memory_mib, zone))| Narrowing {
            account,
            payer,
            domain,
            tag,
            template,
            offering,
            os_type,
            cpu,
            memory_mib,
            zone,
        },
    )
}

/// Rising steps: where each ends in hundredths of a unit, and the prices in millionths.
fn steps() -> impl Strategy<Value = (Vec<i64>, Vec<i64>)> {
    (1_usize..5).prop_flat_map(|count| {
        let ends = prop::collection::btree_set(1_i64..50_000, count - 1).prop_map(|ends| ends.into_iter().collect());
        (ends, prop::collection::vec(0_i64..5_000_000, count))
    })
}

fn tiers_text((ends, prices): &(Vec<i64>, Vec<i64>)) -> String {
    let price = |price: i64| Decimal::new(price, 6);
    let mut steps: Vec<String> = ends
        .iter()
        .zip(prices)
        .map(|(end, each)| format!("{{ up_to = \"{}\", price = \"{}\" }}", Decimal::new(*end, 2), price(*each)))
        .collect();
    steps.push(format!("{{ price = \"{}\" }}", price(*prices.last().unwrap())));
    format!("tiers = [{}]\n", steps.join(", "))
}

/// What a use of so many billionths of a unit costs at these steps, exactly, in billionths of the currency.
fn graduated((ends, prices): &(Vec<i64>, Vec<i64>), used: Decimal) -> Decimal {
    let mut begin = Decimal::ZERO;
    let mut sum = Decimal::ZERO;
    for (place, price) in prices.iter().enumerate() {
        let end = ends.get(place).map_or(Decimal::MAX, |end| Decimal::new(*end, 2) * Decimal::from(NANOS));
        sum += (used.min(end) - begin).max(Decimal::ZERO) * Decimal::new(*price, 6);
        begin = end;
    }
    sum
}

/// November has so many hours in Vienna.
const NOVEMBER_HOURS: i64 = 720;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn of_two_that_fit_one_comes_first_or_the_book_refuses_them(one in narrowing(), two in narrowing(), cpu in 0_i64..8, memory in 0_i64..8) {
        let tags = [("k".to_owned(), "1".to_owned()), ("l".to_owned(), "2".to_owned())];
        let customer = Customer {
            payer: "p1".to_owned(),
            account_id: "a1".to_owned(),
            domain_ids: Vec::new(),
            domain_path: "ROOT/a/b".to_owned(),
        };
        let features = Features {
            offering: Some("o1"),
            zone: Some("z1"),
            template: Some("t1"),
            os_type: Some("os"),
            cpu_number: Some(cpu),
            memory_mib: Some(memory),
            tags: &tags,
        };
        prop_assert_eq!(one.is_ambiguous_with(&two), two.is_ambiguous_with(&one));
        if let (Some(first), Some(second)) = (one.rank(&customer, &features), two.rank(&customer, &features)) {
            prop_assert!(first != second || one == two || one.is_ambiguous_with(&two), "{:?} {:?}", one, two);
            if one.is_ambiguous_with(&two) {
                prop_assert_eq!(first, second);
            }
        }
    }

    #[test]
    fn use_at_tiers_costs_the_graduated_price_however_it_is_cut_and_ordered(
        steps in steps(),
        records in prop::collection::vec((0_i64..100_000_000_000, 1_i64..14 * 86_400, 0_i64..14 * 86_400), 1..20),
        kind in select(vec![(4, "gb", NANOS), (4, "gib", 1 << 30), (1, "hour", 1_000_000), (1, "month", 1_000_000 * NOVEMBER_HOURS)]),
    ) {
        let (id, unit, per_unit) = kind;
        let book = book(&format!("[[tariff]]\ntype = {id}\nunit = \"{unit}\"\n{}", tiers_text(&steps)));
        let customer = Customer::default();
        let mut rater = Rater::new(&book, VIENNA, &customer);
        let prices = rater.find_prices(id, &Features::default());
        let start = at("2026-11-01").as_seconds();
        let usages: Vec<Usage> = records
            .iter()
            .map(|(quantity, length, offset)| Usage {
                usage_type: id,
                quantity: *quantity,
                period: Period::new(Timestamp::from_seconds(start + offset), Timestamp::from_seconds(start + offset + length)).unwrap(),
                size_bytes: None,
            })
            .collect();
        let mut sum = |usages: &mut dyn Iterator<Item = &Usage>| {
            let (mut used, mut nanos, mut parts) = (TierUse::new(), 0, 0);
            for usage in usages {
                match rater.rate(usage, &prices, &mut used).unwrap() {
                    Rated::Charged(charge) => {
                        nanos += charge.total_nanos().unwrap();
                        parts += charge.parts().len();
                    }
                    other => panic!("{other:?}"),
                }
            }
            (nanos, i64::try_from(parts).unwrap())
        };
        let forwards = sum(&mut usages.iter());
        let backwards = sum(&mut usages.iter().rev());
        let total: i64 = usages.iter().map(|usage| usage.quantity).sum();
        let exact = graduated(&steps, Decimal::from(total) * Decimal::from(NANOS) / Decimal::from(per_unit));
        let most = steps.1.iter().max().unwrap() - steps.1.iter().min().unwrap();
        for (nanos, parts) in [forwards, backwards] {
            // Half a billionth of the currency each part, and half a billionth of the unit at the largest rise or fall each
            // piece; a part more at most for the steps that are crossed.
            let bound = Decimal::from(parts) / Decimal::TWO * (Decimal::ONE + Decimal::new(most, 6)) + Decimal::new(1, 6);
            prop_assert!((Decimal::from(nanos) - exact).abs() <= bound, "{} {} {}", nanos, exact, bound);
        }
    }

    #[test]
    fn the_days_of_a_record_are_the_record(
        steps in steps(),
        quantity in 0_i64..1_000_000_000_000,
        offset in 0_i64..60 * 86_400,
        length in 1_i64..5 * 86_400,
        change in 0_i64..5 * 86_400,
    ) {
        let start = at("2026-09-01").as_seconds() + offset;
        let change = Timestamp::from_seconds(start + change);
        let text = format!(
            "[[tariff]]\ntype = 4\nunit = \"gb\"\n{}until = \"{change}\"\n[[tariff]]\ntype = 4\nunit = \"gb\"\nprice = \"0.07\"\nfrom = \"{change}\"\n",
            tiers_text(&steps)
        );
        let book = book(&text);
        let period = Period::new(Timestamp::from_seconds(start), Timestamp::from_seconds(start + length)).unwrap();
        let usage = Usage { usage_type: 4, quantity, period, size_bytes: None };
        let customer = Customer::default();
        let mut rater = Rater::new(&book, VIENNA, &customer);
        let prices = rater.find_prices(4, &Features::default());
        let (mut whole, mut by_day) = (TierUse::new(), TierUse::new());
        let charge = expect_charge(rater.rate(&usage, &prices, &mut whole));
        prop_assert_eq!(charge.parts().iter().map(|part| part.quantity).sum::<i64>(), quantity);
        let mut parts = Vec::new();
        let mut day = Day::of(period.start(), VIENNA).unwrap();
        while day.start(VIENNA).unwrap() < period.end() {
            parts.extend(expect_charge(rater.rate_on(day, &usage, &prices, &mut by_day)).parts().to_vec());
            day = day.next();
        }
        prop_assert_eq!(parts.as_slice(), charge.parts());
        prop_assert_eq!(by_day, whole);
    }

    #[test]
    fn a_discount_takes_its_share_and_never_more_than_there_is(
        price in 0_i64..1_000_000_000_000,
        percent in 0_i64..=1_000_000,
        quantity in 0_i64..24_000_000,
    ) {
        let tariff = format!("[[tariff]]\ntype = 1\nunit = \"month\"\nprice = \"{}\"\n", Decimal::new(price, 9));
        let percent = Decimal::new(percent, 4);
        let discounted = book(&format!("{tariff}[[discount]]\npercent = \"{percent}\"\n"));
        let usage = Usage { quantity, ..usage(1, "1", period("2026-11-16", "2026-11-17")) };
        let part = charged(&discounted, &usage).parts()[0];
        prop_assert!(part.amount_nanos >= 0 && part.discount_nanos() >= 0);
        prop_assert_eq!(part.list_nanos, nanos(&book(&tariff), &usage)[0]);
        // Exactly what is left of the exact list price, rounded once.
        let kept = (Decimal::ONE_HUNDRED - percent) / Decimal::ONE_HUNDRED;
        let about = Decimal::from(part.list_nanos) * kept;
        prop_assert!((Decimal::from(part.amount_nanos) - about).abs() <= Decimal::ONE);
    }

    #[test]
    fn no_text_in_any_key_makes_the_reader_stumble(
        key in select(vec![
            "price", "tiers", "free_amount", "account", "payer", "domain", "tag", "template", "offering", "os", "cpu_from", "cpu_below",
            "memory_from", "memory_below", "zone", "percent", "from", "until",
        ]),
        entry in select(vec!["tariff", "discount", "tax"]),
        value in "\\PC{0,30}",
        bare in "[\\[\\]{}a-z0-9=\", .-]{0,30}",
    ) {
        for value in [quoted(&value), bare] {
            let text = format!("currency = \"EUR\"\n[[{entry}]]\ntype = 1\nunit = \"hour\"\n{key} = {value}\n");
            if let Ok(book) = PriceBook::parse(&text, VIENNA) {
                // What was understood is written so that it is understood again.
                let again = PriceBook::parse(book.canonical_text(), UTC).unwrap();
                prop_assert_eq!(again.digest(), book.digest());
            }
        }
    }
}
