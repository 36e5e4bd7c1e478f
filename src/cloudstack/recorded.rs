//! Every exchange recorded from a running CloudStack 4.22 is read into the client's own type or its own error.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use super::{
    Account, AccountState, Address, ApiDescription, Capabilities, Configuration, Domain, Error, Event, JobState,
    LiveVm, LiveVolume, Offering, Project, QuotaBalance, QuotaTariff, ResourceLimit, Role, RolePermission, UsageRow,
    UsageServerMetrics, UsageType, User, UserKeys, VirtualMachine, Zone,
    client::job_id,
    envelope::{self, Entry},
    jobs, person, session, users,
};

/// One recorded exchange.
struct Exchange {
    number: u32,
    name: String,
    command: String,
    status: u16,
    content_type: String,
    body: Vec<u8>,
}

fn exchanges() -> Vec<Exchange> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let mut found: Vec<Exchange> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| {
            let whole: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            Exchange {
                number: name[..3].parse().unwrap(),
                command: whole["request"]["command"].as_str().unwrap().to_owned(),
                status: u16::try_from(whole["response"]["status"].as_u64().unwrap()).unwrap(),
                content_type: whole["response"]["content_type"].as_str().unwrap().to_owned(),
                body: serde_json::to_vec(&whole["response"]["body"]).unwrap(),
                name,
            }
        })
        .collect();
    found.sort_by_key(|exchange| exchange.number);
    found
}

fn body_of(number: u32) -> Vec<u8> {
    exchanges().into_iter().find(|e| e.number == number).unwrap().body
}

fn variant(error: &Error) -> &'static str {
    match error {
        Error::Retry { .. } => "Retry",
        Error::Refused { .. } => "Refused",
        Error::Gone { .. } => "Gone",
        Error::NotAllowed { .. } => "NotAllowed",
        Error::Unauthorized { .. } => "Unauthorized",
        Error::LimitReached { .. } => "LimitReached",
        Error::SecondFactor { .. } => "SecondFactor",
        Error::Malformed { .. } => "Malformed",
        Error::Uncertain { .. } => "Uncertain",
        Error::Configuration { .. } => "Configuration",
    }
}

/// Which recorded answers are errors, and which.
const ERRORS: &[(&str, &[u32])] = &[
    ("Gone", &[41, 55, 146, 200]),
    ("LimitReached", &[124]),
    ("NotAllowed", &[64, 67, 70, 82, 89, 103, 211, 212]),
    ("Refused", &[5, 6, 7, 16, 17, 18, 19, 62, 72, 73, 77, 95, 199, 207, 210, 218, 219, 232, 237]),
    ("SecondFactor", &[161, 163]),
    ("Unauthorized", &[59, 60, 61, 63, 118, 121, 162, 167, 168, 214, 224, 226, 227]),
];

fn list<T: Entry>(exchange: &Exchange) -> Result<(), Error> {
    let page = envelope::page::<T>(&exchange.body)?;
    assert_eq!(page.unreadable, 0, "{}", exchange.name);
    let empty = envelope::sole(&exchange.body)?.as_object().unwrap().values().all(|v| !v.is_array());
    assert_eq!(page.items.is_empty(), empty, "{}", exchange.name);
    assert!(page.count.unwrap_or(0) >= page.items.len() as u64, "{}", exchange.name);
    Ok(())
}

fn one<T: serde::de::DeserializeOwned>(exchange: &Exchange) -> Result<T, Error> {
    envelope::entity(envelope::sole(&exchange.body)?)
}

/// Reads a success by its command. Commands that the client has no type for are read as a value.
fn read(exchange: &Exchange) -> Result<(), Error> {
    match exchange.command.as_str() {
        "listCapabilities" => one::<Capabilities>(exchange).map(|_| ()),
        "listApis" => list::<ApiDescription>(exchange),
        "listUsageTypes" => list::<UsageType>(exchange),
        "listUsageRecords" => list::<UsageRow>(exchange),
        "listDomains" => list::<Domain>(exchange),
        "listAccounts" => list::<Account>(exchange),
        "listUsers" => list::<User>(exchange),
        "listRoles" => list::<Role>(exchange),
        "listZones" => list::<Zone>(exchange),
        "listVirtualMachines" => list::<VirtualMachine>(exchange).and_then(|()| list::<LiveVm>(exchange)),
        "listVolumes" => list::<LiveVolume>(exchange),
        "listPublicIpAddresses" => list::<Address>(exchange),
        "quotaTariffList" => list::<QuotaTariff>(exchange),
        "quotaSummary" => list::<QuotaBalance>(exchange),
        "listProjects" => list::<Project>(exchange),
        "listConfigurations" => list::<Configuration>(exchange),
        "listEvents" => list::<Event>(exchange),
        "listResourceLimits" => list::<ResourceLimit>(exchange),
        "listServiceOfferings" | "listDiskOfferings" | "listNetworkOfferings" => list::<Offering>(exchange),
        "getUserKeys" | "registerUserKeys" => one::<UserKeys>(exchange).map(|_| ()),
        "updateUser" | "createUser" | "enableUser" => one::<User>(exchange).map(|_| ()),
        "enableAccount" | "updateAccount" => one::<Account>(exchange).map(|_| ()),
        "createRole" => one::<Role>(exchange).map(|_| ()),
        "createRolePermission" => one::<RolePermission>(exchange).map(|_| ()),
        "updateResourceLimit" => one::<ResourceLimit>(exchange).map(|_| ()),
        "updateConfiguration" => one::<Configuration>(exchange).map(|_| ()),
        "listUsageServerMetrics" => one::<UsageServerMetrics>(exchange)
            .map(|metrics| assert!(metrics.last_successful_job.is_some() && metrics.state.is_some())),
        "login" => one::<session::LoginRow>(exchange).map(|_| ()),
        "queryAsyncJobResult" => jobs::job_state(&exchange.body).map(|_| ()),
        "disableAccount"
        | "stopVirtualMachine"
        | "startVirtualMachine"
        | "suspendProject"
        | "activateProject"
        | "createProject" => {
            assert!(job_id(&envelope::sole(&exchange.body)?).is_some(), "{}", exchange.name);
            Ok(())
        }
        "deleteUser" | "uploadResourceIcon" | "deleteResourceIcon" | "validateUserTwoFactorAuthenticationCode" => {
            users::success(&envelope::sole(&exchange.body)?)
        }
        // Read by nobody yet: the shape is an object with something in it.
        "listResourceIcon" => list::<Value>(exchange),
        "listUserTwoFactorAuthenticatorProviders" => list::<person::SecondFactorProvider>(exchange),
        // Switching it off gives no secret.
        "setupUserTwoFactorAuthentication" if exchange.number != 166 => {
            one::<person::SecondFactorSetUp>(exchange).map(|_| ())
        }
        "quotaBalance" | "quotaCredits" | "setupUserTwoFactorAuthentication" | "logout" => {
            envelope::sole(&exchange.body).map(|value| assert!(value.is_object()))
        }
        other => panic!("{}: nothing reads {other}", exchange.name),
    }
}

#[test]
fn every_recorded_exchange_is_read_into_its_own_type_or_error() {
    let mut errors: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    let all = exchanges();
    assert!(all.len() >= 241, "only {} exchanges", all.len());
    for exchange in &all {
        match envelope::decode(exchange.status, Some(&exchange.content_type), &exchange.body) {
            Ok(()) => {
                assert_eq!(exchange.status, 200, "{}", exchange.name);
                read(exchange).unwrap_or_else(|error| panic!("{}: {error}", exchange.name));
            }
            Err(rejection) => {
                assert_ne!(exchange.status, 200, "{}", exchange.name);
                assert!(rejection.definite, "{}: CloudStack's own errors leave nothing open", exchange.name);
                assert_eq!(rejection.error.code(), Some(exchange.status), "{}", exchange.name);
                errors.entry(variant(&rejection.error)).or_default().push(exchange.number);
            }
        }
    }
    let expected: BTreeMap<&str, Vec<u32>> = ERRORS.iter().map(|(name, numbers)| (*name, numbers.to_vec())).collect();
    assert_eq!(errors, expected);
}

#[test]
fn recorded_values_arrive_where_they_belong() {
    let account = envelope::page::<Account>(&body_of(40)).unwrap().items.remove(0);
    assert_eq!((account.name.as_str(), account.state, account.vm_running), ("alice", AccountState::Enabled, Some(3)));
    assert_eq!(account.users[0].email.as_deref(), Some("alice@example.com"));
    assert_eq!(account.api_key_access, Some(super::ApiKeyAccess::Inherit));
    let states = |number| envelope::page::<Account>(&body_of(number)).unwrap().items.remove(0).state;
    assert_eq!((states(81), states(87)), (AccountState::Locked, AccountState::Disabled));

    let project = envelope::page::<Project>(&body_of(150)).unwrap().items.remove(0);
    assert_eq!((project.owners.as_slice(), project.state.as_deref()), (&["erin".to_owned()][..], Some("Suspended")));
    assert_eq!(project.account_name.as_deref(), Some("PrjAcct-erin-project-1"));

    let limits = envelope::page::<ResourceLimit>(&body_of(122)).unwrap();
    assert_eq!((limits.count, limits.items[0].resource_type, limits.items[0].max), (Some(17), Some(0), Some(20)));

    let keys: UserKeys = envelope::entity(envelope::sole(&body_of(52)).unwrap()).unwrap();
    assert!(keys.api_key.is_none() && keys.secret_key.is_none() && keys.api_key_access == Some(true));

    let capabilities: Capabilities = envelope::entity(envelope::sole(&body_of(1)).unwrap()).unwrap();
    assert_eq!(capabilities.release(), Some((4, 22, 0)));

    let api = envelope::page::<ApiDescription>(&body_of(2)).unwrap().items.remove(0);
    assert!(api.is_async && api.takes("lock") && !api.takes("nonsense"));

    let event = envelope::page::<Event>(&body_of(241)).unwrap().items.remove(0);
    assert_eq!((event.event_type.as_str(), event.username.as_deref()), ("ACCOUNT.DISABLE", Some("admin")));
    assert_eq!(event.resource_id.unwrap().to_string(), "a6c5161f-223f-48e3-a71f-7e56c859b5db");

    let metrics: UsageServerMetrics = envelope::entity(envelope::sole(&body_of(105)).unwrap()).unwrap();
    assert_eq!(metrics.last_successful_job.unwrap().to_string(), "2026-11-22T16:59:59Z");

    assert!(matches!(jobs::job_state(&body_of(79)), Ok(JobState::Pending)));
    assert!(matches!(jobs::job_state(&body_of(80)), Ok(JobState::Succeeded(_))));
    assert!(matches!(jobs::job_state(&body_of(94)), Ok(JobState::Failed { code: 431, .. })));
    assert!(matches!(jobs::job_state(&body_of(137)), Ok(JobState::Failed { code: 530, .. })));
}

#[test]
fn recorded_usage_has_periods_and_quantities() {
    for exchange in exchanges().iter().filter(|e| e.command == "listUsageRecords" && e.status == 200) {
        for row in envelope::page::<UsageRow>(&exchange.body).unwrap().items {
            assert!(row.period().is_some() && row.quantity().is_some(), "{}: {row:?}", exchange.name);
            assert!(row.account_id.is_some() != row.project_id.is_some(), "{}: {row:?}", exchange.name);
        }
    }
    let first = envelope::page::<UsageRow>(&body_of(12)).unwrap();
    assert_eq!((first.count, first.items.len()), (Some(5764), 40));
    let period = first.items[0].period().unwrap();
    assert_eq!(
        (period.start().to_string(), period.end().to_string()),
        ("2026-11-16T17:34:07Z".to_owned(), "2026-11-16T18:00:00Z".to_owned())
    );
}
