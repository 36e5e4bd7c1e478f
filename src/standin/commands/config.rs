//! listConfigurations and updateConfiguration.

use serde_json::{Value, json};

use super::{Call, Result};
use crate::{
    ids::CloudId,
    standin::{
        envelope::Failure,
        world::settings::{DEFINITIONS, Definition, Settings},
    },
};

fn view(definition: &Definition, value: &str, scope: Option<&str>) -> Value {
    let (group, subgroup) = definition.group.split_once('/').unwrap_or((definition.group, "Others"));
    let words = definition.name.replace('.', " ");
    let mut letters = words.chars();
    let displaytext: String =
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect();
    json!({
        "category": definition.category,
        "group": group,
        "subgroup": subgroup,
        "name": definition.name,
        "value": (!value.is_empty()).then_some(value),
        "defaultvalue": (!definition.default.is_empty()).then_some(definition.default),
        "scope": scope,
        "description": definition.description,
        "isdynamic": definition.dynamic,
        "component": definition.component,
        "displaytext": displaytext,
        "type": definition.kind,
    })
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let (domain, account) = (call.domain("domainid")?, call.account("accountid")?);
    let (name, keyword, category) = (call.filled("name"), call.filled("keyword"), call.filled("category"));
    let rows: Vec<&Definition> = DEFINITIONS
        .iter()
        .filter(|row| name.is_none_or(|name| row.name == name))
        .filter(|row| keyword.is_none_or(|keyword| row.name.contains(keyword)))
        .filter(|row| category.is_none_or(|category| row.category.eq_ignore_ascii_case(category)))
        .filter(|row| domain.is_none() || row.scopes.contains('d'))
        .filter(|row| account.is_none() || row.scopes.contains('a'))
        .collect();
    call.paged("configuration", &rows, |call, row| match (domain, account) {
        (Some(domain), _) => view(row, call.world.settings.domain(domain, row.name), Some("domain")),
        (None, Some(account)) => view(row, account_value(call, account, row.name), Some("account")),
        (None, None) => view(row, call.world.settings.global(row.name), None),
    })
}

fn account_value<'a>(call: &'a Call<'_>, account: CloudId, name: &str) -> &'a str {
    call.world
        .accounts
        .get(account)
        .and_then(|account| account.allowed_cidrs.as_deref())
        .unwrap_or_else(|| call.world.settings.global(name))
}

pub(super) fn update(call: &mut Call<'_>) -> Result<Value> {
    let name = call.text("name").unwrap_or_default().to_owned();
    let value = call.text("value").unwrap_or_default().to_owned();
    let Some(definition) = Settings::definition(&name) else {
        return Err(Failure::invalid(format!("Config parameter with name {name} doesn't exist")));
    };
    let (domain, account) = (call.domain("domainid")?, call.account("accountid")?);
    let scope = match (domain, account) {
        (Some(domain), _) if definition.scopes.contains('d') => {
            call.world.settings.set_domain(domain, &name, &value);
            Some("domain")
        }
        (None, Some(account)) if definition.scopes.contains('a') => {
            call.world.set_allowed_cidrs(account, Some(&value));
            Some("account")
        }
        (None, None) => {
            call.world.settings.set_global(&name, &value);
            None
        }
        _ => return Err(Failure::invalid(format!("Invalid scope id provided for the parameter {name}"))),
    };
    Ok(json!({"configuration": view(definition, &value, scope)}))
}
