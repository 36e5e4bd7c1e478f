//! listEvents' rows. A job leaves Scheduled, Started and Completed; what is done at once leaves Completed only.

use super::{World, entities::Event};
use crate::{ids::CloudId, time::Timestamp};

/// What locking and disabling an account both leave.
const SUSPENSION: &str = "ACCOUNT.DISABLE";

/// What an event is about.
pub(crate) struct About {
    pub kind: &'static str,
    /// `Account`, `User`, `VirtualMachine`, …
    pub resource_type: &'static str,
    pub resource: CloudId,
    pub name: String,
}

impl World {
    pub(crate) fn event(
        &mut self,
        about: &About,
        user: CloudId,
        account: CloudId,
        (state, description): (&'static str, String),
        parent: Option<CloudId>,
    ) -> CloudId {
        let id = self.ids.id();
        let username = self.users.get(user).map_or_else(|| "system".to_owned(), |user| user.username.clone());
        self.events.push(Event {
            id,
            kind: about.kind,
            level: "INFO",
            description,
            username,
            account,
            resource: Some((about.resource_type, about.resource, about.name.clone())),
            created: self.now,
            state,
            parent,
        });
        id
    }

    /// The three rows of a job on a project: scheduled for its owner, started by the caller, and completed for the project itself.
    pub(crate) fn project_events(&mut self, about: &About, user: CloudId, (scheduled, started): (&str, &str)) {
        let project = about.resource;
        let caller = self.users.get(user).map_or(project, |user| user.account);
        let owner = self.projects.get(project).map_or(caller, |project| project.owner);
        let parent = self.event(about, user, owner, ("Scheduled", format!("{scheduled}: {}", about.name)), None);
        self.event(about, user, caller, ("Started", started.to_owned()), Some(parent));
        let itself = self.owner_account(project);
        let done = format!("Successfully completed {}", lower_first(started));
        self.event(about, user, itself, ("Completed", done), Some(parent));
    }

    /// The three rows of a job: scheduled for the owner of the entity, started and completed by the caller.
    pub(crate) fn job_events(
        &mut self,
        about: &About,
        user: CloudId,
        owner: CloudId,
        scheduled: &str,
        started: Option<&str>,
    ) {
        let caller = self.users.get(user).map_or(owner, |user| user.account);
        let parent = self.event(about, user, owner, ("Scheduled", scheduled.to_owned()), None);
        if let Some(text) = started {
            self.event(about, user, caller, ("Started", text.to_owned()), Some(parent));
            let done = format!("Successfully completed {}", lower_first(text));
            self.event(about, user, caller, ("Completed", done), Some(parent));
        }
    }

    /// The row of something that was done at once.
    pub(crate) fn completed_event(&mut self, about: &About, user: CloudId, description: &str) {
        let account = self.users.get(user).map_or(about.resource, |user| user.account);
        self.event(about, user, account, ("Completed", description.to_owned()), None);
    }

    /// When an account was last locked or disabled by a call, and under which user's name.
    pub fn last_suspension(&self, account: CloudId) -> Option<(Timestamp, String)> {
        let about = |event: &&Event| event.resource.as_ref().is_some_and(|(_, id, _)| *id == account);
        let newest = self.events.iter().filter(|event| event.kind == SUSPENSION).rfind(about);
        newest.map(|event| (event.created, event.username.clone()))
    }

    /// Writes the events of a suspension of former days again, for a world that is kept over a restart.
    pub fn remember_suspension(&mut self, account: CloudId, username: &str, at: Timestamp) {
        let Some(user) = self.users.iter().find(|user| user.username == username).map(|user| user.id) else { return };
        let about = self.about_account(SUSPENSION, account);
        let now = std::mem::replace(&mut self.now, at);
        self.job_events(&about, user, account, super::build::LOCK_SCHEDULED, Some(super::build::LOCK_STARTED));
        self.now = now;
    }

    pub(crate) fn about_account(&self, kind: &'static str, account: CloudId) -> About {
        let name = self.accounts.get(account).map(|account| account.name.clone()).unwrap_or_default();
        About { kind, resource_type: "Account", resource: account, name }
    }

    pub(crate) fn about_user(&self, kind: &'static str, user: CloudId) -> About {
        let name = self.users.get(user).map(|user| user.username.clone()).unwrap_or_default();
        About { kind, resource_type: "User", resource: user, name }
    }

    pub(crate) fn about_project(&self, kind: &'static str, project: CloudId) -> About {
        let name = self.projects.get(project).map(|project| project.name.clone()).unwrap_or_default();
        About { kind, resource_type: "Project", resource: project, name }
    }

    pub(crate) fn about_vm(&self, kind: &'static str, vm: CloudId) -> About {
        let name = self.vms.get(vm).map(|vm| vm.name.clone()).unwrap_or_default();
        About { kind, resource_type: "VirtualMachine", resource: vm, name }
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}
