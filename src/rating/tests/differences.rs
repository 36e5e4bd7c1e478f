use super::*;

const OLD: &str = "free = [\"iso\"]\n\
    [[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.02\"\n\
    [[tariff]]\ntype = \"vpc\"\nunit = \"month\"\nprice = \"5\"\nnote = \"as ever\"\n\
    [[discount]]\npercent = \"10\"\npayer = \"Acme Ltd\"\n\
    [[tax]]\npercent = \"20\"\n";

fn since(new: &str) -> Option<FirstDifference> {
    let (old, new) = (book(OLD), book(new));
    // Nobody can tell which of both came first.
    assert_eq!(PriceBook::first_difference(&old, &new), PriceBook::first_difference(&new, &old));
    PriceBook::first_difference(&old, &new)
}

#[test]
fn two_books_are_compared_entry_by_entry() {
    let new = OLD
        .replace("free = [\"iso\"]", "free = [\"template\"]")
        .replace("price = \"0.02\"", "price = \"0.02\"\nuntil = \"2027-01-01\"")
        .replace("[[tariff]]\ntype = \"vpc\"", "[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.03\"\nfrom = \"2027-01-01\"\n[[tariff]]\ntype = \"vpc\"")
        .replace("price = \"5\"", "tiers = [{ up_to = \"2\", price = \"5\" }, { price = \"4\" }]")
        .replace("[[discount]]\npercent = \"10\"\npayer = \"Acme Ltd\"\n", "")
        .replace("percent = \"20\"", "percent = \"21\"");
    let found: Vec<_> = PriceBook::diff(&book(OLD), &book(&new), VIENNA)
        .into_iter()
        .map(|change| (change.kind, change.words, change.old_line, change.new_line))
        .collect();
    let expected = [
        (ChangeKind::Removed, "\"iso\" is no longer free", None, None),
        (ChangeKind::Added, "\"template\" is free", None, None),
        (ChangeKind::Changed, "price of \"running-vm\": ends 2027-01-01 instead of never", Some(3), Some(3)),
        (ChangeKind::Added, "price of \"running-vm\": 0.03 per hour, from 2027-01-01 on", None, Some(8)),
        (
            ChangeKind::Changed,
            "price of \"vpc\": 5 up to 2, then 4 per month instead of 5 per month",
            Some(7),
            Some(13),
        ),
        (ChangeKind::Removed, "discount of everything of payer \"Acme Ltd\": 10 % off", Some(12), None),
        (ChangeKind::Changed, "tax rate of everything: 21 % instead of 20 %", Some(15), Some(18)),
    ];
    let expected = expected.map(|(kind, words, old, new)| (kind, words.to_owned(), old, new));
    assert_eq!(found, expected);
    assert!(PriceBook::diff(&book(OLD), &book(OLD), VIENNA).is_empty());
}

#[test]
fn books_that_price_alike_do_not_differ_however_they_are_written() {
    assert_eq!(since(OLD), None);
    // Cut in two with the same price on both sides.
    let cut = OLD.replace(
        "price = \"0.02\"\n",
        "price = \"0.020\"\nuntil = \"2027-01-01\"\n[[tariff]]\ntype = 1\nunit = \"hour\"\nprice = \"0.02\"\nfrom = \"2027-01-01\"\n",
    );
    assert_ne!(book(&cut).digest(), book(OLD).digest());
    assert_eq!(since(&cut), None);
}

#[test]
fn the_first_difference_is_the_earliest_instant_that_may_cost_something_else() {
    let from = |text: &str| Some(FirstDifference::From(at(text)));
    assert_eq!(since(&OLD.replace("0.02", "0.03")), Some(FirstDifference::Always));
    assert_eq!(since(&OLD.replace("\"iso\"", "")), Some(FirstDifference::Always));
    assert_eq!(since(&OLD.replace("unit = \"month\"", "unit = \"hour\"")), Some(FirstDifference::Always));
    assert_eq!(since(&OLD.replace("payer = \"Acme Ltd\"", "payer = \"Other\"")), Some(FirstDifference::Always));
    assert_eq!(
        since(
            &(OLD.to_owned()
                + "[[tariff]]\ntype = 1\nunit = \"hour\"\nprice = \"1\"\nzone = \"z\"\nfrom = \"2026-12-01\"\n")
        ),
        from("2026-12-01")
    );
    assert_eq!(since(&OLD.replace("percent = \"20\"", "percent = \"20\"\nuntil = \"2027-01-01\"")), from("2027-01-01"));
    let discounted = OLD.replace("percent = \"10\"", "percent = \"10\"\nuntil = \"2026-12-15T12:00:00Z\"");
    assert_eq!(since(&discounted), from("2026-12-15T12:00:00Z"));
    let both = discounted.replace("percent = \"20\"", "percent = \"20\"\nuntil = \"2026-12-01\"");
    assert_eq!(since(&both), from("2026-12-01"));
    assert_eq!(FirstDifference::Always.at(), None);
}
