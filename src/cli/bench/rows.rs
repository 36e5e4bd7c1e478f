//! Usage as CloudStack gives it: so many accounts with ten machines each, one record a machine and hour.

use super::place::hour;
use crate::{cloudstack::UsageRow, time::Timestamp};

/// Machines of an account.
pub(super) const MACHINES: u64 = 10;
/// Hours in one span of the sync.
pub(super) const DAY_HOURS: u64 = 24;
/// Offerings in use.
const OFFERINGS: u64 = 8;

/// How many accounts and days so many records are of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) accounts: u64,
    /// Whole days; the last one may be filled in part.
    pub(super) days: u64,
    pub(super) records: u64,
}

impl Shape {
    pub(super) fn new(accounts: u64, records: u64) -> Self {
        Self { accounts, days: records.div_ceil(accounts * MACHINES * DAY_HOURS), records }
    }

    /// The first instant that no record reaches.
    pub(super) fn end(self) -> Timestamp {
        hour(self.days * DAY_HOURS)
    }

    /// (hour, account, machine) of each record, in the order in which CloudStack writes them.
    pub(super) fn all(self) -> impl Iterator<Item = (u64, u64, u64)> {
        let hours = 0..self.days * DAY_HOURS;
        let each = move |hour| {
            (0..self.accounts).flat_map(move |account| (0..MACHINES).map(move |machine| (hour, account, machine)))
        };
        hours.flat_map(each).take(usize::try_from(self.records).unwrap_or(usize::MAX))
    }
}

fn id(kind: u16, number: u64) -> String {
    format!("00000000-0000-4000-{kind:04x}-{number:012}")
}

pub(super) fn account_id(account: u64) -> String {
    id(0x8000, account)
}

pub(super) fn person_id(account: u64) -> String {
    id(0xc000, account)
}

pub(super) fn machine_id(account: u64, machine: u64) -> String {
    id(0x9000, account * 1_000 + machine)
}

pub(super) fn offering_id(account: u64, machine: u64) -> String {
    id(0xa000, (account + machine) % OFFERINGS)
}

/// A record of a running machine with everything that CloudStack says about one.
pub(super) fn row((at, account, machine): (u64, u64, u64)) -> UsageRow {
    let name = format!("machine-{account}-{machine}");
    let machine_id = machine_id(account, machine);
    UsageRow {
        account: Some(format!("bench-{account}")),
        account_id: Some(account_id(account)),
        domain_id: Some(id(0x8000, 999_999)),
        domain: Some("ROOT".to_owned()),
        domain_path: Some("ROOT".to_owned()),
        zone_id: Some(id(0xb000, 1)),
        description: Some(format!("{name} running time (ServiceOffering: 1) (Template: 4)")),
        usage: Some("1 Hrs".to_owned()),
        usage_type: Some(1),
        raw_usage: Some("1".to_owned()),
        virtual_machine_id: Some(machine_id.clone()),
        name: Some(name),
        offering_id: Some(offering_id(account, machine)),
        template_id: Some(id(0xb000, 2)),
        os_type_id: Some(id(0xb000, 3)),
        usage_id: Some(machine_id),
        resource_type: Some("KVM".to_owned()),
        start_date: Some(hour(at).to_cloudstack()),
        end_date: Some(Timestamp::from_seconds(hour(at).as_seconds() + 3_599).to_cloudstack()),
        ..UsageRow::default()
    }
}
