//! Resource limits and what is used of them: the many `…limit`, `…total` and `…available` fields of accounts, domains
//! and projects.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    World,
    entities::{Account, Power},
};
use crate::{ids::CloudId, standin::envelope::double};

/// One kind of limited resource.
pub(crate) struct Kind {
    /// The number in updateResourceLimit.
    pub number: u8,
    /// The name in listResourceLimits.
    pub name: &'static str,
    /// The prefix of the fields in accounts.
    pub field: &'static str,
    pub default_limit: i64,
    /// Written with a decimal point.
    pub double: bool,
}

const fn limited(number: u8, name: &'static str, field: &'static str, default_limit: i64) -> Kind {
    Kind { number, name, field, default_limit, double: false }
}

/// Every kind, in the order of the answers.
pub(crate) const KINDS: [Kind; 17] = [
    limited(0, "user_vm", "vm", 20),
    limited(1, "public_ip", "ip", 20),
    limited(2, "volume", "volume", 20),
    limited(3, "snapshot", "snapshot", 20),
    limited(4, "template", "template", 20),
    limited(5, "project", "project", 10),
    limited(6, "network", "network", 20),
    limited(7, "vpc", "vpc", 20),
    limited(8, "cpu", "cpu", 40),
    limited(9, "memory", "memory", 40_960),
    limited(10, "primary_storage", "primarystorage", 200),
    Kind { double: true, ..limited(11, "secondary_storage", "secondarystorage", 400) },
    limited(12, "backup", "backup", 20),
    limited(13, "backup_storage", "backupstorage", 400),
    limited(14, "bucket", "bucket", 20),
    limited(15, "object_storage", "objectstorage", 400),
    limited(16, "gpu", "gpu", 20),
];

/// Bytes in a GiB.
const GIB: u64 = 1 << 30;

/// What one account uses.
#[derive(Debug, Default, Clone)]
pub(crate) struct Used {
    counts: [i64; 17],
    pub stopped: u64,
    pub running: u64,
    /// Whether byte counts exist: they come with the first network.
    pub has_router: bool,
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

impl Used {
    fn add(&mut self, kind: usize, amount: i64) {
        if let Some(count) = self.counts.get_mut(kind) {
            *count += amount;
        }
    }

    pub(crate) fn of(&self, kind: u8) -> i64 {
        self.counts.get(usize::from(kind)).copied().unwrap_or(0)
    }

    pub(crate) fn plus(&mut self, other: &Self) {
        for (sum, more) in self.counts.iter_mut().zip(other.counts) {
            *sum += more;
        }
    }
}

impl World {
    /// The limit of one kind; -1 is none.
    pub(crate) fn limit(account: &Account, kind: &Kind) -> i64 {
        match account.limits.get(&kind.number) {
            Some(own) => *own,
            None if account.kind == 1 => -1,
            None => kind.default_limit,
        }
    }

    /// What every account uses, in one pass over the cloud.
    pub(crate) fn used(&self) -> HashMap<CloudId, Used> {
        let mut used: HashMap<CloudId, Used> = HashMap::new();
        let mut bytes: HashMap<CloudId, u64> = HashMap::new();
        for vm in self.vms.iter().filter(|vm| vm.expunged.is_none() && vm.power != Power::Destroyed) {
            let own = used.entry(vm.owner).or_default();
            own.add(0, 1);
            if let Some(offering) = self.offerings.get(vm.offering) {
                own.add(8, i64::from(offering.cpus));
                own.add(9, i64::from(offering.memory_mib));
            }
            match vm.power {
                // CloudStack counts what is on its way up, down or elsewhere as neither.
                Power::Running => own.running += 1,
                Power::Starting | Power::Stopping | Power::Migrating => {}
                Power::Stopped | Power::Destroyed => own.stopped += 1,
            }
        }
        for ip in self.ips.iter().filter(|ip| ip.removed.is_none()) {
            used.entry(ip.owner).or_default().add(1, 1);
        }
        for volume in self.volumes.iter().filter(|volume| volume.removed.is_none()) {
            used.entry(volume.owner).or_default().add(2, 1);
            *bytes.entry(volume.owner).or_default() += volume.size_bytes;
        }
        // Counted in bytes and shown in whole GiB, the rest cut off.
        for (owner, bytes) in bytes {
            used.entry(owner).or_default().add(10, i64::try_from(bytes / GIB).unwrap_or(i64::MAX));
        }
        for project in self.projects.iter() {
            used.entry(project.owner).or_default().add(5, 1);
        }
        for network in self.networks.iter().filter(|network| network.removed.is_none()) {
            let own = used.entry(network.owner).or_default();
            own.add(6, 1);
            own.has_router = true;
            own.sent_bytes += network.sent_bytes;
            own.received_bytes += network.received_bytes;
        }
        used
    }

    /// The limit fields of one account, or of many without limits (a domain).
    pub(crate) fn limit_fields(target: &mut Map<String, Value>, used: &Used, limited: Option<&Account>) {
        for kind in &KINDS {
            let limit = limited.map_or(-1, |account| Self::limit(account, kind));
            let used = used.of(kind.number);
            let text = |value: i64| if value < 0 { "Unlimited".to_owned() } else { value.to_string() };
            let left = if limit < 0 { -1 } else { (limit - used).max(0) };
            let available = if kind.double && left >= 0 { format!("{left}.0") } else { text(left) };
            target.insert(format!("{}limit", kind.field), json!(text(limit)));
            let total = if kind.double { double(&format!("{used}.0")) } else { json!(used) };
            target.insert(format!("{}total", kind.field), total);
            target.insert(format!("{}available", kind.field), json!(available));
        }
    }
}
