//! The global and domain settings that the stand-in obeys or shows.

use std::collections::{BTreeMap, HashMap};

use crate::ids::CloudId;

/// What listConfigurations says about a setting besides its value.
#[derive(Debug)]
pub(crate) struct Definition {
    pub name: &'static str,
    pub default: &'static str,
    pub category: &'static str,
    /// `group/subgroup`.
    pub group: &'static str,
    pub component: &'static str,
    pub kind: &'static str,
    pub dynamic: bool,
    /// May be set for a domain (`d`) or an account (`a`) too.
    pub scopes: &'static str,
    pub description: &'static str,
}

const fn define(
    name: &'static str,
    default: &'static str,
    kind: &'static str,
    component: &'static str,
    description: &'static str,
) -> Definition {
    Definition {
        name,
        default,
        category: "Advanced",
        group: "Miscellaneous/Others",
        component,
        kind,
        dynamic: true,
        scopes: "",
        description,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a table is built from it at compile time")]
const fn fixed(definition: Definition, group: &'static str, category: &'static str) -> Definition {
    Definition { group, category, dynamic: false, ..definition }
}

#[expect(clippy::needless_pass_by_value, reason = "a table is built from it at compile time")]
const fn in_domain(definition: Definition, group: &'static str, category: &'static str) -> Definition {
    Definition { group, category, scopes: "d", ..definition }
}

const MS: &str = "management-server";
const AM: &str = "AccountManager";
const PP: &str = "PasswordPolicyImpl";
const SECURITY: &str = "Management Server/Security";
const USAGE: &str = "Usage Server/Usage";
const API: &str = "Management Server/API";

/// Every setting that the stand-in knows.
pub(crate) const DEFINITIONS: &[Definition] = &[
    fixed(
        define(
            "usage.stats.job.aggregation.range",
            "1440",
            "Number",
            MS,
            "The range of time for aggregating the user statistics specified in minutes (e.g. 1440 for daily, 60 for hourly.",
        ),
        USAGE,
        "Usage",
    ),
    fixed(
        define("usage.stats.job.exec.time", "00:15", "String", MS, "The time at which the usage job runs."),
        USAGE,
        "Usage",
    ),
    fixed(
        define("usage.aggregation.timezone", "GMT", "String", MS, "The zone in which usage days begin."),
        USAGE,
        "Usage",
    ),
    fixed(define("usage.execution.timezone", "", "String", MS, "The zone of the job's time."), USAGE, "Usage"),
    fixed(define("enable.usage.server", "true", "Boolean", MS, "Whether usage is collected."), USAGE, "Usage"),
    fixed(define("default.page.size", "500", "Number", MS, "The largest and usual page of a list."), API, "Advanced"),
    define("job.expire.minutes", "1440", "Number", "AsyncJobManager", "How long jobs are kept."),
    in_domain(
        define(
            "api.key.access",
            "true",
            "Boolean",
            AM,
            "Determines whether API (api-key/secret-key) access is allowed or not. Editable only by Root Admin.",
        ),
        API,
        "System",
    ),
    in_domain(
        define(
            "enable.user.2fa",
            "false",
            "Boolean",
            AM,
            "Determines whether two factor authentication is enabled or not. This can also be configured at domain level.",
        ),
        "Miscellaneous/Others",
        "Advanced",
    ),
    in_domain(
        define("mandate.user.2fa", "false", "Boolean", AM, "Whether everybody must have a second factor."),
        "Miscellaneous/Others",
        "Advanced",
    ),
    in_domain(
        define("user.2fa.issuer", "CloudStack", "String", AM, "The issuer that authenticator apps show."),
        "Miscellaneous/Others",
        "Advanced",
    ),
    in_domain(
        define("user.2fa.default.provider", "totp", "String", AM, "The provider when none is named."),
        "Miscellaneous/Others",
        "Advanced",
    ),
    in_domain(
        define(
            "password.policy.minimum.length",
            "0",
            "Number",
            PP,
            "Minimum length that the user's password must have. The value 0 means the user's password can have any length.",
        ),
        SECURITY,
        "Advanced",
    ),
    in_domain(
        define("password.policy.minimum.digits", "0", "Number", PP, "Least number of digits in a password."),
        SECURITY,
        "Advanced",
    ),
    in_domain(
        define("password.policy.minimum.uppercase.letters", "0", "Number", PP, "Least number of capitals."),
        SECURITY,
        "Advanced",
    ),
    in_domain(
        define("password.policy.minimum.lowercase.letters", "0", "Number", PP, "Least number of small letters."),
        SECURITY,
        "Advanced",
    ),
    in_domain(
        define("password.policy.minimum.special.characters", "0", "Number", PP, "Least number of other characters."),
        SECURITY,
        "Advanced",
    ),
    in_domain(
        define(
            "password.policy.allowPasswordToContainUsername",
            "true",
            "Boolean",
            PP,
            "Whether a password may contain the user's name.",
        ),
        SECURITY,
        "Advanced",
    ),
    in_domain(define("password.policy.regex", ".+", "String", PP, "What a password must match."), SECURITY, "Advanced"),
    fixed(
        define("enable.secure.session.cookie", "false", "Boolean", MS, "Whether the session cookie is marked secure."),
        API,
        "Advanced",
    ),
    define("api.sessionkey.cookie.samesite", "Lax", "String", MS, "SameSite of the cookie with the session key."),
    define(
        "api.sessionkey.check.locations",
        "CookieAndParameter",
        "String",
        MS,
        "Where the session key is looked for.",
    ),
    define("incorrect.login.attempts.allowed", "5", "Number", MS, "Wrong passwords before a user is disabled."),
    fixed(
        define("quota.enable.service", "true", "Boolean", "QUOTA-PLUGIN", "Whether quota is calculated."),
        USAGE,
        "Advanced",
    ),
    define(
        "quota.enable.enforcement",
        "false",
        "Boolean",
        "QUOTA-PLUGIN",
        "Whether accounts without credit are locked.",
    ),
    define("quota.currency.symbol", "$", "String", "QUOTA-PLUGIN", "The symbol in quota answers."),
    fixed(define("api.throttling.enabled", "false", "Boolean", MS, "Whether calls are limited."), API, "Advanced"),
    fixed(define("api.throttling.interval", "1", "Number", MS, "The span of the limit in seconds."), API, "Advanced"),
    fixed(define("api.throttling.max", "25", "Number", MS, "Calls allowed in the span."), API, "Advanced"),
    fixed(
        define(
            "enforce.post.requests.and.timestamps",
            "false",
            "Boolean",
            MS,
            "Whether changes must be POST and expire.",
        ),
        API,
        "Advanced",
    ),
    define("api.source.cidr.checks.enabled", "true", "Boolean", AM, "Whether source addresses are checked."),
    Definition {
        scopes: "a",
        ..define("api.allowed.source.cidr.list", "0.0.0.0/0,::/0", "CSV", AM, "Addresses that may call the API.")
    },
    define("use.secret.key.in.response", "false", "Boolean", AM, "Whether lists show secret keys."),
    define("account.cleanup.interval", "86400", "Number", MS, "Seconds between cleanups of accounts."),
    define("allow.user.view.all.domain.accounts", "false", "Boolean", MS, "Whether users see their domain's accounts."),
    fixed(
        define("integration.api.port", "0", "Number", MS, "Port of the API without authentication."),
        API,
        "Advanced",
    ),
    fixed(define("encode.api.response", "false", "Boolean", MS, "Whether strings are URL-encoded."), API, "Advanced"),
];

/// The values that differ from the defaults.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    global: BTreeMap<String, String>,
    domains: HashMap<(CloudId, String), String>,
}

impl Settings {
    pub(crate) fn definition(name: &str) -> Option<&'static Definition> {
        DEFINITIONS.iter().find(|definition| definition.name == name)
    }

    pub(crate) fn global(&self, name: &str) -> &str {
        self.global
            .get(name)
            .map(String::as_str)
            .or_else(|| Self::definition(name).map(|definition| definition.default))
            .unwrap_or_default()
    }

    /// The value for a domain: its own, else the global one.
    pub(crate) fn domain(&self, domain: CloudId, name: &str) -> &str {
        self.domains.get(&(domain, name.to_owned())).map_or_else(|| self.global(name), String::as_str)
    }

    pub(crate) fn is_on(&self, domain: CloudId, name: &str) -> bool {
        self.domain(domain, name).eq_ignore_ascii_case("true")
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.global(name).parse().unwrap_or(0)
    }

    pub(crate) fn set_global(&mut self, name: &str, value: &str) {
        self.global.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn set_domain(&mut self, domain: CloudId, name: &str, value: &str) {
        self.domains.insert((domain, name.to_owned()), value.to_owned());
    }
}
