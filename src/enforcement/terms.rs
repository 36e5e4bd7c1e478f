//! What an administrator says about one payer or account: values of the policy that differ, and "leave it alone until Friday".
//! Every word has an author, a reason and a line in the audit trail.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    policy::{Ladders, PatchError, PolicyPatch},
    store::{
        StoreError, Tx,
        cloud::Account,
        payers::PayerRow,
        policy::{self as rows, OverrideRow},
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// An account is left alone for a year at most: what is for good belongs into a class or an override.
const LONGEST_EXEMPTION: Duration = Duration::from_hours(366 * 24);
/// The longest reason that is kept.
const REASON_LENGTH: usize = 500;

/// Why a word was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key or value that no policy has.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// It does not fit with what applies to the payer otherwise.
    #[error("this contradicts what applies to {payer} otherwise: {what}. Nothing was changed")]
    Contradiction {
        /// The payer.
        payer: String,
        /// What does not fit.
        what: String,
    },
    /// It makes no sense.
    #[error("{0}")]
    Refused(String),
}

/// Who says it, why, and when.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    /// Who.
    pub author: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When.
    pub now: Timestamp,
}

impl Word<'_> {
    fn check(&self, until: Option<Timestamp>) -> Result<(), Error> {
        if self.reason.trim().is_empty() || self.reason.len() > REASON_LENGTH {
            return Err(Error::Refused(format!("say why, in 1 to {REASON_LENGTH} letters")));
        }
        match until {
            Some(until) if until <= self.now => {
                Err(Error::Refused(format!("{until} is not in the future; nothing would hold until then")))
            }
            _ => Ok(()),
        }
    }

    fn line(&self, action: &str, subject: &str) -> AuditLine {
        AuditLine {
            at_ms: self.now.as_ms(),
            actor: self.author.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            answer: Some(self.reason.to_owned()),
            ..AuditLine::default()
        }
    }
}

/// The values that were set for a payer, as a patch.
pub async fn own_patch(
    tx: &mut Tx,
    payer: &PayerRow,
    now: Timestamp,
) -> Result<(PolicyPatch, Vec<OverrideRow>), Error> {
    let overrides = rows::list_overrides(tx, Some(payer.id), now).await?;
    Ok((patch_of(&overrides)?, overrides))
}

fn patch_of<'r>(rows: impl IntoIterator<Item = &'r OverrideRow>) -> Result<PolicyPatch, PatchError> {
    let mut patch = PolicyPatch::default();
    for row in rows {
        patch.set(&row.key, &row.value)?;
    }
    Ok(patch)
}

/// What does not fit together in the values of a payer over its class, as a sentence: now, or later when one that holds until a
/// date has ended, since a rung that lost its last threshold is never reached. None where all is well.
pub fn contradiction(
    ladders: &Ladders,
    class: Option<&str>,
    values: &[OverrideRow],
) -> Result<Option<String>, PatchError> {
    let found = |patch: &PolicyPatch| ladders.of(class, Some(patch)).contradiction();
    if let Some(what) = found(&patch_of(values)?) {
        return Ok(Some(what));
    }
    let ends: BTreeSet<Timestamp> = values.iter().filter_map(|row| row.until_ms).collect();
    for end in ends {
        let left = values.iter().filter(|row| row.until_ms.is_none_or(|until| until > end));
        if let Some(what) = found(&patch_of(left)?) {
            return Ok(Some(format!("{what} (from {end} on, when a value that was set until then has ended)")));
        }
    }
    Ok(None)
}

fn refuse_contradiction(ladders: &Ladders, payer: &PayerRow, values: &[OverrideRow]) -> Result<(), Error> {
    match contradiction(ladders, payer.class.as_deref(), values)? {
        Some(what) => Err(Error::Contradiction { payer: payer.name.clone(), what }),
        None => Ok(()),
    }
}

/// Sets a value of the policy for one payer, for good or until an instant. Gives the value as it is understood.
pub async fn set_value(
    tx: &mut Tx,
    ladders: &Ladders,
    payer: &PayerRow,
    (key, value): (&str, &str),
    until: Option<Timestamp>,
    word: Word<'_>,
) -> Result<String, Error> {
    word.check(until)?;
    if payer.joined_into.is_some() {
        let whom = format!("{} went into a customer: set it for that one", payer.name);
        return Err(Error::Refused(whom));
    }
    let (mut patch, mut values) = own_patch(tx, payer, word.now).await?;
    let before = patch.get(key).map(str::to_owned);
    patch.set(key, value)?;
    let value = patch.get(key).unwrap_or(value).to_owned();
    let row = OverrideRow {
        payer_id: payer.id,
        key: key.to_owned(),
        value: value.clone(),
        author: word.author.to_owned(),
        reason: word.reason.to_owned(),
        until_ms: until,
        set_ms: word.now,
    };
    values.retain(|other| other.key != key);
    values.push(row.clone());
    refuse_contradiction(ladders, payer, &values)?;
    rows::put_override(tx, &row).await?;
    let said = until.map_or_else(String::new, |until| format!(" until {until}"));
    let line = AuditLine {
        before_state: before.map(|before| format!("{key} = {before}")),
        after_state: Some(format!("{key} = {value}{said}")),
        ..word.line("policy.set", &payer.name)
    };
    runs::write_audit(tx, &line).await?;
    Ok(value)
}

/// Takes a value back: class and default apply again. False: none was set.
pub async fn unset_value(
    tx: &mut Tx,
    ladders: &Ladders,
    payer: &PayerRow,
    key: &str,
    word: Word<'_>,
) -> Result<bool, Error> {
    word.check(None)?;
    // Also a value that is no longer understood can be taken back.
    let mut values = rows::list_overrides(tx, Some(payer.id), word.now).await?;
    values.retain(|other| other.key != key);
    refuse_contradiction(ladders, payer, &values)?;
    let Some(before) = rows::delete_override(tx, payer.id, key).await? else { return Ok(false) };
    let line = AuditLine { before_state: Some(format!("{key} = {before}")), ..word.line("policy.unset", &payer.name) };
    runs::write_audit(tx, &line).await?;
    Ok(true)
}

/// Whom an exemption is about: one account, or a payer with all its accounts.
#[derive(Debug, Clone, Copy)]
pub enum Whom<'a> {
    /// One account, whoever pays for it.
    Account(&'a Account),
    /// Every account of a payer.
    Payer(&'a PayerRow),
}

impl Whom<'_> {
    fn name(&self) -> String {
        match self {
            Self::Account(account) => account.full_name(),
            Self::Payer(payer) => payer.name.clone(),
        }
    }

    const fn ids(&self) -> (crate::ids::PayerId, Option<crate::ids::AccountId>) {
        match self {
            Self::Account(account) => (account.payer_id, Some(account.id)),
            Self::Payer(payer) => (payer.id, None),
        }
    }
}

/// Says to leave somebody alone until an instant: no step down, and no notices either if said so. It replaces an earlier word.
pub async fn leave_alone(
    tx: &mut Tx,
    whom: Whom<'_>,
    until: Timestamp,
    no_notices: bool,
    word: Word<'_>,
) -> Result<(), Error> {
    check_exemption(until, word)?;
    let (payer, account) = whom.ids();
    rows::end_exemptions(tx, payer, account, word.author, word.now).await?;
    begin_exemption(tx, whom, until, no_notices, word).await
}

/// Leaves somebody alone until an instant beside whatever was said before: the time asked for takes nothing of what holds for longer.
pub async fn grant_time(tx: &mut Tx, whom: Whom<'_>, until: Timestamp, word: Word<'_>) -> Result<(), Error> {
    check_exemption(until, word)?;
    begin_exemption(tx, whom, until, false, word).await
}

fn check_exemption(until: Timestamp, word: Word<'_>) -> Result<(), Error> {
    word.check(Some(until))?;
    if until > word.now.plus(LONGEST_EXEMPTION) {
        return Err(Error::Refused(
            "an account is left alone for a year at most; what is for good belongs into a class or `bursar policy set`"
                .to_owned(),
        ));
    }
    Ok(())
}

async fn begin_exemption(
    tx: &mut Tx,
    whom: Whom<'_>,
    until: Timestamp,
    no_notices: bool,
    word: Word<'_>,
) -> Result<(), Error> {
    let (payer, account) = whom.ids();
    rows::insert_exemption(tx, payer, account, until, no_notices, word.author, word.reason, word.now).await?;
    let notices = if no_notices { ", without notices" } else { "" };
    let line = AuditLine {
        after_state: Some(format!("left alone until {until}{notices}")),
        ..word.line("account.leave-alone", &whom.name())
    };
    runs::write_audit(tx, &line).await?;
    Ok(())
}

/// Ends that somebody is left alone. False: nothing held.
pub async fn end_leave_alone(tx: &mut Tx, whom: Whom<'_>, word: Word<'_>) -> Result<bool, Error> {
    word.check(None)?;
    let (payer, account) = whom.ids();
    if rows::end_exemptions(tx, payer, account, word.author, word.now).await? == 0 {
        return Ok(false);
    }
    runs::write_audit(tx, &word.line("account.leave-alone.end", &whom.name())).await?;
    Ok(true)
}
