use super::*;
use crate::{
    money::Currency,
    rating::init::{Seen, write_price_book},
    usage::types::{Unit, UsageType},
};

/// The one problem of a tariff with these lines; the tariff begins in line 2.
fn problem(lines: &str) -> String {
    let mut found = problems(&format!("currency = \"EUR\"\n[[tariff]]\n{lines}\n"));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

const RUNNING: &str = "type = \"running-vm\"\nunit = \"hour\"\n";

#[test]
fn the_documented_example_is_a_book() {
    let documentation = include_str!("../../../docs/price-book.md");
    let mut examples = documentation.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let book = PriceBook::parse(examples.next().unwrap(), VIENNA).unwrap();
    assert_eq!((book.currency().code(), book.tariffs().len()), ("EUR", 11));
    assert_eq!((book.discounts().len(), book.taxes().len()), (1, 1));
    assert!(book.is_free(7) && !book.is_free(1));
    // The pieces further down are right too.
    let pieces: Vec<PriceBook> = examples.map(super::book).collect();
    assert_eq!(pieces.len(), 3);
    // 100 GB free, 900 at 0.10, 4000 at 0.08, 1000 at 0.05
    let month = period("2026-11-02", "2026-11-03");
    let found = nanos(&pieces[0], &usage(4, "6000000000000", month));
    assert_eq!(found, [0, 90_000_000_000, 320_000_000_000, 50_000_000_000]);
}

#[test]
fn the_documented_table_is_the_table_in_code() {
    let documentation = include_str!("../../../docs/price-book.md");
    for known in UsageType::all() {
        let start = format!("| `{}` | {} | ", known.slug, known.id);
        let row = documentation.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}"));
        let units: Vec<&str> = known.units.iter().map(|unit| unit.name()).collect();
        assert!(row.ends_with(&format!("| {} |", units.join(", "))), "{row}");
    }
    for unit in Unit::ALL {
        assert!(documentation.contains(&format!("\n| `{unit}` | ")), "{unit}");
    }
}

#[test]
fn all_problems_are_reported_at_once_with_their_lines() {
    let text = "\
currency = \"EURO\"
free = [\"template\", \"templates\", \"template\"]
colour = \"red\"

[[tariff]]
type = \"RUNING_VM\"
unit = \"hours\"
price = 0.02
prise = \"1\"

[[tariff]]
type = \"volume\"
unit = \"gb\"
price = \"-1\"
from = \"tomorrow\"
";
    let found = problems(text);
    let lines: Vec<u32> = PriceBook::parse(text, VIENNA).unwrap_err().iter().map(Problem::line).collect();
    assert_eq!(lines, [1, 2, 2, 3, 6, 7, 8, 9, 13, 14, 15], "{found:#?}");
    let all = found.join("\n");
    for part in [
        "line 1: \"EURO\" is not a currency code of ISO 4217, such as EUR",
        "\"templates\" is not a usage type; known are running-vm (1), allocated-vm (2)",
        "for example: \"template\"",
        "line 2: \"template\" is in the list twice",
        "line 3: a price book has no key \"colour\"; its keys are currency, free, tariff, discount, tax; for example: leave it out",
        "line 6: \"RUNING_VM\" is not a usage type",
        "for example: \"running-vm\"",
        "line 7: \"hours\" is not a unit; fitting are hour, month",
        "line 8: the price \"0.02\" is not in quotes: write it as text; for example: price = \"0.02\"",
        "line 9: a tariff has no key \"prise\"",
        "for example: price = …",
        "line 13: \"volume\" counts hours and can not be priced by gb; fitting are gib-month",
        "line 14: the price \"-1\" is negative",
        "line 15: from is neither a date nor an instant with a time zone",
    ] {
        assert!(all.contains(part), "{part}\n{all}");
    }
}

#[test]
fn broken_toml_names_the_line() {
    let found = problems("currency = \"EUR\"\n\n[[tariff]\ntype = \"running-vm\"\n");
    assert!(found[0].starts_with("line 3: this is not TOML: "), "{found:?}");
    let found = problems("currency = \"EUR\"\ncurrency = \"EUR\"\n");
    assert!(found[0].starts_with("line 2: this is not TOML: "), "{found:?}");
    assert!(problems("")[0].contains("line 1: the book does not name its currency"));
    assert!(problems("currency = \"EUR\"\n[tariff]\n")[0].contains("begins with two brackets"));
}

#[test]
fn absurd_prices_are_refused() {
    for (price, part) in [
        ("\"1000000000.1\"", "is beyond 1000000000"),
        ("\"0.0000000000001\"", "has more than 12 decimals"),
        ("\"99999999999999999999999999999999999\"", "is not a plain decimal number"),
        ("\"0,02\"", "is not a plain decimal number with a dot"),
        ("\"1e3\"", "is not a plain decimal number with a dot"),
        ("\"2 EUR\"", "is not a plain decimal number with a dot"),
        ("\"-0\"", "is negative"),
        ("2", "is not in quotes: write it as text"),
        ("true", "is not a text"),
    ] {
        let found = problem(&format!("{RUNNING}price = {price}"));
        assert!(found.starts_with("line 5: the price ") && found.contains(part), "{found}");
    }
    let most = one("running-vm", "hour", "1000000000.000000000000");
    assert_eq!(most.tariffs()[0].price(), Some(decimal("1000000000")));
}

#[test]
fn missing_and_senseless_keys_are_refused() {
    assert!(problem("type = \"vpc\"\nunit = \"hour\"").contains("line 2: this tariff has no price"));
    assert!(
        problem("type = \"vpc\"\nprice = \"1\"")
            .contains("line 2: this tariff has no unit; for example: unit = \"month\"")
    );
    assert!(problem("unit = \"hour\"\nprice = \"1\"").contains("line 2: this tariff has no type"));
    let vpc = "type = \"vpc\"\nunit = \"hour\"\nprice = \"1\"\n";
    assert!(
        problem(&format!("{vpc}offering = \"x\"")).contains("name no offering, so this tariff would never be used")
    );
    assert!(problem(&format!("{RUNNING}price = \"1\"\noffering = \" \"")).contains("offering is blank"));
    assert!(problem(&format!("{vpc}note = \"a\\nb\"")).contains("note is not a text of one line"));
    let found = problem("type = 26\nunit = \"gib-month\"\nprice = \"1\"");
    assert!(found.contains("can not be priced by gib-month: its records carry no size"), "{found}");
    assert!(problem("type = 17\nunit = \"hour\"\nprice = \"1\"").contains("line 3: \"17\" is not a usage type"));
    for (from, part) in [
        ("\"1970-01-01\"", "between 2000 and 2200"),
        ("\"2026-11-01T00:00:00\"", "neither a date nor an instant"),
        ("2026-11-01T00:00:00", "neither a date nor an instant"),
        ("1", "neither a date nor an instant"),
    ] {
        let found = problem(&format!("{vpc}from = {from}"));
        assert!(found.starts_with("line 6: from is ") && found.contains(part), "{found}");
    }
    let found = problem(&format!("{vpc}from = \"2026-11-01\"\nuntil = \"2026-11-01\""));
    assert!(found.contains("line 7: until is not later than from"), "{found}");
}

fn two(first: &str, second: &str) -> String {
    let tariff = format!("[[tariff]]\n{RUNNING}price = \"1\"\n");
    format!("currency = \"EUR\"\n{tariff}{first}\n{tariff}{second}\n")
}

#[test]
fn two_prices_at_one_time_are_refused_with_both_lines() {
    // The first tariff begins in line 2, the second in line 7.
    let found = problems(&two("", ""));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("line 7: \"running-vm\" has a price for the same time in line 2 already"), "{found:?}");

    let found = problems(&two("", "from = \"2027-01-01\""));
    let expected = "line 7: \"running-vm\" has two prices from 2027-01-01 on: this one and that of line 2; \
                    for example: until = \"2027-01-01\" in the entry of line 2";
    assert_eq!(found, [expected]);

    let found = problems(&two("from = \"2027-01-01\"", "until = \"2027-02-01\""));
    assert!(found[0].contains("line 2: ") && found[0].contains("that of line 7"), "{found:?}");
}

#[test]
fn a_hole_between_two_prices_is_refused_with_both_lines() {
    let found = problems(&two("until = \"2026-12-01\"", "from = \"2026-12-02\""));
    let expected = "line 7: \"running-vm\" has no price from 2026-12-01 (end of line 2) to 2026-12-02 \
                    (start here); for example: until = \"2026-12-02\" in the entry of line 2";
    assert_eq!(found, [expected]);
}

#[test]
fn prices_that_follow_each_other_are_fine_in_any_order() {
    for text in [
        two("until = \"2026-12-01\"", "from = \"2026-12-01\""),
        two("from = \"2026-12-01\"", "until = \"2026-12-01\""),
        two("until = 2026-12-01", "from = 2026-11-30T23:00:00Z"),
        two("", "offering = \"a\""),
    ] {
        PriceBook::parse(&text, VIENNA).unwrap();
    }
}

#[test]
fn a_type_is_free_or_priced_and_only_offerings_may_be_excepted() {
    let text = format!("currency = \"EUR\"\nfree = [\"running-vm\"]\n[[tariff]]\n{RUNNING}price = \"1\"\n");
    let found = problems(&text);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("line 3: \"running-vm\" has a tariff here and is free in line 2"), "{found:?}");

    let book = PriceBook::parse(&format!("{text}offering = \"large\"\n"), VIENNA).unwrap();
    let month = period("2026-11-01", "2026-11-02");
    assert_eq!(rate(&book, &usage(1, "24", month), VIENNA), Ok(Rated::Free));
    let found = nanos_of(&book, &usage(1, "24", month), &Customer::default(), &offering("large"));
    assert_eq!(found, [24_000_000_000]);
}

#[test]
fn the_digest_names_the_prices_and_not_their_writing() {
    let a = "free = [\"iso\", 7]\n[[tariff]]\ntype = 1\nunit = \"hour\"\nprice = \"0.020\"\nfrom = \"2026-11-01\"\n\
             [[tariff]]\ntype = \"vpc\"\nunit = \"month\"\nprice = \"\"\n";
    let b = "# the same\nfree = [\"template\", \"iso\"]\n[[tariff]]\nprice = \" \"\ntype = \"vpc\"\nunit = \"month\"\nnote = \"later\"\n\
             [[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.02\"\nfrom = \"2026-10-31T23:00:00Z\"\n";
    let (first, second) = (book(a), book(b));
    assert_eq!(first.digest(), second.digest());
    assert_ne!(first.digest(), book(&b.replace("0.02", "0.03")).digest());
    assert_eq!(first.digest().len(), 64);
    // Its canonical text is a book of the same digest, in any zone.
    let again = PriceBook::parse(first.canonical_text(), Tz::Pacific__Auckland).unwrap();
    assert_eq!((again.digest(), again.canonical_text()), (first.digest(), first.canonical_text()));
    assert_eq!(first.tariffs()[0].price(), Some(decimal("0.02")));
}

#[test]
fn books_of_plain_prices_keep_the_text_that_the_first_version_wrote() {
    let text = "free = [\"iso\"]\n[[tariff]]\ntype = 1\nunit = \"hour\"\nprice = \"0.020\"\noffering = \"small\"\nfrom = \"2026-11-01\"\n\
                [[tariff]]\ntype = 1\nunit = \"hour\"\nprice = \"\"\n";
    let expected = "# price book, form 1\ncurrency = \"EUR\"\nfree = [\"iso\"]\n\
                    \n[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"\"\n\
                    \n[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.02\"\noffering = \"small\"\nfrom = \"2026-10-31T23:00:00Z\"\n";
    assert_eq!(book(text).canonical_text(), expected);
}

#[test]
fn everything_that_prices_is_part_of_the_digest_and_reads_back_in_any_zone() {
    let text = format!(
        "[[tariff]]\ntype = 1\nunit = \"hour\"\nprice = \"0.02\"\nfree_amount = \"10\"\naccount = \"{CAROL}\"\npayer = \"Acme \\\"Ltd\"\n\
         domain = \"ROOT/acme\"\ntag = \"tier=gold\"\ntemplate = \"t\"\nos = \"o\"\nzone = \"z\"\noffering = \"small\"\n\
         cpu_from = 1\ncpu_below = 4\nmemory_from = 512\nmemory_below = 1024\n\
         [[tariff]]\ntype = 4\nunit = \"gb\"\ntiers = [{{ up_to = \"100\", price = \"0.1\" }}, {{ price = \"0.08\" }}]\nfree_amount = \"2\"\n\
         [[discount]]\npercent = \"10\"\ntype = 1\ndomain = \"ROOT/acme\"\nfrom = \"2026-11-01\"\n\
         [[tax]]\npercent = \"20\"\nfrom = \"2026-11-01\"\nuntil = \"2027-01-01\"\n"
    );
    let first = book(&text);
    let again = PriceBook::parse(first.canonical_text(), Tz::Pacific__Auckland).unwrap();
    assert_eq!((again.canonical_text(), again.digest()), (first.canonical_text(), first.digest()));
    for (what, instead) in [
        ("small", "large"),
        ("free_amount = \"10\"", "free_amount = \"11\""),
        ("000c", "000d"),
        ("Ltd", "Inc"),
        ("payer", "note"),
        ("tier=gold", "tier"),
        ("template", "note"),
        ("os =", "note ="),
        ("zone", "note"),
        ("cpu_from = 1", "cpu_from = 2"),
        ("cpu_below = 4", ""),
        ("memory_from = 512", "memory_from = 511"),
        ("memory_below = 1024", ""),
        ("up_to = \"100\"", "up_to = \"101\""),
        ("0.08", "0.09"),
        ("free_amount = \"2\"", ""),
        ("percent = \"10\"", "percent = \"11\""),
        ("percent = \"10\"\ntype = 1", "percent = \"10\""),
        ("until = \"2027-01-01\"", ""),
        ("percent = \"20\"", "percent = \"19\""),
    ] {
        assert!(text.contains(what), "{what}");
        assert_ne!(book(&text.replacen(what, instead, 1)).digest(), first.digest(), "{what}");
    }
    // A free amount is a first tier of nothing, and one tier is a price.
    let same =
        text.replace("free_amount = \"2\"", "").replace("[{ up_to", "[{ up_to = \"2.0\", price = \"0\" }, { up_to");
    assert_eq!(book(&same).digest(), first.digest());
    assert_eq!(
        one("vpc", "hour", "1").digest(),
        book("[[tariff]]\ntype = \"vpc\"\nunit = \"hour\"\ntiers = [{ price = \"1\" }]").digest()
    );
}

#[test]
fn currencies_have_their_real_decimals_and_unknown_ones_are_refused() {
    for (code, decimals) in [("JPY", 0), ("KWD", 3), ("EUR", 2), ("XPF", 0), ("CLP", 0), ("TND", 3)] {
        let text = format!("currency = \"{code}\"\n[[tariff]]\ntype = 31\nunit = \"hour\"\nprice = \"0.123456\"\n");
        let book = PriceBook::parse(&text, VIENNA).unwrap();
        assert_eq!(book.currency().decimals(), decimals, "{code}");
        // Prices and amounts are exact whatever the decimals: they are rounded where people read them.
        assert_eq!(nanos(&book, &usage(31, "1", period("2026-11-16", "2026-11-17"))), [123_456_000]);
    }
    for code in ["XXX", "XTS", "eur", "EURO", "", "€"] {
        assert!(
            problems(&format!("currency = \"{code}\"\n"))[0].contains("is not a currency code of ISO 4217"),
            "{code}"
        );
    }
}

#[test]
fn another_currency_than_the_configured_one_is_a_problem() {
    let book = one("vpc", "month", "1");
    assert_eq!(book.currency_problem(&Currency::from_code("EUR").unwrap()), None);
    let problem = book.currency_problem(&Currency::from_code("USD").unwrap()).unwrap();
    assert_eq!(
        problem.to_string(),
        "line 1: the price book is in EUR, and bursar is configured for USD; for example: currency = \"USD\""
    );
}

fn seen(usage_type: i32, offering: Option<(&str, &str)>, quantity: &str) -> Seen {
    let offering = offering.map(|(id, name)| (id.to_owned(), name.to_owned()));
    Seen { usage_type, offering, quantity_last_month: decimal(quantity) }
}

#[test]
fn a_first_book_reads_back_and_prices_nothing() {
    let everything = [
        seen(1, Some(("3a51980d-1969-47d9-ad1d-a9104acafda8", "Medium \"Instance\"\n[[tariff]]")), "1488"),
        seen(1, Some(("c132bade-a29f-44d3-8ef5-a6e141919a72", "Small")), "744.5"),
        seen(1, Some(("c132bade-a29f-44d3-8ef5-a6e141919a72", "Small")), "0.5"),
        seen(6, None, "2232"),
        seen(6, Some(("f9e0", "Gold")), "744"),
        seen(3, Some(("nonsense", "")), "744"),
        seen(4, None, "12345678901"),
        seen(21, None, "3200000"),
        seen(29, None, "107374182400"),
        seen(99, None, "5"),
    ];
    let eur = Currency::from_code("EUR").unwrap();
    let text = write_price_book(&eur, &everything);
    let book = PriceBook::parse(&text, VIENNA).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
    assert_eq!(book.tariffs().len(), 8, "{text}");
    assert!(book.tariffs().iter().all(|tariff| tariff.price().is_none()));
    assert_eq!(book.tariffs()[0].note(), Some("Medium \"Instance\"[[tariff]]"));
    for part in [
        "# last month: 1488 hours\n",
        "# last month: 745 hours\n",
        "# last month: 12.346 GB of 10^9 bytes (11.498 GiB)\n",
        "# last month: 3.2 million operations\n",
        "# last month: 100 GiB held\n",
        "usage type 99, which bursar does not know",
        "# type = \"backup\"\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let day = period("2026-11-01", "2026-11-02");
    assert_eq!(rate(&book, &usage(6, "24", day), VIENNA), Ok(Rated::Unpriced));

    // Every commented-out tariff is a right one too.
    let all = write_price_book(&eur, &[]).replace("# [[tariff]]", "[[tariff]]");
    let all = all.replace("\n# type", "\ntype").replace("\n# unit", "\nunit").replace("\n# price", "\nprice");
    let book = PriceBook::parse(&all, VIENNA).unwrap_or_else(|problems| panic!("{problems:#?}\n{all}"));
    assert_eq!(book.tariffs().len(), UsageType::all().len());
}
