//! What is stored that explains why a month here and in the quota plugin differ.

use super::{StoreError, Tx, all};
use crate::{ids::AccountId, time::Timestamp};

/// Of the records of an account and usage type that begin in a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Repeats {
    /// Whose.
    pub account_id: AccountId,
    /// CloudStack's usage type.
    pub usage_type: i64,
    /// Raw rows that were reported again: repeats of a record, and reports that a newer one replaced.
    pub repeats: i64,
    /// Records that wait for a person.
    pub waiting: i64,
}

/// Records that begin in `[from, until)` and were reported again, or wait for a person.
pub async fn list_repeats(tx: &mut Tx, from: Timestamp, until: Timestamp) -> Result<Vec<Repeats>, StoreError> {
    all!(
        tx,
        Repeats,
        "select account_id, usage_type, \
           cast(sum(case when standing in (1, 2) then seen else seen - 1 end) as bigint) as repeats, \
           cast(sum(case when standing = 3 then 1 else 0 end) as bigint) as waiting \
         from usage_record where start_ms >= $1 and start_ms < $2 and (seen > 1 or standing in (1, 2, 3)) \
         group by account_id, usage_type order by account_id, usage_type",
        from,
        until
    )
}
