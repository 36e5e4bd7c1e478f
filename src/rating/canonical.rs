//! A book as text without comments and notes, sorted, dates as instants: what its digest is made of.
//!
//! Books of only types, offerings and plain prices are written as the first versions wrote them, so that they keep their
//! digest.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    book::{Pricing, Tariff},
    discount::Discount,
    narrowing::{Narrowing, Range},
    problem::quoted,
    tax::Tax,
};
use crate::{money::Currency, time::Timestamp, usage::types::UsageType};

/// The canonical text of a sorted book. Writing to a String can not fail.
pub(super) fn write(
    currency: &Currency,
    free: &BTreeSet<i32>,
    tariffs: &[Tariff],
    discounts: &[Discount],
    taxes: &[Tax],
) -> String {
    let is_plain = |tariff: &Tariff| {
        let only_offering = Narrowing { offering: tariff.narrowing.offering.clone(), ..Narrowing::default() };
        !matches!(tariff.pricing, Pricing::Tiers(_)) && tariff.narrowing == only_offering
    };
    let form = if discounts.is_empty() && taxes.is_empty() && tariffs.iter().all(is_plain) { 1 } else { 2 };
    let mut text = String::with_capacity(64 + tariffs.len() * 160);
    let slugs: Vec<String> =
        free.iter().filter_map(|id| UsageType::from_id(*id)).map(|known| format!("\"{}\"", known.slug)).collect();
    let _ =
        writeln!(text, "# price book, form {form}\ncurrency = \"{}\"\nfree = [{}]", currency.code(), slugs.join(", "));
    for tariff in tariffs {
        let _ = writeln!(text, "\n[[tariff]]\ntype = \"{}\"\nunit = \"{}\"", tariff.usage_type.slug, tariff.unit);
        pricing(&mut text, &tariff.pricing);
        narrowing(&mut text, &tariff.narrowing);
        dates(&mut text, tariff.from, tariff.until);
    }
    for discount in discounts {
        let _ = writeln!(text, "\n[[discount]]\npercent = \"{}\"", discount.percent.normalize());
        if let Some(known) = discount.usage_type {
            let _ = writeln!(text, "type = \"{}\"", known.slug);
        }
        narrowing(&mut text, &discount.narrowing);
        dates(&mut text, discount.from, discount.until);
    }
    for tax in taxes {
        let _ = writeln!(text, "\n[[tax]]\npercent = \"{}\"", tax.rate.percent());
        narrowing(&mut text, &tax.narrowing);
        // Days, not instants: they mean the same in every zone.
        for (key, day) in [("from", tax.from), ("until", tax.until)] {
            if let Some(day) = day {
                let _ = writeln!(text, "{key} = \"{day}\"");
            }
        }
    }
    text
}

fn pricing(text: &mut String, pricing: &Pricing) {
    let _ = match pricing {
        Pricing::Blank => writeln!(text, "price = \"\""),
        Pricing::Flat(price) => writeln!(text, "price = \"{}\"", price.normalize()),
        Pricing::Tiers(tiers) => {
            let steps: Vec<String> = tiers
                .iter()
                .map(|tier| {
                    let price = tier.price.normalize();
                    match tier.up_to {
                        Some(up_to) => format!("{{ up_to = \"{}\", price = \"{price}\" }}", up_to.normalize()),
                        None => format!("{{ price = \"{price}\" }}"),
                    }
                })
                .collect();
            writeln!(text, "tiers = [{}]", steps.join(", "))
        }
    };
}

/// The keys of a narrowing, one a line. What use is counted under is made of this too: it must not change.
pub(super) fn narrowing(text: &mut String, narrowing: &Narrowing) {
    let texts = [
        ("offering", narrowing.offering.clone()),
        ("account", narrowing.account.clone()),
        ("payer", narrowing.payer.clone()),
        ("domain", narrowing.domain.as_ref().map(ToString::to_string)),
        ("tag", narrowing.tag.as_ref().map(ToString::to_string)),
        ("template", narrowing.template.clone()),
        ("os", narrowing.os_type.clone()),
        ("zone", narrowing.zone.clone()),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            let _ = writeln!(text, "{key} = {}", quoted(&value));
        }
    }
    for (name, range) in [("cpu", narrowing.cpu), ("memory", narrowing.memory_mib)] {
        if let Some(Range { from, below }) = range {
            let _ = writeln!(text, "{name}_from = {from}");
            if let Some(below) = below {
                let _ = writeln!(text, "{name}_below = {below}");
            }
        }
    }
}

fn dates(text: &mut String, from: Option<Timestamp>, until: Option<Timestamp>) {
    for (key, date) in [("from", from), ("until", until)] {
        if let Some(date) = date {
            let _ = writeln!(text, "{key} = \"{date}\"");
        }
    }
}
