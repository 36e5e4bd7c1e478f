//! Which of CloudStack's APIs each service account needs and for what: one table, for the roles that init makes and for
//! the rights that check looks at (facts 4.6).

use crate::jobs::app::Role;

/// What a right is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// What it is, as it reads behind "may" or "can not".
    pub name: &'static str,
    /// Whether the account is of no use without it.
    pub required: bool,
    /// Whether it is worth a line when it is missing. What only some releases have is not.
    pub reported: bool,
    /// The APIs.
    pub apis: &'static [&'static str],
}

const fn required(name: &'static str, apis: &'static [&'static str]) -> Feature {
    Feature { name, required: true, reported: true, apis }
}

const fn useful(name: &'static str, apis: &'static [&'static str]) -> Feature {
    Feature { name, required: false, reported: true, apis }
}

const fn of_some_releases(name: &'static str, apis: &'static [&'static str]) -> Feature {
    Feature { name, required: false, reported: false, apis }
}

const READER: &[Feature] = &[
    required("find out what CloudStack can do", &["listApis", "listCapabilities"]),
    required("read accounts, people and projects", &["listAccounts", "listUsers", "listDomains", "listProjects"]),
    required("read usage", &["listUsageRecords", "listUsageTypes"]),
    required("tell how fresh usage is", &["listUsageServerMetrics"]),
    required("see who locked or enabled an account", &["listEvents"]),
    required("count running machines for the fuse", &["listVirtualMachines"]),
    required("follow what CloudStack does in the background", &["queryAsyncJobResult"]),
    useful(
        "name offerings and zones in prices",
        &["listServiceOfferings", "listDiskOfferings", "listNetworkOfferings", "listZones"],
    ),
    useful("estimate what volumes and addresses cost between usage runs", &["listVolumes", "listPublicIpAddresses"]),
    useful("show limits", &["listResourceLimits"]),
    useful("name the projects in plans in which people of other accounts work", &["listProjectAccounts"]),
    useful("look at CloudStack's settings", &["listConfigurations"]),
    useful("look at roles", &["listRoles", "listRolePermissions"]),
    of_some_releases("count management servers", &["listManagementServers"]),
    of_some_releases(
        "import from the quota plugin",
        &["quotaTariffList", "quotaSummary", "quotaCreditsList", "quotaStatement"],
    ),
];

const ENFORCER: &[Feature] = &[
    required("find out what CloudStack can do", &["listApis", "listCapabilities"]),
    required("lock and restore accounts", &["disableAccount", "enableAccount", "queryAsyncJobResult", "listAccounts"]),
    required("see who locked or enabled an account", &["listEvents"]),
    required("count running machines for the fuse", &["listVirtualMachines"]),
    required("read people, domains and projects", &["listUsers", "listDomains", "listProjects"]),
    useful("see whether the quota plugin locks too", &["listConfigurations"]),
    useful("restrict accounts by their limits", &["listResourceLimits", "updateResourceLimit", "listVolumes"]),
    useful("stop and start machines", &["stopVirtualMachine", "startVirtualMachine"]),
    useful("suspend and activate projects", &["suspendProject", "activateProject"]),
    useful("name the projects in plans in which people of other accounts work", &["listProjectAccounts"]),
];

const KEYS: &[Feature] = &[
    required("find out what CloudStack can do", &["listApis", "listCapabilities"]),
    required("find accounts and people", &["listAccounts", "listUsers"]),
    required("make and end API keys", &["createUser", "registerUserKeys", "getUserKeys", "updateUser", "deleteUser"]),
    of_some_releases(
        "make and end several key pairs of one user",
        &["listUserKeys", "deleteUserKeys", "queryAsyncJobResult"],
    ),
];

/// What a service account is there for.
pub const fn features(role: Role) -> &'static [Feature] {
    match role {
        Role::Reader => READER,
        Role::Enforcer => ENFORCER,
        Role::Keys => KEYS,
    }
}

/// The rules of a service account's role, in order: each API it needs is allowed, then everything is denied. The first
/// match wins, and without the last rule CloudStack would allow every API of the role's type (facts 4.6).
pub fn rules(role: Role) -> Vec<(&'static str, bool)> {
    let mut rules: Vec<(&str, bool)> =
        features(role).iter().flat_map(|feature| feature.apis).map(|api| (*api, true)).collect();
    rules.push(("*", false));
    rules
}

/// The first words of a role's description.
pub const fn purpose(role: Role) -> &'static str {
    match role {
        Role::Reader => "reads accounts and usage",
        Role::Enforcer => "locks and restores accounts",
        Role::Keys => "makes and ends API keys",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(role: Role) -> Vec<&'static str> {
        rules(role).into_iter().filter(|(_, allow)| *allow).map(|(api, _)| api).collect()
    }

    #[test]
    fn the_last_rule_denies_everything_and_no_rule_comes_twice() {
        for role in [Role::Reader, Role::Enforcer, Role::Keys] {
            let rules = rules(role);
            assert_eq!(rules.last(), Some(&("*", false)), "{role:?}");
            let mut names: Vec<&str> = rules.iter().map(|(api, _)| *api).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{role:?}");
            assert!(names.iter().all(|name| *name == "*" || name.chars().all(|c| c.is_ascii_alphanumeric())));
        }
    }

    #[test]
    fn the_reader_can_change_nothing() {
        for api in allowed(Role::Reader) {
            let reads_quota =
                api.starts_with("quota") && ["List", "Summary", "Statement"].iter().any(|end| api.ends_with(end));
            assert!(api.starts_with("list") || api.starts_with("query") || reads_quota, "{api}");
        }
    }

    #[test]
    fn nobody_may_enable_users_and_only_keys_touches_users() {
        for role in [Role::Reader, Role::Enforcer, Role::Keys] {
            assert!(!allowed(role).contains(&"enableUser"), "it would lift a suspension (facts 4.4)");
        }
        for api in ["createUser", "updateUser", "registerUserKeys", "getUserKeys", "deleteUser"] {
            assert!(!allowed(Role::Reader).contains(&api) && !allowed(Role::Enforcer).contains(&api), "{api}");
            assert!(allowed(Role::Keys).contains(&api), "{api}");
        }
        assert!(!allowed(Role::Keys).contains(&"disableAccount"));
    }
}
