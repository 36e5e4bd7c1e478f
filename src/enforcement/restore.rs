//! Giving back what bursar took (design 7.11, 7.12): the account is enabled first, then its limits come back, its projects are
//! activated, and exactly those machines are started again that the stop had stopped.
//!
//! Promises: only what bursar suspended is enabled, and only where nobody else wants it suspended; each row of what was changed is
//! settled by itself, so that a restore goes on after a crash at any line; what somebody else changed meanwhile is left, and said.

use std::time::Duration;

use super::{
    act::{Actor, Done, EVENT_TOLERANCE, End, INTENTS_LOOKED_AT, Intent, cloud_id},
    calls::{Act, CallEnd, LOOK_IS_OLD, look_is_of_now},
    others::{MOST_EVENTS, OUTSIDE},
    plan::PlannedAccount,
    restrict::{limit_owner, owners_of},
    run::Error,
};
use crate::{
    cloudstack::{self, AccountState, User},
    ids::DecisionId,
    store::{
        acting::{self, LimitChange, Noted, ProjectNote},
        cloud::{self, Account},
        enforcement::{self as rows, HoldRow, IntentRow},
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// How often a limit or project that CloudStack declines to bring back is tried before a person has to.
const TRIES: usize = 5;

/// The state of a lowered limit whose project is not active, and left so: CloudStack sets none of such a one.
const WAITING: &str = "waiting";

/// What still has to be brought back of an account.
pub(super) struct Leftovers {
    /// Limits that can be brought back.
    limits: usize,
    /// Projects whose limits come back once somebody has activated them.
    waiting: Vec<String>,
    projects: usize,
    machines: usize,
}

impl Leftovers {
    /// Whether nothing is left that a restore could bring back now.
    const fn is_none(&self) -> bool {
        self.limits == 0 && self.projects == 0 && self.machines == 0
    }
}

/// The decision behind a way up.
enum Behind {
    /// The run's.
    Decided(DecisionId),
    /// Not the run's: a word and a sentence. It is written once there is something to give back, since tenants read it.
    ByHand(&'static str, String),
}

impl Actor<'_> {
    /// Begins a way up. None: something else is under way.
    async fn begin_up(
        &self,
        account: &Account,
        behind: Behind,
        state: &str,
        who: Option<&str>,
    ) -> Result<Option<Intent>, Error> {
        let decision = match behind {
            Behind::Decided(decision) => decision,
            Behind::ByHand(..) if self.open_intent(account.id).await?.is_some() => return Ok(None),
            Behind::ByHand(reason, sentence) => self.decide_by_hand(account, reason, sentence).await?,
        };
        self.begin(account, decision, "restore", state, who).await
    }

    /// Opens an account that bursar suspended, if nobody else wants it suspended.
    pub async fn restore(&self, planned: &PlannedAccount, decision: DecisionId) -> Result<Done, Error> {
        if let Some(why) = self.may_call().await? {
            return Ok(Done::No(why.to_owned()));
        }
        Box::pin(self.open_again(&planned.account, Behind::Decided(decision), None)).await
    }

    /// Opens an account on a person's word, whatever its figures; never past somebody else's hold. `reason` is a word for the
    /// decision, `who` stands in the audit trail.
    pub async fn give_back(
        &self,
        account: &Account,
        reason: &'static str,
        sentence: String,
        who: &str,
    ) -> Result<Done, Error> {
        Box::pin(self.open_again(account, Behind::ByHand(reason, sentence), Some(who))).await
    }

    /// Goes on with a restore whose enabling was lost, given up, and arrived all the same: bursar opened the account, nobody else did,
    /// and everything that goes with it comes back. None: it was not so.
    pub(super) async fn opened_late(&self, account: &Account) -> Result<Option<Done>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let holds = rows::list_holds(&mut tx, Some(account.id)).await?;
        let intents = rows::list_intents(&mut tx, Some(account.id), INTENTS_LOOKED_AT).await?;
        let newest = intents.iter().find(|intent| intent.state != "open");
        let calls = match newest {
            Some(intent) if intent.action == "restore" => acting::list_calls(&mut tx, &intent.id).await?,
            _ => Vec::new(),
        };
        tx.commit().await?;
        let was_lost = calls.iter().any(|call| call.command == "enableAccount" && call.state == "lost");
        let (Some(restore), [hold]) = (newest.filter(|_| was_lost), holds.as_slice()) else { return Ok(None) };
        if !self.was_enabled_by_us(account, hold, Timestamp::from_ms(restore.created_ms)).await? {
            return Ok(None);
        }
        let sentence = "Your account was opened again.".to_owned();
        Ok(Some(Box::pin(self.open_again(account, Behind::ByHand("opened-late", sentence), None)).await?))
    }

    async fn open_again(&self, account: &Account, behind: Behind, who: Option<&str>) -> Result<Done, Error> {
        let looked = self.enforcer.clock.now();
        let mut tx = self.enforcer.store.read().await?;
        let holds = rows::list_holds(&mut tx, Some(account.id)).await?;
        let intents = rows::list_intents(&mut tx, Some(account.id), INTENTS_LOOKED_AT).await?;
        tx.commit().await?;
        let Some(hold) = holds.iter().find(|hold| hold.owner == "billing") else {
            let left = self.leftovers(account).await?;
            if holds.is_empty() && (!left.is_none() || self.one_is_active(&left.waiting).await?) {
                return self.bring_back_the_rest(account, behind, who).await;
            }
            if let Some(waits) = self.limits_that_wait(account).await? {
                return Ok(Done::Left(waits));
            }
            if let (Some(other), false) = (holds.first(), left.is_none()) {
                let why = format!("held by {}; what bursar changed of it comes back once that is lifted", other.owner);
                return Ok(Done::Left(why));
            }
            return Ok(Done::No("bursar did not suspend it".to_owned()));
        };
        if holds.len() > 1 {
            return Ok(Done::Left("somebody else wants it suspended too".to_owned()));
        }
        let Some(read) = self.read_back(account).await? else {
            return Ok(Done::No("it is no longer in CloudStack".to_owned()));
        };
        if read.state != AccountState::Enabled
            && hold.rung != "restrict"
            && let Some(done) = self.suspended_by_others_too(account, hold, &intents, who.is_some()).await?
        {
            return Ok(done);
        }
        let state = read.state.as_str();
        if hold.rung == "restrict" && read.state != AccountState::Enabled {
            let why = format!("it is {state}, by somebody else; its limits come back once it is enabled");
            return Ok(Done::Left(why));
        }
        if read.state == AccountState::Enabled && self.leftovers(account).await?.is_none() {
            self.drop_hold(account, who).await?;
            return Ok(Done::Yes);
        }
        self.end_a_stop_that_only_follows_up(account, hold, &intents).await?;
        if !look_is_of_now(looked, self.enforcer.clock.now()) {
            return Ok(Done::No(LOOK_IS_OLD.to_owned()));
        }
        let Some(intent) = self.begin_up(account, behind, state, who).await? else {
            return Ok(Done::Started("an earlier action on it is not finished".to_owned()));
        };
        self.advance_restore(&intent, account, self.enforcer.settings.intent_deadline).await
    }

    /// Brings back what is left over of an account that nobody holds any more.
    async fn bring_back_the_rest(&self, account: &Account, behind: Behind, who: Option<&str>) -> Result<Done, Error> {
        let state = self.read_back(account).await?.map(|read| read.state);
        if let Some(state) = state.as_ref().filter(|state| **state != AccountState::Enabled) {
            return Ok(Done::Left(format!("it is {}; the rest comes back once it is enabled", state.as_str())));
        }
        let before = state.as_ref().map_or("gone", AccountState::as_str);
        let Some(intent) = self.begin_up(account, behind, before, who).await? else {
            return Ok(Done::Started("an earlier action on it is not finished".to_owned()));
        };
        self.advance_restore(&intent, account, self.enforcer.settings.intent_deadline).await
    }

    /// Why the account is not bursar's to open: somebody else suspended it too, or nobody can tell.
    async fn suspended_by_others_too(
        &self,
        account: &Account,
        hold: &HoldRow,
        intents: &[IntentRow],
        ordered: bool,
    ) -> Result<Option<Done>, Error> {
        let Some(own) = &self.own_name else {
            return Ok(Some(Done::No("bursar can not tell its own name in CloudStack, so it can not tell its lock from another; enable it by hand".to_owned())));
        };
        let begun = Self::locked_under(hold, intents);
        if !ordered && let Some(why) = self.events_are_missing(begun).await? {
            return Ok(Some(Done::No(why)));
        }
        Ok(match self.is_suspended_by_others(account, own, begun).await? {
            // A person who orders it has looked.
            None if ordered => None,
            None => Some(Done::No(format!(
                "CloudStack's events can not be read, or not to their end (more than {MOST_EVENTS} of one kind), so nobody knows whether an administrator locked it too; enable it by hand, or allow listEvents if it is not allowed"
            ))),
            Some(true) => {
                self.note_hold_of_others(hold).await?;
                Some(Done::Left(
                    "somebody else locked it too, in CloudStack; that is not bursar's to undo: once it is enabled there, bursar brings back the rest"
                        .to_owned(),
                ))
            }
            Some(false) => None,
        })
    }

    /// A stop that has done its part and only follows up machines gives way to the restore.
    async fn end_a_stop_that_only_follows_up(
        &self,
        account: &Account,
        hold: &HoldRow,
        intents: &[IntentRow],
    ) -> Result<(), Error> {
        let Some(open) = intents.iter().find(|intent| intent.state == "open" && intent.action == "stop") else {
            return Ok(());
        };
        let mut tx = self.enforcer.store.read().await?;
        let calls = acting::list_calls(&mut tx, &open.id).await?;
        tx.commit().await?;
        let mut under_way = false;
        for call in calls.iter().filter(|call| call.state == "open") {
            under_way = under_way || !self.is_on_its_way_down(call).await?;
        }
        if hold.rung == "stop" && !under_way {
            let end = End { worked: true, state_after: None, outcome: "stopped, and opened again" };
            self.finish(&Intent::from(open), account, end).await?;
        }
        Ok(())
    }

    /// Whether a call stops a machine that does not run any more, or is stopping: nobody waits for the end of its job, since a machine on
    /// its way down is started once it has stopped.
    async fn is_on_its_way_down(&self, call: &acting::CallRow) -> Result<bool, Error> {
        let (true, Ok(machine)) = (call.command == "stopVirtualMachine", call.target.parse()) else { return Ok(false) };
        Ok(self.client.get_virtual_machine(machine).await?.is_none_or(|machine| !machine.is_running()))
    }

    /// Enables, puts limits back, activates projects and starts machines, as far as it comes.
    pub(super) async fn advance_restore(
        &self,
        intent: &Intent,
        account: &Account,
        patience: Duration,
    ) -> Result<Done, Error> {
        let Some(mut read) = self.read_back(account).await? else {
            self.settle_all(account, "gone", "its account is no longer in CloudStack").await?;
            return self.give_up(intent, account, None, "it is no longer in CloudStack").await;
        };
        if read.state != AccountState::Enabled {
            let act = Act::Enable(cloud_id(account)?);
            if self.billing_hold(account.id).await?.is_none() {
                // Opened once, and suspended again by somebody else since, for who knows how long: what is left over is looked at in
                // every run.
                let state = read.state.as_str();
                let why = format!("opened, and {state} again by somebody else; the rest comes back once it is enabled");
                let outcome = format!("opened, and {state} again by somebody else, so not everything is back");
                self.finish(intent, account, End { worked: true, state_after: Some(state), outcome: &outcome }).await?;
                return Ok(Done::Started(why));
            }
            if self.last_call(&intent.id, &act).await?.is_some_and(|call| call.state != "open") {
                // It was sent once, and the account is not open: perhaps somebody suspended it since. That is decided anew.
                let why = "it is not enabled; the decision is taken anew";
                return self.give_up(intent, account, Some(read.state.as_str()), why).await;
            }
            if read.state.as_str() != intent.state_before {
                if let Some(open) = self.last_call(&intent.id, &act).await?.filter(|call| call.state == "open") {
                    self.close_call(open.id, "lost", "its answer was never seen").await?;
                }
                let why = format!(
                    "it was {} and is {} now; the decision is taken anew",
                    intent.state_before,
                    read.state.as_str()
                );
                return self.give_up(intent, account, Some(read.state.as_str()), &why).await;
            }
            match self.perform(&intent.id, &act, Some(read.state.as_str()), patience).await? {
                CallEnd::Refused(why) | CallEnd::NotNow(why) => return self.give_up(intent, account, None, &why).await,
                CallEnd::Ended(_) | CallEnd::NeverWas | CallEnd::Unknown(_) => {}
            }
            // Synchronous: the state read back tells whether it happened.
            let Some(after) = self.read_back(account).await? else {
                return self.give_up(intent, account, None, "it is no longer in CloudStack").await;
            };
            if after.state != AccountState::Enabled {
                let why = "it was not enabled; the next run tries again";
                return self.give_up(intent, account, Some(after.state.as_str()), why).await;
            }
            read = after;
        }
        if self.is_locked_by_others_in_cloudstack(account).await? {
            // A call of bursar's that was on its way while they did has opened it: nothing more is undone.
            if let Some(open) = self.last_call(&intent.id, &Act::Enable(cloud_id(account)?)).await?
                && open.state == "open"
            {
                self.close_call(open.id, "done", "it arrived late").await?;
            }
            let outcome = "opened by a call that was sent before somebody else suspended it; look at it in CloudStack";
            return self.leave_to_others(intent, account, Some("enabled"), outcome).await;
        }
        self.free(intent, account).await?;
        let mut waits: Vec<String> = self.restore_limits(intent, account, &read).await?.into_iter().collect();
        waits.extend(self.activate_projects(intent, account, patience).await?);
        // Limits of projects can be set once these are active.
        waits.extend(self.restore_limits(intent, account, &read).await?);
        waits.extend(self.start_machines(intent, account, &read, patience).await?);
        if !self.leftovers(account).await?.is_none() {
            waits.dedup();
            let why = if waits.is_empty() { "not everything is back yet".to_owned() } else { waits.join("; ") };
            return Ok(Done::Started(why));
        }
        let mut outcome = self.restored_in_words(intent, account).await?;
        if intent.state_before != AccountState::Enabled.as_str() {
            outcome.push_str(&who_can_not_sign_in(&read.users));
        }
        if let Some(waits) = self.limits_that_wait(account).await? {
            outcome.push_str(&format!("; {waits}"));
        }
        self.finish(intent, account, End { worked: true, state_after: Some("enabled"), outcome: &outcome }).await?;
        Ok(Done::Yes)
    }

    /// Whether bursar holds the account and has seen somebody else suspend it in CloudStack too.
    async fn is_locked_by_others_in_cloudstack(&self, account: &Account) -> Result<bool, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let holds = rows::list_holds(&mut tx, Some(account.id)).await?;
        tx.commit().await?;
        let ours = holds.iter().any(|hold| hold.owner == "billing");
        Ok(ours && holds.iter().any(|hold| hold.owner == "admin" && hold.placed_by == OUTSIDE))
    }

    /// The account is open: the hold goes, and the tenant is told, before the rest comes back.
    async fn free(&self, intent: &Intent, account: &Account) -> Result<(), Error> {
        let now = self.enforcer.clock.now();
        let by = intent.cause.as_deref().unwrap_or("bursar");
        let mut tx = self.write().await?;
        if rows::lift_hold(&mut tx, account.id, "billing", by, now).await? {
            self.tell_tenant(&mut tx, intent, account, "restored").await?;
            self.audit(&mut tx, intent, account, (Some(&intent.state_before), Some("enabled")), "opened again").await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Looks at the account once more before a call about it: somebody may have suspended or removed it since this run last looked, and then
    /// nothing further is done to it. None: it is enabled.
    pub(super) async fn closed_meanwhile(&self, account: &Account) -> Result<Option<String>, Error> {
        let read = self.read_back(account).await?;
        Ok(match read {
            None => Some("it is no longer in CloudStack".to_owned()),
            Some(read) if read.state == AccountState::Enabled => None,
            Some(read) => Some(format!("somebody else has {} it meanwhile", read.state.as_str())),
        })
    }

    /// The same before a limit is set. An account's own limits CloudStack guards itself: it finds only enabled accounts by their name
    /// (facts 4.4), and a project's it sets whatever became of the owner.
    pub(super) async fn limits_are_closed(
        &self,
        account: &Account,
        owner: &cloudstack::LimitOwner,
    ) -> Result<Option<String>, Error> {
        match owner {
            cloudstack::LimitOwner::Account { .. } => Ok(None),
            cloudstack::LimitOwner::Project(_) => self.closed_meanwhile(account).await,
        }
    }

    /// Puts back each limit that still is what the restriction made it, but for those of projects that wait to be activated:
    /// CloudStack declines them, and that would count as a try. Gives what has to be waited for.
    async fn restore_limits(
        &self,
        intent: &Intent,
        account: &Account,
        read: &cloudstack::Account,
    ) -> Result<Option<String>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let changes = acting::list_limit_changes(&mut tx, Some(account.id)).await?;
        let suspended = acting::list_project_notes(&mut tx, Some(account.id)).await?;
        tx.commit().await?;
        let mut waits = None;
        for owner in owners_of(&changes) {
            if suspended.iter().any(|note| note.project_id == owner) {
                continue;
            }
            let Some(named) = limit_owner(read, &owner) else { continue };
            if self.is_suspended_project(&named).await? {
                let why = "its project is not active; it comes back once that is";
                for change in changes.iter().filter(|change| change.project_id == owner && change.state != WAITING) {
                    self.put_limit(change, WAITING, Some(why), false).await?;
                }
                continue;
            }
            // Active by now: what waited for that is brought back like the rest, try by try.
            for change in changes.iter().filter(|change| change.project_id == owner && change.state == WAITING) {
                self.put_limit(change, "set", None, false).await?;
            }
            let Some(limits) = self.limits_now(&named).await? else {
                self.settle_limits(&changes, &owner, "gone", "it is no longer in CloudStack").await?;
                continue;
            };
            for change in changes.iter().filter(|change| change.project_id == owner) {
                let current = limits.get(&change.resource_type).copied();
                if let Some(why) = self.raise_again(intent, account, change, (&named, current)).await? {
                    waits = Some(why);
                }
            }
        }
        Ok(waits)
    }

    /// Whether these are the limits of a project that is there, and not active.
    async fn is_suspended_project(&self, owner: &cloudstack::LimitOwner) -> Result<bool, Error> {
        let cloudstack::LimitOwner::Project(id) = owner else { return Ok(false) };
        let read = self.client.get_project(*id).await?;
        Ok(read.is_some_and(|read| read.state.as_deref() != Some("Active")))
    }

    /// Which limits of an account come back once projects are active, as a sentence without its full stop.
    pub(super) async fn limits_that_wait(&self, account: &Account) -> Result<Option<String>, Error> {
        let waiting = self.leftovers(account).await?.waiting;
        if waiting.is_empty() {
            return Ok(None);
        }
        let mut tx = self.enforcer.store.read().await?;
        let known = cloud::list_projects(&mut tx).await?;
        tx.commit().await?;
        let name = |id: &String| {
            known
                .iter()
                .find(|project| project.cloud_id == *id)
                .map_or_else(|| id.clone(), |project| project.name.clone())
        };
        let names: Vec<String> = waiting.iter().map(name).collect();
        Ok(Some(format!("limits of the project {} come back once it is active in CloudStack", names.join(" and of "))))
    }

    /// Whether one of these projects is active by now, or gone.
    async fn one_is_active(&self, projects: &[String]) -> Result<bool, Error> {
        for project in projects.iter().filter_map(|id| id.parse().ok()) {
            if !self.is_suspended_project(&cloudstack::LimitOwner::Project(project)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn raise_again(
        &self,
        intent: &Intent,
        account: &Account,
        change: &LimitChange,
        (owner, current): (&cloudstack::LimitOwner, Option<i64>),
    ) -> Result<Option<String>, Error> {
        if current == Some(change.before_max) {
            self.put_limit(change, "restored", None, true).await?;
            return Ok(None);
        }
        if current != Some(change.set_max) {
            let now = current.map_or_else(|| "not listed any more".to_owned(), |max| max.to_string());
            let why = format!("somebody else changed it from {} to {now} meanwhile; it stays", change.set_max);
            self.put_limit(change, "left", Some(&why), true).await?;
            return Ok(None);
        }
        if let Some(why) = self.limits_are_closed(account, owner).await? {
            return Ok(Some(why));
        }
        let resource_type = i32::try_from(change.resource_type).unwrap_or_default();
        let act = Act::SetLimit(owner.clone(), resource_type, change.before_max);
        let before = change.set_max.to_string();
        match self.perform(&intent.id, &act, Some(&before), Duration::ZERO).await? {
            CallEnd::Ended(_) => self.put_limit(change, "restored", None, true).await?,
            CallEnd::Refused(why) if self.count_calls(&intent.id, &act).await? >= TRIES => {
                let why = format!("CloudStack refuses to set it back to {}: {why}", change.before_max);
                self.put_limit(change, "left", Some(&why), true).await?;
            }
            CallEnd::Refused(why) | CallEnd::NotNow(why) | CallEnd::Unknown(why) => {
                return Ok(Some(format!("the limit {} is not back yet: {why}", change.type_name)));
            }
            CallEnd::NeverWas => {}
        }
        Ok(None)
    }

    /// Activates the projects that bursar suspended. Gives what has to be waited for.
    async fn activate_projects(
        &self,
        intent: &Intent,
        account: &Account,
        patience: Duration,
    ) -> Result<Option<String>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let notes = acting::list_project_notes(&mut tx, Some(account.id)).await?;
        tx.commit().await?;
        let mut waits = None;
        for note in notes {
            let Ok(id) = note.project_id.parse() else { continue };
            match self.client.get_project(id).await? {
                None => self.put_project(&note, "gone", "it is no longer in CloudStack", true).await?,
                Some(read) if read.state.as_deref() == Some("Active") => {
                    self.put_project(&note, "activated", "", true).await?;
                }
                Some(_) if self.project_suspended_by_others(&note).await? => {
                    self.put_project(&note, "left", "somebody else suspended it too; it stays", true).await?;
                }
                Some(_) => {
                    if let Some(why) = self.closed_meanwhile(account).await? {
                        return Ok(Some(why));
                    }
                    let act = Act::ActivateProject(id);
                    let mut end = self.perform(&intent.id, &act, Some("Suspended"), patience).await?;
                    if end == CallEnd::NeverWas {
                        // Known by now never to have arrived: nobody waits another run for it.
                        end = self.perform(&intent.id, &act, Some("Suspended"), patience).await?;
                    }
                    let why = match end {
                        CallEnd::Ended(why) | CallEnd::Refused(why) | CallEnd::NotNow(why) | CallEnd::Unknown(why) => {
                            why
                        }
                        CallEnd::NeverWas => "CloudStack knows no such job".to_owned(),
                    };
                    let active = self.client.get_project(id).await?.and_then(|read| read.state);
                    if active.as_deref() == Some("Active") {
                        self.put_project(&note, "activated", "", true).await?;
                    } else if self.count_calls(&intent.id, &act).await? >= TRIES {
                        let why = format!("CloudStack does not activate it: {why}");
                        self.put_project(&note, "left", &why, true).await?;
                    } else {
                        waits = Some(format!("the project {} is not active yet: {why}", note.name));
                    }
                }
            }
        }
        Ok(waits)
    }

    /// Whether CloudStack's events tell of somebody else who suspended the project since bursar did. Unreadable events: no, since
    /// an active project of an open account harms nobody, and a suspended one stops a company's machines.
    async fn project_suspended_by_others(&self, note: &ProjectNote) -> Result<bool, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let intents = rows::list_intents(&mut tx, Some(note.account_id), INTENTS_LOOKED_AT).await?;
        tx.commit().await?;
        let Some(begun) = intents.iter().find(|intent| intent.id == note.intent_id) else { return Ok(false) };
        let since = Timestamp::from_ms(begun.created_ms).minus(EVENT_TOLERANCE);
        let names = self.suspenders("PROJECT.SUSPEND", &note.project_id, since).await?;
        Ok(names.is_some_and(|names| names.iter().any(|name| Some(name) != self.own_name.as_ref())))
    }

    /// What is not settled yet.
    pub(super) async fn leftovers(&self, account: &Account) -> Result<Leftovers, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let (waiting, limits): (Vec<LimitChange>, Vec<LimitChange>) =
            acting::list_limit_changes(&mut tx, Some(account.id))
                .await?
                .into_iter()
                .partition(|change| change.state == WAITING);
        let left = Leftovers {
            limits: limits.len(),
            waiting: owners_of(&waiting),
            projects: acting::list_project_notes(&mut tx, Some(account.id)).await?.len(),
            machines: acting::list_machine_notes(&mut tx, Some(account.id)).await?.len(),
        };
        tx.commit().await?;
        Ok(left)
    }

    /// Settles everything that is noted about an account.
    async fn settle_all(&self, account: &Account, state: &str, outcome: &str) -> Result<(), Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        for change in acting::list_limit_changes(&mut tx, Some(account.id)).await? {
            acting::put_state(&mut tx, (Noted::Limit, change.id), state, Some(outcome), Some(now)).await?;
        }
        for note in acting::list_project_notes(&mut tx, Some(account.id)).await? {
            acting::put_state(&mut tx, (Noted::Project, note.id), state, Some(outcome), Some(now)).await?;
        }
        for note in acting::list_machine_notes(&mut tx, Some(account.id)).await? {
            acting::put_state(&mut tx, (Noted::Machine, note.id), state, Some(outcome), Some(now)).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Whether bursar holds the account, is about to do something to it, or has changed something that is not brought back.
    pub(super) async fn holds_anything(&self, account: &Account) -> Result<bool, Error> {
        let left = self.leftovers(account).await?;
        Ok(!left.is_none()
            || !left.waiting.is_empty()
            || self.billing_hold(account.id).await?.is_some()
            || self.open_intent(account.id).await?.is_some())
    }

    /// Whether the sync found the account to be gone, and CloudStack does not show it now either: nothing of it can be brought back. What
    /// is noted of it stays, in case it is only hidden.
    pub(super) async fn is_gone(&self, account: &Account) -> Result<bool, Error> {
        Ok(account.gone_ms.is_some() && self.read_back(account).await?.is_none())
    }

    /// What came back, and what did not, in words.
    async fn restored_in_words(&self, intent: &Intent, account: &Account) -> Result<String, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let settled = acting::list_settled(&mut tx, account.id, intent.created).await?;
        tx.commit().await?;
        let count =
            |kind: &str, state: &str| settled.iter().filter(|row| row.kind == kind && row.state == state).count();
        let mut words = "opened again".to_owned();
        for (kind, state, what) in [
            ("limit", "restored", "limits put back"),
            ("project", "activated", "projects activated"),
            ("machine", "running", "machines running again"),
        ] {
            let count = count(kind, state);
            if count > 0 {
                words.push_str(&format!(", {count} {what}"));
            }
        }
        for row in settled.iter().filter(|row| ["left", "gone", "moved", "failed"].contains(&row.state.as_str())) {
            words.push_str(&format!("; {} {}: {}", row.kind, row.name, row.outcome.as_deref().unwrap_or(&row.state)));
        }
        Ok(words)
    }

    /// Somebody enabled the account, and enough is available or a person, `who`, gives it back: bursar's hold has no object any more.
    pub async fn drop_hold(&self, account: &Account, who: Option<&str>) -> Result<(), Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        if rows::lift_hold(&mut tx, account.id, "billing", who.unwrap_or("bursar"), now).await? {
            let why = if who.is_some() { "it is given back" } else { "nothing is due any more" };
            let line = AuditLine {
                at_ms: now.as_ms(),
                actor: who.map_or_else(|| format!("run {}", self.run), str::to_owned),
                action: "hold.lift".to_owned(),
                subject: account.full_name(),
                answer: Some(format!("somebody had enabled the account, and {why}")),
                ..AuditLine::default()
            };
            runs::write_audit(&mut tx, &line).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Users that CloudStack does not let in although their account is open, in words. It disables a user of its own after some wrong
/// passwords, also while the account is locked, and enabling the account changes nothing about that. Where nobody is left to sign in, a
/// person has to look.
fn who_can_not_sign_in(users: &[User]) -> String {
    let closed: Vec<String> = users
        .iter()
        .filter(|user| user.state != AccountState::Enabled)
        .map(|user| format!("{} ({})", user.username, user.state.as_str()))
        .collect();
    if closed.is_empty() {
        String::new()
    } else if closed.len() < users.len() {
        format!(", not signing in: {}", closed.join(", "))
    } else {
        format!(
            "; none of its users can sign in: {}; CloudStack closed them, or somebody did, so enable them there",
            closed.join(", ")
        )
    }
}
