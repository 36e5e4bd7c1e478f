//! A small CloudStack on loopback, in the shapes recorded from 4.22, for the tests of check and init.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::{
    cloudstack::testing::{NOW, Reaction, Received, Scripted},
    time::Timestamp,
};

pub(super) const ROOT: &str = "e3a4f522-e698-11f1-b665-02fc00000001";
const USER_ROLE: &str = "e7394f84-e698-11f1-b665-02fc00000001";
const ADMIN_ROLE: &str = "e739112a-e698-11f1-b665-02fc00000001";

pub(super) const ADMIN_KEY: &str = "EXAMPLE-ADMIN-KEY";

#[derive(Clone)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) role: String,
    pub(super) state: String,
    pub(super) user: String,
    pub(super) email: String,
    pub(super) key: Option<String>,
    pub(super) access: String,
}

#[derive(Clone)]
pub(super) struct Role {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) rules: Vec<(String, String)>,
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) accounts: Vec<Account>,
    pub(super) roles: Vec<Role>,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) version: String,
    pub(super) clock: Timestamp,
    pub(super) last_job: String,
    pub(super) servers: u32,
    /// APIs that listApis does not know.
    pub(super) no_apis: BTreeSet<String>,
    /// Commands that are refused with 432 for everybody.
    pub(super) denied: BTreeSet<String>,
    /// Who checks the passwords: native, ldap.
    pub(super) user_source: String,
    /// What everything is answered with instead.
    pub(super) instead: Option<Reaction>,
    ids: u32,
}

fn error(code: u16, text: &str) -> Reaction {
    let body = json!({"errorresponse": {"uuidList": [], "errorcode": code, "cserrorcode": 9999, "errortext": text}});
    Reaction::json(code, &body.to_string())
}

impl World {
    /// An administrator, a customer, and no service account.
    pub(super) fn new() -> Self {
        let mut world = Self {
            accounts: Vec::new(),
            roles: Vec::new(),
            settings: BTreeMap::new(),
            version: "4.22.0.0-SNAPSHOT".to_owned(),
            clock: NOW,
            last_job: "2026-11-22T15:59:59+0000".to_owned(),
            servers: 1,
            no_apis: BTreeSet::from(["deleteUserKeys".to_owned(), "listUserKeys".to_owned()]),
            denied: BTreeSet::new(),
            user_source: "native".to_owned(),
            instead: None,
            ids: 0,
        };
        for (id, name, kind) in [(ADMIN_ROLE, "Root Admin", "Admin"), (USER_ROLE, "User", "User")] {
            let rules = vec![("*UserKeys".to_owned(), "deny".to_owned())];
            world.roles.push(Role { id: id.to_owned(), name: name.to_owned(), kind: kind.to_owned(), rules });
        }
        for (name, value) in [
            ("enable.usage.server", "true"),
            ("usage.stats.job.aggregation.range", "60"),
            ("usage.stats.job.exec.time", "00:15"),
            ("usage.aggregation.timezone", "GMT"),
            ("encode.api.response", "false"),
            ("api.key.access", "true"),
            ("api.allowed.source.cidr.list", "0.0.0.0/0,::/0"),
            ("quota.enable.service", "false"),
            ("quota.enable.enforcement", "false"),
        ] {
            world.settings.insert(name.to_owned(), value.to_owned());
        }
        world.account("admin", ADMIN_ROLE, "admin@example.com", Some(ADMIN_KEY));
        world.account("alice", USER_ROLE, "alice@example.com", None);
        world
    }

    /// With the three service accounts as init makes them.
    pub(super) fn with_services() -> Self {
        let mut world = Self::new();
        for section in ["reader", "enforcer", "keys"] {
            let name = format!("bursar-{section}");
            let id = world.id();
            world.roles.push(Role { id: id.clone(), name: name.clone(), kind: "Admin".to_owned(), rules: Vec::new() });
            world.account(&name, &id, &format!("{name}@invalid.example"), Some(&format!("{section}-KEY")));
            world.accounts.last_mut().unwrap().access = "ENABLED".to_owned();
        }
        world
    }

    fn id(&mut self) -> String {
        self.ids += 1;
        format!("00000000-0000-4000-8000-{:012}", self.ids)
    }

    pub(super) fn account(&mut self, name: &str, role: &str, email: &str, key: Option<&str>) {
        let (id, user) = (self.id(), self.id());
        self.accounts.push(Account {
            id,
            name: name.to_owned(),
            role: role.to_owned(),
            state: "enabled".to_owned(),
            user,
            email: email.to_owned(),
            key: key.map(str::to_owned),
            access: "INHERIT".to_owned(),
        });
    }

    pub(super) fn named(&mut self, name: &str) -> &mut Account {
        self.accounts.iter_mut().find(|account| account.name == name).unwrap()
    }

    fn role(&self, id: &str) -> &Role {
        self.roles.iter().find(|role| role.id == id).unwrap()
    }

    fn kind(&self, account: &Account) -> u8 {
        u8::from(self.role(&account.role).kind == "Admin")
    }

    fn user_json(&self, account: &Account) -> Value {
        let role = self.role(&account.role);
        let mut user = json!({
            "id": account.user, "username": account.name, "firstname": account.name, "lastname": "Tester",
            "email": account.email, "state": "enabled", "account": account.name, "accountid": account.id,
            "accounttype": self.kind(account), "usersource": self.user_source, "roleid": role.id, "roletype": role.kind,
            "rolename": role.name, "domainid": ROOT, "domain": "ROOT", "apikeyaccess": account.access,
            "isdefault": account.name == "admin",
        });
        if let Some(key) = &account.key {
            user["apikey"] = json!(key);
        }
        user
    }

    fn account_json(&self, account: &Account) -> Value {
        let role = self.role(&account.role);
        json!({
            "id": account.id, "name": account.name, "accounttype": self.kind(account), "roleid": role.id,
            "roletype": role.kind, "rolename": role.name, "domainid": ROOT, "domain": "ROOT", "domainpath": "ROOT",
            "state": account.state, "user": [self.user_json(account)],
        })
    }

    fn react(&mut self, request: &Received) -> Reaction {
        self.instead.clone().unwrap_or_else(|| self.answer(request))
    }

    fn answer(&mut self, request: &Received) -> Reaction {
        let param = |name: &str| request.param(name).unwrap_or_default().to_owned();
        let caller = self.accounts.iter().find(|account| account.key.as_deref() == request.param("apikey")).cloned();
        let caller = caller.filter(|caller| caller.state == "enabled" && caller.access != "DISABLED");
        let end = Timestamp::parse_cloudstack(&param("expires"));
        let Some(caller) = caller.filter(|_| end.is_some_and(|end| end >= self.clock)) else {
            return error(401, "unable to verify user credentials and/or request signature");
        };
        let command = param("command");
        if self.denied.contains(&command) {
            return error(432, &format!("The API [{command}] does not exist or is not available for the account"));
        }
        let list = |name: &str, items: Vec<Value>| json!({"count": items.len(), name: items});
        let value = match command.as_str() {
            "listCapabilities" => {
                json!({"capability": {"cloudstackversion": self.version, "dynamicrolesenabled": true}})
            }
            "listApis" if self.no_apis.contains(&param("name")) => {
                return error(530, "Api Discovery plugin was unable to find an api by that name or process any apis");
            }
            "listApis" => list("api", vec![json!({"name": param("name"), "isasync": false, "params": []})]),
            "listAccounts" => {
                let wanted = |account: &&Account| request.param("id").is_none_or(|id| account.id == id);
                list("account", self.accounts.iter().filter(wanted).map(|a| self.account_json(a)).collect())
            }
            "listUsers" => {
                let own = request.param("listall").is_none();
                let wanted = |account: &&Account| {
                    request.param("id").is_none_or(|id| account.user == id)
                        && request.param("account").is_none_or(|name| account.name == name)
                        && (!own || account.id == caller.id)
                };
                list("user", self.accounts.iter().filter(wanted).map(|a| self.user_json(a)).collect())
            }
            "listDomains" => list("domain", vec![json!({"id": ROOT, "name": "ROOT", "level": 0, "path": "ROOT"})]),
            "listManagementServers" => list("managementserver", (0..self.servers).map(|n| json!({"id": n})).collect()),
            "listConfigurations" => {
                let name = param("name");
                self.settings
                    .get(&name)
                    .map_or(json!({}), |v| list("configuration", vec![json!({"name": name, "value": v})]))
            }
            "listUsageServerMetrics" => json!({"usageMetrics": {
                "collectiontime": "2026-11-22T17:00:00+0000", "hostname": "vm/127.0.0.1", "state": "Down",
                "lastheartbeat": "2026-11-22T16:59:36+0000", "lastsuccessfuljob": self.last_job,
            }}),
            "listRoles" => {
                let roles = self.roles.iter().map(|role| json!({"id": role.id, "name": role.name, "type": role.kind}));
                list("role", roles.collect())
            }
            "listRolePermissions" => {
                let rules = &self.role(&param("roleid")).rules;
                let rule = |(n, (rule, permission)): (usize, &(String, String))| json!({"id": format!("00000000-0000-4000-9000-{n:012}"), "rule": rule, "permission": permission});
                list("rolepermission", rules.iter().enumerate().map(rule).collect())
            }
            "createRole" => {
                let role = Role { id: self.id(), name: param("name"), kind: param("type"), rules: Vec::new() };
                self.roles.push(role.clone());
                json!({"role": {"id": role.id, "name": role.name, "type": role.kind}})
            }
            "createRolePermission" => {
                let (id, rule) = (self.id(), (param("rule"), param("permission")));
                let role = self.roles.iter_mut().find(|role| role.id == param("roleid")).unwrap();
                role.rules.push(rule.clone());
                json!({"rolepermission": {"id": id, "rule": rule.0, "permission": rule.1}})
            }
            "createAccount" => {
                self.account(&param("account"), &param("roleid"), &param("email"), None);
                json!({"account": self.account_json(self.accounts.last().unwrap())})
            }
            "getUserKeys" => {
                let key = self.accounts.iter().find(|account| account.user == param("id")).unwrap().key.clone();
                key.map_or(
                    json!({"userkeys": {"apikeyaccess": true}}),
                    |key| json!({"userkeys": {"apikey": key, "secretkey": "EXAMPLE-SECRET-KEY", "apikeyaccess": true}}),
                )
            }
            "updateUser" => {
                let account = self.accounts.iter_mut().find(|account| account.user == param("id")).unwrap();
                account.access = param("apikeyaccess").to_uppercase();
                let account = account.clone();
                json!({"user": self.user_json(&account)})
            }
            "registerUserKeys" => {
                let number = self.id();
                let account = self.accounts.iter_mut().find(|account| account.user == param("id")).unwrap();
                let key = format!("KEY-OF-{}-{number}", account.name);
                account.key = Some(key.clone());
                json!({"userkeys": {"apikey": key, "secretkey": format!("SECRET-OF-{}", account.name)}})
            }
            _ => return error(432, &format!("The API [{command}] does not exist or is not available")),
        };
        Reaction::json(200, &json!({format!("{}response", command.to_lowercase()): value}).to_string())
    }
}

/// The server, and the world behind it to look at and change.
pub(super) async fn start(world: World) -> (Scripted, Arc<Mutex<World>>) {
    let world = Arc::new(Mutex::new(world));
    let shared = Arc::clone(&world);
    let server = Scripted::answering(move |request| shared.lock().unwrap().react(request)).await;
    (server, world)
}
