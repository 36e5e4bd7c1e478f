//! queryAsyncJobResult (facts 1.9). A failed job is a successful answer with `jobstatus` 2.

use serde_json::{Map, Value, json};

use super::{Call, Result};
use crate::standin::world::{jobs::Outcome, machines::object};

pub(super) fn query(call: &mut Call<'_>) -> Result<Value> {
    let id = call.text("jobid").and_then(|text| text.parse().ok()).ok_or_else(|| call.no_such("jobid"))?;
    let known = call.world.jobs.get(id).filter(|job| call.world.job_is_kept(job)).map(|job| job.user);
    let owner = known.and_then(|user| call.world.users.get(user)).map(|user| user.account);
    let account = owner.ok_or_else(|| call.no_such("jobid"))?;
    call.check_access(account)?;
    call.world.poll_job(id);
    Ok(Value::Object(view(call, id).unwrap_or_default()))
}

fn view(call: &Call<'_>, id: crate::ids::CloudId) -> Option<Map<String, Value>> {
    let world = &*call.world;
    let job = world.jobs.get(id)?;
    let user = world.users.get(job.user)?;
    let account = world.accounts.get(user.account)?;
    let domain = world.domains.get(account.domain)?;
    let (status, code, result) = match &job.outcome {
        None => (0, 0, None),
        Some(Outcome::Success(result)) => (1, 0, Some(result.clone())),
        Some(Outcome::Failure(code, text)) => (2, *code, Some(json!({"errorcode": code, "errortext": text}))),
    };
    let running = job.outcome.is_none();
    Some(object(json!({
        "accountid": account.id,
        "account": account.name,
        "domainid": domain.id,
        "domainpath": domain.path,
        "userid": user.id,
        "cmd": job.class,
        "jobprocstatus": 0,
        "jobresultcode": code,
        "jobresulttype": result.is_some().then_some("object"),
        "jobresult": result,
        "jobinstancetype": job.instance.map(|(kind, _)| kind),
        "jobinstanceid": job.instance.and_then(|(_, id)| id),
        "managementserverid": running.then_some(world.zone.management_server),
        "managementservername": running.then_some("localhost"),
        "created": world.date(job.created),
        "completed": job.completed.map(|at| world.date(at)),
        "jobid": job.id,
        "jobstatus": status,
    })))
}
