//! What administrators have to be told of.

use crate::{
    store::{StoreError, Tx, notify},
    time::Timestamp,
};

/// Tells administrators once a key: in the log, and by mail where that is set up.
pub async fn administrators(
    tx: &mut Tx,
    key: &str,
    kind: &str,
    subject: &str,
    body: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    if notify::insert_admin_notice(tx, key, kind, subject, body, now).await? {
        tracing::warn!(key, kind, subject, body, "administrators are told");
    }
    Ok(())
}
