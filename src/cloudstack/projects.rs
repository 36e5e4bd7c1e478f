//! Suspending and activating projects. Their accounts can be neither locked nor disabled (facts 4.4).

use serde::Deserialize;
use uuid::Uuid;

use super::{Client, Error, Listing, envelope::Entry, fields, params::Params};
use crate::ids::CloudId;

/// An account of which people work in a project: its owner's among them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProjectMember {
    /// The account.
    #[serde(rename = "accountid")]
    pub account_id: CloudId,
    /// Its name.
    #[serde(default, deserialize_with = "fields::text")]
    pub account: Option<String>,
}

impl Entry for ProjectMember {}

impl Client {
    /// The accounts of which people work in a project.
    pub async fn list_project_members(&self, project: CloudId) -> Result<Listing<ProjectMember>, Error> {
        self.list_all("listProjectAccounts", &Params::new().with("projectid", project)).await
    }

    /// Suspends a project in a job of this id; its machines are stopped.
    pub async fn suspend_project(&self, id: CloudId, job: Uuid) -> Result<Uuid, Error> {
        self.write_job("suspendProject", &Params::new().with("id", id).with("customjobid", job)).await
    }

    /// Activates a project in a job of this id; its machines stay stopped.
    pub async fn activate_project(&self, id: CloudId, job: Uuid) -> Result<Uuid, Error> {
        self.write_job("activateProject", &Params::new().with("id", id).with("customjobid", job)).await
    }
}
