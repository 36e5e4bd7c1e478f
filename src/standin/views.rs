//! Accounts, users, domains, projects and machines as CloudStack's answers show them.

use serde_json::{Map, Value, json};

use super::{
    dates,
    world::{
        TEMPLATE_NAME, World,
        entities::{Account, PROJECT_ACCOUNT, Vm},
        limits::Used,
        machines::object,
    },
};
use crate::{ids::CloudId, time::Timestamp};

impl World {
    pub(crate) fn date(&self, at: Timestamp) -> String {
        dates::out(at, self.locale)
    }

    fn maybe_date(&self, at: Option<Timestamp>) -> Option<String> {
        at.map(|at| self.date(at))
    }

    /// `INHERIT`, `ENABLED`, `DISABLED`.
    fn access_name(access: Option<bool>) -> &'static str {
        match access {
            None => "INHERIT",
            Some(true) => "ENABLED",
            Some(false) => "DISABLED",
        }
    }

    pub(crate) fn user_view(&self, user: CloudId) -> Value {
        let Some(user) = self.users.get(user) else { return Value::Null };
        let account = self.accounts.get(user.account);
        let domain = account.and_then(|account| self.domains.get(account.domain));
        let role = account.and_then(|account| self.roles.get(account.role));
        let in_list = self.settings.global("use.secret.key.in.response") == "true";
        let secret = user.secret_key.as_ref().filter(|_| in_list).map(|secret| secret.expose().to_owned());
        json!({
            "id": user.id,
            "username": user.username,
            "firstname": user.firstname,
            "lastname": user.lastname,
            "email": user.email,
            "created": self.date(user.created),
            "state": user.state.name(),
            "account": account.map(|account| &account.name),
            "accounttype": account.map(|account| account.kind),
            "usersource": user.source,
            "roleid": role.map(|role| role.id),
            "roletype": role.map(|role| role.kind.name()),
            "rolename": role.map(|role| &role.name),
            "domainid": domain.map(|domain| domain.id),
            "domain": domain.map(|domain| &domain.name),
            "timezone": user.timezone,
            "apikey": user.api_key.as_ref().filter(|_| !self.several_pairs),
            "secretkey": secret,
            "accountid": user.account,
            "iscallerchilddomain": false,
            "isdefault": user.is_default,
            // From the set-up on, verified or not.
            "is2faenabled": user.second_factor.is_some() || user.mandate_2fa,
            "is2famandated": domain.is_some_and(|domain| {
                self.settings.is_on(domain.id, "enable.user.2fa") && self.settings.is_on(domain.id, "mandate.user.2fa")
            }),
        })
    }

    /// As listUsers shows a user to a caller: admins see the key access too.
    pub(crate) fn listed_user_view(&self, user: CloudId, caller_domain: CloudId, admin: bool) -> Value {
        let mut view = object(self.user_view(user));
        let Some(row) = self.users.get(user) else { return Value::Null };
        let below = self
            .accounts
            .get(row.account)
            .is_some_and(|account| account.domain != caller_domain && self.in_tree(account.domain, caller_domain));
        view.insert("iscallerchilddomain".to_owned(), json!(admin && below));
        if admin {
            view.insert("apikeyaccess".to_owned(), json!(Self::access_name(row.key_access)));
        }
        Value::Object(view)
    }

    pub(crate) fn account_view(&self, account: CloudId, with_access: bool) -> Value {
        let used = self.used();
        self.accounts.get(account).map_or(Value::Null, |row| {
            self.account_row(row, &used.get(&account).cloned().unwrap_or_default(), with_access)
        })
    }

    pub(crate) fn account_row(&self, account: &Account, used: &Used, with_access: bool) -> Value {
        let role = self.roles.get(account.role);
        let domain = self.domains.get(account.domain);
        let users: Vec<Value> = self.users_of(account.id).into_iter().map(|user| self.user_view(user)).collect();
        let mut view = object(json!({
            "id": account.id,
            "name": account.name,
            "accounttype": account.kind,
            "roleid": role.map(|role| role.id),
            "roletype": role.map(|role| role.kind.name()),
            "rolename": role.map(|role| &role.name),
            "domainid": account.domain,
            "domain": domain.map(|domain| &domain.name),
            "domainpath": domain.map(|domain| &domain.path),
            "receivedbytes": used.has_router.then_some(used.received_bytes),
            "sentbytes": used.has_router.then_some(used.sent_bytes),
            "vmstopped": used.stopped,
            "vmrunning": used.running,
            "state": account.state.name(),
            "created": self.maybe_date(account.created),
            "user": users,
            "isdefault": account.is_default,
            "groups": [],
        }));
        if !account.details.is_empty() {
            view.insert("accountdetails".to_owned(), Value::Object(account.details.clone()));
        }
        Self::limit_fields(&mut view, used, Some(account));
        if with_access {
            view.insert("apikeyaccess".to_owned(), json!(Self::access_name(account.key_access)));
        }
        Value::Object(view)
    }

    pub(crate) fn domain_view(&self, domain: CloudId) -> Value {
        let Some(row) = self.domains.get(domain) else { return Value::Null };
        let parent = row.parent.and_then(|parent| self.domains.get(parent));
        let mut total = Used::default();
        for (owner, used) in self.used() {
            let inside = self
                .accounts
                .get(owner)
                .is_some_and(|account| account.number > 1 && self.in_tree(account.domain, domain));
            if inside {
                total.plus(&used);
            }
        }
        let mut view = object(json!({
            "id": row.id,
            "name": row.name,
            "level": row.level,
            "parentdomainid": row.parent,
            "parentdomainname": parent.map(|parent| &parent.name),
            "haschild": self.domains.iter().any(|other| other.parent == Some(domain)),
            "path": row.path,
            "state": "Active",
            "created": self.maybe_date(row.created),
            "hasannotations": false,
        }));
        Self::limit_fields(&mut view, &total, None);
        Value::Object(view)
    }

    pub(crate) fn project_view(&self, project: CloudId) -> Value {
        let Some(row) = self.projects.get(project) else { return Value::Null };
        let account = self.accounts.get(row.account);
        let domain = account.and_then(|account| self.domains.get(account.domain));
        let used = self.used().remove(&row.account).unwrap_or_default();
        let mut view = object(json!({
            "id": row.id,
            "name": row.name,
            "displaytext": row.displaytext,
            "domainid": domain.map(|domain| domain.id),
            "domain": domain.map(|domain| &domain.name),
            "owner": [{"account": self.accounts.get(row.owner).map(|owner| &owner.name)}],
            "projectaccountname": account.map(|account| &account.name),
            "state": if row.active { "Active" } else { "Suspended" },
            "tags": [],
            "vmstopped": used.stopped,
            "vmrunning": used.running,
            "created": self.date(row.created),
        }));
        if let Some(account) = account {
            Self::limit_fields(&mut view, &used, Some(account));
        }
        // A project's answer has no limit of projects.
        for suffix in ["limit", "total", "available"] {
            view.remove(&format!("project{suffix}"));
        }
        Value::Object(view)
    }

    /// The owner's fields of a machine, volume or address.
    pub(crate) fn owner_fields(&self, owner: CloudId) -> Map<String, Value> {
        let account = self.accounts.get(owner);
        let domain = account.and_then(|account| self.domains.get(account.domain));
        let mut fields = object(json!({
            "domainid": domain.map(|domain| domain.id),
            "domain": domain.map(|domain| &domain.name),
            "domainpath": domain.map(|domain| &domain.path),
        }));
        match account.filter(|account| account.kind == PROJECT_ACCOUNT).and_then(|account| account.project) {
            Some(project) => {
                fields.insert("projectid".to_owned(), json!(project));
                fields.insert("project".to_owned(), json!(self.projects.get(project).map(|project| &project.name)));
            }
            None => {
                fields.insert("account".to_owned(), json!(account.map(|account| &account.name)));
            }
        }
        fields
    }

    /// A machine with `details=min`, as an admin or as its owner sees it.
    pub(crate) fn vm_view(&self, vm: &Vm, admin: bool) -> Map<String, Value> {
        let running = vm.power.runs();
        let user = vm.user.and_then(|user| self.users.get(user));
        let details = if vm.ever_stopped { json!({"Message.ReservedCapacityFreed.Flag": "false"}) } else { json!({}) };
        let mut view = object(json!({
            "id": vm.id,
            "name": vm.name,
            "displayname": vm.name,
            "userid": user.map(|user| user.id),
            "username": user.map(|user| &user.username),
            "created": self.date(vm.created),
            "lastupdated": self.date(vm.updated),
            "state": vm.power.name(),
            "haenable": false,
            "zoneid": self.zone.id,
            "zonename": self.zone.name,
            "hostcontrolstate": running.then_some("Enabled"),
            "guestosid": self.zone.os_type,
            "securitygroup": [],
            "nic": [],
            "hypervisor": "Simulator",
            "details": details,
            "affinitygroup": [],
            "isdynamicallyscalable": false,
            "deleteprotection": false,
            "ostypeid": self.zone.os_type,
            "osdisplayname": "CentOS 5.6 (64-bit)",
            "bootmode": (running && !vm.ever_stopped).then_some("legacy"),
            "boottype": (running && !vm.ever_stopped).then_some("Bios"),
            "pooltype": "NetworkFilesystem",
            "receivedbytes": 0,
            "sentbytes": 0,
            "tags": [],
            "hasannotations": false,
        }));
        view.append(&mut self.owner_fields(vm.owner));
        let mut more = if admin {
            object(json!({
                "hostid": running.then_some(self.zone.host),
                "hostname": running.then(|| format!("SimulatedAgent.{}", self.zone.cluster)),
                "instancename": self.instance_name(vm),
                "displayvm": true,
                "arch": "x86_64",
            }))
        } else {
            object(json!({"readonlydetails": "dataDiskController, rootDiskController"}))
        };
        view.append(&mut more);
        view
    }

    /// A machine with everything, as a finished job shows it.
    pub(crate) fn full_vm_view(&self, vm: CloudId, job: Option<CloudId>) -> Value {
        let Some(row) = self.vms.get(vm) else { return Value::Null };
        let offering = self.offerings.get(row.offering);
        let network = self.networks.get(row.network);
        let running = row.power.runs();
        let vlan = format!("vlan://{}", 1300 + network.map_or(0, |network| network.number % 100));
        let mut view = self.vm_view(row, true);
        let mut more = object(json!({
            "templateid": self.zone.template,
            "templatename": TEMPLATE_NAME,
            "templatetype": "BUILTIN",
            "templateformat": "VHD",
            "templatedisplaytext": TEMPLATE_NAME,
            "passwordenabled": false,
            "serviceofferingid": row.offering,
            "serviceofferingname": offering.map(|offering| &offering.name),
            "cpunumber": offering.map(|offering| offering.cpus),
            "cpuspeed": offering.map(|offering| offering.mhz),
            "memory": offering.map(|offering| offering.memory_mib),
            "cpuused": "10%",
            "networkkbsread": 32_768,
            "networkkbswrite": 16_384,
            "diskkbsread": 0,
            "diskkbswrite": 0,
            "memorykbs": 0,
            "memoryintfreekbs": 0,
            "memorytargetkbs": 0,
            "diskioread": 0,
            "diskiowrite": 0,
            "rootdeviceid": 0,
            "rootdevicetype": "ROOT",
            "nic": [{
                "id": row.nic,
                "networkid": row.network,
                "networkname": network.map(|network| &network.name),
                "netmask": "255.255.255.0",
                "gateway": "10.1.1.1",
                "ipaddress": row.address,
                "isolationuri": running.then_some(&vlan),
                "broadcasturi": running.then_some(&vlan),
                "traffictype": "Guest",
                "type": "Isolated",
                "isdefault": true,
                "macaddress": format!("02:03:00:d5:00:{:02x}", row.number % 256),
                "secondaryip": [],
                "extradhcpoption": [],
                "deviceid": "0",
            }],
            "ipaddress": row.address,
            "jobid": job,
            "jobstatus": job.map(|_| 0),
        }));
        view.append(&mut more);
        Value::Object(view)
    }
}
