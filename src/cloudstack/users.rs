//! Making and deleting users. There is no way to enable one here: that would enable its account too (facts 4.4).

use serde_json::Value;

use super::{ApiKeyAccess, Client, Error, User, params::Params};
use crate::{ids::CloudId, secrets::Secret};

/// A user to be made in an existing account.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The id it shall have (facts 0: honoured), so that it is found again when the answer is lost.
    pub user_id: CloudId,
    /// Its name, unique in the domain.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// E-mail address.
    pub email: String,
    /// The account's name.
    pub account: String,
    /// The account's domain.
    pub domain_id: CloudId,
}

impl Client {
    /// Makes a user. A taken name is refused ([`Error::is_already_exists`]).
    pub async fn create_user(&self, new: &NewUser) -> Result<User, Error> {
        let params = Params::new()
            .with("userid", new.user_id)
            .with("username", &new.username)
            .with("password", new.password.expose())
            .with("firstname", &new.first_name)
            .with("lastname", &new.last_name)
            .with("email", &new.email)
            .with("account", &new.account)
            .with("domainid", new.domain_id);
        self.write_entity("createUser", &params).await
    }

    /// Switches a user's key pair on or off. CloudStack ignores this silently unless the caller's role is of type Admin
    /// (facts 5), so the value is read back; where it shows and differs, this is [`Error::NotAllowed`].
    pub async fn set_user_api_key_access(&self, user: CloudId, access: ApiKeyAccess) -> Result<User, Error> {
        let params = Params::new().with("id", user).with("apikeyaccess", access.as_str());
        let updated: User = self.write_entity("updateUser", &params).await?;
        match self.get_user(user).await {
            Ok(Some(read)) if read.api_key_access.is_some_and(|now| now != access) => Err(Error::NotAllowed {
                code: 432,
                text: "updateUser: apikeyaccess was ignored; the caller's role has to be of type Admin".to_owned(),
            }),
            Ok(Some(read)) => Ok(read),
            // The write has been answered; that it can not be read back now does not undo it.
            Ok(None) | Err(_) => Ok(updated),
        }
    }

    /// Deletes a user and thereby its key pair.
    pub async fn delete_user(&self, user: CloudId) -> Result<(), Error> {
        self.write("deleteUser", &Params::new().with("id", user), |answer| success(&answer)).await
    }
}

/// The answer of commands that only succeed or not.
pub(crate) fn success(value: &Value) -> Result<(), Error> {
    match value.get("success").map(|s| s.as_bool().unwrap_or_else(|| s.as_str() == Some("true"))) {
        Some(true) => Ok(()),
        Some(false) => Err(Error::from_code(
            530,
            value.get("displaytext").and_then(Value::as_str).unwrap_or("it did not succeed, without a reason"),
        )),
        None => Err(Error::malformed("the answer does not say whether it succeeded")),
    }
}

impl Client {
    /// The user whose key this client signs with, found by the key in the list of users; None where the list does not
    /// show it (there is no API that tells the caller who it is, facts 2.3).
    pub async fn own_user(&self) -> Result<Option<User>, Error> {
        let users = self.list_users().await?;
        Ok(users.items.into_iter().find(|user| self.is_own(user)))
    }

    /// The same where it is known which user it was the last time: that one is asked for alone, and the list of everybody only where it has
    /// another key by now.
    pub async fn own_user_as_known(&self, known: Option<CloudId>) -> Result<Option<User>, Error> {
        if let Some(id) = known
            && let Some(user) = self.get_user(id).await?.filter(|user| self.is_own(user))
        {
            return Ok(Some(user));
        }
        self.own_user().await
    }

    fn is_own(&self, user: &User) -> bool {
        user.api_key.as_ref().is_some_and(|key| self.signs_with(key))
    }
}
