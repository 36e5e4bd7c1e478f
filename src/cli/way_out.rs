//! What a command ends with where it did not come about: what happened, and what to do about it.

use crate::{
    access,
    cloudstack::Error,
    jobs::{AppError, keys, quota, work::JobError},
    people::directory,
    setup::{check, init::InitError},
    usage::sync,
};

/// The error with its causes; where CloudStack is the cause, with what to do about that.
pub fn sentence(error: &anyhow::Error) -> String {
    let text = with_causes(error);
    let text = text.trim_end();
    let Some(cause) = cloudstack_error(error) else { return text.to_owned() };
    format!("{}\nWhat to do: {} `bursar check` looks at everything.", ended(text), ended(&check::way_out(cause)))
}

/// The error and its causes, less those that it tells itself.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn ended(sentence: &str) -> String {
    format!("{sentence}{}", if sentence.ends_with(['.', '!', '?']) { "" } else { "." })
}

/// CloudStack's error in what stopped the command. The errors between are transparent: they can not be found as causes.
fn cloudstack_error(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return Some(error);
        }
        if let Some(error) = cause.downcast_ref::<JobError>() {
            return cause_of_job(error);
        }
        if let Some(quota::Error::Job(error)) = cause.downcast_ref::<quota::Error>() {
            return cause_of_job(error);
        }
        if let Some(error) = cause.downcast_ref::<keys::Error>() {
            return match error {
                keys::Error::App(AppError::CloudStack(error))
                | keys::Error::Access(access::Error::CloudStack(error)) => Some(error),
                _ => None,
            };
        }
        match (cause.downcast_ref::<AppError>(), cause.downcast_ref::<InitError>()) {
            (Some(AppError::CloudStack(error)), _)
            | (_, Some(InitError::CloudStack { error, .. } | InitError::NotVerified { error, .. })) => Some(error),
            _ => None,
        }
    })
}

pub(super) fn cause_of_job(error: &JobError) -> Option<&Error> {
    match error {
        JobError::Unfinished { why, .. } => cause_of_job(why),
        JobError::CloudStack(error)
        | JobError::App(AppError::CloudStack(error))
        | JobError::Directory(directory::Error::CloudStack(error))
        | JobError::Sync(sync::Error::CloudStack(error)) => Some(error),
        JobError::Enforce(error) => error.cloudstack(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforcement::run;

    #[test]
    fn a_refusal_of_cloudstack_says_what_to_do() {
        let cause = Error::NotAllowed { code: 432, text: "listUsageRecords: not available".to_owned() };
        let error = anyhow::Error::from(JobError::Sync(sync::Error::CloudStack(cause)));
        let text = sentence(&error);
        assert!(text.contains("listUsageRecords") && text.contains("docs/install.md"), "{text}");
        assert_eq!(sentence(&anyhow::anyhow!("something else")), "something else");
        let silent = || Error::Retry { code: None, after: None, text: "quotaTariffList: no connection".to_owned() };
        let text = sentence(&quota::Error::from(JobError::CloudStack(silent())).into());
        assert!(text.contains("quotaTariffList") && text.contains("What to do"), "{text}");
        let text = sentence(&JobError::Enforce(run::Error::CloudStack(silent())).into());
        assert_eq!(text.matches("no connection").count(), 1, "{text}");
        assert!(text.contains("through? `bursar check`"), "{text}");
    }
}
