//! Key pairs of users.
//!
//! Up to 4.22 a user has one pair, and registerUserKeys replaces it. From 4.23 on a user has several, each with a name and
//! an end of its own. What is used of that was read in CloudStack's source (`RegisterUserKeysCmd`, `ListUserKeysCmd`,
//! `DeleteUserKeysCmd`, `ApiKeyPairResponse` of apache/cloudstack #9504 and #13896) and not tried on a running 4.23.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Client, Error, JobState, client::job_id, envelope, envelope::Entry, fields, params::Params, users};
use crate::{ids::CloudId, secrets::Secret, time::Timestamp};

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
    /// The pair's own id, where users have several pairs.
    pub id: Option<CloudId>,
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
    /// The pair's own id, where users have several.
    #[serde(default, deserialize_with = "fields::id")]
    id: Option<CloudId>,
}

/// One of a user's several pairs. Its secret half, which CloudStack would tell, is not read.
#[derive(Debug, Clone, Deserialize)]
pub struct NamedPair {
    /// Its id.
    pub id: CloudId,
    /// What its maker called it.
    #[serde(default, deserialize_with = "fields::text")]
    pub name: Option<String>,
    /// Names the user to CloudStack.
    #[serde(default, rename = "apikey", deserialize_with = "fields::secret")]
    pub api_key: Option<Secret>,
    /// When it ends by itself.
    #[serde(default, rename = "enddate", deserialize_with = "fields::instant")]
    pub end: Option<Timestamp>,
}

impl Entry for NamedPair {}

/// What a pair is called, and when CloudStack is to end it.
#[derive(Debug, Clone)]
pub struct PairTerms {
    /// Its name, by which it is found again when the answer is lost.
    pub name: String,
    /// In words.
    pub description: String,
    /// When it ends by itself.
    pub end: Timestamp,
}

impl Client {
    /// Makes a key pair for a user. Up to 4.22 it replaces the pair that the user has, at once and for everybody.
    pub async fn register_user_keys(&self, user: CloudId) -> Result<KeyPair, Error> {
        self.register(&Params::new().with("id", user)).await
    }

    /// Makes one more pair for a user, where users have several ([`Client::has_several_pairs`]).
    pub async fn register_named_pair(&self, user: CloudId, terms: &PairTerms) -> Result<KeyPair, Error> {
        let params = Params::new()
            .with("id", user)
            .with("name", &terms.name)
            .with("description", &terms.description)
            .with("enddate", terms.end.to_cloudstack());
        self.register(&params).await
    }

    async fn register(&self, params: &Params) -> Result<KeyPair, Error> {
        let answer = self.write("registerUserKeys", params, Ok).await?;
        self.end_of_key_job("registerUserKeys", answer)
            .await
            .and_then(|result| key_pair(result).map_err(Error::after_write))
    }

    /// The answer itself, or that of the job that it names.
    async fn end_of_key_job(&self, command: &str, answer: Value) -> Result<Value, Error> {
        let Some(job) = job_id(&answer) else { return Ok(answer) };
        match self.wait_for_job(job, KEY_JOB_DEADLINE, KEY_JOB_PAUSE).await {
            Ok(JobState::Succeeded(result)) => Ok(result),
            Ok(JobState::Failed { code, text }) => Err(Error::from_code(code, &text)),
            Ok(JobState::Pending | JobState::Cancelled) => {
                Err(Error::Uncertain { text: format!("{command}: the job has not ended in time, or was cancelled") })
            }
            Err(error) => Err(Error::Uncertain { text: format!("{command}: its job can not be read ({error})") }),
        }
    }

    /// A user's key pair.
    pub async fn get_user_keys(&self, user: CloudId) -> Result<UserKeys, Error> {
        self.read_entity("getUserKeys", &Params::new().with("id", user)).await
    }

    /// Whether a user can have several pairs, each ended on its own; goes by the APIs that there are.
    pub async fn has_several_pairs(&self) -> Result<bool, Error> {
        Ok(self.api("deleteUserKeys").await?.is_some_and(|api| api.takes("keypairid"))
            && self.api("registerUserKeys").await?.is_some_and(|api| api.takes("enddate"))
            && self.api("listUserKeys").await?.is_some())
    }

    /// The pairs of a user, where users have several. Its count is not trusted: it counts pairs that are not shown
    /// (#13828), so paging by it would never end.
    pub async fn list_user_keys(&self, user: CloudId) -> Result<Vec<NamedPair>, Error> {
        let page = self.read_list::<NamedPair>("listUserKeys", &Params::new().with("userid", user)).await?;
        if page.unreadable > 0 {
            return Err(Error::malformed("listUserKeys: a pair can not be read"));
        }
        Ok(page.items)
    }

    /// Ends one of a user's several pairs.
    pub async fn delete_user_keys(&self, pair: CloudId) -> Result<(), Error> {
        let answer = self.write("deleteUserKeys", &Params::new().with("keypairid", pair), Ok).await?;
        let result = self.end_of_key_job("deleteUserKeys", answer).await?;
        users::success(&result).map_err(Error::after_write)
    }
}

fn key_pair(value: Value) -> Result<KeyPair, Error> {
    match envelope::entity(value)? {
        UserKeys { api_key: Some(api_key), secret_key: Some(secret_key), id, .. } => {
            Ok(KeyPair { api_key, secret_key, id })
        }
        _ => Err(Error::malformed("registerUserKeys: the answer holds no key pair")),
    }
}
