//! Looking at machines without acting: for reports of what would be done.

use super::{
    Machine,
    act::Actor,
    run::{Enforcer, Error},
};
use crate::{cloudstack::Client, ids::RunId, store::cloud::Account};

/// Somebody who only looks.
pub struct Looker<'a>(Actor<'a>);

impl<'a> Looker<'a> {
    /// Under no run and no fence: nothing can be done with it.
    pub async fn new(enforcer: &'a Enforcer<'a>, client: &'a Client) -> Result<Self, Error> {
        Ok(Self(Actor::new(enforcer, client, RunId::new(0), 0).await?))
    }

    /// The machines that run now in an account and its projects.
    pub async fn machines(&self, account: &Account) -> Result<Vec<Machine>, Error> {
        self.0.running_machines(account).await
    }
}
