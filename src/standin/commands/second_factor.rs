//! The second factor (facts 2.4; `AccountManagerImpl`, `ApiServlet`, `ValidateUserTwoFactorAuthenticationCodeCmd`).

use serde_json::{Value, json};

use super::{Call, Incoming, Result};
use crate::{
    ids::CloudId,
    secrets::Secret,
    standin::{
        envelope::{self, Failure, Reply},
        totp,
        world::{World, entities::SecondFactor},
    },
};

/// The name by which the servlet knows the check of a code: in this case only.
pub(super) const VALIDATE: &str = "validateUserTwoFactorAuthenticationCode";
/// Commands that a session may call while its second factor is awaited.
const BEFORE_SECOND_FACTOR: [&str; 4] =
    ["listIdps", "listApis", "listUserTwoFactorAuthenticatorProviders", "setupUserTwoFactorAuthentication"];

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
        let name = call.world.users.get(user).map(|row| row.username.clone());
        switch_off(call.world, user);
        return Ok(json!({"setup2fa": {"id": user, "username": name}}));
    }
    let domain = call.caller.domain;
    if !call.world.settings.is_on(domain, "enable.user.2fa") && !call.world.settings.is_on(domain, "mandate.user.2fa") {
        return Err(Failure::runtime("2FA is not enabled for this domain or at global level"));
    }
    let default = call.world.settings.domain(domain, "user.2fa.default.provider");
    let provider = match call.filled("provider").unwrap_or(default).to_lowercase().as_str() {
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
        format!("{:06}", number % 999_999)
    };
    let account = call.world.accounts.get(call.caller.account).map_or("", |account| account.name.as_str()).to_owned();
    let Some(row) = call.world.users.get_mut(call.caller.user) else { return Err(Failure::credentials()) };
    if row.second_factor.is_some() {
        return Err(Failure::runtime(format!("2FA key is already setup for the user account {account}")));
    }
    row.second_factor = Some(SecondFactor { secret: Secret::new(&*secret), provider, verified: false });
    Ok(json!({"setup2fa": {"id": row.id, "username": row.username, "secretcode": secret}}))
}

/// Secret, provider and switch go; a wish that the person should have one goes with them.
fn switch_off(world: &mut World, user: CloudId) {
    if let Some(row) = world.users.get_mut(user) {
        row.second_factor = None;
        row.mandate_2fa = false;
    }
}

/// What is left of a second factor at a login: a set-up that was never verified is wiped, and so is a wish without one.
pub(super) fn tidy_at_login(world: &mut World, user: CloudId) {
    let unverified = |row: &crate::standin::world::entities::User| match &row.second_factor {
        Some(factor) => !factor.verified,
        None => row.mandate_2fa,
    };
    if world.users.get(user).is_some_and(unverified) {
        switch_off(world, user);
    }
}

/// Whether everybody of a domain must have one.
pub(super) fn is_mandated(world: &World, domain: CloudId) -> bool {
    world.settings.is_on(domain, "enable.user.2fa") && world.settings.is_on(domain, "mandate.user.2fa")
}

/// The command's table holds it for listApis; by a key it can not be called, in a session [`validate`] comes first.
pub(super) fn only_in_a_session(_: &mut Call<'_>) -> Result<Value> {
    Err(Failure::server(405, "This is an authentication api, cannot be used directly"))
}

/// Why a pending session is ended by this command; None where it is not pending any more, or the command is free.
pub(super) fn gate(world: &World, session: &str, command: &str) -> Option<Failure> {
    let session = world.sessions.get(session)?;
    if session.verified || BEFORE_SECOND_FACTOR.iter().any(|free| free.eq_ignore_ascii_case(command)) {
        return None;
    }
    let user = world.users.get(session.user)?;
    let domain = world.accounts.get(user.account).map_or(world.root_domain(), |account| account.domain);
    // Switched off meanwhile, and nobody wants one: the session is as good as any.
    match (&user.second_factor, user.mandate_2fa || is_mandated(world, domain)) {
        (Some(_), _) => Some(Failure::second_factor_awaited()),
        (None, true) => Some(Failure::second_factor_mandated()),
        (None, false) => None,
    }
}

/// Checks a code before anything else about the session is looked at. A wrong one ends the session, verified or not; during the
/// set-up it undoes the set-up instead. `Ok(None)`: the server fails inside and answers nothing.
pub(super) fn validate(world: &mut World, incoming: &Incoming, session: &str) -> Result<Option<Value>> {
    let given = incoming.parameters.get("codefor2fa").map_or("", String::as_str);
    if given.is_empty() {
        return Err(Failure::server(531, "Code for two factor authentication is required"));
    }
    let Some(user) = world.sessions.get(session).map(|session| session.user) else { return Ok(None) };
    let now = world.now;
    // Without a set-up the check throws something that nobody catches.
    let Some(factor) = world.users.get(user).and_then(|user| user.second_factor.clone()) else { return Ok(None) };
    let right = match factor.provider {
        "totp" => totp::totp_code(factor.secret.expose(), now) == given,
        _ => factor.secret.matches(given),
    };
    if !right {
        if factor.verified {
            world.sessions.remove(session);
        } else {
            switch_off(world, user);
        }
        return Err(Failure::second_factor_wrong());
    }
    if let Some(user) = world.users.get_mut(user) {
        user.second_factor = Some(SecondFactor { verified: true, ..factor });
    }
    Ok(Some(json!({"success": true})))
}

/// The command under a name in another case: the code is checked and the set-up counts as verified, but the session goes on
/// waiting, and the session key is not looked at.
pub(super) fn validate_in_another_case(world: &mut World, incoming: &Incoming) -> Option<Reply> {
    let session = incoming.session_id().filter(|id| super::sessions::is_live(world, id))?.to_owned();
    match validate(world, incoming, &session) {
        Ok(content) => content.map(|content| Reply::success(VALIDATE, None, content)),
        Err(failure) => Some(Reply::failure(VALIDATE, &failure, false)),
    }
}
