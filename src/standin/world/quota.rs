//! What the quota plugin keeps: tariffs beyond its own of nothing, what it charged, and the credits it was given.

use super::World;
use crate::{ids::CloudId, time::Timestamp};

/// A tariff of the quota plugin.
#[derive(Debug, Clone)]
pub(crate) struct QuotaTariff {
    pub id: CloudId,
    pub usage_type: u8,
    pub name: String,
    pub value_micros: i64,
    pub from: Timestamp,
    /// The last instant of it: inclusive, as in CloudStack.
    pub last: Option<Timestamp>,
    pub rule: Option<String>,
}

/// What the plugin charged an account for a type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuotaCharge {
    pub account: CloudId,
    pub usage_type: u8,
    pub at: Timestamp,
    pub micros: i64,
}

/// Credit given to an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuotaCredit {
    pub account: CloudId,
    pub by: CloudId,
    pub at: Timestamp,
    pub micros: i64,
}

/// What the plugin keeps.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    pub tariffs: Vec<QuotaTariff>,
    pub charges: Vec<QuotaCharge>,
    pub credits: Vec<QuotaCredit>,
}

impl World {
    /// Adds a tariff of the quota plugin; its own one of nothing is no longer listed for that type. `last` is inclusive.
    pub fn add_quota_tariff(
        &mut self,
        usage_type: u8,
        value_micros: i64,
        (from, last): (Timestamp, Option<Timestamp>),
        rule: Option<&str>,
    ) {
        let id = self.ids.id();
        let name = format!("tariff {}", self.quota.tariffs.len() + 1);
        let rule = rule.map(str::to_owned);
        self.quota.tariffs.push(QuotaTariff { id, usage_type, name, value_micros, from, last, rule });
    }

    /// Adds what the quota plugin charged an account for usage of a type that began then.
    pub fn add_quota_charge(&mut self, account: CloudId, usage_type: u8, at: Timestamp, micros: i64) {
        self.quota.charges.push(QuotaCharge { account, usage_type, at, micros });
    }
}
