//! Which roles of customers let keys make or read keys, as CloudStack has them now.

use super::{
    app::{App, Role},
    keys::Error,
};
use crate::store::{StoreError, Tx, runs};
use crate::{
    access::rules::{KEY_APIS, RoleAdvice, SEVERAL_PAIRS_APIS, allows, steps},
    cloudstack::Account,
    policy::protection,
};

/// Roles of customers whose rules are read; a cloud has some ten.
const MAX_ROLES: usize = 200;
/// Accounts named of each.
const NAMED: usize = 5;

/// The setting with what the last look at the roles showed: open or closed.
const KNOWN: &str = "access.key-rules";

/// Whether keys can make or read keys in this cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRules {
    /// Every role of a customer denies it.
    Closed,
    /// At least one allows it.
    Open,
    /// Nobody could look.
    Unknown,
}

/// What the last look showed.
pub async fn known(tx: &mut Tx) -> Result<KeyRules, StoreError> {
    Ok(match runs::find_setting(tx, KNOWN).await?.as_deref() {
        Some("closed") => KeyRules::Closed,
        Some("open") => KeyRules::Open,
        _ => KeyRules::Unknown,
    })
}

/// Looks, and notes what was seen for the pages. What can not be read is unknown.
pub async fn look(app: &App) -> Result<(), Error> {
    let word = match advice(app).await {
        Ok(advice) if !advice.roles.is_empty() => "open",
        // Of a role that nobody has read nobody knows.
        Ok(advice) if advice.not_checked.is_empty() => "closed",
        Ok(_) => "",
        Err(error) => {
            tracing::info!(%error, "the rules of roles can not be read");
            ""
        }
    };
    let mut tx = app.store.begin().await?;
    runs::put_setting(&mut tx, KNOWN, word, app.clock.now()).await?;
    Ok(tx.commit().await?)
}

/// What a look at the roles came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Advice {
    /// What to do about each role that a customer's account has and that allows what it should not.
    pub roles: Vec<RoleAdvice>,
    /// Names of further roles of customers, whose rules were not read.
    pub not_checked: Vec<String>,
}

/// Reads the roles that customers' accounts have. Changes nothing.
pub async fn advice(app: &App) -> Result<Advice, Error> {
    let client = app.client(Role::Reader)?;
    let several = client.has_several_pairs().await?;
    let apis: Vec<&'static str> =
        KEY_APIS.into_iter().chain(SEVERAL_PAIRS_APIS.into_iter().filter(|_| several)).collect();
    let accounts = client.list_accounts().await?;
    let roles = client.list_roles().await?;
    let customers: Vec<&Account> = accounts
        .items
        .iter()
        .filter(|account| protection::by_type(account.account_type, account.role_type.as_deref()).is_none())
        .collect();
    let mut found = Advice::default();
    // Those that nobody has are left out first: they must not take the place of one that somebody has.
    let of_customers =
        roles.items.iter().filter(|role| customers.iter().any(|account| account.role_id == Some(role.id)));
    for (at, role) in of_customers.enumerate() {
        if at >= MAX_ROLES {
            found.not_checked.push(role.name.clone());
            continue;
        }
        let having: Vec<&Account> =
            customers.iter().copied().filter(|account| account.role_id == Some(role.id)).collect();
        let permissions = client.list_role_permissions(role.id).await?;
        let open: Vec<&'static str> = apis.iter().copied().filter(|api| allows(&permissions, api)).collect();
        if open.is_empty() {
            continue;
        }
        let is_default = role.is_default == Some(true);
        let name_of =
            |account: &&Account| format!("{}/{}", account.domain_path.as_deref().unwrap_or("ROOT"), account.name);
        let mut names: Vec<String> = having.iter().map(name_of).collect();
        names.sort();
        names.truncate(NAMED);
        found.roles.push(RoleAdvice {
            id: role.id.to_string(),
            name: role.name.clone(),
            is_default,
            accounts: names,
            account_count: having.len(),
            open,
            steps: steps(&role.id.to_string(), &role.name, is_default, &permissions, &apis),
        });
    }
    Ok(found)
}
