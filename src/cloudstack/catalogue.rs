//! What prices are made for: zones and offerings.

use serde::Deserialize;

use super::{Client, Error, Listing, envelope::Entry, fields, params::Params};

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Zone {
    /// Its id.
    #[serde(deserialize_with = "fields::required_text")]
    pub id: String,
    /// Its name.
    #[serde(deserialize_with = "fields::required_text")]
    pub name: String,
}

impl Entry for Zone {}

/// A service, disk or network offering. Fields that a kind does not have are absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Offering {
    /// Its id.
    #[serde(deserialize_with = "fields::required_text")]
    pub id: String,
    /// Its name.
    #[serde(deserialize_with = "fields::required_text")]
    pub name: String,
    /// The text that people see.
    #[serde(default, rename = "displaytext", deserialize_with = "fields::text")]
    pub display_text: Option<String>,
    /// `Active`, `Enabled`, …
    #[serde(default, deserialize_with = "fields::text")]
    pub state: Option<String>,
    /// Processors of a service offering.
    #[serde(default, rename = "cpunumber", deserialize_with = "fields::whole")]
    pub cpu_number: Option<i64>,
    /// MHz of each processor.
    #[serde(default, rename = "cpuspeed", deserialize_with = "fields::whole")]
    pub cpu_speed: Option<i64>,
    /// MiB of memory.
    #[serde(default, deserialize_with = "fields::whole")]
    pub memory: Option<i64>,
    /// GiB of a disk offering.
    #[serde(default, rename = "disksize", deserialize_with = "fields::whole")]
    pub disk_size: Option<i64>,
    /// Whether the size is chosen with each machine or disk.
    #[serde(default, rename = "iscustomized", deserialize_with = "fields::flag")]
    pub is_customized: Option<bool>,
}

impl Entry for Offering {}

impl Client {
    /// Every zone.
    pub async fn list_zones(&self) -> Result<Listing<Zone>, Error> {
        self.list_all("listZones", &Params::new()).await
    }

    /// Every service offering, those of all domains too.
    pub async fn list_service_offerings(&self) -> Result<Listing<Offering>, Error> {
        self.list_all("listServiceOfferings", &Params::new().with("listall", true)).await
    }

    /// Every disk offering.
    pub async fn list_disk_offerings(&self) -> Result<Listing<Offering>, Error> {
        self.list_all("listDiskOfferings", &Params::new().with("listall", true)).await
    }

    /// Every network offering.
    pub async fn list_network_offerings(&self) -> Result<Listing<Offering>, Error> {
        self.list_all("listNetworkOfferings", &Params::new()).await
    }
}
