//! Who there is: domains, accounts, users and projects.

use serde::{Deserialize, Deserializer};

use super::{Client, Error, Listing, envelope::Entry, fields, params::Params};
use crate::{ids::CloudId, secrets::Secret, time::Timestamp};

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Domain {
    /// Its id.
    pub id: CloudId,
    /// Its name, not unique.
    #[serde(deserialize_with = "fields::required_text")]
    pub name: String,
    /// Where it stands in the tree, such as `ROOT/acme`.
    #[serde(default, deserialize_with = "fields::text")]
    pub path: Option<String>,
    /// The domain above it; none for ROOT.
    #[serde(default, rename = "parentdomainid", deserialize_with = "fields::id")]
    pub parent_id: Option<CloudId>,
    /// How deep it stands; ROOT is 0.
    #[serde(default, deserialize_with = "fields::whole")]
    pub level: Option<i64>,
    /// `Active` or `Inactive`.
    #[serde(default, deserialize_with = "fields::text")]
    pub state: Option<String>,
}

impl Entry for Domain {}

/// What an account may do (facts 4.1, 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AccountState {
    /// Everything.
    Enabled,
    /// Nothing, and its machines are stopped.
    Disabled,
    /// Nobody can sign in; its machines run on and cost.
    Locked,
    /// Deleted.
    Removed,
    /// A word that this release of bursar does not know.
    Other(String),
    /// Not said.
    #[default]
    Unknown,
}

impl AccountState {
    fn from_word(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "enabled" => Self::Enabled,
            "disabled" => Self::Disabled,
            "locked" => Self::Locked,
            "removed" => Self::Removed,
            _ => Self::Other(word.to_owned()),
        }
    }

    /// The word as CloudStack writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Locked => "locked",
            Self::Removed => "removed",
            Self::Other(word) => word,
            Self::Unknown => "unknown",
        }
    }
}

impl<'de> Deserialize<'de> for AccountState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(fields::text(deserializer)?.map_or(Self::Unknown, |word| Self::from_word(&word)))
    }
}

/// Whether a user's or account's key pairs work (4.20.1 on). The user's value wins over the account's, that over the
/// domain's setting `api.key.access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKeyAccess {
    /// They work, whatever stands above.
    Enabled,
    /// They do not.
    Disabled,
    /// As the level above says.
    Inherit,
}

impl ApiKeyAccess {
    /// The word that the API takes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Inherit => "inherit",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "enabled" | "true" => Some(Self::Enabled),
            "disabled" | "false" => Some(Self::Disabled),
            "inherit" => Some(Self::Inherit),
            _ => None,
        }
    }
}

fn key_access<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ApiKeyAccess>, D::Error> {
    Ok(fields::text(deserializer)?.as_deref().and_then(ApiKeyAccess::from_word))
}

/// An account. Removed ones are not listed.
#[derive(Debug, Clone, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: CloudId,
    /// Its name, unique in its domain only.
    #[serde(deserialize_with = "fields::required_text")]
    pub name: String,
    /// Its domain.
    #[serde(rename = "domainid")]
    pub domain_id: CloudId,
    /// Its domain's name.
    #[serde(default, rename = "domain", deserialize_with = "fields::text")]
    pub domain: Option<String>,
    /// Its domain's path.
    #[serde(default, rename = "domainpath", deserialize_with = "fields::text")]
    pub domain_path: Option<String>,
    /// 0 normal, 1 admin, 2 domain admin, 3 resource domain admin, 4 read-only admin, 5 project.
    #[serde(default, rename = "accounttype", deserialize_with = "fields::whole")]
    pub account_type: Option<i64>,
    /// Its role.
    #[serde(default, rename = "roleid", deserialize_with = "fields::id")]
    pub role_id: Option<CloudId>,
    /// `Admin`, `ResourceAdmin`, `DomainAdmin` or `User`.
    #[serde(default, rename = "roletype", deserialize_with = "fields::text")]
    pub role_type: Option<String>,
    /// Its role's name.
    #[serde(default, rename = "rolename", deserialize_with = "fields::text")]
    pub role_name: Option<String>,
    /// What it may do.
    #[serde(default)]
    pub state: AccountState,
    /// When it was made.
    #[serde(default, deserialize_with = "fields::instant")]
    pub created: Option<Timestamp>,
    /// Machines running now.
    #[serde(default, rename = "vmrunning", deserialize_with = "fields::whole")]
    pub vm_running: Option<i64>,
    /// Machines of any state.
    #[serde(default, rename = "vmtotal", deserialize_with = "fields::whole")]
    pub vm_total: Option<i64>,
    /// Whether it is one of CloudStack's own accounts.
    #[serde(default, rename = "isdefault", deserialize_with = "fields::flag")]
    pub is_default: Option<bool>,
    /// Whether its users' key pairs work.
    #[serde(default, rename = "apikeyaccess", deserialize_with = "key_access")]
    pub api_key_access: Option<ApiKeyAccess>,
    /// Its users.
    #[serde(default, rename = "user")]
    pub users: Vec<User>,
}

impl Entry for Account {}

/// A user.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// Its id.
    pub id: CloudId,
    /// The name to sign in with, unique in the domain only.
    #[serde(deserialize_with = "fields::required_text")]
    pub username: String,
    /// First name.
    #[serde(default, rename = "firstname", deserialize_with = "fields::text")]
    pub first_name: Option<String>,
    /// Last name.
    #[serde(default, rename = "lastname", deserialize_with = "fields::text")]
    pub last_name: Option<String>,
    /// E-mail address, as the tenant can set it: proves nothing.
    #[serde(default, deserialize_with = "fields::text")]
    pub email: Option<String>,
    /// `enabled`, `disabled` or `locked`.
    #[serde(default)]
    pub state: AccountState,
    /// Its account's name.
    #[serde(default, deserialize_with = "fields::text")]
    pub account: Option<String>,
    /// Its account.
    #[serde(default, rename = "accountid", deserialize_with = "fields::id")]
    pub account_id: Option<CloudId>,
    /// Its account's type, see [`Account::account_type`].
    #[serde(default, rename = "accounttype", deserialize_with = "fields::whole")]
    pub account_type: Option<i64>,
    /// Its account's role.
    #[serde(default, rename = "roleid", deserialize_with = "fields::id")]
    pub role_id: Option<CloudId>,
    /// `Admin`, `ResourceAdmin`, `DomainAdmin` or `User`.
    #[serde(default, rename = "roletype", deserialize_with = "fields::text")]
    pub role_type: Option<String>,
    /// Its account's role, by name.
    #[serde(default, rename = "rolename", deserialize_with = "fields::text")]
    pub role_name: Option<String>,
    /// Its domain.
    #[serde(default, rename = "domainid", deserialize_with = "fields::id")]
    pub domain_id: Option<CloudId>,
    /// Its domain's name.
    #[serde(default, deserialize_with = "fields::text")]
    pub domain: Option<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "fields::instant")]
    pub created: Option<Timestamp>,
    /// Its time zone.
    #[serde(default, deserialize_with = "fields::text")]
    pub timezone: Option<String>,
    /// The public half of its key pair, where the caller may see it.
    #[serde(default, rename = "apikey", deserialize_with = "fields::secret")]
    pub api_key: Option<Secret>,
    /// Whether its key pair works; absent before 4.20.1 and for callers whose role is not of type Admin.
    #[serde(default, rename = "apikeyaccess", deserialize_with = "key_access")]
    pub api_key_access: Option<ApiKeyAccess>,
    /// Who checks its password: `native`, `ldap`, `saml2`.
    #[serde(default, rename = "usersource", deserialize_with = "fields::text")]
    pub user_source: Option<String>,
    /// Whether it signs in with a second factor.
    #[serde(default, rename = "is2faenabled", deserialize_with = "fields::flag")]
    pub is_2fa_enabled: Option<bool>,
    /// Whether everybody of its domain must.
    #[serde(default, rename = "is2famandated", deserialize_with = "fields::flag")]
    pub is_2fa_mandated: Option<bool>,
    /// Whether it is one of CloudStack's own users.
    #[serde(default, rename = "isdefault", deserialize_with = "fields::flag")]
    pub is_default: Option<bool>,
}

impl Entry for User {}

/// An owner of a project, as listed: a user of an account, or the whole account.
#[derive(Deserialize)]
struct ProjectOwner {
    #[serde(default, deserialize_with = "fields::text")]
    account: Option<String>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: CloudId,
    /// Its name.
    #[serde(deserialize_with = "fields::required_text")]
    pub name: String,
    /// Its domain.
    #[serde(rename = "domainid")]
    pub domain_id: CloudId,
    /// Its domain's name.
    #[serde(default, deserialize_with = "fields::text")]
    pub domain: Option<String>,
    /// `Active`, `Suspended`, `Disabled`.
    #[serde(default, deserialize_with = "fields::text")]
    pub state: Option<String>,
    /// The hidden account that holds its resources (type 5, refused by disableAccount).
    #[serde(default, rename = "projectaccountname", deserialize_with = "fields::text")]
    pub account_name: Option<String>,
    /// Its owners' account names.
    #[serde(default, rename = "owner", deserialize_with = "owners")]
    pub owners: Vec<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "fields::instant")]
    pub created: Option<Timestamp>,
}

impl Entry for Project {}

fn owners<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<ProjectOwner>::deserialize(deserializer)?.into_iter().filter_map(|owner| owner.account).collect())
}

impl Client {
    /// Every domain that the caller sees.
    pub async fn list_domains(&self) -> Result<Listing<Domain>, Error> {
        self.list_all("listDomains", &Params::new().with("listall", true)).await
    }

    /// Every account that the caller sees; project accounts and removed ones are not among them.
    pub async fn list_accounts(&self) -> Result<Listing<Account>, Error> {
        self.list_all("listAccounts", &Params::new().with("listall", true)).await
    }

    /// Every user that the caller sees.
    pub async fn list_users(&self) -> Result<Listing<User>, Error> {
        self.list_all("listUsers", &Params::new().with("listall", true)).await
    }

    /// The users of one account. By name and domain, since listUsers ignores `accountid` (facts 0).
    pub async fn list_users_of(&self, account: &str, domain: CloudId) -> Result<Listing<User>, Error> {
        let params = Params::new().with("account", account).with("domainid", domain).with("listall", true);
        self.list_all("listUsers", &params).await
    }

    /// Every project that the caller sees.
    pub async fn list_projects(&self) -> Result<Listing<Project>, Error> {
        self.list_all("listProjects", &Params::new().with("listall", true)).await
    }

    /// One account in any state but removed; None if there is none of this id.
    pub async fn get_account(&self, id: CloudId) -> Result<Option<Account>, Error> {
        self.find_one("listAccounts", &Params::new().with("id", id), |account: &Account| account.id == id).await
    }

    /// One user; None if there is none of this id.
    pub async fn get_user(&self, id: CloudId) -> Result<Option<User>, Error> {
        let params = Params::new().with("id", id).with("listall", true);
        self.find_one("listUsers", &params, |user: &User| user.id == id).await
    }

    /// One project; None if there is none of this id.
    pub async fn get_project(&self, id: CloudId) -> Result<Option<Project>, Error> {
        let params = Params::new().with("id", id).with("listall", true);
        self.find_one("listProjects", &params, |project: &Project| project.id == id).await
    }

    /// The one item of a list by id. A page with an unreadable item is no proof of absence.
    pub(crate) async fn find_one<T: Entry>(
        &self,
        command: &str,
        params: &Params,
        is_it: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, Error> {
        match self.read_list::<T>(command, params).await {
            Ok(page) => {
                let unreadable = page.unreadable;
                match page.items.into_iter().find(|item| is_it(item)) {
                    None if unreadable > 0 => Err(Error::malformed(format!("{command}: the item can not be read"))),
                    found => Ok(found),
                }
            }
            Err(Error::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
