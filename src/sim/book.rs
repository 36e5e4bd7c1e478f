//! What everybody really owes: reckoned from the cloud's own spans and from what people booked, never from bursar's tables.
//!
//! Where bursar may rightly know less or more than the truth, the bound is taken that accuses nobody wrongly.

use std::collections::BTreeMap;

use crate::{
    ids::CloudId,
    standin::World,
    time::{Day, Timestamp},
};

/// Millionths an hour of a running machine.
const MACHINE_HOUR: i128 = 100_000;
/// Millionths an hour of a GiB of volume.
const GIB_HOUR: i128 = 1_000;
/// Millionths an hour of an address.
const ADDRESS_HOUR: i128 = 5_000;
const MS_PER_HOUR: i128 = 3_600_000;
const GIB: i128 = 1 << 30;
/// Types of usage with a price here.
const RUNNING: u8 = 1;
const ADDRESS: u8 = 3;
const VOLUME: u8 = 6;

/// The price book that says the same.
pub const PRICES: &str = r#"
currency = "EUR"
free = ["network", "network-offering", "allocated-vm"]

[[tariff]]
type = "running-vm"
unit = "hour"
price = "0.10"

[[tariff]]
type = "volume"
unit = "gib-hour"
price = "0.001"

[[tariff]]
type = "ip-address"
unit = "hour"
price = "0.005"
"#;

/// A grant as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gift {
    /// In millionths.
    pub amount: i64,
    /// When it begins to count.
    pub from: Timestamp,
    /// When it no longer does.
    pub until: Option<Timestamp>,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// What one payer was allowed and brought in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purse {
    /// The credit limit; None: not managed.
    pub limit: Option<i64>,
    /// Payments.
    pub paid: i64,
    /// Grants.
    pub gifts: Vec<Gift>,
    /// What may have been reported beyond what was used: ends that came late.
    pub doubt: i64,
}

impl Purse {
    /// The least that may be spent in all, as of an instant: of grants that are over, nothing.
    pub fn credit(&self, at: Timestamp) -> i64 {
        let counts = |gift: &&Gift| !gift.revoked && gift.from <= at && gift.until.is_none_or(|until| at < until);
        let gifts: i64 = self.gifts.iter().filter(counts).map(|gift| gift.amount).sum();
        self.limit.unwrap_or(0).saturating_add(self.paid).saturating_add(gifts)
    }

    /// Whether every grant counts, so that the least is exact.
    pub fn is_exact(&self, at: Timestamp) -> bool {
        self.gifts.iter().all(|gift| !gift.revoked && gift.from <= at && gift.until.is_none_or(|until| at < until))
    }
}

/// What owners used up to an instant, gross, in millionths.
pub fn used(world: &World, owners: &[CloudId], until: Timestamp, tax_percent: i64) -> i64 {
    between(world, owners, Timestamp::from_ms(i64::MIN / 2), until, tax_percent)
}

/// The most that any of the days up to an instant cost.
pub fn dearest_day(world: &World, owners: &[CloudId], from: Timestamp, until: Timestamp, tax_percent: i64) -> i64 {
    let mut days: BTreeMap<i64, i64> = BTreeMap::new();
    let Some(mut day) = Day::of(from, chrono_tz::Tz::UTC) else { return 0 };
    while let Some(start) = day.start(chrono_tz::Tz::UTC).filter(|start| *start < until) {
        let end = start.plus(std::time::Duration::from_hours(24)).min(until);
        days.insert(day.number(), between(world, owners, start, end, tax_percent));
        day = day.next();
    }
    days.into_values().max().unwrap_or(0)
}

fn between(world: &World, owners: &[CloudId], from: Timestamp, until: Timestamp, tax_percent: i64) -> i64 {
    let mut sum: i128 = 0;
    for span in owners.iter().filter_map(|owner| world.usage.spans.get(owner)).flatten() {
        let price = match span.kind {
            RUNNING => MACHINE_HOUR,
            ADDRESS => ADDRESS_HOUR,
            VOLUME => {
                let bytes = span.fields.get("size").and_then(serde_json::Value::as_u64).unwrap_or(0);
                GIB_HOUR * i128::from(bytes) / GIB
            }
            _ => continue,
        };
        let first = span.from.max(from);
        let last = span.to.map_or(until, |to| to.min(until));
        sum += price * i128::from((last.as_ms() - first.as_ms()).max(0));
    }
    let gross = sum / MS_PER_HOUR * i128::from(100 + tax_percent) / 100;
    i64::try_from(gross).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::standin::AccountKind;

    #[test]
    fn a_machine_costs_its_hours_its_disk_and_its_address() {
        let start = Timestamp::from_seconds(1_793_491_200);
        let mut world = World::new(start);
        let root = world.root_domain();
        let ann = world.add_account(root, "ann", AccountKind::User);
        let offering = world.find_offering("Small Instance").unwrap();
        let vm = world.deploy_vm(ann, "machine", offering, start);
        world.stop_vm(vm, start.plus(Duration::from_hours(10)));
        let until = start.plus(Duration::from_hours(20));
        // Ten hours running, twenty of two GiB and of one address.
        assert_eq!(used(&world, &[ann], until, 0), 1_000_000 + 40_000 + 100_000);
        assert_eq!(used(&world, &[ann], until, 20), 1_140_000 * 12 / 10);
        assert_eq!(dearest_day(&world, &[ann], start, until, 0), 1_140_000);
        assert_eq!(used(&world, &[], until, 0), 0);
    }

    #[test]
    fn a_purse_counts_what_counts_now() {
        let at = Timestamp::from_seconds;
        let gift = Gift { amount: 5, from: at(10), until: Some(at(20)), revoked: false };
        let purse = Purse { limit: Some(100), paid: 7, gifts: vec![gift, Gift { revoked: true, ..gift }], doubt: 0 };
        assert_eq!([purse.credit(at(9)), purse.credit(at(10)), purse.credit(at(20))], [107, 112, 107]);
        assert!(!purse.is_exact(at(15)));
    }
}
