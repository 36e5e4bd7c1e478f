//! listApis: what the caller may call. Reduced to what clients read: parameters with their types.

use serde_json::{Value, json};

use super::{Call, Command, Result, access::allowed_by_role, registry};
use crate::standin::{envelope, envelope::Failure};

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let wanted = call.filled("name").map(|name| registry::find_loosely(call.world, name));
    let commands: Vec<&Command> = match wanted {
        Some(found) => found.into_iter().filter(|command| allowed_by_role(call.world, call.caller, command)).collect(),
        None => registry::all(call.world)
            .into_iter()
            .filter(|command| allowed_by_role(call.world, call.caller, command))
            .collect(),
    };
    if commands.is_empty() {
        return Err(Failure::server(
            530,
            "Api Discovery plugin was unable to find an api by that name or process any apis",
        ));
    }
    // This list knows no pages.
    Ok(envelope::list("api", commands.len(), commands.into_iter().map(view).collect()))
}

fn view(command: &Command) -> Value {
    let custom_job = command.is_async.then_some(("customjobid", "string", false));
    let parameters: Vec<Value> = command
        .parameters
        .iter()
        .copied()
        .chain(custom_job)
        .map(|(name, kind, required)| {
            json!({
                "name": name, "description": "", "type": kind, "length": 255, "required": required,
                "related": (kind == "uuid").then_some(""),
            })
        })
        .collect();
    json!({
        "name": command.name,
        "description": command.description,
        "isasync": command.is_async,
        "related": "",
        "params": parameters,
        "response": [{"name": "id", "description": "the ID", "type": "string"}],
    })
}
