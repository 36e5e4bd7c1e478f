//! Resource limits of accounts and projects.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Client, Error, Listing, envelope::Entry, fields, inventory::LiveVolume, params::Params};
use crate::ids::CloudId;

/// CloudStack's number of the limit on primary storage, in GiB.
pub const PRIMARY_STORAGE: i32 = 10;
/// Bytes of a GiB.
const GIB: u64 = 1 << 30;

/// What is in use of each limited resource: the number in updateResourceLimit, and the field of listAccounts and
/// listProjects (recorded 040, 145). Memory is in MiB, storage in GiB.
const USE_FIELDS: [(i32, &str); 17] = [
    (0, "vmtotal"),
    (1, "iptotal"),
    (2, "volumetotal"),
    (3, "snapshottotal"),
    (4, "templatetotal"),
    (5, "projecttotal"),
    (6, "networktotal"),
    (7, "vpctotal"),
    (8, "cputotal"),
    (9, "memorytotal"),
    (PRIMARY_STORAGE, "primarystoragetotal"),
    (11, "secondarystoragetotal"),
    (12, "backuptotal"),
    (13, "backupstoragetotal"),
    (14, "buckettotal"),
    (15, "objectstoragetotal"),
    (16, "gputotal"),
];

/// The limit of each resource, in the same rows: a number, or "Unlimited". Those without a tag.
const LIMIT_FIELDS: [(i32, &str); 6] = [
    (0, "vmlimit"),
    (2, "volumelimit"),
    (8, "cpulimit"),
    (9, "memorylimit"),
    (PRIMARY_STORAGE, "primarystoragelimit"),
    (16, "gpulimit"),
];

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

/// What an account or project uses of each limited resource. Fractions (storage in GiB) are rounded up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceUse {
    id: CloudId,
    name: String,
    totals: BTreeMap<i32, i64>,
    /// Of what a tag can narrow, the limits without one.
    limits: BTreeMap<i32, i64>,
}

impl ResourceUse {
    /// What is in use of a resource type; None where CloudStack does not say.
    pub fn of(&self, resource_type: i32) -> Option<i64> {
        self.totals.get(&resource_type).copied()
    }

    /// Raises what is known to be in use: CloudStack cuts primary storage down to whole GiB in its lists.
    pub fn raise(&mut self, resource_type: i32, at_least: i64) {
        let total = self.totals.entry(resource_type).or_insert(at_least);
        *total = (*total).max(at_least);
    }
}

impl<'de> Deserialize<'de> for ResourceUse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Row {
            id: CloudId,
            #[serde(default, deserialize_with = "fields::text")]
            name: Option<String>,
            #[serde(flatten)]
            fields: Map<String, Value>,
        }
        let row = Row::deserialize(deserializer)?;
        let total = |field: &str| row.fields.get(field).and_then(rounded_up);
        let totals = USE_FIELDS.iter().filter_map(|(number, field)| Some((*number, total(field)?))).collect();
        let limit = |field: &str| row.fields.get(field).and_then(limit_of);
        let limits = LIMIT_FIELDS.iter().filter_map(|(number, field)| Some((*number, limit(field)?))).collect();
        Ok(Self { id: row.id, name: row.name.unwrap_or_default(), totals, limits })
    }
}

impl Entry for ResourceUse {}

/// A limit as listAccounts and listProjects write it; -1 is unlimited.
fn limit_of(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) if text.trim().eq_ignore_ascii_case("unlimited") => Some(-1),
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
    .filter(|limit| *limit >= -1)
}

/// A number or a text with one, rounded up.
fn rounded_up(value: &Value) -> Option<i64> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let number = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(&text)).ok()?;
    i64::try_from(number.ceil()).ok().filter(|total| *total >= 0)
}

impl Client {
    /// What an account uses; None if there is none of this id.
    pub async fn get_account_use(&self, id: CloudId) -> Result<Option<ResourceUse>, Error> {
        self.find_one("listAccounts", &Params::new().with("id", id), |used: &ResourceUse| used.id == id).await
    }

    /// What a project uses; None if there is none of this id.
    pub async fn get_project_use(&self, id: CloudId) -> Result<Option<ResourceUse>, Error> {
        let params = Params::new().with("id", id).with("listall", true);
        self.find_one("listProjects", &params, |used: &ResourceUse| used.id == id).await
    }

    /// The volumes of an account or project together, rounded up to GiB.
    pub async fn sum_volumes_gib(&self, owner: &LimitOwner) -> Result<i64, Error> {
        let params = owner.params().with("listall", true);
        let volumes: Listing<LiveVolume> = self.list_all("listVolumes", &params).await?;
        let bytes = volumes
            .iter()
            .filter_map(|volume| volume.size_bytes.and_then(|size| u64::try_from(size).ok()))
            .fold(0_u64, u64::saturating_add);
        Ok(i64::try_from(bytes.div_ceil(GIB)).unwrap_or(i64::MAX))
    }

    /// An account's limits.
    pub async fn list_resource_limits(&self, account: &str, domain: CloudId) -> Result<Listing<ResourceLimit>, Error> {
        self.list_limits_of(&LimitOwner::Account { name: account.to_owned(), domain_id: domain }).await
    }

    /// The limits of an account or project. Where one of a kind is narrowed to a tag, CloudStack leaves out the one without a tag unless
    /// that was set too, also where the tag is none any more (`ResourceLimitManagerImpl.searchForLimits`): those are taken from the
    /// account or project itself.
    pub async fn list_limits_of(&self, owner: &LimitOwner) -> Result<Listing<ResourceLimit>, Error> {
        let mut listed: Listing<ResourceLimit> = self.list_all("listResourceLimits", &owner.params()).await?;
        let is_listed = |number: i32| listed.iter().any(|row| row.resource_type == Some(number) && row.tag.is_none());
        let missing: Vec<i32> =
            LIMIT_FIELDS.iter().map(|(number, _)| *number).filter(|number| !is_listed(*number)).collect();
        if missing.is_empty() {
            return Ok(listed);
        }
        let known = match owner {
            LimitOwner::Account { name, domain_id } => {
                let params = Params::new().with("name", name).with("domainid", domain_id).with("listall", true);
                self.find_one("listAccounts", &params, |row: &ResourceUse| row.name == *name).await?
            }
            LimitOwner::Project(id) => self.get_project_use(*id).await?,
        };
        let Some(known) = known else { return Ok(listed) };
        listed.items.extend(missing.into_iter().filter_map(|number| {
            let max = Some(*known.limits.get(&number)?);
            Some(ResourceLimit {
                resource_type: Some(number),
                resource_type_name: None,
                max,
                tag: None,
                account: None,
                domain_id: None,
                project_id: None,
            })
        }));
        Ok(listed)
    }

    /// Sets one limit. Only while the account is enabled, or the project active (531 otherwise). What exists beyond it is not touched, but nothing more can be made.
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
