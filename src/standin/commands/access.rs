//! How a request finds its command: session or signature, second factor, role, limits, then parameters.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{Call, Caller, Command, find, second_factor, sessions};
use crate::{
    ids::CloudId,
    standin::{
        calls::Received,
        envelope::{Failure, Reply},
        guesses,
        signature::{Claim, Parameters},
        world::{World, entities::State},
    },
};

/// Texts longer than this are refused, unless the parameter is made for more.
const LONGEST_TEXT: usize = 255;
/// Parameters made for more.
const LONG_PARAMETERS: [&str; 4] = ["base64image", "userdata", "description", "details"];
/// Commands that may be GET although `enforce.post.requests.and.timestamps` is on.
const GET_ANYWAY: [&str; 9] = [
    "isaccountallowedtocreateofferingswithtags",
    "readyforshutdown",
    "cloudianisenabled",
    "quotabalance",
    "quotasummary",
    "quotatarifflist",
    "quotaisenabled",
    "quotastatement",
    "verifyoauthcodeandgetuser",
];

/// A request, read.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub method: String,
    pub parameters: Parameters,
    pub cookies: HashMap<String, String>,
    pub remote: IpAddr,
}

impl Incoming {
    pub(crate) fn command(&self) -> &str {
        self.parameters.get("command").map_or("", String::as_str)
    }

    pub(crate) fn session_id(&self) -> Option<&str> {
        self.cookies.get("JSESSIONID").map(String::as_str)
    }
}

/// Answers a request; None is HTTP 200 with an empty body.
pub(crate) fn answer(world: &mut World, incoming: &Incoming) -> Option<Reply> {
    let command = incoming.command().to_owned();
    let place = world.received.len();
    world.received.push(Received::new(&incoming.method, &command, &incoming.parameters, world.now));
    let reply = match command.to_lowercase().as_str() {
        "login" => Some(sessions::login(world, incoming)),
        "logout" => Some(sessions::logout(world, incoming)),
        lower if lower.eq_ignore_ascii_case(second_factor::VALIDATE) && command != second_factor::VALIDATE => {
            second_factor::validate_in_another_case(world, incoming)
        }
        _ => {
            let mut caller = None;
            let result = serve(world, incoming, &mut caller);
            if let (Some(received), Some(caller)) = (world.received.get_mut(place), caller) {
                received.caller = world.users.get(caller.user).map(|user| user.username.clone());
            }
            let root = caller.is_some_and(Caller::is_root);
            let known = find(world, &command).map_or("", |known| known.name);
            match result {
                Ok(reply) => reply,
                Err(failure) => Some(Reply::failure(known, &failure, root)),
            }
        }
    };
    if let Some(received) = world.received.get_mut(place) {
        received.status = reply.as_ref().map_or(200, |reply| reply.status);
    }
    reply
}

fn serve(world: &mut World, incoming: &Incoming, proven: &mut Option<Caller>) -> Result<Option<Reply>, Failure> {
    let live = incoming.session_id().filter(|id| sessions::is_live(world, id)).map(str::to_owned);
    let name = incoming.command();
    let enforced = world.settings.global("enforce.post.requests.and.timestamps") == "true";
    if enforced && incoming.method == "GET" && !may_be_get(name) {
        return Err(Failure::server(400, format!("Command {name} must be sent as POST")));
    }
    let command = if let Some(session) = &live {
        if name.is_empty() {
            return Ok(None);
        }
        if name == second_factor::VALIDATE {
            return validated(world, incoming, session, proven);
        }
        if let Some(failure) = second_factor::gate(world, session, name) {
            world.sessions.remove(session);
            return Err(failure);
        }
        let caller = session_gate(world, incoming, session)?;
        *proven = Some(caller);
        let Some(command) = find(world, name) else {
            return Err(Failure::denied_by_role(name, world.ids.id()));
        };
        admit(world, incoming, caller, command)?;
        command
    } else {
        let Some(command) = find(world, name) else { return Err(Failure::credentials()) };
        let claim = Claim::of(&incoming.parameters);
        if !claim.is_current(world.now, enforced) {
            return Err(Failure::credentials());
        }
        let user = claim.api_key.as_deref().and_then(|key| world.api_keys.get(key).copied());
        let caller = user.and_then(|user| enabled_caller(world, user)).ok_or_else(Failure::credentials)?;
        if !key_access(world, caller) {
            return Err(Failure::credentials());
        }
        // The role and the call limit are looked at before the signature.
        admit(world, incoming, caller, command)?;
        let secret = claim.api_key.as_deref().and_then(|key| world.secret_of(caller.user, key));
        if !secret.is_some_and(|secret| claim.matches(&secret)) {
            return Err(Failure::credentials());
        }
        *proven = Some(caller);
        command
    };
    let Some(caller) = *proven else { return Err(Failure::credentials()) };
    let parameters = check_parameters(command, &incoming.parameters)?;
    let content = (command.run)(&mut Call { world, command, parameters: &parameters, caller })?;
    Ok(Some(Reply::success(command.name, command.key, content)))
}

/// A code is checked first; only then is the session key looked at, and a refusal follows the success that stands there already.
fn validated(
    world: &mut World,
    incoming: &Incoming,
    session: &str,
    proven: &mut Option<Caller>,
) -> Result<Option<Reply>, Failure> {
    let Some(content) = second_factor::validate(world, incoming, session)? else { return Ok(None) };
    if let Some(session) = world.sessions.get_mut(session) {
        session.verified = true;
    }
    let success = Reply::success(second_factor::VALIDATE, None, content);
    match session_gate(world, incoming, session) {
        Ok(caller) => {
            *proven = Some(caller);
            Ok(Some(success))
        }
        Err(failure) => {
            let refusal = Reply::failure(second_factor::VALIDATE, &failure, false);
            Ok(Some(Reply { before: Some(success.body), ..refusal }))
        }
    }
}

/// The caller of a live session. Every refusal here ends the session.
fn session_gate(world: &mut World, incoming: &Incoming, id: &str) -> Result<Caller, Failure> {
    let refused = || Failure { text: "unable to verify user credentials".to_owned(), ..Failure::credentials() };
    let now = world.now;
    let Some(session) = world.sessions.get_mut(id) else { return Err(Failure::credentials()) };
    session.last_used = now;
    let session = session.clone();
    if !key_is_right(world.settings.global("api.sessionkey.check.locations"), incoming, &session.key) {
        world.sessions.remove(id);
        return Err(refused());
    }
    let Some(caller) = enabled_caller(world, session.user) else {
        world.sessions.remove(id);
        return Err(refused());
    };
    if !from_allowed_address(world, caller, incoming.remote) {
        world.sessions.remove(id);
        return Err(Failure::credentials());
    }
    Ok(caller)
}

/// Whether the session key is right where it has to stand (`HttpUtils.validateSessionKey`). The names are case-sensitive.
fn key_is_right(locations: &str, incoming: &Incoming, key: &str) -> bool {
    let parameter = incoming.parameters.get("sessionkey").map(|given| given == key);
    let cookie = incoming.cookies.get("sessionkey").map(|given| given == key);
    match locations.to_lowercase().as_str() {
        "cookieorparameter" => {
            (cookie.is_some() || parameter.is_some()) && cookie.unwrap_or(true) && parameter.unwrap_or(true)
        }
        "parameteronly" => parameter == Some(true) && cookie.unwrap_or(true),
        _ => cookie == Some(true) && parameter == Some(true),
    }
}

/// The caller behind a user, if the user and the account are enabled.
fn enabled_caller(world: &World, user: CloudId) -> Option<Caller> {
    let user = world.users.get(user).filter(|user| user.removed.is_none() && user.state == State::Enabled)?;
    let account = world.accounts.get(user.account)?;
    let enabled = account.state == State::Enabled && account.removed.is_none();
    enabled.then(|| Caller {
        user: user.id,
        account: account.id,
        domain: account.domain,
        role: world.role_kind(account.id),
    })
}

/// The user's own value, else the account's, else the domain's.
pub(super) fn key_access(world: &World, caller: Caller) -> bool {
    let user = world.users.get(caller.user).and_then(|user| user.key_access);
    let account = world.accounts.get(caller.account).and_then(|account| account.key_access);
    user.or(account).unwrap_or_else(|| world.settings.is_on(caller.domain, "api.key.access"))
}

/// Role, call limit and source address.
fn admit(world: &mut World, incoming: &Incoming, caller: Caller, command: &Command) -> Result<(), Failure> {
    throttle(world, caller)?;
    if !from_allowed_address(world, caller, incoming.remote) {
        return Err(Failure::credentials());
    }
    if allowed_by_role(world, caller, command) {
        Ok(())
    } else {
        Err(Failure::denied_by_role(command.name, world.ids.id()))
    }
}

/// First matching rule wins; where none matches, the command's own list of role types decides. The default root role
/// knows no rules.
pub(super) fn allowed_by_role(world: &World, caller: Caller, command: &Command) -> bool {
    let Some(role) = world.role_of(caller.account) else { return false };
    if role.is_default && role.name == "Root Admin" {
        return true;
    }
    role.rules
        .iter()
        .find(|rule| rule_matches(&rule.pattern, command.name))
        .map_or(command.roles & role.kind.bit() != 0, |rule| rule.allow)
}

/// A rule is a name in which `*` stands for any letters.
fn rule_matches(pattern: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    let pattern = pattern.to_lowercase();
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut last = None;
    for piece in pieces {
        last = Some(piece);
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    last.map_or(rest.is_empty(), |last| last.is_empty() || name.ends_with(last))
}

fn throttle(world: &mut World, caller: Caller) -> Result<(), Failure> {
    if world.settings.global("api.throttling.enabled") != "true" || caller.is_root() {
        return Ok(());
    }
    let span_ms = world.settings.number("api.throttling.interval").max(1) * 1000;
    let limit = u32::try_from(world.settings.number("api.throttling.max")).unwrap_or(0);
    let now = world.now;
    let entry = world.throttle.entry(caller.account).or_insert((now, 0));
    if now.as_ms() - entry.0.as_ms() >= span_ms {
        *entry = (now, 0);
    }
    entry.1 += 1;
    if entry.1 > limit {
        let left = entry.0.as_ms() + span_ms - now.as_ms();
        return Err(Failure::server(
            429,
            format!("The given user has reached his/her account api limit, please retry after [{left}] ms."),
        ));
    }
    Ok(())
}

fn from_allowed_address(world: &World, caller: Caller, remote: IpAddr) -> bool {
    if world.settings.global("api.source.cidr.checks.enabled") != "true" {
        return true;
    }
    let own = world.accounts.get(caller.account).and_then(|account| account.allowed_cidrs.as_deref());
    let list = own.unwrap_or_else(|| world.settings.global("api.allowed.source.cidr.list"));
    list.split(',').any(|cidr| in_cidr(cidr.trim(), remote))
}

fn in_cidr(cidr: &str, address: IpAddr) -> bool {
    let (network, bits) = cidr.split_once('/').unwrap_or((cidr, "128"));
    let Ok(bits) = bits.parse::<u32>() else { return false };
    match (network.parse::<IpAddr>(), address) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (Ok(IpAddr::V6(network)), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
            u128::from(network) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

fn may_be_get(command: &str) -> bool {
    let lower = command.to_lowercase();
    ["get", "list", "query", "find"].iter().any(|prefix| lower.starts_with(prefix))
        || GET_ANYWAY.contains(&lower.as_str())
}

/// Names in lower case; control characters, long texts and missing required parameters are refused.
fn check_parameters(command: &Command, raw: &Parameters) -> Result<BTreeMap<String, String>, Failure> {
    for (name, value) in raw {
        if value.chars().any(|letter| letter.is_ascii_control() && letter != '\n' && letter != '\r') {
            return Err(Failure::parameter(format!(
                "Received value containing illegal ASCII non-printable characters for parameter {name}"
            )));
        }
    }
    let parameters: BTreeMap<String, String> =
        raw.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    for (name, kind, required) in command.parameters {
        match parameters.get(*name) {
            Some(value)
                if *kind == "string" && !LONG_PARAMETERS.contains(name) && value.chars().count() > LONGEST_TEXT =>
            {
                return Err(Failure::parameter(guesses::too_long(name, LONGEST_TEXT)));
            }
            Some(value) if !value.is_empty() || !required => {}
            _ if *required => return Err(Failure::missing(command.name, name)),
            _ => {}
        }
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_a_rule_stands_for_any_letters() {
        for (pattern, name, expected) in [
            ("*", "listUsers", true),
            ("list*", "listUsers", true),
            ("listUsers", "listUsersX", false),
            ("*Account", "disableAccount", true),
            ("*Account", "listAccounts", false),
            ("l*U*s", "listUsers", true),
        ] {
            assert_eq!(rule_matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn addresses_are_matched_by_their_leading_bits() {
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        assert!(in_cidr("0.0.0.0/0", local) && in_cidr("127.0.0.0/8", local) && in_cidr("127.0.0.1", local));
        assert!(!in_cidr("10.0.0.0/8", local) && !in_cidr("::/0", local));
    }
}
