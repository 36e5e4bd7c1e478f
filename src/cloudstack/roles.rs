//! Roles: listed, and made for bursar's own service accounts.

use serde::Deserialize;

use super::{Client, Error, Listing, envelope::Entry, fields, params::Params};
use crate::ids::CloudId;

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Role {
    /// Its id.
    pub id: CloudId,
    /// Its name.
    #[serde(deserialize_with = "fields::required_text")]
    pub name: String,
    /// `Admin`, `ResourceAdmin`, `DomainAdmin` or `User`.
    #[serde(default, rename = "type", deserialize_with = "fields::text")]
    pub role_type: Option<String>,
    /// What it is for.
    #[serde(default, deserialize_with = "fields::text")]
    pub description: Option<String>,
    /// Whether CloudStack brought it.
    #[serde(default, rename = "isdefault", deserialize_with = "fields::flag")]
    pub is_default: Option<bool>,
}

impl Entry for Role {}

/// A rule of a role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RolePermission {
    /// Its id.
    pub id: CloudId,
    /// An API's name, `*` standing for any letters.
    #[serde(deserialize_with = "fields::required_text")]
    pub rule: String,
    /// `allow` or `deny`.
    #[serde(default, deserialize_with = "fields::text")]
    pub permission: Option<String>,
}

impl Entry for RolePermission {}

impl Client {
    /// Every role.
    pub async fn list_roles(&self) -> Result<Listing<Role>, Error> {
        self.list_all("listRoles", &Params::new()).await
    }

    /// A role's rules, in the order they are tried: the first match wins (facts 4.6).
    pub async fn list_role_permissions(&self, role: CloudId) -> Result<Vec<RolePermission>, Error> {
        let page = self.read_list("listRolePermissions", &Params::new().with("roleid", role)).await?;
        if page.unreadable > 0 {
            return Err(Error::malformed("listRolePermissions: a rule can not be read"));
        }
        Ok(page.items)
    }

    /// Makes a role of a type (`Admin`, `User`, …) without rules. Without a last rule that denies `*` it has every API
    /// of its type.
    pub async fn create_role(&self, name: &str, role_type: &str, description: &str) -> Result<Role, Error> {
        let params = Params::new().with("name", name).with("type", role_type).with("description", description);
        self.write_entity("createRole", &params).await
    }

    /// Adds a rule behind those that the role has.
    pub async fn create_role_permission(
        &self,
        role: CloudId,
        rule: &str,
        allow: bool,
        description: Option<&str>,
    ) -> Result<RolePermission, Error> {
        let params = Params::new()
            .with("roleid", role)
            .with("rule", rule)
            .with("permission", if allow { "allow" } else { "deny" })
            .with_some("description", description);
        self.write_entity("createRolePermission", &params).await
    }
}
