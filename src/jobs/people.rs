//! Answers to people, wired: what an administrator grants is carried out by the policy, and told by mail.

use std::collections::BTreeMap;

use super::{app::App, mail};
use crate::{
    email::EmailAddress,
    enforcement::terms::{self, Whom, Word},
    notify::{self, Note},
    people::links,
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        links as rows,
    },
    time::Timestamp,
};

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The date makes no sense.
    #[error(transparent)]
    Terms(#[from] terms::Error),
    /// Somebody else was faster.
    #[error("request {0} was answered already")]
    Answered(i64),
}

/// Answers a request for more time: with a date, the account is left alone until then; without one, it is refused. The account's
/// people are told by mail. The caller commits.
pub async fn answer_more_time(
    app: &App,
    tx: &mut Tx,
    id: i64,
    until: Option<Timestamp>,
    message: &str,
    by: &str,
) -> Result<Account, AnswerError> {
    let now = app.clock.now();
    rows::get_more_time(tx, id).await?;
    let request = links::answer_more_time(tx, id, until, message, by, now).await?.ok_or(AnswerError::Answered(id))?;
    let account = cloud::get_account(tx, request.account_id).await?;
    if let Some(until) = until {
        let reason = format!("asked for more time (request {id})");
        let word = Word { author: by, reason: &reason, now };
        terms::grant_time(tx, Whom::Account(&account), until, word).await?;
    }
    let settings = mail::settings(app);
    let mut people: BTreeMap<String, EmailAddress> = notify::people_of(tx, account.id, &settings)
        .await?
        .into_iter()
        .map(|address| (address.person(), address))
        .collect();
    if let Ok(address) = EmailAddress::parse(&request.address) {
        people.entry(address.person()).or_insert(address);
    }
    let date = until.map(|until| until.display_in(app.config.billing.zone));
    for (person, address) in people {
        let mut paragraphs = vec![words::answer(&account.full_name(), date.as_deref())];
        if !message.is_empty() {
            paragraphs.push(message.to_owned());
        }
        let note = Note {
            key: format!("more-time/{id}/{person}"),
            kind: "more-time",
            headline: if until.is_some() { words::GRANTED } else { words::REFUSED }.to_owned(),
            paragraphs,
            link: None,
        };
        notify::write_note(tx, &settings, app.random.as_ref(), &address, note, now).await?;
    }
    Ok(account)
}

/// What the mail says.
mod words {
    pub(super) const GRANTED: &str = "You were given more time";
    pub(super) const REFUSED: &str = "You were not given more time";

    pub(super) fn answer(account: &str, until: Option<&str>) -> String {
        match until {
            Some(until) => format!(
                "Nothing further is taken from {account} until {until}. What was taken already is given back as soon as the account \
                 is paid."
            ),
            None => format!("Your request for more time for {account} was not granted."),
        }
    }
}
