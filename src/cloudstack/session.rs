//! A person's own CloudStack session: who that is, and what is done in the person's name.
//!
//! Promises: a session is sent only whole, since a missing or wrong half logs the person out (facts 2.2); every probe is
//! sent once; CloudStack's cookies are not kept and never passed on. Must not be called for a session whose second factor
//! is pending: the probe itself would end it.

use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::Value;

use super::{
    ClientSettings, Error, User,
    envelope::{self, Rejection},
    error::{SESSION_CAUSES, scrubbed},
    fields,
    params::Params,
    signing,
    transport::{Exchange, Http},
};
use crate::{ids::CloudId, secrets::Secret};

/// A session as a browser holds it.
#[derive(Debug, Clone)]
pub struct ForwardedSession {
    /// The cookie `JSESSIONID`.
    pub jsessionid: Secret,
    /// The cookie `sessionkey`, sent as cookie and as parameter.
    pub session_key: Secret,
    /// Cookies of the load balancer (name and value), so that the call reaches the same management server.
    pub extra_cookies: Vec<(String, Secret)>,
}

/// A fresh session.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    /// The user.
    pub user_id: CloudId,
    /// The user's name.
    pub username: String,
    /// The account's name.
    pub account: String,
    /// The account's domain.
    pub domain_id: CloudId,
    /// Seconds without a call after which it ends.
    pub timeout_s: Option<u64>,
    /// Whether the second factor is still to be given; every other call would end the session.
    pub second_factor_pending: bool,
    /// What to call with.
    pub session: ForwardedSession,
}

#[derive(Deserialize)]
pub(super) struct LoginRow {
    userid: CloudId,
    #[serde(deserialize_with = "fields::required_text")]
    username: String,
    #[serde(deserialize_with = "fields::required_text")]
    account: String,
    domainid: CloudId,
    #[serde(default, deserialize_with = "fields::secret")]
    sessionkey: Option<Secret>,
    #[serde(default, deserialize_with = "fields::whole")]
    timeout: Option<u64>,
    #[serde(default, deserialize_with = "fields::flag")]
    is2faverified: Option<bool>,
}

/// Calls CloudStack in a person's session. Cheap to clone; holds no session itself.
#[derive(Debug, Clone)]
pub struct SessionClient(Http);

impl SessionClient {
    /// A client for sessions of the cloud in the settings. Sends nothing yet.
    pub fn new(settings: &ClientSettings) -> Result<Self, Error> {
        Http::new(settings).map(Self)
    }

    /// Signs a person in; `domain` is a path such as `/` or `/acme`. A wrong password and a locked account are both
    /// [`Error::NotAllowed`] (531), told apart by their texts only. An empty password is refused here, since CloudStack
    /// would not take it for a password (facts 2.1). Five wrong ones disable the user.
    pub async fn login(&self, username: &str, password: &Secret, domain: &str) -> Result<LoggedIn, Error> {
        self.login_along(username, password, domain, &[]).await
    }

    /// As [`SessionClient::login`], with cookies of the load balancer (name and value) that lead to a certain management server:
    /// a session lives in the memory of one. No session goes along, so none is ended.
    pub async fn login_along(
        &self,
        username: &str,
        password: &Secret,
        domain: &str,
        balancer: &[(String, Secret)],
    ) -> Result<LoggedIn, Error> {
        if username.is_empty() || password.is_empty() {
            return Err(Error::configuration("a user name and a password are needed to sign in"));
        }
        let params = Params::new()
            .with("command", "login")
            .with("response", "json")
            .with("username", username)
            .with("password", password.expose())
            .with("domain", domain);
        let cookies = if balancer.is_empty() { None } else { Some(cookie_line(&pairs_of(balancer))?) };
        let exchange = self.send("login", &params, cookies, &[]).await.map_err(|rejection| rejection.error)?;
        let row: LoginRow = envelope::entity(envelope::sole(&exchange.body)?)?;
        let cookie = |name: &str| cookie_value(&exchange.set_cookies, name).map(Secret::new);
        match (cookie("JSESSIONID"), cookie("sessionkey").or(row.sessionkey)) {
            (Some(jsessionid), Some(session_key)) => Ok(LoggedIn {
                user_id: row.userid,
                username: row.username,
                account: row.account,
                domain_id: row.domainid,
                timeout_s: row.timeout,
                second_factor_pending: row.is2faverified == Some(false),
                session: ForwardedSession { jsessionid, session_key, extra_cookies: balancer.to_vec() },
            }),
            _ => Err(Error::malformed("login: the answer holds no session; does a proxy remove cookies?")),
        }
    }

    /// Whose session it is: one user of role type User, or all users of the account of an administrator, of whom the
    /// person is one (facts 2.3). States still have to be looked at.
    pub async fn who_am_i(&self, session: &ForwardedSession) -> Result<Vec<User>, Error> {
        let exchange = self.in_session(session, "listUsers", Params::new()).await?;
        let page = envelope::page::<User>(&exchange.body)?;
        if page.unreadable > 0 {
            // Part of an account's users would pass for all of them.
            return Err(Error::malformed("listUsers: a user can not be read"));
        }
        Ok(page.items)
    }

    /// Any command in a person's session, sent once. `is_write` makes a lost answer [`Error::Uncertain`].
    pub async fn call_raw(
        &self,
        session: &ForwardedSession,
        command: &str,
        params: &[(&str, &str)],
        is_write: bool,
    ) -> Result<Value, Error> {
        let unread = |error: Error| if is_write { error.after_write() } else { error };
        match self.try_in_session(session, command, Params::from_pairs(params)?).await {
            Ok(exchange) => envelope::sole(&exchange.body).map_err(unread),
            Err(Rejection { error, definite: true }) => Err(error),
            Err(Rejection { error, .. }) => Err(unread(error)),
        }
    }

    /// Ends a session. One that has ended already is fine.
    pub async fn logout(&self, session: &ForwardedSession) -> Result<(), Error> {
        match self.in_session(session, "logout", Params::new()).await {
            Ok(_) | Err(Error::Refused { code: 431, .. } | Error::Unauthorized { .. } | Error::Gone { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn in_session(&self, session: &ForwardedSession, command: &str, params: Params) -> Result<Exchange, Error> {
        self.try_in_session(session, command, params).await.map_err(|rejection| rejection.error)
    }

    pub(super) async fn try_in_session(
        &self,
        session: &ForwardedSession,
        command: &str,
        params: Params,
    ) -> Result<Exchange, Rejection> {
        let cookies = cookie_header(session).map_err(|error| Rejection { error, definite: true })?;
        let params =
            params.with("command", command).with("response", "json").with("sessionkey", session.session_key.expose());
        self.send(command, &params, Some(cookies), &[session.jsessionid.expose()]).await
    }

    async fn send(
        &self,
        command: &str,
        params: &Params,
        cookies: Option<HeaderValue>,
        secrets: &[&str],
    ) -> Result<Exchange, Rejection> {
        let rejection = match self.0.post(signing::form_body(params.pairs()), cookies).await {
            Ok(exchange) => match envelope::decode(exchange.status, exchange.content_type.as_deref(), &exchange.body) {
                Ok(()) => return Ok(exchange),
                Err(rejection) => rejection.map(|error| match error {
                    Error::Unauthorized { text, .. } => Error::Unauthorized { text, causes: SESSION_CAUSES },
                    error => error,
                }),
            },
            Err(no_answer) => no_answer.into_rejection(),
        };
        let mut hidden = params.secrets();
        hidden.extend(secrets);
        Err(rejection.map(|error| error.map_text(|text| format!("{command}: {}", scrubbed(text, &hidden)))))
    }
}

/// The cookie header, or why nothing may be sent.
fn cookie_header(session: &ForwardedSession) -> Result<HeaderValue, Error> {
    let mut pairs = vec![("JSESSIONID", session.jsessionid.expose()), ("sessionkey", session.session_key.expose())];
    pairs.extend(pairs_of(&session.extra_cookies));
    if session.jsessionid.is_empty() || session.session_key.is_empty() {
        return Err(incomplete("one of the two session cookies is missing"));
    }
    cookie_line(&pairs)
}

fn incomplete(what: &str) -> Error {
    Error::Unauthorized { text: format!("nothing was sent: {what}"), causes: SESSION_CAUSES }
}

fn pairs_of(cookies: &[(String, Secret)]) -> Vec<(&str, &str)> {
    cookies.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

fn cookie_line(pairs: &[(&str, &str)]) -> Result<HeaderValue, Error> {
    // A browser can not send such values; they would smuggle in further cookies or headers.
    if !pairs.iter().all(|(name, value)| is_cookie_text(name) && !name.contains('=') && is_cookie_text(value)) {
        return Err(incomplete("a session cookie holds signs that no cookie has"));
    }
    let text: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut header = HeaderValue::from_str(&text.join("; ")).map_err(|_| incomplete("a session cookie is unusable"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn is_cookie_text(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b';' | b',' | b'\\'))
}

/// The value of a cookie that is set and not deleted.
fn cookie_value(set_cookies: &[String], name: &str) -> Option<String> {
    set_cookies
        .iter()
        .filter_map(|line| line.split(';').next()?.trim().split_once('='))
        .find(|(cookie, value)| cookie.eq_ignore_ascii_case(name) && !value.is_empty())
        .map(|(_, value)| value.trim_matches('"').to_owned())
}
