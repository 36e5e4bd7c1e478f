//! Locking an account: nobody signs in any more, its machines run on (facts 4.2, 4.3).

use std::time::Duration;

use super::{
    act::{Actor, Done, EVENT_TOLERANCE, End, Intent, cloud_id},
    calls::{Act, CallEnd},
    run::Error,
};
use crate::{cloudstack::AccountState, store::cloud::Account, time::Timestamp};

impl Actor<'_> {
    /// Locks, or finds out what came of it: what counts is the state as read back (facts 4.2: a failed job may have acted).
    pub(super) async fn advance_lock(
        &self,
        intent: &Intent,
        account: &Account,
        patience: Duration,
    ) -> Result<Done, Error> {
        let act = Act::Lock(cloud_id(account)?);
        // A call that has ended is not made again, also where the process died before it could be concluded.
        let ended = self.last_call(&intent.id, &act).await?.and_then(|call| call.end());
        let end = match ended {
            Some(end) => end,
            None => self.perform(&intent.id, &act, Some(&intent.state_before), patience).await?,
        };
        let (ours, why) = match end {
            CallEnd::Unknown(why) => return Ok(Done::Started(format!("{why}; the next run looks again"))),
            CallEnd::Refused(why) | CallEnd::NotNow(why) => return self.give_up(intent, account, None, &why).await,
            CallEnd::Ended(why) => (true, why),
            CallEnd::NeverWas => (false, "CloudStack knows no such job".to_owned()),
        };
        let read = self.read_back(account).await?;
        let state = read.as_ref().map(|read| read.state.as_str().to_owned());
        let locked = matches!(read.as_ref().map(|read| &read.state), Some(AccountState::Locked));
        // Locked without a job of ours: somebody else's lock, unless the events say that it was ours.
        let ours = ours || locked && self.suspended_by_us(account, intent.created).await?;
        if locked && ours && intent.state_before == "enabled" {
            let end = End { worked: true, state_after: state.as_deref(), outcome: "locked for billing" };
            self.finish(intent, account, end).await?;
            return Ok(Done::Yes);
        }
        if locked {
            return self.leave_to_others(intent, account, state.as_deref(), "somebody else locked it").await;
        }
        self.give_up(intent, account, state.as_deref(), &format!("it was not locked: {why}")).await
    }

    /// Ends an intent that did not come about.
    pub(super) async fn give_up(
        &self,
        intent: &Intent,
        account: &Account,
        state_after: Option<&str>,
        outcome: &str,
    ) -> Result<Done, Error> {
        self.finish(intent, account, End { worked: false, state_after, outcome }).await?;
        Ok(Done::No(outcome.to_owned()))
    }

    /// Ends an intent that did not come about because of what somebody else did.
    pub(super) async fn leave_to_others(
        &self,
        intent: &Intent,
        account: &Account,
        state_after: Option<&str>,
        outcome: &str,
    ) -> Result<Done, Error> {
        self.give_up(intent, account, state_after, outcome).await?;
        Ok(Done::Left(outcome.to_owned()))
    }

    /// Whether the newest lock or disabling of the account in CloudStack's events since `begun` is ours.
    pub(super) async fn suspended_by_us(&self, account: &Account, begun: Timestamp) -> Result<bool, Error> {
        let names = self.lockers(account, begun.minus(EVENT_TOLERANCE)).await?;
        Ok(match (names, &self.own_name) {
            (Some(names), Some(own)) => names.first() == Some(own),
            _ => false,
        })
    }
}
