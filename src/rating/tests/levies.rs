use super::*;
use crate::time::Day;

const VPC: &str = "[[tariff]]\ntype = \"vpc\"\nunit = \"hour\"\nprice = \"1\"\n[[tariff]]\ntype = \"network\"\nunit = \"hour\"\nprice = \"1\"\n";

fn discount(percent: &str, keys: &str) -> String {
    format!("[[discount]]\npercent = \"{percent}\"\n{keys}\n")
}

/// What is asked of carol for an hour of a VPC, in thousandths.
fn asked(text: &str) -> i64 {
    let hour = usage(31, "1", period("2026-11-16T10:00:00Z", "2026-11-16T11:00:00Z"));
    nanos_of(&book(&format!("{VPC}{text}")), &hour, &carol(), &Features::default()).iter().sum::<i64>() / 1_000_000
}

#[test]
fn the_most_specific_discount_counts_alone() {
    let (account, payer) = (format!("account = \"{CAROL}\""), "payer = \"Acme Ltd\"");
    let all = [
        discount("1", &format!("{account}\ntype = \"vpc\"")),
        discount("2", &account),
        discount("3", &format!("{payer}\ntype = \"vpc\"")),
        discount("4", payer),
        discount("5", "domain = \"ROOT/acme/lab\""),
        discount("6", "domain = \"ROOT/acme\"\ntype = \"vpc\""),
        discount("7", "domain = \"ROOT/acme\""),
        discount("8", "type = \"vpc\""),
        discount("9", ""),
    ];
    for first in 0..all.len() {
        assert_eq!(asked(&all[first..].concat()), 990 - 10 * i64::try_from(first).unwrap());
    }
    // Those of others, of other types and other times do not.
    let others = discount("50", "payer = \"Other\"") + &discount("50", "type = \"network\"");
    let others = others + &discount("50", "until = \"2026-11-16\"") + &discount("50", "from = \"2026-11-17\"");
    assert_eq!(asked(&others), 1000);
    // A discount of nothing takes somebody out of a general one.
    assert_eq!(asked(&(discount("10", "") + &discount("0", payer))), 1000);
}

#[test]
fn a_discount_comes_before_the_one_rounding_and_is_told() {
    // 0.0000000105 × 1 h is 10.5 billionths: listed as 10, and half of it 5.25, as 5. Half of the rounded 11 would be 5.5.
    let tariff = "[[tariff]]\ntype = \"vpc\"\nunit = \"hour\"\nprice = \"0.0000000105\"\n";
    let book = book(&format!("{tariff}{}", discount("50", "note = \"as agreed\"")));
    let charge = charged(&book, &usage(31, "1", period("2026-11-16", "2026-11-17")));
    let part = charge.parts()[0];
    assert_eq!((part.list_nanos, part.amount_nanos, part.discount_nanos()), (10, 5, 5));
    let given = book.discount(part.discount.unwrap()).unwrap();
    assert_eq!((given.line(), given.note(), given.percent()), (6, Some("as agreed"), decimal("50")));
    let all = super::book(&format!("{tariff}{}", discount("100", "")));
    assert_eq!(nanos(&all, &usage(31, "1000000", period("2026-11-16", "2026-11-17"))), [0]);
}

#[test]
fn a_discount_that_begins_inside_a_record_splits_it() {
    // A quarter of an hour at 1, three quarters at 0.9
    assert_eq!(asked(&discount("10", "from = \"2026-11-16T10:15:00Z\"")), 925);
    // Its end gives the wider one room again: 15 min at 0.5, 45 at 0.9
    let two = discount("10", "") + &discount("50", "payer = \"Acme Ltd\"\nuntil = \"2026-11-16T10:15:00Z\"");
    assert_eq!(asked(&two), 800);
}

#[test]
fn each_step_of_a_graduated_price_gets_the_discount() {
    let text = "[[tariff]]\ntype = \"vpc\"\nunit = \"hour\"\ntiers = [{ up_to = \"1\", price = \"1\" }, { price = \"0.5\" }]\n";
    let book = book(&(text.to_owned() + &discount("10", "")));
    assert_eq!(nanos(&book, &usage(31, "3", period("2026-11-16", "2026-11-17"))), [900_000_000, 900_000_000]);
}

#[test]
fn equal_discounts_and_senseless_ones_are_refused() {
    let found = problems(&format!("currency = \"EUR\"\n{}{}", discount("10", "type = 31"), discount("5", "type = 31")));
    assert!(found[0].contains("line 5: \"vpc\" has a discount for the same time in line 2 already"), "{found:?}");
    let found =
        problems(&format!("currency = \"EUR\"\n{}{}", discount("10", ""), discount("5", "from = \"2027-01-01\"")));
    assert!(found[0].contains("line 5: everything has two discounts from 2027-01-01 on"), "{found:?}");
    for (text, part) in [
        ("[[discount]]\ntype = 31", "this discount has no percent"),
        ("[[discount]]\npercent = 10", "is not a percentage in quotes"),
        ("[[discount]]\npercent = \"101\"", "\"101\" is not a percentage in quotes, from 0 to 100"),
        ("[[discount]]\npercent = \"-1\"", "is not a percentage"),
        ("[[discount]]\npercent = \"10 %\"", "is not a percentage"),
        ("[[discount]]\npercent = \"1\"\ntag = \"a\"", "a discount has no key \"tag\""),
        ("[discount]\npercent = \"1\"", "each discount begins with two brackets"),
        ("[[tax]]\npercent = \"1\"\ntype = 31", "a tax has no key \"type\""),
        (
            "[[tax]]\npercent = \"1\"\nfrom = \"2026-11-16T10:00:00Z\"",
            "is not the start of a billing day in Europe/Vienna",
        ),
        (
            "[[tax]]\npercent = \"20\"\n[[tax]]\npercent = \"19\"",
            "everything has a tax rate for the same time in line 2",
        ),
    ] {
        let found = problems(&format!("currency = \"EUR\"\n{text}\n"));
        assert!(found.len() == 1 && found[0].contains(part), "{text} {found:?}");
    }
    // Holes between discounts and between tax rates are fine: a wider one counts there, or none.
    for kind in ["discount", "tax"] {
        let entry = |dates: &str| format!("[[{kind}]]\npercent = \"5\"\n{dates}\n");
        book(&(entry("until = \"2026-01-01\"") + &entry("from = \"2027-01-01\"")));
    }
}

#[test]
fn the_most_specific_tax_rate_of_the_day_counts() {
    let text = "[[tax]]\npercent = \"20\"\n\
                [[tax]]\npercent = \"0\"\ndomain = \"ROOT/acme\"\nfrom = \"2026-11-10\"\nuntil = 2026-11-15T23:00:00Z\n\
                [[tax]]\npercent = \"9.975\"\npayer = \"Acme Ltd\"\nfrom = \"2026-11-12\"\nuntil = \"2026-11-13\"\n";
    let book = book(text);
    let rate = |customer: &Customer, date: &str| {
        book.tax(customer, Day::from_date(date.parse().unwrap())).map(|rate| rate.to_string())
    };
    for (date, expected) in [
        ("2026-11-09", "20 %"),
        ("2026-11-10", "0 %"),
        ("2026-11-12", "9.975 %"),
        ("2026-11-13", "0 %"),
        ("2026-11-16", "20 %"),
    ] {
        assert_eq!(rate(&carol(), date).as_deref(), Some(expected), "{date}");
    }
    assert_eq!(rate(&Customer::default(), "2026-11-12").as_deref(), Some("20 %"));
    assert_eq!(one("vpc", "hour", "1").tax(&carol(), Day::from_number(0)), None);
}

#[test]
fn an_estimate_adds_up_as_the_bill_does() {
    use crate::rating::estimate::{Wanted, estimate};
    let text = "free = [\"iso\"]\n\
        [[tariff]]\ntype = \"ip-address\"\nunit = \"month\"\nprice = \"3\"\n\
        [[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.1\"\nfree_amount = \"100\"\n\
        [[discount]]\npercent = \"10\"\ntype = \"ip-address\"\n\
        [[tax]]\npercent = \"20\"\nfrom = \"2026-12-16\"\n";
    let month = period("2026-12-01", "2027-01-01");
    let thing = |id, hours: &str| Wanted { usage: usage(id, hours, month), features: Features::default() };
    let wanted = [thing(3, "744"), thing(1, "744"), thing(8, "744"), thing(31, "744")];
    let book = book(text);
    let found = estimate(&book, &carol(), VIENNA, &wanted, &mut TierUse::new(), TaxRate::ZERO).unwrap();
    assert_eq!((found.free.as_slice(), found.unpriced.as_slice()), (&[2][..], &[3][..]));
    let lines: Vec<_> = found
        .lines
        .iter()
        .map(|line| (line.item, line.tier, line.quantity, line.list.to_string(), line.net.to_string()))
        .collect();
    let expected = [
        (0, None, 744_000_000, "3.00", "2.70"),
        (1, Some(0), 100_000_000, "0.00", "0.00"),
        (1, Some(1), 644_000_000, "64.40", "64.40"),
    ];
    assert_eq!(
        lines,
        expected.map(|(item, tier, quantity, list, net)| (item, tier, quantity, list.to_owned(), net.to_owned()))
    );
    // 31 days of 2.70 ÷ 31 = 0.087097 each, rounded to money as each day's charge is; the machine 64.40. From the sixteenth
    // on there is tax: 16 × 0.087097 + 16 × 2.40
    assert_eq!(found.net.to_string(), "67.100007");
    let taxed = crate::money::Money::parse("39.793552").unwrap();
    let tax = TaxRate::parse("20").unwrap();
    assert_eq!(found.taxes[1], (tax, taxed, tax.of(taxed).unwrap()));
    assert_eq!(found.gross, found.net.plus(tax.of(taxed).unwrap()).unwrap());
}
