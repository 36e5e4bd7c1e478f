//! Virtual machines: which there are, starting and stopping them.

use serde::Deserialize;
use uuid::Uuid;

use super::{
    Client, Error,
    envelope::Entry,
    fields,
    inventory::{Inventory, Thing},
    params::Params,
};
use crate::{ids::CloudId, time::Timestamp};

/// Which machines to list. All that the caller sees by default, those of projects excepted.
#[derive(Debug, Clone, Default)]
pub struct VmFilter {
    /// Only this account's, by name and domain.
    pub account: Option<(String, CloudId)>,
    /// Only this project's.
    pub project_id: Option<CloudId>,
    /// Those of all projects (and of no account).
    pub all_projects: bool,
    /// Only those in this state, such as `Running`.
    pub state: Option<String>,
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VirtualMachine {
    /// Its id.
    pub id: CloudId,
    /// Its name.
    #[serde(default, deserialize_with = "fields::text")]
    pub name: Option<String>,
    /// The name that people see.
    #[serde(default, rename = "displayname", deserialize_with = "fields::text")]
    pub display_name: Option<String>,
    /// Its account's name; absent for a project's.
    #[serde(default, deserialize_with = "fields::text")]
    pub account: Option<String>,
    /// Its domain.
    #[serde(default, rename = "domainid", deserialize_with = "fields::id")]
    pub domain_id: Option<CloudId>,
    /// Its project.
    #[serde(default, rename = "projectid", deserialize_with = "fields::id")]
    pub project_id: Option<CloudId>,
    /// `Running`, `Stopped`, `Starting`, `Stopping`, `Migrating`, `Error`, …
    #[serde(deserialize_with = "fields::required_text")]
    pub state: String,
    /// Its zone.
    #[serde(default, rename = "zoneid", deserialize_with = "fields::text")]
    pub zone_id: Option<String>,
    /// Its service offering.
    #[serde(default, rename = "serviceofferingid", deserialize_with = "fields::text")]
    pub service_offering_id: Option<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "fields::instant")]
    pub created: Option<Timestamp>,
}

impl VirtualMachine {
    /// Whether it runs or is about to: what a suspension stops and a restore starts again.
    pub fn is_running(&self) -> bool {
        matches!(self.state.as_str(), "Running" | "Starting" | "Migrating")
    }
}

impl Entry for VirtualMachine {}

impl Thing for VirtualMachine {
    fn id(&self) -> CloudId {
        self.id
    }
}

impl Client {
    /// One machine, whoever it belongs to; None if there is none of this id.
    pub async fn get_virtual_machine(&self, id: CloudId) -> Result<Option<VirtualMachine>, Error> {
        let params = Params::new().with("id", id).with("listall", true).with("details", "min");
        self.find_one("listVirtualMachines", &params, |machine: &VirtualMachine| machine.id == id).await
    }

    /// The machines that the filter names, and whether these are all of them.
    pub async fn list_virtual_machines(&self, filter: &VmFilter) -> Result<Inventory<VirtualMachine>, Error> {
        let mut params =
            Params::new().with("listall", true).with("details", "min").with_some("state", filter.state.as_ref());
        if let Some((account, domain)) = &filter.account {
            params = params.with("account", account).with("domainid", domain);
        }
        params = match filter.project_id {
            Some(project) => params.with("projectid", project),
            None if filter.all_projects => params.with("projectid", "-1"),
            None => params,
        };
        self.steady("listVirtualMachines", &params).await
    }

    /// Starts a machine in a job of this id. Refused inside the job while its owner is disabled.
    pub async fn start_virtual_machine(&self, id: CloudId, job: Uuid) -> Result<Uuid, Error> {
        self.write_job("startVirtualMachine", &Params::new().with("id", id).with("customjobid", job)).await
    }

    /// Stops a machine in a job of this id, in an orderly way.
    pub async fn stop_virtual_machine(&self, id: CloudId, job: Uuid) -> Result<Uuid, Error> {
        self.write_job("stopVirtualMachine", &Params::new().with("id", id).with("customjobid", job)).await
    }
}
