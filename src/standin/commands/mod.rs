//! The commands, what each takes, who may call it, and how a request finds its command.

mod access;
mod accounts;
mod apis;
mod cloud;
mod config;
mod domains;
mod events;
mod icons;
mod jobs;
mod keys;
mod limits;
mod machines;
mod projects;
mod quota;
mod registry;
mod roles;
pub(crate) mod second_factor;
pub(crate) mod sessions;
mod usage;
mod users;

use std::collections::BTreeMap;

pub(crate) use access::{Incoming, answer};
pub(crate) use registry::{Command, find};
use serde_json::Value;

use super::{
    dates::{self, Edge},
    envelope::{self, Failure},
    world::{
        RoleKind, World,
        entities::{Account, PROJECT_ACCOUNT},
    },
};
use crate::{ids::CloudId, time::Timestamp};

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub user: CloudId,
    pub account: CloudId,
    pub domain: CloudId,
    pub role: RoleKind,
}

impl Caller {
    pub(crate) fn is_root(self) -> bool {
        self.role == RoleKind::Admin
    }
}

/// One call of one command, its caller proven and its required parameters there.
pub(crate) struct Call<'a> {
    pub world: &'a mut World,
    pub command: &'static Command,
    /// Names in lower case.
    pub parameters: &'a BTreeMap<String, String>,
    pub caller: Caller,
}

/// Which rows of a list a call is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope {
    Everything,
    Account(CloudId),
    Domain(CloudId),
    Tree(CloudId),
    /// What belongs to projects, and nothing of accounts (`projectid=-1` without `listall`).
    Projects,
}

/// The value of `projectid` that means every project.
const ALL_PROJECTS: &str = "-1";

type Result<T> = std::result::Result<T, Failure>;

impl Call<'_> {
    /// A parameter's text; an empty one counts as there.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// A parameter's text, unless it is blank.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.trim().is_empty())
    }

    /// Java's idea of a boolean: only "true" is.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>> {
        self.filled(name)
            .map(|text| text.parse().map_err(|_| Failure::no_such(self.command.name, name, text)))
            .transpose()
    }

    pub(crate) fn date(&self, name: &str, edge: Edge) -> Result<Option<Timestamp>> {
        self.filled(name)
            .map(|text| {
                dates::read(text, edge, self.world.locale.zone).ok_or_else(|| {
                    Failure::parameter(format!(
                        "Unable to parse date {text} for command {}, please pass dates in the format mentioned in the api \
                         documentation",
                        self.command.name.to_lowercase()
                    ))
                })
            })
            .transpose()
    }

    /// The refusal of an id that names nothing.
    pub(crate) fn no_such(&self, name: &str) -> Failure {
        Failure::no_such(self.command.name, name, self.text(name).unwrap_or_default())
    }

    /// A domain by its parameter.
    pub(crate) fn domain(&self, name: &str) -> Result<Option<CloudId>> {
        match self.filled(name) {
            None => Ok(None),
            Some(text) => {
                let found = self.world.domains.find_by_text(text).map(|domain| domain.id);
                found.map(Some).ok_or_else(|| self.no_such(name))
            }
        }
    }

    /// An account by its id parameter.
    pub(crate) fn account(&self, name: &str) -> Result<Option<CloudId>> {
        match self.filled(name) {
            None => Ok(None),
            Some(text) => {
                let found = self.world.accounts.find_by_text(text).map(|account| account.id);
                found.map(Some).ok_or_else(|| self.no_such(name))
            }
        }
    }

    /// A user by its id parameter, removed ones too.
    pub(crate) fn user(&self, name: &str) -> Result<CloudId> {
        let text = self.filled(name).ok_or_else(|| Failure::missing(self.command.name, name))?;
        self.world.users.find_by_text(text).map(|user| user.id).ok_or_else(|| self.no_such(name))
    }

    pub(crate) fn vm(&self, name: &str) -> Result<CloudId> {
        let text = self.filled(name).ok_or_else(|| Failure::missing(self.command.name, name))?;
        self.world.vms.find_by_text(text).map(|vm| vm.id).ok_or_else(|| self.no_such(name))
    }

    pub(crate) fn project(&self, name: &str) -> Result<Option<CloudId>> {
        match self.filled(name) {
            None => Ok(None),
            Some(text) => {
                let found = self.world.projects.find_by_text(text).map(|project| project.id);
                found.map(Some).ok_or_else(|| self.no_such(name))
            }
        }
    }

    /// Refuses things of accounts that the caller has no business with.
    pub(crate) fn check_access(&self, target: CloudId) -> Result<()> {
        if self.world.may_access(self.caller.account, target) { Ok(()) } else { Err(Failure::no_permission()) }
    }

    /// Which rows a list is about: by account and domain, by project, by domain, everything, else the caller's own.
    pub(crate) fn scope(&self) -> Result<Scope> {
        if self.filled("projectid") == Some(ALL_PROJECTS) {
            // Of root administrators who want all it is all: what accounts have is among it.
            let all = self.flag("listall") && self.caller.is_root();
            return Ok(if all { Scope::Everything } else { Scope::Projects });
        }
        if let Some(project) = self.project("projectid")? {
            let account = self.world.owner_account(project);
            self.check_access(account)?;
            return Ok(Scope::Account(account));
        }
        let domain = self.domain("domainid")?;
        if let (Some(name), Some(domain)) = (self.filled("account"), domain) {
            let account = self.world.account_named(domain, name).map(|account| account.id).ok_or_else(|| {
                let path = self.world.domains.get(domain).map_or("", |domain| domain.path.as_str());
                Failure::invalid(format!("could not find account {name} in domain {path}"))
            })?;
            self.check_access(account)?;
            return Ok(Scope::Account(account));
        }
        if self.caller.role == RoleKind::User {
            return Ok(Scope::Account(self.caller.account));
        }
        if let Some(domain) = domain {
            if !self.caller.is_root() && !self.world.in_tree(domain, self.caller.domain) {
                return Err(Failure::no_permission());
            }
            return Ok(if self.flag("isrecursive") { Scope::Tree(domain) } else { Scope::Domain(domain) });
        }
        Ok(match (self.flag("listall") || self.flag("isrecursive"), self.caller.is_root()) {
            (true, true) => Scope::Everything,
            (true, false) => Scope::Tree(self.caller.domain),
            (false, _) => Scope::Account(self.caller.account),
        })
    }

    pub(crate) fn in_scope(&self, scope: Scope, account: &Account) -> bool {
        match scope {
            Scope::Everything => account.kind != PROJECT_ACCOUNT || self.filled("projectid").is_some(),
            Scope::Account(id) => account.id == id,
            Scope::Domain(domain) => account.domain == domain && account.kind != PROJECT_ACCOUNT,
            Scope::Tree(domain) => self.world.in_tree(account.domain, domain) && account.kind != PROJECT_ACCOUNT,
            Scope::Projects => {
                account.kind == PROJECT_ACCOUNT && self.world.may_access(self.caller.account, account.id)
            }
        }
    }

    /// Whether something of an owner belongs to the list.
    pub(crate) fn owns_in_scope(&self, scope: Scope, owner: CloudId) -> bool {
        self.world.accounts.get(owner).is_some_and(|account| self.in_scope(scope, account))
    }

    /// The rows of the asked page: start and length.
    pub(crate) fn page(&self) -> Result<(usize, usize)> {
        let limit = i64::try_from(self.world.page_limit).unwrap_or(i64::MAX);
        let (page, size) = (self.number("page")?, self.number("pagesize")?);
        if let Some(size) = size
            && size > limit
        {
            return Err(Failure::invalid(format!("Page size can't exceed max allowed page size value: {limit}")));
        }
        match (page, size) {
            (None, None) => Ok((0, self.world.page_limit)),
            (Some(_), None) => Err(Failure::parameter("\"pagesize\" parameter is required when \"page\" is specified")),
            (None, Some(_)) => Err(Failure::parameter("\"page\" parameter is required when \"pagesize\" is specified")),
            (Some(page), Some(size)) => {
                let (page, size) =
                    (usize::try_from(page.max(1)).unwrap_or(1), usize::try_from(size.max(0)).unwrap_or(0));
                Ok(((page - 1).saturating_mul(size), size))
            }
        }
    }

    /// One page of a list of ids, shown by `view`.
    pub(crate) fn paged<T>(&self, name: &str, rows: &[T], view: impl Fn(&Self, &T) -> Value) -> Result<Value> {
        let (start, length) = self.page()?;
        let shown = rows.iter().skip(start).take(length).map(|row| view(self, row)).collect();
        Ok(envelope::list(name, rows.len(), shown))
    }

    /// The `customjobid`, checked to be new.
    pub(crate) fn custom_job(&self) -> Result<Option<CloudId>> {
        let Some(text) = self.filled("customjobid") else { return Ok(None) };
        let id: CloudId = text.parse().map_err(|_| Failure::invalid(format!("The job id [{text}] is not a UUID")))?;
        if self.world.jobs.get(id).is_some() {
            return Err(Failure::server(530, "Entity already exists "));
        }
        Ok(Some(id))
    }
}
