//! What the quota plugin says: its tariffs, what accounts have there, and what it charged. Reads only.

use rust_decimal::Decimal;
use serde::Deserialize;

use super::{Client, Error, Listing, envelope::Entry, fields, params::Params};
use crate::{
    ids::CloudId,
    time::{Day, Timestamp},
};

/// From when on credits are asked for: before the quota plugin there were none.
const FIRST_CREDIT: &str = "2010-01-01";

/// A tariff of the quota plugin. CloudStack's own names, with a capital inside.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct QuotaTariff {
    /// The usage type.
    #[serde(rename = "usageType", deserialize_with = "fields::whole")]
    pub usage_type: Option<i32>,
    /// What it is for: `Compute*Month`, `GB*Month`, …
    #[serde(default, rename = "usageUnit", deserialize_with = "fields::text")]
    pub unit: Option<String>,
    /// The price, a plain decimal number.
    #[serde(default, rename = "tariffValue", deserialize_with = "fields::text")]
    pub value: Option<String>,
    /// Since when.
    #[serde(default, rename = "effectiveDate", deserialize_with = "fields::instant")]
    pub from: Option<Timestamp>,
    /// Until when, inclusive.
    #[serde(default, rename = "endDate", deserialize_with = "fields::instant")]
    pub last: Option<Timestamp>,
    /// A script that decides whether and how much.
    #[serde(default, rename = "activationRule", deserialize_with = "fields::text")]
    pub rule: Option<String>,
    /// What people call it.
    #[serde(default, deserialize_with = "fields::text")]
    pub name: Option<String>,
}

impl Entry for QuotaTariff {
    fn is_whole(&self) -> bool {
        self.usage_type.is_some()
    }
}

/// What an account has in the quota plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct QuotaBalance {
    /// The account.
    #[serde(rename = "accountid", deserialize_with = "fields::required_text")]
    pub account_id: String,
    /// Its name.
    #[serde(default, deserialize_with = "fields::text")]
    pub account: Option<String>,
    /// What it has; below zero it owes. A plain decimal number.
    #[serde(default, deserialize_with = "fields::text")]
    pub balance: Option<String>,
    /// The currency's symbol.
    #[serde(default, deserialize_with = "fields::text")]
    pub currency: Option<String>,
}

impl Entry for QuotaBalance {}

/// Credit that somebody gave.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct QuotaCredit {
    /// How much. A plain decimal number.
    #[serde(deserialize_with = "fields::required_text")]
    pub credit: String,
    /// Who.
    #[serde(default, rename = "creditorusername", deserialize_with = "fields::text")]
    pub by: Option<String>,
    /// When.
    #[serde(default, rename = "creditedon", deserialize_with = "fields::instant")]
    pub at: Option<Timestamp>,
}

impl Entry for QuotaCredit {}

/// What the quota plugin charged for a usage type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct QuotaItem {
    /// The usage type.
    #[serde(rename = "type", deserialize_with = "fields::whole")]
    pub usage_type: Option<i32>,
    /// How much. A plain decimal number.
    #[serde(default, deserialize_with = "fields::text")]
    pub quota: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Statement {
    #[serde(default)]
    quotausage: Vec<QuotaItem>,
}

impl QuotaItem {
    /// How much; None where it can not be read.
    pub fn amount(&self) -> Option<Decimal> {
        self.quota.as_deref()?.parse().ok()
    }
}

impl Client {
    /// Every tariff that was not removed.
    pub async fn quota_tariffs(&self) -> Result<Listing<QuotaTariff>, Error> {
        self.list_all("quotaTariffList", &Params::new()).await
    }

    /// What every account has.
    pub async fn quota_balances(&self) -> Result<Listing<QuotaBalance>, Error> {
        self.list_all("quotaSummary", &Params::new().with("listall", true)).await
    }

    /// Every credit of an account (4.21 on).
    pub async fn quota_credits(&self, account: &str) -> Result<Vec<QuotaCredit>, Error> {
        let params = Params::new().with("accountid", account).with("startdate", FIRST_CREDIT);
        Ok(self.read_list("quotaCreditsList", &params).await?.items)
    }

    /// What an account was charged from the first to the last of these days, by usage type. Nothing at all is an error
    /// there (facts 9.3), and an empty list here.
    pub async fn quota_statement(
        &self,
        account: &str,
        domain: CloudId,
        (first, last): (Day, Day),
    ) -> Result<Vec<QuotaItem>, Error> {
        let params = Params::new()
            .with("account", account)
            .with("domainid", domain)
            .with("startdate", first)
            .with("enddate", last);
        match self.read_entity::<Statement>("quotaStatement", &params).await {
            Ok(statement) => Ok(statement.quotausage),
            Err(Error::Refused { code: 431, .. } | Error::Gone { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
