//! Users: lists, making, profile, password, states (facts 4.4, 5, 6).

use serde_json::{Value, json};

use super::{Call, Result, Scope, keys};
use crate::{
    ids::CloudId,
    secrets::Secret,
    standin::{
        envelope::Failure,
        guesses,
        world::{RoleKind, entities::PROJECT_ACCOUNT, entities::SYSTEM_ACCOUNT, entities::State, jobs::Work},
    },
};

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let wanted = match call.filled("id") {
        Some(_) => Some(call.user("id")?),
        None => None,
    };
    let own = call.caller.role == RoleKind::User;
    if let Some(id) = wanted {
        let account = call.world.users.get(id).map(|user| user.account);
        let refused = if own {
            id != call.caller.user
        } else {
            account.is_none_or(|account| !call.world.may_access(call.caller.account, account))
        };
        if refused {
            return Err(Failure::permission("Calling user is not authorized to see the user requested by id"));
        }
    }
    // `accountid` is no parameter of this command: unknown parameters are ignored.
    let scope = match wanted.and_then(|id| call.world.users.get(id)) {
        Some(user) => Scope::Account(user.account),
        None => call.scope()?,
    };
    let (username, state) = (call.filled("username"), call.filled("state"));
    let found: Vec<CloudId> = call
        .world
        .users
        .iter()
        .filter(|user| user.removed.is_none())
        .filter(|user| wanted.is_none_or(|id| user.id == id) && (!own || user.id == call.caller.user))
        .filter(|user| username.is_none_or(|name| user.username == name))
        .filter(|user| state.is_none_or(|state| user.state.name().eq_ignore_ascii_case(state)))
        .filter(|user| {
            call.world.accounts.get(user.account).is_some_and(|account| {
                account.number != SYSTEM_ACCOUNT
                    && account.kind != PROJECT_ACCOUNT
                    && account.removed.is_none()
                    && call.in_scope(scope, account)
            })
        })
        .map(|user| user.id)
        .collect();
    let (domain, root) = (call.caller.domain, call.caller.is_root());
    call.paged("user", &found, |call, id| call.world.listed_user_view(*id, domain, root))
}

pub(super) fn create(call: &mut Call<'_>) -> Result<Value> {
    let domain = call.domain("domainid")?.unwrap_or(call.caller.domain);
    let name = call.text("account").unwrap_or_default().to_owned();
    let account = call.world.account_named(domain, &name).map(|account| account.id).ok_or_else(|| {
        let path = call.world.domains.get(domain).map_or_else(String::new, |domain| domain.path.clone());
        Failure::invalid(format!("Unable to find account {name} in domain {path} to create user"))
    })?;
    call.check_access(account)?;
    let user = add(call, account)?;
    let about = call.world.about_user("USER.CREATE", user);
    call.world.completed_event(&about, call.caller.user, "Successfully completed creating User.");
    Ok(json!({"user": call.world.user_view(user)}))
}

/// Makes the user that a createUser or createAccount describes.
pub(super) fn add(call: &mut Call<'_>, account: CloudId) -> Result<CloudId> {
    let username = call.text("username").unwrap_or_default().to_owned();
    let password = call.text("password").unwrap_or_default().to_owned();
    let domain = call.world.accounts.get(account).map_or(call.caller.domain, |account| account.domain);
    let number = call.world.domains.get(domain).map_or(0, |domain| domain.number);
    let taken = || Failure::runtime(format!("The user {username} already exists in domain {number}"));
    if call.world.user_named(domain, &username).is_some() {
        return Err(taken());
    }
    check_password(call, domain, &username, &password)?;
    let id = match call.filled("userid") {
        Some(text) => text.parse::<CloudId>().map_err(|_| call.no_such("userid"))?,
        None => call.world.ids.id(),
    };
    if call.world.users.get(id).is_some() {
        return Err(Failure::server(530, "Entity already exists "));
    }
    let email = call.filled("email").map(str::to_owned);
    let user = call.world.push_user(id, account, &username, &password, email.as_deref());
    let (first, last) =
        (call.text("firstname").unwrap_or_default().to_owned(), call.text("lastname").unwrap_or_default().to_owned());
    let timezone = call.filled("timezone").map(str::to_owned);
    call.world.set_person(user, &first, &last, timezone.as_deref());
    Ok(user)
}

/// A user's account, unless the caller has no business with it.
fn reachable(call: &Call<'_>, user: CloudId) -> Result<CloudId> {
    let row = call
        .world
        .users
        .get(user)
        .filter(|user| user.removed.is_none())
        .ok_or_else(|| Failure::invalid("Unable to find user by id"))?;
    call.check_access(row.account)?;
    Ok(row.account)
}

pub(super) fn delete(call: &mut Call<'_>) -> Result<Value> {
    let user = call.user("id")?;
    reachable(call, user)?;
    if call.world.users.get(user).is_some_and(|user| user.is_default) {
        return Err(Failure::invalid("The user is default and can't be (re)moved"));
    }
    let about = call.world.about_user("USER.DELETE", user);
    call.world.remove_user(user);
    call.world.completed_event(&about, call.caller.user, "Successfully completed deleting User.");
    Ok(json!({"success": true}))
}

pub(super) fn update(call: &mut Call<'_>) -> Result<Value> {
    let user = call.user("id")?;
    let account = reachable(call, user)?;
    for (field, text) in [
        ("firstname", "Firstname cannot be empty."),
        ("lastname", "Lastname cannot be empty."),
        ("username", "Username cannot be empty."),
    ] {
        if call.text(field).is_some_and(|value| value.trim().is_empty()) {
            return Err(Failure::invalid(text));
        }
    }
    let keys = match (call.filled("userapikey"), call.filled("usersecretkey")) {
        (Some(key), Some(secret)) => Some((key.to_owned(), Secret::new(secret))),
        (None, None) => None,
        _ => return Err(Failure::invalid("Please provide a userApiKey/userSecretKey pair")),
    };
    if let Some(name) = call.filled("username") {
        let domain = call.world.accounts.get(account).map_or(call.caller.domain, |account| account.domain);
        if call.world.user_named(domain, name).is_some_and(|other| other.id != user) {
            return Err(Failure::invalid(guesses::username_taken(name)));
        }
    }
    let password = new_password(call, user, account)?;
    // Restricted parameters of other callers are dropped without a word.
    let access = match call.filled("apikeyaccess").filter(|_| call.caller.is_root()) {
        Some(text) => Some(keys::access_of(text)?),
        None => None,
    };
    let text = |name: &str| call.filled(name).map(str::to_owned);
    let (first, last, email, zone, username) =
        (text("firstname"), text("lastname"), text("email"), text("timezone"), text("username"));
    let mandate = call.flag("mandate2fa");
    if let Some((key, secret)) = keys {
        call.world.set_keys(user, &key, &secret);
    }
    if let Some(row) = call.world.users.get_mut(user) {
        row.firstname = first.unwrap_or_else(|| row.firstname.clone());
        row.lastname = last.unwrap_or_else(|| row.lastname.clone());
        row.username = username.unwrap_or_else(|| row.username.clone());
        row.email = email.or_else(|| row.email.clone());
        row.timezone = zone.or_else(|| row.timezone.clone());
        row.password = password.unwrap_or_else(|| row.password.clone());
        row.mandate_2fa |= mandate;
        if let Some(access) = access {
            row.key_access = access;
        }
    }
    let about = call.world.about_user("USER.UPDATE", user);
    call.world.completed_event(&about, call.caller.user, "Successfully completed updating User.");
    Ok(json!({"user": call.world.user_view(user)}))
}

/// The new password of an update, if there is one and the caller may set it.
fn new_password(call: &Call<'_>, user: CloudId, account: CloudId) -> Result<Option<Secret>> {
    let Some(password) = call.text("password") else { return Ok(None) };
    if password.trim().is_empty() {
        return Err(Failure::invalid("Password cannot be empty or blank."));
    }
    let Some(row) = call.world.users.get(user) else { return Ok(None) };
    if matches!(row.source, "ldap" | "saml2" | "saml2disabled") {
        return Err(Failure::invalid(
            "CloudStack does not support updating passwords for SAML or LDAP users. Please contact your cloud administrator \
             for assistance.",
        ));
    }
    let domain = call.world.accounts.get(account).map_or(call.caller.domain, |account| account.domain);
    check_password(call, domain, &row.username, password)?;
    if !matches!(call.caller.role, RoleKind::Admin | RoleKind::DomainAdmin) {
        match call.filled("currentpassword") {
            None => return Err(Failure::invalid("To set a new password the current password must be provided.")),
            Some(current) if !row.password.matches(current) => {
                return Err(Failure::invalid("Current password is incorrect."));
            }
            Some(_) => {}
        }
    }
    Ok(Some(Secret::new(password)))
}

/// The domain's password policy, in the order in which CloudStack looks (`PasswordPolicyImpl`).
fn check_password(call: &Call<'_>, domain: CloudId, username: &str, password: &str) -> Result<()> {
    type Is = fn(&char) -> bool;
    let setting = |name: &str| call.world.settings.domain(domain, name);
    let least = |name: &str| -> usize { setting(name).parse().unwrap_or(0) };
    let kinds: [(&str, &str, Is); 4] = [
        ("special.characters", "special characters", |sign| !sign.is_alphanumeric()),
        ("uppercase.letters", "upper case letters", |sign| sign.is_uppercase()),
        ("lowercase.letters", "lower case letters", |sign| sign.is_lowercase()),
        ("digits", "digits", |sign| sign.is_numeric()),
    ];
    for (name, words, is) in kinds {
        let needed = least(&format!("password.policy.minimum.{name}"));
        if password.chars().filter(is).count() < needed {
            return Err(Failure::invalid(format!("User password should contain at least [{needed}] {words}.")));
        }
    }
    let length = least("password.policy.minimum.length");
    if password.chars().count() < length {
        return Err(Failure::invalid(format!("User password should contain at least [{length}] characters.")));
    }
    let may_contain = setting("password.policy.allowPasswordToContainUsername").eq_ignore_ascii_case("true");
    if !may_contain && password.to_lowercase().contains(&username.to_lowercase()) {
        return Err(Failure::invalid("User password should not contain their username."));
    }
    if !matches!(setting("password.policy.regex"), "" | ".+") {
        return Err(Failure::invalid(guesses::PASSWORD_REGEX));
    }
    Ok(())
}

pub(super) fn disable(call: &mut Call<'_>) -> Result<Value> {
    let user = call.user("id")?;
    reachable(call, user)?;
    let custom = call.custom_job()?;
    let about = call.world.about_user("USER.DISABLE", user);
    call.world.completed_event(&about, call.caller.user, "Successfully completed disabling User.");
    let class = "org.apache.cloudstack.api.command.admin.user.DisableUserCmd";
    let job = call.world.begin_job(custom, call.caller.user, class, None, Ok(Work::DisableUser(user)));
    Ok(json!({"jobid": job}))
}

/// Enables the account too, whoever had disabled or locked it.
pub(super) fn enable(call: &mut Call<'_>) -> Result<Value> {
    let user = call.user("id")?;
    let account = reachable(call, user)?;
    call.world.set_user_state(user, State::Enabled);
    if let Some(row) = call.world.users.get_mut(user) {
        row.wrong_passwords = 0;
    }
    call.world.set_account_state(account, State::Enabled);
    let about = call.world.about_user("USER.ENABLE", user);
    call.world.completed_event(&about, call.caller.user, "Successfully completed enabling User.");
    Ok(json!({"user": call.world.user_view(user)}))
}

/// Locks the account too if no enabled user is left in it.
pub(super) fn lock(call: &mut Call<'_>) -> Result<Value> {
    let user = call.user("id")?;
    let account = reachable(call, user)?;
    match call.world.users.get(user).map(|user| user.state) {
        Some(State::Locked) => return Ok(json!({"user": call.world.user_view(user)})),
        Some(State::Enabled) => {}
        _ => {
            let name = call.world.users.get(user).map(|user| user.username.clone()).unwrap_or_default();
            return Err(Failure::runtime(format!("Unable to lock user {name}")));
        }
    }
    call.world.set_user_state(user, State::Locked);
    let any_left = call
        .world
        .users_of(account)
        .into_iter()
        .any(|other| call.world.users.get(other).is_some_and(|user| user.state == State::Enabled));
    if !any_left && call.world.account_state(account) == Some(State::Enabled) {
        call.world.set_account_state(account, State::Locked);
    }
    let about = call.world.about_user("USER.LOCK", user);
    call.world.completed_event(&about, call.caller.user, "Successfully completed locking User.");
    Ok(json!({"user": call.world.user_view(user)}))
}
