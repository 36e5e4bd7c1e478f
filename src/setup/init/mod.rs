//! Makes the service accounts with an administrator's key, each with a role that allows what it needs and nothing else.
//!
//! Promises: looks at everything before it changes anything; uses what an earlier run has left only where that is exactly
//! what this one would make; replaces no key pair that may be in use unless told to; keeps the administrator's key
//! nowhere. Key pairs are made last, so that a run that fails earlier leaves none behind that nobody has seen.

mod file;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;

pub use self::file::{WriteError, check_config_path, write_config};
use super::rights;
use crate::{
    cloudstack::{
        self, Account, AccountState, ApiKeyAccess, Client, ClientSettings, Credentials, Error, KeyPair, NewAccount,
        RolePermission, User,
    },
    ids::CloudId,
    jobs::app::Role,
    random::RandomSource,
    secrets::Secret,
    time::Clock,
};

/// How the names of roles and accounts begin where nothing else is wished.
pub const DEFAULT_PREFIX: &str = "bursar";
/// Every service account.
pub const ALL: [Role; 3] = [Role::Reader, Role::Enforcer, Role::Keys];
/// Longest beginning of names: CloudStack's own limit is far away, people's patience is not.
const MAX_PREFIX: usize = 40;
/// Random bytes of a password that nobody ever sees.
const PASSWORD_BYTES: usize = 24;
/// One of each kind of letter, for clouds with a password policy.
const PASSWORD_START: &str = "Bu-1";
/// Mail to it never arrives (RFC 2606).
const MAIL_DOMAIN: &str = "invalid.example";

/// What is to be made.
#[derive(Debug, Clone)]
pub struct InitRequest {
    /// The cloud and how it is reached.
    pub settings: ClientSettings,
    /// Only the account that reads: enough for everything but locking and API access. The others can be added later.
    pub reader_only: bool,
    /// How the names of roles and accounts begin; usually [`DEFAULT_PREFIX`].
    pub prefix: String,
    /// Whether accounts that have a key pair get a new one, which ends the one they have. Otherwise their pairs are left
    /// alone, and it is refused where none is left to make.
    pub renew: bool,
}

impl InitRequest {
    /// All three accounts under their usual names, replacing no key pair.
    pub fn new(settings: ClientSettings) -> Self {
        Self { settings, reader_only: false, prefix: DEFAULT_PREFIX.to_owned(), renew: false }
    }
}

/// What was made.
#[derive(Debug, Clone)]
pub struct InitOutcome {
    /// The configuration file's text, secrets included. A service account whose pair was left alone has no section in it.
    pub configuration: Secret,
    /// What was made, used again or could not be done: a sentence each, without secrets.
    pub made: Vec<String>,
}

/// Why nothing, or not everything, was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The beginning of the names is not usable.
    #[error("\"{0}\" can not begin the accounts' names: use up to 40 small letters, digits and dashes, a letter first")]
    BadPrefix(String),
    /// The key is not a root administrator's.
    #[error(
        "this key belongs to {0}, who is no root administrator. Making roles needs the key of an account in ROOT with the role \
         Root Admin; nothing was changed"
    )]
    NotRootAdmin(String),
    /// Something of that name is there, and is not what init makes.
    #[error(
        "{what} exists already and {difference}. Rename or delete it, or choose other names (--prefix); nothing was changed"
    )]
    InTheWay {
        /// What.
        what: String,
        /// How it differs from what init makes.
        difference: String,
    },
    /// All accounts have key pairs that may be in use.
    #[error(
        "{} exist already with key pairs, which may be in use: a new pair would end the old one at once. With --renew they get \
         new pairs; nothing was changed", .0.join(", ")
    )]
    HasKeys(Vec<String>),
    /// A new key pair was made and does not work.
    #[error("the new key pair of {account} does not work: {error}. Run init again with --renew once that is set right")]
    NotVerified {
        /// Whose.
        account: String,
        /// What CloudStack says.
        error: cloudstack::Error,
    },
    /// CloudStack did not answer as it should.
    #[error("{doing}: {error}. What was made until then is used again when init runs again")]
    CloudStack {
        /// What init was doing.
        doing: String,
        /// What happened.
        error: cloudstack::Error,
    },
}

trait While<T> {
    fn while_(self, doing: impl Into<String>) -> Result<T, InitError>;
}

impl<T> While<T> for Result<T, Error> {
    fn while_(self, doing: impl Into<String>) -> Result<T, InitError> {
        self.map_err(|error| InitError::CloudStack { doing: doing.into(), error })
    }
}

/// One service account: what is there and what is to be made.
struct Plan {
    role: Role,
    name: String,
    role_id: Option<CloudId>,
    /// How many of the rules are there already; an earlier run may have ended among them.
    rules_there: usize,
    account: Option<Account>,
}

/// A service account that is there, without its key pair.
struct Made {
    role: Role,
    name: String,
    account: CloudId,
    user: CloudId,
}

/// Makes the service accounts and gives the configuration for them. The caller writes it with [`write_config`], after
/// [`check_config_path`] has said before that it can.
pub async fn init(
    request: InitRequest,
    admin: Credentials,
    clock: Arc<dyn Clock>,
    random: Arc<dyn RandomSource>,
) -> Result<InitOutcome, InitError> {
    if !is_prefix(&request.prefix) {
        return Err(InitError::BadPrefix(request.prefix));
    }
    let settings = request.settings;
    let endpoint = settings.endpoint().while_("reading the address")?;
    let client = Client::new(settings.clone(), admin, Arc::clone(&clock)).while_("connecting to CloudStack")?;
    refuse_others_than_root(&client).await?;
    let root = root_domain(&client).await?;
    let roles: &[Role] = if request.reader_only { &[Role::Reader] } else { &ALL };
    let plans = plan(&client, roles, &request.prefix, root).await?;
    let in_use = if request.renew { Vec::new() } else { keys_in_use(&client, &plans).await? };
    if in_use.len() == plans.len() {
        return Err(InitError::HasKeys(in_use));
    }
    let mut told = Vec::new();
    let mut accounts = Vec::new();
    for plan in plans {
        accounts.push(make(&client, plan, root, random.as_ref(), &mut told).await?);
    }
    let mut pairs = Vec::new();
    for made in accounts {
        if in_use.contains(&made.name) {
            told.push(format!(
                "key pair of {}: left as it is, since it may be in use; --renew makes a new one",
                made.name
            ));
            continue;
        }
        let pair = register(&client, &made, &mut told).await?;
        verify(&settings, &made, &pair, &clock).await?;
        told.push(format!("key pair of {}: made, and CloudStack accepts it", made.name));
        pairs.push((made.role, pair));
    }
    Ok(InitOutcome { configuration: file::config_text(&endpoint, settings.ca_file.as_deref(), &pairs), made: told })
}

fn is_prefix(prefix: &str) -> bool {
    prefix.len() <= MAX_PREFIX
        && prefix.starts_with(|c: char| c.is_ascii_lowercase())
        && prefix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Without arguments listUsers gives the caller's own account's users, who all have the same role (facts 2.3).
async fn refuse_others_than_root(client: &Client) -> Result<(), InitError> {
    let own = client.call_raw("listUsers", &[]).await.while_("looking who this key belongs to")?;
    let first = own.get("user").and_then(Value::as_array).and_then(|users| users.first());
    let user: Option<User> = first.and_then(|user| serde_json::from_value(user.clone()).ok());
    let is_root = user.as_ref().is_some_and(|user| {
        user.account_type == Some(1) && user.role_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("Admin"))
    });
    if is_root {
        return Ok(());
    }
    let who = user.map_or_else(
        || "somebody unknown".to_owned(),
        |user| format!("{} ({})", user.username, user.role_type.as_deref().unwrap_or("no role")),
    );
    Err(InitError::NotRootAdmin(who))
}

async fn root_domain(client: &Client) -> Result<CloudId, InitError> {
    let domains = client.list_domains().await.while_("looking for the domain ROOT")?;
    domains
        .iter()
        .find(|domain| {
            domain.level == Some(0) || (domain.parent_id.is_none() && domain.name.eq_ignore_ascii_case("ROOT"))
        })
        .map(|domain| domain.id)
        .ok_or_else(|| Error::malformed("listDomains gives no domain ROOT"))
        .while_("looking for the domain ROOT")
}

/// Looks at what is there; anything that is not as init makes it is refused before the first change.
async fn plan(client: &Client, roles: &[Role], prefix: &str, root: CloudId) -> Result<Vec<Plan>, InitError> {
    let doing = "looking at the roles and accounts that are there";
    let there = client.list_roles().await.while_(doing)?;
    let accounts = client.list_accounts().await.while_(doing)?;
    let mut plans = Vec::new();
    for role in roles {
        let name = format!("{prefix}-{}", role.section());
        let account = accounts.iter().find(|account| account.name == name && account.domain_id == root).cloned();
        let mut plan = Plan { role: *role, name: name.clone(), role_id: None, rules_there: 0, account };
        if let Some(found) = there.iter().find(|found| found.name == name) {
            let in_the_way = |difference: String| InitError::InTheWay { what: format!("the role {name}"), difference };
            if found.role_type.as_deref().is_some_and(|kind| !kind.eq_ignore_ascii_case("Admin")) {
                return Err(in_the_way("is not of type Admin".to_owned()));
            }
            let rules = client.list_role_permissions(found.id).await.while_(doing)?;
            plan.rules_there = rules_there(*role, &rules).map_err(in_the_way)?;
            plan.role_id = Some(found.id);
        }
        if let Some(account) = &plan.account {
            let in_the_way = |difference: &str| InitError::InTheWay {
                what: format!("the account ROOT/{name}"),
                difference: difference.to_owned(),
            };
            if plan.role_id.is_none() || account.role_id != plan.role_id {
                return Err(in_the_way("has another role"));
            }
            if account.state != AccountState::Enabled {
                return Err(in_the_way("is not enabled"));
            }
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// How many of our rules a role has, in our order; the difference where it has others.
fn rules_there(role: Role, there: &[RolePermission]) -> Result<usize, String> {
    let ours = rights::rules(role);
    if there.len() > ours.len() {
        return Err(format!("has {} rules where {} belong", there.len(), ours.len()));
    }
    for (have, (api, allow)) in there.iter().zip(&ours) {
        let allows = have.permission.as_deref().is_some_and(|word| word.eq_ignore_ascii_case("allow"));
        if !have.rule.eq_ignore_ascii_case(api) || allows != *allow {
            return Err(format!("has the rule {} where {api} belongs", have.rule));
        }
    }
    Ok(there.len())
}

/// The accounts that have a key pair.
async fn keys_in_use(client: &Client, plans: &[Plan]) -> Result<Vec<String>, InitError> {
    let mut in_use = Vec::new();
    for plan in plans {
        let Some(account) = &plan.account else { continue };
        for user in
            client.list_users_of(&plan.name, account.domain_id).await.while_("looking at the accounts' users")?
        {
            let keys = client.get_user_keys(user.id).await.while_("looking for key pairs")?;
            if keys.api_key.is_some_and(|key| !key.is_empty()) {
                in_use.push(plan.name.clone());
            }
        }
    }
    in_use.dedup();
    Ok(in_use)
}

/// The role, its rules, the account with its user, and the user's key access, in this order: an account never has a role
/// that still lacks its last rule.
async fn make(
    client: &Client,
    plan: Plan,
    root: CloudId,
    random: &dyn RandomSource,
    told: &mut Vec<String>,
) -> Result<Made, InitError> {
    let Plan { role, name, role_id, rules_there, account } = plan;
    let doing = format!("making the role {name}");
    let rules = rights::rules(role);
    let role_id = if let Some(id) = role_id {
        id
    } else {
        let description = format!("bursar: {}", rights::purpose(role));
        client.create_role(&name, "Admin", &description).await.while_(doing.as_str())?.id
    };
    for (api, allow) in rules.iter().skip(rules_there) {
        client.create_role_permission(role_id, api, *allow, None).await.while_(doing.as_str())?;
    }
    let allowed = rules.len().saturating_sub(1);
    told.push(if rules_there == rules.len() {
        format!("role {name}: was there as it should be, used again")
    } else {
        format!("role {name} of type Admin: made, allows {allowed} APIs and denies all others")
    });
    let doing = format!("making the account ROOT/{name}");
    let account = if let Some(account) = account {
        told.push(format!("account ROOT/{name}: was there, used again"));
        account
    } else {
        let new = new_account(role, &name, role_id, root, random);
        let made = client.create_account(&new).await.while_(doing.as_str())?;
        told.push(format!("account ROOT/{name} with one user: made; its password is random and kept nowhere"));
        made
    };
    let user = match account.users.iter().find(|user| user.username == name) {
        Some(user) => user.id,
        None => client
            .list_users_of(&name, root)
            .await
            .and_then(|users| {
                let user = users.iter().find(|user| user.username == name).or(users.first());
                user.map(|user| user.id).ok_or_else(|| Error::malformed("the account has no user"))
            })
            .while_(doing)?,
    };
    Ok(Made { role, name, account: account.id, user })
}

fn new_account(role: Role, name: &str, role_id: CloudId, root: CloudId, random: &dyn RandomSource) -> NewAccount {
    NewAccount {
        account: name.to_owned(),
        domain_id: root,
        role_id,
        username: name.to_owned(),
        password: Secret::new(format!("{PASSWORD_START}{}", random.hex(PASSWORD_BYTES))),
        first_name: "bursar".to_owned(),
        last_name: role.section().to_owned(),
        email: format!("{name}@{MAIL_DOMAIN}"),
    }
}

/// Key access goes first: where the domain has it off, the new pair works from its first call (facts 0).
async fn register(client: &Client, made: &Made, told: &mut Vec<String>) -> Result<KeyPair, InitError> {
    match client.set_user_api_key_access(made.user, ApiKeyAccess::Enabled).await {
        Ok(user) if user.api_key_access == Some(ApiKeyAccess::Enabled) => {
            told.push(format!("API key access of {}: enabled for its user, whatever its domain says", made.name));
        }
        // Before 4.20.1 there is no such switch, and nothing shows.
        Ok(_) => {}
        Err(error @ (Error::Refused { .. } | Error::NotAllowed { .. })) => {
            told.push(format!("API key access of {} could not be set to enabled: {error}", made.name));
        }
        Err(error) => return Err(error).while_(format!("enabling API key access of {}", made.name)),
    }
    client
        .register_user_keys(made.user)
        .await
        .while_(format!("making a key pair of {} (run init again with --renew if it was made and not seen)", made.name))
}

/// One read that each of the roles allows.
async fn verify(
    settings: &ClientSettings,
    made: &Made,
    pair: &KeyPair,
    clock: &Arc<dyn Clock>,
) -> Result<(), InitError> {
    let failed = |error| InitError::NotVerified { account: format!("ROOT/{}", made.name), error };
    let credentials = Credentials { api_key: pair.api_key.clone(), secret_key: pair.secret_key.clone() };
    let client = Client::new(settings.clone(), credentials, Arc::clone(clock)).map_err(failed)?;
    match client.get_account(made.account).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(failed(Error::malformed("listAccounts does not show the account itself"))),
        Err(error) => Err(failed(error)),
    }
}
