//! Finding things: by name, by owner, by domain tree.

use super::{
    World,
    entities::{Account, PROJECT_ACCOUNT, Role, RoleKind, State, User},
};
use crate::{ids::CloudId, secrets::Secret};

/// A person as the cloud knows them, for whoever looks into the world from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// First name.
    pub firstname: String,
    /// Last name.
    pub lastname: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Time zone.
    pub timezone: Option<String>,
    /// State of the user; not that of the account.
    pub state: State,
    /// Wrong passwords since the last right one.
    pub wrong_passwords: u32,
    /// Provider of the second factor, and whether a code confirmed its set-up.
    pub second_factor: Option<(&'static str, bool)>,
    /// The icon in base64.
    pub icon: Option<String>,
}

impl World {
    /// The ROOT domain.
    pub fn root_domain(&self) -> CloudId {
        self.root
    }

    /// The root admin's user.
    pub fn admin_user(&self) -> CloudId {
        self.admin
    }

    /// The id of a domain by its path, `ROOT` or `ROOT/acme`.
    pub fn find_domain(&self, path: &str) -> Option<CloudId> {
        self.domains.iter().find(|domain| domain.path == path).map(|domain| domain.id)
    }

    /// The id of an account that is not removed, by its name in a domain.
    pub fn find_account(&self, domain: CloudId, name: &str) -> Option<CloudId> {
        self.account_named(domain, name).map(|account| account.id)
    }

    /// The id of a user that is not removed, by name in a domain.
    pub fn find_user(&self, domain: CloudId, username: &str) -> Option<CloudId> {
        self.user_named(domain, username).map(|user| user.id)
    }

    /// A person as the cloud knows them now.
    pub fn person(&self, user: CloudId) -> Option<Person> {
        let row = self.users.get(user)?;
        Some(Person {
            firstname: row.firstname.clone(),
            lastname: row.lastname.clone(),
            email: row.email.clone(),
            timezone: row.timezone.clone(),
            state: row.state,
            wrong_passwords: row.wrong_passwords,
            second_factor: row.second_factor.as_ref().map(|factor| (factor.provider, factor.verified)),
            icon: self.icons.get(&("User".to_owned(), user.to_string())).cloned(),
        })
    }

    /// Whether this is the user's password.
    pub fn has_password(&self, user: CloudId, password: &str) -> bool {
        self.users.get(user).is_some_and(|row| row.password.matches(password))
    }

    /// What the user's authenticator app holds: the secret of the second factor.
    pub fn second_factor_secret(&self, user: CloudId) -> Option<Secret> {
        self.users.get(user)?.second_factor.as_ref().map(|factor| factor.secret.clone())
    }

    /// How many sessions of a user there are, live or run out.
    pub fn sessions_of(&self, user: CloudId) -> usize {
        self.sessions.values().filter(|session| session.user == user).count()
    }

    /// The account's users that are not removed.
    pub fn users_of(&self, account: CloudId) -> Vec<CloudId> {
        self.users.iter().filter(|user| user.account == account && user.removed.is_none()).map(|user| user.id).collect()
    }

    /// The machines of an account or project that are not expunged.
    pub fn machines_of(&self, owner: CloudId) -> Vec<CloudId> {
        let owner = self.owner_account(owner);
        self.vms.iter().filter(|vm| vm.owner == owner && vm.expunged.is_none()).map(|vm| vm.id).collect()
    }

    /// A role's id by its name.
    pub fn find_role(&self, name: &str) -> Option<CloudId> {
        self.roles.iter().find(|role| role.name == name).map(|role| role.id)
    }

    /// A service offering's id by its name ("Small Instance", "Medium Instance", "Large Instance").
    pub fn find_offering(&self, name: &str) -> Option<CloudId> {
        self.offerings.iter().find(|offering| offering.name == name).map(|offering| offering.id)
    }

    /// A disk offering's id by its name ("Small", "Medium", "Large", "Custom").
    pub fn find_disk_offering(&self, name: &str) -> Option<CloudId> {
        self.disk_offerings.iter().find(|offering| offering.name == name).map(|offering| offering.id)
    }

    /// The one zone.
    pub fn zone_id(&self) -> CloudId {
        self.zone.id
    }

    /// The one template.
    pub fn template_id(&self) -> CloudId {
        self.zone.template
    }

    pub(crate) fn account_named(&self, domain: CloudId, name: &str) -> Option<&Account> {
        self.accounts
            .iter()
            .find(|account| account.domain == domain && account.name == name && account.removed.is_none())
    }

    pub(crate) fn user_named(&self, domain: CloudId, username: &str) -> Option<&User> {
        self.users.iter().find(|user| {
            user.username == username
                && user.removed.is_none()
                && self.accounts.get(user.account).is_some_and(|account| account.domain == domain)
        })
    }

    /// The account behind an owner: a project's own account, or the account itself.
    pub(crate) fn owner_account(&self, owner: CloudId) -> CloudId {
        self.projects.get(owner).map_or(owner, |project| project.account)
    }

    pub(crate) fn role_of(&self, account: CloudId) -> Option<&Role> {
        self.accounts.get(account).and_then(|account| self.roles.get(account.role))
    }

    pub(crate) fn role_kind(&self, account: CloudId) -> RoleKind {
        self.role_of(account).map_or(RoleKind::User, |role| role.kind)
    }

    /// Whether `below` is `above` or lies in its tree.
    pub(crate) fn in_tree(&self, below: CloudId, above: CloudId) -> bool {
        let mut current = Some(below);
        while let Some(id) = current {
            if id == above {
                return true;
            }
            current = self.domains.get(id).and_then(|domain| domain.parent);
        }
        false
    }

    /// Whether an account may see and change things of another one.
    pub(crate) fn may_access(&self, caller: CloudId, target: CloudId) -> bool {
        if caller == target {
            return true;
        }
        let (Some(own), Some(other)) = (self.accounts.get(caller), self.accounts.get(target)) else { return false };
        match self.role_kind(caller) {
            RoleKind::Admin => true,
            RoleKind::DomainAdmin | RoleKind::ResourceAdmin => self.in_tree(other.domain, own.domain),
            RoleKind::User => {
                other.kind == PROJECT_ACCOUNT
                    && other
                        .project
                        .and_then(|project| self.projects.get(project))
                        .is_some_and(|project| project.owner == caller)
            }
        }
    }
}
