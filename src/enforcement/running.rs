//! Which machines run in an account and in the projects that it owns.

use crate::{
    cloudstack::{Client, VmFilter},
    ids::CloudId,
    store::{
        Store,
        cloud::{self, Account},
    },
};

use super::run::Error;

/// A machine that runs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Machine {
    /// CloudStack's id.
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// `Running`, `Starting`, `Migrating`.
    pub state: String,
    /// The project it belongs to, by name.
    pub project: Option<String>,
}

/// The machines that run now, those of the account's projects included.
pub async fn machines(store: &Store, client: &Client, account: &Account) -> Result<Vec<Machine>, Error> {
    let Ok(domain) = account.domain_id.parse::<CloudId>() else { return Ok(Vec::new()) };
    let mut tx = store.read().await?;
    let projects: Vec<cloud::Project> = cloud::list_projects(&mut tx)
        .await?
        .into_iter()
        .filter(|project| project.owner_account_id == Some(account.id))
        .collect();
    tx.commit().await?;
    let own = VmFilter { account: Some((account.name.clone(), domain)), ..VmFilter::default() };
    let mut places = vec![(own, None)];
    for project in projects {
        if let Ok(id) = project.cloud_id.parse() {
            places.push((VmFilter { project_id: Some(id), ..VmFilter::default() }, Some(project.name)));
        }
    }
    let mut machines = Vec::new();
    for (filter, project) in places {
        let listed = match client.list_virtual_machines(&filter).await {
            Ok(listed) => listed,
            // A project that is gone has no machines.
            Err(crate::cloudstack::Error::Gone { .. }) if project.is_some() => continue,
            Err(error) => return Err(error.into()),
        };
        machines.extend(listed.items.into_iter().filter(|machine| machine.is_running()).map(|machine| Machine {
            id: machine.id.to_string(),
            name: machine.display_name.or(machine.name).unwrap_or_else(|| machine.id.to_string()),
            state: machine.state,
            project: project.clone(),
        }));
    }
    Ok(machines)
}
