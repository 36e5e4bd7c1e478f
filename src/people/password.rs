//! A new password, in the person's own session.
//!
//! Promises: the old one is always looked at. CloudStack does that for plain users and counts no wrong one; for administrators of
//! the root and of domains it does not (facts 6), so a sign-in with the old one has to prove it first, in a session of its own.

use super::own::{NotProven, Own, OwnError, Source, Try};
use crate::{
    cloudstack::{Error, User},
    secrets::Secret,
};

/// The longest password that CloudStack takes (facts 1.3).
pub const MOST_CHARS: usize = 255;

/// A rule that a new password breaks, as CloudStack says it (`PasswordPolicyImpl`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// At least so many characters.
    Length(u32),
    /// At least so many digits.
    Digits(u32),
    /// At least so many capitals.
    Capitals(u32),
    /// At least so many small letters.
    SmallLetters(u32),
    /// At least so many characters that are neither letters nor digits.
    OtherSigns(u32),
    /// Not the user's name in it.
    NotTheName,
    /// A pattern of the cloud's own.
    Pattern,
    /// Not blank.
    NotBlank,
}

impl Rule {
    /// The rule in a refusal; None where the refusal is about something else.
    pub fn in_text(text: &str) -> Option<Self> {
        if text.contains("should not contain their username") {
            return Some(Self::NotTheName);
        }
        if text.contains("password policy regex") {
            return Some(Self::Pattern);
        }
        if text.contains("cannot be empty or blank") {
            return Some(Self::NotBlank);
        }
        let (number, kind) = text.split_once("at least [")?.1.split_once("] ")?;
        let number = number.parse().ok()?;
        Some(match kind.trim_end_matches('.') {
            "characters" => Self::Length(number),
            "digits" => Self::Digits(number),
            "upper case letters" => Self::Capitals(number),
            "lower case letters" => Self::SmallLetters(number),
            "special characters" => Self::OtherSigns(number),
            _ => return None,
        })
    }
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// What stands in the way of any change.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// It is kept elsewhere.
    #[error("the password is not kept in CloudStack")]
    Elsewhere(Source),
    /// The old one is wrong.
    #[error("the old password is wrong; {left} tries are left")]
    WrongOld {
        /// How many tries are left here.
        left: i64,
        /// Whether CloudStack counts them too, and disables the user in the end.
        counted: bool,
    },
    /// A sign-in says that the user is disabled or locked.
    #[error("the user is disabled or locked")]
    ShutOut,
    /// The new one breaks a rule.
    #[error("the new password breaks a rule")]
    Rule(Rule),
    /// Asked back, CloudStack has the old one still.
    #[error("it was not changed")]
    NotDone,
}

/// Whether CloudStack looks at the old password of this user by itself.
pub fn cloudstack_looks(user: &User) -> bool {
    matches!(user.role_type.as_deref(), Some("User" | "ResourceAdmin")) && matches!(user.account_type, Some(0 | 3))
}

/// Changes the password, once the old one is proven.
pub async fn change(own: &Own, old: &Secret, new: &Secret) -> Result<(), PasswordError> {
    let user = own.read().await?;
    let source = Source::of(&user);
    if source != Source::CloudStack {
        return Err(PasswordError::Elsewhere(source));
    }
    let proven_by = if cloudstack_looks(&user) { Try::OldPassword } else { Try::SignIn };
    let left = own.try_once(proven_by).await?;
    if proven_by == Try::SignIn {
        match own.sign_in(&user, old).await {
            Ok(proof) => {
                own.sign_out(&proof.session).await;
                own.was_right(proven_by).await?;
            }
            Err(NotProven::Wrong) => {
                own.audit("password.change", None, "refused: wrong old password").await?;
                return Err(PasswordError::WrongOld { left, counted: true });
            }
            Err(NotProven::ShutOut) => return Err(PasswordError::ShutOut),
            // Whether CloudStack counted it nobody knows, so it counts here.
            Err(NotProven::Other(error)) => return Err(error.into()),
        }
    }
    own.audit("password.change", None, "asked for").await?;
    let answer = own.sessions.change_password(&own.session, own.user, old, new).await;
    if proven_by == Try::OldPassword && !is_wrong_old(&answer) {
        match &answer {
            Ok(()) => own.was_right(proven_by).await?,
            Err(_) => own.was_not_looked_at(proven_by).await?,
        }
    }
    let ended = match answer {
        Ok(()) => Ok(()),
        Err(Error::Refused { text, .. }) if text.contains("Current password is incorrect") => {
            Err(PasswordError::WrongOld { left, counted: false })
        }
        Err(Error::Refused { code: 431, text }) => {
            Err(Rule::in_text(&text).map_or_else(|| OwnError::Refused(text).into(), PasswordError::Rule))
        }
        Err(Error::Uncertain { text }) => settle(own, &user, new, text).await,
        Err(error) => Err(OwnError::from(error).into()),
    };
    let outcome = match &ended {
        Ok(()) => "changed",
        Err(PasswordError::WrongOld { .. }) => "refused: wrong old password",
        Err(PasswordError::Own(OwnError::Unsure(_))) => "not known",
        Err(_) => "not changed",
    };
    own.audit("password.change", None, outcome).await?;
    ended
}

fn is_wrong_old(answer: &Result<(), Error>) -> bool {
    matches!(answer, Err(Error::Refused { text, .. }) if text.contains("Current password is incorrect"))
}

/// Finds out by a sign-in whether the new one holds already. Nothing else shows it.
async fn settle(own: &Own, user: &User, new: &Secret, lost: String) -> Result<(), PasswordError> {
    match own.sign_in(user, new).await {
        Ok(proof) => {
            own.sign_out(&proof.session).await;
            Ok(())
        }
        Err(NotProven::Wrong) => Err(PasswordError::NotDone),
        Err(NotProven::ShutOut | NotProven::Other(_)) => Err(OwnError::Unsure(lost).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloudstacks_rules_are_told_apart_by_their_texts() {
        for (text, rule) in [
            ("User password should contain at least [12] characters.", Some(Rule::Length(12))),
            ("User password should contain at least [2] digits.", Some(Rule::Digits(2))),
            ("User password should contain at least [1] upper case letters.", Some(Rule::Capitals(1))),
            ("User password should contain at least [3] lower case letters.", Some(Rule::SmallLetters(3))),
            ("User password should contain at least [1] special characters.", Some(Rule::OtherSigns(1))),
            ("User password should not contain their username.", Some(Rule::NotTheName)),
            ("User password does not match with password policy regex.", Some(Rule::Pattern)),
            ("Password cannot be empty or blank.", Some(Rule::NotBlank)),
            ("Firstname cannot be empty.", None),
            ("at least [x] characters", None),
        ] {
            assert_eq!(Rule::in_text(text), rule, "{text}");
        }
    }
}
