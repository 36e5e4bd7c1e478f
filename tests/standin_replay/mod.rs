//! Every recorded exchange with a running CloudStack 4.22 is sent to the stand-in again, in its order, by the same
//! people in the same situation. Status, headers, codes, texts and the shape of the bodies have to be the same.
//!
//! The client here is written for this test alone: it shares nothing with the product's.

mod compare;
mod faults;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bursar::{
    ids::CloudId,
    random::SeededRandom,
    secrets::Secret,
    standin::{AccountKind, Options, StandIn, State, World, totp_code},
    time::{Clock as _, ManualClock, Timestamp},
};
use chrono_tz::Tz;
use compare::{compare, cookie_shape, is_id, left_out};
use hmac::{Hmac, Mac as _};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The order of an account's machines and networks in the recorded cloud.
const MACHINES: [(&str, &[&str]); 4] = [
    ("alice", &["alice-vm0", "alice-vm1", "alice-vm2"]),
    ("bob", &["bob-vm0"]),
    ("carol", &["carol-vm0", "carol-vm1"]),
    ("erin", &["erin-vm0"]),
];

struct Answer {
    status: u16,
    content_type: String,
    cookies: Vec<String>,
    body: Value,
}

#[derive(Clone, Default)]
struct Person {
    keys: Option<(String, Secret)>,
    cookies: BTreeMap<String, String>,
    session_key: String,
}

struct Replay {
    standin: StandIn,
    clock: ManualClock,
    people: HashMap<String, Person>,
    /// Recorded ids and what they are called here.
    ids: HashMap<String, String>,
    passwords: HashMap<&'static str, String>,
    totp_secret: String,
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Tz::UTC).unwrap()
}

fn recorded() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        })
        .collect()
}

/// The cloud as it was when the recording began.
fn world(clock: &ManualClock) -> (World, HashMap<String, Person>) {
    let mut world = World::new(clock.now());
    let root = world.root_domain();
    let acme = world.add_domain(root, "acme");
    let mut people: HashMap<String, Person> = HashMap::new();
    world.set_configuration("usage.stats.job.aggregation.range", "60");
    let admin = world.admin_user();
    let keys = world.register_keys(admin);
    people.insert("admin".to_owned(), Person { keys: Some(keys), ..Person::default() });
    for (name, domain, kind) in [
        ("baremetal-system-account", root, AccountKind::User),
        ("alice", root, AccountKind::User),
        ("bob", root, AccountKind::User),
        ("carol", acme, AccountKind::User),
        ("acmeadmin", acme, AccountKind::DomainAdmin),
        ("dave", acme, AccountKind::User),
        ("erin", root, AccountKind::User),
    ] {
        let account = world.add_account(domain, name, kind);
        let email = if name.contains('-') { String::new() } else { format!("{name}@example.com") };
        let user = world.add_user(account, name, &format!("{name}-password"), &email);
        if !email.is_empty() {
            let first = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
            world.set_person(user, &first, "Tester", Some("UTC"));
        }
        let keys = (!["acmeadmin", "dave"].contains(&name)).then(|| world.register_keys(user));
        people.insert(name.to_owned(), Person { keys, ..Person::default() });
    }
    let medium = world.find_offering("Medium Instance").unwrap();
    let small = world.find_offering("Small Instance").unwrap();
    let disk = world.find_disk_offering("Small").unwrap();
    for (owner, machines) in MACHINES {
        let domain = if owner == "carol" { acme } else { root };
        let owner_id = world.find_account(domain, owner).unwrap();
        for (place, machine) in machines.iter().enumerate() {
            let offering = if place == 2 || (owner == "carol" && place == 1) { small } else { medium };
            world.deploy_vm(owner_id, machine, offering, clock.now());
        }
        world.add_volume(owner_id, &format!("{owner}-data"), disk, 0, clock.now());
    }
    (world, people)
}

impl Replay {
    async fn start() -> Self {
        let clock = ManualClock::new(at("2026-11-16T17:34:07Z"));
        let (mut world, people) = world(&clock);
        clock.set(at("2026-11-22T17:36:00Z"));
        world.run_usage_job(clock.now());
        let options =
            Options { clock: Arc::new(clock.clone()), random: Arc::new(SeededRandom::new(4)), ..Options::default() };
        let standin = StandIn::start(world, options).await.unwrap();
        let passwords = ["alice", "bob", "carol", "acmeadmin", "dave", "erin"]
            .into_iter()
            .map(|name| (name, format!("{name}-password")))
            .chain([("admin", "password".to_owned())])
            .collect();
        let mut replay = Self { standin, clock, people, ids: HashMap::new(), passwords, totp_secret: String::new() };
        replay.learn_recorded_ids();
        replay
    }

    /// Finds the recorded ids of what exists from the start, by name, in the recorded lists.
    fn learn_recorded_ids(&mut self) {
        let lists = recorded();
        let rows = |file: &str, key: &str| -> Vec<Value> {
            let (_, exchange) = lists.iter().find(|(name, _)| name.starts_with(file)).unwrap();
            let content = exchange["response"]["body"].as_object().unwrap().values().next().unwrap().clone();
            content[key].as_array().unwrap().clone()
        };
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let mut ids = Vec::new();
        self.standin.with(|world| {
            for domain in rows("038", "domain") {
                ids.push((text(&domain, "id"), world.find_domain(&text(&domain, "path")).unwrap()));
            }
            for account in rows("039", "account") {
                let domain = world.find_domain(&text(&account, "domainpath")).unwrap();
                ids.push((text(&account, "id"), world.find_account(domain, &text(&account, "name")).unwrap()));
                let user = &account["user"][0];
                ids.push((text(user, "id"), world.find_user(domain, &text(user, "username")).unwrap()));
            }
            for machine in rows("046", "virtualmachine") {
                let domain = world.find_domain(&text(&machine, "domainpath")).unwrap();
                let owner = world.find_account(domain, &text(&machine, "account")).unwrap();
                let (_, names) = MACHINES.iter().find(|(name, _)| *name == text(&machine, "account")).unwrap();
                let place = names.iter().position(|name| *name == text(&machine, "name")).unwrap();
                ids.push((text(&machine, "id"), world.machines_of(owner)[place]));
            }
            for role in rows("044", "role") {
                ids.push((text(&role, "id"), world.find_role(&text(&role, "name")).unwrap()));
            }
            for offering in rows("174", "serviceoffering") {
                ids.push((text(&offering, "id"), world.find_offering(&text(&offering, "name")).unwrap()));
            }
            ids.push((text(&rows("045", "zone")[0], "id"), world.zone_id()));
            ids.push(("f782e3b5-e698-11f1-b665-02fc00000001".to_owned(), world.template_id()));
        });
        self.ids.extend(ids.into_iter().map(|(recorded, here)| (recorded, here.to_string())));
    }

    fn account(&self, name: &str) -> CloudId {
        self.standin.with(|world| {
            let root = world.root_domain();
            let acme = world.find_domain("ROOT/acme").unwrap();
            world.find_account(root, name).or_else(|| world.find_account(acme, name)).unwrap()
        })
    }

    /// Sends a request as it stands and reads the answer.
    async fn send(&self, method: &str, path: &str, form: &str, cookies: &BTreeMap<String, String>) -> Answer {
        let url = self.standin.url();
        let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).await.unwrap();
        let jar = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let (target, body) = if method == "GET" { (format!("{path}?{form}"), "") } else { (path.to_owned(), form) };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: standin\r\nConnection: close\r\nCookie: {jar}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let all = |wanted: &str| {
            headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        Answer {
            status,
            content_type: all("content-type").concat(),
            cookies: all("set-cookie"),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    /// Calls with a signature.
    async fn signed(&self, method: &str, keys: &(String, Secret), mut parameters: BTreeMap<String, String>) -> Answer {
        let expires = self.clock.now().plus(std::time::Duration::from_mins(10)).to_cloudstack();
        for (name, value) in [
            ("apikey", keys.0.as_str()),
            ("response", "json"),
            ("signatureversion", "3"),
            ("expires", expires.as_str()),
        ] {
            parameters.insert(name.to_owned(), value.to_owned());
        }
        let unsigned: Vec<String> = parameters
            .iter()
            .map(|(name, value)| {
                let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
                format!("{name}={}", encoded.replace('+', "%20")).to_lowercase()
            })
            .collect();
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(keys.1.expose().as_bytes()).unwrap();
        mac.update(unsigned.join("&").as_bytes());
        parameters.insert("signature".to_owned(), STANDARD.encode(mac.finalize().into_bytes()));
        self.send(method, "/client/api", &encoded(&parameters), &BTreeMap::new()).await
    }

    async fn login(
        &mut self,
        name: &'static str,
        password: &str,
        domain: &str,
        jar: &BTreeMap<String, String>,
    ) -> Answer {
        let form = encoded(&BTreeMap::from([
            ("command".to_owned(), "login".to_owned()),
            ("username".to_owned(), name.to_owned()),
            ("password".to_owned(), password.to_owned()),
            ("domain".to_owned(), domain.to_owned()),
            ("response".to_owned(), "json".to_owned()),
        ]));
        let answer = self.send("POST", "/client/api/", &form, jar).await;
        if answer.status == 200 {
            let person = self.people.entry(name.to_owned()).or_default();
            person.cookies = answer
                .cookies
                .iter()
                .map(|cookie| cookie.split(';').next().unwrap().split_once('=').unwrap())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            answer.body["loginresponse"]["sessionkey"].as_str().unwrap_or_default().clone_into(&mut person.session_key);
        }
        answer
    }

    async fn log_in(&mut self, name: &'static str) {
        let domain = if ["carol", "dave", "acmeadmin"].contains(&name) { "/acme" } else { "/" };
        let password = self.passwords[name].clone();
        let answer = self.login(name, &password, domain, &BTreeMap::new()).await;
        assert_eq!(answer.status, 200, "login of {name}: {}", answer.body);
    }

    /// What happened between the recorded exchanges, before the given one.
    async fn prepare(&mut self, number: u32) {
        match number {
            50 => {
                self.log_in("admin").await;
                let dave = self.account("dave");
                self.standin.with(|world| {
                    world.lock_by_admin(dave);
                    world.set_account_state(dave, State::Enabled);
                });
            }
            100 => {
                // The rules before the last one, which denies the rest.
                let role = self.standin.with(|world| world.find_role("bursar-service")).unwrap();
                let keys = self.people["admin"].keys.clone().unwrap();
                for rule in [
                    "list*",
                    "queryAsyncJobResult",
                    "disableAccount",
                    "enableAccount",
                    "createUser",
                    "deleteUser",
                    "registerUserKeys",
                    "getUserKeys",
                    "updateUser",
                    "updateResourceLimit",
                    "startVirtualMachine",
                    "stopVirtualMachine",
                    "suspendProject",
                    "activateProject",
                ] {
                    let parameters = [
                        ("command", "createRolePermission"),
                        ("roleid", &role.to_string()),
                        ("rule", rule),
                        ("permission", "allow"),
                    ];
                    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
                    let answer = self.signed("POST", &keys, parameters.into()).await;
                    assert_eq!(answer.status, 200);
                }
            }
            101 => {
                let keys = self.standin.with(|world| {
                    let role = world.find_role("bursar-service").unwrap();
                    world.add_service_account("bursar", role)
                });
                self.people.insert("service".to_owned(), Person { keys: Some(keys), ..Person::default() });
            }
            147 => {
                let id: CloudId = self.ids["29ba700e-48ac-43fc-b45f-11071b6b0f48"].parse().unwrap();
                let made = at("2026-11-22T14:45:26Z");
                self.standin.with(|world| {
                    let small = world.find_offering("Small Instance").unwrap();
                    world.add_network(id, "pnet", made);
                    let machine = world.deploy_vm(id, "proj-vm", small, made);
                    world.stop_vm(machine, made.plus(std::time::Duration::from_secs(1)));
                });
            }
            156 | 163 | 164 | 167 => self.log_in("erin").await,
            169 | 171 => {
                let bob = self.account("bob");
                let state = if number == 169 { State::Locked } else { State::Enabled };
                self.standin.with(|world| world.set_account_state(bob, state));
            }
            184 => self.second_usage_run(),
            205 | 239 => self.log_in("alice").await,
            215 => self.log_in("acmeadmin").await,
            218 => {
                self.standin.with(|world| world.set_configuration("password.policy.minimum.length", "12"));
                self.log_in("bob").await;
            }
            220 => self.standin.with(|world| world.set_configuration("password.policy.minimum.length", "0")),
            221 => {
                for _ in 0..5 {
                    self.login("dave", "wrong", "/acme", &BTreeMap::new()).await;
                }
            }
            224 | 225 => {
                let service = self.account("bursar");
                let state = if number == 224 { State::Locked } else { State::Enabled };
                self.standin.with(|world| world.set_account_state(service, state));
                self.log_in("admin").await;
            }
            230 => self.standin.with(|world| {
                let root = world.root_domain();
                world.set_domain_configuration(root, "api.key.access", "true");
            }),
            233 => {
                let id: CloudId = self.ids["cb4079d9-e181-484e-aaed-1a93a8ee05fc"].parse().unwrap();
                let keys = self.standin.with(|world| world.register_keys(id));
                self.people.insert("key-user".to_owned(), Person { keys: Some(keys), ..Person::default() });
            }
            241 => {
                let bob = self.account("bob").to_string();
                for who in ["service", "admin"] {
                    let keys = self.people[who].keys.clone().unwrap();
                    let parameters = [("command", "disableAccount"), ("lock", "true"), ("id", bob.as_str())];
                    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
                    assert_eq!(self.signed("POST", &keys, parameters.into()).await.status, 200);
                }
            }
            _ => {}
        }
    }

    /// Usage events of 15:26 and bytes of 17:30, all of which come in after 17:00 was reported.
    fn second_usage_run(&self) {
        let (alice, bob, carol, erin) =
            (self.account("alice"), self.account("bob"), self.account("carol"), self.account("erin"));
        let project: CloudId = self.ids["29ba700e-48ac-43fc-b45f-11071b6b0f48"].parse().unwrap();
        self.standin.with(|world| {
            let late = at("2026-11-22T15:26:13Z");
            for (usage_type, name, size) in [
                (11, "lb1", None),
                (12, "pf1", None),
                (9, "alice-vm0_ROOT-4_20261122175610", Some(0)),
                (27, "vs1", Some(2 << 30)),
                (25, "vs1", Some(2 << 30)),
                (14, "vpn1", None),
            ] {
                let id = world.add_usage_resource(alice, usage_type, name, size, late);
                if [25, 27].contains(&usage_type) {
                    let vm = world.machines_of(alice)[1];
                    world.set_usage_resource_vm(alice, id, vm);
                }
            }
            for owner in [alice, bob, carol, erin, project] {
                let network = world.network_of(owner).unwrap();
                world.transfer_bytes(network, 100, 100, at("2026-11-22T17:30:00Z"));
            }
            world.late_event(at("2026-11-22T14:39:29Z"));
        });
        self.clock.set(at("2026-11-22T18:06:00Z"));
        self.standin.with(|world| {
            let now = world.now();
            world.run_usage_job(now)
        });
    }

    /// Who made the recorded call.
    fn caller(number: u32) -> &'static str {
        match number {
            64..=67 | 124 | 233 => "alice",
            101..=115 | 117 | 119..=120 | 122..=123 | 125..=141 | 145..=153 | 197..=203 | 224 | 227 | 230 => "service",
            116 | 118 | 121 | 234..=238 => "key-user",
            142..=144 | 226 | 229 => "erin",
            _ => "admin",
        }
    }

    fn session_owner(number: u32) -> &'static str {
        match number {
            71..=77 | 205..=214 | 239 => "alice",
            156..=168 => "erin",
            215..=217 => "acmeadmin",
            218 => "bob",
            _ => "admin",
        }
    }

    /// The parameters of a recorded request with the ids, passwords and codes of this cloud.
    fn parameters(&self, number: u32, request: &Value) -> BTreeMap<String, String> {
        let mut parameters: BTreeMap<String, String> = request["params"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                (name.clone(), self.ids.get(&text).cloned().unwrap_or(text))
            })
            .collect();
        parameters.insert("command".to_owned(), request["command"].as_str().unwrap().to_owned());
        let mut set = |name: &str, value: &str| {
            if let Some(held) = parameters.get_mut(name) {
                value.clone_into(held);
            }
        };
        let (new, current) = match number {
            72 => ("alice-new-password", "not-the-password"),
            75 => ("alice-password", "alice-new-password"),
            74 => ("alice-new-password", "alice-password"),
            218 => ("short", "bob-password"),
            _ => ("some-password", "alice-password"),
        };
        set("password", new);
        set("currentpassword", current);
        if number != 163 {
            set("codefor2fa", &totp_code(&self.totp_secret, self.clock.now()));
        }
        parameters
    }

    async fn exchange(&mut self, number: u32, request: &Value) -> Answer {
        let mut parameters = self.parameters(number, request);
        let method = request["method"].as_str().unwrap();
        match request["auth"].as_str().unwrap() {
            "apikey" => {
                let mut keys = self.people[Self::caller(number)].keys.clone().unwrap();
                match number {
                    59 => keys.1 = Secret::new("not the secret"),
                    60 => "not-a-key".clone_into(&mut keys.0),
                    _ => {}
                }
                self.signed(method, &keys, parameters).await
            }
            "session" => {
                let person = self.people[Self::session_owner(number)].clone();
                let key = if number == 167 { "wrong" } else { &person.session_key };
                parameters.insert("sessionkey".to_owned(), key.to_owned());
                parameters.insert("response".to_owned(), "json".to_owned());
                self.send(method, "/client/api", &encoded(&parameters), &person.cookies).await
            }
            "none" => {
                let (name, domain) = (request["params"]["username"].as_str().unwrap(), &request["params"]["domain"]);
                let name = *self.passwords.keys().find(|known| **known == name).unwrap();
                let password = if number == 70 { "wrong".to_owned() } else { self.passwords[name].clone() };
                let jar = if number == 160 { self.people[name].cookies.clone() } else { BTreeMap::new() };
                self.login(name, &password, domain.as_str().unwrap(), &jar).await
            }
            _ => {
                parameters.insert("response".to_owned(), "json".to_owned());
                self.send(method, "/client/api", &encoded(&parameters), &BTreeMap::new()).await
            }
        }
    }

    /// Learns what the exchange made: ids at the same place, keys, the second factor's secret.
    fn learn(&mut self, number: u32, recorded: &Value, here: &Value) {
        let mut pairs = Vec::new();
        pair_ids(recorded, here, &mut pairs);
        if ![12, 13].contains(&number) {
            for (old, new) in pairs {
                self.ids.entry(old).or_insert(new);
            }
        }
        if number == 157 {
            here.pointer("/setupusertwofactorauthenticationresponse/setup2fa/secretcode")
                .and_then(Value::as_str)
                .unwrap()
                .clone_into(&mut self.totp_secret);
        }
        let keys = here.pointer("/registeruserkeysresponse/userkeys").filter(|keys| !keys["secretkey"].is_null());
        if let Some(keys) = keys {
            let text = |name: &str| keys[name].as_str().unwrap().to_owned();
            let owner = match number {
                53 | 54 => "erin",
                115 | 235 => "key-user",
                _ => "alice",
            };
            self.people.entry(owner.to_owned()).or_default().keys =
                Some((text("apikey"), Secret::new(text("secretkey"))));
        }
    }
}

fn encoded(parameters: &BTreeMap<String, String>) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

fn pair_ids(recorded: &Value, here: &Value, pairs: &mut Vec<(String, String)>) {
    match (recorded, here) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                if let Some(other) = new.get(key) {
                    pair_ids(value, other, pairs);
                }
            }
        }
        (Value::String(old), Value::String(new)) if is_id(old) && is_id(new) => pairs.push((old.clone(), new.clone())),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_exchange_is_answered_alike() {
    let mut replay = Replay::start().await;
    let mut differences = Vec::new();
    for (name, exchange) in recorded() {
        let number: u32 = name[..3].parse().unwrap();
        replay.clock.advance(std::time::Duration::from_secs(1));
        replay.prepare(number).await;
        let response = &exchange["response"];
        let mut answer = replay.exchange(number, &exchange["request"]).await;
        // The recorder waited for the end of a job without recording the questions in between.
        let recorded_status = response["body"].pointer("/queryasyncjobresultresponse/jobstatus");
        for _ in 0..20 {
            let status = answer.body.pointer("/queryasyncjobresultresponse/jobstatus");
            if recorded_status == status || status != Some(&Value::from(0)) {
                break;
            }
            answer = replay.exchange(number, &exchange["request"]).await;
        }
        let mut found = Vec::new();
        if response["status"] != answer.status {
            found.push(format!("status {} instead of {}: {}", answer.status, response["status"], answer.body));
        }
        if response["content_type"] != answer.content_type {
            found.push(format!("content type {}", answer.content_type));
        }
        let recorded_cookies: Vec<String> = response["set_cookie"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cookie| cookie_shape(cookie.as_str().unwrap()))
            .collect();
        let cookies: Vec<String> = answer.cookies.iter().map(|cookie| cookie_shape(cookie)).collect();
        if recorded_cookies != cookies && !left_out(&name, "set-cookie") {
            found.push(format!("cookies {cookies:?} instead of {recorded_cookies:?}"));
        }
        compare(&name, "", &response["body"], &answer.body, &mut found);
        replay.learn(number, &response["body"], &answer.body);
        differences.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

/// What an account's recorded records of six hours say, number for number.
#[tokio::test]
async fn six_recorded_hours_of_alice_are_reported_number_for_number() {
    let replay = Replay::start().await;
    let (_, exchange) = recorded().into_iter().find(|(name, _)| name.starts_with("013")).unwrap();
    let parameters = replay.parameters(13, &exchange["request"]);
    let keys = replay.people["admin"].keys.clone().unwrap();
    let answer = replay.signed("POST", &keys, parameters).await;
    let rows = |body: &Value| -> Vec<String> {
        body["listusagerecordsresponse"]["usagerecord"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                format!(
                    "{} {} {} {} {}",
                    row["usagetype"], row["rawusage"], row["usage"], row["startdate"], row["enddate"]
                )
            })
            .collect()
    };
    assert_eq!(rows(&answer.body), rows(&exchange["response"]["body"]));
    assert_eq!(answer.body["listusagerecordsresponse"]["count"], 90);
    replay.standin.stop().await;
}
