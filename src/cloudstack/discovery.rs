//! What this cloud is and can do: version, APIs, settings, management servers. Behaviour goes by what CloudStack says
//! here and not by tables of versions.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Client, Error, envelope::Entry, fields, params::Params};
use crate::ids::CloudId;

/// What CloudStack says of itself to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Capabilities {
    /// The version, such as `4.22.0.0`.
    #[serde(rename = "cloudstackversion", deserialize_with = "fields::required_text")]
    pub version: String,
    /// Whether roles are made of rules (the default since 4.9).
    #[serde(default, rename = "dynamicrolesenabled", deserialize_with = "fields::flag")]
    pub dynamic_roles: Option<bool>,
    /// Seconds of the throttle's window; absent without throttling.
    #[serde(default, rename = "apilimitinterval", deserialize_with = "fields::whole")]
    pub api_limit_interval_s: Option<u64>,
    /// Calls in that window.
    #[serde(default, rename = "apilimitmax", deserialize_with = "fields::whole")]
    pub api_limit_max: Option<u64>,
    /// Whether a plain user sees every account of the domain.
    #[serde(default, rename = "allowuserviewalldomainaccounts", deserialize_with = "fields::flag")]
    pub users_view_all_domain_accounts: Option<bool>,
}

impl Capabilities {
    /// Major, minor and patch number of the version.
    pub fn release(&self) -> Option<(u32, u32, u32)> {
        let mut numbers = self.version.split(['.', '-']).map(str::parse::<u32>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), patch) => Some((major, minor, patch.and_then(Result::ok).unwrap_or(0))),
            _ => None,
        }
    }
}

/// An API as this caller may use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiDescription {
    /// Its name.
    #[serde(deserialize_with = "fields::required_text")]
    pub name: String,
    /// Whether it answers with a job.
    #[serde(default, rename = "isasync")]
    pub is_async: bool,
    /// Its parameters.
    #[serde(default)]
    pub params: Vec<ApiParameter>,
}

/// A parameter of an API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiParameter {
    /// Its name.
    #[serde(deserialize_with = "fields::required_text")]
    pub name: String,
    /// Its type, such as `uuid`.
    #[serde(default, rename = "type", deserialize_with = "fields::text")]
    pub parameter_type: Option<String>,
    /// Whether a call needs it.
    #[serde(default, deserialize_with = "fields::flag")]
    pub required: Option<bool>,
}

impl ApiDescription {
    /// Whether it takes a parameter of this name.
    pub fn takes(&self, parameter: &str) -> bool {
        self.params.iter().any(|p| p.name.eq_ignore_ascii_case(parameter))
    }
}

impl Entry for ApiDescription {
    fn is_whole(&self) -> bool {
        !self.params.is_empty() || !self.name.is_empty()
    }
}

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Configuration {
    /// Its name.
    #[serde(deserialize_with = "fields::required_text")]
    pub name: String,
    /// Its value; absent where it is secret or unset.
    #[serde(default, deserialize_with = "fields::text")]
    pub value: Option<String>,
}

impl Entry for Configuration {}

impl Client {
    /// Version and capabilities. Every caller may ask: the first call to a new cloud.
    pub async fn capabilities(&self) -> Result<Capabilities, Error> {
        self.read_entity("listCapabilities", &Params::new()).await
    }

    /// One API as this caller may use it; None if it is missing or not allowed. Always by name: the whole list can trip
    /// the server's own throttle (facts 1.7).
    pub async fn api(&self, name: &str) -> Result<Option<ApiDescription>, Error> {
        match self.read_list::<ApiDescription>("listApis", &Params::new().with("name", name)).await {
            Ok(page) => Ok(page.items.into_iter().find(|api| api.name.eq_ignore_ascii_case(name))),
            // 4.22 answers an error for what is not there.
            Err(Error::Refused { code: 530, text }) if text.to_ascii_lowercase().contains("unable to find an api") => {
                Ok(None)
            }
            Err(Error::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The global value of a setting; None if it is unknown, unset or secret. Admin roles only.
    pub async fn configuration(&self, name: &str) -> Result<Option<String>, Error> {
        self.setting(name, Params::new()).await
    }

    /// The value of a setting for a domain.
    pub async fn domain_configuration(&self, name: &str, domain: CloudId) -> Result<Option<String>, Error> {
        self.setting(name, Params::new().with("domainid", domain)).await
    }

    /// The value of a setting for an account.
    pub async fn account_configuration(&self, name: &str, account: CloudId) -> Result<Option<String>, Error> {
        self.setting(name, Params::new().with("accountid", account)).await
    }

    /// The values that settings whose name holds `part` have for a domain, by name. Unset and secret ones are left out.
    pub async fn domain_settings(&self, part: &str, domain: CloudId) -> Result<BTreeMap<String, String>, Error> {
        let params = Params::new().with("keyword", part).with("domainid", domain);
        let page = self.read_list::<Configuration>("listConfigurations", &params).await?;
        // The server looks for the word in descriptions too.
        let named = page.items.into_iter().filter(|setting| setting.name.contains(part));
        Ok(named.filter_map(|setting| Some((setting.name, setting.value?))).collect())
    }

    async fn setting(&self, name: &str, scope: Params) -> Result<Option<String>, Error> {
        // The server may match parts of names.
        self.find_one("listConfigurations", &scope.with("name", name), |c: &Configuration| c.name == name)
            .await
            .map(|found| found.and_then(|configuration| configuration.value))
    }

    /// Whether the quota plugin calculates.
    pub async fn quota_is_enabled(&self) -> Result<bool, Error> {
        self.is_on("quota.enable.service").await
    }

    /// Whether the quota plugin locks accounts by itself.
    pub async fn quota_enforcing(&self) -> Result<bool, Error> {
        self.is_on("quota.enable.enforcement").await
    }

    async fn is_on(&self, name: &str) -> Result<bool, Error> {
        Ok(self.configuration(name).await?.is_some_and(|value| value.trim().eq_ignore_ascii_case("true")))
    }

    /// How many management servers there are; None where the caller may not know.
    pub async fn management_servers(&self) -> Result<Option<u64>, Error> {
        match self.read_list::<Value>("listManagementServers", &Params::new()).await {
            Ok(page) => Ok(Some(page.count.unwrap_or(page.rows() as u64))),
            Err(Error::NotAllowed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
