use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::{money::NANOS_PER_UNIT, usage::types::UsageType};

/// 2026-01-01 to some months later: clocks change in between.
const FIRST_SECOND: i64 = 1_767_222_000;
const SPAN_SECONDS: i64 = 300 * 86_400;

fn seconds(start: i64, length: i64) -> Period {
    Period::new(Timestamp::from_seconds(start), Timestamp::from_seconds(start + length)).unwrap()
}

fn zones() -> impl Strategy<Value = Tz> {
    prop::sample::select(vec![UTC, VIENNA, Tz::Asia__Kolkata, Tz::Australia__Lord_Howe, Tz::America__St_Johns])
}

/// Every type by every unit it takes, so that each way of pricing is tried.
fn kinds() -> impl Strategy<Value = (i32, &'static str)> {
    let all: Vec<_> =
        UsageType::all().iter().flat_map(|known| known.units.iter().map(|unit| (known.id, unit.name()))).collect();
    prop::sample::select(all)
}

fn priced((id, unit): (i32, &str), price: Decimal, change: Timestamp) -> PriceBook {
    let tariff = |price: Decimal, dated: String| {
        format!("[[tariff]]\ntype = {id}\nunit = \"{unit}\"\nprice = \"{price}\"\n{dated}\n")
    };
    let (before, after) =
        (tariff(price, format!("until = \"{change}\"")), tariff(price, format!("from = \"{change}\"")));
    book(&(before + &after))
}

fn a_usage(id: i32, quantity: i64, period: Period, size_bytes: i64) -> Usage {
    Usage { usage_type: id, quantity, period, size_bytes: Some(size_bytes) }
}

fn rate_with(rater: &mut Rater<'_>, usage: &Usage) -> Rated {
    let prices = rater.find_prices(usage.usage_type, &Features::default());
    rater.rate(usage, &prices, &mut TierUse::new()).unwrap()
}

fn total(rater: &mut Rater<'_>, usage: &Usage) -> (i64, i64) {
    match rate_with(rater, usage) {
        Rated::Charged(charge) => (charge.total_nanos().unwrap(), i64::try_from(charge.parts().len()).unwrap()),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn parts_cover_the_record_and_add_up_to_it(
        kind in kinds(),
        zone in zones(),
        price in 0_i64..1_000_000_000_000,
        start in FIRST_SECOND..FIRST_SECOND + SPAN_SECONDS,
        length in 1_i64..40 * 86_400,
        change in 0_i64..40 * 86_400,
        quantity in 0_i64..10_000_000_000,
        size in 0_i64..1 << 42,
    ) {
        let book = priced(kind, Decimal::new(price, 12), Timestamp::from_seconds(start + change));
        let usage = a_usage(kind.0, quantity, seconds(start, length), size);
        let Rated::Charged(charge) = rate(&book, &usage, zone).unwrap() else { panic!() };
        let parts = charge.parts();
        prop_assert_eq!(parts.iter().map(|part| part.quantity).sum::<i64>(), usage.quantity);
        prop_assert!(parts.iter().all(|part| part.amount_nanos >= 0 && part.quantity >= 0));
        prop_assert_eq!(parts.first().unwrap().period.start(), usage.period.start());
        prop_assert_eq!(parts.last().unwrap().period.end(), usage.period.end());
        for (part, next) in parts.iter().zip(parts.iter().skip(1)) {
            prop_assert_eq!(part.period.end(), next.period.start());
        }
        for part in parts {
            prop_assert!(part.day.period(zone).unwrap().covers(part.period));
            let tariff = book.tariff(part.tariff).unwrap();
            prop_assert!(tariff.from().is_none_or(|from| from <= part.period.start()));
            prop_assert!(tariff.until().is_none_or(|until| part.period.end() <= until));
        }
        // Again, and by a rater that has seen other days: the same.
        let nobody = Customer::default();
        let mut rater = Rater::new(&book, zone, &nobody);
        for offset in [0, 86_400, 40 * 86_400] {
            rate_with(&mut rater, &a_usage(kind.0, 1, seconds(start + offset, 100_000), 1));
        }
        prop_assert_eq!(rate_with(&mut rater, &usage), Rated::Charged(charge));
    }

    #[test]
    fn a_record_split_at_any_second_costs_the_same(
        kind in kinds(),
        zone in zones(),
        price in 0_i64..1_000_000_000_000,
        start in FIRST_SECOND..FIRST_SECOND + SPAN_SECONDS,
        length in 2_i64..3 * 86_400,
        cut in 0_i64..3 * 86_400,
        each_second in 0_i64..2_000,
        size in 0_i64..1 << 42,
    ) {
        let cut = 1 + cut % (length - 1);
        // A quantity that divides by seconds without a rest, so that the two records are the one record.
        let is_level = kind.0 == 29;
        let quantity = |seconds: i64| if is_level { each_second } else { each_second * seconds };
        let book = priced(kind, Decimal::new(price, 12), Timestamp::from_seconds(start + length / 3));
        let nobody = Customer::default();
        let mut rater = Rater::new(&book, zone, &nobody);
        let (whole, parts) = total(&mut rater, &a_usage(kind.0, quantity(length), seconds(start, length), size));
        let (first, first_parts) = total(&mut rater, &a_usage(kind.0, quantity(cut), seconds(start, cut), size));
        let (second, second_parts) =
            total(&mut rater, &a_usage(kind.0, quantity(length - cut), seconds(start + cut, length - cut), size));
        // Each part is at most half a billionth off.
        prop_assert!(2 * (first + second - whole).abs() <= parts + first_parts + second_parts);
    }

    #[test]
    fn an_hourly_amount_is_the_exact_product_rounded_once(price in 0_i64..1_000_000_000_000, quantity in 0_i64..24_000_000) {
        let book = one("running-vm", "hour", &Decimal::new(price, 9).to_string());
        let day = period("2026-11-16", "2026-11-17");
        let exact = Decimal::new(price, 9) * Decimal::new(quantity, 6) * Decimal::from(NANOS_PER_UNIT);
        let found = nanos(&book, &a_usage(1, quantity, day, 0));
        prop_assert_eq!(found, [i64::try_from(exact.round_dp(0)).unwrap()]);
    }

    #[test]
    fn units_agree_with_each_other(gib in 0_i64..10_000, hours in 0_i64..24, price in 0_i64..1_000_000) {
        // November has 720 h in Vienna: 720 times the hourly price is the monthly one.
        let day = period("2026-11-16", "2026-11-17");
        let volume = a_usage(6, hours * 1_000_000, day, gib << 30);
        let by_hour = one("volume", "gib-hour", &Decimal::new(price, 6).to_string());
        let by_month = one("volume", "gib-month", &Decimal::new(price * 720, 6).to_string());
        prop_assert_eq!(nanos(&by_hour, &volume), [gib * hours * price * 1_000]);
        prop_assert_eq!(nanos(&by_month, &volume), nanos(&by_hour, &volume));
        let bucket = a_usage(29, gib << 30, day, 0);
        prop_assert_eq!(nanos(&one("bucket", "gib-hour", &Decimal::new(price, 6).to_string()), &bucket), [gib * 24 * price * 1_000]);
    }

    #[test]
    fn no_text_makes_the_reader_stumble(text in "[\\[\\]a-z=\"\\. \n0-9-]{0,200}", price in "\\PC{0,20}", from in "\\PC{0,20}") {
        let _ = PriceBook::parse(&text, VIENNA);
        let quoted = |text: &str| crate::rating::problem::quoted(text);
        let tariff = format!("type = \"vpc\"\nunit = \"hour\"\nprice = {}\nfrom = {}", quoted(&price), quoted(&from));
        let _ = PriceBook::parse(&format!("currency = \"EUR\"\n[[tariff]]\n{tariff}\n"), VIENNA);
    }
}
