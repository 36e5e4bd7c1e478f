//! What was used when: the helper tables behind the usage job, and the records that it wrote.
//!
//! Every state change of the cloud opens or closes a *span* or adds a *count*. The job cuts them into windows. A change
//! that lies before the end of the last run is a late event: the next run starts there and reports again.

pub(crate) mod job;
pub(crate) mod quantity;
pub(crate) mod records;

use std::{collections::HashMap, sync::Arc};

pub use job::UsageRun;
use serde_json::{Map, Value};

use crate::{ids::CloudId, time::Timestamp};

/// CloudStack's usage types, as far as the stand-in names them.
pub(crate) mod kind {
    pub const RUNNING_VM: u8 = 1;
    pub const ALLOCATED_VM: u8 = 2;
    pub const IP_ADDRESS: u8 = 3;
    pub const BYTES_SENT: u8 = 4;
    pub const BYTES_RECEIVED: u8 = 5;
    pub const VOLUME: u8 = 6;
    pub const NETWORK_OFFERING: u8 = 13;
    pub const VPN_USERS: u8 = 14;
    pub const DISK_IO_READ: u8 = 21;
    pub const DISK_IO_WRITE: u8 = 22;
    pub const DISK_BYTES_READ: u8 = 23;
    pub const DISK_BYTES_WRITE: u8 = 24;
    pub const VM_SNAPSHOT: u8 = 25;
    pub const VOLUME_SECONDARY: u8 = 26;
    pub const VM_SNAPSHOT_ON_PRIMARY: u8 = 27;
    pub const BUCKET: u8 = 29;
    pub const NETWORK: u8 = 30;
    pub const VPC: u8 = 31;
}

/// The order in which one account's types are written: the job's parsers run in the order of their class names, which
/// the recorded pages 194 and 195 show for those that had something to say.
pub(crate) const PARSER_ORDER: [u8; 25] =
    [28, 29, 3, 11, 13, 4, 5, 30, 12, 10, 7, 8, 9, 26, 1, 2, 27, 25, 14, 21, 22, 23, 24, 6, 31];

/// A usage type's name and description, as listUsageTypes and the quota plugin give them.
pub(crate) const TYPES: [(u8, &str, &str); 25] = [
    (1, "RUNNING_VM", "Running Vm Usage"),
    (2, "ALLOCATED_VM", "Allocated Vm Usage"),
    (3, "IP_ADDRESS", "IP Address Usage"),
    (4, "NETWORK_BYTES_SENT", "Network Usage (Bytes Sent)"),
    (5, "NETWORK_BYTES_RECEIVED", "Network Usage (Bytes Received)"),
    (6, "VOLUME", "Volume Usage"),
    (7, "TEMPLATE", "Template Usage"),
    (8, "ISO", "ISO Usage"),
    (9, "SNAPSHOT", "Snapshot Usage"),
    (10, "SECURITY_GROUP", "Security Group Usage"),
    (11, "LOAD_BALANCER_POLICY", "Load Balancer Usage"),
    (12, "PORT_FORWARDING_RULE", "Port Forwarding Usage"),
    (13, "NETWORK_OFFERING", "Network Offering Usage"),
    (14, "VPN_USERS", "VPN users usage"),
    (21, "VM_DISK_IO_READ", "VM Disk usage(I/O Read)"),
    (22, "VM_DISK_IO_WRITE", "VM Disk usage(I/O Write)"),
    (23, "VM_DISK_BYTES_READ", "VM Disk usage(Bytes Read)"),
    (24, "VM_DISK_BYTES_WRITE", "VM Disk usage(Bytes Write)"),
    (25, "VM_SNAPSHOT", "VM Snapshot storage usage"),
    (26, "VOLUME_SECONDARY", "Volume on secondary storage usage"),
    (27, "VM_SNAPSHOT_ON_PRIMARY", "VM Snapshot on primary storage usage"),
    (28, "BACKUP", "Backup storage usage"),
    (29, "BUCKET", "Bucket storage usage"),
    (30, "NETWORK", "Network usage"),
    (31, "VPC", "VPC usage"),
];

/// How much a span says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// The hours it lasted.
    Hours,
    /// A level (a bucket's bytes), the same in every window.
    Level(u64),
}

/// The fields of a record that come from the resource and not from the window.
pub(crate) type Fields = Arc<Map<String, Value>>;

/// Something that existed from one instant to another.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub kind: u8,
    /// What closes it: the resource.
    pub resource: CloudId,
    /// What is summed into one record: the resource and, say, its offering.
    pub group: (CloudId, CloudId),
    pub from: Timestamp,
    pub to: Option<Timestamp>,
    pub measure: Measure,
    /// Whether records carry the span's own start and end instead of the window's (VM snapshots).
    pub own_dates: bool,
    pub fields: Fields,
}

/// Something counted at an instant.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    pub kinds: &'static [u8],
    pub resource: CloudId,
    pub at: Timestamp,
    /// One amount for each of `kinds`.
    pub amounts: Vec<u64>,
    pub fields: Fields,
}

/// How a record's quantity is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Amount {
    /// Milliseconds, written as hours.
    Hours(i64),
    /// Bytes, operations.
    Whole(u64),
    /// As it stands.
    Text(String),
}

/// A row of the usage table. Its number is its place in the table plus one.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub id: u64,
    pub owner: CloudId,
    pub kind: u8,
    pub start: Timestamp,
    pub end: Timestamp,
    pub amount: Amount,
    pub fields: Fields,
    pub hidden: bool,
}

/// The helper tables, the records and the state of the job.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub spans: HashMap<CloudId, Vec<Span>>,
    pub counts: HashMap<CloudId, Vec<Count>>,
    pub records: Vec<Record>,
    pub last_id: u64,
    /// The last millisecond of the last successful run.
    pub last_end: Option<Timestamp>,
    pub earliest: Option<Timestamp>,
    pub late: Option<Timestamp>,
    pub fail_next: bool,
    pub stuck: bool,
    /// Whether the usage server runs beside the management server.
    pub local: bool,
    pub heartbeat: Option<Timestamp>,
}

impl Usage {
    /// Notes that something happened: before the end of the last run it is a late event.
    pub(crate) fn happened(&mut self, at: Timestamp) {
        self.earliest = Some(self.earliest.map_or(at, |known| known.min(at)));
        if self.last_end.is_some_and(|end| at <= end) {
            self.late = Some(self.late.map_or(at, |known| known.min(at)));
        }
    }

    pub(crate) fn open(&mut self, owner: CloudId, span: Span) {
        self.happened(span.from);
        self.spans.entry(owner).or_default().push(span);
    }

    /// Ends the open spans of a resource that are of the given types (all types: an empty list).
    pub(crate) fn close(&mut self, owner: CloudId, kinds: &[u8], resource: CloudId, at: Timestamp) {
        let mut found = false;
        for span in self.spans.get_mut(&owner).into_iter().flatten() {
            if span.resource == resource && span.to.is_none() && (kinds.is_empty() || kinds.contains(&span.kind)) {
                span.to = Some(at.max(span.from));
                found = true;
            }
        }
        if found {
            self.happened(at);
        }
    }

    pub(crate) fn count(&mut self, owner: CloudId, count: Count) {
        self.happened(count.at);
        self.counts.entry(owner).or_default().push(count);
    }

    pub(crate) fn push(&mut self, mut record: Record) {
        self.last_id += 1;
        record.id = self.last_id;
        self.records.push(record);
    }
}
