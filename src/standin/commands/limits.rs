//! listResourceLimits and updateResourceLimit.

use serde_json::{Value, json};

use super::{Call, Result};
use crate::{
    ids::CloudId,
    standin::{
        envelope::Failure,
        world::{
            RoleKind, State, World,
            entities::PROJECT_ACCOUNT,
            limits::{KINDS, Kind},
            machines::object,
        },
    },
};

/// Kinds that a host tag may narrow.
const WITH_HOST_TAGS: [u8; 4] = [0, 8, 9, 16];

/// Whose limits.
#[derive(Clone, Copy)]
enum Owner {
    /// An account's, or a project's account's.
    Account(CloudId),
    Domain(CloudId),
}

/// One row: a kind, and the host tag that it is narrowed to.
#[derive(Clone)]
struct Limit {
    kind: &'static Kind,
    tag: Option<String>,
}

/// Whose limits a call is about. To change those of an account or project it has to be enabled or active: by name the server
/// finds locked and disabled accounts for reading only (`finalyzeAccountId` with `enabledOnly`).
fn target(call: &Call<'_>, enabled_only: bool) -> Result<Owner> {
    let domain = call.domain("domainid")?;
    if let Some(name) = call.filled("account") {
        let domain = domain.ok_or_else(|| Failure::invalid("Account must be specified with domainId parameter"))?;
        let found = call.world.account_named(domain, name).filter(|account| account.kind != PROJECT_ACCOUNT);
        let account = found.ok_or_else(|| {
            Failure::invalid(format!("Unable to find account by name {name} in domain with specified id"))
        })?;
        if enabled_only && account.state != State::Enabled {
            return Err(Failure::permission(format!(
                "Can't add resources to the account Account [{{\"accountName\":\"{}\",\"id\":{},\"uuid\":\"{}\"}}] in state={} as it's \
                 no longer active",
                account.name,
                account.number,
                account.id,
                account.state.name()
            )));
        }
        call.check_access(account.id)?;
        return Ok(Owner::Account(account.id));
    }
    if let Some(project) = call.project("projectid")? {
        let active = call.world.projects.get(project).is_some_and(|project| project.active);
        if enabled_only && !active {
            return Err(Failure::permission(
                "Can't add resources to the project with specified projectId in state=Suspended as it's no longer active",
            ));
        }
        let account = call.world.owner_account(project);
        call.check_access(account)?;
        return Ok(Owner::Account(account));
    }
    match domain {
        Some(domain) if call.caller.role != RoleKind::User => {
            if !call.caller.is_root() && !call.world.in_tree(domain, call.caller.domain) {
                return Err(Failure::no_permission());
            }
            Ok(Owner::Domain(domain))
        }
        _ => Ok(Owner::Account(call.caller.account)),
    }
}

fn view(call: &Call<'_>, owner: Owner, limit: &Limit) -> Value {
    let kind = limit.kind;
    let (mut view, max) = match owner {
        Owner::Account(id) => {
            let row = call.world.accounts.get(id);
            let own =
                limit.tag.as_ref().map(|tag| row.and_then(|row| row.tagged_limits.get(&(kind.number, tag.clone()))));
            let max = match own {
                Some(tagged) => tagged.copied().unwrap_or(-1),
                None => row.map_or(-1, |row| World::limit(row, kind)),
            };
            (call.world.owner_fields(id), max)
        }
        Owner::Domain(id) => {
            let row = call.world.domains.get(id);
            let max = row.and_then(|row| row.limits.get(&kind.number).copied()).unwrap_or(-1);
            (
                object(
                    json!({"domainid": id, "domain": row.map(|row| &row.name), "domainpath": row.map(|row| &row.path)}),
                ),
                max,
            )
        }
    };
    let mut own = object(json!({
        "resourcetype": kind.number.to_string(),
        "resourcetypename": kind.name,
        "max": max,
        "tag": limit.tag,
    }));
    view.append(&mut own);
    Value::Object(view)
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Value> {
    let owner = target(call, false)?;
    let wanted = call.number("resourcetype")?;
    let kinds = KINDS.iter().filter(|kind| wanted.is_none_or(|number| i64::from(kind.number) == number));
    let mut rows: Vec<Limit> = Vec::new();
    for kind in kinds {
        // What is missing in the table is filled in from the defaults, but for kinds that have a row narrowed to a tag.
        let is_hidden = matches!(owner, Owner::Account(id) if call.world.accounts.get(id).is_some_and(|row| {
            !row.limits.contains_key(&kind.number) && row.tagged_limits.keys().any(|(number, _)| *number == kind.number)
        }));
        if !is_hidden {
            rows.push(Limit { kind, tag: None });
        }
        if matches!(owner, Owner::Account(_)) && WITH_HOST_TAGS.contains(&kind.number) {
            rows.extend(call.world.limit_tags.iter().map(|tag| Limit { kind, tag: Some(tag.clone()) }));
        }
    }
    call.paged("resourcelimit", &rows, |call, limit| view(call, owner, limit))
}

pub(super) fn update(call: &mut Call<'_>) -> Result<Value> {
    let owner = target(call, true)?;
    let number = call.number("resourcetype")?.unwrap_or(-1);
    let max = call.number("max")?.unwrap_or(-1);
    if max < -1 {
        return Err(Failure::invalid(
            "Please specify either '-1' for an infinite limit, or a limit that is at least '0'.",
        ));
    }
    let Some(kind) = KINDS.iter().find(|kind| i64::from(kind.number) == number) else {
        return Err(Failure::invalid("Please specify valid resource type"));
    };
    let tag = call.filled("tag").map(str::to_owned);
    if tag.is_some() && !WITH_HOST_TAGS.contains(&kind.number) {
        return Err(Failure::invalid(format!("Resource limit with a tag is not supported for resource type {number}")));
    }
    match owner {
        Owner::Account(id) => set_of_account(call, id, kind, tag.clone(), max)?,
        Owner::Domain(id) if id == call.world.root => {
            let number = call.world.domains.get(id).map_or(1, |domain| domain.number);
            return Err(Failure::permission(format!(
                "Cannot update resource limit for ROOT domain {number}, permission denied"
            )));
        }
        Owner::Domain(id) => {
            if let Some(row) = call.world.domains.get_mut(id) {
                row.limits.insert(kind.number, max);
            }
        }
    }
    Ok(json!({"resourcelimit": view(call, owner, &Limit { kind, tag })}))
}

fn set_of_account(call: &mut Call<'_>, id: CloudId, kind: &Kind, tag: Option<String>, max: i64) -> Result<()> {
    let Some(row) = call.world.accounts.get_mut(id) else { return Err(Failure::no_permission()) };
    if row.kind == 1 && max != -1 {
        return Err(Failure::invalid("Only -1 limit is supported for Root Admin accounts"));
    }
    match tag {
        None => {
            row.limits.insert(kind.number, max);
        }
        Some(tag) => {
            let untagged = World::limit(row, kind);
            if untagged > 0 && max > untagged {
                return Err(Failure::invalid(format!(
                    "Maximum untagged resource limit for account {} for resource type {} is {untagged}, please specify a value less \
                     than or equal to that",
                    row.name, kind.name
                )));
            }
            row.tagged_limits.insert((kind.number, tag), max);
        }
    }
    let mut about = call.world.about_account("RESOURCE.LIMIT.UPDATE", id);
    if let Some(project) = call.world.accounts.get(id).and_then(|account| account.project) {
        (about.resource_type, about.resource) = ("Project", project);
    }
    let text = format!("Resource limit updated. Resource Type: {}, New Value: {max}", kind.name);
    call.world.completed_event(&about, call.caller.user, &text);
    Ok(())
}
