//! A person and the own CloudStack user: what every change of it has in common.

use std::{sync::Arc, time::Duration};

use crate::{
    cloudstack::{
        self, User,
        session::{ForwardedSession, SessionClient},
    },
    ids::{AccountId, CloudId},
    random::RandomSource,
    store::{
        Store, StoreError,
        profiles::{self, Tried},
        runs::{self, AuditLine},
    },
    time::{Clock, Timestamp},
};

/// A person, known exactly, in the own session of CloudStack. Everything that is done with it runs in that session.
#[derive(Clone)]
pub struct Own {
    /// The store.
    pub store: Store,
    /// Calls in people's sessions.
    pub sessions: SessionClient,
    /// The person's session, whole.
    pub session: ForwardedSession,
    /// The user, as CloudStack told.
    pub user: CloudId,
    /// The user's account.
    pub account: AccountId,
    /// The path of the account's domain, `ROOT/acme`.
    pub domain_path: String,
    /// The name for the audit trail.
    pub author: String,
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Where random bytes come from.
    pub random: Arc<dyn RandomSource>,
}

/// What stands in the way of any change.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// CloudStack no longer accepts the session; nothing was done.
    #[error("the CloudStack session has ended")]
    SessionEnded,
    /// CloudStack can not answer now; nothing was done.
    #[error("CloudStack does not answer: {0}")]
    Silent(String),
    /// A call went out, its answer was lost, and reading back did not tell what became of it.
    #[error("it is not known whether it was done: {0}")]
    Unsure(String),
    /// Too many wrong tries.
    #[error("too many wrong tries until {until}")]
    TooManyTries {
        /// From when on one may try again.
        until: Timestamp,
    },
    /// CloudStack refused, for a reason that is none of the person's doing.
    #[error("CloudStack refused: {0}")]
    Refused(String),
}

impl From<cloudstack::Error> for OwnError {
    fn from(error: cloudstack::Error) -> Self {
        match error {
            cloudstack::Error::Unauthorized { .. } | cloudstack::Error::SecondFactor { .. } => Self::SessionEnded,
            cloudstack::Error::Retry { .. } | cloudstack::Error::Malformed { .. } => Self::Silent(error.to_string()),
            cloudstack::Error::Uncertain { text } => Self::Unsure(text),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// What can be tried wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// A password that a login tells right from wrong. CloudStack disables the user at the fifth wrong one
    /// (`incorrect.login.attempts.allowed`) and counts those of its own sign-in page too, so two are left to that.
    SignIn,
    /// A password that CloudStack looks at without counting (`updateUser`).
    OldPassword,
    /// A one-time code; CloudStack counts none.
    Code,
}

impl Try {
    const fn word(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::OldPassword => "password",
            Self::Code => "code",
        }
    }

    /// How many wrong ones in a row, and for how long they count.
    const fn limit(self) -> (i64, Duration) {
        match self {
            Self::SignIn => (3, Duration::from_hours(24)),
            Self::OldPassword => (5, Duration::from_hours(1)),
            Self::Code => (5, Duration::from_mins(15)),
        }
    }
}

impl Own {
    /// The user as CloudStack has it now.
    pub async fn read(&self) -> Result<User, OwnError> {
        let users = self.sessions.who_am_i(&self.session).await?;
        // Somebody else signed in with this browser meanwhile.
        users.into_iter().find(|user| user.id == self.user).ok_or(OwnError::SessionEnded)
    }

    pub(super) fn id(&self) -> String {
        self.user.to_string()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The domain as login takes it: `/` for ROOT, `/acme` below it.
    pub(super) fn login_domain(&self) -> String {
        match self.domain_path.split_once('/') {
            Some((_, below)) => format!("/{below}"),
            None => "/".to_owned(),
        }
    }

    /// Writes a line of the audit trail. No password, code, secret or address stands in one.
    pub(super) async fn audit(&self, action: &str, before: Option<&str>, after: &str) -> Result<(), OwnError> {
        let line = AuditLine {
            at_ms: self.now().as_ms(),
            actor: self.author.clone(),
            action: action.to_owned(),
            subject: format!("user {}", self.user),
            before_state: before.map(str::to_owned),
            after_state: Some(after.to_owned()),
            ..AuditLine::default()
        };
        let mut tx = self.store.begin().await?;
        runs::write_audit(&mut tx, &line).await?;
        Ok(tx.commit().await?)
    }

    /// Counts a try as wrong before it is made, so that tries at the same moment count too. Gives how many are left if it is.
    pub(super) async fn try_once(&self, what: Try) -> Result<i64, OwnError> {
        let (most, counts_for) = what.limit();
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let tried = profiles::find_tried(&mut tx, &self.id(), what.word()).await?;
        // Counting takes the row's lock, so the count it gives is right whoever else tries: looking first would not be.
        let wrong = profiles::count_wrong(&mut tx, &self.id(), what.word(), now.minus(counts_for), now).await?;
        if wrong > most {
            // Rolled back: what was refused is no try.
            let last = tried.map_or(now, |Tried { last_ms, .. }| last_ms);
            return Err(OwnError::TooManyTries { until: last.plus(counts_for) });
        }
        tx.commit().await?;
        Ok(most - wrong)
    }

    /// It was right: wrong ones before it are forgotten.
    pub(super) async fn was_right(&self, what: Try) -> Result<(), OwnError> {
        let mut tx = self.store.begin().await?;
        profiles::forget_tried(&mut tx, &self.id(), what.word()).await?;
        Ok(tx.commit().await?)
    }

    /// It was never looked at: it does not count.
    pub(super) async fn was_not_looked_at(&self, what: Try) -> Result<(), OwnError> {
        let mut tx = self.store.begin().await?;
        profiles::uncount_wrong(&mut tx, &self.id(), what.word()).await?;
        Ok(tx.commit().await?)
    }
}

/// Where a person's password is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In CloudStack.
    CloudStack,
    /// In a directory; CloudStack's sign-in page takes it.
    Directory,
    /// With somebody who vouches for the person; CloudStack never sees it.
    SingleSignOn,
}

impl Source {
    /// By what CloudStack says of a user (`usersource`).
    pub fn of(user: &User) -> Self {
        match user.user_source.as_deref().unwrap_or("native").to_ascii_lowercase().as_str() {
            "ldap" => Self::Directory,
            "saml2" | "saml2disabled" | "oauth2" => Self::SingleSignOn,
            _ => Self::CloudStack,
        }
    }
}

/// Why a sign-in that shall prove a password failed.
#[derive(Debug)]
pub(super) enum NotProven {
    /// It is not the password, or nobody of this name has one.
    Wrong,
    /// It is, but the user or the account is locked or disabled.
    ShutOut,
    /// No telling.
    Other(OwnError),
}

impl Own {
    /// Proves a password by a session of its own, which the caller has to end. The person's session does not notice; a set-up of
    /// a second factor that was never confirmed is wiped by it (facts 2.4). Every wrong one counts at CloudStack.
    pub(super) async fn sign_in(
        &self,
        user: &User,
        password: &crate::secrets::Secret,
    ) -> Result<cloudstack::session::LoggedIn, NotProven> {
        // To the same management server as the person's own session, and without it: a login ends the session that it comes with.
        let along = &self.session.extra_cookies;
        match self.sessions.login_along(&user.username, password, &self.login_domain(), along).await {
            Ok(logged_in) if logged_in.user_id == self.user => Ok(logged_in),
            Ok(stranger) => {
                self.sign_out(&stranger.session).await;
                Err(NotProven::Wrong)
            }
            Err(cloudstack::Error::NotAllowed { text, .. }) if text.contains("disabled/locked") => {
                Err(NotProven::ShutOut)
            }
            Err(cloudstack::Error::NotAllowed { .. }) => Err(NotProven::Wrong),
            Err(error) => Err(NotProven::Other(error.into())),
        }
    }

    /// Ends a session that [`Own::sign_in`] began. That it could not be ended is no reason to fail: it ends by itself.
    pub(super) async fn sign_out(&self, session: &ForwardedSession) {
        if let Err(error) = self.sessions.logout(session).await {
            tracing::warn!(%error, "a session that proved a password could not be ended; it runs out by itself");
        }
    }
}
