//! The usage table from outside: raw rows for tests, duplicates, pruning.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Amount, Count, Measure, Record, Span, kind, quantity::human_size};
use crate::{
    ids::CloudId,
    standin::world::World,
    time::{Day, Timestamp},
};

impl World {
    /// Adds a resource of any hourly usage type (7 to 12, 14, 25 to 28, 31 …) to an account or project; returns its id.
    pub fn add_usage_resource(
        &mut self,
        owner: CloudId,
        usage_type: u8,
        name: &str,
        size_bytes: Option<u64>,
        at: Timestamp,
    ) -> CloudId {
        let owner = self.owner_account(owner);
        let id = self.ids.id();
        let fields = self.resource_fields(usage_type, id, name, size_bytes);
        let measure = match (usage_type, size_bytes) {
            (kind::BUCKET, Some(bytes)) => Measure::Level(bytes),
            _ => Measure::Hours,
        };
        let own_dates = matches!(usage_type, kind::VM_SNAPSHOT | kind::VM_SNAPSHOT_ON_PRIMARY);
        let span = Span {
            kind: usage_type,
            resource: id,
            group: (id, id),
            from: at,
            to: None,
            measure,
            own_dates,
            fields: Arc::new(fields),
        };
        self.usage.open(owner, span);
        id
    }

    /// Ends a resource that [`World::add_usage_resource`] made.
    pub fn remove_usage_resource(&mut self, owner: CloudId, resource: CloudId, at: Timestamp) {
        let owner = self.owner_account(owner);
        self.usage.close(owner, &[], resource, at);
    }

    /// Says which machine a VM snapshot is of: its records name the machine.
    pub fn set_usage_resource_vm(&mut self, owner: CloudId, resource: CloudId, vm: CloudId) {
        let owner = self.owner_account(owner);
        for span in self.usage.spans.get_mut(&owner).into_iter().flatten().filter(|span| span.resource == resource) {
            let mut fields = (*span.fields).clone();
            fields.insert("virtualmachineid".to_owned(), vm.to_string().into());
            span.fields = Arc::new(fields);
        }
    }

    /// Counts a machine's disk operations and bytes: reads and writes of each.
    pub fn count_disk_io(&mut self, vm: CloudId, operations: (u64, u64), bytes: (u64, u64), at: Timestamp) {
        let Some(machine) = self.vms.get(vm) else { return };
        let owner = machine.owner;
        let mut fields = Map::new();
        fields.insert("description".to_owned(), format!("for VM {} ({})", machine.name, machine.id).into());
        fields.insert("name".to_owned(), machine.name.clone().into());
        fields.insert("usageid".to_owned(), machine.id.to_string().into());
        fields.insert("virtualmachineid".to_owned(), machine.id.to_string().into());
        fields.insert("zoneid".to_owned(), self.zone.id.to_string().into());
        self.usage.count(
            owner,
            Count {
                kinds: &[kind::DISK_IO_READ, kind::DISK_IO_WRITE, kind::DISK_BYTES_READ, kind::DISK_BYTES_WRITE],
                resource: vm,
                at,
                amounts: vec![operations.0, operations.1, bytes.0, bytes.1],
                fields: Arc::new(fields),
            },
        );
    }

    /// Writes a usage record as it stands: `rawusage` and any further fields of the answer.
    pub fn push_usage_record(
        &mut self,
        owner: CloudId,
        usage_type: u8,
        (start, end): (Timestamp, Timestamp),
        rawusage: &str,
        fields: Map<String, Value>,
    ) {
        let owner = self.owner_account(owner);
        self.usage.push(Record {
            id: 0,
            owner,
            kind: usage_type,
            start,
            end,
            amount: Amount::Text(rawusage.to_owned()),
            fields: Arc::new(fields),
            hidden: false,
        });
    }

    /// Writes every record whose window starts in the given time once more, as an overlapping run would.
    pub fn inject_duplicates(&mut self, from: Timestamp, to: Timestamp) -> usize {
        let again: Vec<Record> =
            self.usage.records.iter().filter(|record| from <= record.start && record.start < to).cloned().collect();
        let count = again.len();
        for record in again {
            self.usage.push(record);
        }
        count
    }

    /// Deletes the records that ended before a day (UTC), as removeRawUsageRecords does.
    pub fn remove_usage_before(&mut self, day: Day) -> usize {
        let Some(limit) = day.start(chrono_tz::Tz::UTC) else { return 0 };
        let before = self.usage.records.len();
        self.usage.records.retain(|record| record.end >= limit);
        before - self.usage.records.len()
    }

    /// Hides the newest record of an account, as newer usage code does with what it takes back.
    pub fn hide_last_usage_record(&mut self, owner: CloudId) {
        let owner = self.owner_account(owner);
        if let Some(record) = self.usage.records.iter_mut().rev().find(|record| record.owner == owner) {
            record.hidden = true;
        }
    }

    /// The usage job is done up to an instant (the first one that is not covered any more), whatever it wrote.
    pub fn close_usage_until(&mut self, end: Timestamp) {
        self.usage.last_end = Some(Timestamp::from_ms(end.as_ms() - 1));
    }

    /// Changes whenever a usage record is added or removed.
    pub(crate) fn usage_version(&self) -> u64 {
        self.usage.last_id.wrapping_mul(1_000_003).wrapping_add(self.usage.records.len() as u64)
    }

    /// How many usage records there are.
    pub fn usage_record_count(&self) -> usize {
        self.usage.records.len()
    }

    fn resource_fields(&self, usage_type: u8, id: CloudId, name: &str, size_bytes: Option<u64>) -> Map<String, Value> {
        let size = size_bytes.map_or_else(String::new, |bytes| format!("{} {bytes}", human_size(bytes)));
        let description = match usage_type {
            7 => format!("Template usage for {name} ({id}) with size {size} and virtual size {size}"),
            8 => format!("ISO usage for {name} ({id}) with size {size}"),
            9 => format!("Snapshot usage for {name} ({id}) with size {size}"),
            10 => format!("Security group usage for {name} ({id})"),
            11 => format!("Loadbalancer policy usage {name} ({id})"),
            12 => format!("Port forwarding rule usage ({id})"),
            14 => format!("VPN usage for user {name} ({id})"),
            25 => format!("VMSnapshot usage Id: {id} for VM {name} and size {size}"),
            26 => format!("Volume usage on secondary storage for {name} and size {size}"),
            27 => format!("VMSnapshot on primary storage usage Id: {id} for VM {name} with size {size}"),
            28 => format!("Backup usage for {name} ({id})"),
            29 => format!("Bucket usage for {name} ({id})"),
            31 => format!("VPC usage for VPC {name}"),
            _ => format!("Usage of {name} ({id})"),
        };
        let mut fields = Map::new();
        fields.insert("description".to_owned(), description.into());
        // Facts 3.3: these types name no resource.
        if !matches!(usage_type, kind::VOLUME_SECONDARY | kind::NETWORK | kind::VPC) {
            fields.insert("usageid".to_owned(), id.to_string().into());
        }
        if usage_type != kind::VPN_USERS {
            fields.insert("zoneid".to_owned(), self.zone.id.to_string().into());
        }
        if matches!(usage_type, kind::VM_SNAPSHOT | kind::VM_SNAPSHOT_ON_PRIMARY) {
            fields.insert("name".to_owned(), name.into());
        }
        if matches!(usage_type, 7..=9 | 25 | 27) {
            fields.insert("size".to_owned(), size_bytes.unwrap_or(0).into());
        }
        if usage_type == kind::IP_ADDRESS {
            fields.insert("issourcenat".to_owned(), false.into());
            fields.insert("issystem".to_owned(), false.into());
        }
        if matches!(usage_type, 7 | 8) {
            fields.insert("virtualsize".to_owned(), size_bytes.unwrap_or(0).into());
        }
        fields
    }
}
