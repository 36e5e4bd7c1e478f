//! Change Password.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use super::own::{domain_settings, failed, own, to_the_end, told};
use crate::web::{
    WebState,
    access::{Fields, Mistake, Tenant, TenantForm},
    error::Failure,
    pages::{self, After, Frame, Page},
    rights::{Own as OwnRight, Right},
    words::{self, own as own_words},
};
use crate::{
    cloudstack::User,
    people::{
        own::{OwnError, Source},
        password::{self, PasswordError, Rule},
    },
    secrets::Secret,
};

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    frame: Frame,
    said: Option<&'static str>,
    problem: Option<String>,
    mistakes: Vec<Mistake>,
    /// Where it is changed, if not here.
    elsewhere: Option<&'static str>,
    /// Whether wrong old ones count at CloudStack.
    counted: bool,
    /// What the cloud wants, as far as it can be read.
    rules: Vec<String>,
    username: String,
}

impl PasswordPage {
    fn wrong(&self, field: &str) -> Option<&str> {
        self.mistakes.iter().find(|mistake| mistake.field == field).map(|mistake| mistake.text.as_str())
    }
}

const fn elsewhere(source: Source) -> Option<&'static str> {
    match source {
        Source::CloudStack => None,
        Source::Directory => Some(own_words::PASSWORD_DIRECTORY),
        Source::SingleSignOn => Some(own_words::PASSWORD_SSO),
    }
}

/// A rule in words.
fn rule(rule: Rule) -> String {
    match rule {
        Rule::Length(number) => own_words::at_least(number, "characters"),
        Rule::Digits(number) => own_words::at_least(number, "digits"),
        Rule::Capitals(number) => own_words::at_least(number, "capital letters"),
        Rule::SmallLetters(number) => own_words::at_least(number, "small letters"),
        Rule::OtherSigns(number) => own_words::at_least(number, "characters that are neither letters nor digits"),
        Rule::NotTheName => own_words::RULE_NOT_THE_NAME.to_owned(),
        Rule::Pattern => own_words::RULE_PATTERN.to_owned(),
        Rule::NotBlank => own_words::RULE_NOT_BLANK.to_owned(),
    }
}

/// The rules of the domain that say something.
fn rules(settings: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    let text = |name: &str| settings.get(&format!("password.policy.{name}")).map(|value| value.trim());
    let number = |name: &str| text(name).and_then(|value| value.parse().ok()).filter(|number| *number > 0);
    let mut rules = Vec::new();
    rules.extend(number("minimum.length").map(Rule::Length));
    rules.extend(number("minimum.digits").map(Rule::Digits));
    rules.extend(number("minimum.uppercase.letters").map(Rule::Capitals));
    rules.extend(number("minimum.lowercase.letters").map(Rule::SmallLetters));
    rules.extend(number("minimum.special.characters").map(Rule::OtherSigns));
    if text("allowPasswordToContainUsername").is_some_and(|value| value.eq_ignore_ascii_case("false")) {
        rules.push(Rule::NotTheName);
    }
    if text("regex").is_some_and(|value| !matches!(value, "" | ".+")) {
        rules.push(Rule::Pattern);
    }
    rules.into_iter().map(rule).collect()
}

async fn build<R: Right>(state: &WebState, tenant: &Tenant<R>, user: &User) -> PasswordPage {
    let elsewhere = elsewhere(Source::of(user));
    let settings =
        if elsewhere.is_none() { domain_settings(state, tenant.home(), "password.policy").await } else { None };
    PasswordPage {
        frame: Frame::around(state, tenant, Page::Password),
        said: None,
        problem: None,
        mistakes: Vec::new(),
        elsewhere,
        counted: !password::cloudstack_looks(user),
        rules: settings.as_ref().map(rules).unwrap_or_default(),
        username: user.username.clone(),
    }
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<OwnRight>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    let user = own.read().await.map_err(|error| failed(&state, error))?;
    let page = build(&state, &tenant, &user).await;
    pages::show(&PasswordPage { said: own_words::said(&after.done), ..page })
}

/// The old and the new one as typed, blanks and all; what is wrong before CloudStack is asked is told beside the fields.
fn read(fields: &Fields) -> Result<(Secret, Secret), Vec<Mistake>> {
    let (old, new, again) = (fields.exact("old"), fields.exact("new"), fields.exact("again"));
    let mut mistakes = Vec::new();
    if old.is_empty() {
        mistakes.push(Mistake::new("old", own_words::PASSWORD_OLD_WANTED));
    }
    let most = password::MOST_CHARS;
    if new.trim().is_empty() {
        mistakes.push(Mistake::new("new", own_words::PASSWORD_NEW_WANTED));
    } else if new.chars().count() > most || old.chars().count() > most {
        mistakes.push(Mistake::new("new", words::too_long(most)));
    } else if new.chars().any(char::is_control) {
        mistakes.push(Mistake::new("new", own_words::PASSWORD_SIGNS));
    } else if new == old {
        mistakes.push(Mistake::new("new", own_words::PASSWORD_SAME));
    } else if new != again {
        mistakes.push(Mistake::new("again", own_words::PASSWORD_DIFFERENT));
    }
    if mistakes.is_empty() { Ok((Secret::new(old), Secret::new(new))) } else { Err(mistakes) }
}

/// Changes it. Nothing that was typed comes back in the page.
pub(super) async fn change(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<OwnRight>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    let user = own.read().await.map_err(|error| failed(&state, error))?;
    let mut page = build(&state, &tenant, &user).await;
    let (old, new) = match read(&fields) {
        Ok(both) => both,
        Err(mistakes) => return pages::show_refused(&PasswordPage { mistakes, ..page }),
    };
    let work = async move { password::change(&own, &old, &new).await };
    match to_the_end(work).await? {
        Ok(()) => return Ok(pages::done(&state, Page::Password, "password")),
        Err(PasswordError::WrongOld { left, counted }) => {
            page.mistakes.push(Mistake::new("old", own_words::wrong_password(left, counted)));
        }
        Err(PasswordError::Rule(broken)) => {
            page.mistakes.push(Mistake::new("new", own_words::breaks_rule(&rule(broken))));
        }
        Err(PasswordError::Elsewhere(source)) => page.elsewhere = elsewhere(source),
        Err(PasswordError::ShutOut) => page.problem = Some(own_words::SHUT_OUT.to_owned()),
        Err(PasswordError::NotDone) => page.problem = Some(own_words::PASSWORD_NOT_DONE.to_owned()),
        Err(PasswordError::Own(OwnError::Unsure(why))) => {
            tracing::warn!(error = %why, "it is not known whether a password was changed");
            page.problem = Some(own_words::PASSWORD_UNSURE.to_owned());
        }
        Err(PasswordError::Own(error)) => page.problem = Some(told(&state, error)?),
    }
    pages::show_refused(&page)
}
