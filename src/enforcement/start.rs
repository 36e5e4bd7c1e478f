//! Starting again what a stop had stopped: in the noted order, a few at a time, looked at afterwards, with a bounded number of tries.

use std::time::Duration;

use super::{
    act::{Actor, Intent},
    calls::{Act, CallEnd},
    machines::Listed,
    run::Error,
};
use crate::{
    cloudstack::{self, VirtualMachine},
    ids::CloudId,
    store::{
        acting::{self, MachineNote, Noted},
        cloud::Account,
    },
};

/// How often a machine is told to start before a person has to.
const STARTS_A_MACHINE: i64 = 5;
/// How often one run looks again: what a late stop hit is started once more.
const LOOKS_A_RUN: u32 = 2;

/// A machine that has been on its way for so long is a person's to look at: nothing else is done about its account meanwhile.
pub(super) const STUCK_AFTER: Duration = Duration::from_hours(24);

/// What a noted machine needs.
enum Need {
    /// It has to be started.
    Start(CloudId),
    /// It is on its way.
    Wait,
    /// Nothing more.
    Settled,
}

impl Actor<'_> {
    /// Starts the noted machines. Gives what has to be waited for.
    pub(super) async fn start_machines(
        &self,
        intent: &Intent,
        account: &Account,
        read: &cloudstack::Account,
        patience: Duration,
    ) -> Result<Option<String>, Error> {
        let mut refused = Vec::new();
        for look in 0..LOOKS_A_RUN {
            // What runs at the first look is looked at again before it counts as back: a stop that came late may still hit it.
            let (to_start, waiting) = self.look(intent, account, read, look > 0).await?;
            if look == 0 && to_start.is_empty() {
                continue;
            }
            // What CloudStack declined in this run is asked for again in the next.
            let to_start: Vec<(MachineNote, CloudId)> =
                to_start.into_iter().filter(|(note, _)| !refused.iter().any(|(id, _)| *id == note.id)).collect();
            if to_start.is_empty() {
                let why: Vec<String> = refused.iter().map(|(_, why): &(i64, String)| why.clone()).collect();
                return Ok(if waiting > 0 {
                    Some(format!("{waiting} machines are on their way, or wait for their project"))
                } else if why.is_empty() {
                    None
                } else {
                    Some(why.join("; "))
                });
            }
            for chunk in to_start.chunks(self.enforcer.settings.starts_at_once.max(1)) {
                // A machine takes its time to start, and somebody may lock the account while the first ones do.
                if let Some(why) = self.closed_meanwhile(account).await? {
                    return Ok(Some(why));
                }
                refused.extend(self.start_together(intent, chunk, patience).await?);
            }
        }
        let (to_start, waiting) = self.look(intent, account, read, true).await?;
        let open = to_start.len().saturating_add(waiting);
        Ok((open > 0).then(|| {
            let why: Vec<String> = refused.into_iter().map(|(_, why)| why).collect();
            format!("{open} machines are not running yet {}", why.join("; "))
        }))
    }

    /// Looks at every noted machine: settles what is done, what runs only where that `counts`, gives what has to be started and how
    /// many are on their way.
    async fn look(
        &self,
        intent: &Intent,
        account: &Account,
        read: &cloudstack::Account,
        counts: bool,
    ) -> Result<(Vec<(MachineNote, CloudId)>, usize), Error> {
        let mut tx = self.enforcer.store.read().await?;
        let notes = acting::list_machine_notes(&mut tx, Some(account.id)).await?;
        let suspended = acting::list_project_notes(&mut tx, Some(account.id)).await?;
        tx.commit().await?;
        // In a project that is not active yet nothing starts, and what has gone on running in it CloudStack's clean-up still stops.
        let waits = |note: &MachineNote| suspended.iter().any(|project| project.project_id == note.project_id);
        let (waiting, notes): (Vec<MachineNote>, Vec<MachineNote>) = notes.into_iter().partition(waits);
        let mut waiting = waiting.len();
        if notes.is_empty() {
            return Ok((Vec::new(), waiting));
        }
        let mut projects: Vec<String> = notes.iter().map(|note| note.project_id.clone()).collect();
        projects.sort();
        projects.dedup();
        projects.retain(|project| !project.is_empty());
        // What is missing in it is looked up one by one.
        let (listed, _) = self.machines_as_listed(read, &projects).await?;
        let mut to_start = Vec::new();
        for note in notes {
            match self.need_of(intent, &note, (read, &listed), counts).await? {
                Need::Start(id) => to_start.push((note, id)),
                Need::Wait => waiting = waiting.saturating_add(1),
                Need::Settled => {}
            }
        }
        Ok((to_start, waiting))
    }

    async fn need_of(
        &self,
        intent: &Intent,
        note: &MachineNote,
        (read, listed): (&cloudstack::Account, &[Listed]),
        counts: bool,
    ) -> Result<Need, Error> {
        let machine = match listed.iter().find(|listed| listed.machine.id.to_string() == note.vm_id) {
            Some(found) => found.machine.clone(),
            None => match self.look_elsewhere(note).await? {
                Some(machine) if is_where_it_was(&machine, note, read) => machine,
                Some(machine) => {
                    let owner = machine.account.unwrap_or_else(|| "a project".to_owned());
                    let why = format!("it belongs to {owner} now and is {}; it was left", machine.state);
                    return self.settle(note, "moved", Some(&why)).await;
                }
                None => return self.settle(note, "gone", Some("it was deleted meanwhile")).await,
            },
        };
        match machine.state.as_str() {
            "Running" if counts => self.settle(note, "running", None).await,
            "Running" => Ok(Need::Wait),
            // A backup that is played back ends in a stopped machine.
            "Starting" | "Migrating" | "Stopping" | "Restoring"
                if self.client.server_now().since(intent.created) < STUCK_AFTER =>
            {
                Ok(Need::Wait)
            }
            "Stopped" if note.starts < STARTS_A_MACHINE => Ok(Need::Start(machine.id)),
            "Stopped" => self.settle(note, "failed", Some("it can not be started; start it by hand")).await,
            other => {
                let why = format!("it is in state {other}");
                self.settle(note, "gone", Some(&why)).await
            }
        }
    }

    /// Not in the lists of the account and its projects: deleted, moved to somebody else, or overlooked, since lists shift while they
    /// are read.
    async fn look_elsewhere(&self, note: &MachineNote) -> Result<Option<VirtualMachine>, Error> {
        match note.vm_id.parse() {
            Ok(id) => Ok(self.client.get_virtual_machine(id).await?),
            Err(_) => Ok(None),
        }
    }

    async fn settle(&self, note: &MachineNote, state: &str, outcome: Option<&str>) -> Result<Need, Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        acting::put_state(&mut tx, (Noted::Machine, note.id), state, outcome, Some(now)).await?;
        tx.commit().await?;
        Ok(Need::Settled)
    }

    /// Starts a few machines side by side. Gives those that did not start, with the reason.
    async fn start_together(
        &self,
        intent: &Intent,
        chunk: &[(MachineNote, CloudId)],
        patience: Duration,
    ) -> Result<Vec<(i64, String)>, Error> {
        let acts: Vec<Act> = chunk.iter().map(|(_, id)| Act::StartMachine(*id)).collect();
        let ends = self.perform_together(&intent.id, &acts, "Stopped", patience).await?;
        let mut refused = Vec::new();
        for ((note, _), end) in chunk.iter().zip(ends) {
            let mut tx = self.write().await?;
            // Only what CloudStack answered is a try: a machine is not given up because answers were lost, or looked for again.
            if matches!(end, CallEnd::Ended(_) | CallEnd::Refused(_)) {
                acting::count_start(&mut tx, note.id).await?;
            }
            let why = match end {
                CallEnd::Ended(why) if why.is_empty() => {
                    tx.commit().await?;
                    continue;
                }
                // It never arrived: the next look begins it anew.
                CallEnd::NeverWas => continue,
                CallEnd::Ended(why) | CallEnd::Refused(why) | CallEnd::NotNow(why) | CallEnd::Unknown(why) => why,
            };
            let why = format!("{} was not started: {why}", note.name);
            acting::put_state(&mut tx, (Noted::Machine, note.id), &note.state, Some(&why), None).await?;
            tx.commit().await?;
            refused.push((note.id, why));
        }
        Ok(refused)
    }
}

/// Whether a machine still belongs to the account or project that it was stopped with.
fn is_where_it_was(machine: &VirtualMachine, note: &MachineNote, read: &cloudstack::Account) -> bool {
    match machine.project_id {
        Some(project) => project.to_string() == note.project_id,
        None => {
            note.project_id.is_empty()
                && machine.account.as_ref() == Some(&read.name)
                && machine.domain_id == Some(read.domain_id)
        }
    }
}
