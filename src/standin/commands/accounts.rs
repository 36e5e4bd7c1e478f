//! listAccounts, createAccount, disableAccount, enableAccount, updateAccount (facts 4.2 to 4.4).

use serde_json::{Value, json};

use super::{Call, Result, Scope};
use crate::{
    ids::CloudId,
    standin::{
        envelope::Failure,
        guesses,
        world::{
            RoleKind,
            build::{LOCK_SCHEDULED, LOCK_STARTED},
            entities::{PROJECT_ACCOUNT, SYSTEM_ACCOUNT, State},
            jobs::Work,
        },
    },
};

const CLASS: &str = "org.apache.cloudstack.api.command.admin.account.DisableAccountCmd";

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let wanted = call.account("id")?;
    let scope = match wanted {
        Some(id) => {
            call.check_access(id)?;
            Scope::Account(id)
        }
        None => call.scope()?,
    };
    let (name, state, keyword) = (call.filled("name"), call.filled("state"), call.filled("keyword"));
    let mut found: Vec<(u64, u64, CloudId)> = call
        .world
        .accounts
        .iter()
        .filter(|account| {
            account.removed.is_none() && account.number != SYSTEM_ACCOUNT && account.kind != PROJECT_ACCOUNT
        })
        .filter(|account| call.in_scope(scope, account))
        .filter(|account| name.is_none_or(|name| account.name == name))
        .filter(|account| keyword.is_none_or(|keyword| account.name.contains(keyword)))
        .filter(|account| state.is_none_or(|state| account.state.name().eq_ignore_ascii_case(state)))
        .map(|account| {
            (call.world.domains.get(account.domain).map_or(0, |domain| domain.number), account.number, account.id)
        })
        .collect();
    found.sort_unstable();
    let used = call.world.used();
    let admin = call.caller.role != RoleKind::User;
    call.paged("account", &found, |call, (_, _, id)| {
        call.world.accounts.get(*id).map_or(Value::Null, |account| {
            call.world.account_row(account, &used.get(id).cloned().unwrap_or_default(), admin)
        })
    })
}

pub(super) fn create(call: &mut Call<'_>) -> Result<Value> {
    let domain = call.domain("domainid")?.unwrap_or(call.caller.domain);
    let username = call.text("username").unwrap_or_default().to_owned();
    let name = call.filled("account").unwrap_or(&username).to_owned();
    let role = if let Some(text) = call.filled("roleid") {
        call.world.roles.find_by_text(text).map(|role| role.id).ok_or_else(|| call.no_such("roleid"))?
    } else {
        let role = match call.number("accounttype")?.unwrap_or(0) {
            1 => "Root Admin",
            2 => "Domain Admin",
            3 => "Resource Admin",
            _ => "User",
        };
        call.world.find_role(role).ok_or_else(|| call.no_such("accounttype"))?
    };
    if call.world.account_named(domain, &name).is_some() {
        return Err(Failure::invalid(format!("The specified account: {name} already exists")));
    }
    if call.world.user_named(domain, &username).is_some() {
        let path = call.world.domains.get(domain).map_or_else(String::new, |domain| domain.path.clone());
        return Err(Failure::invalid(format!("The user {username} already exists in domain {path}")));
    }
    let account = call.world.add_account_with_role(domain, &name, role);
    super::users::add(call, account)?;
    let about = call.world.about_account("ACCOUNT.CREATE", account);
    call.world.completed_event(&about, call.caller.user, "Successfully completed creating Account.");
    Ok(json!({"account": call.world.account_view(account, call.caller.is_root())}))
}

/// The account that a call names by id or by name and domain; the words of a refusal are the server's.
fn named(call: &Call<'_>, words: &str) -> Result<std::result::Result<CloudId, String>> {
    let id = call.account("id")?;
    let domain = call.domain("domainid")?;
    let name = call.filled("account");
    let found = match (id, name, domain) {
        (Some(id), _, _) => Some(id),
        (None, Some(name), Some(domain)) => call.world.account_named(domain, name).map(|account| account.id),
        _ => None,
    };
    let usable = found.filter(|id| {
        call.world.accounts.get(*id).is_some_and(|account| account.kind != PROJECT_ACCOUNT && account.removed.is_none())
    });
    Ok(usable.ok_or_else(|| {
        let number = id.and_then(|id| call.world.accounts.get(id)).map(|account| account.number);
        let number = number.map_or_else(|| "null".to_owned(), |number| number.to_string());
        let domain = domain.and_then(|domain| call.world.domains.get(domain)).map(|domain| domain.number);
        let domain = domain.map_or_else(|| "null".to_owned(), |number| number.to_string());
        format!(
            "Unable to find {words} by accountId: {number} OR by name: {} in domain {domain}",
            name.unwrap_or("null")
        )
    }))
}

pub(super) fn disable(call: &mut Call<'_>) -> Result<Value> {
    let lock = call.flag("lock");
    let custom = call.custom_job()?;
    let target = named(call, if lock { "active account" } else { "account" })?;
    let work = target.map_err(|text| (431, text)).and_then(|account| {
        if call.world.may_access(call.caller.account, account) {
            apply(call, account, lock)
        } else {
            Err((531, Failure::no_permission().text))
        }
    });
    let job = call.world.begin_job(custom, call.caller.user, CLASS, None, work);
    Ok(json!({"jobid": job}))
}

/// Changes the state at once; what remains is the job's.
fn apply(call: &mut Call<'_>, account: CloudId, lock: bool) -> std::result::Result<Work, (u16, String)> {
    let user = call.caller.user;
    let about = call.world.about_account("ACCOUNT.DISABLE", account);
    let Some(row) = call.world.accounts.get_mut(account) else {
        return Err((431, "Unable to find account".to_owned()));
    };
    if row.number == SYSTEM_ACCOUNT {
        let verb = if lock { "lock" } else { "disable" };
        return Err((531, format!("Account: {} is a system account, {verb} is not allowed", row.name)));
    }
    if lock {
        if row.state == State::Disabled {
            let text = format!(
                "Unable to lock account {} by accountId: {} OR by name: null in domain null",
                row.name, row.number
            );
            call.world.job_events(&about, user, account, LOCK_SCHEDULED, None);
            return Err((530, text));
        }
        row.state = State::Locked;
        call.world.job_events(&about, user, account, LOCK_SCHEDULED, Some(LOCK_STARTED));
        return Ok(Work::ShowAccount(account));
    }
    // Root admin's account is number 2: disabling it is refused, locking it is not.
    if row.number <= 2 {
        let text = format!(
            "Unable to update account {} by accountId: {} OR by name: null in domain null",
            row.name, row.number
        );
        return Err((530, text));
    }
    let nothing_to_do = row.state == State::Disabled && !row.needs_cleanup;
    row.state = State::Disabled;
    row.needs_cleanup = false;
    call.world.job_events(&about, user, account, LOCK_SCHEDULED, Some("Disabling account"));
    if nothing_to_do {
        return Ok(Work::ShowAccount(account));
    }
    Ok(Work::DisableAccount { account, machines: call.world.running_machines(account) })
}

pub(super) fn enable(call: &mut Call<'_>) -> Result<Value> {
    let account = named(call, "account")?.map_err(Failure::invalid)?;
    call.check_access(account)?;
    if let Some(row) = call.world.accounts.get_mut(account) {
        row.state = State::Enabled;
        row.needs_cleanup = false;
    }
    let about = call.world.about_account("ACCOUNT.ENABLE", account);
    call.world.completed_event(&about, call.caller.user, "Successfully completed enabling account.");
    Ok(json!({"account": call.world.account_view(account, call.caller.is_root())}))
}

pub(super) fn lock(_: &mut Call<'_>) -> Result<Value> {
    Err(Failure::runtime(guesses::LOCK_ACCOUNT))
}

pub(super) fn update(call: &mut Call<'_>) -> Result<Value> {
    let account = named(call, "account")?.map_err(Failure::invalid)?;
    // By name only enabled accounts are found.
    let by_name = call.filled("id").is_none();
    let enabled = call.world.account_state(account) == Some(State::Enabled);
    if by_name && !enabled {
        return Err(Failure::invalid(format!(
            "Unable to find account by accountId: null OR by name: {}",
            call.filled("account").unwrap_or("null")
        )));
    }
    call.check_access(account)?;
    let new_name = call.filled("newname").map(str::to_owned);
    let details: Vec<(String, String)> = details(call.parameters);
    let access = if call.caller.is_root() { call.filled("apikeyaccess").map(super::keys::access_of) } else { None };
    let access = access.transpose()?;
    if let Some(row) = call.world.accounts.get_mut(account) {
        if let Some(name) = new_name {
            row.name = name;
        }
        if let Some(access) = access {
            row.key_access = access;
        }
        for (name, value) in details {
            row.details.insert(name, json!(value));
        }
    }
    let about = call.world.about_account("ACCOUNT.UPDATE", account);
    call.world.completed_event(&about, call.caller.user, "Successfully completed updating account.");
    let view = call.world.account_view(account, false);
    Ok(json!({"account": view}))
}

/// `accountdetails[0].name=value` and `accountdetails[0].key=name` with `accountdetails[0].value=value`.
fn details(parameters: &std::collections::BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, value) in parameters {
        let Some((place, field)) = name.strip_prefix("accountdetails[").and_then(|rest| rest.split_once("].")) else {
            continue;
        };
        match field {
            "key" => {
                let held = parameters.get(&format!("accountdetails[{place}].value")).cloned().unwrap_or_default();
                found.push((value.clone(), held));
            }
            "value" => {}
            other => found.push((other.to_owned(), value.clone())),
        }
    }
    found
}
