//! listEvents, newest first.

use serde_json::{Value, json};

use super::{Call, Edge, Result};
use crate::standin::{
    envelope::Failure,
    world::{entities::Event, machines::object},
};

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let scope = call.scope()?;
    let (id, kind, level) = (call.filled("id"), call.filled("type"), call.filled("level"));
    let (resource, resource_type) = (call.filled("resourceid"), call.filled("resourcetype"));
    // Read in the source (QueryManagerImpl, 4.22).
    if let Some(id) = resource {
        let Some(kind) = resource_type else {
            return Err(Failure::invalid("resourceid parameter must be used with resourcetype parameter"));
        };
        let id = id.parse().map_err(|_| Failure::invalid("Invalid resourceid"))?;
        if kind.eq_ignore_ascii_case("Account") && call.world.accounts.get(id).is_none() {
            return Err(Failure::invalid("Invalid resourceid"));
        }
    }
    let (from, to) = (call.date("startdate", Edge::Start)?, call.date("enddate", Edge::End)?);
    let mut rows: Vec<(usize, &Event)> = call
        .world
        .events
        .iter()
        .enumerate()
        .filter(|(_, event)| call.owns_in_scope(scope, event.account))
        .filter(|(_, event)| id.is_none_or(|id| id.parse() == Ok(event.id)))
        .filter(|(_, event)| kind.is_none_or(|kind| event.kind == kind))
        .filter(|(_, event)| level.is_none_or(|level| event.level.eq_ignore_ascii_case(level)))
        .filter(|(_, event)| {
            let about = event.resource.as_ref();
            resource.is_none_or(|id| about.is_some_and(|(_, own, _)| id.parse() == Ok(*own)))
                && resource_type.is_none_or(|kind| about.is_some_and(|(own, _, _)| own.eq_ignore_ascii_case(kind)))
        })
        .filter(|(_, event)| from.is_none_or(|from| event.created >= from) && to.is_none_or(|to| event.created <= to))
        .collect();
    rows.sort_by_key(|(place, event)| (std::cmp::Reverse(event.created.as_seconds()), *place));
    call.paged("event", &rows, |call, (_, event)| view(call, event))
}

fn view(call: &Call<'_>, event: &Event) -> Value {
    let about = event.resource.as_ref();
    let mut view = object(json!({
        "id": event.id,
        "username": event.username,
        "type": event.kind,
        "level": event.level,
        "description": event.description,
        "resourceid": about.map(|(_, id, _)| id),
        "resourcetype": about.map(|(kind, _, _)| kind),
        "resourcename": about.map(|(_, _, name)| name),
        "created": call.world.date(event.created),
        "state": event.state,
        "parentid": event.parent,
    }));
    view.append(&mut call.world.owner_fields(event.account));
    Value::Object(view)
}
