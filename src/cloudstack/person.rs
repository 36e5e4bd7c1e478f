//! What a person does to the own CloudStack user, in the person's own session (design 2.5): never with a service account.
//!
//! Promises: everything is sent once; a write whose answer was lost is [`Error::Uncertain`] and has to be read back with
//! [`SessionClient::who_am_i`]; passwords, codes and secrets reach no error and no log. The names of commands are written as
//! CloudStack writes them: the check of a code under another spelling ends the session (facts 2.4).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Error, User,
    envelope::{self, Entry, Rejection},
    fields,
    params::Params,
    session::{ForwardedSession, SessionClient},
    users,
};
use crate::{ids::CloudId, secrets::Secret};

/// The most bytes of a picture that CloudStack can keep: its column holds 65,535 characters of base64
/// (`resource_icon.icon`), though the API takes more.
pub const MOST_ICON_BYTES: usize = 49_149;

/// What is to be changed about a user. None leaves a field as it is. CloudStack refuses blank names, and takes a blank address or
/// time zone for none given (facts 6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Time zone, as `Europe/Vienna`.
    pub timezone: Option<String>,
}

impl UserChange {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a user already is as this change would make it: how a lost answer is read back.
    pub fn is_done(&self, user: &User) -> bool {
        [
            (&self.first_name, &user.first_name),
            (&self.last_name, &user.last_name),
            (&self.email, &user.email),
            (&self.timezone, &user.timezone),
        ]
        .into_iter()
        .all(|(wanted, is)| wanted.is_none() || wanted == is)
    }
}

/// A way to give a second factor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SecondFactorProvider {
    /// `totp`, `staticpin`.
    #[serde(deserialize_with = "fields::required_text")]
    pub name: String,
    /// What CloudStack says about it.
    #[serde(default, deserialize_with = "fields::text")]
    pub description: Option<String>,
}

impl Entry for SecondFactorProvider {}

/// A second factor that was begun and waits for its first code.
#[derive(Debug, Clone, Deserialize)]
pub struct SecondFactorSetUp {
    /// Whose it is.
    #[serde(deserialize_with = "fields::required_text")]
    pub username: String,
    /// Base32 for an authenticator app, or the PIN itself.
    #[serde(rename = "secretcode", deserialize_with = "secret_code")]
    pub secret: Secret,
}

fn secret_code<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    fields::secret(deserializer)?.ok_or_else(|| serde::de::Error::custom("no secret"))
}

impl SessionClient {
    /// Changes names, address or time zone of the own user.
    pub async fn update_user(
        &self,
        session: &ForwardedSession,
        user: CloudId,
        change: &UserChange,
    ) -> Result<User, Error> {
        let params = Params::new()
            .with("id", user)
            .with_some("firstname", change.first_name.as_ref())
            .with_some("lastname", change.last_name.as_ref())
            .with_some("email", change.email.as_ref())
            .with_some("timezone", change.timezone.as_ref());
        self.write(session, "updateUser", params, envelope::entity).await
    }

    /// Sets a new password of the own user. CloudStack looks at the old one unless the person is an administrator of the root or
    /// of a domain, whose old one is never looked at (facts 6). It does not count a wrong one there. Sessions and keys go on.
    pub async fn change_password(
        &self,
        session: &ForwardedSession,
        user: CloudId,
        old: &Secret,
        new: &Secret,
    ) -> Result<(), Error> {
        if old.is_empty() || new.is_empty() {
            return Err(Error::configuration("an old and a new password are needed"));
        }
        let params =
            Params::new().with("id", user).with("password", new.expose()).with("currentpassword", old.expose());
        self.write(session, "updateUser", params, |answer| envelope::entity::<User>(answer).map(|_| ())).await
    }

    /// The ways to give a second factor that this cloud knows.
    pub async fn second_factor_providers(
        &self,
        session: &ForwardedSession,
    ) -> Result<Vec<SecondFactorProvider>, Error> {
        let exchange = self
            .try_in_session(session, "listUserTwoFactorAuthenticatorProviders", Params::new())
            .await
            .map_err(|rejection| rejection.error)?;
        envelope::page(&exchange.body).map(|page| page.items)
    }

    /// Begins a second factor of the caller. Refused (530, to plain users without a reason) where the domain does not allow it or
    /// one is there already. Unless a code confirms it, the next login wipes it.
    pub async fn begin_second_factor(
        &self,
        session: &ForwardedSession,
        provider: &str,
    ) -> Result<SecondFactorSetUp, Error> {
        let params = Params::new().with("provider", provider).with("enable", true);
        self.write(session, "setupUserTwoFactorAuthentication", params, envelope::entity).await
    }

    /// Gives a code: confirms a second factor that was begun, or completes a session that waits for it. A wrong one is
    /// [`Error::SecondFactor`]: it undoes a set-up, and it ends the session of a factor that was confirmed, however far that
    /// session had come. Where there is no factor CloudStack answers nothing, which is [`Error::Uncertain`].
    pub async fn give_code(&self, session: &ForwardedSession, code: &Secret) -> Result<(), Error> {
        if code.is_empty() {
            return Err(Error::configuration("a code is needed"));
        }
        let params = Params::new().with("codefor2fa", code.expose());
        self.write(session, "validateUserTwoFactorAuthenticationCode", params, |answer| users::success(&answer)).await
    }

    /// Takes the caller's second factor away. CloudStack asks for no code: whoever calls this has to have seen one.
    pub async fn end_second_factor(&self, session: &ForwardedSession) -> Result<(), Error> {
        let params = Params::new().with("enable", false);
        self.write(session, "setupUserTwoFactorAuthentication", params, |answer| {
            if answer.is_object() { Ok(()) } else { Err(Error::malformed("the answer is no object")) }
        })
        .await
    }

    /// Sets the user's icon. At most [`MOST_ICON_BYTES`]; CloudStack reads PNG, JPEG, GIF and BMP.
    pub async fn upload_icon(&self, session: &ForwardedSession, user: CloudId, picture: &[u8]) -> Result<(), Error> {
        if picture.len() > MOST_ICON_BYTES {
            return Err(Error::configuration("the picture is bigger than CloudStack can keep"));
        }
        let params = icon_of(user).with("base64image", STANDARD.encode(picture));
        self.write(session, "uploadResourceIcon", params, |answer| users::success(&answer)).await
    }

    /// Takes the user's icon away. Where there is none CloudStack refuses (530).
    pub async fn delete_icon(&self, session: &ForwardedSession, user: CloudId) -> Result<(), Error> {
        self.write(session, "deleteResourceIcon", icon_of(user), |answer| users::success(&answer)).await
    }

    /// A write in a person's session, sent once; read by `read` where it was answered.
    async fn write<T>(
        &self,
        session: &ForwardedSession,
        command: &str,
        params: Params,
        read: impl FnOnce(Value) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self.try_in_session(session, command, params).await {
            Ok(exchange) => envelope::sole(&exchange.body).and_then(read).map_err(Error::after_write),
            Err(Rejection { error, definite: true }) => Err(error),
            Err(Rejection { error, definite: false }) => Err(error.after_write()),
        }
    }
}

fn icon_of(user: CloudId) -> Params {
    Params::new().with("resourceids", user).with("resourcetype", "User")
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{ID, Reaction, Scripted, session},
        *,
    };

    fn user() -> CloudId {
        ID.parse().unwrap()
    }

    async fn client(reactions: impl IntoIterator<Item = Reaction>) -> (Scripted, SessionClient) {
        let server = Scripted::start(reactions).await;
        let client = SessionClient::new(&server.settings).unwrap();
        (server, client)
    }

    #[tokio::test]
    async fn a_change_sends_only_what_changes_and_both_halves_of_the_session() {
        let body = r#"{"updateuserresponse":{"user":{"id":"d522b0de-3fe4-4094-9d94-fb27222e11d7","username":"alice","lastname":"Anders"}}}"#;
        let (server, client) = client([Reaction::json(200, body)]).await;
        let change = UserChange { last_name: Some("Anders".to_owned()), ..UserChange::default() };
        let changed = client.update_user(&session("JS", "KEY1"), user(), &change).await.unwrap();
        assert!(change.is_done(&changed));
        let sent = server.received().remove(0);
        assert_eq!((sent.param("lastname"), sent.param("firstname")), (Some("Anders"), None));
        assert_eq!(sent.param("sessionkey"), Some(session("JS", "KEY1").session_key.expose()));
        assert!(sent.header("cookie").unwrap().contains("sessionkey="));
    }

    #[tokio::test]
    async fn a_lost_answer_is_uncertain_and_nothing_is_sent_again() {
        let (server, client) =
            client([Reaction::Cut, Reaction::CutInside, Reaction::json(200, ""), Reaction::html(502, "gateway")]).await;
        let forwarded = session("JS", "KEY1");
        let secret = Secret::new("123456");
        let answers = [
            client.update_user(&forwarded, user(), &UserChange::default()).await.map(|_| ()),
            client.change_password(&forwarded, user(), &secret, &secret).await,
            client.give_code(&forwarded, &secret).await,
            client.upload_icon(&forwarded, user(), b"x").await,
        ];
        for answer in answers {
            assert!(matches!(answer, Err(Error::Uncertain { .. })), "{answer:?}");
        }
        assert_eq!(server.received().len(), 4);
    }

    #[tokio::test]
    async fn a_code_goes_out_under_the_one_name_that_is_safe_and_stays_out_of_errors() {
        let body = r#"{"validateusertwofactorauthenticationcoderesponse":{"errorcode":511,"errortext":"code 654321 is invalid"}}"#;
        let (server, client) = client([Reaction::json(511, body)]).await;
        let error = client.give_code(&session("JS", "KEY1"), &Secret::new("654321")).await.unwrap_err();
        assert!(matches!(error, Error::SecondFactor { .. }) && !error.to_string().contains("654321"), "{error}");
        assert_eq!(server.received()[0].param("command"), Some("validateUserTwoFactorAuthenticationCode"));
    }

    #[tokio::test]
    async fn a_sign_in_beside_a_session_reaches_its_server_without_it() {
        let body = r#"{"loginresponse":{"userid":"d522b0de-3fe4-4094-9d94-fb27222e11d7","username":"alice","account":"alice","domainid":"e3a4f522-e698-11f1-b665-02fc00000001","sessionkey":"KEY2"}}"#;
        let answer = Reaction::json(200, body).with_header("set-cookie", "JSESSIONID=JS2; Path=/client");
        let (server, client) =
            client([answer, Reaction::json(200, r#"{"logoutresponse":{"description":"success"}}"#)]).await;
        let own = session("JS", "KEY1");
        let secret = Secret::new("a-password");
        let beside = client.login_along("alice", &secret, "/", &own.extra_cookies).await.unwrap();
        client.logout(&beside.session).await.unwrap();
        let sent = server.received();
        assert_eq!(sent[0].header("cookie"), Some("SRV=ms1"), "a login ends the session that it comes with");
        assert_eq!(sent[1].header("cookie"), Some("JSESSIONID=JS2; sessionkey=KEY2; SRV=ms1"));
    }

    #[tokio::test]
    async fn the_secret_of_a_set_up_is_opaque() {
        let body = r#"{"setupusertwofactorauthenticationresponse":{"setup2fa":{"id":"d522b0de-3fe4-4094-9d94-fb27222e11d7","username":"erin","secretcode":"ABCDEFGH"}}}"#;
        let (_server, client) = client([Reaction::json(200, body)]).await;
        let begun = client.begin_second_factor(&session("JS", "KEY1"), "totp").await.unwrap();
        assert_eq!((begun.username.as_str(), begun.secret.expose()), ("erin", "ABCDEFGH"));
        assert!(!format!("{begun:?}").contains("ABCDEFGH"));
    }

    #[tokio::test]
    async fn nothing_is_sent_with_half_a_session_or_for_nothing() {
        let (server, client) = client([]).await;
        let half = ForwardedSession { session_key: Secret::new(""), ..session("JS", "KEY1") };
        let secret = Secret::new("123456");
        assert!(client.give_code(&half, &secret).await.is_err());
        assert!(client.end_second_factor(&half).await.is_err());
        assert!(client.give_code(&session("JS", "KEY1"), &Secret::new("")).await.is_err());
        assert!(client.change_password(&session("JS", "KEY1"), user(), &Secret::new(""), &secret).await.is_err());
        let huge = vec![0; MOST_ICON_BYTES + 1];
        assert!(client.upload_icon(&session("JS", "KEY1"), user(), &huge).await.is_err());
        assert!(STANDARD.encode(vec![0; MOST_ICON_BYTES]).len() <= 65_535);
        assert!(server.received().is_empty());
    }
}
