//! Who approves where two administrators have to. People are told apart by who they are, never by what they are called: a name
//! can be changed at an issuer, and one person may come by CloudStack once and by an issuer then. Pure.
//!
//! An identity is a few marks, one a line. `user:` (a user of CloudStack), `openid:` (a subject of an issuer), `token:`, `cli:`
//! (everybody at the command line) and `name:` each are one person; `at:` names the account whose user it is, `some:` an account of which nobody knows which
//! user it is.

use crate::{ids::AccountId, secrets::token_hash};

/// The mark of the command line. Former versions put the operating system's user behind it.
const COMMAND_LINE: &str = "cli:";

/// Somebody who approves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    name: String,
    identity: String,
}

impl Approver {
    /// Somebody by a session of CloudStack; `user` is None where it is one of the account's users and nobody knows which.
    pub fn by_cloudstack(name: String, account: AccountId, user: Option<&str>) -> Self {
        let account = account.get();
        let identity = match user {
            Some(user) => format!("user:{user}\nat:{account}"),
            None => format!("some:{account}"),
        };
        Self { name, identity }
    }

    /// Somebody whom an issuer vouches for, with the accounts that the person is mapped to and the user there, where the mapping
    /// names one.
    pub fn by_openid<'a>(
        name: String,
        issuer: &str,
        subject: &str,
        mapped: impl IntoIterator<Item = (AccountId, Option<&'a str>)>,
    ) -> Self {
        let mut marks = vec![format!("openid:{}", token_hash(&format!("{issuer}\n{subject}")))];
        for (account, user) in mapped {
            match user {
                Some(user) => marks.extend([format!("user:{user}"), format!("at:{}", account.get())]),
                None => marks.push(format!("some:{}", account.get())),
            }
        }
        Self { name, identity: marks.join("\n") }
    }

    /// A token for machines, by its number: a name can be given again.
    pub fn by_token(name: String, id: i64) -> Self {
        Self { name, identity: format!("token:{id}") }
    }

    /// Somebody at the command line. All of them count as one: who may become bursar's user there, or root, may become the other too.
    pub fn by_command_line(name: String) -> Self {
        Self { name, identity: COMMAND_LINE.to_owned() }
    }

    /// Somebody whose name is all there is to know: the simulation, the demo.
    pub fn by_name(name: &str) -> Self {
        Self { name: name.to_owned(), identity: format!("name:{name}") }
    }

    /// Whether it is whoever is at the command line.
    pub fn is_at_command_line(&self) -> bool {
        self.identity == COMMAND_LINE
    }

    /// What the person is called, for people to read.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who it is, for comparing.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

/// Whether two identities are one person for certain.
pub fn is_same(one: &str, other: &str) -> bool {
    let is_place = |mark: &str| mark.starts_with("at:") || mark.starts_with("some:");
    let at_shell = |mark: &str| mark.starts_with(COMMAND_LINE);
    let same = |mark: &str, theirs: &str| mark == theirs || (at_shell(mark) && at_shell(theirs));
    one == other || one.lines().any(|mark| !is_place(mark) && other.lines().any(|theirs| same(mark, theirs)))
}

/// Whether two identities may be one person: the same, or nobody knows who of an account the one is, and the other is of that
/// account too. Two subjects of issuers are two people.
fn may_be_same(one: &str, other: &str) -> bool {
    let by_openid = |identity: &str| identity.lines().any(|mark| mark.starts_with("openid:"));
    if is_same(one, other) {
        return true;
    }
    let both_by_openid = by_openid(one) && by_openid(other);
    !both_by_openid && (is_somebody_of(one, other) || is_somebody_of(other, one))
}

/// Whether nobody knows who the one is of an account that the other is of.
fn is_somebody_of(one: &str, other: &str) -> bool {
    one.lines()
        .filter_map(|mark| mark.strip_prefix("some:"))
        .any(|unknown| other.lines().filter_map(account_of).any(|theirs| theirs == unknown))
}

fn account_of(mark: &str) -> Option<&str> {
    mark.strip_prefix("at:").or_else(|| mark.strip_prefix("some:"))
}

/// How many people these are for certain: none, one, or two and more.
pub fn count_people(identities: &[String]) -> usize {
    let are_two = identities.iter().any(|one| identities.iter().any(|other| !may_be_same(one, other)));
    if are_two { 2 } else { identities.len().min(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: AccountId = AccountId::new(2);
    const OTHER: AccountId = AccountId::new(3);

    fn count(people: &[&Approver]) -> usize {
        count_people(&people.iter().map(|person| person.identity().to_owned()).collect::<Vec<_>>())
    }

    fn openid(name: &str, subject: &str, mapped: &[(AccountId, Option<&str>)]) -> Approver {
        Approver::by_openid(name.to_owned(), "https://id.example.com", subject, mapped.iter().copied())
    }

    fn cloudstack(user: Option<&str>) -> Approver {
        Approver::by_cloudstack("admin (ROOT/admin)".to_owned(), ROOT, user)
    }

    #[test]
    fn another_name_is_no_other_person() {
        let before = openid("Alice", "1", &[(ROOT, Some("u1"))]);
        let after = openid("Bert", "1", &[(ROOT, Some("u1"))]);
        assert_eq!(count(&[&before, &after]), 1);
        assert!(is_same(before.identity(), after.identity()));
        assert_eq!(count(&[&Approver::by_token("desk".to_owned(), 1), &Approver::by_token("desk".to_owned(), 2)]), 2);
        let at_shell = |name: &str| Approver::by_command_line(name.to_owned());
        assert_eq!(count(&[&at_shell("cli:alice"), &at_shell("cli:bert")]), 1);
        assert_eq!(
            count_people(&["cli:7".to_owned(), at_shell("cli:alice").identity().to_owned()]),
            1,
            "as it was stored"
        );
        assert_eq!(count(&[&at_shell("cli:alice"), &cloudstack(Some("u1"))]), 2);
    }

    #[test]
    fn two_ways_in_are_one_person() {
        let by_issuer = openid("Alice", "1", &[(OTHER, Some("u9")), (ROOT, Some("u1"))]);
        assert_eq!(count(&[&by_issuer, &cloudstack(Some("u1"))]), 1, "the mapping names the user");
        assert_eq!(count(&[&by_issuer, &cloudstack(Some("u2"))]), 2);
        assert_eq!(count(&[&by_issuer, &cloudstack(None)]), 1, "it may be the same user");
        let unnamed = openid("Alice", "1", &[(ROOT, None)]);
        assert_eq!(count(&[&unnamed, &cloudstack(Some("u1"))]), 1, "it may be the same user");
        assert!(!is_same(unnamed.identity(), cloudstack(Some("u1")).identity()), "and may not");
        assert_eq!(count(&[&unnamed, &openid("Bert", "2", &[(ROOT, None)])]), 2);
        let elsewhere = Approver::by_cloudstack("admin".to_owned(), OTHER, None);
        assert_eq!(count(&[&unnamed, &elsewhere]), 2);
    }

    #[test]
    fn one_of_several_users_of_an_account_is_not_two() {
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[&cloudstack(None)]), 1);
        assert_eq!(count(&[&cloudstack(None), &cloudstack(None)]), 1);
        assert_eq!(count(&[&cloudstack(None), &cloudstack(Some("u1"))]), 1);
        assert_eq!(count(&[&cloudstack(None), &cloudstack(Some("u1")), &cloudstack(Some("u2"))]), 2);
        assert_eq!(count(&[&cloudstack(None), &Approver::by_name("simulation")]), 2);
    }
}
