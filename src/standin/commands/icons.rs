//! Resource icons. Only pictures that Java's `ImageIO` reads are taken: PNG, JPEG, GIF, BMP. PNG and JPEG are read in full, of the
//! others only the first bytes are looked at.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Call, Result};
use crate::{
    ids::CloudId,
    standin::{envelope, envelope::Failure, guesses},
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";
/// Characters that the column `resource_icon.icon` holds.
const LONGEST_ICON: usize = 65_535;
const LOOKED_AT_ONLY: [&[u8]; 2] = [b"GIF8", b"BM"];

fn is_picture(bytes: &[u8]) -> bool {
    let reads = |format| image::load_from_memory_with_format(bytes, format).is_ok();
    match bytes {
        png if png.starts_with(PNG) => reads(image::ImageFormat::Png),
        jpeg if jpeg.starts_with(JPEG) => reads(image::ImageFormat::Jpeg),
        other => LOOKED_AT_ONLY.iter().any(|signature| other.starts_with(signature)),
    }
}

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
        match owner {
            Some(owner) => call.check_access(owner)?,
            None if kind.eq_ignore_ascii_case("user") => {
                return Err(Failure::server(530, guesses::no_such_resource(&id.to_string(), &kind)));
            }
            None => {}
        }
    }
    Ok((kind, ids))
}

pub(super) fn upload(call: &mut Call<'_>) -> Result<Value> {
    let image = call.text("base64image").unwrap_or_default().to_owned();
    if !STANDARD.decode(&image).is_ok_and(|bytes| is_picture(&bytes)) {
        return Err(Failure::server(530, "Invalid image uploaded"));
    }
    if image.len() > LONGEST_ICON {
        return Err(Failure::server(530, guesses::ICON_TOO_LONG));
    }
    let (kind, ids) = targets(call)?;
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
    let mut any = false;
    for id in ids {
        any |= call.world.icons.remove(&(kind.clone(), id)).is_some();
    }
    if !any {
        return Err(Failure::server(530, "Failed to delete resource image"));
    }
    Ok(json!({"success": true}))
}
