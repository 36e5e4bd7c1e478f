//! What the digest for administrators tells of.

use crate::{
    store::{StoreError, Tx, all},
    time::Timestamp,
};

/// A decision, as the digest tells of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DigestDecision {
    /// Path of the account's domain.
    pub domain_path: String,
    /// The account's name.
    pub name: String,
    /// warn, lock, restore, wait …
    pub outcome: String,
    /// The sentence for the tenant.
    pub sentence: String,
    /// Whether nothing was to be done.
    pub dry_run: i64,
}

/// An action that was begun or ended, as the digest tells of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DigestAction {
    /// Path of the account's domain.
    pub domain_path: String,
    /// The account's name.
    pub name: String,
    /// lock, enable …
    pub action: String,
    /// open, done, failed, abandoned.
    pub state: String,
    /// How it ended, in words.
    pub outcome: Option<String>,
}

/// A notice, as the digest tells of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DigestNotice {
    /// Path of the account's domain.
    pub domain_path: String,
    /// The account's name.
    pub name: String,
    /// For the tenant.
    pub sentence: String,
    /// Whether it was only a rehearsal.
    pub dry_run: i64,
}

/// Decisions of a time that were more than keeping things as they are.
pub async fn list_digest_decisions(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<DigestDecision>, StoreError> {
    all!(
        tx,
        DigestDecision,
        "select a.domain_path, a.name, d.outcome, d.sentence, d.dry_run from decision d \
         join account a on a.id = d.account_id \
         where d.decided_ms >= $1 and d.decided_ms < $2 and d.outcome <> 'keep' and d.outcome <> 'warn' \
         order by d.id limit $3",
        from,
        until,
        limit
    )
}

/// Actions that were begun or ended in a time.
pub async fn list_digest_actions(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<DigestAction>, StoreError> {
    all!(
        tx,
        DigestAction,
        "select a.domain_path, a.name, i.action, i.state, i.outcome from intent i join account a on a.id = i.account_id \
         where (i.created_ms >= $1 and i.created_ms < $2) or (i.finished_ms >= $1 and i.finished_ms < $2) \
         order by i.created_ms, i.id limit $3",
        from,
        until,
        limit
    )
}

/// Notices of a time.
pub async fn list_digest_notices(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<DigestNotice>, StoreError> {
    all!(
        tx,
        DigestNotice,
        "select a.domain_path, a.name, n.sentence, n.dry_run from notice n join account a on a.id = n.account_id \
         where n.recorded_ms >= $1 and n.recorded_ms < $2 order by n.id limit $3",
        from,
        until,
        limit
    )
}
