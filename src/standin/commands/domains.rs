//! listDomains.

use serde_json::Value;

use super::{Call, Result};
use crate::{ids::CloudId, standin::envelope::Failure};

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let wanted = call.domain("id")?;
    if let Some(domain) = wanted
        && !call.caller.is_root()
        && !call.world.in_tree(domain, call.caller.domain)
    {
        return Err(Failure::no_permission());
    }
    let (name, keyword) = (call.filled("name"), call.filled("keyword"));
    let everything = call.flag("listall");
    let rows: Vec<CloudId> = call
        .world
        .domains
        .iter()
        .filter(|row| match wanted {
            Some(id) => row.id == id,
            None if everything && call.caller.is_root() => true,
            None if everything => call.world.in_tree(row.id, call.caller.domain),
            None => row.id == call.caller.domain,
        })
        .filter(|row| name.is_none_or(|name| row.name == name))
        .filter(|row| keyword.is_none_or(|keyword| row.name.contains(keyword)))
        .map(|row| row.id)
        .collect();
    call.paged("domain", &rows, |call, id| call.world.domain_view(*id))
}
