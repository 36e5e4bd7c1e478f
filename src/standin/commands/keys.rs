//! Key pairs (facts 5): one a user, overwritten by whoever registers the next.

use serde_json::{Value, json};

use super::{Call, Caller, Result, access};
use crate::{
    ids::CloudId,
    standin::{
        envelope::{self, Failure},
        world::{RoleKind, pairs::NamedPair},
    },
    time::Timestamp,
};

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

/// The pair of a call, unless the caller has no business with its user.
fn pair_of(call: &Call<'_>) -> Result<NamedPair> {
    let text = call.filled("keypairid").unwrap_or_default();
    let pair = call.world.named_pairs.iter().find(|pair| pair.id.to_string() == text).cloned();
    let pair = pair.ok_or_else(|| call.no_such("keypairid"))?;
    may_touch(call, pair.user)?;
    Ok(pair)
}

/// Only administrators have to do with the pairs of others (`AccountManagerImpl`).
fn may_touch(call: &Call<'_>, user: CloudId) -> Result<()> {
    if call.caller.role == RoleKind::User && call.caller.user != user {
        return Err(Failure::permission("Only admins can operate on API keys owned by other users"));
    }
    let account = call.world.users.get(user).map(|user| user.account).ok_or_else(|| call.no_such("userid"))?;
    call.check_access(account)
}

fn named_view(pair: &NamedPair, call: &Call<'_>) -> Value {
    json!({
        "id": pair.id, "name": pair.name, "description": pair.description, "apikey": pair.api_key,
        "secretkey": pair.secret_key.expose(), "userid": pair.user, "created": call.world.date(pair.created),
        "enddate": pair.end.map(|end| call.world.date(end)), "state": "ENABLED",
    })
}

/// One more pair; the others stay.
pub(super) fn register_named(call: &mut Call<'_>) -> Result<Value> {
    let user = reachable(call)?;
    let end = match call.filled("enddate") {
        Some(text) => Some(
            Timestamp::parse_cloudstack(text)
                .ok_or_else(|| Failure::invalid(format!("Unable to parse date {text} for command registerUserKeys")))?,
        ),
        None => None,
    };
    if end.is_some_and(|end| end <= call.world.now) {
        return Err(Failure::invalid(
            "Keypair cannot be created with expired date, please input a date on the future.",
        ));
    }
    let username = call.world.users.get(user).map(|user| user.username.clone()).unwrap_or_default();
    let name = call.filled("name").map_or_else(|| format!("{username} - API Keypair"), str::to_owned);
    let description = call.filled("description").map(str::to_owned);
    let (id, _, _) = call.world.add_named_pair(user, &name, end);
    if let Some(pair) = call.world.named_pairs.iter_mut().find(|pair| pair.id == id) {
        pair.description = description;
    }
    let about = call.world.about_user("REGISTER.USER.KEY", user);
    call.world.completed_event(&about, call.caller.user, "Successfully completed register for the developer API keys.");
    let pair = call.world.named_pairs.iter().find(|pair| pair.id == id).cloned();
    Ok(json!({"userkeys": pair.map(|pair| named_view(&pair, call))}))
}

/// The pairs of a user. As in CloudStack, `count` is that of all pairs, shown or not (#13828).
pub(super) fn list_named(call: &mut Call<'_>) -> Result<Value> {
    let pairs = if call.filled("keypairid").is_some() {
        vec![pair_of(call)?]
    } else {
        let user = match call.filled("userid") {
            Some(_) => call.user("userid")?,
            None => call.caller.user,
        };
        may_touch(call, user)?;
        call.world.pairs_of(user)
    };
    let rows: Vec<Value> = pairs.iter().map(|pair| named_view(pair, call)).collect();
    let count = call.world.named_pairs.len().max(rows.len());
    Ok(envelope::list("userapikey", count, rows))
}

pub(super) fn delete_named(call: &mut Call<'_>) -> Result<Value> {
    let pair = pair_of(call)?;
    call.world.remove_pair(pair.id);
    Ok(json!({"success": true}))
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
