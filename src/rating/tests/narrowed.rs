use super::*;

/// A tariff of an hour of a running machine, with more keys.
fn tariff(price: u32, keys: &str) -> String {
    format!("[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"{price}\"\n{keys}\n")
}

fn hour() -> Usage {
    usage(1, "1", period("2026-11-16T10:00:00Z", "2026-11-16T11:00:00Z"))
}

/// The price of an hour in whole units.
fn price(book: &PriceBook, customer: &Customer, features: &Features<'_>) -> i64 {
    let found = nanos_of(book, &hour(), customer, features);
    assert_eq!(found.len(), 1);
    found[0] / 1_000_000_000
}

fn gold() -> Vec<(String, String)> {
    vec![("tier".to_owned(), "gold".to_owned()), ("owner".to_owned(), "x".to_owned())]
}

fn everything(tags: &[(String, String)]) -> Features<'_> {
    Features {
        offering: Some("small"),
        zone: Some("z1"),
        template: Some("t1"),
        os_type: Some("o1"),
        cpu_number: Some(4),
        memory_mib: Some(8192),
        tags,
    }
}

/// Every kind of narrowing that fits carol's machine, from the strongest to the weakest.
fn kinds() -> [String; 14] {
    [
        format!("account = \"{CAROL}\""),
        "payer = \"Acme Ltd\"".to_owned(),
        "domain = \"ROOT/acme/lab\"".to_owned(),
        "domain = \"ROOT/acme\"".to_owned(),
        "domain = \"ROOT\"".to_owned(),
        "tag = \"tier=gold\"".to_owned(),
        "tag = \"tier\"".to_owned(),
        "template = \"t1\"".to_owned(),
        "offering = \"small\"".to_owned(),
        "os = \"o1\"".to_owned(),
        "cpu_from = 4\ncpu_below = 5".to_owned(),
        "memory_from = 8192".to_owned(),
        "zone = \"z1\"".to_owned(),
        String::new(),
    ]
}

#[test]
fn each_kind_comes_before_every_kind_after_it() {
    let tags = gold();
    let kinds = kinds();
    // All of them: taken away one by one from the strongest on, the next counts.
    for first in 0..kinds.len() {
        let text: String = (1_u32..).zip(&kinds).skip(first).map(|(number, keys)| tariff(number, keys)).collect();
        assert_eq!(price(&book(&text), &carol(), &everything(&tags)), i64::try_from(first).unwrap() + 1);
    }
    // One strong kind comes before all weaker ones together.
    let weaker = "template = \"t1\"\noffering = \"small\"\nos = \"o1\"\ncpu_from = 1\nmemory_from = 1\nzone = \"z1\"";
    let text = tariff(1, "tag = \"tier\"") + &tariff(2, weaker);
    assert_eq!(price(&book(&text), &carol(), &everything(&tags)), 1);
    // Equal in the strongest kind, the next one decides.
    let text = tariff(1, "domain = \"ROOT/acme\"") + &tariff(2, "domain = \"ROOT/acme\"\nzone = \"z1\"");
    assert_eq!(price(&book(&text), &carol(), &everything(&tags)), 2);
}

#[test]
fn what_does_not_fit_does_not_count() {
    let tags = gold();
    let all = everything(&tags);
    for keys in [
        "account = \"00000000-0000-4000-8000-00000000000d\"",
        "payer = \"Acme\"",
        "domain = \"ROOT/acme/lab/deeper\"",
        "domain = \"ROOT/ac\"",
        "domain = \"ROOT/acme/la\"",
        "tag = \"tier=silver\"",
        "tag = \"gold\"",
        "tag = \"tier=\"",
        "template = \"t2\"",
        "offering = \"large\"",
        "os = \"o2\"",
        "cpu_from = 5",
        "cpu_below = 4",
        "memory_below = 8192",
        "zone = \"z2\"",
    ] {
        let book = book(&(tariff(1, "") + &tariff(2, keys)));
        assert_eq!(price(&book, &carol(), &all), 1, "{keys}");
    }
    // What is not known fits nothing that asks for it.
    for keys in &kinds()[..13] {
        let book = book(&(tariff(1, "") + &tariff(2, keys)));
        assert_eq!(price(&book, &carol(), &all), 2, "{keys}");
        assert_eq!(price(&book, &Customer::default(), &Features::default()), 1, "{keys}");
    }
}

#[test]
fn domains_by_id_are_as_deep_as_those_by_path() {
    for (id, expected) in [(LAB, 3), (ACME, 3), (ROOT, 3), ("00000000-0000-4000-8000-0000000000d9", 1)] {
        let book = book(&(tariff(1, "") + &tariff(2, "zone = \"z1\"") + &tariff(3, &format!("domain = \"{id}\""))));
        let found = nanos_of(&book, &hour(), &carol(), &Features::default())[0] / 1_000_000_000;
        assert_eq!(found, expected, "{id}");
    }
    let book = book(&(tariff(1, &format!("domain = \"{ROOT}\"")) + &tariff(2, &format!("domain = \"{LAB}\""))));
    assert_eq!(price(&book, &carol(), &Features::default()), 2);
}

#[test]
fn a_book_tells_why_a_tariff_counts() {
    let tags = gold();
    let text =
        tariff(1, "") + &tariff(2, "domain = \"ROOT/acme\"\ncpu_from = 2\ncpu_below = 8") + &tariff(3, "zone = \"z2\"");
    let text = text + &tariff(4, "offering = \"small\"\nuntil = \"2026-01-01\"") + &tariff(5, "tag = \"tier=gold\"");
    let book = book(&text);
    let found: Vec<(String, u32)> = book
        .candidates(1, &carol(), &everything(&tags), at("2026-11-16"))
        .into_iter()
        .map(|candidate| (candidate.words, candidate.tariff.line))
        .collect();
    let expected = [("domain ROOT/acme, CPUs from 2 to below 8", 7), ("tag \"tier=gold\"", 25), ("in general", 2)];
    assert_eq!(found, expected.map(|(words, line)| (words.to_owned(), line)));
    let charge = expect_charge(rate_of(&book, &hour(), VIENNA, &carol(), &everything(&tags)));
    assert_eq!(charge.parts()[0].tariff.line, 7);
}

#[test]
fn a_narrow_tariff_hides_the_wider_one_only_while_it_is_in_force() {
    let text = tariff(3, "")
        + &tariff(2, "payer = \"Acme Ltd\"\nfrom = \"2026-11-16T10:15:00Z\"\nuntil = \"2026-11-16T10:30:00Z\"")
        + &tariff(1, "zone = \"z1\"\nfrom = \"2026-11-16T10:20:00Z\"\nuntil = \"2026-11-16T10:45:00Z\"");
    let zone = Features { zone: Some("z1"), ..Features::default() };
    // 15 min at 3, 15 at 2, 15 at 1, 15 at 3
    let found = nanos_of(&book(&text), &hour(), &carol(), &zone);
    assert_eq!(found, [750_000_000, 500_000_000, 250_000_000, 750_000_000]);
}

#[test]
fn free_types_may_cost_something_for_some() {
    let book = book(&format!("free = [\"running-vm\"]\n{}", tariff(2, "zone = \"z1\"")));
    let zone = Features { zone: Some("z1"), ..Features::default() };
    assert_eq!(price(&book, &carol(), &zone), 2);
    assert_eq!(rate_of(&book, &hour(), VIENNA, &carol(), &Features::default()), Ok(Rated::Free));
}

#[test]
fn what_could_fit_the_same_record_with_equal_right_is_refused_with_both_lines() {
    for (one, two) in [
        ("tag = \"a=1\"", "tag = \"b=1\""),
        ("tag = \"a\"", "tag = \"b\""),
        ("cpu_from = 1\ncpu_below = 5", "cpu_from = 4"),
        ("cpu_below = 5", "cpu_from = 4\ncpu_below = 5"),
        ("memory_from = 1024", "memory_from = 2048"),
        ("cpu_from = 1\nmemory_below = 1000", "cpu_from = 2\nmemory_below = 2000"),
        ("zone = \"z\"\ntag = \"a=1\"", "tag = \"b=1\"\nzone = \"z\""),
    ] {
        let text = format!("currency = \"EUR\"\n{}{}", tariff(1, one), tariff(2, two));
        let found = problems(&text);
        let second = 7 + one.lines().count() - 1;
        assert_eq!(found.len(), 1, "{one} {two} {found:?}");
        assert!(found[0].starts_with(&format!("line {second}: \"running-vm\" of ")), "{found:?}");
        assert!(
            found[0].contains("of line 2 can fit the same record, and neither comes before the other"),
            "{found:?}"
        );
    }
    for (one, two) in [
        ("tag = \"a=1\"", "tag = \"a=2\""),
        ("tag = \"a=1\"", "tag = \"a\""),
        ("tag = \"a=1\"", "tag = \"b\""),
        ("cpu_from = 1\ncpu_below = 4", "cpu_from = 4"),
        ("cpu_from = 1", "memory_from = 1"),
        ("cpu_from = 1\nmemory_below = 1000", "cpu_from = 2\nmemory_from = 1000"),
        ("tag = \"a=1\"\nzone = \"y\"", "tag = \"b=1\"\nzone = \"z\""),
        ("tag = \"a=1\"\nuntil = \"2026-01-01\"", "tag = \"b=1\"\nfrom = \"2026-01-01\""),
        ("domain = \"ROOT/a\"", "domain = \"ROOT/a/b\""),
    ] {
        book(&(tariff(1, one) + &tariff(2, two)));
    }
    // Equal narrowings follow each other in time, as those without any.
    let text = format!(
        "currency = \"EUR\"\n{}{}",
        tariff(1, "zone = \"z\""),
        tariff(2, "zone = \"z\"\nfrom = \"2027-01-01\"")
    );
    assert!(problems(&text)[0].contains("line 7: \"running-vm\" of zone z has two prices from 2027-01-01 on"));
}

#[test]
fn senseless_narrowings_are_refused() {
    let volume = "[[tariff]]\ntype = \"volume\"\nunit = \"hour\"\nprice = \"1\"\n";
    let snapshot = "[[tariff]]\ntype = \"snapshot\"\nunit = \"hour\"\nprice = \"1\"\n";
    let machine = tariff(1, "");
    for (before, keys, part) in [
        (volume, "cpu_from = 1", "records of \"volume\" name no cpu, so this tariff would never be used"),
        (volume, "os = \"x\"", "name no os"),
        (snapshot, "template = \"x\"", "name no template"),
        (&machine, "zone = \"\"", "zone is blank: leave it out for all"),
        (&machine, "zone = 1", "zone is not a text of one line"),
        (&machine, "account = \"ROOT/acme/carol\"", "account is not an id of CloudStack's"),
        (&machine, "domain = \"acme\"", "domain is neither a path from ROOT nor an id"),
        (&machine, "domain = \"ROOT//acme\"", "domain is neither a path from ROOT nor an id"),
        (&machine, "tag = \"=x\"", "the tag has no key"),
        (&machine, "cpu_from = 1.5", "cpu_from is not a whole number"),
        (&machine, "memory_below = -1", "memory_below is not a whole number of MiB"),
        (&machine, "memory_from = \"8 GiB\"", "memory_from is not a whole number of MiB"),
        (&machine, "cpu_from = 4\ncpu_below = 4", "cpu_below is not larger than cpu_from, so nothing is of that size"),
        (&machine, "cpu_below = 0", "cpu_below is not larger than cpu_from"),
        (&machine, "cpu_to = 4", "a tariff has no key \"cpu_to\""),
    ] {
        let found = problems(&format!("currency = \"EUR\"\n{}\n{keys}\n", before.trim_end()));
        assert!(found.len() == 1 && found[0].contains(part), "{keys} {found:?}");
    }
    let text = format!(
        "currency = \"EUR\"\n{}{}",
        tariff(1, "domain = \"ROOT/acme\""),
        tariff(1, &format!("domain = \"{LAB}\""))
    );
    let found = problems(&text);
    assert!(found[0].starts_with("line 11: this domain is named in another way than that of line 6"), "{found:?}");
}
