//! Asynchronous jobs. A failed job is an HTTP 200 (facts 1.9), and the state it left behind has to be read anyway.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Client, Error, envelope, error::bounded, fields, params::Params};

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Not ended yet.
    Pending,
    /// Ended well; its result as it came.
    Succeeded(Value),
    /// Ended badly. What it did until then stays done.
    Failed {
        /// CloudStack's error code.
        code: u16,
        /// CloudStack's reason, bounded.
        text: String,
    },
    /// Cancelled.
    Cancelled,
}

#[derive(Deserialize)]
struct JobRow {
    #[serde(deserialize_with = "fields::whole")]
    jobstatus: Option<i64>,
    #[serde(default, deserialize_with = "fields::whole")]
    jobresultcode: Option<u16>,
    #[serde(default)]
    jobresult: Value,
}

impl Client {
    /// Where a job stands. One that is unknown or was purged (after a day by default) is [`Error::Gone`].
    pub async fn job(&self, id: Uuid) -> Result<JobState, Error> {
        let answer = self.read("queryAsyncJobResult", &Params::new().with("jobid", id)).await?;
        job_state(&answer.body)
    }

    /// Looks at a job every `pause` until it has ended or the deadline is over, which gives [`JobState::Pending`].
    pub async fn wait_for_job(&self, id: Uuid, deadline: Duration, pause: Duration) -> Result<JobState, Error> {
        let begun = self.stopwatch();
        loop {
            let state = self.job(id).await?;
            if state != JobState::Pending || begun.elapsed().saturating_add(pause) > deadline {
                return Ok(state);
            }
            self.wait(pause).await;
        }
    }
}

/// Reads an answer about a job. It carries a job id as well; only its status counts.
pub(crate) fn job_state(body: &[u8]) -> Result<JobState, Error> {
    let row: JobRow = serde_json::from_value(envelope::sole(body)?)
        .map_err(|_| Error::malformed("queryAsyncJobResult: the answer holds no job status"))?;
    match row.jobstatus {
        Some(0) => Ok(JobState::Pending),
        Some(1) => Ok(JobState::Succeeded(row.jobresult)),
        Some(2) => {
            let code = row.jobresult.get("errorcode").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok());
            let text = row.jobresult.get("errortext").and_then(Value::as_str).unwrap_or("no reason given");
            Ok(JobState::Failed { code: code.or(row.jobresultcode).unwrap_or(530), text: bounded(text) })
        }
        Some(3) => Ok(JobState::Cancelled),
        _ => Err(Error::malformed("queryAsyncJobResult: the answer holds an unknown job status")),
    }
}
