//! Every command that the stand-in knows: what it takes and which role types may call it where no rule speaks.

use serde_json::{Value, json};

use super::{
    Call, accounts, apis, cloud, config, domains, events, icons, jobs, keys, limits, machines, projects, quota, roles,
    second_factor, usage, users,
};
use crate::standin::{envelope::Failure, world::World};

/// A command.
pub(crate) struct Command {
    pub name: &'static str,
    pub description: &'static str,
    pub is_async: bool,
    /// The bits of the role types.
    pub roles: u8,
    /// Name, type and whether it is required.
    pub parameters: &'static [(&'static str, &'static str, bool)],
    /// The answer's key where it is not the command's name (activateProject's has a slip of the pen).
    pub key: Option<&'static str>,
    pub run: fn(&mut Call<'_>) -> Result<Value, Failure>,
}

const ADMIN: u8 = 1;
const ADMINS: u8 = 7;
const ALL: u8 = 15;

type Run = fn(&mut Call<'_>) -> Result<Value, Failure>;
type Takes = &'static [(&'static str, &'static str, bool)];

const fn sync(name: &'static str, roles: u8, description: &'static str, parameters: Takes, run: Run) -> Command {
    Command { name, description, is_async: false, roles, parameters, key: None, run }
}

const fn job(name: &'static str, roles: u8, description: &'static str, parameters: Takes, run: Run) -> Command {
    Command { is_async: true, ..sync(name, roles, description, parameters, run) }
}

const ID: (&str, &str, bool) = ("id", "uuid", true);
const MAYBE_ID: (&str, &str, bool) = ("id", "uuid", false);
const ACCOUNT: (&str, &str, bool) = ("account", "string", false);
const DOMAIN: (&str, &str, bool) = ("domainid", "uuid", false);
const ACCOUNT_ID: (&str, &str, bool) = ("accountid", "uuid", false);
const PROJECT: (&str, &str, bool) = ("projectid", "uuid", false);
const LISTALL: (&str, &str, bool) = ("listall", "boolean", false);
const RECURSIVE: (&str, &str, bool) = ("isrecursive", "boolean", false);
const KEYWORD: (&str, &str, bool) = ("keyword", "string", false);
const NAME: (&str, &str, bool) = ("name", "string", false);
const PAGE: (&str, &str, bool) = ("page", "integer", false);
const SIZE: (&str, &str, bool) = ("pagesize", "integer", false);

const OWNED: Takes =
    &[MAYBE_ID, NAME, ACCOUNT, DOMAIN, PROJECT, LISTALL, RECURSIVE, KEYWORD, ("details", "list", false), PAGE, SIZE];

static COMMANDS: &[Command] = &[
    sync("listCapabilities", ALL, "Lists capabilities", &[DOMAIN], cloud::capabilities),
    sync("listApis", ALL, "lists all available apis on the server", &[NAME], apis::list),
    sync("listUsageTypes", ADMINS, "List Usage Types", &[], usage::types),
    sync(
        "listUsageRecords",
        ADMINS,
        "Lists usage records for accounts",
        &[
            DOMAIN,
            ("usageid", "string", false),
            ("includetags", "boolean", false),
            PROJECT,
            ("oldformat", "boolean", false),
            ("type", "long", false),
            ACCOUNT_ID,
            KEYWORD,
            ACCOUNT,
            PAGE,
            ("startdate", "date", true),
            RECURSIVE,
            SIZE,
            ("enddate", "date", true),
        ],
        usage::records,
    ),
    sync("listUsageServerMetrics", ADMIN, "Lists usage server metrics", &[], usage::metrics),
    sync("listDomains", ADMINS, "Lists domains", &[MAYBE_ID, NAME, LISTALL, KEYWORD, PAGE, SIZE], domains::list),
    sync(
        "listAccounts",
        ALL,
        "Lists accounts",
        &[MAYBE_ID, NAME, DOMAIN, ("state", "string", false), LISTALL, RECURSIVE, KEYWORD, PAGE, SIZE],
        accounts::list,
    ),
    sync(
        "createAccount",
        ADMINS,
        "Creates an account",
        &[
            ("username", "string", true),
            ("password", "string", true),
            ("firstname", "string", true),
            ("lastname", "string", true),
            ("email", "string", true),
            ACCOUNT,
            DOMAIN,
            ("roleid", "uuid", false),
            ("accounttype", "integer", false),
            ("accountid", "string", false),
            ("userid", "string", false),
            ("timezone", "string", false),
        ],
        accounts::create,
    ),
    job(
        "disableAccount",
        ADMINS,
        "Disables an account",
        &[MAYBE_ID, DOMAIN, ("lock", "boolean", true), ACCOUNT],
        accounts::disable,
    ),
    sync("enableAccount", ADMINS, "Enables an account", &[MAYBE_ID, DOMAIN, ACCOUNT], accounts::enable),
    sync(
        "lockAccount",
        ADMINS,
        "This deprecated function used to locks an account. Look for the API DisableAccount instead",
        &[("account", "string", true), ("domainid", "uuid", true)],
        accounts::lock,
    ),
    sync(
        "updateAccount",
        ADMINS,
        "Updates account information for the authenticated user",
        &[
            MAYBE_ID,
            ACCOUNT,
            DOMAIN,
            ("newname", "string", false),
            ("roleid", "uuid", false),
            ("accountdetails", "map", false),
            ("apikeyaccess", "string", false),
        ],
        accounts::update,
    ),
    sync(
        "listUsers",
        ALL,
        "Lists user accounts",
        &[
            MAYBE_ID,
            ACCOUNT,
            DOMAIN,
            ("username", "string", false),
            ("state", "string", false),
            LISTALL,
            RECURSIVE,
            PAGE,
            SIZE,
        ],
        users::list,
    ),
    sync(
        "createUser",
        ADMINS,
        "Creates a user for an account that already exists",
        &[
            ("username", "string", true),
            ("password", "string", true),
            ("firstname", "string", true),
            ("lastname", "string", true),
            ("email", "string", true),
            ("account", "string", true),
            DOMAIN,
            ("userid", "string", false),
            ("timezone", "string", false),
        ],
        users::create,
    ),
    sync("deleteUser", ADMINS, "Deletes a user for an account", &[ID], users::delete),
    sync(
        "updateUser",
        ALL,
        "Updates a user account",
        &[
            ("timezone", "string", false),
            ("currentpassword", "string", false),
            ("usersecretkey", "string", false),
            ("password", "string", false),
            ("email", "string", false),
            ("mandate2fa", "boolean", false),
            ID,
            ("userapikey", "string", false),
            ("username", "string", false),
            ("apikeyaccess", "string", false),
            ("lastname", "string", false),
            ("firstname", "string", false),
        ],
        users::update,
    ),
    job("disableUser", ADMINS, "Disables a user account", &[ID], users::disable),
    sync("enableUser", ADMINS, "Enables a user account", &[ID], users::enable),
    sync("lockUser", ADMINS, "Locks a user account", &[ID], users::lock),
    sync(
        "registerUserKeys",
        ALL,
        "This command allows a user to register for the developer API, returning a secret key and an API key.",
        &[ID],
        keys::register,
    ),
    sync(
        "getUserKeys",
        ALL,
        "This command allows the user to query the seceret and API keys for the account",
        &[ID],
        keys::get,
    ),
    sync("getUser", ADMIN, "Find user account by API key", &[("userapikey", "string", true)], keys::user_by_key),
    sync(
        "listRoles",
        ADMINS,
        "Lists dynamic roles in CloudStack",
        &[MAYBE_ID, NAME, ("type", "string", false), PAGE, SIZE],
        roles::list,
    ),
    sync(
        "createRole",
        ADMIN,
        "Creates a role",
        &[
            ("name", "string", true),
            ("type", "string", false),
            ("roleid", "uuid", false),
            ("description", "string", false),
        ],
        roles::create,
    ),
    sync(
        "createRolePermission",
        ADMIN,
        "Adds an API permission to a role",
        &[
            ("roleid", "uuid", true),
            ("rule", "string", true),
            ("permission", "string", true),
            ("description", "string", false),
        ],
        roles::permit,
    ),
    sync("listRolePermissions", ADMIN, "Lists role permissions", &[("roleid", "uuid", false)], roles::permissions),
    sync(
        "listProjects",
        ALL,
        "Lists projects and provides detailed information for listed projects",
        OWNED,
        projects::list,
    ),
    sync(
        "listProjectAccounts",
        ALL,
        "Lists project's accounts",
        &[("projectid", "uuid", true), ACCOUNT, ("role", "string", false), KEYWORD, PAGE, SIZE],
        projects::members,
    ),
    job(
        "createProject",
        ALL,
        "Creates a project",
        &[("name", "string", true), ("displaytext", "string", false), ACCOUNT, DOMAIN],
        projects::create,
    ),
    job("suspendProject", ALL, "Suspends a project", &[ID], projects::suspend),
    Command {
        key: Some("activaterojectresponse"),
        ..job("activateProject", ALL, "Activates a project", &[ID], projects::activate)
    },
    sync("listVirtualMachines", ALL, "List the virtual machines owned by the account.", OWNED, machines::list),
    job(
        "deployVirtualMachine",
        ALL,
        "Creates and automatically starts a virtual machine based on a service offering, disk offering, and template.",
        &[
            ("zoneid", "uuid", true),
            ("serviceofferingid", "uuid", true),
            ("templateid", "uuid", false),
            NAME,
            ACCOUNT,
            DOMAIN,
            PROJECT,
        ],
        machines::deploy,
    ),
    job("startVirtualMachine", ALL, "Starts a virtual machine.", &[ID], machines::start),
    job("stopVirtualMachine", ALL, "Stops a virtual machine.", &[ID, ("forced", "boolean", false)], machines::stop),
    job(
        "destroyVirtualMachine",
        ALL,
        "Destroys a virtual machine.",
        &[ID, ("expunge", "boolean", false)],
        machines::destroy,
    ),
    sync("listVolumes", ALL, "Lists all volumes.", OWNED, machines::volumes),
    sync("listPublicIpAddresses", ALL, "Lists all public IP addresses", OWNED, machines::addresses),
    sync("listZones", ALL, "Lists zones", &[MAYBE_ID, NAME, PAGE, SIZE], cloud::zones),
    sync("listServiceOfferings", ALL, "Lists all available service offerings.", OWNED, cloud::service_offerings),
    sync("listDiskOfferings", ALL, "Lists all available disk offerings.", OWNED, cloud::disk_offerings),
    sync("listNetworkOfferings", ALL, "Lists all available network offerings.", OWNED, cloud::network_offerings),
    sync(
        "listConfigurations",
        ADMIN,
        "Lists all configurations.",
        &[NAME, DOMAIN, ACCOUNT_ID, ("category", "string", false), KEYWORD, PAGE, SIZE],
        config::list,
    ),
    sync(
        "updateConfiguration",
        ADMIN,
        "Updates a configuration.",
        &[("name", "string", true), ("value", "string", false), DOMAIN, ACCOUNT_ID],
        config::update,
    ),
    sync(
        "listEvents",
        ALL,
        "A command to list events.",
        &[
            MAYBE_ID,
            ("type", "string", false),
            ("level", "string", false),
            ("startdate", "date", false),
            ("enddate", "date", false),
            ("resourceid", "uuid", false),
            ("resourcetype", "string", false),
            ACCOUNT,
            DOMAIN,
            PROJECT,
            LISTALL,
            RECURSIVE,
            PAGE,
            SIZE,
        ],
        events::list,
    ),
    sync(
        "listResourceLimits",
        ALL,
        "Lists resource limits.",
        &[ACCOUNT, DOMAIN, PROJECT, ("resourcetype", "integer", false), PAGE, SIZE],
        limits::list,
    ),
    sync(
        "updateResourceLimit",
        ADMINS,
        "Updates resource limits for an account or domain.",
        &[ACCOUNT, DOMAIN, PROJECT, ("resourcetype", "integer", true), ("max", "long", false)],
        limits::update,
    ),
    sync(
        "queryAsyncJobResult",
        ALL,
        "Retrieves the current status of asynchronous job.",
        &[("jobid", "uuid", true)],
        jobs::query,
    ),
    sync("quotaIsEnabled", ALL, "Return true if the plugin is enabled", &[], quota::is_enabled),
    sync(
        "quotaSummary",
        ALL,
        "Lists balance and quota usage for all accounts",
        &[PAGE, SIZE, DOMAIN, ACCOUNT, LISTALL, KEYWORD],
        quota::summary,
    ),
    sync(
        "quotaBalance",
        ALL,
        "Create a quota balance statement",
        &[
            ("account", "string", true),
            ("domainid", "uuid", true),
            ACCOUNT_ID,
            ("startdate", "date", false),
            ("enddate", "date", false),
        ],
        quota::balance,
    ),
    sync(
        "quotaTariffList",
        ALL,
        "Lists all quota tariff plans",
        &[("usagetype", "integer", false), PAGE, SIZE],
        quota::tariffs,
    ),
    sync(
        "quotaCredits",
        ADMIN,
        "Add +-credits to an account",
        &[
            ("account", "string", true),
            ("domainid", "uuid", true),
            ("value", "double", true),
            ("quota_enforce", "boolean", false),
            ("min_balance", "double", false),
        ],
        quota::credits,
    ),
    sync(
        "createWebhook",
        ALL,
        "Creates a Webhook",
        &[
            ("name", "string", true),
            ("payloadurl", "string", true),
            ("secretkey", "string", false),
            ("scope", "string", false),
            ("state", "string", false),
            ("sslverification", "boolean", false),
            ACCOUNT,
            DOMAIN,
            PROJECT,
        ],
        cloud::create_webhook,
    ),
    sync(
        "uploadResourceIcon",
        ALL,
        "Uploads an icon for the specified resource(s)",
        &[("resourceids", "list", true), ("resourcetype", "string", true), ("base64image", "string", true)],
        icons::upload,
    ),
    sync(
        "listResourceIcon",
        ALL,
        "Lists the resource icon for the specified resource(s)",
        &[("resourceids", "list", true), ("resourcetype", "string", true)],
        icons::list,
    ),
    sync(
        "deleteResourceIcon",
        ALL,
        "deletes the resource icon from the specified resource(s)",
        &[("resourceids", "list", true), ("resourcetype", "string", true)],
        icons::delete,
    ),
    sync(
        "listUserTwoFactorAuthenticatorProviders",
        ALL,
        "Lists user two factor authenticator providers",
        &[NAME],
        second_factor::providers,
    ),
    sync(
        "setupUserTwoFactorAuthentication",
        ALL,
        "Setup the 2FA for the user.",
        &[("provider", "string", false), ("enable", "boolean", false), ("userid", "uuid", false)],
        second_factor::set_up,
    ),
    sync(
        "validateUserTwoFactorAuthenticationCode",
        ALL,
        "Checks the 2FA code for the user.",
        &[("codefor2fa", "string", true)],
        second_factor::only_in_a_session,
    ),
    sync("createZone", ADMIN, "Creates a Zone.", &[("name", "string", true)], |_| {
        Err(Failure::runtime("The stand-in has one zone"))
    }),
    sync(
        "quotaCreditsList",
        ALL,
        "Lists quota credits of an account.",
        &[ACCOUNT_ID, DOMAIN, PROJECT, RECURSIVE, ("startdate", "date", false), ("enddate", "date", false)],
        quota::credits_list,
    ),
    sync(
        "quotaStatement",
        ALL,
        "Create a quota statement",
        &[
            ("account", "string", true),
            ("domainid", "uuid", true),
            ACCOUNT_ID,
            ("type", "integer", false),
            ("startdate", "date", true),
            ("enddate", "date", true),
        ],
        quota::statement,
    ),
    sync("listWebhooks", ALL, "Lists Webhooks", &[PAGE, SIZE], |_| Ok(json!({}))),
];

/// What stands in the place of the commands of these names where a user has several pairs.
static SEVERAL_PAIRS: &[Command] = &[
    sync(
        "registerUserKeys",
        ALL,
        "Registers an API key pair (API and secret keys) for a user.",
        &[
            ID,
            NAME,
            ("description", "string", false),
            ("startdate", "date", false),
            ("enddate", "date", false),
            ("rules", "map", false),
        ],
        keys::register_named,
    ),
    sync(
        "listUserKeys",
        ALL,
        "Lists the API key pairs (API and secret keys) of a user.",
        &[
            ("userid", "uuid", false),
            ("keypairid", "uuid", false),
            ("apikeyfilter", "string", false),
            ("showpermissions", "boolean", false),
            LISTALL,
            KEYWORD,
            PAGE,
            SIZE,
        ],
        keys::list_named,
    ),
    sync("deleteUserKeys", ALL, "Deletes a keypair from a user", &[("keypairid", "uuid", true)], keys::delete_named),
];

/// A command by its exact name.
pub(crate) fn find(world: &World, name: &str) -> Option<&'static Command> {
    all(world).into_iter().find(|command| command.name == name)
}

/// A command by its name in any case, for listApis.
pub(crate) fn find_loosely(world: &World, name: &str) -> Option<&'static Command> {
    all(world).into_iter().find(|command| command.name.eq_ignore_ascii_case(name))
}

/// Every command of this release.
pub(crate) fn all(world: &World) -> Vec<&'static Command> {
    let several: &'static [Command] = if world.several_pairs { SEVERAL_PAIRS } else { &[] };
    let plain = COMMANDS.iter().filter(|command| several.iter().all(|other| other.name != command.name));
    several.iter().chain(plain).collect()
}
