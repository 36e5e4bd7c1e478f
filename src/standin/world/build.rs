//! Building a cloud by hand: what an administrator would have set up.

use std::collections::{BTreeMap, HashMap};

use serde_json::Map;

use super::{
    Ids, Locale, Numbers, World, Zone,
    entities::{
        Account, AccountKind, DiskOffering, Domain, Ip, NetworkOffering, Offering, PROJECT_ACCOUNT, Project, Role,
        RoleKind, Rule, SYSTEM_ACCOUNT, State, User,
    },
    next,
    settings::Settings,
    table::Table,
};
use crate::{
    ids::CloudId,
    secrets::Secret,
    standin::{faults::Faults, usage::Usage},
    time::Timestamp,
};

/// The root admin's password in a fresh cloud, as in CloudStack's own.
pub const ADMIN_PASSWORD: &str = "password";
/// The password of service accounts.
const SERVICE_PASSWORD: &str = "service-password";

/// The names of the four roles that account types stand for.
const TYPE_ROLES: [(&str, RoleKind, &str); 8] = [
    ("Root Admin", RoleKind::Admin, "Default root admin role"),
    ("Resource Admin", RoleKind::ResourceAdmin, "Default resource admin role"),
    ("Domain Admin", RoleKind::DomainAdmin, "Default domain admin role"),
    ("User", RoleKind::User, "Default user role"),
    ("Read-Only Admin - Default", RoleKind::Admin, "Default read-only admin role"),
    ("Read-Only User - Default", RoleKind::User, "Default read-only user role"),
    ("Support Admin - Default", RoleKind::Admin, "Default support admin role"),
    ("Support User - Default", RoleKind::User, "Default support user role"),
];

impl World {
    /// A fresh cloud: the ROOT domain, the root admin (user `admin`), the default roles, one zone, one template and the
    /// usual offerings. Nobody has API keys yet.
    pub fn new(start: Timestamp) -> Self {
        let mut ids = Ids { seed: *b"bursar stand-in ", counter: 0 };
        let root = ids.id();
        let zone = Zone {
            id: ids.id(),
            name: "Sandbox-sim",
            template: ids.id(),
            os_type: ids.id(),
            os_category: ids.id(),
            host: ids.id(),
            physical_network: ids.id(),
            public_network: ids.id(),
            vlan: ids.id(),
            storage: ids.id(),
            cluster: ids.id(),
            pod: ids.id(),
            management_server: ids.id(),
            token: ids.id(),
        };
        let admin = ids.id();
        let mut world = Self {
            now: start,
            ids,
            zone,
            locale: Locale { zone: chrono_tz::Tz::UTC, decimal_comma: false, quoted_dates: false },
            domains: Table::default(),
            accounts: Table::default(),
            users: Table::default(),
            roles: Table::default(),
            projects: Table::default(),
            vms: Table::default(),
            volumes: Table::default(),
            ips: Table::default(),
            networks: Table::default(),
            offerings: Table::default(),
            disk_offerings: Table::default(),
            network_offerings: Table::default(),
            numbers: Numbers {
                domain: 1,
                account: SYSTEM_ACCOUNT,
                user: 1,
                role: 1,
                project: 1,
                instance: 4,
                volume: 1,
                ip: 1,
                network: 204,
                job: 1,
                address: 2,
            },
            root,
            admin,
            events: Vec::new(),
            jobs: Table::default(),
            sessions: HashMap::new(),
            settings: Settings::default(),
            usage: Usage::default(),
            icons: HashMap::new(),
            resource_tags: HashMap::new(),
            api_keys: HashMap::new(),
            several_pairs: false,
            named_pairs: Vec::new(),
            received: Vec::new(),
            quota: super::quota::Quota::default(),
            throttle: HashMap::new(),
            faults: Faults::default(),
            job_delay_polls: 1,
            page_limit: 500,
            limit_tags: Vec::new(),
        };
        world.fill();
        world
    }

    fn fill(&mut self) {
        let (root, admin) = (self.root, self.admin);
        let number = next(&mut self.numbers.domain);
        let (name, path) = ("ROOT".to_owned(), "ROOT".to_owned());
        self.domains.push(Domain {
            id: root,
            number,
            name,
            parent: None,
            path,
            level: 0,
            created: None,
            limits: BTreeMap::new(),
        });
        for (name, kind, description) in TYPE_ROLES {
            let (id, number) = (self.ids.id(), next(&mut self.numbers.role));
            let rules = if name.starts_with("Read-Only") { reading_rules() } else { Vec::new() };
            let description = Some(description.to_owned());
            self.roles.push(Role { id, number, name: name.to_owned(), kind, description, is_default: true, rules });
        }
        let admin_role = self.find_role("Root Admin").unwrap_or(root);
        let system = self.push_account("system", root, admin_role, 1, true, None);
        self.push_system_addresses(system);
        let account = self.push_account("admin", root, admin_role, 1, true, None);
        let number = next(&mut self.numbers.user) + 1;
        self.numbers.user += 1;
        let mut user = self.blank_user(admin, number, account, "admin", ADMIN_PASSWORD);
        "Admin".clone_into(&mut user.firstname);
        "User".clone_into(&mut user.lastname);
        user.email = Some("admin@mailprovider.com".to_owned());
        user.is_default = true;
        self.users.push(user);
        self.fill_offerings();
    }

    fn fill_offerings(&mut self) {
        let created = self.now;
        for (number, name, cpus, mhz, memory_mib) in [
            (1, "Small Instance", 1, 500, 512),
            (2, "Medium Instance", 1, 1000, 1024),
            (3, "Large Instance", 4, 2000, 8192),
        ] {
            let (id, root_disk) = (self.ids.id(), self.ids.id());
            self.offerings.push(Offering {
                id,
                number,
                name: name.to_owned(),
                cpus,
                mhz,
                memory_mib,
                created,
                root_disk,
            });
        }
        for (number, name, displaytext, size_gib) in [
            (3, "Small", "Small Disk, 5 GB", 5),
            (4, "Medium", "Medium Disk, 20 GB", 20),
            (5, "Large", "Large Disk, 100 GB", 100),
            (6, "Custom", "Custom Disk", 0),
        ] {
            let id = self.ids.id();
            let (name, displaytext, customized) = (name.to_owned(), displaytext.to_owned(), size_gib == 0);
            self.disk_offerings.push(DiskOffering { id, number, name, displaytext, size_gib, customized, created });
        }
        for (number, name, displaytext) in [
            (8, "DefaultSharedNetworkOfferingWithSGService", "Offering for Shared Security group enabled networks"),
            (9, "DefaultSharedNetworkOffering", "Offering for Shared networks"),
            (
                10,
                "DefaultIsolatedNetworkOfferingWithSourceNatService",
                "Offering for Isolated networks with Source Nat service enabled",
            ),
        ] {
            let id = self.ids.id();
            let (name, displaytext) = (name.to_owned(), displaytext.to_owned());
            self.network_offerings.push(NetworkOffering { id, number, name, displaytext, created });
        }
    }

    fn push_system_addresses(&mut self, system: CloudId) {
        for (kind, name) in [("ConsoleProxy", "v-1-VM"), ("SecondaryStorageVm", "s-3-VM")] {
            let id = self.ids.id();
            let number = next(&mut self.numbers.ip);
            let address = format!("192.168.2.{}", self.numbers.address);
            self.numbers.address += 1;
            self.ips.push(Ip {
                id,
                number,
                owner: system,
                address,
                source_nat: false,
                network: None,
                system_vm: Some((kind, name.to_owned())),
                created: self.now,
                removed: None,
            });
        }
    }

    /// Puts a tag on a resource, of whatever kind.
    pub fn tag_resource(&mut self, resource: CloudId, key: &str, value: &str) {
        self.resource_tags.entry(resource.to_string()).or_default().push((key.to_owned(), value.to_owned()));
    }

    /// Adds a domain below another one.
    pub fn add_domain(&mut self, parent: CloudId, name: &str) -> CloudId {
        let (id, number) = (self.ids.id(), next(&mut self.numbers.domain));
        let (path, level) = self
            .domains
            .get(parent)
            .map_or_else(|| (name.to_owned(), 0), |above| (format!("{}/{name}", above.path), above.level + 1));
        let created = Some(self.now);
        let limits = BTreeMap::new();
        self.domains.push(Domain {
            id,
            number,
            name: name.to_owned(),
            parent: Some(parent),
            path,
            level,
            created,
            limits,
        })
    }

    /// Adds an account with the default role of its kind.
    pub fn add_account(&mut self, domain: CloudId, name: &str, kind: AccountKind) -> CloudId {
        let (role, number) = match kind {
            AccountKind::User => ("User", 0),
            AccountKind::RootAdmin => ("Root Admin", 1),
            AccountKind::DomainAdmin => ("Domain Admin", 2),
            AccountKind::ResourceAdmin => ("Resource Admin", 3),
        };
        let role = self.find_role(role).unwrap_or(domain);
        self.push_account(name, domain, role, number, false, Some(self.now))
    }

    /// Adds an account that has a role of its own.
    pub fn add_account_with_role(&mut self, domain: CloudId, name: &str, role: CloudId) -> CloudId {
        let kind = self.roles.get(role).map_or(0, |role| role.kind.account_type());
        self.push_account(name, domain, role, kind, false, Some(self.now))
    }

    fn push_account(
        &mut self,
        name: &str,
        domain: CloudId,
        role: CloudId,
        kind: u8,
        is_default: bool,
        created: Option<Timestamp>,
    ) -> CloudId {
        let (id, number) = (self.ids.id(), next(&mut self.numbers.account));
        self.accounts.push(Account {
            id,
            number,
            name: name.to_owned(),
            kind,
            role,
            domain,
            state: State::Enabled,
            created,
            removed: None,
            key_access: None,
            limits: BTreeMap::new(),
            tagged_limits: BTreeMap::new(),
            needs_cleanup: false,
            details: Map::new(),
            is_default,
            project: None,
            allowed_cidrs: None,
            quota_micros: 0,
        })
    }

    fn blank_user(&self, id: CloudId, number: u64, account: CloudId, username: &str, password: &str) -> User {
        User {
            id,
            number,
            account,
            username: username.to_owned(),
            password: Secret::new(password),
            firstname: username.to_owned(),
            lastname: username.to_owned(),
            email: None,
            timezone: None,
            state: State::Enabled,
            created: self.now,
            removed: None,
            api_key: None,
            secret_key: None,
            key_access: None,
            wrong_passwords: 0,
            second_factor: None,
            mandate_2fa: false,
            is_default: false,
            source: "native",
        }
    }

    /// Adds a user to an account.
    pub fn add_user(&mut self, account: CloudId, username: &str, password: &str, email: &str) -> CloudId {
        let id = self.ids.id();
        self.push_user(id, account, username, password, Some(email).filter(|email| !email.is_empty()))
    }

    pub(crate) fn push_user(
        &mut self,
        id: CloudId,
        account: CloudId,
        username: &str,
        password: &str,
        email: Option<&str>,
    ) -> CloudId {
        let number = next(&mut self.numbers.user);
        let mut user = self.blank_user(id, number, account, username, password);
        user.email = email.map(str::to_owned);
        self.users.push(user)
    }

    /// Sets what a person is called and where they live (`Europe/Vienna`).
    pub fn set_person(&mut self, user: CloudId, firstname: &str, lastname: &str, timezone: Option<&str>) {
        if let Some(user) = self.users.get_mut(user) {
            firstname.clone_into(&mut user.firstname);
            lastname.clone_into(&mut user.lastname);
            user.timezone = timezone.map(str::to_owned);
        }
    }

    /// Gives a user a new key pair; the old one, if any, is worthless at once.
    pub fn register_keys(&mut self, user: CloudId) -> (String, Secret) {
        let (api_key, secret_key) = (self.ids.key(), Secret::new(self.ids.key()));
        self.set_keys(user, &api_key, &secret_key);
        (api_key, secret_key)
    }

    pub(crate) fn set_keys(&mut self, user: CloudId, api_key: &str, secret_key: &Secret) {
        let Some(row) = self.users.get_mut(user) else { return };
        if let Some(old) = row.api_key.replace(api_key.to_owned()) {
            self.api_keys.remove(&old);
        }
        row.secret_key = Some(secret_key.clone());
        self.api_keys.insert(api_key.to_owned(), user);
    }

    /// Puts a rule before all others of a role.
    pub fn add_first_rule(&mut self, role: CloudId, pattern: &str, allow: bool) {
        if let Some(row) = self.roles.get_mut(role) {
            row.rules.insert(0, Rule { pattern: pattern.to_owned(), allow });
        }
    }

    /// Adds a role; rules are tried in the given order, `true` allows. A rule may hold `*`.
    pub fn add_role(&mut self, name: &str, kind: RoleKind, rules: &[(&str, bool)]) -> CloudId {
        let (id, number) = (self.ids.id(), next(&mut self.numbers.role));
        let rules =
            rules.iter().map(|(pattern, allow)| Rule { pattern: (*pattern).to_owned(), allow: *allow }).collect();
        self.roles.push(Role { id, number, name: name.to_owned(), kind, description: None, is_default: false, rules })
    }

    /// Adds an account in the ROOT domain with one user of the same name and keys: a service account.
    pub fn add_service_account(&mut self, name: &str, role: CloudId) -> (String, Secret) {
        let account = self.add_account_with_role(self.root, name, role);
        let user = self.add_user(account, name, SERVICE_PASSWORD, "");
        self.register_keys(user)
    }

    /// Adds a project with its own account, owned by an account.
    pub fn add_project(&mut self, owner: CloudId, name: &str) -> CloudId {
        let (id, number) = (self.ids.id(), next(&mut self.numbers.project));
        let domain = self.accounts.get(owner).map_or(self.root, |account| account.domain);
        let role = self.find_role("User").unwrap_or(domain);
        let account = self.push_account(
            &format!("PrjAcct-{name}-{number}"),
            domain,
            role,
            PROJECT_ACCOUNT,
            false,
            Some(self.now),
        );
        if let Some(row) = self.accounts.get_mut(account) {
            row.project = Some(id);
        }
        self.projects.push(Project {
            id,
            number,
            name: name.to_owned(),
            displaytext: name.to_owned(),
            owner,
            account,
            members: Vec::new(),
            active: true,
            created: self.now,
        })
    }

    /// Adds another account to a project, as addAccountToProject does.
    pub fn add_project_member(&mut self, project: CloudId, account: CloudId) {
        if let Some(row) = self.projects.get_mut(project) {
            row.members.push(account);
        }
    }

    /// Gives a project to another account.
    pub fn set_project_owner(&mut self, project: CloudId, owner: CloudId) {
        if let Some(project) = self.projects.get_mut(project) {
            project.owner = owner;
        }
    }

    /// Locks an account the way an administrator does by hand, with its event.
    pub fn lock_by_admin(&mut self, account: CloudId) {
        self.lock_by(self.admin, account);
    }

    /// Locks an account by hand in the name of any user, with its event.
    pub fn lock_by(&mut self, user: CloudId, account: CloudId) {
        let about = self.about_account("ACCOUNT.DISABLE", account);
        if let Some(row) = self.accounts.get_mut(account).filter(|row| row.state == State::Enabled) {
            row.state = State::Locked;
        }
        self.job_events(&about, user, account, LOCK_SCHEDULED, Some(LOCK_STARTED));
    }

    /// Disables an account the way an administrator does by hand, with its event; its machines are stopped.
    pub fn disable_by_admin(&mut self, account: CloudId) {
        let about = self.about_account("ACCOUNT.DISABLE", account);
        let (admin, now) = (self.admin, self.now);
        self.set_account_state(account, State::Disabled);
        for machine in self.running_machines(account) {
            self.stop_vm(machine, now);
        }
        self.job_events(&about, admin, account, LOCK_SCHEDULED, Some("Disabling account"));
    }

    /// Enables an account the way an administrator does by hand, with its event.
    pub fn enable_by_admin(&mut self, account: CloudId) {
        let about = self.about_account("ACCOUNT.ENABLE", account);
        self.set_account_state(account, State::Enabled);
        let admin = self.admin;
        self.completed_event(&about, admin, "Successfully completed enabling account.");
    }

    /// Gives an account another name.
    pub fn rename_account(&mut self, account: CloudId, name: &str) {
        if let Some(account) = self.accounts.get_mut(account) {
            name.clone_into(&mut account.name);
        }
    }

    /// Suspends a project the way an administrator does by hand, with its event; its machines stop.
    pub fn suspend_project_by_admin(&mut self, project: CloudId) {
        let account = self.owner_account(project);
        if let Some(row) = self.projects.get_mut(project) {
            row.active = false;
        }
        self.set_account_state(account, State::Disabled);
        let now = self.now;
        for machine in self.running_machines(account) {
            self.stop_vm(machine, now);
        }
        let about = self.about_project("PROJECT.SUSPEND", project);
        self.project_events(&about, self.admin, ("Suspending project", "Suspending project."));
    }

    /// Activates a project the way an administrator does by hand, with its event.
    pub fn activate_project_by_admin(&mut self, project: CloudId) {
        let account = self.owner_account(project);
        if let Some(row) = self.projects.get_mut(project) {
            row.active = true;
        }
        self.set_account_state(account, State::Enabled);
        let about = self.about_project("PROJECT.ACTIVATE", project);
        self.project_events(&about, self.admin, ("Activating project", "Activating project."));
    }

    /// How many questions about a job are answered with "still running" from now on.
    pub fn set_job_delay(&mut self, polls: u32) {
        self.job_delay_polls = polls;
    }

    /// Sets an account's state without any event or stop, as the quota plugin does.
    pub fn set_account_state(&mut self, account: CloudId, state: State) {
        if let Some(account) = self.accounts.get_mut(account) {
            account.state = state;
        }
    }

    /// An account's state; None for an unknown one.
    pub fn account_state(&self, account: CloudId) -> Option<State> {
        self.accounts.get(account).map(|account| account.state)
    }

    /// Sets a user's state.
    pub fn set_user_state(&mut self, user: CloudId, state: State) {
        if let Some(user) = self.users.get_mut(user) {
            user.state = state;
        }
    }

    /// Sets a user's own key access (None inherits).
    pub fn set_user_key_access(&mut self, user: CloudId, access: Option<bool>) {
        if let Some(user) = self.users.get_mut(user) {
            user.key_access = access;
        }
    }

    /// Sets a user's address, as somebody who edits the user would.
    pub fn set_user_email(&mut self, user: CloudId, email: &str) {
        if let Some(user) = self.users.get_mut(user) {
            user.email = Some(email.to_owned());
        }
    }

    /// Where the person's password comes from (`native`, `ldap`, `saml2`, `oauth2`).
    pub fn set_user_source(&mut self, user: CloudId, source: &'static str) {
        if let Some(user) = self.users.get_mut(user) {
            user.source = source;
        }
    }

    /// Removes a user; its keys are worthless.
    pub fn remove_user(&mut self, user: CloudId) {
        let now = self.now;
        if let Some(row) = self.users.get_mut(user) {
            row.removed = Some(now);
            let pairs: Vec<CloudId> =
                self.named_pairs.iter().filter(|pair| pair.user == user).map(|pair| pair.id).collect();
            for pair in pairs {
                self.remove_pair(pair);
            }
        }
        if let Some(key) = self.users.get_mut(user).and_then(|row| row.api_key.take()) {
            self.api_keys.remove(&key);
        }
    }

    /// Removes an account with its users and everything it runs.
    pub fn remove_account(&mut self, account: CloudId, at: Timestamp) {
        for user in self.users_of(account) {
            self.remove_user(user);
        }
        for vm in self.machines_of(account) {
            self.destroy_vm(vm, at);
        }
        let open: Vec<CloudId> =
            self.usage.spans.get(&account).into_iter().flatten().map(|span| span.resource).collect();
        for resource in open {
            self.usage.close(account, &[], resource, at);
        }
        if let Some(row) = self.accounts.get_mut(account) {
            row.removed = Some(at);
        }
    }

    /// Sets a global setting; at once, where CloudStack would want a restart.
    pub fn set_configuration(&mut self, name: &str, value: &str) {
        self.settings.set_global(name, value);
    }

    /// Sets a setting for one domain.
    pub fn set_domain_configuration(&mut self, domain: CloudId, name: &str, value: &str) {
        self.settings.set_domain(domain, name, value);
    }

    /// Sets the addresses an account may call from (`10.0.0.0/8,…`); None is the global list.
    pub fn set_allowed_cidrs(&mut self, account: CloudId, cidrs: Option<&str>) {
        if let Some(account) = self.accounts.get_mut(account) {
            account.allowed_cidrs = cidrs.map(str::to_owned);
        }
    }

    /// Sets one limit of an account or project, as an administrator does; -1 is none.
    pub fn set_limit(&mut self, owner: CloudId, number: u8, max: i64) {
        let owner = self.owner_account(owner);
        if let Some(account) = self.accounts.get_mut(owner) {
            account.limits.insert(number, max);
        }
    }

    /// The limits of an account or project that are its own, by kind.
    pub fn own_limits(&self, owner: CloudId) -> BTreeMap<u8, i64> {
        self.accounts.get(self.owner_account(owner)).map(|account| account.limits.clone()).unwrap_or_default()
    }

    /// Every limit of an account or project as it works, inherited ones too, by kind.
    pub fn limits_of(&self, owner: CloudId) -> BTreeMap<u8, i64> {
        let Some(account) = self.accounts.get(self.owner_account(owner)) else { return BTreeMap::new() };
        super::limits::KINDS.iter().map(|kind| (kind.number, Self::limit(account, kind))).collect()
    }

    /// Lets limits be narrowed to these host tags (`resource.limit.host.tags`).
    pub fn set_limit_tags(&mut self, tags: &[&str]) {
        self.limit_tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    }

    /// Whether a project is active; None for an unknown one.
    pub fn project_is_active(&self, project: CloudId) -> Option<bool> {
        self.projects.get(project).map(|project| project.active)
    }

    /// Whether an account was removed; None for an unknown one.
    pub fn is_removed(&self, account: CloudId) -> Option<bool> {
        self.accounts.get(account).map(|account| account.removed.is_some())
    }

    /// Sets an account's balance in the quota plugin, in millionths.
    pub fn set_quota_balance(&mut self, account: CloudId, micros: i64) {
        if let Some(account) = self.accounts.get_mut(account) {
            account.quota_micros = micros;
        }
    }
}

/// The description of the first row of a lock or disable.
pub(crate) const LOCK_SCHEDULED: &str = "disabling account: null in domain: null";
/// The description of the second row of a lock.
pub(crate) const LOCK_STARTED: &str = "Locking account. Account Name: null, Domain Id:null";

fn reading_rules() -> Vec<Rule> {
    [("list*", true), ("get*", true), ("query*", true), ("*", false)]
        .into_iter()
        .map(|(pattern, allow)| Rule { pattern: pattern.to_owned(), allow })
        .collect()
}
