//! How the dedicated users are called, and what else createUser wants of them.

use crate::{cloudstack::NewUser, ids::KeyRequestId, random::RandomSource, secrets::Secret};

/// Characters of a user name. CloudStack takes 255; the name is also the local part of the address, where 64 is the
/// most that mail knows (RFC 5321, 4.5.3.1.1).
const MAX_NAME_CHARS: usize = 64;
/// Every class of characters that a password policy can ask for, several of each. The strength is in the random part.
const PASSWORD_CLASSES: &str = "Kx7-Qz4_Wm2.Ty9!";
/// Random bytes of the password.
const PASSWORD_BYTES: usize = 32;

/// The name of the user that holds the pair of a request: `<prefix><account>-<number>`. What is odd in an account's
/// name becomes a dash; a long name is cut so that the number, which makes it unique, stays.
pub fn username(prefix: &str, account: &str, request: KeyRequestId) -> String {
    let end = format!("-{request}");
    let room = MAX_NAME_CHARS.saturating_sub(end.len());
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let start: String = prefix.chars().chain(account.chars().map(plain)).take(room).collect();
    format!("{start}{end}")
}

/// Whether a user of this name was made for a key pair: nobody signs in as it, and nobody gets its mail.
pub fn is_key_user(username: &str, prefix: &str) -> bool {
    !prefix.is_empty()
        && username.starts_with(prefix)
        && username
            .rsplit_once('-')
            .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A password that nobody knows: it is sent to CloudStack and stored nowhere.
fn password(random: &dyn RandomSource) -> Secret {
    Secret::new(format!("{PASSWORD_CLASSES}{}", random.hex(PASSWORD_BYTES)))
}

/// The address of such a user: nobody gets mail there (RFC 2606).
pub(super) fn address(username: &str) -> String {
    format!("{username}@invalid.example")
}

/// The user to be made.
pub(super) fn new_user(
    user_id: crate::ids::CloudId,
    username: &str,
    request: KeyRequestId,
    account: &str,
    domain_id: crate::ids::CloudId,
    random: &dyn RandomSource,
) -> NewUser {
    NewUser {
        user_id,
        username: username.to_owned(),
        password: password(random),
        first_name: "API access".to_owned(),
        last_name: format!("key pair of request {request}"),
        email: address(username),
        account: account.to_owned(),
        domain_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn a_name_tells_its_account_and_request_and_fits() {
        let id = KeyRequestId::new(12);
        assert_eq!(username("api-", "alice", id), "api-alice-12");
        assert_eq!(username("api-", "Älice & co", id), "api--lice---co-12");
        let long = username("api-", &"a".repeat(200), id);
        assert!(long.len() == 64 && long.ends_with("a-12"), "{long}");
    }

    #[test]
    fn names_of_key_users_are_told_from_those_of_people() {
        assert!(is_key_user(&username("api-", "alice", KeyRequestId::new(3)), "api-"));
        for (name, prefix) in [("alice-3", "api-"), ("api-alice", "api-"), ("api-alice-", "api-"), ("alice-3", "")] {
            assert!(!is_key_user(name, prefix), "{name}");
        }
    }

    #[test]
    fn a_password_is_random_and_meets_the_usual_policies() {
        let random = SeededRandom::new(3);
        let (one, other) = (password(&random), password(&random));
        assert!(!one.matches(other.expose()));
        let has = |class: fn(char) -> bool| one.expose().chars().filter(|c| class(*c)).count() >= 4;
        assert!(has(|c| c.is_ascii_uppercase()) && has(|c| c.is_ascii_lowercase()) && has(|c| c.is_ascii_digit()));
        assert!(has(|c| c.is_ascii_punctuation()));
    }
}
