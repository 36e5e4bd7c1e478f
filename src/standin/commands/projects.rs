//! Projects: suspending disables the project's account and stops its machines; there is no lock.

use serde_json::{Value, json};

use super::{Call, Result, Scope};
use crate::{
    ids::CloudId,
    standin::{
        envelope::Failure,
        world::{RoleKind, State, jobs::Work},
    },
};

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let wanted = call.project("id")?;
    let scope = call.scope()?;
    let name = call.filled("name");
    let rows: Vec<CloudId> = call
        .world
        .projects
        .iter()
        .filter(|project| match (wanted, scope) {
            (Some(id), _) => project.id == id && call.world.may_access(call.caller.account, project.owner),
            (None, Scope::Everything) => true,
            (None, scope) => call.owns_in_scope(scope, project.owner),
        })
        .filter(|project| name.is_none_or(|name| project.name == name))
        .map(|project| project.id)
        .collect();
    call.paged("project", &rows, |call, id| call.world.project_view(*id))
}

/// The owner first, as it was added first.
pub(super) fn members(call: &mut Call<'_>) -> Result<Value> {
    let project = call.project("projectid")?.ok_or_else(|| call.no_such("projectid"))?;
    let Some((name, owner, members)) =
        call.world.projects.get(project).map(|row| (row.name.clone(), row.owner, row.members.clone()))
    else {
        return Err(call.no_such("projectid"));
    };
    let caller = call.caller.account;
    if !call.world.may_access(caller, owner) && !members.contains(&caller) {
        return Err(Failure::no_permission());
    }
    let rows: Vec<(CloudId, &str)> =
        std::iter::once((owner, "Admin")).chain(members.into_iter().map(|member| (member, "Regular"))).collect();
    call.paged("projectaccount", &rows, |call, (account, role)| {
        let row = call.world.accounts.get(*account);
        let domain = row.and_then(|row| call.world.domains.get(row.domain));
        json!({
            "projectid": project,
            "project": name,
            "accountid": account,
            "account": row.map(|row| &row.name),
            "accounttype": row.map(|row| row.kind),
            "role": role,
            "domainid": domain.map(|domain| domain.id),
            "domain": domain.map(|domain| &domain.name),
        })
    })
}

pub(super) fn create(call: &mut Call<'_>) -> Result<Value> {
    let owner = match (call.filled("account"), call.domain("domainid")?) {
        (Some(name), Some(domain)) if call.caller.role != RoleKind::User => call
            .world
            .account_named(domain, name)
            .map(|account| account.id)
            .ok_or_else(|| Failure::invalid(format!("Unable to find account {name} in domain {domain}")))?,
        _ => call.caller.account,
    };
    let custom = call.custom_job()?;
    let name = call.text("name").unwrap_or_default().to_owned();
    if call.world.projects.iter().any(|project| project.name == name) {
        return Err(Failure::invalid(format!("Project with name {name} already exists in domain id=1")));
    }
    let display = call.filled("displaytext").unwrap_or(&name).to_owned();
    let project = call.world.add_project(owner, &name);
    if let Some(row) = call.world.projects.get_mut(project) {
        row.displaytext = display;
    }
    let class = "org.apache.cloudstack.api.command.user.project.CreateProjectCmd";
    let job =
        call.world.begin_job(custom, call.caller.user, class, Some(("None", None)), Ok(Work::ShowProject(project)));
    Ok(json!({"id": project, "jobid": job}))
}

/// The project of a call, if the caller may change it.
fn target(call: &Call<'_>) -> Result<CloudId> {
    let project = call.project("id")?.ok_or_else(|| call.no_such("id"))?;
    let owner = call.world.projects.get(project).map(|project| project.owner).ok_or_else(|| call.no_such("id"))?;
    call.check_access(owner)?;
    Ok(project)
}

fn set_active(call: &mut Call<'_>, project: CloudId, active: bool) -> CloudId {
    let account = call.world.owner_account(project);
    if let Some(row) = call.world.projects.get_mut(project) {
        row.active = active;
    }
    call.world.set_account_state(account, if active { State::Enabled } else { State::Disabled });
    account
}

pub(super) fn suspend(call: &mut Call<'_>) -> Result<Value> {
    let project = target(call)?;
    let custom = call.custom_job()?;
    let account = set_active(call, project, false);
    if let Some(row) = call.world.accounts.get_mut(account) {
        row.needs_cleanup = false;
    }
    let machines = call.world.running_machines(account);
    let about = call.world.about_project("PROJECT.SUSPEND", project);
    call.world.project_events(&about, call.caller.user, ("Suspending project", "Suspending project."));
    let class = "org.apache.cloudstack.api.command.user.project.SuspendProjectCmd";
    let work = Ok(Work::SuspendProject { project, machines });
    let job = call.world.begin_job(custom, call.caller.user, class, None, work);
    Ok(json!({"jobid": job}))
}

pub(super) fn activate(call: &mut Call<'_>) -> Result<Value> {
    let project = target(call)?;
    let custom = call.custom_job()?;
    let account = set_active(call, project, true);
    if let Some(row) = call.world.accounts.get_mut(account) {
        row.needs_cleanup = false;
    }
    let about = call.world.about_project("PROJECT.ACTIVATE", project);
    call.world.project_events(&about, call.caller.user, ("Activating project", "Activating project."));
    let class = "org.apache.cloudstack.api.command.user.project.ActivateProjectCmd";
    let job = call.world.begin_job(custom, call.caller.user, class, None, Ok(Work::ShowProject(project)));
    Ok(json!({"jobid": job}))
}
