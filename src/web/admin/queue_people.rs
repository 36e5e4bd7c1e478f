//! People who wait for an administrator: to be mapped to an account, or to be given more time; and who is mapped to what.
//!
//! [`Waiting`] is the part of the queue: a page that has it as its field `waiting` includes `queue_people.html`. Its forms say on
//! which page they stood, and lead back there.

use std::collections::HashMap;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};

use super::{queue, slip::Slip};
use crate::{
    ids::AccountId,
    jobs::people::{AnswerError, answer_more_time},
    people::{links, mapping},
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        links as link_rows,
        mapping::{self as rows, NewBinding},
    },
    time::{Day, Timestamp},
    web::{
        WebState,
        access::{AdminForm, CloudAdmin, Fields, Mistake},
        error::Failure,
        pages::{self, After, Frame, Page},
        words::{self, people as own_words},
    },
};

/// Lines shown of each list.
const SHOWN: i64 = 200;
/// The same, where a list comes whole.
const SHOWN_OF_ALL: usize = 200;
/// Longest message to a tenant.
const MAX_MESSAGE: usize = 500;
/// The pages that forms stand on, as their field `from` says it.
const ON_PEOPLE: &str = "people";
pub(super) const ON_QUEUE: &str = "queue";
/// Roles offered for whoever waits. Administrators of the cloud are made at the command line only.
const ROLES: &[&str] = &["viewer", "finance", "owner"];

pub(super) struct Person {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) email: String,
    pub(super) verified: bool,
    pub(super) why: &'static str,
    pub(super) last: String,
}

pub(super) struct Request {
    pub(super) id: i64,
    pub(super) account: String,
    pub(super) asked: String,
    pub(super) wished: String,
    pub(super) reason: String,
    pub(super) by: String,
}

/// Who waits: a part of a page.
pub(in crate::web) struct Waiting {
    pub(super) people: Vec<Person>,
    pub(super) requests: Vec<Request>,
    pub(super) roles: &'static [&'static str],
    /// The page around, as its forms say it.
    pub(super) from: &'static str,
    pub(super) slip: Slip,
}

impl Waiting {
    /// Reads who waits, for the page of this name.
    pub(super) async fn read(state: &WebState, tx: &mut Tx, from: &'static str) -> Result<Self, StoreError> {
        let zone = state.app.config.billing.zone;
        let names = names(tx).await?;
        let people = rows::list_unmatched(tx, "waiting", SHOWN).await?;
        let requests = link_rows::list_more_time(tx, None, Some("open"), SHOWN).await?;
        Ok(Self {
            people: people
                .into_iter()
                .map(|row| Person {
                    id: row.id,
                    name: row.name,
                    issuer: label(state, &row.issuer),
                    subject: row.subject,
                    email: row.email,
                    verified: row.email_verified == 1,
                    why: own_words::why(&row.why),
                    last: Timestamp::from_ms(row.last_ms).display_in(zone),
                })
                .collect(),
            requests: requests
                .into_iter()
                .map(|row| Request {
                    id: row.id,
                    account: names.get(&row.account_id).cloned().unwrap_or_default(),
                    asked: row.asked_ms.display_in(zone),
                    wished: row.wished_day.map_or_else(String::new, |day| Day::from_number(day).to_string()),
                    reason: row.reason,
                    by: row.asked_by,
                })
                .collect(),
            roles: ROLES,
            from,
            slip: Slip::default(),
        })
    }
}

struct Mapped {
    who: String,
    issuer: String,
    account: String,
    role: String,
    by: String,
}

struct Rule {
    email: String,
    issuer: String,
    account: String,
    role: String,
    taken_by: Option<String>,
}

struct Lost {
    who: String,
    issuer: String,
    account: String,
    why: &'static str,
}

struct Link {
    id: i64,
    what: &'static str,
    account: String,
    recipient: String,
    expires: String,
    uses: i64,
}

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    frame: Frame,
    said: Option<&'static str>,
    waiting: Waiting,
    mapped: Vec<Mapped>,
    rules: Vec<Rule>,
    lost: Vec<Lost>,
    links: Vec<Link>,
}

async fn names(tx: &mut Tx) -> Result<HashMap<AccountId, String>, StoreError> {
    let accounts = cloud::list_accounts(tx).await?;
    Ok(accounts.iter().map(|account| (account.id, account.full_name())).collect())
}

/// An issuer as people call it.
fn label(state: &WebState, issuer: &str) -> String {
    let known = state.issuers.list().find(|known| known.issuer == issuer);
    known.map_or_else(|| issuer.to_owned(), |known| known.label.clone())
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    admin: CloudAdmin,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    pages::show(&view(&state, &admin, said(&after.done)).await?)
}

/// What a form just did.
pub(super) fn said(done: &str) -> Option<&'static str> {
    match done {
        "mapped" => Some(own_words::DONE_MAPPED),
        "person-refused" => Some(own_words::DONE_REFUSED),
        "answered" => Some(own_words::DONE_ANSWERED),
        "answered-before" => Some(own_words::GONE_ALREADY),
        "revoked" => Some(own_words::DONE_REVOKED),
        _ => None,
    }
}

/// The page that a form stood on.
fn page_of(fields: &Fields) -> Page {
    if fields.get("from") == ON_QUEUE { Page::Queue } else { Page::People }
}

/// The page that a form stood on, with what is wrong.
async fn again(
    state: &WebState,
    admin: &CloudAdmin,
    (form, id): (&'static str, i64),
    mistake: Mistake,
    typed: Fields,
) -> Result<Response, Failure> {
    let page = page_of(&typed);
    let slip = Slip::new(form, id, mistake, typed);
    if page == Page::Queue {
        return queue::again(state, admin, slip).await;
    }
    let mut page = view(state, admin, None).await?;
    page.waiting.slip = slip;
    pages::show_refused(&page)
}

async fn view(state: &WebState, admin: &CloudAdmin, said: Option<&'static str>) -> Result<PeoplePage, Failure> {
    let app = &state.app;
    let (now, zone) = (app.clock.now(), app.config.billing.zone);
    let frame = Frame::around(state, admin, Page::People);
    let mut tx = app.store.read().await?;
    let names = names(&mut tx).await?;
    let name = |id: AccountId| names.get(&id).cloned().unwrap_or_default();
    let waiting = Waiting::read(state, &mut tx, ON_PEOPLE).await?;
    let mapped = rows::list_bindings(&mut tx, None).await?;
    let rules = rows::list_email_rules(&mut tx).await?;
    let lost = rows::list_orphans(&mut tx).await?;
    let links = link_rows::list_open_links(&mut tx, None, now, SHOWN).await?;
    tx.commit().await?;
    Ok(PeoplePage {
        said,
        frame,
        waiting,
        mapped: mapped
            .into_iter()
            .take(SHOWN_OF_ALL)
            .map(|row| Mapped {
                who: row.name.filter(|name| !name.is_empty()).unwrap_or(row.subject),
                issuer: label(state, &row.issuer),
                account: name(row.account_id),
                role: row.role,
                by: row.mapped_by,
            })
            .collect(),
        rules: rules
            .into_iter()
            .take(SHOWN_OF_ALL)
            .map(|row| Rule {
                email: row.email,
                issuer: label(state, &row.issuer),
                account: name(row.account_id),
                role: row.role,
                taken_by: row.bound_subject,
            })
            .collect(),
        lost: lost
            .into_iter()
            .take(SHOWN_OF_ALL)
            .map(|row| Lost {
                who: row.subject,
                issuer: label(state, &row.issuer),
                account: name(row.account_id),
                why: own_words::orphan(&row.why),
            })
            .collect(),
        links: links
            .into_iter()
            .map(|row| Link {
                id: row.id,
                what: own_words::link(&row.purpose),
                account: name(row.account_id),
                recipient: row.recipient,
                expires: row.expires_ms.display_in(zone),
                uses: row.uses,
            })
            .collect(),
    })
}

/// Maps a person who waits.
pub(super) async fn map(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    AdminForm { admin, fields }: AdminForm,
) -> Result<Response, Failure> {
    let (word, role) = (fields.get("account"), fields.get("role"));
    if !ROLES.contains(&role) {
        return Err(Failure::bad(words::NOT_LIKE_THIS));
    }
    let by = admin.author();
    let mut tx = state.app.store.begin().await?;
    let person = rows::get_unmatched(&mut tx, id).await?;
    let account = match cloud::resolve_account(&mut tx, word).await {
        _ if word.is_empty() => Err(own_words::ACCOUNT_WANTED.to_owned()),
        Ok(account) => Ok(account),
        Err(StoreError::Missing(text)) => Err(words::sentence(&text)),
        Err(error) => return Err(error.into()),
    };
    // Which user of the account the person is, where that is known: notices go to users.
    let user = match &account {
        Ok(account) => user_of(&mut tx, account, fields.get("user")).await?,
        Err(_) => Ok(None),
    };
    let (field, mistake) = match (account, user) {
        (Err(mistake), _) => ("account", mistake),
        (Ok(_), Err(mistake)) => ("user", mistake),
        (Ok(account), Ok(user)) => {
            let binding = NewBinding {
                issuer: &person.issuer,
                subject: &person.subject,
                cloud_user_id: user.as_deref(),
                account: account.id,
                role,
                by: &by,
                rule_id: None,
                address_id: None,
            };
            match mapping::map(&mut tx, &binding, state.app.clock.now()).await {
                Ok(()) => {
                    tx.commit().await?;
                    return Ok(pages::done(&state, page_of(&fields), "mapped"));
                }
                Err(mapping::Error::Store(error)) => return Err(error.into()),
                Err(mapping::Error::Refused(what)) => ("account", words::sentence(&what)),
            }
        }
    };
    drop(tx);
    again(&state, &admin, ("person", id), Mistake::new(field, mistake), fields).await
}

/// The user of an account by name; None where none is named. The inner error is what to say beside the field.
async fn user_of(tx: &mut Tx, account: &Account, name: &str) -> Result<Result<Option<String>, String>, Failure> {
    if name.is_empty() {
        return Ok(Ok(None));
    }
    let users = cloud::list_users(tx, Some(account.id)).await?;
    let user = users.into_iter().find(|user| user.username == name);
    Ok(user.map(|user| Some(user.cloud_id)).ok_or_else(|| own_words::no_such_user(&account.full_name())))
}

/// Says no to a person who waits.
pub(super) async fn refuse(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    form: AdminForm,
) -> Result<Response, Failure> {
    let mut tx = state.app.store.begin().await?;
    mapping::refuse(&mut tx, id, &form.admin.author(), state.app.clock.now()).await?;
    tx.commit().await?;
    Ok(pages::done(&state, page_of(&form.fields), "person-refused"))
}

/// Until when more time is given, and what is said; None: no time is given.
fn answer_of(state: &WebState, fields: &Fields) -> Result<Result<(Option<Timestamp>, String), Mistake>, Failure> {
    let app = &state.app;
    let until = match fields.get("answer") {
        "grant" => {
            let text = fields.get("until");
            let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(Day::from_date);
            // The day that is named belongs to it.
            let until = day.and_then(|day| day.next().start(app.config.billing.zone));
            match until.filter(|until| *until > app.clock.now()) {
                Some(until) => Some(until),
                None => return Ok(Err(Mistake::new("until", own_words::UNTIL_WANTED))),
            }
        }
        "refuse" => None,
        _ => return Err(Failure::bad(words::NOT_LIKE_THIS)),
    };
    Ok(fields.line("message", MAX_MESSAGE).map(|message| (until, message)))
}

/// Answers a request for more time.
pub(super) async fn answer(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    AdminForm { admin, fields }: AdminForm,
) -> Result<Response, Failure> {
    let app = &state.app;
    let mistake = match answer_of(&state, &fields)? {
        Err(mistake) => mistake,
        Ok((until, message)) => {
            let mut tx = app.store.begin().await?;
            match answer_more_time(app, &mut tx, id, until, &message, &admin.author()).await {
                Ok(_) => {
                    tx.commit().await?;
                    state.wake.notify_one();
                    return Ok(pages::done(&state, page_of(&fields), "answered"));
                }
                Err(AnswerError::Store(error)) => return Err(error.into()),
                Err(AnswerError::Answered(_)) => return Ok(pages::done(&state, page_of(&fields), "answered-before")),
                Err(AnswerError::Terms(_)) => Mistake::new("until", own_words::UNTIL_WANTED),
            }
        }
    };
    again(&state, &admin, ("more-time", id), mistake, fields).await
}

/// Takes a link back.
pub(super) async fn revoke(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    form: AdminForm,
) -> Result<Response, Failure> {
    let mut tx = state.app.store.begin().await?;
    let link = link_rows::find_link(&mut tx, id).await?.ok_or_else(|| Failure::missing(words::NO_SUCH_PAGE))?;
    let account = cloud::get_account(&mut tx, link.account_id).await?;
    links::revoke(&mut tx, &account, Some(id), &form.admin.author(), state.app.clock.now()).await?;
    tx.commit().await?;
    Ok(pages::done(&state, Page::People, "revoked"))
}
