//! Accounts that no pair is ever made in: the rights of the keys role together could take over any account, so what it
//! must not touch is refused in code and not by configuration. Which accounts those are is one rule for everything that
//! acts (`policy::protection`).

use crate::{cloudstack::User, policy::protection, store::cloud::Account};

/// Why no pair is made in this account; None where it may be. CloudStack's own service accounts and bursar's are of a
/// type or role named there; `listed` are the domain paths and names that the operator protects.
pub fn protected_reason(account: &Account, listed: &[(String, String)]) -> Option<String> {
    if account.gone_ms.is_some() {
        return Some("it is no longer in CloudStack".to_owned());
    }
    let name = (account.domain_path.as_str(), account.name.as_str());
    protection::protection(account.account_type, &account.role_type, name, listed).map(str::to_owned)
}

/// Why the user that was made, or that a pair is of, must have none: the mirror may be older than CloudStack, and an
/// account's name may have passed to another account.
pub(super) fn misplaced(user: &User, account: &Account) -> Option<String> {
    match user.account_id {
        Some(id) if id.to_string() != account.cloud_id => {
            return Some(format!("the user is in another account ({id})"));
        }
        _ => {}
    }
    protection::by_type(user.account_type, user.role_type.as_deref()).map(str::to_owned)
}
