//! What the cloud offers: capabilities, the zone, offerings. And webhooks, which the stand-in refuses.

use serde_json::{Value, json};

use super::{Call, Result};
use crate::standin::{envelope::Failure, world::RoleKind};

/// The version that the recorded answers are of.
const VERSION: &str = "4.22.0.0-SNAPSHOT";

#[expect(clippy::unnecessary_wraps, reason = "every command has this signature")]
pub(super) fn capabilities(call: &mut Call<'_>) -> Result<Value> {
    let settings = &call.world.settings;
    let throttled = settings.global("api.throttling.enabled") == "true";
    Ok(json!({"capability": {
        "securitygroupsenabled": false,
        "dynamicrolesenabled": true,
        "cloudstackversion": VERSION,
        "userpublictemplateenabled": true,
        "supportELB": "false",
        "projectinviterequired": false,
        "allowusercreateprojects": true,
        "customdiskofferingminsize": 1,
        "customdiskofferingmaxsize": 1024,
        "regionsecondaryenabled": false,
        "kvmsnapshotenabled": true,
        "allowuserviewdestroyedvm": true,
        "allowuserexpungerecovervm": true,
        "allowuserexpungerecovervolume": true,
        "allowuserviewalldomainaccounts": settings.global("allow.user.view.all.domain.accounts") == "true",
        "allowuserforcestopvm": true,
        "kubernetesserviceenabled": false,
        "kubernetesclusterexperimentalfeaturesenabled": false,
        "customhypervisordisplayname": "Custom",
        "defaultuipagesize": 20,
        "instancesstatsretentiontime": 720,
        "instancesstatsuseronly": false,
        "instancesdisksstatsretentionenabled": false,
        "instancesdisksstatsretentiontime": 720,
        "sharedfsvmmincpucount": 2,
        "sharedfsvmminramsize": 1024,
        "instanceleaseenabled": false,
        // Only admins are told where extensions lie.
        "extensionspath": (call.caller.role == RoleKind::Admin).then_some("/usr/share/cloudstack-management/extensions"),
        "dynamicscalingenabled": false,
        "additionalconfigenabled": false,
        "apilimitinterval": throttled.then(|| settings.number("api.throttling.interval")),
        "apilimitmax": throttled.then(|| settings.number("api.throttling.max")),
    }}))
}

pub(super) fn zones(call: &mut Call<'_>) -> Result<Value> {
    let rows = [()];
    call.paged("zone", &rows, |call, ()| {
        let zone = &call.world.zone;
        json!({
            "id": zone.id,
            "name": zone.name,
            "dns1": "10.147.28.6",
            "internaldns1": "10.147.28.6",
            "guestcidraddress": "10.1.1.0/24",
            "networktype": "Advanced",
            "securitygroupsenabled": false,
            "gputotal": 80,
            "gpuused": 0,
            "allocationstate": "Enabled",
            "zonetoken": zone.token,
            "dhcpprovider": "VirtualRouter",
            "localstorageenabled": false,
            "tags": [],
            "allowuserspecifyvrmtu": false,
            "routerprivateinterfacemaxmtu": 1500,
            "routerpublicinterfacemaxmtu": 1500,
            "type": "Core",
            "isnsxenabled": false,
            "ismultiarch": false,
            "asnrange": "",
            "routedmodeenabled": true,
            "hasannotations": false,
        })
    })
}

pub(super) fn service_offerings(call: &mut Call<'_>) -> Result<Value> {
    let rows: Vec<_> = call.world.offerings.iter().filter(|row| matching(call, row.id, &row.name)).collect();
    call.paged("serviceoffering", &rows, |call, row| {
        json!({
            "id": row.id,
            "name": row.name,
            "state": "Active",
            "displaytext": row.name,
            "cpunumber": row.cpus,
            "cpuspeed": row.mhz,
            "memory": row.memory_mib,
            "created": call.world.date(row.created),
            "storagetype": "shared",
            "provisioningtype": "thin",
            "offerha": false,
            "limitcpuuse": false,
            "isvolatile": false,
            "issystem": false,
            "defaultuse": false,
            "iscustomized": false,
            "rootdisksize": 0,
            "dynamicscalingenabled": true,
            "diskofferingstrictness": false,
            "diskofferingid": row.root_disk,
            "diskofferingname": row.name,
            "diskofferingdisplaytext": row.name,
            "encryptroot": false,
            "hasannotations": false,
        })
    })
}

pub(super) fn disk_offerings(call: &mut Call<'_>) -> Result<Value> {
    let rows: Vec<_> = call.world.disk_offerings.iter().filter(|row| matching(call, row.id, &row.name)).collect();
    call.paged("diskoffering", &rows, |call, row| {
        json!({
            "id": row.id,
            "name": row.name,
            "state": "Active",
            "displaytext": row.displaytext,
            "disksize": row.size_gib,
            "created": call.world.date(row.created),
            "iscustomized": row.customized,
            "storagetype": "shared",
            "provisioningtype": "thin",
            "displayoffering": true,
            "disksizestrictness": false,
            "encrypt": false,
            "hasannotations": false,
        })
    })
}

pub(super) fn network_offerings(call: &mut Call<'_>) -> Result<Value> {
    let rows: Vec<_> = call.world.network_offerings.iter().filter(|row| matching(call, row.id, &row.name)).collect();
    call.paged("networkoffering", &rows, |call, row| {
        let isolated = row.number == 10;
        let provider = if isolated { "VirtualRouter" } else { "SecurityGroupProvider" };
        json!({
            "id": row.id,
            "name": row.name,
            "displaytext": row.displaytext,
            "created": call.world.date(row.created),
            "traffictype": "Guest",
            "isdefault": true,
            "specifyvlan": !isolated,
            "conservemode": true,
            "specifyipranges": !isolated,
            "availability": if isolated { "Required" } else { "Optional" },
            "networkrate": 200,
            "state": "Enabled",
            "guestiptype": if isolated { "Isolated" } else { "Shared" },
            "serviceofferingid": call.world.zone.cluster,
            "service": [{"name": if isolated { "SourceNat" } else { "SecurityGroup" }, "provider": [{"name": provider}]}],
            "forvpc": false,
            "fornsx": false,
            "fortungsten": false,
            "ispersistent": false,
            "egressdefaultpolicy": false,
            "supportsstrechedl2subnet": false,
            "supportspublicaccess": false,
            "supportsinternallb": false,
            "internetprotocol": "IPv4",
            "specifyasnumber": false,
            "hasannotations": false,
        })
    })
}

/// Whether a row is asked for, by id and name.
fn matching(call: &Call<'_>, id: crate::ids::CloudId, name: &str) -> bool {
    call.filled("id").is_none_or(|wanted| wanted.parse() == Ok(id))
        && call.filled("name").is_none_or(|wanted| wanted == name)
}

/// Loopback and private addresses are refused, and the stand-in has no others to offer.
pub(super) fn create_webhook(_: &mut Call<'_>) -> Result<Value> {
    Err(Failure::parameter("Illegal host specified in URL."))
}
