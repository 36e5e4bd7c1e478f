//! The table of `CloudStack`'s usage types: what each one counts, in which units it can be priced, and its oddities.
//!
//! The numbers and constants are those of `UsageTypes.java` (4.22); what a record of each type carries was read in
//! `ApiResponseHelper.createUsageResponse` and seen in recorded answers. A number that is not in the table stays
//! unknown: it is listed as unpriced and never guessed at.

use std::fmt;

use rust_decimal::Decimal;

use crate::time::{MS_PER_SECOND, Period};

/// What the field `rawusage` of a record counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Hours of existence or of running.
    Hours,
    /// Bytes moved in the window.
    Bytes,
    /// Operations (I/O requests) in the window.
    Operations,
    /// Bytes held at the time of the window (buckets): a level, not a flow.
    BytesAtWindow,
}

impl Quantity {
    /// What a person calls one of it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hours => "hours",
            Self::Bytes => "bytes",
            Self::Operations => "operations",
            Self::BytesAtWindow => "bytes held",
        }
    }
}

/// What a price is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// One hour of one thing.
    Hour,
    /// One whole calendar month of one thing, of the month's real length.
    Month,
    /// One GiB (2^30 bytes) for one hour.
    GibHour,
    /// One GiB (2^30 bytes) for a whole calendar month of its real length.
    GibMonth,
    /// One GB of 10^9 bytes, moved.
    Gb,
    /// One GiB of 2^30 bytes, moved.
    Gib,
    /// One million operations.
    Million,
}

impl Unit {
    /// All units, in the order in which they are listed to people.
    pub const ALL: [Self; 7] =
        [Self::Hour, Self::Month, Self::GibHour, Self::GibMonth, Self::Gb, Self::Gib, Self::Million];

    /// The unit's name in a price book.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Month => "month",
            Self::GibHour => "gib-hour",
            Self::GibMonth => "gib-month",
            Self::Gb => "gb",
            Self::Gib => "gib",
            Self::Million => "million",
        }
    }

    /// The unit of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.name() == name)
    }

    /// Whether a size in bytes is part of the price.
    pub const fn is_by_size(self) -> bool {
        matches!(self, Self::GibHour | Self::GibMonth)
    }

    /// Whether a price is for a whole calendar month.
    pub const fn is_by_month(self) -> bool {
        matches!(self, Self::Month | Self::GibMonth)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageType {
    /// `CloudStack`'s number, the field `usagetype` of a record.
    pub id: i32,
    /// `CloudStack`'s constant, as `listUsageTypes` gives it.
    pub constant: &'static str,
    /// The type's name in a price book.
    pub slug: &'static str,
    /// For people.
    pub words: &'static str,
    /// What `rawusage` counts.
    pub quantity: Quantity,
    /// The units that may price it, the usual one first.
    pub units: &'static [Unit],
    /// Whether records name an offering, so that an offering may have a price of its own.
    pub has_offering: bool,
    /// Whether the hours may rightly exceed the record's window (type 13 adds up the network cards of a machine).
    pub may_exceed_window: bool,
    /// Whether records carry dates of their own instead of those of the aggregation window.
    pub has_own_dates: bool,
}

const BY_TIME: &[Unit] = &[Unit::Month, Unit::Hour];
const BY_HOUR: &[Unit] = &[Unit::Hour, Unit::Month];
const BY_SIZE: &[Unit] = &[Unit::GibMonth, Unit::GibHour, Unit::Month, Unit::Hour];
const BY_HELD: &[Unit] = &[Unit::GibMonth, Unit::GibHour];
const BY_BYTES: &[Unit] = &[Unit::Gb, Unit::Gib];
const BY_COUNT: &[Unit] = &[Unit::Million];

const fn row(
    id: i32,
    constant: &'static str,
    slug: &'static str,
    words: &'static str,
    quantity: Quantity,
    units: &'static [Unit],
) -> UsageType {
    UsageType {
        id,
        constant,
        slug,
        words,
        quantity,
        units,
        // 25's offering is CloudStack's internal number; the others are UUIDs.
        has_offering: matches!(id, 1 | 2 | 6 | 13 | 25),
        may_exceed_window: id == 13,
        has_own_dates: matches!(id, 25 | 27),
    }
}

/// Every type that `CloudStack` 4.18 to 4.22 reports, by number.
///
/// Type 26 has no GiB unit because its records carry no size.
static TABLE: [UsageType; 25] = {
    use Quantity::{Bytes, BytesAtWindow, Hours, Operations};
    [
        row(1, "RUNNING_VM", "running-vm", "Running machines", Hours, BY_HOUR),
        row(2, "ALLOCATED_VM", "allocated-vm", "Allocated machines", Hours, BY_HOUR),
        row(3, "IP_ADDRESS", "ip-address", "Public IP addresses", Hours, BY_TIME),
        row(4, "NETWORK_BYTES_SENT", "network-bytes-sent", "Network traffic sent", Bytes, BY_BYTES),
        row(5, "NETWORK_BYTES_RECEIVED", "network-bytes-received", "Network traffic received", Bytes, BY_BYTES),
        row(6, "VOLUME", "volume", "Volumes", Hours, BY_SIZE),
        row(7, "TEMPLATE", "template", "Templates", Hours, BY_SIZE),
        row(8, "ISO", "iso", "ISO images", Hours, BY_SIZE),
        row(9, "SNAPSHOT", "snapshot", "Volume snapshots", Hours, BY_SIZE),
        row(10, "SECURITY_GROUP", "security-group", "Security groups", Hours, BY_TIME),
        row(11, "LOAD_BALANCER_POLICY", "load-balancer-policy", "Load balancer rules", Hours, BY_TIME),
        row(12, "PORT_FORWARDING_RULE", "port-forwarding-rule", "Port forwarding rules", Hours, BY_TIME),
        row(13, "NETWORK_OFFERING", "network-offering", "Network connections of machines", Hours, BY_TIME),
        row(14, "VPN_USERS", "vpn-users", "VPN users", Hours, BY_TIME),
        row(21, "VM_DISK_IO_READ", "vm-disk-io-read", "Disk read requests", Operations, BY_COUNT),
        row(22, "VM_DISK_IO_WRITE", "vm-disk-io-write", "Disk write requests", Operations, BY_COUNT),
        row(23, "VM_DISK_BYTES_READ", "vm-disk-bytes-read", "Bytes read from disk", Bytes, BY_BYTES),
        row(24, "VM_DISK_BYTES_WRITE", "vm-disk-bytes-write", "Bytes written to disk", Bytes, BY_BYTES),
        row(25, "VM_SNAPSHOT", "vm-snapshot", "Machine snapshots", Hours, BY_SIZE),
        row(26, "VOLUME_SECONDARY", "volume-secondary", "Volumes on secondary storage", Hours, BY_TIME),
        row(
            27,
            "VM_SNAPSHOT_ON_PRIMARY",
            "vm-snapshot-on-primary",
            "Machine snapshots on primary storage",
            Hours,
            BY_SIZE,
        ),
        row(28, "BACKUP", "backup", "Backups", Hours, BY_SIZE),
        row(29, "BUCKET", "bucket", "Object storage buckets", BytesAtWindow, BY_HELD),
        row(30, "NETWORK", "network", "Networks", Hours, BY_TIME),
        row(31, "VPC", "vpc", "VPCs", Hours, BY_TIME),
    ]
};

impl UsageType {
    /// The type with `CloudStack`'s number; None for one that this version does not know.
    pub fn from_id(id: i32) -> Option<&'static Self> {
        TABLE.binary_search_by_key(&id, |known| known.id).ok().and_then(|position| TABLE.get(position))
    }

    /// The type with that name in a price book.
    pub fn from_slug(slug: &str) -> Option<&'static Self> {
        Self::all().iter().find(|known| known.slug == slug)
    }

    /// All types by number.
    pub fn all() -> &'static [Self] {
        &TABLE
    }

    /// Whether a price by this unit makes sense for this type.
    pub fn takes(&self, unit: Unit) -> bool {
        self.units.contains(&unit)
    }

    /// Whether a record claims more hours than its window has, and must not (facts 3.3: `CloudStack` can merge the
    /// hours of two machines). Two seconds and a ten-thousandth are let pass: its hours are 32-bit floats.
    pub fn exceeds_window(&self, quantity: Decimal, period: Period) -> bool {
        if self.quantity != Quantity::Hours || self.may_exceed_window {
            return false;
        }
        let length_ms = period.end().as_ms().saturating_sub(period.start().as_ms());
        let most_ms = length_ms.saturating_add(length_ms / 10_000).saturating_add(2 * MS_PER_SECOND);
        quantity.checked_mul(Decimal::from(3_600 * MS_PER_SECOND)).is_none_or(|used| used > Decimal::from(most_ms))
    }
}

impl fmt::Display for UsageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn holds_every_type_that_a_real_cloudstack_lists() {
        let recorded: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/recorded/011-listUsageTypes.json")).unwrap();
        let listed = recorded["response"]["body"]["listusagetypesresponse"]["usagetype"].as_array().unwrap();
        assert_eq!(listed.len(), UsageType::all().len());
        for entry in listed {
            let id = i32::try_from(entry["id"].as_i64().unwrap()).unwrap();
            assert_eq!(UsageType::from_id(id).unwrap().constant, entry["name"].as_str().unwrap());
        }
    }

    #[test]
    fn unknown_types_stay_unknown() {
        for id in [-1, 0, 15, 20, 32, i32::MAX] {
            assert_eq!(UsageType::from_id(id), None, "{id}");
        }
    }

    #[test]
    fn slugs_are_unique_and_the_constant_in_lower_case() {
        let slugs: BTreeSet<_> = UsageType::all().iter().map(|known| known.slug).collect();
        assert_eq!(slugs.len(), UsageType::all().len());
        for known in UsageType::all() {
            assert_eq!(known.slug, known.constant.to_lowercase().replace('_', "-"));
            assert_eq!(UsageType::from_slug(known.slug), Some(known));
        }
    }

    #[test]
    fn units_fit_what_is_counted() {
        for known in UsageType::all() {
            for unit in Unit::ALL {
                let fits = match known.quantity {
                    Quantity::Hours => matches!(unit, Unit::Hour | Unit::Month) || unit.is_by_size(),
                    Quantity::Bytes => matches!(unit, Unit::Gb | Unit::Gib),
                    Quantity::Operations => unit == Unit::Million,
                    Quantity::BytesAtWindow => unit.is_by_size(),
                };
                assert!(fits || !known.takes(unit), "{known} by {unit}");
            }
            assert!(!known.units.is_empty());
        }
        assert!(!UsageType::from_slug("volume-secondary").unwrap().takes(Unit::GibMonth));
        assert!(Unit::ALL.into_iter().all(|unit| Unit::from_name(unit.name()) == Some(unit)));
    }

    #[test]
    fn hours_beyond_the_window_are_noticed_except_where_they_are_right() {
        let window = Period::new(Timestamp::from_seconds(0), Timestamp::from_seconds(3_600)).unwrap();
        let hours = |text: &str| text.parse::<Decimal>().unwrap();
        let machine = UsageType::from_id(1).unwrap();
        assert!(!machine.exceeds_window(hours("1.000001"), window));
        assert!(machine.exceeds_window(hours("1.43"), window));
        assert!(machine.exceeds_window(Decimal::MAX, window));
        assert!(!UsageType::from_id(13).unwrap().exceeds_window(hours("2"), window));
        assert!(!UsageType::from_id(4).unwrap().exceeds_window(hours("5000"), window));
    }
}
