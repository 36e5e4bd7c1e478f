//! Key pairs (facts 5): one a user, overwritten by whoever registers the next.

use serde_json::{Value, json};

use super::{Call, Caller, Result, access};
use crate::{ids::CloudId, standin::envelope::Failure};

/// The user of a call, removed ones too, unless the caller has no business with its account.
fn reachable(call: &Call<'_>) -> Result<CloudId> {
    let user = call.user("id")?;
    let account = call.world.users.get(user).map(|user| user.account).ok_or_else(|| call.no_such("id"))?;
    call.check_access(account)?;
    Ok(user)
}

pub(super) fn register(call: &mut Call<'_>) -> Result<Value> {
    let user = reachable(call)?;
    let (api_key, secret_key) = call.world.register_keys(user);
    let about = call.world.about_user("REGISTER.USER.KEY", user);
    call.world.completed_event(&about, call.caller.user, "Successfully completed register for the developer API keys.");
    Ok(json!({"userkeys": {"apikey": api_key, "secretkey": secret_key.expose()}}))
}

pub(super) fn get(call: &mut Call<'_>) -> Result<Value> {
    let user = reachable(call)?;
    let Some(row) = call.world.users.get(user) else { return Err(call.no_such("id")) };
    let domain = call.world.accounts.get(row.account).map_or(call.caller.domain, |account| account.domain);
    let owner = Caller { user, account: row.account, domain, role: call.caller.role };
    Ok(json!({"userkeys": {
        "apikey": row.api_key,
        "secretkey": row.secret_key.as_ref().map(|secret| secret.expose().to_owned()),
        "apikeyaccess": access::key_access(call.world, owner),
    }}))
}

pub(super) fn user_by_key(call: &mut Call<'_>) -> Result<Value> {
    let found = call.text("userapikey").and_then(|key| call.world.api_keys.get(key).copied());
    let user = found.ok_or_else(|| Failure::invalid("User does not exist"))?;
    Ok(json!({"user": call.world.user_view(user)}))
}

/// `Enabled`, `Disabled` or `Inherit`, in any case.
pub(super) fn access_of(text: &str) -> Result<Option<bool>> {
    match text.to_lowercase().as_str() {
        "enabled" => Ok(Some(true)),
        "disabled" => Ok(Some(false)),
        "inherit" => Ok(None),
        _ => Err(Failure::invalid("ApiKeyAccess value can only be Enabled/Disabled/Inherit")),
    }
}
