//! The machines of an account and of its projects, as CloudStack lists them now.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    act::Actor,
    calls::{Act, CallEnd, Step},
    run::Error,
};
use crate::{
    cloudstack::{self, VirtualMachine, VmFilter},
    ids::CloudId,
    store::cloud::{Account, Project},
};

/// A machine that a stop would stop.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Machine {
    /// Its id in CloudStack.
    pub id: CloudId,
    /// Its name.
    pub name: String,
    /// `Running`, `Starting`, `Migrating`.
    pub state: String,
    /// The project that it belongs to, by name; None: the account itself.
    pub project: Option<String>,
}

/// The name that people see.
pub(super) fn name_of(machine: &VirtualMachine) -> String {
    machine.display_name.clone().or_else(|| machine.name.clone()).unwrap_or_else(|| machine.id.to_string())
}

/// A machine as listed, with the project that it belongs to; empty: the account itself.
pub(super) struct Listed {
    pub machine: VirtualMachine,
    pub project: String,
}

impl Actor<'_> {
    /// Machines that run in an account and its active projects: what a stop would stop. None of a vanished account.
    pub async fn running_machines(&self, account: &Account) -> Result<Vec<Machine>, Error> {
        let Some(read) = self.client.get_account(super::act::cloud_id(account)?).await? else { return Ok(Vec::new()) };
        let projects = self.active_projects(account, &read.name).await?;
        let names: BTreeMap<String, String> =
            projects.iter().map(|project| (project.id.to_string(), project.name.clone())).collect();
        let listed = self.list_machines(&read, &names.keys().cloned().collect::<Vec<_>>()).await?;
        Ok(listed
            .into_iter()
            .filter(|listed| listed.machine.is_running())
            .map(|listed| Machine {
                id: listed.machine.id,
                name: name_of(&listed.machine),
                state: listed.machine.state.clone(),
                project: names.get(&listed.project).cloned(),
            })
            .collect())
    }

    /// Active projects of an account in which people of other accounts work, with those accounts' names. Without the right to look,
    /// none.
    pub(super) async fn projects_with_others(
        &self,
        account: &Account,
        projects: &[Project],
    ) -> Result<Vec<String>, Error> {
        let mut shared = Vec::new();
        let own = projects.iter().filter(|project| project.owner_account_id == Some(account.id));
        for project in own.filter(|project| project.state == "Active") {
            let Ok(id) = project.cloud_id.parse::<CloudId>() else { continue };
            let members = match self.client.list_project_members(id).await {
                Ok(members) => members,
                Err(cloudstack::Error::NotAllowed { .. } | cloudstack::Error::Gone { .. }) => continue,
                // Only a note depends on it: the run goes on.
                Err(error) => {
                    tracing::debug!(project = %project.name, %error, "who works in a project could not be read");
                    shared.push(format!("{} (who, could not be read)", project.name));
                    continue;
                }
            };
            let others: BTreeSet<String> = members
                .iter()
                .filter(|member| member.account_id.to_string() != account.cloud_id)
                .map(|member| member.account.clone().unwrap_or_else(|| member.account_id.to_string()))
                .collect();
            if !others.is_empty() {
                let names: Vec<String> = others.into_iter().collect();
                shared.push(format!("{} ({})", project.name, names.join(", ")));
            }
        }
        Ok(shared)
    }

    /// Every machine of an account and of projects, oldest first: what came first is mostly what the rest depends upon. An error
    /// where the lists do not hold still: what is missing in them would be stopped and never started again.
    pub(super) async fn list_machines(
        &self,
        read: &cloudstack::Account,
        projects: &[String],
    ) -> Result<Vec<Listed>, Error> {
        let (listed, complete) = self.machines_as_listed(read, projects).await?;
        if complete {
            return Ok(listed);
        }
        let text = format!("the machines of {} could not be listed completely", read.name);
        Err(cloudstack::Error::Retry { code: None, after: None, text }.into())
    }

    /// The same as far as they could be listed, and whether that is all.
    pub(super) async fn machines_as_listed(
        &self,
        read: &cloudstack::Account,
        projects: &[String],
    ) -> Result<(Vec<Listed>, bool), Error> {
        let own = VmFilter { account: Some((read.name.clone(), read.domain_id)), ..VmFilter::default() };
        let own = self.client.list_virtual_machines(&own).await?;
        let mut complete = own.complete;
        let mut listed: Vec<Listed> =
            own.items.into_iter().map(|machine| Listed { machine, project: String::new() }).collect();
        for project in projects {
            let Ok(id) = project.parse::<CloudId>() else { continue };
            let filter = VmFilter { project_id: Some(id), ..VmFilter::default() };
            match self.client.list_virtual_machines(&filter).await {
                Ok(machines) => {
                    complete &= machines.complete;
                    let of_it = machines.items.into_iter();
                    listed.extend(of_it.map(|machine| Listed { machine, project: project.clone() }));
                }
                // The project is gone, and its machines with it.
                Err(cloudstack::Error::Gone { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        listed.sort_by_key(|listed| (listed.machine.created, listed.machine.id));
        Ok((listed, complete))
    }

    /// Begins several calls and waits for all of them together: what each gave, in the same order.
    pub(super) async fn perform_together(
        &self,
        intent: &str,
        acts: &[Act],
        before: &str,
        patience: Duration,
    ) -> Result<Vec<CallEnd>, Error> {
        let mut steps = Vec::new();
        for act in acts {
            steps.push(self.begin_call(intent, act, Some(before)).await?);
        }
        let begun = self.client.stopwatch();
        let mut ends = Vec::new();
        for step in steps {
            ends.push(match step {
                Step::End(end) => end,
                // They run side by side: waiting for one is waiting for all.
                Step::Wait(waiting) => self.end_of(waiting, patience.saturating_sub(begun.elapsed())).await?,
            });
        }
        Ok(ends)
    }
}
