//! Accounts, people and roles: what an administrator should know before bursar acts.

use super::{
    Area, CheckReport, Line,
    cloud::{Found, Service, full_name},
    roles, some_of,
};
use crate::{
    cloudstack::{Account, AccountState, User},
    config::DomainRef,
    ids::CloudId,
    policy::OnDrift,
    scope::Scope,
};

const AREA: Area = Area::People;

pub(super) async fn look(found: &Found<'_>, services: &[Service], report: &mut CheckReport) {
    let own: Vec<CloudId> = services
        .iter()
        .filter_map(|service| found.account_of(found.user_of(&service.api_key)?))
        .map(|account| account.id)
        .collect();
    let scope = Scope::new(found.config.scope.domains.iter().map(|domain| match domain {
        DomainRef::Path(path) => path.clone(),
        DomainRef::Id(id) => id.to_string(),
    }));
    let accounts: Vec<&Account> = found
        .accounts
        .iter()
        .filter(|account| !own.contains(&account.id))
        .filter(|account| {
            scope.includes(account.domain_path.as_deref().unwrap_or("ROOT"), &account.domain_id.to_string())
        })
        .collect();
    scope_names(found, report);
    if found.accounts.is_empty() {
        return;
    }
    protected_names(found, report);
    states(&accounts, report);
    addresses(found, &accounts, report);
    by_ldap(found, &accounts, report);
    if found.config.access.enabled {
        roles::look(found, &accounts, report).await;
    }
}

/// Domains that the configuration names and CloudStack does not have: a slip of the pen would leave out a customer.
fn scope_names(found: &Found<'_>, report: &mut CheckReport) {
    if found.domains.is_empty() {
        return;
    }
    for domain in &found.config.scope.domains {
        let (shown, known) = match domain {
            DomainRef::Path(path) => {
                (path.clone(), found.domains.iter().any(|one| one.path.as_deref() == Some(path.as_str())))
            }
            DomainRef::Id(id) => (id.to_string(), found.domains.iter().any(|one| one.id == *id)),
        };
        if !known {
            let text = format!("[scope] domains names {shown}, which CloudStack does not have");
            report.add(Line::bad(AREA, "scope", text).with_way_out("correct it; paths begin with ROOT"));
        }
    }
}

/// Protected accounts that CloudStack does not have: after a rename nobody is protected by the old name.
fn protected_names(found: &Found<'_>, report: &mut CheckReport) {
    let is_there = |path: &str, name: &str| {
        found.accounts.iter().any(|one| one.domain_path.as_deref().unwrap_or("ROOT") == path && one.name == name)
    };
    let listed = &found.config.policy.protected_accounts;
    let missing: Vec<String> = listed
        .iter()
        .filter(|one| !is_there(&one.domain_path, &one.name))
        .map(|one| format!("{}/{}", one.domain_path, one.name))
        .collect();
    if !missing.is_empty() {
        let text = format!("[policy] protected_accounts names {}, which CloudStack does not have", some_of(&missing));
        let way_out = "correct it: an account that was renamed or moved is not protected under its old name";
        report.add(Line::warning(AREA, "protected accounts", text).with_way_out(way_out));
    }
}

fn states(accounts: &[&Account], report: &mut CheckReport) {
    let name = "accounts";
    let mut closed: Vec<String> = accounts
        .iter()
        .filter(|account| matches!(account.state, AccountState::Locked | AccountState::Disabled))
        .map(|account| format!("{} ({})", full_name(account), account.state.as_str()))
        .collect();
    closed.sort();
    if closed.is_empty() {
        report.add(Line::good(AREA, name, format!("{}, none locked or disabled", accounts.len())));
        return;
    }
    let text = format!("{} of {} are locked or disabled: {}", closed.len(), accounts.len(), some_of(&closed));
    report.add(Line::warning(AREA, name, text).with_way_out(
        "bursar only restores what it locked itself: these stay as they are until a person enables them",
    ));
}

/// LDAP in a domain that is linked as a whole: where wrong passwords have disabled a user, the next right one enables the user again, and
/// with it the account, whoever suspended that (`LdapAuthenticator`, `AccountManagerImpl.enableUser`).
fn by_ldap(found: &Found<'_>, accounts: &[&Account], report: &mut CheckReport) {
    if found.config.policy.ladder.on_drift == OnDrift::Suspend {
        return;
    }
    let mut people: Vec<&str> = found
        .users
        .iter()
        .filter(|user| user.user_source.as_deref().is_some_and(|source| source.eq_ignore_ascii_case("ldap")))
        .filter(|user| {
            // Administrators' accounts are never suspended.
            found.account_of(user).is_some_and(|account| {
                !account.role_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("Admin"))
                    && accounts.iter().any(|one| one.id == account.id)
            })
        })
        .map(|user| user.username.as_str())
        .collect();
    people.sort_unstable();
    if people.is_empty() {
        return;
    }
    let text = format!(
        "{} people sign in by LDAP ({}). In a domain that is linked to LDAP such a person can open a suspended account: after several wrong \
         passwords CloudStack disables the user, and the next right one enables the user and the whole account again. With on_drift = \
         \"leave\" bursar does not suspend it again",
        people.len(),
        some_of(&people)
    );
    report.add(Line::warning(AREA, "people of LDAP", text).with_way_out(
        "set [policy] on_drift = \"suspend\" here, or incorrect.login.attempts.allowed = 0 in CloudStack (docs/policy.md)",
    ));
}

fn addresses(found: &Found<'_>, accounts: &[&Account], report: &mut CheckReport) {
    let name = "e-mail addresses";
    let prefix = &found.config.access.user_prefix;
    let people: Vec<&User> = found
        .users
        .iter()
        .filter(|user| user.is_default != Some(true) && !user.username.starts_with(prefix.as_str()))
        .filter(|user| {
            // Administrators' accounts are never acted on, so nobody there has to be warned.
            found.account_of(user).is_some_and(|account| {
                account.state == AccountState::Enabled
                    && !account.role_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("Admin"))
                    && accounts.iter().any(|one| one.id == account.id)
            })
        })
        .collect();
    let mut without: Vec<&str> = people
        .iter()
        .filter(|user| !is_usable(user.email.as_deref().unwrap_or_default()))
        .map(|user| user.username.as_str())
        .collect();
    without.sort_unstable();
    if without.is_empty() {
        report.add(Line::good(AREA, name, format!("all have one (people who could be warned: {})", people.len())));
        return;
    }
    let text = format!("{} of {} people have none that works: {}", without.len(), people.len(), some_of(&without));
    report.add(Line::warning(AREA, name, text).with_way_out(
        "nobody is locked who was not warned: they have to see the warning on a page, or get an address",
    ));
}

/// Whether mail to it could arrive. Whether it does only sending tells.
fn is_usable(address: &str) -> bool {
    let Some((local, domain)) = address.trim().rsplit_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@');
    let dots = domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.') && !domain.contains("..");
    let lower = domain.to_ascii_lowercase();
    // Reserved names that never deliver (RFC 2606); "invalid.example" is what bursar gives to its own users.
    let undeliverable =
        lower == "invalid.example" || [".invalid", ".localdomain", ".local"].iter().any(|end| lower.ends_with(end));
    plain(local) && plain(domain) && dots && !undeliverable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_usable_if_mail_could_arrive() {
        assert!(is_usable("alice@example.com") && is_usable(" alice.anders@mail.example.com "));
        for address in [
            "",
            "alice",
            "alice@",
            "@example.com",
            "alice@localhost",
            "a b@example.com",
            "bursar-reader@invalid.example",
            "a@b@c..d",
        ] {
            assert!(!is_usable(address), "{address}");
        }
    }
}
