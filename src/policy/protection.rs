//! Which accounts are never touched, whoever acts: neither locked nor given key pairs. The one place of this rule; what acts
//! adds its own list of names and nothing else.

/// Why an account of this type and role is never touched: administrators' accounts, and the hidden ones of projects. None
/// for tenants and domain admins, which are customers like any other (design 2.4).
pub fn by_type(account_type: Option<i64>, role_type: Option<&str>) -> Option<&'static str> {
    match account_type {
        Some(1) => return Some("it is a root administrator's account"),
        Some(3) => return Some("it is a resource administrator's account"),
        Some(4) => return Some("it is a read-only administrator's account"),
        Some(5) => return Some("it belongs to a project"),
        _ => {}
    }
    role_type
        .is_some_and(|role| role.eq_ignore_ascii_case("Admin") || role.eq_ignore_ascii_case("ResourceAdmin"))
        .then_some("its role is an administrator's")
}

/// Why an account is never touched: by its type, because it is CloudStack's own, or because it is on the list of domain
/// paths and names.
pub fn protection(
    account_type: i64,
    role_type: &str,
    (domain_path, name): (&str, &str),
    listed: &[(String, String)],
) -> Option<&'static str> {
    by_type(Some(account_type), Some(role_type))
        .or_else(|| (name == "system" || name == "baremetal-system-account").then_some("it is CloudStack's own"))
        .or_else(|| {
            listed
                .iter()
                .any(|(path, one)| path == domain_path && one == name)
                .then_some("it is on the list of protected accounts")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_and_projects_are_protected_by_type_or_role() {
        for kind in [1, 3, 4, 5] {
            assert!(by_type(Some(kind), Some("User")).is_some(), "{kind}");
        }
        assert!(by_type(Some(0), Some("Admin")).is_some());
        assert!(by_type(None, Some("ResourceAdmin")).is_some());
        assert!(by_type(Some(0), Some("User")).is_none());
        assert!(by_type(Some(2), Some("DomainAdmin")).is_none());
    }

    #[test]
    fn a_name_on_the_list_counts_in_its_own_domain_only() {
        let listed = [("ROOT/acme".to_owned(), "alice".to_owned())];
        assert!(protection(0, "User", ("ROOT/acme", "alice"), &listed).is_some());
        assert!(protection(0, "User", ("ROOT/other", "alice"), &listed).is_none());
        assert!(protection(0, "User", ("ROOT", "system"), &[]).is_some());
    }
}
