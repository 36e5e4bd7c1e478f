//! Machines, volumes, addresses and networks, and the usage that each change of theirs begins or ends.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    TEMPLATE_NAME, World,
    entities::{Ip, Network, Power, Stubbornness, Vm, Volume},
    next,
};
use crate::{
    ids::CloudId,
    standin::usage::{Count, Measure, Span, kind, quantity::human_size},
    time::Timestamp,
};

/// The size of every root disk: the template's.
const ROOT_BYTES: u64 = 2 << 30;
const GIB: u64 = 1 << 30;
/// The guest network's offering, which type 13 is reported for.
const NETWORK_OFFERING_NUMBER: u64 = 10;

impl World {
    /// Makes a running machine with a root volume in the owner's network (made with its address if there is none).
    /// The owner is an account or a project.
    pub fn deploy_vm(&mut self, owner: CloudId, name: &str, offering: CloudId, at: Timestamp) -> CloudId {
        let owner = self.owner_account(owner);
        let id = self.ids.id();
        let number = next(&mut self.numbers.instance);
        let network = self.network_of(owner).unwrap_or_else(|| {
            let owner_name = self.accounts.get(owner).map_or("guest", |account| account.name.as_str());
            let name = format!("{owner_name}-net");
            self.add_network(owner, &name, at)
        });
        let nic = self.ids.id();
        let user = self.users_of(owner).first().copied();
        self.vms.push(Vm {
            id,
            number,
            name: name.to_owned(),
            owner,
            user,
            offering,
            network,
            nic,
            address: format!("10.1.1.{}", 2 + number % 250),
            power: Power::Running,
            created: at,
            updated: at,
            expunged: None,
            stubbornness: Stubbornness::default(),
            ever_stopped: false,
        });
        self.open_vm_span(id, kind::ALLOCATED_VM, at);
        self.open_vm_span(id, kind::RUNNING_VM, at);
        self.open_nic_span(id, at);
        self.push_volume(owner, &format!("ROOT-{number}"), Some(id), None, ROOT_BYTES, at);
        id
    }

    /// Stops a machine: its running time and its network card's end here.
    pub fn stop_vm(&mut self, vm: CloudId, at: Timestamp) {
        let stoppable = |machine: &&mut Vm| machine.power.runs() || machine.power == Power::Stopping;
        let Some(machine) = self.vms.get_mut(vm).filter(stoppable) else { return };
        machine.power = Power::Stopped;
        machine.updated = at;
        machine.ever_stopped = true;
        let owner = machine.owner;
        self.usage.close(owner, &[kind::RUNNING_VM, kind::NETWORK_OFFERING], vm, at);
    }

    /// Starts a stopped machine.
    pub fn start_vm(&mut self, vm: CloudId, at: Timestamp) {
        let startable = |machine: &&mut Vm| matches!(machine.power, Power::Stopped | Power::Starting);
        let Some(machine) = self.vms.get_mut(vm).filter(startable) else { return };
        machine.power = Power::Running;
        machine.updated = at;
        self.open_vm_span(vm, kind::RUNNING_VM, at);
        self.open_nic_span(vm, at);
    }

    /// Gives a machine another offering, running or not.
    pub fn resize_vm(&mut self, vm: CloudId, offering: CloudId, at: Timestamp) {
        let Some(machine) = self.vms.get_mut(vm) else { return };
        machine.offering = offering;
        machine.updated = at;
        let (owner, running) = (machine.owner, machine.power.runs() || machine.power == Power::Stopping);
        self.usage.close(owner, &[kind::RUNNING_VM, kind::ALLOCATED_VM], vm, at);
        self.open_vm_span(vm, kind::ALLOCATED_VM, at);
        if running {
            self.open_vm_span(vm, kind::RUNNING_VM, at);
        }
    }

    /// Destroys and expunges a machine with its root volume; data volumes stay.
    pub fn destroy_vm(&mut self, vm: CloudId, at: Timestamp) {
        let Some(machine) = self.vms.get_mut(vm) else { return };
        machine.power = Power::Destroyed;
        machine.expunged = Some(at);
        machine.updated = at;
        let owner = machine.owner;
        self.usage.close(owner, &[kind::RUNNING_VM, kind::ALLOCATED_VM, kind::NETWORK_OFFERING], vm, at);
        let volumes: Vec<CloudId> = self
            .volumes
            .iter()
            .filter(|volume| volume.vm == Some(vm) && volume.disk_offering.is_none())
            .map(|volume| volume.id)
            .collect();
        for volume in volumes {
            self.remove_volume(volume, at);
        }
    }

    /// Brings a destroyed machine back, stopped, as an admin does who recovers it before it is expunged.
    pub fn recover_vm(&mut self, vm: CloudId, at: Timestamp) {
        let Some(machine) = self.vms.get_mut(vm).filter(|machine| machine.power == Power::Destroyed) else { return };
        machine.power = Power::Stopped;
        machine.expunged = None;
        machine.updated = at;
        self.open_vm_span(vm, kind::ALLOCATED_VM, at);
    }

    /// Puts a machine in a passing state, which it leaves when the job that wants it next comes to it: a migration by an
    /// administrator, a start or stop that hangs.
    pub fn set_passing_power(&mut self, vm: CloudId, power: Power) {
        let now = self.now;
        let Some(machine) = self.vms.get_mut(vm) else { return };
        let fits = match power {
            Power::Migrating | Power::Stopping => machine.power == Power::Running,
            Power::Starting => machine.power == Power::Stopped,
            Power::Running | Power::Stopped | Power::Destroyed => false,
        };
        if fits {
            machine.power = power;
            machine.updated = now;
        }
    }

    /// A machine that was on its way down runs on: stopping it failed, or its host says that it runs.
    pub fn fail_stopping(&mut self, vm: CloudId) {
        let now = self.now;
        if let Some(machine) = self.vms.get_mut(vm).filter(|machine| machine.power == Power::Stopping) {
            machine.power = Power::Running;
            machine.updated = now;
        }
    }

    /// Lets what a machine is on its way to be reached: the jobs of one machine wait for each other.
    pub fn settle_power(&mut self, vm: CloudId) {
        let now = self.now;
        match self.vms.get(vm).map(|machine| machine.power) {
            Some(Power::Starting) => self.start_vm(vm, now),
            Some(Power::Stopping) => self.stop_vm(vm, now),
            Some(Power::Migrating) => {
                if let Some(machine) = self.vms.get_mut(vm) {
                    machine.power = Power::Running;
                }
            }
            Some(Power::Running | Power::Stopped | Power::Destroyed) | None => {}
        }
    }

    /// Moves a stopped machine with its volumes to another account or project, as assignVirtualMachine does.
    pub fn move_vm(&mut self, vm: CloudId, owner: CloudId, at: Timestamp) {
        let owner = self.owner_account(owner);
        let Some(machine) = self.vms.get_mut(vm).filter(|machine| machine.power == Power::Stopped) else { return };
        let former = std::mem::replace(&mut machine.owner, owner);
        machine.updated = at;
        self.usage.close(former, &[kind::ALLOCATED_VM], vm, at);
        self.open_vm_span(vm, kind::ALLOCATED_VM, at);
        let moved: Vec<CloudId> = self
            .volumes
            .iter()
            .filter(|volume| volume.vm == Some(vm) && volume.removed.is_none())
            .map(|volume| volume.id)
            .collect();
        for volume in moved {
            self.usage.close(former, &[kind::VOLUME], volume, at);
            if let Some(row) = self.volumes.get_mut(volume) {
                row.owner = owner;
            }
            self.open_volume_span(volume, at);
        }
    }

    /// Makes a machine that can not be stopped, or one that can again.
    pub fn set_stubbornness(&mut self, vm: CloudId, stubbornness: Stubbornness) {
        if let Some(machine) = self.vms.get_mut(vm) {
            machine.stubbornness = stubbornness;
        }
    }

    /// A machine's state; None for an unknown one.
    pub fn vm_power(&self, vm: CloudId) -> Option<Power> {
        self.vms.get(vm).map(|machine| machine.power)
    }

    /// Adds a data volume of a disk offering; `size_gib` counts for the offering "Custom" only.
    pub fn add_volume(
        &mut self,
        owner: CloudId,
        name: &str,
        offering: CloudId,
        size_gib: u64,
        at: Timestamp,
    ) -> CloudId {
        let owner = self.owner_account(owner);
        let size = self
            .disk_offerings
            .get(offering)
            .filter(|offering| !offering.customized)
            .map_or(size_gib, |offering| offering.size_gib);
        self.push_volume(owner, name, None, Some(offering), size.saturating_mul(GIB), at)
    }

    /// Removes a volume.
    pub fn remove_volume(&mut self, volume: CloudId, at: Timestamp) {
        let Some(row) = self.volumes.get_mut(volume) else { return };
        row.removed = Some(at);
        let owner = row.owner;
        self.usage.close(owner, &[kind::VOLUME], volume, at);
    }

    /// Gives an account or project a public address.
    pub fn add_ip(&mut self, owner: CloudId, at: Timestamp) -> CloudId {
        let owner = self.owner_account(owner);
        let network = self.networks.iter().find(|net| net.owner == owner).map(|net| net.id);
        self.push_ip(owner, network, false, at)
    }

    /// Takes a public address back.
    pub fn remove_ip(&mut self, ip: CloudId, at: Timestamp) {
        let Some(row) = self.ips.get_mut(ip) else { return };
        row.removed = Some(at);
        let owner = row.owner;
        self.usage.close(owner, &[kind::IP_ADDRESS], ip, at);
    }

    /// Makes a guest network with its source address.
    pub fn add_network(&mut self, owner: CloudId, name: &str, at: Timestamp) -> CloudId {
        let owner = self.owner_account(owner);
        let (id, router) = (self.ids.id(), self.ids.id());
        let number = next(&mut self.numbers.network);
        let router_number = next(&mut self.numbers.instance);
        self.networks.push(Network {
            id,
            number,
            owner,
            name: name.to_owned(),
            router,
            router_number,
            sent_bytes: 0,
            received_bytes: 0,
            removed: None,
        });
        let fields = json!({
            "description": format!("Network usage for network ID: {number}, network offering: {NETWORK_OFFERING_NUMBER}"),
            "zoneid": self.zone.id,
        });
        self.open_span(owner, kind::NETWORK, id, (id, id), at, fields);
        self.push_ip(owner, Some(id), true, at);
        id
    }

    /// Counts bytes of a network's router.
    pub fn transfer_bytes(&mut self, network: CloudId, sent: u64, received: u64, at: Timestamp) {
        let Some(row) = self.networks.get_mut(network) else { return };
        row.sent_bytes += sent;
        row.received_bytes += received;
        let (owner, router) = (row.owner, row.router);
        let fields = json!({
            "description": format!(
                "by network {} ({}) {{amount}} using router r-{}-VM ({router})", row.name, row.id, row.router_number
            )
            .replace(") {amount}", ")  {amount}"),
            "name": row.name,
            "usageid": router,
            "type": "DomainRouter",
            "networkid": row.id,
            "zoneid": self.zone.id,
        });
        let kinds = &[kind::BYTES_SENT, kind::BYTES_RECEIVED];
        let fields = Arc::new(object(fields));
        self.usage.count(owner, Count { kinds, resource: router, at, amounts: vec![sent, received], fields });
    }

    /// The first network of an account or project.
    pub fn network_of(&self, owner: CloudId) -> Option<CloudId> {
        let owner = self.owner_account(owner);
        self.networks.iter().find(|net| net.owner == owner && net.removed.is_none()).map(|net| net.id)
    }

    fn push_volume(
        &mut self,
        owner: CloudId,
        name: &str,
        vm: Option<CloudId>,
        disk_offering: Option<CloudId>,
        size_bytes: u64,
        at: Timestamp,
    ) -> CloudId {
        let (id, storage_path) = (self.ids.id(), self.ids.id());
        let number = next(&mut self.numbers.volume);
        let row = Volume {
            id,
            number,
            name: name.to_owned(),
            owner,
            vm,
            disk_offering,
            size_bytes,
            created: at,
            removed: None,
            storage_path,
        };
        self.volumes.push(row);
        self.open_volume_span(id, at);
        id
    }

    fn open_volume_span(&mut self, volume: CloudId, at: Timestamp) {
        let Some(row) = self.volumes.get(volume) else { return };
        let (id, name, owner, bytes) = (row.id, &row.name, row.owner, row.size_bytes);
        let size = format!("and size {} {bytes}", human_size(bytes));
        let offering = row.disk_offering.and_then(|offering| self.disk_offerings.get(offering));
        let fields = match offering {
            Some(offering) => json!({
                "description":
                    format!("Volume usage for {name} ({id}) with disk offering {} ({}) {size}", offering.name, offering.id),
                "offeringid": offering.id,
                "usageid": id, "size": bytes, "zoneid": self.zone.id,
            }),
            None => json!({
                "description":
                    format!("Volume usage for {name} ({id}) and template {TEMPLATE_NAME} ({}) {size}", self.zone.template),
                "templateid": self.zone.template,
                "usageid": id, "size": bytes, "zoneid": self.zone.id,
            }),
        };
        self.open_span(owner, kind::VOLUME, id, (id, id), at, fields);
    }

    fn push_ip(&mut self, owner: CloudId, network: Option<CloudId>, source_nat: bool, at: Timestamp) -> CloudId {
        let id = self.ids.id();
        let number = next(&mut self.numbers.ip);
        let host = self.numbers.address;
        self.numbers.address += 1;
        let address = format!("192.{}.{}.{}", 168 + host / 64_516, 2 + (host / 254) % 254, host % 254);
        let fields = json!({
            "description": format!("IPAddress: {address}"),
            "usageid": id, "issourcenat": source_nat, "issystem": false, "zoneid": self.zone.id,
        });
        self.ips.push(Ip {
            id,
            number,
            owner,
            address,
            source_nat,
            network,
            system_vm: None,
            created: at,
            removed: None,
        });
        self.open_span(owner, kind::IP_ADDRESS, id, (id, id), at, fields);
        id
    }

    fn open_span(
        &mut self,
        owner: CloudId,
        kind: u8,
        resource: CloudId,
        group: (CloudId, CloudId),
        from: Timestamp,
        fields: Value,
    ) {
        let fields = Arc::new(object(fields));
        let span = Span { kind, resource, group, from, to: None, measure: Measure::Hours, own_dates: false, fields };
        self.usage.open(owner, span);
    }

    fn open_vm_span(&mut self, vm: CloudId, kind: u8, at: Timestamp) {
        let Some(machine) = self.vms.get(vm) else { return };
        let Some(offering) = self.offerings.get(machine.offering) else { return };
        let what = if kind == kind::RUNNING_VM { "Running" } else { "Allocated" };
        let instance = self.instance_name(machine);
        let (owner, template) = (machine.owner, self.zone.template);
        let fields = json!({
            "description": format!(
                "{what} VM usage for {} ({instance}) ({vm}) using service offering {} ({}) and template {TEMPLATE_NAME} \
                 ({template})",
                machine.name, offering.name, offering.id
            ),
            "virtualmachineid": vm, "name": machine.name, "offeringid": offering.id, "templateid": template,
            "ostypeid": self.zone.os_type, "osdisplayname": "CentOS 5.6 (64-bit)",
            "oscategoryid": self.zone.os_category, "oscategoryname": "CentOS",
            "usageid": vm, "type": "Simulator",
            "cpunumber": offering.cpus, "cpuspeed": offering.mhz, "memory": offering.memory_mib,
            "zoneid": self.zone.id,
        });
        let group = (vm, offering.id);
        self.open_span(owner, kind, vm, group, at, fields);
    }

    fn open_nic_span(&mut self, vm: CloudId, at: Timestamp) {
        let Some(machine) = self.vms.get(vm) else { return };
        let Some(offering) = self.network_offerings.iter().find(|row| row.number == NETWORK_OFFERING_NUMBER) else {
            return;
        };
        let fields = json!({
            "description":
                format!("Network offering {} ({}) usage for VM {} ({vm}) ", offering.name, offering.id, machine.name),
            "virtualmachineid": vm, "offeringid": offering.id, "isdefault": true, "zoneid": self.zone.id,
        });
        let (owner, group) = (machine.owner, (vm, offering.id));
        self.open_span(owner, kind::NETWORK_OFFERING, vm, group, at, fields);
    }

    /// `i-4-4-VM`: the numbers of the account and the machine.
    pub(crate) fn instance_name(&self, machine: &Vm) -> String {
        let account = self.accounts.get(machine.owner).map_or(0, |account| account.number);
        format!("i-{account}-{}-VM", machine.number)
    }
}

/// The fields of a JSON object.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
