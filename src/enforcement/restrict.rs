//! Restricting an account: its resource limits, and those of its projects, are set to what is used now (design 7.12). What
//! runs is not touched; nothing more can be made.

use std::collections::BTreeMap;

use super::{
    act::{Actor, Done, Drive, End, Intent, cloud_id},
    calls::{Act, CallEnd},
    run::Error,
};
use crate::{
    cloudstack::{self, LimitOwner, PRIMARY_STORAGE, ResourceUse},
    ids::CloudId,
    store::{
        acting::{self, LimitChange, Noted},
        cloud::{self, Account},
    },
    time::Timestamp,
};

/// What snapshots and backups need: left alone unless that is switched on.
const SNAPSHOTS_AND_BACKUPS: [i32; 4] = [3, 11, 12, 13];

/// Whose limits a change is about, and how the API names them.
pub(super) fn limit_owner(read: &cloudstack::Account, project_id: &str) -> Option<LimitOwner> {
    if project_id.is_empty() {
        return Some(LimitOwner::Account { name: read.name.clone(), domain_id: read.domain_id });
    }
    project_id.parse().ok().map(LimitOwner::Project)
}

/// The limit that a restriction sets: what is used, and never more than the limit is. None: nothing to change.
fn restricted(before: i64, used: i64) -> Option<i64> {
    let wanted = if before < 0 { used } else { used.min(before) };
    (wanted != before).then_some(wanted)
}

impl Actor<'_> {
    /// Lowers every limit that is above what is used, row by row.
    pub(super) async fn advance_restrict(
        &self,
        intent: &Intent,
        account: &Account,
        drive: Drive,
    ) -> Result<Done, Error> {
        let Some(read) = self.read_back(account).await? else {
            return self.give_up(intent, account, None, "it is no longer in CloudStack").await;
        };
        let state = read.state.as_str();
        let mut changes = self.limit_changes_of(intent, account).await?;
        if changes.is_empty() {
            if drive == Drive::Conclude {
                return self
                    .give_up(intent, account, Some(state), "it was not begun; the decision is taken anew")
                    .await;
            }
            // By name only enabled accounts are found (facts 4.4): there is no restricting afterwards.
            if state != "enabled" {
                let outcome = format!("it is {state} already, by somebody else");
                return self.leave_to_others(intent, account, Some(state), &outcome).await;
            }
            self.note_limits(intent, account, &read).await?;
            changes = self.limit_changes_of(intent, account).await?;
        }
        let mut waits = None;
        for owner in owners_of(&changes) {
            let Some(named) = limit_owner(&read, &owner) else { continue };
            let Some(now) = self.limits_now(&named).await? else {
                self.settle_limits(&changes, &owner, "gone", "it is no longer in CloudStack").await?;
                continue;
            };
            for change in changes.iter().filter(|change| change.project_id == owner && change.state == "noted") {
                if let Some(why) = self
                    .lower((intent, account), change, &named, (drive, now.get(&change.resource_type).copied()))
                    .await?
                {
                    waits = Some(why);
                }
            }
        }
        if let Some(why) = waits {
            return Ok(Done::Started(format!("{why}; the next run looks again")));
        }
        let left = self.limit_changes_of(intent, account).await?.iter().filter(|change| change.state == "set").count();
        let outcome = format!("restricted for billing: {left} limits are set to what is used");
        self.finish(intent, account, End { worked: true, state_after: Some(state), outcome: &outcome }).await?;
        Ok(Done::Yes)
    }

    /// The account is no longer to be restricted: what was not lowered stays as it is, and what was lowered is held, for the
    /// next run to put back.
    pub(super) async fn end_restrict(&self, intent: &Intent, account: &Account) -> Result<Done, Error> {
        let changes = self.limit_changes_of(intent, account).await?;
        let read = self.client.get_account(cloud_id(account)?).await?;
        for change in changes.iter().filter(|change| change.state == "noted") {
            let owner = read.as_ref().and_then(|read| limit_owner(read, &change.project_id));
            let Some(owner) = owner else {
                self.put_limit(change, "gone", Some("it is no longer in CloudStack"), true).await?;
                continue;
            };
            let resource_type = i32::try_from(change.resource_type).unwrap_or_default();
            let act = Act::SetLimit(owner.clone(), resource_type, change.set_max);
            // A request whose answer was lost may have lowered the limit, or may still do so.
            let sent = self.last_call(&intent.id, &act).await?.filter(|call| call.state != "failed");
            if let Some(sent) = &sent
                && self.may_still_arrive(sent.id, Timestamp::from_ms(sent.claimed_ms)).await?
            {
                return Ok(Done::Started("a changed limit is not known yet".to_owned()));
            }
            let lowered = sent.is_some()
                && self.limits_now(&owner).await?.and_then(|limits| limits.get(&change.resource_type).copied())
                    == Some(change.set_max);
            if lowered {
                self.put_limit(change, "set", None, false).await?;
            } else {
                self.put_limit(change, "left", Some("not lowered"), true).await?;
            }
        }
        let changes = self.limit_changes_of(intent, account).await?;
        if changes.iter().any(|change| change.state == "set") {
            let end = End { worked: true, state_after: None, outcome: "restricted in part, and no longer wanted" };
            self.finish(intent, account, end).await?;
            return Ok(Done::Yes);
        }
        self.give_up(intent, account, None, "no longer wanted").await
    }

    async fn limit_changes_of(&self, intent: &Intent, account: &Account) -> Result<Vec<LimitChange>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let changes = acting::list_limit_changes(&mut tx, Some(account.id)).await?;
        tx.commit().await?;
        Ok(changes.into_iter().filter(|change| change.intent_id == intent.id).collect())
    }

    /// Notes what each limit is and what it becomes, for the account and each of its active projects, in one commit.
    async fn note_limits(&self, intent: &Intent, account: &Account, read: &cloudstack::Account) -> Result<(), Error> {
        let own = LimitOwner::Account { name: read.name.clone(), domain_id: read.domain_id };
        let mut wanted = Vec::new();
        if let Some(used) = self.client.get_account_use(cloud_id(account)?).await? {
            wanted.extend(self.wanted_limits(intent, account, "", &own, used).await?);
        }
        for project in self.active_projects(account, &read.name).await? {
            let owner = LimitOwner::Project(project.id);
            if let Some(used) = self.client.get_project_use(project.id).await? {
                wanted.extend(self.wanted_limits(intent, account, &project.id.to_string(), &owner, used).await?);
            }
        }
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        for change in &wanted {
            acting::note_limit(&mut tx, change, now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn wanted_limits(
        &self,
        intent: &Intent,
        account: &Account,
        project: &str,
        owner: &LimitOwner,
        mut used: ResourceUse,
    ) -> Result<Vec<LimitChange>, Error> {
        // CloudStack's lists cut primary storage down to whole GiB; without the right to list volumes that has to do.
        match self.client.sum_volumes_gib(owner).await {
            Ok(gib) => used.raise(PRIMARY_STORAGE, gib),
            Err(cloudstack::Error::NotAllowed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let backups_too = self.enforcer.settings.restrict_backups;
        let mut wanted = Vec::new();
        for limit in self.client.list_limits_of(owner).await? {
            let (Some(resource_type), Some(before)) = (limit.resource_type, limit.max) else { continue };
            // Limits narrowed to a tag never allow more than those without one.
            if limit.tag.is_some() || !backups_too && SNAPSHOTS_AND_BACKUPS.contains(&resource_type) {
                continue;
            }
            let Some(set_max) = used.of(resource_type).and_then(|used| restricted(before, used)) else { continue };
            wanted.push(LimitChange {
                id: 0,
                account_id: account.id,
                project_id: project.to_owned(),
                resource_type: i64::from(resource_type),
                type_name: limit.resource_type_name.unwrap_or_else(|| resource_type.to_string()),
                before_max: before,
                set_max,
                intent_id: intent.id.clone(),
                state: "noted".to_owned(),
                outcome: None,
            });
        }
        Ok(wanted)
    }

    /// The limits of an account or project now; None where it is no longer there.
    pub(super) async fn limits_now(&self, owner: &LimitOwner) -> Result<Option<BTreeMap<i64, i64>>, Error> {
        match self.client.list_limits_of(owner).await {
            Ok(limits) => Ok(Some(
                limits
                    .iter()
                    .filter(|limit| limit.tag.is_none())
                    .filter_map(|limit| Some((i64::from(limit.resource_type?), limit.max?)))
                    .collect(),
            )),
            Err(cloudstack::Error::Gone { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lowers one limit. Gives what it waits for, if it has to be looked at again.
    async fn lower(
        &self,
        (intent, account): (&Intent, &Account),
        change: &LimitChange,
        owner: &LimitOwner,
        (drive, current): (Drive, Option<i64>),
    ) -> Result<Option<String>, Error> {
        if current == Some(change.set_max) {
            self.put_limit(change, "set", None, false).await?;
            return Ok(None);
        }
        if current != Some(change.before_max) {
            self.put_limit(change, "left", Some("somebody else changed it meanwhile"), true).await?;
            return Ok(None);
        }
        let resource_type = i32::try_from(change.resource_type).unwrap_or_default();
        let act = Act::SetLimit(owner.clone(), resource_type, change.set_max);
        // A request that got lost may still arrive: sent twice, it could lower the limit again after it was put back.
        if let Some(lost) = self.last_call(&intent.id, &act).await?.filter(|call| call.state == "lost")
            && self.may_still_arrive(lost.id, Timestamp::from_ms(lost.claimed_ms)).await?
        {
            return Ok(Some(format!("the outcome of a changed limit ({}) is not known yet", change.type_name)));
        }
        if drive == Drive::Conclude {
            return Ok(Some(format!("the limit {} is not lowered yet", change.type_name)));
        }
        if let Some(why) = self.limits_are_closed(account, owner).await? {
            return Ok(Some(why));
        }
        let before = change.before_max.to_string();
        match self.perform(&intent.id, &act, Some(&before), std::time::Duration::ZERO).await? {
            CallEnd::Ended(_) => {
                self.put_limit(change, "set", None, false).await?;
                Ok(None)
            }
            CallEnd::Refused(why) => {
                self.put_limit(change, "left", Some(&why), true).await?;
                Ok(None)
            }
            CallEnd::Unknown(why) => {
                // Read back at once: mostly it was done.
                if self.limits_now(owner).await?.and_then(|now| now.get(&change.resource_type).copied())
                    == Some(change.set_max)
                {
                    self.put_limit(change, "set", None, false).await?;
                    return Ok(None);
                }
                Ok(Some(why))
            }
            CallEnd::NotNow(why) => Ok(Some(why)),
            CallEnd::NeverWas => Ok(Some("the outcome of a changed limit is not known yet".to_owned())),
        }
    }

    pub(super) async fn put_limit(
        &self,
        change: &LimitChange,
        state: &str,
        outcome: Option<&str>,
        settled: bool,
    ) -> Result<(), Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        acting::put_state(&mut tx, (Noted::Limit, change.id), state, outcome, settled.then_some(now)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Settles every change of one owner's limits.
    pub(super) async fn settle_limits(
        &self,
        changes: &[LimitChange],
        owner: &str,
        state: &str,
        outcome: &str,
    ) -> Result<(), Error> {
        for change in changes.iter().filter(|change| change.project_id == owner) {
            self.put_limit(change, state, Some(outcome), true).await?;
        }
        Ok(())
    }

    /// The account's projects that are active now, as CloudStack says: a project may have changed hands since the last sync.
    pub(super) async fn active_projects(
        &self,
        account: &Account,
        name: &str,
    ) -> Result<Vec<cloudstack::Project>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let mirrored = cloud::list_projects(&mut tx).await?;
        tx.commit().await?;
        let mut active = Vec::new();
        for project in mirrored.into_iter().filter(|project| project.owner_account_id == Some(account.id)) {
            let Ok(id) = project.cloud_id.parse::<CloudId>() else { continue };
            let Some(read) = self.client.get_project(id).await? else { continue };
            if read.state.as_deref() == Some("Active") && read.owners.iter().any(|owner| owner == name) {
                active.push(read);
            }
        }
        Ok(active)
    }
}

/// The owners of changes, each once: the account itself first.
pub(super) fn owners_of(changes: &[LimitChange]) -> Vec<String> {
    let mut owners: Vec<String> = changes.iter().map(|change| change.project_id.clone()).collect();
    owners.sort();
    owners.dedup();
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restriction_sets_what_is_used_and_never_raises_a_limit() {
        assert_eq!(restricted(20, 3), Some(3));
        assert_eq!(restricted(-1, 3), Some(3), "unlimited becomes what is used");
        assert_eq!(restricted(3, 3), None);
        assert_eq!(restricted(2, 3), None, "a limit below what is used stays");
        assert_eq!(restricted(20, 0), Some(0));
    }
}
