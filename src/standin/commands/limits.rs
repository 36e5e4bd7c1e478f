//! listResourceLimits and updateResourceLimit.

use serde_json::{Value, json};

use super::{Call, Result, Scope};
use crate::{
    ids::CloudId,
    standin::{
        envelope::Failure,
        world::{
            World,
            limits::{KINDS, Kind},
            machines::object,
        },
    },
};

fn target(call: &Call<'_>) -> Result<CloudId> {
    match call.scope()? {
        Scope::Account(account) => Ok(account),
        _ => Ok(call.caller.account),
    }
}

fn view(call: &Call<'_>, account: CloudId, kind: &Kind) -> Value {
    let mut view = call.world.owner_fields(account);
    let max = call.world.accounts.get(account).map_or(-1, |row| World::limit(row, kind));
    let mut own = object(json!({
        "resourcetype": kind.number.to_string(),
        "resourcetypename": kind.name,
        "max": max,
    }));
    view.append(&mut own);
    Value::Object(view)
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let account = target(call)?;
    let wanted = call.number("resourcetype")?;
    let rows: Vec<&Kind> =
        KINDS.iter().filter(|kind| wanted.is_none_or(|number| i64::from(kind.number) == number)).collect();
    call.paged("resourcelimit", &rows, |call, kind| view(call, account, kind))
}

pub(super) fn update(call: &mut Call<'_>) -> Result<Value> {
    let account = target(call)?;
    let number = call.number("resourcetype")?.unwrap_or(-1);
    let Some(kind) = KINDS.iter().find(|kind| i64::from(kind.number) == number) else {
        return Err(Failure::invalid("Please specify valid resource type"));
    };
    let max = call.number("max")?.unwrap_or(-1);
    if let Some(row) = call.world.accounts.get_mut(account) {
        row.limits.insert(kind.number, max.max(-1));
    }
    Ok(json!({"resourcelimit": view(call, account, kind)}))
}
