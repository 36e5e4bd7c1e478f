//! One call that changes something in CloudStack: claimed, made, looked up again (design 7.10, 7.13).
//!
//! Promises: no call goes out before its row is committed under the fence; the same row always asks for the same job; a call whose
//! answer was lost is looked up by its job, and made again only once it is certain that the first can not arrive any more.

use std::{collections::BTreeMap, time::Duration};

use uuid::Uuid;

use super::{
    act::{Actor, DECISION_IS_OLD},
    run::Error,
    switches,
};
use crate::{
    cloudstack::{self, JobState, LimitOwner},
    ids::CloudId,
    store::{
        Tx,
        acting::{self as rows, CallRow, NewCall},
        enforcement, runs,
    },
    time::Timestamp,
};

/// A call that was claimed so long ago is not sent any more: others may have looked for it meanwhile, and written it off.
const SENT_WITHIN: Duration = Duration::from_mins(1);
/// A request that got lost may still arrive and act for so long: its signature lasts ten minutes, and clocks differ.
pub(super) const REQUEST_LIVES_FOR: Duration = Duration::from_mins(15);
/// Whether somebody else suspended an account is looked at so long before it is opened at most.
const LOOK_LASTS: Duration = Duration::from_mins(5);
/// What is said of an older look.
pub(super) const LOOK_IS_OLD: &str =
    "bursar stood still after it had looked who suspended it; the next run looks again";
pub(super) const PAUSED_MEANWHILE: &str = "enforcement was paused meanwhile";
const HAS_ENDED: &str = "its action has ended";
/// The namespace of job ids: a UUID of bursar's own.
const JOB_NAMESPACE: Uuid =
    Uuid::from_bytes([0x62, 0x75, 0x72, 0x73, 0x61, 0x72, 0x4a, 0x6f, 0x80, 0x62, 0x73, 0x2d, 0x76, 0x31, 0x00, 0x01]);

/// The job id of a call (design 7.10): the same call always asks for the same job.
pub fn job_id(intent: &str, number: i64) -> Uuid {
    Uuid::new_v5(&JOB_NAMESPACE, format!("{intent}/{number}").as_bytes())
}

/// What is done in CloudStack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Locks an account.
    Lock(CloudId),
    /// Disables an account: its machines stop.
    Disable(CloudId),
    /// Enables an account, at once.
    Enable(CloudId),
    /// Sets one resource limit, at once.
    SetLimit(LimitOwner, i32, i64),
    /// Suspends a project: its machines stop.
    SuspendProject(CloudId),
    /// Activates a project.
    ActivateProject(CloudId),
    /// Stops a machine.
    StopMachine(CloudId),
    /// Starts a machine.
    StartMachine(CloudId),
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallEnd {
    /// It ended; the reason where it ended badly. What it did has to be read anyway (facts 4.2).
    Ended(String),
    /// CloudStack declined it, and nothing was done.
    Refused(String),
    /// CloudStack takes no changes at this moment (it prepares for maintenance, is busy, or does not accept the caller), or the decision
    /// has to be taken anew: nothing was done, and it is no try.
    NotNow(String),
    /// CloudStack does not know its job, and the request can not arrive any more.
    NeverWas,
    /// It can not be found out now; the next run looks again.
    Unknown(String),
}

impl CallRow {
    /// How a call ended whose end was noted; None while it is open. Of one that was declined and one whose job failed the row
    /// tells the same: the state has to be read in both cases.
    pub(super) fn end(&self) -> Option<CallEnd> {
        match self.state.as_str() {
            "done" => Some(CallEnd::Ended(String::new())),
            "failed" => Some(CallEnd::Ended(self.answer.clone().unwrap_or_default())),
            "lost" => Some(CallEnd::NeverWas),
            _ => None,
        }
    }
}

/// What came back from sending.
enum Sent {
    Job(Uuid),
    Done,
}

impl Act {
    pub(super) const fn command(&self) -> &'static str {
        match self {
            Self::Lock(_) | Self::Disable(_) => "disableAccount",
            Self::Enable(_) => "enableAccount",
            Self::SetLimit(..) => "updateResourceLimit",
            Self::SuspendProject(_) => "suspendProject",
            Self::ActivateProject(_) => "activateProject",
            Self::StopMachine(_) => "stopVirtualMachine",
            Self::StartMachine(_) => "startVirtualMachine",
        }
    }

    /// What it acts on, as it stands in the row of the call.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Lock(id)
            | Self::Disable(id)
            | Self::Enable(id)
            | Self::SuspendProject(id)
            | Self::ActivateProject(id)
            | Self::StopMachine(id)
            | Self::StartMachine(id) => id.to_string(),
            Self::SetLimit(LimitOwner::Account { name, .. }, resource_type, _) => {
                format!("{name} limit {resource_type}")
            }
            Self::SetLimit(LimitOwner::Project(id), resource_type, _) => format!("project {id} limit {resource_type}"),
        }
    }

    /// Whether a call of the same intent was this one. All that an intent does to an account's own limits it does to one account, also
    /// where that was called otherwise when the call was made.
    fn is_of(&self, call: &CallRow) -> bool {
        let same_target = match self {
            Self::SetLimit(LimitOwner::Account { .. }, resource_type, _) => {
                !call.target.starts_with("project ") && call.target.ends_with(&format!(" limit {resource_type}"))
            }
            _ => call.target == self.target(),
        };
        call.command == self.command() && same_target
    }

    /// Whether it runs in a job; otherwise it is done when it answers.
    const fn has_job(&self) -> bool {
        !matches!(self, Self::Enable(_) | Self::SetLimit(..))
    }

    async fn send(&self, client: &cloudstack::Client, job: Uuid) -> Result<Sent, cloudstack::Error> {
        Ok(match self {
            Self::Lock(id) => Sent::Job(client.lock_account(*id, job).await?),
            Self::Disable(id) => Sent::Job(client.disable_account(*id, job).await?),
            Self::SuspendProject(id) => Sent::Job(client.suspend_project(*id, job).await?),
            Self::ActivateProject(id) => Sent::Job(client.activate_project(*id, job).await?),
            Self::StopMachine(id) => Sent::Job(client.stop_virtual_machine(*id, job).await?),
            Self::StartMachine(id) => Sent::Job(client.start_virtual_machine(*id, job).await?),
            Self::Enable(id) => {
                client.enable_account(*id).await?;
                Sent::Done
            }
            Self::SetLimit(owner, resource_type, max) => {
                client.update_resource_limit(owner, *resource_type, *max, None).await?;
                Sent::Done
            }
        })
    }
}

/// A call that was sent and is to be waited for.
pub(super) struct Waiting {
    row: i64,
    job: Uuid,
    claimed: Timestamp,
}

/// What claiming a call gave.
enum Claim {
    /// Its row, and the job that it asks for.
    Made(i64, Uuid),
    /// It must not go out.
    Not(CallEnd),
}

/// What sending a call gave.
pub(super) enum Step {
    /// Its job is to be waited for.
    Wait(Waiting),
    /// It has ended.
    End(CallEnd),
}

impl Actor<'_> {
    /// The newest call of an intent with this command and target.
    pub(super) async fn last_call(&self, intent: &str, act: &Act) -> Result<Option<CallRow>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let calls = rows::list_calls(&mut tx, intent).await?;
        tx.commit().await?;
        Ok(calls.into_iter().rev().find(|call| act.is_of(call)))
    }

    /// How many calls of this command and target of the intent CloudStack has answered.
    pub(super) async fn count_calls(&self, intent: &str, act: &Act) -> Result<usize, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let calls = rows::list_calls(&mut tx, intent).await?;
        tx.commit().await?;
        Ok(calls.iter().filter(|call| act.is_of(call) && call.state != "lost").count())
    }

    /// Why no further call may go out. Looked at before anything is read for it, and once more where it is claimed.
    pub(super) async fn may_call(&self) -> Result<Option<&'static str>, Error> {
        if self.by_order {
            return Ok(None);
        }
        let mut tx = self.enforcer.store.read().await?;
        let paused = runs::find_setting(&mut tx, switches::PAUSED).await?.as_deref() == Some("1");
        tx.commit().await?;
        Ok(paused.then_some(PAUSED_MEANWHILE))
    }

    /// Goes on with a call that is open, or makes a new one, and waits for its end.
    pub(super) async fn perform(
        &self,
        intent: &str,
        act: &Act,
        before: Option<&str>,
        patience: Duration,
    ) -> Result<CallEnd, Error> {
        match self.begin_call(intent, act, before).await? {
            Step::End(end) => Ok(end),
            Step::Wait(waiting) => self.end_of(waiting, patience).await,
        }
    }

    /// Goes on with a call that is open, or sends a new one.
    pub(super) async fn begin_call(&self, intent: &str, act: &Act, before: Option<&str>) -> Result<Step, Error> {
        if let Some(open) = self.last_call(intent, act).await?.filter(|call| call.state == "open") {
            let claimed = Timestamp::from_ms(open.claimed_ms);
            if act.has_job() {
                let job = Uuid::parse_str(&open.job_id).unwrap_or_default();
                return Ok(Step::Wait(Waiting { row: open.id, job, claimed }));
            }
            // Its answer was lost with the process. The caller reads what came of it.
            self.close_call(open.id, "lost", "its answer was never seen").await?;
            return Ok(Step::End(CallEnd::Unknown("its answer was lost".to_owned())));
        }
        let (begun, claimed) = (self.enforcer.clock.now(), self.client.server_now());
        let (row, job) = match self.claim(intent, act, before, claimed).await? {
            Claim::Made(row, job) => (row, job),
            Claim::Not(end) => return Ok(Step::End(end)),
        };
        if self.enforcer.clock.now().since(begun) > SENT_WITHIN {
            // Nobody waits for what has no job. With one, the row stays: who has the lease by now may be looking for it.
            if !act.has_job() {
                self.close_call(row, "lost", "it was not sent").await?;
            }
            return Ok(Step::End(CallEnd::Unknown("bursar stood still before it was sent".to_owned())));
        }
        Ok(match act.send(self.client, job).await {
            Ok(Sent::Job(accepted)) => Step::Wait(Waiting { row, job: accepted, claimed }),
            Ok(Sent::Done) => {
                self.close_call(row, "done", "").await?;
                Step::End(CallEnd::Ended(String::new()))
            }
            Err(error) if act.has_job() && error.is_already_exists() => Step::Wait(Waiting { row, job, claimed }),
            Err(cloudstack::Error::Uncertain { text }) => {
                tracing::warn!(command = act.command(), why = %text, "the answer to a call was lost; what came of it is read back");
                if act.has_job() {
                    Step::Wait(Waiting { row, job, claimed })
                } else {
                    self.close_call(row, "lost", &text).await?;
                    Step::End(CallEnd::Unknown(format!("the outcome is not known: {text}")))
                }
            }
            Err(error @ (cloudstack::Error::Retry { .. } | cloudstack::Error::Unauthorized { .. })) => {
                let why = error.to_string();
                self.close_call(row, "lost", &why).await?;
                Step::End(CallEnd::NotNow(why))
            }
            Err(error) => {
                let why = error.to_string();
                self.close_call(row, "failed", &why).await?;
                Step::End(CallEnd::Refused(why))
            }
        })
    }

    /// Waits for the end of every call of an intent that is open, and sends none. Gives what can not be found out now.
    pub(super) async fn conclude_calls(&self, intent: &str, patience: Duration) -> Result<Option<String>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let calls = rows::list_calls(&mut tx, intent).await?;
        tx.commit().await?;
        for call in calls.into_iter().filter(|call| call.state == "open") {
            let job = Uuid::parse_str(&call.job_id).unwrap_or_default();
            let waiting = Waiting { row: call.id, job, claimed: Timestamp::from_ms(call.claimed_ms) };
            if let CallEnd::Unknown(why) = self.end_of(waiting, patience).await? {
                return Ok(Some(format!("{} {}: {why}", call.command, call.target)));
            }
        }
        Ok(None)
    }

    /// Writes the row of a call under the fence. Not while enforcement is paused, nor where it begins a step downwards on a decision
    /// that has grown old while CloudStack was asked, nor where it opens an account that somebody else wants suspended by now.
    async fn claim(&self, intent: &str, act: &Act, before: Option<&str>, claimed: Timestamp) -> Result<Claim, Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        if !self.by_order && runs::find_setting(&mut tx, switches::PAUSED).await?.as_deref() == Some("1") {
            return Ok(Claim::Not(CallEnd::Unknown(PAUSED_MEANWHILE.to_owned())));
        }
        let number =
            i64::try_from(rows::list_calls(&mut tx, intent).await?.len()).unwrap_or(i64::MAX).saturating_add(1);
        if number == 1 && self.is_out_of_date(now) && rows::leads_down(&mut tx, intent).await? {
            return Ok(Claim::Not(CallEnd::NotNow(DECISION_IS_OLD.to_owned())));
        }
        if matches!(act, Act::Enable(_))
            && let Some(why) = closed_to_us(&mut tx, intent, now).await?
        {
            return Ok(Claim::Not(CallEnd::NotNow(why.to_owned())));
        }
        let job = job_id(intent, number);
        let (target, job_text) = (act.target(), job.to_string());
        let call = NewCall {
            intent,
            number,
            command: act.command(),
            target: &target,
            job_id: &job_text,
            fence: self.fence,
            before,
        };
        let Some(row) = rows::claim_call(&mut tx, &call, claimed).await? else {
            return Ok(Claim::Not(CallEnd::Unknown(HAS_ENDED.to_owned())));
        };
        tx.commit().await?;
        Ok(Claim::Made(row, job))
    }

    pub(super) async fn close_call(&self, row: i64, state: &str, answer: &str) -> Result<(), Error> {
        let mut tx = self.write().await?;
        rows::end_call(&mut tx, row, state, answer, self.client.server_now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Waits for a job; what can not be found out now is left to the next run.
    pub(super) async fn end_of(&self, waiting: Waiting, patience: Duration) -> Result<CallEnd, Error> {
        let Waiting { row, job, claimed } = waiting;
        let end = match self.client.wait_for_job(job, patience, self.enforcer.settings.job_pause).await {
            Ok(JobState::Pending) => CallEnd::Unknown("its job has not ended".to_owned()),
            Ok(JobState::Succeeded(_)) => CallEnd::Ended(String::new()),
            Ok(JobState::Failed { code, text }) => CallEnd::Ended(format!("its job failed ({code}): {text}")),
            Ok(JobState::Cancelled) => CallEnd::Ended("its job was cancelled".to_owned()),
            Err(cloudstack::Error::Gone { .. }) if self.may_still_arrive(row, claimed).await? => {
                CallEnd::Unknown("CloudStack knows no such job, and the request may still be on its way".to_owned())
            }
            Err(cloudstack::Error::Gone { .. }) => CallEnd::NeverWas,
            Err(error) => CallEnd::Unknown(error.to_string()),
        };
        match &end {
            CallEnd::Ended(why) if why.is_empty() => self.close_call(row, "done", "").await?,
            CallEnd::Ended(why) | CallEnd::Refused(why) => self.close_call(row, "failed", why).await?,
            CallEnd::NeverWas => self.close_call(row, "lost", "CloudStack knows no such job").await?,
            // The row stays open: the next run looks again.
            CallEnd::Unknown(_) | CallEnd::NotNow(_) => {}
        }
        Ok(end)
    }

    /// Whether a call that came to nothing so far may still be on its way. CloudStack's clock says, by which its signature ends, as it is
    /// now: ours may have leapt. Where the call is dated to come, ours leapt just before it was claimed, and it counts from now on.
    pub(super) async fn may_still_arrive(&self, row: i64, claimed: Timestamp) -> Result<bool, Error> {
        match self.client.measure_clock_skew().await {
            Ok(Some(_)) => {}
            // Nothing tells that it has expired.
            Ok(None) => return Ok(true),
            Err(error) => {
                tracing::info!(%error, "CloudStack's clock could not be measured");
                return Ok(true);
            }
        }
        let now = self.client.server_now();
        if now < claimed {
            let mut tx = self.write().await?;
            rows::date_call(&mut tx, row, now).await?;
            tx.commit().await?;
            return Ok(true);
        }
        Ok(now < claimed.plus(REQUEST_LIVES_FOR))
    }
}

/// Whether what was looked at then may still be gone by. Not either where the clock has gone back since.
pub(super) fn look_is_of_now(looked: Timestamp, now: Timestamp) -> bool {
    looked <= now && now.since(looked) <= LOOK_LASTS
}

/// Why an account is not to be enabled after all: whose it is to open was looked at before the intent was written.
async fn closed_to_us(tx: &mut Tx, intent: &str, now: Timestamp) -> Result<Option<&'static str>, Error> {
    let Some((account, written)) = rows::find_intent(tx, intent).await? else { return Ok(Some(HAS_ENDED)) };
    if !look_is_of_now(written, now) {
        return Ok(Some(LOOK_IS_OLD));
    }
    let holds = enforcement::list_holds(tx, Some(account)).await?;
    Ok(holds.iter().any(|hold| hold.owner != "billing").then_some("somebody else wants it suspended too"))
}

/// Calls in words: each kind once, with its job where it is alone, and with what CloudStack said where it did not do it.
pub(super) fn in_words(calls: &[CallRow]) -> String {
    let mut kinds: BTreeMap<(&str, &str), Vec<&CallRow>> = BTreeMap::new();
    for call in calls {
        kinds.entry((&call.command, &call.state)).or_default().push(call);
    }
    let words = kinds.into_iter().map(|((command, state), calls)| {
        let which = match calls.as_slice() {
            // These two are done when they answer: there is no job.
            [only] if matches!(command, "enableAccount" | "updateResourceLimit") => {
                format!("{command} {}", only.target)
            }
            [only] => format!("{command} {} (job {})", only.target, only.job_id),
            several => format!("{} {command}", several.len()),
        };
        let said = calls.iter().find_map(|call| call.answer.as_deref()).filter(|said| !said.is_empty());
        said.map_or_else(|| format!("{which} {state}"), |said| format!("{which} {state}: {said}"))
    });
    words.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_with_their_jobs_and_what_cloudstack_said() {
        let call = |command: &str, state: &str, answer: &str| CallRow {
            id: 1,
            intent_id: "i".to_owned(),
            number: 1,
            command: command.to_owned(),
            target: "bob".to_owned(),
            job_id: "j".to_owned(),
            state: state.to_owned(),
            answer: Some(answer.to_owned()),
            claimed_ms: 0,
        };
        let limits = [call("updateResourceLimit", "done", ""), call("updateResourceLimit", "done", "")];
        assert_eq!(in_words(&limits), "2 updateResourceLimit done");
        let lock = [call("disableAccount", "failed", "it is busy"), call("disableAccount", "done", "")];
        assert_eq!(in_words(&lock), "disableAccount bob (job j) done; disableAccount bob (job j) failed: it is busy");
        assert_eq!(in_words(&[call("enableAccount", "done", "")]), "enableAccount bob done");
        assert_eq!(in_words(&[]), "");
    }
}
