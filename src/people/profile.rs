//! A person's profile: names and time zone are CloudStack's, the rest bursar's.
//!
//! Promises: CloudStack's part is changed first, in the person's own session, and read back where the answer was lost; bursar's
//! part is saved only once that went well. A form that was filled in on an older state changes nothing.

use super::own::{Own, OwnError};
use crate::{
    cloudstack::{Error, User, person::UserChange},
    store::{
        StoreError,
        profiles::{self, Profile},
    },
};

/// The longest name that CloudStack takes.
pub const MOST_NAME_CHARS: usize = 255;
/// The longest phone number, company and location.
pub const MOST_LINE_CHARS: usize = 120;
/// The longest postal address.
pub const MOST_ADDRESS_CHARS: usize = 500;
/// Lines of a postal address.
pub const MOST_ADDRESS_LINES: usize = 8;

/// What a person may change at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Time zone by its name; empty leaves it as it is, since CloudStack can not clear it.
    pub timezone: String,
    /// What CloudStack has no field for.
    pub profile: Profile,
}

/// Why nothing was saved.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// What stands in the way of any change.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// Somebody changed it since the form was opened.
    #[error("it was changed meanwhile")]
    Meanwhile,
    /// Asked back, CloudStack has it as it was.
    #[error("it was not changed")]
    NotDone,
}

impl From<StoreError> for ProfileError {
    fn from(error: StoreError) -> Self {
        Self::Own(error.into())
    }
}

/// What bursar keeps.
pub async fn kept(own: &Own) -> Result<Profile, OwnError> {
    let mut tx = own.store.read().await?;
    Ok(profiles::find_profile(&mut tx, &own.id()).await?)
}

/// What a form was filled in on, so that a change meanwhile is noticed.
pub fn stamp(user: &User, profile: &Profile) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    stamp_of([&text(&user.first_name), &text(&user.last_name), &text(&user.timezone)], profile)
}

fn stamp_of(in_cloudstack: [&str; 3], profile: &Profile) -> String {
    let mut hash = blake3::Hasher::new_derive_key("bursar 2026 state of a profile");
    let here = [profile.phone.as_str(), &profile.company, &profile.location, &profile.address];
    for field in in_cloudstack.iter().chain(&here) {
        hash.update(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(field.as_bytes());
    }
    hash.finalize().to_hex().as_str().get(..32).unwrap_or_default().to_owned()
}

/// Saves a profile. `seen` is the [`stamp`] of what the form was filled in on.
pub async fn save(own: &Own, wanted: &Wanted, seen: &str) -> Result<(), ProfileError> {
    let user = own.read().await?;
    let before = kept(own).await?;
    let is_meant = stamp_of([&wanted.first_name, &wanted.last_name, &wanted.timezone], &wanted.profile);
    let is = stamp(&user, &before);
    // Sent twice: the first one did it.
    if is == is_meant {
        return Ok(());
    }
    if is != seen {
        return Err(ProfileError::Meanwhile);
    }
    let differs = |wanted: &str, is: Option<&str>| (wanted != is.unwrap_or_default()).then(|| wanted.to_owned());
    let change = UserChange {
        first_name: differs(&wanted.first_name, user.first_name.as_deref()),
        last_name: differs(&wanted.last_name, user.last_name.as_deref()),
        timezone: differs(&wanted.timezone, user.timezone.as_deref()).filter(|zone| !zone.is_empty()),
        email: None,
    };
    if !change.is_empty() {
        own.audit("profile.change", None, &format!("asked for: {}", fields_of(&change))).await?;
        let ended = change_user(own, &change).await;
        own.audit("profile.change", None, if ended.is_ok() { "changed" } else { "not known to be changed" }).await?;
        ended?;
    }
    if before != wanted.profile {
        let mut tx = own.store.begin().await?;
        profiles::put_profile(&mut tx, &own.id(), own.account, &wanted.profile, own.now()).await?;
        tx.commit().await?;
        own.audit("profile.change", None, "phone, company, location or address saved").await?;
    }
    Ok(())
}

/// Which fields a change is about; not what they say, since the audit trail is no place for people's names.
fn fields_of(change: &UserChange) -> String {
    [
        ("first name", &change.first_name),
        ("last name", &change.last_name),
        ("address", &change.email),
        ("time zone", &change.timezone),
    ]
    .into_iter()
    .filter(|(_, value)| value.is_some())
    .map(|(name, _)| name)
    .collect::<Vec<_>>()
    .join(", ")
}

/// Changes the user in CloudStack; a lost answer is read back.
pub(super) async fn change_user(own: &Own, change: &UserChange) -> Result<(), ProfileError> {
    match own.sessions.update_user(&own.session, own.user, change).await {
        Ok(_) => Ok(()),
        Err(Error::Uncertain { text }) => match own.read().await {
            Ok(user) if change.is_done(&user) => Ok(()),
            Ok(_) => Err(ProfileError::NotDone),
            Err(_) => Err(OwnError::Unsure(text).into()),
        },
        Err(error) => Err(OwnError::from(error).into()),
    }
}

/// What came of setting a picture as the user's icon in CloudStack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    /// CloudStack has it.
    Set,
    /// CloudStack refused it, or the role lacks the right.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Icon {
    const fn word(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// Keeps a picture, then sets it as the user's icon where CloudStack lets it be.
pub async fn put_picture(own: &Own, picture: &super::picture::Picture) -> Result<Icon, OwnError> {
    let mut tx = own.store.begin().await?;
    profiles::put_picture(&mut tx, &own.id(), own.account, &picture.png, &picture.hash, own.now()).await?;
    tx.commit().await?;
    own.audit("profile.picture", None, &format!("saved {}", picture.hash)).await?;
    let icon = super::picture::icon(&picture.png).map_err(|error| OwnError::Refused(error.to_string()))?;
    let outcome = match own.sessions.upload_icon(&own.session, own.user, &icon).await {
        Ok(()) => Icon::Set,
        Err(Error::Refused { .. } | Error::NotAllowed { .. } | Error::Gone { .. }) => Icon::Refused,
        Err(error) => {
            tracing::warn!(%error, "a picture could not be set as an icon in CloudStack");
            Icon::Unknown
        }
    };
    let mut tx = own.store.begin().await?;
    profiles::put_picture_icon(&mut tx, &own.id(), &picture.hash, outcome.word()).await?;
    tx.commit().await?;
    own.audit("profile.icon", None, outcome.word()).await?;
    Ok(outcome)
}

/// Forgets the picture, then takes the icon away that was set.
pub async fn remove_picture(own: &Own) -> Result<Icon, OwnError> {
    let mut tx = own.store.begin().await?;
    let was_there = profiles::delete_picture(&mut tx, &own.id()).await?;
    tx.commit().await?;
    if !was_there {
        return Ok(Icon::Set);
    }
    own.audit("profile.picture", None, "removed").await?;
    // Without an icon CloudStack refuses (530): gone is what was wanted.
    let outcome = match own.sessions.delete_icon(&own.session, own.user).await {
        Ok(()) | Err(Error::Refused { code: 530, .. }) => Icon::Set,
        Err(Error::Refused { .. } | Error::NotAllowed { .. } | Error::Gone { .. }) => Icon::Refused,
        Err(error) => {
            tracing::warn!(%error, "an icon could not be taken away in CloudStack");
            Icon::Unknown
        }
    };
    own.audit("profile.icon", None, if outcome == Icon::Set { "removed" } else { outcome.word() }).await?;
    Ok(outcome)
}
