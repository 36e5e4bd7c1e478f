//! Roles and their rules.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Result};
use crate::{
    ids::CloudId,
    standin::{
        envelope::Failure,
        world::{
            RoleKind,
            entities::{Role, Rule},
            next,
        },
    },
};

fn view(role: &Role, listed: bool) -> Value {
    json!({
        "type": role.kind.name(),
        "isdefault": listed.then_some(role.is_default),
        "state": "enabled",
        "id": role.id,
        "name": role.name,
        "description": role.description,
        "ispublic": true,
    })
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let (id, name, kind) = (call.filled("id"), call.filled("name"), call.filled("type"));
    let rows: Vec<&Role> = call
        .world
        .roles
        .iter()
        .filter(|role| id.is_none_or(|id| id.parse() == Ok(role.id)))
        .filter(|role| name.is_none_or(|name| role.name == name))
        .filter(|role| kind.is_none_or(|kind| role.kind.name().eq_ignore_ascii_case(kind)))
        .collect();
    call.paged("role", &rows, |_, role| view(role, true))
}

pub(super) fn create(call: &mut Call<'_>) -> Result<Value> {
    let name = call.text("name").unwrap_or_default().to_owned();
    let kind = call
        .filled("type")
        .and_then(RoleKind::from_name)
        .ok_or_else(|| Failure::invalid("Invalid role type provided"))?;
    if call.world.find_role(&name).is_some() {
        return Err(Failure::runtime(format!("Role with name {name} already exists")));
    }
    let description = call.filled("description").map(str::to_owned);
    let (id, number) = (call.world.ids.id(), next(&mut call.world.numbers.role));
    let role = Role { id, number, name, kind, description, is_default: false, rules: Vec::new() };
    let shown = view(&role, false);
    call.world.roles.push(role);
    Ok(json!({"role": shown}))
}

pub(super) fn permit(call: &mut Call<'_>) -> Result<Value> {
    let text = call.filled("roleid").unwrap_or_default();
    let role = call.world.roles.find_by_text(text).map(|role| role.id).ok_or_else(|| call.no_such("roleid"))?;
    if call.world.roles.get(role).is_some_and(|role| role.is_default) {
        return Err(Failure::permission("Role permission cannot be added for Default roles"));
    }
    let rule = call.text("rule").unwrap_or_default().to_owned();
    if rule.is_empty() || !rule.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '*') {
        return Err(Failure::invalid("Only API names and wildcards are allowed, invalid rule provided"));
    }
    let permission = call.text("permission").unwrap_or_default().to_lowercase();
    if permission != "allow" && permission != "deny" {
        return Err(Failure::invalid("Values for permission parameter should be: allow, deny"));
    }
    let description = call.filled("description").map(str::to_owned);
    let mut number = 0;
    if let Some(role) = call.world.roles.get_mut(role) {
        number = role.rules.len();
        role.rules.push(Rule { pattern: rule.clone(), allow: permission == "allow" });
    }
    Ok(json!({"rolepermission": {
        "id": rule_id(role, number), "roleid": role, "rule": rule, "permission": permission, "description": description,
    }}))
}

/// Rules are never taken away here, so that their place names them.
fn rule_id(role: CloudId, number: usize) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{role}/{number}").as_bytes())
}

pub(super) fn permissions(call: &mut Call<'_>) -> Result<Value> {
    let wanted = call.filled("roleid").and_then(|text| call.world.roles.find_by_text(text)).map(|role| role.id);
    let rows: Vec<(&Role, usize, &Rule)> = call
        .world
        .roles
        .iter()
        .filter(|role| wanted.is_none_or(|id| role.id == id))
        .flat_map(|role| role.rules.iter().enumerate().map(move |(number, rule)| (role, number, rule)))
        .collect();
    call.paged("rolepermission", &rows, |_, (role, number, rule)| {
        json!({
            "id": rule_id(role.id, *number), "roleid": role.id, "rolename": role.name, "rule": rule.pattern,
            "permission": if rule.allow { "allow" } else { "deny" },
        })
    })
}
