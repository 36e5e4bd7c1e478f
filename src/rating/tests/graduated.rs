use super::*;
use crate::time::Day;

const TRAFFIC: &str = "[[tariff]]\ntype = \"network-bytes-sent\"\nunit = \"gb\"\n\
                       tiers = [{ up_to = \"100\", price = \"0.10\" }, { up_to = \"1000\", price = \"0.08\" }, { price = \"0.05\" }]\n";

fn gigabytes(count: i64, day: &str) -> Usage {
    let start = at(day);
    let end = Timestamp::from_ms(start.as_ms() + 3_600_000);
    Usage { usage_type: 4, quantity: count * 1_000_000_000, period: Period::new(start, end).unwrap(), size_bytes: None }
}

fn parts(rater: &mut Rater<'_>, usage: &Usage, used: &mut TierUse) -> Vec<(u8, i64, i64)> {
    let prices = rater.find_prices(usage.usage_type, &Features::default());
    let charge = expect_charge(rater.rate(usage, &prices, used));
    charge.parts().iter().map(|part| (part.tier.unwrap(), part.quantity, part.amount_nanos)).collect()
}

#[test]
fn a_record_is_cut_at_the_steps_that_it_crosses() {
    let book = book(TRAFFIC);
    let (customer, mut used) = (Customer::default(), TierUse::new());
    let mut rater = Rater::new(&book, VIENNA, &customer);
    // 60 GB: 6.00. 100 more: 40 at 0.10 and 60 at 0.08. 2000 more: 840 at 0.08 and 1160 at 0.05.
    assert_eq!(parts(&mut rater, &gigabytes(60, "2026-11-02"), &mut used), [(0, 60_000_000_000, 6_000_000_000)]);
    assert_eq!(
        parts(&mut rater, &gigabytes(100, "2026-11-03"), &mut used),
        [(0, 40_000_000_000, 4_000_000_000), (1, 60_000_000_000, 4_800_000_000)]
    );
    assert_eq!(
        parts(&mut rater, &gigabytes(2000, "2026-11-04"), &mut used),
        [(1, 840_000_000_000, 67_200_000_000), (2, 1_160_000_000_000, 58_000_000_000)]
    );
    // Another month begins at the first step; the first month's use is kept apart.
    assert_eq!(parts(&mut rater, &gigabytes(1, "2026-12-01"), &mut used), [(0, 1_000_000_000, 100_000_000)]);
    let months: Vec<_> = used.iter().map(|(month, _, nanos)| (month.to_string(), nanos)).collect();
    assert_eq!(months, [("2026-11".to_owned(), 2_160_000_000_000), ("2026-12".to_owned(), 1_000_000_000)]);
}

#[test]
fn steps_are_half_open() {
    let book = book(TRAFFIC);
    let (customer, mut used) = (Customer::default(), TierUse::new());
    let mut rater = Rater::new(&book, VIENNA, &customer);
    assert_eq!(parts(&mut rater, &gigabytes(100, "2026-11-02"), &mut used), [(0, 100_000_000_000, 10_000_000_000)]);
    // The hundredth GB was the last of the first step; nothing at all stands on the second by now.
    assert_eq!(parts(&mut rater, &gigabytes(0, "2026-11-02"), &mut used), [(1, 0, 0)]);
    assert_eq!(parts(&mut rater, &gigabytes(1, "2026-11-02"), &mut used), [(1, 1_000_000_000, 80_000_000)]);
}

#[test]
fn a_free_amount_comes_first_and_counts_towards_the_tiers() {
    let text = TRAFFIC.to_owned() + "free_amount = \"10\"\n";
    let book = book(&text);
    let (customer, mut used) = (Customer::default(), TierUse::new());
    let mut rater = Rater::new(&book, VIENNA, &customer);
    let found = parts(&mut rater, &gigabytes(150, "2026-11-02"), &mut used);
    assert_eq!(found.iter().map(|part| part.2).collect::<Vec<_>>(), [0, 9_000_000_000, 4_000_000_000]);
    // The usual case: so much is free, the rest has one price.
    let book = super::book("[[tariff]]\ntype = 1\nunit = \"hour\"\nprice = \"0.02\"\nfree_amount = \"10\"\n");
    let day = usage(1, "24", period("2026-11-02", "2026-11-03"));
    assert_eq!(nanos(&book, &day), [0, 280_000_000]);
    assert!(book.has_tiers() && !one("vpc", "hour", "1").has_tiers());
}

#[test]
fn a_change_of_price_goes_on_counting() {
    let text = "[[tariff]]\ntype = 4\nunit = \"gb\"\nprice = \"1\"\nfree_amount = \"10\"\nuntil = \"2026-11-15\"\n\
                [[tariff]]\ntype = 4\nunit = \"gb\"\nprice = \"2\"\nfree_amount = \"10\"\nfrom = \"2026-11-15\"\n\
                [[tariff]]\ntype = 4\nunit = \"gb\"\nprice = \"3\"\nfree_amount = \"10\"\nzone = \"z\"\n";
    let book = book(text);
    let keys: Vec<_> = book.tariffs().iter().map(|tariff| tariff.tier_key().unwrap()).collect();
    assert!(keys[0] == keys[1] && keys[1] != keys[2]);
    let (customer, mut used) = (Customer::default(), TierUse::new());
    let mut rater = Rater::new(&book, VIENNA, &customer);
    assert_eq!(parts(&mut rater, &gigabytes(8, "2026-11-02"), &mut used), [(0, 8_000_000_000, 0)]);
    assert_eq!(
        parts(&mut rater, &gigabytes(8, "2026-11-20"), &mut used),
        [(0, 2_000_000_000, 0), (1, 6_000_000_000, 12_000_000_000)]
    );
}

#[test]
fn a_day_of_a_record_is_priced_and_counted_alone() {
    let book = book("[[tariff]]\ntype = 1\nunit = \"hour\"\nprice = \"1\"\nfree_amount = \"3\"\n");
    // 22:00 to 02:00 in Vienna, across the turn of the month
    let usage = usage(1, "4", period("2026-11-30T21:00:00Z", "2026-12-01T01:00:00Z"));
    let customer = Customer::default();
    let mut rater = Rater::new(&book, VIENNA, &customer);
    let prices = rater.find_prices(1, &Features::default());
    let mut whole = TierUse::new();
    let charge = expect_charge(rater.rate(&usage, &prices, &mut whole));
    let (mut used, mut parts) = (TierUse::new(), Vec::new());
    for day in ["2026-11-30", "2026-12-01"] {
        let day = Day::from_date(day.parse().unwrap());
        let rated = rater.rate_on(day, &usage, &prices, &mut used);
        parts.extend(expect_charge(rated).parts().to_vec());
    }
    assert_eq!(parts, charge.parts());
    assert_eq!(used, whole);
    // Two free hours in each month.
    assert_eq!(charge.total_nanos(), Some(0));
    let elsewhere = Day::from_date("2026-12-02".parse().unwrap());
    assert!(expect_charge(rater.rate_on(elsewhere, &usage, &prices, &mut used)).parts().is_empty());
    assert_eq!(used, whole);
}

#[test]
fn a_record_that_fails_is_not_counted() {
    let text = "[[tariff]]\ntype = 28\nunit = \"month\"\nprice = \"1\"\nfree_amount = \"3\"\nuntil = \"2026-11-02\"\n\
                [[tariff]]\ntype = 28\nunit = \"gib-month\"\nprice = \"1\"\nfrom = \"2026-11-02\"\n";
    let book = book(text);
    let (customer, mut used) = (Customer::default(), TierUse::new());
    let mut rater = Rater::new(&book, VIENNA, &customer);
    let prices = rater.find_prices(28, &Features::default());
    let usage = usage(28, "48", period("2026-11-01", "2026-11-03"));
    assert!(matches!(rater.rate(&usage, &prices, &mut used), Err(RateError::SizeMissing { .. })));
    assert!(used.is_empty());
    let other = Usage { usage_type: 1, ..usage };
    assert_eq!(rater.rate(&other, &prices, &mut used), Err(RateError::OtherType { usage_type: 1, prices_of: 28 }));
}

#[test]
fn tiers_that_make_no_sense_are_refused() {
    for (keys, line, part) in [
        ("tiers = []", 5, "there are 0 tiers"),
        ("tiers = 1", 5, "tiers are not a list"),
        ("tiers = [1]", 5, "this is not a tier"),
        (
            "tiers = [{ up_to = \"1\", price = \"1\" }]",
            5,
            "the last tier has an up_to, so what is used beyond has no price",
        ),
        ("tiers = [{ price = \"1\" }, { price = \"1\" }]", 5, "this tier has no up_to, and another one follows"),
        (
            "tiers = [{ up_to = \"2\", price = \"1\" },\n{ up_to = \"2.0\", price = \"1\" }, { price = \"1\" }]",
            6,
            "up_to 2.0 does not rise: the tier before ends at 2",
        ),
        ("tiers = [{ up_to = \"0\", price = \"1\" }, { price = \"1\" }]", 5, "up_to is blank or nothing: leave it out"),
        ("tiers = [{ up_to = 1, price = \"1\" }, { price = \"1\" }]", 5, "up_to \"1\" is not in quotes"),
        ("tiers = [{ up_to = \"0.0000000001\", price = \"1\" }, { price = \"1\" }]", 5, "has more than 9 decimals"),
        ("tiers = [{ up_to = \"1\", price = \"\" }, { price = \"1\" }]", 5, "the price of a tier is blank"),
        ("tiers = [{ up_to = \"1\" }, { price = \"1\" }]", 5, "this tier has no price"),
        ("tiers = [{ above = \"1\", price = \"1\" }]", 5, "a tier has no key \"above\""),
        ("tiers = [{ price = \"1\" }]\nprice = \"1\"", 6, "this tariff has both a price and tiers"),
        (
            "free_amount = \"1\"\ntiers = [{ up_to = \"1\", price = \"1\" }, { price = \"2\" }]",
            5,
            "the free amount 1 reaches beyond the first tier",
        ),
        ("price = \"1\"\nfree_amount = \"0\"", 6, "free_amount is blank or nothing"),
        ("price = \"1\"\nfree_amount = \"-1\"", 6, "is negative"),
    ] {
        let found = problems(&format!("currency = \"EUR\"\n[[tariff]]\ntype = 1\nunit = \"hour\"\n{keys}\n"));
        assert!(found.len() == 1, "{keys} {found:?}");
        assert!(found[0].starts_with(&format!("line {line}: ")) && found[0].contains(part), "{keys} {found:?}");
    }
    // Not priced yet, with a free amount in mind already.
    let text = "[[tariff]]\ntype = 31\nunit = \"hour\"\nprice = \"\"\nfree_amount = \"5\"\n";
    assert_eq!(rate(&book(text), &usage(31, "1", period("2026-11-01", "2026-11-02")), VIENNA), Ok(Rated::Unpriced));
}
