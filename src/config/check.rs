//! What makes a configuration right: the type and range of every key, and the rules between keys.

use std::{net::SocketAddr, path::PathBuf};

use chrono::NaiveDate;
use chrono_tz::Tz;
use rust_decimal::Decimal;
use url::Url;

use super::{
    Access, AccountRef, Billing, Cloudstack, Config, Database, DomainRef, Enforcement, Fuse, Jobs, KeyPair, Log,
    LogFormat, LogLevel, Metrics, Problems, Scope, Secrets, Sources, Store, Web,
    layers::{Values, cut},
    mail, oidc, policy_section,
    reading::Reading,
    show,
};
use crate::{
    ids::CloudId,
    money::{Currency, Money},
    schedule::Schedule,
    secrets::Secret,
    time::Day,
};

pub(super) const SECONDS: u64 = 1;
pub(super) const MINUTES: u64 = 60;
pub(super) const HOURS: u64 = 3_600;

/// Reads, checks and assembles.
pub(super) fn load(sources: &Sources) -> Result<Config, Problems> {
    let mut reading = Reading::new(Values::read(sources));
    let config = assemble(&mut reading);
    let (values, problems) = reading.finish();
    match config {
        Some(config) if problems.is_empty() => {
            Ok(Config { printed: show::print(&values), warnings: values.warnings, ..config })
        }
        _ => Err(Problems::new(problems)),
    }
}

/// Every section is read before any of them is missed, so that all problems are told.
fn assemble(r: &mut Reading) -> Option<Config> {
    let cloudstack = cloudstack(r);
    let store = store(r);
    let billing = billing(r);
    let scope = r.list("scope.domains", domain).map(|domains| Scope { domains });
    let policy = policy_section::read(r);
    let fuse = fuse(r);
    let enforcement = enforcement(r);
    let mail = mail::mail(r);
    let access = access(r);
    let web = web(r);
    let oidc = oidc::read(r, web.as_ref().and_then(|web| web.public_url.as_ref()));
    let metrics = r.optional("metrics.listen", address).map(|listen| Metrics { listen });
    let log = log(r);
    let jobs = jobs(r, billing.as_ref().map(|billing| billing.zone));
    let secrets = secrets(r, store.as_ref());
    if let (Some(web), Some(Metrics { listen: Some(metrics) })) = (&web, &metrics)
        && web.listen == *metrics
        && metrics.port() != 0
    {
        r.complain("metrics.listen", "is the address of web.listen too; each needs its own");
    }
    if let (Some(cloudstack), Some(enforcement)) = (&cloudstack, &enforcement) {
        if enforcement.intent_deadline < cloudstack.timeout {
            r.complain("enforcement.intent_deadline_seconds", "must not be less than cloudstack.timeout_seconds");
        }
        if enforcement.lease <= enforcement.intent_deadline {
            r.complain("enforcement.lease_seconds", "must be more than enforcement.intent_deadline_seconds");
        }
    }
    Some(Config {
        cloudstack: cloudstack?,
        store: store?,
        billing: billing?,
        scope: scope?,
        policy: policy?,
        fuse: fuse?,
        enforcement: enforcement?,
        mail: mail?,
        access: access?,
        web: web?,
        oidc: oidc?,
        metrics: metrics?,
        log: log?,
        jobs: jobs?,
        secrets: secrets?,
        printed: String::new(),
        warnings: Vec::new(),
    })
}

fn cloudstack(r: &mut Reading) -> Option<Cloudstack> {
    let url = r.optional("cloudstack.url", api_url);
    let ca_file = r.optional("cloudstack.ca_file", |text| Ok(PathBuf::from(text)));
    let timeout = r.span("cloudstack.timeout_seconds", &(1..=3_600), SECONDS);
    let read_retries = r.number("cloudstack.read_retries", &(0..=20));
    let page_size = r.number("cloudstack.page_size", &(1..=10_000));
    let concurrency = r.number("cloudstack.concurrency", &(1..=64));
    let reader = key_pair(r, "cloudstack.reader");
    let enforcer = key_pair(r, "cloudstack.enforcer");
    let keys = key_pair(r, "cloudstack.keys");
    Some(Cloudstack {
        url: url?,
        ca_file: ca_file?,
        timeout: timeout?,
        read_retries: read_retries?,
        page_size: page_size?,
        concurrency: concurrency?,
        reader: reader?,
        enforcer: enforcer?,
        keys: keys?,
    })
}

/// Both halves or none; the outer None is a problem.
#[expect(clippy::option_option, reason = "a problem and an unset pair are told apart here and nowhere else")]
fn key_pair(r: &mut Reading, section: &str) -> Option<Option<KeyPair>> {
    let (api_path, secret_path) = (format!("{section}.api_key"), format!("{section}.secret_key"));
    let (api_key, secret_key) = (r.secret(&api_path), r.secret(&secret_path));
    match (api_key?, secret_key?) {
        (Some(api_key), Some(secret_key)) => Some(Some(KeyPair { api_key, secret_key })),
        (None, None) => Some(None),
        (Some(_), None) => {
            r.complain(&api_path, &format!("is set without {secret_path}; give both or none"));
            None
        }
        (None, Some(_)) => {
            r.complain(&secret_path, &format!("is set without {api_path}; give both or none"));
            None
        }
    }
}

fn store(r: &mut Reading) -> Option<Store> {
    let data_dir = r.path("store.data_dir");
    let url = r.optional("store.url", database);
    let max_connections = r.number("store.max_connections", &(1..=200));
    let data_dir = data_dir?;
    Some(Store {
        database: url?.unwrap_or_else(|| Database::Sqlite(data_dir.join("bursar.db"))),
        data_dir,
        max_connections: max_connections?,
    })
}

fn billing(r: &mut Reading) -> Option<Billing> {
    let currency = r.parsed("billing.currency", |text| Currency::from_code(text).map_err(|error| is(&error)));
    let zone = r.parsed("billing.zone", zone);
    let start = r.optional("billing.start", day);
    let tax_percent = r.parsed("billing.tax_percent", |text| percent(text, true));
    let price_book = r.path("billing.price_book");
    let correction_limit = r.optional("billing.correction_limit", amount);
    let lookback_days = r.number("billing.lookback_days", &(1..=400));
    let keep_records_days = keep_records_days(r, lookback_days);
    let how_to_pay = r.list("billing.how_to_pay", |text| {
        let plain = !text.trim().is_empty() && text.len() <= 500 && !text.chars().any(char::is_control);
        if plain {
            Ok(text.trim().to_owned())
        } else {
            Err("holds a line that is empty or longer than 500 letters".to_owned())
        }
    });
    Some(Billing {
        currency: currency?,
        zone: zone?,
        start: start?,
        tax_percent: tax_percent?,
        price_book: price_book?,
        correction_limit: correction_limit?,
        lookback_days: lookback_days?,
        keep_records_days: keep_records_days?,
        how_to_pay: how_to_pay?,
    })
}

/// Days in which an invoice may still be questioned, which needs the records of its month.
const INVOICE_REVIEW_DAYS: u32 = 35;

/// Records stay as long as late ones are looked for and invoices are reviewed (design 7.5).
fn keep_records_days(r: &mut Reading, lookback_days: Option<u32>) -> Option<u32> {
    let days = r.number("billing.keep_records_days", &(1..=36_500))?;
    let least = lookback_days?.saturating_add(INVOICE_REVIEW_DAYS);
    if days < least {
        r.complain(
            "billing.keep_records_days",
            &format!(
                "is {days} and must be at least {least}: lookback_days ({}), in which late records are looked for, and \
                 {INVOICE_REVIEW_DAYS} days in which invoices are reviewed",
                least - INVOICE_REVIEW_DAYS
            ),
        );
        return None;
    }
    Some(days)
}

fn fuse(r: &mut Reading) -> Option<Fuse> {
    let accounts = r.number("fuse.accounts", &(1..=1_000_000));
    let percent = r.parsed("fuse.percent", |text| percent(text, false));
    let running_vms = r.number("fuse.running_vms", &(1..=10_000_000));
    let second_admin = r.flag("fuse.second_admin");
    let plan_lasts = r.span("fuse.plan_hours", &(1..=720), HOURS);
    Some(Fuse {
        accounts: accounts?,
        percent: percent?,
        running_vms: running_vms?,
        second_admin: second_admin?,
        plan_lasts: plan_lasts?,
    })
}

fn enforcement(r: &mut Reading) -> Option<Enforcement> {
    let usage_grace = r.span("enforcement.usage_grace_minutes", &(0..=10_080), MINUTES);
    let clock_jump = r.span("enforcement.clock_jump_minutes", &(1..=1_440), MINUTES);
    let quarantine_percent = r.parsed("enforcement.quarantine_percent", |text| percent(text, false));
    let lease = r.span("enforcement.lease_seconds", &(10..=7_200), SECONDS);
    let intent_deadline = r.span("enforcement.intent_deadline_seconds", &(5..=3_600), SECONDS);
    let starts_at_once = r.number("enforcement.starts_at_once", &(1..=100));
    let restrict_backups = r.flag("enforcement.restrict_backups");
    Some(Enforcement {
        usage_grace: usage_grace?,
        clock_jump: clock_jump?,
        quarantine_percent: quarantine_percent?,
        lease: lease?,
        intent_deadline: intent_deadline?,
        starts_at_once: starts_at_once?,
        restrict_backups: restrict_backups?,
    })
}

fn access(r: &mut Reading) -> Option<Access> {
    let enabled = r.flag("access.enabled");
    let user_prefix = r.parsed("access.user_prefix", |text| {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        if plain && (3..=40).contains(&text.len()) {
            Ok(text.to_owned())
        } else {
            Err(format!("is \"{}\" and must be 3 to 40 of a-z, 0-9, dot, dash and underscore", cut(text)))
        }
    });
    let max_days = r.number("access.max_days", &(1..=3_650));
    let secret_shown = r.span("access.secret_shown_hours", &(1..=720), HOURS);
    let two_approvals = r.flag("access.two_approvals");
    let overlap = r.span("access.overlap_hours", &(0..=720), HOURS);
    let warn_days = r.falling("access.warn_days", &(1..=365));
    let watch_every = r.span("access.watch_minutes", &(5..=1_440), MINUTES);
    let native_pairs = r.flag("access.native_pairs");
    Some(Access {
        enabled: enabled?,
        user_prefix: user_prefix?,
        max_days: max_days?,
        secret_shown: secret_shown?,
        two_approvals: two_approvals?,
        overlap: overlap?,
        warn_days: warn_days?,
        watch_every: watch_every?,
        native_pairs: native_pairs?,
    })
}

fn web(r: &mut Reading) -> Option<Web> {
    let listen = r.parsed("web.listen", address);
    let base_path = r.text("web.base_path").and_then(|text| match base_path(&text) {
        Ok(()) => Some(text),
        Err(what) => {
            r.complain("web.base_path", &what);
            None
        }
    });
    let public_url = r.optional("web.public_url", web_url);
    let session = r.span("web.session_minutes", &(1..=60), MINUTES);
    let trusted_affinity_cookies = r.list("web.trusted_affinity_cookies", cookie);
    let admins = r.list("web.admins", |text| {
        text.parse::<CloudId>().map_err(|_| format!("holds \"{}\", which is no id of a CloudStack user", cut(text)))
    });
    let limit_kib = r.number("web.request_body_limit_kib", &(1..=65_536));
    let link = r.span("web.link_days", &(1..=366), 24 * HOURS);
    let delete_wait = r.span("web.delete_wait_days", &(1..=365), 24 * HOURS);
    Some(Web {
        listen: listen?,
        base_path: base_path?,
        public_url: public_url?,
        session: session?,
        trusted_affinity_cookies: trusted_affinity_cookies?,
        admins: admins?,
        delete_wait: delete_wait?,
        request_body_limit_bytes: usize::try_from(limit_kib?).unwrap_or(usize::MAX).saturating_mul(1_024),
        link: link?,
    })
}

fn log(r: &mut Reading) -> Option<Log> {
    let format = r.parsed("log.format", |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("is \"{}\" and must be text or json", cut(text))),
    });
    let level = r.parsed("log.level", |text| match text {
        "error" => Ok(LogLevel::Error),
        "warn" => Ok(LogLevel::Warn),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        "trace" => Ok(LogLevel::Trace),
        _ => Err(format!("is \"{}\" and must be error, warn, info, debug or trace", cut(text))),
    });
    Some(Log { format: format?, level: level? })
}

fn jobs(r: &mut Reading, billing_zone: Option<Tz>) -> Option<Jobs> {
    let own_zone = r.optional("jobs.zone", zone);
    let mut schedule = |path: &str| {
        r.optional(path, |text| {
            Schedule::parse(text).map_err(|error| format!("is \"{}\", no schedule: {error}", cut(text)))
        })
    };
    let (sync, rate, enforce) = (schedule("jobs.sync"), schedule("jobs.rate"), schedule("jobs.enforce"));
    Some(Jobs { zone: own_zone?.or(billing_zone)?, sync: sync?, rate: rate?, enforce: enforce? })
}

fn secrets(r: &mut Reading, store: Option<&Store>) -> Option<Secrets> {
    let key_file = r.optional("secrets.key_file", |text| Ok(PathBuf::from(text)))?;
    key_file.or_else(|| store.map(|store| store.data_dir.join("secret.key"))).map(|key_file| Secrets { key_file })
}

fn is(error: &dyn std::error::Error) -> String {
    format!("is wrong: {error}")
}

/// The API's address. Its text is not repeated where it may hold a password.
fn api_url(text: &str) -> Result<Url, String> {
    let url = web_url(text)?;
    if url.path() == "/" {
        return Err("has no path; CloudStack's API is found under /client/api".to_owned());
    }
    if url.path().contains("/client") && url.path().trim_end_matches('/').ends_with("/client") {
        return Err("is the address of CloudStack's pages; its API is found under /client/api".to_owned());
    }
    Ok(url)
}

pub(super) fn web_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("must begin with https:// (or http://) and a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user and password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must hold no question mark and no #".to_owned());
    }
    Ok(url)
}

/// The database's address is a secret as a whole: no part of it is repeated.
fn database(text: &str) -> Result<Database, String> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        let usable = !path.is_empty() && !path.contains([':', '?']);
        return if usable {
            Ok(Database::Sqlite(PathBuf::from(path)))
        } else {
            Err("must name a file behind sqlite:, without options".to_owned())
        };
    }
    let postgres =
        Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql") && url.path().len() > 1);
    if postgres {
        Ok(Database::Postgres(Secret::new(text)))
    } else {
        Err("must be sqlite:PATH or postgres://USER@HOST/DATABASE".to_owned())
    }
}

fn zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| format!("is \"{}\", which is no time zone by its IANA name", cut(text)))
}

fn day(text: &str) -> Result<Day, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .filter(|date| date.format("%Y-%m-%d").to_string() == text)
        .map(Day::from_date)
        .ok_or_else(|| format!("is \"{}\" and must be a date as year-month-day", cut(text)))
}

fn percent(text: &str, zero: bool) -> Result<Decimal, String> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.len() <= 12;
    let value = if plain { text.parse::<Decimal>().ok() } else { None };
    let least = if zero { "0" } else { "more than 0" };
    value
        .filter(|value| *value <= Decimal::ONE_HUNDRED && (zero || !value.is_zero()))
        .ok_or_else(|| format!("is \"{}\" and must be a decimal number, {least} and at most 100", cut(text)))
}

pub(super) fn amount(text: &str) -> Result<Money, String> {
    let amount = Money::parse(text).map_err(|error| is(&error))?;
    if amount.is_negative() { Err(format!("is {amount} and must not be negative")) } else { Ok(amount) }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("is \"{}\" and must be an IP address and a port", cut(text)))
}

fn base_path(text: &str) -> Result<(), String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./~".contains(&b));
    let rooted = text.is_empty() || text.starts_with('/') && !text.ends_with('/');
    let segments_named = text.split('/').skip(1).all(|segment| !matches!(segment, "" | "." | ".."));
    if plain && rooted && segments_named {
        Ok(())
    } else {
        Err(format!("is \"{}\" and must begin with a slash and end without one", cut(text)))
    }
}

fn cookie(text: &str) -> Result<String, String> {
    let token = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !token {
        return Err(format!("holds \"{}\", which is no name of a cookie", cut(text)));
    }
    if text.eq_ignore_ascii_case("JSESSIONID") || text.eq_ignore_ascii_case("sessionkey") {
        return Err(format!("holds {text}, which is CloudStack's own and forwarded anyhow"));
    }
    Ok(text.to_owned())
}

fn domain(text: &str) -> Result<DomainRef, String> {
    if let Ok(id) = text.parse() {
        return Ok(DomainRef::Id(id));
    }
    if is_domain_path(text) {
        Ok(DomainRef::Path(text.to_owned()))
    } else {
        Err(format!("holds \"{}\", which is neither an id nor a path from ROOT", cut(text)))
    }
}

pub(super) fn account(text: &str) -> Result<AccountRef, String> {
    text.rsplit_once('/')
        .filter(|(domain_path, name)| is_domain_path(domain_path) && !name.is_empty())
        .map(|(domain_path, name)| AccountRef { domain_path: domain_path.to_owned(), name: name.to_owned() })
        .ok_or_else(|| format!("holds \"{}\", which is no domain path from ROOT with an account's name", cut(text)))
}

fn is_domain_path(text: &str) -> bool {
    let mut segments = text.split('/');
    segments.next() == Some("ROOT") && segments.all(|segment| !segment.is_empty() && segment.trim() == segment)
}
