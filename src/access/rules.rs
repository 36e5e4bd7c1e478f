//! Which roles let keys make keys, and what to change about it (design rule 7.16). Pure.
//!
//! With CloudStack's default roles every user of an account reads every key pair of it with getUserKeys, and a key replaces
//! its own pair and its siblings' with registerUserKeys (facts 0, 5). Default roles can not be changed (`RoleManagerImpl`
//! refuses), so their accounts need a copy.

use crate::cloudstack::RolePermission;

/// What a key must not be able to do: read and replace the key pairs beside it.
pub const KEY_APIS: [&str; 2] = ["registerUserKeys", "getUserKeys"];
/// The same on releases where a user has several pairs.
pub const SEVERAL_PAIRS_APIS: [&str; 2] = ["listUserKeys", "deleteUserKeys"];
/// What also sets a pair of one's own choice for the calling user, and can not be denied: people need it for their profile.
pub const SET_API: &str = "updateUser";

/// A role, as far as its rules about keys go.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RoleAdvice {
    /// CloudStack's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether CloudStack brought it, so that it can not be changed.
    pub is_default: bool,
    /// The accounts of customers that have it, by full name, at most so many as a person reads.
    pub accounts: Vec<String>,
    /// How many accounts have it.
    pub account_count: usize,
    /// The APIs that it allows and should not.
    pub open: Vec<&'static str>,
    /// What to do, in order; commands of cloudmonkey where they begin with `cmk`.
    pub steps: Vec<String>,
}

/// Whether a role allows an API: the first rule that matches decides, and without one CloudStack's own list does, which
/// allows these to everybody (facts 4.6, 5).
pub fn allows(permissions: &[RolePermission], api: &str) -> bool {
    decisive(permissions, api).is_none_or(|permission| !denies(permission))
}

fn decisive<'a>(permissions: &'a [RolePermission], api: &str) -> Option<&'a RolePermission> {
    permissions.iter().find(|permission| matches(&permission.rule, api))
}

fn denies(permission: &RolePermission) -> bool {
    permission.permission.as_deref().is_some_and(|word| word.eq_ignore_ascii_case("deny"))
}

/// Whether a rule, in which `*` stands for any letters, is about an API.
pub fn matches(rule: &str, api: &str) -> bool {
    let (rule, api) = (rule.to_ascii_lowercase(), api.to_ascii_lowercase());
    let mut parts = rule.split('*');
    let Some(mut rest) = parts.next().and_then(|first| api.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

/// What to do so that a role denies the APIs. The least that does it: an explicit rule is turned round, a rule that is
/// missing is added, and only where a wider rule comes first has a new one to be moved before it.
pub fn steps(
    role_id: &str,
    role_name: &str,
    is_default: bool,
    permissions: &[RolePermission],
    apis: &[&str],
) -> Vec<String> {
    let open: Vec<&str> = apis.iter().copied().filter(|api| allows(permissions, api)).collect();
    if open.is_empty() {
        return Vec::new();
    }
    if is_default {
        return vec![
            format!("cmk create role name=\"{role_name}, keys on request\" roleid={role_id}"),
            "run `bursar key rules` again: it says what to change in the copy (a role that CloudStack brought can not be changed)"
                .to_owned(),
            "then give the copy to each account: cmk update account id=ACCOUNT roleid=COPY".to_owned(),
        ];
    }
    let mut steps = Vec::new();
    for api in open {
        match decisive(permissions, api) {
            Some(rule) if rule.rule.eq_ignore_ascii_case(api) => {
                steps.push(format!("cmk update rolepermission roleid={role_id} ruleid={} permission=deny", rule.id));
            }
            None => steps.push(format!("cmk create rolepermission roleid={role_id} rule={api} permission=deny")),
            Some(wider) => {
                steps.push(format!("cmk create rolepermission roleid={role_id} rule={api} permission=deny"));
                steps.push(format!(
                    "move the new rule before \"{}\" in the role's rules (Roles, the role, Rules): the first match wins",
                    wider.rule
                ));
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "d522b0de-3fe4-4094-9d94-fb27222e11d7";

    fn rules(rules: &[(&str, &str)]) -> Vec<RolePermission> {
        rules
            .iter()
            .map(|(rule, permission)| RolePermission {
                id: ID.parse().unwrap(),
                rule: (*rule).to_owned(),
                permission: Some((*permission).to_owned()),
            })
            .collect()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        assert!(allows(&rules(&[("registerUserKeys", "allow"), ("*", "deny")]), "registerUserKeys"));
        assert!(!allows(&rules(&[("*UserKeys", "deny"), ("registerUserKeys", "allow")]), "registerUserKeys"));
        assert!(!allows(&rules(&[("list*", "allow"), ("*", "deny")]), "getUserKeys"));
        assert!(allows(&rules(&[("list*", "allow")]), "getUserKeys"), "no rule: CloudStack's own list allows it");
    }

    #[test]
    fn a_star_stands_for_any_letters() {
        assert!(matches("*", "getUserKeys") && matches("get*", "getUserKeys") && matches("*Keys", "getuserkeys"));
        assert!(matches("g*User*s", "getUserKeys") && matches("getUserKeys", "getUserKeys"));
        assert!(
            !matches("get", "getUserKeys") && !matches("list*", "getUserKeys") && !matches("get*Keyz", "getUserKeys")
        );
    }

    #[test]
    fn a_role_that_denies_both_needs_nothing_and_a_default_one_needs_a_copy() {
        assert!(steps(ID, "User", true, &rules(&[("*UserKeys", "deny")]), &KEY_APIS).is_empty());
        let copy = steps(ID, "User", true, &[], &KEY_APIS);
        assert!(copy[0].starts_with("cmk create role") && copy[0].contains(ID), "{copy:?}");
    }

    #[test]
    fn the_least_that_closes_a_role_is_advised() {
        let turned = steps(ID, "a", false, &rules(&[("registeruserkeys", "allow"), ("*", "deny")]), &KEY_APIS);
        assert_eq!(turned, [format!("cmk update rolepermission roleid={ID} ruleid={ID} permission=deny")]);
        let added = steps(ID, "a", false, &rules(&[("list*", "allow")]), &["getUserKeys"]);
        assert_eq!(added, [format!("cmk create rolepermission roleid={ID} rule=getUserKeys permission=deny")]);
        let moved = steps(ID, "a", false, &rules(&[("get*", "allow")]), &["getUserKeys"]);
        assert!(moved.len() == 2 && moved[1].contains("before \"get*\""), "{moved:?}");
    }
}
