//! Machines, volumes and addresses.

use serde_json::{Value, json};

use super::{Call, Result};
use crate::{
    ids::CloudId,
    standin::{
        envelope::Failure,
        world::{
            RoleKind, TEMPLATE_NAME, World,
            entities::{Ip, Power, State, Vm, Volume},
            jobs::Work,
            limits::KINDS,
            machines::object,
        },
    },
};

/// What `details=servoff` adds to a machine.
const OFFERING_FIELDS: [&str; 5] = ["serviceofferingid", "serviceofferingname", "cpunumber", "cpuspeed", "memory"];
/// What `details=tmpl` adds to a machine.
const TEMPLATE_FIELDS: [&str; 5] =
    ["templateid", "templatename", "templatetype", "templateformat", "templatedisplaytext"];

fn in_domain_order(call: &Call<'_>, owner: CloudId) -> (u64, u64) {
    let account = call.world.accounts.get(owner);
    let domain = account.and_then(|account| call.world.domains.get(account.domain));
    (domain.map_or(0, |domain| domain.number), account.map_or(0, |account| account.number))
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let scope = call.scope()?;
    let wanted = match call.filled("id") {
        Some(_) => Some(call.vm("id")?),
        None => None,
    };
    let name = call.filled("name");
    let admin = call.caller.role == RoleKind::Admin;
    // Nothing said is everything; else what is named, beside the least.
    let details: Option<Vec<String>> =
        call.filled("details").map(|text| text.split(',').map(|word| word.trim().to_lowercase()).collect());
    let named = |word: &str| details.as_ref().is_none_or(|words| words.iter().any(|known| known == word));
    let (full, offering, template) = (named("all"), named("servoff"), named("tmpl"));
    let mut rows: Vec<&Vm> = call
        .world
        .vms
        .iter()
        .filter(|vm| vm.expunged.is_none())
        .filter(|vm| match wanted {
            Some(id) => vm.id == id && call.world.may_access(call.caller.account, vm.owner),
            None => call.owns_in_scope(scope, vm.owner),
        })
        .filter(|vm| name.is_none_or(|name| vm.name.contains(name)))
        .collect();
    rows.sort_by_key(|vm| (in_domain_order(call, vm.owner), vm.number));
    call.paged("virtualmachine", &rows, |call, vm| {
        if full {
            return call.world.full_vm_view(vm.id, None);
        }
        let mut view = call.world.vm_view(vm, admin);
        let parts = [(offering, &OFFERING_FIELDS[..]), (template, &TEMPLATE_FIELDS[..])];
        if let Value::Object(everything) = call.world.full_vm_view(vm.id, None) {
            let wanted = |key: &str| parts.iter().any(|(named, fields)| *named && fields.contains(&key));
            view.extend(everything.into_iter().filter(|(key, _)| wanted(key)));
        }
        Value::Object(view)
    })
}

pub(super) fn volumes(call: &mut Call<'_>) -> Result<Value> {
    let scope = call.scope()?;
    let mut rows: Vec<&Volume> = call
        .world
        .volumes
        .iter()
        .filter(|volume| volume.removed.is_none() && call.owns_in_scope(scope, volume.owner))
        .collect();
    rows.sort_by_key(|volume| std::cmp::Reverse((volume.created, volume.number)));
    call.paged("volume", &rows, |call, volume| volume_view(call, volume))
}

fn volume_view(call: &Call<'_>, volume: &Volume) -> Value {
    let world = &*call.world;
    let vm = volume.vm.and_then(|vm| world.vms.get(vm));
    let disk = volume.disk_offering.and_then(|offering| world.disk_offerings.get(offering));
    let mut view = object(json!({
        "id": volume.id,
        "name": volume.name,
        "zoneid": world.zone.id,
        "zonename": world.zone.name,
        "type": if disk.is_some() { "DATADISK" } else { "ROOT" },
        "provisioningtype": "thin",
        "size": volume.size_bytes,
        "created": world.date(volume.created),
        "state": if vm.is_some() { "Ready" } else { "Allocated" },
        "storagetype": "shared",
        "hypervisor": if vm.is_some() { "Simulator" } else { "None" },
        "destroyed": false,
        "isextractable": disk.is_some(),
        "displayvolume": true,
        "quiescevm": false,
        "supportsstoragesnapshot": false,
        "deleteprotection": false,
        "tags": [],
        "hasannotations": false,
    }));
    view.append(&mut world.owner_fields(volume.owner));
    if let Some(disk) = disk {
        view.append(&mut object(json!({
            "diskofferingid": disk.id, "diskofferingname": disk.name, "diskofferingdisplaytext": disk.displaytext,
        })));
    }
    if let Some(vm) = vm {
        let offering = world.offerings.get(vm.offering);
        view.append(&mut object(json!({
            "deviceid": 0,
            "virtualmachineid": vm.id,
            "templateid": world.zone.template,
            "templatename": TEMPLATE_NAME,
            "templatedisplaytext": TEMPLATE_NAME,
            "vmname": vm.name,
            "vmdisplayname": vm.name,
            "vmstate": vm.power.name(),
            "vmtype": "User",
            "diskkbsread": 0,
            "diskkbswrite": 0,
            "diskioread": 0,
            "diskiowrite": 0,
            "storage": "PS0",
            // The internal number, not the UUID: as recorded.
            "serviceofferingid": offering.map(|offering| offering.number.to_string()),
            "serviceofferingname": offering.map(|offering| &offering.name),
            "serviceofferingdisplaytext": offering.map(|offering| &offering.name),
            "path": volume.storage_path,
            "storageid": world.zone.storage,
            "physicalsize": volume.size_bytes,
            "virtualsize": volume.size_bytes,
            "utilization": "100.0%",
            "clusterid": world.zone.cluster,
            "clustername": "C0",
            "podid": world.zone.pod,
            "podname": "POD0",
        })));
    }
    Value::Object(view)
}

pub(super) fn addresses(call: &mut Call<'_>) -> Result<Value> {
    let scope = call.scope()?;
    let rows: Vec<&Ip> =
        call.world.ips.iter().filter(|ip| ip.removed.is_none() && call.owns_in_scope(scope, ip.owner)).collect();
    call.paged("publicipaddress", &rows, |call, ip| {
        let world = &*call.world;
        let network = ip.network.and_then(|network| world.networks.get(network));
        let mut view = object(json!({
            "id": ip.id,
            "ipaddress": ip.address,
            "allocated": world.date(ip.created),
            "zoneid": world.zone.id,
            "zonename": world.zone.name,
            "issourcenat": ip.source_nat,
            "forvirtualnetwork": true,
            "vlanid": world.zone.vlan,
            "vlanname": "vlan://untagged",
            "isstaticnat": false,
            "issystem": ip.system_vm.is_some(),
            "virtualmachineid": ip.system_vm.as_ref().map(|_| world.zone.host),
            "virtualmachinetype": ip.system_vm.as_ref().map(|(kind, _)| kind),
            "virtualmachinename": ip.system_vm.as_ref().map(|(_, name)| name),
            "purpose": ip.system_vm.as_ref().map(|_| "Lb"),
            "associatednetworkid": network.map(|network| network.id),
            "associatednetworkname": network.map(|network| &network.name),
            "networkid": world.zone.public_network,
            "state": "Allocated",
            "physicalnetworkid": world.zone.physical_network,
            "tags": [],
            "isportable": false,
            "fordisplay": true,
            "hasrules": false,
            "forsystemvms": false,
            "forprovider": false,
            "hasannotations": false,
        }));
        view.append(&mut world.owner_fields(ip.owner));
        Value::Object(view)
    })
}

/// The account or project that a new machine is for.
fn owner(call: &Call<'_>) -> Result<CloudId> {
    if let Some(project) = call.project("projectid")? {
        return Ok(call.world.owner_account(project));
    }
    match (call.filled("account"), call.domain("domainid")?) {
        (Some(name), Some(domain)) => {
            let found = call.world.account_named(domain, name).map(|account| account.id);
            found.ok_or_else(|| Failure::invalid(format!("Unable to find account {name} in domain {domain}")))
        }
        _ => Ok(call.caller.account),
    }
}

pub(super) fn deploy(call: &mut Call<'_>) -> Result<Value> {
    let text = call.filled("serviceofferingid").unwrap_or_default();
    let offering =
        call.world.offerings.find_by_text(text).map(|row| row.id).ok_or_else(|| call.no_such("serviceofferingid"))?;
    let owner = owner(call)?;
    call.check_access(owner)?;
    let custom = call.custom_job()?;
    check_limits(call, owner, offering)?;
    let Some(account) = call.world.accounts.get(owner) else { return Err(Failure::no_permission()) };
    if account.state == State::Disabled {
        return Err(Failure::permission(format!("The owner of vm to deploy is disabled: {}", account.name)));
    }
    let name = call.filled("name").map_or_else(|| format!("VM-{}", call.world.numbers.instance), str::to_owned);
    let now = call.world.now;
    let vm = call.world.deploy_vm(owner, &name, offering, now);
    let about = call.world.about_vm("VM.CREATE", vm);
    call.world.job_events(&about, call.caller.user, owner, "starting Vm. Vm Id: null", Some("Starting Vm."));
    let class = "org.apache.cloudstack.api.command.admin.vm.DeployVMCmdByAdmin";
    let instance = Some(("VirtualMachine", Some(vm)));
    let job = call.world.begin_job(custom, call.caller.user, class, instance, Ok(Work::DeployVm(vm)));
    Ok(json!({"id": vm, "jobid": job}))
}

fn check_limits(call: &Call<'_>, owner: CloudId, offering: CloudId) -> Result<()> {
    let used = call.world.used().remove(&owner).unwrap_or_default();
    let Some(account) = call.world.accounts.get(owner) else { return Ok(()) };
    let domain = call.world.domains.get(account.domain).map_or(0, |domain| domain.number);
    let sizes =
        call.world.offerings.get(offering).map_or((0, 0), |row| (i64::from(row.cpus), i64::from(row.memory_mib)));
    for kind in &KINDS {
        let asked = match kind.number {
            0 | 2 => 1,
            8 => sizes.0,
            9 => sizes.1,
            _ => continue,
        };
        let (limit, held) = (World::limit(account, kind), used.of(kind.number));
        if limit >= 0 && held + asked > limit {
            return Err(Failure::server(
                535,
                format!(
                    "Maximum amount of resources of Type = '{}', tag = 'null' for Account Name = {} in Domain Id = {domain} is \
                     exceeded: Account Resource Limit = {limit}, Current Account Resource Amount = {held}, Current Account \
                     Resource Reservation = 0, Requested Resource Amount = {asked}.",
                    kind.name, account.name
                ),
            ));
        }
    }
    Ok(())
}

/// Begins a job on one machine.
fn on_machine(
    call: &mut Call<'_>,
    (kind, class): (&'static str, &'static str),
    (scheduled, started): (&str, &str),
    work: impl Fn(&Call<'_>, &Vm) -> std::result::Result<Work, (u16, String)>,
) -> Result<Value> {
    let vm = call.vm("id")?;
    let Some(row) = call.world.vms.get(vm).filter(|row| row.expunged.is_none()) else { return Err(call.no_such("id")) };
    call.check_access(row.owner)?;
    let custom = call.custom_job()?;
    let (owner, work) = (row.owner, work(call, row));
    match &work {
        Ok(Work::StartVm(vm)) => call.world.set_passing_power(*vm, Power::Starting),
        Ok(Work::StopVm(vm)) => call.world.set_passing_power(*vm, Power::Stopping),
        _ => {}
    }
    let about = call.world.about_vm(kind, vm);
    call.world.job_events(&about, call.caller.user, owner, scheduled, work.is_ok().then_some(started));
    let job = call.world.begin_job(custom, call.caller.user, class, Some(("VirtualMachine", Some(vm))), work);
    Ok(json!({"jobid": job}))
}

pub(super) fn start(call: &mut Call<'_>) -> Result<Value> {
    let class = "org.apache.cloudstack.api.command.admin.vm.StartVMCmdByAdmin";
    on_machine(call, ("VM.START", class), ("starting Vm", "Starting Vm"), |call, vm| {
        if vm.power.runs() {
            return Err((431, format!("The virtual machine {} ({}) is already running", vm.id, vm.name)));
        }
        let Some(owner) = call.world.accounts.get(vm.owner) else { return Ok(Work::StartVm(vm.id)) };
        if owner.state != State::Disabled {
            return Ok(Work::StartVm(vm.id));
        }
        let machine = format!(
            r#"{{"id":{},"instanceName":"{}","state":"{}","type":"User","uuid":"{}"}}"#,
            vm.number,
            call.world.instance_name(vm),
            vm.power.name(),
            vm.id
        );
        let account = format!(r#"[{{"accountName":"{}","id":{},"uuid":"{}"}}]"#, owner.name, owner.number, owner.id);
        Err((530, format!("The owner of VM instance {machine} is disabled: Account {account}")))
    })
}

pub(super) fn stop(call: &mut Call<'_>) -> Result<Value> {
    let class = "org.apache.cloudstack.api.command.admin.vm.StopVMCmdByAdmin";
    on_machine(call, ("VM.STOP", class), ("stopping user vm", "Stopping Vm"), |_, vm| {
        if vm.power == Power::Destroyed {
            return Err((431, "Unable to find a virtual machine with specified id".to_owned()));
        }
        Ok(Work::StopVm(vm.id))
    })
}

pub(super) fn destroy(call: &mut Call<'_>) -> Result<Value> {
    let class = "org.apache.cloudstack.api.command.admin.vm.DestroyVMCmdByAdmin";
    on_machine(call, ("VM.DESTROY", class), ("destroying vm", "Destroying vm"), |_, vm| Ok(Work::DestroyVm(vm.id)))
}
