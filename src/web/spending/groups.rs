//! Charges taken apart: by service, machine, tag, resource or project, so that the parts add up to the whole to the last
//! millionth. Pure.
//!
//! A day's charge of a type is rounded once, and so is its tax. Its parts get the differences of running sums, each rounded
//! like the whole: what rounding leaves never gets lost, and never becomes a line of its own.

use std::collections::BTreeMap;

use crate::{
    money::{Money, MoneyError},
    rating::{spending::ThingCost, tax::TaxRate},
    store::spending::SpentRow,
};

/// Net and tax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::web) struct Cost {
    /// Net.
    pub(in crate::web) net: Money,
    /// Tax.
    pub(in crate::web) tax: Money,
}

impl Cost {
    /// What an exact net comes to.
    fn of(nanos: i64, rate: TaxRate) -> Result<Self, MoneyError> {
        let net = Money::round_from_nanos(nanos);
        Ok(Self { net, tax: rate.of(net)? })
    }

    /// Both together.
    pub(in crate::web) fn gross(self) -> Result<Money, MoneyError> {
        self.net.plus(self.tax)
    }

    pub(in crate::web) fn plus(self, other: Self) -> Result<Self, MoneyError> {
        Ok(Self { net: self.net.plus(other.net)?, tax: self.tax.plus(other.tax)? })
    }

    fn minus(self, other: Self) -> Result<Self, MoneyError> {
        Ok(Self { net: self.net.minus(other.net)?, tax: self.tax.minus(other.tax)? })
    }

    pub(in crate::web) fn is_zero(self) -> bool {
        self.net.is_zero() && self.tax.is_zero()
    }
}

/// What a day cost under a usage type, as the ledger has it or is about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) struct DayCharge {
    /// The billing day.
    pub(in crate::web) day: i64,
    /// CloudStack's usage type.
    pub(in crate::web) usage_type: i64,
    /// What it costs: booked, or rated and to be booked.
    pub(in crate::web) cost: Cost,
    /// Of it, what is not booked yet.
    pub(in crate::web) open: Cost,
    rate: TaxRate,
}

impl DayCharge {
    /// From the store. A correction that waits for a person, or that one refused, counts as it was booked before.
    pub(in crate::web) fn of(row: &SpentRow, otherwise: TaxRate) -> Result<Self, MoneyError> {
        let rate = row.tax_percent.as_deref().and_then(|text| TaxRate::parse(text).ok()).unwrap_or(otherwise);
        let posted =
            Cost { net: Money::from_micros(row.posted_net_micros), tax: Money::from_micros(row.posted_tax_micros) };
        let (cost, open) = if row.unsettled == 1 {
            let due = Cost::of(row.net_nanos, rate)?;
            (due, due.minus(posted)?)
        } else {
            (posted, Cost::default())
        };
        Ok(Self { day: row.day, usage_type: row.usage_type, cost, open, rate })
    }
}

/// How much is known of a day.
#[derive(Debug, Clone, Copy)]
pub(in crate::web) enum Known<'k> {
    /// What each thing cost.
    Things(&'k [ThingCost]),
    /// Its records are summed up: the charge by type is all there is.
    SummedUp,
    /// More records than one page works out.
    TooMany,
}

/// What a line stands for. The order is that of lines that cost the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::web) enum Key {
    /// A usage type.
    Service(i64),
    /// A machine, by CloudStack's id.
    Machine(String),
    /// What is no machine's.
    NoMachine,
    /// A value of the tag that was asked for.
    Tag(String),
    /// Things without that tag.
    NoTag,
    /// A resource by number, under a usage type.
    Resource(i64, i64),
    /// A project by number.
    Project(i64),
    /// What is no project's.
    NoProject,
    /// Days of which single records are no longer kept, by usage type.
    SummedUp(i64),
    /// Days of which single things were not worked out.
    TooMany,
    /// What is booked and not told by records as they are now.
    Other,
}

/// What a line comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::web) struct Sum {
    /// Net and tax.
    pub(in crate::web) cost: Cost,
    /// Of it with tax, what is not booked yet.
    pub(in crate::web) open: Money,
    /// What was used, as it is stored; of one usage type only.
    pub(in crate::web) quantity: i64,
    /// Records; one that touches two days counts on both.
    pub(in crate::web) records: i64,
}

impl Sum {
    fn add(&mut self, cost: Cost, open: Money) -> Result<(), MoneyError> {
        self.cost = self.cost.plus(cost)?;
        self.open = self.open.plus(open)?;
        Ok(())
    }
}

/// Lines and what they come to.
pub(in crate::web) type Groups = BTreeMap<Key, Sum>;

/// By usage type: the charges themselves.
pub(in crate::web) fn by_service(charges: &[DayCharge]) -> Result<Groups, MoneyError> {
    let mut groups = Groups::new();
    for charge in charges {
        groups.entry(Key::Service(charge.usage_type)).or_default().add(charge.cost, charge.open.gross()?)?;
    }
    Ok(groups)
}

/// By what `key` says of each thing; it gives None for what was not asked for. `whole`: nothing is left out by `key`, so
/// that what no thing explains is told too, and all lines add up to the charges.
pub(in crate::web) fn by_things<'k>(
    charges: &[DayCharge],
    known: impl Fn(i64) -> Known<'k>,
    key: impl Fn(&ThingCost) -> Option<Key>,
    whole: bool,
) -> Result<Groups, MoneyError> {
    let mut groups = Groups::new();
    let mut add = |key: Key, cost: Cost, open: Money, (quantity, records): (i64, i64)| -> Result<(), MoneyError> {
        let sum = groups.entry(key).or_default();
        sum.quantity = sum.quantity.saturating_add(quantity);
        sum.records = sum.records.saturating_add(records);
        sum.add(cost, open)
    };
    for charge in charges {
        let things = match known(charge.day) {
            Known::Things(things) => things,
            Known::SummedUp | Known::TooMany if !whole => continue,
            Known::SummedUp => {
                add(Key::SummedUp(charge.usage_type), charge.cost, charge.open.gross()?, (0, 0))?;
                continue;
            }
            Known::TooMany => {
                add(Key::TooMany, charge.cost, charge.open.gross()?, (0, 0))?;
                continue;
            }
        };
        // A day of which nothing is booked: all its parts are open. Of one that is corrected it can not be told by part.
        let all_open = charge.open == charge.cost;
        let (mut nanos, mut before) = (0_i64, Cost::default());
        for thing in things.iter().filter(|thing| thing.usage_type == charge.usage_type) {
            nanos = nanos.checked_add(thing.net_nanos).ok_or(MoneyError::Overflow)?;
            let now = Cost::of(nanos, charge.rate)?;
            let part = now.minus(before)?;
            before = now;
            if let Some(key) = key(thing) {
                let open = if all_open { part.gross()? } else { Money::ZERO };
                add(key, part, open, (thing.quantity, thing.records))?;
            }
        }
        let rest = charge.cost.minus(before)?;
        if whole && !rest.is_zero() {
            add(Key::Other, rest, if all_open { rest.gross()? } else { Money::ZERO }, (0, 0))?;
        }
    }
    Ok(groups)
}

/// The sum of all lines.
pub(in crate::web) fn total(groups: &Groups) -> Result<Sum, MoneyError> {
    groups.values().try_fold(Sum::default(), |mut total, sum| {
        total.add(sum.cost, sum.open)?;
        total.records = total.records.saturating_add(sum.records);
        Ok(total)
    })
}

/// The machine that a resource belongs to, by what identifies it (`usage::normalise` has the table).
pub(in crate::web) fn machine_of(usage_type: i64, resource: &str) -> Option<&str> {
    let machine = match usage_type {
        1 | 2 => resource,
        10 | 21..=24 => resource.split_once('/')?.1,
        13 => resource.split_once('/')?.0,
        _ => return None,
    };
    (!machine.is_empty()).then_some(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(day: i64, usage_type: i64, net_nanos: i64, unsettled: i64, posted: (i64, i64)) -> SpentRow {
        SpentRow {
            day,
            usage_type,
            records: 1,
            unpriced: 0,
            failed: 0,
            net_nanos,
            tax_percent: Some("20".to_owned()),
            posted_net_micros: posted.0,
            posted_tax_micros: posted.1,
            postings: i64::from(posted.0 != 0),
            unsettled,
        }
    }

    fn charges(rows: &[SpentRow]) -> Vec<DayCharge> {
        rows.iter().map(|row| DayCharge::of(row, TaxRate::ZERO).unwrap()).collect()
    }

    fn thing(usage_type: i64, resource_id: i64, net_nanos: i64) -> ThingCost {
        ThingCost {
            usage_type,
            resource_id,
            project_id: (resource_id == 3).then_some(9),
            attributes_id: None,
            records: 2,
            quantity: 10,
            net_nanos,
        }
    }

    fn resource(thing: &ThingCost) -> Key {
        Key::Resource(thing.resource_id, thing.usage_type)
    }

    fn micros(sum: &Sum) -> (i64, i64, i64) {
        (sum.cost.net.as_micros(), sum.cost.tax.as_micros(), sum.open.as_micros())
    }

    #[test]
    fn a_charge_costs_what_is_booked_or_will_be() {
        let all = charges(&[
            row(1, 1, 5_000_000, 0, (5_000, 1_000)),
            // Not booked at all, and a correction on its way.
            row(2, 1, 5_000_000, 1, (0, 0)),
            row(3, 1, 7_000_000, 1, (5_000, 1_000)),
            // A correction that waits, and one that was refused: as before.
            row(4, 1, 9_000_000, 2, (5_000, 1_000)),
            row(5, 1, 9_000_000, 3, (5_000, 1_000)),
        ]);
        let seen: Vec<(i64, i64)> = all
            .iter()
            .map(|charge| (charge.cost.gross().unwrap().as_micros(), charge.open.gross().unwrap().as_micros()))
            .collect();
        assert_eq!(seen, [(6_000, 0), (6_000, 6_000), (8_400, 2_400), (6_000, 0), (6_000, 0)]);
        assert_eq!(micros(&by_service(&all).unwrap()[&Key::Service(1)]), (27_000, 5_400, 8_400));
    }

    #[test]
    fn parts_add_up_to_the_whole_to_the_last_millionth() {
        // Three thirds of a ten-thousandth, each of which alone rounds down, and taxes that round too.
        let rows = [row(1, 1, 100_001_500, 1, (0, 0)), row(1, 6, 2_000_000_001, 0, (2_000_000, 400_000))];
        let all = charges(&rows);
        let things = [
            thing(1, 1, 33_333_833),
            thing(1, 2, 33_333_833),
            thing(1, 3, 33_333_834),
            thing(6, 1, 999_999_999),
            thing(6, 4, 1_000_000_002),
        ];
        let groups = by_things(&all, |_| Known::Things(&things), |thing| Some(resource(thing)), true).unwrap();
        assert_eq!(groups.len(), 5);
        let (parts, whole) = (total(&groups).unwrap(), total(&by_service(&all).unwrap()).unwrap());
        assert_eq!(micros(&parts), micros(&whole));
        assert_eq!(micros(&whole), (100_002 + 2_000_000, 20_000 + 400_000, 120_002));
        let projects = |thing: &ThingCost| Some(thing.project_id.map_or(Key::NoProject, Key::Project));
        let groups = by_things(&all, |_| Known::Things(&things), projects, true).unwrap();
        assert_eq!(micros(&total(&groups).unwrap()), micros(&whole));
        assert_eq!(groups[&Key::Project(9)].quantity, 10);
    }

    #[test]
    fn what_no_thing_explains_is_told_where_everything_was_asked_for() {
        let rows = [
            row(1, 1, 5_000_000, 0, (5_000, 1_000)),
            row(2, 1, 6_000_000, 0, (6_000, 1_200)),
            row(3, 1, 7_000_000, 0, (7_000, 1_400)),
            row(3, 6, 7_000_000, 2, (4_000, 800)),
        ];
        let all = charges(&rows);
        let things = [thing(1, 1, 6_000_000), thing(6, 2, 7_000_000)];
        let known = |day| match day {
            1 => Known::SummedUp,
            2 => Known::TooMany,
            _ => Known::Things(&things),
        };
        let groups = by_things(&all, known, |thing| Some(resource(thing)), true).unwrap();
        assert_eq!(micros(&total(&groups).unwrap()), micros(&total(&by_service(&all).unwrap()).unwrap()));
        assert_eq!(micros(&groups[&Key::SummedUp(1)]), (5_000, 1_000, 0));
        assert_eq!(micros(&groups[&Key::TooMany]), (6_000, 1_200, 0));
        // Of the third day 1,000 that no thing explains, and 3,000 that a waiting correction would add.
        assert_eq!(micros(&groups[&Key::Other]), (-2_000, -400, 0));
        let only_one = |thing: &ThingCost| (thing.resource_id == 1).then_some(Key::Resource(1, 1));
        let groups = by_things(&all, known, only_one, false).unwrap();
        assert_eq!(groups.keys().collect::<Vec<_>>(), [&Key::Resource(1, 1)]);
    }

    #[test]
    fn the_machine_of_a_resource_is_read_from_what_identifies_it() {
        let id = "6f5ef948-2bf2-41ef-a22c-5abb534cb69a";
        for (usage_type, resource, machine) in [
            (1, id.to_owned(), Some(id)),
            (2, id.to_owned(), Some(id)),
            (13, format!("{id}/offering"), Some(id)),
            (10, format!("group/{id}"), Some(id)),
            (21, format!("volume/{id}"), Some(id)),
            (21, "volume/".to_owned(), None),
            (6, id.to_owned(), None),
            (4, "network/router".to_owned(), None),
        ] {
            assert_eq!(machine_of(usage_type, &resource), machine, "{usage_type}");
        }
    }
}
