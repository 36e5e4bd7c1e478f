//! Key pairs of users.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Client, Error, JobState, client::job_id, envelope, fields, params::Params};
use crate::{ids::CloudId, secrets::Secret};

/// How long a release that makes keys in a job (4.23 in development) may take for it.
const KEY_JOB_DEADLINE: Duration = Duration::from_mins(1);
/// The pause between two looks at that job.
const KEY_JOB_PAUSE: Duration = Duration::from_millis(500);

/// A new key pair. Its Debug shows neither half.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// Names the user to CloudStack.
    pub api_key: Secret,
    /// Signs requests.
    pub secret_key: Secret,
}

/// A user's key pair as CloudStack holds it; both halves are absent for a user without keys.
#[derive(Debug, Clone, Deserialize)]
pub struct UserKeys {
    /// Names the user to CloudStack.
    #[serde(default, rename = "apikey", deserialize_with = "fields::secret")]
    pub api_key: Option<Secret>,
    /// Signs requests.
    #[serde(default, rename = "secretkey", deserialize_with = "fields::secret")]
    pub secret_key: Option<Secret>,
    /// Whether the pair works (4.20.1 on), all levels taken together.
    #[serde(default, rename = "apikeyaccess", deserialize_with = "fields::flag")]
    pub api_key_access: Option<bool>,
}

impl Client {
    /// Makes a key pair for a user. Up to 4.22 it replaces the pair that the user has, at once and for everybody.
    pub async fn register_user_keys(&self, user: CloudId) -> Result<KeyPair, Error> {
        let answer = self.write("registerUserKeys", &Params::new().with("id", user), Ok).await?;
        let Some(job) = job_id(&answer) else { return key_pair(answer).map_err(Error::after_write) };
        match self.wait_for_job(job, KEY_JOB_DEADLINE, KEY_JOB_PAUSE).await {
            Ok(JobState::Succeeded(result)) => key_pair(result).map_err(Error::after_write),
            Ok(JobState::Failed { code, text }) => Err(Error::from_code(code, &text)),
            Ok(JobState::Pending | JobState::Cancelled) => Err(Error::Uncertain {
                text: "registerUserKeys: the job has not ended in time, or was cancelled".to_owned(),
            }),
            Err(error) => {
                Err(Error::Uncertain { text: format!("registerUserKeys: its job can not be read ({error})") })
            }
        }
    }

    /// A user's key pair.
    pub async fn get_user_keys(&self, user: CloudId) -> Result<UserKeys, Error> {
        self.read_entity("getUserKeys", &Params::new().with("id", user)).await
    }
}

fn key_pair(value: Value) -> Result<KeyPair, Error> {
    match envelope::entity(value)? {
        UserKeys { api_key: Some(api_key), secret_key: Some(secret_key), .. } => Ok(KeyPair { api_key, secret_key }),
        _ => Err(Error::malformed("registerUserKeys: the answer holds no key pair")),
    }
}
