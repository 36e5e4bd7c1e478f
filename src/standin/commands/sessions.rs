//! login and logout, and the cookies of both (facts 2.1, 2.2).

use serde_json::json;

use super::{Incoming, second_factor};
use crate::{
    ids::CloudId,
    standin::{
        envelope::{Failure, Reply},
        guesses,
        world::{
            World,
            entities::{Session, State},
        },
    },
};

/// Whether a session exists and was used within its time.
pub(super) fn is_live(world: &World, id: &str) -> bool {
    world.sessions.get(id).is_some_and(|session| {
        world.now.since(session.last_used).as_secs() <= u64::try_from(guesses::SESSION_SECONDS).unwrap_or(0)
    })
}

fn session_cookie(world: &World, id: &str) -> String {
    if world.settings.global("enable.secure.session.cookie") == "true" {
        format!("JSESSIONID={id};Secure;HttpOnly;Path=/client")
    } else {
        format!("JSESSIONID={id}; Path=/client")
    }
}

/// The second cookie; it has no path (facts 0).
fn key_cookie(world: &World, key: &str) -> String {
    let same_site = match world.settings.global("api.sessionkey.cookie.samesite").to_lowercase().as_str() {
        "strict" => "SameSite=Strict",
        "noneandsecure" => "SameSite=None;Secure",
        "null" => "",
        _ => "SameSite=Lax",
    };
    format!("sessionkey={key};HttpOnly;{same_site}")
}

pub(super) fn login(world: &mut World, incoming: &Incoming) -> Reply {
    if incoming.method != "POST" {
        let text = "Please use HTTP POST to authenticate using this API";
        return Reply { status: 405, cookies: Vec::new(), description: None, before: None, body: json!(text) };
    }
    // Whoever logs in loses the old session first, and gets a new one even if the login fails.
    if let Some(old) = incoming.session_id() {
        world.sessions.remove(old);
    }
    let id = format!("node0{}", world.ids.id().uuid().as_simple());
    let mut reply = match authenticate(world, incoming) {
        Ok(user) => welcome(world, user, &id),
        Err(failure) => Reply::failure("login", &failure, false),
    };
    reply.cookies.insert(0, session_cookie(world, &id));
    reply
}

/// The user behind a name, password and domain.
fn authenticate(world: &mut World, incoming: &Incoming) -> Result<CloudId, Failure> {
    let text = |name: &str| {
        incoming
            .parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value.as_str())
    };
    let (username, password) = (text("username"), text("password"));
    let domain = find_domain(world, text("domain"), text("domainid"))?;
    let number = world.domains.get(domain).map_or(0, |domain| domain.number);
    let refused = || {
        Failure::login(format!(
            "Failed to authenticate user {username} in domain {number}; please provide valid credentials"
        ))
    };
    // An empty password would be the old single sign-on, which needs a signed request.
    if password.is_empty() {
        return Err(refused());
    }
    let user = world.user_named(domain, username).map(|user| user.id).ok_or_else(refused)?;
    match world.users.get(user).map(|user| user.source) {
        Some("saml2") => return Err(Failure::login("User is not allowed CloudStack login")),
        // No authenticator takes a password of theirs, and none counts the try.
        Some("saml2disabled" | "oauth2") => return Err(refused()),
        _ => {}
    }
    let right = world.users.get(user).is_some_and(|user| user.password.matches(password));
    let allowed = u32::try_from(world.settings.number("incorrect.login.attempts.allowed")).unwrap_or(0);
    let Some(row) = world.users.get_mut(user) else { return Err(refused()) };
    if !right {
        row.wrong_passwords += 1;
        if allowed > 0 && row.wrong_passwords >= allowed && row.state == State::Enabled {
            row.state = State::Disabled;
        }
        return Err(refused());
    }
    let (account, state, user_number) = (row.account, row.state, row.number);
    let account_state = world.account_state(account);
    if state != State::Enabled || account_state != Some(State::Enabled) {
        return Err(Failure::login(shut_out(world, account, domain, username, user_number)));
    }
    if let Some(row) = world.users.get_mut(user) {
        row.wrong_passwords = 0;
    }
    second_factor::tidy_at_login(world, user);
    let address = incoming.remote;
    let about = world.about_user("USER.LOGIN", user);
    world.completed_event(&about, user, &format!("user has logged in from IP Address /{address}"));
    Ok(user)
}

fn find_domain(world: &World, path: &str, id: &str) -> Result<CloudId, Failure> {
    if let Some(domain) = Some(id).filter(|id| !id.is_empty()).and_then(|id| world.domains.find_by_text(id)) {
        return Ok(domain.id);
    }
    let inner = path.trim_matches('/');
    let path_in_answers = if inner.is_empty() { "ROOT".to_owned() } else { format!("ROOT/{inner}") };
    world
        .find_domain(&path_in_answers)
        .ok_or_else(|| Failure::login(format!("Unable to find the domain from the path {path}")))
}

/// The text for a right password whose user or account is not enabled.
fn shut_out(world: &World, account: CloudId, domain: CloudId, username: &str, number: u64) -> String {
    let account = world.accounts.get(account).map_or("", |account| account.name.as_str());
    let user = format!(r#"{{"accountName":"{account}","id":{number},"username":"{username}"}}"#);
    let domain = world.domains.get(domain).map_or_else(String::new, |domain| {
        let path = match domain.path.split_once('/') {
            Some((_, below)) => format!("\\/{}\\/", below.replace('/', "\\/")),
            None => "\\/".to_owned(),
        };
        format!(r#"{{"id":{},"name":"{}","path":"{path}","uuid":"{}"}}"#, domain.number, domain.name, domain.id)
    });
    format!(
        "User UserAccount {user}. (or their account) in domain Domain {domain} is disabled/locked. Please contact the \
         administrator."
    )
}

fn welcome(world: &mut World, user: CloudId, id: &str) -> Reply {
    let key = world.ids.key();
    let Some(row) = world.users.get(user) else {
        return Reply::failure("login", &Failure::credentials(), false);
    };
    let account = world.accounts.get(row.account);
    let domain = account.map_or(world.root, |account| account.domain);
    let factor = row.second_factor.as_ref();
    let needed = factor.is_some() || second_factor::is_mandated(world, domain);
    let root = account.is_some_and(|account| account.kind == 1);
    let zone: Option<chrono_tz::Tz> = row.timezone.as_deref().and_then(|zone| zone.parse().ok());
    let offset = zone.and_then(|zone| offset_hours(world.now, zone));
    let content = json!({
        "username": row.username,
        "userid": row.id,
        "domainid": domain,
        "timeout": guesses::SESSION_SECONDS,
        "account": account.map(|account| &account.name),
        "firstname": row.firstname,
        "lastname": row.lastname,
        "type": account.map(|account| account.kind.to_string()),
        "timezone": row.timezone,
        "timezoneoffset": offset,
        "registered": "false",
        "sessionkey": key,
        "is2faenabled": needed.to_string(),
        "is2faverified": (!needed).to_string(),
        "providerfor2fa": factor.map(|factor| factor.provider),
        "issuerfor2fa": world.settings.domain(domain, "user.2fa.issuer"),
        "managementserverid": root.then_some(world.zone.management_server),
    });
    let mut reply = Reply::success("login", None, content);
    reply.cookies.push(key_cookie(world, &key));
    world.sessions.insert(id.to_owned(), Session { user, key, verified: !needed, last_used: world.now });
    reply
}

/// `1.0`, `5.5`: the zone's offset in hours.
fn offset_hours(now: crate::time::Timestamp, zone: chrono_tz::Tz) -> Option<String> {
    use chrono::Offset as _;
    let seconds = now.to_utc()?.with_timezone(&zone).offset().fix().local_minus_utc();
    let tenths = seconds / 360;
    let sign = if tenths < 0 { "-" } else { "" };
    Some(format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10))
}

pub(super) fn logout(world: &mut World, incoming: &Incoming) -> Reply {
    let session = incoming.session_id().and_then(|id| world.sessions.remove(id));
    let Some(session) = session else {
        return Reply::failure("logout", &Failure::parameter("Session not found for the logout process."), false);
    };
    let about = world.about_user("USER.LOGOUT", session.user);
    world.completed_event(&about, session.user, "user has logged out");
    let mut reply = Reply::success("logout", None, json!({"description": "success"}));
    let past = "Thu, 01-Jan-1970 00:00:00 GMT";
    reply.cookies = vec![
        key_cookie(world, &session.key),
        format!("JSESSIONID=; Expires={past}; Max-Age=0"),
        format!("sessionkey=; Expires={past}; Max-Age=0"),
    ];
    reply
}
