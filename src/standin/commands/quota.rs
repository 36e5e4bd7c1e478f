//! The quota plugin, as far as bursar meets it: whether it is on, its tariffs, and the credit that unlocks accounts.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{Call, Result};
use crate::{
    ids::CloudId,
    standin::{
        dates::Edge,
        envelope::{self, Failure, double},
        usage::TYPES,
        world::{
            RoleKind, State, World,
            entities::PROJECT_ACCOUNT,
            machines::object,
            quota::{QuotaCredit, QuotaTariff},
        },
    },
};

/// Types without a tariff row in 4.22.
const UNPRICED: [u8; 6] = [26, 27, 28, 29, 30, 31];

fn symbol(call: &Call<'_>) -> String {
    call.world.settings.global("quota.currency.symbol").to_owned()
}

/// Millionths as Java writes a double of that value.
fn java_double(micros: i64) -> Value {
    let text = Decimal::new(micros, 6).normalize().to_string();
    double(&if text.contains('.') { text } else { format!("{text}.0") })
}

#[expect(clippy::unnecessary_wraps, reason = "every command has this signature")]
pub(super) fn is_enabled(call: &mut Call<'_>) -> Result<Value> {
    let on = call.world.settings.global("quota.enable.service") == "true";
    Ok(json!({"isenabled": {"isenabled": on}}))
}

pub(super) fn summary(call: &mut Call<'_>) -> Result<Value> {
    let everything = call.flag("listall") && call.caller.role != RoleKind::User;
    let mut rows: Vec<(String, CloudId)> = call
        .world
        .accounts
        .iter()
        .filter(|account| account.removed.is_none() && account.kind != PROJECT_ACCOUNT)
        .filter(|account| {
            if everything {
                call.caller.is_root() || call.world.in_tree(account.domain, call.caller.domain)
            } else {
                account.id == call.caller.account
            }
        })
        .map(|account| (account.name.clone(), account.id))
        .collect();
    rows.sort();
    call.paged("summary", &rows, |call, (_, id)| {
        let world = &*call.world;
        let Some(account) = world.accounts.get(*id) else { return Value::Null };
        let day = world.date(world.now);
        let noon = |date: &str| format!("{}T12:00:00+0000", date.get(..10).unwrap_or_default());
        let first = format!("{}-01", day.get(..7).unwrap_or_default());
        let tomorrow = world.date(world.now.plus(std::time::Duration::from_hours(24)));
        json!({
            "accountid": account.id,
            "account": account.name,
            "domainid": account.domain,
            "domain": world.domains.get(account.domain).map(|domain| &domain.name),
            "balance": java_double(account.quota_micros),
            "state": account.state.name().to_uppercase(),
            "quota": java_double(0),
            "startdate": noon(&first),
            "enddate": noon(&tomorrow),
            "currency": symbol(call),
            "quotaenabled": true,
        })
    })
}

fn target(call: &Call<'_>) -> Result<CloudId> {
    let domain = call.domain("domainid")?.unwrap_or(call.caller.domain);
    let name = call.text("account").unwrap_or_default();
    let account = call.world.account_named(domain, name).map(|account| account.id);
    let account = account
        .ok_or_else(|| Failure::invalid(format!("The account does not exists or has been removed/disabled: {name}")))?;
    call.check_access(account)?;
    Ok(account)
}

pub(super) fn balance(call: &mut Call<'_>) -> Result<Value> {
    let account = target(call)?;
    let micros = call.world.accounts.get(account).map_or(0, |account| account.quota_micros);
    Ok(json!({"balance": {
        "startquota": java_double(micros),
        "credits": [],
        "startdate": call.world.date(call.world.now),
        "currency": symbol(call),
    }}))
}

/// The plugin's unit of a type and its discriminator.
fn unit(usage_type: u8) -> (&'static str, &'static str) {
    match usage_type {
        1 | 2 => ("Compute*Month", ""),
        3 => ("IP*Month", ""),
        4 | 5 => ("GB", ""),
        6..=9 | 25 => ("GB*Month", ""),
        21 | 22 => ("IOPS", "1"),
        23 | 24 => ("Bytes", "1"),
        _ => ("Policy*Month", ""),
    }
}

/// A tariff as it is listed: one that somebody made, or the plugin's own of nothing.
fn tariff_view(call: &Call<'_>, number: u8, own: Option<&QuotaTariff>) -> Value {
    let (name, description) = TYPES
        .iter()
        .find(|(known, _, _)| *known == number)
        .map_or(("", ""), |(_, name, description)| (*name, *description));
    let (unit, discriminator) = unit(number);
    let mut view = object(json!({
        "usageType": number,
        "usageName": name,
        "usageUnit": unit,
        "usageDiscriminator": discriminator,
        "tariffValue": java_double(own.map_or(0, |own| own.value_micros)),
        "effectiveDate": own.map_or_else(|| "2010-05-04T00:00:00+0000".to_owned(), |own| call.world.date(own.from)),
        "usageTypeDescription": description,
        "currency": symbol(call),
        "name": own.map_or(name, |own| own.name.as_str()),
        "id": own.map_or_else(|| World::tariff_id(number), |own| own.id),
        "position": 1,
    }));
    if let Some(own) = own {
        if let Some(last) = own.last {
            view.insert("endDate".to_owned(), json!(call.world.date(last)));
        }
        if let Some(rule) = &own.rule {
            view.insert("activationRule".to_owned(), json!(rule));
        }
    }
    Value::Object(view)
}

pub(super) fn tariffs(call: &mut Call<'_>) -> Result<Value> {
    let wanted = call.number("usagetype")?;
    let mut rows: Vec<(u8, Option<QuotaTariff>)> = Vec::new();
    for (number, _, _) in TYPES.iter().rev() {
        if wanted.is_some_and(|wanted| i64::from(*number) != wanted) {
            continue;
        }
        let own: Vec<_> = call.world.quota.tariffs.iter().filter(|row| row.usage_type == *number).cloned().collect();
        if own.is_empty() && !UNPRICED.contains(number) {
            rows.push((*number, None));
        }
        rows.extend(own.into_iter().map(|row| (*number, Some(row))));
    }
    call.paged("quotatariff", &rows, |call, (number, own)| tariff_view(call, *number, own.as_ref()))
}

/// What the plugin charged an account from the first day to the last, both whole.
pub(super) fn statement(call: &mut Call<'_>) -> Result<Value> {
    let account = target(call)?;
    let (Some(from), Some(last)) = (call.date("startdate", Edge::Start)?, call.date("enddate", Edge::End)?) else {
        return Err(Failure::missing(call.command.name, "startdate"));
    };
    let charges = call.world.quota.charges.iter().filter(|row| row.account == account);
    let mut sums: BTreeMap<u8, i64> = BTreeMap::new();
    for row in charges.filter(|row| row.at >= from && row.at <= last) {
        *sums.entry(row.usage_type).or_default() += row.micros;
    }
    if sums.is_empty() {
        return Err(Failure::invalid("There is no usage data for the account and period given."));
    }
    let total = sums.values().sum();
    let name = |number: u8| TYPES.iter().find(|(known, _, _)| *known == number).map_or("", |(_, name, _)| *name);
    let items: Vec<Value> = sums
        .into_iter()
        .map(|(number, micros)| {
            json!({"type": number, "name": name(number), "unit": unit(number).0, "quota": java_double(micros)})
        })
        .collect();
    Ok(json!({"statement": {
        "quotausage": items,
        "totalquota": java_double(total),
        "startdate": call.world.date(from),
        "enddate": call.world.date(last),
        "currency": symbol(call),
    }}))
}

/// The credits that an account was given.
pub(super) fn credits_list(call: &mut Call<'_>) -> Result<Value> {
    let account = call.account("accountid")?.unwrap_or(call.caller.account);
    call.check_access(account)?;
    let from = call.date("startdate", Edge::Start)?;
    let rows: Vec<Value> = call
        .world
        .quota
        .credits
        .iter()
        .filter(|row| row.account == account && from.is_none_or(|from| row.at >= from))
        .map(|row| {
            json!({
                "credit": java_double(row.micros),
                "creditoruserid": row.by,
                "creditorusername": call.world.users.get(row.by).map(|user| &user.username),
                "creditedon": call.world.date(row.at),
                "currency": symbol(call),
            })
        })
        .collect();
    Ok(envelope::list("credit", rows.len(), rows))
}

/// Credits an account. With enforcement on, any locked account whose balance is not negative is enabled, whoever locked
/// it and why.
pub(super) fn credits(call: &mut Call<'_>) -> Result<Value> {
    let account = target(call)?;
    let text = call.text("value").unwrap_or_default();
    let value: Decimal = text.parse().map_err(|_| call.no_such("value"))?;
    let micros = value
        .checked_mul(Decimal::from(1_000_000))
        .and_then(|micros| i64::try_from(micros.trunc().mantissa() / 10_i128.pow(micros.trunc().scale())).ok());
    let micros = micros.ok_or_else(|| call.no_such("value"))?;
    let enforced = call.world.settings.global("quota.enable.enforcement") == "true";
    let enforce = call.flag("quota_enforce");
    let user = call.world.users.get(call.caller.user).map(|user| user.username.clone());
    let credit = QuotaCredit { account, by: call.caller.user, at: call.world.now, micros };
    call.world.quota.credits.push(credit);
    let mut lock = false;
    if let Some(row) = call.world.accounts.get_mut(account) {
        row.quota_micros = row.quota_micros.saturating_add(micros);
        if enforced && row.quota_micros >= 0 && row.state == State::Locked {
            row.state = State::Enabled;
        }
        lock = enforced && row.quota_micros < 0 && row.state == State::Enabled;
    }
    if lock {
        if !call.parameters.contains_key("quota_enforce") {
            // The server's NullPointerException, after the credit was stored.
            return Err(Failure::runtime("Failed to credit"));
        }
        if enforce {
            call.world.set_account_state(account, State::Locked);
        }
    }
    let credit = double(&value.normalize().to_string());
    Ok(json!({"quotacredits": {
        "credit": credit,
        "creditoruserid": call.caller.user,
        "creditorusername": user,
        "creditedon": call.world.date(call.world.now),
        "currency": symbol(call),
    }}))
}
