//! What keys can do about keys: by the roles that customers have, and by CloudStack's own self-service.

use std::collections::HashSet;

use super::{Area, CheckReport, Line, cloud::Found, data, some_of};
use crate::{
    access::rules::{KEY_APIS, SET_API, SEVERAL_PAIRS_APIS, allows},
    cloudstack::{Account, Role},
    config::Config,
    jobs::app,
    policy::protection,
    store::{Store, StoreError, cloud, keys},
};

const AREA: Area = Area::People;
/// Roles of customers whose rules are read; a cloud has some ten.
const MAX_ROLES: usize = 40;

/// What was read of the roles that customers have.
#[derive(Default)]
struct Rules<'a> {
    /// Roles that let a key read or register keys, with the APIs.
    open: Vec<String>,
    /// Roles that let a key set another for its own user.
    setting: Vec<&'a Role>,
    /// Why some roles were not read.
    unread: Option<String>,
}

/// Roles whose keys can make or read keys: a key handed out for a month could make itself another for ever.
pub(super) async fn look(found: &Found<'_>, accounts: &[&Account], report: &mut CheckReport) {
    let listed = match found.reader.list_roles().await {
        Ok(listed) => listed,
        Err(error) => {
            report.add(Line::not_checked(AREA, "roles and keys", format!("roles can not be listed: {error}")));
            return;
        }
    };
    let customers: Vec<&Account> =
        accounts.iter().copied().filter(|account| is_customer(account, found.config)).collect();
    let roles: Vec<&Role> =
        listed.iter().filter(|role| customers.iter().any(|account| account.role_id == Some(role.id))).collect();
    let rules = read(found, &roles).await;
    if let Some(why) = &rules.unread {
        report.add(Line::not_checked(AREA, "roles and keys", why));
    }
    if !rules.open.is_empty() {
        let text = format!(
            "{}: people of such an account can make keys by themselves, and a key can make itself another, and read or replace those \
             beside it",
            some_of(&rules.open)
        );
        report.add(Line::warning(AREA, "roles and keys", text).with_way_out(
            "`bursar key rules` says what to change in which role (CloudStack's own roles can not be changed: their accounts need a copy)",
        ));
    } else if rules.unread.is_none() {
        report.add(Line::good(AREA, "roles and keys", "no role of a customer lets keys read or register keys"));
    }
    own_keys(found, &customers, &rules, report).await;
}

fn is_customer(account: &Account, config: &Config) -> bool {
    let path = account.domain_path.as_deref().unwrap_or("ROOT");
    protection::by_type(account.account_type, account.role_type.as_deref()).is_none()
        && !config.policy.protected_accounts.iter().any(|one| one.domain_path == path && one.name == account.name)
}

async fn read<'a>(found: &Found<'_>, roles: &[&'a Role]) -> Rules<'a> {
    let several = several_pairs(found).await;
    let mut rules = Rules::default();
    if roles.len() > MAX_ROLES {
        rules.unread = Some(format!("{} more roles of customers were not read", roles.len() - MAX_ROLES));
    }
    for role in roles.iter().copied().take(MAX_ROLES) {
        let permissions = match found.reader.list_role_permissions(role.id).await {
            Ok(permissions) => permissions,
            Err(error) => {
                rules.unread = Some(format!("the rules of {} can not be read: {error}", role.name));
                break;
            }
        };
        let apis = KEY_APIS.iter().chain(SEVERAL_PAIRS_APIS.iter().filter(|_| several));
        let of_role: Vec<&str> = apis.copied().filter(|api| allows(&permissions, api)).collect();
        if !of_role.is_empty() {
            rules.open.push(format!("{} ({})", role.name, of_role.join(", ")));
        }
        if allows(&permissions, SET_API) {
            rules.setting.push(role);
        }
    }
    rules
}

/// Whether a user has several pairs here, so that more APIs can read and end them.
async fn several_pairs(found: &Found<'_>) -> bool {
    match &found.keys {
        Some(client) => client.api("deleteUserKeys").await.is_ok_and(|api| api.is_some()),
        None => false,
    }
}

/// Accounts whose people set keys of their own choice with updateUser: not where self-service is closed, since such keys do
/// not work there.
async fn own_keys(found: &Found<'_>, customers: &[&Account], rules: &Rules<'_>, report: &mut CheckReport) {
    let name = "keys of one's own";
    let able: Vec<&Account> = customers
        .iter()
        .copied()
        .filter(|account| rules.setting.iter().any(|role| account.role_id == Some(role.id)))
        .collect();
    if able.is_empty() {
        if rules.unread.is_none() {
            let text = "no role of a customer allows updateUser, with which a key sets another one for its own user";
            report.add(Line::good(AREA, name, text));
        }
        return;
    }
    let closed = match closed_accounts(found.config).await {
        Ok(closed) => closed,
        Err(error) => {
            tracing::info!(%error, "where self-service is closed can not be read");
            None
        }
    };
    let closed_here =
        closed.as_ref().map(|closed| able.iter().filter(|account| closed.contains(&account.id.to_string())).count());
    let all = able.len();
    if closed_here == Some(all) && rules.unread.is_none() {
        let text = format!(
            "self-service is closed in every account whose role allows updateUser ({all}): keys that people set there do not work, \
             and a key of bursar that sets another is switched off"
        );
        report.add(Line::good(AREA, name, text));
        return;
    }
    let told = closed_here.map_or_else(
        || "where self-service is closed is not known without the database".to_owned(),
        |closed| format!("self-service is closed in {closed} of them"),
    );
    let text = format!(
        "updateUser, which people need for their profile, also sets a key of one's own choice: accounts whose role allows it: {all}; {told}"
    );
    report.add(Line::warning(AREA, name, text).with_way_out(
        "`bursar key self-service close --domain ROOT/acme` lists the keys that would end, and closes with --yes; a key of bursar that \
         changes is switched off in any case",
    ));
}

/// CloudStack's ids of the accounts in which self-service is closed; None where no database of this version is there.
async fn closed_accounts(config: &Config) -> Result<Option<HashSet<String>>, StoreError> {
    if !data::is_current(config).await {
        return Ok(None);
    }
    let store = Store::open(&app::store_settings(config)).await?;
    let read = read_closed(&store).await;
    store.close().await;
    read.map(Some)
}

async fn read_closed(store: &Store) -> Result<HashSet<String>, StoreError> {
    let mut tx = store.read().await?;
    let mut closed = HashSet::new();
    for closing in keys::list_closings(&mut tx).await?.into_iter().filter(|closing| closing.state == "closed") {
        closed.insert(cloud::get_account(&mut tx, closing.account_id).await?.cloud_id);
    }
    Ok(closed)
}
