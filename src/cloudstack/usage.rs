//! Usage records as CloudStack reports them, and the job that makes them.

use std::{str::FromStr, time::Duration};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Client, Error, Listing, Page, envelope::Entry, fields, params::Params};
use crate::{
    ids::CloudId,
    time::{Period, Timestamp},
};

/// CloudStack's ends are inclusive to the second; ours are the first instant after.
const INCLUSIVE_END: Duration = Duration::from_secs(1);

/// Which usage records to ask for. Accounts by id only: by name CloudStack may give everybody's (facts 3.1).
#[derive(Debug, Clone, Copy)]
pub struct UsageQuery {
    /// Only records that lie wholly inside are given; those across an edge are left out by the server.
    pub range: Period,
    /// Only this account's, removed ones too. Not together with `project`.
    pub account: Option<CloudId>,
    /// Only this project's.
    pub project: Option<CloudId>,
    /// Only this type's.
    pub usage_type: Option<i32>,
    /// With the tags that the resources have now. Dear: the server reads its whole table of tags each time (facts 3.2).
    pub tags: bool,
}

impl UsageQuery {
    /// Everything in a range.
    pub const fn all(range: Period) -> Self {
        Self { range, account: None, project: None, usage_type: None, tags: false }
    }

    fn params(&self) -> Params {
        Params::new()
            .with("startdate", self.range.start().to_cloudstack())
            .with("enddate", self.range.end().minus(INCLUSIVE_END).to_cloudstack())
            .with_some("accountid", self.account)
            .with_some("projectid", self.project)
            .with_some("type", self.usage_type)
            .with_some("includetags", self.tags.then_some("true"))
    }
}

/// A usage record as it came. Nothing is required: project records have no account, some types no usage id. It has no id
/// of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the fields are CloudStack's own, listed in its API reference; units are in facts 3.3")]
#[serde(default)]
pub struct UsageRow {
    #[serde(deserialize_with = "fields::text")]
    pub account: Option<String>,
    #[serde(rename = "accountid", deserialize_with = "fields::text")]
    pub account_id: Option<String>,
    #[serde(rename = "projectid", deserialize_with = "fields::text")]
    pub project_id: Option<String>,
    #[serde(deserialize_with = "fields::text")]
    pub project: Option<String>,
    #[serde(rename = "domainid", deserialize_with = "fields::text")]
    pub domain_id: Option<String>,
    #[serde(deserialize_with = "fields::text")]
    pub domain: Option<String>,
    #[serde(rename = "domainpath", deserialize_with = "fields::text")]
    pub domain_path: Option<String>,
    #[serde(rename = "zoneid", deserialize_with = "fields::text")]
    pub zone_id: Option<String>,
    #[serde(deserialize_with = "fields::text")]
    pub description: Option<String>,
    #[serde(deserialize_with = "fields::text")]
    pub usage: Option<String>,
    #[serde(rename = "usagetype", deserialize_with = "fields::whole")]
    pub usage_type: Option<i32>,
    #[serde(rename = "rawusage", deserialize_with = "fields::text")]
    pub raw_usage: Option<String>,
    #[serde(rename = "virtualmachineid", deserialize_with = "fields::text")]
    pub virtual_machine_id: Option<String>,
    #[serde(deserialize_with = "fields::text")]
    pub name: Option<String>,
    #[serde(rename = "offeringid", deserialize_with = "fields::text")]
    pub offering_id: Option<String>,
    #[serde(rename = "templateid", deserialize_with = "fields::text")]
    pub template_id: Option<String>,
    #[serde(rename = "ostypeid", deserialize_with = "fields::text")]
    pub os_type_id: Option<String>,
    #[serde(rename = "osdisplayname", deserialize_with = "fields::text")]
    pub os_display_name: Option<String>,
    #[serde(rename = "oscategoryid", deserialize_with = "fields::text")]
    pub os_category_id: Option<String>,
    #[serde(rename = "oscategoryname", deserialize_with = "fields::text")]
    pub os_category_name: Option<String>,
    #[serde(rename = "usageid", deserialize_with = "fields::text")]
    pub usage_id: Option<String>,
    #[serde(rename = "type", deserialize_with = "fields::text")]
    pub resource_type: Option<String>,
    #[serde(deserialize_with = "fields::whole")]
    pub size: Option<i64>,
    #[serde(rename = "virtualsize", deserialize_with = "fields::whole")]
    pub virtual_size: Option<i64>,
    #[serde(rename = "cpunumber", deserialize_with = "fields::whole")]
    pub cpu_number: Option<i64>,
    #[serde(rename = "cpuspeed", deserialize_with = "fields::whole")]
    pub cpu_speed: Option<i64>,
    #[serde(deserialize_with = "fields::whole")]
    pub memory: Option<i64>,
    #[serde(rename = "startdate", deserialize_with = "fields::text")]
    pub start_date: Option<String>,
    #[serde(rename = "enddate", deserialize_with = "fields::text")]
    pub end_date: Option<String>,
    #[serde(rename = "issourcenat", deserialize_with = "fields::flag")]
    pub is_source_nat: Option<bool>,
    #[serde(rename = "issystem", deserialize_with = "fields::flag")]
    pub is_system: Option<bool>,
    #[serde(rename = "networkid", deserialize_with = "fields::text")]
    pub network_id: Option<String>,
    #[serde(rename = "isdefault", deserialize_with = "fields::flag")]
    pub is_default: Option<bool>,
    #[serde(rename = "vpcid", deserialize_with = "fields::text")]
    pub vpc_id: Option<String>,
    pub tags: Vec<ResourceTag>,
}

/// A tag of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceTag {
    /// Its key.
    #[serde(deserialize_with = "fields::text")]
    pub key: Option<String>,
    /// Its value.
    #[serde(deserialize_with = "fields::text")]
    pub value: Option<String>,
}

impl UsageRow {
    /// The half-open period that the record covers: its inclusive end is turned here and nowhere else.
    pub fn period(&self) -> Option<Period> {
        let start = Timestamp::parse_cloudstack(self.start_date.as_deref()?)?;
        let end = Timestamp::parse_cloudstack(self.end_date.as_deref()?)?;
        Period::new(start, end.plus(INCLUSIVE_END))
    }

    /// The quantity, in the unit of the type. Some servers write a decimal comma (facts 3.2).
    pub fn quantity(&self) -> Option<Decimal> {
        let text = self.raw_usage.as_deref()?.trim();
        match text.bytes().filter(|b| matches!(b, b',' | b'.')).count() {
            0 | 1 => Decimal::from_str(&text.replace(',', ".")).ok(),
            // Two separators: which one is the decimal one is a guess.
            _ => None,
        }
    }
}

impl Entry for UsageRow {
    fn is_whole(&self) -> bool {
        self.usage_type.is_some() && self.start_date.is_some() && self.end_date.is_some()
    }
}

/// A usage type that this release knows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UsageType {
    /// Its number. Older releases call it `usagetypeid`.
    #[serde(alias = "usagetypeid")]
    pub id: i32,
    /// Its name, such as `RUNNING_VM`; absent in older releases.
    #[serde(default, deserialize_with = "fields::text")]
    pub name: Option<String>,
    /// What it is.
    #[serde(default, deserialize_with = "fields::text")]
    pub description: Option<String>,
}

impl Entry for UsageType {}

/// How the usage server is. Its last successful job is the only sign that a window is closed (facts 3.4).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct UsageServerMetrics {
    /// The end of what the last successful job covered.
    #[serde(rename = "lastsuccessfuljob", deserialize_with = "fields::instant")]
    pub last_successful_job: Option<Timestamp>,
    /// When it last showed signs of life.
    #[serde(rename = "lastheartbeat", deserialize_with = "fields::instant")]
    pub last_heartbeat: Option<Timestamp>,
    /// When these figures were taken.
    #[serde(rename = "collectiontime", deserialize_with = "fields::instant")]
    pub collected: Option<Timestamp>,
    /// `Up` or `Down`.
    #[serde(deserialize_with = "fields::text")]
    pub state: Option<String>,
    /// The machine it runs on.
    #[serde(deserialize_with = "fields::text")]
    pub hostname: Option<String>,
}

impl Client {
    /// One page of the usage records in a range, in the order of their making. Pages from 1, sizes up to
    /// [`Client::page_size`].
    pub async fn usage_page(&self, range: Period, page: u32, page_size: u32) -> Result<Page<UsageRow>, Error> {
        self.usage_page_for(&UsageQuery::all(range), page, page_size).await
    }

    /// One page of the usage records that a query names.
    pub async fn usage_page_for(&self, query: &UsageQuery, page: u32, page_size: u32) -> Result<Page<UsageRow>, Error> {
        self.read_list("listUsageRecords", &query.params().with("page", page).with("pagesize", page_size)).await
    }

    /// Downloads one page without reading it, and gives its length in bytes: what a sync is measured against.
    pub async fn usage_page_bytes(&self, range: Period, page: u32, page_size: u32) -> Result<usize, Error> {
        let params = UsageQuery::all(range).params().with("page", page).with("pagesize", page_size);
        Ok(self.read("listUsageRecords", &params).await?.body.len())
    }

    /// How many usage records there are in a range, for the price of one.
    pub async fn usage_count(&self, range: Period) -> Result<u64, Error> {
        self.usage_count_for(&UsageQuery::all(range)).await
    }

    /// How many usage records a query names.
    pub async fn usage_count_for(&self, query: &UsageQuery) -> Result<u64, Error> {
        let page = self.usage_page_for(query, 1, 1).await?;
        match page.count {
            Some(count) => Ok(count),
            None if page.rows() == 0 => Ok(0),
            None => Err(Error::malformed("listUsageRecords: there are records, but no count of them")),
        }
    }

    /// The usage types of this release.
    pub async fn usage_types(&self) -> Result<Listing<UsageType>, Error> {
        let page = self.read_list("listUsageTypes", &Params::new()).await?;
        Ok(Listing { items: page.items, unreadable: page.unreadable })
    }

    /// How the usage server is; None where there is none, before 4.17 or without the right to ask.
    pub async fn usage_server_metrics(&self) -> Result<Option<UsageServerMetrics>, Error> {
        match self.read_entity("listUsageServerMetrics", &Params::new()).await {
            Ok(metrics) if metrics == UsageServerMetrics::default() => Ok(None),
            Ok(metrics) => Ok(Some(metrics)),
            Err(Error::NotAllowed { code: 432, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
