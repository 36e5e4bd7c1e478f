//! Asynchronous jobs. What they do takes effect as in CloudStack: a lock or the disabled state at once, machines one
//! after the other while the job goes on; only then the job ends. A job that nobody asks about ends by itself.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{
    World,
    entities::{Power, State, Stubbornness},
    next,
    table::Row,
};
use crate::{ids::CloudId, standin::guesses, time::Timestamp};

/// What a job still has to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// The state is set already; the answer shows the account.
    ShowAccount(CloudId),
    DisableAccount {
        account: CloudId,
        machines: VecDeque<CloudId>,
    },
    DisableUser(CloudId),
    StartVm(CloudId),
    StopVm(CloudId),
    DeployVm(CloudId),
    DestroyVm(CloudId),
    SuspendProject {
        project: CloudId,
        machines: VecDeque<CloudId>,
    },
    ShowProject(CloudId),
}

/// How a job ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Success(Value),
    Failure(u16, String),
}

/// A job.
#[derive(Debug)]
pub(crate) struct Job {
    pub id: CloudId,
    pub number: u64,
    pub user: CloudId,
    /// The Java class of the command.
    pub class: &'static str,
    /// The kind of entity the job is about, and which.
    pub instance: Option<(&'static str, Option<CloudId>)>,
    pub created: Timestamp,
    pub completed: Option<Timestamp>,
    pub polls: u32,
    pub work: Option<Work>,
    pub outcome: Option<Outcome>,
}

impl Row for Job {
    fn id(&self) -> CloudId {
        self.id
    }

    fn number(&self) -> u64 {
        self.number
    }
}

impl World {
    /// Begins a job, or records that it failed at once.
    pub(crate) fn begin_job(
        &mut self,
        id: Option<CloudId>,
        user: CloudId,
        class: &'static str,
        instance: Option<(&'static str, Option<CloudId>)>,
        work: Result<Work, (u16, String)>,
    ) -> CloudId {
        let id = id.unwrap_or_else(|| self.ids.id());
        let number = next(&mut self.numbers.job);
        let created = self.now;
        let (work, outcome, completed) = match work {
            Ok(work) => (Some(work), None, None),
            Err((code, text)) => (None, Some(Outcome::Failure(code, text)), Some(created)),
        };
        self.jobs.push(Job { id, number, user, class, instance, created, completed, polls: 0, work, outcome });
        if self.job_delay_polls == 0 {
            self.finish_job(id);
        }
        id
    }

    /// A question about a job: it goes one step further, and ends once it was asked about often enough.
    pub(crate) fn poll_job(&mut self, id: CloudId) {
        let delay = self.job_delay_polls;
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.polls += 1;
        if job.outcome.is_some() {
            return;
        }
        if job.polls > delay {
            self.finish_job(id);
        } else if let Some(mut work) = job.work.take() {
            let failed = self.step(&mut work).err();
            if let Some(job) = self.jobs.get_mut(id) {
                job.work = Some(work);
            }
            if let Some(text) = failed {
                self.end_job(id, Outcome::Failure(530, text));
            }
        }
    }

    /// Ends the jobs that nobody asked about for a while.
    pub(crate) fn settle_jobs(&mut self) {
        let limit = self.now.as_ms() - guesses::JOB_ENDS_BY_ITSELF_AFTER_MS;
        let due: Vec<CloudId> = self
            .jobs
            .iter()
            .rev()
            .take(guesses::JOBS_LOOKED_AT)
            .filter(|job| job.outcome.is_none() && job.created.as_ms() <= limit)
            .map(|job| job.id)
            .collect();
        for id in due {
            self.finish_job(id);
        }
    }

    /// Ends every job now.
    pub fn finish_jobs(&mut self) {
        let open: Vec<CloudId> = self.jobs.iter().filter(|job| job.outcome.is_none()).map(|job| job.id).collect();
        for id in open {
            self.finish_job(id);
        }
    }

    fn finish_job(&mut self, id: CloudId) {
        let Some(mut work) = self.jobs.get_mut(id).and_then(|job| job.work.take()) else { return };
        let outcome = loop {
            match self.step(&mut work) {
                Ok(true) => {}
                Ok(false) => break Outcome::Success(self.job_answer(&work, id)),
                Err(text) => break Outcome::Failure(530, text),
            }
        };
        self.end_job(id, outcome);
    }

    fn end_job(&mut self, id: CloudId, outcome: Outcome) {
        let now = self.now;
        if let Some(job) = self.jobs.get_mut(id) {
            job.outcome = Some(outcome);
            job.completed = Some(now);
            job.work = None;
        }
    }

    /// Does one step; true while there is more to do.
    fn step(&mut self, work: &mut Work) -> Result<bool, String> {
        let now = self.now;
        match work {
            Work::DisableAccount { account, machines } => {
                let account = *account;
                self.stop_next(machines, account)
            }
            Work::SuspendProject { project, machines } => {
                let account = self.projects.get(*project).map_or(*project, |project| project.account);
                self.stop_next(machines, account)
            }
            Work::StartVm(vm) => {
                // Whoever came in between and stopped it has the last word.
                if self.vms.get(*vm).is_some_and(|machine| machine.power == Power::Starting) {
                    self.start_vm(*vm, now);
                }
                Ok(false)
            }
            Work::StopVm(vm) => {
                if self.vms.get(*vm).is_some_and(|machine| machine.stubbornness != Stubbornness::Obedient) {
                    if let Some(machine) = self.vms.get_mut(*vm).filter(|machine| machine.power == Power::Stopping) {
                        machine.power = Power::Running;
                    }
                    return Err(guesses::STOP_FAILED.to_owned());
                }
                self.settle_power(*vm);
                self.stop_vm(*vm, now);
                Ok(false)
            }
            Work::DestroyVm(vm) => {
                self.destroy_vm(*vm, now);
                Ok(false)
            }
            Work::DisableUser(user) => {
                if let Some(user) = self.users.get_mut(*user) {
                    user.state = State::Disabled;
                }
                Ok(false)
            }
            Work::ShowAccount(_) | Work::ShowProject(_) | Work::DeployVm(_) => Ok(false),
        }
    }

    fn stop_next(&mut self, machines: &mut VecDeque<CloudId>, account: CloudId) -> Result<bool, String> {
        let now = self.now;
        let Some(vm) = machines.pop_front() else { return Ok(false) };
        // The jobs of one machine wait for each other.
        self.settle_power(vm);
        match self.vms.get(vm).map(|machine| machine.stubbornness) {
            Some(Stubbornness::Obedient) => self.stop_vm(vm, now),
            Some(Stubbornness::KeepsRunning) => {
                if let Some(account) = self.accounts.get_mut(account) {
                    account.needs_cleanup = true;
                }
            }
            Some(Stubbornness::Throws) => {
                if let Some(account) = self.accounts.get_mut(account) {
                    account.needs_cleanup = true;
                }
                return Err(guesses::STOP_FAILED.to_owned());
            }
            // The agent did not answer in time; what comes of it is seen later.
            Some(Stubbornness::HangsStopping) => {
                self.set_passing_power(vm, Power::Stopping);
                if let Some(account) = self.accounts.get_mut(account) {
                    account.needs_cleanup = true;
                }
            }
            None => {}
        }
        Ok(!machines.is_empty())
    }

    fn job_answer(&self, work: &Work, job: CloudId) -> Value {
        match work {
            Work::ShowAccount(account) | Work::DisableAccount { account, .. } => {
                json!({"account": self.account_view(*account, true)})
            }
            Work::DisableUser(user) => json!({"user": self.user_view(*user)}),
            Work::StartVm(vm) | Work::StopVm(vm) | Work::DeployVm(vm) | Work::DestroyVm(vm) => {
                json!({"virtualmachine": self.full_vm_view(*vm, Some(job))})
            }
            Work::SuspendProject { project, .. } | Work::ShowProject(project) => {
                json!({"project": self.project_view(*project)})
            }
        }
    }

    /// The machines of an account that a disable stops: all that run or are about to.
    pub(crate) fn running_machines(&self, account: CloudId) -> VecDeque<CloudId> {
        let runs = |power: Power| power.runs() || matches!(power, Power::Starting | Power::Stopping);
        self.vms.iter().filter(|vm| vm.owner == account && runs(vm.power)).map(|vm| vm.id).collect()
    }

    /// The daily cleanup (`account.cleanup.interval`): disables again what is disabled with machines left running.
    pub fn clean_up_accounts(&mut self) {
        let left: Vec<CloudId> = self
            .accounts
            .iter()
            .filter(|account| account.needs_cleanup && account.state == State::Disabled && account.removed.is_none())
            .map(|account| account.id)
            .collect();
        for account in left {
            if let Some(row) = self.accounts.get_mut(account) {
                row.needs_cleanup = false;
            }
            let mut machines = self.running_machines(account);
            // What throws ends the loop, as in the job: the rest waits for the next day.
            while let Ok(true) = self.stop_next(&mut machines, account) {}
        }
    }

    /// Whether a job is still kept.
    pub(crate) fn job_is_kept(&self, job: &Job) -> bool {
        let minutes = self.settings.number("job.expire.minutes");
        job.completed.is_none_or(|at| self.now.as_ms() - at.as_ms() <= minutes * 60_000)
    }
}
