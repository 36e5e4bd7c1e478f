//! Resource limits of accounts and projects.

use serde::Deserialize;

use super::{Client, Error, Listing, envelope::Entry, fields, params::Params};
use crate::ids::CloudId;

/// Whose limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitOwner {
    /// An account, by name and domain: the API takes no id here.
    Account {
        /// The account's name.
        name: String,
        /// The account's domain.
        domain_id: CloudId,
    },
    /// A project.
    Project(CloudId),
}

impl LimitOwner {
    fn params(&self) -> Params {
        match self {
            Self::Account { name, domain_id } => Params::new().with("account", name).with("domainid", domain_id),
            Self::Project(id) => Params::new().with("projectid", id),
        }
    }
}

/// A limit. Inherited ones are listed like explicit ones.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ResourceLimit {
    /// What is limited: 0 machines, 1 addresses, 2 volumes, 3 snapshots, 4 templates, …
    #[serde(rename = "resourcetype", deserialize_with = "fields::whole")]
    pub resource_type: Option<i32>,
    /// Its name, such as `user_vm`.
    #[serde(default, rename = "resourcetypename", deserialize_with = "fields::text")]
    pub resource_type_name: Option<String>,
    /// The most there may be; -1 is unlimited. Storage and memory in the units that CloudStack lists them in.
    #[serde(deserialize_with = "fields::whole")]
    pub max: Option<i64>,
    /// The host or storage tag that it is narrowed to.
    #[serde(default, deserialize_with = "fields::text")]
    pub tag: Option<String>,
    /// The account's name.
    #[serde(default, deserialize_with = "fields::text")]
    pub account: Option<String>,
    /// The domain.
    #[serde(default, rename = "domainid", deserialize_with = "fields::id")]
    pub domain_id: Option<CloudId>,
    /// The project.
    #[serde(default, rename = "projectid", deserialize_with = "fields::id")]
    pub project_id: Option<CloudId>,
}

impl Entry for ResourceLimit {
    fn is_whole(&self) -> bool {
        self.resource_type.is_some() && self.max.is_some()
    }
}

impl Client {
    /// An account's limits.
    pub async fn list_resource_limits(&self, account: &str, domain: CloudId) -> Result<Listing<ResourceLimit>, Error> {
        self.list_limits_of(&LimitOwner::Account { name: account.to_owned(), domain_id: domain }).await
    }

    /// The limits of an account or project.
    pub async fn list_limits_of(&self, owner: &LimitOwner) -> Result<Listing<ResourceLimit>, Error> {
        self.list_all("listResourceLimits", &owner.params()).await
    }

    /// Sets one limit. What exists beyond it is not touched, but nothing more can be made.
    pub async fn update_resource_limit(
        &self,
        owner: &LimitOwner,
        resource_type: i32,
        max: i64,
        tag: Option<&str>,
    ) -> Result<ResourceLimit, Error> {
        let params = owner.params().with("resourcetype", resource_type).with("max", max).with_some("tag", tag);
        self.write_entity("updateResourceLimit", &params).await
    }
}
