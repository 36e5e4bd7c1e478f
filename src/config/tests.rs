use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use chrono_tz::Tz;
use tempfile::TempDir;

use super::*;

mod mail;

/// Nothing of the environment.
const NO_VARIABLES: [(&str, &str); 0] = [];

/// A folder with a configuration file in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn with_file(text: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write("bursar.toml", text);
        place
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<Config, Problems> {
        Config::load(&Sources::new(Some(self.path("bursar.toml")), variables.iter().copied()).with_fallback(None))
    }

    /// All problems as a person reads them, with the folder's name taken out.
    fn problems(&self, variables: &[(&str, &str)]) -> String {
        let problems = self.load(variables).unwrap_err().to_string();
        problems.replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// The configuration as printed, with the folder's name taken out.
    fn printed(&self, variables: &[(&str, &str)]) -> String {
        self.load(variables).unwrap().print().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn load(text: &str) -> Config {
    Place::with_file(text).load(&[]).unwrap()
}

/// The problems of a file without the heading.
fn problems(text: &str) -> String {
    let all = Place::with_file(text).problems(&[]);
    all.split_once('\n').unwrap().1.to_owned()
}

/// The problems of variables without the heading.
fn problems_of(variables: &[(&str, &str)]) -> String {
    let all = Place::with_file("").problems(variables);
    all.split_once('\n').unwrap().1.to_owned()
}

#[test]
fn the_defaults_are_right_and_typed() {
    let config = Config::load(&Sources::none()).unwrap();
    assert!(config.cloudstack.url.is_none() && config.cloudstack.reader.is_none());
    assert_eq!(config.cloudstack.timeout, Duration::from_mins(1));
    assert!(matches!(&config.store.database, Database::Sqlite(path) if path == Path::new("/var/lib/bursar/bursar.db")));
    assert_eq!(config.billing.currency.code(), "EUR");
    assert_eq!(config.billing.zone, Tz::UTC);
    assert_eq!(config.billing.start, None);
    assert_eq!(config.policy.default_limit, None);
    assert_eq!(config.policy.ladder.notify_percent, [50, 80, 90, 100]);
    assert_eq!(config.policy.ladder.notify_days_left, [7, 2]);
    assert_eq!(config.policy.ladder.restore_minimum, Money::parse("1.00").unwrap());
    assert_eq!(config.policy.ladder.warning_before, Duration::from_hours(48));
    assert_eq!(config.fuse.percent, Decimal::TWO);
    assert_eq!(config.web.listen, "127.0.0.1:8093".parse().unwrap());
    assert_eq!(config.web.request_body_limit_bytes, 256 * 1024);
    assert_eq!(config.metrics.listen, Some("127.0.0.1:9093".parse().unwrap()));
    assert_eq!((config.log.format, config.log.level), (LogFormat::Text, LogLevel::Info));
    assert_eq!(config.jobs.zone, Tz::UTC);
    assert_eq!(config.jobs.sync.unwrap().as_str(), "*/10 * * * *");
    assert_eq!(config.secrets.key_file, Path::new("/var/lib/bursar/secret.key"));
    assert!(config.warnings.is_empty());
}

#[test]
fn every_key_is_taken_from_a_file() {
    let config = load(
        r#"
        [cloudstack]
        url = "https://cloud.example.com/client/api"
        ca_file = "/etc/ca.pem"
        [cloudstack.reader]
        api_key = "reader-api"
        secret_key = "reader-secret"
        [store]
        data_dir = "/srv/bursar"
        [billing]
        currency = "JPY"
        zone = "Europe/Vienna"
        start = "2026-01-01"
        tax_percent = "19.5"
        [scope]
        domains = ["ROOT/acme", "6f0c1f4e-2f4c-4b0e-9d0a-0c6f1f0e5a11"]
        [policy]
        default_limit = "100.00"
        notify_percent = []
        lock_enabled = false
        protected_accounts = ["ROOT/acme/alice", "ROOT/admin"]
        [web]
        base_path = ""
        public_url = "https://cloud.example.com"
        trusted_affinity_cookies = ["SERVERID"]
        admins = ["6f0c1f4e-2f4c-4b0e-9d0a-0c6f1f0e5a11"]
        [metrics]
        listen = ""
        [log]
        format = "json"
        level = "debug"
        [jobs]
        enforce = ""
        "#,
    );
    assert_eq!(config.cloudstack.url.unwrap().as_str(), "https://cloud.example.com/client/api");
    assert_eq!(config.cloudstack.reader.unwrap().secret_key.expose(), "reader-secret");
    assert!(config.cloudstack.enforcer.is_none());
    assert!(matches!(&config.store.database, Database::Sqlite(path) if path == Path::new("/srv/bursar/bursar.db")));
    assert_eq!(config.secrets.key_file, Path::new("/srv/bursar/secret.key"));
    assert_eq!(config.billing.start.unwrap().to_string(), "2026-01-01");
    assert_eq!(config.billing.tax_percent, Decimal::new(195, 1));
    let id: CloudId = "6f0c1f4e-2f4c-4b0e-9d0a-0c6f1f0e5a11".parse().unwrap();
    assert_eq!(config.scope.domains, [DomainRef::Path("ROOT/acme".to_owned()), DomainRef::Id(id)]);
    assert_eq!(config.policy.default_limit, Some(Money::parse("100").unwrap()));
    assert!(config.policy.ladder.notify_percent.is_empty() && !config.policy.ladder.lock.enabled);
    let account = |domain_path: &str, name: &str| AccountRef { domain_path: domain_path.into(), name: name.into() };
    assert_eq!(config.policy.protected_accounts, [account("ROOT/acme", "alice"), account("ROOT", "admin")]);
    assert_eq!(config.web.base_path, "");
    assert_eq!(config.web.admins, [id]);
    assert_eq!(config.metrics.listen, None);
    assert_eq!(config.jobs.zone, Tz::Europe__Vienna, "billing's zone where jobs have none");
    assert_eq!(config.jobs.enforce, None);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let place = Place::with_file("[cloudstack]\npage_size = 100\nconcurrency = 4\n");
    let config = place
        .load(&[
            ("BURSAR_CLOUDSTACK_CONCURRENCY", "8"),
            ("BURSAR_POLICY_NOTIFY_PERCENT", "70, 100"),
            ("BURSAR_SCOPE_DOMAINS", "ROOT/acme,ROOT/pilot"),
            ("BURSAR_POLICY_LOCK_ENABLED", "false"),
            ("BURSAR_TEST_POSTGRES_URL", "none of the configuration's"),
            ("HOME", "/root"),
        ])
        .unwrap();
    assert_eq!(config.cloudstack.timeout, Duration::from_mins(1));
    assert_eq!((config.cloudstack.page_size, config.cloudstack.concurrency), (100, 8));
    assert_eq!(config.policy.ladder.notify_percent, [70, 100]);
    assert_eq!(config.scope.domains.len(), 2);
    assert!(!config.policy.ladder.lock.enabled);
}

#[test]
fn the_file_is_the_one_named_first() {
    let place = Place::with_file("[cloudstack]\npage_size = 1\n");
    let by_variable = place.write("variable.toml", "[cloudstack]\npage_size = 2\n");
    place.write("fallback.toml", "[cloudstack]\npage_size = 3\n");
    let page_size = |sources: Sources| Config::load(&sources).unwrap().cloudstack.page_size;
    let variable = [("BURSAR_CONFIG", by_variable.as_str())];
    let fallback = Some(place.path("fallback.toml"));
    let argument = Some(place.path("bursar.toml"));
    assert_eq!(page_size(Sources::new(argument, variable).with_fallback(fallback.clone())), 1);
    assert_eq!(page_size(Sources::new(None, variable).with_fallback(fallback.clone())), 2);
    assert_eq!(page_size(Sources::new(None, [("BURSAR_CONFIG", "")]).with_fallback(fallback.clone())), 3);
    assert_eq!(page_size(Sources::new(None, NO_VARIABLES).with_fallback(fallback)), 3);
    assert_eq!(page_size(Sources::new(None, NO_VARIABLES).with_fallback(Some(place.path("missing.toml")))), 500);
}

#[test]
fn a_named_file_must_be_readable() {
    let place = Place::with_file("");
    let missing = place.path("missing.toml");
    let told = |sources: Sources| {
        let text = Config::load(&sources.with_fallback(None)).unwrap_err().to_string();
        text.replace(&format!("{}", place.folder.path().display()), "DIR")
    };
    assert_eq!(
        told(Sources::new(Some(missing.clone()), NO_VARIABLES)),
        "the configuration has a problem:\n\
         - DIR/missing.toml: the configuration file can not be read: No such file or directory (os error 2)\n      \
         for example: --config /etc/bursar/bursar.toml"
    );
    assert_eq!(
        told(Sources::new(None, [("BURSAR_CONFIG", missing.to_str().unwrap())])),
        "the configuration has a problem:\n\
         - environment BURSAR_CONFIG: names DIR/missing.toml, which can not be read: No such file or directory (os error 2)\n      \
         for example: BURSAR_CONFIG=/etc/bursar/bursar.toml"
    );
    assert!(told(Sources::new(Some(place.folder.path().to_owned()), NO_VARIABLES)).contains("it is a folder"));
}

#[test]
fn ten_mistakes_are_told_at_once_each_with_its_place_and_a_way_out() {
    let place = Place::with_file(
        r#"[cloudstack]
url = "https://cloud.example.com"
timeout_second = 30
page_size = 0
[cloudstack.reader]
api_key = "half-a-pair"
[billing]
currency = "euro"
tax_percent = 20
[policy]
notify_percent = [50, 90, 80]
[web]
base_path = "/bursar/"
[job]
sync = "@daily"
"#,
    );
    let variables = [("BURSAR_BILLING_ZONE", "Vienna"), ("BURSAR_WEB_LISTEM", "127.0.0.1:80")];
    assert_eq!(
        place.problems(&variables),
        r#"the configuration has 11 problems:
- bursar.toml:2: cloudstack.url has no path; CloudStack's API is found under /client/api
      for example: url = "https://cloud.example.com/client/api"
- bursar.toml:3: there is no key cloudstack.timeout_second; did you mean cloudstack.timeout_seconds?
- bursar.toml:4: cloudstack.page_size is 0 and must be from 1 to 10000
      for example: page_size = 500
- bursar.toml:6: cloudstack.reader.api_key is set without cloudstack.reader.secret_key; give both or none
      for example: api_key_file = "/etc/bursar/reader.api-key"
- bursar.toml:8: billing.currency is wrong: "euro" is not a currency code of ISO 4217, such as EUR
      for example: currency = "EUR"
- bursar.toml:9: billing.tax_percent must be a text in quotes, not a whole number
      for example: tax_percent = "0"
- bursar.toml:11: policy.notify_percent must be in rising order, no number twice
      for example: notify_percent = [50, 80, 90, 100]
- bursar.toml:13: web.base_path is "/bursar/" and must begin with a slash and end without one
      for example: base_path = "/client/api/bursar"
- bursar.toml:14: there is no section [job]; did you mean [jobs]?
- environment BURSAR_BILLING_ZONE: billing.zone is "Vienna", which is no time zone by its IANA name
      for example: BURSAR_BILLING_ZONE=UTC
- environment BURSAR_WEB_LISTEM: there is no such setting; did you mean BURSAR_WEB_LISTEN?"#
    );
}

#[test]
fn text_that_is_no_toml_is_told_with_its_line_and_without_its_values() {
    let told =
        problems("[cloudstack]\npage_size = 10\n[cloudstack.reader]\nsecret_key = hunter2\napi_key = \"hunter3\n");
    assert!(told.starts_with("- bursar.toml:4: this is not TOML: "), "{told}");
    assert!(told.contains("\n- bursar.toml:5: this is not TOML: "), "{told}");
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(!told.contains("hunter"), "{told}");
    let twice = problems("[log]\nlevel = \"info\"\nlevel = \"warn\"\n");
    assert_eq!(twice, "- bursar.toml:3: this is not TOML: duplicate key");
}

#[test]
fn names_that_do_not_exist_are_told_with_what_may_be_meant() {
    assert_eq!(
        problems(
            "page_size = 100\n[store]\nlisten = \"x\"\ncolour = \"red\"\n[store.reader]\na = 1\n[web]\nlisen = \"x\"\n"
        ),
        "- bursar.toml:1: there is no key page_size; did you mean cloudstack.page_size?\n\
         - bursar.toml:3: there is no key store.listen; did you mean web.listen?\n\
         - bursar.toml:4: there is no key store.colour; the keys of [store] are data_dir, url, max_connections\n\
         - bursar.toml:5: there is no section [store.reader]\n\
         - bursar.toml:8: there is no key web.lisen; did you mean web.listen?"
    );
    assert_eq!(problems_of(&[("BURSAR_COLOUR", "red")]), "- environment BURSAR_COLOUR: there is no such setting");
}

#[test]
fn values_of_another_shape_are_told() {
    assert_eq!(
        problems(
            "log = 1\n[cloudstack]\nurl = 1\npage_size = \"many\"\nconcurrency = 1.5\n[policy]\nlock_enabled = \"yes\"\n\
             default_limit = [1]\nnotify_percent = [\"a\"]\n[billing]\nstart = 2026-01-01\n[scope]\ndomains = \"ROOT\"\n"
        ),
        "- bursar.toml:1: log is a section, not a value\n      for example: [log]\n\
         - bursar.toml:3: cloudstack.url must be a text in quotes, not a whole number\n      \
         for example: url = \"https://cloud.example.com/client/api\"\n\
         - bursar.toml:4: cloudstack.page_size must be a whole number, not a text\n      for example: page_size = 500\n\
         - bursar.toml:5: cloudstack.concurrency must be a whole number, not a number with a fraction\n      \
         for example: concurrency = 2\n\
         - bursar.toml:7: policy.lock_enabled must be true or false, not a text\n      for example: lock_enabled = true\n\
         - bursar.toml:8: policy.default_limit must be a text in quotes, not a list\n      \
         for example: default_limit = \"100.00\"\n\
         - bursar.toml:9: policy.notify_percent must be a list of whole numbers, not a list of something else\n      \
         for example: notify_percent = [50, 80, 90, 100]\n\
         - bursar.toml:11: billing.start must be a text in quotes, not a date\n      for example: start = \"2026-01-01\"\n\
         - bursar.toml:13: scope.domains must be a list of texts, not a text\n      \
         for example: domains = [\"ROOT/acme\", \"ROOT/pilot\"]"
    );
    assert_eq!(
        problems_of(&[
            ("BURSAR_CLOUDSTACK_PAGE_SIZE", "many"),
            ("BURSAR_POLICY_LOCK_ENABLED", "yes"),
            ("BURSAR_POLICY_NOTIFY_PERCENT", "50;80"),
        ]),
        "- environment BURSAR_CLOUDSTACK_PAGE_SIZE: cloudstack.page_size must be a whole number, not \"many\"\n      \
         for example: BURSAR_CLOUDSTACK_PAGE_SIZE=500\n\
         - environment BURSAR_POLICY_LOCK_ENABLED: policy.lock_enabled must be true or false, not \"yes\"\n      \
         for example: BURSAR_POLICY_LOCK_ENABLED=true\n\
         - environment BURSAR_POLICY_NOTIFY_PERCENT: policy.notify_percent must be whole numbers with commas between, \
         not \"50;80\"\n      for example: BURSAR_POLICY_NOTIFY_PERCENT=50,80,90,100"
    );
}

/// For one wrong value: what is told of it, without place and example.
fn told_of(section: &str, line: &str) -> String {
    let all = problems(&format!("[{section}]\n{line}\n"));
    let first = all.lines().next().unwrap();
    first.strip_prefix("- bursar.toml:2: ").unwrap_or(first).to_owned()
}

#[test]
fn values_that_make_no_sense_are_told() {
    let table = [
        ("cloudstack", "url = \"cloud.example.com\"", "cloudstack.url is no address: relative URL without a base"),
        (
            "cloudstack",
            "url = \"ftp://a.example/x\"",
            "cloudstack.url must begin with https:// (or http://) and a host",
        ),
        ("cloudstack", "url = \"https://u:p@a.example/x\"", "cloudstack.url must hold no user and password"),
        ("cloudstack", "url = \"https://a.example/x?y\"", "cloudstack.url must hold no question mark and no #"),
        (
            "cloudstack",
            "url = \"https://a.example/client/\"",
            "cloudstack.url is the address of CloudStack's pages; its API is found under /client/api",
        ),
        ("cloudstack", "read_retries = -1", "cloudstack.read_retries is -1 and must be from 0 to 20"),
        ("store", "data_dir = \"\"", "store.data_dir must not be empty"),
        ("store", "url = \"sqlite:\"", "store.url must name a file behind sqlite:, without options"),
        ("store", "url = \"sqlite::memory:\"", "store.url must name a file behind sqlite:, without options"),
        ("store", "url = \"mysql://u:pw@h/d\"", "store.url must be sqlite:PATH or postgres://USER@HOST/DATABASE"),
        ("billing", "start = \"01.01.2026\"", "billing.start is \"01.01.2026\" and must be a date as year-month-day"),
        ("billing", "start = \"2026-02-30\"", "billing.start is \"2026-02-30\" and must be a date as year-month-day"),
        (
            "billing",
            "tax_percent = \"-1\"",
            "billing.tax_percent is \"-1\" and must be a decimal number, 0 and at most 100",
        ),
        ("fuse", "percent = \"0\"", "fuse.percent is \"0\" and must be a decimal number, more than 0 and at most 100"),
        ("scope", "domains = [\"acme\"]", "scope.domains holds \"acme\", which is neither an id nor a path from ROOT"),
        ("scope", "domains = [\"ROOT/a\", \"ROOT/a\"]", "scope.domains holds \"ROOT/a\" twice"),
        ("policy", "default_limit = \"-5\"", "policy.default_limit is -5.00 and must not be negative"),
        (
            "policy",
            "default_limit = \"5,00\"",
            "policy.default_limit is wrong: \"5,00\" is not an amount; write a plain decimal number such as 104.20",
        ),
        ("policy", "notify_percent = [0]", "policy.notify_percent must hold numbers from 1 to 1000"),
        ("policy", "notify_days_left = [2, 7]", "policy.notify_days_left must be in falling order, no number twice"),
        ("policy", "stop_after_days = 400", "policy.stop_after_days is 400 and must be from 0 to 365"),
        (
            "policy",
            "quiet_hours = \"8-7\"",
            "policy.quiet_hours is \"8-7\" and must be two times of day such as 20:00-07:00",
        ),
        (
            "policy",
            "quiet_days = [\"someday\"]",
            "policy.quiet_days holds \"someday\"; days are mon, tue, wed, thu, fri, sat and sun",
        ),
        ("policy", "on_drift = \"fight\"", "policy.on_drift is \"fight\" and must be leave or suspend"),
        (
            "policy",
            "protected_accounts = [\"alice\"]",
            "policy.protected_accounts holds \"alice\", which is no domain path from ROOT with an account's name",
        ),
        (
            "access",
            "user_prefix = \"B!\"",
            "access.user_prefix is \"B!\" and must be 3 to 40 of a-z, 0-9, dot, dash and underscore",
        ),
        ("web", "listen = \"localhost\"", "web.listen is \"localhost\" and must be an IP address and a port"),
        ("web", "base_path = \"/a//b\"", "web.base_path is \"/a//b\" and must begin with a slash and end without one"),
        ("web", "admins = [\"alice\"]", "web.admins holds \"alice\", which is no id of a CloudStack user"),
        (
            "web",
            "trusted_affinity_cookies = [\"a b\"]",
            "web.trusted_affinity_cookies holds \"a b\", which is no name of a cookie",
        ),
        (
            "web",
            "trusted_affinity_cookies = [\"SessionKey\"]",
            "web.trusted_affinity_cookies holds SessionKey, which is CloudStack's own and forwarded anyhow",
        ),
        (
            "metrics",
            "listen = \"127.0.0.1:8093\"",
            "metrics.listen is the address of web.listen too; each needs its own",
        ),
        ("log", "format = \"xml\"", "log.format is \"xml\" and must be text or json"),
        ("log", "level = \"loud\"", "log.level is \"loud\" and must be error, warn, info, debug or trace"),
        ("jobs", "zone = \"CEST\"", "jobs.zone is \"CEST\", which is no time zone by its IANA name"),
        (
            "jobs",
            "sync = \"0 * * * * *\"",
            "jobs.sync is \"0 * * * * *\", no schedule: a schedule has five fields (minute, hour, day of month, month, \
             weekday), this one has 6",
        ),
        (
            "enforcement",
            "lease_seconds = 60",
            "enforcement.lease_seconds must be more than enforcement.intent_deadline_seconds",
        ),
        (
            "enforcement",
            "intent_deadline_seconds = 30",
            "enforcement.intent_deadline_seconds must not be less than cloudstack.timeout_seconds",
        ),
    ];
    for (section, line, expected) in table {
        assert_eq!(told_of(section, line), expected, "{line}");
    }
}

#[test]
fn secrets_come_from_files_too() {
    let place = Place::with_file("");
    let api = place.write("api", "the-api-key\n");
    let secret = place.write("secret", "the-secret-key\r\n");
    place.write(
        "bursar.toml",
        &format!(
            "[cloudstack.keys]\napi_key_file = \"{api}\"\nsecret_key_file = \"{}\"\n",
            place.path("none").display()
        ),
    );
    let config = place.load(&[("BURSAR_CLOUDSTACK_KEYS_SECRET_KEY_FILE", &secret)]);
    // The file's own path is wrong, which must not be hidden by the variable.
    assert!(config.unwrap_err().to_string().contains("secret_key_file names "));
    place.write("bursar.toml", &format!("[cloudstack.keys]\napi_key_file = \"{api}\"\n"));
    let config = place.load(&[("BURSAR_CLOUDSTACK_KEYS_SECRET_KEY_FILE", &secret)]).unwrap();
    let pair = config.cloudstack.keys.unwrap();
    assert_eq!((pair.api_key.expose(), pair.secret_key.expose()), ("the-api-key", "the-secret-key"));
    assert!(config.warnings.is_empty());
}

#[test]
fn what_is_wrong_with_a_secret_is_told_without_it() {
    let place = Place::with_file("");
    let empty = place.write("empty", "\n");
    let odd = place.write("odd", "hunter2 hunter3\n");
    place.write(
        "bursar.toml",
        &format!(
            "[cloudstack.reader]\napi_key = \"hunter2\"\napi_key_file = \"{odd}\"\nsecret_key_file = \"{empty}\"\n\
             [cloudstack.enforcer]\nsecret_key_file = \"{odd}\"\n[cloudstack.keys]\napi_key = 17\nsecret_key = \"hunter2\"\n"
        ),
    );
    assert_eq!(
        place.problems(&[
            ("BURSAR_STORE_URL_FILE", "/does/not/exist"),
            ("BURSAR_CLOUDSTACK_ENFORCER_API_KEY", "hunter2")
        ]),
        r#"the configuration has 5 problems:
- bursar.toml:2: cloudstack.reader.api_key is given twice, as itself and as api_key_file; keep one
      for example: api_key_file = "/etc/bursar/reader.api-key"
- bursar.toml:4: cloudstack.reader.secret_key_file names empty, which is empty
- bursar.toml:6: cloudstack.enforcer.secret_key holds blanks, line breaks or odd characters
      for example: secret_key_file = "/etc/bursar/enforcer.secret-key"
- bursar.toml:8: cloudstack.keys.api_key must be a text in quotes, not a whole number
      for example: api_key_file = "/etc/bursar/keys.api-key"
- environment BURSAR_STORE_URL_FILE: store.url_file names /does/not/exist, which can not be read: No such file or directory (os error 2)
      for example: BURSAR_STORE_URL=postgres://bursar@db.example.com/bursar"#
    );
    assert_eq!(
        problems_of(&[("BURSAR_CLOUDSTACK_READER_SECRET_KEY", "hunter2")]),
        "- environment BURSAR_CLOUDSTACK_READER_SECRET_KEY: cloudstack.reader.secret_key is set without \
         cloudstack.reader.api_key; give both or none\n      \
         for example: BURSAR_CLOUDSTACK_READER_SECRET_KEY_FILE=/etc/bursar/reader.secret-key"
    );
}

#[test]
fn a_later_layer_replaces_a_secret_whichever_way_it_was_given() {
    let place = Place::with_file("");
    let old = place.write("old", "old\n");
    place.write("bursar.toml", &format!("[cloudstack.keys]\napi_key_file = \"{old}\"\nsecret_key = \"kept\"\n"));
    let config = place.load(&[("BURSAR_CLOUDSTACK_KEYS_API_KEY", "new")]).unwrap();
    assert_eq!(config.cloudstack.keys.unwrap().api_key.expose(), "new");
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    let place = Place::with_file("[cloudstack.keys]\napi_key = \"a\"\n[store]\nurl = \"postgres://u@h:1/d\"\n");
    let secret = place.write("secret", "s\n");
    let open = |name: &str| fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    open("secret");
    open("bursar.toml");
    let config = place.load(&[("BURSAR_CLOUDSTACK_KEYS_SECRET_KEY_FILE", &secret)]).unwrap();
    let file = place.path("bursar.toml").display().to_string();
    assert_eq!(
        config.warnings(),
        [
            format!("{file} holds cloudstack.keys.api_key and is readable by everybody; chmod o-r it"),
            format!("{secret} holds cloudstack.keys.secret_key and is readable by everybody; chmod o-r it"),
        ]
    );
}

#[test]
fn what_is_printed_tells_the_origin_of_each_value_and_no_secret() {
    let place = Place::with_file(
        "[cloudstack]\npage_size = 100\n[cloudstack.reader]\napi_key = \"hunter2\"\n\
         [store]\nurl = \"postgres://bursar:hunter2@db.example.com:5432/bursar?sslmode=require\"\n",
    );
    let secret = place.write("secret", "hunter3\n");
    let printed = place.printed(&[
        ("BURSAR_CLOUDSTACK_READER_SECRET_KEY_FILE", &secret),
        ("BURSAR_CLOUDSTACK_KEYS_API_KEY", "hunter4"),
        ("BURSAR_CLOUDSTACK_KEYS_SECRET_KEY", "hunter5"),
        ("BURSAR_SCOPE_DOMAINS", "ROOT/acme"),
    ]);
    let part = printed.split("[billing]").next().unwrap();
    assert_eq!(
        part,
        r#"[cloudstack]
url = "" # default
ca_file = "" # default
timeout_seconds = 60 # default
read_retries = 3 # default
page_size = 100 # bursar.toml:2
concurrency = 2 # default

[cloudstack.reader]
api_key = "…set…" # bursar.toml:4
secret_key_file = "secret" # environment BURSAR_CLOUDSTACK_READER_SECRET_KEY_FILE

[cloudstack.enforcer]
api_key = "" # unset
secret_key = "" # unset

[cloudstack.keys]
api_key = "…set…" # environment BURSAR_CLOUDSTACK_KEYS_API_KEY
secret_key = "…set…" # environment BURSAR_CLOUDSTACK_KEYS_SECRET_KEY

[store]
data_dir = "/var/lib/bursar" # default
url = "postgres://bursar:…set…@db.example.com:5432/bursar?sslmode=require" # bursar.toml:6
max_connections = 8 # default

"#
    );
    assert!(printed.contains("domains = [\"ROOT/acme\"] # environment BURSAR_SCOPE_DOMAINS\n"));
    assert!(!printed.contains("hunter"));
    let _: toml::Table = printed.parse().unwrap();
}

#[test]
fn a_password_among_the_options_of_an_address_is_not_printed() {
    let printed = |url: &str| {
        let place = Place::with_file(&format!("[store]\nurl = \"{url}\"\n"));
        place
            .printed(&[])
            .lines()
            .find(|line| line.starts_with("url = ") && !line.contains("default"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(printed("postgres://h/d?user=u&password=hunter2"), "url = \"postgres://h/d\" # bursar.toml:2");
    assert_eq!(printed("postgres://u@h:1/d?a=b"), "url = \"postgres://u@h:1/d?a=b\" # bursar.toml:2");
    assert_eq!(printed("sqlite:/srv/b.db"), "url = \"sqlite:/srv/b.db\" # bursar.toml:2");
}

#[test]
fn no_debug_output_shows_a_secret() {
    let config = load(
        "[cloudstack.reader]\napi_key = \"hunter1\"\nsecret_key = \"hunter2\"\n\
         [cloudstack.enforcer]\napi_key = \"hunter3\"\nsecret_key = \"hunter4\"\n\
         [cloudstack.keys]\napi_key = \"hunter5\"\nsecret_key = \"hunter6\"\n\
         [store]\nurl = \"postgres://u:hunter7@h/d\"\n\
         [mail]\nusername = \"billing\"\npassword = \"hunter8 with blanks\"\n",
    );
    assert!(matches!(&config.store.database, Database::Postgres(url) if url.expose().contains("hunter7")));
    for text in [format!("{config:?}"), format!("{config:#?}"), config.print().to_owned()] {
        assert!(!text.contains("hunter"), "{text}");
    }
}

#[test]
fn variables_that_are_no_text_are_told() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};
    let value = OsString::from_vec(vec![0x66, 0xff]);
    let sources = Sources::new(None, [(OsString::from("BURSAR_LOG_LEVEL"), value)]).with_fallback(None);
    assert_eq!(
        Config::load(&sources).unwrap_err().to_string(),
        "the configuration has a problem:\n- environment BURSAR_LOG_LEVEL: log.level must be UTF-8 text\n      \
         for example: BURSAR_LOG_LEVEL=info"
    );
}

#[test]
fn a_file_too_large_to_be_a_configuration_is_refused() {
    let place = Place::with_file(&"#".repeat(1024 * 1024 + 1));
    assert!(place.problems(&[]).contains("it is larger than 1048576 bytes"));
}

#[test]
fn the_built_in_file_given_as_a_file_changes_nothing() {
    let given = load(include_str!("../../config/bursar.toml"));
    let without_origins = |text: &str| {
        text.lines().map(|line| line.split(" # ").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let built_in = Config::load(&Sources::none()).unwrap();
    assert_eq!(without_origins(given.print()), without_origins(built_in.print()));
}

#[test]
fn every_example_is_a_right_value() {
    for key in &schema::schema().keys {
        // The other half of a pair, and a real file for what is read as one.
        if key.secret && key.path != "store.url" {
            continue;
        }
        // What goes along with it.
        let along = if key.section == "mail" { mail::set_up_without(&key.name) } else { String::new() };
        let text = format!("[{}]\n{along}{}\n", key.section, key.example_line());
        let loaded = Place::with_file(&text).load(&[]);
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
        let variable = key.example_variable();
        let (name, value) = variable.split_once('=').unwrap();
        let loaded = Place::with_file(&format!("[{}]\n{along}", key.section)).load(&[(name, value)]);
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
    }
}

#[test]
fn the_documentation_lists_what_there_is() {
    let written = fs::read_to_string("docs/configuration.md").unwrap_or_default();
    assert!(
        written == reference(),
        "docs/configuration.md is old; run: cargo run -- config reference > docs/configuration.md"
    );
}

#[test]
fn records_are_kept_for_as_long_as_they_may_be_asked_for() {
    let loaded = load("[billing]\nlookback_days = 40\nkeep_records_days = 75\n");
    assert_eq!(loaded.billing.keep_records_days, 75);
    let told = problems("[billing]\nlookback_days = 40\nkeep_records_days = 74\n");
    assert!(told.contains("billing.keep_records_days is 74 and must be at least 75"), "{told}");
    assert!(told.contains("lookback_days (40)"), "{told}");
    assert_eq!(Config::load(&Sources::none()).unwrap().billing.keep_records_days, 400);
}

#[test]
fn the_ladder_of_the_defaults_is_the_one_that_is_documented() {
    let ladder = Config::load(&Sources::none()).unwrap().policy.ladder;
    let days = |rule: &crate::policy::Rule| (rule.enabled, rule.percent, rule.delay.as_secs() / 86_400);
    assert_eq!(days(&ladder.restrict), (true, Some(100), 0));
    assert_eq!(days(&ladder.lock), (true, Some(100), 3));
    assert_eq!(days(&ladder.stop), (true, Some(100), 10));
    assert_eq!((ladder.delete_after, ladder.respite), (None, Duration::from_hours(24)));
    assert_eq!((ladder.quiet, ladder.on_drift), (crate::policy::Quiet::default(), crate::policy::OnDrift::Leave));
}

#[test]
fn what_enforcement_may_do_at_once_and_waits_for_by_default_is_as_designed() {
    let config = Config::load(&Sources::none()).unwrap();
    assert_eq!((config.fuse.accounts, config.fuse.running_vms), (5, 50));
    assert_eq!(config.enforcement.usage_grace, Duration::from_hours(2), "beyond two ranges of the usage job");
    assert_eq!(config.enforcement.quarantine_percent, Decimal::from(5));
    assert!(!config.enforcement.restrict_backups, "snapshots and backups stay possible under a restriction");
}

#[test]
fn a_class_differs_in_the_keys_of_its_section() {
    let config = load(
        "[policy]\nstop_after_days = 20\n[class.gold]\nlock_after_days = 14\nquiet_days = [\"sat\", \"sun\"]\n\
         time_zone = \"Europe/Vienna\"\n[class.trial]\nstop_enabled = false\n",
    );
    let gold = config.policy.classes["gold"].over(&config.policy.ladder);
    assert_eq!((gold.lock.delay, gold.stop.delay), (Duration::from_hours(14 * 24), Duration::from_hours(20 * 24)));
    assert_eq!((gold.quiet.days.len(), gold.zone), (2, Some(Tz::Europe__Vienna)));
    assert!(!config.policy.classes["trial"].over(&config.policy.ladder).stop.enabled);
    assert!(config.print().contains("[class.gold]\nlock_after_days = 14 # "), "{}", config.print());
}

#[test]
fn what_is_wrong_with_a_class_is_told_with_its_line() {
    assert_eq!(
        problems(
            "[class.gold]\nlock_afterdays = 14\nrestore_minimum = \"-1\"\nlock_enabled = \"yes\"\ndefault_limit = \"5\"\n\
             [class.Gold]\n[class.bare]\nstop_percent = 0\n[class]\nsilver = 3\n"
        ),
        "- bursar.toml:2: there is no key class.gold.lock_afterdays; did you mean class.gold.lock_after_days?\n\
         - bursar.toml:3: class.gold.restore_minimum is -1.00 and must not be negative\n\
         - bursar.toml:4: class.gold.lock_enabled must be true or false, not a text\n\
         - bursar.toml:5: class.gold.default_limit can not differ by class; it stands in [policy] for the whole cloud\n\
         - bursar.toml:6: a class can not be named \"Gold\": use up to 40 of a-z, 0-9, dash and underscore, and not \"none\"\n      \
         for example: [class.gold]\n\
         - bursar.toml:8: [class.bare] contradicts itself: stop has no threshold: give stop_percent, stop_available or \
         stop_days_left, or set stop_enabled to false\n\
         - bursar.toml:10: class.silver is a section, not a value\n      for example: [class.gold]"
    );
}
