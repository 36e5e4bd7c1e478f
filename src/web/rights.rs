//! Who may do what: the one table of rights by role.
//!
//! A handler names the right it needs in the type of what it takes ([`super::access::Tenant`],
//! [`super::access::TenantForm`]), so it can not be reached by somebody who lacks it.

/// What a signed-in person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The account's own user.
    Owner,
    /// Sees to the account's money, and to nothing else.
    Finance,
    /// May look; also somebody of the account of whom nobody knows who it is (rule 20 of the design).
    Viewer,
    /// Administers the cloud.
    CloudAdmin,
}

impl Role {
    /// Every role.
    #[cfg(test)]
    pub(super) const ALL: [Self; 4] = [Self::Owner, Self::Finance, Self::Viewer, Self::CloudAdmin];

    /// As it is stored.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Finance => "finance",
            Self::Viewer => "viewer",
            Self::CloudAdmin => "cloud-admin",
        }
    }

    /// What is stored; an unknown word may look and nothing else.
    pub(super) fn from_str(text: &str) -> Self {
        match text {
            "owner" => Self::Owner,
            "finance" => Self::Finance,
            "cloud-admin" => Self::CloudAdmin,
            _ => Self::Viewer,
        }
    }
}

/// A right, as a type.
pub(super) trait Right: Send + Sync + 'static {
    /// Whether a role has it, for its own account.
    fn is_with(role: Role) -> bool;
}

macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident: $($role:ident)|+;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(super) struct $name;

        impl Right for $name {
            fn is_with(role: Role) -> bool {
                matches!(role, $(Role::$role)|+)
            }
        }
    )*};
}

rights! {
    /// To look at the account's figures and prices.
    See: Owner | Finance | Viewer | CloudAdmin;
    /// To change what concerns the own person: profile, password, second factor, notices.
    Own: Owner | Finance | Viewer | CloudAdmin;
    /// To redeem codes and to choose how it is paid.
    Pay: Owner | Finance | CloudAdmin;
    /// To ask for API access, to look at a secret, to end a key.
    Keys: Owner | CloudAdmin;
    /// To ask that the account be deleted, and to take that back.
    Leave: Owner | CloudAdmin;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_rights() {
        let with = |right: fn(Role) -> bool| Role::ALL.map(right);
        //                             owner finance viewer admin
        assert_eq!(with(See::is_with), [true, true, true, true]);
        assert_eq!(with(Own::is_with), [true, true, true, true]);
        assert_eq!(with(Pay::is_with), [true, true, false, true]);
        assert_eq!(with(Keys::is_with), [true, false, false, true]);
        assert_eq!(with(Leave::is_with), [true, false, false, true]);
    }

    #[test]
    fn a_role_is_read_as_it_is_stored_and_an_unknown_one_may_only_look() {
        for role in Role::ALL {
            assert_eq!(Role::from_str(role.as_str()), role);
        }
        assert_eq!(Role::from_str("root"), Role::Viewer);
    }
}
