//! A machine for a month, as the things that its usage records would report: for quotes at the command line and on pages.

use super::{Features, Usage, estimate::Wanted};
use crate::time::Period;

/// A machine that runs.
pub const RUNNING_VM: i32 = 1;
/// A machine in whatever state.
pub const ALLOCATED_VM: i32 = 2;
/// A public address.
pub const IP_ADDRESS: i32 = 3;
/// A volume.
pub const VOLUME: i32 = 6;
/// Bytes of a GiB.
pub const GIB: i64 = 1 << 30;
/// Hours are counted in millionths.
pub const PER_HOUR: i64 = 1_000_000;

const SECONDS_PER_HOUR: i64 = 3_600;

/// What is wanted of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'m> {
    /// The month.
    pub period: Period,
    /// What is known of the machine.
    pub features: Features<'m>,
    /// How long it runs, millionths of an hour; it exists all the time.
    pub running: i64,
    /// Its root disk.
    pub disk_gib: Option<u32>,
    /// The offering of that disk.
    pub disk_offering: Option<&'m str>,
    /// Public addresses.
    pub addresses: u32,
}

/// The hours of a period, in millionths.
pub const fn whole(period: Period) -> i64 {
    period.seconds().saturating_mul(PER_HOUR) / SECONDS_PER_HOUR
}

/// The root disk of a machine of these features, all of the period.
pub fn disk<'m>(features: Features<'m>, offering: Option<&'m str>, gib: u32, period: Period) -> Wanted<'m> {
    let size_bytes = Some(i64::from(gib) * GIB);
    Wanted {
        usage: Usage { usage_type: VOLUME, quantity: whole(period), period, size_bytes },
        features: Features { offering, os_type: None, cpu_number: None, memory_mib: None, ..features },
    }
}

/// So many addresses all of the period; None: beyond any cloud.
pub fn addresses(features: Features<'_>, count: u32, period: Period) -> Option<Wanted<'_>> {
    let quantity = whole(period).checked_mul(i64::from(count))?;
    Some(Wanted {
        usage: Usage { usage_type: IP_ADDRESS, quantity, period, size_bytes: None },
        features: Features {
            offering: None,
            os_type: None,
            cpu_number: None,
            memory_mib: None,
            template: None,
            ..features
        },
    })
}

/// A machine's hours: those in which it runs, and those in which it exists.
pub fn hours(features: Features<'_>, running: i64, period: Period) -> [Wanted<'_>; 2] {
    let usage = |usage_type, quantity| Usage { usage_type, quantity, period, size_bytes: None };
    [
        Wanted { usage: usage(RUNNING_VM, running), features },
        Wanted { usage: usage(ALLOCATED_VM, whole(period)), features },
    ]
}

/// All of it; None: beyond any cloud.
pub fn things<'m>(machine: &Machine<'m>) -> Option<Vec<Wanted<'m>>> {
    let mut wanted = hours(machine.features, machine.running, machine.period).to_vec();
    if let Some(gib) = machine.disk_gib {
        wanted.push(disk(machine.features, machine.disk_offering, gib, machine.period));
    }
    if machine.addresses > 0 {
        wanted.push(addresses(machine.features, machine.addresses, machine.period)?);
    }
    Some(wanted)
}
