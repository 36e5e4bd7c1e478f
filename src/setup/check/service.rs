//! The service accounts: whether their keys are accepted, what they may do, and what could shut them out.

use super::{
    Area, CheckReport, Line,
    cloud::{Found, ROLES, Service, full_name},
    some_of, way_out,
};
use crate::{
    cloudstack::{AccountState, ApiKeyAccess, Client, Error},
    config::{Config, DomainRef},
    jobs::app::Role,
    scope::Scope,
    setup::rights,
};

const AREA: Area = Area::ServiceAccounts;
/// The first release in which keys can be switched off by user, account and domain (facts 5).
const FIRST_KEY_ACCESS: (u32, u32, u32) = (4, 20, 1);

pub(super) async fn look(config: &Config, services: &[Service], found: Option<&Found<'_>>, report: &mut CheckReport) {
    for role in ROLES {
        let Some(service) = services.iter().find(|service| service.role == role) else {
            report.add(not_set(config, role));
            continue;
        };
        if let Err(error) = &service.accepted {
            report.add(refused(service, error, found));
            continue;
        }
        report.add(accepted(service, found));
        may(role, &service.client, report).await;
        if let Some(found) = found {
            shut_out(service, found, report);
        }
    }
}

fn key_name(role: Role) -> String {
    format!("{} key", role.section())
}

fn not_set(config: &Config, role: Role) -> Line {
    let name = key_name(role);
    match role {
        Role::Reader if config.cloudstack.enforcer.is_some() => {
            Line::good(AREA, &name, "not set; the enforcer's pair reads")
        }
        Role::Reader => Line::bad(AREA, &name, "not set: nothing can be read from CloudStack")
            .with_way_out("`bursar init` makes the account; or set [cloudstack.reader]"),
        Role::Enforcer => Line::not_checked(
            AREA,
            &name,
            "not set: notices are given, and nobody is restricted, locked, stopped or opened",
        )
        .with_way_out("needed before any step but notify can be armed; `bursar init` makes the account"),
        Role::Keys if config.access.enabled => {
            Line::not_checked(AREA, &name, "not set: requests for API access can not be granted")
                .with_way_out("`bursar init` makes the account; or set [access] enabled = false")
        }
        Role::Keys => Line::good(AREA, &name, "not set, and API access is off"),
    }
}

/// A refused key, with what another account can see of its account: from outside all causes look the same.
fn refused(service: &Service, error: &Error, found: Option<&Found<'_>>) -> Line {
    let name = key_name(service.role);
    let user = found.and_then(|found| found.user_of(&service.api_key));
    let account = user.and_then(|user| found?.account_of(user));
    if let (Error::Unauthorized { .. }, Some(user), Some(account)) = (error, user, account) {
        let full = full_name(account);
        let enable = "enable the account in CloudStack, and find out who locked it and why";
        if account.state != AccountState::Enabled {
            let text = format!("CloudStack refuses it: its account {full} is {}", account.state.as_str());
            return Line::bad(AREA, &name, text).with_way_out(enable);
        }
        if user.state != AccountState::Enabled {
            let text =
                format!("CloudStack refuses it: its user {} in {full} is {}", user.username, user.state.as_str());
            return Line::bad(AREA, &name, text).with_way_out("enable the user in CloudStack");
        }
        if user.api_key_access == Some(ApiKeyAccess::Disabled) {
            let text = format!("CloudStack refuses it: API key access is off for {} in {full}", user.username);
            return Line::bad(AREA, &name, text).with_way_out(switch_on(&user.id.to_string()));
        }
    }
    Line::bad(AREA, &name, error.to_string()).with_way_out(way_out(error))
}

fn switch_on(user: &str) -> String {
    format!("as administrator call updateUser id={user} apikeyaccess=enabled")
}

fn accepted(service: &Service, found: Option<&Found<'_>>) -> Line {
    let name = key_name(service.role);
    let user = found.and_then(|found| found.user_of(&service.api_key));
    let Some(account) = user.and_then(|user| found?.account_of(user)) else {
        return Line::good(AREA, &name, "accepted");
    };
    let full = full_name(account);
    let role = account.role_name.as_deref().unwrap_or("?");
    if account.role_type.as_deref().is_some_and(|kind| !kind.eq_ignore_ascii_case("Admin")) {
        let text = format!(
            "accepted, but {full} has the role {role}, which is not of type Admin: it sees a part of the cloud only"
        );
        return Line::warning(AREA, &name, text)
            .with_way_out("`bursar init` makes an account with a narrow role of type Admin");
    }
    if role.eq_ignore_ascii_case("Root Admin") {
        let text = format!("accepted, but {full} is a root administrator, which may do everything");
        return Line::warning(AREA, &name, text)
            .with_way_out("`bursar init` makes accounts that may do what bursar needs only");
    }
    Line::good(AREA, &name, format!("accepted: {full}, role {role}"))
}

/// Which of the APIs it needs the account may use, and which features that leaves.
async fn may(role: Role, client: &Client, report: &mut CheckReport) {
    let name = format!("{} rights", role.section());
    let (mut able, mut asked) = (Vec::new(), 0_usize);
    let mut unable = Vec::new();
    for feature in rights::features(role) {
        let mut missing = Vec::new();
        for api in feature.apis {
            match client.api(api).await {
                Ok(Some(_)) => {}
                Ok(None) => missing.push(*api),
                Err(error) => {
                    let line = Line::warning(AREA, &name, format!("can not be told, listApis fails: {error}"));
                    report.add(line.with_way_out(way_out(&error)));
                    return;
                }
            }
            asked += 1;
        }
        if missing.is_empty() {
            able.push(feature.name);
        } else if feature.reported {
            unable.push((feature, missing));
        }
    }
    if unable.is_empty() {
        report.add(Line::good(AREA, &name, format!("may {} ({asked} APIs looked at)", able.join("; "))));
        return;
    }
    for (feature, missing) in unable {
        let text = format!("can not {}: {} missing or not allowed", feature.name, is_or_are(&missing));
        let way_out = "allow it in the role, before the rule that denies *";
        report.add(if feature.required {
            Line::bad(AREA, &name, text).with_way_out(way_out)
        } else {
            Line::warning(AREA, &name, text).with_way_out(way_out)
        });
    }
}

fn is_or_are(apis: &[&str]) -> String {
    format!("{} {}", some_of(apis), if apis.len() == 1 { "is" } else { "are" })
}

/// What somebody could do without a thought that ends bursar's access, and whether bursar could do it itself.
fn shut_out(service: &Service, found: &Found<'_>, report: &mut CheckReport) {
    let name = format!("{} account", service.role.section());
    let Some(user) = found.user_of(&service.api_key) else {
        let text = "CloudStack does not show whose key it is, so its API key access can not be looked at";
        report.add(Line::not_checked(AREA, &name, text));
        return;
    };
    if found.release() >= FIRST_KEY_ACCESS && user.api_key_access != Some(ApiKeyAccess::Enabled) {
        let text = format!(
            "API key access of {} is inherited: api.key.access = false on the domain, meant for tenants, would shut bursar out",
            user.username
        );
        report.add(Line::warning(AREA, &name, text).with_way_out(switch_on(&user.id.to_string())));
    }
    let Some(account) = found.account_of(user) else { return };
    // Accounts of type Admin are never acted on.
    let is_admin = account.role_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("Admin"));
    let path = account.domain_path.as_deref().unwrap_or("ROOT");
    let scope = Scope::new(found.config.scope.domains.iter().map(|domain| match domain {
        DomainRef::Path(path) => path.clone(),
        DomainRef::Id(id) => id.to_string(),
    }));
    let listed =
        found.config.policy.protected_accounts.iter().any(|one| one.domain_path == path && one.name == account.name);
    if !is_admin && !listed && scope.includes(path, &account.domain_id.to_string()) {
        let full = full_name(account);
        let text = format!("{full} is among the accounts that bursar acts on: it could lock itself out");
        report.add(Line::bad(AREA, &name, text).with_way_out(format!("add \"{full}\" to [policy] protected_accounts")));
    }
}
