//! Suspending and activating projects. Their accounts can be neither locked nor disabled (facts 4.4).

use uuid::Uuid;

use super::{Client, Error, params::Params};
use crate::ids::CloudId;

impl Client {
    /// Suspends a project in a job of this id; its machines are stopped.
    pub async fn suspend_project(&self, id: CloudId, job: Uuid) -> Result<Uuid, Error> {
        self.write_job("suspendProject", &Params::new().with("id", id).with("customjobid", job)).await
    }

    /// Activates a project in a job of this id; its machines stay stopped.
    pub async fn activate_project(&self, id: CloudId, job: Uuid) -> Result<Uuid, Error> {
        self.write_job("activateProject", &Params::new().with("id", id).with("customjobid", job)).await
    }
}
