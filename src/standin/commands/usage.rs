//! listUsageRecords and its neighbours (facts 3.1, 3.2, 3.4).

use serde_json::{Map, Value, json};

use super::{Call, Edge, Result};
use crate::{
    ids::CloudId,
    standin::{
        dates,
        envelope::{self, Failure},
        guesses,
        usage::{Amount, Record, TYPES, quantity},
        world::{RoleKind, entities::PROJECT_ACCOUNT, machines::object},
    },
};

#[expect(clippy::unnecessary_wraps, reason = "every command has this signature")]
pub(super) fn types(_: &mut Call<'_>) -> Result<Value> {
    let rows: Vec<Value> = TYPES
        .iter()
        .map(|(id, name, description)| json!({"id": id, "name": name, "description": description}))
        .collect();
    Ok(envelope::list("usagetype", rows.len(), rows))
}

#[expect(clippy::unnecessary_wraps, reason = "every command has this signature")]
pub(super) fn metrics(call: &mut Call<'_>) -> Result<Value> {
    let world = &*call.world;
    let heartbeat = if world.usage.stuck { world.usage.heartbeat } else { Some(world.now) };
    Ok(json!({"usageMetrics": {
        "collectiontime": world.date(world.now),
        "hostname": "vm/127.0.0.1",
        // Whether systemd runs the usage server on the management server's own machine: says nothing about the job.
        "state": if world.usage.local { "Up" } else { "Down" },
        "lastheartbeat": heartbeat.map(|at| world.date(at)),
        // Without any success this is the beginning of time.
        "lastsuccessfuljob": world.date(world.usage.last_end.unwrap_or_default()),
    }}))
}

/// Whose records are asked for: None is everybody's.
fn account(call: &Call<'_>) -> Result<Option<CloudId>> {
    let (project, account) = (call.project("projectid")?, call.account("accountid")?);
    let found = match (project, account) {
        (Some(_), Some(_)) => {
            return Err(Failure::invalid("Projectid and accountId can't be specified together"));
        }
        (Some(project), None) => Some(call.world.owner_account(project)),
        (None, Some(account)) => Some(account),
        // A name without a domain is ignored.
        (None, None) => match (call.filled("account"), call.domain("domainid")?) {
            (Some(name), Some(domain)) => {
                let found = call.world.accounts.iter().find(|row| row.domain == domain && row.name == name);
                Some(
                    found
                        .map(|row| row.id)
                        .ok_or_else(|| Failure::invalid(format!("Unable to find account {name} in domain {domain}")))?,
                )
            }
            _ => None,
        },
    };
    // A name with isrecursive loses the account: the whole tree comes.
    let by_name = project.is_none() && account.is_none();
    Ok(match found {
        Some(_) if by_name && call.flag("isrecursive") => None,
        Some(account) => {
            call.check_access(account)?;
            Some(account)
        }
        None if call.caller.is_root() || call.flag("isrecursive") => None,
        None => Some(call.caller.account),
    })
}

pub(super) fn records(call: &mut Call<'_>) -> Result<Value> {
    let domain = call.domain("domainid")?;
    let owner = account(call)?;
    if call.caller.role == RoleKind::User
        && (domain.is_some() || call.flag("isrecursive") || owner != Some(call.caller.account))
    {
        return Err(Failure::permission("User does not have permission to view usage records of others"));
    }
    let domain = domain.or_else(|| (!call.caller.is_root()).then_some(call.caller.domain));
    let (Some(start), Some(end)) = (call.date("startdate", Edge::Start)?, call.date("enddate", Edge::End)?) else {
        return Err(Failure::missing(call.command.name, "startdate"));
    };
    let page = call.page()?;
    if start > end {
        let locale = call.world.locale;
        return Err(Failure::invalid(format!(
            "Incorrect Date Range. Start date: {} is after end date:{}",
            dates::java(start, locale),
            dates::java(end, locale)
        )));
    }
    let kind = call.number("type")?;
    let usage_id = call.filled("usageid");
    if usage_id.is_some() && kind.is_none() {
        return Err(Failure::invalid("Usageid must be specified together with usageType"));
    }
    let recursive = call.flag("isrecursive");
    let in_domain = |record: &Record| match domain {
        None => true,
        Some(domain) => call.world.accounts.get(record.owner).is_some_and(|account| {
            if recursive { call.world.in_tree(account.domain, domain) } else { account.domain == domain }
        }),
    };
    let mut total = 0_usize;
    let mut shown = Vec::new();
    // Dates are compared as they are stored: to the second.
    let (first, last) = (start.as_seconds(), end.as_seconds());
    for record in &call.world.usage.records {
        let inside = |second: i64| first <= second && second <= last;
        if record.hidden || !inside(record.start.as_seconds()) || !inside(record.end.as_seconds()) {
            continue;
        }
        if owner.is_some_and(|owner| record.owner != owner)
            || kind.is_some_and(|kind| i64::from(record.kind) != kind)
            || usage_id.is_some_and(|id| record.fields.get("usageid").and_then(Value::as_str) != Some(id))
            || !in_domain(record)
        {
            continue;
        }
        if (page.0..page.0.saturating_add(page.1)).contains(&total) {
            shown.push(view(call, record));
        }
        total += 1;
    }
    Ok(envelope::list("usagerecord", total, shown))
}

/// The tags that the resource has now, where they are asked for (facts 3.2).
fn tags(call: &Call<'_>, record: &Record) -> Vec<Value> {
    let resource = record.fields.get("usageid").and_then(Value::as_str);
    let Some(id) = resource.filter(|_| call.flag("includetags")) else { return Vec::new() };
    let tags = call.world.resource_tags.get(id).map_or(&[][..], Vec::as_slice);
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value, "resourceid": id })).collect()
}

fn view(call: &Call<'_>, record: &Record) -> Value {
    let world = &*call.world;
    let account = world.accounts.get(record.owner);
    let domain = account.and_then(|account| world.domains.get(account.domain));
    let raw = match &record.amount {
        Amount::Hours(ms) => quantity::hours(*ms, world.locale.decimal_comma),
        Amount::Whole(number) => number.to_string(),
        Amount::Text(text) => text.clone(),
    };
    let usage = match record.kind {
        4 => format!("{raw} bytes sent"),
        5 => format!("{raw} bytes received"),
        29 => format!("{raw} bytes"),
        21..=24 => guesses::disk_usage_text(record.kind, &raw),
        _ => format!("{raw} Hrs"),
    };
    let mut view: Map<String, Value> = object(json!({
        "domainid": domain.map(|domain| domain.id),
        "domain": domain.map(|domain| &domain.name),
        "domainpath": domain.map(|domain| &domain.path),
        "usage": usage,
        "usagetype": record.kind,
        "rawusage": raw,
        "startdate": dates::out_usage(record.start, world.locale),
        "enddate": dates::out_usage(record.end, world.locale),
        "tags": tags(call, record),
    }));
    if let Some(project) = account.filter(|account| account.kind == PROJECT_ACCOUNT).and_then(|account| account.project)
    {
        view.insert("projectid".to_owned(), json!(project));
        view.insert("project".to_owned(), json!(world.projects.get(project).map(|project| &project.name)));
    } else {
        view.insert("account".to_owned(), json!(account.map(|account| &account.name)));
        view.insert("accountid".to_owned(), json!(record.owner));
    }
    for (name, value) in record.fields.iter() {
        view.insert(name.clone(), value.clone());
    }
    Value::Object(view)
}
