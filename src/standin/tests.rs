//! What the stand-in does beyond the recorded exchanges: the facts, without HTTP in between.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono_tz::Tz;
use hmac::{Hmac, Mac as _};
use serde_json::Value;

use super::{
    AccountKind, Power, RoleKind, State, Stubbornness, UsageRun, World,
    commands::{Incoming, answer},
};
use crate::{ids::CloudId, secrets::Secret, time::Timestamp};

type Keys = (String, Secret);

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Tz::UTC).unwrap()
}

struct Cloud {
    world: World,
    admin: Keys,
    alice: CloudId,
    machines: Vec<CloudId>,
}

fn cloud() -> Cloud {
    let start = at("2026-11-20T00:00:00Z");
    let mut world = World::new(start);
    let user = world.admin_user();
    let admin = world.register_keys(user);
    let root = world.root_domain();
    let alice = world.add_account(root, "alice", AccountKind::User);
    world.add_user(alice, "alice", "alice-password", "alice@example.com");
    let offering = world.find_offering("Small Instance").unwrap();
    let machines = (0..3).map(|number| world.deploy_vm(alice, &format!("vm{number}"), offering, start)).collect();
    world.set_configuration("usage.stats.job.aggregation.range", "60");
    Cloud { world, admin, alice, machines }
}

/// Sends a signed request to the world; the answer's status and content.
fn call(world: &mut World, keys: &Keys, command: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
    let mut all: BTreeMap<String, String> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    all.insert("command".to_owned(), command.to_owned());
    all.insert("apikey".to_owned(), keys.0.clone());
    let unsigned: Vec<String> = all
        .iter()
        .map(|(name, value)| {
            let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            format!("{name}={}", value.replace('+', "%20")).to_lowercase()
        })
        .collect();
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(keys.1.expose().as_bytes()).unwrap();
    mac.update(unsigned.join("&").as_bytes());
    all.insert("signature".to_owned(), STANDARD.encode(mac.finalize().into_bytes()));
    let remote = "127.0.0.1".parse().unwrap();
    let incoming =
        Incoming { method: "POST".to_owned(), parameters: all, cookies: std::collections::HashMap::new(), remote };
    let reply = answer(world, &incoming).unwrap();
    (reply.status, reply.body.as_object().unwrap().values().next().unwrap().clone())
}

fn job_status(cloud: &mut Cloud, job: &Value) -> Value {
    let (_, body) = call(&mut cloud.world, &cloud.admin, "queryAsyncJobResult", &[("jobid", job.as_str().unwrap())]);
    body["jobstatus"].clone()
}

fn disable(cloud: &mut Cloud, account: CloudId, lock: &str) -> Value {
    let parameters = [("id", &*account.to_string()), ("lock", lock)];
    call(&mut cloud.world, &cloud.admin, "disableAccount", &parameters).1["jobid"].clone()
}

fn records(world: &mut World, admin: &Keys, kind: &str) -> Vec<(String, String, String)> {
    let parameters = [("startdate", "2026-11-01"), ("enddate", "2026-11-30"), ("type", kind)];
    let (_, body) = call(world, admin, "listUsageRecords", &parameters);
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    body["usagerecord"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(|row| (text(row, "startdate"), text(row, "enddate"), text(row, "rawusage")))
        .collect()
}

#[test]
fn machines_stop_one_by_one_while_a_disable_goes_on() {
    let mut cloud = cloud();
    cloud.world.job_delay_polls = 3;
    let alice = cloud.alice;
    let job = disable(&mut cloud, alice, "false");
    assert_eq!(cloud.world.account_state(alice), Some(State::Disabled));
    let mut stopped = Vec::new();
    for _ in 0..4 {
        let status = job_status(&mut cloud, &job);
        let count = cloud.machines.iter().filter(|vm| cloud.world.vm_power(**vm) == Some(Power::Stopped)).count();
        stopped.push((status, count));
    }
    assert_eq!(stopped, [(0.into(), 1), (0.into(), 2), (0.into(), 3), (1.into(), 3)]);
}

#[test]
fn a_machine_that_can_not_be_stopped_runs_on_or_fails_the_job_but_the_state_has_changed() {
    for (stubbornness, status) in [(Stubbornness::KeepsRunning, 1), (Stubbornness::Throws, 2)] {
        let mut cloud = cloud();
        cloud.world.job_delay_polls = 0;
        let (alice, vm) = (cloud.alice, cloud.machines[1]);
        cloud.world.set_stubbornness(vm, stubbornness);
        let job = disable(&mut cloud, alice, "false");
        assert_eq!(job_status(&mut cloud, &job), status);
        assert_eq!(cloud.world.vm_power(vm), Some(Power::Running));
        assert_eq!(cloud.world.account_state(alice), Some(State::Disabled));
    }
}

#[test]
fn lock_and_disable_guard_what_the_server_guards() {
    let mut cloud = cloud();
    let (alice, root) = (cloud.alice, cloud.world.root_domain());
    cloud.world.set_account_state(alice, State::Disabled);
    let job = disable(&mut cloud, alice, "true");
    assert_eq!(job_status(&mut cloud, &job), 2, "a disabled account can not be locked");
    let admin = cloud.world.find_account(root, "admin").unwrap();
    let job = disable(&mut cloud, admin, "false");
    assert_eq!(job_status(&mut cloud, &job), 2, "root admin can not be disabled");
    disable(&mut cloud, admin, "true");
    assert_eq!(cloud.world.account_state(admin), Some(State::Locked), "but locked");
    let (status, body) = call(&mut cloud.world, &cloud.admin, "listAccounts", &[]);
    assert_eq!((status, body["errorcode"].clone()), (401, 401.into()));
}

#[test]
fn a_job_nobody_asks_about_ends_by_itself_and_is_forgotten_a_day_later() {
    let mut cloud = cloud();
    let alice = cloud.alice;
    let job = disable(&mut cloud, alice, "false");
    let later = cloud.world.now().plus(std::time::Duration::from_mins(2));
    cloud.world.begin(later);
    assert!(cloud.machines.iter().all(|vm| cloud.world.vm_power(*vm) == Some(Power::Stopped)));
    assert_eq!(job_status(&mut cloud, &job), 1);
    cloud.world.begin(later.plus(std::time::Duration::from_hours(25)));
    let parameters = [("jobid", job.as_str().unwrap())];
    assert_eq!(call(&mut cloud.world, &cloud.admin, "queryAsyncJobResult", &parameters).0, 431);
}

#[test]
fn the_first_matching_rule_decides_and_then_the_role_type() {
    let mut cloud = cloud();
    let narrow = cloud.world.add_role("narrow", RoleKind::Admin, &[("listUsers", true), ("*", false)]);
    let open = cloud.world.add_role("open", RoleKind::Admin, &[("listUsers", false)]);
    let narrow = cloud.world.add_service_account("narrow", narrow);
    let open = cloud.world.add_service_account("open", open);
    assert_eq!(call(&mut cloud.world, &narrow, "listUsers", &[]).0, 200);
    assert_eq!(call(&mut cloud.world, &narrow, "listAccounts", &[]).0, 432);
    assert_eq!(call(&mut cloud.world, &open, "listUsers", &[]).0, 432);
    assert_eq!(call(&mut cloud.world, &open, "listAccounts", &[]).0, 200);
    let wrong = (narrow.0, Secret::new("wrong"));
    assert_eq!(call(&mut cloud.world, &wrong, "listAccounts", &[]).0, 432, "the role speaks before the signature");
    assert_eq!(call(&mut cloud.world, &wrong, "listUsers", &[]).0, 401);
}

#[test]
fn tenants_are_throttled_and_admins_are_not() {
    let mut cloud = cloud();
    let user = cloud.world.users_of(cloud.alice)[0];
    let keys = cloud.world.register_keys(user);
    cloud.world.set_configuration("api.throttling.enabled", "true");
    cloud.world.set_configuration("api.throttling.max", "2");
    let codes: Vec<u16> = (0..3).map(|_| call(&mut cloud.world, &keys, "listUsers", &[]).0).collect();
    assert_eq!(codes, [200, 200, 429]);
    assert!((0..5).all(|_| call(&mut cloud.world, &cloud.admin, "listUsers", &[]).0 == 200));
}

#[test]
fn a_late_event_reports_its_part_window_and_every_window_since_again() {
    let mut cloud = cloud();
    let (world, admin) = (&mut cloud.world, &cloud.admin);
    world.run_usage_job(at("2026-11-20T04:05:00Z"));
    assert_eq!(records(world, admin, "3").len(), 4);
    world.stop_vm(cloud.machines[0], at("2026-11-20T02:30:00Z"));
    let UsageRun::Done { windows, .. } = world.run_usage_job(at("2026-11-20T05:05:00Z")) else { panic!() };
    assert_eq!(windows[0], (at("2026-11-20T02:30:00Z"), Timestamp::from_ms(at("2026-11-20T03:00:00Z").as_ms() - 1)));
    assert_eq!(windows.len(), 3);
    let address: Vec<String> =
        records(world, admin, "3").into_iter().map(|(start, _, raw)| format!("{} {raw}", &start[11..16])).collect();
    assert_eq!(address, ["00:00 1", "01:00 1", "02:00 1", "03:00 1", "02:30 0.5", "03:00 1", "04:00 1"]);
    let first_machine: Vec<String> = records(world, admin, "1").into_iter().map(|(_, _, raw)| raw).collect();
    assert_eq!(
        first_machine.iter().filter(|raw| *raw == "0").count(),
        1,
        "stopped at the first millisecond: {first_machine:?}"
    );
}

#[test]
fn a_failed_run_writes_nothing_and_the_next_catches_up() {
    let mut cloud = cloud();
    let world = &mut cloud.world;
    world.run_usage_job(at("2026-11-20T01:05:00Z"));
    let before = world.usage_record_count();
    world.fail_next_usage_run();
    assert_eq!(world.run_usage_job(at("2026-11-20T02:05:00Z")), UsageRun::RolledBack);
    world.set_usage_job_stuck(true);
    assert_eq!(world.run_usage_job(at("2026-11-20T02:05:00Z")), UsageRun::Stuck);
    assert_eq!(world.usage_record_count(), before);
    world.set_usage_job_stuck(false);
    let UsageRun::Done { windows, records } = world.run_usage_job(at("2026-11-20T03:05:00Z")) else { panic!() };
    assert_eq!((windows.len(), records), (2, 2 * before));
    assert_eq!(world.run_usage_job(at("2026-11-20T03:06:00Z")), UsageRun::NothingToDo);
}

#[test]
fn a_days_window_starts_at_the_zones_midnight_and_only_whole_records_are_listed() {
    let mut cloud = cloud();
    let (world, admin) = (&mut cloud.world, &cloud.admin);
    world.set_configuration("usage.stats.job.aggregation.range", "1440");
    world.set_configuration("usage.aggregation.timezone", "Europe/Vienna");
    world.run_usage_job(at("2026-11-22T12:00:00Z"));
    let rows = records(world, admin, "3");
    assert_eq!(
        rows.iter().map(|(start, _, _)| start.as_str()).collect::<Vec<_>>(),
        ["2026-11-20T00:00:00+0000", "2026-11-20T23:00:00+0000"]
    );
    assert_eq!(rows[0].2, "23");
    let parameters = [("startdate", "2026-11-21"), ("enddate", "2026-11-30")];
    assert_eq!(call(world, admin, "listUsageRecords", &parameters).1, serde_json::json!({}), "cut records are dropped");
    world.locale.quoted_dates = true;
    world.locale.decimal_comma = true;
    world.push_usage_record(
        cloud.alice,
        3,
        (at("2026-11-25T00:00:00Z"), at("2026-11-25T00:04:59Z")),
        "0,083333",
        serde_json::Map::new(),
    );
    assert_eq!(records(world, admin, "3")[2].0, "2026-11-25'T'00:00:00+00:00");
}

#[test]
fn a_resized_machine_has_one_record_for_each_offering() {
    let mut cloud = cloud();
    let (world, admin) = (&mut cloud.world, &cloud.admin);
    let medium = world.find_offering("Medium Instance").unwrap();
    for other in &cloud.machines[1..] {
        world.destroy_vm(*other, at("2026-11-20T00:00:00Z"));
    }
    world.resize_vm(cloud.machines[0], medium, at("2026-11-20T00:15:00Z"));
    world.run_usage_job(at("2026-11-20T01:05:00Z"));
    let raws: Vec<String> = records(world, admin, "2").into_iter().map(|(_, _, raw)| raw).collect();
    assert_eq!(raws, ["0.25", "0", "0", "0.75"]);
}

#[test]
fn an_account_name_without_its_domain_lists_everybodys_usage() {
    let mut cloud = cloud();
    let root = cloud.world.root_domain();
    let bob = cloud.world.add_account(root, "bob", AccountKind::User);
    let (world, admin) = (&mut cloud.world, &cloud.admin);
    world.add_ip(bob, at("2026-11-20T00:00:00Z"));
    world.run_usage_job(at("2026-11-20T01:05:00Z"));
    let count = |world: &mut World, more: &[(&str, &str)]| {
        let mut parameters = vec![("startdate", "2026-11-20"), ("enddate", "2026-11-20"), ("type", "3")];
        parameters.extend_from_slice(more);
        call(world, admin, "listUsageRecords", &parameters).1["count"].clone()
    };
    let root = root.to_string();
    assert_eq!(count(world, &[("account", "bob")]), 2);
    assert_eq!(count(world, &[("account", "bob"), ("domainid", &root)]), 1);
    assert_eq!(count(world, &[("account", "bob"), ("domainid", &root), ("isrecursive", "true")]), 2);
    assert_eq!(count(world, &[("accountid", &bob.to_string())]), 1);
}

#[test]
fn quota_credits_unlock_whoever_was_locked_only_with_enforcement_on() {
    let mut cloud = cloud();
    let (world, admin) = (&mut cloud.world, &cloud.admin);
    let root = world.root_domain().to_string();
    let parameters = [("account", "alice"), ("domainid", &*root), ("value", "10"), ("quota_enforce", "true")];
    world.lock_by_admin(cloud.alice);
    call(world, admin, "quotaCredits", &parameters);
    assert_eq!(world.account_state(cloud.alice), Some(State::Locked));
    world.set_configuration("quota.enable.enforcement", "true");
    assert_eq!(call(world, admin, "quotaCredits", &parameters).0, 200);
    assert_eq!(world.account_state(cloud.alice), Some(State::Enabled));
}

#[test]
fn the_log_of_calls_names_the_caller_and_holds_no_secret() {
    let mut cloud = cloud();
    call(&mut cloud.world, &cloud.admin, "listUsers", &[("password", "hunter2"), ("page", "1"), ("pagesize", "5")]);
    let received = cloud.world.calls().last().unwrap().clone();
    assert_eq!(
        (received.command.as_str(), received.caller.as_deref(), received.status),
        ("listUsers", Some("admin"), 200)
    );
    let text = format!("{received:?}");
    assert!(!text.contains("hunter2") && !text.contains(&cloud.admin.0) && text.contains("pagesize"));
}

fn set_limit(cloud: &mut Cloud, target: &[(&str, &str)], kind: &str, max: &str) -> u16 {
    let parameters: Vec<(&str, &str)> = target.iter().copied().chain([("resourcetype", kind), ("max", max)]).collect();
    call(&mut cloud.world, &cloud.admin, "updateResourceLimit", &parameters).0
}

#[test]
fn limits_of_a_locked_account_or_suspended_project_are_read_and_not_changed() {
    let mut cloud = cloud();
    let (alice, root) = (cloud.alice, cloud.world.root_domain().to_string());
    let project = cloud.world.add_project(alice, "shop").to_string();
    let named = [("account", "alice"), ("domainid", &*root)];
    let of_project = [("projectid", &*project)];
    assert_eq!(set_limit(&mut cloud, &named, "0", "3"), 200);
    assert_eq!(set_limit(&mut cloud, &of_project, "0", "0"), 200, "below what is used is fine");
    for state in [State::Locked, State::Disabled] {
        cloud.world.set_account_state(alice, state);
        assert_eq!(set_limit(&mut cloud, &named, "0", "20"), 531);
        let (status, body) = call(&mut cloud.world, &cloud.admin, "listResourceLimits", &named);
        assert_eq!((status, body["resourcelimit"][0]["max"].clone()), (200, 3.into()));
        let (status, body) = call(&mut cloud.world, &cloud.admin, "listVirtualMachines", &named);
        assert_eq!((status, body["count"].clone()), (200, 3.into()));
    }
    assert_eq!(call(&mut cloud.world, &cloud.admin, "suspendProject", &[("id", &project)]).0, 200);
    assert_eq!(set_limit(&mut cloud, &of_project, "0", "20"), 531);
    let (status, body) = call(&mut cloud.world, &cloud.admin, "listResourceLimits", &of_project);
    assert_eq!((status, body["resourcelimit"][0]["max"].clone()), (200, 0.into()));
    cloud.world.set_account_state(alice, State::Enabled);
    assert_eq!(set_limit(&mut cloud, &named, "0", "20"), 200);
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let mut cloud = cloud();
    let root = cloud.world.root_domain().to_string();
    let named = [("account", "alice"), ("domainid", &*root)];
    assert_eq!(set_limit(&mut cloud, &named, "0", "-2"), 431);
    assert_eq!(set_limit(&mut cloud, &named, "99", "1"), 431);
    assert_eq!(set_limit(&mut cloud, &[("account", "admin"), ("domainid", &root)], "0", "5"), 431);
    assert_eq!(set_limit(&mut cloud, &[("account", "nobody"), ("domainid", &root)], "0", "5"), 431);
    assert_eq!(set_limit(&mut cloud, &[("account", "alice")], "0", "5"), 431);
    assert_eq!(set_limit(&mut cloud, &[("domainid", &root)], "0", "5"), 531, "nobody limits ROOT");
    cloud.world.set_limit_tags(&["gpu"]);
    let tagged = [named[0], named[1], ("tag", "gpu")];
    assert_eq!(set_limit(&mut cloud, &tagged, "8", "41"), 431, "more than the untagged limit");
    assert_eq!(set_limit(&mut cloud, &tagged, "8", "7"), 200);
    let (_, body) = call(&mut cloud.world, &cloud.admin, "listResourceLimits", &named);
    let tagged = body["resourcelimit"].as_array().unwrap().iter().filter(|row| row["tag"] == "gpu");
    assert_eq!(tagged.map(|row| row["max"].as_i64().unwrap()).collect::<Vec<_>>(), [-1, 7, -1, -1]);
}

#[test]
fn storage_is_counted_in_bytes_and_shown_in_whole_gib() {
    let mut cloud = cloud();
    let (alice, now) = (cloud.alice, cloud.world.now());
    let half = cloud.world.find_disk_offering("Custom").unwrap();
    let volume = cloud.world.add_volume(alice, "data", half, 1, now);
    cloud.world.volumes.get_mut(volume).unwrap().size_bytes = (1 << 30) + (1 << 29);
    let (_, body) = call(&mut cloud.world, &cloud.admin, "listAccounts", &[("name", "alice"), ("listall", "true")]);
    assert_eq!(body["account"][0]["primarystoragetotal"], 7, "three roots of 2 GiB and one and a half");
}

#[test]
fn a_start_or_stop_of_what_is_so_already_fails_or_does_nothing() {
    let mut cloud = cloud();
    let vm = cloud.machines[0];
    let id = vm.to_string();
    let job = |cloud: &mut Cloud, command: &str| {
        let (_, body) = call(&mut cloud.world, &cloud.admin, command, &[("id", &id)]);
        let job = body["jobid"].clone();
        let parameters = [("jobid", job.as_str().unwrap())];
        loop {
            let (_, body) = call(&mut cloud.world, &cloud.admin, "queryAsyncJobResult", &parameters);
            if body["jobstatus"] != 0 {
                break (body["jobstatus"].clone(), body["jobresultcode"].clone());
            }
        }
    };
    assert_eq!(job(&mut cloud, "startVirtualMachine"), (2.into(), 431.into()));
    assert_eq!(job(&mut cloud, "stopVirtualMachine"), (1.into(), 0.into()));
    assert_eq!(job(&mut cloud, "stopVirtualMachine"), (1.into(), 0.into()));
    assert_eq!(job(&mut cloud, "startVirtualMachine"), (1.into(), 0.into()));
    assert_eq!(cloud.world.vm_power(vm), Some(Power::Running));
}

#[test]
fn a_machine_under_way_shows_it_and_is_stopped_by_a_disable_all_the_same() {
    let mut cloud = cloud();
    cloud.world.job_delay_polls = 2;
    let (alice, vm, moving) = (cloud.alice, cloud.machines[0], cloud.machines[1]);
    let id = vm.to_string();
    call(&mut cloud.world, &cloud.admin, "stopVirtualMachine", &[("id", &id)]);
    assert_eq!(cloud.world.vm_power(vm), Some(Power::Stopping));
    cloud.world.finish_jobs();
    call(&mut cloud.world, &cloud.admin, "startVirtualMachine", &[("id", &id)]);
    assert_eq!(cloud.world.vm_power(vm), Some(Power::Starting));
    cloud.world.set_passing_power(moving, Power::Migrating);
    disable(&mut cloud, alice, "false");
    cloud.world.finish_jobs();
    assert!(cloud.machines.iter().all(|vm| cloud.world.vm_power(*vm) == Some(Power::Stopped)));
}

#[test]
fn a_disable_that_goes_on_stops_machines_after_the_account_was_enabled() {
    let mut cloud = cloud();
    cloud.world.job_delay_polls = 5;
    let alice = cloud.alice;
    let job = disable(&mut cloud, alice, "false");
    job_status(&mut cloud, &job);
    call(&mut cloud.world, &cloud.admin, "enableAccount", &[("id", &alice.to_string())]);
    assert_eq!(cloud.world.vm_power(cloud.machines[2]), Some(Power::Running));
    cloud.world.finish_jobs();
    assert_eq!(cloud.world.account_state(alice), Some(State::Enabled));
    assert!(cloud.machines.iter().all(|vm| cloud.world.vm_power(*vm) == Some(Power::Stopped)));
}

#[test]
fn what_a_disable_left_running_is_stopped_by_the_next_one_and_by_the_cleanup() {
    let mut cloud = cloud();
    cloud.world.job_delay_polls = 0;
    let (alice, vms) = (cloud.alice, cloud.machines.clone());
    cloud.world.set_stubbornness(vms[0], Stubbornness::Throws);
    disable(&mut cloud, alice, "false");
    assert!(vms.iter().all(|vm| cloud.world.vm_power(*vm) == Some(Power::Running)), "the loop ends at the first");
    cloud.world.set_stubbornness(vms[0], Stubbornness::Obedient);
    cloud.world.set_stubbornness(vms[2], Stubbornness::KeepsRunning);
    disable(&mut cloud, alice, "false");
    let stopped = |cloud: &Cloud| vms.iter().filter(|vm| cloud.world.vm_power(**vm) == Some(Power::Stopped)).count();
    assert_eq!(stopped(&cloud), 2);
    cloud.world.set_stubbornness(vms[2], Stubbornness::Obedient);
    cloud.world.clean_up_accounts();
    assert_eq!(stopped(&cloud), 3);
}

#[test]
fn a_project_is_suspended_and_activated_any_number_of_times() {
    let mut cloud = cloud();
    let (alice, now) = (cloud.alice, cloud.world.now());
    let project = cloud.world.add_project(alice, "shop");
    let offering = cloud.world.find_offering("Small Instance").unwrap();
    let vm = cloud.world.deploy_vm(project, "web", offering, now);
    let id = project.to_string();
    for (command, active, power) in [
        ("suspendProject", false, Power::Stopped),
        ("suspendProject", false, Power::Stopped),
        ("activateProject", true, Power::Stopped),
        ("activateProject", true, Power::Stopped),
    ] {
        assert_eq!(call(&mut cloud.world, &cloud.admin, command, &[("id", &id)]).0, 200);
        cloud.world.finish_jobs();
        assert_eq!(cloud.world.project_is_active(project), Some(active));
        assert_eq!(cloud.world.vm_power(vm), Some(power));
        assert_eq!(cloud.world.account_state(alice), Some(State::Enabled), "its owner is not touched");
    }
}

#[test]
fn a_moved_machine_is_the_new_owners_and_so_is_its_usage() {
    let mut cloud = cloud();
    let (root, vm) = (cloud.world.root_domain(), cloud.machines[0]);
    let bob = cloud.world.add_account(root, "bob", AccountKind::User);
    let noon = at("2026-11-20T12:00:00Z");
    cloud.world.move_vm(vm, bob, noon);
    assert!(cloud.world.machines_of(bob).is_empty(), "a running one stays");
    cloud.world.stop_vm(vm, noon);
    cloud.world.move_vm(vm, bob, noon);
    assert_eq!(cloud.world.machines_of(bob), [vm]);
    let spans = &cloud.world.usage.spans[&bob];
    assert_eq!(spans.iter().filter(|span| span.to.is_none()).count(), 2, "the machine and its disk");
}
