//! The event log: who did what. The poll reads it for suspensions by others.

use serde::{Deserialize, Serialize};

use super::{Client, Error, User, envelope::Entry, fields, params::Params};
use crate::{ids::CloudId, time::Timestamp};

/// Which events to list; newest first.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only of this type, such as `ACCOUNT.DISABLE` (which covers locking too).
    pub event_type: Option<String>,
    /// Not before this instant.
    pub start: Option<Timestamp>,
    /// Not after this instant.
    pub end: Option<Timestamp>,
    /// Only about one resource: its kind, such as `Account`, and its id (since 4.17). Refused where there was never such a one.
    pub about: Option<(&'static str, String)>,
}

/// Events that were listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// They, newest first.
    pub items: Vec<Event>,
    /// How many further ones could not be read.
    pub unreadable: usize,
    /// Whether these are all; otherwise there are more than were to be read.
    pub is_complete: bool,
}

/// An event. One action writes several: scheduled, started, completed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: CloudId,
    /// Its type, such as `ACCOUNT.DISABLE`.
    #[serde(rename = "type", deserialize_with = "fields::required_text")]
    pub event_type: String,
    /// The name of the user who acted.
    #[serde(default, deserialize_with = "fields::text")]
    pub username: Option<String>,
    /// An account's name: of who acted, or of who was acted upon, depending on the state (recorded 204).
    #[serde(default, deserialize_with = "fields::text")]
    pub account: Option<String>,
    /// The domain.
    #[serde(default, rename = "domainid", deserialize_with = "fields::id")]
    pub domain_id: Option<CloudId>,
    /// What was acted upon.
    #[serde(default, rename = "resourceid", deserialize_with = "fields::id")]
    pub resource_id: Option<CloudId>,
    /// Its kind, such as `Account`.
    #[serde(default, rename = "resourcetype", deserialize_with = "fields::text")]
    pub resource_type: Option<String>,
    /// Its name.
    #[serde(default, rename = "resourcename", deserialize_with = "fields::text")]
    pub resource_name: Option<String>,
    /// A sentence; failures show here only (`Error while …`).
    #[serde(default, deserialize_with = "fields::text")]
    pub description: Option<String>,
    /// `INFO`, `WARN`, `ERROR`.
    #[serde(default, deserialize_with = "fields::text")]
    pub level: Option<String>,
    /// `Created`, `Scheduled`, `Started`, `Completed`.
    #[serde(default, deserialize_with = "fields::text")]
    pub state: Option<String>,
    /// The event that began the same action.
    #[serde(default, rename = "parentid", deserialize_with = "fields::id")]
    pub parent_id: Option<CloudId>,
    /// When it was written.
    #[serde(default, deserialize_with = "fields::instant")]
    pub created: Option<Timestamp>,
}

impl Entry for Event {}

/// A user of bursar's own, as events tell of it. A name alone does not: it is unique in its domain only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnUser {
    /// The user's name.
    pub username: String,
    /// Its account's name.
    pub account: Option<String>,
    /// Its account's domain.
    pub domain_id: Option<CloudId>,
}

impl OwnUser {
    /// Of what CloudStack says about the user.
    pub fn of(user: User) -> Self {
        Self { username: user.username, account: user.account, domain_id: user.domain_id }
    }

    /// Whether it was this user who acted. None: the event does not tell, and its siblings do. `Scheduled` rows name the
    /// account that was acted upon, those of the later states the account of who acted (recorded 204); but the `Completed` row of
    /// what was done to a project names the project, no account, and the project's domain (`ActionEventUtils.getOwnerAccountId`).
    pub fn acted(&self, event: &Event) -> Option<bool> {
        if event.username.as_deref() != Some(self.username.as_str()) {
            return Some(false);
        }
        if event.state.as_deref() == Some("Scheduled") || event.account.is_none() {
            return None;
        }
        let same = |own: Option<&str>, theirs: Option<&str>| own.is_none() || theirs.is_none() || own == theirs;
        let domains = (self.domain_id.map(|id| id.to_string()), event.domain_id.map(|id| id.to_string()));
        Some(
            same(self.account.as_deref(), event.account.as_deref()) && same(domains.0.as_deref(), domains.1.as_deref()),
        )
    }
}

impl Client {
    /// Events, page by page, until there are no more or at least so many were read. What is written meanwhile comes first and moves
    /// the others back: an event may be listed twice and none is missed.
    pub async fn list_events(&self, filter: &EventFilter, most: usize) -> Result<Events, Error> {
        let params = Params::new()
            .with("listall", true)
            .with_some("type", filter.event_type.as_ref())
            .with_some("startdate", filter.start.map(Timestamp::to_cloudstack))
            .with_some("enddate", filter.end.map(Timestamp::to_cloudstack))
            .with_some("resourcetype", filter.about.as_ref().map(|(kind, _)| kind))
            .with_some("resourceid", filter.about.as_ref().map(|(_, id)| id));
        let mut events = Events { items: Vec::new(), unreadable: 0, is_complete: false };
        for number in 1.. {
            let (page, size) = self.list_page::<Event>("listEvents", &params, number).await?;
            let rows = page.rows();
            events.unreadable = events.unreadable.saturating_add(page.unreadable);
            events.items.extend(page.items);
            events.is_complete = rows < usize::try_from(size).unwrap_or(usize::MAX);
            if events.is_complete || events.items.len().saturating_add(events.unreadable) >= most {
                break;
            }
        }
        Ok(events)
    }
}
