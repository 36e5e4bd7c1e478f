//! Suspending and restoring accounts, and making them.

use uuid::Uuid;

use super::{Account, Client, Error, params::Params};
use crate::{ids::CloudId, secrets::Secret};

/// An account to be made, with its first user.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The account's name.
    pub account: String,
    /// Its domain.
    pub domain_id: CloudId,
    /// Its role; decides its type.
    pub role_id: CloudId,
    /// The first user's name.
    pub username: String,
    /// The first user's password.
    pub password: Secret,
    /// The first user's first name.
    pub first_name: String,
    /// The first user's last name.
    pub last_name: String,
    /// The first user's e-mail address.
    pub email: String,
}

impl Client {
    /// Locks an account: nobody signs in, machines run on. `job` becomes the job's id, so that it can be found again
    /// when the answer is lost; the same id a second time is refused as existing already. By id alone: by name only
    /// enabled accounts are found. Locking has no guard for administrators or the caller itself: keep a list.
    pub async fn lock_account(&self, id: CloudId, job: Uuid) -> Result<Uuid, Error> {
        self.suspend(id, job, true).await
    }

    /// Disables an account: as [`Client::lock_account`], and its machines are stopped one after another. A failed job may
    /// still have disabled it: read the state.
    pub async fn disable_account(&self, id: CloudId, job: Uuid) -> Result<Uuid, Error> {
        self.suspend(id, job, false).await
    }

    async fn suspend(&self, id: CloudId, job: Uuid, lock: bool) -> Result<Uuid, Error> {
        let params = Params::new().with("id", id).with("lock", lock).with("customjobid", job);
        self.write_job("disableAccount", &params).await
    }

    /// Enables a locked or disabled account at once (no job). Stopped machines stay stopped.
    pub async fn enable_account(&self, id: CloudId) -> Result<Account, Error> {
        self.write_entity("enableAccount", &Params::new().with("id", id)).await
    }

    /// Makes an account with its first user.
    pub async fn create_account(&self, new: &NewAccount) -> Result<Account, Error> {
        let params = Params::new()
            .with("account", &new.account)
            .with("domainid", new.domain_id)
            .with("roleid", new.role_id)
            .with("username", &new.username)
            .with("password", new.password.expose())
            .with("firstname", &new.first_name)
            .with("lastname", &new.last_name)
            .with("email", &new.email);
        self.write_entity("createAccount", &params).await
    }
}
