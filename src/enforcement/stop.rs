//! Stopping an account that is locked: it is disabled, its projects are suspended, and what ran is noted first, so that
//! a restore brings back exactly that (design 7.11).

use std::{collections::BTreeSet, time::Duration};

use super::{
    act::{Actor, Done, Drive, End, Intent, cloud_id},
    calls::{Act, CallEnd},
    machines::{Listed, name_of},
    run::Error,
    start::STUCK_AFTER,
};
use crate::{
    cloudstack::{self, AccountState},
    store::{
        acting::{self, MachineNote, Noted, ProjectNote},
        cloud::Account,
        enforcement as rows,
    },
};

/// How often a machine that goes on running in a stopped account is told to stop.
const STOPS_A_MACHINE: usize = 5;
/// Machines that are told to stop side by side.
const STOPS_AT_ONCE: usize = 10;

/// The machines of an account that is being stopped.
#[derive(Default)]
struct Compared {
    /// They run.
    running: Vec<Listed>,
    /// They are on their way down, and run on where that fails.
    stopping: Vec<Listed>,
}

impl Actor<'_> {
    /// Notes, disables, suspends projects, compares, and follows up what went on running.
    pub(super) async fn advance_stop(
        &self,
        intent: &Intent,
        account: &Account,
        (drive, patience): (Drive, Duration),
    ) -> Result<Done, Error> {
        let Some(read) = self.read_back(account).await? else {
            return self.give_up(intent, account, None, "it is no longer in CloudStack").await;
        };
        let disable = Act::Disable(cloud_id(account)?);
        let asked = self.last_call(&intent.id, &disable).await?;
        if asked.is_none() {
            if drive == Drive::Conclude {
                return Ok(Done::Started("it was not begun; the decision is taken anew".to_owned()));
            }
            if read.state != AccountState::Locked {
                let why = format!("it is {}, so bursar does not stop it", read.state.as_str());
                return self.give_up(intent, account, Some(read.state.as_str()), &why).await;
            }
            self.note_running(intent, account, &read).await?;
        }
        if asked.is_none_or(|call| call.state == "open") {
            match self.perform(&intent.id, &disable, Some(&intent.state_before), patience).await? {
                CallEnd::Unknown(why) => return Ok(Done::Started(format!("{why}; the next run looks again"))),
                CallEnd::Refused(why) | CallEnd::NotNow(why) => {
                    return self.stop_given_up(intent, account, None, &why).await;
                }
                CallEnd::Ended(_) | CallEnd::NeverWas => {}
            }
        }
        // What counts is the state as read back: a failed job has mostly disabled the account all the same.
        let Some(read) = self.read_back(account).await? else {
            return self.give_up(intent, account, None, "it is no longer in CloudStack").await;
        };
        let held = self.billing_hold(account.id).await?.is_some_and(|hold| hold.rung == "stop");
        let call = self.last_call(&intent.id, &disable).await?.map(|call| call.state).unwrap_or_default();
        // Enabled before bursar saw what came of its call: its machines were stopped all the same, and are to come back.
        // CloudStack forgets its jobs after a day, and its events later.
        let is_enabled = read.state == AccountState::Enabled;
        let did = call == "done"
            || is_enabled
                && (call == "failed" || call == "lost" && self.suspended_by_us(account, intent.created).await?);
        if read.state != AccountState::Disabled && (held || did) {
            let outcome = "disabled for billing, and enabled by somebody else since";
            self.finish(intent, account, End { worked: true, state_after: Some(read.state.as_str()), outcome }).await?;
            return Ok(Done::Yes);
        }
        if read.state != AccountState::Disabled {
            let why = format!("it was not disabled: it is {}", read.state.as_str());
            return self.stop_given_up(intent, account, Some(read.state.as_str()), &why).await;
        }
        if call == "lost" && !self.suspended_by_us(account, intent.created).await? {
            let outcome = "somebody else disabled it";
            self.stop_given_up(intent, account, Some("disabled"), outcome).await?;
            return Ok(Done::Left(outcome.to_owned()));
        }
        self.own_the_stop(intent, account).await?;
        if drive == Drive::Conclude {
            // What was sent to projects and machines ends too, so that a restore does not wait behind it for ever.
            if let Some(why) = self.conclude_calls(&intent.id, patience).await? {
                return Ok(Done::Started(format!("{why}; the next run looks again")));
            }
            if self.is_unfinished(intent, account, &read).await? {
                return Ok(Done::Started("its projects and machines are followed up".to_owned()));
            }
        }
        if drive == Drive::End {
            return self.leave_the_rest(intent, account, &read, patience).await;
        }
        if let Some(why) = self.suspend_projects(intent, account, patience).await? {
            return Ok(Done::Started(format!("{why}; the next run looks again")));
        }
        let Compared { running: mut still_running, stopping } =
            self.follow_up(intent, account, &read, patience).await?;
        if !still_running.is_empty() {
            if !self.tried_enough(intent, &still_running).await? {
                return Ok(Done::Started(format!("still running: {}; the next run stops them", names(&still_running))));
            }
            tracing::warn!(account = %account.full_name(), machines = %names(&still_running), "machines of a stopped account can not be stopped");
        }
        if !stopping.is_empty() {
            if self.may_still_stop(intent) {
                return Ok(Done::Started(format!("still stopping: {}; the next run looks again", names(&stopping))));
            }
            still_running.extend(stopping);
        }
        let outcome = self.stop_in_words(account, &still_running).await?;
        self.finish(intent, account, End { worked: true, state_after: Some("disabled"), outcome: &outcome }).await?;
        Ok(Done::Yes)
    }

    /// Notes every machine that runs and every project that is active, in one commit, before anything is stopped. What an earlier
    /// try of this stop noted, and what does not run any more by now, is not bursar's to start.
    async fn note_running(&self, intent: &Intent, account: &Account, read: &cloudstack::Account) -> Result<(), Error> {
        let projects = self.active_projects(account, &read.name).await?;
        let ids: Vec<String> = projects.iter().map(|project| project.id.to_string()).collect();
        let listed = self.list_machines(read, &ids).await?;
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        for project in &projects {
            let note = ProjectNote {
                id: 0,
                account_id: account.id,
                project_id: project.id.to_string(),
                name: project.name.clone(),
                intent_id: intent.id.clone(),
                state: "noted".to_owned(),
                outcome: None,
            };
            acting::note_project(&mut tx, &note, now).await?;
        }
        let ended = Some("it had ended by itself before the account was stopped");
        for note in acting::list_project_notes(&mut tx, Some(account.id)).await? {
            if note.intent_id == intent.id && !ids.contains(&note.project_id) {
                acting::put_state(&mut tx, (Noted::Project, note.id), "left", ended, Some(now)).await?;
            }
        }
        let running: Vec<&Listed> = listed.iter().filter(|listed| listed.machine.is_running()).collect();
        for note in acting::list_machine_notes(&mut tx, Some(account.id)).await? {
            let runs = running.iter().any(|listed| listed.machine.id.to_string() == note.vm_id);
            if note.intent_id == intent.id && !runs {
                acting::put_state(&mut tx, (Noted::Machine, note.id), "left", ended, Some(now)).await?;
            }
        }
        let mut position = acting::count_machine_notes(&mut tx, account.id).await?;
        for listed in running {
            position = position.saturating_add(1);
            acting::note_machine(&mut tx, &note_of(intent, account, listed, position), now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Ends a stop as far as it came: what was sent is concluded, and what it did not reach stays as it is.
    async fn leave_the_rest(
        &self,
        intent: &Intent,
        account: &Account,
        read: &cloudstack::Account,
        patience: Duration,
    ) -> Result<Done, Error> {
        if let Some(why) = self.conclude_calls(&intent.id, patience).await? {
            return Ok(Done::Started(format!("{why}; the next run looks again")));
        }
        let mut tx = self.enforcer.store.read().await?;
        let notes = acting::list_project_notes(&mut tx, Some(account.id)).await?;
        let calls = acting::list_calls(&mut tx, &intent.id).await?;
        tx.commit().await?;
        for note in notes.iter().filter(|note| note.state == "noted") {
            let Ok(id) = note.project_id.parse() else { continue };
            let was_asked = calls.iter().any(|call| call.command == "suspendProject" && call.target == note.project_id);
            match self.client.get_project(id).await? {
                None => self.put_project(note, "gone", "it is no longer in CloudStack", true).await?,
                Some(read) if was_asked && read.state.as_deref() == Some("Suspended") => {
                    self.put_project(note, "suspended", "", false).await?;
                }
                Some(_) => self.put_project(note, "left", "somebody else suspended the account too", true).await?,
            }
        }
        let running = self.compare(intent, account, read).await?.running;
        let words = self.stop_in_words(account, &running).await?;
        let outcome = format!("{words}; left so, since somebody else suspended the account too");
        self.finish(intent, account, End { worked: true, state_after: Some("disabled"), outcome: &outcome }).await?;
        Ok(Done::Yes)
    }

    /// From here on the account is stopped by us, whatever comes: a restore knows it from the hold.
    async fn own_the_stop(&self, intent: &Intent, account: &Account) -> Result<(), Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        rows::raise_hold(&mut tx, account.id, "stop", "disabled for billing", &intent.id, now).await?;
        // Told once, and not only when its last machine is down.
        self.tell_tenant(&mut tx, intent, account, "stopped").await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether projects or machines are still to be followed up. What has stopped is marked on the way.
    async fn is_unfinished(
        &self,
        intent: &Intent,
        account: &Account,
        read: &cloudstack::Account,
    ) -> Result<bool, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let projects = acting::list_project_notes(&mut tx, Some(account.id)).await?;
        tx.commit().await?;
        let Compared { running, stopping } = self.compare(intent, account, read).await?;
        let waits = !stopping.is_empty() && self.may_still_stop(intent);
        Ok(!running.is_empty() || waits || projects.iter().any(|note| note.state == "noted"))
    }

    /// Whether a machine that is on its way down is waited for: CloudStack lets it run on where stopping it fails.
    fn may_still_stop(&self, intent: &Intent) -> bool {
        self.client.server_now().since(intent.created) < STUCK_AFTER
    }

    /// A stop that nobody wants any more and that was never begun.
    pub(super) async fn end_stop(&self, intent: &Intent, account: &Account) -> Result<Option<Done>, Error> {
        if self.last_call(&intent.id, &Act::Disable(cloud_id(account)?)).await?.is_some() {
            return Ok(None);
        }
        self.stop_given_up(intent, account, None, "no longer wanted").await.map(Some)
    }

    /// Suspends the noted projects. Gives what has to be waited for.
    async fn suspend_projects(
        &self,
        intent: &Intent,
        account: &Account,
        patience: Duration,
    ) -> Result<Option<String>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let notes = acting::list_project_notes(&mut tx, Some(account.id)).await?;
        tx.commit().await?;
        for note in notes.iter().filter(|note| note.state == "noted") {
            let Ok(id) = note.project_id.parse() else { continue };
            let act = Act::SuspendProject(id);
            let asked = self.last_call(&intent.id, &act).await?;
            let mut refused = String::new();
            if asked.is_none_or(|call| call.state == "open" || call.state == "lost") {
                let mut end = self.perform(&intent.id, &act, Some("Active"), patience).await?;
                if end == CallEnd::NeverWas {
                    // It never arrived, and can not any more.
                    end = self.perform(&intent.id, &act, Some("Active"), patience).await?;
                }
                match end {
                    CallEnd::Unknown(why) | CallEnd::NotNow(why) => {
                        return Ok(Some(format!("project {}: {why}", note.name)));
                    }
                    CallEnd::Refused(why) | CallEnd::Ended(why) => refused = why,
                    CallEnd::NeverWas => {}
                }
            }
            match self.client.get_project(id).await? {
                None => self.put_project(note, "gone", "it is no longer in CloudStack", true).await?,
                Some(read) if read.state.as_deref() == Some("Suspended") => {
                    self.put_project(note, "suspended", "", false).await?;
                }
                Some(read) => {
                    let state = read.state.unwrap_or_default();
                    self.put_project(note, "left", &format!("it was not suspended ({state}) {refused}"), true).await?;
                }
            }
        }
        Ok(None)
    }

    pub(super) async fn put_project(
        &self,
        note: &ProjectNote,
        state: &str,
        outcome: &str,
        settled: bool,
    ) -> Result<(), Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        let words = Some(outcome).filter(|outcome| !outcome.is_empty());
        acting::put_state(&mut tx, (Noted::Project, note.id), state, words, settled.then_some(now)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Compares what runs with what was noted, and stops what went on running. Gives what runs still, and what is on its way down.
    async fn follow_up(
        &self,
        intent: &Intent,
        account: &Account,
        read: &cloudstack::Account,
        patience: Duration,
    ) -> Result<Compared, Error> {
        let before = self.compare(intent, account, read).await?;
        if before.running.is_empty() {
            return Ok(before);
        }
        for chunk in before.running.chunks(STOPS_AT_ONCE) {
            let mut acts = Vec::new();
            for listed in chunk {
                let act = Act::StopMachine(listed.machine.id);
                if self.count_calls(&intent.id, &act).await? < STOPS_A_MACHINE {
                    acts.push(act);
                }
            }
            self.perform_together(&intent.id, &acts, "Running", patience).await?;
        }
        self.compare(intent, account, read).await
    }

    /// Marks what has stopped, notes what was started meanwhile, and gives what runs still, and what is on its way down.
    async fn compare(&self, intent: &Intent, account: &Account, read: &cloudstack::Account) -> Result<Compared, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let notes = acting::list_machine_notes(&mut tx, Some(account.id)).await?;
        let projects = acting::list_project_notes(&mut tx, Some(account.id)).await?;
        tx.commit().await?;
        let suspended: BTreeSet<String> =
            projects.into_iter().filter(|note| note.state == "suspended").map(|note| note.project_id).collect();
        let listed = self.list_machines(read, &suspended.into_iter().collect::<Vec<_>>()).await?;
        let now = self.enforcer.clock.now();
        let mut compared = Compared::default();
        let mut tx = self.write().await?;
        let mut position = acting::count_machine_notes(&mut tx, account.id).await?;
        for found in listed {
            let noted = notes.iter().find(|note| note.vm_id == found.machine.id.to_string());
            if found.machine.is_running() {
                if noted.is_none() {
                    position = position.saturating_add(1);
                    acting::note_machine(&mut tx, &note_of(intent, account, &found, position), now).await?;
                }
                compared.running.push(found);
            } else if found.machine.state == "Stopping" {
                compared.stopping.push(found);
            } else if let Some(noted) = noted.filter(|note| note.state == "noted")
                && found.machine.state == "Stopped"
            {
                acting::put_state(&mut tx, (Noted::Machine, noted.id), "stopped", None, None).await?;
            }
        }
        tx.commit().await?;
        Ok(compared)
    }

    async fn tried_enough(&self, intent: &Intent, running: &[Listed]) -> Result<bool, Error> {
        for listed in running {
            if self.count_calls(&intent.id, &Act::StopMachine(listed.machine.id)).await? < STOPS_A_MACHINE {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The stop did not come about: what was noted for it has no object.
    async fn stop_given_up(
        &self,
        intent: &Intent,
        account: &Account,
        state: Option<&str>,
        why: &str,
    ) -> Result<Done, Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        let own = |id: &str| id == intent.id;
        for note in acting::list_machine_notes(&mut tx, Some(account.id)).await? {
            if own(&note.intent_id) {
                acting::put_state(
                    &mut tx,
                    (Noted::Machine, note.id),
                    "left",
                    Some("the account was not stopped"),
                    Some(now),
                )
                .await?;
            }
        }
        for note in acting::list_project_notes(&mut tx, Some(account.id)).await? {
            if own(&note.intent_id) {
                acting::put_state(
                    &mut tx,
                    (Noted::Project, note.id),
                    "left",
                    Some("the account was not stopped"),
                    Some(now),
                )
                .await?;
            }
        }
        tx.commit().await?;
        self.give_up(intent, account, state, why).await
    }

    async fn stop_in_words(&self, account: &Account, still_running: &[Listed]) -> Result<String, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let machines = acting::list_machine_notes(&mut tx, Some(account.id)).await?;
        let projects = acting::list_project_notes(&mut tx, Some(account.id)).await?;
        tx.commit().await?;
        let stopped = machines.iter().filter(|note| note.state == "stopped").count();
        let suspended = projects.iter().filter(|note| note.state == "suspended").count();
        let mut words = format!("disabled for billing: {stopped} machines stopped, {suspended} projects suspended");
        if !still_running.is_empty() {
            words.push_str(&format!("; still running, stop them by hand: {}", names(still_running)));
        }
        Ok(words)
    }
}

fn note_of(intent: &Intent, account: &Account, listed: &Listed, position: i64) -> MachineNote {
    MachineNote {
        id: 0,
        account_id: account.id,
        project_id: listed.project.clone(),
        vm_id: listed.machine.id.to_string(),
        name: name_of(&listed.machine),
        position,
        intent_id: intent.id.clone(),
        state: "noted".to_owned(),
        starts: 0,
        outcome: None,
    }
}

fn names(listed: &[Listed]) -> String {
    listed.iter().map(|listed| name_of(&listed.machine)).collect::<Vec<_>>().join(", ")
}
