//! Accounts that no pair is ever made in: the rights of the keys role together could take over any account, so what it
//! must not touch is refused in code and not by configuration.

use crate::{cloudstack::User, store::cloud::Account};

/// Why no pair is made in an account of this type and role; None for those of tenants and domain admins.
fn reason(account_type: Option<i64>, role_type: Option<&str>) -> Option<&'static str> {
    match account_type {
        Some(1) => return Some("it is an account of root administrators"),
        Some(3) => return Some("it is an account of resource administrators"),
        Some(4) => return Some("it is an account of read-only administrators"),
        Some(5) => return Some("it is the hidden account of a project"),
        _ => {}
    }
    match role_type {
        Some("Admin") => Some("its role is of type Admin"),
        Some("ResourceAdmin") => Some("its role is of type ResourceAdmin"),
        _ => None,
    }
}

/// Why no pair is made in this account; None where it may be. CloudStack's own service accounts and bursar's are of a
/// type or role named here.
pub fn protected_reason(account: &Account) -> Option<String> {
    if account.gone_ms.is_some() {
        return Some("it is no longer in CloudStack".to_owned());
    }
    reason(Some(account.account_type), Some(&account.role_type)).map(str::to_owned)
}

/// Why the user that was made must go again: the mirror may be older than CloudStack, and an account's name may have
/// passed to another account.
pub(super) fn misplaced(user: &User, account: &Account) -> Option<String> {
    match user.account_id {
        Some(id) if id.to_string() != account.cloud_id => {
            return Some(format!("the user was made in another account ({id}) of the same name"));
        }
        _ => {}
    }
    reason(user.account_type, user.role_type.as_deref()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_and_projects_are_protected_by_type_or_role() {
        for kind in [1, 3, 4, 5] {
            assert!(reason(Some(kind), Some("User")).is_some(), "{kind}");
        }
        assert!(reason(Some(0), Some("Admin")).is_some());
        assert!(reason(None, Some("ResourceAdmin")).is_some());
        assert!(reason(Some(0), Some("User")).is_none());
        assert!(reason(Some(2), Some("DomainAdmin")).is_none());
    }
}
