use super::*;
use crate::{money::Money, time::Day};

fn day(text: &str) -> Day {
    Day::from_date(text.parse().unwrap())
}

#[test]
fn an_hour_tariff_is_price_times_hours() {
    let book = one("running-vm", "hour", "0.02");
    let charge = charged(&book, &usage(1, "0.430556", period("2026-11-16T17:34:07Z", "2026-11-16T18:00:00Z")));
    let [part] = charge.parts() else { panic!("{charge:?}") };
    // 0.02 × 0.430556 = 0.00861112
    assert_eq!(part.amount_nanos, 8_611_120);
    assert_eq!((part.day, part.quantity), (day("2026-11-16"), 430_556));
    assert_eq!((part.tariff.index, part.tariff.line, part.tariff.from), (0, 2, None));
    assert!(charge.unpriced().is_empty());
    assert_eq!(book.tariff(part.tariff).unwrap().unit().name(), "hour");
}

#[test]
fn amounts_round_half_to_even_at_the_billionth() {
    // 0.0000000005 × 1 h is half a billionth: to 0; × 3 h is one and a half: to 2; × 3.000001 h: above, to 2; × 5: to 2
    let book = one("running-vm", "hour", "0.0000000005");
    let of = |hours: &str| nanos(&book, &usage(1, hours, period("2026-11-16", "2026-11-17")))[0];
    assert_eq!((of("1"), of("3"), of("3.000001"), of("5"), of("1.000001")), (0, 2, 2, 2, 1));
}

#[test]
fn a_record_across_midnight_is_cut_by_seconds() {
    // 22:00 to 02:00 in Vienna (UTC+1): two hours on each day; 4 h × 0.02 = 0.08
    let book = one("running-vm", "hour", "0.02");
    let charge = charged(&book, &usage(1, "4", period("2026-11-16T21:00:00Z", "2026-11-17T01:00:00Z")));
    let shown: Vec<_> = charge.parts().iter().map(|part| (part.day, part.quantity, part.amount_nanos)).collect();
    assert_eq!(shown, [(day("2026-11-16"), 2_000_000, 40_000_000), (day("2026-11-17"), 2_000_000, 40_000_000)]);
    // A third on the first day: 1 h of 3 h in which the machine ran for 1 h. 0.02 × 1/3 and 0.02 × 2/3
    let charge = charged(&book, &usage(1, "1", period("2026-11-16T22:00:00Z", "2026-11-17T01:00:00Z")));
    let shown: Vec<_> = charge.parts().iter().map(|part| (part.quantity, part.amount_nanos)).collect();
    assert_eq!(shown, [(333_333, 6_666_667), (666_667, 13_333_333)]);
    assert_eq!(charge.total_nanos(), Some(20_000_000));
}

#[test]
fn a_price_change_inside_a_record_splits_it() {
    let book = book(
        "[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.02\"\nuntil = \"2026-11-16T12:00:00Z\"\n\
         [[tariff]]\ntype = \"running-vm\"\nunit = \"month\"\nprice = \"36\"\nfrom = \"2026-11-16T12:00:00Z\"\n",
    );
    // Noon to one: a quarter of the hour at 0.02 = 0.005; three quarters at 36 ÷ 720 h of November = 0.0375
    let charge = charged(&book, &usage(1, "1", period("2026-11-16T11:45:00Z", "2026-11-16T12:45:00Z")));
    let shown: Vec<_> =
        charge.parts().iter().map(|part| (part.quantity, part.amount_nanos, part.tariff.line)).collect();
    assert_eq!(shown, [(250_000, 5_000_000, 2), (750_000, 37_500_000, 7)]);
    assert_eq!(charge.parts()[1].tariff.from, Some(at("2026-11-16T12:00:00Z")));
    assert_eq!(charge.parts()[0].period, period("2026-11-16T11:45:00Z", "2026-11-16T12:00:00Z"));
}

#[test]
fn month_tariffs_divide_by_the_real_hours() {
    let book = one("ip-address", "month", "7.44");
    // One day: 24 h of 744 h in January = 0.24; of 672 h in February = 0.265714286
    assert_eq!(nanos(&book, &usage(3, "24", period("2027-01-10", "2027-01-11"))), [240_000_000]);
    assert_eq!(nanos(&book, &usage(3, "24", period("2027-02-10", "2027-02-11"))), [265_714_286]);
    // A month tariff takes the length of each day's own month: 31 January and 1 February
    let across = nanos(&book, &usage(3, "48", period("2027-01-31", "2027-02-02")));
    assert_eq!(across, [240_000_000, 265_714_286]);
}

#[test]
fn a_month_with_a_changed_clock_costs_the_monthly_price() {
    let book = one("ip-address", "month", "7.44");
    // March 2026 has 743 h in Vienna, October 745 h. An hour in March: 7.44 ÷ 743 = 0.010013459 (…0134589…)
    let an_hour = |start, end| nanos(&book, &usage(3, "1", period(start, end)))[0];
    assert_eq!(an_hour("2026-03-10T10:00:00Z", "2026-03-10T11:00:00Z"), 10_013_459);
    // 7.44 ÷ 745 = 0.009986577 (…5771…)
    assert_eq!(an_hour("2026-10-10T10:00:00Z", "2026-10-10T11:00:00Z"), 9_986_577);
    for (start, end, days) in
        [("2026-03-01", "2026-04-01", 31), ("2026-10-01", "2026-11-01", 31), ("2027-02-01", "2027-03-01", 28)]
    {
        let request = Quote {
            usage_type: 3,
            amount: rust_decimal::Decimal::ONE,
            period: period(start, end),
            size_bytes: None,
            features: Features::default(),
        };
        let Ok(Rated::Charged(charge)) = quote(&book, &request, VIENNA) else { panic!() };
        assert_eq!(charge.parts().len(), days);
        assert_eq!(Money::round_from_nanos(charge.total_nanos().unwrap()), Money::parse("7.44").unwrap());
    }
    // The day on which the clock went forward has 23 h of the 743.
    let charge = charged(&book, &usage(3, "23", period("2026-03-29", "2026-03-30")));
    assert_eq!((charge.parts().len(), charge.parts()[0].amount_nanos), (1, 230_309_556));
}

#[test]
fn sizes_are_in_gib_of_two_to_the_thirtieth() {
    let volume = Usage { size_bytes: Some(2 << 30), ..usage(6, "24", period("2026-11-16", "2026-11-17")) };
    // 2 GiB × 24 h × 0.001 = 0.048
    assert_eq!(nanos(&one("volume", "gib-hour", "0.001"), &volume), [48_000_000]);
    // 2 GiB × 24 ÷ 720 × 0.09 = 0.006
    assert_eq!(nanos(&one("volume", "gib-month", "0.09"), &volume), [6_000_000]);
    // By hour the size does not matter.
    assert_eq!(nanos(&one("volume", "hour", "0.001"), &volume), [24_000_000]);
    // A snapshot of no bytes costs nothing.
    let empty = Usage { size_bytes: Some(0), ..volume };
    assert_eq!(nanos(&one("volume", "gib-month", "0.09"), &empty), [0]);
}

#[test]
fn bytes_and_operations_are_priced_by_what_the_unit_says() {
    let hour = period("2026-11-16T10:00:00Z", "2026-11-16T11:00:00Z");
    // 5 × 10^9 bytes at 0.01 a GB; 4.656612873 GiB of 2^30 at 0.01
    assert_eq!(nanos(&one("network-bytes-sent", "gb", "0.01"), &usage(4, "5000000000", hour)), [50_000_000]);
    assert_eq!(nanos(&one("network-bytes-sent", "gib", "0.01"), &usage(4, "5000000000", hour)), [46_566_129]);
    // 3.2 million requests at 0.10
    assert_eq!(nanos(&one("vm-disk-io-read", "million", "0.10"), &usage(21, "3200000", hour)), [320_000_000]);
}

#[test]
fn a_bucket_is_held_for_its_window() {
    let hour = period("2026-11-16T10:00:00Z", "2026-11-16T11:00:00Z");
    let held = (100_i64 << 30).to_string();
    // 100 GiB × 1 h × 0.001; 100 GiB × 1 ÷ 720 × 0.018 = 0.0025
    assert_eq!(nanos(&one("bucket", "gib-hour", "0.001"), &usage(29, &held, hour)), [100_000_000]);
    assert_eq!(nanos(&one("bucket", "gib-month", "0.018"), &usage(29, &held, hour)), [2_500_000]);
    // Across midnight each day has its own hours: 22:00 to 02:00 in Vienna, 2 h × 100 GiB × 0.001 on each
    let across = period("2026-11-16T21:00:00Z", "2026-11-17T01:00:00Z");
    assert_eq!(nanos(&one("bucket", "gib-hour", "0.001"), &usage(29, &held, across)), [200_000_000; 2]);
}

#[test]
fn an_offering_comes_before_the_general_price_while_it_is_in_force() {
    let book = book(
        "[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"3\"\n\
         [[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"2\"\noffering = \"small\"\nfrom = \"2026-11-16T12:00:00Z\"\nuntil = \"2026-11-16T13:00:00Z\"\n\
         [[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"\"\noffering = \"later\"\n",
    );
    let record = usage(1, "3", period("2026-11-16T11:00:00Z", "2026-11-16T14:00:00Z"));
    let of = |id: &str| nanos_of(&book, &record, &Customer::default(), &offering(id));
    assert_eq!(nanos(&book, &record), [9_000_000_000]);
    assert_eq!(of("other"), [9_000_000_000]);
    assert_eq!(of("small"), [3_000_000_000, 2_000_000_000, 3_000_000_000]);
    let later = rate_of(&book, &record, VIENNA, &Customer::default(), &offering("later"));
    assert_eq!(later, Ok(Rated::Unpriced));
}

#[test]
fn what_has_no_price_is_unpriced_and_never_zero() {
    let book = book("free = [\"iso\"]\n[[tariff]]\ntype = \"vpc\"\nunit = \"hour\"\nprice = \"0\"\n");
    let hour = period("2026-11-16T10:00:00Z", "2026-11-16T11:00:00Z");
    assert_eq!(rate(&book, &usage(1, "1", hour), VIENNA), Ok(Rated::Unpriced));
    assert_eq!(rate(&book, &usage(99, "1", hour), VIENNA), Ok(Rated::Unpriced));
    assert_eq!(rate(&book, &usage(8, "1", hour), VIENNA), Ok(Rated::Free));
    // A price of zero is a price.
    assert_eq!(nanos(&book, &usage(31, "1", hour)), [0]);
}

#[test]
fn the_time_before_the_first_price_is_listed_as_unpriced() {
    let book = book("[[tariff]]\ntype = \"vpc\"\nunit = \"hour\"\nprice = \"1\"\nfrom = \"2026-11-17\"\n");
    let charge = charged(&book, &usage(31, "3", period("2026-11-16T22:00:00Z", "2026-11-17T01:00:00Z")));
    let [unpriced] = charge.unpriced() else { panic!("{charge:?}") };
    assert_eq!((unpriced.day, unpriced.quantity), (day("2026-11-16"), 1_000_000));
    assert_eq!(unpriced.period, period("2026-11-16T22:00:00Z", "2026-11-16T23:00:00Z"));
    assert_eq!((charge.parts().len(), charge.total_nanos()), (1, Some(2_000_000_000)));
}

#[test]
fn what_can_not_be_priced_says_why() {
    let hour = period("2026-11-16T10:00:00Z", "2026-11-16T11:00:00Z");
    let backups = one("backup", "gib-month", "0.05");
    let error = rate(&backups, &usage(28, "1", hour), VIENNA).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a record of \"backup\" carries no size, and line 2 of the price book prices it by gib-month; \
         price it by hour or month, or update CloudStack (its issue 12536, for backups)"
    );
    let negative = Usage { size_bytes: Some(-1), ..usage(28, "1", hour) };
    assert!(matches!(rate(&backups, &negative, VIENNA), Err(RateError::AbsurdSize { size_bytes: -1, .. })));
    for quantity in [-1, 1_000_000_000_000_000_001] {
        let found = rate(&backups, &Usage { quantity, ..usage(28, "1", hour) }, VIENNA);
        assert!(matches!(found, Err(RateError::AbsurdQuantity { .. })), "{quantity}");
    }
    let dear = one("running-vm", "hour", "1000000000");
    // 9 h at the highest price fit into the ledger's range (9.22 × 10^9), 10 h do not.
    assert_eq!(nanos(&dear, &usage(1, "9", hour)), [9_000_000_000_000_000_000]);
    assert_eq!(rate(&dear, &usage(1, "10", hour), VIENNA), Err(RateError::Overflow { line: 2 }));
    let forever = Period::new(Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX)).unwrap();
    assert_eq!(rate(&dear, &usage(1, "1", forever), VIENNA), Err(RateError::TooLong { period: forever }));
    let beyond = Period::new(Timestamp::from_ms(i64::MAX - 5), Timestamp::from_ms(i64::MAX)).unwrap();
    assert!(matches!(rate(&dear, &usage(1, "1", beyond), VIENNA), Err(RateError::DayOutOfRange(_))));
}

#[test]
fn a_quote_is_priced_as_its_records_would_be() {
    let book = one("volume", "gib-month", "0.08");
    let request = Quote {
        usage_type: 6,
        amount: decimal("3"),
        period: period("2026-11-01", "2026-12-01"),
        size_bytes: Some(50 << 30),
        features: Features::default(),
    };
    let Ok(Rated::Charged(charge)) = quote(&book, &request, VIENNA) else { panic!() };
    // 3 volumes × 50 GiB × 0.08 = 12.00, as 30 days of 0.40
    assert_eq!((charge.parts().len(), charge.total_nanos()), (30, Some(12_000_000_000)));
    assert!(charge.parts().iter().all(|part| part.amount_nanos == 400_000_000 && part.quantity == 72_000_000));
    let traffic = Quote { usage_type: 4, amount: decimal("30000000000"), size_bytes: None, ..request };
    let Ok(Rated::Charged(charge)) = quote(&one("network-bytes-sent", "gb", "0.01"), &traffic, VIENNA) else {
        panic!()
    };
    assert_eq!(charge.total_nanos(), Some(300_000_000));
}
