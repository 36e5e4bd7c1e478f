//! The quota plugin's tariffs as the draft of a price book.
//!
//! Promises: a price that is written means what the plugin means by it, exactly; what can not be said so is listed and
//! never guessed. Tariffs of a type that hold at the same time are added together, because the plugin does (facts 9.2).
//! The draft reads back without problems.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use rust_decimal::Decimal;

use crate::{
    money::Currency,
    rating::book::{MAX_PRICE, MAX_PRICE_DECIMALS},
    time::Timestamp,
    usage::types::{Quantity, Unit, UsageType},
};

/// The plugin's own tariffs are from 2010: a start before this is no date that anybody chose.
const NO_START_BEFORE: Timestamp = Timestamp::from_seconds(1_293_840_000);
/// The plugin's ends are inclusive to the second.
const INCLUSIVE_END: Duration = Duration::from_secs(1);
/// Names in comments are cut to so many letters.
const MAX_NAME: usize = 60;

/// A tariff as the plugin has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariff {
    /// CloudStack's usage type.
    pub usage_type: i32,
    /// The plugin's word for the unit.
    pub unit: String,
    /// The price of a unit.
    pub value: Decimal,
    /// Since when.
    pub from: Option<Timestamp>,
    /// Until when, inclusive.
    pub last: Option<Timestamp>,
    /// Whether a script decides about it.
    pub has_rule: bool,
    /// What people call it.
    pub name: String,
}

impl Tariff {
    fn until(&self) -> Option<Timestamp> {
        self.last.map(|last| last.plus(INCLUSIVE_END))
    }

    fn starts(&self) -> Option<Timestamp> {
        self.from.filter(|from| *from >= NO_START_BEFORE)
    }

    fn holds_at(&self, at: Option<Timestamp>) -> bool {
        let begun = self.starts().is_none_or(|from| at.is_some_and(|at| at >= from));
        begun && self.until().is_none_or(|until| at.is_none_or(|at| at < until))
    }

    fn shown_name(&self) -> String {
        self.name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect()
    }
}

/// What became of the tariffs.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Draft {
    /// The price book.
    pub text: String,
    /// Prices in it.
    pub prices: usize,
    /// Tariffs that a script decides about.
    pub with_rules: Vec<String>,
    /// Tariffs that can not be said in the price book's units, with the reason.
    pub untranslated: Vec<String>,
    /// Types whose tariffs hold at the same time; they were added together.
    pub added_together: Vec<String>,
    /// Types that cost nothing there.
    pub free: Vec<String>,
}

/// The unit here that means the same, and what the price is multiplied by.
///
/// | there | here | why |
/// |---|---|---|
/// | `Compute*Month`, `IP*Month`, `Policy*Month` | `month` | price ÷ hours of that month × hours |
/// | `GB*Month` | `gib-month` | the same × size ÷ 2^30 |
/// | `GB` | `gib` | bytes ÷ 2^30 |
/// | `Bytes` | `gb` × 10^9 | per byte |
/// | `IOPS` | `million` × 10^6 | per operation |
pub fn unit_here(kind: &UsageType, unit: &str) -> Result<(Unit, Decimal), String> {
    let (found, factor) = match unit {
        "Compute*Month" | "IP*Month" | "Policy*Month" => (Unit::Month, 1),
        "GB*Month" => (Unit::GibMonth, 1),
        "GB" => (Unit::Gib, 1),
        "Bytes" => (Unit::Gb, 1_000_000_000),
        "IOPS" => (Unit::Million, 1_000_000),
        other => return Err(format!("its unit \"{other}\" is not known")),
    };
    if kind.quantity == Quantity::BytesAtWindow {
        return Err("the quota plugin multiplies the bytes held by the bytes held; nothing here means that".to_owned());
    }
    if !kind.takes(found) {
        return Err(match found {
            Unit::GibMonth => "it is priced by size there, and its records carry none".to_owned(),
            _ => format!("it can not be priced by {found} here"),
        });
    }
    Ok((found, Decimal::from(factor)))
}

/// A price over a span of time.
struct Piece {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    price: Decimal,
    names: Vec<String>,
}

/// Cuts at every start and end, and adds what holds at the same time.
fn pieces(tariffs: &[&Tariff]) -> Result<Vec<Piece>, String> {
    let mut edges: BTreeSet<Timestamp> = BTreeSet::new();
    for tariff in tariffs {
        edges.extend(tariff.starts());
        edges.extend(tariff.until());
    }
    let starts = std::iter::once(None).chain(edges.iter().copied().map(Some));
    let ends = edges.iter().copied().map(Some).chain(std::iter::once(None));
    let mut pieces: Vec<Piece> = Vec::new();
    for (from, until) in starts.zip(ends) {
        let holding: Vec<&&Tariff> = tariffs.iter().filter(|tariff| tariff.holds_at(from)).collect();
        if holding.is_empty() {
            continue;
        }
        let price = holding
            .iter()
            .try_fold(Decimal::ZERO, |sum, tariff| sum.checked_add(tariff.value))
            .ok_or("its prices are beyond all measure")?
            .normalize();
        let names: Vec<String> = holding.iter().map(|tariff| tariff.shown_name()).collect();
        match pieces.last_mut() {
            Some(last) if last.until == from && from.is_some() && last.price == price && last.names == names => {
                last.until = until;
            }
            _ => pieces.push(Piece { from, until, price, names }),
        }
    }
    Ok(pieces)
}

/// The draft of a price book from the plugin's tariffs.
pub fn draft(currency: &Currency, tariffs: &[Tariff]) -> Draft {
    let mut by_type: BTreeMap<i32, Vec<&Tariff>> = BTreeMap::new();
    let mut draft = Draft::default();
    for tariff in tariffs {
        if tariff.has_rule {
            draft.with_rules.push(format!("{} (usage type {})", tariff.shown_name(), slug(tariff.usage_type)));
        }
        by_type.entry(tariff.usage_type).or_default().push(tariff);
    }
    let mut body = String::new();
    let mut free: Vec<&'static str> = Vec::new();
    for (usage_type, all) in &by_type {
        let Some(kind) = UsageType::from_id(*usage_type) else {
            draft.untranslated.push(format!("usage type {usage_type}: it is not known to this version of bursar"));
            continue;
        };
        let flat: Vec<&Tariff> = all.iter().copied().filter(|tariff| !tariff.has_rule).collect();
        let rules = all.len() - flat.len();
        if rules == 0 && flat.iter().all(|tariff| tariff.value.is_zero()) {
            free.push(kind.slug);
            continue;
        }
        match one_type(kind, &flat, rules) {
            Ok((text, prices, together)) => {
                body.push_str(&text);
                draft.prices += prices;
                if together {
                    draft.added_together.push(kind.slug.to_owned());
                }
            }
            Err(why) => {
                let _ = writeln!(body, "\n# {} ({}) is left out: {why}.", kind.words, kind.slug);
                draft.untranslated.push(format!("{}: {why}", kind.slug));
            }
        }
    }
    draft.free = free.iter().map(|slug| (*slug).to_owned()).collect();
    draft.text = head(currency, &free) + &body;
    let missing: Vec<&str> =
        UsageType::all().iter().filter(|kind| !by_type.contains_key(&kind.id)).map(|kind| kind.slug).collect();
    if !missing.is_empty() {
        let _ = writeln!(draft.text, "\n# Without a tariff there, so unpriced here: {}.", missing.join(", "));
    }
    draft
}

fn slug(usage_type: i32) -> String {
    UsageType::from_id(usage_type).map_or_else(|| usage_type.to_string(), |kind| kind.slug.to_owned())
}

fn head(currency: &Currency, free: &[&str]) -> String {
    let quoted: Vec<String> = free.iter().map(|slug| format!("\"{slug}\"")).collect();
    format!(
        "# A draft of the price book, from the tariffs of CloudStack's quota plugin. Read it before you use it:\n\
         # - the plugin knows no tax; prices here are net, and tax is added when a charge is posted.\n\
         # - the plugin rounds its price of an hour to eight decimals; here nothing is rounded before the charge.\n\
         # - the plugin charges a record that crosses a change of tariff by both; here it is cut at the second.\n\
         # - removed tariffs are not in it.\n\
         \ncurrency = \"{}\"\n\n# They cost nothing there.\nfree = [{}]\n",
        currency.code(),
        quoted.join(", ")
    )
}

/// The tariffs of a type as text, how many prices they are, and whether some were added together.
fn one_type(kind: &'static UsageType, flat: &[&Tariff], rules: usize) -> Result<(String, usize, bool), String> {
    let mut text = format!("\n\n# {} (CloudStack's type {}, {})\n", kind.words, kind.id, kind.constant);
    if rules > 0 {
        let _ = writeln!(
            text,
            "# {rules} more with a rule can not be imported: what stands here is only a part of what is charged there."
        );
    }
    let Some(first) = flat.first() else {
        return Err(format!("{rules} with a rule, which can not be imported, and none without"));
    };
    if flat.iter().any(|tariff| tariff.unit != first.unit) {
        return Err("its tariffs have several units".to_owned());
    }
    if flat.iter().any(|tariff| tariff.value.is_sign_negative() && !tariff.value.is_zero()) {
        return Err("a tariff of it is negative; a discount is said otherwise here".to_owned());
    }
    let (unit, factor) = unit_here(kind, &first.unit)?;
    let (mut prices, mut together) = (0, false);
    for piece in pieces(flat)? {
        let price = piece
            .price
            .checked_mul(factor)
            .map(|price| price.normalize())
            .filter(|price| *price <= Decimal::from(MAX_PRICE) && price.scale() <= MAX_PRICE_DECIMALS)
            .ok_or("its price is beyond what a price book takes")?;
        text.push('\n');
        if piece.names.len() > 1 {
            together = true;
            let _ = writeln!(text, "# {} hold at once and are added together there", piece.names.join(", "));
        }
        let _ = writeln!(
            text,
            "[[tariff]]\ntype = \"{}\"\nunit = \"{unit}\"\nprice = \"{price}\" # there: {} a {}",
            kind.slug, piece.price, first.unit
        );
        for (key, at) in [("from", piece.from), ("until", piece.until)] {
            if let Some(at) = at {
                let _ = writeln!(text, "{key} = \"{at}\"");
            }
        }
        prices += 1;
    }
    Ok((text, prices, together))
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::{
        rating::{Features, PriceBook, Quote, Rated, quote},
        time::Period,
    };

    /// 1 November 2026.
    const NOVEMBER: i64 = 1_793_491_200;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_seconds(NOVEMBER + day * 86_400)
    }

    fn tariff(usage_type: i32, unit: &str, value: &str) -> Tariff {
        Tariff {
            usage_type,
            unit: unit.to_owned(),
            value: value.parse().unwrap(),
            from: Some(Timestamp::from_seconds(1_272_931_200)),
            last: None,
            has_rule: false,
            name: format!("type {usage_type}"),
        }
    }

    fn drafted(tariffs: &[Tariff]) -> (Draft, PriceBook) {
        let draft = draft(&Currency::from_code("EUR").unwrap(), tariffs);
        let book =
            PriceBook::parse(&draft.text, Tz::UTC).unwrap_or_else(|problems| panic!("{problems:?}\n{}", draft.text));
        (draft, book)
    }

    /// What one thing of 5 GiB, or an amount, costs from one day of November to another, in nanos.
    fn costs(book: &PriceBook, usage_type: i32, amount: &str, from: i64, until: i64) -> i64 {
        let asked = Quote {
            usage_type,
            amount: amount.parse().unwrap(),
            period: Period::new(at(from), at(until)).unwrap(),
            size_bytes: Some(5 << 30),
            features: Features::default(),
        };
        match quote(book, &asked, Tz::UTC).unwrap() {
            Rated::Charged(charge) => charge.total_nanos().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_unit_means_the_same_as_there() {
        let (draft, book) = drafted(&[
            tariff(1, "Compute*Month", "72"),
            tariff(3, "IP*Month", "3"),
            tariff(6, "GB*Month", "0.3"),
            tariff(4, "GB", "0.02"),
            tariff(23, "Bytes", "0.00001"),
            tariff(21, "IOPS", "0.00002"),
            tariff(11, "Policy*Month", "1.5"),
        ]);
        assert_eq!((draft.prices, draft.untranslated.len(), draft.with_rules.len()), (7, 0, 0), "{draft:?}");
        // November has 720 hours: 0.1 an hour.
        assert_eq!(costs(&book, 1, "1", 0, 1), 2_400_000_000);
        assert_eq!(costs(&book, 3, "1", 0, 30), 3_000_000_000);
        // 5 GiB for the month.
        assert_eq!(costs(&book, 6, "1", 0, 30), 1_500_000_000);
        // 2^30 bytes are their GB.
        assert_eq!(costs(&book, 4, "1073741824", 0, 1), 20_000_000);
        assert_eq!(costs(&book, 23, "1000", 0, 1), 10_000_000);
        assert_eq!(costs(&book, 21, "50", 0, 1), 1_000_000);
        assert_eq!(costs(&book, 11, "1", 0, 30), 1_500_000_000);
    }

    #[test]
    fn tariffs_that_hold_at_once_are_added_and_each_change_is_a_cut() {
        let mut promotion = tariff(1, "Compute*Month", "28");
        // Up to and with the last second of the tenth day.
        (promotion.from, promotion.last) = (Some(at(5)), Some(Timestamp::from_seconds(at(10).as_seconds() - 1)));
        let (draft, book) = drafted(&[tariff(1, "Compute*Month", "72"), promotion]);
        assert_eq!((draft.prices, draft.added_together.as_slice()), (3, ["running-vm".to_owned()].as_slice()));
        assert_eq!(costs(&book, 1, "1", 0, 5), 12_000_000_000);
        // 100 a month: 0.13888… an hour, 120 hours.
        assert_eq!(costs(&book, 1, "1", 5, 10), 16_666_666_665);
        assert_eq!(costs(&book, 1, "1", 10, 15), 12_000_000_000);
    }

    #[test]
    fn rules_are_listed_and_never_imported() {
        let mut ruled = tariff(1, "Compute*Month", "10");
        (ruled.has_rule, ruled.name) = (true, "only big ones".to_owned());
        let (draft, book) = drafted(&[tariff(1, "Compute*Month", "72"), ruled.clone()]);
        assert_eq!(draft.with_rules, ["only big ones (usage type running-vm)"]);
        assert_eq!((draft.prices, book.tariffs().len()), (1, 1));
        assert!(draft.text.contains("only a part"), "{}", draft.text);
        let (draft, book) = drafted(&[ruled]);
        assert_eq!((book.tariffs().len(), draft.untranslated.len(), draft.free.len()), (0, 1, 0));
    }

    #[test]
    fn what_costs_nothing_there_is_free_and_what_has_no_tariff_is_unpriced() {
        let (draft, book) = drafted(&[tariff(7, "GB*Month", "0.0"), tariff(1, "Compute*Month", "1")]);
        assert_eq!(draft.free, ["template"]);
        assert!(book.is_free(7) && !book.is_free(8));
        assert!(draft.text.contains("unpriced here: allocated-vm"), "{}", draft.text);
    }

    #[test]
    fn what_has_no_unit_here_is_listed_with_the_reason() {
        let (draft, book) = drafted(&[
            tariff(26, "GB*Month", "1"),
            tariff(29, "GB*Month", "1"),
            tariff(99, "GB", "1"),
            tariff(1, "Furlong", "1"),
            tariff(2, "Compute*Month", "-1"),
            tariff(23, "Bytes", "2"),
        ]);
        assert_eq!((book.tariffs().len(), draft.untranslated.len()), (0, 6), "{draft:?}");
        assert!(draft.untranslated.iter().any(|line| line.contains("volume-secondary") && line.contains("size")));
    }

    #[test]
    fn a_name_can_not_break_out_of_its_comment() {
        let mut evil = tariff(1, "Compute*Month", "1");
        evil.name = "x\n[[tariff]]\ntype = \"iso\"".to_owned();
        let (_, book) = drafted(&[evil, tariff(1, "Compute*Month", "2")]);
        assert_eq!(book.tariffs().len(), 1);
    }
}
