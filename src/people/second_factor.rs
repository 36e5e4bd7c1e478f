//! The second factor of a person's CloudStack user, in the person's own session, with what CloudStack lacks (facts 2.4).
//!
//! Promises: a code that could end the person's session is never sent for a set-up that is not this form's; switching it off takes
//! a right code, which CloudStack itself does not ask for, and a wrong one costs nothing but a try: it is given in a session of
//! its own. The secret of a set-up is handed to the caller once and kept nowhere.

use super::own::{NotProven, Own, OwnError, Source, Try};
use crate::{
    cloudstack::{Error, User, person::SecondFactorSetUp},
    secrets::Secret,
    store::profiles,
};

/// Digits of a code: of an authenticator app, and of CloudStack's fixed PIN.
pub const CODE_DIGITS: usize = 6;
/// Random bytes of the mark that ties a form to its set-up.
const MARK_BYTES: usize = 16;

/// How the second factor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is none.
    Off,
    /// One was begun here and waits for its first code; by this mark the form knows it.
    Begun(String),
    /// There is one. CloudStack does not tell whether a code ever confirmed it.
    On,
}

/// A set-up that was begun.
pub struct Begun {
    /// For the form that confirms it.
    pub mark: String,
    /// What CloudStack made. Its secret is shown once.
    pub set_up: SecondFactorSetUp,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    /// What stands in the way of any change.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// There is one already.
    #[error("there is a second factor already")]
    IsOn,
    /// There is none.
    #[error("there is no second factor")]
    IsOff,
    /// CloudStack refuses it, mostly because it is off in the domain.
    #[error("CloudStack does not allow a second factor here")]
    NotAllowed,
    /// It was begun, and its secret was lost on the way.
    #[error("the secret was lost on the way")]
    SecretLost,
    /// Not six digits; nothing was sent.
    #[error("a code is six digits")]
    NotACode,
    /// The form belongs to another set-up than the present one.
    #[error("this set-up is over")]
    Over,
    /// The first code was wrong, and CloudStack undid the set-up.
    #[error("the code was wrong, and the set-up is undone")]
    Undone,
    /// The code was wrong; nothing changed.
    #[error("the code was wrong; {left} tries are left")]
    WrongCode {
        /// How many tries are left.
        left: i64,
    },
    /// The code was wrong, and it had to be given in the person's own session, which is over.
    #[error("the code was wrong, and CloudStack ended the session")]
    SignedOut,
    /// The password was wrong.
    #[error("the password was wrong; {left} tries are left")]
    WrongPassword {
        /// How many tries are left here; CloudStack counts them too.
        left: i64,
    },
    /// A sign-in says that the user is disabled or locked.
    #[error("the user is disabled or locked")]
    ShutOut,
    /// Asked back, it is as it was.
    #[error("it was not done")]
    NotDone,
}

impl From<crate::store::StoreError> for FactorError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Own(error.into())
    }
}

/// How a second factor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A right code was given, and it is off.
    SwitchedOff,
    /// No code had ever confirmed it: signing in wiped it.
    WasNeverConfirmed,
}

/// How it stands, by CloudStack's word and by what was begun here.
pub async fn state(own: &Own, user: &User) -> Result<State, OwnError> {
    let mut tx = own.store.read().await?;
    let begun = profiles::find_set_up(&mut tx, &own.id()).await?;
    tx.commit().await?;
    Ok(match (user.is_2fa_enabled == Some(true), begun) {
        (false, None) => State::Off,
        (false, Some(_)) => {
            // Wiped by a sign-in, or undone elsewhere.
            forget(own).await?;
            State::Off
        }
        (true, Some(mark)) => State::Begun(mark),
        (true, None) => State::On,
    })
}

async fn forget(own: &Own) -> Result<(), OwnError> {
    let mut tx = own.store.begin().await?;
    profiles::forget_set_up(&mut tx, &own.id()).await?;
    Ok(tx.commit().await?)
}

/// Whether a code is one, so that a slip of the finger is not sent.
fn is_code(code: &Secret) -> bool {
    code.expose().len() == CODE_DIGITS && code.expose().bytes().all(|digit| digit.is_ascii_digit())
}

/// Begins one.
pub async fn begin(own: &Own, provider: &str) -> Result<Begun, FactorError> {
    let user = own.read().await?;
    if user.is_2fa_enabled == Some(true) {
        return Err(FactorError::IsOn);
    }
    let mark = own.random.hex(MARK_BYTES);
    let mut tx = own.store.begin().await?;
    profiles::put_set_up(&mut tx, &own.id(), own.account, &mark, provider, own.now()).await?;
    tx.commit().await?;
    own.audit("second-factor.begin", Some("off"), "asked for").await?;
    let error = match own.sessions.begin_second_factor(&own.session, provider).await {
        Ok(set_up) => {
            own.audit("second-factor.begin", Some("off"), "waits for its first code").await?;
            return Ok(Begun { mark, set_up });
        }
        Err(Error::Uncertain { text }) => match own.read().await {
            Ok(user) if user.is_2fa_enabled == Some(true) => FactorError::SecretLost,
            Ok(_) => FactorError::NotDone,
            Err(_) => return Err(OwnError::Unsure(text).into()),
        },
        Err(Error::Refused { .. } | Error::NotAllowed { .. }) => FactorError::NotAllowed,
        Err(error) => OwnError::from(error).into(),
    };
    if !matches!(error, FactorError::SecretLost) {
        forget(own).await?;
    }
    own.audit("second-factor.begin", Some("off"), "not begun").await?;
    Err(error)
}

/// Confirms the set-up of this form by its first code. A wrong one makes CloudStack undo it.
pub async fn confirm(own: &Own, mark: &str, code: &Secret) -> Result<(), FactorError> {
    if !is_code(code) {
        return Err(FactorError::NotACode);
    }
    let mut tx = own.store.begin().await?;
    // Only one form may give the code: a second one, sent for a factor that is confirmed by then, would end the session.
    let Some(provider) = profiles::take_set_up(&mut tx, &own.id(), mark).await? else { return Err(FactorError::Over) };
    tx.commit().await?;
    let (outcome, ended) = match own.sessions.give_code(&own.session, code).await {
        Ok(()) => ("on", Ok(())),
        Err(Error::SecondFactor { .. }) => ("undone after a wrong code", Err(FactorError::Undone)),
        Err(Error::Uncertain { text }) => match own.read().await {
            Ok(user) if user.is_2fa_enabled != Some(true) => ("undone", Err(FactorError::Undone)),
            Ok(_) | Err(_) => ("not known", Err(OwnError::Unsure(text).into())),
        },
        Err(error @ Error::Retry { .. }) => {
            let mut tx = own.store.begin().await?;
            profiles::put_set_up(&mut tx, &own.id(), own.account, mark, &provider, own.now()).await?;
            tx.commit().await?;
            ("not confirmed", Err(OwnError::from(error).into()))
        }
        Err(error) => ("not confirmed", Err(OwnError::from(error).into())),
    };
    own.audit("second-factor.confirm", Some("begun"), outcome).await?;
    ended
}

/// What a proof told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proven {
    /// The code was right.
    ByCode,
    /// The password was right, and the second factor is gone: no code had ever confirmed it, so that sign-in wiped it.
    NeverConfirmed,
}

/// Proves that whoever is at the browser has the second factor, without changing it. People whose password CloudStack takes prove it
/// in a session of its own, by password and code; for the others the code has to go into their own session, which a wrong one ends.
pub async fn prove(own: &Own, password: &Secret, code: &Secret) -> Result<Proven, FactorError> {
    if !is_code(code) {
        return Err(FactorError::NotACode);
    }
    let user = own.read().await?;
    if user.is_2fa_enabled != Some(true) {
        forget(own).await?;
        return Err(FactorError::IsOff);
    }
    let left = own.try_once(Try::Code).await?;
    let proven = if Source::of(&user) == Source::SingleSignOn {
        prove_here(own, code).await
    } else {
        prove_apart(own, &user, password, code, left).await
    };
    match &proven {
        Ok(Proven::ByCode) => own.was_right(Try::Code).await?,
        Ok(Proven::NeverConfirmed) => {
            own.was_not_looked_at(Try::Code).await?;
            forget(own).await?;
            own.audit("second-factor.prove", Some("on"), "off: no code had confirmed it").await?;
        }
        Err(FactorError::WrongCode { .. } | FactorError::SignedOut) => {
            own.audit("second-factor.prove", Some("on"), "wrong code").await?;
        }
        Err(error) => {
            own.was_not_looked_at(Try::Code).await?;
            if matches!(error, FactorError::WrongPassword { .. }) {
                own.audit("second-factor.prove", Some("on"), "wrong password").await?;
            }
        }
    }
    proven
}

/// Switches it off, once a right code was seen ([`prove`]).
pub async fn end(own: &Own, password: &Secret, code: &Secret) -> Result<Ended, FactorError> {
    if prove(own, password, code).await? == Proven::NeverConfirmed {
        return Ok(Ended::WasNeverConfirmed);
    }
    own.audit("second-factor.end", Some("on"), "asked for").await?;
    let ended = match own.sessions.end_second_factor(&own.session).await {
        Ok(()) => Ok(Ended::SwitchedOff),
        Err(Error::Uncertain { text }) => match own.read().await {
            Ok(user) if user.is_2fa_enabled == Some(true) => Err(FactorError::NotDone),
            Ok(_) => Ok(Ended::SwitchedOff),
            Err(_) => Err(OwnError::Unsure(text).into()),
        },
        Err(error) => Err(OwnError::from(error).into()),
    };
    if ended.is_ok() {
        forget(own).await?;
    }
    own.audit("second-factor.end", Some("on"), if ended.is_ok() { "off" } else { "not known to be off" }).await?;
    ended
}

/// Gives the code in the person's own session.
async fn prove_here(own: &Own, code: &Secret) -> Result<Proven, FactorError> {
    match own.sessions.give_code(&own.session, code).await {
        Ok(()) => Ok(Proven::ByCode),
        Err(Error::SecondFactor { .. }) => Err(FactorError::SignedOut),
        Err(error) => Err(OwnError::from(error).into()),
    }
}

/// Gives password and code in a session of its own.
async fn prove_apart(
    own: &Own,
    user: &User,
    password: &Secret,
    code: &Secret,
    left: i64,
) -> Result<Proven, FactorError> {
    let passwords_left = own.try_once(Try::SignIn).await?;
    if password.is_empty() {
        own.was_not_looked_at(Try::SignIn).await?;
        return Err(FactorError::WrongPassword { left: passwords_left + 1 });
    }
    let proof = match own.sign_in(user, password).await {
        Ok(proof) => proof,
        Err(NotProven::Wrong) => return Err(FactorError::WrongPassword { left: passwords_left }),
        Err(NotProven::ShutOut) => return Err(FactorError::ShutOut),
        Err(NotProven::Other(error)) => return Err(error.into()),
    };
    own.was_right(Try::SignIn).await?;
    if !proof.second_factor_pending {
        own.sign_out(&proof.session).await;
        return Ok(Proven::NeverConfirmed);
    }
    match own.sessions.give_code(&proof.session, code).await {
        Ok(()) => {
            own.sign_out(&proof.session).await;
            Ok(Proven::ByCode)
        }
        // CloudStack has ended that session.
        Err(Error::SecondFactor { .. }) => Err(FactorError::WrongCode { left }),
        Err(Error::Uncertain { text }) => {
            own.sign_out(&proof.session).await;
            Err(OwnError::Silent(text).into())
        }
        Err(error) => {
            own.sign_out(&proof.session).await;
            Err(OwnError::Silent(error.to_string()).into())
        }
    }
}

/// What an authenticator app reads: RFC-like `otpauth` address, as CloudStack's UI makes it. It holds the secret.
pub fn app_address(issuer: &str, username: &str, secret: &Secret) -> Secret {
    let encoded = |text: &str| -> String {
        url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
    };
    let issuer = encoded(issuer);
    Secret::new(format!(
        "otpauth://totp/{issuer}:{}?secret={}&issuer={issuer}",
        encoded(username),
        encoded(secret.expose())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_reads_names_that_could_break_out_of_the_address() {
        let address = app_address("My Cloud & Co", "a/b?c=d#e", &Secret::new("ABC234"));
        assert_eq!(
            address.expose(),
            "otpauth://totp/My%20Cloud%20%26%20Co:a%2Fb%3Fc%3Dd%23e?secret=ABC234&issuer=My%20Cloud%20%26%20Co"
        );
    }

    #[test]
    fn only_six_digits_are_a_code() {
        for (text, is) in [("123456", true), ("12345", false), ("1234567", false), ("12345a", false), ("", false)] {
            assert_eq!(is_code(&Secret::new(text)), is, "{text}");
        }
    }
}
