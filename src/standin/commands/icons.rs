//! Resource icons. Only pictures that Java's `ImageIO` reads are taken: PNG, JPEG, GIF, BMP.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Call, Result};
use crate::{
    ids::CloudId,
    standin::{envelope, envelope::Failure, guesses},
};

const SIGNATURES: [&[u8]; 4] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM"];

/// The resources of a call, each checked to be within the caller's reach.
fn targets(call: &Call<'_>) -> Result<(String, Vec<String>)> {
    let kind = call.text("resourcetype").unwrap_or_default().to_owned();
    if !["User", "Account", "Project", "Domain", "UserVm", "Template", "Zone", "Network", "Volume"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(&kind))
    {
        return Err(Failure::invalid(guesses::ICON_TYPE));
    }
    let ids: Vec<String> =
        call.text("resourceids").unwrap_or_default().split(',').map(|id| id.trim().to_owned()).collect();
    for id in &ids {
        let Ok(id) = id.parse::<CloudId>() else {
            return Err(Failure::invalid(format!("Cannot find resource with id {id}")));
        };
        let owner = call
            .world
            .users
            .get(id)
            .map(|user| user.account)
            .or_else(|| call.world.accounts.get(id).map(|account| account.id))
            .or_else(|| call.world.projects.get(id).map(|project| project.account))
            .or_else(|| call.world.vms.get(id).map(|vm| vm.owner));
        if let Some(owner) = owner {
            call.check_access(owner)?;
        }
    }
    Ok((kind, ids))
}

pub(super) fn upload(call: &mut Call<'_>) -> Result<Value> {
    let (kind, ids) = targets(call)?;
    let image = call.text("base64image").unwrap_or_default().to_owned();
    let bytes = STANDARD.decode(&image).unwrap_or_default();
    if !SIGNATURES.iter().any(|signature| bytes.starts_with(signature)) {
        return Err(Failure::server(530, "Invalid image uploaded"));
    }
    for id in ids {
        call.world.icons.insert((kind.clone(), id), image.clone());
    }
    Ok(json!({"success": true}))
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let (kind, ids) = targets(call)?;
    let rows: Vec<Value> = ids
        .into_iter()
        .filter_map(|id| {
            let image = call.world.icons.get(&(kind.clone(), id.clone()))?;
            Some(json!({"resourcetype": kind, "resourceid": id, "base64image": image}))
        })
        .collect();
    Ok(envelope::list("icon", rows.len(), rows))
}

pub(super) fn delete(call: &mut Call<'_>) -> Result<Value> {
    let (kind, ids) = targets(call)?;
    for id in ids {
        call.world.icons.remove(&(kind.clone(), id));
    }
    Ok(json!({"success": true}))
}
