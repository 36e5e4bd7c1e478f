//! The second factor (facts 2.4).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Call, Caller, Result};
use crate::{
    secrets::Secret,
    standin::{
        envelope::{self, Failure},
        totp,
        world::{World, entities::SecondFactor},
    },
};

#[expect(clippy::unnecessary_wraps, reason = "every command has this signature")]
pub(super) fn providers(_: &mut Call<'_>) -> Result<Value> {
    let rows = vec![
        json!({"name": "totp", "description": "TOTP user two factor authentication provider Plugin"}),
        json!({"name": "staticpin", "description": "Static Pin user two factor authentication provider Plugin"}),
    ];
    Ok(envelope::list("providers", rows.len(), rows))
}

/// Enabling is for the caller only; disabling takes a user id, and asks for no code.
pub(super) fn set_up(call: &mut Call<'_>) -> Result<Value> {
    let enable = call.text("enable").is_none_or(|text| text.eq_ignore_ascii_case("true"));
    if !enable {
        let user = match call.filled("userid") {
            Some(_) => call.user("userid")?,
            None => call.caller.user,
        };
        let Some(account) = call.world.users.get(user).map(|user| user.account) else {
            return Err(Failure::invalid("Invalid user ID provided"));
        };
        call.check_access(account)?;
        let mut name = String::new();
        if let Some(row) = call.world.users.get_mut(user) {
            row.second_factor = None;
            name.clone_from(&row.username);
        }
        return Ok(json!({"setup2fa": {"id": user, "username": name}}));
    }
    if !call.world.settings.is_on(call.caller.domain, "enable.user.2fa") {
        return Err(Failure::runtime("2FA is not enabled for this domain or at global level"));
    }
    let default = call.world.settings.domain(call.caller.domain, "user.2fa.default.provider");
    let provider = match call.filled("provider").unwrap_or(default) {
        "staticpin" => "staticpin",
        "totp" => "totp",
        other => {
            return Err(Failure::runtime(format!(
                "Failed to find two factor authentication provider by the name: {other}."
            )));
        }
    };
    let bytes = call.world.ids.bytes20();
    let secret = if provider == "totp" {
        totp::base32(&bytes)
    } else {
        let number = bytes.iter().take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        format!("{:06}", number % 1_000_000)
    };
    let Some(row) = call.world.users.get_mut(call.caller.user) else { return Err(Failure::credentials()) };
    if row.second_factor.is_some() {
        return Err(Failure::runtime("2FA key is already setup"));
    }
    row.second_factor = Some(SecondFactor { secret: Secret::new(&*secret), provider, verified: false });
    Ok(json!({"setup2fa": {"id": row.id, "username": row.username, "secretcode": secret}}))
}

/// The commands' table holds this one for listApis; [`validate`] is called instead, because it needs the session.
pub(super) fn unreachable(_: &mut Call<'_>) -> Result<Value> {
    Err(Failure::credentials())
}

/// Checks a code. A wrong one ends a pending session; during the set-up it undoes the set-up.
pub(super) fn validate(
    world: &mut World,
    session: Option<&str>,
    parameters: &BTreeMap<String, String>,
    caller: Caller,
) -> Result<Value> {
    let given = parameters.get("codefor2fa").map_or("", String::as_str);
    let now = world.now;
    let Some(user) = world.users.get_mut(caller.user) else { return Err(Failure::credentials()) };
    let Some(factor) = user.second_factor.clone() else {
        return Err(Failure::runtime(format!(
            "Two factor authentication is not enabled on the user: {}",
            user.username
        )));
    };
    let right = match factor.provider {
        "totp" => totp::totp_code(factor.secret.expose(), now) == given,
        _ => factor.secret.matches(given),
    };
    if !right {
        if factor.verified {
            if let Some(id) = session {
                world.sessions.remove(id);
            }
        } else {
            user.second_factor = None;
        }
        return Err(Failure::second_factor_wrong());
    }
    user.second_factor = Some(SecondFactor { verified: true, ..factor });
    if let Some(session) = session.and_then(|id| world.sessions.get_mut(id)) {
        session.verified = true;
    }
    Ok(json!({"success": true}))
}
